/*
 * Back-pressure without counters. A sender whose budget ends on a hot receiver (one whose backlog outlived a turn) is muted: it waits on
 * the receiver's worker until that has cooled, at most policy.mute_us, and then runs some turns from that worker's private queue, because
 * the sender of an overloaded receiver gains nothing from another core. The time bound makes a cycle of muted senders harmless.
 */
#include "scheduler/pool/pool_internal.h"

enum { MUTE_TARGET, MUTE_UNTIL };

static void muted_push(worker *w, runnable *r)
{
    r->next = NULL;
    if (w->muted_tail) w->muted_tail->next = r;
    else w->muted_head = r;
    w->muted_tail = r;
}

/* To the worker that runs the receiver. */
static void follow(worker *target, runnable *r)
{
    runnable *before = load_relaxed(&target->inbox);
    do r->next = before;
    while (!atomic_compare_exchange_weak_explicit(&target->inbox, &before, r, memory_order_seq_cst, memory_order_relaxed));
    pool_wake_worker(target);
}

static void commit_mute(worker *w, runnable *r, void *argument)
{
    runnable *target = argument;
    if (w->external) {
        worker_ready_slow(w, r);
        return;
    }
    r->fiber->scheduler_word[MUTE_TARGET] = (uint64_t)(uintptr_t)target;
    r->fiber->scheduler_word[MUTE_UNTIL] = os_ticks() + (uint64_t)the_pool.policy.mute_us * the_pool.ticks_per_us;
    r->sticky = (uint8_t)the_pool.policy.sticky;
    int home = load_relaxed(&target->home) - 1;
    if (home >= 0 && home != w->index && home < load_relaxed(&the_pool.active_limit)) follow(the_pool.worker[home], r);
    else muted_push(w, r);
}

void worker_mute(worker *w, runnable *target) { worker_suspend(w, commit_mute, target); }

static void commit_yield(worker *w, runnable *r, void *argument)
{
    (void)argument;
    if (r->sticky && !w->external) {
        r->sticky--;
        private_push(w, r);
    } else worker_ready_fifo(w, r);
}

void worker_yield(worker *w) { worker_suspend(w, commit_yield, NULL); }

noinline void mute_take_inbox(worker *w)
{
    runnable *next, *r = exchange_seq(&w->inbox, NULL);
    for (; r; r = next) {
        next = r->next;
        muted_push(w, r);
    }
}

/* Moves those whose target has cooled, or whose time is over, to the private queue. */
noinline void mute_scan(worker *w)
{
    runnable *next, *r = w->muted_head;
    uint64_t now = os_ticks();
    w->muted_head = w->muted_tail = NULL;
    for (; r; r = next) {
        next = r->next;
        runnable *target = (runnable *)(uintptr_t)r->fiber->scheduler_word[MUTE_TARGET];
        if (!load_relaxed(&target->hot) || now > r->fiber->scheduler_word[MUTE_UNTIL]) private_push(w, r);
        else muted_push(w, r);
    }
}

/* A worker with nothing else to do lets them go: the receiver is elsewhere now, and they will follow it. */
void mute_release(worker *w)
{
    runnable *next, *r = w->muted_head;
    w->muted_head = w->muted_tail = NULL;
    for (; r; r = next) {
        next = r->next;
        private_push(w, r);
    }
}
