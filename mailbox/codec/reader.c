#include <manta/msgpack.h>

#include "mailbox/codec/head.h"

/* Remembers the first error and closes the reader: without bytes left every inlined path comes to a slow one, which sees the status. */
static void fail_at(manta_reader *r, const unsigned char *at, manta_status status, const char *expected)
{
    if (r->status != MANTA_OK) return;
    r->status = status;
    r->error_at = at;
    r->expected = expected;
    r->end = r->at;
}

void manta_reader_fail(manta_reader *r, manta_status status, const char *expected) { fail_at(r, r->at, status, expected); }

bool manta_reader_enter(manta_reader *r)
{
    if (r->status != MANTA_OK) return false;
    if (r->depth) {
        r->depth--;
        return true;
    }
    manta_reader_fail(r, MANTA_EDECODE, "a value that is not nested deeper than the limit");
    return false;
}

manta_kind manta_peek_kind(const manta_reader *r)
{
    codec_head head;
    codec_head_read(r->at, manta_reader_left(r), &head);
    return head.kind;
}

/*
 * Reads the head of a value of the kind wanted and passes over head and payload; the payload is then before r->at. False, with the error
 * set: another kind (ETYPE), no whole value (EDECODE).
 */
static bool read_kind(manta_reader *r, manta_kind kind, const char *expected, codec_head *head)
{
    if (r->status != MANTA_OK) return false;
    bool is_whole = codec_head_read(r->at, manta_reader_left(r), head);
    if (head->kind == MANTA_KIND_NONE || head->kind == MANTA_KIND_INVALID || (head->kind == kind && !is_whole)) {
        manta_reader_fail(r, MANTA_EDECODE, expected);
        return false;
    }
    if (head->kind != kind) {
        manta_reader_fail(r, MANTA_ETYPE, expected);
        return false;
    }
    r->at += head->size + head->body;
    return true;
}

/* The integer at `at`, whose `size` bytes are known to be there. */
static uint64_t integer_at(const unsigned char *at, size_t size, bool *out_negative)
{
    unsigned char scratch[MANTA_MSGPACK_SCALAR] = {0};
    uint64_t bits = 0;
    if (size == 1) {
        *out_negative = *at >= 0xe0;
        return (uint64_t)(int64_t)(int8_t)*at;
    }
    memcpy(scratch, at, size);
    *out_negative = false;
    manta_decode_integer(scratch, &bits, out_negative);
    return bits;
}

/* Gives back a value that was read and turned out not to fit. */
static void refuse(manta_reader *r, const codec_head *head, const char *expected)
{
    r->at -= head->size + head->body;
    manta_reader_fail(r, MANTA_ETYPE, expected);
}

static bool read_integer(manta_reader *r, const char *expected, codec_head *head, uint64_t *out_bits, bool *out_negative)
{
    if (!read_kind(r, MANTA_KIND_INTEGER, expected, head)) return false;
    size_t size = head->size + head->body;
    *out_bits = integer_at(r->at - size, size, out_negative);
    return true;
}

int64_t manta_reader_signed_slow(manta_reader *r, int64_t min, int64_t max, const char *expected)
{
    codec_head head;
    uint64_t bits;
    bool negative;
    if (!read_integer(r, expected, &head, &bits, &negative)) return 0;
    int64_t value = (int64_t)bits;
    if (negative == (value < 0) && value >= min && value <= max) return value;
    refuse(r, &head, expected);
    return 0;
}

uint64_t manta_reader_unsigned_slow(manta_reader *r, uint64_t max, const char *expected)
{
    codec_head head;
    uint64_t bits;
    bool negative;
    if (!read_integer(r, expected, &head, &bits, &negative)) return 0;
    if (!negative && bits <= max) return bits;
    refuse(r, &head, expected);
    return 0;
}

/* The float whose payload of `width` bytes is at `at`. A signalling NaN of 32 bits may become a quiet one. */
static double float_at(const unsigned char *at, size_t width)
{
    uint64_t bits = codec_load_be(at, width);
    uint32_t low = (uint32_t)bits;
    double value;
    float narrow;
    memcpy(&value, &bits, sizeof value);
    memcpy(&narrow, &low, sizeof narrow);
    return width == 4 ? (double)narrow : value;
}

/* True when an integer has at most `digits` binary digits between its highest and its lowest set bit, both included. */
static bool fits_mantissa(uint64_t bits, bool negative, int digits)
{
    uint64_t magnitude = negative ? 0 - bits : bits;
    return !magnitude || 64 - __builtin_clzll(magnitude) - __builtin_ctzll(magnitude) <= digits;
}

