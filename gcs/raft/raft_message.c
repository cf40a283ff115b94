/* See the header for the layout. Both directions go through the fields in the same order; a reader that fails goes on with zeros and is asked once at the end. */
#include "gcs/raft/raft_message.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "gcs/raft/raft_bytes.h"
#include "scheduler/base/alloc.h"

enum { VERSION = 1, HEADER_BYTES = 28, ENTRY_BYTES = 13 };

/* ---- writing ---- */

static size_t append_size(const raft_message *m)
{
    size_t size = 5 * 8 + 4;
    for (uint32_t i = 0; i < m->append.count; i++) size += ENTRY_BYTES + m->append.entries[i].size;
    return size;
}

static size_t configuration_size(const raft_configuration *c)
{
    size_t size = 2;
    for (uint32_t i = 0; i < c->count; i++) size += 10 + strlen(c->servers[i].address);
    return size;
}

static size_t body_size(const raft_message *m)
{
    switch (m->kind) {
    case RAFT_PRE_VOTE:
    case RAFT_VOTE: return 17;
    case RAFT_PRE_VOTE_REPLY:
    case RAFT_VOTE_REPLY: return 1;
    case RAFT_APPEND: return append_size(m);
    case RAFT_APPEND_REPLY: return 1 + 7 * 8;
    case RAFT_CHUNK: return 6 * 8 + 2 + configuration_size(&m->chunk.snapshot->configuration) + 4 + m->chunk.size;
    case RAFT_CHUNK_REPLY: return 3 * 8 + 1;
    case RAFT_TIMEOUT_NOW: break;
    }
    return 0;
}

size_t raft_message_size(const raft_message *m) { return HEADER_BYTES + body_size(m); }

static unsigned char *put64(unsigned char *p, uint64_t v) { return raft_put_number(p, v, 8); }

static unsigned char *put_bytes(unsigned char *p, const unsigned char *bytes, size_t n)
{
    if (n && p != bytes) memcpy(p, bytes, n); /* the host may have put them there */
    return p + n;
}

static void put_append(const raft_message *m, unsigned char *p)
{
    p = put64(put64(put64(p, m->append.previous_index), m->append.previous_term), m->append.commit);
    p = raft_put_number(put64(put64(p, m->append.round), m->append.sequence), m->append.count, 4);
    for (uint32_t i = 0; i < m->append.count; i++) {
        const raft_entry *e = &m->append.entries[i];
        p = raft_put_number(raft_put_number(put64(p, e->term), e->kind, 1), e->size, 4);
        p = put_bytes(p, e->data, e->size);
    }
}

static void put_append_reply(const raft_message *m, unsigned char *p)
{
    p = raft_put_number(p, m->append_reply.status, 1);
    p = put64(put64(put64(p, m->append_reply.previous_index), m->append_reply.match), m->append_reply.next);
    p = put64(put64(p, m->append_reply.hint_index), m->append_reply.hint_term);
    put64(put64(p, m->append_reply.round), m->append_reply.sequence);
}

static void put_chunk(const raft_message *m, unsigned char *p)
{
    const raft_snapshot *s = m->chunk.snapshot;
    p = put64(put64(put64(put64(p, s->index), s->term), s->identity), s->size_bytes);
    p = put64(put64(p, m->chunk.offset), m->chunk.round);
    uint32_t size = raft_configuration_encode(&s->configuration, p + 2);
    p = raft_put_number(p, size, 2) + size;
    put_bytes(raft_put_number(p, m->chunk.size, 4), m->chunk.bytes, m->chunk.size);
}

static void put_body(const raft_message *m, unsigned char *p)
{
    switch (m->kind) {
    case RAFT_PRE_VOTE:
    case RAFT_VOTE: raft_put_number(put64(put64(p, m->vote.last_index), m->vote.last_term), m->vote.transfer, 1); break;
    case RAFT_PRE_VOTE_REPLY:
    case RAFT_VOTE_REPLY: raft_put_number(p, m->vote_reply.granted, 1); break;
    case RAFT_APPEND: put_append(m, p); break;
    case RAFT_APPEND_REPLY: put_append_reply(m, p); break;
    case RAFT_CHUNK: put_chunk(m, p); break;
    case RAFT_CHUNK_REPLY:
        raft_put_number(put64(put64(put64(p, m->chunk_reply.index), m->chunk_reply.offset), m->chunk_reply.round), m->chunk_reply.stale, 1);
        break;
    case RAFT_TIMEOUT_NOW: break;
    }
}

void raft_message_encode(const raft_message *m, unsigned char *bytes)
{
    unsigned char *p = raft_put_number(raft_put_number(raft_put_number(bytes, VERSION, 1), m->kind, 1), 0, 2);
    put_body(m, put64(put64(put64(p, m->from), m->to), m->term));
}

/* ---- reading ---- */

typedef struct decoder {
    raft_reader r;
    raft_decoded *out;
    const char *problem; /* the first */
    size_t at;
} decoder;

static manta_status complain(decoder *d, const char *problem)
{
    if (!d->problem) {
        d->problem = problem;
        d->at = d->r.at;
    }
    return MANTA_EINVAL;
}

static uint64_t take64(decoder *d) { return raft_take_number(&d->r, 8); }

static bool take_bool(decoder *d, const char *what)
{
    uint64_t v = raft_take_number(&d->r, 1);
    if (v > 1) (void)complain(d, what);
    return v == 1;
}

static void take_vote(decoder *d, raft_message *m)
{
    m->vote.last_index = take64(d);
    m->vote.last_term = take64(d);
    m->vote.transfer = take_bool(d, "transfer is neither 0 nor 1");
}

