/* Real file systems that are full: a tmpfs without room for the store or for more of it, and a disk without room for what is spilled. Each in a mount namespace of its own. */
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "test/support/child.h"
#include "test/support/stores.h"
#include "test/support/test.h"

enum { MIB = 1 << 20, SKIPPED = 77 };

/* A tmpfs of so many MiB at `path`, which this process alone sees; false: this user may not. */
static bool mount_small(const char *path, int mib)
{
    char size[32];
    snprintf(size, sizeof size, "size=%dm", mib);
    if (mkdir(path, 0700) && errno != EEXIST) return false;
    return !unshare(CLONE_NEWNS) && !mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) && !mount("manta-test", path, "tmpfs", 0, size);
}

#define CHECK_THAT(condition_) \
    do \
        if (!(condition_)) { \
            fprintf(stderr, "%s:%d: expected %s (%s)\n", __FILE__, __LINE__, #condition_, store_error()); \
            _exit(1); \
        } \
    while (0)

static store *open_at(const char *path, uint64_t capacity, uint32_t max_objects, const char *spill)
{
    store *s = NULL;
    store_options o = {.mode = STORE_CREATE,
        .path = path,
        .capacity_bytes = capacity,
        .max_objects = max_objects,
        .spill_path = spill,
        .full_wait_ms = 50};
    (void)store_open(&o, &s);
    return s;
}

/* Puts small objects until one fails; how many there are. */
static int put_until_full(store *s, store_id *ids, int limit, manta_status *status)
{
    int n = 0;
    for (*status = MANTA_OK; n < limit && !*status; n += !*status) *status = store_put(s, &n, sizeof n, &ids[n]);
    return n;
}

CHILD(on_small_tmpfs)
{
    enum { LIMIT = 200000 };
    static store_id ids[LIMIT];
    (void)parent;
    if (!mount_small(argument, 32)) _exit(SKIPPED);
    char path[128];
    manta_status status;
    snprintf(path, sizeof path, "%s/store", argument);
    CHECK_THAT(!open_at(path, 64 * MIB, 0, NULL));
    CHECK_THAT(strstr(store_error(), "no room for 67108864 bytes"));
    CHECK_THAT(!open_at(path, 28 * MIB, 0, NULL)); /* the arena alone would fit */
    CHECK_THAT(strstr(store_error(), "No space left"));
    store *s = open_at(path, 10 * MIB, LIMIT, NULL); /* slots take room when they are used: 12.8 MB of them */
    CHECK_THAT(s);
    int n = put_until_full(s, ids, LIMIT, &status);
    CHECK_THAT(n > 1000 && status == MANTA_ESTOREFULL);
    for (int i = 0; i < n; i++) {
        store_view v;
        CHECK_THAT(store_pin(s, ids[i], &v) == MANTA_OK && memcmp(v.data, &i, sizeof i) == 0);
        store_unpin(s, ids[i]);
        CHECK_THAT(store_drop(s, ids[i]) == MANTA_OK);
    }
    CHECK_THAT(store_put(s, &n, sizeof n, &ids[0]) == MANTA_OK);
    CHECK_THAT(store_check(s, true) == MANTA_OK);
    store_close(s);
    CHECK_THAT(store_destroy(path) == MANTA_OK);
    _exit(0);
}

CHILD(growing)
{
    enum { SIZE = 3 * MIB, LIMIT = 100 };
    store_id ids[LIMIT];
    store_view v;
    store *s = NULL;
    int n = 0;
    unsigned char *data = malloc(SIZE);
    char path[128];
    (void)parent;
    if (!data || !mount_small(argument, 48)) _exit(SKIPPED);
    snprintf(path, sizeof path, "%s/store", argument);
    store_options o = {
        .mode = STORE_CREATE, .path = path, .capacity_bytes = 256 * MIB, .grows = true, .no_prefault = true, .full_wait_ms = 50};
    CHECK_THAT(store_open(&o, &s) == MANTA_OK);
    manta_status status = MANTA_OK;
    for (; n < LIMIT && !status; n += !status) {
        store_pattern(data, SIZE, (uint64_t)n);
        status = store_put(s, data, SIZE, &ids[n]);
    }
    CHECK_THAT(n > 2 && n < 16 && status == MANTA_ESTOREFULL && strstr(store_error(), "no room for"));
    CHECK_THAT(store_check(s, true) == MANTA_OK);
    for (int i = 0; i < n; i++) {
        CHECK_THAT(store_pin(s, ids[i], &v) == MANTA_OK && store_pattern_is(v.data, SIZE, (uint64_t)i));
        store_unpin(s, ids[i]);
    }
    CHECK_THAT(store_drop(s, ids[0]) == MANTA_OK && store_put(s, data, SIZE / 2, &ids[0]) == MANTA_OK);
    store_close(s);
    CHECK_THAT(store_destroy(path) == MANTA_OK);
    _exit(0);
}

CHILD(on_small_disk)
{
    enum { LIMIT = 200 };
    store_id ids[LIMIT];
    store_place p = store_place_new();
    unsigned char *data = malloc(MIB);
    (void)parent;
    if (!data || !mount_small(argument, 10)) _exit(SKIPPED);
    store *s = open_at(p.path, 8 * MIB, 0, argument);
    CHECK_THAT(s);
    int n = 0;
    manta_status status = MANTA_OK;
    for (; n < LIMIT && !status; n += !status) {
        store_pattern(data, MIB / 2, (uint64_t)n);
        status = store_put(s, data, MIB / 2, &ids[n]);
    }
    CHECK_THAT(n > 20 && n < 40 && status == MANTA_ESTOREFULL);
    CHECK_THAT(strstr(store_error(), "spilling failed") && strstr(store_error(), "No space left"));
    for (int round = 0; round < 2; round++) { /* nothing is lost; what is on disk needs room to come back */
        for (int i = round; i < n; i++) {
            store_view v;
            status = store_pin(s, ids[i], &v);
            CHECK_THAT(status == MANTA_OK || status == MANTA_ESTOREFULL);
            if (status) continue;
            CHECK_THAT(store_pattern_is(v.data, MIB / 2, (uint64_t)i));
            store_unpin(s, ids[i]);
        }
        CHECK_THAT(store_check(s, true) == MANTA_OK);
        if (!round) CHECK_THAT(store_drop(s, ids[0]) == MANTA_OK);
    }
    for (int i = 1; i < n; i++) CHECK_THAT(store_drop(s, ids[i]) == MANTA_OK);
    CHECK_THAT(store_put(s, data, 4 * MIB / 4, &ids[0]) == MANTA_OK);
    store_close(s);
    CHECK_THAT(store_destroy(p.path) == MANTA_OK);
    _exit(0);
}

static bool ends_well(const char *role, const char *argument)
{
    child_process c = child_start(role, argument);
    int status = child_end(&c, 0);
    (void)rmdir(argument);
    if (WIFEXITED(status) && WEXITSTATUS(status) == SKIPPED) fprintf(stderr, "  skipped: this user may not mount\n");
    return WIFEXITED(status) && (WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == SKIPPED);
}

/* A tmpfs that is too small for a store refuses it, with the bytes; one that gets full under a store makes puts fail clearly, and what is there stays good. */
TEST(full_tmpfs)
{
    store_place p = store_place_new();
    EXPECT(ends_well("on_small_tmpfs", p.spill));
}

/* A disk that gets full while objects go out makes puts fail clearly; every object stays whole, and with room again all goes on. */
TEST(full_disk)
{
    store_place p = store_place_new();
    EXPECT(ends_well("on_small_disk", p.spill));
}

/* A store that grows takes room as it is used: when the tmpfs has no more, puts fail clearly, what is there stays good, and what is freed can be used. */
TEST(growing_store)
{
    store_place p = store_place_new();
    EXPECT(ends_well("growing", p.spill));
}
