/*
 * Links over ZeroMQ: one thread, which owns all sockets. It takes what senders left, receives, sees to timers, and when there is no work, spins a moment, and sleeps in poll on all sockets and an eventfd.
 *
 * While it sleeps, `parked` is set and the sender of a lone message uses the sockets itself: a wake-up less on the way. Senders of many wake the thread, which packs what comes meanwhile into few frames. It looks at the dirty list
 * once more after setting `parked`, so no message waits for a timer.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mailbox/link/link_zmq.h"

enum {
    RECEIVE_BATCH = 64,
    KEYS_LIMIT = 4096,
    ROUTE_BYTES = 5,
    BUFFER_BYTES = 4 << 20,
    KEEPALIVE_S = 20,
    HANDSHAKE_MS = 5000, /* of ZeroMQ's own; then the connection is closed */
    GOODBYE_MS = 100,    /* for a last word to leave */
    PASSES = 4,          /* after a sleep, over those only that may have something */
    ALONE_NS = 20000     /* a message so long after the one before goes by its sender */
};

/* ---- sockets ---- */

static void set(void *socket, int option, int value) { (void)zmq_setsockopt(socket, option, &value, sizeof value); }

static void *socket_new(links *l, int kind)
{
    void *s = zmq_socket(zmq_of(l)->zmq, kind);
    if (!s) return NULL;
    int64_t most = (int64_t)l->message_limit + 2 * FRAME_BYTES;
    set(s, ZMQ_LINGER, 0);
    set(s, ZMQ_SNDHWM, SEND_FRAMES);
    set(s, ZMQ_RCVHWM, SEND_FRAMES);
    set(s, ZMQ_SNDBUF, BUFFER_BYTES);
    set(s, ZMQ_RCVBUF, BUFFER_BYTES);
    (void)zmq_setsockopt(s, ZMQ_MAXMSGSIZE, &most, sizeof most);
    set(s, ZMQ_HANDSHAKE_IVL, HANDSHAKE_MS);
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

static void *watch(links *l, dial *d)
{
    char name[64];
    snprintf(name, sizeof name, "inproc://link-monitor-%p", (void *)d->connection);
    int events = ZMQ_EVENT_CONNECTED | ZMQ_EVENT_HANDSHAKE_SUCCEEDED | ZMQ_EVENT_DISCONNECTED | ZMQ_EVENT_CLOSED |
                 ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL | ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL | ZMQ_EVENT_HANDSHAKE_FAILED_AUTH |
                 ZMQ_EVENT_CONNECT_RETRIED;
    if (zmq_socket_monitor(d->connection, name, events)) return NULL;
    void *pair = zmq_socket(zmq_of(l)->zmq, ZMQ_PAIR);
    if (pair) set(pair, ZMQ_LINGER, 0);
    if (pair && zmq_connect(pair, name)) {
        zmq_close(pair);
        return NULL;
    }
    return pair;
}

static void close_dealer(dial *d, bool after_goodbye)
{
    (void)zmq_socket_monitor(d->connection, NULL, 0);
    if (d->monitor) zmq_close(d->monitor);
    if (after_goodbye) set(d->connection, ZMQ_LINGER, GOODBYE_MS);
    zmq_close(d->connection);
}

static bool open_dealer(dial *d)
{
    links *l = d->links;
    d->is_quiet = false;
    d->connection = socket_new(l, ZMQ_DEALER);
    if (d->connection && curve_set(zmq_of(l), d->connection, false) && (d->monitor = watch(l, d)) &&
        zmq_connect(d->connection, d->address) == 0)
        return true;
    int error = zmq_errno();
    dial_close(d, false);
    errno = error;
    return false;
}

/* After the first part ZeroMQ takes the second one in any case. */
static int send_parts(void *socket, zmq_msg_t *m, zmq_msg_t *body)
{
    if (zmq_msg_send(m, socket, body ? ZMQ_DONTWAIT | ZMQ_SNDMORE : ZMQ_DONTWAIT) < 0) return errno;
    if (body && zmq_msg_send(body, socket, ZMQ_DONTWAIT) < 0) zmq_msg_close(body);
    return 0;
}

static int send_dealer(dial *d, zmq_msg_t *m, zmq_msg_t *body)
{
    d->is_quiet = false;
    return send_parts(d->connection, m, body);
}

static int send_router(links *l, uint32_t route, zmq_msg_t *m, zmq_msg_t *body)
{
    unsigned char id[ROUTE_BYTES] = {0};
    memcpy(id + 1, &route, 4);
    zmq_of(l)->is_quiet = false;
    if (zmq_send(zmq_of(l)->router, id, sizeof id, ZMQ_SNDMORE | ZMQ_DONTWAIT) < 0) return errno;
    return send_parts(zmq_of(l)->router, m, body);
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
        if (event == ZMQ_EVENT_HANDSHAKE_SUCCEEDED) dial_connected(l, d);
        else if (event == ZMQ_EVENT_HANDSHAKE_FAILED_AUTH || event == ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL)
            dial_end(l, d, MANTA_EINVAL, "the keys do not fit");
        else if (event == ZMQ_EVENT_CONNECTED) dial_reached(l, d);
        else dial_broken(l, d, "nobody listens, or the connection broke");
    }
}

