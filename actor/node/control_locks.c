/*
 * Locks of the control store.
 *
 * Acquiring asks once to be queued, then waits for the event that grants the lock, and asks again now and then, which is harmless (a holder that asks again is answered alike) and repairs whatever was missed. A held lock
 * is renewed by an actor at a third of its lease. What this process knows of it is a row in a table here: `valid_until` counts from before the renewal was sent, so it ends here before it ends there.
 */
#include "actor/node/control.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "actor/node/gcs_watch.h"
#include "actor/node/node.h"

enum { LEASE_DEFAULT_MS = 10000, LEASE_MIN_MS = 100, LEASE_MAX_MS = 3600000, ASK_AGAIN_MS = 1000, LOCKS = 65536, HOLDER_BYTES = 64 };

typedef struct held {
    char name[NAME_LIMIT + 1], holder[HOLDER_BYTES];
    uint64_t token, valid_until;
    uint32_t lease_ms;
    future *grant; /* while it is waited for: to be completed when the lock is ours */
} held;

static pthread_mutex_t table_lock = PTHREAD_MUTEX_INITIALIZER;
static id_table table; /* by manta_lock.id */
static uint64_t last_id, client;

MANTA_ACTOR(MantaLocks, int unused;)
static MantaLocks_ref renewer; /* under table_lock */

static held *find(uint64_t id) { return id_table_get(&table, id); } /* under table_lock */

static void drop(uint64_t id)
{
    pthread_mutex_lock(&table_lock);
    held *h = id_table_remove(&table, id);
    pthread_mutex_unlock(&table_lock);
    base_free(h);
}

static bool copy_of(uint64_t id, held *out)
{
    pthread_mutex_lock(&table_lock);
    const held *h = find(id);
    if (h) *out = *h;
    pthread_mutex_unlock(&table_lock);
    return h != NULL;
}

/* ---- renewing ---- */

static void set_valid(uint64_t id, uint64_t from_ns, bool ok)
{
    pthread_mutex_lock(&table_lock);
    held *h = find(id);
    if (h) h->valid_until = ok ? from_ns + (uint64_t)h->lease_ms * OS_NS_PER_MS : 0;
    pthread_mutex_unlock(&table_lock);
}

MANTA_METHOD_DECLARE(MantaLocks, renew, void, (uint64_t, id))
MANTA_METHOD_DEFINE(MantaLocks, renew, void, (uint64_t, id))
{
    held h;
    manta_writer w;
    gcs_reply reply;
    (void)self;
    uint64_t began = manta_now_ns();
    if (!copy_of(id, &h) || !h.token || began >= h.valid_until) return;
    manta_writer_init_growing(&w);
    gcs_write_lock_renew(&w, NULL, &(gcs_lock_renew){manta_str_of(h.name), manta_str_of(h.holder), h.token, 0});
    manta_status status = control_call("a lock's renewal", false, &w, h.lease_ms / 2, &reply);
    if (status == MANTA_OK || status == MANTA_ESTALE) set_valid(id, began, status == MANTA_OK);
    if (status == MANTA_ESTALE)
        runtime_report("the lock \"%s\" (token %" PRIu64 ") was lost: its lease ran out before it was renewed", h.name, h.token);
    else (void)MantaLocks_renew_after(h.lease_ms / 3, MantaLocks_ref_of(manta_self()), id);
}
MANTA_CLASS_WITH(MantaLocks, (.concurrency = 4096), renew)

static void begin_renewing(uint64_t id, uint32_t lease_ms)
{
    pthread_mutex_lock(&table_lock);
    if (!manta_is_alive(renewer.actor)) renewer = MantaLocks_spawn_with(MANTA_OPTIONS(.where = MANTA_WHERE_HERE));
    (void)MantaLocks_renew_after(lease_ms / 3, renewer, id);
    pthread_mutex_unlock(&table_lock);
}

/* ---- acquiring ---- */

/* A watch's: the context is the id of a row here, so one that is gone does no harm. */
static void tell(void *context, const gcs_event *e)
{
    gcs_lock_row row = {0};
    manta_reader r;
    if (!e || e->is_gone) return;
    manta_reader_init(&r, e->value.data, e->value.size);
    gcs_read_lock_row(&r, &row);
    pthread_mutex_lock(&table_lock);
    held *h = find((uintptr_t)context);
    bool is_ours =
        h && h->grant && !r.status && row.holder.size == strlen(h->holder) && memcmp(row.holder.data, h->holder, row.holder.size) == 0;
    future *f = is_ours ? h->grant : NULL;
    if (f) h->grant = NULL;
    pthread_mutex_unlock(&table_lock);
    if (f) future_complete(worker_self(), f, NULL, NULL, 0);
}

