/*
 * Tasks, actors and placement groups of a job, to be run on a cluster (manta run manta_tasks_bench), or alone for comparison.
 *
 *     manta_tasks_bench [--tasks N] [--actors N] [--groups N] [--rounds N]
 *     manta_tasks_bench --lineage N
 *
 * A table of medians; without a cluster there are no placement groups. The second form runs tasks that make an object each: N with all refs dropped soon, N with all kept until the control store has their
 * records, prints the two rates and what the driver needed of its cpus, and then waits for the end of its input, so that one can look at the control store. tools/bench runs it in turns with MANTA_LINEAGE_BYTES=1, which keeps no records.
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include <manta/manta.h>

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

MANTA_TASK(square, int64_t, (int64_t, x)) { return x * x; }

MANTA_TASK(box, manta_ref, (int64_t, x))
{
    manta_ref ref = {{0, 0}};
    if (manta_put(&x, sizeof x, &ref)) manta_fail(MANTA_EFAILED, "no object: %s", manta_last_error()->message);
    return ref;
}

MANTA_ACTOR(Cell, int64_t value;)
MANTA_METHOD(Cell, init, void, (int64_t, value)) { self->value = value; }
MANTA_METHOD(Cell, get, int64_t) { return self->value; }
MANTA_CLASS(Cell, init, get)

MANTA_TASK(spawn_some, int64_t, (int64_t, n))
{
    int64_t made = 0;
    for (int64_t i = 0; i < n; i++) made += Cell_spawn(i).actor.id != 0;
    return made;
}

enum { ROUNDS_MAX = 15, RESULTS = 8 };
static double results[RESULTS][ROUNDS_MAX];
static bool wrong;

static void bench_tasks(int64_t n, int round)
{
    manta_int64_t_future *f = malloc((size_t)n * sizeof *f);
    double start = now_s();
    for (int64_t i = 0; i < n; i++) f[i] = square_submit(i);
    results[0][round] = now_s() - start;
    for (int64_t i = 0; i < n; i++) wrong |= manta_await(f[i]) != i * i;
    results[1][round] = (double)n / (now_s() - start);
    free(f);
}

static void bench_round_trips(int n, int round)
{
    double start = now_s();
    for (int i = 0; i < n; i++) (void)manta_await(square_submit(i));
    results[2][round] = (now_s() - start) / n * 1e6;
}

/* One after the other from the main thread; then from 32 tasks at once, each of which waits for its own. */
static void bench_actors(int64_t n, int round)
{
    enum { TOGETHER = 32 };
    Cell_ref last = {{0}};
    manta_int64_t_future f[TOGETHER];
    double start = now_s();
    for (int64_t i = 0; i < n; i++) last = Cell_spawn(i);
    wrong |= manta_await(Cell_get(last)) != n - 1;
    results[3][round] = now_s() - start;
    start = now_s();
    for (int i = 0; i < TOGETHER; i++) f[i] = spawn_some_submit_with(MANTA_OPTIONS(.where = MANTA_WHERE_HERE), n / TOGETHER);
    for (int i = 0; i < TOGETHER; i++) wrong |= manta_await(f[i]) != n / TOGETHER;
    results[4][round] = now_s() - start;
}

static void bench_groups(int n, uint32_t bundles, int which, int round)
{
    const char *text[128];
    for (uint32_t i = 0; i < bundles; i++) text[i] = "memory=1024";
    double start = now_s();
    for (int i = 0; i < n; i++) {
        manta_placement_group g;
        bool ok = !manta_placement_create(text, bundles, MANTA_PLACEMENT_PACK, NULL, &g) && !manta_placement_wait(g, 10000) &&
                  !manta_placement_remove(g);
        wrong |= !ok;
    }
    results[which][round] = n / (now_s() - start);
}

static double cpu_s(void)
{
    struct rusage r;
    getrusage(RUSAGE_SELF, &r);
    return (double)(r.ru_utime.tv_sec + r.ru_stime.tv_sec) + (double)(r.ru_utime.tv_usec + r.ru_stime.tv_usec) * 1e-6;
}

enum { WAVE = 1000 };
static void wave_of_boxes(void)
{
    manta_manta_ref_future f[WAVE];
    for (int k = 0; k < WAVE; k++) f[k] = box_submit(k);
    for (int k = 0; k < WAVE; k++) wrong |= manta_await(f[k]).id[0] == 0;
}

typedef struct boxes {
    double rate, cpu_us,
        stored_s; /* tasks a second; of this process, a task; from the last answer until all records are in the control store */
} boxes;

