/*
 * Raft's messages as bytes, to travel over links.
 *
 *   version u8 = 1, kind u8, 0 u16, from u64, to u64, term u64, then by kind:
 *   PRE_VOTE, VOTE              last_index u64, last_term u64, transfer u8
 *   PRE_VOTE_REPLY, VOTE_REPLY  granted u8
 *   APPEND                      previous_index, previous_term, commit, round, sequence: u64 each; count u32; each entry: term u64, kind u8, size u32, data
 *   APPEND_REPLY                status u8; previous_index, match, next, hint_index, hint_term, round, sequence: u64 each
 *   CHUNK                       snapshot's index, term, identity, size: u64 each; offset u64, round u64; size u16 and configuration; size u32 and bytes
 *   CHUNK_REPLY                 index, offset, round: u64 each; stale u8
 *   TIMEOUT_NOW                 nothing
 * Numbers are little endian. Decoding checks every length against what is left before it allocates or reads, and values where the kind of a thing hangs on them; whether a
 * message makes sense is for raft_step. Any thread; no state.
 */
#ifndef MANTA_GCS_RAFT_MESSAGE_H
#define MANTA_GCS_RAFT_MESSAGE_H

#include <manta/status.h>

#include "gcs/raft/raft_types.h"

typedef struct raft_decoded {
    raft_message message; /* its entries and chunk lie in the frame */
    raft_buffer *frame;
    raft_entry *entries;
    raft_snapshot snapshot;
} raft_decoded;

size_t raft_message_size(const raft_message *m); /* in bytes, encoded */
void raft_message_encode(const raft_message *m,
    unsigned char *bytes); /* raft_message_size(m) bytes. A chunk's bytes must be there (not NULL, unless its size is 0) */

/* Decodes the whole of `frame` behind its first `skip` bytes (the host's) and keeps a reference of it, which entries that the core retains share. out->message.after_write is 0.
 * MANTA_EINVAL with a `text` (RAFT_TEXT_LIMIT bytes) that names the byte and what is wrong there, MANTA_ENOMEM; *out is then undefined and needs no fini. */
manta_status raft_message_decode(raft_buffer *frame, uint32_t skip, raft_decoded *out, char *text);
void raft_decoded_fini(raft_decoded *d);

#endif
