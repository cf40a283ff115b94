/*
 * Objects: making, reading, counting, freeing them.
 *
 * Putting costs no transaction up to 64 KiB (a cell of a slab) and one above (an extent); sealing is one store to the slot. Getting is a look at the slot: no lock and no
 * transaction, so no reader ever holds LMDB's pages.
 *
 * Freeing: whoever takes the last holder's bit away closes `holders` (0 -> DYING, by compare-and-swap, so only one does), frees what the object has and gives the slot back.
 * Each step can be done twice without harm, so the reaper ends what a dead process began.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "objstore/internal.h"

static _Thread_local char error_text[1024];
static _Thread_local const char *site_of_thread;
static _Thread_local bool must_not_wait;
static const unsigned char no_bytes[64] __attribute__((aligned(64)));

const char *store_error(void) { return error_text; }

manta_status store_fail_(manta_status status, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(error_text, sizeof error_text, format, arguments);
    va_end(arguments);
    return status;
}

void store_site(const char *site) { site_of_thread = site; }
void store_no_wait(bool on) { must_not_wait = on; }

/* ---- ids ---- */

slot *slot_of(store *s, store_id id)
{
    uint32_t i = (uint32_t)id.word[0];
    if (id.word[0] >> 32 != s->control->salt || i >= s->control->max_objects || i >= load_relaxed(&s->control->slots_high)) return NULL;
    slot *x = &s->slots[i];
    return id.word[1] && load_acquire(&x->sequence) == id.word[1] ? x : NULL;
}

static manta_status gone(store_id id)
{
    return store_fail_(
        MANTA_ESTALE, "object %016llx-%llu is gone or never was", (unsigned long long)id.word[0], (unsigned long long)id.word[1]);
}

/* ---- freeing ---- */

manta_status slot_free_room(store *s, slot *x)
{
    uint64_t offset = load_seq(&x->offset);
    if (offset == NO_OFFSET) return MANTA_OK;
    if (!(flags_of(x) & SLOT_CELL)) return extent_release(s, offset, load_relaxed(&x->sequence));
    cell_free(s, offset, slot_index(s, x));
    return MANTA_OK;
}

/* The index is full: the object stays DYING, in this process's name, until there is room. One too many stays until the process ends. */
static void end_later(store *s, slot *x)
{
    pthread_mutex_lock(&s->watch_lock);
    uint32_t n = load_relaxed(&s->n_unfinished);
    if (n < sizeof s->unfinished / sizeof *s->unfinished) {
        s->unfinished[n] = slot_index(s, x);
        store_relaxed(&s->n_unfinished, n + 1);
    }
    pthread_mutex_unlock(&s->watch_lock);
}

void ends_retry(store *s)
{
    for (uint32_t left = load_relaxed(&s->n_unfinished); left; left--) {
        pthread_mutex_lock(&s->watch_lock);
        uint32_t n = load_relaxed(&s->n_unfinished), i = n ? s->unfinished[n - 1] : 0;
        if (n) store_relaxed(&s->n_unfinished, n - 1);
        pthread_mutex_unlock(&s->watch_lock);
        if (!n) return;
        store_relaxed(&s->slots[i].pins, 0); /* closed by the first try */
        slot_end(s, &s->slots[i]);
    }
}

bool pins_close(store *s, slot *x)
{
    uint64_t nobody = 0;
    return cas_seq(&x->pins, &nobody, PINS_MOVING | (uint64_t)s->me << OWNER_SHIFT);
}

static void end_one(store *s, slot *x)
{
    while (!pins_close(s, x)) reap_settle(s, x); /* nobody holds it: at most somebody is moving it to disk, or looks and lets go */
    slot_set_state(s, x, STORE_DYING);
    if (flags_of(x) & SLOT_REFS) inside_drop(s, x);
    if (x->file_id) (void)spilled_forget(s, load_relaxed(&x->sequence));
    if (slot_free_room(s, x)) {
        end_later(s, x);
        return;
    }
    slot_give_back(s, x);
    count_up(&my_process(s)->frees, 1);
    room_freed(s);
}

static _Thread_local uint32_t ending; /* first of the slots to end + 1, linked by created_ms, which a dying object needs no more */
static _Thread_local bool is_ending;

/* An object may be the only holder of the next, and so on for millions: a list, no recursion. Whoever dies in between has its number in all of them. */
void slot_end(store *s, slot *x)
{
    x->created_ms = ending;
    ending = slot_index(s, x) + 1;
    if (is_ending) return;
    is_ending = true;
    while (ending) {
        slot *next = &s->slots[ending - 1];
        ending = next->created_ms;
        end_one(s, next);
    }
    is_ending = false;
}

