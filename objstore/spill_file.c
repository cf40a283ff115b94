/*
 * See the header for the layout. Every number that comes from the disk is checked against the file's size before it is used.
 */
#include "objstore/spill_file.h"

#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "scheduler/base/alloc.h"
#include "scheduler/base/crc32c.h"
#include "scheduler/os/os_file.h"

enum { VERSION = 1, CHECK_PIECE = 1 << 20, NAME_DIGITS = 16 };
#define RECORD_MAGIC 0x424f5053u /* "SPOB" */
#define SIZE_LIMIT (UINT64_MAX / 4)
static const char file_magic[8] = {'M', 'A', 'N', 'T', 'A', 'S', 'P', 'L'};

struct spill_file {
    int fd;
    uint64_t id, bytes;
    char path[SPILL_PATH_LIMIT];
};

static manta_status say(char *text, manta_status status, const char *format, ...) MANTA_PRINTF(3, 4);
static manta_status say(char *text, manta_status status, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, SPILL_TEXT_LIMIT, format, arguments);
    va_end(arguments);
    return status;
}

static manta_status say_error(char *text, const char *path, const char *what, int error)
{
    manta_status status = error == ENOSPC || error == EDQUOT ? MANTA_ESTOREFULL
                          : error == EEXIST                  ? MANTA_EEXIST
                          : error == ENOMEM                  ? MANTA_ENOMEM
                                                             : MANTA_EIO;
    return say(text, status, "%.300s: cannot %s: %s", path, what, strerror(error));
}

static void path_of(spill_place place, char *path)
{
    snprintf(path, SPILL_PATH_LIMIT, "%.4000s/spill-%016" PRIx64, place.directory, place.file_id);
}

/* ---- headers ---- */

static void put32(unsigned char *at, uint32_t v)
{
    v = htole32(v);
    memcpy(at, &v, 4);
}
static void put64(unsigned char *at, uint64_t v)
{
    v = htole64(v);
    memcpy(at, &v, 8);
}
static uint32_t get32(const unsigned char *at)
{
    uint32_t v;
    memcpy(&v, at, 4);
    return le32toh(v);
}
static uint64_t get64(const unsigned char *at)
{
    uint64_t v;
    memcpy(&v, at, 8);
    return le64toh(v);
}

static void pack_file(unsigned char h[SPILL_FILE_HEADER], spill_place place)
{
    memset(h, 0, SPILL_FILE_HEADER);
    memcpy(h, file_magic, 8);
    put32(h + 8, VERSION);
    put64(h + 16, place.salt);
    put64(h + 24, place.file_id);
    put32(h + 60, crc32c(0, h, 60));
}

static void pack_record(unsigned char h[SPILL_RECORD_HEADER], const spill_record *r)
{
    memset(h, 0, SPILL_RECORD_HEADER);
    put32(h, RECORD_MAGIC);
    put32(h + 4, r->flags);
    put64(h + 8, r->sequence);
    put64(h + 16, r->size_bytes);
    put64(h + 24, r->trailer_bytes);
    put32(h + 32, r->crc);
    put32(h + 44, crc32c(0, h, 44));
}

static manta_status check_file(const unsigned char h[SPILL_FILE_HEADER], spill_place place, const char *path, char *text)
{
    if (memcmp(h, file_magic, 8) != 0) return say(text, MANTA_EIO, "%.300s: byte 0: it is no spill file", path);
    if (get32(h + 60) != crc32c(0, h, 60)) return say(text, MANTA_EIO, "%.300s: byte 60: the checksum of the file's header is wrong", path);
    if (get32(h + 8) != VERSION)
        return say(text, MANTA_EIO, "%.300s: byte 8: version %u, this library knows %d", path, get32(h + 8), VERSION);
    if (get64(h + 16) != place.salt) return say(text, MANTA_EIO, "%.300s: byte 16: it belongs to another store", path);
    if (get64(h + 24) != place.file_id)
        return say(text, MANTA_EIO, "%.300s: byte 24: it says that it is file %" PRIu64, path, get64(h + 24));
    return MANTA_OK;
}

static manta_status unpack_record(const unsigned char h[SPILL_RECORD_HEADER], uint64_t at, const char *path, spill_record *out, char *text)
{
    if (get32(h) != RECORD_MAGIC) return say(text, MANTA_EIO, "%.300s: byte %" PRIu64 ": no record begins here", path, at);
    if (get32(h + 44) != crc32c(0, h, 44))
        return say(text, MANTA_EIO, "%.300s: byte %" PRIu64 ": the checksum of a record's header is wrong", path, at + 44);
    *out = (spill_record){get64(h + 8), get64(h + 16), get64(h + 24), get32(h + 4), get32(h + 32)};
    if (out->size_bytes > SIZE_LIMIT || out->trailer_bytes > SIZE_LIMIT)
        return say(text, MANTA_EIO, "%.300s: byte %" PRIu64 ": a record of %" PRIu64 " bytes", path, at + 16, out->size_bytes);
    return MANTA_OK;
}

