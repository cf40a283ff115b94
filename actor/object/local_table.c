/*
 * Objects of one process: a sharded hash table in memory. An id is {salt of this start, sequence}; the shard is the sequence's low bits.
 *
 * A view costs a lookup and no copy; a pin is one more count. A byte quota (object_bytes, default 4 GiB) bounds the table.
 */
#include <stdlib.h>
#include <string.h>

#include "actor/object/object_ops.h"

enum { SHARDS = 64, BUCKETS_FIRST = 16, SUBSCRIBERS_LIMIT = 1 << 20 };
#define QUOTA_DEFAULT (4ull << 30)

typedef enum object_state { OBJECT_PENDING, OBJECT_FILLING, OBJECT_READY, OBJECT_FAILED } object_state;

typedef struct object {
    struct object *next;
    uint64_t sequence;
    object_state state;
    uint32_t counts, explicit_counts;
    size_t size;
    unsigned char *bytes;
    manta_error *error;
    manta_ref *inside; /* what it names: a count of each */
    uint32_t n_inside;
    future **subscribers;
    uint32_t n_subscribers, subscriber_capacity;
} object;

typedef struct shard {
    _Alignas(CACHE_LINE) pthread_mutex_t lock;
    object **buckets;
    size_t capacity, count;
} shard;

static struct {
    uint64_t salt, quota;
    _Atomic uint64_t sequence, bytes;
    shard shards[SHARDS];
} table;

static shard *shard_of(manta_ref ref) { return &table.shards[ref.id[1] % SHARDS]; }
static size_t bucket_of(const shard *s, uint64_t sequence) { return (sequence / SHARDS) & (s->capacity - 1); }

static manta_status table_count(worker *w, manta_ref ref, int by, bool is_explicit);

static manta_status table_start(const manta_config *config)
{
    table.quota = config->object_bytes ? config->object_bytes : QUOTA_DEFAULT;
    table.salt = os_random_u64() | 1;
    for (int i = 0; i < SHARDS; i++) {
        pthread_mutex_init(&table.shards[i].lock, NULL);
        table.shards[i].capacity = BUCKETS_FIRST;
        table.shards[i].count = 0;
        if (!(table.shards[i].buckets = base_calloc(BUCKETS_FIRST, sizeof(object *)))) {
            while (i-- > 0) base_free(table.shards[i].buckets);
            return error_set(MANTA_ENOMEM, "no memory for the table of objects");
        }
    }
    return MANTA_OK;
}

static void object_free(object *o)
{
    atomic_fetch_sub_explicit(&table.bytes, o->size, memory_order_relaxed);
    base_free(o->bytes);
    base_free(o->inside);
    base_free(o->subscribers);
    error_free(o->error);
    base_free(o);
}

static void table_stop(void)
{
    for (int i = 0; i < SHARDS; i++) {
        shard *s = &table.shards[i];
        for (size_t b = 0; b < s->capacity; b++)
            for (object *o = s->buckets[b], *next; o; o = next) {
                next = o->next;
                object_free(o);
            }
        base_free(s->buckets);
        s->buckets = NULL;
        s->capacity = s->count = 0;
        pthread_mutex_destroy(&s->lock);
    }
    table.salt = 0;
}

/* Under the shard's lock. */
static object *find(shard *s, manta_ref ref)
{
    if (ref.id[0] != table.salt || !s->capacity) return NULL;
    object *o = s->buckets[bucket_of(s, ref.id[1])];
    while (o && o->sequence != ref.id[1]) o = o->next;
    return o;
}

static void grow(shard *s)
{
    size_t capacity = s->capacity * 2, old = s->capacity;
    object **buckets = base_calloc(capacity, sizeof *buckets), **before = s->buckets;
    if (!buckets) return; /* longer chains, still right */
    s->buckets = buckets;
    s->capacity = capacity;
    for (size_t b = 0; b < old; b++)
        for (object *o = before[b], *next; o; o = next) {
            next = o->next;
            size_t i = bucket_of(s, o->sequence);
            o->next = buckets[i];
            buckets[i] = o;
        }
    base_free(before);
}

static void insert(shard *s, object *o)
{
    if (s->count >= s->capacity) grow(s);
    size_t i = bucket_of(s, o->sequence);
    o->next = s->buckets[i];
    s->buckets[i] = o;
    s->count++;
}

static void unlink_object(shard *s, object *o)
{
    object **link = &s->buckets[bucket_of(s, o->sequence)];
    while (*link != o) link = &(*link)->next;
    *link = o->next;
    s->count--;
}

