/* A live process under attack by raw sockets, while another peer keeps calling it: the attackers are refused or dropped, the other notices nothing, and memory stays where it was. */
#include <arpa/inet.h>
#include <dirent.h>
#include <netinet/in.h>
#include <zmq.h>

#include "actor/node/node.h"
#include "mailbox/link/frame.h"
#include "scheduler/base/rng.h"
#include "test/support/actors.h"
#include "test/support/child.h"

MANTA_ACTOR(Target, int64_t calls;)
MANTA_METHOD(Target, add, int64_t, (int64_t, n)) { return self->calls += n; }
MANTA_CLASS(Target, add)

/* argument: the address. Calls until the parent says so; answers with how many calls failed. */
CHILD(good)
{
    manta_config c = {.size = sizeof c, .workers = 1, .listen = "ipc:///tmp/manta-hostile-good", .join = argument};
    char own[64], byte;
    snprintf(own, sizeof own, "ipc:///tmp/manta-hostile-%d", (int)getpid());
    c.listen = own;
    manta_t *m = manta_init_with(&c);
    manta_process_info there[4];
    size_t n = 0;
    manta_actor a;
    if (!m || manta_list_processes(there, 4, &n) || n < 1 || manta_lookup_in(there[0].process, "target", &a)) _exit(3);
    int64_t counts[2] = {0, 0}, value;
    if (!child_say(parent)) _exit(4);
    do {
        counts[1] += manta_get(Target_add(Target_ref_of(a), 0), &value) != MANTA_OK;
        counts[0]++;
    } while (recv(parent, &byte, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN);
    if (write(parent, counts, sizeof counts) != sizeof counts) _exit(5);
    _exit(manta_shutdown(m) == MANTA_OK ? 0 : 6);
}

static struct {
    manta_t *system;
    child_process child;
    Target_ref target;
    char byte;
    void *zmq;
    int port;
    rng random;
    long pages;
} all;

static long resident_pages(void)
{
    long size = 0, resident = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    if (f && fscanf(f, "%ld %ld", &size, &resident) != 2) resident = 0;
    if (f) fclose(f);
    return resident;
}

static int open_files(void)
{
    DIR *d = opendir("/proc/self/fd");
    int n = 0;
    while (d && readdir(d)) n++;
    if (d) closedir(d);
    return n;
}

static bool start(void)
{
    manta_config c = {.size = sizeof c, .workers = 2, .listen = "tcp://127.0.0.1:*"};
    rng_init(&all.random, test_seed());
    if (!(all.system = manta_init_with(&c)) || sscanf(manta_listen_address(0), "tcp://127.0.0.1:%d", &all.port) != 1) return false;
    all.target = Target_spawn();
    if (manta_register("target", all.target.actor)) return false;
    all.child = child_start("good", manta_listen_address(0));
    all.zmq = zmq_ctx_new();
    zmq_ctx_set(all.zmq, ZMQ_MAX_SOCKETS, 4096);
    bool up = child_hear(all.child.fd, &all.byte, 1);
    all.pages = resident_pages();
    return up;
}

/* The other peer made calls all the time and none failed; what the attack took has been given back. */
static bool unharmed(void)
{
    int64_t counts[2] = {0, 0};
    long more = (resident_pages() - all.pages) * 4;
    bool ok = child_say(all.child.fd) && child_hear(all.child.fd, counts, sizeof counts);
    int status = child_end(&all.child, 0);
    zmq_ctx_term(all.zmq);
    printf("     %" PRId64 " calls of the good peer, %" PRId64 " failed, %ld KiB more resident\n", counts[0], counts[1], more);
    ok = ok && counts[0] > 0 && !counts[1] && !status && manta_shutdown(all.system) == MANTA_OK;
    return ok && (getenv("MANTA_TEST_SCALE") || more < 64 << 10);
}

static void *attacker(void)
{
    void *s = zmq_socket(all.zmq, ZMQ_DEALER);
    int none = 0, limit = 1000;
    zmq_setsockopt(s, ZMQ_LINGER, &none, sizeof none);
    zmq_setsockopt(s, ZMQ_SNDTIMEO, &limit, sizeof limit);
    zmq_setsockopt(s, ZMQ_RCVTIMEO, &limit, sizeof limit);
    zmq_connect(s, manta_listen_address(0));
    return s;
}

static size_t make_hello(unsigned char *out, uint64_t process, uint64_t incarnation)
{
    frame_hello h = {.process = process, .incarnation = incarnation, .lowest = 1, .highest = 1};
    return frame_put_hello(out, &(frame_head){FRAME_HELLO, 0, 1}, &h);
}

/* The kind of the next frame; 0: none within a second. Signs of life are passed over. */
static int next_kind(void *s, unsigned char *out, size_t room)
{
    for (;;) {
        int n = zmq_recv(s, out, room, 0);
        if (n < 6) return 0;
        if (out[5] != FRAME_ACK) return out[5];
    }
}

static bool greet(void *s, uint64_t process)
{
    unsigned char bytes[512];
    size_t n = make_hello(bytes, process, 1);
    return zmq_send(s, bytes, n, 0) >= 0 && next_kind(s, bytes, sizeof bytes) == FRAME_WELCOME;
}

static size_t make_data(unsigned char *out, uint64_t sequence, const wire_head *h, const void *rest, size_t bytes)
{
    frame_put_head(out, &(frame_head){FRAME_DATA, sequence, 1});
    frame_put_count(out, 1);
    unsigned char *to = frame_put_message(out + FRAME_DATA_HEAD, sizeof *h + bytes);
    memcpy(to, h, sizeof *h);
    memcpy(to + sizeof *h, rest, bytes);
    return FRAME_DATA_HEAD + frame_message_bytes(sizeof *h + bytes);
}

/* Whether a frame of the kind comes, whatever is before it. */
static bool hears(void *s, int kind)
{
    static unsigned char bytes[4096];
    int next;
    do next = next_kind(s, bytes, sizeof bytes);
    while (next && next != kind);
    return next == kind;
}

/* Random bytes, as a first word and inside a link, and frames that are right but for one byte. */
TEST(garbage)
{
    EXPECT(start());
    unsigned char bytes[2048], good[512], seen[512];
    size_t n = make_hello(good, 777, 1);
    for (int round = 0; round < 40; round++) {
        void *s = attacker();
        if (round % 2) EXPECT(greet(s, 1000 + (uint64_t)round));
        for (int i = 0; i < 100; i++) {
            size_t size = rng_below(&all.random, sizeof bytes);
            for (size_t k = 0; k < size; k++) bytes[k] = (unsigned char)rng_next(&all.random);
            if (i % 2 && size > 8)
                memcpy(bytes, "MNTL\1", 5), bytes[5] = (unsigned char)(1 + rng_below(&all.random, 6)), bytes[6] = bytes[7] = 0;
            zmq_send(s, bytes, size, 0);
        }
        good[rng_below(&all.random, n)] ^= (unsigned char)(1 + rng_below(&all.random, 255));
        zmq_send(s, good, n, 0);
        n = make_hello(good, 777, 1);
        if (round < 2) EXPECT(next_kind(s, seen, sizeof seen) > 0); /* a refusal, or a goodbye */
        zmq_close(s);
    }
    EXPECT(unharmed());
}

/* Recorded frames that are sent again, on the same connection and on others, do nothing twice. */
TEST(replay)
{
    EXPECT(start());
    unsigned char data[512], seen[4096];
    wire_head h = {.kind = WIRE_NAMED, .to = all.target.actor.id, .call = 1};
    size_t n = make_data(data, 1, &h,
        "\xa3"
        "add\x91\x07",
        6);
    int64_t value = 0;
    for (int round = 0; round < 5; round++) {
        void *s = attacker();
        EXPECT(greet(s, 4242));
        for (int i = 0; i < 20; i++) zmq_send(s, data, n, 0);
        EXPECT(round || WAIT_FOR(manta_await(Target_add(all.target, 0)) == 7, 10));
        (void)next_kind(s, seen, sizeof seen);
        zmq_close(s);
    }
    EXPECT(manta_get(Target_add(all.target, 0), &value) == MANTA_OK && value == 7);
    EXPECT(unharmed());
}

/* Wrong versions are refused with the reason; sizes beyond the frame, the limit or all memory end the link. */
TEST(versions_and_lengths)
{
    EXPECT(start());
    unsigned char bytes[512], seen[512];
    void *s = attacker();
    frame_hello later = {.process = 9, .incarnation = 1, .lowest = 2, .highest = 7};
    size_t n = frame_put_hello(bytes, &(frame_head){FRAME_HELLO, 0, 1}, &later);
    EXPECT(zmq_send(s, bytes, n, 0) > 0 && next_kind(s, seen, sizeof seen) == FRAME_REFUSE && strstr((char *)seen + 32, "no version"));
    n = make_hello(bytes, 9, 1);
    bytes[4] = 2;
    EXPECT(zmq_send(s, bytes, n, 0) > 0 && next_kind(s, seen, sizeof seen) == FRAME_REFUSE && strstr((char *)seen + 32, "version"));
    n = make_hello(bytes, 9, 1);
    memset(bytes + 52, 0xff, 4);
    EXPECT(zmq_send(s, bytes, n, 0) > 0 && next_kind(s, seen, sizeof seen) == FRAME_REFUSE);
    zmq_close(s);
    static const uint32_t sizes[] = {0xffffffff, 0x7fffffff, 64 << 20, 1000, 0xfffffff8};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        s = attacker();
        EXPECT(greet(s, 100 + i));
        frame_put_head(bytes, &(frame_head){FRAME_DATA, 1, 1});
        memset(bytes + 24, i % 2 ? 0xff : 1, 8);
        memcpy(bytes + 32, &sizes[i], 4);
        EXPECT(zmq_send(s, bytes, 100, 0) > 0 && hears(s, FRAME_BYE));
        zmq_close(s);
    }
    EXPECT(unharmed());
}

