/*
 * Groups and topics. A topic's member also says which of its methods is called.
 *
 * Publishing copies the member list under the lock and sends outside of it. Order per publisher holds because one publisher's sends happen one after the other. What changes here is told to other processes
 * under the lock too, so that they hear of it in the same order.
 */
#include "actor/group/group.h"

#include <string.h>

#include "actor/node/groups.h"
#include "actor/runtime/internal.h"
#include "actor/runtime/names.h"

pthread_mutex_t groups_lock = PTHREAD_MUTEX_INITIALIZER;
string_table groups_tables[2];
uint32_t groups_remote_members;
static _Atomic uint32_t members_here;

enum { GROUP, TOPIC };

group *group_get(bool is_topic, const char *name)
{
    group *g = string_table_get(&groups_tables[is_topic], name);
    if (g) return g;
    if (!(g = base_calloc(1, sizeof *g))) return NULL;
    if (string_table_put(&groups_tables[is_topic], name, g)) return g;
    base_free(g);
    return NULL;
}

int group_index(const group *g, uint64_t process, uint64_t id)
{
    for (uint32_t i = 0; g && i < g->count; i++)
        if (g->members[i].id == id && g->members[i].process == process) return (int)i;
    return -1;
}

void group_remove_at(group *g, uint32_t i)
{
    if (g->members[i].process) groups_remote_members--;
    else atomic_fetch_sub_explicit(&members_here, 1, memory_order_relaxed);
    base_free(g->members[i].type);
    memmove(&g->members[i], &g->members[i + 1], (g->count - i - 1) * sizeof(member));
    g->count--;
}

bool group_add(group *g, member item)
{
    if (g->count == g->capacity) {
        uint32_t capacity = g->capacity ? g->capacity * 2 : 4;
        member *items = base_realloc(g->members, capacity * sizeof *items);
        if (!items) return false;
        g->members = items;
        g->capacity = capacity;
    }
    g->members[g->count++] = item;
    if (item.process) groups_remote_members++;
    else add_relaxed(&members_here, 1);
    return true;
}

place *group_place(group *g, uint64_t process, bool make)
{
    for (uint32_t i = 0; i < g->n_places; i++)
        if (g->places[i].process == process) return &g->places[i];
    if (!make) return NULL;
    if (g->n_places == g->room_places) {
        uint32_t room = g->room_places ? g->room_places * 2 : 4;
        place *items = base_realloc(g->places, room * sizeof *items);
        if (!items) return NULL;
        g->places = items;
        g->room_places = room;
    }
    g->places[g->n_places] = (place){.process = process};
    return &g->places[g->n_places++];
}

static void told(uint8_t kind, int table, const char *name, const member *m)
{
    size_t n = 0;
    const char *type = m->method ? method_only_argument(m->method, &n) : NULL;
    groups_tell(kind, table == TOPIC, name, type, n, m->id);
}

static manta_status refuse_remote(const char *what, uint64_t id)
{
    return is_remote(id) ? error_set(MANTA_EUNSUPPORTED, "%s: an actor of another process; only its own process may do that for it", what)
                         : MANTA_OK;
}

static manta_status join(int table, const char *what, const char *name, member item)
{
    manta_status status = name_check(what, name);
    if (!status) status = refuse_remote(what, item.id);
    if (status) return status;
    pthread_mutex_lock(&groups_lock);
    group *g = group_get(table, name);
    bool there = group_index(g, 0, item.id) >= 0, ok = g && !there && group_add(g, item);
    bool alive = actor_is(actor_slot(item.id), item.id); /* after joining: an exit that came before finds the entry or is seen here */
    if (ok && !alive) group_remove_at(g, (uint32_t)group_index(g, 0, item.id));
    else if (ok) told(WIRE_JOIN, table, name, &item);
    pthread_mutex_unlock(&groups_lock);
    if (there) return error_set(MANTA_EEXIST, "%s: actor %u is in \"%s\" already", what, (uint32_t)item.id, name);
    if (!alive) return error_set(MANTA_EDEAD, "%s: %s", what, manta_status_text(MANTA_EDEAD));
    return ok ? MANTA_OK : error_set(MANTA_ENOMEM, "%s: no memory", what);
}

static manta_status leave(int table, const char *what, const char *name, uint64_t id)
{
    manta_status status = name_check(what, name);
    if (!status) status = refuse_remote(what, id);
    if (status) return status;
    pthread_mutex_lock(&groups_lock);
    group *g = string_table_get(&groups_tables[table], name);
    int i = group_index(g, 0, id);
    if (i >= 0) {
        told(WIRE_LEAVE, table, name, &(member){.id = id});
        group_remove_at(g, (uint32_t)i);
    }
    pthread_mutex_unlock(&groups_lock);
    return i >= 0 ? MANTA_OK : error_set(MANTA_ENOTFOUND, "%s: actor %u is not in \"%s\"", what, (uint32_t)id, name);
}

static void forget_in(int table, uint64_t id)
{
    size_t cursor = 0;
    const char *name;
    void *value;
    while (string_table_next(&groups_tables[table], &cursor, &name, &value)) {
        int i = group_index(value, 0, id);
        if (i < 0) continue;
        told(WIRE_LEAVE, table, name, &(member){.id = id});
        group_remove_at(value, (uint32_t)i);
    }
}

void groups_forget(uint64_t id)
{
    if (!load_relaxed(&members_here)) return;
    pthread_mutex_lock(&groups_lock);
    forget_in(GROUP, id);
    forget_in(TOPIC, id);
    pthread_mutex_unlock(&groups_lock);
}

