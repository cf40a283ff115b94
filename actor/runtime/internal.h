/*
 * The functions that the files of actor/runtime offer each other; records.h has the structs and says who may touch what.
 */
#ifndef MANTA_RUNTIME_INTERNAL_H
#define MANTA_RUNTIME_INTERNAL_H

#include "actor/runtime/records.h"

/* ---- future.c ---- */
bool future_pool_init(void);
void futures_trim(void);                  /* after the pool has stopped */
future *future_new(worker *w);            /* PENDING, in no scope; NULL: out of memory */
void future_free(worker *w, future *f);   /* by the one who consumed it */
future *future_find(manta_future handle); /* NULL: stale */
void future_scope_add(activation *act, future *f);
void future_scope_remove(activation *act, future *f);
/* Completes with a value (copied; relocated when extra_bytes is not 0) or an error (a block taken over). */
void future_complete(worker *w, future *f, const manta_layout *layout, const void *value, size_t extra_bytes);
void future_fail(worker *w, future *f, manta_error *error);
void future_fail_status(worker *w, future *f, manta_status status, const char *format, ...) MANTA_PRINTF(4, 5);
void future_complete_block(worker *w, future *f, block *memory, uint32_t size); /* takes the block */
void future_signal(worker *w, future *f);                                       /* the value is in place (or none): wakes the waiter */
void future_drop(worker *w, future *f);                                         /* releases a future nobody waits for */
void value_discard(future *f);                                                  /* frees the value's memory */
void activation_wake(worker *w, activation *act);

/* ---- wait.c ---- */
/* Waits until f is READY. MANTA_OK, MANTA_ETIMEDOUT, MANTA_ECANCELLED; does not return when the actor was killed. kind: text for inspection. */
manta_status future_await(future *f, uint64_t deadline_ns, const char *kind);
/* The same for an event that is the caller's alone: when the handler is abandoned meanwhile, f is dropped. */
manta_status event_await(future *f, uint64_t deadline_ns, const char *kind);
uint64_t deadline_after_ms(uint64_t timeout_ms);
/* Moves a ready future's value out and frees the future; on error sets last_error. */
manta_status future_take(future *f, void *out, size_t size_bytes);
void actor_nudge(worker *w, actor *a);         /* a flag was set: the owner shall look, also one that waits */
manta_status wait_check(activation *act);      /* cancelled? does not return when killed */
void wait_abandon(worker *w, activation *act); /* the handler is abandoned: ends what its current wait holds */

/* ---- error.c: errors are blocks that hold the struct, its texts and its causes ---- */
manta_error *error_new(manta_status status, const manta_error *cause, const char *format, ...) MANTA_PRINTF(3, 4);
manta_error *error_newv(manta_status status, const manta_error *cause, const char *format, va_list arguments);
manta_error *error_copy(const manta_error *error); /* deep; never NULL (a static one when memory is out) */
void error_free(const manta_error *error);         /* static ones and NULL are fine */
manta_status error_set(manta_status status, const char *format, ...) MANTA_PRINTF(2, 3); /* last_error of the context; returns status */
manta_status error_set_last(manta_error *error);                                         /* takes it over; returns its status */

/* ---- scope.c ---- */
void scope_add_block(activation *act, block *b);
void scope_clean(worker *w, activation *act); /* everything; after a handler */
block *block_new(size_t size_bytes);
activation *activation_self(void); /* of this handler, or of this plain thread */

/* ---- send.c ---- */
message *message_make(worker *w, const manta_method *method, const void *arguments, size_t extra_bytes);
manta_status message_post(worker *w, uint64_t to, message *m); /* takes m; completes its reply on failure; honours bounds */
void message_lose(message *m);                                 /* a call that will not run: lets go of the refs in its arguments */
void message_discard(worker *w, message *m);                   /* the same, and frees it; made by message_make and not posted */
void message_post_at_once(
    worker *w, uint64_t to, message *m);               /* the same for callbacks, which cannot wait for room: goes over such a bound */
