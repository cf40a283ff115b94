/* Links, monitors, names, groups, topics and pools. */
#include <pthread.h>

#include "test/support/actors.h"

MANTA_STRUCT(Price, (double, value), (int64_t, serial))

/* A worker that can exit in several ways, and an observer that writes down what it is told. */
MANTA_ACTOR(Worker, int64_t seen;)
MANTA_METHOD(Worker, ping, int64_t) { return ++self->seen; }
MANTA_METHOD(Worker, fall, void, (int32_t, status)) { manta_exit((manta_status)status, "fell with %d", (int)status); }
MANTA_METHOD(Worker, leave, void) { manta_exit_normally(); }
MANTA_METHOD_DECLARE(Worker, say_and_leave, void, (manta_actor, to), (int64_t, n))
MANTA_METHOD(Worker, link_to, int32_t, (manta_actor, other)) { return (int32_t)manta_link(other); }
MANTA_METHOD(Worker, unlink_from, int32_t, (manta_actor, other)) { return (int32_t)manta_unlink(other); }
MANTA_METHOD(Worker, trap, int32_t) { return (int32_t)manta_trap_exit(true); }

MANTA_ACTOR(Observer, char trail[256]; int64_t heard; int64_t downs; double price; manta_monitor_id last;)
static void add_to_trail(Observer *self, const char *kind, int32_t status)
{
    char item[32];
    snprintf(item, sizeof item, "%s%d ", kind, (int)status);
    if (strlen(self->trail) + strlen(item) < sizeof self->trail) strcat(self->trail, item);
}
MANTA_METHOD(Observer, word, void, (int64_t, n)) { self->heard += n; }
MANTA_METHOD(Observer, on_down, void, (manta_actor, who), (int32_t, status), (manta_str, message))
{
    self->downs++;
    add_to_trail(self, self->heard == 0 ? "early-down" : "down", status);
}
MANTA_METHOD(Observer, on_exit, void, (manta_actor, who), (int32_t, status), (manta_str, message)) { add_to_trail(self, "exit", status); }
MANTA_METHOD(Observer, watch, int32_t, (manta_actor, who)) { return (int32_t)manta_monitor(who, Observer_on_down, &self->last); }
MANTA_METHOD(Observer, watch_badly, int32_t, (manta_actor, who)) { return (int32_t)manta_monitor(who, Observer_word, NULL); }
MANTA_METHOD(Observer, unwatch, int32_t) { return (int32_t)manta_demonitor(self->last); }
MANTA_METHOD(Observer, link_to, int32_t, (manta_actor, other)) { return (int32_t)manta_link(other); }
MANTA_METHOD(Observer, trail, manta_str) { return manta_str_of(self->trail); }
MANTA_METHOD(Observer, downs, int64_t) { return self->downs; }
MANTA_METHOD(Observer, price, void, (Price, p)) { self->price += p.value; }
MANTA_METHOD(Observer, total, double) { return self->price; }
MANTA_METHOD(Observer, subscribe, int32_t, (manta_str, topic)) { return (int32_t)manta_subscribe(topic.data, Observer_price); }
MANTA_METHOD(Observer, unsubscribe, int32_t, (manta_str, topic)) { return (int32_t)manta_unsubscribe(topic.data); }
MANTA_CLASS_WITH(Observer, (.trap_exit = true), word, on_down, on_exit, watch, watch_badly, unwatch, link_to, trail, downs, price, total,
    subscribe, unsubscribe)

MANTA_METHOD_DEFINE(Worker, say_and_leave, void, (manta_actor, to), (int64_t, n))
{
    for (int64_t i = 0; i < n; i++) Observer_word_send(Observer_ref_of(to), 1);
    manta_exit_normally();
}
MANTA_CLASS(Worker, ping, fall, leave, say_and_leave, link_to, unlink_from, trap)

static bool trail_becomes(Observer_ref o, const char *text)
{
    for (int i = 0; i < 10000; i++) {
        if (strcmp(manta_await(Observer_trail(o)).data, text) == 0) return true;
        (void)manta_sleep(1);
    }
    fprintf(stderr, "trail is \"%s\", expected \"%s\"\n", manta_await(Observer_trail(o)).data, text);
    return false;
}

