/* One process and its store: sizes, states, references, refs inside objects, promises, limits, misuse. */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/wait.h>

#include "scheduler/base/alloc.h"
#include "scheduler/os/os_file.h"
#include "test/support/child.h"
#include "test/support/stores.h"
#include "test/support/test.h"

enum { MIB = 1 << 20 };

static store *open_small(const store_place *p, uint64_t capacity)
{
    store *s = NULL;
    store_options o = {.mode = STORE_CREATE, .path = p->path, .capacity_bytes = capacity, .name = "test", .full_wait_ms = 50};
    if (store_open(&o, &s)) fprintf(stderr, "store_open: %s\n", store_error());
    return s;
}

#define WITH_STORE(capacity_) \
    store_place place_ = store_place_new(); \
    store *s = open_small(&place_, capacity_); \
    EXPECT(s);
#define END_STORE() \
    EXPECT_EQ(store_check(s, true), MANTA_OK); \
    store_close(s); \
    EXPECT_EQ(store_destroy(place_.path), MANTA_OK); \
    store_place_remove(&place_);

/* Objects of every size class and around its borders come back byte for byte, and their views are 64-byte aligned. */
TEST(sizes)
{
    static const uint64_t sizes[] = {0, 1, 63, 64, 65, 511, 512, 513, 640, 641, 4095, 4096, 4097, 8192, 8193, 65535, 65536, 65537, 100000,
        MIB - 1, MIB, MIB + 1, 5 * MIB + 13};
    enum { N = sizeof sizes / sizeof *sizes };
    WITH_STORE(64 * MIB)
    store_id ids[N];
    unsigned char *data = malloc(8 * MIB);
    for (int i = 0; i < N; i++) {
        store_pattern(data, sizes[i], (uint64_t)i);
        EXPECT_EQ(store_put(s, data, sizes[i], &ids[i]), MANTA_OK);
    }
    EXPECT_EQ(store_check(s, true), MANTA_OK);
    for (int i = 0; i < N; i++) {
        store_view v;
        EXPECT_EQ(store_pin(s, ids[i], &v), MANTA_OK);
        EXPECT(v.size_bytes == sizes[i] && (uintptr_t)v.data % 64 == 0);
        EXPECT(store_pattern_is(v.data, sizes[i], (uint64_t)i));
        store_unpin(s, ids[i]);
        EXPECT_EQ(store_drop(s, ids[i]), MANTA_OK);
        EXPECT_EQ(store_peek(s, ids[i]), MANTA_ESTALE);
        EXPECT_EQ(store_drop(s, ids[i]), MANTA_ESTALE);
        EXPECT_EQ(store_hold(s, ids[i]), MANTA_ESTALE);
        EXPECT_EQ(store_pin(s, ids[i], &v), MANTA_ESTALE);
    }
    free(data);
    store_info info;
    EXPECT_EQ(store_stat(s, &info), MANTA_OK);
    EXPECT_EQ(info.objects, 0);
    END_STORE()
}

/* create is filled in place and cannot be read before seal; abort takes it back. */
TEST(create_seal_abort)
{
    WITH_STORE(8 * MIB)
    store_id a, b;
    void *data;
    store_view v;
    EXPECT_EQ(store_create(s, 100000, 0, &a, &data), MANTA_OK);
    EXPECT_EQ(store_peek(s, a), MANTA_ENOTREADY);
    EXPECT_EQ(store_pin(s, a, &v), MANTA_ENOTREADY);
    store_pattern(data, 100000, 7);
    EXPECT_EQ(store_seal(s, a, NULL), MANTA_OK);
    EXPECT_EQ(store_seal(s, a, NULL), MANTA_ESTALE);
    EXPECT_EQ(store_abort(s, a), MANTA_ESTALE);
    EXPECT_EQ(store_pin(s, a, &v), MANTA_OK);
    EXPECT(v.data != data && store_pattern_is(v.data, v.size_bytes, 7));
    store_unpin(s, a);
    EXPECT_EQ(store_create(s, 10, 0, &b, &data), MANTA_OK);
    EXPECT_EQ(store_abort(s, b), MANTA_OK);
    EXPECT_EQ(store_peek(s, b), MANTA_ESTALE);
    EXPECT_EQ(store_drop(s, a), MANTA_OK);
    END_STORE()
}

