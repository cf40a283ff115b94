/*
 * Tables of rows: each row once, in the order of its key, and found by the indexes that its table has. What a row costs against the budget is fixed numbers and its own bytes, so all servers agree.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "gcs/core/core_internal.h"
#include "scheduler/base/alloc.h"

typedef struct row {
    uint64_t cost;
    uint64_t fields[]; /* the struct of the table; then what its views point to */
} row;

typedef struct row_times { /* how the fields of every row in a table begin */
    uint64_t created, revision;
} row_times;

/* ---- keys of rows, by table ---- */

static void kv_key(const void *fields, key *out)
{
    const gcs_kv_row *f = fields;
    key_of_pair(out, f->space, f->key);
}

static void config_key(const void *fields, key *out) { key_of_text(out, ((const gcs_config_row *)fields)->key); }
static void lock_key(const void *fields, key *out) { key_of_text(out, ((const gcs_lock_row *)fields)->name); }

static bool lock_by_expiry(const void *fields, key *out)
{
    const gcs_lock_row *f = fields;
    key_of_number(out, f->expires_ms);
    key_add(out, f->name);
    return true;
}

static void waiter_key(const void *fields, key *out)
{
    const gcs_waiter_row *f = fields;
    key_of_pair(out, f->name, (manta_str){NULL, 0});
    key_add_number(out, f->ticket);
}

static bool waiter_by_holder(const void *fields, key *out)
{
    const gcs_waiter_row *f = fields;
    key_of_pair(out, f->name, f->holder);
    return true;
}

/* NODE, PROCESS, ACTOR, JOB and PLACEMENT have their id first. */
static void id_key(const void *fields, key *out) { key_of_number(out, ((const gcs_node_row *)fields)->id); }
_Static_assert(offsetof(gcs_node_row, id) == 16 && offsetof(gcs_process_row, id) == 16 && offsetof(gcs_actor_row, uid) == 16, "see id_key");
_Static_assert(offsetof(gcs_job_row, id) == 16 && offsetof(gcs_placement_row, id) == 16, "see id_key");

/* A number, when there is one and the condition holds, and the row's id, which makes it unique. */
static bool number_index(bool is_in, uint64_t number, const void *fields, key *out)
{
    key_of_number(out, number);
    key_add_number(out, ((const gcs_node_row *)fields)->id);
    return is_in && number;
}

static bool process_by_node(const void *fields, key *out)
{
    const gcs_process_row *f = fields;
    return number_index(f->state == GCS_PROCESS_STATE_ALIVE, f->node, fields, out);
}

static bool process_gone(const void *fields, key *out)
{
    const gcs_process_row *f = fields;
    return number_index(f->state == GCS_PROCESS_STATE_DEAD, f->revision, fields, out);
}

static bool actor_by_name(const void *fields, key *out)
{
    const gcs_actor_row *f = fields;
    key_of_pair(out, f->space, f->name);
    return f->name.size && f->state != GCS_ACTOR_STATE_DEAD;
}

static bool actor_by_process(const void *fields, key *out)
{
    const gcs_actor_row *f = fields;
    return number_index(f->state == GCS_ACTOR_STATE_ALIVE, f->process, fields, out);
}

static bool actor_by_node(const void *fields, key *out)
{
    const gcs_actor_row *f = fields;
    return number_index(f->state == GCS_ACTOR_STATE_ALIVE, f->node, fields, out);
}

static bool actor_by_owner(const void *fields, key *out)
{
    const gcs_actor_row *f = fields;
    bool is_owned = f->state == GCS_ACTOR_STATE_PENDING || (!f->detached && !f->job);
    return number_index(f->state != GCS_ACTOR_STATE_DEAD && is_owned, f->owner, fields, out);
}

static bool actor_by_job(const void *fields, key *out)
{
    const gcs_actor_row *f = fields;
    return number_index(f->state != GCS_ACTOR_STATE_DEAD && !f->detached, f->job, fields, out);
}

