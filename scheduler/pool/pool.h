/*
 * The work-stealing pool: worker threads that run runnables, each on a fiber that it may leave suspended.
 *
 * A runnable is in exactly one place: queued, running, suspended (whoever will wake it holds it) or at rest (its owner holds it). Who
 * holds it calls worker_ready* once to queue it. The pool calls options.run(worker, runnable) on a fiber; that function may call
 * worker_suspend. There is one pool per process at a time. Policies are measured choices, see docs/decisions/0003-scheduling.md.
 */
#ifndef MANTA_POOL_H
#define MANTA_POOL_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "scheduler/base/atomics.h"
#include "scheduler/base/deque.h"
#include "scheduler/base/rng.h"
#include "scheduler/base/slab.h"
#include "scheduler/os/fiber.h"
#include "scheduler/os/os.h"
#include "scheduler/os/timer_wheel.h"

enum { POOL_MAX_WORKERS = 64, POOL_RING = 256, POOL_CACHES = 4 };

/* Embedded at the front of what runs. `fiber` set: continue that fiber; NULL: call options.run. */
typedef struct runnable {
    struct runnable *next; /* whoever holds it may use this */
    struct fiber *fiber;
    _Atomic uint8_t home; /* worker that ran it last, plus 1; 0: none yet */
    _Atomic uint8_t hot;  /* its backlog outlived a turn: senders hold back */
    uint8_t sticky;       /* turns left on its worker's private queue */
    uint8_t priority;     /* RUN_NORMAL, RUN_HIGH, RUN_LOW */
    uint32_t flags;       /* the owner's */
} runnable;

enum { RUN_NORMAL, RUN_HIGH, RUN_LOW };

/* Numbers that steer scheduling; each can be set by environment MANTA_POLICY_<NAME> for experiments. */
typedef struct pool_policy {
    int lifo_cap;     /* LIFO slot turns in a row while the ring holds work */
    int batch;        /* messages a turn */
    int slice_us;     /* time a turn */
    int send_budget;  /* sends before a handler yields */
    int mute_us;      /* most time a sender waits for a hot receiver */
    int sticky;       /* turns on the private queue after following a hot receiver */
    int spin;         /* rounds of looking for work before parking */
    int bad_steal_us; /* a steal whose work was shorter was a bad one */
    int doze_us;      /* longest doze after bad steals */
    int consolidate;  /* 1: the monitor may put workers to rest when fewer are faster */
    int monitor;      /* 0: no monitor thread (tests: it would paper over a lost wake-up) */
} pool_policy;

#if defined(__SANITIZE_THREAD__)
#define POOL_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define POOL_TSAN 1
#endif
#endif

typedef struct worker worker;

typedef struct pool_options {
    int workers;                         /* 1..POOL_MAX_WORKERS */
    uint64_t seed;                       /* not 0: deterministic mode, see sim.h */
    void (*run)(worker *w, runnable *r); /* one turn of a runnable; w->current, its home and the send budget are set */
    bool (*worker_start)(worker *w);     /* makes w->user; also for external threads' records; any thread; false: out of memory */
    void (*worker_stop)(worker *w);      /* the reverse; any thread */
    void (*on_tick)(uint64_t now_ns);    /* from the monitor, about every 10 ms while anything runs */
    uint32_t stack_bytes;                /* 0: default */
} pool_options;

/* What happens on the next fiber once the suspended one is saved: queues r, or publishes it to whoever will. Must not suspend. */
typedef void (*suspend_commit)(worker *w, runnable *r, void *argument);

typedef struct pool_thread pool_thread;

