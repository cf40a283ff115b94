/*
 * Waiting for several futures, and notifications: callback and eventfd.
 *
 * A group wait uses a future record as the event that the waiter sleeps on, and a block of nodes, one in each pending future. The last reference (waiter, nodes)
 * frees both. A notification's node frees itself when it is called.
 */
#include <string.h>
#include <unistd.h>

#include "actor/runtime/internal.h"

enum { WAIT_LIMIT = 1 << 24 };

typedef struct group_node {
    wait_node node;
    struct group_wait *group;
} group_node;

typedef struct group_wait {
    future *event;
    _Atomic int references;
    group_node nodes[];
} group_wait;

static void group_drop(worker *w, group_wait *g, int references)
{
    if (atomic_fetch_sub_explicit(&g->references, references, memory_order_acq_rel) != references) return;
    future_free(w, g->event);
    base_free(g);
}

/* n more futures are complete. Whoever brings the count from above zero to zero or below signals, once. */
static void count_down(worker *w, group_wait *g, int n)
{
    int before = atomic_fetch_sub_explicit(&g->event->group.remaining, n, memory_order_acq_rel);
    if (before > 0 && before <= n) future_signal(w, g->event);
}

static void group_wake(worker *w, wait_node *node)
{
    group_wait *g = ((group_node *)(void *)node)->group;
    count_down(w, g, 1);
    group_drop(w, g, 1);
}

/* Puts a node into each pending future and counts those that are complete already. MANTA_ESTALE; MANTA_EEXIST: somebody waits for it, or it is named twice. */
static manta_status attach_all(group_wait *g, const manta_future *futures, size_t count, int *out_ready)
{
    int ready = 0;
    for (size_t i = 0; i < count; i++) {
        future *f = future_find(futures[i]);
        if (!f) return MANTA_ESTALE;
        g->nodes[i] = (group_node){{group_wake}, g};
        uintptr_t expected = FUTURE_PENDING;
        add_relaxed(&g->references, 1);
        if (cas_seq(&f->state, &expected, (uintptr_t)&g->nodes[i] | FUTURE_NODE)) continue;
        atomic_fetch_sub_explicit(&g->references, 1, memory_order_relaxed);
        if (expected != FUTURE_READY) return MANTA_EEXIST;
        ready++;
    }
    *out_ready = ready;
    return MANTA_OK;
}

static void detach_all(worker *w, group_wait *g, const manta_future *futures, size_t count)
{
    int detached = 1; /* the waiter's own reference */
    for (size_t i = 0; i < count; i++) {
        future *f = future_find(futures[i]);
        uintptr_t expected = (uintptr_t)&g->nodes[i] | FUTURE_NODE;
        if (f && g->nodes[i].group && cas_seq(&f->state, &expected, FUTURE_PENDING)) detached++;
    }
    group_drop(w, g, detached);
}

static size_t count_ready(const manta_future *futures, size_t count, bool *out_ready)
{
    size_t n = 0;
    for (size_t i = 0; i < count; i++) {
        bool ready = manta_future_is_ready(futures[i]);
        if (out_ready) out_ready[i] = ready;
        n += ready;
    }
    return n;
}

static group_wait *group_new(worker *w, size_t count)
{
    group_wait *g = base_calloc(1, sizeof *g + count * sizeof(group_node));
    if (!g || !(g->event = future_new(w))) {
        base_free(g);
        return NULL;
    }
    store_relaxed(&g->references, 1);
    return g;
}

typedef struct group_guard {
    unwind unwind;
    group_wait *group;
    const manta_future *futures;
    size_t count;
} group_guard;

static void abandon_group(worker *w, unwind *u)
{
    group_guard *guard = (group_guard *)(void *)u;
    detach_all(w, guard->group, guard->futures, guard->count);
}

static manta_status wait_group(worker *w, group_wait *g, const manta_future *futures, size_t count, size_t needed, uint64_t deadline_ns)
{
    int ready = 0;
    store_relaxed(&g->event->group.remaining, (int)needed);
    manta_status status = attach_all(g, futures, count, &ready);
    if (ready) count_down(w, g, ready);
    group_guard guard = {{NULL, abandon_group}, g, futures, count};
    activation *act = activation_of(w);
    unwind_push(act, &guard.unwind);
    if (!status) status = future_await(g->event, deadline_ns, "futures");
    unwind_pop(act, &guard.unwind);
    detach_all(worker_self(), g, futures, count);
    return status;
}

