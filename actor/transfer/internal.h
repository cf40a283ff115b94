/*
 * The parts of actor/transfer and what they offer each other.
 *
 *   refs.c     names on the wire, arrivals                 imports.c  replicas here (any thread, under its lock)
 *   exports.c  holds for other processes, who has copies   thread.c   the two threads and their queue
 *   serve.c    answers and chunks for others               pull.c     replicas get their bytes           (both: transfer thread only)
 *   rebuild.c  replicas whose sources are gone
 */
#ifndef MANTA_TRANSFER_INTERNAL_H
#define MANTA_TRANSFER_INTERNAL_H

#include <string.h>

#include "actor/transfer/transfer.h"
#include "actor/transfer/wire_object.h"

static inline bool ref_is(manta_ref a, manta_ref b) { return a.id[0] == b.id[0] && a.id[1] == b.id[1]; }
static inline uint64_t ref_key(manta_ref r) /* for an id_table; two refs do not meet in practice, and who looks compares */
{
    uint64_t x = (r.id[0] ^ r.id[1] * 0x9e3779b97f4a7c15u) * 0xbf58476d1ce4e5b9u;
    x ^= x >> 29;
    return x ? x : 1;
}

/* ---- thread.c ---- */

typedef enum job_kind { JOB_MESSAGE, JOB_NEED, JOB_LOCATE_READY, JOB_FEED_DONE, JOB_BLOCKED_DONE, JOB_SHARED_READY, JOB_REBUILT } job_kind;
typedef struct job {
    struct job *next;
    job_kind kind;
    peer *peer;
    uint64_t number;
    wire_head head;
    const void *data;
    size_t bytes;
    link_frame *frame;               /* that data lies in; NULL: behind the job */
    void *owner;                     /* from JOB_LOCATE_READY on: what this job is part of; else the job is freed */
} job;                               /* followed by its bytes; no flexible array, which clang does not take inside another struct */
void job_post(job *j);               /* to the transfer thread */
void job_post_need(uint64_t number); /* no memory: the next sweep sees to it */

void keep_warm(void);    /* before chunks come or go */
void sweep_wanted(void); /* there is something to be swept now and then */

typedef struct blocked { /* work that may wait: on the second thread; then `done` on the transfer thread */
    job job;
    struct blocked *next;
    void (*run)(struct blocked *self);
    void (*done)(worker *w, struct blocked *self); /* frees it */
} blocked;
void blocked_start(blocked *b);

/* ---- refs.c ---- */
/* What waits until all of some refs are held where they come from: TAKEN for a message, or the RELEASE of an object that named them. */
typedef struct flight {
    _Atomic uint32_t pending;
    peer *to;
    uint64_t borrow, release;
} flight;
flight *flight_new(peer *to, uint64_t borrow, uint64_t release); /* pending: 1 */
void flight_landed(flight *f);                                   /* one less; the last one sends and frees */
uint64_t known_size(manta_ref ref);                              /* of a complete object in memory; else SIZE_UNKNOWN */
/* A name for `target`; also tells it how to reach the process that is named. */
object_name name_for(peer *target, manta_ref ref);

/* ---- imports.c ---- */
/* status of WIRE_HOLD */
typedef enum hold_flags { HOLD_QUIET = 0, HOLD_ANSWER = 1, HOLD_COMPLETE = 2 /* only if all of it is there */ } hold_flags;
typedef enum import_state {
    IMPORT_IDLE,   /* named, not needed; holds one count of its replica */
    IMPORT_NEEDED, /* being pulled; likewise */
    IMPORT_HERE    /* complete; no count */
} import_state;
typedef struct flight_link {
    struct flight_link *next;
    flight *flight;
} flight_link;
typedef struct import {
    uint64_t number;
    object_name name;
    manta_ref local;
    uint64_t via; /* who told us, when that is another; asked when the named process does not know the object (any more) */
    _Atomic import_state state;
    _Atomic need why;
    bool is_held, is_record, asked_owner, owner_refused, rebuilds, is_redirected; /* is_record: named by a record of lineage */
    uint64_t *others;                                                             /* processes that may have a copy; base_free */
    uint32_t n_others;
    uint32_t downs; /* of the named process when it was asked to hold the object */
    flight_link *flights;
    struct pull *pull;  /* the transfer thread's */
    uint64_t lost_with; /* the process that had it last */
} import;

