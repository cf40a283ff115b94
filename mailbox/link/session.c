/*
 * One peer: frames out, kept until acknowledged, and frames in, each once and in order.
 */
#include <stdio.h>
#include <string.h>

#include "mailbox/link/link_internal.h"
#include "scheduler/base/rng.h"

enum { SESSIONS_BITS = 16 }; /* so many sessions of two incarnations, 2^16, have numbers of their own */

struct link_frame {
    _Atomic uint32_t references;
    zmq_msg_t message, body; /* body: a second part */
    void *copy;              /* aligned bytes, when ZeroMQ's are not */
};

/* ---- lists ---- */

static void list_add(frame_list *l, out_frame *f)
{
    f->next = NULL;
    if (l->last) l->last->next = f;
    else l->first = f;
    l->last = f;
}

static out_frame *list_take(frame_list *l)
{
    out_frame *f = l->first;
    if (f && !(l->first = f->next)) l->last = NULL;
    return f;
}

static void list_join(frame_list *to, frame_list *from)
{
    if (!from->first) return;
    if (to->last) to->last->next = from->first;
    else to->first = from->first;
    to->last = from->last;
    *from = (frame_list){NULL, NULL};
}

static void frame_free(out_frame *f)
{
    if (!f) return;
    if (f->memory) base_free(f->memory);
    else zmq_msg_close(&f->message);
    if (f->body_free) f->body_free(f->body, f->body_hint);
    else if (f->body) zmq_msg_close(&f->body_message);
    base_free(f);
}

static void list_free(frame_list *l)
{
    for (out_frame *f; (f = list_take(l));) frame_free(f);
}

/* ---- sending: any thread ---- */

/* True: the thread is to be told, or somebody does its work. */
static bool mark(session *s)
{
    links *l = s->links;
    if (load_relaxed(&s->is_dirty) || exchange_seq(&s->is_dirty, 1)) return false;
    session *head = load_relaxed(&l->dirty);
    do s->dirty_next = head;
    while (!atomic_compare_exchange_weak_explicit(&l->dirty, &head, s, memory_order_seq_cst, memory_order_relaxed));
    return load_seq(&l->parked);
}

void session_mark(session *s)
{
    if (mark(s)) s->links->ops->wake(s->links);
}

static out_frame *frame_new(size_t bytes)
{
    out_frame *f = base_calloc(1, sizeof *f);
    if (!f) return NULL;
    f->memory = base_alloc(bytes);
    f->bytes = FRAME_DATA_HEAD;
    if (f->memory) return f;
    base_free(f);
    return NULL;
}

static void seal(session *s)
{
    if (s->building) list_add(&s->sealed, s->building);
    s->building = NULL;
    s->room = 0;
}

/* Under the lock: a frame with room for `need` more bytes. Small at first, so that a lone message costs little. */
static out_frame *frame_with_room(session *s, size_t need)
{
    if (s->building && s->building->bytes + need > FRAME_BYTES) seal(s);
    if (!s->building) {
        s->room = need + FRAME_DATA_HEAD > FRAME_FIRST_BYTES ? need + FRAME_DATA_HEAD : FRAME_FIRST_BYTES;
        s->building = frame_new(s->room);
    }
    out_frame *f = s->building;
    if (!f || f->bytes + need <= s->room) return f;
    size_t room = s->room;
    while (room < f->bytes + need) room *= 2;
    unsigned char *memory = base_realloc(f->memory, room);
    if (!memory) return NULL;
    f->memory = memory;
    s->room = room;
    return f;
}

/* Under the lock. */
static bool has_credit(session *s, size_t size)
{
    bool ok = !s->credit_used || s->credit_used + frame_message_bytes(size) <= s->links->credit_bytes;
    if (!ok) s->is_starved = true;
    return ok;
}

/* A message whose body stays where it is: a frame of its own. */
static manta_status append_split(session *s, const void *head, size_t head_bytes, const out_frame *body)
{
    seal(s);
    out_frame *f = frame_new(FRAME_DATA_HEAD + FRAME_MESSAGE_HEAD + head_bytes);
    if (!f) return MANTA_ENOMEM;
    memcpy(frame_put_message_head(f->memory + f->bytes, head_bytes + body->body_bytes), head, head_bytes);
    f->bytes += FRAME_MESSAGE_HEAD + head_bytes;
    f->count = 1;
    f->body = body->body;
    f->body_bytes = body->body_bytes;
    f->body_free = body->body_free;
    f->body_hint = body->body_hint;
    f->credit = frame_message_bytes(head_bytes + body->body_bytes);
    s->credit_used += f->credit;
    list_add(&s->sealed, f);
    return MANTA_OK;
}

