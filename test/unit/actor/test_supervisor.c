/* Supervisors: strategies, restart kinds, intensity, backoff, shutdown, dynamic and nested children. All in virtual time. */
#include "test/support/actors.h"

static char trail[4096];
static void note(const char *what, int64_t who)
{
    char item[64];
    snprintf(item, sizeof item, "%s%lld ", what, (long long)who);
    if (strlen(trail) + strlen(item) < sizeof trail) strcat(trail, item);
}

MANTA_ACTOR(Kid, int64_t number;)
MANTA_METHOD(Kid, init, void, (int64_t, number), (bool, broken))
{
    self->number = number;
    if (broken) manta_fail(MANTA_EIO, "kid %lld is broken", (long long)number);
    else note("+", number);
}
MANTA_METHOD(Kid, number, int64_t) { return self->number; }
MANTA_METHOD(Kid, crash, void) { manta_fail(MANTA_EIO, "crash"); }
MANTA_METHOD(Kid, leave, void) { manta_exit_normally(); }
MANTA_METHOD(Kid, hang, void) { (void)manta_sleep(3600 * 1000); }
static void kid_stops(void *self, const manta_error *reason) { note(reason ? "!" : "-", ((Kid *)self)->number); }
MANTA_CLASS_WITH(Kid, (.on_stop = kid_stops), init, number, crash, leave, hang)

static void ignore_report(const char *line, void *context) { (void)line, (void)context; }

/* Three kids "1", "2", "3" under one supervisor, in deterministic mode; `body` follows. */
static manta_t *begin(void)
{
    trail[0] = 0;
    manta_config c = {.size = sizeof c, .seed = 5, .on_report = ignore_report};
    return manta_init_with(&c);
}

static manta_actor kid(manta_actor supervisor, const char *id)
{
    manta_actor a = {0};
    for (int i = 0; i < 1000 && manta_supervisor_child_actor(supervisor, id, &a); i++) (void)manta_sleep(1);
    return a;
}

static manta_status family(manta_strategy strategy, manta_restart restart, uint32_t intensity, manta_actor *out)
{
    manta_child_spec specs[3] = {Kid_child(MANTA_CHILD(.id = "1", .restart = restart), 1, false),
        Kid_child(MANTA_CHILD(.id = "2", .restart = restart), 2, false), Kid_child(MANTA_CHILD(.id = "3", .restart = restart), 3, false)};
    return manta_supervisor_start(MANTA_SUPERVISOR(.strategy = strategy, .intensity = intensity), specs, 3, out);
}

static void crash(manta_actor supervisor, const char *id)
{
    manta_actor before = kid(supervisor, id);
    (void)Kid_crash_send(Kid_ref_of(before));
    (void)manta_wait_exit(before, 5000, NULL);
    (void)manta_sleep(20);
}

/* one_for_one: the failed child alone starts again. */
TEST(one_for_one)
{
    manta_t *m = begin();
    manta_actor s;
    EXPECT_EQ(family(MANTA_ONE_FOR_ONE, MANTA_PERMANENT, 5, &s), MANTA_OK);
    crash(s, "2");
    EXPECT_STR(trail, "+1 +2 +3 !2 +2 ");
    EXPECT_EQ(manta_await(Kid_number(Kid_ref_of(kid(s, "2")))), 2);
    EXPECT_EQ(manta_shutdown(m), MANTA_OK);
}

/* one_for_all: all stop, newest first, and start again in order. */
TEST(one_for_all)
{
    manta_t *m = begin();
    manta_actor s;
    EXPECT_EQ(family(MANTA_ONE_FOR_ALL, MANTA_PERMANENT, 5, &s), MANTA_OK);
    crash(s, "2");
    EXPECT_STR(trail, "+1 +2 +3 !2 -3 -1 +1 +2 +3 ");
    EXPECT_EQ(manta_shutdown(m), MANTA_OK);
}

