/* Clients and what they were answered, so that a request that comes twice is done once. */
#include <inttypes.h>
#include <string.h>

#include "gcs/core/core_internal.h"
#include "scheduler/base/alloc.h"

enum { CLIENT_COST = 128, REPLY_COST = 64 };

typedef struct remembered {
    uint64_t request;
    unsigned char *bytes;
    uint32_t size;
} remembered;

struct client {
    uint64_t id, heard_ms, acknowledged;
    client *older, *newer;
    remembered *replies; /* by request */
    uint32_t count, capacity;
};

/* ---- by age ---- */

static void unlink(clients *s, client *c)
{
    *(c->older ? &c->older->newer : &s->oldest) = c->newer;
    *(c->newer ? &c->newer->older : &s->newest) = c->older;
}

static void append(clients *s, client *c)
{
    c->older = s->newest;
    c->newer = NULL;
    *(s->newest ? &s->newest->newer : &s->oldest) = c;
    s->newest = c;
}

/* ---- replies ---- */

/* The place of the first reply whose request is not less. */
static uint32_t place_of(const client *c, uint64_t request)
{
    uint32_t low = 0, high = c->count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (c->replies[middle].request < request) low = middle + 1;
        else high = middle;
    }
    return low;
}

static void forget_until(clients *s, client *c, uint64_t request)
{
    uint32_t n = 0;
    for (; n < c->count && c->replies[n].request <= request; n++) {
        s->usage.bytes -= REPLY_COST + c->replies[n].size;
        base_free(c->replies[n].bytes);
    }
    c->count -= n;
    if (n) memmove(c->replies, c->replies + n, c->count * sizeof *c->replies);
}

static bool add_reply(clients *s, client *c, uint64_t request, const void *bytes, size_t size)
{
    if (c->count == c->capacity) {
        uint32_t capacity = c->capacity ? c->capacity * 2 : 4;
        remembered *grown = base_realloc(c->replies, capacity * sizeof *grown);
        if (!grown) return false;
        c->replies = grown;
        c->capacity = capacity;
    }
    unsigned char *copy = base_alloc(size);
    if (!copy) return false;
    memcpy(copy, bytes, size);
    uint32_t at = place_of(c, request);
    memmove(c->replies + at + 1, c->replies + at, (c->count - at) * sizeof *c->replies);
    c->replies[at] = (remembered){request, copy, (uint32_t)size};
    c->count++;
    s->usage.bytes += REPLY_COST + size;
    return true;
}

/* ---- clients ---- */

static void client_free(clients *s, client *c)
{
    forget_until(s, c, UINT64_MAX);
    base_free(c->replies);
    base_free(c);
    s->usage.bytes -= CLIENT_COST;
    s->usage.items--;
}

static client *client_new(clients *s, uint64_t id)
{
    client *c = base_calloc(1, sizeof *c);
    if (!c) return NULL;
    c->id = id;
    if (!id_table_put(&s->by_id, id, c)) {
        base_free(c);
        return NULL;
    }
    append(s, c);
    s->usage.bytes += CLIENT_COST;
    s->usage.items++;
    return c;
}

static void forget(clients *s, client *c)
{
    unlink(s, c);
    id_table_remove(&s->by_id, c->id);
    client_free(s, c);
}

void clients_fini(clients *s)
{
    while (s->oldest) forget(s, s->oldest);
    id_table_fini(&s->by_id);
    *s = (clients){0};
}

uint64_t clients_next_expiry(const gcs_core *c)
{
    return c->clients.oldest ? c->clients.oldest->heard_ms + c->limits.client_ms : UINT64_MAX;
}

void clients_expire(gcs_core *c)
{
    while (clients_next_expiry(c) <= c->now_ms && c->clients.oldest) forget(&c->clients, c->clients.oldest);
}

/* ---- one request ---- */

