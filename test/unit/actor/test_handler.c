/* What a handler knows of its call and keeps beyond it, the order of messages around a wait, and what happens to messages that no handler runs. */
#include "test/support/actors.h"

/* ---- order ---- */

MANTA_ACTOR(Listener, int64_t last; int64_t wrong;)
MANTA_METHOD_DECLARE(Listener, note, void, (int64_t, number))

MANTA_ACTOR(Talker, Listener_ref others[3];)
MANTA_METHOD(Talker, init, void)
{
    for (int i = 0; i < 3; i++) self->others[i] = (Listener_ref){{0}};
}
MANTA_METHOD(Talker, ask, int64_t, (Listener_ref, to), (int64_t, number)) { return Listener_note_send(to, number), number; }
MANTA_METHOD(Talker, tell, void, (Listener_ref, to), (int64_t, number)) { (void)Listener_note_send(to, number); }
/* Numbers 1..n to each, in runs of random length, so that a receiver is found at rest, as the next to run, and behind others. */
MANTA_METHOD(Talker, tell_all, int64_t, (Listener_ref, a), (Listener_ref, b), (Listener_ref, c), (int64_t, n))
{
    Listener_ref to[3] = {a, b, c};
    int64_t next[3] = {0}, told = 0;
    while (told < 3 * n) {
        uint64_t who = manta_random() % 3, run = manta_random() % 4;
        for (uint64_t i = 0; i <= run && next[who] < n; i++, told++) (void)Listener_note_send(to[who], ++next[who]);
    }
    return told;
}
MANTA_CLASS(Talker, init, ask, tell, tell_all)

MANTA_METHOD_DEFINE(Listener, note, void, (int64_t, number))
{
    self->wrong += number != self->last + 1;
    self->last = number;
}
/* The talker's answer wakes this handler between the two notes: the first was queued while it waited, the second comes when it is about to go on. */
MANTA_METHOD(Listener, converse, void, (Talker_ref, with), (int64_t, number))
{
    Listener_ref me = Listener_ref_of(manta_self());
    manta_int64_t_future f = Talker_ask(with, me, number);
    (void)Talker_tell_send(with, me, number + 1);
    manta_await(f);
}
MANTA_METHOD(Listener, wrong, int64_t, (int64_t, last)) { return self->wrong + (self->last != last); }
MANTA_CLASS(Listener, note, converse, wrong)

/* Messages of one sender stay in order when the receiver waits for the sender in between. */
static void around_a_wait(void)
{
    Talker_ref t = Talker_spawn();
    Listener_ref l = Listener_spawn();
    for (int64_t i = 0; i < 200; i++) manta_await(Listener_converse(l, t, 2 * i + 1));
    EXPECT_EQ(manta_await(Talker_ask(t, l, 401)), 401);
    EXPECT_EQ(manta_await(Listener_wrong(l, 401)), 0);
}

/* They do when it sends to several receivers in turns. */
static void in_turns(void)
{
    enum { EACH = 20000 };
    Talker_ref t = Talker_spawn();
    Listener_ref l[3] = {Listener_spawn(), Listener_spawn(), Listener_spawn()};
    EXPECT_EQ(manta_await(Talker_tell_all(t, l[0], l[1], l[2], EACH)), 3 * EACH);
    for (int i = 0; i < 3; i++) EXPECT(WAIT_FOR(manta_await(Listener_wrong(l[i], EACH)) == 0, 30));
}

static void order(uint32_t workers)
{
    manta_t *m = test_system(workers, 0);
    EXPECT(m);
    around_a_wait();
    in_turns();
    EXPECT_EQ(manta_shutdown(m), MANTA_OK);
}
TEST(order_on_one_worker) { order(1); }
TEST(order_on_two_workers) { order(2); }

/* ---- what a handler knows ---- */

static _Atomic int noticed, begun;

MANTA_GENERATOR(numbers, int64_t, (int64_t, n))
{
    for (int64_t i = 0; i < n; i++) manta_yield(int64_t, i);
}

MANTA_ACTOR(Curious, manta_int64_t_stream kept; manta_int64_t_stream left;)
MANTA_METHOD(Curious, sender, manta_actor) { return manta_sender(); }
MANTA_METHOD(Curious, ask_other, manta_actor, (manta_actor, other)) { return manta_await(Curious_sender(Curious_ref_of(other))); }
MANTA_METHOD(Curious, until_cancelled, int64_t)
{
    begun = 1;
    while (!manta_is_cancelled()) manta_reschedule();
    noticed++;
    return 7;
}
MANTA_METHOD(Curious, fail, void) { manta_fail(MANTA_EIO, "on purpose"); }
MANTA_METHOD(Curious, open, void)
{
    self->kept = numbers_start(3);
    self->left = numbers_start(3);
    if (manta_stream_keep(self->kept.stream)) manta_fail(MANTA_EIO, "keep");
}
/* 0 1 2 are read: 3; the other stream went with the handler that opened it. */
MANTA_METHOD(Curious, read, int64_t)
{
    int64_t v = 0, n = 0;
    while (manta_next(self->kept, &v) == MANTA_OK && v == n) n++;
    if (manta_next(self->left, &v) != MANTA_ESTALE) return -1;
    return manta_stream_release(self->kept.stream) == MANTA_OK && manta_stream_keep(self->kept.stream) == MANTA_ESTALE ? n : -2;
}
MANTA_CLASS(Curious, sender, ask_other, until_cancelled, fail, open, read)