/* rest_for_one: the failed child and those after it. */
TEST(rest_for_one)
{
    manta_t *m = begin();
    manta_actor s;
    EXPECT_EQ(family(MANTA_REST_FOR_ONE, MANTA_PERMANENT, 5, &s), MANTA_OK);
    crash(s, "2");
    EXPECT_STR(trail, "+1 +2 +3 !2 -3 +2 +3 ");
    EXPECT_EQ(manta_shutdown(m), MANTA_OK);
}

/* transient: an abnormal exit restarts, a normal one does not; temporary: never. */
TEST(restart_kinds)
{
    manta_t *m = begin();
    manta_actor s;
    EXPECT_EQ(family(MANTA_ONE_FOR_ONE, MANTA_TRANSIENT, 5, &s), MANTA_OK);
    crash(s, "1");
    (void)Kid_leave_send(Kid_ref_of(kid(s, "2")));
    (void)manta_sleep(50);
    EXPECT_STR(trail, "+1 +2 +3 !1 +1 -2 ");
    manta_child_info info[4];
    size_t count;
    EXPECT_EQ(manta_supervisor_children(s, info, 4, &count), MANTA_OK);
    EXPECT(count == 3 && info[0].restarts == 1 && info[1].actor.id == 0 && strcmp(info[2].id, "3") == 0);
    manta_actor t;
    trail[0] = 0;
    EXPECT_EQ(family(MANTA_ONE_FOR_ONE, MANTA_TEMPORARY, 5, &t), MANTA_OK);
    crash(t, "3");
    EXPECT_STR(trail, "+1 +2 +3 !3 ");
    EXPECT_EQ(manta_supervisor_children(t, info, 4, &count), MANTA_OK);
    EXPECT_EQ(count, 2);
    EXPECT_EQ(manta_shutdown(m), MANTA_OK);
}

/* More than one restart in 5 s (OTP's default): the supervisor stops the others and exits with MANTA_ERESTARTS; slower failures go on for ever. */
TEST(intensity)
{
    manta_t *m = begin();
    manta_actor s;
    EXPECT_EQ(family(MANTA_ONE_FOR_ONE, MANTA_PERMANENT, 0, &s), MANTA_OK);
    for (int i = 0; i < 5; i++) {
        crash(s, "1");
        (void)manta_sleep(5100);
    }
    EXPECT(manta_is_alive(s));
    crash(s, "1");
    (void)Kid_crash_send(Kid_ref_of(kid(s, "1")));
    manta_status reason = MANTA_OK;
    EXPECT_EQ(manta_wait_exit(s, 60000, &reason), MANTA_OK);
    EXPECT_EQ(reason, MANTA_ERESTARTS);
    EXPECT(strstr(trail, "-3 -2 ") != NULL);
    EXPECT_EQ(manta_shutdown(m), MANTA_OK);
}

/* Crashes child "1" and says how long it was away, in virtual milliseconds. */
static uint64_t pause_after_crash(manta_actor supervisor)
{
    manta_actor before = kid(supervisor, "1");
    (void)Kid_crash_send(Kid_ref_of(before));
    (void)manta_wait_exit(before, 5000, NULL);
    uint64_t start = manta_now_ns();
    return kid(supervisor, "1").id ? (manta_now_ns() - start) / 1000000 : UINT64_MAX;
}

/* Backoff: pauses double from min to max, and begin again after a quiet period. */
TEST(backoff)
{
    manta_t *m = begin();
    manta_actor s;
    manta_child_spec spec = Kid_child(MANTA_CHILD(.id = "1"), 1, false);
    EXPECT_EQ(
        manta_supervisor_start(MANTA_SUPERVISOR(.intensity = 100, .backoff_min_ms = 100, .backoff_max_ms = 350), &spec, 1, &s), MANTA_OK);
    uint64_t expected[] = {100, 200, 350, 350, 100, 200};
    for (int i = 0; i < 6; i++) {
        if (i == 4) (void)manta_sleep(6000);
        uint64_t ms = pause_after_crash(s);
        EXPECT(ms + 2 >= expected[i] && ms <= expected[i] + 10);
    }
    EXPECT_EQ(manta_shutdown(m), MANTA_OK);
}