static bool actor_gone(const void *fields, key *out)
{
    const gcs_actor_row *f = fields;
    return number_index(f->state == GCS_ACTOR_STATE_DEAD, f->revision, fields, out);
}

static void group_key(const void *fields, key *out)
{
    const gcs_group_row *f = fields;
    key_of_pair(out, f->name, (manta_str){NULL, 0});
    key_add_number(out, f->actor);
    key_add_number(out, f->process);
    key_add_number(out, f->local);
}

static bool group_index(uint64_t number, const void *fields, key *out)
{
    const gcs_group_row *f = fields;
    key_of_number(out, number);
    key_add_number(out, f->actor);
    key_add_number(out, f->process);
    key_add_number(out, f->local);
    key_add(out, f->name);
    return number;
}

static bool group_by_process(const void *fields, key *out) { return group_index(((const gcs_group_row *)fields)->process, fields, out); }
static bool group_by_node(const void *fields, key *out) { return group_index(((const gcs_group_row *)fields)->node, fields, out); }
static bool group_by_actor(const void *fields, key *out) { return group_index(((const gcs_group_row *)fields)->actor, fields, out); }

static bool job_by_driver(const void *fields, key *out)
{
    const gcs_job_row *f = fields;
    return number_index(f->state == GCS_JOB_STATE_RUNNING, f->driver, fields, out);
}

static bool job_by_node(const void *fields, key *out)
{
    const gcs_job_row *f = fields;
    return number_index(f->state == GCS_JOB_STATE_RUNNING, f->node, fields, out);
}

static bool job_gone(const void *fields, key *out)
{
    const gcs_job_row *f = fields;
    return number_index(f->state != GCS_JOB_STATE_RUNNING, f->revision, fields, out);
}

static bool placement_by_job(const void *fields, key *out)
{
    return number_index(true, ((const gcs_placement_row *)fields)->job, fields, out);
}

static bool placement_by_process(const void *fields, key *out)
{
    return number_index(true, ((const gcs_placement_row *)fields)->process, fields, out);
}

const table_kind table_kinds[GCS_TABLE_END] = {
    [GCS_TABLE_KV] = {.key = kv_key, .has_values = true},
    [GCS_TABLE_LOCK] = {.key = lock_key, .index = {lock_by_expiry}},
    [GCS_TABLE_WAITER] = {.key = waiter_key, .index = {waiter_by_holder}},
    [GCS_TABLE_NODE] = {.key = id_key},
    [GCS_TABLE_PROCESS] = {.key = id_key, .index = {process_by_node, process_gone}, .evicts = 1 + PROCESS_GONE},
    [GCS_TABLE_ACTOR] = {.key = id_key,
        .index = {actor_by_name, actor_by_process, actor_by_node, actor_by_owner, actor_by_job, actor_gone},
        .evicts = 1 + ACTOR_GONE},
    [GCS_TABLE_GROUP] = {.key = group_key, .index = {group_by_process, group_by_node, group_by_actor}},
    [GCS_TABLE_JOB] = {.key = id_key, .index = {job_by_driver, job_gone, job_by_node}, .evicts = 1 + JOB_GONE},
    [GCS_TABLE_PLACEMENT] = {.key = id_key, .index = {placement_by_job, placement_by_process}, .has_values = true},
    [GCS_TABLE_CONFIG] = {.key = config_key, .has_values = true},
};

/* ---- rows ---- */

const void *row_fields(const ordered_node *n) { return n ? ((const row *)n->value)->fields : NULL; }

static uint64_t cost_of(gcs_table t, const void *fields, const key *k)
{
    return ROW_COST + k->size + gcs_variable_bytes(gcs_row_schema(t), fields);
}

static row *row_new(gcs_table t, const void *fields, uint64_t cost)
{
    const gcs_schema *s = gcs_row_schema(t);
    row *r = base_alloc(sizeof *r + s->size + gcs_variable_bytes(s, fields));
    if (!r) return NULL;
    r->cost = cost;
    gcs_copy_fields(s, r->fields, fields, (unsigned char *)r->fields + s->size);
    return r;
}

