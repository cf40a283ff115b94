/*
 * Processes of jobs: drivers, and the workers that daemons start and end. Each is a system of its own, as a node's daemon is; it stands on a node, shares its network and its pauses, and is gone with it.
 *
 * A daemon asks in the middle of a handler, where variables cannot be switched: what it asks for is done by the world's loop, a moment later. So is the news of an end, which a daemon gets as it would from its kernel.
 */
#include <stdio.h>
#include <string.h>

#include "actor/node/simulation.h"
#include "actor/runtime/internal.h"
#include "actor/sim/world.h"

enum { START_MS = 20, END_MS = 5, AGAIN_MS = 500, FIRST_PID = 1000 };
#define NEVER UINT64_MAX

static uint64_t soon(world *w, uint64_t most_ms) { return link_sim_now_ns(w->net) + rng_below(&w->random, most_ms * OS_NS_PER_MS); }

/* Of the process that runs. */
static sim_node *own(world *w) { return &w->nodes[images_current(w->images) - 1]; }

static sim_node *take_slot(world *w)
{
    for (uint32_t i = w->test.nodes; i < SLOTS; i++) {
        if (w->nodes[i].state != PROCESS_NONE) continue;
        if (i >= w->n_slots) w->n_slots = i + 1;
        return &w->nodes[i];
    }
    return NULL;
}

static sim_node *add(world *w, uint32_t host, bool is_driver, uint64_t job, uint64_t after_ms)
{
    sim_node *n = take_slot(w);
    if (!n) return NULL;
    uint32_t incarnation = n->incarnation;
    *n = (sim_node){.state = PROCESS_STARTS,
        .host = host,
        .is_driver = is_driver,
        .job = job,
        .incarnation = incarnation,
        .pid = FIRST_PID + w->n_processes++,
        .event_ns = soon(w, after_ms)};
    return n;
}

manta_status process_run(void *context, uint64_t job, const char *address, uint32_t *out_pid)
{
    world *w = context;
    (void)address;
    sim_node *n = add(w, own(w)->host, false, job, START_MS);
    if (!n) return error_set(MANTA_ELIMIT, "at most %d processes of jobs in a simulation", SLOTS - MANTA_SIM_NODES);
    *out_pid = n->pid;
    world_note(w, "world", "node %u asks for worker %u of job %llx", n->host, n->pid, (unsigned long long)job);
    return MANTA_OK;
}

void process_kill(void *context, uint32_t pid, const char *why)
{
    world *w = context;
    if (*why) world_note(w, "world", "node %u ends worker %u: %s", own(w)->host, pid, why);
    for (uint32_t i = w->test.nodes; i < w->n_slots; i++) {
        sim_node *n = &w->nodes[i];
        if (n->pid != pid || n->state == PROCESS_NONE || n->state == PROCESS_GONE || n->must_end) continue;
        n->must_end = true;
        n->event_ns = soon(w, 1);
        snprintf(n->why, sizeof n->why, "%s", why);
    }
}

void process_add_driver(world *w, uint32_t node) { (void)add(w, node, true, 0, START_MS); }

/* ---- what the loop does ---- */

uint64_t processes_due_ns(const world *w)
{
    uint64_t due = NEVER;
    for (uint32_t i = w->test.nodes; i < w->n_slots; i++) {
        const sim_node *n = &w->nodes[i];
        if (n->state != PROCESS_NONE && n->event_ns < due) due = n->event_ns;
    }
    return due;
}

static void tell_daemon(world *w, sim_node *n)
{
    uint32_t pid = n->pid;
    n->state = PROCESS_NONE;
    if (!w->nodes[n->host].is_up) return;
    world_enter(w, n->host);
    child_died(pid, n->why);
    world_leave(w);
}

static void end(world *w, uint32_t slot)
{
    sim_node *n = &w->nodes[slot];
    bool is_early = n->state == PROCESS_STARTS;
    if (!is_early) node_crash(w, slot, false);
    if (n->is_driver) {
        bool again = !n->is_done && w->nodes[n->host].is_up;
        n->state = PROCESS_NONE;
        if (again) (void)add(w, n->host, true, 0, AGAIN_MS);
        return;
    }
    n->state = PROCESS_GONE;
    n->event_ns = soon(w, END_MS);
}

