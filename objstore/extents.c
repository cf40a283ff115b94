/*
 * The arena's extents: who has which part, in LMDB. A part is either in `used` or free, and the free ones stand in two tables, by offset and by size; one transaction changes
 * all. A process that is killed in one leaves the tables as they were.
 *
 * Slabs are taken from the lowest free place, large objects from the end of the smallest free extent that holds them, so the two kinds meet seldom. Freed extents grow
 * together with free neighbours at once.
 *
 * An extent is named by an intent in this process's row from before the commit until a slot or slab says where it is: the reaper frees what only an intent names.
 */
#include <endian.h>
#include <stdio.h>
#include <string.h>

#include "objstore/internal.h"

enum {
    LMDB_READERS = 256,
    SLAB_STEPS = 256,
    PAGE_SMALL = 4096,
    PAGE_MIDDLE = 64 << 10,
    PAGE_LARGE = 2 << 20,
    MIDDLE_FROM = 1 << 20,
    LARGE_FROM = 32 << 20
};
typedef struct size_key {
    uint64_t length, offset; /* big endian */
} size_key;

manta_status index_fail(const store *s, const char *what, int error)
{
    if (error == MDB_MAP_FULL) return store_fail_(MANTA_ESTOREFULL, "%s: the index is full (%s)", s->path, what);
    if (error == ENOMEM) return store_fail_(MANTA_ENOMEM, "%s: no memory for the index (%s)", s->path, what);
    return store_fail_(MANTA_EIO, "%s/index: %s: %s", s->path, what, mdb_strerror(error));
}

uint64_t index_bytes(uint64_t capacity, uint64_t max_objects)
{
    uint64_t bytes = (8u << 20) + capacity / 64 + max_objects * 16;
    return (bytes + OS_PAGE - 1) & ~(uint64_t)(OS_PAGE - 1);
}

uint64_t extent_round(uint64_t bytes)
{
    uint64_t page = bytes < MIDDLE_FROM ? PAGE_SMALL : bytes < LARGE_FROM ? PAGE_MIDDLE : PAGE_LARGE;
    return (bytes + page - 1) & ~(page - 1);
}

static MDB_val val(const void *data, size_t size) { return (MDB_val){size, (void *)(uintptr_t)data}; }

static int take_out(MDB_val v, void *out, size_t size)
{
    if (v.mv_size != size) return MDB_CORRUPTED;
    memcpy(out, v.mv_data, size);
    return 0;
}

/* ---- opening ---- */

static int open_tables(store *s, MDB_txn *t, unsigned create)
{
    int e = mdb_dbi_open(t, "by_offset", MDB_INTEGERKEY | create, &s->by_offset);
    if (!e) e = mdb_dbi_open(t, "by_size", create, &s->by_size);
    if (!e) e = mdb_dbi_open(t, "used", MDB_INTEGERKEY | create, &s->used);
    if (!e) e = mdb_dbi_open(t, "spilled", MDB_INTEGERKEY | create, &s->spilled);
    if (!e) e = mdb_dbi_open(t, "files", MDB_INTEGERKEY | create, &s->files);
    if (!e) e = mdb_dbi_open(t, "totals", MDB_INTEGERKEY | create, &s->totals);
    return e;
}

static int free_add(store *s, MDB_txn *t, uint64_t offset, uint64_t length)
{
    size_key key = {htobe64(length), htobe64(offset)};
    MDB_val k = val(&offset, 8), v = val(&length, 8), sk = val(&key, sizeof key), none = val("", 0);
    int e = mdb_put(t, s->by_offset, &k, &v, 0);
    return e ? e : mdb_put(t, s->by_size, &sk, &none, 0);
}

static int free_remove(store *s, MDB_txn *t, uint64_t offset, uint64_t length)
{
    size_key key = {htobe64(length), htobe64(offset)};
    MDB_val k = val(&offset, 8), sk = val(&key, sizeof key);
    int e = mdb_del(t, s->by_offset, &k, NULL);
    return e ? e : mdb_del(t, s->by_size, &sk, NULL);
}

