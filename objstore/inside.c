/*
 * References inside objects: behind an object's bytes (from a multiple of 8 on) stand their number and their ids. Each named object's `inside` counts its containers.
 *
 * All counts change under one robust lock, together with the container's flag COUNTED; so when a process dies in between, counting again what is flagged gives the truth.
 */
#include <string.h>

#include "objstore/internal.h"

uint64_t trailer_bytes(uint64_t size_bytes, uint64_t n_refs)
{
    return n_refs ? (8 - size_bytes % 8) % 8 + 8 + n_refs * sizeof(store_id) : 0;
}

static uint64_t at_refs(const slot *x) { return load_relaxed(&((slot *)x)->offset) + ((x->size_bytes + 7) & ~(uint64_t)7); }

static uint64_t count_of(const store *s, const slot *x)
{
    uint64_t n;
    if (!(flags_of(x) & SLOT_REFS) || load_relaxed(&((slot *)x)->offset) == NO_OFFSET) return 0;
    memcpy(&n, s->readable + at_refs(x), 8);
    return n < STORE_REFS_LIMIT ? n : 0;
}

static store_id ref_of(const store *s, const slot *x, uint64_t i)
{
    store_id id;
    memcpy(&id, s->readable + at_refs(x) + 8 + i * sizeof id, sizeof id);
    return id;
}

uint64_t slot_room(const store *s, const slot *x) { return x->size_bytes + trailer_bytes(x->size_bytes, count_of(s, x)); }

void inside_announce(store *s, slot *x, uint32_t n_refs)
{
    uint64_t n = n_refs;
    memcpy(s->writable + at_refs(x), &n, 8);
    memset(s->writable + at_refs(x) + 8, 0, n * sizeof(store_id));
    flags_set(x, SLOT_REFS);
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
    for (; done < n && slot_of(s, refs[done]); done++)
        memcpy(s->writable + at_refs(x) + 8 + done * sizeof *refs, &refs[done], sizeof *refs);
    if (done < n) return store_fail_(MANTA_ESTALE, "ref %llu inside the object is gone or never was", (unsigned long long)done);
    lock(s);
    for (uint64_t i = 0; i < n; i++) add_seq(&slot_of(s, refs[i])->inside, 1);
    flags_set(x, SLOT_COUNTED);
    pthread_mutex_unlock(&s->control->inside);
    return MANTA_OK;
}

void inside_drop(store *s, slot *x)
{
    uint64_t n = count_of(s, x);
    lock(s);
    if (flags_of(x) & SLOT_COUNTED)
        for (uint64_t i = 0; i < n; i++) {
            slot *other = slot_of(s, ref_of(s, x, i));
            if (other) sub_seq(&other->inside, 1);
        }
    flags_clear(x, SLOT_COUNTED);
    pthread_mutex_unlock(&s->control->inside);
    for (uint64_t i = 0; i < n; i++) {
        store_id id = ref_of(s, x, i);
        slot *other = slot_of(s, id);
        if (other && !load_seq(&other->inside) && !load_seq(&other->holders)) (void)slot_free_if_unheld(s, other, id.word[1]);
    }
}

/* Under the lock. */
void inside_recount(store *s)
{
    uint64_t high = load_seq(&s->control->slots_high);
    for (uint64_t i = 0; i < high; i++) store_seq(&s->slots[i].inside, 0);
    for (uint64_t i = 0; i < high; i++) {
        slot *x = &s->slots[i];
        uint64_t n = load_seq(&x->sequence) && flags_of(x) & SLOT_COUNTED ? count_of(s, x) : 0;
        for (uint64_t k = 0; k < n; k++) {
            slot *other = slot_of(s, ref_of(s, x, k));
            if (other) add_seq(&other->inside, 1);
        }
    }
}
