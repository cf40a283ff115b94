/*
 * Waiting for a future: suspended handlers, blocked threads, deterministic mode's main thread; interrupts by time-out, cancel and kill.
 *
 * A suspended handler publishes itself in f->state after its fiber is saved. An interrupter (timer, cancel, kill) exchanges that mark back to
 * PENDING; if it wins, it queues the handler, which looks around and waits again when nothing concerns it. Flags are set before the interrupter
 * reads actor.waiting, and the waiter looks at the flags after it published: one of the two sees the other.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "actor/inspect/inspect.h"
#include "actor/node/owner.h"
#include "actor/runtime/internal.h"
#include "actor/runtime/turn.h"
#include "scheduler/pool/pool_internal.h"

uint64_t deadline_after_ms(uint64_t timeout_ms)
{
    if (timeout_ms > UINT64_MAX / OS_NS_PER_MS / 4) return OS_FOREVER;
    return pool_now_ns() + timeout_ms * OS_NS_PER_MS;
}

bool actor_has_signals(const actor *a) { return load_seq(&((actor *)a)->flags) & (ACTOR_KILL | ACTOR_NUDGE); }

/* Takes a suspended handler out of its wait; true: the caller has queued it. */
static bool interrupt(worker *w, activation *act)
{
    _Atomic uintptr_t *word = load_seq(&act->waiting_on);
    if (!word) return false;
    uintptr_t expected = (uintptr_t)act;
    if (!cas_seq(word, &expected, FUTURE_PENDING)) return false;
    activation_wake(w, act);
    return true;
}

void actor_nudge(worker *w, actor *a)
{
    atomic_fetch_or_explicit(&a->flags, ACTOR_NUDGE, memory_order_seq_cst);
    if (mailbox_take(&a->box) || exchange_seq(&a->blocked, 0)) {
        worker_ready(w, &a->run);
        return;
    }
    activation *act = load_seq(&a->waiting);
    if (act) interrupt(w, act);
}

/* The current handler's own interrupts. */
manta_status wait_check(activation *act)
{
    actor *a = act->actor;
    if (!a) return MANTA_OK;
    uint32_t flags = load_relaxed(&a->flags);
    if (unlikely(flags & ACTOR_KILL) && !(act->flags & ACT_EXIT)) handler_killed(act);
    future *reply = act->message ? act->message->reply : NULL;
    if (reply && load_relaxed(&reply->cancelled)) return MANTA_ECANCELLED;
    return MANTA_OK;
}

static void commit_wait(worker *w, runnable *r, void *argument)
{
    actor *a = actor_of_run(r);
    activation *act = (activation *)(void *)r->fiber->user;
    _Atomic uintptr_t *word = argument;
    bool concurrent = act->concurrent, room = false;
    if (concurrent) { /* the actor goes on without this handler */
        r->fiber = NULL;
        suspended_add(a, act);
        room = ++a->active < load_relaxed(&a->concurrency);
        if (!room) { /* who comes back before this is set finds us running, and leaves it to us; who comes later schedules the actor */
            store_seq(&a->blocked, 1);
            room = load_seq(&a->resumed) && exchange_seq(&a->blocked, 0);
        }
    }
    uintptr_t expected = FUTURE_PENDING, mine = (uintptr_t)act;
    if (!cas_seq(word, &expected, mine)) activation_wake(w, act);
    else if ((actor_has_signals(a) || load_seq(&act->timed_out)) && cas_seq(word, &mine, FUTURE_PENDING))
        activation_wake(w, act); /* who set that before the exchange found nobody to wake: the monitor fires timers for a busy worker */
    if (concurrent && room) worker_ready_fifo(w, r);
}

typedef struct wait_timer {
    pool_timer timer;
    activation *act;
} wait_timer;

static void wait_timed_out(worker *w, pool_timer *t)
{
    wait_timer *wt = (wait_timer *)(void *)t;
    activation *act = wt->act;
    store_seq(&act->timed_out, 1);
    interrupt(w, act);
    store_release(&t->firing, 2); /* last touch: the timer lives on the waiter's stack */
}

