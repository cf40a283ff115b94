/*
 * Objects for users: refs in scopes, in messages, retained; waiting for pending ones. The store is behind an ops table.
 *
 * A ref that a handler obtained is a count held by its scope; a ref inside a message or result is a count held by the message, which the receiver's scope takes over.
 */
#include <stdlib.h>
#include <string.h>

#include "actor/node/lineage.h"
#include "actor/object/object_ops.h"
#include "actor/transfer/transfer.h"

struct held_ref {
    struct held_ref *next;
    manta_ref ref;
    bool is_pin; /* of a view; else a count */
};

const object_ops *the_objects = &object_local_table;

/* In deterministic mode nothing may depend on other threads or processes. */
manta_status objects_start(const manta_config *config)
{
    the_objects = config->store && !config->seed ? &object_store_table : &object_local_table;
    manta_status status = the_objects->start(config);
    if (status != MANTA_ELIMIT || !getenv("MANTA_WORKER")) return status;
    the_objects = &object_local_table; /* one worker more than a store takes processes: its objects travel */
    return the_objects->start(config);
}

bool objects_move(const char *store_path)
{
    manta_config c = the_runtime.config;
    c.store = store_path;
    if (the_objects != &object_local_table || object_store_table.start(&c)) return false;
    object_local_table.stop();
    the_objects = &object_store_table;
    return true;
}

void objects_quiet(void) { the_objects->quiet(); }
void objects_stop(void) { the_objects->stop(); }

/* ---- scopes ---- */

static void give_up(worker *w, manta_ref ref, bool is_pin)
{
    if (is_pin) the_objects->unpin(w, ref);
    else (void)the_objects->count(w, ref, -1, false);
}

/* Takes over one count, or one pin. False: no memory, and it is given up. */
static bool scope_hold(activation *act, manta_ref ref, bool is_pin)
{
    struct held_ref *h = base_alloc(sizeof *h);
    if (!h) {
        give_up(worker_self(), ref, is_pin);
        return false;
    }
    *h = (struct held_ref){act->refs, ref, is_pin};
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
        give_up(w, h->ref, h->is_pin);
        base_free(h);
    }
}

void scope_release_refs(activation *act) { scope_release_refs_until(act, NULL); }

static bool is_ref(const struct held_ref *h, manta_ref ref, bool is_pin)
{
    return h->is_pin == is_pin && h->ref.id[0] == ref.id[0] && h->ref.id[1] == ref.id[1];
}

/* Takes one count or pin of ref out of the scope, and gives it up. */
static bool scope_remove(activation *act, manta_ref ref, bool is_pin)
{
    struct held_ref **link = &act->refs;
    while (*link && !is_ref(*link, ref, is_pin)) link = &(*link)->next;
    struct held_ref *h = *link;
    if (!h) return false;
    *link = h->next;
    give_up(worker_self(), ref, is_pin);
    base_free(h);
    return true;
}

static bool scope_has(const activation *act, manta_ref ref)
{
    const struct held_ref *h = act->refs;
    while (h && !is_ref(h, ref, false)) h = h->next;
    return h != NULL;
}

/* The scope's last count of an object takes its views along. */
static bool scope_let_go(activation *act, manta_ref ref)
{
    if (!scope_remove(act, ref, false)) return false;
    while (!scope_has(act, ref) && scope_remove(act, ref, true)) continue;
    return true;
}

/* ---- refs in messages ---- */

static void count_one(manta_ref *ref, manta_object *view, void *context)
{
    (void)view;
    *ref = transfer_here(*ref); /* the message's own copy */
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
    if (!ref->id[0] || scope_hold(a->act, *ref, false)) return;
    a->status = error_set(MANTA_ENOMEM, "no memory for a ref");
}

static manta_status get_for(manta_ref ref, uint64_t timeout_ms, need why, manta_object *out_view);

static void resolve_one(manta_ref *ref, manta_object *view, void *context)
{
    arrival *a = context;
    if (view && ref->id[0] && !a->status) a->status = get_for(*ref, MANTA_FOREVER, NEED_ARGUMENT, view);
}

