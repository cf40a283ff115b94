/*
 * What leaves for another process: packing, introductions, and the send itself.
 *
 * A receiver must be able to reach every process that a handle in a message names, so the address of one that it has not been told of goes ahead of the message.
 */
#include <string.h>

#include "actor/node/node.h"
#include "actor/node/simulation.h"

enum { NOTED = 32, WAITING_BYTES = 64 << 20, CAUSES = 8, ERROR_TEXTS = 4096, NAMES_LIMIT = 4096 };

typedef struct packer { /* of a thread */
    manta_writer writer;
    peer *target;
    uint64_t noted[NOTED];
    int n_noted;
} packer;

static packer *packer_self(void)
{
    worker *w = worker_self();
    return w && w->user ? local_of(w)->packer : NULL;
}

manta_writer *pack_begin(peer *p)
{
    local *l = local_of(worker_self());
    packer *k = l->packer;
    if (!k) {
        if (!(k = base_calloc(1, sizeof *k))) return NULL;
        manta_writer_init_growing(&k->writer);
        l->packer = k;
    }
    manta_writer_reset(&k->writer);
    k->target = p;
    k->n_noted = 0;
    return &k->writer;
}

void packer_free(struct packer *k)
{
    if (!k) return;
    manta_writer_fini(&k->writer);
    base_free(k);
}

static bool is_noted(const packer *k, uint64_t process)
{
    for (int i = 0; i < k->n_noted; i++)
        if (k->noted[i] == process) return true;
    return false;
}

void pack_note_process(uint64_t process)
{
    packer *k = packer_self();
    if (!k || !k->target || process == k->target->process || is_noted(k, process)) return;
    if (k->n_noted < NOTED) k->noted[k->n_noted++] = process;
    else manta_writer_fail(&k->writer, MANTA_ETOOLONG); /* handles from more processes than this in one message */
}

void peer_introduce(peer *to, uint64_t process)
{
    peer *who = peer_get(process, false);
    if (!who || !who->address[0]) return;
    pthread_mutex_lock(&to->lock);
    bool known = id_table_get(&to->introduced, process) || !id_table_put(&to->introduced, process, who);
    pthread_mutex_unlock(&to->lock);
    if (known) return;
    wire_head h = {.kind = WIRE_INTRODUCE, .from = process};
    (void)peer_send(to, &h, who->address, strlen(who->address), false);
}

peer *pack_target(const manta_writer *w)
{
    const packer *k = packer_self();
    return k && w == &k->writer ? k->target : NULL;
}

bool pack_end(manta_writer *w, manta_status *out_status)
{
    packer *k = packer_self();
    peer *p = k->target;
    k->target = NULL;
    *out_status = w->status;
    if (w->status) return false;
    for (int i = 0; i < k->n_noted; i++) peer_introduce(p, k->noted[i]);
    return true;
}

/* ---- sending ---- */

/* Under the lock: kept until the peer is up, or has room. */
static manta_status keep(peer *p, const wire_head *h, const void *data, size_t bytes)
{
    waiting *x = p->waiting_bytes + bytes > WAITING_BYTES ? NULL : base_alloc(sizeof *x + sizeof *h + bytes);
    if (!x) return MANTA_ELIMIT;
    *x = (waiting){.bytes = sizeof *h + bytes};
    memcpy(x->data, h, sizeof *h);
    if (bytes) memcpy(x->data + sizeof *h, data, bytes);
    if (p->last) p->last->next = x;
    else p->first = x;
    p->last = x;
    p->waiting_bytes += x->bytes;
    return MANTA_OK;
}

/* Under the lock. What is kept goes first, so nothing overtakes. */
static manta_status hand_over(peer *p, const wire_head *h, const void *data, size_t bytes, bool at_once)
{
    if (p->first) return at_once ? keep(p, h, data, bytes) : MANTA_ELIMIT;
    manta_status status = link_send(the_node.links, p->process, h, sizeof *h, (void *)(uintptr_t)data, bytes, NULL, NULL);
    if (status == MANTA_ELIMIT && at_once) return keep(p, h, data, bytes);
    return status == MANTA_ENOTFOUND || status == MANTA_ESHUTDOWN ? MANTA_EUNKNOWN : status;
}

