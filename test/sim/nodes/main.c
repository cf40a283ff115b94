/*
 * simulate: whole nodes in one thread, from a seed: see simulate.h for what they do, and docs/simulation.md.
 */
#include <inttypes.h>

#include "test/sim/nodes/simulate.h"

enum { FINISH_MS = 40000 };

void program_finished(void) { watch()->finished[manta_sim_node()]++; }

static void start(uint32_t node)
{
    watched *w = watch();
    w->finished[node] = 0;
    if (node < DRIVERS) w->drivers[node] = DRIVES;
    messages_start(node);
    registers_start(node);
    locks_start(node);
    objects_start_on(node);
}

/* Every call must have completed by now, so that the programs come to their end. */
static void await_programs(uint32_t node)
{
    uint64_t end = manta_sim_now_ns() + FINISH_MS * UINT64_C(1000000);
    while (watch()->finished[node] < PROGRAMS && manta_sim_now_ns() < end) manta_sleep(50);
    if (watch()->finished[node] < PROGRAMS)
        manta_sim_fail("%u programs of node %u are not through: a call does not complete", PROGRAMS - watch()->finished[node], node);
    end += FINISH_MS * UINT64_C(1000000);
    while (node < DRIVERS && watch()->drivers[node] != RESTS && manta_sim_now_ns() < end) manta_sleep(50);
    if (node < DRIVERS && watch()->drivers[node] != RESTS) manta_sim_fail("the driver of node %u is not through", node);
}

static void await_no_objects(uint32_t node)
{
    manta_object_stats stats = {0};
    for (int i = 0; i < 200; i++) {
        if (manta_read_object_stats(&stats) || !stats.objects) return;
        manta_sleep(50);
    }
    manta_sim_fail("node %u: %" PRIu64 " objects are left that nobody holds", node, (uint64_t)stats.objects);
}

static void verify(uint32_t node)
{
    await_programs(node);
    await_no_objects(node);
}

static void judge(void *shared)
{
    watched *w = shared;
    messages_judge(w);
    registers_judge(w);
}

int main(int argc, char **argv)
{
    const manta_sim_test test = {.size = sizeof test,
        .name = "nodes",
        .nodes = 3,
        .faults = MANTA_SIM_ALL,
        .steps = 50,
        .duration_ms = 8000,
        .settle_ms = 2000,
        .voters = 5,
        .shared_bytes = sizeof(watched),
        .start = start,
        .drive = tasks_drive,
        .drivers = DRIVERS,
        .verify = verify,
        .judge = judge};
    return manta_sim_main(argc, argv, &test);
}
