#include "scheduler/base/alloc.h"
#include "scheduler/base/deque.h"
#include "scheduler/base/rng.h"
#include "scheduler/os/os.h"
#include "test/support/test.h"

enum { OPERATIONS = 300000, MODEL_MAX = 600, THIEVES = 2, ITEMS = 200000, ROUNDS = 100 };

static void *item_of(uint64_t number) { return (void *)(uintptr_t)number; }

/* An empty deque gives NULL at both ends and has size 0. */
TEST(empty)
{
    deque d;
    EXPECT(deque_init(&d, 2));
    EXPECT(!deque_pop(&d));
    EXPECT(!deque_steal(&d));
    EXPECT_EQ(deque_size(&d), 0);
    deque_fini(&d);
}

/* The owner takes the newest, a thief the oldest. */
TEST(ends)
{
    deque d;
    EXPECT(deque_init(&d, 2));
    for (uint64_t i = 1; i <= 5; i++) EXPECT(deque_push(&d, item_of(i)));
    EXPECT_EQ(deque_size(&d), 5);
    EXPECT(deque_pop(&d) == item_of(5));
    EXPECT(deque_steal(&d) == item_of(1));
    EXPECT(deque_steal(&d) == item_of(2));
    EXPECT(deque_pop(&d) == item_of(4));
    EXPECT(deque_pop(&d) == item_of(3));
    EXPECT(!deque_pop(&d));
    EXPECT(!deque_steal(&d));
    deque_fini(&d);
}

/* The naive deque: an array that shifts. */
typedef struct naive {
    void *items[MODEL_MAX];
    int size;
} naive;

static void *naive_steal(naive *n)
{
    if (!n->size) return NULL;
    void *oldest = n->items[0];
    memmove(n->items, n->items + 1, (size_t)--n->size * sizeof n->items[0]);
    return oldest;
}

static void *naive_pop(naive *n) { return n->size ? n->items[--n->size] : NULL; }

static bool random_operation(deque *d, naive *n, rng *r, uint64_t number, uint64_t push_share)
{
    if (rng_below(r, 100) < push_share) {
        if (n->size == MODEL_MAX) return true;
        n->items[n->size++] = item_of(number);
        return deque_push(d, item_of(number));
    }
    if (rng_below(r, 2)) return deque_pop(d) == naive_pop(n);
    return deque_steal(d) == naive_steal(n);
}

/* One thread's random operations agree with the naive deque, through phases that fill and drain it, with growth. */
TEST(model)
{
    static naive n;
    n.size = 0;
    deque d;
    EXPECT(deque_init(&d, 1));
    rng r;
    rng_init(&r, test_seed());
    for (uint64_t i = 1; i <= OPERATIONS; i++) {
        uint64_t push_share = i / 2000 % 2 ? 30 : 65;
        EXPECT(random_operation(&d, &n, &r, i, push_share));
        EXPECT_EQ(deque_size(&d), n.size);
    }
    EXPECT(load_relaxed(&d.array)->capacity >= MODEL_MAX / 2);
    deque_fini(&d);
}

/* Out of memory: a full deque refuses the push, keeps what it has, and takes it later. */
TEST(growth_that_fails_changes_nothing)
{
    deque d;
    base_alloc_fail_at(1);
    bool made = deque_init(&d, 2);
    base_alloc_fail_at(0);
    EXPECT(!made);
    deque_fini(&d);
    EXPECT(deque_init(&d, 2));
    EXPECT(deque_push(&d, item_of(1)) && deque_push(&d, item_of(2)));
    base_alloc_fail_at(1);
    bool pushed = deque_push(&d, item_of(3));
    base_alloc_fail_at(0);
    EXPECT(!pushed);
    EXPECT_EQ(deque_size(&d), 2);
    EXPECT(deque_push(&d, item_of(3)));
    for (uint64_t i = 1; i <= 3; i++) EXPECT(deque_steal(&d) == item_of(i));
    deque_fini(&d);
}

/* What a push publishes besides the pointer: a plain field, so that ThreadSanitizer sees a missing order. */
typedef struct parcel {
    uint64_t payload;
    _Atomic int taken;
} parcel;

static parcel parcels[ITEMS];
static deque shared;
static _Atomic bool is_done;
static _Atomic uint64_t wrong_payloads;

static void take(parcel *p)
{
    if (p->payload != (uint64_t)(p - parcels) * 3 + 1) add_relaxed(&wrong_payloads, 1);
    add_relaxed(&p->taken, 1);
}

static void *thief(void *out_count)
{
    uint64_t *count = out_count, misses = 0;
    while (!load_acquire(&is_done) || deque_size(&shared)) {
        parcel *p = deque_steal(&shared);
        if (p) {
            take(p);
            ++*count;
        } else if (++misses % 64 == 0) sched_yield();
    }
    return NULL;
}

/* Pushes everything, in bursts between which it pops down to nearly empty, where owner and thieves meet; the last burst is for the
 * thieves alone. */
static bool own(rng *r)
{
    for (uint64_t i = 0; i < ITEMS;) {
        for (uint64_t burst = 1 + rng_below(r, rng_below(r, 500) ? 3 : 2000); burst && i < ITEMS; burst--, i++) {
            parcels[i].payload = i * 3 + 1;
            if (!deque_push(&shared, &parcels[i])) return false;
        }
        for (uint64_t pops = rng_below(r, 5); pops && i < ITEMS; pops--) {
            parcel *p = deque_pop(&shared);
            if (p) take(p);
        }
    }
    return true;
}

/* One run of an owner and its thieves over all parcels. */
static bool run_once(rng *r, uint64_t *stolen)
{
    pthread_t threads[THIEVES];
    int started = 0;
    memset(parcels, 0, sizeof parcels);
    store_relaxed(&is_done, false);
    if (!deque_init(&shared, 1)) return false;
    while (started < THIEVES && os_thread_start(&threads[started], "thief", thief, &stolen[started]) == 0) started++;
    bool ok = own(r) && started == THIEVES;
    store_release(&is_done, true);
    for (int i = 0; i < started; i++) pthread_join(threads[i], NULL);
    deque_fini(&shared);
    return ok;
}

/* One owner and two thieves: every item is taken by exactly one of them, with all that was written before its push. */
TEST(nothing_lost_nothing_twice)
{
    uint64_t stolen[THIEVES] = {0};
    rng r;
    rng_init(&r, test_seed());
    double end_s = test_now_s() + 1;
    for (int round = 0; round < ROUNDS && (round == 0 || test_now_s() < end_s); round++) {
        EXPECT(run_once(&r, stolen));
        EXPECT_EQ(load_relaxed(&wrong_payloads), 0);
        for (int i = 0; i < ITEMS; i++) EXPECT_EQ(load_relaxed(&parcels[i].taken), 1);
    }
    EXPECT(stolen[0] + stolen[1] > 0);
}
