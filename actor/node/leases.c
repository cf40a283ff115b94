#include "actor/node/leases.h"

#include <stdio.h>
#include <string.h>

#include "actor/node/crash.h"
#include "actor/node/membership.h"
#include "actor/node/node.h"

enum { TOMBSTONE = NODES_LIMIT + 1, STATUS_BYTES = 512 << 10 };

static void copy_text(char *to, size_t room, manta_str s) { snprintf(to, room, "%.*s", (int)s.size, s.data ? s.data : ""); }

job_view *job_of(lessor *l, uint64_t id)
{
    for (uint32_t i = 0; i < l->n_jobs; i++)
        if (l->jobs[i]->info.id == id) return l->jobs[i];
    return NULL;
}

static bool read_need(manta_str text, resources *out)
{
    char error[128];
    *out = (resources){0};
    return resources_parse(text.data ? text.data : "", text.size, out, error, sizeof error);
}

/* ---- what has become of an id ---- */

static void remember(lessor *l, uint64_t id, uintptr_t what)
{
    uint64_t *slot = &l->seen[l->seen_at++ % SEEN_LIMIT];
    if (*slot) (void)id_table_remove(&l->moved, *slot);
    *slot = id_table_put(&l->moved, id, (void *)what) ? id : 0;
}

/* Where it went: NODES_LIMIT: it is over; -1: unknown, or the node is gone. */
static int32_t where_is(lessor *l, uint64_t id)
{
    uintptr_t what = (uintptr_t)id_table_get(&l->moved, id);
    if (what == TOMBSTONE) return NODES_LIMIT;
    for (uint32_t i = 1; what && i < l->n_nodes; i++)
        if (l->nodes[i].place.id == what) return (int32_t)i;
    return -1;
}

/* ---- placing ---- */

/* Who does not hear of it asks again, and is refused again. */
static void refuse(lease_request *r, manta_status status, const char *text)
{
    tell_refused(r->owner, r->id, r->is_revival, status, manta_str_of(text));
    base_free(r);
}

static void forward(lessor *l, lease_request *r, uint32_t to)
{
    char need[RESOURCES_TEXT];
    node_view *n = &l->nodes[to];
    job_view *job = job_of(l, r->job);
    resources_format(&r->need, need, sizeof need);
    remember(l, r->id, n->place.id);
    resources_take(&n->place.available, &r->need);
    if (job) {
        MantaRequest what = {r->id, r->owner, job->info, manta_str_of(need), manta_str_of(r->labels), (int32_t)r->strategy, r->node,
            r->priority, r->group, r->bundle, r->hops + 1, r->is_actor, r->bytes_node, r->bytes,
            (r->is_detached ? REQUEST_DETACHED : 0) | (r->isolated ? REQUEST_ISOLATED : 0) | (r->is_revival ? REQUEST_REVIVAL : 0) |
                (r->is_again ? REQUEST_AGAIN : 0)};
        (void)MantaLeases_request_send(MantaLeases_ref_of(n->leases), what);
    }
    base_free(r);
}

static void say_infeasible(const lease_request *r)
{
    char need[RESOURCES_TEXT], text[RESOURCES_TEXT + LABELS_TEXT + 160];
    resources_format(&r->need, need, sizeof need);
    snprintf(text, sizeof text, "infeasible: no node of the cluster has %s%s%s%s; it waits for one that has", need[0] ? need : "room",
        r->labels[0] ? " with " : "", r->labels, r->strategy == PLACE_NODE ? ", or the node that was asked for is not there" : "");
    (void)MantaOwner_report_send(MantaOwner_ref_of(r->owner), manta_str_of(text));
}

static void enqueue(lessor *l, lease_request *r, bool infeasible)
{
    bool report = infeasible && !r->infeasible;
    r->infeasible = infeasible;
    if (report && !r->unfit_ns && !r->is_revival) say_infeasible(r);
    leases_changed(l);
    if (!queue_push(&l->queue, r)) refuse(r, MANTA_ELIMIT, "too many requests wait on the node");
}

