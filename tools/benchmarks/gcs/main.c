/*
 * manta_gcs_bench [--rounds N] [--seconds S] [--only NAME]: a table of medians over the rounds, which interleave everything, because the disk's speed changes by the minute.
 */
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tools/benchmarks/gcs/gcs_bench.h"

enum { ROUNDS_MAX = 15, FAILOVERS = 8, RECORDS = 64, RECORD_BYTES = 8 };

typedef struct load {
    const char *name;
    uint32_t outstanding, size, records; /* records: in a command */
} load;
static const load loads[] = {{"64 B, 1 outstanding", 1, 64, 1}, {"64 B, 64 outstanding", 64, 64, 1},
    {"64 records of 8 B, 64 outstanding", 64, RECORDS *RECORD_BYTES, RECORDS}};
enum { LOADS = sizeof loads / sizeof *loads };

typedef struct setup {
    const char *name;
    uint32_t voters;
    bool no_sync;
} setup;
static const setup setups[] = {
    {"1 voter", 1, false}, {"3 voters", 3, false}, {"1 voter, no fsync", 1, true}, {"3 voters, no fsync", 3, true}};
enum { SETUPS = sizeof setups / sizeof *setups, THREE = 1 };

typedef struct series {
    double values[ROUNDS_MAX];
    int count;
} series;

typedef struct cluster {
    bench_server servers[VOTERS_MAX + 1];
    pid_t pids[VOTERS_MAX + 1];
    uint32_t voters;
    bench_shared *shared;
    char directory[200];
} cluster;

static double seconds = 2;
static int rounds = 5;
static const char *only = "";

/* ---- folders ---- */

static void make_folder(char *out, size_t room)
{
    const char *base = getenv("TMPDIR");
    snprintf(out, room, "%s/manta-gcs-bench-XXXXXX", base ? base : "/var/tmp");
    if (!mkdtemp(out)) bench_die(out);
}

static void remove_folder(const char *path)
{
    char below[600];
    DIR *d = opendir(path);
    for (struct dirent *e; d && (e = readdir(d));) {
        if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, "..")) continue;
        snprintf(below, sizeof below, "%s/%s", path, e->d_name);
        if (unlink(below)) remove_folder(below);
    }
    if (d) closedir(d);
    rmdir(path);
}

/* ---- a cluster ---- */

static void pause_ms(long ms) { nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000}, NULL); }

static void start_server(cluster *c, uint32_t id)
{
    if (!(c->pids[id] = fork())) bench_serve(&c->servers[id]);
}

