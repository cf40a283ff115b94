#include "scheduler/base/rng.h"
#include "test/support/test.h"

enum { DRAWS = 100000 };

/* The finaliser and the generator give the published values, on every machine. */
TEST(known_values)
{
    EXPECT(rng_mix(0x9e3779b97f4a7c15u) == 0xe220a8397b1dcdafu); /* splitmix64 of seed 0: its first word */
    rng r = {{1, 2, 3, 4}};
    static const uint64_t expected[] = {11520, 0, 1509978240, 1215971899390074240};
    for (int i = 0; i < 4; i++) EXPECT(rng_next(&r) == expected[i]);
}

/* The same seed replays the sequence; another seed gives another. */
TEST(a_seed_replays)
{
    rng a, b, c;
    rng_init(&a, test_seed());
    rng_init(&b, test_seed());
    rng_init(&c, test_seed() + 1);
    int same = 0;
    for (int i = 0; i < 1000; i++) {
        uint64_t x = rng_next(&a);
        EXPECT(x == rng_next(&b));
        same += x == rng_next(&c);
    }
    EXPECT_EQ(same, 0);
}

/* Seed 0 is as good as any: the generator does not stick. */
TEST(seed_zero_works)
{
    rng r;
    rng_init(&r, 0);
    uint64_t bits = 0;
    for (int i = 0; i < 64; i++) bits |= rng_next(&r);
    EXPECT(bits == UINT64_MAX);
}

/* rng_below stays below its bound, for bounds of every size, the largest and the smallest. */
TEST(below_is_below)
{
    rng r;
    rng_init(&r, test_seed());
    for (int i = 0; i < DRAWS; i++) {
        uint64_t bound = rng_next(&r) >> (i % 64);
        if (!bound) bound = 1;
        EXPECT(rng_below(&r, bound) < bound);
    }
    EXPECT(rng_below(&r, 1) == 0);
    EXPECT(rng_below(&r, UINT64_MAX) < UINT64_MAX);
}

/* Small bounds come out evenly (5 standard deviations), and a bound of 3/4 of the range shows no modulo bias. */
TEST(below_is_uniform)
{
    rng r;
    rng_init(&r, 12345);
    int seen[6] = {0}, low = 0;
    for (int i = 0; i < DRAWS; i++) seen[rng_below(&r, 6)]++;
    for (int i = 0; i < 6; i++) EXPECT(abs(seen[i] - DRAWS / 6) < 600);
    uint64_t quarter = UINT64_C(1) << 62;
    for (int i = 0; i < DRAWS; i++) low += rng_below(&r, 3 * quarter) < quarter;
    EXPECT(abs(low - DRAWS / 3) < 750);
    int thirds = 0;
    for (int i = 0; i < DRAWS; i++) thirds += rng_below(&r, 3 * quarter) % 3 == 0;
    EXPECT(abs(thirds - DRAWS / 3) < 750);
}

/* rng_unit stays in [0, 1) and has mean 1/2. */
TEST(unit_is_in_range)
{
    rng r;
    rng_init(&r, 99);
    double sum = 0;
    for (int i = 0; i < DRAWS; i++) {
        double x = rng_unit(&r);
        EXPECT(x >= 0 && x < 1);
        sum += x;
    }
    EXPECT(sum / DRAWS > 0.495 && sum / DRAWS < 0.505);
}
