#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "scheduler/base/alloc.h"
#include "scheduler/os/os.h"
#include "test/support/test.h"

enum { ROUNDS = 5000, SLEEPERS = 3, PATIENCE_S = 20 };

/* Measures 5 ms with both clocks; a thread that is preempted between two readings gets it wrong. */
static bool tick_rate_agrees(void)
{
    uint64_t start_ns = os_monotonic_ns(), start_ticks = os_ticks();
    while (os_monotonic_ns() - start_ns < 5 * OS_NS_PER_MS) spin_pause();
    uint64_t ticks = os_ticks() - start_ticks, ns = os_monotonic_ns() - start_ns;
    double ratio = (double)ticks * OS_NS_PER_US / (double)os_ticks_per_us() / (double)ns;
    return ratio > 0.98 && ratio < 1.02;
}

/* Clocks advance, and the tick counter's rate agrees with the monotonic clock within 2 %. */
TEST(clocks)
{
    EXPECT(WAIT_FOR(tick_rate_agrees(), PATIENCE_S));
    EXPECT(os_ticks_per_us() == os_ticks_per_us());
    EXPECT(os_realtime_ns() / OS_NS_PER_S > 1700000000);
}

static _Atomic uint32_t turn;

static void *answer(void *unused)
{
    for (uint32_t i = 0; i < ROUNDS; i++) {
        while (load_acquire(&turn) != 2 * i + 1) os_futex_wait(&turn, 2 * i, OS_FOREVER);
        store_release(&turn, 2 * i + 2);
        os_futex_wake(&turn, 1);
    }
    return unused;
}

/* Two threads that take turns through a futex word both get through: no wake-up is lost. */
TEST(futex_ping_pong)
{
    pthread_t thread;
    store_relaxed(&turn, 0);
    EXPECT_EQ(os_thread_start(&thread, "answer", answer, NULL), 0);
    for (uint32_t i = 0; i < ROUNDS; i++) {
        store_release(&turn, 2 * i + 1);
        os_futex_wake(&turn, 1);
        while (load_acquire(&turn) == 2 * i + 1) os_futex_wait(&turn, 2 * i + 1, OS_FOREVER);
    }
    pthread_join(thread, NULL);
    EXPECT_EQ(load_relaxed(&turn), 2 * ROUNDS);
}

static _Atomic uint32_t gate;
static _Atomic int awake;

static void *wait_at_gate(void *out_id)
{
    store_release((_Atomic pid_t *)out_id, gettid());
    while (!load_acquire(&gate)) os_futex_wait(&gate, 0, OS_FOREVER);
    add_relaxed(&awake, 1);
    return NULL;
}

/* True when the thread has said its id and the kernel says that it sleeps. */
static bool is_asleep(_Atomic pid_t *id)
{
    char path[64], state = 0;
    if (!load_acquire(id)) return false;
    snprintf(path, sizeof path, "/proc/self/task/%d/stat", load_acquire(id));
    FILE *f = fopen(path, "r");
    if (!f) return false;
    bool ok = fscanf(f, "%*d (%*[^)]) %c", &state) == 1;
    fclose(f);
    return ok && state == 'S';
}

/* A wake of INT_MAX lets every sleeper through. */
TEST(futex_wakes_all)
{
    pthread_t threads[SLEEPERS];
    static _Atomic pid_t ids[SLEEPERS];
    for (int i = 0; i < SLEEPERS; i++) EXPECT_EQ(os_thread_start(&threads[i], "sleeper", wait_at_gate, &ids[i]), 0);
    for (int i = 0; i < SLEEPERS; i++) EXPECT(WAIT_FOR(is_asleep(&ids[i]), PATIENCE_S));
    store_release(&gate, 1);
    os_futex_wake(&gate, INT_MAX);
    EXPECT(WAIT_FOR(load_relaxed(&awake) == SLEEPERS, PATIENCE_S));
    for (int i = 0; i < SLEEPERS; i++) pthread_join(threads[i], NULL);
}

/* Without a wake a wait ends false when its time is over and not before; a word that differs ends it true at once. */
TEST(futex_timeouts)
{
    _Atomic uint32_t word = 7;
    uint64_t start_ns = os_monotonic_ns();
    while (os_futex_wait(&word, 7, 5 * OS_NS_PER_MS)) EXPECT(os_monotonic_ns() - start_ns < (uint64_t)PATIENCE_S * OS_NS_PER_S);
    EXPECT(os_monotonic_ns() - start_ns >= 5 * OS_NS_PER_MS);
    EXPECT(!os_futex_wait(&word, 7, 0));
    EXPECT(os_futex_wait(&word, 8, OS_FOREVER));
    EXPECT(os_futex_wait(&word, 8, OS_FOREVER - 1));
    EXPECT(os_futex_wait(&word, 8, 0));
}

