/*
 * Snapshots (dissertation chapter 5): when to take one, what it lets the log drop, and bringing one to a follower in chunks.
 *
 * Invariants:
 * 1. snapshot.index <= commit, and every entry after it is in the log; so is, in front of it, what `trailing_entries` keeps.
 * 2. A follower takes chunks in their order; it answers with the first byte that it lacks, which also resumes a transfer after a cut or under another leader, if that one's
 *    snapshot is the same (index, term, identity, size).
 * 3. With its last byte the received snapshot becomes this server's, in memory at once and on disk by a write like any other: nothing of it is acknowledged before that is
 *    durable, and a crash before leaves the old state. A follower whose log has the snapshot's last entry needs none: it learns that it is committed.
 */
#include "gcs/raft/raft_internal.h"

/* ---- taking ---- */

static bool is_sending(const raft *r)
{
    for (uint32_t i = 0; r->state == RAFT_LEADER && i < r->peer_count; i++)
        if (r->peers[i].mode == PEER_SNAPSHOT && r->now - r->peers[i].contact_ns < r->settings.election_ns) return true;
    return false;
}

/* A new snapshot would make a transfer begin again; while one is going on it waits until the log is three quarters full. */
static bool may_wait(const raft *r)
{
    uint64_t bytes = raft_log_bytes(&r->log, r->log.first - 1, raft_log_last(&r->log));
    return r->log.count < r->settings.log_entries / 4 * 3 && bytes < r->settings.log_bytes / 4 * 3 && is_sending(r);
}

bool raft_snapshot_is_due(const raft *r)
{
    if (r->snapshot_asked || r->now < r->snapshot_retry_ns || r->applied <= r->snapshot.index) return false;
    bool due = r->applied - r->snapshot.index >= r->settings.snapshot_entries ||
               raft_log_bytes(&r->log, r->snapshot.index, r->applied) >= r->settings.snapshot_bytes;
    return due && !may_wait(r);
}

/* Drops what is in front of the snapshot, but for trailing entries, of which a quarter of the log's bytes are kept at most. */
void raft_trim(raft *r)
{
    uint64_t end = r->snapshot.index, keep = r->settings.trailing_entries, first = end >= keep ? end - keep + 1 : 1;
    if (first < r->log.first) first = r->log.first;
    while (first <= end && raft_log_bytes(&r->log, first - 1, end) > r->settings.log_bytes / 4) first++;
    if (first == r->log.first) return;
    raft_log_trim(&r->log, first);
    r->effects.write.trim_before = first;
}

void raft_snapshot_taken(raft *r, const raft_event *e)
{
    raft_snapshot taken;
    r->snapshot_asked = false;
    if (e->snapshot.index > r->commit || !e->snapshot.index) {
        raft_fail(r, RAFT_BAD_EVENT);
        return;
    }
    if (!raft_describe_snapshot(r, e->snapshot.index, &taken)) {
        raft_fail(r, RAFT_STALE);
        return;
    }
    taken.identity = e->snapshot.identity;
    taken.size_bytes = e->snapshot.size_bytes;
    r->snapshot = taken;
    r->effects.write.snapshot = &r->snapshot;
    raft_trim(r);
    raft_rulings_reload(r);
}

void raft_snapshot_failed(raft *r)
{
    r->snapshot_asked = false;
    r->snapshot_retry_ns = r->now + r->settings.election_ns;
}

/* ---- sending ---- */

void raft_send_chunk(raft *r, raft_peer *p)
{
    if (p->snapshot != r->snapshot.index) { /* a newer one was taken: the old one's bytes are gone */
        p->snapshot = r->snapshot.index;
        p->offset = 0;
        p->waiting = false;
    }
    if (p->waiting) return;
    uint64_t left = r->snapshot.size_bytes - p->offset;
    raft_message *m = raft_emit(r, RAFT_CHUNK, p->id);
    m->chunk.snapshot = &r->snapshot;
    m->chunk.offset = p->offset;
    m->chunk.round = r->round;
    m->chunk.size = left < r->settings.chunk_bytes ? (uint32_t)left : r->settings.chunk_bytes;
    p->waiting = true;
    p->sent_ns = r->now;
}

