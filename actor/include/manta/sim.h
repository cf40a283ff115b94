/*
 * Deterministic simulation: your actors on several nodes, over a network and on disks that fail, in one thread, from a seed.
 *
 * A test says what each node does when it starts, and what must hold at the end. The library runs it for many seeds: each seed decides the order of everything that happens, all delays, and when which fault strikes. Time
 * is virtual: a minute of it takes as long as the work in it. The nodes run the code that real ones do (scheduling, links, calls, monitors, the control store); below it the network, the disks, the clock and random
 * numbers are simulated. The same seed runs the same way each time, so a failure can be looked at as often as needed; it is shortened by itself (fewer faults, fewer steps) and printed with the command that repeats it.
 * docs/simulation.md has more; examples/sim_lock_without_fence.c is a test that finds a mistake.
 *
 * Every node has its own copy of the program's variables, as separate processes have, when the program is linked with libmanta.a; with libmanta.so its static variables are shared by all nodes. Do not use them for what
 * a node keeps; what the test itself wants to see from all nodes belongs in manta_sim_shared. Handlers must not read clocks, random numbers or files elsewhere than from this library, or runs will not repeat.
 */
#ifndef MANTA_SIM_H
#define MANTA_SIM_H

#include <manta/manta.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { MANTA_SIM_NODES = 9 }; /* at most */

/* What may go wrong. Each lasts for a while and then ends: at the end of a test all nodes run and reach each other. */
typedef enum manta_sim_fault {
    MANTA_SIM_DELAY = 1 << 0,     /* between two nodes everything takes much longer, so that messages of different senders overtake */
    MANTA_SIM_DROP = 1 << 1,      /* connections of two nodes break again and again, and lose what was under way */
    MANTA_SIM_DUPLICATE = 1 << 2, /* between two nodes frames arrive twice */
    MANTA_SIM_PARTITION = 1 << 3, /* two nodes do not reach each other, or a node reaches none */
    MANTA_SIM_ONE_WAY = 1 << 4,   /* a node reaches another, but not the other way round */
    MANTA_SIM_CRASH =
        1
        << 5, /* a node is gone at once, with all that it had not made durable; later it starts again with what is on its disk; sometimes all nodes at once */
    MANTA_SIM_STOP = 1 << 6,      /* a node shuts down in order, and starts again later */
    MANTA_SIM_PAUSE = 1 << 7,     /* a node does nothing, as under SIGSTOP */
    MANTA_SIM_SLOW_DISK = 1 << 8, /* writes take up to 100 ms to become durable */
    MANTA_SIM_SUSPEND =
        1
        << 9, /* sends of a node's handlers wait, as they may whenever a link has no room or a handler has sent much: other handlers come in between */
    MANTA_SIM_KILL = 1 << 10, /* a driver or worker process of a node is gone at once; only in tests with `drive` */
    MANTA_SIM_ALL = (1 << 11) - 1
} manta_sim_fault;

typedef struct manta_sim_test {
    size_t size; /* sizeof(manta_sim_test) */
    const char *name;
    uint32_t nodes;       /* 1..MANTA_SIM_NODES; 0: 3 */
    uint32_t faults;      /* manta_sim_fault, added up; 0: none */
    uint32_t max_faults;  /* of one seed; 0: 6 */
    uint32_t duration_ms; /* virtual; in it faults begin; 0: 10000 */
    uint32_t settle_ms;   /* virtual; from the last fault's end to `verify`; 0: 8000 */
    uint32_t steps;       /* how much work a seed does, see manta_sim_steps; 0: 100 */
    uint32_t voters;      /* servers of the control store: 1, 3, 5; 0: each node is alone and its control store in its memory */
    size_t shared_bytes;  /* of manta_sim_shared */
    /* Called on each node when it has started, also again after a crash, in a handler: it spawns the node's actors, calls others and may wait. */
    void (*start)(uint32_t node);
    /* Not NULL: each node of 0..drivers-1 also has a process that is a driver of a job (manta_config.cluster), in which this is called, in a handler, again when the node or the process has come back. Tasks and
     * actors of the job run in worker processes, which are simulated too; their programs are this one. Objects are in the processes that made them. Wants voters. */
    void (*drive)(uint32_t node);
    uint32_t drivers; /* 0: all nodes */
    /* Called on each node when faults are over and settle_ms have passed, one after the other, in a handler, which may wait. May be NULL. */
    void (*verify)(uint32_t node);
    /* Called at the very end, outside any node, when all have shut down: looks at what is in `shared`. May be NULL; calls no function of manta but manta_sim_fail. */
    void (*judge)(void *shared);
} manta_sim_test;

/* The main program of a test: runs seeds as the arguments say (--help lists them), in parallel child processes, and prints a summary. Returns the exit code: 0: all passed; 1: a seed failed; 2: bad arguments.
 * A seed fails when manta_sim_fail was called, a node crashed by itself, a node did not shut down, or it took longer than a minute. Call it before manta_init, in a program without other threads. */
MANTA_EXPORT int manta_sim_main(int argc, char **argv, const manta_sim_test *test);

/* ---- on a node of a simulation: in handlers ---- */

MANTA_EXPORT uint32_t manta_sim_node(void);        /* this node: 0.. */
MANTA_EXPORT uint32_t manta_sim_nodes(void);       /* how many there are */
MANTA_EXPORT uint32_t manta_sim_incarnation(void); /* how often this node has started before */
MANTA_EXPORT uint32_t manta_sim_steps(void);       /* how much work the test is to do; shortening lowers it */
/* The process that runs as that node now, for manta_options.process and manta_lookup_in. Connects to it, which may take up to timeout_ms. MANTA_ETIMEDOUT. */
MANTA_EXPORT manta_status manta_sim_process(uint32_t node, uint64_t timeout_ms, manta_process *out);
MANTA_EXPORT void *manta_sim_shared(void); /* shared_bytes of memory that all nodes and the test see, zero at first; outlives crashes */
MANTA_EXPORT uint32_t manta_sim_count(uint32_t faults); /* how many faults of these kinds have begun by now */
/* Virtual time since the beginning, the same on all nodes; manta_now_ns is each node's own. */
MANTA_EXPORT uint64_t manta_sim_now_ns(void);
/* The seed has failed: text says why. The run ends; the first failure counts. */
MANTA_EXPORT void manta_sim_fail(const char *format, ...) MANTA_PRINTF(1, 2);
/* A line in the trace (--trace); cheap otherwise. */
MANTA_EXPORT void manta_sim_note(const char *format, ...) MANTA_PRINTF(1, 2);
/* The work is done: no more faults begin. Otherwise they end after duration_ms. */
MANTA_EXPORT void manta_sim_finish(void);
/* A fault now, for tests that choose them: of node a, or between a and b; it ends after ms of virtual time. PARTITION with b == a: of a from all others; CRASH with b == a: of all nodes. Takes effect when the handler waits or returns. MANTA_EINVAL. */
MANTA_EXPORT manta_status manta_sim_inject(manta_sim_fault fault, uint32_t a, uint32_t b, uint64_t ms);

#define MANTA_SIM_EXPECT(condition) \
    do { \
        if (!(condition)) manta_sim_fail("%s:%d: %s", __FILE__, __LINE__, #condition); \
    } while (0)

#ifdef __cplusplus
}
#endif
#endif
