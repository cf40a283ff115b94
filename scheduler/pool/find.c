/*
 * One pick: what a worker runs next.
 *
 * Own queues first: LIFO slot (bounded in a row while others wait), private list on every other pick, ring, private list, newly spawned
 * newest first. The global list on every 61st pick, its high priority on each. Then the search: global list, the others' spawns (oldest
 * first) and rings, for a bounded number of rounds, by at most half of the workers; then parking.
 *
 * No wake-up is lost: whoever makes work visible fences and then looks at `idle`; whoever parks sets its bit in `idle` and then looks at
 * every queue it could take from. A pusher that wakes nobody because somebody searches relies on that searcher: it finds this work, or
 * looks again before it parks, or, having found other work, wakes the next (search_end).
 *
 * A thief whose stolen work proved small and cheap dozes: out of reach of wakers, but it looks around at least each millisecond.
 */
#include "scheduler/pool/pool_internal.h"

enum {
    HOUSEKEEPING = 16,    /* picks; a power of two */
    GLOBAL_EVERY = 61,    /* picks */
    LOW_EVERY = 61 * 64,  /* picks */
    CLOCK_US = 50,        /* a busy worker looks at its timers no more often */
    SPAWN_AGE_US = 10000, /* a spawn deque that was never empty for so long is starving */
    DOZE_FIRST_US = 50,
    DOZE_PEEK_US = 1000
};

typedef enum park_result { PARK_WOKEN, PARK_WORK, PARK_OWN } park_result;   /* woken: the waker counted us as searching */
typedef enum doze_result { DOZE_OVER, DOZE_STUCK, DOZE_QUIET } doze_result; /* stuck: work stands still elsewhere; quiet: nobody runs */

static inline void poll_inbox(worker *w)
{
    if (unlikely(load_relaxed(&w->inbox) != NULL)) mute_take_inbox(w);
    if (unlikely(w->muted_head != NULL)) mute_scan(w);
}

static void poll_timers(worker *w)
{
    if (load_relaxed(&w->timer_next_ns) != UINT64_MAX) timers_run(w, w, pool_now_ns());
}

/* Spawns run newest first and after everything else, which may leave them for ever. When the deque has not been empty for SPAWN_AGE_US:
 * the oldest once in that time (no more often: each opens another subtree), else the newest, so that a spawn gets one pick in
 * HOUSEKEEPING. */
static runnable *aged_spawn(worker *w, uint64_t now_ticks)
{
    uint64_t age = SPAWN_AGE_US * the_pool.ticks_per_us;
    if (deque_size(&w->spawned) == 0) {
        w->spawn_ticks = w->oldest_ticks = now_ticks;
        return NULL;
    }
    if (now_ticks - w->spawn_ticks < age) return NULL;
    if (now_ticks - w->oldest_ticks < age) return deque_pop(&w->spawned);
    w->oldest_ticks = now_ticks;
    return deque_steal(&w->spawned);
}

static noinline runnable *housekeeping(worker *w)
{
    uint64_t now = os_ticks();
    poll_inbox(w);
    if (now - w->clock_ticks >= CLOCK_US * the_pool.ticks_per_us) {
        w->clock_ticks = now;
        poll_timers(w);
        if (unlikely(worker_is_resting(w))) worker_give_away(w);
    }
    return aged_spawn(w, now);
}

static inline runnable *next_queued(worker *w, uint32_t tick)
{
    runnable *r;
    bool has_private = w->private_head != NULL;
    if (unlikely(has_private) && (tick & 1)) return private_pop(w);
    if ((r = ring_pop(w))) return r;
    if (unlikely(has_private)) return private_pop(w);
    return deque_pop(&w->spawned);
}

static inline runnable *next_local(worker *w, uint32_t tick)
{
    runnable *r = w->lifo;
    if (r) {
        w->lifo = NULL;
        if (++w->streak <= (uint32_t)the_pool.policy.lifo_cap) return r;
        w->streak = 0;
        if (ring_is_empty(w) && !w->private_head) return r; /* nobody waits */
        ring_push(w, r);
    }
    w->streak = 0;
    return next_queued(w, tick);
}

