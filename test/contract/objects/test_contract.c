/* What manta/object.h promises, over both implementations: the table in the process and the store that processes share. */
#include "actor/object/object_ops.h"
#include "test/support/actors.h"
#include "test/support/child.h"
#include "test/support/stores.h"

enum { MIB = 1 << 20, ROOM = 32 * MIB };

static manta_t *system_with(const char *place)
{
    manta_config c = {.size = sizeof c, .workers = 2, .store = place, .object_bytes = ROOM};
    return manta_init_with(&c);
}

static size_t objects_now(void)
{
    size_t objects;
    uint64_t bytes;
    the_objects->usage(&objects, &bytes);
    return objects;
}

/* ON_BOTH(name) { body }: the body on each implementation; no object may be left at its end. */
#define ON_BOTH(name_) \
    static void run_##name_(void); \
    static void on_##name_(const char *place_) \
    { \
        manta_t *m_ = system_with(place_); \
        EXPECT(m_); \
        EXPECT_EQ(manta_scope_begin(), MANTA_OK); \
        run_##name_(); \
        EXPECT_EQ(manta_scope_end(), MANTA_OK); \
        EXPECT(WAIT_FOR(objects_now() == 0, 30)); \
        EXPECT_EQ(manta_shutdown(m_), MANTA_OK); \
    } \
    TEST(name_##_table) { on_##name_(NULL); } \
    TEST(name_##_store) { on_##name_("private"); } \
    static void run_##name_(void)

MANTA_STRUCT(Pair, (manta_ref, left), (manta_ref, right))
MANTA_TASK(make_pair, Pair, (int64_t, n))
{
    Pair p = {{{0}}, {{0}}};
    if (manta_put(&n, sizeof n, &p.left) || manta_put(&n, sizeof n, &p.right)) manta_fail(MANTA_EIO, "no objects");
    return p;
}
static _Atomic bool late_may_end;
MANTA_TASK(late, int64_t, (int64_t, n))
{
    do
        if (manta_sleep(5)) return 0;
    while (!late_may_end);
    return n;
}
MANTA_TASK(broken, int64_t) { return manta_fail(MANTA_EIO, "broken on purpose"), 0; }
MANTA_TASK(sum, uint64_t, (manta_object, o))
{
    uint64_t n = 0;
    for (size_t i = 0; i < o.size; i++) n += ((const unsigned char *)o.data)[i];
    return n;
}

/* Bytes of any size come back, aligned to 64 bytes; copies too, and a small buffer is refused with the size. */
ON_BOTH(round_trips)
{
    unsigned char *data = malloc(2 * MIB), *copy = malloc(2 * MIB);
    for (size_t size = 0; size < 2 * MIB; size = size * 3 + 1) {
        manta_ref r;
        manta_object view;
        size_t got = 0;
        store_pattern(data, size, size);
        EXPECT_EQ(manta_put(data, size, &r), MANTA_OK);
        EXPECT_EQ(manta_object_get(r, 0, &view), MANTA_OK);
        EXPECT(view.size == size && (uintptr_t)view.data % 64 == 0 && store_pattern_is(view.data, size, size));
        EXPECT_EQ(manta_get_copy(r, 0, copy, 2 * MIB, &got), MANTA_OK);
        EXPECT(got == size && store_pattern_is(copy, size, size));
        if (size) EXPECT_EQ(manta_get_copy(r, 0, copy, size - 1, &got), MANTA_ETOOLONG);
        EXPECT(got == size && manta_contains(r));
    }
    free(data);
    free(copy);
}

/* An object filled in place is there after seal, not before; abort and the end of the scope take it back. */
ON_BOTH(filled_in_place)
{
    manta_ref r, gone;
    manta_object view;
    void *data;
    EXPECT_EQ(manta_create(300000, &r, &data), MANTA_OK);
    EXPECT(!manta_contains(r));
    EXPECT_EQ(manta_object_get(r, 1, &view), MANTA_ETIMEDOUT);
    store_pattern(data, 300000, 5);
    EXPECT_EQ(manta_seal(r), MANTA_OK);
    EXPECT_EQ(manta_seal(r), MANTA_ESTALE);
    EXPECT_EQ(manta_abort(r), MANTA_ESTALE);
    EXPECT_EQ(manta_object_get(r, 0, &view), MANTA_OK);
    EXPECT(store_pattern_is(view.data, 300000, 5));
    EXPECT_EQ(manta_create(10, &gone, &data), MANTA_OK);
    EXPECT_EQ(manta_abort(gone), MANTA_OK);
    EXPECT_EQ(manta_object_get(gone, 0, &view), MANTA_ESTALE);
    EXPECT_EQ(manta_scope_begin(), MANTA_OK);
    EXPECT_EQ(manta_create(10, &gone, &data), MANTA_OK);
    EXPECT_EQ(manta_scope_end(), MANTA_OK);
    EXPECT_EQ(manta_seal(gone), MANTA_ESTALE);
}

/* Objects named inside another live as long as it does, also those inside the answer of a call. */
ON_BOTH(refs_inside)
{
    manta_ref a, b, box, answer;
    manta_object view;
    EXPECT_EQ(manta_scope_begin(), MANTA_OK);
    EXPECT_EQ(manta_put("a", 2, &a), MANTA_OK);
    EXPECT_EQ(manta_put("b", 2, &b), MANTA_OK);
    EXPECT_EQ(manta_put_with("box", 4, (manta_ref[]){a, b}, 2, &box), MANTA_OK);
    EXPECT_EQ(manta_put_with("bad", 4, &(manta_ref){{7, 7}}, 1, &answer), MANTA_ESTALE);
    EXPECT_EQ(manta_retain(box), MANTA_OK);
    EXPECT_EQ(manta_scope_end(), MANTA_OK);
    EXPECT(manta_contains(a) && manta_contains(b));
    EXPECT_EQ(manta_release(box), MANTA_OK);
    EXPECT(!manta_contains(a) && !manta_contains(b) && !manta_contains(box));
    EXPECT_EQ(manta_future_to_ref(make_pair_submit(9).future, &answer), MANTA_OK);
    EXPECT_EQ(manta_object_get(answer, 10000, &view), MANTA_OK);
    Pair p;
    manta_reader reader;
    manta_reader_init(&reader, view.data, view.size);
    manta_unpack_Pair(&reader, &p);
    EXPECT_EQ(reader.status, MANTA_OK);
    int64_t n = 0;
    EXPECT_EQ(manta_get_copy(p.right, 0, &n, sizeof n, NULL), MANTA_OK);
    EXPECT_EQ(n, 9);
}

/* Refs of answers that are not there yet can be passed on and waited for; errors come with their status and text. */
ON_BOTH(answers)
{
    manta_ref r, f, many[5];
    manta_object view;
    bool ready[5];
    late_may_end = true;
    EXPECT_EQ(manta_future_to_ref(late_submit(7).future, &r), MANTA_OK);
    EXPECT_EQ(manta_await(sum_submit(manta_object_of(r))), 7);
    EXPECT_EQ(manta_future_to_ref(broken_submit().future, &f), MANTA_OK);
    EXPECT_EQ(manta_object_get(f, 10000, &view), MANTA_EIO);
    EXPECT(strstr(manta_last_error()->message, "broken on purpose"));
    late_may_end = false;
    for (int i = 0; i < 5; i++) EXPECT_EQ(manta_future_to_ref(late_submit(i).future, &many[i]), MANTA_OK);
    EXPECT_EQ(manta_object_wait(many, 5, 5, 1, ready), MANTA_ETIMEDOUT);
    late_may_end = true;
    EXPECT_EQ(manta_object_wait(many, 5, 5, 10000, ready), MANTA_OK);
    for (int i = 0; i < 5; i++) EXPECT(ready[i] && manta_contains(many[i]));
}

/* The room is bounded, the error says by what, and what is released is room again. */
ON_BOTH(room_ends)
{
    static char data[MIB];
    manta_ref r[40], more;
    int n = 0;
    EXPECT_EQ(manta_scope_begin(), MANTA_OK);
    while (n < 31 && manta_put(data, MIB, &r[n]) == MANTA_OK) n++;
    EXPECT_EQ(n, 31);
    EXPECT_EQ(manta_scope_end(), MANTA_OK);
    for (int i = 0; i < 100; i++) {
        EXPECT_EQ(manta_put(data, MIB, &more), MANTA_OK);
        EXPECT_EQ(manta_release(more), MANTA_OK);
    }
    EXPECT(manta_put(data, (size_t)1 << 40, &more) != MANTA_OK);
    EXPECT(strstr(manta_last_error()->message, "manta_put"));
}

/* Releasing too often, refs that never were, calls without a system: each has its error and does nothing. */
ON_BOTH(misuse)
{
    manta_ref r;
    manta_object view;
    EXPECT_EQ(manta_put("x", 2, &r), MANTA_OK);
    EXPECT_EQ(manta_retain(r), MANTA_OK);
    EXPECT_EQ(manta_release(r), MANTA_OK);
    EXPECT_EQ(manta_release(r), MANTA_OK);
    EXPECT_EQ(manta_release(r), MANTA_ESTALE);
    EXPECT_EQ(manta_retain(r), MANTA_ESTALE);
    EXPECT_EQ(manta_object_get(r, 0, &view), MANTA_ESTALE);
    EXPECT_EQ(manta_object_get((manta_ref){{0, 0}}, 0, &view), MANTA_ESTALE);
    EXPECT_EQ(manta_seal((manta_ref){{3, 4}}), MANTA_ESTALE);
    EXPECT_EQ(manta_put(NULL, 3, &r), MANTA_EINVAL);
}

TEST(without_a_system)
{
    manta_ref r;
    void *data;
    EXPECT_EQ(manta_put("x", 2, &r), MANTA_ESHUTDOWN);
    EXPECT_EQ(manta_create(2, &r, &data), MANTA_ESHUTDOWN);
    EXPECT(!system_with("/nowhere/at/all"));
    EXPECT(strstr(manta_last_error()->message, "/nowhere/at/all"));
}

/* Many tasks put, share and release objects at once; at the end nothing is left. */
MANTA_TASK(churn, int64_t, (int64_t, seed), (int64_t, rounds))
{
    unsigned char data[3000];
    int64_t wrong = 0;
    for (int64_t i = 0; i < rounds; i++) {
        manta_ref r;
        manta_object view;
        size_t size = (size_t)((seed * 31 + i * 17) % 3000);
        if (manta_scope_begin()) return -1;
        store_pattern(data, size, (uint64_t)(seed + i));
        if (manta_put(data, size, &r) || manta_object_get(r, 0, &view) || !store_pattern_is(view.data, view.size, (uint64_t)(seed + i)))
            wrong++;
        if (i % 8 == 0 && manta_await(sum_submit(manta_object_of(r))) > 3000 * 255) wrong++;
        if (manta_scope_end()) return -1;
    }
    return wrong;
}
ON_BOTH(many_tasks)
{
    manta_int64_t_future f[8];
    for (int i = 0; i < 8; i++) f[i] = churn_submit(i, test_scaled(2000));
    for (int i = 0; i < 8; i++) EXPECT_EQ(manta_await(f[i]), 0);
}

MANTA_TASK(make_one, manta_ref, (int64_t, n))
{
    manta_ref ref = {{0}};
    if (manta_put(&n, sizeof n, &ref)) manta_fail(MANTA_EIO, "no object");
    return ref;
}

typedef struct sites_seen {
    int from_task, from_main;
} sites_seen;

CHILD(looker)
{
    store *s;
    sites_seen seen = {0};
    uint64_t cursor = 0;
    store_object x;
    if (store_open(&(store_options){.mode = STORE_INSPECT, .path = argument}, &s)) _exit(1);
    while (store_next(s, &cursor, &x) == MANTA_OK) {
        seen.from_task += strcmp(x.site, "make_one") == 0;
        seen.from_main += strcmp(x.site, "main") == 0;
    }
    store_close(s);
    _exit(write(parent, &seen, sizeof seen) != sizeof seen);
}

/* With object_sites, a store's objects tell which method made them, and another process can see it. */
TEST(call_sites)
{
    store_place p = store_place_new();
    manta_config c = {.size = sizeof c, .workers = 1, .store = p.path, .object_bytes = ROOM, .object_sites = 1};
    manta_t *m = manta_init_with(&c);
    EXPECT(m);
    manta_ref by_task = manta_await(make_one_submit(5)), by_main;
    EXPECT(by_task.id[0]);
    EXPECT_EQ(manta_put("x", 1, &by_main), MANTA_OK);
    sites_seen seen;
    child_process looker = child_start("looker", p.path);
    EXPECT(child_hear(looker.fd, &seen, sizeof seen));
    EXPECT_EQ(child_end(&looker, 0), 0);
    EXPECT(seen.from_task >= 1 && seen.from_main >= 1);
    EXPECT_EQ(manta_shutdown(m), MANTA_OK);
    EXPECT(access(p.path, F_OK) != 0);
}
