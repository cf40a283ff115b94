/*
 * Local tasks: a task is an actor slot with one message and no mailbox of its own, so it waits, is listed and is cancelled like any handler.
 */
#include "actor/node/owner.h"
#include "actor/runtime/internal.h"
#include "actor/runtime/turn.h"

enum { LOCAL_STREAM = 1 };

bool task_spawn(worker *w, message *m, manta_priority priority, struct stream *s)
{
    actor *a = actor_new(w);
    if (!a) return false;
    a->cls = NULL;
    a->state = s;
    a->boot = m;
    a->run.priority = priority == MANTA_PRIORITY_HIGH ? RUN_HIGH : priority == MANTA_PRIORITY_LOW ? RUN_LOW : RUN_NORMAL;
    store_relaxed(&a->flags, m->flags & MESSAGE_GATED ? ACTOR_TASK | ACTOR_GATED : ACTOR_TASK);
    store_relaxed(&a->phase, PHASE_TASK);
    uint32_t generation = load_relaxed(&a->generation) + 1;
    store_release(&a->generation, generation);
    if (m->reply) store_relaxed(&((future *)m->reply)->target, actor_index(a) | (uint64_t)generation << 32);
    count_up(&local_of(w)->spawned, 1);
    if (likely(a->run.priority == RUN_NORMAL)) worker_ready_spawned(w, &a->run);
    else worker_ready_priority(w, &a->run);
    return true;
}

/* The task's slot goes back; its message has been answered. */
void task_end(worker *w, actor *a)
{
    message *m = a->boot;
    bool gated = load_relaxed(&a->flags) & ACTOR_GATED;
    a->boot = NULL;
    store_release(&a->generation, load_relaxed(&a->generation) + 1);
    if (m) message_free(w, m);
    store_relaxed(&a->waiting, NULL);
    for (;;) { /* nobody writes to a task, but a message for the slot's former tenant may have come */
        late_messages(w, a);
        if (mailbox_try_rest(w, &a->box, &a->end)) break;
        spin_pause();
    }
    count_up(&local_of(w)->exited, 1);
    actor_free(w, a);
    if (unlikely(gated)) gate_end(w);
    if (unlikely(load_relaxed(&the_runtime.running) == 2)) {
        add_seq(&the_runtime.exit_word, 1);
        os_futex_wake(&the_runtime.exit_word, 1);
    }
}

/* The future that waits for the task's answer; NULL: none. */
static inline future *take_reply(worker *w, message *m)
{
    future *reply = m->reply;
    m->reply = NULL;
    if (unlikely(reply && reply->packed == FUTURE_LEASED)) owner_done(w, reply); /* leased from this process itself */
    return reply;
}

static void fail_task(worker *w, activation *act, message *m)
{
    count_up(&local_of(w)->failures, 1);
    count_up(&local_of(w)->failed[act->method->id], 1);
    future *reply = take_reply(w, m);
    if (reply) future_fail(w, reply, error_copy(act->failure));
}

static void finish(activation *act, message *m, const manta_method *method, const void *result)
{
    worker *w = worker_self();
    count_up(&local_of(w)->handled[method->id], 1);
    if (act->stream) {
        struct stream *s = act->stream;
        act->stream = NULL;
        if (act->message && act->message->flags & MESSAGE_GATED) inbound_generator_ends(act->message);
        stream_finish(w, s, act->failure);
    }
    if (unlikely(act->failure != NULL)) fail_task(w, act, m);
    future *reply = take_reply(w, m);
    if (!reply) return;
    if (method->is_generator) future_complete(w, reply, NULL, NULL, 0);
    else future_complete(w, reply, &method->result, result, unlikely(method->result.extra != NULL) ? method->result.extra(result) : 0);
}

static bool cancelled_before(worker *w, message *m)
{
    future *reply = m->reply;
    if (!reply || !load_relaxed(&reply->cancelled)) return false;
    (void)take_reply(w, m);
    message_lose(m);
    future_fail_status(w, reply, MANTA_ECANCELLED, "cancelled before it ran");
    return true;
}