/* Jitter spreads the pauses over [1 - jitter, 1 + jitter] of their length; one that is no share is refused. */
TEST(backoff_jitter)
{
    manta_t *m = begin();
    manta_actor s;
    manta_child_spec spec = Kid_child(MANTA_CHILD(.id = "1"), 1, false), refused = Kid_child(NULL, 2, false);
    EXPECT_EQ(manta_supervisor_start(MANTA_SUPERVISOR(.backoff_jitter = 1.5), &refused, 1, &s), MANTA_EINVAL);
    EXPECT(strstr(manta_last_error()->message, "backoff_jitter") != NULL);
    EXPECT_EQ(manta_supervisor_start(
                  MANTA_SUPERVISOR(.intensity = 100, .backoff_min_ms = 400, .backoff_max_ms = 400, .backoff_jitter = 0.5), &spec, 1, &s),
        MANTA_OK);
    uint64_t least = UINT64_MAX, most = 0;
    for (int i = 0; i < 20; i++) {
        uint64_t ms = pause_after_crash(s);
        if (ms < least) least = ms;
        if (ms > most) most = ms;
    }
    EXPECT(least >= 198 && least < 350 && most > 450 && most <= 610);
    EXPECT_EQ(manta_shutdown(m), MANTA_OK);
}

/* A spec that is not used is freed, once. */
TEST(spec_not_used)
{
    manta_child_spec spec = Kid_child(MANTA_CHILD(.id = "unused"), 1, false);
    EXPECT(spec.data);
    manta_child_spec_free(&spec);
    EXPECT(!spec.data);
    manta_child_spec_free(&spec);
}

/* A child whose init fails stops those before it, and the start says why. */
TEST(failing_start)
{
    manta_t *m = begin();
    manta_actor s = {0};
    manta_child_spec specs[2] = {Kid_child(MANTA_CHILD(.id = "1"), 1, false), Kid_child(MANTA_CHILD(.id = "2"), 2, true)};
    EXPECT_EQ(manta_supervisor_start(NULL, specs, 2, &s), MANTA_EINIT);
    char text[1000];
    manta_error_format(manta_last_error(), text, sizeof text);
    EXPECT(strstr(text, "kid 2 is broken") != NULL);
    EXPECT_STR(trail, "+1 -1 ");
    EXPECT_EQ(manta_shutdown(m), MANTA_OK);
}

/* A child that does not stop in time is killed; terminate, restart and remove manage one child. */
TEST(managing_children)
{
    manta_t *m = begin();
    manta_actor s, added = {0}, found;
    EXPECT_EQ(manta_supervisor_start(NULL, NULL, 0, &s), MANTA_OK);
    manta_child_spec spec = Kid_child(MANTA_CHILD(.id = "x", .shutdown_ms = 200), 7, false);
    EXPECT_EQ(manta_supervisor_add(s, &spec, &added), MANTA_OK);
    spec = Kid_child(MANTA_CHILD(.id = "x"), 8, false);
    EXPECT_EQ(manta_supervisor_add(s, &spec, NULL), MANTA_EEXIST);
    (void)Kid_hang_send(Kid_ref_of(added));
    (void)manta_sleep(1);
    uint64_t start = manta_now_ns();
    EXPECT_EQ(manta_supervisor_terminate(s, "x"), MANTA_OK);
    uint64_t ms = (manta_now_ns() - start) / 1000000;
    EXPECT(ms >= 200 && ms < 220);
    EXPECT(!manta_is_alive(added));
    EXPECT_EQ(manta_supervisor_child_actor(s, "x", &found), MANTA_ENOTREADY);
    EXPECT_EQ(manta_supervisor_restart(s, "x"), MANTA_OK);
    EXPECT_EQ(manta_supervisor_restart(s, "x"), MANTA_EEXIST);
    EXPECT_EQ(manta_supervisor_remove(s, "x"), MANTA_EEXIST);
    EXPECT_EQ(manta_supervisor_terminate(s, "x"), MANTA_OK);
    EXPECT_EQ(manta_supervisor_remove(s, "x"), MANTA_OK);
    EXPECT_EQ(manta_supervisor_terminate(s, "x"), MANTA_ENOTFOUND);
    EXPECT_EQ(manta_shutdown(m), MANTA_OK);
}

