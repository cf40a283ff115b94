/*
 * Futures: the record, its value, and completing it.
 *
 * state:  PENDING --complete--> READY                      taken and freed by the owner
 *         PENDING --await-----> activation --complete--> READY, the handler is queued
 *         PENDING --node------> node|2     --complete--> READY, node->wake
 *         PENDING --drop------> ABANDONED  --complete--> freed by the completer
 * A waiter takes itself back by exchanging its own mark for PENDING; whoever loses that race leaves the other's result alone.
 */
#include <string.h>

#include "actor/runtime/internal.h"

slab future_slab;

enum { FUTURE_CAPACITY = 1 << 26 };

static void prepare(void *record) { store_relaxed(&((future *)record)->generation, 1); }

bool future_pool_init(void) { return slab_init(&future_slab, "future", sizeof(future), offsetof(future, next), FUTURE_CAPACITY, prepare); }

future *future_new(worker *w)
{
    future *f = slab_get(&future_slab, &w->caches[FUTURE_CACHE], offsetof(future, next));
    if (unlikely(!f)) return NULL;
    store_relaxed(&f->state, FUTURE_PENDING);
    f->kind = VALUE_NONE;
    f->packed = 0;
    store_relaxed(&f->cancelled, 0);
    f->next = f;
    store_relaxed(&f->target, 0);
    f->method = NULL;
    return f;
}

void future_free(worker *w, future *f)
{
    uint32_t generation = load_relaxed(&f->generation) + 1;
    store_relaxed(&f->generation, generation ? generation : 1);
    f->kind = VALUE_NONE;
    slab_put(&future_slab, &w->caches[FUTURE_CACHE], f, offsetof(future, next));
}

/* Values of futures that nobody consumed: calls of plain threads without a scope. */
void futures_trim(void)
{
    uint64_t used = load_relaxed(&future_slab.used);
    for (uint64_t i = 0; i < used && i < future_slab.capacity; i++) {
        future *f = slab_at(&future_slab, i);
        if (load_relaxed(&f->state) == FUTURE_READY) value_discard(f);
    }
}

future *future_find(manta_future handle)
{
    uint64_t index = (uint32_t)handle.id;
    if (unlikely(handle.id == 0 || index >= load_relaxed(&future_slab.used))) return NULL;
    future *f = slab_at(&future_slab, index);
    return likely(load_relaxed(&f->generation) == (uint32_t)(handle.id >> 32)) ? f : NULL;
}

void future_scope_add(activation *act, future *f)
{
    f->next = act->futures;
    f->previous = NULL;
    if (act->futures) act->futures->previous = f;
    act->futures = f;
    act->dirty = 1;
}

void future_scope_remove(activation *act, future *f)
{
    if (f->next == f) return;
    if (f->next) f->next->previous = f->previous;
    if (f->previous) f->previous->next = f->next;
    else if (act->futures == f) act->futures = f->next;
    f->next = f;
}

noinline void value_discard(future *f)
{
    if (f->kind == VALUE_BLOCK) {
        if (f->large.has_refs) refs_dropped(&f->method->result, f->large.memory->bytes);
        base_free(f->large.memory);
    } else if (f->kind == VALUE_ERROR) error_free(f->error);
    f->kind = VALUE_NONE;
}

static void wake_concurrent(worker *w, activation *act)
{
    actor *a = act->actor;
    activation *before = load_relaxed(&a->resumed);
    do act->next = before;
    while (!atomic_compare_exchange_weak_explicit(&a->resumed, &before, act, memory_order_seq_cst, memory_order_relaxed));
    if (mailbox_take(&a->box) || exchange_seq(&a->blocked, 0)) worker_ready(w, &a->run);
}

void activation_wake(worker *w, activation *act)
{
    if (unlikely(act->concurrent)) wake_concurrent(w, act);
    else worker_ready(w, &act->actor->run);
}

