/*
 * Reports of dying processes: written in a signal handler, read by somebody who trusts nothing in them.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "actor/node/crash.h"
#include "actor/node/report.h"
#include "scheduler/os/os.h"
#include "scheduler/os/os_crash.h"
#include "scheduler/os/os_file.h"
#include "test/support/test.h"

static const char good[] = "signal b 1 40\nmethod fall\nclass Victim\nactor 12ab:100000040\n"
                           "map 1000-3000 r-xp 00000400 08:01 77 /bin/some thing\nmap 8000-9000 r-xp 00000000 00:00 0 [vdso]\n"
                           "frame 1010\nframe 8001\nframe ffff\nend\n";

/* A whole report gives signal, handler and frames with module and offset; the text about it says so. */
TEST(whole_report)
{
    char text[CRASH_TEXT];
    crash c = {.pid = 12};
    crash_read(good, strlen(good), &c);
    EXPECT_EQ(c.signal, SIGSEGV);
    EXPECT_EQ(c.address, 0x40);
    EXPECT_STR(c.actor, "12ab:100000040");
    EXPECT_EQ(c.n_frames, 3);
    EXPECT_STR(c.frames[0].module, "/bin/some thing");
    EXPECT_EQ(c.frames[0].offset, 0x410);
    EXPECT_STR(c.frames[1].module, "[vdso]");
    EXPECT_EQ(c.frames[2].module[0], 0);
    crash_text(&c, text, sizeof text);
    EXPECT_STR(text, "worker 12 died by SIGSEGV in Victim.fall");
}

static bool is_sane(const crash *c)
{
    bool ok = c->n_frames <= CRASH_FRAMES && c->signal >= 0 && c->signal <= 64 && strnlen(c->class_name, sizeof c->class_name) < 128 &&
              strnlen(c->method, sizeof c->method) < 128 && strnlen(c->actor, sizeof c->actor) < 40;
    for (uint32_t i = 0; ok && i < c->n_frames; i++) {
        const char *m = c->frames[i].module;
        ok = strnlen(m, sizeof c->frames[i].module) < sizeof c->frames[i].module;
        for (; ok && *m; m++) ok = *m >= ' ' && *m <= '~';
    }
    return ok;
}

/* Whatever stands in a report, what is read from it is within its bounds and does no harm on a terminal. */
TEST(garbage)
{
    for (uint32_t round = 0; round < 20000; round++) {
        char text[2 * sizeof good];
        crash c = {.pid = 1};
        size_t n = strlen(good);
        memcpy(text, good, n);
        for (uint64_t k = os_random_u64() % 12; k > 0; k--) text[os_random_u64() % n] = (char)os_random_u64();
        if (os_random_u64() % 4 == 0) n = os_random_u64() % n;
        if (os_random_u64() % 8 == 0) memset(text + os_random_u64() % (n + 1) / 2, 'f', n / 2);
        crash_read(text, n, &c);
        EXPECT(is_sane(&c));
    }
    char *much = malloc(1 << 20);
    for (size_t i = 0; i < 1 << 20; i++) much[i] = "frame 1\n"[i % 8];
    crash c = {.pid = 1};
    crash_read(much, 1 << 20, &c);
    EXPECT_EQ(c.n_frames, CRASH_FRAMES);
    free(much);
}

/* ---- symbols ---- */

/* The program's path, and where this function is in it. */
static uint64_t own_offset(char path[256])
{
    char line[512];
    uint64_t at = (uint64_t)(uintptr_t)&crash_read, found = 0;
    FILE *f = fopen("/proc/self/maps", "r");
    while (f && fgets(line, sizeof line, f)) {
        unsigned long long from, to, offset;
        if (sscanf(line, "%llx-%llx %*s %llx %*s %*s %255s", &from, &to, &offset, path) == 4 && at >= from && at < to) {
            found = at - from + offset;
            break;
        }
    }
    if (f) fclose(f);
    return found;
}

/* A function of this program is found by its offset in the file, at its beginning and within. */
TEST(own_symbol)
{
    char path[256], name[64];
    uint64_t offset = own_offset(path), within = 99;
    EXPECT(symbol_find(path, offset, name, sizeof name, &within));
    EXPECT_STR(name, "crash_read");
    EXPECT_EQ(within, 0);
    EXPECT(symbol_find(path, offset + 5, name, sizeof name, &within));
    EXPECT_STR(name, "crash_read");
    EXPECT_EQ(within, 5);
    EXPECT(!symbol_find(path, UINT64_MAX, name, sizeof name, &within));
}

