/*
 * Leases that this process has or asks for: requests, grants, recalls, and the clock that gives back what is idle.
 *
 * A request is asked again every second under the same id until it is answered: nodes remember what has become of an id, so nothing is granted twice.
 */
#include "actor/node/owner.h"

#include <sched.h>
#include <stdio.h>
#include <string.h>

#include "actor/node/crash.h"
#include "actor/node/lineage.h"
#include "actor/node/named.h"
#include "actor/node/owner_internal.h"
#include "actor/node/simulation.h"

pthread_mutex_t owner_lock = PTHREAD_MUTEX_INITIALIZER;
id_table owner_held, owner_pending;
_Atomic uint32_t owner_is_on;
static manta_actor me;
static pool_timer timer;
static bool ticking, is_in_tick;
bool owner_is_orphaned;
static uint32_t cluster_cpus = 1;

enum { OWN_ACTORS = 2 /* of a worker process: this one and the one for its process */ };

MANTA_METHOD_DECLARE(MantaOwner, find_group, void, (uint32_t, index))

manta_actor owner_actor(void) { return me; }

/* ---- orders ---- */

/* To an actor of a daemon, from any thread, without a wait. */
static void post(worker *w, manta_actor to, const manta_method *method, const void *arguments, size_t extra_bytes)
{
    message *m = to.id ? message_make(w, method, arguments, extra_bytes) : NULL;
    if (!m) return;
    m->from = 0;
    message_post_at_once(w, to.id, m);
}

static void send_request(worker *w, const demand *d, manta_actor to, uint64_t id, int32_t priority, uint64_t bytes_node, uint64_t bytes)
{
    MantaLeases_request_args a = {
        .what = {.id = id,
            .owner = me,
            .job = the_job,
            .need = manta_str_of(d->need_text),
            .labels = manta_str_of(d->labels),
            .strategy = (int32_t)d->strategy,
            .node = d->node,
            .priority = priority,
            .group = d->group,
            .bundle = d->bundle,
            .bytes_node = bytes_node,
            .bytes = bytes,
            .is_actor = d->is_actor,
            .apart = (d->is_detached ? REQUEST_DETACHED : 0) | (d->isolated ? REQUEST_ISOLATED : 0) | (d->is_again ? REQUEST_AGAIN : 0)}};
    post(w, to, &MantaLeases_request_method, &a, MantaLeases_request_args_extra(&a));
}

static void send_release(worker *w, manta_actor to, uint64_t id, bool kill)
{
    MantaLeases_release_args a = {.id = id, .kill = kill};
    post(w, to, &MantaLeases_release_method, &a, 0);
}

void orders_send(worker *w, orders *o)
{
    for (uint32_t i = 0; i < o->n; i++) {
        manta_actor to = o->items[i].to;
        uint64_t id = o->items[i].id;
        switch (o->items[i].kind) {
        case ORDER_REQUEST:
            send_request(w, o->items[i].demand, to, id, o->items[i].priority, o->items[i].bytes_node, o->items[i].bytes);
            break;
        case ORDER_RELEASE: send_release(w, to, id, false); break;
        case ORDER_KILL: send_release(w, to, id, true); break;
        case ORDER_RECALL: node_recall(w, o->items[i].process); break;
        }
    }
    o->n = 0;
}

static bool order(orders *o, order_kind kind, demand *d, manta_actor to, uint64_t id, uint64_t process)
{
    if (o->n == sizeof o->items / sizeof *o->items) return false;
    o->items[o->n].kind = kind;
    o->items[o->n].demand = d;
    o->items[o->n].to = to;
    o->items[o->n].id = id;
    o->items[o->n++].process = process;
    return true;
}

static bool order_request(orders *o, demand *d, manta_actor to, uint64_t id)
{
    uint32_t i = o->n;
    if (!order(o, ORDER_REQUEST, d, to, id, 0)) return false;
    o->items[i].priority = demand_priority(d);
    o->items[i].bytes_node = node_of_arguments(d, &o->items[i].bytes);
    return true;
}

/* ---- requests ---- */

/* Where a request goes: to this node, or where its placement group is. {0}: not known yet. */
static manta_actor where_to_ask(demand *d)
{
    if (!d->group) return job_leases;
    if (d->n_places) return d->places[d->turn++ % d->n_places];
    MantaOwner_find_group_args a = {.index = d->index};
    if (!d->is_asking) post(worker_self(), me, &MantaOwner_find_group_method, &a, 0);
    d->is_asking = true;
    return (manta_actor){0};
}

