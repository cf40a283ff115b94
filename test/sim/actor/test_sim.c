/*
 * manta/sim.h: what a seed decides, what faults do, and how a failure is told.
 */
#include <fcntl.h>
#include <unistd.h>

#include <manta/sim.h>

#include "test/support/test.h"

enum { OUTPUT_BYTES = 65536 };

static int node_variable; /* each node has its own */

typedef struct seen {
    int64_t value, acknowledged, downs, restarts, variables, unknown;
    uint64_t down_ns, crashed_ns, random[3];
    bool is_back, has_value;
} seen;

static seen *look(void) { return manta_sim_shared(); }

MANTA_ACTOR(SimCounter, int64_t value;)
MANTA_METHOD(SimCounter, add, int64_t, (int64_t, by)) { return self->value += by; }
MANTA_CLASS(SimCounter, add)

MANTA_ACTOR(SimWatcher, int64_t downs;)
MANTA_METHOD_DECLARE(SimWatcher, watch, void, (manta_actor, who))
MANTA_METHOD_DECLARE(SimWatcher, on_down, void, (manta_actor, who), (int32_t, status), (manta_str, why))
MANTA_METHOD_DEFINE(SimWatcher, watch, void, (manta_actor, who))
{
    (void)self;
    (void)manta_monitor(who, SimWatcher_on_down, NULL);
}
MANTA_METHOD_DEFINE(SimWatcher, on_down, void, (manta_actor, who), (int32_t, status), (manta_str, why))
{
    (void)who, (void)status, (void)why;
    self->downs++;
    look()->downs++;
    look()->down_ns = manta_sim_now_ns();
}
MANTA_CLASS(SimWatcher, watch, on_down)

/* Runs the test with these arguments; what it printed is in `output`. */
static int run(const manta_sim_test *t, char *output, const char *a, const char *b, const char *c)
{
    char *argv[] = {"test", (char *)(uintptr_t)a, (char *)(uintptr_t)b, (char *)(uintptr_t)c, NULL};
    char path[] = "/tmp/manta-test-sim-XXXXXX";
    int argc = 1, file = mkstemp(path), before = dup(1), code;
    while (argc < 4 && argv[argc]) argc++;
    fflush(NULL);
    dup2(file, 1);
    unlink(path);
    code = manta_sim_main(argc, argv, t);
    fflush(NULL);
    ssize_t n = pread(file, output, OUTPUT_BYTES - 1, 0);
    output[n > 0 ? n : 0] = 0;
    dup2(before, 1);
    close(before);
    close(file);
    return code;
}

static char text[OUTPUT_BYTES];

/* ---- one node calls another, whatever happens ---- */

static void start_calls(uint32_t node)
{
    manta_process p;
    if (node != 0 || manta_sim_incarnation() != 0) return;
    while (manta_sim_process(1, 1000, &p)) continue;
    SimCounter_ref counter = SimCounter_spawn_with(MANTA_OPTIONS(.process = p));
    for (uint32_t i = 0; counter.actor.id && i < manta_sim_steps(); i++) {
        if (manta_get(SimCounter_add(counter, 1), &look()->value) == MANTA_OK) look()->acknowledged++;
        else look()->unknown++;
        MANTA_SIM_EXPECT(look()->value >= look()->acknowledged && look()->value <= look()->acknowledged + look()->unknown);
        manta_sleep(20);
    }
    manta_sim_finish();
}

/* With all kinds of faults every seed passes, and a second run of a seed takes the same course. */
TEST(same_seed_same_course)
{
    const manta_sim_test t = {.size = sizeof t,
        .name = "calls",
        .faults = MANTA_SIM_ALL,
        .duration_ms = 3000,
        .steps = 50,
        .settle_ms = 2000,
        .shared_bytes = sizeof(seen),
        .start = start_calls};
    char seeds[32];
    snprintf(seeds, sizeof seeds, "1..%d", (int)test_scaled(40));
    EXPECT_EQ(run(&t, text, "--seeds", seeds, "--twice"), 0);
    EXPECT(strstr(text, " 0 failed") != NULL);
}

/* ---- a crash ---- */

static void start_crash(uint32_t node)
{
    manta_process p;
    if (node == 1 && manta_sim_incarnation() > 0) look()->restarts++;
    if (node == 1) look()->variables += ++node_variable;
    if (node == 1 || node_variable++) return;
    while (manta_sim_process(1, 1000, &p)) continue;
    SimCounter_ref counter = SimCounter_spawn_with(MANTA_OPTIONS(.process = p));
    SimWatcher_watch_send(SimWatcher_spawn(), counter.actor);
    manta_sleep(100);
    look()->crashed_ns = manta_sim_now_ns();
    (void)manta_sim_inject(MANTA_SIM_CRASH, 1, 0, 5000);
}

