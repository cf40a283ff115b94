/*
 * A mistake that simulation finds: work under a lock, without a check of the lock's token where the work is done.
 *
 * Two nodes add to a balance that an actor on a third one keeps: lock, read, think, write, unlock. That is right as long as nobody is slower than the lease. When a node stands still, or is cut off, between read and
 * write, the lock passes to the other one, and the late write undoes what was added meanwhile. The remedy is fencing: the account refuses writes with a smaller token than it has seen.
 *
 *   sim_lock_without_fence              finds the mistake, shortens the seed that shows it, and says how to run it again
 *   sim_lock_without_fence --fenced     the same with the remedy: all seeds pass
 *   sim_lock_without_fence --help       other arguments
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <manta/sim.h>

enum { LEASE_MS = 300, WAIT_MS = 2000, THINK_MS = 30 };

static bool fenced;

typedef struct ledger { /* seen by all nodes and by the test */
    int64_t balance;    /* the account's, on a disk that loses nothing, so that its node may crash */
    uint64_t token;
    int64_t added, maybe; /* what was stored for certain, and what may have been */
} ledger;

MANTA_ACTOR(Account, uint64_t calls;)
/* The token counts from the read on: else a late write of the holder before could come between this read and its write. */
MANTA_METHOD(Account, read, int64_t, (uint64_t, token))
{
    ledger *disk = manta_sim_shared();
    self->calls++;
    if (token > disk->token) disk->token = token;
    return disk->balance;
}
MANTA_METHOD(Account, store, bool, (int64_t, balance), (uint64_t, token))
{
    ledger *disk = manta_sim_shared();
    self->calls++;
    if (fenced && token < disk->token) return false;
    disk->token = token;
    disk->balance = balance;
    return true;
}
MANTA_CLASS(Account, read, store)

static Account_ref find_account(void)
{
    manta_process bank;
    manta_actor account = {0};
    while (manta_sim_process(0, 1000, &bank) || manta_lookup_in(bank, "account", &account)) manta_sleep(20);
    return Account_ref_of(account);
}

static void add_one(Account_ref account)
{
    ledger *known = manta_sim_shared();
    manta_lock lock;
    int64_t balance;
    bool stored = false;
    if (manta_lock_acquire("account", LEASE_MS, WAIT_MS, &lock)) return;
    if (manta_get(Account_read(account, lock.token), &balance) == MANTA_OK) {
        manta_sleep(THINK_MS);
        manta_status status = manta_get(Account_store(account, balance + 1, lock.token), &stored);
        if (status) known->maybe++;
        else known->added += stored;
    }
    (void)manta_lock_release(&lock);
}

static void start(uint32_t node)
{
    if (node == 0) {
        (void)Account_spawn_with(MANTA_OPTIONS(.name = "account"));
        return;
    }
    for (uint32_t i = 0; i < manta_sim_steps(); i++) {
        add_one(find_account());
        manta_sleep(manta_random() % 50);
    }
}

static void judge(void *shared)
{
    const ledger *l = shared;
    if (l->balance < l->added || l->balance > l->added + l->maybe)
        manta_sim_fail(
            "%" PRId64 " were added, %" PRId64 " more may have been, and the balance is %" PRId64, l->added, l->maybe, l->balance);
}

int main(int argc, char **argv)
{
    const manta_sim_test test = {.size = sizeof test,
        .name = "lock",
        .faults = MANTA_SIM_ALL,
        .steps = 40,
        .voters = 3,
        .shared_bytes = sizeof(ledger),
        .start = start,
        .judge = judge};
    int kept = 1;
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], "--fenced") == 0) fenced = true;
        else argv[kept++] = argv[i];
    return manta_sim_main(kept, argv, &test);
}
