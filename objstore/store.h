/*
 * The object store of a node: immutable bytes that the processes of the node share.
 *
 * A store is a directory on tmpfs with an arena (the bytes), an index in LMDB (which parts of the arena are in use, what lies on disk), a control file (processes, objects, their
 * holders) and a lock file. A process opens it once (to look in, too) and uses it from any thread. docs/objstore.md has the design.
 *
 *   store_create --> CREATING --store_seal--> SEALED <--> SPILLED (on disk)      store_promise --> PENDING --store_fulfil--> SEALED
 *
 * References: a process holds an object while its count of it is above 0 (create, promise and store_hold add one, store_drop takes one away). The last reference of the
 * last process frees the object; a process that dies lets go of what it held. Only somebody who holds an object may tell another its id.
 * Pins: a view is valid from store_pin to store_unpin; in between the object is not moved to disk. Views are read-only: a write through one faults.
 *
 * Functions return a status; store_error() then has a text with numbers and names. They may wait for other processes for a few milliseconds (a transaction); those that may
 * wait longer say so. None may be called in a child made by fork(): it must exec, or open the store itself.
 */
#ifndef MANTA_OBJSTORE_STORE_H
#define MANTA_OBJSTORE_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <manta/status.h>

enum { STORE_PROCESSES = 56, STORE_NAME_BYTES = 32, STORE_SITE_BYTES = 64, STORE_REFS_LIMIT = 1 << 24 };
#define STORE_FOREVER UINT64_MAX

typedef struct store store;
typedef struct store_id {
    uint64_t word[2]; /* those of a manta_ref; word[0] 0: none */
} store_id;

typedef enum store_mode {
    STORE_OPEN = 0, /* attach when a node serves the path, else create */
    STORE_CREATE, /* as its node: MANTA_EEXIST when another process of a live node uses it; leftovers of dead ones are taken over, or wiped when they do not fit */
    STORE_ATTACH, /* MANTA_ENOTFOUND unless it is there and fits */
    STORE_INSPECT /* read-only, takes no process slot, works on a dead store: store_stat, store_next and store_audit only */
} store_mode;

typedef struct store_options { /* 0: the default */
    store_mode mode;
    const char *path;        /* of the directory; its parent must be there */
    const char *name;        /* of this process, for listings; cut to STORE_NAME_BYTES - 1 */
    uint64_t capacity_bytes; /* of the arena, when it is created; default 1 GiB; at least 4 MiB; rounded up to 2 MiB */
    uint32_t max_objects;    /* default: capacity / 4 KiB, 65536 to 4194304 */
    const char *spill_path;  /* directory on disk, made when missing; NULL: nothing is spilled. The node's holds for all its processes */
    uint64_t spill_bytes;    /* most bytes there; default: what the disk has */
    uint64_t full_wait_ms;   /* how long a put waits for room before MANTA_ESTOREFULL; default 10000 */
    uint32_t high_percent;   /* of the arena: spilling begins there (85) */
    uint32_t low_percent;    /* and ends here (75) */
    bool no_prefault;        /* do not touch the arena's pages ahead of their use */
    bool
        grows; /* the arena gets its room 2 MiB at a time, when that is first used, instead of at once: a tmpfs that is full then is MANTA_ESTOREFULL */
    bool no_keeper;  /* no thread that calls store_tick each second while other processes are attached */
    bool call_sites; /* keep what store_site was told */
} store_options;

/* Opens or creates. MANTA_EINVAL (an option, a path that is none), MANTA_EEXIST (in use; or open in this process already), MANTA_ENOTFOUND, MANTA_ETYPE (made by another version
 * or with other sizes), MANTA_ELIMIT (STORE_PROCESSES are attached), MANTA_ESTOREFULL (no room on the tmpfs), MANTA_EIO, MANTA_ENOMEM. */
manta_status store_open(const store_options *options, store **out);
void store_close(store
        *s); /* lets go of all references and views of this process; NULL is fine. The last one out leaves the files (see store_destroy). */
