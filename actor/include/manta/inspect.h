/*
 * Seeing inside a running system: actors, counters, wait cycles, traces.
 *
 * Everything here reads a moving system: a list is true for each actor at some moment of the call. Any thread; none waits for a handler.
 */
#ifndef MANTA_INSPECT_H
#define MANTA_INSPECT_H

#include <manta/types.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum manta_actor_state {
    MANTA_STATE_IDLE = 0, /* no message */
    MANTA_STATE_QUEUED,   /* has messages, waits for a worker */
    MANTA_STATE_RUNNING,
    MANTA_STATE_WAITING /* a handler is suspended in a wait */
} manta_actor_state;

typedef struct manta_actor_info {
    manta_actor actor;
    const char *class_name; /* "task" for tasks */
    char name[128];         /* "" when not registered */
    manta_actor_state state;
    const char *method;          /* of the handler that runs or waits; "" otherwise */
    uint64_t queue_length;       /* messages not yet taken; counted up to 100,000 */
    uint64_t handled;            /* messages so far */
    uint64_t message_age_ns;     /* since the current handler began (running: to 10 ms) */
    const char *waits_for;       /* "call", "sleep", "futures", "object", "mailbox room", "stream"; "" when not waiting */
    manta_actor waits_for_actor; /* whose answer it waits for; {0}: nobody's in particular */
} manta_actor_info;

/* Fills at most `capacity` records of living actors in order of their slots and says how many live. */
MANTA_EXPORT manta_status manta_list_actors(manta_actor_info *out, size_t capacity, size_t *out_count);
MANTA_EXPORT manta_status manta_actor_describe(manta_actor actor, manta_actor_info *out); /* MANTA_EDEAD */

/* Finds one cycle of actors each of which waits for the next one's answer. Writes at most `capacity` members; *out_count is 0 when there is none. */
MANTA_EXPORT manta_status manta_find_wait_cycle(manta_actor *out, size_t capacity, size_t *out_count);

typedef struct manta_method_stats {
    const char *class_name, *method; /* class_name "" for tasks */
    uint64_t handled, failed;
} manta_method_stats;
/* One record per registered method and task, in order of registration. */
MANTA_EXPORT manta_status manta_method_counters(manta_method_stats *out, size_t capacity, size_t *out_count);

typedef struct manta_stats {
    uint64_t actors_alive, actors_spawned, actors_exited;
    uint64_t messages_handled, dead_letters, failures, dropped;
    uint64_t steals, parks, wakes, suspensions;
    uint64_t fibers, messages_allocated, futures_allocated;
    uint32_t workers;
} manta_stats;
/* Sums over all threads; each number may be a moment old. */
MANTA_EXPORT manta_status manta_read_stats(manta_stats *out);

/* The last dead letters (at most 64 are kept): messages for actors that were gone. */
typedef struct manta_dead_letter {
    manta_actor to, from;
    const char *class_name, *method;
} manta_dead_letter;
MANTA_EXPORT manta_status manta_dead_letters(manta_dead_letter *out, size_t capacity, size_t *out_count);

/* Writes the event rings of all workers as Chrome trace JSON (chrome://tracing, Perfetto). MANTA_EIO with the reason. Level as in manta_config.trace. */
MANTA_EXPORT manta_status manta_trace_dump(const char *path);
MANTA_EXPORT void manta_trace_level(uint32_t level);
/* A hash of all events so far (deterministic mode): equal seeds give equal hashes. */
MANTA_EXPORT uint64_t manta_trace_hash(void);

/* Writes every living actor, one a line, for people. */
MANTA_EXPORT manta_status manta_print_actors(int file_descriptor);

#ifdef __cplusplus
}
#endif
#endif
