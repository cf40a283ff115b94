/* The linearizability checker: known good and bad histories, made-up long ones, and those of a broken register. */
#include "scheduler/base/rng.h"
#include "test/support/linear.h"
#include "test/support/test.h"

static const linear_options plain, leases = {.leases_end = true};

#define CHECK(options_, ...) \
    ({ \
        linear_op ops_[] = {__VA_ARGS__}; \
        linear_check(ops_, sizeof ops_ / sizeof ops_[0], options_, NULL, 0); \
    })
#define READ(result_, call_, return_) ((linear_op){.kind = LINEAR_READ, .result = result_, .call_ns = call_, .return_ns = return_})
#define WRITE(value_, call_, return_) ((linear_op){.kind = LINEAR_WRITE, .argument = value_, .call_ns = call_, .return_ns = return_})
#define CAS(from_, to_, result_, call_, return_) \
    ((linear_op){.kind = LINEAR_CAS, .expected = from_, .argument = to_, .result = result_, .call_ns = call_, .return_ns = return_})
#define ACQUIRE(client_, token_, call_, return_) \
    ((linear_op){.kind = LINEAR_ACQUIRE, .client = client_, .result = token_, .call_ns = call_, .return_ns = return_})
#define RELEASE(client_, token_, result_, call_, return_) \
    ((linear_op){.kind = LINEAR_RELEASE, .client = client_, .argument = token_, .result = result_, .call_ns = call_, .return_ns = return_})

/* One after the other, a register gives what was written last. */
TEST(sequential)
{
    EXPECT_EQ(linear_check(NULL, 0, &plain, NULL, 0), LINEAR_YES);
    EXPECT_EQ(
        CHECK(&plain, READ(0, 1, 2), WRITE(5, 3, 4), READ(5, 5, 6), CAS(5, 6, 1, 7, 8), CAS(5, 7, 0, 9, 10), READ(6, 11, 12)), LINEAR_YES);
    EXPECT_EQ(CHECK(&plain, WRITE(5, 3, 4), READ(0, 5, 6)), LINEAR_NO);
    EXPECT_EQ(CHECK(&plain, WRITE(5, 3, 4), CAS(4, 1, 1, 5, 6)), LINEAR_NO);
    EXPECT_EQ(CHECK(&plain, WRITE(5, 3, 4), CAS(5, 1, 0, 5, 6)), LINEAR_NO);
}

/* Operations that overlap may be in either order, but in one order for all who look. */
TEST(overlapping)
{
    EXPECT_EQ(CHECK(&plain, WRITE(1, 1, 10), READ(0, 2, 3), READ(1, 4, 5)), LINEAR_YES);
    EXPECT_EQ(CHECK(&plain, WRITE(1, 1, 10), READ(1, 2, 3), READ(0, 4, 5)), LINEAR_NO);
    EXPECT_EQ(CHECK(&plain, WRITE(1, 1, 10), WRITE(2, 1, 10), READ(2, 11, 12), READ(2, 13, 14)), LINEAR_YES);
    EXPECT_EQ(CHECK(&plain, WRITE(1, 1, 10), WRITE(2, 1, 10), READ(1, 11, 12), READ(2, 13, 14)), LINEAR_NO);
    EXPECT_EQ(CHECK(&plain, CAS(0, 1, 1, 1, 10), CAS(0, 2, 1, 1, 10)), LINEAR_NO);
    EXPECT_EQ(CHECK(&plain, CAS(0, 1, 1, 1, 10), CAS(1, 2, 1, 1, 10), READ(2, 11, 12)), LINEAR_YES);
}

/* A lost update: two read-modify-writes that both saw the same. */
TEST(lost_update) { EXPECT_EQ(CHECK(&plain, WRITE(1, 1, 2), CAS(1, 2, 1, 3, 4), CAS(1, 3, 1, 5, 6), READ(3, 7, 8)), LINEAR_NO); }

/* What was never answered may have taken effect, also late, or never; but not twice, and not before it was called. */
TEST(unknown)
{
    EXPECT_EQ(CHECK(&plain, WRITE(1, 1, LINEAR_UNKNOWN), READ(0, 2, 3), READ(1, 4, 5)), LINEAR_YES);
    EXPECT_EQ(CHECK(&plain, WRITE(1, 1, LINEAR_UNKNOWN), READ(0, 2, 3), READ(0, 4, 5)), LINEAR_YES);
    EXPECT_EQ(CHECK(&plain, WRITE(1, 1, LINEAR_UNKNOWN), READ(1, 2, 3), WRITE(2, 4, 5), READ(1, 6, 7)), LINEAR_NO);
    EXPECT_EQ(CHECK(&plain, READ(1, 1, 2), WRITE(1, 3, LINEAR_UNKNOWN)), LINEAR_NO);
    EXPECT_EQ(CHECK(&plain, CAS(0, 7, 0, 1, LINEAR_UNKNOWN), READ(7, 2, 3), READ(0, 4, 5)), LINEAR_NO);
}