static void take_entry(decoder *d, raft_entry *e)
{
    e->term = take64(d);
    uint64_t kind = raft_take_number(&d->r, 1);
    if (kind < RAFT_ENTRY_NOOP || kind > RAFT_ENTRY_CONFIGURATION) (void)complain(d, "an entry's kind");
    e->kind = (raft_entry_kind)kind;
    e->size = (uint32_t)raft_take_number(&d->r, 4);
    if (e->size > RAFT_ENTRY_BYTES_MAX) (void)complain(d, "an entry's size");
    e->data = raft_take(&d->r, e->size);
    e->buffer = d->out->frame;
}

static manta_status take_append(decoder *d, raft_message *m)
{
    m->append.previous_index = take64(d);
    m->append.previous_term = take64(d);
    m->append.commit = take64(d);
    m->append.round = take64(d);
    m->append.sequence = take64(d);
    uint32_t count = (uint32_t)raft_take_number(&d->r, 4);
    if (count > RAFT_MESSAGE_ENTRIES_MAX || count > (d->r.size - d->r.at) / ENTRY_BYTES)
        return complain(d, "more entries than the message has room for");
    if (!count) return MANTA_OK;
    m->append.entries = d->out->entries = base_calloc(count, sizeof *d->out->entries);
    if (!d->out->entries) return MANTA_ENOMEM;
    m->append.count = count;
    for (uint32_t i = 0; i < count && !d->problem && !d->r.failed; i++) take_entry(d, &d->out->entries[i]);
    return MANTA_OK;
}

static void take_append_reply(decoder *d, raft_message *m)
{
    uint64_t status = raft_take_number(&d->r, 1);
    if (status < RAFT_APPEND_OK || status > RAFT_APPEND_FULL) (void)complain(d, "an answer's status");
    m->append_reply.status = (raft_append_status)status;
    m->append_reply.previous_index = take64(d);
    m->append_reply.match = take64(d);
    m->append_reply.next = take64(d);
    m->append_reply.hint_index = take64(d);
    m->append_reply.hint_term = take64(d);
    m->append_reply.round = take64(d);
    m->append_reply.sequence = take64(d);
}

static void take_chunk(decoder *d, raft_message *m)
{
    raft_snapshot *s = &d->out->snapshot;
    m->chunk.snapshot = s;
    s->index = take64(d);
    s->term = take64(d);
    s->identity = take64(d);
    s->size_bytes = take64(d);
    m->chunk.offset = take64(d);
    m->chunk.round = take64(d);
    uint32_t size = (uint32_t)raft_take_number(&d->r, 2);
    const unsigned char *bytes = raft_take(&d->r, size);
    if (bytes && !raft_configuration_decode(bytes, size, &s->configuration)) (void)complain(d, "the snapshot's configuration");
    m->chunk.size = (uint32_t)raft_take_number(&d->r, 4);
    m->chunk.bytes = raft_take(&d->r, m->chunk.size);
}

static void take_chunk_reply(decoder *d, raft_message *m)
{
    m->chunk_reply.index = take64(d);
    m->chunk_reply.offset = take64(d);
    m->chunk_reply.round = take64(d);
    m->chunk_reply.stale = take_bool(d, "stale is neither 0 nor 1");
}

static manta_status take_body(decoder *d, raft_message *m)
{
    switch (m->kind) {
    case RAFT_PRE_VOTE:
    case RAFT_VOTE: take_vote(d, m); break;
    case RAFT_PRE_VOTE_REPLY:
    case RAFT_VOTE_REPLY: m->vote_reply.granted = take_bool(d, "granted is neither 0 nor 1"); break;
    case RAFT_APPEND: return take_append(d, m);
    case RAFT_APPEND_REPLY: take_append_reply(d, m); break;
    case RAFT_CHUNK: take_chunk(d, m); break;
    case RAFT_CHUNK_REPLY: take_chunk_reply(d, m); break;
    case RAFT_TIMEOUT_NOW: break;
    default: return complain(d, "an unknown kind of message");
    }
    return MANTA_OK;
}

static manta_status take_message(decoder *d, raft_message *m)
{
    if (raft_take_number(&d->r, 1) != VERSION) return complain(d, "an unknown version");
    m->kind = (raft_message_kind)raft_take_number(&d->r, 1);
    if (raft_take_number(&d->r, 2)) return complain(d, "two bytes that must be 0");
    m->from = take64(d);
    m->to = take64(d);
    m->term = take64(d);
    manta_status status = take_body(d, m);
    if (status) return status;
    if (d->r.failed) return complain(d, "the message ends too early");
    if (d->r.at != d->r.size) return complain(d, "bytes behind the message's end");
    return d->problem ? MANTA_EINVAL : MANTA_OK;
}

manta_status raft_message_decode(raft_buffer *frame, uint32_t skip, raft_decoded *out, char *text)
{
    decoder d = {.r = {.bytes = frame->bytes, .size = frame->size, .at = skip, .failed = skip > frame->size}, .out = out};
    out->message = (raft_message){.kind = RAFT_TIMEOUT_NOW};
    out->entries = NULL;
    out->frame = raft_buffer_retain(frame);
    manta_status status = take_message(&d, &out->message);
    if (!status) return MANTA_OK;
    if (status == MANTA_ENOMEM) snprintf(text, RAFT_TEXT_LIMIT, "no memory for the entries of a Raft message");
    else snprintf(text, RAFT_TEXT_LIMIT, "Raft message of %u bytes, byte %zu: %s", frame->size, d.at, d.problem);
    raft_decoded_fini(out);
    return status;
}

void raft_decoded_fini(raft_decoded *d)
{
    base_free(d->entries);
    raft_buffer_release(d->frame);
    d->entries = NULL;
    d->frame = NULL;
}
