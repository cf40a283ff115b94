/*
 * manta_reader: unpacks MessagePack into C values, within bounds. Include <manta/msgpack.h>; the overview is there.
 *
 * The first error sticks in `status`: MANTA_EDECODE (malformed, cut short, beyond a bound) or MANTA_ETYPE (well-formed, but another kind of
 * value than asked for, or a number that does not fit). Later reads then give zeros and do not advance, so that one test after a
 * whole message is enough. Strings, bytes and extensions come as views into the data, valid as long as the data is.
 *
 * Bounds, whatever the bytes say: nothing is allocated; a count of elements above the bytes that are left is refused when its head is read;
 * nesting is limited to `depth` (manta_skip, manta_reader_enter); data above MANTA_MSGPACK_MAX_BYTES are refused.
 */
#ifndef MANTA_MSGPACK_READER_H
#define MANTA_MSGPACK_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <manta/bytes.h>
#include <manta/msgpack_writer.h>
#include <manta/status.h>

#ifdef __cplusplus
extern "C" {
#endif

#define MANTA_MSGPACK_DEPTH 32      /* default limit of arrays and maps within each other */
#define MANTA_MSGPACK_MAX_DEPTH 128 /* the most that the limit can be set to */

/* Read `status`; set `depth` after manta_reader_init if the default is wrong; the other members are for the functions here. */
typedef struct manta_reader {
    const unsigned char *at, *end, *start; /* next byte to read; end of the data (= at after an error); first byte */
    size_t size;                           /* of the data */
    manta_status status;
    unsigned depth;                /* how many more levels of arrays and maps may be entered */
    const unsigned char *error_at; /* the value that was refused */
    const char *expected;          /* static text: what should have been there */
} manta_reader;

/* Sets the error if there is none yet: at the next value something else was wanted. `expected` is static text, as in "a port number". */
MANTA_EXPORT void manta_reader_fail(manta_reader *r, manta_status status, const char *expected);

/* Reads from `data` (`size` bytes; NULL only when that is 0), which the caller keeps alive; too large is MANTA_EDECODE. */
static inline void manta_reader_init(manta_reader *r, const void *data, size_t size)
{
    r->at = r->start = r->error_at = (const unsigned char *)data;
    r->end = size && size <= MANTA_MSGPACK_MAX_BYTES ? r->start + size : r->start;
    r->size = size;
    r->status = MANTA_OK;
    r->depth = MANTA_MSGPACK_DEPTH;
    r->expected = "";
    if (size > MANTA_MSGPACK_MAX_BYTES) manta_reader_fail(r, MANTA_EDECODE, "at most 64 MiB of data");
}

/*
 * Writes what went wrong and where, as in "byte 17: expected an integer that fits int32_t, found str", or "no error". Like snprintf: writes
 * at most `out_size` bytes including the final NUL (none when it is 0), returns the length of the full text. Reads the data once more.
 */
MANTA_EXPORT size_t manta_reader_explain(const manta_reader *r, char *out, size_t out_size);

/* Number of bytes not read yet; 0 after an error. */
static inline size_t manta_reader_left(const manta_reader *r) { return (size_t)(r->end - r->at); }

/* Before reading the elements of an array or map of dynamic depth, and after the last. False (and EDECODE): nested too deeply. */
MANTA_EXPORT bool manta_reader_enter(manta_reader *r);
static inline void manta_reader_leave(manta_reader *r) { r->depth++; }

/* Passes over one value of any kind with all that it contains, in constant stack. On an error the reader stays before that value. */
MANTA_EXPORT void manta_skip(manta_reader *r);

/* Like manta_skip, and gives the value's encoded bytes: a view that manta_pack_raw or another reader takes. */
MANTA_EXPORT void manta_reader_take(manta_reader *r, manta_bytes *out_view);

/* Reads a nil; anything else is MANTA_ETYPE. */
MANTA_EXPORT void manta_unpack_nil(manta_reader *r);

/* The head of an array or a map: the caller reads *out_count values, or twice as many for a map, after it. */
MANTA_EXPORT void manta_unpack_array(manta_reader *r, uint32_t *out_count);
MANTA_EXPORT void manta_unpack_map(manta_reader *r, uint32_t *out_count);

/* Binary data; a str is not taken for one. */
MANTA_EXPORT void manta_unpack_manta_bytes(manta_reader *r, manta_bytes *out);

/* An extension value of any type. */
MANTA_EXPORT void manta_unpack_ext(manta_reader *r, int8_t *out_type, manta_bytes *out_view);

/* The complete paths behind the inlined ones; not to be called directly. */
MANTA_EXPORT int64_t manta_reader_signed_slow(manta_reader *r, int64_t min, int64_t max, const char *expected);
MANTA_EXPORT uint64_t manta_reader_unsigned_slow(manta_reader *r, uint64_t max, const char *expected);
MANTA_EXPORT double manta_reader_double_slow(manta_reader *r);
MANTA_EXPORT float manta_reader_float_slow(manta_reader *r);
MANTA_EXPORT bool manta_reader_bool_slow(manta_reader *r);
MANTA_EXPORT void manta_reader_tuple_slow(manta_reader *r, uint32_t count, const char *expected);
MANTA_EXPORT void manta_reader_str_slow(manta_reader *r, manta_str *out);

MANTA_MSGPACK_INLINE uint64_t manta_load_be64(const unsigned char *from)
{
    uint64_t value;
    memcpy(&value, from, sizeof value);
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    value = __builtin_bswap64(value);
#endif
    return value;
}

/*
 * Reads an integer of 8 to 64 bits where SCALAR bytes are readable; returns the bytes it takes, 0 when there is no integer of that form.
 * The tags cc..cf (unsigned) and d0..d3 (signed) have the width's logarithm in the low bits and the family in bit 4.
 */
MANTA_MSGPACK_INLINE size_t manta_decode_integer(const unsigned char *from, uint64_t *out_bits, bool *out_negative)
{
    unsigned tag = from[0], width = 1u << (tag & 3), shift = 64 - 8 * width;
    uint64_t raw = manta_load_be64(from + 1);
    bool is_signed = (tag & 0x10) != 0;
    if (tag - 0xccu > 7) return 0;
    *out_bits = is_signed ? (uint64_t)((int64_t)raw >> shift) : raw >> shift;
    *out_negative = is_signed && (int64_t)raw < 0;
    return 1 + (size_t)width;
}

MANTA_MSGPACK_INLINE int64_t manta_reader_signed(manta_reader *r, int64_t min, int64_t max, const char *expected)
{
    const unsigned char *at = r->at;
    uint64_t bits;
    bool negative;
    if (__builtin_expect(at != r->end, 1) && (int8_t)*at >= -32) { /* fixint, positive or negative: it fits every signed type */
        r->at = at + 1;
        return (int8_t)*at;
    }
    if (__builtin_expect(manta_reader_left(r) >= MANTA_MSGPACK_SCALAR, 1)) {
        size_t size = manta_decode_integer(at, &bits, &negative);
        if (__builtin_expect(size && negative == ((int64_t)bits < 0) && (int64_t)bits >= min && (int64_t)bits <= max, 1)) {
            r->at = at + size;
            return (int64_t)bits;
        }
    }
    return manta_reader_signed_slow(r, min, max, expected);
}

MANTA_MSGPACK_INLINE uint64_t manta_reader_unsigned(manta_reader *r, uint64_t max, const char *expected)
{
    const unsigned char *at = r->at;
    uint64_t bits;
    bool negative;
    if (__builtin_expect(at != r->end, 1) && *at < 128) {
        r->at = at + 1;
        return *at;
    }
    if (__builtin_expect(manta_reader_left(r) >= MANTA_MSGPACK_SCALAR, 1)) {
        size_t size = manta_decode_integer(at, &bits, &negative);
        if (__builtin_expect(size && !negative && bits <= max, 1)) {
            r->at = at + size;
            return bits;
        }
    }
    return manta_reader_unsigned_slow(r, max, expected);
}

/*
 * MANTA_UNPACK_SIGNED(int8_t, INT8_MIN, INT8_MAX) makes
 *     static inline void manta_unpack_int8_t(manta_reader *r, int8_t *out)
 *     { *out = (int8_t)manta_reader_signed(r, INT8_MIN, INT8_MAX, "an integer that fits int8_t"); }
 * and MANTA_UNPACK_UNSIGNED(uint8_t, UINT8_MAX) the same without a minimum.
 */
#define MANTA_UNPACK_SIGNED(T, min, max) \
    MANTA_MSGPACK_INLINE void manta_unpack_##T(manta_reader *r, T *out) \
    { \
        *out = (T)manta_reader_signed(r, min, max, "an integer that fits " #T); \
    }
#define MANTA_UNPACK_UNSIGNED(T, max) \
    MANTA_MSGPACK_INLINE void manta_unpack_##T(manta_reader *r, T *out) \
    { \
        *out = (T)manta_reader_unsigned(r, max, "an integer that fits " #T); \
    }
MANTA_UNPACK_SIGNED(int8_t, INT8_MIN, INT8_MAX)
MANTA_UNPACK_SIGNED(int16_t, INT16_MIN, INT16_MAX)
MANTA_UNPACK_SIGNED(int32_t, INT32_MIN, INT32_MAX)
MANTA_UNPACK_SIGNED(int64_t, INT64_MIN, INT64_MAX)
MANTA_UNPACK_UNSIGNED(uint8_t, UINT8_MAX)
MANTA_UNPACK_UNSIGNED(uint16_t, UINT16_MAX)
MANTA_UNPACK_UNSIGNED(uint32_t, UINT32_MAX)
MANTA_UNPACK_UNSIGNED(uint64_t, UINT64_MAX)
#undef MANTA_UNPACK_SIGNED
#undef MANTA_UNPACK_UNSIGNED

/* Takes float 64, float 32, and an integer that a double holds exactly (some languages send 2.0 as 2). */
MANTA_MSGPACK_INLINE void manta_unpack_double(manta_reader *r, double *out)
{
    const unsigned char *at = r->at;
    if (__builtin_expect(manta_reader_left(r) >= MANTA_MSGPACK_SCALAR && *at == 0xcb, 1)) {
        uint64_t bits = manta_load_be64(at + 1);
        memcpy(out, &bits, sizeof bits);
        r->at = at + MANTA_MSGPACK_SCALAR;
    } else *out = manta_reader_double_slow(r);
}

/* Takes float 32, and a float 64 or an integer that a float holds exactly (NaN is taken as NaN). */
MANTA_MSGPACK_INLINE void manta_unpack_float(manta_reader *r, float *out)
{
    const unsigned char *at = r->at;
    if (__builtin_expect(manta_reader_left(r) >= 5 && *at == 0xca, 1)) {
        uint32_t bits = (uint32_t)at[1] << 24 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 8 | at[4];
        memcpy(out, &bits, sizeof bits);
        r->at = at + 5;
    } else *out = manta_reader_float_slow(r);
}

MANTA_MSGPACK_INLINE void manta_unpack_bool(manta_reader *r, bool *out)
{
    if (__builtin_expect(r->at != r->end && (*r->at & 0xfe) == 0xc2, 1)) *out = *r->at++ & 1;
    else *out = manta_reader_bool_slow(r);
}

#ifndef __cplusplus
/* bool is a macro for _Bool in C17, so a macro that pastes its argument's expansion asks for this name. */
MANTA_MSGPACK_INLINE void manta_unpack__Bool(manta_reader *r, _Bool *out) { manta_unpack_bool(r, out); }
#endif

/* The head of an array of exactly `count` elements; otherwise ETYPE with `expected` (static text), as in "an array of 3 arguments". */
MANTA_MSGPACK_INLINE void manta_unpack_tuple(manta_reader *r, uint32_t count, const char *expected)
{
    if (__builtin_expect(count < 16 && r->at != r->end && *r->at == 0x90 + count && count < manta_reader_left(r), 1)) r->at++;
    else manta_reader_tuple_slow(r, count, expected);
}

/* A view of the text in the data, without a NUL; its length is right, whether it is UTF-8 is not checked. */
MANTA_MSGPACK_INLINE void manta_unpack_manta_str(manta_reader *r, manta_str *out)
{
    const unsigned char *at = r->at;
    if (__builtin_expect(at != r->end && (*at & 0xe0) == 0xa0 && (size_t)(*at & 0x1f) < manta_reader_left(r), 1)) {
        out->data = (const char *)at + 1;
        out->size = *at & 0x1f;
        r->at = at + 1 + out->size;
    } else manta_reader_str_slow(r, out);
}

#ifdef __cplusplus
}
#endif
#endif
