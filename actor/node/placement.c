/*
 * Placement groups: an actor on the head keeps them and places them one after the other; the public functions call it.
 *
 * A group is placed in three rounds with the nodes concerned, each one message a node, however many bundles: what is free there; prepare; commit. When a node refuses, or is gone, before the last has committed,
 * everything is given back and the group waits. When a node is lost later, its bundles are placed again.
 */
#include <manta/placement.h>

#include <stdio.h>
#include <string.h>

#include "actor/node/owner.h"

enum { GROUPS_LIMIT = 65536, PER_BUNDLE = RESOURCES_TEXT, RETRY_MS = 100, LISTED = 32, LIST_BYTES = 16 << 10 };

MANTA_STRUCT(MantaGroupInfo, (uint64_t, id), (manta_str, name), (int32_t, strategy), (int32_t, state), (uint32_t, bundles),
    (bool, infeasible), (uint64_t, total))

typedef struct group_entry {
    struct group_entry *next;
    uint64_t id;
    manta_actor owner;
    char name[MANTA_PLACEMENT_NAME];
    bundle_strategy strategy;
    bool ready, removed, infeasible;
    uint32_t count, missing;
    uint64_t *at; /* node of each bundle; 0: none */
    resources *bundles;
    future *waiters[64];
    uint32_t n_waiters;
} group_entry;

struct placements {
    node_view nodes[NODES_LIMIT];
    group_entry *first, *last;
    id_table by_id;
    uint32_t n_nodes, pending;
    bool busy, again;
};

MANTA_ACTOR(MantaPlacements, struct placements *p;)
MANTA_METHOD_DECLARE(MantaPlacements, init, void)
MANTA_METHOD_DECLARE(MantaPlacements, create, uint64_t, (manta_actor, owner), (manta_str, name), (int32_t, strategy), (manta_str, bundles))
MANTA_METHOD_DECLARE(MantaPlacements, wait, void, (uint64_t, id), (uint64_t, timeout_ms))
MANTA_METHOD_DECLARE(MantaPlacements, remove, void, (uint64_t, id))
MANTA_METHOD_DECLARE(
    MantaPlacements, where, manta_actor, (uint64_t, id), (int32_t, bundle), (uint32_t, nth)) /* the leases actor of the n-th node */
MANTA_METHOD_DECLARE(MantaPlacements, info, MantaGroupInfo, (uint32_t, nth))
MANTA_METHOD_DECLARE(MantaPlacements, node, void, (MantaNodeInfo, info), (bool, is_up))
MANTA_METHOD_DECLARE(MantaPlacements, pump, void)
MANTA_METHOD_DECLARE(MantaPlacements, describe, manta_str)
MANTA_METHOD_DECLARE(MantaPlacements, on_down, void, (manta_actor, who), (int32_t, status), (manta_str, why))

static const char *const strategy_names[] = {"pack", "spread", "strict pack", "strict spread"};

static group_entry *find(struct placements *p, uint64_t id)
{
    group_entry *g = id_table_get(&p->by_id, id);
    if (!g) manta_fail(MANTA_ENOTFOUND, "there is no such placement group, or it was removed");
    return g;
}

static node_view *node_of(struct placements *p, uint64_t id)
{
    for (uint32_t i = 0; i < p->n_nodes; i++)
        if (p->nodes[i].place.id == id) return &p->nodes[i];
    return NULL;
}

static void wake_all(group_entry *g)
{
    for (uint32_t i = 0; i < g->n_waiters; i++) future_complete(worker_self(), g->waiters[i], NULL, NULL, 0);
    g->n_waiters = 0;
}

static void group_free(group_entry *g)
{
    base_free(g->at);
    base_free(g->bundles);
    base_free(g);
}

/* ---- with the nodes ---- */

typedef struct round { /* the nodes that a placing concerns, by their ids: the list may change meanwhile */
    uint64_t ids[NODES_LIMIT];
    manta_manta_str_future answers[NODES_LIMIT];
    uint32_t n;
} round;

static void round_add(round *r, uint64_t node)
{
    for (uint32_t i = 0; i < r->n; i++)
        if (r->ids[i] == node) return;
    r->ids[r->n++] = node;
}

static void say(struct placements *p, round *r, uint32_t i, uint64_t id, int step, manta_str text)
{
    node_view *n = node_of(p, r->ids[i]);
    r->answers[i] = MantaLeases_reserve(MantaLeases_ref_of(n ? n->leases : (manta_actor){0}), id, step, text);
}

