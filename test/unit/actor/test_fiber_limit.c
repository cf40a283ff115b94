/* More waiting handlers than there may be stacks. */
#include "scheduler/os/fiber.h"
#include "test/support/actors.h"

enum { STACKS = 300, TASKS = 1000 };

MANTA_ACTOR(Flag, int64_t raised;)
MANTA_METHOD(Flag, wait, int64_t)
{
    if (!self->raised) return manta_stash(), 0;
    return 1;
}
MANTA_METHOD(Flag, raise, void)
{
    self->raised = 1;
    (void)manta_unstash();
}
MANTA_CLASS(Flag, wait, raise)

MANTA_TASK(patient, int64_t, (Flag_ref, f)) { return manta_await(Flag_wait(f)); }

/* A handler that would need one stack more fails with MANTA_ELIMIT; nothing hangs, and the others end well. */
TEST(a_wait_beyond_the_limit_fails)
{
    manta_t *m = test_system(2, 0);
    fiber_set_limit(STACKS);
    Flag_ref flag = Flag_spawn();
    manta_int64_t_future f[TASKS];
    for (int i = 0; i < TASKS; i++) f[i] = patient_submit(flag);
    EXPECT(WAIT_FOR(manta_future_is_ready(f[TASKS - 1].future) || manta_future_is_ready(f[0].future), 30));
    EXPECT_EQ(manta_join(Flag_raise(flag)), MANTA_OK);
    int done = 0, refused = 0;
    for (int i = 0; i < TASKS; i++) {
        int64_t v = 0;
        manta_status s = manta_get(f[i], &v);
        EXPECT(s == MANTA_OK ? v == 1 : s == MANTA_ELIMIT);
        if (s) refused++;
        else done++;
    }
    EXPECT(done > STACKS / 2 && refused > 0);
    fiber_set_limit(0);
    EXPECT_EQ(manta_await(patient_submit(flag)), 1);
    EXPECT_EQ(manta_shutdown(m), MANTA_OK);
}
