/*
 * The table of records, by the roots of their outputs.
 *
 * A record is kept while an output is alive here, a process borrows one, a record that is kept names one among its arguments, or it runs. What arguments are made of is itself a record, so nothing is held for it; arguments
 * that nobody knows how to make are held.
 *
 * Nothing tells when an output's last count goes, so a timer looks at all records within LOOK_MS, LOOK_AT at a time, and a spec goes when two looks in a row found it unneeded, because a process that was given a ref by another
 * may still have to say so. Over the budget the oldest records go; of those that others were made of only the bytes. What went last is remembered by its roots, and may still be in the control store.
 */
#include <stdio.h>
#include <string.h>

#include "actor/node/gcs.h"
#include "actor/node/lineage_internal.h"
#include "actor/node/raylet.h"

enum {
    LOOK_MS = 200,
    LOOK_AT = 512,
    BORROWERS_LIMIT = 1 << 16,
    DROPS_LIMIT = 1 << 14,
    EVICTED_LIMIT = 4096,
    SHIP_BYTES = 256 << 10, /* in one command */
    FOREIGN_MS = 60000,     /* by then its owner has shipped it, or is known to be gone */
    ANCESTORS = 256         /* that are carried along */
};
#define LINEAGE_BYTES_DEFAULT (64ull << 20)
#define LINEAGE_BYTES_NONE 1

static struct {
    pthread_mutex_t lock;
    id_table by_root; /* outputs */
    lineage_spec *oldest, *newest, *next_look, *next_ship;
    rebuild *searching;
    manta_ref *drops;
    uint32_t n_drops;
    manta_ref *evicted; /* a ring */
    uint64_t n_evicted;
    uint64_t after_ns;
    uint64_t limit, bytes, count, shipped;
    lineage_counts counts;
    pool_timer timer;
    bool is_timed;
} all = {.lock = PTHREAD_MUTEX_INITIALIZER, .limit = LINEAGE_BYTES_DEFAULT};

bool lineage_is_on(void) { return load_relaxed(&owner_is_on); }

static bool ref_is(manta_ref a, manta_ref b) { return a.id[0] == b.id[0] && a.id[1] == b.id[1]; }

static uint64_t key_of(manta_ref r)
{
    uint64_t x = (r.id[0] ^ r.id[1] * 0x9e3779b97f4a7c15u) * 0xbf58476d1ce4e5b9u;
    return (x ^ x >> 29) | 1;
}

/* ---- the table: under the lock ---- */

static lineage_output *find(manta_ref root)
{
    lineage_output *o = id_table_get(&all.by_root, key_of(root));
    return o && ref_is(o->root, root) ? o : NULL;
}

static void append(lineage_spec *s)
{
    s->older = all.newest;
    *(all.newest ? &all.newest->newer : &all.oldest) = s;
    all.newest = s;
    if (!all.next_ship) all.next_ship = s;
    all.bytes += s->cost;
    all.count++;
    all.shipped += s->is_shipped;
}

static void leave_list(lineage_spec *s)
{
    if (all.next_look == s) all.next_look = s->newer;
    if (all.next_ship == s) all.next_ship = s->newer;
    *(s->newer ? &s->newer->older : &all.newest) = s->older;
    *(s->older ? &s->older->newer : &all.oldest) = s->newer;
    all.bytes -= s->cost;
    all.count--;
    all.shipped -= s->is_shipped;
}

static void drop_record(lineage_spec *s, manta_lost_reason reason)
{
    base_free(s->record);
    s->record = NULL;
    s->reason = reason;
    all.bytes -= s->record_bytes;
    s->cost -= s->record_bytes;
    s->record_bytes = 0;
}

/* What came from others: until it is in the control store. */
static bool is_young(const lineage_spec *s)
{
    uint64_t age_ms = (pool_now_ns() - s->made_ns) / OS_NS_PER_MS;
    return (s->is_foreign && age_ms < FOREIGN_MS) || (s->is_adopted && !s->is_shipped && age_ms < GCS_LINEAGE_KEPT_MS);
}

static bool is_needed(const lineage_spec *s)
{
    bool needed = s->is_running || s->references || is_young(s);
    for (uint32_t i = 0; i < s->n_outputs && !needed; i++) needed = s->outputs[i].local.id[0] || s->outputs[i].n_borrowers;
    return needed;
}

static void spec_memory_free(lineage_spec *s)
{
    for (uint32_t i = 0; i < s->n_outputs; i++) base_free(s->outputs[i].borrowers);
    base_free(s->record);
    base_free(s->held);
    base_free(s->parents);
    base_free(s);
}

