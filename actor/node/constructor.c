#include "actor/node/constructor.h"

#include <string.h>

#include "actor/transfer/transfer.h"

enum { ALIGNED = 16 };

static const manta_layout *layout_of(const MantaConstructor *v) { return v->cls && v->cls->init ? &v->cls->init->arguments : NULL; }

MantaConstructor constructor_of(manta_class *cls, const void *arguments)
{
    return (MantaConstructor){manta_str_of(cls->name), cls, cls->init ? (void *)(uintptr_t)arguments : NULL};
}

size_t constructor_extra(const MantaConstructor *v)
{
    const manta_layout *layout = layout_of(v);
    return layout && layout->extra ? layout->extra(v->values) : 0;
}

void manta_pack_MantaConstructor(manta_writer *w, const MantaConstructor *v)
{
    const manta_layout *layout = layout_of(v);
    manta_pack_array(w, 2);
    manta_pack_manta_str(w, &v->class_name);
    if (layout) layout->pack(w, v->values);
    else manta_pack_array(w, 0);
}

void manta_unpack_MantaConstructor(manta_reader *r, MantaConstructor *v)
{
    *v = (MantaConstructor){{NULL, 0}, NULL, NULL};
    manta_unpack_tuple(r, 2, "a class and its arguments");
    manta_unpack_manta_str(r, &v->class_name);
    v->cls = r->status ? NULL : class_named(v->class_name);
    const manta_layout *layout = layout_of(v);
    if (!layout) manta_skip(r);
    else if ((v->values = arrival_alloc(layout->size))) layout->unpack(r, v->values);
    else manta_reader_fail(r, MANTA_ENOMEM, "arguments that there is memory for");
}

size_t manta_extra_MantaConstructor(const MantaConstructor *v)
{
    const manta_layout *layout = layout_of(v);
    return manta_extra_manta_str(&v->class_name) + (layout ? ALIGNED + layout->size + constructor_extra(v) : 0);
}

void manta_relocate_MantaConstructor(MantaConstructor *v, unsigned char **at)
{
    const manta_layout *layout = layout_of(v);
    manta_relocate_manta_str(&v->class_name, at);
    if (!layout) return;
    unsigned char *to = *at + (-(uintptr_t)*at & (ALIGNED - 1));
    memcpy(to, v->values, layout->size);
    v->values = to;
    *at = to + layout->size;
    if (layout->relocate) layout->relocate(to, at);
}

typedef struct hidden {
    manta_ref_visitor visit;
    void *context;
} hidden;

static void visit_ref(manta_ref *ref, manta_object *view, void *context)
{
    const hidden *h = context;
    (void)view;
    h->visit(ref, NULL, h->context);
}

void manta_refs_MantaConstructor(MantaConstructor *v, manta_ref_visitor visit, void *context)
{
    const manta_layout *layout = layout_of(v);
    hidden h = {visit, context};
    if (layout && layout->refs) layout->refs(v->values, visit_ref, &h);
}
