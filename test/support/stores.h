/*
 * What several store tests use: a directory of their own on tmpfs (and one on disk for spilling), removed afterwards, and an audit that prints what is wrong.
 */
#ifndef MANTA_TEST_STORES_H
#define MANTA_TEST_STORES_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "objstore/store.h"
#include "scheduler/base/rng.h"

typedef struct store_place {
    char path[64], spill[64];
} store_place;

static inline store_place store_place_new(void)
{
    static int n;
    store_place p;
    snprintf(p.path, sizeof p.path, "/dev/shm/manta-test-%d-%d", (int)getpid(), n);
    snprintf(p.spill, sizeof p.spill, "/tmp/manta-test-%d-%d", (int)getpid(), n++);
    return p;
}

/* The files of a place go, also when a test failed with the store open. */
static inline void store_place_remove(const store_place *p)
{
    char command[256];
    snprintf(command, sizeof command, "rm -rf %s %s", p->path, p->spill);
    if (system(command)) fprintf(stderr, "cannot remove %s\n", p->path);
}

static inline void store_complaint(const char *line, void *context)
{
    (void)context;
    fprintf(stderr, "  audit: %s\n", line);
}

static inline manta_status store_check(store *s, bool check_data) { return store_audit(s, check_data, store_complaint, NULL); }

/* Bytes that the seed tells, so that any reader can check them. */
static inline void store_pattern(unsigned char *to, size_t size, uint64_t seed)
{
    uint64_t x = seed * 0x9e3779b97f4a7c15ull + 1;
    for (size_t i = 0; i < size; i++) {
        if (i % 8 == 0) x = x * 6364136223846793005ull + 1442695040888963407ull;
        to[i] = (unsigned char)(x >> (i % 8 * 8));
    }
}

static inline bool store_pattern_is(const unsigned char *data, size_t size, uint64_t seed)
{
    uint64_t x = seed * 0x9e3779b97f4a7c15ull + 1;
    for (size_t i = 0; i < size; i++) {
        if (i % 8 == 0) x = x * 6364136223846793005ull + 1442695040888963407ull;
        if (data[i] != (unsigned char)(x >> (i % 8 * 8))) return false;
    }
    return true;
}

#endif