/*
 * A descriptor of ZeroMQ that is not readable says that nothing has come since its socket was last used and had nothing. So after a sleep the sockets that poll did not name are left alone, as long as nothing else uses them:
 * with many peers, most wake-ups are for one of them. All are looked at again after some passes without a sleep.
 */
static bool is_skipped(const links *l, bool is_quiet) { return is_quiet && zmq_of(l)->passes > 0; }

static void read_monitors(links *l)
{
    for (dial *d = l->dials; d; d = d->next)
        if (!d->is_over && d->monitor && !is_skipped(l, d->is_quiet)) read_monitor(l, d);
}

/* ---- the loop ---- */

typedef struct parts { /* of a message */
    zmq_msg_t first, second;
    bool is_there, is_whole, has_second; /* is_whole: one part, or two */
} parts;

static void receive_parts(void *socket, parts *p)
{
    zmq_msg_init(&p->first);
    zmq_msg_init(&p->second);
    p->is_there = zmq_msg_recv(&p->first, socket, ZMQ_DONTWAIT) >= 0;
    p->has_second = p->is_there && zmq_msg_more(&p->first);
    bool more = p->has_second && zmq_msg_recv(&p->second, socket, ZMQ_DONTWAIT) >= 0 && zmq_msg_more(&p->second);
    p->is_whole = p->is_there && !more;
    while (more) {
        zmq_msg_t rest;
        zmq_msg_init(&rest);
        more = zmq_msg_recv(&rest, socket, ZMQ_DONTWAIT) >= 0 && zmq_msg_more(&rest);
        zmq_msg_close(&rest);
    }
}

static void close_parts(parts *p)
{
    zmq_msg_close(&p->first);
    zmq_msg_close(&p->second);
}

static bool receive_router(links *l)
{
    link_zmq *z = zmq_of(l);
    bool some = false;
    z->is_quiet = false;
    for (int i = 0; i < RECEIVE_BATCH; i++) {
        unsigned char id[ROUTE_BYTES + 1];
        parts p;
        int n = zmq_recv(z->router, id, sizeof id, ZMQ_DONTWAIT);
        if (n < 0) return some;
        receive_parts(z->router, &p);
        uint32_t route = 0;
        memcpy(&route, id + 1, 4);
        if (p.is_whole && n == ROUTE_BYTES && route) take_route_frame(l, route, &p.first, p.has_second ? &p.second : NULL);
        close_parts(&p);
        some = true;
    }
    return some;
}

static bool receive_dial(links *l, dial *d)
{
    bool some = false;
    d->is_quiet = false;
    for (int i = 0; i < RECEIVE_BATCH && d->connection && !d->is_over; i++) {
        parts p;
        receive_parts(d->connection, &p);
        if (p.is_whole) take_dial_frame(l, d, &p.first, p.has_second ? &p.second : NULL);
        close_parts(&p);
        if (!p.is_there) return some;
        some = true;
    }
    return some;
}

