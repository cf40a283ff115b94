/*
 * What the macros of manta/actor.h expand to. Not for direct use: names begin with MANTA_I_ and may change.
 *
 * Shown with `MANTA_METHOD(Counter, increment, int64_t, (int64_t, by))`, so P = Counter_increment.
 */
#ifndef MANTA_EXPAND_H
#define MANTA_EXPAND_H

#include <manta/future.h>
#include <manta/pp.h>
#include <manta/runtime.h>
#include <manta/supervisor.h>

#define MANTA_UNUSED __attribute__((unused))
#ifdef __cplusplus
#define MANTA_C_LINKAGE extern "C"
#else
#define MANTA_C_LINKAGE extern
#endif

#define MANTA_FUTURE(R) MPP_CAT(MPP_CAT(manta_, R), _future)
#define MANTA_STREAM(R) MPP_CAT(MPP_CAT(manta_, R), _stream)

/* For a field (T, x): `T x;`  `, T x`  `a_.x = x;`  `, a_->x` and the calls of T's functions. */
#define MANTA_I_FIELD(c, f) MPP_TYPE(f) MPP_NAME(f);
#define MANTA_I_PARAM(c, f) , MPP_TYPE(f) MPP_NAME(f)
#define MANTA_I_BODY_PARAM(c, f) , MPP_TYPE(f) MPP_NAME(f) MANTA_UNUSED
#define MANTA_I_SET(c, f) a_.MPP_NAME(f) = MPP_NAME(f);
#define MANTA_I_ARG(c, f) , MPP_NAME(f)
#define MANTA_I_PASS(c, f) , a_->MPP_NAME(f)
#define MANTA_I_PACK(c, f) MPP_CAT(manta_pack_, MPP_TYPE(f))(w_, &a_->MPP_NAME(f));
#define MANTA_I_UNPACK(c, f) MPP_CAT(manta_unpack_, MPP_TYPE(f))(r_, &a_->MPP_NAME(f));
#define MANTA_I_EXTRA(c, f) +MPP_CAT(manta_extra_, MPP_TYPE(f))(&a_->MPP_NAME(f))
#define MANTA_I_RELOCATE(c, f) MPP_CAT(manta_relocate_, MPP_TYPE(f))(&a_->MPP_NAME(f), at_);
#define MANTA_I_REFS(c, f) MPP_CAT(manta_refs_, MPP_TYPE(f))(&a_->MPP_NAME(f), visit_, context_);
#define MANTA_I_HAS(c, f) | MPP_CAT(MANTA_HAS_, MPP_TYPE(f))
#define MANTA_I_SIGNATURE(c, f) MPP_STR(MPP_TYPE(f)) " " MPP_STR(MPP_NAME(f)) ","
#define MANTA_I_METHOD_REF(C, m) &C##_##m##_method,

/* Parameter lists without a leading comma: MANTA_I_PARAMS((int, x), (int, y)) -> int x, int y; MANTA_I_PARAMS() -> void. */
#define MANTA_I_PARAMS(...) MPP_CAT(MANTA_I_PARAMS_, MPP_ANY(__VA_ARGS__))(MANTA_I_PARAM, ##__VA_ARGS__)
#define MANTA_I_BODY_PARAMS(...) MPP_CAT(MANTA_I_PARAMS_, MPP_ANY(__VA_ARGS__))(MANTA_I_BODY_PARAM, ##__VA_ARGS__)
#define MANTA_I_PARAMS_0(M) void
#define MANTA_I_PARAMS_1(M, ...) MPP_TAIL(z MPP_EACH(M, , __VA_ARGS__))
#define MANTA_I_PASSED(...) MPP_TAIL(z MPP_EACH(MANTA_I_PASS, , ##__VA_ARGS__))

