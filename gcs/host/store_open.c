/*
 * Opening and reading. What is read is checked here as bytes (lengths, checksums, no gap); whether it makes sense is for raft_new.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "gcs/host/host_text.h"
#include "gcs/host/store.h"
#include "gcs/raft/raft_bytes.h"
#include "scheduler/base/alloc.h"
#include "scheduler/base/crc32c.h"
#include "scheduler/os/os.h"
#include "scheduler/os/os_file.h"

enum { VERSION = 1, GROUP_BYTES = 64 << 10, NAME_BYTES = 64 };
static const char MAGIC[8] = "MNTRAFT1";
static const uint64_t MAP_BYTES = UINT64_C(4) << 30;

/* ---- directory and environment ---- */

static manta_status lock_directory(raft_store *s, char *text)
{
    char path[HOST_PATH_BYTES + 8];
    int error = os_directory_make(s->directory);
    if (error) return host_say(text, MANTA_EIO, "%s: making the directory: %s", s->directory, strerror(error));
    snprintf(path, sizeof path, "%s/lock", s->directory);
    if (!error) error = os_file_open(path, OS_WRITE | OS_CREATE, &s->lock_fd);
    if (!error) error = os_file_try_lock(s->lock_fd, 0);
    if (error == EAGAIN) return host_say(text, MANTA_EEXIST, "%s: another process uses it", s->directory);
    return error ? host_say(text, MANTA_EIO, "%s: %s", path, strerror(error)) : MANTA_OK;
}

static int open_tables(raft_store *s)
{
    MDB_txn *t;
    int error = mdb_txn_begin(s->env, NULL, 0, &t);
    if (error) return error;
    error = mdb_dbi_open(t, "state", MDB_CREATE, &s->state);
    if (!error) error = mdb_dbi_open(t, "log", MDB_CREATE | MDB_INTEGERKEY, &s->log);
    if (!error) return raft_store_commit(t);
    mdb_txn_abort(t);
    return error;
}

static manta_status open_environment(raft_store *s, char *text)
{
    unsigned flags = MDB_NOLOCK | MDB_NOTLS | (s->no_sync ? MDB_NOSYNC : 0u);
    int error = base_alloc_should_fail() ? ENOMEM : mdb_env_create(&s->env);
    if (!error) error = mdb_env_set_mapsize(s->env, s->map_bytes);
    if (!error) error = mdb_env_set_maxdbs(s->env, 2);
    if (!error) error = mdb_env_open(s->env, s->directory, flags, 0600);
    if (!error) error = open_tables(s);
    if (error == MDB_INVALID || error == MDB_VERSION_MISMATCH || error == MDB_CORRUPTED || error == MDB_INCOMPATIBLE)
        return host_say(text, MANTA_ETYPE, "%s/data.mdb: not a Raft server's data: %s", s->directory, mdb_strerror(error));
    return error ? raft_store_error(s, "opening", error, text) : MANTA_OK;
}

/* ---- the stamp ---- */

static void put_stamp(const raft_store *s, unsigned char stamp[STORE_STAMP_BYTES])
{
    memcpy(stamp, MAGIC, sizeof MAGIC);
    unsigned char *p = raft_put_number(raft_put_number(stamp + 8, VERSION, 4), 0, 4);
    raft_put_number(raft_put_number(p, s->id, 8), s->cluster, 8);
    raft_put_number(stamp + 32, crc32c(0, stamp, 32), 4);
}

static int put_founders(raft_store *s, MDB_txn *t, const raft_configuration *founders)
{
    raft_entry e;
    char text[RAFT_TEXT_LIMIT];
    if (!founders) return raft_store_put_vote(s, t, 0, 0);
    if (raft_bootstrap(founders, &e, text)) return ENOMEM; /* a problem of theirs was found before */
    int error = raft_store_put_vote(s, t, 1, 0);
    if (!error) error = raft_store_append(s, t, 1, &e);
    raft_buffer_release(e.buffer);
    return error;
}

