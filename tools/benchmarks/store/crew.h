/*
 * Child processes of a case, with memory that they share with it: made by fork() before anybody opens a target. Every wait ends after a minute.
 */
#ifndef MANTA_STORE_BENCH_CREW_H
#define MANTA_STORE_BENCH_CREW_H

#include <semaphore.h>
#include <sys/types.h>

#include "tools/benchmarks/store/store_bench.h"

enum { CREW = 2 };

typedef struct crew { /* shared */
    sem_t ready[CREW], go[CREW];
    _Atomic uint32_t running; /* for those who start together */
    bool quit;
    int writers, target; /* what to do next */
    uint64_t size, bytes[CREW], ns[CREW];
    uint64_t words[4];
} crew;

typedef bool crew_task(crew *c, const settings *s, int me);

crew *crew_new(void); /* NULL: complained */
void crew_free(crew *c);
pid_t crew_start(crew *c, const settings *s, int me, crew_task *task); /* exits with 0 when the task is fine */
bool crew_wait(sem_t *semaphore, const char *what); /* false: nobody posted for a minute, or a child of this process ended */
bool crew_end(pid_t child);                         /* waits; true: it exited with 0 */
void crew_kill(pid_t child);                        /* as a crash would, and waits */

#endif
