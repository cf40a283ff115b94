/*
 * A call: comes, is admitted (known? then its answer, or another one who waits for it), waits in the batch, is written to the log with all others that wait, and then runs. While one record is being written the next batch grows: so the
 * number of calls a second is not bound by the time that a write takes.
 *
 * 1. What runs is in the log before, in this order; what is answered has run. So what a caller has an answer of is never lost.
 * 2. A record is written in this keeper's epoch or not at all: when the store says that another place has a greater one, this incarnation ends, and its callers go there.
 * 3. A checkpoint is the actor's state after a call p, and the answers of the calls up to p that callers may still ask for; then the log up to p is of no use.
 */
#include "actor/durable/keeper.h"

#include <stdio.h>
#include <string.h>

#include "actor/durable/keeper_internal.h"
#include "actor/node/control.h"

enum { CHECKPOINT_CALLS = 256, CHECKPOINT_MS = 10000, TICK_MS = 250, DRAIN_MS = 5000 };

static MantaKeeper_ref me(void)
{
    return MantaKeeper_ref_of((manta_actor){activation_self()->actor ? actor_id(activation_self()->actor) : 0});
}

/* ---- ends ---- */

static void tell_waiters(durable_call *x, manta_status status, const char *why)
{
    for (uint32_t i = 0; i < x->n_waiters; i++) future_fail_status(worker_self(), x->waiters[i], status, "%s", why);
    x->n_waiters = 0;
}

/* Under the lock: out of the books, as if it had never come. */
static void reject(keeper *k, durable_call *x, manta_status status, const char *why)
{
    durable_caller *c = calls_caller(&k->calls, x->caller);
    tell_waiters(x, status, why);
    if (c) calls_remove(c, x);
}

static void reject_batch(keeper *k, manta_status status, const char *why)
{
    for (early_call *e; (e = k->early_first);) {
        k->early_first = e->next;
        future_fail_status(worker_self(), e->reply, status, "%s", why);
        base_free(e);
    }
    pthread_mutex_lock(&k->lock);
    for (durable_call *x; (x = k->batch_first);) {
        k->batch_first = x->batch_next;
        reject(k, x, status, why);
    }
    k->batch_last = NULL;
    pthread_mutex_unlock(&k->lock);
}

/* Another place has the actor. */
static void fenced(keeper *k)
{
    if (k->broken == MANTA_ESTALE) return;
    k->broken = MANTA_ESTALE;
    snprintf(k->why, sizeof k->why, "the actor is in another place now");
    reject_batch(k, MANTA_ESTALE, k->why);
    (void)manta_kill(k->who);
    manta_exit(MANTA_ESTALE, "%s", k->why);
}

/* ---- admission ---- */

static manta_status wait_for(durable_call *x, future *reply)
{
    if (x->n_waiters == x->room_waiters) {
        uint32_t room = x->room_waiters ? x->room_waiters * 2 : 1;
        void **grown = base_realloc(x->waiters, room * sizeof *grown);
        if (!grown) return error_set(MANTA_ENOMEM, "no memory for a call");
        x->waiters = grown;
        x->room_waiters = room;
    }
    x->waiters[x->n_waiters++] = reply;
    return MANTA_OK;
}

static manta_status new_call(keeper *k, durable_caller *c, const MantaDurableCall *what, future *reply)
{
    if (c->n_calls >= ANSWERS_LIMIT)
        return error_set(MANTA_ELIMIT, "a caller has %d calls of the durable actor whose answers it may still ask for", ANSWERS_LIMIT);
    if (k->position - k->saved_position >= LOG_CALLS)
        return error_set(
            MANTA_ELIMIT, "%d calls are in the log and in no checkpoint: %s", LOG_CALLS, k->why[0] ? k->why : "it is on its way");
    durable_call *x = calls_add(c, what->number);
    if (!x || !call_keep(x, what->arguments.data, what->arguments.size) || wait_for(x, reply)) {
        if (x) calls_remove(c, x);
        return error_set(MANTA_ENOMEM, "no memory for a call");
    }
    x->method = what->method;
    if (k->batch_last) k->batch_last->batch_next = x;
    else k->batch_first = x;
    k->batch_last = x;
    return MANTA_OK;
}