static manta_status write_stamp(raft_store *s, const raft_host_options *options, char *text)
{
    unsigned char stamp[STORE_STAMP_BYTES];
    MDB_txn *t;
    put_stamp(s, stamp);
    int error = mdb_txn_begin(s->env, NULL, 0, &t);
    if (error) return raft_store_error(s, "writing the stamp", error, text);
    error = raft_store_put(s, t, s->state, "stamp", stamp, sizeof stamp);
    if (!error) error = put_founders(s, t, options->found);
    if (error) mdb_txn_abort(t);
    else error = raft_store_commit(t);
    if (!error && !s->no_sync && (error = host_sync_directory(s->directory)))
        return host_say(text, MANTA_EIO, "%s: %s", s->directory, strerror(error));
    return error ? raft_store_error(s, "writing the stamp", error, text) : MANTA_OK;
}

static manta_status read_stamp(raft_store *s, const MDB_val *v, char *text)
{
    raft_reader r = {.bytes = v->mv_data, .size = v->mv_size, .at = sizeof MAGIC};
    if (v->mv_size < sizeof MAGIC || memcmp(v->mv_data, MAGIC, sizeof MAGIC) != 0)
        return host_say(text, MANTA_ETYPE, "%s/data.mdb: not a Raft server's data: no stamp of one", s->directory);
    uint64_t version = raft_take_number(&r, 4);
    if (version != VERSION)
        return host_say(
            text, MANTA_ETYPE, "%s/data.mdb: layout version %" PRIu64 ", this program reads %d", s->directory, version, VERSION);
    if (v->mv_size != STORE_STAMP_BYTES || raft_take_number(&r, 4))
        return host_say(text, MANTA_EIO, "%s/data.mdb: the stamp is damaged", s->directory);
    s->id = raft_take_number(&r, 8);
    s->cluster = raft_take_number(&r, 8);
    uint32_t crc = crc32c(0, v->mv_data, 32);
    if (raft_take_number(&r, 4) != crc) return host_say(text, MANTA_EIO, "%s/data.mdb: the stamp is damaged", s->directory);
    return MANTA_OK;
}

static manta_status check_ids(const raft_store *s, const raft_host_options *o, char *text)
{
    if (o->id && o->id != s->id)
        return host_say(text, MANTA_ETYPE, "%s: it belongs to server %" PRIu64 ", not %" PRIu64, s->directory, s->id, o->id);
    if (o->cluster && o->cluster != s->cluster)
        return host_say(text, MANTA_ETYPE, "%s: it belongs to cluster %" PRIu64 ", not %" PRIu64, s->directory, s->cluster, o->cluster);
    return MANTA_OK;
}

static uint64_t fresh_id(void)
{
    uint64_t id = os_random_u64();
    return id ? id : 1;
}

manta_status raft_store_choose_ids(const raft_host_options *o, uint64_t *out_id, uint64_t *out_cluster, char *text)
{
    uint64_t id = o->id ? o->id : fresh_id(), cluster = o->cluster;
    const char *problem = o->found ? raft_configuration_problem(o->found) : NULL;
    if (problem) return host_say(text, MANTA_EINVAL, "founders: %s", problem);
    if (o->found && !raft_configuration_find(o->found, id))
        return host_say(text, MANTA_EINVAL, "founders: server %" PRIu64 " is not one", id);
    if (!cluster && o->found && o->found->count == 1) cluster = fresh_id();
    if (!cluster) return host_say(text, MANTA_ENOTFOUND, "cluster is 0, and there is none on disk");
    *out_id = id;
    *out_cluster = cluster;
    return MANTA_OK;
}

static manta_status begin_life(raft_store *s, const raft_host_options *o, char *text)
{
    manta_status status = raft_store_choose_ids(o, &s->id, &s->cluster, text);
    return status ? status : write_stamp(s, o, text);
}

static manta_status stamp(raft_store *s, const raft_host_options *o, char *text)
{
    MDB_txn *t;
    MDB_val k = {5, (void *)(uintptr_t) "stamp"}, v;
    int error = mdb_txn_begin(s->env, NULL, MDB_RDONLY, &t);
    if (error) return raft_store_error(s, "reading the stamp", error, text);
    error = mdb_get(t, s->state, &k, &v);
    manta_status status = error ? MANTA_OK : read_stamp(s, &v, text);
    mdb_txn_abort(t);
    if (error == MDB_NOTFOUND) return begin_life(s, o, text);
    if (error) return raft_store_error(s, "reading the stamp", error, text);
    return status ? status : check_ids(s, o, text);
}

