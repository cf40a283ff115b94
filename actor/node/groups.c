/*
 * Groups and topics over processes.
 *
 * Each process is the authority for its own actors: it tells every process that it is connected to, and that wants to know, who joins and leaves, and what it asks for. A process that hears of a name from two others introduces
 * them to each other; they connect, and tell each other. So processes that share names come to be connected directly, and values go from publisher to subscribers' processes in one hop, once, on one link: in order. All under
 * groups_lock, so what is told is in the order in which it happened.
 *
 * A partner that cannot be told because too much waits for it is behind: when there is room, it is told everything anew.
 */
#include "actor/node/groups.h"

#include <string.h>

#include "actor/group/group.h"

enum { TEXT_BYTES = 512, NAMES_LIMIT = 1 << 16, REMOTE_LIMIT = 1 << 20 };

typedef struct partner {
    peer *peer;
    bool is_behind;
} partner;

static id_table partners; /* by process; under groups_lock */
static _Atomic uint32_t n_partners;
static _Atomic bool is_off;

void groups_off(void) { store_seq(&is_off, true); }

void groups_start(void) { store_seq(&is_off, false); }

uint32_t groups_hello(void) { return load_seq(&is_off) ? 0 : HELLO_GROUPS; }

/* ---- telling ---- */

/* The payload: name, 0, and of a subscriber: type, 0. In the head's status: 1 for a topic. */
static size_t put_text(char *out, const char *name, const char *type, size_t type_bytes)
{
    size_t n = strlen(name) + 1;
    memcpy(out, name, n);
    if (!type || n + type_bytes >= TEXT_BYTES) return n;
    memcpy(out + n, type, type_bytes);
    out[n + type_bytes] = 0;
    return n + type_bytes + 1;
}

static void tell_one(partner *to, const wire_head *h, const char *text, size_t bytes)
{
    if (!to->is_behind && peer_send(to->peer, h, text, bytes, false) == MANTA_ELIMIT) to->is_behind = true;
}

void groups_tell(uint8_t kind, bool is_topic, const char *name, const char *type, size_t type_bytes, uint64_t id)
{
    char text[TEXT_BYTES];
    size_t cursor = 0;
    if (!load_relaxed(&n_partners)) return;
    size_t bytes = put_text(text, name, type, type_bytes);
    wire_head h = {.kind = kind, .status = is_topic, .from = id};
    for (partner *to; (to = id_table_next(&partners, &cursor, NULL));) tell_one(to, &h, text, bytes);
}

static void tell_group(partner *to, bool is_topic, const char *name, const group *g)
{
    char text[TEXT_BYTES];
    wire_head ask = {.kind = WIRE_ASK, .status = is_topic};
    if (g->is_asked) tell_one(to, &ask, text, put_text(text, name, NULL, 0));
    for (uint32_t i = 0; i < g->count; i++) {
        const member *m = &g->members[i];
        size_t n = 0;
        if (m->process) continue;
        const char *type = m->method ? method_only_argument(m->method, &n) : NULL;
        wire_head h = {.kind = WIRE_JOIN, .status = is_topic, .from = m->id};
        tell_one(to, &h, text, put_text(text, name, type, n));
    }
}

static void tell_all(partner *to)
{
    const char *name;
    void *g;
    for (int table = 0; table < 2; table++)
        for (size_t cursor = 0; string_table_next(&groups_tables[table], &cursor, &name, &g);) tell_group(to, table, name, g);
}

void groups_ask(bool is_topic, const char *name)
{
    if (!load_relaxed(&n_partners)) return;
    pthread_mutex_lock(&groups_lock);
    bool room = groups_tables[is_topic].count < NAMES_LIMIT;
    group *g = room ? group_get(is_topic, name) : string_table_get(&groups_tables[is_topic], name);
    if (g && !g->is_asked) {
        g->is_asked = true;
        groups_tell(WIRE_ASK, is_topic, name, NULL, 0, 0);
    }
    pthread_mutex_unlock(&groups_lock);
}

/* ---- partners coming and going ---- */

