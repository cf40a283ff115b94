#include "objstore/spill_index.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { COMPACT_FROM = 1 << 20 };

static spill_place place_of(const store *s, uint64_t file_id) { return (spill_place){s->control->spill_path, s->control->salt, file_id}; }
static MDB_val val(const void *data, size_t size) { return (MDB_val){size, (void *)(uintptr_t)data}; }

/* ---- records ---- */

static int get(MDB_txn *t, MDB_dbi table, uint64_t key, void *out, size_t size)
{
    MDB_val k = val(&key, 8), v;
    int e = mdb_get(t, table, &k, &v);
    if (e) return e;
    if (v.mv_size != size) return MDB_CORRUPTED;
    memcpy(out, v.mv_data, size);
    return 0;
}

static int put(MDB_txn *t, MDB_dbi table, uint64_t key, const void *data, size_t size)
{
    MDB_val k = val(&key, 8), v = val(data, size);
    return mdb_put(t, table, &k, &v, 0);
}

static int del(MDB_txn *t, MDB_dbi table, uint64_t key)
{
    MDB_val k = val(&key, 8);
    return mdb_del(t, table, &k, NULL);
}

/* Ends a transaction; a failed one is given up. */
static manta_status end(store *s, MDB_txn *t, int error, const char *what)
{
    if (error) mdb_txn_abort(t);
    else error = mdb_txn_commit(t);
    return error ? index_fail(s, what, error) : MANTA_OK;
}

static void remove_file(store *s, uint64_t file_id, uint64_t bytes)
{
    char text[SPILL_TEXT_LIMIT];
    (void)spill_file_remove(place_of(s, file_id), text); /* one that stays is found again when the node starts */
    atomic_fetch_sub_explicit(&s->control->spill_disk_bytes, bytes, memory_order_seq_cst);
}

/* ---- files ---- */

manta_status spill_index_new_file(store *s, uint32_t file_id)
{
    MDB_txn *t;
    file_record f = {.bytes = SPILL_FILE_HEADER, .writer = s->me + 1};
    int e = mdb_txn_begin(s->env, NULL, 0, &t);
    if (e) return index_fail(s, "note a spill file", e);
    manta_status status = end(s, t, put(t, s->files, file_id, &f, sizeof f), "note a spill file");
    if (!status) add_seq(&s->control->spill_disk_bytes, f.bytes);
    return status;
}

static void end_file(store *s, uint64_t file_id, uint32_t writer)
{
    MDB_txn *t;
    file_record f;
    if (mdb_txn_begin(s->env, NULL, 0, &t)) return;
    int e = get(t, s->files, file_id, &f, sizeof f);
    if (!e && f.writer != writer) e = MDB_NOTFOUND;
    f.writer = 0;
    if (!e) e = f.objects ? put(t, s->files, file_id, &f, sizeof f) : del(t, s->files, file_id);
    if (end(s, t, e, "close a spill file") == MANTA_OK && !f.objects) remove_file(s, file_id, f.bytes);
}

void spill_index_close_file(store *s, uint64_t file_id) { end_file(s, file_id, s->me + 1); }

typedef struct found_file {
    uint32_t writer, id; /* wanted writer; the file found */
    bool found;
} found_file;

static bool match_writer(uint32_t file_id, const file_record *r, void *context)
{
    found_file *f = context;
    if (r->writer != f->writer) return true;
    f->id = file_id;
    f->found = true;
    return false;
}

void spill_end_files(store *s, uint32_t index)
{
    enum { FILES_LIMIT = 1000 }; /* a process writes one; two when it died between */
    for (int i = 0; i < FILES_LIMIT; i++) {
        found_file f = {.writer = index + 1};
        if (files_walk(s, match_writer, &f) || !f.found) return;
        end_file(s, f.id, index + 1);
    }
}

/* ---- objects ---- */

/* Takes an object's bytes off its file. *out_gone: the file is empty and nobody's, and left the table; *out_bytes of it. */
static int leave_file(store *s, MDB_txn *t, const spilled_record *r, bool *out_gone, uint64_t *out_bytes)
{
    file_record f;
    spill_record on_disk = {.size_bytes = r->size_bytes, .trailer_bytes = r->trailer_bytes};
    uint64_t bytes = spill_record_bytes(&on_disk);
    int e = get(t, s->files, r->file_id, &f, sizeof f);
    if (e) return e == MDB_NOTFOUND ? 0 : e;
    f.live_bytes -= f.live_bytes < bytes ? f.live_bytes : bytes;
    f.objects -= f.objects > 0;
    *out_bytes = f.bytes;
    *out_gone = !f.objects && !f.writer;
    if (!f.writer && f.live_bytes < f.bytes / 2 && f.bytes >= COMPACT_FROM)
        add_seq(&s->spill_wanted, 1); /* seen when the spiller looks next */
    return *out_gone ? del(t, s->files, r->file_id) : put(t, s->files, r->file_id, &f, sizeof f);
}

/* The file of `r` is longer by a record, which counts unless it is dead from the start. */
static int join_file(store *s, MDB_txn *t, const spilled_record *r, uint64_t bytes, uint64_t file_bytes, bool dead, uint64_t *out_grown)
{
    file_record f;
    int e = get(t, s->files, r->file_id, &f, sizeof f);
    if (e) return e;
    *out_grown = file_bytes - f.bytes;
    f.bytes = file_bytes;
    if (!dead) {
        f.live_bytes += bytes;
        f.objects++;
    }
    return put(t, s->files, r->file_id, &f, sizeof f);
}