/* Those that are to be freed without the lock are put into *gone, by `newer`. */
static void take_out(lineage_spec *s, bool evicts, lineage_spec **gone)
{
    leave_list(s);
    for (uint32_t i = 0; i < s->n_outputs; i++)
        if (find(s->outputs[i].root) == &s->outputs[i]) {
            (void)id_table_remove(&all.by_root, key_of(s->outputs[i].root));
            if (evicts && all.evicted) all.evicted[all.n_evicted++ % EVICTED_LIMIT] = s->outputs[i].root;
            else if (s->is_shipped && !s->is_adopted && all.drops && all.n_drops < DROPS_LIMIT)
                all.drops[all.n_drops++] = s->outputs[i].root;
        }
    for (uint32_t i = 0; i < s->n_parents; i++) {
        lineage_output *o = find(s->parents[i]);
        if (o && o->spec->references) o->spec->references--;
    }
    s->newer = *gone;
    *gone = s;
}

static void free_all(worker *w, lineage_spec *gone)
{
    for (lineage_spec *next; gone; gone = next) {
        next = gone->newer;
        for (uint32_t i = 0; i < gone->n_held; i++) (void)the_objects->count(w, gone->held[i], -1, false);
        spec_memory_free(gone);
    }
}

static bool was_evicted(manta_ref root)
{
    uint64_t n = all.n_evicted < EVICTED_LIMIT ? all.n_evicted : EVICTED_LIMIT;
    while (n && !ref_is(all.evicted[n - 1], root)) n--;
    return n != 0;
}

static void keep_budget(lineage_spec **gone)
{
    for (lineage_spec *s = all.oldest, *next; s && all.bytes > all.limit; s = next) {
        next = s->newer;
        if (s->is_running) continue;
        if (!s->references) take_out(s, true, gone);
        else if (s->record) drop_record(s, MANTA_LOST_OVER_BUDGET);
    }
}

/* ---- looking ---- */

static bool is_needed_now(lineage_spec *s)
{
    for (uint32_t i = 0; i < s->n_outputs; i++) {
        manta_ref *here = &s->outputs[i].local;
        if (here->id[0] && the_objects->view(*here, NULL, NULL) == MANTA_ESTALE) *here = (manta_ref){{0, 0}};
    }
    return is_needed(s);
}

static void look_at(lineage_spec *s, lineage_spec **gone)
{
    if (is_needed_now(s)) s->is_unneeded = false;
    else if (s->is_unneeded) take_out(s, false, gone);
    else s->is_unneeded = true;
}

static bool is_for_shipping(const lineage_spec *s)
{
    bool is_old = s->is_adopted || pool_now_ns() - s->made_ns >= all.after_ns;
    return s->record && !s->is_foreign && !s->is_shipped && !s->is_unshippable && is_old;
}

/* The first that is to be shipped is next_ship. */
static bool has_to_ship(void)
{
    while (all.next_ship && (all.next_ship->is_shipped || all.next_ship->is_unshippable || !all.next_ship->record))
        all.next_ship = all.next_ship->newer;
    return all.next_ship && all.after_ns != UINT64_MAX && is_for_shipping(all.next_ship);
}

static void look(worker *w, pool_timer *t)
{
    lineage_spec *gone = NULL;
    (void)t;
    pthread_mutex_lock(&all.lock);
    if (!all.next_look) all.next_look = all.oldest;
    for (uint32_t n = 0; n < LOOK_AT && all.next_look; n++) {
        lineage_spec *s = all.next_look;
        all.next_look = s->newer;
        look_at(s, &gone);
    }
    bool news = all.n_drops || has_to_ship();
    all.is_timed = all.count && lineage_is_on();
    uint64_t pause_ns = LOOK_MS * OS_NS_PER_MS / (1 + all.count / LOOK_AT);
    if (all.is_timed) pool_timer_start(w, &all.timer, pool_now_ns() + pause_ns);
    pthread_mutex_unlock(&all.lock);
    free_all(w, gone);
    if (news) lineage_ship();
}

/* ---- adding ---- */

static void arm(worker *w)
{
    if (all.is_timed || !lineage_is_on()) return;
    all.is_timed = true;
    all.timer.fire = look;
    pool_timer_start(w, &all.timer, pool_now_ns() + LOOK_MS * OS_NS_PER_MS);
}

