/* Hosts on disk: what was answered is there after a restart. */
#include "scheduler/os/os.h"
#include "test/support/raft_hosts.h"
#include "test/support/test.h"

/* A server that is stopped and started again has all that it answered, with and without snapshots. */
TEST(restart)
{
    host_cluster *c = hosts_new(1, true);
    c->options.raft.snapshot_entries = 300;
    c->options.raft.trailing_entries = 20;
    c->snapshot_bytes = 200000;
    for (int round = 0; round < 5; round++) {
        EXPECT_EQ(hosts_start(c, 0), MANTA_OK);
        for (int i = 0; i < 5; i++) EXPECT(hosts_commit(c, 40, (uint32_t)(10 + 1400 * i)));
        EXPECT_EQ(c->nodes[0].count, 200 * (round + 1));
        hosts_stop(c, 0);
    }
    EXPECT_STR(c->broken, "");
    hosts_free(c);
}

/* Three servers: any one may be away, and comes back to the state of the others. */
TEST(three_with_restarts)
{
    host_cluster *c = hosts_new(3, true);
    c->options.raft.snapshot_entries = 100;
    c->options.raft.trailing_entries = 10;
    EXPECT(hosts_start_all(c));
    for (uint32_t round = 0; round < 6; round++) {
        hosts_stop(c, round % 3);
        for (int i = 0; i < 10; i++) EXPECT(hosts_commit(c, 20, 64));
        EXPECT_EQ(hosts_start(c, round % 3), MANTA_OK);
        EXPECT(hosts_wait_equal(c, 200 * (round + 1)));
    }
    EXPECT_STR(c->broken, "");
    hosts_free(c);
}

/* A follower that was away longer than the log reaches back catches up by a snapshot in many chunks, keeps it over a restart, and sends it on as leader. */
TEST(lagging_follower)
{
    host_cluster *c = hosts_new(3, true);
    c->options.raft.snapshot_entries = 200;
    c->options.raft.trailing_entries = 10;
    c->options.raft.chunk_bytes = 64 << 10;
    c->snapshot_bytes = 4 << 20;
    EXPECT(hosts_start_all(c) && hosts_commit(c, 10, 64));
    uint32_t at = (uint32_t)(hosts_leader(c)->id % 3);
    hosts_stop(c, at);
    for (int i = 0; i < 30; i++) EXPECT(hosts_commit(c, 20, 64));
    EXPECT_EQ(hosts_start(c, at), MANTA_OK);
    EXPECT(hosts_wait_equal(c, 610));
    EXPECT(raft_host_stats_of(c->nodes[at].host).snapshots_received >= 1);
    hosts_stop(c, at);
    EXPECT_EQ(hosts_start(c, at), MANTA_OK);
    EXPECT(c->nodes[at].count > 200); /* restored before anything came */
    EXPECT(hosts_wait_equal(c, 610));
    EXPECT_STR(c->broken, "");
    hosts_free(c);
}

/* When the leader goes, another one leads and nothing that was answered is missing, ten times over. */
TEST(leader_goes)
{
    host_cluster *c = hosts_new(3, true);
    c->options.no_sync = true;
    EXPECT(hosts_start_all(c));
    for (uint64_t round = 1; round <= 10; round++) {
        EXPECT(hosts_commit(c, 50, 64));
        uint32_t at = (uint32_t)hosts_leader(c)->id - 1;
        (void)hosts_submit(c, &c->nodes[at], 50, 64); /* may or may not survive */
        hosts_stop(c, at);
        EXPECT(hosts_commit(c, 1, 64) && hosts_leader(c)->count >= 51 * round);
        EXPECT_EQ(hosts_start(c, at), MANTA_OK);
        EXPECT(hosts_wait_equal(c, 51 * round));
    }
    EXPECT_STR(c->broken, "");
    hosts_free(c);
}

/* Asks again as long as a leader changes or is not ready yet; who asked before may have been heard. */
static bool change(host_cluster *c, raft_change_kind kind, uint64_t id)
{
    static uint64_t token;
    for (int attempt = 0; attempt < 100; attempt++) {
        if (!hosts_wait_leader(c)) return false;
        raft_host_change(hosts_leader(c)->host, kind, id, "node", ++token, os_monotonic_ns());
        if (!HOSTS_WAIT(c, c->change_token == token)) return false;
        if (c->change_result == RAFT_OK || c->change_result == (kind == RAFT_REMOVE ? RAFT_NO_SERVER : RAFT_EXISTS)) return true;
    }
    return false;
}

/* A cluster grows from one server to three and shrinks to one again, with the first server removed on the way, and loses nothing. */
TEST(grow_and_shrink)
{
    host_cluster *c = hosts_new(1, true);
    EXPECT(hosts_start_all(c) && hosts_commit(c, 100, 64));
    c->options.found = NULL;
    for (uint32_t at = 1; at < 3; at++) {
        EXPECT_EQ(hosts_start(c, at), MANTA_OK);
        EXPECT(change(c, RAFT_ADD, at + 1) && change(c, RAFT_PROMOTE, at + 1));
    }
    EXPECT(hosts_wait_equal(c, 100));
    EXPECT(change(c, RAFT_REMOVE, 1));
    hosts_stop(c, 0);
    EXPECT(hosts_commit(c, 100, 64));
    uint64_t other = hosts_leader(c)->id == 2 ? 3 : 2;
    EXPECT(change(c, RAFT_REMOVE, other));
    hosts_stop(c, (uint32_t)other - 1);
    EXPECT(hosts_commit(c, 100, 64));
    EXPECT_EQ(hosts_leader(c)->count, 300);
    hosts_free(c);
}

/* A transfer moves the leadership, and a read on the leader sees what was answered before it. */
TEST(transfer_and_read)
{
    host_cluster *c = hosts_new(3, true);
    EXPECT(hosts_start_all(c) && hosts_commit(c, 10, 64));
    host_node *before = hosts_leader(c);
    uint64_t to = before->id % 3 + 1;
    raft_host_transfer(before->host, to, os_monotonic_ns());
    EXPECT(HOSTS_WAIT(c, hosts_leader(c) && hosts_leader(c)->id == to));
    raft_host_read(c->nodes[to - 1].host, 1, os_monotonic_ns());
    EXPECT(HOSTS_WAIT(c, c->reads_ended));
    EXPECT(c->read_result == RAFT_OK && c->nodes[to - 1].count == 10);
    raft_host_read(before->host, 2, os_monotonic_ns());
    EXPECT(c->reads_ended == 2 && c->read_result == RAFT_NOT_LEADER);
    hosts_free(c);
}
