/*
 * The system: start and stop; spawning and messages; what a handler may ask for; links, monitors, names, groups, topics.
 *
 * Unless it says "handler only", a function may be called from a handler and from any other thread. A process has at most one system
 * at a time. The plumbing functions at the end are for the macros of manta/actor.h, which are the way to use Manta.
 */
#ifndef MANTA_RUNTIME_H
#define MANTA_RUNTIME_H

#include <manta/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Settings of a system; zero means default. Each can be set by environment too (MANTA_WORKERS, MANTA_SEED, ...; see docs/settings.md), which
 * this struct overrides where not zero, and by `--manta-workers=2` style arguments, which override both. */
typedef struct manta_config {
    size_t size;              /* sizeof(manta_config), or 0 */
    uint32_t workers;         /* threads of the pool; 0: one per usable core; at most 64 */
    uint64_t seed;            /* not 0: deterministic mode: one thread, virtual clock, seeded order; runs while the main thread waits */
    uint32_t stack_bytes;     /* of a handler's stack; 0: 65536 */
    uint32_t max_actors;      /* 0: 16777216 */
    uint32_t stop_timeout_ms; /* manta_shutdown waits so long for actors and tasks; 0: 5000 */
    uint32_t stuck_after_ms;  /* a handler that runs so long without a wait is reported; 0: 1000; UINT32_MAX: never */
    uint32_t trace;           /* 0: off, 1: lifecycle and waits, 2: every message */
    uint32_t trace_events;    /* kept per worker; 0: 65536 */
    uint32_t stash_limit;     /* messages per actor; 0: 1024 */
    uint64_t object_bytes;    /* room for immutable objects; 0: 4 GiB in memory of this process, 1 GiB in a store */
    uint64_t spill_bytes;     /* most bytes of objects on disk; 0: what the disk has */
    uint32_t object_sites;    /* 1: a store's objects remember which method made them (manta-store inspect shows it) */
    const char *
        store; /* directory on tmpfs of the store that processes share, removed by the last of them; "private": one of this process alone; NULL: a table in this process, in the driver of a job its node's store */
    const char
        *listen;      /* addresses at which other processes may join, with commas between: "tcp://127.0.0.1:0,ipc:///tmp/a" ; NULL: none */
    const char *join; /* addresses of processes to connect to at the start; NULL: none */
    const char *
        keys; /* file with the cluster's key pair, as `manta keygen` prints it: tcp links are encrypted, and closed to others; NULL: none */
    const char *cluster;    /* address of a node daemon: this program becomes the driver of a job, see manta/cluster.h; NULL: none */
    const char *name_space; /* of a driver: where the names of its job's actors are unique; setting `namespace`; NULL: the job's own */
    uint32_t insecure;      /* 1: listens beyond loopback without keys */
    const char *spill;      /* directory on disk that a store moves objects to when it is full; NULL: none */
    uint64_t pull_bytes;    /* of objects of other processes that are fetched at a time; 0: 256 MiB */
    uint64_t
        lineage_bytes; /* of records of tasks whose outputs may have to be made again, in each process of a job; 0: 64 MiB. The oldest go first */
    uint32_t
        lineage_after_ms; /* how old such a record is when it goes to the control store, where it survives this process; 0: 200; UINT32_MAX: never */
    const char *
        durable; /* directory on disk where a program that belongs to no cluster keeps its durable actors (manta/durable.h), made when it is missing, for one process at a time; NULL: none; not for jobs */
    void (*on_report)(const char *line, void *context); /* stuck handlers, wait cycles, lost failures; NULL: standard error */
    void *report_context;
} manta_config;

/* Starts the system and removes the `--manta-*` arguments from argv (both pointers may be NULL). NULL on failure, after a line on standard error; see
 * manta_last_error(). The calling thread is the main thread of deterministic mode. */
MANTA_EXPORT manta_t *manta_init(int *argc, char ***argv);
MANTA_EXPORT manta_t *manta_init_with(const manta_config *config);

/* Stops every actor, newest first (messages sent before are handled), waits for them and for running tasks up to stop_timeout_ms, kills the rest, and frees
 * everything. Returns MANTA_OK, or MANTA_ETIMEDOUT when something had to be killed; what it was waiting for is reported line by line. Not from a handler
 * (MANTA_ECONTEXT). NULL is fine. */
