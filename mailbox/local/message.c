#include "mailbox/local/message.h"

#include "scheduler/base/alloc.h"

slab message_slab;

enum { MESSAGE_MAX_BYTES = 1 << 30 };

bool message_pool_init(uint64_t limit) { return slab_init(&message_slab, "message", sizeof(message), 0, limit, NULL); }

/* zmq aligns a frame's data to 16 only where malloc does and its own header is a multiple: the handler reads structs in place, so ask for a
 * frame over memory of our own. */
static void free_payload(void *data, void *hint)
{
    (void)hint;
    base_free(data);
}

noinline message *message_new_large(worker *w, size_t size_bytes)
{
    if (size_bytes > MESSAGE_MAX_BYTES) return NULL;
    message *m = slab_get(&message_slab, &w->caches[MESSAGE_CACHE], 0);
    if (!m) return NULL;
    void *data = base_aligned_alloc(16, (size_bytes + 15) & ~(size_t)15);
    if (!data || zmq_msg_init_data(&m->frame, data, size_bytes, free_payload, NULL) != 0) {
        base_free(data);
        slab_put(&message_slab, &w->caches[MESSAGE_CACHE], m, 0);
        return NULL;
    }
    m->size = (uint32_t)size_bytes;
    m->flags = MESSAGE_FRAME;
    m->retries = 0;
    return m;
}

noinline void message_free_slow(worker *w, message *m)
{
    if (m->flags & MESSAGE_HELD) {
        m->flags |= MESSAGE_PASSED;
        return;
    }
    if (m->flags & MESSAGE_FRAME) zmq_msg_close(&m->frame);
    slab_put(&message_slab, &w->caches[MESSAGE_CACHE], m, 0);
}

void message_release(worker *w, message *m)
{
    bool passed = m->flags & MESSAGE_PASSED;
    m->flags &= MESSAGE_FRAME;
    if (passed) message_free(w, m);
}