manta_status slot_free_if_unheld(store *s, slot *x, uint64_t sequence)
{
    do {
        uint64_t nobody = 0;
        if (!cas_seq(&x->holders, &nobody, HOLDERS_DYING | (uint64_t)s->me << OWNER_SHIFT)) return MANTA_OK;
        if (load_seq(&x->sequence) == sequence && load_seq(&x->inside) == 0) {
            slot_end(s, x);
            return MANTA_OK;
        }
        atomic_fetch_and_explicit(&x->holders, PROCESS_MASK, memory_order_seq_cst);
    } while (load_seq(&x->sequence) == sequence && load_seq(&x->inside) == 0); /* the last one inside went meanwhile, and saw us */
    return MANTA_OK;
}

/* ---- making ---- */

static manta_status place_extent(store *s, slot *x, uint64_t bytes)
{
    uint64_t offset;
    intent *in = intent_take(s);
    extent e = {.sequence = load_relaxed(&x->sequence), .slot = slot_index(s, x), .kind = EXTENT_LARGE};
    manta_status status = extent_alloc(s, extent_round(bytes), e, in, &offset);
    if (!status) store_seq(&x->offset, offset);
    intent_drop(s, in);
    return status;
}

manta_status slot_place(store *s, slot *x, uint64_t bytes, bool may_wait)
{
    flags_clear(x, SLOT_CELL);
    if (bytes > s->control->capacity)
        return store_fail_(MANTA_EINVAL, "an object of %llu bytes is larger than the store %s (%llu)", (unsigned long long)bytes, s->path,
            (unsigned long long)s->control->capacity);
    uint64_t deadline = 0;
    for (;;) {
        uint64_t used = load_seq(&s->control->used_bytes);
        manta_status status = bytes <= CELL_MAX ? cell_alloc(s, bytes, x) : place_extent(s, x, bytes);
        if (status != MANTA_ESTOREFULL || !may_wait || must_not_wait) return status;
        if (!deadline) deadline = os_monotonic_ns() + s->full_wait_ns;
        if ((status = room_make(s, bytes, used, deadline))) return status;
    }
}

static manta_status slot_fill(store *s, uint64_t size_bytes, store_state state, slot **out)
{
    slot *x;
    manta_status status = slot_new(s, &x);
    if (status) return status;
    __atomic_store_n(&x->size_bytes, size_bytes, __ATOMIC_RELAXED);
    x->owner = (uint8_t)s->me;
    x->created_ms = (uint32_t)store_now_ms(s);
    x->site = s->call_sites && site_of_thread ? site_row(s, site_of_thread) : 0;
    store_relaxed(&x->offset, NO_OFFSET);
    store_relaxed(&x->flags, 0);
    store_relaxed(&x->status, 0);
    store_relaxed(&x->touched, 1);
    local_begin(s, x, state == STORE_CREATING);
    slot_set_state(s, x, state);
    store_seq(&x->sequence, add_relaxed(&s->control->sequence, 1) + 1);
    *out = x;
    return MANTA_OK;
}

/* The page tables are filled 2 MiB at a time. */
void arena_populate(store *s, uint64_t offset, uint64_t bytes)
{
    for (uint64_t part = offset / OS_HUGE_PAGE; part * OS_HUGE_PAGE < offset + bytes; part++) {
        if (likely(load_relaxed(&s->populated[part]))) continue;
        (void)os_memory_populate(s->writable + part * OS_HUGE_PAGE, OS_HUGE_PAGE, true);
        store_relaxed(&s->populated[part], 1);
    }
}

manta_status store_create(store *s, uint64_t size_bytes, uint32_t n_refs, store_id *out, void **out_data)
{
    if (n_refs > STORE_REFS_LIMIT || size_bytes > UINT64_MAX / 2)
        return store_fail_(MANTA_EINVAL, "an object of %llu bytes with %u refs", (unsigned long long)size_bytes, n_refs);
    slot *x;
    uint64_t bytes = size_bytes + trailer_bytes(size_bytes, n_refs);
    manta_status status = slot_fill(s, size_bytes, STORE_CREATING, &x);
    if (status) return status;
    if (bytes && (status = slot_place(s, x, bytes, true))) {
        local_end(s, x);
        slot_give_back(s, x);
        return status;
    }
    if (bytes) arena_populate(s, load_relaxed(&x->offset), bytes);
    if (n_refs) inside_announce(s, x, n_refs);
    *out = id_of(s, x);
    *out_data = bytes ? s->writable + load_relaxed(&x->offset) : (unsigned char *)(uintptr_t)no_bytes;
    spill_check(s);
    return MANTA_OK;
}

