#include "test/support/raft_hosts.h"

#include <dirent.h>
#include <unistd.h>

#include "gcs/raft/raft_message.h"
#include "scheduler/os/os.h"
#include "test/support/test.h"

/* ---- folders ---- */

void test_folder_make(char *out, size_t room)
{
    const char *base = getenv("TMPDIR");
    snprintf(out, room, "%s/manta-test-XXXXXX", base ? base : "/var/tmp");
    if (!mkdtemp(out)) abort();
}

void test_folder_remove(const char *path)
{
    char below[600];
    DIR *d = opendir(path);
    for (struct dirent *e; d && (e = readdir(d));) {
        if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, "..")) continue;
        snprintf(below, sizeof below, "%s/%s", path, e->d_name);
        if (unlink(below)) test_folder_remove(below);
    }
    if (d) closedir(d);
    rmdir(path);
}

/* ---- the machine ---- */

static void broken(host_cluster *c, const char *what, uint64_t value)
{
    if (!c->broken[0]) snprintf(c->broken, sizeof c->broken, "%s %" PRIu64, what, value);
}

static void end_token(host_cluster *c, uint64_t token, token_state state)
{
    if (token > c->last_token || c->tokens[token] != TOKEN_WAITS) broken(c, "a token ended that does not wait:", token);
    else c->tokens[token] = (uint8_t)state;
    if (state == TOKEN_APPLIED) c->applied++;
    else c->lost++;
}

static manta_status apply(void *context, uint64_t index, const unsigned char *data, uint32_t size, uint64_t token)
{
    host_node *n = context;
    if (index <= n->applied) broken(n->cluster, "applied again:", index);
    n->applied = index;
    n->count++;
    for (uint32_t i = 0; i < size; i += 7) n->hash = (n->hash ^ data[i]) * 0x100000001b3;
    n->hash = (n->hash ^ index) * 0x100000001b3;
    if (n->cluster->during_apply) n->cluster->during_apply(n);
    if (token) end_token(n->cluster, token, TOKEN_APPLIED);
    return MANTA_OK;
}

static manta_status save(void *context, raft_sink *out)
{
    host_node *n = context;
    uint64_t state[3] = {n->applied, n->count, n->hash}, left = n->cluster->snapshot_bytes;
    unsigned char padding[4096];
    memset(padding, (int)(n->hash & 0xff), sizeof padding);
    if (!raft_sink_write(out, state, sizeof state)) return MANTA_ENOMEM;
    for (; left; left -= left < sizeof padding ? left : sizeof padding)
        if (!raft_sink_write(out, padding, left < sizeof padding ? left : sizeof padding)) return MANTA_ENOMEM;
    return MANTA_OK;
}

static manta_status restore(void *context, const unsigned char *bytes, size_t size)
{
    host_node *n = context;
    uint64_t state[3];
    if (size < sizeof state) return MANTA_EDECODE;
    memcpy(state, bytes, sizeof state);
    for (size_t i = sizeof state; i < size; i++)
        if (bytes[i] != (state[2] & 0xff)) return MANTA_EDECODE;
    n->applied = state[0];
    n->count = state[1];
    n->hash = state[2];
    return MANTA_OK;
}

/* ---- the other calls ---- */

static void lost(void *context, uint64_t token, raft_result why)
{
    host_node *n = context;
    end_token(n->cluster, token, TOKEN_LOST);
    n->cluster->results[token] = why;
}

static void read_ended(void *context, uint64_t token, raft_result result)
{
    host_node *n = context;
    (void)token;
    n->cluster->reads_ended++;
    n->cluster->read_result = result;
}

static void change_ended(void *context, uint64_t token, raft_result result)
{
    host_node *n = context;
    n->cluster->change_token = token;
    n->cluster->change_result = result;
}

static void send_message(void *context, uint64_t to, const char *address, raft_buffer *message)
{
    host_node *n = context;
    host_cluster *c = n->cluster;
    (void)address;
    if (c->queue_count == HOSTS_QUEUE || n->is_cut) return;
    uint32_t at = (c->queue_head + c->queue_count++) % HOSTS_QUEUE;
    c->queue[at].from = n->id;
    c->queue[at].to = to;
    c->queue[at].message = raft_buffer_retain(message);
    if (c->flip_byte && message->size > c->flip_byte && message->bytes[9] == RAFT_CHUNK) message->bytes[c->flip_byte] ^= 1;
}

static void state_changed(void *context) { (void)context; }
static void wake(void *context) { atomic_store(&((host_node *)context)->woken, true); }

/* ---- life ---- */

host_cluster *hosts_new(uint32_t count, bool on_disk)
{
    host_cluster *c = calloc(1, sizeof *c);
    c->count = c->founders.count = count;
    if (on_disk) test_folder_make(c->directory, sizeof c->directory);
    c->options = (raft_host_options){.cluster = 77,
        .found = &c->founders,
        .raft = {.election_ns = 100 * OS_NS_PER_MS, .heartbeat_ns = 20 * OS_NS_PER_MS, .seed = os_random_u64()}};
    for (uint32_t i = 0; i < HOSTS_MAX; i++) {
        host_node *n = &c->nodes[i];
        n->cluster = c;
        n->id = i + 1;
        if (on_disk) snprintf(n->directory, sizeof n->directory, "%s/%u", c->directory, i + 1);
        c->founders.servers[i] = (raft_server){.id = i + 1, .role = RAFT_VOTER};
        snprintf(c->founders.servers[i].address, RAFT_ADDRESS_BYTES, "node-%u", i + 1);
    }
    return c;
}