static manta_status append(session *s, const void *head, size_t head_bytes, const void *body, size_t body_bytes)
{
    size_t size = head_bytes + body_bytes, need = frame_message_bytes(size);
    if (!has_credit(s, size)) return MANTA_ELIMIT;
    out_frame *f = frame_with_room(s, need);
    if (!f) return MANTA_ENOMEM;
    unsigned char *to = frame_put_message(f->memory + f->bytes, size);
    if (head_bytes) memcpy(to, head, head_bytes);
    if (body_bytes) memcpy(to + head_bytes, body, body_bytes);
    f->bytes += need;
    f->credit += need;
    f->count++;
    s->credit_used += need;
    if (need > LARGE_BYTES) seal(s);
    return MANTA_OK;
}

manta_status link_send(links *l, uint64_t process, const void *head, size_t head_bytes, const void *body, size_t body_bytes,
    void (*body_free)(void *body, void *hint), void *hint)
{
    manta_status status = MANTA_ENOTFOUND;
    bool has_work = false;
    out_frame apart = {.body = (void *)(uintptr_t)body, .body_bytes = body_bytes, .body_free = body_free, .body_hint = hint};
    bool splits = body_free && body_bytes > LARGE_BYTES && !l->copies_bodies;
    if (head_bytes > l->message_limit || body_bytes > l->message_limit - head_bytes) status = MANTA_ETOOLONG;
    else if (load_relaxed(&l->closing)) status = MANTA_ESHUTDOWN;
    else {
        pthread_mutex_lock(&l->lock);
        session *s = id_table_get(&l->sessions, process);
        if (s) pthread_mutex_lock(&s->lock);
        pthread_mutex_unlock(&l->lock);
        if (s) {
            if (splits && !has_credit(s, head_bytes + body_bytes)) status = MANTA_ELIMIT;
            else if (splits) status = append_split(s, head, head_bytes, &apart);
            else status = append(s, head, head_bytes, body, body_bytes);
            has_work = !status && mark(s);
            pthread_mutex_unlock(&s->lock);
        }
    }
    if (has_work) l->ops->work(l);
    if (body_free && (status || !splits)) body_free((void *)(uintptr_t)body, hint);
    return status;
}

/* ---- out: the thread ---- */

void session_pull(session *s)
{
    pthread_mutex_lock(&s->lock);
    seal(s);
    list_join(&s->unsent, &s->sealed);
    pthread_mutex_unlock(&s->lock);
}

static void zmq_frees(void *memory, void *hint)
{
    (void)hint;
    base_free(memory);
}

/* Its number, and the acknowledgement of that moment, are written once: ZeroMQ may be reading the bytes later. */
static bool number(session *s, out_frame *f)
{
    frame_put_head(f->memory, &(frame_head){FRAME_DATA, s->next_sequence, s->expected});
    frame_put_count(f->memory, f->count);
    if (f->body_free && zmq_msg_init_data(&f->body_message, f->body, f->body_bytes, f->body_free, f->body_hint)) return false;
    f->body_free = NULL;
    if (zmq_msg_init_data(&f->message, f->memory, f->bytes, zmq_frees, NULL)) return false;
    f->memory = NULL;
    f->sequence = s->next_sequence++;
    return true;
}

static void said(session *s)
{
    s->said_ns = s->links->now_ns;
    s->acked = s->expected;
    s->to_ack = 0;
    s->ack_due_ns = 0;
}

static bool send_frame(session *s, out_frame *f)
{
    zmq_msg_t m, body;
    zmq_msg_init(&m);
    zmq_msg_init(&body);
    bool ok = zmq_msg_copy(&m, &f->message) == 0 && (!f->body || zmq_msg_copy(&body, &f->body_message) == 0);
    if (ok && session_send(s, &m, f->body ? &body : NULL) == 0) return true;
    zmq_msg_close(&m);
    zmq_msg_close(&body);
    return false;
}

void session_pump(session *s)
{
    s->is_blocked = false;
    for (out_frame *f; (f = s->unsent.first);) {
        bool again = f->sequence != 0;
        if (!again && !number(s, f)) return;
        if (!send_frame(s, f)) {
            s->is_blocked = true;
            return;
        }
        count_up(&s->links->counts.frames_sent, 1);
        count_up(&s->links->counts.frames_resent, again);
        count_up(&s->links->counts.messages_sent, again ? 0 : f->count);
        count_up(&s->links->counts.bytes_sent, again ? 0 : f->bytes + f->body_bytes);
        list_add(&s->unacked, list_take(&s->unsent));
        said(s);
    }
}