/* Mapped pages are zero, writable in full, and aligned as asked, for sizes that are no multiple of a page too. */
TEST(map)
{
    static const size_t sizes[] = {1, OS_PAGE, OS_PAGE + 1, OS_HUGE_PAGE, OS_HUGE_PAGE + 5 * OS_PAGE + 3};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        for (int flags = 0; flags < 4; flags++) {
            char *p = os_map(sizes[i], flags);
            EXPECT(p);
            EXPECT_EQ((uintptr_t)p % (flags & OS_MAP_HUGE ? OS_HUGE_PAGE : OS_PAGE), 0);
            EXPECT(p[0] == 0 && p[sizes[i] - 1] == 0);
            memset(p, 1, sizes[i]);
            os_unmap(p, sizes[i]);
        }
    }
    os_unmap(NULL, OS_PAGE);
}

/* No memory is NULL: a size of 0, a size beyond the address space, the armed failure. */
TEST(map_fails)
{
    EXPECT(!os_map(0, 0));
    EXPECT(!os_map(SIZE_MAX - OS_PAGE, 0));
    EXPECT(!os_map(SIZE_MAX, OS_MAP_HUGE));
    EXPECT(!os_map(SIZE_MAX - OS_HUGE_PAGE, OS_MAP_HUGE));
    base_alloc_fail_at(1);
    void *p = os_map(OS_PAGE, OS_MAP_HUGE);
    base_alloc_fail_at(0);
    EXPECT(!p);
}

/* Discarded pages read as zero again, their neighbours keep what they hold. */
TEST(discard)
{
    char *p = os_map(3 * OS_PAGE, 0);
    EXPECT(p);
    memset(p, 1, 3 * OS_PAGE);
    os_discard(p + OS_PAGE, OS_PAGE);
    EXPECT(p[OS_PAGE - 1] == 1 && p[2 * OS_PAGE] == 1);
    for (int i = OS_PAGE; i < 2 * OS_PAGE; i++) EXPECT_EQ(p[i], 0);
    os_unmap(p, 3 * OS_PAGE);
}

/* True when writing to the byte kills a child with a fault, 0 when the child lives. */
static bool write_faults(volatile char *byte)
{
    pid_t child = fork();
    if (child == 0) {
        signal(SIGSEGV, SIG_DFL); /* no report of a sanitizer */
        *byte = 1;
        _exit(0);
    }
    int status = 0;
    return waitpid(child, &status, 0) == child && WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV;
}

/* A guard page faults, the page beside it does not. */
TEST(guard_page_faults)
{
    char *p = os_map(2 * OS_PAGE, 0);
    EXPECT(p);
    EXPECT(os_protect_none(p, OS_PAGE));
    EXPECT(write_faults(p));
    EXPECT(write_faults(p + OS_PAGE - 1));
    EXPECT(!write_faults(p + OS_PAGE));
    EXPECT(!os_protect_none((void *)1, OS_PAGE));
    os_unmap(p, 2 * OS_PAGE);
}

typedef struct thread_facts {
    char name[16];
    bool blocks_int, blocks_term, blocks_segv;
} thread_facts;

static void *look_at_self(void *out_facts)
{
    thread_facts *f = out_facts;
    sigset_t mask;
    pthread_getname_np(pthread_self(), f->name, sizeof f->name);
    pthread_sigmask(SIG_SETMASK, NULL, &mask);
    f->blocks_int = sigismember(&mask, SIGINT) == 1;
    f->blocks_term = sigismember(&mask, SIGTERM) == 1;
    f->blocks_segv = sigismember(&mask, SIGSEGV) == 1;
    os_set_timer_slack_ns(1000);
    return out_facts;
}

/* A thread starts with its name (cut to 15 characters), blocks signals but not faults, and the caller's mask stays. */
TEST(thread_start)
{
    pthread_t thread;
    thread_facts facts = {0};
    void *result;
    EXPECT_EQ(os_thread_start(&thread, "a-name-that-is-too-long", look_at_self, &facts), 0);
    EXPECT_EQ(pthread_join(thread, &result), 0);
    EXPECT(result == &facts);
    EXPECT_STR(facts.name, "a-name-that-is-");
    EXPECT(facts.blocks_int && facts.blocks_term && !facts.blocks_segv);
    sigset_t mask;
    pthread_sigmask(SIG_SETMASK, NULL, &mask);
    EXPECT(!sigismember(&mask, SIGTERM));
    base_alloc_fail_at(1);
    int error = os_thread_start(&thread, "x", look_at_self, &facts);
    base_alloc_fail_at(0);
    EXPECT_EQ(error, ENOMEM);
}

/* A tree of fake /proc and /sys files below a temporary directory. */
static char root[64];

