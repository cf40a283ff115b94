/*
 * Raft (Ongaro, "Consensus: Bridging Theory and Practice", 2014) as a pure core: raft_step takes one event and the time, and says what to do. Inside there is no I/O, no clock,
 * no thread; equal settings and events give equal effects. One raft may be used by one thread at a time. Times are nanoseconds of any clock that does not go back.
 *
 * The host's loop: event -> raft_step -> effects, which belong to the core until the next step; of each step, in this order:
 *   1. `write`: queue it to the disk, which does writes in their order, each whole or (appended entries) a prefix of it; group commit is fine.
 *      When writes up to number n are durable: RAFT_PERSISTED n (one for a group).
 *   2. `messages`: send each when its `after_write` is durable; other messages need not wait. Messages may be lost, delayed, reordered and doubled.
 *   3. `chunk`: write the bytes to the file of the snapshot that is being received. They need not be durable before `restore`.
 *   4. `restore`: replace the state machine by the received snapshot (checking it: a host that finds it bad stops, and starts again from its disk).
 *   5. `apply_first`..`apply_last`: apply these entries (raft_entry_at): they are committed.
 *   6. `reads`, `change`, `take_snapshot`.
 *   7. a RAFT_TICK when the clock reaches raft_next_timeout, which every step may move.
 * Batching makes throughput: one RAFT_SUBMIT for all commands at hand, one RAFT_PERSISTED for a group commit.
 *
 * On disk a host keeps: term and vote; the entries; its newest snapshot with description. A snapshot's bytes go to a file of their own, in the
 * background; it counts, after a crash too, when the write with its description (`write.snapshot`) is durable, which replaces the one before. All that raft_start lists is read
 * back as those writes left it: the core needs no more.
 * A new cluster: each founder writes raft_bootstrap's entry as index 1 with term 1, the same everywhere, before its first start. A server that joins starts with nothing.
 *
 * Limits: RAFT_SERVERS_MAX servers; the log in memory by the settings (then RAFT_LOG_FULL, until a snapshot is taken); one change of membership at a time.
 */
#ifndef MANTA_GCS_RAFT_H
#define MANTA_GCS_RAFT_H

#include <manta/status.h>

#include "gcs/raft/raft_types.h"

/* X(name, text): why an event had no effect, or how a read or a change ended. */
#define RAFT_RESULT_TABLE(X) \
    X(OK, "success") \
    X(NOT_LEADER, "this server does not lead") \
    X(LEADERSHIP_LOST, "the leadership was lost meanwhile; the outcome is unknown") \
    X(TRANSFERRING, "the leadership is being transferred") \
    X(LOG_FULL, "the log is full until a snapshot is taken") \
    X(TOO_LARGE, "an entry is larger than the limit") \
    X(NO_MEMORY, "out of memory") \
    X(BUSY, "a change of membership is under way, or too many reads are") \
    X(NOT_READY, "no entry of this leader's term is committed yet") \
    X(NO_SERVER, "there is no such server in the configuration") \
    X(EXISTS, "the server is in the configuration already") \
    X(NOT_VOTER, "the server has no vote") \
    X(LAST_VOTER, "it is the last voter") \
    X(TOO_MANY, "the configuration has no room for another server") \
    X(TOO_SLOW, "the learner did not catch up") \
    X(STALE, "a newer snapshot is there already") \
    X(BAD_EVENT, "the event contradicts the state of this server") \
    X(BAD_MESSAGE, "the message is malformed or contradicts the protocol") \
    X(STOPPED, "this server has stopped")

typedef enum raft_result {
#define RAFT_RESULT_ENUM(name, text) RAFT_##name,
    RAFT_RESULT_TABLE(RAFT_RESULT_ENUM)
#undef RAFT_RESULT_ENUM
} raft_result;

const char *raft_result_text(raft_result result);

typedef enum raft_state { RAFT_FOLLOWER, RAFT_PRE_CANDIDATE, RAFT_CANDIDATE, RAFT_LEADER } raft_state;
const char *raft_state_name(raft_state state);

typedef struct raft raft;

typedef struct raft_settings { /* 0: the default */
    uint64_t id;               /* of this server; no default */
    uint64_t seed;             /* of the random part of election timeouts */
    uint64_t election_ns;      /* 300 ms; a timeout is this to twice this */
    uint64_t heartbeat_ns;     /* 50 ms; less than election_ns */
    uint32_t message_entries;  /* 4096: most entries in a message */
    uint32_t message_bytes;    /* 1 MiB: most bytes of entries in a message; one entry always fits */
    uint32_t inflight_entries; /* 65536: most entries sent to a follower and not acknowledged */
    uint32_t inflight_bytes;   /* 8 MiB; one message always fits */
    uint32_t chunk_bytes;      /* 1 MiB: of a snapshot in a message */
    uint32_t entry_bytes;      /* 16 MiB: largest entry to submit; at most RAFT_ENTRY_BYTES_MAX */
    uint32_t reads;            /* 4096: most reads that wait */
    uint64_t log_entries;      /* 2^20: most entries in memory */
    uint64_t log_bytes;        /* 256 MiB */
    uint64_t snapshot_entries; /* 65536: a snapshot is asked for after so many applied entries, */
    uint64_t snapshot_bytes;   /* 64 MiB: or so many bytes of them */
    uint64_t trailing_entries; /* 4096: kept in front of a snapshot, for followers that are a little behind; UINT64_MAX: 0 */
} raft_settings;

typedef struct raft_start { /* what the disk holds; all 0: a server that is to join */
    uint64_t term, vote;
    const raft_snapshot *snapshot; /* NULL: none */
    uint64_t first;                /* index of entries[0] */
    const raft_entry *entries;
    uint64_t count;
} raft_start;

