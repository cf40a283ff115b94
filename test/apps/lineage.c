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
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <manta/manta.h>

enum { WORDS = 40000, FEW_WORDS = 100, SMALL_FROM = 1000, PIDS = 64 }; /* from SMALL_FROM on, every other object is below 64 KiB */

#define CHECK(condition) \
    do { \
        if (!(condition)) { \
            printf("line %d: %s; last error: %s\n", __LINE__, #condition, manta_last_error()->message); \
            exit(1); \
        } \
    } while (0)

static char folder[400];

static void log_path(char out[512], manta_str dir) { snprintf(out, 512, "%.*s/log", (int)dir.size, dir.data); }

static uint64_t now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

typedef struct noted {
    uint64_t name, us;
    int pid;
} noted;

static bool read_run(FILE *f, noted *out) { return f && fscanf(f, "%" SCNu64 " %d %" SCNu64, &out->name, &out->pid, &out->us) == 3; }

static void note_run(manta_str dir, uint64_t name)
{
    char path[512], line[96];
    log_path(path, dir);
    int n = snprintf(line, sizeof line, "%" PRIu64 " %d %" PRIu64 "\n", name, (int)getpid(), now_us()),
        fd = open(path, O_WRONLY | O_APPEND | O_CREAT, 0600);
    if (fd < 0 || write(fd, line, (size_t)n) != n) abort();
    close(fd);
}

static FILE *open_log(void)
{
    char path[512];
    log_path(path, manta_str_of(folder));
    return fopen(path, "r");
}

static uint32_t runs_of(uint64_t name)
{
    uint32_t n = 0;
    FILE *f = open_log();
    for (noted r; read_run(f, &r);) n += r.name == name;
    if (f) fclose(f);
    return n;
}

/* Every process that has run a task so far. */
static uint32_t kill_all(void)
{
    static int killed[PIDS];
    static uint32_t n;
    uint32_t now = 0;
    FILE *f = open_log();
    for (noted r; read_run(f, &r);) {
        uint32_t i = 0;
        while (i < n && killed[i] != r.pid) i++;
        if (i < n || n == PIDS || r.pid == (int)getpid()) continue;
        killed[n++] = r.pid;
        now += kill(r.pid, SIGKILL) == 0;
    }
    if (f) fclose(f);
    return now;
}

/* ---- tasks ---- */

static uint64_t words_of(uint64_t name) { return name > SMALL_FROM && name % 2 ? FEW_WORDS : WORDS; }

static manta_ref make(uint64_t first, uint64_t second, uint64_t name)
{
    manta_ref ref = {{0, 0}};
    uint64_t *data, words = words_of(name);
    if (manta_create(words * sizeof *data, &ref, (void **)&data)) return manta_fail(MANTA_EFAILED, "no object"), ref;
    for (uint64_t i = 0; i < words; i++) data[i] = first + 3 * second + name + i;
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
/* Answers when there is the file "go": so what asks for its answer as an object does it before. */
MANTA_TASK(number, uint64_t, (manta_str, dir), (uint64_t, name))
{
    char path[512];
    snprintf(path, sizeof path, "%.*s/go", (int)dir.size, dir.data);
    note_run(dir, name);
    while (access(path, F_OK) != 0) (void)manta_sleep(5);
    return name * 7;
}

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
    if (manta_object_get(ref, 60000, &o) || (o.size != WORDS * sizeof value && o.size != FEW_WORDS * sizeof value)) return false;
    const uint64_t *at = o.data;
    for (uint64_t i = 0; i < o.size / sizeof value; i++)
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
MANTA_METHOD(Keeper, pid, uint32_t) { return (void)self, (uint32_t)getpid(); }
MANTA_CLASS(Keeper, keep, fetch, kept, end, answer, pid)

static void create_file(const char *name)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    close(open(path, O_WRONLY | O_CREAT, 0600));
}

static void wait_until_ready(manta_ref ref)
{
    manta_object o;
    CHECK(manta_object_get(ref, 60000, &o) == MANTA_OK);
}

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

/* Makes objects in several ways, gives the refs to a detached actor, those of the chain to a second one too, and waits to be killed. 0..9: a chain; 10: a put that the actor has fetched; 11: one that it has not; 12: an answer. */
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
    create_file("go");
    wait_until_ready(answer);
    wait_until_stored();
    Keeper_ref second = Keeper_spawn_with(MANTA_OPTIONS(.name = "second", .lifetime = MANTA_LIFETIME_DETACHED, .labels = "zone=second"));
    for (uint32_t i = 0; i < DEPTH; i++) {
        CHECK(manta_join(Keeper_keep(k, i, refs[i])) == MANTA_OK);
        CHECK(manta_join(Keeper_keep(second, i, refs[i])) == MANTA_OK);
    }
    CHECK(manta_join(Keeper_keep(k, 12, answer)) == MANTA_OK);
    printf("ready\n");
    fflush(stdout);
    for (;;) (void)manta_sleep(1000);
}

