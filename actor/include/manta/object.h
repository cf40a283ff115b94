/*
 * Immutable objects: bytes with an id and counted references.
 *
 * A ref obtained in a handler lives until the handler returns, unless it is retained; refs inside messages keep their object alive on the way. A view (data, size)
 * is valid as long as the ref is held. The store behind these functions is exchangeable; the one of a single process is a table in memory.
 */
#ifndef MANTA_OBJECT_H
#define MANTA_OBJECT_H

#include <manta/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Copies the bytes into a new object. *out_ref belongs to the scope. MANTA_ENOMEM, MANTA_ESTOREFULL. size_bytes may be 0. */
MANTA_EXPORT manta_status manta_put(const void *data, size_t size_bytes, manta_ref *out_ref);

/* Waits for the object and gives a view of its bytes without a copy. An object that stands for a failed call gives that call's error. MANTA_ETIMEDOUT, MANTA_ESTALE. */
MANTA_EXPORT manta_status manta_object_get(manta_ref ref, uint64_t timeout_ms, manta_object *out_view);

/* Waits until `needed` of the objects are there. See manta_wait for futures. */
MANTA_EXPORT manta_status manta_object_wait(const manta_ref *refs, size_t count, size_t needed, uint64_t timeout_ms, bool *out_ready);

/* Keeps the ref beyond the scope; each retain wants one release. MANTA_ESTALE when the object is gone. */
MANTA_EXPORT manta_status manta_retain(manta_ref ref);
/* Gives one retained reference back; the last one frees the object. MANTA_ESTALE: released more often than retained (nothing happens). */
MANTA_EXPORT manta_status manta_release(manta_ref ref);

MANTA_EXPORT bool manta_object_contains(manta_ref ref); /* the object is here and complete */

/* A ref that stands for a call's answer: consumes the future; the object's bytes are the result as MessagePack. It can be passed on before the answer is there. */
MANTA_EXPORT manta_status manta_future_to_ref(manta_future future, manta_ref *out_ref);

/* An argument for a manta_object parameter. */
static inline manta_object manta_object_of(manta_ref ref)
{
    manta_object o;
    o.data = NULL;
    o.size = 0;
    o.ref = ref;
    return o;
}

#ifdef __cplusplus
}
#endif
#endif
