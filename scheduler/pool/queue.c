/*
 * The queues of the pool and the waking of workers.
 *
 * Each worker has a LIFO slot (in struct worker), a ring of 256 (the owner pushes and pops, thieves take half by one CAS on the head), a
 * deque of newly spawned runnables, and a private list; the pool has one global list per priority under a lock. A push to a stealable
 * queue fences and then looks for parked workers; a worker that parks first announces itself in `idle`, then looks at every queue again
 * (pool_has_work): one of the two sees the other.
 */
#include "scheduler/pool/pool_internal.h"

/* ThreadSanitizer does not know fences: a read-modify-write stands in. */
void pool_fence(void)
{
#ifdef POOL_TSAN
    add_seq(&the_pool.searching, 0);
#else
    atomic_thread_fence(memory_order_seq_cst);
#endif
}

void global_push(runnable *first, runnable *last, long count, int priority)
{
    last->next = NULL;
    pthread_mutex_lock(&the_pool.lock);
    if (the_pool.tail[priority]) the_pool.tail[priority]->next = first;
    else the_pool.head[priority] = first;
    the_pool.tail[priority] = last;
    add_seq(&the_pool.queued[priority].count, count);
    pthread_mutex_unlock(&the_pool.lock);
}

/* Under the lock: the first of a list, and a fair share of what follows into the ring. */
static runnable *global_take(worker *w, int priority, long most)
{
    runnable *first = the_pool.head[priority], *r = first;
    if (!first) return NULL;
    uint32_t tail = load_relaxed(&w->ring_tail), head = load_acquire(&w->ring_head);
    long room = (long)(POOL_RING - (tail - head)) + 1, taken = 1;
    if (most > room) most = room;
    for (r = r->next; r && taken < most; taken++) {
        runnable *next = r->next;
        store_relaxed(&w->ring[tail++ % POOL_RING], r);
        r = next;
    }
    the_pool.head[priority] = r;
    if (!r) the_pool.tail[priority] = NULL;
    sub_seq(&the_pool.queued[priority].count, taken);
    store_release(&w->ring_tail, tail);
    return first;
}

static runnable *global_pop_share(worker *w, int priority, long share)
{
    if (load_relaxed(&the_pool.queued[priority].count) == 0) return NULL;
    pthread_mutex_lock(&the_pool.lock);
    runnable *r = global_take(w, priority, share);
    pthread_mutex_unlock(&the_pool.lock);
    return r;
}

noinline runnable *global_pop_one(worker *w, int priority) { return global_pop_share(w, priority, 1); }

noinline runnable *global_pop(worker *w)
{
    long share = load_relaxed(&the_pool.queued[RUN_NORMAL].count) / the_pool.workers + 1;
    runnable *r = global_pop_share(w, RUN_HIGH, 1);
    if (!r) r = global_pop_share(w, RUN_NORMAL, share < POOL_RING / 2 ? share : POOL_RING / 2);
    if (!r) r = global_pop_share(w, RUN_LOW, 1);
    return r;
}

/* Half of a full ring and r go to the global list. */
static noinline bool ring_overflow(worker *w, runnable *r)
{
    runnable *moved[POOL_RING / 2];
    uint32_t head = load_acquire(&w->ring_head);
    if (load_relaxed(&w->ring_tail) - head < POOL_RING) return false; /* a thief made room */
    for (uint32_t i = 0; i < POOL_RING / 2; i++) moved[i] = load_relaxed(&w->ring[(head + i) % POOL_RING]);
    if (!cas_acq_rel(&w->ring_head, &head, head + POOL_RING / 2)) return false;
    for (int i = 0; i < POOL_RING / 2 - 1; i++) moved[i]->next = moved[i + 1];
    moved[POOL_RING / 2 - 1]->next = r;
    global_push(moved[0], r, POOL_RING / 2 + 1, RUN_NORMAL);
    return true;
}

/* A push that only other workers' thieves care about: with one worker awake there is nobody to tell. When the limit rises the monitor
 * looks at the queues. */
