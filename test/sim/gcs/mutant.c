/*
 * The main program of a broken core (tools/cmake/mutants.cmake): mutant SEEDS runs the simulator on that many seeds, and succeeds when a promise is seen broken.
 *
 * Each seed runs in a process of its own, for a broken core may also trip over one of its own assertions, which counts too.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test/support/raft_sim.h"

/* What was seen in this seed; "": nothing. */
static void look(uint64_t seed, char *out, size_t room)
{
    int ends[2], status;
    out[0] = 0;
    if (pipe(ends)) abort();
    pid_t child = fork();
    if (!child) {
        raft_sim_report r;
        if (!raft_sim_run(seed, &r)) (void)!write(ends[1], r.violation, strlen(r.violation));
        _exit(0);
    }
    close(ends[1]);
    ssize_t n = read(ends[0], out, room - 1);
    out[n > 0 ? n : 0] = 0;
    close(ends[0]);
    waitpid(child, &status, 0);
    if (WIFSIGNALED(status)) snprintf(out, room, "seed %" PRIu64 ": an assertion of the core failed", seed);
}

int main(int argc, char **argv)
{
    uint64_t seeds = argc == 2 ? strtoull(argv[1], NULL, 10) : 0;
    char seen[400] = "";
    for (uint64_t seed = 1; seed <= seeds && !seen[0]; seed++) look(seed, seen, sizeof seen);
    printf("%s\n", seen[0] ? seen : "nothing was seen");
    return seen[0] ? 0 : 1;
}