static Keeper_ref keeper(const char *name)
{
    Keeper_ref k;
    CHECK(manta_lookup_in_cluster(manta_namespace(), name, &k.actor) == MANTA_OK);
    return k;
}

/* Both actors want the last of the chain at the same time, and both may know how all are made. */
static void fetch_twice(Keeper_ref a, Keeper_ref b)
{
    uint64_t value;
    manta_uint64_t_future f[2] = {Keeper_fetch(a, DEPTH - 1), Keeper_fetch(b, DEPTH - 1)};
    for (int i = 0; i < 2; i++) CHECK(manta_get(f[i], &value) == MANTA_OK && value == DEPTH * (DEPTH + 1) / 2);
    for (uint64_t i = 1; i <= DEPTH; i++) CHECK(runs_of(i) == 2);
}

/* Another job: the actor gets all of them, and so does this process; each lost task has run once more. */
static void collect(void)
{
    uint64_t first_word, value;
    manta_ref ref;
    Keeper_ref k = keeper("keeper"), second = keeper("second");
    fetch_twice(k, second);
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
    (void)manta_join(Keeper_end(second));
    printf("all there\n");
}

/* Another job, which has the refs from the actor, when the actor dies that stood for their owner, and has made the first one already: this process stands for it then. */
static void inherit(void)
{
    uint64_t value, since;
    manta_ref refs[DEPTH];
    Keeper_ref k = keeper("keeper");
    (void)manta_join(Keeper_end(keeper("second")));
    CHECK(manta_get(Keeper_fetch(k, 0), &value) == MANTA_OK && value == 1 && runs_of(1) == 2);
    for (uint32_t i = 0; i < DEPTH; i++) CHECK(manta_get(Keeper_kept(k, i), &refs[i]) == MANTA_OK);
    CHECK(kill((pid_t)manta_await(Keeper_pid(k)), SIGKILL) == 0);
    since = now_us();
    for (uint32_t i = DEPTH; i-- > 0;) CHECK(has(refs[i], (i + 1) * (i + 2) / 2));
    printf("all there after %" PRIu64 " ms\n", (now_us() - since) / 1000);
    CHECK(runs_of(1) == 3);
    for (uint64_t i = 2; i <= DEPTH; i++) CHECK(runs_of(i) == 2);
}

/* ---- a whole node is lost ---- */

/* LONG: 1001..1007, a chain; TOP: a diamond; HAD: fetched before the loss, and one that was made of it; WIDE: two that need both cpus of a node. */
enum { LONG = 1001, LINKS = 7, TOP = 1010, HAD = 1020, WIDE = 1030, ENDED = 100, NEVER = 1040, ONCE = 1041, FRAIL = 1042, MADE = 9 };

#define AT_GRID .labels = "zone=grid"

/* Notes its end too, so one sees how many ran at a time. */
MANTA_TASK(wide, manta_ref, (manta_str, dir), (uint64_t, name))
{
    note_run(dir, name);
    for (uint64_t end = now_us() + 60000; now_us() < end;) {} /* not a wait: who waits lends its cpus */
    note_run(dir, name + ENDED);
    return make(0, 0, name);
}

/* Its process dies each time but the first. */
MANTA_TASK(frail, manta_ref, (manta_str, dir), (uint64_t, name))
{
    struct stat s;
    char path[520];
    snprintf(path, sizeof path, "%.*s/frail", (int)dir.size, dir.data);
    note_run(dir, name);
    if (stat(path, &s) == 0) (void)raise(SIGKILL);
    close(open(path, O_WRONLY | O_CREAT, 0600));
    return make(0, 0, name);
}

static manta_ref grid_root(uint64_t name) { return manta_await(root_submit_with(MANTA_OPTIONS(AT_GRID), dir(), name)); }
static manta_ref grid_grow(manta_ref of, uint64_t name)
{
    return manta_await(grow_submit_with(MANTA_OPTIONS(AT_GRID), dir(), name, manta_object_of(of)));
}

static void wait_for_file(const char *name)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    for (int i = 0; i < 3000 && access(path, F_OK) != 0; i++) (void)manta_sleep(20);
    CHECK(access(path, F_OK) == 0);
}

