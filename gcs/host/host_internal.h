/*
 * The host's state and what its files offer each other. All of it is the owner's; `disk` says what its thread touches.
 */
#ifndef MANTA_GCS_HOST_INTERNAL_H
#define MANTA_GCS_HOST_INTERNAL_H

#include "gcs/host/disk.h"
#include "gcs/host/host_text.h"
#include "gcs/host/tokens.h"

enum { GATE_LIMIT = 4096, HOST_FRAME_HEAD = 8 };

typedef struct gated_message { /* waits for a write of term and vote */
    struct gated_message *next;
    uint64_t after_write, to;
    raft_buffer *frame;
    char address[RAFT_ADDRESS_BYTES];
} gated_message;

struct raft_host {
    raft_host_calls calls;
    raft *core;
    uint64_t now, cluster;
    bool in_memory, is_begun, is_failed, is_stepping;
    raft_host_stats stats;

    uint64_t applied, applied_term; /* what the machine has, and the term of that entry */
    raft_tokens commands, reads;
    uint64_t change;     /* token; 0: none */
    raft_entry *entries; /* room for a submit */
    uint32_t entries_room;

    uint64_t queued, durable; /* numbers of writes: last one given to the disk, last one that the core was told of (in memory: the same) */
    gated_message *gated, **gated_end;
    uint32_t gated_count;

    bool is_saving;        /* a snapshot of its own: `saved` */
    raft_snapshot saved;   /* index, identity and size */
    raft_image *image;     /* of the snapshot that counts, while there is no file of it; in memory always */
    uint64_t image_write;  /* with which it gets a file */
    raft_image *receiving; /* what came so far of a leader's */
    int file;              /* of the snapshot `file_of`, to send from */
    raft_snapshot file_of;

    raft_disk disk; /* in memory: not started */
    char text[RAFT_TEXT_LIMIT];
};

/* effects.c */
raft_result host_step(raft_host *h, const raft_event *e); /* one step of the core, with all its effects */
void host_settle(raft_host *h); /* steps that follow from what is done already: writes in memory, saved snapshots */

/* messages.c */
void host_send_all(raft_host *h, const raft_message *messages, uint32_t count);
void host_queue(
    raft_host *h, uint64_t to, const char *address, uint64_t after_write, raft_buffer *frame); /* sends or gates; takes the frame */
void host_open_gate(raft_host *h); /* sends what waited for writes that are durable now */
void host_drop_gated(raft_host *h);

/* snapshots.c */
void host_take_chunk(raft_host *h, const raft_effects *x);
void host_restore(raft_host *h, const raft_snapshot *about); /* checks what was received, and replaces the machine by it */
void host_save(raft_host *h);                                /* begins a snapshot of the machine */
void host_saved(raft_host *h);                               /* its bytes are on disk */
void host_send_chunk(raft_host *h, raft_message *m, const char *address);
void host_snapshots_fini(raft_host *h);

/* raft_host.c */
void host_fail(raft_host *h, const char *format, ...) MANTA_PRINTF(2, 3); /* stops; the first reason stays */
bool host_enter(raft_host *h, uint64_t now_ns);                           /* begins a call of the owner's; false: the host has stopped */
void host_leave(raft_host *h);                                            /* and ends it */

#endif
