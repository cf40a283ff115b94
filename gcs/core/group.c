/* Groups: who is in which. A group is there while it has members. */
#include <inttypes.h>

#include "gcs/core/core_internal.h"

static const gcs_group_row *find(const gcs_core *c, manta_str name, uint64_t actor, uint64_t process, uint64_t local)
{
    key k;
    gcs_group_row row = {.name = name, .actor = actor, .process = process, .local = local};
    table_kinds[GCS_TABLE_GROUP].key(&row, &k);
    return table_get(c, GCS_TABLE_GROUP, &k);
}

static bool actor_is_dead(const gcs_core *c, uint64_t uid)
{
    const gcs_actor_row *a = uid ? table_get_number(c, GCS_TABLE_ACTOR, uid) : NULL;
    return a && a->state == GCS_ACTOR_STATE_DEAD;
}

void handle_group_join(gcs_run *x, const gcs_group_join *f)
{
    gcs_group_row row = {.name = f->name, .actor = f->actor, .process = f->process, .local = f->local, .node = f->node};
    if (!f->actor && !f->process) gcs_refuse(x, MANTA_EINVAL, "neither actor nor process is given");
    else if (process_is_dead(x->c, f->process)) gcs_refuse(x, MANTA_ESTALE, "process %" PRIu64 " is dead", f->process);
    else if (node_is_dead(x->c, f->node)) gcs_refuse(x, MANTA_ESTALE, "node %" PRIu64 " is dead", f->node);
    else if (actor_is_dead(x->c, f->actor)) gcs_refuse(x, MANTA_ESTALE, "actor %" PRIu64 " is dead", f->actor);
    else if (!find(x->c, f->name, f->actor, f->process, f->local)) table_put(x, GCS_TABLE_GROUP, &row);
}

void handle_group_leave(gcs_run *x, const gcs_group_leave *f)
{
    const gcs_group_row *row = find(x->c, f->name, f->actor, f->process, f->local);
    if (row) table_remove(x, GCS_TABLE_GROUP, row);
}

void group_members_left(gcs_run *x, int index, uint64_t id)
{
    const gcs_group_row *row;
    while (!x->fatal && (row = table_first_number(x->c, GCS_TABLE_GROUP, index, id)) && table_remove(x, GCS_TABLE_GROUP, row)) {}
}