static slot *own_creating(store *s, store_id id, manta_status *status)
{
    slot *x = slot_of(s, id);
    *status = !x ? gone(id) : MANTA_OK;
    if (x && (state_of(x) != STORE_CREATING || worker_of(x) != s->me))
        *status = store_fail_(MANTA_ESTALE, "the object is not being created by this process (any more)");
    return *status ? NULL : x;
}

manta_status store_seal(store *s, store_id id, const store_id *refs)
{
    manta_status status;
    slot *x = own_creating(s, id, &status);
    if (!x) return status;
    if (flags_of(x) & SLOT_REFS && (status = inside_count(s, x, refs))) return status;
    slot_set_state(s, x, STORE_SEALED);
    local_unpin(s, x);
    count_up(&my_process(s)->puts, 1);
    return MANTA_OK;
}

manta_status store_abort(store *s, store_id id)
{
    manta_status status;
    slot *x = own_creating(s, id, &status);
    if (!x) return status;
    local_unpin(s, x);
    return local_release(s, x, id.word[1]);
}

manta_status store_put(store *s, const void *data, uint64_t size_bytes, store_id *out)
{
    void *to;
    store_id id;
    if (!data && size_bytes) return store_fail_(MANTA_EINVAL, "store_put: no data for %llu bytes", (unsigned long long)size_bytes);
    manta_status status = store_create(s, size_bytes, 0, &id, &to);
    if (status) return status;
    if (size_bytes) memcpy(to, data, size_bytes);
    if ((status = store_seal(s, id, NULL))) return status;
    *out = id;
    return MANTA_OK;
}

manta_status store_promise(store *s, store_id *out)
{
    slot *x;
    manta_status status = slot_fill(s, 0, STORE_PENDING, &x);
    if (!status) *out = id_of(s, x);
    return status;
}

/* A promise becomes CREATING for as long as its bytes are copied: one process ends it. */
static manta_status begin_fulfil(store *s, slot *x, uint64_t bytes)
{
    uint32_t state = load_seq(&x->state);
    do
        if ((state & 0xff) != STORE_PENDING) return store_fail_(MANTA_ESTALE, "the promise has ended already");
    while (!cas_seq(&x->state, &state, (state & SLOT_WAITED) | STORE_CREATING | (s->me + 1) << SLOT_WORKER_SHIFT));
    manta_status status = bytes ? slot_place(s, x, bytes, true) : MANTA_OK;
    if (status) {
        slot_set_state(s, x, STORE_PENDING);
        atomic_fetch_or_explicit(&x->state, SLOT_WAITED, memory_order_seq_cst); /* who waited before waits on */
    }
    return status;
}

static void copy_in(store *s, slot *x, const void *data, uint64_t size_bytes, uint32_t n_refs)
{
    uint64_t bytes = size_bytes + trailer_bytes(size_bytes, n_refs);
    if (!bytes) return;
    arena_populate(s, load_relaxed(&x->offset), bytes);
    if (size_bytes) memcpy(s->writable + load_relaxed(&x->offset), data, size_bytes);
    __atomic_store_n(&x->size_bytes, size_bytes, __ATOMIC_RELAXED);
    if (n_refs) inside_announce(s, x, n_refs);
}

static manta_status fulfil(
    store *s, store_id id, const void *data, uint64_t size_bytes, const store_id *refs, uint32_t n_refs, unsigned flags)
{
    slot *x = slot_of(s, id);
    if (!x) return gone(id);
    if (n_refs > STORE_REFS_LIMIT || size_bytes > UINT64_MAX / 2)
        return store_fail_(MANTA_EINVAL, "store_fulfil: %llu bytes with %u refs", (unsigned long long)size_bytes, n_refs);
    manta_status status = local_retain(s, x, id.word[1]); /* nobody frees it meanwhile */
    if (status) return gone(id);
    if (!(status = begin_fulfil(s, x, size_bytes + trailer_bytes(size_bytes, n_refs)))) {
        copy_in(s, x, data, size_bytes, n_refs);
        if (n_refs) status = inside_count(s, x, refs);
        flags_set(x, flags);
        slot_set_state(s, x, STORE_SEALED);
        count_up(&my_process(s)->puts, 1);
        spill_check(s);
    }
    (void)local_release(s, x, id.word[1]);
    return status;
}