static uint64_t add(const char *name, uint32_t lease_ms)
{
    held *h = base_calloc(1, sizeof *h);
    if (!h) return 0;
    pthread_mutex_lock(&table_lock);
    if (!client) client = os_random_u64() | 1;
    uint64_t id = ++last_id;
    *h = (held){.lease_ms = lease_ms};
    snprintf(h->name, sizeof h->name, "%s", name);
    snprintf(h->holder, sizeof h->holder, "%016" PRIx64 "-%" PRIu64, client, id);
    bool ok = table.count < LOCKS && id_table_put(&table, id, h);
    pthread_mutex_unlock(&table_lock);
    if (!ok) base_free(h);
    return ok ? id : 0;
}

/* Asks; *out_token 0: we are in the queue. */
static manta_status ask(const held *h, bool wait, uint64_t timeout_ms, uint64_t *out_token)
{
    manta_writer w;
    gcs_reply reply;
    gcs_lock_result result = {0};
    manta_writer_init_growing(&w);
    gcs_write_lock_acquire(&w, NULL, &(gcs_lock_acquire){manta_str_of(h->name), manta_str_of(h->holder), h->lease_ms, wait});
    manta_status status = control_call("manta_lock_acquire", false, &w, timeout_ms, &reply);
    if (status) return status;
    manta_reader r = gcs_reply_reader(&reply);
    gcs_read_lock_result(&r, &result);
    if (r.status) return error_set(MANTA_EDECODE, "manta_lock_acquire: a malformed answer");
    *out_token = result.granted ? result.token : 0;
    return MANTA_OK;
}

/* True: `f` will not be completed by anybody. */
static bool take_back(uint64_t id, const future *f)
{
    pthread_mutex_lock(&table_lock);
    held *h = find(id);
    bool ours = h && h->grant == f;
    if (ours) h->grant = NULL;
    pthread_mutex_unlock(&table_lock);
    return ours;
}

/* Until the grant is told, or it is time to ask again. */
static manta_status wait_for_grant(uint64_t id, uint64_t until_ns)
{
    future *f = future_new(worker_self());
    pthread_mutex_lock(&table_lock);
    held *h = f ? find(id) : NULL;
    if (h) h->grant = f;
    pthread_mutex_unlock(&table_lock);
    if (!h) return MANTA_ENOMEM;
    manta_status status = event_await(f, until_ns, "lock");
    if (!status || take_back(id, f)) future_free(worker_self(), f);
    else future_drop(worker_self(), f);
    return status;
}

static manta_status take(uint64_t id, uint64_t deadline_ns, uint64_t *out_token, uint64_t *out_began)
{
    held h;
    (void)copy_of(id, &h);
    for (;;) {
        uint64_t now = *out_began = manta_now_ns(), left_ms = deadline_ns > now ? (deadline_ns - now) / OS_NS_PER_MS : 0;
        manta_status status = ask(&h, left_ms > 0, left_ms < GCS_TIMEOUT_MS ? left_ms + ASK_AGAIN_MS : GCS_TIMEOUT_MS, out_token);
        if (status || *out_token) return status;
        if (!left_ms) return error_set(MANTA_ETIMEDOUT, "manta_lock_acquire: another holds \"%s\"", h.name);
        uint64_t until = now + (uint64_t)ASK_AGAIN_MS * OS_NS_PER_MS;
        status = wait_for_grant(id, until < deadline_ns ? until : deadline_ns);
        if (status && status != MANTA_ETIMEDOUT) return error_set(status, "manta_lock_acquire: %s", manta_status_text(status));
    }
}

static void withdraw(const held *h)
{
    manta_writer w;
    gcs_reply reply;
    uint64_t token = 0;
    manta_writer_init_growing(&w);
    gcs_write_lock_withdraw(&w, NULL, &(gcs_lock_withdraw){manta_str_of(h->name), manta_str_of(h->holder)});
    if (control_call("manta_lock_acquire", false, &w, GCS_TIMEOUT_MS, &reply) != MANTA_EEXIST) return;
    manta_reader r = gcs_reply_reader(&reply);
    manta_unpack_uint64_t(&r, &token);
    manta_writer_init_growing(&w);
    gcs_write_lock_release(&w, NULL, &(gcs_lock_release){manta_str_of(h->name), manta_str_of(h->holder), token});
    (void)control_call("manta_lock_acquire", false, &w, GCS_TIMEOUT_MS, &reply);
}

