#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <zmq.h>

#include "gcs/host/raft_host.h"
#include "scheduler/os/os.h"
#include "tools/benchmarks/gcs/gcs_bench.h"

enum { RECEIVE_BATCH = 256, COMMAND_BYTES_MAX = 4096, OUTSTANDING_MAX = 4096 };

typedef struct server {
    const bench_server *b;
    bench_shared *shared;
    raft_host *host;
    void *in, *out[VOTERS_MAX + 1];
    int wake;
    uint64_t sent_ns[OUTSTANDING_MAX]; /* by token */
    uint32_t unused[OUTSTANDING_MAX], unused_count, outstanding;
    raft_buffer *command;
    uint64_t hash;
    bool answered;
} server;

_Noreturn void bench_die(const char *what)
{
    fprintf(stderr, "manta_gcs_bench: %s: %s\n", what, strerror(errno));
    _exit(1);
}

/* ---- the machine, and answers ---- */

static manta_status apply(void *context, uint64_t index, const unsigned char *data, uint32_t size, uint64_t token)
{
    server *s = context;
    s->hash = (s->hash ^ index ^ data[size / 2]) * 0x100000001b3;
    if (!token) return MANTA_OK;
    uint64_t now = os_monotonic_ns(), n = atomic_fetch_add(&s->shared->sample_count, 1);
    s->shared->samples[n % SAMPLES] = (uint32_t)((now - s->sent_ns[token - 1]) / 100);
    s->unused[s->unused_count++] = (uint32_t)token;
    atomic_fetch_add(&s->shared->answered, 1);
    atomic_fetch_add(&s->shared->answered_by[s->b->id], 1);
    if (!s->answered) atomic_store(&s->shared->first_answer_ns[s->b->id], now);
    s->answered = true;
    return MANTA_OK;
}

static void lost(void *context, uint64_t token, raft_result why)
{
    server *s = context;
    (void)why;
    s->unused[s->unused_count++] = (uint32_t)token;
}

static void ended(void *context, uint64_t token, raft_result result) { (void)context, (void)token, (void)result; }
static manta_status save(void *context, raft_sink *out)
{
    return raft_sink_write(out, &((server *)context)->hash, 8) ? MANTA_OK : MANTA_ENOMEM;
}
static manta_status restore(void *context, const unsigned char *bytes, size_t size)
{
    if (size != 8) return MANTA_EDECODE;
    memcpy(&((server *)context)->hash, bytes, size);
    return MANTA_OK;
}

static void release(void *data, void *hint)
{
    (void)data;
    raft_buffer_release(hint);
}

static void send_message(void *context, uint64_t to, const char *address, raft_buffer *message)
{
    server *s = context;
    zmq_msg_t m;
    (void)address;
    if (zmq_msg_init_data(&m, message->bytes, message->size, release, raft_buffer_retain(message))) bench_die("zmq_msg_init_data");
    if (zmq_msg_send(&m, s->out[to], ZMQ_DONTWAIT) < 0) zmq_msg_close(&m);
}

static void state_changed(void *context) { ((server *)context)->answered = false; }

static void wake(void *context)
{
    if (eventfd_write(((server *)context)->wake, 1)) bench_die("eventfd");
}

/* ---- the loop ---- */

static void open_sockets(server *s)
{
    char address[300];
    void *context = zmq_ctx_new();
    for (uint32_t i = 1; i <= s->b->voters; i++) {
        int linger = 0, high_water = 100000;
        void *z = zmq_socket(context, i == s->b->id ? ZMQ_PULL : ZMQ_PUSH);
        snprintf(address, sizeof address, "ipc://%s/socket-%u", s->b->directory, i);
        zmq_setsockopt(z, ZMQ_LINGER, &linger, sizeof linger);
        zmq_setsockopt(z, ZMQ_SNDHWM, &high_water, sizeof high_water);
        zmq_setsockopt(z, ZMQ_RCVHWM, &high_water, sizeof high_water);
        if (i == s->b->id ? zmq_bind(z, address) : zmq_connect(z, address)) bench_die(address);
        *(i == s->b->id ? &s->in : &s->out[i]) = z;
    }
}