MANTA_EXPORT manta_status manta_shutdown(manta_t *system);

/* The most recent error of this handler or thread: set by every function that fails. Never NULL (status MANTA_OK at first). Valid until the next
 * failing call or the end of the handler. */
MANTA_EXPORT const manta_error *manta_last_error(void);
/* Writes "STATUS: message (Class.method) <- cause ..." and returns what snprintf would. */
MANTA_EXPORT int manta_error_format(const manta_error *error, char *out, size_t out_bytes);

/* ---- inside a handler (a method or task body) ---- */

/* Makes the handler fail: `return manta_fail(MANTA_EINVAL, "got %d", n), 0;`. The caller's future gets the error, with manta_last_error() chained as its cause
 * when `status` is that error's. The first failure of a handler counts. Elsewhere: sets manta_last_error. */
MANTA_EXPORT void manta_fail(manta_status status, const char *format, ...) MANTA_PRINTF(2, 3);
MANTA_EXPORT void manta_exit(manta_status reason, const char *format, ...)
    MANTA_PRINTF(2, 3);                      /* the actor exits after this handler; MANTA_OK: normally */
MANTA_EXPORT void manta_exit_normally(void); /* the actor exits after this handler, reason "normal" */
MANTA_EXPORT manta_actor manta_self(void);   /* {0} outside of actors */
MANTA_EXPORT manta_actor manta_sender(void); /* who sent the current message; {0}: no actor */
MANTA_EXPORT bool manta_is_cancelled(void);  /* the current call was cancelled or timed out at its caller */
MANTA_EXPORT manta_status manta_sleep(
    uint64_t milliseconds);                    /* suspends the handler (elsewhere: blocks); MANTA_ECANCELLED when cancelled */
MANTA_EXPORT void manta_reschedule(void);      /* lets others run first; the actor takes no other message meanwhile (concurrency 1) */
MANTA_EXPORT manta_status manta_stash(void);   /* puts the current message aside: its call is answered after manta_unstash */
MANTA_EXPORT manta_status manta_unstash(void); /* all stashed messages come next, oldest first */

/* What happens to messages that a behavior does not list. */
typedef enum manta_others { MANTA_OTHERS_DEFAULT, MANTA_OTHERS_STASH, MANTA_OTHERS_REJECT } manta_others;
typedef struct manta_behavior_entry {
    const manta_method *from, *to;
} manta_behavior_entry;
typedef struct manta_behavior {
    const char *name;
    const manta_class *cls;
    manta_others others;
    uint32_t n_entries;
    const manta_behavior_entry *entries;
} manta_behavior;
/* From the next message on the actor follows this behavior (see MANTA_BEHAVIOR); NULL: its class's own methods. Handler only; MANTA_ETYPE for
 * a behavior of another class. `behavior` must outlive the actor. */
MANTA_EXPORT manta_status manta_become(const manta_behavior *behavior);

/* Around foreign code that blocks: lends this core to another thread meanwhile. Pairs; elsewhere than in a handler they do nothing. */
MANTA_EXPORT void manta_blocking_begin(void);
MANTA_EXPORT void manta_blocking_end(void);

/* Memory that lives until the handler returns, or until the innermost manta_scope_end. NULL when out of memory; 16-byte aligned, not zeroed. On a plain
 * thread without a scope it lives until manta_shutdown. */
MANTA_EXPORT void *manta_alloc(size_t size_bytes);
MANTA_EXPORT manta_status manta_scope_begin(void); /* nests, up to 64 deep; a scope holds memory, futures, refs */
MANTA_EXPORT manta_status manta_scope_end(void);   /* MANTA_ECONTEXT without a begin */

MANTA_EXPORT uint64_t manta_now_ns(void); /* monotonic; virtual in deterministic mode */
MANTA_EXPORT uint64_t manta_random(void); /* seeded in deterministic mode; not for secrets */

/* ---- actors ---- */

