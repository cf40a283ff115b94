#include "scheduler/base/alloc.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "scheduler/base/atomics.h"

/* Allocations until the one that fails, that one included; 0: the seam is off, which costs one relaxed load. */
static _Atomic uint64_t fail_countdown;
static _Atomic bool fail_happened;

void base_alloc_fail_at(uint64_t n)
{
    store_relaxed(&fail_countdown, 0);
    store_relaxed(&fail_happened, false);
    store_relaxed(&fail_countdown, n);
}

bool base_alloc_has_failed(void) { return load_relaxed(&fail_happened); }

/* Compare and swap rather than subtract, so that two threads cannot both see the last one, nor take the count below 0. */
static cold bool count_one(uint64_t seen)
{
    while (seen) {
        if (!cas_acq_rel(&fail_countdown, &seen, seen - 1)) continue;
        if (seen > 1) return false;
        store_relaxed(&fail_happened, true);
        errno = ENOMEM;
        return true;
    }
    return false;
}

static inline bool should_fail(void)
{
    uint64_t seen = load_relaxed(&fail_countdown);
    return unlikely(seen) && count_one(seen);
}

bool base_alloc_should_fail(void) { return should_fail(); }

/* NULL means out of memory and nothing else, so that a size of 0 must never reach the C library. */
static inline size_t at_least_one(size_t size_bytes) { return size_bytes ? size_bytes : 1; }

void *base_alloc(size_t size_bytes) { return should_fail() ? NULL : malloc(at_least_one(size_bytes)); }

void *base_calloc(size_t count, size_t size_bytes)
{
    size_t total; /* multiplied here, because a sanitizer's calloc aborts on overflow */
    if (should_fail() || __builtin_mul_overflow(count, size_bytes, &total)) return NULL;
    return calloc(1, at_least_one(total));
}

void *base_realloc(void *memory, size_t size_bytes) { return should_fail() ? NULL : realloc(memory, at_least_one(size_bytes)); }

void *base_aligned_alloc(size_t alignment, size_t size_bytes)
{
    if (should_fail()) return NULL;
    void *memory;
    if (alignment < sizeof(void *)) alignment = sizeof(void *);
    return posix_memalign(&memory, alignment, at_least_one(size_bytes)) == 0 ? memory : NULL;
}

char *base_strdup(const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = base_alloc(size);
    return copy ? memcpy(copy, text, size) : NULL;
}

void base_free(void *memory) { free(memory); }
