/* Hosts in memory: no disk, everything durable at once. */
#include "test/support/raft_hosts.h"
#include "test/support/test.h"

/* One server in memory answers a command inside the call that submits it, from the first call on. */
TEST(alone)
{
    host_cluster *c = hosts_new(1, false);
    EXPECT_EQ(hosts_start(c, 0), MANTA_OK);
    raft_host_run(c->nodes[0].host, raft_host_next_timeout(c->nodes[0].host));
    EXPECT(hosts_leader(c));
    for (int i = 0; i < 1000; i++) {
        uint64_t token = hosts_submit(c, &c->nodes[0], 1, 20);
        EXPECT_EQ(c->tokens[token], TOKEN_APPLIED);
    }
    raft_host_read(c->nodes[0].host, 5, raft_host_next_timeout(c->nodes[0].host));
    EXPECT(c->reads_ended == 1 && c->read_result == RAFT_OK);
    EXPECT_EQ(raft_host_stats_of(c->nodes[0].host).commits, 1000);
    EXPECT_STR(c->broken, "");
    hosts_free(c);
}

static void read_again(host_node *n) { raft_host_read(n->host, 7, raft_host_next_timeout(n->host)); }

/* A machine that lets the host be entered while an entry is applied, as one would that waits there, stops it with a text: it must not apply entries twice. */
TEST(entered_in_a_step)
{
    host_cluster *c = hosts_new(1, false);
    EXPECT_EQ(hosts_start(c, 0), MANTA_OK);
    raft_host_run(c->nodes[0].host, raft_host_next_timeout(c->nodes[0].host));
    EXPECT(hosts_leader(c));
    c->during_apply = read_again;
    (void)hosts_submit(c, &c->nodes[0], 3, 20);
    EXPECT(c->read_result == RAFT_STOPPED && c->nodes[0].applied);
    EXPECT(strstr(raft_host_failure(c->nodes[0].host), "entered while a step is under way"));
    EXPECT_STR(c->broken, "");
    hosts_free(c);
}

/* Three servers in memory elect a leader, and what it answers is equal on all. */
TEST(three)
{
    host_cluster *c = hosts_new(3, false);
    EXPECT(hosts_start_all(c));
    for (int i = 0; i < 100; i++) EXPECT(hosts_commit(c, 10, 64));
    EXPECT(hosts_wait_equal(c, 1000));
    EXPECT_STR(raft_host_status_of(c->nodes[0].host).leader_address, raft_host_status_of(c->nodes[1].host).leader_address);
    hosts_free(c);
}

/* A snapshot in memory bounds the log, and a server that joins gets it. */
TEST(snapshot_to_newcomer)
{
    host_cluster *c = hosts_new(1, false);
    c->options.raft.snapshot_entries = 100;
    c->options.raft.trailing_entries = 10;
    c->options.raft.chunk_bytes = 1000;
    c->snapshot_bytes = 50000;
    EXPECT_EQ(hosts_start(c, 0), MANTA_OK);
    for (int i = 0; i < 50; i++) EXPECT(hosts_commit(c, 10, 64));
    EXPECT(raft_host_stats_of(c->nodes[0].host).snapshots_taken >= 4);
    c->options.found = NULL;
    EXPECT_EQ(hosts_start(c, 1), MANTA_OK);
    raft_host_change(c->nodes[0].host, RAFT_ADD, 2, "node-2", 9, raft_host_next_timeout(c->nodes[0].host));
    EXPECT(HOSTS_WAIT(c, c->change_token == 9));
    EXPECT_EQ(c->change_result, RAFT_OK);
    EXPECT(hosts_wait_equal(c, 500));
    EXPECT_EQ(raft_host_stats_of(c->nodes[1].host).snapshots_received, 1);
    hosts_free(c);
}

/* Every token ends exactly once: what a closed host, a follower or a leader without a majority was given is lost with its reason. */
TEST(tokens_end)
{
    host_cluster *c = hosts_new(3, false);
    EXPECT(hosts_start_all(c) && hosts_wait_leader(c));
    host_node *leader = hosts_leader(c), *other = &c->nodes[leader->id % 3];
    uint64_t token = hosts_submit(c, other, 3, 10);
    EXPECT(c->tokens[token] == TOKEN_LOST && c->tokens[token + 2] == TOKEN_LOST && c->results[token] == RAFT_NOT_LEADER);
    leader->is_cut = true;
    token = hosts_submit(c, leader, 3, 10);
    EXPECT(HOSTS_WAIT(c, c->tokens[token + 2] == TOKEN_LOST));
    EXPECT_EQ(c->results[token], RAFT_LEADERSHIP_LOST);
    EXPECT(hosts_wait_leader(c));
    host_node *next = hosts_leader(c);
    token = hosts_submit(c, next, 1, 10);
    hosts_stop(c, (uint32_t)next->id - 1);
    EXPECT(c->tokens[token] == TOKEN_LOST && c->results[token] == RAFT_STOPPED);
    EXPECT_STR(c->broken, "");
    hosts_free(c);
}
