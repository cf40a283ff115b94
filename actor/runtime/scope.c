/*
 * Handler-scoped memory. A scope holds blocks (an arena of bumps, moved-in results, errors), futures not consumed, streams and refs; all go when the handler returns.
 *
 * manta_scope_begin remembers the heads of the lists; manta_scope_end frees down to them. On a plain thread the outermost scope is the thread's.
 */
#include <string.h>

#include "actor/runtime/internal.h"

enum { ARENA_BYTES = 4096, SCOPE_DEPTH = 64, ALIGNMENT = 16 };

typedef struct scope_mark {
    block *blocks;
    future *futures;
    struct held_ref *refs;
    struct held_stream *streams;
    unsigned char *at, *end;
} scope_mark;

block *block_new(size_t size_bytes)
{
    if (size_bytes > SIZE_MAX / 2) return NULL;
    block *b = base_alloc(sizeof(block) + size_bytes);
    if (!b) return NULL;
    b->next = NULL;
    b->size_bytes = size_bytes;
    return b;
}

activation *activation_self(void)
{
    worker *w = worker_self();
    return w ? activation_of(w) : NULL;
}

void scope_add_block(activation *act, block *b)
{
    b->next = act->blocks;
    act->blocks = b;
    act->dirty = 1;
}

static void *arena_new(activation *act, size_t size_bytes)
{
    size_t bytes = size_bytes > ARENA_BYTES / 4 ? size_bytes : ARENA_BYTES;
    block *b = block_new(bytes);
    if (!b) {
        error_set(MANTA_ENOMEM, "manta_alloc: no memory for %zu bytes", size_bytes);
        return NULL;
    }
    scope_add_block(act, b);
    if (bytes == ARENA_BYTES) {
        act->at = b->bytes + size_bytes;
        act->end = b->bytes + bytes;
    }
    return b->bytes;
}

void *manta_alloc(size_t size_bytes)
{
    activation *act = activation_self();
    if (!act || size_bytes > SIZE_MAX / 2) return NULL;
    size_bytes = (size_bytes + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1);
    if ((size_t)(act->end - act->at) < size_bytes) return arena_new(act, size_bytes);
    void *memory = act->at;
    act->at += size_bytes;
    return memory;
}

static void free_blocks(activation *act, const block *down_to)
{
    while (act->blocks && act->blocks != down_to) {
        block *b = act->blocks;
        act->blocks = b->next;
        base_free(b);
    }
}

static void drop_futures(worker *w, activation *act, const future *down_to)
{
    while (act->futures && act->futures != down_to) {
        future *f = act->futures;
        future_scope_remove(act, f);
        future_drop(w, f);
    }
}

noinline void scope_clean(worker *w, activation *act)
{
    drop_futures(w, act, NULL);
    if (act->streams) scope_release_streams(act, NULL);
    if (act->refs) scope_release_refs(act);
    free_blocks(act, NULL);
    act->at = act->end = NULL;
    act->last_error = act->failure = NULL;
    base_free(act->marks);
    act->marks = NULL;
    act->scope_depth = 0;
    store_relaxed(&act->began_ns, 0);
    store_relaxed(&act->wait_kind, NULL);
    act->dirty = 0;
}

manta_status manta_scope_begin(void)
{
    activation *act = activation_self();
    if (!act) return MANTA_ECONTEXT;
    if (act->scope_depth == SCOPE_DEPTH) return error_set(MANTA_ELIMIT, "manta_scope_begin: %d scopes are open already", SCOPE_DEPTH);
    if (!act->marks && !(act->marks = base_alloc(SCOPE_DEPTH * sizeof(scope_mark))))
        return error_set(MANTA_ENOMEM, "manta_scope_begin: no memory");
    act->marks[act->scope_depth++] = (scope_mark){act->blocks, act->futures, act->refs, act->streams, act->at, act->end};
    act->at = act->end = NULL;
    act->dirty = 1;
    return MANTA_OK;
}

manta_status manta_scope_end(void)
{
    worker *w = worker_self();
    activation *act = w ? activation_of(w) : NULL;
    if (!act || act->scope_depth == 0) return error_set(MANTA_ECONTEXT, "manta_scope_end: no scope is open here");
    scope_mark mark = act->marks[--act->scope_depth];
    drop_futures(w, act, mark.futures);
    if (act->streams != mark.streams) scope_release_streams(act, mark.streams);
    if (act->refs != mark.refs) scope_release_refs_until(act, mark.refs);
    free_blocks(act, mark.blocks);
    act->at = mark.at;
    act->end = mark.end;
    act->last_error = NULL;
    return MANTA_OK;
}
