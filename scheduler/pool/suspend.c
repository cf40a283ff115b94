/*
 * Suspension: the scheduling loop runs on a fiber itself. A handler that waits leaves its fiber behind, and the thread goes on with the
 * loop on a spare one.
 *
 * Order matters: the runnable's fiber is set, the thread switches, and only then `commit` makes the runnable visible to whoever wakes it.
 * So nobody can continue a fiber that is not saved yet. Abandoning is the same with the old fiber reset and pooled instead of kept.
 *
 * A spare fiber waits in one of two places: at its entry (worker_loop), or in the switch of worker_continue or worker_leave, from which
 * it goes on with the loop.
 */
#include "scheduler/pool/pool_internal.h"

#include "scheduler/base/check.h"

/* The first thing on every fiber that was just switched to: what the fiber left behind asked for. */
static void run_commit(worker *w)
{
    suspend_commit commit = w->commit;
    if (!commit) return;
    w->commit = NULL;
    commit(w, w->commit_runnable, w->commit_argument);
}

static void spare_put(worker *w, fiber *f)
{
    f->next = w->spare;
    w->spare = f;
    w->spares++;
}

static fiber *spare_pop(worker *w)
{
    fiber *f = w->spare;
    if (!f) return NULL;
    w->spare = f->next;
    w->spares--;
    return f;
}

static fiber *spare_take(worker *w)
{
    fiber *f = spare_pop(w);
    return f ? f : fiber_new(worker_loop, NULL);
}

bool spare_reserve(worker *w)
{
    if (w->spare) return true;
    fiber *f = fiber_new(worker_loop, NULL);
    if (f) spare_put(w, f);
    return f != NULL;
}

void spares_free(worker *w)
{
    fiber *f;
    while ((f = spare_pop(w))) fiber_free(f);
}

/* The running fiber becomes a spare: read by this thread only, after the switch. */
static void spare_put_running(worker *w)
{
    if (unlikely(w->spares >= POOL_SPARE_FIBERS)) fiber_free(spare_pop(w));
    spare_put(w, w->fiber);
}

static void switch_to(worker *w, fiber *from, fiber *to)
{
    w->fiber = to;
    count_up(&w->switches, 1);
    fiber_switch(from, to);
    run_commit(worker_self());
}

static void turn_begin(worker *w, runnable *r)
{
    rescue_leave(w, &w->in_scheduler);
    w->current = r;
    w->send_budget = the_pool.policy.send_budget;
    if (unlikely(load_relaxed(&r->home) != w->index + 1)) store_relaxed(&r->home, (uint8_t)(w->index + 1));
}

void worker_continue(worker *w, runnable *r, fiber *f)
{
    turn_begin(w, r);
    spare_put_running(w);
    switch_to(w, w->fiber, f);
}

static void run_one(worker *w, runnable *r)
{
    fiber *f = r->fiber;
    count_up(&w->turns, 1);
    if (likely(!f)) {
        turn_begin(w, r);
        the_pool.options.run(w, r);
        return;
    }
    r->fiber = NULL;
    worker_continue(w, r, f);
}

void worker_loop(void *argument)
{
    (void)argument;
    run_commit(worker_self());
    for (;;) {
        worker *w = worker_self();
        rescue_enter(w, &w->in_scheduler);
        w->current = NULL; /* timers fire inside worker_next, off any turn */
        runnable *r = worker_next(w);
        if (likely(r)) run_one(w, r);
        else worker_leave(w);
    }
}

bool worker_suspend(worker *w, suspend_commit commit, void *argument)
{
    runnable *r = w->current;
    if (unlikely(w->external == 1 || !r)) return false;
    fiber *me = w->fiber, *next = spare_take(w);
    if (unlikely(!next)) return false;
    rescue_enter(w, &w->in_scheduler);
    r->fiber = me;
    w->commit = commit;
    w->commit_runnable = r;
    w->commit_argument = argument;
    w->current = NULL;
    switch_to(w, me, next);
    return true;
}

/* On the next fiber: the caller's code runs, whose argument may be on the old fiber's stack; after it that one becomes a spare. */
static void commit_abandon(worker *w, runnable *r, void *argument)
{
    abandoned a = *(abandoned *)argument;
    w->current = r;
    a.then(w, r, a.argument);
    w->current = NULL;
    fiber_reset(a.fiber, worker_loop, NULL);
    spare_put(w, a.fiber);
}

void worker_abandon(worker *w, suspend_commit then, void *argument)
{
    fiber *me = w->fiber, *next = spare_take(w);
    check(w->external != 1);
    if (unlikely(!next)) next = &w->thread->base; /* it resets this very fiber and goes on with the loop there */
    rescue_enter(w, &w->in_scheduler);
    w->thread->abandoned = (abandoned){then, argument, me};
    w->commit = commit_abandon;
    w->commit_runnable = w->current;
    w->commit_argument = &w->thread->abandoned;
    w->current = NULL;
    w->fiber = next;
    fiber_switch_final(me, next);
}

void worker_leave(worker *w)
{
    fiber *me = w->fiber;
    spare_put(w, me);
    switch_to(w, me, &w->thread->base);
}

bool worker_serve(pool_thread *t)
{
    for (;;) {
        worker *w = worker_self();
        fiber *f = spare_pop(w);
        w->thread = t;
        w->fiber = f;
        fiber_switch(&t->base, f);
        w = worker_self();
        w->fiber = &t->base;
        if (t->unblocked) return false;
        if (!w->commit) return true;
        run_commit(w);
    }
}
