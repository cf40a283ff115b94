/*
 * References inside objects: behind an object's bytes (from a multiple of 8 on) stand their number, a checksum and their ids, and on disk likewise. Each named object's `inside`
 * counts its containers.
 *
 * All counts change under one robust lock, together with the container's flag COUNTED; so when a process dies in between, counting again what is flagged gives the truth.
 */
#include <string.h>
#include <unistd.h>

#include "objstore/internal.h"
#include "scheduler/base/crc32c.h"

uint64_t trailer_bytes(uint64_t size_bytes, uint64_t n_refs)
{
    return n_refs ? (8 - size_bytes % 8) % 8 + 8 + n_refs * sizeof(store_id) : 0;
}

static uint64_t at_refs(const slot *x) { return load_relaxed(&((slot *)x)->offset) + ((x->size_bytes + 7) & ~(uint64_t)7); }

enum { RECOUNT_TRIES = 100, RECOUNT_PAUSE_US = 100 };
typedef struct head {    /* of the trailer */
    uint32_t count, crc; /* crc32c of the ids; 0 until they are final */
} head;

static uint64_t count_of(const store *s, const slot *x)
{
    head h;
    if (!(flags_of(x) & SLOT_REFS) || load_relaxed(&((slot *)x)->offset) == NO_OFFSET) return 0;
    memcpy(&h, s->readable + at_refs(x), sizeof h);
    return h.count < STORE_REFS_LIMIT ? h.count : 0;
}

uint64_t slot_room(const store *s, const slot *x) { return x->size_bytes + trailer_bytes(x->size_bytes, count_of(s, x)); }

store_id inside_first(const store *s, const slot *x)
{
    store_id id;
    memcpy(&id, s->readable + at_refs(x) + sizeof(head), sizeof id);
    return id;
}

void inside_announce(store *s, slot *x, uint32_t n_refs)
{
    head h = {n_refs, 0};
    memcpy(s->writable + at_refs(x), &h, sizeof h);
    flags_set(x, SLOT_REFS);
}

/* The final refs of an object, where they are: behind its bytes, or read from disk into `memory`, which the caller frees. None when they cannot be read. */
typedef struct ref_list {
    const store_id *ids;
    uint64_t count;
    void *memory;
} ref_list;

static ref_list refs_at(const void *trailer, uint64_t bytes, void *memory)
{
    head h;
    memcpy(&h, trailer, sizeof h);
    const store_id *ids = (const void *)((const unsigned char *)trailer + sizeof h);
    if (h.count > STORE_REFS_LIMIT || bytes < sizeof h + h.count * sizeof *ids || crc32c(0, ids, h.count * sizeof *ids) != h.crc)
        return (ref_list){NULL, 0, memory};
    return (ref_list){ids, h.count, memory};
}

static ref_list refs_on_disk(store *s, slot *x)
{
    uint64_t padding = (8 - x->size_bytes % 8) % 8, bytes = 0;
    unsigned char *memory = spill_read_trailer(s, load_relaxed(&x->sequence), &bytes);
    if (!memory || bytes < padding + sizeof(head)) return (ref_list){NULL, 0, memory};
    memmove(memory, memory + padding, bytes - padding); /* aligned */
    return refs_at(memory, bytes - padding, memory);
}

static ref_list refs_of(store *s, slot *x)
{
    uint64_t offset = load_seq(&x->offset), at = at_refs(x);
    if (!(flags_of(x) & SLOT_REFS)) return (ref_list){NULL, 0, NULL};
    if (offset == NO_OFFSET) return refs_on_disk(s, x);
    return at < s->control->capacity ? refs_at(s->readable + at, s->control->capacity - at, NULL) : (ref_list){NULL, 0, NULL};
}

static void lock(store *s)
{
    if (mutex_lock_robust(&s->control->inside) == EOWNERDEAD) inside_recount(s);
}

/* The objects named inside count this one. The caller holds them, so they are there. */
manta_status inside_count(store *s, slot *x, const store_id *refs)
{
    uint64_t n = count_of(s, x), done = 0;
    if (n && !refs) return store_fail_(MANTA_EINVAL, "store_seal: %llu refs were announced and none given", (unsigned long long)n);
    while (done < n && slot_of(s, refs[done])) done++;
    if (done < n) return store_fail_(MANTA_ESTALE, "ref %llu inside the object is gone or never was", (unsigned long long)done);
    head h = {(uint32_t)n, crc32c(0, refs, n * sizeof *refs)};
    memcpy(s->writable + at_refs(x) + sizeof h, refs, n * sizeof *refs);
    memcpy(s->writable + at_refs(x), &h, sizeof h);
    lock(s);
    for (uint64_t i = 0; i < n; i++) add_seq(&slot_of(s, refs[i])->inside, 1);
    flags_set(x, SLOT_COUNTED);
    pthread_mutex_unlock(&s->control->inside);
    return MANTA_OK;
}

/* Both steps may be done again: by the reaper of a process that died in between. */
void inside_drop(store *s, slot *x)
{
    ref_list r = refs_of(s, x);
    lock(s);
    for (uint64_t i = 0; flags_of(x) & SLOT_COUNTED && i < r.count; i++) {
        slot *other = slot_of(s, r.ids[i]);
        if (other) sub_seq(&other->inside, 1);
    }
    flags_clear(x, SLOT_COUNTED);
    pthread_mutex_unlock(&s->control->inside);
    for (uint64_t i = 0; i < r.count; i++) {
        slot *other = slot_of(s, r.ids[i]);
        if (other && !load_seq(&other->inside) && !load_seq(&other->holders)) (void)slot_free_if_unheld(s, other, r.ids[i].word[1]);
    }
    base_free(r.memory);
}

/* Adds 1 to tally[slot] of each object that x names, or without a tally to its count. Somebody may be moving x: then its refs are found at the second look. */
static void count_again(store *s, slot *x, uint32_t *tally)
{
    ref_list r = {NULL, 0, NULL};
    for (int i = 0; i < RECOUNT_TRIES && load_seq(&x->sequence) && flags_of(x) & SLOT_COUNTED; i++) {
        r = refs_of(s, x);
        if (r.count) break;
        base_free(r.memory);
        r.memory = NULL;
        usleep(RECOUNT_PAUSE_US);
    }
    for (uint64_t k = 0; k < r.count; k++) {
        slot *other = slot_of(s, r.ids[k]);
        if (other && tally) tally[slot_index(s, other)]++;
        else if (other) add_seq(&other->inside, 1);
    }
    base_free(r.memory);
}

void inside_tally(store *s, uint32_t *tally)
{
    uint64_t high = load_seq(&s->control->slots_high);
    for (uint64_t i = 0; i < high; i++) count_again(s, &s->slots[i], tally);
}

/* Under the lock. */
void inside_recount(store *s)
{
    uint64_t high = load_seq(&s->control->slots_high);
    for (uint64_t i = 0; i < high; i++) store_seq(&s->slots[i].inside, 0);
    for (uint64_t i = 0; i < high; i++) count_again(s, &s->slots[i], NULL);
}

uint32_t store_inside(store *s, store_id id, store_id *out, uint32_t capacity)
{
    slot *x = slot_of(s, id);
    if (!x || load_seq(&x->offset) == NO_OFFSET || flags_of(x) & SLOT_ALIAS) return 0;
    ref_list r = refs_of(s, x);
    uint32_t n = (uint32_t)(r.count < capacity ? r.count : capacity);
    if (n) memcpy(out, r.ids, n * sizeof *out);
    base_free(r.memory);
    return (uint32_t)r.count;
}
