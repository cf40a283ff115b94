/*
 * The faults of a seed: a plan that is made before anything runs, so that it can be repeated with some of them left out.
 */
#include <string.h>

#include "actor/sim/world.h"
#include "gcs/host/disk.h"
#include "scheduler/pool/pool.h"

enum {
    MAX_FAULTS = 6,
    FIRST_MS = 200,
    LONGEST_MS = 5000,
    CRASHED_LONGEST_MS = 8000,
    SLOW_LINK_MS = 80,
    SLOW_DISK_MS = 100,
    STOPPING_MS = 100,
    HELD_OF = 4, /* one of so many sends waits */
    HELD_LONGEST_MS = 50,
    BUDGET = 3 /* sends of a handler until it lets others run */
};
#define NEVER UINT64_MAX

static const char *const names[] = {
    "delay", "drop", "duplicate", "partition", "oneway", "crash", "stop", "pause", "slowdisk", "suspend", "kill"};
_Static_assert(sizeof names / sizeof names[0] == FAULT_KINDS, "each has a name");

static int number_of(manta_sim_fault kind) { return __builtin_ctz(kind); }
const char *fault_name(manta_sim_fault kind) { return names[number_of(kind)]; }

uint32_t fault_find(const char *name, size_t bytes)
{
    for (int i = 0; i < FAULT_KINDS; i++)
        if (strlen(names[i]) == bytes && memcmp(names[i], name, bytes) == 0) return 1u << i;
    return 0;
}

/* ---- the plan ---- */

static manta_sim_fault draw_kind(rng *r, uint32_t allowed)
{
    uint32_t nth = (uint32_t)rng_below(r, (uint64_t)__builtin_popcount(allowed));
    while (nth--) allowed &= allowed - 1;
    return (manta_sim_fault)(allowed & -allowed);
}

/* Without jobs there are no processes to kill. */
static uint32_t kinds_of(const manta_sim_test *t) { return t->drive ? t->faults : t->faults & ~(uint32_t)MANTA_SIM_KILL; }

static fault draw(rng *r, const manta_sim_test *t)
{
    fault f = {.kind = draw_kind(r, kinds_of(t)), .a = (uint32_t)rng_below(r, t->nodes), .b = (uint32_t)rng_below(r, t->nodes)};
    bool is_end = f.kind == MANTA_SIM_CRASH || f.kind == MANTA_SIM_STOP;
    uint64_t longest = is_end ? CRASHED_LONGEST_MS : LONGEST_MS, span = t->duration_ms > FIRST_MS ? t->duration_ms - FIRST_MS : 1;
    if (rng_below(r, 2)) longest /= 10; /* many are short */
    f.at_ns = (FIRST_MS + rng_below(r, span)) * OS_NS_PER_MS + rng_below(r, OS_NS_PER_MS);
    f.end_ns = f.at_ns + (10 + rng_below(r, longest)) * OS_NS_PER_MS;
    f.is_silent = rng_below(r, 2);
    if (f.kind == MANTA_SIM_CRASH && rng_below(r, 2)) f.b = f.a; /* all nodes: the power fails */
    bool may_be_one = f.kind == MANTA_SIM_PARTITION || f.kind == MANTA_SIM_CRASH;
    if (f.a == f.b && !may_be_one) f.b = (f.a + 1) % t->nodes;
    return f;
}

void plan_make(plan *p, const manta_sim_test *t, uint64_t seed, uint64_t keep)
{
    rng r;
    rng_init(&r, rng_mix(seed) ^ 0x9e37);
    uint32_t most = t->max_faults ? t->max_faults : MAX_FAULTS;
    if (most > PLAN_LIMIT) most = PLAN_LIMIT;
    p->count = kinds_of(t) ? (uint32_t)rng_below(&r, most + 1) : 0;
    for (uint32_t i = 0; i < p->count; i++) {
        p->faults[i] = draw(&r, t);
        p->faults[i].is_over = !(keep >> i & 1);
    }
}

/* ---- paths: what the faults that are on make of them ---- */

static bool concerns(const fault *f, uint32_t from, uint32_t to)
{
    if (f->kind == MANTA_SIM_PARTITION && f->a == f->b) return f->a == from || f->a == to;
    return (f->a == from && f->b == to) || (f->kind != MANTA_SIM_ONE_WAY && f->b == from && f->a == to);
}