void message_deliver(worker *w, actor *a, message *m); /* no bounds: push and schedule; the caller has set generation */
void message_dead(worker *w, uint64_t to, message *m, manta_status status, const manta_error *reason); /* answers it; does not free it */
void message_took_room(worker *w, actor *a);                                                           /* a bounded mailbox got shorter */
future *call_start(worker *w, uint64_t to, const manta_method *method, const void *arguments, size_t extra_bytes); /* NULL: out of memory */

/* ---- turn.c ---- */
void actor_turn(worker *w, runnable *r);
void late_messages(worker *w, actor *a); /* owner of a slot that nobody lives in: answers what came for its former tenant */
void actor_fail_handler(const manta_error *cause)
    __attribute__((noreturn)); /* leaves the body: the handler fails with this error chained */
/* The actor of this handler exits after it, for the first reason given; takes error, which may be NULL. */
void handler_exit(activation *act, manta_status status, manta_error *error);
bool actor_has_signals(const actor *a);
_Noreturn void handler_killed(activation *act); /* leaves the body for good */

void actor_run_call(worker *w, actor *a, message *m); /* runs one call message as a handler now and frees it */

/* ---- actor/durable/state.c ---- */
void durable_message(worker *w, actor *a, message *m); /* KIND_CHECKPOINT, KIND_RESTORE */

/* ---- dynamic.c ---- */
const manta_method *method_named(manta_actor to, const char *name); /* of a living actor here; NULL: error_set says why */

/* ---- exit.c ---- */
void actor_exit(worker *w, actor *a, manta_status status, const manta_error *error); /* owner; the slot is gone afterwards */

/* ---- spawn.c ---- */
/* Who spawns: the calling actor when the options say link, or an actor in another process. */
typedef struct spawn_parent {
    uint64_t id;     /* 0: none */
    bool supervised; /* the child ends with it, however it ends */
} spawn_parent;
spawn_parent spawn_parent_self(const manta_options *o);
/* As manta_spawn_class, for the row `uid` of the control store's table of actors, which has its name; 0: none. */
manta_actor spawn_as(const manta_options *options, manta_class *cls, const void *arguments, size_t extra_bytes, uint64_t uid);
/* In this process, for an actor of another one. */
manta_actor spawn_for(
    const manta_options *options, manta_class *cls, const void *arguments, size_t extra_bytes, uint64_t uid, spawn_parent parent);
/* Around a spawn: the wait until init has run; MANTA_EINIT, with why it failed, however soon that was. Kills the actor when the wait fails. Of one that was made elsewhere nothing is waited for. */
void spawn_watch_init(void);
manta_status spawn_await_init(manta_actor made);
manta_class *class_named(manta_str name); /* dynamic.c; NULL: this program has none */
future *dynamic_call(worker *w, manta_actor to, const manta_class *cls, const char *name,
    manta_bytes payload);               /* by name, to an actor of that class; NULL: error_set says why not */
actor *actor_new(worker *w);            /* a slot with its mailbox taken; NULL: limit or memory */
actor_extra *actor_extra_get(actor *a); /* owner; made at first use; NULL: out of memory */
void actor_free(worker *w, actor *a);
void actors_trim(void);                        /* after the pool has stopped: the records that bounded slots kept */
future *actor_started(worker *w, uint64_t id); /* completes when init has run, or fails with MANTA_EINIT; NULL: out of memory */
void runtime_report(const char *format, ...) MANTA_PRINTF(1, 2);

/* ---- task.c ---- */
struct stream;
bool task_spawn(worker *w, message *m, manta_priority priority, struct stream *s); /* takes m when true */
struct demand;
bool task_launch(
    worker *w, message *m, manta_priority priority, uint64_t process, struct demand *d); /* process 0: this one; d: on the cluster */
void stream_finish(worker *w, struct stream *s, const manta_error *error);               /* stream.c */
void streams_stop(void);
void scope_release_streams(activation *act, struct held_stream *outer); /* those newer than `outer` */

future *attempt_start(worker *w, const manta_options *o, uint64_t to_or_0_for_task, const manta_method *m, const void *arguments,
    size_t extra_bytes, struct demand *d); /* NULL: last_error says why */
