/*
 * Groups, publish/subscribe and actor pools.
 *
 * Any thread and any handler may call these; only manta_publish waits, like a send, when the link to another process is full. Members and subscribers leave by themselves when they exit.
 *
 * Groups and topics reach over the processes that are connected with each other, and over those of one job; each process says which of its own actors are members. What a process does is known in another before
 * the answer of a call that it made or served afterwards; those that share only a third process (workers of a job) are brought together when both use a name, some milliseconds later. Members of a process that is
 * lost are gone when the loss is noticed (2 s). See docs/decisions/0011-groups.md.
 */
#ifndef MANTA_GROUP_H
#define MANTA_GROUP_H

#include <manta/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Named groups of actors; a name is 1..127 bytes; an actor of this process may be in many groups, once in each (MANTA_EEXIST; MANTA_EUNSUPPORTED: an actor of another process). */
MANTA_EXPORT manta_status manta_group_join(const char *group, manta_actor actor);
MANTA_EXPORT manta_status manta_group_leave(const char *group, manta_actor actor); /* MANTA_ENOTFOUND */
/* At most `capacity` members, in the order in which this process heard of them; *out_count is how many there are. An unknown group has 0. */
MANTA_EXPORT manta_status manta_group_members(const char *group, manta_actor *out, size_t capacity, size_t *out_count);

/* manta_subscribe("prices", Watcher_on_price): the calling actor's one-argument method is called with every value published from now on. Handler only. */
#define manta_subscribe(topic, method) manta_subscribe_method(topic, &method##_method)
/* manta_publish("prices", Price, value): sends `value` (of type T) to every subscriber whose method takes a T; FIFO per publisher, once to each. *out_count: sent to so many; may be NULL. MANTA_EUNSUPPORTED: a T with objects, and subscribers in other processes (those here have it). */
#define manta_publish(topic, T, value, out_count) \
    ({ \
        __extension__ struct { \
            T v; \
        } __attribute__((aligned(16))) publish_ = {(value)}; \
        manta_publish_value(topic, #T, &publish_, sizeof publish_, MPP_CAT(manta_extra_, T)(&publish_.v), \
            MPP_CAT(MANTA_HAS_, T) & 2 ? NULL : (void (*)(manta_writer *, const void *))MPP_CAT(manta_pack_, T), out_count); \
    })
MANTA_EXPORT manta_status manta_subscribe_method(
    const char *topic, const manta_method *method);             /* MANTA_ETYPE: not one argument; MANTA_EEXIST */
MANTA_EXPORT manta_status manta_unsubscribe(const char *topic); /* handler only; MANTA_ENOTFOUND */
MANTA_EXPORT manta_status manta_publish_value(const char *topic, const char *type_name, const void *value, size_t size_bytes,
    size_t extra_bytes, void (*pack)(manta_writer *, const void *), size_t *out_count); /* pack NULL: not to other processes */

/* A pool: several actors of one class behind one choice. */
typedef enum manta_pool_policy {
    MANTA_POOL_ROUND_ROBIN = 0,
    MANTA_POOL_RANDOM,
    MANTA_POOL_LEAST_QUEUED /* the shorter queue of two picked at random */
} manta_pool_policy;
typedef struct manta_pool manta_pool;

/* Makes a pool of `count` running actors (1..65536). The pool does not own them. MANTA_EINVAL, MANTA_ENOMEM. */
MANTA_EXPORT manta_status manta_pool_new(const manta_actor *actors, size_t count, manta_pool_policy policy, manta_pool **out);
MANTA_EXPORT manta_actor manta_pool_pick(manta_pool *pool); /* the next living actor by the policy; {0}: all are dead */
MANTA_EXPORT manta_actor manta_pool_pick_key(
    manta_pool *pool, uint64_t key);                         /* the same living actor for the same key (rendezvous hashing) */
MANTA_EXPORT manta_status manta_pool_stop(manta_pool *pool); /* manta_stop for all */
MANTA_EXPORT void manta_pool_free(manta_pool **pool);        /* clears *pool; NULL is fine */

#ifdef __cplusplus
}
#endif
#endif
