/*
 * manta status, stop, drain and run: what talks to daemons that are there.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "actor/node/gcs.h"
#include "actor/node/program.h"
#include "tools/manta/manta.h"
#include "tools/manta/settings.h"

enum { STOP_WAIT_MS = 10000, DRAIN_MOST_S = 86400 };

int take_address(const char *command, int *argc, char ***argv, char *out, size_t room)
{
    if (*argc >= 1 && strcmp((*argv)[0], "--address") == 0) {
        if (*argc < 2) return wrong_usage("%s wants a value", "--address");
        snprintf(out, room, "%s", (*argv)[1]);
        *argc -= 2;
        *argv += 2;
        return 0;
    }
    if (*argc >= 1 && strcmp((*argv)[0], "--discover") == 0) {
        if (*argc < 2) return wrong_usage("%s wants a value", "--discover");
        if (!discover_name_is_valid((*argv)[1])) return wrong_usage("--discover is a cluster's name, not \"%s\"", (*argv)[1]);
        if (!discover_find((*argv)[1], out, room))
            return fprintf(stderr, "manta %s: no cluster called %s announces itself on this network within 3 s\n", command, (*argv)[1]), 1;
        *argc -= 2;
        *argv += 2;
        return 0;
    }
    if (daemon_last(out, room)) return 0;
    fprintf(stderr, "manta %s: no daemon runs here: start one (manta start --head), or give --address\n", command);
    return 1;
}

int command_status(int argc, char **argv)
{
    char address[MANTA_ADDRESS_BYTES];
    int code = take_address("status", &argc, &argv, address, sizeof address);
    if (code) return code;
    if (argc) return wrong_usage("status does not know %s", argv[0]);
    manta_t *m = manta_init_with(&(manta_config){.size = sizeof(manta_config), .workers = 1, .join = address});
    manta_process_info there;
    size_t n = 0;
    manta_actor raylet, gcs;
    manta_str text, store = {NULL, 0};
    if (!m) return 1;
    manta_status status = manta_list_processes(&there, 1, &n);
    if (!status) status = manta_lookup_in(there.process, "manta.raylet", &raylet);
    if (!status) status = manta_get(MantaRaylet_status(MantaRaylet_ref_of(raylet)), &text);
    if (!status) status = manta_lookup_in(there.process, "manta.gcs", &gcs);
    if (!status) status = manta_get(MantaGcs_status(MantaGcs_ref_of(gcs)), &store);
    if (status) fprintf(stderr, "manta status: %s: %s\n", address, manta_last_error()->message);
    else printf("%.*s%.*s", (int)text.size, text.data, (int)store.size, store.data);
    (void)manta_shutdown(m);
    return status ? 1 : 0;
}

typedef struct stopping {
    const char *address; /* NULL: all */
    int stopped, failed;
} stopping;

/* Ends a process and waits for that: also one whose parent is slow to collect it. */
static bool end_process(int pid)
{
    int fd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (fd < 0) return errno == ESRCH;
    struct pollfd p = {fd, POLLIN, 0};
    bool ended = kill(pid, SIGTERM) == 0 ? poll(&p, 1, STOP_WAIT_MS) == 1 : errno == ESRCH;
    close(fd);
    return ended;
}

static bool stop_one(int pid, const char *address, void *context)
{
    stopping *s = context;
    if (s->address && strcmp(s->address, address) != 0) return true;
    if (!end_process(pid)) {
        fprintf(stderr, "manta stop: daemon %d at %s does not end\n", pid, address);
        s->failed++;
        return true;
    }
    printf("stopped daemon %d at %s\n", pid, address);
    s->stopped++;
    return true;
}

int command_stop(int argc, char **argv)
{
    stopping s = {NULL, 0, 0};
    if (argc == 2 && strcmp(argv[0], "--address") == 0) s.address = argv[1];
    else if (argc) return wrong_usage("stop does not know %s", argv[0]);
    daemons_each(stop_one, &s);
    if (!s.stopped && !s.failed) fprintf(stderr, "manta stop: no such daemon of this user runs on this machine\n");
    return s.failed || !s.stopped ? 1 : 0;
}

typedef struct draining {
    char address[MANTA_ADDRESS_BYTES];
    uint64_t timeout_s;
    bool stays;
} draining;

static int drain_options(int argc, char **argv, draining *d)
{
    for (; argc; argc--, argv++) {
        char *end = NULL;
        if (strcmp(argv[0], "--stay") == 0) {
            d->stays = true;
            continue;
        }
        if (strcmp(argv[0], "--timeout") != 0) return wrong_usage("drain does not know %s", argv[0]);
        if (argc < 2) return wrong_usage("%s wants a value", "--timeout");
        d->timeout_s = strtoull(argv[1], &end, 10);
        if (end == argv[1] || *end || argv[1][0] == '-' || d->timeout_s > DRAIN_MOST_S)
            return wrong_usage("--timeout is seconds, at most 86400, not %s", argv[1]);
        argc--;
        argv++;
    }
    return 0;
}

/* Waits until the daemon is gone, which was asked to end; only for one on this machine. */
static bool wait_for_end(int pid, const char *address, void *wanted)
{
    if (strcmp(address, wanted) != 0) return true;
    int fd = (int)syscall(SYS_pidfd_open, pid, 0);
    struct pollfd p = {fd, POLLIN, 0};
    if (fd >= 0) (void)poll(&p, 1, STOP_WAIT_MS);
    if (fd >= 0) close(fd);
    return false;
}

int command_drain(int argc, char **argv)
{
    draining d = {.timeout_s = 60};
    manta_process_info there;
    size_t n = 0;
    manta_actor raylet;
    manta_str left = {"", 0};
    int code = take_address("drain", &argc, &argv, d.address, sizeof d.address);
    if (!code) code = drain_options(argc, argv, &d);
    if (code) return code;
    manta_t *m = manta_init_with(&(manta_config){.size = sizeof(manta_config), .workers = 1, .join = d.address});
    if (!m) return 1;
    const manta_options *o = MANTA_OPTIONS(.timeout_ms = d.timeout_s * 1000 + STOP_WAIT_MS);
    manta_status status = manta_list_processes(&there, 1, &n);
    if (!status) status = manta_lookup_in(there.process, "manta.raylet", &raylet);
    if (!status) status = manta_get(MantaRaylet_drain_with(o, MantaRaylet_ref_of(raylet), d.timeout_s * 1000, !d.stays), &left);
    if (status) fprintf(stderr, "manta drain: %s: %s\n", d.address, manta_last_error()->message);
    else if (left.size)
        fprintf(stderr, "manta drain: %s: after %llu s there was still: %.*s\n", d.address, (unsigned long long)d.timeout_s, (int)left.size,
            left.data);
    else printf("drained %s\n", d.address);
    code = status || left.size ? 1 : 0;
    (void)manta_shutdown(m);
    if (!status && !d.stays) daemons_each(wait_for_end, d.address);
    return code;
}

int command_run(int argc, char **argv)
{
    char address[MANTA_ADDRESS_BYTES];
    int code = take_address("run", &argc, &argv, address, sizeof address);
    if (code) return code;
    if (!argc) return wrong_usage("run wants %s", "a program");
    setenv("MANTA_CLUSTER", address, 1);
    if (program_is_module(argv[0])) return module_drive(argc, argv);
    execvp(argv[0], argv);
    fprintf(stderr, "manta run: %s: %s\n", argv[0], strerror(errno));
    return 1;
}