static sigjmp_buf after_fault;
static void on_fault(int signal_number)
{
    (void)signal_number;
    siglongjmp(after_fault, 1);
}

static bool write_faults(const void *at)
{
    struct sigaction before, action = {.sa_handler = on_fault};
    volatile bool faulted = true;
    sigaction(SIGSEGV, &action, &before);
    if (sigsetjmp(after_fault, 1) == 0) {
        *(volatile char *)(uintptr_t)at = 1;
        faulted = false;
    }
    sigaction(SIGSEGV, &before, NULL);
    return faulted;
}

/* A write through a view faults: the object cannot be changed. */
TEST(views_are_read_only)
{
    static char data[1000000];
    WITH_STORE(8 * MIB)
    for (uint64_t size = 10; size <= sizeof data; size *= 100) {
        store_id id;
        store_view v;
        EXPECT_EQ(store_put(s, data, size, &id), MANTA_OK);
        EXPECT_EQ(store_pin(s, id, &v), MANTA_OK);
        EXPECT(write_faults(v.data) && write_faults((const char *)v.data + size - 1));
        store_unpin(s, id);
        EXPECT_EQ(store_drop(s, id), MANTA_OK);
    }
    END_STORE()
}

/* Objects named inside an object live as long as it does; a chain of sixty thousand goes with its head. */
TEST(refs_inside)
{
    WITH_STORE(8 * MIB)
    store_id inner, outer, chain, next;
    void *data;
    EXPECT_EQ(store_put(s, "inner", 6, &inner), MANTA_OK);
    EXPECT_EQ(store_create(s, 5, 1, &outer, &data), MANTA_OK);
    memcpy(data, "outer", 5);
    EXPECT_EQ(store_seal(s, outer, NULL), MANTA_EINVAL);
    EXPECT_EQ(store_seal(s, outer, &(store_id){{1, 2}}), MANTA_ESTALE);
    EXPECT_EQ(store_seal(s, outer, &inner), MANTA_OK);
    EXPECT_EQ(store_drop(s, inner), MANTA_OK);
    EXPECT_EQ(store_peek(s, inner), MANTA_OK);
    EXPECT_EQ(store_check(s, true), MANTA_OK);
    EXPECT_EQ(store_drop(s, outer), MANTA_OK);
    EXPECT_EQ(store_peek(s, inner), MANTA_ESTALE);
    EXPECT_EQ(store_put(s, "end", 4, &chain), MANTA_OK);
    for (int i = 0; i < 60000; i++) {
        EXPECT_EQ(store_create(s, (uint64_t)i % 8, 1, &next, &data), MANTA_OK);
        EXPECT_EQ(store_seal(s, next, &chain), MANTA_OK);
        EXPECT_EQ(store_drop(s, chain), MANTA_OK);
        chain = next;
    }
    EXPECT_EQ(store_check(s, true), MANTA_OK);
    EXPECT_EQ(store_drop(s, chain), MANTA_OK);
    store_info info;
    EXPECT_EQ(store_stat(s, &info), MANTA_OK);
    EXPECT_EQ(info.objects, 0);
    END_STORE()
}

static void note(void *context, store_id id)
{
    (void)id;
    ++*(_Atomic int *)context;
}

/* A promise is waited for and watched, ends once with bytes or an error, and watchers are called once. */
TEST(promises)
{
    WITH_STORE(8 * MIB)
    store_id a, b;
    store_view v;
    _Atomic int called = 0, never = 0;
    EXPECT_EQ(store_promise(s, &a), MANTA_OK);
    EXPECT_EQ(store_promise(s, &b), MANTA_OK);
    EXPECT_EQ(store_pin(s, a, &v), MANTA_ENOTREADY);
    EXPECT_EQ(store_wait(s, a, 1000000), MANTA_ETIMEDOUT);
    EXPECT_EQ(store_watch(s, a, note, &called), MANTA_OK);
    EXPECT_EQ(store_watch(s, a, note, &never), MANTA_OK);
    EXPECT(store_unwatch(s, a, &never));
    EXPECT(!store_unwatch(s, a, &never));
    EXPECT_EQ(store_fulfil(s, a, "value", 6, NULL, 0, false), MANTA_OK);
    EXPECT_EQ(store_fulfil(s, a, "again", 6, NULL, 0, false), MANTA_ESTALE);
    EXPECT_EQ(store_wait(s, a, STORE_FOREVER), MANTA_OK);
    EXPECT(WAIT_FOR(called == 1, 10));
    EXPECT_EQ(store_watch(s, a, note, &called), MANTA_OK);
    EXPECT(WAIT_FOR(called == 2, 10));
    EXPECT_EQ(never, 0);
    EXPECT_EQ(store_pin(s, a, &v), MANTA_OK);
    EXPECT_STR((const char *)v.data, "value");
    store_unpin(s, a);
    EXPECT_EQ(store_fulfil(s, b, "why", 4, NULL, 0, true), MANTA_OK);
    EXPECT_EQ(store_pin(s, b, &v), MANTA_EFAILED);
    EXPECT_STR((const char *)v.data, "why");
    store_unpin(s, b);
    EXPECT_EQ(store_drop(s, a), MANTA_OK);
    EXPECT_EQ(store_drop(s, b), MANTA_OK);
    END_STORE()
}

