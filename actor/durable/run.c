/*
 * Calls of the log in the actor: in, and their answers out. An answer comes on the actor's thread, also when the keeper has gone.
 */
#include <stdio.h>
#include <string.h>

#include "actor/durable/keeper_internal.h"

typedef struct run {
    wait_node node;
    keeper *keeper;
    future *inner;
    uint64_t caller, number, position;
    uint32_t nested; /* calls that it has made */
} run;

void keeper_unref(keeper *k)
{
    if (sub_seq(&k->references, 1) != 1) return;
    calls_fini(&k->calls);
    pthread_mutex_destroy(&k->lock);
    base_free(k);
}

void *keeper_unpack(const manta_method *method, manta_bytes bytes)
{
    manta_reader r;
    char text[256] = "bytes follow the arguments";
    void *arguments = base_aligned_alloc(16, (method->arguments.size + 31) & ~(size_t)15);
    if (!arguments) return error_set(MANTA_ENOMEM, "%s.%s: no memory", method->owner, method->name), NULL;
    memset(arguments, 0, method->arguments.size);
    manta_reader_init(&r, bytes.data, bytes.size);
    method->arguments.unpack(&r, arguments);
    if (!r.status && r.at == r.end) return arguments;
    if (r.status) manta_reader_explain(&r, text, sizeof text);
    error_set(MANTA_EDECODE, "%s.%s: %s", method->owner, method->name, text);
    base_free(arguments);
    return NULL;
}

void keeper_answer(worker *w, future *reply, int32_t status, const void *bytes, size_t size)
{
    MantaOutcome o = {status, {bytes, size}};
    future_complete(w, reply, &MantaKeeper_call_method.result, &o, size);
}

/* The callers take it for a place that was lost: they find this one again, where the answer is. */
void keeper_ask_again(worker *w, future *reply)
{
    future_fail_status(w, reply, MANTA_ESTALE, "no memory for the answer of a durable actor");
}

static bool keep_error(durable_call *x, const manta_error *e)
{
    manta_writer w;
    manta_writer_init_growing(&w);
    pack_error(&w, e);
    bool ok = !w.status && call_keep(x, w.start, manta_writer_size(&w));
    manta_writer_fini(&w);
    x->status = (int32_t)(e->status ? e->status : MANTA_EFAILED);
    return ok;
}

/* The answer, as it is kept. */
static void keep_outcome(durable_call *x, const future *f)
{
    const manta_bytes *value = f->kind == VALUE_BLOCK ? (const manta_bytes *)(const void *)f->large.memory->bytes : NULL;
    manta_error *e = NULL;
    bool ok = true;
    if (f->kind == VALUE_ERROR) ok = keep_error(x, f->error);
    else if (value && value->size > OUTCOME_BYTES)
        e = error_new(MANTA_ETOOLONG, NULL, "the call was done, but its result has %zu bytes, and a durable actor's at most %d",
            value->size, OUTCOME_BYTES);
    else ok = call_keep(x, value ? value->data : NULL, value ? value->size : 0);
    if (e) ok = keep_error(x, e);
    if (!ok) { /* it was done, and that is all that is known of it */
        x->status = MANTA_EUNKNOWN;
        x->bytes.size = 0;
    }
    error_free(e);
}

/* What the callers are told: a copy, since the record may go meanwhile. Without memory for it they are told to ask again. */
typedef struct news {
    void **waiters;
    uint32_t n;
    int32_t status;
    void *bytes;
    size_t size;
    bool is_late;
} news;

static void note_outcome(keeper *k, const run *r, news *out)
{
    pthread_mutex_lock(&k->lock);
    durable_caller *c = calls_caller(&k->calls, r->caller);
    durable_call *x = c ? calls_find(c, r->number) : NULL;
    *out = (news){.n = 0};
    if (x) {
        keep_outcome(x, r->inner);
        x->state = CALL_DONE;
        *out = (news){x->waiters, x->n_waiters, x->status, NULL, x->bytes.size, false};
        x->waiters = NULL;
        x->n_waiters = x->room_waiters = 0;
        out->is_late = out->n && out->size && !(out->bytes = base_alloc(out->size));
        if (!out->bytes) out->size = 0;
        if (out->size) memcpy(out->bytes, x->bytes.data, out->size);
    }
    k->running--;
    pthread_mutex_unlock(&k->lock);
}

