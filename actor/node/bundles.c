/*
 * A node's side of placement groups: bundles that are reserved here, in two steps, so that a group is there as a whole or not at all. What is prepared and
 * not committed in time is given back, and so is what is committed but never confirmed by the group's row: the message was late, the group is gone.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "actor/node/leases.h"

enum { PREPARED_MS = 30000, COMMITTED_MS = 60000 }; /* above what a call of the control store takes, and above --fence-ms */

static void give_back(lessor *l, bundle_entry *b)
{
    size_t cursor = 0;
    (void)resources_give(&l->nodes[0].place.available, &b->available);
    for (lease_entry *x; (x = id_table_next(&l->leases, &cursor, NULL));) /* what runs in it goes on, at the node's expense */
        if (x->pool == b) x->pool = NULL;
    for (uint32_t i = 0; i < l->n_workers; i++)
        if (l->workers[i]->pool == b) l->workers[i]->pool = NULL;
    base_free(b);
    leases_changed(l);
}

static void refuse_waiting(lessor *l, uint64_t group)
{
    for (lease_request *r = l->queue.first, *next; r; r = next) {
        next = r->next;
        if (r->group != group) continue;
        (void)MantaOwner_refused_send(MantaOwner_ref_of(r->owner), r->id, MANTA_ENOTFOUND, manta_str_of("the placement group was removed"));
        base_free(queue_remove(&l->queue, r));
    }
}

typedef struct doomed {      /* which bundles of a group go */
    uint64_t group, attempt; /* attempt 0: any */
    bool prepared_only;
} doomed;

static void remove_bundles(lessor *l, const doomed *d)
{
    for (bundle_entry **at = &l->bundles; *at;) {
        bundle_entry *b = *at;
        bool goes = b->group == d->group && !(d->prepared_only && b->committed) && (!d->attempt || b->attempt == d->attempt);
        if (!goes) at = &b->next;
        else {
            *at = b->next;
            give_back(l, b);
        }
    }
}

static void remove_group(lessor *l, uint64_t group)
{
    remove_bundles(l, &(doomed){.group = group});
    refuse_waiting(l, group);
}

static bundle_entry *find_bundle(const lessor *l, uint64_t group, int32_t index)
{
    for (bundle_entry *b = l->bundles; b; b = b->next)
        if (b->group == group && b->index == index) return b;
    return NULL;
}

typedef struct reservation { /* what a message asks for */
    uint64_t group, attempt;
    int32_t step;
} reservation;

/* "INDEX:cpus=1,db=2": there already, or taken now. NULL: there is no room, or it is no such text. */
static bundle_entry *have_one(lessor *l, const reservation *r, const char *text, size_t bytes)
{
    char error[128];
    char *end;
    int32_t index = (int32_t)strtol(text, &end, 10);
    resources need = {0};
    if (*end != ':') return NULL;
    bundle_entry *b = find_bundle(l, r->group, index);
    if (b || r->step == RESERVE_CONFIRM) return b;
    if (!resources_parse(end + 1, bytes - (size_t)(end + 1 - text), &need, error, sizeof error)) return NULL;
    b = !drain_is_here(l) && resources_fit(&need, &l->nodes[0].place.available) ? base_calloc(1, sizeof *b) : NULL;
    if (!b) return NULL;
    *b = (bundle_entry){.next = l->bundles, .group = r->group, .index = index, .total = need, .available = need};
    l->bundles = b;
    resources_take(&l->nodes[0].place.available, &need);
    leases_changed(l);
    return b;
}

static bool have_all(lessor *l, const reservation *r, manta_str text)
{
    const char *at = text.data, *last = at ? at + text.size : NULL;
    bool ok = true;
    while (at < last) {
        const char *semicolon = memchr(at, ';', (size_t)(last - at)), *end = semicolon ? semicolon : last;
        bundle_entry *b = have_one(l, r, at, (size_t)(end - at));
        ok = ok && b;
        if (b && !b->committed) {
            b->since_ns = pool_now_ns();
            b->attempt = r->step == RESERVE_PREPARE ? r->attempt : b->attempt;
            b->committed = r->step != RESERVE_PREPARE;
        }
        if (b) b->confirmed |= r->step == RESERVE_CONFIRM;
        at = end + 1;
    }
    return ok;
}

