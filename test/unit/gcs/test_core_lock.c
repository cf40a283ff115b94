/* Named locks: leases, queues, fencing tokens, every error, and random commands against a stupid model. */
#include "scheduler/base/rng.h"
#include "test/support/gcs_core_fixture.h"

static manta_status acquire(core_fixture *x, const char *name, const char *holder, uint64_t lease_ms, bool wait)
{
    return APPLY(x, LOCK_ACQUIRE, lock_acquire, .name = S(name), .holder = S(holder), .lease_ms = lease_ms, .wait = wait);
}

static const char *holder_of(core_fixture *x, const char *name)
{
    static char text[64];
    if (QUERY(x, LOCK_GET, lock_get, .name = S(name))) return "";
    gcs_lock_row row = ROW(x, lock_row);
    snprintf(text, sizeof text, "%.*s", (int)row.holder.size, row.holder.data);
    return text;
}

/* A free lock is granted; the holder's own second acquire gives the same token and a fresh lease. */
TEST(grant)
{
    core_fixture x;
    core_open(&x, NULL);
    x.now_ms = 1000;
    EXPECT(!acquire(&x, "l", "a", 100, false));
    EXPECT_STR(x.events, "LOCK l;");
    gcs_lock_result first = ROW(&x, lock_result);
    EXPECT(first.granted && first.token && first.expires_ms == 1100 && text_is(first.holder, "a"));
    x.now_ms = 1050;
    EXPECT(!acquire(&x, "l", "a", 100, false));
    EXPECT(ROW(&x, lock_result).granted && ROW(&x, lock_result).token == first.token && ROW(&x, lock_result).expires_ms == 1150);
    EXPECT_EQ(gcs_core_next_expiry(x.core), 1150);
    core_close(&x);
}

/* A held lock is not granted to another: without waiting it says who has it, with waiting it says the place in the queue, the same when asked again. */
TEST(queue)
{
    core_fixture x;
    core_open(&x, NULL);
    EXPECT(!acquire(&x, "l", "a", 100, false));
    EXPECT(!acquire(&x, "l", "b", 100, false));
    gcs_lock_result r = ROW(&x, lock_result);
    EXPECT(!r.granted && r.position == 0 && text_is(r.holder, "a"));
    EXPECT(!acquire(&x, "l", "b", 100, true));
    EXPECT_EQ(ROW(&x, lock_result).position, 1);
    EXPECT(!acquire(&x, "l", "c", 100, true));
    EXPECT_EQ(ROW(&x, lock_result).position, 2);
    EXPECT(!acquire(&x, "l", "b", 100, true));
    EXPECT_EQ(ROW(&x, lock_result).position, 1);
    EXPECT(!APPLY(&x, LOCK_WITHDRAW, lock_withdraw, .name = S("l"), .holder = S("b")));
    EXPECT_EQ(APPLY(&x, LOCK_WITHDRAW, lock_withdraw, .name = S("l"), .holder = S("b")), MANTA_ENOTFOUND);
    EXPECT_EQ(APPLY(&x, LOCK_WITHDRAW, lock_withdraw, .name = S("l"), .holder = S("a")), MANTA_EEXIST);
    EXPECT(core_number(&x) > 0);
    EXPECT(!acquire(&x, "l", "c", 100, true));
    EXPECT_EQ(ROW(&x, lock_result).position, 1);
    core_close(&x);
}

/* A release gives the lock to the first who waits, with a greater token, and that is an event. */
TEST(handover)
{
    core_fixture x;
    core_open(&x, NULL);
    EXPECT(!acquire(&x, "l", "a", 100, false));
    uint64_t token = ROW(&x, lock_result).token;
    EXPECT(!acquire(&x, "l", "b", 100, true));
    EXPECT_EQ(APPLY(&x, LOCK_RELEASE, lock_release, .name = S("l"), .holder = S("a"), .token = token + 1), MANTA_ESTALE);
    EXPECT_EQ(APPLY(&x, LOCK_RELEASE, lock_release, .name = S("l"), .holder = S("b"), .token = token), MANTA_ESTALE);
    EXPECT(!APPLY(&x, LOCK_RELEASE, lock_release, .name = S("l"), .holder = S("a"), .token = token));
    EXPECT(strncmp(x.events, "LOCK l;WAITER -l.", 17) == 0);
    EXPECT_STR(holder_of(&x, "l"), "b");
    EXPECT(ROW(&x, lock_row).token > token);
    EXPECT(!APPLY(&x, LOCK_RELEASE, lock_release, .name = S("l"), .holder = S("b"), .token = ROW(&x, lock_row).token));
    EXPECT_STR(x.events, "LOCK -l;");
    EXPECT_EQ(APPLY(&x, LOCK_RELEASE, lock_release, .name = S("l"), .holder = S("b"), .token = token), MANTA_ESTALE);
    EXPECT_EQ(QUERY(&x, LOCK_GET, lock_get, .name = S("l")), MANTA_ENOTFOUND);
    core_close(&x);
}

