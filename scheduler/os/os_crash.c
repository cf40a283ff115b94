#include "scheduler/os/os_crash.h"

#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include "scheduler/base/atomics.h"

enum { SCRATCH = 1 << 30 /* where in the file copies are made */, MAPS_BYTES = 4096 };

static const int deaths[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT};
static int report_fd = -1;
static void (*describe_thread)(void);
static _Atomic uint32_t is_dying;
static _Thread_local void *own_stack __attribute__((tls_model("initial-exec")));

/* ---- writing ---- */

static void put(const char *text, size_t n)
{
    while (n) {
        ssize_t did = write(report_fd, text, n);
        if (did <= 0 && errno != EINTR) return;
        if (did > 0) text += did, n -= (size_t)did;
    }
}

void os_crash_put(const char *text) { put(text, strlen(text)); }

void os_crash_put_hex(uint64_t number)
{
    char digits[16];
    size_t at = sizeof digits;
    do digits[--at] = "0123456789abcdef"[number & 15];
    while (number >>= 4);
    put(digits + at, sizeof digits - at);
}

/* The kernel reads the memory, and says when there is none. */
bool os_crash_copy(void *to, const void *from, size_t size_bytes)
{
    return pwrite(report_fd, from, size_bytes, SCRATCH) == (ssize_t)size_bytes &&
           pread(report_fd, to, size_bytes, SCRATCH) == (ssize_t)size_bytes;
}

void os_crash_copy_text(char *to, size_t room, const char *from)
{
    size_t n = 0;
    while (n + 1 < room && os_crash_copy(to + n, from + n, 1) && to[n] > ' ' && to[n] < 127) n++;
    to[n] = 0;
}

static void put_frames(const void *context)
{
    void *frames[OS_CRASH_FRAMES];
    uint64_t pc = 0;
#if defined(__x86_64__)
    pc = (uint64_t)((const ucontext_t *)context)->uc_mcontext.gregs[REG_RIP];
#elif defined(__aarch64__)
    pc = ((const ucontext_t *)context)->uc_mcontext.pc;
#endif
    os_crash_put("frame ");
    os_crash_put_hex(pc);
    os_crash_put("\n");
    int n = backtrace(frames, OS_CRASH_FRAMES), first = 0;
    while (first < n && (uint64_t)(uintptr_t)frames[first] != pc) first++;
    for (int i = first == n ? 0 : first + 1; i < n; i++) { /* this handler's own are above it */
        os_crash_put("frame ");
        os_crash_put_hex((uint64_t)(uintptr_t)frames[i]);
        os_crash_put("\n");
    }
}

/* "from-to r-xp ...": code can be there. */
static bool is_code(const char *line, size_t n)
{
    const char *space = memchr(line, ' ', n);
    return space && (size_t)(space - line) + 4 < n && space[3] == 'x';
}

static void put_maps(void)
{
    char text[MAPS_BYTES];
    size_t held = 0;
    ssize_t n;
    int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
    while (fd >= 0 && (n = read(fd, text + held, sizeof text - held)) > 0) {
        held += (size_t)n;
        char *line = text, *end;
        for (; (end = memchr(line, '\n', held - (size_t)(line - text))); line = end + 1) {
            if (!is_code(line, (size_t)(end - line))) continue;
            os_crash_put("map ");
            put(line, (size_t)(end + 1 - line));
        }
        held -= (size_t)(line - text);
        memmove(text, line, held);
        if (held == sizeof text) held = 0; /* no line is so long */
    }
}

/* ---- dying ---- */

/* Should the rest hang: the kernel ends the process. */
static void limit_time(void)
{
    sigset_t alarms;
    signal(SIGALRM, SIG_DFL);
    sigemptyset(&alarms);
    sigaddset(&alarms, SIGALRM);
    pthread_sigmask(SIG_UNBLOCK, &alarms, NULL);
    alarm(OS_CRASH_SECONDS);
}

static void die(int number, siginfo_t *info, void *context)
{
    while (exchange_seq(&is_dying, 1)) pause(); /* another thread is at it, and ends this one too */
    limit_time();
    os_crash_put("signal ");
    os_crash_put_hex((uint64_t)number);
    os_crash_put(" ");
    os_crash_put_hex((uint32_t)info->si_code);
    os_crash_put(" ");
    os_crash_put_hex(number == SIGABRT ? 0 : (uint64_t)(uintptr_t)info->si_addr);
    os_crash_put("\n");
    if (describe_thread) describe_thread();
    put_maps();
    put_frames(context);
    os_crash_put("end\n");
    signal(number, SIG_DFL);
    (void)syscall(SYS_tgkill, getpid(), (pid_t)syscall(SYS_gettid), number); /* comes when this handler returns */
}

bool os_crash_thread_begin(void)
{
    if (report_fd < 0 || own_stack) return true;
    void *memory = mmap(NULL, OS_CRASH_STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    if (memory == MAP_FAILED) return false;
    stack_t stack = {.ss_sp = memory, .ss_size = OS_CRASH_STACK};
    if (sigaltstack(&stack, NULL)) munmap(memory, OS_CRASH_STACK);
    else own_stack = memory;
    return true;
}

void os_crash_thread_end(void)
{
    stack_t none = {.ss_flags = SS_DISABLE};
    if (!own_stack || sigaltstack(&none, NULL)) return;
    munmap(own_stack, OS_CRASH_STACK);
    own_stack = NULL;
}

int os_crash_start(int fd, void (*describe)(void))
{
    void *first[1];
    struct sigaction action = {.sa_sigaction = die, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    if (fcntl(fd, F_GETFD) < 0) return errno;
    (void)backtrace(first, 1); /* loads the unwinder */
    report_fd = fd;
    describe_thread = describe;
    if (!os_crash_thread_begin()) return ENOMEM;
    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < sizeof deaths / sizeof *deaths; i++) {
        sigaddset(&action.sa_mask, deaths[i]);
        if (sigaction(deaths[i], &action, NULL)) return errno;
    }
    return 0;
}
