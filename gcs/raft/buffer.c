/* Counted byte buffers. The last release frees; a count is its own memory order (release on the way down, acquire before the free). */
#include <string.h>

#include "gcs/raft/raft_types.h"
#include "scheduler/base/alloc.h"
#include "scheduler/base/atomics.h"

raft_buffer *raft_buffer_new(const void *bytes, uint32_t size)
{
    raft_buffer *b = base_alloc(sizeof *b + size);
    if (!b) return NULL;
    atomic_init(&b->references, 1);
    b->size = size;
    if (bytes && size) memcpy(b->bytes, bytes, size);
    return b;
}

raft_buffer *raft_buffer_retain(raft_buffer *b)
{
    if (b) (void)add_relaxed(&b->references, 1);
    return b;
}

void raft_buffer_release(raft_buffer *b)
{
    if (b && atomic_fetch_sub_explicit(&b->references, 1, memory_order_acq_rel) == 1) base_free(b);
}