static bool is_unfit_here(const lessor *l, uint64_t job) { return unfit_is(l, job, l->nodes[0].place.id); }
static bool may_not_run_here(const lessor *l, uint64_t job) { return is_unfit_here(l, job) || drain_is_here(l); }

typedef struct choice { /* the nodes that can run the job's program; this one first, if it can */
    place_node nodes[NODES_LIMIT];
    int32_t at[NODES_LIMIT]; /* its index among all */
    uint32_t n;
} choice;

static void gather(const lessor *l, const lease_request *r, choice *c)
{
    c->n = 0;
    for (uint32_t i = 0; i < l->n_nodes; i++) {
        const place_node *n = &l->nodes[i].place;
        if (unfit_is(l, r->job, n->id) || drain_is_leaving(l, n->id)) continue;
        c->nodes[c->n] = *n;
        c->nodes[c->n].bytes = n->id == r->bytes_node ? r->bytes : 0;
        c->at[c->n++] = (int32_t)i;
    }
}

/* A node where it could run, if it has to wait. */
static uint32_t where_to_wait(const choice *c, const place_request *q)
{
    uint32_t best = 0;
    for (uint32_t i = 0; i < c->n; i++)
        if (place_is_feasible(&c->nodes[i], 1, q) &&
            (!place_is_feasible(&c->nodes[best], 1, q) || c->nodes[i].queued < c->nodes[best].queued))
            best = i;
    return c->at[0] == 0 && place_is_feasible(&c->nodes[0], 1, q) ? 0 : best;
}

static place_request query_of(const lease_request *r)
{
    return (place_request){.need = r->need, .labels = r->labels, .strategy = r->strategy, .node = r->node};
}

static int32_t choose(lessor *l, const lease_request *r)
{
    static choice c;
    place_request q = query_of(r);
    bool may_stay = r->hops && !may_not_run_here(l, r->job);
    if (r->group || (may_stay && place_is_feasible(&l->nodes[0].place, 1, &q) && resources_fit(&q.need, &l->nodes[0].place.available)))
        return 0;
    gather(l, r, &c);
    if (c.n && c.at[0]) q.here = -1;
    if (r->is_actor && !r->need.n && r->strategy <= PLACE_SPREAD) { /* it needs nothing: in turn */
        for (uint32_t i = 0; !r->hops && i < c.n; i++) {
            uint32_t n = l->turn++ % c.n;
            if (place_is_feasible(&c.nodes[n], 1, &q)) return c.at[n];
        }
    }
    int32_t found = place_pick(c.nodes, c.n, &q, &l->random);
    if (found == PLACE_FULL) found = (int32_t)where_to_wait(&c, &q);
    return found < 0 ? found : c.at[found];
}

/* It could run somewhere, but for the program. */
static bool is_for_unfit_only(const lessor *l, const lease_request *r, int32_t chosen)
{
    place_request q = query_of(r);
    bool found = chosen == 0 && is_unfit_here(l, r->job);
    for (uint32_t i = 0; chosen == PLACE_INFEASIBLE && !found && unfit_why(l, r->job) && i < l->n_nodes; i++)
        found = place_is_feasible(&l->nodes[i].place, 1, &q);
    return found;
}

static void send_on(lessor *l, lease_request *r, int32_t to)
{
    r->hops = r->hops < HOPS ? r->hops : HOPS - 1;
    forward(l, r, (uint32_t)to);
}

/* Takes r. */
static void place(lessor *l, lease_request *r)
{
    int32_t to = choose(l, r);
    r->unfit_ns = is_for_unfit_only(l, r, to) ? pool_now_ns() : 0;
    if (r->unfit_ns) enqueue(l, r, true);
    else if (to > 0 && (r->hops < HOPS || may_not_run_here(l, r->job))) send_on(l, r, to);
    else enqueue(l, r, to == PLACE_INFEASIBLE);
}

