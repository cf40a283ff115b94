/*
 * The simulated network. An event is: a connection comes about or fails, a frame arrives, the dialling side hears that its connection broke, or an end looks after itself (what senders left, timers). The earliest is next; of
 * those at the same time, the first in the order of making.
 *
 *   dialling end                              accepting end
 *   dial -> sim_connection  --- pipe[THERE] --->  route (a number of the connection)
 *                          <--- pipe[BACK] ----
 *
 * Who dialled closes (dial NULL): what is on its way there still arrives, up to a random point, then the connection is gone. It is cut: both pipes lose a random end, nothing more goes in, and the
 * dialling side hears of it when the rest has arrived; the accepting side never hears, as with ZeroMQ's ROUTER.
 */
#include "mailbox/link/link_sim.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "mailbox/link/link_internal.h"
#include "scheduler/base/hash.h"
#include "scheduler/base/rng.h"

enum { THERE, BACK };
enum { DELAY_MIN_NS = 50 * OS_NS_PER_US, DELAY_MAX_NS = OS_NS_PER_MS, WAKE_NS = 20 * OS_NS_PER_US, MILLION = 1000000 };
enum { EVENT_CONNECT = 1, EVENT_FRAME, EVENT_BROKEN, EVENT_ROUND };
#define NEVER UINT64_MAX

typedef struct sim_frame {
    struct sim_frame *next;
    uint64_t due_ns;
    zmq_msg_t message;
} sim_frame;

typedef struct sim_pipe {
    sim_frame *first, *last;
    uint32_t count;
    uint64_t free_ns, last_ns; /* when the path can take the next byte; when the last frame arrives */
    sim_frame *echo;           /* a copy that will arrive later once more */
} sim_pipe;

typedef struct sim_connection {
    struct sim_connection *next;
    int from, to; /* ends; to -1: not there yet, or never */
    dial *dial;   /* NULL: closed by who dialled */
    uint32_t route;
    bool is_open, is_cut, has_acceptor;
    uint64_t due_ns; /* of the outcome, or of the news that it broke */
    sim_pipe pipes[2];
} sim_connection;

typedef struct sim_end {
    uint64_t process;
    links *links; /* NULL: closed */
    uint64_t round_ns, paused_ns;
} sim_end;

struct link_sim {
    rng random;
    uint64_t now_ns, hash;
    uint32_t next_route;
    int n_ends;
    sim_end ends[LINK_SIM_ENDS];
    link_sim_path paths[LINK_SIM_ENDS][LINK_SIM_ENDS];
    sim_connection *connections;
    void (*enter)(void *context, uint64_t process);
    void *enter_context;
};

typedef struct sim_event {
    uint64_t due_ns;
    int kind, way, end;
    sim_connection *connection;
} sim_event;

/* links.net */
typedef struct sim_net {
    link_sim *sim;
    int end;
    link_events events; /* the end's own */
    void *context;
} sim_net;

static link_sim *sim_of(const links *l) { return ((sim_net *)l->net)->sim; }
static int end_of(const links *l) { return ((sim_net *)l->net)->end; }

static void note(link_sim *s, uint64_t what) { s->hash = rng_mix(s->hash ^ what) + s->now_ns; }

static uint64_t between(link_sim *s, uint64_t low, uint64_t high) { return low + (high > low ? rng_below(&s->random, high - low + 1) : 0); }

static bool chance(link_sim *s, uint32_t ppm) { return ppm && rng_below(&s->random, MILLION) < ppm; }

/* ---- pipes ---- */

static void frame_free(sim_frame *f)
{
    if (f) zmq_msg_close(&f->message);
    base_free(f);
}

static sim_frame *pipe_take(sim_pipe *p)
{
    sim_frame *f = p->first;
    if (!f) return NULL;
    if (!(p->first = f->next)) p->last = NULL;
    p->count--;
    return f;
}

static void pipe_clear(sim_pipe *p)
{
    for (sim_frame *f; (f = pipe_take(p));) frame_free(f);
    frame_free(p->echo);
    p->echo = NULL;
}