static bool take_quota(size_t size_bytes)
{
    uint64_t taken = load_relaxed(&table.bytes);
    do
        if (taken > table.quota || size_bytes > table.quota - taken) return false;
    while (!atomic_compare_exchange_weak_explicit(&table.bytes, &taken, taken + size_bytes, memory_order_relaxed, memory_order_relaxed));
    return true;
}

static manta_status take_room(object *o, size_t size_bytes)
{
    if (!take_quota(size_bytes)) return MANTA_ESTOREFULL;
    if (!(o->bytes = base_aligned_alloc(CACHE_LINE, (size_bytes + CACHE_LINE) & ~(size_t)(CACHE_LINE - 1)))) {
        atomic_fetch_sub_explicit(&table.bytes, size_bytes, memory_order_relaxed);
        return MANTA_ENOMEM;
    }
    o->size = size_bytes;
    return MANTA_OK;
}

static manta_status fill(object *o, const void *data, size_t size_bytes, object_refs inside)
{
    manta_ref *refs = inside.count ? base_alloc(inside.count * sizeof *refs) : NULL;
    manta_status status = inside.count && !refs ? MANTA_ENOMEM : take_room(o, size_bytes);
    if (status) {
        base_free(refs);
        return status;
    }
    if (inside.count) memcpy(refs, inside.items, inside.count * sizeof *refs);
    if (size_bytes) memcpy(o->bytes, data, size_bytes);
    o->inside = refs;
    o->n_inside = inside.count;
    o->state = OBJECT_READY;
    return MANTA_OK;
}

/* Every object that the new one names gets a count; none does when one of them is gone. */
static manta_status count_inside(worker *w, object_refs inside)
{
    for (uint32_t i = 0; i < inside.count; i++) {
        if (table_count(w, inside.items[i], 1, false) == MANTA_OK) continue;
        while (i-- > 0) (void)table_count(w, inside.items[i], -1, false);
        return MANTA_ESTALE;
    }
    return MANTA_OK;
}

static void drop_inside(worker *w, object_refs inside)
{
    for (uint32_t i = 0; i < inside.count; i++) (void)table_count(w, inside.items[i], -1, false);
}

static manta_status cannot_put(manta_status status, size_t size_bytes)
{
    if (status == MANTA_ESTALE) return error_set(status, "manta_put: a ref inside of the object is gone or never was");
    if (status != MANTA_ESTOREFULL) return error_set(status, "manta_put: no memory for %zu bytes", size_bytes);
    return error_set(status, "manta_put: no room for %zu bytes: objects hold %llu of %llu bytes (object_bytes)", size_bytes,
        (unsigned long long)load_relaxed(&table.bytes), (unsigned long long)table.quota);
}

static manta_ref publish(object *o)
{
    o->counts = 1;
    o->sequence = add_relaxed(&table.sequence, 1) + 1;
    manta_ref ref = {{table.salt, o->sequence}};
    shard *s = shard_of(ref);
    pthread_mutex_lock(&s->lock);
    insert(s, o);
    pthread_mutex_unlock(&s->lock);
    return ref;
}

static manta_status table_put(const void *data, size_t size_bytes, object_refs inside, manta_ref *out)
{
    worker *w = worker_self();
    object *o = base_calloc(1, sizeof *o);
    manta_status status = o ? count_inside(w, inside) : MANTA_ENOMEM;
    if (!status && (status = fill(o, data, size_bytes, inside))) drop_inside(w, inside);
    if (status) {
        base_free(o);
        return cannot_put(status, size_bytes);
    }
    *out = publish(o);
    return MANTA_OK;
}

static manta_status table_promise(manta_ref *out)
{
    object *o = base_calloc(1, sizeof *o);
    if (!o) return error_set(MANTA_ENOMEM, "no memory for an object");
    *out = publish(o);
    return MANTA_OK;
}

static manta_status table_create(size_t size_bytes, manta_ref *out, void **out_data)
{
    object *o = base_calloc(1, sizeof *o);
    manta_status status = o ? take_room(o, size_bytes) : MANTA_ENOMEM;
    if (status) {
        base_free(o);
        return cannot_put(status, size_bytes);
    }
    o->state = OBJECT_FILLING;
    *out_data = o->bytes;
    *out = publish(o);
    return MANTA_OK;
}

static void wake_subscribers(worker *w, object *o)
{
    for (uint32_t i = 0; i < o->n_subscribers; i++) future_complete(w, o->subscribers[i], NULL, NULL, 0);
    o->n_subscribers = 0;
}

