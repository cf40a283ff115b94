/*
 * A node of a simulated world: start, end, and what its program may ask.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "actor/node/gcs.h"
#include "actor/node/membership.h"
#include "actor/node/node.h"
#include "actor/node/raylet.h"
#include "actor/node/simulation.h"
#include "actor/sim/world.h"
#include "gcs/host/disk.h"
#include "scheduler/os/os_file.h"
#include "scheduler/pool/sim.h"

enum { CORES = 2, WORKER_IDLE_MS = 1000, STOP_TIMEOUT_MS = 60000, JOIN_MS = 10000 };

MANTA_ACTOR(MantaSimNode, bool is_started;)
MANTA_METHOD_DECLARE(MantaSimNode, start, void)
MANTA_METHOD_DECLARE(MantaSimNode, verify, void)

static void address_of(uint32_t node, char out[64]) { snprintf(out, 64, "tcp://node-%u", node); }

static sim_node *own_process(void) { return &the_world->nodes[images_current(the_world->images) - 1]; }
static uint32_t own(void) { return own_process()->host; }
static bool is_of_job(const sim_node *n) { return n->state != PROCESS_NONE; }

static void end_itself(void *context, const char *why)
{
    world *w = context;
    if (is_of_job(own_process())) world_note(w, "node", "process %u of node %u ends itself: %s", own_process()->pid, own(), why);
    else world_note(w, "node", "%u ends itself: %s", own(), why);
    if (is_of_job(own_process())) {
        process_kill(w, own_process()->pid, "");
        return;
    }
    (void)manta_sim_inject(MANTA_SIM_CRASH, own(), (own() + 1) % w->test.nodes, 1000);
}

static uint64_t hold_ns(void *context) { return faults_hold_ns(context, own()); }

/* ---- the control store ---- */

static bool has_server(const char *state)
{
    char path[300];
    int fd = -1;
    snprintf(path, sizeof path, "%s/data.mdb", state);
    bool has = os_file_open(path, OS_READ, &fd) == 0;
    os_file_close(fd);
    return has;
}

/* Another node of the cluster, in which an actor has that name; false: none of them has it now. */
static bool find_member(const world *w, uint32_t node, const char *name, char address[64])
{
    manta_process p;
    manta_actor found;
    for (uint32_t i = 1; i < w->test.nodes; i++) {
        address_of((node + i) % w->test.nodes, address);
        if (process_at(address, JOIN_MS / 10, &p) == MANTA_OK && manta_lookup_in(p, name, &found) == MANTA_OK) return true;
    }
    return false;
}

/* The first node founds the cluster, and is started like that again; the others join what there is. Those who have a server are asked for while all of them come back at once, and go on without when nobody is there. */
static bool find_cluster(const world *w, uint32_t node, const char *state, char address[64])
{
    bool has = has_server(state);
    if (node == 0) return false;
    while (!find_member(w, node, has ? "manta.gcs" : "manta.raylet", address)) {
        if (has) return false;
        (void)manta_sleep(20);
    }
    return true;
}

/* Like a daemon (tools/manta/start.c), but without worker processes. */
static manta_status start_daemon(const world *w, uint32_t node)
{
    char state[250], cache[250], head[64];
    manta_actor raylet;
    snprintf(state, sizeof state, "%s/state-%u", w->directory, node);
    snprintf(cache, sizeof cache, "%s/cache-%u", w->directory, node);
    bool joins = find_cluster(w, node, state, head);
    raylet_options r = {.head = joins ? head : NULL,
        .directory = cache,
        .state = state,
        .voters = w->test.voters,
        .cores = CORES,
        .idle_ms = WORKER_IDLE_MS};
    return raylet_start(&r, &raylet);
}

static void run_process(world *w, sim_node *me)
{
    char daemon[64];
    address_of(me->host, daemon);
    manta_status status = me->is_driver ? job_drive(daemon) : job_serve(daemon, me->job);
    if (status || !me->is_driver) {
        end_itself(w, status ? manta_last_error()->message : "its daemon has ended");
        return;
    }
    me->job = the_job.id;
    w->test.drive(me->host);
    me->is_done = true;
}

