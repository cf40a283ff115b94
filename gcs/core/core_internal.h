/*
 * What the sources of the core share: its state, the run of one command, the tables with their indexes.
 *
 * A row is immutable but for its numbers: to change one, copy it, change the copy, table_put. Views in the copy may point into the old row.
 * A function that returns false has set run->status and text (a refusal: nothing was changed by it) or run->fatal (out of memory: the state is lost).
 */
#ifndef MANTA_GCS_CORE_INTERNAL_H
#define MANTA_GCS_CORE_INTERNAL_H

#include "gcs/core/gcs_command.h"
#include "gcs/core/ordered.h"
#include "scheduler/base/id_table.h"

#define GCS_TIME_MAX (UINT64_C(1) << 62) /* so that a lease added to it is greater */
enum { INDEXES = 6, KEY_BYTES = 2 * GCS_STRING_BYTES + 64, ROW_COST = 256 };

typedef struct table_state {
    ordered_map rows, index[INDEXES]; /* values: struct row */
    gcs_usage usage;
} table_state;

/* Lineage: a hash by id; the records of each job in order of arrival, and of those dropped for the budget the ids. */
typedef struct lineage_record lineage_record;
typedef struct lineage_list {
    lineage_record *oldest, *newest;
    uint64_t bytes;
} lineage_list;
typedef struct lineage_job {
    uint64_t id;
    uint64_t ends_ms; /* its driver is lost: when its lineage goes, unless somebody keeps it; 0: it runs */
    lineage_list here, gone;
} lineage_job;
typedef struct lineage {
    lineage_record **slots;
    size_t mask, count; /* slots: a power of two, mask + 1 */
    ordered_map jobs;
    uint64_t next_end_ms; /* not after the first of ends_ms; 0: there is none */
    gcs_usage usage;
} lineage;

typedef struct client client;
typedef struct clients {
    id_table by_id;
    client *oldest, *newest; /* by when they were last heard of */
    gcs_usage usage;
} clients;

struct gcs_core {
    gcs_limits limits;
    uint64_t index, revision, now_ms, token, ticket;
    table_state tables[GCS_TABLE_END];
    lineage lineage;
    clients clients;
    manta_writer scratch; /* rows for the watcher */
};

typedef struct gcs_run {
    gcs_core *c;          /* NULL in a query */
    const gcs_core *view; /* the same, to read */
    gcs_watch watch;
    void *context;
    manta_writer *out; /* a handler appends its result, or nothing */
    manta_status status, fatal;
    uint64_t detail; /* the result of a refusal that has one */
    bool has_detail, in_batch;
    char text[256];
} gcs_run;

/* ---- core.c ---- */
bool gcs_refuse(gcs_run *x, manta_status status, const char *format, ...) MANTA_PRINTF(3, 4); /* false */
bool gcs_refuse_with(gcs_run *x, uint64_t detail, manta_status status, const char *format, ...) MANTA_PRINTF(4, 5);
bool gcs_out_of_memory(gcs_run *x); /* false */
void gcs_core_clear(gcs_core *c);   /* without anything, limits kept */
void gcs_pack_number(gcs_run *x, uint64_t v);
/* Runs one command or query and appends its reply. */
void gcs_run_one(gcs_run *x, const void *command, size_t size);

/* ---- keys ---- */
typedef struct key {
    size_t size;
    unsigned char bytes[KEY_BYTES];
} key;
void key_add(key *k, manta_str text);
void key_add_end(key *k, manta_str text); /* and a 0 behind it */
void key_add_number(key *k, uint64_t v);
void key_of_text(key *k, manta_str text);
void key_of_number(key *k, uint64_t v);
void key_of_pair(key *k, manta_str first, manta_str second); /* first, 0, second */
static inline bool text_equal(manta_str a, manta_str b) { return a.size == b.size && (!a.size || memcmp(a.data, b.data, a.size) == 0); }

/* ---- table.c ---- */
typedef struct table_kind {
    void (*key)(const void *fields, key *out);
    bool (*index[INDEXES])(const void *fields, key *out); /* false: not in this index. Keys must be unique. */
    int evicts;                                           /* 1 + the index whose first row goes when the table is full; 0: none goes */
    bool has_values;                                      /* rows that are there are refused to grow, too, when it is full */
} table_kind;