/* The bytes in use, in LMDB and, for everybody to see, in the control file: right again with the next transaction when a process dies in this one. */
static int count_used(store *s, MDB_txn *t, uint64_t more, uint64_t less)
{
    uint64_t key = 0, total = 0;
    MDB_val k = val(&key, 8), v;
    int e = mdb_get(t, s->totals, &k, &v);
    if (e && e != MDB_NOTFOUND) return e;
    if (!e && (e = take_out(v, &total, 8))) return e;
    total += more - less;
    v = val(&total, 8);
    if (!(e = mdb_put(t, s->totals, &k, &v, 0))) store_seq(&s->control->used_bytes, total);
    return e;
}

void extents_recount(store *s)
{
    MDB_txn *t;
    if (mdb_txn_begin(s->env, NULL, 0, &t)) return;
    (void)count_used(s, t, 0, 0);
    mdb_txn_abort(t);
}

static int open_env(store *s, const char *path, uint64_t map_bytes)
{
    unsigned flags = MDB_NOSUBDIR | MDB_NOTLS | MDB_NORDAHEAD | (s->inspect ? MDB_RDONLY : MDB_WRITEMAP | MDB_NOSYNC);
    int e = mdb_env_create(&s->env);
    if (!e) e = mdb_env_set_mapsize(s->env, map_bytes);
    if (!e) e = mdb_env_set_maxdbs(s->env, 8);
    if (!e) e = mdb_env_set_maxreaders(s->env, LMDB_READERS);
    return e ? e : mdb_env_open(s->env, path, flags, 0600);
}

static int open_existing(store *s, MDB_txn *t) { return open_tables(s, t, 0); }

manta_status index_read_checked(store *s, int (*then)(store *s, MDB_txn *t))
{
    enum { TRIES = 100 };
    manta_status status = MANTA_ENOTREADY;
    for (int i = 0; i < TRIES && status == MANTA_ENOTREADY; i++) {
        MDB_txn *t;
        int e = mdb_txn_begin(s->env, NULL, MDB_RDONLY, &t);
        if (e) return index_fail(s, "cannot be read", e);
        status = index_check(s, mdb_txn_id(t));
        if (!status && then) e = then(s, t);
        if (status || e) mdb_txn_abort(t);
        else e = mdb_txn_commit(t); /* keeps the handles of tables that `then` opened */
        if (e) return index_fail(s, "cannot be read", e);
    }
    return status == MANTA_ENOTREADY ? store_fail_(MANTA_EIO, "%s/index: it changes too fast to be checked", s->path) : status;
}

static int begin_tables(store *s, bool create)
{
    MDB_txn *t;
    int e = mdb_txn_begin(s->env, NULL, 0, &t);
    if (e) return e;
    e = open_tables(s, t, create ? MDB_CREATE : 0);
    if (!e && create) e = free_add(s, t, 0, s->control->capacity);
    if (!e) return mdb_txn_commit(t);
    mdb_txn_abort(t);
    return e;
}

/* LMDB's files get their room before LMDB writes there: a full tmpfs is an error here, and no SIGBUS later. */
static int allocate_file(const char *path, uint64_t bytes)
{
    int fd = -1, e = os_file_open(path, OS_WRITE | OS_CREATE, &fd);
    if (!e) e = os_file_allocate(fd, 0, bytes);
    os_file_close(fd);
    return e;
}

/* Before LMDB opens it: whoever closes this file lets go of LMDB's locks in it. LMDB takes as many readers as fit. */
static manta_status allocate_locks(const store *s)
{
    enum { READER_BYTES = 64, BYTES = OS_PAGE + LMDB_READERS * READER_BYTES };
    char path[600];
    snprintf(path, sizeof path, "%s/index-lock", s->path);
    int e = allocate_file(path, BYTES);
    return e ? store_fail_(e == ENOSPC ? MANTA_ESTOREFULL : MANTA_EIO, "%s: no room for %d bytes: %s", path, BYTES, strerror(e)) : MANTA_OK;
}

