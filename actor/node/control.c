/*
 * Key-value pairs of the control store; and the store itself for a system that belongs to no cluster.
 */
#include "actor/node/control.h"

#include <stdio.h>
#include <string.h>

#include "actor/node/gcs_watch.h"
#include "actor/runtime/names.h"

enum { PAGE = 1000 };

static pthread_mutex_t begin_lock = PTHREAD_MUTEX_INITIALIZER;
static _Atomic bool is_starting;

manta_status control_check(const char *what, const char *kind, const char *name, size_t limit)
{
    if (!name || !*name) return error_set(MANTA_EINVAL, "%s: the %s is empty", what, kind);
    if (strnlen(name, limit + 1) > limit)
        return error_set(MANTA_ETOOLONG, "%s: the %s \"%.40s...\" has more than %zu bytes", what, kind, name, limit);
    return MANTA_OK;
}

/* Spawning waits, and a mutex must not be held over a wait: whoever is first starts it, others look again. */
static manta_status start_alone(void)
{
    manta_actor a = {0};
    gcs_options o = {.found = true, .voters = 1};
    pthread_mutex_lock(&begin_lock);
    bool mine = !gcs_is_known() && !load_seq(&is_starting);
    if (mine) store_seq(&is_starting, true);
    pthread_mutex_unlock(&begin_lock);
    while (!mine && !gcs_is_known() && load_seq(&is_starting))
        if (manta_sleep(1)) return manta_last_error()->status;
    if (!mine) return gcs_is_known() ? MANTA_OK : error_set(MANTA_EINIT, "the control store did not start");
    manta_status status = gcs_start(&o, &a);
    if (!status) gcs_know(a);
    store_seq(&is_starting, false);
    return status;
}

manta_status control_begin(const char *what)
{
    if (!activation_self() || load_relaxed(&the_runtime.running) != 1) return error_set(MANTA_ESHUTDOWN, "%s: no system runs", what);
    if (gcs_is_known()) return MANTA_OK;
    manta_status status = start_alone();
    return status ? error_set(status, "%s: %s", what, manta_last_error()->message) : MANTA_OK;
}

void control_stop(void)
{
    gcs_client_stop();
    gcs_watch_forget();
    locks_stop();
    store_seq(&is_starting, false);
}

manta_status control_call(const char *what, bool is_query, manta_writer *w, uint64_t timeout_ms, gcs_reply *out)
{
    memset(out, 0, sizeof *out);
    manta_status status =
        w->status ? error_set(w->status, "out of memory") : gcs_call(is_query, w->start, manta_writer_size(w), timeout_ms, out);
    manta_writer_fini(w);
    if (!status) return MANTA_OK;
    char text[512];
    snprintf(text, sizeof text, "%s", manta_last_error()->message);
    return error_set(status, "%s: %s", what, text);
}

/* ---- key-value pairs ---- */

static manta_status begin(const char *what, const char *space, const char *key, manta_writer *w)
{
    manta_status status = control_check(what, "space", space, NAME_LIMIT);
    if (!status) status = control_check(what, "key", key, KEY_LIMIT);
    if (!status) status = control_begin(what);
    if (!status) manta_writer_init_growing(w);
    return status;
}

static uint64_t when_of(uint64_t expected)
{
    return expected == MANTA_REVISION_ANY ? GCS_ALWAYS : expected == MANTA_REVISION_NONE ? GCS_IF_ABSENT : GCS_IF_REVISION;
}

static uint64_t number_of(const gcs_reply *reply)
{
    uint64_t n = 0;
    manta_reader r = gcs_reply_reader(reply);
    if (reply->result.size) manta_unpack_uint64_t(&r, &n);
    return r.status ? 0 : n;
}

/* The same answer whatever the condition was. */
static manta_status condition_failed(manta_status status, const char *what, const char *key, const gcs_reply *reply)
{
    if (status != MANTA_EEXIST && status != MANTA_ESTALE) return status;
    return error_set(MANTA_ESTALE, "%s: \"%.100s\" has revision %llu", what, key, (unsigned long long)number_of(reply));
}

