/*
 * Every step by which a durable actor's log and checkpoints come to the disk, numbered; a program that is killed, or has an I/O error, exactly at each of them, and what the next one finds.
 *
 * A step is a call of the C library that changes a file of the directory: this program's own write, writev, pwrite, fdatasync, fsync, ftruncate, rename and unlink, which also LMDB gets, count it and then do it. The calls carry a
 * caller and numbers that the next program sends again, as a caller does that has outlived the actor.
 */
#include <dirent.h>
#include <fcntl.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include "actor/durable/keeper.h"
#include "actor/node/moving_internal.h"
#include "scheduler/base/atomics.h"
#include "test/support/actors.h"
#include "test/support/child.h"

enum { CALLS = 12, CALLER = 77, NO_FAULT = 0, KILL = -1, MOST_STEPS = 2000, PATIENCE_MS = 20000 };

/* ---- steps ---- */

static char directory[64];
static _Atomic int64_t steps, fault_at;
static int fault; /* KILL, or an errno value */

static bool is_ours(int fd)
{
    char link[64], path[256];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = directory[0] ? readlink(link, path, sizeof path - 1) : -1;
    return n > 0 && strncmp(path, directory, strlen(directory)) == 0;
}

/* False: it fails, errno is set. */
static bool step(bool ours)
{
    if (!ours || atomic_fetch_add(&steps, 1) + 1 != load_relaxed(&fault_at)) return true;
    if (fault == KILL) kill(getpid(), SIGKILL);
    errno = fault;
    return false;
}

ssize_t write(int fd, const void *data, size_t n) { return step(is_ours(fd)) ? syscall(SYS_write, fd, data, n) : -1; }
ssize_t writev(int fd, const struct iovec *v, int n) { return step(is_ours(fd)) ? syscall(SYS_writev, fd, v, n) : -1; }
ssize_t pwrite(int fd, const void *data, size_t n, off_t at) { return step(is_ours(fd)) ? syscall(SYS_pwrite64, fd, data, n, at) : -1; }
int fdatasync(int fd) { return step(is_ours(fd)) ? (int)syscall(SYS_fdatasync, fd) : -1; }
int fsync(int fd) { return step(is_ours(fd)) ? (int)syscall(SYS_fsync, fd) : -1; }
int ftruncate(int fd, off_t size) { return step(is_ours(fd)) ? (int)syscall(SYS_ftruncate, fd, size) : -1; }
static bool is_in(const char *path) { return directory[0] && strncmp(path, directory, strlen(directory)) == 0; }
int unlink(const char *path) { return step(is_in(path)) ? (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0) : -1; }
int rename(const char *from, const char *to) { return step(is_in(to)) ? (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0) : -1; }

/* ---- the actor ---- */

MANTA_ACTOR(Tally, uint64_t bits, calls;)
MANTA_METHOD(Tally, mark, uint64_t, (uint64_t, bit))
{
    self->calls++;
    return self->bits |= bit;
}
MANTA_METHOD(Tally, calls, uint64_t) { return self->calls; }
MANTA_METHOD(Tally, bits, uint64_t) { return self->bits; }
MANTA_STATE(Tally, (uint64_t, bits), (uint64_t, calls))
MANTA_DURABLE_CLASS(Tally, (.checkpoint_calls = 3), mark, calls, bits)

/* ---- the program that dies ---- */

typedef enum saying { IS_SPAWNED = 1, HAS_FOUND, HAS_KEPT, ANSWERED, FAILED, HAS_ALL, STEPS } saying;
typedef struct note {
    int64_t what;
    uint64_t number, value;
    char text[200];
} note;

static void tell(int parent, saying what, uint64_t number, uint64_t value, const char *text)
{
    note n = {.what = what, .number = number, .value = value};
    snprintf(n.text, sizeof n.text, "%s", text);
    (void)!send(parent, &n, sizeof n, MSG_NOSIGNAL);
}

