/*
 * Placement groups: their rows in the control store, and what a change of them does on each daemon.
 */
#include <stdio.h>
#include <string.h>

#include "actor/node/control.h"
#include "actor/node/gcs_watch.h"
#include "actor/node/node.h"
#include "actor/node/placement.h"

/* ---- writing ---- */

static void pack_bundles(manta_writer *w, const group_entry *g)
{
    size_t room = (size_t)g->count * RESOURCES_TEXT + 1, n = 0;
    char *text = base_alloc(room);
    for (uint32_t i = 0; text && i < g->count; i++) {
        if (i) text[n++] = ';';
        n += resources_format(&g->bundles[i], text + n, room - n);
    }
    if (text) manta_pack_manta_str(w, &(manta_str){text, n});
    else w->status = MANTA_ENOMEM;
    base_free(text);
}

static void pack_assignment(manta_writer *w, const uint64_t *at, uint32_t count)
{
    manta_pack_array(w, count);
    for (uint32_t i = 0; i < count; i++) manta_pack_uint64_t(w, &at[i]);
}

static manta_bytes bytes_of(const manta_writer *w) { return (manta_bytes){w->start, manta_writer_size(w)}; }

static uint64_t revision_in(const gcs_reply *reply)
{
    uint64_t revision = 0;
    manta_reader r = gcs_reply_reader(reply);
    manta_unpack_uint64_t(&r, &revision);
    return r.status ? 0 : revision;
}

manta_status placement_put(group_entry *g, group_state state, const uint64_t *at)
{
    manta_writer w, bundles, assignment;
    gcs_reply reply;
    manta_writer_init_growing(&w);
    manta_writer_init_growing(&bundles);
    manta_writer_init_growing(&assignment);
    pack_bundles(&bundles, g);
    pack_assignment(&assignment, at, g->count);
    gcs_write_placement_put(&w, NULL,
        &(gcs_placement_put){.id = g->id,
            .job = g->job,
            .process = g->process,
            .name = manta_str_of(g->name),
            .strategy = manta_str_of(placement_strategy_names[g->strategy]),
            .state = state,
            .bundles = bytes_of(&bundles),
            .assignment = bytes_of(&assignment),
            .if_revision = g->revision});
    if (bundles.status || assignment.status) w.status = MANTA_ENOMEM;
    manta_status status = control_call("a placement group", false, &w, GCS_TIMEOUT_MS, &reply);
    manta_writer_fini(&bundles);
    manta_writer_fini(&assignment);
    if (status) return status;
    g->revision = revision_in(&reply);
    if (!g->created) g->created = g->revision;
    g->stored = state;
    return MANTA_OK;
}

manta_status placement_delete(uint64_t id)
{
    manta_writer w;
    gcs_reply reply;
    manta_writer_init_growing(&w);
    gcs_write_placement_remove(&w, NULL, &(gcs_placement_remove){id});
    return control_call("a placement group", false, &w, GCS_TIMEOUT_MS, &reply);
}

/* ---- reading ---- */

bool placement_is_node_dead(uint64_t node)
{
    manta_writer w;
    gcs_reply reply;
    gcs_node_row row = {0};
    manta_writer_init_growing(&w);
    gcs_write_node_get(&w, NULL, &(gcs_node_get){node});
    manta_status status = control_call("a node", true, &w, GCS_TIMEOUT_MS, &reply);
    if (status) return status == MANTA_ENOTFOUND;
    manta_reader r = gcs_reply_reader(&reply);
    gcs_read_node_row(&r, &row);
    return !r.status && row.state == GCS_NODE_STATE_DEAD;
}

static uint32_t assigned(const gcs_placement_row *row, manta_reader *out)
{
    uint32_t n = 0;
    manta_reader_init(out, row->assignment.data, row->assignment.size);
    manta_unpack_array(out, &n);
    return out->status || n > MANTA_BUNDLES_LIMIT ? 0 : n;
}

static int32_t strategy_of(manta_str name)
{
    for (int32_t i = 0; i < BUNDLE_STRATEGIES; i++)
        if (name.size == strlen(placement_strategy_names[i]) && memcmp(name.data, placement_strategy_names[i], name.size) == 0) return i;
    return 0;
}

static group_state state_of(const gcs_placement_row *row) { return row->state < GROUP_NEW ? (group_state)row->state : GROUP_PENDING; }

