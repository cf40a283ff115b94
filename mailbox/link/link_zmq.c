/*
 * Opening and closing, and the I/O thread: it looks for work, spins a moment, and sleeps in zmq_poll on all sockets and an eventfd.
 *
 * Senders wake it only while `parked` is set; it looks at the dirty list once more after setting it, so no message waits for a timer.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mailbox/link/link_zmq.h"

enum {
    MESSAGE_DEFAULT = 64 << 20,
    PEERS_DEFAULT = 4096,
    HEARTBEAT_DEFAULT_MS = 200,
    DOWN_DEFAULT_MS = 2000,
    SPIN_DEFAULT_US = 20,
    RECEIVE_BATCH = 64,
    SPIN_ROUNDS = 10000,
    KEYS_LIMIT = 4096
};
#define CREDIT_DEFAULT (64ull << 20)

static _Thread_local char error_text[512];

const char *link_error(void) { return error_text; }

manta_status link_fail(manta_status status, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(error_text, sizeof error_text, format, arguments);
    va_end(arguments);
    return status;
}

/* ---- the loop ---- */

static bool take_dirty(links *l)
{
    session *s = exchange_seq(&l->dirty, NULL);
    bool some = s != NULL;
    while (s) {
        session *next = s->dirty_next;
        store_seq(&s->is_dirty, 0);
        uint32_t drop = load_seq(&s->drop);
        if (s->is_dead) {
            pthread_mutex_destroy(&s->lock);
            base_free(s);
        } else if (drop) session_down(s, (manta_status)(drop - 1), "it was dropped here", true);
        else {
            session_pull(s);
            if (session_is_connected(s)) session_pump(s);
        }
        s = next;
    }
    return some;
}

static bool receive_router(links *l)
{
    bool some = false;
    for (int i = 0; i < RECEIVE_BATCH; i++) {
        unsigned char id[ROUTE_BYTES + 1];
        zmq_msg_t m;
        int n = zmq_recv(l->router, id, sizeof id, ZMQ_DONTWAIT);
        if (n < 0) return some;
        zmq_msg_init(&m);
        int got = zmq_msg_recv(&m, l->router, ZMQ_DONTWAIT);
        bool whole = got >= 0 && !zmq_msg_more(&m);
        uint32_t route = 0;
        memcpy(&route, id + 1, 4);
        if (whole && n == ROUTE_BYTES && route) take_router_frame(l, route, &m);
        while (got >= 0 && zmq_msg_more(&m)) got = zmq_msg_recv(&m, l->router, ZMQ_DONTWAIT);
        zmq_msg_close(&m);
        some = true;
    }
    return some;
}

static bool receive_dial(links *l, dial *d)
{
    bool some = false;
    for (int i = 0; i < RECEIVE_BATCH && d->dealer && !d->is_over; i++) {
        zmq_msg_t m;
        zmq_msg_init(&m);
        int n = zmq_msg_recv(&m, d->dealer, ZMQ_DONTWAIT);
        if (n >= 0) take_dial_frame(l, d, &m);
        zmq_msg_close(&m);
        if (n < 0) return some;
        some = true;
    }
    return some;
}

static bool receive_all(links *l)
{
    bool some = l->router && receive_router(l);
    for (dial *d = l->dials; d; d = d->next) some = receive_dial(l, d) || some;
    return some;
}

/* Acknowledgements that are due, signs of life, peers that are silent. True: somebody waits for a socket to take more. */
static bool sessions_tick(links *l)
{
    size_t cursor = 0;
    bool blocked = false;
    for (session *s; (s = id_table_next(&l->sessions, &cursor, NULL));) {
        bool connected = session_is_connected(s);
        if (s->is_blocked && connected) session_pump(s);
        if (connected && ((s->ack_due_ns && l->now_ns >= s->ack_due_ns) || l->now_ns - s->said_ns >= l->heartbeat_ns))
            session_say(s, FRAME_ACK);
        blocked = blocked || (connected && s->is_blocked);
        if (l->now_ns - s->heard_ns <= l->down_after_ns) continue;
        session_down(s, MANTA_ETIMEDOUT, "no sign of life", true);
    }
    return blocked;
}

static uint64_t next_due(const links *l, bool blocked)
{
    uint64_t due = l->now_ns + l->heartbeat_ns;
    size_t cursor = 0;
    if (blocked) return l->now_ns + OS_NS_PER_MS;
    for (session *s; (s = id_table_next(&l->sessions, &cursor, NULL));)
        if (s->ack_due_ns && s->ack_due_ns < due) due = s->ack_due_ns;
    for (dial *d = l->dials; d; d = d->next)
        if (d->retry_ns && d->retry_ns < due) due = d->retry_ns;
    return due;
}