/* A node that can run it may have come, and not be known here yet: what waits for one is refused after a while only. */
static void refuse_unfit(lessor *l, uint64_t now)
{
    for (lease_request *r = l->n_unfit ? l->queue.first : NULL, *next; r; r = next) {
        next = r->next;
        if (r->unfit_ns && now - r->unfit_ns > UNFIT_WAIT_MS * OS_NS_PER_MS)
            refuse(queue_remove(&l->queue, r), MANTA_EINIT, unfit_why(l, r->job) ? unfit_why(l, r->job) : "no node runs the program");
    }
}

void leases_place_again(lessor *l)
{
    for (lease_request *r = l->queue.first, *next; r; r = next) {
        next = r->next;
        place_request q = {.need = r->need, .labels = r->labels, .strategy = r->strategy, .node = r->node};
        if (r->group || (!r->infeasible && !drain_is_here(l) && place_is_feasible(&l->nodes[0].place, 1, &q))) continue;
        int32_t to = choose(l, r);
        if (to == PLACE_INFEASIBLE) continue;
        r->infeasible = false;
        r->unfit_ns = 0;
        if (to > 0) send_on(l, queue_remove(&l->queue, r), to);
    }
}

/* ---- stealing ---- */

static void ask_for_work(lessor *l)
{
    char text[RESOURCES_TEXT];
    node_view *here = &l->nodes[0], *most = NULL;
    if (l->queue.count || resources_get(&here->place.available, "cpus") <= 0 || drain_is_here(l)) return;
    for (uint32_t i = 1; i < l->n_nodes; i++)
        if (l->nodes[i].place.queued && (!most || l->nodes[i].place.queued > most->place.queued)) most = &l->nodes[i];
    if (!most) return;
    most->place.queued = 0; /* until it tells again */
    resources_format(&here->place.available, text, sizeof text);
    (void)MantaLeases_steal_send(MantaLeases_ref_of(most->leases), l->self, manta_str_of(text));
}

static uint32_t node_of_leases(const lessor *l, manta_actor who)
{
    uint32_t i = 0;
    while (i < l->n_nodes && l->nodes[i].leases.id != who.id) i++;
    return i;
}

MANTA_METHOD_DEFINE(MantaLeases, steal, void, (manta_actor, leases), (manta_str, available))
{
    struct lessor *l = self->l;
    resources room;
    uint32_t thief = node_of_leases(l, leases), left = (l->queue.count + 1) / 2;
    if (thief == l->n_nodes || drain_is_leaving(l, l->nodes[thief].place.id) || !read_need(available, &room)) return;
    place_node there = l->nodes[thief].place;
    there.available = room;
    for (lease_request *r = l->queue.first, *next; r && left; r = next) {
        next = r->next;
        place_request q = {.need = r->need, .labels = r->labels, .strategy = r->strategy, .node = r->node, .here = -1};
        if (r->group || r->hops >= HOPS || unfit_is(l, r->job, there.id) || place_pick(&there, 1, &q, &l->random) != 0) continue;
        resources_take(&there.available, &r->need);
        forward(l, queue_remove(&l->queue, r), thief);
        left--;
    }
    l->nodes[thief].place.available = there.available;
    leases_changed(l);
}

MANTA_METHOD_DECLARE(MantaLeases, tick, void)

/* A node where nothing happens and nothing is kept does not tick. */
static void begin_to_tick(lessor *l)
{
    if (!l->is_ticking) (void)MantaLeases_tick_after(GOSSIP_MS, MantaLeases_ref_of(l->self));
    l->is_ticking = true;
}

void leases_changed(lessor *l)
{
    l->changed = true;
    begin_to_tick(l);
}

void leases_drain(lessor *l)
{
    begin_to_tick(l);
    for (lease_request *r; (r = queue_next(&l->queue, &l->nodes[0].place.total, grant_may, l));)
        if (!grant_make(l, r)) refuse(queue_remove(&l->queue, r), MANTA_EINIT, manta_last_error()->message);
    grants_call_back(l, pool_now_ns());
    ask_for_work(l);
}

