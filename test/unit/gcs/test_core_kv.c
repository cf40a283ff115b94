/* Keys, values, configuration: every condition and error, pages, and random commands against an array. */
#include "scheduler/base/rng.h"
#include "test/support/gcs_core_fixture.h"

/* What was put is given back with its revision, and a watcher hears of it. */
TEST(put_get)
{
    core_fixture x;
    core_open(&x, NULL);
    EXPECT_EQ(APPLY(&x, KV_PUT, kv_put, .space = S("app"), .key = S("k"), .value = B("one")), MANTA_OK);
    EXPECT_STR(x.events, "KV app.k;");
    uint64_t revision = core_number(&x);
    EXPECT_EQ(revision, x.reply.revision);
    EXPECT_EQ(QUERY(&x, KV_GET, kv_get, .space = S("app"), .key = S("k")), MANTA_OK);
    gcs_kv_row row = ROW(&x, kv_row);
    EXPECT(row.value.size == 3 && memcmp(row.value.data, "one", 3) == 0 && row.revision == revision && row.created == revision);
    EXPECT_EQ(QUERY(&x, KV_GET, kv_get, .space = S("other"), .key = S("k")), MANTA_ENOTFOUND);
    EXPECT_EQ(x.reply.revision, revision);
    core_close(&x);
}

/* A change keeps `created` and has a greater revision. */
TEST(change)
{
    core_fixture x;
    core_open(&x, NULL);
    EXPECT(!APPLY(&x, KV_PUT, kv_put, .space = S("s"), .key = S("k"), .value = B("a")));
    uint64_t first = core_number(&x);
    EXPECT(!APPLY(&x, KV_PUT, kv_put, .space = S("s"), .key = S("k"), .value = B("longer")));
    EXPECT(core_number(&x) > first);
    EXPECT(!QUERY(&x, KV_GET, kv_get, .space = S("s"), .key = S("k")));
    EXPECT(ROW(&x, kv_row).created == first && ROW(&x, kv_row).value.size == 6);
    core_close(&x);
}

/* A condition that does not hold refuses, says the revision that is, and changes nothing. */
TEST(conditions)
{
    core_fixture x;
    core_open(&x, NULL);
    EXPECT_EQ(APPLY(&x, KV_PUT, kv_put, .space = S("s"), .key = S("k"), .when = GCS_IF_REVISION, .if_revision = 9), MANTA_ESTALE);
    EXPECT_EQ(core_number(&x), 0);
    EXPECT(!APPLY(&x, KV_PUT, kv_put, .space = S("s"), .key = S("k"), .when = GCS_IF_ABSENT));
    uint64_t revision = core_number(&x);
    EXPECT_EQ(APPLY(&x, KV_PUT, kv_put, .space = S("s"), .key = S("k"), .when = GCS_IF_ABSENT), MANTA_EEXIST);
    EXPECT_EQ(core_number(&x), revision);
    EXPECT_STR(x.events, "");
    EXPECT_EQ(
        APPLY(&x, KV_PUT, kv_put, .space = S("s"), .key = S("k"), .when = GCS_IF_REVISION, .if_revision = revision + 1), MANTA_ESTALE);
    EXPECT_EQ(core_number(&x), revision);
    EXPECT_EQ(APPLY(&x, KV_DELETE, kv_delete, .space = S("s"), .key = S("k"), .when = GCS_IF_REVISION, .if_revision = revision + 1),
        MANTA_ESTALE);
    EXPECT(!APPLY(&x, KV_PUT, kv_put, .space = S("s"), .key = S("k"), .when = GCS_IF_REVISION, .if_revision = revision));
    EXPECT_EQ(APPLY(&x, KV_PUT, kv_put, .space = S("s"), .key = S("k"), .when = 7), MANTA_EINVAL);
    EXPECT_STR(x.text, "when is 7, which is no condition");
    EXPECT(!APPLY(&x, KV_DELETE, kv_delete, .space = S("s"), .key = S("k")));
    EXPECT_STR(x.events, "KV -s.k;");
    EXPECT_EQ(APPLY(&x, KV_DELETE, kv_delete, .space = S("s"), .key = S("k")), MANTA_ENOTFOUND);
    core_close(&x);
}