/* The row goes into the indexes that it now belongs to, and out of those where `old` (may be NULL) was and it is not. */
static bool index_row(gcs_core *c, gcs_table t, const row *old, row *new)
{
    for (int i = 0; i < INDEXES && table_kinds[t].index[i]; i++) {
        key before, after;
        bool was_in = old && table_kinds[t].index[i](old->fields, &before), is_in = new &&table_kinds[t].index[i](new->fields, &after);
        ordered_map *m = &c->tables[t].index[i];
        if (was_in && is_in && before.size == after.size && memcmp(before.bytes, after.bytes, after.size) == 0) {
            ordered_get(m, after.bytes, after.size)->value = new;
            continue;
        }
        if (was_in) ordered_remove(m, before.bytes, before.size);
        if (is_in && !ordered_put(m, after.bytes, after.size, new)) return false;
    }
    return true;
}

static void emit(gcs_run *x, gcs_table t, const key *k, const void *fields)
{
    if (!x->watch) return;
    manta_writer *w = &x->c->scratch;
    manta_writer_reset(w);
    if (fields) gcs_pack(w, gcs_row_schema(t), fields);
    if (w->status) {
        gcs_out_of_memory(x);
        return;
    }
    gcs_event e = {
        .revision = x->c->revision, .table = t, .is_gone = !fields, .key = {k->bytes, k->size}, .value = {w->start, manta_writer_size(w)}};
    x->watch(x->context, &e);
}

/* ---- reading ---- */

const void *table_get(const gcs_core *c, gcs_table t, const key *k)
{
    return row_fields(ordered_get(&c->tables[t].rows, k->bytes, k->size));
}

const void *table_get_number(const gcs_core *c, gcs_table t, uint64_t id)
{
    unsigned char bytes[8];
    manta_store_be64(bytes, id);
    return row_fields(ordered_get(&c->tables[t].rows, bytes, sizeof bytes));
}

static const void *first_with(const gcs_core *c, gcs_table t, int index, const void *prefix, size_t size)
{
    ordered_node *n = ordered_seek(&c->tables[t].index[index], prefix, size);
    return ordered_has_prefix(n, prefix, size) ? row_fields(n) : NULL;
}

const void *table_first(const gcs_core *c, gcs_table t, int index, const key *prefix)
{
    return first_with(c, t, index, prefix->bytes, prefix->size);
}
const void *table_first_of_all(const gcs_core *c, gcs_table t, int index) { return row_fields(c->tables[t].index[index].first[0]); }

const void *table_first_number(const gcs_core *c, gcs_table t, int index, uint64_t number)
{
    unsigned char bytes[8];
    manta_store_be64(bytes, number);
    return first_with(c, t, index, bytes, sizeof bytes);
}

void table_reply(gcs_run *x, gcs_table t, const void *fields) { gcs_pack(x->out, gcs_row_schema(t), fields); }

void table_reply_key(gcs_run *x, gcs_table t, const key *k, const char *what)
{
    const void *fields = table_get(x->view, t, k);
    if (fields) table_reply(x, t, fields);
    else gcs_refuse(x, MANTA_ENOTFOUND, "no such %s", what);
}

void table_reply_number(gcs_run *x, gcs_table t, uint64_t id, const char *what)
{
    const void *fields = table_get_number(x->view, t, id);
    if (fields) table_reply(x, t, fields);
    else gcs_refuse(x, MANTA_ENOTFOUND, "no %s %" PRIu64, what, id);
}

/* ---- writing ---- */

/* Lets the oldest of those go that may. False: none may. */
static bool evict(gcs_run *x, gcs_table t)
{
    int evicts = table_kinds[t].evicts;
    const void *fields = evicts ? table_first_of_all(x->c, t, evicts - 1) : NULL;
    if (!fields) return false;
    x->c->tables[t].usage.dropped++;
    return table_remove(x, t, fields);
}

