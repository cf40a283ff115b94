/*
 * The actor that serves the control store.
 *
 * Answers come later than their handlers end: a handler of a command or a question takes the reply out of its message, and whoever applies the entry, or ends the read, completes it. So thousands of calls wait without
 * a stack each. Commands that have come are appended together: the first one sends the actor a message, which comes behind all that are queued already.
 */
#include <stdio.h>
#include <string.h>

#include "actor/node/gcs_server.h"
#include "actor/node/node.h"
#include "actor/runtime/turn.h"
#include "scheduler/os/os_file.h"

static struct { /* for init, and what it says */
    const gcs_options *options;
    manta_status status;
    char why[512];
} starting;
static const manta_bytes nothing = {NULL, 0};

MANTA_METHOD_DECLARE(MantaGcs, init, void)
MANTA_METHOD_DECLARE(MantaGcs, flush, void)
MANTA_METHOD_DECLARE(MantaGcs, tick, void)
MANTA_METHOD_DECLARE(MantaGcs, woken, void)
MANTA_METHOD_DECLARE(MantaGcs, resolve, void, (uint64_t, id))

static MantaGcs_ref ref_of(const struct gcs_server *s) { return MantaGcs_ref_of(s->self); }

/* ---- calls that wait ---- */

/* The reply of the call that runs; NULL: nobody waits for it, or no memory (and the handler has failed). */
static gcs_waiting *take_reply(const void *question, size_t bytes)
{
    activation *act = activation_self();
    if (!act->message->reply) return NULL;
    gcs_waiting *w = base_alloc(sizeof *w + bytes);
    if (!w) return manta_fail(MANTA_ENOMEM, "no memory for a call of the control store"), NULL;
    *w = (gcs_waiting){.reply = act->message->reply, .question_bytes = bytes};
    if (bytes) memcpy(w->question, question, bytes);
    act->message->reply = NULL;
    return w;
}

void server_answer(struct gcs_server *s, gcs_waiting *w, const void *reply, size_t bytes)
{
    worker *me = worker_self();
    manta_bytes value = {reply, bytes};
    const manta_layout *layout = &MantaGcs_submit_method.result;
    (void)s;
    if (w->reply->packed == FUTURE_PACKED) dynamic_complete(me, w->reply, layout, &value);
    else future_complete(me, w->reply, layout, &value, bytes);
    base_free(w);
}

void server_refuse(struct gcs_server *s, gcs_waiting *w, manta_status status, const char *text)
{
    (void)s;
    future_fail_status(worker_self(), w->reply, status, "%s", text);
    base_free(w);
}

static const char *leader_of(const struct gcs_server *s)
{
    static _Thread_local raft_host_status status;
    if (!s->host) return "";
    status = raft_host_status_of(s->host);
    return status.raft.leader == status.raft.id ? s->address : status.leader_address;
}

/* Fails the handler unless this server leads. */
static bool must_lead(const struct gcs_server *s)
{
    if (s->is_failed) return manta_fail(MANTA_EIO, "this server has stopped: %s", raft_host_failure(s->host)), false;
    if (s->host && raft_host_status_of(s->host).raft.state == RAFT_LEADER) return true;
    return manta_fail(MANTA_ENOTLEADER, "%s", leader_of(s)), false;
}

/* ---- what the host calls ---- */

static manta_status on_apply(void *context, uint64_t index, const unsigned char *data, uint32_t size, uint64_t token)
{
    struct gcs_server *s = context;
    gcs_waiting *w = token ? id_table_remove(&s->waiting, token) : NULL;
    manta_writer_reset(&s->reply);
    manta_status status = gcs_core_apply(s->core, index, data, size, server_tell, s, &s->reply);
    if (!status) status = s->reply.status;
    if (w && status) server_refuse(s, w, status, "the state could not take it");
    else if (w) server_answer(s, w, s->reply.start, manta_writer_size(&s->reply));
    return status;
}