/* False: there is no fiber for others to go on with (vm.max_map_count), so this handler cannot wait. */
static bool suspend_on(worker *w, activation *act, _Atomic uintptr_t *word)
{
    actor *a = act->actor;
    act->dirty = 1; /* the handler's end clears began_ns */
    if (!load_relaxed(&act->began_ns)) store_relaxed(&act->began_ns, inspect_clock());
    store_relaxed(&act->waiting_on, word);
    store_release(&a->waiting, act); /* the exchange in commit_wait orders it before the look at the flags */
    TRACE(1, w, TRACE_SUSPEND, actor_id(a), a->cls ? a->cls->name : "task", act->method ? act->method->name : "");
    bool gated = load_relaxed(&a->flags) & ACTOR_GATED;
    if (unlikely(gated)) gate_leave(w);
    bool ok = worker_suspend(w, commit_wait, word);
    if (unlikely(gated)) gate_enter(worker_self());
    if (!ok) return false;
    w = worker_self();
    TRACE(1, w, TRACE_RESUME, actor_id(a), a->cls ? a->cls->name : "task", act->method ? act->method->name : "");
    return true;
}

static manta_status wait_loop(activation *act, future *f)
{
    manta_status status = MANTA_OK;
    while (load_acquire(&f->state) != FUTURE_READY) {
        if ((status = wait_check(act)) || load_relaxed(&act->timed_out)) break;
        if (!suspend_on(worker_self(), act, &f->state)) {
            status = MANTA_ELIMIT;
            break;
        }
    }
    if (load_acquire(&f->state) == FUTURE_READY) return MANTA_OK;
    return status ? status : MANTA_ETIMEDOUT;
}

/* Disarms the timer of the current wait; when it is firing already, waits the moment until it has let go. */
static void wait_timer_end(activation *act)
{
    wait_timer *timer = act->wait_timer;
    act->wait_timer = NULL;
    if (timer && !pool_timer_cancel(&timer->timer))
        while (load_acquire(&timer->timer.firing) != 2) spin_pause();
    store_relaxed(&act->timed_out, 0);
}

void wait_abandon(worker *w, activation *act)
{
    wait_timer_end(act);
    while (act->unwind) {
        unwind *u = act->unwind;
        act->unwind = u->next;
        u->run(w, u);
    }
    if (act->started) future_drop(w, act->started);
    act->started = NULL;
    act->watches_init = false;
}

static manta_status wait_on_fiber(worker *w, activation *act, future *f, uint64_t deadline_ns)
{
    if (deadline_ns == OS_FOREVER) return wait_loop(act, f);
    if (deadline_ns <= pool_now_ns()) return MANTA_ETIMEDOUT;
    wait_timer timer = {.act = act};
    timer.timer.fire = wait_timed_out;
    store_relaxed(&act->timed_out, 0);
    act->wait_timer = &timer; /* for a kill in this wait */
    pool_timer_start(w, &timer.timer, deadline_ns);
    manta_status status = wait_loop(act, f);
    wait_timer_end(act);
    return status;
}

/* ---- threads that are no workers ---- */

static void thread_wake(worker *w, wait_node *node)
{
    (void)w;
    local *l = (local *)(void *)((unsigned char *)node - offsetof(local, node));
    store_release(&l->node_word, 1);
    os_futex_wake(&l->node_word, 1);
}