void groups_peer_hello(peer *p, uint32_t flags)
{
    if (!(flags & HELLO_GROUPS) || load_seq(&is_off)) return;
    pthread_mutex_lock(&groups_lock);
    partner *x = id_table_get(&partners, p->process);
    if (!x && (x = base_calloc(1, sizeof *x)) && !id_table_put(&partners, p->process, x)) {
        base_free(x);
        x = NULL;
    }
    if (x) {
        *x = (partner){p, false};
        store_relaxed(&n_partners, (uint32_t)partners.count);
        tell_all(x);
    }
    pthread_mutex_unlock(&groups_lock);
}

void groups_peer_room(peer *p)
{
    if (!load_relaxed(&n_partners)) return;
    pthread_mutex_lock(&groups_lock);
    partner *x = id_table_get(&partners, p->process);
    if (x && x->is_behind) {
        wire_head anew = {.kind = WIRE_LEAVE};
        x->is_behind = false;
        tell_one(x, &anew, "", 1);
        tell_all(x);
    }
    pthread_mutex_unlock(&groups_lock);
}

/* id 0: all of the process. */
static void forget(group *g, uint64_t process, uint64_t id)
{
    place *at = group_place(g, process, false);
    if (!at) return;
    for (uint32_t i = g->count; i-- > 0 && at->members;) {
        if (g->members[i].process != process || (id && g->members[i].id != id)) continue;
        group_remove_at(g, i);
        at->members--;
    }
}

/* Names that nobody uses any more. */
static void sweep(string_table *table)
{
    string_table kept;
    const char *name;
    void *value;
    string_table_init(&kept);
    for (size_t cursor = 0; string_table_next(table, &cursor, &name, &value);)
        if (!group_is_unused(value) && !string_table_put(&kept, name, value)) { /* no memory: another time */
            string_table_fini(&kept);
            return;
        }
    for (size_t cursor = 0; string_table_next(table, &cursor, &name, &value);)
        if (group_is_unused(value)) group_free(value);
    string_table_fini(table);
    *table = kept;
}

static void forget_all(uint64_t process, bool is_gone)
{
    const char *name;
    void *value;
    for (int table = 0; table < 2; table++) {
        for (size_t cursor = 0; string_table_next(&groups_tables[table], &cursor, &name, &value);) {
            group *g = value;
            forget(g, process, 0);
            place *at = is_gone ? group_place(g, process, false) : NULL;
            if (at) *at = g->places[--g->n_places];
        }
        if (is_gone) sweep(&groups_tables[table]);
    }
}

void groups_peer_down(uint64_t process)
{
    if (!load_relaxed(&n_partners)) return;
    pthread_mutex_lock(&groups_lock);
    partner *x = id_table_remove(&partners, process);
    if (x) forget_all(process, true);
    base_free(x);
    if (!partners.count) id_table_fini(&partners);
    store_relaxed(&n_partners, (uint32_t)partners.count);
    pthread_mutex_unlock(&groups_lock);
}

/* ---- what others tell ---- */

/* A newcomer to a name, and everybody else who is there: whoever of two can be reached is introduced to the other. */
static void bring_together(const group *g, const partner *newcomer)
{
    for (uint32_t i = 0; i < g->n_places; i++) {
        const partner *x = id_table_get(&partners, g->places[i].process);
        if (!x || x == newcomer) continue;
        if (x->peer->address[0]) peer_introduce(newcomer->peer, x->peer->process);
        else peer_introduce(x->peer, newcomer->peer->process);
    }
}

static place *place_of(group *g, const partner *from)
{
    place *at = group_place(g, from->peer->process, false);
    if (at || !(at = group_place(g, from->peer->process, true))) return at;
    bring_together(g, from);
    return at;
}

static const char *take_join(group *g, const partner *from, const wire_head *h, const char *type)
{
    place *at = place_of(g, from);
    if (!h->from) return "a member without an id";
    if (group_index(g, from->peer->process, h->from) >= 0) return NULL;
    if (groups_remote_members >= REMOTE_LIMIT) return "more members of groups and topics than the limit";
    member m = {.process = from->peer->process, .id = h->from, .type = h->status ? base_strdup(type) : NULL};
    if (!at || (h->status && !m.type) || !group_add(g, m)) {
        base_free(m.type);
        return "a member for whom there is no memory";
    }
    at->members++;
    return NULL;
}

