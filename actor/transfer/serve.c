/*
 * Answers for other processes, on the transfer thread: where an object is (LOCATE), and its chunks (FETCH).
 *
 * A request for chunks becomes a feed. It sends straight from the object's memory, which stays pinned until the link has let go of the last chunk; so a feed ends when its chunks are on the other side.
 * An object that is itself being received is fed from what is there; a feed waits for the chunk that it needs next. But not the feed of one who was told that this process has all of it: the copy that was meant is gone, and
 * the new one may come from the very process that asks.
 */
#include "actor/transfer/internal.h"

enum { FEEDS_LIMIT = 8192, BULK_LIMIT = 16 << 20 };

/* ---- answers ---- */

typedef struct question { /* a LOCATE that cannot be answered at once: the object is not complete, or on disk */
    blocked blocked;
    wait_node node;
    struct question *next;
    future *ready;
    peer *peer;
    uint64_t number;
    manta_ref ref;
    locate_payload what;
    manta_object view;
    manta_status status;
    manta_error *error;
} question;
static question *questions; /* that wait for their object */

static void send_answer(peer *p, uint64_t number, manta_status status, const void *data, size_t bytes)
{
    wire_head h = {.kind = WIRE_OBJECT, .call = number, .status = (uint32_t)status};
    peer_say(p, &h, data, bytes);
}

static void send_error(peer *p, uint64_t number, manta_error *error)
{
    manta_status status = error->status ? error->status : MANTA_EFAILED, packed;
    manta_writer *w = pack_begin(p);
    if (w) pack_error(w, error);
    bool ok = w && pack_end(w, &packed);
    send_answer(p, number, status, ok ? w->start : NULL, ok ? manta_writer_size(w) : 0);
    error_free(error);
}

static void put_inside(peer *p, manta_ref ref, uint32_t n, unsigned char *to)
{
    manta_ref *refs = n ? base_alloc(n * sizeof *refs) : NULL;
    if (refs) (void)the_objects->inside(ref, refs, n);
    for (uint32_t i = 0; i < n; i++) {
        object_name name = refs ? name_for(p, refs[i]) : (object_name){0};
        if (name.process != the_node.process) peer_introduce(p, name.process);
        if (name.owner && name.owner != the_node.process) peer_introduce(p, name.owner);
        memcpy(to + i * sizeof name, &name, sizeof name);
    }
    base_free(refs);
}

static void send_found(peer *p, uint64_t number, const locate_payload *what, const manta_object *o)
{
    object_source sources[SOURCES_LIMIT];
    answer_head h = {.size = o->size, .kind = o->size <= SMALL_BYTES ? ANSWER_BYTES : what->is_admitted ? ANSWER_SOURCES : ANSWER_SIZE};
    if (h.kind == ANSWER_SOURCES && !(h.n_sources = export_sources(p, number, what, sources))) return; /* it was released meanwhile */
    if (h.kind != ANSWER_SIZE) h.n_inside = the_objects->inside(o->ref, NULL, 0);
    size_t names = h.n_inside * sizeof(object_name), rest = h.kind == ANSWER_BYTES ? o->size : h.n_sources * sizeof *sources;
    unsigned char *data = h.n_inside <= INSIDE_LIMIT ? base_alloc(sizeof h + names + rest) : NULL;
    if (!data) {
        send_error(p, number,
            error_new(
                h.n_inside > INSIDE_LIMIT ? MANTA_ELIMIT : MANTA_ENOMEM, NULL, "an object that names %u others cannot travel", h.n_inside));
        return;
    }
    memcpy(data, &h, sizeof h);
    put_inside(p, o->ref, h.n_inside, data + sizeof h);
    if (rest) memcpy(data + sizeof h + names, h.kind == ANSWER_BYTES ? o->data : (const void *)sources, rest);
    for (uint32_t i = 0; i < h.n_sources; i++) peer_introduce(p, sources[i].process);
    send_answer(p, number, MANTA_OK, data, sizeof h + names + rest);
    base_free(data);
}

static void answer_view(worker *w, question *q)
{
    if (q->status == MANTA_OK) {
        send_found(q->peer, q->number, &q->what, &q->view);
        the_objects->unpin(w, q->ref);
    } else send_error(q->peer, q->number, q->error ? q->error : error_new(q->status, NULL, "%s", manta_status_text(q->status)));
    base_free(q);
}

static void look(question *q) { q->status = the_objects->view(q->ref, &q->view, &q->error); }
static void look_blocked(blocked *b) { look((question *)(void *)b); }
static void looked_blocked(worker *w, blocked *b) { answer_view(w, (question *)(void *)b); }

/* From whatever thread completes the object, which may have locks: only queues. */
static void wake(worker *w, wait_node *node)
{
    question *q = (question *)(void *)((unsigned char *)node - offsetof(question, node));
    (void)w;
    job_post(&q->blocked.job);
}

