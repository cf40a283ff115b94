/*
 * Inspection, as the runtime sees it: what it tells (dead letters, per-thread counters, the monitor's tick) and what it starts.
 *
 * Everything that looks at actors reads a moving system without locks: slots, activations and messages are type-stable, descriptors of classes and methods
 * are static, and the generation is read before and after. Such a look may be wrong about a moment, never about whose it is.
 */
#ifndef MANTA_INSPECT_INSPECT_H
#define MANTA_INSPECT_INSPECT_H

#include "actor/runtime/internal.h"
#include "scheduler/pool/sim.h"

/* At manta_shutdown, after the pool has stopped (trace_stop calls it): forgets everything of this system. */
void inspect_stop(void);

/* pool_options.on_tick: reports stuck handlers and wait cycles through runtime_report, each once. */
void inspect_tick(uint64_t now_ns);
/* Reports every wait cycle there is that was not reported before; for a deterministic system that has nothing left to run. Returns how many. */
size_t inspect_report_cycles(void);

/* Any thread: a message for an actor that was gone; method may be NULL. */
void dead_letter_note(uint64_t to, uint64_t from, const manta_method *method);

/* From worker_start: what `l` counts is part of the sums from now on; false: out of memory. From worker_stop: what it counted stays in them. */
bool counters_add(local *l);
void counters_keep(local *l);

/* The clock of activation.began_ns: ticks, which are cheap, or virtual time. */
static inline uint64_t inspect_clock(void) { return unlikely(sim_is_on()) ? sim_now_ns() : os_ticks(); }
static inline uint64_t inspect_clock_age_ns(uint64_t then)
{
    uint64_t now = inspect_clock(), passed = now > then ? now - then : 0;
    return sim_is_on() ? passed : passed / os_ticks_per_us() * OS_NS_PER_US;
}

/* ---- between the files of actor/inspect ---- */

static inline bool inspect_is_up(void) { return load_seq(&the_runtime.running) != 0 && actor_slab.base; }

/* What one look at a slot showed. */
typedef struct actor_view {
    uint64_t id;
    actor *actor;
    const manta_class *cls;     /* NULL: a task */
    const manta_method *method; /* of the handler that runs or waits, or NULL */
    const activation *act;      /* that handler's, or NULL */
    manta_actor_state state;
    int worker;            /* RUNNING: on which; else -1 */
    const char *wait_kind; /* WAITING */
    uint64_t wait_target, handled;
} actor_view;

bool actor_view_read(uint64_t index, actor_view *out); /* false: nobody lives there */
static inline const char *view_class(const actor_view *v) { return v->cls ? v->cls->name : "task"; }
static inline const char *view_method(const actor_view *v) { return v->method ? v->method->name : ""; }
uint64_t watch_running_ns(int worker, const actor *a); /* how long it has run there the same handler, as the ticks saw it */
void cycles_reset(void);
void cycles_tick(uint64_t now_ns);
void counters_reset(void);

/* ---- list.c ---- */
void actors_each(void (*visit)(const manta_actor_info *a, void *context), void *context); /* all that live, without a copy of the list */

#endif
