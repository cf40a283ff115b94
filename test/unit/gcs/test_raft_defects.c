/*
 * One server's core, fed by hand: a test for each defect that is known from other implementations of Raft (the numbers are the project's notes on one of them).
 */
#include "gcs/raft/raft.h"
#include "gcs/raft/raft_message.h"
#include "scheduler/base/alloc.h"
#include "test/support/test.h"

enum { LOG_MAX = 64 };
static const uint64_t MS = 1000000;

/* ---- a core to feed ---- */

typedef struct box {
    raft *r;
    const raft_effects *x; /* of the last step */
    uint64_t now;
} box;

static raft_configuration members(uint32_t voters, uint32_t learners)
{
    raft_configuration c = {.count = voters + learners};
    for (uint32_t i = 0; i < c.count; i++)
        c.servers[i] = (raft_server){.id = i + 1, .role = i < voters ? RAFT_VOTER : RAFT_LEARNER, .address = "x"};
    return c;
}

static raft_entry configuration_entry(uint64_t term, const raft_configuration *c)
{
    raft_entry e;
    char text[RAFT_TEXT_LIMIT];
    if (raft_bootstrap(c, &e, text)) abort();
    e.term = term;
    return e;
}

static raft_entry command(uint64_t term)
{
    raft_buffer *b = raft_buffer_new("command", 7);
    return (raft_entry){.term = term, .buffer = b, .data = b->bytes, .size = b->size, .kind = RAFT_ENTRY_COMMAND};
}

static void release_all(raft_entry *entries, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) raft_buffer_release(entries[i].buffer);
}

/* A server `id` whose disk has the configuration as entry 1 and commands up to `last`, all of `term`; it votes for none in it. */
static box box_new(uint64_t id, const raft_configuration *c, uint64_t term, uint64_t last)
{
    box b = {.now = 1000 * MS};
    raft_entry entries[LOG_MAX];
    char text[RAFT_TEXT_LIMIT];
    raft_settings settings = {.id = id, .seed = 1, .election_ns = 100 * MS, .heartbeat_ns = 20 * MS, .snapshot_entries = 1000};
    entries[0] = configuration_entry(term, c);
    for (uint32_t i = 1; i < last; i++) entries[i] = command(term);
    raft_start start = {.term = term, .first = 1, .entries = entries, .count = last};
    if (raft_new(&settings, &start, b.now, &b.r, text)) abort();
    release_all(entries, (uint32_t)last);
    return b;
}

static void step(box *b, raft_event e)
{
    e.now_ns = b->now;
    b->x = raft_step(b->r, &e);
}

static void persist(box *b, uint64_t number) { step(b, (raft_event){.kind = RAFT_PERSISTED, .persisted = number}); }
static raft_status now_of(const box *b) { return raft_status_of(b->r); }

static void receive(box *b, raft_message m)
{
    m.to = now_of(b).id;
    step(b, (raft_event){.kind = RAFT_RECEIVE, .message = &m});
}

static void tick(box *b)
{
    b->now = raft_next_timeout(b->r);
    step(b, (raft_event){.kind = RAFT_TICK});
}

static const raft_message *sent(const box *b, raft_message_kind kind, uint64_t to)
{
    for (uint32_t i = 0; i < b->x->message_count; i++)
        if (b->x->messages[i].kind == kind && b->x->messages[i].to == to) return &b->x->messages[i];
    return NULL;
}

static void append(box *b, uint64_t from, uint64_t term, uint64_t previous, uint64_t previous_term, const raft_entry *entries,
    uint32_t count, uint64_t commit)
{
    receive(b,
        (raft_message){.kind = RAFT_APPEND, .from = from, .term = term, .append = {previous, previous_term, commit, 0, 1, entries, count}});
}

static void acknowledge(box *b, uint64_t from, uint64_t match)
{
    receive(b, (raft_message){.kind = RAFT_APPEND_REPLY,
                   .from = from,
                   .term = now_of(b).term,
                   .append_reply = {.status = RAFT_APPEND_OK, .match = match, .next = match + 1, .sequence = 1}});
}

