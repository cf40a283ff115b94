/*
 * Spill files: objects on disk, one after the other. A file is written by one process from its start to its end, and read by any.
 *
 *   file    header, 64 bytes: magic "MANTASPL", version u32, 0 u32, salt of the store u64, id of the file u64, 0 ..., crc32c of the 60 bytes before u32
 *   record  header, 48 bytes: magic "SPOB" u32, flags u32, sequence u64, size u64 (of the data), trailer u64 (bytes behind the data that belong to it), crc32c of
 *           data and trailer u32, 0 u32, 0 u32, crc32c of the 44 bytes before u32; then data and trailer; then zeros up to a multiple of 16
 * All numbers are little endian. A file has no end mark: what a dead writer left half-written lies behind the last record that anybody refers to.
 * Bad bytes give MANTA_EIO and a text that names the file, the byte and what is wrong; they are never a crash, an endless loop or a large allocation.
 * A spill_file may be used by one thread at a time; spill_file_read and spill_file_walk by any.
 */
#ifndef MANTA_OBJSTORE_SPILL_FILE_H
#define MANTA_OBJSTORE_SPILL_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <manta/status.h>

enum { SPILL_FILE_HEADER = 64, SPILL_RECORD_HEADER = 48, SPILL_ALIGNMENT = 16, SPILL_PATH_LIMIT = 4096, SPILL_TEXT_LIMIT = 512 };

typedef struct spill_place { /* which file */
    const char *directory;
    uint64_t salt, file_id;
} spill_place;

typedef struct spill_record {
    uint64_t sequence; /* of the object */
    uint64_t size_bytes, trailer_bytes;
    uint32_t flags; /* the store's */
    uint32_t crc;   /* of data and trailer */
} spill_record;

typedef struct spill_file spill_file;

/* Creates the file "spill-<file_id in 16 hex digits>" in the directory, which must be there. MANTA_EEXIST, MANTA_ESTOREFULL (no room on the disk), MANTA_EIO, MANTA_ENOMEM.
 * `text` (SPILL_TEXT_LIMIT bytes) of this and the others: says what failed, with the path; untouched on success. */
manta_status spill_file_create(spill_place place, spill_file **out, char *text);

/* Appends one object: `data` is r->size_bytes + r->trailer_bytes bytes; r->crc is computed here and set. *out_offset: of its record. After a failure the file ends where it
 * ended before. MANTA_ESTOREFULL: no room on the disk. */
manta_status spill_file_append(spill_file *f, spill_record *r, const void *data, uint64_t *out_offset, char *text);
uint64_t spill_file_bytes(const spill_file *f); /* so far */
uint64_t spill_file_id(const spill_file *f);
void spill_file_close(spill_file *f); /* NULL is fine */

uint64_t spill_record_bytes(const spill_record *r); /* on disk, with header and padding */

/* Reads the object whose record is at `offset` into `data` (r->size_bytes + r->trailer_bytes bytes), after checking that the record is that of r (sequence, sizes, crc);
 * then checks the bytes. MANTA_EIO: corrupted, or not to be read. */
manta_status spill_file_read(spill_place place, uint64_t offset, const spill_record *r, void *data, char *text);

/* The same for the trailer alone, whose bytes are not checked: it has r->trailer_bytes. */
manta_status spill_file_read_trailer(spill_place place, uint64_t offset, const spill_record *r, void *trailer, char *text);

/* Visits each record from the first on, until visit returns false or the file ends; the data is checked when check_data. *out_bytes: the whole records. MANTA_EIO with a text
 * for the first bad byte; a record that the end of the file cuts off is not an error, but *out_cut is set. */
manta_status spill_file_walk(spill_place place, bool check_data, bool (*visit)(const spill_record *r, uint64_t offset, void *context),
    void *context, uint64_t *out_bytes, bool *out_cut, char *text);

manta_status spill_file_remove(spill_place place, char *text); /* one that is not there is fine */

/* Calls visit with the id of each spill file in the directory, until it returns false. Other names are passed over. */
manta_status spill_file_list(const char *directory, bool (*visit)(uint64_t file_id, void *context), void *context, char *text);

#endif
