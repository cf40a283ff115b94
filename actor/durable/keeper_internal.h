/*
 * What keeper.c (admission, the log, the end), recover.c and run.c (the calls in the actor) share. All of it is the keeper's handlers' but what says lock.
 */
#ifndef MANTA_KEEPER_INTERNAL_H
#define MANTA_KEEPER_INTERNAL_H

#include "actor/durable/calls.h"
#include "actor/durable/keeper.h"

enum { RECORD_CALLS = 512, RECORD_BYTES = 256 << 10, OUTCOME_BYTES = 64 << 10, LOG_CALLS = 1 << 16, AGAIN_MS = 50 };

typedef struct early_call { /* one that came before the state was back */
    struct early_call *next;
    MantaDurableCall what;
    future *reply;
    unsigned char arguments[];
} early_call;

typedef struct keeper {
    pthread_mutex_t lock; /* calls and what is in them, running, saved_position, is_gone */
    _Atomic int references;
    uint64_t uid, epoch;
    manta_actor who; /* of this process */
    const manta_class *cls;
    durable_calls calls;
    durable_call *batch_first, *batch_last; /* of those that wait; lock */
    early_call *early_first, *early_last;
    uint32_t n_early;
    uint32_t running;
    bool is_gone;
    bool is_open, is_flushing, is_saving, has_reported;
    manta_status broken; /* all calls fail with it */
    char why[256];
    uint64_t record, position;             /* the last ones of the log; all up to them are with the actor */
    uint64_t saved_record, saved_position; /* in the checkpoint */
    uint64_t dirty_ns;                     /* since when there is more than that */
} keeper;

static inline const manta_method *keeper_method(const keeper *k, uint64_t hash)
{
    const manta_method *m = method_find(hash);
    return m && m->cls == k->cls && m != k->cls->init ? m : NULL;
}

/* ---- run.c ---- */
void keeper_run(worker *w, keeper *k, durable_call *x); /* the next one of the log: to the actor; may wait. On failure k->broken says why */
void keeper_answer(worker *w, future *reply, int32_t status, const void *bytes, size_t size);
void keeper_ask_again(worker *w, future *reply);
void keeper_unref(keeper *k);
void *keeper_unpack(const manta_method *method, manta_bytes bytes); /* the arguments; NULL: error_set; base_free */

/* ---- recover.c ---- */
manta_status keeper_recover(keeper *k); /* waits; error_set says why not */
/* A request of the actor's turn: KIND_CHECKPOINT or KIND_RESTORE; waits. *out_state: the caller's scope's. */
manta_status keeper_state(const keeper *k, int kind, manta_bytes in, manta_bytes *out_state);

#endif
