/*
 * The object store of a node, which its daemon keeps for the workers and drivers of the machine. It is made when it is first needed: an idle daemon has none.
 */
#ifndef MANTA_NODE_STORE_H
#define MANTA_NODE_STORE_H

#include "actor/runtime/internal.h"

/* Once, after manta_init and before raylet_start. Texts are copied. */
void node_store_plan(const char *path, uint64_t capacity_bytes, const char *spill_path, uint64_t spill_bytes);
/* The store is there, or none was planned. Blocks while it is made; any thread. error_set says why not. */
manta_status node_store_make(void);
/* After manta_shutdown: lets go of it; removes its files unless others use it, the last of whom does. */
void node_store_close(void);
/* False: none was planned. *path: "" until it is made. Counts are of all its objects. */
bool node_store_usage(const char **path, size_t *objects, uint64_t *bytes);

#endif
