#include <float.h>
#include <limits.h>
#include <math.h>

#include <manta/msgpack.h>

#include "scheduler/base/alloc.h"
#include "test/support/test.h"

static unsigned char buffer[1 << 18];

/* The bytes written by `w` are exactly these. */
static bool wrote(const manta_writer *w, const char *bytes, size_t size)
{
    return w->status == MANTA_OK && manta_writer_size(w) == size && !memcmp(w->start, bytes, size);
}

/* A string literal with its size but without its NUL, as two arguments. */
#define LITERAL(text) text, sizeof(text) - 1

/* INTEGER_CASE(int8_t, -1, "\xff") packs -1, compares with the bytes and reads it back, also when the bytes end with the data. */
#define INTEGER_CASE(T, number, bytes) \
    do { \
        manta_writer w; \
        T value = (T)(number), back = 99; \
        manta_writer_init(&w, buffer, sizeof buffer); \
        manta_pack_##T(&w, &value); \
        EXPECT(wrote(&w, LITERAL(bytes))); \
        manta_reader r; \
        manta_reader_init(&r, buffer, sizeof(bytes) - 1); \
        manta_unpack_##T(&r, &back); \
        EXPECT(r.status == MANTA_OK && back == value && r.at == r.end); \
        back = 99; \
        manta_reader_init(&r, buffer, sizeof buffer); \
        manta_unpack_##T(&r, &back); \
        EXPECT(r.status == MANTA_OK && back == value && r.at == r.start + sizeof(bytes) - 1); \
        manta_writer_init(&w, buffer, sizeof(bytes) - 1); \
        manta_pack_##T(&w, &value); \
        EXPECT(wrote(&w, LITERAL(bytes))); \
        manta_writer_init(&w, buffer, sizeof(bytes) - 2); \
        manta_pack_##T(&w, &value); \
        EXPECT(w.status == MANTA_ELIMIT && !manta_writer_size(&w)); \
    } while (0)

/* Each integer takes the smallest form at and around every boundary of the specification, in an ample and in an exactly fitting buffer. */
TEST(signed_integers_take_their_smallest_form)
{
    INTEGER_CASE(int64_t, 0, "\x00");
    INTEGER_CASE(int64_t, 127, "\x7f");
    INTEGER_CASE(int64_t, 128, "\xcc\x80");
    INTEGER_CASE(int64_t, 255, "\xcc\xff");
    INTEGER_CASE(int64_t, 256, "\xcd\x01\x00");
    INTEGER_CASE(int64_t, 65535, "\xcd\xff\xff");
    INTEGER_CASE(int64_t, 65536, "\xce\x00\x01\x00\x00");
    INTEGER_CASE(int64_t, UINT32_MAX, "\xce\xff\xff\xff\xff");
    INTEGER_CASE(int64_t, 1LL << 32, "\xcf\x00\x00\x00\x01\x00\x00\x00\x00");
    INTEGER_CASE(int64_t, INT64_MAX, "\xcf\x7f\xff\xff\xff\xff\xff\xff\xff");
    INTEGER_CASE(int64_t, -1, "\xff");
    INTEGER_CASE(int64_t, -32, "\xe0");
    INTEGER_CASE(int64_t, -33, "\xd0\xdf");
    INTEGER_CASE(int64_t, -128, "\xd0\x80");
    INTEGER_CASE(int64_t, -129, "\xd1\xff\x7f");
    INTEGER_CASE(int64_t, -32768, "\xd1\x80\x00");
    INTEGER_CASE(int64_t, -32769, "\xd2\xff\xff\x7f\xff");
    INTEGER_CASE(int64_t, INT32_MIN, "\xd2\x80\x00\x00\x00");
    INTEGER_CASE(int64_t, INT32_MIN - 1LL, "\xd3\xff\xff\xff\xff\x7f\xff\xff\xff");
    INTEGER_CASE(int64_t, INT64_MIN, "\xd3\x80\x00\x00\x00\x00\x00\x00\x00");
}

