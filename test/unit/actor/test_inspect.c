#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include <manta/manta.h>

#include "actor/inspect/inspect.h"
#include "test/support/test.h"

/* A lock that can be waited for: acquire is answered when the gate is opened. */
MANTA_ACTOR(Gate, bool is_open;)
MANTA_METHOD(Gate, pass, void)
{
    if (!self->is_open) manta_stash();
}
MANTA_METHOD(Gate, open, void)
{
    self->is_open = true;
    manta_unstash();
}
MANTA_CLASS(Gate, pass, open)

MANTA_ACTOR(Worker, int64_t done;)
MANTA_METHOD(Worker, hold, void, (Gate_ref, gate)) { manta_await(Gate_pass(gate)); }
MANTA_METHOD(Worker, work, void) { self->done++; }
MANTA_METHOD(Worker, nap, void, (uint64_t, ms)) { manta_sleep(ms); }
MANTA_CLASS(Worker, hold, work, nap)

static _Atomic int spin_on;
MANTA_ACTOR(Spinner, int64_t nothing;)
MANTA_METHOD(Spinner, spin, void)
{
    while (spin_on) continue;
}
MANTA_CLASS(Spinner, spin)

/* Asks the next one, which asks the next one, ... */
MANTA_ACTOR(Asker, manta_actor next;)
MANTA_METHOD_DECLARE(Asker, set, void, (manta_actor, next))
MANTA_METHOD_DECLARE(Asker, ask, int64_t, (int64_t, depth))
MANTA_METHOD_DEFINE(Asker, set, void, (manta_actor, next)) { self->next = next; }
MANTA_METHOD_DEFINE(Asker, ask, int64_t, (int64_t, depth))
{
    if (depth == 0 || !self->next.id) return 0;
    return manta_await(Asker_ask(Asker_ref_of(self->next), depth - 1)) + 1;
}
MANTA_CLASS(Asker, set, ask)

/* ---- support ---- */

static struct {
    pthread_mutex_t lock;
    char lines[32][256];
    int count;
} reports = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void on_report(const char *line, void *context)
{
    (void)context;
    pthread_mutex_lock(&reports.lock);
    snprintf(reports.lines[reports.count % 32], sizeof reports.lines[0], "%s", line);
    reports.count++;
    pthread_mutex_unlock(&reports.lock);
}

/* How many reports contain `text`; the first of them in out. */
static int reported(const char *text, char out[256])
{
    int n = 0;
    pthread_mutex_lock(&reports.lock);
    for (int i = 0; i < reports.count && i < 32; i++) {
        if (!strstr(reports.lines[i], text)) continue;
        if (out && n == 0) memcpy(out, reports.lines[i], 256);
        n++;
    }
    pthread_mutex_unlock(&reports.lock);
    return n;
}

static manta_t *begin(uint64_t seed, uint32_t stuck_after_ms)
{
    reports.count = 0;
    return manta_init_with(
        &(manta_config){.workers = 2, .seed = seed, .stuck_after_ms = stuck_after_ms, .on_report = on_report, .stop_timeout_ms = 2000});
}

static manta_actor_info info_of(manta_actor a)
{
    manta_actor_info info = {.class_name = ""};
    if (manta_actor_describe(a, &info) != MANTA_OK) info.class_name = "?";
    return info;
}

/* ---- tests ---- */

/* A suspended actor is shown as waiting, with its method, what it waits for, and exactly the messages that have queued up since. */
TEST(waiting_actor_and_its_queue)
{
    manta_t *m = begin(0, 0);
    Gate_ref gate = Gate_spawn();
    Worker_ref w = Worker_spawn_with(MANTA_OPTIONS(.name = "porter"));
    manta_void_future held = Worker_hold(w, gate);
    EXPECT(WAIT_FOR(info_of(w.actor).state == MANTA_STATE_WAITING, 10));
    for (int i = 0; i < 37; i++) EXPECT_EQ(Worker_work_send(w), MANTA_OK);
    manta_actor_info info = info_of(w.actor);
    EXPECT_STR(info.class_name, "Worker");
    EXPECT_STR(info.name, "porter");
    EXPECT_STR(info.method, "hold");
    EXPECT_STR(info.waits_for, "call");
    EXPECT_EQ(info.waits_for_actor.id, gate.actor.id);
    EXPECT_EQ(info.queue_length, 37);
    EXPECT_EQ(info.handled, 0);
    manta_await(Gate_open(gate));
    EXPECT_EQ(manta_join(held), MANTA_OK);
    EXPECT(WAIT_FOR(info_of(w.actor).handled == 38, 10));
    EXPECT(WAIT_FOR(info_of(w.actor).state == MANTA_STATE_IDLE, 10));
    info = info_of(w.actor);
    EXPECT_STR(info.method, "");
    EXPECT_STR(info.waits_for, "");
    EXPECT_EQ(info.queue_length, 0);
    EXPECT_EQ(manta_shutdown(m), MANTA_OK);
}

