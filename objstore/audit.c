/*
 * Looking in: totals, the list of objects, and the audit, which compares every table with the others.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "objstore/spill_index.h"

/* ---- totals ---- */

static void count_object(const store *s, slot *x, store_info *out)
{
    store_state state = state_of(x);
    uint64_t size = __atomic_load_n(&x->size_bytes, __ATOMIC_RELAXED), holders = load_relaxed(&x->holders), pins = load_relaxed(&x->pins);
    out->creating += state == STORE_CREATING;
    if (state == STORE_CREATING && load_relaxed(&x->offset) == NO_OFFSET) return; /* it has no room yet */
    out->objects++;
    out->sealed += state == STORE_SEALED;
    out->pending += state == STORE_PENDING;
    out->spilled += state == STORE_SPILLED;
    if (state == STORE_SEALED || state == STORE_CREATING) out->object_bytes += size;
    for (uint32_t i = 0; i < out->processes; i++) {
        uint64_t bit = 1ull << out->process[i].index;
        out->process[i].held_objects += (holders & bit) != 0;
        out->process[i].held_bytes += holders & bit ? size : 0;
        out->process[i].pinned_bytes += pins & bit ? size : 0;
    }
    (void)s;
}

static void list_processes(store *s, store_info *out)
{
    for (uint32_t i = 0; i < STORE_PROCESSES; i++) {
        process *p = process_of(s, i);
        out->puts += load_relaxed(&p->puts);
        out->gets += load_relaxed(&p->gets);
        out->frees += load_relaxed(&p->frees);
        int pid = load_seq(&p->pid);
        if (!pid) continue;
        store_process *row = &out->process[out->processes++];
        *row = (store_process){
            .index = i, .pid = pid, .is_node = p->is_node, .attached_ms = (os_monotonic_ns() - p->attached_ns) / OS_NS_PER_MS};
        memcpy(row->name, p->name, sizeof row->name);
        row->name[sizeof row->name - 1] = 0;
        row->alive = (!s->inspect && i == s->me) || os_file_is_locked(s->lock_fd, i);
    }
}

static void count_slabs(const store *s, store_info *out)
{
    uint64_t granules = s->control->capacity / SLAB_GRANULE;
    for (uint64_t g = 0; g < granules; g++) {
        slab *b = &s->slabs[g];
        if (load_relaxed(&b->state) == SLAB_NONE || b->first != g || b->class >= SLAB_CLASSES) continue;
        uint64_t bytes = (uint64_t)b->cells * class_bytes(b->class), used = (uint64_t)load_relaxed(&b->used) * class_bytes(b->class);
        out->slab_bytes += bytes;
        out->slab_free_bytes += bytes - (used < bytes ? used : bytes);
    }
}

static bool note_extent(uint64_t offset, uint64_t length, const extent *used, void *context)
{
    store_info *out = context;
    (void)offset;
    if (used) out->used_bytes += length;
    else if (length > out->largest_free_bytes) out->largest_free_bytes = length;
    return true;
}

static bool note_file(uint32_t file_id, const file_record *r, void *context)
{
    store_info *out = context;
    (void)file_id;
    out->spill_files++;
    out->spill_disk_bytes += r->bytes;
    out->spill_live_bytes += r->live_bytes;
    return true;
}

static void copy_settings(const store *s, store_info *out)
{
    const control *c = s->control;
    snprintf(out->path, sizeof out->path, "%s", s->path);
    snprintf(out->spill_path, sizeof out->spill_path, "%.511s", c->spill_path);
    snprintf(out->boot_id, sizeof out->boot_id, "%.39s", c->boot_id);
    out->version = c->version;
    out->max_objects = c->max_objects;
    out->capacity_bytes = c->capacity;
    out->spill_limit_bytes = c->spill_limit;
    out->spills = load_relaxed(&((control *)c)->spills);
    out->restores = load_relaxed(&((control *)c)->restores);
    out->evictions_clean = load_relaxed(&((control *)c)->clean);
    out->compactions = load_relaxed(&((control *)c)->compactions);
    out->reaped = load_relaxed(&((control *)c)->reaped);
}

