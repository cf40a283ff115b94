/*
 * Counters, summed over the threads when somebody asks; and the last dead letters.
 *
 * Each thread counts in its own `local` without locked instructions. The table of locals and the sums of those that are gone are under one lock, which no
 * hot path takes.
 */
#include <stdlib.h>

#include "actor/inspect/inspect.h"

enum { DEAD_LETTERS = 64 };

typedef struct sums {
    uint64_t spawned, exited, dead_letters, failures, dropped;
} sums;

static struct {
    pthread_mutex_t lock;
    local **items;
    size_t count, capacity;
    sums gone;
    uint64_t handled[METHOD_LIMIT], failed[METHOD_LIMIT]; /* of those that are gone */
} table = {.lock = PTHREAD_MUTEX_INITIALIZER};

static struct {
    pthread_mutex_t lock;
    manta_dead_letter items[DEAD_LETTERS];
    uint64_t count; /* ever noted; the last is at (count - 1) % DEAD_LETTERS */
} letters = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* ---- the table ---- */

bool counters_add(local *l)
{
    pthread_mutex_lock(&table.lock);
    bool ok = true;
    if (table.count == table.capacity) {
        size_t capacity = table.capacity ? table.capacity * 2 : 16;
        local **items = base_realloc(table.items, capacity * sizeof(local *));
        if ((ok = items != NULL)) {
            table.items = items;
            table.capacity = capacity;
        }
    }
    if (ok) table.items[table.count++] = l;
    pthread_mutex_unlock(&table.lock);
    return ok;
}

static void sums_add(sums *s, local *l)
{
    s->spawned += load_relaxed(&l->spawned);
    s->exited += load_relaxed(&l->exited);
    s->dead_letters += load_relaxed(&l->dead_letters);
    s->failures += load_relaxed(&l->failures);
    s->dropped += load_relaxed(&l->dropped);
}

void counters_keep(local *l)
{
    pthread_mutex_lock(&table.lock);
    for (size_t i = 0; i < table.count; i++)
        if (table.items[i] == l) table.items[i--] = table.items[--table.count];
    sums_add(&table.gone, l);
    for (int i = 0; i < METHOD_LIMIT; i++) {
        table.handled[i] += load_relaxed(&l->handled[i]);
        table.failed[i] += load_relaxed(&l->failed[i]);
    }
    pthread_mutex_unlock(&table.lock);
}

void counters_reset(void)
{
    pthread_mutex_lock(&table.lock);
    table.gone = (sums){0};
    for (int i = 0; i < METHOD_LIMIT; i++) table.handled[i] = table.failed[i] = 0;
    if (table.count == 0) {
        base_free(table.items);
        table.items = NULL;
        table.capacity = 0;
    }
    pthread_mutex_unlock(&table.lock);
    pthread_mutex_lock(&letters.lock);
    letters.count = 0;
    pthread_mutex_unlock(&letters.lock);
}

/* ---- the system ---- */

static sums sums_now(void)
{
    pthread_mutex_lock(&table.lock);
    sums s = table.gone;
    for (size_t i = 0; i < table.count; i++) sums_add(&s, table.items[i]);
    pthread_mutex_unlock(&table.lock);
    return s;
}

static uint64_t slab_records_out(slab *s)
{
    uint64_t used = load_relaxed(&s->used), pooled = (uint64_t)load_relaxed(&s->depot_size) * SLAB_MAGAZINE;
    return used > pooled ? used - pooled : 0;
}

