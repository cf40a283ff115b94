/*
 * Lineage: how objects were made, by object id. The busiest table: a hash of its own (open addressing, removal moves followers back), and per job two lists by age: records, and ids of records that were dropped
 * for the budget. A job's budget counts both; ids may take an eighth of it, and then the oldest id is forgotten.
 */
#include <inttypes.h>
#include <string.h>

#include "gcs/core/core_internal.h"
#include "scheduler/base/alloc.h"
#include "scheduler/base/rng.h"

enum { RECORD_COST = 96, SLOTS_MIN = 1024 };

struct lineage_record {
    uint64_t high, low;
    lineage_job *job;
    lineage_record *older, *newer;
    uint32_t size;
    bool is_gone; /* only the id is left */
    unsigned char spec[];
};

/* ---- the hash ---- */

static size_t home_of(const lineage *l, uint64_t high, uint64_t low)
{
    return (size_t)rng_mix(high * UINT64_C(0x9e3779b97f4a7c15) + low) & l->mask;
}

/* The slot of the id, or the empty one where it would be. */
static size_t slot_of(const lineage *l, uint64_t high, uint64_t low)
{
    size_t i = home_of(l, high, low);
    while (l->slots[i] && (l->slots[i]->low != low || l->slots[i]->high != high)) i = (i + 1) & l->mask;
    return i;
}

static lineage_record *find(const lineage *l, uint64_t high, uint64_t low) { return l->slots ? l->slots[slot_of(l, high, low)] : NULL; }

static bool reserve(lineage *l, size_t more)
{
    size_t size = l->slots ? l->mask + 1 : 0, grown = size ? size : SLOTS_MIN;
    while ((l->count + more) * 3 > grown * 2) grown *= 2;
    if (grown == size) return true;
    lineage old = *l;
    l->slots = base_calloc(grown, sizeof *l->slots);
    if (!l->slots) {
        l->slots = old.slots;
        return false;
    }
    l->mask = grown - 1;
    for (size_t i = 0; i < size; i++)
        if (old.slots[i]) l->slots[slot_of(l, old.slots[i]->high, old.slots[i]->low)] = old.slots[i];
    base_free(old.slots);
    return true;
}

static void unhash(lineage *l, const lineage_record *r)
{
    size_t hole = slot_of(l, r->high, r->low);
    for (size_t i = (hole + 1) & l->mask; l->slots[i]; i = (i + 1) & l->mask) {
        size_t home = home_of(l, l->slots[i]->high, l->slots[i]->low);
        if (((i - home) & l->mask) < ((i - hole) & l->mask)) continue; /* its way does not lead over the hole */
        l->slots[hole] = l->slots[i];
        hole = i;
    }
    l->slots[hole] = NULL;
    l->count--;
}

/* ---- lists ---- */

static uint64_t cost_of(const lineage_record *r) { return RECORD_COST + r->size; }
static lineage_list *list_of(lineage_record *r) { return r->is_gone ? &r->job->gone : &r->job->here; }

static void append(lineage *l, lineage_record *r)
{
    lineage_list *list = list_of(r);
    r->older = list->newest;
    r->newer = NULL;
    *(list->newest ? &list->newest->newer : &list->oldest) = r;
    list->newest = r;
    list->bytes += cost_of(r);
    l->usage.bytes += cost_of(r);
    l->usage.items += !r->is_gone;
}

static void unlink(lineage *l, lineage_record *r)
{
    lineage_list *list = list_of(r);
    *(r->older ? &r->older->newer : &list->oldest) = r->newer;
    *(r->newer ? &r->newer->older : &list->newest) = r->older;
    list->bytes -= cost_of(r);
    l->usage.bytes -= cost_of(r);
    l->usage.items -= !r->is_gone;
}

static void forget(lineage *l, lineage_record *r)
{
    unlink(l, r);
    unhash(l, r);
    base_free(r);
}

static lineage_record *record_new(lineage_job *job, uint64_t high, uint64_t low, manta_bytes spec)
{
    lineage_record *r = base_alloc(sizeof *r + spec.size);
    if (!r) return NULL;
    *r = (lineage_record){.high = high, .low = low, .job = job, .size = (uint32_t)spec.size};
    if (spec.size) memcpy(r->spec, spec.data, spec.size);
    return r;
}

/* Of the record only the id stays. False: no memory for even that. */
static bool drop_oldest(lineage *l, lineage_job *job)
{
    lineage_record *r = job->here.oldest, *mark = record_new(job, r->high, r->low, (manta_bytes){NULL, 0});
    if (!mark) return false;
    mark->is_gone = true;
    l->slots[slot_of(l, r->high, r->low)] = mark;
    unlink(l, r);
    base_free(r);
    append(l, mark);
    l->usage.dropped++;
    return true;
}

/* ---- jobs ---- */

static lineage_job *job_of(lineage *l, uint64_t id)
{
    key k;
    key_of_number(&k, id);
    ordered_node *n = ordered_get(&l->jobs, k.bytes, k.size);
    if (n) return n->value;
    lineage_job *job = base_calloc(1, sizeof *job);
    if (!job) return NULL;
    job->id = id;
    if (ordered_put(&l->jobs, k.bytes, k.size, job)) return job;
    base_free(job);
    return NULL;
}

