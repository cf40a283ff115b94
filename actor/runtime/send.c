/*
 * Sending: build a message, find the receiver, push, schedule. Bounded mailboxes and dead letters are the slow side.
 *
 * The sender checks the receiver's generation and the message carries it, so that a slot reused meanwhile refuses it. After send_budget one-way sends
 * a handler yields; when the receiver is hot it is muted instead (see scheduler/pool/mute.c).
 */
#include <string.h>

#include "actor/inspect/inspect.h"
#include "actor/node/node.h"
#include "actor/runtime/internal.h"

/* Arguments are padded to 16 bytes. By words: the caller has just stored them field by field, and a load wider than the store before it must wait until that has left the store
 * buffer (a tenth of a message's time). */
static inline void copy_arguments(void *to, const void *from, size_t size)
{
    typedef uint64_t __attribute__((may_alias)) word;
    for (size_t i = 0; i < size / sizeof(word); i++) ((word *)to)[i] = ((const word *)from)[i];
}

static noinline message *make_large(worker *w, const manta_method *method, const void *arguments, size_t extra_bytes)
{
    size_t head = (method->arguments.size + 15) & ~(size_t)15;
    message *m = message_new(w, head + extra_bytes);
    if (!m) return NULL;
    unsigned char *payload = message_payload(m), *at = payload + head;
    memcpy(payload, arguments, method->arguments.size);
    if (method->arguments.relocate) method->arguments.relocate(payload, &at);
    if (method->arguments.refs) refs_in_flight(&method->arguments, payload);
    return m;
}

static inline message *make(worker *w, const manta_method *method, const void *arguments, size_t extra_bytes)
{
    size_t size = method->arguments.size;
    message *m;
    if (unlikely(extra_bytes || size > MESSAGE_INLINE || method->arguments.refs)) m = make_large(w, method, arguments, extra_bytes);
    else if (likely((m = message_new(w, size)))) copy_arguments(m->bytes, arguments, size);
    if (unlikely(!m)) return NULL;
    m->method = method;
    m->kind = KIND_CALL;
    m->reply = NULL;
    m->from = w->current ? actor_id(actor_of_run(w->current)) : 0;
    return m;
}

message *message_make(worker *w, const manta_method *method, const void *arguments, size_t extra_bytes)
{
    return make(w, method, arguments, extra_bytes);
}

void message_lose(message *m)
{
    const manta_method *method = m->method;
    if (method && method->arguments.refs) refs_dropped(&method->arguments, message_payload(m));
}

void message_discard(worker *w, message *m)
{
    message_lose(m);
    message_free(w, m);
}

void message_deliver(worker *w, actor *a, message *m)
{
    if (mailbox_push(&a->box, m)) worker_ready(w, &a->run);
}

void message_dead(worker *w, uint64_t to, message *m, manta_status status, const manta_error *reason)
{
    if (m->kind != KIND_CALL && m->kind != KIND_WAKE && m->kind < KIND_CHECKPOINT) {
        relation_dead(w, to, m, reason);
        return;
    }
    const manta_method *method = m->method;
    message_lose(m);
    if (m->reply) {
        manta_error *e = error_new(status, reason, "%s", manta_status_text(status));
        future_fail(w, m->reply, e);
        m->reply = NULL;
    } else if (m->kind == KIND_CALL && status != MANTA_EDROPPED) {
        count_up(&local_of(w)->dead_letters, 1);
        dead_letter_note(to, m->from, method);
    }
}

/* ---- bounded mailboxes ---- */

static bool take_room(actor_extra *x)
{
    uint32_t queued = load_relaxed(&x->queued);
    while (queued < x->limit)
        if (atomic_compare_exchange_weak_explicit(&x->queued, &queued, queued + 1, memory_order_acq_rel, memory_order_relaxed)) return true;
    return false;
}

static bool room_waiter_add(actor_extra *x, future *f)
{
    pthread_mutex_lock(&x->room_lock);
    bool ok = true;
    if (x->room_waiters.count == x->room_waiters.capacity) {
        uint32_t capacity = x->room_waiters.capacity ? x->room_waiters.capacity * 2 : 8;
        future **items = base_realloc(x->room_waiters.items, capacity * sizeof *items);
        if ((ok = items != NULL)) {
            x->room_waiters.items = items;
            x->room_waiters.capacity = capacity;
        }
    }
    if (ok) x->room_waiters.items[x->room_waiters.count++] = f;
    pthread_mutex_unlock(&x->room_lock);
    return ok;
}