static boxes bench_boxes(int64_t n, bool keeps)
{
    manta_object_stats s = {.records = 0};
    double start = now_s(), cpu = cpu_s();
    if (keeps) (void)manta_scope_begin();
    for (int64_t i = 0; i < n; i += WAVE) {
        if (!keeps) (void)manta_scope_begin();
        wave_of_boxes();
        if (!keeps) (void)manta_scope_end();
    }
    double done = now_s();
    boxes b = {.rate = (double)n / (done - start), .cpu_us = (cpu_s() - cpu) / (double)n * 1e6};
    while (keeps && manta_read_object_stats(&s) == MANTA_OK && s.records_stored < s.records && now_s() - done < 30) (void)manta_sleep(50);
    b.stored_s = now_s() - done;
    return b;
}

static void bench_lineage(int64_t n)
{
    (void)bench_boxes(WAVE, false);
    boxes soon = bench_boxes(n, false), kept = bench_boxes(n, true);
    printf("%.0f %.0f %.3f %.3f %.3f\n", soon.rate, kept.rate, soon.cpu_us, kept.cpu_us, kept.stored_s);
    fflush(stdout);
    while (getchar() != EOF) continue;
    (void)manta_scope_end();
    if (wrong) fprintf(stderr, "a result was wrong: %s\n", manta_last_error()->message);
}

static int by_value(const void *a, const void *b)
{
    return *(const double *)a < *(const double *)b ? -1 : *(const double *)a > *(const double *)b;
}

static void print(const char *format, int which, int rounds)
{
    qsort(results[which], (size_t)rounds, sizeof(double), by_value);
    printf(format, results[which][rounds / 2]);
}

static void print_all(size_t nodes, int rounds, int64_t tasks, int64_t actors)
{
    printf("%zu nodes; medians of %d rounds; %lld tasks, %lld actors\n", nodes, rounds, (long long)tasks, (long long)actors);
    print("tasks accepted in           %10.3f s\n", 0, rounds);
    print("tasks done                  %10.0f /s\n", 1, rounds);
    print("one task at a time          %10.1f us\n", 2, rounds);
    print("actors, one after the other %10.3f s\n", 3, rounds);
    print("actors, from 32 tasks       %10.3f s\n", 4, rounds);
    if (nodes) print("groups of 1 bundle          %10.0f /s\n", 5, rounds);
    if (nodes) print("groups of 10 bundles        %10.0f /s\n", 6, rounds);
    if (nodes) print("groups of 100 bundles       %10.0f /s\n", 7, rounds);
}

int main(int argc, char **argv)
{
    int64_t tasks = 1000000, actors = 10000, lineage = 0;
    int rounds = 5, groups = 200;
    manta_t *m = manta_init(&argc, &argv);
    manta_node_info node[1];
    size_t nodes = 0;
    if (!m) return 1;
    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--lineage") == 0) lineage = atoll(argv[i + 1]);
        else if (strcmp(argv[i], "--tasks") == 0) tasks = atoll(argv[i + 1]);
        else if (strcmp(argv[i], "--actors") == 0) actors = atoll(argv[i + 1]);
        else if (strcmp(argv[i], "--groups") == 0) groups = atoi(argv[i + 1]);
        else if (strcmp(argv[i], "--rounds") == 0) rounds = atoi(argv[i + 1]);
    }
    if (argc % 2 == 0 || rounds < 1 || rounds > ROUNDS_MAX || tasks < 1 || actors < 32 || groups < 1)
        return fprintf(stderr, "usage: manta_tasks_bench [--tasks N] [--actors N] [--groups N] [--rounds N]\n"), 2;
    if (lineage) {
        bench_lineage(lineage);
        return manta_shutdown(m) == MANTA_OK && !wrong ? 0 : 1;
    }
    (void)manta_list_nodes(node, 1, &nodes);
    for (int i = 0; i < rounds; i++) {
        bench_tasks(tasks, i);
        bench_round_trips(2000, i);
        bench_actors(actors, i);
        for (uint32_t k = 0, bundles = 1; nodes && k < 3; k++, bundles *= 10) bench_groups(groups, bundles, 5 + (int)k, i);
    }
    print_all(nodes, rounds, tasks, actors);
    if (wrong) fprintf(stderr, "a result was wrong: %s\n", manta_last_error()->message);
    return manta_shutdown(m) == MANTA_OK && !wrong ? 0 : 1;
}