static inline void wake_thief(worker *w)
{
    if (load_relaxed(&the_pool.active_limit) > 1) pool_maybe_wake(w);
}

void ring_push(worker *w, runnable *r)
{
    for (;;) {
        uint32_t tail = load_relaxed(&w->ring_tail), head = load_acquire(&w->ring_head);
        if (likely(tail - head < POOL_RING)) {
            store_relaxed(&w->ring[tail % POOL_RING], r);
            store_release(&w->ring_tail, tail + 1); /* pairs with ring_steal's load */
            break;
        }
        if (ring_overflow(w, r)) break;
    }
    wake_thief(w);
}

runnable *ring_pop(worker *w)
{
    uint32_t head = load_acquire(&w->ring_head);
    for (;;) {
        if (load_acquire(&w->ring_tail) == head) return NULL;
        runnable *r = load_relaxed(&w->ring[head % POOL_RING]);
        if (cas_acq_rel(&w->ring_head, &head, head + 1)) return r;
    }
}

/* Takes the older half of the victim's ring into the empty ring of w and returns the first. */
runnable *ring_steal(worker *w, worker *victim)
{
    for (;;) {
        uint32_t head = load_acquire(&victim->ring_head), count = load_acquire(&victim->ring_tail) - head;
        if (count > POOL_RING) continue; /* head moved between the loads */
        if (count == 0) return NULL;
        count -= count / 2;
        runnable *taken[POOL_RING];
        for (uint32_t i = 0; i < count; i++) taken[i] = load_relaxed(&victim->ring[(head + i) % POOL_RING]);
        if (!cas_acq_rel(&victim->ring_head, &head, head + count)) continue;
        uint32_t tail = load_relaxed(&w->ring_tail);
        for (uint32_t i = 1; i < count; i++) store_relaxed(&w->ring[(tail + i - 1) % POOL_RING], taken[i]);
        store_release(&w->ring_tail, tail + count - 1);
        count_up(&w->steals, 1);
        return taken[0];
    }
}

void private_push(worker *w, runnable *r)
{
    r->next = NULL;
    if (w->private_tail) w->private_tail->next = r;
    else w->private_head = r;
    w->private_tail = r;
}

runnable *private_pop(worker *w)
{
    runnable *r = w->private_head;
    if (r && !(w->private_head = r->next)) w->private_tail = NULL;
    return r;
}

void worker_ready_fifo(worker *w, runnable *r)
{
    if (likely(!w->external)) ring_push(w, r);
    else worker_ready_slow(w, r);
}

void worker_ready_spawned(worker *w, runnable *r)
{
    if (unlikely(w->external)) worker_ready_slow(w, r);
    else if (likely(deque_push(&w->spawned, r))) wake_thief(w);
    else ring_push(w, r);
}

void worker_ready_priority(worker *w, runnable *r)
{
    if (r->priority == RUN_NORMAL) {
        worker_ready_spawned(w, r);
        return;
    }
    if (sim_is_on()) sim_ready(r);
    else global_push(r, r, 1, r->priority);
    pool_maybe_wake(w);
}

/* A plain thread's pushes go to a ring of its own, which the workers steal from: no lock as long as they keep up. */
static bool external_push(worker *w, runnable *r)
{
    uint32_t tail = load_relaxed(&w->ring_tail), head = load_acquire(&w->ring_head);
    if (tail - head >= POOL_RING) return false;
    store_relaxed(&w->ring[tail % POOL_RING], r);
    store_release(&w->ring_tail, tail + 1); /* pairs with ring_steal's load */
    return true;
}

void worker_ready_slow(worker *w, runnable *r)
{
    if (sim_is_on()) {
        sim_ready(r);
        return;
    }
    if (!external_push(w, r)) global_push(r, r, 1, RUN_NORMAL);
    pool_maybe_wake(w);
}

/* One runnable from a plain thread's ring; more of them into the ring of w when that is empty. */
runnable *external_pop(worker *w)
{
    for (worker *x = load_acquire(&external_list); x; x = x->next_external) {
        if (load_relaxed(&x->ring_tail) == load_relaxed(&x->ring_head)) continue;
        runnable *r = load_relaxed(&w->ring_tail) == load_acquire(&w->ring_head) ? ring_steal(w, x) : ring_pop(x);
        if (r) return r;
    }
    return NULL;
}