manta_status hosts_start(host_cluster *c, uint32_t at)
{
    host_node *n = &c->nodes[at];
    raft_host_options o = c->options;
    raft_host_calls calls = {n, apply, lost, read_ended, change_ended, save, restore, send_message, state_changed, wake};
    n->applied = n->count = n->hash = 0;
    o.directory = n->directory[0] ? n->directory : NULL;
    o.id = n->id;
    return raft_host_open(&o, &calls, os_monotonic_ns(), &n->host, n->text);
}

bool hosts_start_all(host_cluster *c)
{
    for (uint32_t i = 0; i < c->count; i++)
        if (hosts_start(c, i)) return false;
    return true;
}

void hosts_stop(host_cluster *c, uint32_t at)
{
    raft_host_close(c->nodes[at].host);
    c->nodes[at].host = NULL;
}

void hosts_free(host_cluster *c)
{
    for (uint32_t i = 0; i < HOSTS_MAX; i++) hosts_stop(c, i);
    for (; c->queue_count; c->queue_count--, c->queue_head = (c->queue_head + 1) % HOSTS_QUEUE)
        raft_buffer_release(c->queue[c->queue_head].message);
    if (c->directory[0]) test_folder_remove(c->directory);
    free(c);
}

/* ---- running ---- */

static void deliver_next(host_cluster *c)
{
    uint64_t to = c->queue[c->queue_head].to;
    raft_buffer *m = c->queue[c->queue_head].message;
    c->queue_head = (c->queue_head + 1) % HOSTS_QUEUE;
    c->queue_count--;
    host_node *n = to <= HOSTS_MAX ? &c->nodes[to - 1] : NULL;
    if (n && n->host && !n->is_cut) raft_host_receive(n->host, m, os_monotonic_ns());
    raft_buffer_release(m);
}

void hosts_pump(host_cluster *c)
{
    uint64_t now = os_monotonic_ns();
    bool idle = !c->queue_count;
    for (uint32_t n = c->queue_count; n; n--) deliver_next(c);
    for (uint32_t i = 0; i < HOSTS_MAX; i++) {
        host_node *n = &c->nodes[i];
        if (!n->host || (!atomic_exchange(&n->woken, false) && now < raft_host_next_timeout(n->host))) continue;
        raft_host_run(n->host, now);
        idle = false;
    }
    if (idle) sched_yield();
}

host_node *hosts_leader(host_cluster *c)
{
    host_node *best = NULL;
    uint64_t term = 0;
    for (uint32_t i = 0; i < HOSTS_MAX; i++) {
        host_node *n = &c->nodes[i];
        if (!n->host || n->is_cut) continue;
        raft_host_status s = raft_host_status_of(n->host);
        if (!s.is_ready || s.raft.term < term) continue;
        best = n;
        term = s.raft.term;
    }
    return best;
}

bool hosts_wait_leader(host_cluster *c) { return HOSTS_WAIT(c, hosts_leader(c)); }

uint64_t hosts_submit(host_cluster *c, host_node *n, uint32_t count, uint32_t size)
{
    raft_command *commands = calloc(count, sizeof *commands);
    raft_buffer *b = raft_buffer_new(NULL, size);
    if (!b) b = raft_buffer_new(NULL, size); /* a test may let one allocation fail, and this is not meant */
    uint64_t first = c->last_token + 1;
    for (uint32_t i = 0; i < size; i++) b->bytes[i] = (unsigned char)(first + i);
    for (uint32_t i = 0; i < count; i++) {
        commands[i] = (raft_command){b, b->bytes, size, ++c->last_token};
        c->tokens[c->last_token] = TOKEN_WAITS;
    }
    raft_host_submit(n->host, commands, count, os_monotonic_ns());
    raft_buffer_release(b);
    free(commands);
    return first;
}

bool hosts_wait_applied(host_cluster *c, uint64_t token)
{
    return HOSTS_WAIT(c, c->tokens[token] != TOKEN_WAITS) && c->tokens[token] == TOKEN_APPLIED;
}

static bool are_equal(host_cluster *c, uint64_t at_least)
{
    const host_node *first = NULL;
    for (uint32_t i = 0; i < HOSTS_MAX; i++) {
        host_node *n = &c->nodes[i];
        if (!n->host || n->is_cut) continue;
        if (!first) first = n;
        if (n->count < at_least || n->count != first->count || n->hash != first->hash) return false;
    }
    return first;
}

bool hosts_wait_equal(host_cluster *c, uint64_t at_least) { return HOSTS_WAIT(c, are_equal(c, at_least)); }

bool hosts_commit(host_cluster *c, uint32_t count, uint32_t size)
{
    for (int attempt = 0; attempt < 50; attempt++) {
        if (!hosts_wait_leader(c)) return false;
        uint64_t first = hosts_submit(c, hosts_leader(c), count, size);
        if (hosts_wait_applied(c, first + count - 1)) return true;
        if (c->broken[0]) return false;
    }
    return false;
}
