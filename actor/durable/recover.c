/*
 * The state of the last checkpoint and the calls of the log behind it, into an actor that has just been made. It has its place by then, so no former incarnation can write to the log any more.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "actor/durable/keeper_internal.h"
#include "actor/node/control.h"

enum { PAGE = 16 };

manta_status keeper_state(const keeper *k, int kind, manta_bytes in, manta_bytes *out_state)
{
    worker *w = worker_self();
    future *f = future_new(w);
    message *m = f ? message_new(w, in.size) : NULL;
    if (!m) {
        if (f) future_free(w, f);
        return error_set(MANTA_ENOMEM, "no memory for the state of a %s", k->cls->name);
    }
    if (in.size) memcpy(message_payload(m), in.data, in.size);
    m->kind = (uint8_t)kind;
    m->method = NULL;
    m->from = 0;
    m->reply = f;
    store_relaxed(&f->target, k->who.id);
    message_post_at_once(w, k->who.id, m);
    manta_status status = event_await(f, OS_FOREVER, "an actor's state");
    if (status) return future_drop(worker_self(), f), error_set(status, "%s", manta_status_text(status));
    return future_take(f, out_state, out_state ? sizeof *out_state : 0);
}

/* [8 bytes: record], [position, state, calls] */
static manta_status restore(keeper *k, manta_bytes saved)
{
    manta_reader r;
    manta_bytes state = {NULL, 0};
    if (saved.size < 8) return error_set(MANTA_EDECODE, "a checkpoint of %zu bytes", saved.size);
    k->record = k->saved_record = manta_load_be64(saved.data);
    manta_reader_init(&r, (const unsigned char *)saved.data + 8, saved.size - 8);
    manta_unpack_fields(&r, 3);
    manta_unpack_uint64_t(&r, &k->position);
    manta_unpack_manta_bytes(&r, &state);
    pthread_mutex_lock(&k->lock);
    k->saved_position = k->position;
    bool ok = !r.status && calls_unpack(&r, &k->calls);
    pthread_mutex_unlock(&k->lock);
    if (!ok) return error_set(r.status ? MANTA_EDECODE : MANTA_ENOMEM, "a checkpoint that cannot be read");
    return keeper_state(k, KIND_RESTORE, state, NULL);
}

/* The record of a logged call. NULL: it has run already, or there is no memory (*out_ok false). */
static durable_call *logged_call(keeper *k, uint64_t caller, uint64_t number, uint64_t method, manta_bytes arguments, bool *out_ok)
{
    pthread_mutex_lock(&k->lock);
    durable_caller *c = calls_caller(&k->calls, caller);
    durable_call *x = c ? calls_find(c, number) : NULL;
    bool known = x != NULL;
    if (c && !x && (x = calls_add(c, number)) && !call_keep(x, arguments.data, arguments.size)) {
        calls_remove(c, x);
        x = NULL;
    }
    if (x && !known) x->method = method;
    *out_ok = x != NULL;
    pthread_mutex_unlock(&k->lock);
    return known ? NULL : x;
}

static manta_status replay(keeper *k, manta_bytes record)
{
    manta_reader r;
    uint32_t n = 0;
    bool ok = true;
    manta_reader_init(&r, record.data, record.size);
    manta_unpack_array(&r, &n);
    for (uint32_t i = 0; i + 4 <= n && !r.status && ok; i += 4) {
        uint64_t caller = 0, number = 0, method = 0;
        manta_bytes arguments = {NULL, 0};
        manta_unpack_uint64_t(&r, &caller);
        manta_unpack_uint64_t(&r, &number);
        manta_unpack_uint64_t(&r, &method);
        manta_unpack_manta_bytes(&r, &arguments);
        durable_call *x = r.status ? NULL : logged_call(k, caller, number, method, arguments, &ok);
        if (x) keeper_run(worker_self(), k, x);
        if (k->broken) return error_set(k->broken, "%s", k->why);
    }
    if (!ok) return error_set(MANTA_ENOMEM, "no memory for the log");
    return r.status ? error_set(MANTA_EDECODE, "a malformed record of the log") : MANTA_OK;
}

static manta_status take(keeper *k, const manta_kv_item *item)
{
    uint64_t number = strtoull(item->key + 17, NULL, 16);
    if (!number) return restore(k, item->value);
    if (number <= k->record) return MANTA_OK; /* of a checkpoint that is newer */
    if (number != k->record + 1) return error_set(MANTA_EDECODE, "record %llu of the log is missing", (unsigned long long)k->record + 1);
    k->record = number;
    return replay(k, item->value);
}

/* One page; *after: where to go on. */
static manta_status read_page(keeper *k, const char *prefix, char after[GCS_ACTOR_KEY], bool *out_more)
{
    manta_kv_item items[PAGE];
    size_t n = 0;
    manta_status status = manta_scope_begin();
    if (status) return status;
    status = manta_kv_list(GCS_ACTOR_SPACE, prefix, after[0] ? after : NULL, items, PAGE, &n, out_more);
    bool is_read = !status;
    for (size_t i = 0; i < n && !status; i++) {
        snprintf(after, GCS_ACTOR_KEY, "%s", items[i].key);
        status = take(k, &items[i]);
    }
    if (status && is_read) {
        k->broken = status;
        snprintf(k->why, sizeof k->why, "its state cannot be brought back: %s", manta_last_error()->message);
    }
    (void)manta_scope_end();
    return status;
}

manta_status keeper_recover(keeper *k)
{
    char prefix[GCS_ACTOR_KEY], after[GCS_ACTOR_KEY] = "";
    bool more = true;
    snprintf(prefix, sizeof prefix, "%016llx/", (unsigned long long)k->uid);
    while (more && !k->broken)
        if (read_page(k, prefix, after, &more) && !k->broken && manta_sleep(AGAIN_MS)) return manta_last_error()->status;
    return k->broken ? error_set(k->broken, "%s", k->why) : MANTA_OK;
}
