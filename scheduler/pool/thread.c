/*
 * The pool's threads. Each serves a worker record, or waits as a spare one. Around blocking code a record changes threads: the one that
 * is about to block hands it to a spare thread (made when there is none) and goes on, inside its turn, on an external record.
 *
 * After the blocking code the turn's fiber must leave this thread to become an ordinary runnable again: it switches to the thread's base
 * fiber, which then, the fiber being saved, queues it and waits as a spare thread.
 */
#include "scheduler/base/alloc.h"
#include "scheduler/base/check.h"
#include "scheduler/pool/pool_internal.h"

enum { TIMER_SLACK_NS = 1000 };
enum thread_wake { THREAD_ASSIGNED = 1, THREAD_STOP = 2 }; /* `assigned` is set; the pool stops */

static struct {
    pthread_mutex_t lock;
    pool_thread *all, *spare;
    int count;
} threads = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void thread_wake(pool_thread *t, uint32_t why)
{
    atomic_fetch_or_explicit(&t->wake, why, memory_order_release);
    os_futex_wake(&t->wake, 1);
}

static void thread_assign(pool_thread *t, worker *w)
{
    t->assigned = w;
    thread_wake(t, THREAD_ASSIGNED);
}

/* The next worker to serve; NULL: the pool stops. */
static worker *thread_wait(pool_thread *t)
{
    while (!load_acquire(&t->wake)) os_futex_wait(&t->wake, 0, OS_FOREVER);
    uint32_t why = atomic_fetch_and_explicit(&t->wake, (uint32_t)~THREAD_ASSIGNED, memory_order_acq_rel);
    return why & THREAD_ASSIGNED ? t->assigned : NULL; /* assigned and stopping: the worker finds out itself */
}

/* A turn came back from blocking code: only now is its fiber saved. */
static void thread_requeue(pool_thread *t)
{
    runnable *r = t->unblocked;
    t->unblocked = NULL;
    pthread_mutex_lock(&threads.lock);
    t->next_spare = threads.spare;
    threads.spare = t;
    pthread_mutex_unlock(&threads.lock);
    worker_ready_slow(t->external, r);
}

static void *pool_thread_main(void *argument)
{
    pool_thread *t = argument;
    fiber_thread_init(&t->base);
    os_set_timer_slack_ns(TIMER_SLACK_NS);
    while ((worker_tls = thread_wait(t)))
        if (!worker_serve(t)) thread_requeue(t);
    if ((worker_tls = t->external)) external_put(t->external);
    worker_tls = NULL;
    return NULL;
}

/* A new thread, in the list of all; it has nothing to do yet. */
static pool_thread *thread_new(void)
{
    pool_thread *t = base_aligned_alloc(_Alignof(pool_thread), sizeof *t);
    if (!t) return NULL;
    *t = (pool_thread){.next = NULL};
    if (os_thread_start(&t->handle, "manta-worker", pool_thread_main, t) != 0) {
        base_free(t);
        return NULL;
    }
    pthread_mutex_lock(&threads.lock);
    t->next = threads.all;
    threads.all = t;
    threads.count++;
    pthread_mutex_unlock(&threads.lock);
    return t;
}

static pool_thread *spare_thread(void)
{
    pthread_mutex_lock(&threads.lock);
    pool_thread *t = threads.spare;
    bool may_make = threads.count < the_pool.workers + POOL_SPARE_THREADS;
    if (t) threads.spare = t->next_spare;
    pthread_mutex_unlock(&threads.lock);
    return t || !may_make ? t : thread_new();
}

bool pool_thread_start(worker *assigned)
{
    pool_thread *t = spare_reserve(assigned) ? spare_thread() : NULL;
    if (t) thread_assign(t, assigned);
    return t != NULL;
}

void pool_threads_stop(void)
{
    for (pool_thread *t = threads.all, *next; t; t = next) {
        next = t->next;
        thread_wake(t, THREAD_STOP);
        pthread_join(t->handle, NULL);
        base_free(t);
    }
    threads.all = threads.spare = NULL;
    threads.count = 0;
}

void worker_blocking_begin(void)
{
    worker *w = worker_self();
    if (!w || w->external || !w->current || !spare_reserve(w)) return;
    pool_thread *t = w->thread;
    if (!t->external && !(t->external = external_take())) return;
    pool_thread *other = spare_thread();
    if (!other) return;
    t->external->thread = t;
    t->external->current = w->current;
    t->external->fiber = w->fiber;
    worker_tls = t->external;
    w->current = NULL;
    thread_assign(other, w); /* from here on w is another thread's */
}

void worker_blocking_end(void)
{
    worker *e = worker_self();
    if (!e || e->external != 1 || !e->thread || !e->current) return;
    pool_thread *t = e->thread;
    t->unblocked = e->current;
    t->unblocked->fiber = e->fiber;
    e->current = NULL;
    fiber_switch(e->fiber, &t->base);
}