const void *table_get(const gcs_core *c, gcs_table t, const key *k); /* fields, or NULL */
const void *table_get_number(const gcs_core *c, gcs_table t, uint64_t id);
/* The first row of the index whose key begins so; or with this number, or at all. NULL: none. */
const void *table_first(const gcs_core *c, gcs_table t, int index, const key *prefix);
const void *table_first_number(const gcs_core *c, gcs_table t, int index, uint64_t number);
const void *table_first_of_all(const gcs_core *c, gcs_table t, int index);
/* Makes or replaces the row with the key of these fields; sets created and revision; tells the watcher. */
bool table_put(gcs_run *x, gcs_table t, void *fields);
bool table_remove(gcs_run *x, gcs_table t, const void *fields); /* of a row as table_get gave it, which is then gone */
bool table_excludes(
    const gcs_core *c, gcs_table t, const void *fields); /* a row that is there has what only one can have: a name, a place in a queue */
bool table_load(gcs_core *c, gcs_table t, const void *fields); /* as it is, from a snapshot; false: no memory */
void table_fini(gcs_core *c, gcs_table t);
void table_reply(gcs_run *x, gcs_table t, const void *fields); /* the row as result */
/* The row with this key, or ENOTFOUND. */
void table_reply_key(gcs_run *x, gcs_table t, const key *k, const char *what);
void table_reply_number(gcs_run *x, gcs_table t, uint64_t id, const char *what);
const void *row_fields(const ordered_node *n);

extern const table_kind table_kinds[GCS_TABLE_END];

/* ---- handlers ---- */
#define HANDLER_DECLARE(name_, value_, struct_) void handle_##struct_(gcs_run *x, const gcs_##struct_ *f);
GCS_KINDS(HANDLER_DECLARE)
#undef HANDLER_DECLARE

/* ---- what follows from what ---- */
void locks_expire(gcs_run *x);
void process_died(gcs_run *x, uint64_t process, uint64_t node, manta_str reason);
void actors_of_process_died(gcs_run *x, uint64_t process, manta_str reason);
void actors_of_node_died(gcs_run *x, uint64_t node, manta_str reason);
void actors_of_job_ended(gcs_run *x, uint64_t job, manta_str reason);
void actor_log_forget(gcs_run *x, uint64_t uid); /* of one that is dead */
void group_members_left(gcs_run *x, int index, uint64_t id);
void placements_left(gcs_run *x, int index, uint64_t id);
void jobs_of_driver_failed(gcs_run *x, uint64_t process, manta_str reason);
void jobs_of_node_failed(gcs_run *x, uint64_t node, manta_str reason);
bool process_is_dead(const gcs_core *c, uint64_t process);
bool node_is_dead(const gcs_core *c, uint64_t node);
bool job_is_over(const gcs_core *c, uint64_t job); /* known, and not running */

/* The indexes, by number, as table.c lists them. */
enum {
    LOCK_BY_EXPIRY = 0,
    WAITER_BY_HOLDER = 0,
    PROCESS_BY_NODE = 0,
    PROCESS_GONE = 1,
    GROUP_BY_PROCESS = 0,
    GROUP_BY_NODE = 1,
    GROUP_BY_ACTOR = 2
};
enum { ACTOR_BY_NAME = 0, ACTOR_BY_PROCESS = 1, ACTOR_BY_NODE = 2, ACTOR_BY_OWNER = 3, ACTOR_BY_JOB = 4, ACTOR_GONE = 5 };
enum { JOB_BY_DRIVER = 0, JOB_GONE = 1, JOB_BY_NODE = 2, PLACEMENT_BY_JOB = 0, PLACEMENT_BY_PROCESS = 1 };

/* ---- lineage.c ---- */
void lineage_fini(lineage *l);
void lineage_job_ended(gcs_core *c, uint64_t job, bool is_failed); /* is_failed: others may still have refs */
void lineage_expire(gcs_core *c);
manta_status lineage_load(gcs_core *c, const gcs_lineage_row *row); /* in the order of lineage_walk; MANTA_EEXIST: has it already */
/* Every record, by job, the gone ones first, the oldest first. False: stop said so. */
bool lineage_walk(const lineage *l, bool (*visit)(void *context, const gcs_lineage_row *row), void *context);

/* ---- clients.c ---- */
void clients_fini(clients *s);
void clients_expire(gcs_core *c);
uint64_t clients_next_expiry(const gcs_core *c);
/* True: to be run. False: the reply was appended (a remembered one), or refused. */
bool clients_admit(gcs_run *x, const gcs_head *head);
void clients_remember(gcs_run *x, const gcs_head *head, const void *reply, size_t size);
manta_status clients_load(gcs_core *c, const gcs_client_row *row);
manta_status clients_load_reply(gcs_core *c, uint64_t request, manta_bytes reply); /* of the client that was loaded last */
typedef struct clients_visitor {
    void *context;
    bool (*client)(void *context, const gcs_client_row *row);
    bool (*reply)(void *context, uint64_t request, manta_bytes reply);
} clients_visitor;
bool clients_walk(const clients *s, const clients_visitor *v);

#endif
