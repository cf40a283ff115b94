#include "scheduler/pool/pool.h"
#include "test/support/test.h"

/*
 * Two runnables hand the baton to each other: the one that runs pushes the other on its own ring and stays in its turn until that one has
 * started, which only another worker can bring about. A random gap before each push makes the other worker be found searching, about to
 * park, parking, or parked. There is no monitor, so a lost wake-up is for ever.
 */
typedef struct runner {
    runnable r; /* first */
    struct runner *other;
    _Atomic uint64_t starts, ends;
    rng random;
} runner;

static runner pair[2];
static _Atomic uint64_t target;
static uint32_t gap_ticks;
static _Atomic uint32_t over;

static void spin_for(uint64_t ticks)
{
    for (uint64_t begin = os_ticks(); os_ticks() - begin < ticks;) spin_pause();
}

static void run_baton(worker *w, runnable *r)
{
    runner *me = (runner *)(void *)r, *other = me->other;
    uint64_t n = load_relaxed(&me->starts) + 1;
    store_seq(&me->starts, n);
    uint64_t other_starts = load_seq(&other->starts);
    while (load_seq(&other->ends) != other_starts) spin_pause(); /* it is at rest only then */
    if (n < load_relaxed(&target)) {
        spin_for(rng_below(&me->random, gap_ticks));
        worker_ready_fifo(w, &other->r);
        while (load_seq(&other->starts) == other_starts) spin_pause();
    } else {
        store_seq(&over, 1);
        os_futex_wake(&over, 1);
    }
    store_seq(&me->ends, n);
}

static uint64_t rounds_wanted(void)
{
    const char *text = getenv("MANTA_STRESS");
    return text ? strtoull(text, NULL, 10) / 4 : 0;
}

/* Runs until `rounds`, or for a second when that is 0; false: no round for 20 s. */
static bool relay(int workers, const char *spin)
{
    uint64_t rounds = rounds_wanted();
    double end = test_now_s() + 1, alive = test_now_s();
    setenv("MANTA_POLICY_MONITOR", "0", 1);
    setenv("MANTA_POLICY_SPIN", spin, 1);
    store_seq(&over, 0);
    store_seq(&target, rounds ? rounds / 2 : UINT64_MAX);
    for (int i = 0; i < 2; i++) {
        memset(&pair[i], 0, sizeof pair[i]);
        pair[i].other = &pair[1 - i];
        rng_init(&pair[i].random, test_seed() + (uint64_t)i);
    }
    gap_ticks = (uint32_t)(os_ticks_per_us() * 8);
    if (!pool_start(&(pool_options){.workers = workers, .run = run_baton})) return false;
    worker_ready(worker_self(), &pair[0].r);
    uint64_t seen = 0;
    while (!load_seq(&over)) {
        uint64_t now = load_seq(&pair[0].starts) + load_seq(&pair[1].starts);
        if (now != seen) alive = test_now_s();
        seen = now;
        if (test_now_s() - alive > 20) break;
        if (!rounds && test_now_s() > end) store_seq(&target, 0);
        os_futex_wait(&over, 0, 50 * OS_NS_PER_MS); /* the workers need the cores */
    }
    if (!load_seq(&over)) abort(); /* the threads cannot be stopped any more */
    bool at_rest = WAIT_FOR(pair[0].ends == pair[0].starts && pair[1].ends == pair[1].starts, 10);
    printf("  %d workers, spin %s: %" PRIu64 " rounds, %" PRIu64 " parks\n", workers, spin, seen, pool_sum(offsetof(worker, parks)));
    pool_stop();
    unsetenv("MANTA_POLICY_MONITOR");
    unsetenv("MANTA_POLICY_SPIN");
    return at_rest;
}

/* No wake-up is lost between two workers that park at once. */
TEST(two_workers_spin_0) { EXPECT(relay(2, "0")); }

/* No wake-up is lost between two workers that search before they park. */
TEST(two_workers_spin_50) { EXPECT(relay(2, "50")); }

/* No wake-up is lost among four workers that park at once. */
TEST(four_workers_spin_0) { EXPECT(relay(4, "0")); }

/* No wake-up is lost among four workers of which some search. */
TEST(four_workers_spin_50) { EXPECT(relay(4, "50")); }
