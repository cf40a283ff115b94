/*
 * Drivers for test/check/cluster_lineage.sh: lost objects come back. Each names a behaviour, runs it on a cluster of a head and nodes with the label zone=work, and says what it saw. Tasks note each of their runs, with the
 * process that ran it, in the file "log" of the folder that they are given; so the driver knows whom to kill, and how often each ran.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <manta/manta.h>

enum { WORDS = 40000, PIDS = 64 };

#define CHECK(condition) \
    do { \
        if (!(condition)) { \
            printf("line %d: %s; last error: %s\n", __LINE__, #condition, manta_last_error()->message); \
            exit(1); \
        } \
    } while (0)

static char folder[400];

static void log_path(char out[512], manta_str dir) { snprintf(out, 512, "%.*s/log", (int)dir.size, dir.data); }

static void note_run(manta_str dir, uint64_t name)
{
    char path[512], line[64];
    log_path(path, dir);
    int n = snprintf(line, sizeof line, "%" PRIu64 " %d\n", name, (int)getpid()), fd = open(path, O_WRONLY | O_APPEND | O_CREAT, 0600);
    if (fd < 0 || write(fd, line, (size_t)n) != n) abort();
    close(fd);
}

static uint32_t runs_of(uint64_t name)
{
    char path[512];
    uint64_t who;
    int pid;
    uint32_t n = 0;
    log_path(path, manta_str_of(folder));
    FILE *f = fopen(path, "r");
    while (f && fscanf(f, "%" SCNu64 " %d", &who, &pid) == 2) n += who == name;
    if (f) fclose(f);
    return n;
}

/* Every process that has run a task so far. */
static uint32_t kill_all(void)
{
    static int killed[PIDS];
    static uint32_t n;
    char path[512];
    uint64_t who;
    uint32_t now = 0;
    int pid;
    log_path(path, manta_str_of(folder));
    FILE *f = fopen(path, "r");
    while (f && fscanf(f, "%" SCNu64 " %d", &who, &pid) == 2) {
        uint32_t i = 0;
        while (i < n && killed[i] != pid) i++;
        if (i < n || n == PIDS || pid == (int)getpid()) continue;
        killed[n++] = pid;
        now += kill(pid, SIGKILL) == 0;
    }
    if (f) fclose(f);
    return now;
}

/* ---- tasks ---- */

static manta_ref make(uint64_t first, uint64_t second, uint64_t name)
{
    manta_ref ref = {{0, 0}};
    uint64_t *data;
    if (manta_create(WORDS * sizeof *data, &ref, (void **)&data)) return manta_fail(MANTA_EFAILED, "no object"), ref;
    for (uint64_t i = 0; i < WORDS; i++) data[i] = first + 3 * second + name + i;
    if (manta_seal(ref)) manta_fail(MANTA_EFAILED, "no object");
    return ref;
}

MANTA_TASK(root, manta_ref, (manta_str, dir), (uint64_t, name)) { return note_run(dir, name), make(0, 0, name); }
MANTA_TASK(grow, manta_ref, (manta_str, dir), (uint64_t, name), (manta_object, of))
{
    return note_run(dir, name), make(((const uint64_t *)of.data)[0], 0, name);
}
MANTA_TASK(join, manta_ref, (manta_str, dir), (uint64_t, name), (manta_object, a), (manta_object, b))
{
    return note_run(dir, name), make(((const uint64_t *)a.data)[0], ((const uint64_t *)b.data)[0], name);
}
MANTA_TASK(first, uint64_t, (manta_object, of)) { return ((const uint64_t *)of.data)[0]; }
MANTA_TASK(number, uint64_t, (manta_str, dir), (uint64_t, name)) { return note_run(dir, name), name * 7; }

#define AT_WORK .labels = "zone=work"
static manta_str dir(void) { return manta_str_of(folder); }
static manta_ref root_at(uint64_t name) { return manta_await(root_submit_with(MANTA_OPTIONS(AT_WORK), dir(), name)); }
static manta_ref grow_of(manta_ref of, uint64_t name)
{
    return manta_await(grow_submit_with(MANTA_OPTIONS(AT_WORK), dir(), name, manta_object_of(of)));
}

static bool has(manta_ref ref, uint64_t value)
{
    manta_object o;
    if (manta_object_get(ref, 60000, &o) || o.size != WORDS * sizeof value) return false;
    const uint64_t *at = o.data;
    for (uint64_t i = 0; i < WORDS; i++)
        if (at[i] != value + i) return false;
    return true;
}

static void show_wait(void)
{
    manta_object_stats s;
    CHECK(manta_read_object_stats(&s) == MANTA_OK);
    printf("%" PRIu64 " tasks ran again, the longest wait was %" PRIu64 " us\n", s.rebuilt, s.rebuild_wait_ns / 1000);
    CHECK(s.rebuild_wait_ns < 100000000);
}

/* ---- the owner lives ---- */

enum { DEPTH = 10 };

