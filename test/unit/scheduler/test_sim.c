#include "scheduler/pool/pool.h"
#include "scheduler/pool/sim.h"
#include "test/support/test.h"

typedef struct actor {
    runnable r; /* first */
    int id, turns;
} actor;

enum { ACTORS = 10, TURNS = 20 };
static actor actors[ACTORS];
static int trace[ACTORS * TURNS], traced;

static void ready_again(worker *w, runnable *r, void *argument)
{
    (void)argument;
    worker_ready(w, r);
}

/* Odd ones suspend within their turn, even ones come again. */
static void run_actor(worker *w, runnable *r)
{
    actor *a = (actor *)(void *)r;
    if (a->id % 2 == 0) {
        trace[traced++] = a->id;
        if (++a->turns < TURNS) worker_ready(w, r);
        return;
    }
    for (; a->turns < TURNS; a->turns++) {
        trace[traced++] = a->id;
        worker_suspend(worker_self(), ready_again, NULL);
    }
}

static bool all_traced(void *argument)
{
    (void)argument;
    return traced == ACTORS * TURNS;
}

static uint64_t run_once(uint64_t seed)
{
    traced = 0;
    if (!pool_start(&(pool_options){.seed = seed, .run = run_actor})) return 0;
    for (int i = 0; i < ACTORS; i++) {
        actors[i] = (actor){.id = i};
        worker_ready(worker_self(), &actors[i].r);
    }
    sim_run_until(all_traced, NULL, UINT64_MAX);
    sim_run_until(all_traced, NULL, UINT64_MAX); /* already done: returns at once */
    uint64_t hash = traced == ACTORS * TURNS;
    for (int i = 0; i < traced; i++) hash = hash * 31 + (uint64_t)trace[i];
    pool_stop();
    return hash;
}

/* The same seed gives the same order, another seed another one; each turn moves the clock. */
TEST(seed_decides_the_order)
{
    uint64_t first = run_once(7);
    EXPECT(first != 0);
    EXPECT(run_once(7) == first);
    EXPECT(run_once(7) == first);
    EXPECT(run_once(8) != first);
}

typedef struct sleeper {
    runnable r; /* first */
    pool_timer timer;
    uint64_t sleep_ns, woke_ns;
} sleeper;

static void wake(worker *w, pool_timer *t)
{
    sleeper *s = (sleeper *)(void *)((char *)t - offsetof(sleeper, timer));
    atomic_store(&t->firing, 0);
    worker_ready(w, &s->r);
}

static void arm(worker *w, runnable *r, void *argument)
{
    (void)r;
    sleeper *s = argument;
    s->timer.fire = wake;
    pool_timer_start(w, &s->timer, pool_now_ns() + s->sleep_ns);
}

static void run_sleeper(worker *w, runnable *r)
{
    sleeper *s = (sleeper *)(void *)r;
    if (worker_suspend(w, arm, s)) s->woke_ns = pool_now_ns();
}

static bool has_woken(void *argument) { return ((sleeper *)argument)->woke_ns != 0; }

static bool never(void *argument)
{
    (void)argument;
    return false;
}

/* A virtual hour passes in no time, and sleepers wake in the order of their deadlines. */
TEST(an_hour_takes_no_time)
{
    enum { N = 5 };
    const uint64_t hour = UINT64_C(3600) * OS_NS_PER_S;
    static sleeper s[N];
    memset(s, 0, sizeof s);
    double begin = test_now_s();
    EXPECT(pool_start(&(pool_options){.seed = 1, .run = run_sleeper}));
    uint64_t start = pool_now_ns();
    for (int i = 0; i < N; i++) {
        s[i].sleep_ns = hour * (uint64_t)(N - i);
        worker_ready(worker_self(), &s[i].r);
    }
    sim_run_until(has_woken, &s[N - 1], UINT64_MAX);
    EXPECT(s[N - 1].woke_ns >= start + hour && s[N - 1].woke_ns < start + hour + OS_NS_PER_MS);
    EXPECT(!s[0].woke_ns);
    sim_run_until(has_woken, &s[0], UINT64_MAX);
    pool_stop();
    for (int i = 1; i < N; i++) EXPECT(s[i].woke_ns < s[i - 1].woke_ns);
    EXPECT(test_now_s() - begin < 1.0);
}

