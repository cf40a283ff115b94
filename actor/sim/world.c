/*
 * The world's loop. What is next is the earliest of: a fault that begins or ends, a process that starts or ends, an event of the network, a node that has something to run. Of several nodes with something to run the seed chooses one; it runs for at most
 * QUANTUM_NS of its time, so that the others come in between.
 */
#include "actor/sim/world.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "scheduler/pool/sim.h"

enum { QUANTUM_NS = 20 * OS_NS_PER_US };
#define NEVER UINT64_MAX

world *the_world;

uint64_t world_now_ns(const world *w) { return link_sim_now_ns(w->net) - OS_NS_PER_S; }

/* ---- what is said ---- */

void world_fail(world *w, const char *format, ...)
{
    va_list arguments;
    if (w->result->failed) return;
    w->result->failed = true;
    va_start(arguments, format);
    vsnprintf(w->result->text, sizeof w->result->text, format, arguments);
    va_end(arguments);
    world_note(w, "world", "FAILED: %s", w->result->text);
}

void world_note(world *w, const char *who, const char *format, ...)
{
    va_list arguments;
    if (!w->options->trace) return;
    printf("%14.6f ms  %-8s ", (double)world_now_ns(w) / 1e6, who);
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    printf("\n");
}

/* ---- switching ---- */

static void note_due(world *w)
{
    uint32_t i = images_current(w->images);
    if (i && w->nodes[i - 1].is_up && sim_is_on()) w->nodes[i - 1].due_ns = sim_due_ns();
}

void world_enter(world *w, uint32_t node)
{
    note_due(w);
    images_switch(w->images, node + 1);
    if (sim_is_on()) sim_set_now_ns(link_sim_now_ns(w->net));
}

void world_leave(world *w)
{
    note_due(w);
    images_switch(w->images, 0);
}

/* ---- steps ---- */

static uint64_t due_of(const sim_node *n)
{
    if (!n->is_up) return NEVER;
    return n->due_ns < n->paused_ns ? n->paused_ns : n->due_ns;
}

static uint64_t nodes_due(const world *w)
{
    uint64_t due = NEVER;
    for (uint32_t i = 0; i < w->n_slots; i++)
        if (due_of(&w->nodes[i]) < due) due = due_of(&w->nodes[i]);
    return due;
}

/* Of those that have something to run now. */
static uint32_t choose(world *w, uint64_t now)
{
    uint32_t candidates[SLOTS], n = 0;
    for (uint32_t i = 0; i < w->n_slots; i++)
        if (due_of(&w->nodes[i]) <= now) candidates[n++] = i;
    return candidates[n > 1 ? rng_below(&w->random, n) : 0];
}

static void run_one(world *w, uint64_t now)
{
    uint32_t i = choose(w, now);
    world_enter(w, i);
    sim_run_turns(now + QUANTUM_NS);
    note_due(w);
    w->hash = rng_mix(w->hash ^ i) + w->nodes[i].due_ns;
}

bool world_step(world *w, uint64_t until_ns)
{
    note_due(w);
    uint64_t now = link_sim_now_ns(w->net), next = nodes_due(w), faults = faults_due_ns(w), processes = processes_due_ns(w);
    if (faults <= now) faults_apply(w);
    else if (processes <= now) processes_apply(w);
    else if (next <= now) run_one(w, now);
    else {
        if (faults < next) next = faults;
        if (processes < next) next = processes;
        if (until_ns < next) next = until_ns;
        if (!link_sim_step(w->net, next) && next == until_ns) return false;
    }
    w->events++;
    return true;
}

void world_run_until(world *w, uint64_t ns, bool (*done)(world *w))
{
    while (!w->result->failed && !(done && done(w)) && world_step(w, ns)) continue;
}
