/*
 * The commands and queries of the global control store: what is in each, what it answers, and a builder for each.
 *
 *     gcs_write_kv_put(&w, &(gcs_head){.client = 7, .request = 1}, &(gcs_kv_put){.space = manta_str_of("app"), .key = manta_str_of("x"), .value = bytes});
 *     ... gcs_core_apply(core, index, w.start, manta_writer_size(&w), watch, context, &answer) ...
 *     gcs_reply reply;
 *     if (gcs_reply_read(answer.start, manta_writer_size(&answer), &reply)) ... not a reply
 *     reply.status, reply.text, reply.revision, and reply.result for a reader
 *
 * On the wire: gcs_head, then one array of the fields in the order below. Text is str without NUL, at most 1024 bytes (MANTA_ETOOLONG, MANTA_EINVAL); values and specs are bin, at most
 * gcs_limits.value_bytes (MANTA_ETOOLONG); raw is any one value. Any kind may give MANTA_EDECODE (malformed), MANTA_EUNSUPPORTED (kind or version unknown) and, when its table is full, MANTA_ELIMIT; commands with a client
 * MANTA_ESTALE (request acknowledged already) and MANTA_ELIMIT (too many replies wait to be acknowledged). `result` is nil where none is named.
 *
 * Ids are the callers' and not 0 (MANTA_EINVAL); those of processes, actors, jobs and placement groups are never used again. Text "" and number 0 mean "none".
 */
#ifndef MANTA_GCS_COMMAND_H
#define MANTA_GCS_COMMAND_H

#include "gcs/core/gcs_core.h"
#include "gcs/core/gcs_table.h"

/* X(name, wire value, struct): commands below 1000, queries from there. The fields of each are below as GCS_FIELDS_name. */
#define GCS_COMMANDS(X) \
    X(TICK, 1, tick) \
    X(BATCH, 2, batch) \
    X(KV_PUT, 10, kv_put) \
    X(KV_DELETE, 11, kv_delete) \
    X(LOCK_ACQUIRE, 20, lock_acquire) \
    X(LOCK_RENEW, 21, lock_renew) \
    X(LOCK_RELEASE, 22, lock_release) \
    X(LOCK_WITHDRAW, 23, lock_withdraw) \
    X(NODE_JOIN, 30, node_join) \
    X(NODE_UPDATE, 31, node_update) \
    X(NODE_DRAIN, 32, node_drain) \
    X(NODE_DEAD, 33, node_dead) \
    X(PROCESS_START, 40, process_start) \
    X(PROCESS_DEAD, 41, process_dead) \
    X(ACTOR_REGISTER, 50, actor_register) \
    X(ACTOR_PLACED, 51, actor_placed) \
    X(ACTOR_RESTARTING, 52, actor_restarting) \
    X(ACTOR_DEAD, 53, actor_dead) \
    X(ACTOR_LOG, 54, actor_log) \
    X(ACTOR_SAVE, 55, actor_save) \
    X(GROUP_JOIN, 60, group_join) \
    X(GROUP_LEAVE, 61, group_leave) \
    X(JOB_START, 70, job_start) \
    X(JOB_END, 71, job_end) \
    X(PLACEMENT_PUT, 80, placement_put) \
    X(PLACEMENT_REMOVE, 81, placement_remove) \
    X(LINEAGE_ADD, 90, lineage_add) \
    X(LINEAGE_DROP, 91, lineage_drop) \
    X(LINEAGE_KEEP, 92, lineage_keep) \
    X(CONFIG_SET, 100, config_set)
#define GCS_QUERIES(X) \
    X(LIST, 1000, list) \
    X(STATS, 1001, stats) \
    X(KV_GET, 1010, kv_get) \
    X(KV_LIST, 1011, kv_list) \
    X(LOCK_GET, 1020, lock_get) \
    X(NODE_GET, 1030, node_get) \
    X(PROCESS_GET, 1040, process_get) \
    X(ACTOR_GET, 1050, actor_get) \
    X(ACTOR_FIND, 1051, actor_find) \
    X(GROUP_MEMBERS, 1060, group_members) \
    X(JOB_GET, 1070, job_get) \
    X(PLACEMENT_GET, 1080, placement_get) \
    X(LINEAGE_GET, 1090, lineage_get) \
    X(CONFIG_GET, 1100, config_get)
