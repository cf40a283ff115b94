/*
 * The macros that define actors, methods, tasks, generators and structs that travel. Everything they make is plain, typed C.
 *
 *   MANTA_ACTOR(Counter, int64_t value;)
 *   MANTA_METHOD(Counter, init, void, (int64_t, start))      { self->value = start; }
 *   MANTA_METHOD(Counter, increment, int64_t, (int64_t, by)) { return self->value += by; }
 *   MANTA_CLASS(Counter, init, increment)
 *
 * makes: struct Counter; the handle Counter_ref; Counter_spawn(start), Counter_spawn_with(options, start), Counter_child(options, start);
 * Counter_increment(ref, by) -> manta_int64_t_future, Counter_increment_with(options, ref, by), Counter_increment_send(ref, by)
 * (one way), Counter_increment_after(delay_ms, ref, by) and Counter_increment_every(period_ms, ref, by) -> manta_timer.
 * A class with an init names it first in MANTA_CLASS. Up to 16 fields a method, struct or task and 16 methods a
 * class. A type is one token: int8_t .. uint64_t, double, float, bool, manta_str, manta_bytes, manta_ref, manta_object, manta_actor, a
 * handle (Counter_ref), or a struct made with MANTA_STRUCT.
 * Strings and bytes are copied with the message; inside the body they are valid until the handler returns.
 */
#ifndef MANTA_ACTOR_H
#define MANTA_ACTOR_H

#include <manta/future.h>
#include <manta/pp.h>
#include <manta/runtime.h>
#include <manta/supervisor.h>
#include <manta/types.h>

#include <manta/expand.h>
#include <manta/expand_task.h>

