/*
 * A growing Chase-Lev work-stealing deque of pointers: the owner pushes and pops at the bottom (newest first), thieves
 * take from the top (oldest first).
 *
 * Source: Chase and Lev, "Dynamic circular work-stealing deque" (SPAA 2005); orders after Le, Pop, Cohen, Zappa Nardelli
 * (PPoPP 2013). deque_push and deque_pop: the owner thread only. deque_steal, deque_size: any thread.
 * An outgrown array is kept until deque_fini, because a thief may still read it (the sum of all is below twice the last).
 */
#ifndef MANTA_BASE_DEQUE_H
#define MANTA_BASE_DEQUE_H

#include <stdbool.h>
#include <stdint.h>

#include "scheduler/base/atomics.h"

typedef struct deque_array {
    struct deque_array *outgrown;
    int64_t capacity; /* power of two */
    _Atomic(void *) slots[];
} deque_array;

typedef struct deque {
    _Alignas(CACHE_PAIR) _Atomic int64_t top;    /* written by thieves and by the owner's last pop */
    _Alignas(CACHE_PAIR) _Atomic int64_t bottom; /* written by the owner */
    _Atomic(deque_array *) array;
} deque;

bool deque_init(deque *d, int64_t capacity); /* capacity: power of two; false: out of memory */
void deque_fini(deque *d);
bool deque_grow(deque *d);   /* owner; doubles; false: out of memory, nothing changed */
void *deque_steal(deque *d); /* oldest, or NULL when empty or when another thread was faster */

/* Number of items; exact for the owner, a guess for others; never negative. */
static inline int64_t deque_size(const deque *d)
{
    int64_t n = load_seq(&((deque *)d)->bottom) - load_seq(&((deque *)d)->top);
    return n > 0 ? n : 0;
}

/* Owner: adds at the bottom; false only when the array is full and memory is out. */
static inline bool deque_push(deque *d, void *item)
{
    int64_t bottom = load_relaxed(&d->bottom), top = load_acquire(&d->top);
    deque_array *a = load_relaxed(&d->array);
    if (unlikely(bottom - top >= a->capacity)) {
        if (!deque_grow(d)) return false;
        a = load_relaxed(&d->array);
    }
    store_relaxed(&a->slots[bottom & (a->capacity - 1)], item);
    store_release(&d->bottom, bottom + 1); /* pairs with deque_steal's load of bottom */
    return true;
}

/* Owner: takes the newest, or NULL. */
static inline void *deque_pop(deque *d)
{
    int64_t bottom = load_relaxed(&d->bottom);
    if (bottom <= load_relaxed(&d->top)) return (void *)0;
    bottom--;
    deque_array *a = load_relaxed(&d->array);
    exchange_seq(&d->bottom, bottom); /* store and fence in one; pairs with deque_steal's load of bottom */
    int64_t top = load_seq(&d->top);
    if (top > bottom) {
        store_relaxed(&d->bottom, bottom + 1);
        return (void *)0;
    }
    void *item = load_relaxed(&a->slots[bottom & (a->capacity - 1)]);
    if (top == bottom) {
        if (!cas_seq(&d->top, &top, top + 1)) item = (void *)0;
        store_relaxed(&d->bottom, bottom + 1);
    }
    return item;
}

#endif
