#include <pthread.h>
#include <stddef.h>

#include "scheduler/base/alloc.h"
#include "scheduler/pool/pool_internal.h"
#include "test/support/test.h"

/* What these tests run: a body that gets the item; an item at rest may be made ready again. */
typedef struct item {
    runnable r; /* first */
    void (*body)(struct item *self);
    struct item *other;
    _Atomic int count;
    int limit, id;
} item;

enum { MOST = 64 };
static _Atomic int done, order_count, order[1024];

static void run_item(worker *w, runnable *r)
{
    (void)w;
    item *i = (item *)(void *)r;
    i->body(i);
}

static bool start(int workers)
{
    done = order_count = 0;
    return pool_start(&(pool_options){.workers = workers, .run = run_item});
}

static void note(item *self)
{
    order[atomic_fetch_add(&order_count, 1)] = self->id;
    atomic_fetch_add(&done, 1);
}

static void count_once(item *self)
{
    self->count++;
    atomic_fetch_add(&done, 1);
}

/* Everything that is made ready from outside runs, exactly once. */
TEST(runs_what_is_ready)
{
    enum { N = 1000 };
    static item items[N];
    memset(items, 0, sizeof items);
    EXPECT(start(2));
    for (int i = 0; i < N; i++) {
        items[i].body = count_once;
        worker_ready(worker_self(), &items[i].r);
    }
    EXPECT(WAIT_FOR(done == N, 30));
    pool_stop();
    for (int i = 0; i < N; i++) EXPECT_EQ(items[i].count, 1);
}

static item *children;
static void (*how)(worker *w, runnable *r);
static void ready_inline(worker *w, runnable *r) { worker_ready(w, r); }

static void make_children(item *self)
{
    for (int i = 0; i < self->limit; i++) how(worker_self(), &children[i].r);
    atomic_fetch_add(&done, 1);
}

/* Runs a parent on one worker that makes n children ready by `ready`; their order is in `order`. */
static bool run_children(void (*ready)(worker *, runnable *), int n)
{
    static item kids[MOST], parent;
    memset(kids, 0, sizeof kids);
    for (int i = 0; i < n; i++) kids[i] = (item){.body = note, .id = i};
    parent = (item){.body = make_children, .limit = n};
    children = kids;
    how = ready;
    if (!start(1)) return false;
    worker_ready(worker_self(), &parent.r);
    bool ok = WAIT_FOR(done == n + 1, 30);
    pool_stop();
    return ok;
}

/* The ring is first in, first out. */
TEST(fifo_keeps_order)
{
    EXPECT(run_children(worker_ready_fifo, 10));
    for (int i = 0; i < 10; i++) EXPECT_EQ(order[i], i);
}

/* The last one made ready goes first, those that it displaced follow in order. */
TEST(lifo_slot_goes_first)
{
    EXPECT(run_children(ready_inline, 5));
    int expected[] = {4, 0, 1, 2, 3};
    for (int i = 0; i < 5; i++) EXPECT_EQ(order[i], expected[i]);
}

/* Spawned ones run newest first. */
TEST(spawns_run_newest_first)
{
    EXPECT(run_children(worker_ready_spawned, 10));
    for (int i = 0; i < 10; i++) EXPECT_EQ(order[i], 9 - i);
}

static void ready_mixed(worker *w, runnable *r)
{
    item *i = (item *)(void *)r;
    r->priority = i->id % 3 == 0 ? RUN_LOW : i->id % 3 == 1 ? RUN_NORMAL : RUN_HIGH;
    worker_ready_priority(w, r);
}

/* High priority runs before normal, normal before low. */
TEST(priority_is_kept)
{
    EXPECT(run_children(ready_mixed, 9));
    for (int i = 0; i < 9; i++) EXPECT_EQ(order[i] % 3, 2 - i / 3);
}

static void hand_over(worker *w, runnable *r, void *argument)
{
    (void)w;
    atomic_store_explicit((_Atomic(runnable *) *)argument, r, memory_order_release);
}

static _Atomic(runnable *) held;

