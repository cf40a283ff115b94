/*
 * Actors: PENDING --placed--> ALIVE --(its place dies, or restarting)--> RESTARTING --placed--> ALIVE ...; any --> DEAD, which is the end. Each placement has a greater epoch than the one before.
 */
#include <inttypes.h>
#include <stdio.h>

#include "gcs/core/core_internal.h"

/* ---- ends ---- */

static bool actor_died(gcs_run *x, const gcs_actor_row *old, manta_str reason)
{
    gcs_actor_row row = *old;
    row.state = GCS_ACTOR_STATE_DEAD;
    row.reason = reason;
    if (!table_put(x, GCS_TABLE_ACTOR, &row)) return false;
    group_members_left(x, GROUP_BY_ACTOR, row.uid);
    actor_log_forget(x, row.uid);
    return !x->fatal;
}

static bool used_up(gcs_run *x, const gcs_actor_row *old, manta_str reason)
{
    char text[256];
    if (!old->max_restarts) return actor_died(x, old, reason);
    int n = snprintf(
        text, sizeof text, "%.*s; its restarts are used up", (int)(reason.size < 200 ? reason.size : 200), reason.size ? reason.data : "");
    return actor_died(x, old, (manta_str){text, (size_t)n});
}

/* Its place is gone: another one is to be found, if it has a restart left. */
static bool actor_lost(gcs_run *x, const gcs_actor_row *old, manta_str reason)
{
    gcs_actor_row row = *old;
    if (row.max_restarts >= 0 && row.restarts >= (uint64_t)row.max_restarts) return used_up(x, old, reason);
    row.state = GCS_ACTOR_STATE_RESTARTING;
    row.restarts++;
    row.reason = reason;
    return table_put(x, GCS_TABLE_ACTOR, &row);
}

/* Each row leaves the index by what is done to it. */
static void end_all(gcs_run *x, int index, uint64_t number, bool (*end)(gcs_run *, const gcs_actor_row *, manta_str), manta_str reason)
{
    const gcs_actor_row *a;
    while (!x->fatal && (a = table_first_number(x->c, GCS_TABLE_ACTOR, index, number)) && end(x, a, reason)) {}
}

void actors_of_process_died(gcs_run *x, uint64_t process, manta_str reason)
{
    end_all(x, ACTOR_BY_OWNER, process, actor_died, manta_str_of("its owner died"));
    end_all(x, ACTOR_BY_PROCESS, process, actor_lost, reason);
}

void actors_of_node_died(gcs_run *x, uint64_t node, manta_str reason) { end_all(x, ACTOR_BY_NODE, node, actor_lost, reason); }
void actors_of_job_ended(gcs_run *x, uint64_t job, manta_str reason) { end_all(x, ACTOR_BY_JOB, job, actor_died, reason); }

/* ---- registration ---- */

static const gcs_actor_row *find_by_name(const gcs_core *c, manta_str space, manta_str name)
{
    key k;
    key_of_pair(&k, space, name);
    const gcs_actor_row *a = table_first(c, GCS_TABLE_ACTOR, ACTOR_BY_NAME, &k);
    return a && text_equal(a->name, name) ? a : NULL;
}

static void reply_actor(gcs_run *x, bool is_new, const gcs_actor_row *row)
{
    manta_pack_array(x->out, 2);
    manta_pack_bool(x->out, &is_new);
    table_reply(x, GCS_TABLE_ACTOR, row);
}

/* Whether a new actor may be born with this owner and job. */
static bool may_live(gcs_run *x, const gcs_actor_register *f)
{
    if (!f->uid) return gcs_refuse(x, MANTA_EINVAL, "uid is 0");
    if (f->max_restarts < -1) return gcs_refuse(x, MANTA_EINVAL, "max_restarts is %" PRId64 ", at least -1 is allowed", f->max_restarts);
    if (f->detached) return true;
    if (process_is_dead(x->c, f->owner)) return gcs_refuse(x, MANTA_EDEAD, "its owner, process %" PRIu64 ", is dead", f->owner);
    if (job_is_over(x->c, f->job)) return gcs_refuse(x, MANTA_EDEAD, "job %" PRIu64 " is over", f->job);
    return true;
}

void handle_actor_register(gcs_run *x, const gcs_actor_register *f)
{
    const gcs_actor_row *old = table_get_number(x->c, GCS_TABLE_ACTOR, f->uid);
    if (old) {
        reply_actor(x, false, old);
        return;
    }
    old = f->name.size ? find_by_name(x->c, f->space, f->name) : NULL;
    if (old && f->get_if_exists) {
        reply_actor(x, false, old);
        return;
    }
    if (old) {
        gcs_refuse_with(x, old->uid, MANTA_EEXIST, "actor %" PRIu64 " has this name", old->uid);
        return;
    }
    if (!may_live(x, f)) return;
    gcs_actor_row row = {.uid = f->uid,
        .state = GCS_ACTOR_STATE_PENDING,
        .class_name = f->class_name,
        .space = f->space,
        .name = f->name,
        .job = f->job,
        .owner = f->owner,
        .detached = f->detached,
        .max_restarts = f->max_restarts,
        .spec = f->spec};
    if (table_put(x, GCS_TABLE_ACTOR, &row)) reply_actor(x, true, &row);
}

