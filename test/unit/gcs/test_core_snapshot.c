/* Snapshots and equality: random histories on several cores, saved, loaded, gone on with; damaged and hostile bytes; no memory at any moment. */
#include "scheduler/base/rng.h"
#include "test/support/gcs_core_fixture.h"
#include "test/support/gcs_random.h"

static core_snapshot save(const core_fixture *x)
{
    core_snapshot s = {0};
    if (gcs_core_save(x->core, core_keep, &s)) abort();
    return s;
}

static bool same_bytes(const core_snapshot *a, const core_snapshot *b)
{
    return a->size == b->size && memcmp(a->bytes, b->bytes, a->size) == 0;
}

static const gcs_limits small = {
    .kv_bytes = 20000, .lineage_bytes = 20000, .table_bytes = 30000, .value_bytes = 2000, .client_ms = 5000, .client_replies = 8};

/* Puts the command that is in `from` into another fixture. */
static void copy_command(core_fixture *to, const core_fixture *from)
{
    manta_writer_reset(&to->command);
    manta_pack_raw(&to->command, from->command.start, manta_writer_size(&from->command));
}

static bool same_answer(const core_fixture *a, const core_fixture *b)
{
    size_t size = manta_writer_size(&a->answer);
    return size == manta_writer_size(&b->answer) && memcmp(a->answer.start, b->answer.start, size) == 0 &&
           strcmp(a->events, b->events) == 0;
}

/* Also of a core that was just loaded: so nothing is counted twice or never. */
static bool same_usage(const core_fixture *a, const core_fixture *b)
{
    for (uint32_t t = 1; t < GCS_TABLE_END; t++) {
        gcs_usage u = gcs_core_usage(a->core, t), v = gcs_core_usage(b->core, t);
        if (memcmp(&u, &v, sizeof u) != 0) return false;
    }
    return true;
}

/* Two cores that are fed the same give the same replies, events and hashes; a core restored in the middle goes on like the one that it was saved from. */
TEST(equal_histories)
{
    for (int round = 0; round < 5; round++) {
        core_fixture a, b;
        core_random random;
        char text[256];
        core_random_init(&random, test_seed() + (uint64_t)round);
        core_open(&a, &small);
        core_open(&b, &small);
        for (int i = 0; i < test_scaled(6000); i++) {
            core_random_command(&random, &a.command);
            copy_command(&b, &a);
            core_apply_bytes(&a);
            core_apply_bytes(&b);
            EXPECT(!a.outcome && !b.outcome && same_answer(&a, &b));
            if (i % 500 != 499) continue;
            EXPECT_EQ(gcs_core_hash(a.core), gcs_core_hash(b.core));
            core_snapshot s = save(&a);
            EXPECT(!gcs_core_load(b.core, s.bytes, s.size, text));
            core_snapshot again = save(&b);
            EXPECT(same_bytes(&s, &again));
            EXPECT_EQ(gcs_core_hash(a.core), gcs_core_hash(b.core));
            EXPECT(memcmp(s.bytes + s.size - 8, &(uint64_t){gcs_core_hash(a.core)}, 8) == 0);
            EXPECT(same_usage(&a, &b));
            free(s.bytes);
            free(again.bytes);
        }
        bool all = core_random_saw_all(&random);
        EXPECT(all || getenv("MANTA_TEST_SCALE")); /* a short history need not have everything */
        core_close(&a);
        core_close(&b);
    }
}

static void fill(core_fixture *x, uint64_t seed, int commands)
{
    core_random random;
    core_random_init(&random, seed);
    for (int i = 0; i < commands; i++) {
        core_random_command(&random, &x->command);
        core_apply_bytes(x);
    }
    core_random_fini(&random);
}