pending *pending_add(demand *d, orders *o)
{
    pending *p = o->n < sizeof o->items / sizeof *o->items ? base_calloc(1, sizeof *p) : NULL;
    if (!p) return NULL;
    *p = (pending){.next = d->pending, .demand = d, .id = demand_new_id(d), .asked_ns = pool_now_ns()};
    if (!id_table_put(&owner_pending, p->id, p)) {
        base_free(p);
        return NULL;
    }
    d->pending = p;
    d->n_pending++;
    (void)order_request(o, d, where_to_ask(d), p->id);
    return p;
}

/* Out of the table and its demand; the caller's, or its waiter's. */
void pending_remove(pending *p)
{
    demand *d = p->demand;
    for (pending **at = &d->pending; *at; at = &(*at)->next)
        if (*at == p) {
            *at = p->next;
            d->n_pending--;
            break;
        }
    (void)id_table_remove(&owner_pending, p->id);
}

/* ---- the clock ---- */

static void look_at_pending(demand *d, uint64_t now, orders *o)
{
    uint64_t wanted = d->is_actor ? UINT64_MAX : demand_wanted(d);
    for (pending *p = d->pending, *next; p; p = next) {
        next = p->next;
        if (!p->event && d->n_pending > wanted) { /* no longer needed */
            if (!order(o, ORDER_RELEASE, d, d->group && d->n_places ? d->places[0] : job_leases, p->id, 0)) return;
            pending_remove(p);
            base_free(p);
        } else if (now - p->asked_ns >= ASK_AGAIN_MS * OS_NS_PER_MS) {
            if (p->asked_ns) d->n_places = 0; /* its group may have moved */
            if (!order_request(o, d, where_to_ask(d), p->id)) return;
            p->asked_ns = now;
        }
    }
}

static void look_at_lease(held *h, uint64_t now, orders *o)
{
    demand *d = h->demand;
    uint64_t idle_ms = d->is_actor ? HOST_IDLE_MS : LEASE_IDLE_MS, quiet_ns = now - (d->is_actor ? d->used_ns : h->last_ns);
    bool kill = h->kill_ns && (h->in_flight <= 1 || now >= h->kill_ns);
    bool idle = !h->in_flight && (h->recalled || (!d->queued && quiet_ns >= idle_ms * OS_NS_PER_MS));
    if (kill || idle) {
        if (order(o, kill ? ORDER_KILL : ORDER_RELEASE, d, h->leases, h->id, 0) && !kill) held_remove(h);
        else if (kill) h->kill_ns = 0;
    } else if (h->in_flight && !h->asked_back && !d->is_actor && quiet_ns >= STALL_MS * OS_NS_PER_MS && h->peer)
        h->asked_back = order(o, ORDER_RECALL, d, h->leases, h->id, h->process);
    else if (quiet_ns < STALL_MS * OS_NS_PER_MS) h->asked_back = false;
}

static void tick(worker *w, pool_timer *t)
{
    orders o = {.n = 0};
    demand *busy[64];
    uint32_t n = 0;
    (void)t;
    pthread_mutex_lock(&owner_lock);
    is_in_tick = true;
    uint64_t now = pool_now_ns();
    bool more = false;
    for (demand *d = owner_demands; d; d = d->next) {
        for (held *h = d->leases, *next; h; h = next) {
            next = h->next;
            look_at_lease(h, now, &o);
        }
        look_at_pending(d, now, &o);
        more |= d->leases || d->pending || d->queued;
        if (d->queued && !d->is_actor && n < 64) busy[n++] = d;
    }
    ticking = more && load_relaxed(&owner_is_on);
    if (ticking) pool_timer_start(w, &timer, now + TICK_MS * OS_NS_PER_MS);
    pthread_mutex_unlock(&owner_lock);
    orders_send(w, &o);
    for (uint32_t i = 0; i < n; i++) dispatch(w, busy[i]);
    if (n) gate_poke(w);
    pthread_mutex_lock(&owner_lock);
    is_in_tick = false;
    pthread_mutex_unlock(&owner_lock);
}

