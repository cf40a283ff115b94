#include "scheduler/os/os.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/futex.h>
#include <netdb.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "scheduler/base/alloc.h"
#include "scheduler/base/check.h"
#include "scheduler/base/rng.h"
#include "scheduler/os/os_crash.h"

static uint64_t clock_ns(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * OS_NS_PER_S + (uint64_t)t.tv_nsec;
}

static struct {
    const uint64_t *clock_ns; /* NULL: nothing is simulated */
    rng random;
} simulated;

void os_simulate(const uint64_t *clock, uint64_t seed)
{
    simulated.clock_ns = clock;
    rng_init(&simulated.random, seed);
}

uint64_t os_monotonic_ns(void) { return unlikely(simulated.clock_ns != NULL) ? *simulated.clock_ns : clock_ns(CLOCK_MONOTONIC); }
uint64_t os_realtime_ns(void) { return unlikely(simulated.clock_ns != NULL) ? *simulated.clock_ns : clock_ns(CLOCK_REALTIME); }

#if defined(__x86_64__)
enum { CALIBRATE_TRIES = 8, CALIBRATE_NS = 1 * OS_NS_PER_MS };

typedef struct tick_sample {
    uint64_t ticks, ns;
} tick_sample;

/* Both clocks at one moment: of some tries the one that an interrupt or another thread stretched least. */
static tick_sample sample_clocks(void)
{
    tick_sample best = {0, 0};
    uint64_t best_width = UINT64_MAX;
    for (int i = 0; i < CALIBRATE_TRIES; i++) {
        uint64_t before = os_ticks(), ns = clock_ns(CLOCK_MONOTONIC), width = os_ticks() - before;
        if (width >= best_width) continue;
        best_width = width;
        best = (tick_sample){before + width / 2, ns};
    }
    return best;
}

static uint64_t measure_ticks_per_us(void)
{
    tick_sample from = sample_clocks(), to;
    while (clock_ns(CLOCK_MONOTONIC) - from.ns < CALIBRATE_NS) spin_pause();
    to = sample_clocks();
    uint64_t ns = to.ns - from.ns;
    return ((to.ticks - from.ticks) * OS_NS_PER_US + ns / 2) / ns;
}
#elif defined(__aarch64__)
static uint64_t measure_ticks_per_us(void)
{
    uint64_t hertz;
    __asm__("mrs %0, cntfrq_el0" : "=r"(hertz));
    return hertz / 1000000;
}
#else
static uint64_t measure_ticks_per_us(void) { return OS_NS_PER_US; }
#endif

uint64_t os_ticks_per_us(void)
{
    static _Atomic uint64_t known; /* two threads may measure at once; either result will do */
    uint64_t rate = load_relaxed(&known);
    if (rate) return rate;
    rate = measure_ticks_per_us();
    if (!rate) rate = 1;
    store_relaxed(&known, rate);
    return rate;
}

bool os_futex_wait(_Atomic uint32_t *word, uint32_t expected, uint64_t timeout_ns)
{
    struct timespec t, *limit = NULL;
    if (timeout_ns != OS_FOREVER) {
        t = (struct timespec){.tv_sec = (time_t)(timeout_ns / OS_NS_PER_S), .tv_nsec = (long)(timeout_ns % OS_NS_PER_S)};
        limit = &t;
    }
    return syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, expected, limit, NULL, 0) == 0 || errno != ETIMEDOUT;
}

void os_futex_wake(_Atomic uint32_t *word, int count) { syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, count, NULL, NULL, 0); }

static void *map_pages(size_t size_bytes, int flags)
{
    int map_flags = MAP_PRIVATE | MAP_ANONYMOUS | (flags & OS_MAP_NORESERVE ? MAP_NORESERVE : 0);
    void *memory = mmap(NULL, size_bytes, PROT_READ | PROT_WRITE, map_flags, -1, 0);
    return memory == MAP_FAILED ? NULL : memory;
}

