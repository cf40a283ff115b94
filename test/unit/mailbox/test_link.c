/* Links over ZeroMQ between ends of one process: handshakes, order, sizes, limits, ends, keys, hostile peers. */
#include <unistd.h>
#include <zmq.h>

#include "mailbox/link/frame.h"
#include "test/support/link_end.h"

static const char *fresh_ipc(void)
{
    static char text[100];
    static int n;
    snprintf(text, sizeof text, "ipc:///tmp/manta-test-%d-link-%d", (int)getpid(), n++);
    return text;
}

static bool pair_up(link_end *a, link_end *b, const char *address)
{
    if (end_open(a, 1, address) || end_open(b, 2, NULL) || link_connect(b->links, link_address(a->links, 0), 0)) return false;
    return WAIT_FOR(a->ups == 1 && b->ups == 1, 20) && a->peer == 2 && b->peer == 1;
}

static void close_both(link_end *a, link_end *b)
{
    link_close(b->links, 1000);
    link_close(a->links, 1000);
}

static void both_ways(const char *address)
{
    link_end a, b;
    EXPECT(pair_up(&a, &b, address));
    static const size_t sizes[] = {8, 9, 15, 16, 100, 1000, 32700, 32768, 65536, 70001, 1 << 20, 3 << 20};
    uint64_t n = 0;
    for (int round = 0; round < 20; round++)
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++, n++)
            EXPECT(end_send(&a, 2, n, sizes[i]) == MANTA_OK && end_send(&b, 1, n, sizes[i]) == MANTA_OK);
    EXPECT(WAIT_FOR(a.received == n && b.received == n, 60));
    EXPECT(!a.wrong && !b.wrong && a.bytes == b.bytes);
    EXPECT_EQ(end_send(&a, 2, 0, 0), MANTA_OK);
    EXPECT(WAIT_FOR(b.received == n + 1, 20));
    close_both(&a, &b);
}

/* Messages of all sizes arrive whole and in order, both ways over one connection. */
TEST(both_ways_ipc) { both_ways(fresh_ipc()); }
TEST(both_ways_tcp) { both_ways("tcp://127.0.0.1:0"); }

/* A million small messages are packed into few frames. */
TEST(many)
{
    link_end a, b;
    uint64_t n = (uint64_t)test_scaled(1000000);
    EXPECT(pair_up(&a, &b, fresh_ipc()));
    for (uint64_t i = 0; i < n; i++) EXPECT_EQ(end_send(&a, 2, i, 8), MANTA_OK);
    EXPECT(WAIT_FOR(b.received == n, 60));
    EXPECT_EQ(b.wrong, 0);
    link_stats s;
    link_stats_get(a.links, &s);
    EXPECT(s.frames_sent < n / 4);
    close_both(&a, &b);
}

/* What is out of reach or out of measure is refused at once. */
TEST(refusals)
{
    link_end a, b, c;
    EXPECT(pair_up(&a, &b, fresh_ipc()));
    EXPECT_EQ(link_send(a.links, 77, "x", 1, NULL, 0, NULL, NULL), MANTA_ENOTFOUND);
    EXPECT_EQ(link_send(a.links, 2, "x", 1, NULL, (size_t)65 << 20, NULL, NULL), MANTA_ETOOLONG);
    EXPECT_EQ(link_connect(a.links, "nonsense", 0), MANTA_EINVAL);
    EXPECT_EQ(link_connect(b.links, "ipc:///tmp/manta-test-nobody", 0), MANTA_OK);
    EXPECT(WAIT_FOR(b.failures == 1, 20));
    EXPECT(b.status == MANTA_ETIMEDOUT && strstr(b.reason, "manta-test-nobody"));
    EXPECT_EQ(end_open(&c, 3, NULL), MANTA_OK);
    EXPECT_EQ(link_connect(c.links, link_address(a.links, 0), 99), MANTA_OK);
    EXPECT(WAIT_FOR(c.failures == 1, 20));
    EXPECT(c.status == MANTA_ENOTFOUND && strstr(c.reason, "another process"));
    EXPECT_EQ(end_open(&c, 0, NULL), MANTA_EINVAL);
    EXPECT_EQ(end_open(&c, 3, "tcp://0.0.0.0:0"), MANTA_EINVAL);
    EXPECT(strstr(link_error(), "insecure"));
    EXPECT_EQ(end_open(&c, 3, "tcp://127.0.0.1:port"), MANTA_EINVAL);
    close_both(&a, &b);
}

