/* Objects of real processes that share no store: they travel whole, once, to those who need them, and nothing stays behind. */
#include <fcntl.h>

#include "objstore/store.h"
#include "scheduler/base/alloc.h"
#include "test/support/actors.h"
#include "test/support/child.h"
#include "test/support/cut_proxy.h"

/* libzmq 4.3.4 does not free the first part of a message (up to 18 KB) of which the second has not come when this side closes the connection, as it does here when memory is out. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:libzmq.so\nleak:libstdc++.so";
} /* ZeroMQ is the only C++ here; clang sees no further than its new */

/* ---- what all processes know ---- */

static uint64_t word_of(uint64_t seed, size_t i) { return (seed + i) * 0x9e3779b97f4a7c15u ^ (seed << 17); }

static void fill(void *to, size_t size, uint64_t seed)
{
    unsigned char *at = to;
    for (size_t i = 0; i < size; i += 8) {
        uint64_t x = word_of(seed, i);
        memcpy(at + i, &x, size - i < 8 ? size - i : 8);
    }
}

static bool is_filled(const void *data, size_t size, uint64_t seed)
{
    const unsigned char *at = data;
    for (size_t i = 0; i < size; i += 8) {
        uint64_t x = word_of(seed, i);
        if (memcmp(at + i, &x, size - i < 8 ? size - i : 8) != 0) return false;
    }
    return true;
}

MANTA_TASK(check, bool, (manta_object, o), (uint64_t, size), (uint64_t, seed)) { return o.size == size && is_filled(o.data, o.size, seed); }
MANTA_TASK(produce, manta_ref, (uint64_t, size), (uint64_t, seed))
{
    manta_ref ref = {{0}};
    void *data;
    manta_status status = manta_create(size, &ref, &data);
    if (status) return manta_fail(status, "%s", manta_last_error()->message), ref;
    fill(data, size, seed);
    (void)manta_seal(ref);
    return ref;
}

MANTA_ACTOR(Keeper, manta_ref ref;)
MANTA_METHOD(Keeper, keep, void, (manta_ref, ref))
{
    self->ref = ref;
    if (manta_retain(ref)) manta_fail(MANTA_ESTALE, "the ref is gone");
}
MANTA_METHOD(Keeper, kept, manta_ref) { return self->ref; }
MANTA_METHOD(Keeper, drop, void) { (void)manta_release(self->ref); }
MANTA_METHOD(Keeper, size, uint64_t)
{
    manta_object o;
    manta_status status = manta_object_get(self->ref, MANTA_FOREVER, &o);
    if (status) manta_fail(status, "%s", manta_last_error()->message);
    return status ? 0 : o.size;
}
MANTA_METHOD(Keeper, objects, uint64_t)
{
    (void)self;
    manta_object_stats s;
    return manta_read_object_stats(&s) ? 999 : s.objects;
}
MANTA_METHOD_DECLARE(Keeper, pass, void, (manta_actor, to))
/* Bytes of the leaves of a tree of three; their refs taken from the bytes, or asked for. */
MANTA_METHOD(Keeper, leaves, uint64_t, (bool, from_bytes))
{
    manta_ref middle, leaf[3];
    size_t n;
    manta_object o;
    uint64_t total = 0;
    manta_status status = manta_object_inside(self->ref, MANTA_FOREVER, &middle, 1, &n);
    if (from_bytes && !status && !(status = manta_object_get(self->ref, MANTA_FOREVER, &o))) memcpy(&middle, o.data, sizeof middle);
    if (!status) status = manta_object_inside(middle, MANTA_FOREVER, leaf, 3, &n);
    if (from_bytes && !status && !(status = manta_object_get(middle, MANTA_FOREVER, &o))) memcpy(leaf, o.data, sizeof leaf);
    for (uint64_t i = 0; i < 3 && !status; i++) {
        if ((status = manta_object_get(leaf[i], MANTA_FOREVER, &o))) break;
        if (is_filled(o.data, o.size, i) && manta_contains(leaf[i]) && !manta_retain(leaf[i]) && !manta_release(leaf[i])) total += o.size;
    }
    if (status) manta_fail(status, "%s", manta_last_error()->message);
    return total;
}
MANTA_CLASS(Keeper, keep, kept, drop, size, objects, pass, leaves)
MANTA_METHOD_DEFINE(Keeper, pass, void, (manta_actor, to))
{
    if (manta_join(Keeper_keep(Keeper_ref_of(to), self->ref))) manta_fail(MANTA_EFAILED, "%s", manta_last_error()->message);
}

