/*
 * A frame is the cluster's id (u64, little endian) and a Raft message (raft_message.h).
 */
#include <string.h>

#include "gcs/host/host_internal.h"
#include "gcs/raft/raft_bytes.h"
#include "gcs/raft/raft_message.h"
#include "scheduler/base/alloc.h"

/* ---- out ---- */

static void gate(raft_host *h, uint64_t to, const char *address, uint64_t after_write, raft_buffer *frame)
{
    gated_message *g = h->gated_count < GATE_LIMIT ? base_alloc(sizeof *g) : NULL;
    if (!g) { /* lost, as on any network */
        raft_buffer_release(frame);
        return;
    }
    *g = (gated_message){.after_write = after_write, .to = to, .frame = frame};
    memcpy(g->address, address, strlen(address) + 1);
    *h->gated_end = g;
    h->gated_end = &g->next;
    h->gated_count++;
}

static void send_now(raft_host *h, uint64_t to, const char *address, raft_buffer *frame)
{
    h->stats.messages_out++;
    h->calls.send(h->calls.context, to, address, frame);
    raft_buffer_release(frame);
}

void host_queue(raft_host *h, uint64_t to, const char *address, uint64_t after_write, raft_buffer *frame)
{
    if (after_write > h->durable && !h->in_memory) gate(h, to, address, after_write, frame);
    else send_now(h, to, address, frame);
}

static gated_message *pop_gated(raft_host *h)
{
    gated_message *g = h->gated;
    h->gated = g->next;
    if (!h->gated) h->gated_end = &h->gated;
    h->gated_count--;
    return g;
}

void host_open_gate(raft_host *h)
{
    while (h->gated && h->gated->after_write <= h->durable) {
        gated_message *g = pop_gated(h);
        send_now(h, g->to, g->address, g->frame);
        base_free(g);
    }
}

void host_drop_gated(raft_host *h)
{
    while (h->gated) {
        gated_message *g = pop_gated(h);
        raft_buffer_release(g->frame);
        base_free(g);
    }
}

static void send_one(raft_host *h, const raft_message *m)
{
    const raft_server *s = raft_configuration_find(raft_current_configuration(h->core), m->to);
    const char *address = s ? s->address : "";
    size_t size = HOST_FRAME_HEAD + raft_message_size(m);
    raft_message chunk = *m;
    if (m->kind == RAFT_CHUNK) {
        host_send_chunk(h, &chunk, address);
        return;
    }
    raft_buffer *frame = size <= UINT32_MAX ? raft_buffer_new(NULL, (uint32_t)size) : NULL;
    if (!frame) return; /* lost, as on any network */
    raft_message_encode(m, raft_put_number(frame->bytes, h->cluster, HOST_FRAME_HEAD));
    host_queue(h, m->to, address, m->after_write, frame);
}

void host_send_all(raft_host *h, const raft_message *messages, uint32_t count)
{
    for (uint32_t i = 0; i < count && !h->is_failed; i++) send_one(h, &messages[i]);
}

/* ---- in ---- */

static raft_result take(raft_host *h, raft_buffer *frame)
{
    raft_decoded d;
    char text[RAFT_TEXT_LIMIT];
    raft_reader r = {.bytes = frame->bytes, .size = frame->size};
    if (raft_take_number(&r, HOST_FRAME_HEAD) != h->cluster || r.failed) return RAFT_BAD_MESSAGE;
    manta_status status = raft_message_decode(frame, HOST_FRAME_HEAD, &d, text);
    if (status) return status == MANTA_EINVAL ? RAFT_BAD_MESSAGE : RAFT_NO_MEMORY;
    raft_result result = host_step(h, &(raft_event){.kind = RAFT_RECEIVE, .message = &d.message});
    raft_decoded_fini(&d);
    return result;
}

void raft_host_receive(raft_host *h, raft_buffer *message, uint64_t now_ns)
{
    if (!host_enter(h, now_ns)) return;
    h->stats.messages_in++;
    if (take(h, message) == RAFT_BAD_MESSAGE) h->stats.bad_messages++;
    host_leave(h);
}
