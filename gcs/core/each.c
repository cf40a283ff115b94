#include "gcs/core/core_internal.h"

/* The rows of a table as events, for those who begin to watch it. */
bool gcs_core_each(const gcs_core *c, uint32_t table, manta_bytes prefix, gcs_watch visit, void *context)
{
    const gcs_schema *schema = gcs_row_schema(table);
    manta_writer w;
    if (!schema || table >= GCS_TABLE_END) return true;
    manta_writer_init_growing(&w);
    const ordered_node *n = ordered_seek(&c->tables[table].rows, prefix.data, prefix.size);
    for (; ordered_has_prefix(n, prefix.data, prefix.size) && !w.status; n = n->next[0]) {
        const uint64_t *fields = row_fields(n); /* created, revision, ... */
        manta_writer_reset(&w);
        gcs_pack(&w, schema, fields);
        if (w.status) break;
        visit(context, &(gcs_event){fields[1], table, false, {ordered_key(n), n->size}, {w.start, manta_writer_size(&w)}});
    }
    bool ok = !w.status;
    manta_writer_fini(&w);
    return ok;
}