/* ---- requests ---- */

static lease_request *request_new(const MantaRequest *what)
{
    lease_request *r = base_calloc(1, sizeof *r);
    if (!r) return NULL;
    *r = (lease_request){.id = what->id,
        .job = what->job.id,
        .node = what->node,
        .group = what->group,
        .bundle = what->bundle,
        .priority = what->priority,
        .strategy = (place_strategy)what->strategy,
        .hops = what->hops,
        .is_actor = what->is_actor,
        .is_detached = (what->apart & REQUEST_DETACHED) != 0,
        .isolated = (what->apart & REQUEST_ISOLATED) != 0,
        .is_revival = (what->apart & REQUEST_REVIVAL) != 0,
        .is_again = (what->apart & REQUEST_AGAIN) != 0,
        .owner = what->owner,
        .bytes_node = what->bytes_node,
        .bytes = what->bytes};
    copy_text(r->labels, sizeof r->labels, what->labels);
    if (read_need(what->need, &r->need)) return r;
    base_free(r);
    return NULL;
}

MANTA_METHOD_DECLARE(MantaLeases, on_down, void, (manta_actor, who), (int32_t, status), (manta_str, why))

static void watch_owner(lessor *l, manta_actor owner)
{
    if (id_table_get(&l->owners, owner.id) || !id_table_put(&l->owners, owner.id, l)) return;
    (void)manta_monitor(owner, MantaLeases_on_down, NULL);
}

/* True: it is known; goes after it when it went on to another node. */
static bool is_known(lessor *l, const MantaRequest *what)
{
    if (queue_get(&l->queue, what->id) || id_table_get(&l->leases, what->id)) return true;
    int32_t at = where_is(l, what->id);
    if (at > 0 && at < NODES_LIMIT && !what->hops) (void)MantaLeases_request_send(MantaLeases_ref_of(l->nodes[at].leases), *what);
    return at >= 0 && !what->hops; /* from another node: it came here again */
}

/* Waits. True: it is known now, also when this node cannot run it, which its driver is told once. */
static bool begin_job(lessor *l, const MantaJob *job)
{
    if (manta_join(MantaRaylet_begin_job(MantaRaylet_ref_of(l->raylet), *job)) == MANTA_OK) return true;
    job_view *j = job_of(l, job->id);
    if (j && !j->is_told)
        (void)MantaDriver_output_send(MantaDriver_ref_of(j->info.driver), 0, true, manta_str_of(manta_last_error()->message));
    if (j) j->is_told = true;
    return j != NULL;
}

/* The raylet had begun the job for somebody else, and its word of it waits already: a message to oneself comes behind that. */
static void ask_again(lessor *l, MantaRequest *what)
{
    bool is_first = !(what->apart & REQUEST_ASKED);
    what->apart |= REQUEST_ASKED;
    if (is_first) (void)MantaLeases_request_send(MantaLeases_ref_of(l->self), *what);
    else
        tell_refused(
            what->owner, what->id, (what->apart & REQUEST_REVIVAL) != 0, MANTA_EINIT, manta_str_of("its job does not begin on this node"));
}

MANTA_METHOD_DEFINE(MantaLeases, request, void, (MantaRequest, what))
{
    struct lessor *l = self->l;
    if (where_is(l, what.id) == NODES_LIMIT || is_known(l, &what)) return;
    if (!job_of(l, what.job.id) && !begin_job(l, &what.job)) {
        tell_refused(what.owner, what.id, (what.apart & REQUEST_REVIVAL) != 0, manta_last_error()->status,
            manta_str_of(manta_last_error()->message));
        return;
    }
    if (!job_of(l, what.job.id)) {
        ask_again(l, &what);
        return;
    }
    lease_request *r = request_new(&what);
    if (!r || where_is(l, what.id) == NODES_LIMIT || queue_get(&l->queue, what.id) || id_table_get(&l->leases, what.id)) {
        base_free(r);
        return;
    }
    watch_owner(l, r->owner);
    if (r->group && !bundle_of(l, r->group, r->bundle)) refuse(r, MANTA_ENOTFOUND, "the placement group is not here");
    else place(l, r);
    leases_drain(l);
}