static void done(worker *w, wait_node *node)
{
    news tell;
    run *r = (run *)(void *)node;
    keeper *k = r->keeper;
    note_outcome(k, r, &tell);
    for (uint32_t i = 0; i < tell.n; i++)
        if (tell.is_late) keeper_ask_again(w, tell.waiters[i]);
        else keeper_answer(w, tell.waiters[i], tell.status, tell.bytes, tell.size);
    base_free(tell.bytes);
    base_free(tell.waiters);
    value_discard(r->inner);
    future_free(w, r->inner);
    base_free(r);
    keeper_unref(k);
}

static run *run_new(worker *w, keeper *k, const durable_call *x)
{
    run *r = base_calloc(1, sizeof *r);
    future *f = r ? future_new(w) : NULL;
    if (!f) {
        base_free(r);
        return NULL;
    }
    *r = (run){.node = {done}, .keeper = k, .inner = f, .caller = x->caller, .number = x->number, .position = x->position};
    f->packed = FUTURE_PACKED;
    store_relaxed(&f->target, k->who.id);
    store_relaxed(&f->state, (uintptr_t)&r->node | FUTURE_NODE);
    return r;
}

static message *message_of(worker *w, const keeper *k, const durable_call *x)
{
    const manta_method *method = keeper_method(k, x->method);
    void *arguments = method ? keeper_unpack(method, x->bytes) : NULL;
    message *m = arguments ? message_make(w, method, arguments, method->arguments.extra ? method->arguments.extra(arguments) : 0) : NULL;
    if (!method) error_set(MANTA_ENOMETHOD, "the program of this process has no such method as the actor's log");
    else if (arguments && !m) error_set(MANTA_ENOMEM, "%s.%s: no memory", method->owner, method->name);
    base_free(arguments);
    return m;
}

/* The message that runs it; NULL: error_set says why not. */
static message *ready_to_run(worker *w, keeper *k, const durable_call *x)
{
    message *m = message_of(w, k, x);
    run *r = m ? run_new(w, k, x) : NULL;
    if (r) m->reply = r->inner;
    else if (m) {
        message_discard(w, m);
        m = NULL;
        error_set(MANTA_ENOMEM, "no memory");
    }
    return m;
}

/* A call that is in the log must run before those behind it: for memory it waits. */
void keeper_run(worker *w, keeper *k, durable_call *x)
{
    enum { TRIES = 200 };
    message *m = NULL;
    if (k->broken) return;
    x->position = ++k->position;
    if (!k->dirty_ns) k->dirty_ns = manta_now_ns();
    for (int i = 0; i < TRIES && !(m = ready_to_run(w, k, x)) && manta_last_error()->status == MANTA_ENOMEM; i++) {
        (void)manta_sleep(AGAIN_MS);
        w = worker_self();
    }
    if (!m) {
        k->broken = manta_last_error()->status;
        snprintf(k->why, sizeof k->why, "a call of the log cannot run: %s", manta_last_error()->message);
        return;
    }
    add_seq(&k->references, 1);
    pthread_mutex_lock(&k->lock);
    x->state = CALL_RUNS;
    k->running++;
    pthread_mutex_unlock(&k->lock);
    message_post_at_once(w, k->who.id, m);
}

bool keeper_nested(worker *w, nested_call *out)
{
    activation *act = w->current ? activation_of(w) : NULL;
    future *reply = act && act->message ? act->message->reply : NULL;
    uintptr_t state = reply ? load_relaxed(&reply->state) : 0;
    run *r = (state & 3) == FUTURE_NODE ? (run *)(void *)(state & ~(uintptr_t)3) : NULL;
    if (!r || r->node.wake != done || r->nested == UINT16_MAX) return false;
    keeper *k = r->keeper;
    pthread_mutex_lock(&k->lock);
    uint64_t saved = k->saved_position;
    pthread_mutex_unlock(&k->lock);
    *out = (nested_call){k->uid | 1ull << 63, r->position << 16 | ++r->nested, saved << 16 | UINT16_MAX};
    return true;
}