manta_status manta_kv_put(
    const char *space, const char *key, const void *value, size_t size_bytes, uint64_t expected, uint64_t *out_revision)
{
    manta_writer w;
    gcs_reply reply;
    if (!value && size_bytes) return error_set(MANTA_EINVAL, "manta_kv_put: no data for %zu bytes", size_bytes);
    manta_status status = begin("manta_kv_put", space, key, &w);
    if (status) return status;
    gcs_kv_put put = {manta_str_of(space), manta_str_of(key), {value, size_bytes}, when_of(expected),
        when_of(expected) == GCS_IF_REVISION ? expected : 0};
    gcs_write_kv_put(&w, NULL, &put);
    status = control_call("manta_kv_put", false, &w, GCS_TIMEOUT_MS, &reply);
    if (!status && out_revision) *out_revision = number_of(&reply);
    return condition_failed(status, "manta_kv_put", key, &reply);
}

manta_status manta_kv_get(const char *space, const char *key, manta_bytes *out_value, uint64_t *out_revision)
{
    manta_writer w;
    gcs_reply reply;
    gcs_kv_row row;
    manta_status status = begin("manta_kv_get", space, key, &w);
    if (status) return status;
    gcs_write_kv_get(&w, NULL, &(gcs_kv_get){manta_str_of(space), manta_str_of(key)});
    if ((status = control_call("manta_kv_get", true, &w, GCS_TIMEOUT_MS, &reply))) return status;
    manta_reader r = gcs_reply_reader(&reply);
    gcs_read_kv_row(&r, &row);
    if (r.status) return error_set(MANTA_EDECODE, "manta_kv_get: a malformed answer");
    *out_value = row.value;
    if (out_revision) *out_revision = row.revision;
    return MANTA_OK;
}

manta_status manta_kv_delete(const char *space, const char *key, uint64_t expected)
{
    manta_writer w;
    gcs_reply reply;
    manta_status status = begin("manta_kv_delete", space, key, &w);
    if (status) return status;
    gcs_write_kv_delete(&w, NULL,
        &(gcs_kv_delete){manta_str_of(space), manta_str_of(key), when_of(expected), when_of(expected) == GCS_IF_REVISION ? expected : 0});
    status = control_call("manta_kv_delete", false, &w, GCS_TIMEOUT_MS, &reply);
    return condition_failed(status, "manta_kv_delete", key, &reply);
}

static char *keep_text(manta_str s)
{
    char *text = manta_alloc(s.size + 1);
    if (!text) return NULL;
    if (s.size) memcpy(text, s.data, s.size);
    text[s.size] = 0;
    return text;
}

typedef struct listing {
    manta_kv_item *out;
    size_t capacity, count;
    bool more;
    manta_bytes next;
} listing;

static manta_status take_page(listing *l, const gcs_reply *reply)
{
    gcs_page page;
    uint32_t n = 0;
    manta_reader r = gcs_reply_reader(reply);
    gcs_read_page(&r, &page);
    manta_reader rows;
    manta_reader_init(&rows, page.rows.data, page.rows.size);
    manta_unpack_array(&rows, &n);
    for (uint32_t i = 0; i < n && !r.status && !rows.status; i++) {
        gcs_kv_row row;
        gcs_read_kv_row(&rows, &row);
        const char *key = keep_text(row.key);
        if (!key) return error_set(MANTA_ENOMEM, "manta_kv_list: no memory");
        if (l->count < l->capacity) l->out[l->count++] = (manta_kv_item){key, row.value, row.revision};
    }
    l->next = page.next;
    l->more = page.next.size != 0;
    return r.status || rows.status ? error_set(MANTA_EDECODE, "manta_kv_list: a malformed answer") : MANTA_OK;
}

