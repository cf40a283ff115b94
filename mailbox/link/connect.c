/*
 * Connections: dialling, the handshake on both sides, breaking and trying again.
 *
 *   dialling side                                       accepting side (ROUTER)
 *   DEALER, HELLO{me, next expected} ------------------> session found or made; WELCOME{me, next expected} or REFUSE
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

#include "mailbox/link/link_zmq.h"

enum { RETRY_FIRST_MS = 2, RETRY_LONGEST_MS = 250, EPOCH_MS = 1000, BUFFER_BYTES = 4 << 20, KEEPALIVE_S = 20, SEND_FRAMES = 64 };

/* ---- sockets ---- */

static void set(void *socket, int option, int value) { (void)zmq_setsockopt(socket, option, &value, sizeof value); }

void *socket_new(links *l, int kind)
{
    void *s = zmq_socket(l->zmq, kind);
    if (!s) return NULL;
    int64_t most = (int64_t)l->message_limit + 2 * FRAME_BYTES;
    set(s, ZMQ_LINGER, 0);
    set(s, ZMQ_SNDHWM, SEND_FRAMES);
    set(s, ZMQ_RCVHWM, SEND_FRAMES);
    set(s, ZMQ_SNDBUF, BUFFER_BYTES);
    set(s, ZMQ_RCVBUF, BUFFER_BYTES);
    (void)zmq_setsockopt(s, ZMQ_MAXMSGSIZE, &most, sizeof most);
    set(s, ZMQ_TCP_KEEPALIVE, 1);
    set(s, ZMQ_TCP_KEEPALIVE_IDLE, KEEPALIVE_S);
    set(s, ZMQ_TCP_KEEPALIVE_INTVL, KEEPALIVE_S / 2);
    if (kind == ZMQ_ROUTER) set(s, ZMQ_ROUTER_MANDATORY, 1);
    else {
        set(s, ZMQ_IMMEDIATE, 1);
        set(s, ZMQ_RECONNECT_IVL, -1);
    }
    return s;
}

int session_send(session *s, zmq_msg_t *m)
{
    if (s->dial && s->dial->is_welcome) return zmq_msg_send(m, s->dial->dealer, ZMQ_DONTWAIT) < 0 ? errno : 0;
    if (!s->route) return ENOTCONN;
    unsigned char id[ROUTE_BYTES] = {0};
    memcpy(id + 1, &s->route, 4);
    if (zmq_send(s->links->router, id, sizeof id, ZMQ_SNDMORE | ZMQ_DONTWAIT) < 0) return errno;
    return zmq_msg_send(m, s->links->router, ZMQ_DONTWAIT) < 0 ? errno : 0;
}

static frame_hello hello_of(const links *l, uint64_t expect)
{
    frame_hello h = {.process = l->self.process,
        .incarnation = l->self.incarnation,
        .expect = expect,
        .lowest = FRAME_VERSION,
        .highest = FRAME_VERSION};
    for (int i = l->n_addresses; i-- > 0;)
        if (!h.address[0] || strncmp(l->addresses[i], "tcp:", 4) == 0) snprintf(h.address, sizeof h.address, "%s", l->addresses[i]);
    return h;
}

/* ---- dialling ---- */

static void say_hello(links *l, dial *d)
{
    unsigned char bytes[FRAME_HELLO_HEAD + FRAME_ADDRESS_LIMIT];
    frame_hello h = hello_of(l, d->expect);
    size_t n = frame_put_hello(bytes, FRAME_HELLO, d->session ? d->session->expected : 1, &h);
    (void)zmq_send(d->dealer, bytes, n, ZMQ_DONTWAIT);
}

static void *watch(links *l, dial *d)
{
    char name[64];
    snprintf(name, sizeof name, "inproc://link-monitor-%p", (void *)d->dealer);
    int events = ZMQ_EVENT_CONNECTED | ZMQ_EVENT_HANDSHAKE_SUCCEEDED | ZMQ_EVENT_DISCONNECTED | ZMQ_EVENT_CLOSED |
                 ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL | ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL | ZMQ_EVENT_HANDSHAKE_FAILED_AUTH |
                 ZMQ_EVENT_CONNECT_RETRIED;
    if (zmq_socket_monitor(d->dealer, name, events)) return NULL;
    void *pair = zmq_socket(l->zmq, ZMQ_PAIR);
    if (pair) set(pair, ZMQ_LINGER, 0);
    if (pair && zmq_connect(pair, name)) {
        zmq_close(pair);
        return NULL;
    }
    return pair;
}

bool dial_open(links *l, dial *d)
{
    d->retry_ns = 0;
    d->epoch_ns = l->now_ns;
    d->dealer = socket_new(l, ZMQ_DEALER);
    if (d->dealer && curve_set(l, d->dealer, false) && (d->monitor = watch(l, d)) && zmq_connect(d->dealer, d->address) == 0) return true;
    dial_close(d);
    return false;
}

