/*
 * Two processes: messages and calls between actors, or the same with plain ZeroMQ (DEALER to ROUTER, one message a frame), or with a plain socket (a stream in writes of 64 KiB; one write and
 * one read a round trip). Measures one of them once, and prints a line of JSON; tools/bench runs them in turns.
 *
 *     manta_cluster_bench manta|zeromq|socket ipc|tcp [MESSAGES [ROUND-TRIPS]]
 *     manta_cluster_bench --objects [--rounds N] [--json]                            (objects.c)
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <zmq.h>

#include <manta/manta.h>

#include "tools/benchmarks/cluster/cluster_bench.h"

enum { TRIPS_MAX = 100000, PIECE = 64 << 10 };

double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* ---- the other process ---- */

MANTA_ACTOR(Sink, int64_t count;)
MANTA_METHOD(Sink, take, void, (int64_t, n)) { self->count += n >= 0; }
MANTA_METHOD(Sink, take_bytes, void, (manta_bytes, data)) { self->count += data.size > 0; }
MANTA_METHOD(Sink, echo, int64_t, (int64_t, n)) { return self->count = 0, n; }
MANTA_METHOD(Sink, seen, int64_t) { return self->count; }
MANTA_CLASS(Sink, take, take_bytes, echo, seen)

static void serve_manta(const char *address)
{
    manta_t *m = manta_init_with(&(manta_config){.size = sizeof(manta_config), .workers = 1, .listen = address});
    char byte, text[ADDRESS] = "";
    if (!m || manta_register("sink", Sink_spawn().actor)) _exit(1);
    snprintf(text, sizeof text, "%s", manta_listen_address(0));
    if (write(PARENT, text, sizeof text) != sizeof text) _exit(1);
    while (read(PARENT, &byte, 1) == 1) continue;
    _exit(0);
}

/* Counts messages up to one of 1 byte, which it answers; echoes those of 9 bytes. */
static void serve_zmq(const char *address)
{
    void *zmq = zmq_ctx_new(), *router = zmq_socket(zmq, ZMQ_ROUTER);
    char text[ADDRESS] = "";
    size_t n = sizeof text;
    int none = 0;
    zmq_setsockopt(router, ZMQ_RCVHWM, &none, sizeof none);
    if (zmq_bind(router, address) || zmq_getsockopt(router, ZMQ_LAST_ENDPOINT, text, &n) || write(PARENT, text, sizeof text) != sizeof text)
        _exit(1);
    for (;;) {
        char id[16];
        zmq_msg_t m;
        int id_bytes = zmq_recv(router, id, sizeof id, 0);
        zmq_msg_init(&m);
        int got = zmq_msg_recv(&m, router, 0);
        if (got == 1 || got == 9) {
            zmq_send(router, id, (size_t)id_bytes, ZMQ_SNDMORE);
            zmq_msg_send(&m, router, 0);
        } else zmq_msg_close(&m);
    }
}

static bool read_all(int fd, void *data, size_t bytes)
{
    for (size_t at = 0; at < bytes;) {
        ssize_t n = read(fd, (char *)data + at, bytes - at);
        if (n <= 0) return false;
        at += (size_t)n;
    }
    return true;
}

/* A number of bytes to take, which are answered by one byte; 0: from now on everything is echoed. */
static void swallow_and_echo(int fd)
{
    static char bytes[PIECE];
    for (uint64_t left; read_all(fd, &left, sizeof left) && left;) {
        while (left) {
            ssize_t n = read(fd, bytes, left < PIECE ? left : PIECE);
            if (n <= 0) _exit(1);
            left -= (uint64_t)n;
        }
        if (write(fd, bytes, 1) != 1) _exit(1);
    }
    for (ssize_t n; (n = read(fd, bytes, sizeof bytes)) > 0;)
        if (write(fd, bytes, (size_t)n) != n) break;
}