static manta_status table_seal(worker *w, manta_ref ref)
{
    shard *s = shard_of(ref);
    pthread_mutex_lock(&s->lock);
    object *o = find(s, ref);
    bool ok = o && o->state == OBJECT_FILLING;
    if (ok) {
        o->state = OBJECT_READY;
        wake_subscribers(w, o);
    }
    pthread_mutex_unlock(&s->lock);
    return ok ? MANTA_OK : MANTA_ESTALE;
}

static manta_status table_abort(worker *w, manta_ref ref)
{
    shard *s = shard_of(ref);
    pthread_mutex_lock(&s->lock);
    object *o = find(s, ref);
    bool ok = o && o->state == OBJECT_FILLING;
    pthread_mutex_unlock(&s->lock);
    return ok ? table_count(w, ref, -1, false) : MANTA_ESTALE;
}

static manta_status table_complete(worker *w, manta_ref ref, const void *data, size_t size_bytes, object_refs inside, manta_error *error)
{
    bool counted_error = error != NULL;
    if (!error && (counted_error = count_inside(w, inside) != MANTA_OK))
        error = error_new(MANTA_ESTALE, NULL, "a ref inside of the result is gone");
    shard *s = shard_of(ref);
    pthread_mutex_lock(&s->lock);
    object *o = find(s, ref);
    manta_status status = o && o->state == OBJECT_PENDING ? MANTA_OK : MANTA_ESTALE;
    if (status) error_free(error);
    else {
        manta_status filled = error ? MANTA_OK : fill(o, data, size_bytes, inside);
        if (filled) error = error_new(filled, NULL, "no room for a result of %zu bytes", size_bytes);
        if (error) {
            o->error = error;
            o->state = OBJECT_FAILED;
        }
        wake_subscribers(w, o);
    }
    bool failed = o && o->state == OBJECT_FAILED;
    pthread_mutex_unlock(&s->lock);
    if (!counted_error && (status || failed)) drop_inside(w, inside);
    return status;
}

static manta_status table_view(manta_ref ref, manta_object *out, manta_error **out_error)
{
    shard *s = shard_of(ref);
    pthread_mutex_lock(&s->lock);
    object *o = find(s, ref);
    manta_status status = !o                          ? MANTA_ESTALE
                          : o->state < OBJECT_READY   ? MANTA_ENOTREADY
                          : o->state == OBJECT_FAILED ? MANTA_EFAILED
                                                      : MANTA_OK;
    if (status == MANTA_OK && out) {
        *out = (manta_object){o->bytes, o->size, ref};
        o->counts++; /* the pin */
    }
    if (status == MANTA_EFAILED && out_error) *out_error = error_copy(o->error);
    pthread_mutex_unlock(&s->lock);
    return status;
}

static bool subscriber_add(object *o, future *f)
{
    if (o->n_subscribers == o->subscriber_capacity) {
        uint32_t capacity = o->subscriber_capacity ? o->subscriber_capacity * 2 : 2;
        future **items = capacity <= SUBSCRIBERS_LIMIT ? base_realloc(o->subscribers, capacity * sizeof *items) : NULL;
        if (!items) return false;
        o->subscribers = items;
        o->subscriber_capacity = capacity;
    }
    o->subscribers[o->n_subscribers++] = f;
    return true;
}

static manta_status table_subscribe(worker *w, manta_ref ref, future *f)
{
    shard *s = shard_of(ref);
    pthread_mutex_lock(&s->lock);
    object *o = find(s, ref);
    manta_status status = MANTA_OK;
    if (!o) status = MANTA_ESTALE;
    else if (o->state >= OBJECT_READY) future_complete(w, f, NULL, NULL, 0);
    else if (!subscriber_add(o, f)) status = MANTA_ENOMEM;
    pthread_mutex_unlock(&s->lock);
    return status;
}

static bool table_unsubscribe(manta_ref ref, future *f)
{
    shard *s = shard_of(ref);
    bool found = false;
    pthread_mutex_lock(&s->lock);
    object *o = find(s, ref);
    for (uint32_t i = 0; o && i < o->n_subscribers && !found; i++)
        if ((found = o->subscribers[i] == f)) o->subscribers[i] = o->subscribers[--o->n_subscribers];
    pthread_mutex_unlock(&s->lock);
    return found;
}

