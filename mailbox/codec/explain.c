/* The words for what a reader refused. Apart from the reader, because only those who report an error need it. */
#include <inttypes.h>
#include <stdio.h>

#include <manta/msgpack.h>

#include "mailbox/codec/head.h"

static const char *const kind_names[] = {
    [MANTA_KIND_NONE] = "the end of the data",
    [MANTA_KIND_NIL] = "nil",
    [MANTA_KIND_BOOL] = "bool",
    [MANTA_KIND_INTEGER] = "integer",
    [MANTA_KIND_FLOAT] = "float",
    [MANTA_KIND_STR] = "str",
    [MANTA_KIND_BYTES] = "bytes",
    [MANTA_KIND_ARRAY] = "array",
    [MANTA_KIND_MAP] = "map",
    [MANTA_KIND_EXT] = "ext",
    [MANTA_KIND_INVALID] = "the unused byte c1",
};

const char *manta_kind_name(manta_kind kind)
{
    if ((size_t)kind >= sizeof kind_names / sizeof kind_names[0]) return "no kind";
    return kind_names[kind];
}

/* "integer 70000", "float 0.1": numbers with their value, since it is the value that did not fit. */
static void describe_number(const unsigned char *at, size_t left, manta_kind kind, char *out, size_t out_size)
{
    manta_reader r;
    manta_reader_init(&r, at, left);
    if (kind == MANTA_KIND_FLOAT) {
        double value;
        manta_unpack_double(&r, &value);
        snprintf(out, out_size, "float %.17g", value);
        return;
    }
    if (at[0] >= 0xd0) {
        int64_t value;
        manta_unpack_int64_t(&r, &value);
        snprintf(out, out_size, "integer %" PRId64, value);
        return;
    }
    uint64_t value;
    manta_unpack_uint64_t(&r, &value);
    snprintf(out, out_size, "integer %" PRIu64, value);
}

/* Describes the value at `at`: "str", "integer 70000", "array of 2", "bytes cut short". */
static void describe(const unsigned char *at, size_t left, char *out, size_t out_size)
{
    codec_head head;
    bool is_whole = codec_head_read(at, left, &head);
    bool is_scalar = head.kind == MANTA_KIND_INTEGER || head.kind == MANTA_KIND_FLOAT;
    bool is_container = head.kind == MANTA_KIND_ARRAY || head.kind == MANTA_KIND_MAP;
    if (is_scalar && is_whole) describe_number(at, left, head.kind, out, out_size);
    else if (is_container && head.size <= left) {
        snprintf(out, out_size, "%s of %" PRIu64 "%s", manta_kind_name(head.kind), head.count, is_whole ? "" : ", more than the data left");
    } else {
        bool is_cut = !is_whole && head.kind != MANTA_KIND_NONE && head.kind != MANTA_KIND_INVALID;
        snprintf(out, out_size, "%s%s", manta_kind_name(head.kind), is_cut ? " cut short" : "");
    }
}

size_t manta_reader_explain(const manta_reader *r, char *out, size_t out_size)
{
    char found[96];
    if (r->status == MANTA_OK) return (size_t)snprintf(out, out_size, "no error");
    size_t offset = r->error_at ? (size_t)(r->error_at - r->start) : 0;
    if (r->size > MANTA_MSGPACK_MAX_BYTES) snprintf(found, sizeof found, "%zu bytes", r->size);
    else describe(r->error_at, r->size - offset, found, sizeof found);
    return (size_t)snprintf(out, out_size, "byte %zu: expected %s, found %s", offset, r->expected, found);
}
