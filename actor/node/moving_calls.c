/*
 * Calls to an actor that moves. Each has a record until it is answered, with its arguments, so that it can be sent again.
 *
 * A record is in the list of all; it waits in the queue, or is under way by an attempt_node, whose future the place answers. Whoever takes the record out of the list, under the lock, completes its user's future, once.
 */
#include <stdio.h>
#include <string.h>

#include "actor/durable/keeper.h"
#include "actor/node/moving_internal.h"

/* ---- records ---- */

static moving_call *call_new(const message *x)
{
    const manta_method *method = x->method;
    void *arguments = message_payload((message *)(uintptr_t)x);
    size_t head = (method->arguments.size + 15) & ~(size_t)15, extra = method->arguments.extra ? method->arguments.extra(arguments) : 0;
    moving_call *c = base_aligned_alloc(16, (sizeof *c + head + extra + 15) & ~(size_t)15);
    if (!c) return NULL;
    *c = (moving_call){.user = x->reply,
        .method = method,
        .from = x->from,
        .retries = method->cls ? method->cls->options.call_retries : 0,
        .extra_bytes = extra};
    memcpy(c->arguments, arguments, method->arguments.size);
    unsigned char *at = c->arguments + head;
    if (method->arguments.relocate) method->arguments.relocate(c->arguments, &at);
    return c;
}

/* Out of the lists; under the lock. */
static void call_remove(moving_call *c)
{
    moving *m = c->of;
    if (c->previous) c->previous->next = c->next;
    else m->first = c->next;
    if (c->next) c->next->previous = c->previous;
    else m->last = c->previous;
    for (moving_call **at = &m->queue_first; *at && !c->under_way; at = &(*at)->queue_next)
        if (*at == c) {
            *at = c->queue_next;
            break;
        }
    m->count--;
}

static void call_free(moving_call *c)
{
    if (c->method->arguments.refs) refs_dropped(&c->method->arguments, c->arguments);
    base_free(c);
}

static void call_fail(worker *w, moving_call *c, manta_status status, const char *text)
{
    if (c->user) future_fail_status(w, c->user, status, "%s", text);
    call_free(c);
}

static void enqueue(moving *m, moving_call *c)
{
    moving_call **at = &m->queue_first;
    while (*at && (*at)->number < c->number) at = &(*at)->queue_next;
    c->queue_next = *at;
    *at = c;
    c->under_way = NULL;
}

/* ---- answers ---- */

/* Its place is gone, or has never been: the error is not the method's or the keeper's own. */
static bool is_lost(const moving *m, const moving_call *c, const manta_error *e)
{
    const char *own = uid_is_durable(m->uid) ? MantaKeeper_class.name : c->method->owner;
    if (e->status == MANTA_EDEAD || (uid_is_durable(m->uid) && e->status == MANTA_ESTALE)) return true;
    return e->status == MANTA_EUNKNOWN && !e->cause && strcmp(e->class_name, own) != 0;
}

/* A durable actor's answer. */
static void complete_outcome(worker *w, future *u, const MantaOutcome *o)
{
    const manta_layout *layout = u->method ? &u->method->result : NULL;
    if (o->status) {
        future_fail(w, u, unpack_error(o->value.data, o->value.size, (manta_status)o->status));
        return;
    }
    if (u->packed == FUTURE_PACKED) {
        block *b = block_new(sizeof(manta_bytes) + o->value.size);
        if (!b) {
            future_fail_status(w, u, MANTA_ENOMEM, "no memory for a result of %zu bytes", o->value.size);
            return;
        }
        memcpy(b->bytes + sizeof(manta_bytes), o->value.data, o->value.size);
        *(manta_bytes *)(void *)b->bytes = (manta_bytes){b->bytes + sizeof(manta_bytes), o->value.size};
        future_complete_block(w, u, b, sizeof(manta_bytes));
        return;
    }
    if (!layout || !layout->size) {
        future_complete(w, u, NULL, NULL, 0);
        return;
    }
    manta_reader r;
    void *value = base_aligned_alloc(16, (layout->size + 31) & ~(size_t)15);
    if (value) {
        memset(value, 0, layout->size);
        manta_reader_init(&r, o->value.data, o->value.size);
        layout->unpack(&r, value);
    }
    if (value && !r.status) future_complete(w, u, layout, value, layout->extra ? layout->extra(value) : 0);
    else future_fail_status(w, u, value ? MANTA_EDECODE : MANTA_ENOMEM, "%s.%s: its result", u->method->owner, u->method->name);
    base_free(value);
}

