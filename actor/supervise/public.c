/*
 * Supervisors: the public functions.
 */
#include <stdio.h>
#include <string.h>

#include "actor/supervise/supervisor.h"

static manta_status check_options(const manta_supervisor_options *o)
{
    if (!o) return MANTA_OK;
    if (o->size > sizeof *o)
        return error_set(MANTA_EINVAL, "supervisor: options.size is %zu, this library knows %zu bytes", o->size, sizeof *o);
    if ((unsigned)o->strategy > MANTA_SIMPLE_ONE_FOR_ONE)
        return error_set(MANTA_EINVAL, "supervisor: options.strategy is %d", (int)o->strategy);
    if (!(o->backoff_jitter >= 0 && o->backoff_jitter <= 1))
        return error_set(MANTA_EINVAL, "supervisor: options.backoff_jitter is %g, must be 0 to 1", o->backoff_jitter);
    return MANTA_OK;
}

static uint32_t depth_of(const spec_data *s)
{
    const Supervisor_init_args *nested = s->cls == &Supervisor_class ? s->arguments : NULL;
    return nested ? nested->what.plan->depth : 0;
}

/* A plan of the caller's specs; base_free(p->specs). False: last_error says why not. */
static bool plan_of(const manta_supervisor_options *options, const manta_child_spec *specs, size_t count, plan *p)
{
    *p = (plan){.depth = 1};
    if (check_options(options)) return false;
    if (count > CHILD_LIMIT) return error_set(MANTA_ELIMIT, "supervisor: at most %d children", CHILD_LIMIT), false;
    if (options) p->options = *options;
    if (!(p->specs = base_calloc(count ? count : 1, sizeof *p->specs))) return error_set(MANTA_ENOMEM, "supervisor: no memory"), false;
    for (size_t i = 0; i < count; i++) {
        spec_data *s = specs[i].data;
        if (!s) { /* its making failed */
            if (manta_last_error()->status == MANTA_OK) error_set(MANTA_EINVAL, "supervisor: an empty spec");
            return false;
        }
        if (depth_of(s) >= p->depth) p->depth = depth_of(s) + 1;
        p->specs[p->count++] = s;
    }
    return p->depth <= PLAN_DEPTH || (error_set(MANTA_ELIMIT, "supervisor: at most %d below each other", PLAN_DEPTH), false);
}

static void free_specs(manta_child_spec *specs, size_t count)
{
    for (size_t i = 0; i < count; i++) manta_child_spec_free(&specs[i]);
}

manta_child_spec manta_supervisor_child(
    const manta_child_options *options, const manta_supervisor_options *supervisor, manta_child_spec *specs, size_t count)
{
    plan p;
    manta_child_spec spec = {NULL};
    manta_options spawn = {.size = sizeof spawn};
    manta_child_options own = options && options->size <= sizeof own ? *options : (manta_child_options){.size = sizeof own};
    if (plan_of(supervisor, specs, count, &p)) {
        Supervisor_init_args arguments = {.what = {&p}};
        if (own.spawn && own.spawn->size <= sizeof spawn) memcpy(&spawn, own.spawn, own.spawn->size ? own.spawn->size : sizeof spawn);
        if (!spawn.name) spawn.name = p.options.name;
        spawn.size = sizeof spawn;
        spawn.on_failure = MANTA_FAILURE_REPLY; /* "there is no such child" is no reason to exit */
        if (!own.spawn || own.spawn->size <= sizeof spawn) own.spawn = &spawn;
        spec = manta_child_spec_make(&own, &Supervisor_class, &arguments, 0);
    }
    base_free(p.specs);
    free_specs(specs, count);
    return spec;
}

static manta_actor start(const plan *p)
{
    manta_options spawn = {.size = sizeof spawn, .name = p->options.name, .link = manta_self().id != 0, .where = MANTA_WHERE_HERE};
    Supervisor_init_args arguments = {.what = {(plan *)(uintptr_t)p}};
    spawn_watch_init();
    return manta_spawn_class(&spawn, &Supervisor_class, &arguments, Supervisor_init_args_extra(&arguments));
}