/* Above credit_bytes a send is refused, and on_room tells when it would not be. */
TEST(credit)
{
    link_end a, b;
    const char *address = fresh_ipc();
    EXPECT_EQ(end_open(&a, 1, address), MANTA_OK);
    EXPECT_EQ(end_open_with(&b, NULL, (link_options){.self = {2, 1}, .credit_bytes = 100000}), MANTA_OK);
    EXPECT_EQ(link_connect(b.links, address, 1), MANTA_OK);
    EXPECT(WAIT_FOR(b.ups == 1, 20));
    static char data[60000];
    uint64_t sent = 0;
    bool refused = false;
    for (int i = 0; i < 1000 && !refused; i++) {
        manta_status status = link_send(b.links, 1, data, sizeof data, NULL, 0, NULL, NULL);
        refused = status == MANTA_ELIMIT;
        sent += status == MANTA_OK;
    }
    EXPECT(refused);
    EXPECT(WAIT_FOR(b.rooms >= 1, 20));
    EXPECT_EQ(link_send(b.links, 1, data, sizeof data, NULL, 0, NULL, NULL), MANTA_OK);
    EXPECT(WAIT_FOR(a.received == sent + 1, 20));
    close_both(&a, &b);
}

/* Who closes says goodbye, after what it has sent; who is dropped hears of it. */
TEST(goodbye)
{
    link_end a, b;
    EXPECT(pair_up(&a, &b, fresh_ipc()));
    for (uint64_t i = 0; i < 1000; i++) EXPECT_EQ(end_send(&b, 1, i, 100), MANTA_OK);
    link_close(b.links, 5000);
    EXPECT(WAIT_FOR(a.downs == 1, 20));
    EXPECT(a.received == 1000 && !a.wrong && a.status == MANTA_ESHUTDOWN);
    EXPECT_EQ(end_open(&b, 3, NULL), MANTA_OK);
    EXPECT_EQ(link_connect(b.links, link_address(a.links, 0), 0), MANTA_OK);
    EXPECT(WAIT_FOR(a.ups == 2 && b.ups == 1, 20));
    link_drop(a.links, 3, MANTA_EDECODE);
    EXPECT(WAIT_FOR(a.downs == 2 && b.downs == 1, 20));
    EXPECT_EQ(a.status, MANTA_EDECODE);
    close_both(&a, &b);
}

/* Both connect to each other at once: one link, up once on each side, and it carries both directions. */
TEST(both_connect)
{
    for (int i = 0; i < 20; i++) {
        link_end a, b;
        EXPECT_EQ(end_open(&a, 1, fresh_ipc()), MANTA_OK);
        EXPECT_EQ(end_open(&b, 2, fresh_ipc()), MANTA_OK);
        EXPECT_EQ(link_connect(a.links, link_address(b.links, 0), 0), MANTA_OK);
        EXPECT_EQ(link_connect(b.links, link_address(a.links, 0), 0), MANTA_OK);
        EXPECT(WAIT_FOR(a.ups == 1 && b.ups == 1, 20));
        for (uint64_t k = 0; k < 100; k++) EXPECT(end_send(&a, 2, k, 50) == MANTA_OK && end_send(&b, 1, k, 50) == MANTA_OK);
        EXPECT(WAIT_FOR(a.received == 100 && b.received == 100, 20));
        EXPECT(!a.wrong && !b.wrong && a.ups == 1 && b.ups == 1 && !a.downs && !b.downs);
        close_both(&a, &b);
    }
}

/* A newer incarnation takes the place of an older one, and not the other way round. */
TEST(incarnations)
{
    link_end a, b, c, d;
    EXPECT(pair_up(&a, &b, fresh_ipc()));
    EXPECT_EQ(end_open_with(&c, NULL, (link_options){.self = {2, 5}}), MANTA_OK);
    EXPECT_EQ(link_connect(c.links, link_address(a.links, 0), 0), MANTA_OK);
    EXPECT(WAIT_FOR(a.downs == 1 && a.ups == 2 && c.ups == 1, 20));
    EXPECT_EQ(end_send(&c, 1, 0, 8), MANTA_OK);
    EXPECT(WAIT_FOR(a.received == 1, 20));
    EXPECT_EQ(end_open_with(&d, NULL, (link_options){.self = {2, 3}}), MANTA_OK);
    EXPECT_EQ(link_connect(d.links, link_address(a.links, 0), 0), MANTA_OK);
    EXPECT(WAIT_FOR(d.failures == 1, 20));
    EXPECT_EQ(d.status, MANTA_ESTALE);
    link_close(d.links, 0);
    link_close(c.links, 0);
    close_both(&a, &b);
}