/* Names that cannot be names are refused, and say which field it is. */
TEST(bad_names)
{
    core_fixture x;
    char long_text[GCS_STRING_BYTES + 2];
    memset(long_text, 'a', sizeof long_text - 1);
    long_text[sizeof long_text - 1] = 0;
    core_open(&x, NULL);
    EXPECT_EQ(APPLY(&x, KV_PUT, kv_put, .space = S(""), .key = S("k")), MANTA_EINVAL);
    EXPECT_EQ(APPLY(&x, KV_PUT, kv_put, .space = S("s"), .key = S("")), MANTA_EINVAL);
    EXPECT_EQ(APPLY(&x, KV_PUT, kv_put, .space = {"a\0b", 3}, .key = S("k")), MANTA_EINVAL);
    EXPECT_STR(x.text, "kv_put: space contains a NUL");
    EXPECT_EQ(APPLY(&x, KV_PUT, kv_put, .space = S("s"), .key = S(long_text)), MANTA_ETOOLONG);
    EXPECT_STR(x.text, "kv_put: key has 1025 bytes, at most 1024 are allowed");
    EXPECT_EQ(APPLY(&x, CONFIG_SET, config_set, .key = S("")), MANTA_EINVAL);
    core_close(&x);
}

/* A full table refuses and says how full; what is there can still be made smaller. */
TEST(budget)
{
    core_fixture x;
    static char value[1300];
    memset(value, 'v', 999);
    core_open(&x, &(gcs_limits){.kv_bytes = 4000, .value_bytes = 1200});
    for (int i = 0; i < 3; i++) {
        char name[8];
        snprintf(name, sizeof name, "k%d", i);
        EXPECT(!APPLY(&x, KV_PUT, kv_put, .space = S("s"), .key = S(name), .value = B(value)));
    }
    EXPECT_EQ(APPLY(&x, KV_PUT, kv_put, .space = S("s"), .key = S("k3"), .value = B(value)), MANTA_ELIMIT);
    EXPECT(strstr(x.text, "table KV is full") && strstr(x.text, "the limit is 4000"));
    EXPECT_EQ(gcs_core_usage(x.core, GCS_TABLE_KV).refused, 1);
    EXPECT(!APPLY(&x, KV_PUT, kv_put, .space = S("s"), .key = S("k0"), .value = B("small")));
    EXPECT(!APPLY(&x, KV_PUT, kv_put, .space = S("s"), .key = S("k3"), .value = B("small")));
    EXPECT_EQ(APPLY(&x, KV_PUT, kv_put, .space = S("s"), .key = S("k4"), .value = {value, 1201}), MANTA_ETOOLONG);
    for (int i = 0; i < 4; i++) {
        char name[8];
        snprintf(name, sizeof name, "k%d", i);
        EXPECT(!APPLY(&x, KV_DELETE, kv_delete, .space = S("s"), .key = S(name)));
    }
    EXPECT(gcs_core_usage(x.core, GCS_TABLE_KV).bytes == 0 && gcs_core_usage(x.core, GCS_TABLE_KV).items == 0);
    core_close(&x);
}

/* One page of a space; `next` of it into `next` (64 bytes). Returns the rows. */
static uint32_t list_page(core_fixture *x, const char *prefix, char *next, uint64_t limit)
{
    uint32_t count;
    manta_bytes go_on;
    if (QUERY(x, KV_LIST, kv_list, .space = S("s"), .prefix = S(prefix), .after = S(next), .limit = limit, .brief = true))
        return UINT32_MAX;
    gcs_page page = ROW(x, page);
    manta_reader rows;
    manta_reader_init(&rows, page.rows.data, page.rows.size);
    manta_unpack_array(&rows, &count);
    go_on = page.next;
    memcpy(next, go_on.data, go_on.size);
    next[go_on.size] = 0;
    return count;
}

/* A list by prefix gives all keys with it, in pages, and says where to go on until there is nothing more. */
TEST(pages)
{
    core_fixture x;
    char name[16], next[64] = "";
    core_open(&x, NULL);
    for (int i = 0; i < 25; i++) {
        snprintf(name, sizeof name, "b%02d", i);
        EXPECT(!APPLY(&x, KV_PUT, kv_put, .space = S("s"), .key = S(name), .value = B("v")));
    }
    EXPECT(!APPLY(&x, KV_PUT, kv_put, .space = S("s"), .key = S("a"), .value = B("v")));
    EXPECT(!APPLY(&x, KV_PUT, kv_put, .space = S("s"), .key = S("c"), .value = B("v")));
    EXPECT(!APPLY(&x, KV_PUT, kv_put, .space = S("s2"), .key = S("b00"), .value = B("v")));
    EXPECT_EQ(list_page(&x, "b", next, 10), 10);
    EXPECT_STR(next, "b09");
    EXPECT_EQ(list_page(&x, "b", next, 10), 10);
    EXPECT_EQ(list_page(&x, "b", next, 10), 5);
    EXPECT_STR(next, "");
    EXPECT_EQ(list_page(&x, "", next, 0), 27);
    EXPECT_EQ(list_page(&x, "d", next, 0), 0);
    core_close(&x);
}

