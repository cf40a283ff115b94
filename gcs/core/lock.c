/*
 * Locks. A row in LOCK is a lock that is held; those who wait for it are rows in WAITER, by ticket. Invariants:
 * 1. There is a waiter for a name only while its lock is held: whoever ends a holder gives the lock to the next in the same command.
 * 2. A token is given once, and each is greater than all before.
 * 3. A lease ends in the first command whose time is not before expires_ms.
 */
#include <inttypes.h>

#include "gcs/core/core_internal.h"

#define LEASE_MS_MAX UINT64_C(86400000)
enum { WAITERS_MAX = 4096 };

static const gcs_lock_row *find_lock(const gcs_core *c, manta_str name)
{
    key k;
    key_of_text(&k, name);
    return table_get(c, GCS_TABLE_LOCK, &k);
}

static const gcs_waiter_row *find_waiter(const gcs_core *c, manta_str name, manta_str holder)
{
    key k;
    key_of_pair(&k, name, holder);
    const gcs_waiter_row *w = table_first(c, GCS_TABLE_WAITER, WAITER_BY_HOLDER, &k);
    return w && text_equal(w->holder, holder) ? w : NULL;
}

static uint64_t expiry(const gcs_run *x, uint64_t lease_ms) { return x->c->now_ms + lease_ms; }

/* A new grant. */
static bool grant(gcs_run *x, manta_str name, manta_str holder, uint64_t lease_ms, gcs_lock_row *out)
{
    *out =
        (gcs_lock_row){.name = name, .holder = holder, .token = x->c->token + 1, .lease_ms = lease_ms, .expires_ms = expiry(x, lease_ms)};
    if (!table_put(x, GCS_TABLE_LOCK, out)) return false;
    x->c->token++;
    return true;
}

/* The holder has ended: the next in the queue holds the lock, or nobody. */
static void pass_on(gcs_run *x, const gcs_lock_row *old)
{
    key k;
    gcs_lock_row lock;
    key_of_pair(&k, old->name, (manta_str){NULL, 0});
    ordered_node *n = ordered_seek(&x->c->tables[GCS_TABLE_WAITER].rows, k.bytes, k.size);
    if (!ordered_has_prefix(n, k.bytes, k.size)) {
        table_remove(x, GCS_TABLE_LOCK, old);
        return;
    }
    const gcs_waiter_row *next = row_fields(n);
    if (grant(x, next->name, next->holder, next->lease_ms, &lock)) table_remove(x, GCS_TABLE_WAITER, next);
}

void locks_expire(gcs_run *x)
{
    const gcs_lock_row *lock;
    while (!x->fatal && (lock = table_first_of_all(x->c, GCS_TABLE_LOCK, LOCK_BY_EXPIRY)) && lock->expires_ms <= x->c->now_ms)
        pass_on(x, lock);
}

static void reply_granted(gcs_run *x, const gcs_lock_row *lock)
{
    gcs_lock_result r = {.granted = true, .token = lock->token, .expires_ms = lock->expires_ms, .holder = lock->holder};
    gcs_pack(x->out, &gcs_schema_lock_result, &r);
}

static void reply_held(gcs_run *x, const gcs_lock_row *lock, uint64_t position)
{
    gcs_lock_result r = {.position = position, .expires_ms = lock->expires_ms, .holder = lock->holder};
    gcs_pack(x->out, &gcs_schema_lock_result, &r);
}

/* How many wait for the lock with a ticket up to this one. */
static uint64_t count_waiters(const gcs_core *c, manta_str name, uint64_t ticket)
{
    key k;
    uint64_t count = 0;
    key_of_pair(&k, name, (manta_str){NULL, 0});
    for (ordered_node *n = ordered_seek(&c->tables[GCS_TABLE_WAITER].rows, k.bytes, k.size); ordered_has_prefix(n, k.bytes, k.size);
         n = n->next[0]) {
        if (((const gcs_waiter_row *)row_fields(n))->ticket > ticket) break;
        count++;
    }
    return count;
}