/* simple_one_for_one: children come while it runs, each for itself. */
TEST(simple_one_for_one)
{
    manta_t *m = begin();
    manta_actor s, kids[10];
    EXPECT_EQ(manta_supervisor_start(MANTA_SUPERVISOR(.strategy = MANTA_SIMPLE_ONE_FOR_ONE, .intensity = 3), NULL, 0, &s), MANTA_OK);
    for (int i = 0; i < 10; i++) {
        manta_child_spec spec = Kid_child(MANTA_CHILD(.restart = MANTA_TRANSIENT), i, false);
        EXPECT_EQ(manta_supervisor_add(s, &spec, &kids[i]), MANTA_OK);
    }
    (void)Kid_leave_send(Kid_ref_of(kids[3]));
    (void)manta_sleep(10);
    size_t count;
    EXPECT_EQ(manta_supervisor_children(s, NULL, 0, &count), MANTA_OK);
    EXPECT_EQ(count, 9);
    EXPECT_EQ(manta_shutdown(m), MANTA_OK);
}

/* A nested supervisor that gives up is restarted, with its children, by the one above. */
TEST(nested)
{
    manta_t *m = begin();
    manta_child_spec inner = Kid_child(MANTA_CHILD(.id = "leaf"), 1, false);
    manta_child_spec outer = manta_supervisor_child(MANTA_CHILD(.id = "inner"), MANTA_SUPERVISOR(.intensity = 1), &inner, 1);
    manta_actor top, middle, again;
    EXPECT_EQ(manta_supervisor_start(MANTA_SUPERVISOR(.intensity = 3), &outer, 1, &top), MANTA_OK);
    middle = kid(top, "inner");
    crash(middle, "leaf");
    manta_actor leaf = kid(middle, "leaf");
    (void)Kid_crash_send(Kid_ref_of(leaf));
    (void)manta_wait_exit(middle, 60000, NULL);
    again = kid(top, "inner");
    EXPECT(again.id != 0 && again.id != middle.id);
    EXPECT_EQ(manta_await(Kid_number(Kid_ref_of(kid(again, "leaf")))), 1);
    EXPECT_EQ(manta_shutdown(m), MANTA_OK);
}

/* With threads: a supervisor keeps its family alive under many crashes. */
TEST(under_load)
{
    trail[0] = 0;
    manta_config c = {.size = sizeof c, .workers = 3, .on_report = ignore_report};
    manta_t *m = manta_init_with(&c);
    manta_actor s;
    EXPECT_EQ(family(MANTA_ONE_FOR_ONE, MANTA_PERMANENT, UINT32_MAX, &s), MANTA_OK);
    for (int i = 0; i < test_scaled(300); i++) {
        manta_actor a = kid(s, i % 2 ? "1" : "3");
        EXPECT(a.id != 0);
        (void)Kid_crash_send(Kid_ref_of(a));
        EXPECT_EQ(manta_wait_exit(a, 5000, NULL), MANTA_OK);
    }
    EXPECT_EQ(manta_await(Kid_number(Kid_ref_of(kid(s, "2")))), 2);
    EXPECT_EQ(manta_shutdown(m), MANTA_OK);
}

/* ---- starts that fail or take long ---- */

static uint64_t init_takes_ms;
MANTA_ACTOR(Slow, int64_t number;)
MANTA_METHOD(Slow, init, void, (int64_t, number))
{
    self->number = number;
    if (init_takes_ms) (void)manta_sleep(init_takes_ms);
    note("+", number);
}
MANTA_METHOD(Slow, crash, void) { manta_fail(MANTA_EIO, "crash"); }
static void slow_stops(void *self, const manta_error *reason) { note(reason ? "!" : "-", ((Slow *)self)->number); }
static void slow_ends(void *self) { note("x", ((Slow *)self)->number); }
MANTA_CLASS_WITH(Slow, (.on_stop = slow_stops, .on_free = slow_ends), init, crash)

