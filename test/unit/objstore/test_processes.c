/* Several processes on one store: sharing, waiting, dying, sleeping. */
#include "scheduler/os/os.h"
#include "scheduler/os/os_file.h"
#include "test/support/child.h"
#include "test/support/stores.h"
#include "test/support/test.h"

enum { MIB = 1 << 20, CAPACITY = 32 * MIB };

static store *open_as(const char *path, store_mode mode)
{
    store *s = NULL;
    store_options o = {.mode = mode, .path = path, .capacity_bytes = mode == STORE_CREATE ? CAPACITY : 0, .full_wait_ms = 2000};
    if (store_open(&o, &s)) fprintf(stderr, "store_open: %s\n", store_error());
    return s;
}

/* Holds and pins the object that it is told, says so, and sleeps for as long as it lives. */
CHILD(holder)
{
    store_id id;
    store_view v;
    store *s = open_as(argument, STORE_ATTACH);
    if (!s || !child_hear(parent, &id, sizeof id) || store_pin(s, id, &v) || !store_pattern_is(v.data, v.size_bytes, 7)) _exit(1);
    if (!child_say(parent)) _exit(2);
    for (;;) pause();
}

/* Creates an object and a promise, gives their ids, and sleeps with both unfinished. */
CHILD(creator)
{
    store_id ids[2];
    void *data;
    store *s = open_as(argument, STORE_ATTACH);
    if (!s || store_create(s, 3 * MIB, 0, &ids[0], &data) || store_promise(s, &ids[1])) _exit(1);
    memset(data, 1, MIB);
    if (send(parent, ids, sizeof ids, MSG_NOSIGNAL) != sizeof ids) _exit(2);
    for (;;) pause();
}

/* Says how attaching ended. */
CHILD(attacher)
{
    store *s;
    manta_status status = store_open(&(store_options){.mode = STORE_ATTACH, .path = argument}, &s);
    bool told = status == MANTA_OK || strstr(store_error(), "56 processes");
    manta_status answer = told ? status : MANTA_EFAILED;
    if (write(parent, &answer, sizeof answer) != sizeof answer) _exit(1);
    if (!status) store_close(s);
    _exit(0);
}

static manta_status attach_elsewhere(const char *path)
{
    manta_status answer = MANTA_EFAILED;
    child_process c = child_start("attacher", path);
    bool heard = child_hear(c.fd, &answer, sizeof answer);
    return child_end(&c, 0) == 0 && heard ? answer : MANTA_EFAILED;
}

static bool eventually_gone(store *s, store_id id)
{
    uint64_t deadline = os_monotonic_ns() + 20ull * OS_NS_PER_S;
    while (store_peek(s, id) != MANTA_ESTALE && os_monotonic_ns() < deadline) usleep(1000);
    return store_peek(s, id) == MANTA_ESTALE;
}

/* Its room is free a moment after it cannot be found any more. */
static bool eventually_right(store *s)
{
    uint64_t deadline = os_monotonic_ns() + 20ull * OS_NS_PER_S;
    while (store_check(s, true) && os_monotonic_ns() < deadline) usleep(1000);
    return store_check(s, true) == MANTA_OK;
}

/* An object lives while any process holds it, and goes with the death of the last; nobody needs to call for that. */
TEST(the_last_holder_dies)
{
    store_place p = store_place_new();
    store *s = open_as(p.path, STORE_CREATE);
    unsigned char data[100000];
    store_id id;
    char sign;
    store_pattern(data, sizeof data, 7);
    EXPECT_EQ(store_put(s, data, sizeof data, &id), MANTA_OK);
    child_process c = child_start("holder", p.path);
    EXPECT(send(c.fd, &id, sizeof id, MSG_NOSIGNAL) == sizeof id);
    EXPECT(child_hear(c.fd, &sign, 1));
    EXPECT_EQ(store_drop(s, id), MANTA_OK);
    EXPECT_EQ(store_peek(s, id), MANTA_OK);
    store_info info;
    EXPECT_EQ(store_stat(s, &info), MANTA_OK);
    EXPECT_EQ(info.processes, 2);
    EXPECT_EQ(child_end(&c, SIGKILL), SIGKILL);
    EXPECT(eventually_gone(s, id));
    EXPECT(eventually_right(s));
    store_close(s);
    EXPECT_EQ(store_destroy(p.path), MANTA_OK);
}

