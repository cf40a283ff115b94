/*
 * Lineage: how objects were made, so that lost ones can be made again.
 *
 * The process that submitted a task *owns* its outputs: the objects that its result names, and the one that stands for its answer (manta_future_to_ref). For each such task it keeps a *record*: the task, its packed
 * arguments with the names of the objects among them, what it needs, the outputs; no bytes of objects. When a replica here, or one of a process that borrows the object, has no source left, the record is run again.
 *
 * Threads: all functions may be called from any thread and do not wait. docs/decisions/0019 says why it is so.
 */
#ifndef MANTA_NODE_LINEAGE_H
#define MANTA_NODE_LINEAGE_H

#include "actor/node/node.h"

typedef struct rebuild { /* an object that is needed and has no source left */
    struct rebuild *next;
    manta_ref root, local; /* local: a promise here; one count */
    uint64_t lost_with;    /* the process that had it last; 0: not known */
    uint64_t owner;        /* 0: not known; then an answer too */
    bool owner_refused;    /* the owner has been asked, and knows nothing of it */
    uint64_t redirect;     /* answer: that process makes it */
    uint64_t since_ns;
} rebuild;

bool lineage_is_on(void);              /* this process belongs to a job */
bool lineage_is_known(manta_ref root); /* this process owns it, or has adopted it */
/* That root is about to be named to this process (NULL: to anybody, later). True: this process owns it. */
bool lineage_travels(manta_ref root, struct peer *target);
const char *lineage_borrowed(uint64_t process, const void *root, size_t bytes, bool begins); /* what is wrong with it, or NULL */
void lineage_peer_down(uint64_t process);
void lineage_orphaned(uint64_t owner); /* it is gone, and this process has refs that it owned */
bool lineage_may_make(manta_ref root); /* or, as this process stands for an owner that is gone, may find out how */
const char *lineage_carried(worker *w, const void *record, size_t bytes); /* what is wrong with it, or NULL */
uint32_t lineage_actors(void);                                            /* of this module's own */

/* A task of a job has been answered: `result` is its result, or NULL for one whose answer will be the object `answer`. Its arguments are held by the caller meanwhile. */
typedef struct lineage_made {
    const manta_method *method;
    const void *arguments, *result;
    manta_ref answer;
    struct demand *demand;
    uint32_t retries;
    manta_priority priority;
} lineage_made;
void lineage_add(worker *w, const lineage_made *made);

/* Takes it: its object is completed, or not, and then transfer_rebuilt is called, in any case. */
void lineage_rebuild(worker *w, rebuild *r);
void transfer_rebuilt(rebuild *r, manta_error *error); /* actor/transfer; error NULL: `local` is complete */

typedef struct lineage_counts {
    uint64_t records, bytes, stored, rebuilt, longest_wait_ns; /* from the need of a lost object to its task's start */
} lineage_counts;
void lineage_count(lineage_counts *out);
void lineage_start(uint64_t limit_bytes, uint32_t ship_after_ms); /* 0: the default */
void lineage_stop(worker *w);

#endif
