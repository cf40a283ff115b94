/*
 * Wait cycles: actors each of which waits for the next one's answer, so that none will ever go on.
 *
 * An actor that handles one message at a time and waits has one outgoing edge, so the graph is functional and a walk that meets its own mark has found a cycle.
 * All edges are read once, and those of a cycle a second time: each must show the same handler (same count of messages handled), waiting for the same actor, its
 * wait still armed. An actor that has finished no handler between the two looks has answered nobody, so at the second look the cycle was there.
 * Actors with concurrency above 1 go on taking messages while a handler waits and are left out.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "actor/inspect/inspect.h"
#include "scheduler/base/hash.h"

enum { REPORTED = 64, PERIOD_NS = OS_NS_PER_S, QUIET_TICKS = 2, LOAD_LIMIT = 100, LINE_BYTES = 900 };
enum { NEW, ON_PATH, DONE };

typedef struct edge {
    uint64_t id, target, handled;
    const activation *act;
    uint32_t next; /* index of the target's edge; NO_EDGE: it waits for nobody */
    uint8_t mark;
} edge;
#define NO_EDGE UINT32_MAX

typedef struct graph {
    edge *edges;
    uint32_t count, capacity;
} graph;

static bool is_armed(const activation *act)
{
    _Atomic uintptr_t *word = load_relaxed(&((activation *)(uintptr_t)act)->waiting_on);
    return word && load_acquire(word) == (uintptr_t)act;
}

static bool edge_read(uint64_t index, edge *out)
{
    actor_view v;
    if (!load_relaxed(&((actor *)slab_at(&actor_slab, index))->waiting)) return false;
    if (!actor_view_read(index, &v) || v.state != MANTA_STATE_WAITING || !v.wait_target) return false;
    if (load_relaxed(&v.actor->concurrency) > 1 || !is_armed(v.act)) return false;
    *out = (edge){.id = v.id, .target = v.wait_target, .handled = v.handled, .act = v.act, .next = NO_EDGE};
    return true;
}

static bool graph_add(graph *g, const edge *e)
{
    if (g->count == g->capacity) {
        uint32_t capacity = g->capacity ? g->capacity * 2 : 256;
        edge *edges = base_realloc(g->edges, capacity * sizeof *edges);
        if (!edges) return false;
        g->edges = edges;
        g->capacity = capacity;
    }
    g->edges[g->count++] = *e;
    return true;
}

static int by_slot(const void *key, const void *item)
{
    uint32_t x = (uint32_t) * (const uint64_t *)key, y = (uint32_t)((const edge *)item)->id;
    return (x > y) - (x < y);
}

static bool graph_read(graph *g)
{
    uint64_t used = load_acquire(&actor_slab.used);
    edge e;
    for (uint64_t i = 0; i < used && i < actor_slab.capacity; i++)
        if (edge_read(i, &e) && !graph_add(g, &e)) return false;
    for (uint32_t i = 0; i < g->count; i++) {
        edge *to = bsearch(&g->edges[i].target, g->edges, g->count, sizeof e, by_slot); /* slots were read in order */
        if (to && to->id == g->edges[i].target) g->edges[i].next = (uint32_t)(to - g->edges);
    }
    return true;
}

/* The same cycle, seen again a moment later. */
static bool still_there(const graph *g, uint32_t start)
{
    uint32_t i = start;
    do {
        const edge *before = &g->edges[i];
        edge now;
        if (!edge_read((uint32_t)before->id, &now)) return false;
        if (now.id != before->id || now.target != before->target || now.handled != before->handled || now.act != before->act) return false;
    } while ((i = g->edges[i].next) != start);
    return true;
}

/* Walks from `from`; the member of a cycle with the lowest slot, or NO_EDGE. */
static uint32_t walk(graph *g, uint32_t from)
{
    uint32_t i = from, found = NO_EDGE;
    for (; i != NO_EDGE && g->edges[i].mark == NEW; i = g->edges[i].next) g->edges[i].mark = ON_PATH;
    if (i != NO_EDGE && g->edges[i].mark == ON_PATH) {
        found = i;
        for (uint32_t j = g->edges[i].next; j != i; j = g->edges[j].next)
            if (j < found) found = j;
    }
    for (i = from; i != NO_EDGE && g->edges[i].mark == ON_PATH; i = g->edges[i].next) g->edges[i].mark = DONE;
    return found;
}

