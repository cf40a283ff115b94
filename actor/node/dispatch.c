/*
 * Tasks that wait for a lease, and their way to the leased workers.
 *
 * How many tasks are sent ahead to a worker depends on how long they take, as their answers tell: as many as fill TARGET_NS, so that short tasks cost no round trip and long ones do not wait behind each other.
 * When a worker falls silent with tasks sent ahead, those that it has not begun are called back (owner.c).
 */
#include <string.h>

#include "actor/node/owner_internal.h"
#include "actor/transfer/transfer.h"

enum { BATCH = 64, ARGUMENT_REFS = 16, KNOWN_NODES = 256, TARGET_NS = 2000000 };

/* ---- the queue of a demand ---- */

static int level_of(const message *m) { return m->retries < LEVELS ? m->retries : 1; } /* a task's message has no other use for it */

void demand_push(demand *d, message *m, bool first)
{
    int level = level_of(m);
    future *f = m->reply;
    uint64_t words[2] = {(uintptr_t)m, 0};
    memcpy(f->bytes, words, sizeof words);
    store_relaxed(&f->target, 0);
    m->generation = d->index;
    store_relaxed(&m->next, first ? d->queue[level].first : NULL);
    if (first) d->queue[level].first = m;
    else if (d->queue[level].last) store_relaxed(&d->queue[level].last->next, m);
    else d->queue[level].first = m;
    if (!first || !d->queue[level].last) d->queue[level].last = m;
    d->queued++;
}

static message *pop_any(demand *d)
{
    for (int level = 0; level < LEVELS; level++) {
        message *m = d->queue[level].first;
        if (!m) continue;
        if (!(d->queue[level].first = load_relaxed(&m->next))) d->queue[level].last = NULL;
        return m;
    }
    return NULL;
}

message *demand_pop(demand *d)
{
    message *m;
    while ((m = pop_any(d)) && !m->reply) { /* cancelled */
        d->dead--;
        message_discard(worker_self(), m);
    }
    if (m) d->queued--;
    return m;
}

int32_t demand_priority(const demand *d)
{
    for (int level = 0; level < LEVELS; level++)
        if (d->queue[level].first) return 1 - level;
    return 0;
}

uint64_t demand_wanted(const demand *d)
{
    uint64_t leases = (d->queued + d->depth - 1) / d->depth;
    return leases < PENDING_MOST ? leases : PENDING_MOST;
}

void held_remove(held *h)
{
    demand *d = h->demand;
    for (held **at = &d->leases; *at; at = &(*at)->next)
        if (*at == h) {
            *at = h->next;
            d->n_leases--;
            break;
        }
    (void)id_table_remove(&owner_held, h->id);
    base_free(h);
}

/* ---- sending ---- */

typedef struct batch {
    struct {
        message *message;
        uint64_t process; /* 0: this one */
    } items[BATCH];
    uint32_t n;
    orders orders;
} batch;

static bool can_take(const held *h, const message *next)
{
    if (h->recalled || h->in_flight >= h->demand->depth) return false;
    const manta_method *method = next->method;
    return !h->peer || !method || !method->arguments.refs || (__atomic_load_n(&h->peer->has_hello, __ATOMIC_ACQUIRE));
}

static const message *peek(const demand *d)
{
    for (int level = 0; level < LEVELS; level++)
        if (d->queue[level].first) return d->queue[level].first;
    return NULL;
}

typedef struct wanted { /* objects that are arguments */
    manta_ref refs[ARGUMENT_REFS];
    uint32_t count;
} wanted;

static void want(manta_ref *ref, manta_object *view, void *context)
{
    wanted *w = context;
    if (view && ref->id[0] && w->count < ARGUMENT_REFS) w->refs[w->count++] = *ref;
}

/* ---- where its arguments are ---- */

static struct {
    uint64_t process, node;
} known[KNOWN_NODES]; /* a worker of each node, as far as there were leases */
static uint32_t n_known;

