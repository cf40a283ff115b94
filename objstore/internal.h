/*
 * The parts of the store and what they offer each other; layout.h has what processes share.
 */
#ifndef MANTA_OBJSTORE_INTERNAL_H
#define MANTA_OBJSTORE_INTERNAL_H

#include <errno.h>
#include <lmdb.h>
#include <pthread.h>

#include "objstore/layout.h"
#include "objstore/spill_file.h"
#include "objstore/store.h"
#include "scheduler/base/alloc.h"
#include "scheduler/base/atomics.h"
#include "scheduler/os/os.h"
#include "scheduler/os/os_file.h"

typedef struct local_count { /* of this process, for one slot */
    _Atomic uint32_t refs, pins;
} local_count;

typedef struct cell_cache { /* of one size class: the free cells of its current slab */
    pthread_mutex_t lock;
    uint32_t granule, count, n_recent; /* granule: of the current slab, when has_current */
    bool has_current;
    uint32_t recent[64]; /* slabs that this process used before */
    uint16_t cells[SLAB_CELLS];
} cell_cache;

typedef struct watcher watcher;
enum { WATCH_BUCKETS = 256 };
struct store {
    char path[512];
    bool inspect, is_node;
    uint32_t me; /* process number */
    uint64_t bit, full_wait_ns;
    int arena_fd, control_fd, lock_fd;
    control *control;
    uint64_t control_bytes;
    _Atomic uint8_t *chunk_owner; /* process + 1 */
    _Atomic uint16_t *chunk_freed;
    slab *slabs;
    _Atomic uint32_t *tenants; /* slot + 1, by cell */
    char *sites;
    replica *replicas;
    _Atomic uint8_t *backed; /* 2 MiB parts of the arena that have their room on the tmpfs */
    slot *slots;
    unsigned char *readable, *writable; /* the arena, twice */
    _Atomic uint8_t *populated;         /* 2 MiB parts of `writable` whose page tables are there */
    local_count *local;
    pthread_mutex_t shards[64]; /* first and last reference of a slot in this process */
    cell_cache classes[SLAB_CLASSES];
    pthread_mutex_t slots_lock;
    uint32_t unfinished[64]; /* slots whose room could not be freed; under watch_lock */
    _Atomic uint32_t n_unfinished;
    uint32_t free_slots[CHUNK_SLOTS], n_free_slots, chunk_next;
    MDB_env *env;
    MDB_dbi by_offset, by_size, used, spilled, files, totals;
    pthread_mutex_t watch_lock;
    watcher *watchers[WATCH_BUCKETS];
    _Atomic uint32_t n_watchers;
    pthread_t watch_thread, prefault_thread, spill_thread, keeper_thread;
    bool has_watch_thread, has_prefault_thread, has_spill_thread, has_keeper_thread, call_sites;
    _Atomic uint32_t stopping, watch_ends, spill_wanted;
    spill_file *file; /* that this process appends to; under control->evicting */
    int spill_lock_fd;
    store *next; /* open stores of this process */
};

