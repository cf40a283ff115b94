/*
 * Watching tables of the control store, from anywhere in this process.
 */
#ifndef MANTA_NODE_GCS_WATCH_H
#define MANTA_NODE_GCS_WATCH_H

#include "actor/node/gcs.h"

/* Runs in the watcher's actor, and must not wait. Changes of one watch come in order; nothing is told twice. event NULL: the watch has ended, and `context` may be freed. */
typedef void (*gcs_watching)(void *context, const gcs_event *event);

/* Begins to tell what is there in the table under keys that begin with the prefix, and every change, until it is stopped or `owner` has exited ({0}: nobody). On failure the context is freed too. MANTA_ENOMEM, MANTA_ELIMIT. */
manta_status gcs_watch_start(uint32_t table, const void *prefix, size_t prefix_bytes, gcs_watching tell, void *context, manta_actor owner);
/* Ends those of this owner. MANTA_ENOTFOUND. */
manta_status gcs_watch_stop(uint32_t table, const void *prefix, size_t prefix_bytes, manta_actor owner);
/* Ends the one with this context, soon; does not wait. */
void gcs_watch_abandon(uint32_t table, const void *prefix, size_t prefix_bytes, void *context);
void gcs_watch_forget(void); /* when the system stops */

#endif
