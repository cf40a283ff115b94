/*
 * The owner's side of work on a cluster: each process of a job queues its tasks by what they need (a *demand*), asks its node for leases, and sends the tasks to the leased workers, several at a time when they
 * are short. leases.h has the node's side.
 */
#ifndef MANTA_NODE_OWNER_H
#define MANTA_NODE_OWNER_H

#include "actor/node/leases.h"
#include "actor/node/node.h"

enum {
    LEVELS = 3,
    GROUP_PLACES = 16,
    FUTURE_LEASED = 4 /* future.packed: of a task of a job; its bytes: {call or queued message, lease} */
};

typedef struct held { /* a lease that this process has */
    struct held *next;
    struct demand *demand;
    uint64_t id, process;
    peer *peer; /* NULL: this process itself */
    manta_actor leases;
    uint32_t in_flight, actors;
    bool recalled, asked_back; /* to be given back when nothing is under way; its unstarted tasks have been asked for */
    uint64_t last_ns;          /* when something last happened */
    uint64_t kill_ns;          /* when its process is to be killed; 0: never */
} held;

typedef struct pending { /* a request under way */
    struct pending *next;
    struct demand *demand;
    uint64_t id, asked_ns;
    future *event; /* somebody waits for this one; completed once */
    held *got;
    manta_status status;
    char text[200];
} pending;

typedef struct demand { /* made once, kept until the end */
    struct demand *next;
    resources need;
    char need_text[RESOURCES_TEXT], labels[LABELS_TEXT];
    manta_where strategy;
    uint64_t node, group;
    int32_t bundle;
    bool is_detached, isolated;
    bool is_again;           /* for lost outputs */
    bool is_actor, is_short; /* several tasks may be sent to a worker: they need cpus alone */
    struct {
        message *first, *last;
    } queue[LEVELS];
    uint64_t queued, dead; /* dead: cancelled, still in the list */
    held *leases;
    pending *pending;
    uint32_t index, n_leases, n_pending, depth, spawned;
    uint64_t service_ns; /* of a task, by its completions */
    bool full;           /* no lease has room */
    uint64_t used_ns;
    manta_actor places[GROUP_PLACES]; /* the nodes of its placement group */
    uint32_t n_places, turn;
    bool is_asking; /* for those */
} demand;

/* What the options ask for; NULL: error_set says what is wrong with them. `o` may be NULL. */
demand *demand_of(const manta_options *o, const char *what, bool is_actor);
demand *demand_again(const manta_options *o, const char *what); /* of a task that runs once more for its lost outputs */
demand *demand_of_actor(const manta_options *o, const manta_class *cls);

/* Queues a task; takes m, whose reply is completed in any case. Any thread; does not wait. */
void owner_submit(worker *w, demand *d, message *m);
void owner_done(worker *w, future *f);                 /* before f, a leased task's, is completed */
void owner_returned(worker *w, future *f, message *m); /* a task that was sent and not begun comes back; m->reply is f */
message *owner_help(uint32_t cpus);                  /* a task that waits here for a lease and needs no more than these cpus; NULL: none */
void owner_cancel(worker *w, future *f, bool force); /* f->cancelled is set */
void owner_peer_up(worker *w);                       /* a peer can take objects now */
void owner_peer_down(worker *w, uint64_t process);

/* A process for an actor, and the lease that it is to hold (0: none). Waits. */
typedef struct actor_place {
    uint64_t process, lease; /* lease 0: none */
    manta_actor leases;      /* whose it is */
} actor_place;
manta_status owner_place(demand *d, uint64_t timeout_ms, actor_place *out);
void owner_give_back(const actor_place *place);

bool owner_start(void);
bool owner_is_idle(void);
manta_actor owner_actor(void);
void owner_stop(worker *w);
extern _Atomic uint32_t owner_is_on;

/* ---- gate.c: a worker runs its leased tasks one after the other; one that waits lets the next begin ---- */
enum { MESSAGE_GATED = 8 /* message.flags */ };
void gate_push(worker *w, message *m);
struct stream *inbound_generator(const message *m); /* inbound.c: where the values of another process's generator go; NULL: no memory */
void inbound_generator_ends(const message *m);
void gate_leave(worker *w); /* a task waits */
void gate_enter(worker *w); /* and goes on */
void gate_end(worker *w);
void gate_poke(worker *w);                                                         /* there may be a task to help with */
message *gate_take(const future *reply);                                           /* out of the queue; NULL: it has begun */
message *gate_take_of(bool (*is)(const message *m, void *context), void *context); /* any such */
uint32_t gate_alive(void);

#endif
