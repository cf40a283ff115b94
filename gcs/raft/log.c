/*
 * Invariants: 1. entries are contiguous: index i is entries[start + i - first]. 2. terms never fall along the log. 3. notes are right for every entry, so that a truncation
 * finds the configuration that rules then without a search. The front is dropped by moving `start`; the array is closed up when it must grow or is half empty.
 */
#include "gcs/raft/log.h"

#include <string.h>

#include "scheduler/base/alloc.h"
#include "scheduler/base/check.h"

enum { CAPACITY_MIN = 64 };

void raft_log_init(raft_log *l) { *l = (raft_log){.first = 1}; }

static void release_range(raft_log *l, uint64_t from, uint64_t to)
{
    for (uint64_t i = from; i < to; i++) raft_buffer_release(l->entries[l->start + i].buffer);
}

void raft_log_fini(raft_log *l)
{
    release_range(l, 0, l->count);
    base_free(l->entries);
    base_free(l->notes);
    raft_log_init(l);
}

static void close_up(raft_log *l)
{
    if (!l->start) return;
    memmove(l->entries, l->entries + l->start, (size_t)l->count * sizeof *l->entries);
    memmove(l->notes, l->notes + l->start, (size_t)l->count * sizeof *l->notes);
    l->start = 0;
}

static bool grow(raft_log *l, uint64_t capacity)
{
    raft_entry *entries = base_realloc(l->entries, (size_t)capacity * sizeof *entries);
    if (!entries) return false;
    l->entries = entries;
    raft_log_note *notes = base_realloc(l->notes, (size_t)capacity * sizeof *notes);
    if (!notes) return false;
    l->notes = notes;
    l->capacity = capacity;
    return true;
}

bool raft_log_reserve(raft_log *l, uint64_t n)
{
    if (l->capacity - l->start - l->count >= n) return true;
    if (l->start >= l->capacity / 2) close_up(l);
    if (l->capacity - l->start - l->count >= n) return true;
    uint64_t capacity = l->capacity ? l->capacity : CAPACITY_MIN;
    while (capacity - l->start - l->count < n) capacity *= 2;
    return grow(l, capacity);
}

static raft_log_note note_before(const raft_log *l)
{
    return l->count ? l->notes[l->start + l->count - 1] : (raft_log_note){l->base_bytes, l->base_configuration};
}

void raft_log_append(raft_log *l, const raft_entry *e)
{
    check(l->start + l->count < l->capacity && e->term >= raft_log_last_term(l));
    raft_log_note note = note_before(l);
    note.end_bytes += e->size;
    if (e->kind == RAFT_ENTRY_CONFIGURATION) note.configuration = raft_log_last(l) + 1;
    l->entries[l->start + l->count] = *e;
    l->notes[l->start + l->count] = note;
    l->count++;
    raft_buffer_retain(e->buffer);
}

void raft_log_truncate(raft_log *l, uint64_t from)
{
    check(from >= l->first);
    if (from > raft_log_last(l)) return;
    release_range(l, from - l->first, l->count);
    l->count = from - l->first;
}

void raft_log_trim(raft_log *l, uint64_t first)
{
    if (first <= l->first) return;
    check(first <= raft_log_last(l) + 1);
    uint64_t n = first - l->first;
    l->base_term = raft_log_term(l, first - 1);
    l->base_bytes = l->notes[l->start + n - 1].end_bytes;
    l->base_configuration = l->notes[l->start + n - 1].configuration;
    release_range(l, 0, n);
    l->start += n;
    l->count -= n;
    l->first = first;
}

void raft_log_reset(raft_log *l, uint64_t index, uint64_t term)
{
    release_range(l, 0, l->count);
    l->start = l->count = l->base_bytes = l->base_configuration = 0;
    l->first = index + 1;
    l->base_term = term;
}

const raft_entry *raft_log_at(const raft_log *l, uint64_t index)
{
    return index >= l->first && index <= raft_log_last(l) ? &l->entries[l->start + index - l->first] : NULL;
}

uint64_t raft_log_term(const raft_log *l, uint64_t index)
{
    check(raft_log_knows_term(l, index));
    return index < l->first ? l->base_term : l->entries[l->start + index - l->first].term;
}

uint64_t raft_log_last_term(const raft_log *l) { return l->count ? l->entries[l->start + l->count - 1].term : l->base_term; }

uint64_t raft_log_configuration(const raft_log *l, uint64_t index)
{
    check(raft_log_knows_term(l, index));
    return index < l->first ? l->base_configuration : l->notes[l->start + index - l->first].configuration;
}

static uint64_t end_bytes(const raft_log *l, uint64_t index)
{
    check(raft_log_knows_term(l, index));
    return index < l->first ? l->base_bytes : l->notes[l->start + index - l->first].end_bytes;
}

uint64_t raft_log_bytes(const raft_log *l, uint64_t from, uint64_t to) { return to > from ? end_bytes(l, to) - end_bytes(l, from) : 0; }

uint64_t raft_log_find(const raft_log *l, uint64_t index, uint64_t term)
{
    uint64_t low = l->first - 1, high = index; /* the answer is in low..high */
    while (low < high) {
        uint64_t middle = high - (high - low) / 2;
        if (raft_log_term(l, middle) <= term) low = middle;
        else high = middle - 1;
    }
    return low;
}
