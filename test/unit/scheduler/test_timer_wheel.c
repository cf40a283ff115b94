#include "scheduler/base/rng.h"
#include "scheduler/os/timer_wheel.h"
#include "test/support/test.h"

enum { TIMERS = 200, OPERATIONS = 60000, CROWD = 3000 };
#define TICK_NS (UINT64_C(1) << TIMER_TICK_SHIFT)
#define DAY_NS (UINT64_C(86400) * 1000000000)

/* The naive side: every timer's deadline and order of adding in an array. Timers 0 .. TIMERS-1 are the wheel's nodes. */
typedef struct naive_timer {
    bool is_armed;
    uint64_t deadline_ns, order;
} naive_timer;

static timer_node nodes[TIMERS];
static naive_timer naive[TIMERS];
static uint64_t naive_order;

static void start_over(timer_wheel *w, uint64_t now_ns)
{
    memset(nodes, 0, sizeof nodes);
    memset(naive, 0, sizeof naive);
    timer_wheel_init(w, now_ns);
}

static void add(timer_wheel *w, int i, uint64_t deadline_ns)
{
    naive[i] = (naive_timer){true, deadline_ns, naive_order++};
    timer_wheel_add(w, &nodes[i], deadline_ns);
}

/* The number of the naive timer that fires first, or -1. */
static int naive_first(void)
{
    int first = -1;
    for (int i = 0; i < TIMERS; i++) {
        if (!naive[i].is_armed) continue;
        if (first < 0 || naive[i].deadline_ns < naive[first].deadline_ns ||
            (naive[i].deadline_ns == naive[first].deadline_ns && naive[i].order < naive[first].order))
            first = i;
    }
    return first;
}

/* Advances both and compares what fires, in which order. */
static bool advance_agrees(timer_wheel *w, uint64_t now_ns)
{
    timer_node *t = timer_wheel_advance(w, now_ns);
    for (int i; (i = naive_first()) >= 0 && naive[i].deadline_ns <= now_ns; t = t->next) {
        if (t != &nodes[i] || timer_is_armed(t)) return false;
        naive[i].is_armed = false;
    }
    return !t;
}

/* next_ns lies between now and the earliest deadline; the count is right. */
static bool next_agrees(const timer_wheel *w, uint64_t now_ns)
{
    size_t count = 0;
    for (int i = 0; i < TIMERS; i++) count += naive[i].is_armed;
    uint64_t next = timer_wheel_next_ns(w);
    int first = naive_first();
    if (w->count != count) return false;
    if (first < 0) return next == UINT64_MAX;
    uint64_t earliest = naive[first].deadline_ns > now_ns ? naive[first].deadline_ns : now_ns;
    return next >= now_ns && next <= earliest;
}

/* A length of time of any magnitude from nanoseconds to 2^bits ns. */
static uint64_t any_span(rng *r, uint64_t bits) { return rng_next(r) >> (64 - 1 - rng_below(r, bits)); }

static bool random_operation(timer_wheel *w, rng *r, uint64_t *now_ns, uint64_t bits)
{
    int i = (int)rng_below(r, TIMERS);
    uint64_t choice = rng_below(r, 10);
    if (choice < 5) {
        if (naive[i].is_armed) return timer_is_armed(&nodes[i]);
        bool is_past = rng_below(r, 20) == 0;
        uint64_t span = any_span(r, bits);
        add(w, i, is_past ? (*now_ns > span ? *now_ns - span : 0) : *now_ns + span);
        return true;
    }
    if (choice < 7) {
        bool was_armed = naive[i].is_armed;
        naive[i].is_armed = false;
        return timer_wheel_cancel(w, &nodes[i]) == was_armed && !timer_is_armed(&nodes[i]);
    }
    if (choice == 7) *now_ns = timer_wheel_next_ns(w) == UINT64_MAX ? *now_ns : timer_wheel_next_ns(w);
    else *now_ns += any_span(r, bits) >> rng_below(r, 8);
    return advance_agrees(w, *now_ns);
}

static bool run_model(uint64_t start_ns, uint64_t bits, int operations)
{
    static timer_wheel w;
    rng r;
    rng_init(&r, test_seed() ^ bits);
    start_over(&w, start_ns);
    uint64_t now_ns = start_ns;
    for (int i = 0; i < operations; i++) {
        if (random_operation(&w, &r, &now_ns, bits) && next_agrees(&w, now_ns)) continue;
        fprintf(stderr, "model of deadlines up to 2^%" PRIu64 " ns: operation %d\n", bits, i);
        return false;
    }
    return true;
}

/* Random adds, cancels and advances agree with the array, for deadlines up to 30 us (half a tick), 1 ms, 1 s, 5 h, 26 days. */
TEST(model_of_short_and_long_deadlines)
{
    static const uint64_t bits[] = {15, 20, 30, 44, 51};
    for (size_t i = 0; i < sizeof bits / sizeof bits[0]; i++) EXPECT(run_model(12345678901, bits[i], OPERATIONS));
}

/* The same for deadlines beyond the reach of the wheel (52 days): up to 9 years. Time runs for decades here. */
TEST(model_beyond_the_last_level) { EXPECT(run_model(0, 58, 3000)); }

