/*
 * Actors that outlive their process. On a cluster an actor of a job, or a detached one, that is RESTARTABLE or DURABLE is started again elsewhere when its worker process or its node dies. Its handles stay good everywhere.
 *
 *   MANTA_ACTOR(Account, int64_t balance;)
 *   MANTA_METHOD(Account, deposit, int64_t, (int64_t, amount)) { return self->balance += amount; }
 *   MANTA_STATE(Account, (int64_t, balance))
 *   MANTA_DURABLE_CLASS(Account, (), deposit)
 *
 * Restartable: `MANTA_CLASS_WITH(Cache, (.durability = MANTA_RESTARTABLE), init, ...)`, or `Cache_spawn_with(MANTA_OPTIONS(.durability = MANTA_RESTARTABLE), ...)`. Its constructor runs again. A call that was under way fails with
 * MANTA_EUNKNOWN, as it may have run, or is sent again up to call_retries times. Calls meanwhile wait until it is there again.
 *
 * Durable: every call is written to a log in the control store, on the disks of a majority, before it runs, and its state there now and then (a checkpoint). After a restart the last checkpoint is restored and the calls behind it run
 * again, in the same order. Calls, one-way ones too, are sent again until they are answered, and one that came twice runs once: each acknowledged call has had its effect on the state exactly once. What a method sends to other durable actors
 * is recognised by them when it runs again. So a method of a durable actor must compute its state from its arguments, its state, and answers of durable actors alone: not from the clock, random numbers, or anything that may
 * differ when it runs again. It runs one call at a time; objects (manta_ref, manta_object) cannot be arguments or results; handles of volatile actors do not outlast their process.
 *
 * Without a cluster, manta_config.durable (MANTA_DURABLE) names a directory of the program's own for log and checkpoints. When a program starts with it, the named and the detached durable actors of the last one are there, in the state of all that was acknowledged, also when it was killed: spawn with `.name` and
 * `.get_if_exists = true`, or manta_lookup. Those without a name end with their program. One process at a time may use the directory. Restartable actors of such a program are plain ones.
 *
 * Dead for good (MANTA_EDEAD, with the reason) is such an actor when it has exited by itself, by manta_stop or manta_kill, when its max_restarts are used up, or with its job, unless it is detached. Only then do monitors and links, and
 * manta_wait_exit, tell of it, and only then its log and checkpoint go. Limits: docs/guarantees.md.
 */
#ifndef MANTA_DURABLE_H
#define MANTA_DURABLE_H

#include <manta/actor.h>

/* MANTA_CHECKPOINT(Account) { manta_pack_int64_t(out, &self->balance); }: writes the state, `self`, as MessagePack to `out`. Runs between two calls; must not wait. All writes together: at most about 1 MiB. */
#define MANTA_CHECKPOINT(C) \
    static void C##_checkpoint_body(const C *self, manta_writer *out); \
    static void C##_checkpoint(const void *self_, manta_writer *out_) { C##_checkpoint_body((const C *)self_, out_); } \
    static void C##_checkpoint_body(const C *self MANTA_UNUSED, manta_writer *out MANTA_UNUSED)

/* MANTA_RESTORE(Account) { manta_unpack_int64_t(in, &self->balance); }: reads what MANTA_CHECKPOINT wrote, into a state that the constructor has just made. Strings and bytes that are read are views which are gone afterwards. */
#define MANTA_RESTORE(C) \
    static void C##_restore_body(C *self, manta_reader *in); \
    static void C##_restore(void *self_, manta_reader *in_) { C##_restore_body((C *)self_, in_); } \
    static void C##_restore_body(C *self MANTA_UNUSED, manta_reader *in MANTA_UNUSED)

/* MANTA_STATE(Account, (int64_t, balance), (uint64_t, calls)): both of the above for these fields of the state: numbers, bools, handles, structs of MANTA_STRUCT made of those; no strings or bytes. */
#define MANTA_STATE(C, ...) \
    MANTA_CHECKPOINT(C) \
    { \
        const C *a_ = self; \
        manta_writer *w_ = out; \
        manta_pack_array(w_, MPP_N(__VA_ARGS__)); \
        MPP_EACH(MANTA_I_PACK, , ##__VA_ARGS__) \
    } \
    MANTA_RESTORE(C) \
    { \
        C *a_ = self; \
        manta_reader *r_ = in; \
        manta_unpack_fields(r_, MPP_N(__VA_ARGS__)); \
        MPP_EACH(MANTA_I_UNPACK, , ##__VA_ARGS__) \
    }

/* MANTA_DURABLE_CLASS(Account, (.checkpoint_calls = 100), init, deposit): MANTA_CLASS_WITH for a durable class, after its MANTA_STATE, or MANTA_CHECKPOINT and MANTA_RESTORE. */
#define MANTA_DURABLE_CLASS(C, options_, ...) \
    MANTA_CLASS_WITH( \
        C, (.durability = MANTA_DURABLE, .checkpoint = C##_checkpoint, .restore = C##_restore, MPP_KEEP options_), ##__VA_ARGS__)

#endif
