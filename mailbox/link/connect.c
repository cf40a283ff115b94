/*
 * Connections: dialling, the handshake on both sides, breaking and trying again.
 *
 *   dialling side                                       accepting side 
 *   HELLO{me, next expected} ------------------> session found or made; WELCOME{me, next expected} or REFUSE
 *   session found or made; resumes from there <--------- resumes from there
 *
 * Signs of life are frames of ours. ZeroMQ's heartbeats stay off: its timer aborts the process ("!_io_error", stream_engine_base.cpp of 4.3.4) when a connection breaks while its input waits for room, and
 * they take a connection for dead that is only full (libzmq issues 3937, 4830).
 *
 * A second connection between the same two, begun by the other side, is refused with MANTA_EEXIST when ours is to stay: that of the smaller process id.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "mailbox/link/link_internal.h"

enum { RETRY_FIRST_MS = 2, RETRY_LONGEST_MS = 250, EPOCH_MS = 1000 };

int session_send(session *s, zmq_msg_t *m, zmq_msg_t *body)
{
    const link_ops *ops = s->links->ops;
    if (s->dial && s->dial->is_welcome) return ops->dial_send(s->dial, m, body);
    return s->route ? ops->route_send(s->links, s->route, m, body) : ENOTCONN;
}

static frame_hello hello_of(const links *l, uint64_t expect)
{
    frame_hello h = {.process = l->self.process,
        .incarnation = l->self.incarnation,
        .expect = expect,
        .lowest = l->lowest_version,
        .highest = l->highest_version};
    for (int i = l->n_addresses; i-- > 0;)
        if (!h.address[0] || strncmp(l->addresses[i], "tcp:", 4) == 0) snprintf(h.address, sizeof h.address, "%s", l->addresses[i]);
    return h;
}

/* ---- dialling ---- */

static bool bytes_message(zmq_msg_t *m, const void *bytes, size_t n)
{
    if (zmq_msg_init_size(m, n)) return false;
    memcpy(zmq_msg_data(m), bytes, n);
    return true;
}

void dial_reached(links *l, dial *d)
{
    d->is_reached = true;
    d->epoch_ns = l->now_ns;
}

void dial_connected(links *l, dial *d)
{
    dial_reached(l, d);
    unsigned char bytes[FRAME_HELLO_HEAD + FRAME_ADDRESS_LIMIT];
    frame_hello h = hello_of(l, d->expect);
    zmq_msg_t m;
    frame_head head = {FRAME_HELLO, d->session ? d->session->number : 0, d->session ? d->session->expected : 1};
    size_t n = frame_put_hello(bytes, &head, &h);
    if (bytes_message(&m, bytes, n) && l->ops->dial_send(d, &m, NULL)) zmq_msg_close(&m);
}

static bool dial_open(links *l, dial *d)
{
    d->retry_ns = 0;
    d->epoch_ns = l->now_ns;
    d->is_reached = false;
    return l->ops->dial_open(d);
}

void dial_end(links *l, dial *d, manta_status status, const char *reason)
{
    d->is_over = true;
    dial_close(d, false);
    session *s = d->session;
    d->session = NULL;
    if (s) s->dial = NULL;
    if (s && !s->route) session_down(s, status, reason, false);
    else if (!s && status && l->events.on_no_connection && !load_relaxed(&l->closing))
        l->events.on_no_connection(l->context, d->address, d->expect, status, reason);
}

void dial_broken(links *l, dial *d, const char *why)
{
    uint64_t since = d->session ? d->session->heard_ns : d->began_ns;
    char reason[400];
    dial_close(d, false);
    if (l->now_ns - since > l->down_after_ns || load_relaxed(&l->closing)) {
        snprintf(reason, sizeof reason, "%s: %s, for %llu ms", d->address, why, (unsigned long long)((l->now_ns - since) / OS_NS_PER_MS));
        dial_end(l, d, MANTA_ETIMEDOUT, reason);
        return;
    }
    uint64_t wait_ms = (uint64_t)RETRY_FIRST_MS << (d->tries < 7 ? d->tries : 7);
    d->tries++;
    count_up(&l->counts.reconnects, 1);
    d->retry_ns = l->now_ns + (wait_ms < RETRY_LONGEST_MS ? wait_ms : RETRY_LONGEST_MS) * OS_NS_PER_MS;
}

