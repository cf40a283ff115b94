/*
 * What the files of the control store's user side share.
 */
#ifndef MANTA_NODE_CONTROL_H
#define MANTA_NODE_CONTROL_H

#include <manta/control.h>

#include "actor/node/gcs.h"

enum { KEY_LIMIT = 1023 };

/* A name of 1..limit bytes without a NUL in it. */
manta_status control_check(const char *what, const char *kind, const char *name, size_t limit);
/* The control store is there, if need be one of this process alone. */
manta_status control_begin(const char *what);
/* Runs the command or question in `w`, frees `w`. On failure the error begins with `what`. */
manta_status control_call(const char *what, bool is_query, manta_writer *w, uint64_t timeout_ms, gcs_reply *out);
void control_stop(void); /* when the system has stopped */
void locks_stop(void);

#endif
