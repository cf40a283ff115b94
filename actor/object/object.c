/*
 * Objects for users: refs in scopes, in messages, retained; waiting for pending ones. The store is behind an ops table.
 *
 * A ref that a handler obtained is a count held by its scope; a ref inside a message or result is a count held by the message, which the receiver's scope takes over.
 */
#include <string.h>

#include "actor/object/object_ops.h"

struct held_ref {
    struct held_ref *next;
    manta_ref ref;
};

const object_ops *the_objects = &object_local_table;

manta_status objects_start(void) { return the_objects->start(); }

void objects_stop(void) { the_objects->stop(); }

/* ---- scopes ---- */

/* Takes over one count. */
static bool scope_hold(activation *act, manta_ref ref)
{
    struct held_ref *h = base_alloc(sizeof *h);
    if (!h) return false;
    *h = (struct held_ref){act->refs, ref};
    act->refs = h;
    act->dirty = 1;
    return true;
}

void scope_release_refs_until(activation *act, struct held_ref *outer)
{
    worker *w = worker_self();
    while (act->refs && act->refs != outer) {
        struct held_ref *h = act->refs;
        act->refs = h->next;
        (void)the_objects->count(w, h->ref, -1, false);
        base_free(h);
    }
}

void scope_release_refs(activation *act) { scope_release_refs_until(act, NULL); }

static bool scope_let_go(activation *act, manta_ref ref)
{
    for (struct held_ref **link = &act->refs; *link; link = &(*link)->next) {
        struct held_ref *h = *link;
        if (h->ref.id[0] != ref.id[0] || h->ref.id[1] != ref.id[1]) continue;
        *link = h->next;
        (void)the_objects->count(worker_self(), ref, -1, false);
        base_free(h);
        return true;
    }
    return false;
}

/* ---- refs in messages ---- */

static void count_one(manta_ref *ref, manta_object *view, void *context)
{
    (void)view;
    if (ref->id[0]) (void)the_objects->count(worker_self(), *ref, *(int *)context, false);
}

void refs_in_flight(const manta_layout *layout, void *value)
{
    int by = 1;
    layout->refs(value, count_one, &by);
}

void refs_dropped(const manta_layout *layout, void *value)
{
    int by = -1;
    layout->refs(value, count_one, &by);
}

typedef struct arrival {
    activation *act;
    manta_status status;
} arrival;

static void hold_one(manta_ref *ref, manta_object *view, void *context)
{
    (void)view;
    arrival *a = context;
    if (!ref->id[0] || scope_hold(a->act, *ref)) return;
    (void)the_objects->count(worker_self(), *ref, -1, false);
    a->status = error_set(MANTA_ENOMEM, "no memory for a ref");
}

static void resolve_one(manta_ref *ref, manta_object *view, void *context)
{
    arrival *a = context;
    if (view && ref->id[0] && !a->status) a->status = manta_object_get(*ref, MANTA_FOREVER, view);
}

/* First every count, then the waits: a kill in one of them finds all counts in the scope. */
manta_status refs_arrived(const manta_layout *layout, void *value, activation *act)
{
    arrival a = {act, MANTA_OK};
    layout->refs(value, hold_one, &a);
    layout->refs(value, resolve_one, &a);
    return a.status;
}

void arguments_arrived(const manta_method *method, void *arguments, activation *act)
{
    manta_status status = refs_arrived(&method->arguments, arguments, act);
    if (status) manta_fail(status, "an argument's object is not to be had");
}

/* ---- the public side ---- */

static manta_status cannot_put(manta_status status, size_t size_bytes)
{
    size_t objects;
    uint64_t bytes;
    the_objects->usage(&objects, &bytes);
    if (status == MANTA_ESTOREFULL)
        return error_set(status, "manta_put: no room for %zu bytes: %zu objects hold %llu bytes (MANTA_OBJECT_BYTES)", size_bytes, objects,
            (unsigned long long)bytes);
    return error_set(status, "manta_put: no memory for %zu bytes", size_bytes);
}

