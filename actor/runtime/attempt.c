/*
 * Calls and tasks with a time-out or retries: the caller's future U is completed once, by the answer of the current attempt I, by the time-out, or by a cancel.
 *
 * An attempt has a lock, because its three ends (answer, timer, cancel) come from different threads. It is freed when U is complete and neither a timer nor an
 * inner future refers to it any more (references).
 */
#include <stdio.h>
#include <string.h>

#include "actor/node/lineage.h"
#include "actor/node/owner.h"
#include "actor/runtime/internal.h"

enum { RETRY_FIRST_MS = 10, RETRY_LONGEST_MS = 30000, RETRY_LIMIT = 1000, RETRIES_OF_DEATHS = 3 };

typedef struct attempt {
    wait_node node;                  /* in the inner future; first */
    struct attempt *next, *previous; /* of all there are */
    pool_timer timeout, retry;
    pthread_mutex_t lock;
    _Atomic int references;
    bool done; /* U is complete */
    future *user, *inner;
    uint64_t to; /* 0: a task */
    const manta_method *method;
    manta_priority priority;
    uint32_t retries, retries_left;
    bool is_again;    /* for lost outputs */
    bool for_deaths;  /* only when a worker or node died: nobody has asked for retries */
    uint64_t process; /* of a task */
    demand *demand;   /* of a task of a job */
    uint64_t delay_ms, timeout_ms;
    size_t extra_bytes;
    _Alignas(16) unsigned char arguments[]; /* relocated */
} attempt;

static void start_inner(worker *w, attempt *t, bool may_wait);

/* Guards the way from a user's future to its attempt (future.target while `packed` is FUTURE_ATTEMPT), and the list of all. Taken last. */
static pthread_mutex_t way_lock = PTHREAD_MUTEX_INITIALIZER;
static attempt *all;

static void list_add(attempt *t)
{
    pthread_mutex_lock(&way_lock);
    t->next = all;
    if (all) all->previous = t;
    all = t;
    pthread_mutex_unlock(&way_lock);
}

static void list_remove(attempt *t)
{
    pthread_mutex_lock(&way_lock);
    if (t->next) t->next->previous = t->previous;
    if (t->previous) t->previous->next = t->next;
    else all = t->next;
    pthread_mutex_unlock(&way_lock);
}

/* What other processes have not answered when the system stops. */
void attempts_stop(void)
{
    for (attempt *t; (t = all);) {
        all = t->next;
        pthread_mutex_destroy(&t->lock);
        base_free(t);
    }
}

static void unlock_and_drop(attempt *t)
{
    pthread_mutex_unlock(&t->lock);
    bool last = sub_seq(&t->references, 1) == 1;
    if (!last) return;
    list_remove(t);
    if (t->method->arguments.refs) refs_dropped(&t->method->arguments, t->arguments);
    pthread_mutex_destroy(&t->lock);
    base_free(t);
}

/* Under the lock: U is about to be completed by the caller. */
static future *finish(attempt *t)
{
    t->done = true;
    pthread_mutex_lock(&way_lock);
    store_relaxed(&t->user->target, 0);
    pthread_mutex_unlock(&way_lock);
    if (t->timeout.fire && pool_timer_cancel(&t->timeout)) t->references--;
    if (t->retry.fire && pool_timer_cancel(&t->retry)) t->references--;
    return t->user;
}

static void fail_user(worker *w, attempt *t, manta_status status, const char *text)
{
    future *u = finish(t);
    future_fail_status(w, u, status, "%s", text);
}

/* Not under the lock: what waits in a queue is answered at once. */
static void cancel_inner(manta_future inner, bool force)
{
    if (inner.id && force) (void)manta_cancel_force(inner);
    else if (inner.id) (void)manta_cancel(inner);
}

static manta_future inner_of(const attempt *t) { return t->inner ? future_handle(t->inner) : (manta_future){0}; }

static void timed_out(worker *w, pool_timer *timer)
{
    attempt *t = (attempt *)(void *)((unsigned char *)timer - offsetof(attempt, timeout));
    manta_future inner = {0};
    pthread_mutex_lock(&t->lock);
    t->timeout.fire = NULL;
    if (!t->done) {
        char text[128];
        snprintf(
            text, sizeof text, "%s.%s: no answer within %llu ms", t->method->owner, t->method->name, (unsigned long long)t->timeout_ms);
        fail_user(w, t, MANTA_ETIMEDOUT, text);
        inner = inner_of(t);
    }
    unlock_and_drop(t);
    cancel_inner(inner, false);
}

static void retry_now(worker *w, pool_timer *timer)
{
    attempt *t = (attempt *)(void *)((unsigned char *)timer - offsetof(attempt, retry));
    pthread_mutex_lock(&t->lock);
    t->retry.fire = NULL;
    if (!t->done) start_inner(w, t, false);
    unlock_and_drop(t);
}