static void start_cluster(cluster *c, const setup *s)
{
    *c = (cluster){.voters = s->voters};
    make_folder(c->directory, sizeof c->directory);
    c->shared = mmap(NULL, sizeof *c->shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (c->shared == MAP_FAILED) bench_die("mmap");
    for (uint32_t i = 1; i <= s->voters; i++) {
        c->servers[i] = (bench_server){c->shared, c->directory, i, s->voters, s->no_sync};
        start_server(c, i);
    }
    while (!atomic_load(&c->shared->leader)) pause_ms(1);
}

static void stop_server(cluster *c, uint32_t id)
{
    kill(c->pids[id], SIGKILL);
    waitpid(c->pids[id], NULL, 0);
}

static void stop_cluster(cluster *c)
{
    for (uint32_t i = 1; i <= c->voters; i++) stop_server(c, i);
    munmap(c->shared, sizeof *c->shared);
    remove_folder(c->directory);
}

static void set_load(cluster *c, const load *l)
{
    atomic_store(&c->shared->size, l->size);
    atomic_store(&c->shared->outstanding, l->outstanding);
}

/* ---- figures ---- */

static int by_value(const void *a, const void *b)
{
    return *(const double *)a < *(const double *)b ? -1 : *(const double *)a > *(const double *)b;
}
static int by_sample(const void *a, const void *b)
{
    return *(const uint32_t *)a < *(const uint32_t *)b ? -1 : *(const uint32_t *)a > *(const uint32_t *)b;
}

static void add(series *s, double value) { s->values[s->count++] = value; }

static double median(series *s)
{
    qsort(s->values, (size_t)s->count, sizeof *s->values, by_value);
    return s->count ? s->values[s->count / 2] : 0;
}

static void print(const char *setup_name, const char *name, const char *unit, series *s)
{
    if (!s->count) return;
    double middle = median(s);
    printf("%-20s %-36s %12.1f %-10s (%.1f .. %.1f)\n", setup_name, name, middle, unit, s->values[0], s->values[s->count - 1]);
}

typedef struct figures {
    series rate, p50, p99, group;
} figures;

static void measure(cluster *c, const load *l, figures *f)
{
    bench_shared *s = c->shared;
    set_load(c, l);
    pause_ms(300);
    uint32_t leader = atomic_load(&s->leader);
    atomic_store(&s->sample_count, 0);
    uint64_t answered = atomic_load(&s->answered), groups = atomic_load(&s->group_commits[leader]);
    double start = bench_now();
    pause_ms((long)(seconds * 1000));
    double passed = bench_now() - start;
    double done = (double)(atomic_load(&s->answered) - answered), written = (double)(atomic_load(&s->group_commits[leader]) - groups);
    uint64_t n = atomic_load(&s->sample_count);
    set_load(c, &(load){0});
    pause_ms(100);
    if (n > SAMPLES) n = SAMPLES;
    if (!n) return;
    qsort(s->samples, n, sizeof *s->samples, by_sample);
    add(&f->rate, done * l->records / passed);
    add(&f->p50, s->samples[n / 2] / 10.0);
    add(&f->p99, s->samples[n * 99 / 100] / 10.0);
    add(&f->group, written / passed);
}

/* ---- the leader is killed ---- */

static uint32_t wait_answer(cluster *c, uint32_t but, const uint64_t *before, uint64_t *out_ns)
{
    for (;;) {
        for (uint32_t i = 1; i <= c->voters; i++)
            if (i != but && atomic_load(&c->shared->answered_by[i]) > before[i]) {
                *out_ns = atomic_load(&c->shared->first_answer_ns[i]);
                return i;
            }
        pause_ms(1);
    }
}

static void failover(cluster *c, series *out)
{
    uint64_t before[VOTERS_MAX + 1] = {0}, answer_ns;
    set_load(c, &loads[1]);
    pause_ms(500);
    uint32_t leader = atomic_load(&c->shared->leader);
    for (uint32_t i = 1; i <= c->voters; i++) before[i] = atomic_load(&c->shared->answered_by[i]);
    double killed = bench_now();
    stop_server(c, leader);
    (void)wait_answer(c, leader, before, &answer_ns);
    add(out, ((double)answer_ns * 1e-9 - killed) * 1e3);
    start_server(c, leader);
    pause_ms(500);
}

static void measure_failover(series *out)
{
    cluster c;
    if (*only && strcmp("failover", only) != 0) return;
    start_cluster(&c, &setups[THREE]);
    for (int i = 0; i < FAILOVERS; i++) failover(&c, out);
    stop_cluster(&c);
    print(setups[THREE].name, "failover, leader killed under load", "ms", out);
}

/* ---- all of it ---- */

static void measure_limits(series *disk, series *trip)
{
    char folder[200];
    make_folder(folder, sizeof folder);
    add(disk, bench_disk_commits(folder, seconds / 2));
    add(trip, bench_round_trip_us(folder, seconds / 4));
    remove_folder(folder);
}

static void measure_setup(const setup *s, figures f[LOADS])
{
    cluster c;
    if (*only && strcmp(s->name, only) != 0) return;
    start_cluster(&c, s);
    for (int i = 0; i < LOADS; i++) measure(&c, &loads[i], &f[i]);
    stop_cluster(&c);
}

static void print_figures(const char *name, figures f[LOADS])
{
    for (int i = 0; i < LOADS; i++) {
        print(name, loads[i].name, loads[i].records > 1 ? "records/s" : "commands/s", &f[i].rate);
        print(name, "  latency p50", "us", &f[i].p50);
        print(name, "  latency p99", "us", &f[i].p99);
        print(name, "  group commits of the leader", "1/s", &f[i].group);
    }
}

static void budget(const char *what, series *s, double bound, bool at_least)
{
    double value = median(s);
    if (!s->count) return;
    printf("budget: 3 voters with fsync: %s: %.0f, %s %.0f: %s\n", what, value, at_least ? "at least" : "at most", bound,
        (at_least ? value >= bound : value <= bound) ? "ok" : "MISSED");
}

static void read_options(int argc, char **argv)
{
    for (int i = 1; i + 1 < argc; i += 2) {
        if (!strcmp(argv[i], "--rounds")) rounds = atoi(argv[i + 1]);
        else if (!strcmp(argv[i], "--seconds")) seconds = atof(argv[i + 1]);
        else if (!strcmp(argv[i], "--only")) only = argv[i + 1];
        else argc = 0;
    }
    if (argc % 2 && rounds >= 1 && rounds <= ROUNDS_MAX && seconds > 0) return;
    fprintf(stderr, "usage: manta_gcs_bench [--rounds 1..%d] [--seconds S] [--only SETUP or failover]\n", ROUNDS_MAX);
    exit(2);
}

int main(int argc, char **argv)
{
    static figures f[SETUPS][LOADS];
    series disk = {0}, trip = {0}, gap = {0};
    read_options(argc, argv);
    for (int round = 0; round < rounds; round++) {
        measure_limits(&disk, &trip);
        for (int i = 0; i < SETUPS; i++) measure_setup(&setups[i], f[i]);
    }
    print("limit", "LMDB commits of one small record", "1/s", &disk);
    print("limit", "raw ZeroMQ round trip, 64 B, ipc", "us", &trip);
    for (int i = 0; i < SETUPS; i++) print_figures(setups[i].name, f[i]);
    measure_failover(&gap);
    budget("commands/s with 64 outstanding", &f[THREE][1].rate, 40000, true);
    budget("records/s, packed", &f[THREE][2].rate, 500000, true);
    budget("failover in ms", &gap, 1000, false);
    return 0;
}
