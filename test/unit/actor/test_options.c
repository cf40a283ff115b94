/* Time-outs and retries of calls, timers, waiting for several futures, notifications, blocking sections. */
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "test/support/actors.h"

MANTA_ACTOR(Flaky, int64_t calls; int64_t ticks;)
MANTA_METHOD(Flaky, third_time, int64_t, (manta_str, text))
{
    if (++self->calls < 3) return manta_fail(MANTA_EIO, "try %" PRId64 " of %s", self->calls, text.data), 0;
    return self->calls;
}
MANTA_METHOD(Flaky, never, int64_t) { return self->calls++, manta_fail(MANTA_EINVAL, "never"), 0; }
MANTA_METHOD(Flaky, slow, int64_t, (int64_t, ms))
{
    manta_status s = manta_sleep((uint64_t)ms);
    return s ? (manta_fail(s, "woken"), 0) : ms;
}
MANTA_METHOD(Flaky, calls, int64_t) { return self->calls; }
MANTA_METHOD(Flaky, tick, void, (int64_t, by)) { self->ticks += by; }
MANTA_METHOD(Flaky, ticks, int64_t) { return self->ticks; }
MANTA_CLASS_WITH(Flaky, (.concurrency = 8), third_time, never, slow, calls, tick, ticks)

static _Atomic int64_t task_runs;
MANTA_TASK(second_time, int64_t) { return ++task_runs < 2 ? (manta_fail(MANTA_EIO, "first"), 0) : (int64_t)task_runs; }
MANTA_TASK(add, int64_t, (int64_t, a), (int64_t, b)) { return a + b; }
MANTA_TASK(order, int64_t, (int64_t, x)) { return x * 0 + ++task_runs; }

/* Retryable failures are tried again with the same arguments, others not. */
IN_BOTH_MODES(retries)
{
    Flaky_ref f = Flaky_spawn();
    int64_t v = 0;
    EXPECT_EQ(manta_get(Flaky_third_time_with(MANTA_OPTIONS(.max_retries = 5, .retry_delay_ms = 1), f, manta_str_of("abc")), &v), MANTA_OK);
    EXPECT_EQ(v, 3);
    EXPECT_EQ(manta_get(Flaky_never_with(MANTA_OPTIONS(.max_retries = 5), f), &v), MANTA_EINVAL);
    EXPECT_EQ(manta_await(Flaky_calls(f)), 4);
    task_runs = 0;
    EXPECT_EQ(manta_get(second_time_submit_with(MANTA_OPTIONS(.max_retries = 1, .retry_delay_ms = 1)), &v), MANTA_OK);
    EXPECT_EQ(v, 2);
    EXPECT_EQ(manta_get(Flaky_never_with(MANTA_OPTIONS(.max_retries = 100000), f), &v), MANTA_EINVAL);
    EXPECT(strstr(manta_last_error()->message, "max_retries") != NULL);
}

/* A call that takes too long fails with MANTA_ETIMEDOUT and its handler is interrupted; one in time is not touched. */
IN_BOTH_MODES(timeouts)
{
    Flaky_ref f = Flaky_spawn();
    int64_t v = 0;
    EXPECT_EQ(manta_get(Flaky_slow_with(MANTA_OPTIONS(.timeout_ms = 30), f, 3600 * 1000), &v), MANTA_ETIMEDOUT);
    EXPECT_EQ(manta_get(Flaky_slow_with(MANTA_OPTIONS(.timeout_ms = 20000), f, 3), &v), MANTA_OK);
    EXPECT_EQ(v, 3);
    manta_int64_t_future c = Flaky_slow_with(MANTA_OPTIONS(.timeout_ms = 3600 * 1000), f, 3600 * 1000);
    EXPECT_EQ(manta_get_timeout(c, &v, 20), MANTA_ETIMEDOUT);
    EXPECT_EQ(manta_cancel(c.future), MANTA_OK);
    EXPECT_EQ(manta_get(c, &v), MANTA_ECANCELLED);
}

