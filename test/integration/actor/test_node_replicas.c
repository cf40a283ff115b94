/* Processes of one store that need the same object of another process: one fetches it for all, whoever dies. */
#include "objstore/store.h"
#include "test/support/actors.h"
#include "test/support/child.h"

enum { WORKERS = 4 };

static void fill(void *to, size_t size)
{
    unsigned char *at = to;
    for (size_t i = 0; i < size; i++) at[i] = (unsigned char)(i * 31 + (i >> 16));
}

static bool is_filled(const void *data, size_t size)
{
    const unsigned char *at = data;
    for (size_t i = 0; i < size; i++)
        if (at[i] != (unsigned char)(i * 31 + (i >> 16))) return false;
    return true;
}

MANTA_TASK(check, bool, (manta_object, o), (uint64_t, size)) { return o.size == size && is_filled(o.data, o.size); }
/* This process goes on having it: one that comes late finds it in the store. */
MANTA_TASK(check_and_keep, bool, (manta_object, o), (uint64_t, size))
{
    return manta_retain(o.ref) == MANTA_OK && o.size == size && is_filled(o.data, o.size);
}
MANTA_TASK(let_go, bool, (manta_ref, ref)) { return manta_release(ref) == MANTA_OK; }
/* Within a second, unless it has to be pulled by who stands still. */
MANTA_TASK(comes, bool, (manta_ref, ref))
{
    manta_object o;
    return manta_object_get(ref, 1000, &o) == MANTA_OK;
}
MANTA_TASK(check_inside, bool, (manta_object, o), (uint64_t, size))
{
    manta_ref ref;
    size_t n;
    manta_object leaf;
    return manta_object_inside(o.ref, MANTA_FOREVER, &ref, 1, &n) == MANTA_OK && n == 1 &&
           manta_object_get(ref, MANTA_FOREVER, &leaf) == MANTA_OK && leaf.size == size && is_filled(leaf.data, leaf.size);
}

MANTA_ACTOR(Keeper, manta_ref ref; uint64_t saw;)
MANTA_METHOD(Keeper, init, void, (manta_object, o), (manta_ref, ref))
{
    self->saw = is_filled(o.data, o.size) ? o.size : 0;
    self->ref = ref;
    if (manta_retain(ref)) manta_fail(MANTA_ESTALE, "the ref is gone");
}
MANTA_METHOD(Keeper, saw, uint64_t) { return self->saw; }
MANTA_METHOD(Keeper, drop, void) { (void)manta_release(self->ref); }
MANTA_CLASS(Keeper, init, saw, drop)

MANTA_TASK(pulled, uint64_t)
{
    manta_object_stats s;
    return manta_read_object_stats(&s) ? 0 : s.bytes_in;
}
MANTA_TASK(in_store, uint64_t)
{
    manta_object_stats s;
    return manta_read_object_stats(&s) ? 999 : s.bytes;
}
MANTA_TASK(objects_there, uint64_t)
{
    manta_object_stats s;
    return manta_read_object_stats(&s) ? 999 : s.objects;
}

/* argument: the store, the address. A process of the node; serves until the parent closes the socket or kills it. */
CHILD(worker)
{
    char place[64], address[128], byte, text[256] = "";
    if (sscanf(argument, "%63s %127s", place, address) != 2) _exit(2);
    manta_config c = {.size = sizeof c, .workers = 2, .listen = address, .store = place, .object_bytes = 256 << 20};
    manta_t *m = manta_init_with(&c);
    if (!m) _exit(3);
    snprintf(text, sizeof text, "%s", manta_listen_address(0));
    if (write(parent, text, sizeof text) != sizeof text) _exit(5);
    while (recv(parent, &byte, 1, 0) == 1) continue;
    _exit(manta_shutdown(m) == MANTA_OK ? 0 : 6);
}

typedef struct node { /* this system, apart, and the processes of a node */
    manta_t *system;
    char store[64];
    child_process child[WORKERS];
    manta_process there[WORKERS];
} node;

static bool node_start(node *n)
{
    static int count;
    char argument[256], listen[64], text[256];
    memset(n, 0, sizeof *n);
    snprintf(n->store, sizeof n->store, "/dev/shm/manta-test-node-%d-%d", (int)getpid(), count++);
    snprintf(listen, sizeof listen, "ipc:///tmp/manta-test-node-%d-%d", (int)getpid(), count++);
    manta_config c = {.size = sizeof c, .workers = 2, .listen = listen};
    if (!(n->system = manta_init_with(&c)) || manta_scope_begin()) return false;
    for (int i = 0; i < WORKERS; i++) {
        snprintf(argument, sizeof argument, "%s ipc:///tmp/manta-test-node-%d-%d", n->store, (int)getpid(), count++);
        n->child[i] = child_start("worker", argument);
        if (!child_hear(n->child[i].fd, text, sizeof text) || manta_connect(text, 20000, &n->there[i])) return false;
    }
    return true;
}

static uint64_t objects_here(void)
{
    manta_object_stats s;
    return manta_read_object_stats(&s) ? 999 : s.objects + s.held;
}

/* Nothing is left, here and there. */
static bool node_stop(node *n, int killed)
{
    (void)manta_scope_end();
    int alive = killed == 0;
    bool ok = WAIT_FOR(objects_here() == 0, 20);
    ok = WAIT_FOR(manta_await(objects_there_submit_with(MANTA_OPTIONS(.process = n->there[alive]))) == 0, 20) && ok;
    if (!ok) fprintf(stderr, "objects are left\n");
    ok = manta_shutdown(n->system) == MANTA_OK && ok;
    for (int i = 0; i < WORKERS; i++) {
        if (i == killed) continue;
        shutdown(n->child[i].fd, SHUT_RDWR);
        ok = child_end(&n->child[i], 0) == 0 && ok;
    }
    return store_destroy(n->store) == MANTA_OK && ok;
}

