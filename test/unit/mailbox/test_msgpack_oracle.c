/*
 * The codec against two others: msgpack-c, which must write the same bytes and read ours, and a list of tokens, the simplest model of a
 * message that there is. Everything is random from test_seed().
 */
#include <math.h>

#include <manta/msgpack.h>
#include <msgpack.h>

#include "scheduler/base/rng.h"
#include "test/support/test.h"

enum { MAX_TOKENS = 400, MAX_TEXT = 70000 };

/* One value, or the head of an array or map whose elements are the tokens after it. */
typedef struct token {
    manta_kind kind;
    bool is_negative, is_narrow; /* of an integer; a float of 32 bits */
    uint64_t bits;               /* of an integer */
    double real;
    bool flag;
    int8_t type;
    uint32_t size; /* bytes of payload, or elements */
} token;

static token tokens[MAX_TOKENS];
static size_t token_count;
static char text[MAX_TEXT];

static void fill_text(rng *r)
{
    for (size_t i = 0; i < sizeof text; i++) text[i] = (char)rng_next(r);
}

/* Sizes crowd around the boundaries of the forms; most are small. */
static uint32_t random_size(rng *r)
{
    static const uint32_t edges[] = {0, 1, 4, 8, 15, 16, 31, 32, 255, 256, 65535, 65536};
    uint64_t pick = rng_below(r, 100);
    if (pick < 80) return (uint32_t)rng_below(r, 40);
    if (pick < 98) return edges[rng_below(r, 10)];
    return edges[10 + rng_below(r, 2)];
}

/* Doubles of all kinds: any bits, small whole numbers, values that a float holds. */
static double random_real(rng *r)
{
    uint64_t bits = rng_next(r);
    double value;
    memcpy(&value, &bits, sizeof value);
    if (bits % 4 == 0) return (double)(int64_t)(rng_next(r) % 4096) - 2048;
    if (bits % 4 == 1) return (double)(float)(rng_unit(r) * 100);
    return isnan(value) ? 0.1 : value;
}

static void random_scalar(rng *r, token *t)
{
    t->bits = rng_next(r) >> rng_below(r, 64);
    t->is_negative = t->kind == MANTA_KIND_INTEGER && t->bits <= INT64_MAX && rng_below(r, 2);
    if (t->is_negative) t->bits = ~t->bits;
    t->is_narrow = rng_below(r, 2);
    t->real = random_real(r);
    if (t->is_narrow) t->real = fabs(t->real) > 1e30 ? 1e30f : (double)(float)t->real;
    t->flag = rng_below(r, 2);
    t->type = (int8_t)rng_next(r);
    t->size = random_size(r);
}

/* Appends one random value with what it contains. */
static void random_value(rng *r, unsigned depth)
{
    token *t = &tokens[token_count++];
    *t = (token){.kind = (manta_kind)(MANTA_KIND_NIL + rng_below(r, MANTA_KIND_EXT))};
    random_scalar(r, t);
    if (t->kind != MANTA_KIND_ARRAY && t->kind != MANTA_KIND_MAP) return;
    unsigned per_element = t->kind == MANTA_KIND_MAP ? 2 : 1;
    t->size = (uint32_t)rng_below(r, rng_below(r, 8) ? 5 : 20);
    if (depth == 6 || token_count + (size_t)per_element * t->size > MAX_TOKENS / 2) t->size = 0;
    for (uint32_t i = 0; i < per_element * t->size; i++) {
        if (token_count < MAX_TOKENS / 2) random_value(r, depth + 1);
        else tokens[token_count++] = (token){.kind = MANTA_KIND_NIL};
    }
}

static void random_message(rng *r)
{
    do {
        token_count = 0;
        random_value(r, 0);
    } while (token_count > MAX_TOKENS - 40);
}

