/*
 * The commands and what they say about themselves.
 */
#include <string.h>

#include "tools/manta/manta.h"

#define ADDRESS "  --address ADDRESS  the node daemon to ask (default: the one started last on this machine)\n"
#define ASKING \
    ADDRESS "  --here             only the processes of that daemon's node, not of the whole cluster\n" \
            "  --where CONDITION  only rows for which it holds: FIELD=VALUE, FIELD!=VALUE, FIELD~PART; several must all hold\n" \
            "  --limit N          at most so many rows (default 100); the rest is counted and said\n" \
            "  --json             one JSON object: matched, rows, errors (processes that did not answer)\n"

static const tool_command commands[] = {
    {"start", command_start, false, "--head | --address HEAD | --discover NAME [options]", "starts this machine's node daemon",
        "  --config FILE      settings, see docs/manta.md; also in MANTA_CONFIG, for the other commands and for programs too\n"
        "  --head             of a new cluster\n"
        "  --address HEAD     joins the cluster of the daemon at that address\n"
        "  --discover NAME    announces the cluster by that name on the LAN, by UDP broadcast to port 6379; without --head and --address:\n"
        "                     joins the one that is announced (other commands: --discover NAME instead of --address)\n"
        "  --listen ADDRESS   tcp://HOST:PORT or ipc://PATH (default tcp://127.0.0.1:0: a free port)\n"
        "  --cores N          the node's cpus: as many tasks of one cpu run at a time (default: the usable cores)\n"
        "  --resources TEXT   what else it has: gpus=2,db=1 ... (memory: all; numbers have up to 4 decimals)\n"
        "  --labels TEXT      what tasks may ask for: zone=a,disk=ssd ...\n"
        "  --idle-ms N        a worker process without work ends after this (default 5000)\n"
        "  --worker-memory N  bytes that a worker process may use, without shared ones; beyond it it is ended (default 0: no limit)\n"
        "  --memory-reserve N bytes of the node's memory that are to stay free: a worker is ended for them (default 0: none)\n"
        "  --directory DIR    where programs are kept (default /tmp/manta-UID/programs)\n"
        "  --cache BYTES      of programs that are kept there; beyond it the least recently used go (default 4 GiB)\n"
        "  --store-bytes N    room of the node's object store in /dev/shm (default 30 % of the free memory, at most 1 GiB; 0: no store)\n"
        "  --spill DIR        where objects go that do not fit; none without it\n"
        "  --state DIR        the control store's files, should this node serve it; a daemon that is started again with them goes on\n"
        "                     where it was\n"
        "  --voters N         servers of the control store that decide, 1, 3 or 5 (default 3): of a new cluster\n"
        "  --fence-ms N       ends the workers when no majority of them was reached for so long (default 10000)\n"
        "  --keys FILE        the cluster's keys, as keygen prints them; also in MANTA_KEYS, for the other commands too\n"
        "  --insecure         listens beyond loopback although there are no keys\n"
        "  --foreground       stays in the foreground, ends with SIGINT or SIGTERM\n"},
    {"status", command_status, true, "[--address ADDRESS]", "nodes, and the jobs and workers of one", ADDRESS},
    {"stop", command_stop, false, "[--address ADDRESS]", "ends the daemons of this user on this machine, or one",
        "  --address ADDRESS  only the daemon that listens there\n"},
    {"drain", command_drain, true, "[--address ADDRESS] [--timeout SECONDS] [--stay]", "ends a daemon when its work is done",
        ADDRESS "  --timeout SECONDS  ends it after this although something is still there (default 60); exit code 1 then\n"
                "  --stay             it takes no more work, but does not end\n"
                "The node takes no more work: what waits goes to others, tasks that run come to their end, workers stay until nobody needs "
                "an\nactor or object of theirs, and its server of the control store is replaced.\n"},
    {"run", command_run, false, "[--address ADDRESS] PROGRAM [ARGUMENT...]", "runs a program on the cluster",
        ADDRESS "The program becomes the driver, its copies the workers. A shared object with `int manta_main(int argc, char **argv)` is a "
                "program too.\n"},
    {"module", command_module, false, "FILE [ARGUMENT...]", "runs a shared object in this process alone",
        "It must have `int manta_main(int argc, char **argv)`.\n"},
    {"list", command_list, true, "actors|tasks|objects|nodes|processes|jobs|crashes [options]", "lists what there is", ASKING},
    {"get", command_get, true, "actor|task|node|process|job|crash ID [options]", "all about one of them",
        ADDRESS "  --json             as JSON\n"
                "ID is the first field of list.\n"},
    {"summary", command_summary, true, "actors|tasks|methods [options]", "counts by class and state, calls by method", ASKING},
    {"memory", command_memory, true, "[options]", "memory and objects of each process", ASKING},
    {"stack", command_stack, true, "[options]", "every handler that has begun: where it is, what it waits for", ASKING},
    {"logs", command_logs, true, "[--address ADDRESS] [--here] [--limit N] [--json]", "the last lines of the daemons' logs",
        ADDRESS "  --here             only of that daemon\n"
                "  --where CONDITION  as line~PART\n"
                "  --limit N          the last N lines of each (default 100)\n"
                "  --json             as JSON\n"},
    {"timeline", command_timeline, true, "[--seconds N] [--out FILE] [--address ADDRESS] [--here]", "what ran when, as Chrome trace JSON",
        "  --seconds N        records for so long, and switches recording off\n"
        "                     (default: what the programs record, which MANTA_TRACE switches on)\n"
        "  --out FILE         where to (default timeline.json)\n" ADDRESS "  --here             only of that daemon's node\n"
        "Times are each machine's own monotonic clock.\n"},
    {"kill", command_kill, true, "ID [--address ADDRESS]", "ends an actor at its next wait or message end",
        ADDRESS "ID is the id field of list actors.\n"},
    {"kv", command_kv, true, "get SPACE KEY | put SPACE KEY VALUE | delete SPACE KEY | list SPACE [PREFIX]",
        "the cluster's key-value pairs", "VALUE -: from the input; list prints key, bytes, revision.\n"},
    {"lock", command_lock, false, "[--lease-ms N] [--timeout-ms N] NAME COMMAND [ARGUMENT...]",
        "runs a command while it holds a lock of the cluster", "The lock's fencing token is in MANTA_LOCK_TOKEN.\n"},
    {"config", command_config, false, "[--manta-SETTING=VALUE...]",
        "the settings a program would start with here, and where each comes from", ""},
    {"keygen", command_keygen, false, "", "prints a new key pair", ""},
};
enum { COMMANDS = sizeof commands / sizeof *commands };

const tool_command *command_find(const char *name)
{
    for (size_t i = 0; i < COMMANDS; i++)
        if (strcmp(commands[i].name, name) == 0) return &commands[i];
    return NULL;
}

bool is_help(const char *argument) { return strcmp(argument, "--help") == 0 || strcmp(argument, "-h") == 0; }

void help_all(FILE *to)
{
    fputs("usage: manta COMMAND [arguments]; manta COMMAND --help tells more\n\n", to);
    for (size_t i = 0; i < COMMANDS; i++) fprintf(to, "  %-9s %s\n", commands[i].name, commands[i].brief);
    fputs("\nExit codes: 0 fine, 1 failed, 2 wrong usage.\n", to);
}

void help_one(const tool_command *c)
{
    printf("usage: manta %s%s%s\n\n%c%s.\n%s%s", c->name, *c->arguments ? " " : "", c->arguments, c->brief[0] - ('a' - 'A'), c->brief + 1,
        *c->details ? "\n" : "", c->details);
}