/* The task's process, not a call that its body made: what a body says has the body's name, or a cause. */
static bool has_died(const attempt *t, const manta_error *e)
{
    return !t->to && e->status == MANTA_EUNKNOWN && !e->cause && (strcmp(e->method, t->method->name) != 0 || !e->method[0]);
}

static bool may_retry(const attempt *t, const future *f)
{
    if (f->kind != VALUE_ERROR || !t->retries_left || load_relaxed(&t->user->cancelled)) return false;
    if (t->for_deaths) return has_died(t, f->error);
    return (!t->to && f->error->status == MANTA_EUNKNOWN) || manta_status_is_retryable(f->error->status);
}

/* What it takes to make its outputs again. result NULL: its answer becomes the object `answer`. */
static void note(worker *w, const attempt *t, const void *result, manta_ref answer)
{
    lineage_made made = {t->method, t->arguments, result, answer, t->demand, t->retries, t->priority};
    if (t->demand && !t->is_again && !t->method->is_generator) lineage_add(w, &made);
}

static bool has_objects(const attempt *t, const future *f) { return t->method->result.refs && f->kind != VALUE_ERROR && !t->done; }

/* Under the lock: the inner future is ready. */
static void take_answer(worker *w, attempt *t, future *f)
{
    t->inner = NULL;
    if (unlikely(has_objects(t, f)))
        note(w, t, f->kind == VALUE_BLOCK ? (const void *)f->large.memory->bytes : f->bytes, (manta_ref){{0, 0}});
    if (t->done) value_discard(f);
    else if (may_retry(t, f)) {
        value_discard(f);
        t->retries_left--;
        t->references++;
        t->retry.fire = retry_now;
        pool_timer_start(w, &t->retry, deadline_after_ms(t->delay_ms));
        t->delay_ms = t->delay_ms * 2 < RETRY_LONGEST_MS ? t->delay_ms * 2 : RETRY_LONGEST_MS;
    } else {
        future *u = finish(t);
        u->kind = f->kind;
        u->size = f->size;
        memcpy(u->bytes, f->bytes, sizeof u->bytes);
        future_signal(w, u);
    }
    future_free(w, f);
}

static void answered(worker *w, wait_node *node)
{
    attempt *t = (attempt *)(void *)node;
    pthread_mutex_lock(&t->lock);
    take_answer(w, t, t->inner);
    unlock_and_drop(t);
}

static message *make_message(worker *w, attempt *t, future *f)
{
    message *m = message_make(w, t->method, t->arguments, t->extra_bytes);
    if (m) m->reply = f;
    return m;
}

static bool launch(worker *w, attempt *t, future *f, bool may_wait)
{
    message *m = make_message(w, t, f);
    if (!m) return false;
    if (!t->to) {
        if (task_launch(w, m, t->priority, t->process, t->demand)) return true;
        message_discard(w, m);
        return false;
    }
    store_relaxed(&f->target, t->to);
    if (may_wait) message_post(w, t->to, m);
    else message_post_at_once(w, t->to, m);
    return true;
}

/* Under the lock. The node is attached before the call is made, so that its answer always finds it; the answer may even come within this call. */
static void start_inner(worker *w, attempt *t, bool may_wait)
{
    future *f = future_new(w);
    if (f) {
        f->method = t->method;
        t->inner = f;
        t->references++;
        pthread_mutex_unlock(&t->lock); /* delivering may complete at once, or suspend on a bounded mailbox */
        bool ok = launch(w, t, f, may_wait);
        w = worker_self();
        pthread_mutex_lock(&t->lock);
        uintptr_t expected = FUTURE_PENDING;
        if (ok && cas_seq(&f->state, &expected, (uintptr_t)&t->node | FUTURE_NODE)) return;
        t->references--;
        if (ok) {
            take_answer(w, t, f);
            return;
        }
        t->inner = NULL;
        future_free(w, f);
    }
    if (!t->done) fail_user(w, t, MANTA_ENOMEM, "no memory for a call");
}

static manta_status check_options(const manta_options *o, const manta_method *method)
{
    if (o->size > sizeof *o)
        return error_set(MANTA_EINVAL, "%s: options.size is %zu, this library knows %zu bytes", method->name, o->size, sizeof *o);
    if (o->max_retries > RETRY_LIMIT && o->max_retries != MANTA_RETRIES_NONE)
        return error_set(MANTA_EINVAL, "%s: options.max_retries is %u, at most %d", method->name, o->max_retries, RETRY_LIMIT);
    if (o->priority < MANTA_PRIORITY_LOW || o->priority > MANTA_PRIORITY_HIGH)
        return error_set(MANTA_EINVAL, "%s: options.priority is %d", method->name, (int)o->priority);
    return MANTA_OK;
}

