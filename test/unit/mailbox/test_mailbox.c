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
    message *m;
    do
        while ((m = mailbox_pop(w, box, end))) message_done(w, m);
    while (!mailbox_try_rest(w, box, end));
}

typedef struct model {
    worker *w;
    mailbox box;
    mailbox_end end;
    uint32_t items[MODEL], head, tail, next;
    uint32_t own; /* of the items, how many are in the own lane: the first ones */
    bool resting;
} model;

static void model_push(model *t, rng *r, bool own)
{
    message *m = message_new(t->w, 8 + (size_t)rng_below(r, 150));
    bool listed = t->tail - t->head > t->own;
    m->generation = t->next;
    if (!own || t->resting) {
        EXPECT_EQ(mailbox_push(&t->box, m), t->resting);
        t->resting = false;
    } else {
        EXPECT_EQ(mailbox_push_own(&t->box, &t->end, m), !listed);
        if (listed) mailbox_push(&t->box, m);
        else t->own++;
    }
    t->items[t->tail++ % MODEL] = t->next++;
}

static void model_pop(model *t)
{
    message *m = mailbox_pop(t->w, &t->box, &t->end);
    EXPECT_EQ(m != NULL, t->tail != t->head);
    if (!m) return;
    EXPECT_EQ(m->generation, t->items[t->head++ % MODEL]);
    EXPECT_EQ(m->flags >> 1, t->own ? (MESSAGE_HELD | MESSAGE_PASSED) >> 1 : 0);
    if (t->own) t->own--;
    message_done(t->w, m);
}

static void model_rest(model *t)
{
    bool rested = mailbox_try_rest(t->w, &t->box, &t->end);
    EXPECT_EQ(rested, t->tail == t->head);
    t->resting = rested;
}

/* Random pushes into both lanes, pops and rests behave like one queue with a flag; the own lane takes a message exactly while the list is empty. */
TEST(model)
{
    EXPECT(message_pool_init(1 << 20));
    model *t = calloc(1, sizeof *t);
    rng r;
    t->w = bare();
    t->resting = true;
    rng_init(&r, test_seed());
    mailbox_init(&t->box, &t->end);
    for (int i = 0; i < 200000 && !test_failed; i++) {
        uint64_t choice = rng_below(&r, 7);
        if (choice < 4 && t->tail - t->head < MODEL) model_push(t, &r, choice < 2);
        else if (choice < 6 && !t->resting) model_pop(t);
        else if (!t->resting) model_rest(t);
        else {
            EXPECT_EQ(mailbox_take(&t->box), t->resting);
            t->resting = false;
        }
        EXPECT_EQ(mailbox_is_at_rest(&t->box), t->resting);
        EXPECT_EQ(mailbox_count(&t->box, &t->end, 100000), t->tail - t->head);
    }
    if (!t->resting) drain(t->w, &t->box, &t->end);
    slab_cache_flush(&message_slab, &t->w->caches[MESSAGE_CACHE]);
    free(t->w);
    free(t);
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
        bool mine = i & 1 && mailbox_take(&shared); /* every other one as a worker does that finds it at rest */
        if (!mine) mine = mailbox_push(&shared, m);
        else if (!mailbox_push_own(&shared, &shared_end, m)) mailbox_push(&shared, m);
        if (mine) atomic_fetch_add(&scheduled, 1);
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
        message_done(w, m);
    }
    for (int i = 0; i < PRODUCERS; i++) pthread_join(threads[i], NULL);
    EXPECT_EQ(taken, (long)PRODUCERS * EACH);
    slab_cache_flush(&message_slab, &w->caches[MESSAGE_CACHE]);
    free(w);
}
