/*
 * A snapshot's bytes: in memory (image, which a raft_sink fills) and as a file.
 *
 *   0 "MNTSNAP1" | 8 version u32 = 1, block size u32 = 65536 | 16 index, term, identity, size: u64 each | 48 0 u64, 0 u32 | 60 crc32c of the 60 bytes before
 *   64 the bytes, then the crc32c of each block of them, u32 each. Little endian.
 * The identity is made of the blocks' checksums: equal bytes, equal identity.
 *
 * An image is counted (any thread) and immutable once it is in a file_job or sent. The rest: one thread at a time per object. Errors come with a text (RAFT_TEXT_LIMIT bytes).
 */
#ifndef MANTA_GCS_IMAGE_H
#define MANTA_GCS_IMAGE_H

#include <manta/status.h>

#include "gcs/host/raft_host.h"

enum { IMAGE_BLOCK = 64 << 10, IMAGE_HEAD = 64, HOST_PATH_BYTES = 1024 };
static const uint64_t IMAGE_BYTES_MAX = UINT64_C(16) << 30;

typedef struct raft_image {
    _Atomic uint32_t references;
    uint64_t size, room;
    unsigned char *bytes;
} raft_image;

raft_image *raft_image_new(uint64_t room); /* empty; NULL: out of memory */
raft_image *raft_image_retain(raft_image *i);
void raft_image_release(raft_image *i); /* NULL is fine */
uint64_t raft_image_identity(const raft_image *i);

struct raft_sink {
    raft_image *image;
};

/* "DIRECTORY/snapshot-INDEX-IDENTITY" */
void raft_image_path(const char *directory, const raft_snapshot *about, char out[HOST_PATH_BYTES]);

typedef struct file_job { /* a file that is being written, a piece at a time */
    char path[HOST_PATH_BYTES];
    const char *directory;
    bool sync;
    raft_snapshot about;
    raft_image *image;
    int fd;
    uint64_t written;
} file_job;

/* Begins (and truncates) the file. The job keeps the image. MANTA_EIO. */
manta_status file_job_begin(file_job *j, const char *directory, bool sync, const raft_snapshot *about, raft_image *image, char *text);
/* Writes the next piece; *out_done: the whole is on the disk, its name too. MANTA_EIO, MANTA_ENOMEM. */
manta_status file_job_step(file_job *j, bool *out_done, char *text);
void file_job_end(file_job *j); /* releases; a file that is not whole is removed */

/* Reads and checks the whole file. MANTA_EIO (with file and byte), MANTA_ENOMEM. */
manta_status raft_image_read(const char *directory, const raft_snapshot *about, raft_image **out, char *text);

#endif
