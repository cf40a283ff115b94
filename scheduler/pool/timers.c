/*
 * Timers: a wheel per worker under a lock of its own, so that any thread may start and cancel. The owner runs what is due between turns and
 * parks no longer than to the next deadline; a busy owner is helped by the monitor.
 */
#include "scheduler/pool/pool_internal.h"

bool timers_init(worker *w)
{
    timer_wheel_init(&w->wheel, pool_now_ns());
    store_relaxed(&w->timer_next_ns, UINT64_MAX);
    return pthread_mutex_init(&w->timer_lock, NULL) == 0;
}

static worker *timer_owner(worker *w)
{
    if (w->external == 1) return the_pool.worker[w->index % the_pool.workers];
    return w;
}

void pool_timer_start(worker *w, pool_timer *t, uint64_t deadline_ns)
{
    worker *owner = timer_owner(w);
    pthread_mutex_lock(&owner->timer_lock);
    t->owner = owner;
    store_relaxed(&t->firing, 0);
    timer_wheel_add(&owner->wheel, &t->node, deadline_ns);
    uint64_t next = timer_wheel_next_ns(&owner->wheel);
    bool earlier = next < load_relaxed(&owner->timer_next_ns);
    store_seq(&owner->timer_next_ns, next); /* before the look at `idle`; pairs with the look at it before parking */
    pthread_mutex_unlock(&owner->timer_lock);
    if (earlier && owner != w) pool_wake_worker(owner);
}

bool pool_timer_cancel(pool_timer *t)
{
    worker *owner = t->owner;
    if (!owner) return false;
    pthread_mutex_lock(&owner->timer_lock);
    bool armed = timer_wheel_cancel(&owner->wheel, &t->node);
    if (armed) store_relaxed(&owner->timer_next_ns, timer_wheel_next_ns(&owner->wheel));
    pthread_mutex_unlock(&owner->timer_lock);
    return armed;
}

/* Fires what is due on owner's wheel; w is the calling thread's record. */
noinline void timers_run(worker *w, worker *owner, uint64_t now_ns)
{
    if (load_relaxed(&owner->timer_next_ns) > now_ns) return;
    pthread_mutex_lock(&owner->timer_lock);
    timer_node *due = timer_wheel_advance(&owner->wheel, now_ns);
    for (timer_node *n = due; n; n = n->next) store_relaxed(&((pool_timer *)(void *)n)->firing, 1);
    store_relaxed(&owner->timer_next_ns, timer_wheel_next_ns(&owner->wheel));
    pthread_mutex_unlock(&owner->timer_lock);
    while (due) {
        pool_timer *t = (pool_timer *)(void *)due;
        due = due->next; /* before fire, which may give up the memory */
        t->fire(w, t);
    }
}