static void suspend_often(item *self)
{
    for (int i = 0; i < self->limit; i++) {
        int mine = i; /* on the fiber's stack */
        if (!worker_suspend(worker_self(), hand_over, &held)) break;
        if (mine != i || worker_self()->current != &self->r) break;
        self->count++;
    }
    atomic_fetch_add(&done, 1);
}

/* A suspended runnable goes on where it was when somebody else makes it ready, with its stack as it was. */
TEST(suspend_and_wake)
{
    static item a;
    a = (item){.body = suspend_often, .limit = 1000};
    EXPECT(start(2));
    worker_ready(worker_self(), &a.r);
    while (done == 0) {
        runnable *r = atomic_exchange(&held, NULL);
        if (r) worker_ready(worker_self(), r);
    }
    pool_stop();
    EXPECT_EQ(a.count, 1000);
}

/* Outside a turn nothing can be suspended. */
TEST(suspend_outside_a_turn_is_refused)
{
    EXPECT(start(1));
    EXPECT(!worker_suspend(worker_self(), hand_over, &held));
    pool_stop();
}

static void abandoned_then(worker *w, runnable *r, void *argument)
{
    (void)w;
    (void)r;
    atomic_fetch_add((_Atomic int *)argument, 1);
    atomic_fetch_add(&done, 1);
}

static void abandon(item *self) { worker_abandon(worker_self(), abandoned_then, &self->count); }

/* Leaving a fiber for ever runs the continuation once, and the stacks are used again. */
TEST(abandon_reuses_fibers)
{
    static item a;
    a = (item){.body = abandon};
    size_t before, after, pooled;
    EXPECT(start(1));
    fiber_count(&before, &pooled);
    for (int i = 0; i < 1000; i++) {
        worker_ready(worker_self(), &a.r);
        EXPECT(WAIT_FOR(done == i + 1, 30));
    }
    fiber_count(&after, &pooled);
    pool_stop();
    EXPECT_EQ(a.count, 1000);
    EXPECT(after <= before + 4);
}

static void yield_often(item *self)
{
    for (int i = 0; i < self->limit; i++) {
        worker_yield(worker_self());
        note(self);
    }
}

/* Two that yield take turns. */
TEST(yield_takes_turns)
{
    static item pair[2];
    EXPECT(start(1));
    static item parent;
    for (int i = 0; i < 2; i++) pair[i] = (item){.body = yield_often, .limit = 10, .id = i};
    children = pair;
    how = worker_ready_fifo;
    parent = (item){.body = make_children, .limit = 2};
    worker_ready(worker_self(), &parent.r);
    EXPECT(WAIT_FOR(done == 21, 30));
    pool_stop();
    for (int i = 0; i < 20; i++) EXPECT_EQ(order[i], i % 2);
}

static void mute_once(item *self)
{
    worker_mute(worker_self(), &self->other->r);
    note(self);
}

/* A muted sender comes back after policy.mute_us although its receiver stays hot. */
TEST(mute_is_bounded)
{
    static item sender, receiver;
    receiver = (item){.r.hot = 1, .r.home = 1};
    sender = (item){.body = mute_once, .other = &receiver};
    EXPECT(start(2));
    worker_ready(worker_self(), &sender.r);
    EXPECT(WAIT_FOR(done == 1, 30));
    pool_stop();
}

static _Atomic int release_block, inside;

static void block_thread(item *self)
{
    int on_stack = self->id;
    worker_blocking_begin();
    atomic_fetch_add(&inside, 1);
    while (!release_block) sched_yield();
    worker_blocking_end();
    if (on_stack == self->id && worker_self()->current == &self->r) atomic_fetch_add(&done, 1);
}

