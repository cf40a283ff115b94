/*
 * Slots: taking and giving them, and the first and last reference or pin of this process.
 *
 * Slots come in chunks; a process takes slots only from chunks that it owns, so taking needs no agreement. Anybody frees a slot: it counts chunk_freed up, and the owner looks
 * for it when its own stack is empty. A process's count of an object goes from 0 to 1 and back under a lock of this process (a shard), other changes are one atomic.
 */
#include <string.h>

#include "objstore/internal.h"

/* ---- slots ---- */

static void note_high(store *s, uint64_t slots)
{
    uint64_t high = load_relaxed(&s->control->slots_high);
    while (high < slots && !cas_seq(&s->control->slots_high, &high, slots)) continue;
}

/* The free slots of an own chunk go to the stack, marked so that nobody finds them again. */
static void gather(store *s, uint32_t chunk)
{
    store_seq(&s->chunk_freed[chunk], 0);
    for (uint32_t i = CHUNK_SLOTS; i-- > 0;) {
        slot *x = &s->slots[chunk * CHUNK_SLOTS + i];
        if (load_acquire(&x->state) != STORE_FREE) continue;
        store_relaxed(&x->state, STORE_CREATING | (s->me + 1) << SLOT_WORKER_SHIFT);
        s->free_slots[s->n_free_slots++] = chunk * CHUNK_SLOTS + i;
    }
}

static bool gather_own(store *s, uint32_t chunks)
{
    uint32_t used = (uint32_t)(load_relaxed(&s->control->slots_high) / CHUNK_SLOTS);
    for (uint32_t c = 0; c < used && c < chunks && !s->n_free_slots; c++)
        if (load_relaxed(&s->chunk_freed[c]) && load_relaxed(&s->chunk_owner[c]) == s->me + 1) gather(s, c);
    return s->n_free_slots > 0;
}

static manta_status claim(store *s, uint32_t chunk)
{
    uint8_t nobody = 0;
    bool fresh = (uint64_t)chunk * CHUNK_SLOTS >= load_seq(&s->control->slots_high);
    if (!fresh && !load_relaxed(&s->chunk_freed[chunk])) return MANTA_ENOTFOUND;
    if (!cas_seq(&s->chunk_owner[chunk], &nobody, (uint8_t)(s->me + 1))) return MANTA_ENOTFOUND;
    uint64_t offset = (uint64_t)((unsigned char *)&s->slots[chunk * CHUNK_SLOTS] - (unsigned char *)s->control);
    int error = fresh ? os_file_allocate(s->control_fd, offset, CHUNK_SLOTS * sizeof(slot)) : 0;
    if (error) {
        store_seq(&s->chunk_owner[chunk], 0);
        return store_fail_(MANTA_ESTOREFULL, "%s: no room on the tmpfs for more objects: %s", s->path, strerror(error));
    }
    note_high(s, ((uint64_t)chunk + 1) * CHUNK_SLOTS);
    gather(s, chunk);
    return MANTA_OK;
}

static manta_status refill(store *s)
{
    uint32_t chunks = s->control->max_objects / CHUNK_SLOTS;
    if (gather_own(s, chunks)) return MANTA_OK;
    for (uint32_t i = 0; i < chunks; i++) {
        uint32_t c = (s->chunk_next + i) % chunks;
        if (load_relaxed(&s->chunk_owner[c])) continue;
        manta_status status = claim(s, c);
        if (status == MANTA_ESTOREFULL) return status;
        if (s->n_free_slots) {
            s->chunk_next = c;
            return MANTA_OK;
        }
    }
    return store_fail_(MANTA_ELIMIT, "%s: %u objects are there already, or their slots are other processes' (max_objects)", s->path,
        s->control->max_objects);
}

manta_status slot_new(store *s, slot **out)
{
    pthread_mutex_lock(&s->slots_lock);
    manta_status status = s->n_free_slots ? MANTA_OK : refill(s);
    if (!status) *out = &s->slots[s->free_slots[--s->n_free_slots]];
    pthread_mutex_unlock(&s->slots_lock);
    return status;
}

void slot_give_back(store *s, slot *x)
{
    uint32_t chunk = slot_index(s, x) / CHUNK_SLOTS;
    store_release(&x->sequence, 0);
    store_relaxed(&x->pins, 0);
    store_relaxed(&x->holders, 0);
    store_relaxed(&x->flags, 0);
    store_relaxed(&x->inside, 0);
    store_relaxed(&x->offset, NO_OFFSET);
    x->file_id = 0;
    slot_set_state(s, x, STORE_FREE);
    add_seq(&s->chunk_freed[chunk], 1);
}

/* ---- counts of this process ---- */