void dial_close(dial *d)
{
    if (d->dealer) (void)zmq_socket_monitor(d->dealer, NULL, 0);
    if (d->monitor) zmq_close(d->monitor);
    if (d->dealer) zmq_close(d->dealer);
    d->dealer = d->monitor = NULL;
    d->is_welcome = false;
}

void dial_end(links *l, dial *d, manta_status status, const char *reason)
{
    d->is_over = true;
    dial_close(d);
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
    dial_close(d);
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

static void read_monitor(links *l, dial *d)
{
    for (int i = 0; i < 16 && d->monitor; i++) {
        zmq_msg_t m;
        uint16_t event = 0;
        zmq_msg_init(&m);
        int n = zmq_msg_recv(&m, d->monitor, ZMQ_DONTWAIT);
        if (n >= 2) memcpy(&event, zmq_msg_data(&m), 2);
        bool more = n >= 0 && zmq_msg_more(&m);
        zmq_msg_close(&m);
        if (n < 0) return;
        if (more) {
            zmq_msg_init(&m);
            (void)zmq_msg_recv(&m, d->monitor, ZMQ_DONTWAIT);
            zmq_msg_close(&m);
        }
        if (event == ZMQ_EVENT_HANDSHAKE_SUCCEEDED) say_hello(l, d);
        else if (event == ZMQ_EVENT_HANDSHAKE_FAILED_AUTH || event == ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL)
            dial_end(l, d, MANTA_EINVAL, "the keys do not fit");
        else if (event != ZMQ_EVENT_CONNECTED) dial_broken(l, d, "nobody listens, or the connection broke");
    }
}

static void dial_tick(links *l, dial *d)
{
    if (d->retry_ns && l->now_ns >= d->retry_ns) {
        if (!dial_open(l, d)) dial_end(l, d, MANTA_EINVAL, zmq_strerror(zmq_errno()));
        return;
    }
    if (d->monitor) read_monitor(l, d);
    if (d->is_over || !d->dealer) return;
    uint64_t heard = d->session && d->session->heard_ns > d->epoch_ns ? d->session->heard_ns : d->epoch_ns;
    uint64_t patience = d->session ? 4 * l->heartbeat_ns : (uint64_t)EPOCH_MS * OS_NS_PER_MS;
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
        dial_close(d);
        base_free(d);
    }
}

/* ---- the handshake ---- */

/* Which connection stays when both sides have begun one. */
static bool mine_stays(const links *l, const frame_hello *h) { return l->self.process < h->process; }

/* The session for who said hello; NULL: *status and *text say why not. */
static session *admit(links *l, const frame_hello *h, bool *is_new, manta_status *status, const char **text)
{
    session *s = session_find(l, h->process);
    *is_new = false;
    *status = MANTA_EINVAL;
    *text = "it is this process itself";
    if (h->process == l->self.process) return NULL;
    if (s && s->incarnation > h->incarnation) {
        *status = MANTA_ESTALE;
        *text = "a newer incarnation of that process is known";
        return NULL;
    }
    if (s && s->incarnation < h->incarnation) {
        session_down(s, MANTA_EDEAD, "another incarnation took its place", false);
        s = NULL;
    }
    if (s) return s;
    *is_new = true;
    *status = MANTA_ELIMIT;
    *text = "no room for another peer";
    return session_new(l, h);
}

static void up(session *s, const char *dialled)
{
    links *l = s->links;
    if (l->events.on_up) l->events.on_up(l->context, (link_peer){s->process, s->incarnation}, s->address, dialled);
}

static void take_welcome(links *l, dial *d, zmq_msg_t *m, const frame_head *head)
{
    frame_hello h;
    manta_status status;
    const char *text = frame_get_hello(zmq_msg_data(m), zmq_msg_size(m), &h);
    bool is_new;
    if (text || (d->expect && d->expect != h.process)) {
        dial_end(l, d, text ? MANTA_EDECODE : MANTA_ENOTFOUND, text ? text : "another process lives at that address");
        return;
    }
    session *s = admit(l, &h, &is_new, &status, &text);
    if (!s || (d->session && d->session != s)) {
        dial_end(l, d, s ? MANTA_EDEAD : status, s ? "another process took its place" : text);
        return;
    }
    if ((s->dial && s->dial != d) || (s->route && !d->session && !mine_stays(l, &h))) { /* there is another one already */
        dial_end(l, d, MANTA_OK, "");
        return;
    }
    if (s->route) id_table_remove(&l->routes, s->route);
    s->route = 0;
    s->dial = d;
    d->session = s;
    d->tries = 0;
    d->is_welcome = true;
    session_resume(s, head->expected);
    if (is_new) up(s, d->address);
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
    unsigned char id[ROUTE_BYTES] = {0}, bytes[FRAME_REFUSE_HEAD + 255];
    memcpy(id + 1, &route, 4);
    size_t n = frame_put_refuse(bytes, (uint32_t)status, text);
    count_up(&l->counts.refused, 1);
    if (zmq_send(l->router, id, sizeof id, ZMQ_SNDMORE | ZMQ_DONTWAIT) >= 0) (void)zmq_send(l->router, bytes, n, ZMQ_DONTWAIT);
}