/* Makes the server leader of the next term, with server 2's vote when it needs one. */
static bool lead(box *b)
{
    uint64_t term = now_of(b).term + 1;
    tick(b);
    if (now_of(b).state == RAFT_PRE_CANDIDATE)
        receive(b, (raft_message){.kind = RAFT_PRE_VOTE_REPLY, .from = 2, .term = term, .vote_reply = {true}});
    uint64_t number = b->x->write.number;
    if (now_of(b).state == RAFT_CANDIDATE) persist(b, number);
    if (now_of(b).state == RAFT_CANDIDATE)
        receive(b, (raft_message){.kind = RAFT_VOTE_REPLY, .from = 2, .term = term, .vote_reply = {true}});
    return now_of(b).state == RAFT_LEADER && now_of(b).term == term;
}

static bool submit(box *b, uint32_t count)
{
    raft_entry entries[LOG_MAX];
    for (uint32_t i = 0; i < count; i++) entries[i] = command(0);
    step(b, (raft_event){.kind = RAFT_SUBMIT, .submit = {entries, count}});
    release_all(entries, count);
    return !b->x->result;
}

/* ---- R11 ---- */

/* An answer to a message of an old term says that and nothing of the answerer's log. */
TEST(r11_stale_answer_carries_no_state)
{
    raft_configuration c = members(3, 0);
    box b = box_new(1, &c, 5, 9);
    append(&b, 2, 3, 0, 0, NULL, 0, 0);
    const raft_message *m = sent(&b, RAFT_APPEND_REPLY, 2);
    EXPECT(m && m->term == 5 && m->append_reply.status == RAFT_APPEND_STALE);
    EXPECT(!m->append_reply.match && !m->append_reply.next && !m->append_reply.hint_index && !m->append_reply.round);
    raft_snapshot s = {.index = 20, .term = 3, .identity = 1, .size_bytes = 4, .configuration = c};
    receive(
        &b, (raft_message){
                .kind = RAFT_CHUNK, .from = 2, .term = 3, .chunk = {.snapshot = &s, .size = 4, .bytes = (const unsigned char *)"abcd"}});
    m = sent(&b, RAFT_CHUNK_REPLY, 2);
    EXPECT(m && m->chunk_reply.stale && !m->chunk_reply.index && !m->chunk_reply.offset);
    EXPECT(!b.x->chunk.size && !now_of(&b).leader);
    raft_free(b.r);
}

/* A leader that gets such an answer in its own term (it was elected anew meanwhile) commits nothing by it, whatever it holds. */
TEST(r11_stale_answer_commits_nothing)
{
    raft_configuration c = members(3, 0);
    box b = box_new(1, &c, 5, 9);
    EXPECT(lead(&b));
    persist(&b, b.x->write.number);
    receive(
        &b, (raft_message){
                .kind = RAFT_APPEND_REPLY, .from = 3, .term = 6, .append_reply = {.status = RAFT_APPEND_STALE, .match = 10, .next = 11}});
    EXPECT_EQ(now_of(&b).commit, 0);
    raft_free(b.r);
}

/* ---- R1, R2: no two leaders of a term by few voters ---- */

/* A sole voter that starts again leads a new term: entries of the old one may have left it that its disk does not have. */
TEST(r1_sole_voter_leads_a_new_term)
{
    raft_configuration c = members(1, 1);
    box b = box_new(1, &c, 4, 3);
    EXPECT(lead(&b));
    EXPECT_EQ(now_of(&b).term, 5);
    EXPECT_EQ(now_of(&b).vote, 1);
    raft_free(b.r);
}

/* The voter that is left when all others go waits for its timeout and then leads a term of its own, not that of the leader that went. */
TEST(r2_shrinking_never_makes_two_leaders)
{
    raft_configuration both = members(2, 0), one = {.count = 1, .servers = {{2, RAFT_VOTER, "x"}}};
    box b = box_new(2, &both, 4, 3);
    raft_entry e = configuration_entry(4, &one);
    append(&b, 1, 4, 3, 4, &e, 1, 3);
    raft_buffer_release(e.buffer);
    persist(&b, b.x->write.number);
    EXPECT(now_of(&b).state == RAFT_FOLLOWER && now_of(&b).term == 4);
    append(&b, 1, 4, 4, 4, NULL, 0, 4);
    EXPECT(now_of(&b).state == RAFT_FOLLOWER && now_of(&b).leader == 1);
    EXPECT(lead(&b));
    EXPECT_EQ(now_of(&b).term, 5);
    raft_free(b.r);
}

