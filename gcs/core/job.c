/* Jobs and placement groups. */
#include <inttypes.h>

#include "gcs/core/core_internal.h"

bool job_is_over(const gcs_core *c, uint64_t job)
{
    const gcs_job_row *j = job ? table_get_number(c, GCS_TABLE_JOB, job) : NULL;
    return j && j->state != GCS_JOB_STATE_RUNNING;
}

static bool job_ended(gcs_run *x, const gcs_job_row *old, uint64_t state, manta_str reason)
{
    gcs_job_row row = *old;
    uint64_t id = old->id;
    row.state = state;
    row.reason = reason;
    if (!table_put(x, GCS_TABLE_JOB, &row)) return false;
    actors_of_job_ended(x, id, manta_str_of("its job is over"));
    placements_left(x, PLACEMENT_BY_JOB, id);
    lineage_job_ended(x->c, id, state == GCS_JOB_STATE_FAILED);
    return !x->fatal;
}

static void fail_all(gcs_run *x, int index, uint64_t number, manta_str reason)
{
    const gcs_job_row *j;
    while (!x->fatal && (j = table_first_number(x->c, GCS_TABLE_JOB, index, number)) && job_ended(x, j, GCS_JOB_STATE_FAILED, reason)) {}
}

void jobs_of_driver_failed(gcs_run *x, uint64_t process, manta_str reason) { fail_all(x, JOB_BY_DRIVER, process, reason); }
void jobs_of_node_failed(gcs_run *x, uint64_t node, manta_str reason) { fail_all(x, JOB_BY_NODE, node, reason); }

void handle_job_start(gcs_run *x, const gcs_job_start *f)
{
    const gcs_job_row *old = table_get_number(x->c, GCS_TABLE_JOB, f->id);
    gcs_job_row row = {
        .id = f->id, .name = f->name, .space = f->space, .driver = f->driver, .node = f->node, .state = GCS_JOB_STATE_RUNNING};
    if (!f->id) gcs_refuse(x, MANTA_EINVAL, "id is 0");
    else if (old) table_reply(x, GCS_TABLE_JOB, old);
    else if (process_is_dead(x->c, f->driver)) gcs_refuse(x, MANTA_EDEAD, "its driver, process %" PRIu64 ", is dead", f->driver);
    else if (node_is_dead(x->c, f->node)) gcs_refuse(x, MANTA_EDEAD, "its driver's node %" PRIu64 " is dead", f->node);
    else if (table_put(x, GCS_TABLE_JOB, &row)) table_reply(x, GCS_TABLE_JOB, &row);
}

void handle_job_end(gcs_run *x, const gcs_job_end *f)
{
    const gcs_job_row *j = table_get_number(x->c, GCS_TABLE_JOB, f->id);
    if (!j) gcs_refuse(x, MANTA_ENOTFOUND, "no job %" PRIu64, f->id);
    else if (f->state <= GCS_JOB_STATE_RUNNING || f->state > GCS_JOB_STATE_STOPPED)
        gcs_refuse(x, MANTA_EINVAL, "state %" PRIu64 " is not the end of a job", f->state);
    else if (j->state != GCS_JOB_STATE_RUNNING || job_ended(x, j, f->state, f->reason))
        table_reply(x, GCS_TABLE_JOB, table_get_number(x->c, GCS_TABLE_JOB, f->id));
}

void handle_job_get(gcs_run *x, const gcs_job_get *f) { table_reply_number(x, GCS_TABLE_JOB, f->id, "job"); }

/* ---- placement groups ---- */

void placements_left(gcs_run *x, int index, uint64_t id)
{
    const gcs_placement_row *p;
    while (!x->fatal && (p = table_first_number(x->c, GCS_TABLE_PLACEMENT, index, id)) && table_remove(x, GCS_TABLE_PLACEMENT, p)) {}
}

void handle_placement_put(gcs_run *x, const gcs_placement_put *f)
{
    const gcs_placement_row *old = table_get_number(x->c, GCS_TABLE_PLACEMENT, f->id);
    uint64_t revision = old ? old->revision : 0;
    gcs_placement_row row = {.id = f->id,
        .job = f->job,
        .process = f->process,
        .name = f->name,
        .strategy = f->strategy,
        .state = f->state,
        .bundles = f->bundles,
        .assignment = f->assignment};
    if (!f->id) gcs_refuse(x, MANTA_EINVAL, "id is 0");
    else if (f->if_revision && f->if_revision != revision)
        gcs_refuse_with(x, revision, MANTA_ESTALE, "has revision %" PRIu64 ", not %" PRIu64, revision, f->if_revision);
    else if (job_is_over(x->c, f->job)) gcs_refuse(x, MANTA_EDEAD, "job %" PRIu64 " is over", f->job);
    else if (process_is_dead(x->c, f->process)) gcs_refuse(x, MANTA_EDEAD, "process %" PRIu64 " is dead", f->process);
    else if (table_put(x, GCS_TABLE_PLACEMENT, &row)) gcs_pack_number(x, row.revision);
}

void handle_placement_remove(gcs_run *x, const gcs_placement_remove *f)
{
    const gcs_placement_row *row = table_get_number(x->c, GCS_TABLE_PLACEMENT, f->id);
    if (row) table_remove(x, GCS_TABLE_PLACEMENT, row);
    else gcs_refuse(x, MANTA_ENOTFOUND, "no placement group %" PRIu64, f->id);
}

void handle_placement_get(gcs_run *x, const gcs_placement_get *f) { table_reply_number(x, GCS_TABLE_PLACEMENT, f->id, "placement group"); }
