/*
 * What a process leaves behind when it dies, or closes the store: its references and pins go, what it was making is undone, what it was freeing is freed.
 *
 * The reaper holds the dead process's lock byte, so its row is not used again meanwhile; the row is cleared last. A reaper that dies is followed by another, which does all of
 * it again: every step looks first whether it was done.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>

#include "objstore/internal.h"

static pthread_mutex_t reap_lock = PTHREAD_MUTEX_INITIALIZER; /* locks of bytes do not part threads of one process */

int mutex_lock_robust(pthread_mutex_t *m)
{
    int error = pthread_mutex_lock(m);
    if (error == EOWNERDEAD) pthread_mutex_consistent(m);
    return error;
}

/* ---- extents that only an intent names ---- */

static bool is_claimed(store *s, uint64_t offset, const extent *e)
{
    if (e->kind == EXTENT_SLAB) {
        const slab *b = &s->slabs[offset / SLAB_GRANULE];
        return (load_seq(&((slab *)b)->state) & 0xff) != SLAB_NONE && b->first == offset / SLAB_GRANULE;
    }
    slot *x = e->slot < s->control->max_objects ? &s->slots[e->slot] : NULL;
    return x && load_seq(&x->sequence) == e->sequence && load_seq(&x->offset) == offset;
}

static bool is_intended(store *s, uint64_t offset, uint32_t but)
{
    for (uint32_t i = 0; i < STORE_PROCESSES; i++)
        for (int k = 0; i != but && load_seq(&process_of(s, i)->intents_busy) && k < INTENTS; k++)
            if (load_seq(&process_of(s, i)->intents[k].offset) == offset + 1) return true;
    return false;
}

static void end_intents(store *s, uint32_t index)
{
    process *p = process_of(s, index);
    for (int k = 0; k < INTENTS; k++) {
        uint64_t named = load_seq(&p->intents[k].offset);
        extent e;
        if (!named) continue;
        if (extent_find(s, named - 1, &e) == MANTA_OK && e.sequence == p->intents[k].sequence && !is_claimed(s, named - 1, &e) &&
            !is_intended(s, named - 1, index))
            (void)extent_release(s, named - 1, e.sequence);
        store_seq(&p->intents[k].offset, 0);
    }
    store_seq(&p->intents_busy, 0);
}

/* ---- objects ---- */

/* What was to be made will not be: whoever holds it learns that from an error without bytes. */
static void fail_unmade(store *s, slot *x)
{
    if (flags_of(x) & SLOT_COUNTED) inside_drop(s, x); /* it died between the two last steps */
    (void)slot_free_room(s, x);
    store_seq(&x->offset, NO_OFFSET);
    __atomic_store_n(&x->size_bytes, 0, __ATOMIC_RELAXED); /* others count bytes */
    flags_clear(x, SLOT_REFS | SLOT_CELL | SLOT_ALIAS);
    flags_set(x, SLOT_FAILED);
    slot_set_state(s, x, STORE_SEALED);
}

static void end_work(store *s, slot *x, uint32_t index)
{
    store_state state = state_of(x);
    if (state == STORE_CREATING && worker_of(x) == index) fail_unmade(s, x);
    else if (state == STORE_PENDING && x->owner == index) fail_unmade(s, x);
    else if (state == STORE_MOVING && worker_of(x) == index) spill_recover(s, x);
    uint64_t pins = load_seq(&x->pins);
    if (pins & PINS_MOVING && (pins >> OWNER_SHIFT & 0x7f) == index) store_seq(&x->pins, 0); /* closed, and not yet begun */
}

static _Thread_local bool is_reaping; /* this thread: then reap_dead has the lock already */

void reap_settle(store *s, slot *x)
{
    uint64_t pins = load_seq(&x->pins);
    uint32_t mover = pins & PINS_MOVING ? (uint32_t)(pins >> OWNER_SHIFT & 0x7f) : UINT32_MAX;
    if (is_reaping && mover < STORE_PROCESSES && mover != s->me && !os_file_try_lock(s->lock_fd, mover)) {
        end_work(s, x, mover);
        (void)os_file_unlock(s->lock_fd, mover);
        return;
    }
    uint32_t state = load_seq(&x->state);
    if (load_seq(&x->pins)) (void)os_futex_wait_shared(&x->state, state, OS_NS_PER_MS);
    if (!is_reaping) (void)reap_dead(s);
}

