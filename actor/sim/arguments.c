#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "actor/sim/runner.h"

enum { SEEDS = 100, JOBS = 2, JOBS_MOST = 64, STEPS = 100 };

static const char help[] = "usage: %s [--seeds A..B | --seed N] [options]\n"
                           "\n"
                           "Runs the simulation \"%s\" once for each seed. Everything that happens in a run is decided by its seed.\n"
                           "\n"
                           "  --seeds A..B    these seeds; default 1..%d\n"
                           "  --seed N        this one\n"
                           "  --nodes A..B    so many nodes (1..%d), as the seed says; default %u\n"
                           "  --faults LIST   what may go wrong: all, none, or some of delay, drop, duplicate, partition, oneway,\n"
                           "                  crash, stop, pause, slowdisk, suspend, kill, with\n"
                           "                  commas between; default %s\n"
                           "  --steps N       how much work each seed does; default %u\n"
                           "  --duration MS   virtual milliseconds in which faults begin; default %u\n"
                           "  --jobs N        processes at a time; default %d\n"
                           "  --failures N    ends after so many seeds have failed; default %d\n"
                           "  --keep LIST     of the seed's faults only those with these numbers (0..), or none\n"
                           "  --trace         prints what happens, in its order\n"
                           "  --twice         runs each seed twice and compares the hashes of all that happened\n"
                           "  --no-shorten    prints a failed seed as it is\n"
                           "  --help\n"
                           "\n"
                           "A seed that fails is shortened: faults are left out and work is halved as long as it still fails.\n"
                           "Exit code: 0: all seeds passed; 1: one failed; 2: wrong arguments.\n";

static void print_help(const runner *r)
{
    printf(help, r->program, r->test.name, SEEDS, MANTA_SIM_NODES, r->test.nodes, r->faults, r->test.steps, r->test.duration_ms, JOBS,
        FAILURES);
}

static bool take_number(const char *text, uint64_t least, uint64_t most, uint64_t *out)
{
    char *end;
    uint64_t n = strtoull(text, &end, 10);
    if (end == text || *end || *text == '-' || n < least || n > most) return false;
    *out = n;
    return true;
}

/* "A..B", or "A" alone. */
static bool take_range(const char *text, uint64_t least, uint64_t most, uint64_t *out_from, uint64_t *out_to)
{
    char from[24];
    const char *dots = strstr(text, "..");
    snprintf(from, sizeof from, "%.*s", (int)(dots ? (size_t)(dots - text) : strlen(text)), text);
    uint64_t first, last;
    if (!take_number(from, least, most, &first) || !take_number(dots ? dots + 2 : from, first, most, &last)) return false;
    *out_from = first;
    *out_to = last;
    return true;
}

static bool take_nodes(runner *r, const char *text)
{
    uint64_t least, most;
    if (!take_range(text, 1, MANTA_SIM_NODES, &least, &most)) return false;
    r->least_nodes = (uint32_t)least;
    r->most_nodes = (uint32_t)most;
    return true;
}

static bool take_faults(runner *r, const char *text)
{
    uint32_t faults = 0;
    for (const char *at = text; *at;) {
        size_t n = strcspn(at, ",");
        uint32_t one = n == 3 && memcmp(at, "all", n) == 0 ? MANTA_SIM_ALL : fault_find(at, n);
        if (!one && !(n == 4 && memcmp(at, "none", n) == 0)) return false;
        faults |= one;
        at += n + (at[n] == ',');
    }
    r->test.faults = faults;
    snprintf(r->faults, sizeof r->faults, "%s", text);
    return true;
}

static bool take_keep(runner *r, const char *text)
{
    r->keep = 0;
    if (strcmp(text, "none") == 0) return true;
    for (const char *at = text; *at;) {
        char *end;
        unsigned long n = strtoul(at, &end, 10);
        if (end == at || n >= PLAN_LIMIT || (*end && *end != ',')) return false;
        r->keep |= 1ull << n;
        at = end + (*end == ',');
    }
    return true;
}

static bool take_flag(runner *r, const char *name)
{
    bool *flag = strcmp(name, "--trace") == 0        ? &r->trace
                 : strcmp(name, "--twice") == 0      ? &r->twice
                 : strcmp(name, "--no-shorten") == 0 ? &r->no_shorten
                                                     : NULL;
    if (flag) *flag = true;
    return flag != NULL;
}

/* False: there is no such option, or its value is wrong. */
static bool take_option(runner *r, const char *name, const char *value)
{
    uint64_t n = 0;
    bool ok;
    if (strcmp(name, "--seeds") == 0) return take_range(value, 0, UINT64_MAX - 1, &r->first, &r->last);
    if (strcmp(name, "--nodes") == 0) return take_nodes(r, value);
    if (strcmp(name, "--faults") == 0) return take_faults(r, value);
    if (strcmp(name, "--keep") == 0) return take_keep(r, value);
    if (strcmp(name, "--seed") == 0) {
        ok = r->is_single = take_number(value, 0, UINT64_MAX - 1, &r->first);
        r->last = r->first;
    } else if (strcmp(name, "--steps") == 0) {
        if ((ok = take_number(value, 1, UINT32_MAX, &n))) r->test.steps = (uint32_t)n;
    } else if (strcmp(name, "--duration") == 0) {
        if ((ok = take_number(value, 1, 86400000, &n))) r->test.duration_ms = (uint32_t)n;
    } else if (strcmp(name, "--failures") == 0) {
        if ((ok = take_number(value, 1, UINT32_MAX, &n))) r->failures = (uint32_t)n;
    } else if ((ok = strcmp(name, "--jobs") == 0 && take_number(value, 1, JOBS_MOST, &n))) r->jobs = (uint32_t)n;
    return ok;
}

static void name_faults(runner *r)
{
    size_t n = 0;
    snprintf(r->faults, sizeof r->faults, "%s", r->test.faults == MANTA_SIM_ALL ? "all" : "none");
    if (!r->test.faults || r->test.faults == MANTA_SIM_ALL) return;
    for (uint32_t left = r->test.faults; left; left &= left - 1)
        n += (size_t)snprintf(r->faults + n, sizeof r->faults - n, "%s%s", n ? "," : "", fault_name((manta_sim_fault)(left & -left)));
}

int runner_arguments(runner *r, int argc, char **argv)
{
    r->first = 1;
    r->last = SEEDS;
    r->jobs = JOBS;
    r->failures = FAILURES;
    r->keep = ~0ull;
    if (!r->test.nodes) r->test.nodes = 3;
    if (!r->test.steps) r->test.steps = STEPS;
    if (!r->test.duration_ms) r->test.duration_ms = 10000;
    r->least_nodes = r->most_nodes = r->test.nodes;
    name_faults(r);
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0) return print_help(r), 0;
        if (take_flag(r, argv[i])) continue;
        if (i + 1 < argc && take_option(r, argv[i], argv[i + 1])) {
            i++;
            continue;
        }
        fprintf(stderr, "%s: %s%s%s: not an option, or not a value of it; --help lists them\n", r->program, argv[i],
            i + 1 < argc ? " " : "", i + 1 < argc ? argv[i + 1] : "");
        return 2;
    }
    return -1;
}