static void dial_tick(links *l, dial *d)
{
    if (d->retry_ns && l->now_ns >= d->retry_ns) {
        if (!dial_open(l, d)) dial_end(l, d, MANTA_EINVAL, zmq_strerror(errno));
        return;
    }
    if (!d->connection) return;
    uint64_t heard = d->session && d->session->heard_ns > d->epoch_ns ? d->session->heard_ns : d->epoch_ns;
    /* A SYN that was lost is repeated after a second, which is late for a session that waits: another connection is tried before. */
    uint64_t beats = (d->is_reached ? 4 : 2) * l->heartbeat_ns, most = l->down_after_ns / (d->is_reached ? 2 : 4);
    uint64_t patience = !d->session ? (uint64_t)EPOCH_MS * OS_NS_PER_MS : beats < most ? beats : most;
    if (l->now_ns - heard > patience) dial_broken(l, d, "no answer");
}

void dials_tick(links *l)
{
    pthread_mutex_lock(&l->lock);
    dial *added = l->new_dials;
    l->new_dials = NULL;
    pthread_mutex_unlock(&l->lock);
    while (added) {
        dial *next = added->next;
        added->next = l->dials;
        l->dials = added;
        added->began_ns = added->retry_ns = l->now_ns;
        added = next;
    }
    for (dial **at = &l->dials; *at;) {
        dial *d = *at;
        if (!d->is_over) dial_tick(l, d);
        if (!d->is_over) {
            at = &d->next;
            continue;
        }
        *at = d->next;
        dial_close(d, false);
        base_free(d);
    }
}

/*
 * ---- the handshake ----
 *
 * The sessions of two incarnations are numbered, from a number that follows from both: HELLO names the one that it goes on with (0: none), WELCOME the one that there is. Each side remembers the last one that is over for it. So when one side has given
 * the other up, unnoticed by it, a new session is never taken for the old one: who is in an older session than the other hears that it is over.
 */

static bool versions_meet(const links *l, const frame_hello *h)
{
    return h->lowest <= l->highest_version && h->highest >= l->lowest_version && h->lowest <= h->highest;
}

/* Which connection stays when both sides have begun one. */
static bool mine_stays(const links *l, const frame_hello *h) { return l->self.process < h->process; }

typedef struct refusal {
    manta_status status;
    const char *text;
} refusal;

/* Whether a process may have a link; *out: the session that there is with this incarnation, or NULL. */
static bool may_have_link(links *l, const frame_hello *h, session **out, refusal *why)
{
    session *s = *out = session_find(l, h->process);
    if (s && l->sabotage == LINK_SABOTAGE_INCARNATION) return true;
    *why = (refusal){MANTA_EINVAL, "it is this process itself"};
    if (h->process == l->self.process) return false;
    *why = (refusal){MANTA_ESTALE, "a newer incarnation of that process is known"};
    if (s && s->incarnation > h->incarnation) return false;
    if (!s || s->incarnation == h->incarnation) return true;
    session_down(s, MANTA_EDEAD, "another incarnation took its place", false);
    *out = NULL;
    return true;
}

static const refusal over = {MANTA_EDEAD, "that link is over on this side"};

static session *begin_session(links *l, const frame_hello *h, uint64_t number, bool *is_new, refusal *why)
{
    *why = (refusal){MANTA_ESHUTDOWN, "it is closing"};
    if (load_relaxed(&l->closing)) return NULL;
    *is_new = true;
    *why = (refusal){MANTA_ELIMIT, "no room for another peer"};
    return session_new(l, h, number);
}

/* Of who said hello; number: of the session that it goes on with. NULL: *why. */
static session *admit_caller(links *l, const frame_hello *h, uint64_t number, bool *is_new, refusal *why)
{
    session *s;
    *is_new = false;
    if (!may_have_link(l, h, &s, why)) return NULL;
    *why = over;
    if (number && (!s || s->number != number)) return NULL;
    return s ? s : begin_session(l, h, session_last(l, h->process, h->incarnation) + 1, is_new, why);
}

/* Of who said welcome. MANTA_EDEAD in *why: it is in a session that is over here, and is to be told. */
static session *admit_called(links *l, const frame_hello *h, uint64_t number, bool *is_new, refusal *why)
{
    session *s;
    *is_new = false;
    if (!may_have_link(l, h, &s, why)) return NULL;
    *why = over;
    if (s && s->number == number) return s;
    if (number <= (s ? s->number : session_last(l, h->process, h->incarnation))) return NULL;
    if (s) session_down(s, MANTA_EDEAD, "it gave the link up", false);
    return begin_session(l, h, number, is_new, why);
}

