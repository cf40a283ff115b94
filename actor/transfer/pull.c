/*
 * Replicas get their bytes, on the transfer thread.
 *
 *   ASKS --small: bytes--> done        ASKS --size--> QUEUED --admitted--> JOINS --sources--> ROOM --> RUNS --all chunks--> done
 *                                                \--> SHARES --other is complete--> done
 *
 * Sharing: when another process of the same table fetches a large object, or has, this one waits for that and then gives its replica the other's bytes (alias). If the other's comes to nothing, the next of
 * those who wait fetches it. Objects that name others are fetched by each process, since what they name is a replica of its own in each.
 *
 * Admission: at most `limit` bytes are being pulled at a time; what handlers wait for comes before what somebody watches, and that before arguments of calls that have not begun. A process joins the others that
 * receive an object only when it is admitted, so those who are fed by it never wait for its queue.
 *
 * Each chunk is missing, asked of a source, or here. When a source is gone or refuses (its copy may be gone, and the origin not know yet), what was asked of it is missing again; when none is left, the origin
 * is asked for others, and after DETOURS refusals in a row for the object itself. If the origin is gone too, the object is lost.
 */
#include "actor/node/lineage.h"
#include "actor/transfer/internal.h"

enum { WINDOW = 32, BATCH = 16, REFUSALS_LIMIT = 32, DETOURS = 2, HERE = 255 };
#define PULL_BYTES_DEFAULT (256ull << 20)

typedef enum pull_state { PULL_ASKS, PULL_SHARES, PULL_QUEUED, PULL_JOINS, PULL_ROOM, PULL_RUNS } pull_state;
typedef struct pull_source {
    peer *peer; /* NULL: none */
    uint32_t outstanding;
    bool is_complete; /* it is said to have all of it */
} pull_source;
typedef struct sharing {
    job job;
    wait_node node;
    struct pull *pull; /* NULL: it has ended */
    future *ready;
    manta_ref other; /* a count */
} sharing;
typedef struct pull {
    blocked blocked;            /* the wait for room */
    struct pull *next;          /* in its queue */
    struct pull *newer, *older; /* in the list of all */
    import *import;
    pull_state state;
    bool asks, is_admitted, has_room; /* asks: of the origin, and was not answered */
    bool is_alone;                    /* is not to be shared */
    sharing *sharing;
    uint64_t size, chunks, arrived, scan, avoid;
    uint32_t refusals;
    unsigned char *data;
    void *small;          /* bytes of a small one that waits for room */
    unsigned char *marks; /* by chunk: 0 missing, source + 1, HERE */
    pull_source sources[SOURCES_LIMIT];
    manta_ref *inside; /* a count each */
    uint32_t n_inside;
    flight *release;
    manta_status room_status;
    char room_text[256];
} pull;

static pull *queues[NEEDS], *newest;
static uint64_t admitted_bytes, limit_bytes = PULL_BYTES_DEFAULT;
_Atomic uint64_t pulled_bytes;

static void admit_some(worker *w);

/* ---- the end ---- */

static void leave_queue(pull *gone)
{
    for (int q = 0; q < NEEDS; q++)
        for (pull **at = &queues[q]; *at; at = &(*at)->next)
            if (*at == gone) {
                *at = gone->next;
                return;
            }
}

static void sharing_free(worker *w, sharing *s)
{
    future_free(w, s->ready);
    (void)the_objects->count(w, s->other, -1, false);
    base_free(s);
}

static void leave_sharing(worker *w, pull *p)
{
    sharing *s = p->sharing;
    if (!s) return;
    p->sharing = NULL;
    s->pull = NULL;
    if (the_objects->unsubscribe(s->other, s->ready)) sharing_free(w, s); /* else it is in the queue, or will be */
}

static void pull_free(worker *w, pull *p)
{
    leave_sharing(w, p);
    for (uint32_t i = 0; i < p->n_inside; i++) (void)the_objects->count(w, p->inside[i], -1, false);
    if (p->is_admitted) admitted_bytes -= p->size;
    p->import->pull = NULL;
    if (p->newer) p->newer->older = p->older;
    else newest = p->older;
    if (p->older) p->older->newer = p->newer;
    base_free(p->inside);
    base_free(p->marks);
    base_free(p->small);
    base_free(p);
}

