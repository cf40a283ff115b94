/*
 * Small things that the host's files share: errors with a text, and a directory's sync.
 */
#ifndef MANTA_GCS_HOST_TEXT_H
#define MANTA_GCS_HOST_TEXT_H

#include <manta/status.h>

/* Writes `text` (RAFT_TEXT_LIMIT bytes) and returns `status`. */
manta_status host_say(char *text, manta_status status, const char *format, ...) MANTA_PRINTF(3, 4);
int host_sync_directory(const char *path); /* its names; 0 or an errno value */

#endif
