#include <pthread.h>

#include <manta/manta.h>

#include "test/support/test.h"

MANTA_ACTOR(Tally, int64_t value;)
MANTA_METHOD(Tally, add, int64_t, (int64_t, by))
{
    if (by < 0) return manta_fail(MANTA_EINVAL, "negative"), 0;
    return self->value += by;
}
MANTA_METHOD(Tally, idle, void) {}
MANTA_CLASS(Tally, add, idle)

MANTA_TASK(twice, int64_t, (int64_t, x)) { return 2 * x; }

MANTA_ACTOR(Late, int64_t value;)
MANTA_METHOD(Late, last, void) {}
MANTA_CLASS(Late, last)

static void quiet(const char *line, void *context) { (void)line, (void)context; }

static manta_t *begin(void) { return manta_init_with(&(manta_config){.workers = 2, .on_report = quiet}); }

static manta_method_stats stats_of(const char *cls, const char *method)
{
    manta_method_stats all[64];
    size_t count = 0;
    if (manta_method_counters(all, 64, &count) == MANTA_OK)
        for (size_t i = 0; i < count && i < 64; i++)
            if (strcmp(all[i].class_name, cls) == 0 && strcmp(all[i].method, method) == 0) return all[i];
    return (manta_method_stats){"?", "?", 0, 0};
}

static manta_stats stats_now(void)
{
    manta_stats s = {0};
    (void)manta_read_stats(&s);
    return s;
}

/* Each method and task counts what it handled and how often it failed, whatever thread it ran on; failures count as handled too. */
TEST(per_method)
{
    manta_t *m = begin();
    Tally_ref t[10];
    for (int i = 0; i < 10; i++) t[i] = Tally_spawn();
    for (int i = 0; i < 1000; i++) EXPECT_EQ(Tally_add_send(t[i % 10], i % 100 == 7 ? -1 : 1), MANTA_OK);
    for (int i = 0; i < 50; i++) EXPECT_EQ(manta_await(twice_submit(i)), 2 * i);
    for (int i = 0; i < 10; i++) manta_await(Tally_idle(t[i]));
    EXPECT(WAIT_FOR(stats_of("Tally", "idle").handled == 10, 10)); /* the count may follow the answer */
    EXPECT_EQ(stats_of("Tally", "add").handled, 1000);
    EXPECT_EQ(stats_of("Tally", "add").failed, 10);
    EXPECT_EQ(stats_of("Tally", "idle").failed, 0);
    EXPECT(WAIT_FOR(stats_of("", "twice").handled == 50, 10));
    EXPECT_EQ(stats_now().failures, 10);
    EXPECT_EQ(manta_shutdown(m), MANTA_OK);
}

/* Methods are listed in order of registration, and the count does not depend on the room given. */
TEST(order_and_capacity)
{
    manta_t *m = begin();
    manta_method_stats all[64];
    size_t count = 0, again = 0;
    EXPECT_EQ(manta_method_counters(all, 64, &count), MANTA_OK);
    EXPECT(count >= 3);
    EXPECT_EQ(manta_method_counters(NULL, 0, &again), MANTA_OK);
    EXPECT_EQ(again, count);
    static const char *const expected[] = {"add", "idle", "twice", "last"};
    size_t first = 0;
    while (first < count && strcmp(all[first].method, "add") != 0) first++;
    EXPECT(first + 4 <= count);
    for (size_t i = 0; i < 4; i++) EXPECT_STR(all[first + i].method, expected[i]);
    EXPECT_EQ(manta_method_counters(NULL, 1, &again), MANTA_EINVAL);
    EXPECT_EQ(manta_shutdown(m), MANTA_OK);
}

static void *one_send(void *argument)
{
    Tally_ref *t = argument;
    Tally_add_send(*t, 1);
    Tally_add_send(Tally_ref_of((manta_actor){1}), 1); /* a dead letter, counted by a thread that ends */
    return NULL;
}

/* Actors alive, spawned and exited add up, and what a thread counted stays in the sums when the thread has ended. */
TEST(system_sums)
{
    manta_t *m = begin();
    Tally_ref t[20];
    for (int i = 0; i < 20; i++) t[i] = Tally_spawn();
    EXPECT_EQ(stats_now().actors_alive, 20);
    EXPECT_EQ(stats_now().workers, 2);
    for (int i = 0; i < 5; i++) EXPECT_EQ(manta_stop(t[i].actor), MANTA_OK);
    EXPECT(WAIT_FOR(stats_now().actors_alive == 15, 10));
    EXPECT_EQ(stats_now().actors_spawned, 20);
    EXPECT_EQ(stats_now().actors_exited, 5);
    for (int i = 0; i < 10; i++) {
        pthread_t thread;
        EXPECT_EQ(pthread_create(&thread, NULL, one_send, &t[19]), 0);
        pthread_join(thread, NULL);
    }
    EXPECT_EQ(stats_now().dead_letters, 10);
    EXPECT(WAIT_FOR(stats_of("Tally", "add").handled == 10, 10));
    EXPECT(stats_now().messages_handled >= 10);
    EXPECT_EQ(manta_shutdown(m), MANTA_OK);
    m = begin(); /* a new system counts from 0 */
    EXPECT_EQ(stats_now().actors_spawned, 0);
    EXPECT_EQ(stats_of("Tally", "add").handled, 0);
    EXPECT_EQ(manta_shutdown(m), MANTA_OK);
}

/* The last 64 messages to actors that were gone are kept, oldest first, with receiver, class and method. */
TEST(dead_letters)
{
    manta_t *m = begin();
    manta_dead_letter letters[100];
    size_t count = 99;
    EXPECT_EQ(manta_dead_letters(letters, 100, &count), MANTA_OK);
    EXPECT_EQ(count, 0);
    Tally_ref t = Tally_spawn();
    EXPECT_EQ(manta_stop(t.actor), MANTA_OK);
    EXPECT_EQ(manta_wait_exit(t.actor, 10000, NULL), MANTA_OK);
    EXPECT_EQ(Tally_idle_send(t), MANTA_EDEAD);
    for (int i = 0; i < 69; i++) EXPECT_EQ(Tally_add_send(t, i), MANTA_EDEAD);
    EXPECT_EQ(manta_dead_letters(letters, 100, &count), MANTA_OK);
    EXPECT_EQ(count, 64);
    EXPECT_EQ(letters[63].to.id, t.actor.id);
    EXPECT_EQ(letters[63].from.id, 0);
    EXPECT_STR(letters[63].class_name, "Tally");
    EXPECT_STR(letters[0].method, "add");
    EXPECT_EQ(Tally_idle_send(t), MANTA_EDEAD);
    EXPECT_EQ(manta_dead_letters(letters, 100, &count), MANTA_OK);
    EXPECT_STR(letters[63].method, "idle");
    EXPECT_EQ(stats_now().dead_letters, 71);
    EXPECT_EQ(manta_shutdown(m), MANTA_OK);
}
