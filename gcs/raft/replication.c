/*
 * The leader's side of the log (dissertation 3.5, 3.6, 10.2.1).
 *
 * How it sees a follower:   PROBE      where its log equals ours is unknown: one message at a time, `next` falls with each mismatch
 *                           REPLICATE  it is known: messages are sent without waiting, up to the limits of what is in flight
 *                           SNAPSHOT   it needs what the log no longer has: chunks, one at a time; heartbeats go on
 *   PROBE -> REPLICATE: it accepted.  REPLICATE -> PROBE: it lacks something (a message was lost, it restarted).  -> SNAPSHOT: next - 1 is no longer in the log.
 *   SNAPSHOT -> PROBE: its log reaches ours.
 *
 * Invariants: 1. match < next <= last + 1, and match never falls in a term: late refusals and acceptances cannot break it. 2. What is in flight is what lies between match
 * and next: there is no count to get wrong. 3. Only entries of the current term are committed by counting (3.6.2), and only durable copies count, the own one included.
 */
#include "gcs/raft/raft_internal.h"

/* ---- sending ---- */

/* How many entries from p->next on fit into one message. */
static uint32_t fitting(const raft *r, const raft_peer *p)
{
    uint64_t last = raft_log_last(&r->log), n = last + 1 - p->next;
    if (n > r->settings.message_entries) n = r->settings.message_entries;
    if (raft_log_bytes(&r->log, p->next - 1, p->next - 1 + n) <= r->settings.message_bytes) return (uint32_t)n;
    uint64_t low = 1, high = n; /* low fit (or is the one that always does), high may not */
    while (low < high) {
        uint64_t middle = high - (high - low) / 2;
        if (raft_log_bytes(&r->log, p->next - 1, p->next - 1 + middle) <= r->settings.message_bytes) low = middle;
        else high = middle - 1;
    }
    return (uint32_t)low;
}

static void send_append(raft *r, raft_peer *p, uint32_t count)
{
    raft_message *m = raft_emit(r, RAFT_APPEND, p->id);
    m->append.previous_index = p->next - 1;
    m->append.previous_term = raft_log_term(&r->log, p->next - 1);
    m->append.commit = r->commit;
    m->append.round = r->round;
    m->append.sequence = ++p->sequence;
    m->append.count = count;
}

static bool has_room(const raft *r, const raft_peer *p)
{
    if (p->next > raft_log_last(&r->log)) return false;
    if (p->match + 1 == p->next) return true;
    uint64_t from = raft_log_knows_term(&r->log, p->match) ? p->match : r->log.first - 1;
    return p->next - 1 - p->match < r->settings.inflight_entries && raft_log_bytes(&r->log, from, p->next - 1) < r->settings.inflight_bytes;
}

static void begin_snapshot(raft *r, raft_peer *p)
{
    p->mode = PEER_SNAPSHOT;
    p->snapshot = r->snapshot.index;
    p->offset = 0;
    p->waiting = false;
}

/* Sends what the peer lacks and its state allows; nothing when it lacks nothing. */
void raft_replicate(raft *r, raft_peer *p)
{
    if (p->mode != PEER_SNAPSHOT && !raft_log_knows_term(&r->log, p->next - 1)) begin_snapshot(r, p);
    if (p->mode == PEER_SNAPSHOT) {
        raft_send_chunk(r, p);
        return;
    }
    if (p->mode == PEER_PROBE && !p->waiting) {
        send_append(r, p, fitting(r, p));
        p->waiting = true;
    }
    for (int i = 0; p->mode == PEER_REPLICATE && i < APPENDS_PER_STEP && has_room(r, p); i++) {
        uint32_t count = fitting(r, p);
        send_append(r, p, count);
        p->next += count;
    }
}

void raft_replicate_all(raft *r)
{
    for (uint32_t i = 0; i < r->peer_count; i++) raft_replicate(r, &r->peers[i]);
}

/* Index 0 equals everywhere: for a follower that gets a snapshot, a heartbeat that asks nothing of its log. */
static void send_empty(raft *r, raft_peer *p)
{
    raft_message *m = raft_emit(r, RAFT_APPEND, p->id);
    m->append.round = r->round;
    m->append.sequence = ++p->sequence;
    m->append.commit = r->commit;
    if (p->mode == PEER_SNAPSHOT) return;
    m->append.previous_index = p->next - 1;
    m->append.previous_term = raft_log_term(&r->log, p->next - 1);
}

static void heartbeat_one(raft *r, raft_peer *p)
{
    uint32_t before = r->effects.message_count;
    if (p->mode != PEER_SNAPSHOT || r->now - p->sent_ns >= r->settings.election_ns) p->waiting = false; /* what was sent may be lost */
    raft_replicate(r, p);
    if (r->effects.message_count == before || p->mode == PEER_SNAPSHOT) send_empty(r, p);
}

void raft_heartbeat(raft *r)
{
    r->heartbeat_ns = r->now + r->settings.heartbeat_ns;
    for (uint32_t i = 0; i < r->peer_count; i++) heartbeat_one(r, &r->peers[i]);
}

/* ---- leading ---- */

void raft_become_leader(raft *r)
{
    r->state = RAFT_LEADER;
    r->leader = r->settings.id;
    r->round = 0;
    r->read_count = 0;
    r->is_receiving = false;
    r->peer_count = 0;
    raft_peers_sync(r);
    raft_append(r, &(raft_entry){.term = r->term, .kind = RAFT_ENTRY_NOOP}); /* reserved when the election began; 3.6.2, 6.4 */
    r->term_start = raft_log_last(&r->log);
    raft_heartbeat(r);
}

static uint64_t contact_of(const raft_peer *p) { return p->contact_ns; }

