/*
 * Methods by the hash of "Class.name signature": how two processes agree on which one is meant. Programs may load more classes later, so an unknown hash makes the table look again.
 */
#include <string.h>

#include "actor/node/node.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static id_table by_hash;
static _Atomic uint64_t hashes[METHOD_LIMIT];

static uint64_t mix(uint64_t h, const char *text) { return (h ^ hash_string(text)) * 0x9e3779b97f4a7c15u; }

uint64_t method_hash(const manta_method *method)
{
    uint64_t h = load_relaxed(&hashes[method->id]);
    if (likely(h != 0)) return h;
    h = mix(mix(mix(1, method->owner), method->name), method->signature) | 1;
    store_relaxed(&hashes[method->id], h);
    return h;
}

static bool add(manta_method *m) { return id_table_get(&by_hash, method_hash(m)) || id_table_put(&by_hash, method_hash(m), m); }

static bool read_registry(void)
{
    bool ok = true;
    pthread_mutex_lock(&registry_lock);
    for (manta_class *c = class_list; c; c = c->next)
        for (uint32_t i = 0; i < c->n_methods; i++) ok = add((manta_method *)(uintptr_t)c->methods[i]) && ok;
    for (manta_method *t = task_list; t; t = t->next) ok = add(t) && ok;
    pthread_mutex_unlock(&registry_lock);
    return ok;
}

bool methods_start(void)
{
    pthread_mutex_lock(&lock);
    bool ok = read_registry();
    pthread_mutex_unlock(&lock);
    return ok;
}

void methods_stop(void)
{
    pthread_mutex_lock(&lock);
    id_table_fini(&by_hash);
    memset((void *)hashes, 0, sizeof hashes);
    pthread_mutex_unlock(&lock);
}

const manta_method *method_find(uint64_t hash)
{
    static _Thread_local const manta_method *last;
    if (!hash) return NULL;
    if (last && method_hash(last) == hash) return last;
    pthread_mutex_lock(&lock);
    const manta_method *m = id_table_get(&by_hash, hash);
    if (!m && read_registry()) m = id_table_get(&by_hash, hash);
    pthread_mutex_unlock(&lock);
    return last = m;
}