static void add_to_path(const world *w, const fault *f, uint32_t from, uint32_t to, link_sim_path *p)
{
    (void)w;
    if (!f->is_on || !concerns(f, from, to)) return;
    switch (f->kind) {
    case MANTA_SIM_DELAY: p->delay_max_ns = SLOW_LINK_MS * OS_NS_PER_MS; break;
    case MANTA_SIM_DUPLICATE: p->twice_ppm = 300000; break;
    case MANTA_SIM_DROP: p->refuse_ppm = 300000; break;
    case MANTA_SIM_PARTITION:
    case MANTA_SIM_ONE_WAY: p->is_blocked = true; break;
    default: break;
    }
}

static void set_path(world *w, uint32_t from, uint32_t to)
{
    link_sim_path *p = link_sim_path_of(w->net, w->nodes[from].process, w->nodes[to].process);
    if (!p) return;
    *p = (link_sim_path){.delay_min_ns = 50 * OS_NS_PER_US, .delay_max_ns = OS_NS_PER_MS};
    from = w->nodes[from].host;
    to = w->nodes[to].host;
    if (from == to) return;
    for (uint32_t i = 0; i < w->plan.count; i++) add_to_path(w, &w->plan.faults[i], from, to, p);
    for (uint32_t i = 0; i < w->n_injected; i++) add_to_path(w, &w->injected[i], from, to, p);
}

void faults_set_paths(world *w)
{
    for (uint32_t a = 0; a < w->n_slots; a++)
        for (uint32_t b = 0; b < w->n_slots; b++)
            if (a != b && w->nodes[a].process && w->nodes[b].process) set_path(w, a, b);
}

/* ---- beginning and end of one ---- */

static void set_disk(world *w, uint32_t node, bool slow)
{
    if (!w->nodes[node].is_up) return;
    world_enter(w, node);
    raft_disks_set_delay(50 * OS_NS_PER_US, slow ? SLOW_DISK_MS * (uint64_t)OS_NS_PER_MS : w->nodes[node].disk_ns);
    world_leave(w);
}

void node_pause(world *w, uint32_t node, uint64_t ns)
{
    if (!w->nodes[node].is_up) return;
    w->nodes[node].paused_ns = link_sim_now_ns(w->net) + ns;
    link_sim_pause(w->net, w->nodes[node].process, ns);
}

static void pause_all(world *w, const fault *f)
{
    node_pause(w, f->a, f->end_ns - f->at_ns);
    processes_pause(w, f->a, f->end_ns - f->at_ns);
}

/* Those of nodes a and b. */
static void cut(world *w, const fault *f)
{
    for (uint32_t i = 0; i < w->n_slots; i++)
        for (uint32_t k = 0; k < w->n_slots; k++)
            if (w->nodes[i].host == f->a && w->nodes[k].host == f->b && w->nodes[i].is_up && w->nodes[k].is_up)
                link_sim_cut(w->net, w->nodes[i].process, w->nodes[k].process);
}

/* False: not now. */
static bool take_down(world *w, uint32_t node, const fault *f)
{
    sim_node *n = &w->nodes[node];
    if (!n->is_up || n->outer || processes_wait(w, node)) return false;
    if (f->kind == MANTA_SIM_CRASH) node_crash(w, node, f->is_silent);
    else node_shut_down(w, node);
    return true;
}

static bool is_held(const world *w, uint32_t node)
{
    for (uint32_t i = 0; i < w->plan.count + w->n_injected; i++) {
        const fault *f = i < w->plan.count ? &w->plan.faults[i] : &w->injected[i - w->plan.count];
        if (f->is_on && f->kind == MANTA_SIM_SUSPEND && f->a == node) return true;
    }
    return false;
}

/* Half of the waits are short, so that they fall between two steps of somebody else. */
uint64_t faults_hold_ns(world *w, uint32_t node)
{
    if (!is_held(w, node) || rng_below(&w->random, HELD_OF)) return 0;
    return 1 + rng_below(&w->random, (rng_below(&w->random, 2) ? 1 : HELD_LONGEST_MS) * (uint64_t)OS_NS_PER_MS);
}

/* Handlers let others run after a few sends, instead of hundreds. */
void faults_set_budget(const world *w, uint32_t node)
{
    the_pool.policy.send_budget = is_held(w, node) ? BUDGET : pool_policy_default().send_budget;
}

static void set_budgets(world *w, uint32_t node)
{
    for (uint32_t i = 0; i < w->n_slots; i++) {
        if (!w->nodes[i].is_up || w->nodes[i].host != node) continue;
        world_enter(w, i);
        faults_set_budget(w, node);
        world_leave(w);
    }
}