manta_status extents_open(store *s, bool create)
{
    char path[600];
    uint64_t bytes = index_bytes(s->control->capacity, s->control->max_objects);
    manta_status status = create ? allocate_locks(s) : MANTA_OK;
    if (status) return status;
    snprintf(path, sizeof path, "%s/index", s->path);
    int e = open_env(s, path, bytes);
    if (!e && create && (e = allocate_file(path, bytes)))
        return store_fail_(MANTA_ESTOREFULL, "%s: no room for an index of %llu bytes: %s", path, (unsigned long long)bytes, strerror(e));
    if (!e && s->inspect) return index_read_checked(s, open_existing);
    if (!e) e = begin_tables(s, create);
    return e ? index_fail(s, "cannot be opened", e) : MANTA_OK;
}

void extents_close(store *s)
{
    if (s->env) mdb_env_close(s->env);
    s->env = NULL;
}

/* ---- intents ---- */

intent *intent_take(store *s)
{
    process *p = process_of(s, s->me);
    for (;;) { /* as many as INTENTS threads may be between two places of one transaction each */
        uint64_t busy = load_relaxed(&p->intents_busy);
        if (busy == UINT64_MAX) {
            spin_pause();
            continue;
        }
        int i = __builtin_ctzll(~busy);
        if (cas_seq(&p->intents_busy, &busy, busy | 1ull << i)) return &p->intents[i];
    }
}

void intent_drop(store *s, intent *in)
{
    process *p = process_of(s, s->me);
    store_seq(&in->offset, 0);
    atomic_fetch_and_explicit(&p->intents_busy, ~(1ull << (in - p->intents)), memory_order_seq_cst);
}

/* ---- taking ---- */

typedef struct hole {
    uint64_t offset, length; /* the free extent */
    uint64_t at;             /* where the new one begins in it */
} hole;

static int find_smallest(store *s, MDB_txn *t, uint64_t bytes, hole *out)
{
    MDB_cursor *c;
    size_key key = {htobe64(bytes), 0};
    MDB_val k = val(&key, sizeof key), v;
    int e = mdb_cursor_open(t, s->by_size, &c);
    if (e) return e;
    e = mdb_cursor_get(c, &k, &v, MDB_SET_RANGE);
    if (!e) e = take_out(k, &key, sizeof key);
    if (!e) {
        *out = (hole){be64toh(key.offset), be64toh(key.length), 0};
        out->at = out->offset + out->length - bytes;
    }
    mdb_cursor_close(c);
    return e;
}

/* The lowest free place for an aligned slab. */
static int find_lowest(store *s, MDB_txn *t, uint64_t bytes, hole *out)
{
    MDB_cursor *c;
    MDB_val k, v;
    int e = mdb_cursor_open(t, s->by_offset, &c);
    if (e) return e;
    e = mdb_cursor_get(c, &k, &v, MDB_FIRST);
    for (int steps = 0; !e; steps++, e = mdb_cursor_get(c, &k, &v, MDB_NEXT)) {
        if ((e = take_out(k, &out->offset, 8)) || (e = take_out(v, &out->length, 8))) break;
        out->at = (out->offset + bytes - 1) & ~(bytes - 1);
        if (out->at + bytes <= out->offset + out->length) break;
        if (steps >= SLAB_STEPS) { /* many small holes: take one that surely holds it */
            if (!(e = find_smallest(s, t, 2 * bytes, out))) out->at = (out->offset + bytes - 1) & ~(bytes - 1);
            break;
        }
    }
    mdb_cursor_close(c);
    return e;
}

