/*
 * What a handler may ask for: failing, exiting, its identity, stash, behaviors, the list of suspended handlers of a concurrent actor.
 */
#include <string.h>

#include "actor/node/moving.h"
#include "actor/runtime/internal.h"
#include "actor/runtime/turn.h"

/* The activation of the handler that calls, or NULL on a plain thread. */
static activation *in_handler(void)
{
    activation *act = activation_self();
    return act && act->actor ? act : NULL;
}

static bool in_actor(const activation *act) { return act && act->actor && act->actor->cls; }

void manta_fail(manta_status status, const char *format, ...)
{
    activation *act = activation_self();
    const manta_error *cause = act && act->last_error && act->last_error->status == status ? act->last_error : NULL;
    va_list arguments;
    va_start(arguments, format);
    manta_error *e = error_newv(status, cause, format, arguments);
    va_end(arguments);
    error_set_last(e);
    if (act && act->actor && !act->failure && act->dirty) act->failure = e;
    else if (act && act->actor && !act->failure) {
        act->failure = e; /* a static error: memory is out */
        act->dirty = 1;
    }
}

void handler_exit(activation *act, manta_status status, manta_error *error)
{
    if (act->flags & ACT_EXIT) {
        error_free(error);
        return;
    }
    act->flags |= ACT_EXIT;
    act->exit_status = status;
    act->exit_error = error;
}

void manta_exit(manta_status reason, const char *format, ...)
{
    if (!in_actor(activation_self())) {
        error_set(MANTA_ECONTEXT, "manta_exit: only a method of an actor may call it");
        return;
    }
    va_list arguments;
    va_start(arguments, format);
    manta_error *e = error_newv(reason, NULL, format, arguments);
    va_end(arguments);
    handler_exit(activation_self(), reason, e);
}

void manta_exit_normally(void)
{
    activation *act = activation_self();
    if (in_actor(act)) handler_exit(act, MANTA_OK, NULL);
    else error_set(MANTA_ECONTEXT, "manta_exit_normally: only a method of an actor may call it");
}

manta_actor manta_self(void)
{
    activation *act = in_handler();
    if (!in_actor(act)) return (manta_actor){0};
    uint64_t uid = act->actor->extra ? act->actor->extra->moving : 0;
    return unlikely(uid != 0) ? moving_handle(uid) : (manta_actor){actor_id(act->actor)};
}

manta_actor manta_sender(void)
{
    activation *act = in_handler();
    return (manta_actor){act && act->message ? act->message->from : 0};
}

void manta_reschedule(void)
{
    worker *w = worker_self();
    if (w && w->external != 1 && w->current) worker_yield(w);
}

void manta_blocking_begin(void)
{
    if (in_handler()) worker_blocking_begin();
}

void manta_blocking_end(void)
{
    if (in_handler()) worker_blocking_end();
}

uint64_t manta_now_ns(void) { return pool_now_ns(); }

uint64_t manta_random(void)
{
    worker *w = worker_self();
    return w ? rng_next(&w->random) : os_random_u64();
}

/* ---- stash ---- */

static manta_status stash_add(actor_extra *x, message *m)
{
    if (x->stash.count == x->stash.capacity) {
        uint32_t capacity = x->stash.capacity ? x->stash.capacity * 2 : 8;
        message **items = base_realloc(x->stash.items, capacity * sizeof(message *));
        if (!items) return error_set(MANTA_ENOMEM, "manta_stash: no memory");
        x->stash.items = items;
        x->stash.capacity = capacity;
    }
    x->stash.items[x->stash.count++] = m;
    return MANTA_OK;
}

manta_status manta_stash(void)
{
    activation *act = in_handler();
    if (!in_actor(act) || !act->message || load_relaxed(&act->actor->phase) != PHASE_LIVE)
        return error_set(MANTA_ECONTEXT, "manta_stash: only a method that handles a message may call it");
    if (act->flags & ACT_STASH) return error_set(MANTA_EEXIST, "manta_stash: the message is stashed already");
    actor_extra *x = actor_extra_get(act->actor);
    if (!x) return error_set(MANTA_ENOMEM, "manta_stash: no memory");
    uint32_t limit = the_runtime.config.stash_limit;
    if (x->stash.count - x->stash.next >= limit)
        return error_set(MANTA_ELIMIT, "manta_stash: %u messages are stashed already (stash_limit)", limit);
    manta_status status = stash_add(x, act->message);
    if (status) return status;
    message_hold(act->message);
    const manta_method *method = act->message->method;
    if (method->arguments.refs)
        refs_in_flight(&method->arguments, message_payload(act->message)); /* this handler's scope took the counts */
    act->flags |= ACT_STASH;
    return MANTA_OK;
}

