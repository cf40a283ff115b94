/*
 * Leases of a node: what fits, taking and giving back.
 *
 * A worker process that has leases of its own holds its cpus until the last of them has gone: one that was let in while all others waited takes none. So the cpus of a node are never lent twice. A host, which many
 * actors share, holds nothing: each lease has its own.
 */
#include <stdio.h>
#include <string.h>

#include "actor/node/leases.h"

typedef struct fit { /* how a request would be served */
    bundle_entry *pool;
    worker_view *lent;
    uint64_t gpu_mask;
    bool is_over; /* with cpus of workers whose tasks wait */
} fit;

bundle_entry *bundle_of(lessor *l, uint64_t group, int32_t index)
{
    bundle_entry *best = NULL;
    for (bundle_entry *b = l->bundles; b; b = b->next) /* any: the one with most cpus left */
        if (b->group == group && b->committed && (index < 0 || b->index == index) &&
            (!best || resources_get(&b->available, "cpus") > resources_get(&best->available, "cpus")))
            best = b;
    return best;
}

static resources *room_of(lessor *l, bundle_entry *of) { return of ? &of->available : &l->nodes[0].place.available; }

static bool is_shared(const lease_request *r)
{
    bool apart = r->is_detached || r->isolated;
    return !apart && !resources_get(&r->need, "gpus") && (r->is_actor || !resources_get(&r->need, "cpus"));
}

/* Whole gpus, or one that has the part left. */
static bool find_gpus(const lessor *l, int64_t amount, uint64_t *out_mask)
{
    *out_mask = 0;
    for (int i = 0; i < GPUS_LIMIT && amount > 0; i++) {
        int64_t part = amount < RESOURCE_UNIT ? amount : RESOURCE_UNIT;
        if (l->gpus[i] < part) continue;
        *out_mask |= 1ull << i;
        amount -= part;
    }
    return amount <= 0;
}

static void move_gpus(lessor *l, uint64_t mask, int64_t amount, int sign)
{
    int64_t part = amount < RESOURCE_UNIT ? amount : RESOURCE_UNIT;
    for (int i = 0; i < GPUS_LIMIT; i++)
        if (mask >> i & 1) l->gpus[i] += sign * part;
}

static resources without_cpus(const lease_request *r)
{
    resources rest = r->need;
    (void)resources_set(&rest, "cpus", 0);
    return rest;
}

/* A worker of the job whose tasks all wait, and which holds cpus enough. */
static worker_view *find_lent(lessor *l, const lease_request *r, const bundle_entry *of)
{
    int64_t cpus = resources_get(&r->need, "cpus");
    for (uint32_t i = 0; i < l->n_workers; i++) {
        worker_view *w = l->workers[i];
        if (w->lent && w->leases && !w->ending && w->job == r->job && w->pool == of && w->cpus >= cpus) return w;
    }
    return NULL;
}

/* Who waits for a lost object may hold all cpus, in pieces that are too small for the task that makes it, or of another job: what runs again may use them meanwhile, but no cpu twice. */
static bool fits_over(const lessor *l, const lease_request *r, const bundle_entry *of, const resources *room)
{
    int64_t cpus = resources_get(room, "cpus");
    for (uint32_t i = 0; i < l->n_workers; i++) {
        const worker_view *w = l->workers[i];
        if (!w->leases || w->pool != of) continue;
        cpus += w->blocked ? w->cpus : -w->over;
    }
    return cpus >= resources_get(&r->need, "cpus");
}

static bool find_fit(lessor *l, const lease_request *r, fit *out)
{
    *out = (fit){.pool = r->group ? bundle_of(l, r->group, r->bundle) : NULL};
    const resources *room = room_of(l, out->pool);
    if ((r->group && !out->pool) || !find_gpus(l, resources_get(&r->need, "gpus"), &out->gpu_mask)) return false;
    if (resources_fit(&r->need, room)) return true;
    resources rest = without_cpus(r);
    if (r->is_actor || out->gpu_mask || !resources_fit(&rest, room)) return false;
    out->lent = find_lent(l, r, out->pool);
    out->is_over = !out->lent && r->is_again && fits_over(l, r, out->pool, room);
    return out->lent || out->is_over;
}

bool grant_may(void *context, const lease_request *r)
{
    fit f;
    const node_view *here = ((lessor *)context)->nodes;
    place_request q = {.need = r->need, .labels = r->labels, .strategy = r->strategy, .node = r->node};
    if (unfit_is(context, r->job, here->place.id) || drain_is_here(context)) return false;
    return (r->group || place_is_feasible(&here->place, 1, &q)) && find_fit(context, r, &f);
}