MANTA_ACTOR(Slow, bool goes;)
MANTA_METHOD(Slow, go, void) { self->goes = true; }
MANTA_METHOD(Slow, answer, manta_str, (bool, fails))
{
    while (!self->goes) (void)manta_sleep(1);
    self->goes = false;
    if (fails) manta_fail(MANTA_ELIMIT, "not to be had");
    return manta_str_of("abc");
}
MANTA_CLASS_WITH(Slow, (.concurrency = 4), go, answer)
MANTA_TASK(packed_size, uint64_t, (manta_object, o)) { return o.size; }

MANTA_STRUCT(Cargo, (manta_ref, ref), (manta_str, label), (manta_object, object))
/* Counts what its constructor was given right; fails, or kills its process, when told to. */
MANTA_ACTOR(Born, uint32_t right;)
MANTA_METHOD(Born, init, void, (int32_t, how), (uint64_t, size), (manta_object, o), (Cargo, cargo))
{
    if (how == 1) manta_fail(MANTA_EINVAL, "not today");
    if (how == 2) kill(getpid(), SIGKILL);
    manta_object later;
    self->right += o.size == size && is_filled(o.data, size, 3);
    self->right += cargo.object.size == size && is_filled(cargo.object.data, size, 3);
    self->right += manta_object_get(cargo.ref, MANTA_FOREVER, &later) == MANTA_OK && is_filled(later.data, later.size, 3);
    self->right += cargo.label.size == 6 && memcmp(cargo.label.data, "a tree", 6) == 0;
}
MANTA_METHOD(Born, right, uint32_t) { return self->right; }
MANTA_CLASS(Born, init, right)

/* argument: the store or "-", the address, room for objects. Serves until the parent closes the socket or kills it. */
CHILD(server)
{
    char place[64], address[128], byte, text[256] = "";
    unsigned long long room;
    if (sscanf(argument, "%63s %127s %llu", place, address, &room) != 3) _exit(2);
    manta_config c = {.size = sizeof c, .workers = 2, .listen = address, .store = strcmp(place, "-") ? place : NULL, .object_bytes = room};
    manta_t *m = manta_init_with(&c);
    if (!m || manta_register("keeper", Keeper_spawn().actor)) _exit(3);
    snprintf(text, sizeof text, "%s", manta_listen_address(0));
    if (write(parent, text, sizeof text) != sizeof text) _exit(5);
    while (recv(parent, &byte, 1, 0) == 1) continue;
    _exit(manta_shutdown(m) == MANTA_OK ? 0 : 6);
}

enum { OTHERS = 8 };
typedef struct group { /* this system and others that it has joined */
    manta_t *system;
    int count;
    child_process child[OTHERS];
    manta_process there[OTHERS];
    Keeper_ref keeper[OTHERS];
    char store[OTHERS][64], address[OTHERS][256];
} group;

typedef struct setup {
    int count;
    bool tcp, stores, is_apart; /* stores: each process has a store on tmpfs; else a table. is_apart: not connected to */
    uint64_t room, room_there;
} setup;

static const char *own_name(const char *what, char out[64])
{
    static int n;
    snprintf(out, 64, "%s%d-%d", what, (int)getpid(), n++);
    return out;
}

static bool start_other(group *g, const setup *s, int i)
{
    char argument[256], *text = g->address[i], *place = g->store[i], address[64];
    own_name("/dev/shm/manta-test-remote-", place);
    if (s->tcp) snprintf(address, sizeof address, "tcp://127.0.0.1:0");
    else own_name("ipc:///tmp/manta-test-", address);
    snprintf(argument, sizeof argument, "%s %s %llu", s->stores ? place : "-", address,
        (unsigned long long)(s->room_there ? s->room_there : 256 << 20));
    g->child[i] = child_start("server", argument);
    if (!child_hear(g->child[i].fd, text, sizeof g->address[i])) return false;
    if (s->is_apart) return true;
    return manta_connect(text, 20000, &g->there[i]) == MANTA_OK && manta_lookup_in(g->there[i], "keeper", &g->keeper[i].actor) == MANTA_OK;
}

