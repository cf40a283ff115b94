/*
 * manta_writer: packs C values as MessagePack, each in its smallest encoding. Include <manta/msgpack.h>; the overview is there.
 *
 * The first error sticks in `status` and nothing is written after it, so that one test after a whole message is enough:
 * MANTA_ELIMIT (buffer or maximum full, or a string above 4 GiB) or MANTA_ENOMEM. What was written before the error stays.
 *
 * How it is fast: a scalar takes at most 9 bytes. While 9 are free one comparison is the only check, and 8 bytes are stored at once
 * whatever the width, so bytes in [at, end) may be scribbled on. Otherwise the library's exact, slow path decides.
 */
#ifndef MANTA_MSGPACK_WRITER_H
#define MANTA_MSGPACK_WRITER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <manta/bytes.h>
#include <manta/status.h>

#ifdef __cplusplus
extern "C" {
#endif

#define MANTA_MSGPACK_MAX_BYTES ((size_t)64 << 20) /* default maximum of a growing writer and of what a reader accepts */
#define MANTA_MSGPACK_SCALAR 9u                    /* bytes of the longest scalar: a tag and 64 bits */

/* Read `status`, `start` and manta_writer_size; the other members are for the functions here. */
typedef struct manta_writer {
    unsigned char *at, *end, *start; /* next byte to write; end of the room (= at after an error); first byte written */
    size_t capacity;                 /* bytes from start */
    size_t max_bytes;                /* how far a growing writer may grow; may be set any time, also above the default */
    manta_status status;
    bool can_grow;
} manta_writer;

/* Writes into `buffer` of `capacity` bytes, which the caller owns and keeps alive; at its end status becomes MANTA_ELIMIT. */
static inline void manta_writer_init(manta_writer *w, void *buffer, size_t capacity)
{
    w->at = w->start = (unsigned char *)buffer;
    w->end = capacity ? w->start + capacity : w->start;
    w->capacity = w->max_bytes = capacity;
    w->status = MANTA_OK;
    w->can_grow = false;
}

/* Writes into heap memory that grows as needed up to w->max_bytes (64 MiB unless set after this call); allocates nothing yet. */
static inline void manta_writer_init_growing(manta_writer *w)
{
    manta_writer_init(w, NULL, 0);
    w->max_bytes = MANTA_MSGPACK_MAX_BYTES;
    w->can_grow = true;
}

/* Frees what a growing writer allocated; a fixed buffer stays the caller's. The writer is then empty, and fini again is harmless. */
MANTA_EXPORT void manta_writer_fini(manta_writer *w);

/* Number of bytes written so far; they begin at w->start. */
static inline size_t manta_writer_size(const manta_writer *w) { return (size_t)(w->at - w->start); }

/* Forgets what was written, and the error if any, and keeps the memory. */
static inline void manta_writer_reset(manta_writer *w)
{
    w->at = w->start;
    w->end = w->capacity ? w->start + w->capacity : w->start;
    w->status = MANTA_OK;
}

/* Makes a growing writer's room for `size` more bytes, at w->at; false when that fails, and then the writer's status says why. */
MANTA_EXPORT bool manta_writer_reserve(manta_writer *w, size_t size);

/* Sets the error if there is none yet and closes the writer; for packers of user types that refuse a value. */
MANTA_EXPORT void manta_writer_fail(manta_writer *w, manta_status status);

/* The exact paths behind the inlined ones; not to be called directly. `tag` is the first byte. */
MANTA_EXPORT void manta_writer_integer_slow(manta_writer *w, uint64_t bits, bool is_negative);
MANTA_EXPORT void manta_writer_tagged_slow(manta_writer *w, unsigned tag, uint64_t value, unsigned width);
MANTA_EXPORT void manta_writer_array_slow(manta_writer *w, uint32_t count);
MANTA_EXPORT void manta_writer_str_slow(manta_writer *w, const void *data, size_t size);

/* Adds bytes that are MessagePack already, as manta_reader_take returns; not from the writer's own memory, which may move. */
MANTA_EXPORT void manta_pack_raw(manta_writer *w, const void *data, size_t size);

/* Binary data (bin 8/16/32). */
MANTA_EXPORT void manta_pack_manta_bytes(manta_writer *w, const manta_bytes *value);

/* An extension value of application type 0..127 (below 0 is the specification's, -1 is its timestamp). */
MANTA_EXPORT void manta_pack_ext(manta_writer *w, int8_t type, const void *data, size_t size);

/* The head of a map; the caller packs `count` times a key and a value after it. */
MANTA_EXPORT void manta_pack_map(manta_writer *w, uint32_t count);

MANTA_MSGPACK_INLINE size_t manta_writer_room(const manta_writer *w) { return (size_t)(w->end - w->at); }

MANTA_MSGPACK_INLINE void manta_store_be64(unsigned char *to, uint64_t value)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    value = __builtin_bswap64(value);
#endif
    memcpy(to, &value, sizeof value);
}

/*
 * Writes an integer where SCALAR bytes are free and returns how many it takes. No branch but for the one-byte forms: `width_class` 0..3
 * stands for 8..64 bits, and the tags of both families are in that order (cc cd ce cf, d0 d1 d2 d3). Positive numbers use the unsigned one.
 */
