#include "actor/supervise/spec.h"

#include <string.h>

#include "actor/node/constructor.h"
#include "actor/transfer/transfer.h"

enum { SHUTDOWN_DEFAULT_MS = 5000, ALIGNED = 16 };

/* ---- copies: what a spec or plan takes is asked for first, then taken from one block ---- */

static size_t room_for(size_t bytes) { return bytes + ALIGNED - 1; }

static void *take(unsigned char **at, const void *from, size_t bytes)
{
    unsigned char *to = *at + (-(uintptr_t)*at & (ALIGNED - 1));
    *at = to + bytes;
    return from ? memcpy(to, from, bytes) : to;
}

static size_t text_bytes(const char *text) { return text ? strlen(text) + 1 : 0; }

static void take_text(const char **text, unsigned char **at)
{
    size_t bytes = text_bytes(*text);
    if (bytes) *text = memcpy(*at, *text, bytes);
    *at += bytes;
}

static const manta_layout *layout_of(const spec_data *s) { return s->cls->init ? &s->cls->init->arguments : NULL; }

static size_t spec_bytes(const spec_data *s)
{
    const manta_layout *layout = layout_of(s);
    size_t bytes = room_for(sizeof *s) + text_bytes(s->spawn.name) + text_bytes(s->spawn.resources) + text_bytes(s->spawn.labels);
    if (layout) bytes += room_for(layout->size) + (layout->extra ? layout->extra(s->arguments) : 0);
    return bytes;
}

static spec_data *spec_take(const spec_data *s, unsigned char **at)
{
    const manta_layout *layout = layout_of(s);
    spec_data *copy = take(at, s, sizeof *s);
    take_text(&copy->spawn.name, at);
    take_text(&copy->spawn.resources, at);
    take_text(&copy->spawn.labels, at);
    if (!layout) return copy;
    copy->arguments = take(at, s->arguments, layout->size);
    if (layout->relocate) layout->relocate(copy->arguments, at);
    return copy;
}

spec_data *spec_clone(const spec_data *s)
{
    const manta_layout *layout = layout_of(s);
    unsigned char *at = base_aligned_alloc(ALIGNED, (spec_bytes(s) + ALIGNED) & ~(size_t)(ALIGNED - 1));
    if (!at) return NULL;
    spec_data *copy = spec_take(s, &at);
    if (layout && layout->refs) refs_in_flight(layout, copy->arguments);
    return copy;
}

void spec_free(spec_data *s)
{
    if (!s) return;
    const manta_layout *layout = layout_of(s);
    if (layout && layout->refs) refs_dropped(layout, s->arguments);
    base_free(s);
}

/* ---- making ---- */

static void set_options(spec_data *s, const manta_child_options *o)
{
    const manta_options *spawn = o ? o->spawn : NULL;
    s->shutdown_ms = o && o->shutdown_ms ? o->shutdown_ms : SHUTDOWN_DEFAULT_MS;
    s->restart = o ? o->restart : MANTA_PERMANENT;
    if (o && o->id) snprintf(s->id, sizeof s->id, "%s", o->id);
    if (spawn) memcpy(&s->spawn, spawn, spawn->size && spawn->size < sizeof s->spawn ? spawn->size : sizeof s->spawn);
    s->spawn.size = sizeof s->spawn;
    if (s->spawn.on_failure == MANTA_FAILURE_DEFAULT) s->spawn.on_failure = MANTA_FAILURE_EXIT;
    s->spawn.link = true;
}

manta_child_spec manta_child_spec_make(const manta_child_options *options, manta_class *cls, const void *arguments, size_t extra_bytes)
{
    (void)extra_bytes;
    if ((options && options->size > sizeof *options) || (options && options->spawn && options->spawn->size > sizeof(manta_options))) {
        error_set(MANTA_EINVAL, "%s_child: options of a newer program: this library knows %zu and %zu bytes", cls->name, sizeof *options,
            sizeof(manta_options));
        return (manta_child_spec){NULL};
    }
    spec_data view = {.cls = cls, .arguments = cls->init ? (void *)(uintptr_t)arguments : NULL};
    set_options(&view, options);
    spec_data *s = spec_clone(&view);
    if (!s) error_set(MANTA_ENOMEM, "%s_child: no memory", cls->name);
    return (manta_child_spec){s};
}