static noinline void signal_other(worker *w, future *f, uintptr_t before)
{
    if (before == FUTURE_ABANDONED) {
        value_discard(f);
        future_free(w, f);
        return;
    }
    wait_node *node = (wait_node *)(before & ~(uintptr_t)3);
    node->wake(w, node);
}

void future_signal(worker *w, future *f)
{
    uintptr_t before = exchange_acq_rel(&f->state, FUTURE_READY);
    if (before == FUTURE_PENDING) return;
    if (likely(!(before & 3))) activation_wake(w, (activation *)before);
    else signal_other(w, f, before);
}

static void complete_block(worker *w, future *f, block *memory, uint32_t size, bool has_refs)
{
    f->kind = VALUE_BLOCK;
    f->large.memory = memory;
    f->large.size = size;
    f->large.has_refs = has_refs;
    future_signal(w, f);
}

void future_complete_block(worker *w, future *f, block *memory, uint32_t size) { complete_block(w, f, memory, size, false); }

/* A value that does not fit, or points to bytes. */
static noinline void complete_large(worker *w, future *f, const manta_layout *layout, const void *value, size_t extra_bytes)
{
    size_t head = (layout->size + 15) & ~(size_t)15;
    block *b = block_new(head + extra_bytes);
    if (!b) {
        future_fail_status(w, f, MANTA_ENOMEM, "no memory for a result of %zu bytes", head + extra_bytes);
        return;
    }
    memcpy(b->bytes, value, layout->size);
    unsigned char *at = b->bytes + head;
    if (layout->relocate) layout->relocate(b->bytes, &at);
    if (layout->refs) refs_in_flight(layout, b->bytes);
    complete_block(w, f, b, layout->size, layout->refs != NULL);
}

void future_complete(worker *w, future *f, const manta_layout *layout, const void *value, size_t extra_bytes)
{
    size_t size = layout ? layout->size : 0;
    if (unlikely(size > RESULT_INLINE || extra_bytes || (layout && layout->refs))) {
        complete_large(w, f, layout, value, extra_bytes);
        return;
    }
    f->kind = VALUE_INLINE;
    f->size = (uint8_t)size;
    if (size == 8) memcpy(f->bytes, value, 8);
    else if (size) memcpy(f->bytes, value, size);
    future_signal(w, f);
}

void future_fail(worker *w, future *f, manta_error *error)
{
    f->kind = VALUE_ERROR;
    f->error = error;
    future_signal(w, f);
}

void future_fail_status(worker *w, future *f, manta_status status, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    manta_error *e = error_newv(status, NULL, format, arguments);
    va_end(arguments);
    future_fail(w, f, e);
}

void future_drop(worker *w, future *f)
{
    uintptr_t state = FUTURE_PENDING;
    if (atomic_compare_exchange_strong_explicit(&f->state, &state, FUTURE_ABANDONED, memory_order_acq_rel, memory_order_acquire)) return;
    if (state != FUTURE_READY) return; /* a notification holds it: its node frees it */
    value_discard(f);
    future_free(w, f);
}

bool manta_future_is_ready(manta_future handle)
{
    future *f = future_find(handle);
    return f && load_acquire(&f->state) == FUTURE_READY;
}

manta_status manta_future_keep(manta_future handle)
{
    future *f = future_find(handle);
    if (!f) return error_set(MANTA_ESTALE, "manta_future_keep: the future was already consumed or released");
    activation *act = activation_self();
    if (act) future_scope_remove(act, f);
    return MANTA_OK;
}

manta_status manta_future_release(manta_future handle)
{
    future *f = future_find(handle);
    if (!f) return error_set(MANTA_ESTALE, "manta_future_release: the future was already consumed or released");
    worker *w = worker_self();
    future_scope_remove(activation_of(w), f);
    if (load_relaxed(&f->state) ==
        FUTURE_PENDING) { /* from here on the handle is stale, though the record lives on until it is completed */
        uint32_t generation = load_relaxed(&f->generation) + 1;
        store_relaxed(&f->generation, generation ? generation : 1);
    }
    future_drop(w, f);
    return MANTA_OK;
}
