/*
 * Handles of actors that move: restartable and durable ones. Such an actor is a row of the control store's table of actors from its spawn to its end, and its handle names the row, not a process: on the wire it is
 * [moving_process(uid), 0], which every process resolves for itself by watching the rows.
 *
 * Each process keeps, for each such actor that it has a handle of, where it is now (epoch, place) and the calls that have not been answered. A call waits here while the actor has no place; when its place is lost it fails, or waits again,
 * see manta/durable.h. An answer of a place that has been lost counts for nothing. A durable actor's calls go to its keeper (actor/durable/keeper.h), with the caller's number, by which it recognises one that comes again.
 */
#ifndef MANTA_NODE_MOVING_H
#define MANTA_NODE_MOVING_H

#include "actor/node/node.h"

enum { MOVING_TAG = 0x4d, MOVING_LIMIT = 1 << 20, MOVING_CALLS = 1 << 16 /* unanswered ones of this process to one of them */ };

/* uid: tag (8 bits), durability (8), random */
static inline bool uid_is_moving(uint64_t uid) { return uid >> 56 == MOVING_TAG; }
static inline bool uid_is_durable(uint64_t uid) { return uid_is_moving(uid) && (uid >> 48 & 0xff) == MANTA_DURABLE; }
static inline uint64_t moving_process(uint64_t uid) { return uid | 1ull << 63; } /* processes of their own have this bit clear */
static inline bool process_is_moving(uint64_t process) { return process >> 63 && uid_is_moving(process & ~(1ull << 63)); }
uint64_t moving_new_uid(manta_durability d);
manta_actor moving_handle(uint64_t uid);                 /* {0}: no memory */
manta_actor *moving_here(size_t *out_count);             /* those in this process, or their keepers; base_free. NULL: none, or no memory */
void moving_give_up_here(uint64_t uid, const char *why); /* for this process it is dead, whatever its row says */
bool moving_is_given_up(manta_actor handle);             /* error_set says why */

bool moving_start(void); /* in a process of a job, or alone (actor/durable/alone.h) */
void moving_stop(void);  /* before the links stop: what waits fails */
void moving_free(void);
uint32_t moving_keepers(void); /* actors of the library's own here */

/* ---- for outbound.c: the same for these handles; process: of the proxy ---- */
manta_status moving_post(worker *w, uint64_t process, uint64_t handle, message *m, bool may_wait);
manta_status moving_stop_actor(worker *w, uint64_t process, bool kill);
bool moving_is_alive(uint64_t process);
uint64_t moving_place(uint64_t process); /* the process that it is in; 0: none now */
future *moving_call_named(uint64_t handle, uint64_t process, const char *name, manta_bytes payload); /* may wait */

/* ---- spawning, in the process that it is spawned in ---- */
bool moving_expect(uint64_t uid, uint64_t epoch); /* the next moving_adopt of it is for this epoch; without: 1. False: no memory */
uint64_t moving_expected(uint64_t uid);
/* The new actor of this process is uid's. Waits. {0}: error_set says why not, and it has been killed. */
manta_actor moving_adopt(uint64_t uid, manta_actor who);
/* What the options and the class ask for can be had; `durability` is not MANTA_VOLATILE. */
manta_status moving_check(const manta_options *o, const manta_class *cls, manta_durability durability);

#endif
