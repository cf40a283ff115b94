#include "scheduler/base/deque.h"

#include <stddef.h>

#include "scheduler/base/alloc.h"
#include "scheduler/base/check.h"

static deque_array *array_new(int64_t capacity, deque_array *outgrown)
{
    size_t slots;
    if (__builtin_mul_overflow((size_t)capacity, sizeof(_Atomic(void *)), &slots)) return NULL;
    deque_array *a = base_alloc(sizeof *a + slots);
    if (!a) return NULL;
    a->outgrown = outgrown;
    a->capacity = capacity;
    return a;
}

bool deque_init(deque *d, int64_t capacity)
{
    check(capacity > 0 && (capacity & (capacity - 1)) == 0);
    deque_array *a = array_new(capacity, NULL);
    atomic_init(&d->top, 0);
    atomic_init(&d->bottom, 0);
    atomic_init(&d->array, a);
    return a != NULL;
}

void deque_fini(deque *d)
{
    deque_array *a = load_relaxed(&d->array);
    store_relaxed(&d->array, NULL);
    while (a) {
        deque_array *outgrown = a->outgrown;
        base_free(a);
        a = outgrown;
    }
}

/* A thief that still reads the old array finds the same items there: nobody writes to it again. */
bool deque_grow(deque *d)
{
    deque_array *old = load_relaxed(&d->array), *a = array_new(old->capacity * 2, old);
    if (!a) return false;
    int64_t bottom = load_relaxed(&d->bottom);
    for (int64_t i = load_acquire(&d->top); i < bottom; i++)
        atomic_init(&a->slots[i & (a->capacity - 1)], load_relaxed(&old->slots[i & (old->capacity - 1)]));
    store_release(&d->array, a); /* pairs with deque_steal's load of array */
    return true;
}

void *deque_steal(deque *d)
{
    int64_t top = load_seq(&d->top); /* before bottom in the one order of both; pairs with deque_pop's exchange of bottom */
    int64_t bottom = load_seq(&d->bottom);
    if (top >= bottom) return NULL;
    deque_array *a = load_acquire(&d->array);
    /* The slot may be stale or reused by now; then top has moved and the swap fails. */
    void *item = load_relaxed(&a->slots[top & (a->capacity - 1)]);
    return cas_seq(&d->top, &top, top + 1) ? item : NULL;
}
