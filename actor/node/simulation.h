/*
 * What of actor/node is different in a system that is one of several in a simulated world (actor/sim).
 */
#ifndef MANTA_NODE_SIMULATION_H
#define MANTA_NODE_SIMULATION_H

#include <manta/manta.h>

#include "mailbox/link/link_sim.h"

typedef struct node_simulation {
    link_sim *net;                               /* links go over it; NULL: this is no simulation */
    uint32_t pid, own_actors;                    /* of this process; how many actors the simulation has in it */
    void (*end)(void *context, const char *why); /* the process would end itself */
    uint64_t (*hold_ns)(void *context);          /* the link of a send that may wait has no room for so long; 0: it has */
    /* Worker processes of a daemon, instead of posix_spawn and kill. They end later, and children.c is told by child_died. */
    manta_status (*run)(void *context, uint64_t job, const char *raylet_address, uint32_t *out_pid);
    void (*kill)(void *context, uint32_t pid, const char *why);
    void *context;
} node_simulation;
extern node_simulation the_simulation; /* set before manta_init_with */

/* ---- children.c ---- */
void child_died(uint32_t pid, const char *why); /* in the daemon */

/* ---- job.c: what manta_init does in a process of a job; here a handler does it, when the system has started ---- */
manta_status job_drive(const char *daemon);               /* it is a driver now */
manta_status job_serve(const char *daemon, uint64_t job); /* it is a worker; returns when the daemon has ended */

#endif
