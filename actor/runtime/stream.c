/*
 * Streams: a bounded queue of values between a generator (a task) and its reader.
 *
 * The lock guards the queue; a side that waits leaves a future there as its event. The end (or the error) of the generator comes after its values. A stream is freed when
 * both sides have let go. A handler's scope releases the streams that it made and did not keep.
 */
#include <string.h>

#include "actor/node/owner.h"
#include "actor/runtime/stream.h"

enum { STREAM_DEFAULT = 16, STREAM_LIMIT = 65535, STREAM_TABLE = 1 << 20 };

static pthread_mutex_t table_lock = PTHREAD_MUTEX_INITIALIZER;
static struct {
    stream **items;
    uint32_t *generations;
    uint32_t capacity, hint;
} table;

/* ---- handles ---- */

static bool table_grow(void)
{
    uint32_t capacity = table.capacity ? table.capacity * 2 : 64;
    stream **items = base_realloc(table.items, capacity * sizeof *items);
    if (items) table.items = items;
    uint32_t *generations = base_realloc(table.generations, capacity * sizeof *generations);
    if (generations) table.generations = generations;
    if (!items || !generations || capacity > STREAM_TABLE) return false;
    for (uint32_t i = table.capacity; i < capacity; i++) {
        table.items[i] = NULL;
        table.generations[i] = 1;
    }
    table.capacity = capacity;
    return true;
}

static bool table_add(stream *s)
{
    pthread_mutex_lock(&table_lock);
    uint32_t i = table.hint;
    while (i < table.capacity && table.items[i]) i++;
    bool ok = i < table.capacity || table_grow();
    if (ok) {
        s->slot = i;
        s->generation = table.generations[i];
        table.items[i] = s;
        table.hint = i + 1;
    }
    pthread_mutex_unlock(&table_lock);
    return ok;
}

/* With a reference for the caller; NULL: stale. `take` makes the handle stale. */
static stream *table_find(manta_stream handle, bool take)
{
    uint32_t slot = (uint32_t)handle.id, generation = (uint32_t)(handle.id >> 32);
    pthread_mutex_lock(&table_lock);
    stream *s = slot < table.capacity ? table.items[slot] : NULL;
    if (s && s->generation != generation) s = NULL;
    if (s && take) {
        table.items[slot] = NULL;
        if (++table.generations[slot] == 0) table.generations[slot] = 1;
        if (slot < table.hint) table.hint = slot;
    } else if (s) {
        pthread_mutex_lock(&s->lock);
        s->references++;
        pthread_mutex_unlock(&s->lock);
    }
    pthread_mutex_unlock(&table_lock);
    return s;
}

/* ---- the queue ---- */

void stream_items_free(const manta_method *method, item *i)
{
    while (i) {
        item *next = i->next;
        if (method->result.refs) refs_dropped(&method->result, i->value->bytes);
        base_free(i->value);
        base_free(i);
        i = next;
    }
}

void stream_unlock_and_drop(stream *s)
{
    bool last = --s->references == 0;
    pthread_mutex_unlock(&s->lock);
    if (!last) return;
    stream_items_free(s->method, s->head);
    if (s->task) future_drop(worker_self(), s->task);
    error_free(s->error);
    pthread_mutex_destroy(&s->lock);
    base_free(s);
}

void stream_wake(worker *w, future **event)
{
    future *f = *event;
    *event = NULL;
    if (f) future_complete(w, f, NULL, NULL, 0);
}

typedef struct stream_wait {
    unwind unwind;
    stream *stream;
    future *event, **place;
} stream_wait;

/* Under the lock, under which events are completed: nobody else has this one afterwards. */
static void take_back(worker *w, stream_wait *wait)
{
    if (*wait->place == wait->event) *wait->place = NULL;
    future_free(w, wait->event);
}

static void abandon_wait(worker *w, unwind *u)
{
    stream_wait *wait = (stream_wait *)(void *)u;
    stream *s = wait->stream;
    pthread_mutex_lock(&s->lock);
    take_back(w, wait);
    if (wait->place == &s->reader) stream_unlock_and_drop(s); /* the reader's reference; a generator's end lets go of its own */
    else pthread_mutex_unlock(&s->lock);
}

/* Under the lock, which is given up meanwhile. */
static manta_status wait_for(stream *s, future **event)
{
    activation *act = activation_self();
    stream_wait wait = {{NULL, abandon_wait}, s, future_new(worker_self()), event};
    if (!wait.event) return MANTA_ENOMEM;
    *event = wait.event;
    pthread_mutex_unlock(&s->lock);
    unwind_push(act, &wait.unwind);
    manta_status status = future_await(wait.event, OS_FOREVER, "stream");
    unwind_pop(act, &wait.unwind);
    pthread_mutex_lock(&s->lock);
    take_back(worker_self(), &wait);
    return status;
}

