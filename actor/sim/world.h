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

enum { FAULT_KINDS = 11, PLAN_LIMIT = 64, FAILURE_BYTES = 1024, INJECTED_LIMIT = 1024, SLOTS = MANTA_SIM_NODES + 64 };

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

typedef enum process_state {
    PROCESS_NONE,
    PROCESS_STARTS,
    PROCESS_RUNS,
    PROCESS_GONE
} process_state; /* gone: its daemon is yet to be told */

typedef struct sim_node { /* or a process of a job that stands on it */
    uint32_t host;        /* the node; of a node itself: its own number */
    /* of processes of jobs: */
    process_state state;
    bool is_driver, must_end, is_done; /* done: the driver's program has returned */
    uint32_t pid;
    uint64_t job, event_ns; /* event: when it starts, ends, or its end is told */
    char why[160];          /* it ends */
    /* of all: */
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
    uint32_t n_faults;             /* of the plan, before `keep` */
    uint32_t by_kind[FAULT_KINDS]; /* how many of each kind happened */
} run_result;

typedef struct world {
    const run_options *options;
    manta_sim_test test; /* defaults filled in */
    rng random;
    images *images;
    link_sim *net;
    sim_node nodes[SLOTS]; /* nodes first */
    uint32_t n_slots;      /* in use, or used once */
    uint32_t n_processes;  /* of jobs, ever started */
    uint64_t ended[SLOTS]; /* jobs whose drivers have shut down */
    uint32_t n_ended;
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
void node_pause(world *w, uint32_t node, uint64_t ns);
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
uint32_t faults_count(const world *w, uint32_t kinds); /* that have begun */
const char *fault_name(manta_sim_fault kind);
uint32_t fault_find(const char *name, size_t bytes); /* 0: none */

/* ---- processes.c ---- */
manta_status process_run(void *context, uint64_t job, const char *address, uint32_t *out_pid); /* as node_simulation.run */
void process_kill(void *context, uint32_t pid, const char *why);
void process_add_driver(world *w, uint32_t node); /* starts soon */
uint64_t processes_due_ns(const world *w);
void processes_apply(world *w);                             /* one that starts or ends now */
void processes_crash(world *w, uint32_t host, bool silent); /* all of a node */
bool processes_wait(const world *w, uint32_t host);         /* the main program of one waits: it cannot crash now */
void processes_pause(world *w, uint32_t host, uint64_t ns);
bool process_kill_one(world *w, uint32_t host); /* the seed chooses; false: there is none */
void processes_shut_down_drivers(world *w);     /* steps the world */
void processes_check_none(world *w);

/* ---- runner.c ---- */
void world_run(const run_options *o, run_result *out); /* a seed; in a process that does nothing else */

#endif
