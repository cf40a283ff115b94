/*
 * The records of one handler: blocks, futures, activations. records.h has the actors and says who may touch what.
 *
 * A future is a record of 64 bytes in a type-stable slab. `state` decides everything: PENDING, READY, ABANDONED or a waiter; who exchanges it
 * to READY completes it, once. The value is written before, read after.
 * An activation is the record of the handler that runs on a fiber; it lives in fiber.user and is as type-stable as the fiber. Wake-ups may be spurious:
 * every wait loops on its condition.
 */
#ifndef MANTA_RUNTIME_HANDLER_RECORDS_H
#define MANTA_RUNTIME_HANDLER_RECORDS_H

#include <stdarg.h>

#include <manta/manta.h>

#include "mailbox/local/mailbox.h"
#include "scheduler/base/alloc.h"
#include "scheduler/base/check.h"
#include "scheduler/base/hash.h"
#include "scheduler/pool/pool.h"

enum { FUTURE_CACHE = 1, ACTOR_CACHE = 2 };
enum { NAME_LIMIT = 127, METHOD_LIMIT = 4096, LOCAL_INLINE_STATE = 112, RESULT_INLINE = 16, RESULT_STACK = 256 };

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
            uint32_t has_refs; /* see method->result.refs: the value holds counts */
        } large;               /* the value is memory->bytes[0 .. size), pointing into the rest */
        manta_error *error;    /* a block's bytes, see error_block */
        struct {
            _Atomic int remaining;
        } group;
    };
};
_Static_assert(sizeof(future) == 64, "future layout");
extern slab future_slab;

/* ---- activations ---- */
enum { ACT_EXIT = 1, ACT_STASH = 2 };

/* What a wait owes, on its own stack: run when the handler is abandoned in that wait (a kill, the actor's end). */
typedef struct unwind {
    struct unwind *next;
    void (*run)(worker *w, struct unwind *self);
} unwind;

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
    struct held_stream *streams;
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
    struct wait_timer *wait_timer; /* of the wait under way */
    unwind *unwind;                /* newest first */
    future *started;               /* of the actor that it has just spawned, see spawn_await_init */
    bool watches_init;             /* the next spawn here is to set that */
};
_Static_assert(sizeof(activation) <= FIBER_USER_BYTES, "activation fits a fiber");

/* ---- inline helpers ---- */
static inline activation *activation_of(worker *w) { return (activation *)(void *)w->fiber->user; }
static inline void unwind_push(activation *act, unwind *u)
{
    u->next = act->unwind;
    act->unwind = u;
}
static inline void unwind_pop(activation *act, const unwind *u) { act->unwind = u->next; }
static inline fiber *activation_fiber(activation *act) { return (fiber *)(void *)((unsigned char *)act - offsetof(fiber, user)); }
static inline uint64_t future_index(const future *f) { return (uint64_t)((const unsigned char *)f - future_slab.base) / sizeof(future); }
static inline manta_future future_handle(const future *f)
{
    return (manta_future){future_index(f) | (uint64_t)load_relaxed(&((future *)f)->generation) << 32};
}

#endif
