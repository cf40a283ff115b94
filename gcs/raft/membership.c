/*
 * Configurations and their change, one server at a time (dissertation chapter 4).
 *
 * Invariants:
 * 1. `latest` is the last configuration in the log (of the snapshot when the log has none), committed or not (4.1); `previous` is the one before it. Both follow every append,
 *    truncation and install, wherever in a batch the entry stands.
 * 2. A leader appends a configuration only when the one before is committed and so is an entry of its own term (Ongaro's correction of 2015: otherwise two leaders could rule
 *    with majorities that do not meet). The new one differs by one server's vote, because it is made here from a request that can say no more.
 * 3. peers: every other server of `latest`, and, in front of a leader's commit, the one that `previous` has besides. Progress is kept across changes.
 */
#include <stdio.h>
#include <string.h>

#include "gcs/raft/raft_internal.h"
#include "scheduler/base/check.h"

/* ---- which configuration rules ---- */

void raft_rulings_at(const raft *r, uint64_t index, raft_ruling *out)
{
    uint64_t at = index > r->snapshot.index ? raft_log_configuration(&r->log, index) : 0;
    out->index = 0;
    out->c = r->snapshot.configuration;
    if (at <= r->snapshot.index) return;
    const raft_entry *e = raft_log_at(&r->log, at);
    check(e && raft_configuration_decode(e->data, e->size, &out->c)); /* checked when it came in */
    out->index = at;
}

void raft_rulings_reload(raft *r)
{
    raft_rulings_at(r, raft_log_last(&r->log), &r->latest);
    if (r->latest.index) raft_rulings_at(r, r->latest.index - 1, &r->previous);
    else r->previous = r->latest;
}

bool raft_is_voter(const raft *r, uint64_t id) { return raft_configuration_is_voter(&r->latest.c, id); }

/* ---- peers ---- */

raft_peer *raft_peer_find(raft *r, uint64_t id)
{
    for (uint32_t i = 0; i < r->peer_count; i++)
        if (r->peers[i].id == id) return &r->peers[i];
    return NULL;
}

static void drop_peers(raft *r)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < r->peer_count; i++) {
        uint64_t id = r->peers[i].id;
        bool leaves = r->latest.index > r->commit && raft_configuration_find(&r->previous.c, id);
        if (raft_configuration_find(&r->latest.c, id) || leaves) r->peers[kept++] = r->peers[i];
    }
    r->peer_count = kept;
}

static void add_peers(raft *r, const raft_configuration *c)
{
    for (uint32_t i = 0; i < c->count && r->peer_count < PEERS_MAX; i++) {
        uint64_t id = c->servers[i].id;
        if (id == r->settings.id || raft_peer_find(r, id)) continue;
        r->peers[r->peer_count++] = (raft_peer){.id = id, .next = raft_log_last(&r->log) + 1, .contact_ns = r->now};
    }
}

void raft_peers_sync(raft *r)
{
    drop_peers(r);
    add_peers(r, &r->latest.c);
    if (r->latest.index > r->commit) add_peers(r, &r->previous.c);
}

uint64_t raft_majority(const raft *r, uint64_t own, uint64_t (*value)(const raft_peer *))
{
    uint64_t values[PEERS_MAX + 1];
    uint32_t n = 0;
    if (raft_is_voter(r, r->settings.id)) values[n++] = own;
    for (uint32_t i = 0; i < r->peer_count; i++) {
        if (!raft_is_voter(r, r->peers[i].id)) continue;
        uint64_t v = value(&r->peers[i]);
        uint32_t at = n++;
        for (; at > 0 && values[at - 1] < v; at--) values[at] = values[at - 1];
        values[at] = v;
    }
    return n ? values[n / 2] : 0; /* falling order: n / 2 + 1 servers reach it */
}

/* ---- a change ---- */

