/* The control store of a system that belongs to no cluster: key-value pairs, watches, locks, names. */
#include "test/support/actors.h"

/* A key has a value and a revision that grows; conditions hold or fail with MANTA_ESTALE; what is not there is MANTA_ENOTFOUND. */
IN_BOTH_MODES(key_values)
{
    uint64_t first = 0, second = 0, seen = 0;
    manta_bytes value;
    (void)manta_scope_begin();
    EXPECT_EQ(manta_kv_get("test", "a", &value, NULL), MANTA_ENOTFOUND);
    EXPECT_EQ(manta_kv_put("test", "a", "one", 3, MANTA_REVISION_NONE, &first), MANTA_OK);
    EXPECT_EQ(manta_kv_put("test", "a", "two", 3, MANTA_REVISION_NONE, NULL), MANTA_ESTALE);
    EXPECT_EQ(manta_kv_put("test", "a", "two", 3, first, &second), MANTA_OK);
    EXPECT(second > first);
    EXPECT_EQ(manta_kv_put("test", "a", "three", 5, first, NULL), MANTA_ESTALE);
    EXPECT_EQ(manta_kv_get("test", "a", &value, &seen), MANTA_OK);
    EXPECT(seen == second && value.size == 3 && memcmp(value.data, "two", 3) == 0);
    EXPECT_EQ(manta_kv_get("other", "a", &value, NULL), MANTA_ENOTFOUND);
    EXPECT_EQ(manta_kv_delete("test", "a", first), MANTA_ESTALE);
    EXPECT_EQ(manta_kv_delete("test", "a", MANTA_REVISION_ANY), MANTA_OK);
    EXPECT_EQ(manta_kv_delete("test", "a", MANTA_REVISION_ANY), MANTA_ENOTFOUND);
    EXPECT_EQ(manta_kv_put("test", "empty", NULL, 0, MANTA_REVISION_ANY, NULL), MANTA_OK);
    EXPECT_EQ(manta_kv_get("test", "empty", &value, NULL), MANTA_OK);
    EXPECT_EQ(value.size, 0);
    EXPECT_EQ(manta_scope_end(), MANTA_OK);
}

/* A list is in the order of keys, by pages, and says when there is more. */
IN_BOTH_MODES(lists)
{
    enum { KEYS = 2500 };
    static manta_kv_item items[KEYS];
    char key[16];
    size_t n = 0;
    bool more = false;
    (void)manta_scope_begin();
    for (int i = 0; i < KEYS; i++) {
        snprintf(key, sizeof key, "k%05d", i);
        EXPECT_EQ(manta_kv_put("list", key, &i, sizeof i, MANTA_REVISION_ANY, NULL), MANTA_OK);
    }
    EXPECT_EQ(manta_kv_put("list", "other", "", 0, MANTA_REVISION_ANY, NULL), MANTA_OK);
    EXPECT_EQ(manta_kv_list("list", "k", NULL, items, KEYS, &n, &more), MANTA_OK);
    EXPECT(n == KEYS && !more);
    for (int i = 0; i < KEYS; i++) {
        snprintf(key, sizeof key, "k%05d", i);
        EXPECT(strcmp(items[i].key, key) == 0 && items[i].value.size == sizeof i && memcmp(items[i].value.data, &i, sizeof i) == 0);
    }
    EXPECT_EQ(manta_kv_list("list", "k", "k00009", items, 10, &n, &more), MANTA_OK);
    EXPECT(n == 10 && more && strcmp(items[0].key, "k00010") == 0);
    EXPECT_EQ(manta_kv_list("list", "x", NULL, items, 10, &n, &more), MANTA_OK);
    EXPECT(n == 0 && !more);
    EXPECT_EQ(manta_scope_end(), MANTA_OK);
}

/* ---- watches ---- */

MANTA_ACTOR(Watcher, char log[256];)
MANTA_METHOD(Watcher, on_change, void, (manta_kv_change, change))
{
    size_t n = strlen(self->log);
    snprintf(self->log + n, sizeof self->log - n, "%.*s%s%.*s ", (int)change.key.size, change.key.data, change.is_gone ? "-" : "=",
        (int)change.value.size, change.value.size ? (const char *)change.value.data : "");
}
MANTA_METHOD(Watcher, wrong, void, (int64_t, n)) { (void)self, (void)n; }
MANTA_METHOD(Watcher, begin, int32_t, (manta_str, prefix))
{
    char text[32];
    (void)self;
    snprintf(text, sizeof text, "%.*s", (int)prefix.size, prefix.size ? prefix.data : "");
    return (int32_t)manta_kv_watch("watched", text, Watcher_on_change);
}
MANTA_METHOD(Watcher, begin_wrong, int32_t)
{
    (void)self;
    return (int32_t)manta_kv_watch("watched", "", Watcher_wrong);
}
MANTA_METHOD(Watcher, end, int32_t)
{
    (void)self;
    return (int32_t)manta_kv_unwatch("watched", "a/");
}
MANTA_METHOD(Watcher, log, manta_str) { return manta_str_of(self->log); }
MANTA_CLASS(Watcher, on_change, wrong, begin, begin_wrong, end, log)