static manta_status wait_for_object(worker *w, question *q)
{
    if (!export_wait(q->peer, q->number, true)) return MANTA_EEXIST;
    if (!(q->ready = future_new(w))) return MANTA_ENOMEM;
    q->node.wake = wake;
    q->blocked.job = (job){.kind = JOB_LOCATE_READY, .owner = q};
    store_relaxed(&q->ready->state, (uintptr_t)&q->node | FUTURE_NODE);
    q->next = questions;
    questions = q;
    manta_status status = the_objects->subscribe(w, q->ref, q->ready);
    if (!status) return MANTA_OK;
    questions = q->next;
    future_free(w, q->ready);
    return status;
}

static void answer(worker *w, question *q)
{
    q->status = the_objects->view(q->ref, NULL, NULL);
    if (q->status == MANTA_ENOTREADY) {
        transfer_need(q->ref, NEED_GET);
        if (!(q->status = wait_for_object(w, q))) return;
        answer_view(w, q);
    } else if (the_objects->may_wait(q->ref)) {
        q->blocked.run = look_blocked;
        q->blocked.done = looked_blocked;
        blocked_start(&q->blocked);
    } else {
        look(q);
        answer_view(w, q);
    }
}

static void unlist(question *gone)
{
    question **at = &questions;
    while (*at != gone) at = &(*at)->next;
    *at = gone->next;
}

void serve_locate_ready(worker *w, void *question_)
{
    question *q = question_;
    unlist(q);
    future_free(w, q->ready);
    if (export_wait(q->peer, q->number, false)) answer(w, q);
    else base_free(q);
}

const char *serve_locate(worker *w, peer *p, uint64_t number, const void *data, size_t bytes)
{
    locate_payload what;
    manta_ref ref;
    if (bytes != sizeof what) return "a question for an object with a wrong length";
    memcpy(&what, data, sizeof what);
    question *q = export_ref(p, number, &ref) ? base_calloc(1, sizeof *q) : NULL;
    if (!q) {
        send_error(p, number, error_new(MANTA_ESTALE, NULL, "process %016llx keeps no such object", (unsigned long long)the_node.process));
        return NULL;
    }
    q->peer = p;
    q->number = number;
    q->ref = ref;
    q->what = what;
    answer(w, q);
    return NULL;
}

/* ---- feeds ---- */

typedef struct feed {
    blocked blocked; /* the object is on disk */
    job over;
    struct feed *next;
    bool is_looking, wants_complete;
    manta_status looked;
    peer *peer;
    uint64_t call, at, end, size;
    manta_ref root, pinned;
    const unsigned char *data; /* NULL: the object is being received */
    _Atomic uint32_t on_way;   /* chunks, and 1 until the last has been sent */
} feed;
static feed *feeds, *last_feed; /* with chunks to send */
static uint32_t n_feeds;
static _Atomic uint32_t starved; /* feeds that wait for the link */
_Atomic uint64_t served_bytes;

static void let_go(feed *f)
{
    if (sub_seq(&f->on_way, 1) == 1) job_post(&f->over);
}

/* On a thread of the link, or of ZeroMQ. */
static void chunk_has_left(void *body, void *hint)
{
    feed *f = hint;
    (void)body;
    (void)load_seq(&f->on_way); /* pairs with send_chunk; ZeroMQ orders us behind it as well, but ThreadSanitizer does not see that */
    sub_seq(&f->peer->bulk, CHUNK_SIZE);
    if (load_seq(&starved)) transfer_peer_room();
    let_go(f);
}

static void refuse(const feed *f, manta_status status)
{
    wire_head h = {.kind = WIRE_REFUSED, .call = f->call, .status = (uint32_t)status};
    peer_say(f->peer, &h, NULL, 0);
}

static void has_view(feed *f, const manta_object *o)
{
    if (f->pinned.id[0]) the_objects->unpin(worker_self(), f->pinned);
    f->pinned = o->ref;
    f->data = o->data;
    f->size = o->size;
}

static void look_on_disk(blocked *b)
{
    feed *f = (feed *)(void *)b;
    manta_object o;
    f->looked = the_objects->view(f->root, &o, NULL);
    if (!f->looked) has_view(f, &o);
}

static void looked_on_disk(worker *w, blocked *b)
{
    feed *f = (feed *)(void *)b;
    f->is_looking = false;
    serve_more(w);
    let_go(f);
}

/* A status: it will never come. MANTA_ENOTREADY: the next chunk is not there yet. */
static manta_status find_bytes(feed *f)
{
    manta_object o;
    uint64_t size;
    manta_ref ref = the_objects->knows(f->root) ? f->root : import_find_root(f->root);
    if (f->is_looking) return MANTA_ENOTREADY;
    if (!ref.id[0] || f->looked) return f->looked ? f->looked : MANTA_ESTALE;
    if (the_objects->may_wait(ref)) {
        f->is_looking = true;
        f->root = ref;
        f->blocked.run = look_on_disk;
        f->blocked.done = looked_on_disk;
        add_seq(&f->on_way, 1);
        blocked_start(&f->blocked);
        return MANTA_ENOTREADY;
    }
    manta_status status = the_objects->view(ref, &o, NULL);
    if (status == MANTA_OK) has_view(f, &o);
    if (status != MANTA_ENOTREADY) return status;
    if (f->wants_complete) return MANTA_ESTALE;
    const import *i = import_of_root(f->root);
    if (!i || !i->pull) return MANTA_ESTALE;
    if (!pull_chunk_at(i, f->at, &size)) return MANTA_ENOTREADY;
    f->size = size;
    if (!f->pinned.id[0] && the_objects->pin_filling(i->local)) f->pinned = i->local;
    return f->pinned.id[0] ? MANTA_OK : MANTA_ENOTREADY;
}

