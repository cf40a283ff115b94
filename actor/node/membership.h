/*
 * How a node daemon belongs to its cluster, by the control store's table of nodes: it joins, meets the others, tells who cannot be reached, and fences itself.
 *
 * Every daemon knows every other: whoever appears in the table is connected to, and its raylet is introduced to the raylet here. A node that is declared dead in the table is dropped by all. One that finds itself declared
 * dead, or has not reached a majority of the control store's servers for fence_ms, must not go on, because others may already have taken over its work: it ends its workers and itself.
 */
#ifndef MANTA_NODE_MEMBERSHIP_H
#define MANTA_NODE_MEMBERSHIP_H

#include <manta/manta.h>

typedef struct membership_options {
    const char *address;   /* of any daemon of the cluster; NULL: a new cluster (or the one that `directory` belongs to) */
    const char *directory; /* of the control store, should this node serve it */
    uint32_t voters;       /* wanted in the cluster: 1, 3 or 5; what the founder says counts */
    uint32_t cores;
    uint32_t fence_ms; /* 0: 10000 */
} membership_options;

/* In a system that listens, when its raylet is registered. Waits until the node is in the table. error_set says why not. */
manta_status membership_start(const membership_options *o, manta_actor raylet);
typedef struct membership_process {
    const char *role; /* "worker"; "": it tells of its start itself */
    uint32_t pid;
    uint64_t job; /* that it drives, and that succeeds when the process shuts down; 0: none */
} membership_process;
/* The process that this actor lives in is one of this node's: its start and end are told to the control store. */
void membership_watch(manta_actor of_process, const membership_process *what);
manta_status membership_drain(const char *why); /* the table says that this node is being drained; waits */
void membership_leave(void);                    /* in an orderly stop: the node is dead in the table; waits a moment at most */

#endif