/* A running handler is shown as running, with its method; a dead actor is refused. */
TEST(running_and_dead)
{
    manta_t *m = begin(0, UINT32_MAX);
    Spinner_ref s = Spinner_spawn();
    spin_on = 1;
    manta_void_future f = Spinner_spin(s);
    EXPECT(WAIT_FOR(info_of(s.actor).state == MANTA_STATE_RUNNING, 10));
    EXPECT(WAIT_FOR(strcmp(info_of(s.actor).method, "spin") == 0, 10));
    EXPECT(WAIT_FOR(info_of(s.actor).message_age_ns > 0, 10));
    spin_on = 0;
    EXPECT_EQ(manta_join(f), MANTA_OK);
    EXPECT_EQ(manta_stop(s.actor), MANTA_OK);
    EXPECT_EQ(manta_wait_exit(s.actor, 10000, NULL), MANTA_OK);
    manta_actor_info info;
    EXPECT_EQ(manta_actor_describe(s.actor, &info), MANTA_EDEAD);
    EXPECT_EQ(manta_actor_describe((manta_actor){UINT64_MAX}, &info), MANTA_EDEAD);
    EXPECT_EQ(manta_actor_describe((manta_actor){0}, &info), MANTA_EDEAD);
    EXPECT_EQ(manta_shutdown(m), MANTA_OK);
}

static void *keep_sending(void *argument)
{
    Worker_ref *workers = argument;
    for (int i = 0; i < 200000; i++) {
        Worker_work_send(workers[i % 100]);
        if (i % 1000 == 0) {
            Worker_ref extra = Worker_spawn();
            manta_stop(extra.actor);
        }
    }
    return NULL;
}

/* Listing while messages fly and actors come and go gives whole records only: known classes and states, living ids, in order of their slots. */
TEST(list_of_a_moving_system)
{
    static manta_actor_info list[400];
    manta_t *m = begin(0, 0);
    Worker_ref workers[100];
    for (int i = 0; i < 100; i++) workers[i] = Worker_spawn();
    pthread_t thread;
    EXPECT_EQ(pthread_create(&thread, NULL, keep_sending, workers), 0);
    bool ok = true;
    for (int round = 0; round < 200; round++) {
        size_t count = 0;
        ok &= manta_list_actors(list, 400, &count) == MANTA_OK && count >= 100;
        for (size_t i = 0; i < count && i < 400; i++) {
            ok &= strcmp(list[i].class_name, "Worker") == 0 && list[i].state <= MANTA_STATE_WAITING && list[i].actor.id >> 32 & 1;
            ok &= i == 0 || (uint32_t)list[i].actor.id > (uint32_t)list[i - 1].actor.id;
        }
    }
    pthread_join(thread, NULL);
    EXPECT(ok);
    size_t count = 0;
    EXPECT_EQ(manta_list_actors(NULL, 0, &count), MANTA_OK);
    EXPECT(count >= 100);
    EXPECT_EQ(manta_list_actors(NULL, 1, &count), MANTA_EINVAL);
    EXPECT_EQ(manta_shutdown(m), MANTA_OK);
    EXPECT_EQ(manta_list_actors(NULL, 0, &count), MANTA_ESHUTDOWN);
}

/* The age of a waiting handler follows the virtual clock. */
TEST(age_in_virtual_time)
{
    manta_t *m = begin(7, 0);
    Worker_ref w = Worker_spawn();
    manta_void_future f = Worker_nap(w, 5000);
    EXPECT_EQ(manta_sleep(1200), MANTA_OK);
    manta_actor_info info = info_of(w.actor);
    EXPECT_EQ(info.state, MANTA_STATE_WAITING);
    EXPECT_STR(info.waits_for, "sleep");
    EXPECT_EQ(info.message_age_ns / 1000000, 1199); /* the first turn took a moment of the 1200 ms */
    EXPECT_EQ(manta_join(f), MANTA_OK);
    EXPECT_EQ(manta_shutdown(m), MANTA_OK);
}

