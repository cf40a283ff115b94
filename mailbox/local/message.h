/*
 * A message: a pooled node of 128 bytes with its payload in place up to 80 bytes, or a zmq_msg_t frame for anything larger.
 *
 *   0 next 8 | 8 from 8 | 16 reply 8 | 24 method 8 | 32 generation 4 | 36 size 4 | 40 kind 1 | 41 flags 1 | 48 payload 80 (16-aligned)
 *
 * A message belongs to one place at a time: its maker, a mailbox, the handler that runs it. Pools are per thread (slab).
 */
#ifndef MANTA_MESSAGE_H
#define MANTA_MESSAGE_H

#include <stddef.h>
#include <stdint.h>
#include <zmq.h>

#include "scheduler/base/atomics.h"
#include "scheduler/pool/pool.h"

enum { MESSAGE_INLINE = 80, MESSAGE_CACHE = 0 };
enum {                 /* flags */
    MESSAGE_FRAME = 1, /* the payload is in `frame` */
    MESSAGE_HELD = 2,  /* a handler or a stash needs it after the mailbox let go */
    MESSAGE_PASSED = 4 /* held, and the mailbox has let go */
};

typedef struct message {
    _Atomic(struct message *) next;
    uint64_t from;       /* sender's actor id; 0: no actor */
    void *reply;         /* the future to complete, or NULL */
    const void *method;  /* what to do, for the upper layer */
    uint32_t generation; /* of the receiver it was meant for */
    uint32_t size;       /* payload bytes */
    uint8_t kind, flags; /* kind: the upper layer's */
    uint16_t retries;
    union {
        _Alignas(16) unsigned char bytes[MESSAGE_INLINE];
        zmq_msg_t frame;
        uint64_t words[MESSAGE_INLINE / 8];
    };
} message;
_Static_assert(sizeof(message) == 128 && offsetof(message, bytes) == 48, "message layout");

extern slab message_slab;

/* Makes the pool; limit: most messages of the process. */
bool message_pool_init(uint64_t limit);

/* A message with room for size_bytes; NULL: out of memory. All fields but payload, size, flags and retries are unset. */
message *message_new_large(worker *w, size_t size_bytes);
static inline message *message_new(worker *w, size_t size_bytes)
{
    if (unlikely(size_bytes > MESSAGE_INLINE)) return message_new_large(w, size_bytes);
    message *m = slab_get(&message_slab, &w->caches[MESSAGE_CACHE], 0);
    if (unlikely(!m)) return NULL;
    m->size = (uint32_t)size_bytes;
    m->flags = 0;
    m->retries = 0;
    return m;
}

static inline void *message_payload(message *m) { return likely(!(m->flags & MESSAGE_FRAME)) ? (void *)m->bytes : zmq_msg_data(&m->frame); }

/* Gives the message back; one that is held is only marked. */
void message_free_slow(worker *w, message *m);
static inline void message_free(worker *w, message *m)
{
    if (unlikely(m->flags)) message_free_slow(w, m);
    else slab_put(&message_slab, &w->caches[MESSAGE_CACHE], m, 0);
}

/* The owner of the mailbox keeps m beyond its turn, and later lets it go. */
static inline void message_hold(message *m) { m->flags |= MESSAGE_HELD; }
void message_release(worker *w, message *m);

/* The owner is through with a popped message that no handler ran. */
static inline void message_done(worker *w, message *m)
{
    if (unlikely(m->flags & MESSAGE_HELD)) message_release(w, m);
}

#endif
