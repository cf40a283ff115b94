#include "actor/transfer/wire_object.h"

#include <string.h>

static const char *check_counts(const answer_head *h)
{
    if (h->kind < ANSWER_BYTES || h->kind > ANSWER_SOURCES) return "an answer about an object of an unknown kind";
    if (h->size > TRANSFER_LIMIT) return "an object of an impossible size";
    if (h->n_inside > INSIDE_LIMIT) return "an object that names too many others";
    if (h->n_sources > SOURCES_LIMIT || (h->n_sources != 0) != (h->kind == ANSWER_SOURCES)) return "a wrong number of sources";
    if (h->kind == ANSWER_SIZE && h->n_inside) return "refs in an answer that has only a size";
    return NULL;
}

const char *answer_read(const void *data, size_t bytes, object_answer *out)
{
    const unsigned char *at = data;
    if (bytes < sizeof out->head) return "an answer about an object that is shorter than its head";
    memcpy(&out->head, at, sizeof out->head);
    const answer_head *h = &out->head;
    const char *wrong = check_counts(h);
    if (wrong) return wrong;
    uint64_t rest = h->kind == ANSWER_BYTES ? h->size : 0;
    if (bytes != sizeof *h + h->n_inside * sizeof(object_name) + h->n_sources * sizeof(object_source) + rest)
        return "an answer about an object with a wrong length";
    out->inside = at + sizeof *h;
    out->sources = out->inside + h->n_inside * sizeof(object_name);
    out->bytes = out->sources + h->n_sources * sizeof(object_source);
    return NULL;
}

const char *fetch_read(const void *data, size_t bytes, fetch_payload *out)
{
    if (bytes != sizeof *out) return "a request for chunks with a wrong length";
    memcpy(out, data, sizeof *out);
    if (!out->count || out->first > TRANSFER_LIMIT / CHUNK_SIZE || out->count > TRANSFER_LIMIT / CHUNK_SIZE)
        return "a request for an impossible range of chunks";
    return NULL;
}
