/*
 * A small, fast, seedable random number generator (xoshiro256**, seeded by splitmix64; Blackman and Vigna 2018).
 *
 * Not for secrets. A generator belongs to one thread. The same seed gives the same sequence on every machine.
 */
#ifndef MANTA_BASE_RNG_H
#define MANTA_BASE_RNG_H

#include <stdint.h>

typedef struct rng {
    uint64_t state[4];
} rng;

void rng_init(rng *r, uint64_t seed);
uint64_t rng_next(rng *r);
uint64_t rng_below(rng *r, uint64_t bound); /* uniform in [0, bound), without modulo bias; bound > 0 */
double rng_unit(rng *r);                    /* uniform in [0, 1) */
uint64_t rng_mix(uint64_t x);               /* splitmix64's finaliser: a hash of one word */

#endif
