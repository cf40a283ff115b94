/*
 * Preprocessor helpers of the actor macros: count arguments (0..16), apply a macro to each, tell `void` and `init` from other tokens.
 *
 * Not for direct use. Names begin with MPP_.
 */
#ifndef MANTA_PP_H
#define MANTA_PP_H

#define MPP_CAT_(a, b) a##b
#define MPP_CAT(a, b) MPP_CAT_(a, b)
#define MPP_STR_(x) #x
#define MPP_STR(x) MPP_STR_(x)

/* MPP_N(a, b, c) -> 3; MPP_N() -> 0. More than 16 give a name that says so. */
#define MPP_N_(z, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13, a14, a15, a16, a17, a18, a19, a20, n, ...) n
#define MPP_N(...) \
    MPP_N_(0, ##__VA_ARGS__, MORE_THAN_16, MORE_THAN_16, MORE_THAN_16, MORE_THAN_16, 16, 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, \
        1, 0)

/* MPP_ANY(a, b) -> 1; MPP_ANY() -> 0. MPP_TAIL(a, b, c) -> b, c. */
#define MPP_ANY(...) MPP_N_(0, ##__VA_ARGS__, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0)
#define MPP_TAIL(...) MPP_TAIL_(__VA_ARGS__)
#define MPP_TAIL_(a, ...) __VA_ARGS__

/* MPP_EACH(M, c, x, y) -> M(c, x) M(c, y) */
#define MPP_EACH(M, c, ...) MPP_CAT(MPP_EACH_, MPP_N(__VA_ARGS__))(M, c, ##__VA_ARGS__)
#define MPP_EACH_0(M, c)
#define MPP_EACH_1(M, c, a) M(c, a)
#define MPP_EACH_2(M, c, a, ...) M(c, a) MPP_EACH_1(M, c, __VA_ARGS__)
#define MPP_EACH_3(M, c, a, ...) M(c, a) MPP_EACH_2(M, c, __VA_ARGS__)
#define MPP_EACH_4(M, c, a, ...) M(c, a) MPP_EACH_3(M, c, __VA_ARGS__)
#define MPP_EACH_5(M, c, a, ...) M(c, a) MPP_EACH_4(M, c, __VA_ARGS__)
#define MPP_EACH_6(M, c, a, ...) M(c, a) MPP_EACH_5(M, c, __VA_ARGS__)
#define MPP_EACH_7(M, c, a, ...) M(c, a) MPP_EACH_6(M, c, __VA_ARGS__)
#define MPP_EACH_8(M, c, a, ...) M(c, a) MPP_EACH_7(M, c, __VA_ARGS__)
#define MPP_EACH_9(M, c, a, ...) M(c, a) MPP_EACH_8(M, c, __VA_ARGS__)
#define MPP_EACH_10(M, c, a, ...) M(c, a) MPP_EACH_9(M, c, __VA_ARGS__)
#define MPP_EACH_11(M, c, a, ...) M(c, a) MPP_EACH_10(M, c, __VA_ARGS__)
#define MPP_EACH_12(M, c, a, ...) M(c, a) MPP_EACH_11(M, c, __VA_ARGS__)
#define MPP_EACH_13(M, c, a, ...) M(c, a) MPP_EACH_12(M, c, __VA_ARGS__)
#define MPP_EACH_14(M, c, a, ...) M(c, a) MPP_EACH_13(M, c, __VA_ARGS__)
#define MPP_EACH_15(M, c, a, ...) M(c, a) MPP_EACH_14(M, c, __VA_ARGS__)
#define MPP_EACH_16(M, c, a, ...) M(c, a) MPP_EACH_15(M, c, __VA_ARGS__)
#define MPP_EACH_MORE_THAN_16(M, c, ...) manta_error_more_than_16_fields_or_methods

/* A field is written (type, name). */
#define MPP_FIRST_(a, b) a
#define MPP_SECOND_(a, b) b
#define MPP_TYPE(field) MPP_FIRST_ field
#define MPP_NAME(field) MPP_SECOND_ field

/* MPP_IF_VOID(R)(then)(otherwise) and MPP_IF_INIT(m)(then)(otherwise): R and m are single tokens. */
#define MPP_IS_void_void ,
#define MPP_IS_init_init ,
#define MPP_THIRD_(a, b, c, ...) c
#define MPP_THIRD(...) MPP_THIRD_(__VA_ARGS__)
#define MPP_IF_VOID(R) MPP_THIRD(MPP_CAT(MPP_IS_void_, R), MPP_THEN, MPP_ELSE, 0)
#define MPP_IF_INIT(m) MPP_THIRD(MPP_CAT_(MPP_IS_init_, m), MPP_THEN, MPP_ELSE, 0)
#define MPP_THEN(...) __VA_ARGS__ MPP_DROP
#define MPP_DROP(...)
#define MPP_ELSE(...) MPP_KEEP
#define MPP_KEEP(...) __VA_ARGS__
#define MPP_HEAD_(a, ...) a
#define MPP_HEAD(...) MPP_HEAD_(__VA_ARGS__)

#endif
