/*
 * Fibers: the pool of stacks, and what sanitizers must be told. The switch itself is in fiber_switch_*.c.
 *
 *   low                                                              high
 *   [guard page][ stack, grows down ...                 ][struct fiber]
 *
 * One mapping each, never unmapped, so that a stale pointer to a struct fiber may be read. AddressSanitizer is told before and after each switch; a fiber
 * that is abandoned gives no fake stack back. ThreadSanitizer has a fiber object of its own, made anew when frames are abandoned.
 */
#include "scheduler/os/fiber.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "scheduler/os/fiber_switch.h"
#include "scheduler/os/os.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define FIBER_ASAN 1
#endif
#if __has_feature(thread_sanitizer)
#define FIBER_TSAN 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#define FIBER_ASAN 1
#endif
#if defined(__SANITIZE_THREAD__)
#define FIBER_TSAN 1
#endif
#ifdef FIBER_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#ifdef FIBER_TSAN
#include <sanitizer/tsan_interface.h>
#endif

enum { STACK_LEAST = 16 << 10, STACK_DEFAULT = 64 << 10, STACK_SANITIZED = 256 << 10, SPARE_MAPPINGS = 2000 };

static struct {
    pthread_mutex_t lock;
    fiber *free;
    size_t total, pooled, limit, stack_bytes;
} fibers = {.lock = PTHREAD_MUTEX_INITIALIZER};

static size_t round_to_pages(size_t n) { return (n + OS_PAGE - 1) & ~(size_t)(OS_PAGE - 1); }

static size_t default_stack(void)
{
#if defined(FIBER_ASAN) || defined(FIBER_TSAN)
    return STACK_SANITIZED;
#else
    return STACK_DEFAULT;
#endif
}

void fiber_set_stack_bytes(size_t stack_bytes)
{
    size_t bytes = round_to_pages(stack_bytes < STACK_LEAST ? STACK_LEAST : stack_bytes);
    pthread_mutex_lock(&fibers.lock);
    if (!fibers.stack_bytes || bytes > fibers.stack_bytes) fibers.stack_bytes = bytes < default_stack() ? default_stack() : bytes;
    pthread_mutex_unlock(&fibers.lock);
}

void fiber_set_limit(size_t limit)
{
    pthread_mutex_lock(&fibers.lock);
    fibers.limit = limit;
    pthread_mutex_unlock(&fibers.lock);
}

void fiber_count(size_t *out_total, size_t *out_pooled)
{
    pthread_mutex_lock(&fibers.lock);
    *out_total = fibers.total;
    *out_pooled = fibers.pooled;
    pthread_mutex_unlock(&fibers.lock);
}

/* ---- sanitizers ---- */

/* The stack that a switch comes from, as AddressSanitizer knows it: needed by fibers that are threads' own stacks. */
static inline __attribute__((__always_inline__)) void sanitize_arrive(fiber *self)
{
#ifdef FIBER_ASAN
    __sanitizer_finish_switch_fiber(self->sanitizer, NULL, NULL);
    self->sanitizer = NULL;
#else
    (void)self;
#endif
}

static inline __attribute__((__always_inline__)) void sanitize_leave(fiber *from, fiber *to, bool final)
{
#ifdef FIBER_ASAN
    __sanitizer_start_switch_fiber(final ? NULL : &from->sanitizer, to->stack_low, to->stack_bytes);
#elif defined(FIBER_TSAN)
    (void)from, (void) final;
    __tsan_switch_to_fiber(to->sanitizer, 0);
#else
    (void)from, (void)to, (void) final;
#endif
}

static void sanitize_new(fiber *f)
{
#ifdef FIBER_TSAN
    f->sanitizer = __tsan_create_fiber(0);
#else
    f->sanitizer = NULL;
#endif
}

static void sanitize_reset(fiber *f)
{
#ifdef FIBER_ASAN
    __asan_unpoison_memory_region(f->stack_low, f->stack_bytes);
    f->sanitizer = NULL;
#elif defined(FIBER_TSAN)
    __tsan_destroy_fiber(f->sanitizer);
    f->sanitizer = __tsan_create_fiber(0);
#else
    (void)f;
#endif
}

/* ---- fibers ---- */

