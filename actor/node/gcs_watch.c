/*
 * Watching the control store.
 *
 * A server tells its watchers what is there, then every change, as it applies the log: so each gets the changes in their order, and a follower may serve watchers as well as the leader. In each process that watches
 * something there is one MantaWatcher, which serves all its watches. When its server is gone, or is no server any more, it turns to another, gets everything again, and tells the difference to what it knew. While
 * somebody waits for a lock, the server is asked five times a second whether it is there.
 */
#include <stdio.h>
#include <string.h>

#include "actor/node/gcs_server.h"
#include "actor/node/gcs_watch.h"
#include "actor/node/node.h"

/* ---- the server's side ---- */

static bool has_prefix(manta_bytes key, const void *prefix, size_t bytes)
{
    return key.size >= bytes && (!bytes || memcmp(key.data, prefix, bytes) == 0);
}

static manta_status tell_one(const gcs_watcher *w, const gcs_event *e)
{
    return MantaWatcher_changed_send(MantaWatcher_ref_of(w->actor), e->table, e->revision, e->is_gone, e->key, e->value);
}

static void remove_watcher(struct gcs_server *s, uint32_t i)
{
    base_free(s->watchers[i].prefix);
    s->watchers[i] = s->watchers[--s->n_watchers];
}

void server_tell(void *context, const gcs_event *e)
{
    struct gcs_server *s = context;
    for (uint32_t i = 0; i < s->n_watchers; i++) {
        gcs_watcher *w = &s->watchers[i];
        if (w->table != e->table || !has_prefix(e->key, w->prefix, w->prefix_bytes)) continue;
        manta_status status = w->is_late ? MantaWatcher_dropped_send(MantaWatcher_ref_of(w->actor)) : tell_one(w, e);
        if (status == MANTA_EDEAD || (w->is_late && !status)) remove_watcher(s, i--);
        else if (status) w->is_late = true;
    }
}

void server_watchers_free(struct gcs_server *s)
{
    while (s->n_watchers) remove_watcher(s, s->n_watchers - 1);
    base_free(s->watchers);
}

static gcs_watcher *add_watcher(struct gcs_server *s)
{
    if (s->n_watchers == GCS_WATCHERS) return manta_fail(MANTA_ELIMIT, "at most %d watchers on a server", GCS_WATCHERS), NULL;
    if (s->n_watchers == s->room_watchers) {
        uint32_t room = s->room_watchers ? s->room_watchers * 2 : 16;
        gcs_watcher *grown = base_realloc(s->watchers, room * sizeof *grown);
        if (!grown) return manta_fail(MANTA_ENOMEM, "no memory for a watcher"), NULL;
        s->watchers = grown;
        s->room_watchers = room;
    }
    return &s->watchers[s->n_watchers];
}

static void tell_item(void *context, const gcs_event *e)
{
    gcs_watcher *w = context;
    if (!w->is_late && tell_one(w, e)) w->is_late = true;
}

static bool serves(const struct gcs_server *s)
{
    const raft_configuration *c = s->host && !s->is_failed ? raft_host_configuration(s->host) : NULL;
    return c && raft_configuration_find(c, raft_host_status_of(s->host).raft.id);
}

static void remove_watchers(struct gcs_server *s, uint32_t table, manta_bytes prefix, manta_actor watcher)
{
    for (uint32_t i = 0; i < s->n_watchers; i++) {
        const gcs_watcher *w = &s->watchers[i];
        if (w->actor.id == watcher.id && w->table == table && w->prefix_bytes == prefix.size &&
            has_prefix(prefix, w->prefix, w->prefix_bytes))
            remove_watcher(s, i--);
    }
}

MANTA_METHOD_DEFINE(MantaGcs, watch, void, (uint32_t, table), (manta_bytes, prefix), (manta_actor, watcher))
{
    struct gcs_server *s = self->s;
    if (!serves(s)) {
        manta_fail(MANTA_ENOTLEADER, "%s", "");
        return;
    }
    remove_watchers(s, table, prefix, watcher); /* one that got no answer in time asks again */
    unsigned char *copy = base_alloc(prefix.size + 1);
    gcs_watcher *w = copy ? add_watcher(s) : NULL;
    if (!w) {
        base_free(copy);
        return;
    }
    if (prefix.size) memcpy(copy, prefix.data, prefix.size);
    *w = (gcs_watcher){.actor = watcher, .table = table, .prefix_bytes = prefix.size, .prefix = copy};
    s->n_watchers++;
    gcs_core_each(s->core, table, prefix, tell_item, w);
    if (!w->is_late) (void)MantaWatcher_listed_send(MantaWatcher_ref_of(watcher), table, prefix, raft_host_status_of(s->host).applied);
}

