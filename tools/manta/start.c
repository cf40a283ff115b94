/*
 * manta start: the node daemon. In the background it tells the command that started it whether it came up, by a pipe.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "actor/node/leases.h"
#include "actor/node/membership.h"
#include "actor/object/object_ops.h"
#include "tools/manta/manta.h"

typedef struct start_options {
    bool is_head, insecure, foreground;
    const char *head, *listen, *directory, *keys, *state, *store_bytes, *spill, *resources, *labels;
    uint32_t cores, voters, fence_ms, idle_ms;
} start_options;

static const struct number_option {
    const char *name;
    size_t offset;
    uint32_t least, most;
} number_options[] = {{"--cores", offsetof(start_options, cores), 1, 1024}, {"--voters", offsetof(start_options, voters), 1, 5},
    {"--fence-ms", offsetof(start_options, fence_ms), 1000, 3600000}, {"--idle-ms", offsetof(start_options, idle_ms), 1, 86400000}};

static const struct number_option *number_option_of(const char *argument)
{
    for (size_t i = 0; i < sizeof number_options / sizeof *number_options; i++)
        if (strcmp(argument, number_options[i].name) == 0) return &number_options[i];
    return NULL;
}

static const char **text_option_of(start_options *o, const char *argument)
{
    static const struct {
        const char *name;
        size_t offset;
    } options[] = {{"--address", offsetof(start_options, head)}, {"--listen", offsetof(start_options, listen)},
        {"--directory", offsetof(start_options, directory)}, {"--keys", offsetof(start_options, keys)},
        {"--state", offsetof(start_options, state)}, {"--store-bytes", offsetof(start_options, store_bytes)},
        {"--spill", offsetof(start_options, spill)}, {"--resources", offsetof(start_options, resources)},
        {"--labels", offsetof(start_options, labels)}};
    for (size_t i = 0; i < sizeof options / sizeof *options; i++)
        if (strcmp(argument, options[i].name) == 0) return (const char **)(void *)((char *)o + options[i].offset);
    return NULL;
}

static bool take_number(start_options *o, const struct number_option *n, const char *text)
{
    char *end;
    unsigned long value = strtoul(text, &end, 10);
    if (*end || end == text || value < n->least || value > n->most) {
        fprintf(stderr, "manta: %s is a number from %u to %u, got %s; manta --help tells more\n", n->name, n->least, n->most, text);
        return false;
    }
    *(uint32_t *)(void *)((char *)o + n->offset) = (uint32_t)value;
    return true;
}

static int parse(int argc, char **argv, start_options *o)
{
    for (int i = 0; i < argc; i++) {
        const char **text = text_option_of(o, argv[i]);
        const struct number_option *number = number_option_of(argv[i]);
        if ((text || number) && i + 1 == argc) return wrong_usage("%s wants a value", argv[i]);
        if (text) *text = argv[++i];
        else if (number && !take_number(o, number, argv[++i])) return 2;
        else if (number) continue;
        else if (strcmp(argv[i], "--head") == 0) o->is_head = true;
        else if (strcmp(argv[i], "--insecure") == 0) o->insecure = true;
        else if (strcmp(argv[i], "--foreground") == 0) o->foreground = true;
        else return wrong_usage("start does not know %s", argv[i]);
    }
    char *end = NULL;
    if (o->store_bytes && (strtoull(o->store_bytes, &end, 0), *end || !*o->store_bytes || *o->store_bytes == '-'))
        return wrong_usage("--store-bytes is a number, got %s", o->store_bytes);
    if (o->is_head == (o->head != NULL)) return wrong_usage("%s", "start wants --head or --address");
    if (o->voters % 2 == 0 && o->voters) return wrong_usage("--voters is 1, 3 or 5%s", "");
    return 0;
}

/* Where the result goes: to the pipe's other end, or to the terminal. */
static void report(int fd, bool ok, const char *text)
{
    char line[600];
    int n = snprintf(line, sizeof line, "%c%s\n", ok ? '+' : '-', text);
    if (fd >= 0) {
        if (write(fd, line, (size_t)n) != n) _exit(1);
        close(fd);
    } else fputs(line + 1, ok ? stdout : stderr);
    fflush(NULL);
}

