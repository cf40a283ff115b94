/*
 * Hash of bytes (FNV-1a, 64 bits) and a string-keyed table of pointers (open addressing, linear probing, grows at 3/4).
 *
 * The table copies its keys and never owns its values. Not thread-safe: the owner brings the lock.
 */
#ifndef MANTA_BASE_HASH_H
#define MANTA_BASE_HASH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

uint64_t hash_bytes(const void *data, size_t size_bytes);
uint64_t hash_string(const char *text);

typedef struct string_table {
    struct string_entry *entries;
    size_t capacity, count, used; /* used counts removed entries too */
} string_table;

void string_table_init(string_table *t);
void string_table_fini(string_table *t);
void *string_table_get(const string_table *t, const char *key);       /* NULL when absent */
bool string_table_put(string_table *t, const char *key, void *value); /* replaces; false: out of memory, unchanged */
void *string_table_remove(string_table *t, const char *key);          /* the value, or NULL when absent */
/* Walks the table: start with *cursor = 0; false at the end. The table must not change meanwhile. */
bool string_table_next(const string_table *t, size_t *cursor, const char **out_key, void **out_value);

#endif
