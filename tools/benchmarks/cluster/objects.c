/*
 * Objects between processes that share no store: one transfer by size against a raw TCP stream in the same run, and a broadcast: how many copies' worth of bytes leave the source.
 *
 *     manta_cluster_bench --objects [--rounds N] [--json]
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <manta/manta.h>

#include "tools/benchmarks/cluster/cluster_bench.h"

enum { SIZES = 10, RECEIVERS_MAX = 8, BROADCAST_BYTES = 64 << 20, WARM_S = 4, REPEATS = 100 };
static const size_t sizes[SIZES] = {1 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20, 4 << 20, 16 << 20, 64 << 20, 128 << 20, 256 << 20};
static const uint64_t room = 640ull << 20;

MANTA_TASK(bench_receive, uint64_t, (manta_object, o)) { return o.size ? ((const unsigned char *)o.data)[o.size - 1] : 0; }

static void store_name(char out[64])
{
    static int n;
    snprintf(out, 64, "/dev/shm/manta-bench-%d-%d", (int)getpid(), n++);
}

static manta_t *start_manta(const char *address, uint64_t bytes)
{
    char store[64];
    store_name(store);
    return manta_init_with(
        &(manta_config){.size = sizeof(manta_config), .workers = 1, .listen = address, .store = store, .object_bytes = bytes});
}

void serve_objects(const char *address)
{
    char byte, text[ADDRESS] = "";
    const char *bytes = getenv("MANTA_BENCH_ROOM");
    manta_t *m = start_manta(address, bytes ? strtoull(bytes, NULL, 0) : room);
    if (!m) _exit(1);
    snprintf(text, sizeof text, "%s", manta_listen_address(0));
    if (write(PARENT, text, sizeof text) != sizeof text) _exit(1);
    while (read(PARENT, &byte, 1) == 1) continue;
    _exit(manta_shutdown(m) == MANTA_OK ? 0 : 1);
}

/* Reads {size, bytes}, and answers each with a byte. */
void serve_stream(const char *address)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t bytes = sizeof in;
    int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;
    char text[ADDRESS] = "", *to = malloc(sizes[SIZES - 1]);
    (void)address;
    if (!to || bind(fd, (struct sockaddr *)&in, sizeof in) || listen(fd, 1) || getsockname(fd, (struct sockaddr *)&in, &bytes)) _exit(1);
    memset(to, 1, sizes[SIZES - 1]);
    snprintf(text, sizeof text, "%d", ntohs(in.sin_port));
    if (write(PARENT, text, sizeof text) != sizeof text) _exit(1);
    int peer = accept(fd, NULL, NULL);
    setsockopt(peer, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    for (uint64_t size; recv(peer, &size, sizeof size, MSG_WAITALL) == sizeof size;) {
        for (uint64_t at = 0; at < size;) {
            ssize_t n = read(peer, to + at, size - at);
            if (n <= 0) _exit(1);
            at += (uint64_t)n;
        }
        if (write(peer, "", 1) != 1) _exit(1);
    }
    _exit(0);
}

static double send_stream(int fd, const char *from, uint64_t size)
{
    char byte;
    double start = now_s();
    if (write(fd, &size, sizeof size) != sizeof size) exit(1);
    for (uint64_t at = 0; at < size;) {
        ssize_t n = write(fd, from + at, size - at);
        if (n <= 0) exit(1);
        at += (uint64_t)n;
    }
    if (read(fd, &byte, 1) != 1) exit(1);
    return now_s() - start;
}

static int repeats(size_t size) { return size >= 64 << 20 ? 5 : size >= 1 << 20 ? 12 : 100; }

static double median(double *times, int n)
{
    qsort(times, (size_t)n, sizeof *times, bench_by_value);
    return times[n / 2];
}

typedef struct stream { /* the raw one */
    other other;
    int fd;
    char *from;
} stream;

static stream start_stream(void)
{
    stream r = {.other = start_other("stream", ""), .from = malloc(sizes[SIZES - 1])};
    struct sockaddr_in in = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(r.other.address)), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int on = 1;
    r.fd = socket(AF_INET, SOCK_STREAM, 0);
    if (!r.from || connect(r.fd, (struct sockaddr *)&in, sizeof in)) exit(1);
    setsockopt(r.fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    memset(r.from, 1, sizes[SIZES - 1]);
    return r;
}

/* It ends by itself, and its store with it. */
static void end_other(other *o)
{
    close(o->fd);
    while (waitpid(o->pid, NULL, 0) < 0) continue;
}

static double send_object(manta_process to, size_t size)
{
    manta_ref ref;
    void *data;
    (void)manta_scope_begin();
    if (manta_create(size, &ref, &data)) exit(1);
    memset(data, 7, size);
    if (manta_seal(ref)) exit(1);
    double start = now_s();
    if (manta_await(bench_receive_submit_with(MANTA_OPTIONS(.process = to), manta_object_of(ref))) != 7) fprintf(stderr, "wrong bytes\n");
    double seconds = now_s() - start;
    (void)manta_scope_end();
    return seconds;
}