static void judge_crash(void *shared)
{
    const seen *s = shared;
    if (s->downs != 1 || s->restarts != 1) manta_sim_fail("%d downs, %d restarts", (int)s->downs, (int)s->restarts);
    if (s->down_ns - s->crashed_ns > 2100000000)
        manta_sim_fail("the loss was noticed after %d ms", (int)((s->down_ns - s->crashed_ns) / 1000000));
    if (s->variables != 2) manta_sim_fail("the variables of a crashed node were not new");
}

/* A node that crashes comes back with fresh variables, and who watched one of its actors is told once, within two seconds of virtual time. */
TEST(crash_and_restart)
{
    const manta_sim_test t = {
        .size = sizeof t, .name = "crash", .nodes = 2, .shared_bytes = sizeof(seen), .start = start_crash, .judge = judge_crash};
    EXPECT_EQ(run(&t, text, "--seeds", "1..5", NULL), 0);
}

/* ---- what is durable ---- */

static void start_durable(uint32_t node)
{
    uint64_t value = 42;
    manta_bytes found;
    if (node != 0) return;
    if (manta_sim_incarnation() == 0) {
        MANTA_SIM_EXPECT(manta_kv_put("test", "key", &value, sizeof value, MANTA_REVISION_ANY, NULL) == MANTA_OK);
        look()->has_value = true;
        (void)manta_sim_inject(MANTA_SIM_CRASH, 0, 0, 500);
        return;
    }
    look()->is_back = manta_kv_get("test", "key", &found, NULL) == MANTA_OK && found.size == sizeof value;
}

static void judge_durable(void *shared)
{
    const seen *s = shared;
    if (!s->has_value || !s->is_back) manta_sim_fail("what was acknowledged is gone after a power failure");
}

/* What the control store acknowledged is there after all nodes lost power at once. */
TEST(power_failure)
{
    const manta_sim_test t = {
        .size = sizeof t, .name = "durable", .voters = 3, .shared_bytes = sizeof(seen), .start = start_durable, .judge = judge_durable};
    EXPECT_EQ(run(&t, text, "--seeds", "1..8", NULL), 0);
}

/* ---- processes of a job ---- */

MANTA_TASK(sim_slow, uint64_t, (uint64_t, ms))
{
    look()->value++;
    manta_sleep(ms);
    return ms;
}

/* A task on the other node, whose worker is killed. */
static void drive(uint32_t node)
{
    manta_node_info nodes[2];
    uint64_t got = 0;
    size_t n = 0;
    while (manta_list_nodes(nodes, 2, &n) || n < 2) manta_sleep(50);
    MANTA_SIM_EXPECT(node == 0 && nodes[0].is_here);
    manta_uint64_t_future f = sim_slow_submit_with(MANTA_OPTIONS(.where = MANTA_WHERE_NODE, .node = nodes[1].node), 500);
    while (!look()->value) manta_sleep(20);
    MANTA_SIM_EXPECT(manta_sim_inject(MANTA_SIM_KILL, 1, 0, 1) == MANTA_OK);
    MANTA_SIM_EXPECT(manta_get(f, &got) == MANTA_OK && got == 500);
    MANTA_SIM_EXPECT(look()->value == 2 && manta_sim_count(MANTA_SIM_KILL) == 1);
    look()->is_back = true;
    manta_sim_finish();
}

static void judge_drive(void *shared)
{
    if (!((seen *)shared)->is_back) manta_sim_fail("the driver did not come to its end");
}

/* A driver's task runs in a worker process of the node that was asked for, and again when that is killed. */
TEST(killed_worker)
{
    const manta_sim_test t = {.size = sizeof t,
        .name = "drive",
        .nodes = 2,
        .voters = 1,
        .shared_bytes = sizeof(seen),
        .drive = drive,
        .drivers = 1,
        .judge = judge_drive};
    EXPECT_EQ(run(&t, text, "--seeds", "1..5", "--twice"), 0);
}

/* ---- sends that wait ---- */

MANTA_ACTOR(SimOpen, int64_t inside;)
MANTA_METHOD_DECLARE(SimOpen, pass_on, void, (SimCounter_ref, to), (int64_t, n))
MANTA_METHOD_DEFINE(SimOpen, pass_on, void, (SimCounter_ref, to), (int64_t, n))
{
    if (++self->inside > 1) look()->unknown++;
    SimCounter_add_send(to, n);
    self->inside--;
}
MANTA_CLASS_WITH(SimOpen, (.concurrency = 8), pass_on)

