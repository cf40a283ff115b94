/* The n-th allocation failing, for all n, in spawn, call, await, stop: every operation ends, with a value or an error, and nothing leaks or hangs. */
#include "scheduler/base/alloc.h"
#include "test/support/actors.h"

MANTA_ACTOR(Box, int64_t value; char big[400];)
MANTA_METHOD(Box, init, void, (int64_t, value), (manta_str, name)) { self->value = value; }
MANTA_METHOD(Box, echo, manta_str, (manta_str, text)) { return text; }
MANTA_METHOD(Box, twice, int64_t, (int64_t, x)) { return 2 * x; }
MANTA_CLASS(Box, init, echo, twice)
MANTA_TASK(relay, int64_t, (Box_ref, b), (manta_str, text))
{
    manta_str back = manta_await(Box_echo(b, text));
    return (int64_t)back.size + manta_await(Box_twice(b, 1));
}

/* One round of everything; false when something came out wrong rather than failed. */
static bool round_of_everything(char *large, size_t large_bytes)
{
    int64_t v = 0;
    Box_ref b = Box_spawn_with(MANTA_OPTIONS(.name = "box", .mailbox_limit = 10), 7, manta_str_of("a name that is copied"));
    if (!b.actor.id) return manta_last_error()->status == MANTA_ENOMEM || manta_last_error()->status == MANTA_ELIMIT;
    manta_status s = manta_get(Box_twice(b, 21), &v);
    bool ok = s ? s == MANTA_ENOMEM || s == MANTA_EEXIT || s == MANTA_EDEAD || s == MANTA_ELIMIT : v == 42;
    s = manta_get(relay_submit(b, (manta_str){large, large_bytes}), &v);
    if (!s) ok = ok && v == (int64_t)large_bytes + 2;
    manta_ref r;
    if (manta_put(large, large_bytes, &r) == MANTA_OK) ok = ok && manta_release(r) == MANTA_OK;
    (void)manta_get(Box_twice_with(MANTA_OPTIONS(.timeout_ms = 5000, .max_retries = 2, .retry_delay_ms = 1), b, 4), &v);
    if (manta_stop(b.actor) != MANTA_OK) (void)manta_kill(b.actor);
    (void)manta_wait_exit(b.actor, 5000, NULL);
    while (manta_is_alive(b.actor)) sched_yield();
    return ok;
}

static void run(uint32_t workers, uint64_t seed)
{
    enum { LARGE = 3000 };
    static char large[LARGE];
    memset(large, 'x', sizeof large);
    manta_config c = {.size = sizeof c, .workers = workers, .seed = seed};
    manta_t *m = manta_init_with(&c);
    EXPECT(m);
    EXPECT(round_of_everything(large, LARGE));
    uint64_t n = 0, most = 300;
    bool failed = true;
    while (failed && ++n < most) {
        base_alloc_fail_at(n);
        bool ok = round_of_everything(large, LARGE);
        failed = base_alloc_has_failed();
        base_alloc_fail_at(0);
        if (!ok) fprintf(stderr, "wrong outcome with allocation %" PRIu64 " failing\n", n);
        EXPECT(ok);
    }
    EXPECT(n > 3);
    EXPECT(n < most);
    EXPECT(round_of_everything(large, LARGE));
    EXPECT_EQ(manta_shutdown(m), MANTA_OK);
}

TEST(threads) { run(2, 0); }
TEST(seeded) { run(0, 77); }

/* Starting a system with the n-th allocation failing gives NULL and leaves nothing behind. */
TEST(start)
{
    for (uint64_t n = 1; n < 200; n++) {
        manta_config c = {.size = sizeof c, .workers = 2};
        base_alloc_fail_at(n);
        manta_t *m = manta_init_with(&c);
        bool failed = base_alloc_has_failed();
        base_alloc_fail_at(0);
        if (m) EXPECT_EQ(manta_shutdown(m), MANTA_OK);
        else EXPECT(failed);
        if (!failed) return;
    }
    test_report(__FILE__, __LINE__, "a start with fewer than 200 allocations");
}
