/*
 * The local benchmarks: each is a function that does n units of work and says how many units it did.
 *
 * The clock runs around the function only. Definitions are in README.md beside this file; the peers' programs follow them to the letter.
 */
#ifndef MANTA_BENCH_H
#define MANTA_BENCH_H

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <manta/manta.h>

typedef struct bench {
    const char *name, *unit;
    uint64_t (*run)(uint64_t n); /* units done */
    struct bench *next;
} bench;

void bench_register(bench *b);

#define BENCH(name_, unit_, n_) \
    static uint64_t bench_##name_(uint64_t n_); \
    static bench bench_of_##name_ = {#name_, unit_, bench_##name_, NULL}; \
    __attribute__((constructor)) static void register_##name_(void) { bench_register(&bench_of_##name_); } \
    static uint64_t bench_##name_(uint64_t n_)

#endif
