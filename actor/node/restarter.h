/*
 * Starting actors again whose process or node has died. Each node daemon has a restarter; the one of the daemon that leads the control store acts: it asks for a lease like an owner does, has the actor made in the leased worker, and that process
 * says in the store, with the next epoch, that the actor is there. So two restarters that act at the same time do no harm: one place gets the epoch, the other is refused and ends its copy.
 */
#ifndef MANTA_NODE_RESTARTER_H
#define MANTA_NODE_RESTARTER_H

#include "actor/node/leases.h"

/* All that is needed to make the actor again: the `spec` of its row. */
MANTA_STRUCT(MantaRevival, (MantaJob, job), (manta_str, need), (manta_str, labels), (int32_t, strategy), (uint64_t, node),
    (uint32_t, apart), (uint32_t, delay_ms), (uint32_t, delay_max_ms),
    (manta_bytes, spawn)) /* spawn: a packed MantaMovingSpawn of service.c */

MANTA_ACTOR(MantaRestarter, struct restarter *r;)
MANTA_METHOD_DECLARE(MantaRestarter, granted, void, (MantaGrant, grant))
MANTA_METHOD_DECLARE(MantaRestarter, refused, void, (uint64_t, request), (int32_t, status), (manta_str, text))

manta_status restarter_start(manta_actor leases, manta_actor gcs); /* in a daemon that belongs to its cluster */

/* The spec of a new actor, appended to `out`. Waits. error_set says why not. */
manta_status revival_pack(manta_writer *out, const manta_options *o, manta_class *cls, const void *arguments, const manta_str *name);

#endif
