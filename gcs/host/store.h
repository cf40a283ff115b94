/*
 * What a server keeps in LMDB: DIRECTORY/data.mdb, with two tables.
 *
 *   state  "stamp"    "MNTRAFT1", version u32 = 1, 0 u32, server id u64, cluster id u64, crc32c of the 32 bytes before
 *          "vote"     term u64, vote u64
 *          "snapshot" index, term, identity, size: u64 each; the configuration as raft_configuration_encode writes it
 *   log    index (u64, the machine's order) -> term u64, kind u8, 0 0 0, crc32c u32 of index (8 bytes), these 12 bytes and the data; data
 * Little endian but the log's keys. One transaction is one group commit. Entries in front of a snapshot are deleted in small portions by later transactions; until then they do no harm.
 *
 * One thread at a time: who opens it, then the disk's. LMDB's own locks are off: the directory's lock (a byte of DIRECTORY/lock) keeps others out. Errors come with a text.
 */
#ifndef MANTA_GCS_STORE_H
#define MANTA_GCS_STORE_H

#include <lmdb.h>

#include "gcs/host/image.h"

typedef struct raft_store {
    char directory[HOST_PATH_BYTES];
    bool no_sync;
    uint64_t map_bytes;
    int lock_fd;
    MDB_env *env;
    MDB_dbi state, log;
    uint64_t id, cluster;
    uint64_t first, last;   /* entries on disk; last + 1 == first: none */
    uint64_t trim_before;   /* what is in front of this may go */
    raft_snapshot snapshot; /* index 0: none */
} raft_store;

typedef struct disk_write { /* a raft_write with copies of what it points at */
    struct disk_write *next;
    raft_write w;
    raft_snapshot snapshot;
    raft_image *image; /* of a received snapshot: its file is to be written first */
    raft_entry entries[];
} disk_write;

typedef struct stored { /* what was read at the start */
    uint64_t term, vote, count;
    raft_entry *entries;
} stored;

/* Makes the directory when it is missing, locks it, checks stamp and ids, writes the founders' entry when it is new, removes snapshot files that do not count. Errors as raft_host_open; nothing
 * is open then. options->id and ->cluster, when 0, are taken from the disk or made. */
manta_status raft_store_open(const raft_host_options *options, raft_store *s, char *text);
void raft_store_close(raft_store *s); /* after a failed open too */
/* All that is there; stored_fini releases it. MANTA_EIO, MANTA_ENOMEM. */
manta_status raft_store_load(raft_store *s, stored *out, char *text);
void stored_fini(stored *l);

/* Writes `first` up to in front of `end` durably as one transaction, and nothing of them on failure. MANTA_EIO: also when the map is full. */
manta_status raft_store_write(raft_store *s, const disk_write *first, const disk_write *end, char *text);

/* The ids of a new server: those of the options, or fresh ones; of a cluster only for its sole founder. MANTA_EINVAL; MANTA_ENOTFOUND: it is no founder, and of no cluster. */
manta_status raft_store_choose_ids(const raft_host_options *o, uint64_t *out_id, uint64_t *out_cluster, char *text);

/* store.c, for store_open.c */
manta_status raft_store_error(const raft_store *s, const char *what, int error, char *text); /* MANTA_EIO, MANTA_ENOMEM */
int raft_store_put(const raft_store *s, MDB_txn *t, MDB_dbi table, const char *key, const void *bytes, size_t size);
int raft_store_put_vote(const raft_store *s, MDB_txn *t, uint64_t term, uint64_t vote);
int raft_store_append(raft_store *s, MDB_txn *t, uint64_t index, const raft_entry *e);
int raft_store_commit(MDB_txn *t);
uint32_t raft_store_entry_crc(uint64_t index, const unsigned char head[12], const unsigned char *data, uint32_t size);
enum { STORE_ENTRY_HEAD = 16, STORE_STAMP_BYTES = 36, STORE_SNAPSHOT_HEAD = 32 };

#endif