future *attempt_again(worker *w, const manta_options *o, const manta_method *m, const void *arguments, size_t extra_bytes,
    struct demand *d);                          /* a task whose lost outputs are wanted: nothing is noted of it */
void attempt_becomes(future *u, manta_ref ref); /* u's answer will be that object */
void attempts_stop(void);                       /* after the pool has stopped */
bool attempt_cancel(future *u, bool force);     /* attempt.c: u stands for a retried or timed call; false: it does not */

/* ---- system.c ---- */
const char *runtime_start_failure(void); /* why the last manta_init failed */

extern manta_class *class_list;
extern manta_method *task_list;
extern pthread_mutex_t registry_lock;

/* ---- relation.c ---- */
/* Payload of every relation message; a text follows. */
typedef struct relation {
    uint64_t who;     /* EXIT, DOWN: who exited; LINK, UNLINK: the partner; MONITOR: the watcher */
    uint64_t monitor; /* id */
    const manta_method *method;
    int32_t status;
    uint32_t text_bytes;
    char text[];
} relation;
void relation_handle(worker *w, actor *a, message *m);                             /* KIND_LINK .. KIND_WATCH */
void relation_dead(worker *w, uint64_t to, message *m, const manta_error *reason); /* such a message for a dead actor */
void relation_exit(worker *w, actor *a, uint64_t id, manta_status status,
    const manta_error *error); /* id: what it was, its generation has moved on; tells links, monitors, waiters; frees names */
void complete_watch(worker *w, future *f, manta_status status);
manta_status watch_exit(worker *w, uint64_t who, future *f); /* completes f when `who` has exited; MANTA_ENOMEM: f is untouched */
bool relation_link_at_spawn(actor *child, uint64_t parent, bool supervised); /* the calling actor's new child */
/* A new child of an actor in another process: the child's half before it is published, then the news, before it runs; and the parent's half when it hears of the child. */
bool relation_parent(actor *child, uint64_t parent, bool supervised);
void relation_tell_parent(worker *w, uint64_t child, uint64_t parent);
void relation_made_elsewhere(uint64_t child);
/* A signal that came from elsewhere, or is made in the place of somebody who is gone: KIND_LINK .. KIND_DOWN. Nothing happens when `to` is dead. */
void relation_signal(
    worker *w, int kind, uint64_t to, uint64_t who, uint64_t monitor_id, const manta_method *method, manta_status status, const char *text);

/* ---- object.c ---- */
void refs_in_flight(const manta_layout *layout, void *value); /* a message or result takes its refs along */
/* And gives them to the receiver's scope; resolves views, which may wait. On failure last_error is set; the counts are taken over all the same. */
manta_status refs_arrived(const manta_layout *layout, void *value, activation *act);
void arguments_arrived(const manta_method *method, void *arguments, activation *act); /* the same; the handler fails when it fails */
void refs_dropped(const manta_layout *layout, void *value);
void scope_release_refs(activation *act);
void scope_release_refs_until(activation *act, struct held_ref *outer); /* the newer ones */
manta_status objects_start(const manta_config *config);                 /* error_set says why not */
bool objects_move(const char *store_path); /* before there is an object: from the table in memory to that store. False: it cannot be used */
bool objects_were_made(void);              /* by user code here, since the start */
void objects_quiet(void);                  /* its threads let go of futures; before the pool stops */
void objects_stop(void);

void packer_free(struct packer *k); /* actor/node */

/* ---- trace.c ---- */
enum { TRACE_SPAWN, TRACE_EXIT, TRACE_SUSPEND, TRACE_RESUME, TRACE_BEGIN, TRACE_END };
void trace_event(worker *w, int event, uint64_t actor, const char *cls, const char *method);
void trace_start(void);         /* when the pool has started */
void trace_stop(void);          /* when it has stopped; also forgets what actor/inspect holds */
void trace_ring_free(local *l); /* the thread's record goes */
#define TRACE(level, w, event, id, cls, method) \
    do { \
        if (unlikely(__atomic_load_n(&the_runtime.trace_level, __ATOMIC_RELAXED) >= (level))) trace_event(w, event, id, cls, method); \
    } while (0)

#endif
