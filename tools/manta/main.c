/*
 * manta: starts and stops node daemons, shows clusters, runs programs on them.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "actor/runtime/config.h"
#include "mailbox/link/link.h"
#include "tools/manta/manta.h"

static const char usage[] =
    "usage: manta COMMAND [arguments]\n"
    "\n"
    "  start --head [--listen ADDRESS] [options]     starts this machine's node of a new cluster\n"
    "  start --address HEAD [options]                joins the cluster of the daemon at that address\n"
    "  status [--address ADDRESS]                    nodes, jobs and workers\n"
    "  stop [--address ADDRESS]                      ends the daemons of this user on this machine, or the one at the address\n"
    "  run [--address ADDRESS] PROGRAM [ARGUMENT...] runs a program on the cluster: it becomes the driver, and its copies the workers\n"
    "  kv get SPACE KEY | put SPACE KEY VALUE | delete SPACE KEY | list SPACE [PREFIX]\n"
    "                                                the cluster's key-value pairs; VALUE -: from the input; list prints key, bytes, "
    "revision\n"
    "  lock [--lease-ms N] [--timeout-ms N] NAME COMMAND [ARGUMENT...]\n"
    "                                                runs a command while it holds the lock; its token is in MANTA_LOCK_TOKEN\n"
    "  config [--manta-SETTING=VALUE...]             prints the settings that a program would start with here, and where each comes from\n"
    "  keygen                                        prints a new key pair\n"
    "\n"
    "options of start:\n"
    "  --listen ADDRESS   tcp://HOST:PORT or ipc://PATH (tcp://127.0.0.1:0: a free port)\n"
    "  --cores N          the node's cpus: as many tasks of one cpu run at a time (the usable cores)\n"
    "  --resources TEXT   what else it has: gpus=2,db=1 ... (memory: all; numbers have up to 4 decimals)\n"
    "  --labels TEXT      what tasks may ask for: zone=a,disk=ssd ...\n"
    "  --idle-ms N        a worker process without work ends after this (5000)\n"
    "  --directory DIR    where programs are kept (/tmp/manta-UID/programs)\n"
    "  --store-bytes N    room of the node's object store in /dev/shm (30 % of the free memory, at most 1 GiB; 0: no store)\n"
    "  --spill DIR        where objects go that do not fit; none without it\n"
    "  --state DIR        the control store's files, should this node serve it; a daemon that is started again with them goes on where it "
    "was\n"
    "  --voters N         servers of the control store that decide, 1, 3 or 5 (3): of a new cluster\n"
    "  --fence-ms N       ends the workers when no majority of them was reached for so long (10000)\n"
    "  --keys FILE        the cluster's keys, as keygen prints them; also in MANTA_KEYS, for status and run too\n"
    "  --insecure         listens beyond loopback although there are no keys\n"
    "  --foreground       stays in the foreground, ends with SIGINT or SIGTERM\n"
    "\n"
    "Without --address, status, stop and run take the daemon that was started last on this machine. Exit codes: 0 fine, 1 failed, 2 wrong "
    "usage.\n";

int wrong_usage(const char *format, const char *what)
{
    fprintf(stderr, "manta: ");
    fprintf(stderr, format, what);
    fprintf(stderr, "; manta --help tells more\n");
    return 2;
}

static int keygen(int argc, char **argv)
{
    char public_key[41], secret_key[41];
    if (argc) return wrong_usage("keygen takes no arguments, got %s", argv[0]);
    if (link_keygen(public_key, secret_key)) return fprintf(stderr, "manta keygen: %s\n", link_error()), 1;
    printf("public %s\nsecret %s\n", public_key, secret_key);
    return 0;
}

static void print_setting(const char *name, const char *value, const char *variable, bool is_default, void *context)
{
    (void)context;
    printf("%-16s %-22s %s\n", name, *value ? value : "-", is_default ? "default" : getenv(variable) ? variable : "argument");
}

/* The settings that a program would start with here. */
static int config(int argc, char **argv)
{
    char error[512];
    manta_config c;
    char *all[64] = {(char *)(uintptr_t) "manta"};
    char **arguments = all;
    int n = argc + 1;
    for (int i = 0; i < argc && i < 62; i++) all[i + 1] = argv[i];
    if (argc > 62) return wrong_usage("%s", "too many arguments");
    if (!config_resolve(NULL, &n, &arguments, &c, error, sizeof error)) return fprintf(stderr, "manta config: %s\n", error), 2;
    if (n > 1) return wrong_usage("config takes --manta-* arguments only, got %s", arguments[1]);
    config_each(&c, print_setting, NULL);
    return 0;
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        int (*run)(int argc, char **argv);
    } commands[] = {{"start", command_start}, {"status", command_status}, {"stop", command_stop}, {"run", command_run}, {"kv", command_kv},
        {"lock", command_lock}, {"config", config}, {"keygen", keygen}};
    if (argc < 2 || strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        fputs(usage, argc < 2 ? stderr : stdout);
        return argc < 2 ? 2 : 0;
    }
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        if (strcmp(argv[1], commands[i].name) != 0) continue;
        if (argc > 2 && (strcmp(argv[2], "--help") == 0 || strcmp(argv[2], "-h") == 0)) return fputs(usage, stdout), 0;
        return commands[i].run(argc - 2, argv + 2);
    }
    return wrong_usage("there is no command %s", argv[1]);
}
