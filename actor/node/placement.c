#include "actor/node/placement.h"

#include <stdio.h>
#include <string.h>

#include "actor/node/node.h"

enum { RETRY_MS = 50, LISTED = 32, LIST_BYTES = 16 << 10, REMOVED_MS = 10000 };

const char *const placement_strategy_names[] = {"pack", "spread", "strict pack", "strict spread"};

MANTA_METHOD_DECLARE(MantaPlacements, init, void)
MANTA_METHOD_DECLARE(MantaPlacements, node, void, (MantaNodeInfo, info), (bool, is_up))
MANTA_METHOD_DECLARE(MantaPlacements, sweep, void)

/* ---- nodes ---- */

node_view *placement_node(struct placements *p, uint64_t id)
{
    for (uint32_t i = 0; i < p->n_nodes; i++)
        if (p->nodes[i].place.id == id) return &p->nodes[i];
    return NULL;
}

/* One that is gone takes its bundles along when the table of nodes says so, see forget_dead. */
MANTA_METHOD_DEFINE(MantaPlacements, node, void, (MantaNodeInfo, info), (bool, is_up))
{
    struct placements *p = self->p;
    node_view *n = placement_node(p, info.id);
    char error[128];
    if (is_up && !n && p->n_nodes < NODES_LIMIT) {
        n = &p->nodes[p->n_nodes++];
        *n = (node_view){.leases = info.leases};
        n->place.id = info.id;
        (void)resources_parse(info.total.data, info.total.size, &n->place.total, error, sizeof error);
    } else if (!is_up && n) *n = p->nodes[--p->n_nodes];
    placement_pump();
}

/* ---- groups ---- */

static void group_free(group_entry *g)
{
    base_free(g->at);
    base_free(g->wanted);
    base_free(g->bundles);
    base_free(g);
}

group_entry *placement_group_new(uint64_t id, uint32_t count, bool is_kept)
{
    group_entry *g = base_calloc(1, sizeof *g);
    if (!g) return NULL;
    *g = (group_entry){.id = id,
        .count = count,
        .holds = 1,
        .is_kept = is_kept,
        .state = GROUP_NEW,
        .stored = GROUP_NEW,
        .at = base_calloc(count, sizeof(uint64_t))};
    if (is_kept) {
        g->wanted = base_calloc(count, sizeof(uint64_t));
        g->bundles = base_calloc(count, sizeof(resources));
    }
    if (g->at && (!is_kept || (g->wanted && g->bundles))) return g;
    group_free(g);
    return NULL;
}

/* New ones are the newest, but for when a daemon hears of all that are there. */
void placement_insert(struct placements *p, group_entry *g)
{
    group_entry **at = &p->first;
    if (!p->last || !g->created || p->last->created <= g->created) {
        if (p->last) p->last->next = g;
        else p->first = g;
        p->last = g;
        return;
    }
    while (*at && (*at)->created <= g->created) at = &(*at)->next;
    g->next = *at;
    *at = g;
}

static void unlink_group(struct placements *p, const group_entry *g)
{
    for (group_entry **at = &p->first, *before = NULL; *at; before = *at, at = &(*at)->next) {
        if (*at != g) continue;
        *at = g->next;
        if (p->last == g) p->last = before;
        return;
    }
}

void placement_hold(group_entry *g) { g->holds++; }

void placement_release(struct placements *p, group_entry *g)
{
    if (--g->holds) return;
    unlink_group(p, g);
    group_free(g);
}

void placement_wake(group_entry *g)
{
    for (uint32_t i = 0; i < g->n_waiters; i++) future_complete(worker_self(), g->waiters[i], NULL, NULL, 0);
    g->n_waiters = 0;
}

void placement_lose_node(group_entry *g, uint64_t node)
{
    for (uint32_t i = 0; i < g->count; i++) {
        if (g->at[i] != node) continue;
        g->at[i] = 0;
        g->state = GROUP_PENDING;
    }
}

/* Its entry stays until the row is seen to go, so that what is told of it late does not bring it back. */
void placement_mark_removed(struct placements *p, group_entry *g)
{
    if (!g->is_removed) g->removed_ns = manta_now_ns();
    g->is_removed = true;
    placement_wake(g);
    if (!p->is_sweeping) (void)MantaPlacements_sweep_after(REMOVED_MS, MantaPlacements_ref_of(manta_self()));
    p->is_sweeping = true;
}

static void forget_group(struct placements *p, group_entry *g)
{
    if (id_table_get(&p->by_id, g->id) != g) return;
    (void)id_table_remove(&p->by_id, g->id);
    placement_release(p, g);
}