static void end_lease(lessor *l, lease_entry *x, bool kill)
{
    lease_request *r = x->request;
    worker_view *w = x->worker;
    remember(l, r->id, TOMBSTONE);
    grant_end(l, x);
    base_free(r);
    if (kill) w->unwanted = true;
    if (kill) worker_end(l, w, "its task was cancelled by force");
}

MANTA_METHOD_DEFINE(MantaLeases, release, void, (uint64_t, id), (bool, kill))
{
    struct lessor *l = self->l;
    lease_request *r = queue_get(&l->queue, id);
    lease_entry *x = id_table_get(&l->leases, id);
    int32_t at = where_is(l, id);
    if (x) end_lease(l, x, kill);
    else if (r) base_free(queue_remove(&l->queue, r));
    else if (at > 0 && at < NODES_LIMIT) (void)MantaLeases_release_send(MantaLeases_ref_of(l->nodes[at].leases), id, kill);
    if (!x) remember(l, id, TOMBSTONE);
    leases_changed(l);
    leases_drain(l);
}

MANTA_METHOD_DEFINE(MantaLeases, hold, void, (uint64_t, id))
{
    lease_entry *x = id_table_get(&self->l->leases, id);
    if (x) x->held_by_actor = true;
}

MANTA_METHOD_DEFINE(MantaLeases, waiting, void, (uint32_t, pid), (bool, is))
{
    worker_view *w = worker_of_pid(self->l, pid);
    if (!w) return;
    w->blocked = w->lent = is;
    if (is) leases_drain(self->l);
}

/* An owner has gone: what it asked for, and what it had. If it was only cut off, it asks again by the same ids. */
MANTA_METHOD_DEFINE(MantaLeases, on_down, void, (manta_actor, who), (int32_t, status), (manta_str, why))
{
    struct lessor *l = self->l;
    (void)status, (void)why;
    (void)id_table_remove(&l->owners, who.id);
    for (lease_request *r = l->queue.first, *next; r; r = next) {
        next = r->next;
        if (r->owner.id == who.id) base_free(queue_remove(&l->queue, r));
    }
    size_t cursor = 0;
    for (lease_entry *x; (x = id_table_next(&l->leases, &cursor, NULL));) {
        uint64_t id = x->request->id;
        if (x->request->owner.id != who.id || x->held_by_actor) continue;
        end_lease(l, x, false);
        (void)id_table_remove(&l->moved, id);
    }
    leases_drain(l);
}

/* ---- nodes ---- */

static void fill_node(node_view *n, const MantaNodeInfo *info)
{
    *n = (node_view){.leases = info->leases, .raylet = info->raylet};
    copy_text(n->address, sizeof n->address, info->address);
    copy_text(n->host, sizeof n->host, info->host);
    copy_text(n->labels, sizeof n->labels, info->labels);
    n->place.id = info->id;
    (void)read_need(info->total, &n->place.total);
    n->place.available = n->place.total;
}

MANTA_METHOD_DEFINE(MantaLeases, node, void, (MantaNodeInfo, info), (uint32_t, news))
{
    struct lessor *l = self->l;
    if (news == NODE_LEAVES) {
        drain_begin(l, info.id);
        return;
    }
    uint32_t i = node_of_leases(l, info.leases);
    if (news == NODE_UP && i == l->n_nodes && i < NODES_LIMIT) {
        fill_node(&l->nodes[i], &info);
        l->n_nodes++;
        unfit_tell(l, info.leases);
    } else if (news == NODE_GONE && i && i < l->n_nodes) {
        drain_forget(l, info.id);
        l->nodes[i] = l->nodes[--l->n_nodes];
    }
    for (i = 0; i < l->n_nodes; i++) l->nodes[i].place.labels = l->nodes[i].labels;
    leases_changed(l);
    leases_place_again(l);
    leases_drain(l);
}

