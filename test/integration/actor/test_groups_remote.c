/* Groups and topics over real processes: this one in the middle, two others that have joined it and not each other. */
#include "test/support/actors.h"
#include "test/support/child.h"

MANTA_STRUCT(Price, (manta_str, symbol), (int64_t, number))

MANTA_ACTOR(Watcher, int64_t prices, ticks, next, wrong;)
MANTA_METHOD(Watcher, price, void, (Price, p))
{
    self->wrong += p.number != self->next || p.symbol.size != 4 || memcmp(p.symbol.data, "gold", 4) != 0;
    self->next = p.number + 1;
    self->prices++;
}
MANTA_METHOD(Watcher, tick, void, (int64_t, n)) { self->ticks += n; }
MANTA_METHOD(Watcher, watch, int32_t, (manta_str, topic)) { return (void)self, (int32_t)manta_subscribe(topic.data, Watcher_price); }
MANTA_METHOD(Watcher, watch_ticks, int32_t, (manta_str, topic)) { return (void)self, (int32_t)manta_subscribe(topic.data, Watcher_tick); }
MANTA_METHOD(Watcher, unwatch, int32_t, (manta_str, topic)) { return (void)self, (int32_t)manta_unsubscribe(topic.data); }
MANTA_METHOD(Watcher, prices, int64_t) { return self->prices; }
MANTA_METHOD(Watcher, ticks, int64_t) { return self->ticks; }
MANTA_METHOD(Watcher, wrong, int64_t) { return self->wrong; }
MANTA_METHOD(Watcher, enter, int32_t, (manta_str, group)) { return (void)self, (int32_t)manta_group_join(group.data, manta_self()); }
MANTA_METHOD(Watcher, exit_group, int32_t, (manta_str, group)) { return (void)self, (int32_t)manta_group_leave(group.data, manta_self()); }
MANTA_METHOD(Watcher, count, uint64_t, (manta_str, group))
{
    size_t n = 0;
    (void)self, (void)manta_group_members(group.data, NULL, 0, &n);
    return n;
}
/* How many of the group's members answer. */
MANTA_METHOD(Watcher, call_members, uint64_t, (manta_str, group))
{
    manta_actor members[16];
    size_t n = 0, answers = 0;
    int64_t value;
    (void)self, (void)manta_group_members(group.data, members, 16, &n);
    for (size_t i = 0; i < n && i < 16; i++) answers += manta_get(Watcher_wrong(Watcher_ref_of(members[i])), &value) == MANTA_OK;
    return answers;
}
MANTA_METHOD(Watcher, publish, uint64_t, (manta_str, topic), (int64_t, from), (int64_t, count))
{
    size_t sent = 0;
    (void)self;
    for (int64_t i = from; i < from + count; i++) (void)manta_publish(topic.data, Price, ((Price){manta_str_of("gold"), i}), &sent);
    return sent;
}
MANTA_CLASS_WITH(Watcher, (.concurrency = 2), price, tick, watch, watch_ticks, unwatch, prices, ticks, wrong, enter, exit_group, count,
    call_members, publish)

/* argument: the address to join. Serves until the parent closes the socket or kills it. */
CHILD(member)
{
    char byte, own[64];
    snprintf(own, sizeof own, "ipc:///tmp/manta-groups-%d", (int)getpid());
    manta_config c = {.size = sizeof c, .workers = 1, .listen = own, .join = argument};
    manta_t *m = manta_init_with(&c);
    if (!m || manta_register("watcher", Watcher_spawn().actor)) _exit(3);
    uint64_t process = manta_this_process().id;
    if (write(parent, &process, sizeof process) != sizeof process) _exit(5);
    while (recv(parent, &byte, 1, 0) == 1) continue;
    _exit(manta_shutdown(m) == MANTA_OK ? 0 : 6);
}

enum { OTHERS = 2 };
static struct {
    manta_t *system;
    child_process children[OTHERS];
    Watcher_ref watchers[OTHERS];
} all;

