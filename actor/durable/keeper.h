/*
 * The keeper of a durable actor: it stands before the actor in its process. Calls come to it, it writes them to the actor's log, many in one record, then gives them to the actor in that order, and keeps the answers until their caller
 * says that it has them. Now and then it writes the actor's state, with the answers that it keeps, in the place of the log.
 */
#ifndef MANTA_KEEPER_H
#define MANTA_KEEPER_H

#include "actor/node/node.h"

MANTA_STRUCT(MantaOutcome, (int32_t, status), (manta_bytes, value)) /* the packed result, or the packed error */
/* number: the caller's, growing; done: it has the answers of all its calls up to this one. */
MANTA_STRUCT(MantaDurableCall, (uint64_t, epoch), (uint64_t, caller), (uint64_t, number), (uint64_t, done), (bool, again),
    (uint64_t, method), (manta_bytes, arguments))

MANTA_ACTOR(MantaKeeper, struct keeper *k;)
MANTA_METHOD_DECLARE(MantaKeeper, call, MantaOutcome, (MantaDurableCall, what))
MANTA_METHOD_DECLARE(MantaKeeper, is_idle, bool) /* every call that came has been answered */
MANTA_METHOD_DECLARE(MantaKeeper, finish, void)  /* a stop, after the calls that came before */
MANTA_METHOD_DECLARE(MantaKeeper, close, void)   /* the system stops: a checkpoint, and no call any more; waits */
MANTA_METHOD_DECLARE(MantaKeeper, begin, void)   /* it has its place: the state and the log are read */

manta_actor keeper_spawn(uint64_t uid, uint64_t epoch, manta_actor who); /* {0}: error_set says why not */

/* The number of a call that this handler of a durable actor makes, the same when it runs again; false: this is none. */
typedef struct nested_call {
    uint64_t caller, number, done;
} nested_call;
bool keeper_nested(worker *w, nested_call *out);

#endif
