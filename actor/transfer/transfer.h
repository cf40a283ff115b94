/*
 * Objects between processes that share no store: names that travel, replicas here, holds there, and the transfer of bytes. docs/decisions/0010 says why.
 *
 * A ref's two words are an id of the table here. To a process without that table a ref goes as a name (object_name). What arrives becomes a replica: a promise in the table here, known by
 * an import record; the process that was named keeps a hold for it. Bytes are pulled when somebody needs them; a complete replica is an object like any other, and the hold goes.
 *
 * Threads: the functions of this header may be called from any thread and do not wait. Everything that takes time happens on the transfer thread (thread.c), and what may wait for room or for
 * the disk on a second one.
 */
#ifndef MANTA_TRANSFER_H
#define MANTA_TRANSFER_H

#include "actor/node/node.h"
#include "actor/object/object_ops.h"

/* What somebody wants a replica for; earlier ones are pulled first. */
typedef enum need { NEED_GET, NEED_WAIT, NEED_ARGUMENT, NEEDS } need;

/* ---- for the runtime ---- */
extern _Atomic uint32_t imports_count; /* replicas here; while 0 the next two do nothing */
extern _Atomic uint32_t exports_held;
extern _Atomic uint64_t served_bytes, pulled_bytes; /* of chunks, since the start */
void transfer_need_replica(manta_ref ref, need why);
manta_ref transfer_alias(manta_ref ref); /* the object here for an id that came inside of an object's bytes; ref itself when it is none */
bool transfer_is_replica(manta_ref ref); /* its bytes are not here yet */

/* ---- for lineage ---- */
manta_ref transfer_root(manta_ref ref);           /* the id that all copies of the object have in common */
void transfer_pack_record(const manta_writer *w); /* refs are packed by this thread into w as names for anybody and for later, until NULL */

static inline void transfer_need(manta_ref ref, need why)
{
    if (unlikely(load_relaxed(&imports_count))) transfer_need_replica(ref, why);
}
static inline manta_ref transfer_here(manta_ref ref) { return likely(!load_relaxed(&imports_count)) ? ref : transfer_alias(ref); }

bool transfer_has_of(uint64_t owner, manta_ref *out_root); /* some replica, here or not, that this process owned; its root */

/* ---- for actor/node ---- */
manta_status transfer_start(const manta_config *config);
void transfer_stop(void); /* after the links have stopped; afterwards nothing here touches an object */
void transfer_free(void); /* after the links are freed */

/* Around the unpacking of a message from that process. The end gives up the counts that refs had meanwhile, and says TAKEN for `borrow` once all of them are held where they come from. */
void arrival_begin(peer *from);
void arrival_end(worker *w, uint64_t borrow);
void *arrival_alloc(size_t bytes); /* zeroed, aligned to 16, until arrival_end; NULL: no memory, or this thread unpacks no arrival */

/* A message of kind WIRE_HOLD or later. What is wrong with it, or NULL. */
const char *transfer_message(worker *w, peer *from, const wire_head *head, const void *data, size_t bytes, link_frame *frame);
void transfer_peer_down(worker *w, peer *p); /* its `downs` has moved on */
void transfer_peer_room(void);               /* some link takes more again */

/* Bytes of these objects that are in that process, or in one with the same store. */
uint64_t transfer_bytes_at(const peer *p, const manta_ref *refs, uint32_t count);

#endif
