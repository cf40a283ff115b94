/*
 * The payloads of WIRE_HOLD .. WIRE_GONE: their layouts, and the check of an answer's. Little endian; docs/protocol.md has the same in words. Reads no state and allocates nothing.
 */
#ifndef MANTA_TRANSFER_WIRE_OBJECT_H
#define MANTA_TRANSFER_WIRE_OBJECT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <manta/types.h>

enum { CHUNK_SIZE = 1 << 19, SMALL_BYTES = 64 << 10, INSIDE_LIMIT = 1 << 18, SOURCES_LIMIT = 4 };
#define SIZE_UNKNOWN UINT64_MAX
#define TRANSFER_LIMIT (1ull << 46) /* bytes of an object */

typedef struct object_name {
    uint64_t process; /* who is asked for it */
    manta_ref at;     /* its id there */
    manta_ref root;   /* id of the object that all its copies come from */
    uint64_t size;    /* SIZE_UNKNOWN */
    uint64_t owner;   /* the process that knows how it was made; 0: nobody known */
} object_name;
_Static_assert(sizeof(object_name) == 56, "layout on the wire");

typedef struct locate_payload {
    uint32_t is_admitted; /* a large one may come now */
    uint32_t is_direct;   /* others did not give it: who is asked shall */
    uint64_t avoid;       /* a process that did not give it; 0: none */
} locate_payload;

typedef struct fetch_payload {
    manta_ref root;
    uint64_t first, count; /* chunks */
} fetch_payload;

typedef struct object_source {
    uint64_t process, is_complete;
} object_source;

enum { ANSWER_BYTES = 1, ANSWER_SIZE, ANSWER_SOURCES };
typedef struct answer_head { /* then the names inside, then sources or bytes */
    uint64_t size;
    uint32_t kind, n_inside, n_sources, zero;
} answer_head;
_Static_assert(sizeof(answer_head) == 24, "layout on the wire");

typedef struct object_answer { /* views of the payload, which need not be aligned */
    answer_head head;
    const unsigned char *inside, *sources, *bytes;
} object_answer;

/* NULL when fine, else what is wrong. */
const char *answer_read(const void *data, size_t bytes, object_answer *out);
const char *fetch_read(const void *data, size_t bytes, fetch_payload *out);

static inline uint64_t chunk_count(uint64_t size) { return (size + CHUNK_SIZE - 1) / CHUNK_SIZE; }
static inline size_t chunk_bytes(uint64_t size, uint64_t index)
{
    uint64_t left = size - index * CHUNK_SIZE;
    return left < CHUNK_SIZE ? (size_t)left : CHUNK_SIZE;
}

#endif