MANTA_METHOD_DEFINE(MantaPlacements, sweep, void)
{
    struct placements *p = self->p;
    uint64_t now = manta_now_ns();
    p->is_sweeping = false;
    for (group_entry *g = p->first, *next; g; g = next) {
        next = g->next;
        if (!g->is_removed) continue;
        if (now - g->removed_ns >= (uint64_t)REMOVED_MS * OS_NS_PER_MS) forget_group(p, g);
        else p->is_sweeping = true;
    }
    if (p->is_sweeping) (void)MantaPlacements_sweep_after(REMOVED_MS, MantaPlacements_ref_of(manta_self()));
}

/* Of one that another daemon keeps the row is asked for. NULL: manta_fail has been called. */
static group_entry *find(struct placements *p, uint64_t id)
{
    group_entry *g = id_table_get(&p->by_id, id);
    if (g && g->is_kept && !g->is_removed) return g;
    manta_status status = g && g->is_removed ? MANTA_ENOTFOUND : placement_learn(p, id, &g);
    if (!status && g && !g->is_removed) return g;
    g = id_table_get(&p->by_id, id);
    if (status == MANTA_ENOTFOUND && g && !g->is_kept) placement_mark_removed(p, g);
    if (status && status != MANTA_ENOTFOUND) manta_fail(status, "%s", manta_last_error()->message);
    else manta_fail(MANTA_ENOTFOUND, "there is no such placement group, or it was removed");
    return NULL;
}

/* ---- placing ---- */

void placement_pump(void) { (void)MantaPlacements_pump_send(MantaPlacements_ref_of(manta_self())); }

static bool is_waiting(const group_entry *g) { return g->is_kept && !g->is_removed && !g->is_finishing && g->state != GROUP_READY; }

static void could_not_store(struct placements *p, group_entry *g, manta_status status)
{
    bool is_over = status == MANTA_ESTALE || status == MANTA_EDEAD || status == MANTA_ENOTFOUND || g->stored == GROUP_NEW;
    g->failed = status;
    snprintf(g->why, sizeof g->why, "%s", manta_last_error()->message);
    if (is_over) placement_mark_removed(p, g);
}

/* Whether the row is the one that was to be written, though no answer said so. */
static manta_status put_surely(struct placements *p, group_entry *g, group_state state, const uint64_t *at)
{
    uint64_t before = g->revision;
    manta_status status = placement_put(g, state, at);
    group_entry *same;
    if (status != MANTA_EUNKNOWN || placement_learn(p, g->id, &same)) return status;
    return g->revision > before && g->stored == state ? MANTA_OK : status;
}

/* The row first, then the nodes: they may not give away what the row promises. */
MANTA_METHOD_DEFINE(MantaPlacements, finish, void, (uint64_t, id))
{
    struct placements *p = self->p;
    group_entry *g = id_table_get(&p->by_id, id);
    if (!g) return;
    placement_hold(g);
    manta_status status = g->is_removed ? MANTA_ENOTFOUND : put_surely(p, g, GROUP_READY, g->wanted);
    if (status) {
        if (!g->is_removed) could_not_store(p, g, status);
        placement_abort(p, g);
    } else placement_commit(p, g);
    g->is_finishing = false;
    if (g->is_removed) placement_remove_bundles(p, g, true);
    placement_wake(g);
    if (is_waiting(g)) placement_pump();
    placement_release(p, g);
}

static void try_one(struct placements *p, group_entry *g)
{
    if (placement_prepare(p, g)) {
        g->is_finishing = true;
        (void)MantaPlacements_finish_send(MantaPlacements_ref_of(manta_self()), g->id);
    } else if (!g->is_removed && g->state != g->stored) {
        manta_status status = put_surely(p, g, g->state, g->at);
        if (status) could_not_store(p, g, status);
        placement_wake(g);
    }
}

/* Of the nodes that are not reached, those that are dead have their bundles placed again. False: there are others, to be looked at again. */
static bool forget_dead(struct placements *p)
{
    uint64_t dead[NODES_LIMIT], living[NODES_LIMIT];
    uint32_t n_dead = 0, n_living = 0;
    for (group_entry *g = p->first, *next; g; g = next) {
        placement_hold(g);
        for (uint32_t i = 0; g->is_kept && !g->is_removed && i < g->count; i++) {
            uint64_t node = g->at[i];
            bool is_known = !node || placement_node(p, node);
            for (uint32_t k = 0; k < n_living && !is_known; k++) is_known = living[k] == node;
            for (uint32_t k = 0; k < n_dead && !is_known; k++)
                if (dead[k] == node) placement_lose_node(g, node), is_known = true;
            if (is_known || n_dead == NODES_LIMIT || n_living == NODES_LIMIT) continue;
            if (!placement_is_node_dead(node)) living[n_living++] = node;
            else placement_lose_node(g, dead[n_dead++] = node);
        }
        next = g->next;
        placement_release(p, g);
    }
    return !n_living;
}

