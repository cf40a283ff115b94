/*
 * What the files of scheduler/pool share. See pool.h for the module.
 */
#ifndef MANTA_POOL_INTERNAL_H
#define MANTA_POOL_INTERNAL_H

#include "scheduler/pool/pool.h"
#include "scheduler/pool/sim.h"

enum { POOL_SPARE_FIBERS = 16, POOL_SPARE_THREADS = 256 };

/* What worker_abandon leaves for the fiber that it switches to. */
typedef struct abandoned {
    suspend_commit then;
    void *argument;
    fiber *fiber;
} abandoned;

struct pool_thread {
    pthread_t handle;
    fiber base;            /* the thread's own stack */
    _Atomic uint32_t wake; /* bits of enum thread_wake in thread.c */
    worker *assigned;      /* the worker this thread shall serve next */
    worker *external;      /* its record while it runs blocking code; made when first needed */
    runnable *unblocked;   /* to be queued once its fiber is saved */
    abandoned abandoned;
    pool_thread *next_spare, *next;
};

/* queue.c */
void global_push(runnable *first, runnable *last, long count, int priority);
runnable *global_pop(worker *w);
runnable *global_pop_one(worker *w, int priority);
runnable *ring_pop(worker *w);
runnable *ring_steal(worker *w, worker *victim);
runnable *external_pop(worker *w); /* what plain threads queued */
runnable *private_pop(worker *w);
void private_push(worker *w, runnable *r);
bool pool_has_work(const worker *w);             /* in a queue that w could take from without being its owner */
bool worker_is_stealable(const worker *w);       /* thieves find something in its queues */
bool worker_holds_work(const worker *w);         /* the owner: anything that it alone, or it too, could run */
void worker_give_away(worker *w);                /* everything it holds to the global list */
bool worker_rescue(worker *self, worker *stuck); /* what only `stuck` could run to the global list; false: nothing. One thread at a time */
void pool_wake_one(worker *w);
void pool_wake_worker(worker *target);
void pool_maybe_wake(worker *w);
void pool_fence(void);

static inline bool ring_is_empty(worker *w) { return load_relaxed(&w->ring_head) == load_relaxed(&w->ring_tail); }
static inline bool worker_is_resting(const worker *w) { return w->index >= load_relaxed(&the_pool.active_limit); }

/* find.c */
runnable *worker_next(worker *w);

/* mute.c */
void mute_take_inbox(worker *w);
void mute_scan(worker *w);
void mute_release(worker *w); /* all of them, cooled or not */

/* suspend.c */
_Noreturn void worker_loop(void *argument);
void worker_leave(worker *w); /* to the thread's base fiber */
/* On the thread's base fiber: runs the scheduling loop of the worker in worker_tls until it is left. False: the thread lost its worker to
 * another and left a blocking section: t->unblocked is set. w->spare must not be empty. */
bool worker_serve(pool_thread *t);
bool spare_reserve(worker *w); /* makes sure that w has one */
void spares_free(worker *w);

/* timers.c */
bool timers_init(worker *w);
void timers_run(worker *w, worker *owner, uint64_t now_ns);

/* thread.c */
bool pool_thread_start(worker *assigned);
void pool_threads_stop(void);

/* external.c */
worker *external_worker(void);
worker *external_take(void); /* a record for the calling thread that is not in worker_tls; NULL: out of memory */
void external_put(worker *w);
bool external_workers_start(void);
void external_workers_stop(void);
worker *worker_new(int index);
bool worker_user_start(worker *w); /* options.worker_start and worker_stop, in pairs */
void worker_user_stop(worker *w);
extern worker *_Atomic external_list;

/* rescue.c: the monitor's side */
void rescue_init(void);
bool rescue_begin(worker *stuck); /* true: the queues are the caller's until rescue_end, which must follow in any case */
void rescue_end(worker *stuck);

/* monitor.c */
bool monitor_start(void);
void monitor_stop(void);
void monitor_poke(void); /* a worker left its parking place */

/* sim.c: deterministic mode */
bool sim_start(void);
void sim_stop(void);
void sim_ready(runnable *r);
runnable *sim_next(worker *w);

#endif
