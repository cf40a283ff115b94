/* Conservation, order per pair, one handler at a time, slot reuse under stale handles, for a while on several workers. */
#include <pthread.h>
#include <stdatomic.h>

#include "test/support/actors.h"

enum { MESH = 48, TOKENS = 8 };
static manta_actor mesh[MESH];
static _Atomic int64_t sent, received, broken, finished;

MANTA_ACTOR(Point, int64_t out[MESH]; int64_t in[MESH]; uint64_t random; int64_t me; int busy;)
MANTA_METHOD(Point, init, void, (int64_t, me), (uint64_t, seed))
{
    self->me = me;
    self->random = seed | 1;
}
MANTA_METHOD_DECLARE(Point, token, void, (int64_t, from), (int64_t, sequence), (int64_t, left))

static uint64_t next_random(Point *self)
{
    self->random ^= self->random << 13;
    self->random ^= self->random >> 7;
    self->random ^= self->random << 17;
    return self->random;
}
static void pass_on(Point *self, int64_t left)
{
    uint64_t to = next_random(self) % MESH;
    atomic_fetch_add(&sent, 1);
    self->busy = 0; /* a send may let other actors run, but never this one */
    Point_token_send(Point_ref_of(mesh[to]), self->me, ++self->out[to], left);
}
MANTA_METHOD_DEFINE(Point, token, void, (int64_t, from), (int64_t, sequence), (int64_t, left))
{
    if (self->busy++) broken++;
    if (sequence != ++self->in[from]) broken++;
    atomic_fetch_add(&received, 1);
    if (next_random(self) % 64 == 0) manta_reschedule();
    self->busy = 0;
    if (left) pass_on(self, left - 1);
    else finished++;
}
MANTA_METHOD(Point, start, void, (int64_t, left))
{
    for (int i = 0; i < TOKENS; i++) pass_on(self, left);
}
MANTA_CLASS(Point, init, token, start)

static void run_mesh(uint32_t workers)
{
    int64_t rounds = test_scaled(3000);
    sent = received = broken = finished = 0;
    manta_t *m = test_system(workers, 0);
    EXPECT(m);
    for (int i = 0; i < MESH; i++) mesh[i] = Point_spawn(i, test_seed() * (uint64_t)(i + 1)).actor;
    for (int i = 0; i < MESH; i++) Point_start_send(Point_ref_of(mesh[i]), rounds);
    EXPECT(WAIT_FOR(finished == MESH * TOKENS, 90));
    EXPECT_EQ(broken, 0);
    EXPECT_EQ(sent, received);
    EXPECT_EQ(sent, (int64_t)MESH * TOKENS * (rounds + 1));
    EXPECT_EQ(manta_shutdown(m), MANTA_OK);
}
/* Every message arrives once, in order per pair, and no actor runs two handlers at once. */
TEST(mesh_1_worker) { run_mesh(1); }
TEST(mesh_2_workers) { run_mesh(2); }
TEST(mesh_4_workers) { run_mesh(4); }

/* ---- actors that die while they are called ---- */

MANTA_ACTOR(Mortal, int64_t left;)
MANTA_METHOD(Mortal, init, void, (int64_t, left)) { self->left = left; }
MANTA_METHOD(Mortal, ask, int64_t, (int64_t, x))
{
    if (--self->left <= 0) manta_exit_normally();
    return x + 1;
}
MANTA_CLASS(Mortal, init, ask)

static _Atomic uint64_t servers[16];
static _Atomic int64_t answered, failed;
MANTA_TASK(caller, int64_t, (uint64_t, seed), (int64_t, n))
{
    uint64_t r = seed | 1;
    for (int64_t i = 0; i < n; i++) {
        r = r * 6364136223846793005ull + 1442695040888963407ull;
        int k = (int)(r >> 60);
        uint64_t id = servers[k];
        manta_int64_t_future f[3];
        for (int j = 0; j < 3; j++) f[j] = Mortal_ask(Mortal_ref_of((manta_actor){id}), i);
        for (int j = 0; j < 3; j++) {
            int64_t v = 0;
            if (manta_get(f[j], &v) == MANTA_OK) {
                if (v != i + 1) broken++;
                answered++;
                continue;
            }
            failed++;
            uint64_t fresh = Mortal_spawn(7).actor.id;
            if (!atomic_compare_exchange_strong(&servers[k], &id, fresh)) (void)manta_stop((manta_actor){fresh});
        }
    }
    return 0;
}

/* Every call is answered or fails, once, however its actor dies and its slot is reused. */
TEST(calls_to_dying_actors)
{
    int64_t n = test_scaled(3000);
    answered = failed = broken = 0;
    manta_t *m = test_system(3, 0);
    for (int i = 0; i < 16; i++) servers[i] = Mortal_spawn(7).actor.id;
    manta_int64_t_future f[32];
    for (uint64_t i = 0; i < 32; i++) f[i] = caller_submit(test_seed() + i * 977, n);
    for (int i = 0; i < 32; i++) manta_await(f[i]);
    EXPECT_EQ(broken, 0);
    EXPECT_EQ(answered + failed, 32 * 3 * n);
    EXPECT(failed > 0);
    EXPECT_EQ(manta_shutdown(m), MANTA_OK);
}

/* ---- plain threads that come and go ---- */

static void *thread_main(void *argument)
{
    Mortal_ref server = Mortal_ref_of(*(manta_actor *)argument);
    for (int64_t i = 0; i < test_scaled(2000); i++) {
        int64_t v = 0;
        if (manta_get(Mortal_ask(server, i), &v) || v != i + 1) broken++;
    }
    return NULL;
}

/* Threads outside of the pool call and wait like main does. */
TEST(plain_threads_call)
{
    manta_t *m = test_system(2, 0);
    broken = 0;
    manta_actor server = Mortal_spawn(INT64_MAX).actor;
    for (int round = 0; round < 3; round++) {
        pthread_t t[4];
        for (int i = 0; i < 4; i++) EXPECT_EQ(pthread_create(&t[i], NULL, thread_main, &server), 0);
        for (int i = 0; i < 4; i++) pthread_join(t[i], NULL);
    }
    EXPECT_EQ(broken, 0);
    EXPECT_EQ(manta_shutdown(m), MANTA_OK);
}
