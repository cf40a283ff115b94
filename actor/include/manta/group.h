/*
 * Groups, publish/subscribe and actor pools inside the process.
 *
 * Any thread and any handler may call these; none waits. Members and subscribers leave by themselves when they exit.
 */
#ifndef MANTA_GROUP_H
#define MANTA_GROUP_H

#include <manta/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Named groups of actors; a name is 1..127 bytes; an actor may be in many groups, once in each (MANTA_EEXIST). */
MANTA_EXPORT manta_status manta_group_join(const char *group, manta_actor actor);
MANTA_EXPORT manta_status manta_group_leave(const char *group, manta_actor actor); /* MANTA_ENOTFOUND */
/* At most `capacity` members in order of joining; *out_count is how many there are. An unknown group has 0. */
MANTA_EXPORT manta_status manta_group_members(const char *group, manta_actor *out, size_t capacity, size_t *out_count);

/* manta_subscribe("prices", Watcher_on_price): the calling actor's one-argument method is called with every value published from now on. Handler only. */
#define manta_subscribe(topic, method) manta_subscribe_method(topic, &method##_method)
/* manta_publish("prices", Price, value): sends `value` (of type T) to every subscriber whose method takes a T; FIFO per publisher. *out_count: sent to so many; may be NULL. */
#define manta_publish(topic, T, value, out_count) \
    ({ \
        __extension__ struct { \
            T v; \
        } __attribute__((aligned(16))) publish_ = {(value)}; \
        manta_publish_value(topic, #T, &publish_, sizeof publish_, MPP_CAT(manta_extra_, T)(&publish_.v), out_count); \
    })
MANTA_EXPORT manta_status manta_subscribe_method(
    const char *topic, const manta_method *method);             /* MANTA_ETYPE: not one argument; MANTA_EEXIST */
MANTA_EXPORT manta_status manta_unsubscribe(const char *topic); /* handler only; MANTA_ENOTFOUND */
MANTA_EXPORT manta_status manta_publish_value(
    const char *topic, const char *type_name, const void *value, size_t size_bytes, size_t extra_bytes, size_t *out_count);

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