static manta_status wait_blocking(worker *w, future *f, uint64_t deadline_ns)
{
    local *l = local_of(w);
    l->node.wake = thread_wake;
    uintptr_t mine = (uintptr_t)&l->node | FUTURE_NODE;
    while (load_acquire(&f->state) != FUTURE_READY) {
        store_relaxed(&l->node_word, 0);
        uintptr_t expected = FUTURE_PENDING;
        if (!cas_seq(&f->state, &expected, mine)) {
            if (expected == FUTURE_READY) break;
            return error_set(MANTA_EEXIST, "the future has a waiter or a notification already");
        }
        while (!load_acquire(&l->node_word)) {
            uint64_t now = deadline_ns == OS_FOREVER ? 0 : pool_now_ns();
            expected = mine;
            if (deadline_ns != OS_FOREVER && now >= deadline_ns && cas_seq(&f->state, &expected, FUTURE_PENDING)) return MANTA_ETIMEDOUT;
            os_futex_wait(&l->node_word, 0, deadline_ns == OS_FOREVER ? OS_FOREVER : now < deadline_ns ? deadline_ns - now : OS_NS_PER_MS);
        }
    }
    return MANTA_OK;
}

static bool future_done(void *argument) { return load_acquire(&((future *)argument)->state) == FUTURE_READY; }

static manta_status wait_in_simulation(future *f, uint64_t deadline_ns)
{
    sim_run_until(future_done, f, deadline_ns);
    if (future_done(f)) return MANTA_OK;
    if (deadline_ns != OS_FOREVER) return MANTA_ETIMEDOUT;
    inspect_report_cycles(); /* nothing can run any more */
    return MANTA_EINTERRUPTED;
}

manta_status future_await(future *f, uint64_t deadline_ns, const char *kind)
{
    if (likely(load_acquire(&f->state) == FUTURE_READY)) return MANTA_OK;
    worker *w = worker_self();
    activation *act = activation_of(w);
    if (unlikely(w->external == 1 || !act->actor))
        return sim_is_on() && !act->actor ? wait_in_simulation(f, deadline_ns) : wait_blocking(w, f, deadline_ns);
    store_relaxed(&act->wait_kind, kind);
    store_relaxed(&act->wait_target, f->packed == FUTURE_ATTEMPT ? 0 : load_relaxed(&f->target));
    manta_status status = wait_on_fiber(w, act, f, deadline_ns);
    store_relaxed(&act->wait_kind, NULL);
    return status;
}

typedef struct event_wait {
    unwind unwind;
    future *event;
} event_wait;

static void drop_event(worker *w, unwind *u) { future_drop(w, ((event_wait *)(void *)u)->event); }
static void free_event(worker *w, unwind *u) { future_free(w, ((event_wait *)(void *)u)->event); } /* nobody else has it */

static manta_status await_guarded(future *f, uint64_t deadline_ns, const char *kind, void (*run)(worker *, unwind *))
{
    activation *act = activation_self();
    event_wait guard = {{NULL, run}, f};
    unwind_push(act, &guard.unwind);
    manta_status status = future_await(f, deadline_ns, kind);
    unwind_pop(act, &guard.unwind);
    return status;
}

manta_status event_await(future *f, uint64_t deadline_ns, const char *kind) { return await_guarded(f, deadline_ns, kind, drop_event); }

/* ---- taking values ---- */

static manta_status take_error(worker *w, future *f)
{
    manta_error *e = f->error;
    future_free(w, f);
    return error_set_last(e);
}

static noinline manta_status take_large(worker *w, future *f, void *out, size_t size_bytes)
{
    if (f->kind == VALUE_ERROR) return take_error(w, f);
    activation *act = activation_of(w);
    block *b = f->large.memory;
    uint32_t size = f->large.size;
    const manta_layout *refs = f->large.has_refs ? &f->method->result : NULL;
    scope_add_block(act, b);
    future_free(w, f);
    manta_status status = refs ? refs_arrived(refs, b->bytes, act) : MANTA_OK; /* may wait: the future is gone already */
    if (size_bytes && size_bytes != size) return error_set(MANTA_ETYPE, "the result has %u bytes, the variable %zu", size, size_bytes);
    if (size_bytes) memcpy(out, b->bytes, size_bytes);
    return status;
}

