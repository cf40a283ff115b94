/*
 * Supervision over a cluster: each child is in a process of its own, on the node with least to do. Alone (`supervisor_cluster`) all are in this process.
 *
 * The program kills its children, as a machine that fails would: by SIGKILL when they are elsewhere. Their supervisor starts each again where there is room, under the same name, and callers find it by that. Run it on a
 * cluster by `manta run supervisor_cluster`.
 */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include <manta/manta.h>

enum { SHARDS = 3, PATIENCE = 5000 };

/* Sums what it is told; its state is lost with it. */
MANTA_ACTOR(Shard, int64_t number; int64_t sum;)
MANTA_METHOD(Shard, init, void, (int64_t, number)) { self->number = number; }
MANTA_METHOD(Shard, add, int64_t, (int64_t, by)) { return self->sum += by; }
MANTA_METHOD(Shard, pid, int64_t) { return (void)self, (int64_t)getpid(); }
MANTA_CLASS(Shard, init, add, pid)

static manta_actor start(void)
{
    static const char *const names[SHARDS] = {"shard-1", "shard-2", "shard-3"};
    manta_child_spec specs[SHARDS];
    manta_actor supervisor = {0};
    for (int i = 0; i < SHARDS; i++)
        specs[i] = Shard_child(
            MANTA_CHILD(.id = names[i], .spawn = MANTA_OPTIONS(.name = names[i], .where = MANTA_WHERE_SPREAD, .isolated = true)), i + 1);
    if (manta_supervisor_start(MANTA_SUPERVISOR(.intensity = 10, .backoff_min_ms = 10, .backoff_max_ms = 500), specs, SHARDS, &supervisor))
        fprintf(stderr, "start: %s\n", manta_last_error()->message);
    return supervisor;
}

/* Asks whoever has the name now, until somebody answers. */
static int64_t add(const char *name, int64_t by)
{
    manta_actor a;
    int64_t sum = -1;
    for (int i = 0; i < PATIENCE; i++) {
        if (manta_lookup(name, &a) == MANTA_OK && manta_get(Shard_add(Shard_ref_of(a), by), &sum) == MANTA_OK) break;
        manta_sleep(1);
    }
    return sum;
}

static void kill_it(const char *name)
{
    manta_actor a;
    int64_t pid;
    if (manta_lookup(name, &a) != MANTA_OK || manta_get(Shard_pid(Shard_ref_of(a)), &pid) != MANTA_OK) return;
    if (pid == getpid()) (void)manta_kill(a);
    else (void)kill((pid_t)pid, SIGKILL);
    (void)manta_wait_exit(a, PATIENCE, NULL);
}

int main(int argc, char **argv)
{
    manta_t *m = manta_init(&argc, &argv);
    manta_actor supervisor = m ? start() : (manta_actor){0};
    if (!supervisor.id) return 1;

    for (int i = 1; i <= 3; i++) printf("shard-1 has %" PRId64 "\n", add("shard-1", 10));
    kill_it("shard-1");
    printf("killed, and started again: shard-1 has %" PRId64 "\n", add("shard-1", 10));
    printf("the others were left alone: shard-2 has %" PRId64 "\n", add("shard-2", 5));
    int64_t sum = 0;
    for (int i = 0; i < 3; i++) {
        kill_it("shard-2");
        sum = add("shard-2", 5);
    }
    printf("killed three times: shard-2 has %" PRId64 "\n", sum);

    manta_child_info children[SHARDS];
    size_t count = 0;
    if (manta_supervisor_children(supervisor, children, SHARDS, &count) == MANTA_OK)
        for (size_t i = 0; i < count; i++) printf("%s: %" PRIu32 " restarts\n", children[i].id, children[i].restarts);
    return manta_shutdown(m) == MANTA_OK ? 0 : 1;
}
