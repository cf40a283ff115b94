/*
 * An ordered map from bytes to pointers: a skip list. Keys are copied and compared like memcmp, a shorter one first; values are not owned. O(log n) expected; equal histories
 * walk in equal order, which is that of the keys. The heights come from a generator of its own with a fixed seed. Not thread-safe.
 */
#ifndef MANTA_GCS_ORDERED_H
#define MANTA_GCS_ORDERED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { ORDERED_HEIGHT = 16 }; /* at a quarter of the nodes of a level on the next one, enough for 4^16 */

typedef struct ordered_node {
    uint64_t start; /* the first bytes of the key as a number: decides most comparisons without a look at the key */
    void *value;
    uint32_t size; /* of the key, which is behind `next` */
    uint32_t height;
    struct ordered_node *next[];
} ordered_node;

typedef struct ordered_map { /* all zero: empty */
    ordered_node *first[ORDERED_HEIGHT];
    uint64_t random;
    size_t count;
} ordered_map;

static inline const unsigned char *ordered_key(const ordered_node *n) { return (const unsigned char *)&n->next[n->height]; }

void ordered_fini(ordered_map *m); /* empty again */
ordered_node *ordered_get(const ordered_map *m, const void *key, size_t size);
bool ordered_put(
    ordered_map *m, const void *key, size_t size, void *value);    /* the key must not be there; false: out of memory, unchanged */
bool ordered_remove(ordered_map *m, const void *key, size_t size); /* false: was not there */
/* The first node whose key is not less; NULL: none. node->next[0] goes on. */
ordered_node *ordered_seek(const ordered_map *m, const void *key, size_t size);
/* Whether the node's key begins with these bytes; false for NULL. */
bool ordered_has_prefix(const ordered_node *n, const void *prefix, size_t size);

#endif