/* Under the lock. *out_known: it has been answered, and this is the answer. */
static manta_status admit(keeper *k, const MantaDurableCall *what, future *reply, durable_call **out_known)
{
    if (what->again && k->calls.forgotten && k->is_open && !calls_has(&k->calls, what->caller))
        return error_set(
            MANTA_EUNKNOWN, "the durable actor remembers %d callers, and this one it has forgotten: the call may have run", CALLERS_LIMIT);
    durable_caller *c = calls_caller(&k->calls, what->caller);
    if (!c) return error_set(MANTA_ELIMIT, "more than %d callers of the durable actor at a time, or no memory", CALLERS_LIMIT);
    calls_done(c, what->done);
    if (what->number <= c->done)
        return error_set(MANTA_EUNKNOWN, "the call was answered before, and its caller said that it has the answer");
    durable_call *x = calls_find(c, what->number);
    if (!x) return new_call(k, c, what, reply);
    if (x->state != CALL_DONE) return wait_for(x, reply);
    *out_known = x;
    return MANTA_OK;
}

static manta_status check_call(const keeper *k, const MantaDurableCall *what)
{
    const manta_method *method = keeper_method(k, what->method);
    if (k->broken) return error_set(k->broken, "%s", k->why);
    if (what->epoch != k->epoch)
        return error_set(MANTA_ESTALE, "the actor is here in epoch %llu, the caller wants %llu", (unsigned long long)k->epoch,
            (unsigned long long)what->epoch);
    if (!method) return error_set(MANTA_ENOMETHOD, "%s has no such method: the programs differ", k->cls->name);
    void *arguments = keeper_unpack(method, what->arguments);
    base_free(arguments);
    return arguments ? MANTA_OK : manta_last_error()->status;
}

MANTA_METHOD_DECLARE(MantaKeeper, init, void, (uint64_t, uid), (uint64_t, epoch), (manta_actor, who))
MANTA_METHOD_DECLARE(MantaKeeper, flush, void)
MANTA_METHOD_DECLARE(MantaKeeper, save, void)
MANTA_METHOD_DECLARE(MantaKeeper, tick, void)
MANTA_METHOD_DECLARE(MantaKeeper, on_down, void, (manta_actor, who), (int32_t, status), (manta_str, why))
MANTA_METHOD_DECLARE(MantaKeeper, on_exit, void, (manta_actor, who), (int32_t, status), (manta_str, why))

static void start_flush(keeper *k)
{
    if (!k->is_open || k->is_flushing || !k->batch_first) return;
    k->is_flushing = true;
    (void)MantaKeeper_flush_send(me());
}

/* Only with its state and log back can the keeper know whether a call is new. */
static manta_status keep_early(keeper *k, const MantaDurableCall *what, future *reply)
{
    size_t size = what->arguments.size;
    early_call *e = k->n_early < LOG_CALLS ? base_alloc(sizeof *e + size) : NULL;
    if (!e) return error_set(MANTA_ELIMIT, "more than %d calls wait for the actor's state, or no memory", LOG_CALLS);
    *e = (early_call){.what = *what, .reply = reply};
    if (size) memcpy(e->arguments, what->arguments.data, size);
    e->what.arguments.data = e->arguments;
    if (k->early_first) k->early_last->next = e;
    else k->early_first = e;
    k->early_last = e;
    k->n_early++;
    return MANTA_OK;
}

static void admit_early(keeper *k)
{
    for (early_call *e; (e = k->early_first);) {
        durable_call *known = NULL;
        k->early_first = e->next;
        pthread_mutex_lock(&k->lock);
        manta_status status = admit(k, &e->what, e->reply, &known);
        void *copy = known && known->bytes.size ? base_alloc(known->bytes.size) : NULL;
        size_t size = copy ? known->bytes.size : 0;
        bool is_late = known && known->bytes.size && !copy;
        int32_t outcome = known ? known->status : MANTA_OK;
        if (copy) memcpy(copy, known->bytes.data, size);
        pthread_mutex_unlock(&k->lock);
        if (status) future_fail_status(worker_self(), e->reply, status, "%s", manta_last_error()->message);
        else if (is_late) keeper_ask_again(worker_self(), e->reply);
        else if (known) keeper_answer(worker_self(), e->reply, outcome, copy, size);
        base_free(copy);
        base_free(e);
    }
}