/* What a sudden end lets through: a random beginning. */
static void pipe_cut(link_sim *s, sim_pipe *p)
{
    sim_pipe rest = *p;
    uint32_t keep = (uint32_t)between(s, 0, p->count);
    p->first = p->last = NULL;
    p->count = 0;
    p->echo = NULL;
    for (uint32_t i = 0; i < keep; i++) {
        sim_frame *f = pipe_take(&rest);
        f->next = NULL;
        if (p->last) p->last->next = f;
        else p->first = f;
        p->last = f;
        p->count++;
    }
    pipe_clear(&rest);
}

static void pipe_add(link_sim *s, const link_sim_path *path, sim_pipe *p, sim_frame *f)
{
    size_t bytes = zmq_msg_size(&f->message);
    uint64_t start = p->free_ns > s->now_ns ? p->free_ns : s->now_ns;
    p->free_ns = path->bytes_per_s ? start + bytes * (uint64_t)OS_NS_PER_S / path->bytes_per_s : start;
    f->due_ns = p->free_ns + between(s, path->delay_min_ns, path->delay_max_ns);
    if (f->due_ns < p->last_ns) f->due_ns = p->last_ns;
    p->last_ns = f->due_ns;
    f->next = NULL;
    if (p->last) p->last->next = f;
    else p->first = f;
    p->last = f;
    p->count++;
}

static sim_frame *frame_copy(zmq_msg_t *m)
{
    sim_frame *f = base_calloc(1, sizeof *f);
    if (!f) return NULL;
    zmq_msg_init(&f->message);
    if (zmq_msg_copy(&f->message, m) == 0) return f;
    frame_free(f);
    return NULL;
}

/* Not a handshake: one that comes again would begin a link anew on a connection whose link is over, which no TCP does. */
static bool may_repeat(zmq_msg_t *m)
{
    frame_head h;
    return !frame_get_head(zmq_msg_data(m), zmq_msg_size(m), &h) && (h.kind == FRAME_DATA || h.kind == FRAME_ACK);
}

static void pipe_repeat(link_sim *s, const link_sim_path *path, sim_pipe *p, zmq_msg_t *m)
{
    if (p->echo && chance(s, path->twice_ppm)) {
        pipe_add(s, path, p, p->echo);
        p->echo = NULL;
    }
    sim_frame *copy = may_repeat(m) && chance(s, path->twice_ppm) ? frame_copy(m) : NULL;
    if (copy && (p->echo || between(s, 0, 1))) pipe_add(s, path, p, copy);
    else if (copy) p->echo = copy;
}

/* ---- connections ---- */

static sim_connection *connection_of_route(link_sim *s, uint32_t route)
{
    for (sim_connection *c = s->connections; c; c = c->next)
        if (c->route == route && c->is_open) return c;
    return NULL;
}

static link_sim_path *path_of(link_sim *s, const sim_connection *c, int way)
{
    return way == THERE ? &s->paths[c->from][c->to] : &s->paths[c->to][c->from];
}

/* A frame of two parts travels as one: the bytes are the same. 0, or ENOMEM. */
static int join_parts(zmq_msg_t *m, zmq_msg_t *body)
{
    zmq_msg_t both;
    size_t first = zmq_msg_size(m), rest = zmq_msg_size(body), padding = (8 - (first + rest) % 8) % 8;
    if (zmq_msg_init_size(&both, first + rest + padding)) return ENOMEM;
    unsigned char *to = zmq_msg_data(&both);
    memcpy(to, zmq_msg_data(m), first);
    memcpy(to + first, zmq_msg_data(body), rest);
    memset(to + first + rest, 0, padding);
    zmq_msg_move(m, &both);
    zmq_msg_close(body);
    zmq_msg_init(body);
    return 0;
}

