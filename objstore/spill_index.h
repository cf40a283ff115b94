/*
 * What lies on disk: the tables `spilled` (object -> file, offset, crc) and `files` (file -> bytes, how many of them are of living objects), and the files' own life.
 *
 * A file is removed with the last object in it, once nobody appends to it. Each function is one transaction. Errors: store_error.
 */
#ifndef MANTA_OBJSTORE_SPILL_INDEX_H
#define MANTA_OBJSTORE_SPILL_INDEX_H

#include "objstore/internal.h"

manta_status spill_index_new_file(store *s, uint32_t file_id); /* this process writes it */
void spill_index_close_file(store *s, uint64_t file_id);       /* nobody does any more; removes it when it is empty */
/* `bytes`: of the record on disk; file_bytes: of the file with it. An object that has a record already loses that one. */
manta_status spill_index_add(store *s, uint64_t sequence, const spilled_record *r, uint64_t bytes, uint64_t file_bytes);
/* The same when the object's record still is `old`; else the new bytes are dead from the start. */
manta_status spill_index_move(
    store *s, uint64_t sequence, const spilled_record *old, const spilled_record *r, uint64_t bytes, uint64_t file_bytes);
manta_status spill_index_find(store *s, uint64_t sequence, spilled_record *out); /* MANTA_ENOTFOUND */

typedef bool (*spilled_visit)(uint64_t sequence, const spilled_record *r, void *context);
typedef bool (*file_visit)(uint32_t file_id, const file_record *r, void *context);
manta_status spilled_walk(store *s, spilled_visit visit, void *context);
manta_status files_walk(store *s, file_visit visit, void *context);

manta_status spill_index_file(store *s, uint32_t file_id, file_record *out);                 /* MANTA_ENOTFOUND */
manta_status spill_copy(store *s, uint64_t sequence, const spilled_record *r, void *buffer); /* to this process's file; under `evicting` */
void spill_compact(store *s); /* copies the living objects of mostly dead files elsewhere; under `evicting` */
void spill_wake(store *s);    /* the spiller: there is something to do */
void spill_who_holds(store *s, char *text, size_t size);

#endif
