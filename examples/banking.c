/*
 * Money transfers between account actors: waiting inside of handlers, and errors that travel to the caller.
 *
 * A bank withdraws from one account, then deposits to the other; the wait suspends the bank's handler, never a thread, and with .concurrency = 64 the bank
 * has many transfers under way. A withdrawal that the account cannot pay fails; manta_get sees it as a status. However the transfers interleave, the total stays.
 */
#include <inttypes.h>
#include <stdio.h>

#include <manta/manta.h>

enum { ACCOUNTS = 8, TRANSFERS = 1000, START = 100 };

MANTA_ACTOR(Account, int64_t balance;)
MANTA_METHOD(Account, init, void, (int64_t, balance)) { self->balance = balance; }
MANTA_METHOD(Account, balance, int64_t) { return self->balance; }
MANTA_METHOD(Account, deposit, void, (int64_t, amount)) { self->balance += amount; }
MANTA_METHOD(Account, withdraw, void, (int64_t, amount))
{
    if (amount <= 0) manta_fail(MANTA_EINVAL, "the amount must be positive, got %" PRId64, amount);
    else if (amount > self->balance) manta_fail(MANTA_ELIMIT, "%" PRId64 " asked for, %" PRId64 " there", amount, self->balance);
    else self->balance -= amount;
}
MANTA_CLASS(Account, init, balance, deposit, withdraw)

MANTA_ACTOR(Bank, char nothing;)
MANTA_METHOD(Bank, transfer, void, (Account_ref, from), (Account_ref, to), (int64_t, amount))
{
    manta_status status = manta_join(Account_withdraw(from, amount));
    if (status) manta_fail(status, "the transfer was refused"); /* the account's error becomes its cause */
    else manta_await(Account_deposit(to, amount));              /* a failure here would fail this handler too */
}
MANTA_CLASS_WITH(Bank, (.concurrency = 64), transfer)

int main(int argc, char **argv)
{
    manta_t *m = manta_init(&argc, &argv);
    if (!m) return 1;
    Account_ref account[ACCOUNTS];
    for (int i = 0; i < ACCOUNTS; i++) account[i] = Account_spawn(START);
    Bank_ref bank = Bank_spawn();

    static manta_void_future done[TRANSFERS];
    for (int i = 0; i < TRANSFERS; i++) done[i] = Bank_transfer(bank, account[i % ACCOUNTS], account[i * 5 % ACCOUNTS], i % 90 + 1);
    int refused = 0;
    for (int i = 0; i < TRANSFERS; i++) refused += manta_join(done[i]) != MANTA_OK;
    fprintf(stderr, "%d of %d transfers were refused\n", refused, TRANSFERS);

    if (manta_join(Bank_transfer(bank, account[0], account[1], 1000000)) != MANTA_OK) {
        char text[512];
        printf("refused: %s\n", manta_status_name(manta_last_error()->status));
        manta_error_format(manta_last_error(), text, sizeof text);
        fprintf(stderr, "%s\n", text);
    }
    int64_t total = 0;
    for (int i = 0; i < ACCOUNTS; i++) total += manta_await(Account_balance(account[i]));
    printf("total %" PRId64 "\n", total);
    return manta_shutdown(m) == MANTA_OK ? 0 : 1;
}