void raft_membership_end(raft *r, raft_result result)
{
    if (!r->change.is_active) return;
    r->change.is_active = false;
    r->effects.change.ended = true;
    r->effects.change.token = r->change.token;
    r->effects.change.result = result;
}

static raft_result append_configuration(raft *r, const raft_configuration *c)
{
    unsigned char bytes[RAFT_CONFIGURATION_BYTES_MAX];
    uint32_t size = raft_configuration_encode(c, bytes);
    raft_buffer *b = raft_log_reserve(&r->log, 1) ? raft_buffer_new(bytes, size) : NULL;
    if (!b) return RAFT_NO_MEMORY;
    raft_append(r, &(raft_entry){.term = r->term, .buffer = b, .data = b->bytes, .size = size, .kind = RAFT_ENTRY_CONFIGURATION});
    raft_buffer_release(b);
    r->change.index = raft_log_last(&r->log);
    raft_rulings_reload(r);
    raft_peers_sync(r);
    raft_replicate_all(r);
    return RAFT_OK;
}

static raft_server *server_of(raft_configuration *c, uint64_t id)
{
    for (uint32_t i = 0; i < c->count; i++)
        if (c->servers[i].id == id) return &c->servers[i];
    return NULL;
}

static raft_result add(raft_configuration *c, uint64_t id, const char *address)
{
    if (server_of(c, id)) return RAFT_EXISTS;
    if (c->count == RAFT_SERVERS_MAX) return RAFT_TOO_MANY;
    if (!id || !address || strlen(address) >= RAFT_ADDRESS_BYTES) return RAFT_BAD_EVENT;
    raft_server *s = &c->servers[c->count++];
    *s = (raft_server){.id = id, .role = RAFT_LEARNER};
    memcpy(s->address, address, strlen(address));
    return RAFT_OK;
}

static raft_result set_role(raft_configuration *c, uint64_t id, raft_role role)
{
    raft_server *s = server_of(c, id);
    if (!s) return RAFT_NO_SERVER;
    if (s->role == role) return role == RAFT_VOTER ? RAFT_EXISTS : RAFT_NOT_VOTER;
    s->role = role;
    return raft_configuration_voters(c) ? RAFT_OK : RAFT_LAST_VOTER;
}

static raft_result drop(raft_configuration *c, uint64_t id)
{
    raft_server *s = server_of(c, id);
    if (!s) return RAFT_NO_SERVER;
    memmove(s, s + 1, (size_t)(&c->servers[--c->count] - s) * sizeof *s);
    return raft_configuration_voters(c) ? RAFT_OK : RAFT_LAST_VOTER;
}

static raft_result apply_change(raft_configuration *c, const raft_event *e)
{
    switch (e->change.kind) {
    case RAFT_ADD: return add(c, e->change.id, e->change.address);
    case RAFT_PROMOTE: return set_role(c, e->change.id, RAFT_VOTER);
    case RAFT_DEMOTE: return set_role(c, e->change.id, RAFT_LEARNER);
    case RAFT_REMOVE: return drop(c, e->change.id);
    default: return RAFT_BAD_EVENT;
    }
}

static raft_result may_change(const raft *r)
{
    if (r->state != RAFT_LEADER) return RAFT_NOT_LEADER;
    if (r->transfer.target) return RAFT_TRANSFERRING;
    if (r->change.is_active || r->latest.index > r->commit) return RAFT_BUSY;
    return r->commit < r->term_start ? RAFT_NOT_READY : RAFT_OK;
}

/* 4.2.1: rounds, each of what the log had when it began; the learner is ready when one took less than an election timeout. */
static void begin_round(raft *r)
{
    r->change.round++;
    r->change.round_end = raft_log_last(&r->log);
    r->change.round_ns = r->now;
}

static void begin_catching_up(raft *r)
{
    r->change.is_catching_up = true;
    r->change.round = 0;
    r->change.progress = 0;
    r->change.progress_ns = r->now;
    begin_round(r);
    raft_peer *p = raft_peer_find(r, r->change.id);
    raft_replicate(r, p);
    raft_membership_progress(r, p);
}