/* A link's frames are right and the messages in them are not: heads of no kind, ids of no actor, more names than the limit. */
TEST(messages)
{
    EXPECT(start());
    static unsigned char bytes[4096];
    unsigned char rest[256];
    for (uint64_t round = 0; round < 60; round++) {
        void *s = attacker();
        EXPECT(greet(s, 5000 + round));
        for (uint64_t i = 1; i <= 40; i++) {
            for (size_t k = 0; k < sizeof rest; k++) rest[k] = (unsigned char)rng_next(&all.random);
            wire_head h = {.kind = (uint8_t)rng_below(&all.random, WIRE_KINDS + 2), .status = (uint32_t)rng_below(&all.random, 40)};
            h.to = rng_below(&all.random, 3) ? rng_next(&all.random) : all.target.actor.id;
            h.from = rng_next(&all.random) >> rng_below(&all.random, 64);
            h.call = rng_below(&all.random, 3);
            h.method = rng_next(&all.random);
            if (h.kind == WIRE_KILL || h.kind == WIRE_STOP || h.kind == WIRE_EXIT || h.kind == WIRE_LINK)
                h.to = 12345; /* whoever is let in may stop actors */
            size_t n = make_data(bytes, i, &h, rest, rng_below(&all.random, sizeof rest));
            zmq_send(s, bytes, n, 0);
        }
        zmq_close(s);
    }
    EXPECT(unharmed());
}

