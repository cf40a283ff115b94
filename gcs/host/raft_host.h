/*
 * The host of a Raft server: the pure core (gcs/raft/raft.h), its disk (LMDB, and files for snapshots), its state machine, its messages as bytes. No thread but the disk's.
 *
 * One owner at a time calls everything here (an actor, or a test's loop); the disk thread only writes and calls `wake`, after which the owner should call raft_host_run. The owner also calls it when
 * its clock reaches raft_host_next_timeout (at once after raft_host_open). Batching makes throughput: one raft_host_submit for all commands at hand. Callbacks run inside raft_host_* calls, in an order that
 * is safe for clients: an answer is given only after its entry is durable on a majority. Callbacks must not call back into the host, except raft_host_status.
 *
 * On disk (`directory`, one server's for its whole life): data.mdb (LMDB: stamp with layout version, server id and cluster id; term and vote; entries by index; the newest snapshot's description) and
 * snapshot-INDEX-IDENTITY files (written in the background, fsynced, then named by the write that makes them count; others are removed at start). A directory that is locked by another process, has
 * another layout or another id is refused (the lock is a byte of the file `lock`). Each group commit is one LMDB transaction with fsync (unless no_sync). Full or failing disk: the host stops (raft_host_failure says why): a server that cannot
 * write must not vote; what was queued for the disk and not written is then lost, and nobody was told that it is safe. A snapshot file whose checksum is wrong is an error that names file and byte.
 * directory NULL: everything in memory, durable at once: for an embedded system of one process and for tests.
 */
#ifndef MANTA_GCS_RAFT_HOST_H
#define MANTA_GCS_RAFT_HOST_H

#include "gcs/raft/raft.h"

typedef struct raft_host raft_host;

/* Where a state machine writes its snapshot, in pieces. False: out of memory, or too large. */
typedef struct raft_sink raft_sink;
bool raft_sink_write(raft_sink *s, const void *bytes, size_t size);

typedef struct raft_host_calls {
    void *context;
    /* A committed command, once each in order of index. token: of the raft_host_submit on this server that appended it; 0: somebody else's. Not MANTA_OK: the machine cannot go on (out of memory), and the
     * host stops. */
    manta_status (*apply)(void *context, uint64_t index, const unsigned char *data, uint32_t size, uint64_t token);
    /* A submitted command that is not going to be applied with its token here: the outcome is unknown (leadership lost) or it was not appended. Exactly one of apply with the token and this comes. */
    void (*lost)(void *context, uint64_t token, raft_result why);
    void (*read_ended)(void *context, uint64_t token, raft_result result); /* RAFT_OK: read the machine now */
    void (*change_ended)(void *context, uint64_t token, raft_result result);
    manta_status (*save)(void *context, raft_sink *out); /* the whole state, deterministic; not MANTA_OK: tried again later */
    manta_status (*restore)(void *context, const unsigned char *bytes,
        size_t size); /* replaces the state; not MANTA_OK: damaged or no memory, the host stops */
    /* An encoded message for a server; address is the one of the configuration, "" when it has none for that server (a newcomer's answers: they go back where the request came from). The buffer may be
     * retained. May be dropped. */
    void (*send)(void *context, uint64_t to, const char *address, raft_buffer *message);
    void (*state_changed)(void *context); /* leader, term or role: see raft_host_status */
    void (*wake)(void *context);          /* from the disk thread: call raft_host_run soon */
} raft_host_calls;

typedef struct raft_host_options {
    const char *directory; /* made when missing; NULL: in memory */
    uint64_t id;           /* of this server: one life of one disk; 0: the one on disk, or a fresh random one */
    uint64_t
        cluster; /* of the cluster; 0: the one on disk, or a fresh one for a sole founder; a message of another cluster is dropped as bad */
    const raft_configuration
        *found; /* founders of a new cluster (this server among them), when the disk holds none; NULL: joins. The same on all founders */
    raft_settings raft; /* id is ignored */
    uint64_t map_bytes; /* of LMDB; 0: 4 GiB of address space */
    bool no_sync;       /* no fsync: for benchmarks */
} raft_host_options;

/* MANTA_EINVAL, MANTA_EEXIST (another process uses the directory), MANTA_ETYPE (another layout or id), MANTA_EIO (also: damaged), MANTA_ENOMEM, or what `restore` gave; text (RAFT_TEXT_LIMIT bytes) says what and where. Calls restore when
 * there is a snapshot, and applies nothing else before raft_host_run. */
manta_status raft_host_open(const raft_host_options *options, const raft_host_calls *calls, uint64_t now_ns, raft_host **out, char *text);
/* Waits until the disk thread has written what is queued. Every token that waits ends with RAFT_STOPPED. NULL is fine. */
void raft_host_close(raft_host *h);

/* The event kinds; now_ns: monotonic. Each may run callbacks. After a failure they do nothing but end the tokens that they are given with RAFT_STOPPED. */
void raft_host_run(raft_host *h, uint64_t now_ns); /* what the disk finished, and timeouts */
void raft_host_receive(raft_host *h, raft_buffer *message,
    uint64_t now_ns); /* bytes of a peer, checked; bad ones are counted and dropped (raft_host_stats.bad_messages) */
typedef struct raft_command {
    raft_buffer *buffer;       /* retained by the host */
    const unsigned char *data; /* inside of buffer */
    uint32_t size;
    uint64_t token; /* not 0 */
} raft_command;
/* All or none; on refusal `lost` is called for each (so the caller handles one path). */
void raft_host_submit(raft_host *h, const raft_command *commands, uint32_t count, uint64_t now_ns);
void raft_host_read(raft_host *h, uint64_t token, uint64_t now_ns);
/* One at a time; a second one ends with RAFT_BUSY. */
void raft_host_change(raft_host *h, raft_change_kind kind, uint64_t id, const char *address, uint64_t token, uint64_t now_ns);
void raft_host_transfer(raft_host *h, uint64_t to, uint64_t now_ns);
uint64_t raft_host_next_timeout(const raft_host *h); /* ns */

typedef struct raft_host_status {
    raft_status raft;
    uint64_t cluster, applied;
    bool is_ready;                           /* leads, and an entry of its term is committed */
    char leader_address[RAFT_ADDRESS_BYTES]; /* "" unknown */
} raft_host_status;
raft_host_status raft_host_status_of(const raft_host *h);
const raft_configuration *raft_host_configuration(const raft_host *h); /* valid until the next call */
const char *raft_host_failure(const raft_host *h);                     /* NULL: it works; else why it stopped */

typedef struct raft_host_stats {
    uint64_t commands, commits, group_commits, entries_written, bytes_written, snapshots_taken, snapshots_received, messages_in,
        messages_out, bad_messages;
} raft_host_stats;
raft_host_stats raft_host_stats_of(const raft_host *h);

#endif