static manta_status wait_failed(manta_status status)
{
    if (status == MANTA_ESTALE) return error_set(status, "manta_wait: a future was already consumed or released");
    if (status == MANTA_EEXIST) return error_set(status, "manta_wait: a future has a waiter or a notification already, or is named twice");
    if (status == MANTA_OK) status = MANTA_EINTERRUPTED;
    return error_set(status, "manta_wait: %s", manta_status_text(status));
}

manta_status manta_wait_futures(const manta_future *futures, size_t count, size_t needed, uint64_t timeout_ms, bool *out_ready)
{
    if (count > WAIT_LIMIT || needed > count)
        return error_set(MANTA_EINVAL, "manta_wait: %zu of %zu futures (at most %d)", needed, count, WAIT_LIMIT);
    if (count_ready(futures, count, out_ready) >= needed) return MANTA_OK;
    worker *w = worker_self();
    group_wait *g = w ? group_new(w, count) : NULL;
    if (!g) return error_set(MANTA_ENOMEM, "manta_wait: no memory for %zu futures", count);
    manta_status status =
        wait_group(w, g, futures, count, needed, timeout_ms == MANTA_FOREVER ? OS_FOREVER : deadline_after_ms(timeout_ms));
    return count_ready(futures, count, out_ready) >= needed ? MANTA_OK : wait_failed(status);
}

manta_status manta_get_values(const manta_future *futures, void *out, size_t size_bytes, size_t count)
{
    manta_status first = MANTA_OK;
    manta_error *kept = NULL;
    for (size_t i = 0; i < count; i++) {
        manta_status status = manta_get_value(futures[i], (unsigned char *)out + i * size_bytes, size_bytes, MANTA_FOREVER);
        if (status == MANTA_OK || first) continue;
        first = status;
        kept = error_copy(manta_last_error());
    }
    return first ? error_set_last(kept) : MANTA_OK;
}

/* ---- notifications ---- */

typedef struct notification {
    wait_node node;
    manta_future handle;
    void (*done)(manta_future f, void *context);
    void *context;
    int event_fd;
} notification;

static void ring_eventfd(int event_fd)
{
    uint64_t one = 1;
    ssize_t written = write(event_fd, &one, sizeof one);
    if (written != sizeof one) runtime_report("cannot write to eventfd %d of a future", event_fd);
}

static void notify(worker *w, wait_node *node)
{
    (void)w;
    notification *n = (notification *)(void *)node;
    if (n->done) n->done(n->handle, n->context);
    else ring_eventfd(n->event_fd);
    base_free(n);
}

static manta_status attach(const char *what, manta_future handle, notification filled)
{
    future *f = future_find(handle);
    if (!f) return error_set(MANTA_ESTALE, "%s: the future was already consumed or released", what);
    notification *n = base_alloc(sizeof *n);
    if (!n) return error_set(MANTA_ENOMEM, "%s: no memory", what);
    *n = filled;
    uintptr_t expected = FUTURE_PENDING;
    if (cas_seq(&f->state, &expected, (uintptr_t)&n->node | FUTURE_NODE)) return MANTA_OK;
    if (expected == FUTURE_READY) {
        notify(worker_self(), &n->node);
        return MANTA_OK;
    }
    base_free(n);
    return error_set(MANTA_EEXIST, "%s: the future has a waiter or a notification already", what);
}

manta_status manta_future_on_ready(manta_future handle, void (*done)(manta_future, void *), void *context)
{
    if (!done) return error_set(MANTA_EINVAL, "manta_future_on_ready: no function");
    return attach("manta_future_on_ready", handle, (notification){{notify}, handle, done, context, -1});
}

manta_status manta_future_eventfd(manta_future handle, int event_fd)
{
    if (event_fd < 0) return error_set(MANTA_EINVAL, "manta_future_eventfd: descriptor %d", event_fd);
    return attach("manta_future_eventfd", handle, (notification){{notify}, handle, NULL, NULL, event_fd});
}