manta_status store_fulfil(
    store *s, store_id id, const void *data, uint64_t size_bytes, const store_id *refs, uint32_t n_refs, bool is_error)
{
    return fulfil(s, id, data, size_bytes, refs, n_refs, is_error ? SLOT_FAILED : 0);
}

manta_status store_alias(store *s, store_id id, store_id target)
{
    slot *t = slot_of(s, target);
    if (t && flags_of(t) & SLOT_ALIAS) t = slot_of(s, target = inside_first(s, t));
    if (!t || store_peek(s, target)) return gone(target);
    if (flags_of(t) & SLOT_FAILED) return store_fail_(MANTA_EFAILED, "an alias of an object that came to nothing");
    if (flags_of(t) & SLOT_REFS) return store_fail_(MANTA_EUNSUPPORTED, "an alias of an object that names others");
    return fulfil(s, id, NULL, 0, &target, 1, SLOT_ALIAS);
}

manta_status store_fail(store *s, store_id id, manta_status why)
{
    slot *x = slot_of(s, id);
    if (!x || local_retain(s, x, id.word[1])) return gone(id);
    manta_status status = begin_fulfil(s, x, 0);
    if (!status) {
        store_relaxed(&x->status, (uint8_t)why);
        flags_set(x, SLOT_FAILED);
        slot_set_state(s, x, STORE_SEALED);
    }
    (void)local_release(s, x, id.word[1]);
    return status;
}

manta_status store_prepare(store *s, store_id id, uint64_t size_bytes, uint32_t n_refs, void **out_data)
{
    slot *x = slot_of(s, id);
    uint64_t bytes = size_bytes + trailer_bytes(size_bytes, n_refs);
    if (!x) return gone(id);
    if (n_refs > STORE_REFS_LIMIT || size_bytes > UINT64_MAX / 2)
        return store_fail_(MANTA_EINVAL, "store_prepare: %llu bytes with %u refs", (unsigned long long)size_bytes, n_refs);
    manta_status status = begin_fulfil(s, x, bytes);
    if (status) return status;
    (void)local_pin(s, x);                                          /* as store_create does, for store_seal */
    __atomic_store_n(&x->size_bytes, size_bytes, __ATOMIC_RELAXED); /* store_stat looks at it */
    if (bytes) arena_populate(s, load_relaxed(&x->offset), bytes);
    if (n_refs) inside_announce(s, x, n_refs);
    *out_data = bytes ? s->writable + load_relaxed(&x->offset) : (unsigned char *)(uintptr_t)no_bytes;
    spill_check(s);
    return MANTA_OK;
}

/* As the reaper would do it for a dead process; so one that dies in the middle is no other case. */
manta_status store_unprepare(store *s, store_id id)
{
    manta_status status;
    slot *x = own_creating(s, id, &status);
    if (!x || (status = slot_free_room(s, x))) return status;
    store_seq(&x->offset, NO_OFFSET);
    flags_clear(x, SLOT_REFS | SLOT_CELL);
    __atomic_store_n(&x->size_bytes, 0, __ATOMIC_RELAXED);
    local_unpin(s, x);
    slot_set_state(s, x, STORE_PENDING);
    atomic_fetch_or_explicit(&x->state, SLOT_WAITED, memory_order_seq_cst); /* who waited before waits on */
    room_freed(s);
    return MANTA_OK;
}

manta_status store_pin_own(store *s, store_id id)
{
    manta_status status;
    slot *x = own_creating(s, id, &status);
    if (!x) return status;
    if (local_retain(s, x, id.word[1])) return gone(id);
    (void)local_pin(s, x);
    return MANTA_OK;
}

/* ---- reading ---- */

static manta_status not_sealed(store *s, slot *x, store_id id, bool *again)
{
    store_state state = state_of(x);
    if (load_acquire(&x->sequence) != id.word[1] || state == STORE_DYING || state == STORE_FREE) return gone(id);
    if (state == STORE_PENDING || state == STORE_CREATING) return store_fail_(MANTA_ENOTREADY, "the object is not sealed yet");
    *again = true;
    if (state == STORE_SPILLED) return spill_restore(s, x, id.word[1]);
    if (state == STORE_MOVING) (void)slot_sleep(s, x, STORE_MOVING, OS_NS_PER_S);
    return MANTA_OK;
}