static bool group_start(group *g, setup s)
{
    char place[64], listen[64];
    memset(g, 0, sizeof *g);
    own_name("/dev/shm/manta-test-remote-", place);
    if (s.tcp) snprintf(listen, sizeof listen, "tcp://127.0.0.1:0");
    else own_name("ipc:///tmp/manta-test-", listen);
    manta_config c = {
        .size = sizeof c, .workers = 2, .listen = listen, .store = s.stores ? place : NULL, .object_bytes = s.room ? s.room : 256 << 20};
    if (!(g->system = manta_init_with(&c)) || manta_scope_begin()) return false;
    for (; g->count < s.count; g->count++)
        if (!start_other(g, &s, g->count)) return false;
    return true;
}

static uint64_t objects_here(void)
{
    manta_object_stats s;
    return manta_read_object_stats(&s) ? 999 : s.objects;
}

/* Everything is gone, here and there, and all end as they should. */
static bool group_stop(group *g, int killed)
{
    (void)manta_scope_end();
    bool ok = WAIT_FOR(objects_here() == 0, 20);
    if (!ok) fprintf(stderr, "%d objects left here\n", (int)objects_here());
    for (int i = 0; i < g->count; i++) {
        if (i == killed) continue;
        bool clean = WAIT_FOR(manta_await(Keeper_objects(g->keeper[i])) == 0, 20);
        if (!clean) fprintf(stderr, "%d objects left in process %d\n", (int)manta_await(Keeper_objects(g->keeper[i])), i);
        ok = ok && clean;
    }
    ok = manta_shutdown(g->system) == MANTA_OK && ok;
    for (int i = 0; i < g->count; i++) {
        if (i != killed) shutdown(g->child[i].fd, SHUT_RDWR);
        ok = child_end(&g->child[i], 0) == (i == killed ? SIGKILL : 0) && ok;
        ok = store_destroy(g->store[i]) == MANTA_OK && ok;
    }
    return ok;
}

/* ---- sizes ---- */

static void all_sizes(setup s)
{
    const size_t sizes[] = {0, 1, 7, 1000, 65536, 65537, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 5000000, (size_t)test_scaled(64 << 20)};
    group g;
    s.count = 1;
    EXPECT(group_start(&g, s));
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        manta_ref ref;
        void *data;
        EXPECT_EQ(manta_scope_begin(), MANTA_OK);
        EXPECT_EQ(manta_create(sizes[i], &ref, &data), MANTA_OK);
        fill(data, sizes[i], i);
        EXPECT_EQ(manta_seal(ref), MANTA_OK);
        EXPECT(manta_await(check_submit_with(MANTA_OPTIONS(.process = g.there[0]), manta_object_of(ref), sizes[i], i)));
        manta_ref back = manta_await(produce_submit_with(MANTA_OPTIONS(.process = g.there[0]), sizes[i], i + 100));
        manta_object o;
        EXPECT_EQ(manta_object_get(back, 60000, &o), MANTA_OK);
        EXPECT_EQ(o.size, sizes[i]);
        EXPECT(is_filled(o.data, o.size, i + 100));
        EXPECT_EQ(manta_scope_end(), MANTA_OK);
    }
    EXPECT(group_stop(&g, -1));
}

/* Objects of all sizes arrive as they were, as arguments and as results: over both transports, in both kinds of table. */
TEST(sizes_ipc) { all_sizes((setup){.stores = false}); }
TEST(sizes_tcp) { all_sizes((setup){.tcp = true}); }
TEST(sizes_ipc_stores) { all_sizes((setup){.stores = true}); }
TEST(sizes_tcp_stores) { all_sizes((setup){.tcp = true, .stores = true}); }

static bool put_filled(size_t size, uint64_t seed, manta_ref *out)
{
    void *data;
    if (manta_create(size, out, &data)) return false;
    fill(data, size, seed);
    return manta_seal(*out) == MANTA_OK;
}

static bool has_filled(manta_ref ref, size_t size, uint64_t seed)
{
    manta_object o;
    manta_status status = manta_object_get(ref, 60000, &o);
    if (status) fprintf(stderr, "get: %s\n", manta_last_error()->message);
    return status == MANTA_OK && o.size == size && is_filled(o.data, o.size, seed);
}

/* ---- refs that are only passed on ---- */

static uint64_t bytes_out(void)
{
    manta_object_stats s;
    return manta_read_object_stats(&s) ? 0 : s.bytes_out;
}

