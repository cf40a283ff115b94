/*
 * Elections: pre-vote, vote, and who may ask for them (dissertation 3.4, 3.6.1, 4.2, 6.2, 9.6).
 *
 * Invariants:
 * 1. A server votes once per term: term and vote change only by raft_set_term, the vote from 0 to a server or with a higher term; what follows waits for the disk.
 * 2. A leader has come out of an election in a term that it raised itself, sole voters too, so that no two leaders share a term whatever the configurations were.
 * 3. Votes are given without a look at the configuration (4.1): a learner may have been promoted by an entry that it does not have yet. They are counted by the candidate's.
 * 4. The log of a candidate is compared by what is in memory here, which is never less than what is on disk.
 */
#include "gcs/raft/raft_internal.h"

void raft_election_reset_timer(raft *r)
{
    r->election_ns = r->now + r->settings.election_ns + rng_below(&r->random, r->settings.election_ns);
}

/* Voters campaign; and, as long as its removal or demotion may not be committed, one that was a voter before: it may be the only one with the entry (4.2.2). */
bool raft_election_can_campaign(const raft *r)
{
    if (raft_is_voter(r, r->settings.id)) return true;
    return r->latest.index > r->commit && raft_configuration_is_voter(&r->previous.c, r->settings.id);
}

void raft_become_follower(raft *r, uint64_t term, uint64_t leader)
{
    bool led = r->state == RAFT_LEADER;
    if (term > r->term) raft_set_term(r, term, 0);
    r->state = RAFT_FOLLOWER;
    r->leader = leader;
    r->verified = r->acknowledged = r->commit;
    r->round_seen = r->sequence_seen = 0;
    r->transfer.target = 0;
    if (led) {
        raft_reads_fail(r);
        raft_membership_end(r, RAFT_LEADERSHIP_LOST);
    }
    raft_election_reset_timer(r);
}

/* ---- campaigning ---- */

static void ask_for_votes(raft *r, raft_message_kind kind, uint64_t term, bool transfer)
{
    for (uint32_t i = 0; i < r->peer_count; i++) {
        raft_peer *p = &r->peers[i];
        p->granted = false;
        if (!raft_is_voter(r, p->id)) continue;
        raft_message *m = raft_emit(r, kind, p->id);
        m->term = term;
        m->vote.last_index = raft_log_last(&r->log);
        m->vote.last_term = raft_log_last_term(&r->log);
        m->vote.transfer = transfer;
    }
}

static uint64_t is_granted(const raft_peer *p) { return p->granted; }

static bool has_majority(const raft *r, bool own) { return raft_majority(r, own, is_granted) > 0; }

/* 9.6: asks whether an election would be won before it raises the term, so that a server that was cut off does not disturb those who were not. */
static void start_pre_vote(raft *r)
{
    raft_become_follower(r, r->term, 0);
    raft_peers_sync(r);
    r->state = RAFT_PRE_CANDIDATE;
    ask_for_votes(r, RAFT_PRE_VOTE, r->term + 1, false);
    if (has_majority(r, true)) raft_election_start(r, false);
}

void raft_election_start(raft *r, bool transfer)
{
    if (!raft_log_reserve(&r->log, 1)) { /* for the entry that begins a term */
        raft_fail(r, RAFT_NO_MEMORY);
        raft_become_follower(r, r->term, 0);
        return;
    }
    raft_become_follower(r, r->term, 0);
    raft_peers_sync(r);
    r->state = RAFT_CANDIDATE;
    raft_set_term(r, r->term + 1, r->settings.id);
    ask_for_votes(r, RAFT_VOTE, r->term, transfer);
}

/* The own vote counts when it is durable. In the step that casts it, it has no write number yet; then nobody else can have answered. */
void raft_election_check_won(raft *r)
{
    bool own = !r->effects.write.has_term && r->durable_write >= r->term_write;
    if (r->state == RAFT_CANDIDATE && has_majority(r, own)) raft_become_leader(r);
}

void raft_election_tick(raft *r)
{
    if (r->now < r->election_ns) return;
    if (raft_election_can_campaign(r)) start_pre_vote(r);
    else raft_election_reset_timer(r);
}

/* ---- being asked ---- */

/* 6.2: who hears from a leader does not take part in elections. A leader hears from a majority, or steps down. */
static bool is_content(const raft *r)
{
    if (r->state == RAFT_LEADER) return true;
    return r->leader && r->now - r->contact_ns < r->settings.election_ns;
}

static bool is_up_to_date(const raft *r, const raft_message *m)
{
    uint64_t term = raft_log_last_term(&r->log);
    return m->vote.last_term != term ? m->vote.last_term > term : m->vote.last_index >= raft_log_last(&r->log);
}

static bool has_vote_for(const raft *r, const raft_message *m)
{
    if (m->term != r->term) return m->term > r->term;
    return !r->vote || r->vote == m->from;
}

/* A refusal carries the refuser's own term: a candidate behind learns it, or it could never be elected. */
static void answer_pre_vote(raft *r, const raft_message *m, bool content)
{
    raft_message *reply = raft_emit(r, RAFT_PRE_VOTE_REPLY, m->from);
    reply->vote_reply.granted = !content && has_vote_for(r, m) && is_up_to_date(r, m);
    if (reply->vote_reply.granted) reply->term = m->term;
}

static void answer_vote(raft *r, const raft_message *m, bool content)
{
    if (!content && m->term > r->term) raft_become_follower(r, m->term, 0);
    bool granted = !content && m->term == r->term && has_vote_for(r, m) && is_up_to_date(r, m);
    if (granted && !r->vote) raft_set_term(r, r->term, m->from);
    if (granted && r->state == RAFT_PRE_CANDIDATE) r->state = RAFT_FOLLOWER;
    if (granted) raft_election_reset_timer(r);
    raft_emit(r, RAFT_VOTE_REPLY, m->from)->vote_reply.granted = granted;
}

void raft_handle_vote(raft *r, const raft_message *m)
{
    bool content = !m->vote.transfer && is_content(r);
    if (m->kind == RAFT_PRE_VOTE) answer_pre_vote(r, m, content);
    else answer_vote(r, m, content);
}

/* Answers to a question that is not asked any more say nothing. */
static bool is_asking(const raft *r, const raft_message *m)
{
    return r->state == (m->kind == RAFT_PRE_VOTE_REPLY ? RAFT_PRE_CANDIDATE : RAFT_CANDIDATE);
}

void raft_handle_vote_reply(raft *r, const raft_message *m)
{
    uint64_t asked = m->kind == RAFT_PRE_VOTE_REPLY ? r->term + 1 : r->term;
    raft_peer *p = raft_peer_find(r, m->from);
    if (!is_asking(r, m)) return;
    if (!m->vote_reply.granted) {
        if (m->term > r->term) raft_become_follower(r, m->term, 0);
        return;
    }
    if (!p || m->term != asked) return;
    p->granted = true;
    if (r->state == RAFT_CANDIDATE) raft_election_check_won(r);
    else if (has_majority(r, true)) raft_election_start(r, false);
}