static attempt *attempt_new(worker *w, const manta_options *o, const manta_method *method, const void *arguments, size_t extra_bytes)
{
    size_t head = (method->arguments.size + 15) & ~(size_t)15;
    attempt *t = base_aligned_alloc(16, (sizeof *t + head + extra_bytes + 15) & ~(size_t)15);
    future *u = t ? future_new(w) : NULL;
    if (!u) {
        base_free(t);
        return NULL;
    }
    memset(t, 0, sizeof *t);
    t->node.wake = answered;
    pthread_mutex_init(&t->lock, NULL);
    t->references = 1;
    t->user = u;
    t->method = method;
    t->priority = o->priority;
    t->for_deaths = !o->max_retries;
    t->retries_left = o->max_retries == MANTA_RETRIES_NONE ? 0 : o->max_retries ? o->max_retries : RETRIES_OF_DEATHS;
    t->retries = t->retries_left;
    t->process = o->process.id;
    t->delay_ms = o->retry_delay_ms ? o->retry_delay_ms : RETRY_FIRST_MS;
    t->timeout_ms = o->timeout_ms;
    t->extra_bytes = extra_bytes;
    memcpy(t->arguments, arguments, method->arguments.size);
    unsigned char *at = t->arguments + head;
    if (method->arguments.relocate) method->arguments.relocate(t->arguments, &at);
    if (method->arguments.refs) refs_in_flight(&method->arguments, t->arguments);
    list_add(t);
    return t;
}

static future *start(worker *w, const manta_options *o, uint64_t to, const manta_method *method, const void *arguments, size_t extra_bytes,
    demand *d, bool is_again)
{
    if (check_options(o, method)) return NULL;
    attempt *t = attempt_new(w, o, method, arguments, extra_bytes);
    if (!t) {
        error_set(MANTA_ENOMEM, "%s: no memory for a call", method->name);
        return NULL;
    }
    t->to = to;
    t->demand = d;
    t->is_again = is_again;
    if (t->for_deaths && !d) t->retries_left = 0;
    future *u = t->user;
    store_relaxed(&u->target, (uintptr_t)t);
    u->method = method;
    u->packed = FUTURE_ATTEMPT;
    pthread_mutex_lock(&t->lock);
    if (t->timeout_ms) {
        t->references++;
        t->timeout.fire = timed_out;
        pool_timer_start(w, &t->timeout, deadline_after_ms(t->timeout_ms));
    }
    start_inner(w, t, true);
    unlock_and_drop(t);
    return u;
}

future *attempt_start(
    worker *w, const manta_options *o, uint64_t to, const manta_method *method, const void *arguments, size_t extra_bytes, demand *d)
{
    return start(w, o, to, method, arguments, extra_bytes, d, false);
}

future *attempt_again(worker *w, const manta_options *o, const manta_method *method, const void *arguments, size_t extra_bytes, demand *d)
{
    return start(w, o, 0, method, arguments, extra_bytes, d, true);
}

/* The attempt of a user's future that is not complete, with a reference; NULL: there is none. */
static attempt *find(future *u)
{
    pthread_mutex_lock(&way_lock);
    attempt *t = (attempt *)(uintptr_t)load_relaxed(&u->target);
    if (t) add_seq(&t->references, 1);
    pthread_mutex_unlock(&way_lock);
    return t;
}

void attempt_becomes(future *u, manta_ref ref)
{
    attempt *t = u->packed == FUTURE_ATTEMPT ? find(u) : NULL;
    if (!t) return;
    note(worker_self(), t, NULL, ref);
    pthread_mutex_lock(&t->lock);
    unlock_and_drop(t);
}

bool attempt_cancel(future *u, bool force)
{
    if (u->packed != FUTURE_ATTEMPT) return false;
    attempt *t = find(u);
    if (!t) return true;
    worker *w = worker_self();
    pthread_mutex_lock(&t->lock);
    manta_future inner = t->done ? (manta_future){0} : inner_of(t);
    if (!t->done && !inner.id) fail_user(w, t, MANTA_ECANCELLED, "cancelled before the next retry");
    unlock_and_drop(t);
    cancel_inner(inner, force);
    return true;
}

manta_future manta_call_with(const manta_options *o, manta_actor to, const manta_method *method, const void *arguments, size_t extra_bytes)
{
    bool plain = !o || (!o->timeout_ms && (!o->max_retries || o->max_retries == MANTA_RETRIES_NONE) && o->size <= sizeof *o);
    if (plain) return manta_call_method(to, method, arguments, extra_bytes);
    worker *w = worker_self();
    if (to.id == 0) return manta_call_method(to, method, arguments, extra_bytes); /* fails with the reason */
    future *f = w ? attempt_start(w, o, to.id, method, arguments, extra_bytes, NULL) : NULL;
    if (!f) return (manta_future){0};
    activation *act = activation_self();
    if (act->actor || act->scope_depth) future_scope_add(act, f);
    return future_handle(f);
}