/* ---- searching ---- */

static bool search_may_begin(void)
{
    int searching = load_relaxed(&the_pool.searching);
    return searching == 0 || (searching + 1) * 2 <= the_pool.workers;
}

/* The last searcher that found something passes the search on: pushers relied on it. */
static void search_end(worker *w)
{
    if (sub_seq(&the_pool.searching, 1) != 1 || !load_seq(&the_pool.idle)) return;
    if (worker_is_stealable(w) || pool_has_work(w)) pool_wake_one(w);
}

static runnable *steal_one(worker *w, worker *victim)
{
    runnable *r = deque_steal(&victim->spawned);
    if (r) count_up(&w->steals, 1);
    return r;
}

static runnable *steal_round(worker *w)
{
    int n = the_pool.workers;
    for (int k = 1; k < n; k++) {
        worker *victim = the_pool.worker[(w->index + k) % n];
        runnable *r = steal_one(w, victim);
        if (!r && !(r = ring_steal(w, victim))) continue;
        w->steal_ticks = os_ticks();
        w->steal_messages = load_relaxed(&w->messages);
        return r;
    }
    return NULL;
}

static runnable *own_work(worker *w)
{
    poll_inbox(w);
    poll_timers(w);
    return next_local(w, 0);
}

static runnable *search(worker *w)
{
    runnable *r = own_work(w);
    for (int i = 0; !r && i <= the_pool.policy.spin; i++) {
        if (load_relaxed(&w->inbox) || w->muted_head) {
            poll_inbox(w);
            if ((r = next_local(w, 0))) break;
        }
        if ((r = external_pop(w)) || (r = global_pop(w)) || (r = steal_round(w))) break;
        spin_pause();
    }
    if (r || !w->muted_head) return r;
    mute_release(w);
    return private_pop(w);
}

/* ---- dozing ---- */

static void look_at_ticks(uint32_t *ticks)
{
    for (int i = 0; i < the_pool.workers; i++) ticks[i] = load_relaxed(&the_pool.worker[i]->tick);
}

static doze_result look_around(const worker *w, uint32_t *ticks)
{
    bool global = load_relaxed(&the_pool.queued[RUN_NORMAL].count) > 0 || load_relaxed(&the_pool.queued[RUN_LOW].count) > 0, busy = false;
    for (int i = 0; i < the_pool.workers; i++) {
        worker *v = the_pool.worker[i];
        uint32_t tick = load_relaxed(&v->tick);
        if (v == w) continue;
        if (tick != ticks[i]) busy = true;
        else if (global || worker_is_stealable(v)) return DOZE_STUCK;
        ticks[i] = tick;
    }
    return busy ? DOZE_OVER : DOZE_QUIET;
}

/* To the worker's next timer. */
static uint64_t time_left(worker *w)
{
    uint64_t next = load_seq(&w->timer_next_ns);
    if (next == UINT64_MAX) return OS_FOREVER;
    uint64_t now = pool_now_ns();
    return next > now ? next - now : 0;
}

/* Sleeps out of reach of wakers, with a look around each millisecond. */
static doze_result doze(worker *w, uint32_t us)
{
    uint32_t ticks[POOL_MAX_WORKERS];
    look_at_ticks(ticks);
    while (us > 0) {
        uint32_t nap = us < DOZE_PEEK_US ? us : DOZE_PEEK_US;
        uint64_t left = time_left(w), ns = nap * (uint64_t)OS_NS_PER_US;
        os_futex_wait(&w->park_word, 0, left < ns ? left : ns);
        us -= nap;
        doze_result seen = look_around(w, ticks);
        if (seen != DOZE_OVER) return seen;
        if (load_relaxed(&w->inbox) || time_left(w) == 0 || load_relaxed(&the_pool.stopping)) break;
    }
    return DOZE_OVER;
}