static void apply_one(world *w, uint32_t slot)
{
    sim_node *n = &w->nodes[slot];
    n->event_ns = NEVER;
    if (n->state == PROCESS_GONE) tell_daemon(w, n);
    else if (n->must_end && n->outer) n->event_ns = soon(w, END_MS); /* its main program waits, in the middle of a shutdown */
    else if (n->must_end) end(w, slot);
    else if (n->state == PROCESS_STARTS) {
        n->state = PROCESS_RUNS;
        node_boot(w, slot);
    }
}

void processes_apply(world *w)
{
    uint64_t now = link_sim_now_ns(w->net);
    for (uint32_t i = w->test.nodes; i < w->n_slots; i++)
        if (w->nodes[i].state != PROCESS_NONE && w->nodes[i].event_ns <= now) {
            apply_one(w, i);
            return;
        }
}

/* ---- their node's faults ---- */

void processes_crash(world *w, uint32_t host, bool silent)
{
    for (uint32_t i = w->test.nodes; i < w->n_slots; i++) {
        sim_node *n = &w->nodes[i];
        if (n->state == PROCESS_NONE || n->host != host) continue;
        if (n->is_up) node_crash(w, i, silent);
        n->state = PROCESS_NONE;
    }
}

bool processes_wait(const world *w, uint32_t host)
{
    for (uint32_t i = w->test.nodes; i < w->n_slots; i++)
        if (w->nodes[i].outer && w->nodes[i].host == host) return true;
    return false;
}

void processes_pause(world *w, uint32_t host, uint64_t ns)
{
    for (uint32_t i = w->test.nodes; i < w->n_slots; i++)
        if (w->nodes[i].is_up && w->nodes[i].host == host) node_pause(w, i, ns);
}

bool process_kill_one(world *w, uint32_t host)
{
    uint32_t candidates[SLOTS], n = 0;
    for (uint32_t i = w->test.nodes; i < w->n_slots; i++)
        if (w->nodes[i].is_up && w->nodes[i].host == host && !w->nodes[i].must_end) candidates[n++] = i;
    if (!n) return false;
    sim_node *victim = &w->nodes[candidates[rng_below(&w->random, n)]];
    victim->must_end = true;
    victim->event_ns = link_sim_now_ns(w->net);
    return true;
}

/* ---- the end ---- */

void processes_shut_down_drivers(world *w)
{
    for (uint32_t i = w->test.nodes; i < w->n_slots && !w->result->failed; i++)
        if (w->nodes[i].state == PROCESS_RUNS && w->nodes[i].is_driver) {
            w->ended[w->n_ended++] = w->nodes[i].job;
            node_shut_down(w, i);
            w->nodes[i].state = PROCESS_NONE;
        }
}

/* Whether its driver has shut down, as against: was lost. */
static bool is_of_ended_job(const world *w, const sim_node *n)
{
    for (uint32_t i = 0; i < w->n_ended; i++)
        if (w->ended[i] == n->job) return true;
    return false;
}

/* A node that came back late has started it after the others were shut down. */
static bool has_driver(const world *w, uint64_t job)
{
    for (uint32_t i = w->test.nodes; i < w->n_slots; i++)
        if (w->nodes[i].state != PROCESS_NONE && w->nodes[i].is_driver && w->nodes[i].job == job) return true;
    return false;
}

void processes_check_none(world *w)
{
    for (uint32_t i = w->test.nodes; i < w->n_slots; i++) {
        const sim_node *n = &w->nodes[i];
        if (n->state == PROCESS_NONE || has_driver(w, n->job)) continue;
        world_fail(w, "process %u of node %u is left, of a job %s", n->pid, n->host,
            is_of_ended_job(w, n) ? "that is over" : "whose driver was lost");
    }
}