static int take(store *s, MDB_txn *t, const extent *e, uint64_t *out_offset)
{
    hole h;
    int error = e->kind == EXTENT_SLAB ? find_lowest(s, t, e->length, &h) : find_smallest(s, t, e->length, &h);
    if (!error) error = free_remove(s, t, h.offset, h.length);
    if (!error && h.at > h.offset) error = free_add(s, t, h.offset, h.at - h.offset);
    uint64_t end = h.offset + h.length, mine = h.at + e->length;
    if (!error && end > mine) error = free_add(s, t, mine, end - mine);
    MDB_val k = val(&h.at, 8), v = val(e, sizeof *e);
    if (!error) error = mdb_put(t, s->used, &k, &v, 0);
    if (!error) error = count_used(s, t, e->length, 0);
    if (!error) *out_offset = h.at;
    return error;
}

/* In a store that grows: every byte of an extent has its room before anybody touches it, so no touch is a SIGBUS. Two processes may give a part its room at once. */
static manta_status back(store *s, uint64_t offset, uint64_t bytes)
{
    for (uint64_t part = offset / OS_HUGE_PAGE; part * OS_HUGE_PAGE < offset + bytes; part++) {
        if (likely(load_acquire(&s->backed[part]))) continue;
        int error = os_file_allocate(s->arena_fd, part * OS_HUGE_PAGE, OS_HUGE_PAGE);
        if (error) return store_fail_(MANTA_ESTOREFULL, "%s/arena: no room on the tmpfs for more: %s", s->path, strerror(error));
        store_release(&s->backed[part], 1);
    }
    return MANTA_OK;
}

manta_status extent_alloc(store *s, uint64_t bytes, extent e, intent *in, uint64_t *out_offset)
{
    MDB_txn *t;
    uint64_t offset;
    e.length = bytes;
    e.owner = (uint8_t)s->me;
    int error = mdb_txn_begin(s->env, NULL, 0, &t);
    if (error) return index_fail(s, "allocate", error);
    if ((error = take(s, t, &e, &offset))) {
        mdb_txn_abort(t);
        if (error == MDB_NOTFOUND)
            return store_fail_(MANTA_ESTOREFULL, "%s: no free extent of %llu bytes", s->path, (unsigned long long)bytes);
        return index_fail(s, "allocate", error);
    }
    in->sequence = e.sequence;
    store_seq(&in->offset, offset + 1);
    if ((error = mdb_txn_commit(t))) {
        store_seq(&in->offset, 0);
        return index_fail(s, "commit an allocation", error);
    }
    *out_offset = offset;
    manta_status status = back(s, offset, bytes);
    if (status) (void)extent_release(s, offset, e.sequence);
    return status;
}

/* ---- giving back ---- */

/* Widens [*offset, *offset + *length) by the free extents that touch it, which leave the tables. */
static int absorb(store *s, MDB_txn *t, uint64_t *offset, uint64_t *length)
{
    MDB_cursor *c;
    MDB_val k = val(offset, 8), v;
    uint64_t next = 0, next_length = 0, before = 0, before_length = 0;
    int e = mdb_cursor_open(t, s->by_offset, &c);
    if (e) return e;
    e = mdb_cursor_get(c, &k, &v, MDB_SET_RANGE);
    if (!e && !(e = take_out(k, &next, 8))) e = take_out(v, &next_length, 8);
    int p = e == MDB_NOTFOUND ? mdb_cursor_get(c, &k, &v, MDB_LAST) : e ? e : mdb_cursor_get(c, &k, &v, MDB_PREV);
    if (!p && !(p = take_out(k, &before, 8))) p = take_out(v, &before_length, 8);
    mdb_cursor_close(c);
    if ((e && e != MDB_NOTFOUND) || (p && p != MDB_NOTFOUND)) return e && e != MDB_NOTFOUND ? e : p;
    e = 0;
    if (next_length && next == *offset + *length && !(e = free_remove(s, t, next, next_length))) *length += next_length;
    if (!e && before_length && before + before_length == *offset && !(e = free_remove(s, t, before, before_length))) {
        *offset = before;
        *length += before_length;
    }
    return e;
}

