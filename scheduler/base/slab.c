#include "scheduler/base/slab.h"

#include "scheduler/base/alloc.h"
#include "scheduler/os/os.h"

enum { SLAB_LEAST_RECORDS = 1 << 16 };

bool slab_init(slab *s, const char *name, size_t record_bytes, size_t link, uint64_t capacity, void (*prepare)(void *))
{
    if (s->base) return true;
    while (capacity >= SLAB_LEAST_RECORDS && !(s->base = os_map(capacity * record_bytes, OS_MAP_HUGE | OS_MAP_NORESERVE))) capacity /= 2;
    if (!s->base) return false;
    s->name = name;
    s->record_bytes = record_bytes;
    s->link = link;
    s->capacity = capacity;
    s->prepare = prepare;
    store_relaxed(&s->limit, capacity);
    pthread_mutex_init(&s->lock, NULL);
    return true;
}

/* Full magazines form a list through the second link word of their first record. */
static void depot_push(slab *s, void *magazine)
{
    pthread_mutex_lock(&s->lock);
    slab_link(magazine, s->link)[1] = s->depot;
    s->depot = magazine;
    add_relaxed(&s->depot_size, 1);
    pthread_mutex_unlock(&s->lock);
}

static void *depot_pop(slab *s)
{
    if (load_relaxed(&s->depot_size) == 0) return NULL;
    pthread_mutex_lock(&s->lock);
    void *magazine = s->depot;
    if (magazine) {
        s->depot = slab_link(magazine, s->link)[1];
        atomic_fetch_sub_explicit(&s->depot_size, 1, memory_order_relaxed);
    }
    pthread_mutex_unlock(&s->lock);
    return magazine;
}

static void partial_push(slab *s, void *list)
{
    pthread_mutex_lock(&s->lock);
    while (list) {
        void *next = *slab_link(list, s->link);
        *slab_link(list, s->link) = s->partial;
        s->partial = list;
        add_relaxed(&s->partial_size, 1);
        list = next;
    }
    pthread_mutex_unlock(&s->lock);
}

/* Up to a magazine of single records. */
static void *partial_pop(slab *s, uint32_t *out_count)
{
    void *list = NULL;
    uint32_t n = 0;
    if (load_relaxed(&s->partial_size) == 0) return NULL;
    pthread_mutex_lock(&s->lock);
    for (; s->partial && n < SLAB_MAGAZINE; n++) {
        void *record = s->partial;
        s->partial = *slab_link(record, s->link);
        *slab_link(record, s->link) = list;
        list = record;
    }
    atomic_fetch_sub_explicit(&s->partial_size, n, memory_order_relaxed);
    pthread_mutex_unlock(&s->lock);
    *out_count = n;
    return list;
}

static void *fresh_magazine(slab *s, uint32_t *out_count)
{
    uint64_t first = add_relaxed(&s->used, SLAB_MAGAZINE), limit = load_relaxed(&s->limit);
    if (first >= limit) {
        atomic_fetch_sub_explicit(&s->used, SLAB_MAGAZINE, memory_order_relaxed);
        return NULL;
    }
    uint32_t n = limit - first < SLAB_MAGAZINE ? (uint32_t)(limit - first) : SLAB_MAGAZINE;
    void *list = NULL;
    for (uint32_t i = n; i-- > 0;) {
        void *record = slab_at(s, first + i);
        if (s->prepare) s->prepare(record);
        *slab_link(record, s->link) = list;
        list = record;
    }
    *out_count = n;
    return list;
}

noinline void *slab_refill(slab *s, slab_cache *c)
{
    if ((c->active = c->previous)) {
        c->count = SLAB_MAGAZINE;
        c->previous = NULL;
        return c->active;
    }
    c->count = 0;
    if (base_alloc_should_fail()) return NULL;
    if ((c->active = depot_pop(s))) c->count = SLAB_MAGAZINE;
    else if (!(c->active = partial_pop(s, &c->count))) c->active = fresh_magazine(s, &c->count);
    return c->active;
}

noinline void slab_spill(slab *s, slab_cache *c)
{
    if (c->previous) depot_push(s, c->previous);
    c->previous = c->active;
    c->active = NULL;
    c->count = 0;
}

void slab_cache_flush(slab *s, slab_cache *c)
{
    if (!s->base) return;
    if (c->previous) depot_push(s, c->previous);
    c->previous = NULL;
    if (c->active) partial_push(s, c->active);
    c->active = NULL;
    c->count = 0;
}