/* A lease that is not renewed ends at its time by whatever comes next, and the next holder's token fences the old one. */
TEST(expiry)
{
    core_fixture x;
    core_open(&x, NULL);
    x.now_ms = 10;
    EXPECT(!acquire(&x, "l", "a", 100, false));
    uint64_t token = ROW(&x, lock_result).token;
    EXPECT(!acquire(&x, "l", "b", 50, true));
    x.now_ms = 109;
    EXPECT(!APPLY(&x, LOCK_RENEW, lock_renew, .name = S("l"), .holder = S("a"), .token = token));
    EXPECT_EQ(ROW(&x, lock_result).expires_ms, 209);
    x.now_ms = 208;
    EXPECT(!APPLY(&x, TICK, tick));
    EXPECT_STR(holder_of(&x, "l"), "a");
    x.now_ms = 209;
    EXPECT(!APPLY(&x, TICK, tick));
    EXPECT_STR(holder_of(&x, "l"), "b");
    EXPECT_EQ(APPLY(&x, LOCK_RENEW, lock_renew, .name = S("l"), .holder = S("a"), .token = token), MANTA_ESTALE);
    EXPECT_EQ(gcs_core_next_expiry(x.core), 259);
    x.now_ms = 100; /* time does not go back */
    EXPECT(!APPLY(&x, TICK, tick));
    EXPECT_EQ(gcs_core_now(x.core), 209);
    x.now_ms = 259;
    EXPECT(!acquire(&x, "l", "c", 10, false));
    EXPECT(ROW(&x, lock_result).granted);
    core_close(&x);
}

/* Leases and names out of bounds are refused, and so is a queue that is too long. */
TEST(limits)
{
    core_fixture x;
    core_open(&x, NULL);
    EXPECT_EQ(acquire(&x, "l", "a", 0, false), MANTA_EINVAL);
    EXPECT_EQ(acquire(&x, "l", "a", 86400001, false), MANTA_EINVAL);
    EXPECT_EQ(acquire(&x, "", "a", 1, false), MANTA_EINVAL);
    EXPECT(!acquire(&x, "l", "a", 86400000, false));
    EXPECT_EQ(APPLY(&x, LOCK_RENEW, lock_renew, .name = S("l"), .holder = S("a"), .token = 1, .lease_ms = 86400001), MANTA_EINVAL);
    for (int i = 0; i < 4096; i++) {
        char name[16];
        snprintf(name, sizeof name, "w%d", i);
        EXPECT(!acquire(&x, "l", name, 1000, true));
    }
    EXPECT_EQ(acquire(&x, "l", "late", 1000, true), MANTA_ELIMIT);
    EXPECT(!acquire(&x, "l", "w4095", 1000, true));
    EXPECT_EQ(ROW(&x, lock_result).position, 4096);
    core_close(&x);
}

enum { LOCKS = 4, HOLDERS = 6 };
typedef struct model_lock {
    int holder; /* -1: nobody */
    uint64_t token, lease_ms, expires_ms;
    int queue[HOLDERS];
    uint64_t leases[HOLDERS];
    int waiting;
} model_lock;
typedef struct model {
    model_lock locks[LOCKS];
    uint64_t token, now_ms;
} model;

static void model_pass_on(model *m, model_lock *l)
{
    if (!l->waiting) {
        l->holder = -1;
        return;
    }
    l->holder = l->queue[0];
    l->lease_ms = l->leases[0];
    l->token = ++m->token;
    l->expires_ms = m->now_ms + l->lease_ms;
    l->waiting--;
    memmove(l->queue, l->queue + 1, (size_t)l->waiting * sizeof l->queue[0]);
    memmove(l->leases, l->leases + 1, (size_t)l->waiting * sizeof l->leases[0]);
}

/* The lock whose lease ends first, by time and then by name. */
static void model_expire(model *m)
{
    for (;;) {
        model_lock *first = NULL;
        for (int i = 0; i < LOCKS; i++) {
            model_lock *l = &m->locks[i];
            if (l->holder >= 0 && l->expires_ms <= m->now_ms && (!first || l->expires_ms < first->expires_ms)) first = l;
        }
        if (!first) return;
        model_pass_on(m, first);
    }
}