static lineage_spec *spec_new(const lineage_made *made, const gathered_refs *outputs)
{
    lineage_spec *s = base_calloc(1, sizeof *s + outputs->count * sizeof s->outputs[0]);
    if (!s) return NULL;
    s->method = made->method;
    s->owner = the_node.process;
    s->job = the_job.id;
    s->made_ns = pool_now_ns();
    s->runs_left = made->retries;
    s->is_answer = !made->result;
    s->reason = MANTA_LOST_NOT_RETRIABLE;
    s->n_outputs = outputs->count;
    for (uint32_t i = 0; i < outputs->count; i++)
        s->outputs[i] = (lineage_output){.root = transfer_root(outputs->items[i]), .local = outputs->items[i], .spec = s, .index = i};
    if (!made->retries) return s;
    s->demand = made->demand;
    s->retries = made->retries;
    s->priority = made->priority;
    s->record = arguments_pack(made, &s->record_bytes);
    if (!s->record) s->reason = MANTA_LOST_NO_MEMORY;
    return s;
}

static bool reserve_arguments(lineage_spec *s, const gathered_refs *arguments)
{
    size_t bytes = arguments->count * sizeof(manta_ref);
    if (!s->record || !arguments->count) return true;
    if (!(s->held = base_alloc(bytes)) || !(s->parents = base_alloc(bytes))) return false;
    for (uint32_t i = 0; i < arguments->count; i++) s->parents[i] = transfer_root(arguments->items[i]);
    return true;
}

/* Under the lock: which arguments are to be held, and which records. */
static void take_arguments(lineage_spec *s, const gathered_refs *arguments)
{
    for (uint32_t i = 0; s->held && i < arguments->count; i++) {
        manta_ref root = s->parents[i];
        lineage_output *o = find(root);
        if (o) o->spec->references++;
        if (o) s->parents[s->n_parents++] = root;
        else s->held[s->n_held++] = arguments->items[i];
    }
}

/* Under the lock. False: all of it is known already, or there is no memory. */
static bool list_outputs(lineage_spec *s)
{
    uint32_t added = 0;
    for (uint32_t i = 0; i < s->n_outputs; i++)
        if (!find(s->outputs[i].root)) added += id_table_put(&all.by_root, key_of(s->outputs[i].root), &s->outputs[i]);
    return added != 0;
}

static void add(worker *w, lineage_spec *s, const gathered_refs *arguments)
{
    lineage_spec *gone = NULL;
    s->cost = sizeof *s + s->n_outputs * sizeof s->outputs[0] + arguments->count * 2 * sizeof(manta_ref) + s->record_bytes;
    bool ok = reserve_arguments(s, arguments);
    pthread_mutex_lock(&all.lock);
    ok = ok && list_outputs(s);
    if (ok) append(s);
    if (ok) take_arguments(s, arguments);
    for (uint32_t i = 0; ok && i < s->n_held; i++) (void)the_objects->count(w, s->held[i], 1, false);
    if (ok) keep_budget(&gone);
    if (ok) arm(w);
    pthread_mutex_unlock(&all.lock);
    free_all(w, gone);
    if (!ok) spec_memory_free(s);
}

void lineage_add(worker *w, const lineage_made *made)
{
    if (all.limit == LINEAGE_BYTES_NONE) return;
    manta_ref answer = made->answer;
    gathered_refs outputs = made->result ? refs_gather(&made->method->result, made->result) : (gathered_refs){&answer, 1, false};
    gathered_refs arguments = refs_gather(&made->method->arguments, made->arguments);
    lineage_spec *s = outputs.count && !outputs.failed && !arguments.failed && lineage_is_on() ? spec_new(made, &outputs) : NULL;
    if (s) add(w, s, &arguments);
    if (made->result) base_free(outputs.items);
    base_free(arguments.items);
}

/* ---- who has refs ---- */

bool lineage_is_known(manta_ref root)
{
    pthread_mutex_lock(&all.lock);
    lineage_output *o = all.count ? find(root) : NULL;
    bool known = o ? !o->spec->is_foreign : was_evicted(root);
    pthread_mutex_unlock(&all.lock);
    return known;
}

bool lineage_was_evicted(manta_ref root)
{
    pthread_mutex_lock(&all.lock);
    bool was = was_evicted(root);
    pthread_mutex_unlock(&all.lock);
    return was;
}

bool lineage_record_owner(manta_ref root, uint64_t *out)
{
    pthread_mutex_lock(&all.lock);
    lineage_output *o = find(root);
    if (o) *out = o->spec->owner;
    pthread_mutex_unlock(&all.lock);
    return o != NULL;
}

