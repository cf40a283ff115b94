/*
 * Starting, waiting for and ending the child processes of a case.
 */
#include "tools/benchmarks/store/crew.h"

#include <errno.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { PATIENCE_S = 60, MOMENT_NS = 100 * OS_NS_PER_MS };

crew *crew_new(void)
{
    crew *c = mmap(NULL, sizeof *c, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (c == MAP_FAILED) {
        complain("no memory to share");
        return NULL;
    }
    for (int i = 0; i < CREW; i++) {
        sem_init(&c->ready[i], 1, 0);
        sem_init(&c->go[i], 1, 0);
    }
    return c;
}

void crew_free(crew *c)
{
    if (c) munmap(c, sizeof *c);
}

pid_t crew_start(crew *c, const settings *s, int me, crew_task *task)
{
    fflush(stdout);
    pid_t child = fork();
    if (child < 0) complain("fork: %s", strerror(errno));
    if (child != 0) return child;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    bool fine = task(c, s, me);
    fflush(stdout);
    _exit(fine ? 0 : 1);
}

static bool wait_a_moment(sem_t *semaphore)
{
    struct timespec end;
    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_nsec += MOMENT_NS;
    end.tv_sec += end.tv_nsec / OS_NS_PER_S;
    end.tv_nsec %= OS_NS_PER_S;
    return sem_timedwait(semaphore, &end) == 0;
}

/* Of this process; its end is still there for waitpid. */
static bool a_child_ended(const char *what)
{
    siginfo_t info = {0};
    if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) || !info.si_pid) return false;
    complain(
        "%s: process %d %s %d", what, (int)info.si_pid, info.si_code == CLD_EXITED ? "ended with" : "was ended by signal", info.si_status);
    return true;
}

bool crew_wait(sem_t *semaphore, const char *what)
{
    for (int i = 0; i < PATIENCE_S * (OS_NS_PER_S / MOMENT_NS); i++) {
        if (wait_a_moment(semaphore)) return true;
        if (a_child_ended(what)) return false;
    }
    return complain("%s: nothing for %d s", what, PATIENCE_S);
}

bool crew_end(pid_t child)
{
    int status = 0;
    if (child <= 0) return false;
    while (waitpid(child, &status, 0) < 0)
        if (errno != EINTR) return false;
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

void crew_kill(pid_t child)
{
    if (child <= 0) return;
    kill(child, SIGKILL);
    (void)crew_end(child);
}