#define GCS_KINDS(X) GCS_COMMANDS(X) GCS_QUERIES(X)

typedef enum gcs_kind {
#define GCS_KIND_ENUM(name_, value_, struct_) GCS_##name_ = value_,
    GCS_KINDS(GCS_KIND_ENUM)
#undef GCS_KIND_ENUM
} gcs_kind;
enum { GCS_FIRST_QUERY = 1000 };

/* Nothing but the time: leases end, clients are forgotten. */
#define GCS_FIELDS_TICK(F)
/* commands: array of bin, each a command with its own head (now_ms is ignored), done in order, each by itself. Result: array of their replies. A batch in it: MANTA_EUNSUPPORTED. */
#define GCS_FIELDS_BATCH(F) F(list, commands)

/* when: a gcs_condition on the row; if_revision: of GCS_IF_REVISION, 0 being "no row". Result: the new revision. MANTA_EEXIST, MANTA_ESTALE: the condition does not hold; result: the revision that is, 0 without a row.
 * space and key are not "" (MANTA_EINVAL). */
#define GCS_FIELDS_KV_PUT(F) F(str, space) F(str, key) F(bytes, value) F(u64, when) F(u64, if_revision)
/* The same conditions. MANTA_ENOTFOUND: no such row. */
#define GCS_FIELDS_KV_DELETE(F) F(str, space) F(str, key) F(u64, when) F(u64, if_revision)

/* lease_ms: 1 to 86400000, name: not "" (MANTA_EINVAL). Result: gcs_lock_result. Granted at once, or held already by this holder (then the lease is renewed); or, if wait, queued: the grant comes as an event of the table LOCK with this holder.
 * Not granted and position 0: held, and not asked to wait. At most 4096 wait for one lock (MANTA_ELIMIT). */
#define GCS_FIELDS_LOCK_ACQUIRE(F) F(str, name) F(str, holder) F(u64, lease_ms) F(flag, wait)
/* lease_ms 0: the same as before. Result: gcs_lock_result. MANTA_ESTALE: this holder does not hold it with this token. */
#define GCS_FIELDS_LOCK_RENEW(F) F(str, name) F(str, holder) F(u64, token) F(u64, lease_ms)
/* The next in the queue has it then. MANTA_ESTALE as above. */
#define GCS_FIELDS_LOCK_RELEASE(F) F(str, name) F(str, holder) F(u64, token)
/* Out of the queue. MANTA_ENOTFOUND: not in it. MANTA_EEXIST: was granted meanwhile; result: the token. */
#define GCS_FIELDS_LOCK_WITHDRAW(F) F(str, name) F(str, holder)

/* A node (or a new incarnation of it, then the old one is dead first). Joining again with the same epoch replaces what it says. Result: its row. MANTA_ESTALE: this epoch is dead or older than the node's. */
#define GCS_FIELDS_NODE_JOIN(F) \
    F(u64, id) F(u64, epoch) F(str, address) F(str, host) F(u64, pid) F(u64, cores) F(u64, memory) F(raw, resources) F(raw, labels)
/* For the next three: MANTA_ENOTFOUND: no such node; MANTA_ESTALE: another epoch, or dead. (Reporting a dead one dead again is MANTA_OK.) */
#define GCS_FIELDS_NODE_UPDATE(F) F(u64, id) F(u64, epoch) F(u64, cores) F(u64, memory) F(raw, resources) F(raw, labels)
#define GCS_FIELDS_NODE_DRAIN(F) F(u64, id) F(u64, epoch) F(str, reason)
/* Its processes are dead with it (see PROCESS_DEAD), and whatever else was there. */
#define GCS_FIELDS_NODE_DEAD(F) F(u64, id) F(u64, epoch) F(str, reason)