static bool is_idle(links *l) { return !l->sessions.count && !l->dials && !load_seq(&l->closing); }

/* What to poll, in memory that grows with the dials; those that memory does not reach are looked at when the timer is due. */
static int fill_items(links *l)
{
    int n = 0, wanted = 3;
    for (dial *d = l->dials; d; d = d->next) wanted += 2;
    if (wanted > l->items_room) {
        zmq_pollitem_t *items = base_realloc(l->items, (size_t)wanted * 2 * sizeof *items);
        if (items) {
            l->items = items;
            l->items_room = wanted * 2;
        }
    }
    if (l->items_room < 3) return 0;
    l->items[n++] = (zmq_pollitem_t){NULL, l->wake_fd, ZMQ_POLLIN, 0};
    if (l->router) l->items[n++] = (zmq_pollitem_t){l->router, 0, ZMQ_POLLIN, 0};
    if (l->zap) l->items[n++] = (zmq_pollitem_t){l->zap, 0, ZMQ_POLLIN, 0};
    for (dial *d = l->dials; d && n + 2 <= l->items_room; d = d->next) {
        if (!d->dealer) continue;
        l->items[n++] = (zmq_pollitem_t){d->dealer, 0, ZMQ_POLLIN, 0};
        l->items[n++] = (zmq_pollitem_t){d->monitor, 0, ZMQ_POLLIN, 0};
    }
    return n;
}

static bool has_new_dials(links *l)
{
    pthread_mutex_lock(&l->lock);
    bool some = l->new_dials != NULL;
    pthread_mutex_unlock(&l->lock);
    return some;
}

static void sleep_until(links *l, uint64_t due)
{
    int n = fill_items(l);
    uint64_t now = os_monotonic_ns();
    long timeout = is_idle(l) ? -1 : due <= now ? 0 : (long)((due - now + OS_NS_PER_MS - 1) / OS_NS_PER_MS);
    if (!n) timeout = 1; /* no memory for the list */
    store_seq(&l->parked, 1);
    if (!load_seq(&l->dirty) && !has_new_dials(l) && !(load_seq(&l->closing) && timeout < 0)) (void)zmq_poll(l->items, n, timeout);
    store_seq(&l->parked, 0);
    eventfd_t count;
    if (n && l->items[0].revents) (void)eventfd_read(l->wake_fd, &count);
}

static bool all_acked(links *l)
{
    size_t cursor = 0;
    for (session *s; (s = id_table_next(&l->sessions, &cursor, NULL));)
        if (s->unsent.first || s->unacked.first) return false;
    return true;
}

static bool is_done(links *l) { return !load_relaxed(&l->dirty) && (all_acked(l) || l->now_ns >= l->close_ns); }

static void *run(void *argument)
{
    links *l = argument;
    uint64_t quiet_since = 0;
    for (;;) {
        l->now_ns = os_monotonic_ns();
        bool some = take_dirty(l);
        some = receive_all(l) || some;
        if (l->zap) curve_answer(l);
        dials_tick(l);
        bool blocked = sessions_tick(l);
        if (load_seq(&l->closing) && is_done(l)) return NULL;
        if (some) quiet_since = l->now_ns;
        if (!some && l->now_ns - quiet_since > l->spin_ns) sleep_until(l, next_due(l, blocked));
    }
}

/* ---- opening ---- */

static bool is_loopback(const char *address)
{
    return strncmp(address, "tcp://127.", 10) == 0 || strncmp(address, "tcp://localhost:", 16) == 0 ||
           strncmp(address, "tcp://[::1]", 11) == 0;
}

