#include <manta/msgpack.h>

#include "test/support/test.h"

/* Runs every reading function over a copy of the data that ends with its heap block, so that the sanitizers see a read beyond it. */
static bool read_in_every_way(const unsigned char *data, size_t size)
{
    unsigned char *copy = malloc(size ? size : 1);
    if (!copy) return false;
    if (size) memcpy(copy, data, size);
    bool is_sound = true;
    for (int way = 0; way < 12; way++) {
        manta_reader r;
        manta_str text;
        manta_bytes view = {NULL, 0};
        int64_t number;
        uint8_t small;
        double real;
        float narrow;
        bool flag;
        uint32_t count;
        int8_t type;
        char explanation[160];
        manta_reader_init(&r, size ? copy : NULL, size);
        if (way == 0) manta_unpack_int64_t(&r, &number);
        if (way == 1) manta_unpack_uint8_t(&r, &small);
        if (way == 2) manta_unpack_double(&r, &real);
        if (way == 3) manta_unpack_float(&r, &narrow);
        if (way == 4) manta_unpack_bool(&r, &flag);
        if (way == 5) manta_unpack_manta_str(&r, &text);
        if (way == 6) manta_unpack_manta_bytes(&r, &view);
        if (way == 7) manta_unpack_array(&r, &count);
        if (way == 8) manta_unpack_map(&r, &count);
        if (way == 9) manta_unpack_ext(&r, &type, &view);
        if (way == 10) manta_unpack_nil(&r);
        if (way == 11) manta_skip(&r);
        is_sound &= r.status == MANTA_OK ? r.at > copy && r.at <= copy + size : r.at == (size ? copy : NULL);
        is_sound &= r.status == MANTA_OK || r.status == MANTA_EDECODE || r.status == MANTA_ETYPE;
        is_sound &= manta_reader_explain(&r, explanation, sizeof explanation) < sizeof explanation;
        if (view.size) is_sound &= (const unsigned char *)view.data + view.size <= copy + size;
    }
    free(copy);
    return is_sound;
}

/* The size of the shortest value that begins with `first` when all bytes after it are zero; 0 when there is none. */
static size_t least_size(unsigned first)
{
    static const unsigned char sizes[32] = {
        1, 0, 1, 1, 2, 3, 5, 3, 4, 6, 5, 9, 2, 3, 5, 9,   /* c0..cf */
        2, 3, 5, 9, 3, 4, 6, 10, 18, 2, 3, 5, 3, 5, 3, 5, /* d0..df */
    };
    if (first < 0x80 || first >= 0xe0) return 1;
    if (first < 0x90) return 1 + 2 * (first & 15);
    if (first < 0xa0) return 1 + (first & 15);
    if (first < 0xc0) return 1 + (first & 31);
    return sizes[first - 0xc0];
}

/* Every first byte at every length up to 40, followed by zeros or ff: no crash, and zeros are accepted from the right length on. */
TEST(every_first_byte_at_every_length)
{
    for (unsigned first = 0; first < 256; first++) {
        for (size_t size = 0; size <= 40; size++) {
            unsigned char data[40];
            memset(data, 0xff, sizeof data);
            data[0] = (unsigned char)first;
            EXPECT(read_in_every_way(data, size));
            memset(data + 1, 0, sizeof data - 1);
            EXPECT(read_in_every_way(data, size));
            manta_reader r;
            manta_reader_init(&r, data, size);
            manta_skip(&r);
            size_t least = least_size(first);
            EXPECT_EQ(r.status, least && size >= least ? MANTA_OK : MANTA_EDECODE);
            EXPECT_EQ(manta_validate(data, size, NULL), least && size == least ? MANTA_OK : MANTA_EDECODE);
        }
    }
}

/* A count or length that the data cannot hold is refused when its head is read, whatever it claims. */
TEST(claims_beyond_the_data_are_refused)
{
    static const char *const claims[] = {"\xdd\xff\xff\xff\xff", "\xdf\xff\xff\xff\xff", "\xdb\xff\xff\xff\xff", "\xc6\xff\xff\xff\xff",
        "\xdf\x80\x00\x00\x00", "\xdd\x00\x00\x00\x01", "\xdf\x00\x00\x00\x01", "\xc9\xff\xff\xff\xff"};
    for (size_t i = 0; i < sizeof claims / sizeof claims[0]; i++) {
        EXPECT_EQ(manta_validate(claims[i], 5, NULL), MANTA_EDECODE);
        EXPECT(read_in_every_way((const unsigned char *)claims[i], 5));
    }
    manta_reader r;
    uint32_t count = 9;
    manta_reader_init(&r, "\xde\x00\x02\x00\x00\x00", 6); /* a map of 2 needs 4 bytes, there are 3 */
    manta_unpack_map(&r, &count);
    EXPECT(r.status == MANTA_EDECODE && !count && r.at == r.start);
}

