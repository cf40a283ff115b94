/*
 * The types that every other header of Manta uses: handles, options, errors, descriptors of classes and methods.
 *
 * Handles are small values: copy them freely, compare their ids. A handle of something that has gone is refused by a generation
 * number (MANTA_EDEAD, MANTA_ESTALE), never followed. An all-zero handle means "none".
 */
#ifndef MANTA_TYPES_H
#define MANTA_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <manta/msgpack.h>
#include <manta/status.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct manta_system manta_t; /* the runtime inside this process */
typedef struct {
    uint64_t id;
} manta_actor; /* any actor; typed handles (Counter_ref) wrap one */
typedef struct {
    uint64_t id;
} manta_process; /* a system in some process, see manta/cluster.h */
typedef struct {
    uint64_t id;
} manta_future; /* the answer of one call; typed futures wrap one */
typedef struct {
    uint64_t id[2];
} manta_ref; /* a counted reference to an immutable object */
typedef struct {
    uint64_t id;
} manta_timer; /* a message that is to be sent later */
typedef struct {
    uint64_t id;
} manta_monitor_id; /* one monitor relation */
typedef struct {
    uint64_t id;
} manta_stream; /* the values of a generator */

/* An object as an argument: a ref where the call is made, a view of its bytes (valid until the handler returns) in the body. */
typedef struct {
    const void *data;
    size_t size;
    manta_ref ref;
} manta_object;

/* An error as its receiver sees it. Memory: the handler's (or thread's) scope, see manta_scope_begin. */
typedef struct manta_error {
    manta_status status;
    const char *message;             /* one line, never NULL */
    const char *class_name, *method; /* where it arose; "" when outside of handlers */
    manta_actor actor;
    const char *node;
    const struct manta_error *cause; /* the error that led to this one, or NULL */
} manta_error;

/* What to do with a message for a full mailbox. */
typedef enum manta_overflow {
    MANTA_OVERFLOW_SUSPEND = 0, /* an actor's handler is suspended, any other thread blocks, until there is room (default with a bound) */
    MANTA_OVERFLOW_REJECT,      /* the sender gets MANTA_EMAILBOXFULL */
    MANTA_OVERFLOW_DROP_NEWEST, /* the new message is dropped: its call fails with MANTA_EDROPPED */
    MANTA_OVERFLOW_DROP_OLDEST  /* the oldest queued message is dropped likewise */
} manta_overflow;

/* What a handler's failure does to its actor. */
typedef enum manta_failure {
    MANTA_FAILURE_DEFAULT = 0, /* REPLY; EXIT for children of a supervisor */
    MANTA_FAILURE_REPLY,       /* the caller gets the error, the actor lives on */
    MANTA_FAILURE_EXIT         /* the caller gets the error, the actor exits with it as its reason */
} manta_failure;

typedef enum manta_priority { MANTA_PRIORITY_NORMAL = 0, MANTA_PRIORITY_HIGH = 1, MANTA_PRIORITY_LOW = -1 } manta_priority;

/* Where on the cluster a task or actor of a job goes. */
typedef enum manta_where {
    MANTA_WHERE_DEFAULT = 0, /* where its arguments are, else this node while it has room, else a node with little to do */
    MANTA_WHERE_SPREAD,      /* the node with least to do */
    MANTA_WHERE_NODE,        /* the node of options.node, and no other */
    MANTA_WHERE_NODE_SOFT,   /* that node while it has room, else another */
    MANTA_WHERE_HERE         /* this process */
} manta_where;
/* How long an actor lives at most. */
typedef enum manta_lifetime {
    MANTA_LIFETIME_OWNER = 0, /* on a cluster: until its job ends; elsewhere: as its process */
    MANTA_LIFETIME_DETACHED   /* on a cluster: until it exits, or its process or node does; it needs a name, by which later jobs find it */
} manta_lifetime;
/* What becomes of an actor of a job on a cluster when its process or node dies; elsewhere all but MANTA_DURABLE mean the same. See manta/durable.h. */
typedef enum manta_durability {
    MANTA_VOLATILE = 0, /* it is dead */
    MANTA_RESTARTABLE,  /* its constructor runs again, with the same arguments, in another process; its state begins anew */
    MANTA_DURABLE       /* likewise, and then it has the state that every acknowledged call has led to */
} manta_durability;
typedef struct {
    uint64_t id;
} manta_placement_group; /* resources reserved together, see manta/placement.h */

#define MANTA_RETRIES_NONE UINT32_MAX /* of options.max_retries: run at most once */

/*
 * Options of a spawn, a call or a task. Zero means default everywhere, so that `&(manta_options){.size = sizeof(manta_options), .name =
 * "x"}` or MANTA_OPTIONS(.name = "x") says only what differs. `size` is this struct's size at the caller (0 counts as "all of it").
 */
