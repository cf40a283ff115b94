/*
 * Moving objects to disk and back.
 *
 * Out (under `evicting`, one process at a time): close `pins`, MOVING; append the bytes to this process's spill file; one transaction: `spilled` and `files`; LEAVING; free
 * the room; SPILLED; open `pins`. Back in: SPILLED -> MOVING by compare-and-swap; take room; read and check; SEALED. The copy on disk stays good (CLEAN), so going out again
 * writes nothing. A process that dies on the way out before LEAVING leaves a SEALED object, after it a SPILLED one; on the way back in a SPILLED one.
 *
 * Who is moved: CLOCK over the slots; an object that was touched since the hand passed is passed over once. For a large object: the run of the arena that costs the fewest bytes.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "objstore/internal.h"
#include "objstore/spill_index.h"

enum { FILE_BYTES = 64 << 20, BATCH_BYTES = 1 << 20, LAPS = 2 };

static spill_place place_of(const store *s, uint64_t file_id) { return (spill_place){s->control->spill_path, s->control->salt, file_id}; }
static bool is_enabled(const store *s) { return s->control->spill_path[0] != 0; }

/* ---- files: under `evicting` ---- */

static void close_file(store *s)
{
    if (!s->file) return;
    uint64_t id = spill_file_id(s->file);
    spill_file_close(s->file);
    s->file = NULL;
    spill_index_close_file(s, id);
}

static manta_status file_for(store *s, uint64_t bytes)
{
    char text[SPILL_TEXT_LIMIT];
    uint64_t limit = s->control->spill_limit, used = load_seq(&s->control->spill_disk_bytes);
    if (limit && (used > limit || bytes > limit - used))
        return store_fail_(MANTA_ESTOREFULL, "%s: spilling %llu bytes more would exceed spill_bytes: %llu of %llu are in use",
            s->control->spill_path, (unsigned long long)bytes, (unsigned long long)used, (unsigned long long)limit);
    if (s->file && spill_file_bytes(s->file) + bytes > FILE_BYTES) close_file(s);
    if (s->file) return MANTA_OK;
    uint32_t id = s->control->file_next++;
    manta_status status = spill_index_new_file(s, id);
    if (!status && (status = spill_file_create(place_of(s, id), &s->file, text))) {
        spill_index_close_file(s, id);
        return store_fail_(status, "%s", text);
    }
    return status;
}

static manta_status write_out(store *s, slot *x)
{
    char text[SPILL_TEXT_LIMIT];
    uint64_t offset, sequence = load_relaxed(&x->sequence);
    spill_record r = {.sequence = sequence, .size_bytes = x->size_bytes, .trailer_bytes = slot_room(s, x) - x->size_bytes};
    manta_status status = file_for(s, spill_record_bytes(&r));
    if (!status && (status = spill_file_append(s->file, &r, s->readable + load_relaxed(&x->offset), &offset, text)))
        store_fail_(status, "%s", text);
    if (status) return status;
    spilled_record record = {offset, r.size_bytes, r.trailer_bytes, (uint32_t)spill_file_id(s->file), r.crc, r.flags, slot_index(s, x)};
    if ((status = spill_index_add(s, sequence, &record, spill_record_bytes(&r), spill_file_bytes(s->file)))) return status;
    x->file_id = record.file_id;
    flags_set(x, SLOT_CLEAN);
    return MANTA_OK;
}

manta_status spill_copy(store *s, uint64_t sequence, const spilled_record *old, void *buffer)
{
    char text[SPILL_TEXT_LIMIT];
    uint64_t offset;
    spill_record r = {sequence, old->size_bytes, old->trailer_bytes, old->flags, old->crc};
    manta_status status = spill_file_read(place_of(s, old->file_id), old->offset, &r, buffer, text);
    if (status) return store_fail_(status, "%s", text);
    if ((status = file_for(s, spill_record_bytes(&r)))) return status;
    if ((status = spill_file_append(s->file, &r, buffer, &offset, text))) return store_fail_(status, "%s", text);
    spilled_record record = *old;
    record.offset = offset;
    record.file_id = (uint32_t)spill_file_id(s->file);
    return spill_index_move(s, sequence, old, &record, spill_record_bytes(&r), spill_file_bytes(s->file));
}

