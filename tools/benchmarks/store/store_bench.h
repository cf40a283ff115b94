/*
 * The benchmarks of the object store: what is measured (a target), and how a case hands on what it measured.
 *
 * A target is the store, one of its peers, or plain memcpy into warm memory, which makes objects of nothing but their bytes. Each has the same operations, so that each case
 * treats all alike. A process opens a target at most once; what it opened must not be used in a child made by fork().
 */
#ifndef MANTA_STORE_BENCH_H
#define MANTA_STORE_BENCH_H

#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "scheduler/base/alloc.h"
#include "scheduler/base/atomics.h"
#include "scheduler/os/os.h"
#include "scheduler/os/os_file.h"

#define KIB ((uint64_t)1 << 10)
#define MIB ((uint64_t)1 << 20)
#define GIB ((uint64_t)1 << 30)
enum { MAX_TARGETS = 4, MANY = 100000, MAX_OBJECTS = 1 << 20, PATH_BYTES = 512 };

typedef struct settings {
    const char *directory; /* on tmpfs; it is there */
    const char *targets;   /* names with commas */
    uint64_t memory;       /* room of each target's objects */
    uint64_t limit_ns;     /* most time of one sample of small operations */
    int rounds, turnovers;
} settings;

typedef struct handle { /* of an object; what the words mean is the target's affair */
    uint64_t a, b;
} handle;

typedef enum outcome { DONE, FULL, FAILED } outcome; /* FULL: no room for it now; FAILED: something is wrong */

typedef struct usage {    /* of the files */
    uint64_t file_bytes;  /* given to them */
    uint64_t index_bytes; /* of the index that were ever in use */
} usage;

typedef struct target {
    const char *name;
    bool (*open)(const settings *s, bool first); /* first: no other process has it open. Touches all memory that objects will be in. */
    void (*close)(void);
    void (*rewind)(
        uint64_t window); /* NULL, or: all objects are gone; begin at the same place again and use so many bytes of it (0: all) */
    outcome (*put)(const void *data, uint64_t size, handle *out);
    outcome (*create)(uint64_t size, handle *out, void **data);
    outcome (*seal)(handle h);
    outcome (*get)(handle *h, const volatile unsigned char **data); /* NULL: cannot be read, nor timed when released */
    void (*unget)(handle *h);                                       /* with the handle as get left it */
    outcome (*release)(handle h);
    outcome (*fill)(const void *data, uint64_t size, handle *out, uint64_t n); /* NULL, or: n puts in the fastest way */
    outcome (*clear)(void);                                                    /* NULL, or: all objects away in the fastest way */
    usage (*use)(void);
} target;

extern const target target_memcpy, target_manta, target_lmdb, target_plasma;

/* ---- common.c ---- */
typedef struct target_list {
    const target *item[MAX_TARGETS];
    int count;
} target_list;

bool complain(const char *format, ...) __attribute__((format(printf, 1, 2))); /* to stderr; false */
target_list targets_named(const char *names);                                 /* unknown names are left out */
bool targets_open(const target_list *list, const settings *s, bool first);
void targets_close(const target_list *list);
uint64_t random_next(uint64_t *state);
uint64_t random_between(uint64_t *state, uint64_t low, uint64_t high);
void *source_new(uint64_t bytes); /* bytes to copy from, warm; os_unmap frees; NULL: complained */
void path_in(const settings *s, const char *name, char out[PATH_BYTES]);
uint64_t file_room(const char *path); /* of a file, or of all files of a directory, as blocks; 0: not there */
bool map_file(const char *path, uint64_t bytes, bool fresh, void **out); /* made and given its room if it is not there; populated */

/* ---- the cases: each prints a line of JSON per sample ---- */
bool case_sizes(const settings *s);
bool case_get(const settings *s);
bool case_churn_a(const settings *s);
bool case_churn_b(const settings *s);
bool case_writers(const settings *s);
bool case_attach(const settings *s);
bool case_restart(const settings *s);

#endif