manta_status future_take(future *f, void *out, size_t size_bytes)
{
    worker *w = worker_self();
    future_scope_remove(activation_of(w), f);
    if (unlikely(f->kind != VALUE_INLINE)) return take_large(w, f, out, size_bytes);
    manta_status status = MANTA_OK;
    if (size_bytes == 8 && f->size == 8) memcpy(out, f->bytes, 8);
    else if (size_bytes && f->size == 0) memset(out, 0, size_bytes);
    else if (size_bytes && size_bytes != f->size)
        status = error_set(MANTA_ETYPE, "the result has %u bytes, the variable %zu", f->size, size_bytes);
    else if (size_bytes) memcpy(out, f->bytes, size_bytes);
    future_free(w, f);
    return status;
}

static cold manta_status wait_ended(manta_status status)
{
    if (status == MANTA_EEXIST) return status; /* said already */
    bool stacks = status == MANTA_ELIMIT;
    return error_set(status, "the wait for a call's answer ended: %s",
        stacks ? "no stack for another waiting handler (vm.max_map_count)" : manta_status_text(status));
}

static cold manta_status stale(manta_future handle)
{
    if (handle.id == 0) {
        const manta_error *last = manta_last_error();
        if (last->status != MANTA_OK) return last->status; /* of the call that could not be made */
        return error_set(MANTA_ESTALE, "no call was made: the future is empty");
    }
    return error_set(MANTA_ESTALE, "the future was already consumed or released");
}

manta_status manta_get_value(manta_future handle, void *out, size_t size_bytes, uint64_t timeout_ms)
{
    future *f = future_find(handle);
    if (unlikely(!f)) return stale(handle);
    if (load_acquire(&f->state) != FUTURE_READY) {
        manta_status status = future_await(f, timeout_ms == MANTA_FOREVER ? OS_FOREVER : deadline_after_ms(timeout_ms), "call");
        if (status) return wait_ended(status);
    }
    return future_take(f, out, size_bytes);
}

static _Noreturn cold void die_with(const manta_error *error)
{
    char text[1024];
    manta_error_format(error, text, sizeof text);
    fprintf(stderr, "manta_await: %s\n", text);
    exit(EXIT_FAILURE);
}

void manta_await_value(manta_future handle, void *out, size_t size_bytes)
{
    manta_status status = manta_get_value(handle, out, size_bytes, MANTA_FOREVER);
    if (likely(status == MANTA_OK)) return;
    activation *act = activation_self();
    if (act && act->actor) actor_fail_handler(manta_last_error());
    die_with(manta_last_error());
}

manta_status manta_sleep(uint64_t milliseconds)
{
    worker *w = worker_self();
    if (!w) return MANTA_ENOMEM;
    future *f = future_new(w);
    if (!f) return error_set(MANTA_ENOMEM, "manta_sleep: no memory");
    manta_status status = await_guarded(f, deadline_after_ms(milliseconds), "sleep", free_event);
    future_free(worker_self(), f);
    if (status == MANTA_ETIMEDOUT) return MANTA_OK;
    return error_set(status, "manta_sleep: %s", manta_status_text(status));
}

bool manta_is_cancelled(void)
{
    activation *act = activation_self();
    future *reply = act && act->actor && act->message ? act->message->reply : NULL;
    return reply && load_relaxed(&reply->cancelled);
}

static manta_status cancel(manta_future handle, bool force)
{
    future *f = future_find(handle);
    if (!f) return error_set(MANTA_ESTALE, "manta_cancel: the future was already consumed or released");
    store_seq(&f->cancelled, 1);
    if (attempt_cancel(f, force)) return MANTA_OK;
    if (f->packed == FUTURE_LEASED) {
        owner_cancel(worker_self(), f, force);
        return MANTA_OK;
    }
    uint64_t target = load_relaxed(&f->target);
    actor *a = actor_slot(target);
    if (actor_is(a, target)) actor_nudge(worker_self(), a);
    else if (is_remote(target)) node_cancel(worker_self(), f, target);
    return MANTA_OK;
}

manta_status manta_cancel(manta_future handle) { return cancel(handle, false); }

manta_status manta_cancel_force(manta_future handle) { return cancel(handle, true); }
