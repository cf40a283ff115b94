#include "scheduler/pool/sim.h"

#include "scheduler/base/alloc.h"
#include "scheduler/base/check.h"
#include "scheduler/pool/pool_internal.h"

enum { SIM_START_NS = OS_NS_PER_S, READY_FIRST = 256 };

static struct {
    bool is_on;
    uint64_t now_ns, deadline_ns;
    bool (*done)(void *argument);
    void *done_argument;
    runnable **ready; /* unordered: the seed picks */
    size_t count, capacity;
    runnable *overflow_head, *overflow_tail; /* when the array could not grow */
    pool_thread thread;
    worker *outer; /* what worker_tls was */
    sim_wait wait;
    void *wait_context;
} sim;

bool sim_is_on(void) { return sim.is_on; }

uint64_t sim_now_ns(void) { return sim.now_ns; }

static bool ready_grow(void)
{
    size_t capacity = sim.capacity ? sim.capacity * 2 : READY_FIRST;
    runnable **ready = base_realloc(sim.ready, capacity * sizeof *ready);
    if (!ready) return false;
    sim.ready = ready;
    sim.capacity = capacity;
    return true;
}

void sim_ready(runnable *r)
{
    if (likely(sim.count < sim.capacity) || ready_grow()) {
        sim.ready[sim.count++] = r;
        return;
    }
    r->next = NULL;
    if (sim.overflow_tail) sim.overflow_tail->next = r;
    else sim.overflow_head = r;
    sim.overflow_tail = r;
}

static runnable *ready_take(worker *w)
{
    if (sim.count == 0) return NULL;
    size_t i = (size_t)rng_below(&w->random, sim.count);
    runnable *r = sim.ready[i], *o = sim.overflow_head;
    sim.ready[i] = sim.ready[--sim.count];
    if (unlikely(o != NULL)) {
        if (!(sim.overflow_head = o->next)) sim.overflow_tail = NULL;
        sim.ready[sim.count++] = o;
    }
    return r;
}

/* To the next timer or the deadline, whichever is first. False: there is no timer before the deadline. */
static bool clock_jump(worker *w)
{
    uint64_t next = load_relaxed(&w->timer_next_ns);
    if (next == UINT64_MAX && sim.deadline_ns == OS_FOREVER) return false;
    if (next > sim.now_ns) sim.now_ns = next < sim.deadline_ns ? next : sim.deadline_ns;
    return sim.now_ns < sim.deadline_ns;
}

runnable *sim_next(worker *w)
{
    while (!sim.done(sim.done_argument) && sim.now_ns < sim.deadline_ns) {
        timers_run(w, w, sim.now_ns);
        runnable *r = ready_take(w);
        if (r) {
            sim.now_ns += SIM_PICK_NS;
            return r;
        }
        if (!clock_jump(w)) break;
    }
    return NULL;
}

bool sim_start(void)
{
    worker *w = the_pool.worker[0];
    w->external = 2;
    w->thread = &sim.thread;
    w->fiber = &sim.thread.base;
    rng_init(&w->random, the_pool.options.seed);
    sim.outer = worker_tls;
    if (sim.now_ns < SIM_START_NS || !sim.wait) sim.now_ns = SIM_START_NS;
    sim.is_on = true;
    os_simulate(&sim.now_ns, the_pool.options.seed);
    timer_wheel_init(&w->wheel, sim.now_ns);
    fiber_thread_init(&sim.thread.base);
    worker_tls = w;
    return true;
}

void sim_stop(void)
{
    worker_tls = sim.outer;
    base_free(sim.ready);
    sim.ready = NULL;
    sim.count = sim.capacity = 0;
    sim.overflow_head = sim.overflow_tail = NULL;
    sim.is_on = false;
    os_simulate(NULL, 0);
}

static void run_until(bool (*done)(void *argument), void *argument, uint64_t deadline_ns)
{
    worker *w = worker_self();
    check(sim.is_on && w == the_pool.worker[0] && w->fiber == &sim.thread.base);
    sim.done = done;
    sim.done_argument = argument;
    sim.deadline_ns = deadline_ns;
    if (spare_reserve(w)) worker_serve(&sim.thread);
}

void sim_run_until(bool (*done)(void *argument), void *argument, uint64_t deadline_ns)
{
    if (sim.wait) sim.wait(sim.wait_context, done, argument, deadline_ns);
    else run_until(done, argument, deadline_ns);
}

/* ---- in a world ---- */

void sim_set_wait(sim_wait wait, void *context)
{
    sim.wait = wait;
    sim.wait_context = context;
}

uint64_t sim_due_ns(void) { return sim.count ? sim.now_ns : load_relaxed(&the_pool.worker[0]->timer_next_ns); }

void sim_set_now_ns(uint64_t now_ns)
{
    if (now_ns > sim.now_ns) sim.now_ns = now_ns;
}

static bool is_idle(void *argument)
{
    (void)argument;
    return sim_due_ns() > sim.now_ns;
}

void sim_run_turns(uint64_t deadline_ns) { run_until(is_idle, NULL, deadline_ns); }