manta_status manta_unstash(void)
{
    activation *act = in_handler();
    if (!in_actor(act)) return error_set(MANTA_ECONTEXT, "manta_unstash: only a method of an actor may call it");
    if (act->actor->extra && act->actor->extra->stash.count) act->actor->extra->unstash = true;
    return MANTA_OK;
}

/* Messages stashed again while the old ones are redelivered land behind them and wait for the next manta_unstash. */
message *unstash_next(actor_extra *x)
{
    if (!x->unstash_left) x->unstash_left = x->stash.count - x->stash.next;
    if (x->unstash_left) {
        message *m = x->stash.items[x->stash.next++];
        if (--x->unstash_left == 0) x->unstash = false;
        if (x->stash.next == x->stash.count) x->stash.next = x->stash.count = 0;
        return m;
    }
    x->unstash = false;
    return NULL;
}

/* ---- behaviors ---- */

manta_status manta_become(const manta_behavior *behavior)
{
    activation *act = in_handler();
    if (!in_actor(act)) return error_set(MANTA_ECONTEXT, "manta_become: only a method of an actor may call it");
    if (behavior && behavior->cls != act->actor->cls)
        return error_set(MANTA_ETYPE, "manta_become: behavior %s is not of class %s", behavior->name, act->actor->cls->name);
    act->actor->behavior = behavior;
    return MANTA_OK;
}

/* ---- the end ---- */

void run_on_stop(actor *a, activation *act, const manta_error *reason)
{
    if (!a->cls->options.on_stop) return;
    store_relaxed(&a->phase, PHASE_STOPPING);
    act->message = NULL;
    act->method = NULL;
    act->concurrent = 0; /* no other handler goes on any more: a wait here keeps the actor */
    a->cls->options.on_stop(a->state, reason);
    act->failure = NULL;
}

/* ---- suspended handlers of concurrent actors ---- */

void suspended_add(actor *a, activation *act)
{
    actor_extra *x = a->extra; /* made at spawn for every concurrent actor */
    act->suspended_previous = NULL;
    act->suspended_next = x->suspended;
    if (x->suspended) x->suspended->suspended_previous = act;
    x->suspended = act;
}

static void suspended_remove(actor *a, activation *act)
{
    actor_extra *x = a->extra;
    if (act->suspended_next) act->suspended_next->suspended_previous = act->suspended_previous;
    if (act->suspended_previous) act->suspended_previous->suspended_next = act->suspended_next;
    else x->suspended = act->suspended_next;
    a->active--;
}

activation *resumed_pop(actor *a)
{
    activation *act = load_acquire(&a->resumed);
    while (act && !atomic_compare_exchange_weak_explicit(&a->resumed, &act, act->next, memory_order_acq_rel, memory_order_acquire))
        continue;
    if (act) suspended_remove(a, act);
    return act;
}

static void wake_one_cancelled(worker *w, activation *act)
{
    future *reply = act->message ? act->message->reply : NULL;
    if (!reply || !load_relaxed(&reply->cancelled)) return;
    uintptr_t expected = (uintptr_t)act;
    _Atomic uintptr_t *word = load_relaxed(&act->waiting_on);
    if (cas_seq(word, &expected, FUTURE_PENDING)) activation_wake(w, act);
}

void wake_cancelled(worker *w, actor *a)
{
    for (activation *act = a->extra->suspended, *next; act; act = next) {
        next = act->suspended_next;
        wake_one_cancelled(w, act);
    }
}

/* Takes every suspended handler out of its wait and ends it: its call fails, its scope is freed, its frames are dropped. */
void suspended_abandon_all(worker *w, actor *a)
{
    for (activation *act = a->extra->suspended; act; act = act->suspended_next) {
        uintptr_t expected = (uintptr_t)act;
        if (cas_seq(load_relaxed(&act->waiting_on), &expected, FUTURE_PENDING)) {
            activation *before = load_relaxed(&a->resumed);
            do act->next = before;
            while (!atomic_compare_exchange_weak_explicit(&a->resumed, &before, act, memory_order_seq_cst, memory_order_relaxed));
        }
    }
    while (a->active) { /* those that were being woken by others arrive in `resumed` at once */
        activation *act = resumed_pop(a);
        if (!act) {
            spin_pause();
            continue;
        }
        wait_abandon(w, act);
        if (act->message && act->message->reply)
            future_fail_status(w, act->message->reply, MANTA_EEXIT, "the actor exited while it handled the call");
        if (act->message) message_release(w, act->message);
        act->message = NULL;
        act->flags = 0;
        scope_clean(w, act);
        fiber_free(activation_fiber(act));
    }
}
