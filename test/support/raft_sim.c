/*
 * The world: virtual time, the queue of what happens next, the network, the faults, the clients.
 *
 * Ties in time are broken by the order of scheduling. Each server's timeout is looked at directly, so that a step does not leave a stale timer behind.
 */
#include "test/support/raft_sim.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gcs/raft/raft_message.h"
#include "test/support/raft_sim_internal.h"

bool sim_trace(void)
{
    static int answer = -1;
    if (answer < 0) answer = getenv("MANTA_SIM_TRACE") != NULL;
    return answer;
}

void sim_fail(sim_world *w, const char *format, ...)
{
    va_list arguments;
    if (w->report->violation[0]) return;
    int n = snprintf(w->report->violation, sizeof w->report->violation, "seed %" PRIu64 " at %.3f ms: ", w->seed, (double)w->now / 1e6);
    va_start(arguments, format);
    vsnprintf(w->report->violation + n, sizeof w->report->violation - (size_t)n, format, arguments);
    va_end(arguments);
}

uint64_t sim_mix(uint64_t hash, uint64_t value) { return (hash ^ value) * 0x9e3779b97f4a7c15u ^ (hash >> 29); }

uint64_t sim_entry_hash(const raft_entry *e)
{
    uint64_t h = (uint64_t)e->kind << 56 ^ e->term;
    for (uint32_t i = 0; i < e->size; i++) h = sim_mix(h, e->data[i]);
    return h;
}

uint32_t sim_at(uint64_t id) { return (uint32_t)(id - 1); }
static uint64_t below(sim_world *w, uint64_t n) { return rng_below(&w->random, n); }
static bool chance(sim_world *w, double p) { return rng_unit(&w->random) < p; }

/* ---- what happens next ---- */

static bool is_before(const sim_event *a, const sim_event *b) { return a->at != b->at ? a->at < b->at : a->sequence < b->sequence; }

void sim_schedule(sim_world *w, sim_event e)
{
    if (w->heap_count == w->heap_capacity) {
        w->heap_capacity = w->heap_capacity ? 2 * w->heap_capacity : 256;
        w->heap = realloc(w->heap, w->heap_capacity * sizeof *w->heap);
    }
    e.sequence = w->sequence++;
    uint32_t at = w->heap_count++;
    for (; at && is_before(&e, &w->heap[(at - 1) / 2]); at = (at - 1) / 2) w->heap[at] = w->heap[(at - 1) / 2];
    w->heap[at] = e;
}

static sim_event pop(sim_world *w)
{
    sim_event top = w->heap[0], last = w->heap[--w->heap_count];
    uint32_t at = 0, child;
    while ((child = 2 * at + 1) < w->heap_count) {
        if (child + 1 < w->heap_count && is_before(&w->heap[child + 1], &w->heap[child])) child++;
        if (!is_before(&w->heap[child], &last)) break;
        w->heap[at] = w->heap[child];
        at = child;
    }
    w->heap[at] = last;
    return top;
}

/* ---- network ---- */

static void deliver_later(sim_world *w, sim_message *m)
{
    uint64_t delay = 1 + below(w, 2 * w->delay);
    if (w->chaos && chance(w, 0.01)) delay *= 1 + below(w, 50);
    sim_schedule(w, (sim_event){.at = w->now + delay, .kind = SIM_DELIVER, .server = sim_at(m->m.to), .message = m});
}

void sim_send(sim_world *w, sim_message *m)
{
    uint32_t from = sim_at(m->m.from), to = sim_at(m->m.to);
    w->report->messages++;
    sim_oracle_sent(w, &w->servers[from], &m->m);
    if (to >= w->server_count || w->cut[from][to] || (w->chaos && chance(w, w->loss))) {
        sim_message_free(m);
        return;
    }
    if (w->chaos && chance(w, w->doubled)) deliver_later(w, sim_message_copy(&m->m));
    deliver_later(w, m);
}

static void deliver_bytes(sim_world *w, sim_server *s, const raft_message *m)
{
    static raft_decoded d;
    char text[RAFT_TEXT_LIMIT];
    raft_buffer *frame = raft_buffer_new(NULL, (uint32_t)raft_message_size(m));
    raft_message_encode(m, frame->bytes);
    if (raft_message_decode(frame, 0, &d, text)) sim_fail(w, "a message does not decode: %s", text);
    else {
        sim_server_step(w, s, &(raft_event){.kind = RAFT_RECEIVE, .message = &d.message});
        raft_decoded_fini(&d);
    }
    raft_buffer_release(frame);
}

