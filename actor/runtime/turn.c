/*
 * One turn of an actor: take messages and run their handlers, up to policy.batch messages or slice_us.
 *
 * A handler that fails by a wait leaves its fiber for good (worker_abandon): what it owed is settled first, on the old fiber, and the actor goes on
 * on a fresh one. A concurrent actor's suspended handlers come back through `resumed`; each is continued inside a turn, so handlers never run in parallel.
 */
#include <string.h>

#include "actor/runtime/internal.h"
#include "actor/runtime/turn.h"
#include "scheduler/pool/sim.h"

enum { CLOCK_EVERY = 64 };

/* ---- what a handler leaves behind ---- */

static bool exits_on_failure(const actor *a)
{
    manta_failure f = a->extra && a->extra->on_failure ? a->extra->on_failure : a->cls->options.on_failure;
    return f == MANTA_FAILURE_EXIT;
}

/* The handler failed with `error` (in its scope): tell the caller, or the log of failures, and decide on the actor. */
static void settle_failure(worker *w, activation *act, const manta_error *error)
{
    local *l = local_of(w);
    message *m = act->message;
    count_up(&l->failures, 1);
    if (act->method) count_up(&l->failed[act->method->id], 1);
    if (m && m->reply) {
        future *reply = m->reply;
        m->reply = NULL;
        future_fail(w, reply, error_copy(error));
    } else if (act->actor->cls && load_relaxed(&act->actor->phase) == PHASE_LIVE) {
        char text[512];
        manta_error_format(error, text, sizeof text);
        runtime_report("failed one-way message: %s", text);
    }
    if (act->actor->cls && exits_on_failure(act->actor)) handler_exit(act, error->status, error_copy(error));
}

static noinline worker *failed_here(activation *act)
{
    settle_failure(worker_self(), act, act->failure);
    return worker_self(); /* a report may have waited */
}

static inline worker *handler_finish(activation *act, const manta_method *method, const void *result)
{
    worker *w = unlikely(act->failure != NULL) ? failed_here(act) : worker_self();
    message *m = act->message;
    count_up(&local_of(w)->handled[method->id], 1);
    if (m->reply && likely(!(act->flags & ACT_STASH))) {
        future *reply = m->reply;
        m->reply = NULL;
        if (unlikely(reply->packed == FUTURE_PACKED)) dynamic_complete(w, reply, &method->result, result);
        else future_complete(w, reply, &method->result, result, unlikely(method->result.extra != NULL) ? method->result.extra(result) : 0);
    }
    return w;
}

/* Runs one handler on this fiber. Returns the worker, which may have changed. */
static worker *run_handler(activation *act, actor *a, message *m, const manta_method *method)
{
    _Alignas(16) unsigned char stack[RESULT_STACK];
    void *result = stack, *payload = message_payload(m);
    act->message = m;
    act->method = method;
    TRACE(2, worker_self(), TRACE_BEGIN, actor_id(a), a->cls ? a->cls->name : "task", method->name);
    if (unlikely(method->result.size > RESULT_STACK)) result = manta_alloc(method->result.size);
    if (unlikely(method->arguments.refs != NULL)) arguments_arrived(method, payload, act);
    if (likely(!act->failure && result)) method->invoke(a->state, payload, result);
    else if (!result) manta_fail(MANTA_ENOMEM, "no memory for a result of %u bytes", method->result.size);
    worker *w = handler_finish(act, method, result);
    TRACE(2, w, TRACE_END, actor_id(a), a->cls ? a->cls->name : "task", method->name);
    return w;
}

/* After a handler: the scope, a held message. */
static noinline void clean_up(worker *w, activation *act, message *m)
{
    if (m->flags & MESSAGE_HELD && !(act->flags & ACT_STASH)) message_release(w, m);
    act->flags &= (uint8_t)~ACT_STASH;
    if (act->dirty) scope_clean(w, act);
    act->failure = NULL;
}

static inline void after_handler(worker *w, activation *act, message *m)
{
    act->message = NULL;
    if (likely(m->flags == (MESSAGE_HELD | MESSAGE_PASSED) && !act->dirty && !(act->flags & ACT_STASH))) { /* came through the own lane */
        m->flags = 0;
        message_free(w, m);
    } else if (unlikely(act->dirty || m->flags & MESSAGE_HELD)) clean_up(w, act, m);
}

/* ---- leaving a body for good ---- */