/* ---- one object ---- */

static void finish_out(store *s, slot *x)
{
    if (slot_free_room(s, x)) { /* its bytes are still there, and the copy on disk is good */
        flags_clear(x, SLOT_LEAVING);
        slot_set_state(s, x, STORE_SEALED);
        store_seq(&x->pins, 0);
        return;
    }
    store_seq(&x->offset, NO_OFFSET);
    flags_clear(x, SLOT_CELL | SLOT_LEAVING);
    slot_set_state(s, x, STORE_SPILLED);
    store_seq(&x->pins, 0);
}

/* That may be moved: errors and aliases are small and asked for again and again; refs must be final. */
static bool has_bytes(const slot *x)
{
    unsigned flags = flags_of(x);
    return !(flags & (SLOT_FAILED | SLOT_ALIAS)) && (flags & SLOT_REFS ? (flags & SLOT_COUNTED) != 0 : x->size_bytes != 0);
}

static bool may_go(const slot *x)
{
    return load_relaxed(&((slot *)x)->sequence) && state_of(x) == STORE_SEALED && !load_relaxed(&((slot *)x)->pins) &&
           !(load_relaxed(&((slot *)x)->holders) & HOLDERS_DYING) && has_bytes(x);
}

/* Bytes that came free; 0: it cannot go (*status says why when writing failed). */
static uint64_t move_out(store *s, slot *x, manta_status *status)
{
    if (!may_go(x) || !pins_close(s, x)) return 0;
    if (!load_seq(&x->sequence) || state_of(x) != STORE_SEALED || load_seq(&x->holders) & HOLDERS_DYING) {
        store_seq(&x->pins, 0);
        return 0;
    }
    slot_set_state(s, x, STORE_MOVING);
    bool clean = flags_of(x) & SLOT_CLEAN;
    if (!clean && (*status = write_out(s, x))) {
        slot_set_state(s, x, STORE_SEALED);
        store_seq(&x->pins, 0);
        return 0;
    }
    flags_set(x, SLOT_LEAVING);
    finish_out(s, x);
    add_relaxed(clean ? &s->control->clean : &s->control->spills, 1);
    return x->size_bytes;
}

void spill_recover(store *s, slot *x)
{
    if (flags_of(x) & SLOT_LEAVING) {
        finish_out(s, x);
        return;
    }
    if (load_seq(&x->pins) & PINS_MOVING) { /* on its way out: nothing has left yet */
        if (!(flags_of(x) & SLOT_CLEAN)) (void)spilled_forget(s, load_relaxed(&x->sequence));
        slot_set_state(s, x, STORE_SEALED);
        store_seq(&x->pins, 0);
        return;
    }
    (void)slot_free_room(s, x);
    store_seq(&x->offset, NO_OFFSET);
    flags_clear(x, SLOT_CELL);
    slot_set_state(s, x, STORE_SPILLED);
}

/* ---- whom: CLOCK ---- */

/* Moves objects until `bytes` are free, or the hand went round. Under `evicting`. */
static uint64_t clock_out(store *s, uint64_t bytes, manta_status *status)
{
    uint64_t freed = 0, high = load_seq(&s->control->slots_high);
    for (uint64_t i = 0; i < high * LAPS && freed < bytes && !*status && !load_relaxed(&s->stopping); i++) {
        slot *x = &s->slots[s->control->clock_hand++ % high];
        if (load_relaxed(&x->touched) && i < high) store_relaxed(&x->touched, 0);
        else freed += move_out(s, x, status);
    }
    return freed;
}

/* ---- whom: a run of the arena ---- */