/* An actor that rests is idle, also when somebody was killed in a wait on a stack that it used before and after. */
TEST(idle_after_a_neighbour_was_killed)
{
    manta_t *m = begin(5, 0);
    Worker_ref a[20];
    for (int i = 0; i < 20; i++) a[i] = Worker_spawn();
    for (int round = 0; round < 20; round++) {
        for (int i = 0; i < 20; i++) EXPECT_EQ(manta_join(Worker_nap(a[i], 1)), MANTA_OK);
        Worker_ref victim = Worker_spawn();
        EXPECT_EQ(Worker_nap_send(victim, 1000), MANTA_OK);
        EXPECT_EQ(manta_sleep(10), MANTA_OK);
        EXPECT_EQ(manta_kill(victim.actor), MANTA_OK);
        EXPECT_EQ(manta_sleep(10), MANTA_OK);
        Worker_ref sleeper = Worker_spawn(); /* the work goes on on the victim's stack */
        manta_void_future f = Worker_nap(sleeper, 100);
        EXPECT_EQ(manta_sleep(10), MANTA_OK);
        for (int i = 0; i < 20; i++) EXPECT_EQ(Worker_work_send(a[i]), MANTA_OK);
        EXPECT_EQ(manta_sleep(10), MANTA_OK);
        for (int i = 0; i < 20; i++) EXPECT(WAIT_FOR(info_of(a[i].actor).state == MANTA_STATE_IDLE, 10));
        EXPECT_EQ(manta_join(f), MANTA_OK);
    }
    EXPECT_EQ(manta_shutdown(m), MANTA_OK);
}

/* A cycle of waits is found, complete and in order; without one the count is 0; a chain of waits is none. */
TEST(wait_cycle_found)
{
    manta_t *m = begin(3, 0);
    Asker_ref a[4];
    for (int i = 0; i < 4; i++) a[i] = Asker_spawn();
    for (int i = 0; i < 4; i++) Asker_set_send(a[i], a[i == 3 ? 1 : i + 1].actor); /* 0 -> 1 -> 2 -> 3 -> 1 */
    manta_actor found[8];
    size_t count = 99;
    EXPECT_EQ(manta_find_wait_cycle(found, 8, &count), MANTA_OK);
    EXPECT_EQ(count, 0);
    manta_int64_t_future f = Asker_ask(a[0], 100);
    EXPECT_EQ(manta_sleep(50), MANTA_OK);
    EXPECT_EQ(manta_find_wait_cycle(found, 8, &count), MANTA_OK);
    EXPECT_EQ(count, 3);
    for (int i = 0; i < 3; i++) EXPECT_EQ(found[(i + 1) % 3].id, info_of(found[i]).waits_for_actor.id);
    for (int i = 0; i < 3; i++) EXPECT(found[i].id != a[0].actor.id);
    EXPECT_EQ(inspect_report_cycles(), 1);
    EXPECT_EQ(inspect_report_cycles(), 0); /* once is enough */
    EXPECT_EQ(reported("wait cycle", NULL), 1);
    EXPECT_EQ(manta_kill(a[2].actor), MANTA_OK);
    int64_t value;
    EXPECT(manta_get(f, &value) != MANTA_OK);
    EXPECT_EQ(manta_find_wait_cycle(found, 8, &count), MANTA_OK);
    EXPECT_EQ(count, 0);
    EXPECT_EQ(manta_shutdown(m), MANTA_OK);
}

static _Atomic int stop_looking;
static void *look_for_cycles(void *argument)
{
    _Atomic int *found = argument;
    while (!stop_looking) {
        size_t count = 0;
        if (manta_find_wait_cycle(NULL, 0, &count) != MANTA_OK || count) (*found)++;
    }
    return NULL;
}

/* Two actors that ask each other in turn, never both at a time, are no cycle, however long a look at all actors takes. */
TEST(no_cycle_where_there_is_none)
{
    enum { BETWEEN = 3000, TURNS = 20000 };
    manta_t *m = begin(0, 0);
    Asker_ref a = Asker_spawn();
    for (int i = 0; i < BETWEEN; i++) Worker_spawn();
    Asker_ref b = Asker_spawn();
    manta_await(Asker_set(a, b.actor));
    manta_await(Asker_set(b, a.actor));
    _Atomic int found = 0;
    pthread_t thread;
    stop_looking = 0;
    EXPECT_EQ(pthread_create(&thread, NULL, look_for_cycles, &found), 0);
    for (int i = 0; i < TURNS; i++) {
        manta_await(Asker_ask(a, 1));
        manta_await(Asker_ask(b, 1));
    }
    stop_looking = 1;
    pthread_join(thread, NULL);
    EXPECT_EQ(found, 0);
    EXPECT_EQ(manta_shutdown(m), MANTA_OK);
    EXPECT_EQ(reported("wait cycle", NULL), 0);
}

