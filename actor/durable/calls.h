/*
 * The calls of a durable actor that its keeper knows: those that wait for the log, those that run, and those that have been answered, until their caller has the answer.
 *
 * Leaf structure: no locks, no messages. A call is known by its caller and the caller's number. An answered caller's record stays, as a number, until CALLERS_LIMIT others have come.
 */
#ifndef MANTA_DURABLE_CALLS_H
#define MANTA_DURABLE_CALLS_H

#include <manta/msgpack.h>

#include "scheduler/base/id_table.h"

enum { CALLERS_LIMIT = 4096, ANSWERS_LIMIT = 4096 /* of one caller that it has not said that it has */ };

typedef enum durable_state { CALL_WAITS, CALL_RUNS, CALL_DONE } durable_state;

typedef struct durable_call {
    struct durable_call *next;       /* of its caller, the greatest number first */
    struct durable_call *batch_next; /* those that wait */
    uint64_t caller, number, method;
    uint64_t position; /* in the order of the log, from 1; 0: it waits */
    durable_state state;
    int32_t status;
    manta_bytes bytes; /* the arguments, and then the answer; owned */
    void **waiters;    /* who asked; the owner's business */
    uint32_t n_waiters, room_waiters;
} durable_call;

typedef struct durable_caller {
    struct durable_caller *newer, *older; /* by last use */
    uint64_t id, done;                    /* done: it has the answers up to this number */
    durable_call *calls;
    uint32_t n_calls;
} durable_caller;

typedef struct durable_calls { /* all zero: empty */
    id_table callers;
    durable_caller *newest, *oldest;
    uint64_t forgotten; /* callers that had to go */
} durable_calls;

durable_caller *calls_caller(
    durable_calls *c, uint64_t id); /* made when unknown; NULL: no memory, or all have calls that are not answered */
durable_call *calls_find(const durable_caller *r, uint64_t number);
durable_call *calls_add(durable_caller *r, uint64_t number); /* NULL: no memory */
void calls_remove(durable_caller *r, durable_call *x);
bool calls_has(const durable_calls *c, uint64_t caller);
void calls_done(durable_caller *r, uint64_t number);             /* it has the answers up to this */
bool call_keep(durable_call *x, const void *bytes, size_t size); /* in the place of its bytes; false: no memory */
void calls_fini(durable_calls *c);

/* The answers of calls up to this position, and all callers: [[caller, done, [number, position, status, answer, ...]], ...] */
void calls_pack(manta_writer *w, const durable_calls *c, uint64_t position);
bool calls_unpack(manta_reader *r, durable_calls *c); /* false: malformed (r->status), or no memory */

#endif
