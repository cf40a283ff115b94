/* Spawning, typed calls, one-way sends, failures, exits, stops and kills. */
#include "test/support/actors.h"

MANTA_STRUCT(Point, (double, x), (double, y))
MANTA_STRUCT(Wide, (int64_t, a), (int64_t, b), (int64_t, c), (int64_t, d), (int64_t, e), (int64_t, f), (manta_str, text))

MANTA_ACTOR(Counter, int64_t value; char big[1000];)
MANTA_METHOD(Counter, init, void, (int64_t, start)) { self->value = start; }
MANTA_METHOD(Counter, increment, int64_t, (int64_t, by)) { return self->value += by; }
MANTA_METHOD(Counter, move, Point, (Point, to), (bool, back)) { return back ? (Point){-to.x, -to.y} : to; }
MANTA_METHOD(Counter, echo, manta_str, (manta_str, text)) { return text; }
MANTA_METHOD(Counter, widen, Wide, (Wide, w)) { return w; }
MANTA_METHOD(Counter, reject, int64_t, (int64_t, x)) { return manta_fail(MANTA_EINVAL, "no %" PRId64, x), x; }
MANTA_METHOD(Counter, bye, int64_t) { return manta_exit_normally(), 7; }
MANTA_METHOD(Counter, crash, void) { manta_exit(MANTA_EIO, "disk %d", 3); }
MANTA_METHOD(Counter, doze, int64_t, (int64_t, ms))
{
    manta_status s = manta_sleep((uint64_t)ms);
    return s ? (manta_fail(s, "woken"), 0) : self->value;
}
static _Atomic bool awake;
MANTA_METHOD(Counter, doze_until_awake, int64_t)
{
    while (!awake) (void)manta_sleep(1);
    return self->value;
}
MANTA_CLASS(Counter, init, increment, move, echo, widen, reject, bye, crash, doze, doze_until_awake)

MANTA_ACTOR(Broken, char unused;)
MANTA_METHOD(Broken, init, void, (int64_t, x)) { manta_fail(MANTA_ERESTARTS, "born broken %" PRId64, x); }
MANTA_METHOD(Broken, hello, void) {}
MANTA_CLASS(Broken, init, hello)

MANTA_TASK(ask, int64_t, (Counter_ref, c)) { return manta_await(Counter_reject(c, 5)); }
MANTA_TASK(strings, int64_t, (Counter_ref, c), (int64_t, n))
{
    for (int64_t i = 0; i < n; i++) {
        char text[200];
        int size = snprintf(text, sizeof text, "%0*d", (int)(i % 150) + 1, (int)i);
        manta_str back = manta_await(Counter_echo(c, (manta_str){text, (size_t)size}));
        if (back.size != (size_t)size || memcmp(back.data, text, back.size + 1) != 0) return i + 1;
    }
    return 0;
}

/* A call carries its arguments and brings the result back, for scalars, structs, strings and large values. */
IN_BOTH_MODES(values_travel)
{
    Counter_ref c = Counter_spawn(40);
    EXPECT_EQ(manta_await(Counter_increment(c, 2)), 42);
    Point p = manta_await(Counter_move(c, (Point){1.5, -2}, true));
    EXPECT(p.x == -1.5 && p.y == 2);
    manta_str s = manta_await(Counter_echo(c, manta_str_of("hello, world")));
    EXPECT_STR(s.data, "hello, world");
    Wide w = manta_await(Counter_widen(c, (Wide){1, 2, 3, 4, 5, 6, manta_str_of("six")}));
    EXPECT(w.a == 1 && w.f == 6);
    EXPECT_STR(w.text.data, "six");
    char *large = malloc(1 << 20);
    memset(large, 'x', 1 << 20);
    s = manta_await(Counter_echo(c, (manta_str){large, 1 << 20}));
    EXPECT(s.size == 1 << 20 && memcmp(s.data, large, s.size) == 0);
    free(large);
    EXPECT_EQ(manta_await(strings_submit(c, 300)), 0);
}

/* A failing handler gives its caller status, text, class and method; the actor lives on. */
IN_BOTH_MODES(failures_reach_the_caller)
{
    Counter_ref c = Counter_spawn(0);
    int64_t v = 99;
    EXPECT_EQ(manta_get(Counter_reject(c, 3), &v), MANTA_EINVAL);
    EXPECT_EQ(v, 99);
    const manta_error *e = manta_last_error();
    EXPECT_STR(e->message, "no 3");
    EXPECT_STR(e->class_name, "Counter");
    EXPECT_STR(e->method, "reject");
    EXPECT(e->actor.id == c.actor.id);
    EXPECT_EQ(manta_await(Counter_increment(c, 1)), 1);
}

