#include "scheduler/base/hash.h"

#include <string.h>

#include "scheduler/base/alloc.h"

enum { TABLE_MIN_CAPACITY = 8 };
#define FNV_OFFSET 0xcbf29ce484222325u
#define FNV_PRIME 0x100000001b3u

typedef struct string_entry {
    char *key; /* NULL: never used; removed_key: used once, probing goes on behind it */
    void *value;
    uint64_t hash;
} string_entry;

static char removed_key[1];

static inline bool entry_is_live(const string_entry *e) { return e->key && e->key != removed_key; }

uint64_t hash_bytes(const void *data, size_t size_bytes)
{
    uint64_t h = FNV_OFFSET;
    for (const unsigned char *p = data, *end = p + size_bytes; p < end; p++) h = (h ^ *p) * FNV_PRIME;
    return h;
}

uint64_t hash_string(const char *text)
{
    uint64_t h = FNV_OFFSET;
    for (; *text; text++) h = (h ^ (unsigned char)*text) * FNV_PRIME;
    return h;
}

void string_table_init(string_table *t) { *t = (string_table){0}; }

void string_table_fini(string_table *t)
{
    for (size_t i = 0; i < t->capacity; i++) {
        if (entry_is_live(&t->entries[i])) base_free(t->entries[i].key);
    }
    base_free(t->entries);
    string_table_init(t);
}

/* The entry of the key, or NULL. At least a quarter of the entries was never used, so the walk ends. */
static string_entry *table_find(const string_table *t, const char *key, uint64_t hash)
{
    if (!t->capacity) return NULL;
    for (size_t i = hash & (t->capacity - 1);; i = (i + 1) & (t->capacity - 1)) {
        string_entry *e = &t->entries[i];
        if (!e->key) return NULL;
        if (e->hash == hash && e->key != removed_key && strcmp(e->key, key) == 0) return e;
    }
}

/* The first entry on the key's way that holds nothing. */
static string_entry *table_free_entry(const string_table *t, uint64_t hash)
{
    size_t i = hash & (t->capacity - 1);
    while (entry_is_live(&t->entries[i])) i = (i + 1) & (t->capacity - 1);
    return &t->entries[i];
}

/* Makes sure that one more entry fits; drops the removed ones on the way. A table full of removed entries keeps its size. */
static bool table_reserve(string_table *t)
{
    if ((t->used + 1) * 4 <= t->capacity * 3) return true;
    size_t capacity = t->capacity ? t->capacity : TABLE_MIN_CAPACITY;
    if ((t->count + 1) * 2 > capacity) capacity *= 2;
    string_table grown = {.capacity = capacity, .count = t->count, .used = t->count};
    grown.entries = base_calloc(capacity, sizeof *grown.entries);
    if (!grown.entries) return false;
    for (size_t i = 0; i < t->capacity; i++) {
        if (entry_is_live(&t->entries[i])) *table_free_entry(&grown, t->entries[i].hash) = t->entries[i];
    }
    base_free(t->entries);
    *t = grown;
    return true;
}

void *string_table_get(const string_table *t, const char *key)
{
    string_entry *e = table_find(t, key, hash_string(key));
    return e ? e->value : NULL;
}

bool string_table_put(string_table *t, const char *key, void *value)
{
    uint64_t hash = hash_string(key);
    string_entry *e = table_find(t, key, hash);
    if (e) {
        e->value = value;
        return true;
    }
    char *copy = base_strdup(key);
    if (!copy || !table_reserve(t)) {
        base_free(copy);
        return false;
    }
    e = table_free_entry(t, hash);
    if (!e->key) t->used++;
    *e = (string_entry){copy, value, hash};
    t->count++;
    return true;
}

void *string_table_remove(string_table *t, const char *key)
{
    string_entry *e = table_find(t, key, hash_string(key));
    if (!e) return NULL;
    void *value = e->value;
    base_free(e->key);
    *e = (string_entry){.key = removed_key};
    t->count--;
    return value;
}

bool string_table_next(const string_table *t, size_t *cursor, const char **out_key, void **out_value)
{
    while (*cursor < t->capacity) {
        const string_entry *e = &t->entries[(*cursor)++];
        if (!entry_is_live(e)) continue;
        *out_key = e->key;
        *out_value = e->value;
        return true;
    }
    return false;
}