/* Files that are none, or no program, or broken ones in any way, give no name or some name, and nothing worse. */
TEST(hostile_files)
{
    char path[256], copy[] = "/tmp/manta-symbols-XXXXXX", name[16];
    uint64_t offset = own_offset(path), within, bytes = 0;
    int fd = -1, from = -1;
    EXPECT(!symbol_find("/dev/zero", 0, name, sizeof name, &within) && !symbol_find("/", 0, name, sizeof name, &within));
    EXPECT(!symbol_find("relative", 0, name, sizeof name, &within) && !symbol_find("/nowhere", 0, name, sizeof name, &within));
    EXPECT((fd = mkstemp(copy)) >= 0 && !os_file_open(path, OS_READ, &from) && !os_file_size(from, &bytes));
    char *all = malloc(bytes);
    EXPECT(!os_file_read(from, all, bytes, 0) && !os_file_write(fd, all, bytes, 0));
    uint64_t sections;
    memcpy(&sections, all + 40, sizeof sections);
    for (int round = 0; round < 200; round++) {
        unsigned char byte[8];
        uint64_t r = os_random_u64(), at = round % 3 == 0 ? r % 64 : round % 3 == 1 ? sections + r % (bytes - sections) : r % bytes;
        size_t n = bytes - at < sizeof byte ? bytes - at : sizeof byte;
        for (size_t i = 0; i < n; i++) byte[i] = (unsigned char)os_random_u64();
        EXPECT(!os_file_write(fd, byte, n, at));
        bool found = symbol_find(copy, offset, name, sizeof name, &within);
        EXPECT(!found || strnlen(name, sizeof name) < sizeof name);
        EXPECT(!os_file_write(fd, all + at, n, at));
    }
    for (uint64_t size = bytes; size > 64; size /= 2) {
        EXPECT(!os_file_resize(fd, size / 2));
        (void)symbol_find(copy, offset, name, sizeof name, &within);
    }
    os_file_close(fd);
    os_file_close(from);
    unlink(copy);
    free(all);
}

/* ---- the list ---- */

/* The last CRASHES_KEPT ends are kept under their numbers; those that were wanted are not. */
TEST(list_is_bounded)
{
    char text[CRASH_TEXT];
    for (uint32_t pid = 1; pid <= CRASHES_KEPT + 40; pid++) {
        crashes_candidate(&(crash){.pid = pid, .signal = SIGKILL});
        crashes_candidate(&(crash){.pid = 100000 + pid, .signal = SIGKILL});
        crashes_drop(100000 + pid);
        crashes_keep(pid, 1, "program", text, sizeof text);
    }
    EXPECT(strstr(text, "worker 296 died by SIGKILL (crash 296 on "));
    report *r = report_new(manta_str_of(""), 1000), *oldest = report_new(manta_str_of("id=40"), 1000);
    crashes_rows(r, true);
    crashes_rows(oldest, false);
    EXPECT_EQ(r->matched, CRASHES_KEPT);
    EXPECT_EQ(oldest->matched, 0);
    crashes_keep(77, 1, "program", text, sizeof text);
    EXPECT_STR(text, "worker 77 ended");
    manta_writer_fini(&r->rows);
    manta_writer_fini(&oldest->rows);
    base_free(r);
    base_free(oldest);
    crashes_clear();
}

/* ---- writing ---- */

static void describe(void)
{
    char name[64];
    int value = 0;
    os_crash_copy_text(name, sizeof name, "Victim and more");
    os_crash_put("class ");
    os_crash_put(name);
    os_crash_put(os_crash_copy(&value, (void *)8, sizeof value) ? "\nmethod wrong\n" : "\nmethod right\n");
}

static uint64_t deep(uint64_t n)
{
    volatile char room[2048];
    room[n % 2048] = (char)n;
    return n == UINT64_MAX ? 0 : deep(n + 1) + (uint64_t)room[0];
}

static void *overflow(void *argument) { return (void *)(uintptr_t)(deep(1) + (uintptr_t)argument); }

static void *fault(void *argument)
{
    *(volatile int *)argument = 1;
    return NULL;
}

static void *give_up(void *argument)
{
    if (argument) abort();
    return NULL;
}

/* How a process ends in which a thread does that, and what it wrote. */
static int end_of(void *(*run)(void *), crash *c)
{
    int status = 0, fd = memfd_create("report", MFD_CLOEXEC);
    pid_t pid = fork();
    if (pid == 0) {
        pthread_t thread;
        if (os_crash_start(fd, describe)) _exit(1);
        if (os_thread_start(&thread, "dies", run, (void *)(uintptr_t)16) || pthread_join(thread, NULL)) _exit(2);
        _exit(3);
    }
    if (waitpid(pid, &status, 0) != pid) status = 0; /* which no test wants */
    memset(c, 0, sizeof *c);
    crash_read_file(fd, c);
    crash_symbolise(c);
    os_file_close(fd);
    return status;
}

static bool has_frame(const crash *c, const char *function)
{
    for (uint32_t i = 0; i < c->n_frames; i++)
        if (strncmp(c->frames[i].function, function, strlen(function)) == 0) return true; /* also its ".cold" part */
    return false;
}

/* A thread that writes where no memory is, one whose stack is full, and an abort leave a report with signal, address, what the thread did, and frames; the process ends by that signal. */
TEST(last_words)
{
    crash c;
    int status = end_of(fault, &c);
    EXPECT(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
    EXPECT_EQ(c.signal, SIGSEGV);
    EXPECT_EQ(c.address, 16);
    EXPECT_STR(c.class_name, "Victim");
    EXPECT_STR(c.method, "right");
    EXPECT(has_frame(&c, "fault"));
    status = end_of(overflow, &c);
    EXPECT(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
    EXPECT(c.signal == SIGSEGV && has_frame(&c, "deep"));
    status = end_of(give_up, &c);
    EXPECT(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    EXPECT(c.signal == SIGABRT && has_frame(&c, "give_up"));
}
