/*
 * What lineage.c (the table), lineage_record.c (records as bytes) and lineage_run.c (running them again) share.
 */
#ifndef MANTA_NODE_LINEAGE_INTERNAL_H
#define MANTA_NODE_LINEAGE_INTERNAL_H

#include <manta/object.h>

#include "actor/node/lineage.h"
#include "actor/node/owner.h"
#include "actor/object/object_ops.h"
#include "actor/transfer/transfer.h"

MANTA_STRUCT(MantaRecord, (uint64_t, method), (uint64_t, owner), (uint64_t, job), (uint32_t, retries), (int32_t, priority),
    (manta_str, need), (manta_str, labels), (int32_t, where), (uint64_t, node), (uint64_t, group), (int32_t, bundle), (bool, is_answer),
    (manta_bytes, outputs), (manta_bytes, arguments)) /* outputs: their roots, two u64 each */

typedef struct lineage_output {
    manta_ref root, local; /* local: the object here; {0}: gone, or never was */
    struct lineage_spec *spec;
    uint64_t *borrowers; /* processes */
    uint32_t n_borrowers, index;
    rebuild *wanted;
} lineage_output;

typedef struct lineage_spec {
    struct lineage_spec *older, *newer;
    const manta_method *method;
    unsigned char
        *record; /* of another process's: all of it; else the packed arguments alone, the rest is below. NULL: `reason` says why */
    size_t record_bytes, cost;
    const demand *demand; /* NULL: another process's */
    uint32_t retries;
    manta_priority priority;
    manta_lost_reason reason;
    uint32_t references; /* a run, and specs whose tasks take an output of this one */
    uint32_t runs_left;
    bool is_running, is_answer, is_unneeded; /* is_unneeded: at the last look */
    bool is_foreign;                         /* another process owns it, and it came along with a ref */
    bool is_adopted;                         /* another process owned it */
    bool is_shipped;                         /* the control store has it */
    bool is_unshippable;
    uint64_t owner, job, made_ns;
    manta_ref *held;    /* arguments that nobody knows how to make: a count each */
    manta_ref *parents; /* roots of the others, a reference each */
    uint32_t n_held, n_parents, n_outputs;
    lineage_output outputs[];
} lineage_spec;

/* ---- lineage_record.c ---- */
typedef struct gathered_refs {
    manta_ref *items; /* base_free */
    uint32_t count;
    bool failed; /* no memory */
} gathered_refs;
gathered_refs refs_gather(const manta_layout *layout, const void *value); /* as refs of this process */
/* base_free; NULL: no memory, or something cannot be packed. */
unsigned char *arguments_pack(const lineage_made *made, size_t *out_bytes);
/* The record as it travels, of one that has its bytes; base_free; NULL: no memory. Under the lock. Most records go before anybody asks for this. */
unsigned char *record_pack(const lineage_spec *s, size_t *out_bytes);
bool record_read(const void *bytes, size_t size, MantaRecord *out); /* views */

/* ---- lineage.c ---- */
lineage_spec *lineage_run_begins(manta_ref root);
/* The next that waits for an output of a run that has begun; NULL: none, and the run is over. */
rebuild *lineage_run_next(lineage_spec *s, uint32_t *out_index);
/* A copy of the record, base_free, when it may run once more; NULL: *out_reason. */
void *lineage_run_record(lineage_spec *s, uint64_t since_ns, size_t *out_bytes, manta_lost_reason *out_reason);

typedef struct lineage_batch {
    lineage_spec *specs[256];
    uint32_t count;
    uint64_t job;
    manta_writer records; /* array items */
    uint32_t n_records;
} lineage_batch;
/* Records of one job that are to be shipped, a reference each; `records` is made. False: there are none. */
bool lineage_batch_take(lineage_batch *b);
void lineage_batch_end(lineage_batch *b, bool is_shipped);      /* gives them back */
uint32_t lineage_drops_take(manta_ref *out, uint32_t capacity); /* roots of shipped records that have gone */
/* Adds what another process packed. */
manta_status lineage_take_in(worker *w, const void *record, size_t bytes, bool is_foreign);
bool lineage_record_owner(manta_ref root, uint64_t *out); /* of a record that is here, whoever owns it; false: there is none */
bool lineage_was_evicted(manta_ref root);                 /* not long ago, for the budget */
void lineage_carry(manta_ref root, struct peer *target);  /* what is known here, and may be known nowhere else */
/* Those that wait while their record is searched. */
rebuild *lineage_searching_take(manta_ref root);
void lineage_attach(worker *w, rebuild *r, bool may_search);

/* ---- lineage_store.c ---- */
bool lineage_search_start(manta_ref root, uint64_t owner, bool owner_refused);
void lineage_ship(void); /* there is something to ship, or to drop */
/* The record of a root in the control store; waits. base_free. NULL: *out_reason says why not. */
void *lineage_fetch(manta_ref root, size_t *out_bytes, manta_lost_reason *out_reason);
void lineage_store_stop(void);

/* ---- lineage_run.c ---- */
bool lineage_run_start(manta_ref root); /* false: error_set says why not */
manta_error *lost_error(const rebuild *r, manta_lost_reason reason, const char *detail);

#endif
