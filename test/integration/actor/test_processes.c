/* Actors of two real processes: calls, sends, handles that travel, relations, spawns, tasks, shared objects, and the death of one. */
#include <fcntl.h>

#include "test/support/actors.h"
#include "test/support/child.h"

/* ---- what both processes know ---- */

MANTA_ACTOR(Tally, int64_t value; int64_t out_of_order;)
MANTA_METHOD(Tally, add, int64_t, (int64_t, by)) { return self->value += by; }
MANTA_METHOD(Tally, note, void, (int64_t, n))
{
    self->out_of_order += n != self->value;
    self->value = n + 1;
}
MANTA_METHOD(Tally, wrong, int64_t) { return (int64_t)self->out_of_order; }
MANTA_METHOD(Tally, fail, void, (manta_str, why))
{
    manta_fail(MANTA_ELIMIT, "no more: %.*s after %d", (int)why.size, why.data, (int)self->value);
}
MANTA_METHOD(Tally, echo, manta_str, (manta_str, text))
{
    (void)self;
    return text;
}
MANTA_METHOD(Tally, whoami, manta_actor)
{
    (void)self;
    return manta_self();
}
MANTA_METHOD(Tally, slow, int64_t)
{
    (void)self;
    return manta_sleep(60000) ? 1 : 0;
}
MANTA_CLASS(Tally, add, note, wrong, fail, echo, whoami, slow)

MANTA_ACTOR(Caller, int64_t heard; manta_status reason;)
MANTA_METHOD(Caller, hear, void, (int64_t, n)) { self->heard += n; }
MANTA_METHOD(Caller, heard, int64_t) { return self->heard; }
MANTA_METHOD(Caller, on_down, void, (manta_actor, who), (int32_t, status), (manta_str, message))
{
    (void)who, (void)message;
    self->reason = (manta_status)status;
}
MANTA_METHOD(Caller, watch, void, (Tally_ref, t)) { (void)self, (void)manta_monitor(t.actor, Caller_on_down, NULL); }
MANTA_METHOD(Caller, join, void, (Tally_ref, t)) { (void)self, (void)manta_link(t.actor); }
MANTA_METHOD(Caller, reason, int32_t) { return (int32_t)self->reason; }
MANTA_CLASS(Caller, hear, heard, on_down, watch, join, reason)

MANTA_ACTOR(Broker, int unused;)
MANTA_METHOD(Broker, tell, void, (Caller_ref, whom), (int64_t, n))
{
    (void)self;
    for (int64_t i = 0; i < n; i++) Caller_hear_send(whom, 1);
}
MANTA_METHOD(Broker, ask, int64_t, (Caller_ref, whom))
{
    (void)self;
    return manta_await(Caller_heard(whom));
}
MANTA_CLASS(Broker, tell, ask)

MANTA_TASK(twice, int64_t, (int64_t, n)) { return 2 * n; }
MANTA_TASK(total, int64_t, (manta_object, o))
{
    int64_t sum = 0;
    for (size_t i = 0; i < o.size; i++) sum += ((const unsigned char *)o.data)[i];
    return sum;
}
MANTA_TASK(made, manta_ref, (int64_t, n))
{
    manta_ref ref = {{0}};
    void *data;
    if (!manta_create((size_t)n, &ref, &data)) {
        memset(data, 3, (size_t)n);
        (void)manta_seal(ref);
    }
    return ref;
}

/* argument: the store, a space, the address. Serves until the parent closes the socket or kills it. */
CHILD(server)
{
    char store[64], address[128], byte;
    if (sscanf(argument, "%63s %127s", store, address) != 2) _exit(2);
    manta_config c = {
        .size = sizeof c, .workers = 2, .listen = address, .store = strcmp(store, "-") ? store : NULL, .object_bytes = 32 << 20};
    manta_t *m = manta_init_with(&c);
    Tally_ref t = m ? Tally_spawn() : (Tally_ref){{0}};
    if (!m || manta_register("tally", t.actor)) _exit(3);
    if (manta_register("broker", Broker_spawn().actor)) _exit(4);
    char text[256] = "";
    snprintf(text, sizeof text, "%s", manta_listen_address(0));
    if (write(parent, text, sizeof text) != sizeof text) _exit(5);
    while (recv(parent, &byte, 1, 0) == 1) continue;
    _exit(manta_shutdown(m) == MANTA_OK ? 0 : 6);
}

