/* The n-th allocation failing, for all n, while a durable actor is made, called, checkpointed and brought back: an error or an answer, no answered call lost, none twice, no leak. */
#include "scheduler/base/alloc.h"
#include "test/support/actors.h"

enum { CALLS = 6, MOST = 3000, PATIENCE_MS = 10000 };

MANTA_ACTOR(Vault, uint64_t bits, calls;)
MANTA_METHOD(Vault, mark, uint64_t, (uint64_t, bit))
{
    self->calls++;
    return self->bits |= bit;
}
MANTA_METHOD(Vault, calls, uint64_t) { return self->calls; }
MANTA_METHOD(Vault, bits, uint64_t) { return self->bits; }
MANTA_STATE(Vault, (uint64_t, bits), (uint64_t, calls))
MANTA_DURABLE_CLASS(Vault, (.checkpoint_calls = 2), mark, calls, bits)

static char directory[64];

static void be_silent(const char *line, void *context) { (void)line, (void)context; }

static manta_t *begin(void)
{
    manta_config c = {.size = sizeof c, .workers = 1, .durable = directory, .on_report = be_silent};
    return manta_init_with(&c);
}

static void remove_directory(const char *path)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", path);
    if (path[0]) (void)!system(command);
}

static void new_directory(void)
{
    remove_directory(directory);
    snprintf(directory, sizeof directory, "/dev/shm/manta-alloc-XXXXXX");
    if (!mkdtemp(directory)) directory[0] = 0;
}

static Vault_ref open_vault(void) { return Vault_spawn_with(MANTA_OPTIONS(.name = "vault", .get_if_exists = true)); }

/* Marks each bit of `wanted`; those that were answered are added to *answered. False: an answer was wrong, or an error is not a clear one. */
static bool mark_all(Vault_ref v, uint64_t wanted, uint64_t *answered)
{
    bool ok = true;
    for (uint64_t i = 0; i < CALLS; i++) {
        uint64_t bit = 1ull << i, value = 0;
        if (!(wanted & bit)) continue;
        manta_status s = manta_get_timeout(Vault_mark(v, bit), &value, PATIENCE_MS);
        if (!s) *answered |= bit;
        ok = ok && (s ? s != MANTA_ETIMEDOUT && manta_last_error()->message[0] : (value & bit) != 0);
    }
    return ok;
}

/* What the next program finds: all that was answered, and nothing twice. */
static bool has_kept(uint64_t answered)
{
    manta_t *m = begin();
    Vault_ref v = m ? open_vault() : (Vault_ref){{0}};
    uint64_t calls = 0, bits = 0;
    bool ok = v.actor.id && manta_get_timeout(Vault_calls(v), &calls, PATIENCE_MS) == MANTA_OK &&
              manta_get_timeout(Vault_bits(v), &bits, PATIENCE_MS) == MANTA_OK;
    if (!ok) fprintf(stderr, "it is not there: %s\n", manta_last_error()->message);
    ok = manta_shutdown(m) == MANTA_OK && ok;
    bool right = (bits & answered) == answered && calls == (uint64_t)__builtin_popcountll(bits);
    if (ok && !right) fprintf(stderr, "%" PRIu64 " calls, bits %" PRIx64 ", answered %" PRIx64 "\n", calls, bits, answered);
    return ok && right;
}

/* While it is made and called. */
TEST(made_and_called)
{
    bool failed = true;
    uint64_t n = 0, stride = test_scaled(10) < 10 ? 5 : 1;
    while (failed && (n += stride) < MOST) {
        uint64_t answered = 0;
        new_directory();
        manta_t *m = begin();
        EXPECT(m);
        base_alloc_fail_at(n);
        Vault_ref v = open_vault();
        bool ok = v.actor.id || manta_last_error()->message[0];
        if (v.actor.id) ok = mark_all(v, (1 << CALLS) - 1, &answered) && ok;
        failed = base_alloc_has_failed();
        base_alloc_fail_at(0);
        ok = manta_shutdown(m) == MANTA_OK && ok;
        ok = has_kept(answered) && ok;
        if (!ok) fprintf(stderr, "allocation %" PRIu64 "\n", n);
        EXPECT(ok);
        if (!failed) EXPECT_EQ(answered, (1 << CALLS) - 1);
    }
    printf("     %" PRIu64 " allocations\n", n);
    EXPECT(n > 30 && n < MOST);
}

/* Into a directory of its own; false: it cannot. */
static bool copy_from(const char *original)
{
    char command[200];
    new_directory();
    snprintf(command, sizeof command, "cp %s/data.mdb %s/", original, directory);
    return system(command) == 0;
}

/* While the next program brings it back. */
TEST(brought_back)
{
    bool failed = true;
    uint64_t n = 0, stride = test_scaled(10) < 10 ? 5 : 1;
    char original[64];
    new_directory();
    manta_t *m = begin();
    uint64_t answered = 0;
    EXPECT(m && mark_all(open_vault(), 7, &answered) && answered == 7);
    EXPECT_EQ(manta_shutdown(m), MANTA_OK);
    memcpy(original, directory, sizeof original);
    directory[0] = 0;
    while (failed && (n += stride) < MOST) {
        uint64_t calls = 0;
        EXPECT(copy_from(original));
        base_alloc_fail_at(n);
        m = begin();
        Vault_ref v = m ? open_vault() : (Vault_ref){{0}};
        manta_status s = v.actor.id ? manta_get_timeout(Vault_calls(v), &calls, PATIENCE_MS) : MANTA_ENOMEM;
        failed = base_alloc_has_failed();
        base_alloc_fail_at(0);
        bool ok = manta_shutdown(m) == MANTA_OK && (s ? failed && s != MANTA_ETIMEDOUT : calls == 3);
        ok = has_kept(7) && ok;
        if (!ok) fprintf(stderr, "allocation %" PRIu64 ": %s, %" PRIu64 " calls\n", n, manta_status_name(s), calls);
        EXPECT(ok);
    }
    printf("     %" PRIu64 " allocations\n", n);
    EXPECT(n > 30 && n < MOST);
    remove_directory(original);
    remove_directory(directory);
}