MANTA_MSGPACK_INLINE size_t manta_encode_integer(unsigned char *to, uint64_t bits, bool is_negative)
{
    uint64_t magnitude;
    unsigned width_class;
    if (is_negative ? bits >= (uint64_t)-32 : bits < 128) {
        *to = (unsigned char)bits;
        return 1;
    }
    magnitude = is_negative ? ~bits << 1 : bits;
    width_class = (unsigned)(magnitude > UINT8_MAX) + (unsigned)(magnitude > UINT16_MAX) + (unsigned)(magnitude > UINT32_MAX);
    *to = (unsigned char)((is_negative ? 0xd0u : 0xccu) + width_class);
    manta_store_be64(to + 1, bits << (64 - (8u << width_class)));
    return 1 + ((size_t)1 << width_class);
}

MANTA_MSGPACK_INLINE void manta_writer_integer(manta_writer *w, uint64_t bits, bool is_negative)
{
    if (__builtin_expect(manta_writer_room(w) >= MANTA_MSGPACK_SCALAR, 1)) w->at += manta_encode_integer(w->at, bits, is_negative);
    else manta_writer_integer_slow(w, bits, is_negative);
}

/*
 * MANTA_PACK_SIGNED(int8_t) makes
 *     static inline void manta_pack_int8_t(manta_writer *w, const int8_t *value)
 *     { manta_writer_integer(w, (uint64_t)(int64_t)*value, *value < 0); }
 * and MANTA_PACK_UNSIGNED(uint8_t) the same without a sign.
 */
#define MANTA_PACK_SIGNED(T) \
    MANTA_MSGPACK_INLINE void manta_pack_##T(manta_writer *w, const T *value) \
    { \
        int64_t v = *value; \
        manta_writer_integer(w, (uint64_t)v, v < 0); \
    }
#define MANTA_PACK_UNSIGNED(T) \
    MANTA_MSGPACK_INLINE void manta_pack_##T(manta_writer *w, const T *value) { manta_writer_integer(w, *value, false); }
MANTA_PACK_SIGNED(int8_t)
MANTA_PACK_SIGNED(int16_t)
MANTA_PACK_SIGNED(int32_t)
MANTA_PACK_SIGNED(int64_t)
MANTA_PACK_UNSIGNED(uint8_t)
MANTA_PACK_UNSIGNED(uint16_t)
MANTA_PACK_UNSIGNED(uint32_t)
MANTA_PACK_UNSIGNED(uint64_t)
#undef MANTA_PACK_SIGNED
#undef MANTA_PACK_UNSIGNED

/* float 64 always: a double is not narrowed, even where no digit would be lost, so the size of a message does not depend on luck. */
MANTA_MSGPACK_INLINE void manta_pack_double(manta_writer *w, const double *value)
{
    uint64_t bits;
    memcpy(&bits, value, sizeof bits);
    if (__builtin_expect(manta_writer_room(w) >= MANTA_MSGPACK_SCALAR, 1)) {
        *w->at = 0xcb;
        manta_store_be64(w->at + 1, bits);
        w->at += MANTA_MSGPACK_SCALAR;
    } else manta_writer_tagged_slow(w, 0xcb, bits, 8);
}

/* float 32 */
MANTA_MSGPACK_INLINE void manta_pack_float(manta_writer *w, const float *value)
{
    uint32_t bits;
    memcpy(&bits, value, sizeof bits);
    if (__builtin_expect(manta_writer_room(w) >= MANTA_MSGPACK_SCALAR, 1)) {
        *w->at = 0xca;
        manta_store_be64(w->at + 1, (uint64_t)bits << 32);
        w->at += 5;
    } else manta_writer_tagged_slow(w, 0xca, bits, 4);
}

/* A value of one byte: nil, a bool, the head of a short array. */
MANTA_MSGPACK_INLINE void manta_writer_byte(manta_writer *w, unsigned byte)
{
    if (__builtin_expect(w->at != w->end, 1)) *w->at++ = (unsigned char)byte;
    else manta_writer_tagged_slow(w, byte, 0, 0);
}

MANTA_MSGPACK_INLINE void manta_pack_bool(manta_writer *w, const bool *value) { manta_writer_byte(w, *value ? 0xc3 : 0xc2); }

#ifndef __cplusplus
/* bool is a macro for _Bool in C17, so a macro that pastes its argument's expansion asks for this name. */
MANTA_MSGPACK_INLINE void manta_pack__Bool(manta_writer *w, const _Bool *value) { manta_pack_bool(w, value); }
#endif

MANTA_MSGPACK_INLINE void manta_pack_nil(manta_writer *w) { manta_writer_byte(w, 0xc0); }

/* The head of an array; the caller packs `count` values after it. */
MANTA_MSGPACK_INLINE void manta_pack_array(manta_writer *w, uint32_t count)
{
    if (__builtin_expect(count < 16, 1)) manta_writer_byte(w, 0x90 + count);
    else manta_writer_array_slow(w, count);
}

/* Text; whether it is UTF-8 is not checked. */
MANTA_MSGPACK_INLINE void manta_pack_manta_str(manta_writer *w, const manta_str *value)
{
    size_t size = value->size;
    const char *data = value->data;
    if (__builtin_expect(size < 32 && manta_writer_room(w) > size, 1)) {
        unsigned char *to = w->at;
        *to = (unsigned char)(0xa0 + size);
        manta_copy_short(to + 1, data, size);
        w->at = to + 1 + size;
    } else manta_writer_str_slow(w, data, size);
}

#ifdef __cplusplus
}
#endif
#endif
