/* Moving objects to disk and back: quota, corruption, compaction, several processes, restart. */
#include <errno.h>
#include <sched.h>

#include "scheduler/os/os_file.h"
#include "test/support/stores.h"
#include "test/support/test.h"

enum { MIB = 1 << 20, CAPACITY = 16 * MIB };

static store *open_spilling(const store_place *p, uint64_t spill_bytes)
{
    store *s = NULL;
    store_options o = {.mode = STORE_CREATE,
        .path = p->path,
        .capacity_bytes = CAPACITY,
        .spill_path = p->spill,
        .spill_bytes = spill_bytes,
        .full_wait_ms = 100};
    if (store_open(&o, &s)) fprintf(stderr, "store_open: %s\n", store_error());
    return s;
}

static bool read_is(store *s, store_id id, uint64_t size, uint64_t seed)
{
    store_view v;
    manta_status status = store_pin(s, id, &v);
    if (status) fprintf(stderr, "object %d: %s\n", (int)seed, store_error());
    if (status) return false;
    bool ok = v.size_bytes == size && store_pattern_is(v.data, size, seed);
    store_unpin(s, id);
    return ok;
}

/* Three times the store's room, in objects of all sizes, is put and read back intact, twice, in any order. */
TEST(three_times_the_room)
{
    enum { N = 2000 };
    store_place p = store_place_new();
    store *s = open_spilling(&p, 0);
    EXPECT(s);
    static store_id ids[N];
    static uint64_t sizes[N];
    unsigned char *data = malloc(2 * MIB);
    uint64_t total = 0;
    int n = 0;
    rng r;
    rng_init(&r, test_seed());
    for (; n < N && total < 3ull * CAPACITY; n++) {
        sizes[n] = rng_next(&r) % (n % 10 ? 20000 : 2 * MIB);
        total += sizes[n];
        store_pattern(data, sizes[n], (uint64_t)n);
        EXPECT_EQ(store_put(s, data, sizes[n], &ids[n]), MANTA_OK);
    }
    EXPECT(total >= 3ull * CAPACITY);
    for (int i = 0; i < n; i++) EXPECT(read_is(s, ids[i], sizes[i], (uint64_t)i));
    for (int i = 0; i < n; i++) {
        int k = (int)(rng_next(&r) % (uint64_t)n);
        EXPECT(read_is(s, ids[k], sizes[k], (uint64_t)k));
    }
    store_info info;
    EXPECT_EQ(store_stat(s, &info), MANTA_OK);
    EXPECT(info.spills > 0 && info.restores > 0 && info.evictions_clean > 0);
    EXPECT_EQ(store_check(s, true), MANTA_OK);
    for (int i = 0; i < n; i++) EXPECT_EQ(store_drop(s, ids[i]), MANTA_OK);
    EXPECT_EQ(store_stat(s, &info), MANTA_OK);
    EXPECT(info.objects == 0 && info.spill_live_bytes == 0);
    EXPECT_EQ(store_check(s, true), MANTA_OK);
    free(data);
    store_close(s);
    EXPECT_EQ(store_destroy(p.path), MANTA_OK);
    store_place_remove(&p);
}

/* An object larger than the free memory is made by moving others away, also when what is free is scattered. */
TEST(larger_than_what_is_free)
{
    store_place p = store_place_new();
    store *s = open_spilling(&p, 0);
    EXPECT(s);
    static store_id ids[100];
    store_id big;
    unsigned char *data = malloc(CAPACITY);
    for (int i = 0; i < 100; i++) {
        store_pattern(data, 150000, (uint64_t)i);
        EXPECT_EQ(store_put(s, data, 150000, &ids[i]), MANTA_OK);
    }
    for (int round = 0; round < 3; round++) {
        uint64_t size = CAPACITY - 2 * MIB;
        store_pattern(data, size, 1000);
        EXPECT_EQ(store_put(s, data, size, &big), MANTA_OK);
        EXPECT(read_is(s, big, size, 1000));
        for (int i = 0; i < 100; i += 7) EXPECT(read_is(s, ids[i], 150000, (uint64_t)i));
        EXPECT(read_is(s, big, size, 1000));
        EXPECT_EQ(store_drop(s, big), MANTA_OK);
    }
    EXPECT_EQ(store_check(s, true), MANTA_OK);
    free(data);
    store_close(s);
    store_place_remove(&p);
}