manta_status store_stat(store *s, store_info *out)
{
    memset(out, 0, sizeof *out);
    copy_settings(s, out);
    list_processes(s, out);
    count_slabs(s, out);
    uint64_t high = load_seq(&s->control->slots_high);
    for (uint64_t i = 0; i < high && i < s->control->max_objects; i++)
        if (load_acquire(&s->slots[i].sequence)) count_object(s, &s->slots[i], out);
    MDB_envinfo env;
    MDB_stat st;
    if (mdb_env_info(s->env, &env) == 0 && mdb_env_stat(s->env, &st) == 0) out->index_bytes = (env.me_last_pgno + 1) * st.ms_psize;
    manta_status status = extents_walk(s, note_extent, out);
    return status ? status : files_walk(s, note_file, out);
}

/* ---- the list ---- */

static void describe(store *s, slot *x, store_object *out)
{
    memset(out, 0, sizeof *out);
    out->id = id_of(s, x);
    out->state = state_of(x);
    out->size_bytes = x->size_bytes;
    out->offset = load_relaxed(&x->offset);
    out->spill_file = x->file_id;
    out->holders = load_relaxed(&x->holders) & PROCESS_MASK;
    out->pins = load_relaxed(&x->pins) & PROCESS_MASK;
    out->inside = load_relaxed(&x->inside);
    out->owner = x->owner;
    out->age_ms = store_now_ms(s) - x->created_ms;
    out->failed = flags_of(x) & SLOT_FAILED;
    out->in_slab = flags_of(x) & SLOT_CELL;
    if (out->offset != NO_OFFSET) out->room_bytes = out->in_slab ? class_bytes(class_of(slot_room(s, x))) : extent_round(slot_room(s, x));
    if (x->site && x->site < SITES) memcpy(out->site, s->sites + (size_t)x->site * STORE_SITE_BYTES, STORE_SITE_BYTES - 1);
}

manta_status store_next(store *s, uint64_t *cursor, store_object *out)
{
    uint64_t high = load_seq(&s->control->slots_high);
    for (uint64_t i = *cursor; i < high && i < s->control->max_objects; i++) {
        slot *x = &s->slots[i];
        if (!load_acquire(&x->sequence)) continue;
        describe(s, x, out);
        *cursor = i + 1;
        return MANTA_OK;
    }
    return MANTA_EEND;
}

/* ---- the audit ---- */

typedef struct audit {
    store *store;
    void (*complain)(const char *line, void *context);
    void *context;
    uint64_t wrong, next_offset, used, free_extents, spilled;
    bool check_data, last_was_free;
} audit;

