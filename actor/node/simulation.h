/*
 * What of actor/node is different in a system that is one of several in a simulated world (actor/sim).
 */
#ifndef MANTA_NODE_SIMULATION_H
#define MANTA_NODE_SIMULATION_H

#include "mailbox/link/link_sim.h"

typedef struct node_simulation {
    link_sim *net;                               /* links go over it; NULL: this is no simulation */
    void (*end)(void *context, const char *why); /* the process would end itself */
    uint64_t (*hold_ns)(void *context);          /* the link of a send that may wait has no room for so long; 0: it has */
    void *context;
} node_simulation;
extern node_simulation the_simulation; /* set before manta_init_with */

#endif