/* Packs an integer by a function of ours chosen at random among those whose type holds it: all must write the same. */
static void pack_integer(rng *r, manta_writer *w, const token *t)
{
    int64_t value = (int64_t)t->bits;
    bool is_signed = t->is_negative || t->bits <= INT64_MAX;
    unsigned pick = (unsigned)rng_below(r, 8);
    if (pick == 0 && is_signed && value >= INT8_MIN && value <= INT8_MAX) manta_pack_int8_t(w, &(int8_t){(int8_t)value});
    else if (pick == 1 && is_signed && value >= INT16_MIN && value <= INT16_MAX) manta_pack_int16_t(w, &(int16_t){(int16_t)value});
    else if (pick == 2 && is_signed && value >= INT32_MIN && value <= INT32_MAX) manta_pack_int32_t(w, &(int32_t){(int32_t)value});
    else if (pick == 3 && !t->is_negative && t->bits <= UINT8_MAX) manta_pack_uint8_t(w, &(uint8_t){(uint8_t)t->bits});
    else if (pick == 4 && !t->is_negative && t->bits <= UINT16_MAX) manta_pack_uint16_t(w, &(uint16_t){(uint16_t)t->bits});
    else if (pick == 5 && !t->is_negative && t->bits <= UINT32_MAX) manta_pack_uint32_t(w, &(uint32_t){(uint32_t)t->bits});
    else if (is_signed) manta_pack_int64_t(w, &value);
    else manta_pack_uint64_t(w, &t->bits);
}

static void pack_ours(rng *r, manta_writer *w, const token *t)
{
    switch (t->kind) {
    case MANTA_KIND_NIL: manta_pack_nil(w); break;
    case MANTA_KIND_BOOL: manta_pack_bool(w, &t->flag); break;
    case MANTA_KIND_INTEGER: pack_integer(r, w, t); break;
    case MANTA_KIND_FLOAT:
        if (t->is_narrow) manta_pack_float(w, &(float){(float)t->real});
        else manta_pack_double(w, &t->real);
        break;
    case MANTA_KIND_STR: manta_pack_manta_str(w, &(manta_str){text, t->size}); break;
    case MANTA_KIND_BYTES: manta_pack_manta_bytes(w, &(manta_bytes){text, t->size}); break;
    case MANTA_KIND_ARRAY: manta_pack_array(w, t->size); break;
    case MANTA_KIND_MAP: manta_pack_map(w, t->size); break;
    default: manta_pack_ext(w, t->type, text, t->size); break;
    }
}

static void pack_theirs(msgpack_packer *p, const token *t)
{
    switch (t->kind) {
    case MANTA_KIND_NIL: msgpack_pack_nil(p); break;
    case MANTA_KIND_BOOL: t->flag ? msgpack_pack_true(p) : msgpack_pack_false(p); break;
    case MANTA_KIND_INTEGER: t->is_negative ? msgpack_pack_int64(p, (int64_t)t->bits) : msgpack_pack_uint64(p, t->bits); break;
    case MANTA_KIND_FLOAT: t->is_narrow ? msgpack_pack_float(p, (float)t->real) : msgpack_pack_double(p, t->real); break;
    case MANTA_KIND_STR: msgpack_pack_str_with_body(p, text, t->size); break;
    case MANTA_KIND_BYTES: msgpack_pack_bin_with_body(p, text, t->size); break;
    case MANTA_KIND_ARRAY: msgpack_pack_array(p, t->size); break;
    case MANTA_KIND_MAP: msgpack_pack_map(p, t->size); break;
    default: msgpack_pack_ext_with_body(p, text, t->size, t->type); break;
    }
}

/* Their payload is the token's; an empty one may be NULL. */
static bool is_payload(const token *t, manta_kind kind, const void *data, size_t size)
{
    return t->kind == kind && size == t->size && (!size || !memcmp(data, text, size));
}