/* Sabotage: what was lost with the old connection is not sent again, and the numbers do not tell. */
static void forget_lost(session *s, uint64_t expected)
{
    list_free(&s->unacked);
    while (s->unsent.first && s->unsent.first->sequence) frame_free(list_take(&s->unsent));
    s->next_sequence = expected;
}

void session_resume(session *s, uint64_t expected)
{
    session_acked(s, expected);
    if (s->links->sabotage == LINK_SABOTAGE_RESEND) forget_lost(s, expected);
    frame_list again = s->unacked;
    s->unacked = (frame_list){NULL, NULL};
    list_join(&again, &s->unsent);
    s->unsent = again;
    s->heard_ns = s->links->now_ns;
    session_mark(s);
}

void session_say(session *s, uint8_t kind)
{
    zmq_msg_t m;
    if (zmq_msg_init_size(&m, FRAME_HEAD)) return;
    frame_put_head(zmq_msg_data(&m), &(frame_head){kind, 0, s->expected});
    if (session_send(s, &m, NULL) == 0) {
        said(s);
        return;
    }
    zmq_msg_close(&m);
    if (s->ack_due_ns) s->ack_due_ns = s->links->now_ns + (uint64_t)ACK_MS * OS_NS_PER_MS; /* not again at once */
}

void session_acked(session *s, uint64_t expected)
{
    uint64_t credit = 0;
    while (s->unacked.first && s->unacked.first->sequence < expected) {
        credit += s->unacked.first->credit;
        frame_free(list_take(&s->unacked));
    }
    if (!credit) return;
    pthread_mutex_lock(&s->lock);
    s->credit_used -= credit;
    bool room = s->is_starved && s->credit_used <= s->links->credit_bytes / 2;
    if (room) s->is_starved = false;
    pthread_mutex_unlock(&s->lock);
    if (room && s->links->events.on_room) s->links->events.on_room(s->links->context, (link_peer){s->process, s->incarnation});
}

/* ---- in ---- */

void link_frame_retain(link_frame *f) { add_relaxed(&f->references, 1); }

void link_frame_release(link_frame *f)
{
    if (sub_seq(&f->references, 1) != 1) return;
    zmq_msg_close(&f->message);
    zmq_msg_close(&f->body);
    base_free(f->copy);
    base_free(f);
}

static bool copy_unaligned(link_frame *f, zmq_msg_t *m)
{
    if ((uintptr_t)zmq_msg_data(m) % 8 == 0) return true;
    if (!(f->copy = base_alloc(zmq_msg_size(m)))) return false;
    memcpy(f->copy, zmq_msg_data(m), zmq_msg_size(m));
    return true;
}

static link_frame *frame_keep(zmq_msg_t *m, zmq_msg_t *body)
{
    link_frame *f = base_calloc(1, sizeof *f);
    if (!f || !copy_unaligned(f, m)) {
        base_free(f);
        return NULL;
    }
    zmq_msg_init(&f->message);
    zmq_msg_init(&f->body);
    if (!f->copy) zmq_msg_move(&f->message, m);
    if (body) zmq_msg_move(&f->body, body);
    store_relaxed(&f->references, 1);
    return f;
}

static void deliver(session *s, link_frame *f, size_t bytes, uint32_t count)
{
    links *l = s->links;
    const void *data = f->copy ? f->copy : zmq_msg_data(&f->message);
    size_t at = FRAME_DATA_HEAD;
    count_up(&l->counts.messages_received, count);
    count_up(&l->counts.bytes_received, bytes);
    for (uint32_t i = 0; i < count && !load_relaxed(&s->drop); i++) {
        link_message m = {.frame = f};
        m.data = frame_next(data, &at, &m.size_bytes);
        if ((m.body_bytes = zmq_msg_size(&f->body))) {
            m.body = zmq_msg_data(&f->body);
            m.size_bytes -= m.body_bytes;
        }
        l->events.on_message(l->context, (link_peer){s->process, s->incarnation}, &m);
    }
}

static const char *check(const links *l, zmq_msg_t *m, zmq_msg_t *body, uint32_t *count)
{
    *count = 1;
    return body ? frame_check_split(zmq_msg_data(m), zmq_msg_size(m), zmq_msg_size(body), l->message_limit)
                : frame_check_data(zmq_msg_data(m), zmq_msg_size(m), l->message_limit, count);
}

