/*
 * A second process for a test: the test's own program, started again in a role. CHILD(name) { body } defines one; child_start(name, argument) runs it with `argument` and a
 * socket to the parent. Bodies end the process with _exit, or the parent kills it.
 */
#ifndef MANTA_TEST_CHILD_H
#define MANTA_TEST_CHILD_H

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test/support/test.h"

typedef struct child_process {
    pid_t pid;
    int fd;
} child_process;

#define CHILD(name_) \
    static void child_##name_(const char *argument, int parent); \
    static test_role role_##name_ = {#name_, child_##name_, NULL}; \
    __attribute__((constructor)) static void register_role_##name_(void) { test_register_role(&role_##name_); } \
    static void child_##name_(const char *argument, int parent)

static inline child_process child_start(const char *role, const char *argument)
{
    child_process c = {0, -1};
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends)) return c;
    c.pid = fork();
    if (c.pid == 0) {
        dup2(ends[1], TEST_CHILD_FD);
        setenv("MANTA_TEST_ROLE", role, 1);
        setenv("MANTA_TEST_ARGUMENT", argument, 1);
        execl("/proc/self/exe", role, (char *)NULL);
        _exit(126);
    }
    close(ends[1]);
    c.fd = ends[0];
    return c;
}

/* The wait status; after a kill by `number` when it is not 0. */
static inline int child_end(child_process *c, int number)
{
    int status = 0;
    if (number) kill(c->pid, number);
    while (waitpid(c->pid, &status, 0) < 0 && errno == EINTR) continue;
    close(c->fd);
    return status;
}

/* A byte as a sign, both ways; false: the other side has gone, or 20 s have passed. */
static inline bool child_say(int fd) { return send(fd, "", 1, MSG_NOSIGNAL) == 1; }
static inline bool child_hear(int fd, void *out, size_t size)
{
    struct timeval limit = {.tv_sec = 20};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    return recv(fd, out, size, MSG_WAITALL) == (ssize_t)size;
}

#endif