static manta_status give_to_scope(activation *act, manta_ref ref, manta_ref *out_ref, const char *what)
{
    if (!scope_hold(act, ref)) {
        (void)the_objects->count(worker_self(), ref, -1, false);
        return error_set(MANTA_ENOMEM, "%s: no memory", what);
    }
    *out_ref = ref;
    return MANTA_OK;
}

manta_status manta_put(const void *data, size_t size_bytes, manta_ref *out_ref)
{
    activation *act = activation_self();
    if (!act || load_relaxed(&the_runtime.running) != 1) return error_set(MANTA_ESHUTDOWN, "manta_put: no system runs");
    if (!data && size_bytes) return error_set(MANTA_EINVAL, "manta_put: no data for %zu bytes", size_bytes);
    manta_ref ref;
    manta_status status = the_objects->create(data, size_bytes, false, &ref);
    return status ? cannot_put(status, size_bytes) : give_to_scope(act, ref, out_ref, "manta_put");
}

/* Waits until the object is there; MANTA_OK also for one that failed. */
static manta_status wait_ready(manta_ref ref, uint64_t deadline_ns)
{
    worker *w = worker_self();
    future *f = future_new(w);
    if (!f) return MANTA_ENOMEM;
    manta_status status = the_objects->subscribe(w, ref, f);
    if (status) {
        future_free(w, f);
        return status;
    }
    status = event_await(f, deadline_ns, "object");
    w = worker_self();
    if (status && the_objects->unsubscribe(ref, f)) future_free(w, f);
    else if (status) future_drop(w, f);
    else future_free(w, f);
    return status;
}

static uint64_t deadline_of(uint64_t timeout_ms) { return timeout_ms == MANTA_FOREVER ? OS_FOREVER : deadline_after_ms(timeout_ms); }

manta_status manta_object_get(manta_ref ref, uint64_t timeout_ms, manta_object *out_view)
{
    manta_error *error = NULL;
    manta_status status = the_objects->view(ref, out_view, &error);
    if (status == MANTA_ENOTREADY && !(status = wait_ready(ref, deadline_of(timeout_ms))))
        status = the_objects->view(ref, out_view, &error);
    if (status == MANTA_OK) return MANTA_OK;
    if (status == MANTA_EFAILED && error) return error_set_last(error);
    return error_set(
        status, "manta_object_get: %s", status == MANTA_ESTALE ? "the object is gone or never was" : manta_status_text(status));
}

bool manta_object_contains(manta_ref ref) { return the_objects->view(ref, NULL, NULL) == MANTA_OK; }

static size_t count_there(const manta_ref *refs, size_t count, bool *out_ready)
{
    size_t n = 0;
    for (size_t i = 0; i < count; i++) {
        manta_status s = the_objects->view(refs[i], NULL, NULL);
        bool ready = s == MANTA_OK || s == MANTA_EFAILED;
        if (out_ready) out_ready[i] = ready;
        n += ready;
    }
    return n;
}

/* One event future for each object that is not there, and a wait for some of them. */
static manta_status wait_some(const manta_ref *refs, size_t count, size_t missing, uint64_t timeout_ms)
{
    worker *w = worker_self();
    manta_future *handles = base_calloc(count, sizeof *handles);
    future **events = base_calloc(count, sizeof *events);
    manta_status status = handles && events ? MANTA_OK : MANTA_ENOMEM;
    size_t n = 0;
    for (size_t i = 0; i < count && !status; i++) {
        if (the_objects->view(refs[i], NULL, NULL) != MANTA_ENOTREADY) continue;
        if (!(events[n] = future_new(w))) status = MANTA_ENOMEM;
        else if ((status = the_objects->subscribe(w, refs[i], events[n]))) future_free(w, events[n]);
        else handles[n] = future_handle(events[n]), n++;
    }
    if (!status) status = manta_wait_futures(handles, n, missing < n ? missing : n, timeout_ms, NULL);
    w = worker_self();
    for (size_t i = 0; i < n; i++) future_drop(w, events[i]);
    base_free(handles);
    base_free(events);
    return status;
}

