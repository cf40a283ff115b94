/* What the disk and the sockets can do at best. */
#include <lmdb.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zmq.h>

#include "scheduler/os/os.h"
#include "tools/benchmarks/gcs/gcs_bench.h"

enum { ROUND_TRIPS_MAX = 1 << 17 };

double bench_now(void) { return (double)os_monotonic_ns() * 1e-9; }

static void commit_one(MDB_env *env, MDB_dbi table, uint64_t key)
{
    MDB_txn *t;
    unsigned char value[64] = {0};
    MDB_val k = {sizeof key, &key}, v = {sizeof value, value};
    key %= 1024; /* the file does not grow: the best case */
    if (mdb_txn_begin(env, NULL, 0, &t) || mdb_put(t, table, &k, &v, 0) || mdb_txn_commit(t)) bench_die("LMDB");
}

double bench_disk_commits(const char *directory, double seconds)
{
    char path[300];
    MDB_env *env;
    MDB_txn *t;
    MDB_dbi table;
    uint64_t n = 0;
    snprintf(path, sizeof path, "%s/limit", directory);
    if (mkdir(path, 0700)) bench_die(path);
    if (mdb_env_create(&env) || mdb_env_set_mapsize(env, 64 << 20) || mdb_env_open(env, path, MDB_NOLOCK, 0600)) bench_die(path);
    if (mdb_txn_begin(env, NULL, 0, &t) || mdb_dbi_open(t, NULL, MDB_INTEGERKEY, &table) || mdb_txn_commit(t)) bench_die(path);
    while (n < 50) commit_one(env, table, n++);
    double start = bench_now();
    for (n = 0; bench_now() - start < seconds; n++) commit_one(env, table, n);
    double rate = (double)n / (bench_now() - start);
    mdb_env_close(env);
    return rate;
}

static void *open_pair(const char *address, int type, bool bind)
{
    void *z = zmq_socket(zmq_ctx_new(), type);
    if (bind ? zmq_bind(z, address) : zmq_connect(z, address)) bench_die(address);
    return z;
}

static _Noreturn void echo(const char *address)
{
    char bytes[64];
    void *z = open_pair(address, ZMQ_PAIR, true);
    while (zmq_recv(z, bytes, sizeof bytes, 0) >= 0) zmq_send(z, bytes, sizeof bytes, 0);
    _exit(0);
}

static int by_size(const void *a, const void *b)
{
    return *(const float *)a < *(const float *)b ? -1 : *(const float *)a > *(const float *)b;
}

/* In a process of its own, so that the parent never has threads of ZeroMQ when it forks. */
static _Noreturn void measure_round_trips(const char *address, double seconds, int out)
{
    static float trips[ROUND_TRIPS_MAX];
    char bytes[64] = {0};
    int n = 0;
    void *z = open_pair(address, ZMQ_PAIR, false);
    for (double start = bench_now(), before = start; n < ROUND_TRIPS_MAX && before - start < seconds; n++) {
        if (zmq_send(z, bytes, sizeof bytes, 0) < 0 || zmq_recv(z, bytes, sizeof bytes, 0) < 0) bench_die("ZeroMQ");
        double now = bench_now();
        trips[n] = (float)((now - before) * 1e6);
        before = now;
    }
    qsort(trips, (size_t)n, sizeof *trips, by_size);
    double median = (double)trips[n / 2];
    _exit(write(out, &median, sizeof median) == sizeof median ? 0 : 1);
}

double bench_round_trip_us(const char *directory, double seconds)
{
    char address[300];
    int ends[2];
    double result = 0;
    snprintf(address, sizeof address, "ipc://%s/echo", directory);
    if (pipe(ends)) bench_die("pipe");
    pid_t other = fork();
    if (!other) echo(address);
    pid_t self = fork();
    if (!self) measure_round_trips(address, seconds, ends[1]);
    waitpid(self, NULL, 0);
    kill(other, SIGKILL);
    waitpid(other, NULL, 0);
    if (read(ends[0], &result, sizeof result) != sizeof result) bench_die("round trips");
    close(ends[0]);
    close(ends[1]);
    return result;
}
