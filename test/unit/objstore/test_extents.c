/* The allocator of the arena's extents against a map with a byte per page, and the structure check of its index. */
#include <fcntl.h>
#include <sys/stat.h>

#include "objstore/internal.h"
#include "test/support/stores.h"
#include "test/support/test.h"

enum { MIB = 1 << 20, CAPACITY = 16 * MIB, PAGES = CAPACITY / 4096, HELD = 300 };

static store *open_plain(const char *path, store_mode mode)
{
    store *s = NULL;
    store_options o = {.mode = mode, .path = path, .capacity_bytes = mode == STORE_CREATE ? CAPACITY : 0, .no_prefault = true};
    (void)store_open(&o, &s);
    return s;
}

/* Whether `bytes` free bytes begin at a multiple of `alignment`. */
static bool has_hole(const unsigned char *map, uint64_t bytes, uint64_t alignment)
{
    uint64_t run = 0, pages = bytes / 4096;
    for (uint64_t i = PAGES; i-- > 0;) {
        run = map[i] ? 0 : run + 1;
        if (run >= pages && i * 4096 % alignment == 0) return true;
    }
    return false;
}

static bool mark(unsigned char *map, uint64_t offset, uint64_t bytes, unsigned char as)
{
    for (uint64_t i = offset / 4096; i < (offset + bytes) / 4096; i++) {
        if (map[i] == as) return false;
        map[i] = as;
    }
    return true;
}

typedef struct held_extent {
    uint64_t offset, bytes, sequence;
} held_extent;

static manta_status allocate(store *s, uint64_t bytes, bool is_slab, held_extent *out)
{
    static uint64_t sequence;
    intent *in = intent_take(s);
    extent e = {.kind = is_slab ? EXTENT_SLAB : EXTENT_LARGE, .sequence = ++sequence};
    manta_status status = extent_alloc(s, bytes, e, in, &out->offset);
    intent_drop(s, in);
    out->bytes = bytes;
    out->sequence = sequence;
    return status;
}

static bool note_walked(uint64_t offset, uint64_t length, const extent *used, void *context)
{
    unsigned char **maps = context;
    for (uint64_t i = offset / 4096; i < (offset + length) / 4096; i++) maps[1][i] = used != NULL;
    return true;
}

/* Random takes and returns: nothing overlaps, a request fails only when no hole is long enough, the walk shows exactly what is taken, and all grows together again at the end. */
TEST(model)
{
    store_place p = store_place_new();
    store *s = open_plain(p.path, STORE_CREATE);
    EXPECT(s);
    static unsigned char map[PAGES], walked[PAGES];
    static held_extent held[HELD];
    unsigned char *maps[] = {map, walked};
    rng r;
    rng_init(&r, test_seed());
    memset(map, 0, sizeof map);
    for (int i = 0; i < test_scaled(20000); i++) {
        held_extent *x = &held[rng_next(&r) % HELD];
        if (x->bytes) {
            EXPECT_EQ(extent_release(s, x->offset, x->sequence + 1), MANTA_OK); /* another's: nothing happens */
            EXPECT_EQ(extent_release(s, x->offset, x->sequence), MANTA_OK);
            EXPECT(mark(map, x->offset, x->bytes, 0));
            x->bytes = 0;
            continue;
        }
        bool is_slab = rng_next(&r) % 4 == 0;
        uint64_t bytes = is_slab ? SLAB_GRANULE : extent_round(1 + rng_next(&r) % (rng_next(&r) % 8 ? 100000 : 4 * MIB));
        uint64_t alignment = is_slab ? SLAB_GRANULE : 4096;
        manta_status status = allocate(s, bytes, is_slab, x);
        if (status) x->bytes = 0;
        bool right = status ? status == MANTA_ESTOREFULL && !has_hole(map, bytes, alignment)
                            : x->offset % alignment == 0 && x->offset + bytes <= CAPACITY && mark(map, x->offset, bytes, 1);
        EXPECT(right);
        if (i % 500 == 0) EXPECT(extents_walk(s, note_walked, maps) == MANTA_OK && memcmp(map, walked, sizeof map) == 0);
    }
    for (int i = 0; i < HELD; i++)
        if (held[i].bytes) EXPECT_EQ(extent_release(s, held[i].offset, held[i].sequence), MANTA_OK);
    EXPECT_EQ(extents_sizes(s), 1);
    EXPECT_EQ(store_check(s, true), MANTA_OK);
    store_close(s);
    EXPECT_EQ(store_destroy(p.path), MANTA_OK);
}

