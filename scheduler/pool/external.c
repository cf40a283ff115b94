/*
 * Records of worker and of other threads.
 *
 * A thread that is no worker gets a record at its first use of the pool. Records are never unmapped; a thread that ends puts its one back
 * for the next. external_list holds all of them ever made, so that pool_sum needs no lock.
 */
#include <string.h>

#include "scheduler/base/alloc.h"
#include "scheduler/pool/pool_internal.h"

enum { SPAWN_DEQUE = 256 };

worker *_Atomic external_list;

static struct {
    pthread_mutex_t lock;
    pthread_key_t key; /* its destructor puts the record of a thread that ends back */
    bool has_key;
    int count;
} externals = {.lock = PTHREAD_MUTEX_INITIALIZER};

static worker *record_new(int index, bool external)
{
    worker *w = base_aligned_alloc(_Alignof(worker), sizeof *w);
    if (!w) return NULL;
    memset(w, 0, sizeof *w);
    w->index = (uint16_t)index;
    w->external = external;
    if (external && !(w->thread_fiber = base_aligned_alloc(_Alignof(fiber), sizeof(fiber)))) goto fail;
    if (!external && !deque_init(&w->spawned, SPAWN_DEQUE)) goto fail;
    if (timers_init(w)) return w;
    deque_fini(&w->spawned);
fail:
    base_free(w->thread_fiber);
    base_free(w);
    return NULL;
}

worker *worker_new(int index) { return record_new(index, false); }

bool worker_user_start(worker *w)
{
    if (w->started) return true;
    if (the_pool.options.worker_start && !the_pool.options.worker_start(w)) return false;
    w->started = 1;
    return true;
}

void worker_user_stop(worker *w)
{
    if (w->started && the_pool.options.worker_stop) the_pool.options.worker_stop(w);
    w->started = 0;
    w->user = NULL;
}

/* Under the lock: one that no thread has, or a new one at the list's head. */
static worker *external_find(void)
{
    for (worker *w = load_relaxed(&external_list); w; w = w->next_external)
        if (!w->in_use) return w;
    if (externals.count >= UINT16_MAX - POOL_MAX_WORKERS) return NULL;
    worker *w = record_new(POOL_MAX_WORKERS + externals.count, true);
    if (!w) return NULL;
    externals.count++;
    w->next_external = load_relaxed(&external_list);
    store_release(&external_list, w); /* pairs with pool_sum */
    return w;
}

worker *external_take(void)
{
    pthread_mutex_lock(&externals.lock);
    worker *w = external_find();
    bool is_running = the_pool.is_running;
    if (w) w->in_use = 1;
    pthread_mutex_unlock(&externals.lock);
    if (!w || !is_running || worker_user_start(w)) return w;
    external_put(w);
    return NULL;
}

/* The lock is held over worker_stop, because a thread may end while the pool stops. */
void external_put(worker *w)
{
    pthread_mutex_lock(&externals.lock);
    worker_user_stop(w);
    w->current = NULL;
    w->fiber = NULL;
    w->thread = NULL;
    w->in_use = 0;
    pthread_mutex_unlock(&externals.lock);
}

static void thread_ends(void *record)
{
    worker *w = record;
    external_put(w);
    worker_tls = NULL;
}

static bool key_make(void)
{
    pthread_mutex_lock(&externals.lock);
    if (!externals.has_key) externals.has_key = pthread_key_create(&externals.key, thread_ends) == 0;
    bool ok = externals.has_key;
    pthread_mutex_unlock(&externals.lock);
    return ok;
}

cold worker *external_worker(void)
{
    worker *w = key_make() ? external_take() : NULL;
    if (!w) return NULL;
    memset(w->thread_fiber, 0, sizeof *w->thread_fiber);
    fiber_thread_init(w->thread_fiber);
    w->fiber = w->thread_fiber;
    if (pthread_setspecific(externals.key, w) != 0) {
        thread_ends(w);
        return NULL;
    }
    worker_tls = w;
    return w;
}

bool external_workers_start(void)
{
    bool ok = true;
    pthread_mutex_lock(&externals.lock);
    the_pool.is_running = true;
    for (worker *w = load_relaxed(&external_list); w && ok; w = w->next_external)
        if (w->in_use) ok = worker_user_start(w);
    pthread_mutex_unlock(&externals.lock);
    return ok;
}

void external_workers_stop(void)
{
    pthread_mutex_lock(&externals.lock);
    the_pool.is_running = false;
    for (worker *w = load_relaxed(&external_list); w; w = w->next_external) worker_user_stop(w);
    pthread_mutex_unlock(&externals.lock);
}