manta_status manta_object_wait(const manta_ref *refs, size_t count, size_t needed, uint64_t timeout_ms, bool *out_ready)
{
    if (needed > count) return error_set(MANTA_EINVAL, "manta_object_wait: %zu of %zu objects", needed, count);
    size_t there = count_there(refs, count, out_ready);
    if (there >= needed) return MANTA_OK;
    manta_status status = wait_some(refs, count, needed - there, timeout_ms);
    if (count_there(refs, count, out_ready) >= needed) return MANTA_OK;
    return error_set(status ? status : MANTA_ESTALE, "manta_object_wait: %s", manta_status_text(status ? status : MANTA_ESTALE));
}

manta_status manta_retain(manta_ref ref)
{
    if (the_objects->count(worker_self(), ref, 1, true) == MANTA_OK) return MANTA_OK;
    return error_set(MANTA_ESTALE, "manta_retain: the object is gone or never was");
}

manta_status manta_release(manta_ref ref)
{
    if (the_objects->count(worker_self(), ref, -1, true) == MANTA_OK) return MANTA_OK;
    activation *act = activation_self();
    if (act && scope_let_go(act, ref)) return MANTA_OK;
    return error_set(MANTA_ESTALE, "manta_release: the ref was released more often than it was retained, or is gone");
}

/* ---- refs that stand for answers ---- */

typedef struct answer {
    wait_node node;
    future *future;
    manta_ref ref;
} answer;

static void store_value(worker *w, manta_ref ref, const manta_method *method, const void *value)
{
    manta_writer writer;
    manta_writer_init_growing(&writer);
    if (method && method->result.pack && !method->is_generator) method->result.pack(&writer, value);
    else manta_pack_nil(&writer);
    if (writer.status) the_objects->complete(w, ref, NULL, 0, error_new(writer.status, NULL, "the result cannot be packed"));
    else the_objects->complete(w, ref, writer.start, manta_writer_size(&writer), NULL);
    manta_writer_fini(&writer);
}

static void answered(worker *w, wait_node *node)
{
    answer *a = (answer *)(void *)node;
    future *f = a->future;
    if (f->kind == VALUE_ERROR) the_objects->complete(w, a->ref, NULL, 0, error_copy(f->error));
    else store_value(w, a->ref, f->method, f->kind == VALUE_BLOCK ? f->large.memory->bytes : f->bytes);
    (void)the_objects->count(w, a->ref, -1, false);
    value_discard(f);
    future_free(w, f);
    base_free(a);
}

manta_status manta_future_to_ref(manta_future handle, manta_ref *out_ref)
{
    worker *w = worker_self();
    future *f = future_find(handle);
    if (!f) return error_set(MANTA_ESTALE, "manta_future_to_ref: the future was already consumed or released");
    answer *a = base_alloc(sizeof *a);
    manta_status status = a ? the_objects->create(NULL, 0, true, &a->ref) : MANTA_ENOMEM;
    if (!status) status = give_to_scope(activation_of(w), a->ref, out_ref, "manta_future_to_ref");
    if (status) {
        base_free(a);
        return error_set(status, "manta_future_to_ref: no memory");
    }
    (void)the_objects->count(w, a->ref, 1, false); /* the answer's own */
    a->node.wake = answered;
    a->future = f;
    future_scope_remove(activation_of(w), f);
    uintptr_t expected = FUTURE_PENDING;
    if (!cas_seq(&f->state, &expected, (uintptr_t)&a->node | FUTURE_NODE)) answered(w, &a->node);
    return MANTA_OK;
}
