/*
 * Heap allocation, with one seam: tests make the n-th allocation of the process fail.
 *
 * Every heap allocation of the library goes through here. All functions may be called from any thread and return NULL when
 * memory is out; none aborts. Memory from one is freed by base_free only.
 */
#ifndef MANTA_BASE_ALLOC_H
#define MANTA_BASE_ALLOC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

void *base_alloc(size_t size_bytes);
void *base_calloc(size_t count, size_t size_bytes);            /* checks count * size for overflow */
void *base_realloc(void *memory, size_t size_bytes);           /* on failure `memory` stays valid */
void *base_aligned_alloc(size_t alignment, size_t size_bytes); /* alignment: power of two */
char *base_strdup(const char *text);
void base_free(void *memory); /* NULL is fine */

/* The n-th allocation from now (1 = the next) fails, once; 0 switches the seam off. Page mappings (os_map) count too. */
void base_alloc_fail_at(uint64_t n);

/* True when the armed failure has happened since base_alloc_fail_at. */
bool base_alloc_has_failed(void);

/* Counts one allocation made by other means (os_map) and says whether it must fail now. */
bool base_alloc_should_fail(void);

#endif