MANTA_METHOD_DEFINE(MantaSimNode, start, void)
{
    (void)self;
    world *w = the_world;
    if (is_of_job(own_process())) {
        run_process(w, own_process());
        return;
    }
    if (w->test.voters && start_daemon(w, own())) {
        end_itself(w, manta_last_error()->message);
        return;
    }
    if (w->test.drive && (!w->test.drivers || own() < w->test.drivers)) process_add_driver(w, own());
    if (w->test.start) w->test.start(own());
}

MANTA_METHOD_DEFINE(MantaSimNode, verify, void)
{
    (void)self;
    the_world->test.verify(own());
    the_world->nodes[own()].is_ready = true;
}

MANTA_CLASS_WITH(MantaSimNode, (.concurrency = 64), start, verify)

/* ---- start and end ---- */

/* The main program waits: the world goes on meanwhile. */
static void wait_outside(void *context, bool (*done)(void *argument), void *argument, uint64_t deadline_ns)
{
    world *w = context;
    uint32_t me = images_current(w->images) - 1;
    w->nodes[me].outer++;
    for (bool some = true;; some = world_step(w, deadline_ns)) {
        world_enter(w, me);
        if (done(argument) || w->result->failed || !some || pool_now_ns() >= deadline_ns) break;
    }
    w->nodes[me].outer--;
}

static void report(const char *line, void *context)
{
    (void)context;
    manta_sim_note("%s", line);
}

static void prepare(world *w, uint32_t node)
{
    static uint64_t clock_ns;
    uint64_t seed = rng_mix(w->options->seed ^ rng_mix((uint64_t)node << 32 | w->nodes[node].incarnation)) | 1;
    clock_ns = link_sim_now_ns(w->net);
    os_simulate(&clock_ns, seed);
    sim_set_wait(wait_outside, w);
    sim_set_now_ns(clock_ns);
    const sim_node *n = &w->nodes[node];
    the_simulation = (node_simulation){w->net, n->pid, 1, end_itself, hold_ns, process_run, process_kill, w};
    char address[64];
    address_of(n->host, address);
    if (is_of_job(n)) snprintf(address, sizeof address, "tcp://node-%u-%u", n->host, n->pid);
    w->nodes[node].system = manta_init_with(&(manta_config){.size = sizeof(manta_config),
        .seed = seed,
        .listen = address,
        .stop_timeout_ms = STOP_TIMEOUT_MS,
        .on_report = report,
        .object_bytes = 64 << 20});
}

void node_boot(world *w, uint32_t node)
{
    sim_node *n = &w->nodes[node];
    world_leave(w);
    images_reset(w->images, node + 1);
    images_switch(w->images, node + 1);
    prepare(w, node);
    if (!n->system) {
        world_fail(w, "node %u does not start: %s", node, manta_last_error()->message);
        return;
    }
    n->process = the_node.process;
    n->is_up = true;
    n->paused_ns = 0;
    uint64_t now = link_sim_now_ns(w->net), until = w->nodes[n->host].paused_ns;
    if (until > now) node_pause(w, node, until - now);
    raft_disks_set_delay(50 * OS_NS_PER_US, n->disk_ns);
    faults_set_budget(w, n->host);
    faults_set_paths(w);
    if (is_of_job(n)) world_note(w, "world", "%s %u of node %u starts", n->is_driver ? "driver" : "worker", n->pid, n->host);
    else world_note(w, "world", "node %u starts, the %u. time", node, n->incarnation + 1);
    MantaSimNode_ref main = MantaSimNode_spawn();
    n->main = main.actor.id;
    (void)MantaSimNode_start_send(main);
    n->incarnation++;
}

/* What it did counts, also when it is gone. */
static void keep_hash(world *w, uint32_t node) { w->hash = rng_mix(w->hash ^ manta_trace_hash()) + node; }

