/*
 * A peer after Plasma: an arena in one mapped tmpfs file, with an allocator and a hash table of objects in the same file, and one robust mutex of all processes around both. No
 * database, and nothing that would survive a process killed inside the lock: the least that such a store can cost.
 */
#include <errno.h>
#include <pthread.h>

#include "tools/benchmarks/store/plasma_heap.h"
#include "tools/benchmarks/store/store_bench.h"

enum { BUCKETS = 2 * MAX_OBJECTS, NOBODY = 0 };

typedef struct entry {
    uint64_t id[2], offset, size;
    uint32_t next;         /* + 1, in its bucket or in the free list */
    _Atomic uint32_t pins; /* the maker's is one, until it seals */
    _Atomic uint32_t sealed;
    uint32_t unused;
    uint64_t room[2];
} entry;
_Static_assert(sizeof(entry) == 64, "an entry is a cache line");

typedef struct shared {
    pthread_mutex_t lock;
    uint32_t free_entries; /* + 1 */
    uint64_t made;
    plasma_heap heap;
    _Alignas(64) uint32_t buckets[BUCKETS]; /* entry + 1 */
    _Alignas(64) entry entries[MAX_OBJECTS];
} shared;

static shared *table;
static unsigned char *arena;
static uint64_t table_bytes, mapped_bytes;
static char path[PATH_BYTES];

/* ---- opening ---- */

static void init_lock(void)
{
    pthread_mutexattr_t a;
    pthread_mutexattr_init(&a);
    pthread_mutexattr_setpshared(&a, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&a, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(&table->lock, &a);
    pthread_mutexattr_destroy(&a);
}

static void init_table(void)
{
    memset(table, 0, table_bytes);
    init_lock();
    for (uint32_t i = 0; i < MAX_OBJECTS; i++) table->entries[i].next = i + 1 < MAX_OBJECTS ? i + 2 : 0;
    table->free_entries = 1;
    heap_init(&table->heap, arena, mapped_bytes - table_bytes);
}

static bool plasma_open(const settings *s, bool first)
{
    void *memory;
    path_in(s, "plasma", path);
    table_bytes = (sizeof(shared) + OS_HUGE_PAGE - 1) & ~(uint64_t)(OS_HUGE_PAGE - 1);
    mapped_bytes = table_bytes + s->memory;
    if (!map_file(path, mapped_bytes, false, &memory)) return false;
    table = memory;
    arena = (unsigned char *)memory + table_bytes;
    if (first) init_table();
    return true;
}

static void plasma_close(void) { os_file_unmap(table, mapped_bytes); }

/* ---- objects ---- */

static void lock(void)
{
    if (pthread_mutex_lock(&table->lock) == EOWNERDEAD) pthread_mutex_consistent(&table->lock);
}

static uint32_t *bucket_of(const uint64_t id[2]) { return &table->buckets[(id[0] ^ id[1]) % BUCKETS]; }

static uint32_t *find(const uint64_t id[2])
{
    uint32_t *link = bucket_of(id);
    while (*link && (table->entries[*link - 1].id[0] != id[0] || table->entries[*link - 1].id[1] != id[1]))
        link = &table->entries[*link - 1].next;
    return link;
}

/* Random-looking ids, as Plasma's are. */
static void new_id(uint64_t id[2])
{
    uint64_t state = ++table->made;
    id[0] = random_next(&state);
    id[1] = table->made;
}

static entry *insert(uint64_t size, uint64_t offset)
{
    uint32_t n = table->free_entries;
    entry *e = &table->entries[n - 1];
    table->free_entries = e->next;
    new_id(e->id);
    uint32_t *bucket = bucket_of(e->id);
    e->next = *bucket;
    *bucket = n;
    e->offset = offset;
    e->size = size;
    store_relaxed(&e->pins, 1);
    store_relaxed(&e->sealed, 0);
    return e;
}

static outcome plasma_create(uint64_t size, handle *out, void **data)
{
    lock();
    uint64_t offset = table->free_entries ? heap_alloc(&table->heap, arena, size) : 0;
    if (offset) {
        entry *e = insert(size, offset);
        *out = (handle){e->id[0], e->id[1]};
        *data = arena + offset;
    }
    pthread_mutex_unlock(&table->lock);
    return offset ? DONE : FULL;
}

static outcome plasma_seal(handle h)
{
    uint64_t id[2] = {h.a, h.b};
    lock();
    uint32_t n = *find(id);
    if (n) {
        store_release(&table->entries[n - 1].sealed, 1);
        (void)sub_seq(&table->entries[n - 1].pins, 1);
    }
    pthread_mutex_unlock(&table->lock);
    return n ? DONE : FAILED;
}

static outcome plasma_put(const void *data, uint64_t size, handle *out)
{
    void *to;
    outcome o = plasma_create(size, out, &to);
    if (o) return o;
    memcpy(to, data, size);
    return plasma_seal(*out);
}

/* A pinned entry stays where it is, so the pin is given back without the lock: the handle names the entry meanwhile. */
static outcome plasma_get(handle *h, const volatile unsigned char **data)
{
    uint64_t id[2] = {h->a, h->b};
    lock();
    uint32_t n = *find(id);
    if (n && load_acquire(&table->entries[n - 1].sealed)) {
        (void)add_seq(&table->entries[n - 1].pins, 1);
        *data = arena + table->entries[n - 1].offset;
        h->a = n - 1;
    }
    pthread_mutex_unlock(&table->lock);
    return n ? DONE : FAILED;
}

static void plasma_unget(handle *h) { (void)sub_seq(&table->entries[h->a].pins, 1); }

static outcome plasma_release(handle h)
{
    uint64_t id[2] = {h.a, h.b};
    lock();
    uint32_t *link = find(id), n = *link;
    entry *e = n ? &table->entries[n - 1] : NULL;
    bool gone = e && load_acquire(&e->pins) == NOBODY;
    if (gone) {
        *link = e->next;
        heap_free(&table->heap, arena, e->offset);
        e->next = table->free_entries;
        table->free_entries = n;
    }
    pthread_mutex_unlock(&table->lock);
    return gone ? DONE : FAILED;
}

static usage plasma_use(void) { return (usage){file_room(path), 0}; }

const target target_plasma = {
    .name = "plasma",
    .open = plasma_open,
    .close = plasma_close,
    .put = plasma_put,
    .create = plasma_create,
    .seal = plasma_seal,
    .get = plasma_get,
    .unget = plasma_unget,
    .release = plasma_release,
    .use = plasma_use,
};