static void chain(void)
{
    manta_ref ref = root_at(1);
    for (uint64_t i = 2; i <= DEPTH; i++) ref = grow_of(ref, i);
    CHECK(kill_all() > 0);
    CHECK(has(ref, DEPTH * (DEPTH + 1) / 2));
    for (uint64_t i = 1; i <= DEPTH; i++) CHECK(runs_of(i) == 2);
}

static void diamond(void)
{
    manta_ref top = root_at(1), left = grow_of(top, 10), right = grow_of(top, 20);
    manta_ref end = manta_await(join_submit_with(MANTA_OPTIONS(AT_WORK), dir(), 100, manta_object_of(left), manta_object_of(right)));
    CHECK(kill_all() > 0);
    CHECK(has(end, 11 + 3 * 21 + 100));
    CHECK(runs_of(1) == 2 && runs_of(10) == 2 && runs_of(20) == 2 && runs_of(100) == 2);
}

/* However many wait, here and elsewhere, the task runs once more. */
static void waiters(void)
{
    enum { N = 8 };
    manta_uint64_t_future f[N];
    manta_ref ref = root_at(5);
    CHECK(kill_all() > 0);
    for (int i = 0; i < N; i++) f[i] = first_submit_with(MANTA_OPTIONS(.cpus = 0.5), manta_object_of(ref));
    CHECK(has(ref, 5));
    for (int i = 0; i < N; i++) CHECK(manta_await(f[i]) == 5);
    if (runs_of(5) != 2) printf("%u runs\n", runs_of(5));
    CHECK(runs_of(5) == 2);
}

static manta_lost_reason why_lost(manta_ref ref)
{
    manta_object o;
    manta_status status = manta_object_get(ref, 60000, &o);
    const manta_error *e = manta_last_error();
    printf("%s\n", e->message);
    return status == MANTA_EOBJECTLOST && strstr(e->message, "object ") ? manta_lost_reason_of(e) : MANTA_LOST_NONE;
}

MANTA_ACTOR(Maker, int unused;)
MANTA_METHOD(Maker, make, manta_ref, (manta_str, at)) { return (void)self, note_run(at, 9), make(0, 0, 9); }
MANTA_CLASS(Maker, make)

static void reasons(void)
{
    manta_ref never = manta_await(root_submit_with(MANTA_OPTIONS(AT_WORK, .max_retries = MANTA_RETRIES_NONE), dir(), 1)),
              once = manta_await(root_submit_with(MANTA_OPTIONS(AT_WORK, .max_retries = 1), dir(), 2));
    Maker_ref maker = Maker_spawn_with(MANTA_OPTIONS(AT_WORK, .cpus = 1));
    manta_ref made = manta_await(Maker_make(maker, dir()));
    CHECK(kill_all() > 0);
    CHECK(why_lost(never) == MANTA_LOST_NOT_RETRIABLE && runs_of(1) == 1);
    CHECK(why_lost(made) == MANTA_LOST_NO_RECORD && runs_of(9) == 1);
    CHECK(has(once, 2) && runs_of(2) == 2);
}

/* The records have room for a few tasks: the oldest go. */
static void budget(void)
{
    enum { N = 40 };
    manta_ref refs[N];
    for (uint64_t i = 0; i < N; i++) refs[i] = root_at(i);
    CHECK(kill_all() > 0);
    CHECK(why_lost(refs[0]) == MANTA_LOST_OVER_BUDGET && runs_of(0) == 1);
    CHECK(has(refs[N - 1], N - 1));
}

/* When the last ref is gone, so is the record. */
static void collected(void)
{
    manta_object_stats s;
    (void)manta_scope_begin();
    manta_ref ref = root_at(1);
    for (uint64_t i = 2; i <= 5; i++) ref = grow_of(ref, i);
    CHECK(manta_read_object_stats(&s) == MANTA_OK && s.records == 5);
    (void)manta_scope_end();
    for (int i = 0; i < 200 && s.records; i++) {
        (void)manta_sleep(50);
        CHECK(manta_read_object_stats(&s) == MANTA_OK);
    }
    CHECK(s.records == 0 && s.record_bytes == 0);
}

/* ---- the owner dies ---- */

enum { KEPT = 16 };
MANTA_ACTOR(Keeper, manta_ref refs[KEPT];)
MANTA_METHOD(Keeper, keep, void, (uint32_t, at), (manta_ref, ref))
{
    self->refs[at] = ref;
    if (manta_retain(ref)) manta_fail(MANTA_ESTALE, "the ref is gone");
}
MANTA_METHOD(Keeper, fetch, uint64_t, (uint32_t, at))
{
    manta_object o;
    manta_status status = manta_object_get(self->refs[at], 60000, &o);
    if (status) manta_fail(status, "%s", manta_last_error()->message);
    return status ? 0 : ((const uint64_t *)o.data)[0];
}
MANTA_METHOD(Keeper, kept, manta_ref, (uint32_t, at)) { return self->refs[at]; }
MANTA_METHOD(Keeper, end, void) { return (void)self, manta_exit_normally(); }
MANTA_METHOD(Keeper, answer, int64_t, (uint32_t, at))
{
    manta_object o;
    manta_reader r;
    uint64_t value = 0;
    if (manta_object_get(self->refs[at], 60000, &o)) return manta_fail(manta_last_error()->status, "%s", manta_last_error()->message), 0;
    manta_reader_init(&r, o.data, o.size);
    manta_unpack_uint64_t(&r, &value);
    return (int64_t)value;
}
MANTA_CLASS(Keeper, keep, fetch, kept, end, answer)

