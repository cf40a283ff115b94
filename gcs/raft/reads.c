/*
 * Linearizable reads without a log entry (dissertation 6.4, ReadIndex).
 *
 * A read may be served when 1. the leader's commit index covers all that was committed before the request: it is at least that of the request, and an entry of this term is
 * committed; 2. a majority of voters answered a message that was sent after the request: then no other leader had committed anything in between. Messages carry the number of a
 * round, answers the highest seen. One round is under way at a time; reads that come meanwhile share the next one.
 */
#include <string.h>

#include "gcs/raft/raft_internal.h"

static uint64_t round_of(const raft_peer *p) { return p->round; }
static uint64_t confirmed_round(const raft *r) { return raft_majority(r, r->round, round_of); }

static void end_read(raft *r, const raft_read *read, raft_result result)
{
    r->read_ends[r->effects.read_count++] = (raft_read_end){read->token, result};
}

static void begin_round(raft *r)
{
    r->round++;
    raft_heartbeat(r);
}

void raft_reads_check(raft *r)
{
    uint32_t done = 0;
    if (r->state != RAFT_LEADER || !r->read_count) return;
    uint64_t confirmed = confirmed_round(r);
    for (; done < r->read_count && r->reads[done].round <= confirmed && r->reads[done].index <= r->commit; done++)
        end_read(r, &r->reads[done], RAFT_OK);
    r->read_count -= done;
    memmove(r->reads, r->reads + done, r->read_count * sizeof *r->reads);
    if (r->read_count && confirmed >= r->round && r->reads[r->read_count - 1].round > r->round) begin_round(r);
}

void raft_read_begin(raft *r, uint64_t token)
{
    if (r->state != RAFT_LEADER || r->read_count == r->settings.reads) {
        raft_fail(r, r->state != RAFT_LEADER ? RAFT_NOT_LEADER : RAFT_BUSY);
        return;
    }
    uint64_t index = r->commit > r->term_start ? r->commit : r->term_start;
    r->reads[r->read_count++] = (raft_read){token, index, r->round + 1};
    if (confirmed_round(r) >= r->round) begin_round(r);
    raft_reads_check(r);
}

void raft_reads_fail(raft *r)
{
    for (uint32_t i = 0; i < r->read_count; i++) end_read(r, &r->reads[i], RAFT_LEADERSHIP_LOST);
    r->read_count = 0;
}
