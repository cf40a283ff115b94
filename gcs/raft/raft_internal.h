/*
 * The core's state and what its files offer each other. A file changes only what its header comment says it keeps.
 */
#ifndef MANTA_GCS_RAFT_INTERNAL_H
#define MANTA_GCS_RAFT_INTERNAL_H

#include "gcs/raft/log.h"
#include "gcs/raft/raft.h"
#include "scheduler/base/rng.h"

enum {
    PEERS_MAX = RAFT_SERVERS_MAX + 1, /* one that is being removed */
    APPENDS_PER_STEP = 4,             /* to one peer; the rest follows its answers */
    MESSAGES_MAX = PEERS_MAX * (APPENDS_PER_STEP + 2) + 4,
    WRITES_MAX = 256, /* told apart while they are pending; later ones are counted to the last */
    CATCH_UP_ROUNDS = 10
};

typedef enum peer_mode { PEER_PROBE, PEER_REPLICATE, PEER_SNAPSHOT } peer_mode;

typedef struct raft_peer { /* another server, as the candidate or leader sees it */
    uint64_t id;
    peer_mode mode;
    bool granted;                       /* candidate: it votes for this server */
    bool waiting;                       /* PROBE, SNAPSHOT: a message is under way */
    uint64_t next;                      /* index of the next entry to send; match < next <= last + 1 */
    uint64_t match;                     /* durable there up to here */
    uint64_t contact_ns;                /* of its last answer in this term */
    uint64_t round;                     /* highest round that it answered */
    uint64_t sequence;                  /* of the last message to it */
    uint64_t since;                     /* of the first message of this mode: answers to earlier ones do not end it */
    uint64_t snapshot, offset, sent_ns; /* SNAPSHOT: which, the next byte, when the last chunk went */
} raft_peer;

typedef struct raft_ruling { /* a configuration and where it came from; index 0: from the snapshot */
    uint64_t index;
    raft_configuration c;
} raft_ruling;

typedef struct raft_read {
    uint64_t token, index, round;
} raft_read;

struct raft {
    raft_settings settings;
    rng random;
    uint64_t now;

    /* durable, or queued to be: raft.c */
    uint64_t term, vote;
    raft_log log;
    raft_snapshot snapshot;
    uint64_t write_number, durable_write; /* last given out; last reported */
    uint64_t term_write;                  /* the last write with term and vote */
    uint64_t durable;                     /* the log is on disk up to here */
    struct {
        uint64_t number, last;
    } writes[WRITES_MAX]; /* pending: what `durable` becomes with each */
    uint32_t write_count;

    /* rebuilt after a start */
    raft_state state;
    uint64_t leader, commit, applied;
    raft_ruling latest, previous; /* the last configuration in the log, and the one before it: membership.c */
    uint64_t election_ns;         /* when the election timeout fires: election.c */
    uint64_t contact_ns;          /* with the leader, while `leader` is not 0 */
    raft_peer peers[PEERS_MAX];
    uint32_t peer_count;

    /* of a follower: follower.c, snapshot.c */
    uint64_t verified;     /* the log equals the leader's up to here */
    uint64_t acknowledged; /* what the leader was told to be durable */
    uint64_t round_seen, sequence_seen;
    bool is_receiving;
    raft_snapshot receiving;
    uint64_t received_bytes;

    /* of a leader: replication.c, reads.c, transfer.c, membership.c */
    uint64_t term_start; /* index of this term's first entry */
    uint64_t heartbeat_ns, round;
    raft_read *reads;
    uint32_t read_count;
    struct {
        uint64_t target, deadline_ns; /* target 0: none */
        bool told;
    } transfer;
    struct {
        bool is_active, is_catching_up;
        uint64_t token, id, index; /* index: of its entry, once appended */
        uint32_t round;
        uint64_t round_end, round_ns, progress, progress_ns;
    } change;

    bool snapshot_asked;
    uint64_t snapshot_retry_ns;
    uint64_t discard_from; /* by the first step: what the disk has and the snapshot covers */

    raft_effects effects;
    raft_message messages[MESSAGES_MAX + 1]; /* the last one takes what is too much */
    raft_read_end *read_ends;
};

/* raft.c */
raft_message *raft_emit(raft *r, raft_message_kind kind, uint64_t to); /* zeroed, from this server, of the current term */
void raft_set_term(raft *r, uint64_t term, uint64_t vote);
void raft_append(raft *r, const raft_entry *e); /* reserved before */
void raft_truncate(raft *r, uint64_t from);
void raft_commit_to(raft *r, uint64_t index);
void raft_fail(raft *r, raft_result result);

/* election.c */
void raft_election_reset_timer(raft *r);
bool raft_election_can_campaign(const raft *r);
void raft_election_tick(raft *r);
void raft_election_start(raft *r, bool transfer); /* a real election, without pre-vote */
void raft_election_check_won(raft *r);
void raft_become_follower(raft *r, uint64_t term, uint64_t leader);
void raft_handle_vote(raft *r, const raft_message *m);
void raft_handle_vote_reply(raft *r, const raft_message *m);

/* membership.c */
void raft_rulings_reload(raft *r);
void raft_rulings_at(const raft *r, uint64_t index, raft_ruling *out);
bool raft_is_voter(const raft *r, uint64_t id); /* by the latest configuration */
raft_peer *raft_peer_find(raft *r, uint64_t id);
void raft_peers_sync(raft *r);
uint64_t raft_majority(
    const raft *r, uint64_t own, uint64_t (*value)(const raft_peer *)); /* the greatest that a majority of voters reaches */
void raft_membership_change(raft *r, const raft_event *e);
void raft_membership_progress(raft *r, const raft_peer *p);
void raft_membership_committed(raft *r);
void raft_membership_tick(raft *r);
uint64_t raft_membership_timeout(const raft *r);
void raft_membership_end(raft *r, raft_result result);

/* replication.c */
void raft_become_leader(raft *r);
void raft_replicate(raft *r, raft_peer *p);
void raft_replicate_all(raft *r);
void raft_heartbeat(raft *r);
void raft_advance_commit(raft *r);
void raft_submit(raft *r, const raft_event *e);
void raft_handle_append_reply(raft *r, const raft_message *m);
void raft_leader_tick(raft *r);
uint64_t raft_leader_timeout(const raft *r);

/* follower.c */
void raft_handle_append(raft *r, const raft_message *m);
void raft_reply_append(raft *r, raft_append_status status);
void raft_follower_persisted(raft *r);
bool raft_follow(raft *r, const raft_message *m); /* m is from this term's leader; false: it contradicts the protocol */

/* snapshot.c */
void raft_send_chunk(raft *r, raft_peer *p);
void raft_handle_chunk(raft *r, const raft_message *m);
void raft_handle_chunk_reply(raft *r, const raft_message *m);
void raft_snapshot_taken(raft *r, const raft_event *e);
void raft_snapshot_failed(raft *r);
bool raft_snapshot_is_due(const raft *r);
void raft_trim(raft *r);

/* reads.c */
void raft_read_begin(raft *r, uint64_t token);
void raft_reads_check(raft *r);
void raft_reads_fail(raft *r);

/* transfer.c */
void raft_transfer_begin(raft *r, uint64_t target);
void raft_transfer_check(raft *r);
void raft_transfer_tick(raft *r);
void raft_handle_timeout_now(raft *r, const raft_message *m);

#endif
