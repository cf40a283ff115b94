/*
 * Groups and topics: two tables of named member lists under one lock. A topic's member also says which of its methods is called.
 *
 * Publishing copies the member list under the lock and sends outside of it. Order per publisher holds because one publisher's sends happen one after the other.
 */
#include "actor/group/group.h"

#include <string.h>

#include "actor/runtime/internal.h"
#include "actor/runtime/names.h"

typedef struct member {
    uint64_t id;
    const manta_method *method;
} member;

typedef struct group {
    uint32_t count, capacity;
    member *members;
} group;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static string_table groups, topics;
static _Atomic uint32_t members_in_all;

static group *group_get(string_table *table, const char *name)
{
    group *g = string_table_get(table, name);
    if (g) return g;
    if (!(g = base_calloc(1, sizeof *g))) return NULL;
    if (string_table_put(table, name, g)) return g;
    base_free(g);
    return NULL;
}

static int member_index(const group *g, uint64_t id)
{
    for (uint32_t i = 0; g && i < g->count; i++)
        if (g->members[i].id == id) return (int)i;
    return -1;
}

static void member_remove(group *g, int i)
{
    memmove(&g->members[i], &g->members[i + 1], (g->count - (uint32_t)i - 1) * sizeof(member));
    g->count--;
    atomic_fetch_sub_explicit(&members_in_all, 1, memory_order_relaxed);
}

static bool member_add(group *g, member item)
{
    if (g->count == g->capacity) {
        uint32_t capacity = g->capacity ? g->capacity * 2 : 4;
        member *items = base_realloc(g->members, capacity * sizeof *items);
        if (!items) return false;
        g->members = items;
        g->capacity = capacity;
    }
    g->members[g->count++] = item;
    add_relaxed(&members_in_all, 1);
    return true;
}

static manta_status join(string_table *table, const char *what, const char *name, member item)
{
    manta_status status = name_check(what, name);
    if (status) return status;
    pthread_mutex_lock(&lock);
    group *g = group_get(table, name);
    bool there = member_index(g, item.id) >= 0, ok = g && !there && member_add(g, item);
    bool alive = actor_is(actor_slot(item.id), item.id); /* after joining: an exit that came before finds the entry or is seen here */
    if (ok && !alive) member_remove(g, member_index(g, item.id));
    pthread_mutex_unlock(&lock);
    if (there) return error_set(MANTA_EEXIST, "%s: actor %u is in \"%s\" already", what, (uint32_t)item.id, name);
    if (!alive) return error_set(MANTA_EDEAD, "%s: %s", what, manta_status_text(MANTA_EDEAD));
    return ok ? MANTA_OK : error_set(MANTA_ENOMEM, "%s: no memory", what);
}

static manta_status leave(string_table *table, const char *what, const char *name, uint64_t id)
{
    manta_status status = name_check(what, name);
    if (status) return status;
    pthread_mutex_lock(&lock);
    group *g = string_table_get(table, name);
    int i = member_index(g, id);
    if (i >= 0) member_remove(g, i);
    pthread_mutex_unlock(&lock);
    return i >= 0 ? MANTA_OK : error_set(MANTA_ENOTFOUND, "%s: actor %u is not in \"%s\"", what, (uint32_t)id, name);
}

static void forget_in(string_table *table, uint64_t id)
{
    size_t cursor = 0;
    const char *name;
    void *value;
    while (string_table_next(table, &cursor, &name, &value)) {
        int i = member_index(value, id);
        if (i >= 0) member_remove(value, i);
    }
}

void groups_forget(uint64_t id)
{
    if (!load_relaxed(&members_in_all)) return;
    pthread_mutex_lock(&lock);
    forget_in(&groups, id);
    forget_in(&topics, id);
    pthread_mutex_unlock(&lock);
}

static void table_clear(string_table *table)
{
    size_t cursor = 0;
    const char *name;
    void *value;
    pthread_mutex_lock(&lock);
    while (string_table_next(table, &cursor, &name, &value)) {
        atomic_fetch_sub_explicit(&members_in_all, ((group *)value)->count, memory_order_relaxed);
        base_free(((group *)value)->members);
        base_free(value);
    }
    string_table_fini(table);
    string_table_init(table);
    pthread_mutex_unlock(&lock);
}

void groups_stop(void) { table_clear(&groups); }

void topics_stop(void) { table_clear(&topics); }

manta_status manta_group_join(const char *name, manta_actor who) { return join(&groups, "manta_group_join", name, (member){who.id, NULL}); }

manta_status manta_group_leave(const char *name, manta_actor who) { return leave(&groups, "manta_group_leave", name, who.id); }

manta_status manta_group_members(const char *name, manta_actor *out, size_t capacity, size_t *out_count)
{
    manta_status status = name_check("manta_group_members", name);
    if (status) return status;
    pthread_mutex_lock(&lock);
    const group *g = string_table_get(&groups, name);
    for (size_t i = 0; g && i < g->count && i < capacity; i++) out[i].id = g->members[i].id;
    *out_count = g ? g->count : 0;
    pthread_mutex_unlock(&lock);
    return MANTA_OK;
}

/* ---- topics ---- */

/* The type of a method's only argument: "void(Price p,)" -> "Price". */
static bool only_argument_is(const manta_method *method, const char *type, size_t type_bytes)
{
    const char *open = strchr(method->signature, '(');
    if (!open) return false;
    const char *comma = strchr(++open, ','), *space = strchr(open, ' ');
    return comma && space && space < comma && strcmp(comma, ",)") == 0 &&
           (!type || ((size_t)(space - open) == type_bytes && memcmp(open, type, type_bytes) == 0));
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
    if (method->cls != act->actor->cls || !only_argument_is(method, NULL, 0))
        return error_set(MANTA_ETYPE, "manta_subscribe: %s.%s must be a method of %s with one argument", method->owner, method->name,
            act->actor->cls->name);
    return join(&topics, "manta_subscribe", topic, (member){actor_id(act->actor), method});
}

manta_status manta_unsubscribe(const char *topic)
{
    activation *act = in_actor();
    if (!act) return error_set(MANTA_ECONTEXT, "manta_unsubscribe: only a method of an actor may call it");
    return leave(&topics, "manta_unsubscribe", topic, actor_id(act->actor));
}

/* A copy of the members, in heap memory; false: out of memory. */
static bool members_copy(const char *topic, member **out, size_t *out_count)
{
    pthread_mutex_lock(&lock);
    const group *g = string_table_get(&topics, topic);
    *out_count = g ? g->count : 0;
    *out = *out_count ? base_alloc(*out_count * sizeof(member)) : NULL;
    if (*out) memcpy(*out, g->members, *out_count * sizeof(member));
    pthread_mutex_unlock(&lock);
    return *out || !*out_count;
}

manta_status manta_publish_value(
    const char *topic, const char *type_name, const void *value, size_t size_bytes, size_t extra_bytes, size_t *out_count)
{
    manta_status status = name_check("manta_publish", topic);
    member *members;
    size_t count, sent = 0;
    if (status) return status;
    if (!members_copy(topic, &members, &count)) return error_set(MANTA_ENOMEM, "manta_publish: no memory for %zu subscribers", count);
    for (size_t i = 0; i < count; i++) {
        const manta_method *method = members[i].method;
        if (method->arguments.size != size_bytes || !only_argument_is(method, type_name, strlen(type_name))) continue;
        sent += manta_send_method((manta_actor){members[i].id}, method, value, extra_bytes) == MANTA_OK;
    }
    base_free(members);
    if (out_count) *out_count = sent;
    return MANTA_OK;
}