/* Arrays (or maps) nested to the limit are passed over and validated, one level more is refused, and a million levels cost no stack. */
TEST(nesting_is_bounded)
{
    static unsigned char deep[1 << 20];
    for (int is_map = 0; is_map < 2; is_map++) {
        unsigned step = is_map ? 2 : 1;
        memset(deep, 0, sizeof deep);
        for (unsigned level = 0; level < 32; level++) deep[step * level] = is_map ? 0x81 : 0x91;
        EXPECT_EQ(manta_validate(deep, 32 * step + step, NULL), is_map ? MANTA_EDECODE : MANTA_OK);
        EXPECT_EQ(manta_validate(deep, 32 * step + 1, NULL), MANTA_OK);
        EXPECT_EQ(manta_validate(deep, 32 * step + 1, &(manta_msgpack_limits){.max_depth = 31}), MANTA_EDECODE);
        deep[32 * step] = is_map ? 0x80 : 0x90;
        EXPECT_EQ(manta_validate(deep, 32 * step + 1, NULL), MANTA_EDECODE);
        EXPECT_EQ(manta_validate(deep, 32 * step + 1, &(manta_msgpack_limits){.max_depth = 33}), MANTA_OK);
    }
    memset(deep, 0x91, sizeof deep);
    manta_msgpack_limits limits = {.max_depth = 1u << 30};
    EXPECT_EQ(manta_validate(deep, sizeof deep, &limits), MANTA_EDECODE);
    memset(deep, 0x81, sizeof deep);
    EXPECT_EQ(manta_validate(deep, sizeof deep, &limits), MANTA_EDECODE);
    for (unsigned level = 0; level < 2; level++) { /* exactly MANTA_MSGPACK_MAX_DEPTH, then one more */
        memset(deep, 0x91, MANTA_MSGPACK_MAX_DEPTH + level);
        deep[MANTA_MSGPACK_MAX_DEPTH + level] = 0xc0;
        EXPECT_EQ(manta_validate(deep, MANTA_MSGPACK_MAX_DEPTH + level + 1, &limits), level ? MANTA_EDECODE : MANTA_OK);
    }
}

/* A reader that enters containers itself shares the same budget of levels with manta_skip, and gets it back on leaving. */
TEST(entering_takes_from_the_budget_of_levels)
{
    manta_reader r;
    char text[128];
    manta_reader_init(&r, "\x91\x91\x01\x91\x91\x91\x01", 7);
    r.depth = 3;
    manta_skip(&r);
    EXPECT(r.status == MANTA_OK && r.at == r.start + 3);
    EXPECT(manta_reader_enter(&r) && r.depth == 2);
    manta_reader_leave(&r);
    EXPECT_EQ(r.depth, 3);
    EXPECT(manta_reader_enter(&r));
    manta_skip(&r);
    EXPECT(r.status == MANTA_EDECODE && r.at == r.start + 3);
    manta_reader_explain(&r, text, sizeof text);
    EXPECT_STR(text, "byte 5: expected a value that is not nested deeper than the limit, found array of 1");
    manta_reader_init(&r, "\x01", 1);
    r.depth = 0;
    EXPECT(!manta_reader_enter(&r) && r.status == MANTA_EDECODE);
}

/* An error inside a value that is passed over is explained at its own byte, while the reader stays before the value. */
TEST(errors_inside_a_skipped_value)
{
    manta_reader r;
    manta_bytes view;
    char text[128];
    manta_reader_init(&r, "\x01\x93\x01\xc1\x02", 5);
    manta_skip(&r);
    manta_reader_take(&r, &view);
    EXPECT(r.status == MANTA_EDECODE && r.at == r.start + 1 && !view.data && !view.size);
    manta_reader_explain(&r, text, sizeof text);
    EXPECT_STR(text, "byte 3: expected a complete value, found the unused byte c1");
    manta_reader_init(&r, "\x92\x01\xa1x\x05", 5);
    manta_reader_take(&r, &view);
    EXPECT(r.status == MANTA_OK && view.data == r.start && view.size == 4 && manta_reader_left(&r) == 1);
}

/* manta_validate accepts exactly one value, and its limits of bytes and of values hold to the byte and to the value. */
TEST(validate_keeps_its_limits)
{
    EXPECT_EQ(manta_validate("\x93\x01\x02\x03", 4, NULL), MANTA_OK);
    EXPECT_EQ(manta_validate("\x93\x01\x02\x03\x04", 5, NULL), MANTA_EDECODE);
    EXPECT_EQ(manta_validate("", 0, NULL), MANTA_EDECODE);
    EXPECT_EQ(manta_validate(NULL, 0, NULL), MANTA_EDECODE);
    EXPECT_EQ(manta_validate("\x93\x01\x02\x03", 4, &(manta_msgpack_limits){.max_count = 4}), MANTA_OK);
    EXPECT_EQ(manta_validate("\x93\x01\x02\x03", 4, &(manta_msgpack_limits){.max_count = 3}), MANTA_ELIMIT);
    EXPECT_EQ(manta_validate("\x93\x01\x02\x03", 4, &(manta_msgpack_limits){.max_bytes = 4}), MANTA_OK);
    EXPECT_EQ(manta_validate("\x93\x01\x02\x03", 4, &(manta_msgpack_limits){.max_bytes = 3}), MANTA_ELIMIT);
}
