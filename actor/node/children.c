/*
 * Worker processes of a daemon: started by posix_spawn with pipes for what they say; one thread reads all pipes, line by line, and collects the dead.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "actor/node/crash.h"
#include "actor/node/leases.h"
#include "actor/node/memory.h"
#include "actor/node/program.h"
#include "actor/node/simulation.h"

enum { LINE_BYTES = 8192, ENVIRONMENT = 4096 };

typedef struct child {
    uint32_t pid;
    int fds[2];   /* stdout, stderr; -1: closed */
    int last_fd;  /* what it writes when it dies */
    bool is_gone; /* collected */
    char why[160];
    size_t held[2];
    char text[2][LINE_BYTES];
} child;

static struct {
    manta_actor leases;
    pthread_t thread;
    pthread_mutex_t lock; /* children, count */
    child *children[WORKERS_LIMIT];
    int count, wake_fd;
    _Atomic bool stop, is_on;
} all = {.lock = PTHREAD_MUTEX_INITIALIZER, .wake_fd = -1};

/* ---- starting one ---- */

extern char **environ;

/* The daemon's environment, with the worker's settings instead of those that make a driver. */
static char **make_environment(char *own, size_t room, const char *raylet_address, uint64_t job, const char *extra)
{
    static const char *const dropped[] = {"MANTA_CLUSTER=", "MANTA_WORKER=", "MANTA_LISTEN=", "MANTA_JOIN=", "MANTA_MODULE=",
        "MANTA_WORKERS=", "CUDA_VISIBLE_DEVICES=", "MANTA_WORKER_CRASH="};
    static const char no_gpus[] = "CUDA_VISIBLE_DEVICES=",
                      one_thread[] = "MANTA_WORKERS=1"; /* tasks interleave at waits, so a cpu is used once */
    static const char last_words[] = "MANTA_WORKER_CRASH=3";
    char **out = base_calloc(ENVIRONMENT + 5, sizeof *out);
    int n = 0;
    snprintf(own, room, "MANTA_WORKER=%s %llx", raylet_address, (unsigned long long)job);
    for (char **e = environ; out && *e && n < ENVIRONMENT; e++) {
        bool drop = false;
        for (size_t i = 0; i < sizeof dropped / sizeof *dropped; i++) drop |= strncmp(*e, dropped[i], strlen(dropped[i])) == 0;
        if (!drop) out[n++] = *e;
    }
    if (!out) return NULL;
    out[n++] = own;
    out[n++] = (char *)(uintptr_t)one_thread;
    out[n++] = (char *)(uintptr_t)last_words;
    out[n] = (char *)(uintptr_t)(extra ? extra : no_gpus);
    return out;
}

/* A module is loaded by this program, the command `manta`. */
static int spawn(const char *program, const char *name, char **environment, const int ends[5], pid_t *out_pid)
{
    posix_spawn_file_actions_t actions;
    bool is_module = program_is_module(program);
    char *arguments[] = {(char *)(uintptr_t)name, is_module ? (char *)(uintptr_t) "module" : NULL, (char *)(uintptr_t)program, NULL};
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, ends[1], 1);
    posix_spawn_file_actions_adddup2(&actions, ends[3], 2);
    posix_spawn_file_actions_adddup2(&actions, ends[4], CRASH_FD); /* also when it is that one: it is open in the child then */
    int error = posix_spawn(out_pid, is_module ? "/proc/self/exe" : program, &actions, NULL, arguments, environment);
    posix_spawn_file_actions_destroy(&actions);
    return error;
}

static bool add(child *c)
{
    pthread_mutex_lock(&all.lock);
    bool ok = all.count < WORKERS_LIMIT;
    if (ok) all.children[all.count++] = c;
    pthread_mutex_unlock(&all.lock);
    (void)eventfd_write(all.wake_fd, 1);
    return ok;
}

/* Pipes for what it says, a file for its last words. An errno value. */
static int open_ends(int ends[5])
{
    if (pipe2(ends, O_CLOEXEC) || pipe2(ends + 2, O_CLOEXEC)) return errno;
    ends[4] = memfd_create("manta-last-words", MFD_CLOEXEC);
    return ends[4] < 0 ? errno : 0;
}

