/*
 * The consolidation controller: finds out whether one worker alone is faster than all of them.
 *
 * Many-to-many traffic of small messages is: on two cores half of the messages cross over, and each crossing costs several messages'
 * worth. The controller is pure: it is given counts and a time, and answers with how many workers should be active. Owned by the monitor
 * thread.
 */
#ifndef MANTA_POOL_CONSOLIDATE_H
#define MANTA_POOL_CONSOLIDATE_H

#include <stdbool.h>
#include <stdint.h>

typedef enum consolidate_state {
    CONSOLIDATE_ALL,     /* all workers, watching the share of remote sends */
    CONSOLIDATE_TRY_ONE, /* one worker, measuring */
    CONSOLIDATE_ONE,     /* one worker: it was faster */
    CONSOLIDATE_TRY_ALL  /* all workers, measuring whether that has changed */
} consolidate_state;

/* Counters at a moment, since the start. */
typedef struct consolidate_sample {
    uint64_t now_ns, messages, sends, remote_sends;
    bool waiting; /* work is queued that nobody takes */
} consolidate_sample;

typedef struct consolidator {
    consolidate_state state;
    int workers;
    int suspicious;                /* ticks in a row with many cheap remote messages */
    consolidate_sample last;       /* the previous tick */
    consolidate_sample trial;      /* where the measurement of a trial began; now_ns 0: still settling */
    double rate;                   /* messages per ns of the configuration that a trial is against */
    uint64_t retry_ns, backoff_ns; /* no trial before; time to wait after the next one that changes nothing */
} consolidator;

void consolidate_begin(consolidator *c, int workers);
/* One look, about each 10 ms. Returns how many workers should be active. */
int consolidate_step(consolidator *c, const consolidate_sample *now);

/* The same, for the pool: reads its counters, sets its active_limit. */
void consolidate_init(consolidator *c);
void consolidate_tick(consolidator *c, uint64_t now_ns, bool waiting);
void consolidate_reset(consolidator *c); /* all workers again */

#endif
