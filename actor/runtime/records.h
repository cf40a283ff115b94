/*
 * The records of the runtime and who may touch what: actors here, futures and activations in handler_records.h. internal.h has the functions.
 *
 * An actor is a slot of 256 bytes in a type-stable slab, named by index and generation (odd: alive). Its owner is whoever runs its turn; only the owner touches the fields
 * marked so. Relations (links, monitors) change by messages that the owner handles, so they need no locks.
 */
#ifndef MANTA_RUNTIME_RECORDS_H
#define MANTA_RUNTIME_RECORDS_H

#include "actor/runtime/handler_records.h"

/* ---- actors ---- */
enum { /* actor.flags: set by anybody */
    ACTOR_BOUNDED = 1,
    ACTOR_KILL = 2,
    ACTOR_NUDGE = 4,
    ACTOR_TASK = 8,
    ACTOR_NAMED = 16,
    ACTOR_GATED = 32, /* a leased task, see actor/node/gate.c */
    ACTOR_WARD = 64   /* a supervisor's child, see actor/supervise/ward.h */
};
enum { PHASE_FREE, PHASE_STARTING, PHASE_LIVE, PHASE_TASK, PHASE_STOPPING };

typedef struct actor_extra { /* what few actors have; owner's, but `queued` and what says lock */
    char *name;
    struct {
        uint64_t *ids;
        uint32_t count, capacity;
    } links;
    struct {
        struct monitor *items;
        uint32_t count, capacity;
    } monitors; /* who watches me */
    struct {
        uint64_t *ids;
        uint32_t count, capacity;
    } watching; /* my own monitor ids in force */
    struct {
        message **items;
        uint32_t count, capacity, next;
    } stash;
    uint32_t unstash_left; /* stashed messages still to be redelivered by the running manta_unstash */
    struct {
        future **items;
        uint32_t count, capacity;
    } exit_waiters;
    uint32_t limit;
    _Atomic uint32_t queued;
    pthread_mutex_t room_lock; /* guards room_waiters */
    struct {
        future **items;
        uint32_t count, capacity;
    } room_waiters;
    manta_overflow overflow;
    manta_failure on_failure;
    bool trap_exit, unstash, in_groups;
    const manta_error *exit_error; /* a block */
    activation *suspended;         /* of a concurrent actor */
    uint64_t supervisor;           /* it ends with that actor, however that ends; 0: none */
    uint64_t moving;               /* its row in the control store, when it moves, see actor/node/moving.h; 0: it does not */
} actor_extra;
typedef struct monitor {
    uint64_t watcher, id;
    const manta_method *method;
} monitor;

struct actor {
    mailbox box;
    _Atomic uint32_t generation;
    _Atomic uint32_t flags;
    runnable run;
    _Atomic(activation *) resumed; /* concurrent actors: handlers whose wait is over; list by `next` */
    actor_extra *extra;            /* set before the actor is published, or by the owner */
    mailbox_end end;
    manta_class *cls;
    void *state;
    const manta_behavior *behavior;
    _Atomic uint64_t handled;
    uint16_t active;
    _Atomic uint16_t concurrency; /* suspended handlers; most of them */
    _Atomic uint8_t phase;
    _Atomic uint8_t blocked; /* concurrent actor at its limit: whoever resumes a handler schedules it */
    uint8_t state_on_heap, unused;
    _Atomic(activation *) waiting; /* the suspended (or running) handler, for those who interrupt or inspect */
    message *boot;                 /* init's or a task's message */
    _Alignas(16) unsigned char inline_state[LOCAL_INLINE_STATE];
};
_Static_assert(sizeof(actor) == 256, "actor layout");
extern slab actor_slab;

/* message.kind */
enum {
    KIND_CALL,
    KIND_STOP,
    KIND_LINK,
    KIND_UNLINK,
    KIND_EXIT,
    KIND_MONITOR,
    KIND_DEMONITOR,
    KIND_DOWN,
    KIND_WATCH,
    KIND_DYNAMIC,
    KIND_WAKE,
    KIND_CHECKPOINT, /* actor/durable */
    KIND_RESTORE
};
/* Arguments of on_exit and on_down methods, laid out like the macros do. */
typedef struct signal_arguments {
    manta_actor who;
    int32_t status;
    manta_str message;
} __attribute__((aligned(16))) signal_arguments;

/* ---- per worker and per external thread ---- */
typedef struct local {
    _Atomic uint64_t handled[METHOD_LIMIT], failed[METHOD_LIMIT];
    _Atomic uint64_t spawned, exited, dead_letters, failures, dropped;
    wait_node node; /* for blocking waits */
    _Atomic uint32_t node_word;
    struct trace_ring *trace;
    struct packer *packer; /* of actor/node */
} local;
static inline local *local_of(worker *w) { return w->user; }

typedef struct runtime {
    manta_config config;
    _Atomic int running; /* 0: no system, 1: up, 2: stopping */
    _Atomic uint32_t stuck_ms;
    uint32_t trace_level;
    _Atomic uint32_t exit_word; /* bumped by each exit while stopping */
    uint64_t seed;
} runtime;
extern runtime the_runtime;

/* ---- inline helpers ---- */
static inline actor *actor_of_run(runnable *r) { return (actor *)(void *)((unsigned char *)r - offsetof(actor, run)); }
static inline uint64_t actor_index(const actor *a) { return (uint64_t)((const unsigned char *)a - actor_slab.base) / sizeof(actor); }
static inline uint64_t actor_id(const actor *a) { return actor_index(a) | (uint64_t)load_relaxed(&((actor *)a)->generation) << 32; }

/* The slot that an id names, or NULL for an impossible index; the caller checks the generation. */
static inline actor *actor_slot(uint64_t id)
{
    uint64_t index = (uint32_t)id;
    return likely(index < actor_slab.capacity) ? (actor *)(void *)actor_slab.base + index : NULL; /* before slab_init the capacity is 0 */
}
static inline bool actor_is(const actor *a, uint64_t id)
{
    return a && (id >> 32 & 1) && load_acquire(&((actor *)a)->generation) == (uint32_t)(id >> 32);
}

#endif
