/*
 * The head of a MessagePack value: its first byte, its length field and, for an extension, its type. One table says what each byte means.
 *
 * Used by the exact paths of the reader, by manta_skip and by manta_validate; the inlined paths know the common forms themselves.
 * Pure functions, any thread.
 */
#ifndef MAILBOX_CODEC_HEAD_H
#define MAILBOX_CODEC_HEAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <manta/msgpack.h>

typedef struct codec_head {
    manta_kind kind;
    size_t size;       /* bytes of the head itself */
    uint64_t body;     /* bytes of payload after it: a number, text, data */
    uint64_t count;    /* elements of an array or map as written */
    uint64_t children; /* values that follow: count, or twice that for a map */
    int8_t type;       /* of an extension */
} codec_head;

/*
 * Reads the head at `at`, of which `left` bytes may be read. True when it, its payload and at least one byte for each of its children
 * lie within them. Otherwise false: the kind is set all the same (NONE when left is 0), and so is count once its bytes are there.
 */
bool codec_head_read(const unsigned char *at, size_t left, codec_head *out);

/* The big-endian number of `width` bytes (0..8) at `at`. */
uint64_t codec_load_be(const unsigned char *at, size_t width);

/* Where a walk over one value stopped. */
typedef struct codec_walk {
    const unsigned char *at; /* after the value, or at what was refused */
    const char *expected;    /* NULL when all was well */
    uint64_t count;          /* values seen */
} codec_walk;

/* Passes over one value with what it contains, at most `depth` (<= MANTA_MSGPACK_MAX_DEPTH) levels deep. Needs about 1 KiB of stack. */
codec_walk codec_skip(const unsigned char *at, const unsigned char *end, unsigned depth);

#endif
