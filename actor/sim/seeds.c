#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "actor/sim/runner.h"

enum { LONGEST_S = 60 };

bool seed_init(child *c)
{
    void *memory = mmap(NULL, sizeof *c->result, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    *c = (child){.result = memory == MAP_FAILED ? NULL : memory};
    return c->result != NULL;
}

bool seed_start(child *c, const run_options *o)
{
    c->options = *o;
    memset(c->result, 0, sizeof *c->result);
    fflush(NULL);
    c->pid = fork();
    if (c->pid) return c->pid > 0;
    alarm(LONGEST_S);
    world_run(&c->options, c->result);
    fflush(NULL);
    _exit(0);
}

static int remove_one(const char *path, const struct stat *s, int type, struct FTW *at)
{
    (void)s, (void)type, (void)at;
    return remove(path);
}

void seed_ended(child *c, int status)
{
    run_result *r = c->result;
    c->pid = 0;
    if (r->directory[0]) (void)nftw(r->directory, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return;
    r->failed = true;
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM) snprintf(r->text, sizeof r->text, "it ran for more than %d s", LONGEST_S);
    else if (WIFSIGNALED(status)) snprintf(r->text, sizeof r->text, "it was ended by %s", strsignal(WTERMSIG(status)));
    else snprintf(r->text, sizeof r->text, "it ended with exit code %d", WEXITSTATUS(status));
}

run_result seed_run(child *c, const run_options *o)
{
    int status = 0;
    if (!seed_start(c, o)) return (run_result){.failed = true, .text = "no process can be started"};
    (void)waitpid(c->pid, &status, 0);
    seed_ended(c, status);
    return *c->result;
}
