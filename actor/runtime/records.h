/*
 * The records of the runtime: actors, futures, activations, and who may touch what. internal.h has the functions.
 *
 * An actor is a slot of 256 bytes in a type-stable slab, named by index and generation (odd: alive). Its owner is whoever runs its turn; only the owner touches the fields
 * marked so. Relations (links, monitors) change by messages that the owner handles, so they need no locks.
 * A future is a record of 64 bytes in a type-stable slab. `state` decides everything: PENDING, READY, ABANDONED or a waiter; who exchanges it
 * to READY completes it, once. The value is written before, read after.
 * An activation is the record of the handler that runs on a fiber; it lives in fiber.user and is as type-stable as the fiber. Wake-ups may be spurious:
 * every wait loops on its condition.
 */
#ifndef MANTA_RUNTIME_RECORDS_H
#define MANTA_RUNTIME_RECORDS_H

#include <stdarg.h>

#include <manta/manta.h>

#include "mailbox/local/mailbox.h"
#include "scheduler/base/alloc.h"
#include "scheduler/base/check.h"
#include "scheduler/base/hash.h"
#include "scheduler/pool/pool.h"

enum { FUTURE_CACHE = 1, ACTOR_CACHE = 2 };
enum { NAME_LIMIT = 127, METHOD_LIMIT = 4096, LOCAL_INLINE_STATE = 128, RESULT_INLINE = 16, RESULT_STACK = 256 };

typedef struct actor actor;
typedef struct future future;
typedef struct activation activation;

/* ---- blocks: heap memory that a scope frees ---- */
typedef struct block {
    struct block *next;
    size_t size_bytes; /* of the payload */
    _Alignas(16) unsigned char bytes[];
} block;

/* ---- futures ---- */
#define FUTURE_PENDING ((uintptr_t)0)
#define FUTURE_READY ((uintptr_t)1)
#define FUTURE_ABANDONED ((uintptr_t)3)
#define FUTURE_NODE ((uintptr_t)2) /* tag of a wait_node; no tag: an activation */

/* Somebody who waits and is no suspended handler. wake runs once, on the completer's thread. */
typedef struct wait_node {
    void (*wake)(worker *w, struct wait_node *node);
} wait_node;

enum { FUTURE_PACKED = 1, FUTURE_ATTEMPT = 2 };
enum { VALUE_NONE, VALUE_INLINE, VALUE_BLOCK, VALUE_ERROR };

struct future {
    _Atomic uintptr_t state;
    _Atomic uint32_t generation; /* never 0 */
    uint8_t kind;                /* of the value: VALUE_* */
    uint8_t size;                /* VALUE_INLINE: bytes */
    _Atomic uint8_t cancelled;   /* the caller gave it up */
    uint8_t packed;              /* FUTURE_PACKED: the value is to be MessagePack; FUTURE_ATTEMPT: see attempt.c; set once */
    future *next, *previous;     /* scope list; of the owner; next == self: in no scope */
    _Atomic uint64_t target;     /* actor that will answer; for inspection */
    const manta_method *method;  /* that answers; NULL: an event */
    union {
        unsigned char bytes[RESULT_INLINE];
        struct {
            block *memory;
            uint32_t size;
        } large;            /* the value is memory->bytes[0 .. size), pointing into the rest */
        manta_error *error; /* a block's bytes, see error_block */
        struct {
            _Atomic int remaining, references;
        } group;
    };
};
_Static_assert(sizeof(future) == 64, "future layout");
extern slab future_slab;

/* ---- activations ---- */
enum { ACT_EXIT = 1, ACT_STASH = 2 };
struct activation {
    actor *actor;
    message *message;
    const manta_method *method;
    uint8_t flags;      /* ACT_* */
    uint8_t dirty;      /* something below wants cleaning up */
    uint8_t concurrent; /* the actor interleaves handlers */
    _Atomic uint8_t timed_out;
    uint32_t scope_depth;
    block *blocks;
    unsigned char *at, *end; /* rest of the newest arena block */
    future *futures;         /* made here, not consumed */
    struct held_ref *refs;
    const manta_error *failure; /* of manta_fail: in blocks */
    const manta_error *last_error;
    manta_error *exit_error;  /* owned, in no scope */
    struct stream *stream;    /* a generator's */
    struct scope_mark *marks; /* of manta_scope_begin */
    _Atomic(_Atomic uintptr_t *) waiting_on;
    const char *_Atomic wait_kind;
    _Atomic uint64_t wait_target, began_ns;
    activation *next;                                /* list of resumed ones of a concurrent actor */
    activation *suspended_next, *suspended_previous; /* list of suspended ones of a concurrent actor; owner's */
    manta_status exit_status;
    uint64_t local[4]; /* the other runtime files' */
};
_Static_assert(sizeof(activation) <= FIBER_USER_BYTES, "activation fits a fiber");

/* ---- actors ---- */
enum { /* actor.flags: set by anybody */
    ACTOR_BOUNDED = 1,
    ACTOR_KILL = 2,
    ACTOR_NUDGE = 4,
    ACTOR_TASK = 8,
    ACTOR_NAMED = 16
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
    void *supervisor;
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
    _Atomic(activation *) waiting; /* the suspended (or running) handler, for those who interrupt or inspect */
    _Atomic uint64_t handled;
    message *boot; /* init's or a task's message */
    uint16_t active;
    _Atomic uint16_t concurrency; /* suspended handlers; most of them */
    _Atomic uint8_t phase;
    _Atomic uint8_t blocked; /* concurrent actor at its limit: whoever resumes a handler schedules it */
    uint8_t state_on_heap, unused;
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
    KIND_WAKE
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
static inline activation *activation_of(worker *w) { return (activation *)(void *)w->fiber->user; }
static inline fiber *activation_fiber(activation *act) { return (fiber *)(void *)((unsigned char *)act - offsetof(fiber, user)); }
static inline uint64_t future_index(const future *f) { return (uint64_t)((const unsigned char *)f - future_slab.base) / sizeof(future); }
static inline manta_future future_handle(const future *f)
{
    return (manta_future){future_index(f) | (uint64_t)load_relaxed(&((future *)f)->generation) << 32};
}

/* The slot that an id names, or NULL for an impossible index; the caller checks the generation. */
static inline actor *actor_slot(uint64_t id)
{
    uint64_t index = (uint32_t)id;
    return likely(index < actor_slab.capacity) && actor_slab.base ? (actor *)slab_at(&actor_slab, index) : NULL;
}
static inline bool actor_is(const actor *a, uint64_t id)
{
    return a && (id >> 32 & 1) && load_acquire(&((actor *)a)->generation) == (uint32_t)(id >> 32);
}

#endif
