/*
 * The record of a stream, for the files that implement it: stream.c, and stream_remote.c for generators that run in another process.
 */
#ifndef MANTA_RUNTIME_STREAM_H
#define MANTA_RUNTIME_STREAM_H

#include "actor/node/owner.h"
#include "actor/runtime/internal.h"

typedef struct item {
    struct item *next;
    block *value;
} item;

typedef struct stream {
    pthread_mutex_t lock;
    int references;
    uint32_t slot, generation, limit, queued;
    const manta_method *method;
    item *head, *tail;
    future *reader, *writer; /* events of a side that waits */
    item *offered;           /* the generator's, until there is room */
    future *task;            /* the generator's run, to cancel it */
    bool ended, dropped;
    manta_error *error;
    /* The generator runs in another process: here is the reader's end (is_remote), or there the generator's (peer), whose values leave at once. */
    bool is_remote;
    uint32_t taken; /* by the reader, not told yet */
    wait_node node; /* in `task`, of is_remote: its answer is the generator's end */
    struct peer *peer;
    uint64_t call;
} stream;

/* stream.c */
item *stream_item(const manta_method *method, const void *value, size_t size_bytes, size_t extra_bytes);
void stream_items_free(const manta_method *method, item *i);
void stream_append(worker *w, stream *s, item *i); /* under the lock */
void stream_wake(worker *w, future **event);
void stream_unlock_and_drop(stream *s);

/* stream_remote.c */
bool stream_submit(worker *w, stream *s, message *m, const manta_options *o, demand *d);
void stream_give_credit(stream *s);           /* under the lock: the reader has taken some */
manta_status stream_send(stream *s, item *i); /* takes i, which is in no queue; waits for room on the link */

#endif
