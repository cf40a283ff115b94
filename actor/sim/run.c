/*
 * One seed, from beginning to end.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "actor/sim/world.h"
#include "scheduler/base/alloc.h"
#include "scheduler/os/os_file.h"

enum { NODES = 3, DURATION_MS = 10000, SETTLE_MS = 8000, CHECK_MS = 60000, JOBS_END_MS = 2000, SLOW_DISK_MS = 60 };

static void fill_in(world *w, const run_options *o)
{
    w->test = *o->test;
    w->test.nodes = o->nodes ? o->nodes : NODES;
    if (!w->test.duration_ms) w->test.duration_ms = DURATION_MS;
    if (!w->test.settle_ms) w->test.settle_ms = SETTLE_MS;
}

/* For the disks; the parent removes it. In memory where that can be had. */
static bool make_directory(world *w)
{
    snprintf(w->result->directory, sizeof w->result->directory, "/dev/shm/manta-sim-XXXXXX");
    if (!mkdtemp(w->result->directory)) {
        snprintf(w->result->directory, sizeof w->result->directory, "/tmp/manta-sim-XXXXXX");
        if (!mkdtemp(w->result->directory)) return w->result->directory[0] = 0, false;
    }
    snprintf(w->directory, sizeof w->directory, "%s", w->result->directory);
    return true;
}

/* Half of the worlds have fast disks alone; in the others some are slow, and what is lost with them is more and differs. */
static void draw_disks(world *w)
{
    bool mixed = rng_below(&w->random, 2);
    for (uint32_t i = 0; i < w->test.nodes; i++)
        w->nodes[i].disk_ns = (mixed && rng_below(&w->random, 2) ? SLOW_DISK_MS : 1) * (uint64_t)OS_NS_PER_MS;
}

static bool make(world *w, const run_options *o, run_result *out)
{
    w->options = o;
    w->result = out;
    fill_in(w, o);
    rng_init(&w->random, o->seed);
    w->n_slots = w->test.nodes;
    for (uint32_t i = 0; i < w->n_slots; i++) w->nodes[i].host = i;
    draw_disks(w);
    plan_make(&w->plan, &w->test, o->seed, o->keep);
    out->n_faults = w->plan.count;
    w->net = link_sim_new(rng_mix(o->seed));
    w->shared = base_calloc(1, w->test.shared_bytes + 1);
    the_world = w; /* before the sets of variables are made */
    if (!make_directory(w)) return false;
    return w->net && w->shared && images_new(w->test.drive ? SLOTS : w->test.nodes, &w->images);
}

static bool is_finished(world *w) { return w->is_finished; }

/* Of the one that checks: it is through, or has started anew and must be asked again. */
static bool has_checked(world *w)
{
    const sim_node *n = &w->nodes[w->checking];
    return n->is_ready || (n->is_up && n->incarnation != w->checked_incarnation);
}

static void enter_process(void *context, uint64_t process)
{
    world *w = context;
    for (uint32_t i = 0; i < w->n_slots; i++)
        if (w->nodes[i].is_up && w->nodes[i].process == process) {
            world_enter(w, i);
            return;
        }
}

static void check_all(world *w)
{
    for (uint32_t i = 0; i < w->test.nodes && !w->result->failed; i++) {
        uint64_t end = link_sim_now_ns(w->net) + CHECK_MS * (uint64_t)OS_NS_PER_MS;
        w->checking = i;
        w->nodes[i].is_ready = false;
        do {
            w->checked_incarnation = w->nodes[i].incarnation;
            if (w->nodes[i].is_up) node_ask_check(w, i);
            world_run_until(w, end, has_checked);
        } while (!w->nodes[i].is_ready && !w->result->failed && link_sim_now_ns(w->net) < end);
        if (!w->result->failed && !w->nodes[i].is_ready) world_fail(w, "the check on node %u did not end in %d s", i, CHECK_MS / 1000);
    }
}

/* When its drivers have shut down, a job's workers are ended. */
static void end_jobs(world *w)
{
    processes_shut_down_drivers(w);
    world_run_until(w, link_sim_now_ns(w->net) + JOBS_END_MS * (uint64_t)OS_NS_PER_MS, NULL);
    if (!w->result->failed) processes_check_none(w);
}

static void run(world *w)
{
    link_sim_set_enter(w->net, enter_process, w);
    for (uint32_t i = 0; i < w->test.nodes && !w->result->failed; i++) node_boot(w, i);
    for (uint32_t i = 0; i < w->test.nodes; i++) w->nodes[i].is_ready = true;
    world_run_until(w, OS_NS_PER_S + w->test.duration_ms * (uint64_t)OS_NS_PER_MS, is_finished);
    if (!w->result->failed) faults_end_all(w);
    world_run_until(w, link_sim_now_ns(w->net) + w->test.settle_ms * (uint64_t)OS_NS_PER_MS, NULL);
    if (!w->result->failed) check_all(w);
    if (!w->result->failed) end_jobs(w);
    for (uint32_t i = 0; i < w->test.nodes && !w->result->failed; i++) node_shut_down(w, i);
    world_leave(w);
}

void world_run(const run_options *o, run_result *out)
{
    world *w = base_calloc(1, sizeof *w);
    memset(out, 0, sizeof *out);
    if (!w || !make(w, o, out)) {
        out->failed = true;
        snprintf(out->text, sizeof out->text, "no memory for a simulation");
        return;
    }
    run(w);
    if (!out->failed && w->test.judge) w->test.judge(w->shared);
    out->hash = rng_mix(w->hash ^ link_sim_hash(w->net));
    out->events = w->events;
    out->virtual_ns = world_now_ns(w);
}
