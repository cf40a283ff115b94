/*
 * The control store: small facts that a whole cluster agrees on and that outlive any of its processes: key-value pairs, locks, names of actors.
 *
 * In a cluster it is replicated on 1, 3 or 5 node daemons (Raft): what a function has acknowledged survives the loss of any minority of them, and every read sees all that was acknowledged before it began. A system
 * that belongs to no cluster has a control store of its own, in its memory. Not for bulk data: a value has at most 1 MiB; each function is a round trip to the leader (commands: and a disk write on a majority).
 *
 * All functions may be called from handlers, which are suspended meanwhile, and from other threads, which block. Each waits at most 10 s for a leader, then fails with MANTA_ETIMEDOUT, or MANTA_EUNKNOWN when a change may
 * have been made. While the leader changes they just take longer (up to about a second). They retry by themselves, and a change is made once. Spaces, keys, names: 1..127 bytes (keys: 1..1023).
 */
#ifndef MANTA_CONTROL_H
#define MANTA_CONTROL_H

#include <manta/actor.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- key-value pairs; a space is a set of keys of its own ---- */

#define MANTA_REVISION_ANY UINT64_MAX /* no condition */
#define MANTA_REVISION_NONE 0         /* the key must not exist */

/* Sets a key if its revision is `expected` (of an earlier get or put; MANTA_REVISION_ANY, MANTA_REVISION_NONE). *out_revision (may be NULL): the new one. MANTA_ESTALE: it has another revision; MANTA_ETOOLONG; MANTA_ELIMIT: the store is full. */
MANTA_EXPORT manta_status manta_kv_put(
    const char *space, const char *key, const void *value, size_t size_bytes, uint64_t expected, uint64_t *out_revision);
/* *out_value lives until the scope ends. MANTA_ENOTFOUND. out_revision may be NULL. */
MANTA_EXPORT manta_status manta_kv_get(const char *space, const char *key, manta_bytes *out_value, uint64_t *out_revision);
/* Removes a key if its revision is `expected`. MANTA_ENOTFOUND, MANTA_ESTALE. */
MANTA_EXPORT manta_status manta_kv_delete(const char *space, const char *key, uint64_t expected);

typedef struct manta_kv_item { /* memory: the scope's */
    const char *key;
    manta_bytes value;
    uint64_t revision;
} manta_kv_item;
/* Keys that begin with `prefix` ("": all), in order, from behind `after` on (NULL: the first), at most `capacity` of them; *out_more: there are others behind them. */
MANTA_EXPORT manta_status manta_kv_list(
    const char *space, const char *prefix, const char *after, manta_kv_item *out, size_t capacity, size_t *out_count, bool *out_more);

/* What a watch tells: a key was set, or is gone (then the value is empty). */
MANTA_STRUCT(manta_kv_change, (manta_str, key), (manta_bytes, value), (uint64_t, revision), (bool, is_gone))
/* manta_kv_watch("config", "limits/", Worker_on_limit): the calling actor's method, which takes one manta_kv_change, is called for every key of that prefix that is there, and then for every change, in
 * order. After a loss of the connection the difference is told; a key that changed more than once meanwhile is told once. Handler only. Ends with the actor, or by manta_kv_unwatch. */
#define manta_kv_watch(space, prefix, method) manta_kv_watch_method(space, prefix, &method##_method)
MANTA_EXPORT manta_status manta_kv_watch_method(
    const char *space, const char *prefix, const manta_method *method);            /* MANTA_ETYPE, MANTA_ELIMIT */
MANTA_EXPORT manta_status manta_kv_unwatch(const char *space, const char *prefix); /* handler only; MANTA_ENOTFOUND */

/* ---- locks ---- */

/*
 * A lock that is held is renewed by itself until it is released or its process ends; then it is free after lease_ms at the latest. A holder that was cut off may not know yet that another has it: so whatever the lock
 * guards must check `token`, which grows with every grant, and refuse smaller ones (fencing). Without that check a lock is only advice.
 */
typedef struct manta_lock {
    uint64_t token; /* 0: not held */
    uint64_t id;    /* the library's */
} manta_lock;
/* Waits in line until the lock is free, at most timeout_ms. lease_ms: 100 to 3600000; 0: 10000. MANTA_ETIMEDOUT. */
MANTA_EXPORT manta_status manta_lock_acquire(const char *name, uint32_t lease_ms, uint64_t timeout_ms, manta_lock *out);
MANTA_EXPORT manta_status manta_lock_release(manta_lock *lock); /* clears it. MANTA_ESTALE: it was lost before */
MANTA_EXPORT bool manta_lock_is_held(const manta_lock *lock);   /* as far as this process knows: false once the lease has run out here */

/* ---- names of actors in the cluster ---- */

/* A spawn with options.name in a job on a cluster does this by itself, in the namespace of the job (manta_namespace). Names are unique in a namespace; they are gone with the actor, its process or its node. MANTA_EEXIST: another living actor has the name. The actor must live in this process (MANTA_EDEAD). */
MANTA_EXPORT manta_status manta_register_in_cluster(const char *name_space, const char *name, manta_actor actor);
MANTA_EXPORT manta_status manta_lookup_in_cluster(const char *name_space, const char *name, manta_actor *out); /* MANTA_ENOTFOUND */

#ifdef __cplusplus
}
#endif
#endif
