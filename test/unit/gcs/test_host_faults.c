/* Hosts whose disk is full, belongs to somebody else, or is damaged: a clear text, nothing that was answered lost, and a restart goes on. */
#include <errno.h>
#include <lmdb.h>
#include <signal.h>
#include <sys/resource.h>

#include "scheduler/os/os.h"
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

/* ---- full ---- */

/* A full map stops the host with a text that says so and how large it is; a restart with a larger one goes on. */
TEST(full_map)
{
    host_cluster *c = one();
    c->options.map_bytes = 512 << 10;
    c->options.raft.snapshot_entries = 1 << 20;
    EXPECT_EQ(hosts_start(c, 0), MANTA_OK);
    EXPECT(work(c, 5000));
    const char *why = raft_host_failure(c->nodes[0].host);
    EXPECT(why && strstr(why, "its map of 524288 bytes is full"));
    EXPECT(c->applied > 100);
    EXPECT_EQ(raft_host_next_timeout(c->nodes[0].host), UINT64_MAX);
    hosts_stop(c, 0);
    c->options.map_bytes = 0;
    EXPECT(restart_has_all(c));
    hosts_free(c);
}

/* An error that the kernel gives LMDB (here: the limit on a file's size) stops the host with its text. */
TEST(kernel_refuses)
{
    host_cluster *c = one();
    struct rlimit before, low;
    c->options.raft.snapshot_entries = 1 << 20;
    EXPECT_EQ(hosts_start(c, 0), MANTA_OK);
    EXPECT(getrlimit(RLIMIT_FSIZE, &before) == 0);
    low = (struct rlimit){300000, before.rlim_max};
    signal(SIGXFSZ, SIG_IGN);
    EXPECT(setrlimit(RLIMIT_FSIZE, &low) == 0);
    bool worked = work(c, 5000);
    EXPECT(setrlimit(RLIMIT_FSIZE, &before) == 0);
    const char *why = raft_host_failure(c->nodes[0].host);
    EXPECT(worked && why && (strstr(why, "File too large") || strstr(why, "Input/output error"))); /* the latter after half a write */
    hosts_stop(c, 0);
    EXPECT(restart_has_all(c));
    hosts_free(c);
}

/* ---- a directory that is not this server's ---- */

/* A directory in use, of another server or of another cluster is refused, and nothing in it changes. */
TEST(not_this_servers)
{
    host_cluster *c = one();
    EXPECT_EQ(hosts_start(c, 0), MANTA_OK);
    EXPECT(work(c, 100));
    memcpy(c->nodes[1].directory, c->nodes[0].directory, sizeof c->nodes[0].directory);
    EXPECT_EQ(hosts_start(c, 1), MANTA_EEXIST);
    EXPECT(strstr(c->nodes[1].text, "another process uses it"));
    hosts_stop(c, 0);
    EXPECT_EQ(hosts_start(c, 1), MANTA_ETYPE);
    EXPECT(strstr(c->nodes[1].text, "it belongs to server 1, not 2"));
    c->options.cluster = 78;
    EXPECT_EQ(hosts_start(c, 0), MANTA_ETYPE);
    EXPECT(strstr(c->nodes[0].text, "it belongs to cluster 77, not 78"));
    c->options.cluster = 0;
    c->nodes[0].id = 0;
    EXPECT_EQ(hosts_start(c, 0), MANTA_OK);
    EXPECT(raft_host_status_of(c->nodes[0].host).cluster == 77 && raft_host_status_of(c->nodes[0].host).raft.id == 1);
    hosts_stop(c, 0);
    c->nodes[0].id = 1;
    EXPECT(restart_has_all(c));
    hosts_free(c);
}

static bool put_stamp(const char *directory, const char *bytes, size_t size)
{
    MDB_env *env;
    MDB_txn *t;
    MDB_dbi state;
    MDB_val k = {5, "stamp"}, v = {size, (void *)(uintptr_t)bytes};
    if (mdb_env_create(&env) || mdb_env_set_maxdbs(env, 2) || mdb_env_open(env, directory, MDB_NOLOCK, 0600)) return false;
    bool fine =
        !mdb_txn_begin(env, NULL, 0, &t) && !mdb_dbi_open(t, "state", 0, &state) && !mdb_put(t, state, &k, &v, 0) && !mdb_txn_commit(t);
    mdb_env_close(env);
    return fine;
}

