/*
 * First half of the faults at a time, then a quarter, then one by one; and half of the work, as long as it fails. A seed without a fault still runs the same schedule of random numbers in the network, but everything after
 * the missing fault may differ: so each attempt is run, and counts only if it fails.
 */
#include "actor/sim/runner.h"

enum { ATTEMPTS = 100 };

typedef struct attempt {
    child *child;
    run_options *best;
    run_result result;
    uint32_t left;
} attempt;

static bool still_fails(attempt *a, const run_options *o)
{
    if (!a->left) return false;
    a->left--;
    run_options quiet = *o;
    quiet.trace = false;
    run_result r = seed_run(a->child, &quiet);
    if (!r.failed) return false;
    a->result = r;
    *a->best = quiet;
    return true;
}

/* Groups of `size` faults. True: some could be left out. */
static bool leave_out(attempt *a, uint32_t n_faults, uint32_t size)
{
    bool some = false;
    for (uint32_t from = 0; from < n_faults; from += size) {
        run_options o = *a->best;
        uint64_t group = (size >= 64 ? ~0ull : (1ull << size) - 1) << from;
        o.keep &= ~group;
        if (o.keep != a->best->keep) some |= still_fails(a, &o);
    }
    return some;
}

static void less_work(attempt *a)
{
    for (run_options o = *a->best; a->best->steps > 1; o = *a->best) {
        o.steps = a->best->steps / 2;
        if (!still_fails(a, &o)) break;
    }
    for (run_options o = *a->best; a->best->steps > 1 && a->best->steps < 8; o = *a->best) {
        o.steps--;
        if (!still_fails(a, &o)) break;
    }
}

run_result shorten(child *c, run_options *o, const run_result *failed)
{
    attempt a = {c, o, *failed, ATTEMPTS};
    o->keep &= failed->n_faults >= 64 ? ~0ull : (1ull << failed->n_faults) - 1;
    uint32_t size = failed->n_faults > 1 ? (failed->n_faults + 1) / 2 : 1;
    for (; size > 1; size /= 2) (void)leave_out(&a, failed->n_faults, size);
    while (leave_out(&a, failed->n_faults, 1)) continue;
    less_work(&a);
    while (leave_out(&a, failed->n_faults, 1)) continue;
    return a.result;
}