/* A monitor tells once of the exit and its reason; of a dead actor at once. */
IN_BOTH_MODES(monitors_tell)
{
    Observer_ref o = Observer_spawn();
    Worker_ref w = Worker_spawn();
    EXPECT_EQ(manta_await(Observer_watch(o, w.actor)), MANTA_OK);
    Observer_word_send(o, 1);
    Worker_fall_send(w, MANTA_EIO);
    char expected[64];
    snprintf(expected, sizeof expected, "down%d ", MANTA_EIO);
    EXPECT(trail_becomes(o, expected));
    EXPECT_EQ(manta_await(Observer_watch(o, w.actor)), MANTA_OK);
    snprintf(expected, sizeof expected, "down%d down%d ", MANTA_EIO, MANTA_EDEAD);
    EXPECT(trail_becomes(o, expected));
    EXPECT_EQ(manta_await(Observer_watch_badly(o, w.actor)), MANTA_ETYPE);
}

/* What a dying actor sent comes before the news of its death. */
IN_BOTH_MODES(downs_come_in_order)
{
    for (int i = 0; i < 50; i++) {
        Observer_ref o = Observer_spawn();
        Worker_ref w = Worker_spawn();
        EXPECT_EQ(manta_await(Observer_watch(o, w.actor)), MANTA_OK);
        Worker_say_and_leave_send(w, o.actor, 3);
        EXPECT(trail_becomes(o, "down0 "));
        manta_stop(o.actor);
    }
}

/* After a demonitor nothing is heard. */
IN_BOTH_MODES(demonitor_is_final)
{
    Observer_ref o = Observer_spawn();
    Worker_ref w = Worker_spawn();
    EXPECT_EQ(manta_await(Observer_watch(o, w.actor)), MANTA_OK);
    EXPECT_EQ(manta_await(Observer_unwatch(o)), MANTA_OK);
    EXPECT_EQ(manta_await(Observer_unwatch(o)), MANTA_ENOTFOUND);
    Worker_leave_send(w);
    EXPECT_EQ(manta_wait_exit(w.actor, 5000, NULL), MANTA_OK);
    EXPECT_EQ(manta_await(Observer_downs(o)), 0);
}

/* An abnormal exit takes linked actors along, a normal one does not, an unlinked one is left alone, and a trapping one is told. */
IN_BOTH_MODES(links)
{
    Worker_ref a = Worker_spawn(), b = Worker_spawn(), c = Worker_spawn(), d = Worker_spawn();
    Observer_ref o = Observer_spawn();
    EXPECT_EQ(manta_await(Worker_link_to(a, b.actor)), MANTA_OK);
    EXPECT_EQ(manta_await(Worker_link_to(a, c.actor)), MANTA_OK);
    EXPECT_EQ(manta_await(Worker_link_to(a, d.actor)), MANTA_OK);
    EXPECT_EQ(manta_await(Worker_unlink_from(a, c.actor)), MANTA_OK);
    EXPECT_EQ(manta_await(Observer_link_to(o, a.actor)), MANTA_OK);
    EXPECT_EQ(manta_await(Worker_trap(a)), MANTA_ENOMETHOD);
    manta_await(Worker_ping(a)); /* the link has arrived by now: it was sent before */
    Worker_leave_send(d);
    EXPECT_EQ(manta_wait_exit(d.actor, 5000, NULL), MANTA_OK);
    EXPECT_EQ(manta_await(Worker_ping(a)), 2);
    Worker_fall_send(a, MANTA_EIO);
    manta_status reason = MANTA_OK;
    EXPECT_EQ(manta_wait_exit(b.actor, 5000, &reason), MANTA_OK);
    EXPECT(reason == MANTA_EIO || reason == MANTA_EDEAD);
    EXPECT_EQ(manta_await(Worker_ping(c)), 1);
    char expected[64];
    snprintf(expected, sizeof expected, "exit%d ", MANTA_EIO);
    EXPECT(trail_becomes(o, expected));
}

/* Names are unique, checked, found, and gone with their actor. */
IN_BOTH_MODES(names)
{
    manta_actor found;
    char longest[200];
    memset(longest, 'n', sizeof longest);
    longest[128] = 0;
    Worker_ref a = Worker_spawn_with(MANTA_OPTIONS(.name = "alpha"));
    EXPECT(a.actor.id != 0);
    EXPECT_EQ(manta_lookup("alpha", &found), MANTA_OK);
    EXPECT(found.id == a.actor.id);
    EXPECT_EQ(Worker_spawn_with(MANTA_OPTIONS(.name = "alpha")).actor.id, 0);
    EXPECT_EQ(manta_last_error()->status, MANTA_EEXIST);
    EXPECT_EQ(Worker_spawn_with(MANTA_OPTIONS(.name = longest)).actor.id, 0);
    EXPECT_EQ(manta_last_error()->status, MANTA_ETOOLONG);
    longest[127] = 0;
    EXPECT_EQ(manta_register(longest, a.actor), MANTA_OK);
    EXPECT_EQ(manta_register("", a.actor), MANTA_EINVAL);
    EXPECT_EQ(manta_unregister(longest), MANTA_OK);
    EXPECT_EQ(manta_unregister(longest), MANTA_ENOTFOUND);
    manta_stop(a.actor);
    EXPECT_EQ(manta_wait_exit(a.actor, 5000, NULL), MANTA_OK);
    EXPECT_EQ(manta_lookup("alpha", &found), MANTA_ENOTFOUND);
    EXPECT_EQ(manta_register("beta", a.actor), MANTA_EDEAD);
    EXPECT(Worker_spawn_with(MANTA_OPTIONS(.name = "alpha")).actor.id != 0);
}