/* An object above the high mark can be read although the spiller wants it out: who brings it back keeps it. On one core the spiller runs before the reader goes on. */
TEST(above_the_high_mark)
{
    cpu_set_t before, first;
    EXPECT_EQ(sched_getaffinity(0, sizeof before, &before), 0);
    CPU_ZERO(&first);
    size_t core = 0;
    while (!CPU_ISSET(core, &before)) core++;
    CPU_SET(core, &first);
    EXPECT_EQ(sched_setaffinity(0, sizeof first, &first), 0);
    store_place p = store_place_new();
    store *s = open_spilling(&p, 0);
    EXPECT(s);
    store_id ids[2];
    uint64_t size = CAPACITY / 16 * 15;
    unsigned char *data = malloc(size);
    for (int i = 0; i < 2; i++) {
        store_pattern(data, size, (uint64_t)i);
        EXPECT_EQ(store_put(s, data, size, &ids[i]), MANTA_OK);
    }
    enum { READS = 20 };
    for (int i = 0; i < READS; i++) {
        store_view v;
        EXPECT_EQ(store_pin(s, ids[i % 2], &v), MANTA_OK);
        EXPECT(v.size_bytes == size && store_pattern_is(v.data, 1000, (uint64_t)i % 2));
        store_unpin(s, ids[i % 2]);
    }
    store_info info;
    EXPECT_EQ(store_stat(s, &info), MANTA_OK);
    EXPECT(info.restores <= READS);
    free(data);
    store_close(s);
    EXPECT_EQ(sched_setaffinity(0, sizeof before, &before), 0);
    EXPECT_EQ(store_destroy(p.path), MANTA_OK);
    store_place_remove(&p);
}

/* What is pinned stays; when everything is pinned or the disk's quota is used up, the error says so. */
TEST(nothing_may_go)
{
    store_place p = store_place_new();
    store *s = open_spilling(&p, 4 * MIB);
    EXPECT(s);
    store_id ids[64], more;
    store_view v;
    unsigned char *data = calloc(1, MIB);
    int n = 0;
    while (n < 64 && store_put(s, data, MIB - 100, &ids[n]) == MANTA_OK) n++;
    EXPECT(n >= 18 && n <= 20);
    EXPECT(strstr(store_error(), "spill_bytes"));
    EXPECT_EQ(store_drop(s, ids[--n]), MANTA_OK);
    for (int i = 0; i < n; i++) {
        manta_status status = store_pin(s, ids[i], &v);
        EXPECT(status == MANTA_OK || status == MANTA_ESTOREFULL);
    }
    EXPECT_EQ(store_put(s, data, 3 * MIB, &more), MANTA_ESTOREFULL);
    EXPECT(strstr(store_error(), "pinned"));
    free(data);
    store_close(s);
    store_place_remove(&p);
}

static bool find_file(const char *name, void *context)
{
    if (strncmp(name, "spill-", 6) == 0 || strncmp(name, "manta-", 6) == 0) snprintf(context, 200, "%s", name);
    return true;
}

/* Objects that name others go to disk too: the named ones stay, and go with them from there. */
TEST(refs_inside)
{
    enum { N = 40 };
    store_place p = store_place_new();
    store *s = open_spilling(&p, 0);
    store_id inner[N], outer[N];
    void *data;
    EXPECT(s);
    for (int i = 0; i < N; i++) {
        uint64_t size = (uint64_t)i * 977;
        EXPECT_EQ(store_put(s, &i, sizeof i, &inner[i]), MANTA_OK);
        EXPECT_EQ(store_create(s, size, 1, &outer[i], &data), MANTA_OK);
        store_pattern(data, size, (uint64_t)i);
        EXPECT_EQ(store_seal(s, outer[i], &inner[i]), MANTA_OK);
        EXPECT_EQ(store_drop(s, inner[i]), MANTA_OK);
    }
    store_spill_all(s);
    store_info info;
    EXPECT_EQ(store_stat(s, &info), MANTA_OK);
    EXPECT_EQ(info.spilled, 2 * N);
    EXPECT_EQ(store_check(s, true), MANTA_OK);
    for (int i = 0; i < N; i += 2) EXPECT(read_is(s, outer[i], (uint64_t)i * 977, (uint64_t)i));
    EXPECT_EQ(store_check(s, true), MANTA_OK);
    for (int i = 0; i < N; i++) {
        EXPECT_EQ(store_peek(s, inner[i]), MANTA_OK);
        EXPECT_EQ(store_drop(s, outer[i]), MANTA_OK);
        EXPECT_EQ(store_peek(s, inner[i]), MANTA_ESTALE);
    }
    EXPECT_EQ(store_stat(s, &info), MANTA_OK);
    EXPECT(info.objects == 0 && info.spill_live_bytes == 0);
    EXPECT_EQ(store_check(s, true), MANTA_OK);
    store_close(s);
    EXPECT_EQ(store_destroy(p.path), MANTA_OK);
    store_place_remove(&p);
}