/* The place has answered; the record is out of the list. Takes f's value. */
static void settle(worker *w, moving_call *c, future *f)
{
    future *u = c->user;
    if (!u) value_discard(f);
    else if (f->kind == VALUE_ERROR || !uid_is_durable(c->of->uid)) {
        u->kind = f->kind;
        u->size = f->size;
        memcpy(u->bytes, f->bytes, sizeof u->bytes);
        future_signal(w, u);
    } else {
        complete_outcome(
            w, u, f->kind == VALUE_BLOCK ? (const MantaOutcome *)(void *)f->large.memory->bytes : &(MantaOutcome){.status = 0});
        value_discard(f);
    }
    call_free(c);
}

/* Under the lock: whether it may be sent again now that its place is lost. */
static bool goes_again(moving *m, moving_call *c, bool never_ran)
{
    if (m->state == MOVING_DEAD || (c->user && load_relaxed(&c->user->cancelled))) return false;
    if (uid_is_durable(m->uid) || never_ran) return true;
    if (!c->retries) return false;
    c->retries--;
    return true;
}

static void lose_place(moving *m, uint64_t epoch)
{
    if (m->lost_epoch < epoch) m->lost_epoch = epoch;
    if (m->state == MOVING_ALIVE && m->epoch <= epoch) m->state = MOVING_LOST;
}

static void answered(worker *w, wait_node *node)
{
    attempt_node *a = (attempt_node *)(void *)node;
    moving *m = a->of;
    future *f = a->inner;
    pthread_mutex_lock(&m->lock);
    moving_call *c = a->call;
    bool lost = c && f->kind == VALUE_ERROR && is_lost(m, c, f->error);
    if (lost) lose_place(m, a->epoch);
    bool again = lost && goes_again(m, c, f->error->status == MANTA_EDEAD);
    if (again) enqueue(m, c);
    else if (c) call_remove(c);
    bool flush = again && m->state == MOVING_ALIVE;
    pthread_mutex_unlock(&m->lock);
    if (c && !again) settle(w, c, f);
    else value_discard(f);
    future_free(w, f);
    base_free(a);
    if (flush) moving_flush(w, m);
}

/* ---- sending ---- */

static message *plain_message(worker *w, moving_call *c)
{
    message *x = message_make(w, c->method, c->arguments, c->extra_bytes);
    if (x) x->from = c->from;
    return x;
}

static message *keeper_message(worker *w, const moving *m, moving_call *c, uint64_t epoch, uint64_t done, manta_status *out_status)
{
    manta_writer *out = pack_begin(m->process == the_node.process ? NULL : peer_get(m->process, false));
    *out_status = MANTA_ENOMEM;
    if (!out) return NULL;
    c->method->arguments.pack(out, c->arguments);
    if (!pack_end(out, out_status)) return NULL;
    struct {
        MantaDurableCall what;
    } __attribute__((aligned(16))) arguments = {{epoch, c->caller ? c->caller : the_node.process, c->caller ? c->caller_number : c->number,
        c->caller ? c->caller_done : done, c->again, method_hash(c->method), {out->start, manta_writer_size(out)}}};
    *out_status = MANTA_ENOMEM;
    return message_make(w, &MantaKeeper_call_method, &arguments, arguments.what.arguments.size);
}