static _Atomic bool looks;
static void *look_all_the_time(void *unused)
{
    manta_actor found;
    (void)unused;
    while (looks) (void)manta_lookup("gamma", &found);
    return NULL;
}

/* A name that is looked up while it is being taken stays its actor's. */
TEST(a_name_that_is_being_taken)
{
    manta_t *m = manta_init_with(&(manta_config){.size = sizeof(manta_config), .workers = 1});
    pthread_t thread;
    manta_actor found;
    EXPECT(m);
    looks = true;
    EXPECT_EQ(pthread_create(&thread, NULL, look_all_the_time, NULL), 0);
    bool ok = true;
    for (int64_t i = 0; ok && i < test_scaled(20000); i++) {
        Worker_ref a = Worker_spawn_with(MANTA_OPTIONS(.name = "gamma"));
        ok = a.actor.id && manta_lookup("gamma", &found) == MANTA_OK && found.id == a.actor.id && manta_stop(a.actor) == MANTA_OK &&
             manta_wait_exit(a.actor, 5000, NULL) == MANTA_OK;
    }
    looks = false;
    pthread_join(thread, NULL);
    EXPECT(ok);
    EXPECT_EQ(manta_shutdown(m), MANTA_OK);
}

/* get_if_exists gives the actor that has the name, but not one of another class; a detached actor needs a name. */
IN_BOTH_MODES(names_that_exist)
{
    Worker_ref a = Worker_spawn_with(MANTA_OPTIONS(.name = "one", .get_if_exists = true));
    EXPECT(a.actor.id != 0);
    EXPECT_EQ(Worker_spawn_with(MANTA_OPTIONS(.name = "one", .get_if_exists = true)).actor.id, a.actor.id);
    EXPECT_EQ(Observer_spawn_with(MANTA_OPTIONS(.name = "one", .get_if_exists = true)).actor.id, 0);
    EXPECT_EQ(manta_last_error()->status, MANTA_EEXIST);
    EXPECT_EQ(Worker_spawn_with(MANTA_OPTIONS(.name = "one")).actor.id, 0);
    EXPECT_EQ(manta_last_error()->status, MANTA_EEXIST);
    EXPECT_EQ(Worker_spawn_with(MANTA_OPTIONS(.lifetime = MANTA_LIFETIME_DETACHED)).actor.id, 0);
    EXPECT_EQ(manta_last_error()->status, MANTA_EINVAL);
    EXPECT_EQ(Worker_spawn_with(MANTA_OPTIONS(.name = "two", .lifetime = (manta_lifetime)7)).actor.id, 0);
    EXPECT_EQ(manta_last_error()->status, MANTA_EINVAL);
    Worker_ref b = Worker_spawn_with(MANTA_OPTIONS(.name = "two", .lifetime = MANTA_LIFETIME_DETACHED));
    EXPECT_EQ(manta_await(Worker_ping(b)), 1);
    EXPECT_EQ(manta_stop(a.actor), MANTA_OK);
    EXPECT_EQ(manta_wait_exit(a.actor, 5000, NULL), MANTA_OK);
    Worker_ref c = Worker_spawn_with(MANTA_OPTIONS(.name = "one", .get_if_exists = true));
    EXPECT(c.actor.id != 0 && c.actor.id != a.actor.id);
}

MANTA_TASK(get_or_make, uint64_t) { return Worker_spawn_with(MANTA_OPTIONS(.name = "raced", .get_if_exists = true)).actor.id; }

/* Tasks that ask for a name at the same time get the same actor. */
IN_BOTH_MODES(races_for_a_name)
{
    enum { RACERS = 64 };
    manta_uint64_t_future f[RACERS];
    uint64_t first = 0;
    for (int i = 0; i < RACERS; i++) f[i] = get_or_make_submit();
    for (int i = 0; i < RACERS; i++) {
        uint64_t id = manta_await(f[i]);
        if (!i) first = id;
        EXPECT(id == first && id);
    }
}