manta_status raft_store_open(const raft_host_options *options, raft_store *s, char *text)
{
    *s = (raft_store){
        .no_sync = options->no_sync, .map_bytes = options->map_bytes ? options->map_bytes : MAP_BYTES, .lock_fd = -1, .first = 1};
    size_t length = strlen(options->directory);
    if (!length || length + NAME_BYTES > sizeof s->directory) return host_say(text, MANTA_EINVAL, "directory: a path of %zu bytes", length);
    memcpy(s->directory, options->directory, length + 1);
    manta_status status = lock_directory(s, text);
    if (!status) status = open_environment(s, text);
    if (!status) status = stamp(s, options, text);
    if (status) raft_store_close(s);
    return status;
}

void raft_store_close(raft_store *s)
{
    if (s->env) mdb_env_close(s->env);
    s->env = NULL;
    os_file_close(s->lock_fd);
    s->lock_fd = -1;
}

/* ---- reading ---- */

typedef struct reading {
    raft_store *s;
    MDB_txn *txn;
    MDB_cursor *cursor;
    stored *out;
    raft_buffer *group; /* that entries share */
    uint32_t used;
    char *text;
} reading;

static manta_status damaged(reading *r, const char *what)
{
    return host_say(r->text, MANTA_EIO, "%s/data.mdb: %s is damaged", r->s->directory, what);
}

static int get(reading *r, const char *key, raft_reader *out)
{
    MDB_val k = {strlen(key), (void *)(uintptr_t)key}, v;
    int error = mdb_get(r->txn, r->s->state, &k, &v);
    if (!error) *out = (raft_reader){.bytes = v.mv_data, .size = v.mv_size};
    return error;
}

static manta_status load_vote(reading *r)
{
    raft_reader bytes = {0};
    int error = get(r, "vote", &bytes);
    if (error && error != MDB_NOTFOUND) return raft_store_error(r->s, "reading the vote", error, r->text);
    r->out->term = raft_take_number(&bytes, 8);
    r->out->vote = raft_take_number(&bytes, 8);
    return bytes.failed || bytes.at != bytes.size ? damaged(r, "the vote") : MANTA_OK;
}

static manta_status load_snapshot(reading *r)
{
    raft_reader bytes = {0};
    raft_snapshot *about = &r->s->snapshot;
    int error = get(r, "snapshot", &bytes);
    if (error == MDB_NOTFOUND) return MANTA_OK;
    if (error) return raft_store_error(r->s, "reading the snapshot's description", error, r->text);
    about->index = raft_take_number(&bytes, 8);
    about->term = raft_take_number(&bytes, 8);
    about->identity = raft_take_number(&bytes, 8);
    about->size_bytes = raft_take_number(&bytes, 8);
    bool fine =
        !bytes.failed && raft_configuration_decode(bytes.bytes + bytes.at, (uint32_t)(bytes.size - bytes.at), &about->configuration);
    return fine ? MANTA_OK : damaged(r, "the snapshot's description");
}

static unsigned char *room_for(reading *r, uint32_t size)
{
    if (!r->group || r->group->size - r->used < size) {
        raft_buffer_release(r->group);
        r->group = raft_buffer_new(NULL, size > GROUP_BYTES ? size : GROUP_BYTES);
        r->used = 0;
        if (!r->group) return NULL;
    }
    unsigned char *at = r->group->bytes + r->used;
    r->used += size;
    return at;
}

