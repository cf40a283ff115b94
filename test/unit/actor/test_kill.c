/* Handlers that are killed in each kind of wait: what the wait held is given back (the sanitizers' leak check watches the memory), and the other side goes on. */
#include <stdatomic.h>

#include "actor/object/object_ops.h"
#include "test/support/actors.h"

MANTA_STRUCT(Parcel, (manta_ref, thing), (int64_t, number))

MANTA_ACTOR(Gate, bool open;)
MANTA_METHOD(Gate, pass, int64_t) { return manta_sleep(MANTA_FOREVER) ? 0 : 1; }
MANTA_METHOD(Gate, take, void, (int64_t, x)) {}
MANTA_CLASS(Gate, pass, take)

MANTA_GENERATOR(parcels, Parcel, (int64_t, n))
{
    for (int64_t i = 0; i < n; i++) {
        Parcel p = {.number = i};
        if (manta_put("payload", 8, &p.thing) || manta_yield(Parcel, p)) return;
        (void)manta_release(p.thing); /* the stream has a count of its own */
    }
}
MANTA_GENERATOR(nothing, int64_t) { (void)manta_sleep(MANTA_FOREVER); }

/* One method per kind of wait. Each says that it is there by `entered`. */
static _Atomic int entered;
MANTA_ACTOR(Victim, manta_actor gate;)
MANTA_METHOD(Victim, init, void, (manta_actor, gate)) { self->gate = gate; }
MANTA_METHOD(Victim, sleeps, void)
{
    entered++;
    (void)manta_sleep(MANTA_FOREVER);
}
MANTA_METHOD(Victim, calls, void)
{
    manta_int64_t_future f = Gate_pass(Gate_ref_of(self->gate));
    entered++;
    (void)manta_get_value(f.future, NULL, 0, 600000);
}
MANTA_METHOD(Victim, waits_for_some, void)
{
    manta_int64_t_future f[3];
    for (int i = 0; i < 3; i++) f[i] = Gate_pass(Gate_ref_of(self->gate));
    entered++;
    (void)manta_wait(f, 3, 2, MANTA_FOREVER, NULL);
}
MANTA_METHOD(Victim, waits_for_exit, void)
{
    entered++;
    (void)manta_wait_exit(self->gate, MANTA_FOREVER, NULL);
}
MANTA_METHOD(Victim, waits_for_object, void)
{
    manta_ref r;
    manta_object view;
    (void)manta_future_to_ref(Gate_pass(Gate_ref_of(self->gate)).future, &r);
    entered++;
    (void)manta_object_get(r, MANTA_FOREVER, &view);
}
MANTA_METHOD(Victim, reads, void)
{
    int64_t v;
    manta_int64_t_stream s = nothing_start();
    entered++;
    (void)manta_next(s, &v);
}
MANTA_METHOD(Victim, floods, void)
{
    entered++;
    while (Gate_take_send(Gate_ref_of(self->gate), 1) == MANTA_OK) continue;
}
MANTA_CLASS(Victim, init, sleeps, calls, waits_for_some, waits_for_exit, waits_for_object, reads, floods)

static bool waits(manta_actor a)
{
    manta_actor_info info;
    return manta_actor_describe(a, &info) == MANTA_OK && info.state == MANTA_STATE_WAITING;
}

static size_t objects_now(void)
{
    size_t objects;
    uint64_t bytes;
    the_objects->usage(&objects, &bytes);
    return objects;
}

typedef manta_void_future (*start)(Victim_ref);

