#include "scheduler/policy/place.h"

#include <string.h>

#include "scheduler/base/alloc.h"

enum { NODES_MOST = 256, TOP = 4 /* at random among the best few */ };

/* ---- one node ---- */

static bool may_use(const place_node *node, const place_request *q)
{
    if (q->strategy == PLACE_NODE && node->id != q->node) return false;
    return labels_match(q->labels, node->labels) && resources_fit(&q->need, &node->total);
}

bool place_is_feasible(const place_node *nodes, uint32_t n, const place_request *q)
{
    bool found = false;
    for (uint32_t i = 0; i < n && !found; i++) found = may_use(&nodes[i], q);
    return found;
}

/* The share in use of what is used most, in 1/10000, as it would be with the need; plus a little for what waits. */
static int64_t load_of(const place_node *node, const resources *need)
{
    int64_t most = 0;
    for (uint32_t i = 0; i < node->total.n; i++) {
        const resource *t = &node->total.items[i];
        int64_t used = t->amount - resources_get(&node->available, t->name) + resources_get(need, t->name);
        int64_t share = t->amount > 0 ? (int64_t)((double)used / (double)t->amount * 10000.0) : 0;
        if (share > most) most = share;
    }
    return most + node->queued;
}

typedef struct candidate {
    int32_t node;
    bool here;
    uint64_t bytes;
    int64_t load;
} candidate;

static bool is_better(const candidate *a, const candidate *b, place_strategy strategy)
{
    if (strategy != PLACE_SPREAD && a->bytes != b->bytes) return a->bytes > b->bytes;
    if (strategy != PLACE_SPREAD && a->here != b->here) return a->here;
    return a->load < b->load;
}

/* Whether a is as good as the best, for the draw: by load, a tenth more is the same; spreading takes the least only. */
static bool is_as_good(const candidate *a, const candidate *best, place_strategy strategy)
{
    if (strategy == PLACE_SPREAD) return a->load == best->load;
    return a->bytes == best->bytes && a->here == best->here && a->load <= best->load + 1000;
}

static void insert(candidate *top, uint32_t *count, candidate c, place_strategy strategy, uint32_t room)
{
    uint32_t at = *count;
    while (at && is_better(&c, &top[at - 1], strategy)) at--;
    if (at == room) return;
    if (*count < room) ++*count;
    memmove(&top[at + 1], &top[at], (*count - 1 - at) * sizeof *top);
    top[at] = c;
}

static int32_t draw(const candidate *top, uint32_t count, place_strategy strategy, rng *random)
{
    uint32_t good = 0;
    while (good < count && is_as_good(&top[good], &top[0], strategy)) good++;
    return top[rng_below(random, good)].node;
}

int32_t place_pick(const place_node *nodes, uint32_t n, const place_request *q, rng *random)
{
    candidate top[NODES_MOST];
    uint32_t count = 0, room = q->strategy == PLACE_SPREAD ? NODES_MOST : TOP;
    bool feasible = false;
    for (uint32_t i = 0; i < n && i < NODES_MOST; i++) {
        if (!may_use(&nodes[i], q)) continue;
        feasible = true;
        if (!resources_fit(&q->need, &nodes[i].available)) continue;
        if (q->strategy == PLACE_NODE_SOFT && nodes[i].id == q->node) return (int32_t)i;
        insert(
            top, &count, (candidate){(int32_t)i, (int32_t)i == q->here, nodes[i].bytes, load_of(&nodes[i], &q->need)}, q->strategy, room);
    }
    if (count) return draw(top, count, q->strategy, random);
    return feasible ? PLACE_FULL : PLACE_INFEASIBLE;
}

/* ---- bundles ---- */

/* Room as it becomes while bundles are laid out. */
typedef struct layout {
    resources *room;
    uint32_t n;
    const resources *bundles;
    uint32_t count;
    int32_t *out;
} layout;

static void put(layout *l, uint32_t bundle, int32_t node)
{
    resources_take(&l->room[node], &l->bundles[bundle]);
    l->out[bundle] = node;
}