/* A number as a double; `digits` is how many binary digits an integer may have. Anything but a number is refused. */
static double read_number(manta_reader *r, int digits, const char *expected, codec_head *head)
{
    uint64_t bits;
    bool negative;
    if (manta_peek_kind(r) != MANTA_KIND_INTEGER) {
        if (!read_kind(r, MANTA_KIND_FLOAT, expected, head)) return 0;
        return float_at(r->at - head->body, (size_t)head->body);
    }
    if (!read_integer(r, expected, head, &bits, &negative)) return 0;
    if (fits_mantissa(bits, negative, digits)) return negative ? (double)(int64_t)bits : (double)bits;
    refuse(r, head, expected);
    return 0;
}

double manta_reader_double_slow(manta_reader *r)
{
    codec_head head;
    return read_number(r, 53, "a number that double holds exactly", &head);
}

float manta_reader_float_slow(manta_reader *r)
{
    static const char expected[] = "a number that float holds exactly";
    codec_head head;
    double wide = read_number(r, 24, expected, &head);
    if (__builtin_isnan(wide)) return (float)wide;
    if (!__builtin_isinf(wide) && __builtin_fabs(wide) > (double)__FLT_MAX__) { /* the conversion would be undefined */
        refuse(r, &head, expected);
        return 0;
    }
    float narrow = (float)wide;
    if ((double)narrow == wide) return narrow;
    refuse(r, &head, expected);
    return 0;
}

bool manta_reader_bool_slow(manta_reader *r)
{
    codec_head head;
    return read_kind(r, MANTA_KIND_BOOL, "a bool", &head) && r->at[-1] == 0xc3;
}

void manta_unpack_nil(manta_reader *r)
{
    codec_head head;
    read_kind(r, MANTA_KIND_NIL, "nil", &head);
}

/* The payload of a value of the kind wanted, as a view; empty on an error. */
static manta_bytes read_view(manta_reader *r, manta_kind kind, const char *expected, codec_head *head)
{
    if (!read_kind(r, kind, expected, head)) return (manta_bytes){NULL, 0};
    return (manta_bytes){r->at - head->body, (size_t)head->body};
}

void manta_reader_str_slow(manta_reader *r, manta_str *out)
{
    codec_head head;
    manta_bytes view = read_view(r, MANTA_KIND_STR, "a str", &head);
    *out = (manta_str){view.data, view.size};
}

void manta_unpack_manta_bytes(manta_reader *r, manta_bytes *out)
{
    codec_head head;
    *out = read_view(r, MANTA_KIND_BYTES, "bytes", &head);
}

void manta_unpack_ext(manta_reader *r, int8_t *out_type, manta_bytes *out_view)
{
    codec_head head = {.type = 0};
    *out_view = read_view(r, MANTA_KIND_EXT, "an ext", &head);
    *out_type = r->status == MANTA_OK ? head.type : 0;
}

void manta_unpack_array(manta_reader *r, uint32_t *out_count)
{
    codec_head head;
    *out_count = read_kind(r, MANTA_KIND_ARRAY, "an array", &head) ? (uint32_t)head.count : 0;
}

void manta_unpack_map(manta_reader *r, uint32_t *out_count)
{
    codec_head head;
    *out_count = read_kind(r, MANTA_KIND_MAP, "a map", &head) ? (uint32_t)head.count : 0;
}

void manta_reader_tuple_slow(manta_reader *r, uint32_t count, const char *expected)
{
    codec_head head;
    if (read_kind(r, MANTA_KIND_ARRAY, expected, &head) && head.count != count) refuse(r, &head, expected);
}

void manta_skip(manta_reader *r)
{
    if (r->status != MANTA_OK) return;
    unsigned depth = r->depth < MANTA_MSGPACK_MAX_DEPTH ? r->depth : MANTA_MSGPACK_MAX_DEPTH;
    codec_walk walk = codec_skip(r->at, r->end, depth);
    if (walk.expected) fail_at(r, walk.at, MANTA_EDECODE, walk.expected);
    else r->at = walk.at;
}

void manta_reader_take(manta_reader *r, manta_bytes *out_view)
{
    const unsigned char *from = r->at;
    manta_skip(r);
    *out_view = r->status == MANTA_OK ? (manta_bytes){from, (size_t)(r->at - from)} : (manta_bytes){NULL, 0};
}

manta_status manta_validate(const void *data, size_t size, const manta_msgpack_limits *limits)
{
    manta_msgpack_limits l = limits ? *limits : (manta_msgpack_limits){0};
    if (!l.max_bytes) l.max_bytes = MANTA_MSGPACK_MAX_BYTES;
    if (!l.max_depth) l.max_depth = MANTA_MSGPACK_DEPTH;
    if (l.max_depth > MANTA_MSGPACK_MAX_DEPTH) l.max_depth = MANTA_MSGPACK_MAX_DEPTH;
    if (size > l.max_bytes) return MANTA_ELIMIT;
    const unsigned char *start = data, *end = size ? start + size : start;
    codec_walk walk = codec_skip(start, end, l.max_depth);
    if (walk.expected || walk.at != end) return MANTA_EDECODE;
    return l.max_count && walk.count > l.max_count ? MANTA_ELIMIT : MANTA_OK;
}