void tick_start(worker *w)
{
    if (ticking || !load_relaxed(&owner_is_on)) return;
    ticking = true;
    timer.fire = tick;
    pool_timer_start(w, &timer, pool_now_ns() + TICK_MS * OS_NS_PER_MS);
}

/* ---- grants ---- */

/* Under the lock; NULL: nobody wants it. */
static held *take_grant(const MantaGrant *g, uint64_t process, peer *p)
{
    pending *asked = id_table_get(&owner_pending, g->id);
    held *h = asked ? base_calloc(1, sizeof *h) : NULL;
    if (!h || !id_table_put(&owner_held, g->id, h)) {
        base_free(h);
        return NULL;
    }
    demand *d = asked->demand;
    *h = (held){.next = d->leases, .demand = d, .id = g->id, .process = process, .peer = p, .leases = g->leases, .last_ns = pool_now_ns()};
    d->leases = h;
    d->n_leases++;
    d->full = false;
    d->used_ns = h->last_ns;
    if (g->cpus > cluster_cpus) cluster_cpus = g->cpus;
    node_learn(process, g->node);
    pending_remove(asked);
    if (!asked->event) base_free(asked);
    else {
        asked->got = h;
        future_complete(worker_self(), asked->event, NULL, NULL, 0);
    }
    return h;
}

MANTA_METHOD_DEFINE(MantaOwner, granted, void, (MantaGrant, grant))
{
    uint64_t process = manta_process_of(grant.process).id;
    bool here = process == the_node.process;
    peer *p = here ? NULL : peer_get(process, true);
    (void)self;
    pthread_mutex_lock(&owner_lock);
    bool known = id_table_get(&owner_held, grant.id) != NULL;
    held *h = known || (!here && !p) ? NULL : take_grant(&grant, process, p);
    demand *d = h ? h->demand : NULL;
    pthread_mutex_unlock(&owner_lock);
    if (!d && !known) send_release(worker_self(), grant.leases, grant.id, false);
    if (d && !d->is_actor) dispatch(worker_self(), d);
}

MANTA_METHOD_DEFINE(MantaOwner, recalled, void, (uint64_t, lease))
{
    orders o = {.n = 0};
    (void)self;
    pthread_mutex_lock(&owner_lock);
    held *h = id_table_get(&owner_held, lease);
    if (h) h->recalled = true;
    if (h && h->in_flight > 1 && h->peer) (void)order(&o, ORDER_RECALL, h->demand, h->leases, h->id, h->process);
    if (h && !h->in_flight && !h->demand->is_actor) {
        (void)order(&o, ORDER_RELEASE, h->demand, h->leases, h->id, 0);
        held_remove(h);
    }
    pthread_mutex_unlock(&owner_lock);
    orders_send(worker_self(), &o);
}

/* Takes all that waits out of the queue. */
static message *take_all(demand *d)
{
    message *all = NULL, *m;
    while ((m = demand_pop(d))) {
        store_relaxed(&m->next, all);
        all = m;
    }
    return all;
}

static void fail_all(worker *w, message *all, manta_status status, const char *text)
{
    while (all) {
        message *next = load_relaxed(&all->next);
        future *f = all->reply;
        all->reply = NULL;
        message_discard(w, all);
        f->packed = 0;
        future_fail_status(w, f, status, "%s", text);
        all = next;
    }
}

/* A demand that cannot be met: all that waits for it fails, unless some of it is being met. */
MANTA_METHOD_DEFINE(MantaOwner, refused, void, (uint64_t, request), (int32_t, status), (manta_str, text))
{
    char why[200];
    message *all = NULL;
    (void)self;
    snprintf(why, sizeof why, "%.*s", (int)text.size, text.data);
    pthread_mutex_lock(&owner_lock);
    pending *p = id_table_get(&owner_pending, request);
    if (p) {
        demand *d = p->demand;
        pending_remove(p);
        if (p->event && d->group && status == MANTA_ENOTFOUND) {
            p->next = d->pending; /* asked again when it is known */
            d->pending = p;
            d->n_pending++;
            (void)id_table_put(&owner_pending, p->id = demand_new_id(d), p);
        } else if (p->event) {
            p->status = (manta_status)status;
            memcpy(p->text, why, sizeof why);
            future_complete(worker_self(), p->event, NULL, NULL, 0);
        } else base_free(p);
        if (d->group && status == MANTA_ENOTFOUND) { /* has it moved, or was it removed? */
            d->n_places = 0;
            (void)where_to_ask(d);
        } else if (!d->leases && !d->is_actor) all = take_all(d);
    }
    pthread_mutex_unlock(&owner_lock);
    fail_all(worker_self(), all, (manta_status)status, why);
}

