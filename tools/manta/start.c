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

#include "actor/node/membership.h"
#include "actor/node/node_store.h"
#include "actor/node/raylet.h"
#include "tools/manta/manta.h"
#include "tools/manta/settings.h"

typedef struct start_options {
    bool is_head, insecure, foreground;
    const char *keys;
} start_options;

/* One flag with a value. */
static bool take_value(start_options *o, const char *flag, const char *value)
{
    if (strcmp(flag, "--config") == 0) return true; /* read already */
    if (strcmp(flag, "--keys") != 0) return node_settings_flag(flag, value);
    o->keys = value;
    return true;
}

/* Others have to reach what is announced. */
static int check_discovery(void)
{
    const char *name = node_settings_text(NODE_DISCOVER), *listen = node_settings_text(NODE_LISTEN);
    if (!*name) return 0;
    if (!discover_name_is_valid(name))
        return wrong_usage("--discover is a cluster's name, of at most 64 letters, digits, - _ and ., not \"%s\"", name);
    if (strncmp(listen, "tcp://", 6) == 0 && strncmp(listen, "tcp://127.", 10) != 0 && strncmp(listen, "tcp://localhost", 15) != 0)
        return 0;
    return wrong_usage("--discover wants --listen tcp://ADDRESS:PORT that other machines reach, not %s", listen);
}

static int parse(int argc, char **argv, start_options *o)
{
    char error[1200];
    for (int i = 0; i + 1 < argc; i++)
        if (strcmp(argv[i], "--config") == 0) setenv("MANTA_CONFIG", argv[i + 1], 1);
    if (!node_settings_prepare(error, sizeof error)) return fprintf(stderr, "manta start: %s\n", error), 2;
    for (int i = 0; i < argc; i++) {
        if (strcmp(argv[i], "--head") == 0) o->is_head = true;
        else if (strcmp(argv[i], "--insecure") == 0) o->insecure = true;
        else if (strcmp(argv[i], "--foreground") == 0) o->foreground = true;
        else if (!take_value(o, argv[i], i + 1 < argc ? argv[i + 1] : "")) return wrong_usage("start does not know %s", argv[i]);
        else if (++i == argc) return wrong_usage("%s wants a value", argv[i - 1]);
    }
    if (node_settings_check()) return fprintf(stderr, "manta start: %s\n", node_settings_check()), 2;
    if (node_settings_number(NODE_VOTERS) % 2 == 0) return wrong_usage("%s", "--voters is 1, 3 or 5");
    bool has_place = o->is_head || *node_settings_text(NODE_HEAD), both = o->is_head && *node_settings_text(NODE_HEAD);
    if (both || (!has_place && !*node_settings_text(NODE_DISCOVER))) return wrong_usage("%s", "start wants --head or --address");
    return check_discovery();
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

/* The node's store, which its workers find by MANTA_STORE. None with 0 bytes; objects are then in the process that made them. */
static void plan_store(void)
{
    char path[64];
    uint64_t bytes = node_settings_number(NODE_STORE_BYTES);
    node_stores_clean();
    if (!bytes || getenv("MANTA_STORE")) return;
    node_store_path((int)getpid(), path, sizeof path);
    node_store_plan(path, bytes, node_settings_text(NODE_SPILL), the_runtime.config.spill_bytes);
    setenv("MANTA_STORE", path, 1);
}

static manta_status start_raylet(const start_options *o)
{
    manta_actor raylet;
    char state[400];
    snprintf(state, sizeof state, "%s/state-%d", manta_directory() ? manta_directory() : "/tmp", (int)getpid());
    raylet_options r = {.head = o->is_head ? NULL : node_settings_text(NODE_HEAD),
        .directory = node_settings_text(NODE_DIRECTORY),
        .cache_bytes = node_settings_number(NODE_CACHE),
        .state = *node_settings_text(NODE_STATE) ? node_settings_text(NODE_STATE) : state,
        .voters = (uint32_t)node_settings_number(NODE_VOTERS),
        .fence_ms = (uint32_t)node_settings_number(NODE_FENCE_MS),
        .cores = (uint32_t)node_settings_number(NODE_CORES),
        .resources = *node_settings_text(NODE_RESOURCES) ? node_settings_text(NODE_RESOURCES) : NULL,
        .labels = *node_settings_text(NODE_LABELS) ? node_settings_text(NODE_LABELS) : NULL,
        .idle_ms = node_settings_number(NODE_IDLE_MS),
        .worker_memory = node_settings_number(NODE_WORKER_MEMORY),
        .memory_reserve = node_settings_number(NODE_MEMORY_RESERVE)};
    return raylet_start(&r, &raylet);
}

/* By its name, when no address is given. */
static bool find_cluster(const start_options *o, int fd)
{
    char address[MANTA_ADDRESS_BYTES], text[300];
    const char *name = node_settings_text(NODE_DISCOVER);
    if (o->is_head || *node_settings_text(NODE_HEAD)) return true;
    if (discover_find(name, address, sizeof address)) return node_settings_flag("--address", address);
    snprintf(text, sizeof text, "no cluster called %s announces itself on this network within 3 s", name);
    report(fd, false, text);
    return false;
}

static int serve(const start_options *o, int fd)
{
    sigset_t ends;
    int number;
    sigemptyset(&ends);
    sigaddset(&ends, SIGINT);
    sigaddset(&ends, SIGTERM);
    sigprocmask(SIG_BLOCK, &ends, NULL);
    if (o->keys) setenv("MANTA_KEYS", o->keys, 1); /* for the workers too */
    if (o->insecure) setenv("MANTA_INSECURE", "1", 1);
    if (!find_cluster(o, fd)) return 1;
    manta_t *m = manta_init_with(
        &(manta_config){.size = sizeof(manta_config), .workers = 1, .listen = node_settings_text(NODE_LISTEN), .insecure = o->insecure});
    if (m) plan_store();
    if (node_settings_file()) setenv("MANTA_CONFIG", node_settings_file(), 1); /* for the workers */
    manta_status status = m ? start_raylet(o) : MANTA_EINIT;
    if (status) {
        report(fd, false, m ? manta_last_error()->message : runtime_start_failure());
        _exit(1);
    }
    (void)daemon_note(manta_listen_address(0));
    const char *name = node_settings_text(NODE_DISCOVER);
    if (*name && !discover_announce(name, manta_listen_address(0)))
        fprintf(stderr, "manta start: no network broadcasts: the cluster %s is not announced\n", name);
    report(fd, true, manta_listen_address(0));
    while (sigwait(&ends, &number)) continue;
    discover_end();
    daemon_forget();
    membership_leave();
    children_stop();
    status = manta_shutdown(m);
    node_store_close();
    return status == MANTA_OK ? 0 : 1;
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
    start_options o = {.keys = NULL};
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
