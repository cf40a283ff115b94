/* Hosts on disk: what was answered is there after a restart. */
#include "test/support/raft_hosts.h"
#include "test/support/test.h"

/* A server that is stopped and started again has all that it answered, with and without snapshots. */
TEST(restart)
{
    host_cluster *c = hosts_new(1, true);
    c->options.raft.snapshot_entries = 300;
    c->options.raft.trailing_entries = 20;
    c->snapshot_bytes = 200000;
    for (int round = 0; round < 8; round++) {
        EXPECT_EQ(hosts_start(c, 0), MANTA_OK);
        for (int i = 0; i < 10; i++) EXPECT(hosts_commit(c, 20, (uint32_t)(10 + 700 * i)));
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
    for (uint32_t round = 0; round < 9; round++) {
        hosts_stop(c, round % 3);
        for (int i = 0; i < 10; i++) EXPECT(hosts_commit(c, 20, 64));
        EXPECT_EQ(hosts_start(c, round % 3), MANTA_OK);
        EXPECT(hosts_wait_equal(c, 200 * (round + 1)));
    }
    EXPECT_STR(c->broken, "");
    hosts_free(c);
}
