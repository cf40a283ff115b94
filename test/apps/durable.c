/* A driver for test/check/durable.sh: actors that are started again when their process dies. Commands come by standard input, answers go to standard output. */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <manta/manta.h>

enum { PATIENCE_MS = 30000 };

/* Begins anew. */
MANTA_ACTOR(Cache, int64_t value; int64_t start;)
MANTA_METHOD(Cache, init, void, (int64_t, start)) { self->value = self->start = start; }
MANTA_METHOD(Cache, add, int64_t, (int64_t, by)) { return self->value += by; }
MANTA_METHOD(Cache, pid, int64_t) { return (void)self, (int64_t)getpid(); }
MANTA_METHOD(Cache, nap, int64_t, (int64_t, ms))
{
    (void)manta_sleep((uint64_t)ms);
    return self->value;
}
MANTA_METHOD(Cache, fail, void)
{
    (void)self;
    manta_exit(MANTA_EFAILED, "it wants to");
}
MANTA_CLASS_WITH(Cache, (.durability = MANTA_RESTARTABLE), init, add, pid, nap, fail)

/* Goes on. */
MANTA_ACTOR(Account, int64_t balance; uint64_t calls;)
MANTA_METHOD(Account, add, int64_t, (int64_t, by))
{
    self->calls++;
    return self->balance += by;
}
MANTA_METHOD(Account, pid, int64_t) { return (void)self, (int64_t)getpid(); }
MANTA_METHOD(Account, count, uint64_t) { return self->calls; }
MANTA_STATE(Account, (int64_t, balance), (uint64_t, calls))
MANTA_DURABLE_CLASS(Account, (.checkpoint_calls = 50), add, pid, count)

static uint64_t started;

