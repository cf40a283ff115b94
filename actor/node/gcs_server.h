/*
 * What the files of the MantaGcs actor share. All of it belongs to the actor's handlers, which never run in parallel.
 */
#ifndef MANTA_NODE_GCS_SERVER_H
#define MANTA_NODE_GCS_SERVER_H

#include "actor/node/gcs.h"
#include "gcs/host/raft_host.h"
#include "scheduler/base/id_table.h"

enum { GCS_PENDING = 65536, GCS_WATCHERS = 4096, GCS_SUSPICIONS = 64 };

typedef struct gcs_waiting { /* a call whose answer will come */
    future *reply;
    size_t question_bytes; /* of a query */
    unsigned char question[];
} gcs_waiting;

typedef struct gcs_peer { /* another server */
    uint64_t id;
    bool is_resolving;
    MantaGcs_ref actor;
    char address[RAFT_ADDRESS_BYTES];
} gcs_peer;

typedef struct gcs_watcher {
    manta_actor actor;
    bool is_late; /* it could not be told of a change, for its link is full: it is dropped as soon as it can be told that */
    uint32_t table;
    size_t prefix_bytes;
    unsigned char *prefix;
} gcs_watcher;

typedef struct gcs_suspicion {
    uint64_t node, by, at_ns;
} gcs_suspicion;

struct gcs_server {
    manta_actor self;
    gcs_options options;
    char directory[400], address[RAFT_ADDRESS_BYTES];
    raft_host *host; /* NULL: not a server */
    gcs_core *core;
    raft_command *pending; /* GCS_PENDING */
    uint32_t n_pending;
    bool is_flushing, is_failed, is_managing, is_changing;
    id_table waiting; /* by token */
    uint64_t next_token, change_token;
    manta_writer reply;
    gcs_peer peers[RAFT_SERVERS_MAX];
    uint32_t n_peers;
    gcs_watcher *watchers;
    uint32_t n_watchers, room_watchers;
    gcs_suspicion suspicions[GCS_SUSPICIONS];
    uint32_t n_suspicions;
    uint64_t tick_at; /* 0: none is under way */
    raft_result changed;
    _Atomic uint32_t woken; /* by the disk thread */
};

/* ---- gcs_actor.c ---- */
void server_answer(struct gcs_server *s, gcs_waiting *w, const void *reply, size_t bytes); /* frees it */
void server_refuse(struct gcs_server *s, gcs_waiting *w, manta_status status, const char *text);
void server_arm(struct gcs_server *s); /* the next tick, when the host's time-out has moved */
/* A command of its own (reply NULL) or of a call. False: no memory, or too many wait; `w` is then still the caller's. */
bool server_append(struct gcs_server *s, const void *command, size_t bytes, gcs_waiting *w);
manta_status server_open(struct gcs_server *s, bool found, uint64_t cluster); /* MANTA_ENOTFOUND: neither is there one, nor is one to be */

/* ---- gcs_watch.c ---- */
void server_tell(void *context, const gcs_event *event); /* a gcs_watch: to all who watch it */
void server_watchers_free(struct gcs_server *s);
void server_drop_watchers(struct gcs_server *s); /* when this server is none any more */

/* ---- gcs_members.c ---- */
void server_manage(struct gcs_server *s); /* the leader's, now and then */

#endif