/* True when their object is the value that begins at tokens[*next], which then stands after it. */
static bool object_matches(const msgpack_object *o, size_t *next)
{
    const token *t = &tokens[(*next)++];
    switch (o->type) {
    case MSGPACK_OBJECT_NIL: return t->kind == MANTA_KIND_NIL;
    case MSGPACK_OBJECT_BOOLEAN: return t->kind == MANTA_KIND_BOOL && o->via.boolean == t->flag;
    case MSGPACK_OBJECT_POSITIVE_INTEGER: return t->kind == MANTA_KIND_INTEGER && !t->is_negative && o->via.u64 == t->bits;
    case MSGPACK_OBJECT_NEGATIVE_INTEGER: return t->kind == MANTA_KIND_INTEGER && t->is_negative && o->via.i64 == (int64_t)t->bits;
    case MSGPACK_OBJECT_FLOAT32: return t->kind == MANTA_KIND_FLOAT && t->is_narrow && o->via.f64 == t->real;
    case MSGPACK_OBJECT_FLOAT64: return t->kind == MANTA_KIND_FLOAT && !t->is_narrow && o->via.f64 == t->real;
    case MSGPACK_OBJECT_STR: return is_payload(t, MANTA_KIND_STR, o->via.str.ptr, o->via.str.size);
    case MSGPACK_OBJECT_BIN: return is_payload(t, MANTA_KIND_BYTES, o->via.bin.ptr, o->via.bin.size);
    case MSGPACK_OBJECT_EXT: return is_payload(t, MANTA_KIND_EXT, o->via.ext.ptr, o->via.ext.size) && o->via.ext.type == t->type;
    case MSGPACK_OBJECT_ARRAY:
        if (t->kind != MANTA_KIND_ARRAY || o->via.array.size != t->size) return false;
        for (uint32_t i = 0; i < t->size; i++) {
            if (!object_matches(&o->via.array.ptr[i], next)) return false;
        }
        return true;
    default:
        if (t->kind != MANTA_KIND_MAP || o->via.map.size != t->size) return false;
        for (uint32_t i = 0; i < t->size; i++) {
            if (!object_matches(&o->via.map.ptr[i].key, next) || !object_matches(&o->via.map.ptr[i].val, next)) return false;
        }
        return true;
    }
}

/* What they make of the bytes: consumed, or 0 when they take them for no whole value. Only for data without huge counts. */
static size_t their_size(const unsigned char *data, size_t size, bool must_match)
{
    msgpack_unpacked result;
    size_t offset = 0, next = 0;
    msgpack_unpacked_init(&result);
    msgpack_unpack_return status = msgpack_unpack_next(&result, (const char *)data, size, &offset);
    bool is_good = status == MSGPACK_UNPACK_SUCCESS && (!must_match || (object_matches(&result.data, &next) && next == token_count));
    msgpack_unpacked_destroy(&result);
    return is_good ? offset : 0;
}

/* Random messages: the same bytes from both writers, and theirs reads ours as the tokens. */
TEST(same_bytes_as_msgpack_c)
{
    rng r;
    rng_init(&r, test_seed());
    fill_text(&r);
    for (int round = 0; round < 15000; round++) {
        random_message(&r);
        manta_writer w;
        msgpack_sbuffer theirs;
        msgpack_packer p;
        manta_writer_init_growing(&w);
        msgpack_sbuffer_init(&theirs);
        msgpack_packer_init(&p, &theirs, msgpack_sbuffer_write);
        for (size_t i = 0; i < token_count; i++) {
            pack_ours(&r, &w, &tokens[i]);
            pack_theirs(&p, &tokens[i]);
        }
        bool is_same = w.status == MANTA_OK && manta_writer_size(&w) == theirs.size && !memcmp(w.start, theirs.data, theirs.size);
        bool is_read = their_size(w.start, manta_writer_size(&w), true) == manta_writer_size(&w);
        bool is_valid = manta_validate(w.start, manta_writer_size(&w), NULL) == MANTA_OK;
        msgpack_sbuffer_destroy(&theirs);
        manta_writer_fini(&w);
        EXPECT(is_same);
        EXPECT(is_read);
        EXPECT(is_valid);
    }
}