/* ---- R3: in front of the snapshot ---- */

static box with_snapshot(void)
{
    raft_configuration c = members(3, 0);
    box b = box_new(1, &c, 4, 12);
    append(&b, 2, 4, 12, 4, NULL, 0, 10);
    step(&b, (raft_event){.kind = RAFT_SNAPSHOT_TAKEN, .snapshot = {10, 7, 100}});
    return b;
}

/* Entries sent again from in front of a follower's snapshot are neither put at wrong places nor written again. */
TEST(r3_append_from_before_the_snapshot)
{
    raft_entry entries[14];
    for (uint32_t i = 0; i < 14; i++) entries[i] = command(4);
    box b = with_snapshot();
    append(&b, 2, 4, 0, 0, entries, 12, 10); /* entry 1 is another kind here: what is committed is not compared */
    EXPECT(!b.x->result && !b.x->write.number && now_of(&b).last == 12);
    EXPECT_EQ(sent(&b, RAFT_APPEND_REPLY, 2)->append_reply.next, 13);
    append(&b, 2, 4, 5, 4, entries, 9, 10);
    EXPECT(b.x->write.append_first == 13 && b.x->write.count == 2 && now_of(&b).last == 14);
    EXPECT_EQ(now_of(&b).commit, 10);
    release_all(entries, 14);
    raft_free(b.r);
}

/* ---- R4: configurations in a batch ---- */

static bool rules(const box *b, uint32_t count, uint64_t index)
{
    return raft_current_configuration(b->r)->count == count && now_of(b).configuration_index == index;
}

/* A configuration rules from the moment it is in the log, wherever in a batch it stands, and no longer than it is there. */
TEST(r4_configuration_in_a_batch_rolls_back)
{
    raft_configuration three = members(3, 0), four = members(3, 1);
    box b = box_new(1, &three, 4, 3);
    raft_entry entries[3] = {command(4), configuration_entry(4, &four), command(4)}, other = command(5);
    append(&b, 2, 4, 3, 4, entries, 3, 3);
    EXPECT(rules(&b, 4, 5));
    append(&b, 3, 5, 5, 4, &other, 1, 3); /* takes the place of the last: the configuration stays */
    EXPECT(rules(&b, 4, 5) && now_of(&b).last == 6);
    other.term = 6;
    append(&b, 2, 6, 4, 4, &other, 1, 3); /* and of the configuration's */
    EXPECT(rules(&b, 3, 1) && now_of(&b).last == 5);
    release_all(entries, 3);
    raft_buffer_release(other.buffer);
    raft_free(b.r);
}

/* Of two configurations in the log that are not committed, the last one rules; each goes by itself. */
TEST(r4_two_pending_configurations)
{
    raft_configuration three = members(3, 0), four = members(3, 1), five = members(3, 2);
    box b = box_new(1, &three, 4, 3);
    raft_entry entries[3] = {configuration_entry(4, &four), command(4), configuration_entry(4, &five)}, other = command(5);
    append(&b, 2, 4, 3, 4, entries, 3, 3);
    EXPECT(rules(&b, 5, 6));
    append(&b, 3, 5, 5, 4, &other, 1, 3);
    EXPECT(rules(&b, 4, 4));
    other.term = 6;
    append(&b, 2, 6, 3, 4, &other, 1, 3);
    EXPECT(rules(&b, 3, 1));
    release_all(entries, 3);
    raft_buffer_release(other.buffer);
    raft_free(b.r);
}

/* ---- R5, R8: late and doubled messages ---- */