/* The next cycle that is really there, from edge *cursor on; NO_EDGE: no more. */
static uint32_t graph_next_cycle(graph *g, uint32_t *cursor)
{
    while (*cursor < g->count) {
        uint32_t found = walk(g, (*cursor)++);
        if (found != NO_EDGE && still_there(g, found)) return found;
    }
    return NO_EDGE;
}

manta_status manta_find_wait_cycle(manta_actor *out, size_t capacity, size_t *out_count)
{
    if (!out_count || (!out && capacity)) return error_set(MANTA_EINVAL, "manta_find_wait_cycle: out or out_count is NULL");
    if (!inspect_is_up()) return error_set(MANTA_ESHUTDOWN, "manta_find_wait_cycle: no system runs");
    graph g = {0};
    uint32_t cursor = 0;
    if (!graph_read(&g)) {
        base_free(g.edges);
        return error_set(MANTA_ENOMEM, "manta_find_wait_cycle: no memory");
    }
    uint32_t start = graph_next_cycle(&g, &cursor), i = start;
    size_t count = 0;
    if (start != NO_EDGE) do {
            if (count < capacity) out[count].id = g.edges[i].id;
            count++;
        } while ((i = g.edges[i].next) != start);
    base_free(g.edges);
    *out_count = count;
    return MANTA_OK;
}

/* ---- reports ---- */

static struct {
    pthread_mutex_t lock;
    uint64_t reported[REPORTED]; /* hashes of the last cycles that were told */
    uint32_t next;
    uint64_t turns, next_search_ns;
    int quiet_ticks;
} search = {.lock = PTHREAD_MUTEX_INITIALIZER};

void cycles_reset(void)
{
    memset(search.reported, 0, sizeof search.reported);
    search.next = 0;
    search.turns = search.next_search_ns = 0;
    search.quiet_ticks = 0;
}

/* Writes "A#1.ask -> B#2.ask -> A#1" and returns a hash of the members and their methods. */
static uint64_t cycle_text(const graph *g, uint32_t start, char *out, size_t out_bytes)
{
    size_t n = 0;
    uint64_t hash = 0;
    uint32_t i = start;
    do {
        const edge *e = &g->edges[i];
        actor_view v;
        bool ok = actor_view_read((uint32_t)e->id, &v);
        hash = hash * UINT64_C(0x9E3779B97F4A7C15) + e->id;
        if (ok) hash += hash_string(view_method(&v));
        if (n < out_bytes)
            n += (size_t)snprintf(
                out + n, out_bytes - n, "%s#%u.%s -> ", ok ? view_class(&v) : "?", (uint32_t)e->id, ok ? view_method(&v) : "?");
    } while ((i = g->edges[i].next) != start);
    actor_view v;
    if (n >= out_bytes) memcpy(out + out_bytes - 4, "...", 4);
    else if (actor_view_read((uint32_t)g->edges[start].id, &v)) snprintf(out + n, out_bytes - n, "%s#%u", view_class(&v), (uint32_t)v.id);
    return hash;
}

static bool note_reported(uint64_t hash)
{
    bool is_new = true;
    pthread_mutex_lock(&search.lock);
    for (int i = 0; i < REPORTED; i++) is_new &= search.reported[i] != hash;
    if (is_new) search.reported[search.next++ % REPORTED] = hash;
    pthread_mutex_unlock(&search.lock);
    return is_new;
}

size_t inspect_report_cycles(void)
{
    graph g = {0};
    uint32_t cursor = 0, start;
    size_t count = 0;
    if (inspect_is_up() && graph_read(&g)) {
        while ((start = graph_next_cycle(&g, &cursor)) != NO_EDGE) {
            char line[LINE_BYTES];
            uint64_t hash = cycle_text(&g, start, line, sizeof line);
            if (!note_reported(hash)) continue;
            runtime_report("wait cycle: %s", line);
            count++;
        }
    }
    base_free(g.edges);
    return count;
}

/* Once a second while anything moves, at most 1 % of a core; and at once when everything has come to rest, because the ticks end soon after. */
void cycles_tick(uint64_t now_ns)
{
    uint64_t turns = pool_sum(offsetof(worker, turns));
    search.quiet_ticks = turns == search.turns ? search.quiet_ticks + 1 : 0;
    search.turns = turns;
    bool quiet = search.quiet_ticks == QUIET_TICKS;
    if (!quiet && (search.quiet_ticks > QUIET_TICKS || now_ns < search.next_search_ns)) return;
    inspect_report_cycles();
    uint64_t took = pool_now_ns() - now_ns;
    search.next_search_ns = now_ns + (took * LOAD_LIMIT > PERIOD_NS ? took * LOAD_LIMIT : PERIOD_NS);
}