/* A cycle is reported by itself, once, with class, actor and method of each member; also that of an actor that waits for itself. */
TEST(wait_cycle_reported)
{
    char line[256], expected[256];
    manta_t *m = begin(0, 0);
    Asker_ref a = Asker_spawn(), b = Asker_spawn(), self = Asker_spawn();
    manta_await(Asker_set(a, b.actor));
    manta_await(Asker_set(b, a.actor));
    manta_await(Asker_set(self, self.actor));
    manta_int64_t_future f = Asker_ask(a, 10), g = Asker_ask(self, 1);
    EXPECT(WAIT_FOR(reported("wait cycle", NULL) == 2, 10));
    snprintf(expected, sizeof expected, "Asker#%u.ask -> Asker#%u.ask -> Asker#%u", (unsigned)(uint32_t)a.actor.id,
        (unsigned)(uint32_t)b.actor.id, (unsigned)(uint32_t)a.actor.id);
    if (reported(expected, NULL) == 0) /* the lower slot comes first */
        snprintf(expected, sizeof expected, "Asker#%u.ask -> Asker#%u.ask -> Asker#%u", (unsigned)(uint32_t)b.actor.id,
            (unsigned)(uint32_t)a.actor.id, (unsigned)(uint32_t)b.actor.id);
    EXPECT_EQ(reported(expected, line), 1);
    snprintf(expected, sizeof expected, "wait cycle: Asker#%u.ask -> Asker#%u", (unsigned)(uint32_t)self.actor.id,
        (unsigned)(uint32_t)self.actor.id);
    EXPECT_EQ(reported(expected, line), 1);
    EXPECT(strcmp(line, expected) == 0);
    manta_kill(self.actor);
    manta_kill(a.actor);
    int64_t value;
    EXPECT(manta_get(f, &value) != MANTA_OK);
    EXPECT(manta_get(g, &value) != MANTA_OK);
    Asker_ref late = Asker_spawn(); /* reported although everything rests from here on */
    manta_await(Asker_set(late, late.actor));
    f = Asker_ask(late, 1);
    EXPECT(WAIT_FOR(reported("wait cycle", NULL) == 3, 10));
    manta_kill(late.actor);
    EXPECT(manta_get(f, &value) != MANTA_OK);
    EXPECT_EQ(manta_shutdown(m), MANTA_OK);
    EXPECT_EQ(reported("wait cycle", NULL), 3);
}

/* A handler that runs too long without a wait is reported once, by name; the next one that does is reported again. */
TEST(stuck_handler_reported_once)
{
    char line[256];
    manta_t *m = begin(0, 60);
    Spinner_ref s = Spinner_spawn_with(MANTA_OPTIONS(.name = "dervish"));
    for (int occurrence = 1; occurrence <= 2; occurrence++) {
        spin_on = 1;
        manta_void_future f = Spinner_spin(s);
        EXPECT(WAIT_FOR(reported("stuck handler", line) == occurrence, 10));
        EXPECT(WAIT_FOR(info_of(s.actor).message_age_ns > 250000000, 10));
        EXPECT_EQ(reported("stuck handler", line), occurrence);
        EXPECT(strstr(line, "Spinner.spin") && strstr(line, " dervish ") && strstr(line, " ms"));
        spin_on = 0;
        EXPECT_EQ(manta_join(f), MANTA_OK);
    }
    EXPECT_EQ(manta_shutdown(m), MANTA_OK);
}

/* Every actor is printed on a line of its own; a bad descriptor is MANTA_EIO. */
TEST(print)
{
    manta_t *m = begin(0, 0);
    Worker_ref w = Worker_spawn_with(MANTA_OPTIONS(.name = "w1"));
    manta_await(Worker_work(w));
    EXPECT(WAIT_FOR(info_of(w.actor).state == MANTA_STATE_IDLE, 10));
    FILE *file = tmpfile();
    EXPECT(file != NULL);
    EXPECT_EQ(manta_print_actors(fileno(file)), MANTA_OK);
    rewind(file);
    char line[256] = "", expected[64];
    EXPECT(fgets(line, sizeof line, file) != NULL);
    snprintf(expected, sizeof expected, "Worker#%u w1 idle, 0 queued, 1 handled\n", (unsigned)(uint32_t)w.actor.id);
    EXPECT_STR(line, expected);
    EXPECT(fgets(line, sizeof line, file) == NULL);
    fclose(file);
    EXPECT_EQ(manta_print_actors(-1), MANTA_EIO);
    EXPECT_EQ(manta_shutdown(m), MANTA_OK);
}
