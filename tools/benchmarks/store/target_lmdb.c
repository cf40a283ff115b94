/*
 * A peer: each object is a value of LMDB, on tmpfs, with all that makes LMDB fast: WRITEMAP, NOSYNC, integer keys that increase, space reserved in place. One transaction per put
 * and per release; a get renews a read transaction that is kept.
 */
#include <lmdb.h>

#include "tools/benchmarks/store/store_bench.h"

enum { GROUP = 256 }; /* puts in a transaction of lmdb_fill */

static struct lmdb_peer {
    MDB_env *env;
    MDB_dbi objects;
    MDB_txn *writer, *reader;
    uint64_t next;
    char path[PATH_BYTES];
} peer;

static outcome outcome_of(int error, const char *what)
{
    if (!error) return DONE;
    if (error == MDB_MAP_FULL) return FULL;
    complain("lmdb: %s: %s", what, mdb_strerror(error));
    return FAILED;
}

/* ---- opening ---- */

static int reserve(uint64_t key, uint64_t size, void **data)
{
    MDB_val k = {sizeof key, &key}, v = {size, NULL};
    int e = mdb_put(peer.writer, peer.objects, &k, &v, MDB_RESERVE | MDB_APPEND);
    *data = v.mv_data;
    return e;
}

/* A table per process: so its keys are always the highest, and MDB_APPEND does. */
static int open_env(uint64_t map_bytes, const char *table)
{
    int e = mdb_env_create(&peer.env);
    if (!e) e = mdb_env_set_mapsize(peer.env, map_bytes);
    if (!e) e = mdb_env_set_maxdbs(peer.env, 2);
    if (!e) e = mdb_env_open(peer.env, peer.path, MDB_NOSUBDIR | MDB_WRITEMAP | MDB_NOSYNC | MDB_NOTLS | MDB_NORDAHEAD, 0600);
    if (!e) e = mdb_txn_begin(peer.env, NULL, 0, &peer.writer);
    if (e) return e;
    e = mdb_dbi_open(peer.writer, table, MDB_INTEGERKEY | MDB_CREATE, &peer.objects);
    if (!e) e = mdb_drop(peer.writer, peer.objects, 0);
    if (!e) e = mdb_txn_commit(peer.writer);
    if (!e) e = mdb_txn_begin(peer.env, NULL, MDB_RDONLY, &peer.reader);
    if (!e) mdb_txn_reset(peer.reader);
    return e;
}

/* Makes values without bytes until there is no more room, for the page tables of their memory, and takes all back. */
static int touch_all(uint64_t part)
{
    void *data;
    int e = mdb_txn_begin(peer.env, NULL, 0, &peer.writer);
    if (e) return e;
    for (uint64_t key = UINT64_MAX - GROUP; !(e = reserve(key, part, &data)) && key < UINT64_MAX; key++) {
        uintptr_t from = (uintptr_t)data & ~(uintptr_t)(OS_PAGE - 1);
        if ((e = os_memory_populate((void *)from, part & ~(uint64_t)(OS_PAGE - 1), true))) break;
    }
    mdb_txn_abort(peer.writer);
    return e == MDB_MAP_FULL ? 0 : e;
}

static bool give_room(uint64_t bytes)
{
    int fd = -1, error = os_file_open(peer.path, OS_WRITE, &fd);
    if (!error) error = os_file_allocate(fd, 0, bytes);
    os_file_close(fd);
    if (error) return complain("%s: %s", peer.path, strerror(error));
    return outcome_of(touch_all(bytes / 64), "touching the map") == DONE;
}

static bool lmdb_open(const settings *s, bool first)
{
    path_in(s, "lmdb", peer.path);
    if (first) (void)os_file_remove(peer.path); /* no case finds the pieces that another one left */
    peer.next = 1;
    return outcome_of(open_env(s->memory, first ? "first" : "second"), peer.path) == DONE && give_room(s->memory);
}

