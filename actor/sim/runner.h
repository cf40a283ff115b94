/*
 * Many seeds: child processes, arguments, and the shortening of what failed.
 */
#ifndef MANTA_SIM_RUNNER_H
#define MANTA_SIM_RUNNER_H

#include <sys/types.h>

#include "actor/sim/world.h"

enum { FAILURES = 3 };

typedef struct runner {
    manta_sim_test test;
    const char *program;
    uint64_t first, last, keep;
    uint32_t least_nodes, most_nodes, jobs, failures; /* failures: after so many it ends */
    bool is_single, trace, no_shorten, twice;
    char faults[200]; /* as text, for the command that repeats a seed */
} runner;

typedef struct child { /* a seed that runs in a process of its own */
    pid_t pid;         /* 0: none */
    run_options options;
    run_result *result; /* memory that both see */
} child;

/* ---- seeds.c ---- */
bool seed_init(child *c); /* false: no memory */
bool seed_start(child *c, const run_options *o);
void seed_ended(child *c, int status);               /* its result is complete then */
run_result seed_run(child *c, const run_options *o); /* and waits for it */

/* ---- arguments.c ---- */
int runner_arguments(runner *r, int argc, char **argv); /* -1: go on; else the exit code */

/* ---- shorten.c ---- */
/* Leaves out faults and work as long as the seed still fails. *o is changed; the result is that of the last run that failed. */
run_result shorten(child *c, run_options *o, const run_result *failed);

#endif