/* With keys only who has the right ones comes in. */
TEST(keys)
{
    link_end a, b, c;
    char public_key[2][41], secret_key[2][41];
    for (int i = 0; i < 2; i++) EXPECT_EQ(link_keygen(public_key[i], secret_key[i]), MANTA_OK);
    EXPECT_EQ(
        end_open_with(&a, "tcp://127.0.0.1:0", (link_options){.self = {1, 1}, .public_key = public_key[0], .secret_key = secret_key[0]}),
        MANTA_OK);
    EXPECT_EQ(end_open_with(&b, NULL, (link_options){.self = {2, 1}, .public_key = public_key[0], .secret_key = secret_key[0]}), MANTA_OK);
    EXPECT_EQ(link_connect(b.links, link_address(a.links, 0), 0), MANTA_OK);
    EXPECT(WAIT_FOR(b.ups == 1, 20));
    EXPECT_EQ(end_send(&b, 1, 0, 100000), MANTA_OK);
    EXPECT(WAIT_FOR(a.received == 1 && !a.wrong, 20));
    EXPECT_EQ(end_open_with(&c, NULL, (link_options){.self = {3, 1}, .public_key = public_key[1], .secret_key = secret_key[1]}), MANTA_OK);
    EXPECT_EQ(link_connect(c.links, link_address(a.links, 0), 0), MANTA_OK);
    EXPECT(WAIT_FOR(c.failures == 1, 20));
    link_close(c.links, 0);
    EXPECT_EQ(end_open(&c, 4, NULL), MANTA_OK); /* without keys */
    EXPECT_EQ(link_connect(c.links, link_address(a.links, 0), 0), MANTA_OK);
    EXPECT(WAIT_FOR(c.failures == 1, 20));
    EXPECT_EQ(a.ups, 1);
    link_close(c.links, 0);
    close_both(&a, &b);
}

/* Bytes of all kinds from a raw socket: refused or ignored, and the other peers notice nothing. */
TEST(hostile)
{
    link_end a, b;
    EXPECT(pair_up(&a, &b, fresh_ipc()));
    void *zmq = zmq_ctx_new(), *raw = zmq_socket(zmq, ZMQ_DEALER);
    int linger = 0;
    zmq_setsockopt(raw, ZMQ_LINGER, &linger, sizeof linger);
    EXPECT_EQ(zmq_connect(raw, link_address(a.links, 0)), 0);
    unsigned char good[FRAME_HELLO_HEAD + FRAME_ADDRESS_LIMIT];
    frame_hello hello = {.process = 50, .incarnation = 1, .lowest = 1, .highest = 1};
    size_t n = frame_put_hello(good, &(frame_head){FRAME_HELLO, 0, 1}, &hello);
    for (size_t i = 0; i < n; i++) { /* every cut of a handshake, and every byte of one changed */
        zmq_send(raw, good, i, 0);
        good[i] ^= 0xff;
        zmq_send(raw, good, n, 0);
        good[i] ^= 0xff;
    }
    zmq_send(raw, "one", 3, ZMQ_SNDMORE);
    zmq_send(raw, "two", 3, 0);
    unsigned char data[64] = {0};
    frame_put_head(data, &(frame_head){FRAME_DATA, 1, 1});
    frame_put_count(data, 1);
    memset(data + 32, 0xff, 8); /* a message of 4 GiB */
    zmq_send(raw, good, n, 0);
    zmq_send(raw, data, sizeof data, 0);
    for (uint64_t i = 0; i < 1000; i++) EXPECT_EQ(end_send(&b, 1, i, 64), MANTA_OK);
    EXPECT(WAIT_FOR(a.received == 1000, 20));
    EXPECT_EQ(a.wrong, 0);
    link_stats s;
    EXPECT(WAIT_FOR((link_stats_get(a.links, &s), s.refused > 10), 20));
    zmq_close(raw);
    zmq_ctx_term(zmq);
    close_both(&a, &b);
}