static void pump_all(struct placements *p)
{
    for (group_entry *g = p->first, *next; g; g = next) {
        placement_hold(g);
        (void)manta_scope_begin();
        if (is_waiting(g)) try_one(p, g);
        (void)manta_scope_end();
        next = g->next;
        placement_release(p, g);
    }
}

static bool any_waits(const struct placements *p)
{
    for (const group_entry *g = p->first; g; g = g->next)
        if (is_waiting(g)) return true;
    return false;
}

MANTA_METHOD_DEFINE(MantaPlacements, pump, void)
{
    struct placements *p = self->p;
    bool all_known = true;
    if (p->is_pumping) {
        p->again = true;
        return;
    }
    p->is_pumping = true;
    do {
        p->again = false;
        all_known = forget_dead(p);
        pump_all(p);
    } while (p->again);
    p->is_pumping = false;
    if (!all_known || any_waits(p)) /* at random: keepers that were in each other's way */
        (void)MantaPlacements_pump_after(RETRY_MS + os_random_u64() % RETRY_MS, MantaPlacements_ref_of(manta_self()));
}

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

/* Until something becomes of the group, or the time is over. */
static manta_status await_change(group_entry *g, uint64_t deadline_ns)
{
    future *f = g->n_waiters < GROUP_WAITERS ? future_new(worker_self()) : NULL;
    if (!f) return error_set(MANTA_ELIMIT, "at most %d wait for a placement group", GROUP_WAITERS);
    g->waiters[g->n_waiters++] = f;
    manta_status status = event_await(f, deadline_ns, "a placement group");
    for (uint32_t i = 0; i < g->n_waiters; i++)
        if (g->waiters[i] == f) g->waiters[i--] = g->waiters[--g->n_waiters];
    future_drop(worker_self(), f);
    return status;
}

static group_entry *make_group(struct placements *p, int32_t strategy, manta_str bundles)
{
    uint32_t count = 1;
    for (size_t i = 0; i < bundles.size; i++) count += bundles.data[i] == ';';
    bool ok = (uint32_t)strategy < BUNDLE_STRATEGIES && count <= MANTA_BUNDLES_LIMIT && p->by_id.count < GROUPS_LIMIT;
    if (!ok) return manta_fail(MANTA_ELIMIT, "at most %d bundles and %d placement groups", MANTA_BUNDLES_LIMIT, GROUPS_LIMIT), NULL;
    group_entry *g = placement_group_new(os_random_u64() >> 1 | 1, count, true);
    if (g && !parse_bundles(g, bundles)) return group_free(g), NULL;
    if (g && id_table_put(&p->by_id, g->id, g)) return placement_insert(p, g), g;
    manta_fail(MANTA_ENOMEM, "no memory for a placement group");
    if (g) group_free(g);
    return NULL;
}

/* Answers when the store has the row: written as ready when there is room at once. */
MANTA_METHOD_DEFINE(
    MantaPlacements, create, uint64_t, (manta_actor, owner), (uint64_t, job), (manta_str, name), (int32_t, strategy), (manta_str, bundles))
{
    struct placements *p = self->p;
    group_entry *g = make_group(p, strategy, bundles);
    if (!g) return 0;
    placement_hold(g);
    g->owner = owner;
    g->process = manta_process_of(owner).id;
    g->job = job;
    g->strategy = (bundle_strategy)strategy;
    snprintf(g->name, sizeof g->name, "%.*s", (int)name.size, name.data ? name.data : "");
    placement_pump();
    manta_status status = MANTA_OK;
    while (!status && g->stored == GROUP_NEW && !g->is_removed) status = await_change(g, OS_FOREVER);
    if (g->stored == GROUP_NEW) {
        manta_fail(status ? status : g->failed, "%s", status ? manta_last_error()->message : g->why);
        placement_mark_removed(p, g);
    }
    uint64_t id = g->stored == GROUP_NEW ? 0 : g->id;
    placement_release(p, g);
    return id;
}

static void say_not_ready(const group_entry *g, manta_status status)
{
    if (status != MANTA_ETIMEDOUT) manta_fail(status, "%s", manta_last_error()->message);
    else if (g->state != GROUP_INFEASIBLE) manta_fail(status, "the placement group is not ready: it waits for room");
    else manta_fail(status, "%s", g->why[0] ? g->why : "the placement group fits nowhere");
}