static uint64_t bytes_in(void)
{
    manta_object_stats s;
    return manta_read_object_stats(&s) ? 0 : s.bytes_in;
}

static uint64_t held_here(void)
{
    manta_object_stats s;
    return manta_read_object_stats(&s) ? 999 : s.held;
}

static void pass_on(bool stores)
{
    group g;
    manta_ref ref;
    EXPECT(group_start(&g, (setup){.count = 2, .stores = stores}));
    EXPECT(put_filled(3000000, 5, &ref));
    EXPECT_EQ(manta_join(Keeper_keep(g.keeper[0], ref)), MANTA_OK);
    EXPECT_EQ(manta_release(ref), MANTA_OK); /* the keeper's hold keeps it */
    EXPECT_EQ(held_here(), 1);
    EXPECT_EQ(bytes_out(), 0);
    EXPECT_EQ(manta_join(Keeper_pass(g.keeper[0], g.keeper[1].actor)), MANTA_OK);
    EXPECT_EQ(manta_await(Keeper_size(g.keeper[1])), 3000000);
    EXPECT_EQ(bytes_out(), 3000000);
    EXPECT_EQ(manta_join(Keeper_drop(g.keeper[1])), MANTA_OK);
    manta_ref back = manta_await(Keeper_kept(g.keeper[0]));
    EXPECT(has_filled(back, 3000000, 5)); /* it is the object itself */
    EXPECT_EQ(bytes_out(), 3000000);
    EXPECT_EQ(manta_join(Keeper_drop(g.keeper[0])), MANTA_OK);
    EXPECT(WAIT_FOR(held_here() == 0, 20));
    EXPECT(group_stop(&g, -1));
}

/* A ref that goes through a process costs it nothing: its bytes go from where they are to who needs them, and one that comes home is the object itself. */
TEST(passed_on_tables) { pass_on(false); }
TEST(passed_on_stores) { pass_on(true); }

static void drop_unpulled(bool stores)
{
    group g;
    EXPECT(group_start(&g, (setup){.count = 1, .stores = stores}));
    for (int i = 0; i < 20; i++) {
        manta_ref ref;
        EXPECT(put_filled(100000, 5, &ref));
        EXPECT_EQ(manta_join(Keeper_keep(g.keeper[0], ref)), MANTA_OK);
        EXPECT_EQ(manta_release(ref), MANTA_OK);
        EXPECT_EQ(objects_here(), 1);
        EXPECT_EQ(manta_join(Keeper_drop(g.keeper[0])), MANTA_OK);
        EXPECT(WAIT_FOR(objects_here() == 0 && held_here() == 0, 20));
    }
    EXPECT_EQ(bytes_out(), 0);
    EXPECT(group_stop(&g, -1));
}

/* A replica that is dropped before anybody needed it lets go of the object, which then is freed. */
TEST(dropped_tables) { drop_unpulled(false); }
TEST(dropped_stores) { drop_unpulled(true); }

/* ---- refs inside ---- */

static void nested(bool stores)
{
    group g;
    manta_ref leaf[3], middle, top;
    EXPECT(group_start(&g, (setup){.count = 2, .stores = stores}));
    EXPECT_EQ(manta_scope_begin(), MANTA_OK);
    for (int i = 0; i < 3; i++) EXPECT(put_filled(50000 + 300000 * (size_t)i, (uint64_t)i, &leaf[i]));
    EXPECT_EQ(manta_put_with(leaf, sizeof leaf, leaf, 3, &middle), MANTA_OK);
    EXPECT_EQ(manta_put_with(&middle, sizeof middle, &middle, 1, &top), MANTA_OK);
    EXPECT_EQ(manta_join(Keeper_keep(g.keeper[0], top)), MANTA_OK);
    EXPECT_EQ(manta_scope_end(), MANTA_OK); /* from here on only the other one's hold keeps them */
    EXPECT_EQ(objects_here(), 5);
    EXPECT_EQ(manta_await(Keeper_size(g.keeper[0])), sizeof middle);
    EXPECT(WAIT_FOR(objects_here() == 4, 20)); /* it has a copy of the top, whose refs keep the rest */
    EXPECT_EQ(manta_join(Keeper_pass(g.keeper[0], g.keeper[1].actor)), MANTA_OK);
    EXPECT_EQ(manta_join(Keeper_drop(g.keeper[0])), MANTA_OK);
    EXPECT_EQ(manta_await(Keeper_leaves(g.keeper[1], false)), 1050000);
    EXPECT_EQ(manta_await(Keeper_leaves(g.keeper[1], true)), 1050000);
    EXPECT_EQ(manta_join(Keeper_drop(g.keeper[1])), MANTA_OK);
    EXPECT(group_stop(&g, -1));
}

