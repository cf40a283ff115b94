/*
 * A cluster of node daemons, and the jobs that run on it. Inside the library; the user's side is manta/cluster.h and the command `manta`.
 *
 * Each machine runs a daemon: a system with a Raylet actor, registered as "manta.raylet". The head's raylet knows all nodes and introduces them to each other. A driver (a program started with
 * manta_config.cluster) asks its raylet for a job: every node fetches the program by its content hash, starts worker processes from it, and sends their output to the driver. A worker is the same program:
 * its manta_init serves tasks and spawns until the job is over, and does not return. The job ends with its driver.
 */
#ifndef MANTA_RAYLET_H
#define MANTA_RAYLET_H

#include <manta/manta.h>

#include "actor/runtime/internal.h"

enum { NODES_LIMIT = 256, WORKERS_LIMIT = 1024, CHUNK_BYTES = 1 << 20, PROGRAM_LIMIT = 1 << 30, CLUSTER_TIMEOUT_MS = 20000 };

MANTA_STRUCT(MantaNodeInfo, (manta_actor, raylet), (manta_actor, leases), (uint64_t, id), (manta_str, address), (manta_str, host),
    (manta_str, total), (manta_str, labels), (uint32_t, pid)) /* id: of the daemon's process; total: resources */
MANTA_STRUCT(MantaJob, (uint64_t, id), (uint64_t, hash), (uint64_t, bytes), (manta_str, name), (manta_actor, driver))
MANTA_STRUCT(MantaQuestion, (manta_str, kind), (manta_str, match), (uint32_t, limit), (bool, is_of_cluster))

/* Runs in the daemon. */
MANTA_ACTOR(MantaRaylet, struct raylet *r;)
MANTA_METHOD_DECLARE(MantaRaylet, describe, MantaNodeInfo)            /* this node */
MANTA_METHOD_DECLARE(MantaRaylet, meet, void, (MantaNodeInfo, node))  /* somebody else's node is there */
MANTA_METHOD_DECLARE(MantaRaylet, start_job, void, (MantaJob, job))   /* on all nodes */
MANTA_METHOD_DECLARE(MantaRaylet, begin_job, void, (MantaJob, job))   /* on this node: fetches the program */
MANTA_METHOD_DECLARE(MantaRaylet, job_ended, void, (uint64_t, id))    /* says the control store */
MANTA_METHOD_DECLARE(MantaRaylet, program, MantaJob, (uint64_t, job)) /* of a job that this node knows */
MANTA_METHOD_DECLARE(
    MantaRaylet, read_program, manta_bytes, (uint64_t, hash), (uint64_t, offset), (uint32_t, bytes)) /* of those it keeps */
MANTA_METHOD_DECLARE(
    MantaRaylet, need_store, manta_str) /* a driver will use the node's object store: its name (node.h), "" when there is none */
MANTA_METHOD_DECLARE(MantaRaylet, placements, manta_actor) /* MantaPlacements of this node */
MANTA_METHOD_DECLARE(MantaRaylet, status, manta_str)
/* This node takes no more work, hands its part of the control store on, and waits until what it has is done; then, with `ends`, its daemon ends. What is still here after timeout_ms; "": nothing. */
MANTA_METHOD_DECLARE(MantaRaylet, drain, manta_str, (uint64_t, timeout_ms), (bool, ends))
MANTA_METHOD_DECLARE(MantaRaylet, end, void)                                /* the daemon */
MANTA_METHOD_DECLARE(MantaRaylet, ask, manta_bytes, (MantaQuestion, asked)) /* see ask.c */

/* Runs in the driver. */
MANTA_ACTOR(MantaDriver, int program;)
MANTA_METHOD_DECLARE(MantaDriver, read, manta_bytes, (uint64_t, offset), (uint32_t, bytes)) /* of its program */
MANTA_METHOD_DECLARE(MantaDriver, worker_gone, void, (uint32_t, pid), (manta_str, how), (uint64_t, process))
MANTA_METHOD_DECLARE(MantaDriver, output, void, (uint32_t, pid), (bool, is_error), (manta_str, text)) /* pid 0: of the cluster itself */

/* ---- raylet.c ---- */
typedef struct raylet_options {
    const char *head;        /* address of any daemon of the cluster; NULL: a new cluster, or the one that `state` belongs to */
    const char *state;       /* directory of the control store, should this node serve it */
    uint32_t voters;         /* of the control store: 1, 3 or 5 */
    uint32_t fence_ms;       /* see membership.h; 0: the default */
    const char *directory;   /* for programs; made when missing */
    const char *resources;   /* "gpus=2,db=1", over the default of all cores and all memory; NULL: that */
    const char *labels;      /* "zone=a,disk=ssd" or NULL */
    uint32_t cores;          /* cpus of the node */
    uint64_t idle_ms;        /* after which a worker process without work ends */
    uint64_t cache_bytes;    /* of programs that are kept */
    uint64_t worker_memory;  /* bytes that a worker process may use; 0: no limit */
    uint64_t memory_reserve; /* bytes that are to stay free on the node: workers are ended for them; 0: none */
} raylet_options;
/* In a system that listens. The actor in *out. Waits for the head. */
manta_status raylet_start(const raylet_options *options, manta_actor *out);

uint64_t program_hash(int fd, uint64_t bytes); /* 0: it cannot be read */

typedef struct raylet_process { /* of this node */
    manta_process process;
    const char *role; /* node, worker, driver */
} raylet_process;
struct report;
/* For ask.c, in the raylet's handlers: what it knows now. Counts. */
uint32_t raylet_others(const struct raylet *r, manta_actor out[NODES_LIMIT]);
uint32_t raylet_processes(const struct raylet *r, raylet_process *out, uint32_t room); /* room: at least 1 */
uint32_t raylet_drivers(const struct raylet *r);                                       /* whose jobs began here, and who need this daemon */
manta_actor raylet_leases(const struct raylet *r);
const char *raylet_address(const struct raylet *r);
bool raylet_rows(
    const struct raylet *r, const char *kind, struct report *out); /* nodes, jobs (which waits); false: error_set says why not */

/* ---- children.c: worker processes of a daemon ---- */
manta_status children_start(manta_actor leases); /* a thread that reads what they say and waits for their ends, and tells that actor */
void children_stop(void);                        /* kills them */
/* extra: one more line of its environment, or NULL. */
manta_status child_run(
    const char *program, const char *name, uint64_t job, const char *raylet_address, const char *extra, uint32_t *out_pid);
void child_kill(uint32_t pid, const char *why); /* why: for the report of its end */

/* ---- job.c: the driver's and the worker's side ---- */
manta_status job_start(
    const manta_config *config); /* in node_start: becomes a driver when config->cluster is set, or a worker; error_set says why not */
void job_stop(void);
void job_free(void);     /* when the links' thread has ended, which looks at what follows */
extern MantaJob the_job; /* of this process; id 0: it is no job's */
extern bool job_is_worker;
extern manta_actor job_leases; /* of this process's node: MantaLeases */
extern manta_actor job_raylet;

/* ---- leases.c ---- */
manta_actor leases_start(const MantaNodeInfo *info, const raylet_options *options);
/* ---- placement.c ---- */
manta_actor placements_start(void);
manta_status placements_watch(manta_actor placements); /* what the control store says of groups, from now on */
void placements_node(manta_actor placements, const MantaNodeInfo *info, bool is_up);
manta_status placements_describe(manta_actor placements, manta_str *out); /* waits */

#endif