static void kill_in(start how, uint32_t concurrency)
{
    Gate_ref gate = Gate_spawn_with(MANTA_OPTIONS(.mailbox_limit = 4));
    EXPECT(gate.actor.id);
    Victim_ref v = Victim_spawn_with(MANTA_OPTIONS(.concurrency = concurrency), gate.actor);
    int before = entered;
    manta_void_future f = how(v);
    if (how == Victim_floods) EXPECT_EQ(manta_future_release(Gate_pass(gate).future), MANTA_OK); /* it takes nothing any more */
    if (concurrency == 1) EXPECT(WAIT_FOR(entered > before && waits(v.actor), 30));
    else EXPECT(WAIT_FOR(entered > before, 30));
    EXPECT_EQ(manta_kill(v.actor), MANTA_OK);
    manta_status s = manta_join(f);
    EXPECT(s == MANTA_EKILLED || s == MANTA_EEXIT || s == MANTA_EDEAD);
    EXPECT_EQ(manta_kill(gate.actor), MANTA_OK);
    EXPECT_EQ(manta_wait_exit(gate.actor, 30000, NULL), MANTA_OK);
}

TEST(in_every_wait)
{
    manta_t *m = test_system(2, 0);
    start kinds[] = {
        Victim_sleeps, Victim_calls, Victim_waits_for_some, Victim_waits_for_exit, Victim_waits_for_object, Victim_reads, Victim_floods};
    for (int round = 0; round < 20 && !test_failed; round++)
        for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) kill_in(kinds[i], round % 2 ? 4 : 1);
    EXPECT_EQ(objects_now(), 0);
    EXPECT_EQ(manta_shutdown(m), MANTA_OK);
}

/* The generator lets go of the object soon; the sleep is what lets it go on in deterministic mode. */
enum { PATIENCE = 30000 };
static bool is_gone(manta_ref r)
{
    for (int i = 0; i < PATIENCE && manta_object_contains(r); i++) (void)manta_sleep(1);
    return !manta_object_contains(r);
}

/* Values with refs: read, left unread, and offered by a generator that ends by the release of its stream. */
IN_BOTH_MODES(streams_hold_their_refs)
{
    Parcel p;
    manta_object view;
    manta_Parcel_stream s = parcels_start_with(MANTA_OPTIONS(.stream_limit = 2), 1000);
    for (int i = 0; i < 5; i++) {
        EXPECT_EQ(manta_scope_begin(), MANTA_OK);
        EXPECT_EQ(manta_next(s, &p), MANTA_OK);
        EXPECT_EQ(p.number, i);
        EXPECT_EQ(manta_object_get(p.thing, 0, &view), MANTA_OK);
        EXPECT_STR((const char *)view.data, "payload");
        EXPECT_EQ(manta_scope_end(), MANTA_OK);
        EXPECT(is_gone(p.thing));
    }
    EXPECT_EQ(manta_stream_release(s.stream), MANTA_OK);
    EXPECT(is_gone(p.thing));
    for (int i = 0; i < PATIENCE && objects_now(); i++) EXPECT_EQ(manta_sleep(1), MANTA_OK);
    EXPECT_EQ(objects_now(), 0);
}

/* The task of a generator is killed while it waits for room in its stream. */
TEST(generator_killed_in_yield)
{
    manta_t *m = test_system(2, 0);
    manta_Parcel_stream s = parcels_start_with(MANTA_OPTIONS(.stream_limit = 1), 1000);
    manta_actor_info info[4];
    size_t n = 0;
    EXPECT(WAIT_FOR(manta_list_actors(info, 4, &n) == MANTA_OK && n == 1 && info[0].state == MANTA_STATE_WAITING, 30));
    EXPECT_EQ(manta_kill(info[0].actor), MANTA_OK);
    EXPECT(WAIT_FOR(manta_list_actors(info, 4, &n) == MANTA_OK && n == 0, 30));
    Parcel p;
    EXPECT_EQ(manta_scope_begin(), MANTA_OK);
    EXPECT_EQ(manta_next(s, &p), MANTA_OK);
    EXPECT_EQ(manta_next(s, &p), MANTA_EEND);
    EXPECT_EQ(manta_scope_end(), MANTA_OK);
    EXPECT_EQ(manta_stream_release(s.stream), MANTA_OK);
    EXPECT_EQ(objects_now(), 0);
    EXPECT_EQ(manta_shutdown(m), MANTA_OK);
}