static bool keep_budget(gcs_run *x, lineage_job *job)
{
    lineage *l = &x->c->lineage;
    uint64_t limit = x->c->limits.lineage_bytes;
    while (job->here.oldest && job->here.bytes + job->gone.bytes > limit) {
        if (!drop_oldest(l, job)) return gcs_out_of_memory(x);
        if (job->gone.bytes > limit / 8) forget(l, job->gone.oldest);
    }
    return true;
}

static void forget_all(lineage *l, lineage_list *list)
{
    while (list->oldest) forget(l, list->oldest);
}

/* One that has records: what is left of one without them is not in a snapshot, so nothing may depend on it. */
static lineage_job *known_job(const lineage *l, uint64_t id)
{
    key k;
    key_of_number(&k, id);
    ordered_node *n = ordered_get(&l->jobs, k.bytes, k.size);
    lineage_job *job = n ? n->value : NULL;
    return job && (job->here.oldest || job->gone.oldest) ? job : NULL;
}

static void forget_job(lineage *l, lineage_job *job)
{
    key k;
    key_of_number(&k, job->id);
    forget_all(l, &job->here);
    forget_all(l, &job->gone);
    ordered_remove(&l->jobs, k.bytes, k.size);
    base_free(job);
}

static void ends_at(lineage *l, lineage_job *job, uint64_t ms)
{
    job->ends_ms = ms;
    if (ms && (!l->next_end_ms || ms < l->next_end_ms)) l->next_end_ms = ms;
}

void lineage_job_ended(gcs_core *c, uint64_t id, bool is_failed)
{
    lineage_job *job = known_job(&c->lineage, id);
    if (job && is_failed) ends_at(&c->lineage, job, c->now_ms + GCS_LINEAGE_KEPT_MS);
    else if (job) forget_job(&c->lineage, job);
}

void lineage_expire(gcs_core *c)
{
    lineage *l = &c->lineage;
    if (!l->next_end_ms || l->next_end_ms > c->now_ms) return;
    l->next_end_ms = 0;
    for (ordered_node *n = l->jobs.first[0], *next; n; n = next) {
        lineage_job *job = n->value;
        next = n->next[0];
        if (job->ends_ms && job->ends_ms <= c->now_ms) forget_job(l, job);
        else ends_at(l, job, job->ends_ms);
    }
}

void lineage_fini(lineage *l)
{
    for (size_t i = 0; l->slots && i <= l->mask; i++) base_free(l->slots[i]);
    base_free(l->slots);
    for (ordered_node *n = l->jobs.first[0]; n; n = n->next[0]) base_free(n->value);
    ordered_fini(&l->jobs);
    *l = (lineage){0};
}

/* ---- commands ---- */

static void read_record(manta_reader *r, gcs_lineage_row *out)
{
    manta_unpack_tuple(r, 3, "a record of high, low and spec");
    manta_unpack_uint64_t(r, &out->high);
    manta_unpack_uint64_t(r, &out->low);
    manta_unpack_manta_bytes(r, &out->spec);
}

/* All are well-formed and not too large: so they are added, or none is. */
static bool check_records(gcs_run *x, manta_bytes records, uint32_t *out_count)
{
    manta_reader r;
    gcs_lineage_row row;
    size_t largest = 0;
    manta_reader_init(&r, records.data, records.size);
    manta_unpack_array(&r, out_count);
    for (uint32_t i = 0; i < *out_count && !r.status; i++) {
        read_record(&r, &row);
        if (!r.status && row.spec.size > largest) largest = row.spec.size;
    }
    if (r.status) {
        char why[200];
        manta_reader_explain(&r, why, sizeof why);
        return gcs_refuse(x, MANTA_EDECODE, "records: %s", why);
    }
    uint64_t limit = x->c->limits.value_bytes;
    return largest <= limit ||
           gcs_refuse(x, MANTA_ETOOLONG, "records: a spec has %zu bytes, at most %" PRIu64 " are allowed", largest, limit);
}

/* Adds what is not there; *out says whether it was not. */
static manta_status add_record(lineage *l, lineage_job *job, const gcs_lineage_row *row, bool *out_added)
{
    size_t i = slot_of(l, row->high, row->low);
    if (l->slots[i]) return MANTA_OK;
    lineage_record *r = record_new(job, row->high, row->low, row->spec);
    if (!r) return MANTA_ENOMEM;
    r->is_gone = row->why_gone != GCS_LINEAGE_HERE;
    l->slots[i] = r;
    l->count++;
    append(l, r);
    *out_added = true;
    return MANTA_OK;
}

static bool add_records(gcs_run *x, lineage_job *job, const gcs_lineage_add *f, uint64_t *out_added)
{
    manta_reader r;
    uint32_t count;
    manta_reader_init(&r, f->records.data, f->records.size);
    manta_unpack_array(&r, &count);
    for (uint32_t i = 0; i < count; i++) {
        gcs_lineage_row row = {0};
        bool added = false;
        read_record(&r, &row);
        if (add_record(&x->c->lineage, job, &row, &added)) return gcs_out_of_memory(x);
        *out_added += added;
    }
    return true;
}