/* A flipped byte in a spill file is an error that names file and byte; the other objects are not touched by it. */
TEST(corrupted)
{
    store_place p = store_place_new();
    store *s = open_spilling(&p, 0);
    EXPECT(s);
    store_id a, b;
    store_view v;
    unsigned char data[5000];
    char directory[200] = "", file[200] = "", path[512];
    store_pattern(data, sizeof data, 1);
    EXPECT_EQ(store_put(s, data, sizeof data, &a), MANTA_OK);
    store_pattern(data, sizeof data, 2);
    EXPECT_EQ(store_put(s, data, sizeof data, &b), MANTA_OK);
    store_spill_all(s);
    EXPECT(!store_is_resident(s, a) && store_peek(s, a) == MANTA_OK);
    EXPECT_EQ(os_directory_list(p.spill, find_file, directory), 0);
    snprintf(path, sizeof path, "%s/%s", p.spill, directory);
    EXPECT_EQ(os_directory_list(path, find_file, file), 0);
    snprintf(path, sizeof path, "%s/%s/%s", p.spill, directory, file);
    FILE *f = fopen(path, "r+");
    EXPECT(f);
    fseek(f, 200, SEEK_SET);
    fputc('#', f);
    fclose(f);
    EXPECT(store_check(s, true) == MANTA_EIO);
    manta_status first = store_pin(s, a, &v), second = store_pin(s, b, &v);
    EXPECT((first == MANTA_EIO) != (second == MANTA_EIO));
    EXPECT(first == MANTA_OK || second == MANTA_OK);
    store_id bad = first ? a : b;
    EXPECT_EQ(store_pin(s, bad, &v), MANTA_EIO);
    EXPECT(strstr(store_error(), file) && strstr(store_error(), "byte"));
    EXPECT_EQ(store_drop(s, bad), MANTA_OK);
    EXPECT_EQ(store_check(s, true), MANTA_OK);
    store_close(s);
    store_place_remove(&p);
}

/* Files whose objects have mostly gone are rewritten, so that the disk holds about what lives. */
TEST(compaction)
{
    enum { N = 400 };
    store_place p = store_place_new();
    store *s = open_spilling(&p, 0);
    EXPECT(s);
    static store_id ids[N];
    unsigned char *data = malloc(300000);
    for (int i = 0; i < N; i++) {
        store_pattern(data, 300000, (uint64_t)i);
        EXPECT_EQ(store_put(s, data, 300000, &ids[i]), MANTA_OK);
    }
    store_spill_all(s);
    for (int i = 0; i < N; i++)
        if (i % 10) EXPECT_EQ(store_drop(s, ids[i]), MANTA_OK);
    for (int i = 0; i < 60; i++) { /* the spiller looks when the arena fills */
        store_id id;
        EXPECT_EQ(store_put(s, data, 290000, &id), MANTA_OK);
        if (i < 50) EXPECT_EQ(store_hold(s, id), MANTA_OK);
    }
    store_info info;
    EXPECT(WAIT_FOR(store_stat(s, &info) == MANTA_OK && info.compactions > 0, 30));
    for (int i = 0; i < N; i += 10) EXPECT(read_is(s, ids[i], 300000, (uint64_t)i));
    EXPECT_EQ(store_check(s, true), MANTA_OK);
    free(data);
    store_close(s);
    store_place_remove(&p);
}

/* The disk being full while objects go out: they stay, puts fail clearly, and all is well when there is room again. */
TEST(full_disk)
{
    store_place p = store_place_new();
    store *s = open_spilling(&p, 0);
    EXPECT(s);
    store_id id;
    unsigned char *data = malloc(MIB);
    store_pattern(data, MIB, 3);
    EXPECT_EQ(store_put(s, data, MIB, &id), MANTA_OK);
    for (uint64_t n = 1; n < 12; n++) {
        os_file_fail_at(n, ENOSPC);
        store_spill_all(s);
        os_file_fail_at(0, 0);
        EXPECT(read_is(s, id, MIB, 3));
        EXPECT_EQ(store_check(s, true), MANTA_OK);
    }
    free(data);
    store_close(s);
    store_place_remove(&p);
}
