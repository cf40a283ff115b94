/* Hosts with a disk call, a commit or an allocation that fails, each in its turn: a clear text, nothing that was answered lost, and a restart goes on. */
#include <errno.h>

#include "scheduler/base/alloc.h"
#include "scheduler/os/os_file.h"
#include "test/support/raft_hosts.h"
#include "test/support/test.h"

static host_cluster *one(void)
{
    host_cluster *c = hosts_new(1, true);
    c->options.raft.snapshot_entries = 40;
    c->options.raft.trailing_entries = 4;
    c->snapshot_bytes = 100000;
    return c;
}

/* Submits until `commands` are applied or the host stops. False: neither came. */
static bool work(host_cluster *c, uint32_t commands)
{
    host_node *n = &c->nodes[0];
    for (uint32_t i = 0; i < commands / 10; i++) {
        if (!HOSTS_WAIT(c, hosts_leader(c) || raft_host_failure(n->host))) return false;
        uint64_t token = hosts_submit(c, n, 10, 500);
        if (!HOSTS_WAIT(c, c->tokens[token + 9] != TOKEN_WAITS)) return false;
        if (raft_host_failure(n->host)) return true;
    }
    return true;
}

/* Starts without faults and sees that all that was answered is there, and that it goes on. */
static bool restart_has_all(host_cluster *c)
{
    if (hosts_start(c, 0)) return false;
    bool fine = HOSTS_WAIT(c, hosts_leader(c)) && c->nodes[0].count >= c->applied && work(c, 100);
    fine &= !raft_host_failure(c->nodes[0].host) && !c->broken[0];
    hosts_stop(c, 0);
    return fine;
}

/* Whichever disk call or commit fails: the start is refused or the host stops, with a text; what was answered is there after a restart. */
TEST(every_disk_call_fails)
{
    uint64_t n = 1, stops = 0, refusals = 0;
    for (bool failed = true; failed; n++) {
        host_cluster *c = one();
        c->options.no_sync = true;
        EXPECT_EQ(hosts_start(c, 0), MANTA_OK);
        EXPECT(work(c, 60));
        hosts_stop(c, 0);
        c->options.no_sync = false;
        os_file_fail_at(n, ENOSPC);
        manta_status status = hosts_start(c, 0);
        if (!status) EXPECT(work(c, 50));
        const char *why = status ? c->nodes[0].text : raft_host_failure(c->nodes[0].host);
        failed = os_file_has_failed();
        c->options.no_sync = true;
        os_file_fail_at(0, 0);
        if (why) EXPECT(strstr(why, "No space left on device") && strstr(why, c->directory));
        refusals += status != MANTA_OK;
        stops += !status && why;
        hosts_stop(c, 0);
        EXPECT(restart_has_all(c));
        hosts_free(c);
    }
    EXPECT(n > 20 && stops > 10 && refusals > 4);
}

/* Whichever allocation fails: the start is refused, the host stops with a text, or it goes on; a restart has all that was answered. */
TEST(every_allocation_fails)
{
    uint64_t n = 1, stops = 0, refusals = 0;
    for (bool failed = true; failed; n++) {
        host_cluster *c = one();
        c->options.no_sync = true;
        EXPECT_EQ(hosts_start(c, 0), MANTA_OK);
        EXPECT(work(c, 60));
        hosts_stop(c, 0);
        base_alloc_fail_at(n);
        manta_status status = hosts_start(c, 0);
        if (!status) EXPECT(work(c, 60));
        const char *why = status ? c->nodes[0].text : raft_host_failure(c->nodes[0].host);
        failed = base_alloc_has_failed();
        base_alloc_fail_at(0);
        if (why) EXPECT(strstr(why, "memory") || strstr(why, "Cannot allocate"));
        refusals += status != MANTA_OK;
        stops += !status && why;
        hosts_stop(c, 0);
        EXPECT(restart_has_all(c));
        hosts_free(c);
    }
    EXPECT(n > 30 && stops > 3 && refusals > 4);
}