void manta_child_spec_free(manta_child_spec *spec)
{
    if (!spec) return;
    spec_free(spec->data);
    spec->data = NULL;
}

/* ---- plans ---- */

size_t manta_extra_MantaPlan(const MantaPlan *v)
{
    const plan *p = v->plan;
    size_t bytes = room_for(sizeof *p) + room_for(p->count * sizeof *p->specs) + text_bytes(p->options.name);
    for (uint32_t i = 0; i < p->count; i++) bytes += spec_bytes(p->specs[i]);
    return bytes;
}

void manta_relocate_MantaPlan(MantaPlan *v, unsigned char **at)
{
    plan *copy = take(at, v->plan, sizeof *copy);
    spec_data **specs = take(at, NULL, copy->count * sizeof *specs);
    take_text(&copy->options.name, at);
    for (uint32_t i = 0; i < copy->count; i++) specs[i] = spec_take(copy->specs[i], at);
    copy->specs = specs;
    v->plan = copy;
}

void manta_refs_MantaPlan(MantaPlan *v, manta_ref_visitor visit, void *context)
{
    for (uint32_t i = 0; v->plan && i < v->plan->count; i++) {
        MantaConstructor c = constructor_of(v->plan->specs[i]->cls, v->plan->specs[i]->arguments);
        manta_refs_MantaConstructor(&c, visit, context);
    }
}

/* On the wire: how, then per child: how, its spawn's options in two halves, its constructor. */
MANTA_STRUCT(MantaSupervisorHow, (manta_str, name), (int32_t, strategy), (uint32_t, intensity), (uint32_t, period_ms),
    (uint32_t, backoff_min_ms), (uint32_t, backoff_max_ms), (double, backoff_jitter))
MANTA_STRUCT(MantaChildHow, (manta_str, id), (int32_t, restart), (uint32_t, shutdown_ms), (manta_str, name), (uint32_t, mailbox_limit),
    (int32_t, overflow), (uint32_t, concurrency), (int32_t, on_failure), (bool, trap_exit), (uint64_t, timeout_ms))
MANTA_STRUCT(MantaChildWhere, (uint64_t, process), (double, cpus), (double, gpus), (uint64_t, memory_bytes), (manta_str, resources),
    (manta_str, labels), (int32_t, where), (uint64_t, node), (uint64_t, group), (int32_t, bundle), (bool, isolated), (int32_t, lifetime),
    (bool, get_if_exists), (int32_t, durability))

static manta_str text_or_empty(const char *text) { return manta_str_of(text ? text : ""); }

static void pack_spec(manta_writer *w, const spec_data *s)
{
    const manta_options *o = &s->spawn;
    MantaChildHow how = {manta_str_of(s->id), (int32_t)s->restart, s->shutdown_ms, text_or_empty(o->name), o->mailbox_limit,
        (int32_t)o->overflow, o->concurrency, (int32_t)o->on_failure, o->trap_exit, o->timeout_ms};
    MantaChildWhere where = {o->process.id, o->cpus, o->gpus, o->memory_bytes, text_or_empty(o->resources), text_or_empty(o->labels),
        (int32_t)o->where, o->node.id, o->placement_group.id, o->bundle, o->isolated, (int32_t)o->lifetime, o->get_if_exists,
        (int32_t)o->durability};
    MantaConstructor c = constructor_of(s->cls, s->arguments);
    manta_pack_array(w, 3);
    manta_pack_MantaChildHow(w, &how);
    manta_pack_MantaChildWhere(w, &where);
    manta_pack_MantaConstructor(w, &c);
}

void manta_pack_MantaPlan(manta_writer *w, const MantaPlan *v)
{
    const manta_supervisor_options *o = &v->plan->options;
    MantaSupervisorHow how = {
        text_or_empty(o->name), (int32_t)o->strategy, o->intensity, o->period_ms, o->backoff_min_ms, o->backoff_max_ms, o->backoff_jitter};
    manta_pack_array(w, 2);
    manta_pack_MantaSupervisorHow(w, &how);
    manta_pack_array(w, v->plan->count);
    for (uint32_t i = 0; i < v->plan->count; i++) pack_spec(w, v->plan->specs[i]);
}