/* While turns block, even more of them than there are workers, others run; afterwards the turns go on as workers'. */
TEST(blocking_keeps_others_running)
{
    static item blocked[6], others[10];
    release_block = inside = 0;
    EXPECT(start(2));
    for (int i = 0; i < 6; i++) {
        blocked[i] = (item){.body = block_thread, .id = i};
        worker_ready(worker_self(), &blocked[i].r);
    }
    EXPECT(WAIT_FOR(inside == 6, 30));
    for (int i = 0; i < 10; i++) {
        others[i] = (item){.body = count_once};
        worker_ready(worker_self(), &others[i].r);
    }
    EXPECT(WAIT_FOR(done == 10, 30));
    release_block = 1;
    EXPECT(WAIT_FOR(done == 16, 30));
    pool_stop();
}

static void spin_until_released(item *self)
{
    (void)self;
    atomic_fetch_add(&inside, 1);
    while (!release_block) spin_pause();
    atomic_fetch_add(&done, 1);
}

static void ready_then_spin(item *self)
{
    for (int i = 0; i < 10; i++) worker_ready_fifo(worker_self(), &children[i].r);
    spin_until_released(self);
}

/* What waits behind a long turn is taken by another worker. */
TEST(work_behind_a_long_turn_is_stolen)
{
    static item kids[10], parent;
    release_block = inside = 0;
    EXPECT(start(2));
    for (int i = 0; i < 10; i++) kids[i] = (item){.body = count_once};
    children = kids;
    parent = (item){.body = ready_then_spin};
    worker_ready(worker_self(), &parent.r);
    EXPECT(WAIT_FOR(done == 10, 30));
    release_block = 1;
    EXPECT(WAIT_FOR(done == 11, 30));
    pool_stop();
}

static void ready_lifo_then_spin(item *self)
{
    worker_ready(worker_self(), &children[0].r);
    spin_until_released(self);
}

/* So is what only the stuck worker could run: its LIFO slot. */
TEST(lifo_slot_of_a_stuck_worker_is_rescued)
{
    static item kid, parent;
    release_block = inside = 0;
    EXPECT(start(2));
    kid = (item){.body = count_once};
    children = &kid;
    parent = (item){.body = ready_lifo_then_spin};
    worker_ready(worker_self(), &parent.r);
    EXPECT(WAIT_FOR(done == 1, 30));
    release_block = 1;
    EXPECT(WAIT_FOR(done == 2, 30));
    pool_stop();
}

static void yield_sticky(item *self)
{
    self->r.sticky = 200;
    for (int i = 0; i < 100; i++) worker_yield(worker_self());
    atomic_fetch_add(&done, 1);
}

/* And its private list. */
TEST(private_list_of_a_stuck_worker_is_rescued)
{
    static item kids[4];
    release_block = inside = 0;
    EXPECT(start(2));
    for (int i = 0; i < 4; i++) kids[i] = (item){.body = i < 3 ? yield_sticky : spin_until_released};
    for (int i = 0; i < 4; i++) worker_ready(worker_self(), &kids[i].r);
    EXPECT(WAIT_FOR(done == 3, 30));
    release_block = 1;
    EXPECT(WAIT_FOR(done == 4, 30));
    pool_stop();
}

/* The pool can be started again, with another size, and its counters begin at zero. */
TEST(start_and_stop_again)
{
    static item a;
    a = (item){.body = count_once};
    for (int i = 0; i < 50; i++) {
        EXPECT(start(1 + i % 4));
        EXPECT_EQ(pool_sum(offsetof(worker, turns)), 0);
        worker_ready(worker_self(), &a.r);
        EXPECT(WAIT_FOR(done == 1, 30));
        pool_stop();
        EXPECT_EQ(pool_sum(offsetof(worker, turns)), 1);
    }
}

/* Starts without the monitor, which would make good for what the workers forget. */
static bool start_alone(int workers)
{
    setenv("MANTA_POLICY_MONITOR", "0", 1);
    bool ok = start(workers);
    unsetenv("MANTA_POLICY_MONITOR");
    return ok;
}

