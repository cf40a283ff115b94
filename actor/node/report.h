/*
 * What a process tells about itself: rows of named fields, as MessagePack, filtered where they arise.
 *
 * A report is [pid, host, matched, shown, [row, ...]]; a row is a map from a field's name to a string or a number. `matched` counts all rows that the filter lets through, `shown` those that are
 * in it: never more than the limit, so that a reader can say how many are missing.
 */
#ifndef MANTA_REPORT_H
#define MANTA_REPORT_H

#include <manta/manta.h>

#include "actor/runtime/internal.h"

enum { REPORT_FIELDS = 32, REPORT_FILTERS = 8, REPORT_TEXT = 8192, REPORT_BYTES = 16 << 20 };

typedef struct report_field {
    const char *key, *text; /* text NULL: a number */
    uint64_t number;
} report_field;
typedef struct report_filter {
    char key[32], value[160];
    enum { FILTER_EQUAL, FILTER_NOT_EQUAL, FILTER_HAS } kind;
} report_filter;
typedef struct report {
    manta_writer rows;
    report_filter filters[REPORT_FILTERS];
    report_field fields[REPORT_FIELDS];
    uint32_t n_filters, n_fields, limit, shown;
    uint64_t matched;
    size_t text_used;
    bool is_bad; /* a filter names a field that rows do not have: error_set has said so */
    char text[REPORT_TEXT];
} report;

/* `match`: conditions that all must hold, a line each: FIELD=VALUE, FIELD!=VALUE, FIELD~PART. NULL: error_set says why not. */
report *report_new(manta_str match, uint32_t limit);
void report_text(
    report *r, const char *key, const char *value); /* adds a field to the row; copied, cut when a row's texts pass REPORT_TEXT */
void report_key(report *r, const char *key, const char *value); /* the same, with a key that is copied too */
void report_number(report *r, const char *key, uint64_t value);
void report_row_end(report *r);
/* The report's bytes, of the handler's scope, and its end. On failure error_set has the reason, and the bytes are none. */
manta_bytes report_finish(report *r);

/* What this process can report: actors, tasks, stack, summary, methods, objects, processes, memory. The handler fails for another kind. */
manta_bytes report_of_process(manta_str kind, manta_str match, uint32_t limit);
/* "PROCESS:ID" in hex, which names an actor of this process in reports, and back: {0} for one of another process or none. */
void report_actor_text(uint64_t id, char out[40]);
manta_actor report_actor_of(manta_str text);
/* The events that this process has recorded, as Chrome trace JSON, of the scope. Begin: first all are recorded; end: first the level is what it was before the last begin without an end. */
typedef enum report_recording { REPORT_AS_IT_IS, REPORT_BEGIN, REPORT_END } report_recording;
manta_bytes report_trace(report_recording what);

#endif
