/*
 * What moving.c (where an actor is) and moving_calls.c (the calls to it) share.
 */
#ifndef MANTA_NODE_MOVING_INTERNAL_H
#define MANTA_NODE_MOVING_INTERNAL_H

#include "actor/node/moving.h"

typedef enum moving_state { MOVING_UNKNOWN, MOVING_ALIVE, MOVING_LOST, MOVING_DEAD } moving_state;

typedef struct moving_call {             /* one that is not answered */
    struct moving_call *next, *previous; /* all of this actor's, in order of number */
    struct moving_call *queue_next;      /* those that wait for a place, likewise */
    struct moving *of;
    struct attempt_node *under_way; /* NULL: it waits */
    future *user;                   /* NULL: one way */
    const manta_method *method;
    uint64_t from, number;                       /* number: of this process, to this actor */
    uint64_t caller, caller_number, caller_done; /* of a durable actor's call; caller 0: this process */
    uint32_t retries;
    bool again; /* has been sent before */
    size_t extra_bytes;
    _Alignas(16) unsigned char arguments[];
} moving_call;

typedef struct attempt_node { /* one sending of a call; lives until its future is completed */
    wait_node node;
    future *inner;
    moving_call *call; /* NULL: given up */
    struct moving *of;
    uint64_t epoch;
} attempt_node;

typedef struct moving {
    uint64_t uid;
    pthread_mutex_t lock; /* all below */
    moving_state state;
    uint64_t epoch, target, process; /* target: the actor, or its keeper, as a handle of this process */
    manta_class *cls;                /* as this program knows it; NULL: it does not, or its row has not come */
    uint64_t lost_epoch;             /* this place does not answer any more, as far as this process knows */
    uint64_t expected;
    char reason[256];
    bool is_given_up; /* it is dead here, and its row says that it is not */
    moving_call *first, *last, *queue_first;
    uint32_t count;
    bool is_flushing;
    uint64_t numbers;
    relation_record *watchers;
    uint32_t n_watchers, room_watchers;
    future **waiters;
    uint32_t n_waiters, room_waiters;
} moving;

moving *moving_get(uint64_t uid, bool make); /* NULL: unknown; no memory, or too many */

/* ---- moving_calls.c ---- */
manta_status moving_call_post(worker *w, moving *m, message *message_, uint64_t handle);
void moving_flush(worker *w, moving *m);                         /* sends what waits, when there is a place */
void moving_give_up(worker *w, moving *m, uint64_t epoch);       /* what is under way to that place or an older one waits again, or fails */
void moving_fail_all(worker *w, moving *m, manta_status status); /* with m->reason */

#endif