manta_status manta_supervisor_start(const manta_supervisor_options *options, manta_child_spec *specs, size_t count, manta_actor *out)
{
    plan p;
    bool plan_ok = plan_of(options, specs, count, &p);
    manta_actor a = plan_ok ? start(&p) : (manta_actor){0};
    base_free(p.specs);
    free_specs(specs, count);
    manta_status status = plan_ok ? spawn_await_init(a) : manta_last_error()->status;
    if (!status && out) *out = a;
    return status;
}

manta_status manta_supervisor_add(manta_actor supervisor, manta_child_spec *spec, manta_actor *out)
{
    plan p;
    manta_actor a;
    manta_status status;
    if (!spec || !spec->data) return error_set(MANTA_EINVAL, "manta_supervisor_add: an empty spec");
    if (!manta_is_alive(supervisor)) status = error_set(MANTA_EDEAD, "manta_supervisor_add: %s", manta_status_text(MANTA_EDEAD));
    else if (plan_of(NULL, spec, 1, &p)) {
        manta_manta_actor_future f = Supervisor_add(Supervisor_ref_of(supervisor), (MantaPlan){&p});
        base_free(p.specs);
        status = manta_get(f, &a);
        if (!status && out) *out = a;
    } else {
        base_free(p.specs);
        status = manta_last_error()->status;
    }
    manta_child_spec_free(spec);
    return status;
}

manta_status manta_supervisor_terminate(manta_actor supervisor, const char *id)
{
    return manta_join(Supervisor_terminate(Supervisor_ref_of(supervisor), manta_str_of(id)));
}

manta_status manta_supervisor_restart(manta_actor supervisor, const char *id)
{
    return manta_join(Supervisor_restart(Supervisor_ref_of(supervisor), manta_str_of(id)));
}

manta_status manta_supervisor_remove(manta_actor supervisor, const char *id)
{
    return manta_join(Supervisor_forget(Supervisor_ref_of(supervisor), manta_str_of(id)));
}

manta_status manta_supervisor_child_actor(manta_actor supervisor, const char *id, manta_actor *out)
{
    return manta_get(Supervisor_actor_of(Supervisor_ref_of(supervisor), manta_str_of(id)), out);
}

/* ---- the list ---- */

/* The name of a class that this program has; else a copy of the scope. */
static const char *class_text(manta_str name)
{
    const manta_class *cls = class_named(name);
    char *copy = cls ? NULL : manta_alloc(name.size + 1);
    if (copy) {
        memcpy(copy, name.data, name.size);
        copy[name.size] = 0;
    }
    return cls ? cls->name : copy ? copy : "";
}

/* The rows into the caller's array. False: they are malformed. */
static bool read_rows(const MantaChildren *page, manta_child_info *out, size_t room)
{
    manta_reader r;
    manta_reader_init(&r, page->rows.data, page->rows.size);
    for (size_t i = 0; i < page->count && i < room; i++) {
        MantaChildRow row = {.restart = 0};
        manta_unpack_MantaChildRow(&r, &row);
        if (r.status || row.id.size >= sizeof out->id) return false;
        out[i] = (manta_child_info){
            .actor = row.actor, .class_name = class_text(row.class_name), .restart = (manta_restart)row.restart, .restarts = row.restarts};
        memcpy(out[i].id, row.id.data, row.id.size);
    }
    return true;
}

manta_status manta_supervisor_children(manta_actor supervisor, manta_child_info *out, size_t capacity, size_t *out_count)
{
    MantaChildren page = {.last = 0};
    size_t n = 0;
    do {
        manta_status status = manta_get(Supervisor_list(Supervisor_ref_of(supervisor), page.last), &page);
        if (status) return status;
        if (!read_rows(&page, n ? out + n : out, capacity - n))
            return error_set(MANTA_EDECODE, "manta_supervisor_children: a malformed list");
        n += page.count < capacity - n ? page.count : capacity - n;
    } while (page.count && n < capacity);
    *out_count = page.total > n || !capacity ? page.total : n;
    return MANTA_OK;
}