/* A refusal that comes late does not throw a follower back, nor does it stop what is sent to it. */
TEST(r5_late_refusal_stops_nothing)
{
    raft_configuration c = members(3, 0);
    box b = box_new(1, &c, 4, 9);
    EXPECT(lead(&b));
    acknowledge(&b, 2, 10);
    for (uint64_t previous = 8; previous <= 10; previous++)
        receive(&b, (raft_message){.kind = RAFT_APPEND_REPLY,
                        .from = 2,
                        .term = 5,
                        .append_reply = {
                            .status = RAFT_APPEND_MISMATCH, .previous_index = previous, .hint_index = 3, .hint_term = 4, .sequence = 1}});
    for (uint32_t i = 0; i < 5; i++) {
        EXPECT(submit(&b, 2));
        const raft_message *m = sent(&b, RAFT_APPEND, 2);
        EXPECT(m && m->append.previous_index == 10 + 2 * i && m->append.count == 2);
    }
    raft_free(b.r);
}

/* A follower's commit index never goes back, whatever old messages say. */
TEST(r8_commit_never_falls)
{
    raft_configuration c = members(3, 0);
    box b = box_new(1, &c, 4, 9);
    append(&b, 2, 4, 9, 4, NULL, 0, 7);
    EXPECT(now_of(&b).commit == 7 && b.x->apply_first == 1 && b.x->apply_last == 7);
    append(&b, 2, 4, 3, 4, NULL, 0, 2);
    EXPECT(now_of(&b).commit == 7 && !b.x->apply_first);
    append(&b, 3, 5, 9, 4, NULL, 0, 0);
    EXPECT_EQ(now_of(&b).commit, 7);
    append(&b, 3, 5, 9, 4, NULL, 0, 100); /* more than it has: no further than what it knows to be equal */
    EXPECT_EQ(now_of(&b).commit, 9);
    raft_free(b.r);
}

/* A report of a write does not count for entries that were truncated since, even if others are in their place. */
TEST(reports_of_truncated_entries)
{
    raft_configuration c = members(3, 0);
    box b = box_new(1, &c, 4, 3);
    raft_entry old[3] = {command(4), command(4), command(4)}, new[3] = {command(5), command(5), command(5)};
    append(&b, 2, 4, 3, 4, old, 3, 3);
    uint64_t first = b.x->write.number;
    append(&b, 3, 5, 3, 4, new, 3, 3);
    EXPECT(b.x->write.truncate_from == 4 && b.x->write.append_first == 4);
    uint64_t second = b.x->write.number;
    persist(&b, first);
    EXPECT(now_of(&b).durable == 3 && !sent(&b, RAFT_APPEND_REPLY, 3));
    persist(&b, second);
    EXPECT_EQ(now_of(&b).durable, 6);
    EXPECT_EQ(sent(&b, RAFT_APPEND_REPLY, 3)->append_reply.match, 6);
    release_all(old, 3);
    release_all(new, 3);
    raft_free(b.r);
}

/* ---- R6: nobody is left without a leader ---- */

static const raft_message *ask_vote(box *b, raft_message_kind kind, uint64_t from, uint64_t term, uint64_t last_index, uint64_t last_term)
{
    receive(b, (raft_message){.kind = kind, .from = from, .term = term, .vote = {last_index, last_term, false}});
    return sent(b, kind == RAFT_VOTE ? RAFT_VOTE_REPLY : RAFT_PRE_VOTE_REPLY, from);
}

/* Who is a learner by its own log votes all the same: the entry that promoted it may be known to the candidate only. */
TEST(r6_lost_promotion)
{
    raft_configuration c = members(1, 1);
    box b = box_new(2, &c, 4, 3);
    EXPECT_EQ(raft_next_timeout(b.r), UINT64_MAX);
    EXPECT(ask_vote(&b, RAFT_PRE_VOTE, 1, 5, 4, 4)->vote_reply.granted);
    EXPECT(ask_vote(&b, RAFT_VOTE, 1, 5, 4, 4)->vote_reply.granted);
    raft_free(b.r);
}