/* MANTA_STRUCT(Point, (double, x), (double, y)): struct Point, its codec, manta_Point_future and manta_Point_stream. */
#define MANTA_STRUCT(S, ...) \
    typedef struct S { \
        MPP_EACH(MANTA_I_FIELD, , ##__VA_ARGS__) \
    } S; \
    MANTA_I_FUNCTIONS(S, manta_i_##S, ##__VA_ARGS__) \
    enum { MANTA_HAS_##S = manta_i_##S##_has }; \
    MANTA_I_TYPE_FORWARDS(S) \
    MANTA_I_HANDLES_OF(S)
/* MANTA_ACTOR(Counter, int64_t value;): struct Counter and its handle type Counter_ref, which may travel too. */
#define MANTA_ACTOR(C, ...) \
    typedef struct C { \
        __VA_ARGS__ \
    } C; \
    typedef struct { \
        manta_actor actor; \
    } C##_ref; \
    MANTA_C_LINKAGE manta_class C##_class; \
    enum { MANTA_HAS_##C##_ref = 0 }; \
    MANTA_UNUSED static inline C##_ref C##_ref_of(manta_actor a_) \
    { \
        C##_ref r_; \
        r_.actor = a_; \
        return r_; \
    } \
    MANTA_UNUSED static inline void manta_pack_##C##_ref(manta_writer *w_, const C##_ref *v_) { manta_pack_manta_actor(w_, &v_->actor); } \
    MANTA_UNUSED static inline void manta_unpack_##C##_ref(manta_reader *r_, C##_ref *v_) { manta_unpack_manta_actor(r_, &v_->actor); } \
    MANTA_UNUSED static inline size_t manta_extra_##C##_ref(const C##_ref *v_) \
    { \
        (void)v_; \
        return 0; \
    } \
    MANTA_UNUSED static inline void manta_relocate_##C##_ref(C##_ref *v_, unsigned char **at_) \
    { \
        (void)v_; \
        (void)at_; \
    } \
    MANTA_UNUSED static inline void manta_refs_##C##_ref(C##_ref *v_, manta_ref_visitor f_, void *c_) \
    { \
        (void)v_; \
        (void)f_; \
        (void)c_; \
    } \
    MANTA_I_HANDLES_OF(C##_ref)

/* Method m of class C with result R: MANTA_METHOD where it is used in this file only; MANTA_METHOD_DECLARE in a header and
 * MANTA_METHOD_DEFINE in one .c file otherwise. After MANTA_METHOD and MANTA_METHOD_DEFINE comes the body, in which `self` is a C *. */
#define MANTA_METHOD(C, m, R, ...) MANTA_I_DECLARE(C, m, C##_##m, R, ##__VA_ARGS__) MANTA_I_DEFINE(C, m, C##_##m, R, ##__VA_ARGS__)
#define MANTA_METHOD_DECLARE(C, m, R, ...) MANTA_I_DECLARE(C, m, C##_##m, R, ##__VA_ARGS__)
#define MANTA_METHOD_DEFINE(C, m, R, ...) MANTA_I_DEFINE(C, m, C##_##m, R, ##__VA_ARGS__)

/* MANTA_CLASS(C, init, m1, m2): registers the class when the program or shared object is loaded. */
#define MANTA_CLASS(C, ...) MANTA_CLASS_WITH(C, (), ##__VA_ARGS__)

/* MANTA_CLASS_WITH(C, (.concurrency = 4, .trap_exit = true), init, m1): with manta_class_options (in C++: in order of declaration). */
#define MANTA_CLASS_WITH(C, options_, ...) \
    static manta_method *const C##_methods[] = {MPP_EACH(MANTA_I_METHOD_REF, C, ##__VA_ARGS__)}; \
    MPP_IF_INIT(MPP_HEAD(__VA_ARGS__)) \
    ()(MANTA_I_PLAIN_SPAWN(C)) MANTA_I_CLASS_OBJECT(C, MPP_KEEP options_, MPP_N(__VA_ARGS__), \
        MPP_IF_INIT(MPP_HEAD(__VA_ARGS__)) (&C##_init_method)(NULL)) __attribute__((constructor)) static void C##_register(void) \
    { \
        manta_register_class(&C##_class); \
    }

/* MANTA_TASK(square, int64_t, (int64_t, x)) { return x * x; }: square_submit(5) and square_submit_with(options, 5). */
#define MANTA_TASK(t, R, ...) MANTA_I_TASK_DECLARE(t, R, ##__VA_ARGS__) MANTA_I_TASK_DEFINE(t, R, ##__VA_ARGS__)
#define MANTA_TASK_DECLARE(t, R, ...) MANTA_I_TASK_DECLARE(t, R, ##__VA_ARGS__)
#define MANTA_TASK_DEFINE(t, R, ...) MANTA_I_TASK_DEFINE(t, R, ##__VA_ARGS__)

/* MANTA_GENERATOR(count_to, int64_t, (int64_t, n)) { for (int64_t i = 0; i < n; i++) manta_yield(int64_t, i); }
 * count_to_start(n) and count_to_start_with(options, n) answer with a manta_int64_t_stream; read it with manta_next. */
#define MANTA_GENERATOR(t, R, ...) MANTA_I_GENERATOR(t, R, ##__VA_ARGS__)

/* Gives one value of type R to the reader of this generator; suspends while stream_limit values wait unread. Returns MANTA_OK, or
 * MANTA_ECANCELLED when nobody will read on: then the body should return. Elsewhere than in a generator of R: fails with MANTA_ECONTEXT. */
#define manta_yield(R, value) \
    ({ \
        R yield_ = (value); \
        manta_yield_value(MPP_STR(R), &yield_, sizeof yield_, MPP_CAT(manta_extra_, R)(&yield_)); \
    })

/* MANTA_BEHAVIOR(Door, locked, MANTA_OTHERS_STASH, (open, open_locked), (peek, peek)): while manta_become(&Door_locked) is in force,
 * a message for `open` runs the body of `open_locked` (same parameters and result); methods not listed follow the third argument. */
#define MANTA_BEHAVIOR(C, b, others_, ...) \
    MPP_EACH(MANTA_I_BEHAVIOR_CHECK, C, ##__VA_ARGS__) \
    static const manta_behavior_entry C##_##b##_entries[] = {MPP_EACH(MANTA_I_BEHAVIOR_ENTRY, C, ##__VA_ARGS__)}; \
    static const manta_behavior C##_##b = {#C "." #b, &C##_class, others_, MPP_N(__VA_ARGS__), C##_##b##_entries};

#endif