typedef struct pair { /* this system and a server that it has joined */
    manta_t *system;
    child_process child;
    manta_process there;
    Tally_ref tally;
    char path[64];
} pair;

static bool pair_start(pair *p, const char *store, const char *address)
{
    char argument[256], text[256];
    memset(p, 0, sizeof *p);
    snprintf(argument, sizeof argument, "%s %s", store ? store : "-", address);
    p->child = child_start("server", argument);
    if (!child_hear(p->child.fd, text, sizeof text)) return false;
    manta_config c = {.size = sizeof c,
        .workers = 2,
        .join = text,
        .listen = "ipc:///tmp/manta-test-joiner.sock",
        .store = store,
        .object_bytes = 32 << 20};
    char listen[128];
    snprintf(listen, sizeof listen, "ipc:///tmp/manta-test-%d-joiner", (int)getpid());
    c.listen = listen;
    if (!(p->system = manta_init_with(&c))) return false;
    manta_process_info info[4];
    size_t n = 0;
    if (manta_list_processes(info, 4, &n) || n != 1 || !info[0].is_up) return false;
    p->there = info[0].process;
    return manta_scope_begin() == MANTA_OK && manta_lookup_in(p->there, "tally", &p->tally.actor) == MANTA_OK;
}

static bool pair_stop(pair *p, int number)
{
    (void)manta_scope_end();
    bool ok = manta_shutdown(p->system) == MANTA_OK;
    if (!number) shutdown(p->child.fd, SHUT_RDWR);
    int status = child_end(&p->child, number);
    return ok && status == number;
}

static const char *ipc(void)
{
    static char text[128];
    static int n;
    snprintf(text, sizeof text, "ipc:///tmp/manta-test-%d-%d", (int)getpid(), n++);
    return text;
}

/* Calls, results, strings and errors travel; an actor that is not there, a name that is not there, are errors. */
static void calls_on(const char *address)
{
    pair p;
    EXPECT(pair_start(&p, NULL, address));
    for (int64_t i = 1; i <= 100; i++) EXPECT_EQ(manta_await(Tally_add(p.tally, 1)), i);
    char *big = calloc(1, 300001);
    memset(big, 'x', 300000);
    manta_str answer = manta_await(Tally_echo(p.tally, manta_str_of(big)));
    EXPECT(answer.size == 300000 && memcmp(answer.data, big, 300000) == 0);
    free(big);
    EXPECT_EQ(manta_join(Tally_fail(p.tally, manta_str_of("gone"))), MANTA_ELIMIT);
    const manta_error *e = manta_last_error();
    EXPECT(strstr(e->message, "no more: gone after 100") && strcmp(e->class_name, "Tally") == 0 && strcmp(e->method, "fail") == 0);
    EXPECT_EQ(e->actor.id, p.tally.actor.id);
    manta_actor nobody;
    EXPECT_EQ(manta_lookup_in(p.there, "nobody", &nobody), MANTA_ENOTFOUND);
    EXPECT_EQ(manta_lookup_in((manta_process){5}, "tally", &nobody), MANTA_ENOTFOUND);
    EXPECT_EQ(manta_stop(p.tally.actor), MANTA_OK);
    EXPECT_EQ(manta_wait_exit(p.tally.actor, 20000, NULL), MANTA_OK);
    int64_t value;
    EXPECT_EQ(manta_get(Tally_add(p.tally, 1), &value), MANTA_EDEAD);
    EXPECT(pair_stop(&p, 0));
}
TEST(calls_over_ipc) { calls_on(ipc()); }
TEST(calls_over_tcp) { calls_on("tcp://127.0.0.1:0"); }

