/*
 * The bounded MessagePack codec: values of C types to bytes (manta_writer) and back (manta_reader), inlined for the hot path.
 *
 *     unsigned char frame[64];
 *     manta_writer w;
 *     manta_writer_init(&w, frame, sizeof frame);
 *     manta_pack_int64_t(&w, &id);
 *     manta_pack_double(&w, &price);
 *     if (w.status != MANTA_OK) ...                      (one test after many packs: the first error sticks)
 *
 *     manta_reader r;
 *     manta_reader_init(&r, frame, manta_writer_size(&w));
 *     manta_unpack_int64_t(&r, &id);
 *     manta_unpack_double(&r, &price);
 *     if (r.status != MANTA_OK) ... manta_reader_explain(&r, text, sizeof text);
 *
 * For each T of the table below there are manta_pack_T(manta_writer *, const T *) and manta_unpack_T(manta_reader *, T *):
 *     int8_t int16_t int32_t int64_t uint8_t uint16_t uint32_t uint64_t double float bool manta_str manta_bytes
 * A writer or reader belongs to one thread at a time. Nothing here blocks, and only a growing writer allocates.
 * Format: https://github.com/msgpack/msgpack/blob/master/spec.md. Memory and time are bounded by the bytes given, whatever they say.
 */
#ifndef MANTA_MSGPACK_H
#define MANTA_MSGPACK_H

#include <manta/bytes.h>
#include <manta/msgpack_reader.h>
#include <manta/msgpack_writer.h>
#include <manta/status.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum manta_kind {
    MANTA_KIND_NONE, /* no more data, or the reader has failed */
    MANTA_KIND_NIL,
    MANTA_KIND_BOOL,
    MANTA_KIND_INTEGER,
    MANTA_KIND_FLOAT,
    MANTA_KIND_STR,
    MANTA_KIND_BYTES,
    MANTA_KIND_ARRAY,
    MANTA_KIND_MAP,
    MANTA_KIND_EXT,
    MANTA_KIND_INVALID /* the byte c1, which the format does not use */
} manta_kind;

/* The kind of the next value, by its first byte alone. Does not advance, cannot fail. */
MANTA_EXPORT manta_kind manta_peek_kind(const manta_reader *r);

/* The name of a kind: "nil", "bool", "integer", "float", "str", "bytes", "array", "map", "ext", ... Static memory. */
MANTA_EXPORT const char *manta_kind_name(manta_kind kind);

/* What manta_validate accepts. A member that is 0 means its default. */
typedef struct manta_msgpack_limits {
    size_t max_bytes;   /* of the whole; default MANTA_MSGPACK_MAX_BYTES */
    uint64_t max_count; /* of values, nested ones included; default: as many as there are bytes */
    unsigned max_depth; /* of arrays and maps within each other; default MANTA_MSGPACK_DEPTH, at most MANTA_MSGPACK_MAX_DEPTH */
} manta_msgpack_limits;

/*
 * MANTA_OK when `data` (`size` bytes) holds exactly one well-formed value within `limits` (NULL: the defaults) and nothing after it;
 * MANTA_EDECODE when not, MANTA_ELIMIT when only a limit of bytes or values is exceeded. UTF-8 in strings is not checked.
 */
MANTA_EXPORT MANTA_MUST_CHECK manta_status manta_validate(const void *data, size_t size, const manta_msgpack_limits *limits);

#ifdef __cplusplus
}
#endif
#endif