static void on_lost(void *context, uint64_t token, raft_result why)
{
    struct gcs_server *s = context;
    gcs_waiting *w = id_table_remove(&s->waiting, token);
    bool moved = why == RAFT_NOT_LEADER || why == RAFT_LEADERSHIP_LOST || why == RAFT_TRANSFERRING;
    manta_status status = moved                   ? MANTA_ENOTLEADER
                          : why == RAFT_TOO_LARGE ? MANTA_ETOOLONG
                          : why == RAFT_NO_MEMORY ? MANTA_ENOMEM
                                                  : MANTA_ENOTREADY;
    if (w) server_refuse(s, w, status, moved ? leader_of(s) : raft_result_text(why));
}

static void on_read(void *context, uint64_t token, raft_result result)
{
    struct gcs_server *s = context;
    if (result != RAFT_OK) {
        on_lost(context, token, result);
        return;
    }
    gcs_waiting *w = id_table_remove(&s->waiting, token);
    if (!w) return;
    manta_writer_reset(&s->reply);
    manta_status status = gcs_core_query(s->core, w->question, w->question_bytes, &s->reply);
    if (!status) status = s->reply.status;
    if (status) server_refuse(s, w, status, "the answer cannot be packed");
    else server_answer(s, w, s->reply.start, manta_writer_size(&s->reply));
}

static void on_change(void *context, uint64_t token, raft_result result)
{
    struct gcs_server *s = context;
    if (token != s->change_token) return;
    s->is_changing = false;
    s->changed = result;
}

static bool sink_write(void *context, const void *bytes, size_t size) { return raft_sink_write(context, bytes, size); }
static manta_status on_save(void *context, raft_sink *out) { return gcs_core_save(((struct gcs_server *)context)->core, sink_write, out); }

static manta_status on_restore(void *context, const unsigned char *bytes, size_t size)
{
    char text[256];
    manta_status status = gcs_core_load(((struct gcs_server *)context)->core, bytes, size, text);
    if (status) runtime_report("control store: the snapshot cannot be taken over: %s", text);
    return status;
}

static gcs_peer *peer_of(struct gcs_server *s, uint64_t id, const char *address)
{
    gcs_peer *p = s->peers;
    while (p < s->peers + s->n_peers && p->id != id) p++;
    if (p == s->peers + s->n_peers) {
        if (s->n_peers == RAFT_SERVERS_MAX) p = s->peers; /* its server has left long ago, or is looked up again */
        else s->n_peers++;
        *p = (gcs_peer){.id = id};
    }
    if (address && *address && strcmp(p->address, address) != 0) {
        snprintf(p->address, sizeof p->address, "%s", address);
        p->actor = (MantaGcs_ref){{0}};
    }
    return p;
}

static void find_peer(struct gcs_server *s, gcs_peer *p)
{
    if (p->is_resolving || !p->address[0]) return;
    p->is_resolving = MantaGcs_resolve_send(ref_of(s), p->id) == MANTA_OK;
}

static void on_send(void *context, uint64_t to, const char *address, raft_buffer *b)
{
    struct gcs_server *s = context;
    gcs_peer *p = peer_of(s, to, address);
    manta_bytes bytes = {b->bytes, b->size};
    if (p->actor.actor.id && MantaGcs_step_send(p->actor, raft_host_status_of(s->host).raft.id, bytes) == MANTA_OK) return;
    p->actor.actor.id = 0;
    find_peer(s, p);
}

/* Followers have nothing to say to each other until the leader is gone, and then the first votes must not be lost. */
static void know_peers(struct gcs_server *s)
{
    raft_host_status status = raft_host_status_of(s->host);
    const raft_configuration *c = raft_host_configuration(s->host);
    for (uint32_t i = 0; i < c->count; i++) {
        gcs_peer *p = c->servers[i].id == status.raft.id ? NULL : peer_of(s, c->servers[i].id, c->servers[i].address);
        if (p && !p->actor.actor.id) find_peer(s, p);
    }
}

static void on_state(void *context) { (void)context; }