static uint64_t clock_ns(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static uint64_t ms_since(uint64_t from) { return (manta_now_ns() - from) / 1000000; }

static void restartable(void)
{
    Cache_ref c = Cache_spawn(100);
    if (!c.actor.id) printf("spawn: %s\n", manta_last_error()->message);
    printf("first: %" PRId64 "\n", manta_await(Cache_add(c, 1)));
    int64_t pid = manta_await(Cache_pid(c)), value = 0;
    manta_int64_t_future waits = Cache_nap(c, 10000);
    (void)manta_sleep(50);
    uint64_t from = manta_now_ns();
    (void)kill((pid_t)pid, 9);
    manta_status status = manta_get(waits, &value);
    printf("under way: %s\n", manta_status_name(status));
    status = manta_get_timeout(Cache_add(c, 1), &value, PATIENCE_MS);
    printf("again: %s %" PRId64 "\n", manta_status_name(status), value);
    fprintf(stderr, "restart took %" PRIu64 " ms\n", ms_since(from));
    for (int i = 0; i < 5; i++) {
        from = manta_now_ns();
        pid = manta_await(Cache_pid(c));
        (void)kill((pid_t)pid, 9);
        (void)manta_get_timeout(Cache_add(c, 1), &value, PATIENCE_MS);
        status = manta_get_timeout(Cache_add(c, 1), &value, PATIENCE_MS);
        fprintf(stderr, "restart took %" PRIu64 " ms\n", ms_since(from));
        (void)manta_sleep(1500);
    }
    manta_status why;
    (void)Cache_fail_send(c);
    status = manta_wait_exit(c.actor, PATIENCE_MS, &why);
    printf("exit: %s %s\n", manta_status_name(status), manta_status_name(why));
    status = manta_get_timeout(Cache_add(c, 1), &value, PATIENCE_MS);
    printf("after: %s\n", manta_status_name(status));
}

static void limited(void)
{
    Cache_ref c = Cache_spawn_with(MANTA_OPTIONS(.max_restarts = 1), 5);
    int64_t value = 0;
    for (int i = 0; i < 2; i++) {
        int64_t pid = 0;
        manta_status got;
        do got = manta_get(Cache_pid(c), &pid);
        while (got == MANTA_EUNKNOWN);
        (void)kill((pid_t)pid, 9);
    }
    manta_status status;
    do status = manta_get_timeout(Cache_add(c, 1), &value, PATIENCE_MS);
    while (status == MANTA_EUNKNOWN);
    printf("used up: %s: %s\n", manta_status_name(status), manta_last_error()->message);
}

static void durable(int64_t calls, int kills)
{
    Account_ref a = Account_spawn();
    if (!a.actor.id) printf("spawn: %s\n", manta_last_error()->message);
    int64_t value = 0, pid;
    for (int64_t i = 1; i <= calls; i++) {
        if (kills && i % (calls / (kills + 1)) == 0) {
            pid = manta_await(Account_pid(a));
            (void)kill((pid_t)pid, 9);
        }
        manta_status status = manta_get_timeout(Account_add(a, 1), &value, PATIENCE_MS);
        if (status || value != i)
            printf(
                "call %" PRId64 ": %s %" PRId64 ": %s\n", i, manta_status_name(status), value, status ? manta_last_error()->message : "");
        if (status) break;
    }
    printf("durable: %" PRId64 " %" PRIu64 "\n", value, manta_await(Account_count(a)));
}

static int by_number(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

/* From SIGKILL of its process to the next answer; after some calm, since who dies again soon waits. */
static void restarts(int n, uint64_t calm_ms)
{
    uint64_t took[100];
    int64_t value = 0;
    Account_ref a = Account_spawn();
    for (int i = 0; i < n && i < 100; i++) {
        (void)manta_get(Account_add(a, 1), &value);
        int64_t pid = manta_await(Account_pid(a));
        (void)manta_sleep(calm_ms);
        uint64_t from = manta_now_ns();
        (void)kill((pid_t)pid, 9);
        (void)manta_get_timeout(Account_add(a, 1), &value, PATIENCE_MS);
        took[i] = manta_now_ns() - from;
    }
    qsort(took, (size_t)n, sizeof *took, by_number);
    fprintf(stderr, "restart: median %.1f ms, %.1f to %.1f\n", (double)took[n / 2] / 1e6, (double)took[0] / 1e6, (double)took[n - 1] / 1e6);
    printf("restarts: %" PRId64 "\n", value);
}

static void speed(int64_t calls, int window)
{
    Account_ref a = Account_spawn();
    int64_t value = 0;
    (void)manta_get(Account_add(a, 0), &value);
    manta_int64_t_future f[1024];
    static uint64_t took[1000];
    enum { ONES = sizeof took / sizeof *took };
    uint64_t from;
    for (int i = 0; i < ONES; i++) {
        from = manta_now_ns();
        (void)manta_get(Account_add(a, 1), &value);
        took[i] = manta_now_ns() - from;
    }
    qsort(took, ONES, sizeof *took, by_number);
    fprintf(stderr, "one at a time: p50 %.2f ms, p99 %.2f ms\n", (double)took[ONES / 2] / 1e6, (double)took[ONES * 99 / 100] / 1e6);
    from = manta_now_ns();
    for (int64_t i = 0; i < calls; i++) {
        if (i >= window) (void)manta_get(f[i % window], &value);
        f[i % window] = Account_add(a, 1);
    }
    for (int64_t i = calls; i < calls + window; i++) (void)manta_get(f[i % window], &value);
    double seconds = (double)(manta_now_ns() - from) / 1e9;
    fprintf(stderr, "%d under way: %.0f calls/s\n", window, (double)calls / seconds);
    printf("speed: %" PRId64 "\n", value);
}

static void detached(const char *name, int64_t by, const char *labels)
{
    Account_ref a =
        Account_spawn_with(MANTA_OPTIONS(.name = name, .lifetime = MANTA_LIFETIME_DETACHED, .get_if_exists = true, .labels = labels));
    int64_t value = 0;
    if (!a.actor.id) printf("spawn: %s\n", manta_last_error()->message);
    manta_status status = manta_get_timeout(Account_add(a, by), &value, PATIENCE_MS);
    fprintf(stderr, "answered %.1f ms after the start\n", (double)(clock_ns() - started) / 1e6);
    printf("%s: %s %" PRId64 "\n", name, manta_status_name(status), value);
    if (status) printf("%s\n", manta_last_error()->message);
}

static uint64_t wall_ms(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_REALTIME, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* One call after the other for so long, and what each was answered, and when. */
static void steady(const char *name, uint64_t ms)
{
    manta_actor found = {0};
    manta_status status = manta_lookup(name, &found);
    if (status) printf("%s: %s\n", name, manta_last_error()->message);
    for (uint64_t from = manta_now_ns(); !status && ms_since(from) < ms;) {
        int64_t value = 0;
        status = manta_get_timeout(Account_add(Account_ref_of(found), 1), &value, PATIENCE_MS);
        if (status) printf("error %s: %s\n", manta_status_name(status), manta_last_error()->message);
        else printf("%" PRIu64 " %" PRId64 "\n", wall_ms(), value);
    }
    uint64_t calls = 0;
    if (manta_get_timeout(Account_count(Account_ref_of(found)), &calls, PATIENCE_MS) == MANTA_OK) printf("count %" PRIu64 "\n", calls);
}

static void where(const char *name)
{
    manta_actor found = {0};
    manta_status status = manta_lookup(name, &found);
    int64_t pid = 0;
    if (!status) status = manta_get_timeout(Account_pid(Account_ref_of(found)), &pid, PATIENCE_MS);
    if (status) printf("%s: %s\n", name, manta_last_error()->message);
    else printf("%s is in %" PRId64 "\n", name, pid);
}

int main(int argc, char **argv)
{
    started = clock_ns();
    manta_t *m = manta_init(&argc, &argv);
    const char *what = argc > 1 ? argv[1] : "";
    if (!m) return 1;
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (strcmp(what, "restartable") == 0) restartable();
    else if (strcmp(what, "limited") == 0) limited();
    else if (strcmp(what, "durable") == 0) durable(atoll(argv[2]), atoi(argv[3]));
    else if (strcmp(what, "speed") == 0) speed(atoll(argv[2]), atoi(argv[3]));
    else if (strcmp(what, "restarts") == 0 && atoi(argv[2]) <= 100) restarts(atoi(argv[2]), (uint64_t)atoll(argv[3]));
    else if (strcmp(what, "detached") == 0) detached(argv[2], atoll(argv[3]), argc > 4 ? argv[4] : NULL);
    else if (strcmp(what, "steady") == 0) steady(argv[2], (uint64_t)atoll(argv[3]));
    else if (strcmp(what, "where") == 0) where(argv[2]);
    return manta_shutdown(m) == MANTA_OK ? 0 : 1;
}