void raft_handle_chunk_reply(raft *r, const raft_message *m)
{
    if (m->term > r->term) raft_become_follower(r, m->term, 0);
    raft_peer *p = raft_peer_find(r, m->from);
    if (r->state != RAFT_LEADER || m->term != r->term || m->chunk_reply.stale || !p) return;
    p->contact_ns = r->now;
    if (m->chunk_reply.round > p->round && m->chunk_reply.round <= r->round) p->round = m->chunk_reply.round;
    bool is_ours = p->mode == PEER_SNAPSHOT && m->chunk_reply.index == p->snapshot && p->snapshot == r->snapshot.index;
    if (is_ours && m->chunk_reply.offset <= r->snapshot.size_bytes && m->chunk_reply.offset != p->offset) {
        p->offset = m->chunk_reply.offset;
        p->waiting = p->offset == r->snapshot.size_bytes; /* for the disk; a heartbeat's answer tells */
        raft_send_chunk(r, p);
    }
    raft_membership_progress(r, p);
    raft_reads_check(r);
}

/* ---- receiving ---- */

static bool is_same(const raft_snapshot *a, const raft_snapshot *b)
{
    return a->index == b->index && a->term == b->term && a->identity == b->identity && a->size_bytes == b->size_bytes;
}

static bool is_good_chunk(const raft_message *m)
{
    const raft_snapshot *s = m->chunk.snapshot;
    if (!s || !s->index || !s->term || s->term > m->term || s->index > UINT64_MAX / 2 || raft_configuration_problem(&s->configuration))
        return false;
    return m->chunk.offset <= s->size_bytes && m->chunk.size <= s->size_bytes - m->chunk.offset && (m->chunk.bytes || !m->chunk.size);
}

static void reply_chunk(raft *r, const raft_message *m, uint64_t offset)
{
    raft_message *reply = raft_emit(r, RAFT_CHUNK_REPLY, m->from);
    reply->chunk_reply.index = m->chunk.snapshot->index;
    reply->chunk_reply.offset = offset;
    reply->chunk_reply.round = r->round_seen;
}

/* True: the log holds all that the snapshot covers. */
static bool is_needless(raft *r, const raft_snapshot *s)
{
    if (s->index <= r->commit) return true;
    if (s->index > raft_log_last(&r->log) || raft_log_term(&r->log, s->index) != s->term) return false;
    if (s->index > r->verified) r->verified = s->index;
    raft_commit_to(r, s->index);
    return true;
}

static void install(raft *r)
{
    uint64_t index = r->receiving.index;
    r->is_receiving = false;
    r->snapshot = r->receiving;
    if (r->durable > r->commit) r->durable = r->commit; /* what lies behind is no longer the log's */
    for (uint32_t i = 0; i < r->write_count; i++)
        if (r->writes[i].last > r->commit) r->writes[i].last = r->commit;
    raft_log_reset(&r->log, index, r->snapshot.term);
    r->commit = r->applied = r->verified = index;
    raft_rulings_reload(r);
    r->effects.write.snapshot = &r->snapshot;
    r->effects.write.truncate_from = 1;
    r->effects.restore = &r->snapshot;
}

static void take_chunk(raft *r, const raft_message *m)
{
    r->effects.chunk.snapshot = &r->receiving;
    r->effects.chunk.offset = r->received_bytes;
    r->effects.chunk.bytes = m->chunk.bytes;
    r->effects.chunk.size = m->chunk.size;
    r->received_bytes += m->chunk.size;
    r->effects.chunk.last = r->received_bytes == r->receiving.size_bytes;
}

static void receive_chunk(raft *r, const raft_message *m)
{
    if (!r->is_receiving || !is_same(&r->receiving, m->chunk.snapshot)) {
        r->is_receiving = true;
        r->receiving = *m->chunk.snapshot;
        r->received_bytes = 0;
    }
    if (m->chunk.offset == r->received_bytes) take_chunk(r, m);
    reply_chunk(r, m, r->received_bytes);
    if (r->effects.chunk.last) install(r);
}

void raft_handle_chunk(raft *r, const raft_message *m)
{
    if (!is_good_chunk(m)) {
        raft_fail(r, RAFT_BAD_MESSAGE);
        return;
    }
    if (m->term < r->term) {
        raft_emit(r, RAFT_CHUNK_REPLY, m->from)->chunk_reply.stale = true;
        return;
    }
    if (!raft_follow(r, m)) return;
    if (m->chunk.round > r->round_seen) r->round_seen = m->chunk.round;
    if (is_needless(r, m->chunk.snapshot)) raft_reply_append(r, RAFT_APPEND_OK);
    else receive_chunk(r, m);
}