/* 6.2: a leader that a majority does not answer for an election timeout is none any more, and says so to its clients. */
static uint64_t quorum_deadline(const raft *r) { return raft_majority(r, r->now, contact_of) + r->settings.election_ns; }

void raft_leader_tick(raft *r)
{
    if (r->now >= quorum_deadline(r)) {
        raft_become_follower(r, r->term, 0);
        return;
    }
    raft_transfer_tick(r);
    raft_membership_tick(r);
    if (r->now >= r->heartbeat_ns) raft_heartbeat(r);
}

static uint64_t earlier(uint64_t a, uint64_t b) { return a < b ? a : b; }

uint64_t raft_leader_timeout(const raft *r)
{
    uint64_t t = earlier(r->heartbeat_ns, quorum_deadline(r));
    if (r->transfer.target) t = earlier(t, r->transfer.deadline_ns);
    return earlier(t, raft_membership_timeout(r));
}

static uint64_t match_of(const raft_peer *p) { return p->match; }

void raft_advance_commit(raft *r)
{
    uint64_t index = raft_majority(r, r->durable, match_of), before = r->commit;
    if (index <= before || raft_log_term(&r->log, index) != r->term)
        return; /* 3.6.2: entries of old terms are committed by one of this term */
    raft_commit_to(r, index);
    raft_reads_check(r);
    if (r->latest.index > before && r->latest.index <= index) raft_membership_committed(r);
}

/* ---- commands ---- */

static raft_result may_submit(const raft *r, const raft_event *e)
{
    uint64_t bytes = 0;
    if (r->state != RAFT_LEADER) return RAFT_NOT_LEADER;
    if (r->transfer.target) return RAFT_TRANSFERRING;
    for (uint32_t i = 0; i < e->submit.count; i++) {
        if (e->submit.entries[i].size > r->settings.entry_bytes) return RAFT_TOO_LARGE;
        bytes += e->submit.entries[i].size;
    }
    uint64_t held = raft_log_bytes(&r->log, r->log.first - 1, raft_log_last(&r->log));
    return r->log.count + e->submit.count > r->settings.log_entries || held + bytes > r->settings.log_bytes ? RAFT_LOG_FULL : RAFT_OK;
}

void raft_submit(raft *r, const raft_event *e)
{
    raft_result result = may_submit(r, e);
    if (!result && !raft_log_reserve(&r->log, e->submit.count)) result = RAFT_NO_MEMORY;
    if (result) {
        raft_fail(r, result);
        return;
    }
    r->effects.submitted_first = raft_log_last(&r->log) + 1;
    for (uint32_t i = 0; i < e->submit.count; i++) {
        raft_entry entry = e->submit.entries[i];
        entry.kind = RAFT_ENTRY_COMMAND;
        entry.term = r->term;
        raft_append(r, &entry);
    }
    raft_replicate_all(r);
}

/* ---- answers ---- */

static void begin_probe(raft_peer *p, bool waiting)
{
    p->mode = PEER_PROBE;
    p->since = p->sequence + 1;
    p->waiting = waiting;
}

/* A refusal counts only when it is about what is under way: one that comes late must not throw the follower back. */
static void refused(raft *r, raft_peer *p, const raft_message *m)
{
    uint64_t previous = m->append_reply.previous_index, hint = m->append_reply.hint_index;
    if (p->mode == PEER_SNAPSHOT || m->append_reply.sequence < p->since || previous <= p->match || previous >= p->next) return;
    if (hint >= previous) hint = previous - 1;
    if (hint + 1 > r->log.first) hint = raft_log_find(&r->log, hint, m->append_reply.hint_term);
    p->next = (hint > p->match ? hint : p->match) + 1;
    begin_probe(p, false);
}

static void accepted(raft *r, raft_peer *p, const raft_message *m)
{
    uint64_t last = raft_log_last(&r->log), match = m->append_reply.match, next = m->append_reply.next;
    if (match > last || next > last + 1) {
        raft_fail(r, RAFT_BAD_MESSAGE);
        return;
    }
    if (match > p->match) p->match = match;
    if (next <= p->match) next = p->match + 1;
    if (p->mode == PEER_SNAPSHOT && raft_log_knows_term(&r->log, next - 1)) {
        p->offset = 0;
        begin_probe(p, false);
        p->since = 0; /* this answer is the probe's */
    }
    bool is_answer = p->mode == PEER_PROBE && m->append_reply.sequence >= p->since;
    if (is_answer || next > p->next) p->next = next;
    if (is_answer) p->mode = PEER_REPLICATE;
    if (m->append_reply.status == RAFT_APPEND_FULL && p->mode != PEER_SNAPSHOT) {
        p->next = next;
        begin_probe(p, true); /* until the next heartbeat */
    }
}

static bool is_from_peer(raft *r, const raft_message *m, raft_peer **out)
{
    if (m->term > r->term) raft_become_follower(r, m->term, 0);
    if (r->state != RAFT_LEADER || m->term != r->term || m->append_reply.status == RAFT_APPEND_STALE) return false;
    *out = raft_peer_find(r, m->from);
    return *out;
}

void raft_handle_append_reply(raft *r, const raft_message *m)
{
    raft_peer *p;
    if (!is_from_peer(r, m, &p)) return;
    p->contact_ns = r->now;
    if (m->append_reply.round > p->round && m->append_reply.round <= r->round) p->round = m->append_reply.round;
    if (m->append_reply.status == RAFT_APPEND_MISMATCH) refused(r, p, m);
    else accepted(r, p, m);
    raft_replicate(r, p);
    raft_membership_progress(r, p);
    raft_transfer_check(r);
    raft_reads_check(r);
    raft_advance_commit(r);
}