/* When nothing can happen any more the run ends although the condition does not hold. */
TEST(a_deadlock_ends_the_run)
{
    EXPECT(pool_start(&(pool_options){.seed = 1, .run = run_sleeper}));
    uint64_t start = pool_now_ns();
    sim_run_until(never, NULL, UINT64_MAX);
    EXPECT_EQ(pool_now_ns(), start);
    pool_stop();
}

/* The clock stops at the deadline, and what comes later happens in the next run. */
TEST(the_deadline_ends_the_run)
{
    static sleeper s;
    memset(&s, 0, sizeof s);
    s.sleep_ns = 10 * OS_NS_PER_MS;
    EXPECT(pool_start(&(pool_options){.seed = 3, .run = run_sleeper}));
    uint64_t start = pool_now_ns();
    worker_ready(worker_self(), &s.r);
    sim_run_until(has_woken, &s, start + OS_NS_PER_MS);
    EXPECT(!s.woke_ns);
    EXPECT_EQ(pool_now_ns(), start + OS_NS_PER_MS);
    sim_run_until(has_woken, &s, UINT64_MAX);
    EXPECT(s.woke_ns != 0);
    pool_stop();
}

static int log_position;
static char log_text[64];

static void run_yield(worker *w, runnable *r)
{
    actor *a = (actor *)(void *)r;
    static runnable hot = {.hot = 1, .home = 1};
    worker_yield(w);
    worker_mute(worker_self(), &hot);
    worker_blocking_begin();
    worker_blocking_end();
    log_text[log_position++] = (char)('a' + a->id);
}

static bool two_logged(void *argument)
{
    (void)argument;
    return log_position == 2;
}

/* Yield, mute, and blocking sections work on the one thread. */
TEST(every_suspension_works)
{
    static actor two[2];
    log_position = 0;
    EXPECT(pool_start(&(pool_options){.seed = 5, .run = run_yield}));
    for (int i = 0; i < 2; i++) {
        two[i] = (actor){.id = i};
        worker_ready_priority(worker_self(), &two[i].r);
    }
    sim_run_until(two_logged, NULL, UINT64_MAX);
    EXPECT(two_logged(NULL));
    pool_stop();
}

static void leave_for_ever(worker *w, runnable *r, void *argument)
{
    (void)r;
    (void)argument;
    (void)w;
    log_position++;
}

static void run_abandon(worker *w, runnable *r)
{
    (void)r;
    worker_abandon(w, leave_for_ever, NULL);
}

static void not_run(void *argument)
{
    (void)argument;
    abort();
}

/* Every fiber that the limit allows, as a list. */
static fiber *take_all_fibers(void)
{
    size_t total, pooled;
    fiber *list = NULL, *f;
    fiber_count(&total, &pooled);
    fiber_set_limit(total);
    while ((f = fiber_new(not_run, NULL))) {
        f->next = list;
        list = f;
    }
    return list;
}

static void free_fibers(fiber *list)
{
    for (fiber *next; list; list = next) {
        next = list->next;
        fiber_free(list);
    }
    fiber_set_limit(10000);
}

/* When no spare fiber can be had, abandoning one still works: the thread's own stack helps out. */
TEST(abandon_without_a_spare)
{
    static actor two[2];
    log_position = 0;
    EXPECT(pool_start(&(pool_options){.seed = 5, .run = run_abandon}));
    sim_run_until(two_logged, NULL, UINT64_MAX); /* makes the first fiber */
    fiber *all = take_all_fibers();
    for (int i = 0; i < 2; i++) worker_ready(worker_self(), &two[i].r);
    sim_run_until(two_logged, NULL, UINT64_MAX);
    free_fibers(all);
    EXPECT_EQ(log_position, 2);
    pool_stop();
}

static void run_suspend_refused(worker *w, runnable *r)
{
    (void)r;
    if (!worker_suspend(w, ready_again, NULL)) log_position++;
}

/* Suspending is refused when no spare fiber can be had, and the turn goes on. */
TEST(suspend_without_a_spare)
{
    static actor two[2];
    log_position = 0;
    EXPECT(pool_start(&(pool_options){.seed = 5, .run = run_suspend_refused}));
    sim_run_until(two_logged, NULL, UINT64_MAX);
    fiber *all = take_all_fibers();
    for (int i = 0; i < 2; i++) worker_ready(worker_self(), &two[i].r);
    sim_run_until(two_logged, NULL, UINT64_MAX);
    free_fibers(all);
    EXPECT_EQ(log_position, 2);
    pool_stop();
}