/* The reply is taken out of the message: it is completed when the call has run, not when this handler returns. */
MANTA_METHOD_DEFINE(MantaKeeper, call, MantaOutcome, (MantaDurableCall, what))
{
    keeper *k = self->k;
    message *m = activation_self()->message;
    future *reply = m->reply;
    durable_call *known = NULL;
    MantaOutcome outcome = {0};
    if (!reply) return outcome;
    manta_status status = check_call(k, &what);
    if (!status && !k->is_open) {
        if (keep_early(k, &what, reply)) return manta_fail(MANTA_ELIMIT, "%s", manta_last_error()->message), outcome;
        m->reply = NULL;
        return outcome;
    }
    pthread_mutex_lock(&k->lock);
    if (!status) status = admit(k, &what, reply, &known);
    if (known) {
        void *copy = known->bytes.size ? manta_alloc(known->bytes.size) : NULL;
        if (copy) memcpy(copy, known->bytes.data, known->bytes.size);
        else if (known->bytes.size) status = error_set(MANTA_ESTALE, "no memory for the answer of a durable actor");
        outcome = (MantaOutcome){known->status, {copy, copy ? known->bytes.size : 0}};
    }
    pthread_mutex_unlock(&k->lock);
    if (status) manta_fail(status, "%s", manta_last_error()->message);
    else if (!known) m->reply = NULL;
    start_flush(k);
    return outcome;
}

/* ---- the log ---- */

static void pack_call(manta_writer *w, const durable_call *x)
{
    manta_pack_uint64_t(w, &x->caller);
    manta_pack_uint64_t(w, &x->number);
    manta_pack_uint64_t(w, &x->method);
    manta_pack_manta_bytes(w, &x->bytes);
}

/* The calls that wait, as many as fit into a record; they stay in the books. */
static durable_call *take_batch(keeper *k, manta_writer *w)
{
    uint32_t n = 0;
    size_t bytes = 0;
    pthread_mutex_lock(&k->lock);
    durable_call *first = k->batch_first, *last = NULL;
    for (durable_call *x = first; x && n < RECORD_CALLS && (!n || bytes + x->bytes.size <= RECORD_BYTES); x = x->batch_next, n++) {
        bytes += x->bytes.size;
        last = x;
    }
    if (last) {
        k->batch_first = last->batch_next;
        last->batch_next = NULL;
        if (!k->batch_first) k->batch_last = NULL;
    }
    manta_pack_array(w, 4 * n);
    for (const durable_call *x = first; x && n; x = x->batch_next) pack_call(w, x);
    pthread_mutex_unlock(&k->lock);
    return first;
}

/* Waits. A write whose fate is not known is written again: the same number in the same epoch counts once. */
static manta_status write_until_known(const keeper *k, bool is_state, uint64_t number, const manta_writer *bytes)
{
    manta_status status = bytes->status;
    bool again = !status;
    char why[256] = "no memory"; /* the error is the scope's */
    while (again && !manta_scope_begin()) {
        manta_writer w;
        gcs_reply reply;
        manta_bytes what = {bytes->start, manta_writer_size(bytes)};
        manta_writer_init_growing(&w);
        if (is_state) gcs_write_actor_save(&w, NULL, &(gcs_actor_save){k->uid, k->epoch, number, what});
        else gcs_write_actor_log(&w, NULL, &(gcs_actor_log){k->uid, k->epoch, number, what});
        status = control_call(is_state ? "a checkpoint" : "a durable call", false, &w, GCS_TIMEOUT_MS, &reply);
        again = status == MANTA_ETIMEDOUT || status == MANTA_EUNKNOWN || status == MANTA_ENOTLEADER || status == MANTA_ENOMEM;
        snprintf(why, sizeof why, "%s", status ? manta_last_error()->message : "");
        (void)manta_scope_end();
        if (again && manta_sleep(AGAIN_MS)) again = false;
    }
    return status ? error_set(status, "%s", why) : MANTA_OK;
}

static bool is_fenced(manta_status s) { return s == MANTA_ESTALE || s == MANTA_EDEAD || s == MANTA_ENOTFOUND; }