/* The other integer types write the same bytes as int64_t does for the same number, at both ends of their ranges. */
TEST(narrow_integers_take_the_same_forms)
{
    INTEGER_CASE(int8_t, -128, "\xd0\x80");
    INTEGER_CASE(int8_t, 127, "\x7f");
    INTEGER_CASE(int16_t, -32768, "\xd1\x80\x00");
    INTEGER_CASE(int16_t, 32767, "\xcd\x7f\xff");
    INTEGER_CASE(int32_t, INT32_MIN, "\xd2\x80\x00\x00\x00");
    INTEGER_CASE(int32_t, INT32_MAX, "\xce\x7f\xff\xff\xff");
    INTEGER_CASE(uint8_t, 127, "\x7f");
    INTEGER_CASE(uint8_t, 255, "\xcc\xff");
    INTEGER_CASE(uint16_t, 65535, "\xcd\xff\xff");
    INTEGER_CASE(uint32_t, UINT32_MAX, "\xce\xff\xff\xff\xff");
    INTEGER_CASE(uint64_t, UINT32_MAX, "\xce\xff\xff\xff\xff");
    INTEGER_CASE(uint64_t, UINT64_MAX, "\xcf\xff\xff\xff\xff\xff\xff\xff\xff");
}

/*
 * TAKES(int8_t, "\xd3...", true) expects that these bytes, padded or not, are accepted as an int8_t. A refusal is ETYPE, gives 0 and does
 * not advance.
 */
#define TAKES(T, bytes, accepted) \
    do { \
        for (int padded = 0; padded < 2; padded++) { \
            T value = 99; \
            manta_reader r; \
            memset(buffer, 0, 32); \
            memcpy(buffer, LITERAL(bytes)); \
            manta_reader_init(&r, buffer, padded ? 32 : sizeof(bytes) - 1); \
            manta_unpack_##T(&r, &value); \
            EXPECT_EQ(r.status, (accepted) ? MANTA_OK : MANTA_ETYPE); \
            EXPECT(r.status == MANTA_OK ? r.at == r.start + sizeof(bytes) - 1 : value == 0 && r.at == r.start); \
        } \
    } while (0)

/* An integer is taken in any form, also a longer one than needed, if and only if its value fits the type. */
TEST(integers_are_range_checked_on_read)
{
    TAKES(int8_t, "\xd3\xff\xff\xff\xff\xff\xff\xff\x80", true);
    TAKES(int8_t, "\xd3\xff\xff\xff\xff\xff\xff\xff\x7f", false);
    TAKES(int8_t, "\xcc\x80", false);
    TAKES(int8_t, "\xcf\x00\x00\x00\x00\x00\x00\x00\x7f", true);
    TAKES(int64_t, "\xcf\x80\x00\x00\x00\x00\x00\x00\x00", false);
    TAKES(int64_t, "\xd3\x80\x00\x00\x00\x00\x00\x00\x00", true);
    TAKES(uint8_t, "\xff", false);
    TAKES(uint8_t, "\xd0\xff", false);
    TAKES(uint8_t, "\xd1\x00\xff", true);
    TAKES(uint8_t, "\xcd\x01\x00", false);
    TAKES(uint32_t, "\xcf\x00\x00\x00\x01\x00\x00\x00\x00", false);
    TAKES(uint64_t, "\xd3\xff\xff\xff\xff\xff\xff\xff\xff", false);
    TAKES(uint64_t, "\xd2\x7f\xff\xff\xff", true);
    TAKES(int64_t, "\xc0", false);
    TAKES(int64_t, "\xa1x", false);
    TAKES(int64_t, "\xcb\x3f\xf0\x00\x00\x00\x00\x00\x00", false);
    TAKES(uint16_t, "\xc3", false);
    TAKES(int32_t, "\x93\x01\x02\x03", false);
}