static int send_on(link_sim *s, sim_connection *c, int way, zmq_msg_t *m, zmq_msg_t *body)
{
    sim_pipe *p = &c->pipes[way];
    if (!c->is_open) return ENOTCONN;
    if (p->count >= SEND_FRAMES) return EAGAIN;
    if (body && join_parts(m, body)) return ENOMEM;
    if (c->is_cut || (way == BACK && !c->dial)) { /* nobody has heard of it yet */
        zmq_msg_close(m);
        return 0;
    }
    sim_frame *f = frame_copy(m);
    if (!f) return ENOMEM;
    link_sim_path *path = path_of(s, c, way);
    pipe_add(s, path, p, f);
    pipe_repeat(s, path, p, m);
    zmq_msg_close(m);
    return 0;
}

static void connection_free(link_sim *s, sim_connection *gone)
{
    for (sim_connection **at = &s->connections; *at; at = &(*at)->next)
        if (*at == gone) {
            *at = gone->next;
            break;
        }
    pipe_clear(&gone->pipes[THERE]);
    pipe_clear(&gone->pipes[BACK]);
    base_free(gone);
}

static void connection_cut(link_sim *s, sim_connection *c, bool is_told)
{
    if (c->is_cut || !c->is_open) return;
    c->is_cut = true;
    pipe_cut(s, &c->pipes[THERE]);
    pipe_cut(s, &c->pipes[BACK]);
    uint64_t last = c->pipes[BACK].last ? c->pipes[BACK].last->due_ns : s->now_ns;
    c->due_ns = is_told ? last + between(s, 0, DELAY_MAX_NS) : NEVER;
}

/* Whether there is nothing left of it: nobody reads, or nothing is on its way and nothing comes any more. */
static bool is_over(const sim_connection *c)
{
    bool there = c->pipes[THERE].first && c->has_acceptor;
    return !c->dial && (!c->is_open || !there);
}

/* ---- what the protocol asks for ---- */

static bool sim_dial(dial *d)
{
    link_sim *s = sim_of(d->links);
    sim_connection *c = base_calloc(1, sizeof *c), **at = &s->connections;
    if (!c) return false;
    *c = (sim_connection){.from = end_of(d->links), .to = -1, .dial = d, .due_ns = s->now_ns + between(s, DELAY_MIN_NS, DELAY_MAX_NS)};
    while (*at) at = &(*at)->next;
    *at = c;
    d->connection = c;
    return true;
}

static void sim_close(dial *d, bool after_goodbye)
{
    sim_connection *c = d->connection;
    link_sim *s = sim_of(d->links);
    c->dial = NULL;
    pipe_clear(&c->pipes[BACK]);
    if (!after_goodbye && !c->is_cut) pipe_cut(s, &c->pipes[THERE]);
    if (is_over(c)) connection_free(s, c);
}

static int sim_send(dial *d, zmq_msg_t *m, zmq_msg_t *body) { return send_on(sim_of(d->links), d->connection, THERE, m, body); }

static int sim_send_back(links *l, uint32_t route, zmq_msg_t *m, zmq_msg_t *body)
{
    sim_connection *c = connection_of_route(sim_of(l), route);
    return c ? send_on(sim_of(l), c, BACK, m, body) : EHOSTUNREACH;
}

static void sim_wake(links *l)
{
    link_sim *s = sim_of(l);
    sim_end *e = &s->ends[end_of(l)];
    uint64_t at = s->now_ns + between(s, 0, WAKE_NS);
    if (at < e->round_ns) e->round_ns = at;
}

/* The end is gone: others' connections to it break. */
static void leave(link_sim *s, int end, bool is_told)
{
    for (sim_connection *c = s->connections; c; c = c->next) {
        if (c->from == end && !is_told) pipe_clear(&c->pipes[THERE]);
        if (c->to != end || !c->has_acceptor) continue;
        sim_pipe back = c->pipes[BACK]; /* said before it left */
        c->pipes[BACK] = (sim_pipe){0};
        connection_cut(s, c, is_told);
        c->pipes[BACK] = back;
        if (is_told && back.last) c->due_ns = back.last->due_ns + 1;
        if (!is_told) pipe_clear(&c->pipes[BACK]);
        c->has_acceptor = false;
    }
    s->ends[end].links = NULL;
}

