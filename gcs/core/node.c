/*
 * Nodes and processes, and what dies with them. A dead one keeps its row, which refuses whatever comes late from it: node rows for ever, process rows until the table is full of newer ones.
 * The order of a death is fixed: the row itself; jobs it drives; actors it owns; actors placed on it; its group members; its placement groups. So a watcher sees the cause before the consequences.
 */
#include <inttypes.h>

#include "gcs/core/core_internal.h"

static bool has_id(gcs_run *x, uint64_t id) { return id || gcs_refuse(x, MANTA_EINVAL, "id is 0"); }

bool node_is_dead(const gcs_core *c, uint64_t node)
{
    const gcs_node_row *n = node ? table_get_number(c, GCS_TABLE_NODE, node) : NULL;
    return n && n->state == GCS_NODE_STATE_DEAD;
}

bool process_is_dead(const gcs_core *c, uint64_t process)
{
    const gcs_process_row *p = process ? table_get_number(c, GCS_TABLE_PROCESS, process) : NULL;
    return p && p->state == GCS_PROCESS_STATE_DEAD;
}

/* ---- processes ---- */

/* What follows when a process whose row says DEAD is gone. */
static void process_consequences(gcs_run *x, uint64_t process, manta_str reason)
{
    jobs_of_driver_failed(x, process, reason);
    actors_of_process_died(x, process, reason);
    group_members_left(x, GROUP_BY_PROCESS, process);
    placements_left(x, PLACEMENT_BY_PROCESS, process);
}

void process_died(gcs_run *x, uint64_t process, uint64_t node, manta_str reason)
{
    const gcs_process_row *old = table_get_number(x->c, GCS_TABLE_PROCESS, process);
    gcs_process_row row = old ? *old : (gcs_process_row){.id = process, .node = node};
    row.state = GCS_PROCESS_STATE_DEAD;
    row.reason = reason;
    if (table_put(x, GCS_TABLE_PROCESS, &row)) process_consequences(x, process, reason);
}

void handle_process_start(gcs_run *x, const gcs_process_start *f)
{
    if (!has_id(x, f->id)) return;
    if (process_is_dead(x->c, f->id)) {
        gcs_refuse(x, MANTA_ESTALE, "process %" PRIu64 " is dead", f->id);
        return;
    }
    if (node_is_dead(x->c, f->node)) {
        gcs_refuse(x, MANTA_ESTALE, "node %" PRIu64 " is dead", f->node);
        return;
    }
    gcs_process_row row = {
        .id = f->id, .node = f->node, .state = GCS_PROCESS_STATE_ALIVE, .address = f->address, .pid = f->pid, .role = f->role};
    if (table_put(x, GCS_TABLE_PROCESS, &row)) table_reply(x, GCS_TABLE_PROCESS, &row);
}

void handle_process_dead(gcs_run *x, const gcs_process_dead *f)
{
    if (has_id(x, f->id) && !process_is_dead(x->c, f->id)) process_died(x, f->id, 0, f->reason);
}

void handle_process_get(gcs_run *x, const gcs_process_get *f) { table_reply_number(x, GCS_TABLE_PROCESS, f->id, "process"); }

/* ---- nodes ---- */

static void node_died(gcs_run *x, const gcs_node_row *node, manta_str reason)
{
    uint64_t id = node->id;
    const gcs_process_row *p;
    gcs_node_row row = *node;
    row.state = GCS_NODE_STATE_DEAD;
    row.reason = reason;
    table_put(x, GCS_TABLE_NODE, &row);
    while (!x->fatal && (p = table_first_number(x->c, GCS_TABLE_PROCESS, PROCESS_BY_NODE, id))) process_died(x, p->id, id, reason);
    jobs_of_node_failed(x, id, reason);
    actors_of_node_died(x, id, reason);
    group_members_left(x, GROUP_BY_NODE, id);
}

/* The node, if it is this incarnation and may still say something. */
static const gcs_node_row *living(gcs_run *x, uint64_t id, uint64_t epoch)
{
    const gcs_node_row *n = table_get_number(x->c, GCS_TABLE_NODE, id);
    if (!n) gcs_refuse(x, MANTA_ENOTFOUND, "no node %" PRIu64, id);
    else if (n->epoch != epoch)
        gcs_refuse_with(x, n->epoch, MANTA_ESTALE, "node %" PRIu64 " has epoch %" PRIu64 ", not %" PRIu64, id, n->epoch, epoch);
    else if (n->state == GCS_NODE_STATE_DEAD)
        gcs_refuse_with(x, n->epoch, MANTA_ESTALE, "node %" PRIu64 " is dead in epoch %" PRIu64, id, epoch);
    else return n;
    return NULL;
}

void handle_node_join(gcs_run *x, const gcs_node_join *f)
{
    gcs_node_row row = {.id = f->id,
        .epoch = f->epoch,
        .state = GCS_NODE_STATE_ALIVE,
        .address = f->address,
        .host = f->host,
        .pid = f->pid,
        .cores = f->cores,
        .memory = f->memory,
        .resources = f->resources,
        .labels = f->labels};
    if (!has_id(x, f->id)) return;
    const gcs_node_row *old = table_get_number(x->c, GCS_TABLE_NODE, f->id);
    if (old && (f->epoch < old->epoch || (f->epoch == old->epoch && old->state == GCS_NODE_STATE_DEAD))) {
        gcs_refuse_with(x, old->epoch, MANTA_ESTALE, "node %" PRIu64 " is %s epoch %" PRIu64 ", this is %" PRIu64, f->id,
            old->state == GCS_NODE_STATE_DEAD ? "dead up to" : "in", old->epoch, f->epoch);
        return;
    }
    if (old && f->epoch == old->epoch) {
        row.state = old->state;
        row.reason = old->reason;
    } else if (old && old->state != GCS_NODE_STATE_DEAD) node_died(x, old, manta_str_of("a newer incarnation joined"));
    if (!x->fatal && table_put(x, GCS_TABLE_NODE, &row)) table_reply(x, GCS_TABLE_NODE, table_get_number(x->c, GCS_TABLE_NODE, f->id));
}

void handle_node_update(gcs_run *x, const gcs_node_update *f)
{
    const gcs_node_row *old = living(x, f->id, f->epoch);
    if (!old) return;
    gcs_node_row row = *old;
    row.cores = f->cores;
    row.memory = f->memory;
    row.resources = f->resources;
    row.labels = f->labels;
    table_put(x, GCS_TABLE_NODE, &row);
}

void handle_node_drain(gcs_run *x, const gcs_node_drain *f)
{
    const gcs_node_row *old = living(x, f->id, f->epoch);
    if (!old) return;
    gcs_node_row row = *old;
    row.state = GCS_NODE_STATE_DRAINING;
    row.reason = f->reason;
    table_put(x, GCS_TABLE_NODE, &row);
}

void handle_node_dead(gcs_run *x, const gcs_node_dead *f)
{
    const gcs_node_row *n = table_get_number(x->c, GCS_TABLE_NODE, f->id);
    if (n && n->epoch == f->epoch && n->state == GCS_NODE_STATE_DEAD) return;
    n = living(x, f->id, f->epoch);
    if (n) node_died(x, n, f->reason);
}

void handle_node_get(gcs_run *x, const gcs_node_get *f) { table_reply_number(x, GCS_TABLE_NODE, f->id, "node"); }