static bool write_file(const char *path, const char *text)
{
    char full[512];
    snprintf(full, sizeof full, "%s%s", root, path);
    for (char *p = full + strlen(root) + 1; (p = strchr(p, '/')); *p++ = '/') {
        *p = 0;
        if (mkdir(full, 0700) != 0 && errno != EEXIST) return false;
    }
    FILE *f = fopen(full, "w");
    if (!f) return false;
    bool ok = fputs(text, f) >= 0;
    return fclose(f) == 0 && ok;
}

static bool new_root(void)
{
    strcpy(root, "/tmp/manta-cgroup-XXXXXX");
    return mkdtemp(root) != NULL;
}

static void remove_root(void)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", root);
    if (system(command) != 0) fprintf(stderr, "cannot remove %s\n", root);
}

static int cores_with(const char *file, const char *text) { return write_file(file, text) ? os_cgroup_cores(root) : -1; }

/* Version 2: cpu.max of our group or of any group above it, rounded up; "max" and absent files are no limit. */
TEST(cgroup_v2_quota)
{
    EXPECT(new_root());
    EXPECT_EQ(os_cgroup_cores(root), INT_MAX);
    EXPECT_EQ(cores_with("/proc/self/cgroup", "0::/a/b\n"), INT_MAX);
    EXPECT_EQ(cores_with("/sys/fs/cgroup/a/b/cpu.max", "max 100000\n"), INT_MAX);
    EXPECT_EQ(cores_with("/sys/fs/cgroup/a/b/cpu.max", "350000 100000\n"), 4);
    EXPECT_EQ(cores_with("/sys/fs/cgroup/a/cpu.max", "200000 100000\n"), 2);
    EXPECT_EQ(cores_with("/sys/fs/cgroup/cpu.max", "1000 100000\n"), 1);
    EXPECT_EQ(cores_with("/proc/self/cgroup", "0::/not/mounted/here\n"), 1);
    EXPECT_EQ(cores_with("/sys/fs/cgroup/cpu.max", "300000 100000\n"), 3);
    EXPECT_EQ(cores_with("/proc/self/cgroup", "0::/\n"), 3);
    EXPECT_EQ(cores_with("/sys/fs/cgroup/cpu.max", "rubbish\n"), INT_MAX);
    EXPECT_EQ(cores_with("/proc/self/cgroup", "rubbish\n"), INT_MAX);
    remove_root();
}

/* Version 1: cpu.cfs_quota_us over cpu.cfs_period_us of the hierarchy that holds the cpu controller; -1 is no limit. */
TEST(cgroup_v1_quota)
{
    EXPECT(new_root());
    EXPECT(write_file("/proc/self/cgroup", "7:memory:/m\n4:cpuset:/s\n3:cpu,cpuacct:/g/h\n1:name=systemd:/x\n"));
    EXPECT(write_file("/sys/fs/cgroup/cpu/g/h/cpu.cfs_period_us", "50000\n"));
    EXPECT_EQ(cores_with("/sys/fs/cgroup/cpu/g/h/cpu.cfs_quota_us", "-1\n"), INT_MAX);
    EXPECT_EQ(cores_with("/sys/fs/cgroup/cpu/g/h/cpu.cfs_quota_us", "120000\n"), 3);
    EXPECT(write_file("/sys/fs/cgroup/cpu,cpuacct/g/cpu.cfs_period_us", "100000\n"));
    EXPECT_EQ(cores_with("/sys/fs/cgroup/cpu,cpuacct/g/cpu.cfs_quota_us", "200000\n"), 2);
    EXPECT_EQ(cores_with("/proc/self/cgroup", "4:cpuset:/g/h\n"), INT_MAX);
    remove_root();
}

/* The number of usable cores is at least 1 and falls with the affinity mask. */
TEST(usable_cores)
{
    cpu_set_t before, one;
    int all = os_usable_cores();
    EXPECT(all >= 1);
    EXPECT_EQ(sched_getaffinity(0, sizeof before, &before), 0);
    EXPECT(all <= CPU_COUNT(&before));
    size_t cpu = 0;
    while (!CPU_ISSET(cpu, &before)) cpu++;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    EXPECT_EQ(sched_setaffinity(0, sizeof one, &one), 0);
    int pinned = os_usable_cores();
    EXPECT_EQ(sched_setaffinity(0, sizeof before, &before), 0);
    EXPECT_EQ(pinned, 1);
}

/* The kernel's limit on mappings is a sensible number, and its random words differ. */
TEST(limits_and_random)
{
    EXPECT(os_max_map_count() > 1000);
    uint64_t a = os_random_u64(), b = os_random_u64();
    EXPECT(a != b);
    EXPECT((a | b) != 0);
}
