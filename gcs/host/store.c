/*
 * Writing. Invariants: 1. the log's keys are first..last without a gap. 2. What is in front of trim_before is covered by `snapshot`.
 */
#include "gcs/host/store.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "gcs/host/host_text.h"
#include "gcs/raft/raft_bytes.h"
#include "scheduler/base/check.h"
#include "scheduler/base/crc32c.h"
#include "scheduler/os/os_file.h"

enum { TRIM_PER_COMMIT = 512 };

manta_status raft_store_error(const raft_store *s, const char *what, int error, char *text)
{
    if (error == ENOMEM) return host_say(text, MANTA_ENOMEM, "%s/data.mdb: %s: no memory", s->directory, what);
    if (error == MDB_MAP_FULL)
        return host_say(text, MANTA_EIO, "%s/data.mdb: %s: its map of %" PRIu64 " bytes is full", s->directory, what, s->map_bytes);
    return host_say(text, MANTA_EIO, "%s/data.mdb: %s: %s", s->directory, what, mdb_strerror(error));
}

int raft_store_put(const raft_store *s, MDB_txn *t, MDB_dbi table, const char *key, const void *bytes, size_t size)
{
    MDB_val k = {strlen(key), (void *)(uintptr_t)key}, v = {size, (void *)(uintptr_t)bytes};
    (void)s;
    return mdb_put(t, table, &k, &v, 0);
}

int raft_store_put_vote(const raft_store *s, MDB_txn *t, uint64_t term, uint64_t vote)
{
    unsigned char bytes[16];
    raft_put_number(raft_put_number(bytes, term, 8), vote, 8);
    return raft_store_put(s, t, s->state, "vote", bytes, sizeof bytes);
}

static int put_snapshot(raft_store *s, MDB_txn *t, const raft_snapshot *about)
{
    unsigned char bytes[STORE_SNAPSHOT_HEAD + RAFT_CONFIGURATION_BYTES_MAX];
    unsigned char *p = raft_put_number(raft_put_number(bytes, about->index, 8), about->term, 8);
    p = raft_put_number(raft_put_number(p, about->identity, 8), about->size_bytes, 8);
    uint32_t size = raft_configuration_encode(&about->configuration, p);
    return raft_store_put(s, t, s->state, "snapshot", bytes, STORE_SNAPSHOT_HEAD + size);
}

/* ---- the log ---- */

uint32_t raft_store_entry_crc(uint64_t index, const unsigned char head[12], const unsigned char *data, uint32_t size)
{
    unsigned char key[8];
    raft_put_number(key, index, 8);
    return crc32c(crc32c(crc32c(0, key, sizeof key), head, 12), data, size);
}

int raft_store_append(raft_store *s, MDB_txn *t, uint64_t index, const raft_entry *e)
{
    MDB_val k = {sizeof index, &index}, v = {STORE_ENTRY_HEAD + e->size, NULL};
    int error = mdb_put(t, s->log, &k, &v, MDB_RESERVE | MDB_APPEND);
    if (error) return error;
    unsigned char *p = v.mv_data;
    raft_put_number(raft_put_number(raft_put_number(p, e->term, 8), e->kind, 1), 0, 3);
    raft_put_number(p + 12, raft_store_entry_crc(index, p, e->data, e->size), 4);
    if (e->size) memcpy(p + STORE_ENTRY_HEAD, e->data, e->size);
    return 0;
}

static int delete_entry(const raft_store *s, MDB_txn *t, uint64_t index)
{
    MDB_val k = {sizeof index, &index};
    return mdb_del(t, s->log, &k, NULL);
}

static int truncate_log(raft_store *s, MDB_txn *t, uint64_t from)
{
    int error = 0;
    if (from > s->last) return 0;
    if (from <= s->first) {
        s->last = s->first - 1;
        return mdb_drop(t, s->log, 0);
    }
    while (!error && s->last >= from) error = delete_entry(s, t, s->last--);
    return error;
}

static int append_log(raft_store *s, MDB_txn *t, const raft_write *w)
{
    int error = 0;
    if (!w->count) return 0;
    if (s->first > s->last) {
        s->first = w->append_first;
        s->last = s->first - 1;
    }
    check(w->append_first == s->last + 1);
    for (uint64_t i = 0; !error && i < w->count; i++) error = raft_store_append(s, t, ++s->last, &w->entries[i]);
    return error;
}

static int trim_log(raft_store *s, MDB_txn *t, uint64_t most)
{
    int error = 0;
    for (uint64_t n = 0; !error && n < most && s->first < s->trim_before && s->first <= s->last; n++)
        error = delete_entry(s, t, s->first++);
    return error;
}

/* ---- transactions ---- */

int raft_store_commit(MDB_txn *t)
{
    int error = os_file_should_fail();
    if (!error) return mdb_txn_commit(t);
    mdb_txn_abort(t);
    return error;
}

static int write_one(raft_store *s, MDB_txn *t, const disk_write *d)
{
    int error = 0;
    if (d->w.has_term) error = raft_store_put_vote(s, t, d->w.term, d->w.vote);
    if (!error && d->w.snapshot) error = put_snapshot(s, t, &d->snapshot);
    if (!error && d->w.truncate_from) error = truncate_log(s, t, d->w.truncate_from);
    if (!error) error = append_log(s, t, &d->w);
    if (d->w.trim_before > s->trim_before) s->trim_before = d->w.trim_before;
    return error;
}

/* The one that the last of them names takes the place of s->snapshot, whose file goes. */
static void replace_snapshot(raft_store *s, const disk_write *first, const disk_write *end)
{
    char path[HOST_PATH_BYTES];
    for (const disk_write *d = first; d != end; d = d->next) {
        if (!d->w.snapshot) continue;
        raft_image_path(s->directory, &s->snapshot, path);
        if (s->snapshot.index) (void)os_file_remove(path); /* the next start removes what stays */
        s->snapshot = d->snapshot;
    }
}

manta_status raft_store_write(raft_store *s, const disk_write *first, const disk_write *end, char *text)
{
    MDB_txn *t;
    uint64_t appended = 0;
    int error = mdb_txn_begin(s->env, NULL, 0, &t);
    if (error) return raft_store_error(s, "beginning a write", error, text);
    for (const disk_write *d = first; !error && d != end; d = d->next) {
        error = write_one(s, t, d);
        appended += d->w.count;
    }
    if (!error) error = trim_log(s, t, TRIM_PER_COMMIT + 2 * appended);
    if (error) mdb_txn_abort(t);
    else error = raft_store_commit(t);
    if (error) return raft_store_error(s, "writing", error, text);
    replace_snapshot(s, first, end);
    return MANTA_OK;
}
