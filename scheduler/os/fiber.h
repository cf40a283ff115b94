/*
 * Fibers: stacks that one thread switches between. Assembly on x86-64 and aarch64, ucontext elsewhere (or when the library
 * is built with MANTA_FIBER_UCONTEXT=1), with the annotations that AddressSanitizer and ThreadSanitizer need.
 *
 * A fiber may be switched to by any thread, by one at a time. Stacks are pooled (fiber_new takes a pooled one first) and have
 * a guard page below; stack and struct live in one mapping. A struct fiber's memory is never unmapped while the process lives, so a
 * stale pointer to one may be read (type-stable).
 */
#ifndef MANTA_OS_FIBER_H
#define MANTA_OS_FIBER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "scheduler/base/atomics.h"

#if !defined(MANTA_FIBER_UCONTEXT) && !defined(__x86_64__) && !defined(__aarch64__)
#define MANTA_FIBER_UCONTEXT 1
#endif
#ifdef MANTA_FIBER_UCONTEXT
#include <ucontext.h>
#endif

typedef void (*fiber_entry)(void *argument); /* must not return */

enum { FIBER_USER_BYTES = 320 };

typedef struct fiber {
#ifdef MANTA_FIBER_UCONTEXT
    ucontext_t context; /* saved by the switch */
#else
    void *stack_pointer; /* saved by the switch */
#endif
    fiber_entry entry;
    void *argument;
    struct fiber *next; /* for lists of whoever holds the fiber */
    void *stack_low;    /* lowest usable byte, above the guard page; NULL: a thread's own stack */
    size_t stack_bytes;
    void *sanitizer;                                           /* tsan fiber / asan fake stack */
    uint64_t scheduler_word[2];                                /* the pool's, while the fiber is suspended */
    _Alignas(CACHE_LINE) unsigned char user[FIBER_USER_BYTES]; /* the upper layers' record of what runs here; zero at first */
} fiber;

/* Usable bytes of the stacks that fiber_new makes from now on: rounded up to pages, at least 16 KiB, default 64 KiB. Call before the
 * first fiber_new only. */
void fiber_set_stack_bytes(size_t stack_bytes);

/* A fiber that will run entry(argument) at the first switch to it. NULL: memory or vm.max_map_count is out. `user` is all zero in a
 * fresh fiber and left as it was in a pooled one. */
fiber *fiber_new(fiber_entry entry, void *argument);

/* Makes the fiber ready to run entry(argument) from the top of its stack again, abandoning whatever frames it holds. The caller
 * runs on another fiber. */
void fiber_reset(fiber *f, fiber_entry entry, void *argument);

/* Back to the pool; the caller runs on another fiber. NULL is fine. */
void fiber_free(fiber *f);

/* Describes the calling thread's own stack as a fiber, so that it can be switched away from. */
void fiber_thread_init(fiber *f);

/* Saves the running fiber in `from` (which the caller runs on) and continues `to`. Returns when something switches back to `from`,
 * perhaps on another thread. Not to be inlined across: no thread-local may be cached over it. */
void fiber_switch(fiber *from, fiber *to);

/* Like fiber_switch, for a fiber whose frames will never be continued: tells the sanitizers. Does not return. */
_Noreturn void fiber_switch_final(fiber *from, fiber *to);

/* Fibers with stacks of their own that exist now (in use + pooled), and how many of them are pooled. */
void fiber_count(size_t *out_total, size_t *out_pooled);

/* Most fibers that may exist (default: half of vm.max_map_count / 2 mappings, each takes two). */
void fiber_set_limit(size_t limit);

/* Unmaps nothing, but gives the pooled stacks' pages back to the kernel. */
void fiber_trim(void);

#endif