static bool receive_all(links *l)
{
    link_zmq *z = zmq_of(l);
    bool some = z->router && !is_skipped(l, z->is_quiet) && receive_router(l);
    for (dial *d = l->dials; d; d = d->next)
        if (!is_skipped(l, d->is_quiet)) some = receive_dial(l, d) || some;
    if (z->passes) z->passes--;
    return some;
}

static bool is_idle(links *l) { return !l->sessions.count && !l->dials && !load_seq(&l->closing); }

static bool has_input(void *socket)
{
    int events = 0;
    size_t n = sizeof events;
    return zmq_getsockopt(socket, ZMQ_EVENTS, &events, &n) == 0 && events & ZMQ_POLLIN;
}

static bool add_item(link_zmq *z, int *n, void *socket, bool is_quiet)
{
    int fd = -1;
    size_t size = sizeof fd;
    if (socket && zmq_getsockopt(socket, ZMQ_FD, &fd, &size) == 0) z->items[(*n)++] = (struct pollfd){fd, POLLIN, 0};
    return socket && !is_quiet && has_input(socket);
}

static bool add_dial(link_zmq *z, int *n, dial *d)
{
    d->item = *n;
    bool some = add_item(z, n, d->connection, d->is_quiet);
    some = add_item(z, n, d->monitor, d->is_quiet) || some;
    d->items = *n - d->item;
    d->is_quiet = !some && d->items == 2;
    return some;
}

/*
 * What to poll, in memory that grows with the dials; those that memory does not reach are looked at when the timer is due. A descriptor of ZeroMQ tells of a change once, so whoever sleeps on it looks at the socket's events first:
 * false if one has input.
 */
static bool fill_items(const links *l, link_zmq *z, int *n)
{
    int wanted = 3;
    *n = 0;
    for (dial *d = l->dials; d; d = d->next) {
        wanted += 2;
        d->items = 0;
    }
    if (wanted > z->items_room) {
        struct pollfd *items = base_realloc(z->items, (size_t)wanted * 2 * sizeof *items);
        if (items) {
            z->items = items;
            z->items_room = wanted * 2;
        }
    }
    if (z->items_room < 3) return true;
    z->items[(*n)++] = (struct pollfd){z->wake_fd, POLLIN, 0};
    bool some = add_item(z, n, z->router, z->is_quiet);
    z->is_quiet = !some && *n == 2;
    some = add_item(z, n, z->zap, false) || some;
    for (dial *d = l->dials; d && *n + 2 <= z->items_room; d = d->next) some = add_dial(z, n, d) || some;
    return !some;
}

/* What poll named is to be looked at; and who was not polled. */
static void take_items(links *l)
{
    link_zmq *z = zmq_of(l);
    z->passes = PASSES;
    if (z->is_quiet && z->items[1].revents) z->is_quiet = false;
    for (dial *d = l->dials; d; d = d->next) {
        if (!d->items) d->is_quiet = false;
        for (int i = 0; i < d->items; i++)
            if (z->items[d->item + i].revents) d->is_quiet = false;
    }
}

static void sleep_until(links *l, uint64_t due)
{
    link_zmq *z = zmq_of(l);
    int n;
    if (!fill_items(l, z, &n)) return;
    uint64_t now = os_monotonic_ns();
    int timeout = is_idle(l) ? -1 : due <= now ? 0 : (int)((due - now + OS_NS_PER_MS - 1) / OS_NS_PER_MS);
    if (!n) timeout = 1; /* no memory for the list */
    store_seq(&l->parked, 1);
    bool sleeps = !load_seq(&l->dirty) && !links_has_new_dials(l) && !(load_seq(&l->closing) && timeout < 0);
    pthread_mutex_unlock(&z->turn);
    if (sleeps) (void)poll(z->items, (nfds_t)n, timeout);
    pthread_mutex_lock(&z->turn);
    if (sleeps && n) take_items(l);
    store_seq(&l->parked, 0);
    eventfd_t count;
    if (sleeps && n && z->items[0].revents) (void)eventfd_read(z->wake_fd, &count);
}

