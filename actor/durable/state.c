/*
 * The two messages that are no calls: what MANTA_CHECKPOINT and MANTA_RESTORE made runs in the actor's turn, between two calls.
 */
#include "actor/node/node.h"
#include "actor/runtime/internal.h"

static void take_checkpoint(worker *w, const actor *a, future *reply)
{
    manta_writer out;
    manta_writer_init_growing(&out);
    a->cls->options.checkpoint(a->state, &out);
    size_t size = manta_writer_size(&out);
    block *b = out.status ? NULL : block_new(sizeof(manta_bytes) + size);
    if (b) {
        memcpy(b->bytes + sizeof(manta_bytes), out.start, size);
        *(manta_bytes *)(void *)b->bytes = (manta_bytes){b->bytes + sizeof(manta_bytes), size};
    }
    manta_status status = out.status ? out.status : MANTA_ENOMEM;
    manta_writer_fini(&out);
    if (b) future_complete_block(w, reply, b, sizeof(manta_bytes));
    else future_fail_status(w, reply, status, "the state of a %s cannot be written", a->cls->name);
}

static void restore(worker *w, const actor *a, const message *m, future *reply)
{
    manta_reader in;
    char text[256] = "bytes follow";
    manta_reader_init(&in, message_payload((message *)(uintptr_t)m), m->size);
    a->cls->options.restore(a->state, &in);
    if (!in.status && in.at == in.end) {
        future_complete(w, reply, NULL, NULL, 0);
        return;
    }
    if (in.status) manta_reader_explain(&in, text, sizeof text);
    future_fail_status(w, reply, MANTA_EDECODE, "the state of a %s cannot be restored: %s", a->cls->name, text);
}

void durable_message(worker *w, actor *a, message *m)
{
    future *reply = m->reply;
    m->reply = NULL;
    if (m->kind == KIND_CHECKPOINT) take_checkpoint(w, a, reply);
    else restore(w, a, m, reply);
}