static manta_status load_entry(reading *r, uint64_t index, const MDB_val *v)
{
    raft_entry *e = &r->out->entries[r->out->count];
    raft_reader bytes = {.bytes = v->mv_data, .size = v->mv_size};
    uint32_t size = (uint32_t)(v->mv_size - STORE_ENTRY_HEAD);
    char what[64];
    snprintf(what, sizeof what, "entry %" PRIu64, index);
    if (v->mv_size < STORE_ENTRY_HEAD || v->mv_size > STORE_ENTRY_HEAD + RAFT_ENTRY_BYTES_MAX) return damaged(r, what);
    *e = (raft_entry){.term = raft_take_number(&bytes, 8), .size = size};
    e->kind = (raft_entry_kind)raft_take_number(&bytes, 4);
    if (raft_take_number(&bytes, 4) != raft_store_entry_crc(index, bytes.bytes, bytes.bytes + STORE_ENTRY_HEAD, size))
        return damaged(r, what);
    unsigned char *data = room_for(r, size);
    if (!data) return host_say(r->text, MANTA_ENOMEM, "no memory for %s of %u bytes", what, size);
    memcpy(data, bytes.bytes + STORE_ENTRY_HEAD, size);
    e->data = data;
    e->buffer = raft_buffer_retain(r->group);
    r->out->count++;
    return MANTA_OK;
}

static manta_status load_next(reading *r, const MDB_val *k, const MDB_val *v)
{
    uint64_t index;
    if (k->mv_size != sizeof index) return damaged(r, "an entry's index");
    memcpy(&index, k->mv_data, sizeof index);
    if (!r->out->count) r->s->first = index;
    if (index != r->s->first + r->out->count)
        return host_say(r->text, MANTA_EIO, "%s/data.mdb: entry %" PRIu64 " follows %" PRIu64 ": damaged", r->s->directory, index,
            r->s->first + r->out->count - 1);
    r->s->last = index;
    return load_entry(r, index, v);
}

static manta_status load_log(reading *r)
{
    MDB_stat st;
    MDB_val k, v;
    int error = mdb_stat(r->txn, r->s->log, &st);
    if (!error) error = mdb_cursor_open(r->txn, r->s->log, &r->cursor);
    if (error) return raft_store_error(r->s, "reading the log", error, r->text);
    r->out->entries = base_calloc(st.ms_entries ? st.ms_entries : 1, sizeof *r->out->entries);
    if (!r->out->entries) return host_say(r->text, MANTA_ENOMEM, "no memory for a log of %zu entries", st.ms_entries);
    manta_status status = MANTA_OK;
    for (error = mdb_cursor_get(r->cursor, &k, &v, MDB_FIRST); !error && !status && r->out->count < st.ms_entries;) {
        status = load_next(r, &k, &v);
        error = mdb_cursor_get(r->cursor, &k, &v, MDB_NEXT);
    }
    if (!status && error && error != MDB_NOTFOUND) return raft_store_error(r->s, "reading the log", error, r->text);
    return status;
}

static bool remove_stray(const char *name, void *context)
{
    const raft_store *s = context;
    char path[HOST_PATH_BYTES], kept[HOST_PATH_BYTES];
    if (strncmp(name, "snapshot-", 9) != 0 || strlen(name) >= NAME_BYTES) return true;
    snprintf(path, sizeof path, "%.*s/%.*s", HOST_PATH_BYTES - NAME_BYTES - 2, s->directory, NAME_BYTES, name);
    raft_image_path(s->directory, &s->snapshot, kept);
    if (!s->snapshot.index || strcmp(path, kept) != 0) (void)os_file_remove(path); /* it would only take room */
    return true;
}

manta_status raft_store_load(raft_store *s, stored *out, char *text)
{
    reading r = {.s = s, .out = out, .text = text};
    *out = (stored){0};
    int error = mdb_txn_begin(s->env, NULL, MDB_RDONLY, &r.txn);
    if (error) return raft_store_error(s, "reading", error, text);
    manta_status status = load_vote(&r);
    if (!status) status = load_snapshot(&r);
    if (!status) status = load_log(&r);
    if (r.cursor) mdb_cursor_close(r.cursor);
    mdb_txn_abort(r.txn);
    raft_buffer_release(r.group);
    if (!out->count) s->last = s->first - 1;
    if (!status && (error = os_directory_list(s->directory, remove_stray, s)))
        status = host_say(text, MANTA_EIO, "%s: %s", s->directory, strerror(error));
    if (status) stored_fini(out);
    return status;
}

void stored_fini(stored *l)
{
    for (uint64_t i = 0; i < l->count; i++) raft_buffer_release(l->entries[i].buffer);
    base_free(l->entries);
    *l = (stored){0};
}