/* One round: all three take turns, so that what else the machine does meets them alike. */
static void measure_sizes(double out[3][SIZES])
{
    static double times[3][REPEATS];
    char ipc[ADDRESS];
    static int n;
    snprintf(ipc, sizeof ipc, "ipc:///tmp/manta-bench-%d-%d", (int)getpid(), n++);
    other o[2] = {start_other("objects", "tcp://127.0.0.1:*"), start_other("objects", ipc)};
    stream raw = start_stream();
    manta_t *m = start_manta("tcp://127.0.0.1:*", room);
    manta_process there[2];
    for (int i = 0; i < 2; i++)
        if (!m || manta_connect(o[i].address, 20000, &there[i])) exit(1);
    (void)sleep(WARM_S); /* the stores touch their memory in the background, which would share the cores with us */
    for (int i = 0; i < 4; i++) (void)send_object(there[i % 2], sizes[SIZES - 1]);
    for (int s = 0; s < SIZES; s++) {
        for (int i = 0; i < repeats(sizes[s]); i++) {
            times[0][i] = send_stream(raw.fd, raw.from, sizes[s]);
            for (int k = 0; k < 2; k++) times[k + 1][i] = send_object(there[k], sizes[s]);
        }
        for (int k = 0; k < 3; k++) out[k][s] = median(times[k], repeats(sizes[s]));
    }
    (void)manta_shutdown(m);
    close(raw.fd);
    free(raw.from);
    stop_other(&raw.other);
    for (int i = 0; i < 2; i++) end_other(&o[i]);
}

/* Copies' worth of bytes that left the source, and how long until the last one had it. */
static double broadcast(int receivers, double *out_seconds)
{
    other o[RECEIVERS_MAX];
    manta_process there[RECEIVERS_MAX];
    manta_uint64_t_future f[RECEIVERS_MAX];
    manta_object_stats before, after;
    manta_ref ref;
    void *data;
    setenv("MANTA_BENCH_ROOM", "134217728", 1);
    for (int i = 0; i < receivers; i++) o[i] = start_other("objects", "tcp://127.0.0.1:*");
    manta_t *m = start_manta("tcp://127.0.0.1:*", 256 << 20);
    for (int i = 0; i < receivers; i++)
        if (!m || manta_connect(o[i].address, 20000, &there[i])) exit(1);
    (void)sleep(WARM_S);
    (void)manta_scope_begin();
    if (manta_create(BROADCAST_BYTES, &ref, &data)) exit(1);
    memset(data, 7, BROADCAST_BYTES);
    if (manta_seal(ref) || manta_read_object_stats(&before)) exit(1);
    double start = now_s();
    for (int i = 0; i < receivers; i++) f[i] = bench_receive_submit_with(MANTA_OPTIONS(.process = there[i]), manta_object_of(ref));
    for (int i = 0; i < receivers; i++)
        if (manta_await(f[i]) != 7) fprintf(stderr, "wrong bytes\n");
    *out_seconds = now_s() - start;
    if (manta_read_object_stats(&after)) exit(1);
    (void)manta_scope_end();
    (void)manta_shutdown(m);
    for (int i = 0; i < receivers; i++) end_other(&o[i]);
    unsetenv("MANTA_BENCH_ROOM");
    return (double)(after.bytes_out - before.bytes_out) / BROADCAST_BYTES;
}

static void show_sizes(double (*times)[3][SIZES], int rounds, bool json)
{
    double values[ROUNDS_MAX], medians[3][SIZES];
    for (int k = 0; k < 3; k++)
        for (int s = 0; s < SIZES; s++) {
            for (int i = 0; i < rounds; i++) values[i] = times[i][k][s];
            medians[k][s] = median(values, rounds);
        }
    if (!json)
        printf("one object: us, and ratio to a raw TCP stream\n%9s %10s %10s %10s %8s %8s %9s\n", "KiB", "stream", "tcp", "ipc", "tcp/raw",
            "ipc/raw", "tcp MB/s");
    for (int s = 0; s < SIZES; s++) {
        double raw = medians[0][s], tcp = medians[1][s], ipc = medians[2][s];
        const char *format = json ? "{\"object_kib\":%zu,\"stream_us\":%.1f,\"tcp_us\":%.1f,\"ipc_us\":%.1f,\"tcp_ratio\":%.3f,\"ipc_"
                                    "ratio\":%.3f,\"tcp_mb_s\":%.0f}\n"
                                  : "%9zu %10.1f %10.1f %10.1f %8.2f %8.2f %9.0f\n";
        printf(format, sizes[s] >> 10, raw * 1e6, tcp * 1e6, ipc * 1e6, raw / tcp, raw / ipc, (double)sizes[s] / tcp / 1e6);
    }
}

void run_objects(int rounds, bool json)
{
    static double times[ROUNDS_MAX][3][SIZES];
    for (int i = 0; i < rounds; i++) measure_sizes(times[i]);
    show_sizes(times, rounds, json);
    for (int receivers = 4; receivers <= RECEIVERS_MAX; receivers *= 2) {
        double copies[ROUNDS_MAX], seconds[ROUNDS_MAX];
        for (int i = 0; i < rounds; i++) copies[i] = broadcast(receivers, &seconds[i]);
        printf(json ? "{\"broadcast\":%d,\"copies\":%.2f,\"seconds\":%.3f}\n"
                    : "broadcast of 64 MiB to %d: %.2f copies from the source, %.3f s\n",
            receivers, median(copies, rounds), median(seconds, rounds));
    }
}