/* A wait on a failed call fails the waiting handler with that error as its cause. */
IN_BOTH_MODES(errors_chain)
{
    Counter_ref c = Counter_spawn(0);
    int64_t v;
    EXPECT_EQ(manta_get(ask_submit(c), &v), MANTA_EINVAL);
    const manta_error *e = manta_last_error();
    EXPECT_STR(e->method, "ask");
    EXPECT(e->cause != NULL);
    EXPECT_STR(e->cause->method, "reject");
    EXPECT_STR(e->cause->message, "no 5");
    char text[400];
    manta_error_format(e, text, sizeof text);
    EXPECT(strstr(text, "<- MANTA_EINVAL: no 5 (Counter.reject)") != NULL);
}

/* An actor that exits answers the call it exits in, and later calls fail with MANTA_EDEAD. */
IN_BOTH_MODES(exit_after_the_answer)
{
    Counter_ref c = Counter_spawn(0);
    EXPECT_EQ(manta_await(Counter_bye(c)), 7);
    manta_status reason = MANTA_EIO;
    (void)manta_wait_exit(c.actor, 5000, &reason);
    EXPECT(!manta_is_alive(c.actor));
    int64_t v;
    EXPECT_EQ(manta_get(Counter_increment(c, 1), &v), MANTA_EDEAD);
    EXPECT_EQ(Counter_increment_send(c, 1), MANTA_EDEAD);
    EXPECT_EQ(manta_stop(c.actor), MANTA_EDEAD);
    EXPECT_EQ(manta_kill(c.actor), MANTA_EDEAD);
}

/* Calls that were queued behind a crash fail with the crash as their cause. */
IN_BOTH_MODES(queued_calls_learn_the_reason)
{
    Counter_ref c = Counter_spawn(0);
    manta_int64_t_future slow = Counter_doze(c, 20);
    EXPECT_EQ(Counter_crash_send(c), MANTA_OK);
    manta_int64_t_future late = Counter_increment(c, 1);
    int64_t v;
    EXPECT_EQ(manta_get(slow, &v), MANTA_OK);
    EXPECT_EQ(manta_get(late, &v), MANTA_EEXIT);
    EXPECT(manta_last_error()->cause != NULL);
    EXPECT_STR(manta_last_error()->cause->message, "disk 3");
}

/* A failing init makes the actor exit; calls to it fail and say why. */
IN_BOTH_MODES(init_may_fail)
{
    Broken_ref b = Broken_spawn(3);
    manta_status s = manta_join(Broken_hello(b));
    EXPECT(s == MANTA_EEXIT || s == MANTA_EDEAD);
    if (s == MANTA_EEXIT) {
        const manta_error *e = manta_last_error()->cause;
        EXPECT(e && e->status == MANTA_EINIT && e->cause && e->cause->status == MANTA_ERESTARTS);
        EXPECT_STR(e->cause->message, "born broken 3");
    }
}

/* manta_stop lets the messages before it be handled. */
IN_BOTH_MODES(stop_is_in_order)
{
    Counter_ref c = Counter_spawn(0);
    manta_int64_t_future f[10];
    for (int i = 0; i < 10; i++) f[i] = Counter_increment(c, 1);
    EXPECT_EQ(manta_stop(c.actor), MANTA_OK);
    for (int i = 0; i < 10; i++) EXPECT_EQ(manta_await(f[i]), i + 1);
    (void)manta_wait_exit(c.actor, 5000, NULL);
    EXPECT(!manta_is_alive(c.actor));
}

/* manta_kill ends an actor inside a wait; the call it handled fails with MANTA_EKILLED. */
IN_BOTH_MODES(kill_interrupts_a_wait)
{
    Counter_ref c = Counter_spawn(0);
    manta_int64_t_future f = Counter_doze(c, 3600 * 1000);
    int64_t v;
    EXPECT_EQ(manta_get_timeout(f, &v, 30), MANTA_ETIMEDOUT);
    EXPECT_EQ(manta_kill(c.actor), MANTA_OK);
    EXPECT_EQ(manta_get(f, &v), MANTA_EKILLED);
    (void)manta_wait_exit(c.actor, 5000, NULL);
    EXPECT(!manta_is_alive(c.actor));
}

/* A timed-out get leaves the future usable. */
IN_BOTH_MODES(get_with_timeout)
{
    Counter_ref c = Counter_spawn(5);
    awake = false;
    manta_int64_t_future f = Counter_doze_until_awake(c);
    int64_t v = 0;
    EXPECT_EQ(manta_get_timeout(f, &v, 5), MANTA_ETIMEDOUT);
    awake = true;
    EXPECT_EQ(manta_get_timeout(f, &v, 20000), MANTA_OK);
    EXPECT_EQ(v, 5);
}