/* TRY(int8_t, INT8_MIN, INT8_MAX): reads as this type; right when it is taken exactly if the token is an integer in this range. */
#define TRY(T, min, max) \
    do { \
        T out; \
        bool in_range = t->is_negative ? (int64_t)t->bits >= (int64_t)(min) : t->bits <= (uint64_t)(max); \
        bool fits = t->kind == MANTA_KIND_INTEGER && in_range; \
        manta_unpack_##T(r, &out); \
        return fits ? r->status == MANTA_OK && (uint64_t)out == t->bits : r->status == MANTA_ETYPE && !out; \
    } while (0)

/* The number that a token stands for as a double, NaN when it has none that is exact. */
static double token_number(const token *t)
{
    if (t->kind == MANTA_KIND_FLOAT) return t->real;
    if (t->kind != MANTA_KIND_INTEGER) return NAN;
    long double exact = t->is_negative ? (long double)(int64_t)t->bits : (long double)t->bits;
    return (long double)(double)exact == exact ? (double)exact : NAN;
}

static bool try_number(manta_reader *r, const token *t, bool as_float)
{
    double wide = 1, want = token_number(t);
    float narrow = 1;
    bool fits = !isnan(want);
    if (as_float) {
        fits = fits && (isinf(want) || (fabs(want) <= (double)__FLT_MAX__ && (double)(float)want == want));
        manta_unpack_float(r, &narrow);
        wide = (double)narrow;
    } else manta_unpack_double(r, &wide);
    return fits ? r->status == MANTA_OK && wide == want : r->status == MANTA_ETYPE && wide == 0;
}

static bool try_payload(manta_reader *r, const token *t, manta_kind kind)
{
    manta_str str = {NULL, 0};
    manta_bytes view = {NULL, 0};
    int8_t type = 0;
    if (kind == MANTA_KIND_STR) manta_unpack_manta_str(r, &str);
    else if (kind == MANTA_KIND_BYTES) manta_unpack_manta_bytes(r, &view);
    else manta_unpack_ext(r, &type, &view);
    if (kind == MANTA_KIND_STR) view = (manta_bytes){str.data, str.size};
    if (t->kind != kind) return r->status == MANTA_ETYPE && !view.data && !view.size;
    if (kind == MANTA_KIND_EXT && type != t->type) return false;
    return r->status == MANTA_OK && view.size == t->size && !memcmp(view.data, text, t->size);
}

static bool try_head(manta_reader *r, const token *t, manta_kind kind)
{
    uint32_t count = 77;
    if (kind == MANTA_KIND_ARRAY) manta_unpack_array(r, &count);
    else manta_unpack_map(r, &count);
    return t->kind == kind ? r->status == MANTA_OK && count == t->size : r->status == MANTA_ETYPE && !count;
}

/* Reads the next value as the type number `as`; true when the codec did what the token says it should. */
static bool try_as(manta_reader *r, const token *t, unsigned as)
{
    bool flag = true;
    switch (as) {
    case 0: TRY(int8_t, INT8_MIN, INT8_MAX);
    case 1: TRY(int16_t, INT16_MIN, INT16_MAX);
    case 2: TRY(int32_t, INT32_MIN, INT32_MAX);
    case 3: TRY(int64_t, INT64_MIN, INT64_MAX);
    case 4: TRY(uint8_t, 0, UINT8_MAX);
    case 5: TRY(uint16_t, 0, UINT16_MAX);
    case 6: TRY(uint32_t, 0, UINT32_MAX);
    case 7: TRY(uint64_t, 0, UINT64_MAX);
    case 8: return try_number(r, t, false);
    case 9: return try_number(r, t, true);
    case 10: return try_payload(r, t, MANTA_KIND_STR);
    case 11: return try_payload(r, t, MANTA_KIND_BYTES);
    case 12: return try_payload(r, t, MANTA_KIND_EXT);
    case 13: return try_head(r, t, MANTA_KIND_ARRAY);
    case 14: return try_head(r, t, MANTA_KIND_MAP);
    case 15: manta_unpack_nil(r); return (r->status == MANTA_OK) == (t->kind == MANTA_KIND_NIL);
    default:
        manta_unpack_bool(r, &flag);
        return t->kind == MANTA_KIND_BOOL ? r->status == MANTA_OK && flag == t->flag : r->status == MANTA_ETYPE && !flag;
    }
}

