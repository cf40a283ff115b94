/* Aliases, and the table of who has the replica of an object of another store. */
#include "test/support/child.h"
#include "test/support/stores.h"
#include "test/support/test.h"

enum { MIB = 1 << 20 };

static store *open_store(const char *path, store_mode mode, const char *spill)
{
    store *s = NULL;
    store_options o = {.mode = mode, .path = path, .capacity_bytes = 16 * MIB, .name = "test", .full_wait_ms = 50, .spill_path = spill};
    if (store_open(&o, &s)) fprintf(stderr, "store_open: %s\n", store_error());
    return s;
}

static store_id put_pattern(store *s, size_t size, uint64_t seed)
{
    store_id id = {{0, 0}};
    void *data;
    if (store_create(s, size, 0, &id, &data)) return id;
    store_pattern(data, size, seed);
    (void)store_seal(s, id, NULL);
    return id;
}

static bool has_pattern(store *s, store_id id, size_t size, uint64_t seed)
{
    store_view v;
    if (store_pin(s, id, &v)) return false;
    bool ok = v.size_bytes == size && store_pattern_is(v.data, size, seed);
    store_unpin(s, id);
    return ok;
}

static uint64_t objects_in(store *s)
{
    store_info info;
    return store_stat(s, &info) ? 999 : info.objects;
}

/* An alias has its target's bytes, in memory and back from disk, takes none itself, and keeps the target until it is gone; one of an alias is one of its target. */
TEST(alias_is_the_target)
{
    store_place place = store_place_new();
    store *s = open_store(place.path, STORE_CREATE, place.spill);
    EXPECT(s);
    store_id target = put_pattern(s, 3 * MIB, 7), a, b;
    EXPECT(!store_promise(s, &a) && !store_promise(s, &b));
    EXPECT_EQ(store_alias(s, a, target), MANTA_OK);
    EXPECT_EQ(store_alias(s, b, a), MANTA_OK);
    EXPECT_EQ(store_drop(s, target), MANTA_OK);
    EXPECT(has_pattern(s, a, 3 * MIB, 7) && has_pattern(s, b, 3 * MIB, 7) && store_is_resident(s, a));
    store_info info;
    EXPECT(!store_stat(s, &info) && info.objects == 3 && info.object_bytes == 3 * MIB);
    EXPECT_EQ(store_inside(s, a, NULL, 0), 0);
    store_spill_all(s);
    EXPECT(!store_is_resident(s, a) && store_peek(s, a) == MANTA_OK);
    EXPECT(has_pattern(s, b, 3 * MIB, 7));
    EXPECT_EQ(store_check(s, true), MANTA_OK);
    store_view v;
    EXPECT_EQ(store_pin(s, a, &v), MANTA_OK);
    EXPECT_EQ(store_drop(s, a), MANTA_OK);
    EXPECT_EQ(store_drop(s, b), MANTA_OK);
    EXPECT(store_pattern_is(v.data, 3 * MIB, 7)); /* the view keeps both */
    store_unpin(s, a);
    EXPECT_EQ(objects_in(s), 0);
    EXPECT_EQ(store_check(s, true), MANTA_OK);
    store_close(s);
    EXPECT_EQ(store_destroy(place.path), MANTA_OK);
    store_place_remove(&place);
}

/* What is not complete, gone, an error, or names others has no aliases, and the promise is as it was. */
TEST(alias_refused)
{
    store_place place = store_place_new();
    store *s = open_store(place.path, STORE_CREATE, NULL);
    EXPECT(s);
    store_id a, pending, failed, named = put_pattern(s, 10, 1), container;
    void *data;
    EXPECT(!store_promise(s, &a) && !store_promise(s, &pending) && !store_promise(s, &failed));
    EXPECT(!store_create(s, 8, 1, &container, &data) && !store_seal(s, container, &named));
    EXPECT_EQ(store_fail(s, failed, MANTA_ELIMIT), MANTA_OK);
    EXPECT_EQ(store_alias(s, a, pending), MANTA_ESTALE);
    EXPECT_EQ(store_alias(s, a, failed), MANTA_EFAILED);
    EXPECT_EQ(store_alias(s, a, container), MANTA_EUNSUPPORTED);
    EXPECT_EQ(store_alias(s, a, (store_id){{1, 1}}), MANTA_ESTALE);
    EXPECT_EQ(store_alias(s, container, named), MANTA_ESTALE);
    EXPECT_EQ(store_peek(s, a), MANTA_ENOTREADY);
    EXPECT_EQ(store_alias(s, a, named), MANTA_OK);
    EXPECT(has_pattern(s, a, 10, 1));
    EXPECT_EQ(store_check(s, true), MANTA_OK);
    store_close(s);
    EXPECT_EQ(store_destroy(place.path), MANTA_OK);
    store_place_remove(&place);
}