static void on_wake(void *context)
{
    struct gcs_server *s = context;
    if (!atomic_exchange_explicit(&s->woken, 1, memory_order_seq_cst)) (void)MantaGcs_woken_send(ref_of(s));
}

/* ---- the host ---- */

/* Whether the directory holds a server already: then its disk says who it is. */
static bool has_disk(const struct gcs_server *s)
{
    char path[sizeof s->directory + 16];
    int fd = -1;
    snprintf(path, sizeof path, "%s/data.mdb", s->directory);
    bool has = s->options.directory && os_file_open(path, OS_READ, &fd) == 0;
    os_file_close(fd);
    return has;
}

static void found_alone(struct gcs_server *s, raft_host_options *o, raft_configuration *founders)
{
    o->id = os_random_u64() | 1;
    *founders = (raft_configuration){.count = 1, .servers[0] = {.id = o->id, .role = RAFT_VOTER}};
    snprintf(founders->servers[0].address, RAFT_ADDRESS_BYTES, "%s", s->address);
    o->found = founders;
    o->cluster = 0;
}

/* MANTA_ENOTFOUND: the disk has none, and none is to be founded. */
static manta_status open_host(struct gcs_server *s, bool found, uint64_t cluster)
{
    enum { ALONE_ELECTION_MS = 2 };
    char text[RAFT_TEXT_LIMIT] = "";
    raft_host_calls calls = {s, on_apply, on_lost, on_read, on_change, on_save, on_restore, on_send, on_state, on_wake};
    raft_host_options o = {.directory = s->options.directory, .cluster = cluster};
    raft_configuration *founders = base_calloc(1, sizeof *founders);
    manta_status status = founders ? MANTA_OK : MANTA_ENOMEM;
    if (founders && found) found_alone(s, &o, founders);
    if (!s->address[0]) {
        o.raft.election_ns = ALONE_ELECTION_MS * OS_NS_PER_MS;
        o.raft.heartbeat_ns = OS_NS_PER_MS;
    }
    manta_blocking_begin(); /* the disk */
    if (!status) status = raft_host_open(&o, &calls, manta_now_ns(), &s->host, text);
    manta_blocking_end();
    base_free(founders);
    if (status) return error_set(status, "control store: %s", text[0] ? text : manta_status_text(status));
    raft_host_run(s->host, manta_now_ns());
    server_arm(s);
    return MANTA_OK;
}

/* A file does not say that there is a server: whoever made it may have been killed before it was one. */
manta_status server_open(struct gcs_server *s, bool found, uint64_t cluster)
{
    manta_status status = has_disk(s) ? open_host(s, false, cluster) : MANTA_ENOTFOUND;
    if (status == MANTA_ENOTFOUND && (found || cluster)) status = open_host(s, found, cluster);
    return status;
}

static uint64_t wall_ms(const struct gcs_server *s)
{
    uint64_t now = (the_runtime.config.seed ? manta_now_ns() : os_realtime_ns()) / OS_NS_PER_MS, seen = gcs_core_now(s->core);
    return now > seen ? now : seen;
}

static void refuse_waiting(struct gcs_server *s, manta_status status, const char *text)
{
    size_t cursor = 0;
    for (gcs_waiting *w; (w = id_table_next(&s->waiting, &cursor, NULL));) server_refuse(s, w, status, text);
    id_table_fini(&s->waiting);
}

static void check_failure(struct gcs_server *s)
{
    const char *failure = s->host ? raft_host_failure(s->host) : NULL;
    if (!failure || s->is_failed) return;
    s->is_failed = true;
    runtime_report("control store: this server has stopped: %s", failure);
    refuse_waiting(s, MANTA_EIO, failure);
}