static void enter(const link_sim *s, int end)
{
    if (s->enter) s->enter(s->enter_context, s->ends[end].process);
}

static bool step_and_return(link_sim *s, links *l)
{
    bool some = link_sim_step(s, l->close_ns);
    enter(s, end_of(l));
    return some;
}

static void sim_stop(links *l, uint64_t linger_ns)
{
    link_sim *s = sim_of(l);
    l->close_ns = s->now_ns + linger_ns;
    store_seq(&l->closing, 1);
    sim_wake(l);
    do l->now_ns = s->now_ns;
    while (!links_is_done(l) && step_and_return(s, l));
    links_take_dirty(l);
    links_say_goodbye(l);
}

static void sim_leave(links *l)
{
    if (l->net && sim_of(l)->ends[end_of(l)].links == l) leave(sim_of(l), end_of(l), true);
    base_free(l->net);
}

static const link_ops sim_ops = {sim_dial, sim_close, sim_send, sim_send_back, sim_wake, sim_wake, sim_stop, sim_leave};

/* ---- events ---- */

static bool is_blocked(const link_sim *s, int from, int to) { return to >= 0 && s->paths[from][to].is_blocked; }

static void earliest(sim_event *best, uint64_t due_ns, int kind, int way, int end, sim_connection *c)
{
    if (due_ns < best->due_ns) *best = (sim_event){due_ns, kind, way, end, c};
}

static uint64_t not_asleep(const link_sim *s, int end, uint64_t due_ns)
{
    return due_ns != NEVER && due_ns < s->ends[end].paused_ns ? s->ends[end].paused_ns : due_ns;
}

static int find_bound(const link_sim *s, const char *address)
{
    for (int i = 0; i < s->n_ends; i++)
        for (int k = 0; s->ends[i].links && k < s->ends[i].links->n_addresses; k++)
            if (strcmp(s->ends[i].links->addresses[k], address) == 0) return i;
    return -1;
}

static void look_at(link_sim *s, sim_event *best, sim_connection *c)
{
    if (!c->is_open) {
        int to = find_bound(s, c->dial->address);
        bool waits = to >= 0 && (is_blocked(s, c->from, to) || is_blocked(s, to, c->from));
        if (!waits) earliest(best, not_asleep(s, c->from, c->due_ns), EVENT_CONNECT, 0, c->from, c);
        return;
    }
    const sim_frame *there = c->pipes[THERE].first, *back = c->pipes[BACK].first;
    if (there && c->has_acceptor && !is_blocked(s, c->from, c->to))
        earliest(best, not_asleep(s, c->to, there->due_ns), EVENT_FRAME, THERE, c->to, c);
    if (back && c->dial && !is_blocked(s, c->to, c->from))
        earliest(best, not_asleep(s, c->from, back->due_ns), EVENT_FRAME, BACK, c->from, c);
    if (c->is_cut && c->dial && !back && !is_blocked(s, c->to, c->from))
        earliest(best, not_asleep(s, c->from, c->due_ns), EVENT_BROKEN, 0, c->from, c);
}

static sim_event next_event(link_sim *s)
{
    sim_event best = {.due_ns = NEVER};
    for (sim_connection *c = s->connections; c; c = c->next) look_at(s, &best, c);
    for (int i = 0; i < s->n_ends; i++)
        if (s->ends[i].links) earliest(&best, not_asleep(s, i, s->ends[i].round_ns), EVENT_ROUND, 0, i, NULL);
    return best;
}

static void connect_or_fail(link_sim *s, sim_connection *c)
{
    links *l = s->ends[c->from].links;
    int to = find_bound(s, c->dial->address);
    if (to < 0 || chance(s, s->paths[c->from][to].refuse_ppm)) {
        dial_broken(l, c->dial, "nobody listens, or the connection broke");
        return;
    }
    c->to = to;
    c->route = ++s->next_route;
    c->is_open = c->has_acceptor = true;
    dial_connected(l, c->dial);
}