/* double takes every float and the integers that it holds exactly; float takes only what it holds exactly. */
TEST(floats_are_taken_when_nothing_is_lost)
{
    TAKES(double, "\xca\x3f\x80\x00\x00", true);
    TAKES(double, "\xcb\x3f\xb9\x99\x99\x99\x99\x99\x9a", true);
    TAKES(double, "\x07", true);
    TAKES(double, "\xd3\x80\x00\x00\x00\x00\x00\x00\x00", true);
    TAKES(double, "\xcf\x00\x20\x00\x00\x00\x00\x00\x01", false);
    TAKES(double, "\xcf\x80\x00\x00\x00\x00\x00\x00\x00", true);
    TAKES(double, "\xc2", false);
    TAKES(float, "\xca\x3d\xcc\xcc\xcd", true);
    TAKES(float, "\xcb\x3f\xf0\x00\x00\x00\x00\x00\x00", true);
    TAKES(float, "\xcb\x3f\xb9\x99\x99\x99\x99\x99\x9a", false);
    TAKES(float, "\xcb\x7f\xf0\x00\x00\x00\x00\x00\x00", true);
    TAKES(float, "\xcb\x7f\xef\xff\xff\xff\xff\xff\xff", false);
    TAKES(float, "\xcb\xff\xef\xff\xff\xff\xff\xff\xff", false);
    TAKES(float, "\xcb\x00\x00\x00\x00\x00\x00\x00\x01", false);
    TAKES(float, "\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00", true);
    TAKES(float, "\xce\x01\x00\x00\x00", true);
    TAKES(float, "\xce\x01\x00\x00\x01", false);
}

/* Floats are written in their own width, big-endian, and come back bit for bit; integers read as doubles keep their value. */
TEST(floats_keep_their_bits)
{
    static const double doubles[] = {0.0, -0.0, 1.5, -DBL_MAX, DBL_TRUE_MIN, INFINITY, NAN};
    for (size_t i = 0; i < sizeof doubles / sizeof doubles[0]; i++) {
        float narrow = (float)doubles[i], narrow_back;
        double back;
        manta_writer w;
        manta_reader r;
        manta_writer_init(&w, buffer, 14);
        manta_pack_double(&w, &doubles[i]);
        manta_pack_float(&w, &narrow);
        EXPECT(w.status == MANTA_OK && manta_writer_size(&w) == 14);
        manta_reader_init(&r, buffer, 14);
        manta_unpack_double(&r, &back);
        manta_unpack_float(&r, &narrow_back);
        EXPECT(r.status == MANTA_OK && !memcmp(&back, &doubles[i], sizeof back) && !memcmp(&narrow, &narrow_back, sizeof narrow));
    }
    manta_writer w;
    manta_reader r;
    double value = 1.0 / 3, back;
    manta_writer_init(&w, buffer, sizeof buffer);
    manta_pack_double(&w, &value);
    EXPECT(wrote(&w, LITERAL("\xcb\x3f\xd5\x55\x55\x55\x55\x55\x55")));
    manta_reader_init(&r, LITERAL("\xd0\xd6"));
    manta_unpack_double(&r, &back);
    EXPECT(r.status == MANTA_OK && back == -42.0);
}

/* nil and the bools are one byte each; nothing else is taken for them. */
TEST(nil_and_bool)
{
    manta_writer w;
    manta_reader r;
    bool yes = true, no = false, out = true;
    manta_writer_init(&w, buffer, 4);
    manta_pack_nil(&w);
    manta_pack_bool(&w, &no);
    manta_pack__Bool(&w, &yes);
    EXPECT(wrote(&w, LITERAL("\xc0\xc2\xc3")));
    manta_reader_init(&r, buffer, 3);
    manta_unpack_nil(&r);
    manta_unpack_bool(&r, &out);
    EXPECT(!out);
    manta_unpack__Bool(&r, &out);
    EXPECT(out && r.status == MANTA_OK && r.at == r.end);
    manta_reader_init(&r, "\x01", 1);
    manta_unpack_bool(&r, &out);
    EXPECT(r.status == MANTA_ETYPE && !out);
    manta_reader_init(&r, "\xc2", 1);
    manta_unpack_nil(&r);
    EXPECT_EQ(r.status, MANTA_ETYPE);
}

