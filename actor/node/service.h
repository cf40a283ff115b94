/*
 * The actor that answers for its process, which every other process knows as actor 0 of it.
 */
#ifndef MANTA_SERVICE_H
#define MANTA_SERVICE_H

#include <manta/manta.h>

#include "actor/node/node.h"

MANTA_ACTOR(MantaNode, int unused;)
MANTA_METHOD_DECLARE(MantaNode, inspect, manta_bytes, (manta_str, kind), (manta_str, match), (uint32_t, limit)) /* report.h */
MANTA_METHOD_DECLARE(MantaNode, trace, manta_bytes, (uint32_t, what))
MANTA_METHOD_DECLARE(MantaNode, kill, bool, (manta_str, who)) /* an actor of this process, as reports name it; false: there is none */

MantaNode_ref service_of(manta_process p);
manta_manta_actor_future node_lookup(manta_process process, const char *name); /* manta_lookup_in without the wait */

/* ---- of an actor that moves (moving.h) ---- */
void service_pack_spawn(manta_writer *w, const manta_options *o, const manta_class *cls, const void *arguments, const manta_str *name);
/* Makes it again in that process, out of what service_pack_spawn wrote, as its row `uid` of this epoch; for a lease. */
manta_manta_actor_future service_revive(manta_process process, manta_bytes spawn, uint64_t uid, uint64_t epoch, uint64_t lease);

#endif
