/*
 * A table of pointers by 64-bit id (open addressing, linear probing, at most 3/4 full). Ids are not 0; values are not NULL and not owned. Not thread-safe: the owner brings the lock.
 */
#ifndef MANTA_BASE_ID_TABLE_H
#define MANTA_BASE_ID_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct id_table { /* all zero: empty */
    struct id_entry *entries;
    size_t capacity, count, used; /* used counts removed entries too */
} id_table;

void id_table_fini(id_table *t); /* empty again */
void *id_table_get(const id_table *t, uint64_t id);
bool id_table_put(id_table *t, uint64_t id, void *value); /* replaces; false: out of memory, unchanged */
void *id_table_remove(id_table *t, uint64_t id);          /* the value, or NULL when absent */
/* Walks the table: start with *cursor = 0; NULL at the end. The table must not grow meanwhile; removing the entry just visited is fine. */
void *id_table_next(const id_table *t, size_t *cursor, uint64_t *out_id);

#endif
