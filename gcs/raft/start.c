/*
 * Making a core from what the disk holds. Everything is checked first: afterwards the log has contiguous entries with terms that never fall, whose configurations decode.
 *
 * The commit index is not on disk: after a start it is that of the snapshot, and the first leader's first commit raises it. A sole voter campaigns at once, for a new term like
 * anybody else: its old term may have entries that left this server and that its disk does not have.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "gcs/raft/raft_internal.h"
#include "scheduler/base/alloc.h"

static MANTA_PRINTF(3, 4) manta_status say(char *text, manta_status status, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, RAFT_TEXT_LIMIT, format, arguments);
    va_end(arguments);
    return status;
}

manta_status raft_bootstrap(const raft_configuration *founders, raft_entry *out, char *text)
{
    unsigned char bytes[RAFT_CONFIGURATION_BYTES_MAX];
    const char *problem = raft_configuration_problem(founders);
    if (problem) return say(text, MANTA_EINVAL, "bootstrap: %s", problem);
    uint32_t size = raft_configuration_encode(founders, bytes);
    raft_buffer *b = raft_buffer_new(bytes, size);
    if (!b) return say(text, MANTA_ENOMEM, "bootstrap: no memory");
    *out = (raft_entry){.term = 1, .buffer = b, .data = b->bytes, .size = size, .kind = RAFT_ENTRY_CONFIGURATION};
    return MANTA_OK;
}

/* ---- settings ---- */

static void set32(uint32_t *field, uint32_t value)
{
    if (!*field) *field = value;
}

static void set64(uint64_t *field, uint64_t value)
{
    if (!*field) *field = value;
}

static void limit64(uint64_t *field, uint64_t value)
{
    if (*field > value) *field = value;
}

static void fill_in(raft_settings *s)
{
    set64(&s->election_ns, 300000000);
    set64(&s->heartbeat_ns, s->election_ns / 6);
    set32(&s->message_entries, 4096);
    set32(&s->message_bytes, 1 << 20);
    set32(&s->inflight_entries, 65536);
    set32(&s->inflight_bytes, 8 << 20);
    set32(&s->chunk_bytes, 1 << 20);
    set32(&s->entry_bytes, 16 << 20);
    set32(&s->reads, 4096);
    set64(&s->log_entries, 1 << 20);
    set64(&s->log_bytes, 256 << 20);
    set64(&s->snapshot_entries, 65536);
    set64(&s->snapshot_bytes, 64 << 20);
    set64(&s->trailing_entries, 4096);
    if (s->trailing_entries == UINT64_MAX) s->trailing_entries = 0;
    limit64(&s->snapshot_entries, s->log_entries / 2); /* so that a full log always has something to take a snapshot of */
    limit64(&s->snapshot_bytes, s->log_bytes / 2);
    limit64(&s->trailing_entries, s->log_entries / 4);
}

static manta_status check_settings(const raft_settings *s, char *text)
{
    if (!s->id) return say(text, MANTA_EINVAL, "settings: id is 0");
    if (s->heartbeat_ns >= s->election_ns || s->election_ns > UINT64_MAX / 64)
        return say(text, MANTA_EINVAL, "settings: heartbeat_ns %" PRIu64 " and election_ns %" PRIu64, s->heartbeat_ns, s->election_ns);
    if (s->message_entries > RAFT_MESSAGE_ENTRIES_MAX) return say(text, MANTA_EINVAL, "settings: message_entries %u", s->message_entries);
    if (s->entry_bytes > RAFT_ENTRY_BYTES_MAX || s->chunk_bytes > RAFT_ENTRY_BYTES_MAX)
        return say(text, MANTA_EINVAL, "settings: entry_bytes %u, chunk_bytes %u", s->entry_bytes, s->chunk_bytes);
    if (s->log_entries < 16) return say(text, MANTA_EINVAL, "settings: log_entries %" PRIu64 " is below 16", s->log_entries);
    return MANTA_OK;
}

/* ---- the disk's content ---- */

static bool is_good_entry(const raft_entry *e)
{
    raft_configuration c;
    if (e->kind < RAFT_ENTRY_NOOP || e->kind > RAFT_ENTRY_CONFIGURATION || e->size > RAFT_ENTRY_BYTES_MAX) return false;
    return e->kind != RAFT_ENTRY_CONFIGURATION || raft_configuration_decode(e->data, e->size, &c);
}