MANTA_METHOD_DEFINE(MantaGcs, unwatch, void, (uint32_t, table), (manta_bytes, prefix), (manta_actor, watcher))
{
    remove_watchers(self->s, table, prefix, watcher);
}

void server_drop_watchers(struct gcs_server *s)
{
    if (!s->n_watchers || serves(s)) return;
    for (uint32_t i = 0; i < s->n_watchers; i++) (void)MantaWatcher_dropped_send(MantaWatcher_ref_of(s->watchers[i].actor));
    while (s->n_watchers) remove_watcher(s, s->n_watchers - 1);
}

/* ---- the watching side ---- */

enum { WATCHES = 1024, KNOWN_LIMIT = 1 << 20, ATTACH_AGAIN_MS = 50, PROBE_MS = 200, ASK_MS = 300 };

typedef struct known {  /* a key of a watch */
    struct known *next; /* of the same hash */
    uint64_t revision;
    bool is_seen; /* since the server began to list */
    size_t bytes;
    unsigned char key[];
} known;

typedef struct watch {
    struct watch *next;
    uint32_t table;
    gcs_watching tell;
    void *context;
    manta_actor owner;
    id_table known; /* by the key's hash */
    size_t prefix_bytes;
    unsigned char prefix[];
} watch;

struct watches {
    watch *first;
    uint32_t count;
    manta_actor server;
    bool is_attaching, is_probing;
};

static MantaWatcher_ref the_watcher; /* of this process */
static pthread_mutex_t watcher_lock = PTHREAD_MUTEX_INITIALIZER;

MANTA_METHOD_DECLARE(MantaWatcher, init, void)
MANTA_METHOD_DECLARE(MantaWatcher, on_down, void, (manta_actor, who), (int32_t, status), (manta_str, why))
MANTA_METHOD_DECLARE(
    MantaWatcher, add, void, (uint32_t, table), (manta_bytes, prefix), (uint64_t, tell), (uint64_t, context), (manta_actor, owner))
MANTA_METHOD_DECLARE(MantaWatcher, remove, void, (uint32_t, table), (manta_bytes, prefix), (manta_actor, owner), (uint64_t, context))
MANTA_METHOD_DECLARE(MantaWatcher, attach, void)
MANTA_METHOD_DECLARE(MantaWatcher, probe, void)

static uint64_t hash_of(manta_bytes key) { return hash_bytes(key.data, key.size) | 1; }

static known *find_known(const watch *w, manta_bytes key)
{
    known *k = id_table_get(&w->known, hash_of(key));
    while (k && (k->bytes != key.size || memcmp(k->key, key.data, key.size) != 0)) k = k->next;
    return k;
}

static known *add_known(watch *w, manta_bytes key)
{
    known *k = w->known.count < KNOWN_LIMIT ? base_alloc(sizeof *k + key.size) : NULL;
    if (!k) return NULL;
    *k = (known){.next = id_table_get(&w->known, hash_of(key)), .bytes = key.size};
    memcpy(k->key, key.data, key.size);
    if (id_table_put(&w->known, hash_of(key), k)) return k;
    base_free(k);
    return NULL;
}

static void remove_known(watch *w, known *k)
{
    uint64_t hash = hash_of((manta_bytes){k->key, k->bytes});
    known *first = id_table_get(&w->known, hash), **at = &first;
    while (*at != k) at = &(*at)->next;
    *at = k->next;
    if (first) (void)id_table_put(&w->known, hash, first); /* in place: needs no memory */
    else (void)id_table_remove(&w->known, hash);
    base_free(k);
}

/* Tells a change unless it is known already. */
static void take_change(watch *w, const gcs_event *e)
{
    known *k = find_known(w, e->key);
    if (e->is_gone) {
        if (k) remove_known(w, k);
        if (k) w->tell(w->context, e);
        return;
    }
    bool is_new = !k || k->revision < e->revision;
    if (!k && !(k = add_known(w, e->key))) {
        runtime_report("control store: no memory for a key that is watched, or more than %d of them", KNOWN_LIMIT);
        return;
    }
    k->revision = is_new ? e->revision : k->revision;
    k->is_seen = true;
    if (is_new) w->tell(w->context, e);
}

/* What the server did not list any more is gone. */
static void tell_missing(watch *w, uint64_t revision)
{
    size_t cursor = 0;
    for (known *k; (k = id_table_next(&w->known, &cursor, NULL));) {
        for (known *next; k; k = next) {
            next = k->next;
            bool is_there = k->is_seen;
            k->is_seen = false;
            gcs_event e = {.revision = revision, .table = w->table, .is_gone = true, .key = {k->key, k->bytes}};
            if (is_there) continue;
            w->tell(w->context, &e);
            remove_known(w, k);
        }
    }
}

