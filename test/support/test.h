/*
 * The test harness: TEST(name) { ... } registers a case, EXPECT checks, and main runs every case (or those whose name contains
 * the first argument). The last line is "N passed, M failed".
 *
 * A failed EXPECT prints file, line and expression and leaves the case. WAIT_FOR polls a condition against a deadline; no test sleeps.
 */
#ifndef MANTA_TEST_H
#define MANTA_TEST_H

#include <inttypes.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef struct test_case {
    const char *name;
    void (*run)(void);
    struct test_case *next;
} test_case;

extern test_case *test_cases;
extern int test_failed; /* of the running case */

enum { TEST_CHILD_FD = 50 };
typedef struct test_role { /* what this program does instead of tests when it is started as somebody's child, see child.h */
    const char *name;
    void (*run)(const char *argument, int parent);
    struct test_role *next;
} test_role;

void test_register(test_case *c);
void test_register_role(test_role *r);
void test_report(const char *file, int line, const char *what);
double test_now_s(void);
uint64_t test_seed(void); /* MANTA_TEST_SEED, or one from the clock; printed when a case fails */

/* The given load, or a tenth of it under sanitizers. */
static inline int64_t test_scaled(int64_t n)
{
    const char *scale = getenv("MANTA_TEST_SCALE");
    int64_t divisor = scale ? atoll(scale) : 1;
    return divisor > 1 && n / divisor > 0 ? n / divisor : n;
}

#define TEST(name_) \
    static void test_##name_(void); \
    static test_case case_##name_ = {#name_, test_##name_, NULL}; \
    __attribute__((constructor)) static void register_##name_(void) { test_register(&case_##name_); } \
    static void test_##name_(void)

#define EXPECT(x) \
    do { \
        if (!(x)) { \
            test_report(__FILE__, __LINE__, #x); \
            return; \
        } \
    } while (0)

/* EXPECT_EQ(a, b): like EXPECT(a == b) for integers, and prints both. */
#define EXPECT_EQ(a, b) \
    do { \
        long long a_ = (long long)(a), b_ = (long long)(b); \
        if (a_ != b_) { \
            char text_[256]; \
            snprintf(text_, sizeof text_, "%s == %s: %lld and %lld", #a, #b, a_, b_); \
            test_report(__FILE__, __LINE__, text_); \
            return; \
        } \
    } while (0)

/* EXPECT_STR(a, b): the two strings are equal. */
#define EXPECT_STR(a, b) \
    do { \
        const char *a_ = (a), *b_ = (b); \
        if (strcmp(a_, b_) != 0) { \
            char text_[512]; \
            snprintf(text_, sizeof text_, "%s == %s: \"%s\" and \"%s\"", #a, #b, a_, b_); \
            test_report(__FILE__, __LINE__, text_); \
            return; \
        } \
    } while (0)

/* WAIT_FOR(cond, seconds): true as soon as cond holds, false when the deadline passes first. */
#define WAIT_FOR(cond, seconds) \
    ({ \
        double end_ = test_now_s() + (seconds); \
        bool ok_; \
        while (!(ok_ = (cond)) && test_now_s() < end_) sched_yield(); \
        ok_; \
    })

#endif