static bool logged(Watcher_ref w, const char *text)
{
    manta_str s;
    return manta_get(Watcher_log(w), &s) == MANTA_OK && s.size == strlen(text) && memcmp(s.data, text, s.size) == 0;
}

static bool put(const char *key, const char *value)
{
    return manta_kv_put("watched", key, value, strlen(value), MANTA_REVISION_ANY, NULL) == MANTA_OK;
}

/* A watcher is told what is there, then each change under its prefix in order, and nothing after it has ended its watch. */
IN_BOTH_MODES(watches)
{
    (void)manta_scope_begin();
    Watcher_ref w = Watcher_spawn();
    EXPECT(put("a/1", "x") && put("b/1", "x"));
    EXPECT_EQ(manta_await(Watcher_begin_wrong(w)), MANTA_ETYPE);
    EXPECT_EQ(manta_await(Watcher_begin(w, manta_str_of("a/"))), MANTA_OK);
    EXPECT(put("a/2", "y") && put("b/2", "y") && put("a/1", "z"));
    EXPECT_EQ(manta_kv_delete("watched", "a/2", MANTA_REVISION_ANY), MANTA_OK);
    EXPECT(WAIT_FOR(logged(w, "a/1=x a/2=y a/1=z a/2- "), 10));
    EXPECT_EQ(manta_await(Watcher_end(w)), MANTA_OK);
    EXPECT_EQ(manta_await(Watcher_end(w)), MANTA_ENOTFOUND);
    EXPECT(put("a/3", "x"));
    EXPECT(logged(w, "a/1=x a/2=y a/1=z a/2- "));
    EXPECT_EQ(manta_kv_watch_method("watched", "", &Watcher_on_change_method), MANTA_ECONTEXT);
    EXPECT_EQ(manta_scope_end(), MANTA_OK);
}

/* ---- locks ---- */

MANTA_ACTOR(Holder, manta_lock lock;)
MANTA_METHOD(Holder, take, uint64_t, (uint32_t, lease_ms), (uint64_t, timeout_ms))
{
    manta_status status = manta_lock_acquire("the lock", lease_ms, timeout_ms, &self->lock);
    if (status) manta_fail(status, "%s", manta_last_error()->message);
    return self->lock.token;
}
MANTA_METHOD(Holder, holds, bool) { return manta_lock_is_held(&self->lock); }
MANTA_METHOD(Holder, give, int32_t) { return (int32_t)manta_lock_release(&self->lock); }
MANTA_CLASS(Holder, take, holds, give)

/* One holds a lock; those who wait get it in their order, with tokens that grow; who does not want to wait is told. */
IN_BOTH_MODES(locks)
{
    (void)manta_scope_begin();
    Holder_ref a = Holder_spawn(), b = Holder_spawn(), c = Holder_spawn();
    uint64_t first = manta_await(Holder_take(a, 500, 0)), second, third;
    EXPECT(first && manta_await(Holder_holds(a)));
    EXPECT_EQ(manta_get(Holder_take(b, 500, 0), &second), MANTA_ETIMEDOUT);
    EXPECT_EQ(manta_get(Holder_take(b, 500, 50), &second), MANTA_ETIMEDOUT);
    manta_uint64_t_future waits_b = Holder_take(b, 500, MANTA_FOREVER);
    EXPECT_EQ(manta_get_timeout(waits_b, &second, 1200), MANTA_ETIMEDOUT); /* the lease is renewed meanwhile */
    manta_uint64_t_future waits_c = Holder_take(c, 500, MANTA_FOREVER);
    EXPECT_EQ(manta_get_timeout(waits_c, &third, 50), MANTA_ETIMEDOUT);
    EXPECT_EQ(manta_await(Holder_give(a)), MANTA_OK);
    EXPECT_EQ(manta_await(Holder_give(a)), MANTA_ESTALE);
    EXPECT_EQ(manta_get_timeout(waits_b, &second, 5000), MANTA_OK);
    EXPECT(second > first && !manta_await(Holder_holds(a)));
    EXPECT_EQ(manta_await(Holder_give(b)), MANTA_OK);
    EXPECT_EQ(manta_get_timeout(waits_c, &third, 5000), MANTA_OK);
    EXPECT(third > second);
    EXPECT_EQ(manta_scope_end(), MANTA_OK);
}