/* A text that ends with a zero, in the arrival's memory; NULL: an empty one. */
static const char *arrived_text(manta_reader *r, manta_str s)
{
    if (r->status || !s.size) return NULL;
    char *text = arrival_alloc(s.size + 1);
    if (text) memcpy(text, s.data, s.size);
    else manta_reader_fail(r, MANTA_ENOMEM, "a text that there is memory for");
    return text;
}

static void set_spawn(manta_reader *r, manta_options *o, const MantaChildHow *how, const MantaChildWhere *where)
{
    *o = (manta_options){.size = sizeof *o,
        .name = arrived_text(r, how->name),
        .timeout_ms = how->timeout_ms,
        .mailbox_limit = how->mailbox_limit,
        .overflow = (manta_overflow)how->overflow,
        .concurrency = how->concurrency,
        .on_failure = (manta_failure)how->on_failure,
        .trap_exit = how->trap_exit,
        .link = true,
        .process = {where->process},
        .cpus = where->cpus,
        .gpus = where->gpus,
        .memory_bytes = where->memory_bytes,
        .resources = arrived_text(r, where->resources),
        .labels = arrived_text(r, where->labels),
        .where = (manta_where)where->where,
        .node = {where->node},
        .placement_group = {where->group},
        .bundle = where->bundle,
        .lifetime = (manta_lifetime)where->lifetime,
        .get_if_exists = where->get_if_exists,
        .isolated = where->isolated,
        .durability = (manta_durability)where->durability};
}

static void unpack_spec(manta_reader *r, spec_data *s)
{
    MantaChildHow how = {.restart = 0};
    MantaChildWhere where = {.process = 0};
    MantaConstructor c = {.cls = NULL};
    manta_unpack_tuple(r, 3, "a child's options, its place and its constructor");
    manta_unpack_MantaChildHow(r, &how);
    manta_unpack_MantaChildWhere(r, &where);
    manta_unpack_MantaConstructor(r, &c);
    if (r->status) return;
    if (!c.cls) manta_reader_fail(r, MANTA_EDECODE, "a class that this program has");
    if (how.id.size > NAME_LIMIT || (uint32_t)how.restart > MANTA_TEMPORARY)
        manta_reader_fail(r, MANTA_EDECODE, "an id of at most 127 bytes and a kind of restart");
    if (r->status) return;
    *s = (spec_data){.cls = c.cls, .restart = (manta_restart)how.restart, .shutdown_ms = how.shutdown_ms, .arguments = c.values};
    if (how.id.size) memcpy(s->id, how.id.data, how.id.size);
    set_spawn(r, &s->spawn, &how, &where);
}

static plan *unpack_plan(manta_reader *r)
{
    MantaSupervisorHow how = {.strategy = 0};
    uint32_t count = 0;
    manta_unpack_tuple(r, 2, "a supervisor's options and its children");
    manta_unpack_MantaSupervisorHow(r, &how);
    manta_unpack_array(r, &count);
    if (!r->status && (count > CHILD_LIMIT || (uint32_t)how.strategy > MANTA_SIMPLE_ONE_FOR_ONE))
        manta_reader_fail(r, MANTA_EDECODE, "a known strategy and at most 1048576 children");
    plan *p = r->status ? NULL : arrival_alloc(sizeof *p);
    if (p) p->specs = arrival_alloc(count * sizeof *p->specs + 1);
    if (!p || !p->specs) return NULL;
    p->options = (manta_supervisor_options){sizeof p->options, arrived_text(r, how.name), (manta_strategy)how.strategy, how.intensity,
        how.period_ms, how.backoff_min_ms, how.backoff_max_ms, how.backoff_jitter};
    for (p->depth = 1; p->count < count && !r->status; p->count++) {
        spec_data *s = p->specs[p->count] = arrival_alloc(sizeof *s);
        if (!s) return NULL;
        unpack_spec(r, s);
    }
    return p;
}

/* Plans within plans recur: what comes from elsewhere is bounded as what is made here (manta_supervisor_child). */
void manta_unpack_MantaPlan(manta_reader *r, MantaPlan *v)
{
    static _Thread_local int depth;
    v->plan = NULL;
    if (depth == PLAN_DEPTH) manta_reader_fail(r, MANTA_EDECODE, "at most 16 supervisors below each other");
    if (r->status) return;
    depth++;
    v->plan = unpack_plan(r);
    depth--;
    if (!v->plan && !r->status) manta_reader_fail(r, MANTA_ENOMEM, "children that there is memory for");
}
