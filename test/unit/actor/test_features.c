/* Bounded mailboxes, interleaved handlers, stash, behaviors, scopes, on_stop. */
#include <stdatomic.h>

#include "test/support/actors.h"

/* ---- bounded mailboxes ---- */

MANTA_ACTOR(Slow, int64_t seen;)
static _Atomic bool asleep, awake; /* nap lasts from asleep to awake */
MANTA_METHOD(Slow, nap, void)
{
    asleep = true;
    while (!awake) (void)manta_sleep(1);
}
MANTA_METHOD(Slow, take, int64_t, (int64_t, x)) { return self->seen = x; }
MANTA_METHOD(Slow, last, int64_t) { return self->seen; }
MANTA_CLASS(Slow, nap, take, last)

static Slow_ref slow_with(manta_overflow overflow, uint32_t limit)
{
    asleep = awake = false;
    return Slow_spawn_with(MANTA_OPTIONS(.mailbox_limit = limit, .overflow = overflow));
}

MANTA_TASK(flood, int64_t, (Slow_ref, to), (int64_t, n))
{
    for (int64_t i = 1; i <= n; i++)
        if (Slow_take_send(to, i)) return i;
    return 0;
}

/* The handler of nap runs, so what follows is queued until `awake` is set. */
static bool napping(Slow_ref s) { return Slow_nap_send(s) == MANTA_OK && WAIT_FOR(asleep, 30); }

/* REJECT: the sender gets MANTA_EMAILBOXFULL, and what was accepted is handled. */
TEST(bound_reject)
{
    manta_t *m = test_system(2, 0);
    Slow_ref s = slow_with(MANTA_OVERFLOW_REJECT, 4);
    EXPECT(napping(s));
    for (int i = 1; i <= 4; i++) EXPECT_EQ(Slow_take_send(s, i), MANTA_OK);
    EXPECT_EQ(Slow_take_send(s, 5), MANTA_EMAILBOXFULL);
    int64_t v;
    EXPECT_EQ(manta_get(Slow_take(s, 6), &v), MANTA_EMAILBOXFULL);
    awake = true;
    EXPECT(WAIT_FOR(manta_get(Slow_last(s), &v) == MANTA_OK && v == 4, 30));
    EXPECT_EQ(manta_shutdown(m), MANTA_OK);
}

/* DROP_NEWEST: calls beyond the bound fail with MANTA_EDROPPED, one-way messages vanish. */
TEST(bound_drop_newest)
{
    manta_t *m = test_system(2, 0);
    Slow_ref s = slow_with(MANTA_OVERFLOW_DROP_NEWEST, 2);
    EXPECT(napping(s));
    EXPECT_EQ(Slow_take_send(s, 1), MANTA_OK);
    EXPECT_EQ(Slow_take_send(s, 2), MANTA_OK);
    EXPECT_EQ(Slow_take_send(s, 3), MANTA_OK);
    int64_t v;
    EXPECT_EQ(manta_get(Slow_take(s, 4), &v), MANTA_EDROPPED);
    awake = true;
    EXPECT(WAIT_FOR(manta_get(Slow_last(s), &v) == MANTA_OK && v == 2, 30));
    EXPECT_EQ(manta_shutdown(m), MANTA_OK);
}

/* DROP_OLDEST: the newest messages are the ones that are handled. */
TEST(bound_drop_oldest)
{
    manta_t *m = test_system(2, 0);
    Slow_ref s = slow_with(MANTA_OVERFLOW_DROP_OLDEST, 2);
    EXPECT(napping(s));
    manta_int64_t_future f[5];
    for (int i = 0; i < 5; i++) f[i] = Slow_take(s, i);
    awake = true;
    int64_t v;
    for (int i = 0; i < 3; i++) EXPECT_EQ(manta_get(f[i], &v), MANTA_EDROPPED);
    for (int i = 3; i < 5; i++) {
        EXPECT_EQ(manta_get(f[i], &v), MANTA_OK);
        EXPECT_EQ(v, i);
    }
    EXPECT_EQ(manta_shutdown(m), MANTA_OK);
}