/* As a process does that was told where the actor is. */
static manta_status mark(const moving *m, uint64_t number, uint64_t *out)
{
    MantaOutcome o = {0};
    manta_writer w;
    manta_reader r;
    uint64_t bit = 1ull << number;
    manta_writer_init_growing(&w);
    manta_pack_array(&w, 1);
    manta_pack_uint64_t(&w, &bit);
    MantaDurableCall what = {m->epoch, CALLER, number, 0, true, method_hash(&Tally_mark_method), {w.start, manta_writer_size(&w)}};
    manta_status status = manta_get_timeout(MantaKeeper_call(MantaKeeper_ref_of((manta_actor){m->target}), what), &o, PATIENCE_MS);
    manta_writer_fini(&w);
    if (status) return status;
    manta_reader_init(&r, o.value.data, o.value.size);
    manta_unpack_uint64_t(&r, out);
    return o.status ? (manta_status)o.status : r.status;
}

static const moving *moving_of(Tally_ref t)
{
    proxy p;
    uint64_t bits;
    bool ok = manta_get_timeout(Tally_bits(t), &bits, PATIENCE_MS) == MANTA_OK && proxy_get(t.actor.id, &p); /* it knows its place */
    return ok ? moving_get(p.process & ~(1ull << 63), false) : NULL;
}

static void tell_state(int parent, saying what, Tally_ref t)
{
    uint64_t calls, bits;
    bool ok = manta_get_timeout(Tally_calls(t), &calls, PATIENCE_MS) == MANTA_OK &&
              manta_get_timeout(Tally_bits(t), &bits, PATIENCE_MS) == MANTA_OK;
    if (ok) tell(parent, what, calls, bits, "");
}

static void work(int parent)
{
    manta_actor found;
    uint64_t value = 0;
    if (manta_lookup("tally", &found) == MANTA_OK) tell(parent, HAS_FOUND, 0, 0, "");
    Tally_ref t = Tally_spawn_with(MANTA_OPTIONS(.name = "tally", .get_if_exists = true));
    if (t.actor.id) tell(parent, IS_SPAWNED, 0, 0, "");
    else tell(parent, FAILED, 0, 0, manta_last_error()->message);
    const moving *m = t.actor.id ? moving_of(t) : NULL;
    if (t.actor.id && !m) tell(parent, FAILED, 0, 0, manta_last_error()->message);
    if (m) tell_state(parent, HAS_KEPT, t);
    for (uint64_t i = 1; m && i <= CALLS; i++) {
        if (mark(m, i, &value)) tell(parent, FAILED, i, 0, manta_last_error()->message);
        else tell(parent, ANSWERED, i, value, "");
    }
    if (m) tell_state(parent, HAS_ALL, t);
}

static void be_silent(const char *line, void *context) { (void)line, (void)context; }

/* argument: the fault, its step, the directory */
CHILD(program)
{
    int64_t at = 0;
    if (sscanf(argument, "%d %" SCNd64 " %63s", &fault, &at, directory) != 3) _exit(1);
    store_relaxed(&fault_at, fault == NO_FAULT ? 0 : at);
    manta_config c = {.size = sizeof c, .workers = 1, .durable = directory, .on_report = be_silent};
    manta_t *m = manta_init_with(&c);
    if (!m) tell(parent, FAILED, 0, 0, runtime_start_failure());
    else work(parent);
    manta_status status = manta_shutdown(m);
    tell(parent, STEPS, (uint64_t)load_relaxed(&steps), (uint64_t)status, "");
    _exit(0);
}

/* ---- the judge ---- */

typedef struct run {
    uint64_t answers[CALLS + 1];                 /* 0: none */
    uint64_t calls, bits, kept_calls, kept_bits; /* at the end; at the beginning */
    int64_t steps;                               /* -1: it was killed */
    bool spawned, found, has_all;
    uint32_t failures;
    char text[200]; /* of the first failure */
} run;

static void take(run *r, const note *n)
{
    r->spawned |= n->what == IS_SPAWNED;
    r->found |= n->what == HAS_FOUND;
    if (n->what == ANSWERED) r->answers[n->number] = n->value;
    if (n->what == FAILED && !r->failures++) snprintf(r->text, sizeof r->text, "%s", n->text);
    if (n->what == STEPS) r->steps = (int64_t)n->number;
    r->has_all |= n->what == HAS_ALL;
    if (n->what == HAS_ALL) r->calls = n->number, r->bits = n->value;
    if (n->what == HAS_KEPT) r->kept_calls = n->number, r->kept_bits = n->value;
}

static run run_program(int what, int64_t at)
{
    run r = {.steps = -1};
    char argument[128];
    note n;
    snprintf(argument, sizeof argument, "%d %" PRId64 " %s", what, at, directory);
    child_process c = child_start("program", argument);
    while (child_hear(c.fd, &n, sizeof n)) take(&r, &n);
    (void)child_end(&c, SIGKILL);
    return r;
}

