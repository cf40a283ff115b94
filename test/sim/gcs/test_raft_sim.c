/*
 * Raft under faults, from seeds. MANTA_SIM_SEEDS=A..B runs those seeds instead of the usual ones and goes on after a violation; MANTA_SIM_TRACE=1 shows the course of a run.
 */
#include "test/support/raft_sim.h"

#include "test/support/test.h"

static bool seeds_wanted(uint64_t *out_from, uint64_t *out_to)
{
    const char *text = getenv("MANTA_SIM_SEEDS");
    return text && sscanf(text, "%" SCNu64 "..%" SCNu64, out_from, out_to) == 2;
}

static void add(raft_sim_report *sum, const raft_sim_report *r)
{
    sum->steps += r->steps;
    sum->messages += r->messages;
    sum->applied += r->applied;
    sum->leaders += r->leaders;
    sum->crashes += r->crashes;
    sum->snapshots += r->snapshots;
    sum->installs += r->installs;
    sum->changes += r->changes;
    sum->transfers += r->transfers;
    sum->reads += r->reads;
    sum->refused_memory += r->refused_memory;
}

static void print_sum(const raft_sim_report *s, uint64_t seeds, uint64_t violations, double seconds)
{
    printf("%" PRIu64 " seeds, %" PRIu64 " violations, %.1f seeds/s, %.2f M steps/s\n", seeds, violations, (double)seeds / seconds,
        (double)s->steps / seconds / 1e6);
    printf("steps %" PRIu64 ", messages %" PRIu64 ", applied %" PRIu64 ", leaders %" PRIu64 ", crashes %" PRIu64 ", snapshots %" PRIu64
           ", installs %" PRIu64 ", changes %" PRIu64 ", transfers %" PRIu64 ", reads %" PRIu64 ", failed allocations %" PRIu64 "\n",
        s->steps, s->messages, s->applied, s->leaders, s->crashes, s->snapshots, s->installs, s->changes, s->transfers, s->reads,
        s->refused_memory);
}

/* Under crashes, lost writes, partitions, lost and late messages, transfers, changes of membership and snapshots, Raft's promises hold at every step, and the cluster converges. */
TEST(seeds)
{
    uint64_t from = test_seed() << 16, to = from + (uint64_t)test_scaled(1000), violations = 0, done = 0;
    bool wanted = seeds_wanted(&from, &to);
    raft_sim_report r, sum = {0};
    double start = test_now_s();
    for (uint64_t seed = from; seed < to; seed++, done++) {
        if (!raft_sim_run(seed, &r)) {
            fprintf(stderr, "%s\n", r.violation);
            violations++;
            if (!wanted) break;
        }
        add(&sum, &r);
    }
    print_sum(&sum, done, violations, test_now_s() - start);
    EXPECT_EQ(violations, 0);
    if (!wanted) EXPECT(sum.leaders && sum.crashes && sum.installs && sum.changes && sum.reads && sum.refused_memory);
}

/* A seed replays its course exactly, and seeds differ. */
TEST(replay)
{
    raft_sim_report a, b;
    uint64_t before = 0;
    if (getenv("MANTA_SIM_SEEDS")) return;
    for (uint64_t seed = 1; seed <= (uint64_t)test_scaled(50); seed++) {
        EXPECT(raft_sim_run(seed, &a) && raft_sim_run(seed, &b));
        EXPECT(a.hash == b.hash && a.steps == b.steps && a.hash != before);
        before = a.hash;
    }
}