MANTA_METHOD_DEFINE(MantaOwner, report, void, (manta_str, text))
{
    static char last[512]; /* the same need is reported once */
    char line[512];
    (void)self;
    snprintf(line, sizeof line, "%.*s", (int)text.size, text.data);
    if (strcmp(line, last) != 0) runtime_report("%s", line);
    memcpy(last, line, sizeof last);
}

MANTA_METHOD_DEFINE(MantaOwner, died, void, (uint64_t, process), (manta_str, how))
{
    char text[CRASH_TEXT];
    (void)self;
    snprintf(text, sizeof text, "%.*s", (int)how.size, how.data);
    mourn_told(worker_self(), process, text);
}

MANTA_METHOD_DEFINE(MantaOwner, may_end, bool)
{
    (void)self;
    return owner_is_idle();
}

/* Under the lock: those that somebody waits for. */
static void fail_pending(demand *d, manta_status status, const char *why)
{
    for (pending *p = d->pending, *next; p; p = next) {
        next = p->next;
        if (!p->event) continue;
        p->status = status;
        snprintf(p->text, sizeof p->text, "%s", why);
        pending_remove(p);
        future_complete(worker_self(), p->event, NULL, NULL, 0);
    }
}

/* Finds the nodes of a placement group, when it is there. */
MANTA_METHOD_DEFINE(MantaOwner, find_group, void, (uint32_t, index))
{
    manta_actor places[GROUP_PLACES];
    uint32_t n = 0;
    (void)self;
    demand *d = demand_of_index(index);
    manta_status status = d ? group_places(d->group, d->bundle, places, GROUP_PLACES, &n) : MANTA_ENOTFOUND;
    char why[200];
    snprintf(why, sizeof why, "%s", status ? manta_last_error()->message : "");
    message *all = NULL;
    if (!d) return;
    pthread_mutex_lock(&owner_lock);
    d->is_asking = false;
    if (!status) memcpy(d->places, places, n * sizeof *places);
    d->n_places = n;
    for (pending *p = d->pending; p; p = p->next) p->asked_ns = 0; /* at the next tick */
    if (status) fail_pending(d, status, why);
    if (status) all = take_all(d);
    pthread_mutex_unlock(&owner_lock);
    fail_all(worker_self(), all, status, why);
}

MANTA_METHOD_DECLARE(MantaOwner, on_down, void, (manta_actor, who), (int32_t, status), (manta_str, why))
MANTA_METHOD_DEFINE(MantaOwner, on_down, void, (manta_actor, who), (int32_t, status), (manta_str, why))
{
    (void)self, (void)who, (void)status, (void)why;
    for (uint32_t i = 1;; i++) {
        pthread_mutex_lock(&owner_lock);
        owner_is_orphaned = true;
        demand *d = demand_of_index(i);
        message *all = d ? take_all(d) : NULL;
        if (d) fail_pending(d, MANTA_EUNKNOWN, ORPHANED);
        pthread_mutex_unlock(&owner_lock);
        if (!d) return;
        fail_all(worker_self(), all, MANTA_EUNKNOWN, ORPHANED);
    }
}

MANTA_METHOD_DECLARE(MantaOwner, init, void)
MANTA_METHOD_DEFINE(MantaOwner, init, void)
{
    (void)self;
    (void)manta_monitor(job_leases, MantaOwner_on_down, NULL);
}

MANTA_CLASS_WITH(MantaOwner, (.concurrency = 64), init, granted, recalled, refused, report, died, may_end, find_group, on_down)

/* ---- cancelling ---- */

/* Under the lock: its message, out of the queue; NULL: it is not there any more. */
static message *unqueue(future *f)
{
    uint64_t words[2];
    memcpy(words, f->bytes, sizeof words);
    message *m = load_relaxed(&f->target) == 0 && words[0] && !words[1] ? (message *)(uintptr_t)words[0] : NULL;
    if (!m || m->reply != f) return NULL;
    demand *d = demand_of_index(m->generation);
    m->reply = NULL; /* its place in the list stays, until it is met */
    d->queued--;
    d->dead++;
    if (!d->queued) (void)demand_pop(d); /* nothing but such */
    return m;
}

