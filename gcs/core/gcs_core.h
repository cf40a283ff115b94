/*
 * The state of the global control store, as a pure machine: apply(command) -> reply and events; query -> reply; save and restore. No clock, no I/O, no thread, no random numbers: equal commands
 * give equal states, replies, events and snapshots, byte by byte, on every server. Time is an argument, stamped by the leader, and never goes back in the state. One thread at a time.
 *
 * Everything that decides is here. Tables: see gcs_table.h. Each has a budget in bytes with a stated policy: a full table refuses with MANTA_ELIMIT and a text that says how full, after it let the oldest
 * dead actors, dead processes and ended jobs go; lineage drops its oldest (per job) and remembers that it did.
 *
 * A command or query is a gcs_head (little endian) and then a MessagePack array of its fields (gcs_command.h has one builder for each, and the list of fields, results and errors). A malformed one gives
 * MANTA_EDECODE with the byte, changes nothing, and does so the same on all servers.
 *
 * Idempotence: a command with client != 0 that was applied already is not applied again: its remembered reply is given, refusals too. A client numbers its requests from 1, ascending, and says with each which
 * are answered (`acknowledged`: all up to it), so that their replies may be forgotten. A request at or below that is MANTA_ESTALE. A client that is not heard of for client_ms is forgotten.
 *
 * Revisions count the well-formed commands, those inside a batch too: so no two changes by different commands have the same one, and a condition on a revision never holds by accident. A reply to a query has the
 * revision of the state that it saw: a watcher that lists first takes the events above it.
 *
 * Locks: a grant has a fencing token, which grows with every grant of any lock and is never given twice; a lease ends lease_ms after its last renewal in the leader's time, by any later command (GCS_TICK is
 * submitted by the leader when gcs_core_next_expiry says so). Waiters are served first come, first served; one that vanished costs the others one lease.
 */
#ifndef MANTA_GCS_CORE_H
#define MANTA_GCS_CORE_H

#include <manta/msgpack.h>
#include <manta/status.h>

typedef struct gcs_core gcs_core;

typedef struct gcs_head {
    uint16_t version; /* 1 */
    uint16_t kind;    /* gcs_kind */
    uint32_t zero;
    uint64_t client, request, acknowledged; /* client 0: none of the three */
    uint64_t now_ms;                        /* stamped by the leader when it submits */
} gcs_head;
_Static_assert(sizeof(gcs_head) == 40, "part of the log's format");

typedef struct gcs_limits {  /* 0: the default. The same on all servers of a cluster: they are part of the state */
    uint64_t kv_bytes;       /* 256 MiB, keys and values and what they cost */
    uint64_t lineage_bytes;  /* 256 MiB for each job */
    uint64_t table_bytes;    /* 64 MiB for each of the others */
    uint64_t value_bytes;    /* 1 MiB: one value, spec or raw field; at most 32 MiB */
    uint32_t client_ms;      /* 600000 */
    uint32_t client_replies; /* 1024: remembered for each client; a client with more outstanding gets MANTA_ELIMIT */
} gcs_limits;

/* What changed, for watchers. Pointers are valid during the call. */
typedef struct gcs_event {
    uint64_t revision;
    uint32_t table;    /* gcs_table */
    bool is_gone;      /* removed; else new or changed */
    manta_bytes key;   /* bytes: see gcs_table.h */
    manta_bytes value; /* the row as a query would give it; empty when gone */
} gcs_event;
typedef void (*gcs_watch)(void *context, const gcs_event *event);

manta_status gcs_core_new(const gcs_limits *limits, gcs_core **out); /* MANTA_ENOMEM */
void gcs_core_free(gcs_core *c);                                     /* NULL is fine */

/* Applies the command of log entry `index` (ascending). The reply (MessagePack: [status, text, revision, result]) is appended to `reply`; events go to `watch` (may be NULL) before it returns. MANTA_ENOMEM: the
 * state may be half changed: this server must stop and start again from its disk. MANTA_ELIMIT: `reply` is full, the same. Nothing else is returned: bad commands have a reply. */
manta_status gcs_core_apply(
    gcs_core *c, uint64_t index, const void *command, size_t size, gcs_watch watch, void *context, manta_writer *reply);
/* Answers a question from the state; changes nothing. Reply as above. */
manta_status gcs_core_query(const gcs_core *c, const void *query, size_t size, manta_writer *reply);

/* Every row whose key begins with the prefix, in order of key, as an event; for those who begin to watch. False: out of memory before all were visited. */
bool gcs_core_each(const gcs_core *c, uint32_t table, manta_bytes prefix, gcs_watch visit, void *context);

/* ms of the leader's time: a GCS_TICK then will end a lease or forget a client; UINT64_MAX: none */
uint64_t gcs_core_next_expiry(const gcs_core *c);
uint64_t gcs_core_now(const gcs_core *c);  /* the greatest now_ms seen: a new leader stamps at least this */
uint64_t gcs_core_hash(const gcs_core *c); /* of the whole state, in O(its size); equal on servers that applied the same */

typedef bool (*gcs_save)(void *context, const void *bytes, size_t size);
/* Layout: snapshot.c. MANTA_ENOMEM: write said false, or no memory. */
manta_status gcs_core_save(const gcs_core *c, gcs_save write, void *context);
/* Replaces all, limits too. text: 256 bytes. MANTA_EDECODE with byte and reason, MANTA_ENOMEM: c is then empty. */
manta_status gcs_core_load(gcs_core *c, const void *bytes, size_t size, char *text);

typedef struct gcs_usage {
    uint64_t items, bytes, limit_bytes, refused, dropped;
} gcs_usage;
gcs_usage gcs_core_usage(const gcs_core *c, uint32_t table);

#endif