/* A child that takes its time to start again holds up neither the others nor the questions. */
TEST(others_go_on)
{
    manta_t *m = begin();
    manta_actor s;
    init_takes_ms = 0;
    manta_child_spec specs[2] = {Slow_child(MANTA_CHILD(.id = "slow"), 1), Kid_child(MANTA_CHILD(.id = "quick"), 2, false)};
    EXPECT_EQ(manta_supervisor_start(MANTA_SUPERVISOR(.intensity = 10), specs, 2, &s), MANTA_OK);
    init_takes_ms = 10000;
    manta_actor slow = kid(s, "slow"), quick = kid(s, "quick"), found;
    (void)Slow_crash_send(Slow_ref_of(slow));
    (void)manta_wait_exit(slow, 5000, NULL);
    uint64_t start = manta_now_ns();
    (void)Kid_crash_send(Kid_ref_of(quick));
    (void)manta_wait_exit(quick, 5000, NULL);
    EXPECT(kid(s, "quick").id != 0);
    EXPECT_EQ(manta_supervisor_child_actor(s, "slow", &found), MANTA_ENOTREADY);
    EXPECT((manta_now_ns() - start) / 1000000 < 100);
    (void)manta_sleep(10100);
    EXPECT_EQ(manta_supervisor_child_actor(s, "slow", &found), MANTA_OK);
    EXPECT_EQ(manta_shutdown(m), MANTA_OK);
}

/* What a supervisor was starting when it was stopped ends too. */
TEST(stopped_while_it_starts)
{
    manta_t *m = begin();
    manta_actor s;
    init_takes_ms = 0;
    manta_child_spec spec = Slow_child(MANTA_CHILD(.id = "slow"), 1);
    EXPECT_EQ(manta_supervisor_start(MANTA_SUPERVISOR(.intensity = 10), &spec, 1, &s), MANTA_OK);
    init_takes_ms = 1000;
    manta_actor slow = kid(s, "slow");
    (void)Slow_crash_send(Slow_ref_of(slow));
    (void)manta_wait_exit(slow, 5000, NULL);
    (void)manta_sleep(500);
    EXPECT_EQ(manta_stop(s), MANTA_OK);
    (void)manta_wait_exit(s, 5000, NULL);
    (void)manta_sleep(5000);
    EXPECT_STR(trail, "+1 !1 x1 +1 !1 x1 ");
    EXPECT_EQ(manta_shutdown(m), MANTA_OK);
}

/* A child ends with its supervisor also when it is in a handler that waits for long: it is killed 5 s later. */
TEST(a_hanging_child_ends_too)
{
    manta_t *m = begin();
    manta_actor s;
    EXPECT_EQ(family(MANTA_ONE_FOR_ONE, MANTA_PERMANENT, 5, &s), MANTA_OK);
    manta_actor hangs = kid(s, "2"), other = kid(s, "1");
    (void)Kid_hang_send(Kid_ref_of(hangs));
    (void)manta_sleep(10);
    uint64_t start = manta_now_ns();
    EXPECT_EQ(manta_kill(s), MANTA_OK);
    EXPECT_EQ(manta_wait_exit(other, 1000, NULL), MANTA_OK);
    EXPECT_EQ(manta_wait_exit(hangs, 60000, NULL), MANTA_OK);
    uint64_t ms = (manta_now_ns() - start) / 1000000;
    EXPECT(ms >= 5000 && ms < 5100);
    EXPECT_EQ(manta_shutdown(m), MANTA_OK);
}

