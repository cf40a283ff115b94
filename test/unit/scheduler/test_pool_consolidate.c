#include "scheduler/pool/consolidate.h"
#include "test/support/test.h"

enum { MS = 1000000, TICK = 10 * MS };

/* A machine to be controlled: messages per microsecond with one worker and with all, and the share of remote sends with all. */
typedef struct plant {
    consolidator c;
    consolidate_sample at;
    int active;
    double one, all, remote;
    int changes;
} plant;

static void plant_init(plant *p, double one, double all, double remote)
{
    *p = (plant){.active = 2, .one = one, .all = all, .remote = remote};
    p->at.now_ns = TICK;
    consolidate_begin(&p->c, 2);
}

static void plant_run(plant *p, int ticks)
{
    for (int i = 0; i < ticks; i++) {
        double rate = p->active == 1 ? p->one : p->all;
        uint64_t n = (uint64_t)(rate * TICK / 1000);
        p->at.now_ns += TICK;
        p->at.messages += n;
        p->at.sends += n;
        if (p->active > 1) p->at.remote_sends += (uint64_t)(p->remote * (double)n);
        int active = consolidate_step(&p->c, &p->at);
        p->changes += active != p->active;
        p->active = active;
    }
}

/* Share of ticks, of the next n, that one worker is active. */
static double time_on_one(plant *p, int n)
{
    int one = 0;
    for (int i = 0; i < n; i++) {
        plant_run(p, 1);
        one += p->active == 1;
    }
    return (double)one / n;
}

/* Small messages that mostly cross over, faster on one worker: one worker gets them, nearly all of the time. */
TEST(cheap_remote_traffic_goes_to_one)
{
    plant p;
    plant_init(&p, 28, 15, 0.5);
    plant_run(&p, 20);
    EXPECT(p.active == 1);
    EXPECT(time_on_one(&p, 1000) > 0.95);
}

/* Without remote sends nothing is tried at all. */
TEST(independent_work_keeps_all)
{
    plant p;
    plant_init(&p, 30, 55, 0.01);
    plant_run(&p, 1000);
    EXPECT_EQ(p.changes, 0);
}

/* Remote, but faster on all: trials become rare. */
TEST(losing_trials_become_rare)
{
    plant p;
    plant_init(&p, 15, 28, 0.5);
    EXPECT(time_on_one(&p, 1000) < 0.08);
    plant_run(&p, 1000);
    EXPECT(time_on_one(&p, 1000) < 0.02);
}

/* A gain of less than 15 % changes nothing. */
TEST(small_gain_changes_nothing)
{
    plant p;
    plant_init(&p, 16, 15, 0.5);
    EXPECT(time_on_one(&p, 2000) < 0.05);
}

/* Expensive messages keep all workers, and bring them back at once. */
TEST(expensive_messages_need_all)
{
    plant p;
    plant_init(&p, 1.5, 1.5, 0.9);
    plant_run(&p, 100);
    EXPECT_EQ(p.changes, 0);
    plant_init(&p, 28, 15, 0.5);
    plant_run(&p, 20);
    EXPECT(p.active == 1);
    p.one = p.all = 1;
    plant_run(&p, 1);
    EXPECT(p.active == 2);
}

/* Work that nobody takes brings all workers back at once. */
TEST(waiting_work_needs_all)
{
    plant p;
    plant_init(&p, 28, 15, 0.5);
    plant_run(&p, 20);
    EXPECT(p.active == 1);
    p.at.waiting = true;
    plant_run(&p, 1);
    EXPECT(p.active == 2);
}

/* When the work becomes independent all workers get it again, within the longest backoff. */
TEST(changed_work_is_noticed)
{
    plant p;
    plant_init(&p, 28, 15, 0.5);
    plant_run(&p, 3000);
    EXPECT(p.active == 1);
    p.all = 55;
    p.remote = 0;
    EXPECT(time_on_one(&p, 600) < 0.9);
    EXPECT(p.active == 2);
}