static manta_status bind_one(links *l, const char *address, bool insecure)
{
    char bound[FRAME_ADDRESS_LIMIT + 1];
    size_t n = sizeof bound;
    if (l->n_addresses == LINK_ADDRESSES) return link_fail(MANTA_EINVAL, "at most %d addresses", LINK_ADDRESSES);
    if (strlen(address) > FRAME_ADDRESS_LIMIT || (strncmp(address, "tcp://", 6) != 0 && strncmp(address, "ipc://", 6) != 0))
        return link_fail(
            MANTA_EINVAL, "%.100s: an address is tcp://HOST:PORT or ipc://PATH, of at most %d bytes", address, FRAME_ADDRESS_LIMIT);
    if (strncmp(address, "tcp:", 4) == 0 && !is_loopback(address) && !l->secret_key[0] && !insecure)
        return link_fail(MANTA_EINVAL, "%s is reachable from other machines: give keys, or say insecure", address);
    mode_t before = umask(0177); /* of a socket file */
    int error = zmq_bind(l->router, address) ? zmq_errno() : 0;
    umask(before);
    if (error)
        return link_fail(error == EADDRINUSE ? MANTA_EEXIST
                         : error == EINVAL   ? MANTA_EINVAL
                                             : MANTA_EIO,
            "%s: %s", address, zmq_strerror(error));
    if (zmq_getsockopt(l->router, ZMQ_LAST_ENDPOINT, bound, &n)) return link_fail(MANTA_EIO, "%s: %s", address, zmq_strerror(zmq_errno()));
    snprintf(l->addresses[l->n_addresses++], sizeof l->addresses[0], "%s", bound);
    return MANTA_OK;
}

static manta_status copy_keys(links *l, const link_options *o)
{
    if (!o->secret_key && !o->public_key) return MANTA_OK;
    if (!o->secret_key || !o->public_key || strlen(o->secret_key) != 40 || strlen(o->public_key) != 40)
        return link_fail(MANTA_EINVAL, "a public and a secret key of 40 characters each");
    strcpy(l->public_key, o->public_key);
    strcpy(l->secret_key, o->secret_key);
    while (o->allowed_keys && o->allowed_keys[l->n_allowed] && l->n_allowed < KEYS_LIMIT) l->n_allowed++;
    if (!l->n_allowed) return MANTA_OK;
    if (!(l->allowed = base_calloc((size_t)l->n_allowed, sizeof *l->allowed))) return link_fail(MANTA_ENOMEM, "no memory for keys");
    for (int i = 0; i < l->n_allowed; i++) snprintf(l->allowed[i], sizeof l->allowed[i], "%s", o->allowed_keys[i]);
    return MANTA_OK;
}

static void set_options(links *l, const link_options *o)
{
    l->self = o->self;
    l->credit_bytes = o->credit_bytes ? o->credit_bytes : CREDIT_DEFAULT;
    l->message_limit = o->message_limit ? o->message_limit : MESSAGE_DEFAULT;
    l->peers_limit = o->peers_limit ? o->peers_limit : PEERS_DEFAULT;
    l->heartbeat_ns = (o->heartbeat_ms ? o->heartbeat_ms : HEARTBEAT_DEFAULT_MS) * (uint64_t)OS_NS_PER_MS;
    l->down_after_ns = (o->down_after_ms ? o->down_after_ms : DOWN_DEFAULT_MS) * (uint64_t)OS_NS_PER_MS;
    l->spin_ns = (o->spin_us ? o->spin_us : SPIN_DEFAULT_US) * (uint64_t)OS_NS_PER_US;
}

static manta_status open_sockets(links *l, const link_options *o)
{
    if (!(l->zmq = zmq_ctx_new())) return link_fail(MANTA_ENOMEM, "no memory for ZeroMQ");
    (void)zmq_ctx_set(l->zmq, ZMQ_MAX_SOCKETS, 16384);
    if (!curve_start(l)) return link_fail(MANTA_EIO, "keys: %s", zmq_strerror(zmq_errno()));
    if (!o->bind || !o->bind[0]) return MANTA_OK;
    if (!(l->router = socket_new(l, ZMQ_ROUTER)) || !curve_set(l, l->router, true))
        return link_fail(MANTA_EIO, "%s", zmq_strerror(zmq_errno()));
    manta_status status = MANTA_OK;
    for (int i = 0; o->bind[i] && !status; i++) status = bind_one(l, o->bind[i], o->insecure);
    return status;
}

static void free_all(links *l)
{
    for (dial *d = l->dials, *next; d; d = next) {
        next = d->next;
        if (d->session) d->session->dial = NULL;
        dial_close(d);
        base_free(d);
    }
    l->dials = NULL;
    for (dial *d = l->new_dials, *next; d; d = next) {
        next = d->next;
        base_free(d);
    }
    uint64_t id;
    for (size_t cursor = 0; l->sessions.count; cursor = 0)
        session_down(id_table_next(&l->sessions, &cursor, &id), MANTA_ESHUTDOWN, "", false);
    take_dirty(l);
    id_table_fini(&l->sessions);
    id_table_fini(&l->routes);
    if (l->router) zmq_close(l->router);
    if (l->zap) zmq_close(l->zap);
    if (l->zmq) zmq_ctx_term(l->zmq);
    if (l->wake_fd >= 0) close(l->wake_fd);
    pthread_mutex_destroy(&l->lock);
    base_free(l->allowed);
    base_free(l->items);
    base_free(l);
}