static void close_ends(const int ends[5], bool failed)
{
    for (int i = 0; i < 5; i++)
        if (ends[i] >= 0 && (failed || i == 1 || i == 3)) close(ends[i]);
}

manta_status child_run(
    const char *program, const char *name, uint64_t job, const char *raylet_address, const char *extra, uint32_t *out_pid)
{
    if (the_simulation.net) return the_simulation.run(the_simulation.context, job, raylet_address, out_pid);
    char own[MANTA_ADDRESS_BYTES + 64];
    int ends[5] = {-1, -1, -1, -1, -1};
    pid_t pid = 0;
    child *c = base_calloc(1, sizeof *c);
    char **environment = make_environment(own, sizeof own, raylet_address, job, extra);
    int error = c && environment ? open_ends(ends) : ENOMEM;
    if (!error) error = spawn(program, name, environment, ends, &pid);
    base_free(environment);
    close_ends(ends, error != 0);
    if (error) {
        base_free(c);
        return error_set(error == ENOMEM ? MANTA_ENOMEM : MANTA_EIO, "%s: cannot be started: %s", name, strerror(error));
    }
    *c = (child){.pid = (uint32_t)pid, .fds = {ends[0], ends[2]}, .last_fd = ends[4]};
    for (int i = 0; i < 2; i++) (void)fcntl(c->fds[i], F_SETFL, O_NONBLOCK);
    *out_pid = c->pid;
    if (!add(c)) (void)kill(pid, SIGKILL);
    return MANTA_OK;
}

/* A worker is collected by the thread only, and taken out of the list after that, so the number of one in the list is still its. */
void child_kill(uint32_t pid, const char *why)
{
    if (the_simulation.net) the_simulation.kill(the_simulation.context, pid, why);
    pthread_mutex_lock(&all.lock);
    for (int i = 0; i < all.count; i++) {
        if (all.children[i]->pid != pid || all.children[i]->is_gone) continue;
        if (!all.children[i]->why[0]) snprintf(all.children[i]->why, sizeof all.children[i]->why, "%s", why);
        (void)kill((pid_t)pid, SIGKILL);
    }
    pthread_mutex_unlock(&all.lock);
}

void child_died(uint32_t pid, const char *why)
{
    crash end = {.pid = pid, .signal = SIGKILL, .ended_ms = os_realtime_ns() / OS_NS_PER_MS};
    snprintf(end.reason, sizeof end.reason, "%s", why);
    crashes_candidate(&end);
    (void)MantaLeases_ended_send(MantaLeases_ref_of(all.leases), pid, 0, 0, manta_str_of(""));
}

/* ---- the thread ---- */

static void say(const child *c, int stream, const char *text, size_t bytes)
{
    if (bytes) (void)MantaLeases_said_send(MantaLeases_ref_of(all.leases), c->pid, stream == 1, (manta_str){text, bytes});
}

/* Whole lines go on; a line that is longer than the buffer goes in pieces. */
static void pass_on(child *c, int stream, bool is_last)
{
    char *text = c->text[stream], *end = memrchr(text, '\n', c->held[stream]);
    size_t n = end && !is_last ? (size_t)(end + 1 - text) : is_last || c->held[stream] == LINE_BYTES ? c->held[stream] : 0;
    say(c, stream, text, n);
    memmove(text, text + n, c->held[stream] - n);
    c->held[stream] -= n;
}

static void read_some(child *c, int stream)
{
    ssize_t n = read(c->fds[stream], c->text[stream] + c->held[stream], LINE_BYTES - c->held[stream]);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (n > 0) c->held[stream] += (size_t)n;
    pass_on(c, stream, n <= 0);
    if (n > 0) return;
    close(c->fds[stream]);
    c->fds[stream] = -1;
}

/* The kernel's out-of-memory killer has been at work since the last look. */
static bool oom_killed(void)
{
    static uint64_t before;
    uint64_t now = memory_oom_kills(), since = now - before;
    before = now;
    return since != 0;
}

