/*
 * A file is written in pieces, each synced, so that the disk's other writes never wait behind the whole of a large one.
 */
#include "gcs/host/image.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "gcs/host/host_text.h"
#include "gcs/raft/raft_bytes.h"
#include "scheduler/base/alloc.h"
#include "scheduler/base/crc32c.h"
#include "scheduler/base/rng.h"
#include "scheduler/os/os_file.h"

enum { VERSION = 1, PIECE_BYTES = 2 << 20, ROOM_FIRST = 4096 };
static const char MAGIC[8] = "MNTSNAP1";

/* ---- in memory ---- */

raft_image *raft_image_new(uint64_t room)
{
    raft_image *i = base_alloc(sizeof *i);
    if (!i) return NULL;
    *i = (raft_image){.references = 1, .room = room, .bytes = base_alloc(room ? (size_t)room : 1)};
    if (i->bytes) return i;
    base_free(i);
    return NULL;
}

raft_image *raft_image_retain(raft_image *i)
{
    add_relaxed(&i->references, 1);
    return i;
}

void raft_image_release(raft_image *i)
{
    if (!i || atomic_fetch_sub_explicit(&i->references, 1, memory_order_acq_rel) != 1) return;
    base_free(i->bytes);
    base_free(i);
}

static bool reserve(raft_image *i, uint64_t n)
{
    uint64_t room = i->room ? i->room : ROOM_FIRST;
    if (i->room - i->size >= n) return true;
    if (n > IMAGE_BYTES_MAX - i->size) return false;
    while (room - i->size < n) room *= 2;
    unsigned char *bytes = base_realloc(i->bytes, (size_t)room);
    if (!bytes) return false;
    i->bytes = bytes;
    i->room = room;
    return true;
}

bool raft_sink_write(raft_sink *s, const void *bytes, size_t size)
{
    if (!reserve(s->image, size)) return false;
    if (size) memcpy(s->image->bytes + s->image->size, bytes, size);
    s->image->size += size;
    return true;
}

static uint64_t block_count(uint64_t size) { return (size + IMAGE_BLOCK - 1) / IMAGE_BLOCK; }

static uint32_t block_crc(const raft_image *i, uint64_t block)
{
    uint64_t from = block * IMAGE_BLOCK, n = i->size - from;
    return crc32c(0, i->bytes + from, n < IMAGE_BLOCK ? (size_t)n : IMAGE_BLOCK);
}

static uint64_t identity_next(uint64_t identity, uint32_t crc) { return rng_mix(identity ^ crc) + 1; }

uint64_t raft_image_identity(const raft_image *i)
{
    uint64_t identity = i->size;
    for (uint64_t b = 0; b < block_count(i->size); b++) identity = identity_next(identity, block_crc(i, b));
    return identity;
}

/* ---- writing ---- */

void raft_image_path(const char *directory, const raft_snapshot *about, char out[HOST_PATH_BYTES])
{
    snprintf(out, HOST_PATH_BYTES, "%s/snapshot-%" PRIu64 "-%016" PRIx64, directory, about->index, about->identity);
}

static void put_head(const raft_snapshot *about, unsigned char head[IMAGE_HEAD])
{
    memset(head, 0, IMAGE_HEAD);
    memcpy(head, MAGIC, sizeof MAGIC);
    unsigned char *p = raft_put_number(raft_put_number(head + 8, VERSION, 4), IMAGE_BLOCK, 4);
    p = raft_put_number(raft_put_number(p, about->index, 8), about->term, 8);
    raft_put_number(raft_put_number(p, about->identity, 8), about->size_bytes, 8);
    raft_put_number(head + 60, crc32c(0, head, 60), 4);
}

manta_status file_job_begin(file_job *j, const char *directory, bool sync, const raft_snapshot *about, raft_image *image, char *text)
{
    unsigned char head[IMAGE_HEAD];
    *j = (file_job){.directory = directory, .sync = sync, .about = *about, .image = raft_image_retain(image), .fd = -1};
    raft_image_path(directory, about, j->path);
    put_head(about, head);
    int error = os_file_open(j->path, OS_WRITE | OS_CREATE, &j->fd);
    if (!error) error = os_file_resize(j->fd, 0);
    if (!error) error = os_file_write(j->fd, head, sizeof head, 0);
    return error ? host_say(text, MANTA_EIO, "%s: writing: %s", j->path, strerror(error)) : MANTA_OK;
}

static int write_table(file_job *j)
{
    uint64_t count = block_count(j->image->size);
    unsigned char *table = base_alloc(4 * (size_t)count + 1), *p = table;
    if (!table) return ENOMEM;
    for (uint64_t b = 0; b < count; b++) p = raft_put_number(p, block_crc(j->image, b), 4);
    int error = os_file_write(j->fd, table, 4 * (size_t)count, IMAGE_HEAD + j->image->size);
    base_free(table);
    return error;
}

