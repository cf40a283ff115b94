/*
 * The tick: handlers that run on and on, and wait cycles.
 *
 * A worker moves when its current actor, that actor's count of messages, or its own count of turns moves (a handler that waits or yields begins another
 * turn). One that has not moved for the limit is reported once, until it moves.
 */
#include "actor/inspect/inspect.h"
#include "actor/runtime/names.h"

typedef struct watch {
    _Atomic(runnable *) current;
    _Atomic uint64_t since_ns; /* of the first tick that saw it */
    uint64_t handled, turns;
    bool is_reported;
} watch;
static watch watches[POOL_MAX_WORKERS];

static void watch_reset(void)
{
    for (int i = 0; i < POOL_MAX_WORKERS; i++) {
        store_relaxed(&watches[i].current, NULL);
        watches[i].is_reported = false;
    }
}

uint64_t watch_running_ns(int index, const actor *a)
{
    if (index < 0 || index >= POOL_MAX_WORKERS || load_acquire(&watches[index].current) != &a->run) return 0;
    uint64_t since = load_relaxed(&watches[index].since_ns), now = pool_now_ns();
    return now > since ? now - since : 0;
}

static void report_stuck(const actor_view *v, uint64_t ns)
{
    char name[NAME_LIMIT + 1] = "";
    names_find(v->id, name);
    runtime_report("stuck handler: %s.%s of #%u%s%s has run for %llu ms without a wait", view_class(v), view_method(v), (uint32_t)v->id,
        name[0] ? " " : "", name, (unsigned long long)(ns / OS_NS_PER_MS));
}

static void check_limit(watch *s, runnable *r, uint64_t now_ns)
{
    actor_view v;
    uint64_t ns = now_ns - load_relaxed(&s->since_ns);
    if (s->is_reported || !actor_view_read(actor_index(actor_of_run(r)), &v) || v.state != MANTA_STATE_RUNNING) return;
    uint32_t limit_ms = v.cls && v.cls->options.stuck_after_ms ? v.cls->options.stuck_after_ms : load_relaxed(&the_runtime.stuck_ms);
    if (limit_ms == UINT32_MAX || ns < (uint64_t)limit_ms * OS_NS_PER_MS) return;
    s->is_reported = true;
    report_stuck(&v, ns);
}

__attribute__((no_sanitize("thread"))) static void watch_worker(worker *w, watch *s, uint64_t now_ns)
{
    runnable *r = *(runnable *volatile *)&w->current;
    uint64_t turns = load_relaxed(&w->turns), handled = r ? load_relaxed(&actor_of_run(r)->handled) : 0;
    if (r && r == load_relaxed(&s->current) && turns == s->turns && handled == s->handled) {
        check_limit(s, r, now_ns);
        return;
    }
    s->turns = turns;
    s->handled = handled;
    s->is_reported = false;
    store_relaxed(&s->since_ns, now_ns);
    store_release(&s->current, r); /* pairs with watch_running_ns */
}

void inspect_tick(uint64_t now_ns)
{
    if (load_relaxed(&the_runtime.running) != 1) return;
    for (int i = 0; i < the_pool.workers; i++) watch_worker(the_pool.worker[i], &watches[i], now_ns);
    cycles_tick(now_ns);
}

void inspect_stop(void)
{
    watch_reset();
    cycles_reset();
    counters_reset();
}