static manta_status table_count(worker *w, manta_ref ref, int by, bool is_explicit)
{
    shard *s = shard_of(ref);
    pthread_mutex_lock(&s->lock);
    object *o = find(s, ref);
    bool ok = o && !(by < 0 && is_explicit && o->explicit_counts == 0), last = false;
    if (ok) {
        o->counts += (uint32_t)by;
        if (is_explicit) o->explicit_counts += (uint32_t)by;
        if ((last = o->counts == 0)) {
            unlink_object(s, o);
            wake_subscribers(w, o);
        }
    }
    pthread_mutex_unlock(&s->lock);
    if (last) {
        drop_inside(w, (object_refs){o->inside, o->n_inside});
        object_free(o);
    }
    return ok ? MANTA_OK : MANTA_ESTALE;
}

static void table_usage(size_t *out_objects, uint64_t *out_bytes)
{
    size_t n = 0;
    for (int i = 0; i < SHARDS; i++) {
        pthread_mutex_lock(&table.shards[i].lock);
        n += table.shards[i].count;
        pthread_mutex_unlock(&table.shards[i].lock);
    }
    *out_objects = n;
    *out_bytes = load_relaxed(&table.bytes);
}

/* ---- objects that come from elsewhere ---- */

static manta_status table_prepare(manta_ref ref, size_t size_bytes, uint32_t n_inside, bool may_wait, void **out_data)
{
    shard *s = shard_of(ref);
    (void)n_inside, (void)may_wait;
    pthread_mutex_lock(&s->lock);
    object *o = find(s, ref);
    manta_status status = o && o->state == OBJECT_PENDING ? take_room(o, size_bytes) : MANTA_ESTALE;
    if (!status) {
        o->state = OBJECT_FILLING;
        *out_data = o->bytes;
    }
    pthread_mutex_unlock(&s->lock);
    return status ? cannot_put(status, size_bytes) : MANTA_OK;
}

static manta_status table_finish(worker *w, manta_ref ref, object_refs inside)
{
    manta_ref *refs = inside.count ? base_alloc(inside.count * sizeof *refs) : NULL;
    manta_status status = inside.count && !refs ? MANTA_ENOMEM : count_inside(w, inside);
    if (status) {
        base_free(refs);
        return cannot_put(status, inside.count * sizeof *refs);
    }
    if (inside.count) memcpy(refs, inside.items, inside.count * sizeof *refs);
    shard *s = shard_of(ref);
    pthread_mutex_lock(&s->lock);
    object *o = find(s, ref);
    o->inside = refs;
    o->n_inside = inside.count;
    o->state = OBJECT_READY;
    wake_subscribers(w, o);
    pthread_mutex_unlock(&s->lock);
    return MANTA_OK;
}

static void table_unprepare(manta_ref ref)
{
    shard *s = shard_of(ref);
    pthread_mutex_lock(&s->lock);
    object *o = find(s, ref);
    atomic_fetch_sub_explicit(&table.bytes, o->size, memory_order_relaxed);
    base_free(o->bytes);
    o->bytes = NULL;
    o->size = 0;
    o->state = OBJECT_PENDING;
    pthread_mutex_unlock(&s->lock);
}

static bool table_pin_filling(manta_ref ref) { return table_count(NULL, ref, 1, false) == MANTA_OK; }

static bool table_is_last(manta_ref ref)
{
    shard *s = shard_of(ref);
    pthread_mutex_lock(&s->lock);
    const object *o = find(s, ref);
    bool last = o && o->counts == 1;
    pthread_mutex_unlock(&s->lock);
    return last;
}

static bool table_knows(manta_ref ref) { return ref.id[0] == table.salt; }

static uint32_t table_inside(manta_ref ref, manta_ref *out, uint32_t capacity)
{
    shard *s = shard_of(ref);
    pthread_mutex_lock(&s->lock);
    const object *o = find(s, ref);
    uint32_t n = o ? o->n_inside : 0;
    if (n && capacity) memcpy(out, o->inside, (n < capacity ? n : capacity) * sizeof *out);
    pthread_mutex_unlock(&s->lock);
    return n;
}

static void table_quiet(void) {}
static void table_unpin(worker *w, manta_ref ref) { (void)table_count(w, ref, -1, false); }
static bool table_may_wait(manta_ref ref) { return (void)ref, false; }

const object_ops object_local_table = {"local table", table_start, table_quiet, table_stop, table_put, table_promise, table_create,
    table_seal, table_abort, table_complete, table_view, table_unpin, table_may_wait, table_subscribe, table_unsubscribe, table_count,
    table_usage, table_prepare, table_finish, table_unprepare, table_pin_filling, table_is_last, table_knows, table_inside, NULL, NULL};