static const unsigned char *next_chunk(const feed *f)
{
    uint64_t size;
    if (f->data) return f->data + f->at * CHUNK_SIZE;
    const import *i = import_of_root(f->root);
    return i ? pull_chunk_at(i, f->at, &size) : NULL;
}

static manta_status send_chunk(feed *f)
{
    const unsigned char *bytes = next_chunk(f);
    wire_head h = {.kind = WIRE_CHUNK, .call = f->call, .method = f->at};
    size_t n = chunk_bytes(f->size, f->at);
    if (!bytes) return MANTA_ENOTREADY;
    add_seq(&f->on_way, 1);
    add_seq(&f->peer->bulk, CHUNK_SIZE);
    manta_status status = link_send(the_node.links, f->peer->process, &h, sizeof h, bytes, n, chunk_has_left, f);
    if (!status) {
        f->at++;
        add_relaxed(&served_bytes, n);
    }
    return status;
}

/* MANTA_OK: all is sent. ENOTREADY, ELIMIT: later. */
static manta_status run_feed(feed *f)
{
    while (f->at < f->end) {
        if (load_seq(&f->peer->bulk) >= BULK_LIMIT) return MANTA_ELIMIT;
        manta_status status = f->data ? MANTA_OK : find_bytes(f);
        if (status) return status;
        if (f->end > chunk_count(f->size)) return MANTA_EINVAL;
        if ((status = send_chunk(f))) return status;
    }
    return MANTA_OK;
}

static bool feed_goes_on(feed *f, const peer *unused)
{
    (void)unused;
    manta_status status = run_feed(f);
    if (status == MANTA_ENOTREADY) return true;
    if (status == MANTA_ELIMIT) {
        add_seq(&starved, 1);
        return true;
    }
    if (status) refuse(f, status);
    return false;
}

/* Takes those out of the list that are over. */
static void each_feed(bool (*goes_on)(feed *f, const peer *p), const peer *p)
{
    feed *last = NULL;
    for (feed **at = &feeds; *at;) {
        feed *f = *at;
        if (goes_on(f, p)) {
            last = f;
            at = &f->next;
            continue;
        }
        *at = f->next;
        let_go(f);
    }
    last_feed = last;
}

void serve_more(worker *w)
{
    (void)w;
    store_seq(&starved, 0);
    each_feed(feed_goes_on, NULL);
}

static feed *feed_new(peer *p, const wire_head *h, const fetch_payload *what)
{
    feed *f = n_feeds < FEEDS_LIMIT ? base_calloc(1, sizeof *f) : NULL;
    if (!f) return NULL;
    *f = (feed){.peer = p,
        .call = h->call,
        .at = what->first,
        .end = what->first + what->count,
        .root = what->root,
        .on_way = 1,
        .wants_complete = h->status & 1};
    f->over = (job){.kind = JOB_FEED_DONE, .owner = f};
    n_feeds++;
    return f;
}

const char *serve_fetch(worker *w, peer *p, const wire_head *h, const void *data, size_t bytes)
{
    fetch_payload what;
    const char *wrong = fetch_read(data, bytes, &what);
    if (wrong) return wrong;
    keep_warm();
    feed *f = feed_new(p, h, &what), none = {.peer = p, .call = h->call};
    if (!f) {
        refuse(&none, MANTA_ELIMIT);
        return NULL;
    }
    if (last_feed) last_feed->next = f;
    else feeds = f;
    last_feed = f;
    serve_more(w);
    return NULL;
}

void serve_feed_done(worker *w, void *done)
{
    feed *f = done;
    if (f->pinned.id[0]) the_objects->unpin(w, f->pinned);
    n_feeds--;
    base_free(f);
}

static bool is_of_another(feed *f, const peer *p) { return f->peer != p; }

void serve_peer_down(worker *w, peer *p)
{
    (void)w;
    each_feed(is_of_another, p);
}

void serve_stop(worker *w)
{
    while (questions) {
        question *q = questions;
        questions = q->next;
        if (!the_objects->unsubscribe(q->ref, q->ready)) continue; /* it is in the queue, or will be */
        future_free(w, q->ready);
        base_free(q);
    }
    while (feeds) {
        feed *f = feeds;
        feeds = f->next;
        let_go(f);
    }
    last_feed = NULL;
}