/* MANTA_ESTALE: is dead, or its node is. Again: replaces what it says. Result: its row. */
#define GCS_FIELDS_PROCESS_START(F) F(u64, id) F(u64, node) F(str, address) F(u64, pid) F(str, role)
/* Also of one that was never started. Jobs that it drives fail (see JOB_END); of the actors that it owns, those that are PENDING die, and those that are neither detached nor a job's; actors placed there are RESTARTING, or DEAD when max_restarts is used up; group members there leave; its placement groups go. */
#define GCS_FIELDS_PROCESS_DEAD(F) F(u64, id) F(str, reason)

/* A new actor, PENDING. Result: gcs_actor_result. is_new false: the same uid was registered before, or (get_if_exists) the name is taken: the row is the one that exists. MANTA_EEXIST: the name is taken; result: the uid.
 * MANTA_EDEAD: not detached and its owner is dead, or its job is over. MANTA_EINVAL: max_restarts below -1. Names are unique in their space while the actor is not DEAD. */
#define GCS_FIELDS_ACTOR_REGISTER(F) \
    F(u64, uid) \
    F(str, class_name) \
    F(str, space) F(str, name) F(u64, job) F(u64, owner) F(flag, detached) F(i64, max_restarts) F(bytes, spec) F(flag, get_if_exists)
/* Runs there. epoch: above the actor's; or the same with the same place, which changes nothing. Result: its row. MANTA_ENOTFOUND: no such actor. MANTA_ESTALE: older epoch, or process or node is dead; result: the actor's epoch.
 * MANTA_EDEAD: the actor is. */
#define GCS_FIELDS_ACTOR_PLACED(F) F(u64, uid) F(u64, epoch) F(u64, node) F(u64, process) F(u64, local) F(str, address)
/* It ended at this epoch and wants a restart: RESTARTING, or DEAD when none is left. Already RESTARTING: unchanged. Result: its row. Errors as ACTOR_PLACED. */
#define GCS_FIELDS_ACTOR_RESTARTING(F) F(u64, uid) F(u64, epoch) F(str, reason)
/* For good. epoch: at least the actor's (MANTA_ESTALE). Dead already: MANTA_OK. Result: its row. MANTA_ENOTFOUND. */
#define GCS_FIELDS_ACTOR_DEAD(F) F(u64, uid) F(u64, epoch) F(str, reason)
/* For the two of a durable actor: what they keep are rows of KV in the space GCS_ACTOR_SPACE, named by gcs_actor_key, which go when the actor is DEAD. MANTA_ESTALE: this epoch is not the actor's, or it is not ALIVE; result: the
 * actor's epoch. MANTA_EDEAD: it is DEAD. MANTA_ENOTFOUND. MANTA_EINVAL: number is 0.
 * Record `number` of its log, those from 1 up. The same number again, in the same epoch: nothing. */
#define GCS_FIELDS_ACTOR_LOG(F) F(u64, uid) F(u64, epoch) F(u64, number) F(bytes, record)
/* Its state after record `number`, in the place of the one before; the records up to it go. An older number than the state that is there: MANTA_ESTALE. */
#define GCS_FIELDS_ACTOR_SAVE(F) F(u64, uid) F(u64, epoch) F(u64, number) F(bytes, state)

/* A member is an actor by uid, or (actor 0) a local one of a process. Both ways idempotent. MANTA_ESTALE: the process is dead. */
#define GCS_FIELDS_GROUP_JOIN(F) F(str, name) F(u64, actor) F(u64, process) F(u64, local) F(u64, node)
#define GCS_FIELDS_GROUP_LEAVE(F) F(str, name) F(u64, actor) F(u64, process) F(u64, local)

/* Result: its row. The same id again: the row that exists. MANTA_EDEAD: the driver is. */
#define GCS_FIELDS_JOB_START(F) F(u64, id) F(str, name) F(str, space) F(u64, driver) F(u64, node)
/* state: one of the ends (MANTA_EINVAL). Its actors that are not detached die, its placement groups go, and its lineage: of one that FAILED later, see LINEAGE_KEEP. Ended already: MANTA_OK, unchanged. Result: its row. MANTA_ENOTFOUND. */
#define GCS_FIELDS_JOB_END(F) F(u64, id) F(u64, state) F(str, reason)

