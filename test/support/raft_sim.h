/*
 * A cluster of Raft cores in one thread, from a seed: virtual time, a network that loses, delays, reorders, doubles and cuts, disks that are slow and lose what was not durable,
 * allocations that fail, crashes, pauses, transfers, changes of membership, snapshots. Then everything is healed and must converge. The promises of Raft are checked at every step.
 *
 * Equal seeds take equal courses, which the hash shows. One run at a time.
 */
#ifndef MANTA_TEST_RAFT_SIM_H
#define MANTA_TEST_RAFT_SIM_H

#include <stdbool.h>
#include <stdint.h>

typedef struct raft_sim_report {
    uint64_t hash, steps, messages, applied, leaders, crashes, snapshots, installs, changes, transfers, reads, refused_memory;
    char violation[400]; /* empty: none */
} raft_sim_report;

/* False: a promise was broken; the report says which, when and by whom. Environment MANTA_SIM_TRACE=1 prints the course to standard error. */
bool raft_sim_run(uint64_t seed, raft_sim_report *out);

#endif