/* "0:cpus=1;3:cpus=2": the bundles that are missing and were given to that node. In the handler's memory. */
static manta_str text_for(
    const group_entry *g, const int32_t *at, const uint64_t *candidates, uint64_t node, const uint32_t *which, uint32_t count)
{
    size_t n = 0, room = (size_t)count * PER_BUNDLE + 1;
    char *text = manta_alloc(room);
    if (!text) return (manta_str){NULL, 0};
    for (uint32_t i = 0; i < count; i++) {
        if (candidates[at[i]] != node) continue;
        n += (size_t)snprintf(text + n, room - n, "%s%u:", n ? ";" : "", which[i]);
        n += resources_format(&g->bundles[which[i]], text + n, room - n);
    }
    return (manta_str){text, n};
}

/* All answers; true: all said yes. */
static bool collect(round *r)
{
    bool ok = true;
    manta_str answer;
    for (uint32_t i = 0; i < r->n; i++) ok = manta_get(r->answers[i], &answer) == MANTA_OK && answer.size && ok;
    return ok;
}

static bool tell_all(struct placements *p, round *r, uint64_t id, int step)
{
    for (uint32_t i = 0; i < r->n; i++) say(p, r, i, id, step, (manta_str){NULL, 0});
    return collect(r);
}

/* What is free now, asked of all nodes at once. */
static void ask_all(struct placements *p, round *r)
{
    r->n = 0;
    for (uint32_t i = 0; i < p->n_nodes; i++) round_add(r, p->nodes[i].place.id);
    for (uint32_t i = 0; i < r->n; i++) say(p, r, i, 0, RESERVE_ASK, (manta_str){NULL, 0});
    for (uint32_t i = 0; i < r->n; i++) {
        manta_str text;
        char error[128];
        bool ok = manta_get(r->answers[i], &text) == MANTA_OK;
        node_view *n = node_of(p, r->ids[i]);
        if (n) n->place.available = (resources){0};
        if (ok && n && text.size > 1) (void)resources_parse(text.data, text.size - 1, &n->place.available, error, sizeof error);
    }
}

/* ---- placing ---- */

static bool is_used(const group_entry *g, uint64_t node)
{
    for (uint32_t i = 0; i < g->count; i++)
        if (g->at[i] == node) return true;
    return false;
}

typedef struct plan {
    place_node *nodes;
    uint64_t *ids;
    uint32_t n, count;
    uint32_t *which; /* bundles that are missing */
    resources *bundles;
    int32_t *at;
} plan;

static bool make_plan(struct placements *p, const group_entry *g, plan *out, bool empty)
{
    *out = (plan){manta_alloc(sizeof(place_node) * (p->n_nodes + 1)), manta_alloc(sizeof(uint64_t) * (p->n_nodes + 1)), 0, 0,
        manta_alloc(sizeof(uint32_t) * g->count), manta_alloc(sizeof(resources) * g->count), manta_alloc(sizeof(int32_t) * g->count)};
    if (!out->nodes || !out->ids || !out->which || !out->bundles || !out->at) return false;
    for (uint32_t i = 0; i < p->n_nodes; i++) {
        const place_node *n = &p->nodes[i].place;
        if (g->strategy == BUNDLES_STRICT_SPREAD && !empty && is_used(g, n->id)) continue;
        out->nodes[out->n] = *n;
        if (empty) out->nodes[out->n].available = n->total;
        out->ids[out->n++] = n->id;
    }
    for (uint32_t i = 0; i < g->count; i++) {
        if (g->at[i] && !empty) continue;
        out->which[out->count] = i;
        out->bundles[out->count++] = g->bundles[i];
    }
    return place_bundles(out->nodes, out->n, out->bundles, out->count, g->strategy, out->at);
}

static void say_infeasible(struct placements *p, group_entry *g)
{
    plan all;
    bool before = g->infeasible;
    char text[200];
    g->infeasible = !make_plan(p, g, &all, true);
    snprintf(text, sizeof text, "infeasible: placement group %s%016llx (%s, %u bundles) fits nowhere; it waits for nodes", g->name,
        (unsigned long long)g->id, strategy_names[g->strategy], g->count);
    if (g->infeasible && !before) (void)MantaOwner_report_send(MantaOwner_ref_of(g->owner), manta_str_of(text));
}