/* Another layout's version, a damaged stamp, and files that are something else are told apart and refused. */
TEST(other_layouts)
{
    host_cluster *c = one();
    host_node *n = &c->nodes[0];
    EXPECT_EQ(hosts_start(c, 0), MANTA_OK);
    hosts_stop(c, 0);
    EXPECT(put_stamp(n->directory, "MNTRAFT1\2\0\0\0", 12));
    EXPECT_EQ(hosts_start(c, 0), MANTA_ETYPE);
    EXPECT(strstr(n->text, "layout version 2, this program reads 1"));
    EXPECT(put_stamp(n->directory, "MNTRAFT1\1\0\0\0________________________", 36));
    EXPECT_EQ(hosts_start(c, 0), MANTA_EIO);
    EXPECT(strstr(n->text, "the stamp is damaged"));
    EXPECT(put_stamp(n->directory, "something", 9));
    EXPECT_EQ(hosts_start(c, 0), MANTA_ETYPE);
    char path[300], garbage[8192];
    int fd;
    memset(garbage, 'x', sizeof garbage);
    snprintf(path, sizeof path, "%s/data.mdb", n->directory);
    EXPECT(!os_file_open(path, OS_WRITE, &fd) && !os_file_write(fd, garbage, sizeof garbage, 0));
    os_file_close(fd);
    EXPECT_EQ(hosts_start(c, 0), MANTA_ETYPE);
    EXPECT(strstr(n->text, "not a Raft server's data"));
    hosts_free(c);
}

/* Options that contradict each other are refused with what is wrong. */
TEST(bad_options)
{
    host_cluster *c = hosts_new(1, false);
    host_node *n = &c->nodes[0];
    c->nodes[0].id = 9;
    EXPECT_EQ(hosts_start(c, 0), MANTA_EINVAL);
    EXPECT_STR(n->text, "founders: server 9 is not one");
    c->options.found = NULL;
    c->options.cluster = 0;
    EXPECT_EQ(hosts_start(c, 0), MANTA_ENOTFOUND);
    EXPECT_STR(n->text, "cluster is 0, and there is none on disk");
    c->options.cluster = 1;
    c->options.raft.heartbeat_ns = c->options.raft.election_ns;
    EXPECT_EQ(hosts_start(c, 0), MANTA_EINVAL);
    EXPECT(strstr(n->text, "heartbeat_ns"));
    hosts_free(c);
}

/* ---- damage ---- */

static bool keep_snapshot(const char *name, void *context)
{
    if (strncmp(name, "snapshot-", 9) != 0) return true;
    memcpy(context, name, strlen(name) + 1);
    return false;
}

static bool find_snapshot(const host_node *n, char *path, size_t room)
{
    char name[300] = "";
    if (os_directory_list(n->directory, keep_snapshot, name)) return false;
    snprintf(path, room, "%s/%s", n->directory, name);
    return name[0];
}

static bool flip(const char *path, uint64_t at)
{
    int fd;
    unsigned char byte;
    if (os_file_open(path, OS_WRITE, &fd)) return false;
    bool fine = !os_file_read(fd, &byte, 1, at);
    byte ^= 0x20;
    fine = fine && !os_file_write(fd, &byte, 1, at);
    os_file_close(fd);
    return fine;
}

/* A snapshot's file that is damaged anywhere, cut or gone is refused with file and byte, and read again once it is whole. */
TEST(damaged_snapshot)
{
    static const uint64_t places[] = {0, 9, 20, 40, 63, 64, 70000, 64 + 100024, 64 + 100024 + 4};
    host_cluster *c = one();
    host_node *n = &c->nodes[0];
    char path[600], moved[700];
    EXPECT_EQ(hosts_start(c, 0), MANTA_OK);
    EXPECT(work(c, 200) && HOSTS_WAIT(c, raft_host_stats_of(n->host).snapshots_taken));
    hosts_stop(c, 0);
    EXPECT_EQ(hosts_start(c, 0), MANTA_OK); /* removes one that was finished and did not count yet */
    hosts_stop(c, 0);
    EXPECT(find_snapshot(n, path, sizeof path));
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        EXPECT(flip(path, places[i]));
        EXPECT_EQ(hosts_start(c, 0), MANTA_EIO);
        EXPECT(strstr(n->text, "/snapshot-") && strstr(n->text, "byte ") && strstr(n->text, "damaged"));
        EXPECT(flip(path, places[i]));
    }
    snprintf(moved, sizeof moved, "%s.away", path);
    EXPECT(rename(path, moved) == 0);
    EXPECT_EQ(hosts_start(c, 0), MANTA_EIO);
    EXPECT(strstr(n->text, "No such file"));
    hosts_free(c);
}