static void want_one(manta_ref *ref, manta_object *view, void *context)
{
    (void)context;
    if (view && ref->id[0]) transfer_need(*ref, NEED_ARGUMENT);
}

/* First every count, then the waits: a kill in one of them finds all counts in the scope. */
manta_status refs_arrived(const manta_layout *layout, void *value, activation *act)
{
    arrival a = {act, MANTA_OK};
    layout->refs(value, hold_one, &a);
    layout->refs(value, want_one, NULL); /* all at once */
    layout->refs(value, resolve_one, &a);
    return a.status;
}

void arguments_arrived(const manta_method *method, void *arguments, activation *act)
{
    manta_status status = refs_arrived(&method->arguments, arguments, act);
    if (status) manta_fail(status, "an argument's object is not to be had");
}

/* ---- the public side ---- */

static _Atomic bool were_made;
bool objects_were_made(void) { return load_relaxed(&were_made); }

static manta_status give_to_scope(activation *act, manta_ref ref, manta_ref *out_ref, const char *what)
{
    store_relaxed(&were_made, true);
    if (!scope_hold(act, ref, false)) return error_set(MANTA_ENOMEM, "%s: no memory", what);
    *out_ref = ref;
    return MANTA_OK;
}

/* The scope of who calls; NULL after error_set. */
static activation *in_system(const char *what)
{
    activation *act = activation_self();
    if (act && load_relaxed(&the_runtime.running) == 1) return act;
    error_set(MANTA_ESHUTDOWN, "%s: no system runs", what);
    return NULL;
}

/* A ref that goes into an object: other processes of the store may find it there, and cannot pull it. */
static manta_ref here_for_all(manta_ref given)
{
    manta_ref ref = transfer_here(given);
    if (the_objects == &object_store_table) transfer_need(ref, NEED_ARGUMENT);
    return ref;
}

manta_status manta_put_with(const void *data, size_t size_bytes, const manta_ref *inside, size_t n_inside, manta_ref *out_ref)
{
    enum { INSIDE_LIMIT = 1 << 24 };
    activation *act = in_system("manta_put");
    if (!act) return MANTA_ESHUTDOWN;
    if (!data && size_bytes) return error_set(MANTA_EINVAL, "manta_put: no data for %zu bytes", size_bytes);
    if (n_inside > INSIDE_LIMIT || (n_inside && !inside))
        return error_set(MANTA_EINVAL, "manta_put: %zu refs inside (at most %d)", n_inside, INSIDE_LIMIT);
    manta_ref ref, *named = n_inside ? base_alloc(n_inside * sizeof *named) : NULL;
    if (n_inside && !named) return error_set(MANTA_ENOMEM, "manta_put: no memory for %zu refs", n_inside);
    for (size_t i = 0; i < n_inside; i++) named[i] = here_for_all(inside[i]);
    manta_status status = the_objects->put(data, size_bytes, (object_refs){named, (uint32_t)n_inside}, &ref);
    base_free(named);
    return status ? status : give_to_scope(act, ref, out_ref, "manta_put");
}

manta_status manta_put(const void *data, size_t size_bytes, manta_ref *out_ref)
{
    return manta_put_with(data, size_bytes, NULL, 0, out_ref);
}

manta_status manta_create(size_t size_bytes, manta_ref *out_ref, void **out_data)
{
    activation *act = in_system("manta_create");
    if (!act) return MANTA_ESHUTDOWN;
    manta_ref ref;
    void *data;
    manta_status status = the_objects->create(size_bytes, &ref, &data);
    if (!status && !(status = give_to_scope(act, ref, out_ref, "manta_create"))) *out_data = data;
    return status;
}

manta_status manta_seal(manta_ref ref)
{
    if (!transfer_is_replica(ref) && the_objects->seal(worker_self(), ref) == MANTA_OK) return MANTA_OK;
    return error_set(MANTA_ESTALE, "manta_seal: the object is not being filled (any more)");
}

/* An aborted object's count went with it. */
static void scope_forget(activation *act, manta_ref ref)
{
    struct held_ref **link = &act->refs;
    while (*link && !is_ref(*link, ref, false)) link = &(*link)->next;
    struct held_ref *h = *link;
    if (!h) return;
    *link = h->next;
    base_free(h);
}

