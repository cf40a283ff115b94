/*
 * A small random program, run with many seeds: whatever the order, promises hold, and a seed replays exactly.
 */
#include <manta/manta.h>

#include "test/support/test.h"

enum { ACTORS = 6, ROUNDS = 60, SEEDS = 1000, REPLAYED = 50 };

/* Checks that what each sender numbered arrives in order, and passes some of it on. */
MANTA_ACTOR(Peer, manta_actor peers[ACTORS]; int64_t last[ACTORS]; int64_t next[ACTORS]; int64_t me, received, sent, disorder;)
MANTA_METHOD_DECLARE(Peer, know, void, (int64_t, me), (int64_t, other), (manta_actor, peer))
MANTA_METHOD_DECLARE(Peer, take, void, (int64_t, from), (int64_t, number))
MANTA_METHOD_DECLARE(Peer, play, int64_t, (int64_t, rounds))
MANTA_METHOD_DECLARE(Peer, probe, int64_t, (int64_t, fails))
MANTA_STRUCT(Totals, (int64_t, sent), (int64_t, received), (int64_t, disorder))
MANTA_METHOD_DECLARE(Peer, totals, Totals)

MANTA_METHOD_DEFINE(Peer, know, void, (int64_t, me), (int64_t, other), (manta_actor, peer))
{
    self->me = me;
    self->peers[other] = peer;
}

MANTA_METHOD_DEFINE(Peer, take, void, (int64_t, from), (int64_t, number))
{
    self->disorder += number != ++self->last[from];
    self->received++;
}

MANTA_METHOD_DEFINE(Peer, probe, int64_t, (int64_t, fails))
{
    if (fails) return manta_fail(MANTA_EFAILED, "as asked"), 0;
    return self->received;
}

MANTA_METHOD_DEFINE(Peer, play, int64_t, (int64_t, rounds))
{
    int64_t failures = 0;
    for (int64_t i = 0; i < rounds; i++) {
        uint64_t choice = manta_random();
        int64_t to = (int64_t)(choice >> 8) % ACTORS;
        if (to == self->me) to = (self->me + 1) % ACTORS;
        Peer_take_send(Peer_ref_of(self->peers[to]), self->me, ++self->next[to]);
        self->sent++;
        if (choice % 4 == 0) manta_sleep(choice % 7);
        if (choice % 4 == 1 && to > self->me) { /* only upwards, so that nobody waits in a circle */
            int64_t value;
            failures += manta_get(Peer_probe(Peer_ref_of(self->peers[to]), choice % 8 == 1), &value) != MANTA_OK;
        }
    }
    return failures;
}

MANTA_METHOD_DEFINE(Peer, totals, Totals) { return (Totals){self->sent, self->received, self->disorder}; }
MANTA_CLASS(Peer, know, take, play, probe, totals)

static uint64_t run_seed(uint64_t seed, Totals *out)
{
    manta_t *m = manta_init_with(&(manta_config){.seed = seed});
    if (!m) return 0;
    Peer_ref p[ACTORS];
    manta_int64_t_future f[ACTORS];
    int64_t failures[ACTORS];
    for (int i = 0; i < ACTORS; i++) p[i] = Peer_spawn();
    for (int i = 0; i < ACTORS; i++)
        for (int j = 0; j < ACTORS; j++) Peer_know_send(p[i], i, j, p[j].actor);
    for (int i = 0; i < ACTORS; i++) f[i] = Peer_play(p[i], ROUNDS);
    manta_status status = manta_get_all(f, failures, ACTORS);
    *out = (Totals){0, 0, status != MANTA_OK};
    for (int i = 0; i < ACTORS; i++) {
        Totals t = manta_await(Peer_totals(p[i]));
        *out = (Totals){out->sent + t.sent, out->received + t.received, out->disorder + t.disorder};
    }
    uint64_t hash = manta_trace_hash();
    return manta_shutdown(m) == MANTA_OK ? hash : 0;
}

/* In 1,000 seeded schedules every message arrives, in order per pair, and every future completes. */
TEST(thousand_seeds)
{
    uint64_t base = test_seed();
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        Totals t;
        EXPECT(run_seed(base + seed ? base + seed : 1, &t) != 0);
        EXPECT_EQ(t.disorder, 0);
        EXPECT_EQ(t.sent, ACTORS * ROUNDS);
        EXPECT_EQ(t.received, t.sent);
    }
}

/* The same seed takes the same course, and seeds differ. */
TEST(replay)
{
    Totals t;
    uint64_t different = 0, before = 0;
    for (uint64_t seed = 1; seed <= REPLAYED; seed++) {
        uint64_t hash = run_seed(seed, &t);
        EXPECT(hash != 0 && run_seed(seed, &t) == hash);
        different += hash != before;
        before = hash;
    }
    EXPECT_EQ(different, REPLAYED);
}