static void free_watch(watch *w)
{
    size_t cursor = 0;
    for (known *k; (k = id_table_next(&w->known, &cursor, NULL));)
        for (known *next; k; k = next) {
            next = k->next;
            base_free(k);
        }
    id_table_fini(&w->known);
    w->tell(w->context, NULL);
    base_free(w);
}

static bool is_of(const watch *w, uint32_t table, manta_bytes prefix)
{
    return w->table == table && w->prefix_bytes == prefix.size && has_prefix(prefix, w->prefix, w->prefix_bytes);
}

MANTA_METHOD_DEFINE(MantaWatcher, init, void)
{
    if (!(self->w = base_calloc(1, sizeof *self->w))) manta_fail(MANTA_ENOMEM, "no memory for a watcher");
}

MANTA_METHOD_DEFINE(
    MantaWatcher, changed, void, (uint32_t, table), (uint64_t, revision), (bool, is_gone), (manta_bytes, key), (manta_bytes, value))
{
    gcs_event e = {revision, table, is_gone, key, value};
    for (watch *w = self->w->first; w; w = w->next)
        if (w->table == table && has_prefix(key, w->prefix, w->prefix_bytes)) take_change(w, &e);
}

MANTA_METHOD_DEFINE(MantaWatcher, listed, void, (uint32_t, table), (manta_bytes, prefix), (uint64_t, revision))
{
    for (watch *w = self->w->first; w; w = w->next)
        if (is_of(w, table, prefix)) tell_missing(w, revision);
}

/* ---- being attached to a server ---- */

static manta_status ask(struct watches *all, const watch *w)
{
    manta_bytes prefix = {w->prefix, w->prefix_bytes};
    manta_void_future f = MantaGcs_watch(MantaGcs_ref_of(all->server), w->table, prefix, manta_self());
    manta_status status = manta_get_value(f.future, NULL, 0, ASK_MS);
    if (status == MANTA_ETIMEDOUT) (void)manta_future_release(f.future);
    return status;
}

static void lose_server(struct watches *all)
{
    all->server.id = 0;
    if (all->is_attaching || !all->first) return;
    all->is_attaching = true;
    (void)MantaWatcher_attach_after(ATTACH_AGAIN_MS, MantaWatcher_ref_of(manta_self()));
}

static bool find_server(struct watches *all)
{
    if (all->server.id) return true;
    manta_actor found = gcs_some_server();
    if (!found.id || all->server.id) return all->server.id != 0;
    all->server = found;
    return manta_monitor(found, MantaWatcher_on_down, NULL) == MANTA_OK;
}

MANTA_METHOD_DEFINE(MantaWatcher, attach, void)
{
    struct watches *all = self->w;
    all->is_attaching = false;
    if (!find_server(all)) {
        lose_server(all);
        return;
    }
    for (watch *w = all->first; w; w = w->next)
        if (ask(all, w)) {
            lose_server(all);
            return;
        }
}

MANTA_METHOD_DEFINE(MantaWatcher, dropped, void) { lose_server(self->w); }

/* ---- those who wait for a lock ---- */

static bool has_waiters(const struct watches *all)
{
    for (const watch *w = all->first; w; w = w->next)
        if (w->table == GCS_TABLE_LOCK) return true;
    return false;
}

static void begin_to_probe(struct watches *all)
{
    if (all->is_probing || !has_waiters(all)) return;
    all->is_probing = true;
    (void)MantaWatcher_probe_after(PROBE_MS, MantaWatcher_ref_of(manta_self()));
}

/* Its link would tell that the server is gone after 2 s, when there has long been another leader, and a lock's next holder may be waiting for an event of it. */
MANTA_METHOD_DEFINE(MantaWatcher, probe, void)
{
    struct watches *all = self->w;
    all->is_probing = false;
    if (has_waiters(all) && all->server.id && !gcs_is_there(all->server, PROBE_MS)) lose_server(all);
    begin_to_probe(all);
}

static void end_watch(struct watches *all, watch **at)
{
    watch *w = *at;
    manta_bytes prefix = {w->prefix, w->prefix_bytes};
    bool shared = false;
    *at = w->next;
    all->count--;
    for (watch *other = all->first; other; other = other->next) shared = shared || is_of(other, w->table, prefix);
    if (all->server.id && !shared) (void)MantaGcs_unwatch_send(MantaGcs_ref_of(all->server), w->table, prefix, manta_self());
    free_watch(w);
}

