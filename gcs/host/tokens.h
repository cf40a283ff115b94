/*
 * Tokens that wait, each with a number (a log index) that ascends: a ring that grows.
 */
#ifndef MANTA_GCS_TOKENS_H
#define MANTA_GCS_TOKENS_H

#include <stdbool.h>
#include <stdint.h>

typedef struct waiting_token {
    uint64_t number, token;
} waiting_token;

typedef struct raft_tokens { /* all 0: empty */
    waiting_token *ring;
    uint64_t capacity, head, count; /* capacity: 0 or a power of two */
} raft_tokens;

bool raft_tokens_reserve(raft_tokens *t, uint64_t more);                /* false: out of memory */
void raft_tokens_push(raft_tokens *t, uint64_t number, uint64_t token); /* reserved before */
bool raft_tokens_pop(raft_tokens *t, uint64_t *out_token);              /* the first; false: none */
uint64_t raft_tokens_take(raft_tokens *t, uint64_t number);             /* the first, if that is its number; else 0 */
void raft_tokens_fini(raft_tokens *t);

#endif