manta_status manta_kv_list(
    const char *space, const char *prefix, const char *after, manta_kv_item *out, size_t capacity, size_t *out_count, bool *out_more)
{
    listing l = {.out = out, .capacity = capacity, .more = true, .next = {after, after ? strlen(after) : 0}};
    manta_status status = control_check("manta_kv_list", "space", space, NAME_LIMIT);
    if (!status) status = control_begin("manta_kv_list");
    while (!status && l.more && (l.count < capacity || capacity == 0)) {
        manta_writer w;
        gcs_reply reply;
        size_t left = capacity - l.count;
        gcs_kv_list question = {manta_str_of(space), manta_str_of(prefix ? prefix : ""), {l.next.data, l.next.size},
            capacity ? left < PAGE ? left : PAGE : 1, capacity == 0};
        manta_writer_init_growing(&w);
        gcs_write_kv_list(&w, NULL, &question);
        status = control_call("manta_kv_list", true, &w, GCS_TIMEOUT_MS, &reply);
        if (!status) status = take_page(&l, &reply);
        if (capacity == 0) break;
    }
    if (status) return status;
    *out_count = l.count;
    *out_more = l.more;
    return MANTA_OK;
}

/* ---- watches ---- */

typedef struct kv_watch { /* one of an actor's; the watcher's */
    uint64_t actor;
    const manta_method *method;
    size_t space_bytes;
} kv_watch;

/* Tells by a message; NULL: it is over. */
static void tell(void *context, const gcs_event *e)
{
    kv_watch *k = context;
    if (!e) {
        base_free(k);
        return;
    }
    struct {
        manta_kv_change change;
    } __attribute__((aligned(16))) arguments = {{.revision = e->revision, .is_gone = e->is_gone}};
    gcs_kv_row row = {0};
    manta_reader r;
    manta_reader_init(&r, e->value.data, e->value.size);
    if (e->value.size) gcs_read_kv_row(&r, &row);
    arguments.change.key = (manta_str){(const char *)e->key.data + k->space_bytes + 1, e->key.size - k->space_bytes - 1};
    arguments.change.value = row.value;
    (void)manta_send_method((manta_actor){k->actor}, k->method, &arguments, arguments.change.key.size + row.value.size);
}

/* "void(manta_kv_change c,)" */
static bool takes_change(const manta_method *method)
{
    static const char wanted[] = "(manta_kv_change ";
    const char *open = strchr(method->signature, '('), *comma = open ? strchr(open, ',') : NULL;
    return comma && strncmp(open, wanted, sizeof wanted - 1) == 0 && strcmp(comma, ",)") == 0;
}

/* Space, 0, prefix. 0: an argument is wrong, or the caller is no actor. */
static size_t watched_prefix(const char *what, const char *space, const char *prefix, char out[NAME_LIMIT + KEY_LIMIT + 3])
{
    activation *act = activation_self();
    if (!act || !act->actor || !act->actor->cls) return error_set(MANTA_ECONTEXT, "%s: only a method of an actor may call it", what), 0;
    if (control_check(what, "space", space, NAME_LIMIT) || (prefix && *prefix && control_check(what, "prefix", prefix, KEY_LIMIT)))
        return 0;
    return (size_t)snprintf(out, NAME_LIMIT + KEY_LIMIT + 3, "%s%c%s", space, 0, prefix ? prefix : "");
}

manta_status manta_kv_watch_method(const char *space, const char *prefix, const manta_method *method)
{
    char watched[NAME_LIMIT + KEY_LIMIT + 3];
    size_t bytes = watched_prefix("manta_kv_watch", space, prefix, watched);
    if (!bytes) return manta_last_error()->status;
    const actor *me = activation_self()->actor;
    if (method->cls != me->cls || !takes_change(method))
        return error_set(MANTA_ETYPE, "manta_kv_watch: %s.%s must be a method of %s that takes one manta_kv_change", method->owner,
            method->name, me->cls->name);
    manta_status status = control_begin("manta_kv_watch");
    kv_watch *k = status ? NULL : base_alloc(sizeof *k);
    if (!k) return status ? status : error_set(MANTA_ENOMEM, "manta_kv_watch: no memory");
    *k = (kv_watch){actor_id(me), method, strlen(space)};
    return gcs_watch_start(GCS_TABLE_KV, watched, bytes, tell, k, manta_self());
}

manta_status manta_kv_unwatch(const char *space, const char *prefix)
{
    char watched[NAME_LIMIT + KEY_LIMIT + 3];
    size_t bytes = watched_prefix("manta_kv_unwatch", space, prefix, watched);
    if (!bytes) return manta_last_error()->status;
    return gcs_watch_stop(GCS_TABLE_KV, watched, bytes, manta_self());
}