/* Objects that name objects that name objects: the receiver has them by their refs, whether it asks for them or finds them in the bytes, and they live as long as who names them. */
TEST(nested_tables) { nested(false); }
TEST(nested_stores) { nested(true); }

/* ---- promises ---- */

static void promises(bool stores)
{
    group g;
    manta_ref ref;
    EXPECT(group_start(&g, (setup){.count = 1, .stores = stores}));
    Slow_ref slow = Slow_spawn();
    EXPECT_EQ(manta_future_to_ref(Slow_answer(slow, false).future, &ref), MANTA_OK);
    manta_uint64_t_future size = packed_size_submit_with(MANTA_OPTIONS(.process = g.there[0]), manta_object_of(ref));
    uint64_t bytes = 0;
    EXPECT_EQ(manta_get_timeout(size, &bytes, 100), MANTA_ETIMEDOUT);
    EXPECT_EQ(manta_join(Slow_go(slow)), MANTA_OK);
    EXPECT_EQ(manta_get_timeout(size, &bytes, 20000), MANTA_OK);
    EXPECT(bytes == 4);
    EXPECT_EQ(manta_future_to_ref(Slow_answer(slow, true).future, &ref), MANTA_OK);
    size = packed_size_submit_with(MANTA_OPTIONS(.process = g.there[0]), manta_object_of(ref));
    EXPECT_EQ(manta_join(Slow_go(slow)), MANTA_OK);
    EXPECT_EQ(manta_get_timeout(size, &bytes, 20000), MANTA_ELIMIT);
    EXPECT(strstr(manta_last_error()->message, "not to be had"));
    EXPECT_EQ(manta_stop(slow.actor), MANTA_OK);
    EXPECT(group_stop(&g, -1));
}

/* A ref of an answer that is not there yet can be passed on: who needs it waits until it is, and gets its error when it fails. */
TEST(promises_tables) { promises(false); }
TEST(promises_stores) { promises(true); }

/* ---- broadcast ---- */

static void broadcast(bool stores)
{
    enum { BYTES = 8 << 20, RECEIVERS = 5 };
    group g;
    manta_ref ref;
    manta_bool_future f[RECEIVERS];
    EXPECT(group_start(&g, (setup){.count = RECEIVERS, .stores = stores, .room = 64 << 20, .room_there = 64 << 20}));
    EXPECT(put_filled(BYTES, 3, &ref));
    for (int i = 0; i < RECEIVERS; i++) f[i] = check_submit_with(MANTA_OPTIONS(.process = g.there[i]), manta_object_of(ref), BYTES, 3);
    for (int i = 0; i < RECEIVERS; i++) EXPECT(manta_await(f[i]));
    EXPECT(bytes_out() <= 2 * BYTES);
    EXPECT(group_stop(&g, -1));
}

/* An object that many need leaves its process at most twice: who has it, or a part of it, serves the others. */
TEST(broadcast_tables) { broadcast(false); }
TEST(broadcast_stores) { broadcast(true); }

/* ---- failures ---- */

/* When the only process that has an object is killed in the middle of the transfer, who waits for it is told which object and which process. */
static void origin_killed(bool stores)
{
    group g;
    manta_object o;
    EXPECT(group_start(&g, (setup){.count = 1, .stores = stores}));
    manta_ref ref = manta_await(produce_submit_with(MANTA_OPTIONS(.process = g.there[0]), 100 << 20, 9));
    EXPECT_EQ(manta_object_get(ref, 0, &o), MANTA_ETIMEDOUT); /* it has begun */
    EXPECT(WAIT_FOR(bytes_in() > 0, 20));
    kill(g.child[0].pid, SIGKILL);
    EXPECT_EQ(manta_object_get(ref, 20000, &o), MANTA_EOBJECTLOST);
    char process[32];
    snprintf(process, sizeof process, "%016llx", (unsigned long long)g.there[0].id);
    EXPECT(strstr(manta_last_error()->message, process) && strstr(manta_last_error()->message, "object "));
    EXPECT(group_stop(&g, 0));
}
TEST(origin_killed_tables) { origin_killed(false); }
TEST(origin_killed_stores) { origin_killed(true); }

