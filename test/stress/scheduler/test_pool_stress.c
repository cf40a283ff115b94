#include <pthread.h>
#include <stddef.h>

#include "scheduler/pool/pool_internal.h"
#include "test/support/test.h"

/*
 * Tokens that wander through every queue and every kind of suspension. Each knows how many steps it has left; a flag says that it runs,
 * so that a runnable in two places at once is found; at the end every token has made every step.
 */
typedef struct token {
    runnable r; /* first */
    pool_timer timer;
    _Atomic int running;
    int left;
    rng random;
} token;

static token *tokens;
static int token_count;
static _Atomic int finished, doubled;
static runnable hot_target;
static uint64_t step_ticks; /* how long a step takes at least */

static void enter(token *t)
{
    if (atomic_exchange(&t->running, 1)) doubled++;
}

static void leave(token *t)
{
    if (!atomic_exchange(&t->running, 0)) doubled++;
}

static void make_ready(worker *w, token *t)
{
    t->r.priority = RUN_NORMAL;
    switch (rng_below(&t->random, 6)) {
    case 0: worker_ready(w, &t->r); return;
    case 1: worker_ready_fifo(w, &t->r); return;
    case 2: worker_ready_spawned(w, &t->r); return;
    case 3: worker_ready_slow(w, &t->r); return;
    case 4: t->r.priority = RUN_HIGH; break;
    default: t->r.priority = RUN_LOW; break;
    }
    worker_ready_priority(w, &t->r);
}

static void fire(worker *w, pool_timer *timer)
{
    token *t = (token *)(void *)((char *)timer - offsetof(token, timer));
    atomic_store(&timer->firing, 0);
    make_ready(w, t);
}

static void commit_ready(worker *w, runnable *r, void *argument)
{
    (void)argument;
    make_ready(w, (token *)(void *)r);
}

static void commit_timer(worker *w, runnable *r, void *argument)
{
    token *t = (token *)(void *)r;
    (void)argument;
    t->timer.fire = fire;
    pool_timer_start(w, &t->timer, pool_now_ns() + rng_below(&t->random, 300) * OS_NS_PER_US);
}

static void commit_finish(worker *w, runnable *r, void *argument)
{
    (void)w;
    (void)r;
    (void)argument;
    finished++;
}

/* Suspends somehow; the token's random numbers are its own, so they may be drawn only while it runs. */
static void suspend_somehow(token *t)
{
    worker *w = worker_self();
    leave(t);
    switch (rng_below(&t->random, 40)) {
    case 0: worker_suspend(w, commit_timer, NULL); break;
    case 1: worker_mute(w, &hot_target); break;
    case 2:
        worker_blocking_begin();
        sched_yield();
        worker_blocking_end();
        break;
    default:
        if (t->left % 2) worker_yield(w);
        else worker_suspend(w, commit_ready, NULL);
    }
    enter(t);
}

static void run_token(worker *w, runnable *r)
{
    token *t = (token *)(void *)r;
    enter(t);
    count_up(&w->messages, 1);
    for (int steps = 1 + (int)rng_below(&t->random, 4); steps && t->left; steps--, t->left--) {
        uint64_t on_stack = rng_next(&t->random), copy = on_stack;
        for (uint64_t begin = os_ticks(); os_ticks() - begin < step_ticks;) spin_pause();
        suspend_somehow(t);
        if (on_stack != copy || worker_self()->current != r) doubled++;
        store_relaxed(&hot_target.hot, (uint8_t)(copy & 1));
        store_relaxed(&hot_target.home, (uint8_t)(copy >> 8 & 1) + 1);
    }
    leave(t);
    w = worker_self();
    if (t->left) make_ready(w, t);
    else if (t->random.state[0] & 1) finished++;
    else worker_abandon(w, commit_finish, NULL);
}

static void *(*helper)(void *); /* a thread that disturbs */
static _Atomic bool helper_stops;

