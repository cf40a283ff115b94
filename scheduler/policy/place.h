/*
 * Choosing nodes: pure functions of what is known about the nodes. They take nothing: the caller asks the chosen node, which decides by what it has at that moment.
 *
 * Default: where most bytes of the arguments are; else the asking node while it has room; else by load, at random among the best few, so that many askers do not all choose the same.
 */
#ifndef MANTA_POLICY_PLACE_H
#define MANTA_POLICY_PLACE_H

#include "scheduler/base/rng.h"
#include "scheduler/policy/resources.h"

enum { PLACE_FULL = -1, PLACE_INFEASIBLE = -2 }; /* no node has room now; no node could ever have */
typedef enum place_strategy { PLACE_DEFAULT, PLACE_SPREAD, PLACE_NODE, PLACE_NODE_SOFT } place_strategy;
typedef enum bundle_strategy {
    BUNDLES_PACK,
    BUNDLES_SPREAD,
    BUNDLES_STRICT_PACK,
    BUNDLES_STRICT_SPREAD,
    BUNDLE_STRATEGIES
} bundle_strategy;

typedef struct place_node {
    resources total, available;
    const char *labels;
    uint64_t id;     /* for PLACE_NODE */
    uint64_t bytes;  /* of the arguments that are there already */
    uint32_t queued; /* requests that wait there */
} place_node;

typedef struct place_request {
    resources need;
    const char *labels; /* that the node must have; NULL: any */
    place_strategy strategy;
    uint64_t node; /* PLACE_NODE, PLACE_NODE_SOFT */
    int32_t here;  /* index of the asking node; -1: none */
} place_request;

/* The index of a node that has room, or PLACE_FULL, PLACE_INFEASIBLE. */
int32_t place_pick(const place_node *nodes, uint32_t n, const place_request *q, rng *random);
bool place_is_feasible(const place_node *nodes, uint32_t n, const place_request *q);

/* A node for each bundle, all of them at once, in *out (count indices); false: no such places were found. Exact for the strict strategies: false means that there are none. */
bool place_bundles(const place_node *nodes, uint32_t n, const resources *bundles, uint32_t count, bundle_strategy strategy, int32_t *out);

#endif
