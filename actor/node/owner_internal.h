/*
 * What demand.c, dispatch.c and owner.c share.
 */
#ifndef MANTA_NODE_OWNER_INTERNAL_H
#define MANTA_NODE_OWNER_INTERNAL_H

#include "actor/node/owner.h"

enum { PENDING_MOST = 32, DEPTH_MOST = 1024, ASK_AGAIN_MS = 1000, LEASE_IDLE_MS = 20, HOST_IDLE_MS = 1000, STALL_MS = 20, TICK_MS = 5 };

extern pthread_mutex_t owner_lock; /* demands, their queues and leases */
extern demand *owner_demands;
demand *demand_of_index(uint64_t index);
demand *demand_of_id(uint64_t lease);      /* the first bits of a lease's id say whose it is; NULL: nobody's */
extern id_table owner_held, owner_pending; /* by id */

typedef enum order_kind { ORDER_REQUEST, ORDER_RELEASE, ORDER_KILL, ORDER_RECALL } order_kind;
/* What is to be sent when the lock has been given up. */
typedef struct orders {
    struct {
        order_kind kind;
        demand *demand;
        manta_actor to;
        uint64_t id, process;
        int32_t priority;
        uint64_t bytes_node, bytes; /* where most of the next task's arguments are */
    } items[64];
    uint32_t n;
} orders;
void orders_send(worker *w, orders *o);

/* dispatch.c; all under the lock but dispatch */
void node_learn(uint64_t process, uint64_t node);                 /* where a worker process is */
uint64_t node_of_arguments(const demand *d, uint64_t *out_bytes); /* of the next task; 0: nowhere in particular */
void dispatch(worker *w, demand *d);
uint64_t demand_wanted(const demand *d); /* leases that it should be asking for */
message *demand_pop(demand *d);
void demand_push(demand *d, message *m, bool first);
int32_t demand_priority(const demand *d);
void held_remove(held *h); /* out of its demand and the table; frees it */

/* owner.c; under the lock */
#define ORPHANED "this node's daemon has gone"
extern bool owner_is_orphaned;              /* so nothing will be granted any more */
pending *pending_add(demand *d, orders *o); /* asks for a lease; NULL: no memory, or the orders are full */
void pending_remove(pending *p);
void tick_start(worker *w);

uint64_t demand_new_id(const demand *d);
void demands_free(void);

#endif