static int give(store *s, MDB_txn *t, uint64_t offset, uint64_t sequence, uint64_t *out_length)
{
    MDB_val k = val(&offset, 8), v;
    extent e;
    int error = mdb_get(t, s->used, &k, &v);
    if (error) return error;
    if ((error = take_out(v, &e, sizeof e))) return error;
    if (e.sequence != sequence) return MDB_NOTFOUND;
    *out_length = e.length;
    if ((error = mdb_del(t, s->used, &k, NULL))) return error;
    error = absorb(s, t, &offset, &e.length);
    if (!error) error = count_used(s, t, 0, *out_length);
    return error ? error : free_add(s, t, offset, e.length);
}

static int release_once(store *s, uint64_t offset, uint64_t sequence)
{
    MDB_txn *t;
    uint64_t length = 0;
    int error = mdb_txn_begin(s->env, NULL, 0, &t);
    if (error) return error;
    if (!(error = give(s, t, offset, sequence, &length))) return mdb_txn_commit(t);
    mdb_txn_abort(t);
    return error == MDB_NOTFOUND ? 0 : error;
}

/* An index that readers of old pages have made full (even freeing needs pages) is tried again for a moment. */
manta_status extent_release(store *s, uint64_t offset, uint64_t sequence)
{
    enum { TRIES = 20 };
    int error = release_once(s, offset, sequence), dead;
    for (int i = 0; error == MDB_MAP_FULL && i < TRIES; i++) {
        _Atomic uint32_t nobody = 0;
        (void)mdb_reader_check(s->env, &dead);
        (void)os_futex_wait(&nobody, 0, OS_NS_PER_MS);
        error = release_once(s, offset, sequence);
    }
    return error ? index_fail(s, "free", error) : MANTA_OK;
}

/* ---- looking ---- */

manta_status extent_find(store *s, uint64_t offset, extent *out)
{
    MDB_txn *t;
    MDB_val k = val(&offset, 8), v;
    int error = mdb_txn_begin(s->env, NULL, MDB_RDONLY, &t);
    if (error) return index_fail(s, "look up", error);
    error = mdb_get(t, s->used, &k, &v);
    if (!error) error = take_out(v, out, sizeof *out);
    mdb_txn_abort(t);
    return error == MDB_NOTFOUND ? MANTA_ENOTFOUND : error ? index_fail(s, "look up", error) : MANTA_OK;
}

typedef struct side { /* one of the two tables that a walk merges */
    MDB_cursor *cursor;
    uint64_t offset;
    MDB_val value;
    int error;
} side;

static int side_step(side *x, MDB_cursor_op op, size_t value_bytes)
{
    MDB_val k;
    x->error = mdb_cursor_get(x->cursor, &k, &x->value, op);
    if (x->error) return x->error == MDB_NOTFOUND ? 0 : x->error;
    if (k.mv_size != 8 || x->value.mv_size != value_bytes) return MDB_CORRUPTED;
    memcpy(&x->offset, k.mv_data, 8);
    return 0;
}

static int walk(side *used, side *hole_, extent_visit visit, void *context)
{
    int e = side_step(used, MDB_FIRST, sizeof(extent));
    if (!e) e = side_step(hole_, MDB_FIRST, 8);
    while (!e && !(used->error && hole_->error)) {
        bool is_used = !used->error && (hole_->error || used->offset < hole_->offset);
        extent x;
        uint64_t length;
        if (is_used) memcpy(&x, used->value.mv_data, sizeof x);
        else memcpy(&length, hole_->value.mv_data, 8);
        if (!visit(is_used ? used->offset : hole_->offset, is_used ? x.length : length, is_used ? &x : NULL, context)) break;
        e = is_used ? side_step(used, MDB_NEXT, sizeof(extent)) : side_step(hole_, MDB_NEXT, 8);
    }
    return e;
}

