/*
 * Objects in the store that the processes of a machine share (objstore/store.h), behind the ops table.
 *
 * A ref's two words are the store's id. Errors of failed calls travel as MessagePack: status, message, class, method. What this process retained by manta_retain is counted
 * here, by slot, because the store only knows one count for a process.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "actor/object/object_ops.h"
#include "objstore/store.h"

enum { SLOTS_MAX = 4194304 };

static store *the_store;
static char store_path[512];
static _Atomic uint32_t *retained; /* by slot */
static bool has_sites;

static store_id id_of(manta_ref ref) { return (store_id){{ref.id[0], ref.id[1]}}; }
static manta_ref ref_of(store_id id) { return (manta_ref){{id.word[0], id.word[1]}}; }

/* ---- start and stop ---- */

static manta_status no_start(manta_status status)
{
    if (retained) os_unmap((void *)(uintptr_t)retained, SLOTS_MAX * sizeof *retained);
    retained = NULL;
    return error_set(status, "%s", status == MANTA_ENOMEM ? "no memory for the objects" : store_error());
}

static manta_status table_start(const manta_config *config)
{
    bool is_private = strcmp(config->store, "private") == 0;
    if (is_private) snprintf(store_path, sizeof store_path, "/dev/shm/manta-%d", (int)getpid());
    else snprintf(store_path, sizeof store_path, "%s", config->store);
    store_options o = {.path = store_path,
        .mode = is_private ? STORE_CREATE : STORE_OPEN,
        .capacity_bytes = config->object_bytes,
        .spill_path = config->spill,
        .spill_bytes = config->spill_bytes,
        .name = program_invocation_short_name,
        .no_keeper = is_private,
        .call_sites = config->object_sites};
    has_sites = config->object_sites;
    if (!(retained = os_map(SLOTS_MAX * sizeof *retained, OS_MAP_NORESERVE))) return no_start(MANTA_ENOMEM);
    manta_status status = store_open(&o, &the_store);
    return status ? no_start(status) : MANTA_OK;
}

static void table_quiet(void) { store_unwatch_all(the_store); }

static void table_stop(void)
{
    store_close(the_store);
    the_store = NULL;
    (void)store_destroy(store_path); /* unless others use it: the last one takes the files along, as no object is left */
    if (retained) os_unmap((void *)(uintptr_t)retained, SLOTS_MAX * sizeof *retained);
    retained = NULL;
}

/* ---- making ---- */

/* What this thread makes next is made by the handler that runs. */
static void note_site(void)
{
    static _Thread_local char site[STORE_SITE_BYTES];
    if (likely(!has_sites)) return;
    const activation *a = activation_self();
    bool in_handler = a && a->method;
    snprintf(site, sizeof site, "%s%s%s", in_handler ? a->method->owner : "main", in_handler && a->method->owner[0] ? "." : "",
        in_handler ? a->method->name : "");
    store_site(site);
}

static manta_status fill(const void *data, size_t size_bytes, object_refs inside, store_id *out)
{
    void *to;
    manta_status status = store_create(the_store, size_bytes, inside.count, out, &to);
    if (status) return status;
    if (data && size_bytes) memcpy(to, data, size_bytes);
    status = store_seal(the_store, *out, (const store_id *)(const void *)inside.items);
    if (status) (void)store_abort(the_store, *out);
    return status;
}

/* First without a wait; when there is no room, again in a blocking section, so that other handlers go on. */
#define WITH_ROOM(call_) \
    ({ \
        store_no_wait(true); \
        manta_status status_ = (call_); \
        store_no_wait(false); \
        if (status_ == MANTA_ESTOREFULL) { \
            manta_blocking_begin(); \
            status_ = (call_); \
            manta_blocking_end(); \
        } \
        status_; \
    })

static manta_status table_put(const void *data, size_t size_bytes, object_refs inside, manta_ref *out)
{
    store_id id;
    note_site();
    manta_status status = WITH_ROOM(fill(data, size_bytes, inside, &id));
    if (status) return error_set(status, "manta_put: %s", store_error());
    *out = ref_of(id);
    return MANTA_OK;
}