/* The node's store, which its workers find by MANTA_STORE. 0: none, objects are then in the process that made them. */
static uint64_t prepare_store(const start_options *o, char *path, size_t room)
{
    uint64_t bytes = o->store_bytes ? strtoull(o->store_bytes, NULL, 0) : node_store_bytes();
    node_stores_clean();
    if (!bytes || getenv("MANTA_STORE")) return 0;
    node_store_path((int)getpid(), path, room);
    setenv("MANTA_STORE", path, 1);
    object_store_is_daemons = true;
    return bytes;
}

static raylet_options node_options(const start_options *o)
{
    static char programs[400], state[400];
    const char *directory = manta_directory() ? manta_directory() : "/tmp";
    snprintf(programs, sizeof programs, "%s/programs", directory);
    snprintf(state, sizeof state, "%s/state-%d", directory, (int)getpid());
    return (raylet_options){.head = o->head,
        .directory = o->directory ? o->directory : programs,
        .state = o->state ? o->state : state,
        .voters = o->voters ? o->voters : 3,
        .fence_ms = o->fence_ms,
        .cores = o->cores ? o->cores : (uint32_t)os_usable_cores(),
        .resources = o->resources,
        .labels = o->labels,
        .idle_ms = o->idle_ms ? o->idle_ms : WORKER_IDLE_MS};
}

static int serve(const start_options *o, int fd)
{
    char store[64];
    sigset_t ends;
    int number;
    sigemptyset(&ends);
    sigaddset(&ends, SIGINT);
    sigaddset(&ends, SIGTERM);
    sigprocmask(SIG_BLOCK, &ends, NULL);
    if (o->keys) setenv("MANTA_KEYS", o->keys, 1); /* for the workers too */
    if (o->insecure) setenv("MANTA_INSECURE", "1", 1);
    uint64_t store_bytes = prepare_store(o, store, sizeof store);
    manta_t *m = manta_init_with(&(manta_config){.size = sizeof(manta_config),
        .workers = 1,
        .listen = o->listen,
        .insecure = o->insecure,
        .object_bytes = store_bytes,
        .spill = o->spill});
    manta_actor raylet;
    raylet_options r = node_options(o);
    manta_status status = m ? raylet_start(&r, &raylet) : MANTA_EINIT;
    if (status) {
        report(fd, false, m ? manta_last_error()->message : runtime_start_failure());
        _exit(1);
    }
    (void)daemon_note(manta_listen_address(0));
    report(fd, true, manta_listen_address(0));
    while (sigwait(&ends, &number)) continue;
    daemon_forget();
    membership_leave();
    children_stop();
    return manta_shutdown(m) == MANTA_OK ? 0 : 1;
}

/* Standard output and error go to a log beside the daemon's file. */
static void detach(void)
{
    char log[300];
    setsid();
    snprintf(log, sizeof log, "%s/daemon-%d.log", manta_directory(), (int)getpid());
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC), out = open(log, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (null >= 0) dup2(null, 0);
    if (out >= 0) {
        dup2(out, 1);
        dup2(out, 2);
    }
}

int command_start(int argc, char **argv)
{
    start_options o = {.listen = "tcp://127.0.0.1:0"};
    int status = parse(argc, argv, &o), ends[2];
    char line[600] = "";
    if (status) return status;
    if (!manta_directory()) return fprintf(stderr, "manta start: /tmp/manta-%d cannot be used\n", (int)getuid()), 1;
    if (o.foreground) return serve(&o, -1);
    if (pipe2(ends, O_CLOEXEC)) return fprintf(stderr, "manta start: %s\n", strerror(errno)), 1;
    pid_t pid = fork();
    if (pid == 0) {
        close(ends[0]);
        detach();
        _exit(serve(&o, ends[1]));
    }
    close(ends[1]);
    ssize_t n = 0, got;
    while (pid > 0 && n < (ssize_t)sizeof line - 1 && (got = read(ends[0], line + n, sizeof line - 1 - (size_t)n)) > 0) n += got;
    if (line[0] == '+') {
        printf("node daemon %d listens at %s", (int)pid, line + 1);
        return 0;
    }
    fprintf(stderr, "manta start: %s", line[0] ? line + 1 : "the daemon does not start; its log may tell why\n");
    return 1;
}
