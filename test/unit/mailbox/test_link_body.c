/* Large bodies are sent from where they are: whole, given back once, also when the connection breaks or the peer goes; over sockets and over the simulated network. */
#include <unistd.h>

#include "mailbox/link/link_sim.h"
#include "scheduler/base/rng.h"
#include "test/support/test.h"

enum { BODY = 300001, MESSAGES = 40 };

typedef struct body {
    unsigned char *bytes;
    _Atomic int freed;
} body;

static _Atomic int received, wrong, split, ups, downs;

static unsigned char byte_of(int number, size_t i) { return (unsigned char)(number * 31 + (int)(i * 7)); }

static void on_up(void *context, link_peer p, const char *address, const char *dialled)
{
    (void)context, (void)p, (void)address, (void)dialled;
    ups++;
}

static void on_down(void *context, link_peer p, manta_status status, const char *reason)
{
    (void)context, (void)p, (void)status, (void)reason;
    downs++;
}

static void on_message(void *context, link_peer p, const link_message *m)
{
    int number = -1;
    (void)context, (void)p;
    const unsigned char *rest = m->body ? m->body : (const unsigned char *)m->data + sizeof number;
    memcpy(&number, m->data, sizeof number);
    bool ok = number == received && m->size_bytes + m->body_bytes == sizeof number + BODY && (!m->body || m->size_bytes == sizeof number);
    for (size_t i = 0; ok && i < BODY; i += 97) ok = rest[i] == byte_of(number, i);
    wrong += !ok;
    split += m->body != NULL;
    received++;
}

static void give_back(void *bytes, void *hint)
{
    body *b = hint;
    free(bytes);
    b->freed++;
}

static bool send_body(links *l, uint64_t to, int number, body *b)
{
    *b = (body){.bytes = malloc(BODY)};
    for (size_t i = 0; i < BODY; i++) b->bytes[i] = byte_of(number, i);
    return link_send(l, to, &number, sizeof number, b->bytes, BODY, give_back, b) == MANTA_OK;
}

static int freed(const body *all, int n)
{
    int sum = 0;
    for (int i = 0; i < n; i++) sum += all[i].freed;
    return sum;
}

static void forget(void) { received = wrong = split = ups = downs = 0; }

static const link_events events = {.on_up = on_up, .on_message = on_message, .on_down = on_down};

/* Between two sockets, the body is a part of its own on both sides. */
TEST(over_sockets)
{
    static body all[MESSAGES];
    links *a, *b;
    char address[64];
    snprintf(address, sizeof address, "ipc:///tmp/manta-test-body-%d", (int)getpid());
    const char *bind[] = {address, NULL};
    forget();
    EXPECT_EQ(link_open(&(link_options){.self = {1, 1}, .bind = bind}, &events, NULL, &a), MANTA_OK);
    EXPECT_EQ(link_open(&(link_options){.self = {2, 1}}, &events, NULL, &b), MANTA_OK);
    EXPECT_EQ(link_connect(b, address, 0), MANTA_OK);
    EXPECT(WAIT_FOR(ups == 2, 20));
    for (int i = 0; i < MESSAGES; i++) EXPECT(send_body(b, 1, i, &all[i]));
    EXPECT(WAIT_FOR(received == MESSAGES && freed(all, MESSAGES) == MESSAGES, 20));
    EXPECT(wrong == 0 && split == MESSAGES);
    forget();
    for (int i = 0; i < MESSAGES; i++) EXPECT(send_body(a, 2, i, &all[i])); /* and through the ROUTER */
    EXPECT(WAIT_FOR(received == MESSAGES && freed(all, MESSAGES) == MESSAGES, 20));
    EXPECT(wrong == 0 && split == MESSAGES);
    link_close(a, 0);
    link_close(b, 0);
}

/* What nobody takes any more is given back: to a peer that is not there, and when the links close with bodies under way. */
TEST(given_back)
{
    static body all[MESSAGES];
    links *a, *b;
    char address[64];
    snprintf(address, sizeof address, "ipc:///tmp/manta-test-body2-%d", (int)getpid());
    const char *bind[] = {address, NULL};
    forget();
    EXPECT_EQ(link_open(&(link_options){.self = {1, 1}, .bind = bind}, &events, NULL, &a), MANTA_OK);
    EXPECT_EQ(link_open(&(link_options){.self = {2, 1}}, &events, NULL, &b), MANTA_OK);
    EXPECT(!send_body(b, 1, 0, &all[0]));
    EXPECT_EQ(all[0].freed, 1);
    EXPECT_EQ(link_connect(b, address, 0), MANTA_OK);
    EXPECT(WAIT_FOR(ups == 2, 20));
    for (int i = 0; i < MESSAGES; i++) EXPECT(send_body(b, 1, i, &all[i]));
    link_close(b, 0);
    link_close(a, 0);
    EXPECT_EQ(freed(all, MESSAGES), MESSAGES);
}

/* Connections that break lose no body and repeat none. */
TEST(over_breaks)
{
    static body all[MESSAGES];
    static const char *const bind[] = {"tcp://one", NULL};
    links *a, *b;
    rng r;
    rng_init(&r, test_seed());
    link_sim *s = link_sim_new(test_seed());
    forget();
    EXPECT(s);
    EXPECT_EQ(link_sim_open(s, &(link_options){.self = {1, 1}, .bind = bind}, &events, NULL, &a), MANTA_OK);
    EXPECT_EQ(link_sim_open(s, &(link_options){.self = {2, 1}}, &events, NULL, &b), MANTA_OK);
    for (int way = 0; way < 2; way++)
        *link_sim_path_of(s, 2 - (uint64_t)way, 1 + (uint64_t)way) =
            (link_sim_path){.delay_min_ns = 100000, .delay_max_ns = 300000, .bytes_per_s = 1000000000, .twice_ppm = 100000};
    EXPECT_EQ(link_connect(b, "tcp://one", 0), MANTA_OK);
    while (ups < 2) EXPECT(link_sim_step(s, UINT64_MAX));
    for (int i = 0; i < MESSAGES; i++) {
        EXPECT(send_body(b, 1, i, &all[i]));
        link_sim_run_until(s, link_sim_now_ns(s) + rng_next(&r) % 3000000);
        if (i % 5 == 4) link_sim_cut(s, 1, 2);
    }
    link_sim_run_until(s, link_sim_now_ns(s) + 5000000000);
    EXPECT(received == MESSAGES && wrong == 0 && downs == 0);
    EXPECT_EQ(freed(all, MESSAGES), MESSAGES);
    link_close(b, 0);
    link_close(a, 0);
    link_sim_free(s);
}
