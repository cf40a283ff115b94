/* A link through a proxy that cuts its connections again and again: nothing is lost, nothing comes twice, the order is kept, in both directions. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include "scheduler/base/rng.h"
#include "test/support/link_end.h"

enum { CONNECTIONS = 8, CUT_FROM_MS = 20, CUT_TO_MS = 120, CHUNK = 64 << 10 };

typedef struct proxy {
    int listener, port, target_port;
    pthread_t thread;
    _Atomic int stop, cuts;
} proxy;

static int open_port(int *out_port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof a) || listen(fd, 16) || getsockname(fd, (struct sockaddr *)&a, &n)) return -1;
    *out_port = ntohs(a.sin_port);
    return fd;
}

static int dial_port(int port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&a, sizeof a) == 0) return fd;
    close(fd);
    return -1;
}

/* With a reset, so that bytes under way are lost on both sides. */
static void cut(int fd)
{
    struct linger hard = {1, 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    close(fd);
}

static bool forward(int from, int to)
{
    static char bytes[CHUNK];
    ssize_t n = recv(from, bytes, sizeof bytes, MSG_DONTWAIT);
    if (n < 0) return errno == EAGAIN;
    for (ssize_t sent = 0; sent < n;) {
        ssize_t k = send(to, bytes + sent, (size_t)(n - sent), MSG_NOSIGNAL);
        if (k < 0) return false;
        sent += k;
    }
    return n > 0;
}

static void serve(proxy *p, int client, uint64_t cut_at_ms)
{
    int server = dial_port(p->target_port);
    double end = test_now_s() + (double)cut_at_ms / 1000;
    bool ok = server >= 0;
    while (ok && test_now_s() < end && !p->stop) {
        struct pollfd fds[2] = {{client, POLLIN, 0}, {server, POLLIN, 0}};
        if (poll(fds, 2, 5) <= 0) continue;
        if (fds[0].revents) ok = forward(client, server);
        if (ok && fds[1].revents) ok = forward(server, client);
    }
    p->cuts++;
    cut(client);
    if (server >= 0) cut(server);
}

static void *run_proxy(void *argument)
{
    proxy *p = argument;
    rng r;
    rng_init(&r, test_seed());
    while (!p->stop) {
        struct pollfd fd = {p->listener, POLLIN, 0};
        if (poll(&fd, 1, 20) <= 0) continue;
        int client = accept4(p->listener, NULL, NULL, SOCK_CLOEXEC);
        if (client >= 0) serve(p, client, CUT_FROM_MS + rng_next(&r) % (CUT_TO_MS - CUT_FROM_MS));
    }
    return NULL;
}

typedef struct flood {
    link_end *end;
    uint64_t to, count;
    size_t size;
    _Atomic int failed;
} flood;

static void *send_all(void *argument)
{
    flood *f = argument;
    for (uint64_t i = 0; i < f->count && !f->failed; i++)
        if (end_send(f->end, f->to, i, f->size)) f->failed = 1;
    return NULL;
}

static void through_cuts(uint64_t count, size_t size)
{
    link_end a, b;
    proxy p = {0};
    int port = 0;
    EXPECT_EQ(end_open(&a, 1, "tcp://127.0.0.1:0"), MANTA_OK);
    EXPECT_EQ(sscanf(link_address(a.links, 0), "tcp://127.0.0.1:%d", &port), 1);
    p.target_port = port;
    EXPECT((p.listener = open_port(&p.port)) >= 0);
    EXPECT_EQ(pthread_create(&p.thread, NULL, run_proxy, &p), 0);
    char address[64];
    snprintf(address, sizeof address, "tcp://127.0.0.1:%d", p.port);
    EXPECT_EQ(end_open_with(&b, NULL, (link_options){.self = {2, 1}, .down_after_ms = 20000}), MANTA_OK);
    EXPECT_EQ(link_connect(b.links, address, 0), MANTA_OK);
    EXPECT(WAIT_FOR(a.ups == 1 && b.ups == 1, 20));
    flood there = {&b, 1, count, size, 0}, back = {&a, 2, count, size, 0};
    pthread_t threads[2];
    double start = test_now_s();
    EXPECT_EQ(pthread_create(&threads[0], NULL, send_all, &there), 0);
    EXPECT_EQ(pthread_create(&threads[1], NULL, send_all, &back), 0);
    for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
    bool all = WAIT_FOR(a.received == count && b.received == count, 60);
    double seconds = test_now_s() - start;
    link_stats s;
    link_stats_get(b.links, &s);
    printf("     %llu messages of %zu bytes each way in %.1f s, %d cuts, %llu frames again, %llu duplicates dropped\n",
        (unsigned long long)count, size, seconds, p.cuts, (unsigned long long)s.frames_resent, (unsigned long long)s.duplicates);
    if (a.downs || b.downs) fprintf(stderr, "down: %s %s\n", a.reason, b.reason);
    EXPECT(all && !there.failed && !back.failed);
    EXPECT(!a.wrong && !b.wrong && a.ups == 1 && b.ups == 1 && !a.downs && !b.downs);
    p.stop = 1;
    pthread_join(p.thread, NULL);
    close(p.listener);
    link_close(b.links, 0);
    link_close(a.links, 0);
}

/* Ten million small messages in all (MANTA_LINK_MESSAGES: another number each way). */
TEST(small_messages)
{
    const char *given = getenv("MANTA_LINK_MESSAGES");
    through_cuts(given ? strtoull(given, NULL, 0) : (uint64_t)test_scaled(5000000), 16);
}

/* Messages of 100 kB. */
TEST(large_messages) { through_cuts((uint64_t)test_scaled(3000), 100000); }