/* SUSPEND: a flooding handler and a flooding thread wait, and every message arrives. */
TEST(bound_suspend)
{
    manta_t *m = test_system(2, 0);
    Slow_ref s = slow_with(MANTA_OVERFLOW_SUSPEND, 8);
    manta_int64_t_future flooding = flood_submit(s, test_scaled(20000));
    for (int i = 0; i < test_scaled(2000); i++) EXPECT_EQ(Slow_take_send(s, i), MANTA_OK);
    EXPECT_EQ(manta_await(flooding), 0);
    EXPECT_EQ(manta_join(Slow_last(s)), MANTA_OK);
    manta_actor_info info;
    uint64_t all = (uint64_t)(test_scaled(20000) + test_scaled(2000)) + 1; /* counted just after the answer */
    EXPECT(WAIT_FOR(manta_actor_describe(s.actor, &info) == MANTA_OK && info.handled == all, 30));
    EXPECT_EQ(manta_shutdown(m), MANTA_OK);
}

/* ---- interleaved handlers ---- */

static _Atomic int inside, most_inside;
MANTA_ACTOR(Busy, int64_t open; int running; int overlap;)
MANTA_METHOD(Busy, work, int64_t, (int64_t, ms))
{
    self->overlap |= self->running++;
    self->open++;
    int64_t seen = self->open;
    self->running--;
    manta_status s = manta_sleep((uint64_t)ms);
    if (s) return manta_fail(s, "interrupted"), 0;
    self->overlap |= self->running++;
    self->open--;
    self->running--;
    return seen;
}
MANTA_METHOD(Busy, overlapped, int64_t) { return self->overlap; }
MANTA_CLASS_WITH(Busy, (.concurrency = 4), work, overlapped)

/* concurrency 4: four handlers wait at the same time, a fifth does not, and none runs in parallel with another. */
TEST(handlers_interleave_at_waits)
{
    manta_t *m = test_system(0, 7);
    Busy_ref b = Busy_spawn();
    manta_int64_t_future f[8];
    int64_t most = 0;
    for (int i = 0; i < 8; i++) f[i] = Busy_work(b, 100);
    uint64_t start = manta_now_ns();
    for (int i = 0; i < 8; i++) {
        int64_t seen = manta_await(f[i]);
        if (seen > most) most = seen;
    }
    uint64_t took_ms = (manta_now_ns() - start) / 1000000;
    EXPECT_EQ(most, 4);
    EXPECT(took_ms >= 200 && took_ms < 250);
    EXPECT_EQ(manta_shutdown(m), MANTA_OK);
    (void)inside, (void)most_inside;
}

/* The same with threads under load: everything is answered, nothing overlaps. */
TEST(interleaving_under_load)
{
    manta_t *m = test_system(4, 0);
    Busy_ref b = Busy_spawn();
    enum { N = 400 };
    manta_int64_t_future f[N];
    int64_t n = test_scaled(N);
    for (int i = 0; i < n; i++) f[i] = Busy_work(b, i % 3);
    for (int i = 0; i < n; i++) EXPECT(manta_await(f[i]) <= 4);
    EXPECT_EQ(manta_await(Busy_overlapped(b)), 0);
    EXPECT_EQ(manta_shutdown(m), MANTA_OK);
}

/* An actor that is killed with handlers suspended answers all of their calls. */
TEST(kill_with_suspended_handlers)
{
    manta_t *m = test_system(2, 0);
    Busy_ref b = Busy_spawn();
    manta_int64_t_future f[6];
    for (int i = 0; i < 6; i++) f[i] = Busy_work(b, 3600 * 1000);
    int64_t v;
    EXPECT_EQ(manta_get_timeout(f[0], &v, 30), MANTA_ETIMEDOUT);
    EXPECT_EQ(manta_kill(b.actor), MANTA_OK);
    for (int i = 0; i < 6; i++) {
        manta_status s = manta_get(f[i], &v);
        EXPECT(s == MANTA_EEXIT || s == MANTA_EKILLED);
    }
    EXPECT_EQ(manta_shutdown(m), MANTA_OK);
}

