/*
 * What several actor tests use: a counter, a gate that main can wait at, and starting systems in both modes.
 */
#ifndef MANTA_TEST_ACTORS_H
#define MANTA_TEST_ACTORS_H

#include <manta/manta.h>

#include "test/support/test.h"

/* A system with `workers` threads, or in deterministic mode when seed is not 0. */
static inline manta_t *test_system(uint32_t workers, uint64_t seed)
{
    manta_config c = {.size = sizeof c, .workers = workers, .seed = seed};
    return manta_init_with(&c);
}

/* IN_BOTH_MODES(name) { body }: two tests, name_threads on two workers and name_seeded in deterministic mode. */
#define IN_BOTH_MODES(name_) \
    static void run_##name_(void); \
    TEST(name_##_threads) \
    { \
        manta_t *m_ = test_system(2, 0); \
        EXPECT(m_); \
        run_##name_(); \
        EXPECT_EQ(manta_shutdown(m_), MANTA_OK); \
    } \
    TEST(name_##_seeded) \
    { \
        manta_t *m_ = test_system(0, 42); \
        EXPECT(m_); \
        run_##name_(); \
        EXPECT_EQ(manta_shutdown(m_), MANTA_OK); \
    } \
    static void run_##name_(void)

#endif