/* A handle sent away leads back: its actor is called by the other process, and a handle that comes home is the local one. */
TEST(handles_travel)
{
    pair p;
    EXPECT(pair_start(&p, NULL, ipc()));
    Caller_ref me = Caller_spawn();
    Broker_ref broker;
    EXPECT_EQ(manta_lookup_in(p.there, "broker", &broker.actor), MANTA_OK);
    EXPECT_EQ(manta_join(Broker_tell(broker, me, 1000)), MANTA_OK);
    EXPECT(WAIT_FOR(manta_await(Caller_heard(me)) == 1000, 20));
    EXPECT_EQ(manta_await(Broker_ask(broker, me)), 1000);
    EXPECT_EQ(manta_await(Tally_whoami(p.tally)).id, p.tally.actor.id);
    EXPECT_EQ(manta_process_of(p.tally.actor).id, p.there.id);
    EXPECT_EQ(manta_process_of(me.actor).id, manta_this_process().id);
    EXPECT(pair_stop(&p, 0));
}

/* One-way messages arrive once and in order. */
TEST(in_order)
{
    pair p;
    int64_t n = test_scaled(300000);
    EXPECT(pair_start(&p, NULL, ipc()));
    for (int64_t i = 0; i < n; i++) EXPECT_EQ(Tally_note_send(p.tally, i), MANTA_OK);
    EXPECT_EQ(manta_await(Tally_add(p.tally, 0)), n);
    EXPECT_EQ(manta_await(Tally_wrong(p.tally)), 0);
    EXPECT(pair_stop(&p, 0));
}

/* Spawns and tasks run where they are told to; what init or the class refuses is the caller's error. */
TEST(spawned_there)
{
    pair p;
    EXPECT(pair_start(&p, NULL, ipc()));
    Tally_ref t = Tally_spawn_with(MANTA_OPTIONS(.process = p.there, .name = "mine"));
    EXPECT(t.actor.id && manta_process_of(t.actor).id == p.there.id);
    EXPECT_EQ(manta_await(Tally_add(t, 5)), 5);
    manta_actor again;
    EXPECT_EQ(manta_lookup_in(p.there, "mine", &again), MANTA_OK);
    EXPECT_EQ(again.id, t.actor.id);
    EXPECT_EQ(Tally_spawn_with(MANTA_OPTIONS(.process = p.there, .name = "mine")).actor.id, 0);
    EXPECT_EQ(manta_last_error()->status, MANTA_EEXIST);
    manta_int64_t_future f[50];
    for (int i = 0; i < 50; i++) f[i] = twice_submit_with(MANTA_OPTIONS(.process = p.there), i);
    for (int i = 0; i < 50; i++) EXPECT_EQ(manta_await(f[i]), 2 * i);
    int64_t value;
    EXPECT_EQ(manta_get(twice_submit_with(MANTA_OPTIONS(.process = {7}), 1), &value), MANTA_ENOTFOUND);
    EXPECT(pair_stop(&p, 0));
}

/* A cancelled call's handler over there is interrupted. */
TEST(cancelled)
{
    pair p;
    EXPECT(pair_start(&p, NULL, ipc()));
    manta_int64_t_future f = Tally_slow(p.tally);
    EXPECT_EQ(manta_get_timeout(f, &(int64_t){0}, 50), MANTA_ETIMEDOUT);
    EXPECT_EQ(manta_cancel(f.future), MANTA_OK);
    int64_t value = 0;
    EXPECT_EQ(manta_get_timeout(f, &value, 20000), MANTA_OK);
    EXPECT_EQ(value, 1);
    EXPECT(pair_stop(&p, 0));
}

/* Objects of a shared store travel as arguments and results, without their bytes. */
TEST(objects)
{
    pair p;
    char store[64];
    snprintf(store, sizeof store, "/dev/shm/manta-test-%d-pair", (int)getpid());
    EXPECT(pair_start(&p, store, ipc()));
    static unsigned char data[1 << 20];
    memset(data, 2, sizeof data);
    manta_ref ref;
    EXPECT_EQ(manta_put(data, sizeof data, &ref), MANTA_OK);
    EXPECT_EQ(manta_await(total_submit_with(MANTA_OPTIONS(.process = p.there), manta_object_of(ref))), 2 << 20);
    manta_ref back = manta_await(made_submit_with(MANTA_OPTIONS(.process = p.there), 5000));
    EXPECT_EQ(manta_await(total_submit(manta_object_of(back))), 15000);
    EXPECT(pair_stop(&p, 0));
}

