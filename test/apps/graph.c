/*
 * A graph of objects for tools/chaos: LAYERS of WIDTH tasks, each of which reads two objects of the layer before, 100 bytes to a megabyte, and makes one. Every object is computed here as well, so a wrong byte anywhere
 * shows. Refs of all layers are kept, and now and then an old one is read again: if its copies died meanwhile, it has to be made again, with what it came from.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include <manta/manta.h>

enum { LAYERS = 12, WIDTH = 12, LOOKS = 24, PATIENCE_MS = 120000 };

static uint64_t mix(uint64_t x)
{
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

/* An object: words that follow from its first; how many does too. */
static size_t words_of(uint64_t seed)
{
    static const size_t most[] = {16, 1024, 16384, 131072};
    return 12 + mix(seed) % most[seed % 4];
}
static uint64_t word_of(uint64_t seed, size_t i) { return i ? mix(seed + i) : seed; }
static uint64_t seed_of(uint64_t a, uint64_t b, uint64_t name) { return mix(mix(a + name) + 3 * b); }

static bool is_whole(manta_object o)
{
    const uint64_t *at = o.data;
    if (o.size < sizeof *at || o.size != words_of(at[0]) * sizeof *at) return false;
    for (size_t i = 0; i < words_of(at[0]); i++)
        if (at[i] != word_of(at[0], i)) return false;
    return true;
}

static manta_ref make(uint64_t seed)
{
    manta_ref ref = {{0, 0}};
    uint64_t *data;
    if (manta_create(words_of(seed) * sizeof *data, &ref, (void **)&data)) return manta_fail(MANTA_EFAILED, "no object"), ref;
    for (size_t i = 0; i < words_of(seed); i++) data[i] = word_of(seed, i);
    if (manta_seal(ref)) manta_fail(MANTA_EFAILED, "no object");
    return ref;
}

MANTA_TASK(leaf, manta_ref, (uint64_t, name)) { return make(seed_of(0, 0, name)); }
MANTA_TASK(join, manta_ref, (manta_object, a), (manta_object, b), (uint64_t, name))
{
    if (!is_whole(a) || !is_whole(b)) return manta_fail(MANTA_EFAILED, "a wrong byte on the way to %" PRIu64, name), (manta_ref){{0, 0}};
    return make(seed_of(((const uint64_t *)a.data)[0], ((const uint64_t *)b.data)[0], name));
}

static manta_ref refs[LAYERS][WIDTH];
static uint64_t seeds[LAYERS][WIDTH];

static int left_of(int layer, int i) { return (int)(mix((uint64_t)(layer * WIDTH + i)) % WIDTH); }

static bool submit_layer(int layer)
{
    manta_manta_ref_future made[WIDTH];
    for (int i = 0; i < WIDTH; i++) {
        uint64_t name = (uint64_t)(layer * WIDTH + i);
        int left = left_of(layer, i);
        seeds[layer][i] = layer ? seed_of(seeds[layer - 1][left], seeds[layer - 1][i], name) : seed_of(0, 0, name);
        made[i] =
            layer ? join_submit(manta_object_of(refs[layer - 1][left]), manta_object_of(refs[layer - 1][i]), name) : leaf_submit(name);
    }
    return manta_get_all(made, refs[layer], WIDTH) == MANTA_OK;
}

static bool is_right(int layer, int i)
{
    manta_object o;
    manta_status status = manta_object_get(refs[layer][i], PATIENCE_MS, &o);
    if (status) fprintf(stderr, "object %d of layer %d: %s\n", i, layer, manta_last_error()->message);
    return !status && is_whole(o) && ((const uint64_t *)o.data)[0] == seeds[layer][i];
}

static bool look_back(int layer)
{
    for (int k = 0; k < LOOKS / LAYERS; k++) {
        uint64_t which = mix((uint64_t)(layer * LOOKS + k));
        (void)manta_scope_begin();
        bool ok = is_right((int)(which % (uint64_t)(layer + 1)), (int)(which / LAYERS % WIDTH));
        (void)manta_scope_end();
        if (!ok) return false;
    }
    return true;
}

int main(int argc, char **argv)
{
    manta_t *m = manta_init(&argc, &argv);
    uint64_t sum = 0;
    if (!m) return fprintf(stderr, "%s\n", manta_last_error()->message), 1;
    (void)manta_scope_begin();
    for (int layer = 0; layer < LAYERS; layer++)
        if (!submit_layer(layer) || !look_back(layer)) return fprintf(stderr, "layer %d: %s\n", layer, manta_last_error()->message), 1;
    for (int layer = 0; layer < LAYERS; layer++)
        for (int i = 0; i < WIDTH; i++) {
            (void)manta_scope_begin();
            if (!is_right(layer, i)) return fprintf(stderr, "object %d of layer %d is not what it was\n", i, layer), 1;
            (void)manta_scope_end();
            sum += seeds[layer][i];
        }
    printf("%d objects, sum %016" PRIx64 "\n", LAYERS * WIDTH, sum);
    (void)manta_scope_end();
    return manta_shutdown(m) == MANTA_OK ? 0 : 1;
}
