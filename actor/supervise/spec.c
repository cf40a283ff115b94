#include "actor/supervise/spec.h"

#include <string.h>

enum { SHUTDOWN_DEFAULT_MS = 5000 };

static spec_data *spec_make(manta_class *cls, const void *arguments, size_t extra_bytes)
{
    const manta_layout *layout = cls->init ? &cls->init->arguments : NULL;
    size_t head = layout ? (layout->size + 15) & ~(size_t)15 : 0;
    spec_data *s = base_aligned_alloc(16, (sizeof *s + head + extra_bytes + 15) & ~(size_t)15);
    if (!s) return NULL;
    memset(s, 0, sizeof *s);
    s->cls = cls;
    s->extra_bytes = extra_bytes;
    if (!layout) return s;
    memcpy(s->arguments, arguments, layout->size);
    unsigned char *at = s->arguments + head;
    if (layout->relocate) layout->relocate(s->arguments, &at);
    if (layout->refs) refs_in_flight(layout, s->arguments);
    return s;
}

static bool own_name(const char **name) { return !*name || (*name = base_strdup(*name)) != NULL; }

void spec_free(spec_data *s)
{
    if (!s) return;
    if (s->cls->init && s->cls->init->arguments.refs && !s->nested) refs_dropped(&s->cls->init->arguments, s->arguments);
    base_free((void *)(uintptr_t)s->spawn.name);
    template_free(s->nested);
    base_free(s);
}

spec_data *spec_clone(const spec_data *s)
{
    spec_data *copy = spec_make(s->cls, s->arguments, s->extra_bytes);
    if (!copy) return NULL;
    memcpy(copy->id, s->id, sizeof s->id);
    copy->restart = s->restart;
    copy->shutdown_ms = s->shutdown_ms;
    copy->spawn = s->spawn;
    bool named = own_name(&copy->spawn.name);
    if (!named) copy->spawn.name = NULL;
    if (named && (!s->nested || (copy->nested = template_clone(s->nested)))) return copy;
    spec_free(copy);
    return NULL;
}

static bool set_options(spec_data *s, const manta_child_options *o)
{
    s->shutdown_ms = o && o->shutdown_ms ? o->shutdown_ms : SHUTDOWN_DEFAULT_MS;
    s->restart = o ? o->restart : MANTA_PERMANENT;
    if (o && o->id) snprintf(s->id, sizeof s->id, "%s", o->id);
    if (o && o->spawn) s->spawn = *o->spawn;
    if (s->spawn.on_failure == MANTA_FAILURE_DEFAULT) s->spawn.on_failure = MANTA_FAILURE_EXIT;
    s->spawn.link = true;
    if (own_name(&s->spawn.name)) return true;
    s->spawn.name = NULL;
    return false;
}

manta_child_spec manta_child_spec_make(const manta_child_options *options, manta_class *cls, const void *arguments, size_t extra_bytes)
{
    if (options && options->size > sizeof *options) {
        error_set(MANTA_EINVAL, "%s_child: options.size is %zu, this library knows %zu bytes", cls->name, options->size, sizeof *options);
        return (manta_child_spec){NULL};
    }
    spec_data *s = spec_make(cls, arguments, extra_bytes);
    if (s && set_options(s, options)) return (manta_child_spec){s};
    spec_free(s);
    error_set(MANTA_ENOMEM, "%s_child: no memory", cls->name);
    return (manta_child_spec){NULL};
}

void manta_child_spec_free(manta_child_spec *spec)
{
    if (!spec) return;
    spec_free(spec->data);
    spec->data = NULL;
}

/* ---- templates ---- */

void template_free(sup_template *t)
{
    if (!t) return;
    for (size_t i = 0; i < t->count; i++) spec_free(t->specs[i]);
    base_free(t->specs);
    base_free((void *)(uintptr_t)t->options.name);
    base_free(t);
}

static sup_template *template_empty(const manta_supervisor_options *options, size_t count)
{
    sup_template *t = base_calloc(1, sizeof *t);
    if (!t) return NULL;
    if (options) t->options = *options;
    bool named = own_name(&t->options.name);
    if (!named) t->options.name = NULL;
    if (named && (t->specs = base_calloc(count ? count : 1, sizeof *t->specs))) return t;
    template_free(t);
    return NULL;
}

sup_template *template_new(const manta_supervisor_options *options, manta_child_spec *specs, size_t count)
{
    sup_template *t = template_empty(options, count);
    bool whole = t != NULL;
    for (size_t i = 0; i < count; i++) {
        if (!specs[i].data) whole = false; /* its making failed */
        else if (t) t->specs[t->count++] = specs[i].data;
        else spec_free(specs[i].data);
        specs[i].data = NULL;
    }
    if (whole) return t;
    template_free(t);
    return NULL;
}

sup_template *template_clone(const sup_template *t)
{
    sup_template *copy = template_empty(&t->options, t->count);
    for (size_t i = 0; copy && i < t->count; i++) {
        if ((copy->specs[i] = spec_clone(t->specs[i]))) copy->count++;
        else {
            template_free(copy);
            copy = NULL;
        }
    }
    return copy;
}