static void reap_slot(store *s, slot *x, uint32_t index)
{
    uint64_t sequence = load_seq(&x->sequence), holders = load_seq(&x->holders);
    if (!sequence) {
        if (state_of(x) != STORE_FREE && worker_of(x) == index) slot_give_back(s, x);
        return;
    }
    uint64_t bit = 1ull << index;
    end_work(s, x, index);
    atomic_fetch_and_explicit(&x->pins, ~bit, memory_order_seq_cst);
    if (holders & HOLDERS_DYING) {
        if ((holders >> OWNER_SHIFT & 0x7f) != index) return;
        store_seq(&x->holders, HOLDERS_DYING | (uint64_t)s->me << OWNER_SHIFT); /* ours to end: also when we die in that */
        slot_end(s, x);
        return;
    }
    uint64_t left = atomic_fetch_and_explicit(&x->holders, ~bit, memory_order_seq_cst) & ~bit;
    if (!left && !load_seq(&x->inside)) (void)slot_free_if_unheld(s, x, sequence);
}

static void reap_slabs(store *s, uint32_t index)
{
    uint64_t granules = s->control->capacity / SLAB_GRANULE;
    for (uint64_t g = 0; g < granules; g++) {
        slab *b = &s->slabs[g];
        uint32_t state = load_seq(&b->state);
        if ((state & 0xff) < SLAB_CURRENT || state >> 8 != index + 1 || b->first != g) continue;
        slab_recover(s, b);
        store_seq(&b->state, SLAB_ACTIVE);
    }
}

static void reap_chunks(store *s, uint32_t index)
{
    uint64_t chunks = load_seq(&s->control->slots_high) / CHUNK_SLOTS;
    for (uint64_t c = 0; c < chunks; c++) {
        if (load_seq(&s->chunk_owner[c]) != index + 1) continue;
        add_seq(&s->chunk_freed[c], 1);
        store_seq(&s->chunk_owner[c], 0);
    }
}

void reap_process(store *s, uint32_t index)
{
    process *p = process_of(s, index);
    (void)mutex_lock_robust(&s->control->reaping); /* two dead processes may name one extent: one after the other */
    end_intents(s, index);
    pthread_mutex_unlock(&s->control->reaping);
    uint64_t high = load_seq(&s->control->slots_high);
    is_reaping = true;
    for (uint64_t i = 0; i < high; i++) reap_slot(s, &s->slots[i], index);
    is_reaping = false;
    reap_slabs(s, index);
    reap_chunks(s, index);
    spill_end_files(s, index);
    if (index != s->me) {
        int dead = 0;
        (void)mdb_reader_check(s->env, &dead);
        extents_recount(s);
        add_relaxed(&s->control->reaped, 1);
    }
    store_seq(&p->watching, 0);
    store_seq(&p->pid, 0);
    room_freed(s);
}

uint32_t reap_dead(store *s)
{
    uint32_t n = 0;
    if (pthread_mutex_trylock(&reap_lock)) return 0;
    for (uint32_t i = 0; i < STORE_PROCESSES; i++) {
        if (i == s->me || !load_seq(&process_of(s, i)->pid) || os_file_try_lock(s->lock_fd, i)) continue;
        if (load_seq(&process_of(s, i)->pid)) {
            reap_process(s, i);
            n++;
        }
        (void)os_file_unlock(s->lock_fd, i);
    }
    pthread_mutex_unlock(&reap_lock);
    return n;
}

manta_status store_tick(store *s, uint32_t *out_reaped)
{
    ends_retry(s);
    uint32_t n = reap_dead(s);
    int dead = 0;
    if (out_reaped) *out_reaped = n;
    int error = mdb_reader_check(s->env, &dead);
    return error ? index_fail(s, "check readers", error) : MANTA_OK;
}

/* ---- the keeper: sleeps without a timeout while nobody else is attached ---- */

bool has_others(const store *s)
{
    for (uint32_t i = 0; i < STORE_PROCESSES; i++)
        if (i != s->me && load_seq(&process_of(s, i)->pid)) return true;
    return false;
}

static void *keeper(void *argument)
{
    store *s = argument;
    for (;;) {
        uint32_t seen = load_seq(&s->control->attached);
        if (load_seq(&s->stopping)) return NULL;
        if (!os_futex_wait_shared(&s->control->attached, seen, has_others(s) ? OS_NS_PER_S : OS_FOREVER)) (void)store_tick(s, NULL);
    }
}

void keeper_start(store *s) { s->has_keeper_thread = os_thread_start(&s->keeper_thread, "store-keeper", keeper, s) == 0; }

void keeper_stop(store *s)
{
    if (!s->has_keeper_thread) return;
    add_seq(&s->control->attached, 1);
    os_futex_wake_shared(&s->control->attached, INT_MAX);
    pthread_join(s->keeper_thread, NULL);
}