static void serve_socket(const char *address)
{
    bool tcp = strncmp(address, "tcp", 3) == 0;
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    int fd = socket(tcp ? AF_INET : AF_UNIX, SOCK_STREAM, 0), on = 1;
    char text[ADDRESS] = "";
    snprintf(un.sun_path, sizeof un.sun_path, "%s", address + 6);
    socklen_t size = sizeof in;
    if (bind(fd, tcp ? (struct sockaddr *)&in : (struct sockaddr *)&un, tcp ? sizeof in : sizeof un) || listen(fd, 1)) _exit(1);
    if (tcp && getsockname(fd, (struct sockaddr *)&in, &size)) _exit(1);
    snprintf(text, sizeof text, "%d", tcp ? ntohs(in.sin_port) : 0);
    if (write(PARENT, text, sizeof text) != sizeof text) _exit(1);
    int peer = accept(fd, NULL, NULL);
    setsockopt(peer, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    swallow_and_echo(peer);
    _exit(0);
}

other start_other(const char *role, const char *address)
{
    other o = {0};
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends)) exit(1);
    if ((o.pid = fork()) == 0) {
        dup2(ends[1], PARENT);
        execl("/proc/self/exe", "bench", "--role", role, address, (char *)NULL);
        _exit(1);
    }
    close(ends[1]);
    o.fd = ends[0];
    if (read(o.fd, o.address, sizeof o.address) != sizeof o.address) {
        fprintf(stderr, "the %s process does not start\n", role);
        exit(1);
    }
    return o;
}

void stop_other(other *o)
{
    close(o->fd);
    kill(o->pid, SIGKILL);
    while (waitpid(o->pid, NULL, 0) < 0) continue;
}

/* ---- measuring ---- */

typedef struct result {
    double per_s[3]; /* 8 B, 64 B, 1 KiB, one way */
    double p50_us, p99_us;
} result;

static const size_t sizes[3] = {8, 64, 1024};
static uint64_t messages = 1000000, trips = 5000;

int bench_by_value(const void *a, const void *b)
{
    return *(const double *)a < *(const double *)b ? -1 : *(const double *)a > *(const double *)b;
}

static void percentiles(double *times, uint64_t n, result *out)
{
    qsort(times, n, sizeof *times, bench_by_value);
    out->p50_us = times[n / 2] * 1e6;
    out->p99_us = times[n * 99 / 100] * 1e6;
}

static result measure_manta(const char *address)
{
    static double times[TRIPS_MAX];
    static unsigned char data[1024];
    result r = {{0}, 0, 0};
    other o = start_other("manta", address);
    manta_t *m = manta_init_with(&(manta_config){.size = sizeof(manta_config), .workers = 1, .join = o.address});
    manta_process_info there;
    size_t n;
    Sink_ref sink;
    if (!m || manta_list_processes(&there, 1, &n) || manta_lookup_in(there.process, "sink", &sink.actor)) exit(1);
    for (int s = 0; s < 3; s++) {
        uint64_t count = sizes[s] < 1000 ? messages : messages / 8;
        double start = now_s();
        for (uint64_t i = 0; i < count; i++)
            if (sizes[s] == 8 ? Sink_take_send(sink, (int64_t)i << 32) : Sink_take_bytes_send(sink, (manta_bytes){data, sizes[s]})) exit(1);
        if (manta_await(Sink_seen(sink)) != (int64_t)count) fprintf(stderr, "messages are missing\n");
        r.per_s[s] = (double)count / (now_s() - start);
        (void)manta_await(Sink_echo(sink, 0));
    }
    for (uint64_t i = 0; i < trips; i++) {
        double start = now_s();
        (void)manta_await(Sink_echo(sink, (int64_t)i));
        times[i] = now_s() - start;
    }
    percentiles(times, trips, &r);
    (void)manta_shutdown(m);
    stop_other(&o);
    return r;
}

static result measure_zmq(const char *address)
{
    static double times[TRIPS_MAX];
    static unsigned char data[1024];
    char byte;
    int none = 0;
    result r = {{0}, 0, 0};
    other o = start_other("zmq", address);
    void *zmq = zmq_ctx_new(), *dealer = zmq_socket(zmq, ZMQ_DEALER);
    zmq_setsockopt(dealer, ZMQ_SNDHWM, &none, sizeof none);
    zmq_setsockopt(dealer, ZMQ_LINGER, &none, sizeof none);
    if (zmq_connect(dealer, o.address)) exit(1);
    for (int s = 0; s < 3; s++) {
        uint64_t count = sizes[s] < 1000 ? messages : messages / 8;
        double start = now_s();
        for (uint64_t i = 0; i < count; i++) zmq_send(dealer, data, sizes[s], 0);
        zmq_send(dealer, "", 1, 0);
        zmq_recv(dealer, &byte, 1, 0);
        r.per_s[s] = (double)count / (now_s() - start);
    }
    for (uint64_t i = 0; i < trips; i++) {
        double start = now_s();
        zmq_send(dealer, data, 9, 0);
        zmq_recv(dealer, data, sizeof data, 0);
        times[i] = now_s() - start;
    }
    percentiles(times, trips, &r);
    zmq_close(dealer);
    zmq_ctx_term(zmq);
    stop_other(&o);
    return r;
}