static void welcome(links *l, session *s)
{
    unsigned char bytes[FRAME_HELLO_HEAD + FRAME_ADDRESS_LIMIT];
    frame_hello mine = hello_of(l, 0);
    zmq_msg_t m;
    size_t n = frame_put_hello(bytes, FRAME_WELCOME, s->expected, &mine);
    if (zmq_msg_init_size(&m, n)) return;
    memcpy(zmq_msg_data(&m), bytes, n);
    if (session_send(s, &m)) zmq_msg_close(&m);
}

static void drop_dial(session *s)
{
    if (!s->dial) return;
    s->dial->session = NULL;
    s->dial->is_over = true;
    dial_close(s->dial);
    s->dial = NULL;
}

static bool take_route(links *l, session *s, uint32_t route)
{
    if (s->route) id_table_remove(&l->routes, s->route);
    s->route = id_table_put(&l->routes, route, s) ? route : 0;
    return s->route != 0;
}

static const char *check_hello(const links *l, zmq_msg_t *m, frame_hello *h, manta_status *status)
{
    const char *text = frame_get_hello(zmq_msg_data(m), zmq_msg_size(m), h);
    *status = MANTA_EDECODE;
    if (text) return text;
    if (h->lowest > FRAME_VERSION || h->highest < FRAME_VERSION) return "no version of the protocol in common";
    *status = MANTA_ENOTFOUND;
    return h->expect && h->expect != l->self.process ? "another process lives at this address" : NULL;
}

static void take_hello(links *l, uint32_t route, zmq_msg_t *m, const frame_head *head)
{
    frame_hello h;
    manta_status status;
    bool is_new = false;
    const char *text = check_hello(l, m, &h, &status);
    session *s = text ? NULL : admit(l, &h, &is_new, &status, &text);
    if (s && s->dial && s->dial->dealer && mine_stays(l, &h)) {
        status = MANTA_EEXIST;
        text = "connected already";
    } else if (s) {
        drop_dial(s);
        status = take_route(l, s, route) ? MANTA_OK : MANTA_ENOMEM;
        text = "no memory";
    }
    if (status) {
        refuse(l, route, status, text);
        return;
    }
    welcome(l, s);
    session_resume(s, head->expected);
    if (is_new) up(s, NULL);
}

/* ---- frames of a peer that is up ---- */

static void take_frame(session *s, zmq_msg_t *m, const frame_head *h)
{
    s->heard_ns = s->links->now_ns;
    session_acked(s, h->expected);
    if (h->kind == FRAME_DATA) session_receive(s, m, h);
    else if (h->kind == FRAME_BYE) session_down(s, MANTA_ESHUTDOWN, "it said goodbye", false);
    else if (h->kind != FRAME_ACK) session_down(s, MANTA_EDECODE, "a handshake in the middle of a connection", true);
}

void take_dial_frame(links *l, dial *d, zmq_msg_t *m)
{
    frame_head h;
    const char *wrong = frame_get_head(zmq_msg_data(m), zmq_msg_size(m), &h);
    if (wrong) dial_end(l, d, MANTA_EDECODE, wrong);
    else if (h.kind == FRAME_WELCOME) take_welcome(l, d, m, &h);
    else if (h.kind == FRAME_REFUSE) take_refusal(l, d, m);
    else if (d->is_welcome) take_frame(d->session, m, &h);
    else dial_end(l, d, MANTA_EDECODE, "it sent something else than a welcome");
}

void take_router_frame(links *l, uint32_t route, zmq_msg_t *m)
{
    frame_head h;
    session *s = id_table_get(&l->routes, route);
    const char *wrong = frame_get_head(zmq_msg_data(m), zmq_msg_size(m), &h);
    if (wrong && s) session_down(s, MANTA_EDECODE, wrong, false);
    else if (wrong) refuse(l, route, MANTA_EDECODE, wrong);
    else if (h.kind == FRAME_HELLO) take_hello(l, route, m, &h);
    else if (s) take_frame(s, m, &h);
    else count_up(&l->counts.refused, 1); /* of a connection that is over */
}
