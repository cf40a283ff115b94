/*
 * The main program of a simulation: seeds in child processes, a few at a time; what failed is shortened and printed.
 *
 * A process per seed: one that crashes or hangs is a result like another, and nothing of a run is left for the next.
 */
#include "actor/sim/runner.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "scheduler/base/alloc.h"

enum { SHOWN = FAILURES }; /* failures that are shortened and printed */

typedef struct totals {
    uint64_t passed, failed, shown, events, virtual_ns;
    uint64_t by_kind[FAULT_KINDS];
    run_options failures[SHOWN];
    run_result results[SHOWN];
} totals;

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void count(totals *t, const child *c)
{
    const run_result *r = c->result;
    t->events += r->events;
    t->virtual_ns += r->virtual_ns;
    for (int i = 0; i < FAULT_KINDS; i++) t->by_kind[i] += r->by_kind[i];
    if (!r->failed) {
        t->passed++;
        return;
    }
    if (t->failed < SHOWN) {
        t->failures[t->failed] = c->options;
        t->results[t->failed] = *r;
    }
    t->failed++;
}

/* ---- a failure ---- */

static void print_keep(uint64_t keep)
{
    if (!keep) printf("none");
    for (bool first = true; keep; keep &= keep - 1, first = false) printf("%s%d", first ? "" : ",", __builtin_ctzll(keep));
}

static void print_replay(const runner *r, const run_options *o)
{
    printf("  again: %s --seed %" PRIu64 " --nodes %u --faults %s --steps %u --duration %u --keep ", r->program, o->seed, o->nodes,
        r->faults, o->steps, r->test.duration_ms);
    print_keep(o->keep);
    printf(" --trace\n");
}

static void show(const runner *r, child *c, run_options o, run_result result)
{
    if (result.n_faults < PLAN_LIMIT) o.keep &= (1ull << result.n_faults) - 1;
    printf("seed %" PRIu64 " failed: %s\n", o.seed, result.text);
    uint32_t faults = result.n_faults, steps = o.steps;
    if (!r->no_shorten) result = shorten(c, &o, &result);
    if (!r->no_shorten)
        printf("  shortened from %u faults and %u steps to %d and %u: %s\n", faults, steps, __builtin_popcountll(o.keep), o.steps,
            result.text);
    print_replay(r, &o);
    if (r->is_single) return;
    printf("  its trace ends:\n");
    o.trace = true;
    (void)seed_run(c, &o);
}

/* ---- all seeds ---- */

static child *child_with(child *all, uint32_t n, pid_t pid)
{
    for (uint32_t i = 0; i < n; i++)
        if (all[i].pid == pid) return &all[i];
    return NULL;
}

/* The same seed must take the same course. */
static void compare(child *c)
{
    run_result first = *c->result, again;
    if (first.failed) return;
    run_options o = c->options;
    again = seed_run(c, &o);
    if (again.hash == first.hash && again.failed == first.failed) return;
    c->result->failed = true;
    snprintf(c->result->text, sizeof c->result->text, "a second run took another course: hash %016" PRIx64 " and %016" PRIx64, first.hash,
        again.hash);
}

static bool wait_for_one(const runner *r, child *all, totals *t)
{
    int status = 0;
    pid_t pid = waitpid(-1, &status, 0);
    child *c = pid > 0 ? child_with(all, r->jobs, pid) : NULL;
    if (!c) return pid > 0;
    seed_ended(c, status);
    if (r->twice) compare(c);
    count(t, c);
    return true;
}

static bool run_seeds(const runner *r, child *all, totals *t)
{
    run_options o = {.test = &r->test, .steps = r->test.steps, .keep = r->keep, .trace = r->trace};
    for (uint64_t seed = r->first; seed <= r->last && t->failed < r->failures; seed++) {
        child *free_one;
        while (!(free_one = child_with(all, r->jobs, 0)))
            if (!wait_for_one(r, all, t)) return false;
        o.seed = seed;
        o.nodes = r->least_nodes + (uint32_t)(rng_mix(seed) % (r->most_nodes - r->least_nodes + 1));
        if (!seed_start(free_one, &o)) return false;
    }
    for (uint32_t i = 0; i < r->jobs; i++)
        while (all[i].pid)
            if (!wait_for_one(r, all, t)) return false;
    return true;
}

static void summarize(const runner *r, const totals *t, double seconds)
{
    uint64_t seeds = t->passed + t->failed;
    printf("%s: %" PRIu64 " seeds passed, %" PRIu64 " failed; %u to %u nodes, %.0f virtual s, %" PRIu64 " events", r->test.name, t->passed,
        t->failed, r->least_nodes, r->most_nodes, (double)t->virtual_ns / 1e9, t->events);
    for (int i = 0; i < FAULT_KINDS; i++)
        if (t->by_kind[i]) printf(", %" PRIu64 " %s", t->by_kind[i], fault_name((manta_sim_fault)(1u << i)));
    printf("; %.1f s, %.1f seeds/s\n", seconds, seconds > 0 ? (double)seeds / seconds : 0);
}

static int run_all(const runner *r, child *all, totals *t)
{
    double began = now_s();
    (void)os_ticks_per_us(); /* measured once, for all seeds */
    for (uint32_t i = 0; i < r->jobs; i++)
        if (!seed_init(&all[i])) return fprintf(stderr, "%s: no memory\n", r->program), 2;
    if (!run_seeds(r, all, t)) return fprintf(stderr, "%s: no process can be started\n", r->program), 2;
    double seconds = now_s() - began;
    if (r->is_single && !t->failed) printf("seed %" PRIu64 " passed; hash %016" PRIx64 "\n", r->first, all[0].result->hash);
    for (uint64_t i = 0; i < t->failed && i < r->failures && i < SHOWN; i++) show(r, &all[0], t->failures[i], t->results[i]);
    summarize(r, t, seconds);
    return t->failed ? 1 : 0;
}

int manta_sim_main(int argc, char **argv, const manta_sim_test *test)
{
    runner r = {.test = *test, .program = argv[0]};
    int code = runner_arguments(&r, argc, argv);
    if (code >= 0) return code;
    child *all = base_calloc(r.jobs, sizeof *all);
    totals *t = base_calloc(1, sizeof *t);
    code = all && t ? run_all(&r, all, t) : 2;
    base_free(all);
    base_free(t);
    return code;
}