static unsigned char payload[1 << 17];

/* Packs a str (or bytes) into an exactly fitting buffer, compares its head, reads it back, and sees one byte less refused. */
static bool sized_case(size_t size, const char *head, size_t head_size, bool is_str)
{
    manta_writer w;
    manta_reader r;
    manta_str text = {(const char *)payload, size}, text_back = {NULL, 1};
    manta_bytes data = {payload, size}, data_back = {NULL, 1};
    for (size_t i = 0; i < size; i++) payload[i] = (unsigned char)(i * 7 + 3);
    for (size_t lack = 0; lack < 2; lack++) {
        manta_writer_init(&w, buffer, head_size + size - lack);
        if (is_str) manta_pack_manta_str(&w, &text);
        else manta_pack_manta_bytes(&w, &data);
        if (lack) return w.status == MANTA_ELIMIT && !manta_writer_size(&w);
        if (w.status != MANTA_OK || manta_writer_size(&w) != head_size + size || memcmp(buffer, head, head_size) != 0) return false;
        manta_reader_init(&r, buffer, manta_writer_size(&w));
        if (is_str) {
            manta_unpack_manta_str(&r, &text_back);
            data_back = (manta_bytes){text_back.data, text_back.size};
        } else manta_unpack_manta_bytes(&r, &data_back);
        if (r.status != MANTA_OK || r.at != r.end || data_back.size != size || memcmp(data_back.data, payload, size) != 0) return false;
        if (data_back.data != buffer + head_size) return false;
    }
    return false;
}

/* Strings and bytes have the smallest head at each boundary, arrive as views into the data, and are written whole or not at all. */
TEST(strings_and_bytes_at_their_boundaries)
{
    for (size_t size = 0; size < 32; size++) {
        char head = (char)(0xa0 + size);
        EXPECT(sized_case(size, &head, 1, true));
    }
    EXPECT(sized_case(32, LITERAL("\xd9\x20"), true));
    EXPECT(sized_case(255, LITERAL("\xd9\xff"), true));
    EXPECT(sized_case(256, LITERAL("\xda\x01\x00"), true));
    EXPECT(sized_case(65535, LITERAL("\xda\xff\xff"), true));
    EXPECT(sized_case(65536, LITERAL("\xdb\x00\x01\x00\x00"), true));
    EXPECT(sized_case(0, LITERAL("\xc4\x00"), false));
    EXPECT(sized_case(255, LITERAL("\xc4\xff"), false));
    EXPECT(sized_case(256, LITERAL("\xc5\x01\x00"), false));
    EXPECT(sized_case(65535, LITERAL("\xc5\xff\xff"), false));
    EXPECT(sized_case(65536, LITERAL("\xc6\x00\x01\x00\x00"), false));
}

/* A str is not taken for bytes nor bytes for a str; the empty view of NULL is written as an empty string. */
TEST(strings_are_not_bytes)
{
    manta_reader r;
    manta_writer w;
    manta_str text, empty = manta_str_of(NULL);
    manta_bytes data;
    manta_reader_init(&r, LITERAL("\xc4\x01x"));
    manta_unpack_manta_str(&r, &text);
    EXPECT(r.status == MANTA_ETYPE && !text.data && !text.size);
    manta_reader_init(&r, LITERAL("\xa1x"));
    manta_unpack_manta_bytes(&r, &data);
    EXPECT(r.status == MANTA_ETYPE && !data.data && !data.size);
    manta_writer_init(&w, buffer, 1);
    manta_pack_manta_str(&w, &empty);
    EXPECT(wrote(&w, "\xa0", 1));
}