item *stream_item(const manta_method *method, const void *value, size_t size_bytes, size_t extra_bytes)
{
    size_t head = (size_bytes + 15) & ~(size_t)15;
    item *i = base_alloc(sizeof *i);
    block *b = i ? block_new(head + extra_bytes) : NULL;
    if (!b) {
        base_free(i);
        return NULL;
    }
    memcpy(b->bytes, value, size_bytes);
    unsigned char *at = b->bytes + head;
    if (method->result.relocate) method->result.relocate(b->bytes, &at);
    if (method->result.refs) refs_in_flight(&method->result, b->bytes);
    *i = (item){NULL, b};
    return i;
}

/* Under the lock. */
void stream_append(worker *w, stream *s, item *i)
{
    if (s->tail) s->tail->next = i;
    else s->head = i;
    s->tail = i;
    s->queued++;
    stream_wake(w, &s->reader);
}

manta_status manta_yield_value(const char *type_name, const void *value, size_t size_bytes, size_t extra_bytes)
{
    activation *act = activation_self();
    stream *s = act && act->actor ? act->stream : NULL;
    size_t n = strlen(type_name);
    if (!s || strncmp(s->method->signature, type_name, n) != 0 || s->method->signature[n] != '(') {
        manta_fail(MANTA_ECONTEXT, "manta_yield: only a generator of %s may call it", type_name);
        return MANTA_ECONTEXT;
    }
    item *i = stream_item(s->method, value, size_bytes, extra_bytes);
    if (!i) return error_set(MANTA_ENOMEM, "manta_yield: no memory");
    manta_status status = MANTA_OK;
    pthread_mutex_lock(&s->lock);
    s->offered = i;
    while (!status && !s->dropped && s->queued >= s->limit) status = wait_for(s, &s->writer);
    s->offered = NULL;
    if (!status && s->dropped) status = MANTA_ECANCELLED;
    if (!status && s->peer) {
        s->queued++;
        pthread_mutex_unlock(&s->lock);
        return stream_send(s, i);
    }
    if (!status) stream_append(worker_self(), s, i);
    pthread_mutex_unlock(&s->lock);
    if (!status) return MANTA_OK;
    stream_items_free(s->method, i);
    return error_set(status, "manta_yield: %s", manta_status_text(status));
}

void stream_finish(worker *w, struct stream *s, const manta_error *error)
{
    pthread_mutex_lock(&s->lock);
    s->ended = true;
    stream_items_free(s->method, s->offered); /* killed while it waited for room */
    s->offered = NULL;
    if (error) s->error = error_copy(error);
    stream_wake(w, &s->reader);
    stream_unlock_and_drop(s);
}

/* Under the lock. */
static item *take_item(stream *s)
{
    item *i = s->head;
    s->head = i->next;
    if (!s->head) s->tail = NULL;
    s->queued--;
    s->taken++;
    stream_wake(worker_self(), &s->writer);
    return i;
}

/* The value becomes the reader's scope's. */
static manta_status deliver(const manta_method *method, item *i, void *out)
{
    activation *act = activation_self();
    block *b = i->value;
    base_free(i);
    scope_add_block(act, b);
    manta_status status = method->result.refs ? refs_arrived(&method->result, b->bytes, act) : MANTA_OK;
    memcpy(out, b->bytes, method->result.size);
    return status;
}

manta_status manta_next_value(manta_stream handle, void *out, size_t size_bytes)
{
    stream *s = table_find(handle, false);
    if (!s) return error_set(MANTA_ESTALE, "manta_next: the stream was released");
    const manta_method *method = s->method;
    manta_status status = size_bytes == method->result.size ? MANTA_OK : MANTA_ETYPE;
    manta_error *error = NULL;
    item *taken = NULL;
    pthread_mutex_lock(&s->lock);
    while (!status && !s->head && !s->ended) status = s->reader ? MANTA_EEXIST : wait_for(s, &s->reader);
    if (!status && s->head) taken = take_item(s);
    else if (!status && s->error) error = error_copy(s->error);
    else if (!status) status = MANTA_EEND;
    if (taken && s->is_remote && (!s->head || s->taken * 2 >= s->limit)) stream_give_credit(s);
    stream_unlock_and_drop(s);
    if (taken) return deliver(method, taken, out);
    if (error) return error_set_last(error);
    return status ? error_set(status, "manta_next: %s", manta_status_text(status)) : MANTA_OK;
}

/* ---- scopes ---- */

struct held_stream {
    struct held_stream *next;
    manta_stream handle;
};

static bool hold(activation *act, manta_stream handle)
{
    struct held_stream *h = base_alloc(sizeof *h);
    if (!h) return false;
    *h = (struct held_stream){act->streams, handle};
    act->streams = h;
    act->dirty = 1;
    return true;
}