static void wake_room_waiters(worker *w, actor_extra *x)
{
    pthread_mutex_lock(&x->room_lock);
    for (uint32_t i = 0; i < x->room_waiters.count; i++) future_complete(w, x->room_waiters.items[i], NULL, NULL, 0);
    x->room_waiters.count = 0;
    pthread_mutex_unlock(&x->room_lock);
}

void message_took_room(worker *w, actor *a)
{
    actor_extra *x = a->extra;
    atomic_fetch_sub_explicit(&x->queued, 1, memory_order_acq_rel);
    if (x->overflow == MANTA_OVERFLOW_SUSPEND) wake_room_waiters(w, x);
}

/* Waits for room: suspends a handler, blocks another thread. The receiver may die meanwhile; its extra record is kept as long as the slot (see actor_free). */
static manta_status wait_for_room(actor *a, uint64_t to)
{
    worker *w = worker_self();
    future *f = future_new(w);
    if (!f || !room_waiter_add(a->extra, f)) return MANTA_ENOMEM;
    if (load_seq(&a->extra->queued) < a->extra->limit || !actor_is(a, to))
        wake_room_waiters(w, a->extra); /* it came before we were listed */
    store_relaxed(&f->target, to);
    manta_status status = event_await(f, OS_FOREVER, "mailbox room");
    w = worker_self();
    if (status == MANTA_OK) future_free(w, f);
    else future_drop(w, f);
    return status;
}

static manta_status make_room(worker **w, actor *a, uint64_t to)
{
    actor_extra *x = a->extra;
    while (!take_room(x)) {
        if (x->overflow == MANTA_OVERFLOW_REJECT) return MANTA_EMAILBOXFULL;
        if (x->overflow == MANTA_OVERFLOW_DROP_NEWEST) return MANTA_EDROPPED;
        if (x->overflow == MANTA_OVERFLOW_DROP_OLDEST) { /* the owner drops what is over the limit, oldest first, see turn.c */
            add_relaxed(&x->queued, 1);
            return MANTA_OK;
        }
        manta_status status = wait_for_room(a, to);
        *w = worker_self();
        if (status) return status;
        if (!actor_is(a, to)) return MANTA_EDEAD;
    }
    return MANTA_OK;
}

/* ---- posting ---- */

static noinline manta_status refuse(worker *w, uint64_t to, message *m, manta_status status)
{
    manta_status seen = status == MANTA_EDROPPED ? MANTA_OK : status; /* a dropped one-way message is the policy's business */
    if (status == MANTA_EDROPPED) count_up(&local_of(w)->dropped, 1);
    if (!m->reply && seen) {
        if (to == 0 && manta_last_error()->status != MANTA_OK) seen = manta_last_error()->status; /* of the spawn that failed */
        else error_set(status, "%s", manta_status_text(status));
    }
    message_dead(w, to, m, status, to == 0 && manta_last_error()->status != MANTA_OK ? manta_last_error() : NULL);
    message_free(w, m);
    return seen;
}

static bool may_suspend(const worker *w)
{
    const actor *me = w->current && w->external != 1 ? actor_of_run(w->current) : NULL;
    return !me || !me->cls || !me->cls->options.no_yield_in_send;
}

/* To another process; *out stays NULL. */
static noinline manta_status elsewhere(worker **wp, uint64_t to, message *m, actor **out)
{
    *out = NULL;
    manta_status status = node_post(*wp, to, m, may_suspend(*wp));
    *wp = worker_self();
    return status;
}

/* Into the receiver's own lane, without an exchange, while this worker has the owner's rights: it found the receiver at rest, or the receiver is next in the LIFO slot,
 * from which only this worker and the monitor take. False: nothing happened. */
static inline bool push_own(worker *w, actor *a, message *m)
{
    if (unlikely(w->external)) return false;
    if (mailbox_is_at_rest(&a->box)) {
        if (!mailbox_take(&a->box)) return false;
        if (unlikely(!mailbox_push_own(&a->box, &a->end, m))) mailbox_push(&a->box, m); /* somebody else has pushed meanwhile */
        worker_ready(w, &a->run);
        return true;
    }
    rescue_enter(w, &w->in_ready);
    bool pushed = w->lifo == &a->run && mailbox_push_own(&a->box, &a->end, m);
    rescue_leave(w, &w->in_ready);
    return pushed;
}

