/* Objects of real processes that share no store: they travel whole, once, to those who need them, and nothing stays behind. */
#include <fcntl.h>

#include "scheduler/base/hash.h"
#include "test/support/actors.h"
#include "test/support/child.h"

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
MANTA_CLASS(Keeper, keep, kept, drop, size, objects)

/* argument: the store or "-", the address, room for objects. Serves until the parent closes the socket or kills it. */
CHILD(server)
{
    char store[64], address[128], byte, text[256] = "";
    unsigned long long room;
    if (sscanf(argument, "%63s %127s %llu", store, address, &room) != 3) _exit(2);
    manta_config c = {.size = sizeof c, .workers = 2, .listen = address, .store = strcmp(store, "-") ? store : NULL, .object_bytes = room};
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
} group;

typedef struct setup {
    int count;
    bool tcp, stores; /* stores: each process has a store on tmpfs; else a table */
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
    char argument[256], text[256], store[64], address[64];
    own_name("/dev/shm/manta-test-", store);
    if (s->tcp) snprintf(address, sizeof address, "tcp://127.0.0.1:0");
    else own_name("ipc:///tmp/manta-test-", address);
    snprintf(argument, sizeof argument, "%s %s %llu", s->stores ? store : "-", address,
        (unsigned long long)(s->room_there ? s->room_there : 256 << 20));
    g->child[i] = child_start("server", argument);
    if (!child_hear(g->child[i].fd, text, sizeof text)) return false;
    return manta_connect(text, 20000, &g->there[i]) == MANTA_OK && manta_lookup_in(g->there[i], "keeper", &g->keeper[i].actor) == MANTA_OK;
}

static bool group_start(group *g, setup s)
{
    char store[64], listen[64];
    memset(g, 0, sizeof *g);
    own_name("/dev/shm/manta-test-", store);
    if (s.tcp) snprintf(listen, sizeof listen, "tcp://127.0.0.1:0");
    else own_name("ipc:///tmp/manta-test-", listen);
    manta_config c = {
        .size = sizeof c, .workers = 2, .listen = listen, .store = s.stores ? store : NULL, .object_bytes = s.room ? s.room : 256 << 20};
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
    }
    return ok;
}

/* ---- sizes ---- */

static void all_sizes(setup s)
{
    static const size_t sizes[] = {0, 1, 7, 1000, 65536, 65537, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 5000000, 64 << 20};
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
