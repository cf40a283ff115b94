/*
 * A simulated world: nodes, their network, one clock, and the faults of a seed.
 *
 * All of it is on the heap, since the program's variables are switched (image.h); `the_world` is set before the nodes' sets are made, so all of them have it. Nothing here waits; a node's waiting
 * main program (manta_init_with, manta_shutdown) steps the world meanwhile.
 */
#ifndef MANTA_SIM_WORLD_H
#define MANTA_SIM_WORLD_H

#include <manta/sim.h>

#include "actor/sim/image.h"
#include "mailbox/link/link_sim.h"
#include "scheduler/base/rng.h"
#include "scheduler/os/os.h"

enum { FAULT_KINDS = 10, PLAN_LIMIT = 64, FAILURE_BYTES = 1024, INJECTED_LIMIT = 1024 };

typedef struct fault {
    manta_sim_fault kind;
    uint32_t a, b;
    uint64_t at_ns, end_ns; /* virtual, since the beginning */
    bool is_silent;         /* of a crash: nobody is told that connections broke */
    bool is_on, is_over;
} fault;

typedef struct plan { /* the faults of a seed */
    fault faults[PLAN_LIMIT];
    uint32_t count;
} plan;

typedef struct sim_node {
    bool is_up, is_ready, is_stopping;
    uint32_t outer; /* its main program waits: it cannot crash now */
    uint32_t incarnation;
    uint64_t process, due_ns, paused_ns, disk_ns; /* disk_ns: how long a write takes at most, while nothing is wrong */
    uint64_t main;                                /* its actor */
    manta_t *system;
} sim_node;

typedef struct run_options { /* of one seed */
    const manta_sim_test *test;
    uint64_t seed, keep; /* keep: bit per fault of the plan that is to happen */
    uint32_t steps, nodes;
    bool trace;
} run_options;

typedef struct run_result {
    bool failed;
    char text[FAILURE_BYTES], directory[64];
    uint64_t hash, events, virtual_ns;
    uint32_t n_faults;   /* of the plan, before `keep` */
    uint32_t by_kind[FAULT_KINDS]; /* how many of each kind happened */
} run_result;

typedef struct world {
    const run_options *options;
    manta_sim_test test; /* defaults filled in */
    rng random;
    images *images;
    link_sim *net;
    sim_node nodes[MANTA_SIM_NODES];
    plan plan;
    fault injected[INJECTED_LIMIT];
    uint32_t n_injected;
    uint64_t hash, events;
    bool is_finished, no_more_faults;
    uint32_t checking, checked_incarnation; /* the node that verifies, see run.c */
    void *shared;
    char directory[64];
    run_result *result;
} world;
extern world *the_world;

/* ---- world.c ---- */
uint64_t world_now_ns(const world *w);
void world_fail(world *w, const char *format, ...) MANTA_PRINTF(2, 3);
void world_note(world *w, const char *who, const char *format, ...) MANTA_PRINTF(3, 4); /* into the trace */
void world_enter(world *w, uint32_t node);                                              /* its variables, with its clock set */
void world_leave(world *w);                                                             /* the test's own */
/* One thing happens, not behind until_ns. False: nothing did, and it is until_ns now. */
bool world_step(world *w, uint64_t until_ns);
void world_run_until(world *w, uint64_t ns, bool (*done)(world *w)); /* done may be NULL; also ends when the seed has failed */

/* ---- node.c ---- */
void node_boot(world *w, uint32_t node);
void node_crash(world *w, uint32_t node, bool silent);
void node_shut_down(world *w, uint32_t node); /* in order; steps the world */
void node_ask_check(world *w, uint32_t node); /* begins; is_ready is false until it is through */

/* ---- faults.c ---- */
void plan_make(plan *p, const manta_sim_test *t, uint64_t seed, uint64_t keep);
uint64_t faults_due_ns(const world *w);
void faults_apply(world *w); /* those that begin or end now */
void faults_end_all(world *w);
void faults_set_paths(world *w); /* after a node has started */
/* How long a send of the node that runs waits, of those that may wait: 0 if nothing holds it up. */
uint64_t faults_hold_ns(world *w, uint32_t node);
void faults_set_budget(const world *w, uint32_t node); /* of the node that runs, after it has started */
const char *fault_name(manta_sim_fault kind);
uint32_t fault_find(const char *name, size_t bytes); /* 0: none */

/* ---- runner.c ---- */
void world_run(const run_options *o, run_result *out); /* a seed; in a process that does nothing else */

#endif
