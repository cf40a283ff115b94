/*
 * The disk's thread: writes in their order, all that is queued as one transaction; and, between transactions, a piece of a snapshot's file.
 *
 * In deterministic mode there is no thread: a timer of the pool does the work some time after it was asked for; what is not done by then is lost by a crash.
 *
 * The owner pushes and asks; the thread calls `wake` after it has something to tell. After a failure it writes nothing more.
 */
#ifndef MANTA_GCS_DISK_H
#define MANTA_GCS_DISK_H

#include <pthread.h>

#include "gcs/host/store.h"
#include "scheduler/base/atomics.h"
#include "scheduler/pool/pool.h"

typedef struct raft_disk {
    raft_store store;
    void (*wake)(void *context);
    void *context;
    pthread_t thread;
    bool is_started;

    pthread_mutex_t lock; /* of the next four */
    pthread_cond_t more;
    disk_write *first, **end;
    bool job_is_new, stop;

    file_job job;             /* the owner's until job_is_new, the thread's then until job_done */
    _Atomic bool job_done;    /* released by the thread, acquired by the owner */
    _Atomic uint64_t durable; /* number of the last durable write: likewise */
    _Atomic bool failed;      /* likewise; `text` is then complete */
    char text[RAFT_TEXT_LIMIT];
    _Atomic uint64_t group_commits, entries, bytes;

    pool_timer timer; /* deterministic mode */
    bool is_simulated, is_armed, has_job;
    struct raft_disk *next_simulated;
} raft_disk;

/* The store is open. MANTA_ENOMEM when the thread cannot be started. */
manta_status raft_disk_start(raft_disk *d, void (*wake)(void *context), void *context, char *text);
/* Writes what is queued, drops an unfinished snapshot, ends the thread and closes the store. */
void raft_disk_stop(raft_disk *d);

/* ---- deterministic mode ---- */
/* How long it takes from being asked for until it is done, for all disks of this system: a random time between the two. */
void raft_disks_set_delay(uint64_t least_ns, uint64_t most_ns);
/* The system is about to vanish as if its machine had lost power: what is queued is not written, and the stores are closed for the next one that opens them. */
void raft_disks_crash(void);

disk_write *disk_write_new(const raft_write *w); /* a copy; NULL: out of memory */
void disk_write_free(disk_write *d);
void raft_disk_push(raft_disk *d, disk_write *w); /* takes it */
/* Begins to write a snapshot's file; one at a time. MANTA_EIO. */
manta_status raft_disk_begin_job(raft_disk *d, const raft_snapshot *about, raft_image *image, char *text);

#endif