void handle_lineage_add(gcs_run *x, const gcs_lineage_add *f)
{
    uint32_t count;
    gcs_lineage_result result = {0};
    if (!check_records(x, f->records, &count)) return;
    const gcs_job_row *known = f->job ? table_get_number(x->c, GCS_TABLE_JOB, f->job) : NULL;
    const lineage_job *kept = known_job(&x->c->lineage, f->job);
    if (f->job && (!known || known->state != GCS_JOB_STATE_RUNNING) && !(kept && kept->ends_ms)) {
        gcs_refuse(x, MANTA_EDEAD, "job %" PRIu64 " does not run", f->job);
        return;
    }
    lineage_job *job = job_of(&x->c->lineage, f->job);
    if (!job || !reserve(&x->c->lineage, count)) {
        gcs_out_of_memory(x);
        return;
    }
    uint64_t dropped = x->c->lineage.usage.dropped;
    if (!add_records(x, job, f, &result.added) || !keep_budget(x, job)) return;
    result.dropped = x->c->lineage.usage.dropped - dropped;
    gcs_pack(x->out, &gcs_schema_lineage_result, &result);
}

void handle_lineage_keep(gcs_run *x, const gcs_lineage_keep *f)
{
    lineage_job *job = known_job(&x->c->lineage, f->job);
    if (!job) gcs_refuse(x, MANTA_ENOTFOUND, "no lineage of job %" PRIu64, f->job);
    else if (job->ends_ms) ends_at(&x->c->lineage, job, x->c->now_ms + GCS_LINEAGE_KEPT_MS);
}

static bool check_ids(gcs_run *x, manta_bytes ids)
{
    manta_reader r;
    uint32_t count;
    uint64_t word;
    manta_reader_init(&r, ids.data, ids.size);
    manta_unpack_array(&r, &count);
    for (uint32_t i = 0; i < count && !r.status; i++) manta_unpack_uint64_t(&r, &word);
    return (!r.status && count % 2 == 0) || gcs_refuse(x, MANTA_EDECODE, "ids: not an array of pairs of numbers");
}

void handle_lineage_drop(gcs_run *x, const gcs_lineage_drop *f)
{
    manta_reader r;
    uint32_t count;
    uint64_t high, low, dropped = 0;
    if (!check_ids(x, f->ids)) return;
    manta_reader_init(&r, f->ids.data, f->ids.size);
    manta_unpack_array(&r, &count);
    for (uint32_t i = 0; i < count; i += 2) {
        manta_unpack_uint64_t(&r, &high);
        manta_unpack_uint64_t(&r, &low);
        lineage_record *record = find(&x->c->lineage, high, low);
        if (!record) continue;
        dropped += !record->is_gone;
        forget(&x->c->lineage, record);
    }
    gcs_pack_number(x, dropped);
}

static gcs_lineage_row row_of(const lineage_record *r)
{
    return (gcs_lineage_row){.high = r->high,
        .low = r->low,
        .job = r->job->id,
        .ends_ms = r->job->ends_ms,
        .why_gone = r->is_gone ? GCS_LINEAGE_OVER_BUDGET : GCS_LINEAGE_HERE,
        .spec = {r->spec, r->size}};
}

void handle_lineage_get(gcs_run *x, const gcs_lineage_get *f)
{
    const lineage_record *r = find(&x->view->lineage, f->high, f->low);
    if (r && !r->is_gone) {
        gcs_lineage_row row = row_of(r);
        gcs_pack(x->out, &gcs_schema_lineage_row, &row);
    } else if (r)
        gcs_refuse_with(
            x, GCS_LINEAGE_OVER_BUDGET, MANTA_ENOTFOUND, "was dropped: the lineage of job %" PRIu64 " is over its budget", r->job->id);
    else gcs_refuse_with(x, 0, MANTA_ENOTFOUND, "no lineage of this object");
}

/* ---- snapshots ---- */

manta_status lineage_load(gcs_core *c, const gcs_lineage_row *row)
{
    bool added = false;
    lineage_job *job = job_of(&c->lineage, row->job);
    if (!job || !reserve(&c->lineage, 1)) return MANTA_ENOMEM;
    ends_at(&c->lineage, job, row->ends_ms);
    manta_status status = add_record(&c->lineage, job, row, &added);
    return status ? status : added ? MANTA_OK : MANTA_EEXIST;
}

static bool walk_list(const lineage_list *list, bool (*visit)(void *, const gcs_lineage_row *), void *context)
{
    for (const lineage_record *r = list->oldest; r; r = r->newer) {
        gcs_lineage_row row = row_of(r);
        if (!visit(context, &row)) return false;
    }
    return true;
}

bool lineage_walk(const lineage *l, bool (*visit)(void *context, const gcs_lineage_row *row), void *context)
{
    for (ordered_node *n = l->jobs.first[0]; n; n = n->next[0]) {
        const lineage_job *job = n->value;
        if (!walk_list(&job->gone, visit, context) || !walk_list(&job->here, visit, context)) return false;
    }
    return true;
}