/* Two long turns that come at once to a sleeping pool get two workers, even if one worker took both from the global list. */
TEST(long_turns_spread)
{
    static item two[2];
    EXPECT(start_alone(2));
    for (int round = 0; round < 200; round++) {
        done = inside = release_block = 0;
        for (int i = 0; i < 2; i++) two[i] = (item){.body = spin_until_released};
        EXPECT(WAIT_FOR(atomic_load(&the_pool.idle) == 3, 30));
        for (int i = 0; i < 2; i++) worker_ready(worker_self(), &two[i].r);
        bool both = WAIT_FOR(inside == 2, 30);
        release_block = 1;
        EXPECT(WAIT_FOR(done == 2, 30));
        EXPECT(both);
    }
    pool_stop();
}

static void requeue(item *self)
{
    if (!release_block) worker_ready_fifo(worker_self(), &self->r);
    else atomic_fetch_add(&done, 1);
}

/* A spawn is not starved by runnables that keep the ring filled. */
TEST(spawn_is_not_starved)
{
    static item busy[3], spawned;
    release_block = 0;
    EXPECT(start_alone(1));
    for (int i = 0; i < 3; i++) {
        busy[i] = (item){.body = requeue};
        worker_ready(worker_self(), &busy[i].r);
    }
    static item parent;
    spawned = (item){.body = count_once};
    children = &spawned;
    how = worker_ready_spawned;
    parent = (item){.body = make_children, .limit = 1};
    worker_ready(worker_self(), &parent.r);
    bool ran = WAIT_FOR(spawned.count == 1, 30);
    release_block = 1;
    EXPECT(WAIT_FOR(done == 5, 30));
    pool_stop();
    EXPECT(ran);
}

/* The share of worker 1 in the turns of half a second, in percent. */
static uint64_t share_of_second(void)
{
    uint64_t first = load_relaxed(&the_pool.worker[0]->turns), second = load_relaxed(&the_pool.worker[1]->turns);
    double since = test_now_s();
    WAIT_FOR(test_now_s() - since > 0.5 && load_relaxed(&the_pool.worker[0]->turns) - first > 100000, 30);
    first = load_relaxed(&the_pool.worker[0]->turns) - first;
    second = load_relaxed(&the_pool.worker[1]->turns) - second;
    return second * 100 / (first + second + 1);
}

/* A worker above the limit gives its work away and rests, but for what it does while the system stops the other's thread; it comes back when the limit rises. */
TEST(worker_above_the_limit_rests)
{
    static item busy[8];
    release_block = 0;
    EXPECT(start_alone(2));
    for (int i = 0; i < 8; i++) {
        busy[i] = (item){.body = requeue};
        worker_ready(worker_self(), &busy[i].r);
    }
    worker *second = the_pool.worker[1];
    EXPECT(WAIT_FOR(load_relaxed(&second->turns) > 100, 30));
    store_seq(&the_pool.active_limit, 1);
    EXPECT(share_of_second() < 10);
    store_seq(&the_pool.active_limit, 2);
    uint64_t before = load_relaxed(&second->turns), more = load_relaxed(&the_pool.worker[0]->turns) / 10;
    EXPECT(WAIT_FOR((pool_wake_one(worker_self()), load_relaxed(&second->turns) > before + more), 30));
    release_block = 1;
    EXPECT(WAIT_FOR(done == 8, 30));
    pool_stop();
}

static _Atomic int ticks;

static void on_tick(uint64_t now_ns)
{
    if (now_ns) ticks++;
}

static bool ticks_stand_still(double seconds)
{
    int seen = ticks;
    double since = test_now_s();
    while (test_now_s() - since < seconds)
        if (ticks != seen) return false;
    return true;
}

/* The monitor ticks while a worker runs, sleeps when none has for a while, and comes back with the first. */
TEST(monitor_sleeps_and_wakes)
{
    static item a;
    done = release_block = 0;
    EXPECT(pool_start(&(pool_options){.workers = 2, .run = run_item, .on_tick = on_tick}));
    EXPECT(WAIT_FOR(ticks_stand_still(0.2), 30));
    int before = ticks;
    a = (item){.body = spin_until_released};
    worker_ready(worker_self(), &a.r);
    EXPECT(WAIT_FOR(ticks >= before + 5, 30));
    release_block = 1;
    EXPECT(WAIT_FOR(done == 1, 30));
    pool_stop();
}

