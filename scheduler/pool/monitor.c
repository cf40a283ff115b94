/*
 * The monitor: a thread that looks at the workers about each 10 ms while any of them runs, and sleeps while all are parked.
 *
 * It helps where a worker is stuck in a long handler (its tick stands still): runs its due timers, moves what nobody can steal from it to
 * the global list, and wakes a parked worker for what it cannot get to. It feeds the consolidation controller, and calls options.on_tick.
 */
#include "scheduler/pool/consolidate.h"
#include "scheduler/pool/pool_internal.h"

enum { TICK_NS = 10 * OS_NS_PER_MS, SLEEP_AFTER = 10 }; /* ticks with all workers parked */
enum { AWAKE, ASLEEP, STOP };

static struct {
    _Alignas(CACHE_PAIR) _Atomic uint32_t state;
    _Alignas(CACHE_PAIR) pthread_t thread;
    bool is_started;
    uint32_t ticks[POOL_MAX_WORKERS];
    consolidator consolidator;
} monitor;

noinline void monitor_poke(void)
{
    uint32_t asleep = ASLEEP;
    if (likely(load_seq(&monitor.state) != ASLEEP)) return; /* after the idle bit was cleared; pairs with monitor_sleep */
    if (cas_seq(&monitor.state, &asleep, AWAKE)) os_futex_wake(&monitor.state, 1);
}

static bool all_are_parked(void)
{
    uint64_t all = the_pool.workers == POOL_MAX_WORKERS ? UINT64_MAX : (UINT64_C(1) << the_pool.workers) - 1;
    return load_seq(&the_pool.idle) == all;
}

static bool global_has_work(void)
{
    for (int p = 0; p < 3; p++)
        if (load_relaxed(&the_pool.queued[p].count) > 0) return true;
    return false;
}

/* Helps worker v if its tick has not moved since the last look, which a parked one's has not either. */
static bool help_if_stuck(worker *self, worker *v, uint64_t now_ns)
{
    uint32_t tick = load_relaxed(&v->tick);
    bool stuck = tick == monitor.ticks[v->index];
    monitor.ticks[v->index] = tick;
    if (stuck) timers_run(self, v, now_ns);
    return stuck && !(load_relaxed(&the_pool.idle) >> v->index & 1);
}

/* True: work waits behind a worker that is stuck. */
static bool help_stuck(worker *self, uint64_t now_ns, bool global)
{
    bool waiting = false;
    for (int i = 0; i < the_pool.workers; i++) {
        worker *v = the_pool.worker[i];
        bool resting = worker_is_resting(v);
        if (!help_if_stuck(self, v, now_ns)) continue;
        bool rescued = the_pool.workers > 1 && worker_rescue(self, v);
        waiting |= rescued || (!resting && (global || worker_is_stealable(v)));
    }
    return waiting;
}

static void monitor_tick(worker *self)
{
    uint64_t now = os_monotonic_ns();
    int limit = load_relaxed(&the_pool.active_limit);
    bool global = global_has_work();
    if (the_pool.options.on_tick) the_pool.options.on_tick(now);
    bool waiting = help_stuck(self, now, global);
    consolidate_tick(&monitor.consolidator, now, waiting);
    bool raised = load_relaxed(&the_pool.active_limit) > limit; /* pushers told nobody while one worker was active */
    if (global || waiting || (raised && pool_has_work(self))) pool_wake_one(self);
}

/* Until a worker leaves its parking place. */
static void monitor_sleep(void)
{
    uint32_t awake = AWAKE, asleep = ASLEEP;
    if (!cas_seq(&monitor.state, &awake, ASLEEP)) return;
    if (all_are_parked()) {
        consolidate_reset(&monitor.consolidator);
        while (load_acquire(&monitor.state) == ASLEEP) os_futex_wait(&monitor.state, ASLEEP, OS_FOREVER);
    } else cas_seq(&monitor.state, &asleep, AWAKE);
}

static void *monitor_main(void *argument)
{
    (void)argument;
    worker *self = worker_self();
    int quiet = 0;
    while (self && load_acquire(&monitor.state) != STOP) {
        os_futex_wait(&monitor.state, AWAKE, TICK_NS);
        if (load_acquire(&monitor.state) == STOP) break;
        monitor_tick(self);
        quiet = all_are_parked() ? quiet + 1 : 0;
        if (quiet < SLEEP_AFTER) continue;
        monitor_sleep();
        quiet = 0;
    }
    return NULL;
}

bool monitor_start(void)
{
    store_relaxed(&monitor.state, AWAKE);
    consolidate_init(&monitor.consolidator);
    monitor.is_started = os_thread_start(&monitor.thread, "manta-monitor", monitor_main, NULL) == 0;
    return monitor.is_started;
}

void monitor_stop(void)
{
    if (!monitor.is_started) return;
    store_seq(&monitor.state, STOP);
    os_futex_wake(&monitor.state, 1);
    pthread_join(monitor.thread, NULL);
    monitor.is_started = false;
}