MANTA_METHOD_DEFINE(MantaLeases, load, void, (manta_actor, leases), (manta_str, available), (uint32_t, queued))
{
    struct lessor *l = self->l;
    uint32_t i = node_of_leases(l, leases);
    if (i == l->n_nodes) return;
    (void)read_need(available, &l->nodes[i].place.available);
    l->nodes[i].place.queued = queued;
    ask_for_work(l);
}

static void gossip(lessor *l)
{
    char text[RESOURCES_TEXT];
    if (!l->changed) return;
    l->changed = false;
    resources_format(&l->nodes[0].place.available, text, sizeof text);
    for (uint32_t i = 1; i < l->n_nodes; i++)
        (void)MantaLeases_load_send(MantaLeases_ref_of(l->nodes[i].leases), l->self, manta_str_of(text), l->queue.count);
}

MANTA_METHOD_DEFINE(MantaLeases, tick, void)
{
    struct lessor *l = self->l;
    uint64_t now = pool_now_ns();
    l->is_ticking = false;
    bool some = bundles_expire(l, now);
    gossip(l);
    grants_call_back(l, now);
    drain_recall(l);
    refuse_unfit(l, now);
    workers_tick(l, now);
    limits_tick(l, now);
    if (some || l->n_workers || l->queue.count || l->leases.count) begin_to_tick(l);
}

/* ---- jobs and their workers ---- */

/* It is a detached actor's, and that actor is there. */
static bool outlives_job(lessor *l, const worker_view *w)
{
    size_t cursor = 0;
    if (!w->is_detached) return false;
    for (lease_entry *x; (x = id_table_next(&l->leases, &cursor, NULL));)
        if (x->worker == w && x->held_by_actor) return true;
    return false;
}

static void job_over(lessor *l, uint64_t id)
{
    unfit_forget(l, id);
    for (lease_request *r = l->queue.first, *next; r; r = next) {
        next = r->next;
        if (r->job == id) base_free(queue_remove(&l->queue, r));
    }
    for (uint32_t i = 0; i < l->n_workers; i++)
        if (l->workers[i]->job == id && !outlives_job(l, l->workers[i])) worker_end(l, l->workers[i], "its job is over");
    for (uint32_t i = 0; i < l->n_jobs; i++) {
        if (l->jobs[i]->info.id != id) continue;
        base_free(l->jobs[i]);
        l->jobs[i] = l->jobs[--l->n_jobs];
        break;
    }
}

bool job_add(lessor *l, const MantaJob *job, manta_str path)
{
    job_view *j = job_of(l, job->id);
    if (j) return true;
    if (!(j = l->n_jobs < QUEUE_JOBS ? base_calloc(1, sizeof *j) : NULL))
        return manta_fail(MANTA_ELIMIT, "at most %d jobs at a time", QUEUE_JOBS), false;
    j->info = *job;
    copy_text(j->name, sizeof j->name, job->name);
    copy_text(j->path, sizeof j->path, path);
    j->info.name = manta_str_of(j->name);
    l->jobs[l->n_jobs++] = j;
    return true;
}

MANTA_METHOD_DEFINE(MantaLeases, job, void, (MantaJob, job), (manta_str, path), (uint64_t, unfit), (manta_str, why))
{
    if (why.size) unfit_note(self->l, &job, unfit, why);
    else if (!path.size) job_over(self->l, job.id);
    else (void)job_add(self->l, &job, path);
}

MANTA_METHOD_DEFINE(MantaLeases, ready, void, (uint64_t, job), (manta_actor, process), (manta_actor, owner), (uint32_t, pid))
{
    struct lessor *l = self->l;
    worker_view *w = worker_of_pid(l, pid);
    job_view *j = job_of(l, job);
    if (!w || !j || w->ending) {
        manta_fail(MANTA_ESTALE, "the job is over");
        return;
    }
    w->process = process;
    w->owner = owner;
    w->process_id = manta_process_of(process).id;
    w->is_ready = true;
    membership_watch(process, &(membership_process){"worker", pid, 0});
    j->failures = 0;
    size_t cursor = 0;
    for (lease_entry *x; (x = id_table_next(&l->leases, &cursor, NULL));)
        if (x->worker == w) grant_tell(l, x);
}