/* Many names from one peer end its link at the limit. */
TEST(names)
{
    EXPECT(start());
    void *s = attacker();
    unsigned char bytes[512];
    EXPECT(greet(s, 6000));
    wire_head h = {.kind = WIRE_HELLO, .status = 1};
    zmq_send(s, bytes, make_data(bytes, 1, &h, "", 0), 0);
    h = (wire_head){.kind = WIRE_JOIN, .from = 1};
    bool sent = true;
    for (uint64_t i = 2; i < 80000 && sent; i++) {
        char name[32];
        int n = snprintf(name, sizeof name, "name %d", (int)i);
        sent = zmq_send(s, bytes, make_data(bytes, i, &h, name, (size_t)n + 1), 0) > 0;
    }
    EXPECT(hears(s, FRAME_BYE));
    zmq_close(s);
    EXPECT(unharmed());
}

static int raw_connection(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)all.port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    return fd >= 0 && connect(fd, (struct sockaddr *)&a, sizeof a) == 0 ? fd : -1;
}

/* Connections that say nothing, half a greeting, or a frame of 2^63 bytes are closed by ZeroMQ, and their files are given back. */
TEST(half_handshakes)
{
    EXPECT(start());
    enum { HALF = 100 };
    int fds[HALF], before = open_files();
    unsigned char greeting[64] = {0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f, 3, 0, 'N', 'U', 'L', 'L'};
    for (int i = 0; i < HALF; i++) {
        EXPECT((fds[i] = raw_connection()) >= 0);
        if (i % 3 == 1) (void)send(fds[i], greeting, 11, MSG_NOSIGNAL);
        if (i % 3 != 2) continue;
        unsigned char rest[] = {4, 25, 5, 'R', 'E', 'A', 'D', 'Y', 2, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
        (void)send(fds[i], greeting, sizeof greeting, MSG_NOSIGNAL);
        (void)send(fds[i], rest, sizeof rest, MSG_NOSIGNAL);
    }
    EXPECT(WAIT_FOR(open_files() >= before + HALF + HALF / 2, 5));
    EXPECT(WAIT_FOR(open_files() <= before + HALF + 5, 15)); /* ours are still open, theirs are not */
    for (int i = 0; i < HALF; i++) close(fds[i]);
    EXPECT(unharmed());
}

/* Processes without number: many on one connection are refused, one on each of many connections are gone when they are silent. */
TEST(flood_of_hellos)
{
    EXPECT(start());
    unsigned char bytes[512];
    void *s = attacker();
    EXPECT(greet(s, 1 << 20));
    for (uint64_t i = 1; i <= 20000; i++) zmq_send(s, bytes, make_hello(bytes, (1 << 20) + i, 1), 0);
    EXPECT(hears(s, FRAME_REFUSE));
    zmq_close(s);
    enum { MANY = 200 };
    void *many[MANY];
    for (uint64_t i = 0; i < MANY; i++) {
        many[i] = attacker();
        zmq_send(many[i], bytes, make_hello(bytes, 7000 + i, 1), 0);
    }
    static manta_process_info infos[MANY * 2];
    size_t n = 0, up = MANY;
    (void)WAIT_FOR(manta_list_processes(infos, MANY * 2, &n) == MANTA_OK && n >= MANY, 10);
    EXPECT(n >= MANY && n < MANY + 10);
    for (double end = test_now_s() + 10; up > 1 && test_now_s() < end; sched_yield()) {
        (void)manta_list_processes(infos, MANY * 2, &n);
        up = 0;
        for (size_t i = 0; i < n; i++) up += infos[i].is_up;
    }
    EXPECT_EQ(up, 1); /* the good one */
    for (int i = 0; i < MANY; i++) zmq_close(many[i]);
    EXPECT(unharmed());
}
