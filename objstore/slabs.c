/*
 * Slabs: extents cut into equal cells, for objects up to 64 KiB.
 *
 * A slab is nobody's (ACTIVE), or some process takes cells from it (CURRENT), or it is being freed (TAKEN). A cell's tenant is the number of its slot + 1: freeing is one
 * compare-and-swap from that number to 0, by anybody, and doing it again does nothing. Only the process whose slab it is sets tenants; its free cells stand in a stack of its own.
 */
#include <string.h>

#include "objstore/internal.h"

enum { STEP_FROM = 512, RECENT = 64, USED_DRIFT = STORE_PROCESSES };
static inline uint32_t with_process(const store *s, uint32_t state) { return state | (s->me + 1) << 8; }

/* ---- size classes: steps of 64 bytes up to 512, then four to a doubling ---- */

uint32_t class_of(uint64_t bytes)
{
    if (bytes <= STEP_FROM) return bytes ? (uint32_t)((bytes - 1) / CELL_MIN) : 0;
    uint32_t top = 63 - (uint32_t)__builtin_clzll(bytes - 1); /* 2^top <= bytes - 1 */
    return 8 + (top - 9) * 4 + (uint32_t)(((bytes - 1) >> (top - 2)) & 3);
}

uint32_t class_bytes(uint32_t class)
{
    if (class < 8) return (class + 1) * CELL_MIN;
    uint32_t top = 9 + (class - 8) / 4, quarter = (class - 8) % 4;
    return (1u << top) + (quarter + 1) * (1u << (top - 2));
}

static uint32_t slab_bytes(uint32_t class) { return class_bytes(class) <= 8192 ? SLAB_GRANULE : SLAB_BIG; }

slab *slab_at_offset(const store *s, uint64_t offset) { return &s->slabs[s->slabs[offset / SLAB_GRANULE].first]; }

_Atomic uint32_t *slab_tenants(const store *s, const slab *b) { return &s->tenants[(size_t)(b - s->slabs) * SLAB_CELLS]; }

/* ---- the stack of free cells ---- */

static bool load_cells(store *s, cell_cache *c, slab *b)
{
    _Atomic uint32_t *tenants = slab_tenants(s, b);
    c->granule = (uint32_t)(b - s->slabs);
    c->has_current = true;
    c->count = 0;
    store_seq(&b->freed, 0);
    for (uint32_t i = b->cells; i-- > 0;)
        if (!load_relaxed(&tenants[i])) c->cells[c->count++] = (uint16_t)i;
    return c->count > 0;
}

static bool make_current(store *s, cell_cache *c, slab *b)
{
    uint32_t expected = SLAB_ACTIVE;
    return cas_seq(&b->state, &expected, with_process(s, SLAB_CURRENT)) && load_cells(s, c, b);
}

static void let_go(cell_cache *c, slab *b)
{
    add_seq(&b->freed, c->count);
    c->has_current = false;
    c->count = 0;
    store_seq(&b->state, SLAB_ACTIVE);
}

static void remember(cell_cache *c, uint32_t granule)
{
    if (c->n_recent == RECENT) memmove(c->recent, c->recent + 1, --c->n_recent * sizeof *c->recent);
    c->recent[c->n_recent++] = granule;
}

static bool take_recent(store *s, cell_cache *c, uint32_t class)
{
    for (uint32_t i = c->n_recent; i-- > 0;) {
        slab *b = &s->slabs[c->recent[i]];
        bool mine = (load_acquire(&b->state) & 0xff) == SLAB_ACTIVE && b->class == class;
        if (mine && !load_relaxed(&b->freed)) continue;
        memmove(c->recent + i, c->recent + i + 1, (--c->n_recent - i) * sizeof *c->recent);
        if (!mine) continue; /* it is another's by now */
        if (make_current(s, c, b)) return true;
        if (c->has_current) let_go(c, b);
    }
    return false;
}

/* Any slab of the class with free cells; when there is no room for a new one. */
static bool take_any(store *s, cell_cache *c, uint32_t class)
{
    uint32_t granules = (uint32_t)(s->control->capacity / SLAB_GRANULE);
    for (uint32_t g = 0; g < granules; g++) {
        slab *b = &s->slabs[g];
        if (load_acquire(&b->state) != SLAB_ACTIVE || b->class != class || b->first != g || load_relaxed(&b->used) >= b->cells) continue;
        if (make_current(s, c, b)) return true;
        if (c->has_current) let_go(c, b);
    }
    return false;
}

/* ---- new and empty slabs ---- */

static void fill_header(store *s, uint64_t offset, uint32_t class)
{
    uint32_t g = (uint32_t)(offset / SLAB_GRANULE), n = slab_bytes(class) / SLAB_GRANULE;
    slab *b = &s->slabs[g];
    for (uint32_t i = 0; i < n; i++) s->slabs[g + i].first = g;
    b->class = class;
    b->cells = slab_bytes(class) / class_bytes(class);
    store_relaxed(&b->used, 0);
    store_relaxed(&b->freed, 0);
    memset(slab_tenants(s, b), 0, b->cells * sizeof(uint32_t));
    store_seq(&b->state, with_process(s, SLAB_CURRENT));
}

