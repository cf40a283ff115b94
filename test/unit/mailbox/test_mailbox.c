/* The mailbox against a simple model, and with several producers. */
#include <pthread.h>
#include <stdatomic.h>

#include "mailbox/local/mailbox.h"
#include "scheduler/base/rng.h"
#include "test/support/test.h"

enum { MODEL = 1024, PRODUCERS = 3, EACH = 20000 };

/* A record for a thread without a pool: its caches are all that messages need. */
static worker *bare(void) { return calloc(1, sizeof(worker)); }

static void drain(worker *w, mailbox *box, mailbox_end *end)
{
    do
        while (mailbox_pop(w, box, end)) continue;
    while (!mailbox_try_rest(w, box, end));
}

/* Random pushes, pops and rests behave like a queue with a flag. */
TEST(model)
{
    EXPECT(message_pool_init(1 << 20));
    worker *w = bare();
    static mailbox box;
    mailbox_end end;
    uint32_t model[MODEL], head = 0, tail = 0, next = 1;
    bool resting = true;
    rng r;
    rng_init(&r, test_seed());
    mailbox_init(&box, &end);
    for (int i = 0; i < 200000; i++) {
        uint64_t choice = rng_below(&r, 5);
        if (choice < 2 && tail - head < MODEL) {
            message *m = message_new(w, 8 + (size_t)rng_below(&r, 150));
            m->generation = next;
            model[tail++ % MODEL] = next++;
            EXPECT_EQ(mailbox_push(&box, m), resting);
            resting = false;
        } else if (choice < 4 && !resting) {
            message *m = mailbox_pop(w, &box, &end);
            EXPECT_EQ(m != NULL, tail != head);
            if (m) EXPECT_EQ(m->generation, model[head++ % MODEL]);
        } else if (!resting) {
            bool rested = mailbox_try_rest(w, &box, &end);
            EXPECT_EQ(rested, tail == head);
            resting = rested;
        } else {
            EXPECT_EQ(mailbox_take(&box), resting);
            resting = false;
        }
        EXPECT_EQ(mailbox_is_at_rest(&box), resting);
        EXPECT_EQ(mailbox_count(&box, &end, 100000), tail - head);
    }
    if (!resting) drain(w, &box, &end);
    slab_cache_flush(&message_slab, &w->caches[MESSAGE_CACHE]);
    free(w);
}

static mailbox shared;
static mailbox_end shared_end;
static _Atomic int scheduled;

static void *produce(void *argument)
{
    worker *w = bare();
    uint64_t me = (uint64_t)(uintptr_t)argument;
    for (uint64_t i = 1; i <= EACH; i++) {
        message *m = message_new(w, 8);
        m->from = me;
        m->words[0] = i;
        if (mailbox_push(&shared, m)) atomic_fetch_add(&scheduled, 1);
    }
    slab_cache_flush(&message_slab, &w->caches[MESSAGE_CACHE]);
    free(w);
    return NULL;
}

/* Several producers: each one's messages arrive once and in order, and a mailbox at rest is always handed to exactly one of them. */
TEST(producers)
{
    EXPECT(message_pool_init(1 << 20));
    worker *w = bare();
    pthread_t threads[PRODUCERS];
    uint64_t last[PRODUCERS] = {0};
    long taken = 0;
    bool mine = false;
    mailbox_init(&shared, &shared_end);
    for (uintptr_t i = 0; i < PRODUCERS; i++) EXPECT_EQ(pthread_create(&threads[i], NULL, produce, (void *)i), 0);
    double deadline = test_now_s() + 60;
    while (taken < (long)PRODUCERS * EACH && test_now_s() < deadline) {
        if (!mine) {
            if (!atomic_load(&scheduled)) {
                sched_yield();
                continue;
            }
            EXPECT_EQ(atomic_exchange(&scheduled, 0), 1);
            mine = true;
        }
        message *m = mailbox_pop(w, &shared, &shared_end);
        if (!m) {
            mine = !mailbox_try_rest(w, &shared, &shared_end);
            continue;
        }
        EXPECT_EQ(m->words[0], last[m->from] + 1);
        last[m->from]++;
        taken++;
    }
    for (int i = 0; i < PRODUCERS; i++) pthread_join(threads[i], NULL);
    EXPECT_EQ(taken, (long)PRODUCERS * EACH);
    slab_cache_flush(&message_slab, &w->caches[MESSAGE_CACHE]);
    free(w);
}