/* One-shot and periodic timers send; a cancelled one does not. */
TEST(timers)
{
    manta_t *m = test_system(0, 9);
    Flaky_ref f = Flaky_spawn();
    manta_timer once = Flaky_tick_after(100, f, 1), periodic = Flaky_tick_every(1000, f, 100), never = Flaky_tick_after(50, f, 100000);
    EXPECT(once.id && periodic.id && never.id);
    EXPECT_EQ(manta_timer_cancel(never), MANTA_OK);
    EXPECT_EQ(manta_timer_cancel(never), MANTA_ESTALE);
    (void)manta_sleep(5050);
    EXPECT_EQ(manta_await(Flaky_ticks(f)), 501);
    EXPECT_EQ(manta_timer_cancel(once), MANTA_ESTALE);
    EXPECT_EQ(manta_timer_cancel(periodic), MANTA_OK);
    (void)manta_sleep(5000);
    EXPECT_EQ(manta_await(Flaky_ticks(f)), 501);
    periodic = Flaky_tick_every(10, f, 1);
    manta_stop(f.actor);
    (void)manta_sleep(100);
    EXPECT_EQ(manta_timer_cancel(periodic), MANTA_ESTALE); /* ended with its receiver */
    EXPECT_EQ(manta_shutdown(m), MANTA_OK);
}

/* k of n: returns when k are there and says which; the rest can still be waited for. */
IN_BOTH_MODES(wait_k_of_n)
{
    Flaky_ref f = Flaky_spawn();
    manta_int64_t_future futures[4];
    int64_t delays[4] = {1, 3600 * 1000, 5, 3600 * 1000};
    bool ready[4];
    for (int i = 0; i < 4; i++) futures[i] = Flaky_slow(f, delays[i]);
    EXPECT_EQ(manta_wait(futures, 4, 2, 20000, ready), MANTA_OK);
    EXPECT(ready[0] && !ready[1] && ready[2] && !ready[3]);
    EXPECT_EQ(manta_wait(futures, 4, 3, 20, ready), MANTA_ETIMEDOUT);
    EXPECT_EQ(manta_wait(futures, 4, 5, 20, ready), MANTA_EINVAL);
    EXPECT_EQ(manta_await(futures[0]), 1);
    for (int i = 1; i < 4; i += 2) EXPECT_EQ(manta_cancel(futures[i].future), MANTA_OK);
    int64_t v;
    EXPECT_EQ(manta_get(futures[3], &v), MANTA_ECANCELLED);
}

/* get_all consumes all and reports the first error by index. */
IN_BOTH_MODES(get_all)
{
    manta_int64_t_future f[100];
    int64_t values[100];
    for (int i = 0; i < 100; i++) f[i] = add_submit(i, 1);
    EXPECT_EQ(manta_get_all(f, values, 100), MANTA_OK);
    for (int i = 0; i < 100; i++) EXPECT_EQ(values[i], i + 1);
    Flaky_ref bad = Flaky_spawn();
    for (int i = 0; i < 100; i++) f[i] = i % 40 == 20 ? Flaky_never(bad) : add_submit(i, 1);
    EXPECT_EQ(manta_get_all(f, values, 100), MANTA_EINVAL);
    EXPECT_STR(manta_last_error()->message, "never");
    EXPECT_EQ(values[99], 100);
}

static _Atomic int called;
static void on_ready(manta_future f, void *context)
{
    int64_t v = 0;
    if (manta_get_value(f, &v, sizeof v, 0) == MANTA_OK) *(int64_t *)context = v;
    called++;
}

/* A callback runs once; an eventfd becomes readable. */
IN_BOTH_MODES(notifications)
{
    Flaky_ref f = Flaky_spawn();
    int64_t seen = 0;
    called = 0;
    manta_int64_t_future a = Flaky_slow(f, 5);
    EXPECT_EQ(manta_future_on_ready(a.future, on_ready, &seen), MANTA_OK);
    EXPECT_EQ(manta_future_on_ready(a.future, on_ready, &seen), MANTA_EEXIST);
    for (int i = 0; i < 1000 && !called; i++) (void)manta_sleep(1);
    EXPECT(called == 1 && seen == 5);
    EXPECT_EQ(manta_future_on_ready(a.future, on_ready, &seen), MANTA_ESTALE);
    int fd = eventfd(0, 0);
    a = Flaky_slow(f, 5);
    EXPECT_EQ(manta_future_eventfd(a.future, fd), MANTA_OK);
    for (int i = 0; i < 1000 && !manta_future_is_ready(a.future); i++) (void)manta_sleep(1);
    uint64_t count = 0;
    EXPECT(read(fd, &count, sizeof count) == sizeof count && count == 1);
    EXPECT_EQ(manta_await(a), 5);
    close(fd);
}

MANTA_TASK(block, int64_t, (int64_t, x))
{
    manta_blocking_begin();
    int fds[2];
    char c;
    bool ok = pipe(fds) == 0 && write(fds[1], "x", 1) == 1 && read(fds[0], &c, 1) == 1;
    close(fds[0]);
    close(fds[1]);
    manta_blocking_end();
    return ok ? x : -1;
}

