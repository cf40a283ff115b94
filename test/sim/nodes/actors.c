/*
 * Promises: an actor's calls of one caller run in their order, and none twice, also when the actor is started again elsewhere (its class repeats no calls); what was answered was done; a durable actor's total has each
 * call that was answered once, and no call twice. Calls complete, with an answer or a documented error.
 */
#include <inttypes.h>

#include "test/sim/nodes/simulate.h"

enum { CALL_MS = 60000, SPAWN_MS = 10000, IN_FLIGHT = 3 };

/* Volatile or restartable, as it is spawned. */
MANTA_ACTOR(SimCell, uint64_t cell;)
MANTA_METHOD(SimCell, init, void, (uint64_t, cell)) { self->cell = cell; }
MANTA_METHOD(SimCell, step, uint64_t, (uint64_t, number))
{
    cell_seen *c = &watch()->cells[self->cell];
    if (number <= c->last) manta_sim_fail("actor %" PRIu64 ": call %" PRIu64 " ran after call %" PRIu64, self->cell, number, c->last);
    c->last = number;
    if (manta_random() % 4 == 0) manta_sleep(manta_random() % 20);
    c->done++;
    return number;
}
MANTA_CLASS(SimCell, init, step)

MANTA_ACTOR(SimVault, uint64_t total;)
MANTA_METHOD(SimVault, add, uint64_t, (uint64_t, amount)) { return self->total += amount; }
MANTA_STATE(SimVault, (uint64_t, total))
MANTA_DURABLE_CLASS(SimVault, (.restart_delay_max_ms = 500), add)

/* A place on the cluster, and its row in the control store, may be out of reach for longer than a spawn waits. */
static bool is_documented(manta_status s) { return s == MANTA_EUNKNOWN || s == MANTA_EDEAD || s == MANTA_EINIT || s == MANTA_ETIMEDOUT; }

static void judge_failure(const char *what, uint64_t cell, manta_status status, bool may_time_out)
{
    manta_sim_note("actor %" PRIu64 ": %s: %s", cell, what, manta_last_error()->message);
    watch()->failed_steps++;
    if (!is_documented(status) || (status == MANTA_ETIMEDOUT && !may_time_out) || !manta_sim_count(LOSING))
        manta_sim_fail("actor %" PRIu64 ": %s ended with %s: %s", cell, what, manta_status_text(status), manta_last_error()->message);
}

/* Some calls at a time. False: one failed. */
static bool step_some(SimCell_ref a, uint64_t cell, uint64_t *number)
{
    cell_seen *c = &watch()->cells[cell];
    manta_uint64_t_future f[IN_FLIGHT];
    uint64_t first = *number + 1, got = 0;
    bool ok = true;
    manta_sim_note("calls actor %" PRIu64 ", from call %" PRIu64, cell, first);
    for (int i = 0; i < IN_FLIGHT; i++) f[i] = SimCell_step(a, ++*number);
    for (int i = 0; i < IN_FLIGHT; i++) {
        manta_status status = manta_get_timeout(f[i], &got, CALL_MS);
        if (status) judge_failure("a call", cell, status, false);
        else if (got != first + (uint64_t)i || c->last < got)
            manta_sim_fail("actor %" PRIu64 ": call %" PRIu64 " was answered with %" PRIu64, cell, first + (uint64_t)i, got);
        else watch()->steps_done++;
        ok = ok && !status;
    }
    return ok;
}

static void play_cell(bool is_restartable)
{
    uint64_t cell = watch()->n_cells, number = 0;
    if (cell == CELLS) return;
    watch()->n_cells++;
    manta_sim_note("spawns actor %" PRIu64 "%s", cell, is_restartable ? ", restartable" : "");
    manta_durability durability = is_restartable ? MANTA_RESTARTABLE : MANTA_VOLATILE;
    SimCell_ref a = SimCell_spawn_with(
        MANTA_OPTIONS(.durability = durability, .restart_delay_max_ms = 500, .where = MANTA_WHERE_SPREAD, .timeout_ms = SPAWN_MS), cell);
    if (!a.actor.id) {
        judge_failure("a spawn", cell, manta_last_error()->status, true);
        return;
    }
    bool alive = true;
    for (uint64_t i = 1 + manta_random() % 4; i > 0 && (alive || is_restartable); i--) {
        alive = step_some(a, cell, &number);
        manta_sleep(manta_random() % 100);
    }
    manta_sim_note("actor %" PRIu64 " has made %" PRIu64 " calls and stops", cell, number);
    (void)manta_stop(a.actor);
}

static void play_vault(void)
{
    uint64_t total = 0, most = 0, got = 0;
    manta_sim_note("spawns a durable actor");
    SimVault_ref a = SimVault_spawn_with(MANTA_OPTIONS(.where = MANTA_WHERE_SPREAD, .timeout_ms = SPAWN_MS));
    if (!a.actor.id) {
        judge_failure("a durable spawn", 0, manta_last_error()->status, true);
        return;
    }
    for (uint64_t i = 1 + manta_random() % 4; i > 0; i--) {
        most++;
        manta_sim_note("calls a durable actor");
        manta_status status = manta_get_timeout(SimVault_add(a, 1), &got, CALL_MS);
        if (status) judge_failure("a durable call", 0, status, false);
        else if (got <= total || got > most)
            manta_sim_fail("a durable actor has %" PRIu64 " of %" PRIu64 " to %" PRIu64 " calls", got, total + 1, most);
        else total = got, watch()->steps_done++;
        manta_sleep(manta_random() % 100);
    }
    (void)manta_stop(a.actor);
}

void actors_play(void)
{
    uint64_t choice = manta_random() % 4;
    if (choice == 0) play_vault();
    else play_cell(choice == 1);
}