static bool start(void)
{
    char own[64];
    snprintf(own, sizeof own, "ipc:///tmp/manta-groups-%d", (int)getpid());
    manta_config c = {.size = sizeof c, .workers = 2, .listen = own};
    if (!(all.system = manta_init_with(&c))) return false;
    for (int i = 0; i < OTHERS; i++) {
        manta_process there;
        manta_actor a;
        all.children[i] = child_start("member", own);
        if (!child_hear(all.children[i].fd, &there.id, sizeof there.id) || manta_lookup_in(there, "watcher", &a)) return false;
        all.watchers[i] = Watcher_ref_of(a);
    }
    return true;
}

static bool stop(void)
{
    int status = 0;
    for (int i = 0; i < OTHERS; i++) {
        shutdown(all.children[i].fd, SHUT_RDWR);
        status |= child_end(&all.children[i], 0);
    }
    return manta_shutdown(all.system) == MANTA_OK && !status;
}

static size_t members_here(const char *group)
{
    size_t n = 0;
    return manta_group_members(group, NULL, 0, &n) ? SIZE_MAX : n;
}

static manta_str text(const char *t) { return manta_str_of(t); }

/* Members of all processes are seen in all, also in those that were not connected, and can be called; who leaves or stops is gone everywhere. */
TEST(members)
{
    EXPECT(start());
    for (int i = 0; i < OTHERS; i++) {
        EXPECT_EQ(manta_await(Watcher_enter(all.watchers[i], text("crew"))), MANTA_OK);
        EXPECT_EQ(members_here("crew"), i + 1); /* at once: it was told before the answer */
    }
    Watcher_ref own = Watcher_spawn();
    EXPECT_EQ(manta_group_join("crew", own.actor), MANTA_OK);
    EXPECT_EQ(manta_group_join("crew", all.watchers[0].actor), MANTA_EUNSUPPORTED);
    for (int i = 0; i < OTHERS; i++) {
        EXPECT(WAIT_FOR(manta_await(Watcher_count(all.watchers[i], text("crew"))) == 3, 20));
        EXPECT_EQ(manta_await(Watcher_call_members(all.watchers[i], text("crew"))), 3);
    }
    EXPECT_EQ(manta_await(Watcher_exit_group(all.watchers[0], text("crew"))), MANTA_OK);
    EXPECT_EQ(members_here("crew"), 2);
    EXPECT_EQ(manta_stop(own.actor), MANTA_OK);
    EXPECT(WAIT_FOR(manta_await(Watcher_count(all.watchers[1], text("crew"))) == 1, 20));
    EXPECT(WAIT_FOR(manta_await(Watcher_count(all.watchers[0], text("crew"))) == 1, 20));
    EXPECT(stop());
}

/* Values come once and in the order of publishing, from every process to every process, to methods of the value's type alone. */
TEST(topics)
{
    EXPECT(start());
    Watcher_ref own = Watcher_spawn(), other = Watcher_spawn();
    for (int i = 0; i < OTHERS; i++) EXPECT_EQ(manta_await(Watcher_watch(all.watchers[i], text("gold"))), MANTA_OK);
    EXPECT_EQ(manta_await(Watcher_watch(own, text("gold"))), MANTA_OK);
    EXPECT_EQ(manta_await(Watcher_watch_ticks(other, text("gold"))), MANTA_OK);
    size_t sent = 0;
    int64_t n = test_scaled(20000), next = n;
    for (int64_t i = 0; i < n; i++) {
        EXPECT_EQ(manta_publish("gold", Price, ((Price){manta_str_of("gold"), i}), &sent), MANTA_OK);
        EXPECT_EQ(sent, 3);
    }
    for (int i = 0; i < OTHERS; i++) EXPECT(WAIT_FOR(manta_await(Watcher_prices(all.watchers[i])) == n, 30));
    EXPECT(WAIT_FOR(manta_await(Watcher_prices(own)) == n, 30));
    for (int i = 0; i < OTHERS; i++) { /* from each of the others, which know each other by now */
        EXPECT_EQ(manta_await(Watcher_enter(all.watchers[i], text("met"))), MANTA_OK);
    }
    for (int i = 0; i < OTHERS; i++) {
        EXPECT(WAIT_FOR(manta_await(Watcher_count(all.watchers[i], text("met"))) == OTHERS, 20));
        EXPECT_EQ(manta_await(Watcher_publish(all.watchers[i], text("gold"), next, n)), 3);
        next += n;
        for (int k = 0; k < OTHERS; k++) EXPECT(WAIT_FOR(manta_await(Watcher_prices(all.watchers[k])) == next, 30));
        EXPECT(WAIT_FOR(manta_await(Watcher_prices(own)) == next, 30));
    }
    for (int i = 0; i < OTHERS; i++) EXPECT_EQ(manta_await(Watcher_wrong(all.watchers[i])), 0);
    EXPECT_EQ(manta_await(Watcher_wrong(own)), 0);
    EXPECT_EQ(manta_await(Watcher_ticks(other)), 0);
    EXPECT(stop());
}