void session_receive(session *s, zmq_msg_t *m, zmq_msg_t *body, const frame_head *h)
{
    links *l = s->links;
    uint32_t count = 0;
    size_t bytes = zmq_msg_size(m) + (body ? zmq_msg_size(body) : 0);
    count_up(&l->counts.frames_received, 1);
    bool is_old = h->sequence < s->expected;
    if (is_old) count_up(&l->counts.duplicates, 1);
    if (is_old && l->sabotage != LINK_SABOTAGE_DUPLICATES) return;
    const char *wrong = h->sequence > s->expected ? "a frame is missing on a connection" : check(l, m, body, &count);
    if (wrong) {
        session_down(s, MANTA_EDECODE, wrong, true);
        return;
    }
    link_frame *f = frame_keep(m, body);
    if (!f) {
        session_down(s, MANTA_ENOMEM, "no memory for a frame", true);
        return;
    }
    s->expected += !is_old;
    if (!s->to_ack++) s->ack_due_ns = l->now_ns + (uint64_t)ACK_MS * OS_NS_PER_MS;
    deliver(s, f, bytes, count);
    link_frame_release(f);
    if (s->to_ack >= ACK_FRAMES || bytes > FRAME_BYTES) session_say(s, FRAME_ACK);
}

/* ---- coming and going ---- */

session *session_find(links *l, uint64_t process) { return id_table_get(&l->sessions, process); }

typedef struct grave { /* of the sessions with an incarnation that are over */
    uint64_t incarnation, last;
} grave;

/* Sessions of other incarnations have other numbers, and both sides count from the same. */
static uint64_t number_base(const links *l, uint64_t process, uint64_t incarnation)
{
    bool first = l->self.process < process;
    uint64_t a = first ? l->self.incarnation : incarnation, b = first ? incarnation : l->self.incarnation;
    return (rng_mix(a ^ rng_mix(b)) >> (SESSIONS_BITS + 1) | 1) << SESSIONS_BITS;
}

uint64_t session_last(const links *l, uint64_t process, uint64_t incarnation)
{
    const grave *g = id_table_get(&l->graves, process);
    return g && g->incarnation == incarnation ? g->last : number_base(l, process, incarnation);
}

void session_graves_free(links *l)
{
    size_t cursor = 0;
    for (grave *g; (g = id_table_next(&l->graves, &cursor, NULL));) base_free(g);
    id_table_fini(&l->graves);
}

/* When there are too many, all are forgotten: the other sides have long since noticed. */
void session_bury(session *s, uint64_t number)
{
    links *l = s->links;
    grave *g = id_table_get(&l->graves, s->process);
    if (!g) {
        if (l->graves.count >= l->peers_limit) session_graves_free(l);
        g = base_calloc(1, sizeof *g);
        if (!g || !id_table_put(&l->graves, s->process, g)) {
            base_free(g);
            return;
        }
    }
    if (g->incarnation != s->incarnation) *g = (grave){s->incarnation, number_base(l, s->process, s->incarnation)};
    if (number > g->last && number >> SESSIONS_BITS == s->number >> SESSIONS_BITS) g->last = number;
}

session *session_new(links *l, const frame_hello *hello, uint64_t number)
{
    session *s = l->sessions.count < l->peers_limit ? base_calloc(1, sizeof *s) : NULL;
    if (!s) return NULL;
    s->links = l;
    s->process = hello->process;
    s->incarnation = hello->incarnation;
    s->number = number;
    s->next_sequence = s->expected = 1;
    s->heard_ns = s->said_ns = l->now_ns;
    snprintf(s->address, sizeof s->address, "%s", hello->address);
    pthread_mutex_init(&s->lock, NULL);
    pthread_mutex_lock(&l->lock);
    bool ok = id_table_put(&l->sessions, s->process, s);
    pthread_mutex_unlock(&l->lock);
    if (ok) return s;
    pthread_mutex_destroy(&s->lock);
    base_free(s);
    return NULL;
}

/* Its number leads nowhere any more; the record goes when it is in no list. */
void session_down(session *s, manta_status status, const char *reason, bool tell)
{
    links *l = s->links;
    if (s->is_dead) return;
    s->is_dead = true;
    session_bury(s, s->number);
    if (tell) session_say(s, FRAME_BYE);
    pthread_mutex_lock(&l->lock);
    pthread_mutex_lock(&s->lock);
    id_table_remove(&l->sessions, s->process);
    pthread_mutex_unlock(&s->lock);
    pthread_mutex_unlock(&l->lock);
    if (s->route) id_table_remove(&l->routes, s->route);
    if (s->dial) {
        s->dial->session = NULL;
        s->dial->is_over = true;
        dial_close(s->dial, tell);
    }
    s->dial = NULL;
    s->route = 0;
    list_free(&s->unsent);
    list_free(&s->unacked);
    list_free(&s->sealed);
    frame_free(s->building);
    s->building = NULL;
    if (l->events.on_down && !load_relaxed(&l->closing))
        l->events.on_down(l->context, (link_peer){s->process, s->incarnation}, status, reason);
    session_mark(s); /* freed by the loop */
}
