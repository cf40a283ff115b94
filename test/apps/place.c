/*
 * Drivers for test/check/tasks.sh: each names a behaviour, runs it on the cluster that it is started on, and prints what it saw.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <manta/manta.h>

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static uint64_t node_here(void)
{
    manta_node_info n[1];
    size_t count = 0;
    return manta_list_nodes(n, 1, &count) == MANTA_OK ? n[0].node.id : 0;
}

/* ---- tasks ---- */

/* A line in a file, whole. */
static void note(manta_str path, const char *text)
{
    char name[512];
    snprintf(name, sizeof name, "%.*s", (int)path.size, path.data);
    int fd = open(name, O_WRONLY | O_APPEND | O_CREAT, 0600);
    if (fd < 0 || write(fd, text, strlen(text)) < 0) abort();
    close(fd);
}

/* Holds its thread, as work does. */
static void work(uint32_t ms)
{
    struct timespec t = {ms / 1000, (long)(ms % 1000) * 1000000};
    while (nanosleep(&t, &t) && errno == EINTR) continue;
}

MANTA_TASK(busy, uint64_t, (manta_str, path), (manta_str, name), (uint32_t, ms))
{
    char text[128];
    uint64_t node = node_here();
    snprintf(text, sizeof text, "+%.*s %" PRIx64 "\n", (int)name.size, name.data, node);
    note(path, text);
    work(ms);
    text[0] = '-';
    note(path, text);
    return node;
}
MANTA_TASK(where, uint64_t) { return node_here(); }
MANTA_TASK(make_large, manta_ref, (uint64_t, bytes))
{
    manta_ref ref = {{0, 0}};
    void *data;
    if (manta_create(bytes, &ref, &data)) return ref;
    memset(data, 7, bytes);
    (void)manta_seal(ref);
    return ref;
}
MANTA_TASK(read_large, uint64_t, (manta_object, object))
{
    return object.size && ((const char *)object.data)[object.size - 1] == 7 ? node_here() : 0;
}
MANTA_TASK(fib, int64_t, (int64_t, n))
{
    if (n < 2) return n;
    manta_int64_t_future a = fib_submit(n - 1), b = fib_submit(n - 2);
    return manta_await(a) + manta_await(b);
}
MANTA_TASK(gpus, manta_str)
{
    const char *text = getenv("CUDA_VISIBLE_DEVICES");
    return manta_str_of(text ? text : "none");
}
MANTA_TASK(sleeper, int64_t, (uint64_t, ms))
{
    manta_status status = manta_sleep(ms);
    if (status) manta_fail(status, "woken");
    return 1;
}
MANTA_TASK(spin, int64_t, (uint32_t, ms)) { return work(ms), (int64_t)getpid(); }
MANTA_TASK(my_pid, int64_t) { return (int64_t)getpid(); }
MANTA_TASK(die_once, int64_t, (manta_str, path))
{
    char name[512];
    snprintf(name, sizeof name, "%.*s", (int)path.size, path.data);
    int fd = open(name, O_WRONLY | O_CREAT | O_EXCL, 0600);
    if (fd >= 0) kill(getpid(), 9);
    return 7;
}

/* Each value with the time that it was made, in a file. */
MANTA_GENERATOR(count, int64_t, (int64_t, n), (manta_str, path))
{
    for (int64_t i = 0; i < n; i++) {
        note(path, "+made\n");
        if (manta_yield(int64_t, i)) return;
    }
    if (n == 7) manta_fail(MANTA_EFAILED, "seven");
}

MANTA_ACTOR(Keeper, int unused;)
MANTA_METHOD(Keeper, node, uint64_t) { return (void)self, node_here(); }
MANTA_METHOD(Keeper, pid, int64_t) { return (void)self, (int64_t)getpid(); }
MANTA_CLASS(Keeper, node, pid)

/* ---- what is checked ---- */