void pull_drop(worker *w, import *i)
{
    pull *p = i->pull;
    if (!p) return;
    if (p->state == PULL_QUEUED) leave_queue(p);
    if (p->has_room) the_objects->unprepare(i->local);
    if (p->release) p->release->release = 0;
    flight_landed(p->release);
    pull_free(w, p);
}

void pull_limit(uint64_t bytes) { limit_bytes = bytes ? bytes : PULL_BYTES_DEFAULT; }

/* The replica becomes the error. */
static void lose(worker *w, pull *p, manta_status status, const char *text)
{
    import_end(w, p->import, error_new(status, NULL, "%s", text));
    serve_more(w); /* those who were fed from it are told */
    admit_some(w);
}

static void lose_for_good(worker *w, pull *p)
{
    const object_name *n = &p->import->name;
    char text[256];
    if (import_recover(w, p->import)) {
        serve_more(w);
        admit_some(w);
        return;
    }
    snprintf(text, sizeof text, "object %016llx-%llu is lost: process %016llx cannot be reached, and no copy is known",
        (unsigned long long)n->root.id[0], (unsigned long long)n->root.id[1], (unsigned long long)n->process);
    lose(w, p, MANTA_EOBJECTLOST, text);
}

static void finish(worker *w, pull *p)
{
    import *i = p->import;
    flight *release = p->release;
    if (the_objects->finish(w, i->local, (object_refs){p->inside, p->n_inside})) {
        lose(w, p, manta_last_error()->status, manta_last_error()->message);
        return;
    }
    pull_free(w, p);
    import_complete(w, i, release);
    serve_more(w);
    admit_some(w);
}

/* ---- sharing ---- */

/* From whatever thread completes the object, which may have locks: only queues. */
static void wake(worker *w, wait_node *node)
{
    sharing *s = (sharing *)(void *)((unsigned char *)node - offsetof(sharing, node));
    (void)w;
    job_post(&s->job);
}

static bool wait_for_other(worker *w, pull *p, manta_ref other)
{
    sharing *s = base_calloc(1, sizeof *s);
    future *ready = s ? future_new(w) : NULL;
    if (ready) {
        *s = (sharing){.job = {.kind = JOB_SHARED_READY, .owner = s}, .node = {wake}, .pull = p, .ready = ready, .other = other};
        store_relaxed(&ready->state, (uintptr_t)&s->node | FUTURE_NODE);
        p->sharing = s;
        p->state = PULL_SHARES;
        if (the_objects->subscribe(w, other, ready) == MANTA_OK) return true;
        p->sharing = NULL;
        future_free(w, ready);
    }
    base_free(s);
    return false;
}

static bool is_shared(worker *w, pull *p)
{
    manta_ref other;
    const import *i = p->import;
    if (!the_objects->share || p->is_alone || the_objects->share(i->local, i->name.root, &other) != MANTA_EEXIST) return false;
    if (wait_for_other(w, p, other)) return true;
    (void)the_objects->count(w, other, -1, false);
    return false;
}

/* ---- asking ---- */

static void ask(worker *w, pull *p)
{
    const import *i = p->import;
    peer *origin = peer_get(i->name.process, true);
    locate_payload what = {.is_admitted = p->is_admitted, .is_direct = p->refusals >= DETOURS, .avoid = p->avoid};
    wire_head h = {.kind = WIRE_LOCATE, .call = i->number};
    p->asks = true;
    if (!origin || peer_send(origin, &h, &what, sizeof what, false)) lose_for_good(w, p);
}

static void admit(worker *w, pull *p)
{
    p->is_admitted = true;
    admitted_bytes += p->size;
    p->state = PULL_JOINS;
    ask(w, p);
}

