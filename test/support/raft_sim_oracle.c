/*
 * What must hold: one leader per term; an (index, term) has one content and one predecessor (log matching); a new leader has all that was committed in earlier terms; state
 * machines are equal; what a leader commits is on the disks of a majority of voters at that instant, and ends with an entry of its own term; commit never falls; a read sees all that was committed before it was
 * asked for; the configuration that rules is the last in the log.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "test/support/raft_sim_internal.h"

static sim_known *known;
static uint64_t run;

void sim_oracle_begin(sim_world *w)
{
    (void)w;
    if (!known) known = calloc(SIM_TABLE, sizeof *known);
    run++;
}

/* ---- logs ---- */

static sim_known *place_of(uint64_t index, uint64_t term)
{
    uint64_t at = rng_mix(index << 20 ^ term);
    for (uint64_t i = 0; i < SIM_TABLE; i++) {
        sim_known *k = &known[(at + i) % SIM_TABLE];
        if (k->run != run || (k->index == index && k->term == term)) return k;
    }
    return NULL;
}

static void appended(sim_world *w, const sim_server *s, uint64_t index, const raft_entry *e, uint64_t previous_term)
{
    sim_known *k = place_of(index, e->term), now = {run, index, e->term, sim_entry_hash(e), previous_term};
    if (!k) return;
    if (k->run != run) *k = now;
    else if (memcmp(k, &now, sizeof now) != 0)
        sim_fail(w, "log matching: server %" PRIu64 " has another entry (%" PRIu64 ", %" PRIu64 ")", s->id, index, e->term);
}

static uint64_t term_before(const sim_server *s, uint64_t index)
{
    const raft_entry *e = raft_entry_at(s->core, index - 1);
    if (e) return e->term;
    return s->image.about.index == index - 1 ? s->image.about.term : 0;
}

/* Ongaro's correction of 2015: a leader changes the members only after an entry of its own term is committed. */
static void check_change(sim_world *w, const sim_server *s, uint64_t index)
{
    raft_status now = raft_status_of(s->core);
    if (now.state == RAFT_LEADER && term_before(s, now.commit + 1) != now.term)
        sim_fail(w, "membership: %" PRIu64 " appended configuration %" PRIu64 " before it committed anything in term %" PRIu64, s->id,
            index, now.term);
}

void sim_oracle_appended(sim_world *w, const sim_server *s, const raft_write *write)
{
    for (uint64_t i = 0; i < write->count; i++) {
        uint64_t index = write->append_first + i, before = i ? write->entries[i - 1].term : term_before(s, index);
        appended(w, s, index, &write->entries[i], before);
        if (write->entries[i].kind == RAFT_ENTRY_CONFIGURATION) check_change(w, s, index);
    }
}

/* ---- state machines ---- */

void sim_oracle_applied(sim_world *w, sim_server *s, uint64_t index, const raft_entry *e)
{
    if (index >= SIM_ENTRIES) return;
    uint64_t hash = sim_entry_hash(e);
    s->hash = sim_mix(s->hash, sim_mix(hash, index));
    if (index > w->committed_count) {
        w->committed[index].term = e->term;
        w->committed[index].hash = hash;
        w->committed[index].state = s->hash;
        w->committed_count = index;
        return;
    }
    bool equal = w->committed[index].term == e->term && w->committed[index].hash == hash && w->committed[index].state == s->hash;
    if (!equal) sim_fail(w, "state machines: server %" PRIu64 " applied another entry %" PRIu64, s->id, index);
}

void sim_oracle_restored(sim_world *w, const sim_server *s)
{
    uint64_t index = s->applied;
    if (index > w->committed_count || w->committed[index].state != s->hash)
        sim_fail(w, "state machines: server %" PRIu64 " restored another state %" PRIu64, s->id, index);
}

/* ---- leaders ---- */

static bool has(const sim_server *s, uint64_t index, uint64_t term)
{
    const raft_entry *e = raft_entry_at(s->core, index);
    if (e) return e->term == term;
    return index <= s->image.about.index;
}

static void new_leader(sim_world *w, const sim_server *s, const raft_status *now)
{
    uint64_t *leader = &w->leader_of_term[now->term % SIM_TERMS];
    w->report->leaders++;
    if (*leader) sim_fail(w, "two leaders of term %" PRIu64 ": %" PRIu64 " and %" PRIu64, now->term, *leader, s->id);
    *leader = s->id;
    if (now->term > w->acknowledged_by && !has(s, w->acknowledged, w->acknowledged_term))
        sim_fail(w, "leader completeness: %" PRIu64 " leads term %" PRIu64 " without entry %" PRIu64, s->id, now->term, w->acknowledged);
}