/* ---- store.c ---- */
manta_status store_fail_(manta_status status, const char *format, ...) MANTA_PRINTF(2, 3); /* sets store_error */
slot *slot_of(store *s, store_id id);                                                      /* NULL: no such object (any more) */
static inline uint32_t slot_index(const store *s, const slot *x) { return (uint32_t)(x - s->slots); }
static inline store_id id_of(const store *s, const slot *x)
{
    return (store_id){{s->control->salt << 32 | slot_index(s, x), load_relaxed(&((slot *)x)->sequence)}};
}
static inline store_state state_of(const slot *x) { return (store_state)(load_acquire(&((slot *)x)->state) & 0xff); }
static inline uint32_t worker_of(const slot *x)
{
    return (load_acquire(&((slot *)x)->state) >> SLOT_WORKER_SHIFT) - 1;
} /* UINT32_MAX: none */
static inline void flags_set(slot *x, unsigned flags) { atomic_fetch_or_explicit(&x->flags, (uint8_t)flags, memory_order_seq_cst); }
static inline void flags_clear(slot *x, unsigned flags) { atomic_fetch_and_explicit(&x->flags, (uint8_t)~flags, memory_order_seq_cst); }
static inline unsigned flags_of(const slot *x) { return load_seq(&((slot *)x)->flags); }
manta_status slot_place(store *s, slot *x, uint64_t bytes, bool may_wait); /* room in the arena */
void arena_populate(store *s, uint64_t offset, uint64_t bytes);            /* makes it cheap to write */
bool pins_close(store *s, slot *x);                                        /* false: somebody has it pinned, or closed it */
manta_status slot_free_room(store *s, slot *x);                            /* twice does no harm */
manta_status slot_free_if_unheld(store *s, slot *x, uint64_t sequence);
void ends_retry(store *s); /* what slot_end could not free */
/* The caller has closed `holders`: frees everything of the object, and then of those that only it held. When this thread is at that already, that goes on with it. */
void slot_end(store *s, slot *x);

/* ---- inside.c: refs that objects hold to others ---- */
uint64_t trailer_bytes(uint64_t size_bytes, uint64_t n_refs);
uint64_t slot_room(const store *s, const slot *x); /* bytes in the arena, with the refs behind; not rounded */
void inside_announce(store *s, slot *x, uint32_t n_refs);
manta_status inside_count(store *s, slot *x, const store_id *refs);
void inside_drop(store *s, slot *x);
void inside_recount(store *s);                        /* when a process died */
store_id inside_first(const store *s, const slot *x); /* of an object in memory that names some */
void inside_tally(store *s, uint32_t *tally);         /* what each slot's `inside` should be; max_objects zeros at first */

/* ---- control.c ---- */
static inline process *process_of(const store *s, uint32_t index)
{
    return (process *)(void *)((unsigned char *)s->control + HEADER_BYTES + (size_t)index * PROCESS_BYTES);
}
static inline process *my_process(const store *s) { return process_of(s, s->me); }
uint64_t store_now_ms(const store *s);
uint32_t site_row(store *s, const char *site);

/* ---- extents.c ---- */
enum { EXTENT_LARGE = 1, EXTENT_SLAB = 2 };
typedef struct extent {
    uint64_t length, sequence; /* of the object; 0 for slabs */
    uint32_t slot;
    uint8_t kind, owner;
    uint16_t unused;
} extent;
typedef struct spilled_record { /* key: sequence */
    uint64_t offset, size_bytes, trailer_bytes;
    uint32_t file_id, crc, flags, slot;
} spilled_record;
typedef struct file_record { /* key: file id */
    uint64_t bytes, live_bytes;
    uint32_t objects, writer; /* process + 1 while it appends */
} file_record;
manta_status extents_open(store *s, bool create);
void extents_close(store *s);
uint64_t index_bytes(uint64_t capacity, uint64_t max_objects);
uint64_t extent_round(uint64_t bytes);
/* One transaction. *in names the extent until the caller has put it into a slot or slab. MANTA_ESTOREFULL: no free extent is long enough. */
manta_status extent_alloc(store *s, uint64_t bytes, extent e, intent *in, uint64_t *out_offset);
manta_status extent_release(store *s, uint64_t offset, uint64_t sequence); /* when it is in use by that object; else nothing happens */
manta_status extent_find(store *s, uint64_t offset, extent *out);          /* MANTA_ENOTFOUND */
intent *intent_take(store *s);
void intent_drop(store *s, intent *in);
typedef bool (*extent_visit)(uint64_t offset, uint64_t length, const extent *used_or_null, void *context);
manta_status extents_walk(store *s, extent_visit visit, void *context); /* used and free ones, by offset */
void extents_recount(store *s);                                         /* used_bytes as LMDB has it: when a process died */
manta_status extents_check(store *s);                                   /* MANTA_EIO unless they make up the arena; while nobody writes */
uint64_t extents_sizes(store *s);                                       /* entries of the table by size */
/* `then` (may be NULL) in a read transaction whose pages index_check found right. */
manta_status index_read_checked(store *s, int (*then)(store *s, MDB_txn *t));
manta_status index_fail(const store *s, const char *what, int error); /* store_error for an LMDB error */

