#include "scheduler/base/rng.h"

static inline uint64_t rotate_left(uint64_t x, int bits) { return x << bits | x >> (64 - bits); }

uint64_t rng_mix(uint64_t x)
{
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

/* Consecutive words of splitmix64 are distinct, hence never all zero, which xoshiro could not leave. */
void rng_init(rng *r, uint64_t seed)
{
    for (int i = 0; i < 4; i++) r->state[i] = rng_mix(seed += 0x9e3779b97f4a7c15u);
}

uint64_t rng_next(rng *r)
{
    uint64_t *s = r->state, result = rotate_left(s[1] * 5, 7) * 9, shifted = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= shifted;
    s[3] = rotate_left(s[3], 45);
    return result;
}

/* Lemire, "Fast random integer generation in an interval" (2019): the high word of a product; the few products that would favour
 * some results are drawn again. */
uint64_t rng_below(rng *r, uint64_t bound)
{
    unsigned __int128 product = (unsigned __int128)rng_next(r) * bound;
    if ((uint64_t)product < bound) {
        uint64_t biased = -bound % bound; /* 2^64 mod bound */
        while ((uint64_t)product < biased) product = (unsigned __int128)rng_next(r) * bound;
    }
    return (uint64_t)(product >> 64);
}

double rng_unit(rng *r) { return (double)(rng_next(r) >> 11) * 0x1p-53; }