static void let_go(activation *act, manta_stream handle)
{
    for (struct held_stream **link = &act->streams; *link; link = &(*link)->next) {
        struct held_stream *h = *link;
        if (h->handle.id != handle.id) continue;
        *link = h->next;
        base_free(h);
        return;
    }
}

static bool release(manta_stream handle)
{
    stream *s = table_find(handle, true);
    if (!s) return false;
    worker *w = worker_self();
    pthread_mutex_lock(&s->lock);
    manta_future task = !s->ended && s->task ? future_handle(s->task) : (manta_future){0};
    s->dropped = true;
    stream_items_free(s->method, s->head);
    s->head = s->tail = NULL;
    s->queued = 0;
    stream_wake(w, &s->writer);
    stream_wake(w, &s->reader);
    stream_unlock_and_drop(s);
    if (task.id) (void)manta_cancel(task); /* not under the lock: one that waits in a queue ends at once */
    return true;
}

void scope_release_streams(activation *act, struct held_stream *outer)
{
    while (act->streams && act->streams != outer) {
        struct held_stream *h = act->streams;
        act->streams = h->next;
        (void)release(h->handle);
        base_free(h);
    }
}

manta_status manta_stream_release(manta_stream handle)
{
    activation *act = activation_self();
    if (act) let_go(act, handle);
    return release(handle) ? MANTA_OK : error_set(MANTA_ESTALE, "manta_stream_release: the stream was released before");
}

manta_status manta_stream_keep(manta_stream handle)
{
    stream *s = table_find(handle, false);
    if (!s) return error_set(MANTA_ESTALE, "manta_stream_keep: the stream was released before");
    pthread_mutex_lock(&s->lock);
    stream_unlock_and_drop(s);
    activation *act = activation_self();
    if (act) let_go(act, handle);
    return MANTA_OK;
}

/* ---- starting ---- */

static stream *stream_new(const manta_options *o, const manta_method *task)
{
    uint32_t limit = o && o->stream_limit ? o->stream_limit : STREAM_DEFAULT;
    stream *s = base_calloc(1, sizeof *s);
    if (!s) return NULL;
    pthread_mutex_init(&s->lock, NULL);
    s->references = 2; /* the table and the generator */
    s->limit = limit < STREAM_LIMIT ? limit : STREAM_LIMIT;
    s->method = task;
    if (table_add(s)) return s;
    base_free(s);
    return NULL;
}

static bool start(worker *w, stream *s, manta_stream handle, const manta_options *o, const void *arguments, size_t extra_bytes, demand *d)
{
    activation *act = activation_of(w);
    if ((act->actor || act->scope_depth) && !hold(act, handle)) return false;
    message *m = message_make(w, s->method, arguments, extra_bytes);
    future *f = m ? future_new(w) : NULL;
    if (f) {
        f->method = s->method;
        m->reply = s->task = f;
        if (s->is_remote) return stream_submit(w, s, m, o, d);
        if (task_spawn(w, m, o ? o->priority : MANTA_PRIORITY_NORMAL, s)) return true;
        s->task = NULL;
        future_free(w, f);
    }
    if (m) message_discard(w, m);
    return false;
}

manta_stream manta_generate(const manta_options *o, const manta_method *task, const void *arguments, size_t extra_bytes)
{
    worker *w = worker_self();
    if (!w || load_relaxed(&the_runtime.running) != 1) {
        error_set(MANTA_ESHUTDOWN, "%s_start: no system runs", task->name);
        return (manta_stream){0};
    }
    demand *d = NULL;
    bool here = !load_relaxed(&owner_is_on) || (o && o->where == MANTA_WHERE_HERE);
    if (!here && !(d = demand_of(o, task->name, false))) return (manta_stream){0};
    stream *s = stream_new(o, task);
    if (s) s->is_remote = d != NULL;
    manta_stream handle = {s ? (uint64_t)s->generation << 32 | s->slot : 0};
    if (s && start(w, s, handle, o, arguments, extra_bytes, d)) return handle;
    if (s) {
        stream_finish(w, s, NULL);
        (void)manta_stream_release(handle);
    }
    error_set(MANTA_ENOMEM, "%s_start: no memory or no slot", task->name);
    return (manta_stream){0};
}

void streams_stop(void)
{
    for (uint32_t i = 0;; i++) {
        pthread_mutex_lock(&table_lock);
        bool end = i >= table.capacity;
        stream *s = end ? NULL : table.items[i];
        manta_stream handle = {s ? (uint64_t)s->generation << 32 | i : 0};
        pthread_mutex_unlock(&table_lock);
        if (end) return;
        if (s) (void)manta_stream_release(handle);
    }
}