/* The cluster has seen that it is gone. */
static void wait_for_nodes(size_t n)
{
    size_t count = 0;
    for (int i = 0; i < 2000 && count != n; i++) {
        (void)manta_sleep(5);
        CHECK(manta_list_nodes(NULL, 0, &count) == MANTA_OK);
    }
    CHECK(count == n);
}

static void say(const char *text)
{
    printf("%s\n", text);
    fflush(stdout);
}

static bool wide_overlap(void)
{
    int now = 0, most = 0;
    FILE *f = open_log();
    for (noted r; read_run(f, &r);) {
        now += (r.name == WIDE || r.name == WIDE + 1) - (r.name == WIDE + ENDED || r.name == WIDE + 1 + ENDED);
        if (now > most) most = now;
    }
    if (f) fclose(f);
    return most != 1;
}

static void show_first_run(const char *what, uint64_t since_us)
{
    uint64_t first_us = UINT64_MAX;
    FILE *f = open_log();
    for (noted r; read_run(f, &r);)
        if (r.us > since_us && r.us < first_us) first_us = r.us;
    if (f) fclose(f);
    CHECK(first_us != UINT64_MAX);
    printf("%s: the first task began again %" PRIu64 " us after its object was asked for\n", what, first_us - since_us);
}

typedef struct graph {
    manta_ref chain, end, had, of_had, wide[2], never, frail, made;
    Keeper_ref keepers[2];
} graph;

static graph build(void)
{
    graph g = {.chain = grid_root(LONG), .had = grid_root(HAD)};
    for (uint64_t i = 1; i < LINKS; i++) g.chain = grid_grow(g.chain, LONG + i);
    manta_ref top = grid_root(TOP), left = grid_grow(top, TOP + 1), right = grid_grow(top, TOP + 2);
    g.end = manta_await(join_submit_with(MANTA_OPTIONS(AT_GRID), dir(), TOP + 3, manta_object_of(left), manta_object_of(right)));
    g.of_had = grid_grow(g.had, HAD + 1);
    CHECK(has(g.had, HAD));
    for (uint64_t i = 0; i < 2; i++) g.wide[i] = manta_await(wide_submit_with(MANTA_OPTIONS(AT_GRID, .cpus = 2), dir(), WIDE + i));
    g.never = manta_await(root_submit_with(MANTA_OPTIONS(AT_GRID, .max_retries = MANTA_RETRIES_NONE), dir(), NEVER));
    g.frail = manta_await(frail_submit_with(MANTA_OPTIONS(AT_GRID, .max_retries = 1), dir(), FRAIL));
    Maker_ref maker = Maker_spawn_with(MANTA_OPTIONS(AT_GRID, .cpus = 1));
    g.made = manta_await(Maker_make(maker, dir()));
    g.keepers[0] = Keeper_spawn_with(MANTA_OPTIONS(.labels = "zone=keep"));
    g.keepers[1] = Keeper_spawn_with(MANTA_OPTIONS(.labels = "zone=other"));
    for (int i = 0; i < 2; i++) CHECK(manta_join(Keeper_keep(g.keepers[i], 0, g.chain)) == MANTA_OK);
    return g;
}

/* Only another has a ref of it: it may run again once. */
static void keep_once(const graph *g)
{
    (void)manta_scope_begin();
    manta_ref once = manta_await(root_submit_with(MANTA_OPTIONS(AT_GRID, .max_retries = 1), dir(), ONCE));
    CHECK(manta_join(Keeper_keep(g->keepers[0], 1, once)) == MANTA_OK);
    (void)manta_scope_end();
}

static void check_ran(uint64_t from, uint64_t n, uint32_t times)
{
    for (uint64_t i = from; i < from + n; i++) {
        if (runs_of(i) != times) printf("%" PRIu64 " ran %u times\n", i, runs_of(i));
        CHECK(runs_of(i) == times);
    }
}

/* All that holds cpus there waits for objects whose tasks need all of them. */
static void get_wide(const graph *g)
{
    manta_uint64_t_future f[4];
    for (int i = 0; i < 4; i++) f[i] = first_submit_with(MANTA_OPTIONS(AT_GRID), manta_object_of(g->wide[i % 2]));
    for (uint64_t i = 0; i < 4; i++) CHECK(manta_await(f[i]) == WIDE + i % 2);
    CHECK(has(g->wide[0], WIDE) && has(g->wide[1], WIDE + 1));
    check_ran(WIDE, 2, 2);
    CHECK(!wide_overlap());
}