/* Whether the table may grow by this much for a new row, which may push others out, or for a longer value. What becomes of a row otherwise is never refused: a death must find room. */
static bool make_room(gcs_run *x, gcs_table t, uint64_t more, bool is_new)
{
    gcs_usage *u = &x->c->tables[t].usage;
    uint64_t limit = gcs_core_usage(x->c, t).limit_bytes;
    if (!is_new && !table_kinds[t].has_values) return true;
    while (u->bytes + more > limit) {
        if (is_new && more <= limit && evict(x, t)) continue;
        if (x->fatal) return false;
        u->refused++;
        return gcs_refuse(x, MANTA_ELIMIT,
            "table %s is full: %" PRIu64 " bytes in %" PRIu64 " rows, this needs %" PRIu64 " more, the limit is %" PRIu64,
            gcs_table_name(t), u->bytes, u->items, more, limit);
    }
    return true;
}

/* Puts the new row in the place of the old one (NULL: there is none). */
static bool replace(gcs_core *c, gcs_table t, const key *k, row *old, row *new)
{
    gcs_usage *u = &c->tables[t].usage;
    ordered_map *rows = &c->tables[t].rows;
    if (old) ordered_get(rows, k->bytes, k->size)->value = new;
    else if (!ordered_put(rows, k->bytes, k->size, new)) {
        base_free(new);
        return false;
    }
    u->items += !old;
    u->bytes += new->cost - (old ? old->cost : 0);
    bool ok = index_row(c, t, old, new);
    base_free(old);
    return ok;
}

bool table_put(gcs_run *x, gcs_table t, void *fields)
{
    key k;
    table_kinds[t].key(fields, &k);
    ordered_node *n = ordered_get(&x->c->tables[t].rows, k.bytes, k.size);
    row *old = n ? n->value : NULL;
    row_times *times = fields;
    uint64_t cost = cost_of(t, fields, &k), before = old ? old->cost : 0;
    if (cost > before && !make_room(x, t, cost - before, !old)) return false;
    times->revision = x->c->revision;
    times->created = old ? ((const row_times *)old->fields)->created : times->revision;
    row *new = row_new(t, fields, cost);
    if (!new || !replace(x->c, t, &k, old, new)) return gcs_out_of_memory(x);
    emit(x, t, &k, new->fields);
    return !x->fatal;
}

bool table_remove(gcs_run *x, gcs_table t, const void *fields)
{
    key k;
    table_kinds[t].key(fields, &k);
    row *old = ordered_get(&x->c->tables[t].rows, k.bytes, k.size)->value;
    index_row(x->c, t, old, NULL);
    ordered_remove(&x->c->tables[t].rows, k.bytes, k.size);
    x->c->tables[t].usage.items--;
    x->c->tables[t].usage.bytes -= old->cost;
    base_free(old);
    emit(x, t, &k, NULL);
    return !x->fatal;
}

bool table_excludes(const gcs_core *c, gcs_table t, const void *fields)
{
    for (int i = 0; i < INDEXES && table_kinds[t].index[i]; i++) {
        key k;
        if (table_kinds[t].index[i](fields, &k) && ordered_get(&c->tables[t].index[i], k.bytes, k.size)) return true;
    }
    return false;
}

bool table_load(gcs_core *c, gcs_table t, const void *fields)
{
    key k;
    table_kinds[t].key(fields, &k);
    row *new = row_new(t, fields, cost_of(t, fields, &k));
    return new &&replace(c, t, &k, NULL, new);
}

void table_fini(gcs_core *c, gcs_table t)
{
    table_state *s = &c->tables[t];
    for (ordered_node *n = s->rows.first[0]; n; n = n->next[0]) base_free(n->value);
    ordered_fini(&s->rows);
    for (int i = 0; i < INDEXES; i++) ordered_fini(&s->index[i]);
    s->usage = (gcs_usage){0};
}
