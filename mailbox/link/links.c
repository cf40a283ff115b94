/*
 * What all links have in common, whatever carries their frames: options, the owner's timers, and the calls of any thread.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "mailbox/link/link_internal.h"

enum { MESSAGE_DEFAULT = 64 << 20, PEERS_DEFAULT = 4096, HEARTBEAT_DEFAULT_MS = 200, DOWN_DEFAULT_MS = 1800, SPIN_DEFAULT_US = 5 };
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

/* ---- the owner ---- */

bool links_take_dirty(links *l)
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

/* How long this owner itself was kept from running (a full machine, SIGSTOP): others are not to blame for it. */
static uint64_t own_absence(links *l)
{
    uint64_t gap = l->ticked_ns ? l->now_ns - l->ticked_ns : 0;
    l->ticked_ns = l->now_ns;
    return gap > 2 * l->heartbeat_ns ? gap - l->heartbeat_ns : 0;
}

/*
 * Signs of life go to all peers at once, at multiples of the heartbeat, which are the same for all processes of a machine: so an idle one is awake a few times a second, however many peers it has. Who was told something
 * in the last quarter is left out, so the longest silence is 5/4 of the heartbeat.
 */
bool links_tick(links *l)
{
    uint64_t absence = own_absence(l);
    size_t cursor = 0;
    bool blocked = false, beats = l->now_ns >= l->beat_ns;
    if (beats) l->beat_ns = (l->now_ns / l->heartbeat_ns + 1) * l->heartbeat_ns;
    for (session *s; (s = id_table_next(&l->sessions, &cursor, NULL));) {
        bool connected = session_is_connected(s);
        s->heard_ns = s->heard_ns + absence < l->now_ns ? s->heard_ns + absence : l->now_ns;
        if (s->is_blocked && connected) session_pump(s);
        if (connected && ((s->ack_due_ns && l->now_ns >= s->ack_due_ns) || (beats && l->now_ns - s->said_ns >= l->heartbeat_ns / 4)))
            session_say(s, FRAME_ACK);
        blocked = blocked || (connected && s->is_blocked);
        if (l->now_ns - s->heard_ns <= l->down_after_ns) continue;
        session_down(s, MANTA_ETIMEDOUT, "no sign of life", true);
    }
    return blocked;
}

/* 0: never */
static uint64_t earlier(uint64_t a, uint64_t b) { return b && b < a ? b : a; }

uint64_t links_due(const links *l, bool is_blocked)
{
    uint64_t due = l->beat_ns;
    size_t cursor = 0;
    if (is_blocked) return l->now_ns + OS_NS_PER_MS;
    for (session *s; (s = id_table_next(&l->sessions, &cursor, NULL));)
        due = earlier(earlier(due, session_is_connected(s) ? s->ack_due_ns : 0), s->heard_ns + l->down_after_ns + 1);
    for (dial *d = l->dials; d; d = d->next) due = earlier(due, d->retry_ns);
    return due;
}

bool links_has_new_dials(links *l)
{
    pthread_mutex_lock(&l->lock);
    bool some = l->new_dials != NULL;
    pthread_mutex_unlock(&l->lock);
    return some;
}

static bool all_acked(links *l)
{
    size_t cursor = 0;
    for (session *s; (s = id_table_next(&l->sessions, &cursor, NULL));)
        if (s->unsent.first || s->unacked.first) return false;
    return true;
}

bool links_is_done(links *l) { return !load_relaxed(&l->dirty) && (all_acked(l) || l->now_ns >= l->close_ns); }

void links_say_goodbye(links *l)
{
    size_t cursor = 0;
    for (session *s; (s = id_table_next(&l->sessions, &cursor, NULL));) session_say(s, FRAME_BYE);
}

/* ---- coming and going ---- */

static void set_options(links *l, const link_options *o)
{
    l->self = o->self;
    l->lowest_version = l->highest_version = FRAME_VERSION;
    l->credit_bytes = o->credit_bytes ? o->credit_bytes : CREDIT_DEFAULT;
    l->message_limit = o->message_limit ? o->message_limit : MESSAGE_DEFAULT;
    l->peers_limit = o->peers_limit ? o->peers_limit : PEERS_DEFAULT;
    l->heartbeat_ns = (o->heartbeat_ms ? o->heartbeat_ms : HEARTBEAT_DEFAULT_MS) * (uint64_t)OS_NS_PER_MS;
    l->down_after_ns = (o->down_after_ms ? o->down_after_ms : DOWN_DEFAULT_MS) * (uint64_t)OS_NS_PER_MS;
    l->spin_ns = (o->spin_us ? o->spin_us : SPIN_DEFAULT_US) * (uint64_t)OS_NS_PER_US;
}

links *links_new(const link_options *o, const link_events *events, void *context, const link_ops *ops)
{
    if (!o->self.process) return link_fail(MANTA_EINVAL, "a process id must not be 0"), NULL;
    links *l = base_calloc(1, sizeof *l);
    if (!l) return link_fail(MANTA_ENOMEM, "no memory"), NULL;
    l->events = *events;
    l->context = context;
    l->ops = ops;
    set_options(l, o);
    pthread_mutex_init(&l->lock, NULL);
    return l;
}

static void free_dials(dial *d)
{
    while (d) {
        dial *next = d->next;
        if (d->session) d->session->dial = NULL;
        dial_close(d, load_relaxed(&d->links->closing));
        base_free(d);
        d = next;
    }
}

void links_free(links *l)
{
    store_seq(&l->closing, 1);
    free_dials(l->dials);
    free_dials(l->new_dials);
    l->dials = l->new_dials = NULL;
    for (size_t cursor = 0; l->sessions.count; cursor = 0)
        session_down(id_table_next(&l->sessions, &cursor, NULL), MANTA_ESHUTDOWN, "", false);
    links_take_dirty(l);
    id_table_fini(&l->sessions);
    id_table_fini(&l->routes);
    session_graves_free(l);
    l->ops->free(l);
    pthread_mutex_destroy(&l->lock);
    base_free(l);
}

void link_stop(links *l, uint32_t linger_ms) { l->ops->stop(l, (uint64_t)linger_ms * OS_NS_PER_MS); }

void link_free(links *l)
{
    if (l) links_free(l);
}

void link_close(links *l, uint32_t linger_ms)
{
    if (!l) return;
    link_stop(l, linger_ms);
    links_free(l);
}

/* ---- the rest of link.h ---- */

const char *link_address(const links *l, int n) { return n >= 0 && n < l->n_addresses ? l->addresses[n] : NULL; }

bool address_is_valid(const char *address)
{
    if (strlen(address) <= FRAME_ADDRESS_LIMIT && (strncmp(address, "tcp://", 6) == 0 || strncmp(address, "ipc://", 6) == 0)) return true;
    link_fail(MANTA_EINVAL, "%.100s: an address is tcp://HOST:PORT or ipc://PATH, of at most %d bytes", address, FRAME_ADDRESS_LIMIT);
    return false;
}

manta_status link_connect(links *l, const char *address, uint64_t expect)
{
    if (!address_is_valid(address)) return MANTA_EINVAL;
    dial *d = base_calloc(1, sizeof *d);
    if (!d) return link_fail(MANTA_ENOMEM, "no memory to connect");
    snprintf(d->address, sizeof d->address, "%s", address);
    d->links = l;
    d->expect = expect;
    pthread_mutex_lock(&l->lock);
    d->next = l->new_dials;
    l->new_dials = d;
    pthread_mutex_unlock(&l->lock);
    l->ops->wake(l);
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