manta_status store_destroy(const char *path); /* removes the files. MANTA_EEXIST: a process uses them. Not there: MANTA_OK. */
const char *store_error(void);                /* of this thread's last failed call; "" before. Static per thread. */

/* ---- making objects ---- */

/* A new object in state CREATING with one reference of this process. *out_data: size_bytes writable bytes, 64-byte aligned, until seal or abort (size 0: a valid pointer).
 * n_refs: how many refs store_seal will name. May wait for room (full_wait_ms), by spilling others. MANTA_ESTOREFULL: says who holds what; MANTA_ELIMIT (max_objects). */
manta_status store_create(store *s, uint64_t size_bytes, uint32_t n_refs, store_id *out, void **out_data);
/* The bytes are final: readers may have them. `refs` (as many as were announced) are objects named inside: they live at least as long as this one. The caller holds them. */
manta_status store_seal(store *s, store_id id, const store_id *refs);
manta_status store_abort(store *s, store_id id);                                        /* instead of seal: the object is gone */
manta_status store_put(store *s, const void *data, uint64_t size_bytes, store_id *out); /* create, copy, seal */

/* While on, this thread's functions do not wait for room: MANTA_ESTOREFULL at once. */
void store_no_wait(bool on);

/* An object whose bytes will come; one reference. Readers can wait for it. */
manta_status store_promise(store *s, store_id *out);
/* Ends a promise with bytes, copied; is_error: they describe why there is no object, and store_pin answers MANTA_EFAILED with a view of them. MANTA_ESTALE: gone or ended. */
manta_status store_fulfil(
    store *s, store_id id, const void *data, uint64_t size_bytes, const store_id *refs, uint32_t n_refs, bool is_error);

/* The same without room for a text: store_pin answers MANTA_EFAILED with no bytes, and store_view has the status (1 to 255). */
manta_status store_fail(store *s, store_id id, manta_status why);
/* Ends a promise in place: it gets room as store_create gives it, and then is the caller's to fill until store_seal, or until store_unprepare makes it a promise again. The caller holds it. */
manta_status store_prepare(store *s, store_id id, uint64_t size_bytes, uint32_t n_refs, void **out_data);
manta_status store_unprepare(store *s, store_id id);
/* A pin of an object that this process is filling: its bytes stay where they are, also when it is sealed meanwhile, until store_unpin. */
manta_status store_pin_own(store *s, store_id id);

/* ---- objects of other stores, of which the processes of this one need one replica ---- */

/* Says that `mine`, which the caller holds, is or becomes the replica of the object `root`. MANTA_EEXIST: another one is that already, or will be unless its process dies: it is *out_other, with a
 * reference for the caller. Of very many roots (4096, 8 of a kind) some are forgotten, whose objects then have another replica. */
manta_status store_share(store *s, store_id root, store_id mine, store_id *out_other);
/* Ends a promise: from now on it is another name of `target`, a sealed object that names no others, and keeps it. The caller holds both. MANTA_ESTALE: either is gone, the promise has ended, the target
 * is not sealed; MANTA_EFAILED: it is an error; MANTA_EUNSUPPORTED: it names others. May wait for room, as for 64 bytes. */
manta_status store_alias(store *s, store_id id, store_id target);

/* ---- reading ---- */

typedef struct store_view {
    const void *data;
    uint64_t size_bytes;
    manta_status status; /* of store_fail */
} store_view;

/* MANTA_OK: a view until store_unpin. MANTA_EFAILED: the same, of a failed promise's bytes. MANTA_ENOTREADY (pending or creating), MANTA_ESTALE (gone), MANTA_EIO (its spilled bytes
 * are corrupted). Reads a spilled object back in, which waits for the disk and for room. */
