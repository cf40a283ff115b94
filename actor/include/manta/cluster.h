/*
 * More than one process: systems that listen, join each other, and use each other's actors.
 *
 * A process is a system with a 64-bit id that it drew when it started; a restarted program is another process. Handles of actors travel in messages; one that arrives from another process can be
 * called, sent to, linked, monitored and passed on like any other. Calls to a process that ends or cannot be reached fail with MANTA_EUNKNOWN: they may have run. The classes and
 * tasks of both programs must agree: a method is found by its class, name and types.
 */
#ifndef MANTA_CLUSTER_H
#define MANTA_CLUSTER_H

#include <manta/types.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { MANTA_ADDRESS_BYTES = 256 };

typedef struct manta_process_info {
    manta_process process;
    char address[MANTA_ADDRESS_BYTES]; /* where it listens; "" when it does not */
    bool is_up;
    uint64_t messages_sent, messages_received; /* to and from it, by this process */
} manta_process_info;

/* This process's id; 0 before manta_init. */
MANTA_EXPORT manta_process manta_this_process(void);
/* The n-th address that this process listens at ("tcp://127.0.0.1:40123"); NULL: no more. Static until manta_shutdown. */
MANTA_EXPORT const char *manta_listen_address(int n);

/* Connects to the process that listens at `address`, and waits until it answers. *out may be NULL. MANTA_ETIMEDOUT, MANTA_EINVAL, MANTA_EUNSUPPORTED (deterministic mode), and why it refused. */
MANTA_EXPORT manta_status manta_connect(const char *address, uint64_t timeout_ms, manta_process *out);

/* Fills in at most `capacity` of the other processes that this one knows; *out_count: how many there are. */
MANTA_EXPORT manta_status manta_list_processes(manta_process_info *out, size_t capacity, size_t *out_count);

typedef struct manta_node_info {
    manta_process node; /* its daemon's process: for manta_options.node */
    char address[MANTA_ADDRESS_BYTES], labels[256];
    char total[512], available[512]; /* resources: "cpus=4,memory=1073741824"; available: as last heard of, a moment old */
    uint32_t queued;                 /* requests that wait there */
    bool is_here;                    /* this process's own */
} manta_node_info;

/* Fills in at most `capacity` of the nodes of the cluster that this process's job runs on, its own first; *out_count: how many there are. Waits for the node's answer. MANTA_EUNSUPPORTED: it is no job's. */
MANTA_EXPORT manta_status manta_list_nodes(manta_node_info *out, size_t capacity, size_t *out_count);

typedef enum manta_job_state { MANTA_JOB_RUNNING = 1, MANTA_JOB_SUCCEEDED, MANTA_JOB_FAILED, MANTA_JOB_STOPPED } manta_job_state;
typedef struct manta_job_info {
    uint64_t id;
    manta_job_state state; /* SUCCEEDED: its driver called manta_shutdown; FAILED: the driver ended otherwise, or its node did */
    char program[128], name_space[128], reason[256]; /* reason: of a failure */
    manta_process driver, node;                      /* node: the daemon that the driver came by */
} manta_job_info;
/* Fills in at most `capacity` of the jobs of the cluster, those that have ended too (until the control store needs their room); *out_count: how many there are. Waits for the control store, at most 10 s. */
MANTA_EXPORT manta_status manta_list_jobs(manta_job_info *out, size_t capacity, size_t *out_count);
/* The namespace of this process's job, see manta_config.name_space; "" when it is no job's. Static. A worker process waits for the control store the first time; "": it cannot be asked. */
MANTA_EXPORT const char *manta_namespace(void);

/* The process that an actor lives in: this one for local actors; 0 for none. */
MANTA_EXPORT manta_process manta_process_of(manta_actor actor);

/* The actor that is registered under the name in that process (see manta_register). Waits for the answer. MANTA_ENOTFOUND, MANTA_EUNKNOWN. */
MANTA_EXPORT manta_status manta_lookup_in(manta_process process, const char *name, manta_actor *out);

#ifdef __cplusplus
}
#endif
#endif