static int failed;
#define CHECK(x) \
    do { \
        if (!(x)) { \
            fprintf(stderr, "place.c:%d: %s: %s\n", __LINE__, #x, manta_last_error()->message); \
            failed = 1; \
        } \
    } while (0)

static char log_path[512];
static manta_str log_file(void) { return manta_str_of(log_path); }

/* Most that ran at once of those whose line has the text, and how many ran. */
static int most_at_once(const char *text, int *out_runs)
{
    char line[256];
    int now = 0, most = 0, runs = 0;
    FILE *f = fopen(log_path, "r");
    while (f && fgets(line, sizeof line, f)) {
        if (!strstr(line, text)) continue;
        now += line[0] == '+' ? 1 : -1;
        runs += line[0] == '+';
        if (now > most) most = now;
    }
    if (f) fclose(f);
    if (out_runs) *out_runs = runs;
    return most;
}

static void fresh_log(void) { unlink(log_path); }

static manta_node_info nodes[16];
static size_t n_nodes;

/* 3 nodes of 2 cpus: never more than 2 on a node and 6 in all, and all 6 are used; custom resources and parts of cpus likewise. */
static void resources(void)
{
    manta_uint64_t_future f[24];
    int runs;
    fresh_log();
    for (int i = 0; i < 24; i++) f[i] = busy_submit(log_file(), manta_str_of("one"), 60);
    for (int i = 0; i < 24; i++) (void)manta_await(f[i]);
    int most = most_at_once("one", &runs);
    CHECK(runs == 24 && most <= 6 && most >= 5);
    for (size_t i = 0; i < n_nodes; i++) {
        char id[32];
        snprintf(id, sizeof id, " %" PRIx64 "\n", nodes[i].node.id);
        CHECK(most_at_once(id, NULL) <= 2);
    }
    fresh_log();
    for (int i = 0; i < 8; i++)
        f[i] = busy_submit_with(MANTA_OPTIONS(.cpus = 0.25, .resources = "db=1"), log_file(), manta_str_of("db"), 30);
    for (int i = 0; i < 8; i++) (void)manta_await(f[i]);
    most = most_at_once("db", &runs);
    CHECK(runs == 8 && most == 1);
    fresh_log();
    for (int i = 0; i < 6; i++) f[i] = busy_submit_with(MANTA_OPTIONS(.cpus = 2), log_file(), manta_str_of("two"), 60);
    for (int i = 0; i < 6; i++) (void)manta_await(f[i]);
    CHECK(most_at_once("two", &runs) <= 3 && runs == 6);
    manta_status status = manta_get(where_submit_with(MANTA_OPTIONS(.resources = "db=x")), &(uint64_t){0});
    CHECK(status == MANTA_EINVAL);
}

static void strategies(void)
{
    for (size_t i = 0; i < n_nodes; i++) {
        CHECK(manta_await(where_submit_with(MANTA_OPTIONS(.where = MANTA_WHERE_NODE, .node = nodes[i].node))) == nodes[i].node.id);
        Keeper_ref k = Keeper_spawn_with(MANTA_OPTIONS(.where = MANTA_WHERE_NODE, .node = nodes[i].node));
        CHECK(manta_await(Keeper_node(k)) == nodes[i].node.id);
    }
    uint64_t odd = manta_await(where_submit_with(MANTA_OPTIONS(.labels = "zone=odd")));
    for (size_t i = 0; i < n_nodes; i++)
        if (nodes[i].node.id == odd) CHECK(strstr(nodes[i].labels, "zone=odd"));
    manta_uint64_t_future f[6];
    int seen[16] = {0};
    fresh_log();
    for (int i = 0; i < 6; i++) f[i] = busy_submit_with(MANTA_OPTIONS(.where = MANTA_WHERE_SPREAD), log_file(), manta_str_of("s"), 800);
    for (int i = 0; i < 6; i++) {
        uint64_t at = manta_await(f[i]);
        for (size_t k = 0; k < n_nodes; k++) seen[k] += nodes[k].node.id == at;
    }
    printf("spread: %d %d %d\n", seen[0], seen[1], seen[2]);
    for (size_t k = 0; k < n_nodes; k++) CHECK(seen[k] == 2);
}

/* A task goes where most bytes of its arguments are. */
static void locality(void)
{
    for (size_t i = 0; i < n_nodes; i++) {
        manta_ref ref = manta_await(make_large_submit_with(MANTA_OPTIONS(.where = MANTA_WHERE_NODE, .node = nodes[i].node), 4 << 20));
        work(100); /* the leases have gone back */
        CHECK(manta_await(read_large_submit((manta_object){.ref = ref})) == nodes[i].node.id);
    }
}

static void gpu_instances(void)
{
    manta_manta_str_future a = gpus_submit_with(MANTA_OPTIONS(.gpus = 1)), b = gpus_submit_with(MANTA_OPTIONS(.gpus = 2));
    manta_str one = manta_await(a), two = manta_await(b);
    printf("gpus: one %.*s two %.*s none \"%.*s\"\n", (int)one.size, one.data, (int)two.size, two.data,
        (int)manta_await(gpus_submit()).size, "");
    CHECK(one.size == 1 && two.size == 3);
}

static void actors(void)
{
    Keeper_ref a = Keeper_spawn_with(MANTA_OPTIONS(.resources = "db=1"));
    CHECK(a.actor.id && manta_await(Keeper_node(a)));
    Keeper_ref b = Keeper_spawn_with(MANTA_OPTIONS(.resources = "db=1", .timeout_ms = 300));
    CHECK(!b.actor.id && manta_last_error()->status == MANTA_ETIMEDOUT);
    CHECK(manta_stop(a.actor) == MANTA_OK);
    b = Keeper_spawn_with(MANTA_OPTIONS(.resources = "db=1", .timeout_ms = 5000)); /* given back when it exited */
    CHECK(b.actor.id && manta_await(Keeper_pid(b)) > 0);
    Keeper_ref many[6];
    int64_t pids[6];
    int different = 0;
    for (int i = 0; i < 6; i++) many[i] = Keeper_spawn();
    for (int i = 0; i < 6; i++) {
        pids[i] = manta_await(Keeper_pid(many[i]));
        bool fresh = true;
        for (int k = 0; k < i; k++) fresh = fresh && pids[k] != pids[i];
        different += fresh;
    }
    CHECK(different == 6);
}

static void nested(void)
{
    double start = now_s();
    int64_t v = manta_await(fib_submit(15));
    printf("fib(15) = %" PRId64 " in %.2f s\n", v, now_s() - start);
    CHECK(v == 610);
}

static void cancel(void)
{
    int64_t v;
    manta_int64_t_future running[6], queued, asleep;
    for (int i = 0; i < 6; i++) running[i] = spin_submit(700);
    queued = spin_submit_with(MANTA_OPTIONS(.cpus = 2), 1);
    double start = now_s();
    CHECK(manta_cancel(queued.future) == MANTA_OK && manta_get(queued, &v) == MANTA_ECANCELLED);
    CHECK(now_s() - start < 0.3);
    for (int i = 0; i < 6; i++) CHECK(manta_get(running[i], &v) == MANTA_OK);
    asleep = sleeper_submit(20000);
    for (int i = 0; i < 20; i++) (void)manta_await(my_pid_submit());
    CHECK(manta_cancel(asleep.future) == MANTA_OK && manta_get(asleep, &v) == MANTA_ECANCELLED);
    start = now_s();
    manta_int64_t_future stuck = spin_submit(20000), others[8];
    for (int i = 0; i < 8; i++) others[i] = my_pid_submit();
    work(100);
    CHECK(manta_cancel_force(stuck.future) == MANTA_OK);
    manta_status status = manta_get(stuck, &v);
    CHECK(status == MANTA_ECANCELLED);
    for (int i = 0; i < 8; i++) CHECK(manta_get(others[i], &v) == MANTA_OK);
    CHECK(now_s() - start < 10);
    status = manta_get(spin_submit_with(MANTA_OPTIONS(.resources = "unobtainium=1", .timeout_ms = 300), 1), &v);
    CHECK(status == MANTA_ETIMEDOUT);
}

/* A generator elsewhere is not more than its limit ahead of its reader; its end, its error and a reader that gives up arrive. */
static void streams(void)
{
    int runs = 0;
    int64_t v, sum = 0;
    fresh_log();
    manta_int64_t_stream s = count_start_with(MANTA_OPTIONS(.stream_limit = 8), 1000, log_file());
    for (int i = 0; i < 10; i++) CHECK(manta_next(s, &v) == MANTA_OK && v == i);
    work(200);
    (void)most_at_once("made", &runs);
    CHECK(runs >= 10 && runs <= 10 + 8 + 1);
    while (manta_next(s, &v) == MANTA_OK) sum += v;
    CHECK(sum == 999 * 1000 / 2 - 45 && manta_last_error()->status == MANTA_EEND);
    s = count_start(7, log_file());
    for (int i = 0; i < 7; i++) CHECK(manta_next(s, &v) == MANTA_OK && v == i);
    CHECK(manta_next(s, &v) == MANTA_EFAILED);
    s = count_start(1000000, log_file());
    CHECK(manta_next(s, &v) == MANTA_OK && manta_stream_release(s.stream) == MANTA_OK);
    CHECK(manta_await(my_pid_submit()) != (int64_t)getpid());
}

/* What waits on this node while its cpus are taken is fetched by nodes that have become idle. */
static void stealing(void)
{
    manta_uint64_t_future here[2], there[4], f[4];
    manta_node_info own = nodes[0];
    fresh_log();
    for (int i = 0; i < 2; i++)
        here[i] = busy_submit_with(MANTA_OPTIONS(.where = MANTA_WHERE_NODE, .node = own.node), log_file(), manta_str_of("here"), 4000);
    for (int i = 0; i < 4; i++)
        there[i] = busy_submit_with(
            MANTA_OPTIONS(.where = MANTA_WHERE_NODE, .node = nodes[1 + i / 2].node), log_file(), manta_str_of("there"), 600);
    int runs = 0;
    while (most_at_once(" ", &runs), runs < 6) work(5);
    for (int i = 0; i < 4; i++) f[i] = where_submit();
    double start = now_s();
    for (int i = 0; i < 4; i++) CHECK(manta_await(f[i]) != own.node.id);
    CHECK(now_s() - start < 3);
    for (int i = 0; i < 2; i++) CHECK(manta_await(here[i]) == own.node.id);
    for (int i = 0; i < 4; i++) CHECK(manta_await(there[i]) != own.node.id);
}

/* Prints "idle" when it has used workers, and stays until somebody has removed the file. */
static void idle(void)
{
    Keeper_ref k = Keeper_spawn();
    CHECK(manta_await(Keeper_pid(k)) > 0 && manta_await(my_pid_submit()) > 0 && manta_stop(k.actor) == MANTA_OK);
    fresh_log();
    note(log_file(), "idle");
    printf("idle\n");
    fflush(stdout);
    for (double end = now_s() + 30; access(log_path, F_OK) == 0 && now_s() < end;) work(20);
}

static void retries(const char *path)
{
    int64_t v = 0;
    CHECK(manta_get(die_once_submit_with(MANTA_OPTIONS(.max_retries = 3), manta_str_of(path)), &v) == MANTA_OK && v == 7);
}

/* On one cpu: what is more urgent begins before what was there first. */
static void priorities(void)
{
    manta_uint64_t_future f[18];
    fresh_log();
    const manta_options low = {.size = sizeof low, .priority = MANTA_PRIORITY_LOW, .resources = "one=1"},
                        high = {.size = sizeof high, .priority = MANTA_PRIORITY_HIGH, .resources = "one=1"};
    for (int i = 0; i < 12; i++) f[i] = busy_submit_with(&low, log_file(), manta_str_of("low"), 20);
    for (int i = 12; i < 18; i++) f[i] = busy_submit_with(&high, log_file(), manta_str_of("high"), 20);
    for (int i = 0; i < 18; i++) (void)manta_await(f[i]);
    char line[256];
    int at = 0, last_high = 0;
    FILE *log = fopen(log_path, "r");
    while (log && fgets(line, sizeof line, log)) {
        if (line[0] != '+') continue;
        at++;
        if (strstr(line, "high")) last_high = at;
    }
    if (log) fclose(log);
    CHECK(at == 18 && last_high <= 8);
}

static void infeasible(void)
{
    uint64_t node;
    printf("asking\n");
    fflush(stdout);
    manta_status status = manta_get(where_submit_with(MANTA_OPTIONS(.resources = "rare=1")), &node);
    CHECK(status == MANTA_OK);
    printf("served\n");
}

static void groups(void)
{
    static const char *const two[] = {"cpus=1", "cpus=1"}, *const three[] = {"cpus=1", "cpus=1", "cpus=1"};
    static const char *const four[] = {"cpus=1", "cpus=1", "cpus=1", "cpus=1"}, *const large[] = {"cpus=3"};
    manta_placement_group g, h;
    manta_process at[4];
    CHECK(!manta_placement_create(two, 2, MANTA_PLACEMENT_STRICT_PACK, "pair", &g) && !manta_placement_wait(g, 5000));
    CHECK(!manta_placement_node(g, 1, &at[0]) && !manta_placement_node(g, 2, &at[1]) && at[0].id == at[1].id && at[0].id);
    CHECK(manta_await(where_submit_with(MANTA_OPTIONS(.placement_group = g, .bundle = 2))) == at[1].id);
    CHECK(!manta_placement_create(three, 3, MANTA_PLACEMENT_STRICT_SPREAD, "three", &h));
    CHECK(manta_placement_wait(h, 300) == MANTA_ETIMEDOUT); /* the pair has one node whole */
    CHECK(!manta_placement_remove(g) && manta_placement_remove(g) == MANTA_ENOTFOUND);
    CHECK(!manta_placement_wait(h, 5000));
    for (int i = 0; i < 3; i++) CHECK(!manta_placement_node(h, i + 1, &at[i]));
    CHECK(at[0].id != at[1].id && at[1].id != at[2].id && at[0].id != at[2].id);
    for (int i = 0; i < 3; i++) CHECK(manta_await(where_submit_with(MANTA_OPTIONS(.placement_group = h, .bundle = i + 1))) == at[i].id);
    fresh_log();
    manta_uint64_t_future f[9];
    for (int i = 0; i < 9; i++) f[i] = busy_submit_with(MANTA_OPTIONS(.placement_group = h), log_file(), manta_str_of("in"), 40);
    for (int i = 0; i < 9; i++) (void)manta_await(f[i]);
    int runs;
    CHECK(most_at_once("in", &runs) <= 3 && runs == 9);
    Keeper_ref k = Keeper_spawn_with(MANTA_OPTIONS(.placement_group = h, .bundle = 3, .cpus = 1));
    CHECK(manta_await(Keeper_node(k)) == at[2].id);
    CHECK(!manta_placement_create(four, 4, MANTA_PLACEMENT_STRICT_SPREAD, "four", &g) && manta_placement_wait(g, 300) == MANTA_ETIMEDOUT);
    CHECK(!manta_placement_remove(g));
    CHECK(!manta_placement_create(large, 1, MANTA_PLACEMENT_PACK, "large", &g) && manta_placement_wait(g, 300) == MANTA_ETIMEDOUT);
    manta_placement_info info[4];
    size_t count;
    CHECK(!manta_placement_list(info, 4, &count) && count == 2 && info[0].state == MANTA_PLACEMENT_READY && info[1].infeasible);
    CHECK(!manta_placement_remove(g) && !manta_placement_remove(h));
    CHECK(manta_get(where_submit_with(MANTA_OPTIONS(.placement_group = h, .bundle = 1)), &at[0].id) == MANTA_ENOTFOUND);
    CHECK(manta_placement_create((const char *const[]){"cpus=q"}, 1, MANTA_PLACEMENT_PACK, NULL, &g) == MANTA_EINVAL);
}

/* Spread over 3 nodes, one of which is killed when "ready" is printed; whole again when a node has come. */
static void group_survives(void)
{
    static const char *const three[] = {"cpus=1", "cpus=1", "cpus=1"};
    manta_placement_group g;
    manta_process at[3], lost = {0};
    CHECK(!manta_placement_create(three, 3, MANTA_PLACEMENT_STRICT_SPREAD, "spread", &g) && !manta_placement_wait(g, 5000));
    for (int i = 0; i < 3; i++) CHECK(!manta_placement_node(g, i + 1, &at[i]));
    printf("ready\n");
    fflush(stdout);
    manta_placement_info info[1];
    size_t count;
    double end = now_s() + 20;
    do (void)manta_placement_list(info, 1, &count);
    while (info[0].state == MANTA_PLACEMENT_READY && now_s() < end);
    printf("lost\n");
    fflush(stdout);
    CHECK(!manta_placement_wait(g, 20000));
    for (int i = 0; i < 3; i++) {
        manta_process now;
        CHECK(!manta_placement_node(g, i + 1, &now) && now.id);
        if (now.id != at[i].id) lost = at[i];
        CHECK(manta_await(where_submit_with(MANTA_OPTIONS(.placement_group = g, .bundle = i + 1, .max_retries = 5))) == now.id);
    }
    CHECK(lost.id != 0);
    printf("whole again\n");
}

/* Makes a group, runs a task in it and removes it. What is lost on the way with a node is tried again, as programs do. */
static bool use_a_group(void)
{
    static const char *const two[] = {"cpus=0.5", "cpus=0.5"};
    manta_placement_group g;
    uint64_t at;
    bool ok = !manta_placement_create(two, 2, MANTA_PLACEMENT_SPREAD, "short", &g) && !manta_placement_wait(g, 20000);
    for (int i = 1; ok && i <= 2; i++)
        ok = !manta_get(where_submit_with(MANTA_OPTIONS(.placement_group = g, .bundle = i, .cpus = 0.5, .max_retries = 9)), &at) && at;
    ok = ok && !manta_placement_remove(g);
    if (!ok) printf("a short group: %s\n", manta_last_error()->message);
    return ok;
}

/* Three bundles on three nodes, one of which, the cluster's first and the leader of its control store, is killed when "ready" is printed. Until the bundles are whole again tasks run in those that are left, and short
 * groups are made and removed. Then nothing is reserved but the three. */
static void group_outlives(void)
{
    static const char *const three[] = {"cpus=1", "cpus=1", "cpus=1"}, *const far[] = {"cpus=1", "cpus=1", "cpus=1", "cpus=1"};
    manta_placement_group g, h;
    manta_process at[3], now;
    uint64_t v;
    CHECK(!manta_placement_create(three, 3, MANTA_PLACEMENT_STRICT_SPREAD, "kept", &g) && !manta_placement_wait(g, 5000));
    for (int i = 0; i < 3; i++) CHECK(!manta_placement_node(g, i + 1, &at[i]));
    CHECK(!manta_placement_create(far, 4, MANTA_PLACEMENT_STRICT_SPREAD, "far", &h) && manta_placement_wait(h, 200) == MANTA_ETIMEDOUT);
    CHECK(strstr(manta_last_error()->message, "there are 3 nodes"));
    CHECK(!manta_placement_remove(h));
    printf("ready\n");
    fflush(stdout);
    int made = 0, ran = 0, lost = 0;
    for (double end = now_s() + 30; now_s() < end && !(lost && made > 20 && !manta_placement_wait(g, 0)); made++) {
        CHECK(use_a_group());
        for (int i = 0; i < 3; i++) {
            bool moved = manta_placement_node(g, i + 1, &now) == MANTA_OK && now.id && now.id != at[i].id;
            if (moved) lost++;
            else
                ran += !manta_get(
                    where_submit_with(MANTA_OPTIONS(.placement_group = g, .bundle = i + 1, .max_retries = 9, .timeout_ms = 3000)), &v);
        }
    }
    CHECK(lost && !manta_placement_wait(g, 20000));
    for (int i = 0; i < 3; i++) {
        CHECK(!manta_placement_node(g, i + 1, &now) && now.id);
        CHECK(manta_await(where_submit_with(MANTA_OPTIONS(.placement_group = g, .bundle = i + 1, .max_retries = 5))) == now.id);
    }
    manta_placement_info info[4];
    size_t count = 0;
    CHECK(!manta_placement_list(info, 4, &count) && count == 1 && info[0].group.id == g.id);
    printf("made %d groups and ran %d tasks meanwhile\nwhole again\n", made, ran);
}

/* Keeps the cluster busy for so long and prints how many tasks of 20 ms were done. */
static void share(double seconds)
{
    enum { AHEAD = 64 };
    static manta_int64_t_future f[AHEAD];
    int done = 0;
    int64_t v;
    double end = now_s() + seconds;
    for (int i = 0; i < AHEAD; i++) f[i] = spin_submit(20);
    for (int i = 0; now_s() < end; i = (i + 1) % AHEAD) {
        done += manta_get(f[i], &v) == MANTA_OK;
        f[i] = spin_submit(20);
    }
    printf("done %d\n", done);
    fflush(stdout);
    _exit(failed);
}

int main(int argc, char **argv)
{
    manta_t *m = manta_init(&argc, &argv);
    if (!m || argc < 3) return 2;
    const char *what = argv[1];
    snprintf(log_path, sizeof log_path, "%s/log", argv[2]);
    if (manta_list_nodes(nodes, 16, &n_nodes)) return 2;
    if (strcmp(what, "resources") == 0) resources();
    else if (strcmp(what, "strategies") == 0) strategies();
    else if (strcmp(what, "locality") == 0) locality();
    else if (strcmp(what, "gpus") == 0) gpu_instances();
    else if (strcmp(what, "actors") == 0) actors();
    else if (strcmp(what, "nested") == 0) nested();
    else if (strcmp(what, "cancel") == 0) cancel();
    else if (strcmp(what, "stealing") == 0) stealing();
    else if (strcmp(what, "idle") == 0) idle();
    else if (strcmp(what, "streams") == 0) streams();
    else if (strcmp(what, "retries") == 0) retries(log_path);
    else if (strcmp(what, "priorities") == 0) priorities();
    else if (strcmp(what, "infeasible") == 0) infeasible();
    else if (strcmp(what, "groups") == 0) groups();
    else if (strcmp(what, "group_survives") == 0) group_survives();
    else if (strcmp(what, "group_outlives") == 0) group_outlives();
    else if (strcmp(what, "share") == 0) share(3);
    else return 2;
    fflush(stdout);
    if (manta_shutdown(m)) failed = 1;
    return failed;
}