/* How did the last steal pay? Short and under a microsecond a message is bad: that work was better left where it was. */
static void judge_steal(worker *w)
{
    if (!w->steal_ticks) return;
    uint64_t us = (os_ticks() - w->steal_ticks) / the_pool.ticks_per_us, messages = load_relaxed(&w->messages) - w->steal_messages;
    w->steal_ticks = 0;
    if (us >= (uint64_t)the_pool.policy.bad_steal_us || us >= messages) {
        w->doze_us = 0;
        return;
    }
    w->doze_us = w->doze_us ? w->doze_us * 2 : DOZE_FIRST_US;
    if (w->doze_us > (uint32_t)the_pool.policy.doze_us) w->doze_us = (uint32_t)the_pool.policy.doze_us;
    doze(w, w->doze_us);
}

/* Consolidated: the others do the work. NULL: nothing moves or the limit has risen. */
static runnable *rest(worker *w)
{
    do {
        worker_give_away(w);
        doze_result seen = doze(w, DOZE_PEEK_US);
        poll_timers(w);
        if (seen == DOZE_STUCK) return search(w);
        if (seen == DOZE_QUIET) break;
    } while (worker_is_resting(w) && !load_relaxed(&the_pool.stopping));
    worker_give_away(w);
    return NULL;
}

/* ---- parking ---- */

static bool unpark_self(const worker *w)
{
    uint64_t bit = 1ull << w->index;
    return atomic_fetch_and_explicit(&the_pool.idle, ~bit, memory_order_seq_cst) & bit;
}

/* False: the time of an own timer came and nobody else woke us. */
static bool park_wait(worker *w)
{
    count_up(&w->parks, 1);
    while (!load_acquire(&w->park_word)) {
        uint64_t left = time_left(w);
        if (left == 0 && unpark_self(w)) return false;
        os_futex_wait(
            &w->park_word, 0, left ? left : OS_FOREVER); /* without time left a waker has claimed us: it is about to set the word */
    }
    store_relaxed(&w->park_word, 0);
    return true;
}

static park_result park(worker *w)
{
    atomic_fetch_or_explicit(&the_pool.idle, 1ull << w->index, memory_order_seq_cst); /* pairs with pool_fence of pushers */
    bool own = worker_holds_work(w) || time_left(w) == 0 || load_seq(&the_pool.stopping);
    bool work = own || (!worker_is_resting(w) && pool_has_work(w));
    bool woken = !(work && unpark_self(w)) && park_wait(w);
    monitor_poke();
    return woken ? PARK_WOKEN : work && !own ? PARK_WORK : PARK_OWN;
}

/* Whether w now counts as searching, given whether it did. A resting worker does not search, and must not keep pushers from waking those
 * who would. */
static bool search_begin(worker *w, bool counted, bool resting)
{
    if (resting) {
        if (counted) search_end(w);
        return false;
    }
    if (counted) return true;
    if (!search_may_begin()) return false;
    add_seq(&the_pool.searching, 1);
    return true;
}

static noinline runnable *find_work(worker *w)
{
    judge_steal(w);
    bool counted = false;
    for (;;) {
        bool resting = worker_is_resting(w);
        counted = search_begin(w, counted, resting);
        runnable *r = resting ? rest(w) : counted ? search(w) : own_work(w);
        if (counted && r) search_end(w);
        if (r) return r;
        if (counted) sub_seq(&the_pool.searching, 1);
        if (load_relaxed(&the_pool.stopping)) return NULL;
        park_result p = park(w);
        if (p == PARK_WORK) add_seq(&the_pool.searching, 1);
        counted = p != PARK_OWN;
    }
}

runnable *worker_next(worker *w)
{
    runnable *r;
    uint32_t tick = load_relaxed(&w->tick) + 1;
    store_relaxed(&w->tick, tick);
    if (unlikely(w->external)) return sim_next(w);
    if (unlikely(tick % HOUSEKEEPING == 0) && (r = housekeeping(w))) return r;
    if (unlikely(load_relaxed(&the_pool.queued[RUN_HIGH].count) > 0) && (r = global_pop_one(w, RUN_HIGH))) return r;
    if (unlikely(tick % GLOBAL_EVERY == 0)) {
        if (tick % LOW_EVERY == 0 && (r = global_pop_one(w, RUN_LOW))) return r;
        if ((r = external_pop(w)) || (r = global_pop(w))) return r;
    }
    r = next_local(w, tick);
    return likely(r != NULL) ? r : find_work(w);
}