manta_status link_open(const link_options *o, const link_events *events, void *context, links **out)
{
    if (!o->self.process) return link_fail(MANTA_EINVAL, "a process id must not be 0");
    links *l = base_calloc(1, sizeof *l);
    if (!l) return link_fail(MANTA_ENOMEM, "no memory");
    l->events = *events;
    l->context = context;
    set_options(l, o);
    pthread_mutex_init(&l->lock, NULL);
    l->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    manta_status status = l->wake_fd < 0 ? link_fail(MANTA_EIO, "eventfd: %s", strerror(errno)) : copy_keys(l, o);
    if (!status) status = open_sockets(l, o);
    *out = l; /* callbacks may use it at once */
    if (!status && os_thread_start(&l->thread, "manta-link", run, l)) status = link_fail(MANTA_ENOMEM, "no thread for links");
    if (!status) return MANTA_OK;
    *out = NULL;
    store_seq(&l->closing, 1);
    free_all(l);
    return status;
}

void link_stop(links *l, uint32_t linger_ms)
{
    l->close_ns = os_monotonic_ns() + (uint64_t)linger_ms * OS_NS_PER_MS;
    store_seq(&l->closing, 1);
    (void)eventfd_write(l->wake_fd, 1);
    pthread_join(l->thread, NULL);
    size_t cursor = 0;
    for (session *s; (s = id_table_next(&l->sessions, &cursor, NULL));) session_say(s, FRAME_BYE);
    if (l->sessions.count) usleep(2000); /* ZeroMQ's own thread writes the goodbyes; without them the peers wait for signs of life */
}

void link_free(links *l)
{
    if (l) free_all(l);
}

void link_close(links *l, uint32_t linger_ms)
{
    if (!l) return;
    link_stop(l, linger_ms);
    free_all(l);
}

/* ---- the rest of link.h ---- */

const char *link_address(const links *l, int n) { return n >= 0 && n < l->n_addresses ? l->addresses[n] : NULL; }

manta_status link_connect(links *l, const char *address, uint64_t expect)
{
    if (strlen(address) > FRAME_ADDRESS_LIMIT || (strncmp(address, "tcp://", 6) != 0 && strncmp(address, "ipc://", 6) != 0))
        return link_fail(
            MANTA_EINVAL, "%.100s: an address is tcp://HOST:PORT or ipc://PATH, of at most %d bytes", address, FRAME_ADDRESS_LIMIT);
    dial *d = base_calloc(1, sizeof *d);
    if (!d) return link_fail(MANTA_ENOMEM, "no memory to connect");
    snprintf(d->address, sizeof d->address, "%s", address);
    d->expect = expect;
    pthread_mutex_lock(&l->lock);
    d->next = l->new_dials;
    l->new_dials = d;
    pthread_mutex_unlock(&l->lock);
    (void)eventfd_write(l->wake_fd, 1);
    return MANTA_OK;
}

void link_drop(links *l, uint64_t process, manta_status why)
{
    pthread_mutex_lock(&l->lock);
    session *s = id_table_get(&l->sessions, process);
    if (s) {
        store_seq(&s->drop, (uint32_t)why + 1);
        session_mark(s);
    }
    pthread_mutex_unlock(&l->lock);
}

bool link_is_up(const links *l, uint64_t process, uint64_t *out_incarnation)
{
    pthread_mutex_lock((pthread_mutex_t *)(uintptr_t)&l->lock);
    const session *s = id_table_get(&l->sessions, process);
    if (s && out_incarnation) *out_incarnation = s->incarnation;
    pthread_mutex_unlock((pthread_mutex_t *)(uintptr_t)&l->lock);
    return s != NULL;
}

void link_stats_get(const links *l, link_stats *out)
{
    const link_counts *c = &l->counts;
#define READ(name) out->name = load_relaxed(&((link_counts *)(uintptr_t)c)->name)
    READ(messages_sent);
    READ(messages_received);
    READ(bytes_sent);
    READ(bytes_received);
    READ(frames_sent);
    READ(frames_received);
    READ(frames_resent);
    READ(duplicates);
    READ(reconnects);
    READ(refused);
#undef READ
}