static void open_host(server *s)
{
    char directory[300], text[RAFT_TEXT_LIMIT];
    raft_configuration c = {.count = s->b->voters};
    raft_host_calls calls = {s, apply, lost, ended, ended, save, restore, send_message, state_changed, wake};
    for (uint32_t i = 0; i < c.count; i++) {
        c.servers[i] = (raft_server){.id = i + 1, .role = RAFT_VOTER};
        snprintf(c.servers[i].address, RAFT_ADDRESS_BYTES, "socket-%u", i + 1);
    }
    snprintf(directory, sizeof directory, "%s/%u", s->b->directory, s->b->id);
    raft_host_options o = {.directory = directory, .id = s->b->id, .cluster = 1, .found = &c, .no_sync = s->b->no_sync};
    o.raft.seed = os_random_u64();
    if (raft_host_open(&o, &calls, os_monotonic_ns(), &s->host, text)) {
        fprintf(stderr, "manta_gcs_bench: %s\n", text);
        _exit(1);
    }
}

static void receive(server *s)
{
    zmq_msg_t m;
    for (int i = 0; i < RECEIVE_BATCH; i++) {
        zmq_msg_init(&m);
        if (zmq_msg_recv(&m, s->in, ZMQ_DONTWAIT) < 0) return;
        raft_buffer *b = raft_buffer_new(zmq_msg_data(&m), (uint32_t)zmq_msg_size(&m));
        raft_host_receive(s->host, b, os_monotonic_ns());
        raft_buffer_release(b);
        zmq_msg_close(&m);
    }
}

static void submit(server *s)
{
    static raft_command commands[OUTSTANDING_MAX];
    uint32_t wanted = atomic_load(&s->shared->outstanding), size = atomic_load(&s->shared->size), count = 0;
    uint64_t now = os_monotonic_ns();
    raft_host_status status = raft_host_status_of(s->host);
    if (status.is_ready) atomic_store(&s->shared->leader, s->b->id);
    if (!status.is_ready || !wanted) return;
    while (OUTSTANDING_MAX - s->unused_count < wanted) {
        uint32_t token = s->unused[--s->unused_count];
        s->sent_ns[token - 1] = now;
        commands[count++] = (raft_command){s->command, s->command->bytes, size, token};
    }
    if (count) raft_host_submit(s->host, commands, count, now);
}

static void turn(server *s)
{
    uint64_t now = os_monotonic_ns(), due = raft_host_next_timeout(s->host), wait = due > now ? (due - now) / OS_NS_PER_MS + 1 : 0;
    zmq_pollitem_t items[] = {{.socket = s->in, .events = ZMQ_POLLIN}, {.fd = s->wake, .events = ZMQ_POLLIN}};
    eventfd_t n;
    zmq_poll(items, 2, wait < 10 ? (long)wait : 10);
    receive(s);
    (void)eventfd_read(s->wake, &n);
    raft_host_run(s->host, os_monotonic_ns());
    submit(s);
    if (raft_host_failure(s->host)) {
        fprintf(stderr, "manta_gcs_bench: server %u: %s\n", s->b->id, raft_host_failure(s->host));
        _exit(1);
    }
    atomic_store(&s->shared->group_commits[s->b->id], raft_host_stats_of(s->host).group_commits);
}

_Noreturn void bench_serve(const bench_server *b)
{
    static server s;
    s = (server){.b = b, .shared = b->shared, .wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)};
    s.command = raft_buffer_new(NULL, COMMAND_BYTES_MAX);
    memset(s.command->bytes, 7, COMMAND_BYTES_MAX);
    for (uint32_t i = 0; i < OUTSTANDING_MAX; i++) s.unused[s.unused_count++] = i + 1;
    open_sockets(&s);
    open_host(&s);
    for (;;) turn(&s);
}
