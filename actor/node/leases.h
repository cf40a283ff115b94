/*
 * The node's agent for work: an actor of each daemon, "manta.leases". It has the node's resources and its worker processes, and lends them: a *lease* is the right of an *owner* (a driver or worker process)
 * to run tasks of one kind, one after the other, in one worker process, or to keep an actor.
 *
 * An owner asks with a request, whose id becomes the lease's. The request runs here when there is room, else goes to a node that the policy picks from what nodes tell each other (at most HOPS
 * times), else waits here, from where idle nodes take it. Every message may come twice: what has become of an id is remembered.
 */
#ifndef MANTA_NODE_LEASES_H
#define MANTA_NODE_LEASES_H

#include "actor/node/queue.h"
#include "actor/node/raylet.h"

enum {
    HOPS = 3,
    GOSSIP_MS = 100,
    WORKER_IDLE_MS = 5000,
    START_FAILURES = 3,
    SLICE_MS = 50, /* a lease is called back for another job after this */
    SEEN_LIMIT = 1 << 16,
    BUNDLES_LIMIT = 1024,
    GPUS_LIMIT = 64,
    UNFIT_LIMIT = 1024,
    UNFIT_WAIT_MS = 2000,
};

/* Actors with a process of their own: it outlives the job; it is the actor's alone. One that is started again: its owner is a MantaRestarter. A task that runs again. A request that a node asks itself once more. */
enum { REQUEST_DETACHED = 1, REQUEST_ISOLATED = 2, REQUEST_REVIVAL = 4, REQUEST_AGAIN = 8, REQUEST_ASKED = 16 };
MANTA_STRUCT(MantaRequest, (uint64_t, id), (manta_actor, owner), (MantaJob, job), (manta_str, need), (manta_str, labels),
    (int32_t, strategy), (uint64_t, node), (int32_t, priority), (uint64_t, group), (int32_t, bundle), (uint32_t, hops), (bool, is_actor),
    (uint64_t, bytes_node), (uint64_t, bytes), (uint32_t, apart)) /* apart: REQUEST_* */
MANTA_STRUCT(MantaGrant, (uint64_t, id), (manta_actor, process), (manta_actor, leases), (uint32_t, pid), (uint64_t, node), (uint32_t, cpus))

enum { NODE_GONE, NODE_UP, NODE_LEAVES }; /* leaves: it takes no more work; this node, or another */
enum {
    DESCRIBE_ALL,
    DESCRIBE_NODES,
    DESCRIBE_WORKERS
}; /* nodes: a line for each, fields between tabs; workers: those still here, "": none */

MANTA_ACTOR(MantaLeases, struct lessor *l;)
MANTA_METHOD_DECLARE(MantaLeases, request, void, (MantaRequest, what))
MANTA_METHOD_DECLARE(MantaLeases, release, void, (uint64_t, id), (bool, kill)) /* of a lease, or of a request; kill: its process too */
MANTA_METHOD_DECLARE(MantaLeases, hold, void, (uint64_t, id))                  /* an actor has it now: it stays when its owner goes */
MANTA_METHOD_DECLARE(
    MantaLeases, waiting, void, (uint32_t, pid), (bool, is)) /* all tasks of that worker wait: its cpus are free for others in it */
MANTA_METHOD_DECLARE(MantaLeases, load, void, (manta_actor, leases), (manta_str, available), (uint32_t, queued))
MANTA_METHOD_DECLARE(MantaLeases, steal, void, (manta_actor, leases), (manta_str, available))
MANTA_METHOD_DECLARE(MantaLeases, reserve, manta_str, (uint64_t, group), (uint64_t, attempt), (int32_t, step), (manta_str, bundles))
MANTA_METHOD_DECLARE(MantaLeases, node, void, (MantaNodeInfo, info), (uint32_t, news)) /* NODE_*; of one that leaves, only info.id counts */
/* It begins here; path "": it is over. Or, with a reason why: the node `unfit`, which may be this one, cannot run its program. */
MANTA_METHOD_DECLARE(MantaLeases, job, void, (MantaJob, job), (manta_str, path), (uint64_t, unfit), (manta_str, why))
MANTA_METHOD_DECLARE(MantaLeases, ready, void, (uint64_t, job), (manta_actor, process), (manta_actor, owner), (uint32_t, pid))
/* A worker here (crash.h has how, as a candidate), or with pid 0 one on another node. */
MANTA_METHOD_DECLARE(MantaLeases, ended, void, (uint32_t, pid), (uint64_t, job), (uint64_t, process), (manta_str, how))
MANTA_METHOD_DECLARE(MantaLeases, said, void, (uint32_t, pid), (bool, is_error), (manta_str, text))
MANTA_METHOD_DECLARE(MantaLeases, describe, manta_str, (uint32_t, what)) /* DESCRIBE_*; for people */

