/*
 * Durable actors of a program that belongs to no cluster (manta_config.durable): a control store of its own, with one server, in a directory of its own, and the actors that its last run left there.
 *
 * One process at a time has the directory. What a run leaves: its named and its detached durable actors, the key-value pairs; all other actors end with it. An actor that comes back has the next epoch, as on a cluster.
 */
#ifndef MANTA_DURABLE_ALONE_H
#define MANTA_DURABLE_ALONE_H

#include "actor/runtime/internal.h"

extern _Atomic bool alone_is_on;

/* At the start of the system: opens the directory and brings back what is there; waits. error_set says why not. */
manta_status alone_start(const manta_config *config);
/* At its end, while all actors still run: calls that came are answered, up to stop_timeout_ms, and each durable actor writes a checkpoint; it is not dead. Waits. */
void alone_stop(void);

#endif
