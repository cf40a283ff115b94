/*
 * How the leader looks after the servers: every half second at most one change of membership.
 *
 * Wanted are `voters` (5, 3 or 1), as far as so many nodes live: 3 from three nodes on, 5 from five. A node that lives and has no server gets one (as learner first, then voter). A server whose node is dead or is being
 * drained goes when another node can take its place, or when there are more than wanted: until then it does no harm, and a majority is as far away as before. A node is dead when two others say that they do not
 * reach it now (in a cluster of two, the other one) or it said goodbye; that it is dead is a command like any other.
 */
#include <string.h>

#include "actor/node/gcs_server.h"
#include "actor/node/node.h"

enum { NODES_SEEN = 1024, SUSPICION_MS = 2500 };

typedef struct member { /* a node */
    uint64_t id, epoch;
    bool lives, has_server;
    char address[RAFT_ADDRESS_BYTES];
} member;

typedef struct members {
    uint32_t count, living;
    member items[NODES_SEEN];
} members;

static void add_member(void *context, const gcs_event *e)
{
    members *all = context;
    manta_reader r;
    gcs_node_row row;
    manta_reader_init(&r, e->value.data, e->value.size);
    gcs_read_node_row(&r, &row);
    if (r.status || all->count == NODES_SEEN || row.address.size >= RAFT_ADDRESS_BYTES || row.state == GCS_NODE_STATE_DEAD) return;
    member *m = &all->items[all->count++];
    *m = (member){.id = row.id, .epoch = row.epoch, .lives = row.state == GCS_NODE_STATE_ALIVE};
    memcpy(m->address, row.address.data, row.address.size);
    all->living += m->lives;
}

static member *member_at(members *all, const char *address)
{
    for (uint32_t i = 0; i < all->count; i++)
        if (strcmp(all->items[i].address, address) == 0) return &all->items[i];
    return NULL;
}

/* ---- deaths ---- */

static bool is_fresh(const gcs_suspicion *x, uint64_t now) { return now - x->at_ns < (uint64_t)SUSPICION_MS * OS_NS_PER_MS; }

MANTA_METHOD_DEFINE(MantaGcs, suspect, void, (uint64_t, node), (uint64_t, by))
{
    struct gcs_server *s = self->s;
    uint64_t now = manta_now_ns();
    gcs_suspicion *at = s->suspicions, *end = at + s->n_suspicions;
    while (at < end && (at->node != node || at->by != by) && is_fresh(at, now)) at++;
    if (at == end && s->n_suspicions < GCS_SUSPICIONS) s->n_suspicions++;
    else if (at == end) at = s->suspicions; /* the table is full of fresh ones: they are said again each second */
    *at = (gcs_suspicion){node, by, now};
    if (s->host) server_manage(s);
}

static bool lives(const members *all, uint64_t id)
{
    for (uint32_t i = 0; i < all->count; i++)
        if (all->items[i].id == id) return true;
    return false;
}

static bool is_suspected(const struct gcs_server *s, const members *all, const member *m)
{
    uint32_t witnesses = 0, wanted = all->count > 2 ? 2 : 1;
    uint64_t now = manta_now_ns();
    for (uint32_t i = 0; i < s->n_suspicions; i++) {
        const gcs_suspicion *x = &s->suspicions[i];
        witnesses += x->node == m->id && x->by != m->id && is_fresh(x, now) && lives(all, x->by);
    }
    return witnesses >= wanted;
}

/* Once for each time that it was said. */
static void declare_dead(struct gcs_server *s, const member *m)
{
    for (uint32_t i = 0; i < s->n_suspicions;)
        if (s->suspicions[i].node == m->id) s->suspicions[i] = s->suspicions[--s->n_suspicions];
        else i++;
    manta_writer w;
    manta_writer_init_growing(&w);
    gcs_write_node_dead(&w, NULL, &(gcs_node_dead){m->id, m->epoch, manta_str_of("other nodes do not reach it")});
    if (!w.status) (void)server_append(s, w.start, manta_writer_size(&w), NULL);
    manta_writer_fini(&w);
}

/* ---- voters ---- */

