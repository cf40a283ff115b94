/*
 * Generators that run in another process of a job: a leased task there sends each value as it comes, as long as the reader has room; the reader tells what it has taken.
 *
 * The reader's end is an ordinary stream whose values arrive on the link's thread; the answer of the task is the generator's end. The generator's end has no table entry: `queued` counts the values that the
 * reader has not taken, and the generator waits at the limit as it would for a reader here.
 */
#include <string.h>

#include "actor/runtime/stream.h"

/* ---- the reader's end ---- */

static stream *stream_of(wait_node *node) { return (stream *)(void *)((unsigned char *)node - offsetof(stream, node)); }

static void task_ended(worker *w, wait_node *node)
{
    stream *s = stream_of(node);
    stream_finish(w, s, s->task->kind == VALUE_ERROR ? s->task->error : NULL);
}

bool stream_submit(worker *w, stream *s, message *m, const manta_options *o, demand *d)
{
    s->node.wake = task_ended;
    store_relaxed(&s->task->state, (uintptr_t)&s->node | FUTURE_NODE);
    return task_launch(w, m, o ? o->priority : MANTA_PRIORITY_NORMAL, 0, d);
}

/* The stream whose generator answers this future; NULL: it is not one's. */
static stream *stream_of_task(future *f)
{
    uintptr_t state = load_acquire(&f->state);
    wait_node *node = (wait_node *)(state & ~(uintptr_t)3);
    return (state & 3) == FUTURE_NODE && node && node->wake == task_ended ? stream_of(node) : NULL;
}

uint32_t stream_room(future *task)
{
    stream *s = stream_of_task(task);
    return s ? s->limit : 0;
}

struct stream *stream_local(future *task)
{
    stream *s = stream_of_task(task);
    if (!s) return NULL;
    store_relaxed(&task->state, FUTURE_PENDING); /* its end will tell */
    pthread_mutex_lock(&s->lock);
    s->is_remote = false;
    pthread_mutex_unlock(&s->lock);
    return s;
}

bool stream_arrived(worker *w, future *task, uint64_t call, const void *value, size_t extra_bytes)
{
    stream *s = stream_of_task(task);
    item *i = s ? stream_item(s->method, value, s->method->result.size, extra_bytes) : NULL;
    if (!i) return s != NULL;
    pthread_mutex_lock(&s->lock);
    s->call = call;
    bool ok = s->queued + s->taken <= s->limit, take = ok && !s->dropped;
    if (take) stream_append(w, s, i);
    pthread_mutex_unlock(&s->lock);
    if (!take) stream_items_free(s->method, i);
    return ok;
}

void stream_give_credit(stream *s)
{
    uint32_t n = s->taken;
    s->taken = 0;
    if (!s->ended && s->task) node_credit(s->task, s->call, n);
}

/* ---- the generator's end ---- */

struct stream *stream_outgoing(const manta_method *method, struct peer *p, uint64_t call, uint32_t limit)
{
    stream *s = base_calloc(1, sizeof *s);
    if (!s) return NULL;
    pthread_mutex_init(&s->lock, NULL);
    s->references = 1;
    s->limit = limit ? limit : 1;
    s->method = method;
    s->peer = p;
    s->call = call;
    return s;
}

manta_status stream_send(stream *s, item *i)
{
    const manta_layout *layout = &s->method->result;
    manta_status status = MANTA_ENOMEM;
    manta_writer *out = pack_begin(s->peer);
    wire_head h = {.kind = WIRE_YIELD, .call = s->call};
    if (out) layout->pack(out, i->value->bytes);
    if (out && pack_end(out, &status)) {
        h.borrow = layout->refs ? borrow(s->peer, (borrowed){.value = i, .generator = s->method}) : 0;
        status = layout->refs && !h.borrow ? MANTA_EUNKNOWN : peer_send(s->peer, &h, out->start, manta_writer_size(out), true);
    }
    if (!h.borrow) stream_items_free(s->method, i);
    else if (status) borrowed_return(worker_self(), s->peer, h.borrow);
    return status ? error_set(status, "manta_yield: %s", manta_status_text(status)) : MANTA_OK;
}

void stream_credit(worker *w, struct stream *s, uint32_t n)
{
    pthread_mutex_lock(&s->lock);
    s->queued -= n < s->queued ? n : s->queued;
    stream_wake(w, &s->writer);
    pthread_mutex_unlock(&s->lock);
}
