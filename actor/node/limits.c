/*
 * The memory of worker processes: one that passes its limit is ended, and when the node runs short of memory, the one that has most over its share: those of tasks before those with actors, the newest first.
 */
#include <stdio.h>

#include "actor/node/leases.h"
#include "actor/node/memory.h"

enum { LOOK_MS = 1000 };

static uint64_t limit_of(const lessor *l, const worker_view *w) { return w->memory_limit ? w->memory_limit : l->worker_memory; }

static bool has_actors(lessor *l, const worker_view *w)
{
    size_t cursor = 0;
    for (lease_entry *x; (x = id_table_next(&l->leases, &cursor, NULL));)
        if (x->worker == w && x->request->is_actor) return true;
    return w->is_host;
}

static void end_for_memory(lessor *l, worker_view *w, const char *why)
{
    w->unwanted = true;
    worker_end(l, w, why);
}

static void end_over_limit(lessor *l, worker_view *w)
{
    char used[32], limit[32], why[100];
    memory_text(w->memory, used, sizeof used);
    memory_text(limit_of(l, w), limit, sizeof limit);
    snprintf(why, sizeof why, "used %s of %s", used, limit);
    end_for_memory(l, w, why);
}

/* Of two, the one to go first. */
static worker_view *choose(lessor *l, worker_view *a, worker_view *b)
{
    if (!a) return b;
    bool a_actors = has_actors(l, a), b_actors = has_actors(l, b);
    if (a_actors != b_actors) return a_actors ? b : a;
    uint64_t share = l->worker_memory;
    uint64_t a_over = a->memory > share ? a->memory - share : 0, b_over = b->memory > share ? b->memory - share : 0;
    if (a_over != b_over) return a_over > b_over ? a : b;
    return a->started_ns > b->started_ns ? a : b;
}

static void relieve(lessor *l)
{
    char used[32], left[32], wanted[32], why[160];
    worker_view *victim = NULL;
    uint64_t available = memory_available();
    if (!l->memory_reserve || available >= l->memory_reserve) return;
    for (uint32_t i = 0; i < l->n_workers; i++) {
        if (l->workers[i]->ending) return; /* its memory comes first */
        victim = choose(l, victim, l->workers[i]);
    }
    if (!victim) return;
    memory_text(victim->memory, used, sizeof used);
    memory_text(available, left, sizeof left);
    memory_text(l->memory_reserve, wanted, sizeof wanted);
    snprintf(why, sizeof why, "used %s when the node had %s left, less than its reserve of %s", used, left, wanted);
    end_for_memory(l, victim, why);
}

void limits_tick(lessor *l, uint64_t now_ns)
{
    if (now_ns < l->memory_looked_ns + LOOK_MS * (uint64_t)OS_NS_PER_MS) return;
    l->memory_looked_ns = now_ns;
    for (uint32_t i = 0; i < l->n_workers; i++) {
        worker_view *w = l->workers[i];
        w->memory = w->ending || (!l->memory_reserve && !limit_of(l, w)) ? 0 : memory_of_process(w->pid);
        if (!w->ending && limit_of(l, w) && w->memory > limit_of(l, w)) end_over_limit(l, w);
    }
    relieve(l);
}
