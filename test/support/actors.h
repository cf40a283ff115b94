/*
 * What several actor tests use: a counter, a gate that main can wait at, and starting systems in both modes.
 */
#ifndef MANTA_TEST_ACTORS_H
#define MANTA_TEST_ACTORS_H

#include <manta/manta.h>

#include "test/support/test.h"

/* The given load, or a tenth of it under sanitizers. */
static inline int64_t test_scaled(int64_t n)
{
    const char *scale = getenv("MANTA_TEST_SCALE");
    int64_t divisor = scale ? atoll(scale) : 1;
    return divisor > 1 && n / divisor > 0 ? n / divisor : n;
}

/* A system with `workers` threads, or in deterministic mode when seed is not 0. */
static inline manta_t *test_system(uint32_t workers, uint64_t seed)
{
    manta_config c = {.size = sizeof c, .workers = workers, .seed = seed};
    return manta_init_with(&c);
}

#endif