static void deliver(sim_world *w, sim_server *s, sim_message *m)
{
    bool arrives = s->core && !w->cut[sim_at(m->m.from)][sim_at(s->id)];
    if (arrives && w->by_bytes) deliver_bytes(w, s, &m->m);
    else if (arrives) sim_server_step(w, s, &(raft_event){.kind = RAFT_RECEIVE, .message = &m->m});
    sim_message_free(m);
}

/* ---- clients ---- */

static sim_server *some_leader(sim_world *w)
{
    sim_server *best = NULL;
    uint64_t term = 0;
    for (uint32_t i = 0; i < w->server_count; i++) {
        sim_server *s = &w->servers[i];
        raft_status now = s->core ? raft_status_of(s->core) : (raft_status){0};
        if (!s->core || now.state != RAFT_LEADER || (best && (now.term < term) == !chance(w, 0.2))) continue;
        best = s;
        term = now.term;
    }
    return best;
}

static bool is_awake(const sim_world *w, const sim_server *s) { return s && s->core && w->now >= s->paused_until; }

static void submit(sim_world *w, sim_server *s, uint32_t count)
{
    raft_entry entries[8];
    for (uint32_t i = 0; i < count; i++) {
        uint64_t value[6] = {++w->token};
        raft_buffer *b = raft_buffer_new(value, 8 + (uint32_t)below(w, 40));
        entries[i] = (raft_entry){.buffer = b, .data = b->bytes, .size = b->size};
    }
    sim_server_step(w, s, &(raft_event){.kind = RAFT_SUBMIT, .submit = {entries, count}});
    for (uint32_t i = 0; i < count; i++) raft_buffer_release(entries[i].buffer);
}

static void read_state(sim_world *w, sim_server *s)
{
    uint64_t token = ++w->token;
    sim_oracle_read_began(w, token);
    sim_server_step(w, s, &(raft_event){.kind = RAFT_READ, .token = token});
}

static void client(sim_world *w)
{
    sim_server *s = below(w, 10) ? some_leader(w) : &w->servers[below(w, w->server_count)];
    if (w->chaos) sim_schedule(w, (sim_event){.at = w->now + 1 + below(w, 20 * SIM_MS), .kind = SIM_CLIENT});
    if (!is_awake(w, s)) return;
    if (below(w, 3) == 0) read_state(w, s);
    else submit(w, s, 1 + (uint32_t)below(w, 8));
}

/* ---- faults ---- */

static void heal_links(sim_world *w) { memset(w->cut, 0, sizeof w->cut); }

static void isolate(sim_world *w, uint32_t at, bool in, bool out)
{
    for (uint32_t i = 0; i < w->server_count; i++) {
        w->cut[at][i] |= out;
        w->cut[i][at] |= in;
    }
}

static void partition(sim_world *w)
{
    sim_server *leader = some_leader(w);
    uint64_t groups = below(w, 1u << w->server_count);
    heal_links(w);
    switch (below(w, 4)) {
    case 0:
        if (leader) isolate(w, sim_at(leader->id), below(w, 3) != 0, below(w, 3) != 0);
        break;
    case 1:
        for (uint32_t i = 0; i < 3; i++) w->cut[below(w, w->server_count)][below(w, w->server_count)] = true;
        break;
    default:
        for (uint32_t i = 0; i < w->server_count; i++)
            for (uint32_t j = 0; j < w->server_count; j++) w->cut[i][j] = (groups >> i & 1) != (groups >> j & 1);
    }
}

static void crash(sim_world *w, sim_server *s)
{
    if (!s->core) return;
    sim_server_crash(w, s);
    uint64_t down = below(w, 3) ? below(w, 100 * SIM_MS) : below(w, 1500 * SIM_MS);
    sim_schedule(w, (sim_event){.at = w->now + down, .kind = SIM_RESTART, .server = sim_at(s->id)});
}

static void change_members(sim_world *w, sim_server *leader)
{
    uint64_t id = 1 + below(w, w->server_count);
    raft_change_kind kind = (raft_change_kind)below(w, 4);
    const raft_server *member = raft_configuration_find(raft_current_configuration(leader->core), id);
    if (!member && below(w, 4)) kind = RAFT_ADD;
    else if (member && member->role == RAFT_LEARNER && below(w, 4)) kind = RAFT_PROMOTE;
    sim_server_step(w, leader, &(raft_event){.kind = RAFT_CHANGE, .change = {kind, id, ++w->token, "inproc://x"}});
}