manta_status manta_read_stats(manta_stats *out)
{
    if (!out) return error_set(MANTA_EINVAL, "manta_read_stats: out is NULL");
    if (!load_seq(&the_runtime.running)) return error_set(MANTA_ESHUTDOWN, "manta_read_stats: no system runs");
    sums s = sums_now();
    size_t fibers, pooled;
    fiber_count(&fibers, &pooled);
    *out = (manta_stats){.actors_alive = s.spawned > s.exited ? s.spawned - s.exited : 0,
        .actors_spawned = s.spawned,
        .actors_exited = s.exited,
        .messages_handled = pool_sum(offsetof(worker, messages)),
        .dead_letters = s.dead_letters,
        .failures = s.failures,
        .dropped = s.dropped,
        .steals = pool_sum(offsetof(worker, steals)),
        .parks = pool_sum(offsetof(worker, parks)),
        .wakes = pool_sum(offsetof(worker, wakes)),
        .suspensions = pool_sum(offsetof(worker, switches)),
        .fibers = fibers,
        .messages_allocated = slab_records_out(&message_slab),
        .futures_allocated = slab_records_out(&future_slab),
        .workers = (uint32_t)the_pool.workers};
    return MANTA_OK;
}

/* ---- methods ---- */

static int by_id(const void *a, const void *b)
{
    uint32_t x = (*(const manta_method *const *)a)->id, y = (*(const manta_method *const *)b)->id;
    return (x > y) - (x < y);
}

/* All registered methods and tasks in order of registration; returns how many there are. Under registry_lock. */
static size_t collect_methods(const manta_method **out, size_t capacity)
{
    size_t n = 0;
    for (manta_class *c = class_list; c; c = c->next)
        for (uint32_t i = 0; i < c->n_methods; i++, n++)
            if (n < capacity) out[n] = c->methods[i];
    for (manta_method *t = task_list; t; t = t->next, n++)
        if (n < capacity) out[n] = t;
    qsort(out, n < capacity ? n : capacity, sizeof(const manta_method *), by_id);
    return n;
}

static manta_method_stats method_now(const manta_method *m)
{
    manta_method_stats s = {m->owner, m->name, table.handled[m->id], table.failed[m->id]};
    for (size_t i = 0; i < table.count; i++) {
        s.handled += load_relaxed(&table.items[i]->handled[m->id]);
        s.failed += load_relaxed(&table.items[i]->failed[m->id]);
    }
    return s;
}

manta_status manta_method_counters(manta_method_stats *out, size_t capacity, size_t *out_count)
{
    if (!out_count || (!out && capacity)) return error_set(MANTA_EINVAL, "manta_method_counters: out or out_count is NULL");
    const manta_method **methods = base_alloc(METHOD_LIMIT * sizeof(const manta_method *));
    if (!methods) return error_set(MANTA_ENOMEM, "manta_method_counters: no memory");
    pthread_mutex_lock(&registry_lock);
    size_t n = collect_methods(methods, METHOD_LIMIT);
    pthread_mutex_unlock(&registry_lock);
    pthread_mutex_lock(&table.lock);
    for (size_t i = 0; i < n && i < capacity; i++) out[i] = method_now(methods[i]);
    pthread_mutex_unlock(&table.lock);
    base_free(methods);
    *out_count = n;
    return MANTA_OK;
}

/* ---- dead letters ---- */

void dead_letter_note(uint64_t to, uint64_t from, const manta_method *method)
{
    pthread_mutex_lock(&letters.lock);
    letters.items[letters.count++ % DEAD_LETTERS] =
        (manta_dead_letter){{to}, {from}, method ? method->owner : "", method ? method->name : ""};
    pthread_mutex_unlock(&letters.lock);
}

manta_status manta_dead_letters(manta_dead_letter *out, size_t capacity, size_t *out_count)
{
    if (!out_count || (!out && capacity)) return error_set(MANTA_EINVAL, "manta_dead_letters: out or out_count is NULL");
    pthread_mutex_lock(&letters.lock);
    uint64_t kept = letters.count < DEAD_LETTERS ? letters.count : DEAD_LETTERS;
    for (uint64_t i = 0; i < kept && i < capacity; i++) out[i] = letters.items[(letters.count - kept + i) % DEAD_LETTERS];
    pthread_mutex_unlock(&letters.lock);
    *out_count = (size_t)kept;
    return MANTA_OK;
}
