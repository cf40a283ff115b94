/*
 * Short names for C11 atomics with explicit order, and the compiler hints used on hot paths.
 *
 * load_relaxed(p) reads *p with memory_order_relaxed; store_release(p, v) and so on likewise.
 */
#ifndef MANTA_BASE_ATOMICS_H
#define MANTA_BASE_ATOMICS_H

#include <stdatomic.h>

#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
#define noinline __attribute__((__noinline__))
#define cold __attribute__((__noinline__, __cold__))

enum { CACHE_LINE = 64, CACHE_PAIR = 128 }; /* bytes; a pair is what the adjacent-line prefetcher moves */

#define load_relaxed(p) atomic_load_explicit(p, memory_order_relaxed)
#define load_acquire(p) atomic_load_explicit(p, memory_order_acquire)
#define load_seq(p) atomic_load_explicit(p, memory_order_seq_cst)
#define store_relaxed(p, v) atomic_store_explicit(p, v, memory_order_relaxed)
#define store_release(p, v) atomic_store_explicit(p, v, memory_order_release)
#define store_seq(p, v) atomic_store_explicit(p, v, memory_order_seq_cst)
#define add_relaxed(p, v) atomic_fetch_add_explicit(p, v, memory_order_relaxed)
#define add_seq(p, v) atomic_fetch_add_explicit(p, v, memory_order_seq_cst)
#define sub_seq(p, v) atomic_fetch_sub_explicit(p, v, memory_order_seq_cst)
#define exchange_acq_rel(p, v) atomic_exchange_explicit(p, v, memory_order_acq_rel)
#define exchange_seq(p, v) atomic_exchange_explicit(p, v, memory_order_seq_cst)

/* Compare and swap; on failure *expected_p holds what was seen. */
#define cas_acq_rel(p, expected_p, v) atomic_compare_exchange_strong_explicit(p, expected_p, v, memory_order_acq_rel, memory_order_acquire)
#define cas_seq(p, expected_p, v) atomic_compare_exchange_strong_explicit(p, expected_p, v, memory_order_seq_cst, memory_order_seq_cst)

/* Tells the core that this is a spin. */
static inline void spin_pause(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* For a counter that one thread writes and others read: a plain add, without a locked instruction. */
#define count_up(p, v) store_relaxed(p, load_relaxed(p) + (v))

#endif