void node_learn(uint64_t process, uint64_t node)
{
    uint32_t i = 0;
    while (i < n_known && known[i].node != node) i++;
    if (i == KNOWN_NODES || process == the_node.process) return;
    known[i].process = process;
    known[i].node = node;
    if (i == n_known) n_known++;
}

static void gather(const message *m, wanted *w)
{
    const manta_method *method = m ? m->method : NULL;
    w->count = 0;
    if (m && m->reply && method->arguments.refs) method->arguments.refs(message_payload((message *)(uintptr_t)m), want, w);
}

uint64_t node_of_arguments(const demand *d, uint64_t *out_bytes)
{
    wanted w;
    uint64_t best = 0;
    *out_bytes = 0;
    gather(peek(d), &w);
    for (uint32_t i = 0; w.count && i < n_known; i++) {
        peer *p = peer_get(known[i].process, false);
        uint64_t bytes = p ? transfer_bytes_at(p, w.refs, w.count) : 0;
        if (bytes <= *out_bytes) continue;
        *out_bytes = bytes;
        best = known[i].node;
    }
    return best;
}

/* The lease for the next task: where most bytes of its arguments are, and of those the one with least under way. */
static held *pick(demand *d)
{
    held *best = NULL;
    const message *next = peek(d);
    wanted w;
    uint64_t most = 0;
    gather(next, &w);
    for (held *h = d->leases; next && h; h = h->next) {
        if (!can_take(h, next)) continue;
        uint64_t bytes = w.count && h->peer ? transfer_bytes_at(h->peer, w.refs, w.count) : 0;
        if (best && (bytes < most || (bytes == most && h->in_flight >= best->in_flight))) continue;
        best = h;
        most = bytes;
        if (!h->in_flight && !w.count) break;
    }
    return best;
}

static void fill(demand *d, batch *b)
{
    held *h;
    while (b->n < BATCH && d->queued && (h = pick(d))) {
        message *m = demand_pop(d);
        if (!m) break;
        uint64_t words[2] = {0, h->id};
        memcpy(((future *)m->reply)->bytes, words, sizeof words);
        if (!h->in_flight++) h->last_ns = pool_now_ns();
        b->items[b->n].message = m;
        b->items[b->n++].process = h->peer ? h->process : 0;
    }
    d->full = b->n < BATCH && d->queued;
    while (d->n_pending < demand_wanted(d) && pending_add(d, &b->orders)) continue;
}

static void send_one(worker *w, message *m, uint64_t process, uint32_t cpus)
{
    future *f = m->reply;
    manta_future handle = future_handle(f);
    if (load_relaxed(&f->cancelled)) {
        m->reply = NULL;
        message_discard(w, m);
        owner_done(w, f);
        future_fail_status(w, f, MANTA_ECANCELLED, "cancelled before it ran");
        return;
    }
    m->generation = cpus;
    if (process) node_leased(w, process, m);
    else gate_push(w, m);
    if ((f = future_find(handle)) && load_seq(&f->cancelled)) owner_cancel(w, f, false);
}

void dispatch(worker *w, demand *d)
{
    batch b;
    do {
        b.n = b.orders.n = 0;
        pthread_mutex_lock(&owner_lock);
        fill(d, &b);
        if (b.orders.n || b.n) tick_start(w);
        pthread_mutex_unlock(&owner_lock);
        for (uint32_t i = 0; i < b.n; i++) send_one(w, b.items[i].message, b.items[i].process, (uint32_t)resources_get(&d->need, "cpus"));
        orders_send(w, &b.orders);
    } while (b.n == BATCH);
}

