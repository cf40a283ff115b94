/*
 * What the processes of a store share: the layout of the control file.
 *
 * control file:  header | processes | chunk owners | chunk frees | call sites | replicas | parts with room | slab headers | slab tenants | slots       (tenants and slots are given room when they are first used)
 * An object is a slot: 64 bytes that say where its bytes are and who holds it. Its id is {salt, slot; sequence}; a slot with another sequence is another object.
 *
 * Who may change what: a slot in state CREATING, MOVING or DYING belongs to the process in its state word; `holders` and `pins` belong to everybody, a bit each. The bit HOLDERS_DYING
 * (with the number of the process that frees) and PINS_MOVING close them. What a dead process was at is found from: the slots it owns, its bits, its intents (extents that
 * no slot names yet), the slabs and chunks that are its own. reap.c undoes or ends all that.
 */
#ifndef MANTA_OBJSTORE_LAYOUT_H
#define MANTA_OBJSTORE_LAYOUT_H

#include <pthread.h>

#include "objstore/store.h"
#include "scheduler/base/atomics.h"

enum { LAYOUT_VERSION = 4, HEADER_BYTES = 4096, PROCESS_BYTES = 2048, INTENTS = 64, CHUNK_SLOTS = 256 };
enum { CELL_MIN = 64, CELL_MAX = 64 << 10, SLAB_GRANULE = 256 << 10, SLAB_BIG = 1 << 20, SLAB_CELLS = 4096, SLAB_CLASSES = 36 };
enum { LOCK_NODE = 100, LOCK_BUILD = 101 }; /* bytes of the lock file; 0 .. STORE_PROCESSES - 1: processes */
#define NO_OFFSET UINT64_MAX
#define HOLDERS_DYING (1ull << 63)
#define PINS_MOVING (1ull << 63)
#define OWNER_SHIFT 56 /* of the process number inside a closed word */
#define PROCESS_MASK ((1ull << STORE_PROCESSES) - 1)
_Static_assert(STORE_PROCESSES <= OWNER_SHIFT, "a bit per process below the owner");

/* slot.state: a store_state, somebody sleeps on it, and the process that is at work on it (+ 1) */
enum { SLOT_WAITED = 0x100, SLOT_WORKER_SHIFT = 16 };
/* flags. REFS: it names others; COUNTED: and they count it. CLEAN: the copy on disk is good. CELL: in a slab. RESTORE: MOVING is the way back in. LEAVING: of the way out, the
 * copy on disk is committed. ALIAS: another name of the one object that it names. */
enum {
    SLOT_FAILED = 1,
    SLOT_REFS = 2,
    SLOT_COUNTED = 4,
    SLOT_CLEAN = 8,
    SLOT_CELL = 16,
    SLOT_RESTORE = 32,
    SLOT_LEAVING = 64,
    SLOT_ALIAS = 128
};

typedef struct slot {
    _Atomic uint64_t sequence; /* 0: no object */
    _Atomic uint64_t holders, pins;
    _Atomic uint32_t state;  /* store_state, SLOT_WAITED; a futex */
    _Atomic uint8_t flags;   /* SLOT_* */
    _Atomic uint8_t touched; /* since the clock's hand passed */
    uint8_t owner;           /* that made it */
    _Atomic uint8_t status;  /* SLOT_FAILED without bytes: why */
    _Atomic uint64_t offset; /* in the arena; NO_OFFSET: none */
    uint64_t size_bytes;
    uint32_t file_id; /* 0: no copy on disk */
    _Atomic uint32_t inside;
    uint32_t created_ms; /* since the store was made */
    uint32_t site;       /* row of the site table; 0: none */
} slot;
_Static_assert(sizeof(slot) == 64, "slot layout");

typedef struct slab {
    _Atomic uint32_t state; /* SLAB_*, and for SLAB_CURRENT and SLAB_TAKEN the process << 8 */
    uint32_t first;         /* granule where the slab begins: of an inner granule, too */
    uint32_t class, cells;
    _Atomic uint32_t used, freed;
    uint32_t unused[10];
} slab;
enum { SLAB_NONE, SLAB_ACTIVE, SLAB_CURRENT, SLAB_TAKEN };

typedef struct intent {
    _Atomic uint64_t offset; /* + 1; 0: none */
    uint64_t sequence;
} intent;

typedef struct process {
    _Atomic int pid; /* 0: nobody */
    _Atomic uint32_t event, watching;
    _Atomic uint64_t intents_busy; /* a bit for each */
    uint64_t attached_ns;
    char name[STORE_NAME_BYTES];
    uint32_t is_node;
    _Atomic uint64_t puts, gets, frees; /* about: threads may lose a count; they outlive the process */
    intent intents[INTENTS];
} process;
_Static_assert(sizeof(process) <= PROCESS_BYTES, "process layout");

typedef struct control {
    char magic[8];
    uint32_t version, header_bytes, slot_bytes, process_bytes, max_objects, slab_granule;
    uint64_t capacity, salt, spill_limit;
    char boot_id[40], spill_path[512];
    uint64_t created_ns; /* monotonic */
    uint32_t high_percent, low_percent, complete;
    _Alignas(64) _Atomic uint64_t sequence;
    _Alignas(64) _Atomic uint64_t used_bytes, slots_high, spill_disk_bytes;
    _Alignas(64) _Atomic uint32_t room; /* futex: bumped when a wait for room may succeed */
    _Atomic uint32_t room_waiters;
    _Atomic uint32_t attached; /* futex: bumped when a process attaches */
    _Alignas(64) _Atomic uint64_t spills, restores, clean, compactions, reaped;
    _Alignas(64) pthread_mutex_t evicting, inside, reaping,
        replicating; /* robust, shared: one evictor at a time; counts of refs inside objects */
    uint64_t clock_hand;
    uint32_t file_next; /* under `evicting` */
    _Atomic uint32_t sites;
} control;
_Static_assert(sizeof(control) <= HEADER_BYTES, "control layout");
enum { SITES = 4096 };

typedef struct replica { /* of an object of another store; says nothing when `id` is gone */
    store_id root, id;
} replica;
enum { REPLICA_SETS = 512, REPLICA_WAYS = 8 };

#endif
