/*
 * What Raft's core, its messages and its host share: buffers, entries, configurations, snapshots' descriptions, messages.
 *
 * A buffer is counted and immutable once filled; raft_buffer_retain and raft_buffer_release may be called from any thread (a disk thread and a link keep the entries that
 * they write). All else is plain data without a thread.
 */
#ifndef MANTA_GCS_RAFT_TYPES_H
#define MANTA_GCS_RAFT_TYPES_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    RAFT_SERVERS_MAX = 16,
    RAFT_ADDRESS_BYTES = 128,         /* with the final zero */
    RAFT_ENTRY_BYTES_MAX = 64 << 20,  /* of one entry's data */
    RAFT_MESSAGE_ENTRIES_MAX = 65536, /* in one message */
    RAFT_TEXT_LIMIT = 256             /* of the `text` parameters */
};

typedef struct raft_buffer {
    _Atomic uint32_t references;
    uint32_t size; /* of bytes */
    unsigned char bytes[];
} raft_buffer;

raft_buffer *raft_buffer_new(
    const void *bytes, uint32_t size);           /* copies; `bytes` NULL: unfilled. One reference, the caller's. NULL: out of memory */
raft_buffer *raft_buffer_retain(raft_buffer *b); /* NULL is fine */
void raft_buffer_release(raft_buffer *b);        /* NULL is fine */

/* The numbers are part of the messages and of what hosts write to disk. */
typedef enum raft_entry_kind { RAFT_ENTRY_NOOP = 1, RAFT_ENTRY_COMMAND = 2, RAFT_ENTRY_CONFIGURATION = 3 } raft_entry_kind;

/* `data` lies inside `buffer`, which several entries may share. The state machine sees the commands only; an index is the position in the log, from 1. */
typedef struct raft_entry {
    uint64_t term;
    raft_buffer *buffer; /* may be NULL when size is 0 */
    const unsigned char *data;
    uint32_t size;
    raft_entry_kind kind;
} raft_entry;

/* A learner gets the log and has no vote (dissertation 4.2.1). The numbers are part of the encoding. */
typedef enum raft_role { RAFT_LEARNER = 0, RAFT_VOTER = 1 } raft_role;

/* An id names one life of one disk: a server that lost its disk comes back under a new id, for it forgot whom it voted for. */
typedef struct raft_server {
    uint64_t id; /* not 0 */
    raft_role role;
    char address[RAFT_ADDRESS_BYTES]; /* for the host; the core does not look inside */
} raft_server;

typedef struct raft_configuration {
    uint32_t count;
    raft_server servers[RAFT_SERVERS_MAX];
} raft_configuration;

enum { RAFT_CONFIGURATION_BYTES_MAX = 2 + RAFT_SERVERS_MAX * (8 + 1 + 1 + RAFT_ADDRESS_BYTES) };

/* NULL, or what is wrong: too many servers, an id that is 0 or there twice, no voter, an address without end. Static text. */
const char *raft_configuration_problem(const raft_configuration *c);
const raft_server *raft_configuration_find(const raft_configuration *c, uint64_t id); /* NULL: absent */
bool raft_configuration_is_voter(const raft_configuration *c, uint64_t id);
uint32_t raft_configuration_voters(const raft_configuration *c); /* how many */

/* As bytes: the data of a RAFT_ENTRY_CONFIGURATION. `bytes` has RAFT_CONFIGURATION_BYTES_MAX; the size is returned. */
uint32_t raft_configuration_encode(const raft_configuration *c, unsigned char *bytes);
/* False: malformed or with a problem; *out is then undefined. */
bool raft_configuration_decode(const unsigned char *bytes, uint32_t size, raft_configuration *out);

/* A snapshot is the state after `index`; its bytes are the host's. Equal identities (a hash of the bytes, say) promise equal bytes: a transfer cut off goes on where it was. */
typedef struct raft_snapshot {
    uint64_t index, term; /* of the last entry in it; 0: there is none */
    uint64_t identity, size_bytes;
    raft_configuration configuration; /* as of index */
} raft_snapshot;

typedef enum raft_message_kind {
    RAFT_PRE_VOTE = 1,
    RAFT_PRE_VOTE_REPLY,
    RAFT_VOTE,
    RAFT_VOTE_REPLY,
    RAFT_APPEND,
    RAFT_APPEND_REPLY,
    RAFT_CHUNK,
    RAFT_CHUNK_REPLY,
    RAFT_TIMEOUT_NOW,
} raft_message_kind;

typedef enum raft_append_status {
    RAFT_APPEND_OK = 1,
    RAFT_APPEND_MISMATCH = 2,
    RAFT_APPEND_STALE = 3, /* the request was of an old term: nothing but the term counts */
    RAFT_APPEND_FULL = 4,  /* like OK, but not all of it was taken: the log is full until a snapshot is taken */
} raft_append_status;

typedef struct raft_message {
    raft_message_kind kind;
    uint64_t from, to, term;
    uint64_t after_write; /* not sent over links: this message may leave when raft_write number `after_write` is durable; 0: at once */
    union {
        struct { /* PRE_VOTE (term: the one it would campaign for), VOTE */
            uint64_t last_index, last_term;
            bool transfer; /* by a leader's wish: also servers that hear from the leader may grant it */
        } vote;
        struct { /* PRE_VOTE_REPLY (term: the requested one if granted, else the refuser's own), VOTE_REPLY */
            bool granted;
        } vote_reply;
        struct {
            uint64_t previous_index, previous_term, commit;
            uint64_t round;            /* of reads */
            uint64_t sequence;         /* of messages to this follower in this term */
            const raft_entry *entries; /* of a message from the core: valid until the next step */
            uint32_t count;
        } append;
        struct {
            raft_append_status status;
            uint64_t previous_index;        /* MISMATCH: of the request */
            uint64_t match;                 /* OK: up to here the log is durable and equal to the leader's */
            uint64_t next;                  /* OK: the first index that the follower lacks, durable or not */
            uint64_t hint_index, hint_term; /* MISMATCH: an entry of the follower's: the last that can be equal */
            uint64_t round, sequence;       /* highest of the leader's; MISMATCH: sequence of the request */
        } append_reply;
        struct {
            const raft_snapshot *snapshot; /* of a message from the core: valid until the next step */
            uint64_t offset, round;
            uint32_t size;
            const unsigned char *bytes; /* of a message from the core: NULL, and the host reads `size` bytes at `offset` of the snapshot */
        } chunk;
        struct {
            uint64_t index, offset, round; /* of the snapshot; the first byte that the follower lacks */
            bool stale;                    /* as RAFT_APPEND_STALE */
        } chunk_reply;
    };
} raft_message;

#endif