/* MANTA_STRESS is the total number of steps. */
static bool storm(int workers, int count)
{
    const char *text = getenv("MANTA_STRESS");
    int steps = text ? (int)(strtoll(text, NULL, 10) / 2 / count) : 200000 / count;
    token_count = count;
    finished = doubled = 0;
    tokens = calloc((size_t)count, sizeof *tokens);
    if (!tokens || !pool_start(&(pool_options){.workers = workers, .run = run_token})) return false;
    for (int i = 0; i < count; i++) {
        tokens[i].left = steps;
        rng_init(&tokens[i].random, test_seed() + (uint64_t)i);
    }
    pthread_t t;
    helper_stops = false;
    if (helper && pthread_create(&t, NULL, helper, NULL) != 0) abort();
    for (int i = 0; i < count; i++) make_ready(worker_self(), &tokens[i]);
    bool ok = WAIT_FOR((sched_yield(), finished == count), 300);
    printf("  %d workers: %" PRIu64 " turns, %" PRIu64 " switches, %" PRIu64 " steals, %" PRIu64 " parks\n", workers,
        pool_sum(offsetof(worker, turns)), pool_sum(offsetof(worker, switches)), pool_sum(offsetof(worker, steals)),
        pool_sum(offsetof(worker, parks)));
    if (!ok) abort();
    helper_stops = true;
    if (helper) pthread_join(t, NULL);
    pool_stop();
    free(tokens);
    return doubled == 0;
}

/* Tokens are conserved, and none runs twice at once, with two workers. */
TEST(two_workers) { EXPECT(storm(2, 48)); }

/* The same while there is too little for all and thieves never learn: as many steals as can be. */
TEST(steal_storm)
{
    setenv("MANTA_POLICY_DOZE_US", "0", 1);
    step_ticks = os_ticks_per_us() / 2;
    bool ok = storm(2, 3) && storm(4, 5);
    step_ticks = 0;
    unsetenv("MANTA_POLICY_DOZE_US");
    EXPECT(ok);
}

/* The same with more workers than cores. */
TEST(four_workers) { EXPECT(storm(4, 300)); }

static _Atomic long rescued;

static void *rescue_all(void *argument)
{
    worker *self = worker_self();
    for (int i = 0; !helper_stops; i++) {
        if (worker_rescue(self, the_pool.worker[i % the_pool.workers])) rescued++;
        if (i % 8 == 0) sched_yield();
    }
    return argument;
}

/* Taking the unstealable queues from workers that are not stuck at all loses and doubles nothing. */
TEST(rescue_storm)
{
    rescued = 0;
    helper = rescue_all;
    setenv("MANTA_POLICY_MONITOR", "0", 1); /* one rescuer at a time */
    bool ok = storm(2, 48);
    unsetenv("MANTA_POLICY_MONITOR");
    helper = NULL;
    printf("  %ld rescues\n", rescued);
    EXPECT(ok && rescued > 0);
}

static void *flap_limit(void *argument)
{
    worker *self = worker_self();
    rng random;
    rng_init(&random, test_seed());
    while (!helper_stops) {
        store_seq(&the_pool.active_limit, 1 + (int)rng_below(&random, (uint64_t)the_pool.workers));
        if (pool_has_work(self)) pool_wake_one(self); /* as the monitor does */
        for (uint64_t begin = os_ticks(), some = rng_below(&random, 200) * os_ticks_per_us(); os_ticks() - begin < some;) sched_yield();
    }
    store_seq(&the_pool.active_limit, the_pool.workers);
    return argument;
}

/* Workers that are put to rest and woken at any moment lose and double nothing. */
TEST(resting_storm)
{
    helper = flap_limit;
    bool ok = storm(4, 100);
    helper = NULL;
    EXPECT(ok);
}

enum { TREE_DEPTH = 15 };
typedef struct node {
    runnable r; /* first */
    int depth;
} node;
static _Atomic long leaves, alive, most_alive;

static void run_node(worker *w, runnable *r)
{
    node *n = (node *)(void *)r;
    long now = atomic_fetch_add(&alive, 2) + 2;
    if (now > most_alive) most_alive = now;
    for (int i = 0; i < 2 && n->depth < TREE_DEPTH; i++) {
        node *child = calloc(1, sizeof *child);
        child->depth = n->depth + 1;
        worker_ready_spawned(w, &child->r);
    }
    if (n->depth == TREE_DEPTH) {
        atomic_fetch_sub(&alive, 2);
        leaves++;
    }
    atomic_fetch_sub(&alive, 1);
    free(n);
}

/* A tree of spawns is walked depth first by several workers: every leaf is reached, and only a few nodes wait at any time. */
TEST(spawn_tree)
{
    leaves = most_alive = 0;
    alive = 1;
    EXPECT(pool_start(&(pool_options){.workers = 4, .run = run_node}));
    node *root = calloc(1, sizeof *root);
    worker_ready(worker_self(), &root->r);
    EXPECT(WAIT_FOR(leaves == 1L << TREE_DEPTH, 60));
    pool_stop();
    EXPECT_EQ(alive, 0);
    EXPECT(most_alive < 20 * TREE_DEPTH);
}