struct worker {
    /* the owner's hot words */
    runnable *lifo;
    runnable *current;
    fiber *fiber; /* what this thread runs on */
    int send_budget;
    uint32_t streak;                        /* LIFO turns in a row */
    uint16_t index;                         /* in the pool; of external records: POOL_MAX_WORKERS and above */
    uint8_t external;                       /* 1: a thread that is no worker; 2: deterministic mode's only worker */
    uint8_t in_use;                         /* of external records: a thread has it */
    uint8_t started;                        /* options.worker_start was called */
    _Atomic uint8_t in_scheduler, in_ready; /* the owner is where the unstealable queues change; see rescue.c */
    _Atomic uint8_t rescue;                 /* the monitor takes from these queues, or waits to */
    void *user;                             /* the upper layers' */
    _Atomic uint32_t tick;                  /* turns; others read it to see whether the worker moves */
    runnable *private_head, *private_tail;  /* unstealable: followers of hot receivers */
    runnable *muted_head, *muted_tail;
    fiber *spare; /* list of fibers that wait in the scheduling loop */
    uint32_t spares;
    suspend_commit commit;
    runnable *commit_runnable;
    void *commit_argument;
    slab_cache caches[POOL_CACHES];
    uint64_t steal_ticks, steal_messages; /* when the last steal began (0: not stolen), and the count of messages then */
    uint64_t clock_ticks;                 /* when timers were looked at */
    uint64_t spawn_ticks, oldest_ticks;   /* since when the spawn deque holds work; when its oldest was taken */
    uint32_t doze_us;
    _Atomic uint64_t turns, steals, parks, wakes, switches, messages, remote_sends, sends; /* counters: owner writes */
    rng random;
    pool_thread *thread;
    fiber *thread_fiber; /* of external records: describes the thread's own stack */
    struct worker *next_external;
    /* shared with thieves */
    _Alignas(CACHE_PAIR) _Atomic uint32_t ring_head;
    _Alignas(CACHE_PAIR) _Atomic uint32_t ring_tail;
    _Alignas(CACHE_PAIR) _Atomic(runnable *) ring[POOL_RING];
    deque spawned;
    _Alignas(CACHE_PAIR) _Atomic uint32_t park_word;
    _Alignas(CACHE_PAIR) _Atomic(runnable *) inbox; /* muted senders that follow to this worker */
    _Alignas(CACHE_PAIR) pthread_mutex_t timer_lock;
    timer_wheel wheel;
    _Atomic uint64_t timer_next_ns; /* lower bound of the earliest deadline; UINT64_MAX: none */
};

typedef struct pool {
    _Alignas(CACHE_PAIR) _Atomic int searching;
    _Alignas(CACHE_PAIR) _Atomic uint64_t idle; /* bit per parked worker */
    _Alignas(CACHE_PAIR) pthread_mutex_t lock;  /* guards the global queues */
    runnable *head[3], *tail[3];                /* by priority */
    struct {
        _Alignas(CACHE_PAIR) _Atomic long count; /* a line each: every pick reads that of RUN_HIGH */
    } queued[3];
    _Alignas(CACHE_PAIR) int workers;
    bool is_running;          /* under external.c's lock */
    _Atomic int active_limit; /* workers above it rest; see consolidate.c */
    _Atomic int stopping;
    uint64_t ticks_per_us;
    pool_policy policy;
    pool_options options;
    worker *worker[POOL_MAX_WORKERS];
} pool;

extern pool the_pool;
/* Read by worker_self only: initial-exec, because a call into the dynamic linker per send would show. */
extern _Thread_local worker *worker_tls __attribute__((tls_model("initial-exec")));

/* Starts the threads. False: out of memory or threads; nothing is left behind. */
bool pool_start(const pool_options *options);
/* Ends the threads. Every runnable must be at rest, every timer fired or cancelled, and no other thread may use the pool meanwhile. */
void pool_stop(void);
/* The policy from defaults and environment. */
pool_policy pool_policy_default(void);

/* The calling thread's record: a worker's, or an external one (made at first use; NULL: out of memory). While no pool runs it is a bare
 * one: its caches work, `user` is NULL; pool_start runs worker_start for the threads that have one already. Not inlined: a suspended
 * fiber may go on on another thread, so the result must not be kept over a suspension. */
worker *worker_self(void);

