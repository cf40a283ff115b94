/*
 * Driver for test/check/cluster_drain.sh: keeps tasks under way, none of which may fail or run twice, and an actor on another node, until a file has gone.
 */
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <manta/manta.h>

enum { AT_ONCE = 12, TASK_MS = 20, LOOKS_MS = 20 };

static uint64_t node_here(void)
{
    manta_node_info n[1];
    size_t count = 0;
    return manta_list_nodes(n, 1, &count) == MANTA_OK ? n[0].node.id : 0;
}

MANTA_TASK(twice, uint64_t, (uint64_t, x)) { return manta_sleep(TASK_MS) ? 0 : 2 * x; }

MANTA_ACTOR(Keeper, uint64_t sum;)
MANTA_METHOD(Keeper, add, uint64_t, (uint64_t, x)) { return self->sum += x; }
MANTA_METHOD(Keeper, node, uint64_t) { return (void)self, node_here(); }
MANTA_CLASS(Keeper, add, node)

/* One after the other; no task is tried twice, so none may be lost. */
static void steady(const char *file)
{
    manta_uint64_t_future f[AT_ONCE];
    uint64_t n = 0, failed = 0, v;
    const manta_options *once = MANTA_OPTIONS(.max_retries = MANTA_RETRIES_NONE);
    for (; n < AT_ONCE; n++) f[n] = twice_submit_with(once, n);
    for (uint64_t i = 0; i < n; i++) {
        if (manta_get(f[i % AT_ONCE], &v) || v != 2 * i) {
            fprintf(stderr, "task %" PRIu64 ": %s\n", i, manta_last_error()->message);
            failed++;
        }
        if (access(file, F_OK) == 0) {
            f[n % AT_ONCE] = twice_submit_with(once, n);
            n++;
        }
    }
    printf("%" PRIu64 " tasks, %" PRIu64 " failed\n", n, failed);
}

/* An actor on the node with that address, until the file has gone. */
static void keep(const char *address, const char *file)
{
    manta_node_info all[16];
    size_t n = 0;
    uint64_t sum = 0;
    (void)manta_list_nodes(all, 16, &n);
    for (size_t i = 0; i < n; i++) {
        if (strcmp(all[i].address, address) != 0) continue;
        Keeper_ref k = Keeper_spawn_with(MANTA_OPTIONS(.where = MANTA_WHERE_NODE, .node = all[i].node));
        printf("kept on %s: %d\n", address, manta_await(Keeper_node(k)) == all[i].node.id);
        fflush(stdout);
        while (access(file, F_OK) == 0) {
            (void)manta_sleep(LOOKS_MS);
            if (manta_get(Keeper_add(k, 1), &sum)) printf("failed: %s\n", manta_last_error()->message);
        }
        (void)manta_stop(k.actor);
    }
    printf("%s\n", sum ? "it counted" : "it did not count");
}

int main(int argc, char **argv)
{
    manta_t *m = manta_init(&argc, &argv);
    if (!m) return 1;
    if (argc == 3 && strcmp(argv[1], "steady") == 0) steady(argv[2]);
    else if (argc == 4 && strcmp(argv[1], "keep") == 0) keep(argv[2], argv[3]);
    else fprintf(stderr, "usage: drain steady FILE | keep ADDRESS FILE\n");
    return manta_shutdown(m) == MANTA_OK ? 0 : 1;
}
