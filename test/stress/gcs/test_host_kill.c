/*
 * Three servers in processes of their own, datagram sockets between them, LMDB on a real disk; and a client that kills them with SIGKILL at random points.
 *
 * The client gives each command a number of its own and remembers those that were answered. A server's machine remembers which numbers it applied, so that one that is missing, or was applied twice,
 * shows.
 */
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/un.h>

#include "scheduler/base/rng.h"
#include "scheduler/os/os.h"
#include "test/support/child.h"
#include "test/support/raft_hosts.h"
#include "test/support/test.h"

enum { SERVERS = 3, NUMBERS = 1 << 20, DATAGRAM_MAX = 100 << 10, OUTSTANDING = 24, COMMAND_BYTES = 100 };
enum { SAY_READY = 1, SAY_FOLLOWS, SAY_APPLIED, SAY_LOST, SAY_STATE, ASK_SUBMIT, ASK_STATE };

typedef struct word { /* between client and server, both ways */
    uint32_t kind, zero;
    uint64_t a, b, c;
} word;

typedef struct machine {
    uint64_t count, hash, twice;
    uint8_t seen[NUMBERS / 8];
} machine;

/* ---- a server's process ---- */

typedef struct server {
    raft_host *host;
    char directory[128];
    uint64_t id;
    int in, wake, client;
    machine m;
    bool was_ready;
} server;

static void say(server *s, uint32_t kind, uint64_t a, uint64_t b, uint64_t c)
{
    word w = {kind, 0, a, b, c};
    if (send(s->client, &w, sizeof w, MSG_NOSIGNAL) != sizeof w) _exit(0);
}

static manta_status apply(void *context, uint64_t index, const unsigned char *data, uint32_t size, uint64_t token)
{
    server *s = context;
    uint64_t number;
    if (size != COMMAND_BYTES) return MANTA_EDECODE;
    memcpy(&number, data, sizeof number);
    uint8_t bit = (uint8_t)(1u << number % 8), *byte = &s->m.seen[number / 8];
    s->m.twice += (*byte & bit) != 0;
    *byte |= bit;
    s->m.count++;
    s->m.hash = rng_mix(s->m.hash ^ number ^ index << 32);
    if (token) say(s, SAY_APPLIED, token, 0, 0);
    return MANTA_OK;
}

static void lost(void *context, uint64_t token, raft_result why) { say(context, SAY_LOST, token, why, 0); }
static void ended(void *context, uint64_t token, raft_result result) { (void)context, (void)token, (void)result; }
static void wake(void *context) { (void)!eventfd_write(((server *)context)->wake, 1); }
static void state_changed(void *context) { (void)context; }

static manta_status save(void *context, raft_sink *out)
{
    server *s = context;
    return raft_sink_write(out, &s->m, sizeof s->m) ? MANTA_OK : MANTA_ENOMEM;
}

static manta_status restore(void *context, const unsigned char *bytes, size_t size)
{
    server *s = context;
    if (size != sizeof s->m) return MANTA_EDECODE;
    memcpy(&s->m, bytes, size);
    return MANTA_OK;
}

static struct sockaddr_un socket_of(const server *s, uint64_t id)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    snprintf(a.sun_path, sizeof a.sun_path, "%.80s/s%" PRIu64, s->directory, id);
    return a;
}

static void send_message(void *context, uint64_t to, const char *address, raft_buffer *message)
{
    server *s = context;
    struct sockaddr_un a = socket_of(s, to);
    (void)address;
    (void)!sendto(s->in, message->bytes, message->size, MSG_DONTWAIT | MSG_NOSIGNAL, (struct sockaddr *)&a, sizeof a); /* or it is lost */
}