/* Three rounds; false: it has to wait. The group may have been removed meanwhile. */
static bool place_group(struct placements *p, group_entry *g)
{
    static round r; /* one group at a time */
    plan all;
    ask_all(p, &r);
    if (!make_plan(p, g, &all, false)) return say_infeasible(p, g), false;
    r.n = 0;
    for (uint32_t i = 0; i < all.count; i++) round_add(&r, all.ids[all.at[i]]);
    for (uint32_t i = 0; i < r.n; i++) say(p, &r, i, g->id, RESERVE_PREPARE, text_for(g, all.at, all.ids, r.ids[i], all.which, all.count));
    if (!collect(&r)) return (void)tell_all(p, &r, g->id, RESERVE_ABORT), false;
    bool ok = tell_all(p, &r, g->id, RESERVE_COMMIT);
    for (uint32_t i = 0; i < all.count; i++) g->at[all.which[i]] = all.ids[all.at[i]];
    for (uint32_t i = 0; i < g->count; i++)
        if (!node_of(p, g->at[i])) g->at[i] = ok = 0; /* it has gone between */
    if (ok || all.count < g->count) return ok;
    (void)tell_all(p, &r, g->id, RESERVE_REMOVE);
    memset(g->at, 0, g->count * sizeof *g->at);
    return false;
}

static void remove_everywhere(struct placements *p, group_entry *g)
{
    for (uint32_t i = 0; i < p->n_nodes; i++)
        if (is_used(g, p->nodes[i].place.id))
            (void)MantaLeases_reserve_send(MantaLeases_ref_of(p->nodes[i].leases), g->id, RESERVE_REMOVE, (manta_str){NULL, 0});
}

static void drop(struct placements *p, group_entry *g)
{
    for (group_entry **at = &p->first, *before = NULL; *at; before = *at, at = &(*at)->next)
        if (*at == g) {
            *at = g->next;
            if (p->last == g) p->last = before;
            break;
        }
    remove_everywhere(p, g);
    group_free(g);
}

static group_entry *next_pending(struct placements *p, const group_entry *after)
{
    group_entry *g = after ? after->next : p->first;
    while (g && g->ready && !g->removed) g = g->next;
    return g;
}

/* Each group that waits gets one try; `busy` while one is under way. */
MANTA_METHOD_DEFINE(MantaPlacements, pump, void)
{
    struct placements *p = self->p;
    if (p->busy) {
        p->again = true;
        return;
    }
    p->busy = true;
    do {
        p->again = false;
        for (group_entry *g = next_pending(p, NULL), *next; g; g = next) {
            (void)manta_scope_begin();
            bool ok = !g->removed && place_group(p, g);
            (void)manta_scope_end();
            next = next_pending(p, g);
            if (g->removed) drop(p, g);
            else if (ok) {
                g->ready = true;
                g->infeasible = false;
                p->pending--;
                wake_all(g);
            }
        }
    } while (p->again);
    p->busy = false;
    if (p->pending) (void)MantaPlacements_pump_after(RETRY_MS, MantaPlacements_ref_of(manta_self()));
}

static void pump(void) { (void)MantaPlacements_pump_send(MantaPlacements_ref_of(manta_self())); }

/* ---- the methods ---- */

static bool parse_bundles(group_entry *g, manta_str text)
{
    const char *at = text.data, *last = at + text.size;
    char error[128];
    for (uint32_t i = 0; i < g->count; i++) {
        const char *semicolon = at < last ? memchr(at, ';', (size_t)(last - at)) : NULL, *end = semicolon ? semicolon : last;
        if (at > last || !resources_parse(at, (size_t)(end - at), &g->bundles[i], error, sizeof error)) {
            manta_fail(MANTA_EINVAL, "bundle %u: %s", i + 1, error);
            return false;
        }
        at = end + 1;
    }
    return true;
}

static group_entry *group_new(manta_actor owner, manta_str name, int32_t strategy, uint32_t count)
{
    group_entry *g = base_calloc(1, sizeof *g);
    if (!g) return NULL;
    *g = (group_entry){.id = os_random_u64() >> 1 | 1,
        .owner = owner,
        .strategy = (bundle_strategy)strategy,
        .count = count,
        .at = base_calloc(count, sizeof(uint64_t)),
        .bundles = base_calloc(count, sizeof(resources))};
    snprintf(g->name, sizeof g->name, "%.*s", (int)name.size, name.data ? name.data : "");
    if (g->at && g->bundles) return g;
    group_free(g);
    return NULL;
}