static group_entry *group_of_row(struct placements *p, const gcs_placement_row *row, uint32_t count)
{
    group_entry *g = id_table_get(&p->by_id, row->id);
    if (g && g->count == count) return g;
    if (g || !count) return NULL; /* nobody writes such */
    if (!(g = placement_group_new(row->id, count, false))) return NULL;
    g->job = row->job;
    g->process = row->process;
    g->created = row->created;
    g->strategy = (bundle_strategy)strategy_of(row->strategy);
    snprintf(g->name, sizeof g->name, "%.*s", (int)row->name.size, row->name.size ? row->name.data : "");
    if (id_table_put(&p->by_id, g->id, g)) return placement_insert(p, g), g;
    placement_release(p, g);
    return NULL;
}

/* The entry that has what the row says; its keeper knows better. */
static group_entry *take_row(struct placements *p, const gcs_placement_row *row)
{
    manta_reader r;
    uint32_t count = assigned(row, &r);
    group_entry *g = group_of_row(p, row, count);
    if (!g || g->is_removed || g->is_kept || row->revision < g->revision) return g;
    for (uint32_t i = 0; i < count; i++) manta_unpack_uint64_t(&r, &g->at[i]);
    g->revision = row->revision;
    g->state = g->stored = state_of(row);
    placement_wake(g);
    return g;
}

manta_status placement_learn(struct placements *p, uint64_t id, group_entry **out)
{
    manta_writer w;
    gcs_reply reply;
    gcs_placement_row row = {0};
    manta_writer_init_growing(&w);
    gcs_write_placement_get(&w, NULL, &(gcs_placement_get){id});
    manta_status status = control_call("a placement group", true, &w, GCS_TIMEOUT_MS, &reply);
    if (status) return status;
    manta_reader r = gcs_reply_reader(&reply);
    gcs_read_placement_row(&r, &row);
    if (r.status) return error_set(MANTA_EDECODE, "a placement group: a malformed answer");
    group_entry *g = *out = take_row(p, &row);
    if (g && g->is_kept) {
        g->revision = row.revision;
        g->stored = state_of(&row);
    }
    return MANTA_OK;
}

/* ---- changes ---- */

static manta_actor watching;

static void tell_leases(struct placements *p, uint64_t id, int step, manta_str text)
{
    node_view *own = placement_node(p, the_node.process);
    if (own) (void)MantaLeases_reserve_send(MantaLeases_ref_of(own->leases), id, 0, step, text);
}

/* The row says that these bundles are here. */
static void confirm(struct placements *p, const gcs_placement_row *row)
{
    manta_reader r;
    uint32_t count = assigned(row, &r);
    size_t n = 0, room = (size_t)count * 8 + 1;
    char *text = manta_alloc(room);
    for (uint32_t i = 0; text && i < count; i++) {
        uint64_t node = 0;
        manta_unpack_uint64_t(&r, &node);
        if (node == the_node.process) n += (size_t)snprintf(text + n, room - n, "%s%u:", n ? ";" : "", i);
    }
    if (n) tell_leases(p, row->id, RESERVE_CONFIRM, (manta_str){text, n});
}

MANTA_METHOD_DEFINE(MantaPlacements, changed, void, (uint64_t, id), (bool, is_gone), (manta_bytes, value))
{
    struct placements *p = self->p;
    gcs_placement_row row = {0};
    manta_reader r;
    if (is_gone) {
        group_entry *g = id_table_get(&p->by_id, id);
        tell_leases(p, id, RESERVE_REMOVE, (manta_str){NULL, 0});
        if (!g) return;
        if (!g->is_removed && g->is_kept) placement_remove_bundles(p, g, false); /* a commit may have come late */
        placement_mark_removed(p, g);
        (void)id_table_remove(&p->by_id, id);
        placement_release(p, g);
        return;
    }
    manta_reader_init(&r, value.data, value.size);
    gcs_read_placement_row(&r, &row);
    group_entry *g = r.status ? NULL : take_row(p, &row);
    if (g && !g->is_removed && row.state == GROUP_READY) confirm(p, &row);
}

static void tell_change(void *context, const gcs_event *e)
{
    (void)context;
    if (e && e->key.size == 8)
        (void)MantaPlacements_changed_send(MantaPlacements_ref_of(watching), manta_load_be64(e->key.data), e->is_gone, e->value);
}

manta_status placements_watch(manta_actor placements)
{
    watching = placements;
    return gcs_watch_start(GCS_TABLE_PLACEMENT, NULL, 0, tell_change, NULL, (manta_actor){0});
}