static int write_piece(file_job *j)
{
    uint64_t left = j->image->size - j->written, n = left < PIECE_BYTES ? left : PIECE_BYTES;
    int error = os_file_write(j->fd, j->image->bytes + j->written, (size_t)n, IMAGE_HEAD + j->written);
    if (!error) j->written += n;
    return error;
}

manta_status file_job_step(file_job *j, bool *out_done, char *text)
{
    int error = j->written < j->image->size ? write_piece(j) : 0;
    bool last = j->written == j->image->size;
    if (!error && last) error = write_table(j);
    if (!error && j->sync) error = os_file_sync(j->fd);
    if (!error && last && j->sync) error = host_sync_directory(j->directory);
    if (error == ENOMEM) return host_say(text, MANTA_ENOMEM, "%s: no memory for its checksums", j->path);
    if (error) return host_say(text, MANTA_EIO, "%s: writing: %s", j->path, strerror(error));
    *out_done = last;
    if (last) {
        os_file_close(j->fd);
        j->fd = -1;
    }
    return MANTA_OK;
}

void file_job_end(file_job *j)
{
    if (j->fd >= 0) (void)os_file_remove(j->path);
    os_file_close(j->fd);
    j->fd = -1;
    raft_image_release(j->image);
    j->image = NULL;
}

/* ---- reading ---- */

static manta_status check_head(const char *path, const unsigned char head[IMAGE_HEAD], const raft_snapshot *about, char *text)
{
    unsigned char expected[IMAGE_HEAD];
    put_head(about, expected);
    for (size_t i = 0; i < IMAGE_HEAD; i++)
        if (head[i] != expected[i]) return host_say(text, MANTA_EIO, "%s: byte %zu: %u, not %u: damaged", path, i, head[i], expected[i]);
    return MANTA_OK;
}

static manta_status check_blocks(const char *path, uint64_t expected_identity, const raft_image *i, const unsigned char *table, char *text)
{
    uint64_t identity = i->size;
    for (uint64_t b = 0; b < block_count(i->size); b++) {
        raft_reader r = {.bytes = table + 4 * b, .size = 4};
        uint32_t expected = (uint32_t)raft_take_number(&r, 4), crc = block_crc(i, b);
        if (crc != expected)
            return host_say(text, MANTA_EIO, "%s: byte %" PRIu64 ": the checksum of the block from there on is %08x, not %08x: damaged",
                path, IMAGE_HEAD + b * IMAGE_BLOCK, crc, expected);
        identity = identity_next(identity, crc);
    }
    if (identity == expected_identity) return MANTA_OK;
    return host_say(
        text, MANTA_EIO, "%s: byte %d: the identity of its bytes is %016" PRIx64 ", not that: damaged", path, IMAGE_HEAD, identity);
}

static manta_status check_size(const char *path, int fd, uint64_t expected, char *text)
{
    uint64_t size;
    int error = os_file_size(fd, &size);
    if (error) return host_say(text, MANTA_EIO, "%s: %s", path, strerror(error));
    if (size == expected) return MANTA_OK;
    return host_say(text, MANTA_EIO, "%s: %" PRIu64 " bytes, not %" PRIu64 ": damaged", path, size, expected);
}

/* `rest`: bytes, then table. */
static manta_status read_open(const char *path, int fd, const raft_snapshot *about, raft_image *rest, char *text)
{
    unsigned char head[IMAGE_HEAD];
    uint64_t table = 4 * block_count(about->size_bytes);
    manta_status status = check_size(path, fd, IMAGE_HEAD + about->size_bytes + table, text);
    if (status) return status;
    int error = os_file_read(fd, head, sizeof head, 0);
    if (!error) error = os_file_read(fd, rest->bytes, (size_t)(about->size_bytes + table), IMAGE_HEAD);
    if (error) return host_say(text, MANTA_EIO, "%s: reading: %s", path, strerror(error));
    rest->size = about->size_bytes;
    status = check_head(path, head, about, text);
    return status ? status : check_blocks(path, about->identity, rest, rest->bytes + about->size_bytes, text);
}

manta_status raft_image_read(const char *directory, const raft_snapshot *about, raft_image **out, char *text)
{
    char path[HOST_PATH_BYTES];
    int fd = -1;
    raft_image_path(directory, about, path);
    if (about->size_bytes > IMAGE_BYTES_MAX)
        return host_say(text, MANTA_EIO, "%s: %" PRIu64 " bytes are too many", path, about->size_bytes);
    int error = os_file_open(path, OS_READ, &fd);
    if (error) return host_say(text, MANTA_EIO, "%s: %s", path, strerror(error));
    raft_image *image = raft_image_new(about->size_bytes + 4 * block_count(about->size_bytes));
    manta_status status = image ? read_open(path, fd, about, image, text)
                                : host_say(text, MANTA_ENOMEM, "%s: no memory for %" PRIu64 " bytes", path, about->size_bytes);
    os_file_close(fd);
    if (status) raft_image_release(image);
    else *out = image;
    return status;
}