static void admit_some(worker *w)
{
    for (int q = 0; q < NEEDS; q++)
        for (pull *p; (p = queues[q]);) {
            if (admitted_bytes && p->size > limit_bytes - (admitted_bytes < limit_bytes ? admitted_bytes : limit_bytes)) return;
            queues[q] = p->next;
            admit(w, p);
        }
}

static void enqueue(worker *w, pull *p)
{
    if (is_shared(w, p)) return;
    need why = load_relaxed(&p->import->why);
    pull **at = &queues[why < NEEDS ? why : NEEDS - 1];
    p->state = PULL_QUEUED;
    while (*at) at = &(*at)->next;
    p->next = NULL;
    *at = p;
    admit_some(w);
}

void pull_shared_ready(worker *w, void *sharing_)
{
    sharing *s = sharing_;
    pull *p = s->pull;
    manta_status status = p ? the_objects->alias(p->import->local, s->other) : MANTA_OK;
    sharing_free(w, s);
    if (!p) return;
    p->sharing = NULL;
    if (status) {
        p->is_alone = status != MANTA_EFAILED && status != MANTA_ESTALE;
        enqueue(w, p);
        return;
    }
    import *i = p->import;
    flight *release = p->release;
    pull_free(w, p);
    import_complete(w, i, release);
    serve_more(w);
}

static pull *pull_new(import *i)
{
    pull *p = base_calloc(1, sizeof *p);
    peer *origin = peer_get(i->name.process, true);
    if (p) p->release = origin ? flight_new(origin, 0, i->number) : NULL;
    if (p && p->release) return p;
    base_free(p);
    return NULL;
}

/* For one that is being pulled: it may have become more urgent. */
static void hurry(worker *w, pull *p)
{
    if (p->state != PULL_QUEUED) return;
    leave_queue(p);
    enqueue(w, p);
}

void pull_need(worker *w, import *i)
{
    if (!i || import_rebuild(w, i)) return;
    if (i->pull) {
        hurry(w, i->pull);
        return;
    }
    pull *p = pull_new(i);
    if (!p) return; /* the sweep tries again */
    p->import = i;
    i->pull = p;
    p->older = newest;
    if (newest) newest->newer = p;
    newest = p;
    p->size = i->name.size;
    if (p->size != SIZE_UNKNOWN && p->size > SMALL_BYTES && p->size <= TRANSFER_LIMIT) enqueue(w, p);
    else ask(w, p);
}

/* ---- sources and chunks ---- */

static bool has_sources(const pull *p)
{
    for (int s = 0; s < SOURCES_LIMIT; s++)
        if (p->sources[s].peer) return true;
    return false;
}

static uint64_t next_missing(const pull *p, uint64_t from)
{
    while (from < p->chunks && p->marks[from]) from++;
    return from;
}

/* The next run of missing chunks is asked of that source; 0: there are none. */
static uint64_t ask_run(pull *p, int s)
{
    uint64_t first = next_missing(p, p->scan), n = 0;
    p->scan = first;
    while (n < BATCH && first + n < p->chunks && !p->marks[first + n]) p->marks[first + n++] = (unsigned char)(s + 1);
    fetch_payload what = {p->import->name.root, first, n};
    wire_head h = {.kind = WIRE_FETCH, .call = p->import->number, .status = p->sources[s].is_complete};
    if (!n) return 0;
    p->sources[s].outstanding += (uint32_t)n;
    return peer_send(p->sources[s].peer, &h, &what, sizeof what, false) ? 0 : n;
}

static void remove_source(pull *p, int s)
{
    p->avoid = p->sources[s].peer->process;
    p->sources[s] = (pull_source){.peer = NULL};
    p->scan = 0;
    for (uint64_t c = 0; c < p->chunks; c++)
        if (p->marks[c] == s + 1) p->marks[c] = 0;
}

static void fill_windows(worker *w, pull *p)
{
    for (int s = 0; s < SOURCES_LIMIT; s++)
        while (p->sources[s].peer && p->sources[s].outstanding + BATCH <= WINDOW) {
            if (next_missing(p, p->scan) == p->chunks) return;
            if (ask_run(p, s)) continue;
            remove_source(p, s);
            s = -1; /* the others take over what it had */
            break;
        }
    if (!has_sources(p) && p->arrived < p->chunks && !p->asks) ask(w, p);
}

