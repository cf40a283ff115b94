/*
 * Clients of the control store for tools/chaos: for some seconds they write, compare-and-set and read keys and take locks, whatever happens to the cluster; then the history of it all must be linearizable. All of them live in this process, which has the history.
 */
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <manta/manta.h>

#include "test/support/linear.h"

enum { CLIENTS = 4, LOCKERS = 3, KEYS = 3, LOCKS = 2, OPS = 60000, SECONDS = 8, PAUSE_MS = 5, PATIENCE_MS = 30000 };

typedef struct record {
    linear_op ops[OPS];
    _Atomic size_t count;
} record;
static record registers, locks;
static _Atomic uint64_t next_value;
static uint64_t over_ns;

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static size_t size_of(const record *r) { return r->count < OPS ? r->count : OPS; }
/* Ends while there is room for all that is under way. */
static bool goes_on(const record *r) { return now_ns() < over_ns && r->count < OPS - 100; }

static void note(record *r, linear_op op, bool is_known)
{
    size_t i = r->count++;
    op.return_ns = is_known ? now_ns() : LINEAR_UNKNOWN;
    if (i < OPS) r->ops[i] = op;
}

static bool read_key(uint64_t client, uint64_t key, const char *name, uint64_t *out_value, uint64_t *out_revision)
{
    manta_bytes value = {NULL, 0};
    linear_op op = {.key = key, .client = client, .kind = LINEAR_READ, .call_ns = now_ns()};
    *out_value = *out_revision = 0;
    manta_status status = manta_kv_get("history", name, &value, out_revision);
    if (status && status != MANTA_ENOTFOUND) return false; /* a read without an answer says nothing */
    if (!status && value.size == sizeof *out_value) memcpy(out_value, value.data, sizeof *out_value);
    op.result = *out_value;
    note(&registers, op, true);
    return true;
}

static void write_key(uint64_t client, uint64_t key, const char *name, bool is_cas, uint64_t seen, uint64_t revision)
{
    uint64_t value = ++next_value;
    linear_op op = {
        .key = key, .client = client, .kind = is_cas ? LINEAR_CAS : LINEAR_WRITE, .argument = value, .expected = seen, .call_ns = now_ns()};
    manta_status status = manta_kv_put("history", name, &value, sizeof value, is_cas ? revision : MANTA_REVISION_ANY, NULL);
    op.result = status == MANTA_OK;
    note(&registers, op, !status || status == MANTA_ESTALE);
}

MANTA_ACTOR(Client, uint64_t number;)
MANTA_METHOD(Client, init, void, (uint64_t, n)) { self->number = n; }
MANTA_METHOD(Client, work, void)
{
    while (goes_on(&registers)) {
        char name[64];
        uint64_t key = manta_random() % KEYS, value = 0, revision = 0, what = manta_random() % 3;
        snprintf(name, sizeof name, "%d-%" PRIu64, (int)getpid(), key);
        (void)manta_scope_begin();
        bool ok = what == 1 || read_key(self->number, key, name, &value, &revision);
        if (ok && what) write_key(self->number, key, name, what == 2, value, revision);
        (void)manta_scope_end();
        if (manta_sleep(ok ? 1 + manta_random() % PAUSE_MS : 20)) return;
    }
}
MANTA_CLASS(Client, init, work)

MANTA_ACTOR(Locker, uint64_t number;)
MANTA_METHOD(Locker, init, void, (uint64_t, n)) { self->number = n; }
MANTA_METHOD(Locker, work, void)
{
    while (goes_on(&locks)) {
        manta_lock lock;
        char name[64];
        linear_op op = {.key = manta_random() % LOCKS, .client = self->number, .kind = LINEAR_ACQUIRE, .call_ns = now_ns()};
        snprintf(name, sizeof name, "history-%d-%" PRIu64, (int)getpid(), op.key);
        (void)manta_scope_begin();
        manta_status status = manta_lock_acquire(name, 0, PATIENCE_MS, &lock);
        if (status) {
            manta_fail(status, "%s", manta_last_error()->message); /* who was perhaps granted it can not go on */
            return;
        }
        op.result = lock.token;
        note(&locks, op, true);
        op = (linear_op){.key = op.key, .client = op.client, .kind = LINEAR_RELEASE, .argument = lock.token, .call_ns = now_ns()};
        status = manta_lock_release(&lock);
        op.result = status == MANTA_OK;
        note(&locks, op, !status || status == MANTA_ESTALE);
        (void)manta_scope_end();
    }
}
MANTA_CLASS(Locker, init, work)

static bool is_linear(const char *what, const record *r, bool leases_end)
{
    char text[256] = "";
    linear_verdict verdict = linear_check(r->ops, size_of(r), &(linear_options){.leases_end = leases_end}, text, sizeof text);
    fprintf(stderr, "%zu operations on %s\n", size_of(r), what);
    if (verdict != LINEAR_YES) printf("%s: %s: %s\n", what, verdict == LINEAR_NO ? "not linearizable" : "not decided", text);
    return verdict == LINEAR_YES;
}

int main(int argc, char **argv)
{
    manta_void_future done[CLIENTS + LOCKERS];
    manta_t *m = manta_init(&argc, &argv);
    if (!m) return fprintf(stderr, "%s\n", manta_last_error()->message), 1;
    (void)manta_scope_begin();
    over_ns = now_ns() + (uint64_t)(argc > 1 ? atoi(argv[1]) : SECONDS) * 1000000000u;
    for (uint64_t i = 0; i < CLIENTS; i++) done[i] = Client_work(Client_spawn_with(MANTA_OPTIONS(.process = manta_this_process()), i + 1));
    for (uint64_t i = 0; i < LOCKERS; i++)
        done[CLIENTS + i] = Locker_work(Locker_spawn_with(MANTA_OPTIONS(.process = manta_this_process()), CLIENTS + i + 1));
    for (int i = 0; i < CLIENTS + LOCKERS; i++)
        if (manta_join(done[i])) return fprintf(stderr, "client %d: %s\n", i, manta_last_error()->message), 1;
    bool ok = is_linear("keys", &registers, false);
    ok = is_linear("locks", &locks, true) && ok;
    if (ok) printf("linearizable: keys and locks\n");
    (void)manta_scope_end();
    return manta_shutdown(m) == MANTA_OK && ok ? 0 : 1;
}