manta_status extents_walk(store *s, extent_visit visit, void *context)
{
    MDB_txn *t;
    side used = {0}, hole_ = {0};
    int error = mdb_txn_begin(s->env, NULL, MDB_RDONLY, &t);
    if (error) return index_fail(s, "walk", error);
    error = mdb_cursor_open(t, s->used, &used.cursor);
    if (!error) error = mdb_cursor_open(t, s->by_offset, &hole_.cursor);
    if (!error) error = walk(&used, &hole_, visit, context);
    if (used.cursor) mdb_cursor_close(used.cursor);
    if (hole_.cursor) mdb_cursor_close(hole_.cursor);
    mdb_txn_abort(t);
    return error ? index_fail(s, "walk", error) : MANTA_OK;
}

uint64_t extents_sizes(store *s)
{
    MDB_txn *t;
    MDB_stat st = {0};
    if (mdb_txn_begin(s->env, NULL, MDB_RDONLY, &t)) return 0;
    (void)mdb_stat(t, s->by_size, &st);
    mdb_txn_abort(t);
    return st.ms_entries;
}

/* ---- checking ---- */

typedef struct tiling {
    uint64_t next, used, holes;
    bool broken;
} tiling;

static bool tile(uint64_t offset, uint64_t length, const extent *used, void *context)
{
    tiling *t = context;
    t->broken = offset != t->next || length == 0 || length % PAGE_SMALL || length > UINT64_MAX - offset;
    t->next = offset + length;
    if (used) t->used += length;
    else t->holes++;
    return !t->broken;
}

/* Every entry by size is one by offset; *out_count of them. */
static int check_sizes(store *s, MDB_txn *t, uint64_t *out_count)
{
    MDB_cursor *c;
    MDB_val k, v;
    int e = mdb_cursor_open(t, s->by_size, &c);
    if (e) return e;
    for (e = mdb_cursor_get(c, &k, &v, MDB_FIRST); !e; e = mdb_cursor_get(c, &k, &v, MDB_NEXT)) {
        size_key key;
        uint64_t offset, length;
        if ((e = take_out(k, &key, sizeof key))) break;
        offset = be64toh(key.offset);
        MDB_val ok = val(&offset, 8);
        if ((e = mdb_get(t, s->by_offset, &ok, &v))) break;
        if (take_out(v, &length, 8) || length != be64toh(key.length)) break;
        ++*out_count;
    }
    mdb_cursor_close(c);
    return e == MDB_NOTFOUND ? 0 : e; /* one that is missing shows in the count */
}

static int check_totals(store *s, MDB_txn *t, uint64_t used)
{
    uint64_t key = 0, total;
    MDB_val k = val(&key, 8), v;
    int e = mdb_get(t, s->totals, &k, &v);
    if (e == MDB_NOTFOUND) return used ? MDB_CORRUPTED : 0;
    if (!e) e = take_out(v, &total, 8);
    return e ? e : total == used ? 0 : MDB_CORRUPTED;
}

manta_status extents_check(store *s)
{
    MDB_txn *t;
    tiling x = {0};
    uint64_t sizes = 0;
    manta_status status = extents_walk(s, tile, &x);
    if (status) return status;
    int e = mdb_txn_begin(s->env, NULL, MDB_RDONLY, &t);
    if (e) return index_fail(s, "check", e);
    e = check_sizes(s, t, &sizes);
    if (!e) e = check_totals(s, t, x.used);
    mdb_txn_abort(t);
    if (e && e != MDB_CORRUPTED) return index_fail(s, "check", e);
    if (e || x.broken || x.next != s->control->capacity || sizes != x.holes)
        return store_fail_(MANTA_EIO, "%s/index: its tables of extents contradict each other at byte %llu of the arena", s->path,
            (unsigned long long)x.next);
    return MANTA_OK;
}
