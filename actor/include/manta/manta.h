/*
 * Manta: actors, tasks and immutable objects in C. This is the header to include.
 *
 * In reading order: manta/actor.h (the macros), manta/runtime.h (the system), manta/future.h, manta/object.h, manta/supervisor.h,
 * manta/group.h, manta/durable.h, manta/inspect.h; manta/types.h and manta/status.h have the types and errors, manta/msgpack.h the codec.
 */
#ifndef MANTA_MANTA_H
#define MANTA_MANTA_H

#include <manta/actor.h>
#include <manta/cluster.h>
#include <manta/control.h>
#include <manta/durable.h>
#include <manta/future.h>
#include <manta/group.h>
#include <manta/inspect.h>
#include <manta/object.h>
#include <manta/placement.h>
#include <manta/runtime.h>
#include <manta/status.h>
#include <manta/supervisor.h>

#endif
