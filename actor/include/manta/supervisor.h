/*
 * Supervisors, as in OTP: an actor that starts children in order, restarts them by a strategy, and gives up when they fail too often.
 *
 * Defaults are OTP's: one_for_one, 1 restart in 5 s, permanent children, 5000 ms to stop. A supervisor that gives up stops its children, newest
 * first, and exits with MANTA_ERESTARTS, which its own supervisor sees. Functions may be called from handlers (they suspend) and other threads.
 *
 * Children may be anywhere: the spawn options of a child say where, as those of any spawn (process; on a cluster labels, node, where, resources, placement_group, isolated). One that says nothing is in its
 * supervisor's process. A child that exits, whose process or node dies, or cannot be reached for 2 s, is started again by its options: on another node when they allow it. Supervisors may be children elsewhere,
 * with children of their own. All functions work on a supervisor in another process.
 *
 * A start that fails (init, no place within spawn.timeout_ms, a process that is gone) counts as a failure, and is tried again after the backoff, at least 10 ms. Meanwhile the supervisor goes on with its other
 * children; with one_for_all and rest_for_one changes to them come one after the other. A child bound to a process that has gone (options.process) can never start again: its supervisor gives up, and says which.
 *
 * A child ends with its supervisor, however that ends: also when the supervisor's process is killed or cut off, and when the child traps exits: it is killed when it has not ended 5 s after the exit signal.
 * Restartable and durable actors are restarted by the cluster, and cannot be children on one.
 */
#ifndef MANTA_SUPERVISOR_H
#define MANTA_SUPERVISOR_H

#include <manta/types.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum manta_strategy {
    MANTA_ONE_FOR_ONE = 0,   /* the failed child restarts */
    MANTA_ONE_FOR_ALL,       /* all children stop and restart */
    MANTA_REST_FOR_ONE,      /* the failed child and those started after it restart */
    MANTA_SIMPLE_ONE_FOR_ONE /* children are added while it runs, all from one spec; each for itself */
} manta_strategy;

typedef enum manta_restart {
    MANTA_PERMANENT = 0, /* restarts always */
    MANTA_TRANSIENT,     /* restarts after an abnormal exit */
    MANTA_TEMPORARY      /* never */
} manta_restart;

#define MANTA_STOP_NOW UINT32_MAX /* shutdown_ms: kill at once (OTP's brutal_kill) */

typedef struct manta_child_options {
    size_t size;    /* sizeof(manta_child_options), or 0 */
    const char *id; /* unique among the children; NULL: the class's name plus a number */
    manta_restart restart;
    uint32_t shutdown_ms; /* time to stop before it is killed; 0: 5000 */
    const manta_options *
        spawn; /* options of the spawn (name, concurrency, place, ...); copied; NULL: defaults. timeout_ms: so long a start waits for a place; 0: 5000 */
} manta_child_options;
#ifndef __cplusplus
#define MANTA_CHILD(...) (&(const manta_child_options){.size = sizeof(manta_child_options), __VA_ARGS__})
#endif

typedef struct manta_supervisor_options {
    size_t size;      /* sizeof(manta_supervisor_options), or 0 */
    const char *name; /* registered name of the supervisor; NULL: none */
    manta_strategy strategy;
    uint32_t intensity; /* restarts allowed within period_ms; 0: 1. UINT32_MAX: no limit */
    uint32_t period_ms; /* 0: 5000 */
    uint32_t backoff_min_ms,
        backoff_max_ms;    /* pause before a restart: doubles from min to max, back to min after a quiet period; 0: none */
    double backoff_jitter; /* 0..1: each pause is multiplied by a random factor in [1 - jitter, 1 + jitter] */
} manta_supervisor_options;
#ifndef __cplusplus
#define MANTA_SUPERVISOR(...) (&(const manta_supervisor_options){.size = sizeof(manta_supervisor_options), __VA_ARGS__})
#endif

/* How to start one child. Made by Counter_child(options, arguments...); handed over to the function that takes it, or freed. */
typedef struct manta_child_spec {
    struct manta_child_spec_data *data;
} manta_child_spec;
MANTA_EXPORT manta_child_spec manta_child_spec_make(
    const manta_child_options *options, manta_class *cls, const void *arguments, size_t extra_bytes);
MANTA_EXPORT void manta_child_spec_free(manta_child_spec *spec); /* clears *spec; an empty one is fine */
/* A supervisor as a child of another, in the process that options->spawn says; options and specs are copied and the specs freed, also on failure (an empty spec; last_error says why). At most 16 below each other. */
MANTA_EXPORT manta_child_spec manta_supervisor_child(
    const manta_child_options *options, const manta_supervisor_options *supervisor, manta_child_spec *specs, size_t count);

/* Starts a supervisor and its children in order, linked to the calling actor when there is one. Takes the specs (all are freed or kept, also on failure). Returns when every
 * child has been initialised; a child whose init fails stops the others and gives MANTA_EINIT with the cause. */
MANTA_EXPORT manta_status manta_supervisor_start(
    const manta_supervisor_options *options, manta_child_spec *specs, size_t count, manta_actor *out);

typedef struct manta_child_info {
    char id[128];
    manta_actor actor;      /* {0}: not running */
    const char *class_name; /* static; of a class that this program lacks: of the caller's scope */
    manta_restart restart;
    uint32_t restarts; /* since it was added; a start that failed and was tried again counts too */
} manta_child_info;

/* Of a supervisor in any process. All wait for its answer: MANTA_EDEAD when it is gone, MANTA_EUNKNOWN when its process dies meanwhile. A change to a child waits for one to the same child that is under way. */

/* Adds and starts a child (takes the spec), also elsewhere; for MANTA_SIMPLE_ONE_FOR_ONE any number from specs of the same class. */
MANTA_EXPORT manta_status manta_supervisor_add(manta_actor supervisor, manta_child_spec *spec, manta_actor *out);
MANTA_EXPORT manta_status manta_supervisor_terminate(
    manta_actor supervisor, const char *id); /* stops the child, keeps its spec; MANTA_ENOTFOUND */
MANTA_EXPORT manta_status manta_supervisor_restart(
    manta_actor supervisor, const char *id); /* starts a terminated child; MANTA_EEXIST: it runs */
MANTA_EXPORT manta_status manta_supervisor_remove(
    manta_actor supervisor, const char *id); /* forgets a terminated child; MANTA_EEXIST: it runs */
/* The running actor of a child, which changes with each restart: after one, ask again, or give the child a name (spawn.name) and use manta_lookup. MANTA_ENOTREADY: it does not run now; MANTA_ENOTFOUND. */
MANTA_EXPORT manta_status manta_supervisor_child_actor(manta_actor supervisor, const char *id, manta_actor *out);
/* Fills at most `capacity` records in start order and says how many there are. Many are fetched in portions, between which they may change. */
MANTA_EXPORT manta_status manta_supervisor_children(manta_actor supervisor, manta_child_info *out, size_t capacity, size_t *out_count);

#ifdef __cplusplus
}
#endif
#endif
