#include "actor/runtime/names.h"

#include <sched.h>
#include <string.h>

#include "actor/durable/alone.h"
#include "actor/node/named.h"
#include "actor/node/owner.h"

static pthread_mutex_t names_lock = PTHREAD_MUTEX_INITIALIZER;
static string_table names;

manta_status name_check(const char *what, const char *name)
{
    if (!name || !*name) return error_set(MANTA_EINVAL, "%s: the name is empty", what);
    size_t n = strnlen(name, NAME_LIMIT + 1);
    if (n > NAME_LIMIT) return error_set(MANTA_ETOOLONG, "%s: the name \"%.40s...\" has more than %d bytes", what, name, NAME_LIMIT);
    return MANTA_OK;
}

/* Ids have a generation above bit 32, so they are never NULL as pointers. */
static void *id_pointer(uint64_t id) { return (void *)(uintptr_t)id; }

typedef enum standing { ALIVE, UNBORN, DEAD } standing;

/* A name is claimed before its actor is published, with the generation that it will have. */
static standing standing_of(uint64_t id)
{
    actor *a = actor_slot(id);
    uint32_t ahead = a ? (uint32_t)(id >> 32) - load_acquire(&a->generation) : DEAD;
    return ahead < DEAD ? (standing)ahead : DEAD;
}

manta_status names_claim(const char *name, uint64_t id)
{
    manta_status status = name_check("register", name);
    if (status) return status;
    pthread_mutex_lock(&names_lock);
    uint64_t owner = (uintptr_t)string_table_get(&names, name);
    bool taken = owner && standing_of(owner) != DEAD, ok = taken || string_table_put(&names, name, id_pointer(id));
    pthread_mutex_unlock(&names_lock);
    if (taken) return error_set(MANTA_EEXIST, "register: the name \"%s\" belongs to actor %u", name, (uint32_t)owner);
    return ok ? MANTA_OK : error_set(MANTA_ENOMEM, "register: no memory for \"%s\"", name);
}

void names_release(const char *name, uint64_t id)
{
    pthread_mutex_lock(&names_lock);
    if ((uintptr_t)string_table_get(&names, name) == id) string_table_remove(&names, name);
    pthread_mutex_unlock(&names_lock);
}

bool names_find(uint64_t id, char out[NAME_LIMIT + 1])
{
    size_t cursor = 0;
    const char *name;
    void *owner;
    bool found = false;
    out[0] = 0;
    pthread_mutex_lock(&names_lock);
    while (!found && string_table_next(&names, &cursor, &name, &owner))
        if ((found = (uintptr_t)owner == id)) strcpy(out, name);
    pthread_mutex_unlock(&names_lock);
    return found;
}

void names_forget(uint64_t id)
{
    char name[NAME_LIMIT + 1];
    while (names_find(id, name)) names_release(name, id);
}

void names_stop(void)
{
    pthread_mutex_lock(&names_lock);
    string_table_fini(&names);
    string_table_init(&names);
    pthread_mutex_unlock(&names_lock);
}

/* The actor's flag makes its end look for the name, see relation_exit. */
manta_status manta_register(const char *name, manta_actor who)
{
    if (!actor_is(actor_slot(who.id), who.id)) return error_set(MANTA_EDEAD, "manta_register: %s", manta_status_text(MANTA_EDEAD));
    atomic_fetch_or_explicit(&actor_slot(who.id)->flags, ACTOR_NAMED, memory_order_relaxed);
    return names_claim(name, who.id);
}

manta_status manta_unregister(const char *name)
{
    manta_status status = name_check("manta_unregister", name);
    if (status) return status;
    pthread_mutex_lock(&names_lock);
    void *owner = string_table_remove(&names, name);
    pthread_mutex_unlock(&names_lock);
    return owner ? MANTA_OK : error_set(MANTA_ENOTFOUND, "manta_unregister: no actor is named \"%s\"", name);
}

static standing find(const char *name, uint64_t *out_id)
{
    pthread_mutex_lock(&names_lock);
    uint64_t id = (uintptr_t)string_table_get(&names, name);
    standing s = id ? standing_of(id) : DEAD;
    if (id && s == DEAD) string_table_remove(&names, name);
    pthread_mutex_unlock(&names_lock);
    *out_id = id;
    return s;
}

/* One that is being taken is waited for: between the claim and the publication nothing waits. */
manta_status names_get(const char *name, manta_actor *out)
{
    enum { LOOKS = 100000 };
    manta_status status = name_check("manta_lookup", name);
    standing s = DEAD;
    uint64_t id = 0;
    if (status) return status;
    for (int i = 0; i < LOOKS && (s = find(name, &id)) == UNBORN; i++) sched_yield();
    if (s != ALIVE) return error_set(MANTA_ENOTFOUND, "manta_lookup: no actor is named \"%s\"", name);
    out->id = id;
    return MANTA_OK;
}

manta_status manta_lookup(const char *name, manta_actor *out)
{
    manta_status status = names_get(name, out);
    return status == MANTA_ENOTFOUND && (load_relaxed(&owner_is_on) || load_relaxed(&alone_is_on)) ? named_lookup(name, out) : status;
}