void peer_flush(peer *p)
{
    while (p->first) {
        waiting *x = p->first;
        if (link_send(the_node.links, p->process, x->data, x->bytes, NULL, 0, NULL, NULL) == MANTA_ELIMIT) return;
        p->first = x->next;
        if (!p->first) p->last = NULL;
        p->waiting_bytes -= x->bytes;
        base_free(x);
    }
}

static bool add_sender(peer *p, future *room)
{
    waiting *x = room ? base_alloc(sizeof *x) : NULL;
    if (!x) return false;
    *x = (waiting){.next = p->senders, .room = room};
    p->senders = x;
    return true;
}

static manta_status try_send(peer *p, const wire_head *h, const void *data, size_t bytes, bool at_once, future *room)
{
    pthread_mutex_lock(&p->lock);
    manta_status status = p->state == PEER_DOWN         ? MANTA_EUNKNOWN
                          : p->state == PEER_CONNECTING ? keep(p, h, data, bytes)
                                                        : hand_over(p, h, data, bytes, at_once);
    if (status == MANTA_ELIMIT && room && !add_sender(p, room)) status = MANTA_ENOMEM;
    p->sent += status == MANTA_OK;
    pthread_mutex_unlock(&p->lock);
    return status;
}

/* Of the handler that sends, if it is simulated. */
static uint64_t simulated_hold_ns(void)
{
    bool may_be = the_simulation.net && activation_self()->actor;
    return may_be ? the_simulation.hold_ns(the_simulation.context) : 0;
}

static manta_status be_held(uint64_t ns)
{
    future *never = future_new(worker_self());
    if (!never) return MANTA_ENOMEM;
    manta_status status = event_await(never, pool_now_ns() + ns, "room on a link");
    future_drop(worker_self(), never);
    return status == MANTA_ETIMEDOUT ? MANTA_ELIMIT : status;
}

/* The bytes are the thread's, which others use while this handler waits. */
static manta_status send_when_room(peer *p, const wire_head *h, const void *data, size_t bytes, uint64_t hold_ns)
{
    void *copy = base_alloc(bytes + 1);
    manta_status status = copy ? MANTA_ELIMIT : MANTA_ENOMEM;
    if (copy && bytes) memcpy(copy, data, bytes);
    if (copy && hold_ns) status = be_held(hold_ns);
    while (status == MANTA_ELIMIT) {
        future *room = future_new(worker_self());
        status = try_send(p, h, copy, bytes, false, room);
        if (status == MANTA_ELIMIT) {
            manta_status waited = event_await(room, OS_FOREVER, "room on a link");
            future_drop(worker_self(), room);
            if (waited) status = waited;
        } else if (room) future_free(worker_self(), room);
    }
    base_free(copy);
    return status;
}

void peer_wake_senders(worker *w, peer *p)
{
    pthread_mutex_lock(&p->lock);
    waiting *all = p->senders;
    p->senders = NULL;
    pthread_mutex_unlock(&p->lock);
    while (all) {
        waiting *next = all->next;
        future_complete(w, all->room, NULL, NULL, 0);
        base_free(all);
        all = next;
    }
}

bool peer_wait(peer *p, bool (*is_over)(const peer *p), const char *why)
{
    for (;;) {
        future *f = future_new(worker_self());
        pthread_mutex_lock(&p->lock);
        bool over = is_over(p), listed = !over && add_sender(p, f);
        pthread_mutex_unlock(&p->lock);
        manta_status status = listed ? event_await(f, OS_FOREVER, why) : MANTA_OK;
        if (listed) future_drop(worker_self(), f);
        else if (f) future_free(worker_self(), f);
        if (!listed || status) return over;
    }
}

manta_status peer_send(peer *p, const wire_head *h, const void *data, size_t bytes, bool may_wait)
{
    uint64_t hold_ns = may_wait ? simulated_hold_ns() : 0;
    manta_status status = hold_ns ? MANTA_ELIMIT : try_send(p, h, data, bytes, !may_wait, NULL);
    return status == MANTA_ELIMIT && may_wait ? send_when_room(p, h, data, bytes, hold_ns) : status;
}