typedef struct manta_options {
    size_t size;
    const char *
        name; /* spawn: registered name, 1..127 bytes, unique in the process; in a job on a cluster: in the job's namespace, over all its nodes */
    uint64_t
        timeout_ms; /* call, task: the future fails with MANTA_ETIMEDOUT after this; spawn: so long it waits for a place on the cluster; 0: no limit */
    uint32_t max_retries;     /* call, task: run again on a retryable failure (a task also when its process died), at most so often. 0: only
                                 a task of a job, when its worker or node died, at most 3 times; MANTA_RETRIES_NONE: never */
    uint32_t retry_delay_ms;  /* before the first retry; doubles each time up to 30 s; 0: 10 ms */
    manta_priority priority;  /* task */
    uint32_t mailbox_limit;   /* spawn: most queued messages; 0: the class's, else unbounded */
    manta_overflow overflow;  /* spawn: what to do at the limit */
    uint32_t concurrency;     /* spawn: handlers that may interleave at waits; 0: the class's, else 1; at most 65535 */
    manta_failure on_failure; /* spawn */
    bool trap_exit;           /* spawn: exit signals of linked actors become calls of the class's on_exit method */
    bool
        link; /* spawn: link the new actor to the calling one, in whose process it is unless the options say where; no moment is without the link */
    uint32_t stream_limit; /* generator: values that may wait unread; 0: 16 */
    manta_process
        process; /* spawn, task: in that process; {0}: this one, or in a job where the rest says. A spawn elsewhere waits for the answer */
    /* The rest is for tasks, spawns and generators of a job on a cluster (docs/cluster.md), and means nothing elsewhere. An actor holds its resources until it exits. */
    double cpus,
        gpus; /* to 1/10000; 0: 1 cpu for a task, none for an actor; no gpu. Below 0: none. gpus: a part of one, or a whole number */
    uint64_t memory_bytes; /* reserved; enforced for isolated actors only */
    const char *resources; /* "name=2,other=0.5", of what nodes were started with */
    const char *labels;    /* that the node must have: "zone=a,disk!=hdd" */
    manta_where where;
    manta_process node;                    /* of MANTA_WHERE_NODE and _SOFT: a node's id, see manta_list_nodes */
    manta_placement_group placement_group; /* runs within what it has reserved */
    int32_t bundle;                        /* 1 for the first of its bundles, ..; 0: any */
    manta_lifetime lifetime;               /* spawn */
    bool get_if_exists; /* spawn: if the name is taken, the actor that has it instead of MANTA_EEXIST, when it is of the same class */
    bool
        isolated; /* spawn: in a worker process of its own, which ends with it; memory_bytes is then its limit: beyond it the process is ended */
    manta_durability durability; /* spawn; 0: the class's */
    uint32_t max_restarts;       /* spawn: then it is dead for good; 0: the class's, else no limit */
    uint32_t restart_delay_ms,
        restart_delay_max_ms; /* spawn: before a restart that follows soon on another, doubling; 0: the class's, else 100 ms and 30 s */
} manta_options;
#ifndef __cplusplus
#define MANTA_OPTIONS(...) (&(const manta_options){.size = sizeof(manta_options), __VA_ARGS__})
#endif

/* Visits the refs inside of an argument or result; made by the macros. */
typedef void (*manta_ref_visitor)(manta_ref *ref, manta_object *view_or_null, void *context);

/* How values of one struct travel. Functions may be NULL where they would do nothing. Made by the macros. */
typedef struct manta_layout {
    uint32_t size; /* of the struct in memory */
    void (*pack)(manta_writer *, const void *);
    void (*unpack)(manta_reader *, void *);
    size_t (*extra)(const void *);                /* bytes that strings and byte views point to */
    void (*relocate)(void *, unsigned char **at); /* copies those to *at and points there */
    void (*refs)(void *, manta_ref_visitor, void *context);
} manta_layout;

struct manta_class;

/* One method, task or generator. Made by the macros; id, index and cls are filled in by the library when the class is registered. */
typedef struct manta_method {
    const char *owner, *name, *signature; /* "Counter", "increment", "int64_t(int64_t by,)" */
    void (*invoke)(void *self, const void *arguments, void *result);
    manta_layout arguments, result; /* result.size 0: void */
    struct manta_class *cls;        /* NULL for tasks */
    uint32_t id, index;             /* id: of the counters; index: within the class */
    uint32_t is_generator;
    struct manta_method *next; /* registered tasks */
} manta_method;

/* Options of a class, for MANTA_CLASS_WITH. Zero means default. */
typedef struct manta_class_options {
    uint32_t concurrency;   /* 0: 1 */
    uint32_t mailbox_limit; /* 0: unbounded */
    manta_overflow overflow;
    manta_failure on_failure;
    bool trap_exit;
    bool no_yield_in_send;   /* sends of this class's handlers never suspend (see docs/guarantees.md) */
    uint32_t stuck_after_ms; /* 0: the system's setting */
    void (*on_stop)(
        void *self, const manta_error *reason_or_null); /* runs as the last thing of a stopping actor; may await; not after a kill */
    void (*on_free)(
        void *self); /* always runs last, also after a kill or a failed init: frees what the state owns; must not wait or send */
    bool isolated;   /* on a cluster each actor has a worker process of its own, see manta_options.isolated */
    manta_durability durability;                                   /* see manta/durable.h for the rest */
    uint32_t max_restarts, restart_delay_ms, restart_delay_max_ms; /* see manta_options */
    uint32_t
        call_retries; /* of MANTA_RESTARTABLE: how often a call to it is sent again when its process died meanwhile: then it may run more than once */
    void (*checkpoint)(const void *self, manta_writer *out); /* of MANTA_DURABLE: made by MANTA_CHECKPOINT */
    void (*restore)(void *self, manta_reader *in);           /* made by MANTA_RESTORE */
    uint32_t checkpoint_calls;                               /* at the latest after so many calls; 0: 256 */
    uint32_t checkpoint_ms;                                  /* and so long after a call that is in no checkpoint; 0: 10000 */
} manta_class_options;

/* A class. Made by MANTA_CLASS. */
typedef struct manta_class {
    const char *name;
    uint32_t state_size, n_methods;
    manta_method *const *methods;
    manta_class_options options;
    manta_method *init; /* NULL: none */
    uint32_t id;
    struct manta_class *next;
} manta_class;

#ifdef __cplusplus
}
#endif
#endif
