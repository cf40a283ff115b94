/*
 * The control store inside the library: the actor that serves it, and how the rest of the library talks to it. The user's side is manta/control.h.
 *
 * Every node daemon, and a system alone when it first needs one, has a MantaGcs actor, registered as "manta.gcs". On some of them it hosts a Raft server (gcs/host) and the state (gcs/core); the others know who
 * does. The leader's actor also looks after the voters: it makes servers of nodes until there are as many voters as wanted, and replaces those of dead nodes. Commands and queries are those of
 * gcs/core/gcs_command.h, as bytes; one that reaches a server that does not lead fails with MANTA_ENOTLEADER, and the error's text is the address of the leader, or "".
 *
 * gcs_call does all that is needed from anywhere: it finds the leader, retries under one request number until the deadline, and gives the reply once.
 */
#ifndef MANTA_NODE_GCS_H
#define MANTA_NODE_GCS_H

#include <manta/manta.h>

#include "actor/runtime/internal.h"
#include "gcs/core/gcs_command.h"
#include "gcs/core/gcs_core.h"

enum { GCS_TIMEOUT_MS = 10000, GCS_ADDRESSES = 2048 };

MANTA_STRUCT(MantaGcsPlace, (uint64_t, cluster), (uint64_t, server), (bool, leads), (manta_str, leader),
    (manta_str, servers)) /* servers: addresses with commas between */

MANTA_ACTOR(MantaGcs, struct gcs_server *s;)
MANTA_METHOD_DECLARE(MantaGcs, submit, manta_bytes, (manta_bytes, command))        /* the reply's bytes, when it is applied */
MANTA_METHOD_DECLARE(MantaGcs, query, manta_bytes, (manta_bytes, question))        /* linearizable */
MANTA_METHOD_DECLARE(MantaGcs, step, void, (uint64_t, from), (manta_bytes, bytes)) /* of Raft, from that server */
MANTA_METHOD_DECLARE(MantaGcs, place, MantaGcsPlace)
MANTA_METHOD_DECLARE(MantaGcs, serve, uint64_t, (uint64_t, cluster)) /* becomes a server that the leader will add: its id */
MANTA_METHOD_DECLARE(MantaGcs, watch, void, (uint32_t, table), (manta_bytes, prefix),
    (manta_actor, watcher)) /* a MantaWatcher: what is there, then changes */
MANTA_METHOD_DECLARE(MantaGcs, unwatch, void, (uint32_t, table), (manta_bytes, prefix), (manta_actor, watcher))
MANTA_METHOD_DECLARE(MantaGcs, suspect, void, (uint64_t, node), (uint64_t, by)) /* the leader's: `by` does not reach `node` */
MANTA_METHOD_DECLARE(MantaGcs, status, manta_str)

/* Runs where something is watched. */
MANTA_ACTOR(MantaWatcher, struct watches *w;)
MANTA_METHOD_DECLARE(
    MantaWatcher, changed, void, (uint32_t, table), (uint64_t, revision), (bool, is_gone), (manta_bytes, key), (manta_bytes, value))
MANTA_METHOD_DECLARE(
    MantaWatcher, listed, void, (uint32_t, table), (manta_bytes, prefix), (uint64_t, revision)) /* all that was there has come */
MANTA_METHOD_DECLARE(MantaWatcher, dropped, void)                                               /* by a server that is none any more */

/* ---- gcs_actor.c ---- */
typedef struct gcs_options {
    const char *directory; /* NULL: in memory */
    const char *address;   /* of this process, for the other servers; "": alone */
    bool found;            /* a new cluster, unless the directory holds one */
    uint32_t voters;       /* wanted: 1, 3 or 5 */
} gcs_options;
/* The actor of this process; with `found`, or when the directory holds a server, it serves. error_set says why not. */
manta_status gcs_start(const gcs_options *options, manta_actor *out);

/* ---- gcs_client.c ---- */
void gcs_know(manta_actor server); /* somebody to ask: the actor of this node's daemon */
/* One command or question, as a builder of gcs_command.h made it (client and request are filled in here). The status is the reply's, with its text as the error and *out filled in, or that of the way to it (*out is then
 * all zero): MANTA_ETIMEDOUT: nobody answered; MANTA_EUNKNOWN: a command that may have been applied. *out's views live in the caller's scope. */
manta_status gcs_call(bool is_query, void *bytes, size_t size, uint64_t timeout_ms, gcs_reply *out);
void gcs_client_stop(void);
bool gcs_is_known(void);
void gcs_refresh(void);                                      /* asks who serves now, for the day when the leader is gone; waits */
void gcs_suspect(uint64_t node);                             /* tells the leader that this process does not reach the node */
size_t gcs_servers(char *out, size_t room);                  /* their addresses, as far as they are known here, with commas between */
manta_actor gcs_some_server(void);                           /* that serves; waits; {0}: none is found now */
bool gcs_is_there(manta_actor server, uint64_t patience_ms); /* it answers, and serves; waits */
/* The process that listens there, connecting when it is not up yet. */
manta_status process_at(const char *address, uint64_t timeout_ms, manta_process *out);

#endif
