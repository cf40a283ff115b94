/*
 * Promises: a token is granted once; tokens grow; and while a process knows that it holds a lock, nobody has been granted it since (clocks run alike here, so also a lease ends there no earlier than here).
 */
#include <inttypes.h>

#include "test/sim/nodes/simulate.h"

enum { LEASE_MS = 500, WAIT_MS = 3000, LOOK_MS = 20 };

MANTA_ACTOR(SimLocker, uint64_t granted;)
MANTA_METHOD_DECLARE(SimLocker, play, void)

static void check_grant(uint64_t token, uint64_t called_ns)
{
    watched *w = watch();
    if (token >= GRANTS || !token) return;
    if (w->granted_ns[token]) manta_sim_fail("lock: token %" PRIu64 " was granted twice", token);
    for (uint64_t later = token + 1; later <= w->highest_token; later++)
        if (w->granted_ns[later] && w->granted_ns[later] < called_ns)
            manta_sim_fail("lock: token %" PRIu64 " was granted after %" PRIu64, token, later);
    w->granted_ns[token] = manta_sim_now_ns();
    if (token > w->highest_token) w->highest_token = token;
    w->locks_done++;
}

/* While it is held. */
static void hold(const manta_lock *lock, uint64_t ms)
{
    for (uint64_t left = ms; left > 0 && manta_lock_is_held(lock); left = left > LOOK_MS ? left - LOOK_MS : 0) {
        if (watch()->highest_token > lock->token)
            manta_sim_fail(
                "lock: held with token %" PRIu64 " here, and granted with %" PRIu64 " elsewhere", lock->token, watch()->highest_token);
        if (manta_sleep(left < LOOK_MS ? left : LOOK_MS)) return;
    }
}

MANTA_METHOD_DEFINE(SimLocker, play, void)
{
    for (uint32_t i = 0; i < manta_sim_steps() / 8 + 1; i++) {
        manta_lock lock;
        uint64_t called = manta_sim_now_ns();
        manta_status status = manta_lock_acquire("sim", LEASE_MS, WAIT_MS, &lock);
        if (!status) {
            self->granted++;
            check_grant(lock.token, called);
            hold(&lock, manta_random() % 8 ? manta_random() % 100 : manta_random() % (3 * LEASE_MS));
            (void)manta_lock_release(&lock);
        }
        manta_sleep(manta_random() % 100);
    }
    program_finished();
}
MANTA_CLASS(SimLocker, play)

void locks_start(uint32_t node)
{
    (void)node;
    (void)SimLocker_play_send(SimLocker_spawn());
}