static _Atomic int started, stopped;

static bool user_start(worker *w)
{
    w->user = w;
    started++;
    return true;
}

static void user_stop(worker *w)
{
    if (w->user == w) stopped++;
}

static void *outside(void *argument)
{
    item *i = argument;
    worker *w = worker_self();
    if (!w || w->external != 1 || w->index < POOL_MAX_WORKERS || w->user != w || !w->fiber || worker_self() != w) return NULL;
    for (int k = 0; k < FIBER_USER_BYTES; k++)
        if (w->fiber->user[k]) return NULL;
    w->fiber->user[0] = 1; /* the next thread that gets the record must not see it */
    worker_ready(w, &i->r);
    return i;
}

/* Threads that are no workers get a record each, which is used again after their end; each start of a record is matched by a stop. */
TEST(external_threads_come_and_go)
{
    enum { THREADS = 8, ROUNDS = 20 };
    static item items[THREADS];
    started = stopped = done = 0;
    EXPECT(pool_start(&(pool_options){.workers = 2, .run = run_item, .worker_start = user_start, .worker_stop = user_stop}));
    int highest = 0;
    for (int round = 0; round < ROUNDS; round++) {
        pthread_t t[THREADS];
        for (int i = 0; i < THREADS; i++) {
            items[i] = (item){.body = count_once};
            EXPECT(pthread_create(&t[i], NULL, outside, &items[i]) == 0);
        }
        for (int i = 0; i < THREADS; i++) {
            void *ok;
            pthread_join(t[i], &ok);
            EXPECT(ok == &items[i]);
        }
        EXPECT(WAIT_FOR(done == (round + 1) * THREADS, 30));
        for (worker *w = worker_self(); w; w = w->next_external) highest = w->index > highest ? w->index : highest;
    }
    pool_stop();
    EXPECT_EQ(started, stopped);
    EXPECT(highest < POOL_MAX_WORKERS + 3 * THREADS);
}

static _Atomic int fail_at;

static bool user_start_fails(worker *w)
{
    if (--fail_at == 0) return false;
    return user_start(w);
}

/* A start that fails half-way leaves nothing behind. */
TEST(failed_start_is_undone)
{
    for (int n = 1; n <= 3; n++) {
        started = stopped = 0;
        fail_at = n;
        EXPECT(!pool_start(&(pool_options){.workers = 3, .run = run_item, .worker_start = user_start_fails, .worker_stop = user_stop}));
        EXPECT_EQ(started, stopped);
    }
    EXPECT(start(2));
    pool_stop();
}

/* A start during which any one allocation fails either fails cleanly or does without; the next one works. */
TEST(start_survives_allocation_failure)
{
    static item a;
    bool failed = true;
    for (uint64_t n = 1; failed; n++) {
        base_alloc_fail_at(n);
        bool ok = pool_start(&(pool_options){.workers = 3, .run = run_item});
        failed = base_alloc_has_failed();
        base_alloc_fail_at(0);
        if (ok) pool_stop();
        EXPECT(ok || failed);
        EXPECT(n < 100);
    }
    EXPECT(start(3));
    a = (item){.body = count_once};
    worker_ready(worker_self(), &a.r);
    EXPECT(WAIT_FOR(done == 1, 30));
    pool_stop();
}

/* The policy takes numbers in range from the environment and defaults for all else. */
TEST(policy_from_environment)
{
    setenv("MANTA_POLICY_SPIN", "7", 1);
    setenv("MANTA_POLICY_BATCH", "many", 1);
    setenv("MANTA_POLICY_SEND_BUDGET", "0", 1);
    pool_policy p = pool_policy_default();
    unsetenv("MANTA_POLICY_SPIN");
    unsetenv("MANTA_POLICY_BATCH");
    unsetenv("MANTA_POLICY_SEND_BUDGET");
    EXPECT_EQ(p.spin, 7);
    EXPECT_EQ(p.batch, 1024);
    EXPECT_EQ(p.send_budget, 256);
    EXPECT_EQ(p.lifo_cap, 3);
}