static void describe_end(child *c, int status, crash *out)
{
    *out = (crash){.pid = c->pid, .ended_ms = os_realtime_ns() / OS_NS_PER_MS};
    crash_read_file(c->last_fd, out);
    if (WIFSIGNALED(status)) out->signal = WTERMSIG(status) == SIGALRM && out->signal ? out->signal : WTERMSIG(status);
    else out->signal = 0, out->exit_code = WEXITSTATUS(status);
    bool oom = oom_killed();
    if (c->why[0]) snprintf(out->reason, sizeof out->reason, "%s", c->why);
    else if (oom && out->signal == SIGKILL)
        snprintf(out->reason, sizeof out->reason, "the kernel's out-of-memory killer was at work on this machine");
}

static bool collect(child *c)
{
    int status = 0;
    crash *end;
    if (c->fds[0] >= 0 || c->fds[1] >= 0) return false;
    while (waitid(P_PID, c->pid, &(siginfo_t){0}, WEXITED | WNOWAIT) < 0 && errno == EINTR) continue;
    pthread_mutex_lock(&all.lock);
    c->is_gone = true;
    pthread_mutex_unlock(&all.lock);
    while (waitpid((pid_t)c->pid, &status, 0) < 0 && errno == EINTR) continue;
    if ((end = base_alloc(sizeof *end))) {
        describe_end(c, status, end);
        crashes_candidate(end);
    }
    (void)MantaLeases_ended_send(MantaLeases_ref_of(all.leases), c->pid, 0, 0, manta_str_of(""));
    if (end) {
        crash_symbolise(end); /* nobody waits for this */
        crashes_frames(end);
    }
    base_free(end);
    close(c->last_fd);
    return true;
}

static void collect_all(void)
{
    pthread_mutex_lock(&all.lock);
    for (int i = 0; i < all.count; i++) {
        child *c = all.children[i];
        pthread_mutex_unlock(&all.lock);
        bool gone = collect(c);
        pthread_mutex_lock(&all.lock);
        if (!gone) continue;
        all.children[i--] = all.children[--all.count];
        base_free(c);
    }
    pthread_mutex_unlock(&all.lock);
}

static void *run(void *argument)
{
    static struct pollfd fds[2 * WORKERS_LIMIT + 1];
    static struct {
        child *child;
        int stream;
    } who[2 * WORKERS_LIMIT + 1];
    (void)argument;
    while (!load_seq(&all.stop)) {
        int n = 1;
        fds[0] = (struct pollfd){all.wake_fd, POLLIN, 0};
        pthread_mutex_lock(&all.lock);
        for (int i = 0; i < 2 * all.count; i++) {
            child *c = all.children[i / 2];
            if (c->fds[i % 2] < 0) continue;
            who[n].child = c;
            who[n].stream = i % 2;
            fds[n++] = (struct pollfd){c->fds[i % 2], POLLIN, 0};
        }
        pthread_mutex_unlock(&all.lock);
        if (poll(fds, (nfds_t)n, -1) < 0) continue;
        eventfd_t count;
        if (fds[0].revents) (void)eventfd_read(all.wake_fd, &count);
        for (int i = 1; i < n; i++)
            if (fds[i].revents) read_some(who[i].child, who[i].stream);
        collect_all();
    }
    return NULL;
}

manta_status children_start(manta_actor leases)
{
    all.leases = leases;
    if (the_simulation.net) return MANTA_OK;
    store_seq(&all.stop, false);
    (void)oom_killed();
    if ((all.wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) < 0 || os_thread_start(&all.thread, "manta-children", run, NULL))
        return error_set(MANTA_ENOMEM, "no thread for worker processes");
    store_seq(&all.is_on, true);
    return MANTA_OK;
}

void children_stop(void)
{
    if (!load_seq(&all.is_on)) return;
    store_seq(&all.is_on, false);
    store_seq(&all.stop, true);
    (void)eventfd_write(all.wake_fd, 1);
    pthread_join(all.thread, NULL);
    for (int i = 0; i < all.count; i++) {
        (void)kill((pid_t)all.children[i]->pid, SIGKILL);
        while (waitpid((pid_t)all.children[i]->pid, NULL, 0) < 0 && errno == EINTR) continue;
        for (int s = 0; s < 2; s++)
            if (all.children[i]->fds[s] >= 0) close(all.children[i]->fds[s]);
        close(all.children[i]->last_fd);
        base_free(all.children[i]);
    }
    all.count = 0;
    crashes_clear();
    close(all.wake_fd);
}