static void lmdb_close(void)
{
    mdb_txn_abort(peer.reader);
    mdb_env_close(peer.env);
}

/* ---- objects ---- */

static outcome lmdb_create(uint64_t size, handle *out, void **data)
{
    int e = mdb_txn_begin(peer.env, NULL, 0, &peer.writer);
    if (e) return outcome_of(e, "begin");
    *out = (handle){peer.next++, 0};
    if ((e = reserve(out->a, size, data))) mdb_txn_abort(peer.writer);
    return outcome_of(e, "put");
}

static outcome lmdb_seal(handle h)
{
    (void)h;
    return outcome_of(mdb_txn_commit(peer.writer), "commit");
}

static outcome lmdb_put(const void *data, uint64_t size, handle *out)
{
    void *to;
    outcome o = lmdb_create(size, out, &to);
    if (o) return o;
    memcpy(to, data, size);
    return lmdb_seal(*out);
}

static outcome lmdb_get(handle *h, const volatile unsigned char **data)
{
    MDB_val k = {sizeof h->a, &h->a}, v;
    int e = mdb_txn_renew(peer.reader);
    if (!e) e = mdb_get(peer.reader, peer.objects, &k, &v);
    if (e) return outcome_of(e, "get");
    *data = v.mv_data;
    return DONE;
}

static void lmdb_unget(handle *h)
{
    (void)h;
    mdb_txn_reset(peer.reader);
}

static outcome lmdb_release(handle h)
{
    MDB_val k = {sizeof h.a, &h.a};
    int e = mdb_txn_begin(peer.env, NULL, 0, &peer.writer);
    if (e) return outcome_of(e, "begin");
    if ((e = mdb_del(peer.writer, peer.objects, &k, NULL))) {
        mdb_txn_abort(peer.writer);
        return outcome_of(e, "delete");
    }
    return outcome_of(mdb_txn_commit(peer.writer), "commit");
}

/* ---- many at once, where time is not taken ---- */

static int fill_group(const void *data, uint64_t size, handle *out, uint64_t n)
{
    void *to;
    int e = mdb_txn_begin(peer.env, NULL, 0, &peer.writer);
    if (e) return e;
    for (uint64_t i = 0; i < n; i++) {
        out[i] = (handle){peer.next++, 0};
        if ((e = reserve(out[i].a, size, &to))) break;
        memcpy(to, data, size);
    }
    if (!e) return mdb_txn_commit(peer.writer);
    mdb_txn_abort(peer.writer);
    return e;
}

static outcome lmdb_fill(const void *data, uint64_t size, handle *out, uint64_t n)
{
    int e = 0;
    for (uint64_t i = 0; i < n && !e; i += GROUP) e = fill_group(data, size, out + i, n - i < GROUP ? n - i : GROUP);
    return outcome_of(e, "fill");
}

static outcome lmdb_clear(void)
{
    int e = mdb_txn_begin(peer.env, NULL, 0, &peer.writer);
    if (e) return outcome_of(e, "begin");
    if ((e = mdb_drop(peer.writer, peer.objects, 0))) {
        mdb_txn_abort(peer.writer);
        return outcome_of(e, "clear");
    }
    return outcome_of(mdb_txn_commit(peer.writer), "commit");
}

static usage lmdb_use(void)
{
    MDB_envinfo info = {0};
    MDB_stat st = {0};
    (void)mdb_env_info(peer.env, &info);
    (void)mdb_env_stat(peer.env, &st);
    return (usage){file_room(peer.path), (info.me_last_pgno + 1) * st.ms_psize};
}

const target target_lmdb = {
    .name = "lmdb",
    .open = lmdb_open,
    .close = lmdb_close,
    .put = lmdb_put,
    .create = lmdb_create,
    .seal = lmdb_seal,
    .get = lmdb_get,
    .unget = lmdb_unget,
    .release = lmdb_release,
    .fill = lmdb_fill,
    .clear = lmdb_clear,
    .use = lmdb_use,
};