static void enqueue(gcs_run *x, const gcs_lock_row *lock, const gcs_lock_acquire *f)
{
    const gcs_waiter_row *old = find_waiter(x->c, f->name, f->holder);
    uint64_t waiting = count_waiters(x->c, f->name, old ? old->ticket : UINT64_MAX);
    if (old) {
        reply_held(x, lock, waiting);
        return;
    }
    if (waiting >= WAITERS_MAX) {
        gcs_refuse(x, MANTA_ELIMIT, "%" PRIu64 " wait for this lock already", waiting);
        return;
    }
    gcs_waiter_row row = {.name = f->name, .holder = f->holder, .lease_ms = f->lease_ms, .ticket = x->c->ticket + 1};
    if (!table_put(x, GCS_TABLE_WAITER, &row)) return;
    x->c->ticket++;
    reply_held(x, lock, waiting + 1);
}

/* The lock lives at least this much longer. */
static void extend(gcs_run *x, const gcs_lock_row *lock, manta_str name, uint64_t lease_ms)
{
    gcs_lock_row row = *lock;
    row.lease_ms = lease_ms;
    if (row.expires_ms < expiry(x, lease_ms)) row.expires_ms = expiry(x, lease_ms);
    if (table_put(x, GCS_TABLE_LOCK, &row)) reply_granted(x, find_lock(x->c, name));
}

static bool is_lease(gcs_run *x, uint64_t lease_ms)
{
    return (lease_ms && lease_ms <= LEASE_MS_MAX) ||
           gcs_refuse(x, MANTA_EINVAL, "lease_ms is %" PRIu64 ", it must be from 1 to %" PRIu64, lease_ms, LEASE_MS_MAX);
}

void handle_lock_acquire(gcs_run *x, const gcs_lock_acquire *f)
{
    gcs_lock_row lock;
    if (!f->name.size) {
        gcs_refuse(x, MANTA_EINVAL, "name is empty");
        return;
    }
    if (!is_lease(x, f->lease_ms)) return;
    const gcs_lock_row *old = find_lock(x->c, f->name);
    if (!old) {
        if (grant(x, f->name, f->holder, f->lease_ms, &lock)) reply_granted(x, &lock);
    } else if (text_equal(old->holder, f->holder)) extend(x, old, f->name, f->lease_ms);
    else if (f->wait) enqueue(x, old, f);
    else reply_held(x, old, 0);
}

/* The lock, if this holder has it with this token. */
static const gcs_lock_row *owned(gcs_run *x, manta_str name, manta_str holder, uint64_t token)
{
    const gcs_lock_row *lock = find_lock(x->c, name);
    if (lock && lock->token == token && text_equal(lock->holder, holder)) return lock;
    if (!lock) gcs_refuse(x, MANTA_ESTALE, "nobody holds this lock: the lease of token %" PRIu64 " has ended", token);
    else gcs_refuse(x, MANTA_ESTALE, "the lock is held with token %" PRIu64 ", not %" PRIu64 " or by somebody else", lock->token, token);
    return NULL;
}

void handle_lock_renew(gcs_run *x, const gcs_lock_renew *f)
{
    const gcs_lock_row *lock = owned(x, f->name, f->holder, f->token);
    if (!lock) return;
    uint64_t lease_ms = f->lease_ms ? f->lease_ms : lock->lease_ms;
    if (is_lease(x, lease_ms)) extend(x, lock, f->name, lease_ms);
}

void handle_lock_release(gcs_run *x, const gcs_lock_release *f)
{
    const gcs_lock_row *lock = owned(x, f->name, f->holder, f->token);
    if (lock) pass_on(x, lock);
}

void handle_lock_withdraw(gcs_run *x, const gcs_lock_withdraw *f)
{
    const gcs_lock_row *lock = find_lock(x->c, f->name);
    const gcs_waiter_row *waiter = find_waiter(x->c, f->name, f->holder);
    if (waiter) table_remove(x, GCS_TABLE_WAITER, waiter);
    else if (lock && text_equal(lock->holder, f->holder))
        gcs_refuse_with(x, lock->token, MANTA_EEXIST, "holds the lock, with token %" PRIu64, lock->token);
    else gcs_refuse(x, MANTA_ENOTFOUND, "does not wait for this lock");
}

void handle_lock_get(gcs_run *x, const gcs_lock_get *f)
{
    key k;
    key_of_text(&k, f->name);
    table_reply_key(x, GCS_TABLE_LOCK, &k, "lock is held");
}