/* Keys are independent, and the text names the one that is wrong and its operation. */
TEST(keys)
{
    char text[256];
    linear_op ops[] = {WRITE(1, 1, 2), WRITE(2, 3, 4), READ(1, 5, 6), READ(0, 7, 8)};
    ops[1].key = ops[3].key = 9;
    ops[3].client = 4;
    EXPECT_EQ(linear_check(ops, 3, &plain, text, sizeof text), LINEAR_YES);
    EXPECT_EQ(linear_check(ops, 4, &plain, text, sizeof text), LINEAR_NO);
    EXPECT_STR(text, "key 9: client 4's read (argument 0, expected 0, result 0, 7 to 8 ns) fits nowhere");
}

/* One holder at a time, tokens that grow, releases by the token's owner. */
TEST(locks)
{
    EXPECT_EQ(CHECK(&plain, ACQUIRE(1, 1, 1, 2), ACQUIRE(2, 0, 3, 4), ACQUIRE(1, 1, 5, 6), RELEASE(1, 1, 1, 7, 8), ACQUIRE(2, 2, 9, 10),
                  RELEASE(1, 1, 0, 11, 12)),
        LINEAR_YES);
    EXPECT_EQ(CHECK(&plain, ACQUIRE(1, 1, 1, 2), ACQUIRE(2, 2, 3, 4)), LINEAR_NO);
    EXPECT_EQ(CHECK(&plain, ACQUIRE(1, 5, 1, 2), RELEASE(1, 5, 1, 3, 4), ACQUIRE(2, 5, 5, 6)), LINEAR_NO);
    EXPECT_EQ(CHECK(&plain, ACQUIRE(1, 5, 1, 2), RELEASE(1, 5, 1, 3, 4), ACQUIRE(2, 4, 5, 6)), LINEAR_NO);
    EXPECT_EQ(CHECK(&plain, ACQUIRE(1, 5, 1, 2), RELEASE(1, 4, 1, 3, 4)), LINEAR_NO);
    EXPECT_EQ(CHECK(&plain, ACQUIRE(1, 5, 1, 2), RELEASE(1, 5, 0, 3, 4)), LINEAR_NO);
    EXPECT_EQ(CHECK(&plain, ACQUIRE(1, 5, 1, 2), RELEASE(1, 5, 1, 3, 4), RELEASE(1, 5, 1, 5, 6)), LINEAR_NO);
    EXPECT_EQ(CHECK(&plain, ACQUIRE(1, 0, 1, 2)), LINEAR_NO);
    EXPECT_EQ(CHECK(&plain, ACQUIRE(1, 5, 1, 2), ACQUIRE(2, 6, 1, 20), RELEASE(1, 5, 1, 3, 10)), LINEAR_YES);
}

/* When leases end, another may hold without a release, but tokens still grow and the old holder is fenced. */
TEST(leases_that_end)
{
    EXPECT_EQ(CHECK(&leases, ACQUIRE(1, 1, 1, 2), ACQUIRE(2, 2, 3, 4), RELEASE(1, 1, 0, 5, 6)), LINEAR_YES);
    EXPECT_EQ(CHECK(&leases, ACQUIRE(1, 1, 1, 2), ACQUIRE(2, 2, 3, 4), RELEASE(1, 1, 1, 5, 6)), LINEAR_NO);
    EXPECT_EQ(CHECK(&leases, ACQUIRE(1, 1, 1, 2), RELEASE(1, 1, 0, 3, 4), ACQUIRE(1, 2, 5, 6)), LINEAR_YES);
    EXPECT_EQ(CHECK(&leases, ACQUIRE(1, 2, 1, 2), ACQUIRE(2, 1, 3, 4)), LINEAR_NO);
    EXPECT_EQ(CHECK(&leases, ACQUIRE(1, 1, 1, 2), ACQUIRE(2, 1, 3, 4)), LINEAR_NO);
}

/* A grant whose answer was lost holds the lock, and its holder is given the token when it asks again. */
TEST(unknown_grants)
{
    EXPECT_EQ(CHECK(&plain, ACQUIRE(1, 0, 1, LINEAR_UNKNOWN), ACQUIRE(2, 0, 2, 3), ACQUIRE(1, 4, 4, 5)), LINEAR_YES);
    EXPECT_EQ(CHECK(&plain, ACQUIRE(1, 0, 1, LINEAR_UNKNOWN), ACQUIRE(2, 3, 2, 3)), LINEAR_YES);
    EXPECT_EQ(CHECK(&plain, ACQUIRE(2, 3, 2, 3), RELEASE(2, 3, 0, 4, LINEAR_UNKNOWN), ACQUIRE(1, 4, 5, 6)), LINEAR_YES);
    EXPECT_EQ(CHECK(&plain, ACQUIRE(2, 3, 2, 3), ACQUIRE(1, 4, 5, 6), RELEASE(2, 3, 0, 7, LINEAR_UNKNOWN)), LINEAR_NO);
}

enum { CLIENTS = 6, MADE_UP = 3000 };