/* A cancelled call that waits ends with MANTA_ECANCELLED; one that is queued never runs. */
IN_BOTH_MODES(cancel)
{
    Counter_ref c = Counter_spawn(0);
    manta_int64_t_future running = Counter_doze(c, 3600 * 1000), queued = Counter_increment(c, 1);
    int64_t v;
    EXPECT_EQ(manta_get_timeout(running, &v, 30), MANTA_ETIMEDOUT);
    EXPECT_EQ(manta_cancel(queued.future), MANTA_OK);
    EXPECT_EQ(manta_cancel(running.future), MANTA_OK);
    EXPECT_EQ(manta_get(running, &v), MANTA_ECANCELLED);
    EXPECT_EQ(manta_get(queued, &v), MANTA_ECANCELLED);
    EXPECT_EQ(manta_await(Counter_increment(c, 1)), 1);
}

/* Shutting down names what it waits for, kills it, and says so. */
static char reported[4096];
static void note_report(const char *line, void *context)
{
    (void)context;
    if (strlen(reported) + strlen(line) + 2 < sizeof reported) strcat(strcat(reported, line), "\n");
}
TEST(shutdown_reports_what_it_waits_for)
{
    manta_config c = {.size = sizeof c, .workers = 2, .stop_timeout_ms = 50, .on_report = note_report};
    manta_t *m = manta_init_with(&c);
    EXPECT(m);
    Counter_ref counter = Counter_spawn(0);
    manta_int64_t_future f = Counter_doze(counter, 3600 * 1000);
    EXPECT_EQ(manta_future_release(f.future), MANTA_OK);
    manta_actor_info info;
    EXPECT(WAIT_FOR(manta_actor_describe(counter.actor, &info) == MANTA_OK && info.state == MANTA_STATE_WAITING, 30));
    EXPECT_EQ(manta_shutdown(m), MANTA_ETIMEDOUT);
    EXPECT(strstr(reported, "Counter#") && strstr(reported, "doze") && strstr(reported, "sleep"));
}

/* Misuse gives the documented status, and nothing breaks. */
TEST(misuse)
{
    int64_t v;
    Counter_ref none = {{0}};
    Counter_ref early = Counter_spawn(1);
    EXPECT_EQ(early.actor.id, 0);
    EXPECT_EQ(manta_last_error()->status, MANTA_ESHUTDOWN);
    manta_t *m = test_system(2, 0);
    EXPECT(m);
    EXPECT(manta_init(NULL, NULL) == NULL);
    EXPECT_EQ(manta_get(Counter_increment(none, 1), &v), MANTA_EDEAD);
    EXPECT_EQ(manta_get(Counter_increment(Counter_ref_of((manta_actor){0x7fffffffffffffffull}), 1), &v), MANTA_EDEAD);
    EXPECT_EQ(manta_get(Counter_increment(Counter_ref_of((manta_actor){(3ull << 32) | 9999999}), 1), &v), MANTA_EDEAD);
    Counter_ref c = Counter_spawn(1);
    manta_int64_t_future f = Counter_increment(c, 1);
    EXPECT_EQ(manta_get(f, &v), MANTA_OK);
    EXPECT_EQ(manta_get(f, &v), MANTA_ESTALE);
    EXPECT_EQ(manta_future_release(f.future), MANTA_ESTALE);
    EXPECT_EQ(manta_cancel(f.future), MANTA_ESTALE);
    f = Counter_increment(c, 1);
    EXPECT_EQ(manta_future_release(f.future), MANTA_OK);
    EXPECT_EQ(manta_future_release(f.future), MANTA_ESTALE);
    EXPECT_EQ(manta_join(Broken_hello(Broken_ref_of(c.actor))), MANTA_ENOMETHOD);
    EXPECT_EQ(manta_scope_end(), MANTA_ECONTEXT);
    EXPECT_EQ(manta_stash(), MANTA_ECONTEXT);
    EXPECT_EQ(manta_become(NULL), MANTA_ECONTEXT);
    EXPECT_EQ(manta_self().id, 0);
    EXPECT_EQ(manta_shutdown(m), MANTA_OK);
    EXPECT_EQ(manta_shutdown(m), MANTA_ESHUTDOWN);
    EXPECT_EQ(Counter_spawn(1).actor.id, 0);
    EXPECT_EQ(manta_last_error()->status, MANTA_ESHUTDOWN);
}