/* A start that fails counts as a failure: it is tried again after the backoff, and too many are the supervisor's end, whose reason names the child and why. */
static int broken_from;
static char reason_text[600];
MANTA_ACTOR(Frail, int unused;)
MANTA_METHOD(Frail, init, void)
{
    (void)self;
    note("f", ++broken_from);
    if (broken_from > 1) manta_fail(MANTA_EIO, "frail one %d", broken_from);
}
MANTA_METHOD(Frail, crash, void) { manta_fail(MANTA_EIO, "crash"); }
MANTA_CLASS(Frail, init, crash)
MANTA_ACTOR(Heir, manta_actor supervisor;)
MANTA_METHOD(Heir, on_exit, void, (manta_actor, who), (int32_t, status), (manta_str, why))
{
    (void)self, (void)who;
    snprintf(reason_text, sizeof reason_text, "%s: %.*s", manta_status_name((manta_status)status), (int)why.size, why.data);
}
MANTA_METHOD(Heir, begin, manta_actor)
{
    manta_child_spec spec = Frail_child(MANTA_CHILD(.id = "frail"));
    (void)manta_supervisor_start(
        MANTA_SUPERVISOR(.intensity = 4, .backoff_min_ms = 100, .backoff_max_ms = 200), &spec, 1, &self->supervisor);
    return self->supervisor;
}
MANTA_CLASS_WITH(Heir, (.trap_exit = true), on_exit, begin)

TEST(starts_that_fail)
{
    manta_t *m = begin();
    broken_from = 0;
    manta_actor s = manta_await(Heir_begin(Heir_spawn()));
    uint64_t start = manta_now_ns();
    (void)Frail_crash_send(Frail_ref_of(kid(s, "frail")));
    EXPECT_EQ(manta_wait_exit(s, 60000, NULL), MANTA_OK);
    uint64_t ms = (manta_now_ns() - start) / 1000000;
    EXPECT(ms >= 700 && ms < 760); /* 100 + 200 + 200 + 200 */
    (void)manta_sleep(100);
    EXPECT_STR(trail, "f1 f2 f3 f4 f5 ");
    EXPECT(strstr(reason_text, "MANTA_ERESTARTS: child frail failed more than 4 times in 5000 ms") && strstr(reason_text, "frail one 5"));
    EXPECT_EQ(manta_shutdown(m), MANTA_OK);
}

/* ---- a start in a process that is not there ---- */

/* A child for a process that nobody knows fails to start, and the error says which. */
TEST(no_such_process)
{
    char text[600];
    manta_t *m = begin();
    manta_actor s;
    manta_child_spec spec = Kid_child(MANTA_CHILD(.id = "1", .spawn = MANTA_OPTIONS(.process = {66})), 1, false);
    EXPECT_EQ(manta_supervisor_start(NULL, &spec, 1, &s), MANTA_EINIT);
    manta_error_format(manta_last_error(), text, sizeof text);
    EXPECT(strstr(text, "process 0000000000000042 is not known here") != NULL);
    EXPECT_EQ(manta_supervisor_start(NULL, NULL, 0, &s), MANTA_OK);
    spec = Kid_child(MANTA_CHILD(.id = "1", .spawn = MANTA_OPTIONS(.process = {66})), 1, false);
    EXPECT_EQ(manta_supervisor_add(s, &spec, NULL), MANTA_ENOTFOUND);
    EXPECT(manta_is_alive(s));
    EXPECT_EQ(manta_shutdown(m), MANTA_OK);
}

/* An init that fails at once still says why, however soon that is. */
TEST(reason_of_a_fast_failure)
{
    char text[1000];
    manta_config c = {.size = sizeof c, .workers = 3, .on_report = ignore_report};
    manta_t *m = manta_init_with(&c);
    for (int i = 0; i < test_scaled(2000); i++) {
        manta_actor s;
        manta_child_spec spec = Kid_child(MANTA_CHILD(.id = "1"), 1, true);
        EXPECT_EQ(manta_supervisor_start(NULL, &spec, 1, &s), MANTA_EINIT);
        manta_error_format(manta_last_error(), text, sizeof text);
        EXPECT(strstr(text, "kid 1 is broken") != NULL);
    }
    EXPECT_EQ(manta_shutdown(m), MANTA_OK);
}

/* A question that a nested supervisor answers with an error is not its end. */
TEST(nested_answers_errors)
{
    manta_t *m = begin();
    manta_child_spec inner = Kid_child(MANTA_CHILD(.id = "leaf"), 1, false);
    manta_child_spec outer = manta_supervisor_child(MANTA_CHILD(.id = "inner"), NULL, &inner, 1);
    manta_actor top, found;
    EXPECT_EQ(manta_supervisor_start(NULL, &outer, 1, &top), MANTA_OK);
    manta_actor middle = kid(top, "inner");
    EXPECT_EQ(manta_supervisor_child_actor(middle, "nobody", &found), MANTA_ENOTFOUND);
    EXPECT_EQ(manta_supervisor_remove(middle, "leaf"), MANTA_EEXIST);
    (void)manta_sleep(100);
    EXPECT(manta_is_alive(middle) && kid(top, "inner").id == middle.id);
    EXPECT_EQ(manta_shutdown(m), MANTA_OK);
}