/* An operation of a client whose interval overlaps others, on a register that applies it at a moment within. */
static linear_op make_up(rng *r, uint64_t *value, uint64_t now, uint64_t client)
{
    linear_op op = {
        .key = 0, .client = client, .kind = (linear_kind)rng_below(r, 3), .argument = rng_below(r, 5), .expected = rng_below(r, 5)};
    op.call_ns = now * 10 - rng_below(r, 40 < now * 10 ? 40 : now * 10);
    op.return_ns = rng_below(r, 60) ? now * 10 + rng_below(r, 40) : LINEAR_UNKNOWN;
    if (op.kind == LINEAR_READ) op.result = *value;
    else if (op.kind == LINEAR_WRITE) *value = op.argument;
    else if ((op.result = *value == op.expected)) *value = op.argument;
    return op;
}

static size_t make_history(rng *r, linear_op *ops, size_t count)
{
    uint64_t value = 0;
    for (size_t i = 0; i < count; i++) ops[i] = make_up(r, &value, 10 + i, i % CLIENTS);
    return count;
}

/* Long histories made by applying each operation at a moment between its call and its return are linearizable, and are found to be quickly. */
TEST(long_histories)
{
    static linear_op ops[MADE_UP];
    rng r;
    rng_init(&r, test_seed());
    for (int round = 0; round < test_scaled(20); round++) {
        char text[256] = "";
        size_t n = make_history(&r, ops, MADE_UP);
        linear_verdict v = linear_check(ops, n, &plain, text, sizeof text);
        if (v != LINEAR_YES) fprintf(stderr, "%s\n", text);
        EXPECT_EQ(v, LINEAR_YES);
    }
}

/* One read of a value that nobody ever wrote spoils a long history, wherever it is. */
TEST(long_bad_histories)
{
    static linear_op ops[MADE_UP];
    rng r;
    rng_init(&r, test_seed());
    for (int round = 0; round < test_scaled(20); round++) {
        char text[256] = "";
        size_t n = make_history(&r, ops, 300), at = rng_below(&r, n);
        ops[at].kind = LINEAR_READ;
        ops[at].result = 77;
        ops[at].return_ns = ops[at].call_ns + 5;
        EXPECT_EQ(linear_check(ops, n, &plain, text, sizeof text), LINEAR_NO);
        EXPECT(strstr(text, "result 77"));
    }
}

/* The answer of every order of the operations tried one by one; count <= 6. */
static bool brute_force(const linear_op *ops, size_t count, unsigned done, uint64_t value)
{
    bool is_over = true;
    for (size_t i = 0; i < count; i++) is_over = is_over && (done >> i & 1 || ops[i].return_ns == LINEAR_UNKNOWN);
    if (is_over) return true;
    for (size_t i = 0; i < count; i++) {
        uint64_t after = value;
        bool may = !(done >> i & 1), is_known = ops[i].return_ns != LINEAR_UNKNOWN, hits = value == ops[i].expected;
        for (size_t k = 0; k < count; k++) may = may && (done >> k & 1 || k == i || ops[k].return_ns >= ops[i].call_ns);
        if (ops[i].kind == LINEAR_READ) may = may && (!is_known || ops[i].result == value);
        if (ops[i].kind == LINEAR_CAS) may = may && (!is_known || ops[i].result == hits);
        if (ops[i].kind == LINEAR_WRITE || (ops[i].kind == LINEAR_CAS && hits)) after = ops[i].argument;
        if (may && brute_force(ops, count, done | 1u << i, after)) return true;
    }
    return false;
}

/* Small random histories, good and bad, get the answer that trying all orders gives. */
TEST(agrees_with_brute_force)
{
    rng r;
    int yes = 0, no = 0;
    rng_init(&r, test_seed());
    for (int round = 0; round < test_scaled(50000); round++) {
        linear_op ops[6];
        size_t n = 1 + rng_below(&r, 6);
        for (size_t i = 0; i < n; i++) {
            ops[i] = (linear_op){.kind = (linear_kind)rng_below(&r, 3),
                .argument = rng_below(&r, 3),
                .expected = rng_below(&r, 3),
                .result = rng_below(&r, 2),
                .call_ns = rng_below(&r, 20)};
            ops[i].return_ns = rng_below(&r, 6) ? ops[i].call_ns + rng_below(&r, 10) : LINEAR_UNKNOWN;
        }
        bool expected = brute_force(ops, n, 0, 0);
        *(expected ? &yes : &no) += 1;
        EXPECT_EQ(linear_check(ops, n, &plain, NULL, 0), expected ? LINEAR_YES : LINEAR_NO);
    }
    EXPECT(yes > 100 && no > 100);
}

/* A search that becomes too long ends and says so, rather than with an answer. */
TEST(gives_up)
{
    linear_op ops[40];
    char text[256];
    for (uint64_t i = 0; i < 39; i++) ops[i] = WRITE(i + 1, 1, 1000);
    ops[39] = READ(99, 2000, 2001);
    EXPECT_EQ(linear_check(ops, 40, &(linear_options){.configurations = 1000}, text, sizeof text), LINEAR_GAVE_UP);
    EXPECT_STR(text, "key 0: gave up after 1000 configurations of 40 operations");
}