/* A process that only publishes finds the subscribers of one that it was not connected to; who unsubscribes gets nothing more. */
TEST(publisher_alone)
{
    EXPECT(start());
    EXPECT_EQ(manta_await(Watcher_watch(all.watchers[0], text("silver"))), MANTA_OK);
    uint64_t sent = 0;
    EXPECT(WAIT_FOR((sent = manta_await(Watcher_publish(all.watchers[1], text("silver"), 0, 1))) == 1, 20));
    EXPECT(WAIT_FOR(manta_await(Watcher_prices(all.watchers[0])) >= 1, 20));
    EXPECT_EQ(manta_await(Watcher_unwatch(all.watchers[0], text("silver"))), MANTA_OK);
    EXPECT(WAIT_FOR(manta_await(Watcher_publish(all.watchers[1], text("silver"), 9, 1)) == 0, 20));
    EXPECT(stop());
}

/* Members of a process that is killed are gone within two seconds, here and in processes that met it through us. */
TEST(death)
{
    EXPECT(start());
    for (int i = 0; i < OTHERS; i++) EXPECT_EQ(manta_await(Watcher_enter(all.watchers[i], text("doomed"))), MANTA_OK);
    EXPECT(WAIT_FOR(manta_await(Watcher_count(all.watchers[1], text("doomed"))) == 2, 20));
    double start_s = test_now_s();
    kill(all.children[0].pid, SIGKILL);
    EXPECT(WAIT_FOR(members_here("doomed") == 1, 10));
    EXPECT(WAIT_FOR(manta_await(Watcher_count(all.watchers[1], text("doomed"))) == 1, 10));
    double took = test_now_s() - start_s;
    printf("     gone after %.2f s\n", took);
    EXPECT(took < 2.5); /* 2 s, and what a full machine adds */
    child_end(&all.children[0], 0);
    shutdown(all.children[1].fd, SHUT_RDWR);
    EXPECT_EQ(child_end(&all.children[1], 0), 0);
    EXPECT_EQ(manta_shutdown(all.system), MANTA_OK);
}

/* Two thousand members in one process: told, and gone when they are. */
TEST(many)
{
    EXPECT(start());
    enum { MANY = 2000 };
    static Watcher_ref w[MANY];
    for (int i = 0; i < MANY; i++) EXPECT_EQ(manta_group_join("many", (w[i] = Watcher_spawn()).actor), MANTA_OK);
    EXPECT(WAIT_FOR(manta_await(Watcher_count(all.watchers[0], text("many"))) == MANY, 20));
    for (int i = 0; i < MANY; i++) EXPECT_EQ(manta_stop(w[i].actor), MANTA_OK);
    EXPECT(WAIT_FOR(manta_await(Watcher_count(all.watchers[0], text("many"))) == 0, 20));
    EXPECT(stop());
}
