/*
 * Draining a node: it takes no more work, what waits goes to others, leases of tasks are called back after the task that runs, and workers end as soon as nobody needs what they have. The control store's table of nodes says
 * so to all: they place nothing there any more, and its leader takes the node's server out of its voters.
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "actor/node/leases.h"
#include "actor/node/membership.h"
#include "actor/node/node.h"

enum { LOOK_MS = 50, BUSY_TEXT = 1000, END_MS = 100 };

bool drain_is_leaving(const lessor *l, uint64_t node)
{
    for (uint32_t i = 0; i < l->n_leaving; i++)
        if (l->leaving[i] == node) return true;
    return false;
}

bool drain_is_here(const lessor *l) { return l->n_leaving && drain_is_leaving(l, l->nodes[0].place.id); }

void drain_forget(lessor *l, uint64_t node)
{
    for (uint32_t i = 0; i < l->n_leaving; i++)
        if (l->leaving[i] == node) l->leaving[i--] = l->leaving[--l->n_leaving];
}

/* Those of actors stay until the actors end. */
void drain_recall(lessor *l)
{
    size_t cursor = 0;
    if (!drain_is_here(l)) return;
    for (lease_entry *x; (x = id_table_next(&l->leases, &cursor, NULL));) {
        if (x->recalled || !x->is_granted || x->request->is_actor) continue;
        x->recalled = true;
        (void)MantaOwner_recalled_send(MantaOwner_ref_of(x->request->owner), x->request->id);
    }
}

void drain_begin(lessor *l, uint64_t node)
{
    if (drain_is_leaving(l, node) || l->n_leaving == NODES_LIMIT) return;
    l->leaving[l->n_leaving++] = node;
    if (node != l->nodes[0].place.id) return;
    leases_place_again(l);
    drain_recall(l);
    workers_tick(l, pool_now_ns());
}

static const char *kind_of(const worker_view *w)
{
    return w->ending ? "which is ending" : w->leases ? "which has work" : "which keeps actors or objects that others need";
}

size_t drain_describe(const lessor *l, char *out, size_t room)
{
    size_t n = 0;
    for (uint32_t i = 0; i < l->n_workers && n + 100 < room; i++)
        n += (size_t)snprintf(out + n, room - n, "%sworker %u, %s", n ? "; " : "", l->workers[i]->pid, kind_of(l->workers[i]));
    return n;
}

/* ---- the raylet's part ---- */

/* "": nothing is here that must end first. */
static manta_str what_is_here(const struct raylet *r)
{
    uint32_t drivers = raylet_drivers(r);
    manta_str busy = {NULL, 0};
    if (manta_get(MantaLeases_describe(MantaLeases_ref_of(raylet_leases(r)), DESCRIBE_WORKERS), &busy))
        busy = manta_str_of(manta_last_error()->message);
    if (!drivers) return busy;
    char *text = manta_alloc(BUSY_TEXT + 100);
    int n = text ? snprintf(text, BUSY_TEXT + 100, "%u driver%s%s%.*s", drivers, drivers > 1 ? "s" : "", busy.size ? "; " : "",
                       (int)busy.size, busy.size ? busy.data : "")
                 : 0;
    return (manta_str){text, (size_t)n};
}

MANTA_METHOD_DEFINE(MantaRaylet, drain, manta_str, (uint64_t, timeout_ms), (bool, ends))
{
    uint64_t end = manta_now_ns() + timeout_ms * OS_NS_PER_MS;
    manta_str left = {"", 0};
    if (membership_drain("it is being drained")) {
        manta_fail(manta_last_error()->status, "%s", manta_last_error()->message);
        return left;
    }
    (void)manta_join(MantaLeases_node(MantaLeases_ref_of(raylet_leases(self->r)), (MantaNodeInfo){.id = the_node.process}, NODE_LEAVES));
    for (;;) {
        left = what_is_here(self->r);
        if (!left.size || manta_now_ns() >= end) break;
        (void)manta_sleep(LOOK_MS);
    }
    if (ends) (void)MantaRaylet_end_after(END_MS, MantaRaylet_ref_of(manta_self()));
    return left;
}

MANTA_METHOD_DEFINE(MantaRaylet, end, void)
{
    (void)self;
    (void)kill(getpid(), SIGTERM);
}