void server_arm(struct gcs_server *s)
{
    enum { LOOK_MS = 500 };
    uint64_t now = manta_now_ns(), at = raft_host_next_timeout(s->host);
    check_failure(s);
    if (s->is_failed) return;
    bool leads = raft_host_status_of(s->host).raft.state == RAFT_LEADER;
    uint64_t expiry = leads ? gcs_core_next_expiry(s->core) : UINT64_MAX, wall = wall_ms(s);
    if (expiry != UINT64_MAX) {
        uint64_t due = now + (expiry > wall ? expiry - wall : 1) * OS_NS_PER_MS;
        if (due < at) at = due;
    }
    if (leads && s->address[0] && now + LOOK_MS * OS_NS_PER_MS < at) at = now + LOOK_MS * OS_NS_PER_MS;
    if (at == UINT64_MAX || (s->tick_at && s->tick_at <= at)) return;
    uint64_t delay_ms = at > now ? (at - now + OS_NS_PER_MS - 1) / OS_NS_PER_MS : 0;
    s->tick_at = at;
    (void)MantaGcs_tick_after(delay_ms ? delay_ms : 1, ref_of(s));
}

bool server_append(struct gcs_server *s, const void *command, size_t bytes, gcs_waiting *w)
{
    raft_buffer *b = s->n_pending < GCS_PENDING && bytes <= UINT32_MAX ? raft_buffer_new(command, (uint32_t)bytes) : NULL;
    uint64_t token = ++s->next_token;
    if (!b) return false;
    if (w && !id_table_put(&s->waiting, token, w)) {
        raft_buffer_release(b);
        return false;
    }
    gcs_stamp(b->bytes, wall_ms(s));
    s->pending[s->n_pending++] = (raft_command){b, b->bytes, b->size, token};
    if (!s->is_flushing) s->is_flushing = MantaGcs_flush_send(ref_of(s)) == MANTA_OK;
    return true;
}

/* The end of leases, when it is time. */
static void expire(struct gcs_server *s)
{
    raft_host_status status = raft_host_status_of(s->host);
    if (status.raft.state != RAFT_LEADER || !status.is_ready || gcs_core_next_expiry(s->core) > wall_ms(s)) return;
    manta_writer w;
    manta_writer_init_growing(&w);
    gcs_write_tick(&w, NULL, &(gcs_tick){});
    if (!w.status) (void)server_append(s, w.start, manta_writer_size(&w), NULL);
    manta_writer_fini(&w);
}

/* ---- methods ---- */

/* Who waits for this finds the actor dead, perhaps before it has asked for the reason. */
static void fail_to_start(manta_status status, const char *why)
{
    starting.status = status;
    snprintf(starting.why, sizeof starting.why, "%s", why);
    manta_fail(status, "%s", starting.why);
}

MANTA_METHOD_DEFINE(MantaGcs, init, void)
{
    struct gcs_server *s = base_calloc(1, sizeof *s);
    if (!(self->s = s)) {
        fail_to_start(MANTA_ENOMEM, "no memory for the control store");
        return;
    }
    s->options = *starting.options;
    s->self = manta_self();
    snprintf(s->directory, sizeof s->directory, "%s", starting.options->directory ? starting.options->directory : "");
    snprintf(s->address, sizeof s->address, "%s", starting.options->address ? starting.options->address : "");
    s->options.directory = starting.options->directory ? s->directory : NULL;
    manta_writer_init_growing(&s->reply);
    s->pending = base_alloc(GCS_PENDING * sizeof *s->pending);
    manta_status status = !s->pending ? MANTA_ENOMEM : gcs_core_new(NULL, &s->core);
    if (status) fail_to_start(MANTA_ENOMEM, "no memory for the control store");
    else if ((s->options.found || has_disk(s)) && (status = server_open(s, s->options.found, 0)) && status != MANTA_ENOTFOUND)
        fail_to_start(status, manta_last_error()->message);
}

MANTA_METHOD_DEFINE(MantaGcs, submit, manta_bytes, (manta_bytes, command))
{
    struct gcs_server *s = self->s;
    if (command.size < sizeof(gcs_head)) return manta_fail(MANTA_EDECODE, "a command of %zu bytes", command.size), nothing;
    if (!must_lead(s)) return nothing;
    gcs_waiting *w = take_reply(NULL, 0);
    if (!server_append(s, command.data, command.size, w) && w)
        server_refuse(
            s, w, s->n_pending == GCS_PENDING ? MANTA_ELIMIT : MANTA_ENOMEM, "no room for another command that waits to be appended");
    return nothing;
}