/* Bytes per second. */
static double stream(int fd, uint64_t bytes)
{
    static char piece[PIECE];
    uint64_t total = bytes = (bytes + PIECE - 1) / PIECE * PIECE;
    double start = now_s();
    if (write(fd, &total, sizeof total) != sizeof total) exit(1);
    for (ssize_t n; bytes; bytes -= (uint64_t)n)
        if ((n = write(fd, piece, bytes < PIECE ? bytes : PIECE)) <= 0) exit(1);
    if (!read_all(fd, piece, 1)) exit(1);
    return (double)total / (now_s() - start);
}

static result measure_socket(const char *address)
{
    static double times[TRIPS_MAX];
    char data[16] = "";
    result r = {{0}, 0, 0};
    other o = start_other("socket", address);
    bool tcp = strncmp(address, "tcp", 3) == 0;
    struct sockaddr_in in = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(o.address)), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    snprintf(un.sun_path, sizeof un.sun_path, "%s", address + 6);
    int fd = socket(tcp ? AF_INET : AF_UNIX, SOCK_STREAM, 0), on = 1;
    if (connect(fd, tcp ? (struct sockaddr *)&in : (struct sockaddr *)&un, tcp ? sizeof in : sizeof un)) exit(1);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    for (int s = 0; s < 3; s++) r.per_s[s] = stream(fd, messages * 8 * 4) / (double)sizes[s];
    if (write(fd, data, 8) != 8) exit(1);
    for (uint64_t i = 0; i < trips; i++) {
        double start = now_s();
        if (write(fd, data, 8) != 8 || read(fd, data, 8) != 8) exit(1);
        times[i] = now_s() - start;
    }
    percentiles(times, trips, &r);
    close(fd);
    stop_other(&o);
    if (!tcp) unlink(address + 6);
    return r;
}

typedef result (*measure)(const char *address);
static const struct {
    const char *name;
    measure run;
} targets[] = {{"manta", measure_manta}, {"zeromq", measure_zmq}, {"socket", measure_socket}};

static int measure_one(const char *target, const char *transport)
{
    char address[ADDRESS];
    bool is_tcp = strcmp(transport, "tcp") == 0;
    if (is_tcp) snprintf(address, sizeof address, "tcp://127.0.0.1:*");
    else snprintf(address, sizeof address, "ipc:///tmp/manta-bench-%d", (int)getpid());
    for (size_t t = 0; t < sizeof targets / sizeof *targets; t++) {
        if (strcmp(target, targets[t].name) != 0) continue;
        result r = targets[t].run(address);
        printf("{\"per_s_8\":%.0f,\"per_s_64\":%.0f,\"per_s_1024\":%.0f,\"p50_us\":%.2f,\"p99_us\":%.2f}\n", r.per_s[0], r.per_s[1],
            r.per_s[2], r.p50_us, r.p99_us);
        return 0;
    }
    return fprintf(stderr, "manta_cluster_bench: there is no target %s\n", target), 2;
}

static int measure_objects_of(int argc, char **argv)
{
    int rounds = 5;
    bool json = false, ok = true;
    for (int i = 2; i < argc; i++) {
        if (strcmp(argv[i], "--json") == 0) json = true;
        else if (strcmp(argv[i], "--rounds") == 0 && i + 1 < argc) rounds = atoi(argv[++i]);
        else ok = false;
    }
    if (!ok || rounds < 1 || rounds > ROUNDS_MAX)
        return fprintf(stderr, "usage: manta_cluster_bench --objects [--rounds 1 to %d] [--json]\n", ROUNDS_MAX), 2;
    run_objects(rounds, json);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 4 && strcmp(argv[1], "--role") == 0) {
        if (strcmp(argv[2], "manta") == 0) serve_manta(argv[3]);
        if (strcmp(argv[2], "zmq") == 0) serve_zmq(argv[3]);
        if (strcmp(argv[2], "objects") == 0) serve_objects(argv[3]);
        if (strcmp(argv[2], "stream") == 0) serve_stream(argv[3]);
        serve_socket(argv[3]);
    }
    if (argc > 1 && strcmp(argv[1], "--objects") == 0) return measure_objects_of(argc, argv);
    if (argc > 3) messages = strtoull(argv[3], NULL, 0);
    if (argc > 4) trips = strtoull(argv[4], NULL, 0);
    if (argc < 3 || argc > 5 || trips < 100 || trips > TRIPS_MAX || messages < 1000)
        return fprintf(stderr, "usage: manta_cluster_bench manta|zeromq|socket ipc|tcp [MESSAGES [ROUND-TRIPS]]\n"), 2;
    return measure_one(argv[1], argv[2]);
}
