/*
 *   ALL      --many remote sends, cheap messages, 2 ticks in a row-->  TRY_ONE
 *   TRY_ONE  --after 20 ms: 15 % faster-->  ONE       --else-->  ALL
 *   ONE      --after the backoff-->  TRY_ALL
 *   TRY_ALL  --after 20 ms: 15 % faster-->  ALL       --else-->  ONE
 *   any      --work waits that nobody takes, or messages are expensive-->  ALL
 *
 * A trial that changes nothing doubles the time to the next one (100 ms to 5 s). The first tick of a trial is not measured: queues move
 * over.
 */
#include "scheduler/pool/consolidate.h"

#include "scheduler/pool/pool_internal.h"

enum {
    CHEAP_NS = 500, /* a message, on average */
    SUSPICIOUS_TICKS = 2,
    TRIAL_NS = 20 * OS_NS_PER_MS,
    BACKOFF_LEAST_NS = 100 * OS_NS_PER_MS
};
static const uint64_t BACKOFF_MOST_NS = UINT64_C(5) * OS_NS_PER_S;
static const double GAIN = 1.15;

void consolidate_begin(consolidator *c, int workers)
{
    *c = (consolidator){.state = CONSOLIDATE_ALL, .workers = workers, .backoff_ns = BACKOFF_LEAST_NS};
}

static double rate_between(const consolidate_sample *a, const consolidate_sample *b)
{
    return b->now_ns > a->now_ns ? (double)(b->messages - a->messages) / (double)(b->now_ns - a->now_ns) : 0;
}

static void enter(consolidator *c, consolidate_state state)
{
    c->state = state;
    c->suspicious = 0;
    c->trial.now_ns = 0;
}

/* A configuration is kept for now; each time in a row it is kept for longer. */
static void settle(consolidator *c, consolidate_state state, bool changed, uint64_t now_ns)
{
    if (changed) c->backoff_ns = BACKOFF_LEAST_NS;
    c->retry_ns = now_ns + c->backoff_ns;
    c->backoff_ns = c->backoff_ns * 2 < BACKOFF_MOST_NS ? c->backoff_ns * 2 : BACKOFF_MOST_NS;
    enter(c, state);
}

static void watch_all(consolidator *c, const consolidate_sample *now, double rate)
{
    uint64_t sends = now->sends - c->last.sends, remote = now->remote_sends - c->last.remote_sends;
    bool cheap = rate * CHEAP_NS > c->workers;
    c->suspicious = cheap && remote * 4 > sends ? c->suspicious + 1 : 0;
    if (c->suspicious < SUSPICIOUS_TICKS || now->now_ns < c->retry_ns) return;
    c->rate = rate;
    enter(c, CONSOLIDATE_TRY_ONE);
}

static void watch_trial(consolidator *c, const consolidate_sample *now)
{
    if (c->trial.now_ns == 0) {
        c->trial = *now;
        return;
    }
    if (now->now_ns - c->trial.now_ns < TRIAL_NS) return;
    bool faster = rate_between(&c->trial, now) > c->rate * GAIN;
    bool one = (c->state == CONSOLIDATE_TRY_ONE) == faster;
    settle(c, one ? CONSOLIDATE_ONE : CONSOLIDATE_ALL, faster, now->now_ns);
}

static void watch_one(consolidator *c, const consolidate_sample *now, double rate)
{
    if (now->now_ns < c->retry_ns) return;
    c->rate = rate;
    enter(c, CONSOLIDATE_TRY_ALL);
}

static bool is_one(const consolidator *c) { return c->state == CONSOLIDATE_TRY_ONE || c->state == CONSOLIDATE_ONE; }

int consolidate_step(consolidator *c, const consolidate_sample *now)
{
    double rate = rate_between(&c->last, now);
    bool has_last = c->last.now_ns != 0;
    if (is_one(c) && now->waiting) settle(c, CONSOLIDATE_ALL, false, now->now_ns);
    else if (is_one(c) && rate * CHEAP_NS < 1) {
        c->retry_ns = now->now_ns + BACKOFF_LEAST_NS;
        enter(c, CONSOLIDATE_ALL);
    } else if (has_last) {
        if (c->state == CONSOLIDATE_ALL) watch_all(c, now, rate);
        else if (c->state == CONSOLIDATE_ONE) watch_one(c, now, rate);
        else watch_trial(c, now);
    }
    c->last = *now;
    return is_one(c) ? 1 : c->workers;
}

static uint64_t sum_over_workers(size_t offset)
{
    uint64_t sum = 0;
    for (int i = 0; i < the_pool.workers; i++) sum += load_relaxed((_Atomic uint64_t *)(void *)((char *)the_pool.worker[i] + offset));
    return sum;
}

void consolidate_init(consolidator *c) { consolidate_begin(c, the_pool.workers); }

void consolidate_tick(consolidator *c, uint64_t now_ns, bool waiting)
{
    if (the_pool.workers < 2 || !the_pool.policy.consolidate) return;
    consolidate_sample now = {
        .now_ns = now_ns,
        .messages = sum_over_workers(offsetof(worker, messages)),
        .sends = sum_over_workers(offsetof(worker, sends)),
        .remote_sends = sum_over_workers(offsetof(worker, remote_sends)),
        .waiting = waiting,
    };
    store_seq(&the_pool.active_limit, consolidate_step(c, &now));
}

void consolidate_reset(consolidator *c)
{
    consolidate_begin(c, the_pool.workers);
    store_seq(&the_pool.active_limit, the_pool.workers);
}