static void arrive(link_sim *s, sim_connection *c, int way)
{
    sim_frame *f = pipe_take(&c->pipes[way]);
    links *l = s->ends[way == THERE ? c->to : c->from].links;
    note(s, hash_bytes(zmq_msg_data(&f->message), zmq_msg_size(&f->message)));
    if (way == BACK) take_dial_frame(l, c->dial, &f->message, NULL);
    else {
        uint32_t route = c->route;
        if (is_over(c)) connection_free(s, c);
        take_route_frame(l, route, &f->message, NULL);
    }
    frame_free(f);
}

static void look_after(links *l, sim_end *e)
{
    e->round_ns = NEVER;
    links_take_dirty(l);
    dials_tick(l);
    bool waits = links_tick(l);
    uint64_t due = links_due(l, waits);
    if (due < e->round_ns) e->round_ns = due;
}

static void happen(link_sim *s, const sim_event *e)
{
    sim_end *end = &s->ends[e->end];
    links *l = end->links;
    l->now_ns = s->now_ns;
    note(s, (uint64_t)e->kind << 32 | (uint64_t)e->way << 16 | (uint64_t)e->end);
    switch (e->kind) {
    case EVENT_CONNECT: connect_or_fail(s, e->connection); break;
    case EVENT_FRAME: arrive(s, e->connection, e->way); break;
    case EVENT_BROKEN: dial_broken(l, e->connection->dial, "the connection broke"); break;
    default: look_after(l, end); return;
    }
    uint64_t due = links_due(l, false);
    if (due < end->round_ns) end->round_ns = due;
}

bool link_sim_step(link_sim *s, uint64_t until_ns)
{
    sim_event e = next_event(s);
    if (e.due_ns > until_ns) {
        if (until_ns > s->now_ns && until_ns != NEVER) s->now_ns = until_ns;
        return false;
    }
    if (e.due_ns > s->now_ns) s->now_ns = e.due_ns;
    happen(s, &e);
    return true;
}

void link_sim_run_until(link_sim *s, uint64_t ns)
{
    while (link_sim_step(s, ns)) continue;
}

/* ---- callbacks of ends that take turns ---- */

static const sim_net *enter_for(void *context)
{
    const sim_net *n = context;
    enter(n->sim, n->end);
    return n;
}

static void up(void *context, link_peer peer, const char *address, const char *dialled)
{
    const sim_net *n = enter_for(context);
    n->events.on_up(n->context, peer, address, dialled);
}

static void message(void *context, link_peer peer, const link_message *m)
{
    const sim_net *n = enter_for(context);
    n->events.on_message(n->context, peer, m);
}

static void down(void *context, link_peer peer, manta_status status, const char *reason)
{
    const sim_net *n = enter_for(context);
    n->events.on_down(n->context, peer, status, reason);
}

static void no_connection(void *context, const char *dialled, uint64_t expect, manta_status status, const char *reason)
{
    const sim_net *n = enter_for(context);
    n->events.on_no_connection(n->context, dialled, expect, status, reason);
}

static void room(void *context, link_peer peer)
{
    const sim_net *n = enter_for(context);
    n->events.on_room(n->context, peer);
}

static const link_events entering = {up, message, down, no_connection, room};

/* ---- coming and going ---- */

link_sim *link_sim_new(uint64_t seed)
{
    link_sim *s = base_calloc(1, sizeof *s);
    if (!s) return NULL;
    rng_init(&s->random, seed);
    s->now_ns = OS_NS_PER_S;
    return s;
}

void link_sim_free(link_sim *s)
{
    if (!s) return;
    while (s->connections) connection_free(s, s->connections);
    base_free(s);
}

static int find_end(const link_sim *s, uint64_t process)
{
    for (int i = 0; i < s->n_ends; i++)
        if (s->ends[i].process == process) return i;
    return -1;
}