/* The records are in the control store, so they do not come along with refs. */
static void wait_until_stored(void)
{
    manta_object_stats s = {.records = 0};
    const char *after = getenv("MANTA_LINEAGE_AFTER_MS");
    if (after && strlen(after) > 6) return; /* never */
    for (int i = 0; i < 400 && (!s.records || s.records_stored < s.records); i++) {
        (void)manta_sleep(25);
        CHECK(manta_read_object_stats(&s) == MANTA_OK);
    }
    CHECK(s.records && s.records_stored == s.records);
}

/* Makes objects in several ways, gives the refs to a detached actor, and waits to be killed. 0..9: a chain; 10: a put that the actor has fetched; 11: one that it has not; 12: an answer. */
static void orphans(void)
{
    Keeper_ref k = Keeper_spawn_with(MANTA_OPTIONS(.name = "keeper", .lifetime = MANTA_LIFETIME_DETACHED, .labels = "zone=keep"));
    manta_ref refs[DEPTH] = {root_at(1)}, put[2], answer;
    uint64_t words[2] = {77, 78};
    for (uint32_t i = 1; i < DEPTH; i++) refs[i] = grow_of(refs[i - 1], i + 1);
    for (uint32_t i = 0; i < 2; i++) {
        CHECK(manta_put(&words[i], sizeof words[i], &put[i]) == MANTA_OK);
        CHECK(manta_join(Keeper_keep(k, 10 + i, put[i])) == MANTA_OK);
    }
    CHECK(manta_await(Keeper_fetch(k, 10)) == 77);
    manta_uint64_t_future f = number_submit_with(MANTA_OPTIONS(AT_WORK), dir(), 50);
    CHECK(manta_future_to_ref(f.future, &answer) == MANTA_OK);
    wait_until_stored();
    for (uint32_t i = 0; i < DEPTH; i++) CHECK(manta_join(Keeper_keep(k, i, refs[i])) == MANTA_OK);
    CHECK(manta_join(Keeper_keep(k, 12, answer)) == MANTA_OK);
    printf("ready\n");
    fflush(stdout);
    for (;;) (void)manta_sleep(1000);
}

static Keeper_ref keeper(void)
{
    Keeper_ref k;
    CHECK(manta_lookup_in_cluster(manta_namespace(), "keeper", &k.actor) == MANTA_OK);
    return k;
}

/* Another job: the actor gets all of them, and so does this process; each lost task has run once more. */
static void collect(void)
{
    uint64_t first_word, value;
    manta_ref ref;
    Keeper_ref k = keeper();
    for (uint32_t i = DEPTH; i-- > 0;) {
        CHECK(manta_get(Keeper_kept(k, i), &ref) == MANTA_OK);
        CHECK(has(ref, (i + 1) * (i + 2) / 2));
        CHECK(manta_get(Keeper_fetch(k, i), &first_word) == MANTA_OK && first_word == (i + 1) * (i + 2) / 2);
    }
    for (uint64_t i = 1; i <= DEPTH; i++) CHECK(runs_of(i) == 2);
    CHECK(manta_get(Keeper_fetch(k, 10), &value) == MANTA_OK && value == 77);
    CHECK(manta_get(Keeper_fetch(k, 11), &value) == MANTA_EOBJECTLOST);
    printf("%s\n", manta_last_error()->message);
    CHECK(manta_lost_reason_of(manta_last_error()) == MANTA_LOST_NO_RECORD);
    int64_t answer;
    CHECK(manta_get(Keeper_answer(k, 12), &answer) == MANTA_OK && answer == 350);
    (void)manta_join(Keeper_end(k));
    printf("all there\n");
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(void);
        bool rebuilds;
    } all[] = {{"chain", chain, true}, {"diamond", diamond, true}, {"waiters", waiters, true}, {"reasons", reasons, true},
        {"budget", budget, true}, {"collected", collected, false}, {"orphans", orphans, false}, {"collect", collect, false}};
    manta_t *m = manta_init(&argc, &argv);
    if (!m || argc < 3) return 2;
    snprintf(folder, sizeof folder, "%s", argv[2]);
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        if (strcmp(all[i].name, argv[1]) != 0) continue;
        all[i].run();
        if (all[i].rebuilds) show_wait();
        return manta_shutdown(m) == MANTA_OK ? 0 : 3;
    }
    return 2;
}
