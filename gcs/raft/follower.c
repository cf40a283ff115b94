/*
 * The follower's side of the log (dissertation 3.5).
 *
 * Invariants:
 * 1. `verified`: up to here the log equals that of the leader of this term; commit <= verified. It starts again at commit with each leader.
 * 2. What is committed or verified is never truncated: a message that asks for it contradicts the protocol and is refused as a whole.
 * 3. The leader is told min(verified, durable): nothing that the disk could forget, nothing that another leader wrote. Acceptance that waits for the disk goes out with
 *    the report of it, once for all messages meanwhile; heartbeats and new rounds of reads are answered at once.
 * 4. An answer to a message of an old term says that and nothing else: its sender may be leader of this term by the time it comes.
 */
#include "gcs/raft/raft_internal.h"

static void reply_stale(raft *r, const raft_message *m)
{
    raft_emit(r, RAFT_APPEND_REPLY, m->from)->append_reply.status = RAFT_APPEND_STALE;
}

void raft_reply_append(raft *r, raft_append_status status)
{
    uint64_t match = r->verified < r->durable ? r->verified : r->durable;
    raft_message *m = raft_emit(r, RAFT_APPEND_REPLY, r->leader);
    m->append_reply.status = status;
    m->append_reply.sequence = r->sequence_seen;
    m->append_reply.match = match;
    m->append_reply.next = r->verified + 1;
    m->append_reply.round = r->round_seen;
    r->acknowledged = match;
}

void raft_follower_persisted(raft *r)
{
    uint64_t match = r->verified < r->durable ? r->verified : r->durable;
    if (r->state == RAFT_FOLLOWER && r->leader && match > r->acknowledged) raft_reply_append(r, RAFT_APPEND_OK);
}

bool raft_follow(raft *r, const raft_message *m)
{
    bool same = m->term == r->term;
    if (same && (r->state == RAFT_LEADER || (r->leader && r->leader != m->from))) {
        raft_fail(r, RAFT_BAD_MESSAGE);
        return false;
    }
    if (!same || r->state != RAFT_FOLLOWER || !r->leader) raft_become_follower(r, m->term, m->from);
    r->contact_ns = r->now;
    raft_election_reset_timer(r);
    return true;
}

/* ---- checks, before anything changes ---- */

static bool is_good_entry(const raft_entry *e)
{
    raft_configuration c;
    if (e->kind < RAFT_ENTRY_NOOP || e->kind > RAFT_ENTRY_CONFIGURATION || e->size > RAFT_ENTRY_BYTES_MAX) return false;
    return e->kind != RAFT_ENTRY_CONFIGURATION || raft_configuration_decode(e->data, e->size, &c);
}

static bool is_well_formed(const raft_message *m)
{
    uint64_t before = m->append.previous_term;
    if (m->append.count > RAFT_MESSAGE_ENTRIES_MAX || m->append.previous_index > UINT64_MAX / 2) return false;
    for (uint32_t i = 0; i < m->append.count; i++) {
        const raft_entry *e = &m->append.entries[i];
        if (e->term < before || !e->term || e->term > m->term || !is_good_entry(e)) return false;
        before = e->term;
    }
    return before <= m->term;
}

static bool has_previous(const raft *r, const raft_message *m)
{
    uint64_t previous = m->append.previous_index;
    if (previous <= r->commit) return true; /* leader completeness: what is committed here is in the leader's log */
    return previous <= raft_log_last(&r->log) && raft_log_term(&r->log, previous) == m->append.previous_term;
}

/* How many of the message's entries are here already, committed ones included. */
static uint32_t count_known(const raft *r, const raft_message *m)
{
    uint32_t i = 0;
    for (; i < m->append.count; i++) {
        uint64_t index = m->append.previous_index + 1 + i;
        if (index + 1 < r->log.first || index <= r->snapshot.index) continue;
        if (index > raft_log_last(&r->log) || raft_log_term(&r->log, index) != m->append.entries[i].term) break;
    }
    return i;
}

/* ---- the message ---- */

static void refuse(raft *r, const raft_message *m)
{
    uint64_t hint = m->append.previous_index, last = raft_log_last(&r->log);
    if (hint > last) hint = last;
    hint = raft_log_find(&r->log, hint, m->append.previous_term);
    if (hint < r->commit) hint = r->commit;
    raft_message *reply = raft_emit(r, RAFT_APPEND_REPLY, m->from);
    reply->append_reply.status = RAFT_APPEND_MISMATCH;
    reply->append_reply.previous_index = m->append.previous_index;
    reply->append_reply.hint_index = hint;
    reply->append_reply.hint_term = raft_log_term(&r->log, hint);
    reply->append_reply.round = r->round_seen;
    reply->append_reply.sequence = m->append.sequence;
}

/* Only what is committed counts, for that is what a snapshot can drop; what is not, the leader's limit bounds, and refusing it could keep it from ever being committed. */
static bool is_full(const raft *r)
{
    uint64_t before = r->log.first - 1;
    return r->commit - before >= r->settings.log_entries || raft_log_bytes(&r->log, before, r->commit) >= r->settings.log_bytes;
}

static bool append_new(raft *r, const raft_message *m, uint32_t known)
{
    bool has_configuration = false;
    if (!raft_log_reserve(&r->log, m->append.count - known)) return false;
    if (m->append.previous_index + 1 + known <= raft_log_last(&r->log)) raft_truncate(r, m->append.previous_index + 1 + known);
    for (uint32_t i = known; i < m->append.count; i++) {
        raft_append(r, &m->append.entries[i]);
        has_configuration |= m->append.entries[i].kind == RAFT_ENTRY_CONFIGURATION;
    }
    if (has_configuration) raft_rulings_reload(r);
    return true;
}

static raft_result take_entries(raft *r, const raft_message *m, bool *out_full)
{
    uint32_t known = count_known(r, m);
    bool has_new = known < m->append.count;
    if (has_new && m->append.previous_index + 1 + known <= r->verified) return RAFT_BAD_MESSAGE;
    *out_full = has_new && is_full(r);
    if (has_new && !*out_full && !append_new(r, m, known)) return RAFT_NO_MEMORY;
    uint64_t end = m->append.previous_index + (*out_full ? known : m->append.count);
    if (end > r->verified) r->verified = end;
    raft_commit_to(r, m->append.commit < r->verified ? m->append.commit : r->verified);
    return RAFT_OK;
}

void raft_handle_append(raft *r, const raft_message *m)
{
    if (m->term < r->term) {
        reply_stale(r, m);
        return;
    }
    if (!is_well_formed(m)) {
        raft_fail(r, RAFT_BAD_MESSAGE);
        return;
    }
    if (!raft_follow(r, m)) return;
    bool new_round = m->append.round > r->round_seen;
    if (new_round) r->round_seen = m->append.round;
    if (m->append.sequence > r->sequence_seen) r->sequence_seen = m->append.sequence;
    if (!has_previous(r, m)) {
        refuse(r, m);
        return;
    }
    bool full = false;
    raft_result result = take_entries(r, m, &full);
    if (result) raft_fail(r, result);
    else if (new_round || !r->effects.write.append_first) raft_reply_append(r, full ? RAFT_APPEND_FULL : RAFT_APPEND_OK);
}
