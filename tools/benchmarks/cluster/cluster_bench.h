/*
 * What the two parts of manta_cluster_bench share: the other process, a role of the same program, and the clock.
 */
#ifndef MANTA_CLUSTER_BENCH_H
#define MANTA_CLUSTER_BENCH_H

#include <stdbool.h>
#include <sys/types.h>

enum { ROUNDS_MAX = 15, PARENT = 50, ADDRESS = 128 };

typedef struct other {
    pid_t pid;
    int fd;
    char address[ADDRESS];
} other;

double now_s(void);
other start_other(const char *role, const char *address);
void stop_other(other *o);
int bench_by_value(const void *a, const void *b); /* of doubles, for qsort */

/* objects.c */
void serve_objects(const char *address);
void serve_stream(const char *address);
void run_objects(int rounds, bool json);

#endif