/* A replica (or the object itself, when it is one of this table) for a name; one count for the caller. On failure error_set has the reason. `flight`: made when the hold is not sure yet. */
manta_status import_take(worker *w, const object_name *name, peer *from, flight **flight, manta_ref *out);
bool import_name(manta_ref local, object_name *out, import_state *out_state); /* false: no replica */
manta_ref import_find_root(manta_ref root);                                   /* {0}: none */
/* The rest is the transfer thread's. A record is valid until import_end or import_sweep. */
import *import_get(uint64_t number);
import *import_of_root(manta_ref root);
void imports_enter(void); /* the lock */
void imports_leave(void);
/* Under the lock. False: the named process, or who told us, cannot be asked. */
bool import_ask(import *i, manta_ref id, hold_flags flags);
bool import_ask_via(import *i);
void import_tell(const import *i, uint8_t kind); /* the named process */
flight_link *import_flights(import *i);
void flights_land(flight_link *l);                                     /* not under it */
manta_status import_revive(worker *w, manta_ref root, manta_ref *out); /* one count; MANTA_ESTALE: nobody knows how it was made */
bool import_held(worker *w, import *i, manta_status status);           /* the answer to its hold; false: nobody knows the object any more */
void import_complete(worker *w, import *i, flight *release);           /* its bytes are here */
void import_end(worker *w, import *i, manta_error *error);             /* comes to nothing: completes the replica with the error */
void imports_peer_down(worker *w, peer *p);
bool imports_sweep(worker *w); /* replicas that nobody has any more; false: there are none at all */
void imports_stop(worker *w);

/* ---- exports.c ---- */
const char *export_hold(worker *w, peer *p, const wire_head *h, const void *data, size_t bytes);
void export_release(worker *w, peer *p, uint64_t number, bool has_copy);
void export_gone(peer *p, uint64_t number);
bool export_ref(peer *p, uint64_t number, manta_ref *out); /* false: no such hold */
bool export_wait(peer *p, uint64_t number, bool begins);   /* false: it waits already */
/* Where that process shall get the object from. */
uint32_t export_sources(peer *p, uint64_t number, const locate_payload *what, object_source out[SOURCES_LIMIT]);
void exports_peer_down(worker *w, peer *p);
bool exports_sweep(void);
void exports_stop(worker *w);

/* ---- serve.c ---- */
const char *serve_locate(worker *w, peer *p, uint64_t number, const void *data, size_t bytes);
void serve_locate_ready(worker *w, void *question_);
const char *serve_fetch(worker *w, peer *p, const wire_head *h, const void *data, size_t bytes);
void serve_feed_done(worker *w, void *feed);
void serve_more(worker *w); /* feeds that waited for room, or for chunks */
void serve_peer_down(worker *w, peer *p);
void serve_stop(worker *w);

/* ---- rebuild.c ---- */
void import_drift(import *i); /* under the lock: nobody is named any more */
bool import_recover(
    worker *w, import *i); /* its source is gone: others are asked, or it is made again when it is needed; false: it is lost */
bool import_rebuild(worker *w, import *i); /* one that drifts and is needed; false: it does not */
void rebuild_is_done(worker *w, void *done);

/* ---- pull.c ---- */
void pull_need(worker *w, import *i);
void pull_answer(worker *w, peer *p, const wire_head *h, const void *data, size_t bytes, const char **wrong);
const char *pull_chunk(worker *w, peer *p, const wire_head *h, const void *data, size_t bytes);
void pull_shared_ready(worker *w, void *sharing); /* what another process of this table was fetching has come, or comes to nothing */
void pull_refused(worker *w, peer *p, const wire_head *h);
void pull_drop(worker *w, import *i); /* the import ends: gives everything of its pull back */
void pulls_peer_down(worker *w, peer *p);
void pull_limit(uint64_t bytes); /* that are pulled at a time; 0: the default */
/* The bytes of a replica that is being pulled: NULL: not there. */
const unsigned char *pull_chunk_at(const import *i, uint64_t index, uint64_t *out_size);
bool pull_is_running(const import *i);

#endif