static void give_up(uint64_t id)
{
    held h;
    char text[512];
    manta_status status = manta_last_error()->status;
    snprintf(text, sizeof text, "%s", manta_last_error()->message);
    if (copy_of(id, &h)) withdraw(&h);
    drop(id);
    error_set(status, "%s", text);
}

static void accept(uint64_t id, uint64_t token, uint64_t began)
{
    pthread_mutex_lock(&table_lock);
    held *h = find(id);
    h->token = token;
    h->valid_until = began + (uint64_t)h->lease_ms * OS_NS_PER_MS;
    uint32_t lease_ms = h->lease_ms;
    pthread_mutex_unlock(&table_lock);
    begin_renewing(id, lease_ms);
}

typedef struct acquiring { /* on the stack of who acquires: undone when its handler is abandoned */
    unwind unwind;
    uint64_t id;
    const char *name;
} acquiring;

static void abandoned(worker *w, unwind *u)
{
    acquiring *a = (acquiring *)(void *)u;
    pthread_mutex_lock(&table_lock);
    held *h = id_table_remove(&table, a->id);
    pthread_mutex_unlock(&table_lock);
    if (h && h->grant) future_complete(w, h->grant, NULL, NULL, 0);
    gcs_watch_abandon(GCS_TABLE_LOCK, a->name, strlen(a->name), (void *)(uintptr_t)a->id);
    base_free(h);
}

static manta_status take_watching(acquiring *a, uint64_t timeout_ms, uint64_t *out_token, uint64_t *out_began)
{
    uint64_t deadline = timeout_ms == MANTA_FOREVER ? UINT64_MAX : deadline_after_ms(timeout_ms);
    void *context = (void *)(uintptr_t)a->id;
    if (!timeout_ms) return take(a->id, deadline, out_token, out_began);
    manta_status status = gcs_watch_start(GCS_TABLE_LOCK, a->name, strlen(a->name), tell, context, (manta_actor){0});
    if (!status) status = take(a->id, deadline, out_token, out_began);
    gcs_watch_abandon(GCS_TABLE_LOCK, a->name, strlen(a->name), context);
    return status;
}

manta_status manta_lock_acquire(const char *name, uint32_t lease_ms, uint64_t timeout_ms, manta_lock *out)
{
    uint64_t token = 0, began = 0;
    if (!lease_ms) lease_ms = LEASE_DEFAULT_MS;
    if (lease_ms < LEASE_MIN_MS || lease_ms > LEASE_MAX_MS)
        return error_set(MANTA_EINVAL, "manta_lock_acquire: a lease of %u ms; it must be %d to %d", lease_ms, LEASE_MIN_MS, LEASE_MAX_MS);
    manta_status status = control_check("manta_lock_acquire", "name", name, NAME_LIMIT);
    if (!status) status = control_begin("manta_lock_acquire");
    if (status) return status;
    acquiring a = {{NULL, abandoned}, add(name, lease_ms), name};
    if (!a.id) return error_set(MANTA_ENOMEM, "manta_lock_acquire: no memory, or %d locks are held", LOCKS);
    activation *act = activation_self();
    unwind_push(act, &a.unwind);
    status = take_watching(&a, timeout_ms, &token, &began);
    if (status) give_up(a.id);
    else accept(a.id, token, began);
    unwind_pop(act, &a.unwind);
    if (!status) *out = (manta_lock){token, a.id};
    return status;
}

/* ---- holding and releasing ---- */

bool manta_lock_is_held(const manta_lock *lock)
{
    held h;
    return lock->token && copy_of(lock->id, &h) && h.token == lock->token && manta_now_ns() < h.valid_until;
}

manta_status manta_lock_release(manta_lock *lock)
{
    held h;
    manta_writer w;
    gcs_reply reply;
    if (!lock->token || !copy_of(lock->id, &h) || h.token != lock->token)
        return error_set(MANTA_ESTALE, "manta_lock_release: the lock is not held");
    manta_status status = control_begin("manta_lock_release");
    if (status) return status;
    manta_writer_init_growing(&w);
    gcs_write_lock_release(&w, NULL, &(gcs_lock_release){manta_str_of(h.name), manta_str_of(h.holder), h.token});
    status = control_call("manta_lock_release", false, &w, GCS_TIMEOUT_MS, &reply);
    drop(lock->id);
    *lock = (manta_lock){0, 0};
    return status;
}

void locks_stop(void)
{
    size_t cursor = 0;
    for (held *h; (h = id_table_next(&table, &cursor, NULL));) base_free(h);
    id_table_fini(&table);
    renewer = (MantaLocks_ref){{0}};
    client = 0;
}