manta_status manta_abort(manta_ref ref)
{
    activation *act = activation_self();
    if (transfer_is_replica(ref) || the_objects->abort(worker_self(), ref))
        return error_set(MANTA_ESTALE, "manta_abort: the object is not being filled (any more)");
    if (act) scope_forget(act, ref);
    return MANTA_OK;
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

static manta_status look(manta_ref ref, manta_object *out_view, manta_error **out_error)
{
    activation *act = activation_self();
    bool blocks = act && act->actor && the_objects->may_wait(ref);
    if (blocks) manta_blocking_begin();
    manta_status status = the_objects->view(ref, out_view, out_error);
    if (blocks) manta_blocking_end();
    return status;
}

static manta_status get_pinned(manta_ref given, uint64_t timeout_ms, need why, manta_object *out_view)
{
    manta_error *error = NULL;
    manta_ref ref = transfer_here(given);
    manta_status status = look(ref, out_view, &error);
    if (status == MANTA_ENOTREADY) transfer_need(ref, why);
    if (status == MANTA_ENOTREADY && !(status = wait_ready(ref, deadline_of(timeout_ms)))) status = look(ref, out_view, &error);
    if (status == MANTA_OK) return MANTA_OK;
    if (status == MANTA_EFAILED && error) return error_set_last(error);
    if (status == MANTA_EIO || status == MANTA_ESTOREFULL) return status; /* said already */
    return error_set(
        status, "manta_object_get: %s", status == MANTA_ESTALE ? "the object is gone or never was" : manta_status_text(status));
}

static manta_status get_for(manta_ref ref, uint64_t timeout_ms, need why, manta_object *out_view)
{
    manta_object view;
    activation *act = in_system("manta_object_get");
    manta_status status = act ? get_pinned(ref, timeout_ms, why, &view) : MANTA_ESHUTDOWN;
    if (status) return status;
    if (!scope_hold(act, view.ref, true)) return error_set(MANTA_ENOMEM, "manta_object_get: no memory");
    *out_view = view;
    return MANTA_OK;
}

manta_status manta_object_get(manta_ref ref, uint64_t timeout_ms, manta_object *out_view)
{
    return get_for(ref, timeout_ms, NEED_GET, out_view);
}

manta_status manta_get_copy(manta_ref ref, uint64_t timeout_ms, void *out, size_t room_bytes, size_t *out_size)
{
    manta_object view;
    manta_status status = in_system("manta_get_copy") ? get_pinned(ref, timeout_ms, NEED_GET, &view) : MANTA_ESHUTDOWN;
    if (status) return status;
    if (view.size <= room_bytes && view.size) memcpy(out, view.data, view.size);
    else if (view.size)
        status = error_set(MANTA_ETOOLONG, "manta_get_copy: the object has %zu bytes, there is room for %zu", view.size, room_bytes);
    if (out_size) *out_size = view.size;
    the_objects->unpin(worker_self(), view.ref);
    return status;
}

manta_status manta_object_inside(manta_ref ref, uint64_t timeout_ms, manta_ref *out, size_t capacity, size_t *out_count)
{
    manta_object view;
    manta_status status = in_system("manta_object_inside") ? get_pinned(ref, timeout_ms, NEED_GET, &view) : MANTA_ESHUTDOWN;
    if (status) return status;
    *out_count = the_objects->inside(view.ref, out, capacity < UINT32_MAX ? (uint32_t)capacity : UINT32_MAX);
    the_objects->unpin(worker_self(), view.ref);
    return MANTA_OK;
}

manta_status manta_read_object_stats(manta_object_stats *out)
{
    size_t objects;
    if (!in_system("manta_read_object_stats")) return MANTA_ESHUTDOWN;
    *out = (manta_object_stats){.replicas = load_relaxed(&imports_count),
        .held = load_relaxed(&exports_held),
        .bytes_in = load_relaxed(&pulled_bytes),
        .bytes_out = load_relaxed(&served_bytes)};
    lineage_counts c;
    lineage_count(&c);
    out->records = c.records;
    out->record_bytes = c.bytes;
    out->records_stored = c.stored;
    out->rebuilt = c.rebuilt;
    out->rebuild_wait_ns = c.longest_wait_ns;
    the_objects->usage(&objects, &out->bytes);
    out->objects = objects;
    return MANTA_OK;
}

bool manta_object_contains(manta_ref ref) { return the_objects->view(transfer_here(ref), NULL, NULL) == MANTA_OK; }

static size_t count_there(const manta_ref *refs, size_t count, bool *out_ready)
{
    size_t n = 0;
    for (size_t i = 0; i < count; i++) {
        manta_status s = the_objects->view(transfer_here(refs[i]), NULL, NULL);
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
        manta_ref ref = transfer_here(refs[i]);
        if (the_objects->view(ref, NULL, NULL) != MANTA_ENOTREADY) continue;
        transfer_need(ref, NEED_WAIT);
        if (!(events[n] = future_new(w))) status = MANTA_ENOMEM;
        else if ((status = the_objects->subscribe(w, ref, events[n]))) future_free(w, events[n]);
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
    if (the_objects->count(worker_self(), transfer_here(ref), 1, true) == MANTA_OK) return MANTA_OK;
    return error_set(MANTA_ESTALE, "manta_retain: the object is gone or never was");
}

manta_status manta_release(manta_ref given)
{
    manta_ref ref = transfer_here(given);
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

typedef struct gathered {
    manta_ref *items;
    uint32_t count, room;
} gathered;

static void gather(manta_ref *ref, manta_object *view, void *context)
{
    (void)view;
    gathered *g = context;
    if (ref->id[0] && g->count < g->room) g->items[g->count] = here_for_all(*ref);
    g->count += ref->id[0] != 0;
}

/* The refs inside a value; NULL and a count that is not 0: no memory. */
static object_refs refs_of(const manta_method *method, const void *value)
{
    gathered g = {NULL, 0, 0};
    if (!method || !method->result.refs) return (object_refs){NULL, 0};
    method->result.refs((void *)(uintptr_t)value, gather, &g);
    if (g.count && (g.items = base_alloc(g.count * sizeof *g.items))) {
        g.room = g.count;
        g.count = 0;
        method->result.refs((void *)(uintptr_t)value, gather, &g);
    }
    return (object_refs){g.items, g.count};
}

void object_store_value(worker *w, manta_ref ref, const manta_method *method, const void *value)
{
    manta_writer writer;
    manta_writer_init_growing(&writer);
    object_refs inside = refs_of(method, value);
    bool failed = inside.count && !inside.items;
    if (method && method->result.pack && !method->is_generator) method->result.pack(&writer, value);
    else manta_pack_nil(&writer);
    failed = failed || writer.status;
    the_objects->complete(w, ref, failed ? NULL : writer.start, failed ? 0 : manta_writer_size(&writer),
        failed ? (object_refs){NULL, 0} : inside, failed ? error_new(MANTA_ENOMEM, NULL, "the result cannot be packed") : NULL);
    manta_writer_fini(&writer);
    base_free((void *)(uintptr_t)inside.items);
}

static void answered(worker *w, wait_node *node)
{
    answer *a = (answer *)(void *)node;
    future *f = a->future;
    if (f->kind == VALUE_ERROR) the_objects->complete(w, a->ref, NULL, 0, (object_refs){NULL, 0}, error_copy(f->error));
    else object_store_value(w, a->ref, f->method, f->kind == VALUE_BLOCK ? f->large.memory->bytes : f->bytes);
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
    manta_status status = a ? the_objects->promise(&a->ref) : MANTA_ENOMEM;
    if (!status) status = give_to_scope(activation_of(w), a->ref, out_ref, "manta_future_to_ref");
    if (status) {
        base_free(a);
        return error_set(status, "manta_future_to_ref: no memory");
    }
    (void)the_objects->count(w, a->ref, 1, false); /* the answer's own */
    attempt_becomes(f, a->ref);
    a->node.wake = answered;
    a->future = f;
    future_scope_remove(activation_of(w), f);
    uintptr_t expected = FUTURE_PENDING;
    if (!cas_seq(&f->state, &expected, (uintptr_t)&a->node | FUTURE_NODE)) answered(w, &a->node);
    return MANTA_OK;
}
