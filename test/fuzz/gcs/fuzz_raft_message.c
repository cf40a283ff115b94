/*
 * Any bytes as messages to a server: decoding ends with a status; what decodes is encoded to the same bytes; and raft_step takes it, whatever it says, without a crash. The
 * input is a row of messages, each behind its size in two bytes; between them the disk reports and time passes.
 */
#include <stdlib.h>
#include <string.h>

#include "gcs/raft/raft.h"
#include "gcs/raft/raft_message.h"

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

static void expect(bool ok)
{
    if (!ok) abort();
}

static raft *new_server(void)
{
    static const raft_configuration c = {.count = 3, .servers = {{1, RAFT_VOTER, "a"}, {2, RAFT_VOTER, "b"}, {3, RAFT_VOTER, "c"}}};
    raft_settings settings = {.id = 1, .seed = 1, .log_entries = 64, .snapshot_entries = 8};
    char text[RAFT_TEXT_LIMIT];
    raft_entry e;
    raft *r;
    expect(!raft_bootstrap(&c, &e, text));
    expect(!raft_new(&settings, &(raft_start){.term = 1, .first = 1, .entries = &e, .count = 1}, 0, &r, text));
    raft_buffer_release(e.buffer);
    return r;
}

static void check_round_trip(const raft_message *m, const raft_buffer *frame)
{
    expect(raft_message_size(m) == frame->size);
    unsigned char *again = malloc(frame->size);
    expect(again);
    raft_message_encode(m, again);
    expect(memcmp(again, frame->bytes, frame->size) == 0);
    free(again);
}

/* What a host would do with the effects that matter here. */
static void step(raft *r, raft_event e)
{
    const raft_effects *x = raft_step(r, &e);
    uint64_t number = x->write.number, at = x->apply_last;
    if (number && number % 3) raft_step(r, &(raft_event){.kind = RAFT_PERSISTED, .now_ns = e.now_ns, .persisted = number});
    if (at && at % 5 == 0) raft_step(r, &(raft_event){.kind = RAFT_SNAPSHOT_TAKEN, .now_ns = e.now_ns, .snapshot = {at, at, 100}});
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
    uint64_t now = 1;
    raft *r = new_server();
    for (size_t at = 0; at + 2 <= size;) {
        size_t n = (size_t)(data[at] | data[at + 1] << 8);
        at += 2;
        if (n > size - at) n = size - at;
        raft_buffer *frame = raft_buffer_new(data + at, (uint32_t)n);
        raft_decoded d;
        char text[RAFT_TEXT_LIMIT];
        if (frame && !raft_message_decode(frame, 0, &d, text)) {
            check_round_trip(&d.message, frame);
            step(r, (raft_event){.kind = RAFT_RECEIVE, .now_ns = now, .message = &d.message});
            raft_decoded_fini(&d);
        } else step(r, (raft_event){.kind = RAFT_TICK, .now_ns = now += 100000000});
        raft_buffer_release(frame);
        at += n;
    }
    raft_free(r);
    return 0;
}
