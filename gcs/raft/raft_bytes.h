/*
 * Numbers as little-endian bytes, for the encodings of configurations and messages. A raft_reader stays inside its bytes: reading beyond the end gives zeros and sets `failed`.
 */
#ifndef MANTA_GCS_RAFT_BYTES_H
#define MANTA_GCS_RAFT_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct raft_reader {
    const unsigned char *bytes;
    size_t size, at;
    bool failed;
} raft_reader;

/* The next n bytes, or NULL when fewer are left. */
static inline const unsigned char *raft_take(raft_reader *r, size_t n)
{
    if (r->failed || r->size - r->at < n) {
        r->failed = true;
        return NULL;
    }
    const unsigned char *p = r->bytes + r->at;
    r->at += n;
    return p;
}

/* A number of n bytes, n <= 8. */
static inline uint64_t raft_take_number(raft_reader *r, size_t n)
{
    const unsigned char *p = raft_take(r, n);
    uint64_t v = 0;
    for (size_t i = n; p && i-- > 0;) v = v << 8 | p[i];
    return v;
}

/* Writes n bytes of v at p and returns the end. */
static inline unsigned char *raft_put_number(unsigned char *p, uint64_t v, size_t n)
{
    for (size_t i = 0; i < n; i++, v >>= 8) *p++ = (unsigned char)v;
    return p;
}

#endif