static void up(session *s, const char *dialled)
{
    links *l = s->links;
    if (l->events.on_up) l->events.on_up(l->context, (link_peer){s->process, s->incarnation}, s->address, dialled);
}

/* It is in a session that is over here, and does not know. */
static void end_theirs(links *l, dial *d, const frame_hello *h)
{
    unsigned char bytes[FRAME_HEAD];
    const session *s = session_find(l, h->process);
    zmq_msg_t m;
    frame_put_head(bytes, &(frame_head){FRAME_BYE, s ? s->number - 1 : session_last(l, h->process, h->incarnation), 1});
    if (bytes_message(&m, bytes, sizeof bytes) && l->ops->dial_send(d, &m, NULL)) zmq_msg_close(&m);
    dial_close(d, true);
    dial_broken(l, d, "it was in a link that is over here");
}

/* We have begun two. The other side uses the one whose HELLO came last, and which that is we cannot know: the one that stays begins anew. */
static void end_second(links *l, dial *d, const session *s)
{
    dial_end(l, d, MANTA_OK, "");
    if (s->dial->is_welcome) dial_broken(l, s->dial, "it was begun twice");
}

static void welcomed(links *l, dial *d, session *s, const frame_head *head, bool is_new)
{
    if (s->route) id_table_remove(&l->routes, s->route);
    s->route = 0;
    s->dial = d;
    d->session = s;
    d->tries = 0;
    d->is_welcome = true;
    session_resume(s, head->expected);
    if (is_new) up(s, d->address);
}

static void take_welcome(links *l, dial *d, zmq_msg_t *m, const frame_head *head)
{
    frame_hello h;
    refusal why;
    bool is_new;
    const char *text = frame_get_hello(zmq_msg_data(m), zmq_msg_size(m), &h);
    if (!text && !versions_meet(l, &h)) text = "no version of the protocol in common";
    if (text || (d->expect && d->expect != h.process)) {
        dial_end(l, d, text ? MANTA_EDECODE : MANTA_ENOTFOUND, text ? text : "another process lives at that address");
        return;
    }
    session *old = d->session;
    if (old && !l->sabotage && (h.process != old->process || h.incarnation != old->incarnation || head->sequence != old->number)) {
        dial_end(l, d, MANTA_EDEAD, "another incarnation, or another link, took its place");
        return;
    }
    session *s = admit_called(l, &h, head->sequence, &is_new, &why);
    if (!s && why.status == MANTA_EDEAD && !old) end_theirs(l, d, &h);
    else if (!s) dial_end(l, d, why.status, why.text);
    else if (s->dial && s->dial != d) end_second(l, d, s);
    else if (s->route && !old && !mine_stays(l, &h)) dial_end(l, d, MANTA_OK, ""); /* theirs stays */
    else welcomed(l, d, s, head, is_new);
}

static void take_refusal(links *l, dial *d, zmq_msg_t *m)
{
    uint32_t status = MANTA_EIO;
    char text[256], reason[600];
    const char *wrong = frame_get_refuse(zmq_msg_data(m), zmq_msg_size(m), &status, text, sizeof text);
    if (!wrong && status == MANTA_EEXIST) { /* the other side's connection stays */
        dial_end(l, d, MANTA_OK, "");
        return;
    }
    snprintf(reason, sizeof reason, "%s: refused: %s", d->address, wrong ? wrong : text);
    dial_end(l, d, wrong || !status ? MANTA_EDECODE : (manta_status)status, reason);
}

static void refuse(links *l, uint32_t route, manta_status status, const char *text)
{
    unsigned char bytes[FRAME_REFUSE_HEAD + 255];
    zmq_msg_t m;
    size_t n = frame_put_refuse(bytes, (uint32_t)status, text);
    count_up(&l->counts.refused, 1);
    if (bytes_message(&m, bytes, n) && l->ops->route_send(l, route, &m, NULL)) zmq_msg_close(&m);
}