typedef struct part {
    uint64_t offset, length, cost; /* cost: bytes to move; UINT64_MAX: cannot go */
    uint32_t slot;                 /* large: its slot; slab: UINT32_MAX */
} part;
typedef struct part_list {
    store *store;
    part *items;
    size_t count, capacity;
    bool failed;
} part_list;

static uint64_t slab_cost(const store *s, const slab *b)
{
    _Atomic uint32_t *tenants = slab_tenants(s, b);
    uint64_t cost = 0;
    if ((load_seq(&((slab *)b)->state) & 0xff) != SLAB_ACTIVE) return UINT64_MAX;
    for (uint32_t i = 0; i < b->cells; i++) {
        uint32_t tenant = load_relaxed(&tenants[i]);
        if (tenant && !may_go(&s->slots[tenant - 1])) return UINT64_MAX;
        if (tenant) cost += s->slots[tenant - 1].size_bytes;
    }
    return cost;
}

static bool add_part(uint64_t offset, uint64_t length, const extent *used, void *context)
{
    part_list *l = context;
    if (l->count == l->capacity) {
        size_t capacity = l->capacity ? l->capacity * 2 : 256;
        part *items = base_realloc(l->items, capacity * sizeof *items);
        if ((l->failed = !items)) return false;
        l->items = items;
        l->capacity = capacity;
    }
    part p = {offset, length, 0, UINT32_MAX};
    if (used && used->kind == EXTENT_SLAB) p.cost = slab_cost(l->store, slab_at_offset(l->store, offset));
    else if (used) {
        p.slot = used->slot;
        p.cost = used->slot < l->store->control->max_objects && may_go(&l->store->slots[used->slot]) ? length : UINT64_MAX;
    }
    l->items[l->count++] = p;
    return true;
}

/* The cheapest run of parts [*first, *end) with `bytes` bytes; false: there is none. */
static bool cheapest_run(const part_list *l, uint64_t bytes, size_t *first, size_t *end)
{
    uint64_t length = 0, cost = 0, best = UINT64_MAX;
    for (size_t from = 0, to = 0; to < l->count; to++) {
        if (l->items[to].cost == UINT64_MAX) {
            from = to + 1;
            length = cost = 0;
            continue;
        }
        length += l->items[to].length;
        cost += l->items[to].cost;
        while (from < to && length - l->items[from].length >= bytes) {
            length -= l->items[from].length;
            cost -= l->items[from++].cost;
        }
        if (length < bytes || cost >= best) continue;
        best = cost;
        *first = from;
        *end = to + 1;
    }
    return best != UINT64_MAX;
}

static uint64_t move_part(store *s, const part *p, manta_status *status)
{
    if (!p->cost) return 0;
    if (p->slot != UINT32_MAX) return move_out(s, &s->slots[p->slot], status);
    const slab *b = slab_at_offset(s, p->offset);
    _Atomic uint32_t *tenants = slab_tenants(s, b);
    uint64_t freed = 0;
    for (uint32_t i = 0; i < b->cells && !*status; i++) {
        uint32_t tenant = load_seq(&tenants[i]);
        if (tenant) freed += move_out(s, &s->slots[tenant - 1], status);
    }
    return freed;
}

static uint64_t run_out(store *s, uint64_t bytes, manta_status *status)
{
    part_list l = {.store = s};
    size_t first = 0, end = 0;
    uint64_t freed = 0;
    manta_status walked = extents_walk(s, add_part, &l);
    if (!walked && !l.failed && cheapest_run(&l, bytes, &first, &end))
        for (size_t i = first; i < end && !*status; i++) freed += move_part(s, &l.items[i], status);
    base_free(l.items);
    return freed;
}

static void lock(store *s) { (void)mutex_lock_robust(&s->control->evicting); /* what it guards is good after every step */ }