static void then_go_on(worker *w, runnable *r, void *argument)
{
    (void)argument;
    actor *a = actor_of_run(r);
    if (load_relaxed(&a->phase) == PHASE_TASK) task_end(w, a);
    else worker_ready_fifo(w, r);
    w->current = NULL;
}

static void then_exit(worker *w, runnable *r, void *argument)
{
    const manta_error *error = argument;
    actor_exit(w, actor_of_run(r), error ? error->status : MANTA_EKILLED, error);
    error_free(error);
    w->current = NULL;
}

/* Settles everything of the handler on this fiber but its frames. */
static void leave_body(worker *w, activation *act)
{
    message *m = act->message;
    wait_abandon(w, act);
    store_relaxed(&act->actor->waiting, NULL);
    if (act->stream) {
        stream_finish(w, act->stream, act->failure);
        act->stream = NULL;
    }
    act->message = NULL;
    act->flags = 0;
    error_free(act->exit_error);
    act->exit_error = NULL;
    if (m && m->flags & MESSAGE_HELD) message_release(w, m);
    scope_clean(w, act);
    act->failure = NULL;
}

void actor_fail_handler(const manta_error *cause)
{
    worker *w = worker_self();
    activation *act = activation_of(w);
    actor *a = act->actor;
    manta_error *error = error_new(cause->status, cause, "a wait in the handler failed");
    act->failure = error;
    bool booting = load_relaxed(&a->phase) == PHASE_STARTING, task = load_relaxed(&a->phase) == PHASE_TASK;
    if (task && act->message && act->message->reply) {
        future_fail(w, act->message->reply, error_copy(error));
        act->message->reply = NULL;
    } else if (!task) settle_failure(w, act, error);
    bool leave = !task && (booting || act->flags & ACT_EXIT);
    manta_error *reason = leave ? booting ? error_new(MANTA_EINIT, error, "init failed") : error_copy(error) : NULL;
    leave_body(w, act);
    error_free(error);
    worker_abandon(worker_self(), leave ? then_exit : then_go_on, reason);
}

static void then_killed(worker *w, runnable *r, void *argument)
{
    (void)argument;
    actor *a = actor_of_run(r);
    if (load_relaxed(&a->phase) == PHASE_TASK) task_end(w, a);
    else actor_exit(w, a, MANTA_EKILLED, NULL);
    w->current = NULL;
}

void handler_killed(activation *act)
{
    worker *w = worker_self();
    message *m = act->message;
    if (m && m->reply) {
        future_fail_status(w, m->reply, MANTA_EKILLED, "the actor was killed while it handled the call");
        m->reply = NULL;
    }
    leave_body(w, act);
    worker_abandon(worker_self(), then_killed, NULL);
}

/* ---- messages ---- */

static void exit_now(worker *w, actor *a, activation *act)
{
    manta_status status = act->exit_status;
    manta_error *error = act->exit_error;
    act->exit_error = NULL;
    act->flags = 0;
    act->concurrent = 0; /* on_stop runs alone: other handlers that were waiting are not continued */
    run_on_stop(a, act, error);
    w = worker_self();
    scope_clean(w, act);
    actor_exit(w, a, status, error);
    error_free(error);
    w->current = NULL;
}

/* The method that a behavior puts in the place of `method`; NULL: the message was stashed or refused. */
static noinline const manta_method *behave(worker *w, actor *a, activation *act, message *m, const manta_method *method)
{
    const manta_behavior *b = a->behavior;
    for (uint32_t i = 0; i < b->n_entries; i++)
        if (b->entries[i].from == method) return b->entries[i].to;
    if (b->others == MANTA_OTHERS_DEFAULT) return method;
    act->message = m;
    if (b->others == MANTA_OTHERS_STASH && manta_stash() == MANTA_OK) {
        act->flags &= (uint8_t)~ACT_STASH;
        act->message = NULL;
        message_lose(m); /* manta_stash counted for a handler that holds the refs */
        return NULL;
    }
    act->message = NULL;
    message_lose(m);
    manta_error *e = error_new(MANTA_ENOMETHOD, NULL, "behavior %s does not take %s.%s", b->name, method->owner, method->name);
    if (m->reply) {
        future_fail(w, m->reply, e);
        m->reply = NULL;
    } else error_free(e);
    message_done(w, m);
    return NULL;
}