static int model_place(const model_lock *l, int holder)
{
    for (int i = 0; i < l->waiting; i++)
        if (l->queue[i] == holder) return i;
    return -1;
}

static bool step_acquire(
    core_fixture *x, model *m, model_lock *l, const char *name, int h, const char *holder, uint64_t lease_ms, bool wait)
{
    if (acquire(x, name, holder, lease_ms, wait)) return false;
    gcs_lock_result r = ROW(x, lock_result);
    if (l->holder < 0) {
        l->holder = h;
        l->token = ++m->token;
        l->expires_ms = 0;
    }
    if (l->holder == h) {
        l->lease_ms = lease_ms;
        if (l->expires_ms < m->now_ms + lease_ms) l->expires_ms = m->now_ms + lease_ms;
        return r.granted && r.token == l->token && r.expires_ms == l->expires_ms;
    }
    if (wait && model_place(l, h) < 0) {
        l->leases[l->waiting] = lease_ms;
        l->queue[l->waiting++] = h;
    }
    return !r.granted && r.position == (wait ? (uint64_t)model_place(l, h) + 1 : 0) && r.expires_ms == l->expires_ms;
}

static bool step_release(core_fixture *x, model *m, model_lock *l, const char *name, int h, const char *holder, uint64_t token)
{
    bool ok = l->holder == h && l->token == token;
    manta_status status = APPLY(x, LOCK_RELEASE, lock_release, .name = S(name), .holder = S(holder), .token = token);
    if (ok) model_pass_on(m, l);
    return status == (ok ? MANTA_OK : MANTA_ESTALE);
}

static bool step_renew(core_fixture *x, model *m, model_lock *l, const char *name, int h, const char *holder, uint64_t token)
{
    bool ok = l->holder == h && l->token == token;
    manta_status status = APPLY(x, LOCK_RENEW, lock_renew, .name = S(name), .holder = S(holder), .token = token);
    if (ok && l->expires_ms < m->now_ms + l->lease_ms) l->expires_ms = m->now_ms + l->lease_ms;
    return status == (ok ? MANTA_OK : MANTA_ESTALE);
}

static bool step_withdraw(core_fixture *x, model_lock *l, const char *name, int h, const char *holder)
{
    int place = model_place(l, h);
    manta_status status = APPLY(x, LOCK_WITHDRAW, lock_withdraw, .name = S(name), .holder = S(holder));
    if (place < 0) return status == (l->holder == h ? MANTA_EEXIST : MANTA_ENOTFOUND);
    l->waiting--;
    memmove(l->queue + place, l->queue + place + 1, (size_t)(l->waiting - place) * sizeof l->queue[0]);
    memmove(l->leases + place, l->leases + place + 1, (size_t)(l->waiting - place) * sizeof l->leases[0]);
    return !status;
}

static bool model_step(core_fixture *x, model *m, rng *r)
{
    int h = (int)rng_below(r, HOLDERS);
    uint64_t lock = rng_below(r, LOCKS), token = rng_below(r, 4) ? m->locks[lock].token : rng_below(r, m->token + 1);
    char name[8] = {'l', (char)('0' + lock), 0}, holder[8] = {'h', (char)('0' + h), 0};
    model_lock *l = &m->locks[lock];
    x->now_ms = m->now_ms += rng_below(r, 20);
    model_expire(m);
    switch (rng_below(r, 8)) {
    case 0: return step_release(x, m, l, name, h, holder, token);
    case 1: return step_renew(x, m, l, name, h, holder, token);
    case 2: return step_withdraw(x, l, name, h, holder);
    default: return step_acquire(x, m, l, name, h, holder, 1 + rng_below(r, 300), rng_below(r, 2));
    }
}

/* Random commands at random times agree with arrays, token by token and lease by lease. */
TEST(model)
{
    core_fixture x;
    model m = {.token = 0};
    rng r;
    rng_init(&r, test_seed());
    for (int i = 0; i < LOCKS; i++) m.locks[i].holder = -1;
    core_open(&x, NULL);
    for (int i = 0; i < test_scaled(100000); i++) EXPECT(model_step(&x, &m, &r));
    for (int i = 0; i < LOCKS; i++) {
        char name[8] = {'l', (char)('0' + i), 0}, holder[8] = {'h', (char)('0' + m.locks[i].holder), 0};
        EXPECT_STR(holder_of(&x, name), m.locks[i].holder < 0 ? "" : holder);
    }
    core_close(&x);
}