/* A lease whose worker has died: asked for again when it had not been given. */
static void lose_lease(lessor *l, lease_entry *x)
{
    lease_request *r = x->request;
    bool given = x->is_granted;
    job_view *j = job_of(l, r->job);
    grant_end(l, x);
    if (given) remember(l, r->id, TOMBSTONE);
    if (given && r->is_revival) tell_refused(r->owner, r->id, true, MANTA_EUNKNOWN, manta_str_of("its worker died"));
    if (given || !j) base_free(r);
    else if (j->failures >= START_FAILURES) refuse(r, MANTA_EINIT, j->last_words);
    else enqueue(l, r, false);
}

/* Those here that may have calls under way to it. */
static void tell_workers(const lessor *l, uint64_t job, uint64_t process, manta_str how)
{
    for (uint32_t i = 0; i < l->n_workers; i++) {
        const worker_view *w = l->workers[i];
        if (w->job == job && w->is_ready && !w->ending) (void)MantaOwner_died_send(MantaOwner_ref_of(w->owner), process, how);
    }
}

/* An end that nobody wanted: kept, and told to all processes of the job. j NULL: the job is over, the worker was a detached actor's. */
static void report_end(lessor *l, worker_view *w, job_view *j)
{
    char text[CRASH_TEXT];
    crashes_keep(w->pid, w->job, j ? j->name : "", text, sizeof text);
    manta_str how = manta_str_of(text);
    if (j) (void)MantaDriver_worker_gone_send(MantaDriver_ref_of(j->info.driver), w->pid, how, w->process_id);
    else runtime_report("of a detached actor: %s", text);
    if (w->is_ready) {
        tell_workers(l, w->job, w->process_id, how);
        for (uint32_t i = 1; i < l->n_nodes; i++)
            (void)MantaLeases_ended_send(MantaLeases_ref_of(l->nodes[i].leases), 0, w->job, w->process_id, how);
    } else if (j) {
        j->failures++;
        snprintf(j->last_words, sizeof j->last_words, "no worker came up: %s", text);
    }
}

static void remove_worker(lessor *l, worker_view *w)
{
    size_t cursor = 0;
    w->ending = true;
    if (w->is_ready) link_drop(the_node.links, w->process_id, MANTA_EDEAD);
    for (lease_entry *x; (x = id_table_next(&l->leases, &cursor, NULL));)
        if (x->worker == w) lose_lease(l, x);
    for (uint32_t i = 0; i < l->n_workers; i++)
        if (l->workers[i] == w) l->workers[i] = l->workers[--l->n_workers];
    base_free(w);
}

MANTA_METHOD_DEFINE(MantaLeases, ended, void, (uint32_t, pid), (uint64_t, job), (uint64_t, process), (manta_str, how))
{
    struct lessor *l = self->l;
    if (!pid) {
        tell_workers(l, job, process, how);
        return;
    }
    worker_view *w = worker_of_pid(l, pid);
    job_view *j = w ? job_of(l, w->job) : NULL;
    if (w && (!w->ending || w->unwanted)) {
        w->ending = true;
        report_end(l, w, j);
    } else crashes_drop(pid);
    if (w) remove_worker(l, w);
    leases_drain(l);
}

MANTA_METHOD_DEFINE(MantaLeases, said, void, (uint32_t, pid), (bool, is_error), (manta_str, text))
{
    worker_view *w = worker_of_pid(self->l, pid);
    job_view *j = w ? job_of(self->l, w->job) : NULL;
    if (j) (void)MantaDriver_output_send(MantaDriver_ref_of(j->info.driver), pid, is_error, text);
    else if (w && w->is_detached)
        fprintf(stderr, "(worker %u) %.*s%s", pid, (int)text.size, text.data, text.data[text.size - 1] == '\n' ? "" : "\n");
}