/* One that nobody needed yet is lost with its process, too. */
TEST(origin_killed_before)
{
    group g;
    manta_object o;
    EXPECT(group_start(&g, (setup){.count = 1}));
    manta_ref ref = manta_await(produce_submit_with(MANTA_OPTIONS(.process = g.there[0]), 5 << 20, 9));
    kill(g.child[0].pid, SIGKILL);
    EXPECT_EQ(manta_object_get(ref, 20000, &o), MANTA_EOBJECTLOST);
    EXPECT(group_stop(&g, 0));
}

/* When a receiver that serves others is killed, they go on from somebody else, and the object arrives whole. */
static void server_killed(bool stores)
{
    enum { RECEIVERS = 5 };
    size_t bytes = (size_t)test_scaled(96 << 20);
    group g;
    manta_ref ref;
    manta_bool_future f[RECEIVERS];
    EXPECT(group_start(&g, (setup){.count = RECEIVERS, .stores = stores, .room = 128 << 20, .room_there = 128 << 20}));
    EXPECT(put_filled(bytes, 3, &ref));
    for (int i = 0; i < RECEIVERS; i++) f[i] = check_submit_with(MANTA_OPTIONS(.process = g.there[i]), manta_object_of(ref), bytes, 3);
    EXPECT(WAIT_FOR(bytes_out() > bytes / 4, 20));
    kill(g.child[0].pid, SIGKILL);
    bool value = true;
    manta_status status = manta_get_timeout(f[0], &value, 60000);
    EXPECT(status == MANTA_EUNKNOWN || (status == MANTA_OK && value)); /* a fast one */
    for (int i = 1; i < RECEIVERS; i++) EXPECT(manta_await(f[i]));
    EXPECT(group_stop(&g, 0));
}
TEST(server_killed_tables) { server_killed(false); }
TEST(server_killed_stores) { server_killed(true); }

/* When the origin is killed and another has a complete copy, that copy is passed on. */
TEST(copy_survives)
{
    group g;
    EXPECT(group_start(&g, (setup){.count = 2}));
    manta_ref ref = manta_await(produce_submit_with(MANTA_OPTIONS(.process = g.there[0]), 3 << 20, 9));
    EXPECT(has_filled(ref, 3 << 20, 9));
    kill(g.child[0].pid, SIGKILL);
    EXPECT(manta_await(check_submit_with(MANTA_OPTIONS(.process = g.there[1]), manta_object_of(ref), 3 << 20, 9)));
    EXPECT(group_stop(&g, 0));
}

/* A receiver without room says so, in words; the object, the sender and both processes are none the worse. */
static void no_room(bool stores)
{
    group g;
    manta_ref ref, small;
    bool value;
    char text[1024];
    EXPECT(group_start(&g, (setup){.count = 1, .stores = stores, .room_there = 16 << 20}));
    EXPECT(put_filled(40 << 20, 1, &ref));
    EXPECT(manta_get_timeout(check_submit_with(MANTA_OPTIONS(.process = g.there[0]), manta_object_of(ref), 40 << 20, 1), &value, 60000) ==
           (stores ? MANTA_EINVAL : MANTA_ESTOREFULL));
    (void)manta_error_format(manta_last_error(), text, sizeof text);
    EXPECT(strstr(text, stores ? "larger than the store" : "no room for 41943040 bytes"));
    EXPECT(put_filled(4 << 20, 2, &small));
    EXPECT(manta_await(check_submit_with(MANTA_OPTIONS(.process = g.there[0]), manta_object_of(small), 4 << 20, 2)));
    EXPECT(has_filled(ref, 40 << 20, 1));
    EXPECT(group_stop(&g, -1));
}
TEST(no_room_tables) { no_room(false); }
TEST(no_room_stores) { no_room(true); }

