/*
 * The log in memory: entries first..last, one after the other in one array, so that a range of them is a pointer. Not thread-safe; pointers into it are valid until it changes.
 *
 * raft_log_reserve is the only function that can fail; appending beyond what was reserved is a programmer's error.
 */
#ifndef MANTA_GCS_RAFT_LOG_H
#define MANTA_GCS_RAFT_LOG_H

#include "gcs/raft/raft_types.h"

typedef struct raft_log_note { /* beside each entry */
    uint64_t end_bytes;        /* sum of the sizes up to and with this entry, since the log was made */
    uint64_t configuration;    /* index of the last configuration entry at or before this one; 0: none in the log when it was appended */
} raft_log_note;

typedef struct raft_log {
    raft_entry *entries;
    raft_log_note *notes;
    uint64_t capacity, start, count; /* entries[start .. start + count) */
    uint64_t first;                  /* index of entries[start] */
    uint64_t base_term;              /* of the entry before first */
    uint64_t base_bytes;             /* end_bytes of that entry */
    uint64_t base_configuration;     /* and its configuration */
} raft_log;

void raft_log_init(raft_log *l); /* empty, first is 1 */
void raft_log_fini(raft_log *l);

bool raft_log_reserve(raft_log *l, uint64_t n);                  /* room for n more; false: out of memory, nothing changed */
void raft_log_append(raft_log *l, const raft_entry *e);          /* retains the buffer */
void raft_log_truncate(raft_log *l, uint64_t from);              /* drops from..last */
void raft_log_trim(raft_log *l, uint64_t first);                 /* drops first..first-1; first <= last + 1 */
void raft_log_reset(raft_log *l, uint64_t index, uint64_t term); /* empty, as if the entry (index, term) had been the last */

static inline uint64_t raft_log_last(const raft_log *l) { return l->first + l->count - 1; }
static inline bool raft_log_knows_term(const raft_log *l, uint64_t index) { return index + 1 >= l->first && index <= raft_log_last(l); }

const raft_entry *raft_log_at(const raft_log *l, uint64_t index); /* NULL: not there */
uint64_t raft_log_term(const raft_log *l, uint64_t index);        /* of an index whose term is known: first - 1 .. last */
uint64_t raft_log_last_term(const raft_log *l);
uint64_t raft_log_configuration(const raft_log *l, uint64_t index);     /* same range */
uint64_t raft_log_bytes(const raft_log *l, uint64_t from, uint64_t to); /* of entries from+1..to; both in that range; 0 when to <= from */

/* The greatest index in first - 1 .. index whose term is at most `term`; first - 1 when there is none. index <= last. Terms never fall along a log. */
uint64_t raft_log_find(const raft_log *l, uint64_t index, uint64_t term);

#endif