/* A cancelled call of an interleaving actor ends alone. */
TEST(cancel_one_of_many)
{
    manta_t *m = test_system(2, 0);
    Busy_ref b = Busy_spawn();
    manta_int64_t_future a = Busy_work(b, 3600 * 1000), c = Busy_work(b, 50);
    int64_t v;
    EXPECT_EQ(manta_get_timeout(a, &v, 10), MANTA_ETIMEDOUT);
    EXPECT_EQ(manta_cancel(a.future), MANTA_OK);
    EXPECT_EQ(manta_get(a, &v), MANTA_ECANCELLED);
    EXPECT_EQ(manta_get(c, &v), MANTA_OK);
    EXPECT_EQ(manta_shutdown(m), MANTA_OK);
}

/* ---- stash and behaviors ---- */

MANTA_ACTOR(Door, int64_t passed; char trail[64];)
MANTA_METHOD(Door, pass, int64_t, (int64_t, who))
{
    self->trail[self->passed] = (char)('a' + who);
    return ++self->passed;
}
MANTA_METHOD(Door, pass_locked, int64_t, (int64_t, who)) { return (void)who, manta_fail(MANTA_EINVAL, "locked"), 0; }
MANTA_METHOD_DECLARE(Door, lock, void, (int32_t, how))
MANTA_METHOD_DECLARE(Door, unlock, void)
MANTA_METHOD(Door, trail, manta_str) { return manta_str_of(self->trail); }
MANTA_METHOD(Door, put_aside, int64_t, (int64_t, who))
{
    if (self->passed == 0) return manta_stash(), 0;
    return who;
}
static const manta_behavior *door_behavior(int32_t how);
MANTA_METHOD_DEFINE(Door, lock, void, (int32_t, how)) { (void)manta_become(door_behavior(how)); }
MANTA_METHOD_DEFINE(Door, unlock, void)
{
    (void)manta_become(NULL);
    (void)manta_unstash();
}
MANTA_CLASS(Door, pass, pass_locked, lock, unlock, trail, put_aside)
MANTA_BEHAVIOR(Door, locked, MANTA_OTHERS_DEFAULT, (pass, pass_locked))
MANTA_BEHAVIOR(Door, waiting, MANTA_OTHERS_STASH, (unlock, unlock))
MANTA_BEHAVIOR(Door, strict, MANTA_OTHERS_REJECT, (unlock, unlock))
static const manta_behavior *door_behavior(int32_t how) { return how == 0 ? &Door_locked : how == 1 ? &Door_waiting : &Door_strict; }

/* become switches what a message runs; unlisted messages follow the behavior's policy; stashed calls are answered in order later. */
TEST(become_and_stash)
{
    manta_t *m = test_system(0, 3);
    Door_ref d = Door_spawn();
    int64_t v;
    manta_await(Door_lock(d, 0));
    EXPECT_EQ(manta_get(Door_pass(d, 0), &v), MANTA_EINVAL);
    manta_await(Door_unlock(d));
    EXPECT_EQ(manta_await(Door_pass(d, 1)), 1);
    manta_await(Door_lock(d, 1));
    manta_int64_t_future f[3];
    for (int i = 0; i < 3; i++) f[i] = Door_pass(d, 2 + i);
    EXPECT_EQ(manta_get_timeout(f[0], &v, 10), MANTA_ETIMEDOUT);
    manta_await(Door_unlock(d));
    for (int i = 0; i < 3; i++) EXPECT_EQ(manta_await(f[i]), 2 + i);
    EXPECT_STR(manta_await(Door_trail(d)).data, "bcde");
    manta_await(Door_lock(d, 2));
    EXPECT_EQ(manta_get(Door_pass(d, 1), &v), MANTA_ENOMETHOD);
    manta_await(Door_unlock(d));
    EXPECT_EQ(manta_shutdown(m), MANTA_OK);
}