uint64_t spill_record_bytes(const spill_record *r)
{
    uint64_t bytes = SPILL_RECORD_HEADER + r->size_bytes + r->trailer_bytes;
    return (bytes + SPILL_ALIGNMENT - 1) & ~(uint64_t)(SPILL_ALIGNMENT - 1);
}

/* ---- writing ---- */

manta_status spill_file_create(spill_place place, spill_file **out, char *text)
{
    unsigned char h[SPILL_FILE_HEADER];
    spill_file *f = base_alloc(sizeof *f);
    if (!f) return say(text, MANTA_ENOMEM, "no memory for a spill file");
    *f = (spill_file){.fd = -1, .id = place.file_id, .bytes = SPILL_FILE_HEADER};
    path_of(place, f->path);
    pack_file(h, place);
    int error = os_file_open(f->path, OS_WRITE | OS_CREATE | OS_EXCLUSIVE, &f->fd);
    if (!error && (error = os_file_write(f->fd, h, sizeof h, 0))) (void)os_file_remove(f->path);
    if (!error) {
        *out = f;
        return MANTA_OK;
    }
    manta_status status = say_error(text, f->path, "be made", error);
    spill_file_close(f);
    return status;
}

manta_status spill_file_append(spill_file *f, spill_record *r, const void *data, uint64_t *out_offset, char *text)
{
    static const unsigned char zeros[SPILL_ALIGNMENT];
    unsigned char h[SPILL_RECORD_HEADER];
    uint64_t size = r->size_bytes + r->trailer_bytes, room = spill_record_bytes(r), padding = room - SPILL_RECORD_HEADER - size;
    if (r->size_bytes > SIZE_LIMIT || r->trailer_bytes > SIZE_LIMIT)
        return say(text, MANTA_EINVAL, "%.300s: an object of %" PRIu64 " bytes", f->path, r->size_bytes);
    r->crc = crc32c(0, data, size);
    pack_record(h, r);
    int error = size ? os_file_write(f->fd, data, size, f->bytes + sizeof h) : 0;
    if (!error && padding) error = os_file_write(f->fd, zeros, padding, f->bytes + sizeof h + size);
    if (!error) error = os_file_write(f->fd, h, sizeof h, f->bytes);
    if (error) {
        (void)os_file_resize(f->fd, f->bytes);
        return say_error(text, f->path, "be written to", error);
    }
    *out_offset = f->bytes;
    f->bytes += room;
    return MANTA_OK;
}

uint64_t spill_file_bytes(const spill_file *f) { return f->bytes; }
uint64_t spill_file_id(const spill_file *f) { return f->id; }

void spill_file_close(spill_file *f)
{
    if (!f) return;
    os_file_close(f->fd);
    base_free(f);
}

/* ---- reading ---- */

typedef struct reader {
    int fd;
    uint64_t bytes;
    char path[SPILL_PATH_LIMIT];
} reader;

static manta_status reader_open(reader *r, spill_place place, char *text)
{
    unsigned char h[SPILL_FILE_HEADER];
    path_of(place, r->path);
    r->fd = -1;
    int error = os_file_open(r->path, OS_READ, &r->fd);
    if (!error) error = os_file_size(r->fd, &r->bytes);
    if (!error && r->bytes < sizeof h)
        return say(text, MANTA_EIO, "%.300s: byte %" PRIu64 ": the file ends in its header", r->path, r->bytes);
    if (!error) error = os_file_read(r->fd, h, sizeof h, 0);
    return error ? say_error(text, r->path, "be read", error) : check_file(h, place, r->path, text);
}

/* The record at `at`. *out_cut: the file ends in it. */
static manta_status record_at(const reader *r, uint64_t at, spill_record *out, bool *out_cut, char *text)
{
    unsigned char h[SPILL_RECORD_HEADER];
    *out_cut = at > r->bytes || r->bytes - at < sizeof h;
    if (*out_cut) return MANTA_OK;
    int error = os_file_read(r->fd, h, sizeof h, at);
    if (error) return say_error(text, r->path, "be read", error);
    manta_status status = unpack_record(h, at, r->path, out, text);
    if (!status) *out_cut = r->bytes - at < SPILL_RECORD_HEADER + out->size_bytes + out->trailer_bytes;
    return status;
}

static manta_status expect_record(const reader *f, uint64_t offset, const spill_record *r, char *text)
{
    spill_record found;
    bool cut;
    manta_status status = record_at(f, offset, &found, &cut, text);
    if (status) return status;
    if (cut) return say(text, MANTA_EIO, "%.300s: byte %" PRIu64 ": the file ends in object %" PRIu64, f->path, f->bytes, r->sequence);
    if (found.sequence != r->sequence || found.size_bytes != r->size_bytes || found.trailer_bytes != r->trailer_bytes ||
        found.crc != r->crc)
        return say(text, MANTA_EIO, "%.300s: byte %" PRIu64 ": object %" PRIu64 " of %" PRIu64 " bytes, and not %" PRIu64 " of %" PRIu64,
            f->path, offset, found.sequence, found.size_bytes, r->sequence, r->size_bytes);
    return MANTA_OK;
}