static bool open_server(server *s)
{
    char directory[200], text[RAFT_TEXT_LIMIT];
    struct sockaddr_un a = socket_of(s, s->id);
    raft_configuration founders = {.count = SERVERS, .servers = {{1, RAFT_VOTER, "1"}, {2, RAFT_VOTER, "2"}, {3, RAFT_VOTER, "3"}}};
    raft_host_calls calls = {s, apply, lost, ended, ended, save, restore, send_message, state_changed, wake};
    raft_host_options o = {.directory = directory, .id = s->id, .cluster = 5, .found = &founders};
    o.raft = (raft_settings){.election_ns = 80 * OS_NS_PER_MS,
        .heartbeat_ns = 15 * OS_NS_PER_MS,
        .message_bytes = DATAGRAM_MAX / 2,
        .chunk_bytes = DATAGRAM_MAX / 2,
        .snapshot_entries = 400,
        .trailing_entries = 50,
        .seed = os_random_u64()};
    snprintf(directory, sizeof directory, "%s/%" PRIu64, s->directory, s->id);
    unlink(a.sun_path);
    s->in = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    s->wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (bind(s->in, (struct sockaddr *)&a, sizeof a)) return false;
    if (!raft_host_open(&o, &calls, os_monotonic_ns(), &s->host, text)) return true;
    fprintf(stderr, "server %" PRIu64 ": %s\n", s->id, text);
    return false;
}

static void hear_peers(server *s)
{
    static unsigned char bytes[DATAGRAM_MAX];
    for (ssize_t n; (n = recv(s->in, bytes, sizeof bytes, MSG_DONTWAIT)) > 0;) {
        raft_buffer *b = raft_buffer_new(bytes, (uint32_t)n);
        raft_host_receive(s->host, b, os_monotonic_ns());
        raft_buffer_release(b);
    }
}

static void submit(server *s, const word *w)
{
    raft_command commands[OUTSTANDING];
    for (uint32_t i = 0; i < w->b; i++) {
        uint64_t number = w->a + i;
        raft_buffer *b = raft_buffer_new(NULL, COMMAND_BYTES);
        memset(b->bytes, (int)number, COMMAND_BYTES);
        memcpy(b->bytes, &number, sizeof number);
        commands[i] = (raft_command){b, b->bytes, COMMAND_BYTES, number};
    }
    raft_host_submit(s->host, commands, (uint32_t)w->b, os_monotonic_ns());
    for (uint32_t i = 0; i < w->b; i++) raft_buffer_release(commands[i].buffer);
}

static void hear_client(server *s)
{
    word w;
    ssize_t n = recv(s->client, &w, sizeof w, MSG_DONTWAIT);
    if (n == 0) _exit(0);
    if (n != sizeof w) return;
    if (w.kind == ASK_SUBMIT) submit(s, &w);
    if (w.kind != ASK_STATE) return;
    say(s, SAY_STATE, s->m.count, s->m.hash, s->m.twice | raft_host_stats_of(s->host).snapshots_received << 32);
    if (w.a) (void)!send(s->client, s->m.seen, sizeof s->m.seen, MSG_NOSIGNAL);
}

static void turn(server *s)
{
    uint64_t now = os_monotonic_ns(), due = raft_host_next_timeout(s->host), wait = due > now ? due - now : 0;
    struct pollfd p[] = {{s->in, POLLIN, 0}, {s->wake, POLLIN, 0}, {s->client, POLLIN, 0}};
    struct timespec t = {(time_t)(wait / OS_NS_PER_S), (long)(wait % OS_NS_PER_S)};
    eventfd_t n;
    ppoll(p, 3, &t, NULL);
    if (p[0].revents) hear_peers(s);
    if (p[2].revents) hear_client(s);
    (void)!eventfd_read(s->wake, &n);
    raft_host_run(s->host, os_monotonic_ns());
    if (raft_host_failure(s->host)) {
        fprintf(stderr, "server %" PRIu64 ": %s\n", s->id, raft_host_failure(s->host));
        _exit(1);
    }
    bool ready = raft_host_status_of(s->host).is_ready;
    if (ready != s->was_ready) say(s, ready ? SAY_READY : SAY_FOLLOWS, 0, 0, 0);
    s->was_ready = ready;
}

