/*
 * What the macros of manta/actor.h for tasks, generators and behaviors expand to. Not for direct use, see manta/expand.h.
 */
#ifndef MANTA_EXPAND_TASK_H
#define MANTA_EXPAND_TASK_H

#include <manta/expand.h>

#define MANTA_I_TASK_DECLARE(t, R, ...) \
    MANTA_I_ARGUMENTS(t, ##__VA_ARGS__) \
    MANTA_UNUSED static inline MANTA_FUTURE(R) t##_submit_with(const manta_options *o_ MPP_EACH(MANTA_I_PARAM, , ##__VA_ARGS__)) \
    { \
        MANTA_I_FILL(t, ##__VA_ARGS__) \
        MANTA_FUTURE(R) f_; \
        f_.future = manta_submit(o_, &t##_method, &a_, t##_args_extra(&a_)); \
        return f_; \
    } \
    MANTA_UNUSED static inline MANTA_FUTURE(R) t##_submit(MANTA_I_PARAMS(__VA_ARGS__)) \
    { \
        MANTA_I_FILL(t, ##__VA_ARGS__) \
        MANTA_FUTURE(R) f_; \
        f_.future = manta_submit(NULL, &t##_method, &a_, t##_args_extra(&a_)); \
        return f_; \
    }
#define MANTA_I_TASK_REGISTER(t) \
    __attribute__((constructor)) static void t##_register(void) { manta_register_task(&t##_method); }
#define MANTA_I_TASK_DEFINE(t, R, ...) \
    MANTA_I_RESULT_FUNCTIONS(t, R) \
    static R t##_body(MANTA_I_PARAMS(__VA_ARGS__)); \
    static void t##_invoke(void *self_, const void *v_, void *result_) \
    { \
        const t##_args *a_ = (const t##_args *)v_; \
        (void)self_, (void)a_, (void)result_; \
        MPP_IF_VOID(R)(t##_body(MANTA_I_PASSED(__VA_ARGS__));)(*(R *)result_ = t##_body(MANTA_I_PASSED(__VA_ARGS__));) \
    } \
    MANTA_I_DESCRIPTOR(t, "", #t, R, 0, ##__VA_ARGS__) \
    MANTA_I_TASK_REGISTER(t) \
    static R t##_body(MANTA_I_BODY_PARAMS(__VA_ARGS__))

#define MANTA_I_GENERATOR(t, R, ...) \
    MANTA_I_ARGUMENTS(t, ##__VA_ARGS__) \
    MANTA_UNUSED static inline MANTA_STREAM(R) t##_start_with(const manta_options *o_ MPP_EACH(MANTA_I_PARAM, , ##__VA_ARGS__)) \
    { \
        MANTA_I_FILL(t, ##__VA_ARGS__) \
        MANTA_STREAM(R) s_; \
        s_.stream = manta_generate(o_, &t##_method, &a_, t##_args_extra(&a_)); \
        return s_; \
    } \
    MANTA_UNUSED static inline MANTA_STREAM(R) t##_start(MANTA_I_PARAMS(__VA_ARGS__)) \
    { \
        MANTA_I_FILL(t, ##__VA_ARGS__) \
        MANTA_STREAM(R) s_; \
        s_.stream = manta_generate(NULL, &t##_method, &a_, t##_args_extra(&a_)); \
        return s_; \
    } \
    MANTA_I_RESULT_FUNCTIONS(t, R) \
    static void t##_body(MANTA_I_PARAMS(__VA_ARGS__)); \
    static void t##_invoke(void *self_, const void *v_, void *result_) \
    { \
        const t##_args *a_ = (const t##_args *)v_; \
        (void)self_, (void)a_, (void)result_; \
        t##_body(MANTA_I_PASSED(__VA_ARGS__)); \
    } \
    MANTA_I_DESCRIPTOR(t, "", #t, R, 1, ##__VA_ARGS__) \
    MANTA_I_TASK_REGISTER(t) \
    static void t##_body(MANTA_I_BODY_PARAMS(__VA_ARGS__))

#define MANTA_I_APPLY(M, ...) M(__VA_ARGS__)
#define MANTA_I_BEHAVIOR_ENTRY(C, pair) MANTA_I_APPLY(MANTA_I_BEHAVIOR_ENTRY_, C, MPP_TYPE(pair), MPP_NAME(pair))
#define MANTA_I_BEHAVIOR_ENTRY_(C, from_, to_) {&C##_##from_##_method, &C##_##to_##_method},
#define MANTA_I_BEHAVIOR_CHECK(C, pair) MANTA_I_APPLY(MANTA_I_BEHAVIOR_CHECK_, C, MPP_TYPE(pair), MPP_NAME(pair))
#define MANTA_I_BEHAVIOR_CHECK_(C, from_, to_) \
    MANTA_STATIC_ASSERT(MANTA_SAME_TYPE(__typeof__(C##_##from_##_body), __typeof__(C##_##to_##_body)), \
        "the two methods of a behavior entry differ in parameters or result");

#endif