static _Atomic int gate_fd;
MANTA_TASK(block_on_gate, int64_t)
{
    manta_blocking_begin();
    char c;
    bool ok = read(gate_fd, &c, 1) == 1;
    manta_blocking_end();
    return ok ? manta_await(add_submit(1, 2)) : -1;
}

/* Blocking sections keep the other handlers running, on one worker too. */
TEST(blocking_sections)
{
    manta_t *m = test_system(1, 0);
    int fds[2];
    EXPECT_EQ(pipe(fds), 0);
    gate_fd = fds[0];
    manta_int64_t_future blocked[4];
    for (int i = 0; i < 4; i++) blocked[i] = block_on_gate_submit();
    for (int i = 0; i < test_scaled(200); i++) EXPECT_EQ(manta_await(block_submit(i)), i);
    EXPECT(write(fds[1], "abcd", 4) == 4);
    for (int i = 0; i < 4; i++) EXPECT_EQ(manta_await(blocked[i]), 3);
    close(fds[0]);
    close(fds[1]);
    EXPECT_EQ(manta_shutdown(m), MANTA_OK);
}

static _Atomic int hold;
MANTA_TASK(hog, void)
{
    hold = 2;
    while (hold != 0) sched_yield();
}

/* High priority tasks run before normal ones, low ones after. */
TEST(priorities)
{
    manta_t *m = test_system(1, 0);
    task_runs = 0;
    hold = 0;
    manta_void_future busy = hog_submit();
    EXPECT(WAIT_FOR(hold == 2, 10)); /* the only worker is taken: what follows queues up */
    manta_int64_t_future low = order_submit_with(MANTA_OPTIONS(.priority = MANTA_PRIORITY_LOW), 1), normal = order_submit(1);
    manta_int64_t_future high = order_submit_with(MANTA_OPTIONS(.priority = MANTA_PRIORITY_HIGH), 1);
    hold = 0;
    manta_await(busy);
    EXPECT_EQ(manta_await(high), 1);
    EXPECT_EQ(manta_await(normal), 2);
    EXPECT_EQ(manta_await(low), 3);
    EXPECT_EQ(manta_shutdown(m), MANTA_OK);
}

/* A retry is sent from a timer's callback, which cannot wait for room in a bounded mailbox: on one worker that would stop everything. */
TEST(retry_into_a_full_mailbox)
{
    manta_t *m = test_system(1, 0);
    Flaky_ref f = Flaky_spawn_with(MANTA_OPTIONS(.mailbox_limit = 1, .concurrency = 1));
    manta_int64_t_future retried = Flaky_third_time_with(MANTA_OPTIONS(.max_retries = 5, .retry_delay_ms = 20), f, manta_str_of("abc"));
    EXPECT(WAIT_FOR(manta_await(Flaky_calls(f)) == 1, 10));
    manta_int64_t_future slow = Flaky_slow(f, 100);
    Flaky_tick_send(f, 1);
    int64_t v;
    EXPECT_EQ(manta_get_timeout(retried, &v, 30000), MANTA_OK);
    EXPECT_EQ(v, 3);
    EXPECT_EQ(manta_join(slow), MANTA_OK);
    EXPECT_EQ(manta_shutdown(m), MANTA_OK);
}

/* Waiting for a future twice at once is refused; it would never be woken for the second. */
IN_BOTH_MODES(wait_for_one_future_twice)
{
    Flaky_ref f = Flaky_spawn();
    manta_int64_t_future twice[2];
    twice[0] = twice[1] = Flaky_slow(f, 50);
    EXPECT_EQ(manta_wait(twice, 2, 2, 10000, NULL), MANTA_EEXIST);
    EXPECT_EQ(manta_wait(twice, 1, 1, 10000, NULL), MANTA_OK);
    EXPECT_EQ(manta_join(twice[0]), MANTA_OK);
    EXPECT_EQ(manta_wait(twice, 1, 1, 10000, NULL), MANTA_ESTALE);
}

/* Futures that complete while the waiter attaches itself wake it exactly once. */
TEST(wait_races)
{
    manta_t *m = test_system(2, 0);
    for (int64_t i = 0; i < test_scaled(20000); i++) {
        manta_int64_t_future f[4];
        bool ready[4];
        size_t n = 0;
        for (int64_t k = 0; k < 4; k++) f[k] = add_submit(i, k);
        EXPECT_EQ(manta_wait(f, 4, 3, 30000, ready), MANTA_OK);
        for (int k = 0; k < 4; k++) n += ready[k];
        EXPECT(n >= 3);
        for (int64_t k = 0; k < 4; k++) EXPECT_EQ(manta_await(f[k]), i + k);
    }
    EXPECT_EQ(manta_shutdown(m), MANTA_OK);
}
