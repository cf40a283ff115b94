/*
 * Objects here that other processes have names of: a count for each of them until it has a copy of its own, and who has one.
 *
 * Who asks where to get a large object is put into a tree: FANOUT take it from here, the next from them while they are still receiving it, so a broadcast costs this process FANOUT copies.
 * Complete copies are preferred, several at once. Nobody is put below itself.
 */
#include "actor/transfer/internal.h"

enum { FANOUT = 2, HOLDS_LIMIT = 1 << 20 };

typedef enum holder_state { HOLDER_IDLE, HOLDER_PULLS, HOLDER_HAS } holder_state;
typedef struct holder { /* another process */
    struct holder *next;
    struct export_entry *entry;
    peer *peer;
    uint64_t number;
    holder_state state;
    struct holder *parent; /* whom it takes it from; NULL: from us, or several */
    bool is_waiting;
    uint32_t children;
} holder;

typedef struct export_entry { /* an object here */
    manta_ref ref;
    holder *holders;
    uint32_t served; /* how often we were named as the source */
} export_entry;

static struct {
    pthread_mutex_t lock;
    id_table by_ref, by_number; /* entries; holders, by process and number */
} exports = {.lock = PTHREAD_MUTEX_INITIALIZER};

_Atomic uint32_t exports_held;

static uint64_t holder_key(const peer *p, uint64_t number) { return ref_key((manta_ref){{p->process, number}}); }

/* ---- the tables: under the lock ---- */

static holder *find(const peer *p, uint64_t number)
{
    holder *h = id_table_get(&exports.by_number, holder_key(p, number));
    return h && h->peer == p && h->number == number ? h : NULL;
}

static export_entry *entry_of(manta_ref ref)
{
    export_entry *e = id_table_get(&exports.by_ref, ref_key(ref));
    if (e && ref_is(e->ref, ref)) return e;
    if (e || !(e = base_calloc(1, sizeof *e))) return NULL;
    e->ref = ref;
    if (id_table_put(&exports.by_ref, ref_key(ref), e)) return e;
    base_free(e);
    return NULL;
}

static void leave_tree(holder *h)
{
    if (h->parent) h->parent->children--;
    h->parent = NULL;
}

static void entry_free_if_empty(export_entry *e)
{
    if (e->holders) return;
    id_table_remove(&exports.by_ref, ref_key(e->ref));
    base_free(e);
}

static void remove_holder(holder *gone)
{
    export_entry *e = gone->entry;
    leave_tree(gone);
    if (gone->state != HOLDER_HAS) sub_seq(&exports_held, 1);
    holder **at = &e->holders;
    while (*at != gone) at = &(*at)->next;
    *at = gone->next;
    for (holder *h = e->holders; h; h = h->next)
        if (h->parent == gone) h->parent = NULL;
    id_table_remove(&exports.by_number, holder_key(gone->peer, gone->number));
    base_free(gone);
    entry_free_if_empty(e);
}

static manta_status add_holder(peer *p, uint64_t number, manta_ref ref)
{
    if (exports.by_number.count >= HOLDS_LIMIT) return MANTA_ELIMIT;
    export_entry *e = entry_of(ref);
    holder *h = e ? base_calloc(1, sizeof *h) : NULL;
    if (h && id_table_put(&exports.by_number, holder_key(p, number), h)) {
        *h = (holder){.next = e->holders, .entry = e, .peer = p, .number = number};
        e->holders = h;
        add_relaxed(&exports_held, 1);
        return MANTA_OK;
    }
    base_free(h);
    if (e) entry_free_if_empty(e);
    return MANTA_ENOMEM;
}

/* ---- holds: the link's thread ---- */

/* By its id here, or by the root that a replica here has. Counts it. */
static manta_status count_named(worker *w, manta_ref id, manta_ref *out)
{
    *out = the_objects->knows(id) ? id : import_find_root(id);
    if (out->id[0] && the_objects->count(w, *out, 1, false) == MANTA_OK) return MANTA_OK;
    return import_revive(w, id, out);
}

static manta_status count_complete(worker *w, manta_ref id, manta_ref *out)
{
    *out = the_objects->knows(id) ? id : import_find_root(id);
    if (!out->id[0] || the_objects->count(w, *out, 1, false)) return MANTA_ESTALE;
    if (the_objects->view(*out, NULL, NULL) == MANTA_OK) return MANTA_OK;
    (void)the_objects->count(w, *out, -1, false);
    return MANTA_ESTALE;
}