static uint64_t evict(store *s, uint64_t bytes, manta_status *status)
{
    uint64_t freed = 0;
    *status = MANTA_OK;
    if (!is_enabled(s)) return 0;
    lock(s);
    if (bytes > CELL_MAX) freed = run_out(s, extent_round(bytes), status);
    if (!freed && !*status) freed = clock_out(s, bytes > BATCH_BYTES ? bytes : BATCH_BYTES, status);
    pthread_mutex_unlock(&s->control->evicting);
    return freed;
}

void store_spill_all(store *s)
{
    manta_status status = MANTA_OK;
    if (!is_enabled(s)) return;
    lock(s);
    (void)clock_out(s, UINT64_MAX, &status);
    pthread_mutex_unlock(&s->control->evicting);
    slab_trim(s, true);
}

/* ---- room for a put ---- */

static manta_status full(store *s, uint64_t bytes, manta_status why)
{
    char reason[300] = "", who[400] = "";
    if (why) snprintf(reason, sizeof reason, "; spilling failed: %s", store_error());
    else if (!is_enabled(s)) snprintf(reason, sizeof reason, "; no spill_path is set");
    spill_who_holds(s, who, sizeof who);
    return store_fail_(MANTA_ESTOREFULL, "%s: no room for %llu bytes: %llu of %llu are in use%s%s", s->path, (unsigned long long)bytes,
        (unsigned long long)load_seq(&s->control->used_bytes), (unsigned long long)s->control->capacity, reason, who);
}

/* What came free since the caller tried counts, also while this thread waited for another that moves objects out. */
manta_status room_make(store *s, uint64_t bytes, uint64_t used_bytes, uint64_t deadline_ns)
{
    control *c = s->control;
    manta_status why;
    ends_retry(s);
    if (reap_dead(s)) return MANTA_OK;
    slab_trim(s, true);
    if (load_seq(&c->used_bytes) < used_bytes || evict(s, bytes, &why) || load_seq(&c->used_bytes) < used_bytes) return MANTA_OK;
    uint64_t now = os_monotonic_ns(), patience = 100 * OS_NS_PER_MS;
    if (now >= deadline_ns) return full(s, bytes, why);
    add_seq(&c->room_waiters, 1);
    uint32_t seen = load_seq(&c->room);
    (void)os_futex_wait_shared(&c->room, seen, deadline_ns - now < patience ? deadline_ns - now : patience);
    sub_seq(&c->room_waiters, 1);
    return MANTA_OK;
}

/* ---- the spiller: keeps the arena below its marks ---- */

static uint64_t mark(const store *s, uint32_t percent) { return s->control->capacity / 100 * percent; }

static void keep_below(store *s)
{
    manta_status status = MANTA_OK;
    uint64_t goal = mark(s, s->control->low_percent);
    while (load_seq(&s->control->used_bytes) > goal && !status && !load_seq(&s->stopping)) {
        lock(s);
        uint64_t freed = clock_out(s, BATCH_BYTES, &status);
        slab_trim(s, false);
        pthread_mutex_unlock(&s->control->evicting);
        if (!freed) return;
    }
}

static void *spiller(void *argument)
{
    store *s = argument;
    while (!load_seq(&s->stopping)) {
        uint32_t wanted = load_seq(&s->spill_wanted);
        if (load_seq(&s->control->used_bytes) > mark(s, s->control->high_percent)) keep_below(s);
        lock(s);
        spill_compact(s);
        pthread_mutex_unlock(&s->control->evicting);
        if (load_seq(&s->stopping)) break;
        (void)os_futex_wait_shared(&s->spill_wanted, wanted, OS_FOREVER);
    }
    return NULL;
}

void spill_wake(store *s)
{
    add_seq(&s->spill_wanted, 1);
    if (s->has_spill_thread) {
        os_futex_wake_shared(&s->spill_wanted, 1);
        return;
    }
    pthread_mutex_lock(&s->watch_lock);
    if (!s->has_spill_thread && !load_seq(&s->stopping))
        s->has_spill_thread = os_thread_start(&s->spill_thread, "store-spill", spiller, s) == 0;
    pthread_mutex_unlock(&s->watch_lock);
}