manta_status spill_index_move(
    store *s, uint64_t sequence, const spilled_record *old, const spilled_record *r, uint64_t bytes, uint64_t file_bytes)
{
    MDB_txn *t;
    spilled_record now;
    bool gone = false;
    uint64_t gone_bytes = 0, grown = 0;
    int e = mdb_txn_begin(s->env, NULL, 0, &t);
    if (e) return index_fail(s, "note a spilled object", e);
    int had = get(t, s->spilled, sequence, &now, sizeof now);
    bool dead = old && (had || now.file_id != old->file_id || now.offset != old->offset);
    if (!had && !dead) e = leave_file(s, t, &now, &gone, &gone_bytes);
    if (!e) e = join_file(s, t, r, bytes, file_bytes, dead, &grown);
    if (!e && !dead) e = put(t, s->spilled, sequence, r, sizeof *r);
    manta_status status = end(s, t, e, "note a spilled object");
    if (status) return status;
    add_seq(&s->control->spill_disk_bytes, grown);
    if (gone) remove_file(s, now.file_id, gone_bytes);
    return MANTA_OK;
}

manta_status spill_index_add(store *s, uint64_t sequence, const spilled_record *r, uint64_t bytes, uint64_t file_bytes)
{
    return spill_index_move(s, sequence, NULL, r, bytes, file_bytes);
}

manta_status spill_index_find(store *s, uint64_t sequence, spilled_record *out)
{
    MDB_txn *t;
    int e = mdb_txn_begin(s->env, NULL, MDB_RDONLY, &t);
    if (e) return index_fail(s, "find a spilled object", e);
    e = get(t, s->spilled, sequence, out, sizeof *out);
    mdb_txn_abort(t);
    return e == MDB_NOTFOUND ? MANTA_ENOTFOUND : e ? index_fail(s, "find a spilled object", e) : MANTA_OK;
}

manta_status spill_index_file(store *s, uint32_t file_id, file_record *out)
{
    MDB_txn *t;
    int e = mdb_txn_begin(s->env, NULL, MDB_RDONLY, &t);
    if (e) return index_fail(s, "find a spill file", e);
    e = get(t, s->files, file_id, out, sizeof *out);
    mdb_txn_abort(t);
    return e == MDB_NOTFOUND ? MANTA_ENOTFOUND : e ? index_fail(s, "find a spill file", e) : MANTA_OK;
}

manta_status spilled_forget(store *s, uint64_t sequence)
{
    MDB_txn *t;
    spilled_record r;
    bool gone = false;
    uint64_t bytes = 0;
    int e = mdb_txn_begin(s->env, NULL, 0, &t);
    if (e) return index_fail(s, "forget a spilled object", e);
    e = get(t, s->spilled, sequence, &r, sizeof r);
    if (e == MDB_NOTFOUND) {
        mdb_txn_abort(t);
        return MANTA_OK;
    }
    if (!e) e = del(t, s->spilled, sequence);
    if (!e) e = leave_file(s, t, &r, &gone, &bytes);
    manta_status status = end(s, t, e, "forget a spilled object");
    if (!status && gone) remove_file(s, r.file_id, bytes);
    return status;
}

/* ---- walking ---- */

typedef bool (*raw_visit)(uint64_t key, const void *value, const void *visit, void *context);

enum { BATCH = 64, VALUE_BYTES = 64 };
typedef struct batch {
    uint64_t keys[BATCH];
    unsigned char values[BATCH][VALUE_BYTES] __attribute__((aligned(8)));
    int count;
} batch;

static int read_batch(MDB_txn *t, MDB_dbi table, size_t size, uint64_t from, batch *b)
{
    MDB_cursor *c;
    MDB_val k = val(&from, 8), v;
    int e = mdb_cursor_open(t, table, &c);
    if (e) return e;
    e = mdb_cursor_get(c, &k, &v, MDB_SET_RANGE);
    for (b->count = 0; !e && b->count < BATCH; e = mdb_cursor_get(c, &k, &v, MDB_NEXT)) {
        if (k.mv_size != 8 || v.mv_size != size) {
            e = MDB_CORRUPTED;
            break;
        }
        memcpy(&b->keys[b->count], k.mv_data, 8);
        memcpy(b->values[b->count++], v.mv_data, size);
    }
    mdb_cursor_close(c);
    return e == MDB_NOTFOUND ? 0 : e;
}

/* A transaction for each batch, and none while a visitor works: a reader that takes its time would keep LMDB from using its pages again. */
static manta_status walk(store *s, MDB_dbi table, size_t size, raw_visit each, const void *visit, void *context)
{
    batch b;
    uint64_t from = 0;
    do {
        MDB_txn *t;
        int e = mdb_txn_begin(s->env, NULL, MDB_RDONLY, &t);
        if (e) return index_fail(s, "walk", e);
        e = read_batch(t, table, size, from, &b);
        mdb_txn_abort(t);
        if (e) return index_fail(s, "walk", e);
        for (int i = 0; i < b.count; i++)
            if (!each(b.keys[i], b.values[i], visit, context)) return MANTA_OK;
        if (b.count) from = b.keys[b.count - 1] + 1;
    } while (b.count == BATCH);
    return MANTA_OK;
}

static bool each_spilled(uint64_t key, const void *value, const void *visit, void *context)
{
    return (*(const spilled_visit *)visit)(key, value, context);
}
static bool each_file(uint64_t key, const void *value, const void *visit, void *context)
{
    return (*(const file_visit *)visit)((uint32_t)key, value, context);
}

manta_status spilled_walk(store *s, spilled_visit visit, void *context)
{
    return walk(s, s->spilled, sizeof(spilled_record), each_spilled, &visit, context);
}
manta_status files_walk(store *s, file_visit visit, void *context)
{
    return walk(s, s->files, sizeof(file_record), each_file, &visit, context);
}