static void run_task(worker *w, activation *act, actor *a)
{
    _Alignas(16) unsigned char stack[RESULT_STACK];
    message *m = a->boot;
    const manta_method *method = m->method;
    void *result = stack, *payload = message_payload(m);
    (void)w;
    act->message = m;
    act->method = method;
    act->stream = a->state;
    TRACE(2, w, TRACE_BEGIN, actor_id(a), "task", method->name);
    if (unlikely(method->result.size > RESULT_STACK)) result = manta_alloc(method->result.size);
    if (unlikely(method->arguments.refs != NULL)) arguments_arrived(method, payload, act);
    if (likely(!act->failure && result)) method->invoke(NULL, payload, result);
    else if (!result) manta_fail(MANTA_ENOMEM, "no memory for a result of %u bytes", method->result.size);
    finish(act, m, method, result);
    TRACE(2, worker_self(), TRACE_END, actor_id(a), "task", method->name);
}

void task_turn(worker *w, actor *a)
{
    activation *act = activation_of(w);
    act->actor = a;
    act->concurrent = 0;
    if (!cancelled_before(w, a->boot)) {
        run_task(w, act, a);
        w = worker_self();
        act->message = NULL;
        act->flags = 0;
        if (act->dirty) scope_clean(w, act);
        act->failure = NULL;
    } else if (a->state) stream_finish(w, a->state, NULL);
    count_up(&w->messages, 1);
    w->current = NULL;
    task_end(w, a);
}

bool task_launch(worker *w, message *m, manta_priority priority, uint64_t process, struct demand *d)
{
    m->retries = (uint16_t)(MANTA_PRIORITY_HIGH - priority);
    if (unlikely(d != NULL)) owner_submit(w, d, m);
    else if (likely(!process || process == the_node.process)) return task_spawn(w, m, priority, NULL);
    else node_task(w, process, m);
    return true;
}

static future *submit_plain(
    worker *w, const manta_method *task, const void *arguments, size_t extra_bytes, const manta_options *o, demand *d)
{
    future *f = future_new(w);
    message *m = f ? message_make(w, task, arguments, extra_bytes) : NULL;
    if (m) {
        m->reply = f;
        f->method = task;
        if (task_launch(w, m, o ? o->priority : MANTA_PRIORITY_NORMAL, o ? o->process.id : 0, d)) return f;
        message_discard(w, m);
    }
    if (f) future_free(w, f);
    return NULL;
}

/* False: the options are wrong, error_set says how. *out: what the task of a job needs; NULL: it is no job's, or goes to one process. */
static inline bool place(const manta_options *o, const manta_method *task, demand **out)
{
    *out = NULL;
    if (likely(!load_relaxed(&owner_is_on)) || (o && (o->process.id || o->where == MANTA_WHERE_HERE))) return true;
    return (*out = demand_of(o, task->name, false)) != NULL;
}

/* Whether its arguments are to be kept: it may run again, has a time-out, or makes objects. A task of a job does run again when its process dies. */
static inline bool is_attempt(const manta_options *o, const demand *d, const manta_method *task)
{
    if (!o) return d != NULL;
    bool may_again = o->max_retries ? o->max_retries != MANTA_RETRIES_NONE : d != NULL;
    return may_again || o->timeout_ms || o->size > sizeof *o || (d != NULL && task->result.refs);
}

manta_future manta_submit(const manta_options *o, const manta_method *task, const void *arguments, size_t extra_bytes)
{
    worker *w = worker_self();
    int running = load_relaxed(&the_runtime.running);
    if (unlikely(!w || running != 1)) {
        error_set(MANTA_ESHUTDOWN, "%s_submit: %s", task->name,
            running == 2 ? "the system is shutting down" : "no system runs, call manta_init first");
        return (manta_future){0};
    }
    future *f;
    demand *d;
    if (unlikely(!place(o, task, &d))) return (manta_future){0};
    static const manta_options usual = {.size = sizeof usual};
    if (unlikely(is_attempt(o, d, task))) {
        if (!(f = attempt_start(w, o ? o : &usual, 0, task, arguments, extra_bytes, d))) return (manta_future){0};
    } else if (unlikely(!(f = submit_plain(w, task, arguments, extra_bytes, o, d)))) {
        error_set(MANTA_ENOMEM, "%s_submit: no memory or no slot for another task", task->name);
        return (manta_future){0};
    }
    activation *act = activation_self();
    if (likely(act->actor != NULL) || act->scope_depth) future_scope_add(act, f);
    return future_handle(f);
}