/* A crash of "a and a" is one of all nodes, as when the power fails. */
static bool is_for_all(const fault *f) { return f->kind == MANTA_SIM_CRASH && f->a == f->b; }

static void take_down_all(world *w, fault *f)
{
    bool some = false;
    for (uint32_t i = 0; i < w->test.nodes; i++)
        if (i == f->a || is_for_all(f)) some |= take_down(w, i, f);
    if (some) return;
    f->is_on = false;
    f->is_over = true;
}

static void bring_back(world *w, const fault *f)
{
    for (uint32_t i = 0; i < w->test.nodes; i++)
        if ((i == f->a || is_for_all(f)) && !w->nodes[i].is_up) node_boot(w, i);
}

static void begin(world *w, fault *f)
{
    world_note(w, "world", "%s %u %u begins", fault_name(f->kind), f->a, f->b);
    w->result->by_kind[number_of(f->kind)]++;
    f->is_on = true;
    switch (f->kind) {
    case MANTA_SIM_CRASH:
    case MANTA_SIM_STOP: take_down_all(w, f); break;
    case MANTA_SIM_PAUSE: pause_all(w, f); break;
    case MANTA_SIM_SLOW_DISK: set_disk(w, f->a, true); break;
    case MANTA_SIM_SUSPEND: set_budgets(w, f->a); break;
    case MANTA_SIM_DROP: cut(w, f); break;
    case MANTA_SIM_KILL:
        if (!process_kill_one(w, f->a)) f->is_on = !(f->is_over = true);
        break;
    default: break;
    }
    faults_set_paths(w);
}

static void end(world *w, fault *f)
{
    if (f->kind == MANTA_SIM_STOP && w->nodes[f->a].is_stopping) { /* it takes its time */
        f->end_ns = world_now_ns(w) + STOPPING_MS * (uint64_t)OS_NS_PER_MS;
        return;
    }
    world_note(w, "world", "%s %u %u ends", fault_name(f->kind), f->a, f->b);
    f->is_on = false;
    f->is_over = true;
    if (f->kind == MANTA_SIM_CRASH || f->kind == MANTA_SIM_STOP) bring_back(w, f);
    if (f->kind == MANTA_SIM_SLOW_DISK) set_disk(w, f->a, false);
    if (f->kind == MANTA_SIM_SUSPEND) set_budgets(w, f->a);
    faults_set_paths(w);
}

uint32_t faults_count(const world *w, uint32_t kinds)
{
    uint64_t count = 0;
    for (int i = 0; i < FAULT_KINDS; i++)
        if (kinds >> i & 1) count += w->result->by_kind[i];
    return (uint32_t)count;
}

/* ---- all of them ---- */

static uint64_t due_of(const world *w, const fault *f)
{
    bool is_planned = f >= w->plan.faults && f < w->plan.faults + w->plan.count;
    if (f->is_over || (!f->is_on && is_planned && w->no_more_faults)) return NEVER;
    return (f->is_on ? f->end_ns : f->at_ns) + OS_NS_PER_S;
}

uint64_t faults_due_ns(const world *w)
{
    uint64_t due = NEVER;
    for (uint32_t i = 0; i < w->plan.count; i++)
        if (due_of(w, &w->plan.faults[i]) < due) due = due_of(w, &w->plan.faults[i]);
    for (uint32_t i = 0; i < w->n_injected; i++)
        if (due_of(w, &w->injected[i]) < due) due = due_of(w, &w->injected[i]);
    return due;
}

static void apply_one(world *w, fault *f, uint64_t now)
{
    if (due_of(w, f) > now) return;
    if (f->is_on) end(w, f);
    else begin(w, f);
}

void faults_apply(world *w)
{
    uint64_t now = link_sim_now_ns(w->net);
    for (uint32_t i = 0; i < w->plan.count; i++) apply_one(w, &w->plan.faults[i], now);
    for (uint32_t i = 0; i < w->n_injected; i++) apply_one(w, &w->injected[i], now);
}

void faults_end_all(world *w)
{
    w->no_more_faults = true;
    for (uint32_t i = 0; i < w->plan.count; i++)
        if (w->plan.faults[i].is_on) end(w, &w->plan.faults[i]);
    for (uint32_t i = 0; i < w->n_injected; i++)
        if (w->injected[i].is_on) end(w, &w->injected[i]);
}