static void view_of(store *s, slot *x, store_view *out)
{
    uint64_t offset = load_acquire(&x->offset);
    out->data = x->size_bytes && offset != NO_OFFSET ? s->readable + offset : no_bytes;
    out->size_bytes = x->size_bytes;
    out->status = (manta_status)load_relaxed(&x->status);
    if (!load_relaxed(&x->touched)) store_relaxed(&x->touched, 1);
}

/* Somebody has closed `pins` and not changed the state yet; or it died there. */
static void pause_for_mover(store *s, slot *x, int round)
{
    (void)os_futex_wait_shared(&x->state, load_seq(&x->state), OS_NS_PER_MS);
    if (round % 100 == 0) (void)reap_dead(s);
}

static manta_status view_pinned(store *s, slot *x, store_view *out)
{
    view_of(s, x, out);
    return load_relaxed(&x->flags) & SLOT_FAILED ? MANTA_EFAILED : MANTA_OK;
}

/* Once pinned, an object that is seen SEALED stays so. One on disk is pinned before it is brought back: above the high mark the spiller would take it out again at once. */
static manta_status pin(store *s, slot *x, store_id id, store_view *out)
{
    enum { ROUNDS = 20000, SPINS = 1000 }; /* of a millisecond each, after the spins */
    for (int i = 0; i < ROUNDS; i++) {
        bool again = false;
        if (i > SPINS) pause_for_mover(s, x, i);
        bool pinned = local_pin(s, x);
        if (likely(pinned) && likely(state_of(x) == STORE_SEALED)) return view_pinned(s, x, out);
        manta_status status = not_sealed(s, x, id, &again);
        if (pinned && again && !status && state_of(x) == STORE_SEALED) return view_pinned(s, x, out);
        if (pinned) local_unpin(s, x);
        if (status || !again) return status;
    }
    return store_fail_(MANTA_ETIMEDOUT, "the object is moved in and out all the time");
}

/* `x`, an alias, is pinned for the view. */
static manta_status pin_target(store *s, slot *x, uint64_t sequence, store_view *out)
{
    manta_status status = store_pin(s, inside_first(s, x), out);
    if (!status) return MANTA_OK;
    local_unpin(s, x);
    (void)local_release(s, x, sequence);
    return status;
}

manta_status store_pin(store *s, store_id id, store_view *out)
{
    slot *x = slot_of(s, id);
    if (unlikely(!x) || unlikely(local_retain(s, x, id.word[1]))) return gone(id);
    manta_status status = pin(s, x, id, out);
    if (!status && unlikely(load_relaxed(&x->flags) & SLOT_ALIAS)) return pin_target(s, x, id.word[1], out);
    if (unlikely(status && status != MANTA_EFAILED)) (void)local_release(s, x, id.word[1]);
    else count_up(&my_process(s)->gets, 1);
    return status;
}

void store_unpin(store *s, store_id id)
{
    slot *x = slot_of(s, id);
    if (!x) return;
    if (unlikely(load_relaxed(&x->flags) & SLOT_ALIAS)) store_unpin(s, inside_first(s, x));
    local_unpin(s, x);
    (void)local_release(s, x, id.word[1]);
}

bool store_is_resident(store *s, store_id id)
{
    slot *x = slot_of(s, id);
    if (!x || state_of(x) != STORE_SEALED) return false;
    return likely(!(load_relaxed(&x->flags) & SLOT_ALIAS)) || store_is_resident(s, inside_first(s, x));
}

manta_status store_peek(store *s, store_id id)
{
    slot *x = slot_of(s, id);
    store_state state = x ? state_of(x) : STORE_FREE;
    if (x && (state == STORE_PENDING || state == STORE_CREATING)) return MANTA_ENOTREADY;
    return state == STORE_SEALED || state == STORE_SPILLED || state == STORE_MOVING ? MANTA_OK : MANTA_ESTALE;
}

/* ---- counts ---- */

manta_status store_hold(store *s, store_id id)
{
    slot *x = slot_of(s, id);
    return x && !local_retain(s, x, id.word[1]) ? MANTA_OK : gone(id);
}

manta_status store_drop(store *s, store_id id)
{
    slot *x = slot_of(s, id);
    return x && !local_release(s, x, id.word[1])
               ? MANTA_OK
               : store_fail_(MANTA_ESTALE, "the object is gone, or this process holds no reference of it");
}

bool store_is_last(store *s, store_id id)
{
    slot *x = slot_of(s, id);
    return x && load_seq(&s->local[slot_index(s, x)].refs) == 1 && load_seq(&x->holders) == s->bit && !load_seq(&x->inside);
}

bool store_knows(store *s, store_id id) { return id.word[0] >> 32 == s->control->salt; }