typedef struct carried { /* copies of records that go ahead of a message, the newest first */
    void *records[ANCESTORS];
    size_t bytes[ANCESTORS];
    uint32_t count;
} carried;

/* Under the lock. What is not in the control store yet, and what that was made of. */
static void gather_carried(lineage_spec *s, carried *c)
{
    if (s->is_shipped || !s->record || c->count == ANCESTORS) return;
    void *copy = record_pack(s, &c->bytes[c->count]);
    if (!copy) return;
    c->records[c->count++] = copy;
    for (uint32_t i = 0; i < s->n_parents; i++) {
        lineage_output *o = find(s->parents[i]);
        if (o) gather_carried(o->spec, c);
    }
}

static void carry(carried *c, peer *target)
{
    wire_head h = {.kind = WIRE_RECORD};
    while (c->count) {
        c->count--;
        (void)peer_send(target, &h, c->records[c->count], c->bytes[c->count], false);
        base_free(c->records[c->count]);
    }
}

void lineage_carry(manta_ref root, peer *target)
{
    carried c = {.count = 0};
    pthread_mutex_lock(&all.lock);
    lineage_output *o = find(root);
    if (o) gather_carried(o->spec, &c);
    pthread_mutex_unlock(&all.lock);
    carry(&c, target);
}

bool lineage_travels(manta_ref root, peer *target)
{
    carried c = {.count = 0};
    if (!load_relaxed(&owner_is_on)) return false;
    pthread_mutex_lock(&all.lock);
    lineage_output *o = all.count ? find(root) : NULL;
    bool known = o && !o->spec->is_foreign;
    if (known && target) gather_carried(o->spec, &c);
    pthread_mutex_unlock(&all.lock);
    carry(&c, target);
    return known;
}

static void unborrow(lineage_output *o, uint64_t process)
{
    for (uint32_t i = 0; i < o->n_borrowers; i++)
        if (o->borrowers[i] == process) {
            o->borrowers[i] = o->borrowers[--o->n_borrowers];
            return;
        }
}

static void ship_after_all(lineage_spec *s)
{
    s->is_unshippable = s->is_adopted;
    if (!s->is_adopted && (!all.next_ship || all.next_ship->made_ns > s->made_ns)) all.next_ship = s;
}

static void borrow_begins(lineage_output *o, uint64_t process)
{
    if (o->n_borrowers >= BORROWERS_LIMIT) return;
    uint64_t *more = base_realloc(o->borrowers, (o->n_borrowers + 1) * sizeof *more);
    if (!more) return; /* it may go too early, and then be lost with a reason */
    o->borrowers = more;
    o->borrowers[o->n_borrowers++] = process;
    if (o->spec->is_unshippable) ship_after_all(o->spec);
}

const char *lineage_borrowed(uint64_t process, const void *data, size_t bytes, bool begins)
{
    manta_ref root;
    if (bytes != sizeof root) return "news of a ref with a wrong length";
    memcpy(&root, data, sizeof root);
    pthread_mutex_lock(&all.lock);
    lineage_output *o = find(root);
    if (o) unborrow(o, process);
    if (o && begins) borrow_begins(o, process);
    pthread_mutex_unlock(&all.lock);
    return NULL;
}

void lineage_peer_down(uint64_t process)
{
    pthread_mutex_lock(&all.lock);
    for (lineage_spec *s = all.oldest; s; s = s->newer) {
        for (uint32_t i = 0; i < s->n_outputs; i++) unborrow(&s->outputs[i], process);
        if (!s->is_foreign || s->owner != process) continue;
        s->is_foreign = false; /* its owner may not have shipped it: we do */
        s->is_adopted = true;
        if (!all.next_ship || all.next_ship->made_ns > s->made_ns) all.next_ship = s;
    }
    pthread_mutex_unlock(&all.lock);
}

/* ---- running again ---- */

/* Of one that is said to run. */
static void refuse_all(lineage_spec *s, manta_lost_reason reason)
{
    uint32_t index;
    for (rebuild *r; (r = lineage_run_next(s, &index));) transfer_rebuilt(r, lost_error(r, reason, NULL));
}

/* Another's record is run by one process for all: the search finds out which. */
static bool is_ours_to_run(const lineage_spec *s) { return s->is_running || (!s->is_foreign && !s->is_adopted); }

