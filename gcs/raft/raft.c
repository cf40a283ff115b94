/*
 * One step: begin, dispatch, finish. Here also what is written to disk, and how reports of it are understood.
 *
 * Invariants:
 * 1. `durable` is at most the last index, and every entry up to it is on disk as it is in memory. Writes are durable in their order, so a pending write knows what `durable`
 *    becomes with it; a truncation lowers what all pending ones promise. So a report never counts entries that were truncated since, and appended anew or not.
 * 2. commit never falls; applied = commit at the end of each step.
 * 3. Whatever leaves the server and depends on term or vote waits for the write of them (`after_write`); a candidate's own vote counts when it is durable. Hence nothing that
 *    another server could remember is forgotten in a crash.
 * 4. Pointers into the log are put into effects at the end of a step only, because the log may move.
 */
#include "gcs/raft/raft.h"

#include <string.h>

#include "gcs/raft/raft_internal.h"
#include "scheduler/base/check.h"

const char *raft_result_text(raft_result result)
{
    static const char *const texts[] = {
#define RAFT_RESULT_TEXT(name, text) [RAFT_##name] = text,
        RAFT_RESULT_TABLE(RAFT_RESULT_TEXT)
#undef RAFT_RESULT_TEXT
    };
    return (unsigned)result < sizeof texts / sizeof *texts ? texts[result] : "unknown result";
}

const char *raft_state_name(raft_state state)
{
    static const char *const names[] = {"follower", "pre-candidate", "candidate", "leader"};
    return (unsigned)state < sizeof names / sizeof *names ? names[state] : "?";
}

/* ---- what the other files say ---- */

void raft_fail(raft *r, raft_result result) { r->effects.result = result; }

raft_message *raft_emit(raft *r, raft_message_kind kind, uint64_t to)
{
    raft_message *m = &r->messages[r->effects.message_count];
    if (r->effects.message_count < MESSAGES_MAX) r->effects.message_count++; /* beyond that they are lost, as on any network */
    *m = (raft_message){.kind = kind, .from = r->settings.id, .to = to, .term = r->term};
    return m;
}

void raft_set_term(raft *r, uint64_t term, uint64_t vote)
{
    r->term = term;
    r->vote = vote;
    r->effects.write.has_term = true;
}

void raft_append(raft *r, const raft_entry *e)
{
    raft_log_append(&r->log, e);
    if (!r->effects.write.append_first) r->effects.write.append_first = raft_log_last(&r->log);
}

void raft_truncate(raft *r, uint64_t from)
{
    check(from > r->commit && !r->effects.write.append_first);
    raft_log_truncate(&r->log, from);
    if (r->durable >= from) r->durable = from - 1;
    for (uint32_t i = 0; i < r->write_count; i++)
        if (r->writes[i].last >= from) r->writes[i].last = from - 1;
    if (!r->effects.write.truncate_from || from < r->effects.write.truncate_from) r->effects.write.truncate_from = from;
    if (r->latest.index >= from) raft_rulings_reload(r);
}

void raft_commit_to(raft *r, uint64_t index)
{
    check(index <= raft_log_last(&r->log));
    if (index > r->commit) r->commit = index;
}

/* ---- writes ---- */

static void remember_write(raft *r, uint64_t number)
{
    if (r->write_count == WRITES_MAX) r->write_count--; /* the last two become one, durable when the later is */
    r->writes[r->write_count].number = number;
    r->writes[r->write_count].last = raft_log_last(&r->log);
    r->write_count++;
}

static void finish_write(raft *r)
{
    raft_write *w = &r->effects.write;
    if (w->append_first) {
        w->entries = raft_log_at(&r->log, w->append_first);
        w->count = raft_log_last(&r->log) - w->append_first + 1;
    }
    if (!w->has_term && !w->snapshot && !w->truncate_from && !w->append_first && !w->trim_before) return;
    w->number = ++r->write_number;
    w->term = r->term;
    w->vote = r->vote;
    if (w->has_term) r->term_write = w->number;
    remember_write(r, w->number);
}

static void persisted(raft *r, uint64_t number)
{
    uint32_t done = 0;
    if (number > r->write_number) {
        raft_fail(r, RAFT_BAD_EVENT);
        return;
    }
    while (done < r->write_count && r->writes[done].number <= number) done++;
    if (number > r->durable_write) r->durable_write = number;
    if (!done) return;
    r->durable = r->writes[done - 1].last;
    r->write_count -= done;
    memmove(r->writes, r->writes + done, r->write_count * sizeof *r->writes);
    if (r->state == RAFT_LEADER) raft_advance_commit(r);
    else if (r->state == RAFT_CANDIDATE) raft_election_check_won(r);
    else raft_follower_persisted(r);
}

/* ---- the step ---- */