static manta_status table_promise(manta_ref *out)
{
    store_id id;
    note_site();
    manta_status status = store_promise(the_store, &id);
    if (status) return error_set(status, "%s", store_error());
    *out = ref_of(id);
    return MANTA_OK;
}

static manta_status table_create(size_t size_bytes, manta_ref *out, void **out_data)
{
    store_id id;
    note_site();
    manta_status status = WITH_ROOM(store_create(the_store, size_bytes, 0, &id, out_data));
    if (status) return error_set(status, "manta_create: %s", store_error());
    *out = ref_of(id);
    return MANTA_OK;
}

static manta_status table_seal(worker *w, manta_ref ref)
{
    (void)w;
    return store_seal(the_store, id_of(ref), NULL);
}

static manta_status table_abort(worker *w, manta_ref ref)
{
    (void)w;
    return store_abort(the_store, id_of(ref));
}

/* ---- errors as bytes ---- */

static void pack_text(manta_writer *w, const char *text)
{
    manta_str s = manta_str_of(text ? text : "");
    manta_pack_manta_str(w, &s);
}

static manta_status complete_error(manta_ref ref, manta_error *error)
{
    manta_writer w;
    int32_t code = (int32_t)error->status;
    manta_writer_init_growing(&w);
    manta_pack_array(&w, 4);
    manta_pack_int32_t(&w, &code);
    pack_text(&w, error->message);
    pack_text(&w, error->class_name);
    pack_text(&w, error->method);
    manta_status status = w.status ? MANTA_ENOMEM : MANTA_OK;
    store_no_wait(true); /* who waits for the object shall not wait for room to be told that there is none */
    if (!status) status = store_fulfil(the_store, id_of(ref), w.start, manta_writer_size(&w), NULL, 0, true);
    store_no_wait(false);
    if (status && status != MANTA_ESTALE) status = store_fail(the_store, id_of(ref), error->status);
    manta_writer_fini(&w);
    error_free(error);
    return status;
}

static manta_error *unpack_error(const store_view *v)
{
    manta_reader r;
    int32_t code = MANTA_EFAILED;
    manta_str text[3] = {{NULL, 0}};
    if (v->status) return error_new(v->status, NULL, "%s (there was no room for more words)", manta_status_text(v->status));
    manta_reader_init(&r, v->data, v->size_bytes);
    manta_unpack_tuple(&r, 4, "an error");
    manta_unpack_int32_t(&r, &code);
    for (int i = 0; i < 3; i++) manta_unpack_manta_str(&r, &text[i]);
    if (r.status) return error_new(MANTA_EFAILED, NULL, "the process that was to make the object ended");
    return error_new((manta_status)code, NULL, "%.*s%s%.*s%s%.*s%s", (int)text[0].size, text[0].data, text[1].size ? " (" : "",
        (int)text[1].size, text[1].data, text[2].size ? "." : "", (int)text[2].size, text[2].data, text[1].size ? ")" : "");
}

static manta_status table_complete(worker *w, manta_ref ref, const void *data, size_t size_bytes, object_refs inside, manta_error *error)
{
    (void)w;
    if (error) return complete_error(ref, error);
    manta_status status =
        store_fulfil(the_store, id_of(ref), data, size_bytes, (const store_id *)(const void *)inside.items, inside.count, false);
    if (status && status != MANTA_ESTALE) return complete_error(ref, error_new(status, NULL, "%s", store_error()));
    return status;
}

/* ---- reading ---- */

static manta_status table_view(manta_ref ref, manta_object *out, manta_error **out_error)
{
    store_view v;
    if (!out) return store_peek(the_store, id_of(ref));
    manta_status status = store_pin(the_store, id_of(ref), &v);
    if (status == MANTA_OK) *out = (manta_object){v.data, v.size_bytes, ref};
    if (status == MANTA_EFAILED) {
        if (out_error) *out_error = unpack_error(&v);
        store_unpin(the_store, id_of(ref));
    }
    if (status == MANTA_EIO || status == MANTA_ESTOREFULL) error_set(status, "%s", store_error());
    return status;
}

static void table_unpin(worker *w, manta_ref ref)
{
    (void)w;
    store_unpin(the_store, id_of(ref));
}

static bool table_may_wait(manta_ref ref)
{
    return store_peek(the_store, id_of(ref)) == MANTA_OK && !store_is_resident(the_store, id_of(ref));
}

