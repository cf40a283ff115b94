/*
 * Money that survives its machines: accounts and tellers are durable actors. A transfer is two calls, and may be cut in the middle by the death of the teller's process, of an account's, or of a whole node: started again, the teller
 * goes on where it was, and the accounts know which of its calls they have done already. Every transfer that was answered has been done exactly once, and no cent is lost.
 *
 *   bank_durable                                         alone, where actors die with their process: the same program, without the promise
 *   manta run bank_durable [TRANSFERS [ACCOUNTS]]        on a cluster, where you may kill workers and nodes while it runs (test/check/bank.sh does)
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include <manta/manta.h>

enum {
    OPENING = 1000,
    TELLERS = 4,
    WINDOW = 64,
    MOST_ACCOUNTS = 64,
    AGAIN_MS = 500
}; /* AGAIN_MS: what dies again and again is not away for longer */

/* ---- accounts ---- */

MANTA_ACTOR(Account, int64_t balance; uint64_t moves;)
MANTA_METHOD(Account, init, void, (int64_t, opening)) { self->balance = opening; }
MANTA_METHOD(Account, withdraw, bool, (int64_t, amount))
{
    if (amount > self->balance) return false;
    self->balance -= amount;
    self->moves++;
    return true;
}
MANTA_METHOD(Account, deposit, void, (int64_t, amount))
{
    self->balance += amount;
    self->moves++;
}
MANTA_METHOD(Account, balance, int64_t) { return self->balance; }
MANTA_METHOD(Account, moves, uint64_t) { return self->moves; }
MANTA_STATE(Account, (int64_t, balance), (uint64_t, moves))
MANTA_CLASS_WITH(Account, (.restart_delay_max_ms = AGAIN_MS, .checkpoint = Account_checkpoint, .restore = Account_restore), init, withdraw,
    deposit, balance, moves)

/* ---- tellers ---- */

MANTA_ACTOR(Teller, uint64_t done, refused;)
MANTA_METHOD(Teller, transfer, bool, (Account_ref, from), (Account_ref, to), (int64_t, amount))
{
    bool ok = manta_await(Account_withdraw(from, amount));
    if (ok) manta_await(Account_deposit(to, amount));
    self->done += ok;
    self->refused += !ok;
    return ok;
}
MANTA_METHOD(Teller, done, uint64_t) { return self->done; }
MANTA_STATE(Teller, (uint64_t, done), (uint64_t, refused))
MANTA_CLASS_WITH(Teller, (.restart_delay_max_ms = AGAIN_MS, .checkpoint = Teller_checkpoint, .restore = Teller_restore), transfer, done)

/* ---- the bank ---- */

typedef struct transfer {
    manta_bool_future answer;
    int from, to;
    int64_t amount;
} transfer;

typedef struct bank {
    Account_ref accounts[MOST_ACCOUNTS];
    Teller_ref tellers[TELLERS];
    int64_t expected[MOST_ACCOUNTS]; /* by the answers */
    int n;
    uint64_t done, refused, failed, random;
} bank;

static int draw(bank *b, int below)
{
    b->random = b->random * 6364136223846793005u + 1442695040888963407u;
    return (int)((b->random >> 33) % (uint64_t)below);
}

static bool open_bank(bank *b, int n, manta_durability durability)
{
    b->n = n;
    for (int i = 0; i < n; i++) {
        b->expected[i] = OPENING;
        b->accounts[i] = Account_spawn_with(MANTA_OPTIONS(.durability = durability), OPENING);
        if (!b->accounts[i].actor.id) return false;
    }
    for (int i = 0; i < TELLERS; i++) {
        b->tellers[i] = Teller_spawn_with(MANTA_OPTIONS(.durability = durability));
        if (!b->tellers[i].actor.id) return false;
    }
    return true;
}

static transfer begin(bank *b)
{
    transfer t = {.from = draw(b, b->n), .amount = 1 + draw(b, 50)};
    t.to = (t.from + 1 + draw(b, b->n - 1)) % b->n;
    t.answer = Teller_transfer(b->tellers[draw(b, TELLERS)], b->accounts[t.from], b->accounts[t.to], t.amount);
    return t;
}

static void end(bank *b, const transfer *t)
{
    bool ok = false;
    if (manta_get(t->answer, &ok)) {
        fprintf(stderr, "a transfer failed: %s\n", manta_last_error()->message);
        b->failed++;
    } else if (!ok) b->refused++;
    else {
        b->done++;
        b->expected[t->from] -= t->amount;
        b->expected[t->to] += t->amount;
    }
}

static void run(bank *b, int transfers)
{
    transfer under_way[WINDOW];
    for (int i = 0; i < transfers; i++) {
        if (i >= WINDOW) end(b, &under_way[i % WINDOW]);
        under_way[i % WINDOW] = begin(b);
    }
    for (int i = transfers < WINDOW ? 0 : transfers - WINDOW; i < transfers; i++) end(b, &under_way[i % WINDOW]);
}

static bool audit(bank *b)
{
    int64_t total = 0, wrong = 0;
    uint64_t moves = 0, done = 0;
    for (int i = 0; i < b->n; i++) {
        int64_t balance = manta_await(Account_balance(b->accounts[i]));
        total += balance;
        wrong += balance != b->expected[i];
        moves += manta_await(Account_moves(b->accounts[i]));
    }
    for (int i = 0; i < TELLERS; i++) done += manta_await(Teller_done(b->tellers[i]));
    bool ok = total == (int64_t)b->n * OPENING && !wrong && moves == 2 * b->done && done == b->done && !b->failed;
    printf("%" PRIu64 " transfers done, %" PRIu64 " refused, %" PRIu64 " without an answer\n", b->done, b->refused, b->failed);
    printf("total %" PRId64 " of %" PRId64 ", %" PRId64 " accounts are wrong, %" PRIu64 " moves\n", total, (int64_t)b->n * OPENING, wrong,
        moves);
    printf("%s\n", ok ? "each transfer was done exactly once" : "THE BOOKS ARE WRONG");
    return ok;
}

int main(int argc, char **argv)
{
    manta_t *m = manta_init(&argc, &argv);
    if (!m) return 1;
    bool is_cluster = *manta_namespace() != 0;
    int transfers = argc > 1 ? atoi(argv[1]) : 2000, accounts = argc > 2 ? atoi(argv[2]) : 16;
    bank b = {.random = 7};
    if (accounts < 2 || accounts > MOST_ACCOUNTS) accounts = 16;
    bool ok = open_bank(&b, accounts, is_cluster ? MANTA_DURABLE : MANTA_VOLATILE);
    if (!ok) fprintf(stderr, "%s\n", manta_last_error()->message);
    if (ok) run(&b, transfers);
    ok = ok && audit(&b);
    return manta_shutdown(m) == MANTA_OK && ok ? 0 : 1;
}
