/*
 * Placement groups: the rounds with the nodes.
 */
#include <stdio.h>
#include <string.h>

#include "actor/node/node.h"
#include "actor/node/placement.h"

enum { PER_BUNDLE = RESOURCES_TEXT };

typedef struct round { /* the nodes that a placing concerns, by their ids: the list may change meanwhile */
    uint64_t ids[NODES_LIMIT];
    manta_manta_str_future answers[NODES_LIMIT];
    uint32_t n;
} round;

static void round_add(round *r, uint64_t node)
{
    for (uint32_t i = 0; i < r->n; i++)
        if (r->ids[i] == node) return;
    if (node && r->n < NODES_LIMIT) r->ids[r->n++] = node;
}

static void say(struct placements *p, round *r, uint32_t i, const group_entry *g, int step, manta_str text)
{
    node_view *n = placement_node(p, r->ids[i]);
    MantaLeases_ref to = MantaLeases_ref_of(n ? n->leases : (manta_actor){0});
    r->answers[i] = MantaLeases_reserve(to, g ? g->id : 0, g ? g->attempt : 0, step, text);
}

/* "0:cpus=1;3:cpus=2": the bundles that are to be on that node, or those of them that are not yet. In the handler's memory. */
static manta_str text_for(const group_entry *g, uint64_t node, bool is_missing)
{
    size_t n = 0, room = (size_t)g->count * PER_BUNDLE + 1;
    char *text = manta_alloc(room);
    if (!text) return (manta_str){NULL, 0};
    for (uint32_t i = 0; i < g->count; i++) {
        if (g->wanted[i] != node || (is_missing && g->at[i])) continue;
        n += (size_t)snprintf(text + n, room - n, "%s%u:", n ? ";" : "", i);
        n += resources_format(&g->bundles[i], text + n, room - n);
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

static bool tell_all(struct placements *p, round *r, const group_entry *g, int step)
{
    for (uint32_t i = 0; i < r->n; i++) say(p, r, i, g, step, (manta_str){NULL, 0});
    return collect(r);
}

/* What is free now, asked of all nodes at once. */
static void ask_all(struct placements *p, round *r)
{
    r->n = 0;
    for (uint32_t i = 0; i < p->n_nodes; i++) round_add(r, p->nodes[i].place.id);
    for (uint32_t i = 0; i < r->n; i++) say(p, r, i, NULL, RESERVE_ASK, (manta_str){NULL, 0});
    for (uint32_t i = 0; i < r->n; i++) {
        manta_str text;
        char error[128];
        bool ok = manta_get(r->answers[i], &text) == MANTA_OK;
        node_view *n = placement_node(p, r->ids[i]);
        if (n) n->place.available = (resources){0};
        if (ok && n && text.size > 1) (void)resources_parse(text.data, text.size - 1, &n->place.available, error, sizeof error);
    }
}

void placement_remove_bundles(struct placements *p, const group_entry *g, bool wait)
{
    round r = {.n = 0};
    for (uint32_t i = 0; i < g->count; i++) round_add(&r, g->at[i]);
    for (uint32_t i = 0; g->is_kept && i < g->count; i++) round_add(&r, g->wanted[i]);
    if (wait) (void)tell_all(p, &r, g, RESERVE_REMOVE);
    for (uint32_t i = 0; !wait && i < r.n; i++) {
        node_view *n = placement_node(p, r.ids[i]);
        if (n) (void)MantaLeases_reserve_send(MantaLeases_ref_of(n->leases), g->id, 0, RESERVE_REMOVE, (manta_str){NULL, 0});
    }
}

/* ---- planning ---- */

typedef struct plan {
    place_node *nodes;
    uint64_t *ids;
    uint32_t n, count;
    uint32_t *which; /* bundles that are missing */
    resources *bundles;
    int32_t *at;
} plan;

static bool is_used(const group_entry *g, uint64_t node)
{
    for (uint32_t i = 0; i < g->count; i++)
        if (g->at[i] == node) return true;
    return false;
}

/* empty: as if nothing ran anywhere, and nothing of the group had a place. */
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

/* The first bundle that no node could hold; count: each has one. */
static uint32_t too_large(const struct placements *p, const group_entry *g)
{
    for (uint32_t i = 0; i < g->count; i++) {
        bool fits = false;
        for (uint32_t k = 0; k < p->n_nodes && !fits; k++) fits = resources_fit(&g->bundles[i], &p->nodes[k].place.total);
        if (!fits) return i;
    }
    return g->count;
}

static void explain(const struct placements *p, group_entry *g)
{
    char need[100];
    uint32_t bad = too_large(p, g);
    int n = snprintf(g->why, sizeof g->why, "placement group %s%s%016llx (%s, %u bundles) fits nowhere: ", g->name, g->name[0] ? " " : "",
        (unsigned long long)g->id, placement_strategy_names[g->strategy], g->count);
    char *rest = g->why + n;
    size_t room = sizeof g->why - (size_t)n;
    if (bad < g->count) {
        resources_format(&g->bundles[bad], need, sizeof need);
        snprintf(rest, room, "none of %u nodes has %s (bundle %u)", p->n_nodes, need, bad + 1);
    } else if (g->strategy == BUNDLES_STRICT_SPREAD && g->count > p->n_nodes) snprintf(rest, room, "there are %u nodes", p->n_nodes);
    else snprintf(rest, room, "not even when all %u nodes are empty", p->n_nodes);
}

/* It has to wait; whether it could ever end is told to whoever made it, once. */
static void wait_for_room(struct placements *p, group_entry *g, bool may_be_infeasible)
{
    plan all;
    char text[GROUP_WHY + 60];
    group_state state = may_be_infeasible && !make_plan(p, g, &all, true) ? GROUP_INFEASIBLE : GROUP_PENDING;
    bool is_news = state == GROUP_INFEASIBLE && g->state != state;
    if (state == GROUP_INFEASIBLE) explain(p, g);
    g->state = state;
    snprintf(text, sizeof text, "infeasible: %s; it waits for nodes", g->why);
    if (is_news) (void)MantaOwner_report_send(MantaOwner_ref_of(g->owner), manta_str_of(text));
}

/* ---- placing ---- */

static bool prepare(struct placements *p, round *r, group_entry *g, const plan *all)
{
    r->n = 0;
    memcpy(g->wanted, g->at, g->count * sizeof *g->at);
    for (uint32_t i = 0; i < all->count; i++) g->wanted[all->which[i]] = all->ids[all->at[i]];
    for (uint32_t i = 0; i < all->count; i++) round_add(r, all->ids[all->at[i]]);
    g->attempt = os_random_u64();
    for (uint32_t i = 0; i < r->n; i++) say(p, r, i, g, RESERVE_PREPARE, text_for(g, r->ids[i], true));
    if (collect(r) && !g->is_removed) return true;
    placement_abort(p, g);
    return false;
}

bool placement_prepare(struct placements *p, group_entry *g)
{
    static round r; /* one at a time */
    plan all;
    ask_all(p, &r);
    if (g->is_removed) return false;
    bool fits = make_plan(p, g, &all, false);
    if (fits && prepare(p, &r, g, &all)) return true;
    wait_for_room(p, g, !fits);
    return false;
}

void placement_abort(struct placements *p, const group_entry *g)
{
    round r = {.n = 0};
    for (uint32_t i = 0; i < g->count; i++) round_add(&r, g->at[i] ? 0 : g->wanted[i]);
    (void)tell_all(p, &r, g, RESERVE_ABORT);
}

/* A node that refuses has had its bundles expire. One that does not answer learns of the row, or is dead soon. */
void placement_commit(struct placements *p, group_entry *g)
{
    round r = {.n = 0};
    manta_str answer;
    memcpy(g->at, g->wanted, g->count * sizeof *g->at);
    g->state = GROUP_READY;
    for (uint32_t i = 0; i < g->count; i++) round_add(&r, g->at[i]);
    for (uint32_t i = 0; i < r.n; i++) say(p, &r, i, g, RESERVE_COMMIT, text_for(g, r.ids[i], false));
    for (uint32_t i = 0; i < r.n; i++)
        if (manta_get(r.answers[i], &answer) == MANTA_OK && !answer.size) placement_lose_node(g, r.ids[i]);
}