static void force_locked(const future *f, orders *o)
{
    uint64_t id;
    memcpy(&id, f->bytes + sizeof id, sizeof id);
    held *h = id_table_get(&owner_held, id);
    if (!h || h->kill_ns) return;
    h->recalled = true;
    h->kill_ns = pool_now_ns() + 2 * STALL_MS * OS_NS_PER_MS;
    if (h->peer) (void)order(o, ORDER_RECALL, h->demand, h->leases, h->id, h->process);
}

void owner_cancel(worker *w, future *f, bool force)
{
    orders o = {.n = 0};
    pthread_mutex_lock(&owner_lock);
    bool queued = f->packed == FUTURE_LEASED && unqueue(f) != NULL;
    if (!queued && force && f->packed == FUTURE_LEASED) force_locked(f, &o);
    pthread_mutex_unlock(&owner_lock);
    orders_send(w, &o);
    uint64_t target = load_relaxed(&f->target);
    actor *a = actor_slot(target);
    message *gated = queued || target ? NULL : gate_take(f);
    if (gated) {
        gated->reply = NULL;
        message_discard(w, gated);
        owner_done(w, f);
    }
    if (queued || gated) {
        f->packed = 0;
        future_fail_status(w, f, MANTA_ECANCELLED, "cancelled before it ran");
    } else if (is_remote(target)) node_cancel(w, f, target);
    else if (target && actor_is(a, target)) actor_nudge(w, a);
}

/* ---- peers ---- */

void owner_peer_up(worker *w)
{
    for (uint32_t i = 1; load_relaxed(&owner_is_on); i++) {
        pthread_mutex_lock(&owner_lock);
        demand *d = demand_of_index(i);
        bool waits = d && d->queued && d->leases;
        pthread_mutex_unlock(&owner_lock);
        if (!d) return;
        if (waits) dispatch(w, d);
    }
}

void owner_peer_down(worker *w, uint64_t process)
{
    orders o = {.n = 0};
    if (!load_relaxed(&owner_is_on)) return;
    do {
        orders_send(w, &o);
        pthread_mutex_lock(&owner_lock);
        for (demand *d = owner_demands; d; d = d->next)
            for (held *h = d->leases, *next; h; h = next) {
                next = h->next;
                if (h->process == process && order(&o, h->kill_ns ? ORDER_KILL : ORDER_RELEASE, d, h->leases, h->id, 0)) held_remove(h);
            }
        pthread_mutex_unlock(&owner_lock);
    } while (o.n);
}

/* ---- actors ---- */

/* Of a demand that needs nothing: actors share hosts, as many as the cluster has cpus, and as there are actors. */
static bool is_shared(const demand *d) { return !d->need.n && !d->group && !d->is_detached && !d->isolated; }

static held *pick_host(demand *d)
{
    held *best = NULL;
    for (held *h = d->leases; h; h = h->next)
        if (!h->recalled && (!best || h->actors < best->actors)) best = h;
    uint32_t want = d->spawned < cluster_cpus ? d->spawned : cluster_cpus;
    return d->n_leases < want && d->n_leases + d->n_pending < want ? NULL : best;
}

typedef struct asking {
    unwind unwind;
    pending *pending;
} asking;

/* Under the lock. True: there is an answer, and its event is complete; else there will be none. */
static bool take_back(worker *w, pending *p)
{
    if (p->got || p->status) return true;
    pending_remove(p);
    send_release(w, job_leases, p->id, false);
    return false;
}

/* Its waiter is killed: a lease that has come is idle, and goes back as such. */
static void abandon(worker *w, unwind *u)
{
    pending *p = ((asking *)(void *)u)->pending;
    pthread_mutex_lock(&owner_lock);
    if (!take_back(w, p)) future_complete(w, p->event, NULL, NULL, 0); /* the wait has let go of it: this frees it */
    pthread_mutex_unlock(&owner_lock);
    base_free(p);
}