bool bundles_reserve(lessor *l, uint64_t group, uint64_t attempt, int32_t step, manta_str text)
{
    reservation r = {group, attempt, step};
    if (step == RESERVE_ABORT) return remove_bundles(l, &(doomed){group, attempt, true}), true;
    if (step == RESERVE_REMOVE) return remove_group(l, group), true;
    bool ok = have_all(l, &r, text);
    if (!ok && step == RESERVE_PREPARE) remove_bundles(l, &(doomed){group, attempt, true});
    if (!ok && step == RESERVE_COMMIT) remove_bundles(l, &(doomed){.group = group});
    return ok;
}

bool bundles_expire(lessor *l, uint64_t now_ns)
{
    bool some = false;
    for (bundle_entry **at = &l->bundles; *at;) {
        bundle_entry *b = *at;
        uint64_t limit_ms = b->committed ? COMMITTED_MS : PREPARED_MS;
        some = some || !b->confirmed;
        if (b->confirmed || now_ns - b->since_ns <= limit_ms * OS_NS_PER_MS) at = &b->next;
        else {
            *at = b->next;
            give_back(l, b);
        }
    }
    return some;
}

/* ---- for manta status ---- */

static size_t describe_node(const node_view *n, bool here, char *out, size_t room)
{
    char total[RESOURCES_TEXT], available[RESOURCES_TEXT];
    resources_format(&n->place.total, total, sizeof total);
    resources_format(&n->place.available, available, sizeof available);
    int k = snprintf(out, room, "  %-28s %-16s %s%s%s%s\n    available: %s; %u requests wait\n", n->address, n->host, total,
        n->labels[0] ? "  labels " : "", n->labels, here ? "  (asked)" : "", available[0] ? available : "nothing", n->place.queued);
    return k < 0 ? 0 : (size_t)k < room ? (size_t)k : room - 1;
}

static size_t describe_request(const lease_request *r, char *out, size_t room)
{
    char need[RESOURCES_TEXT];
    resources_format(&r->need, need, sizeof need);
    int k = snprintf(out, room, "  %s: %s%s%s, job %016llx\n", r->infeasible ? "infeasible" : "waits", need[0] ? need : "nothing",
        r->labels[0] ? " with " : "", r->labels, (unsigned long long)r->job);
    return k < 0 ? 0 : (size_t)k < room ? (size_t)k : room - 1;
}

size_t leases_describe(lessor *l, char *out, size_t room)
{
    enum { LINE = 2048, LISTED = 16 };
    size_t n = (size_t)snprintf(out, room, "%u nodes\n", l->n_nodes);
    uint32_t listed = 0;
    l->nodes[0].place.queued = l->queue.count;
    for (uint32_t i = 0; i < l->n_nodes && n + LINE < room; i++) n += describe_node(&l->nodes[i], !i, out + n, room - n);
    n += (size_t)snprintf(out + n, room - n, "%u jobs, %u workers, %zu leases and %u waiting requests on the node that was asked\n",
        l->n_jobs, l->n_workers, l->leases.count, l->queue.count);
    for (uint32_t i = 0; i < l->n_jobs && n + LINE < room; i++)
        n += (size_t)snprintf(out + n, room - n, "  job %016llx %s\n", (unsigned long long)l->jobs[i]->info.id, l->jobs[i]->name);
    for (const lease_request *r = l->queue.first; r && listed < LISTED && n + LINE < room; r = r->next, listed++)
        n += describe_request(r, out + n, room - n);
    return n;
}

size_t leases_list(const lessor *l, char *out, size_t room)
{
    enum { LINE = 2048 };
    size_t n = 0;
    for (uint32_t i = 0; i < l->n_nodes && n + LINE < room; i++) {
        const node_view *v = &l->nodes[i];
        char total[RESOURCES_TEXT], available[RESOURCES_TEXT];
        resources_format(&v->place.total, total, sizeof total);
        resources_format(&v->place.available, available, sizeof available);
        n += (size_t)snprintf(out + n, room - n, "%llx\t%s\t%s\t%s\t%s\t%u\n", (unsigned long long)v->place.id, v->address, v->labels,
            total, available, i ? v->place.queued : l->queue.count);
    }
    return n;
}
