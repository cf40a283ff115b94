/*
 * libFuzzer target of the MessagePack codec; clang -fsanitize=fuzzer,address,undefined, with mailbox/codec/ and scheduler/base/alloc.c.
 *
 * For any bytes: no crash and no read outside of them; skipping, validating and reading element by element agree; a value that was read is
 * written in no more bytes and read back the same; an error explains itself within a bound.
 */
#include <stdlib.h>
#include <string.h>

#include <manta/msgpack.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define REQUIRE(x) \
    do { \
        if (!(x)) abort(); \
    } while (0)

static void require_sound(const manta_reader *r, const uint8_t *before)
{
    char text[200];
    REQUIRE(manta_reader_explain(r, text, sizeof text) < sizeof text);
    REQUIRE(r->at >= before && r->at <= r->start + r->size);
    REQUIRE(r->status == MANTA_OK ? r->at > before : r->at == before && !manta_reader_left(r));
    REQUIRE(r->status == MANTA_OK || r->status == MANTA_ETYPE || r->status == MANTA_EDECODE);
}

/*
 * ROUND_TRIP(int8_t, &r, 0) reads one value as an int8_t from a copy of r. When that works it packs it again, an integer into no more bytes
 * than it came in, and reads the same; otherwise what was given is the last argument.
 */
#define ROUND_TRIP(T, reader, zero) \
    do { \
        manta_reader r_ = *(reader), again_; \
        manta_writer w_; \
        unsigned char packed_[16]; \
        T value_, back_; \
        manta_unpack_##T(&r_, &value_); \
        require_sound(&r_, (reader)->at); \
        if (r_.status != MANTA_OK) { \
            REQUIRE(value_ == (zero)); \
            break; \
        } \
        manta_writer_init(&w_, packed_, sizeof packed_); \
        manta_pack_##T(&w_, &value_); \
        manta_reader_init(&again_, packed_, manta_writer_size(&w_)); \
        manta_unpack_##T(&again_, &back_); \
        REQUIRE(w_.status == MANTA_OK && again_.status == MANTA_OK && again_.at == again_.end); \
        REQUIRE(!memcmp(&value_, &back_, sizeof value_)); \
        bool is_integer_ = manta_peek_kind(reader) == MANTA_KIND_INTEGER && (T)0.5 == 0; \
        REQUIRE(!is_integer_ || manta_writer_size(&w_) <= (size_t)(r_.at - (reader)->at)); \
    } while (0)

static void read_scalars(const manta_reader *r)
{
    ROUND_TRIP(int8_t, r, 0);
    ROUND_TRIP(int16_t, r, 0);
    ROUND_TRIP(int32_t, r, 0);
    ROUND_TRIP(int64_t, r, 0);
    ROUND_TRIP(uint8_t, r, 0);
    ROUND_TRIP(uint16_t, r, 0);
    ROUND_TRIP(uint32_t, r, 0);
    ROUND_TRIP(uint64_t, r, 0);
    ROUND_TRIP(double, r, 0);
    ROUND_TRIP(float, r, 0);
    ROUND_TRIP(bool, r, false);
}

/* Packs a payload that was read; the reader of the result sees the same. */
static void repack_payload(const manta_str *str, const manta_bytes *bytes, int8_t type)
{
    manta_writer w;
    manta_reader r;
    manta_str str_back;
    manta_bytes bytes_back;
    int8_t type_back;
    manta_writer_init_growing(&w);
    manta_pack_manta_str(&w, str);
    manta_pack_manta_bytes(&w, bytes);
    manta_pack_ext(&w, type, bytes->data, bytes->size);
    manta_reader_init(&r, w.start, manta_writer_size(&w));
    manta_unpack_manta_str(&r, &str_back);
    manta_unpack_manta_bytes(&r, &bytes_back);
    REQUIRE(str_back.size == str->size && (!str->size || !memcmp(str_back.data, str->data, str->size)));
    REQUIRE(bytes_back.size == bytes->size && (!bytes->size || !memcmp(bytes_back.data, bytes->data, bytes->size)));
    manta_unpack_ext(&r, &type_back, &bytes_back);
    REQUIRE(type_back == type && bytes_back.size == bytes->size && r.status == MANTA_OK && r.at == r.end);
    manta_writer_fini(&w);
}

static void read_payloads(const manta_reader *from)
{
    manta_reader r = *from;
    manta_str str;
    manta_bytes bytes, ext;
    int8_t type;
    manta_unpack_manta_str(&r, &str);
    require_sound(&r, from->at);
    r = *from;
    manta_unpack_manta_bytes(&r, &bytes);
    require_sound(&r, from->at);
    r = *from;
    manta_unpack_ext(&r, &type, &ext);
    require_sound(&r, from->at);
    repack_payload(&str, bytes.data ? &bytes : &ext, type);
}

/* Passes over one value by reading heads and descending, the way a dynamic reader does; r->status tells the end of it. */
static void descend(manta_reader *r)
{
    uint32_t count = 0;
    manta_kind kind = manta_peek_kind(r);
    if (kind != MANTA_KIND_ARRAY && kind != MANTA_KIND_MAP) {
        manta_skip(r);
        return;
    }
    if (!manta_reader_enter(r)) return;
    if (kind == MANTA_KIND_ARRAY) manta_unpack_array(r, &count);
    else manta_unpack_map(r, &count);
    for (uint64_t i = 0; i < (kind == MANTA_KIND_MAP ? 2 * (uint64_t)count : count) && r->status == MANTA_OK; i++) descend(r);
    manta_reader_leave(r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    manta_reader r;
    manta_reader_init(&r, data, size);
    if (!size) return 0;
    while (r.at != r.end) {
        const uint8_t *before = r.at;
        read_scalars(&r);
        read_payloads(&r);
        manta_reader skipped = r, descended = r;
        manta_skip(&skipped);
        require_sound(&skipped, before);
        descend(&descended);
        REQUIRE((skipped.status == MANTA_OK) == (descended.status == MANTA_OK));
        REQUIRE(skipped.status != MANTA_OK || skipped.at == descended.at);
        manta_status whole = manta_validate(before, (size_t)(r.end - before), NULL);
        REQUIRE((whole == MANTA_OK) == (skipped.status == MANTA_OK && skipped.at == r.end));
        r = skipped;
    }
    return 0;
}