MANTA_METHOD_DEFINE(MantaPlacements, wait, void, (uint64_t, id), (uint64_t, timeout_ms))
{
    struct placements *p = self->p;
    group_entry *g = find(p, id);
    uint64_t deadline = timeout_ms >= INT64_MAX ? OS_FOREVER : deadline_after_ms(timeout_ms);
    manta_status status = MANTA_OK;
    if (!g) return;
    placement_hold(g);
    while (!status && !g->is_removed && g->state != GROUP_READY) status = await_change(g, deadline);
    if (status) say_not_ready(g, status);
    else if (g->is_removed) manta_fail(MANTA_ENOTFOUND, "there is no such placement group, or it was removed");
    placement_release(p, g);
}

MANTA_METHOD_DEFINE(MantaPlacements, remove, void, (uint64_t, id))
{
    struct placements *p = self->p;
    group_entry *g = find(p, id);
    if (!g) return;
    placement_hold(g);
    manta_status status = placement_delete(id);
    if (status) manta_fail(status, "%s", manta_last_error()->message);
    if (!status || status == MANTA_ENOTFOUND) {
        placement_mark_removed(p, g);
        placement_remove_bundles(p, g, true);
    }
    placement_release(p, g);
}

MANTA_METHOD_DEFINE(MantaPlacements, where, manta_actor, (uint64_t, id), (int32_t, bundle), (uint32_t, nth))
{
    uint64_t seen[NODES_LIMIT];
    uint32_t n_seen = 0;
    group_entry *g = id_table_get(&self->p->by_id, id);
    if (!g || g->is_removed) g = find(self->p, id);
    if (!g || g->state != GROUP_READY) return (manta_actor){0};
    if (bundle >= (int32_t)g->count) return manta_fail(MANTA_EINVAL, "the placement group has %u bundles", g->count), (manta_actor){0};
    for (uint32_t i = 0; i < g->count; i++) {
        bool is_new = n_seen < NODES_LIMIT && (bundle < 0 || bundle == (int32_t)i);
        for (uint32_t k = 0; k < n_seen && is_new; k++) is_new = seen[k] != g->at[i];
        if (is_new) seen[n_seen++] = g->at[i];
    }
    node_view *n = nth < n_seen ? placement_node(self->p, seen[nth]) : NULL;
    return n ? n->leases : (manta_actor){0};
}

MANTA_METHOD_DEFINE(MantaPlacements, info, MantaGroupInfo, (uint32_t, nth))
{
    MantaGroupInfo i = {.total = 0};
    for (group_entry *g = self->p->first; g; g = g->next) {
        if (g->is_removed || i.total++ != nth) continue;
        i.id = g->id;
        i.name = manta_str_of(g->name);
        i.strategy = (int32_t)g->strategy;
        i.state = g->state == GROUP_READY;
        i.bundles = g->count;
        i.infeasible = g->state == GROUP_INFEASIBLE;
    }
    return i;
}

MANTA_METHOD_DEFINE(MantaPlacements, describe, manta_str)
{
    static const char *const states[] = {"waits", "ready", "infeasible", "waits"};
    char *text = manta_alloc(LIST_BYTES);
    uint32_t listed = 0;
    size_t there = 0;
    if (!text) return manta_str_of("");
    for (group_entry *g = self->p->first; g; g = g->next) there += !g->is_removed;
    size_t n = (size_t)snprintf(text, LIST_BYTES, "%zu placement groups\n", there);
    for (group_entry *g = self->p->first; g && listed < LISTED; g = g->next) {
        if (g->is_removed) continue;
        n += (size_t)snprintf(text + n, LIST_BYTES - n, "  %016llx %-10s %s, %u bundles: %s\n", (unsigned long long)g->id, g->name,
            placement_strategy_names[g->strategy], g->count, states[g->state]);
        listed++;
    }
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

MANTA_CLASS_WITH(MantaPlacements, (.concurrency = 1024, .on_free = forget), init, create, wait, remove, where, info, node, pump, finish,
    changed, sweep, describe)

/* ---- for raylets ---- */

manta_actor placements_start(void) { return MantaPlacements_spawn().actor; }

void placements_node(manta_actor placements, const MantaNodeInfo *info, bool is_up)
{
    (void)MantaPlacements_node_send(MantaPlacements_ref_of(placements), *info, is_up);
}

manta_status placements_describe(manta_actor placements, manta_str *out)
{
    return manta_get(MantaPlacements_describe(MantaPlacements_ref_of(placements)), out);
}