void raft_membership_change(raft *r, const raft_event *e)
{
    raft_configuration c = r->latest.c;
    raft_result result = may_change(r);
    if (!result) result = apply_change(&c, e);
    if (!result && e->change.kind != RAFT_PROMOTE) result = append_configuration(r, &c);
    if (result) {
        raft_fail(r, result);
        return;
    }
    r->change.is_active = true;
    r->change.is_catching_up = false;
    r->change.token = e->change.token;
    r->change.id = e->change.id;
    if (e->change.kind == RAFT_PROMOTE) begin_catching_up(r);
    else raft_advance_commit(r);
}

static void promote(raft *r)
{
    raft_configuration c = r->latest.c;
    raft_result result = set_role(&c, r->change.id, RAFT_VOTER);
    r->change.is_catching_up = false;
    if (!result) result = append_configuration(r, &c);
    if (result) raft_membership_end(r, result);
}

void raft_membership_progress(raft *r, const raft_peer *p)
{
    if (!r->change.is_active || !r->change.is_catching_up || p->id != r->change.id) return;
    uint64_t progress = p->match + p->offset;
    if (progress != r->change.progress) r->change.progress_ns = r->now;
    r->change.progress = progress;
    if (p->match < r->change.round_end || r->transfer.target) return;
    if (r->now - r->change.round_ns < r->settings.election_ns) promote(r);
    else if (r->change.round == CATCH_UP_ROUNDS) raft_membership_end(r, RAFT_TOO_SLOW);
    else begin_round(r);
}

/* Without a step forward in this long a learner is not waited for. */
static uint64_t patience_ns(const raft *r) { return r->change.progress_ns + 10 * r->settings.election_ns; }

void raft_membership_tick(raft *r)
{
    if (r->change.is_active && r->change.is_catching_up && r->now >= patience_ns(r)) raft_membership_end(r, RAFT_TOO_SLOW);
}

uint64_t raft_membership_timeout(const raft *r) { return r->change.is_active && r->change.is_catching_up ? patience_ns(r) : UINT64_MAX; }

/* Who was removed hears that it is committed; it would campaign otherwise. */
static void part_with_removed(raft *r)
{
    for (uint32_t i = 0; i < r->peer_count; i++) {
        raft_peer *p = &r->peers[i];
        if (raft_configuration_find(&r->latest.c, p->id) || p->mode == PEER_SNAPSHOT) continue;
        raft_message *m = raft_emit(r, RAFT_APPEND, p->id);
        m->append.previous_index = p->match;
        m->append.previous_term = raft_log_knows_term(&r->log, p->match) ? raft_log_term(&r->log, p->match) : 0;
        if (!m->append.previous_term) m->append.previous_index = 0;
        m->append.commit = r->commit;
        m->append.sequence = ++p->sequence;
    }
    raft_peers_sync(r);
}

/* 4.2.2: a leader without a vote leads until the entry that took it is committed; then it asks the closest voter to campaign at once (3.10). */
static void leave_if_not_voter(raft *r)
{
    const raft_peer *best = NULL;
    if (raft_is_voter(r, r->settings.id)) return;
    for (uint32_t i = 0; i < r->peer_count; i++)
        if (raft_is_voter(r, r->peers[i].id) && (!best || r->peers[i].match > best->match)) best = &r->peers[i];
    if (best) raft_emit(r, RAFT_TIMEOUT_NOW, best->id);
    raft_become_follower(r, r->term, 0);
}

/* The leader's commit reached the latest configuration. */
void raft_membership_committed(raft *r)
{
    if (r->change.is_active && !r->change.is_catching_up && r->commit >= r->change.index) raft_membership_end(r, RAFT_OK);
    part_with_removed(r);
    leave_if_not_voter(r);
}