void lineage_attach(worker *w, rebuild *r, bool may_search)
{
    bool start = false, search = false;
    (void)w;
    pthread_mutex_lock(&all.lock);
    lineage_output *o = find(r->root);
    if (o && may_search && !is_ours_to_run(o->spec)) o = NULL;
    if (o) {
        o->local = r->local;
        r->next = o->wanted;
        o->wanted = r;
        start = !o->spec->is_running;
        o->spec->is_running = true;
    } else if (may_search) {
        search = true;
        r->next = all.searching;
        all.searching = r;
    }
    pthread_mutex_unlock(&all.lock);
    if (search && lineage_search_start(r->root, r->owner, r->owner_refused)) return;
    if (search) r = lineage_searching_take(r->root);
    if (!o && r) transfer_rebuilt(r, lost_error(r, MANTA_LOST_NO_RECORD, NULL));
    else if (start && !lineage_run_start(r->root)) refuse_all(o->spec, MANTA_LOST_NO_MEMORY);
}

void lineage_rebuild(worker *w, rebuild *r) { lineage_attach(w, r, true); }

rebuild *lineage_searching_take(manta_ref root)
{
    pthread_mutex_lock(&all.lock);
    rebuild **at = &all.searching, *r;
    while (*at && !ref_is((*at)->root, root)) at = &(*at)->next;
    if ((r = *at)) *at = r->next;
    pthread_mutex_unlock(&all.lock);
    return r;
}

lineage_spec *lineage_run_begins(manta_ref root)
{
    pthread_mutex_lock(&all.lock);
    lineage_output *o = find(root); /* it cannot go while it is said to run */
    lineage_spec *s = o ? o->spec : NULL;
    pthread_mutex_unlock(&all.lock);
    return s;
}

rebuild *lineage_run_next(lineage_spec *s, uint32_t *out_index)
{
    rebuild *r = NULL;
    pthread_mutex_lock(&all.lock);
    for (uint32_t i = 0; i < s->n_outputs && !r; i++) {
        if (!(r = s->outputs[i].wanted)) continue;
        s->outputs[i].wanted = r->next;
        *out_index = i;
    }
    if (!r) s->is_running = false;
    pthread_mutex_unlock(&all.lock);
    return r;
}

static void note_start(uint64_t since_ns)
{
    uint64_t waited = os_monotonic_ns() - since_ns;
    all.counts.rebuilt++;
    if (waited > all.counts.longest_wait_ns) all.counts.longest_wait_ns = waited;
}

void *lineage_run_record(lineage_spec *s, uint64_t since_ns, size_t *out_bytes, manta_lost_reason *out_reason)
{
    void *copy = NULL;
    pthread_mutex_lock(&all.lock);
    *out_reason = !s->record ? s->reason : !s->runs_left ? MANTA_LOST_RETRIES_USED : MANTA_LOST_NO_MEMORY;
    if (s->record && s->runs_left && (copy = record_pack(s, out_bytes))) {
        s->runs_left--;
        note_start(since_ns);
    }
    pthread_mutex_unlock(&all.lock);
    return copy;
}

/* ---- to the control store, and back ---- */

static void batch_add(lineage_batch *b, lineage_spec *s)
{
    size_t bytes = 0;
    void *packed = record_pack(s, &bytes);
    manta_bytes record = {packed, bytes};
    if (!packed) return; /* later */
    for (uint32_t i = 0; i < s->n_outputs; i++, b->n_records++) {
        manta_pack_array(&b->records, 3);
        manta_pack_uint64_t(&b->records, &s->outputs[i].root.id[0]);
        manta_pack_uint64_t(&b->records, &s->outputs[i].root.id[1]);
        manta_pack_manta_bytes(&b->records, &record);
    }
    base_free(packed);
    s->references++;
    b->specs[b->count++] = s;
}

bool lineage_batch_take(lineage_batch *b)
{
    b->count = b->n_records = 0;
    manta_writer_init_growing(&b->records);
    pthread_mutex_lock(&all.lock);
    lineage_spec *s = has_to_ship() ? all.next_ship : NULL;
    b->job = s ? s->job : 0;
    for (; s && b->count < 256 && manta_writer_size(&b->records) < SHIP_BYTES; s = s->newer) {
        if (s->record_bytes > SHIP_BYTES || !is_needed_now(s)) s->is_unshippable = true; /* see borrow_begins */
        if (s->job == b->job && is_for_shipping(s)) batch_add(b, s);
    }
    pthread_mutex_unlock(&all.lock);
    return b->count && !b->records.status;
}