/* An actor that is killed while it waits for a lock does not get it, and does not keep others from it. */
IN_BOTH_MODES(killed_waiter)
{
    manta_lock lock, other;
    (void)manta_scope_begin();
    Holder_ref a = Holder_spawn();
    EXPECT_EQ(manta_lock_acquire("the lock", 0, 0, &lock), MANTA_OK);
    manta_uint64_t_future f = Holder_take(a, 200, MANTA_FOREVER);
    uint64_t token;
    EXPECT_EQ(manta_get_timeout(f, &token, 50), MANTA_ETIMEDOUT);
    EXPECT_EQ(manta_kill(a.actor), MANTA_OK);
    EXPECT_EQ(manta_wait_exit(a.actor, 5000, NULL), MANTA_OK);
    EXPECT_EQ(manta_lock_release(&lock), MANTA_OK);
    EXPECT_EQ(manta_lock_acquire("the lock", 0, 5000, &other), MANTA_OK); /* after the dead one's lease */
    EXPECT_EQ(manta_lock_release(&other), MANTA_OK);
    EXPECT_EQ(manta_scope_end(), MANTA_OK);
}

/* ---- names ---- */

/* A name of the cluster finds its actor, is unique in its namespace, and is free again when the actor has exited. */
IN_BOTH_MODES(names)
{
    manta_actor found = {0};
    (void)manta_scope_begin();
    Holder_ref a = Holder_spawn(), b = Holder_spawn();
    EXPECT_EQ(manta_lookup_in_cluster("space", "name", &found), MANTA_ENOTFOUND);
    EXPECT_EQ(manta_register_in_cluster("space", "name", a.actor), MANTA_OK);
    EXPECT_EQ(manta_register_in_cluster("space", "name", b.actor), MANTA_EEXIST);
    EXPECT_EQ(manta_register_in_cluster("elsewhere", "name", b.actor), MANTA_OK);
    EXPECT_EQ(manta_lookup_in_cluster("space", "name", &found), MANTA_OK);
    EXPECT(found.id == a.actor.id);
    EXPECT_EQ(manta_stop(a.actor), MANTA_OK);
    EXPECT(WAIT_FOR(manta_lookup_in_cluster("space", "name", &found) == MANTA_ENOTFOUND, 10));
    EXPECT_EQ(manta_register_in_cluster("space", "name", b.actor), MANTA_OK);
    EXPECT_EQ(manta_register_in_cluster("space", "late", a.actor), MANTA_EDEAD);
    EXPECT_EQ(manta_scope_end(), MANTA_OK);
}

/* Names that are empty or too long, values that are too large, leases out of range, and calls without a system are refused with a reason. */
TEST(misuse)
{
    manta_bytes value;
    manta_lock lock = {0, 0};
    char name[2000];
    memset(name, 'x', sizeof name - 1);
    name[sizeof name - 1] = 0;
    EXPECT_EQ(manta_kv_get("a", "b", &value, NULL), MANTA_ESHUTDOWN);
    manta_t *m = test_system(2, 0);
    EXPECT(m);
    EXPECT_EQ(manta_kv_get("", "b", &value, NULL), MANTA_EINVAL);
    EXPECT_EQ(manta_kv_get("a", NULL, &value, NULL), MANTA_EINVAL);
    EXPECT_EQ(manta_kv_get(name, "b", &value, NULL), MANTA_ETOOLONG);
    EXPECT_EQ(manta_kv_get("a", name, &value, NULL), MANTA_ETOOLONG);
    EXPECT_EQ(manta_kv_put("a", "b", NULL, 5, 0, NULL), MANTA_EINVAL);
    void *large = calloc(1, 2 << 20);
    EXPECT_EQ(manta_kv_put("a", "b", large, 2 << 20, MANTA_REVISION_ANY, NULL), MANTA_ETOOLONG);
    free(large);
    EXPECT_EQ(manta_lock_acquire("a", 5, 0, &lock), MANTA_EINVAL);
    EXPECT_EQ(manta_lock_release(&lock), MANTA_ESTALE);
    EXPECT_EQ(manta_shutdown(m), MANTA_OK);
}