/* A page of large values ends near 1 MiB and can be continued. */
TEST(large_pages)
{
    core_fixture x;
    char name[16];
    size_t size = 300000;
    char *value = calloc(1, size);
    core_open(&x, NULL);
    for (int i = 0; i < 8; i++) {
        snprintf(name, sizeof name, "k%d", i);
        EXPECT(!APPLY(&x, KV_PUT, kv_put, .space = S("s"), .key = S(name), .value = {value, size}));
    }
    EXPECT(!QUERY(&x, KV_LIST, kv_list, .space = S("s")));
    gcs_page page = ROW(&x, page);
    EXPECT(page.rows.size > 1000000 && page.rows.size < 1500000 && page.next.size == 2);
    free(value);
    core_close(&x);
}

/* Settings are set, read, listed and removed. */
TEST(config)
{
    core_fixture x;
    core_open(&x, NULL);
    EXPECT(!APPLY(&x, CONFIG_SET, config_set, .key = S("a"), .value = B("1")));
    EXPECT_STR(x.events, "CONFIG a;");
    EXPECT(!QUERY(&x, CONFIG_GET, config_get, .key = S("a")));
    EXPECT(ROW(&x, config_row).value.size == 1);
    EXPECT(!QUERY(&x, LIST, list, .table = GCS_TABLE_CONFIG));
    EXPECT_EQ(QUERY(&x, CONFIG_GET, config_get, .key = S("b")), MANTA_ENOTFOUND);
    EXPECT(!APPLY(&x, CONFIG_SET, config_set, .key = S("b"), .remove = true));
    EXPECT(!APPLY(&x, CONFIG_SET, config_set, .key = S("a"), .remove = true));
    EXPECT_EQ(QUERY(&x, CONFIG_GET, config_get, .key = S("a")), MANTA_ENOTFOUND);
    core_close(&x);
}

enum { MODEL_KEYS = 40 };
typedef struct model {
    uint64_t revision[MODEL_KEYS];
    uint8_t value[MODEL_KEYS];
} model;

static manta_status model_condition(const model *m, uint64_t k, uint64_t when, uint64_t if_revision)
{
    if (when == GCS_IF_ABSENT && m->revision[k]) return MANTA_EEXIST;
    if (when == GCS_IF_REVISION && m->revision[k] != if_revision) return MANTA_ESTALE;
    return MANTA_OK;
}

static bool model_step(core_fixture *x, model *m, rng *r)
{
    uint64_t k = rng_below(r, MODEL_KEYS), when = rng_below(r, 3), guess = m->revision[rng_below(r, 4) ? k : rng_below(r, MODEL_KEYS)];
    char name[16];
    uint8_t value = (uint8_t)rng_next(r);
    snprintf(name, sizeof name, "key%02d", (int)k);
    manta_status expected = model_condition(m, k, when, guess);
    if (rng_below(r, 3)) {
        if (APPLY(x, KV_PUT, kv_put, .space = S("s"), .key = S(name), .value = {&value, 1}, .when = when, .if_revision = guess) != expected)
            return false;
        if (expected) return core_number(x) == m->revision[k];
        m->value[k] = value;
        m->revision[k] = core_number(x);
        return true;
    }
    if (!expected && !m->revision[k]) expected = MANTA_ENOTFOUND;
    if (APPLY(x, KV_DELETE, kv_delete, .space = S("s"), .key = S(name), .when = when, .if_revision = guess) != expected) return false;
    if (!expected) m->revision[k] = 0;
    return true;
}

static bool model_agrees(core_fixture *x, const model *m)
{
    uint32_t count;
    if (QUERY(x, KV_LIST, kv_list, .space = S("s"))) return false;
    gcs_page page = ROW(x, page);
    manta_reader rows;
    manta_reader_init(&rows, page.rows.data, page.rows.size);
    manta_unpack_array(&rows, &count);
    for (int k = 0; k < MODEL_KEYS; k++) {
        gcs_kv_row row;
        char name[16];
        if (!m->revision[k]) continue;
        snprintf(name, sizeof name, "key%02d", k);
        gcs_read_kv_row(&rows, &row);
        if (rows.status || !text_is(row.key, name) || row.revision != m->revision[k] || *(const uint8_t *)row.value.data != m->value[k])
            return false;
    }
    return manta_reader_left(&rows) == 0;
}

/* Random puts and deletions with random conditions agree with an array. */
TEST(model)
{
    core_fixture x;
    model m = {0};
    rng r;
    rng_init(&r, test_seed());
    core_open(&x, NULL);
    for (int i = 0; i < test_scaled(100000); i++) {
        EXPECT(model_step(&x, &m, &r));
        if (i % 1000 == 0) EXPECT(model_agrees(&x, &m));
    }
    EXPECT(model_agrees(&x, &m));
    core_close(&x);
}