/* Group members are listed in order of joining and leave when they exit. */
IN_BOTH_MODES(groups)
{
    Worker_ref w[3];
    manta_actor members[3];
    size_t count = 9;
    EXPECT_EQ(manta_group_members("none", members, 3, &count), MANTA_OK);
    EXPECT_EQ(count, 0);
    for (int i = 0; i < 3; i++) {
        w[i] = Worker_spawn();
        EXPECT_EQ(manta_group_join("workers", w[i].actor), MANTA_OK);
    }
    EXPECT_EQ(manta_group_join("workers", w[0].actor), MANTA_EEXIST);
    manta_stop(w[1].actor);
    EXPECT_EQ(manta_wait_exit(w[1].actor, 5000, NULL), MANTA_OK);
    EXPECT_EQ(manta_group_members("workers", members, 3, &count), MANTA_OK);
    EXPECT(count == 2 && members[0].id == w[0].actor.id && members[1].id == w[2].actor.id);
    EXPECT_EQ(manta_group_leave("workers", w[0].actor), MANTA_OK);
    EXPECT_EQ(manta_group_leave("workers", w[0].actor), MANTA_ENOTFOUND);
    EXPECT_EQ(manta_group_join("workers", w[1].actor), MANTA_EDEAD);
}

/* A published value reaches every subscriber of its type. */
IN_BOTH_MODES(topics)
{
    Observer_ref a = Observer_spawn(), b = Observer_spawn();
    EXPECT_EQ(manta_await(Observer_subscribe(a, manta_str_of("prices"))), MANTA_OK);
    EXPECT_EQ(manta_await(Observer_subscribe(b, manta_str_of("prices"))), MANTA_OK);
    EXPECT_EQ(manta_await(Observer_subscribe(b, manta_str_of("prices"))), MANTA_EEXIST);
    size_t sent = 0;
    Price p = {1.5, 1};
    for (int i = 0; i < 4; i++) EXPECT_EQ(manta_publish("prices", Price, p, &sent), MANTA_OK);
    EXPECT_EQ(sent, 2);
    int64_t other = 5;
    EXPECT_EQ(manta_publish("prices", int64_t, other, &sent), MANTA_OK);
    EXPECT_EQ(sent, 0);
    EXPECT(manta_await(Observer_total(a)) == 6.0);
    EXPECT_EQ(manta_await(Observer_unsubscribe(b, manta_str_of("prices"))), MANTA_OK);
    EXPECT_EQ(manta_publish("prices", Price, p, &sent), MANTA_OK);
    EXPECT_EQ(sent, 1);
    EXPECT(manta_await(Observer_total(b)) == 6.0);
}

/* A pool spreads over its living members; a key stays with one. */
IN_BOTH_MODES(pools)
{
    manta_actor all[4];
    for (int i = 0; i < 4; i++) all[i] = Worker_spawn().actor;
    manta_pool *p = NULL;
    EXPECT_EQ(manta_pool_new(all, 0, MANTA_POOL_RANDOM, &p), MANTA_EINVAL);
    for (manta_pool_policy policy = MANTA_POOL_ROUND_ROBIN; policy <= MANTA_POOL_LEAST_QUEUED; policy++) {
        EXPECT_EQ(manta_pool_new(all, 4, policy, &p), MANTA_OK);
        int counts[4] = {0};
        for (int i = 0; i < 400; i++) {
            manta_actor a = manta_pool_pick(p);
            for (int k = 0; k < 4; k++) counts[k] += a.id == all[k].id;
        }
        EXPECT_EQ(counts[0] + counts[1] + counts[2] + counts[3], 400);
        if (policy == MANTA_POOL_ROUND_ROBIN) EXPECT(counts[0] == 100 && counts[3] == 100);
        EXPECT(manta_pool_pick_key(p, 77).id == manta_pool_pick_key(p, 77).id);
        if (policy < MANTA_POOL_LEAST_QUEUED) manta_pool_free(&p);
    }
    EXPECT_EQ(manta_pool_stop(p), MANTA_OK);
    for (int i = 0; i < 4; i++) EXPECT_EQ(manta_wait_exit(all[i], 5000, NULL), MANTA_OK);
    EXPECT_EQ(manta_pool_pick(p).id, 0);
    manta_pool_free(&p);
    manta_pool_free(&p);
}
