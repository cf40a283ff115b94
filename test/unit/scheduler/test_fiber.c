/* Fibers: switching, migration between threads, registers, the guard page, pooling, limits, abandoned frames. */
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "scheduler/base/alloc.h"
#include "scheduler/os/fiber.h"
#include "test/support/test.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif

typedef struct pair {
    fiber base;
    fiber *other;
    int steps;
    double value;
} pair;

static void bounce(void *argument)
{
    pair *p = argument;
    double x = 1.0;
    for (int i = 1;; i++) {
        x *= 1.5; /* lives over the switch */
        p->steps = i;
        p->value = x;
        fiber_switch(p->other, &p->base);
    }
}

/* A fiber goes on where it left, with its locals. */
TEST(switching)
{
    static pair p;
    fiber_thread_init(&p.base);
    p.other = fiber_new(bounce, &p);
    EXPECT(p.other);
    double expected = 1.0;
    for (int i = 1; i <= 1000; i++) {
        volatile double mine = i * 0.5;
        fiber_switch(&p.base, p.other);
        expected *= 1.5;
        EXPECT_EQ(p.steps, i);
        EXPECT(p.value == expected && mine == i * 0.5);
    }
    fiber_free(p.other);
}

static void *continue_elsewhere(void *argument)
{
    pair *p = argument;
    fiber_thread_init(&p->base);
    fiber_switch(&p->base, p->other);
    return NULL;
}

/* A fiber that was left on one thread goes on on another. */
TEST(migration)
{
    static pair p;
    p.other = fiber_new(bounce, &p);
    for (int i = 1; i <= 20; i++) {
        pthread_t t;
        EXPECT_EQ(pthread_create(&t, NULL, continue_elsewhere, &p), 0);
        pthread_join(t, NULL);
        EXPECT_EQ(p.steps, i);
    }
    fiber_free(p.other);
}

enum { MANY = 500 };

/* Many fibers live at once, and freed ones are used again. */
TEST(many_and_pooled)
{
    static pair p[MANY];
    size_t total, pooled, total_before, pooled_before;
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < MANY; i++) {
            fiber_thread_init(&p[i].base);
            p[i].other = fiber_new(bounce, &p[i]);
            EXPECT(p[i].other);
            fiber_switch(&p[i].base, p[i].other);
        }
        for (int i = 0; i < MANY; i++) {
            EXPECT_EQ(p[i].steps, 1);
            fiber_free(p[i].other);
        }
        if (round == 0) fiber_count(&total_before, &pooled_before);
    }
    fiber_count(&total, &pooled);
    EXPECT_EQ(total, total_before);
    EXPECT_EQ(pooled, pooled_before);
    EXPECT(pooled >= MANY);
    fiber_trim();
}

static void quit_at_once(void *argument)
{
    pair *p = argument;
    p->steps++;
    fiber_switch_final(p->other, &p->base);
}

/* Abandoned frames are dropped by a reset, any number of times. */
TEST(abandoned_frames)
{
    static pair p;
    fiber_thread_init(&p.base);
    p.other = fiber_new(quit_at_once, &p);
    for (int i = 1; i <= 1000; i++) {
        fiber_switch(&p.base, p.other);
        EXPECT_EQ(p.steps, i);
        fiber_reset(p.other, quit_at_once, &p);
    }
    fiber_free(p.other);
}

/* Beyond the limit, and when memory is out, fiber_new says NULL and goes on later. */
TEST(limits)
{
    size_t total, pooled;
    fiber_count(&total, &pooled);
    fiber *held[MANY * 2];
    size_t n = 0;
    fiber_set_limit(total + 2);
    while (n < MANY * 2 && (held[n] = fiber_new(quit_at_once, NULL))) n++;
    EXPECT_EQ(n, pooled + 2);
    for (size_t i = 0; i < n; i++) fiber_free(held[i]);
    fiber_set_limit(0);
    fiber_count(&total, &pooled);
    for (n = 0; n < pooled; n++) held[n] = fiber_new(quit_at_once, NULL);
    base_alloc_fail_at(1);
    EXPECT(fiber_new(quit_at_once, NULL) == NULL);
    base_alloc_fail_at(0);
    fiber *f = fiber_new(quit_at_once, NULL);
    EXPECT(f);
    fiber_free(f);
    for (size_t i = 0; i < n; i++) fiber_free(held[i]);
}

#ifndef SANITIZED
static noinline int eat_stack(int depth)
{
    volatile char page[4096];
    page[0] = (char)depth;
    return depth ? eat_stack(depth - 1) + page[0] : page[0];
}

static void overflow(void *argument)
{
    pair *p = argument;
    p->steps = eat_stack(1000);
    fiber_switch_final(p->other, &p->base);
}

/* A stack that overflows hits its guard page. */
TEST(guard_page)
{
    pid_t child = fork();
    if (child == 0) {
        static pair p;
        signal(SIGSEGV, SIG_DFL);
        fiber_thread_init(&p.base);
        p.other = fiber_new(overflow, &p);
        fiber_switch(&p.base, p.other);
        _exit(0);
    }
    int status = 0;
    EXPECT_EQ(waitpid(child, &status, 0), child);
    EXPECT(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
}
#endif