/* The first frame: the switch arrives here with the fiber in hand. */
void fiber_begin(fiber *self)
{
    sanitize_arrive(self);
    self->entry(self->argument);
    abort(); /* an entry must not return */
}

static size_t stack_top(const fiber *f) { return (size_t)((const unsigned char *)f - (const unsigned char *)f->stack_low) & ~(size_t)15; }

static void prepare(fiber *f, fiber_entry entry, void *argument)
{
    f->entry = entry;
    f->argument = argument;
    f->next = NULL;
    fiber_context_make(f, stack_top(f));
}

static fiber *map_new(size_t stack_bytes)
{
    size_t record = round_to_pages(sizeof(fiber)), bytes = OS_PAGE + stack_bytes + record;
    unsigned char *memory = os_map(bytes, OS_MAP_NORESERVE);
    if (!memory) return NULL;
    if (!os_protect_none(memory, OS_PAGE)) {
        os_unmap(memory, bytes);
        return NULL;
    }
    fiber *f = (fiber *)(void *)(memory + bytes - ((sizeof(fiber) + CACHE_LINE - 1) & ~(size_t)(CACHE_LINE - 1)));
    f->stack_low = memory + OS_PAGE;
    f->stack_bytes = (size_t)((unsigned char *)f - (memory + OS_PAGE));
    sanitize_new(f);
    return f;
}

static fiber *pool_take(size_t *out_stack_bytes)
{
    pthread_mutex_lock(&fibers.lock);
    if (!fibers.stack_bytes) fibers.stack_bytes = default_stack();
    if (!fibers.limit) fibers.limit = (size_t)(os_max_map_count() - SPARE_MAPPINGS) / 2;
    fiber *f = fibers.free;
    *out_stack_bytes = fibers.stack_bytes;
    if (f) {
        fibers.free = f->next;
        fibers.pooled--;
    } else if (fibers.total >= fibers.limit) *out_stack_bytes = 0;
    else fibers.total++;
    pthread_mutex_unlock(&fibers.lock);
    return f;
}

static void give_up_one(void)
{
    pthread_mutex_lock(&fibers.lock);
    fibers.total--;
    pthread_mutex_unlock(&fibers.lock);
}

fiber *fiber_new(fiber_entry entry, void *argument)
{
    size_t stack_bytes;
    fiber *f = pool_take(&stack_bytes);
    if (!f && stack_bytes && !(f = map_new(stack_bytes))) give_up_one();
    if (f) prepare(f, entry, argument);
    return f;
}

void fiber_reset(fiber *f, fiber_entry entry, void *argument)
{
    sanitize_reset(f);
    prepare(f, entry, argument);
}

void fiber_free(fiber *f)
{
    if (!f) return;
    sanitize_reset(f);
    pthread_mutex_lock(&fibers.lock);
    f->next = fibers.free;
    fibers.free = f;
    fibers.pooled++;
    pthread_mutex_unlock(&fibers.lock);
}

static void find_thread_stack(fiber *f)
{
    pthread_attr_t attributes;
    if (pthread_getattr_np(pthread_self(), &attributes) != 0) return;
    void *low;
    size_t bytes;
    if (pthread_attr_getstack(&attributes, &low, &bytes) == 0) {
        f->stack_low = low;
        f->stack_bytes = bytes;
    }
    pthread_attr_destroy(&attributes);
}

void fiber_thread_init(fiber *f)
{
    memset(f, 0, sizeof *f);
#ifdef FIBER_ASAN
    find_thread_stack(f);
#else
    (void)find_thread_stack;
#endif
#ifdef FIBER_TSAN
    f->sanitizer = __tsan_get_current_fiber();
#endif
}

noinline void fiber_switch(fiber *from, fiber *to)
{
    sanitize_leave(from, to, false);
    fiber_context_switch(from, to);
    sanitize_arrive(from);
}

void fiber_switch_final(fiber *from, fiber *to)
{
    sanitize_leave(from, to, true);
    fiber_context_switch(from, to);
    abort();
}

void fiber_trim(void)
{
    pthread_mutex_lock(&fibers.lock);
    for (fiber *f = fibers.free; f; f = f->next) {
        uintptr_t end = (uintptr_t)f & ~(uintptr_t)(OS_PAGE - 1);
        os_discard(f->stack_low, end - (uintptr_t)f->stack_low);
    }
    pthread_mutex_unlock(&fibers.lock);
}