/* Monotonic time; virtual in deterministic mode. */
uint64_t pool_now_ns(void);

/* Queues a runnable that the caller holds. ready: next on this worker; fifo: behind others; spawned: newest first, stolen oldest first;
 * slow: global queue. */
void worker_ready_slow(worker *w, runnable *r);
void worker_ready_fifo(worker *w, runnable *r);
void worker_ready_spawned(worker *w, runnable *r);
void worker_ready_priority(worker *w, runnable *r); /* by r->priority */
void ring_push(worker *w, runnable *r);

/* The owner enters and leaves a section in which the monitor must not touch its unstealable queues: a biased lock, whose other side pays
 * with a membarrier. ThreadSanitizer does not know that system call: a real lock stands in. */
void rescue_wait(worker *w, _Atomic uint8_t *announcement);
static inline void rescue_enter(worker *w, _Atomic uint8_t *announcement)
{
#ifdef POOL_TSAN
    rescue_wait(w, announcement);
#else
    store_relaxed(announcement, 1);
    atomic_signal_fence(memory_order_seq_cst);
    if (unlikely(load_acquire(&w->rescue))) rescue_wait(w, announcement);
#endif
}
void rescue_leave_locked(worker *w, _Atomic uint8_t *announcement);
static inline void rescue_leave(worker *w, _Atomic uint8_t *announcement)
{
#ifdef POOL_TSAN
    rescue_leave_locked(w, announcement);
#else
    (void)w;
    store_release(announcement, 0);
#endif
}

static inline void worker_ready(worker *w, runnable *r)
{
    if (unlikely(w->external)) {
        worker_ready_slow(w, r);
        return;
    }
    rescue_enter(w, &w->in_ready);
    runnable *before = w->lifo;
    w->lifo = r;
    rescue_leave(w, &w->in_ready);
    if (before) ring_push(w, before);
}

/* Leaves the current fiber suspended and goes on with other work. `commit` runs right after, off the saved fiber, and says by queueing or
 * publishing who wakes it. False: no fiber could be had or the caller is not inside a turn on a worker thread; nothing happened. On
 * return the caller may be on another thread: call worker_self. */
bool worker_suspend(worker *w, suspend_commit commit, void *argument);

/* Leaves the current fiber for ever; `then` runs on a fresh fiber and the abandoned one is reused. */
_Noreturn void worker_abandon(worker *w, suspend_commit then, void *argument);

/* Goes on with fiber f on this thread (the current fiber is pooled): for a runnable that keeps several suspended fibers. From options.run
 * only, which must return at once when this does: by then the thread has long gone on with other things. */
void worker_continue(worker *w, runnable *r, fiber *f);

/* Suspension to the end of the ring, or while `target` is hot (bounded): the sender's side of back-pressure. Nothing happens when no
 * fiber can be had. */
void worker_yield(worker *w);
void worker_mute(worker *w, runnable *target);

/* Around code that blocks the thread: another thread takes over the worker. Between the two the caller is on an external record, so
 * nothing suspends. After the end it may be on any thread. Not nested. Without effect outside a turn, in deterministic mode, and when no
 * thread can be had. */
void worker_blocking_begin(void);
void worker_blocking_end(void);

/* Timers: `fire` runs on some worker (or the monitor), off any turn, and must not block. Any thread may start and cancel. The memory must
 * stay until cancel said true or `fire` is through with it; zero it before the first use. */
typedef struct pool_timer {
    timer_node node;
    worker *owner;
    void (*fire)(worker *w, struct pool_timer *t);
    /* 1 from when it is taken off the wheel until `fire` stores 0 as its last access: for whoever cancelled too late */
    _Atomic uint32_t firing;
} pool_timer;
void pool_timer_start(worker *w, pool_timer *t, uint64_t deadline_ns);
bool pool_timer_cancel(pool_timer *t); /* true: it will not fire */

/* Sum of a counter over all workers and external threads, by its offset in struct worker. */
uint64_t pool_sum(size_t counter_offset);

#endif