/* True: nothing is left to the thread. Sending may have taken the only sign of input. */
static bool send_session(session *s)
{
    if (s->is_dead || load_seq(&s->drop) || !session_is_connected(s)) {
        session_mark(s);
        return false;
    }
    session_pull(s);
    session_pump(s);
    return !s->is_blocked && !has_input(s->route ? zmq_of(s->links)->router : s->dial->connection);
}

static void wake(links *l) { (void)eventfd_write(zmq_of(l)->wake_fd, 1); }

/*
 * A lone message need not wait until the thread is awake: its sender uses the sockets, since the thread sleeps. It does so once in a while only: many messages in a row go together, by the thread.
 */
static void work(links *l)
{
    link_zmq *z = zmq_of(l);
    uint64_t now = os_monotonic_ns();
    if (pthread_mutex_trylock(&z->turn)) {
        wake(l);
        return;
    }
    bool done = load_relaxed(&l->parked) && now - z->sent_ns > ALONE_NS;
    z->sent_ns = now;
    if (done) {
        l->now_ns = now;
        session *s = exchange_seq(&l->dirty, NULL);
        while (s) {
            session *next = s->dirty_next;
            store_seq(&s->is_dirty, 0);
            done = send_session(s) && done;
            s = next;
        }
    }
    pthread_mutex_unlock(&z->turn);
    if (!done) wake(l);
}

static void *run(void *argument)
{
    links *l = argument;
    uint64_t quiet_since = 0;
    pthread_mutex_lock(&zmq_of(l)->turn);
    for (;;) {
        l->now_ns = os_monotonic_ns();
        bool some = links_take_dirty(l);
        some = receive_all(l) || some;
        if (zmq_of(l)->zap) curve_answer(l);
        read_monitors(l);
        dials_tick(l);
        bool blocked = links_tick(l);
        if (load_seq(&l->closing) && links_is_done(l)) break;
        if (some) quiet_since = l->now_ns;
        if (!some && l->now_ns - quiet_since > l->spin_ns) sleep_until(l, links_due(l, blocked));
    }
    pthread_mutex_unlock(&zmq_of(l)->turn);
    return NULL;
}

static void stop(links *l, uint64_t linger_ns)
{
    l->close_ns = os_monotonic_ns() + linger_ns;
    store_seq(&l->closing, 1);
    wake(l);
    pthread_join(zmq_of(l)->thread, NULL);
    links_say_goodbye(l);
}

static void free_net(links *l)
{
    link_zmq *z = zmq_of(l);
    if (!z) return;
    if (z->router) { /* ZeroMQ's own thread writes the goodbyes; without them the peers wait for signs of life */
        set(z->router, ZMQ_LINGER, GOODBYE_MS);
        zmq_close(z->router);
    }
    if (z->zap) zmq_close(z->zap);
    if (z->zmq) zmq_ctx_term(z->zmq);
    if (z->wake_fd >= 0) close(z->wake_fd);
    pthread_mutex_destroy(&z->turn);
    base_free(z->allowed);
    base_free(z->items);
    base_free(z);
}

static const link_ops zmq_ops = {open_dealer, close_dealer, send_dealer, send_router, wake, work, stop, free_net};

/* ---- opening ---- */

static bool is_loopback(const char *address)
{
    return strncmp(address, "tcp://127.", 10) == 0 || strncmp(address, "tcp://localhost:", 16) == 0 ||
           strncmp(address, "tcp://[::1]", 11) == 0;
}