static bool all_on(layout *l, uint32_t node)
{
    resources room = l->room[node];
    for (uint32_t b = 0; b < l->count; b++) {
        if (!resources_fit(&l->bundles[b], &room)) return false;
        resources_take(&room, &l->bundles[b]);
        l->out[b] = (int32_t)node;
    }
    return true;
}

static bool pack_strictly(layout *l)
{
    bool found = false;
    for (uint32_t i = 0; i < l->n && !found; i++) found = all_on(l, i);
    return found;
}

/* How full a bundle makes the roomiest kind of node: the large ones are laid out first. */
static int64_t size_of(const resources *bundle)
{
    int64_t most = 0;
    for (uint32_t i = 0; i < bundle->n; i++)
        if (bundle->items[i].amount > most && strcmp(bundle->items[i].name, "memory") != 0) most = bundle->items[i].amount;
    return most;
}

static bool order_by_size(const layout *l, uint32_t *order)
{
    for (uint32_t i = 0; i < l->count; i++) {
        uint32_t at = i;
        for (; at && size_of(&l->bundles[order[at - 1]]) < size_of(&l->bundles[i]); at--) order[at] = order[at - 1];
        order[at] = i;
    }
    return true;
}

/* A node for the bundle: pack: one in use already, else any; spread: one that is not in use, else the one with the fewest. */
static int32_t choose(const layout *l, uint32_t bundle, const uint32_t *used, bool spread)
{
    int32_t best = -1;
    for (uint32_t i = 0; i < l->n; i++) {
        if (!resources_fit(&l->bundles[bundle], &l->room[i])) continue;
        if (best < 0 || (spread ? used[i] < used[best] : used[i] && !used[best])) best = (int32_t)i;
    }
    return best;
}

static bool lay_out(layout *l, bool spread)
{
    uint32_t *order = base_calloc(l->count, sizeof *order), *used = base_calloc(l->n, sizeof *used);
    bool ok = order && used && order_by_size(l, order);
    for (uint32_t i = 0; ok && i < l->count; i++) {
        int32_t node = choose(l, order[i], used, spread);
        if ((ok = node >= 0)) {
            put(l, order[i], node);
            used[node]++;
        }
    }
    base_free(order);
    base_free(used);
    return ok;
}

/* A bundle's node in a matching of bundles to different nodes, moving others out of the way (Kuhn 1955); seen: nodes of this search. */
static bool augment(layout *l, uint32_t bundle, int32_t *holder, bool *seen)
{
    for (uint32_t i = 0; i < l->n; i++) {
        if (seen[i] || !resources_fit(&l->bundles[bundle], &l->room[i])) continue;
        seen[i] = true;
        if (holder[i] >= 0 && !augment(l, (uint32_t)holder[i], holder, seen)) continue;
        holder[i] = (int32_t)bundle;
        l->out[bundle] = (int32_t)i;
        return true;
    }
    return false;
}

static bool spread_strictly(layout *l)
{
    int32_t *holder = base_alloc(l->n * sizeof *holder + 1);
    bool *seen = base_alloc(l->n + 1), ok = holder && seen && l->count <= l->n;
    for (uint32_t i = 0; ok && i < l->n; i++) holder[i] = -1;
    for (uint32_t b = 0; ok && b < l->count; b++) {
        memset(seen, 0, l->n);
        ok = augment(l, b, holder, seen);
    }
    base_free(holder);
    base_free(seen);
    return ok;
}

bool place_bundles(const place_node *nodes, uint32_t n, const resources *bundles, uint32_t count, bundle_strategy strategy, int32_t *out)
{
    layout l = {base_alloc(n * sizeof(resources) + 1), n, bundles, count, out};
    for (uint32_t i = 0; l.room && i < n; i++) l.room[i] = nodes[i].available;
    bool ok = l.room && n && count;
    if (ok && strategy == BUNDLES_STRICT_SPREAD) ok = spread_strictly(&l);
    else if (ok && strategy == BUNDLES_SPREAD) ok = lay_out(&l, true);
    else if (ok) ok = pack_strictly(&l) || (strategy == BUNDLES_PACK && lay_out(&l, false));
    base_free(l.room);
    return ok;
}