MANTA_METHOD_DEFINE(MantaWatcher, on_down, void, (manta_actor, who), (int32_t, status), (manta_str, why))
{
    (void)status, (void)why;
    struct watches *all = self->w;
    if (who.id == all->server.id) lose_server(all);
    for (watch **at = &all->first; *at;)
        if ((*at)->owner.id == who.id) end_watch(all, at);
        else at = &(*at)->next;
}

static watch *new_watch(struct watches *all, uint32_t table, manta_bytes prefix)
{
    if (all->count == WATCHES) return manta_fail(MANTA_ELIMIT, "at most %d watches in a process", WATCHES), NULL;
    watch *w = base_alloc(sizeof *w + prefix.size);
    if (!w) return manta_fail(MANTA_ENOMEM, "no memory for a watch"), NULL;
    *w = (watch){.next = all->first, .table = table, .prefix_bytes = prefix.size};
    if (prefix.size) memcpy(w->prefix, prefix.data, prefix.size);
    all->first = w;
    all->count++;
    return w;
}

MANTA_METHOD_DEFINE(
    MantaWatcher, add, void, (uint32_t, table), (manta_bytes, prefix), (uint64_t, tell), (uint64_t, context), (manta_actor, owner))
{
    struct watches *all = self->w;
    gcs_watching teller = (gcs_watching)(uintptr_t)tell;
    watch *w = new_watch(all, table, prefix);
    if (!w) {
        teller((void *)(uintptr_t)context, NULL);
        return;
    }
    w->tell = teller;
    w->context = (void *)(uintptr_t)context;
    w->owner = owner;
    if (owner.id) (void)manta_monitor(owner, MantaWatcher_on_down, NULL);
    if (!find_server(all) || ask(all, w)) lose_server(all);
    begin_to_probe(all);
}

/* Those of the owner; or, with a context, the one that has it. */
MANTA_METHOD_DEFINE(MantaWatcher, remove, void, (uint32_t, table), (manta_bytes, prefix), (manta_actor, owner), (uint64_t, context))
{
    bool found = false;
    for (watch **at = &self->w->first; *at;) {
        bool is_it = is_of(*at, table, prefix) && (context ? (uintptr_t)(*at)->context == context : (*at)->owner.id == owner.id);
        found = found || is_it;
        if (is_it) end_watch(self->w, at);
        else at = &(*at)->next;
    }
    if (!found && !context) manta_fail(MANTA_ENOTFOUND, "there is no such watch");
}

static void let_go(void *self)
{
    struct watches *all = ((MantaWatcher *)self)->w;
    for (watch *w; all && (w = all->first);) {
        all->first = w->next;
        free_watch(w);
    }
    base_free(all);
}

MANTA_CLASS_WITH(
    MantaWatcher, (.no_yield_in_send = true, .on_free = let_go), init, changed, listed, dropped, on_down, add, remove, attach, probe)

/* ---- for the rest of the library ---- */

static MantaWatcher_ref watcher(void)
{
    pthread_mutex_lock(&watcher_lock);
    if (!manta_is_alive(the_watcher.actor)) the_watcher = MantaWatcher_spawn_with(MANTA_OPTIONS(.where = MANTA_WHERE_HERE));
    MantaWatcher_ref w = the_watcher;
    pthread_mutex_unlock(&watcher_lock);
    return w;
}

manta_status gcs_watch_start(uint32_t table, const void *prefix, size_t prefix_bytes, gcs_watching tell, void *context, manta_actor owner)
{
    MantaWatcher_ref w = watcher();
    if (!w.actor.id) return tell(context, NULL), manta_last_error()->status;
    return manta_join(
        MantaWatcher_add(w, table, (manta_bytes){prefix, prefix_bytes}, (uint64_t)(uintptr_t)tell, (uint64_t)(uintptr_t)context, owner));
}

manta_status gcs_watch_stop(uint32_t table, const void *prefix, size_t prefix_bytes, manta_actor owner)
{
    return manta_join(MantaWatcher_remove(watcher(), table, (manta_bytes){prefix, prefix_bytes}, owner, 0));
}

void gcs_watch_abandon(uint32_t table, const void *prefix, size_t prefix_bytes, void *context)
{
    (void)MantaWatcher_remove_send(watcher(), table, (manta_bytes){prefix, prefix_bytes}, (manta_actor){0}, (uint64_t)(uintptr_t)context);
}

void gcs_watch_forget(void) { the_watcher = (MantaWatcher_ref){{0}}; }
