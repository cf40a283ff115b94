#include <pthread.h>
#include <stddef.h>

#include "scheduler/pool/pool.h"
#include "test/support/test.h"

typedef struct alarm {
    pool_timer timer; /* first */
    _Atomic int fired;
    uint64_t deadline_ns;
} alarm;

static _Atomic int fired, early;

static void on_alarm(worker *w, pool_timer *t)
{
    alarm *a = (alarm *)(void *)t;
    if (w != worker_self() || !atomic_load(&t->firing)) early++;
    if (pool_now_ns() < a->deadline_ns) early++;
    a->fired++;
    fired++;
    atomic_store(&t->firing, 0);
}

static void alarm_start(alarm *a, uint64_t after_ns)
{
    a->timer.fire = on_alarm;
    a->deadline_ns = pool_now_ns() + after_ns;
    pool_timer_start(worker_self(), &a->timer, a->deadline_ns);
}

static void (*turn)(worker *w, runnable *r);
static void run_turn(worker *w, runnable *r) { turn(w, r); }

static bool start(int workers)
{
    fired = early = 0;
    return pool_start(&(pool_options){.workers = workers, .run = run_turn});
}

/* Timers fire once, never early, also while every worker is parked and while the time to the next is being shortened. */
TEST(timers_fire_once)
{
    enum { N = 200 };
    static alarm alarms[N];
    memset(alarms, 0, sizeof alarms);
    EXPECT(start(2));
    for (int i = 0; i < N; i++) alarm_start(&alarms[i], (uint64_t)(N - i) * 500 * OS_NS_PER_US);
    EXPECT(WAIT_FOR(fired == N, 30));
    pool_stop();
    EXPECT_EQ(early, 0);
    for (int i = 0; i < N; i++) EXPECT_EQ(alarms[i].fired, 1);
}

/* The worker parks, and runs a timer of its own within 200 ms of the deadline. */
static bool is_punctual(void)
{
    static alarm a;
    memset(&a, 0, sizeof a);
    if (!WAIT_FOR(atomic_load(&the_pool.idle) == 1, 30)) return false;
    alarm_start(&a, 20 * OS_NS_PER_MS);
    if (!WAIT_FOR(a.fired && !atomic_load(&a.timer.firing), 30)) return false;
    return pool_now_ns() - a.deadline_ns < 200 * OS_NS_PER_MS;
}

/* A parked worker keeps to its deadline, by itself; a busy machine may keep it waiting now and then. */
TEST(parked_worker_is_punctual)
{
    setenv("MANTA_POLICY_MONITOR", "0", 1); /* which would help out */
    bool started = start(1);
    unsetenv("MANTA_POLICY_MONITOR");
    EXPECT(started);
    bool punctual = WAIT_FOR(is_punctual(), 30);
    pool_stop();
    EXPECT(punctual);
}

enum { RACES = 20000, CANCELLERS = 3 };
static alarm *racing;
static _Atomic int cancelled, next_race;

static void *cancel_all(void *argument)
{
    for (int i; (i = next_race++) < RACES;) {
        alarm *a = &racing[i];
        alarm_start(a, (uint64_t)(i % 7) * 20 * OS_NS_PER_US);
        if (i % 3 == 0) sched_yield();
        if (pool_timer_cancel(&a->timer)) cancelled++;
        else
            while (!a->fired || atomic_load(&a->timer.firing)) sched_yield(); /* it did or will fire */
    }
    return argument;
}

/* Whether cancelled by other threads or not, each timer either fires or was cancelled, never both, never neither. */
TEST(cancel_from_other_threads)
{
    racing = calloc(RACES, sizeof *racing);
    cancelled = next_race = 0;
    EXPECT(start(2));
    pthread_t t[CANCELLERS];
    for (int i = 0; i < CANCELLERS; i++) EXPECT(pthread_create(&t[i], NULL, cancel_all, NULL) == 0);
    for (int i = 0; i < CANCELLERS; i++) pthread_join(t[i], NULL);
    EXPECT_EQ(cancelled + fired, RACES);
    pool_stop();
    EXPECT_EQ(cancelled + fired, RACES);
    EXPECT_EQ(early, 0);
    EXPECT(!pool_timer_cancel(&racing[0].timer));
    free(racing);
}

static _Atomic int release_turn, inside;
static alarm of_stuck;

static void stuck_turn(worker *w, runnable *r)
{
    (void)r;
    (void)w;
    alarm_start(&of_stuck, OS_NS_PER_MS); /* on this very worker's wheel */
    inside = 1;
    while (!release_turn) spin_pause();
}

/* The timers of a worker that is stuck in a long turn are run by the monitor. */
TEST(stuck_worker_is_helped)
{
    static runnable r;
    memset(&r, 0, sizeof r);
    memset(&of_stuck, 0, sizeof of_stuck);
    release_turn = inside = 0;
    turn = stuck_turn;
    EXPECT(start(1));
    worker_ready(worker_self(), &r);
    EXPECT(WAIT_FOR(of_stuck.fired, 30));
    release_turn = 1;
    pool_stop();
}

static _Atomic bool stop_turning;

static void turn_again(worker *w, runnable *r)
{
    if (!stop_turning) worker_ready(w, r);
    else inside = 0;
}

/* A worker that always has something to run looks at its timers in between. */
TEST(busy_worker_runs_its_timers)
{
    static runnable r;
    static alarm a;
    memset(&r, 0, sizeof r);
    memset(&a, 0, sizeof a);
    stop_turning = false;
    inside = 1;
    turn = turn_again;
    EXPECT(start(1));
    worker_ready(worker_self(), &r);
    alarm_start(&a, OS_NS_PER_MS);
    EXPECT(WAIT_FOR(a.fired, 30));
    stop_turning = true;
    EXPECT(WAIT_FOR(!inside, 30));
    pool_stop();
    EXPECT_EQ(early, 0);
}