static noinline bool call_is_void(worker *w, actor *a, message *m, const manta_method *method)
{
    if (m->reply && load_relaxed(&((future *)m->reply)->cancelled)) {
        future_fail_status(w, m->reply, MANTA_ECANCELLED, "cancelled before it ran");
        m->reply = NULL;
        message_lose(m);
        message_done(w, m);
        return true;
    }
    if (method->cls == a->cls) return false;
    message_lose(m);
    manta_error *e = error_new(MANTA_ENOMETHOD, NULL, "%s.%s was sent to an actor of class %s", method->owner, method->name, a->cls->name);
    if (m->reply) {
        future_fail(w, m->reply, e);
        m->reply = NULL;
    } else {
        runtime_report("%s", e->message);
        error_free(e);
    }
    message_done(w, m);
    return true;
}

void actor_run_call(worker *w, actor *a, message *m)
{
    activation *act = activation_of(w);
    message_hold(m);
    m->flags |= MESSAGE_PASSED;
    after_handler(run_handler(act, a, m, m->method), act, m);
}

/* KIND_CALL. Returns the worker, which may have changed. */
static inline worker *handle_call(worker *w, actor *a, activation *act, message *m)
{
    const manta_method *method = m->method;
    future *reply = m->reply;
    if (unlikely(method->cls != a->cls || (reply && load_relaxed(&reply->cancelled))) && call_is_void(w, a, m, method)) return w;
    if (unlikely(a->behavior != NULL) && !(method = behave(w, a, act, m, method))) return w;
    if (unlikely(act->concurrent)) message_hold(m);
    w = run_handler(act, a, m, method);
    after_handler(w, act, m);
    return w;
}

static noinline worker *handle_other(worker *w, actor *a, activation *act, message *m)
{
    if (m->kind == KIND_WAKE) {
        if (m->reply) future_complete(w, m->reply, NULL, NULL, 0);
        m->reply = NULL;
        return w;
    }
    if (m->kind == KIND_STOP) {
        handler_exit(act, MANTA_OK, NULL);
        return w;
    }
    if (m->kind >= KIND_CHECKPOINT) durable_message(w, a, m);
    else relation_handle(w, a, m);
    return worker_self();
}

/* A bounded mailbox that drops its oldest: what is over the limit goes. True: m was dropped. */
static noinline bool bounded_pop(worker *w, actor *a, message *m)
{
    actor_extra *x = a->extra;
    bool over = x->overflow == MANTA_OVERFLOW_DROP_OLDEST && load_relaxed(&x->queued) > x->limit;
    message_took_room(w, a);
    if (!over || m->kind != KIND_CALL) return false;
    count_up(&local_of(w)->dropped, 1);
    message_dead(w, actor_id(a), m, MANTA_EDROPPED, NULL);
    message_done(w, m);
    return true;
}

static worker *handle(worker *w, actor *a, activation *act, message *m)
{
    if (unlikely(m->generation != load_relaxed(&a->generation))) { /* meant for who was here before */
        message_dead(w, (uint64_t)m->generation << 32 | actor_index(a), m, MANTA_EDEAD, NULL);
        message_done(w, m);
        return w;
    }
    if (likely(m->kind == KIND_CALL)) return handle_call(w, a, act, m);
    return handle_other(w, a, act, m);
}

/* The next message: stashed ones that were called back, then the mailbox. */
static inline message *next_message(worker *w, actor *a)
{
    if (unlikely(a->extra != NULL) && a->extra->unstash) {
        message *m = unstash_next(a->extra);
        if (m) return m;
    }
    message *m;
    while ((m = mailbox_pop(w, &a->box, &a->end))) {
        if (likely(!(load_relaxed(&a->flags) & ACTOR_BOUNDED)) || m->generation != load_relaxed(&a->generation)) return m;
        if (m->kind != KIND_CALL || !bounded_pop(w, a, m)) return m;
    }
    return NULL;
}

/* ---- turns ---- */

static void go_to_rest(worker *w, actor *a)
{
    w->current = NULL;
    if (unlikely(load_relaxed(&a->run.hot))) store_relaxed(&a->run.hot, 0);
    if (!mailbox_try_rest(w, &a->box, &a->end)) { /* a push is in flight, or just landed */
        worker_ready_fifo(w, &a->run);
        return;
    }
    if (unlikely(actor_has_signals(a) || load_seq(&a->resumed)) && mailbox_take(&a->box)) worker_ready_fifo(w, &a->run);
}