/* A leader that appended its own removal, and is the only one that has the entry, campaigns after a restart: else nobody could. */
TEST(r6_leader_that_removes_itself)
{
    raft_configuration three = members(3, 0), without = {.count = 2, .servers = {{2, RAFT_VOTER, "x"}, {3, RAFT_VOTER, "x"}}};
    raft_entry entries[2] = {configuration_entry(4, &three), configuration_entry(4, &without)};
    raft_settings settings = {.id = 1, .election_ns = 100 * MS, .heartbeat_ns = 20 * MS};
    raft_start start = {.term = 4, .first = 1, .entries = entries, .count = 2};
    box b = {.now = MS};
    char text[RAFT_TEXT_LIMIT];
    EXPECT_EQ(raft_new(&settings, &start, b.now, &b.r, text), MANTA_OK);
    release_all(entries, 2);
    tick(&b);
    EXPECT(now_of(&b).state == RAFT_PRE_CANDIDATE && sent(&b, RAFT_PRE_VOTE, 2) && sent(&b, RAFT_PRE_VOTE, 3));
    raft_free(b.r);
}

/* A leader that removes itself leads until that is committed, by the others alone, and then asks one of them to take over. */
TEST(r6_leader_leaves_after_commit)
{
    raft_configuration c = members(3, 0);
    box b = box_new(1, &c, 4, 3);
    EXPECT(lead(&b));
    persist(&b, b.x->write.number);
    acknowledge(&b, 2, 4);
    acknowledge(&b, 3, 4);
    step(&b, (raft_event){.kind = RAFT_CHANGE, .change = {RAFT_REMOVE, 1, 99, NULL}});
    EXPECT(!b.x->result && now_of(&b).state == RAFT_LEADER);
    persist(&b, b.x->write.number);
    acknowledge(&b, 2, 5);
    EXPECT(now_of(&b).state == RAFT_LEADER && now_of(&b).commit == 4); /* its own copy does not count any more */
    acknowledge(&b, 3, 5);
    EXPECT(now_of(&b).commit == 5 && now_of(&b).state == RAFT_FOLLOWER);
    EXPECT(b.x->change.ended && b.x->change.token == 99 && b.x->change.result == RAFT_OK);
    EXPECT(sent(&b, RAFT_TIMEOUT_NOW, 2) || sent(&b, RAFT_TIMEOUT_NOW, 3));
    raft_free(b.r);
}

/* ---- R7, R10, R12: elections ---- */

/* A server without a vote has no timeout, so its host never spins. */
TEST(r7_no_timeout_in_the_past)
{
    raft_configuration c = members(2, 1);
    box b = box_new(3, &c, 4, 3);
    EXPECT_EQ(raft_next_timeout(b.r), UINT64_MAX);
    b.now += 10000 * MS;
    step(&b, (raft_event){.kind = RAFT_TICK});
    EXPECT(now_of(&b).state == RAFT_FOLLOWER && raft_next_timeout(b.r) == UINT64_MAX);
    raft_free(b.r);
    b = box_new(1, &c, 4, 3);
    for (int i = 0; i < 100; i++) {
        tick(&b);
        EXPECT(raft_next_timeout(b.r) > b.now);
    }
    raft_free(b.r);
}

/* Answers to a question that is no longer asked change nothing: neither state nor term. */
TEST(r10_late_votes)
{
    static const raft_message_kind kinds[] = {RAFT_PRE_VOTE_REPLY, RAFT_VOTE_REPLY};
    raft_configuration c = members(3, 0);
    for (int i = 0; i < 2; i++) {
        box b = box_new(1, &c, 4, 3);
        receive(&b, (raft_message){.kind = kinds[i], .from = 2, .term = 5, .vote_reply = {true}});
        EXPECT(now_of(&b).state == RAFT_FOLLOWER && now_of(&b).term == 4 && !b.x->write.number);
        EXPECT(lead(&b));
        receive(&b, (raft_message){.kind = kinds[i], .from = 3, .term = 6, .vote_reply = {true}});
        receive(&b, (raft_message){.kind = kinds[i], .from = 3, .term = 5, .vote_reply = {true}});
        EXPECT(now_of(&b).state == RAFT_LEADER && now_of(&b).term == 5);
        raft_free(b.r);
    }
}