static void log_batch(keeper *k)
{
    manta_writer record;
    char why[256];
    manta_writer_init_growing(&record);
    durable_call *first = take_batch(k, &record);
    manta_status status = write_until_known(k, false, k->record + 1, &record);
    snprintf(why, sizeof why, "%s", status ? manta_last_error()->message : "");
    manta_writer_fini(&record);
    if (!status) k->record++;
    for (durable_call *x = first, *next; x; x = next) {
        next = x->batch_next;
        x->batch_next = NULL;
        if (!status) keeper_run(worker_self(), k, x);
        if (!status && !k->broken) continue;
        if (!status) snprintf(why, sizeof why, "%s", k->why);
        pthread_mutex_lock(&k->lock);
        reject(k, x, is_fenced(status) ? MANTA_ESTALE : status ? status : MANTA_EUNKNOWN, why); /* EUNKNOWN: it is in the log */
        pthread_mutex_unlock(&k->lock);
    }
    if (is_fenced(status)) fenced(k);
}

static uint32_t checkpoint_calls(const keeper *k)
{
    return k->cls->options.checkpoint_calls ? k->cls->options.checkpoint_calls : CHECKPOINT_CALLS;
}

MANTA_METHOD_DEFINE(MantaKeeper, flush, void)
{
    keeper *k = self->k;
    while (k->batch_first && !k->broken) log_batch(k);
    k->is_flushing = false;
    if (k->broken) reject_batch(k, k->broken, k->why);
    if (!k->is_saving && !k->broken && k->position - k->saved_position >= checkpoint_calls(k)) (void)MantaKeeper_save_send(me());
}

/* ---- checkpoints ---- */

static manta_status write_state(keeper *k, uint64_t record, uint64_t position, manta_bytes state)
{
    manta_writer w;
    unsigned char number[8];
    manta_writer_init_growing(&w);
    manta_store_be64(number, record);
    manta_pack_raw(&w, number, sizeof number);
    manta_pack_array(&w, 3);
    manta_pack_uint64_t(&w, &position);
    manta_pack_manta_bytes(&w, &state);
    pthread_mutex_lock(&k->lock);
    calls_pack(&w, &k->calls, position);
    pthread_mutex_unlock(&k->lock);
    manta_status status = write_until_known(k, true, record, &w);
    manta_writer_fini(&w);
    return status;
}

static void saved(keeper *k, uint64_t record, uint64_t position)
{
    pthread_mutex_lock(&k->lock);
    k->saved_position = position;
    pthread_mutex_unlock(&k->lock);
    k->saved_record = record;
    k->dirty_ns = k->position > position ? manta_now_ns() : 0;
    k->has_reported = false;
    k->why[0] = 0;
}

/* No loss: the log stays. But it must not grow for ever, see new_call. */
static void not_saved(keeper *k, manta_status status)
{
    snprintf(k->why, sizeof k->why, "%s: %s", manta_status_name(status), manta_last_error()->message);
    if (!k->has_reported) runtime_report("a checkpoint of a durable %s could not be written: %s", k->cls->name, k->why);
    k->has_reported = true;
}

static void save(keeper *k)
{
    uint64_t record = k->record, position = k->position;
    manta_bytes state = {NULL, 0};
    if (k->is_saving || k->broken || !k->is_open || position == k->saved_position) return;
    k->is_saving = true;
    manta_status status = keeper_state(k, KIND_CHECKPOINT, (manta_bytes){NULL, 0}, &state);
    if (!status) status = write_state(k, record, position, state);
    k->is_saving = false;
    if (!status) saved(k, record, position);
    else if (is_fenced(status)) fenced(k);
    else not_saved(k, status);
}

MANTA_METHOD_DEFINE(MantaKeeper, save, void) { save(self->k); }

MANTA_METHOD_DEFINE(MantaKeeper, tick, void)
{
    keeper *k = self->k;
    uint64_t ms = k->cls->options.checkpoint_ms ? k->cls->options.checkpoint_ms : CHECKPOINT_MS;
    if (!k->is_saving && k->dirty_ns && manta_now_ns() - k->dirty_ns >= ms * OS_NS_PER_MS) (void)MantaKeeper_save_send(me());
}

/* ---- begin and end ---- */

MANTA_METHOD_DEFINE(MantaKeeper, init, void, (uint64_t, uid), (uint64_t, epoch), (manta_actor, who))
{
    const actor *a = actor_slot(who.id);
    keeper *k = actor_is(a, who.id) ? base_calloc(1, sizeof *k) : NULL;
    if (!k) {
        manta_fail(MANTA_ENOMEM, "no memory for a keeper, or its actor has ended");
        return;
    }
    pthread_mutex_init(&k->lock, NULL);
    store_relaxed(&k->references, 1);
    k->uid = uid;
    k->epoch = epoch;
    k->who = who;
    k->cls = a->cls;
    self->k = k;
    (void)manta_link(who);
    (void)manta_monitor(who, MantaKeeper_on_down, NULL);
    (void)MantaKeeper_tick_every(TICK_MS, me());
}

