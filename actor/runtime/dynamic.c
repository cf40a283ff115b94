/*
 * Calls by name with MessagePack, for bindings. The arguments are unpacked into the method's struct at the sender; the result is packed for the waiter.
 *
 * Unpacked strings are views into the payload: message_make copies them behind the struct like any caller's strings.
 */
#include <string.h>

#include "actor/node/node.h"
#include "actor/runtime/internal.h"
#include "actor/runtime/turn.h"

void manta_unpack_fields(manta_reader *r, size_t count) { manta_unpack_tuple(r, (uint32_t)count, "an array of the struct's fields"); }

static const manta_method *find_method(const manta_class *cls, const char *name)
{
    for (uint32_t i = 0; i < cls->n_methods; i++)
        if (strcmp(cls->methods[i]->name, name) == 0) return cls->methods[i];
    return NULL;
}

/* The argument struct, in heap memory; NULL after error_set. */
static void *unpack(const manta_method *method, manta_bytes payload)
{
    void *arguments = base_aligned_alloc(16, (method->arguments.size + 31) & ~(size_t)15);
    if (!arguments) {
        error_set(MANTA_ENOMEM, "%s.%s: no memory", method->owner, method->name);
        return NULL;
    }
    memset(arguments, 0, method->arguments.size);
    manta_reader r;
    manta_reader_init(&r, payload.data, payload.size);
    method->arguments.unpack(&r, arguments);
    if (!r.status && r.at == r.end) return arguments;
    char text[256] = "bytes follow the arguments";
    if (r.status) manta_reader_explain(&r, text, sizeof text);
    error_set(MANTA_EDECODE, "%s.%s: %s", method->owner, method->name, text);
    base_free(arguments);
    return NULL;
}

static const manta_method *callable_method(const manta_class *cls, const char *name)
{
    const manta_method *method = find_method(cls, name);
    if (method && method != cls->init) return method;
    error_set(MANTA_ENOMETHOD, "manta_call: class %s has no method \"%s\"", cls->name, name);
    return NULL;
}

const manta_method *method_named(manta_actor to, const char *name)
{
    actor *a = actor_slot(to.id);
    manta_class *cls = actor_is(a, to.id) ? __atomic_load_n(&a->cls, __ATOMIC_ACQUIRE) : NULL;
    if (!cls || !actor_is(a, to.id)) { /* it may be on its way out */
        error_set(MANTA_EDEAD, "manta_call %s: %s", name, manta_status_text(MANTA_EDEAD));
        return NULL;
    }
    return callable_method(cls, name);
}

static future *call(worker *w, manta_actor to, const manta_method *method, const void *arguments)
{
    size_t extra = method->arguments.extra ? method->arguments.extra(arguments) : 0;
    future *f = future_new(w);
    message *m = f ? message_make(w, method, arguments, extra) : NULL;
    if (!m) {
        if (f) future_free(w, f);
        error_set(MANTA_ENOMEM, "%s.%s: no memory for a call", method->owner, method->name);
        return NULL;
    }
    f->packed = FUTURE_PACKED;
    m->reply = f;
    f->method = NULL; /* packed already */
    store_relaxed(&f->target, to.id);
    message_post(w, to.id, m);
    return f;
}

future *dynamic_call(worker *w, manta_actor to, const manta_class *cls, const char *name, manta_bytes payload)
{
    const manta_method *method = callable_method(cls, name);
    void *arguments = method ? unpack(method, payload) : NULL;
    future *f = arguments ? call(w, to, method, arguments) : NULL;
    base_free(arguments);
    return f;
}

static manta_future in_scope(future *f)
{
    if (!f) return (manta_future){0};
    activation *act = activation_self();
    if (act->actor || act->scope_depth) future_scope_add(act, f);
    return future_handle(f);
}

manta_future manta_call(manta_actor to, const char *name, manta_bytes payload)
{
    worker *w = worker_self();
    if (w && is_remote(to.id)) return in_scope(node_call_named(w, to.id, name, payload));
    const manta_method *method = w ? method_named(to, name) : NULL;
    void *arguments = method ? unpack(method, payload) : NULL;
    future *f = arguments ? call(w, to, method, arguments) : NULL;
    base_free(arguments);
    return in_scope(f);
}

/* The value is a manta_bytes whose bytes follow it in the block. */
void dynamic_complete(worker *w, future *f, const manta_layout *layout, const void *value)
{
    manta_writer writer;
    manta_writer_init_growing(&writer);
    if (layout->pack) layout->pack(&writer, value);
    else manta_pack_nil(&writer);
    size_t size = manta_writer_size(&writer);
    block *b = writer.status ? NULL : block_new(sizeof(manta_bytes) + size);
    if (b) {
        memcpy(b->bytes + sizeof(manta_bytes), writer.start, size);
        *(manta_bytes *)(void *)b->bytes = (manta_bytes){b->bytes + sizeof(manta_bytes), size};
    }
    manta_writer_fini(&writer);
    if (b) future_complete_block(w, f, b, sizeof(manta_bytes));
    else future_fail_status(w, f, MANTA_ENOMEM, "no memory for a packed result");
}

manta_class *class_named(manta_str name)
{
    pthread_mutex_lock(&registry_lock);
    manta_class *cls = class_list;
    while (cls && (strlen(cls->name) != name.size || memcmp(cls->name, name.data, name.size) != 0)) cls = cls->next;
    pthread_mutex_unlock(&registry_lock);
    return cls;
}

manta_actor manta_spawn(const char *class_name, manta_bytes payload, const manta_options *options)
{
    manta_class *cls = class_named(manta_str_of(class_name));
    if (!cls) {
        error_set(MANTA_ENOTFOUND, "manta_spawn: there is no class \"%s\"", class_name);
        return (manta_actor){0};
    }
    void *arguments = cls->init ? unpack(cls->init, payload) : NULL;
    if (cls->init && !arguments) return (manta_actor){0};
    size_t extra = arguments && cls->init->arguments.extra ? cls->init->arguments.extra(arguments) : 0;
    manta_actor a = manta_spawn_class(options, cls, arguments, extra);
    base_free(arguments);
    return a;
}
