#include <manta/msgpack.h>

#include "scheduler/base/alloc.h"

enum { FIRST_CAPACITY = 256 };

void manta_writer_fini(manta_writer *w)
{
    if (w->can_grow) base_free(w->start);
    manta_writer_init(w, NULL, 0);
}

void manta_writer_fail(manta_writer *w, manta_status status)
{
    if (w->status == MANTA_OK) w->status = status;
    w->end = w->at; /* no room: every inlined path now comes to a slow one, which sees the status */
}

/* The capacity to grow to for `need` bytes, which are at most w->max_bytes. */
static size_t next_capacity(const manta_writer *w, size_t need)
{
    size_t capacity = w->capacity > w->max_bytes / 2 ? w->max_bytes : w->capacity * 2;
    if (capacity < FIRST_CAPACITY) capacity = FIRST_CAPACITY;
    if (capacity < need) capacity = need;
    return capacity < w->max_bytes ? capacity : w->max_bytes;
}

bool manta_writer_reserve(manta_writer *w, size_t size)
{
    if (w->status != MANTA_OK) return false;
    if (manta_writer_room(w) >= size) return true;
    size_t used = manta_writer_size(w);
    if (!w->can_grow || used > w->max_bytes || size > w->max_bytes - used) {
        manta_writer_fail(w, MANTA_ELIMIT);
        return false;
    }
    size_t capacity = next_capacity(w, used + size);
    unsigned char *start = base_realloc(w->start, capacity);
    if (!start) {
        manta_writer_fail(w, MANTA_ENOMEM);
        return false;
    }
    w->start = start;
    w->at = start + used;
    w->end = start + capacity;
    w->capacity = capacity;
    return true;
}

void manta_pack_raw(manta_writer *w, const void *data, size_t size)
{
    if (!manta_writer_reserve(w, size) || !size) return;
    memcpy(w->at, data, size);
    w->at += size;
}

void manta_writer_integer_slow(manta_writer *w, uint64_t bits, bool is_negative)
{
    unsigned char scratch[MANTA_MSGPACK_SCALAR];
    manta_pack_raw(w, scratch, manta_encode_integer(scratch, bits, is_negative));
}

/* Puts a tag and a big-endian number of `width` bytes (0..8) at `to`; returns the size of both. */
static size_t put_tagged(unsigned char *to, unsigned tag, uint64_t value, unsigned width)
{
    to[0] = (unsigned char)tag;
    for (unsigned i = 0; i < width; i++) to[1 + i] = (unsigned char)(value >> 8 * (width - 1 - i));
    return 1 + (size_t)width;
}

void manta_writer_tagged_slow(manta_writer *w, unsigned tag, uint64_t value, unsigned width)
{
    unsigned char scratch[MANTA_MSGPACK_SCALAR];
    manta_pack_raw(w, scratch, put_tagged(scratch, tag, value, width));
}

void manta_writer_array_slow(manta_writer *w, uint32_t count)
{
    if (count < 16) manta_writer_tagged_slow(w, 0x90 + count, 0, 0);
    else if (count <= UINT16_MAX) manta_writer_tagged_slow(w, 0xdc, count, 2);
    else manta_writer_tagged_slow(w, 0xdd, count, 4);
}

void manta_pack_map(manta_writer *w, uint32_t count)
{
    if (count < 16) manta_writer_tagged_slow(w, 0x80 + count, 0, 0);
    else if (count <= UINT16_MAX) manta_writer_tagged_slow(w, 0xde, count, 2);
    else manta_writer_tagged_slow(w, 0xdf, count, 4);
}

/* Adds a head and its payload, both or, when there is no room for both, neither: a reader of what is there sees no half value. */
static void put_with_head(manta_writer *w, const unsigned char *head, size_t head_size, const void *data, size_t size)
{
    if (size > UINT32_MAX) {
        manta_writer_fail(w, MANTA_ELIMIT);
        return;
    }
    if (!manta_writer_reserve(w, head_size + size)) return;
    memcpy(w->at, head, head_size);
    if (size) memcpy(w->at + head_size, data, size);
    w->at += head_size + size;
}

/* A head whose tag for an 8-bit length is `tag8`, and for 16 and 32 bits the next two. */
static size_t put_length(unsigned char *to, unsigned tag8, size_t size)
{
    if (size <= UINT8_MAX) return put_tagged(to, tag8, size, 1);
    if (size <= UINT16_MAX) return put_tagged(to, tag8 + 1, size, 2);
    return put_tagged(to, tag8 + 2, size, 4);
}

void manta_writer_str_slow(manta_writer *w, const void *data, size_t size)
{
    unsigned char head[MANTA_MSGPACK_SCALAR];
    size_t head_size = size < 32 ? put_tagged(head, 0xa0 + (unsigned)size, 0, 0) : put_length(head, 0xd9, size);
    put_with_head(w, head, head_size, data, size);
}

void manta_pack_manta_bytes(manta_writer *w, const manta_bytes *value)
{
    unsigned char head[MANTA_MSGPACK_SCALAR];
    put_with_head(w, head, put_length(head, 0xc4, value->size), value->data, value->size);
}

void manta_pack_ext(manta_writer *w, int8_t type, const void *data, size_t size)
{
    unsigned char head[MANTA_MSGPACK_SCALAR];
    bool is_fixed = size && size <= 16 && !(size & (size - 1));
    size_t head_size = is_fixed ? put_tagged(head, 0xd4 + (unsigned)__builtin_ctzll(size), 0, 0) : put_length(head, 0xc7, size);
    head[head_size++] = (unsigned char)type;
    put_with_head(w, head, head_size, data, size);
}
