/*
 * Promise: an object's bytes are what was put, wherever they are read, or there is an error; and when nobody holds a ref any more, nothing is left.
 */
#include <inttypes.h>

#include "test/sim/nodes/simulate.h"

enum { BYTES_MOST = 100000 };

MANTA_ACTOR(SimReader, uint64_t read;)
MANTA_METHOD_DECLARE(SimReader, look, uint64_t, (manta_ref, object), (uint64_t, seed))
MANTA_ACTOR(SimMaker, uint64_t made;)
MANTA_METHOD_DECLARE(SimMaker, play, void)

size_t object_size(uint64_t seed) { return seed % 3 ? 16 + seed % 500 : 16 + seed % BYTES_MOST; }

static uint64_t word_at(uint64_t seed, size_t i) { return (seed + i) * UINT64_C(0x9e3779b97f4a7c15); }

void object_fill(unsigned char *to, size_t size, uint64_t seed)
{
    for (size_t i = 0; i < size; i += 8) {
        uint64_t word = word_at(seed, i);
        memcpy(to + i, &word, size - i < 8 ? size - i : 8);
    }
}

bool object_is_right(const unsigned char *at, size_t size, uint64_t seed)
{
    if (size != object_size(seed)) return false;
    for (size_t i = 0; i < size; i += 8) {
        uint64_t word = word_at(seed, i);
        if (memcmp(at + i, &word, size - i < 8 ? size - i : 8) != 0) return false;
    }
    return true;
}

MANTA_METHOD_DEFINE(SimReader, look, uint64_t, (manta_ref, object), (uint64_t, seed))
{
    manta_object view;
    if (manta_object_get(object, 5000, &view)) return manta_fail(manta_last_error()->status, "%s", manta_last_error()->message), 0;
    if (!object_is_right(view.data, view.size, seed)) manta_sim_fail("an object of %zu bytes arrived as something else", object_size(seed));
    self->read++;
    return view.size;
}
MANTA_CLASS(SimReader, look)

static void make_one(SimMaker *self, SimReader_ref reader)
{
    uint64_t seed = manta_random(), read = 0;
    unsigned char *data;
    manta_ref ref;
    (void)manta_scope_begin();
    if (manta_create(object_size(seed), &ref, (void **)&data) == MANTA_OK) {
        object_fill(data, object_size(seed), seed);
        self->made++;
        if (manta_seal(ref)) manta_sim_fail("manta_seal: %s", manta_last_error()->message);
        else if (manta_get(SimReader_look(reader, ref, seed), &read) == MANTA_OK) watch()->objects++;
    }
    (void)manta_scope_end();
}

MANTA_METHOD_DEFINE(SimMaker, play, void)
{
    for (uint32_t i = 0; i < manta_sim_steps() / 2 + 1; i++) {
        uint32_t other = (uint32_t)(manta_random() % manta_sim_nodes());
        manta_process p;
        manta_actor a;
        if (manta_sim_process(other, 500, &p) == MANTA_OK && manta_lookup_in(p, "reader", &a) == MANTA_OK)
            make_one(self, SimReader_ref_of(a));
        manta_sleep(manta_random() % 200);
    }
    program_finished();
}
MANTA_CLASS(SimMaker, play)

void objects_start_on(uint32_t node)
{
    (void)node;
    (void)SimReader_spawn_with(MANTA_OPTIONS(.name = "reader", .concurrency = 16));
    (void)SimMaker_play_send(SimMaker_spawn());
}