/* A full store says so, with numbers and who holds what; what is larger than the store never waits. */
TEST(full)
{
    WITH_STORE(8 * MIB)
    store_id ids[64], more;
    int n = 0;
    char *data = calloc(1, MIB);
    while (n < 64 && store_put(s, data, MIB, &ids[n]) == MANTA_OK) n++;
    EXPECT_EQ(n, 8);
    EXPECT_EQ(store_put(s, data, MIB, &more), MANTA_ESTOREFULL);
    EXPECT(strstr(store_error(), "8388608 of 8388608") && strstr(store_error(), "test holds 8") && strstr(store_error(), "spill_path"));
    EXPECT_EQ(store_put(s, data, 10, &more), MANTA_ESTOREFULL);
    EXPECT_EQ(store_create(s, 9 * MIB, 0, &more, (void **)&(void *){NULL}), MANTA_EINVAL);
    EXPECT_EQ(store_drop(s, ids[3]), MANTA_OK);
    EXPECT_EQ(store_put(s, data, 10, &ids[3]), MANTA_OK);
    EXPECT_EQ(store_put(s, data, 700000, &more), MANTA_OK);
    EXPECT_EQ(store_drop(s, more), MANTA_OK);
    for (int i = 0; i < n; i++) EXPECT_EQ(store_drop(s, ids[i]), MANTA_OK);
    free(data);
    END_STORE()
}

/* The slots end with max_objects, clearly. */
TEST(object_limit)
{
    store_place p = store_place_new();
    store *s;
    store_options o = {.mode = STORE_CREATE, .path = p.path, .capacity_bytes = 8 * MIB, .max_objects = 1000};
    EXPECT_EQ(store_open(&o, &s), MANTA_OK);
    store_id *ids = calloc(2000, sizeof *ids);
    int n = 0;
    while (n < 2000 && store_put(s, "x", 1, &ids[n]) == MANTA_OK) n++;
    EXPECT_EQ(n, 1024);
    EXPECT(strstr(store_error(), "1024 objects"));
    for (int i = 0; i < n; i++) EXPECT_EQ(store_drop(s, ids[i]), MANTA_OK);
    EXPECT_EQ(store_put(s, "x", 1, &ids[0]), MANTA_OK);
    free(ids);
    store_close(s);
    EXPECT_EQ(store_destroy(p.path), MANTA_OK);
}

/* Random objects come, are read and go, against a simple model; the tables agree all the time. */
TEST(model)
{
    enum { LIVE = 300, ROUNDS = 20000 };
    WITH_STORE(64 * MIB)
    struct {
        store_id id;
        uint64_t size, seed;
    } live[LIVE] = {0};
    unsigned char *data = malloc(2 * MIB);
    rng r;
    rng_init(&r, test_seed());
    for (int i = 0; i < test_scaled(ROUNDS); i++) {
        int k = (int)(rng_next(&r) % LIVE);
        if (live[k].id.word[0]) {
            store_view v;
            EXPECT_EQ(store_pin(s, live[k].id, &v), MANTA_OK);
            EXPECT(v.size_bytes == live[k].size && store_pattern_is(v.data, v.size_bytes, live[k].seed));
            store_unpin(s, live[k].id);
            EXPECT_EQ(store_drop(s, live[k].id), MANTA_OK);
            live[k].id.word[0] = 0;
        } else {
            live[k].size = rng_next(&r) % (1ull << rng_next(&r) % 19);
            live[k].seed = rng_next(&r);
            store_pattern(data, live[k].size, live[k].seed);
            EXPECT_EQ(store_put(s, data, live[k].size, &live[k].id), MANTA_OK);
        }
        if (i % 1000 == 0) EXPECT_EQ(store_check(s, true), MANTA_OK);
    }
    free(data);
    END_STORE()
}