static void welcome(links *l, session *s)
{
    unsigned char bytes[FRAME_HELLO_HEAD + FRAME_ADDRESS_LIMIT];
    frame_hello mine = hello_of(l, 0);
    zmq_msg_t m;
    size_t n = frame_put_hello(bytes, &(frame_head){FRAME_WELCOME, s->number, s->expected}, &mine);
    if (bytes_message(&m, bytes, n) && session_send(s, &m, NULL)) zmq_msg_close(&m);
}

static void drop_dial(session *s)
{
    if (!s->dial) return;
    s->dial->session = NULL;
    s->dial->is_over = true;
    dial_close(s->dial, false);
    s->dial = NULL;
}

static bool take_route(links *l, session *s, uint32_t route)
{
    if (s->route) id_table_remove(&l->routes, s->route);
    s->route = id_table_put(&l->routes, route, s) ? route : 0;
    return s->route != 0;
}

/* A connection belongs to one process: so a flood of processes needs as many connections. */
static const char *check_hello(const links *l, uint32_t route, zmq_msg_t *m, frame_hello *h, manta_status *status)
{
    const session *before = id_table_get(&l->routes, route);
    const char *text = frame_get_hello(zmq_msg_data(m), zmq_msg_size(m), h);
    *status = MANTA_EDECODE;
    if (text) return text;
    if (before && before->process != h->process) return "another process on the same connection";
    if (!versions_meet(l, h)) return "no version of the protocol in common";
    *status = MANTA_ENOTFOUND;
    return h->expect && h->expect != l->self.process ? "another process lives at this address" : NULL;
}

static void take_hello(links *l, uint32_t route, zmq_msg_t *m, const frame_head *head)
{
    frame_hello h;
    refusal why;
    bool is_new = false;
    const char *text = check_hello(l, route, m, &h, &why.status);
    if (text) {
        refuse(l, route, why.status, text);
        return;
    }
    session *s = admit_caller(l, &h, head->sequence, &is_new, &why);
    bool is_second = s && s->dial && s->dial->connection && mine_stays(l, &h);
    if (is_second) why = (refusal){MANTA_EEXIST, "connected already"};
    else if (s) {
        drop_dial(s);
        why = (refusal){take_route(l, s, route) ? MANTA_OK : MANTA_ENOMEM, "no memory"};
    }
    if (why.status) {
        refuse(l, route, why.status, why.text);
        return;
    }
    if (is_new) up(s, NULL); /* first: who has heard the welcome may tell others, who then look for it here. What is sent meanwhile waits */
    welcome(l, s);
    session_resume(s, head->expected);
}

/* ---- frames of a peer that is up ---- */

static void take_frame(session *s, zmq_msg_t *m, zmq_msg_t *body, const frame_head *h)
{
    s->heard_ns = s->links->now_ns;
    session_acked(s, h->expected);
    if (h->kind == FRAME_DATA) session_receive(s, m, body, h);
    else if (h->kind == FRAME_BYE) {
        session_bury(s, h->sequence);
        session_down(s, MANTA_ESHUTDOWN, "it said goodbye", false);
    } else if (h->kind != FRAME_ACK) session_down(s, MANTA_EDECODE, "a handshake in the middle of a connection", true);
}

void take_dial_frame(links *l, dial *d, zmq_msg_t *m, zmq_msg_t *body)
{
    frame_head h;
    const char *wrong = frame_get_head(zmq_msg_data(m), zmq_msg_size(m), &h);
    if (wrong) dial_end(l, d, MANTA_EDECODE, wrong);
    else if (h.kind == FRAME_WELCOME) take_welcome(l, d, m, &h);
    else if (h.kind == FRAME_REFUSE) take_refusal(l, d, m);
    else if (d->is_welcome) take_frame(d->session, m, body, &h);
    else dial_end(l, d, MANTA_EDECODE, "it sent something else than a welcome");
}

void take_route_frame(links *l, uint32_t route, zmq_msg_t *m, zmq_msg_t *body)
{
    frame_head h;
    session *s = id_table_get(&l->routes, route);
    const char *wrong = frame_get_head(zmq_msg_data(m), zmq_msg_size(m), &h);
    if (wrong && s) session_down(s, MANTA_EDECODE, wrong, false);
    else if (wrong) refuse(l, route, MANTA_EDECODE, wrong);
    else if (h.kind == FRAME_HELLO) take_hello(l, route, m, &h);
    else if (s) take_frame(s, m, body, &h);
    else count_up(&l->counts.refused, 1); /* of a connection that is over */
}