static bool has_on_disk(const sim_server *s, uint64_t index, uint64_t term)
{
    const sim_disk *d = &s->disk;
    if (index <= d->image.about.index) return true;
    return d->count && index >= d->first && index < d->first + d->count && d->entries[index - d->first].term == term;
}

static void committed_by_leader(sim_world *w, const sim_server *s, const raft_status *now)
{
    const raft_entry *e = raft_entry_at(s->core, now->commit);
    const raft_configuration *c = raft_current_configuration(s->core);
    uint32_t copies = 0, voters = raft_configuration_voters(c);
    for (uint32_t i = 0; e && i < c->count; i++)
        copies += c->servers[i].role == RAFT_VOTER && has_on_disk(&w->servers[sim_at(c->servers[i].id)], now->commit, e->term);
    if (e && copies * 2 <= voters)
        sim_fail(w, "durability: %" PRIu64 " committed %" PRIu64 " with %u copies of %u voters", s->id, now->commit, copies, voters);
    if (e && e->term != now->term) /* 3.6.2 */
        sim_fail(w, "commit rule: %" PRIu64 " committed %" PRIu64 " of term %" PRIu64 " in term %" PRIu64, s->id, now->commit, e->term,
            now->term);
    if (!e || now->commit <= w->acknowledged) return;
    w->acknowledged = now->commit;
    w->acknowledged_term = e->term;
    w->acknowledged_by = now->term;
}

/* A vote leaves its server only when it is on disk. */
void sim_oracle_sent(sim_world *w, const sim_server *s, const raft_message *m)
{
    const sim_disk *d = &s->disk;
    if (m->kind != RAFT_VOTE_REPLY || !m->vote_reply.granted || d->term > m->term) return;
    if (d->term < m->term || d->vote != m->to)
        sim_fail(w, "durability: server %" PRIu64 " sends its vote for %" PRIu64 " in term %" PRIu64 " and has not written it", s->id,
            m->to, m->term);
}

/* ---- configuration ---- */

static void check_configuration(sim_world *w, const sim_server *s, const raft_status *now)
{
    static raft_configuration c;
    uint64_t i = now->last;
    const raft_entry *e = NULL;
    for (; i > now->snapshot; i--)
        if ((e = raft_entry_at(s->core, i)) && e->kind == RAFT_ENTRY_CONFIGURATION) break;
    if (i <= now->snapshot) c = s->image.about.configuration;
    else (void)raft_configuration_decode(e->data, e->size, &c);
    const raft_configuration *ruling = raft_current_configuration(s->core);
    bool equal = c.count == ruling->count;
    for (uint32_t k = 0; equal && k < c.count; k++)
        equal = c.servers[k].id == ruling->servers[k].id && c.servers[k].role == ruling->servers[k].role;
    if (!equal) sim_fail(w, "configuration: server %" PRIu64 " is not ruled by entry %" PRIu64, s->id, i);
}

void sim_oracle_stepped(sim_world *w, sim_server *s, const raft_effects *x, bool led)
{
    raft_status now = raft_status_of(s->core);
    if (now.commit < s->commit) sim_fail(w, "commit of server %" PRIu64 " fell to %" PRIu64, s->id, now.commit);
    if (now.commit > now.last) sim_fail(w, "commit of server %" PRIu64 " is behind its log", s->id);
    if (now.state == RAFT_LEADER && !led) new_leader(w, s, &now);
    bool follows = now.leader && now.leader != s->id; /* it led before this step: then it learnt in it what another leader committed */
    if (led && !follows && now.commit > s->commit) committed_by_leader(w, s, &now);
    s->commit = now.commit;
    if (x->write.number && (w->report->steps & 7) == 0) check_configuration(w, s, &now);
}

/* ---- reads ---- */

void sim_oracle_read_began(sim_world *w, uint64_t token)
{
    w->reads[token % SIM_READS].token = token;
    w->reads[token % SIM_READS].at_least = w->acknowledged;
}

void sim_oracle_read_ended(sim_world *w, const sim_server *s, uint64_t token)
{
    w->report->reads++;
    if (w->reads[token % SIM_READS].token == token && s->applied < w->reads[token % SIM_READS].at_least)
        sim_fail(w, "linearizability: server %" PRIu64 " reads state %" PRIu64 " after %" PRIu64 " was committed", s->id, s->applied,
            w->reads[token % SIM_READS].at_least);
}
