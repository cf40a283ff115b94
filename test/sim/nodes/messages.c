/*
 * Promises: messages of one sender to one receiver arrive in their order, none twice; none is missing in front of one that arrived; a call's future completes; what was answered was done.
 * Receivers are monitored too.
 *
 * A session is a sender with one handle; when a call fails with a status that says that the link was lost, the sender looks the receiver up again and begins a new session.
 */
#include <inttypes.h>

#include "test/sim/nodes/simulate.h"

MANTA_ACTOR(SimReceiver, uint64_t taken;)
MANTA_METHOD_DECLARE(SimReceiver, take, uint64_t, (uint64_t, number), (uint64_t, of))
MANTA_ACTOR(SimSender, uint32_t monitored;)
MANTA_METHOD_DECLARE(SimSender, play, void)
MANTA_METHOD_DECLARE(SimSender, on_down, void, (manta_actor, who), (int32_t, status), (manta_str, why))

MANTA_METHOD_DEFINE(SimReceiver, take, uint64_t, (uint64_t, number), (uint64_t, of))
{
    session *s = &watch()->sessions[of];
    self->taken++;
    if (s->receiver != manta_this_process().id)
        manta_sim_fail("session %" PRIu64 ": %" PRIu64 " arrived at another process than it was sent to", of, number);
    if (number != s->received + 1)
        manta_sim_fail("session %" PRIu64 " from node %u: %" PRIu64 " came after %" PRIu64, of, s->from, number, s->received);
    s->received = number;
    return number;
}
MANTA_CLASS(SimReceiver, take)

typedef struct target {
    SimReceiver_ref actor;
    uint64_t session;
} target;

static session *session_begin(uint64_t process, uint64_t *out_number)
{
    watched *w = watch();
    if (w->n_sessions == SESSIONS) return NULL;
    *out_number = w->n_sessions++;
    session *s = &w->sessions[*out_number];
    *s = (session){.receiver = process, .from = manta_sim_node(), .incarnation = manta_sim_incarnation()};
    return s;
}

MANTA_METHOD_DEFINE(SimSender, on_down, void, (manta_actor, who), (int32_t, status), (manta_str, why))
{
    (void)self, (void)status, (void)why, (void)who;
    watch()->downs++;
}

static bool find(target *t)
{
    manta_process p;
    uint32_t other = (manta_sim_node() + 1 + (uint32_t)(manta_random() % (manta_sim_nodes() - 1))) % manta_sim_nodes();
    manta_actor a;
    if (manta_sim_process(other, 500, &p) || manta_lookup_in(p, "receiver", &a)) return false;
    t->actor = SimReceiver_ref_of(a);
    return session_begin(p.id, &t->session) != NULL;
}

/* A call, now and then after some messages without an answer. False: the session is over. */
static bool say(const target *t)
{
    session *s = &watch()->sessions[t->session];
    uint64_t answer = 0;
    for (uint64_t n = manta_random() % 4; n > 0; n--)
        if (SimReceiver_take_send(t->actor, ++s->sent, t->session)) return false;
    uint64_t number = ++s->sent;
    watch()->calls++;
    manta_status status = manta_get(SimReceiver_take(t->actor, number, t->session), &answer);
    if (status) {
        watch()->failed_calls++;
        return false;
    }
    if (answer != number) manta_sim_fail("session %" PRIu64 ": call %" PRIu64 " was answered with %" PRIu64, t->session, number, answer);
    if (s->received < number) manta_sim_fail("session %" PRIu64 ": call %" PRIu64 " was answered before it was done", t->session, number);
    s->acknowledged = number;
    return true;
}

MANTA_METHOD_DEFINE(SimSender, play, void)
{
    target t;
    (void)self;
    bool has = false;
    for (uint32_t i = 0; i < manta_sim_steps(); i++) {
        if (!has && (has = find(&t))) (void)manta_monitor(t.actor.actor, SimSender_on_down, NULL);
        if (has) has = say(&t);
        manta_sleep(manta_random() % 120);
    }
    program_finished();
}
MANTA_CLASS(SimSender, play, on_down)

void messages_start(uint32_t node)
{
    (void)node;
    (void)SimReceiver_spawn_with(MANTA_OPTIONS(.name = "receiver"));
    (void)SimSender_play_send(SimSender_spawn());
}

void messages_judge(watched *w)
{
    for (uint32_t i = 0; i < w->n_sessions; i++) {
        const session *s = &w->sessions[i];
        if (s->acknowledged > s->received)
            manta_sim_fail("session %u: %" PRIu64 " was acknowledged, %" PRIu64 " arrived", i, s->acknowledged, s->received);
        if (s->received > s->sent) manta_sim_fail("session %u: %" PRIu64 " arrived of %" PRIu64, i, s->received, s->sent);
    }
}