MANTA_METHOD_DEFINE(MantaGcs, flush, void)
{
    struct gcs_server *s = self->s;
    uint32_t n = s->n_pending;
    s->n_pending = 0;
    s->is_flushing = false;
    raft_host_submit(s->host, s->pending, n, manta_now_ns());
    for (uint32_t i = 0; i < n; i++) raft_buffer_release(s->pending[i].buffer);
    server_arm(s);
}

MANTA_METHOD_DEFINE(MantaGcs, query, manta_bytes, (manta_bytes, question))
{
    struct gcs_server *s = self->s;
    if (!must_lead(s)) return nothing;
    gcs_waiting *w = take_reply(question.data, question.size);
    uint64_t token = ++s->next_token;
    if (w && !id_table_put(&s->waiting, token, w)) server_refuse(s, w, MANTA_ENOMEM, "no memory for a question");
    else if (w) raft_host_read(s->host, token, manta_now_ns());
    server_arm(s);
    return nothing;
}

MANTA_METHOD_DEFINE(MantaGcs, step, void, (uint64_t, from), (manta_bytes, bytes))
{
    struct gcs_server *s = self->s;
    if (!s->host || s->is_failed || bytes.size > UINT32_MAX) return;
    peer_of(s, from, NULL)->actor = MantaGcs_ref_of(manta_sender());
    raft_buffer *b = raft_buffer_new(bytes.data, (uint32_t)bytes.size);
    if (b) raft_host_receive(s->host, b, manta_now_ns());
    raft_buffer_release(b);
    server_arm(s);
}

MANTA_METHOD_DEFINE(MantaGcs, woken, void)
{
    struct gcs_server *s = self->s;
    store_seq(&s->woken, 0);
    if (s->host) raft_host_run(s->host, manta_now_ns());
    if (s->host) server_arm(s);
}

MANTA_METHOD_DEFINE(MantaGcs, tick, void)
{
    struct gcs_server *s = self->s;
    s->tick_at = 0;
    if (!s->host || s->is_failed) return;
    raft_host_run(s->host, manta_now_ns());
    expire(s);
    know_peers(s);
    server_arm(s);
    server_manage(s);
}

/* Finds the actor of another server; messages to it are dropped meanwhile, which Raft allows for. */
MANTA_METHOD_DEFINE(MantaGcs, resolve, void, (uint64_t, id))
{
    enum { TIMEOUT_MS = 2000 };
    struct gcs_server *s = self->s;
    manta_process process;
    manta_actor found = {0};
    char address[RAFT_ADDRESS_BYTES];
    snprintf(address, sizeof address, "%s", peer_of(s, id, NULL)->address);
    manta_status status = process_at(address, TIMEOUT_MS, &process);
    if (!status) status = manta_lookup_in(process, "manta.gcs", &found);
    gcs_peer *p = peer_of(s, id, NULL);
    p->is_resolving = false;
    if (!status && strcmp(p->address, address) == 0) p->actor = MantaGcs_ref_of(found);
}

MANTA_METHOD_DEFINE(MantaGcs, serve, uint64_t, (uint64_t, cluster))
{
    struct gcs_server *s = self->s;
    if (!s->host && server_open(s, false, cluster)) return manta_fail(manta_last_error()->status, "%s", manta_last_error()->message), 0;
    raft_host_status status = raft_host_status_of(s->host);
    if (status.cluster != cluster) return manta_fail(MANTA_EEXIST, "%s serves another cluster", s->address), 0;
    return status.raft.id;
}