static uint64_t bits_to(uint64_t number) { return (2ull << number) - 2; }

/* What was answered is there, and nothing is there twice, before anything is sent again; then all of the calls, each once, with the answers that they had. */
static bool is_whole(const run *before, const run *after)
{
    bool ok = after->has_all && !after->failures && after->calls == CALLS && after->bits == bits_to(CALLS);
    ok = ok && after->kept_calls == (uint64_t)__builtin_popcountll(after->kept_bits);
    for (uint64_t i = 1; i <= CALLS; i++) {
        ok = ok && after->answers[i] == bits_to(i);
        ok = ok && (!before->answers[i] || (before->answers[i] == after->answers[i] && after->kept_bits >> i & 1));
    }
    return ok && (!before->spawned || after->found);
}

static bool is_clean(void)
{
    bool ok = true;
    DIR *d = opendir(directory);
    for (const struct dirent *e; d && (e = readdir(d));)
        ok = ok && (e->d_name[0] == '.' || strcmp(e->d_name, "data.mdb") == 0 || strcmp(e->d_name, "lock") == 0);
    if (d) closedir(d);
    return ok && d;
}

static void new_directory(void)
{
    char command[128];
    if (directory[0]) {
        snprintf(command, sizeof command, "rm -rf %s", directory);
        directory[0] = 0;
        (void)!system(command);
    }
    snprintf(directory, sizeof directory, "/tmp/manta-steps-XXXXXX");
    if (!mkdtemp(directory)) directory[0] = 0;
}

/* Each step of a first run from nothing, or of one that finds the state of another (calls answered again, and nothing else to do). Returns how many there were; -1: it was wrong. */
static int64_t all_steps(int what, int64_t every, const char *text)
{
    for (int64_t n = 1, stride = test_scaled(10) < 10 ? 7 : every; n < MOST_STEPS; n += stride) {
        new_directory();
        run first = run_program(what, n), second = run_program(NO_FAULT, 0);
        bool over = first.steps >= 0 && first.steps < n, ok = is_whole(&first, &second) && is_clean();
        if (!over && text && first.failures) ok = ok && strstr(first.text, text);
        if (!over && what == KILL) ok = ok && first.steps < 0;
        if (!ok)
            fprintf(stderr, "step %" PRId64 ": %" PRIu64 " calls, bits %" PRIx64 ", %u failures, found %d; before: %u failures, \"%s\"\n",
                n, second.calls, second.bits, second.failures, second.found, first.failures, first.text);
        if (!ok) return -1;
        if (over) return first.steps;
    }
    return -1;
}

/* SIGKILL at each step: every call that was answered is in the state once, each that was not at most once, and sent again it has the answer that it had; no file is left over. */
TEST(killed_at_each_step)
{
    int64_t n = all_steps(KILL, 1, NULL);
    printf("     killed at each of %" PRId64 " steps\n", n);
    EXPECT(n > 50);
}

/* The same for an I/O error: the call, the spawn or the start fails with its text, and nothing that was answered is lost. */
TEST(io_error_at_each_step)
{
    int64_t n = all_steps(EIO, 1, "nput/output error");
    printf("     an I/O error at each of %" PRId64 " steps\n", n);
    EXPECT(n > 50);
}

/* The same for a full disk, at every fourth of them. */
TEST(full_disk_at_each_step)
{
    int64_t n = all_steps(ENOSPC, 4, "No space left on device");
    printf("     a full disk, %" PRId64 " steps\n", n);
    EXPECT(n > 50);
}

/* Killed while it comes back, at each step of that, and started again. */
TEST(killed_while_it_comes_back)
{
    int64_t n = 1, stride = test_scaled(10) < 10 ? 7 : 1;
    for (bool over = false; !over && n < MOST_STEPS; n += 2 * stride) {
        new_directory();
        run first = run_program(KILL, 60);
        run again = run_program(KILL, n);
        over = again.steps >= 0;
        run last = run_program(NO_FAULT, 0);
        EXPECT(first.steps < 0 && is_whole(&first, &last) && is_whole(&again, &last) && is_clean());
    }
    EXPECT(n > 10 && n < MOST_STEPS);
    new_directory();
}
