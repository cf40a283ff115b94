/*
 * What the files of the actor MantaPlacements share: each daemon has one.
 *
 * A placement group is a row of the control store. The daemon of the process that made it *keeps* it: it alone looks for places and writes the row. So a group has no keeper to lose: a process and its daemon end
 * together, and with the process its groups (gcs/core). The other daemons have what the row says, by watching the table.
 *
 * A group is placed in three rounds with the nodes concerned, each one message a node, however many bundles: what is free there; prepare; commit. Between the last two the row is written, under the revision that the
 * keeper saw: what the store has refused (the group was removed, its job is over) is given back. When a node refuses, what was prepared is given back and the group waits. What is on a node that the table of nodes calls
 * dead is placed again.
 *
 * A node frees a group's bundles when the row goes, whoever removed it. What has been prepared and not committed, or committed and not seen in the row, is given back after a while (bundles.c).
 */
#ifndef MANTA_NODE_PLACEMENT_H
#define MANTA_NODE_PLACEMENT_H

#include <manta/placement.h>

#include "actor/node/leases.h"

enum { GROUPS_LIMIT = 65536, GROUP_WAITERS = 64, GROUP_WHY = 240 };
typedef enum group_state { GROUP_PENDING, GROUP_READY, GROUP_INFEASIBLE, GROUP_NEW } group_state; /* but for the last as in the row */

typedef struct group_entry {
    struct group_entry *next;
    uint64_t id, job, process; /* process: that made it */
    uint64_t created, revision;
    char name[MANTA_PLACEMENT_NAME];
    bundle_strategy strategy;
    group_state state, stored; /* stored: in the row; GROUP_NEW: there is none yet */
    bool is_kept, is_removed, is_finishing;
    uint64_t removed_ns;
    uint32_t count, holds; /* holds: by the table, and by handlers that wait */
    uint64_t *at;          /* node of each bundle; 0: none */
    /* Of those that are kept here: */
    manta_actor owner;
    uint64_t attempt, *wanted; /* where it is being placed */
    resources *bundles;
    char why[GROUP_WHY]; /* it is infeasible, or could not be stored */
    manta_status failed;
    future *waiters[GROUP_WAITERS];
    uint32_t n_waiters;
} group_entry;

struct placements {
    node_view nodes[NODES_LIMIT];
    group_entry *first, *last; /* the oldest first */
    id_table by_id;
    uint32_t n_nodes;
    bool is_pumping, again, is_sweeping;
};

MANTA_STRUCT(MantaGroupInfo, (uint64_t, id), (manta_str, name), (int32_t, strategy), (int32_t, state), (uint32_t, bundles),
    (bool, infeasible), (uint64_t, total))

MANTA_ACTOR(MantaPlacements, struct placements *p;)
MANTA_METHOD_DECLARE(
    MantaPlacements, create, uint64_t, (manta_actor, owner), (uint64_t, job), (manta_str, name), (int32_t, strategy), (manta_str, bundles))
MANTA_METHOD_DECLARE(MantaPlacements, wait, void, (uint64_t, id), (uint64_t, timeout_ms))
MANTA_METHOD_DECLARE(MantaPlacements, remove, void, (uint64_t, id))
MANTA_METHOD_DECLARE(
    MantaPlacements, where, manta_actor, (uint64_t, id), (int32_t, bundle), (uint32_t, nth)) /* the leases actor of the n-th node */
MANTA_METHOD_DECLARE(MantaPlacements, info, MantaGroupInfo, (uint32_t, nth))
MANTA_METHOD_DECLARE(MantaPlacements, describe, manta_str)
MANTA_METHOD_DECLARE(MantaPlacements, pump, void) /* each group that waits gets one try */
MANTA_METHOD_DECLARE(MantaPlacements, finish, void, (uint64_t, id))
MANTA_METHOD_DECLARE(MantaPlacements, changed, void, (uint64_t, id), (bool, is_gone), (manta_bytes, value)) /* the row */

extern const char *const placement_strategy_names[];

/* placement.c */
node_view *placement_node(struct placements *p, uint64_t id);
void placement_hold(group_entry *g);
void placement_release(struct placements *p, group_entry *g); /* which may free it */
void placement_wake(group_entry *g);
void placement_mark_removed(struct placements *p, group_entry *g);
group_entry *placement_group_new(uint64_t id, uint32_t count, bool is_kept); /* NULL: no memory */
void placement_insert(struct placements *p, group_entry *g);                 /* into the list, by `created` */
void placement_pump(void);                                                   /* soon */

void placement_lose_node(group_entry *g, uint64_t node); /* its bundles there are to be placed again */

/* placement_rows.c: they wait */
manta_status placement_put(group_entry *g, group_state state, const uint64_t *at); /* of one that is kept */
manta_status placement_delete(uint64_t id);
bool placement_is_node_dead(uint64_t node); /* for sure */
/* What the row says now. MANTA_ENOTFOUND. *out NULL: no memory. Of one that is kept: its revision and `stored`. */
manta_status placement_learn(struct placements *p, uint64_t id, group_entry **out);

/* placement_rounds.c: of those that are kept; they wait */
bool placement_prepare(struct placements *p, group_entry *g); /* what is missing of it, where `wanted` says; one group at a time */
void placement_abort(struct placements *p, const group_entry *g);
void placement_commit(struct placements *p, group_entry *g);
void placement_remove_bundles(struct placements *p, const group_entry *g, bool wait); /* of any, where it is known to be */

#endif