static uint64_t find_bytes(const char *path, const void *bytes, size_t size)
{
    int fd;
    uint64_t all = 0, at = 0;
    if (os_file_open(path, OS_READ, &fd) || os_file_size(fd, &all)) return 0;
    unsigned char *content = malloc(all);
    if (!os_file_read(fd, content, all, 0)) at = (uint64_t)((unsigned char *)memmem(content, all, bytes, size) - content);
    free(content);
    os_file_close(fd);
    return at < all ? at : 0;
}

/* An entry whose bytes changed on disk is an error that names it: it is not applied, and nobody is told that it is there. */
TEST(damaged_entry)
{
    host_cluster *c = one();
    host_node *n = &c->nodes[0];
    unsigned char pattern[400];
    char path[300];
    EXPECT_EQ(hosts_start(c, 0), MANTA_OK);
    EXPECT(work(c, 10));
    hosts_stop(c, 0);
    for (size_t i = 0; i < sizeof pattern; i++) pattern[i] = (unsigned char)(1 + i);
    snprintf(path, sizeof path, "%s/data.mdb", n->directory);
    uint64_t at = find_bytes(path, pattern, sizeof pattern);
    EXPECT(at && flip(path, at + 100));
    EXPECT_EQ(hosts_start(c, 0), MANTA_EIO);
    EXPECT(strstr(n->text, "entry ") && strstr(n->text, " is damaged"));
    hosts_free(c);
}

/* Snapshot files that do not count (a server died while it wrote them) are removed at the start. */
TEST(strays_go)
{
    host_cluster *c = one();
    host_node *n = &c->nodes[0];
    char path[600];
    int fd;
    EXPECT_EQ(hosts_start(c, 0), MANTA_OK);
    hosts_stop(c, 0);
    snprintf(path, sizeof path, "%s/snapshot-99-0123456789abcdef", n->directory);
    EXPECT(!os_file_open(path, OS_WRITE | OS_CREATE, &fd));
    os_file_close(fd);
    EXPECT_EQ(hosts_start(c, 0), MANTA_OK);
    EXPECT(!find_snapshot(n, path, sizeof path));
    hosts_free(c);
}

/* ---- messages ---- */

/* Messages of another cluster and garbage are counted and change nothing. */
TEST(bad_messages)
{
    host_cluster *c = hosts_new(3, false);
    EXPECT_EQ(hosts_start(c, 0), MANTA_OK);
    unsigned char bytes[100] = {78};
    for (uint32_t size = 0; size <= sizeof bytes; size++) {
        raft_buffer *b = raft_buffer_new(bytes, size);
        bytes[0] = size % 2 ? 77 : 78;
        raft_host_receive(c->nodes[0].host, b, os_monotonic_ns());
        raft_buffer_release(b);
    }
    raft_host_stats stats = raft_host_stats_of(c->nodes[0].host);
    EXPECT(stats.messages_in == 101 && stats.bad_messages == 101);
    EXPECT_EQ(raft_host_status_of(c->nodes[0].host).raft.term, 1);
    hosts_free(c);
}

/* A snapshot that comes damaged from a leader is not restored and does not count: the host stops, and takes a good one after its restart. */
TEST(damaged_on_the_way)
{
    host_cluster *c = hosts_new(3, true);
    c->options.raft.snapshot_entries = 50;
    c->options.raft.trailing_entries = 5;
    c->snapshot_bytes = 5000;
    EXPECT(hosts_start_all(c) && hosts_wait_leader(c));
    uint32_t at = (uint32_t)(hosts_leader(c)->id % 3);
    hosts_stop(c, at);
    for (int i = 0; i < 30; i++) EXPECT(hosts_commit(c, 10, 64));
    c->flip_byte = 1000;
    EXPECT_EQ(hosts_start(c, at), MANTA_OK);
    EXPECT(HOSTS_WAIT(c, raft_host_failure(c->nodes[at].host)));
    EXPECT(strstr(raft_host_failure(c->nodes[at].host), "came damaged"));
    c->flip_byte = 0;
    hosts_stop(c, at);
    EXPECT_EQ(hosts_start(c, at), MANTA_OK);
    EXPECT(hosts_wait_equal(c, 300));
    EXPECT_EQ(raft_host_stats_of(c->nodes[at].host).snapshots_received, 1);
    hosts_free(c);
}