/* The same across a multiple of 2^52 ns, where all levels turn over at once. */
TEST(model_across_the_turn_of_the_top_level)
{
    for (uint64_t bits = 16; bits <= 40; bits += 4) EXPECT(run_model((UINT64_C(3) << 52) - (UINT64_C(1) << (bits + 3)), bits, 5000));
}

/* A loop that sleeps until next_ns and advances reaches each timer exactly at its deadline, and needs few steps to a timer. */
TEST(stepping_to_next_reaches_every_timer)
{
    static timer_wheel w;
    rng r;
    rng_init(&r, test_seed());
    start_over(&w, 777);
    for (int i = 0; i < TIMERS; i++) add(&w, i, 777 + any_span(&r, 53));
    int steps = 0;
    for (uint64_t now_ns; (now_ns = timer_wheel_next_ns(&w)) != UINT64_MAX; steps++) {
        for (timer_node *t = timer_wheel_advance(&w, now_ns); t; t = t->next) EXPECT(t->deadline_ns == now_ns);
        EXPECT(steps < TIMERS * (TIMER_LEVELS + 1));
    }
    EXPECT_EQ(w.count, 0);
}

/* So it does for a crowd within some ticks, where next_ns reads no whole slot ahead of its time. */
TEST(stepping_through_a_crowd)
{
    static timer_wheel w;
    static timer_node crowd[CROWD];
    rng r;
    rng_init(&r, test_seed());
    timer_wheel_init(&w, 0);
    for (int i = 0; i < CROWD; i++) timer_wheel_add(&w, &crowd[i], DAY_NS + rng_below(&r, 100 * TICK_NS));
    uint64_t now_ns, fired = 0, steps = 0;
    for (; (now_ns = timer_wheel_next_ns(&w)) != UINT64_MAX; steps++) {
        for (timer_node *t = timer_wheel_advance(&w, now_ns); t; t = t->next, fired++) EXPECT(t->deadline_ns == now_ns);
        EXPECT(steps < 2 * CROWD);
    }
    EXPECT_EQ(fired, CROWD);
}

/* Few timers: next_ns is exact from afar, so that an idle loop wakes once per timer. */
TEST(next_is_exact_for_few_timers)
{
    timer_wheel w;
    timer_node a = {0}, b = {0};
    timer_wheel_init(&w, 1000);
    EXPECT(timer_wheel_next_ns(&w) == UINT64_MAX);
    timer_wheel_add(&w, &a, DAY_NS + 12345);
    EXPECT(timer_wheel_next_ns(&w) == DAY_NS + 12345);
    timer_wheel_add(&w, &b, 1000000123);
    EXPECT(timer_wheel_next_ns(&w) == 1000000123);
    EXPECT(timer_wheel_cancel(&w, &b));
    EXPECT(timer_wheel_next_ns(&w) == DAY_NS + 12345);
}

/* Equal deadlines fire in the order of adding, even when added at different times and thus on different levels. */
TEST(equal_deadlines_fire_in_order_of_adding)
{
    timer_wheel w;
    timer_node t[4] = {0};
    timer_wheel_init(&w, 0);
    uint64_t deadline = UINT64_C(5000000000);
    for (uint64_t i = 0; i < 4; i++) {
        EXPECT(!timer_wheel_advance(&w, deadline - (deadline >> (9 * i))));
        timer_wheel_add(&w, &t[i], deadline);
    }
    timer_node *due = timer_wheel_advance(&w, deadline + 5 * TICK_NS);
    for (int i = 0; i < 4; i++, due = due->next) EXPECT(due == &t[i]);
    EXPECT(!due);
}

/* A timer does not fire a nanosecond early; a past deadline fires at the next advance, even to the same time; time never goes back. */
TEST(edges_of_time)
{
    timer_wheel w;
    timer_node a = {0}, b = {0};
    timer_wheel_init(&w, 10 * TICK_NS);
    timer_wheel_add(&w, &a, 11 * TICK_NS + 5);
    EXPECT(!timer_wheel_advance(&w, 11 * TICK_NS + 4));
    timer_wheel_add(&w, &b, 3);
    EXPECT(timer_wheel_next_ns(&w) == 11 * TICK_NS + 4);
    EXPECT(timer_wheel_advance(&w, 0) == &b);
    EXPECT(!b.next);
    EXPECT(timer_wheel_advance(&w, 11 * TICK_NS + 5) == &a);
    EXPECT(!timer_wheel_cancel(&w, &a));
}

/* The last nanosecond of time is a deadline like any other. */
TEST(deadline_at_the_end_of_time)
{
    timer_wheel w;
    timer_node a = {0};
    timer_wheel_init(&w, 0);
    timer_wheel_add(&w, &a, UINT64_MAX);
    EXPECT(!timer_wheel_advance(&w, 400 * DAY_NS));
    EXPECT(timer_is_armed(&a));
    EXPECT(timer_wheel_cancel(&w, &a));
    EXPECT(timer_wheel_next_ns(&w) == UINT64_MAX);
    timer_wheel_add(&w, &a, UINT64_MAX);
    EXPECT(timer_wheel_advance(&w, UINT64_MAX) == &a);
}
