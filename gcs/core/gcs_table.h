/*
 * The tables of the global control store, and what a row of each holds. A row is given by queries and events as an array of these fields in this order; gcs_read_kv_row and so on read one.
 * created, revision: when the row was made and last changed. Numbers that are not known are 0, text "".
 *
 * X(name, wire value, row struct, fields). `key` of an event, and what GCS_LIST's prefix and after mean, is written beside each: 8-byte numbers are big-endian.
 */
#ifndef MANTA_GCS_TABLE_H
#define MANTA_GCS_TABLE_H

#include "gcs/core/schema.h"

#define GCS_TABLES(X) \
    X(KV, 1, kv_row, GCS_ROW_KV)                      /* space, 0, key */ \
    X(LOCK, 2, lock_row, GCS_ROW_LOCK)                /* name; a lock that nobody holds has no row */ \
    X(WAITER, 3, waiter_row, GCS_ROW_WAITER)          /* name, 0, ticket: in the order in which they are served */ \
    X(NODE, 4, node_row, GCS_ROW_NODE)                /* id */ \
    X(PROCESS, 5, process_row, GCS_ROW_PROCESS)       /* id */ \
    X(ACTOR, 6, actor_row, GCS_ROW_ACTOR)             /* uid */ \
    X(GROUP, 7, group_row, GCS_ROW_GROUP)             /* name, 0, actor, process, local */ \
    X(JOB, 8, job_row, GCS_ROW_JOB)                   /* id */ \
    X(PLACEMENT, 9, placement_row, GCS_ROW_PLACEMENT) /* id */ \
    X(CONFIG, 10, config_row, GCS_ROW_KV)             /* key; space is "" */ \
    X(LINEAGE, 11, lineage_row, GCS_ROW_LINEAGE)      /* no events, no list */ \
    X(CLIENT, 12, client_row, GCS_ROW_CLIENT)         /* no events, no list */

typedef enum gcs_table {
#define GCS_TABLE_ENUM(name_, value_, row_, fields_) GCS_TABLE_##name_ = value_,
    GCS_TABLES(GCS_TABLE_ENUM)
#undef GCS_TABLE_ENUM
        GCS_TABLE_END
} gcs_table;

#define GCS_ROW_KV(F) F(u64, created) F(u64, revision) F(str, space) F(str, key) F(bytes, value)

/* expires_ms: in the leader's time. */
#define GCS_ROW_LOCK(F) F(u64, created) F(u64, revision) F(str, name) F(str, holder) F(u64, token) F(u64, lease_ms) F(u64, expires_ms)
#define GCS_ROW_WAITER(F) F(u64, created) F(u64, revision) F(str, name) F(str, holder) F(u64, lease_ms) F(u64, ticket)

/* epoch: of the incarnation. cores: in 1/10000. memory: bytes. resources, labels: maps, as the node gave them. */
#define GCS_ROW_NODE(F) \
    F(u64, created) \
    F(u64, revision) \
    F(u64, id) \
    F(u64, epoch) \
    F(u64, state) F(str, address) F(str, host) F(u64, pid) F(u64, cores) F(u64, memory) F(raw, resources) F(raw, labels) F(str, reason)

/* A process that only died is a row too, so that nothing is placed on it any more. role: worker, driver, daemon or what its node calls it. */
#define GCS_ROW_PROCESS(F) \
    F(u64, created) F(u64, revision) F(u64, id) F(u64, node) F(u64, state) F(str, address) F(u64, pid) F(str, role) F(str, reason)

/* epoch: of the placement, 0 before the first. restarts: how many of max_restarts (-1: endless) are used. node, process, local, address: where it is, or was last. */
#define GCS_ROW_ACTOR(F) \
    F(u64, created) \
    F(u64, revision) \
    F(u64, uid) \
    F(u64, epoch) \
    F(u64, state) \
    F(str, class_name) \
    F(str, space) \
    F(str, name) \
    F(u64, job) \
    F(u64, owner) \
    F(flag, detached) \
    F(i64, max_restarts) \
    F(u64, restarts) \
    F(u64, node) \
    F(u64, process) \
    F(u64, local) \
    F(str, address) \
    F(str, reason) \
    F(bytes, spec)

#define GCS_ROW_GROUP(F) F(u64, created) F(u64, revision) F(str, name) F(u64, actor) F(u64, process) F(u64, local) F(u64, node)
#define GCS_ROW_JOB(F) \
    F(u64, created) F(u64, revision) F(u64, id) F(str, name) F(str, space) F(u64, driver) F(u64, node) F(u64, state) F(str, reason)
#define GCS_ROW_PLACEMENT(F) \
    F(u64, created) \
    F(u64, revision) F(u64, id) F(u64, job) F(u64, process) F(str, name) F(str, strategy) F(u64, state) F(raw, bundles) F(raw, assignment)
#define GCS_ROW_LINEAGE(F) F(u64, high) F(u64, low) F(u64, job) F(u64, ends_ms) F(u64, why_gone) F(bytes, spec)
#define GCS_ROW_CLIENT(F) F(u64, id) F(u64, heard_ms) F(u64, acknowledged)

typedef enum gcs_node_state { GCS_NODE_STATE_ALIVE = 1, GCS_NODE_STATE_DRAINING = 2, GCS_NODE_STATE_DEAD = 3 } gcs_node_state;
typedef enum gcs_process_state { GCS_PROCESS_STATE_ALIVE = 1, GCS_PROCESS_STATE_DEAD = 2 } gcs_process_state;
typedef enum gcs_actor_state {
    GCS_ACTOR_STATE_PENDING = 1,
    GCS_ACTOR_STATE_ALIVE = 2,
    GCS_ACTOR_STATE_RESTARTING = 3,
    GCS_ACTOR_STATE_DEAD = 4
} gcs_actor_state;
typedef enum gcs_job_state {
    GCS_JOB_STATE_RUNNING = 1,
    GCS_JOB_STATE_SUCCEEDED = 2,
    GCS_JOB_STATE_FAILED = 3,
    GCS_JOB_STATE_STOPPED = 4
} gcs_job_state;
typedef enum gcs_why_gone {
    GCS_LINEAGE_HERE = 0,
    GCS_LINEAGE_OVER_BUDGET = 1, /* dropped for newer records of the job */
} gcs_why_gone;

/* GCS_TABLES makes for each table the struct (gcs_kv_row), its schema (gcs_schema_kv_row) and
 *     void gcs_read_kv_row(manta_reader *r, gcs_kv_row *out);        views into the reader's data; r->status says whether it was one */
#define GCS_ROW_DECLARE(name_, value_, row_, fields_) \
    GCS_STRUCT(gcs_##row_, fields_); \
    extern const gcs_schema gcs_schema_##row_; \
    static inline void gcs_read_##row_(manta_reader *r, gcs_##row_ *out) { gcs_unpack(r, &gcs_schema_##row_, out); }
GCS_TABLES(GCS_ROW_DECLARE)
#undef GCS_ROW_DECLARE

const gcs_schema *gcs_row_schema(uint32_t table); /* NULL: no such table */
const char *gcs_table_name(uint32_t table);       /* "KV"; "?" */

#endif