CHILD(raft_server)
{
    static server s;
    s.client = parent;
    if (sscanf(argument, "%" SCNu64 " %127s", &s.id, s.directory) != 2 || !open_server(&s)) _exit(1);
    for (;;) turn(&s);
}

/* ---- the client ---- */

typedef struct client {
    char directory[128];
    child_process servers[SERVERS];
    bool up[SERVERS], ready[SERVERS];
    uint32_t outstanding[SERVERS];
    uint64_t next, answered_count, kills, leader_kills, installs;
    uint8_t answered[NUMBERS / 8];
    word state[SERVERS];
    bool has_state[SERVERS];
    rng random;
} client;

static void start(client *c, uint32_t at)
{
    char argument[200];
    snprintf(argument, sizeof argument, "%u %s", at + 1, c->directory);
    c->servers[at] = child_start("raft_server", argument);
    c->up[at] = true;
    c->ready[at] = false;
    c->outstanding[at] = 0;
}

static void kill_server(client *c, uint32_t at)
{
    if (!c->up[at]) return;
    c->kills++;
    c->leader_kills += c->ready[at];
    (void)child_end(&c->servers[at], SIGKILL);
    c->up[at] = c->ready[at] = false;
}

static void heard(client *c, uint32_t at, const word *w)
{
    switch (w->kind) {
    case SAY_READY: c->ready[at] = true; break;
    case SAY_FOLLOWS: c->ready[at] = false; break;
    case SAY_APPLIED:
        c->answered[w->a / 8] |= (uint8_t)(1u << w->a % 8);
        c->answered_count++;
        c->outstanding[at]--;
        break;
    case SAY_LOST: c->outstanding[at]--; break;
    default: c->state[at] = *w; c->has_state[at] = true;
    }
}

static bool ask(client *c, uint32_t at, uint32_t kind, uint64_t a, uint64_t b)
{
    word w = {kind, 0, a, b, 0};
    return send(c->servers[at].fd, &w, sizeof w, MSG_NOSIGNAL) == sizeof w;
}

static void feed(client *c, uint32_t at)
{
    uint32_t n = OUTSTANDING - c->outstanding[at];
    if (!c->ready[at] || n < OUTSTANDING / 2 || c->next + n >= NUMBERS || !ask(c, at, ASK_SUBMIT, c->next, n)) return;
    c->next += n;
    c->outstanding[at] += n;
}

/* One look at all servers; false: one of them ended by itself. */
static bool listen_once(client *c, bool with_load)
{
    struct pollfd p[SERVERS];
    for (uint32_t i = 0; i < SERVERS; i++) p[i] = (struct pollfd){c->up[i] ? c->servers[i].fd : -1, POLLIN, 0};
    poll(p, SERVERS, 1);
    for (uint32_t i = 0; i < SERVERS; i++) {
        word w;
        if (c->up[i] && p[i].revents && recv(c->servers[i].fd, &w, sizeof w, MSG_WAITALL) != sizeof w) {
            fprintf(stderr, "server %u ended\n", i + 1);
            return false;
        }
        if (c->up[i] && p[i].revents) heard(c, i, &w);
        if (c->up[i] && with_load) feed(c, i);
    }
    return true;
}

static bool run_for(client *c, double seconds)
{
    for (double end = test_now_s() + seconds; test_now_s() < end;)
        if (!listen_once(c, true)) return false;
    return true;
}

static bool is_quiet(const client *c)
{
    return (c->ready[0] || c->ready[1] || c->ready[2]) && !c->outstanding[0] && !c->outstanding[1] && !c->outstanding[2];
}

static bool ask_states(client *c, double end)
{
    memset(c->has_state, 0, sizeof c->has_state);
    for (uint32_t i = 0; i < SERVERS; i++)
        if (!ask(c, i, ASK_STATE, 0, 0)) return false;
    while (!c->has_state[0] || !c->has_state[1] || !c->has_state[2])
        if (!listen_once(c, false) || test_now_s() > end) return false;
    return true;
}