/* Supervisors below each other are 16 at most; the list of children says all of many. */
TEST(limits)
{
    manta_t *m = begin();
    manta_actor s;
    manta_child_spec spec = Kid_child(NULL, 1, false);
    for (int i = 0; i < 17; i++) spec = manta_supervisor_child(NULL, NULL, &spec, 1);
    EXPECT(!spec.data);
    EXPECT_EQ(manta_last_error()->status, MANTA_ELIMIT);
    spec = Kid_child(NULL, 1, false);
    for (int i = 0; i < 15; i++) spec = manta_supervisor_child(NULL, NULL, &spec, 1);
    EXPECT_EQ(manta_supervisor_start(NULL, &spec, 1, &s), MANTA_OK);
    EXPECT_EQ(manta_supervisor_start(MANTA_SUPERVISOR(.strategy = MANTA_SIMPLE_ONE_FOR_ONE), NULL, 0, &s), MANTA_OK);
    for (int i = 0; i < 600; i++) {
        spec = Kid_child(NULL, i, false);
        EXPECT_EQ(manta_supervisor_add(s, &spec, NULL), MANTA_OK);
    }
    static manta_child_info info[700];
    size_t count = 0;
    EXPECT_EQ(manta_supervisor_children(s, info, 700, &count), MANTA_OK);
    EXPECT(count == 600 && info[599].actor.id && strcmp(info[599].class_name, "Kid") == 0);
    EXPECT_EQ(manta_supervisor_children(s, info, 10, &count), MANTA_OK);
    EXPECT_EQ(count, 600);
    EXPECT_EQ(manta_shutdown(m), MANTA_OK);
}

/* With threads: children of each strategy that exit while they start are started again, and none is lost. */
static _Atomic int inits;
MANTA_ACTOR(Flaky, int unused;)
MANTA_METHOD(Flaky, init, void)
{
    (void)self;
    if (inits++ % 7 == 6) manta_fail(MANTA_EIO, "not now");
}
MANTA_METHOD(Flaky, crash, void) { manta_fail(MANTA_EIO, "crash"); }
MANTA_METHOD(Flaky, ping, void) { (void)self; }
MANTA_CLASS(Flaky, init, crash, ping)

static void keep_crashing(manta_strategy strategy)
{
    manta_actor s;
    manta_child_spec specs[4];
    const char *names[4] = {"a", "b", "c", "d"};
    inits = 0;
    for (int i = 0; i < 4; i++) specs[i] = Flaky_child(MANTA_CHILD(.id = names[i]));
    EXPECT_EQ(manta_supervisor_start(MANTA_SUPERVISOR(.strategy = strategy, .intensity = UINT32_MAX), specs, 4, &s), MANTA_OK);
    for (int i = 0; i < test_scaled(100); i++) (void)Flaky_crash_send(Flaky_ref_of(kid(s, names[i % 4])));
    for (int i = 0; i < 4; i++) EXPECT(WAIT_FOR(manta_join(Flaky_ping(Flaky_ref_of(kid(s, names[i])))) == MANTA_OK, 20));
    EXPECT_EQ(manta_stop(s), MANTA_OK);
    (void)manta_wait_exit(s, 20000, NULL);
}

TEST(flaky_children)
{
    manta_config c = {.size = sizeof c, .workers = 3, .on_report = ignore_report};
    manta_t *m = manta_init_with(&c);
    for (int strategy = MANTA_ONE_FOR_ONE; strategy <= MANTA_REST_FOR_ONE; strategy++) keep_crashing((manta_strategy)strategy);
    EXPECT_EQ(manta_shutdown(m), MANTA_OK);
}