/* The kernel aligns to small pages only: map too much and give back what sticks out on both sides. */
static void *map_huge_aligned(size_t size_bytes, int flags)
{
    size_t size = (size_bytes + OS_PAGE - 1) & ~(size_t)(OS_PAGE - 1), total;
    if (size < size_bytes || __builtin_add_overflow(size, (size_t)(OS_HUGE_PAGE - OS_PAGE), &total)) return NULL;
    char *base = map_pages(total, flags);
    if (!base) return NULL;
    size_t before = -(uintptr_t)base & (OS_HUGE_PAGE - 1), behind = total - size - before;
    if (before) munmap(base, before);
    if (behind) munmap(base + before + size, behind);
    if (!simulated.clock_ns)                         /* of many simulated systems each uses little */
        madvise(base + before, size, MADV_HUGEPAGE); /* advice only: without it the memory works, with more page faults */
    return base + before;
}

void *os_map(size_t size_bytes, int flags)
{
    if (size_bytes == 0 || base_alloc_should_fail()) return NULL;
    return flags & OS_MAP_HUGE ? map_huge_aligned(size_bytes, flags) : map_pages(size_bytes, flags);
}

void os_unmap(void *memory, size_t size_bytes)
{
    if (memory) munmap(memory, size_bytes);
}

bool os_protect_none(void *memory, size_t size_bytes) { return mprotect(memory, size_bytes, PROT_NONE) == 0; }

void os_discard(void *memory, size_t size_bytes) { madvise(memory, size_bytes, MADV_DONTNEED); }

typedef struct thread_start {
    void *(*run)(void *);
    void *argument;
    char name[16];
} thread_start;

static void *thread_main(void *argument)
{
    thread_start start = *(thread_start *)argument;
    base_free(argument);
    pthread_setname_np(pthread_self(), start.name);
    (void)os_crash_thread_begin(); /* without one the handler runs on the stack at hand */
    void *result = start.run(start.argument);
    os_crash_thread_end();
    return result;
}

/* Every signal goes to the threads of the program, except those that a fault of the thread itself raises: blocked, these would
 * kill the process without its handler. */
static void block_signals(sigset_t *out_before)
{
    static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS};
    sigset_t blocked;
    sigfillset(&blocked);
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) sigdelset(&blocked, faults[i]);
    pthread_sigmask(SIG_SETMASK, &blocked, out_before);
}

int os_thread_start(pthread_t *out_thread, const char *name, void *(*run)(void *), void *argument)
{
    thread_start *start = base_calloc(1, sizeof *start);
    if (!start) return ENOMEM;
    *start = (thread_start){.run = run, .argument = argument};
    snprintf(start->name, sizeof start->name, "%s", name);
    sigset_t before; /* the new thread inherits the mask, so no signal finds it unblocked */
    block_signals(&before);
    int error = pthread_create(out_thread, NULL, thread_main, start);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error) base_free(start);
    return error;
}

void os_set_timer_slack_ns(unsigned long ns) { prctl(PR_SET_TIMERSLACK, ns, 0, 0, 0); }

uint64_t os_random_u64(void)
{
    uint64_t value = 0;
    ssize_t got;
    if (simulated.clock_ns) return rng_next(&simulated.random);
    do got = getrandom(&value, sizeof value, 0);
    while (got < 0 && errno == EINTR);
    check(got == (ssize_t)sizeof value);
    return value;
}

uint32_t os_process_id(void) { return simulated.clock_ns ? 1 : (uint32_t)getpid(); }

bool os_own_address(const char *host_and_port, char *out, size_t room)
{
    char host[256];
    struct addrinfo hints = {.ai_family = AF_INET, .ai_socktype = SOCK_DGRAM}, *found = NULL;
    struct sockaddr_in own;
    socklen_t size = sizeof own;
    snprintf(host, sizeof host, "%s", host_and_port);
    char *colon = strrchr(host, ':');
    if (!colon) return false;
    *colon = 0;
    if (getaddrinfo(host, colon + 1, &hints, &found)) return false;
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0); /* connecting it sends nothing */
    bool ok = fd >= 0 && connect(fd, found->ai_addr, found->ai_addrlen) == 0 && getsockname(fd, (struct sockaddr *)&own, &size) == 0 &&
              inet_ntop(AF_INET, &own.sin_addr, out, (socklen_t)room);
    freeaddrinfo(found);
    if (fd >= 0) close(fd);
    return ok;
}