static pthread_mutex_t *shard_of(store *s, const slot *x) { return &s->shards[slot_index(s, x) % 64]; }

void local_begin(store *s, slot *x, bool pinned)
{
    local_count *c = &s->local[slot_index(s, x)];
    pthread_mutex_lock(shard_of(s, x));
    store_relaxed(&c->refs, 1);
    store_relaxed(&c->pins, pinned);
    store_seq(&x->pins, pinned ? s->bit : 0);
    store_seq(&x->holders, s->bit);
    pthread_mutex_unlock(shard_of(s, x));
}

void local_end(store *s, slot *x)
{
    local_count *c = &s->local[slot_index(s, x)];
    pthread_mutex_lock(shard_of(s, x));
    store_relaxed(&c->refs, 0);
    store_relaxed(&c->pins, 0);
    pthread_mutex_unlock(shard_of(s, x));
}

/* Adds one unless the count is 0. */
static bool add_to_some(_Atomic uint32_t *count)
{
    uint32_t n = load_relaxed(count);
    while (n && !atomic_compare_exchange_weak_explicit(count, &n, n + 1, memory_order_acq_rel, memory_order_relaxed)) continue;
    return n != 0;
}

/* Takes one away unless that would leave 0. */
static bool take_from_more(_Atomic uint32_t *count)
{
    uint32_t n = load_relaxed(count);
    while (n > 1 && !atomic_compare_exchange_weak_explicit(count, &n, n - 1, memory_order_acq_rel, memory_order_relaxed)) continue;
    return n > 1;
}

/* Sets this process's bit unless the word is closed. */
static bool set_bit(store *s, _Atomic uint64_t *word, uint64_t closed)
{
    uint64_t before = atomic_fetch_or_explicit(word, s->bit, memory_order_seq_cst);
    if (!(before & closed)) return true;
    if (!(before & s->bit)) atomic_fetch_and_explicit(word, ~s->bit, memory_order_seq_cst);
    return false;
}

manta_status local_retain(store *s, slot *x, uint64_t sequence)
{
    _Atomic uint32_t *refs = &s->local[slot_index(s, x)].refs;
    if (add_to_some(refs)) return MANTA_OK;
    pthread_mutex_lock(shard_of(s, x));
    bool ok = add_to_some(refs);
    if (!ok && set_bit(s, &x->holders, HOLDERS_DYING)) {
        if ((ok = load_acquire(&x->sequence) == sequence)) store_release(refs, 1);
        else atomic_fetch_and_explicit(&x->holders, ~s->bit, memory_order_seq_cst);
    }
    pthread_mutex_unlock(shard_of(s, x));
    return ok ? MANTA_OK : MANTA_ESTALE;
}

manta_status local_release(store *s, slot *x, uint64_t sequence)
{
    _Atomic uint32_t *refs = &s->local[slot_index(s, x)].refs;
    if (take_from_more(refs)) return MANTA_OK;
    bool unheld = false;
    pthread_mutex_lock(shard_of(s, x));
    bool last = false, ok = take_from_more(refs) || (last = load_relaxed(refs) == 1);
    if (last) {
        store_release(&s->local[slot_index(s, x)].pins, 0); /* of an object that was never sealed */
        atomic_fetch_and_explicit(&x->pins, ~s->bit, memory_order_seq_cst);
        store_release(refs, 0);
        unheld = (atomic_fetch_and_explicit(&x->holders, ~s->bit, memory_order_seq_cst) & ~s->bit) == 0;
    }
    pthread_mutex_unlock(shard_of(s, x));
    if (!ok) return MANTA_ESTALE;
    return unheld ? slot_free_if_unheld(s, x, sequence) : MANTA_OK;
}

bool local_pin(store *s, slot *x)
{
    _Atomic uint32_t *pins = &s->local[slot_index(s, x)].pins;
    if (add_to_some(pins)) return true;
    pthread_mutex_lock(shard_of(s, x));
    bool ok = add_to_some(pins);
    if (!ok && (ok = set_bit(s, &x->pins, PINS_MOVING))) store_release(pins, 1);
    pthread_mutex_unlock(shard_of(s, x));
    return ok;
}

void local_unpin(store *s, slot *x)
{
    _Atomic uint32_t *pins = &s->local[slot_index(s, x)].pins;
    if (take_from_more(pins)) return;
    pthread_mutex_lock(shard_of(s, x));
    if (!take_from_more(pins) && load_relaxed(pins) == 1) {
        store_release(pins, 0);
        atomic_fetch_and_explicit(&x->pins, ~s->bit, memory_order_seq_cst);
    }
    pthread_mutex_unlock(shard_of(s, x));
    if (load_relaxed(&s->control->room_waiters)) room_freed(s);
}