/* argument: the store. Says that its promise is the replica of {5, 5}, and waits to be killed. */
CHILD(replica)
{
    store *s = open_store(argument, STORE_ATTACH, NULL);
    store_id mine, other;
    if (!s || store_promise(s, &mine) || store_share(s, (store_id){{5, 5}}, mine, &other)) _exit(3);
    if (!child_say(parent)) _exit(4);
    for (;;) pause();
}

/* The first one has it, in whatever process; when it is killed, or its object is gone or an error, the next one has it. */
TEST(one_has_the_replica)
{
    store_place place = store_place_new();
    store *s = open_store(place.path, STORE_CREATE, NULL);
    EXPECT(s);
    store_id root = {{5, 5}}, mine, second, other;
    char byte;
    child_process c = child_start("replica", place.path);
    EXPECT(child_hear(c.fd, &byte, 1));
    EXPECT(!store_promise(s, &mine) && !store_promise(s, &second));
    EXPECT_EQ(store_share(s, root, mine, &other), MANTA_EEXIST);
    EXPECT(other.word[1] != mine.word[1] && store_peek(s, other) == MANTA_ENOTREADY);
    EXPECT_EQ(child_end(&c, SIGKILL), SIGKILL);
    EXPECT_EQ(store_wait(s, other, 20ull * 1000000000), MANTA_OK); /* as an error */
    EXPECT_EQ(store_alias(s, mine, other), MANTA_EFAILED);
    EXPECT_EQ(store_drop(s, other), MANTA_OK);
    EXPECT_EQ(store_share(s, root, mine, &other), MANTA_OK);
    EXPECT_EQ(store_share(s, root, mine, &other), MANTA_OK);
    EXPECT_EQ(store_share(s, root, second, &other), MANTA_EEXIST);
    EXPECT_EQ(other.word[1], mine.word[1]);
    EXPECT(!store_drop(s, other) && !store_drop(s, mine));
    EXPECT_EQ(store_share(s, root, second, &other), MANTA_OK);
    EXPECT_EQ(store_drop(s, second), MANTA_OK);
    EXPECT_EQ(objects_in(s), 0);
    store_close(s);
    EXPECT_EQ(store_destroy(place.path), MANTA_OK);
    store_place_remove(&place);
}

/* More roots than the table has room for: some are forgotten, none is taken for another. */
TEST(many_roots)
{
    enum { N = 20000 };
    store_place place = store_place_new();
    store *s = open_store(place.path, STORE_CREATE, NULL);
    store_id *ids = calloc(N, sizeof *ids), other, fresh;
    int known = 0;
    EXPECT(s && ids && !store_promise(s, &fresh));
    for (uint64_t i = 0; i < N; i++) {
        EXPECT_EQ(store_promise(s, &ids[i]), MANTA_OK);
        EXPECT_EQ(store_share(s, (store_id){{i * 77, i + 1}}, ids[i], &other), MANTA_OK);
    }
    for (uint64_t i = 0; i < N; i++) EXPECT_EQ(store_share(s, (store_id){{i * 77, i + 1}}, ids[i], &other), MANTA_OK);
    for (uint64_t i = N; i-- > N - 1000;) {
        if (store_share(s, (store_id){{i * 77, i + 1}}, fresh, &other) != MANTA_EEXIST) continue;
        EXPECT_EQ(other.word[1], ids[i].word[1]);
        EXPECT_EQ(store_drop(s, other), MANTA_OK);
        known++;
    }
    EXPECT(known > 500);
    free(ids);
    store_close(s);
    EXPECT_EQ(store_destroy(place.path), MANTA_OK);
    store_place_remove(&place);
}
