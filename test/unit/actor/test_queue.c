/*
 * The queue of requests of a node: order, fairness, against a model.
 */
#include "actor/node/queue.h"
#include "scheduler/base/alloc.h"
#include "test/support/test.h"

static uint64_t next_id;

static lease_request *make(uint64_t job, int32_t priority)
{
    lease_request *r = base_calloc(1, sizeof *r);
    r->id = ++next_id;
    r->job = job;
    r->priority = priority;
    (void)resources_set(&r->need, "cpus", RESOURCE_UNIT);
    return r;
}

static resources cpus(int64_t n)
{
    resources r = {0};
    (void)resources_set(&r, "cpus", n * RESOURCE_UNIT);
    return r;
}

static bool all(void *context, const lease_request *r) { return (void)context, (void)r, true; }
static bool none(void *context, const lease_request *r) { return (void)context, (void)r, false; }
static bool of_job(void *context, const lease_request *r) { return r->job == *(uint64_t *)context; }

/* Takes the next and lets its job use a cpu; its id. */
static uint64_t serve(queue *q, const resources *total)
{
    lease_request *r = queue_next(q, total, all, NULL);
    uint64_t id = r ? r->id : 0;
    if (!r) return 0;
    queue_use(q, r->job, &r->need, false);
    base_free(queue_remove(q, r));
    return id;
}

/* Within a job: by priority, then in the order of arrival. */
TEST(priorities)
{
    queue q = {0};
    resources total = cpus(4);
    uint64_t first = next_id + 1;
    int32_t priority[6] = {0, -1, 1, 0, 1, -1};
    static const uint64_t order[6] = {2, 4, 0, 3, 1, 5};
    for (int i = 0; i < 6; i++) EXPECT(queue_push(&q, make(7, priority[i])));
    EXPECT(queue_get(&q, first) && !queue_get(&q, first + 6));
    for (int i = 0; i < 6; i++) EXPECT_EQ(serve(&q, &total), first + order[i]);
    EXPECT_EQ(q.count, 0);
    EXPECT(!queue_next(&q, &total, all, NULL));
    queue_fini(&q);
}

/* Between jobs: who uses least is next, however many requests another has before it, and whatever their priority. */
TEST(fair_share)
{
    queue q = {0};
    resources total = cpus(4), one = cpus(1);
    for (int i = 0; i < 8; i++) EXPECT(queue_push(&q, make(1, 1)));
    for (int i = 0; i < 8; i++) EXPECT(queue_push(&q, make(2, -1)));
    int served[3] = {0};
    for (int i = 0; i < 4; i++) {
        lease_request *r = queue_next(&q, &total, all, NULL);
        served[r->job]++;
        (void)serve(&q, &total);
    }
    EXPECT(served[1] == 2 && served[2] == 2);
    EXPECT_EQ(queue_share(&q, 1, &total), 5000);
    queue_use(&q, 2, &one, true);
    EXPECT_EQ(queue_next(&q, &total, all, NULL)->job, 2);
    queue_fini(&q);
}

/* On one cpu, jobs that use nothing take turns. */
TEST(turns)
{
    queue q = {0};
    resources total = cpus(1), one = cpus(1);
    for (int i = 0; i < 12; i++) EXPECT(queue_push(&q, make(1 + (uint64_t)(i < 6), 0)));
    uint64_t last = 0;
    for (int i = 0; i < 12; i++) {
        uint64_t job = queue_next(&q, &total, all, NULL)->job;
        EXPECT(job != last);
        last = job;
        (void)serve(&q, &total);
        queue_use(&q, job, &one, true);
    }
    queue_fini(&q);
}

/* What may not run is passed over and stays. */
TEST(passed_over)
{
    queue q = {0};
    resources total = cpus(1);
    uint64_t wanted = 2;
    EXPECT(queue_push(&q, make(1, 1)) && queue_push(&q, make(2, 0)));
    EXPECT(!queue_next(&q, &total, none, NULL));
    EXPECT_EQ(queue_next(&q, &total, of_job, &wanted)->job, 2);
    EXPECT_EQ(q.count, 2);
    queue_fini(&q);
}

/* At its limit the queue takes no more, and says so. */
TEST(limit)
{
    queue q = {0};
    for (int i = 0; i < QUEUE_LIMIT; i++) EXPECT(queue_push(&q, make(1, 0)));
    lease_request *more = make(1, 0);
    EXPECT(!queue_push(&q, more));
    base_free(more);
    queue_fini(&q);
}