static void take_sources(pull *p, const object_answer *a)
{
    for (uint32_t k = 0; k < a->head.n_sources; k++) {
        object_source source;
        memcpy(&source, a->sources + k * sizeof source, sizeof source);
        int s = 0;
        while (s < SOURCES_LIMIT && p->sources[s].peer) s++;
        if (s < SOURCES_LIMIT && source.process != the_node.process)
            p->sources[s] = (pull_source){.peer = peer_get(source.process, true), .is_complete = source.is_complete != 0};
    }
}

/* ---- room ---- */

static void run(worker *w, pull *p)
{
    p->has_room = true;
    p->state = PULL_RUNS;
    if (p->small) {
        memcpy(p->data, p->small, p->size);
        finish(w, p);
    } else fill_windows(w, p);
}

static void wait_for_room(blocked *b)
{
    pull *p = (pull *)(void *)b;
    p->room_status = the_objects->prepare(p->import->local, p->size, p->n_inside, true, (void **)&p->data);
    if (p->room_status) snprintf(p->room_text, sizeof p->room_text, "%s", manta_last_error()->message);
}

static void waited_for_room(worker *w, blocked *b)
{
    pull *p = (pull *)(void *)b;
    p->state = PULL_JOINS;
    if (p->room_status) lose(w, p, p->room_status, p->room_text);
    else run(w, p);
}

static void make_room(worker *w, pull *p, const void *small)
{
    manta_status status = the_objects->prepare(p->import->local, p->size, p->n_inside, false, (void **)&p->data);
    if (small && !(p->small = base_alloc(p->size + 1))) status = status ? status : MANTA_ENOMEM;
    if (small && p->small) memcpy(p->small, small, p->size);
    if (!status) run(w, p);
    else if (status == MANTA_ESTOREFULL && (!small || p->small)) {
        p->state = PULL_ROOM;
        p->blocked.run = wait_for_room;
        p->blocked.done = waited_for_room;
        blocked_start(&p->blocked);
    } else lose(w, p, status, manta_last_error()->message);
}

/* ---- answers ---- */

static manta_status take_inside(worker *w, pull *p, peer *from, const object_answer *a)
{
    if (!a->head.n_inside) return MANTA_OK;
    if (!(p->inside = base_alloc(a->head.n_inside * sizeof *p->inside)))
        return error_set(MANTA_ENOMEM, "no memory for the refs inside an object");
    while (p->n_inside < a->head.n_inside) {
        object_name name;
        memcpy(&name, a->inside + p->n_inside * sizeof name, sizeof name);
        if (!name.process || !name.at.id[0]) return error_set(MANTA_EDECODE, "an object names one that is none");
        manta_status status = import_take(w, &name, from, &p->release, &p->inside[p->n_inside]);
        if (status) return status;
        p->n_inside++;
    }
    return MANTA_OK;
}

static void begin(worker *w, pull *p, peer *from, const object_answer *a)
{
    p->size = a->head.size;
    p->chunks = a->head.kind == ANSWER_BYTES ? 0 : chunk_count(p->size);
    manta_status status = take_inside(w, p, from, a);
    if (!status && p->chunks && !(p->marks = base_calloc(p->chunks, 1)))
        status = error_set(MANTA_ENOMEM, "no memory for %zu chunks", (size_t)p->chunks);
    if (status) {
        lose(w, p, status, manta_last_error()->message);
        return;
    }
    if (p->chunks) keep_warm();
    take_sources(p, a);
    make_room(w, p, a->head.kind == ANSWER_BYTES ? a->bytes : NULL);
}

