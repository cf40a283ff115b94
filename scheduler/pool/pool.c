#include "scheduler/pool/pool.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "scheduler/base/check.h"
#include "scheduler/pool/pool_internal.h"

pool the_pool = {.lock = PTHREAD_MUTEX_INITIALIZER};
_Thread_local worker *worker_tls __attribute__((tls_model("initial-exec")));

typedef struct policy_item {
    const char *variable;
    size_t offset;
    int initial, least, most;
} policy_item;

#define ITEM(field_, name_, initial_, least_, most_) \
    { \
        "MANTA_POLICY_" name_, offsetof(pool_policy, field_), initial_, least_, most_ \
    }

static const policy_item policy_items[] = {
    ITEM(lifo_cap, "LIFO_CAP", 3, 0, 1 << 30),
    ITEM(batch, "BATCH", 1024, 1, 1 << 30),
    ITEM(slice_us, "SLICE_US", 50, 0, 1000000),
    ITEM(send_budget, "SEND_BUDGET", 256, 1, 1 << 30),
    ITEM(mute_us, "MUTE_US", 200, 0, 1000000),
    ITEM(sticky, "STICKY", 255, 0, 255),
    ITEM(spin, "SPIN", 50, 0, 1000000),
    ITEM(bad_steal_us, "BAD_STEAL_US", 50, 0, 1000000),
    ITEM(doze_us, "DOZE_US", 1000, 0, 1000000),
    ITEM(consolidate, "CONSOLIDATE", 1, 0, 1),
    ITEM(monitor, "MONITOR", 1, 0, 1),
};

/* The variable's value when it is a number in range, else the default. */
static int policy_value(const policy_item *item)
{
    const char *text = getenv(item->variable);
    if (!text || !*text) return item->initial;
    char *end;
    errno = 0;
    long value = strtol(text, &end, 0);
    return errno || *end || value < item->least || value > item->most ? item->initial : (int)value;
}

pool_policy pool_policy_default(void)
{
    pool_policy policy;
    for (size_t i = 0; i < sizeof policy_items / sizeof policy_items[0]; i++) {
        int value = policy_value(&policy_items[i]);
        memcpy((char *)&policy + policy_items[i].offset, &value, sizeof value);
    }
    return policy;
}

noinline worker *worker_self(void)
{
    worker *w = worker_tls;
    __asm__ volatile("" : "+r"(w) : : "memory"); /* the compiler must not think that two calls give the same */
    return likely(w != NULL) ? w : external_worker();
}

uint64_t pool_now_ns(void) { return unlikely(sim_is_on()) ? sim_now_ns() : os_monotonic_ns(); }

static uint64_t counter_of(worker *w, size_t offset) { return load_relaxed((_Atomic uint64_t *)(void *)((char *)w + offset)); }

uint64_t pool_sum(size_t counter_offset)
{
    uint64_t sum = 0;
    for (int i = 0; i < the_pool.workers; i++) sum += counter_of(the_pool.worker[i], counter_offset);
    for (worker *w = load_acquire(&external_list); w; w = w->next_external) sum += counter_of(w, counter_offset);
    return sum;
}

static void counters_reset(worker *w)
{
    _Atomic uint64_t *all[] = {&w->turns, &w->steals, &w->parks, &w->wakes, &w->switches, &w->messages, &w->remote_sends, &w->sends};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) store_relaxed(all[i], 0);
}

/* A worker's record, made at the first start that needs it and kept. */
static bool worker_prepare(int index)
{
    worker *w = the_pool.worker[index];
    if (!w && !(w = the_pool.worker[index] = worker_new(index))) return false;
    w->external = 0;
    store_relaxed(&w->park_word, 0);
    store_relaxed(&w->tick, 0);
    store_relaxed(&w->in_scheduler, 1); /* until its first turn */
    store_relaxed(&w->rescue, 0);
    w->steal_ticks = 0;
    w->doze_us = 0;
    rng_init(&w->random, the_pool.options.seed + (uint64_t)index + 1);
    timer_wheel_init(&w->wheel, pool_now_ns());
    store_relaxed(&w->timer_next_ns, UINT64_MAX);
    counters_reset(w);
    return worker_user_start(w);
}

static void pool_reset(const pool_options *options)
{
    static bool has_stack_size;
    the_pool.options = *options;
    the_pool.policy = pool_policy_default();
    the_pool.ticks_per_us = os_ticks_per_us();
    the_pool.workers = options->seed ? 1 : options->workers;
    store_relaxed(&the_pool.active_limit, the_pool.workers);
    store_relaxed(&the_pool.stopping, 0);
    store_relaxed(&the_pool.searching, 0);
    store_relaxed(&the_pool.idle, 0);
    rescue_init();
    if (!has_stack_size && options->stack_bytes) fiber_set_stack_bytes(options->stack_bytes);
    has_stack_size = true;
}

static bool records_start(void)
{
    for (int i = 0; i < the_pool.workers; i++)
        if (!worker_prepare(i)) return false;
    for (worker *w = load_relaxed(&external_list); w; w = w->next_external) counters_reset(w);
    return external_workers_start();
}

static void records_stop(void)
{
    external_workers_stop();
    for (int i = 0; i < the_pool.workers; i++) {
        worker *w = the_pool.worker[i];
        if (!w) continue;
        spares_free(w);
        worker_user_stop(w);
    }
}

static void threads_stop(void)
{
    store_seq(&the_pool.stopping, 1); /* pairs with the last look before parking */
    monitor_stop();
    for (int i = 0; i < the_pool.workers; i++) pool_wake_worker(the_pool.worker[i]);
    pool_threads_stop();
}

static bool threads_start(void)
{
    for (int i = 0; i < the_pool.workers; i++)
        if (!pool_thread_start(the_pool.worker[i])) return false;
    return !the_pool.policy.monitor || monitor_start();
}

bool pool_start(const pool_options *options)
{
    check(options->seed || (options->workers >= 1 && options->workers <= POOL_MAX_WORKERS));
    pool_reset(options);
    bool is_sim = options->seed != 0;
    if (!records_start()) goto stop_records;
    if (is_sim ? sim_start() : threads_start()) return true;
    if (!is_sim) threads_stop();
stop_records:
    records_stop();
    the_pool.workers = 0;
    return false;
}

void pool_stop(void)
{
    if (sim_is_on()) sim_stop();
    else threads_stop();
    records_stop();
}