/* ---- what becomes of it ---- */

static const gcs_actor_row *find(gcs_run *x, uint64_t uid)
{
    const gcs_actor_row *a = table_get_number(x->c, GCS_TABLE_ACTOR, uid);
    if (!a) gcs_refuse(x, MANTA_ENOTFOUND, "no actor %" PRIu64, uid);
    return a;
}

static bool epoch_is_old(gcs_run *x, const gcs_actor_row *a, uint64_t epoch)
{
    if (epoch >= a->epoch) return false;
    gcs_refuse_with(x, a->epoch, MANTA_ESTALE, "actor %" PRIu64 " is in epoch %" PRIu64 ", this is %" PRIu64, a->uid, a->epoch, epoch);
    return true;
}

static bool place_is_dead(gcs_run *x, const gcs_actor_row *a, uint64_t node, uint64_t process)
{
    if (process_is_dead(x->c, process)) gcs_refuse_with(x, a->epoch, MANTA_ESTALE, "process %" PRIu64 " is dead", process);
    else if (node_is_dead(x->c, node)) gcs_refuse_with(x, a->epoch, MANTA_ESTALE, "node %" PRIu64 " is dead", node);
    else return false;
    return true;
}

static bool is_there(const gcs_actor_row *a, const gcs_actor_placed *f)
{
    return a->state == GCS_ACTOR_STATE_ALIVE && a->node == f->node && a->process == f->process && a->local == f->local;
}

void handle_actor_placed(gcs_run *x, const gcs_actor_placed *f)
{
    const gcs_actor_row *a = find(x, f->uid);
    if (!a || epoch_is_old(x, a, f->epoch)) return;
    if (a->state == GCS_ACTOR_STATE_DEAD) {
        gcs_refuse(x, MANTA_EDEAD, "actor %" PRIu64 " is dead", f->uid);
        return;
    }
    if (f->epoch == a->epoch && is_there(a, f)) {
        table_reply(x, GCS_TABLE_ACTOR, a);
        return;
    }
    if (f->epoch == a->epoch) {
        gcs_refuse_with(x, a->epoch, MANTA_ESTALE, "actor %" PRIu64 " was in epoch %" PRIu64 " already", f->uid, f->epoch);
        return;
    }
    if (place_is_dead(x, a, f->node, f->process)) return;
    gcs_actor_row row = *a;
    row.state = GCS_ACTOR_STATE_ALIVE;
    row.epoch = f->epoch;
    row.node = f->node;
    row.process = f->process;
    row.local = f->local;
    row.address = f->address;
    if (table_put(x, GCS_TABLE_ACTOR, &row)) table_reply(x, GCS_TABLE_ACTOR, table_get_number(x->c, GCS_TABLE_ACTOR, f->uid));
}

void handle_actor_restarting(gcs_run *x, const gcs_actor_restarting *f)
{
    const gcs_actor_row *a = find(x, f->uid);
    if (!a || epoch_is_old(x, a, f->epoch)) return;
    if (a->state == GCS_ACTOR_STATE_DEAD) {
        gcs_refuse(x, MANTA_EDEAD, "actor %" PRIu64 " is dead", f->uid);
        return;
    }
    if (a->state == GCS_ACTOR_STATE_RESTARTING || actor_lost(x, a, f->reason))
        table_reply(x, GCS_TABLE_ACTOR, table_get_number(x->c, GCS_TABLE_ACTOR, f->uid));
}

void handle_actor_dead(gcs_run *x, const gcs_actor_dead *f)
{
    const gcs_actor_row *a = find(x, f->uid);
    if (!a || epoch_is_old(x, a, f->epoch)) return;
    if (a->state == GCS_ACTOR_STATE_DEAD || actor_died(x, a, f->reason))
        table_reply(x, GCS_TABLE_ACTOR, table_get_number(x->c, GCS_TABLE_ACTOR, f->uid));
}

void handle_actor_get(gcs_run *x, const gcs_actor_get *f) { table_reply_number(x, GCS_TABLE_ACTOR, f->id, "actor"); }

void handle_actor_find(gcs_run *x, const gcs_actor_find *f)
{
    const gcs_actor_row *a = f->name.size ? find_by_name(x->view, f->space, f->name) : NULL;
    if (a) table_reply(x, GCS_TABLE_ACTOR, a);
    else gcs_refuse(x, MANTA_ENOTFOUND, "no actor has this name");
}