/* Every cut and every flipped bit of a snapshot is an error that says the byte, and leaves an empty core that works. */
TEST(damaged_snapshots)
{
    core_fixture x;
    char text[256];
    core_open(&x, &small);
    fill(&x, 5, 300);
    core_snapshot s = save(&x);
    for (size_t i = 0; i < s.size; i += 1 + s.size / (size_t)test_scaled(3000)) {
        EXPECT_EQ(gcs_core_load(x.core, s.bytes, i, text), MANTA_EDECODE);
        EXPECT(strncmp(text, "byte ", 5) == 0);
        s.bytes[i] ^= (unsigned char)(1 << i % 8);
        EXPECT_EQ(gcs_core_load(x.core, s.bytes, s.size, text), MANTA_EDECODE);
        EXPECT(strncmp(text, "byte ", 5) == 0);
        EXPECT_EQ(gcs_core_usage(x.core, GCS_TABLE_KV).items, 0);
        s.bytes[i] ^= (unsigned char)(1 << i % 8);
    }
    EXPECT(!APPLY(&x, KV_PUT, kv_put, .space = S("s"), .key = S("k")));
    EXPECT(!gcs_core_load(x.core, s.bytes, s.size, text));
    free(s.bytes);
    core_close(&x);
}

/* Makes size and checksum right again. */
static void seal(core_snapshot *s)
{
    uint64_t h = 0, size = s->size - 16;
    memcpy(s->bytes + s->size - 16, &size, 8);
    for (size_t at = 0; at < s->size - 8; at += 8) {
        uint64_t word = 0;
        memcpy(&word, s->bytes + at, s->size - 8 - at < 8 ? s->size - 8 - at : 8);
        h = (h ^ word) * UINT64_C(0x9e3779b97f4a7c15);
        h ^= h >> 32;
    }
    memcpy(s->bytes + s->size - 8, &h, 8);
}

/* A snapshot whose bytes lie under a right checksum is taken or refused with the byte; what was taken can be used and saved. */
TEST(hostile_snapshots)
{
    core_fixture x;
    rng r;
    char text[256];
    int taken = 0, refused = 0;
    rng_init(&r, test_seed());
    core_open(&x, &small);
    fill(&x, 6, 400);
    core_snapshot s = save(&x);
    for (int i = 0; i < test_scaled(3000); i++) {
        size_t at = rng_below(&r, s.size - 16);
        unsigned char old = s.bytes[at];
        s.bytes[at] = (unsigned char)rng_next(&r);
        seal(&s);
        if (!gcs_core_load(x.core, s.bytes, s.size, text)) {
            taken++;
            fill(&x, (uint64_t)i, 5);
            core_snapshot again = save(&x);
            free(again.bytes);
        } else refused += strncmp(text, "byte ", 5) == 0;
        s.bytes[at] = old;
    }
    EXPECT_EQ(taken + refused, test_scaled(3000));
    EXPECT(taken && refused);
    free(s.bytes);
    core_close(&x);
}

/* The same snapshot in an order that is not the format's is refused: there is one encoding of a state. */
TEST(order_in_snapshots)
{
    core_fixture x;
    char text[256];
    core_open(&x, NULL);
    EXPECT(!APPLY(&x, KV_PUT, kv_put, .space = S("s"), .key = S("a")) && !APPLY(&x, KV_PUT, kv_put, .space = S("s"), .key = S("b")));
    core_snapshot s = save(&x);
    unsigned char *a = memmem(s.bytes, s.size,
                      "\xa1s\xa1"
                      "a",
                      4),
                  *b = memmem(s.bytes, s.size,
                      "\xa1s\xa1"
                      "b",
                      4);
    EXPECT(a && b);
    a[3] = 'b';
    b[3] = 'a';
    seal(&s);
    EXPECT_EQ(gcs_core_load(x.core, s.bytes, s.size, text), MANTA_EDECODE);
    EXPECT(strstr(text, "rows are not in the order of their keys"));
    b[3] = 'b';
    seal(&s);
    EXPECT_EQ(gcs_core_load(x.core, s.bytes, s.size, text), MANTA_EDECODE);
    free(s.bytes);
    core_close(&x);
}