void spill_check(store *s)
{
    if (likely(load_relaxed(&s->control->used_bytes) <= mark(s, s->control->high_percent)) || !is_enabled(s)) return;
    spill_wake(s);
}

void spill_stop(store *s)
{
    if (s->has_spill_thread) {
        add_seq(&s->spill_wanted, 1);
        os_futex_wake_shared(&s->spill_wanted, 1);
        pthread_join(s->spill_thread, NULL);
    }
    lock(s);
    close_file(s);
    pthread_mutex_unlock(&s->control->evicting);
}

/* ---- the way back ---- */

void *spill_read_trailer(store *s, uint64_t sequence, uint64_t *out_bytes)
{
    enum { TRIES = 16 };
    char text[SPILL_TEXT_LIMIT];
    for (int i = 0; i < TRIES; i++) {
        spilled_record r;
        if (spill_index_find(s, sequence, &r) || !r.trailer_bytes || r.trailer_bytes > trailer_bytes(1, STORE_REFS_LIMIT)) return NULL;
        spill_record record = {sequence, r.size_bytes, r.trailer_bytes, r.flags, r.crc};
        void *memory = base_alloc(r.trailer_bytes);
        *out_bytes = r.trailer_bytes;
        if (memory && spill_file_read_trailer(place_of(s, r.file_id), r.offset, &record, memory, text) == MANTA_OK) return memory;
        base_free(memory);
    }
    return NULL;
}

/* Room for it, with its trailer. */
static manta_status place_back(store *s, slot *x, uint64_t sequence)
{
    spilled_record r;
    if (load_seq(&x->sequence) != sequence) return MANTA_ESTALE;
    if (spill_index_find(s, sequence, &r)) return store_fail_(MANTA_EIO, "%s: nothing is known of a spilled object", s->path);
    manta_status status = slot_place(s, x, r.size_bytes + r.trailer_bytes, true);
    if (!status) arena_populate(s, load_relaxed(&x->offset), r.size_bytes + r.trailer_bytes);
    return status;
}

static manta_status read_back(store *s, slot *x, uint64_t sequence)
{
    enum { TRIES = 16 };
    char text[SPILL_TEXT_LIMIT];
    manta_status status = MANTA_EIO;
    for (int i = 0; i < TRIES; i++) { /* its file may be compacted meanwhile: then it stands elsewhere */
        spilled_record r, again;
        if ((status = spill_index_find(s, sequence, &r))) return store_fail_(status, "%s: nothing is known of a spilled object", s->path);
        spill_record record = {sequence, r.size_bytes, r.trailer_bytes, r.flags, r.crc};
        status = spill_file_read(place_of(s, r.file_id), r.offset, &record, s->writable + load_relaxed(&x->offset), text);
        if (!status) return MANTA_OK;
        store_fail_(status, "%s", text);
        if (spill_index_find(s, sequence, &again) || (again.file_id == r.file_id && again.offset == r.offset)) return status;
    }
    return status;
}

manta_status spill_restore(store *s, slot *x, uint64_t sequence)
{
    uint32_t state = load_seq(&x->state);
    do
        if ((state & 0xff) != STORE_SPILLED) return MANTA_OK; /* somebody is at it: look again */
    while (!cas_seq(&x->state, &state, (state & SLOT_WAITED) | STORE_MOVING | (s->me + 1) << SLOT_WORKER_SHIFT));
    manta_status status = place_back(s, x, sequence);
    if (!status) status = read_back(s, x, sequence);
    if (status) {
        (void)slot_free_room(s, x);
        store_seq(&x->offset, NO_OFFSET);
        flags_clear(x, SLOT_CELL);
        slot_set_state(s, x, STORE_SPILLED);
        return status;
    }
    store_relaxed(&x->touched, 1);
    slot_set_state(s, x, STORE_SEALED);
    add_relaxed(&s->control->restores, 1);
    spill_check(s);
    return MANTA_OK;
}