MANTA_METHOD_DEFINE(MantaGcs, place, MantaGcsPlace)
{
    struct gcs_server *s = self->s;
    MantaGcsPlace place = {0};
    char *servers = manta_alloc(GCS_ADDRESSES);
    if (!servers) return manta_fail(MANTA_ENOMEM, "no memory for a list of servers"), place;
    servers[0] = 0;
    const raft_configuration *c = s->host ? raft_host_configuration(s->host) : NULL;
    size_t n = 0;
    for (uint32_t i = 0; c && i < c->count && n + RAFT_ADDRESS_BYTES + 2 < GCS_ADDRESSES; i++)
        n += (size_t)snprintf(servers + n, GCS_ADDRESSES - n, "%s%s", n ? "," : "", c->servers[i].address);
    if (!c) n = gcs_servers(servers, GCS_ADDRESSES); /* what it heard itself */
    if (s->host) {
        raft_host_status status = raft_host_status_of(s->host);
        place.cluster = status.cluster;
        place.server = status.raft.id;
        place.leads = status.raft.state == RAFT_LEADER;
    }
    place.leader = manta_str_of(leader_of(s));
    place.servers = (manta_str){servers, n};
    return place;
}

MANTA_METHOD_DEFINE(MantaGcs, status, manta_str)
{
    enum { ROOM = 8192 };
    struct gcs_server *s = self->s;
    char *text = manta_alloc(ROOM);
    if (!text) return manta_fail(MANTA_ENOMEM, "no memory for a status"), manta_str_of("");
    if (!s->host) return manta_str_of("no server of the control store\n");
    raft_host_status status = raft_host_status_of(s->host);
    const raft_configuration *c = raft_host_configuration(s->host);
    size_t n = (size_t)snprintf(text, ROOM,
        "control store: %s of term %llu, last %llu, durable %llu, commit %llu, applied %llu, snapshot %llu%s%s\n",
        raft_state_name(status.raft.state), (unsigned long long)status.raft.term, (unsigned long long)status.raft.last,
        (unsigned long long)status.raft.durable, (unsigned long long)status.raft.commit, (unsigned long long)status.applied,
        (unsigned long long)status.raft.snapshot, s->is_failed ? "; stopped: " : "", s->is_failed ? raft_host_failure(s->host) : "");
    for (uint32_t i = 0; i < c->count && n < ROOM - 300; i++)
        n += (size_t)snprintf(text + n, ROOM - n, "  %s %-28s %016llx%s\n", c->servers[i].role == RAFT_VOTER ? "voter  " : "learner",
            c->servers[i].address, (unsigned long long)c->servers[i].id, c->servers[i].id == status.raft.leader ? "  (leads)" : "");
    gcs_usage lineage = gcs_core_usage(s->core, GCS_TABLE_LINEAGE);
    n += (size_t)snprintf(text + n, ROOM - n, "  lineage: %llu records, %llu bytes, %llu dropped\n", (unsigned long long)lineage.items,
        (unsigned long long)lineage.bytes, (unsigned long long)lineage.dropped);
    return (manta_str){text, n};
}

static void let_go(void *self)
{
    struct gcs_server *s = ((MantaGcs *)self)->s;
    if (!s) return;
    raft_host_close(s->host);
    for (uint32_t i = 0; i < s->n_pending; i++) raft_buffer_release(s->pending[i].buffer);
    refuse_waiting(s, MANTA_EDEAD, "the control store has stopped");
    server_watchers_free(s);
    gcs_core_free(s->core);
    manta_writer_fini(&s->reply);
    base_free(s->pending);
    base_free(s);
}

MANTA_CLASS_WITH(MantaGcs, (.concurrency = 1024, .no_yield_in_send = true, .on_free = let_go), init, submit, query, step, place, serve,
    watch, unwatch, suspect, status, flush, tick, woken, resolve)

/* ---- start ---- */

manta_status gcs_start(const gcs_options *options, manta_actor *out)
{
    starting.options = options;
    starting.status = MANTA_OK;
    MantaGcs_ref me = MantaGcs_spawn();
    if (!me.actor.id) return manta_last_error()->status;
    manta_status status = manta_join(MantaGcs_place(me)); /* its init has run */
    if (status && starting.status) status = error_set(starting.status, "%s", starting.why);
    if (!status) status = manta_register("manta.gcs", me.actor);
    *out = me.actor;
    return status;
}