static const char *take_told(const partner *from, const wire_head *h, const char *name, const char *type)
{
    if (h->kind == WIRE_LEAVE && !*name) {
        forget_all(from->peer->process, false);
        return NULL;
    }
    group *g = string_table_get(&groups_tables[h->status], name);
    if (!g && h->kind != WIRE_LEAVE && groups_tables[h->status].count < NAMES_LIMIT) g = group_get(h->status, name);
    if (!g) return h->kind == WIRE_LEAVE ? NULL : "more names of groups and topics than the limit";
    if (h->kind == WIRE_JOIN) return take_join(g, from, h, type);
    if (h->kind == WIRE_LEAVE && h->from) forget(g, from->peer->process, h->from);
    if (h->kind == WIRE_ASK) {
        place *at = place_of(g, from);
        if (at) at->asks = true;
    }
    return NULL;
}

/* Only one that is in this process twice over is posted twice. */
static void take_publication(worker *w, peer *p, const wire_head *h, const void *data, size_t bytes)
{
    manta_reader r;
    manta_str topic = {NULL, 0}, type = {NULL, 0};
    char name[NAME_LIMIT + 1] = "";
    size_t count = 0;
    manta_reader_init(&r, data, bytes);
    manta_unpack_manta_str(&r, &topic);
    manta_unpack_manta_str(&r, &type);
    if (r.status || topic.size > NAME_LIMIT) return;
    memcpy(name, topic.data, topic.size);
    pthread_mutex_lock(&groups_lock);
    const group *g = string_table_get(&groups_tables[1], name);
    member *all = g && g->count ? base_alloc(g->count * sizeof *all) : NULL;
    for (uint32_t i = 0; all && i < g->count; i++) {
        size_t n = 0;
        const char *own = g->members[i].method ? method_only_argument(g->members[i].method, &n) : NULL;
        if (own && n == type.size && memcmp(own, type.data, n) == 0) all[count++] = g->members[i];
    }
    pthread_mutex_unlock(&groups_lock);
    for (size_t i = 0; i < count; i++) inbound_post(w, p, h, all[i].id, all[i].method, r.at, manta_reader_left(&r));
    base_free(all);
}

const char *groups_take(worker *w, peer *p, const wire_head *h, const void *data, size_t bytes)
{
    const char *name = data, *type, *wrong = NULL;
    if (h->kind == WIRE_PUBLISH) {
        take_publication(w, p, h, data, bytes);
        return NULL;
    }
    if (!bytes || name[bytes - 1] || h->status > 1 || strlen(name) > NAME_LIMIT) return "a group without a name";
    type = strlen(name) + 1 < bytes ? name + strlen(name) + 1 : "";
    pthread_mutex_lock(&groups_lock);
    const partner *from = id_table_get(&partners, p->process);
    if (from) wrong = take_told(from, h, name, type);
    pthread_mutex_unlock(&groups_lock);
    return wrong;
}

/* ---- publishing ---- */

bool groups_publish(uint64_t process, const char *topic, const char *type, const void *value, void (*pack)(manta_writer *, const void *))
{
    peer *p = peer_get(process, false);
    manta_str topic_text = manta_str_of(topic), type_text = manta_str_of(type);
    manta_writer *out = p ? pack_begin(p) : NULL;
    activation *act = activation_self();
    manta_status status;
    if (!out) return false;
    manta_pack_manta_str(out, &topic_text);
    manta_pack_manta_str(out, &type_text);
    manta_pack_array(out, 1);
    pack(out, value);
    if (!pack_end(out, &status)) return false;
    wire_head h = {.kind = WIRE_PUBLISH, .from = act && act->actor ? actor_id(act->actor) : 0};
    return peer_send(p, &h, out->start, manta_writer_size(out), true) == MANTA_OK;
}