/* Random reads of random messages do what the list of tokens says: taken with the right value, or refused without moving. */
TEST(reads_agree_with_the_list_of_values)
{
    rng r;
    rng_init(&r, test_seed() + 1);
    fill_text(&r);
    for (int round = 0; round < 10000; round++) {
        random_message(&r);
        manta_writer w;
        manta_reader main_reader;
        bool is_right = true;
        manta_writer_init_growing(&w);
        for (size_t i = 0; i < token_count; i++) pack_ours(&r, &w, &tokens[i]);
        manta_reader_init(&main_reader, w.start, manta_writer_size(&w));
        for (size_t i = 0; i < token_count && is_right; i++) {
            bool has_advanced = false;
            is_right = manta_peek_kind(&main_reader) == tokens[i].kind;
            while (is_right && !has_advanced) {
                manta_reader copy = main_reader;
                is_right = try_as(&copy, &tokens[i], (unsigned)rng_below(&r, 17));
                has_advanced = copy.status == MANTA_OK;
                if (has_advanced) main_reader = copy;
                else is_right = is_right && copy.at == main_reader.at;
                /* -1.5 or a str is refused by most types: the loop goes on to one that takes it */
            }
        }
        is_right = is_right && main_reader.at == main_reader.end;
        manta_writer_fini(&w);
        EXPECT(is_right);
    }
}

/* True when no 32-bit count in the data, at whatever offset, makes msgpack-c reserve more than a few MiB. */
static bool is_bounded_for_them(const unsigned char *data, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        bool has_count = (data[i] == 0xdd || data[i] == 0xdf) && size - i >= 5;
        if (has_count && (data[i + 1] || data[i + 2])) return false;
    }
    return true;
}

/* Cuts the data short, or changes up to 4 bytes of it. */
static size_t damage(rng *r, unsigned char *data, size_t size)
{
    if (rng_below(r, 3) == 0) return (size_t)rng_below(r, size);
    for (uint64_t n = 1 + rng_below(r, 4); n; n--) {
        size_t at = (size_t)rng_below(r, size);
        data[at] = (unsigned char)(rng_below(r, 2) ? 0xc0 + rng_below(r, 32) : rng_next(r));
    }
    return size;
}

/* Damaged messages never crash, and are taken for a whole value of the same size exactly when msgpack-c does so. */
TEST(damaged_messages_are_judged_like_msgpack_c_does)
{
    enum { LARGEST = 4096 };
    rng r;
    rng_init(&r, test_seed() + 2);
    fill_text(&r);
    int accepted = 0, refused = 0;
    for (int round = 0; round < 100000; round++) {
        unsigned char data[LARGEST];
        manta_writer w;
        random_message(&r);
        manta_writer_init(&w, data, sizeof data);
        for (size_t i = 0; i < token_count; i++) pack_ours(&r, &w, &tokens[i]);
        if (!manta_writer_size(&w)) continue;
        size_t size = damage(&r, data, manta_writer_size(&w));
        unsigned char *copy = malloc(size ? size : 1); /* ends with its block, so that the sanitizers see a read beyond it */
        EXPECT(copy);
        memcpy(copy, data, size);
        manta_reader reader;
        manta_reader_init(&reader, copy, size);
        manta_skip(&reader);
        size_t ours = reader.status == MANTA_OK ? size - manta_reader_left(&reader) : 0;
        size_t theirs = ours || is_bounded_for_them(copy, size) ? their_size(copy, size, false) : 0;
        bool is_valid = manta_validate(copy, size, NULL) == MANTA_OK;
        free(copy);
        EXPECT_EQ(ours, theirs);
        EXPECT(is_valid == (ours && ours == size));
        ours ? accepted++ : refused++;
    }
    EXPECT(accepted > 1000 && refused > 1000);
}
