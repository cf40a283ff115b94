/*
 * The allocator of the Plasma-like peer: two-level segregated free lists with boundary tags, inside memory that processes share.
 *
 * Offsets instead of addresses; 64-byte aligned payloads; O(1). Not thread-safe: the peer's lock is around it.
 */
#ifndef MANTA_PLASMA_HEAP_H
#define MANTA_PLASMA_HEAP_H

#include <stdint.h>

enum { HEAP_STEPS = 16, HEAP_CLASSES = 48 };

typedef struct plasma_heap {
    uint64_t classes_used; /* a bit for each with a free block */
    uint16_t steps_used[HEAP_CLASSES];
    uint64_t first[HEAP_CLASSES][HEAP_STEPS]; /* free block; 0: none */
} plasma_heap;

void heap_init(plasma_heap *h, unsigned char *memory, uint64_t bytes);
uint64_t heap_alloc(plasma_heap *h, unsigned char *memory, uint64_t bytes); /* offset in memory; 0: no room */
void heap_free(plasma_heap *h, unsigned char *memory, uint64_t offset);

#endif