manta_status store_pin(store *s, store_id id, store_view *out);
void store_unpin(store *s, store_id id);
bool store_is_resident(store *s, store_id id); /* store_pin would not wait */
/* MANTA_OK: sealed or failed. MANTA_ENOTREADY, MANTA_ESTALE. Does not wait. */
manta_status store_peek(store *s, store_id id);
/* Waits until store_peek would give something else than MANTA_ENOTREADY. MANTA_ETIMEDOUT. Notices a creator that died: MANTA_ESTALE. Blocks the thread. */
manta_status store_wait(store *s, store_id id, uint64_t timeout_ns);
/* Calls done(context, id) once, when store_wait would return, from some thread or at once. MANTA_ENOMEM: it will not be called. */
manta_status store_watch(store *s, store_id id, void (*done)(void *context, store_id id), void *context);
bool store_unwatch(store *s, store_id id, void *context); /* true: done will not be called */
void store_unwatch_all(store *s);                         /* afterwards no `done` runs or will run */

/* ---- references ---- */
manta_status store_hold(store *s, store_id id); /* MANTA_ESTALE: gone */
manta_status store_drop(store *s, store_id id); /* MANTA_ESTALE: this process holds none */
bool store_is_last(store *s, store_id id);      /* the caller's reference is the only one */
bool store_knows(store *s, store_id id);        /* the id is one of this store, dead or alive */
/* The refs that an object names, which the caller has pinned: at most `capacity` of them. How many there are. */
uint32_t store_inside(store *s, store_id id, store_id *out, uint32_t capacity);

/* ---- looking in ---- */

typedef enum store_state { STORE_FREE, STORE_PENDING, STORE_CREATING, STORE_SEALED, STORE_SPILLED, STORE_MOVING, STORE_DYING } store_state;

typedef struct store_object {
    store_id id;
    store_state state;
    uint64_t size_bytes, room_bytes; /* room: in the arena (or on disk when spilled), with what rounding wastes */
    uint64_t offset;                 /* in the arena, or in the spill file */
    uint64_t spill_file;             /* 0: no copy on disk */
    uint64_t holders, pins;          /* a bit per process */
    uint32_t inside;                 /* references from other objects */
    uint32_t owner;                  /* process that made it, or that is moving it */
    uint64_t age_ms;
    bool failed, in_slab;
    char site[STORE_SITE_BYTES]; /* "" unless enabled */
} store_object;

typedef struct store_process {
    uint32_t index;
    int pid;
    char name[STORE_NAME_BYTES];
    bool alive, is_node;
    uint64_t attached_ms;                            /* ago */
    uint64_t held_objects, held_bytes, pinned_bytes; /* counted by store_stat */
} store_process;

typedef struct store_info {
    char path[512], spill_path[512], boot_id[40];
    uint32_t version, max_objects;
    uint64_t capacity_bytes, used_bytes, largest_free_bytes, slab_bytes, slab_free_bytes;
    uint64_t objects, sealed, creating, pending, spilled, object_bytes; /* object_bytes: their sizes, resident ones */
    uint64_t spill_disk_bytes, spill_live_bytes, spill_limit_bytes, spill_files;
    uint64_t puts, gets, frees, spills, restores, evictions_clean, compactions, reaped; /* since it was created, all processes */
    uint64_t index_bytes;
    uint32_t processes;
    store_process process[STORE_PROCESSES];
} store_info;

manta_status store_stat(store *s, store_info *out); /* walks all objects */
/* The objects in table order: *cursor 0 at first; MANTA_EEND behind the last. */
manta_status store_next(store *s, uint64_t *cursor, store_object *out);
void store_site(const char *site); /* call site for what this thread creates from now on; kept by reference; NULL: none */

/* Compares all tables: extents, free lists, slabs, objects, spill files, counts; check_data: reads every spilled byte. Calls `complain` with a line for each thing that is wrong.
 * MANTA_OK: nothing is. MANTA_EIO: something is. Exact only while no other process is at work. */
manta_status store_audit(store *s, bool check_data, void (*complain)(const char *line, void *context), void *context);

/* Housekeeping, which each process's keeper thread does every second while others are attached: reaps dead ones, checks LMDB's readers. *out_reaped may be NULL. */
manta_status store_tick(store *s, uint32_t *out_reaped);
void store_spill_all(store *s); /* moves to disk what is not pinned, as far as it fits; for tests and tools */

#endif