/* The first entry of a new cluster (index 1, term 1), for its founders' disks; the caller releases out->buffer. MANTA_EINVAL with a text, MANTA_ENOMEM. */
manta_status raft_bootstrap(const raft_configuration *founders, raft_entry *out, char *text);

/* Takes references of the entries' buffers. MANTA_EINVAL: what was read from the disk contradicts itself, or a setting is out of range: `text` (RAFT_TEXT_LIMIT bytes) says
 * where. MANTA_ENOMEM. The next call is a RAFT_TICK; its `write` may discard entries that a snapshot covers. */
manta_status raft_new(const raft_settings *settings, const raft_start *start, uint64_t now_ns, raft **out, char *text);
void raft_free(raft *r); /* NULL is fine */

typedef enum raft_event_kind {
    RAFT_TICK,      /* the time has come (or not: harmless) */
    RAFT_RECEIVE,   /* a message for this server, from any server; it stays the caller's, the core retains buffers that it keeps */
    RAFT_SUBMIT,    /* commands to append, all or none; buffers are retained */
    RAFT_PERSISTED, /* every write up to this number is durable */
    RAFT_SNAPSHOT_TAKEN, /* the bytes of the host's own snapshot are durable; if RAFT_OK, `write.snapshot` makes it count, else it is to be dropped */
    RAFT_SNAPSHOT_FAILED, /* it could not be taken: the core asks again later */
    RAFT_READ,            /* wants to read what every client has seen so far (6.4) */
    RAFT_TRANSFER,        /* give the leadership to a voter (3.10), within one election timeout or not at all */
    RAFT_CHANGE,          /* of membership (chapter 4) */
} raft_event_kind;

typedef enum raft_change_kind {
    RAFT_ADD,     /* as learner */
    RAFT_PROMOTE, /* learner -> voter, as soon as it has caught up (4.2.1); RAFT_TOO_SLOW otherwise */
    RAFT_DEMOTE,  /* voter -> learner */
    RAFT_REMOVE,  /* a leader that removes or demotes itself leads until that is committed (4.2.2) */
} raft_change_kind;

typedef struct raft_event {
    raft_event_kind kind;
    uint64_t now_ns; /* of every event */
    union {
        const raft_message *message;
        struct {
            const raft_entry *entries; /* kind and term are ignored */
            uint32_t count;
        } submit;
        uint64_t persisted;
        struct {
            uint64_t index, identity, size_bytes;
        } snapshot;
        uint64_t token;    /* of a read: given back with its end */
        uint64_t transfer; /* to this server; 0: to the one that is closest */
        struct {
            raft_change_kind kind;
            uint64_t id, token;
            const char *address; /* RAFT_ADD */
        } change;
    };
} raft_event;

typedef struct raft_write { /* number 0: nothing to write. The parts in this order */
    uint64_t number;
    bool has_term; /* term and vote replace what is there */
    uint64_t term, vote;
    const raft_snapshot *snapshot; /* not NULL: the server's snapshot from now on, taken or received */
    uint64_t truncate_from;        /* 0, or: entries from this index on go */
    uint64_t append_first;         /* index of entries[0] */
    const raft_entry *entries;
    uint64_t count;
    uint64_t trim_before; /* 0, or: entries before this index may go, in front of a snapshot */
} raft_write;

typedef struct raft_read_end {
    uint64_t token;
    raft_result result; /* OK: read now, after `apply` */
} raft_read_end;

typedef struct raft_effects {
    raft_result result; /* of the event */
    raft_write write;
    const raft_message *messages;
    uint32_t message_count;
    struct { /* size 0 and not `last`: none */
        const raft_snapshot *snapshot;
        uint64_t offset; /* 0: a new file begins */
        const unsigned char *bytes;
        uint32_t size;
        bool last;
    } chunk;
    const raft_snapshot *restore;
    uint64_t apply_first, apply_last; /* 0, 0: none */
    uint64_t submitted_first;         /* RAFT_SUBMIT: index of its first entry */
    const raft_read_end *reads;
    uint32_t read_count;
    struct { /* how the change of membership with this token ended: in this step or not at all */
        bool ended;
        uint64_t token;
        raft_result result;
    } change;
    bool take_snapshot; /* of the state after `apply`; asked once, then RAFT_SNAPSHOT_TAKEN or _FAILED */
    bool state_changed; /* raft_status: the state, the leader or the term */
} raft_effects;

/* Never fails as a whole: an event that cannot be done says so in `result` and changes nothing, but that a message's higher term is still taken over. */
const raft_effects *raft_step(raft *r, const raft_event *event);

uint64_t raft_next_timeout(const raft *r); /* in ns; UINT64_MAX: never */

typedef struct raft_status {
    raft_state state;
    uint64_t id, term, vote, leader; /* leader 0: unknown */
    uint64_t first, last;            /* of the log in memory; last + 1 == first: empty */
    uint64_t commit, durable, snapshot;
    uint64_t configuration_index; /* 0: of the snapshot */
    uint64_t transferee;          /* 0: no transfer */
} raft_status;

raft_status raft_status_of(const raft *r);
const raft_configuration *raft_current_configuration(const raft *r); /* the last in the log, committed or not; valid until the next step */
const raft_entry *raft_entry_at(const raft *r, uint64_t index);      /* NULL: not in memory; valid until the next step */
/* The description of a snapshot of the state after `index`, but identity and size. False: not committed, or no longer in memory. */
bool raft_describe_snapshot(const raft *r, uint64_t index, raft_snapshot *out);

#endif