static int add_end(link_sim *s)
{
    int end = s->n_ends++;
    for (int i = 0; i <= end; i++)
        s->paths[i][end] = s->paths[end][i] = (link_sim_path){.delay_min_ns = DELAY_MIN_NS, .delay_max_ns = DELAY_MAX_NS};
    return end;
}

static manta_status bind_all(link_sim *s, links *l, const link_options *o)
{
    for (int i = 0; o->bind && o->bind[i]; i++) {
        if (!address_is_valid(o->bind[i])) return MANTA_EINVAL;
        if (i == LINK_ADDRESSES) return link_fail(MANTA_EINVAL, "at most %d addresses", LINK_ADDRESSES);
        if (find_bound(s, o->bind[i]) >= 0) return link_fail(MANTA_EEXIST, "%s: in use", o->bind[i]);
        snprintf(l->addresses[l->n_addresses++], sizeof l->addresses[0], "%s", o->bind[i]);
    }
    return MANTA_OK;
}

static manta_status settle(link_sim *s, links *l, const link_options *o)
{
    int end = find_end(s, o->self.process);
    if (end >= 0 && s->ends[end].links) return link_fail(MANTA_EEXIST, "that process is open");
    if (end < 0 && s->n_ends == LINK_SIM_ENDS) return link_fail(MANTA_ELIMIT, "at most %d processes", LINK_SIM_ENDS);
    manta_status status = bind_all(s, l, o);
    sim_net *net = status ? NULL : base_calloc(1, sizeof *net);
    if (!net) return status ? status : link_fail(MANTA_ENOMEM, "no memory");
    if (end < 0) end = add_end(s);
    *net = (sim_net){s, end, l->events, l->context};
    l->net = net;
    if (s->enter) l->events = entering;
    if (s->enter) l->context = net;
    l->copies_bodies = s->enter != NULL;
    l->now_ns = s->now_ns;
    l->parked = 1;
    s->ends[end] = (sim_end){o->self.process, l, s->now_ns, 0};
    return MANTA_OK;
}

manta_status link_sim_open(link_sim *s, const link_options *o, const link_events *events, void *context, links **out)
{
    links *l = links_new(o, events, context, &sim_ops);
    if (!l) return o->self.process ? MANTA_ENOMEM : MANTA_EINVAL;
    manta_status status = settle(s, l, o);
    if (status) links_free(l);
    else *out = l;
    return status;
}

void link_sim_set_enter(link_sim *s, void (*enter_end)(void *context, uint64_t process), void *context)
{
    s->enter = enter_end;
    s->enter_context = context;
}

uint64_t link_sim_now_ns(const link_sim *s) { return s->now_ns; }

uint64_t link_sim_hash(const link_sim *s) { return s->hash; }

/* ---- faults ---- */

link_sim_path *link_sim_path_of(link_sim *s, uint64_t from, uint64_t to)
{
    int a = find_end(s, from), b = find_end(s, to);
    return a < 0 || b < 0 ? NULL : &s->paths[a][b];
}

void link_sim_partition(link_sim *s, uint64_t a, uint64_t b, bool blocked)
{
    link_sim_path *there = link_sim_path_of(s, a, b), *back = link_sim_path_of(s, b, a);
    if (!there || !back) return;
    there->is_blocked = back->is_blocked = blocked;
}

void link_sim_cut(link_sim *s, uint64_t a, uint64_t b)
{
    int first = find_end(s, a), second = find_end(s, b);
    for (sim_connection *c = s->connections; c; c = c->next)
        if ((c->from == first && c->to == second) || (c->from == second && c->to == first)) connection_cut(s, c, true);
}

void link_sim_pause(link_sim *s, uint64_t process, uint64_t ns)
{
    int end = find_end(s, process);
    if (end >= 0) s->ends[end].paused_ns = s->now_ns + ns;
}

void link_sim_crash(links *l, bool silent)
{
    leave(sim_of(l), end_of(l), !silent);
    links_free(l);
}