/* When a store is full of what others hold, a pull waits for room and then fails with what the store says; with room again the same object comes. */
TEST(store_is_full)
{
    group g;
    manta_ref ref, big;
    bool value;
    char text[1024];
    EXPECT(group_start(&g, (setup){.count = 1, .stores = true, .room_there = 16 << 20}));
    EXPECT(put_filled(10 << 20, 1, &ref));
    EXPECT(put_filled(9 << 20, 2, &big));
    EXPECT_EQ(manta_join(Keeper_keep(g.keeper[0], ref)), MANTA_OK);
    EXPECT_EQ(manta_await(Keeper_size(g.keeper[0])), 10 << 20);
    EXPECT_EQ(manta_get_timeout(check_submit_with(MANTA_OPTIONS(.process = g.there[0]), manta_object_of(big), 9 << 20, 2), &value, 60000),
        MANTA_ESTOREFULL);
    (void)manta_error_format(manta_last_error(), text, sizeof text);
    EXPECT(strstr(text, "no room"));
    EXPECT_EQ(manta_join(Keeper_drop(g.keeper[0])), MANTA_OK);
    EXPECT(manta_await(check_submit_with(MANTA_OPTIONS(.process = g.there[0]), manta_object_of(big), 9 << 20, 2)));
    EXPECT(group_stop(&g, -1));
}

/* ---- links that break ---- */

/* Reset once in each part of the way. */
static bool cut_often(cut_proxy *p, uint64_t (*moved)(void), uint64_t bytes)
{
    enum { CUTS = 4 };
    uint64_t before = moved();
    for (int k = 1; k <= CUTS; k++) {
        if (!WAIT_FOR(moved() - before > bytes * (uint64_t)k / (CUTS + 1), 60)) return false;
        p->cut_now = 1;
        if (!WAIT_FOR(!p->cut_now, 20)) return false;
    }
    return true;
}

/* The connection is cut again and again in the middle, in both directions: the link resumes, and the object arrives whole. */
TEST(connection_is_cut)
{
    size_t bytes = (size_t)test_scaled(100 << 20);
    group g;
    cut_proxy p = {0};
    manta_process there;
    Keeper_ref keeper;
    manta_ref ref;
    EXPECT(group_start(&g, (setup){.count = 0}));
    EXPECT(start_other(&g, &(setup){.tcp = true, .is_apart = true}, 0));
    g.count = 1;
    EXPECT(cut_proxy_start(&p, g.address[0], 0, 0));
    EXPECT_EQ(manta_connect(p.address, 20000, &there), MANTA_OK);
    EXPECT_EQ(manta_lookup_in(there, "keeper", &keeper.actor), MANTA_OK);
    g.there[0] = there;
    g.keeper[0] = keeper;
    EXPECT(put_filled(bytes, 4, &ref));
    manta_bool_future f = check_submit_with(MANTA_OPTIONS(.process = there), manta_object_of(ref), bytes, 4);
    EXPECT(cut_often(&p, bytes_out, bytes));
    EXPECT(manta_await(f));
    manta_ref back = manta_await(produce_submit_with(MANTA_OPTIONS(.process = there), bytes, 6));
    manta_object o;
    EXPECT_EQ(manta_object_get(back, 0, &o), MANTA_ETIMEDOUT); /* it has begun */
    EXPECT(cut_often(&p, bytes_in, bytes));
    EXPECT(has_filled(back, bytes, 6));
    EXPECT(group_stop(&g, -1));
    cut_proxy_stop(&p);
}

/* ---- no memory ---- */

static bool is_up(const group *g)
{
    manta_process_info info[OTHERS];
    size_t n = 0;
    return manta_list_processes(info, OTHERS, &n) == MANTA_OK && n == 1 && info[0].is_up && g->there[0].id == info[0].process.id;
}

/* An object there and one here, with the n-th allocation failing: what came of it. False: it hangs. */
static bool exchange_without(group *g, uint64_t n, bool *out_failed)
{
    enum { BYTES = 1500000 };
    manta_ref ref, back;
    bool value = false;
    manta_object o;
    (void)manta_scope_begin();
    bool ok = put_filled(BYTES, 3, &ref);
    base_alloc_fail_at(n);
    manta_bool_future f = check_submit_with(MANTA_OPTIONS(.process = g->there[0]), manta_object_of(ref), BYTES, 3);
    manta_status status = manta_get_timeout(f, &value, 20000);
    ok = ok && status != MANTA_ETIMEDOUT && (status || value);
    manta_manta_ref_future made = produce_submit_with(MANTA_OPTIONS(.process = g->there[0]), BYTES, 4);
    status = manta_get_timeout(made, &back, 20000);
    if (!status) status = manta_object_get(back, 20000, &o);
    ok = ok && status != MANTA_ETIMEDOUT && (status || (o.size == BYTES && is_filled(o.data, BYTES, 4)));
    *out_failed = base_alloc_has_failed();
    base_alloc_fail_at(0);
    (void)manta_scope_end();
    return ok;
}