MANTA_METHOD_DEFINE(MantaPlacements, create, uint64_t, (manta_actor, owner), (manta_str, name), (int32_t, strategy), (manta_str, bundles))
{
    struct placements *p = self->p;
    uint32_t count = 1;
    for (size_t i = 0; i < bundles.size; i++) count += bundles.data[i] == ';';
    bool ok = (uint32_t)strategy < BUNDLE_STRATEGIES && count <= MANTA_BUNDLES_LIMIT && p->by_id.count < GROUPS_LIMIT;
    if (!ok) return manta_fail(MANTA_ELIMIT, "at most %d bundles and %d placement groups", MANTA_BUNDLES_LIMIT, GROUPS_LIMIT), 0;
    group_entry *g = group_new(owner, name, strategy, count);
    if (!g || !parse_bundles(g, bundles) || !id_table_put(&p->by_id, g->id, g)) {
        if (!g) manta_fail(MANTA_ENOMEM, "no memory for a placement group");
        else group_free(g);
        return 0;
    }
    if (p->last) p->last->next = g;
    else p->first = g;
    p->last = g;
    p->pending++;
    (void)manta_monitor(owner, MantaPlacements_on_down, NULL);
    pump();
    return g->id;
}

MANTA_METHOD_DEFINE(MantaPlacements, wait, void, (uint64_t, id), (uint64_t, timeout_ms))
{
    group_entry *g = find(self->p, id);
    if (!g || g->ready) return;
    future *f = g->n_waiters < 64 ? future_new(worker_self()) : NULL;
    if (!f) {
        manta_fail(MANTA_ELIMIT, "at most 64 wait for a placement group");
        return;
    }
    g->waiters[g->n_waiters++] = f;
    manta_status status = event_await(f, timeout_ms >= INT64_MAX ? OS_FOREVER : deadline_after_ms(timeout_ms), "a placement group");
    g = id_table_get(&self->p->by_id, id);
    for (uint32_t i = 0; g && i < g->n_waiters; i++)
        if (g->waiters[i] == f) g->waiters[i] = g->waiters[--g->n_waiters];
    future_drop(worker_self(), f);
    if (status) manta_fail(status, "the placement group is not ready");
    else (void)find(self->p, id);
}

static void remove_group(struct placements *p, group_entry *g)
{
    (void)id_table_remove(&p->by_id, g->id);
    if (!g->ready) p->pending--;
    g->removed = true;
    g->ready = false;
    wake_all(g);
    pump(); /* which frees it, when it is not just being placed */
}

MANTA_METHOD_DEFINE(MantaPlacements, remove, void, (uint64_t, id))
{
    struct placements *p = self->p;
    group_entry *g = find(p, id);
    round r = {.n = 0};
    for (uint32_t i = 0; g && i < g->count; i++)
        if (g->at[i]) round_add(&r, g->at[i]);
    if (r.n) (void)tell_all(p, &r, id, RESERVE_REMOVE);
    if ((g = id_table_get(&p->by_id, id))) remove_group(p, g);
}

MANTA_METHOD_DEFINE(MantaPlacements, on_down, void, (manta_actor, who), (int32_t, status), (manta_str, why))
{
    (void)status, (void)why;
    for (group_entry *g = self->p->first; g; g = g->next)
        if (g->owner.id == who.id && !g->removed) remove_group(self->p, g);
}

MANTA_METHOD_DEFINE(MantaPlacements, where, manta_actor, (uint64_t, id), (int32_t, bundle), (uint32_t, nth))
{
    group_entry *g = find(self->p, id);
    round seen = {.n = 0};
    if (!g || !g->ready) return (manta_actor){0};
    if (bundle >= (int32_t)g->count) return manta_fail(MANTA_EINVAL, "the placement group has %u bundles", g->count), (manta_actor){0};
    for (uint32_t i = 0; i < g->count; i++)
        if (bundle < 0 || bundle == (int32_t)i) round_add(&seen, g->at[i]);
    node_view *n = nth < seen.n ? node_of(self->p, seen.ids[nth]) : NULL;
    return n ? n->leases : (manta_actor){0};
}

