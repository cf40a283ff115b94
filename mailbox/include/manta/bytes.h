/*
 * manta_str and manta_bytes: a pointer and a size, views that own nothing.
 *
 * A view is valid as long as the memory it points into; whoever hands one out says how long that is. A manta_str is not ended by a NUL and
 * may contain one. An empty view may have any pointer, NULL too.
 */
#ifndef MANTA_BYTES_H
#define MANTA_BYTES_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct manta_str {
    const char *data;
    size_t size; /* bytes */
} manta_str;

typedef struct manta_bytes {
    const void *data;
    size_t size; /* bytes */
} manta_bytes;

/* A view of a C string without its NUL; NULL gives the empty view. Lives as long as `text`. */
static inline manta_str manta_str_of(const char *text)
{
    manta_str view;
    view.data = text;
    view.size = text ? strlen(text) : 0;
    return view;
}

/* For the functions whose bodies the hot path needs in place: gcc gives up on them once a message has many fields. */
#define MANTA_MSGPACK_INLINE static inline __attribute__((always_inline))

/* Copies 0..31 bytes by two overlapping moves of fixed size each; a call of memcpy costs more than the rest of a short message. */
MANTA_MSGPACK_INLINE void manta_copy_short(unsigned char *to, const char *from, size_t size)
{
    if (size >= 16) {
        memcpy(to, from, 16);
        memcpy(to + size - 16, from + size - 16, 16);
    } else if (size >= 8) {
        memcpy(to, from, 8);
        memcpy(to + size - 8, from + size - 8, 8);
    } else if (size >= 4) {
        memcpy(to, from, 4);
        memcpy(to + size - 4, from + size - 4, 4);
    } else if (size) {
        to[0] = (unsigned char)from[0];
        to[size / 2] = (unsigned char)from[size / 2];
        to[size - 1] = (unsigned char)from[size - 1];
    }
}

#ifdef __cplusplus
}
#endif
#endif
