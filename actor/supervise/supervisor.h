/*
 * The methods of the class Supervisor, which the public functions call, from any process.
 */
#ifndef MANTA_SUPERVISE_SUPERVISOR_H
#define MANTA_SUPERVISE_SUPERVISOR_H

#include "actor/supervise/spec.h"

MANTA_STRUCT(MantaChildRow, (manta_str, id), (manta_actor, actor), (manta_str, class_name), (int32_t, restart), (uint32_t, restarts))
MANTA_STRUCT(MantaChildren, (manta_bytes, rows), (uint32_t, count), (uint64_t, total), (uint64_t, last)) /* rows: packed MantaChildRow */

MANTA_ACTOR(Supervisor, struct sup *s;)
MANTA_METHOD_DECLARE(Supervisor, init, void, (MantaPlan, what))
MANTA_METHOD_DECLARE(Supervisor, on_exit, void, (manta_actor, who), (int32_t, status), (manta_str, why))
MANTA_METHOD_DECLARE(Supervisor, restart_due, void, (uint64_t, serial))
MANTA_METHOD_DECLARE(Supervisor, add, manta_actor, (MantaPlan, what)) /* of one child; its strategy means nothing */
MANTA_METHOD_DECLARE(Supervisor, terminate, void, (manta_str, id))
MANTA_METHOD_DECLARE(Supervisor, restart, void, (manta_str, id))
MANTA_METHOD_DECLARE(Supervisor, forget, void, (manta_str, id))
MANTA_METHOD_DECLARE(Supervisor, actor_of, manta_actor, (manta_str, id))
MANTA_METHOD_DECLARE(Supervisor, list, MantaChildren, (uint64_t, after)) /* some rows behind the one that `last` named; 0: the first */

#endif