/* The functions of a struct S with these fields: N_pack, N_unpack, N_extra, N_relocate, N_refs, and N_has (1: points to bytes, 2: holds refs). */
#define MANTA_I_FUNCTIONS(S, N, ...) \
    MANTA_UNUSED static inline void N##_pack(manta_writer *w_, const void *v_) \
    { \
        const S *a_ = (const S *)v_; \
        (void)a_; \
        manta_pack_array(w_, MPP_N(__VA_ARGS__)); \
        MPP_EACH(MANTA_I_PACK, , ##__VA_ARGS__) \
    } \
    MANTA_UNUSED static inline void N##_unpack(manta_reader *r_, void *v_) \
    { \
        S *a_ = (S *)v_; \
        (void)a_; \
        manta_unpack_fields(r_, MPP_N(__VA_ARGS__)); \
        MPP_EACH(MANTA_I_UNPACK, , ##__VA_ARGS__) \
    } \
    MANTA_UNUSED static inline size_t N##_extra(const void *v_) \
    { \
        const S *a_ = (const S *)v_; \
        (void)a_; \
        return 0 MPP_EACH(MANTA_I_EXTRA, , ##__VA_ARGS__); \
    } \
    MANTA_UNUSED static inline void N##_relocate(void *v_, unsigned char **at_) \
    { \
        S *a_ = (S *)v_; \
        (void)a_, (void)at_; \
        MPP_EACH(MANTA_I_RELOCATE, , ##__VA_ARGS__) \
    } \
    MANTA_UNUSED static inline void N##_refs(void *v_, manta_ref_visitor visit_, void *context_) \
    { \
        S *a_ = (S *)v_; \
        (void)a_, (void)visit_, (void)context_; \
        MPP_EACH(MANTA_I_REFS, , ##__VA_ARGS__) \
    } \
    enum { N##_has = 0 MPP_EACH(MANTA_I_HAS, , ##__VA_ARGS__) };

#define MANTA_I_LAYOUT(S, N) \
    { \
        (uint32_t)sizeof(S), N##_pack, N##_unpack, (N##_has & 1) ? N##_extra : NULL, (N##_has & 1) ? N##_relocate : NULL, \
            (N##_has & 2) ? N##_refs : NULL \
    }

/* The layout of a result: empty for void, else that of a struct with the one field (R, value). */
#define MANTA_I_RESULT_FUNCTIONS(P, R) MPP_IF_VOID(R)()(MANTA_I_RESULT_FUNCTIONS_(P, R))
#define MANTA_I_RESULT_FUNCTIONS_(P, R) \
    MANTA_UNUSED static void P##_result_pack(manta_writer *w_, const void *v_) { MPP_CAT(manta_pack_, R)(w_, (const R *)v_); } \
    MANTA_UNUSED static void P##_result_unpack(manta_reader *r_, void *v_) { MPP_CAT(manta_unpack_, R)(r_, (R *)v_); } \
    MANTA_UNUSED static size_t P##_result_extra(const void *v_) { return MPP_CAT(manta_extra_, R)((const R *)v_); } \
    MANTA_UNUSED static void P##_result_relocate(void *v_, unsigned char **at_) { MPP_CAT(manta_relocate_, R)((R *)v_, at_); } \
    MANTA_UNUSED static void P##_result_refs(void *v_, manta_ref_visitor f_, void *c_) { MPP_CAT(manta_refs_, R)((R *)v_, f_, c_); } \
    enum { P##_result_has = MPP_CAT(MANTA_HAS_, R) };
#define MANTA_I_RESULT_LAYOUT(P, R) MPP_IF_VOID(R)({0, NULL, NULL, NULL, NULL, NULL})(MANTA_I_LAYOUT(R, P##_result))

#define MANTA_I_TYPE_FORWARDS(S) \
    MANTA_UNUSED static inline void manta_pack_##S(manta_writer *w_, const S *v_) { manta_i_##S##_pack(w_, v_); } \
    MANTA_UNUSED static inline void manta_unpack_##S(manta_reader *r_, S *v_) { manta_i_##S##_unpack(r_, v_); } \
    MANTA_UNUSED static inline size_t manta_extra_##S(const S *v_) { return manta_i_##S##_extra(v_); } \
    MANTA_UNUSED static inline void manta_relocate_##S(S *v_, unsigned char **at_) { manta_i_##S##_relocate(v_, at_); } \
    MANTA_UNUSED static inline void manta_refs_##S(S *v_, manta_ref_visitor f_, void *c_) { manta_i_##S##_refs(v_, f_, c_); }

/* Argument struct and descriptor: shared by methods and tasks. */
#define MANTA_I_ARGUMENTS(P, ...) \
    __extension__ typedef struct P##_args { \
        char empty_[0]; \
        MPP_EACH(MANTA_I_FIELD, , ##__VA_ARGS__) \
    } __attribute__((aligned(16))) P##_args; \
    MANTA_I_FUNCTIONS(P##_args, P##_args, ##__VA_ARGS__) \
    MANTA_C_LINKAGE manta_method P##_method;
#define MANTA_I_DESCRIPTOR(P, owner_, name_, R, generator_, ...) \
    manta_method P##_method = {owner_, name_, MPP_STR(R) "(" MPP_EACH(MANTA_I_SIGNATURE, , ##__VA_ARGS__) ")", P##_invoke, \
        MANTA_I_LAYOUT(P##_args, P##_args), MANTA_I_RESULT_LAYOUT(P, R), NULL, 0, 0, generator_, NULL};

#define MANTA_I_FILL(P, ...) \
    P##_args a_; \
    (void)a_; \
    MPP_EACH(MANTA_I_SET, , ##__VA_ARGS__)

#define MANTA_I_DECLARE(C, m, P, R, ...) \
    MANTA_I_ARGUMENTS(P, ##__VA_ARGS__) MPP_IF_INIT(m)(MANTA_I_INIT_STUBS(C, P, ##__VA_ARGS__))(MANTA_I_STUBS(C, P, R, ##__VA_ARGS__))

/* Counter_increment, _with, _send, _after, _every. */
#define MANTA_I_STUBS(C, P, R, ...) \
    MANTA_UNUSED static inline MANTA_FUTURE(R) P##_with(const manta_options *o_, C##_ref to_ MPP_EACH(MANTA_I_PARAM, , ##__VA_ARGS__)) \
    { \
        MANTA_I_FILL(P, ##__VA_ARGS__) \
        MANTA_FUTURE(R) f_; \
        f_.future = manta_call_with(o_, to_.actor, &P##_method, &a_, P##_args_extra(&a_)); \
        return f_; \
    } \
    MANTA_UNUSED static inline MANTA_FUTURE(R) P(C##_ref to_ MPP_EACH(MANTA_I_PARAM, , ##__VA_ARGS__)) \
    { \
        MANTA_I_FILL(P, ##__VA_ARGS__) \
        MANTA_FUTURE(R) f_; \
        f_.future = manta_call_method(to_.actor, &P##_method, &a_, P##_args_extra(&a_)); \
        return f_; \
    } \
    MANTA_UNUSED static inline manta_status P##_send(C##_ref to_ MPP_EACH(MANTA_I_PARAM, , ##__VA_ARGS__)) \
    { \
        MANTA_I_FILL(P, ##__VA_ARGS__) \
        return manta_send_method(to_.actor, &P##_method, &a_, P##_args_extra(&a_)); \
    } \
    MANTA_UNUSED static inline manta_timer P##_after(uint64_t delay_ms_, C##_ref to_ MPP_EACH(MANTA_I_PARAM, , ##__VA_ARGS__)) \
    { \
        MANTA_I_FILL(P, ##__VA_ARGS__) \
        return manta_send_later(delay_ms_, 0, to_.actor, &P##_method, &a_, P##_args_extra(&a_)); \
    } \
    MANTA_UNUSED static inline manta_timer P##_every(uint64_t period_ms_, C##_ref to_ MPP_EACH(MANTA_I_PARAM, , ##__VA_ARGS__)) \
    { \
        MANTA_I_FILL(P, ##__VA_ARGS__) \
        return manta_send_later(period_ms_, period_ms_, to_.actor, &P##_method, &a_, P##_args_extra(&a_)); \
    }

/* Counter_spawn, Counter_spawn_with, Counter_child from the parameters of init. */
#define MANTA_I_INIT_STUBS(C, P, ...) \
    MANTA_UNUSED static inline C##_ref C##_spawn_with(const manta_options *o_ MPP_EACH(MANTA_I_PARAM, , ##__VA_ARGS__)) \
    { \
        MANTA_I_FILL(P, ##__VA_ARGS__) \
        return C##_ref_of(manta_spawn_class(o_, &C##_class, &a_, P##_args_extra(&a_))); \
    } \
    MANTA_UNUSED static inline C##_ref C##_spawn(MANTA_I_PARAMS(__VA_ARGS__)) \
    { \
        MANTA_I_FILL(P, ##__VA_ARGS__) \
        return C##_ref_of(manta_spawn_class(NULL, &C##_class, &a_, P##_args_extra(&a_))); \
    } \
    MANTA_UNUSED static inline manta_child_spec C##_child(const manta_child_options *o_ MPP_EACH(MANTA_I_PARAM, , ##__VA_ARGS__)) \
    { \
        MANTA_I_FILL(P, ##__VA_ARGS__) \
        return manta_child_spec_make(o_, &C##_class, &a_, P##_args_extra(&a_)); \
    }
#define MANTA_I_PLAIN_SPAWN(C) \
    MANTA_UNUSED static inline C##_ref C##_spawn_with(const manta_options *o_) \
    { \
        return C##_ref_of(manta_spawn_class(o_, &C##_class, NULL, 0)); \
    } \
    MANTA_UNUSED static inline C##_ref C##_spawn(void) { return C##_ref_of(manta_spawn_class(NULL, &C##_class, NULL, 0)); } \
    MANTA_UNUSED static inline manta_child_spec C##_child(const manta_child_options *o_) \
    { \
        return manta_child_spec_make(o_, &C##_class, NULL, 0); \
    }

/* The descriptor, and the head of the body. */
#define MANTA_I_DEFINE(C, m, P, R, ...) \
    MANTA_I_RESULT_FUNCTIONS(P, R) \
    static R P##_body(C *self MPP_EACH(MANTA_I_BODY_PARAM, , ##__VA_ARGS__)); \
    static void P##_invoke(void *self_, const void *v_, void *result_) \
    { \
        const P##_args *a_ = (const P##_args *)v_; \
        (void)a_, (void)result_; \
        MPP_IF_VOID(R) \
        (P##_body((C *)self_ MPP_EACH(MANTA_I_PASS, , ##__VA_ARGS__));)( \
            *(R *)result_ = P##_body((C *)self_ MPP_EACH(MANTA_I_PASS, , ##__VA_ARGS__));) \
    } \
    MANTA_I_DESCRIPTOR(P, #C, #m, R, 0, ##__VA_ARGS__) \
    static R P##_body(C *self MANTA_UNUSED MPP_EACH(MANTA_I_BODY_PARAM, , ##__VA_ARGS__))

#define MANTA_I_CLASS_OBJECT(C, options_, n_, init_) \
    _Pragma("GCC diagnostic push") _Pragma("GCC diagnostic ignored \"-Wmissing-field-initializers\"") \
        manta_class C##_class = {#C, (uint32_t)sizeof(C), n_, C##_methods, {options_}, init_, 0, NULL}; \
    _Pragma("GCC diagnostic pop")

#endif
