/*
 * What an object store must do for the functions of manta/object.h. The table in memory (local_table.c) is one, the store that processes share (store_table.c) another.
 *
 * An object is created pending, being filled, or ready; completed once; and counted: the last count frees it. All functions may be called from any thread. Those that say so
 * may wait for room or for the disk; a reader of a pending object leaves a future with `subscribe`.
 */
#ifndef MANTA_OBJECT_OBJECT_OPS_H
#define MANTA_OBJECT_OBJECT_OPS_H

#include "actor/runtime/internal.h"

typedef struct object_refs { /* objects named inside another; the caller holds them */
    const manta_ref *items;
    uint32_t count;
} object_refs;

typedef struct object_ops {
    const char *name;
    manta_status (*start)(const manta_config *config); /* on failure error_set has the reason */
    void (*quiet)(void);                               /* afterwards no thread of the store completes futures */
    void (*stop)(void);                                /* frees everything */
    /* A ready object with a copy of the bytes; one count for the caller. May wait for room. On failure error_set has the reason, here and in the next two. */
    manta_status (*put)(const void *data, size_t size_bytes, object_refs inside, manta_ref *out);
    manta_status (*promise)(manta_ref *out); /* a pending object; one count */
    /* Room to be filled by the caller until `seal`, or `abort`, which takes the count too. May wait for room. */
    manta_status (*create)(size_t size_bytes, manta_ref *out, void **out_data);
    manta_status (*seal)(worker *w, manta_ref ref); /* MANTA_ESTALE: it is not being filled */
    manta_status (*abort)(worker *w, manta_ref ref);
    /* Ends a pending object with bytes (copied) or an error (taken over). Wakes its subscribers. MANTA_ESTALE when it is gone: then the error is freed. */
    manta_status (*complete)(worker *w, manta_ref ref, const void *data, size_t size_bytes, object_refs inside, manta_error *error);
    /* MANTA_OK and a view, valid until `unpin`; MANTA_ENOTREADY; MANTA_ESTALE; MANTA_EFAILED with a copy of the error in *out_error; MANTA_EIO. May wait for the disk. With out
     * NULL: only says which, gives no view and does not wait. */
    manta_status (*view)(manta_ref ref, manta_object *out, manta_error **out_error);
    void (*unpin)(worker *w, manta_ref ref);
    bool (*may_wait)(manta_ref ref); /* `view` would wait for the disk */
    /* Completes f (with no value) when the object is ready; at once when it is already. MANTA_ESTALE, MANTA_ENOMEM: f is not touched. */
    manta_status (*subscribe)(worker *w, manta_ref ref, future *f);
    bool (*unsubscribe)(manta_ref ref, future *f); /* false: it has been completed, or is being completed */
    /* Counts: `by` +1 or -1; explicit counts are those of manta_retain. MANTA_ESTALE: gone, or no explicit count left. */
    manta_status (*count)(worker *w, manta_ref ref, int by, bool is_explicit);
    void (*usage)(size_t *out_objects, uint64_t *out_bytes);
    /* For objects that come from another process (actor/transfer): a pending object, of which the caller has a count, gets room, is filled by the caller, and is finished with what it names;
     * or becomes pending again. may_wait: for room. On failure error_set has the reason. */
    manta_status (*prepare)(manta_ref ref, size_t size_bytes, uint32_t n_inside, bool may_wait, void **out_data);
    manta_status (*finish)(worker *w, manta_ref ref, object_refs inside);
    void (*unprepare)(manta_ref ref);
    bool (*pin_filling)(
        manta_ref ref);             /* a prepared object's bytes stay where they are until `unpin`, also when it is finished meanwhile */
    bool (*is_last)(manta_ref ref); /* the caller's count is the only one */
    bool (*knows)(manta_ref ref);   /* an id of this table, of an object that is there or was */
    uint32_t (*inside)(manta_ref ref, manta_ref *out, uint32_t capacity); /* what an object names that the caller has pinned; how many */
    /* Of a table that several processes have, else NULL. share: MANTA_EEXIST when another one of them has, or fetches, the object `root` too: *out_other, with a count for the caller. alias: the
     * pending `ref` becomes another name of that one, when it is complete. MANTA_ESTOREFULL, MANTA_EUNSUPPORTED: it cannot. Neither waits. */
    manta_status (*share)(manta_ref ref, manta_ref root, manta_ref *out_other);
    manta_status (*alias)(manta_ref ref, manta_ref other);
} object_ops;

/* Completes a promise with a method's result as MessagePack. */
void object_store_value(worker *w, manta_ref ref, const manta_method *method, const void *value);

extern const object_ops object_local_table, object_store_table;
extern const object_ops *the_objects; /* the one in use */

#endif