const char *export_hold(worker *w, peer *p, const wire_head *h, const void *data, size_t bytes)
{
    manta_ref id, ref;
    if (bytes != sizeof id || !h->call) return "a request to hold an object with a wrong length or number";
    memcpy(&id, data, sizeof id);
    pthread_mutex_lock(&exports.lock);
    bool again = find(p, h->call) != NULL;
    manta_status status = again ? MANTA_EEXIST : h->status & HOLD_COMPLETE ? count_complete(w, id, &ref) : count_named(w, id, &ref);
    if (!status && (status = add_holder(p, h->call, ref))) (void)the_objects->count(w, ref, -1, false);
    pthread_mutex_unlock(&exports.lock);
    wire_head answer = {.kind = WIRE_HELD, .call = h->call, .status = (uint32_t)status};
    if (h->status & HOLD_ANSWER || status) peer_say(p, &answer, NULL, 0);
    return again ? "a hold that there is already" : NULL;
}

void export_release(worker *w, peer *p, uint64_t number, bool has_copy)
{
    pthread_mutex_lock(&exports.lock);
    holder *h = find(p, number);
    bool counts = h && h->state != HOLDER_HAS;
    manta_ref ref = h ? h->entry->ref : (manta_ref){{0, 0}};
    if (h && has_copy) {
        leave_tree(h);
        if (counts) sub_seq(&exports_held, 1);
        h->state = HOLDER_HAS;
    } else if (h) remove_holder(h);
    pthread_mutex_unlock(&exports.lock);
    if (counts) (void)the_objects->count(w, ref, -1, false);
    if (counts && has_copy) sweep_wanted();
}

void export_gone(peer *p, uint64_t number)
{
    pthread_mutex_lock(&exports.lock);
    holder *h = find(p, number);
    if (h && h->state == HOLDER_HAS) remove_holder(h);
    pthread_mutex_unlock(&exports.lock);
}

bool export_ref(peer *p, uint64_t number, manta_ref *out)
{
    pthread_mutex_lock(&exports.lock);
    const holder *h = find(p, number);
    bool ok = h && h->state != HOLDER_HAS;
    if (ok) *out = h->entry->ref;
    pthread_mutex_unlock(&exports.lock);
    return ok;
}

bool export_wait(peer *p, uint64_t number, bool begins)
{
    pthread_mutex_lock(&exports.lock);
    holder *h = find(p, number);
    bool ok = h && h->is_waiting != begins;
    if (ok) h->is_waiting = begins;
    pthread_mutex_unlock(&exports.lock);
    return ok;
}

/* ---- the tree ---- */

static bool is_below(const holder *h, const holder *above)
{
    while (h && h != above) h = h->parent;
    return h == above;
}

static bool may_serve(const holder *h, const holder *to, uint64_t avoid, uint32_t children)
{
    return h != to && h->state != HOLDER_IDLE && h->peer->process != avoid && h->peer != to->peer && load_relaxed(&h->peer->has_address) &&
           h->children < children && !is_below(h, to);
}

static uint32_t complete_sources(const export_entry *e, const holder *to, uint64_t avoid, uint32_t children, object_source *out)
{
    uint32_t n = 0;
    for (const holder *h = e->holders; h && n < SOURCES_LIMIT; h = h->next)
        if (h->state == HOLDER_HAS && may_serve(h, to, avoid, children)) out[n++] = (object_source){h->peer->process, 1};
    return n;
}

/* Of those that receive it, the one with the shortest way to us. */
static holder *best_parent(const export_entry *e, const holder *to, uint64_t avoid)
{
    holder *best = NULL;
    uint32_t least = UINT32_MAX;
    for (holder *h = e->holders; h; h = h->next) {
        uint32_t depth = 0;
        if (h->state != HOLDER_PULLS || !may_serve(h, to, avoid, FANOUT)) continue;
        for (const holder *up = h; up->parent; up = up->parent) depth++;
        if (depth * FANOUT + h->children >= least) continue;
        least = depth * FANOUT + h->children;
        best = h;
    }
    return best;
}

