/*
 * What an object store must do for the functions of manta/object.h. The table in memory (local_table.c) is one; a store shared by processes joins by another table.
 *
 * An object is created pending or ready, completed once, and counted; the last count frees it. All functions may be called from any thread and none waits: a reader of a
 * pending object leaves a future with `subscribe`.
 */
#ifndef MANTA_OBJECT_OBJECT_OPS_H
#define MANTA_OBJECT_OBJECT_OPS_H

#include "actor/runtime/internal.h"

typedef struct object_ops {
    const char *name;
    manta_status (*start)(void);
    void (*stop)(void); /* frees everything */
    /* A ready object with a copy of the bytes, or (data NULL and pending true) a pending one; one count for the caller. */
    manta_status (*create)(const void *data, size_t size_bytes, bool pending, manta_ref *out);
    /* Ends a pending object with bytes (copied) or an error (taken over). Wakes its subscribers. MANTA_ESTALE when it is gone: then the error is freed. */
    manta_status (*complete)(worker *w, manta_ref ref, const void *data, size_t size_bytes, manta_error *error);
    /* MANTA_OK and a view; MANTA_ENOTREADY; MANTA_ESTALE; MANTA_EFAILED with a copy of the error in *out_error. The view is valid while a count is held. */
    manta_status (*view)(manta_ref ref, manta_object *out, manta_error **out_error);
    /* Completes f (with no value) when the object is ready; at once when it is already. MANTA_ESTALE, MANTA_ENOMEM: f is not touched. */
    manta_status (*subscribe)(worker *w, manta_ref ref, future *f);
    bool (*unsubscribe)(manta_ref ref, future *f); /* false: it has been completed, or is being completed */
    /* Counts: `by` +1 or -1; explicit counts are those of manta_retain. MANTA_ESTALE: gone, or no explicit count left. */
    manta_status (*count)(worker *w, manta_ref ref, int by, bool is_explicit);
    void (*usage)(size_t *out_objects, uint64_t *out_bytes);
} object_ops;

extern const object_ops object_local_table;
extern const object_ops *the_objects; /* the one in use */

#endif
