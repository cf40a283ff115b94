/*
 * The operating system, as the rest of Manta sees it: clocks, futex, pages, threads, processors.
 *
 * Nothing outside scheduler/os calls these system services directly. Any thread may call any function.
 */
#ifndef MANTA_OS_H
#define MANTA_OS_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "scheduler/base/atomics.h"

enum { OS_NS_PER_US = 1000, OS_NS_PER_MS = 1000000, OS_NS_PER_S = 1000000000 };
enum { OS_PAGE = 4096, OS_HUGE_PAGE = 2 << 20 };
#define OS_FOREVER UINT64_MAX /* no time-out */

/* CLOCK_MONOTONIC and CLOCK_REALTIME in nanoseconds. */
uint64_t os_monotonic_ns(void);
uint64_t os_realtime_ns(void);
/* Simulation: from now on both clocks are *clock_ns, and os_random_u64 gives what the seed says. NULL: the real ones again. Not while other threads run. */
void os_simulate(const uint64_t *clock_ns, uint64_t seed);

/* A cheap per-core counter (rdtsc, cntvct_el0); constant rate; os_ticks_per_us is measured or read once at first use. */
static inline uint64_t os_ticks(void)
{
#if defined(__x86_64__)
    return __builtin_ia32_rdtsc();
#elif defined(__aarch64__)
    uint64_t t;
    __asm__ volatile("mrs %0, cntvct_el0" : "=r"(t));
    return t;
#else
    return os_monotonic_ns();
#endif
}
uint64_t os_ticks_per_us(void); /* at least 1 */

/* Sleeps while *word == expected, at most timeout_ns (OS_FOREVER: no limit). False only when the time ran out. May wake
 * spuriously: the caller loops. The word must not be shared with another process. */
bool os_futex_wait(_Atomic uint32_t *word, uint32_t expected, uint64_t timeout_ns);
void os_futex_wake(_Atomic uint32_t *word, int count);

enum { OS_MAP_HUGE = 1, OS_MAP_NORESERVE = 2 };
/* Anonymous zeroed private pages, aligned to OS_HUGE_PAGE with OS_MAP_HUGE (which also advises huge pages), else to
 * OS_PAGE; NULL: out of memory. */
void *os_map(size_t size_bytes, int flags);
void os_unmap(void *memory, size_t size_bytes);
bool os_protect_none(void *memory, size_t size_bytes); /* makes a guard page; false: the kernel refused */
void os_discard(void *memory, size_t size_bytes);      /* gives the pages back; they read as zero afterwards */

/* Processors this process may use: affinity mask, capped by the cgroup's cpu quota (rounded up); at least 1. */
int os_usable_cores(void);
/* The cgroup's part of it (versions 1 and 2), with `root` in front of the paths under /proc and /sys; INT_MAX: no quota. */
int os_cgroup_cores(const char *root);
/* Upper bound on memory mappings of one process (vm.max_map_count), or 65530 when unknown. */
long os_max_map_count(void);

/* Starts a joinable thread with the given name (cut to 15 characters) and all signals blocked but those that a fault of its own
 * raises (SIGSEGV and the like). 0 or an errno value. */
int os_thread_start(pthread_t *out_thread, const char *name, void *(*run)(void *), void *argument);
void os_set_timer_slack_ns(unsigned long ns); /* of the calling thread */
uint64_t os_random_u64(void);                 /* from the kernel, or of os_simulate */
uint32_t os_process_id(void);                 /* of this process; under os_simulate always 1 */
/* This machine's address as seen from "HOST:PORT": that of the route there. False: unknown host or no route. */
bool os_own_address(const char *host_and_port, char *out, size_t room);

#endif