/* Runs in each process of a job. */
MANTA_ACTOR(MantaOwner, int unused;)
MANTA_METHOD_DECLARE(MantaOwner, granted, void, (MantaGrant, grant))
MANTA_METHOD_DECLARE(MantaOwner, recalled, void, (uint64_t, lease))
MANTA_METHOD_DECLARE(MantaOwner, refused, void, (uint64_t, request), (int32_t, status), (manta_str, text))
MANTA_METHOD_DECLARE(MantaOwner, report, void, (manta_str, text))
MANTA_METHOD_DECLARE(MantaOwner, died, void, (uint64_t, process), (manta_str, how)) /* a process of the job */
MANTA_METHOD_DECLARE(MantaOwner, may_end, bool)                                     /* nobody needs this worker process */

/*
 * Steps of reserve: ASK answers with what is free, the others with "ok", or "" for no. PREPARE: these bundles, for an attempt; ABORT: what was prepared in that attempt. COMMIT: they are to be here; on "" none is.
 * CONFIRM: they are here, says the row. REMOVE: none is to be here.
 */
enum { RESERVE_ASK, RESERVE_PREPARE, RESERVE_COMMIT, RESERVE_ABORT, RESERVE_CONFIRM, RESERVE_REMOVE };

/* ---- the parts of the actor ---- */

typedef struct node_view { /* what is known of a node; the first is this one */
    manta_actor leases, raylet;
    char address[MANTA_ADDRESS_BYTES], host[64], labels[LABELS_TEXT];
    place_node place;
} node_view;

typedef struct job_view {
    MantaJob info;            /* its name is `name` */
    char name[64], path[600]; /* path "": this node cannot run it */
    bool is_told;             /* the driver knows that */
    uint32_t failures;        /* workers in a row that did not come up */
    char last_words[200];
} job_view;

typedef struct unfit_entry { /* a node that cannot run a job's program */
    uint64_t job, node;
    char why[400];
} unfit_entry;

typedef struct bundle_entry { /* part of a placement group that is reserved here */
    struct bundle_entry *next;
    uint64_t group, attempt, since_ns; /* since: it was prepared, or committed */
    int32_t index;
    bool committed, confirmed;
    resources total, available;
} bundle_entry;

typedef struct worker_view {
    uint32_t pid;
    uint64_t job;
    manta_actor process, owner;
    bool is_ready, is_host; /* host: many leases share it */
    bool blocked, lent;     /* all its tasks wait; and nobody has been let in for that */
    bool ending, has_gpus;
    bool is_detached;    /* of one actor, which outlives the job */
    bool unwanted;       /* ended by this node for what it does: its end is reported all the same */
    uint64_t process_id; /* once it is ready */
    bundle_entry *pool;  /* what `cpus` are of; NULL: the node */
    int64_t cpus, over;  /* held until its last lease has gone; used beyond them (fits_over) */
    uint32_t leases;
    uint64_t idle_since_ns, started_ns;
    bool is_own;                   /* of one isolated actor */
    uint64_t memory, memory_limit; /* at the last look; 0: the node's limit */
} worker_view;

typedef struct lease_entry {
    lease_request *request;
    worker_view *worker;
    bundle_entry *pool;
    resources held; /* but for the cpus, which the worker holds */
    bool held_by_actor, recalled, is_granted;
    uint64_t gpu_mask, since_ns;
} lease_entry;