bool worker_is_stealable(const worker *w)
{
    worker *v = (worker *)w; /* atomic loads take no const pointers in C17's <stdatomic.h> of clang */
    return (int32_t)(load_seq(&v->ring_tail) - load_seq(&v->ring_head)) > 0 || deque_size(&v->spawned) > 0;
}

/* Reads with the strongest order: the last look before parking. */
bool pool_has_work(const worker *w)
{
    for (int p = 0; p < 3; p++)
        if (load_seq(&the_pool.queued[p].count) > 0) return true;
    for (int i = 0; i < the_pool.workers; i++)
        if (the_pool.worker[i] != w && worker_is_stealable(the_pool.worker[i])) return true;
    for (worker *x = load_acquire(&external_list); x; x = x->next_external)
        if ((int32_t)(load_seq(&x->ring_tail) - load_seq(&x->ring_head)) > 0) return true;
    return false;
}

bool worker_holds_work(const worker *w)
{
    return load_seq(&((worker *)w)->inbox) || w->lifo || w->private_head || w->muted_head || worker_is_stealable(w);
}

typedef struct run_list {
    runnable *first, *last;
    long count;
} run_list;

static void list_add(run_list *l, runnable *r)
{
    if (l->last) l->last->next = r;
    else l->first = r;
    l->last = r;
    l->count++;
}

static void take_unstealable(worker *w, run_list *l)
{
    runnable *r;
    if (load_relaxed(&w->inbox)) mute_take_inbox(w);
    mute_release(w);
    if (w->lifo) list_add(l, w->lifo);
    w->lifo = NULL;
    while ((r = private_pop(w))) list_add(l, r);
}

static bool global_push_list(worker *w, const run_list *l)
{
    if (!l->count) return false;
    global_push(l->first, l->last, l->count, RUN_NORMAL);
    pool_maybe_wake(w);
    return true;
}

noinline void worker_give_away(worker *w)
{
    runnable *r;
    run_list l = {NULL, NULL, 0};
    take_unstealable(w, &l);
    while ((r = ring_pop(w)) || (r = deque_pop(&w->spawned))) list_add(&l, r);
    global_push_list(w, &l);
}

bool worker_rescue(worker *self, worker *stuck)
{
    run_list l = {NULL, NULL, 0};
    if (rescue_begin(stuck)) take_unstealable(stuck, &l);
    rescue_end(stuck);
    return global_push_list(self, &l);
}

static bool claim_and_wake(worker *target)
{
    uint64_t bit = 1ull << target->index;
    if (!(atomic_fetch_and_explicit(&the_pool.idle, ~bit, memory_order_seq_cst) & bit)) return false;
    add_seq(&the_pool.searching, 1); /* the woken worker counts as searching from here */
    store_release(&target->park_word, 1);
    os_futex_wake(&target->park_word, 1);
    return true;
}

noinline void pool_wake_one(worker *w)
{
    uint64_t idle = load_relaxed(&the_pool.idle);
    int limit = load_relaxed(&the_pool.active_limit);
    if (limit < POOL_MAX_WORKERS) idle &= (1ull << limit) - 1;
    if (!idle || load_relaxed(&the_pool.searching)) return;
    if (claim_and_wake(the_pool.worker[__builtin_ctzll(idle)])) count_up(&w->wakes, 1);
}

void pool_wake_worker(worker *target)
{
    if (load_seq(&the_pool.idle) >> target->index & 1) claim_and_wake(target);
}

/* After work became visible to thieves: wakes one parked worker unless somebody searches already. */
void pool_maybe_wake(worker *w)
{
    pool_fence(); /* pairs with the announcement in `idle` before the last look */
    if (unlikely(load_relaxed(&the_pool.idle)) && !load_relaxed(&the_pool.searching)) pool_wake_one(w);
}