/* The link may be lost some time after the allocation that failed. */
static bool find_keeper(group *g)
{
    manta_status status = manta_lookup_in(g->there[0], "keeper", &g->keeper[0].actor);
    if (status) (void)manta_connect(g->address[0], 20000, &g->there[0]);
    return status == MANTA_OK;
}

/* Each allocation of an exchange fails once: it fails with an error or succeeds, nothing hangs, and nothing is left. */
static void without_memory(bool stores)
{
    group g;
    bool failed = true;
    uint64_t n = 0;
    EXPECT(group_start(&g, (setup){.count = 1, .stores = stores, .room = 64 << 20, .room_there = 64 << 20}));
    while (failed && ++n < 500) {
        bool ok = exchange_without(&g, n, &failed);
        if (!ok) fprintf(stderr, "with allocation %d failing\n", (int)n);
        EXPECT(ok);
        if (!is_up(&g)) EXPECT_EQ(manta_connect(g.address[0], 20000, &g.there[0]), MANTA_OK);
    }
    EXPECT(n > 20 && n < 500);
    EXPECT(WAIT_FOR(find_keeper(&g), 20));
    EXPECT(group_stop(&g, -1));
}
TEST(without_memory_tables) { without_memory(false); }
TEST(without_memory_stores) { without_memory(true); }

/* ---- constructors ---- */

static Born_ref born(manta_process where, int how, manta_ref ref, size_t size)
{
    Cargo c = {ref, manta_str_of("a tree"), manta_object_of(ref)};
    return Born_spawn_with(MANTA_OPTIONS(.process = where), how, size, manta_object_of(ref), c);
}

static void constructors(bool stores)
{
    const size_t sizes[] = {0, 100, 65537, 3000000};
    group g;
    uint32_t right;
    EXPECT(group_start(&g, (setup){.count = 3, .stores = stores}));
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        manta_ref ref;
        EXPECT_EQ(manta_scope_begin(), MANTA_OK);
        EXPECT(put_filled(sizes[i], 3, &ref));
        Born_ref here = born(manta_this_process(), 0, ref, sizes[i]), there = born(g.there[0], 0, ref, sizes[i]);
        Born_ref bad = born(g.there[0], 1, ref, sizes[i]);
        EXPECT_EQ(manta_join(Keeper_keep(g.keeper[1], ref)), MANTA_OK);
        EXPECT_EQ(manta_scope_end(), MANTA_OK); /* the arguments keep it, until the constructors have run */
        EXPECT_EQ(manta_await(Born_right(here)), 4);
        EXPECT_EQ(manta_await(Born_right(there)), 4);
        EXPECT(manta_get(Born_right(bad), &right) != MANTA_OK);
        EXPECT_EQ(manta_scope_begin(), MANTA_OK);
        Born_ref third = born(g.there[2], 0, manta_await(Keeper_kept(g.keeper[1])), sizes[i]); /* it is ours, by another one's name */
        EXPECT_EQ(manta_await(Born_right(third)), 4);
        EXPECT_EQ(manta_join(Keeper_drop(g.keeper[1])), MANTA_OK);
        EXPECT_EQ(manta_scope_end(), MANTA_OK);
    }
    manta_ref last;
    EXPECT_EQ(manta_scope_begin(), MANTA_OK);
    EXPECT(put_filled(3000000, 3, &last));
    Born_ref killed = born(g.there[2], 2, last, 3000000);
    EXPECT(!killed.actor.id || manta_get(Born_right(killed), &right) != MANTA_OK);
    EXPECT(!born(g.there[2], 0, last, 3000000).actor.id || WAIT_FOR(!manta_is_alive(killed.actor), 20));
    EXPECT_EQ(manta_scope_end(), MANTA_OK);
    EXPECT(group_stop(&g, 2));
}

/* Objects go along with a spawn in another process, and are there when the constructor runs; a constructor that fails, or takes its process along, leaves none behind. */
TEST(constructors_tables) { constructors(false); }
TEST(constructors_stores) { constructors(true); }
