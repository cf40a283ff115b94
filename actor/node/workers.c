/*
 * The worker processes of a node: started when a lease needs one, kept a while for the next, ended when they are idle and nobody needs what they have.
 */
#include <stdio.h>
#include <string.h>

#include "actor/node/leases.h"

worker_view *worker_of_pid(lessor *l, uint32_t pid)
{
    for (uint32_t i = 0; i < l->n_workers; i++)
        if (l->workers[i]->pid == pid) return l->workers[i];
    return NULL;
}

uint32_t host_limit(const lessor *l)
{
    int64_t cpus = resources_get(&l->nodes[0].place.total, "cpus") / RESOURCE_UNIT;
    return cpus > 1 ? (uint32_t)cpus : 1;
}

static worker_view *find_host(const lessor *l, uint64_t job, uint32_t *out_count)
{
    worker_view *best = NULL;
    for (uint32_t i = 0; i < l->n_workers; i++) {
        worker_view *w = l->workers[i];
        if (w->job != job || !w->is_host || w->ending) continue;
        ++*out_count;
        if (!best || w->leases < best->leases) best = w;
    }
    return best;
}

static worker_view *find_idle(const lessor *l, uint64_t job)
{
    worker_view *best = NULL;
    for (uint32_t i = 0; i < l->n_workers; i++) {
        worker_view *w = l->workers[i];
        bool free = w->job == job && !w->is_host && !w->leases && !w->ending && !w->has_gpus && !w->is_own;
        if (free && (!best || (w->is_ready && !best->is_ready))) best = w;
    }
    return best;
}

static void gpu_text(uint64_t mask, char *out, size_t room)
{
    size_t n = (size_t)snprintf(out, room, "CUDA_VISIBLE_DEVICES=");
    for (int i = 0, some = 0; i < GPUS_LIMIT; i++)
        if (mask >> i & 1 && n < room) n += (size_t)snprintf(out + n, room - n, some++ ? ",%d" : "%d", i);
}

static worker_view *start(lessor *l, const job_view *job, bool host, uint64_t gpu_mask)
{
    char gpus[256];
    if (l->n_workers == WORKERS_LIMIT) {
        error_set(MANTA_ELIMIT, "at most %d workers on a node", WORKERS_LIMIT);
        return NULL;
    }
    worker_view *w = base_calloc(1, sizeof *w);
    gpu_text(gpu_mask, gpus, sizeof gpus);
    if (!w || child_run(job->path, job->name, job->info.id, l->nodes[0].address, gpu_mask ? gpus : NULL, &w->pid)) {
        base_free(w);
        return NULL;
    }
    w->job = job->info.id;
    w->is_host = host;
    w->has_gpus = gpu_mask != 0;
    w->idle_since_ns = w->started_ns = pool_now_ns();
    return l->workers[l->n_workers++] = w;
}

worker_view *worker_for(lessor *l, job_view *job, const lease_request *r, bool shared, uint64_t gpu_mask)
{
    uint32_t hosts = 0;
    worker_view *w = shared ? find_host(l, r->job, &hosts) : gpu_mask || r->is_detached || r->isolated ? NULL : find_idle(l, r->job);
    if (w && (!shared || !w->leases || hosts >= host_limit(l))) return w;
    worker_view *fresh = start(l, job, shared, gpu_mask);
    if (fresh) fresh->is_detached = r->is_detached;
    if (fresh && r->isolated) {
        fresh->is_own = true;
        fresh->memory_limit = (uint64_t)(resources_get(&r->need, "memory") / RESOURCE_UNIT);
    }
    return fresh ? fresh : w;
}

void worker_end(lessor *l, worker_view *w, const char *why)
{
    (void)l;
    w->ending = true;
    child_kill(w->pid, why);
}

/* Asks a worker that has been idle whether it may end: another process may still need an actor or an object of it. */
static void ask(lessor *l, worker_view *w)
{
    bool may = false;
    uint32_t pid = w->pid;
    w->idle_since_ns = pool_now_ns();
    if (manta_get_timeout(MantaOwner_may_end(MantaOwner_ref_of(w->owner)), &may, GOSSIP_MS * 10) || !may) return;
    w = worker_of_pid(l, pid);
    if (w && !w->leases) worker_end(l, w, "it was idle");
}

void workers_tick(lessor *l, uint64_t now_ns)
{
    for (uint32_t i = 0; i < l->n_workers; i++) {
        worker_view *w = l->workers[i];
        bool idle = w->is_ready && !w->leases && !w->ending && now_ns - w->idle_since_ns >= (drain_is_here(l) ? 0 : l->idle_ns);
        if (!idle) continue;
        ask(l, w);
        return; /* one at a time: the list may have changed */
    }
}