/* Tries to serve the path as its node; says what came of it. */
CHILD(second_node)
{
    store *s;
    manta_status status = store_open(&(store_options){.path = argument, .mode = STORE_CREATE}, &s);
    bool right = status == MANTA_EEXIST && strstr(store_error(), "a node serves it already");
    if (!right) fprintf(stderr, "status %d: %s\n", (int)status, store_error());
    _exit(write(parent, &right, 1) != 1);
}

/* Bad options and paths, another node on the path, a second open in one process, an attach to nothing: each has its error. */
TEST(opening)
{
    store_place p = store_place_new();
    store *s = NULL, *other;
    EXPECT_EQ(store_open(&(store_options){0}, &other), MANTA_EINVAL);
    EXPECT_EQ(store_open(&(store_options){.path = p.path, .capacity_bytes = 5}, &other), MANTA_EINVAL);
    EXPECT_EQ(store_open(&(store_options){.path = p.path, .high_percent = 101}, &other), MANTA_EINVAL);
    EXPECT_EQ(store_open(&(store_options){.path = p.path, .mode = STORE_ATTACH}, &other), MANTA_ENOTFOUND);
    EXPECT_EQ(store_open(&(store_options){.path = "/nowhere/at/all"}, &other), MANTA_ENOTFOUND);
    manta_status huge = store_open(&(store_options){.path = p.path, .capacity_bytes = 1ull << 45}, &other);
    EXPECT(huge == MANTA_ESTOREFULL || huge == MANTA_ENOMEM);
    EXPECT_EQ(store_open(&(store_options){.path = p.path, .capacity_bytes = 8 * MIB}, &s), MANTA_OK);
    EXPECT_EQ(store_open(&(store_options){.path = p.path}, &other), MANTA_EEXIST);
    EXPECT_EQ(store_open(&(store_options){.path = p.path, .mode = STORE_INSPECT}, &other), MANTA_EEXIST);
    bool refused = false;
    child_process second = child_start("second_node", p.path);
    EXPECT(child_hear(second.fd, &refused, 1) && refused);
    EXPECT_EQ(child_end(&second, 0), 0);
    EXPECT_EQ(store_destroy(p.path), MANTA_EEXIST);
    store_close(s);
    EXPECT_EQ(store_destroy(p.path), MANTA_OK);
    EXPECT_EQ(store_destroy(p.path), MANTA_OK);
}