/* manta_sender is the actor that sent the message, and {0} for a plain thread. */
IN_BOTH_MODES(sender)
{
    Curious_ref a = Curious_spawn(), b = Curious_spawn();
    EXPECT_EQ(manta_await(Curious_sender(a)).id, 0);
    EXPECT_EQ(manta_await(Curious_ask_other(a, b.actor)).id, a.actor.id);
    EXPECT_EQ(manta_sender().id, 0);
    EXPECT(!manta_is_cancelled());
}

/* A handler that never waits can see that its call was cancelled. */
IN_BOTH_MODES(cancellation_is_seen)
{
    noticed = begun = 0;
    Curious_ref a = Curious_spawn();
    manta_int64_t_future f = Curious_until_cancelled(a);
    while (!begun) (void)manta_sleep(1);
    EXPECT_EQ(manta_cancel(f.future), MANTA_OK);
    int64_t v = 0;
    EXPECT_EQ(manta_get(f, &v), MANTA_OK);
    EXPECT_EQ(v, 7);
    EXPECT_EQ(noticed, 1);
}

/* on_failure at the spawn decides whether a failing handler ends its actor. */
IN_BOTH_MODES(failure_option)
{
    manta_status why = MANTA_OK;
    Curious_ref lives = Curious_spawn(), exits = Curious_spawn_with(MANTA_OPTIONS(.on_failure = MANTA_FAILURE_EXIT));
    EXPECT_EQ(manta_join(Curious_fail(lives)), MANTA_EIO);
    EXPECT_EQ(manta_join(Curious_fail(exits)), MANTA_EIO);
    EXPECT_EQ(manta_wait_exit(exits.actor, 20000, &why), MANTA_OK);
    EXPECT(why == MANTA_EIO || why == MANTA_EDEAD); /* it may have been gone before the wait began */
    EXPECT(manta_is_alive(lives.actor));
}

/* A stream that was kept is read in a later handler; one that was not has gone. */
IN_BOTH_MODES(streams_kept)
{
    Curious_ref a = Curious_spawn();
    EXPECT_EQ(manta_join(Curious_open(a)), MANTA_OK);
    EXPECT_EQ(manta_await(Curious_read(a)), 3);
}

/* ---- messages that no handler runs ---- */

MANTA_ACTOR(Holder, bool open;)
MANTA_METHOD(Holder, hold, int64_t, (int64_t, x)) { return self->open ? x : (manta_stash(), 0); }
MANTA_METHOD(Holder, release, void) { (void)manta_unstash(); }
MANTA_METHOD_DECLARE(Holder, refuse, void)
MANTA_CLASS(Holder, hold, release, refuse)
MANTA_BEHAVIOR(Holder, refusing, MANTA_OTHERS_REJECT, (release, release))
MANTA_METHOD_DEFINE(Holder, refuse, void)
{
    (void)manta_become(&Holder_refusing);
    (void)manta_unstash();
}

static uint64_t messages_out(void)
{
    manta_stats s = {0};
    return manta_read_stats(&s) ? 0 : s.messages_allocated;
}

/* Stashed calls that are cancelled, or refused by a behavior, give their messages back. */
TEST(stashed_and_not_run)
{
    enum { ROUNDS = 2000 };
    manta_t *m = test_system(1, 0);
    EXPECT(m);
    uint64_t before = messages_out();
    int64_t v;
    for (int i = 0; i < ROUNDS; i++) {
        Holder_ref h = Holder_spawn();
        manta_int64_t_future f = Holder_hold(h, 1), g = Holder_hold(h, 2);
        manta_await(Holder_release(h)); /* brings them back, and they are put aside again */
        EXPECT_EQ(manta_cancel(f.future), MANTA_OK);
        manta_await(Holder_refuse(h));
        EXPECT_EQ(manta_get(f, &v), MANTA_ECANCELLED);
        EXPECT_EQ(manta_get(g, &v), MANTA_ENOMETHOD);
        EXPECT_EQ(manta_stop(h.actor), MANTA_OK);
        EXPECT_EQ(manta_wait_exit(h.actor, 20000, NULL), MANTA_OK);
    }
    EXPECT(messages_out() < before + ROUNDS);
    EXPECT_EQ(manta_shutdown(m), MANTA_OK);
}
