/*
 * Drivers for test/check/cluster_args.sh: what the processes of a node have in common.
 *
 *   node replicas: tasks on one node, and a driver there, that get an object of another pull it once     node store: prints the object store that this driver uses
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <manta/manta.h>

enum { SIZE = 8 << 20, AT_ONCE = 4 };

static uint64_t node_here(void)
{
    manta_node_info n[1];
    size_t count = 0;
    return manta_list_nodes(n, 1, &count) == MANTA_OK ? n[0].node.id : 0;
}

static void wait_ms(long ms)
{
    struct timespec t = {ms / 1000, ms % 1000 * 1000000};
    (void)nanosleep(&t, NULL);
}

MANTA_TASK(make, manta_ref)
{
    manta_ref ref = {{0, 0}};
    void *data;
    if (manta_create(SIZE, &ref, &data)) return ref;
    memset(data, 7, SIZE);
    (void)manta_seal(ref);
    return ref;
}

/* Holds its thread until all are there, so that each is in a process of its own; then gets the object. What this process has pulled; 0: it got something else. */
MANTA_STRUCT(Seen, (int64_t, pid), (uint64_t, pulled), (uint64_t, node), (bool, ok))
MANTA_TASK(look, Seen, (manta_ref, ref))
{
    manta_object o;
    manta_object_stats s = {.bytes_in = 0};
    wait_ms(500);
    bool ok = manta_object_get(ref, 20000, &o) == MANTA_OK && o.size == SIZE && ((const char *)o.data)[SIZE - 1] == 7;
    wait_ms(500); /* the others are at it, too */
    (void)manta_read_object_stats(&s);
    return (Seen){(int64_t)getpid(), s.bytes_in, node_here(), ok};
}

static uint64_t pulled_here(void)
{
    manta_object_stats s = {.bytes_in = 0};
    return manta_read_object_stats(&s) ? 0 : s.bytes_in;
}

/* An object of one node, needed by tasks on the other at once, and by this driver, when it is there. True: all had it, and it was pulled once. */
static bool pulled_once(manta_node_info from, manta_node_info to)
{
    manta_Seen_future f[AT_ONCE];
    manta_object o;
    bool ok = true, too = to.is_here;
    uint64_t sum = 0, before = pulled_here();
    int processes = 0;
    manta_ref ref = manta_await(make_submit_with(MANTA_OPTIONS(.where = MANTA_WHERE_NODE, .node = from.node)));
    for (int i = 0; i < AT_ONCE; i++) f[i] = look_submit_with(MANTA_OPTIONS(.where = MANTA_WHERE_NODE, .node = to.node), ref);
    wait_ms(500);
    if (too) ok = manta_object_get(ref, 20000, &o) == MANTA_OK && o.size == SIZE;
    int64_t pids[AT_ONCE];
    for (int i = 0; i < AT_ONCE; i++) {
        Seen seen = manta_await(f[i]);
        ok = ok && seen.ok && seen.node == to.node.id;
        sum += seen.pulled;
        pids[i] = seen.pid;
        bool fresh = true;
        for (int k = 0; k < i; k++) fresh = fresh && pids[k] != seen.pid;
        processes += fresh;
    }
    sum += pulled_here() - before;
    printf("%d processes pulled %" PRIu64 " times the size\n", processes + too, sum / SIZE);
    return ok && processes == AT_ONCE && sum == SIZE;
}

static int replicas(void)
{
    manta_node_info nodes[4];
    size_t n = 0;
    if (manta_list_nodes(nodes, 4, &n) || n < 2) return 1;
    return pulled_once(nodes[0], nodes[1]) && pulled_once(nodes[1], nodes[0]) ? 0 : 1;
}

static int store(void)
{
    manta_object_stats here;
    manta_ref ref = manta_await(make_submit_with(MANTA_OPTIONS(.where = MANTA_WHERE_NODE, .node = {node_here()})));
    manta_object o;
    int ok = manta_object_get(ref, 20000, &o) == MANTA_OK && manta_read_object_stats(&here) == MANTA_OK;
    printf("%s bytes came from the worker\n", ok && here.bytes_in == 0 && here.replicas == 0 ? "no" : "all");
    return ok ? 0 : 1;
}

int main(int argc, char **argv)
{
    manta_t *m = manta_init(&argc, &argv);
    if (!m || argc < 2) return 2;
    int code = strcmp(argv[1], "store") == 0 ? store() : replicas();
    fflush(stdout);
    return manta_shutdown(m) || code;
}
