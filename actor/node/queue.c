#include "actor/node/queue.h"

#include "scheduler/base/alloc.h"

void queue_fini(queue *q)
{
    while (q->first) base_free(queue_remove(q, q->first));
    id_table_fini(&q->by_id);
    q->n_jobs = 0;
}

bool queue_push(queue *q, lease_request *r)
{
    if (q->count == QUEUE_LIMIT || !id_table_put(&q->by_id, r->id, r)) return false;
    r->next = NULL;
    r->previous = q->last;
    if (q->last) q->last->next = r;
    else q->first = r;
    q->last = r;
    q->count++;
    return true;
}

lease_request *queue_get(queue *q, uint64_t id) { return id_table_get(&q->by_id, id); }

lease_request *queue_remove(queue *q, lease_request *r)
{
    (void)id_table_remove(&q->by_id, r->id);
    if (r->previous) r->previous->next = r->next;
    else q->first = r->next;
    if (r->next) r->next->previous = r->previous;
    else q->last = r->previous;
    q->count--;
    return r;
}

int64_t queue_share(const queue *q, uint64_t job, const resources *total)
{
    int64_t most = 0;
    for (uint32_t i = 0; i < q->n_jobs; i++) {
        if (q->jobs[i].job != job) continue;
        const resources *used = &q->jobs[i].used;
        for (uint32_t k = 0; k < used->n; k++) {
            int64_t all = resources_get(total, used->items[k].name);
            int64_t share = all > 0 ? (int64_t)((double)used->items[k].amount / (double)all * 10000.0) : 0;
            if (share > most) most = share;
        }
    }
    return most;
}

/* Its place in the table, QUEUE_JOBS when it has none. A job that uses nothing makes room for a new one when the table is full. */
static uint32_t find_job(queue *q, uint64_t job, bool add)
{
    uint32_t i = 0, idle = QUEUE_JOBS;
    for (; i < q->n_jobs && q->jobs[i].job != job; i++)
        if (!q->jobs[i].used.n) idle = i;
    if (i < q->n_jobs) return i;
    if (!add || (i == QUEUE_JOBS && (i = idle) == QUEUE_JOBS)) return QUEUE_JOBS;
    if (i == q->n_jobs) q->n_jobs++;
    q->jobs[i].job = job;
    q->jobs[i].used = (resources){0};
    return i;
}

void queue_use(queue *q, uint64_t job, const resources *r, bool back)
{
    uint32_t i = find_job(q, job, !back);
    if (i == QUEUE_JOBS) return;
    if (back) resources_take(&q->jobs[i].used, r);
    else (void)resources_give(&q->jobs[i].used, r);
    if (!back) q->jobs[i].turn = ++q->turns;
}

static uint64_t turn_of(queue *q, uint64_t job)
{
    uint32_t i = find_job(q, job, false);
    return i < QUEUE_JOBS ? q->jobs[i].turn : 0;
}

lease_request *queue_next(queue *q, const resources *total, bool (*may)(void *context, const lease_request *r), void *context)
{
    lease_request *best = NULL;
    int64_t best_share = 0, share = 0;
    uint64_t job = 0, best_turn = 0, turn = 0;
    for (lease_request *r = q->first; r; r = r->next) {
        if (r == q->first || r->job != job) {
            share = queue_share(q, job = r->job, total);
            turn = turn_of(q, job);
        }
        bool less = best && r->job != best->job && (share < best_share || (share == best_share && turn < best_turn));
        bool better = !best || less || (r->job == best->job && r->priority > best->priority);
        if (!better || !may(context, r)) continue;
        best = r;
        best_share = share;
        best_turn = turn;
    }
    return best;
}
