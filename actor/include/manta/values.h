/*
 * The types that may travel in a message: for each basic type T its future and stream types and the functions manta_extra_T (bytes it
 * points to), manta_relocate_T (copies those) and manta_refs_T (visits refs); manta_pack_T and manta_unpack_T are in manta/msgpack.h.
 *
 * The functions are for the macros. MANTA_STRUCT and MANTA_ACTOR make the same set for a user's own types.
 */
#ifndef MANTA_VALUES_H
#define MANTA_VALUES_H

#include <string.h>

#include <manta/types.h>

/* The handle types of results of type T. `type` takes no space: it carries T for the compiler's checks. */
#define MANTA_I_HANDLES(T, name_) \
    __extension__ typedef struct { \
        manta_future future; \
        T type[0]; \
    } manta_##name_##_future; \
    __extension__ typedef struct { \
        manta_stream stream; \
        T type[0]; \
    } manta_##name_##_stream;
#define MANTA_I_HANDLES_OF(T) MANTA_I_HANDLES(T, T)

typedef struct {
    char nothing;
} manta_void; /* what awaiting a void method gives */
MANTA_I_HANDLES(manta_void, void)

/* MANTA_I_PLAIN(int8_t): a type without pointers. */
#define MANTA_I_PLAIN(T) MANTA_I_PLAIN_NAMED(T, T)
#define MANTA_I_PLAIN_NAMED(T, name_) \
    MANTA_I_HANDLES(T, name_) \
    enum { MANTA_HAS_##name_ = 0 }; \
    static inline size_t manta_extra_##name_(const T *v) \
    { \
        (void)v; \
        return 0; \
    } \
    static inline void manta_relocate_##name_(T *v, unsigned char **at) { (void)v, (void)at; } \
    static inline void manta_refs_##name_(T *v, manta_ref_visitor visit, void *context) { (void)v, (void)visit, (void)context; }

MANTA_I_PLAIN(int8_t)
MANTA_I_PLAIN(int16_t)
MANTA_I_PLAIN(int32_t)
MANTA_I_PLAIN(int64_t)
MANTA_I_PLAIN(uint8_t)
MANTA_I_PLAIN(uint16_t)
MANTA_I_PLAIN(uint32_t)
MANTA_I_PLAIN(uint64_t)
MANTA_I_PLAIN(float)
MANTA_I_PLAIN(double)
MANTA_I_PLAIN(manta_actor)
#ifdef __cplusplus
MANTA_I_PLAIN(bool)
#else
MANTA_I_PLAIN_NAMED(_Bool, _Bool) /* stdbool.h makes bool a macro: the type of a field written (bool, x) arrives as _Bool */
typedef manta__Bool_future MANTA_I_BOOL_FUTURE;
#pragma push_macro("bool")
#undef bool
typedef MANTA_I_BOOL_FUTURE manta_bool_future;
#pragma pop_macro("bool")
#endif

enum { MANTA_HAS_manta_str = 1, MANTA_HAS_manta_bytes = 1, MANTA_HAS_manta_ref = 2, MANTA_HAS_manta_object = 2 };
MANTA_I_HANDLES_OF(manta_str)
MANTA_I_HANDLES_OF(manta_bytes)
MANTA_I_HANDLES_OF(manta_ref)
MANTA_I_HANDLES_OF(manta_object)

/* A copied string gets a terminating 0 that its size does not count. */
static inline size_t manta_extra_manta_str(const manta_str *v) { return v->size + 1; }
static inline void manta_relocate_manta_str(manta_str *v, unsigned char **at)
{
    if (v->size) memcpy(*at, v->data, v->size);
    (*at)[v->size] = 0;
    v->data = (const char *)*at;
    *at += v->size + 1;
}
static inline void manta_refs_manta_str(manta_str *v, manta_ref_visitor visit, void *context) { (void)v, (void)visit, (void)context; }

static inline size_t manta_extra_manta_bytes(const manta_bytes *v) { return v->size; }
static inline void manta_relocate_manta_bytes(manta_bytes *v, unsigned char **at)
{
    if (v->size) memcpy(*at, v->data, v->size);
    v->data = *at;
    *at += v->size;
}
static inline void manta_refs_manta_bytes(manta_bytes *v, manta_ref_visitor visit, void *context) { (void)v, (void)visit, (void)context; }

static inline size_t manta_extra_manta_ref(const manta_ref *v)
{
    (void)v;
    return 0;
}
static inline void manta_relocate_manta_ref(manta_ref *v, unsigned char **at) { (void)v, (void)at; }
static inline void manta_refs_manta_ref(manta_ref *v, manta_ref_visitor visit, void *context) { visit(v, NULL, context); }

static inline size_t manta_extra_manta_object(const manta_object *v)
{
    (void)v;
    return 0;
}
static inline void manta_relocate_manta_object(manta_object *v, unsigned char **at) { (void)v, (void)at; }
static inline void manta_refs_manta_object(manta_object *v, manta_ref_visitor visit, void *context) { visit(&v->ref, v, context); }

/* Handles on the wire: arrays of unsigned integers. */
#ifdef __cplusplus
extern "C" {
#endif
MANTA_EXPORT void manta_pack_manta_actor(manta_writer *w, const manta_actor *v); /* [process, id] */
MANTA_EXPORT void manta_unpack_manta_actor(manta_reader *r, manta_actor *v);
/* [word, word]; in messages to a process with another object store its name, see docs/protocol.md. */
MANTA_EXPORT void manta_pack_manta_ref(manta_writer *w, const manta_ref *v);
MANTA_EXPORT void manta_unpack_manta_ref(manta_reader *r, manta_ref *v);
MANTA_EXPORT void manta_unpack_fields(manta_reader *r, size_t count); /* an array header of exactly `count`, else the reader fails */
#ifdef __cplusplus
}
#endif
static inline void manta_pack_manta_object(manta_writer *w, const manta_object *v) { manta_pack_manta_ref(w, &v->ref); }
static inline void manta_unpack_manta_object(manta_reader *r, manta_object *v)
{
    v->data = NULL;
    v->size = 0;
    manta_unpack_manta_ref(r, &v->ref);
}

#endif
