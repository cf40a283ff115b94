#include "scheduler/base/id_table.h"

#include "scheduler/base/alloc.h"

enum { CAPACITY_MIN = 16 };

typedef struct id_entry {
    uint64_t id;
    void *value; /* NULL with an id: removed */
} id_entry;

/* Ids may count upwards or have their meaning in any of their bits. */
static size_t place(const id_table *t, uint64_t id)
{
    uint64_t x = id * 0x9e3779b97f4a7c15u;
    return (size_t)(x ^ x >> 32) & (t->capacity - 1);
}

static id_entry *find(const id_table *t, uint64_t id)
{
    if (!t->capacity) return NULL;
    for (size_t i = place(t, id);; i = (i + 1) & (t->capacity - 1)) {
        id_entry *e = &t->entries[i];
        if (e->id == id) return e;
        if (!e->id) return NULL;
    }
}

void id_table_fini(id_table *t)
{
    base_free(t->entries);
    *t = (id_table){0};
}

void *id_table_get(const id_table *t, uint64_t id)
{
    id_entry *e = find(t, id);
    return e ? e->value : NULL;
}

static void insert(id_table *t, uint64_t id, void *value)
{
    size_t i = place(t, id);
    while (t->entries[i].id) i = (i + 1) & (t->capacity - 1);
    t->entries[i] = (id_entry){id, value};
    t->count++;
    t->used++;
}

static bool rebuild(id_table *t)
{
    id_table bigger = {.capacity = CAPACITY_MIN};
    while (bigger.capacity < (t->count + 1) * 2) bigger.capacity *= 2;
    if (!(bigger.entries = base_calloc(bigger.capacity, sizeof *bigger.entries))) return false;
    for (size_t i = 0; i < t->capacity; i++)
        if (t->entries[i].value) insert(&bigger, t->entries[i].id, t->entries[i].value);
    base_free(t->entries);
    *t = bigger;
    return true;
}

bool id_table_put(id_table *t, uint64_t id, void *value)
{
    id_entry *e = find(t, id);
    if (e) {
        t->count += !e->value;
        e->value = value;
        return true;
    }
    if ((t->used + 1) * 4 > t->capacity * 3 && !rebuild(t)) return false;
    insert(t, id, value);
    return true;
}

void *id_table_remove(id_table *t, uint64_t id)
{
    id_entry *e = find(t, id);
    if (!e || !e->value) return NULL;
    void *value = e->value;
    e->value = NULL;
    t->count--;
    return value;
}

void *id_table_next(const id_table *t, size_t *cursor, uint64_t *out_id)
{
    while (*cursor < t->capacity) {
        const id_entry *e = &t->entries[(*cursor)++];
        if (!e->value) continue;
        if (out_id) *out_id = e->id;
        return e->value;
    }
    return NULL;
}