/* Leftovers that do not fit (another version, a cut file, garbage) are refused by who attaches and replaced by who creates. */
TEST(misfits)
{
    static const struct {
        uint64_t at;
        const char *says;
    } cases[] = {{0, "no store"}, {8, "version"}, {16, "records"}, {28, "records"}, {32, "contradict"}, {60, "earlier start"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        store_place p = store_place_new();
        store *s = open_small(&p, 8 * MIB);
        char path[128];
        EXPECT(s);
        store_close(s);
        snprintf(path, sizeof path, "%s/control", p.path);
        FILE *f = fopen(path, "r+");
        EXPECT(f);
        fseek(f, (long)cases[i].at, SEEK_SET);
        fputc('#', f);
        fclose(f);
        EXPECT_EQ(store_open(&(store_options){.path = p.path, .mode = STORE_ATTACH}, &s), MANTA_ETYPE);
        if (!strstr(store_error(), cases[i].says)) fprintf(stderr, "byte %d: %s\n", (int)cases[i].at, store_error());
        EXPECT(strstr(store_error(), cases[i].says));
        EXPECT((s = open_small(&p, 8 * MIB)));
        EXPECT_EQ(store_check(s, true), MANTA_OK);
        store_close(s);
        store_place_remove(&p);
    }
}

/* A file of the store that is cut, missing or garbage is named to who attaches, and made anew by who creates. LMDB's lock file is of no value once its processes are gone. */
TEST(damaged_files)
{
    static const struct {
        const char *name;
        long size; /* -1: removed */
        manta_status status;
    } cases[] = {{"control", 4096, MANTA_ETYPE}, {"control", 10, MANTA_ETYPE}, {"control", -1, MANTA_ENOTFOUND},
        {"arena", 4 * MIB, MANTA_ETYPE}, {"arena", -1, MANTA_ENOTFOUND}, {"index", 100, MANTA_EIO}, {"index", 65536, MANTA_EIO},
        {"index", -1, MANTA_EIO}, {"index-lock", 100, MANTA_OK}, {"index-lock", -1, MANTA_OK}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        store_place p = store_place_new();
        store *s = open_small(&p, 8 * MIB);
        char path[128];
        EXPECT(s);
        store_close(s);
        snprintf(path, sizeof path, "%s/%s", p.path, cases[i].name);
        EXPECT_EQ(cases[i].size < 0 ? unlink(path) : truncate(path, cases[i].size), 0);
        EXPECT_EQ(store_open(&(store_options){.path = p.path, .mode = STORE_ATTACH}, &s), cases[i].status);
        if (cases[i].status) EXPECT(strstr(store_error(), cases[i].name));
        else store_close(s);
        EXPECT((s = open_small(&p, 8 * MIB)));
        EXPECT_EQ(store_check(s, true), MANTA_OK);
        store_close(s);
        store_place_remove(&p);
    }
}

static void note_done(void *context, store_id id)
{
    (void)id;
    *(_Atomic int *)context = 1;
}

/* A promise that is watched and fulfilled, and names another object. */
static bool promise_calls(store *s)
{
    store_id inner, id;
    _Atomic int done = 0;
    if (store_put(s, "inner", 6, &inner)) return true;
    if (store_promise(s, &id)) return store_drop(s, inner) == MANTA_OK;
    bool watched = store_watch(s, id, note_done, &done) == MANTA_OK;
    manta_status status = store_fulfil(s, id, "outer", 6, &inner, 1, false);
    bool ok = store_drop(s, inner) == MANTA_OK;
    if (!status) ok = ok && store_wait(s, id, STORE_FOREVER) == MANTA_OK;
    if (watched && status) ok = ok && store_unwatch(s, id, (void *)&done);
    return store_drop(s, id) == MANTA_OK && ok;
}

/* Each file call and each allocation failing in turn, in opening, putting, promising and reading: an error or success, and nothing leaks. */
static bool round_of_calls(const store_place *p)
{
    store *s;
    store_id id, big;
    store_view v;
    store_options o = {
        .mode = STORE_CREATE, .path = p->path, .capacity_bytes = 4 * MIB, .full_wait_ms = 1, .no_prefault = true, .spill_path = p->spill};
    static char data[100000];
    if (store_open(&o, &s)) return store_error()[0] != 0;
    bool ok = true;
    if (store_put(s, "abc", 4, &id) == MANTA_OK) {
        manta_status status = store_pin(s, id, &v);
        ok = !status && strcmp(v.data, "abc") == 0;
        if (!status) store_unpin(s, id);
        ok = ok && store_drop(s, id) == MANTA_OK;
    }
    if (store_put(s, data, sizeof data, &big) == MANTA_OK) {
        store_spill_all(s);
        manta_status status = store_pin(s, big, &v);
        if (!status) store_unpin(s, big);
        ok = ok && store_drop(s, big) == MANTA_OK;
    }
    ok = ok && promise_calls(s);
    os_file_fail_at(0, 0);
    base_alloc_fail_at(0);
    ok = ok && store_check(s, true) == MANTA_OK;
    store_close(s);
    return ok;
}

TEST(failures)
{
    static const int errors[] = {EIO, ENOSPC, ENOMEM};
    store_place p = store_place_new();
    for (int kind = 0; kind < 4; kind++)
        for (uint64_t n = 1;; n++) {
            EXPECT(n < 500);
            if (kind < 3) os_file_fail_at(n, errors[kind]);
            else base_alloc_fail_at(n);
            bool ok = round_of_calls(&p), failed = kind < 3 ? os_file_has_failed() : base_alloc_has_failed();
            os_file_fail_at(0, 0);
            base_alloc_fail_at(0);
            if (!ok) fprintf(stderr, "kind %d, call %d: %s\n", kind, (int)n, store_error());
            EXPECT(ok);
            if (!failed) break;
        }
    EXPECT(round_of_calls(&p));
    store_place_remove(&p);
}
