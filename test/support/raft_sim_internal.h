/*
 * The parts of the simulator: world and network (raft_sim.c), servers with their disks (raft_sim_server.c), what must hold (raft_sim_oracle.c).
 */
#ifndef MANTA_TEST_RAFT_SIM_INTERNAL_H
#define MANTA_TEST_RAFT_SIM_INTERNAL_H

#include "gcs/raft/raft.h"
#include "scheduler/base/rng.h"
#include "test/support/raft_sim.h"

enum { SIM_SERVERS = 7, SIM_ENTRIES = 1 << 14, SIM_TABLE = 1 << 15, SIM_TERMS = 1 << 12, SIM_SNAPSHOT_MAX = 512, SIM_READS = 1 << 12 };
static const uint64_t SIM_MS = 1000000;

typedef struct sim_message {
    struct sim_message *next; /* of those that wait for a write */
    raft_message m;
    raft_entry *entries;
    raft_snapshot *snapshot;
    unsigned char bytes[SIM_SNAPSHOT_MAX];
} sim_message;

typedef struct sim_image { /* a snapshot: its bytes follow from index and hash */
    raft_snapshot about;
    uint64_t hash;
} sim_image;

typedef struct sim_write {
    raft_write w;
    raft_entry *entries;
    sim_image image; /* with w.snapshot */
} sim_write;

typedef struct sim_disk {
    uint64_t term, vote, first, count;
    raft_entry *entries; /* SIM_ENTRIES, indexed by index - first */
    sim_image image;
} sim_disk;

typedef struct sim_server {
    uint64_t id, life; /* life: number of its start */
    raft *core;        /* NULL: down */
    sim_disk disk;
    sim_write *writes;                             /* pending, a ring is not worth it */
    uint32_t write_count, write_capacity, writing; /* writing: so many are under way */
    uint64_t durable_write;
    sim_message *gated, **gated_end;
    sim_image image; /* what it would send */
    unsigned char incoming[SIM_SNAPSHOT_MAX];
    uint64_t applied, hash, commit;
    uint64_t up_at, paused_until, slow_until;
    uint64_t timeout;
} sim_server;

typedef enum sim_event_kind { SIM_DELIVER, SIM_DISK, SIM_SNAPSHOT, SIM_RESTART, SIM_CHAOS, SIM_CLIENT } sim_event_kind;

typedef struct sim_event {
    uint64_t at, sequence, life;
    sim_event_kind kind;
    uint32_t server;
    sim_message *message;
    sim_image image;
} sim_event;

typedef struct sim_known { /* an entry that some log had */
    uint64_t run, index, term, hash, previous_term;
} sim_known;

typedef struct sim_world {
    uint64_t seed, now, sequence;
    rng random;
    raft_settings settings;
    uint32_t founders, server_count;
    bool chaos, by_bytes, is_static, is_short_of_memory; /* by_bytes: messages are encoded and decoded; short: allocations in steps fail */
    double loss, doubled;
    uint64_t delay, disk_delay;
    sim_server servers[SIM_SERVERS];
    bool cut[SIM_SERVERS][SIM_SERVERS]; /* from, to */
    sim_event *heap;
    uint32_t heap_count, heap_capacity;
    uint64_t token;

    /* oracles */
    struct {
        uint64_t term, hash, state;
    } committed[SIM_ENTRIES]; /* by index, as first applied */
    uint64_t committed_count;
    uint64_t acknowledged, acknowledged_term,
        acknowledged_by; /* highest index that a leader committed, its entry's term, the leader's term */
    uint64_t leader_of_term[SIM_TERMS];
    struct {
        uint64_t token, at_least;
    } reads[SIM_READS];
    raft_sim_report *report;
} sim_world;

/* raft_sim.c */
void sim_schedule(sim_world *w, sim_event e);
void sim_send(sim_world *w, sim_message *m);
void sim_fail(sim_world *w, const char *format, ...) __attribute__((format(printf, 2, 3)));
bool sim_trace(void);
uint64_t sim_mix(uint64_t hash, uint64_t value);
uint64_t sim_entry_hash(const raft_entry *e);
uint32_t sim_at(uint64_t id); /* place of a server */

/* raft_sim_server.c */
void sim_server_found(sim_server *s, const raft_entry *bootstrap);
bool sim_server_start(sim_world *w, sim_server *s);
void sim_server_crash(sim_world *w, sim_server *s);
void sim_server_step(sim_world *w, sim_server *s, const raft_event *e);
void sim_server_written(sim_world *w, sim_server *s);
void sim_server_fini(sim_server *s);
void sim_server_snapshot_taken(sim_world *w, sim_server *s, const sim_image *image);
void sim_message_free(sim_message *m);
sim_message *sim_message_copy(const raft_message *m);

/* raft_sim_oracle.c */
void sim_oracle_begin(sim_world *w);
void sim_oracle_appended(sim_world *w, const sim_server *s, const raft_write *write);
void sim_oracle_applied(sim_world *w, sim_server *s, uint64_t index, const raft_entry *e);
void sim_oracle_restored(sim_world *w, const sim_server *s);
void sim_oracle_stepped(sim_world *w, sim_server *s, const raft_effects *x, bool led);
void sim_oracle_sent(sim_world *w, const sim_server *s, const raft_message *m);
void sim_oracle_read_began(sim_world *w, uint64_t token);
void sim_oracle_read_ended(sim_world *w, const sim_server *s, uint64_t token);

#endif