/* A str that its length field cannot express is refused before any memory is asked for. */
TEST(a_str_above_4_gib_is_refused)
{
    manta_writer w;
    manta_str refused = {(const char *)payload, (size_t)UINT32_MAX + 1};
    manta_writer_init_growing(&w);
    w.max_bytes = SIZE_MAX;
    base_alloc_fail_at(1);
    manta_pack_manta_str(&w, &refused);
    base_alloc_fail_at(0);
    EXPECT_EQ(w.status, MANTA_ELIMIT);
    manta_writer_fini(&w);
}

/* Heads of arrays and maps have the smallest form at each boundary. */
TEST(array_and_map_heads)
{
    static const struct {
        uint32_t count;
        size_t size;
        const char *array, *map;
    } cases[] = {
        {0, 1, "\x90", "\x80"},
        {15, 1, "\x9f", "\x8f"},
        {16, 3, "\xdc\x00\x10", "\xde\x00\x10"},
        {65535, 3, "\xdc\xff\xff", "\xde\xff\xff"},
        {65536, 5, "\xdd\x00\x01\x00\x00", "\xdf\x00\x01\x00\x00"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        manta_writer w;
        manta_reader r;
        uint32_t count = 99;
        manta_writer_init(&w, buffer, cases[i].size);
        manta_pack_array(&w, cases[i].count);
        EXPECT(wrote(&w, cases[i].array, cases[i].size));
        manta_reader_init(&r, buffer, cases[i].size + cases[i].count);
        manta_unpack_array(&r, &count);
        EXPECT(r.status == MANTA_OK && count == cases[i].count);
        manta_writer_init(&w, buffer, cases[i].size);
        manta_pack_map(&w, cases[i].count);
        EXPECT(wrote(&w, cases[i].map, cases[i].size));
        manta_reader_init(&r, buffer, cases[i].size + 2 * (size_t)cases[i].count);
        manta_unpack_map(&r, &count);
        EXPECT(r.status == MANTA_OK && count == cases[i].count);
    }
}

/* An extension has a fixed form for 1, 2, 4, 8 and 16 bytes and the smallest length otherwise; its type is signed. */
TEST(extensions)
{
    static const struct {
        size_t size, head_size;
        const char *head;
    } cases[] = {
        {0, 3, "\xc7\x00\xfb"},
        {1, 2, "\xd4\xfb"},
        {2, 2, "\xd5\xfb"},
        {3, 3, "\xc7\x03\xfb"},
        {4, 2, "\xd6\xfb"},
        {8, 2, "\xd7\xfb"},
        {16, 2, "\xd8\xfb"},
        {17, 3, "\xc7\x11\xfb"},
        {32, 3, "\xc7\x20\xfb"},
        {255, 3, "\xc7\xff\xfb"},
        {256, 4, "\xc8\x01\x00\xfb"},
        {65535, 4, "\xc8\xff\xff\xfb"},
        {65536, 6, "\xc9\x00\x01\x00\x00\xfb"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        manta_writer w;
        manta_reader r;
        manta_bytes view;
        int8_t type = 0;
        manta_writer_init(&w, buffer, sizeof buffer);
        manta_pack_ext(&w, -5, payload, cases[i].size);
        EXPECT(w.status == MANTA_OK && manta_writer_size(&w) == cases[i].head_size + cases[i].size);
        EXPECT(!memcmp(buffer, cases[i].head, cases[i].head_size));
        manta_reader_init(&r, buffer, manta_writer_size(&w));
        manta_unpack_ext(&r, &type, &view);
        EXPECT(r.status == MANTA_OK && type == -5 && view.size == cases[i].size && view.data == buffer + cases[i].head_size);
        EXPECT_EQ(manta_validate(buffer, manta_writer_size(&w), NULL), MANTA_OK);
    }
}

/* After the first error nothing more is written, not even what would fit, and the bytes before it stay. */
TEST(a_writer_stops_at_its_first_error)
{
    manta_writer w;
    uint32_t five_bytes = 1u << 20;
    bool yes = true;
    manta_str one = manta_str_of("x");
    manta_bytes none = {NULL, 0};
    memset(buffer, 0x55, 16);
    manta_writer_init(&w, buffer, 6);
    manta_pack_bool(&w, &yes);
    manta_pack_bool(&w, &yes);
    manta_pack_uint32_t(&w, &five_bytes);
    EXPECT(w.status == MANTA_ELIMIT && manta_writer_size(&w) == 2);
    manta_pack_bool(&w, &yes);
    manta_pack_manta_str(&w, &one);
    manta_pack_manta_bytes(&w, &none);
    manta_pack_array(&w, 1);
    manta_pack_raw(&w, "\xc0", 1);
    EXPECT(w.status == MANTA_ELIMIT && manta_writer_size(&w) == 2 && !memcmp(buffer, "\xc3\xc3\x55\x55\x55\x55\x55", 7));
    manta_writer_reset(&w);
    manta_pack_uint32_t(&w, &five_bytes);
    EXPECT(w.status == MANTA_OK && manta_writer_size(&w) == 5);
}

/* A fixed buffer is written up to its last byte and never beyond. */
TEST(a_fixed_buffer_is_used_to_its_last_byte)
{
    for (size_t capacity = 0; capacity < 40; capacity++) {
        manta_writer w;
        bool yes = true;
        memset(buffer, 0x55, 64);
        manta_writer_init(&w, buffer, capacity);
        for (size_t i = 0; i < capacity; i++) manta_pack_bool(&w, &yes);
        EXPECT(w.status == MANTA_OK && manta_writer_size(&w) == capacity);
        manta_pack_bool(&w, &yes);
        EXPECT(w.status == MANTA_ELIMIT && buffer[capacity] == 0x55);
    }
}

/* A growing writer keeps what it wrote while it moves, stops at its maximum, and reports memory that is out. */
TEST(a_growing_writer_grows_to_its_maximum)
{
    manta_writer w;
    manta_reader r;
    int64_t back;
    manta_writer_init_growing(&w);
    for (int64_t i = 0; i < 10000; i++) manta_pack_int64_t(&w, &i);
    EXPECT_EQ(w.status, MANTA_OK);
    manta_reader_init(&r, w.start, manta_writer_size(&w));
    for (int64_t i = 0; i < 10000; i++) {
        manta_unpack_int64_t(&r, &back);
        EXPECT_EQ(back, i);
    }
    EXPECT(r.status == MANTA_OK && r.at == r.end);
    manta_writer_fini(&w);
    manta_writer_fini(&w);

    for (size_t max = 0; max < 1200; max += 100) {
        manta_writer_init_growing(&w);
        w.max_bytes = max;
        for (size_t i = 0; i < max; i++) manta_pack_nil(&w);
        EXPECT(w.status == MANTA_OK && manta_writer_size(&w) == max);
        manta_pack_nil(&w);
        EXPECT(w.status == MANTA_ELIMIT && manta_writer_size(&w) == max);
        manta_writer_fini(&w);
    }

    manta_writer_init_growing(&w);
    manta_bytes huge = {payload, MANTA_MSGPACK_MAX_BYTES};
    manta_pack_manta_bytes(&w, &huge);
    EXPECT(w.status == MANTA_ELIMIT && !w.start);
    manta_writer_fini(&w);
}

/* When memory is out the status says so, what was written is intact, and fini frees it. */
TEST(a_growing_writer_survives_memory_that_is_out)
{
    for (uint64_t n = 1; n <= 3; n++) {
        manta_writer w;
        manta_writer_init_growing(&w);
        base_alloc_fail_at(n);
        for (int64_t i = 0; i < 2000; i++) manta_pack_int64_t(&w, &(int64_t){1});
        bool has_failed = base_alloc_has_failed();
        base_alloc_fail_at(0);
        EXPECT(has_failed && w.status == MANTA_ENOMEM && manta_writer_size(&w) == (n == 1 ? 0 : n == 2 ? 256 : 512));
        for (size_t i = 0; i < manta_writer_size(&w); i++) EXPECT(w.start[i] == 1);
        manta_writer_fini(&w);
    }
}

/* The first error of a reader sticks: later reads give zeros, do not advance and do not change what is explained. */
TEST(a_reader_stops_at_its_first_error)
{
    manta_reader r;
    char before[128], after[128];
    int64_t number = 1;
    double real = 1;
    bool flag = true;
    manta_str text = {"x", 1};
    uint32_t count = 1;
    manta_reader_init(&r, LITERAL("\x05\xa3xyz\x07\x08"));
    manta_unpack_int64_t(&r, &number);
    EXPECT_EQ(number, 5);
    manta_unpack_int64_t(&r, &number);
    manta_reader_explain(&r, before, sizeof before);
    EXPECT(r.status == MANTA_ETYPE && !number && r.at == r.start + 1);
    manta_unpack_manta_str(&r, &text);
    manta_unpack_double(&r, &real);
    manta_unpack_bool(&r, &flag);
    manta_unpack_array(&r, &count);
    manta_skip(&r);
    manta_unpack_nil(&r);
    EXPECT(!text.data && !text.size && real == 0 && !flag && !count && r.at == r.start + 1 && r.status == MANTA_ETYPE);
    EXPECT(!manta_reader_enter(&r) && manta_peek_kind(&r) == MANTA_KIND_NONE);
    manta_reader_explain(&r, after, sizeof after);
    EXPECT_STR(before, after);
    EXPECT_STR(before, "byte 1: expected an integer that fits int64_t, found str");
}

/* EXPLAINS("\xcd\x11\x70", int8_t, "text"): reading these bytes as T fails, and is explained by the text. */
#define EXPLAINS(bytes, T, text) \
    do { \
        T out; \
        char explanation[160]; \
        manta_reader r; \
        manta_reader_init(&r, LITERAL(bytes)); \
        manta_unpack_##T(&r, &out); \
        size_t length = manta_reader_explain(&r, explanation, sizeof explanation); \
        EXPECT_STR(explanation, text); \
        EXPECT_EQ(length, strlen(text)); \
    } while (0)

/* An explanation names the byte, what was wanted and what was there, numbers with their value. */
TEST(errors_are_explained)
{
    typedef uint32_t array, map;
    EXPLAINS("\x05", int8_t, "no error");
    EXPLAINS("", int8_t, "byte 0: expected an integer that fits int8_t, found the end of the data");
    EXPLAINS("\xcd\x11\x70", int8_t, "byte 0: expected an integer that fits int8_t, found integer 4464");
    EXPLAINS("\xff", uint8_t, "byte 0: expected an integer that fits uint8_t, found integer -1");
    EXPLAINS("\xcf\xff\xff\xff\xff\xff\xff\xff\xff", int64_t,
        "byte 0: expected an integer that fits int64_t, found integer 18446744073709551615");
    EXPLAINS("\xcb\x3f\xf8\x00\x00\x00\x00\x00\x00", int32_t, "byte 0: expected an integer that fits int32_t, found float 1.5");
    EXPLAINS("\xcd\x11", int32_t, "byte 0: expected an integer that fits int32_t, found integer cut short");
    EXPLAINS("\xa5xyz", manta_str, "byte 0: expected a str, found str cut short");
    EXPLAINS("\xc1", bool, "byte 0: expected a bool, found the unused byte c1");
    EXPLAINS("\x92\x01\x02", double, "byte 0: expected a number that double holds exactly, found array of 2");
    EXPLAINS("\xdd\xff\xff\xff\xff", array, "byte 0: expected an array, found array of 4294967295, more than the data left");
    EXPLAINS("\xc0", map, "byte 0: expected a map, found nil");
}

/* An explanation is cut to the buffer and always ended; its full length is returned, so nothing need be guessed. */
TEST(explanations_fit_their_buffer)
{
    manta_reader r;
    int8_t out;
    char text[8] = "-------";
    manta_reader_init(&r, "\xc0", 1);
    manta_unpack_int8_t(&r, &out);
    size_t length = manta_reader_explain(&r, text, sizeof text);
    EXPECT(length > sizeof text && strlen(text) == 7 && !memcmp(text, "byte 0:", 7));
    EXPECT_EQ(manta_reader_explain(&r, NULL, 0), length);
    manta_reader_init(&r, payload, MANTA_MSGPACK_MAX_BYTES + 1);
    EXPECT_EQ(r.status, MANTA_EDECODE);
    char large[128];
    manta_reader_explain(&r, large, sizeof large);
    EXPECT_STR(large, "byte 0: expected at most 64 MiB of data, found 67108865 bytes");
}

/* A tuple's head must have exactly the number of elements asked for; the refusal carries the caller's words. */
TEST(tuples_have_an_exact_size)
{
    manta_reader r;
    char text[128];
    manta_reader_init(&r, LITERAL("\x92\x01\x02"));
    manta_unpack_tuple(&r, 2, "an array of 2 arguments");
    EXPECT(r.status == MANTA_OK && r.at == r.start + 1);
    manta_reader_init(&r, LITERAL("\x92\x01\x02"));
    manta_unpack_tuple(&r, 3, "an array of 3 arguments");
    manta_reader_explain(&r, text, sizeof text);
    EXPECT(r.status == MANTA_ETYPE && r.at == r.start);
    EXPECT_STR(text, "byte 0: expected an array of 3 arguments, found array of 2");
    manta_reader_init(&r, LITERAL("\xdc\x00\x02\x01\x02"));
    manta_unpack_tuple(&r, 2, "an array of 2 arguments");
    EXPECT(r.status == MANTA_OK && r.at == r.start + 3);
    manta_reader_init(&r, LITERAL("\x92\x01"));
    manta_unpack_tuple(&r, 2, "an array of 2 arguments");
    EXPECT_EQ(r.status, MANTA_EDECODE);
}

/* The kind of the next value is known from its first byte, for all 256 of them. */
TEST(kinds_of_all_first_bytes)
{
    for (unsigned first = 0; first < 256; first++) {
        manta_reader r;
        unsigned char byte = (unsigned char)first;
        manta_reader_init(&r, &byte, 1);
        manta_kind kind = manta_peek_kind(&r);
        manta_kind expected = MANTA_KIND_INTEGER;
        if (first >= 0x80) expected = first < 0x90 ? MANTA_KIND_MAP : first < 0xa0 ? MANTA_KIND_ARRAY : MANTA_KIND_STR;
        if (first >= 0xc0) {
            static const char letters[] = "n!bbBBBxxxffiiiiiiiixxxxxsssaamm"; /* c0..df */
            static const struct {
                char letter;
                manta_kind kind;
            } meanings[] = {
                {'n', MANTA_KIND_NIL},
                {'!', MANTA_KIND_INVALID},
                {'b', MANTA_KIND_BOOL},
                {'B', MANTA_KIND_BYTES},
                {'x', MANTA_KIND_EXT},
                {'f', MANTA_KIND_FLOAT},
                {'i', MANTA_KIND_INTEGER},
                {'s', MANTA_KIND_STR},
                {'a', MANTA_KIND_ARRAY},
                {'m', MANTA_KIND_MAP},
            };
            char letter = first < 0xe0 ? letters[first - 0xc0] : 'i';
            for (size_t i = 0; i < sizeof meanings / sizeof meanings[0]; i++) {
                if (meanings[i].letter == letter) expected = meanings[i].kind;
            }
        }
        EXPECT_EQ(kind, expected);
        EXPECT(r.status == MANTA_OK && r.at == r.start);
    }
}