static void wrong(audit *a, const char *format, ...) MANTA_PRINTF(2, 3);
static void wrong(audit *a, const char *format, ...)
{
    enum { LINES = 1000 };
    char line[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    if (a->wrong++ < LINES && a->complain) a->complain(line, a->context);
}
#define ULL(x) ((unsigned long long)(x))

static void check_used(audit *a, uint64_t offset, const extent *e)
{
    store *s = a->store;
    if (e->kind == EXTENT_SLAB) {
        const slab *b = &s->slabs[offset / SLAB_GRANULE];
        if (load_seq(&((slab *)b)->state) == SLAB_NONE || b->first != offset / SLAB_GRANULE)
            wrong(a, "extent %llu: a slab, but no slab is there (leaked)", ULL(offset));
        return;
    }
    slot *x = e->slot < s->control->max_objects ? &s->slots[e->slot] : NULL;
    if (!x || load_seq(&x->sequence) != e->sequence)
        wrong(a, "extent %llu: of object %llu, which is gone (leaked %llu bytes)", ULL(offset), ULL(e->sequence), ULL(e->length));
    else if (load_seq(&x->offset) != offset || flags_of(x) & SLOT_CELL)
        wrong(a, "extent %llu: object %llu has its bytes elsewhere (%llu)", ULL(offset), ULL(e->sequence), ULL(load_seq(&x->offset)));
}

static bool check_extent(uint64_t offset, uint64_t length, const extent *used, void *context)
{
    audit *a = context;
    if (offset < a->next_offset) wrong(a, "extent %llu overlaps the one before, which ends at %llu", ULL(offset), ULL(a->next_offset));
    if (offset > a->next_offset) wrong(a, "bytes %llu to %llu are in no table (leaked)", ULL(a->next_offset), ULL(offset));
    if (!used && a->last_was_free && offset == a->next_offset)
        wrong(a, "free extent %llu does not join the free one before it", ULL(offset));
    a->next_offset = offset + length;
    a->last_was_free = !used;
    if (used) {
        a->used += length;
        check_used(a, offset, used);
    } else a->free_extents++;
    return true;
}

static void check_room(audit *a, slot *x)
{
    store *s = a->store;
    uint64_t offset = load_seq(&x->offset), bytes = slot_room(s, x);
    extent e;
    if (offset == NO_OFFSET) {
        if (bytes && state_of(x) == STORE_SEALED) wrong(a, "object %llu is sealed and has no room", ULL(load_relaxed(&x->sequence)));
        return;
    }
    if (offset + bytes > s->control->capacity) {
        wrong(a, "object %llu: %llu bytes at %llu lie outside of the arena", ULL(load_relaxed(&x->sequence)), ULL(bytes), ULL(offset));
        return;
    }
    if (!(flags_of(x) & SLOT_CELL)) {
        if (extent_find(s, offset, &e) || e.sequence != load_relaxed(&x->sequence) || e.length < bytes)
            wrong(a, "object %llu: no extent of its own at %llu", ULL(load_relaxed(&x->sequence)), ULL(offset));
        return;
    }
    const slab *b = slab_at_offset(s, offset);
    uint64_t inner = offset - (uint64_t)(b - s->slabs) * SLAB_GRANULE, cell = inner / class_bytes(b->class);
    if (cell >= b->cells || inner % class_bytes(b->class) || load_seq(&slab_tenants(s, b)[cell]) != slot_index(s, x) + 1)
        wrong(a, "object %llu: the cell at %llu is not its own", ULL(load_relaxed(&x->sequence)), ULL(offset));
}

static void check_spilled_data(audit *a, uint64_t sequence, const spilled_record *r)
{
    char text[SPILL_TEXT_LIMIT];
    spill_record record = {sequence, r->size_bytes, r->trailer_bytes, r->flags, r->crc};
    void *data = base_alloc(r->size_bytes + r->trailer_bytes + 1);
    spill_place place = {a->store->control->spill_path, a->store->control->salt, r->file_id};
    if (!data) wrong(a, "object %llu: no memory to read its %llu spilled bytes", ULL(sequence), ULL(r->size_bytes));
    else if (spill_file_read(place, r->offset, &record, data, text)) wrong(a, "object %llu: %s", ULL(sequence), text);
    base_free(data);
}

static bool check_spilled(uint64_t sequence, const spilled_record *r, void *context)
{
    audit *a = context;
    slot *x = r->slot < a->store->control->max_objects ? &a->store->slots[r->slot] : NULL;
    a->spilled++;
    if (!x || load_seq(&x->sequence) != sequence)
        wrong(a, "spilled object %llu is gone (leaked %llu bytes on disk)", ULL(sequence), ULL(r->size_bytes));
    else if (x->size_bytes != r->size_bytes)
        wrong(a, "spilled object %llu has %llu bytes on disk, %llu in its slot", ULL(sequence), ULL(r->size_bytes), ULL(x->size_bytes));
    else if (a->check_data) check_spilled_data(a, sequence, r);
    return true;
}

static void check_slot(audit *a, slot *x)
{
    store *s = a->store;
    uint64_t sequence = load_seq(&x->sequence), holders = load_seq(&x->holders);
    spilled_record r;
    if (!sequence) return;
    if (!(holders & PROCESS_MASK) && !load_seq(&x->inside)) wrong(a, "object %llu is held by nobody (leaked)", ULL(sequence));
    for (uint32_t i = 0; i < STORE_PROCESSES; i++)
        if (holders & 1ull << i && !load_seq(&process_of(s, i)->pid))
            wrong(a, "object %llu is held by process %u, which is not there", ULL(sequence), i);
    if (load_seq(&x->pins) & ~holders & PROCESS_MASK) wrong(a, "object %llu is pinned by a process that does not hold it", ULL(sequence));
    if (state_of(x) > STORE_DYING || state_of(x) == STORE_FREE)
        wrong(a, "object %llu is in state %u", ULL(sequence), (unsigned)state_of(x));
    if (state_of(x) == STORE_SPILLED && spill_index_find(s, sequence, &r))
        wrong(a, "object %llu is spilled, but nothing is known of its place on disk", ULL(sequence));
    check_room(a, x);
}

static void check_inside(audit *a)
{
    store *s = a->store;
    uint32_t *tally = base_calloc(s->control->max_objects, sizeof *tally);
    if (!tally) {
        wrong(a, "no memory to count the references inside objects");
        return;
    }
    inside_tally(s, tally);
    for (uint32_t i = 0; i < s->control->max_objects && i < load_seq(&s->control->slots_high); i++)
        if (load_seq(&s->slots[i].sequence) && load_seq(&s->slots[i].inside) != tally[i])
            wrong(a, "object %llu counts %u references from inside others, %u name it", ULL(load_relaxed(&s->slots[i].sequence)),
                load_seq(&s->slots[i].inside), tally[i]);
    base_free(tally);
}

static void check_slab(audit *a, uint64_t g)
{
    store *s = a->store;
    slab *b = &s->slabs[g];
    extent e;
    if (load_seq(&b->state) == SLAB_NONE || b->first != g) return;
    if (extent_find(s, g * SLAB_GRANULE, &e) || e.kind != EXTENT_SLAB) wrong(a, "slab %llu has no extent", ULL(g));
    if (b->class >= SLAB_CLASSES || b->cells > SLAB_CELLS) {
        wrong(a, "slab %llu: class %u with %u cells", ULL(g), b->class, b->cells);
        return;
    }
    for (uint32_t i = 0; i < b->cells; i++) {
        uint32_t tenant = load_seq(&slab_tenants(s, b)[i]);
        slot *x = tenant && tenant <= s->control->max_objects ? &s->slots[tenant - 1] : NULL;
        if (tenant && (!x || !load_seq(&x->sequence) || load_seq(&x->offset) != g * SLAB_GRANULE + (uint64_t)i * class_bytes(b->class)))
            wrong(a, "slab %llu: cell %u belongs to slot %u, which has no object there (leaked)", ULL(g), i, tenant - 1);
    }
}

static bool check_file(uint32_t file_id, const file_record *r, void *context)
{
    audit *a = context;
    if (!r->objects && !r->writer) wrong(a, "spill file %u is empty and still there", file_id);
    if (r->live_bytes > r->bytes) wrong(a, "spill file %u: %llu of %llu bytes are alive", file_id, ULL(r->live_bytes), ULL(r->bytes));
    return true;
}

manta_status store_audit(store *s, bool check_data, void (*complain)(const char *line, void *context), void *context)
{
    audit a = {.store = s, .complain = complain, .context = context, .check_data = check_data};
    uint64_t high = load_seq(&s->control->slots_high), granules = s->control->capacity / SLAB_GRANULE;
    if (!s->inspect) (void)mutex_lock_robust(&s->control->evicting); /* nothing moves to disk or there meanwhile */
    if (index_read_checked(s, NULL)) {
        wrong(&a, "%s", store_error());
        goto end; /* what it says is not to be trusted */
    }
    if (extents_walk(s, check_extent, &a)) wrong(&a, "%s", store_error());
    else if (a.next_offset != s->control->capacity)
        wrong(&a, "the extents end at %llu, the arena at %llu", ULL(a.next_offset), ULL(s->control->capacity));
    if (a.used != load_seq(&s->control->used_bytes))
        wrong(&a, "%llu bytes are in use, %llu are counted", ULL(a.used), ULL(load_seq(&s->control->used_bytes)));
    if (extents_sizes(s) != a.free_extents)
        wrong(&a, "the table of free extents by size has %llu entries, the one by offset %llu", ULL(extents_sizes(s)), ULL(a.free_extents));
    for (uint64_t i = 0; i < high && i < s->control->max_objects; i++) check_slot(&a, &s->slots[i]);
    for (uint64_t g = 0; g < granules; g++) check_slab(&a, g);
    check_inside(&a);
    if (spilled_walk(s, check_spilled, &a) || files_walk(s, check_file, &a)) wrong(&a, "%s", store_error());
end:
    if (!s->inspect) pthread_mutex_unlock(&s->control->evicting);
    return a.wrong ? store_fail_(MANTA_EIO, "%s: %llu things are wrong", s->path, ULL(a.wrong)) : MANTA_OK;
}