/* The refusal of a pre-vote carries the refuser's term, and a candidate that is behind takes it over: else it could never be elected. */
TEST(r12_refusal_carries_the_term)
{
    raft_configuration c = members(3, 0);
    box ahead = box_new(2, &c, 9, 3), behind = box_new(1, &c, 4, 3);
    const raft_message *m = ask_vote(&ahead, RAFT_PRE_VOTE, 1, 5, 30, 4);
    EXPECT(m && !m->vote_reply.granted && m->term == 9);
    tick(&behind);
    EXPECT_EQ(now_of(&behind).state, RAFT_PRE_CANDIDATE);
    receive(&behind, *m);
    EXPECT(now_of(&behind).state == RAFT_FOLLOWER && now_of(&behind).term == 9);
    raft_free(ahead.r);
    raft_free(behind.r);
}

/* A server votes once in a term, and its answer waits for the disk; what it answered it also answers again. */
TEST(one_vote_a_term)
{
    raft_configuration c = members(3, 0);
    box b = box_new(1, &c, 4, 3);
    const raft_message *m = ask_vote(&b, RAFT_VOTE, 2, 5, 3, 4);
    EXPECT(m->vote_reply.granted && b.x->write.has_term && b.x->write.vote == 2 && m->after_write == b.x->write.number);
    EXPECT(!ask_vote(&b, RAFT_VOTE, 3, 5, 9, 4)->vote_reply.granted);
    m = ask_vote(&b, RAFT_VOTE, 2, 5, 3, 4);
    EXPECT(m->vote_reply.granted && m->after_write);
    EXPECT(!ask_vote(&b, RAFT_VOTE, 3, 6, 2, 4)->vote_reply.granted); /* a shorter log */
    raft_free(b.r);
}

/* ---- R9 and the commit rule ---- */

/* No change of membership before an entry of the leader's own term is committed, and one at a time. */
TEST(r9_change_after_own_term)
{
    raft_configuration c = members(3, 0);
    box b = box_new(1, &c, 4, 3);
    raft_event add = {.kind = RAFT_CHANGE, .change = {RAFT_ADD, 4, 1, "x"}};
    append(&b, 2, 4, 3, 4, NULL, 0, 3);
    EXPECT(now_of(&b).commit == 3 && lead(&b));
    step(&b, add);
    EXPECT_EQ(b.x->result, RAFT_NOT_READY);
    acknowledge(&b, 2, 3); /* all of the old term: does not count */
    acknowledge(&b, 3, 3);
    EXPECT_EQ(now_of(&b).commit, 3);
    acknowledge(&b, 2, 4);
    acknowledge(&b, 3, 4);
    EXPECT_EQ(now_of(&b).commit, 4);
    step(&b, add);
    EXPECT_EQ(b.x->result, RAFT_OK);
    add.change.id = 5;
    step(&b, add);
    EXPECT_EQ(b.x->result, RAFT_BUSY);
    raft_free(b.r);
}

/* Figure 8 of the paper: an entry of an old term on a majority is not committed by that. */
TEST(figure_8)
{
    raft_configuration c = members(5, 0);
    box b = box_new(1, &c, 2, 5);
    tick(&b);
    for (uint64_t id = 2; id <= 3; id++)
        receive(&b, (raft_message){.kind = RAFT_PRE_VOTE_REPLY, .from = id, .term = 3, .vote_reply = {true}});
    persist(&b, 1);
    for (uint64_t id = 2; id <= 3; id++) receive(&b, (raft_message){.kind = RAFT_VOTE_REPLY, .from = id, .term = 3, .vote_reply = {true}});
    EXPECT_EQ(now_of(&b).state, RAFT_LEADER);
    uint64_t number = b.x->write.number;
    for (uint64_t id = 2; id <= 5; id++) acknowledge(&b, id, 5);
    EXPECT_EQ(now_of(&b).commit, 0);
    persist(&b, number);
    acknowledge(&b, 2, 6);
    acknowledge(&b, 3, 6);
    EXPECT_EQ(now_of(&b).commit, 6);
    raft_free(b.r);
}

