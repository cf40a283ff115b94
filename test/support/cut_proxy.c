#include "test/support/cut_proxy.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "scheduler/base/rng.h"
#include "test/support/test.h"

enum { CHUNK = 64 << 10 };

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

/* The other side has closed: what came before that arrives, as it would without us. */
static void drain(int fd)
{
    char bytes[4096];
    struct pollfd p = {fd, POLLIN, 0};
    shutdown(fd, SHUT_WR);
    for (int i = 0; i < 1000 && poll(&p, 1, 20) > 0 && recv(fd, bytes, sizeof bytes, MSG_DONTWAIT) > 0; i++) continue;
    close(fd);
}

/* A full connection does not keep it from cutting. */
static bool forward(const cut_proxy *p, int from, int to, bool *out_closed)
{
    static _Thread_local char bytes[CHUNK];
    ssize_t n = recv(from, bytes, sizeof bytes, MSG_DONTWAIT);
    *out_closed = n == 0;
    if (n < 0) return errno == EAGAIN;
    for (ssize_t sent = 0; sent < n;) {
        ssize_t k = send(to, bytes + sent, (size_t)(n - sent), MSG_NOSIGNAL);
        if (k < 0 && (errno != EAGAIN || p->cut_now || p->stop)) return false;
        if (k > 0) sent += k;
    }
    return n > 0;
}

static void serve(cut_proxy *p, int client, double end)
{
    int server = dial_port(p->target_port);
    struct timeval patience = {.tv_usec = 20000};
    bool closed = false, ok = server >= 0 && !setsockopt(client, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience) &&
                              !setsockopt(server, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    p->cut_now = 0;
    while (ok && test_now_s() < end && !p->stop && !p->cut_now) {
        struct pollfd fds[2] = {{client, POLLIN, 0}, {server, POLLIN, 0}};
        if (poll(fds, p->is_blocked ? 0 : 2, 5) <= 0) continue;
        if (fds[0].revents) ok = forward(p, client, server, &closed);
        if (ok && fds[1].revents) ok = forward(p, server, client, &closed);
    }
    p->cuts++;
    void (*finish)(int fd) = closed ? drain : cut;
    if (server >= 0) finish(server);
    finish(client);
}

static void *run(void *argument)
{
    cut_proxy *p = argument;
    rng r;
    rng_init(&r, test_seed());
    while (!p->stop) {
        struct pollfd fd = {p->listener, POLLIN, 0};
        if (p->is_blocked || poll(&fd, 1, 20) <= 0) {
            if (p->is_blocked) poll(NULL, 0, 5);
            continue;
        }
        int client = accept4(p->listener, NULL, NULL, SOCK_CLOEXEC);
        uint64_t ms = p->cut_to_ms ? (uint64_t)p->cut_from_ms + rng_below(&r, (uint64_t)(p->cut_to_ms - p->cut_from_ms)) : 1000000;
        if (client >= 0) serve(p, client, test_now_s() + (double)ms / 1000);
    }
    return NULL;
}

bool cut_proxy_start(cut_proxy *p, const char *target, int cut_from_ms, int cut_to_ms)
{
    memset(p, 0, sizeof *p);
    p->cut_from_ms = cut_from_ms;
    p->cut_to_ms = cut_to_ms;
    if (sscanf(target, "tcp://127.0.0.1:%d", &p->target_port) != 1 || (p->listener = open_port(&p->port)) < 0) return false;
    snprintf(p->address, sizeof p->address, "tcp://127.0.0.1:%d", p->port);
    return pthread_create(&p->thread, NULL, run, p) == 0;
}

void cut_proxy_stop(cut_proxy *p)
{
    p->stop = 1;
    pthread_join(p->thread, NULL);
    close(p->listener);
}
