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

static void *copy_of(const void *bytes, size_t size)
{
    void *copy = base_alloc(size + 1);
    if (copy && size) memcpy(copy, bytes, size);
    return copy;
}

static void *pack_into(manta_writer *w, const lineage_made *made, size_t *out_bytes)
{
    transfer_pack_record(w);
    made->method->arguments.pack(w, made->arguments);
    transfer_pack_record(NULL);
    *out_bytes = manta_writer_size(w);
    return w->status ? NULL : copy_of(w->start, *out_bytes);
}

unsigned char *arguments_pack(const lineage_made *made, size_t *out_bytes)
{
    unsigned char some[512];
    manta_writer w;
    manta_writer_init(&w, some, sizeof some);
    void *packed = pack_into(&w, made, out_bytes);
    if (w.status != MANTA_ELIMIT) return packed;
    manta_writer_init_growing(&w);
    packed = pack_into(&w, made, out_bytes);
    manta_writer_fini(&w);
    return packed;
}

static void pack_own(manta_writer *w, const lineage_spec *s, const manta_ref *roots)
{
    const demand *d = s->demand;
    MantaRecord r = {.method = method_hash(s->method),
        .owner = s->owner,
        .job = s->job,
        .retries = s->retries,
        .priority = s->priority,
        .need = manta_str_of(d->need_text),
        .labels = manta_str_of(d->labels),
        .where = (int32_t)d->strategy,
        .node = d->node,
        .group = d->group,
        .bundle = d->bundle,
        .is_answer = s->is_answer,
        .outputs = {roots, s->n_outputs * sizeof(manta_ref)},
        .arguments = {s->record, s->record_bytes}};
    manta_pack_MantaRecord(w, &r);
}

unsigned char *record_pack(const lineage_spec *s, size_t *out_bytes)
{
    manta_writer w;
    *out_bytes = s->record_bytes;
    if (!s->demand) return copy_of(s->record, s->record_bytes);
    manta_ref *roots = base_alloc(s->n_outputs * sizeof *roots);
    if (!roots) return NULL;
    for (uint32_t i = 0; i < s->n_outputs; i++) roots[i] = s->outputs[i].root;
    manta_writer_init_growing(&w);
    pack_own(&w, s, roots);
    base_free(roots);
    *out_bytes = manta_writer_size(&w);
    void *packed = w.status ? NULL : copy_of(w.start, *out_bytes);
    manta_writer_fini(&w);
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
