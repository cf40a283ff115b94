/*
 * What waits for resources on a node, and who is next: of the jobs, the one that uses least of the node, of those that use the same the one that was served longest ago; within a job the highest priority; then who
 * came first. Pure but for memory.
 */
#ifndef MANTA_NODE_QUEUE_H
#define MANTA_NODE_QUEUE_H

#include <manta/types.h>

#include "scheduler/base/id_table.h"
#include "scheduler/policy/place.h"

enum { QUEUE_LIMIT = 65536, QUEUE_JOBS = 256 };

typedef struct lease_request { /* of an owner, for one lease; its id becomes the lease's */
    struct lease_request *next, *previous;
    uint64_t id, job, node, group, bytes_node, bytes, unfit_ns; /* unfit_ns: since when no node is known that can run its program */
    int32_t bundle, priority;
    place_strategy strategy;
    uint32_t hops, failures;
    bool is_actor, is_detached, isolated, infeasible, is_revival, is_again; /* is_again: of a task, for its lost outputs */
    manta_actor owner;
    resources need;
    char labels[LABELS_TEXT];
} lease_request;

typedef struct queue { /* all zero: empty */
    lease_request *first, *last;
    id_table by_id;
    uint32_t count;
    struct {
        uint64_t job, turn; /* turn: when it was served last */
        resources used;     /* by its leases */
    } jobs[QUEUE_JOBS];
    uint32_t n_jobs;
    uint64_t turns;
} queue;

void queue_fini(queue *q);
bool queue_push(queue *q, lease_request *r);             /* owns it from now on; false: full, or no memory */
lease_request *queue_get(queue *q, uint64_t id);         /* NULL: not here */
lease_request *queue_remove(queue *q, lease_request *r); /* the caller's again */
/* The next in order of those that `may` allows; NULL: none. */
lease_request *queue_next(queue *q, const resources *total, bool (*may)(void *context, const lease_request *r), void *context);
void queue_use(queue *q, uint64_t job, const resources *r, bool back);     /* a lease of that job took, or gave back */
int64_t queue_share(const queue *q, uint64_t job, const resources *total); /* of what it uses most, in 1/10000 */

#endif