void grant_tell(lessor *l, lease_entry *x)
{
    const lease_request *r = x->request;
    int64_t cpus = 0;
    for (uint32_t i = 0; i < l->n_nodes; i++) cpus += resources_get(&l->nodes[i].place.total, "cpus") / RESOURCE_UNIT;
    x->is_granted = true;
    MantaGrant g = {r->id, x->worker->process, l->self, x->worker->pid, l->nodes[0].place.id, (uint32_t)cpus};
    tell_granted(r, &g);
}

static void take(lessor *l, lease_entry *x, const fit *f)
{
    lease_request *r = x->request;
    worker_view *w = x->worker;
    bool own = !w->is_host;
    x->pool = f->pool;
    x->held = own ? without_cpus(r) : r->need;
    resources_take(room_of(l, f->pool), &x->held);
    if (own && !w->leases) {
        w->pool = f->pool;
        int64_t all = resources_get(&r->need, "cpus"), there = resources_get(room_of(l, f->pool), "cpus");
        w->cpus = f->is_over && there < all ? there : all;
        w->over = all - w->cpus;
        resources_take(room_of(l, f->pool), &(resources){w->cpus != 0, {{"cpus", w->cpus}}});
    }
    if ((x->gpu_mask = f->gpu_mask)) move_gpus(l, f->gpu_mask, resources_get(&r->need, "gpus"), -1);
    w->leases++;
    w->lent = false;
    queue_use(&l->queue, r->job, &r->need, false);
    leases_changed(l);
}

bool grant_make(lessor *l, lease_request *r)
{
    fit f;
    job_view *job = job_of(l, r->job);
    lease_entry *x = job && find_fit(l, r, &f) ? base_calloc(1, sizeof *x) : NULL;
    worker_view *w = !x ? NULL : f.lent ? f.lent : worker_for(l, job, r, is_shared(r), f.gpu_mask);
    if (!w || !id_table_put(&l->leases, r->id, x)) {
        base_free(x);
        return false;
    }
    x->request = queue_remove(&l->queue, r);
    x->worker = w;
    x->since_ns = pool_now_ns();
    take(l, x, &f);
    if (w->is_ready) grant_tell(l, x);
    return true;
}

void grant_end(lessor *l, lease_entry *x)
{
    worker_view *w = x->worker;
    lease_request *r = x->request;
    (void)resources_give(room_of(l, x->pool), &x->held);
    if (x->gpu_mask) move_gpus(l, x->gpu_mask, resources_get(&r->need, "gpus"), 1);
    if (!--w->leases) {
        (void)resources_give(room_of(l, w->pool), &(resources){w->cpus != 0, {{"cpus", w->cpus}}});
        w->cpus = w->over = 0;
        w->pool = NULL;
        w->idle_since_ns = pool_now_ns();
        if (w->has_gpus || w->is_detached || w->is_own) worker_end(l, w, "what it was for is over");
    }
    w->lent = w->blocked && w->leases;
    queue_use(&l->queue, r->job, &r->need, true);
    (void)id_table_remove(&l->leases, r->id);
    leases_changed(l);
    base_free(x);
}

/* ---- fairness: leases that others are entitled to are called back ---- */

static bool may_call_back(const lessor *l, const lease_entry *x, const lease_request *r, uint64_t now_ns)
{
    if (x->recalled || !x->is_granted || x->request->is_actor || x->pool) return false;
    if (x->request->job == r->job) return x->request->priority < r->priority;
    const resources *total = &l->nodes[0].place.total;
    return now_ns - x->since_ns >= (uint64_t)SLICE_MS * OS_NS_PER_MS &&
           queue_share(&l->queue, x->request->job, total) > queue_share(&l->queue, r->job, total);
}

static void call_back_for(lessor *l, const lease_request *r, uint64_t now_ns)
{
    size_t cursor = 0;
    lease_entry *victim = NULL;
    for (lease_entry *x; (x = id_table_next(&l->leases, &cursor, NULL));) {
        if (x->recalled && x->request->job != r->job) return; /* one is on its way */
        if (may_call_back(l, x, r, now_ns) && (!victim || x->request->priority < victim->request->priority)) victim = x;
    }
    if (!victim) return;
    victim->recalled = true;
    (void)MantaOwner_recalled_send(MantaOwner_ref_of(victim->request->owner), victim->request->id);
}

static bool is_waiting(void *context, const lease_request *r)
{
    const node_view *here = ((lessor *)context)->nodes;
    return !r->infeasible && !r->group && resources_fit(&r->need, &here->place.total);
}

void grants_call_back(lessor *l, uint64_t now_ns)
{
    lease_request *r = queue_next(&l->queue, &l->nodes[0].place.total, is_waiting, l);
    if (r && !grant_may(l, r)) call_back_for(l, r, now_ns);
}
