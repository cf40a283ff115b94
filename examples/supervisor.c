/*
 * Let it crash: a worker that fails on bad input is restarted by its supervisor, with a fresh state and the same registered name.
 *
 * A child of a supervisor exits when one of its handlers fails (on its own it would only answer with the error). The call that failed gets the error;
 * later calls find the new incarnation by name. When children fail more than `intensity` times within period_ms, the supervisor gives up.
 */
#include <inttypes.h>
#include <stdio.h>

#include <manta/manta.h>

MANTA_ACTOR(Divider, int64_t calls;)
MANTA_METHOD(Divider, init, void) { self->calls = 0; }
MANTA_METHOD(Divider, divide, int64_t, (int64_t, a), (int64_t, b))
{
    self->calls++;
    if (b == 0) return manta_fail(MANTA_EINVAL, "%" PRId64 " / 0 after %" PRId64 " calls", a, self->calls - 1), 0;
    return a / b;
}
MANTA_METHOD(Divider, calls, int64_t) { return self->calls; }
MANTA_CLASS(Divider, init, divide, calls)

/* After a crash the child is back a moment later. */
static Divider_ref divider(manta_actor supervisor)
{
    manta_actor a = {0};
    while (manta_supervisor_child_actor(supervisor, "divider", &a) != MANTA_OK || a.id == 0 || !manta_is_alive(a)) manta_sleep(1);
    return Divider_ref_of(a);
}

static void divide(manta_actor supervisor, int64_t a, int64_t b)
{
    int64_t result;
    Divider_ref d = divider(supervisor);
    if (manta_get(Divider_divide(d, a, b), &result) == MANTA_OK) printf("%" PRId64 " / %" PRId64 " = %" PRId64 "\n", a, b, result);
    else {
        printf("%" PRId64 " / %" PRId64 ": %s\n", a, b, manta_last_error()->message);
        manta_wait_exit(d.actor, MANTA_FOREVER, NULL); /* that incarnation is over */
    }
}

int main(int argc, char **argv)
{
    manta_t *m = manta_init(&argc, &argv);
    if (!m) return 1;

    manta_child_spec child =
        Divider_child(MANTA_CHILD(.id = "divider", .restart = MANTA_PERMANENT, .spawn = MANTA_OPTIONS(.name = "divider")));
    manta_actor supervisor;
    if (manta_supervisor_start(
            MANTA_SUPERVISOR(.strategy = MANTA_ONE_FOR_ONE, .intensity = 3, .period_ms = 10000), &child, 1, &supervisor) != MANTA_OK)
        return 1;

    divide(supervisor, 84, 2);
    divide(supervisor, 9, 3);
    divide(supervisor, 1, 0);
    divide(supervisor, 30, 5);
    manta_child_info info;
    size_t count;
    if (manta_supervisor_children(supervisor, &info, 1, &count) == MANTA_OK)
        printf("%s was restarted %" PRIu32 " time\n", info.id, info.restarts);
    manta_actor named;
    if (manta_lookup("divider", &named) == MANTA_OK)
        printf("calls since then: %" PRId64 "\n", manta_await(Divider_calls(Divider_ref_of(named))));
    return manta_shutdown(m) == MANTA_OK ? 0 : 1;
}