void owner_submit(worker *w, demand *d, message *m)
{
    ((future *)m->reply)->packed = FUTURE_LEASED;
    pthread_mutex_lock(&owner_lock);
    bool over = !load_relaxed(&owner_is_on);
    bool is_orphaned = owner_is_orphaned;
    over |= is_orphaned;
    if (!over) demand_push(d, m, false);
    bool go = !d->full || d->n_pending < demand_wanted(d);
    pthread_mutex_unlock(&owner_lock);
    if (over) {
        future *f = m->reply;
        m->reply = NULL;
        message_discard(w, m);
        future_fail_status(w, f, is_orphaned ? MANTA_EUNKNOWN : MANTA_ESHUTDOWN, is_orphaned ? ORPHANED : "the system is shutting down");
    } else if (go) dispatch(w, d);
}

message *owner_help(uint32_t cpus)
{
    message *m = NULL;
    if (!load_relaxed(&owner_is_on)) return NULL;
    pthread_mutex_lock(&owner_lock);
    for (demand *d = owner_demands; d && !m; d = d->next) {
        bool fits =
            d->is_short && !d->group && !d->labels[0] && d->strategy == MANTA_WHERE_DEFAULT && resources_get(&d->need, "cpus") <= cpus;
        if (!fits || !d->queued || !(m = demand_pop(d))) continue;
        memset(((future *)m->reply)->bytes, 0, RESULT_INLINE);
        m->generation = cpus;
    }
    pthread_mutex_unlock(&owner_lock);
    return m;
}

/* ---- answers ---- */

static void measure(held *h)
{
    demand *d = h->demand;
    uint64_t now = pool_now_ns(), took = now - h->last_ns;
    h->last_ns = now;
    d->service_ns = d->service_ns ? (d->service_ns * 7 + took) / 8 : took;
    uint64_t depth = d->is_short ? TARGET_NS / (d->service_ns + 1) : 1;
    d->depth = depth < 1 ? 1 : depth > DEPTH_MOST ? DEPTH_MOST : (uint32_t)depth;
}

void owner_done(worker *w, future *f)
{
    uint64_t id;
    demand *d = NULL;
    orders o = {.n = 0};
    memcpy(&id, f->bytes + sizeof id, sizeof id);
    f->packed = 0;
    pthread_mutex_lock(&owner_lock);
    held *h = id ? id_table_get(&owner_held, id) : NULL;
    if (h) {
        h->in_flight--;
        measure(h);
        h->demand->used_ns = h->last_ns;
        if (h->demand->queued && !h->recalled && h->in_flight <= h->demand->depth / 2) d = h->demand;
        if (h->recalled && !h->in_flight && !h->kill_ns) {
            d = h->demand->queued ? h->demand : NULL;
            o.items[o.n].kind = ORDER_RELEASE;
            o.items[o.n].to = h->leases;
            o.items[o.n++].id = h->id;
            held_remove(h);
        }
    }
    pthread_mutex_unlock(&owner_lock);
    orders_send(w, &o);
    if (d) dispatch(w, d);
}

void owner_returned(worker *w, future *f, message *m)
{
    demand *d = NULL;
    uint64_t id;
    memcpy(&id, f->bytes + sizeof id, sizeof id);
    pthread_mutex_lock(&owner_lock);
    held *h = id ? id_table_get(&owner_held, id) : NULL;
    d = demand_of_id(id);
    if (h) h->in_flight--;
    if (h) h->recalled = true; /* its worker is slow to begin: another may do better */
    bool is_orphaned = owner_is_orphaned;
    bool lost = !d || is_orphaned || !load_relaxed(&owner_is_on) || load_relaxed(&f->cancelled);
    if (!lost) demand_push(d, m, true);
    pthread_mutex_unlock(&owner_lock);
    if (!lost) dispatch(w, d);
    else {
        m->reply = NULL;
        message_discard(w, m);
        if (is_orphaned) future_fail_status(w, f, MANTA_EUNKNOWN, ORPHANED);
        else future_fail_status(w, f, d ? MANTA_ECANCELLED : MANTA_EUNKNOWN, d ? "cancelled before it ran" : "its worker process has gone");
    }
}