void group_free(group *g)
{
    while (g->count) group_remove_at(g, g->count - 1);
    base_free(g->members);
    base_free(g->places);
    base_free(g);
}

static void table_clear(string_table *table)
{
    size_t cursor = 0;
    const char *name;
    void *value;
    pthread_mutex_lock(&groups_lock);
    while (string_table_next(table, &cursor, &name, &value)) group_free(value);
    string_table_fini(table);
    string_table_init(table);
    pthread_mutex_unlock(&groups_lock);
}

void groups_stop(void) { table_clear(&groups_tables[GROUP]); }

void topics_stop(void) { table_clear(&groups_tables[TOPIC]); }

manta_status manta_group_join(const char *name, manta_actor who) { return join(GROUP, "manta_group_join", name, (member){.id = who.id}); }

manta_status manta_group_leave(const char *name, manta_actor who) { return leave(GROUP, "manta_group_leave", name, who.id); }

manta_status manta_group_members(const char *name, manta_actor *out, size_t capacity, size_t *out_count)
{
    manta_status status = name_check("manta_group_members", name);
    if (status) return status;
    groups_ask(false, name);
    pthread_mutex_lock(&groups_lock);
    const group *g = string_table_get(&groups_tables[GROUP], name);
    for (size_t i = 0; g && i < g->count && i < capacity; i++)
        out[i].id = g->members[i].process ? proxy_of(g->members[i].process, g->members[i].id) : g->members[i].id;
    *out_count = g ? g->count : 0;
    pthread_mutex_unlock(&groups_lock);
    return MANTA_OK;
}

/* ---- topics ---- */

const char *method_only_argument(const manta_method *method, size_t *out_bytes)
{
    const char *open = strchr(method->signature, '(');
    if (!open) return NULL;
    const char *comma = strchr(++open, ','), *space = strchr(open, ' ');
    if (!comma || !space || space > comma || strcmp(comma, ",)") != 0) return NULL;
    *out_bytes = (size_t)(space - open);
    return open;
}

static bool takes(const manta_method *method, const char *type)
{
    size_t n = 0;
    const char *own = method_only_argument(method, &n);
    return own && n == strlen(type) && memcmp(own, type, n) == 0;
}

static activation *in_actor(void)
{
    activation *act = activation_self();
    return act && act->actor && act->actor->cls ? act : NULL;
}

manta_status manta_subscribe_method(const char *topic, const manta_method *method)
{
    activation *act = in_actor();
    if (!act) return error_set(MANTA_ECONTEXT, "manta_subscribe: only a method of an actor may call it");
    size_t n;
    if (method->cls != act->actor->cls || !method_only_argument(method, &n))
        return error_set(MANTA_ETYPE, "manta_subscribe: %s.%s must be a method of %s with one argument", method->owner, method->name,
            act->actor->cls->name);
    return join(TOPIC, "manta_subscribe", topic, (member){.id = actor_id(act->actor), .method = method});
}

manta_status manta_unsubscribe(const char *topic)
{
    activation *act = in_actor();
    if (!act) return error_set(MANTA_ECONTEXT, "manta_unsubscribe: only a method of an actor may call it");
    return leave(TOPIC, "manta_unsubscribe", topic, actor_id(act->actor));
}

/* A copy of those who take the type, in heap memory: subscribers here, and each process that has some, once, with their number as its id. False: out of memory. */
static bool audience(const char *topic, const char *type, member **out, size_t *out_count)
{
    size_t n = 0;
    pthread_mutex_lock(&groups_lock);
    const group *g = string_table_get(&groups_tables[TOPIC], topic);
    *out = g && g->count ? base_alloc(g->count * sizeof(member)) : NULL;
    for (uint32_t i = 0; *out && i < g->count; i++) {
        member *m = &g->members[i], *known = *out;
        if (m->process ? strcmp(m->type, type) != 0 : !takes(m->method, type)) continue;
        while (m->process && known < *out + n && known->process != m->process) known++;
        if (m->process && known < *out + n) known->id++;
        else (*out)[n++] = m->process ? (member){.process = m->process, .id = 1} : *m;
    }
    bool ok = *out || !g || !g->count;
    pthread_mutex_unlock(&groups_lock);
    *out_count = n;
    return ok;
}

manta_status manta_publish_value(const char *topic, const char *type_name, const void *value, size_t size_bytes, size_t extra_bytes,
    void (*pack)(manta_writer *, const void *), size_t *out_count)
{
    manta_status status = name_check("manta_publish", topic);
    member *members;
    size_t count, sent = 0;
    if (status) return status;
    groups_ask(true, topic);
    if (!audience(topic, type_name, &members, &count)) return error_set(MANTA_ENOMEM, "manta_publish: no memory for the subscribers");
    for (size_t i = 0; i < count; i++) {
        const member *m = &members[i];
        if (!m->process && m->method->arguments.size == size_bytes)
            sent += manta_send_method((manta_actor){m->id}, m->method, value, extra_bytes) == MANTA_OK;
        else if (m->process && pack) sent += groups_publish(m->process, topic, type_name, value, pack) ? m->id : 0;
        else if (m->process) status = MANTA_EUNSUPPORTED;
    }
    base_free(members);
    if (out_count) *out_count = sent;
    return status ? error_set(status, "manta_publish: objects cannot be published to other processes") : MANTA_OK;
}