/* Waits for the answer of a request of one's own. */
static manta_status wait_for(pending *p, uint64_t timeout_ms)
{
    activation *act = activation_self();
    asking a = {{NULL, abandon}, p};
    unwind_push(act, &a.unwind);
    manta_status status = event_await(p->event, timeout_ms ? deadline_after_ms(timeout_ms) : OS_FOREVER, "a place on the cluster");
    unwind_pop(act, &a.unwind);
    pthread_mutex_lock(&owner_lock);
    bool answered = take_back(worker_self(), p);
    pthread_mutex_unlock(&owner_lock);
    future_free(worker_self(), p->event);
    if (answered) status = p->status ? error_set(p->status, "%s", p->text) : MANTA_OK;
    else error_set(status, "no place on the cluster: %s", manta_status_text(status));
    return status;
}

static manta_status ask_and_wait(demand *d, uint64_t timeout_ms, actor_place *out, bool shared)
{
    orders o = {.n = 0};
    future *event = future_new(worker_self());
    pthread_mutex_lock(&owner_lock);
    bool is_orphaned = owner_is_orphaned;
    pending *p = event && !is_orphaned ? pending_add(d, &o) : NULL;
    if (p) p->event = event;
    tick_start(worker_self());
    pthread_mutex_unlock(&owner_lock);
    orders_send(worker_self(), &o);
    if (!p && event) future_free(worker_self(), event);
    if (is_orphaned) return error_set(MANTA_EUNKNOWN, ORPHANED);
    if (!p) return error_set(MANTA_ENOMEM, "no memory for a request");
    manta_status status = wait_for(p, timeout_ms);
    if (!status) {
        pthread_mutex_lock(&owner_lock);
        held *h = id_table_get(&owner_held, p->id);
        if (!h) status = MANTA_EUNKNOWN;
        else *out = (actor_place){h->process, shared ? 0 : h->id, h->leases};
        if (h && shared) h->actors++;
        if (h && !shared) held_remove(h);
        pthread_mutex_unlock(&owner_lock);
        if (status) error_set(status, "the worker process has gone");
    }
    base_free(p);
    return status;
}

void owner_give_back(const actor_place *place) { send_release(worker_self(), place->leases, place->lease, false); }

manta_status owner_place(demand *d, uint64_t timeout_ms, actor_place *out)
{
    bool shared = is_shared(d);
    pthread_mutex_lock(&owner_lock);
    d->spawned++;
    d->used_ns = pool_now_ns();
    held *h = shared ? pick_host(d) : NULL;
    if (h) {
        h->actors++;
        *out = (actor_place){h->process, 0, h->leases};
    }
    pthread_mutex_unlock(&owner_lock);
    return h ? MANTA_OK : ask_and_wait(d, timeout_ms, out, shared);
}

/* ---- start and stop ---- */

bool owner_start(void)
{
    owner_is_orphaned = false;
    me = MantaOwner_spawn().actor;
    if (me.id) store_seq(&owner_is_on, 1);
    return me.id != 0;
}

bool owner_is_idle(void)
{
    manta_stats s;
    pthread_mutex_lock(&owner_lock);
    bool busy = owner_held.count || owner_pending.count;
    pthread_mutex_unlock(&owner_lock);
    return !busy && !gate_alive() && manta_read_stats(&s) == MANTA_OK &&
           s.actors_alive <= OWN_ACTORS + the_simulation.own_actors + name_keepers() + lineage_actors() && !objects_were_made();
}

void owner_stop(worker *w)
{
    if (!exchange_seq(&owner_is_on, 0)) return;
    for (demand *d = owner_demands; d; d = d->next) {
        pthread_mutex_lock(&owner_lock);
        message *all = take_all(d);
        while (d->leases) held_remove(d->leases);
        while (d->pending) {
            pending *p = d->pending;
            pending_remove(p);
            base_free(p);
        }
        pthread_mutex_unlock(&owner_lock);
        fail_all(w, all, MANTA_ESHUTDOWN, "the system is shutting down");
    }
    pthread_mutex_lock(&owner_lock);
    if (ticking) (void)pool_timer_cancel(&timer);
    ticking = false;
    id_table_fini(&owner_held);
    id_table_fini(&owner_pending);
    while (is_in_tick) { /* it fires now, and has demands in its hands */
        pthread_mutex_unlock(&owner_lock);
        sched_yield();
        pthread_mutex_lock(&owner_lock);
    }
    demands_free(); /* under the lock: a tick that comes too late finds none */
    pthread_mutex_unlock(&owner_lock);
    cluster_cpus = 1;
    me.id = 0;
}