void lineage_batch_end(lineage_batch *b, bool is_shipped)
{
    pthread_mutex_lock(&all.lock);
    for (uint32_t i = 0; i < b->count; i++) {
        b->specs[i]->references--;
        all.shipped += is_shipped && !b->specs[i]->is_shipped;
        b->specs[i]->is_shipped |= is_shipped;
        b->specs[i]->is_unshippable |= !is_shipped && b->specs[i]->is_adopted; /* its job's lineage is gone: kept here for a while */
    }
    pthread_mutex_unlock(&all.lock);
    manta_writer_fini(&b->records);
}

uint32_t lineage_drops_take(manta_ref *out, uint32_t capacity)
{
    uint32_t n = 0;
    pthread_mutex_lock(&all.lock);
    while (n < capacity && all.n_drops) out[n++] = all.drops[--all.n_drops];
    pthread_mutex_unlock(&all.lock);
    return n;
}

manta_status lineage_take_in(worker *w, const void *record, size_t bytes, bool is_foreign)
{
    MantaRecord r;
    if (!record_read(record, bytes, &r)) return MANTA_EDECODE;
    uint32_t n = (uint32_t)(r.outputs.size / sizeof(manta_ref));
    lineage_spec *s = base_calloc(1, sizeof *s + n * sizeof s->outputs[0]);
    if (!s || !(s->record = base_alloc(bytes))) {
        base_free(s);
        return MANTA_ENOMEM;
    }
    memcpy(s->record, record, bytes);
    s->record_bytes = bytes;
    s->runs_left = r.retries;
    s->is_answer = r.is_answer;
    s->is_foreign = is_foreign;
    s->is_adopted = s->is_shipped = !is_foreign;
    s->owner = r.owner;
    s->job = r.job;
    s->made_ns = pool_now_ns();
    s->n_outputs = n;
    for (uint32_t i = 0; i < n; i++) {
        s->outputs[i] = (lineage_output){.spec = s, .index = i};
        memcpy(&s->outputs[i].root, (const unsigned char *)r.outputs.data + i * sizeof(manta_ref), sizeof(manta_ref));
    }
    add(w, s, &(gathered_refs){.count = 0});
    return MANTA_OK;
}

const char *lineage_carried(worker *w, const void *record, size_t bytes)
{
    manta_status status = lineage_is_on() ? lineage_take_in(w, record, bytes, true) : MANTA_OK;
    return status == MANTA_EDECODE ? "a record of lineage that is none" : NULL;
}

/* ---- start and stop ---- */

void lineage_count(lineage_counts *out)
{
    pthread_mutex_lock(&all.lock);
    *out = all.counts;
    out->records = all.count;
    out->stored = all.shipped;
    out->bytes = all.bytes;
    pthread_mutex_unlock(&all.lock);
}

void lineage_start(uint64_t limit_bytes, uint32_t ship_after_ms)
{
    enum { AFTER_MS = 200 };
    all.after_ns = ship_after_ms == UINT32_MAX ? UINT64_MAX : (ship_after_ms ? ship_after_ms : AFTER_MS) * (uint64_t)OS_NS_PER_MS;
    all.drops = base_alloc(DROPS_LIMIT * sizeof *all.drops);
    all.evicted = base_alloc(EVICTED_LIMIT * sizeof *all.evicted);
    all.n_evicted = 0;
    all.limit = limit_bytes ? limit_bytes : LINEAGE_BYTES_DEFAULT;
    all.counts = (lineage_counts){.records = 0};
}

void lineage_stop(worker *w)
{
    lineage_spec *gone = NULL;
    for (rebuild *r; (r = all.searching);) {
        all.searching = r->next;
        transfer_rebuilt(r, lost_error(r, MANTA_LOST_NO_RECORD, NULL));
    }
    lineage_store_stop();
    for (lineage_spec *s = all.oldest; s; s = s->newer) refuse_all(s, MANTA_LOST_NO_MEMORY);
    pthread_mutex_lock(&all.lock);
    if (all.is_timed) (void)pool_timer_cancel(&all.timer);
    all.is_timed = false;
    while (all.oldest) take_out(all.oldest, false, &gone);
    id_table_fini(&all.by_root);
    base_free(all.drops);
    base_free(all.evicted);
    all.drops = all.evicted = NULL;
    all.n_drops = 0;
    all.n_evicted = 0;
    pthread_mutex_unlock(&all.lock);
    free_all(w, gone);
}