static void transfer(sim_world *w, sim_server *leader)
{
    w->report->transfers++;
    sim_server_step(w, leader, &(raft_event){.kind = RAFT_TRANSFER, .transfer = below(w, w->server_count + 1)});
}

static void chaos(sim_world *w)
{
    sim_server *s = &w->servers[below(w, w->server_count)], *leader = some_leader(w);
    if (!w->chaos) return;
    sim_schedule(w, (sim_event){.at = w->now + 1 + below(w, 200 * SIM_MS), .kind = SIM_CHAOS});
    if (leader && below(w, 4) == 0) s = leader;
    switch (below(w, 12)) {
    case 0:
    case 1: crash(w, s); break;
    case 2:
    case 3: partition(w); break;
    case 4:
    case 5: heal_links(w); break;
    case 6: s->slow_until = w->now + below(w, 1000 * SIM_MS); break;
    case 7: s->paused_until = w->now + below(w, 600 * SIM_MS); break;
    case 8:
        if (is_awake(w, leader)) transfer(w, leader);
        break;
    default:
        if (is_awake(w, leader) && !w->is_static) change_members(w, leader);
    }
}

/* ---- the loop ---- */

static void snapshot_done(sim_world *w, sim_server *s, const sim_image *image)
{
    if (below(w, 10) == 0) sim_server_step(w, s, &(raft_event){.kind = RAFT_SNAPSHOT_FAILED});
    else sim_server_snapshot_taken(w, s, image);
}

static void restart(sim_world *w, sim_server *s)
{
    if (!s->core) (void)sim_server_start(w, s);
}

static void happen(sim_world *w, sim_event *e)
{
    sim_server *s = &w->servers[e->server];
    bool of_server = e->kind == SIM_DELIVER || e->kind == SIM_DISK || e->kind == SIM_SNAPSHOT;
    if (of_server && s->core && w->now < s->paused_until) {
        e->at = s->paused_until;
        sim_schedule(w, *e);
        return;
    }
    bool is_stale = !s->core || e->life != s->life;
    switch (e->kind) {
    case SIM_DELIVER: deliver(w, s, e->message); break;
    case SIM_DISK:
        if (!is_stale) sim_server_written(w, s);
        break;
    case SIM_SNAPSHOT:
        if (!is_stale) snapshot_done(w, s, &e->image);
        break;
    case SIM_RESTART: restart(w, s); break;
    case SIM_CHAOS: chaos(w); break;
    case SIM_CLIENT: client(w); break;
    }
}

static sim_server *earliest(sim_world *w, uint64_t *out_at)
{
    sim_server *first = NULL;
    *out_at = UINT64_MAX;
    for (uint32_t i = 0; i < w->server_count; i++) {
        sim_server *s = &w->servers[i];
        uint64_t at = s->timeout > s->paused_until ? s->timeout : s->paused_until;
        if (!s->core || at >= *out_at) continue;
        first = s;
        *out_at = at;
    }
    return first;
}

static bool go_on(sim_world *w, uint64_t until)
{
    uint64_t at;
    sim_server *s = earliest(w, &at);
    if (w->heap_count && w->heap[0].at <= at) {
        if (w->heap[0].at > until) return false;
        sim_event e = pop(w);
        if (e.at > w->now) w->now = e.at;
        happen(w, &e);
    } else {
        if (!s || at > until) return false;
        if (at > w->now) w->now = at;
        sim_server_step(w, s, &(raft_event){.kind = RAFT_TICK});
        if (s->timeout <= w->now) sim_fail(w, "server %" PRIu64 " asks for a tick at once after a tick", s->id);
    }
    return !w->report->violation[0] && w->committed_count + 64 < SIM_ENTRIES;
}

static void run_until(sim_world *w, uint64_t until)
{
    while (go_on(w, until)) {}
    if (w->now < until) w->now = until;
}

/* ---- a run ---- */

static uint32_t one_of(sim_world *w, uint32_t a, uint32_t b, uint32_t c, uint32_t d) { return (uint32_t[]){a, b, c, d}[below(w, 4)]; }