static manta_ref put(size_t size)
{
    manta_ref ref = {{0, 0}};
    void *data;
    if (manta_create(size, &ref, &data)) return ref;
    fill(data, size);
    (void)manta_seal(ref);
    return ref;
}

static uint64_t pulled_by(const node *n, int i) { return manta_await(pulled_submit_with(MANTA_OPTIONS(.process = n->there[i]))); }

static uint64_t pulled_by_all(const node *n)
{
    uint64_t sum = 0;
    for (int i = 0; i < WORKERS; i++) sum += pulled_by(n, i);
    return sum;
}

static manta_bool_future check_by(const node *n, int i, manta_ref ref, size_t size)
{
    return check_and_keep_submit_with(MANTA_OPTIONS(.process = n->there[i]), manta_object_of(ref), size);
}

static bool let_go_by(const node *n, int i, manta_ref ref)
{
    return manta_await(let_go_submit_with(MANTA_OPTIONS(.process = n->there[i]), ref));
}

static bool all_check(const node *n, manta_ref ref, size_t size)
{
    manta_bool_future f[WORKERS];
    bool ok = true;
    for (int i = 0; i < WORKERS; i++) f[i] = check_by(n, i, ref, size);
    for (int i = 0; i < WORKERS; i++) ok = manta_await(f[i]) && ok;
    for (int i = 0; i < WORKERS; i++) ok = let_go_by(n, i, ref) && ok;
    return ok;
}

/* Four processes of a node that get the same object at once, and one after the other, pull it once; the store has its bytes once; all let go in the end. */
TEST(one_pull)
{
    node n;
    size_t size = (size_t)test_scaled(8 << 20);
    EXPECT(node_start(&n));
    manta_ref ref = put(size), other = put(size);
    EXPECT(all_check(&n, ref, size));
    EXPECT_EQ(pulled_by_all(&n), size);
    Keeper_ref k = Keeper_spawn_with(MANTA_OPTIONS(.process = n.there[0]), manta_object_of(other), other);
    EXPECT(k.actor.id && manta_await(Keeper_saw(k)) == size);
    for (int i = 0; i < WORKERS; i++)
        EXPECT(manta_await(check_submit_with(MANTA_OPTIONS(.process = n.there[i]), manta_object_of(other), size)));
    EXPECT_EQ(pulled_by_all(&n), 2 * size);
    EXPECT(manta_await(in_store_submit_with(MANTA_OPTIONS(.process = n.there[0]))) <= 2 * size);
    EXPECT_EQ(manta_join(Keeper_drop(k)), MANTA_OK);
    EXPECT(node_stop(&n, -1));
}

/* What is in an object is each process's own: such objects arrive whole in all of them. */
TEST(refs_inside)
{
    node n;
    size_t size = 300000;
    EXPECT(node_start(&n));
    manta_ref leaf = put(size), top;
    char *large = calloc(1, size);
    EXPECT_EQ(manta_put_with(large, size, &leaf, 1, &top), MANTA_OK);
    free(large);
    manta_bool_future f[WORKERS];
    for (int i = 0; i < WORKERS; i++) f[i] = check_inside_submit_with(MANTA_OPTIONS(.process = n.there[i]), manta_object_of(top), size);
    for (int i = 0; i < WORKERS; i++) EXPECT(manta_await(f[i]));
    EXPECT(node_stop(&n, -1));
}

/* Process 0 stands still in the middle of a pull, and the others wait for it; false: it was through already. */
static bool stop_in_pull(const node *n, manta_ref ref, size_t size, manta_bool_future f[WORKERS])
{
    uint64_t before = pulled_by(n, 0);
    f[0] = check_by(n, 0, ref, size);
    if (!WAIT_FOR(pulled_by(n, 0) != before, 20)) return false;
    kill(n->child[0].pid, SIGSTOP);
    for (int i = 1; i < WORKERS; i++) f[i] = check_by(n, i, ref, size);
    if (!manta_await(comes_submit_with(MANTA_OPTIONS(.process = n->there[1]), ref))) return true;
    kill(n->child[0].pid, SIGCONT);
    for (int i = 0; i < WORKERS; i++) (void)manta_await(f[i]);
    for (int i = 0; i < WORKERS; i++) (void)let_go_by(n, i, ref);
    return false;
}

/* The process that pulls for the node is killed: one of those who wait for it pulls, and all the others have the object. */
TEST(puller_killed)
{
    node n;
    size_t size = (size_t)test_scaled(96 << 20);
    manta_bool_future f[WORKERS];
    bool b, stopped = false;
    EXPECT(node_start(&n));
    for (int i = 0; i < 20 && !stopped; i++) {
        EXPECT_EQ(manta_scope_begin(), MANTA_OK);
        manta_ref ref = put(size);
        if ((stopped = stop_in_pull(&n, ref, size, f))) {
            EXPECT_EQ(child_end(&n.child[0], SIGKILL), SIGKILL);
            EXPECT_EQ(manta_get(f[0], &b), MANTA_EUNKNOWN);
            for (int k = 1; k < WORKERS; k++) EXPECT(manta_await(f[k]));
            uint64_t sum = 0;
            for (int k = 1; k < WORKERS; k++) sum += pulled_by(&n, k);
            EXPECT_EQ(sum, size);
            for (int k = 1; k < WORKERS; k++) EXPECT(let_go_by(&n, k, ref));
        }
        EXPECT_EQ(manta_scope_end(), MANTA_OK);
    }
    EXPECT(stopped);
    EXPECT(node_stop(&n, 0));
}