/* Makes or replaces. process: that the group ends with; 0: none. if_revision: 0: any; else MANTA_ESTALE when the row has another; result: that. MANTA_EDEAD: the job is over, or the process dead. Result: the new revision. state: the caller's. */
#define GCS_FIELDS_PLACEMENT_PUT(F) \
    F(u64, id) \
    F(u64, job) F(u64, process) F(str, name) F(str, strategy) F(u64, state) F(raw, bundles) F(raw, assignment) F(u64, if_revision)
#define GCS_FIELDS_PLACEMENT_REMOVE(F) F(u64, id) /* MANTA_ENOTFOUND */

/* records: array of [high, low, spec bin], high and low being the object's id. Result: gcs_lineage_result. An id that is there stays as it is. Above gcs_limits.lineage_bytes of the job its oldest go, and LINEAGE_GET says so.
 * job 0 is nobody's; else it must run, or have failed and its lineage still be there: MANTA_EDEAD. A malformed record: MANTA_EDECODE, nothing was added. */
#define GCS_FIELDS_LINEAGE_ADD(F) F(u64, job) F(list, records)
#define GCS_FIELDS_LINEAGE_DROP(F) F(list, ids) /* array of high, low, high, low ... Result: how many were there */
/* The lineage of a job that failed goes GCS_LINEAGE_KEPT_MS later, or after the last of these; nothing happens when the job runs. MANTA_ENOTFOUND. */
#define GCS_FIELDS_LINEAGE_KEEP(F) F(u64, job)
enum { GCS_LINEAGE_KEPT_MS = 600000 };

#define GCS_FIELDS_CONFIG_SET(F) \
    F(str, key) F(bytes, value) F(flag, remove) /* key: not "" (MANTA_EINVAL). Removing one that is not there: MANTA_OK */

/* Rows of a table in order of key, those whose key begins with prefix, after the key `after` ("" from the start), at most limit (0: 1000). state, class_name, node, job: 0 and "": any; a table that has no such field: MANTA_EINVAL.
 * brief: without value and spec. Result: [rows, next]: next is what to give as `after` for the rest; "" : that was all. An answer ends early at 1 MiB or after 65536 rows looked at. */
#define GCS_FIELDS_LIST(F) \
    F(u64, table) F(bytes, prefix) F(bytes, after) F(u64, limit) F(u64, state) F(str, class_name) F(u64, node) F(u64, job) F(flag, brief)
#define GCS_FIELDS_STATS(F) /* Result: array of [table, items, bytes, limit_bytes, refused, dropped] */

/* One row; MANTA_ENOTFOUND. */
#define GCS_FIELDS_KV_GET(F) F(str, space) F(str, key)
#define GCS_FIELDS_LOCK_GET(F) F(str, name)
#define GCS_FIELDS_NODE_GET(F) F(u64, id)
#define GCS_FIELDS_PROCESS_GET(F) F(u64, id)
#define GCS_FIELDS_ACTOR_GET(F) F(u64, id)
#define GCS_FIELDS_ACTOR_FIND(F) F(str, space) F(str, name) /* not one that is DEAD */
#define GCS_FIELDS_JOB_GET(F) F(u64, id)
#define GCS_FIELDS_PLACEMENT_GET(F) F(u64, id)
#define GCS_FIELDS_LINEAGE_GET(F) F(u64, high) F(u64, low) /* ENOTFOUND's result: a gcs_why_gone; 0: never heard of, or forgotten */
#define GCS_FIELDS_CONFIG_GET(F) F(str, key)
/* Like LIST; after: a key of the space. */
#define GCS_FIELDS_KV_LIST(F) F(str, space) F(str, prefix) F(str, after) F(u64, limit) F(flag, brief)
#define GCS_FIELDS_GROUP_MEMBERS(F) F(str, name) F(bytes, after) F(u64, limit)

