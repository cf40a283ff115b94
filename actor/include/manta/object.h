/*
 * Immutable objects: bytes with an id and counted references.
 *
 * A ref obtained in a handler lives until the handler returns, unless it is retained; refs inside messages keep their object alive on the way. A view (data, size)
 * is valid until the scope ends in which it was obtained. Behind these functions is a table in this process, or a store that the processes of a machine share (manta_config.store).
 */
#ifndef MANTA_OBJECT_H
#define MANTA_OBJECT_H

#include <manta/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Copies the bytes into a new object. *out_ref belongs to the scope. MANTA_ENOMEM, MANTA_ESTOREFULL (after a wait for room, in a store), MANTA_ELIMIT. size_bytes may be 0. */
MANTA_EXPORT manta_status manta_put(const void *data, size_t size_bytes, manta_ref *out_ref);
/* The same for bytes that name other objects: those live at least as long as this one. The caller holds them. MANTA_ESTALE: one of them is gone. */
MANTA_EXPORT manta_status manta_put_with(const void *data, size_t size_bytes, const manta_ref *inside, size_t n_inside, manta_ref *out_ref);

/* An object to be filled in place, without a copy: *out_data is size_bytes writable bytes, 64-byte aligned, until manta_seal or manta_abort. Nobody reads it before it is
 * sealed; a scope that ends before takes it back. Errors as manta_put. */
MANTA_EXPORT manta_status manta_create(size_t size_bytes, manta_ref *out_ref, void **out_data);
MANTA_EXPORT manta_status manta_seal(manta_ref ref);  /* MANTA_ESTALE: it is not being filled */
MANTA_EXPORT manta_status manta_abort(manta_ref ref); /* the object is gone; likewise */

/* Waits for the object and gives a view of its bytes without a copy, valid until the scope ends: that long it is kept in memory. An object that stands for a failed call gives
 * that call's error. MANTA_ETIMEDOUT, MANTA_ESTALE, MANTA_EIO (its bytes on disk are damaged), MANTA_ESTOREFULL (no room to read it back from disk). */
MANTA_EXPORT manta_status manta_object_get(manta_ref ref, uint64_t timeout_ms, manta_object *out_view);
/* Copies it instead. *out_size (may be NULL): its size; MANTA_ETOOLONG when that is more than room_bytes. */
MANTA_EXPORT manta_status manta_get_copy(manta_ref ref, uint64_t timeout_ms, void *out, size_t room_bytes, size_t *out_size);

/* Waits until `needed` of the objects are there. See manta_wait for futures. */
MANTA_EXPORT manta_status manta_object_wait(const manta_ref *refs, size_t count, size_t needed, uint64_t timeout_ms, bool *out_ready);

/* Keeps the ref beyond the scope; each retain wants one release. MANTA_ESTALE when the object is gone. */
MANTA_EXPORT manta_status manta_retain(manta_ref ref);
/* Gives one retained reference back, or else one of the scope's, whose views of the object end with its last one. The last reference frees the object. MANTA_ESTALE: released more often than retained (nothing happens). */
MANTA_EXPORT manta_status manta_release(manta_ref ref);

MANTA_EXPORT bool manta_object_contains(manta_ref ref); /* the object is here and complete */
static inline bool manta_contains(manta_ref ref) { return manta_object_contains(ref); }

/* A ref that stands for a call's answer: consumes the future; the object's bytes are the result as MessagePack. It can be passed on before the answer is there. */
MANTA_EXPORT manta_status manta_future_to_ref(manta_future future, manta_ref *out_ref);

/* The refs that an object was put with (manta_put_with), as refs of this process: at most `capacity` of them. *out_count: how many there are. Waits for the object like manta_object_get, whose errors
 * it has. The refs live as long as the object; retain those that are to live longer. */
MANTA_EXPORT manta_status manta_object_inside(manta_ref ref, uint64_t timeout_ms, manta_ref *out, size_t capacity, size_t *out_count);

/* Why a lost object cannot be made again: what the text of a MANTA_EOBJECTLOST says as "reason N". The numbers are permanent; docs/failures.md has what to do. */
#define MANTA_LOST_TABLE(X) \
    X(NO_RECORD, 1, "no task is known that made it: it was put, or an actor's call returned it") \
    X(NOT_RETRIABLE, 2, "its task may not run again (MANTA_RETRIES_NONE)") \
    X(RETRIES_USED, 3, "its task has run again as often as it may (max_retries)") \
    X(OVER_BUDGET, 4, "the record of its task was dropped for newer ones (lineage_bytes)") \
    X(TASK_FAILED, 5, "its task ran again and failed") \
    X(OTHER_RESULT, 6, "its task ran again and made no such object") \
    X(NO_TASK, 7, "this program has no such task") \
    X(NO_MEMORY, 8, "no memory to run its task again")
typedef enum manta_lost_reason {
    MANTA_LOST_NONE = 0,
#define MANTA_LOST_ENUM(name, value, text) MANTA_LOST_##name = value,
    MANTA_LOST_TABLE(MANTA_LOST_ENUM)
#undef MANTA_LOST_ENUM
} manta_lost_reason;
/* The reason in an error, or in one of its causes; MANTA_LOST_NONE: it has none. */
MANTA_EXPORT manta_lost_reason manta_lost_reason_of(const manta_error *error);
MANTA_EXPORT const char *manta_lost_text(manta_lost_reason reason); /* static; "?" for a value that is none */

typedef struct manta_object_stats {
    uint64_t objects, bytes;        /* in this process's table, or in its store (in memory) */
    uint64_t replicas;              /* objects here that came from other processes, or may come */
    uint64_t held;                  /* names of objects here that other processes have, as far as they have no copy */
    uint64_t bytes_in, bytes_out;   /* of large objects, from and to other processes, since the start */
    uint64_t records, record_bytes; /* tasks that this process keeps to make their outputs again, see lineage_bytes */
    uint64_t records_stored;        /* of those, in the control store too */
    uint64_t rebuilt;               /* tasks that ran again for lost objects, since the start */
    uint64_t rebuild_wait_ns;       /* the longest time from the need of a lost object to the start of its task */
} manta_object_stats;
/* Each number may be a moment old. A store is walked: takes a millisecond for 50,000 objects. MANTA_ESHUTDOWN. */
MANTA_EXPORT manta_status manta_read_object_stats(manta_object_stats *out);

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