/* ---- index_check.c ---- */
/* Whether LMDB can trust the pages of the index: of the transaction that a reader has, which keeps them as they are; 0: the last one, while nobody writes; INDEX_IN_USE: of
 * any, so only what never changes is looked at. MANTA_EIO: names page and byte. MANTA_ENOTREADY: the meta page of that transaction is overwritten; take a newer one. */
#define INDEX_IN_USE UINT64_MAX
manta_status index_check(const store *s, uint64_t transaction);

/* ---- slabs.c ---- */
uint32_t class_of(uint64_t bytes);
uint32_t class_bytes(uint32_t class);
manta_status cell_alloc(store *s, uint64_t bytes, slot *x); /* sets its offset and SLOT_CELL */
void cell_free(store *s, uint64_t offset, uint32_t slot_number);
void slab_trim(store *s, bool all); /* gives empty slabs back; all: also this process's current ones */
slab *slab_at_offset(const store *s, uint64_t offset);
_Atomic uint32_t *slab_tenants(const store *s, const slab *b);
void slab_recover(store *s, slab *b); /* drops cells that no slot names */

/* ---- slots.c ---- */
manta_status slot_new(store *s, slot **out);      /* reserved for this process */
void slot_give_back(store *s, slot *x);           /* empty again */
void local_begin(store *s, slot *x, bool pinned); /* a new object: its first reference, and pin */
void local_end(store *s, slot *x);                /* it came to nothing */
manta_status local_retain(store *s, slot *x, uint64_t sequence);
manta_status local_release(store *s, slot *x, uint64_t sequence);
bool local_pin(store *s, slot *x); /* false: it is MOVING or DYING, nothing was done */
void local_unpin(store *s, slot *x);

/* ---- watch.c ---- */
void slot_set_state(store *s, slot *x, store_state state); /* and wakes who waits */
manta_status slot_sleep(store *s, slot *x, store_state while_state, uint64_t timeout_ns);
void room_freed(store *s);

/* ---- spill.c ---- */
/* After MANTA_ESTOREFULL, when used_bytes of the arena had been in use: OK means try again. */
manta_status room_make(store *s, uint64_t bytes, uint64_t used_bytes, uint64_t deadline_ns);
void spill_check(store *s); /* above the high mark: starts the spiller */
manta_status spill_restore(store *s, slot *x, uint64_t sequence);
manta_status spilled_forget(store *s, uint64_t sequence); /* the copy on disk of an object that is gone */
void *spill_read_trailer(
    store *s, uint64_t sequence, uint64_t *out_bytes); /* of a spilled object, not checked; the caller frees it; NULL: unreadable */
void spill_stop(store *s);
manta_status spill_adopt(
    store *s, const char *parent); /* the node's directory, after the stamp: makes it, and clears away what belongs to no object */
void spill_wipe(const char *path); /* of the store at that path */
void spill_end_files(store *s, uint32_t index); /* that a process wrote */
void spill_recover(store *s, slot *x);          /* MOVING when its process died */

/* ---- reap.c ---- */
uint32_t reap_dead(store *s);
void reap_settle(store *s, slot *x);         /* waits a moment for who has closed x's pins; ends the work of one who died */
void reap_process(store *s, uint32_t index); /* the caller has its lock byte */
bool has_others(const store *s);             /* processes that are attached */
void keeper_start(store *s);
void keeper_stop(store *s);
int mutex_lock_robust(pthread_mutex_t *m); /* EOWNERDEAD: made consistent; the caller repairs what it guards */

#endif