static uint32_t wanted_voters(const struct gcs_server *s, const members *all)
{
    if (all->living >= 5 && s->options.voters >= 5) return 5;
    return all->living >= 3 && s->options.voters >= 3 ? 3 : 1;
}

static void change(struct gcs_server *s, raft_change_kind kind, uint64_t id, const char *address)
{
    s->is_changing = true;
    s->change_token = ++s->next_token;
    raft_host_change(s->host, kind, id, address, s->change_token, manta_now_ns());
}

/* The node gets a server, which then is added. */
static void take_on(struct gcs_server *s, const member *m)
{
    enum { TIMEOUT_MS = 3000 };
    manta_process process;
    manta_actor its;
    uint64_t id = 0, cluster = raft_host_status_of(s->host).cluster;
    manta_status status = process_at(m->address, TIMEOUT_MS, &process);
    if (!status) status = manta_lookup_in(process, "manta.gcs", &its);
    if (!status) status = manta_get_timeout(MantaGcs_serve(MantaGcs_ref_of(its), cluster), &id, TIMEOUT_MS);
    bool leads = raft_host_status_of(s->host).raft.state == RAFT_LEADER;
    if (!status && id && leads) change(s, RAFT_ADD, id, m->address);
    else if (status) runtime_report("control store: %s cannot become a server: %s", m->address, manta_last_error()->message);
}

static const member *spare(const members *all)
{
    for (uint32_t i = 0; i < all->count; i++)
        if (all->items[i].lives && !all->items[i].has_server) return &all->items[i];
    return NULL;
}

/* True: something is under way now. */
static bool let_go_of_one(struct gcs_server *s, members *all, const raft_configuration *c, uint32_t wanted)
{
    uint32_t voters = raft_configuration_voters(c);
    bool replaceable = spare(all) != NULL;
    for (uint32_t i = 0; i < c->count; i++) {
        const raft_server *x = &c->servers[i];
        const member *m = member_at(all, x->address);
        bool is_gone = !m, is_leaving = m && !m->lives;
        if (x->id == raft_host_status_of(s->host).raft.id) {
            if (is_leaving && voters > 1) raft_host_transfer(s->host, 0, manta_now_ns());
            continue;
        }
        if (!(is_gone && (x->role == RAFT_LEARNER || replaceable || voters > wanted)) && !(is_leaving && voters > 1)) continue;
        change(s, RAFT_REMOVE, x->id, NULL);
        return true;
    }
    return false;
}

static bool raise_one(struct gcs_server *s, const raft_configuration *c, uint32_t wanted)
{
    if (raft_configuration_voters(c) >= wanted) return false;
    for (uint32_t i = 0; i < c->count; i++) {
        if (c->servers[i].role != RAFT_LEARNER) continue;
        change(s, RAFT_PROMOTE, c->servers[i].id, NULL);
        return true;
    }
    return false;
}

static void manage(struct gcs_server *s, members *all)
{
    gcs_core_each(s->core, GCS_TABLE_NODE, (manta_bytes){NULL, 0}, add_member, all);
    for (uint32_t i = 0; i < all->count; i++)
        if (is_suspected(s, all, &all->items[i])) declare_dead(s, &all->items[i]);
    const raft_configuration *c = raft_host_configuration(s->host);
    for (uint32_t i = 0; i < c->count; i++) {
        member *m = member_at(all, c->servers[i].address);
        if (m) m->has_server = true;
    }
    uint32_t wanted = wanted_voters(s, all);
    if (let_go_of_one(s, all, c, wanted) || raise_one(s, c, wanted)) return;
    const member *next = c->count < wanted ? spare(all) : NULL;
    if (next) take_on(s, next);
}

void server_manage(struct gcs_server *s)
{
    raft_host_status status = raft_host_status_of(s->host);
    if (s->is_managing || s->is_changing || s->is_failed || !s->address[0] || status.raft.state != RAFT_LEADER || !status.is_ready) return;
    members *all = base_calloc(1, sizeof *all);
    s->is_managing = true;
    if (all) manage(s, all);
    s->is_managing = false;
    base_free(all);
}
