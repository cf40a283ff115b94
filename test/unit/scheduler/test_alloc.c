#include "scheduler/base/alloc.h"
#include "scheduler/base/atomics.h"
#include "scheduler/os/os.h"
#include "test/support/test.h"

enum { ROUNDS = 50000, PATIENCE_S = 20 };

static bool alloc_works(void)
{
    void *p = base_alloc(8);
    base_free(p);
    return p != NULL;
}

/* Every kind of allocation gives memory that can be written in full, and of size 0 a pointer that is not NULL. */
TEST(allocations_are_usable)
{
    char *a = base_alloc(100), *c = base_calloc(10, 10), *s = base_strdup("manta");
    EXPECT(a && c && s);
    for (int i = 0; i < 100; i++) EXPECT_EQ(c[i], 0);
    memset(a, 7, 100);
    a = base_realloc(a, 1000);
    EXPECT(a && a[0] == 7 && a[99] == 7);
    memset(a, 7, 1000);
    EXPECT_STR(s, "manta");
    void *zero[] = {base_alloc(0), base_calloc(0, 8), base_calloc(8, 0), base_realloc(NULL, 0), base_aligned_alloc(64, 0)};
    for (size_t i = 0; i < sizeof zero / sizeof zero[0]; i++) {
        EXPECT(zero[i]);
        base_free(zero[i]);
    }
    a = base_realloc(a, 0);
    EXPECT(a);
    base_free(a);
    base_free(c);
    base_free(s);
    base_free(NULL);
}

/* An aligned allocation is aligned, for every power of two and any size. */
TEST(alignment_is_kept)
{
    for (size_t alignment = 1; alignment <= 4096; alignment *= 2) {
        char *p = base_aligned_alloc(alignment, alignment + 3);
        EXPECT(p);
        EXPECT_EQ((uintptr_t)p % alignment, 0);
        memset(p, 1, alignment + 3);
        base_free(p);
    }
}

/* A product that overflows is out of memory, not a small block. */
TEST(calloc_checks_the_product)
{
    volatile size_t half = SIZE_MAX / 2 + 1; /* volatile: the compiler would warn of it */
    EXPECT(!base_calloc(half, 2));
    EXPECT(!base_calloc(half, half));
}

/* The n-th allocation fails, the others do not, and the seam says so. */
TEST(the_nth_allocation_fails_once)
{
    for (uint64_t n = 1; n <= 5; n++) {
        base_alloc_fail_at(n);
        for (uint64_t i = 1; i <= 8; i++) {
            EXPECT_EQ(base_alloc_has_failed(), i > n);
            EXPECT_EQ(alloc_works(), i != n);
        }
    }
    base_alloc_fail_at(0);
    EXPECT(!base_alloc_has_failed());
    EXPECT(alloc_works());
}

/* Switched off in time, the seam fails nothing. */
TEST(zero_switches_the_seam_off)
{
    base_alloc_fail_at(2);
    EXPECT(alloc_works());
    base_alloc_fail_at(0);
    EXPECT(alloc_works());
    EXPECT(!base_alloc_has_failed());
}

/* Every function of the heap and os_map count as one allocation each. */
TEST(every_kind_fails_on_demand)
{
    char *kept = base_strdup("kept");
    EXPECT(kept);
    void *got[6];
    int n = 0;
    base_alloc_fail_at(1), got[n++] = base_alloc(1);
    base_alloc_fail_at(1), got[n++] = base_calloc(1, 1);
    base_alloc_fail_at(1), got[n++] = base_realloc(kept, 100);
    base_alloc_fail_at(1), got[n++] = base_aligned_alloc(8, 8);
    base_alloc_fail_at(1), got[n++] = base_strdup("x");
    base_alloc_fail_at(1), got[n++] = os_map(OS_PAGE, 0);
    for (int i = 0; i < n; i++) EXPECT(!got[i]);
    EXPECT_STR(kept, "kept");
    base_alloc_fail_at(0);
    base_free(kept);
}

static _Atomic bool is_over;
static _Atomic int failures;

static void *allocate_until_over(void *unused)
{
    while (!load_relaxed(&is_over)) {
        if (!alloc_works()) add_relaxed(&failures, 1);
    }
    return unused;
}

/* Arms the seam ROUNDS times and takes part in the allocating; false: a failure did not happen. */
static bool arm_many_times(void)
{
    for (uint64_t i = 0; i < ROUNDS; i++) {
        base_alloc_fail_at(10 + i % 7);
        double end_s = test_now_s() + PATIENCE_S;
        while (!base_alloc_has_failed()) {
            if (test_now_s() > end_s) return false;
            for (int tries = 0; tries < 20; tries++) {
                if (!alloc_works()) add_relaxed(&failures, 1);
            }
        }
    }
    return true;
}

/* When two threads allocate, an armed failure happens to exactly one of them. */
TEST(one_failure_among_threads)
{
    pthread_t thread;
    EXPECT_EQ(os_thread_start(&thread, "alloc", allocate_until_over, NULL), 0);
    bool all_happened = arm_many_times();
    base_alloc_fail_at(0);
    store_relaxed(&is_over, true);
    pthread_join(thread, NULL);
    EXPECT(all_happened);
    EXPECT_EQ(load_relaxed(&failures), ROUNDS);
}