/* The client, heard of now; NULL: refused. */
static client *hear(gcs_run *x, const gcs_head *head)
{
    clients *s = &x->c->clients;
    client *c = id_table_get(&s->by_id, head->client);
    if (!c && s->usage.bytes + CLIENT_COST >= x->c->limits.table_bytes) {
        s->usage.refused++;
        gcs_refuse(x, MANTA_ELIMIT, "table CLIENT is full: %" PRIu64 " bytes for %" PRIu64 " clients", s->usage.bytes, s->usage.items);
        return NULL;
    }
    if (!c) c = client_new(s, head->client);
    if (!c) {
        gcs_out_of_memory(x);
        return NULL;
    }
    c->heard_ms = x->c->now_ms;
    unlink(s, c);
    append(s, c);
    if (head->acknowledged > c->acknowledged) c->acknowledged = head->acknowledged;
    forget_until(s, c, c->acknowledged);
    return c;
}

static bool may_run(gcs_run *x, const client *c)
{
    clients *s = &x->c->clients;
    if (c->count < x->c->limits.client_replies && s->usage.bytes < x->c->limits.table_bytes) return true;
    s->usage.refused++;
    return gcs_refuse(x, MANTA_ELIMIT,
        "%" PRIu32 " replies of client %" PRIu64 " are not acknowledged, and all clients' take %" PRIu64 " bytes", c->count, c->id,
        s->usage.bytes);
}

bool clients_admit(gcs_run *x, const gcs_head *head)
{
    client *c = hear(x, head);
    if (!c) return false;
    if (head->request <= c->acknowledged)
        return gcs_refuse(x, MANTA_ESTALE, "request %" PRIu64 " of client %" PRIu64 " was acknowledged: all up to %" PRIu64 " are",
            head->request, c->id, c->acknowledged);
    uint32_t at = place_of(c, head->request);
    if (at == c->count || c->replies[at].request != head->request) return may_run(x, c);
    manta_pack_raw(x->out, c->replies[at].bytes, c->replies[at].size);
    return false;
}

void clients_remember(gcs_run *x, const gcs_head *head, const void *reply, size_t size)
{
    client *c = id_table_get(&x->c->clients.by_id, head->client);
    uint32_t at = place_of(c, head->request);
    bool is_there = at < c->count && c->replies[at].request == head->request;
    if (head->request <= c->acknowledged || is_there) return; /* acknowledged, or used again, by a command inside of this one */
    if (!add_reply(&x->c->clients, c, head->request, reply, size)) gcs_out_of_memory(x);
}

/* ---- snapshots ---- */

manta_status clients_load(gcs_core *c, const gcs_client_row *row)
{
    clients *s = &c->clients;
    if (!row->id || row->heard_ms > c->now_ms || id_table_get(&s->by_id, row->id) || (s->newest && s->newest->heard_ms > row->heard_ms))
        return MANTA_EINVAL;
    client *new = client_new(s, row->id);
    if (!new) return MANTA_ENOMEM;
    new->heard_ms = row->heard_ms;
    new->acknowledged = row->acknowledged;
    return MANTA_OK;
}

manta_status clients_load_reply(gcs_core *c, uint64_t request, manta_bytes reply)
{
    client *last = c->clients.newest;
    if (!last || request <= last->acknowledged || (last->count && last->replies[last->count - 1].request >= request) || !reply.size)
        return MANTA_EINVAL;
    return add_reply(&c->clients, last, request, reply.data, reply.size) ? MANTA_OK : MANTA_ENOMEM;
}

bool clients_walk(const clients *s, const clients_visitor *v)
{
    for (const client *c = s->oldest; c; c = c->newer) {
        gcs_client_row row = {.id = c->id, .heard_ms = c->heard_ms, .acknowledged = c->acknowledged};
        if (!v->client(v->context, &row)) return false;
        for (uint32_t i = 0; i < c->count; i++)
            if (!v->reply(v->context, c->replies[i].request, (manta_bytes){c->replies[i].bytes, c->replies[i].size})) return false;
    }
    return true;
}