/* When the other process is killed, every call under way fails with EUNKNOWN, monitors and links fire, and later calls fail. */
TEST(killed)
{
    pair p;
    EXPECT(pair_start(&p, NULL, ipc()));
    Caller_ref watcher = Caller_spawn(), linked = Caller_spawn();
    EXPECT_EQ(manta_join(Caller_watch(watcher, p.tally)), MANTA_OK);
    EXPECT_EQ(manta_join(Caller_join(linked, p.tally)), MANTA_OK);
    manta_int64_t_future f = Tally_slow(p.tally);
    EXPECT_EQ(manta_await(Tally_add(Tally_spawn_with(MANTA_OPTIONS(.process = p.there)), 1)), 1);
    kill(p.child.pid, SIGKILL);
    int64_t value;
    EXPECT_EQ(manta_get_timeout(f, &value, 20000), MANTA_EUNKNOWN);
    EXPECT(WAIT_FOR(manta_await(Caller_reason(watcher)) == MANTA_EDEAD, 20));
    manta_status reason;
    EXPECT_EQ(manta_wait_exit(linked.actor, 20000, &reason), MANTA_OK);
    EXPECT_EQ(reason, MANTA_EDEAD);
    EXPECT(manta_get(Tally_add(p.tally, 1), &value) == MANTA_EDEAD);
    EXPECT(!manta_is_alive(p.tally.actor));
    EXPECT(pair_stop(&p, SIGKILL));
}

/* Monitors and links end with the actor, over processes, in both directions. */
TEST(relations)
{
    pair p;
    EXPECT(pair_start(&p, NULL, ipc()));
    Caller_ref watcher = Caller_spawn(), linked = Caller_spawn();
    Caller_ref far_linked = Caller_spawn_with(MANTA_OPTIONS(.process = p.there));
    Tally_ref here = Tally_spawn();
    EXPECT_EQ(manta_join(Caller_watch(watcher, p.tally)), MANTA_OK);
    EXPECT_EQ(manta_join(Caller_join(linked, p.tally)), MANTA_OK);
    EXPECT_EQ(manta_join(Caller_join(far_linked, here)), MANTA_OK);
    EXPECT_EQ(manta_kill(p.tally.actor), MANTA_OK);
    EXPECT(WAIT_FOR(manta_await(Caller_reason(watcher)) == MANTA_EKILLED, 20));
    EXPECT_EQ(manta_wait_exit(linked.actor, 20000, NULL), MANTA_OK);
    EXPECT_EQ(manta_kill(here.actor), MANTA_OK);
    EXPECT_EQ(manta_wait_exit(far_linked.actor, 20000, NULL), MANTA_OK);
    EXPECT(pair_stop(&p, 0));
}

/* Calls by name reach actors of other processes, with MessagePack both ways. */
TEST(by_name)
{
    pair p;
    EXPECT(pair_start(&p, NULL, ipc()));
    manta_bytes answer;
    EXPECT_EQ(manta_get_value(
                  manta_call(p.tally.actor, "add", (manta_bytes){(const unsigned char *)"\x91\x07", 2}), &answer, sizeof answer, 20000),
        MANTA_OK);
    EXPECT(answer.size == 1 && ((const unsigned char *)answer.data)[0] == 7);
    EXPECT_EQ(manta_get_value(
                  manta_call(p.tally.actor, "nothing", (manta_bytes){(const unsigned char *)"\x90", 1}), &answer, sizeof answer, 20000),
        MANTA_ENOMETHOD);
    EXPECT_EQ(
        manta_get_value(manta_call(p.tally.actor, "add", (manta_bytes){(const unsigned char *)"\x90", 1}), &answer, sizeof answer, 20000),
        MANTA_EDECODE);
    EXPECT(pair_stop(&p, 0));
}

/* Messages for later, once and again and again, reach actors of other processes, until they are cancelled. */
TEST(later)
{
    pair p;
    EXPECT(pair_start(&p, NULL, ipc()));
    manta_timer once = Tally_add_after(20, p.tally, 1000), often = Tally_add_every(10, p.tally, 1);
    EXPECT(once.id && often.id);
    EXPECT(WAIT_FOR(manta_await(Tally_add(p.tally, 0)) >= 1003, 20));
    EXPECT_EQ(manta_timer_cancel(often), MANTA_OK);
    EXPECT(pair_stop(&p, 0));
}
