/*
 * Random commands for a core: all kinds, few names and ids so that they meet, some repeated requests, some batches, time that goes on. The same seed gives the same commands.
 */
#ifndef MANTA_TEST_GCS_RANDOM_H
#define MANTA_TEST_GCS_RANDOM_H

#include "gcs/core/gcs_command.h"
#include "scheduler/base/rng.h"

typedef struct core_random {
    rng r;
    uint64_t now_ms, requests[4];
    uint64_t kinds; /* which of the table of commands were made, by bit */
    manta_writer inner;
} core_random;

void core_random_init(core_random *x, uint64_t seed);
void core_random_fini(core_random *x);
void core_random_command(core_random *x, manta_writer *w); /* over what is in w */
bool core_random_saw_all(core_random *x);                  /* every kind of command; then also frees */

#endif