MANTA_METHOD_DEFINE(MantaPlacements, info, MantaGroupInfo, (uint32_t, nth))
{
    MantaGroupInfo i = {.total = self->p->by_id.count};
    for (group_entry *g = self->p->first; g; g = g->next) {
        if (g->removed || nth--) continue;
        return (MantaGroupInfo){g->id, manta_str_of(g->name), (int32_t)g->strategy, g->ready, g->count, g->infeasible, i.total};
    }
    return i;
}

/* A node that is gone takes its bundles along: they are placed again. */
MANTA_METHOD_DEFINE(MantaPlacements, node, void, (MantaNodeInfo, info), (bool, is_up))
{
    struct placements *p = self->p;
    node_view *n = node_of(p, info.id);
    char error[128];
    if (is_up && !n && p->n_nodes < NODES_LIMIT) {
        n = &p->nodes[p->n_nodes++];
        *n = (node_view){.leases = info.leases};
        n->place.id = info.id;
        (void)resources_parse(info.total.data, info.total.size, &n->place.total, error, sizeof error);
    } else if (!is_up && n) {
        *n = p->nodes[--p->n_nodes];
        for (group_entry *g = p->first; g; g = g->next)
            for (uint32_t i = 0; i < g->count; i++) {
                if (g->at[i] != info.id) continue;
                g->at[i] = 0;
                p->pending += g->ready;
                g->ready = false;
            }
    }
    pump();
}

MANTA_METHOD_DEFINE(MantaPlacements, describe, manta_str)
{
    char *text = manta_alloc(LIST_BYTES);
    uint32_t listed = 0;
    if (!text) return manta_str_of("");
    size_t n = (size_t)snprintf(text, LIST_BYTES, "%zu placement groups\n", self->p->by_id.count);
    for (group_entry *g = self->p->first; g && listed < LISTED; g = g->next, listed++)
        if (!g->removed)
            n += (size_t)snprintf(text + n, LIST_BYTES - n, "  %016llx %-10s %s, %u bundles: %s\n", (unsigned long long)g->id, g->name,
                strategy_names[g->strategy], g->count,
                g->ready        ? "ready"
                : g->infeasible ? "infeasible"
                                : "waits");
    return (manta_str){text, n};
}

MANTA_METHOD_DEFINE(MantaPlacements, init, void)
{
    if (!(self->p = base_calloc(1, sizeof *self->p))) manta_fail(MANTA_ENOMEM, "no memory for placement groups");
}

static void forget(void *self)
{
    struct placements *p = ((MantaPlacements *)self)->p;
    if (!p) return;
    for (group_entry *g = p->first, *next; g; g = next) {
        next = g->next;
        group_free(g);
    }
    id_table_fini(&p->by_id);
    base_free(p);
}

MANTA_CLASS_WITH(
    MantaPlacements, (.concurrency = 1024, .on_free = forget), init, create, wait, remove, where, info, node, pump, describe, on_down)

/* ---- for raylets and owners ---- */

manta_actor placements_start(void) { return MantaPlacements_spawn().actor; }

void placements_node(manta_actor placements, const MantaNodeInfo *info, bool is_up)
{
    (void)MantaPlacements_node_send(MantaPlacements_ref_of(placements), *info, is_up);
}

/* Not for long: a head that died is still taken for alive for up to 2 s, and who asks for a status wants to know just then. */
manta_status placements_describe(manta_actor placements, manta_str *out)
{
    enum { PATIENCE_MS = 300 };
    manta_manta_str_future f = MantaPlacements_describe(MantaPlacements_ref_of(placements));
    manta_status status = manta_get_timeout(f, out, PATIENCE_MS);
    if (status == MANTA_ETIMEDOUT) (void)manta_future_release(f.future);
    return status;
}

/* ---- public ---- */

static manta_status find_placements(MantaPlacements_ref *out)
{
    manta_actor found;
    if (!load_relaxed(&owner_is_on)) return error_set(MANTA_EUNSUPPORTED, "placement groups are for the programs of a cluster (manta run)");
    manta_status status = manta_get(MantaRaylet_placements(MantaRaylet_ref_of(job_raylet)), &found);
    if (!status) *out = MantaPlacements_ref_of(found);
    return status;
}

