/*
 * Nodes that cannot run a job's program (another kind of machine, a library that is missing). Such a node keeps the job with the reason, tells the other nodes, and sends on what is asked of it.
 *
 * A node tells of itself before it sends a request on, so a request meets every such node at most once. What is forgotten here (the oldest of UNFIT_LIMIT) costs another such trip.
 */
#include <stdio.h>
#include <string.h>

#include "actor/node/leases.h"

static uint32_t find(const lessor *l, uint64_t job, uint64_t node) /* n_unfit: it is not there */
{
    uint32_t i = 0;
    while (i < l->n_unfit && (l->unfit[i].job != job || l->unfit[i].node != node)) i++;
    return i;
}

bool unfit_is(const lessor *l, uint64_t job, uint64_t node) { return find(l, job, node) < l->n_unfit; }

const char *unfit_why(const lessor *l, uint64_t job)
{
    for (uint32_t i = 0; i < l->n_unfit; i++)
        if (l->unfit[i].job == job) return l->unfit[i].why;
    return NULL;
}

static void note(lessor *l, uint64_t job, uint64_t node, manta_str why)
{
    unfit_entry *u = &l->unfit[l->n_unfit < UNFIT_LIMIT ? l->n_unfit++ : l->unfit_at++ % UNFIT_LIMIT];
    *u = (unfit_entry){.job = job, .node = node};
    snprintf(u->why, sizeof u->why, "%.*s", (int)why.size, why.data ? why.data : "");
}

void unfit_forget(lessor *l, uint64_t job)
{
    for (uint32_t i = 0; i < l->n_unfit; i++)
        if (l->unfit[i].job == job) l->unfit[i--] = l->unfit[--l->n_unfit];
}

static void tell(manta_actor leases, const unfit_entry *u)
{
    (void)MantaLeases_job_send(MantaLeases_ref_of(leases), (MantaJob){.id = u->job}, manta_str_of(""), u->node, manta_str_of(u->why));
}

void unfit_tell(const lessor *l, manta_actor leases)
{
    for (uint32_t i = 0; i < l->n_unfit; i++)
        if (l->unfit[i].node == l->nodes[0].place.id) tell(leases, &l->unfit[i]);
}

void unfit_note(lessor *l, const MantaJob *job, uint64_t node, manta_str why)
{
    bool is_here = node == l->nodes[0].place.id;
    if (unfit_is(l, job->id, node) || (is_here && !job_add(l, job, manta_str_of("")))) return;
    note(l, job->id, node, why);
    for (uint32_t i = 1; is_here && i < l->n_nodes; i++) tell(l->nodes[i].leases, &l->unfit[find(l, job->id, node)]);
    leases_place_again(l);
}
