/*
 * What links promise, over both implementations: sockets (through a proxy that cuts and blocks) and the simulated network. CONTRACT(name) makes a case for each.
 */
#include "mailbox/link/link_internal.h"
#include "mailbox/link/link_sim.h"
#include "test/support/cut_proxy.h"
#include "test/support/link_end.h"

static struct net {
    link_sim *sim; /* NULL: sockets */
    cut_proxy proxy;
    bool has_proxy;
} net;

static double now_s(void) { return net.sim ? (double)link_sim_now_ns(net.sim) / 1e9 : test_now_s(); }

static void pause_ms(uint64_t ms)
{
    double end = now_s() + (double)ms / 1000;
    if (net.sim) link_sim_run_until(net.sim, link_sim_now_ns(net.sim) + ms * OS_NS_PER_MS);
    while (!net.sim && now_s() < end) sched_yield();
}

static void wait_a_little(void)
{
    if (net.sim) link_sim_run_until(net.sim, link_sim_now_ns(net.sim) + 100 * OS_NS_PER_US);
    else sched_yield();
}

/* Of the network's time. */
#define HOLDS(cond, seconds) \
    ({ \
        double end_ = now_s() + (seconds); \
        bool ok_; \
        while (!(ok_ = (cond)) && now_s() < end_) wait_a_little(); \
        ok_; \
    })

static void begin(bool is_sim)
{
    memset(&net, 0, sizeof net);
    if (is_sim) net.sim = link_sim_new(test_seed());
}

static void finish(void)
{
    if (net.has_proxy) cut_proxy_stop(&net.proxy);
    link_sim_free(net.sim);
    memset(&net, 0, sizeof net);
}