static const char *take_answer(worker *w, pull *p, peer *from, const object_answer *a)
{
    const answer_head *h = &a->head;
    bool is_small = h->size <= SMALL_BYTES;
    if (!p->asks) return "an answer about an object that was not asked for";
    if (is_small != (h->kind == ANSWER_BYTES) || (h->kind == ANSWER_SOURCES) != (p->is_admitted && !is_small) ||
        (p->is_admitted && h->size != p->size))
        return "an answer about an object that does not fit the question";
    p->asks = false;
    if (h->kind == ANSWER_SIZE) {
        p->size = h->size;
        enqueue(w, p);
    } else if (p->state == PULL_RUNS) {
        take_sources(p, a);
        fill_windows(w, p);
    } else begin(w, p, from, a);
    return NULL;
}

/* What the owner says of a loss, or who stands for it, is the last word, unless this process knows better. */
static bool may_recover(const import *i, const peer *from, manta_status s)
{
    bool is_loss = s == MANTA_ESTALE || s == MANTA_EOBJECTLOST;
    return is_loss && ((from->process != i->name.owner && !i->is_redirected) || lineage_is_known(i->name.root));
}

void pull_answer(worker *w, peer *from, const wire_head *h, const void *data, size_t bytes, const char **wrong)
{
    object_answer a;
    import *i = import_get(h->call);
    pull *p = i && i->name.process == from->process ? i->pull : NULL;
    if (h->status) {
        if (p && (!may_recover(i, from, (manta_status)h->status) || !import_recover(w, i)))
            import_end(w, i, unpack_error(data, bytes, (manta_status)h->status));
        serve_more(w);
        admit_some(w);
        return;
    }
    *wrong = answer_read(data, bytes, &a);
    if (!*wrong && p) *wrong = take_answer(w, p, from, &a);
}

static int source_of(const pull *p, const peer *from)
{
    for (int s = 0; s < SOURCES_LIMIT; s++)
        if (p->sources[s].peer == from) return s;
    return -1;
}

const char *pull_chunk(worker *w, peer *from, const wire_head *h, const void *data, size_t bytes)
{
    import *i = import_get(h->call);
    pull *p = i ? i->pull : NULL;
    if (!p || p->state != PULL_RUNS) return NULL; /* it has ended meanwhile */
    int s = source_of(p, from);
    if (s < 0) return NULL; /* of one that was given up */
    if (h->method >= p->chunks || p->marks[h->method] != s + 1) return "a chunk of an object that was not asked for";
    if (bytes != chunk_bytes(p->size, h->method)) return "a chunk of an object with a wrong length";
    memcpy(p->data + h->method * CHUNK_SIZE, data, bytes);
    p->marks[h->method] = HERE;
    p->sources[s].outstanding--;
    p->refusals = 0;
    add_relaxed(&pulled_bytes, bytes);
    if (++p->arrived == p->chunks) finish(w, p);
    else {
        fill_windows(w, p);
        serve_more(w);
    }
    return NULL;
}

static void without_source(worker *w, pull *p, int s)
{
    remove_source(p, s);
    if (++p->refusals > REFUSALS_LIMIT) lose_for_good(w, p);
    else if (p->state == PULL_RUNS) fill_windows(w, p);
}

void pull_refused(worker *w, peer *from, const wire_head *h)
{
    import *i = import_get(h->call);
    pull *p = i ? i->pull : NULL;
    int s = p ? source_of(p, from) : -1;
    if (s >= 0) without_source(w, p, s);
}

void pulls_peer_down(worker *w, peer *gone)
{
    for (pull *p = newest; p;) {
        int s = source_of(p, gone);
        pull *next = p->older;
        if (s >= 0) {
            without_source(w, p, s); /* others may end with it */
            next = newest;
        }
        p = next;
    }
}

/* ---- for others ---- */

const unsigned char *pull_chunk_at(const import *i, uint64_t index, uint64_t *out_size)
{
    const pull *p = i->pull;
    if (!p || p->state != PULL_RUNS || index >= p->chunks || p->marks[index] != HERE) return NULL;
    *out_size = p->size;
    return p->data + index * CHUNK_SIZE;
}

bool pull_is_running(const import *i)
{
    const pull *p = i->pull;
    return p && (p->state == PULL_ROOM || p->state == PULL_SHARES || (p->state == PULL_RUNS && has_sources(p)));
}