/* Who waits for an object or a promise whose maker dies is told, and the room comes back. */
TEST(the_creator_dies)
{
    store_place p = store_place_new();
    store *s = open_as(p.path, STORE_CREATE);
    child_process c = child_start("creator", p.path);
    store_id ids[2];
    store_view v;
    EXPECT(child_hear(c.fd, ids, sizeof ids));
    for (int i = 0; i < 2; i++) {
        EXPECT_EQ(store_hold(s, ids[i]), MANTA_OK);
        EXPECT_EQ(store_wait(s, ids[i], OS_NS_PER_MS), MANTA_ETIMEDOUT);
        EXPECT_EQ(store_pin(s, ids[i], &v), MANTA_ENOTREADY);
    }
    EXPECT_EQ(child_end(&c, SIGKILL), SIGKILL);
    for (int i = 0; i < 2; i++) {
        EXPECT_EQ(store_wait(s, ids[i], 20ull * OS_NS_PER_S), MANTA_OK);
        EXPECT_EQ(store_pin(s, ids[i], &v), MANTA_EFAILED);
        EXPECT_EQ(v.size_bytes, 0);
        store_unpin(s, ids[i]);
        EXPECT_EQ(store_drop(s, ids[i]), MANTA_OK);
    }
    store_info info;
    EXPECT_EQ(store_stat(s, &info), MANTA_OK);
    EXPECT(info.objects == 0 && info.used_bytes == info.slab_bytes);
    EXPECT_EQ(store_check(s, true), MANTA_OK);
    store_close(s);
    EXPECT_EQ(store_destroy(p.path), MANTA_OK);
}

static bool churn(store *s, const unsigned char *data, int turns)
{
    for (int i = 0; i < turns; i++) {
        store_id id;
        if (store_put(s, data, (uint64_t)(i % 7 + 1) * 100000, &id) || store_drop(s, id)) return false;
    }
    return true;
}

/* A reader that is stopped with a view in its hands makes nothing grow but its own object's stay. */
TEST(a_reader_sleeps)
{
    store_place p = store_place_new();
    store *s = open_as(p.path, STORE_CREATE);
    unsigned char *data = calloc(1, MIB);
    store_id id;
    char sign;
    store_info before, after;
    store_pattern(data, MIB, 7);
    EXPECT_EQ(store_put(s, data, MIB, &id), MANTA_OK);
    child_process c = child_start("holder", p.path);
    EXPECT(send(c.fd, &id, sizeof id, MSG_NOSIGNAL) == sizeof id);
    EXPECT(child_hear(c.fd, &sign, 1));
    kill(c.pid, SIGSTOP);
    EXPECT(churn(s, data, 1000));
    EXPECT_EQ(store_stat(s, &before), MANTA_OK);
    EXPECT(churn(s, data, 30000));
    EXPECT_EQ(store_stat(s, &after), MANTA_OK);
    EXPECT_EQ(after.index_bytes, before.index_bytes);
    EXPECT_EQ(after.used_bytes, before.used_bytes);
    EXPECT_EQ(after.objects, before.objects);
    EXPECT_EQ(child_end(&c, SIGKILL), SIGKILL);
    store_close(s);
    EXPECT_EQ(store_destroy(p.path), MANTA_OK);
    free(data);
}

/* One process too many is told the limit; when one leaves there is a place again. */
TEST(too_many_processes)
{
    store_place p = store_place_new();
    char path[128];
    int fd = -1;
    store *s = open_as(p.path, STORE_CREATE);
    EXPECT(s);
    snprintf(path, sizeof path, "%s/locks", p.path);
    EXPECT_EQ(os_file_open(path, OS_WRITE, &fd), 0);
    for (uint64_t i = 1; i < STORE_PROCESSES; i++) EXPECT_EQ(os_file_try_lock(fd, i), 0); /* as that many processes do */
    EXPECT_EQ(attach_elsewhere(p.path), MANTA_ELIMIT);
    EXPECT_EQ(os_file_unlock(fd, STORE_PROCESSES - 1), 0);
    EXPECT_EQ(attach_elsewhere(p.path), MANTA_OK);
    os_file_close(fd);
    EXPECT_EQ(store_check(s, true), MANTA_OK);
    store_close(s);
    EXPECT_EQ(store_destroy(p.path), MANTA_OK);
}
