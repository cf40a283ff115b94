/*
 * Inside somebody else's event loop: the program's own epoll loop waits for timers, sockets, and Manta's answers alike.
 *
 * manta_future_eventfd adds 1 to an eventfd when the future is complete. The loop sees the descriptor as readable, asks manta_future_is_ready which of its futures
 * it was, and manta_get does not wait any more. Nothing of Manta runs on the loop's thread.
 */
#include <inttypes.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <manta/manta.h>

enum { REQUESTS = 4, TICKS = 3 };

/* Work of different length: what is asked last is ready first. */
MANTA_TASK(slow_square, int64_t, (int64_t, x), (int64_t, milliseconds))
{
    manta_sleep((uint64_t)milliseconds);
    return x * x;
}

typedef struct program {
    int epoll, timer, event, ticks, answers;
    manta_int64_t_future request[REQUESTS];
    int64_t result[REQUESTS];
    bool is_done[REQUESTS];
} program;

static bool watch(program *p, int fd)
{
    struct epoll_event e = {.events = EPOLLIN, .data.fd = fd};
    return fd >= 0 && epoll_ctl(p->epoll, EPOLL_CTL_ADD, fd, &e) == 0;
}

static void take_answers(program *p)
{
    for (int i = 0; i < REQUESTS; i++) {
        if (p->is_done[i] || !manta_future_is_ready(p->request[i].future)) continue;
        p->is_done[i] = true;
        p->answers += manta_get(p->request[i], &p->result[i]) == MANTA_OK;
    }
}

static void loop(program *p)
{
    while (p->answers < REQUESTS || p->ticks < TICKS) {
        struct epoll_event e;
        uint64_t count;
        if (epoll_wait(p->epoll, &e, 1, -1) != 1 || read(e.data.fd, &count, sizeof count) != sizeof count) continue;
        if (e.data.fd == p->timer) p->ticks += (int)count;
        else take_answers(p);
    }
}

int main(int argc, char **argv)
{
    manta_t *m = manta_init(&argc, &argv);
    if (!m) return 1;
    program p = {
        .epoll = epoll_create1(EPOLL_CLOEXEC), .timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC), .event = eventfd(0, EFD_CLOEXEC)};
    struct itimerspec each_5_ms = {{0, 5000000}, {0, 5000000}};
    if (!watch(&p, p.timer) || !watch(&p, p.event) || timerfd_settime(p.timer, 0, &each_5_ms, NULL) != 0) return 1;

    for (int i = 0; i < REQUESTS; i++) {
        p.request[i] = slow_square_submit(i + 1, 10 * (REQUESTS - i));
        if (manta_future_eventfd(p.request[i].future, p.event) != MANTA_OK) return 1;
    }
    loop(&p);
    for (int i = 0; i < REQUESTS; i++) printf("%" PRId64 "\n", p.result[i]);
    printf("the loop's own timer ran: %s\n", p.ticks >= TICKS ? "yes" : "no");
    close(p.event);
    close(p.timer);
    close(p.epoll);
    return manta_shutdown(m) == MANTA_OK ? 0 : 1;
}
