#include "actor/durable/calls.h"

#include <string.h>

#include "scheduler/base/alloc.h"

/* ---- callers, in the order of their last use ---- */

static void unlink_caller(durable_calls *c, durable_caller *r)
{
    if (r->newer) r->newer->older = r->older;
    else c->newest = r->older;
    if (r->older) r->older->newer = r->newer;
    else c->oldest = r->newer;
    r->newer = r->older = NULL;
}

static void link_newest(durable_calls *c, durable_caller *r)
{
    r->older = c->newest;
    if (c->newest) c->newest->newer = r;
    else c->oldest = r;
    c->newest = r;
}

static void call_free(durable_call *x)
{
    base_free((void *)(uintptr_t)x->bytes.data);
    base_free(x->waiters);
    base_free(x);
}

static void free_caller(durable_calls *c, durable_caller *r)
{
    unlink_caller(c, r);
    (void)id_table_remove(&c->callers, r->id);
    for (durable_call *x = r->calls, *next; x; x = next) {
        next = x->next;
        call_free(x);
    }
    base_free(r);
}

static bool is_busy(const durable_caller *r)
{
    for (const durable_call *x = r->calls; x; x = x->next)
        if (x->state != CALL_DONE) return true;
    return false;
}

/* The one that was heard of longest ago, of those that have nothing under way. */
static bool make_room(durable_calls *c)
{
    durable_caller *r = c->oldest;
    while (r && is_busy(r)) r = r->newer;
    if (!r) return false;
    free_caller(c, r);
    c->forgotten++;
    return true;
}

durable_caller *calls_caller(durable_calls *c, uint64_t id)
{
    durable_caller *r = id_table_get(&c->callers, id);
    if (r) {
        unlink_caller(c, r);
        link_newest(c, r);
        return r;
    }
    if (c->callers.count >= CALLERS_LIMIT && !make_room(c)) return NULL;
    if (!(r = base_calloc(1, sizeof *r))) return NULL;
    r->id = id;
    if (!id_table_put(&c->callers, id, r)) {
        base_free(r);
        return NULL;
    }
    link_newest(c, r);
    return r;
}

bool calls_has(const durable_calls *c, uint64_t caller) { return id_table_get(&c->callers, caller) != NULL; }

/* ---- calls ---- */

durable_call *calls_find(const durable_caller *r, uint64_t number)
{
    durable_call *x = r->calls;
    while (x && x->number > number) x = x->next;
    return x && x->number == number ? x : NULL;
}

durable_call *calls_add(durable_caller *r, uint64_t number)
{
    durable_call **at = &r->calls, *x = base_calloc(1, sizeof *x);
    if (!x) return NULL;
    while (*at && (*at)->number > number) at = &(*at)->next;
    x->caller = r->id;
    x->number = number;
    x->next = *at;
    *at = x;
    r->n_calls++;
    return x;
}

void calls_remove(durable_caller *r, durable_call *gone)
{
    for (durable_call **at = &r->calls; *at; at = &(*at)->next)
        if (*at == gone) {
            *at = gone->next;
            r->n_calls--;
            call_free(gone);
            return;
        }
}

void calls_done(durable_caller *r, uint64_t number)
{
    if (number <= r->done) return;
    r->done = number;
    durable_call **at = &r->calls;
    while (*at && (*at)->number > number) at = &(*at)->next;
    for (durable_call *x; (x = *at);) {
        if (x->state != CALL_DONE) { /* nobody waits for it, but it is under way */
            at = &x->next;
            continue;
        }
        *at = x->next;
        r->n_calls--;
        call_free(x);
    }
}

bool call_keep(durable_call *x, const void *bytes, size_t size)
{
    void *copy = size ? base_alloc(size) : NULL;
    if (size && !copy) return false;
    if (size) memcpy(copy, bytes, size);
    base_free((void *)(uintptr_t)x->bytes.data);
    x->bytes = (manta_bytes){copy, size};
    return true;
}

void calls_fini(durable_calls *c)
{
    while (c->newest) free_caller(c, c->newest);
    id_table_fini(&c->callers);
}

/* ---- as bytes ---- */

static bool is_kept(const durable_call *x, uint64_t position) { return x->state == CALL_DONE && x->position <= position; }

static void pack_caller(manta_writer *w, const durable_caller *r, uint64_t position)
{
    uint32_t n = 0;
    for (const durable_call *x = r->calls; x; x = x->next) n += is_kept(x, position);
    manta_pack_array(w, 3);
    manta_pack_uint64_t(w, &r->id);
    manta_pack_uint64_t(w, &r->done);
    manta_pack_array(w, 4 * n);
    for (const durable_call *x = r->calls; x; x = x->next) {
        if (!is_kept(x, position)) continue;
        manta_pack_uint64_t(w, &x->number);
        manta_pack_uint64_t(w, &x->position);
        manta_pack_int32_t(w, &x->status);
        manta_pack_manta_bytes(w, &x->bytes);
    }
}

void calls_pack(manta_writer *w, const durable_calls *c, uint64_t position)
{
    manta_pack_array(w, 2);
    manta_pack_uint64_t(w, &c->forgotten);
    manta_pack_array(w, (uint32_t)c->callers.count);
    for (const durable_caller *r = c->oldest; r; r = r->newer) pack_caller(w, r, position);
}

static bool unpack_call(manta_reader *r, durable_caller *of)
{
    uint64_t number = 0, position = 0;
    int32_t status = 0;
    manta_bytes bytes = {NULL, 0};
    manta_unpack_uint64_t(r, &number);
    manta_unpack_uint64_t(r, &position);
    manta_unpack_int32_t(r, &status);
    manta_unpack_manta_bytes(r, &bytes);
    durable_call *x = r->status ? NULL : calls_add(of, number);
    if (!x) return false;
    x->position = position;
    x->status = status;
    x->state = CALL_DONE;
    return call_keep(x, bytes.data, bytes.size);
}

static bool unpack_caller(manta_reader *r, durable_calls *c)
{
    uint64_t id = 0, done = 0;
    uint32_t n = 0;
    manta_unpack_tuple(r, 3, "a caller");
    manta_unpack_uint64_t(r, &id);
    manta_unpack_uint64_t(r, &done);
    manta_unpack_array(r, &n);
    durable_caller *of = r->status ? NULL : calls_caller(c, id);
    if (!of) return false;
    if (done > of->done) of->done = done;
    for (uint32_t i = 0; i + 4 <= n; i += 4)
        if (!unpack_call(r, of)) return false;
    return true;
}

bool calls_unpack(manta_reader *r, durable_calls *c)
{
    uint32_t n = 0;
    manta_unpack_tuple(r, 2, "the calls of a durable actor");
    manta_unpack_uint64_t(r, &c->forgotten);
    manta_unpack_array(r, &n);
    for (uint32_t i = 0; i < n && !r->status; i++)
        if (!unpack_caller(r, c)) return false;
    return !r->status;
}