static bool poke(const char *directory, uint64_t at, unsigned char flip)
{
    char path[128];
    unsigned char byte;
    snprintf(path, sizeof path, "%s/index", directory);
    int fd = open(path, O_RDWR);
    bool ok = pread(fd, &byte, 1, (off_t)at) == 1;
    byte ^= flip;
    ok = ok && pwrite(fd, &byte, 1, (off_t)at) == 1;
    close(fd);
    return ok;
}

static uint64_t pages_in_use(store *s)
{
    MDB_envinfo info;
    return mdb_env_info(s->env, &info) ? 0 : info.me_last_pgno + 1;
}

/* Any flipped byte of the index is an error that names the file, most of them page and byte, or does no harm; who serves the node begins anew. */
TEST(corrupted_index)
{
    store_place p = store_place_new();
    store *s = open_plain(p.path, STORE_CREATE);
    EXPECT(s);
    held_extent some;
    for (int i = 0; i < 200; i++) EXPECT_EQ(allocate(s, 4096, false, &some), MANTA_OK);
    uint64_t bytes = pages_in_use(s) * 4096;
    store_close(s);
    rng r;
    rng_init(&r, test_seed());
    int refused = 0;
    for (int i = 0; i < test_scaled(3000); i++) {
        uint64_t at = i < 300 ? (uint64_t)i : rng_next(&r) % bytes;
        unsigned char flip = (unsigned char)(1u << rng_next(&r) % 8);
        EXPECT(poke(p.path, at, flip));
        s = open_plain(p.path, STORE_INSPECT);
        if (!s) EXPECT(strstr(store_error(), "/index: "));
        if (s) (void)store_audit(s, true, NULL, NULL);
        else refused++;
        store_close(s);
        EXPECT(poke(p.path, at, flip));
    }
    EXPECT(refused > 0);
    EXPECT(poke(p.path, 16, 1) && poke(p.path, 4096 + 16, 1));
    EXPECT(!open_plain(p.path, STORE_ATTACH));
    EXPECT(strstr(store_error(), "no meta page"));
    s = open_plain(p.path, STORE_CREATE);
    EXPECT(s);
    EXPECT_EQ(store_check(s, true), MANTA_OK);
    store_close(s);
    EXPECT_EQ(store_destroy(p.path), MANTA_OK);
}

/* Writes another length into the free extent at `offset`, as LMDB would. */
static int lengthen(store *s, uint64_t offset, uint64_t length)
{
    MDB_txn *t;
    MDB_val k = {8, &offset}, v = {8, &length};
    int e = mdb_txn_begin(s->env, NULL, 0, &t);
    if (!e) e = mdb_put(t, s->by_offset, &k, &v, 0);
    return e ? e : mdb_txn_commit(t);
}

/* Tables that LMDB can trust, but that contradict each other, are refused by who attaches to a dead store, and made anew by who serves it. */
TEST(contradiction)
{
    store_place p = store_place_new();
    store *s = open_plain(p.path, STORE_CREATE);
    EXPECT(s);
    EXPECT_EQ(lengthen(s, 0, CAPACITY - 4096), 0);
    store_close(s);
    EXPECT(!open_plain(p.path, STORE_ATTACH));
    EXPECT(strstr(store_error(), "contradict"));
    EXPECT((s = open_plain(p.path, STORE_CREATE)));
    EXPECT_EQ(store_check(s, true), MANTA_OK);
    store_close(s);
    EXPECT_EQ(store_destroy(p.path), MANTA_OK);
}