/* The state is there, and this incarnation could not take it: another one may. */
static void start_over(keeper *k)
{
    (void)manta_kill(k->who);
    manta_exit(MANTA_EINIT, "%s", k->why);
}

MANTA_METHOD_DEFINE(MantaKeeper, begin, void)
{
    keeper *k = self->k;
    if (k->epoch > 1 && keeper_recover(k)) runtime_report("a durable %s: %s", k->cls->name, manta_last_error()->message);
    k->is_open = true;
    if (!k->broken) admit_early(k);
    if (k->broken) reject_batch(k, k->broken, k->why);
    if (k->broken == MANTA_ENOMEM) start_over(k);
    start_flush(k);
}

MANTA_METHOD_DEFINE(MantaKeeper, on_exit, void, (manta_actor, who), (int32_t, status), (manta_str, why))
{
    (void)self, (void)who, (void)status, (void)why;
}

MANTA_METHOD_DEFINE(MantaKeeper, on_down, void, (manta_actor, who), (int32_t, status), (manta_str, why))
{
    keeper *k = self->k;
    if (status == MANTA_ENOMEM && manta_is_alive(who)) { /* there was no memory to watch it */
        (void)manta_monitor(who, MantaKeeper_on_down, NULL);
        return;
    }
    if (k->broken == MANTA_ESTALE || k->broken == MANTA_ENOMEM) return;
    k->broken = status ? (manta_status)status : MANTA_EEXIT;
    snprintf(k->why, sizeof k->why, "%.*s", (int)(why.size < 200 ? why.size : 200), why.size ? why.data : "");
    reject_batch(k, MANTA_EEXIT, k->why);
    if (status) manta_exit((manta_status)status, "%s", k->why);
    else manta_exit_normally();
}

static bool is_idle(keeper *k)
{
    pthread_mutex_lock(&k->lock);
    bool idle = k->broken || (k->is_open && !k->running && !k->batch_first && !k->is_flushing);
    pthread_mutex_unlock(&k->lock);
    return idle;
}

MANTA_METHOD_DEFINE(MantaKeeper, is_idle, bool) { return is_idle(self->k); }

/* Calls that come later find no place. */
MANTA_METHOD_DEFINE(MantaKeeper, close, void)
{
    keeper *k = self->k;
    while (k->is_saving)
        if (manta_sleep(1)) break;
    save(k);
    if (!k->broken) fenced(k);
}

/* A stop: what was sent before is done first; the actor's end is then the keeper's. */
MANTA_METHOD_DEFINE(MantaKeeper, finish, void)
{
    keeper *k = self->k;
    uint64_t end = manta_now_ns() + (uint64_t)DRAIN_MS * OS_NS_PER_MS;
    while (!is_idle(k) && manta_now_ns() < end)
        if (manta_sleep(1)) break;
    (void)manta_stop(k->who);
}

/* Calls whose record was on its way to the log when the keeper ended: they may be in it. */
static void tell_written(keeper *k)
{
    pthread_mutex_lock(&k->lock);
    for (durable_caller *c = k->calls.newest; c; c = c->older)
        for (durable_call *x = c->calls; x; x = x->next)
            if (x->state == CALL_WAITS) tell_waiters(x, MANTA_EEXIT, "the durable actor has ended");
    pthread_mutex_unlock(&k->lock);
}

static void on_free(void *self)
{
    keeper *k = ((MantaKeeper *)self)->k;
    if (!k) return;
    reject_batch(k, MANTA_EEXIT, "the durable actor has ended");
    tell_written(k);
    keeper_unref(k);
}

MANTA_CLASS_WITH(MantaKeeper, (.concurrency = 8, .trap_exit = true, .no_yield_in_send = true, .on_free = on_free), init, call, is_idle,
    close, finish, begin, flush, save, tick, on_down, on_exit)

manta_actor keeper_spawn(uint64_t uid, uint64_t epoch, manta_actor who)
{
    MantaKeeper_ref k = MantaKeeper_spawn_with(MANTA_OPTIONS(.where = MANTA_WHERE_HERE), uid, epoch, who);
    return k.actor;
}