/* Two live actors of one name, or one holder twice in a queue: no such state is loaded. */
TEST(impossible_states)
{
    core_fixture x;
    char text[256];
    core_open(&x, NULL);
    EXPECT(!APPLY(&x, ACTOR_REGISTER, actor_register, .uid = 1, .space = S("s"), .name = S("aa")));
    EXPECT(!APPLY(&x, ACTOR_REGISTER, actor_register, .uid = 2, .space = S("s"), .name = S("ab")));
    core_snapshot s = save(&x);
    unsigned char *at = memmem(s.bytes, s.size,
        "\xa2"
        "ab",
        3);
    EXPECT(at);
    at[2] = 'a';
    seal(&s);
    EXPECT_EQ(gcs_core_load(x.core, s.bytes, s.size, text), MANTA_EDECODE);
    EXPECT(strstr(text, "a row that another one excludes"));
    free(s.bytes);
    core_close(&x);
}

static bool refuse_bytes(void *context, const void *bytes, size_t size)
{
    (void)bytes;
    size_t *left = context;
    if (size > *left) return false;
    *left -= size;
    return true;
}

/* A sink that is full ends the saving with an error. */
TEST(full_sink)
{
    core_fixture x;
    core_open(&x, NULL);
    fill(&x, 7, 200);
    core_snapshot s = save(&x);
    for (size_t room = 0; room < s.size; room += 1 + s.size / 50) {
        size_t left = room;
        EXPECT_EQ(gcs_core_save(x.core, refuse_bytes, &left), MANTA_ENOMEM);
    }
    size_t left = s.size;
    EXPECT(!gcs_core_save(x.core, refuse_bytes, &left) && left == 0);
    free(s.bytes);
    core_close(&x);
}

/* Whichever allocation of a history fails: apply says MANTA_ENOMEM and the core can be freed. */
TEST(no_memory_in_apply)
{
    for (uint64_t n = 1;; n += 1 + n / 50) {
        core_fixture x;
        core_random random;
        core_open(&x, &small);
        core_random_init(&random, 11);
        manta_writer_reserve(&x.answer, 1 << 20);
        bool has_failed = false;
        base_alloc_fail_at(n);
        for (int i = 0; i < 400 && !has_failed; i++) {
            core_random_command(&random, &x.command);
            if (x.command.status) { /* the test's own memory */
                manta_writer_reset(&x.command);
                continue;
            }
            bool before = base_alloc_has_failed();
            core_apply_bytes(&x);
            has_failed = !before && base_alloc_has_failed();
            if (has_failed) EXPECT_EQ(x.outcome, MANTA_ENOMEM);
        }
        bool at_end = !base_alloc_has_failed();
        base_alloc_fail_at(0);
        core_random_fini(&random);
        core_close(&x);
        if (at_end) break;
    }
}

/* Whichever allocation of new, load and save fails: the status says so and nothing is lost or leaked. */
TEST(no_memory_elsewhere)
{
    core_fixture x;
    gcs_core *c;
    char text[256];
    core_open(&x, NULL);
    base_alloc_fail_at(1);
    EXPECT_EQ(gcs_core_new(NULL, &c), MANTA_ENOMEM);
    base_alloc_fail_at(0);
    fill(&x, 12, 200);
    core_snapshot s = save(&x);
    for (uint64_t n = 1;; n += 1 + n / 50) {
        base_alloc_fail_at(n);
        manta_status status = gcs_core_load(x.core, s.bytes, s.size, text);
        bool has_failed = base_alloc_has_failed();
        base_alloc_fail_at(0);
        EXPECT_EQ(status, has_failed ? MANTA_ENOMEM : MANTA_OK);
        if (!has_failed) break;
        EXPECT_STR(text, "out of memory");
    }
    base_alloc_fail_at(1);
    core_snapshot none = {0};
    EXPECT_EQ(gcs_core_save(x.core, core_keep, &none), MANTA_ENOMEM);
    base_alloc_fail_at(0);
    free(none.bytes);
    free(s.bytes);
    core_close(&x);
}