static bool is_for(const raft *r, const raft_message *m)
{
    return m->to == r->settings.id && m->from && m->from != r->settings.id && m->term;
}

static void receive(raft *r, const raft_message *m)
{
    if (!is_for(r, m)) {
        raft_fail(r, RAFT_BAD_MESSAGE);
        return;
    }
    switch (m->kind) {
    case RAFT_PRE_VOTE:
    case RAFT_VOTE: raft_handle_vote(r, m); break;
    case RAFT_PRE_VOTE_REPLY:
    case RAFT_VOTE_REPLY: raft_handle_vote_reply(r, m); break;
    case RAFT_APPEND: raft_handle_append(r, m); break;
    case RAFT_APPEND_REPLY: raft_handle_append_reply(r, m); break;
    case RAFT_CHUNK: raft_handle_chunk(r, m); break;
    case RAFT_CHUNK_REPLY: raft_handle_chunk_reply(r, m); break;
    case RAFT_TIMEOUT_NOW: raft_handle_timeout_now(r, m); break;
    default: raft_fail(r, RAFT_BAD_MESSAGE);
    }
}

static void tick(raft *r)
{
    if (r->state == RAFT_LEADER) raft_leader_tick(r);
    else raft_election_tick(r);
}

static void dispatch(raft *r, const raft_event *e)
{
    switch (e->kind) {
    case RAFT_TICK: tick(r); break;
    case RAFT_RECEIVE: receive(r, e->message); break;
    case RAFT_SUBMIT: raft_submit(r, e); break;
    case RAFT_PERSISTED: persisted(r, e->persisted); break;
    case RAFT_SNAPSHOT_TAKEN: raft_snapshot_taken(r, e); break;
    case RAFT_SNAPSHOT_FAILED: raft_snapshot_failed(r); break;
    case RAFT_READ: raft_read_begin(r, e->token); break;
    case RAFT_TRANSFER: raft_transfer_begin(r, e->transfer); break;
    case RAFT_CHANGE: raft_membership_change(r, e); break;
    default: raft_fail(r, RAFT_BAD_EVENT);
    }
}

static void finish_messages(raft *r)
{
    for (uint32_t i = 0; i < r->effects.message_count; i++) {
        raft_message *m = &r->messages[i];
        m->after_write = r->term_write > r->durable_write ? r->term_write : 0;
        if (m->kind == RAFT_APPEND && m->append.count) m->append.entries = raft_log_at(&r->log, m->append.previous_index + 1);
    }
}

static void finish(raft *r)
{
    raft_effects *x = &r->effects;
    finish_write(r);
    finish_messages(r);
    if (r->commit > r->applied) {
        x->apply_first = r->applied + 1;
        x->apply_last = r->applied = r->commit;
    }
    x->take_snapshot = raft_snapshot_is_due(r);
    if (x->take_snapshot) r->snapshot_asked = true;
}

const raft_effects *raft_step(raft *r, const raft_event *event)
{
    raft_state state = r->state;
    uint64_t leader = r->leader, term = r->term;
    if (event->now_ns > r->now) r->now = event->now_ns;
    r->effects = (raft_effects){.messages = r->messages, .reads = r->read_ends};
    r->effects.write.truncate_from = r->discard_from;
    r->discard_from = 0;
    dispatch(r, event);
    finish(r);
    r->effects.state_changed = state != r->state || leader != r->leader || term != r->term;
    return &r->effects;
}

/* ---- questions ---- */

uint64_t raft_next_timeout(const raft *r)
{
    if (r->discard_from) return r->now;
    if (r->state == RAFT_LEADER) return raft_leader_timeout(r);
    return raft_election_can_campaign(r) ? r->election_ns : UINT64_MAX;
}

raft_status raft_status_of(const raft *r)
{
    return (raft_status){.state = r->state,
        .id = r->settings.id,
        .term = r->term,
        .vote = r->vote,
        .leader = r->leader,
        .first = r->log.first,
        .last = raft_log_last(&r->log),
        .commit = r->commit,
        .durable = r->durable,
        .snapshot = r->snapshot.index,
        .configuration_index = r->latest.index,
        .transferee = r->transfer.target};
}

const raft_configuration *raft_current_configuration(const raft *r) { return &r->latest.c; }
const raft_entry *raft_entry_at(const raft *r, uint64_t index) { return raft_log_at(&r->log, index); }

bool raft_describe_snapshot(const raft *r, uint64_t index, raft_snapshot *out)
{
    raft_ruling ruling;
    if (index > r->commit || index <= r->snapshot.index) return false;
    raft_rulings_at(r, index, &ruling);
    *out = (raft_snapshot){.index = index, .term = raft_log_term(&r->log, index), .configuration = ruling.c};
    return true;
}