static manta_status read_into(const reader *f, uint64_t offset, const spill_record *r, void *data, char *text)
{
    manta_status status = expect_record(f, offset, r, text);
    if (status) return status;
    uint64_t size = r->size_bytes + r->trailer_bytes;
    int error = size ? os_file_read(f->fd, data, size, offset + SPILL_RECORD_HEADER) : 0;
    if (error) return say_error(text, f->path, "be read", error);
    if (crc32c(0, data, size) != r->crc)
        return say(text, MANTA_EIO, "%.300s: byte %" PRIu64 ": the checksum of object %" PRIu64 " is wrong", f->path,
            offset + SPILL_RECORD_HEADER, r->sequence);
    return MANTA_OK;
}

manta_status spill_file_read(spill_place place, uint64_t offset, const spill_record *r, void *data, char *text)
{
    reader f;
    manta_status status = reader_open(&f, place, text);
    if (!status) status = read_into(&f, offset, r, data, text);
    os_file_close(f.fd);
    return status;
}

manta_status spill_file_read_trailer(spill_place place, uint64_t offset, const spill_record *r, void *trailer, char *text)
{
    reader f;
    manta_status status = reader_open(&f, place, text);
    if (!status) status = expect_record(&f, offset, r, text);
    int error =
        status || !r->trailer_bytes ? 0 : os_file_read(f.fd, trailer, r->trailer_bytes, offset + SPILL_RECORD_HEADER + r->size_bytes);
    if (error) status = say_error(text, f.path, "be read", error);
    os_file_close(f.fd);
    return status;
}

static manta_status check_data_at(const reader *f, uint64_t at, const spill_record *r, unsigned char *piece, char *text)
{
    uint64_t left = r->size_bytes + r->trailer_bytes, from = at + SPILL_RECORD_HEADER;
    uint32_t crc = 0;
    while (left) {
        size_t n = left < CHECK_PIECE ? (size_t)left : CHECK_PIECE;
        int error = os_file_read(f->fd, piece, n, from);
        if (error) return say_error(text, f->path, "be read", error);
        crc = crc32c(crc, piece, n);
        from += n;
        left -= n;
    }
    if (crc == r->crc) return MANTA_OK;
    return say(text, MANTA_EIO, "%.300s: byte %" PRIu64 ": the checksum of object %" PRIu64 " is wrong", f->path, at + SPILL_RECORD_HEADER,
        r->sequence);
}

static manta_status walk(const reader *f, unsigned char *piece, bool (*visit)(const spill_record *r, uint64_t offset, void *context),
    void *context, uint64_t *out_bytes, bool *out_cut, char *text)
{
    uint64_t at = SPILL_FILE_HEADER;
    bool cut = false;
    while (at < f->bytes) {
        spill_record r;
        manta_status status = record_at(f, at, &r, &cut, text);
        if (!status && !cut && piece) status = check_data_at(f, at, &r, piece, text);
        if (status) return status;
        if (cut || (visit && !visit(&r, at, context))) break;
        at += spill_record_bytes(&r);
    }
    *out_bytes = at;
    *out_cut = cut;
    return MANTA_OK;
}

manta_status spill_file_walk(spill_place place, bool check_data, bool (*visit)(const spill_record *r, uint64_t offset, void *context),
    void *context, uint64_t *out_bytes, bool *out_cut, char *text)
{
    reader f;
    unsigned char *piece = check_data ? base_alloc(CHECK_PIECE) : NULL;
    if (check_data && !piece) return say(text, MANTA_ENOMEM, "no memory to check a spill file");
    manta_status status = reader_open(&f, place, text);
    if (!status) status = walk(&f, piece, visit, context, out_bytes, out_cut, text);
    os_file_close(f.fd);
    base_free(piece);
    return status;
}

/* ---- the directory ---- */

manta_status spill_file_remove(spill_place place, char *text)
{
    char path[SPILL_PATH_LIMIT];
    path_of(place, path);
    int error = os_file_remove(path);
    return error && error != ENOENT ? say_error(text, path, "be removed", error) : MANTA_OK;
}

typedef struct listing {
    bool (*visit)(uint64_t file_id, void *context);
    void *context;
} listing;

static bool list_one(const char *name, void *context)
{
    const listing *l = context;
    char *end;
    if (strncmp(name, "spill-", 6) != 0 || strlen(name) != 6 + NAME_DIGITS || strspn(name + 6, "0123456789abcdef") != NAME_DIGITS)
        return true;
    uint64_t id = strtoull(name + 6, &end, 16);
    return l->visit(id, l->context);
}

manta_status spill_file_list(const char *directory, bool (*visit)(uint64_t file_id, void *context), void *context, char *text)
{
    listing l = {visit, context};
    int error = os_directory_list(directory, list_one, &l);
    return error ? say_error(text, directory, "be listed", error) : MANTA_OK;
}