static void get_all(const graph *g)
{
    uint64_t sum = 0, since = now_us();
    manta_uint64_t_future f[2];
    for (uint64_t i = 0; i < LINKS; i++) sum += LONG + i;
    for (int i = 0; i < 2; i++) f[i] = Keeper_fetch(g->keepers[i], 0);
    CHECK(has(g->chain, sum));
    for (int i = 0; i < 2; i++) CHECK(manta_await(f[i]) == sum);
    show_first_run("a chain of 7, workers have to be started", since);
    since = now_us();
    CHECK(has(g->end, TOP + TOP + 1 + 3 * (TOP + TOP + 2) + TOP + 3));
    show_first_run("a diamond", since);
    CHECK(has(g->of_had, HAD + HAD + 1) && has(g->had, HAD));
    check_ran(LONG, LINKS, 2);
    check_ran(TOP, 4, 2);
    check_ran(HAD, 1, 1);
    check_ran(HAD + 1, 1, 2);
}

/* Lost with the node, made again, and lost again with the only process that had it. */
static void lose_twice(const graph *g)
{
    uint64_t value;
    manta_ref ref;
    manta_object_stats before, s;
    CHECK(manta_read_object_stats(&before) == MANTA_OK);
    CHECK(manta_await(Keeper_fetch(g->keepers[0], 1)) == ONCE && runs_of(ONCE) == 2);
    for (int i = 0; i < 400 && manta_read_object_stats(&s) == MANTA_OK && s.replicas > before.replicas; i++) (void)manta_sleep(25);
    (void)manta_scope_begin();
    CHECK(manta_get(Keeper_kept(g->keepers[0], 1), &ref) == MANTA_OK && manta_join(Keeper_keep(g->keepers[1], 1, ref)) == MANTA_OK);
    (void)manta_scope_end();
    CHECK(kill((pid_t)manta_await(Keeper_pid(g->keepers[0])), SIGKILL) == 0);
    (void)kill_all();
    CHECK(manta_get(Keeper_fetch(g->keepers[1], 1), &value) == MANTA_EOBJECTLOST);
    printf("%s\n", manta_last_error()->message);
    CHECK(manta_lost_reason_of(manta_last_error()) == MANTA_LOST_RETRIES_USED && runs_of(ONCE) == 2);
}

static void get_lost(const graph *g)
{
    CHECK(why_lost(g->never) == MANTA_LOST_NOT_RETRIABLE && runs_of(NEVER) == 1);
    CHECK(why_lost(g->made) == MANTA_LOST_NO_RECORD && runs_of(MADE) == 1);
    CHECK(why_lost(g->frail) == MANTA_LOST_TASK_FAILED && runs_of(FRAIL) == 3);
    lose_twice(g);
}

/* The script ends the node with all copies when it reads "built", and compares tables when it reads "released". */
static void lost_node(void)
{
    manta_object_stats s = {.records = 1};
    (void)manta_scope_begin();
    graph g = build();
    keep_once(&g);
    say("built");
    wait_for_file("killed");
    wait_for_nodes(4);
    get_all(&g);
    get_wide(&g);
    get_lost(&g);
    (void)manta_join(Keeper_end(g.keepers[1]));
    (void)manta_scope_end();
    for (int i = 0; i < 400 && s.records; i++) {
        (void)manta_sleep(25);
        CHECK(manta_read_object_stats(&s) == MANTA_OK);
    }
    printf("records %" PRIu64 ", held %" PRIu64 ", replicas %" PRIu64 "\n", s.records, s.held, s.replicas);
    CHECK(!s.records && !s.record_bytes);
    say("released");
    wait_for_file("checked");
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(void);
        bool rebuilds;
    } all[] = {{"chain", chain, true}, {"diamond", diamond, true}, {"waiters", waiters, true}, {"reasons", reasons, true},
        {"budget", budget, true}, {"collected", collected, false}, {"orphans", orphans, false}, {"collect", collect, false},
        {"inherit", inherit, false}, {"lost_node", lost_node, true}};
    manta_t *m = manta_init(&argc, &argv);
    if (!m || argc < 3) return fprintf(stderr, "no system: %s\n", manta_last_error()->message), 2;
    snprintf(folder, sizeof folder, "%s", argv[2]);
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        if (strcmp(all[i].name, argv[1]) != 0) continue;
        all[i].run();
        if (all[i].rebuilds) show_wait();
        return manta_shutdown(m) == MANTA_OK ? 0 : 3;
    }
    return 2;
}
