/*
 * The simulation of whole nodes: what they do, and what is watched meanwhile.
 *
 * Every node runs four programs at a time: one sends numbered messages and calls to receivers on other nodes and monitors them (messages.c), one reads and writes keys of the control store (registers.c), one takes locks
 * (locks.c), one makes objects that others read (objects.c). All write what they see into `watched`, which no crash takes away.
 */
#ifndef MANTA_SIMULATE_H
#define MANTA_SIMULATE_H

#include <manta/sim.h>

#include "test/support/linear.h"

enum { SESSIONS = 4096, OPERATIONS = 8192, GRANTS = 8192, TASKS = 8192, CELLS = 2048, DRIVERS = 2, KEYS = 2, PROGRAMS = 4 };

typedef struct session {        /* of a sender with one handle of a receiver */
    uint64_t receiver;          /* process */
    uint32_t from, incarnation; /* the sender's */
    uint64_t sent, received, acknowledged;
} session;

typedef struct task_seen {    /* a task that was submitted */
    uint32_t begun, finished; /* how often */
    bool is_once;             /* it may not run again */
} task_seen;

typedef struct cell_seen { /* an actor of a job */
    uint64_t last, done;   /* the highest number of its calls that began, and how many ended */
} cell_seen;

typedef struct watched {
    cell_seen cells[CELLS];
    uint64_t n_cells, steps_done, failed_steps;
    task_seen tasks[TASKS];
    uint64_t n_tasks, tasks_done, tasks_lost; /* lost: ended with an error */
    enum {
        DRIVES,
        THROUGH,
        RESTS
    } drivers[DRIVERS]; /* what the driver of each of the first nodes does: it has work, or none, or nobody has and all is free */
    session sessions[SESSIONS];
    uint32_t n_sessions;
    linear_op operations[OPERATIONS];
    uint32_t n_operations;
    uint64_t next_value;
    uint64_t granted_ns[GRANTS]; /* by token: when its acquire returned; 0: not granted yet */
    uint64_t highest_token;
    uint32_t finished[MANTA_SIM_NODES];                                       /* programs of the incarnation that runs now */
    uint64_t calls, failed_calls, objects, registers_done, locks_done, downs; /* so that it shows that something was tried */
} watched;

static inline watched *watch(void) { return manta_sim_shared(); }

void messages_start(uint32_t node);
void messages_judge(watched *w);
void registers_start(uint32_t node);
void registers_judge(watched *w);
void locks_start(uint32_t node);
void objects_start_on(uint32_t node);
size_t object_size(uint64_t seed); /* of an object whose bytes are made from a number */
void object_fill(unsigned char *to, size_t size, uint64_t seed);
bool object_is_right(const unsigned char *at, size_t size, uint64_t seed);
/* Faults that let somebody lose a process. */
enum {
    LOSING = MANTA_SIM_CRASH | MANTA_SIM_STOP | MANTA_SIM_KILL | MANTA_SIM_PAUSE | MANTA_SIM_PARTITION | MANTA_SIM_ONE_WAY | MANTA_SIM_DROP
};
void tasks_drive(uint32_t node); /* in a driver */
void actors_play(void);          /* likewise: one of them, from its spawn to its end */
void program_finished(void);     /* one of this node's */

#endif