#define GCS_ACTOR_SPACE "manta.actor"
enum { GCS_ACTOR_KEY = 40 };
/* "UID/NUMBER" of a record of the log, in hexadecimal, with a 0 behind it; number 0: of the state, which begins with its number, 8 bytes, big-endian. The records' keys are in the order of their numbers, behind the state's. */
void gcs_actor_key(char out[GCS_ACTOR_KEY], uint64_t uid, uint64_t number);

typedef enum gcs_condition { GCS_ALWAYS = 0, GCS_IF_ABSENT = 1, GCS_IF_REVISION = 2 } gcs_condition;

/* Results that are more than a number or a row. */
#define GCS_FIELDS_LOCK_RESULT(F) F(flag, granted) F(u64, token) F(u64, position) F(u64, expires_ms) F(str, holder)
#define GCS_FIELDS_ACTOR_RESULT(F) F(flag, is_new) F(raw, row)
#define GCS_FIELDS_LINEAGE_RESULT(F) F(u64, added) F(u64, dropped)
#define GCS_FIELDS_PAGE(F) F(list, rows) F(bytes, next)
#define GCS_RESULTS(X) X(LOCK_RESULT, lock_result) X(ACTOR_RESULT, actor_result) X(LINEAGE_RESULT, lineage_result) X(PAGE, page)

/* Appends head and fields. version and kind are filled in; the rest of *head is the caller's (NULL: all 0). w->status says whether it worked. */
void gcs_write(manta_writer *w, const gcs_head *head, gcs_kind kind, const void *fields);
void gcs_write_batch_of(manta_writer *w, const gcs_head *head, const manta_bytes *commands, uint32_t count);
/* The head of a command; false: shorter than one. */
bool gcs_read_head(const void *command, size_t size, gcs_head *out);
/* Stamps a command in place, as the leader does. */
void gcs_stamp(void *command, uint64_t now_ms);

/* GCS_KINDS makes for each the struct (gcs_kv_put), its schema (gcs_schema_kv_put) and
 *     void gcs_write_kv_put(manta_writer *w, const gcs_head *head, const gcs_kv_put *fields); */
#define GCS_KIND_DECLARE(name_, value_, struct_) \
    GCS_STRUCT(gcs_##struct_, GCS_FIELDS_##name_); \
    extern const gcs_schema gcs_schema_##struct_; \
    static inline void gcs_write_##struct_(manta_writer *w, const gcs_head *head, const gcs_##struct_ *fields) \
    { \
        gcs_write(w, head, GCS_##name_, fields); \
    }
GCS_KINDS(GCS_KIND_DECLARE)
#undef GCS_KIND_DECLARE

/* For each result the struct (gcs_lock_result) and void gcs_read_lock_result(manta_reader *r, gcs_lock_result *out). */
#define GCS_RESULT_DECLARE(name_, struct_) \
    GCS_STRUCT(gcs_##struct_, GCS_FIELDS_##name_); \
    extern const gcs_schema gcs_schema_##struct_; \
    static inline void gcs_read_##struct_(manta_reader *r, gcs_##struct_ *out) { gcs_unpack(r, &gcs_schema_##struct_, out); }
GCS_RESULTS(GCS_RESULT_DECLARE)
#undef GCS_RESULT_DECLARE

const gcs_schema *gcs_kind_schema(uint32_t kind); /* NULL: no such kind */
const char *gcs_kind_name(uint32_t kind);         /* "KV_PUT"; "?" */

typedef struct gcs_reply { /* views into the bytes read */
    manta_status status;
    manta_str text;     /* "" when MANTA_OK */
    uint64_t revision;  /* of a command: its own; of a query: of the state that it saw */
    manta_bytes result; /* one MessagePack value */
} gcs_reply;
manta_status gcs_reply_read(const void *bytes, size_t size, gcs_reply *out); /* MANTA_EDECODE */
manta_reader gcs_reply_reader(const gcs_reply *reply);                       /* at the result */

#endif