static manta_status new_slab(store *s, cell_cache *c, uint32_t class)
{
    intent *in = intent_take(s);
    uint64_t offset;
    manta_status status = extent_alloc(s, slab_bytes(class), (extent){.kind = EXTENT_SLAB}, in, &offset);
    if (!status) {
        uint64_t tenants = (uint64_t)((unsigned char *)&s->tenants[offset / SLAB_GRANULE * SLAB_CELLS] - (unsigned char *)s->control);
        int error = os_file_allocate(s->control_fd, tenants, slab_bytes(class) / class_bytes(class) * sizeof(uint32_t));
        if (error) {
            (void)extent_release(s, offset, 0);
            status = store_fail_(MANTA_ESTOREFULL, "%s: no room on the tmpfs for a slab: %s", s->path, strerror(error));
        } else {
            fill_header(s, offset, class);
            load_cells(s, c, slab_at_offset(s, offset));
        }
    }
    intent_drop(s, in);
    return status;
}

static bool has_tenants(const store *s, const slab *b)
{
    _Atomic uint32_t *tenants = slab_tenants(s, b);
    for (uint32_t i = 0; i < b->cells; i++)
        if (load_seq(&tenants[i])) return true;
    return false;
}

/* `used` is a hint: a process that died between two steps of a cell leaves it too high. The tenants decide. */
static void free_slab(store *s, slab *b)
{
    uint32_t expected = SLAB_ACTIVE, g = (uint32_t)(b - s->slabs);
    if (!cas_seq(&b->state, &expected, with_process(s, SLAB_TAKEN))) return;
    if (has_tenants(s, b)) {
        store_seq(&b->state, SLAB_ACTIVE);
        return;
    }
    intent *in = intent_take(s);
    in->sequence = 0;
    store_seq(&in->offset, (uint64_t)g * SLAB_GRANULE + 1);
    store_seq(&b->state, SLAB_NONE);
    if (extent_release(s, (uint64_t)g * SLAB_GRANULE, 0)) store_seq(&b->state, SLAB_ACTIVE); /* still ours: another time */
    intent_drop(s, in);
}

void slab_trim(store *s, bool all)
{
    for (uint32_t k = 0; all && k < SLAB_CLASSES; k++) {
        cell_cache *c = &s->classes[k];
        pthread_mutex_lock(&c->lock);
        if (c->has_current) {
            slab *b = &s->slabs[c->granule];
            remember(c, c->granule);
            let_go(c, b);
        }
        pthread_mutex_unlock(&c->lock);
    }
    uint32_t granules = (uint32_t)(s->control->capacity / SLAB_GRANULE);
    for (uint32_t g = 0; g < granules; g++)
        if (load_relaxed(&s->slabs[g].state) == SLAB_ACTIVE && s->slabs[g].first == g && !load_relaxed(&s->slabs[g].used))
            free_slab(s, &s->slabs[g]);
}

/* ---- cells ---- */

static manta_status refill(store *s, cell_cache *c, uint32_t class)
{
    if (c->has_current) {
        slab *b = &s->slabs[c->granule];
        if (load_relaxed(&b->freed) && load_cells(s, c, b)) return MANTA_OK;
        remember(c, c->granule);
        let_go(c, b);
    }
    if (take_recent(s, c, class)) return MANTA_OK;
    manta_status status = new_slab(s, c, class);
    return status == MANTA_ESTOREFULL && take_any(s, c, class) ? MANTA_OK : status;
}

/* x names its cell before the lock is let go: until then the slab is ours, so a death in between leaves nothing (slab_recover). */
manta_status cell_alloc(store *s, uint64_t bytes, slot *x)
{
    uint32_t class = class_of(bytes);
    cell_cache *c = &s->classes[class];
    pthread_mutex_lock(&c->lock);
    manta_status status = c->count ? MANTA_OK : refill(s, c, class);
    if (!status) {
        slab *b = &s->slabs[c->granule];
        uint32_t cell = c->cells[--c->count];
        add_seq(&b->used, 1);
        store_seq(&slab_tenants(s, b)[cell], slot_index(s, x) + 1);
        flags_set(x, SLOT_CELL);
        store_seq(&x->offset, (uint64_t)c->granule * SLAB_GRANULE + (uint64_t)cell * class_bytes(class));
    }
    pthread_mutex_unlock(&c->lock);
    return status;
}

void cell_free(store *s, uint64_t offset, uint32_t slot_number)
{
    slab *b = slab_at_offset(s, offset);
    uint32_t cell = (uint32_t)((offset - (uint64_t)(b - s->slabs) * SLAB_GRANULE) / class_bytes(b->class)), expected = slot_number + 1;
    if (cell >= b->cells || !cas_seq(&slab_tenants(s, b)[cell], &expected, 0)) return;
    add_seq(&b->freed, 1);
    bool empty = sub_seq(&b->used, 1) == 1;
    if (empty && load_seq(&b->state) == SLAB_ACTIVE) free_slab(s, b);
}

void slab_recover(store *s, slab *b)
{
    _Atomic uint32_t *tenants = slab_tenants(s, b);
    uint64_t base = (uint64_t)(b - s->slabs) * SLAB_GRANULE;
    uint32_t before = load_seq(&b->used), used = 0;
    for (uint32_t i = 0; i < b->cells; i++) {
        uint32_t tenant = load_seq(&tenants[i]);
        slot *x = tenant && tenant <= s->control->max_objects ? &s->slots[tenant - 1] : NULL;
        bool good = x && load_seq(&x->sequence) && load_seq(&x->offset) == base + (uint64_t)i * class_bytes(b->class);
        if (tenant && !good) (void)cas_seq(&tenants[i], &tenant, 0);
        used += good;
    }
    (void)cas_seq(&b->used, &before, used); /* not when others free cells meanwhile: it is a hint */
    store_seq(&b->freed, b->cells - used);
}