static manta_status bind_one(links *l, const char *address, bool insecure)
{
    link_zmq *z = zmq_of(l);
    char bound[FRAME_ADDRESS_LIMIT + 1];
    size_t n = sizeof bound;
    if (l->n_addresses == LINK_ADDRESSES) return link_fail(MANTA_EINVAL, "at most %d addresses", LINK_ADDRESSES);
    if (!address_is_valid(address)) return MANTA_EINVAL;
    if (strncmp(address, "tcp:", 4) == 0 && !is_loopback(address) && !z->secret_key[0] && !insecure)
        return link_fail(MANTA_EINVAL, "%s is reachable from other machines: give keys, or say insecure", address);
    mode_t before = umask(0177); /* of a socket file */
    int error = zmq_bind(z->router, address) ? zmq_errno() : 0;
    umask(before);
    if (error)
        return link_fail(error == EADDRINUSE ? MANTA_EEXIST
                         : error == EINVAL   ? MANTA_EINVAL
                                             : MANTA_EIO,
            "%s: %s", address, zmq_strerror(error));
    if (zmq_getsockopt(z->router, ZMQ_LAST_ENDPOINT, bound, &n)) return link_fail(MANTA_EIO, "%s: %s", address, zmq_strerror(zmq_errno()));
    snprintf(l->addresses[l->n_addresses++], sizeof l->addresses[0], "%s", bound);
    return MANTA_OK;
}

static manta_status copy_keys(link_zmq *z, const link_options *o)
{
    if (!o->secret_key && !o->public_key) return MANTA_OK;
    if (!o->secret_key || !o->public_key || strlen(o->secret_key) != 40 || strlen(o->public_key) != 40)
        return link_fail(MANTA_EINVAL, "a public and a secret key of 40 characters each");
    strcpy(z->public_key, o->public_key);
    strcpy(z->secret_key, o->secret_key);
    while (o->allowed_keys && o->allowed_keys[z->n_allowed] && z->n_allowed < KEYS_LIMIT) z->n_allowed++;
    if (!z->n_allowed) return MANTA_OK;
    if (!(z->allowed = base_calloc((size_t)z->n_allowed, sizeof *z->allowed))) return link_fail(MANTA_ENOMEM, "no memory for keys");
    for (int i = 0; i < z->n_allowed; i++) snprintf(z->allowed[i], sizeof z->allowed[i], "%s", o->allowed_keys[i]);
    return MANTA_OK;
}

static manta_status open_sockets(links *l, const link_options *o)
{
    link_zmq *z = zmq_of(l);
    if (!(z->zmq = zmq_ctx_new())) return link_fail(MANTA_ENOMEM, "no memory for ZeroMQ");
    (void)zmq_ctx_set(z->zmq, ZMQ_MAX_SOCKETS, 16384);
    if (!curve_start(z)) return link_fail(MANTA_EIO, "keys: %s", zmq_strerror(zmq_errno()));
    if (!o->bind || !o->bind[0]) return MANTA_OK;
    if (!(z->router = socket_new(l, ZMQ_ROUTER)) || !curve_set(z, z->router, true))
        return link_fail(MANTA_EIO, "%s", zmq_strerror(zmq_errno()));
    manta_status status = MANTA_OK;
    for (int i = 0; o->bind[i] && !status; i++) status = bind_one(l, o->bind[i], o->insecure);
    return status;
}

static manta_status open_net(links *l, const link_options *o)
{
    link_zmq *z = l->net = base_calloc(1, sizeof *z);
    if (!z) return link_fail(MANTA_ENOMEM, "no memory");
    pthread_mutex_init(&z->turn, NULL);
    if ((z->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) < 0) return link_fail(MANTA_EIO, "eventfd: %s", strerror(errno));
    manta_status status = copy_keys(z, o);
    return status ? status : open_sockets(l, o);
}

manta_status link_open(const link_options *o, const link_events *events, void *context, links **out)
{
    links *l = links_new(o, events, context, &zmq_ops);
    if (!l) return o->self.process ? MANTA_ENOMEM : MANTA_EINVAL;
    manta_status status = open_net(l, o);
    *out = l; /* callbacks may use it at once */
    if (!status && os_thread_start(&zmq_of(l)->thread, "manta-link", run, l)) status = link_fail(MANTA_ENOMEM, "no thread for links");
    if (!status) return MANTA_OK;
    *out = NULL;
    links_free(l);
    return status;
}