/* Under the lock on entry and return, not between. The record is under way, or answered, or failed. */
static void send_one(worker *w, moving *m, moving_call *c)
{
    uint64_t epoch = m->epoch, target = m->target, done = m->first->number - 1;
    bool durable = uid_is_durable(m->uid);
    manta_status status = MANTA_ENOMEM;
    attempt_node *a = base_calloc(1, sizeof *a);
    future *f = a ? future_new(w) : NULL;
    message *x = !f ? NULL : durable ? keeper_message(w, m, c, epoch, done, &status) : plain_message(w, c);
    m->queue_first = c->queue_next;
    if (!x) {
        if (f) future_free(w, f);
        base_free(a);
        call_remove(c);
        pthread_mutex_unlock(&m->lock);
        call_fail(w, c, status, durable ? "the arguments cannot be packed" : "no memory for a call");
        pthread_mutex_lock(&m->lock);
        return;
    }
    *a = (attempt_node){.node = {answered}, .inner = f, .call = c, .of = m, .epoch = epoch};
    c->under_way = a;
    c->again = true;
    f->method = durable ? &MantaKeeper_call_method : c->method;
    if (!durable && c->user) f->packed = c->user->packed == FUTURE_PACKED ? FUTURE_PACKED : 0;
    if (f->packed) f->method = NULL;
    store_relaxed(&f->target, target);
    store_relaxed(&f->state, (uintptr_t)&a->node | FUTURE_NODE);
    x->reply = f;
    pthread_mutex_unlock(&m->lock);
    message_post_at_once(w, target, x);
    pthread_mutex_lock(&m->lock);
}

void moving_flush(worker *w, moving *m)
{
    pthread_mutex_lock(&m->lock);
    if (!m->is_flushing) {
        m->is_flushing = true;
        while (m->state == MOVING_ALIVE && m->queue_first) send_one(w, m, m->queue_first);
        m->is_flushing = false;
    }
    pthread_mutex_unlock(&m->lock);
}

void moving_give_up(worker *w, moving *m, uint64_t epoch)
{
    moving_call *failed = NULL;
    char text[320];
    pthread_mutex_lock(&m->lock);
    snprintf(text, sizeof text, "%s", m->reason[0] ? m->reason : "its place was lost");
    for (moving_call *c = m->first, *next; c; c = next) {
        next = c->next;
        if (!c->under_way || c->under_way->epoch > epoch) continue;
        c->under_way->call = NULL;
        if (goes_again(m, c, false)) {
            enqueue(m, c);
            continue;
        }
        call_remove(c);
        c->queue_next = failed;
        failed = c;
    }
    pthread_mutex_unlock(&m->lock);
    for (moving_call *next; failed; failed = next) {
        next = failed->queue_next;
        call_fail(w, failed, MANTA_EUNKNOWN, text);
    }
}

void moving_fail_all(worker *w, moving *m, manta_status status)
{
    char text[320];
    pthread_mutex_lock(&m->lock);
    snprintf(text, sizeof text, "%s", m->reason);
    for (moving_call *c; (c = m->first);) {
        if (c->under_way) c->under_way->call = NULL;
        call_remove(c);
        pthread_mutex_unlock(&m->lock);
        call_fail(w, c, status, text);
        pthread_mutex_lock(&m->lock);
    }
    pthread_mutex_unlock(&m->lock);
}

static manta_status refuse(worker *w, message *x, uint64_t handle, manta_status status, const char *text)
{
    if (x->reply) future_fail_status(w, x->reply, status, "%s", text);
    else error_set(status, "%s", text);
    (void)handle;
    x->reply = NULL;
    message_discard(w, x);
    return status;
}

manta_status moving_call_post(worker *w, moving *m, message *x, uint64_t handle)
{
    nested_call nested = {0};
    char why[sizeof m->reason];
    moving_call *c = call_new(x);
    if (!c) return refuse(w, x, handle, MANTA_ENOMEM, "no memory for a call");
    if (uid_is_durable(m->uid) && keeper_nested(w, &nested)) {
        c->caller = nested.caller;
        c->caller_number = nested.number;
        c->caller_done = nested.done;
    }
    pthread_mutex_lock(&m->lock);
    manta_status status = m->state == MOVING_DEAD ? MANTA_EDEAD : m->count >= MOVING_CALLS ? MANTA_ELIMIT : MANTA_OK;
    snprintf(why, sizeof why, "%s", status == MANTA_ELIMIT ? "too many calls of this process to the actor are not answered" : m->reason);
    if (!status) {
        c->of = m;
        c->number = ++m->numbers;
        c->previous = m->last;
        if (m->last) m->last->next = c;
        else m->first = c;
        m->last = c;
        m->count++;
        enqueue(m, c);
    }
    pthread_mutex_unlock(&m->lock);
    if (status) {
        base_free(c);
        return refuse(w, x, handle, status, why);
    }
    x->reply = NULL;
    message_free(w, x); /* the record has its refs */
    moving_flush(w, m);
    return MANTA_OK;
}