typedef struct lessor {
    manta_actor self, raylet;
    node_view nodes[NODES_LIMIT];
    job_view *jobs[QUEUE_JOBS];
    worker_view *workers[WORKERS_LIMIT];
    uint32_t n_nodes, n_jobs, n_workers;
    queue queue;
    id_table leases; /* by id */
    id_table moved;  /* by id: node index + 1 of where it went, or TOMBSTONE */
    uint64_t seen[SEEN_LIMIT];
    uint32_t seen_at;
    id_table owners; /* watched; by handle */
    bundle_entry *bundles;
    int64_t gpus[GPUS_LIMIT]; /* free, of each */
    rng random;
    bool changed;     /* since the last gossip */
    bool is_ticking;  /* there is something to look after, or to tell */
    uint64_t idle_ns; /* after which a worker without leases is ended */
    uint32_t turn;
    uint64_t leaving[NODES_LIMIT]; /* ids of nodes that are drained; drain.c */
    uint32_t n_leaving;
    unfit_entry unfit[UNFIT_LIMIT];
    uint32_t n_unfit, unfit_at;
    uint64_t worker_memory, memory_reserve; /* limits.c; 0: none */
    uint64_t memory_looked_ns;
} lessor;

/* workers.c */
worker_view *worker_of_pid(lessor *l, uint32_t pid);
worker_view *worker_for(lessor *l, job_view *job, const lease_request *r, bool shared,
    uint64_t gpu_mask); /* started when need be; NULL: error_set says why not */
void worker_end(lessor *l, worker_view *w, const char *why);
void workers_tick(lessor *l, uint64_t now_ns);
uint32_t host_limit(const lessor *l);

/* limits.c */
void limits_tick(lessor *l, uint64_t now_ns);

/* leases.c */
job_view *job_of(lessor *l, uint64_t id);
void leases_drain(lessor *l);       /* grants what can be granted */
void leases_changed(lessor *l);     /* what is free here: the others hear of it within GOSSIP_MS */
void leases_place_again(lessor *l); /* the nodes have changed: what cannot run here may go elsewhere */

bool job_add(lessor *l, const MantaJob *job, manta_str path); /* false: manta_fail has been called */

/* drain.c */
bool drain_is_leaving(const lessor *l, uint64_t node);
bool drain_is_here(const lessor *l); /* this node is drained */
void drain_forget(lessor *l, uint64_t node);
void drain_begin(lessor *l, uint64_t node);
size_t drain_describe(const lessor *l, char *out, size_t room);
void drain_recall(lessor *l); /* leases of tasks go back to their owners, when this node is drained */

/* restarts.c: to the owner of a request, whatever it is */
void tell_granted(const lease_request *r, const MantaGrant *g);
void tell_refused(manta_actor owner, uint64_t id, bool is_revival, manta_status status, manta_str text);

/* unfit.c */
bool unfit_is(const lessor *l, uint64_t job, uint64_t node);
const char *unfit_why(const lessor *l, uint64_t job); /* of some node; NULL: none is unfit */
void unfit_note(lessor *l, const MantaJob *job, uint64_t node, manta_str why);
void unfit_forget(lessor *l, uint64_t job);
void unfit_tell(const lessor *l, manta_actor leases); /* a new node: what this one cannot run */

/* grants.c */
bool grant_may(void *context, const lease_request *r);
bool grant_make(lessor *l, lease_request *r); /* takes it out of the queue; false: it stays */
void grant_tell(lessor *l, lease_entry *x);   /* its worker is ready */
void grant_end(lessor *l, lease_entry *x);    /* gives everything back */
void grants_call_back(lessor *l, uint64_t now_ns);
bundle_entry *bundle_of(lessor *l, uint64_t group, int32_t index);

/* bundles.c */
bool bundles_reserve(lessor *l, uint64_t group, uint64_t attempt, int32_t step, manta_str text);
bool bundles_expire(lessor *l, uint64_t now_ns); /* true: there are some that may yet */
/* owner.c, placement.c */
manta_status group_places(
    uint64_t id, int32_t bundle, manta_actor *out, uint32_t room, uint32_t *out_n); /* waits until the group is there */
size_t leases_describe(lessor *l, char *out, size_t room);
size_t leases_list(const lessor *l, char *out, size_t room);

#endif
