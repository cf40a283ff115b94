/*
 * Any frames into the whole receive path of a link, on either side of a handshake: handshakes, data, acknowledgements, refusals, goodbyes, in any order and from several connections at once. Callbacks must come in pairs, messages
 * only while up and within their frame, and a peer of its own that behaves loses nothing.
 *
 * Input: records of {how u8, size u8, bytes}. how: bits 0-1 the connection that others began, bit 2 the one that we began instead, bit 3 the head is made right (kind from bits 4-6), bit 7 time passes before.
 */
#include <stdlib.h>
#include <string.h>

#include "mailbox/link/link_internal.h"
#include "mailbox/link/link_sim.h"

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

enum { SELF = 1, GOOD = 2, PEERS = 64 };

static struct {
    uint64_t up[PEERS];
    int n_up;
    uint64_t good_received, sum;
} seen;

static void check(bool ok)
{
    if (!ok) abort();
}

static int find_up(uint64_t process)
{
    for (int i = 0; i < seen.n_up; i++)
        if (seen.up[i] == process) return i;
    return -1;
}

static void on_up(void *context, link_peer peer, const char *address, const char *dialled)
{
    (void)context, (void)dialled;
    check(find_up(peer.process) < 0 && peer.process != SELF && strlen(address) <= FRAME_ADDRESS_LIMIT && seen.n_up < PEERS);
    seen.up[seen.n_up++] = peer.process;
}

static void on_down(void *context, link_peer peer, manta_status status, const char *reason)
{
    int i = find_up(peer.process);
    (void)context, (void)status;
    check(i >= 0 && strlen(reason) < 1000);
    seen.up[i] = seen.up[--seen.n_up];
}

static void on_message(void *context, link_peer peer, const link_message *m)
{
    (void)context;
    check(find_up(peer.process) >= 0 && (uintptr_t)m->data % 8 == 0);
    for (size_t i = 0; i < m->size_bytes; i++) seen.sum += ((const unsigned char *)m->data)[i];
    if (peer.process == GOOD) seen.good_received++;
}

static void nothing_up(void *context, link_peer peer, const char *address, const char *dialled)
{
    (void)context, (void)peer, (void)address, (void)dialled;
}

static void nothing_down(void *context, link_peer peer, manta_status status, const char *reason)
{
    (void)context, (void)peer, (void)status, (void)reason;
}

static void nothing_message(void *context, link_peer peer, const link_message *m) { (void)context, (void)peer, (void)m; }

/* A head that leads further in. A hello's process is never that of the peer that behaves: whoever may say that he is somebody else is him. */
static void make_right(links *l, unsigned char *bytes, size_t size, uint8_t how, uint32_t route)
{
    const session *s = how & 4 ? NULL : id_table_get(&l->routes, route);
    frame_head h = {.kind = (uint8_t)(1 + (how >> 4 & 7) % 6), .sequence = s ? s->expected : 0, .expected = s ? s->next_sequence : 1};
    if (size < FRAME_HELLO_HEAD) return;
    if (h.kind == FRAME_HELLO || h.kind == FRAME_WELCOME) {
        frame_hello hello = {
            .process = 3 + bytes[24] % 40, .incarnation = bytes[32] % 4, .lowest = 1, .highest = (uint8_t)(1 + bytes[33] % 2)};
        h.sequence = bytes[34] % 3 ? 0 : bytes[34];
        if (size >= FRAME_HELLO_HEAD + 1) (void)frame_put_hello(bytes, &h, &hello);
    } else frame_put_head(bytes, &h);
}

static bool claims_good(const unsigned char *bytes, size_t size)
{
    frame_head h;
    frame_hello hello;
    return !frame_get_head(bytes, size, &h) && (h.kind == FRAME_HELLO || h.kind == FRAME_WELCOME) &&
           !frame_get_hello(bytes, size, &hello) && hello.process == GOOD;
}

static void one(links *l, const unsigned char *data, size_t size, uint8_t how)
{
    zmq_msg_t m;
    uint32_t route = 1000 + (how & 3);
    if (zmq_msg_init_size(&m, size)) return;
    if (size) memcpy(zmq_msg_data(&m), data, size);
    if (how & 8) make_right(l, zmq_msg_data(&m), size, how, route);
    dial *d = l->dials;
    while (d && (d->is_over || (d->session && d->session->process == GOOD))) d = d->next;
    if (claims_good(zmq_msg_data(&m), size)) (void)0;
    else if (!(how & 4)) take_route_frame(l, route, &m, NULL);
    else if (d && d->connection) take_dial_frame(l, d, &m, NULL);
    zmq_msg_close(&m);
}

static void feed(link_sim *sim, links *l, const unsigned char *data, size_t size)
{
    for (size_t at = 0; at + 2 <= size;) {
        uint8_t how = data[at];
        size_t n = data[at + 1];
        at += 2;
        if (n > size - at) n = size - at;
        if (how & 128) link_sim_run_until(sim, link_sim_now_ns(sim) + 100 * OS_NS_PER_MS);
        l->now_ns = link_sim_now_ns(sim);
        one(l, data + at, n, how);
        at += n;
    }
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
    static const link_events events = {on_up, on_message, on_down, NULL, NULL},
                             quiet = {nothing_up, nothing_message, nothing_down, NULL, NULL};
    const char *bind[2] = {"tcp://self:1", NULL}, *other[2] = {"tcp://other:1", NULL};
    link_sim *sim = link_sim_new(1);
    links *l = NULL, *good = NULL, *third = NULL;
    memset(&seen, 0, sizeof seen);
    check(sim && !link_sim_open(sim, &(link_options){.self = {SELF, 1}, .bind = bind, .message_limit = 1 << 16, .peers_limit = 20}, &events,
                     NULL, &l));
    check(!link_sim_open(sim, &(link_options){.self = {GOOD, 1}}, &quiet, NULL, &good) && !link_connect(good, bind[0], SELF));
    check(!link_sim_open(sim, &(link_options){.self = {99, 1}, .bind = other}, &quiet, NULL, &third));
    link_sim_run_until(sim, link_sim_now_ns(sim) + 10 * OS_NS_PER_MS);
    check(!link_connect(l, other[0], 0));
    for (int i = 0; i < 5; i++) check(!link_send(good, SELF, "before", 7, NULL, 0, NULL, NULL));
    feed(sim, l, data, size);
    for (int i = 0; i < 5; i++) check(!link_send(good, SELF, "after", 6, NULL, 0, NULL, NULL));
    link_sim_run_until(sim, link_sim_now_ns(sim) + OS_NS_PER_S);
    check(seen.good_received == 10 && find_up(GOOD) >= 0 && l->sessions.count <= 20);
    link_close(good, 10);
    link_close(third, 10);
    link_close(l, 10);
    link_sim_free(sim);
    return 0;
}