#define CONTRACT(name_) \
    static void name_(void); \
    TEST(name_##_zmq) { begin(false), name_(), finish(); } \
    TEST(name_##_sim) { begin(true), name_(), finish(); } \
    static void name_(void)

static manta_status open_end(link_end *e, link_options o, bool listens)
{
    char address[64];
    const char *addresses[2] = {NULL, NULL};
    snprintf(address, sizeof address, net.sim ? "tcp://end:%llu" : "tcp://127.0.0.1:0", (unsigned long long)o.self.process);
    if (listens) addresses[0] = address;
    memset(e, 0, sizeof *e);
    if (!o.self.incarnation) o.self.incarnation = 1;
    o.bind = addresses;
    return net.sim ? link_sim_open(net.sim, &o, &end_events, e, &e->links) : link_open(&o, &end_events, e, &e->links);
}

/* b to a, through what can be cut. */
static bool connect_to(link_end *b, link_end *a)
{
    const char *address = link_address(a->links, 0);
    if (!net.sim && !net.has_proxy) net.has_proxy = cut_proxy_start(&net.proxy, address, 0, 0);
    return link_connect(b->links, net.has_proxy ? net.proxy.address : address, 0) == MANTA_OK;
}

static bool pair_up_with(link_end *a, link_end *b, link_options of_b)
{
    of_b.self.process = 2;
    return open_end(a, (link_options){.self = {1, 1}}, true) == MANTA_OK && open_end(b, of_b, false) == MANTA_OK && connect_to(b, a) &&
           HOLDS(a->ups == 1 && b->ups == 1, 20);
}

static bool pair_up(link_end *a, link_end *b) { return pair_up_with(a, b, (link_options){0}); }

static bool has_cut(int before)
{
    net.proxy.cut_now = 1;
    return net.proxy.cuts > before;
}

static void cut(void)
{
    int before = net.proxy.cuts;
    if (net.sim) link_sim_cut(net.sim, 1, 2);
    else (void)WAIT_FOR(has_cut(before), 5);
}

static void block(bool on)
{
    if (net.sim) link_sim_partition(net.sim, 1, 2, on);
    else net.proxy.is_blocked = on;
}

static bool send_one(link_end *e, uint64_t to, uint64_t number, size_t size)
{
    manta_status status = MANTA_ELIMIT;
    for (double end = now_s() + 60; status == MANTA_ELIMIT && now_s() < end;)
        if ((status = end_try_send(e, to, number, size)) == MANTA_ELIMIT) wait_a_little();
    if (status) fprintf(stderr, "send: %s; last down: %s\n", manta_status_name(status), e->reason);
    return status == MANTA_OK;
}

static void close_both(link_end *a, link_end *b)
{
    link_close(b->links, 1000);
    link_close(a->links, 1000);
}

/* Thousands of messages of all sizes arrive whole, once and in order, both ways over one connection. */
CONTRACT(mixed_sizes)
{
    link_end a, b;
    static const size_t sizes[] = {8, 9, 15, 16, 100, 1000, 32700, 32768, 65536, 70001, 8, 24, 300, 300000};
    uint64_t n = (uint64_t)test_scaled(5000);
    EXPECT(pair_up(&a, &b));
    for (uint64_t i = 0; i < n; i++) {
        size_t size = sizes[i % (sizeof sizes / sizeof *sizes)];
        EXPECT(send_one(&a, 2, i, size) && send_one(&b, 1, i, size));
    }
    EXPECT(HOLDS(a.received == n && b.received == n, 60));
    EXPECT(!a.wrong && !b.wrong && a.bytes == b.bytes);
    close_both(&a, &b);
}

/* Connections that break cost nothing: no message is lost, none comes twice, order is kept, and nobody hears of it. */
CONTRACT(cuts)
{
    link_end a, b;
    uint64_t sent = 0;
    EXPECT(pair_up(&a, &b));
    for (int i = 0; i < 20; i++) {
        for (int k = 0; k < 200; k++, sent++) EXPECT(send_one(&a, 2, sent, 64) && send_one(&b, 1, sent, 900));
        if (i % 3) wait_a_little();
        cut();
        for (int k = 0; k < 50; k++, sent++) EXPECT(send_one(&a, 2, sent, 5000) && send_one(&b, 1, sent, 8));
        EXPECT(HOLDS(a.received >= sent - 25 && b.received >= sent - 25, 20)); /* it is up again, or nothing was under way */
    }
    EXPECT(HOLDS(a.received == sent && b.received == sent, 60));
    EXPECT(!a.wrong && !b.wrong && a.ups == 1 && b.ups == 1 && !a.downs && !b.downs);
    link_stats s;
    link_stats_get(b.links, &s);
    EXPECT(s.reconnects >= 5);
    close_both(&a, &b);
}

/* A partition that heals within down_after_ms: the same incarnation resumes. */
CONTRACT(heals)
{
    link_end a, b;
    EXPECT(pair_up(&a, &b));
    block(true);
    for (uint64_t i = 0; i < 500; i++) EXPECT(send_one(&a, 2, i, 100) && send_one(&b, 1, i, 100));
    pause_ms(1200);
    block(false);
    EXPECT(HOLDS(a.received == 500 && b.received == 500, 20));
    EXPECT(!a.wrong && !b.wrong && !a.downs && !b.downs && a.ups == 1 && b.ups == 1);
    close_both(&a, &b);
}

/* A longer one: both sides say down, once, within down_after_ms, and what is sent then is refused. */
CONTRACT(silence)
{
    link_end a, b;
    EXPECT(pair_up(&a, &b));
    double start = now_s();
    block(true);
    EXPECT(HOLDS(a.downs && b.downs, 10));
    double took = now_s() - start;
    EXPECT(took > 1.5 && took < 2.3);
    EXPECT(a.status == MANTA_ETIMEDOUT && b.status == MANTA_ETIMEDOUT);
    EXPECT_EQ(end_try_send(&a, 2, 0, 8), MANTA_ENOTFOUND);
    block(false);
    pause_ms(500);
    EXPECT(a.downs == 1 && b.downs == 1);
    close_both(&a, &b);
}

/* A newer incarnation takes the place of an older one: down once, then up; an older one is refused. */
CONTRACT(incarnations)
{
    link_end a, b, c, d;
    EXPECT(
        open_end(&a, (link_options){.self = {1, 1}}, true) == MANTA_OK && open_end(&b, (link_options){.self = {2, 4}}, false) == MANTA_OK);
    EXPECT(link_connect(b.links, link_address(a.links, 0), 0) == MANTA_OK && HOLDS(a.ups == 1 && b.ups == 1, 20));
    for (uint64_t i = 0; i < 100; i++) EXPECT(send_one(&b, 1, i, 8));
    EXPECT(HOLDS(a.received == 100, 20));
    if (net.sim) link_sim_crash(b.links, false);
    EXPECT_EQ(open_end(&c, (link_options){.self = {2, 5}}, false), MANTA_OK);
    EXPECT_EQ(link_connect(c.links, link_address(a.links, 0), 0), MANTA_OK);
    EXPECT(HOLDS(a.downs == 1 && a.ups == 2 && c.ups == 1, 20));
    a.next = 0; /* the numbers begin anew */
    EXPECT(send_one(&c, 1, 0, 8) && HOLDS(a.received == 101, 20) && !a.wrong);
    if (net.sim) link_sim_crash(c.links, true);
    EXPECT_EQ(open_end(&d, (link_options){.self = {2, 3}}, false), MANTA_OK);
    EXPECT_EQ(link_connect(d.links, link_address(a.links, 0), 0), MANTA_OK);
    EXPECT(HOLDS(d.failures == 1, 20));
    EXPECT(d.status == MANTA_ESTALE && a.downs == 1);
    link_close(d.links, 0);
    if (!net.sim) close_both(&b, &c);
    link_close(a.links, 0);
}

/* Above credit_bytes a send is refused, and on_room tells when it would not be. */
CONTRACT(credit)
{
    link_end a, b;
    static char data[60000];
    uint64_t sent = 0;
    bool refused = false;
    EXPECT(pair_up_with(&a, &b, (link_options){.credit_bytes = 100000}));
    for (int i = 0; i < 1000 && !refused; i++) {
        manta_status status = link_send(b.links, 1, data, sizeof data, NULL, 0, NULL, NULL);
        refused = status == MANTA_ELIMIT;
        sent += status == MANTA_OK;
    }
    EXPECT(refused && HOLDS(b.rooms >= 1, 20));
    EXPECT_EQ(link_send(b.links, 1, data, sizeof data, NULL, 0, NULL, NULL), MANTA_OK);
    EXPECT(HOLDS(a.received == sent + 1, 20));
    close_both(&a, &b);
}

/* A message above the sender's limit is refused there; above the receiver's, the link is dropped and says why. */
CONTRACT(message_limit)
{
    link_end a, b;
    static char data[3000];
    EXPECT(open_end(&a, (link_options){.self = {1, 1}, .message_limit = 1000}, true) == MANTA_OK);
    EXPECT(open_end(&b, (link_options){.self = {2, 1}, .message_limit = 2000}, false) == MANTA_OK && connect_to(&b, &a) &&
           HOLDS(b.ups == 1, 20));
    EXPECT_EQ(link_send(b.links, 1, data, 1500, data, 501, NULL, NULL), MANTA_ETOOLONG);
    EXPECT_EQ(link_send(b.links, 1, data, 1000, NULL, 0, NULL, NULL), MANTA_OK);
    EXPECT(HOLDS(a.received == 1, 20) && !a.downs);
    EXPECT_EQ(link_send(b.links, 1, data, 1001, NULL, 0, NULL, NULL), MANTA_OK);
    EXPECT(HOLDS(a.downs == 1 && b.downs == 1, 20));
    EXPECT(a.status == MANTA_EDECODE && strstr(a.reason, "above the limit") && a.received == 1);
    close_both(&a, &b);
}

/* Without a version in common there is no link, and the reason says so; with one there is. */
CONTRACT(versions)
{
    link_end a, b;
    EXPECT(
        open_end(&a, (link_options){.self = {1, 1}}, true) == MANTA_OK && open_end(&b, (link_options){.self = {2, 1}}, false) == MANTA_OK);
    b.links->lowest_version = 2;
    b.links->highest_version = 9;
    EXPECT(connect_to(&b, &a) && HOLDS(b.failures == 1, 20));
    EXPECT(b.status == MANTA_EDECODE && strstr(b.reason, "no version") && !a.ups);
    b.links->lowest_version = 1;
    EXPECT(connect_to(&b, &a) && HOLDS(b.ups == 1 && a.ups == 1, 20));
    close_both(&a, &b);
}

/* Who closes says goodbye, after what it has sent; who is dropped hears of it. */
CONTRACT(goodbye)
{
    link_end a, b;
    EXPECT(pair_up(&a, &b));
    for (uint64_t i = 0; i < 1000; i++) EXPECT(send_one(&b, 1, i, 100));
    link_close(b.links, 5000);
    EXPECT(HOLDS(a.downs == 1, 20));
    EXPECT(a.received == 1000 && !a.wrong && a.status == MANTA_ESHUTDOWN);
    EXPECT_EQ(open_end(&b, (link_options){.self = {3, 1}}, false), MANTA_OK);
    EXPECT_EQ(link_connect(b.links, link_address(a.links, 0), 0), MANTA_OK);
    EXPECT(HOLDS(a.ups == 2 && b.ups == 1, 20));
    link_drop(b.links, 1, MANTA_EINVAL);
    EXPECT(HOLDS(a.downs == 2 && b.downs == 1, 20));
    EXPECT(b.status == MANTA_EINVAL && a.status == MANTA_ESHUTDOWN);
    close_both(&a, &b);
}

/* Both connect to each other at once: one link, up once on each side, and it carries both directions. */
CONTRACT(both_connect)
{
    for (uint64_t i = 0; i < 20; i++) {
        link_end a, b;
        EXPECT_EQ(open_end(&a, (link_options){.self = {1, i + 1}}, true), MANTA_OK);
        EXPECT_EQ(open_end(&b, (link_options){.self = {2, i + 1}}, true), MANTA_OK);
        EXPECT_EQ(link_connect(a.links, link_address(b.links, 0), 0), MANTA_OK);
        EXPECT_EQ(link_connect(b.links, link_address(a.links, 0), 0), MANTA_OK);
        EXPECT(HOLDS(a.ups == 1 && b.ups == 1, 20));
        for (uint64_t k = 0; k < 100; k++) EXPECT(send_one(&a, 2, k, 50) && send_one(&b, 1, k, 50));
        EXPECT(HOLDS(a.received == 100 && b.received == 100, 20));
        EXPECT(!a.wrong && !b.wrong && a.ups == 1 && b.ups == 1 && !a.downs && !b.downs);
        close_both(&a, &b);
    }
}

/* What is out of reach is refused, at once or with a reason. */
CONTRACT(out_of_reach)
{
    link_end a, b;
    EXPECT(pair_up(&a, &b));
    EXPECT_EQ(link_send(a.links, 77, "x", 1, NULL, 0, NULL, NULL), MANTA_ENOTFOUND);
    EXPECT_EQ(link_connect(a.links, "nonsense", 0), MANTA_EINVAL);
    EXPECT_EQ(link_connect(b.links, "tcp://127.0.0.1:1", 0), MANTA_OK);
    EXPECT(HOLDS(b.failures == 1, 20));
    EXPECT(b.status == MANTA_ETIMEDOUT && strstr(b.reason, "tcp://127.0.0.1:1"));
    link_options none = {.self = {0, 1}}, full = {.self = {4, 1}, .peers_limit = 1};
    link_end c, d;
    EXPECT_EQ(open_end(&c, none, false), MANTA_EINVAL);
    EXPECT(open_end(&c, full, true) == MANTA_OK && open_end(&d, (link_options){.self = {5, 1}}, false) == MANTA_OK);
    EXPECT(link_connect(b.links, link_address(c.links, 0), 0) == MANTA_OK && HOLDS(c.ups == 1, 20));
    EXPECT(link_connect(d.links, link_address(c.links, 0), 0) == MANTA_OK && HOLDS(d.failures == 1, 20));
    EXPECT(d.status == MANTA_ELIMIT);
    link_close(d.links, 0);
    link_close(c.links, 0);
    close_both(&a, &b);
}