/* *wp: the calling thread's record, which a wait for room may change. */
static inline __attribute__((always_inline)) manta_status post(worker **wp, uint64_t to, message *m, actor **out)
{
    worker *w = *wp;
    actor *a = actor_slot(to);
    if (unlikely(!actor_is(a, to))) return is_remote(to) ? elsewhere(wp, to, m, out) : refuse(w, to, m, MANTA_EDEAD);
    m->generation = (uint32_t)(to >> 32);
    if (unlikely(load_relaxed(&a->flags) & ACTOR_BOUNDED)) {
        manta_status status = make_room(&w, a, to);
        *wp = w;
        if (status) return refuse(w, to, m, status);
    }
    count_up(&w->sends, 1);
    unsigned home = load_relaxed(&a->run.home);
    if (home != w->index + 1u && home) count_up(&w->remote_sends, 1);
    if (!push_own(w, a, m) && mailbox_push(&a->box, m)) worker_ready(w, &a->run);
    *out = a;
    return MANTA_OK;
}

manta_status message_post(worker *w, uint64_t to, message *m)
{
    actor *a;
    return post(&w, to, m, &a);
}

void message_post_at_once(worker *w, uint64_t to, message *m)
{
    actor *a = actor_slot(to), *receiver;
    if (actor_is(a, to) && load_relaxed(&a->flags) & ACTOR_BOUNDED && a->extra->overflow == MANTA_OVERFLOW_SUSPEND) {
        m->generation = (uint32_t)(to >> 32);
        add_relaxed(&a->extra->queued, 1);
        message_deliver(w, a, m);
    } else if (is_remote(to)) (void)node_post(w, to, m, false);
    else post(&w, to, m, &receiver);
}

/* The end of a handler's budget: let the receiver run. */
static noinline void send_pause(worker *w, actor *receiver) /* NULL: in another process */
{
    w->send_budget = the_pool.policy.send_budget;
    if (w->external == 1 || !w->current) return;
    actor *me = actor_of_run(w->current);
    if (me->cls && me->cls->options.no_yield_in_send) return;
    if (receiver && load_relaxed(&receiver->run.hot) && receiver != me && !load_relaxed(&me->run.hot) && !w->external)
        worker_mute(w, &receiver->run);
    else worker_yield(w);
}

manta_status manta_send_method(manta_actor to, const manta_method *method, const void *arguments, size_t extra_bytes)
{
    worker *w = worker_self();
    message *m = likely(w != NULL) ? make(w, method, arguments, extra_bytes) : NULL;
    if (unlikely(!m))
        return error_set(
            MANTA_ENOMEM, "%s.%s: no memory for a message of %zu bytes", method->owner, method->name, method->arguments.size + extra_bytes);
    actor *a;
    manta_status status = post(&w, to.id, m, &a);
    if (unlikely(status)) return status;
    if (unlikely(--w->send_budget <= 0)) send_pause(w, a);
    return MANTA_OK;
}

future *call_start(worker *w, uint64_t to, const manta_method *method, const void *arguments, size_t extra_bytes)
{
    future *f = future_new(w);
    if (unlikely(!f)) return NULL;
    message *m = message_make(w, method, arguments, extra_bytes);
    if (unlikely(!m)) {
        future_free(w, f);
        return NULL;
    }
    m->reply = f;
    f->method = method;
    store_relaxed(&f->target, to);
    message_post(w, to, m);
    return f;
}

manta_future manta_call_method(manta_actor to, const manta_method *method, const void *arguments, size_t extra_bytes)
{
    worker *w = worker_self();
    future *f = likely(w != NULL) ? call_start(w, to.id, method, arguments, extra_bytes) : NULL;
    if (unlikely(!f)) {
        error_set(MANTA_ENOMEM, "%s.%s: no memory for a call", method->owner, method->name);
        return (manta_future){0};
    }
    activation *act = activation_self();
    if (likely(act->actor != NULL) || act->scope_depth) future_scope_add(act, f);
    return future_handle(f);
}