manta_status group_places(uint64_t id, int32_t bundle, manta_actor *out, uint32_t room, uint32_t *out_n)
{
    MantaPlacements_ref p;
    *out_n = 0;
    manta_status status = find_placements(&p);
    if (!status) status = manta_join(MantaPlacements_wait(p, id, UINT64_MAX));
    while (!status && *out_n < room) {
        status = manta_get(MantaPlacements_where(p, id, bundle, *out_n), &out[*out_n]);
        if (status || !out[*out_n].id) break;
        ++*out_n;
    }
    return status;
}

/* The bundles behind each other, checked; NULL: error_set says what is wrong. base_free. */
static char *join_bundles(const char *const *bundles, size_t count)
{
    size_t bytes = 1, n = 0;
    for (size_t i = 0; i < count; i++) {
        resources r = {0};
        char error[128];
        if (!bundles[i] || !resources_parse(bundles[i], strlen(bundles[i]), &r, error, sizeof error)) {
            error_set(MANTA_EINVAL, "manta_placement_create: bundle %zu: %s", i + 1, bundles[i] ? error : "NULL");
            return NULL;
        }
        bytes += strlen(bundles[i]) + 1;
    }
    char *text = base_alloc(bytes);
    if (!text) error_set(MANTA_ENOMEM, "manta_placement_create: no memory");
    for (size_t i = 0; text && i < count; i++) n += (size_t)snprintf(text + n, bytes - n, "%s%s", i ? ";" : "", bundles[i]);
    return text;
}

manta_status manta_placement_create(
    const char *const *bundles, size_t count, manta_placement_strategy strategy, const char *name, manta_placement_group *out)
{
    MantaPlacements_ref p;
    if (!count || count > MANTA_BUNDLES_LIMIT)
        return error_set(MANTA_ELIMIT, "manta_placement_create: 1 to %d bundles", MANTA_BUNDLES_LIMIT);
    if ((unsigned)strategy > MANTA_PLACEMENT_STRICT_SPREAD)
        return error_set(MANTA_EINVAL, "manta_placement_create: strategy %d", (int)strategy);
    if (name && strlen(name) >= MANTA_PLACEMENT_NAME)
        return error_set(MANTA_ETOOLONG, "manta_placement_create: a name of up to %d bytes", MANTA_PLACEMENT_NAME - 1);
    manta_status status = find_placements(&p);
    char *text = status ? NULL : join_bundles(bundles, count);
    if (!text) return manta_last_error()->status;
    status = manta_get(
        MantaPlacements_create(p, owner_actor(), manta_str_of(name ? name : ""), (int32_t)strategy, manta_str_of(text)), &out->id);
    base_free(text);
    return status;
}

manta_status manta_placement_wait(manta_placement_group group, uint64_t timeout_ms)
{
    MantaPlacements_ref p;
    manta_status status = find_placements(&p);
    return status ? status : manta_join(MantaPlacements_wait(p, group.id, timeout_ms));
}

manta_status manta_placement_remove(manta_placement_group group)
{
    MantaPlacements_ref p;
    manta_status status = find_placements(&p);
    return status ? status : manta_join(MantaPlacements_remove(p, group.id));
}

manta_status manta_placement_node(manta_placement_group group, int32_t bundle, manta_process *out_node)
{
    MantaPlacements_ref p;
    manta_actor leases;
    manta_status status = bundle < 1 ? error_set(MANTA_EINVAL, "manta_placement_node: bundles are counted from 1") : find_placements(&p);
    if (!status) status = manta_get(MantaPlacements_where(p, group.id, bundle - 1, 0), &leases);
    if (!status) *out_node = manta_process_of(leases);
    return status;
}

manta_status manta_placement_list(manta_placement_info *out, size_t capacity, size_t *out_count)
{
    MantaPlacements_ref p;
    MantaGroupInfo g = {.total = 1};
    manta_status status = find_placements(&p);
    for (size_t i = 0; !status && i < capacity && i < g.total; i++) {
        status = manta_get(MantaPlacements_info(p, (uint32_t)i), &g);
        out[i] = (manta_placement_info){.group = {g.id},
            .strategy = (manta_placement_strategy)g.strategy,
            .state = (manta_placement_state)g.state,
            .bundles = g.bundles,
            .infeasible = g.infeasible};
        snprintf(out[i].name, sizeof out[i].name, "%.*s", (int)g.name.size, g.name.data ? g.name.data : "");
    }
    if (!status && !capacity) status = manta_get(MantaPlacements_info(p, 0), &g);
    if (!status) *out_count = g.total;
    return status;
}