static void ready(void *context, store_id id)
{
    (void)id;
    worker *w = worker_self();
    if (w) future_complete(w, context, NULL, NULL, 0);
}

static manta_status table_subscribe(worker *w, manta_ref ref, future *f)
{
    (void)w;
    if (store_peek(the_store, id_of(ref)) == MANTA_ESTALE) return MANTA_ESTALE;
    return store_watch(the_store, id_of(ref), ready, f);
}

static bool table_unsubscribe(manta_ref ref, future *f) { return store_unwatch(the_store, id_of(ref), f); }

/* ---- counts ---- */

static bool take_retained(manta_ref ref)
{
    _Atomic uint32_t *count = &retained[(uint32_t)ref.id[0] % SLOTS_MAX];
    uint32_t n = load_relaxed(count);
    if (store_peek(the_store, id_of(ref)) == MANTA_ESTALE) return false;
    while (n && !atomic_compare_exchange_weak_explicit(count, &n, n - 1, memory_order_acq_rel, memory_order_relaxed)) continue;
    return n != 0;
}

static manta_status table_count(worker *w, manta_ref ref, int by, bool is_explicit)
{
    (void)w;
    if (by > 0) {
        manta_status status = store_hold(the_store, id_of(ref));
        if (!status && is_explicit) add_seq(&retained[(uint32_t)ref.id[0] % SLOTS_MAX], 1);
        return status;
    }
    if (is_explicit && !take_retained(ref)) return MANTA_ESTALE;
    return store_drop(the_store, id_of(ref));
}

static void table_usage(size_t *out_objects, uint64_t *out_bytes)
{
    store_info *info = base_alloc(sizeof *info);
    *out_objects = 0;
    *out_bytes = 0;
    if (info && store_stat(the_store, info) == MANTA_OK) {
        *out_objects = info->objects;
        *out_bytes = info->object_bytes;
    }
    base_free(info);
}

/* ---- objects that come from elsewhere ---- */

static manta_status table_prepare(manta_ref ref, size_t size_bytes, uint32_t n_inside, bool may_wait, void **out_data)
{
    store_no_wait(!may_wait);
    manta_status status = store_prepare(the_store, id_of(ref), size_bytes, n_inside, out_data);
    store_no_wait(false);
    return status ? error_set(status, "%s", store_error()) : MANTA_OK;
}

static manta_status table_finish(worker *w, manta_ref ref, object_refs inside)
{
    (void)w;
    manta_status status = store_seal(the_store, id_of(ref), (const store_id *)(const void *)inside.items);
    return status ? error_set(status, "%s", store_error()) : MANTA_OK;
}

static void table_unprepare(manta_ref ref) { (void)store_unprepare(the_store, id_of(ref)); }
static bool table_pin_filling(manta_ref ref) { return store_pin_own(the_store, id_of(ref)) == MANTA_OK; }
static bool table_is_last(manta_ref ref) { return store_is_last(the_store, id_of(ref)); }
static bool table_knows(manta_ref ref) { return store_knows(the_store, id_of(ref)); }

static uint32_t table_inside(manta_ref ref, manta_ref *out, uint32_t capacity)
{
    return store_inside(the_store, id_of(ref), (store_id *)(void *)out, capacity);
}

static manta_status table_share(manta_ref ref, manta_ref root, manta_ref *out_other)
{
    store_id other;
    manta_status status = store_share(the_store, id_of(root), id_of(ref), &other);
    if (status == MANTA_EEXIST) *out_other = ref_of(other);
    return status;
}

static manta_status table_alias(manta_ref ref, manta_ref other)
{
    store_no_wait(true);
    manta_status status = store_alias(the_store, id_of(ref), id_of(other));
    store_no_wait(false);
    return status;
}

const object_ops object_store_table = {"store", table_start, table_quiet, table_stop, table_put, table_promise, table_create, table_seal,
    table_abort, table_complete, table_view, table_unpin, table_may_wait, table_subscribe, table_unsubscribe, table_count, table_usage,
    table_prepare, table_finish, table_unprepare, table_pin_filling, table_is_last, table_knows, table_inside, table_share, table_alias};
