#include "gcs/host/tokens.h"

#include "scheduler/base/alloc.h"

enum { CAPACITY_MIN = 64 };

bool raft_tokens_reserve(raft_tokens *t, uint64_t more)
{
    uint64_t capacity = t->capacity ? t->capacity : CAPACITY_MIN;
    if (t->capacity - t->count >= more) return true;
    while (capacity - t->count < more) capacity *= 2;
    waiting_token *ring = base_alloc((size_t)capacity * sizeof *ring);
    if (!ring) return false;
    for (uint64_t i = 0; i < t->count; i++) ring[i] = t->ring[(t->head + i) & (t->capacity - 1)];
    base_free(t->ring);
    t->ring = ring;
    t->capacity = capacity;
    t->head = 0;
    return true;
}

void raft_tokens_push(raft_tokens *t, uint64_t number, uint64_t token)
{
    t->ring[(t->head + t->count++) & (t->capacity - 1)] = (waiting_token){number, token};
}

bool raft_tokens_pop(raft_tokens *t, uint64_t *out_token)
{
    if (!t->count) return false;
    *out_token = t->ring[t->head].token;
    t->head = (t->head + 1) & (t->capacity - 1);
    t->count--;
    return true;
}

uint64_t raft_tokens_take(raft_tokens *t, uint64_t number)
{
    uint64_t token = 0;
    if (t->count && t->ring[t->head].number == number) (void)raft_tokens_pop(t, &token);
    return token;
}

void raft_tokens_fini(raft_tokens *t)
{
    base_free(t->ring);
    *t = (raft_tokens){0};
}
