/* Rows by pages. A page ends where a limit says so and tells where to go on, so nothing is left out silently. */
#include <string.h>

#include "gcs/core/core_internal.h"

enum { ROWS_DEFAULT = 1000, ROWS_LOOKED_AT = 65536, PAGE_BYTES = 1 << 20 };

typedef struct page {
    gcs_table table;
    manta_bytes prefix, after; /* both of the whole key; after empty: from the start */
    uint64_t limit;
    const gcs_list *filter; /* NULL: all */
    size_t strip;           /* bytes in front of a key that `next` leaves out */
    bool is_brief;
} page;

static bool number_matches(const gcs_schema *s, const void *fields, const char *name, uint64_t wanted)
{
    const uint64_t *number = wanted ? gcs_member(s, fields, name, GCS_u64) : NULL;
    return !wanted || (number && *number == wanted);
}

static bool matches(const gcs_schema *s, const void *fields, const gcs_list *f)
{
    if (!f) return true;
    const manta_str *class_name = f->class_name.size ? gcs_member(s, fields, "class_name", GCS_str) : NULL;
    if (f->class_name.size && !text_equal(*class_name, f->class_name)) return false;
    return number_matches(s, fields, "state", f->state) && number_matches(s, fields, "node", f->node) &&
           number_matches(s, fields, "job", f->job);
}

static ordered_node *first_of(const ordered_map *rows, const page *p)
{
    bool goes_on = p->after.size;
    ordered_node *n = goes_on ? ordered_seek(rows, p->after.data, p->after.size) : ordered_seek(rows, p->prefix.data, p->prefix.size);
    if (goes_on && n && n->size == p->after.size && memcmp(ordered_key(n), p->after.data, n->size) == 0) n = n->next[0];
    return n;
}

/* An array whose count is known later: its head, five bytes, is filled in then. */
static size_t begin_array(manta_writer *w)
{
    size_t at = manta_writer_size(w);
    manta_pack_raw(w, "\xdd\0\0\0\0", 5);
    return at;
}

static void end_array(manta_writer *w, size_t at, uint32_t count)
{
    if (w->status) return;
    for (int i = 0; i < 4; i++) w->start[at + 4 - (size_t)i] = (unsigned char)(count >> 8 * i);
}

static void reply_page(gcs_run *x, const page *p)
{
    const gcs_schema *s = gcs_row_schema(p->table);
    const ordered_node *n = first_of(&x->view->tables[p->table].rows, p), *last = NULL;
    uint32_t count = 0, looked_at = 0;
    size_t start = manta_writer_size(x->out);
    manta_pack_array(x->out, 2);
    size_t array = begin_array(x->out);
    for (; ordered_has_prefix(n, p->prefix.data, p->prefix.size); n = n->next[0]) {
        if (count == p->limit || looked_at == ROWS_LOOKED_AT || manta_writer_size(x->out) - start > PAGE_BYTES || x->out->status) break;
        last = n;
        looked_at++;
        if (!matches(s, row_fields(n), p->filter)) continue;
        (p->is_brief ? gcs_pack_brief : gcs_pack)(x->out, s, row_fields(n));
        count++;
    }
    end_array(x->out, array, count);
    bool is_more = last && ordered_has_prefix(n, p->prefix.data, p->prefix.size);
    manta_bytes next = is_more ? (manta_bytes){ordered_key(last) + p->strip, last->size - p->strip} : (manta_bytes){NULL, 0};
    manta_pack_manta_bytes(x->out, &next);
}

static bool has_filtered_fields(gcs_run *x, const gcs_schema *s, const gcs_list *f)
{
    uint64_t none[64] = {0};
    bool ok = s->size <= sizeof none && (!f->state || gcs_member(s, none, "state", GCS_u64)) &&
              (!f->node || gcs_member(s, none, "node", GCS_u64)) && (!f->job || gcs_member(s, none, "job", GCS_u64)) &&
              (!f->class_name.size || gcs_member(s, none, "class_name", GCS_str));
    return ok || gcs_refuse(x, MANTA_EINVAL, "table %s has not all of the fields to filter by", gcs_table_name((uint32_t)f->table));
}

static uint64_t limit_of(uint64_t limit) { return limit ? limit : ROWS_DEFAULT; }

void handle_list(gcs_run *x, const gcs_list *f)
{
    if (f->table >= GCS_TABLE_END || !table_kinds[f->table].key) {
        gcs_refuse(x, MANTA_EINVAL, "there is no table %llu to list", (unsigned long long)f->table);
        return;
    }
    if (!has_filtered_fields(x, gcs_row_schema((uint32_t)f->table), f)) return;
    reply_page(x, &(page){.table = (gcs_table)f->table,
                      .prefix = f->prefix,
                      .after = f->after,
                      .limit = limit_of(f->limit),
                      .filter = f,
                      .is_brief = f->brief});
}

void handle_kv_list(gcs_run *x, const gcs_kv_list *f)
{
    key prefix, after;
    key_of_pair(&prefix, f->space, f->prefix);
    key_of_pair(&after, f->space, f->after);
    page p = {.table = GCS_TABLE_KV,
        .prefix = {prefix.bytes, prefix.size},
        .limit = limit_of(f->limit),
        .strip = f->space.size + 1,
        .is_brief = f->brief};
    if (f->after.size) p.after = (manta_bytes){after.bytes, after.size};
    reply_page(x, &p);
}

void handle_group_members(gcs_run *x, const gcs_group_members *f)
{
    key prefix;
    key_of_pair(&prefix, f->name, (manta_str){NULL, 0});
    reply_page(x, &(page){.table = GCS_TABLE_GROUP, .prefix = {prefix.bytes, prefix.size}, .after = f->after, .limit = limit_of(f->limit)});
}
