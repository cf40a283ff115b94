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
    unsigned char *record; /* NULL: `reason` says why */
    size_t record_bytes, cost;
    manta_lost_reason reason;
    uint32_t references; /* a run, and specs whose tasks take an output of this one */
    uint32_t runs_left;
    bool is_running, is_answer, is_unneeded; /* is_unneeded: at the last look */
    manta_ref *held;                         /* arguments that nobody knows how to make: a count each */
    manta_ref *parents;                      /* roots of the others, a reference each */
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
unsigned char *record_pack(const lineage_made *made, const gathered_refs *outputs, size_t *out_bytes);
bool record_read(const void *bytes, size_t size, MantaRecord *out); /* views */

/* ---- lineage.c ---- */
lineage_spec *lineage_run_begins(manta_ref root);
/* The next that waits for an output of a run that has begun; NULL: none, and the run is over. */
rebuild *lineage_run_next(lineage_spec *s, uint32_t *out_index);
/* A copy of the record, base_free, when it may run once more; NULL: *out_reason. */
void *lineage_run_record(lineage_spec *s, uint64_t since_ns, size_t *out_bytes, manta_lost_reason *out_reason);

/* ---- lineage_run.c ---- */
bool lineage_run_start(manta_ref root); /* false: error_set says why not */
manta_error *lost_error(const rebuild *r, manta_lost_reason reason, const char *detail);

#endif
