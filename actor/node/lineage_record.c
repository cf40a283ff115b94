#include <string.h>

#include "actor/node/lineage_internal.h"
#include "actor/node/raylet.h"

/* ---- refs in values ---- */

static void gather(manta_ref *ref, manta_object *view, void *context)
{
    gathered_refs *g = context;
    (void)view;
    if (!ref->id[0] || g->failed) return;
    if ((g->count & (g->count - 1)) == 0) {
        manta_ref *more = base_realloc(g->items, (g->count ? 2 * (size_t)g->count : 1) * sizeof *more);
        g->failed = !more;
        if (!more) return;
        g->items = more;
    }
    g->items[g->count++] = transfer_here(*ref);
}

gathered_refs refs_gather(const manta_layout *layout, const void *value)
{
    gathered_refs g = {.count = 0};
    if (layout->refs && value) layout->refs((void *)(uintptr_t)value, gather, &g);
    return g;
}

/* ---- records as bytes ---- */

static bool pack_arguments(manta_writer *w, const lineage_made *made)
{
    manta_writer_init_growing(w);
    transfer_pack_record(w);
    made->method->arguments.pack(w, made->arguments);
    transfer_pack_record(NULL);
    return w->status == MANTA_OK;
}

static void *copy_of(const manta_writer *w, size_t *out_bytes)
{
    *out_bytes = manta_writer_size(w);
    void *copy = w->status ? NULL : base_alloc(*out_bytes);
    if (copy) memcpy(copy, w->start, *out_bytes);
    return copy;
}

unsigned char *record_pack(const lineage_made *made, const manta_ref *roots, uint32_t n_roots, size_t *out_bytes)
{
    manta_writer arguments, w;
    void *packed = NULL;
    const demand *d = made->demand;
    if (pack_arguments(&arguments, made)) {
        MantaRecord r = {.method = method_hash(made->method),
            .owner = the_node.process,
            .job = the_job.id,
            .retries = made->retries,
            .priority = made->priority,
            .need = manta_str_of(d->need_text),
            .labels = manta_str_of(d->labels),
            .where = (int32_t)d->strategy,
            .node = d->node,
            .group = d->group,
            .bundle = d->bundle,
            .is_answer = !made->result,
            .outputs = {roots, n_roots * sizeof(manta_ref)},
            .arguments = {arguments.start, manta_writer_size(&arguments)}};
        manta_writer_init_growing(&w);
        manta_pack_MantaRecord(&w, &r);
        packed = copy_of(&w, out_bytes);
        manta_writer_fini(&w);
    }
    manta_writer_fini(&arguments);
    return packed;
}

bool record_read(const void *bytes, size_t size, MantaRecord *out)
{
    manta_reader r;
    *out = (MantaRecord){.method = 0};
    manta_reader_init(&r, bytes, size);
    manta_unpack_MantaRecord(&r, out);
    return !r.status && r.at == r.end && out->outputs.size % sizeof(manta_ref) == 0 && out->outputs.size;
}