/* A read ends when a majority has answered what was sent after it was asked for, and not before. */
TEST(reads_need_a_majority)
{
    raft_configuration c = members(3, 0);
    box b = box_new(1, &c, 4, 3);
    EXPECT(lead(&b));
    acknowledge(&b, 2, 4);
    acknowledge(&b, 3, 4);
    EXPECT_EQ(now_of(&b).commit, 4);
    step(&b, (raft_event){.kind = RAFT_READ, .token = 7});
    EXPECT(!b.x->result && !b.x->read_count);
    uint64_t round = sent(&b, RAFT_APPEND, 2)->append.round;
    acknowledge(&b, 2, 4); /* an answer to an earlier message */
    EXPECT_EQ(b.x->read_count, 0);
    receive(&b, (raft_message){.kind = RAFT_APPEND_REPLY,
                    .from = 3,
                    .term = 5,
                    .append_reply = {.status = RAFT_APPEND_OK, .match = 4, .next = 5, .round = round, .sequence = 2}});
    EXPECT(b.x->read_count == 1 && b.x->reads[0].token == 7 && b.x->reads[0].result == RAFT_OK);
    raft_free(b.r);
}

/* ---- out of memory ---- */

/* A core that cannot be made says so. */
TEST(no_memory_to_start)
{
    raft_configuration c = members(3, 0);
    raft_entry e = configuration_entry(1, &c);
    raft_settings settings = {.id = 1};
    raft_start start = {.term = 1, .first = 1, .entries = &e, .count = 1};
    bool failed = true;
    for (uint64_t n = 1; failed; n++) {
        raft *r = NULL;
        char text[RAFT_TEXT_LIMIT] = "";
        base_alloc_fail_at(n);
        manta_status status = raft_new(&settings, &start, 0, &r, text);
        failed = base_alloc_has_failed();
        base_alloc_fail_at(0);
        EXPECT(failed ? status == MANTA_ENOMEM && strstr(text, "no memory") : status == MANTA_OK);
        raft_free(r);
    }
    raft_buffer_release(e.buffer);
}

static bool is_same(raft_status a, raft_status b)
{
    return a.state == b.state && a.term == b.term && a.vote == b.vote && a.last == b.last && a.commit == b.commit && a.durable == b.durable;
}

/* A step that cannot get memory changes nothing, says so, and can be done again. */
TEST(no_memory_in_a_step)
{
    raft_configuration c = members(3, 0);
    uint64_t failures = 0;
    for (uint64_t n = 1; n <= 2; n++) {
        box b = box_new(1, &c, 4, 3);
        EXPECT(lead(&b));
        for (int i = 0; i < 20; i++) {
            raft_entry entries[LOG_MAX];
            for (uint32_t k = 0; k < LOG_MAX; k++) entries[k] = command(0);
            raft_status before = now_of(&b);
            base_alloc_fail_at(n);
            step(&b, (raft_event){.kind = RAFT_SUBMIT, .submit = {entries, LOG_MAX}});
            bool failed = base_alloc_has_failed();
            base_alloc_fail_at(0);
            release_all(entries, LOG_MAX);
            failures += failed;
            if (!failed) continue;
            EXPECT(b.x->result == RAFT_NO_MEMORY && is_same(before, now_of(&b)) && !b.x->write.number);
            EXPECT(submit(&b, LOG_MAX));
        }
        raft_free(b.r);
    }
    EXPECT(failures >= 8);
}

/* A follower that has no memory for what the leader sends takes nothing of it, and all of it when it comes again. */
TEST(no_memory_to_follow)
{
    raft_configuration c = members(3, 0);
    raft_entry entries[LOG_MAX];
    for (uint32_t i = 0; i < LOG_MAX; i++) entries[i] = command(4);
    for (uint64_t n = 1; n <= 2; n++) {
        box b = box_new(1, &c, 4, 3);
        append(&b, 2, 4, 3, 4, NULL, 0, 3);
        base_alloc_fail_at(n);
        append(&b, 2, 4, 3, 4, entries, LOG_MAX, 5);
        EXPECT(base_alloc_has_failed());
        base_alloc_fail_at(0);
        EXPECT(b.x->result == RAFT_NO_MEMORY && now_of(&b).last == 3 && now_of(&b).commit == 3 && !b.x->message_count);
        append(&b, 2, 4, 3, 4, entries, LOG_MAX, 5);
        EXPECT(!b.x->result && now_of(&b).last == 3 + LOG_MAX && now_of(&b).commit == 5);
        raft_free(b.r);
    }
    release_all(entries, LOG_MAX);
}