static void choose(sim_world *w)
{
    w->founders = one_of(w, 1, 3, 3, 5);
    w->server_count = w->founders + 2;
    w->by_bytes = below(w, 4) == 0;
    w->is_static = below(w, 3) == 0;
    w->is_short_of_memory = below(w, 4) == 0;
    w->chaos = true;
    w->loss = below(w, 3) ? 0.15 * rng_unit(&w->random) : 0;
    w->doubled = 0.02;
    w->delay = SIM_MS / 2 + below(w, 10 * SIM_MS);
    w->disk_delay = 100000 + below(w, 5 * SIM_MS);
    w->settings = (raft_settings){.election_ns = 150 * SIM_MS,
        .heartbeat_ns = 30 * SIM_MS,
        .message_entries = one_of(w, 1, 3, 32, 1000),
        .message_bytes = one_of(w, 50, 500, 5000, 1 << 20),
        .inflight_entries = one_of(w, 1, 4, 32, 256),
        .inflight_bytes = one_of(w, 100, 1000, 1 << 20, 1 << 20),
        .chunk_bytes = one_of(w, 7, 40, 100, SIM_SNAPSHOT_MAX),
        .log_entries = one_of(w, 64, 256, 1000, 1 << 20),
        .snapshot_entries = one_of(w, 3, 20, 100, 1000),
        .trailing_entries = one_of(w, 5, 50, 1000, 1000),
        .reads = 64};
    if (w->settings.trailing_entries == 1000) w->settings.trailing_entries = UINT64_MAX;
}

static void found(sim_world *w)
{
    char text[RAFT_TEXT_LIMIT];
    raft_configuration c = {.count = w->founders};
    raft_entry e;
    for (uint32_t i = 0; i < w->founders; i++) c.servers[i] = (raft_server){.id = i + 1, .role = RAFT_VOTER, .address = "inproc://founder"};
    if (raft_bootstrap(&c, &e, text)) abort();
    for (uint32_t i = 0; i < w->server_count; i++) {
        sim_server *s = &w->servers[i];
        s->id = i + 1;
        s->disk.entries = malloc(SIM_ENTRIES * sizeof *s->disk.entries);
        if (i < w->founders) sim_server_found(s, &e);
        (void)sim_server_start(w, s);
    }
    raft_buffer_release(e.buffer);
}

static void heal(sim_world *w)
{
    heal_links(w);
    w->chaos = false;
    w->delay = SIM_MS;
    w->disk_delay = SIM_MS / 2;
    for (uint32_t i = 0; i < w->server_count; i++) {
        w->servers[i].slow_until = w->servers[i].paused_until = 0;
        restart(w, &w->servers[i]);
    }
}

static bool is_converged(sim_world *w, const sim_server *leader, uint64_t at_least)
{
    const raft_configuration *c = raft_current_configuration(leader->core);
    raft_status now = raft_status_of(leader->core);
    if (now.commit < at_least || now.commit < now.last || now.configuration_index > now.commit) return false;
    for (uint32_t i = 0; i < c->count; i++)
        if (w->servers[sim_at(c->servers[i].id)].applied != now.commit) return false;
    return true;
}

/* After the last fault: a leader, a new command committed, everybody in the configuration equal, all within 20 s. */
static void converge(sim_world *w)
{
    uint64_t end = w->now + 20000 * SIM_MS, probe = 0;
    while (w->now < end && !w->report->violation[0]) {
        run_until(w, w->now + 50 * SIM_MS);
        sim_server *leader = some_leader(w);
        if (!leader) continue;
        if (probe && is_converged(w, leader, probe)) return;
        if (!probe && raft_status_of(leader->core).commit == raft_status_of(leader->core).last) {
            submit(w, leader, 1);
            probe = raft_status_of(leader->core).last;
        }
    }
    if (w->committed_count + 64 < SIM_ENTRIES) sim_fail(w, some_leader(w) ? "no convergence" : "no leader after healing");
}

static void fini(sim_world *w)
{
    for (uint32_t i = 0; i < w->heap_count; i++)
        if (w->heap[i].kind == SIM_DELIVER) sim_message_free(w->heap[i].message);
    for (uint32_t i = 0; i < w->server_count; i++) sim_server_fini(&w->servers[i]);
    free(w->heap);
    free(w);
}

bool raft_sim_run(uint64_t seed, raft_sim_report *out)
{
    sim_world *w = calloc(1, sizeof *w);
    *out = (raft_sim_report){0};
    w->report = out;
    w->seed = seed;
    w->now = 1000 * SIM_MS;
    rng_init(&w->random, seed);
    sim_oracle_begin(w);
    choose(w);
    found(w);
    sim_schedule(w, (sim_event){.at = w->now, .kind = SIM_CHAOS});
    sim_schedule(w, (sim_event){.at = w->now, .kind = SIM_CLIENT});
    run_until(w, w->now + 3000 * SIM_MS + below(w, 4000 * SIM_MS));
    heal(w);
    converge(w);
    fini(w);
    return !out->violation[0];
}