/* False for {0}, for one that has exited, and for a made-up handle. */
MANTA_EXPORT bool manta_is_alive(manta_actor actor);
MANTA_EXPORT manta_status manta_stop(manta_actor actor); /* exits normally after the messages sent before; MANTA_EDEAD */
MANTA_EXPORT manta_status manta_kill(manta_actor actor); /* exits with MANTA_EKILLED at its next wait or message end; cannot be trapped */
/* Links both ways: when one exits abnormally the other gets its exit signal and exits too, unless it traps exits. Handler only. Linking to a
 * dead actor delivers the signal at once. */
MANTA_EXPORT manta_status manta_link(manta_actor other);
MANTA_EXPORT manta_status manta_unlink(manta_actor other);
MANTA_EXPORT manta_status manta_trap_exit(
    bool on); /* of the calling actor; its class needs a method on_exit(manta_actor who, int32_t status, manta_str message) */
/* manta_monitor(target, Watcher_on_down, &id): when target exits, the calling actor's method on_down(manta_actor who, int32_t status, manta_str message) is called, after
 * all that target sent it before. Handler only. id may be NULL. */
#define manta_monitor(target, method, out_id) manta_monitor_method(target, &method##_method, out_id)
MANTA_EXPORT manta_status manta_monitor_method(manta_actor target, const manta_method *on_down, manta_monitor_id *out_id);
MANTA_EXPORT manta_status manta_demonitor(manta_monitor_id id); /* after it, no call of on_down arrives any more */
/* Waits until the actor has exited; its reason's status in *out_reason (may be NULL), MANTA_EDEAD when it was gone before. MANTA_ETIMEDOUT. */
MANTA_EXPORT manta_status manta_wait_exit(manta_actor actor, uint64_t timeout_ms, manta_status *out_reason);
MANTA_EXPORT manta_status manta_timer_cancel(manta_timer timer); /* MANTA_ESTALE: sent already (a one-shot) or cancelled before */

/* Names: 1..127 bytes, unique in the process, gone with the actor. MANTA_EEXIST, MANTA_ETOOLONG, MANTA_EINVAL (empty), MANTA_EDEAD. */
MANTA_EXPORT manta_status manta_register(const char *name, manta_actor actor);
MANTA_EXPORT manta_status manta_unregister(const char *name); /* MANTA_ENOTFOUND */
MANTA_EXPORT manta_status manta_lookup(const char *name,
    manta_actor
        *out); /* in this process; in a job, else in its namespace over the cluster, which waits for the control store. MANTA_ENOTFOUND */

/* ---- plumbing of the macros: arguments is the method's argument struct (copied), extra_bytes what its strings point to ---- */
MANTA_EXPORT manta_future manta_call_method(manta_actor to, const manta_method *method, const void *arguments, size_t extra_bytes);
MANTA_EXPORT manta_future manta_call_with(
    const manta_options *options, manta_actor to, const manta_method *method, const void *arguments, size_t extra_bytes);
MANTA_EXPORT manta_status manta_send_method(manta_actor to, const manta_method *method, const void *arguments, size_t extra_bytes);
MANTA_EXPORT manta_timer manta_send_later(
    uint64_t delay_ms, uint64_t period_ms, manta_actor to, const manta_method *method, const void *arguments, size_t extra_bytes);
MANTA_EXPORT manta_actor manta_spawn_class(const manta_options *options, manta_class *cls, const void *arguments, size_t extra_bytes);
MANTA_EXPORT manta_future manta_submit(const manta_options *options, const manta_method *task, const void *arguments, size_t extra_bytes);
MANTA_EXPORT manta_stream manta_generate(const manta_options *options, const manta_method *task, const void *arguments, size_t extra_bytes);
MANTA_EXPORT void manta_register_class(manta_class *cls);
MANTA_EXPORT void manta_register_task(manta_method *task);

/* The dynamic twins, for bindings: the method by name, arguments and result as MessagePack arrays. The future's value is a manta_bytes. A call to a durable actor is logged as any; its class must be in this program (MANTA_EUNKNOWN), and the first
 * such call to it may wait for its place to be found. */
MANTA_EXPORT manta_future manta_call(manta_actor to, const char *method, manta_bytes arguments);
MANTA_EXPORT manta_actor manta_spawn(const char *class_name, manta_bytes arguments, const manta_options *options);

#ifdef __cplusplus
}
#endif
#endif