void node_crash(world *w, uint32_t node, bool silent)
{
    const sim_node *n = &w->nodes[node];
    const char *how = silent ? ", without a word" : "";
    if (is_of_job(n)) world_note(w, "world", "process %u of node %u is gone%s", n->pid, n->host, how);
    else world_note(w, "world", "node %u crashes%s", node, how);
    if (!is_of_job(n)) processes_crash(w, node, silent);
    world_enter(w, node);
    keep_hash(w, node);
    link_sim_crash(the_node.links, silent);
    raft_disks_crash();
    w->nodes[node].is_up = false;
    world_leave(w);
}

void node_shut_down(world *w, uint32_t node)
{
    sim_node *n = &w->nodes[node];
    if (!n->is_up || n->is_stopping) return;
    if (is_of_job(n)) world_note(w, "world", "driver %u of node %u shuts down", n->pid, n->host);
    else world_note(w, "world", "node %u shuts down", node);
    if (!is_of_job(n)) processes_crash(w, node, false);
    n->is_stopping = true;
    world_enter(w, node);
    n->outer++;
    if (!is_of_job(n)) membership_leave();
    manta_status status = manta_shutdown(n->system);
    world_enter(w, node);
    n->outer--;
    keep_hash(w, node);
    if (status && !w->result->failed) world_fail(w, "node %u does not shut down: %s", node, manta_status_text(status));
    n->is_up = n->is_stopping = false;
    world_leave(w);
}

void node_ask_check(world *w, uint32_t node)
{
    world_enter(w, node);
    w->nodes[node].is_ready = !w->test.verify;
    if (w->test.verify) (void)MantaSimNode_verify_send(MantaSimNode_ref_of((manta_actor){w->nodes[node].main}));
}

/* ---- what its program may ask ---- */

uint32_t manta_sim_node(void) { return own(); }
uint32_t manta_sim_nodes(void) { return the_world->test.nodes; }
uint32_t manta_sim_incarnation(void) { return the_world->nodes[own()].incarnation - 1; }
uint32_t manta_sim_count(uint32_t faults) { return faults_count(the_world, faults); }
uint32_t manta_sim_steps(void) { return the_world->options->steps; }
void *manta_sim_shared(void) { return the_world->shared; }
uint64_t manta_sim_now_ns(void) { return world_now_ns(the_world); }
void manta_sim_finish(void) { the_world->is_finished = true; }

manta_status manta_sim_process(uint32_t node, uint64_t timeout_ms, manta_process *out)
{
    char address[64];
    if (node >= the_world->test.nodes) return error_set(MANTA_EINVAL, "manta_sim_process: there are %u nodes", the_world->test.nodes);
    address_of(node, address);
    return process_at(address, timeout_ms, out);
}

void manta_sim_fail(const char *format, ...)
{
    char text[FAILURE_BYTES];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    world_fail(the_world, "%s", text);
}

void manta_sim_note(const char *format, ...)
{
    char text[FAILURE_BYTES], who[32];
    va_list arguments;
    if (!the_world->options->trace) return;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (is_of_job(own_process())) snprintf(who, sizeof who, "%u/%u", own(), own_process()->pid);
    else snprintf(who, sizeof who, "node %u", own());
    world_note(the_world, who, "%s", text);
}

manta_status manta_sim_inject(manta_sim_fault kind, uint32_t a, uint32_t b, uint64_t ms)
{
    world *w = the_world;
    if (a >= w->test.nodes || b >= w->test.nodes || !(kind & MANTA_SIM_ALL) || kind & (kind - 1))
        return error_set(MANTA_EINVAL, "manta_sim_inject: one kind of fault, and nodes below %u", w->test.nodes);
    if (w->n_injected == INJECTED_LIMIT) return error_set(MANTA_ELIMIT, "manta_sim_inject: at most %d faults", INJECTED_LIMIT);
    uint64_t now = world_now_ns(w);
    w->injected[w->n_injected++] = (fault){.kind = kind, .a = a, .b = b, .at_ns = now, .end_ns = now + ms * OS_NS_PER_MS};
    return MANTA_OK;
}