MANTA_ACTOR(SimClosed, int64_t inside;)
MANTA_METHOD_DECLARE(SimClosed, pass_on, void, (SimCounter_ref, to), (int64_t, n))
MANTA_METHOD_DEFINE(SimClosed, pass_on, void, (SimCounter_ref, to), (int64_t, n))
{
    MANTA_SIM_EXPECT(++self->inside == 1);
    SimCounter_add_send(to, n);
    self->inside--;
}
MANTA_CLASS_WITH(SimClosed, (.concurrency = 8, .no_yield_in_send = true), pass_on)

static void start_held(uint32_t node)
{
    manta_process p;
    if (node != 0) return;
    while (manta_sim_process(1, 1000, &p)) continue;
    SimCounter_ref counter = SimCounter_spawn_with(MANTA_OPTIONS(.process = p));
    SimOpen_ref open = SimOpen_spawn();
    SimClosed_ref closed = SimClosed_spawn();
    if (manta_sim_steps() > 1) (void)manta_sim_inject(MANTA_SIM_SUSPEND, 0, 1, 1000);
    manta_sleep(10);
    for (int i = 0; i < 100; i++) {
        SimOpen_pass_on_send(open, counter, 1);
        SimClosed_pass_on_send(closed, counter, 1);
    }
    manta_sleep(3000);
    MANTA_SIM_EXPECT(manta_get(SimCounter_add(counter, 0), &look()->value) == MANTA_OK && look()->value == 200);
    manta_sim_finish();
}

static void judge_held(void *shared)
{
    if (((seen *)shared)->unknown == 0) manta_sim_fail("no handler came in between");
}

/* Under `suspend` other handlers of an actor come in between while a send waits, but not where the class does not let sends wait; without it none do. */
TEST(suspended_sends)
{
    const manta_sim_test t = {
        .size = sizeof t, .name = "held", .nodes = 2, .steps = 2, .shared_bytes = sizeof(seen), .start = start_held, .judge = judge_held};
    EXPECT_EQ(run(&t, text, "--seeds", "1..5", "--twice"), 0);
    EXPECT_EQ(run(&t, text, "--steps", "1", "--no-shorten"), 1);
    EXPECT(strstr(text, "no handler came in between") != NULL);
}

/* ---- a failure ---- */

static void start_wrong(uint32_t node)
{
    if (node != 0) return;
    for (uint32_t i = 0; i < manta_sim_steps(); i++) manta_sleep(10);
    if (manta_sim_incarnation() > 0) manta_sim_fail("node 0 has started anew");
}

/* A failure is shortened to the fault that it needs, and printed with the command that repeats it, which fails the same way. */
TEST(failure_is_shortened)
{
    const manta_sim_test t = {.size = sizeof t,
        .name = "wrong",
        .faults = MANTA_SIM_CRASH | MANTA_SIM_DELAY | MANTA_SIM_PAUSE,
        .steps = 16,
        .start = start_wrong};
    unsigned faults = 0, steps = 0, left = 0, work = 0;
    EXPECT_EQ(run(&t, text, "--failures", "1", NULL), 1);
    const char *at = strstr(text, "shortened from");
    EXPECT(at && sscanf(at, "shortened from %u faults and %u steps to %u and %u:", &faults, &steps, &left, &work) == 4);
    EXPECT(left == 1 && work == 1);
    EXPECT(strstr(text, "node 0 has started anew") && strstr(text, "again: test --seed "));
}

/* A handler that crashes is a failed seed like another. */
static void start_fatal(uint32_t node)
{
    if (node == 2) __builtin_trap();
}
TEST(fatal_handler)
{
    const manta_sim_test t = {.size = sizeof t, .name = "fatal", .start = start_fatal};
    EXPECT_EQ(run(&t, text, "--seed", "1", "--no-shorten"), 1);
    EXPECT(strstr(text, "it was ended by ") != NULL);
}

/* Wrong arguments are refused, and say which. */
TEST(arguments)
{
    const manta_sim_test t = {.size = sizeof t, .name = "none", .start = start_wrong};
    EXPECT_EQ(run(&t, text, "--help", NULL, NULL), 0);
    EXPECT(strstr(text, "--seeds A..B") != NULL);
    EXPECT_EQ(run(&t, text, "--seeds", "5..4", NULL), 2);
    EXPECT_EQ(run(&t, text, "--faults", "crash,gremlins", NULL), 2);
    EXPECT_EQ(run(&t, text, "--nodes", "99", NULL), 2);
    EXPECT_EQ(run(&t, text, "--nonsense", NULL, NULL), 2);
}