void peer_say(peer *p, const wire_head *h, const void *data, size_t bytes)
{
    manta_status status = peer_send(p, h, data, bytes, false);
    if (status && status != MANTA_EUNKNOWN) link_drop(the_node.links, p->process, status);
}

/* ---- errors: [status, message, class, method, actor, node, cause or nil] ---- */

static void pack_text(manta_writer *w, const char *text)
{
    manta_str s = manta_str_of(text ? text : "");
    manta_pack_manta_str(w, &s);
}

static void pack_error_at(manta_writer *w, const manta_error *e, int depth)
{
    int32_t status = (int32_t)e->status;
    manta_pack_array(w, 7);
    manta_pack_int32_t(w, &status);
    pack_text(w, e->message);
    pack_text(w, e->class_name);
    pack_text(w, e->method);
    manta_pack_manta_actor(w, &e->actor);
    pack_text(w, e->node);
    if (e->cause && depth < CAUSES) pack_error_at(w, e->cause, depth + 1);
    else manta_pack_nil(w);
}

void pack_error(manta_writer *w, const manta_error *error) { pack_error_at(w, error, 1); }

/* Names of classes, methods and nodes are expected to last: they are kept, up to a limit that only a hostile peer would reach. */
static const char *keep_name(manta_reader *r)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    static string_table names;
    manta_str s = {NULL, 0};
    char text[NAME_LIMIT + 1];
    manta_unpack_manta_str(r, &s);
    if (r->status || !s.size || s.size > NAME_LIMIT) return "";
    memcpy(text, s.data, s.size);
    text[s.size] = 0;
    pthread_mutex_lock(&lock);
    char *kept = string_table_get(&names, text);
    if (!kept && names.count < NAMES_LIMIT && (kept = base_strdup(text)) && !string_table_put(&names, text, kept)) {
        base_free(kept);
        kept = NULL;
    }
    pthread_mutex_unlock(&lock);
    return kept ? kept : "";
}

typedef struct unpacked {
    manta_error error[CAUSES];
    char texts[ERROR_TEXTS];
    size_t used;
} unpacked;

static const char *unpack_text(manta_reader *r, unpacked *u)
{
    manta_str s = {NULL, 0};
    manta_unpack_manta_str(r, &s);
    size_t room = sizeof u->texts - u->used, n = s.size < room - 1 ? s.size : room - 1;
    if (r->status || room <= 1) return "";
    char *to = u->texts + u->used;
    memcpy(to, s.data, n);
    to[n] = 0;
    u->used += n + 1;
    return to;
}

static void unpack_error_at(manta_reader *r, unpacked *u, int i)
{
    manta_error *e = &u->error[i];
    int32_t status = 0;
    manta_unpack_tuple(r, 7, "an error");
    manta_unpack_int32_t(r, &status);
    e->message = unpack_text(r, u);
    e->class_name = keep_name(r);
    e->method = keep_name(r);
    manta_unpack_manta_actor(r, &e->actor);
    e->node = keep_name(r);
    e->cause = NULL;
    e->status = status > 0 ? (manta_status)status : MANTA_EFAILED;
    if (r->status || manta_peek_kind(r) == MANTA_KIND_NIL || i + 1 >= CAUSES) return;
    unpack_error_at(r, u, i + 1);
    if (!r->status) e->cause = &u->error[i + 1];
}

manta_error *unpack_error(const void *data, size_t bytes, manta_status status)
{
    manta_reader r;
    unpacked *u = base_calloc(1, sizeof *u);
    manta_reader_init(&r, data, bytes);
    if (u) unpack_error_at(&r, u, 0);
    bool ok = u && u->error[0].message && !(r.status && !u->error[0].message[0]);
    manta_error *e = ok ? error_copy(&u->error[0])
                        : error_new(status ? status : MANTA_EDECODE, NULL, "an error of another process that could not be read");
    base_free(u);
    return e;
}