/* A stashed call whose actor ends is answered. */
TEST(stashed_calls_are_answered_at_the_end)
{
    manta_t *m = test_system(2, 0);
    Door_ref d = Door_spawn();
    manta_int64_t_future f = Door_put_aside(d, 9);
    manta_await(Door_unlock(d)); /* brings it back, and it is put aside again */
    EXPECT_EQ(manta_stop(d.actor), MANTA_OK);
    int64_t v;
    EXPECT_EQ(manta_get(f, &v), MANTA_EEXIT);
    EXPECT_EQ(manta_shutdown(m), MANTA_OK);
}

/* ---- on_stop, scopes ---- */

static _Atomic int stopped;
MANTA_ACTOR(Polite, char unused;)
MANTA_METHOD(Polite, hello, void) {}
static void polite_stop(void *self, const manta_error *reason)
{
    (void)self;
    (void)manta_sleep(1); /* a stopping actor may wait */
    stopped += reason ? 10 : 1;
}
MANTA_CLASS_WITH(Polite, (.on_stop = polite_stop), hello)

MANTA_ACTOR(Gentle, int unused;)
static _Atomic int gentle_stops;
static void gentle_stop(void *self, const manta_error *reason)
{
    (void)self, (void)reason;
    (void)manta_sleep(5);
    gentle_stops++;
}
MANTA_METHOD(Gentle, nap, void) { (void)self, (void)manta_sleep(60000); }
MANTA_CLASS_WITH(Gentle, (.concurrency = 4, .on_stop = gentle_stop), nap)

/* on_stop may wait in an actor whose handlers interleave, too, also while others of them wait. */
TEST(on_stop_waits_between_handlers)
{
    manta_t *m = test_system(2, 0);
    Gentle_ref a = Gentle_spawn(), b = Gentle_spawn();
    (void)Gentle_nap_send(b);
    EXPECT_EQ(manta_stop(a.actor), MANTA_OK);
    EXPECT_EQ(manta_stop(b.actor), MANTA_OK);
    EXPECT_EQ(manta_wait_exit(a.actor, 5000, NULL), MANTA_OK);
    EXPECT_EQ(manta_wait_exit(b.actor, 5000, NULL), MANTA_OK);
    EXPECT_EQ(gentle_stops, 2);
    EXPECT_EQ(manta_shutdown(m), MANTA_OK);
}

/* on_stop runs once, also at shutdown. */
TEST(on_stop_runs)
{
    stopped = 0;
    manta_t *m = test_system(2, 0);
    Polite_spawn();
    Polite_ref p = Polite_spawn();
    manta_await(Polite_hello(p));
    EXPECT_EQ(manta_shutdown(m), MANTA_OK);
    EXPECT_EQ(stopped, 2);
}

MANTA_TASK(scopes, int64_t, (int64_t, n))
{
    int64_t bad = 0;
    for (int64_t i = 0; i < n; i++) {
        bad += manta_scope_begin() != MANTA_OK;
        unsigned char *a = manta_alloc(100), *b = manta_alloc(100000);
        memset(a, 1, 100);
        memset(b, 2, 100000);
        bad += ((uintptr_t)a & 15) != 0 || ((uintptr_t)b & 15) != 0 || a[99] != 1;
        bad += manta_scope_end() != MANTA_OK;
    }
    return bad;
}

/* Scoped memory is aligned and returned at the scope's end. */
TEST(scoped_memory)
{
    manta_t *m = test_system(2, 0);
    EXPECT_EQ(manta_await(scopes_submit(2000)), 0);
    for (int i = 0; i < 64; i++) EXPECT_EQ(manta_scope_begin(), MANTA_OK);
    EXPECT_EQ(manta_scope_begin(), MANTA_ELIMIT);
    for (int i = 0; i < 64; i++) EXPECT_EQ(manta_scope_end(), MANTA_OK);
    EXPECT_EQ(manta_shutdown(m), MANTA_OK);
}