/* ---- the actor ---- */

MANTA_METHOD_DEFINE(MantaLeases, reserve, manta_str, (uint64_t, group), (uint64_t, attempt), (int32_t, step), (manta_str, bundles))
{
    if (step == RESERVE_ASK) {
        char *text = manta_alloc(RESOURCES_TEXT + 1);
        size_t n = text && !drain_is_here(self->l) ? resources_format(&self->l->nodes[0].place.available, text, RESOURCES_TEXT) : 0;
        if (text) text[n++] = '\n';
        return (manta_str){text, n};
    }
    bool ok = bundles_reserve(self->l, group, attempt, step, bundles);
    leases_drain(self->l);
    return manta_str_of(ok ? "ok" : "");
}

MANTA_METHOD_DEFINE(MantaLeases, describe, manta_str, (uint32_t, what))
{
    char *text = manta_alloc(STATUS_BYTES);
    if (!text) return manta_fail(MANTA_ENOMEM, "no memory for a status"), manta_str_of("");
    size_t n = what == DESCRIBE_NODES     ? leases_list(self->l, text, STATUS_BYTES)
               : what == DESCRIBE_WORKERS ? drain_describe(self->l, text, STATUS_BYTES)
                                          : leases_describe(self->l, text, STATUS_BYTES);
    return (manta_str){text, n};
}

MANTA_METHOD_DECLARE(MantaLeases, init, void, (MantaNodeInfo, info), (uint64_t, idle_ms), (uint64_t, worker_memory), (uint64_t, reserve))
MANTA_METHOD_DEFINE(MantaLeases, init, void, (MantaNodeInfo, info), (uint64_t, idle_ms), (uint64_t, worker_memory), (uint64_t, reserve))
{
    struct lessor *l = self->l = base_calloc(1, sizeof *l);
    if (!l) {
        manta_fail(MANTA_ENOMEM, "no memory for a node's leases");
        return;
    }
    l->self = info.leases = manta_self();
    l->raylet = info.raylet;
    l->idle_ns = idle_ms * OS_NS_PER_MS;
    l->worker_memory = worker_memory;
    l->memory_reserve = reserve;
    fill_node(&l->nodes[0], &info);
    l->nodes[0].place.labels = l->nodes[0].labels;
    l->n_nodes = 1;
    rng_init(&l->random, os_random_u64());
    for (int64_t i = 0, left = resources_get(&l->nodes[0].place.total, "gpus"); i < GPUS_LIMIT && left > 0; i++, left -= RESOURCE_UNIT)
        l->gpus[i] = left < RESOURCE_UNIT ? left : RESOURCE_UNIT;
}

static void forget(void *self)
{
    struct lessor *l = ((MantaLeases *)self)->l;
    size_t cursor = 0;
    if (!l) return;
    for (lease_entry *x; (x = id_table_next(&l->leases, &cursor, NULL));) {
        base_free(x->request);
        base_free(x);
    }
    queue_fini(&l->queue);
    id_table_fini(&l->leases);
    id_table_fini(&l->moved);
    id_table_fini(&l->owners);
    for (uint32_t i = 0; i < l->n_jobs; i++) base_free(l->jobs[i]);
    for (uint32_t i = 0; i < l->n_workers; i++) base_free(l->workers[i]);
    for (bundle_entry *b = l->bundles, *next; b; b = next) {
        next = b->next;
        base_free(b);
    }
    base_free(l);
}

MANTA_CLASS_WITH(MantaLeases, (.concurrency = 64, .on_free = forget), init, on_down, tick, request, release, hold, waiting, load, steal,
    reserve, node, job, ready, ended, said, describe)

manta_actor leases_start(const MantaNodeInfo *info, const raylet_options *o)
{
    return MantaLeases_spawn(*info, o->idle_ms, o->worker_memory, o->memory_reserve).actor;
}