static uint32_t from_others(holder *to, uint64_t avoid, object_source *out)
{
    export_entry *e = to->entry;
    bool again = avoid == the_node.process;
    uint32_t n = complete_sources(e, to, avoid, FANOUT, out);
    holder *parent = n || (e->served < FANOUT && !again) ? NULL : best_parent(e, to, avoid);
    if (parent) {
        to->parent = parent;
        parent->children++;
        out[n++] = (object_source){parent->peer->process, 0};
    } else if (!n && (e->served >= FANOUT || again)) n = complete_sources(e, to, avoid, UINT32_MAX, out);
    return n;
}

/* Copies that are complete; us, FANOUT times; somebody who receives it; copies with much to do; us. */
static uint32_t sources(holder *to, const locate_payload *what, object_source *out)
{
    leave_tree(to);
    to->state = HOLDER_PULLS;
    uint32_t n = what->is_direct ? 0 : from_others(to, what->avoid, out);
    if (n) return n;
    to->entry->served++;
    *out = (object_source){the_node.process, 1};
    return 1;
}

uint32_t export_sources(peer *p, uint64_t number, const locate_payload *what, object_source out[SOURCES_LIMIT])
{
    pthread_mutex_lock(&exports.lock);
    holder *h = find(p, number);
    uint32_t n = h && h->state != HOLDER_HAS ? sources(h, what, out) : 0;
    pthread_mutex_unlock(&exports.lock);
    return n;
}

/* ---- where bytes are ---- */

static bool is_at(const peer *holder_peer, const peer *p)
{
    return holder_peer == p || (p->store_key && holder_peer->store_key == p->store_key);
}

uint64_t transfer_bytes_at(const peer *p, const manta_ref *refs, uint32_t count)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < count; i++) {
        object_name name;
        import_state state;
        bool there = p->shares_store;
        pthread_mutex_lock(&exports.lock);
        const export_entry *e = id_table_get(&exports.by_ref, ref_key(refs[i]));
        for (const holder *h = e ? e->holders : NULL; h && !there; h = h->next) there = h->state == HOLDER_HAS && is_at(h->peer, p);
        pthread_mutex_unlock(&exports.lock);
        uint64_t size = 0;
        if (import_name(refs[i], &name, &state) && state != IMPORT_HERE) size = name.process == p->process ? name.size : 0;
        else if (there) size = known_size(refs[i]);
        if (size != SIZE_UNKNOWN) bytes += size;
    }
    return bytes;
}

/* ---- all of them ---- */

void exports_peer_down(worker *w, peer *p)
{
    for (;;) {
        size_t cursor = 0;
        pthread_mutex_lock(&exports.lock);
        holder *h;
        while ((h = id_table_next(&exports.by_number, &cursor, NULL)) && h->peer != p) continue;
        manta_ref ref = h ? h->entry->ref : (manta_ref){{0, 0}};
        bool counts = h && h->state != HOLDER_HAS;
        if (h) remove_holder(h);
        pthread_mutex_unlock(&exports.lock);
        if (!h) return;
        if (counts) (void)the_objects->count(w, ref, -1, false);
    }
}

/* Copies elsewhere do not keep an object here alive; when it is gone, what is known of them goes too. */
bool exports_sweep(void)
{
    size_t cursor = 0;
    pthread_mutex_lock(&exports.lock);
    for (export_entry *e; (e = id_table_next(&exports.by_ref, &cursor, NULL));) {
        if (the_objects->view(e->ref, NULL, NULL) != MANTA_ESTALE) continue;
        for (holder *h = e->holders, *next; h; h = next) { /* the last one takes e along */
            next = h->next;
            remove_holder(h);
        }
    }
    bool some = exports.by_ref.count > 0;
    pthread_mutex_unlock(&exports.lock);
    return some;
}

void exports_stop(worker *w)
{
    size_t cursor = 0;
    for (holder *h; (h = id_table_next(&exports.by_number, &cursor, NULL));) {
        if (h->state != HOLDER_HAS) (void)the_objects->count(w, h->entry->ref, -1, false);
        base_free(h);
    }
    cursor = 0;
    for (export_entry *e; (e = id_table_next(&exports.by_ref, &cursor, NULL));) base_free(e);
    id_table_fini(&exports.by_number);
    id_table_fini(&exports.by_ref);
    store_relaxed(&exports_held, 0);
}
