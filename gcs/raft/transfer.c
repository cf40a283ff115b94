/*
 * Leadership transfer (dissertation 3.10): no more commands, the target is brought up to date and told to campaign at once. After one election timeout the leader goes on as if
 * nothing had been; the target's election, should it still come, is one like any other.
 */
#include "gcs/raft/raft_internal.h"

static raft_peer *closest(raft *r)
{
    raft_peer *best = NULL;
    for (uint32_t i = 0; i < r->peer_count; i++)
        if (raft_is_voter(r, r->peers[i].id) && (!best || r->peers[i].match > best->match)) best = &r->peers[i];
    return best;
}

static raft_result may_transfer(raft *r, uint64_t id, raft_peer **out)
{
    if (r->state != RAFT_LEADER) return RAFT_NOT_LEADER;
    if (r->transfer.target) return RAFT_TRANSFERRING;
    if (id && id != r->settings.id && !raft_configuration_find(&r->latest.c, id)) return RAFT_NO_SERVER;
    *out = id ? raft_peer_find(r, id) : closest(r);
    return *out && raft_is_voter(r, (*out)->id) ? RAFT_OK : RAFT_NOT_VOTER;
}

void raft_transfer_begin(raft *r, uint64_t id)
{
    raft_peer *p;
    raft_result result = may_transfer(r, id, &p);
    if (result) {
        raft_fail(r, result);
        return;
    }
    r->transfer.target = p->id;
    r->transfer.deadline_ns = r->now + r->settings.election_ns;
    r->transfer.told = false;
    raft_replicate(r, p);
    raft_transfer_check(r);
}

void raft_transfer_check(raft *r)
{
    const raft_peer *p = r->transfer.target ? raft_peer_find(r, r->transfer.target) : NULL;
    if (!p || r->transfer.told || p->match < raft_log_last(&r->log)) return;
    raft_emit(r, RAFT_TIMEOUT_NOW, p->id);
    r->transfer.told = true;
}

void raft_transfer_tick(raft *r)
{
    if (!r->transfer.target) return;
    if (r->now >= r->transfer.deadline_ns) {
        r->transfer.target = 0;
        return;
    }
    if (r->now >= r->heartbeat_ns) r->transfer.told = false; /* the message may be lost */
    raft_transfer_check(r);
}

void raft_handle_timeout_now(raft *r, const raft_message *m)
{
    if (m->term != r->term || r->state == RAFT_LEADER || r->state == RAFT_CANDIDATE || !raft_election_can_campaign(r)) return;
    raft_election_start(r, true);
}
