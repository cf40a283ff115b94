/*
 * The benchmark of the control store's log: real processes over ipc sockets, LMDB on the disk of TMPDIR (or /var/tmp), and beside it what the disk and the sockets can do at best.
 *
 * The parent forks the servers and tells them by shared memory what to do; the load is made in the process of the leader, as many commands outstanding as asked for, and
 * submitted once for all that were answered in a turn of its loop.
 */
#ifndef MANTA_GCS_BENCH_H
#define MANTA_GCS_BENCH_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum { VOTERS_MAX = 5, SAMPLES = 1 << 20 };

typedef struct bench_shared {
    _Atomic uint32_t outstanding, size; /* the load; outstanding 0: none */
    _Atomic uint32_t leader;            /* the server that leads and is ready, as it says itself */
    _Atomic uint64_t answered;          /* commands, by all leaders */
    _Atomic uint64_t answered_by[VOTERS_MAX + 1], first_answer_ns[VOTERS_MAX + 1]; /* first: since it leads */
    _Atomic uint64_t group_commits[VOTERS_MAX + 1];
    _Atomic uint64_t sample_count;
    uint32_t samples[SAMPLES]; /* latencies in units of 100 ns, a ring */
} bench_shared;

typedef struct bench_server {
    bench_shared *shared;
    const char *directory;
    uint32_t id, voters;
    bool no_sync;
} bench_server;

_Noreturn void bench_serve(const bench_server *b); /* until it is killed */

/* Physical limits, for so many seconds. */
double bench_disk_commits(const char *directory, double seconds);  /* LMDB transactions with fsync of one small record, per second */
double bench_round_trip_us(const char *directory, double seconds); /* of 64 bytes between two processes over ipc: median */
double bench_now(void);                                            /* s */
_Noreturn void bench_die(const char *what);

#endif
