/*
 * Placement groups: resources reserved together on the nodes of a cluster, as bundles, each on one node. A group is there as a whole or not at all.
 *
 * Tasks and actors run in a group by MANTA_OPTIONS(.placement_group = g, .bundle = 1) and use what it has reserved, and nothing else. A group belongs to the process that made it and is removed when that ends.
 * All functions are for processes of a job (manta run), elsewhere they give MANTA_EUNSUPPORTED; they wait for the cluster's answer, suspended in a handler, blocked in a thread. MANTA_ETIMEDOUT, MANTA_EUNKNOWN: no
 * majority of the control store's servers can be reached.
 */
#ifndef MANTA_PLACEMENT_H
#define MANTA_PLACEMENT_H

#include <manta/types.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { MANTA_BUNDLES_LIMIT = 1024, MANTA_PLACEMENT_NAME = 64 };

typedef enum manta_placement_strategy {
    MANTA_PLACEMENT_PACK = 0,     /* on as few nodes as can be */
    MANTA_PLACEMENT_SPREAD,       /* on as many nodes as can be */
    MANTA_PLACEMENT_STRICT_PACK,  /* on one node */
    MANTA_PLACEMENT_STRICT_SPREAD /* each on a node of its own */
} manta_placement_strategy;

typedef enum manta_placement_state {
    MANTA_PLACEMENT_PENDING = 0, /* waits for room; again after a node with some of its bundles was lost */
    MANTA_PLACEMENT_READY
} manta_placement_state;

typedef struct manta_placement_info {
    manta_placement_group group;
    char name[MANTA_PLACEMENT_NAME];
    manta_placement_strategy strategy;
    manta_placement_state state;
    uint32_t bundles;
    bool infeasible; /* not even with all nodes empty */
} manta_placement_info;

/*
 * Asks for `count` bundles (1 to MANTA_BUNDLES_LIMIT), each a text like "cpus=2,gpus=1" (see manta_options.resources); "memory" is in bytes. name: for people, or NULL. Does not wait until there is room:
 * manta_placement_wait does. MANTA_EINVAL: a bundle is no such text; MANTA_ELIMIT: too many bundles or groups.
 */
MANTA_EXPORT manta_status manta_placement_create(
    const char *const *bundles, size_t count, manta_placement_strategy strategy, const char *name, manta_placement_group *out);

/* Waits until all of it is reserved. MANTA_ETIMEDOUT; MANTA_ENOTFOUND: it was removed. */
MANTA_EXPORT manta_status manta_placement_wait(manta_placement_group group, uint64_t timeout_ms);

/* Gives everything back. What waits for it fails with MANTA_ENOTFOUND; what runs in it goes on, at its node's expense. MANTA_ENOTFOUND: removed before. */
MANTA_EXPORT manta_status manta_placement_remove(manta_placement_group group);

/* The node of a bundle (1 for the first), see manta_list_nodes; {0} while the group is not ready, or that node is not reached (it may be dead: then the bundle is placed again). MANTA_ENOTFOUND. */
MANTA_EXPORT manta_status manta_placement_node(manta_placement_group group, int32_t bundle, manta_process *out_node);

/* Fills in at most `capacity` of the cluster's groups, oldest first; *out_count: how many there are. */
MANTA_EXPORT manta_status manta_placement_list(manta_placement_info *out, size_t capacity, size_t *out_count);

#ifdef __cplusplus
}
#endif
#endif