/* Kill, nudge, handlers that come back. True: the turn is over. */
static noinline bool handle_signals(worker *w, actor *a, activation *act)
{
    uint32_t flags = atomic_fetch_and_explicit(&a->flags, ~(uint32_t)ACTOR_NUDGE, memory_order_seq_cst);
    if (flags & ACTOR_KILL) {
        scope_clean(w, act);
        actor_exit(w, a, MANTA_EKILLED, NULL);
        w->current = NULL;
        return true;
    }
    if (load_relaxed(&a->concurrency) > 1 && flags & ACTOR_NUDGE) wake_cancelled(w, a);
    activation *back = resumed_pop(a);
    if (!back) return false;
    worker_continue(w, &a->run, activation_fiber(back));
    return true;
}

static inline bool needs_attention(actor *a)
{
    return unlikely(load_relaxed(&a->flags) & (ACTOR_KILL | ACTOR_NUDGE)) || unlikely(load_relaxed(&a->resumed) != NULL);
}

static void live_turn(worker *w, actor *a)
{
    int left = the_pool.policy.batch;
    uint64_t start = 0;
    activation *act = activation_of(w);
    act->actor = a;
    act->concurrent = load_relaxed(&a->concurrency) > 1;
    for (;;) {
        if (needs_attention(a) && handle_signals(w, a, act)) return;
        message *m = next_message(w, a);
        if (!m) break;
        w = handle(w, a, act, m);
        count_up(&a->handled, 1);
        count_up(&w->messages, 1);
        if (unlikely(act->flags & ACT_EXIT)) {
            exit_now(w, a, act);
            return;
        }
        if (unlikely((--left & (CLOCK_EVERY - 1)) == 0)) {
            uint64_t now = unlikely(sim_is_on()) ? 1 : os_ticks(); /* real time must not decide anything there */
            if (!start) start = now;
            if (left > 0 && now - start <= (uint64_t)the_pool.policy.slice_us * the_pool.ticks_per_us) continue;
            w->current = NULL;
            if (!load_relaxed(&a->run.hot)) store_relaxed(&a->run.hot, 1);
            worker_ready_fifo(w, &a->run);
            return;
        }
    }
    go_to_rest(w, a);
}

/* The first turn: init, then messages. */
static noinline void first_turn(worker *w, actor *a)
{
    activation *act = activation_of(w);
    message *m = a->boot;
    act->actor = a;
    act->concurrent = 0;
    a->boot = NULL;
    manta_error *error = NULL;
    if (m) {
        message_hold(m);
        m->flags |= MESSAGE_PASSED;
        act->message = m;
        w = run_handler(act, a, m, m->method);
        if (act->failure) error = error_new(MANTA_EINIT, act->failure, "init failed");
        else if (act->flags & ACT_EXIT && act->exit_status) error = error_new(MANTA_EINIT, act->exit_error, "init exited");
        after_handler(w, act, m);
    }
    if (error) {
        act->flags = 0;
        error_free(act->exit_error);
        act->exit_error = NULL;
        scope_clean(w, act);
        actor_exit(w, a, MANTA_EINIT, error);
        error_free(error);
        w->current = NULL;
        return;
    }
    store_relaxed(&a->phase, PHASE_LIVE);
    if (act->flags & ACT_EXIT) exit_now(w, a, act);
    else live_turn(w, a);
}

void late_messages(worker *w, actor *a)
{
    message *m;
    while ((m = mailbox_pop(w, &a->box, &a->end))) {
        message_dead(w, (uint64_t)m->generation << 32 | actor_index(a), m, MANTA_EDEAD, NULL);
        message_done(w, m);
    }
}

/* A late push scheduled a slot that nobody lives in: answer it and rest again. */
static noinline void free_turn(worker *w, actor *a)
{
    late_messages(w, a);
    w->current = NULL;
    if (!mailbox_try_rest(w, &a->box, &a->end)) worker_ready_fifo(w, &a->run);
}

void actor_turn(worker *w, runnable *r)
{
    actor *a = actor_of_run(r);
    w->current = r;
    w->send_budget = the_pool.policy.send_budget;
    if (unlikely(load_relaxed(&r->home) != w->index + 1)) store_relaxed(&r->home, (uint8_t)(w->index + 1));
    int phase = load_relaxed(&a->phase);
    if (likely(phase == PHASE_LIVE)) live_turn(w, a);
    else if (phase == PHASE_TASK) task_turn(w, a);
    else if (phase == PHASE_STARTING) first_turn(w, a);
    else free_turn(w, a);
}