/* Until a leader has answered all and the states, asked for after that, are equal: then all have what was answered. */
static bool converge(client *c)
{
    const word *s = c->state;
    for (double end = test_now_s() + 30; test_now_s() < end;) {
        while (!is_quiet(c))
            if (!listen_once(c, false) || test_now_s() > end) return false;
        if (!ask_states(c, end)) return false;
        if (s[0].a == s[1].a && s[1].a == s[2].a && s[0].b == s[1].b && s[1].b == s[2].b && is_quiet(c)) return true;
    }
    return false;
}

/* How many of what was answered this server does not have; it is quiet. */
static int64_t missing_at(client *c, uint32_t at)
{
    static uint8_t seen[NUMBERS / 8];
    int64_t missing = 0;
    c->has_state[at] = false;
    if (!ask(c, at, ASK_STATE, 1, 0)) return -1;
    while (!c->has_state[at])
        if (!listen_once(c, false)) return -1;
    if (!child_hear(c->servers[at].fd, seen, sizeof seen)) return -1;
    for (uint32_t i = 0; i < sizeof seen; i++) missing += __builtin_popcount(c->answered[i] & ~seen[i]);
    return missing;
}

static bool verify(client *c)
{
    bool fine = converge(c);
    if (!fine) fprintf(stderr, "no convergence\n");
    for (uint32_t i = 0; fine && i < SERVERS; i++) {
        int64_t missing = missing_at(c, i);
        uint32_t twice = (uint32_t)c->state[i].c;
        c->installs += c->state[i].c >> 32;
        fine = !missing && !twice;
        if (!fine) fprintf(stderr, "server %u: %" PRId64 " missing, %u applied twice\n", i + 1, missing, twice);
    }
    return fine;
}

static bool one_round(client *c)
{
    uint32_t victims = 1 + (uint32_t)rng_below(&c->random, 7), leader = c->ready[0] ? 0 : c->ready[1] ? 1 : 2;
    if (!run_for(c, 0.03 * rng_unit(&c->random))) return false;
    if (rng_below(&c->random, 2)) victims = 1u << leader;
    for (uint32_t i = 0; i < SERVERS; i++)
        if (victims >> i & 1) kill_server(c, i);
    if (rng_below(&c->random, 3) == 0 && !run_for(c, 0.3 * rng_unit(&c->random))) return false;
    for (uint32_t i = 0; i < SERVERS; i++)
        if (!c->up[i]) start(c, i);
    return true;
}

/* Whoever is killed, whenever, as often as you like: what was answered is there afterwards, once, and the servers are equal. */
TEST(kill_9)
{
    static client c;
    uint64_t rounds = (uint64_t)test_scaled(300), seed = test_seed();
    rng_init(&c.random, seed);
    c.next = 1;
    test_folder_make(c.directory, sizeof c.directory);
    for (uint32_t i = 0; i < SERVERS; i++) start(&c, i);
    bool fine = true;
    for (uint64_t round = 1; fine && round <= rounds; round++) {
        fine = one_round(&c);
        if (fine && round % 10 == 0) fine = run_for(&c, 0.1) && verify(&c);
        if (!fine) fprintf(stderr, "round %" PRIu64 ": answered %" PRIu64 "\n", round, c.answered_count);
    }
    for (uint32_t i = 0; i < SERVERS; i++) kill_server(&c, i);
    printf("%" PRIu64 " rounds, %" PRIu64 " kills, %" PRIu64 " of a leader; %" PRIu64 " commands sent, %" PRIu64 " answered, %" PRIu64
           " snapshots installed\n",
        rounds, c.kills - SERVERS, c.leader_kills, c.next, c.answered_count, c.installs);
    test_folder_remove(c.directory);
    EXPECT(fine);
    EXPECT(c.leader_kills >= rounds / 10 && c.answered_count > rounds * 5);
}