static manta_status check_entries(const raft_start *s, char *text)
{
    uint64_t before = 1;
    for (uint64_t i = 0; i < s->count; i++) {
        const raft_entry *e = &s->entries[i];
        if (e->term < before || e->term > s->term)
            return say(text, MANTA_EINVAL, "entry %" PRIu64 ": term %" PRIu64 " after %" PRIu64 ", current term %" PRIu64, s->first + i,
                e->term, before, s->term);
        if (!is_good_entry(e))
            return say(text, MANTA_EINVAL, "entry %" PRIu64 ": unknown kind, too large, or a bad configuration", s->first + i);
        before = e->term;
    }
    return MANTA_OK;
}

static manta_status check_snapshot(const raft_start *s, char *text)
{
    const raft_snapshot *snapshot = s->snapshot;
    uint64_t end = snapshot ? snapshot->index : 0;
    const char *problem = snapshot ? raft_configuration_problem(&snapshot->configuration) : NULL;
    if (problem) return say(text, MANTA_EINVAL, "snapshot %" PRIu64 ": %s", end, problem);
    if (snapshot && (!end || !snapshot->term || snapshot->term > s->term))
        return say(text, MANTA_EINVAL, "snapshot %" PRIu64 ": of term %" PRIu64 ", current term %" PRIu64, end, snapshot->term, s->term);
    if (s->count && (!s->first || s->first > end + 1))
        return say(text, MANTA_EINVAL, "entries from %" PRIu64 " on, snapshot up to %" PRIu64 ": a gap", s->first, end);
    if (s->count && !end && s->entries[0].kind != RAFT_ENTRY_CONFIGURATION)
        return say(text, MANTA_EINVAL, "entry 1 is no configuration: the log was not bootstrapped");
    return MANTA_OK;
}

/* A disk that has the snapshot but not all the entries that it covers, or others in their place: the log goes. */
static bool is_covered(const raft_start *s)
{
    if (!s->snapshot || !s->count) return false;
    uint64_t last = s->first + s->count - 1, index = s->snapshot->index;
    if (last < index) return true;
    return index >= s->first && s->entries[index - s->first].term != s->snapshot->term;
}

static bool load(raft *r, const raft_start *s)
{
    r->term = s->term;
    r->vote = s->vote;
    if (s->snapshot) r->snapshot = *s->snapshot;
    r->commit = r->applied = r->verified = r->snapshot.index;
    raft_log_reset(&r->log, r->snapshot.index, r->snapshot.term);
    if (is_covered(s)) r->discard_from = s->first;
    else if (s->count) {
        uint64_t base = s->first - 1 == r->snapshot.index ? 0 : 1; /* the term before entries[0] is unknown: it becomes the base itself */
        raft_log_reset(&r->log, s->first - 1 + base, base ? s->entries[0].term : r->snapshot.term);
        if (!raft_log_reserve(&r->log, s->count)) return false;
        for (uint64_t i = base; i < s->count; i++) raft_log_append(&r->log, &s->entries[i]);
    }
    r->durable = raft_log_last(&r->log);
    raft_trim(r); /* the disk may not have come to it; it will with the next snapshot */
    raft_rulings_reload(r);
    return true;
}

static bool allocate(raft **out, const raft_settings *settings)
{
    raft *r = *out = base_calloc(1, sizeof *r);
    if (!r) return false;
    raft_log_init(&r->log);
    r->settings = *settings;
    fill_in(&r->settings);
    r->reads = base_calloc(r->settings.reads, sizeof *r->reads);
    r->read_ends = base_calloc(r->settings.reads, sizeof *r->read_ends);
    return r->reads && r->read_ends;
}

void raft_free(raft *r)
{
    if (!r) return;
    raft_log_fini(&r->log);
    base_free(r->reads);
    base_free(r->read_ends);
    base_free(r);
}

manta_status raft_new(const raft_settings *settings, const raft_start *start, uint64_t now_ns, raft **out, char *text)
{
    raft *r = NULL;
    raft_settings filled = *settings;
    fill_in(&filled);
    manta_status status = check_settings(&filled, text);
    if (!status) status = check_snapshot(start, text);
    if (!status) status = check_entries(start, text);
    if (status) return status;
    if (!allocate(&r, settings) || !load(r, start)) {
        raft_free(r);
        return say(text, MANTA_ENOMEM, "no memory for a log of %" PRIu64 " entries", start->count);
    }
    r->now = now_ns;
    rng_init(&r->random, r->settings.seed ^ rng_mix(r->settings.id));
    raft_election_reset_timer(r);
    if (raft_is_voter(r, r->settings.id) && raft_configuration_voters(&r->latest.c) == 1) r->election_ns = now_ns;
    *out = r;
    return MANTA_OK;
}
