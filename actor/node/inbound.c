/*
 * Messages that arrive: checked, unpacked, and posted like local ones. All of this runs on the link's thread, which must not wait: bounded mailboxes that would suspend take one more.
 *
 * Bytes that break the format of a message's head mean that the peer is broken: the link is dropped with the reason. Arguments that do not unpack are the sender's error: its call fails
 * with MANTA_EDECODE and says where.
 */
#include <stdio.h>
#include <string.h>

#include "actor/node/groups.h"
#include "actor/node/owner.h"
#include "actor/transfer/transfer.h"

typedef struct inbound { /* a call of a peer, while it runs here */
    wait_node node;
    peer *peer;
    future *future;
    uint64_t call;
    manta_status exit_status; /* of a watch */
    bool is_watch;
    uint32_t room;         /* of a generator: values that its reader lets wait */
    struct stream *stream; /* while it runs */
} inbound;

/* ---- answers ---- */

static void reply_error(peer *p, uint64_t call, manta_error *error)
{
    manta_status status = error->status;
    manta_writer *w = pack_begin(p);
    if (w) pack_error(w, error);
    bool packed = w && pack_end(w, &status);
    wire_head h = {.kind = WIRE_REPLY, .call = call, .status = (uint32_t)(error->status ? error->status : MANTA_EFAILED)};
    if (call) peer_say(p, &h, packed ? w->start : NULL, packed ? manta_writer_size(w) : 0);
    error_free(error);
}

static bool holds_refs(const future *f) { return f->kind == VALUE_BLOCK && f->large.has_refs; }

/* number: of the borrowed result, when it holds refs. */
static void reply_value(peer *p, uint64_t call, const future *f, uint64_t number)
{
    const manta_layout *layout = &f->method->result;
    const void *value = f->kind == VALUE_BLOCK ? (const void *)f->large.memory->bytes : f->bytes;
    manta_status status = MANTA_OK;
    if (holds_refs(f) && !number) {
        reply_error(p, call, error_new(MANTA_ENOMEM, NULL, "%s.%s: no memory to keep the objects", f->method->owner, f->method->name));
        return;
    }
    manta_writer *w = pack_begin(p);
    if (w && layout->size && layout->pack && !f->method->is_generator) layout->pack(w, value);
    else if (w) manta_pack_nil(w);
    if (!w || !pack_end(w, &status)) {
        reply_error(
            p, call, error_new(w ? status : MANTA_ENOMEM, NULL, "%s.%s: the result cannot be packed", f->method->owner, f->method->name));
        return;
    }
    wire_head h = {.kind = WIRE_REPLY, .call = call, .borrow = number};
    peer_say(p, &h, w->start, manta_writer_size(w));
}

static void reply_watch(peer *p, uint64_t call, const future *f)
{
    int32_t status = MANTA_EDEAD;
    if (f->kind == VALUE_INLINE && f->size == sizeof status) memcpy(&status, f->bytes, sizeof status);
    manta_writer *w = pack_begin(p);
    if (!w) return;
    manta_pack_int32_t(w, &status);
    manta_status packed;
    wire_head h = {.kind = WIRE_REPLY, .call = call};
    if (pack_end(w, &packed)) peer_say(p, &h, w->start, manta_writer_size(w));
}

static void answered(worker *w, wait_node *node)
{
    inbound *in = (inbound *)(void *)node;
    peer *p = in->peer;
    future *f = in->future;
    pthread_mutex_lock(&p->lock);
    bool wanted = id_table_remove(&p->serving, in->call) != NULL && p->state == PEER_UP;
    pthread_mutex_unlock(&p->lock);
    uint64_t number = wanted && !in->is_watch && holds_refs(f) ? borrow(p, (borrowed){.result = f}) : 0;
    if (wanted && in->is_watch) reply_watch(p, in->call, f);
    else if (wanted && f->kind == VALUE_ERROR) reply_error(p, in->call, error_copy(f->error));
    else if (wanted) reply_value(p, in->call, f, number);
    if (!number) result_free(w, f);
    base_free(in);
}

/* The future that a call of the peer completes; NULL: no memory. */
static future *serve(worker *w, peer *p, uint64_t call, const manta_method *method)
{
    inbound *in = base_calloc(1, sizeof *in);
    future *f = in ? future_new(w) : NULL;
    if (f) {
        *in = (inbound){.node = {answered}, .peer = p, .future = f, .call = call, .is_watch = !method};
        pthread_mutex_lock(&p->lock);
        bool ok = !id_table_get(&p->serving, call) && id_table_put(&p->serving, call, in);
        pthread_mutex_unlock(&p->lock);
        f->method = method;
        store_relaxed(&f->state, (uintptr_t)&in->node | FUTURE_NODE);
        if (ok) return f;
        future_free(w, f);
    }
    base_free(in);
    return NULL;
}

void serve_cancel_all(worker *w, peer *p)
{
    (void)w;
    size_t cursor = 0;
    pthread_mutex_lock(&p->lock);
    for (inbound *in; (in = id_table_next(&p->serving, &cursor, NULL));) (void)manta_cancel(future_handle(in->future));
    pthread_mutex_unlock(&p->lock);
}

static void cancel_one(worker *w, peer *p, uint64_t call)
{
    pthread_mutex_lock(&p->lock);
    inbound *in = id_table_get(&p->serving, call);
    if (in) (void)manta_cancel(future_handle(in->future));
    message *m = in ? gate_take(in->future) : NULL;
    pthread_mutex_unlock(&p->lock);
    future *f = m ? m->reply : NULL;
    if (!f) return;
    m->reply = NULL;
    message_discard(w, m);
    future_fail_status(w, f, MANTA_ECANCELLED, "cancelled before it ran");
}

/* ---- generators ---- */

static inbound *inbound_of(const message *m)
{
    future *f = m->reply;
    inbound *in = f ? (inbound *)(void *)(load_relaxed(&f->state) & ~(uintptr_t)3) : NULL;
    return in && in->node.wake == answered ? in : NULL;
}

struct stream *inbound_generator(const message *m)
{
    inbound *in = inbound_of(m);
    if (!in) return NULL;
    struct stream *s = stream_outgoing(m->method, in->peer, in->call, in->room);
    pthread_mutex_lock(&in->peer->lock);
    in->stream = s;
    pthread_mutex_unlock(&in->peer->lock);
    return s;
}

void inbound_generator_ends(const message *m)
{
    inbound *in = inbound_of(m);
    if (!in) return;
    pthread_mutex_lock(&in->peer->lock);
    in->stream = NULL;
    pthread_mutex_unlock(&in->peer->lock);
}

static void credit(worker *w, peer *p, const wire_head *h)
{
    pthread_mutex_lock(&p->lock);
    inbound *in = id_table_get(&p->serving, h->call);
    if (in && in->stream) stream_credit(w, in->stream, h->to < UINT32_MAX ? (uint32_t)h->to : UINT32_MAX);
    pthread_mutex_unlock(&p->lock);
}

/* ---- leased tasks that have not begun go back to who sent them ---- */

static bool is_from(const message *m, void *context)
{
    const inbound *in = inbound_of(m);
    return in && in->peer == context && !((const manta_method *)m->method)->arguments.refs;
}

static void give_back(worker *w, peer *p, message *m)
{
    future *f = m->reply;
    inbound *in = (inbound *)(void *)(load_relaxed(&f->state) & ~(uintptr_t)3);
    const manta_method *method = m->method;
    manta_status status;
    manta_writer *out = pack_begin(p);
    if (out) method->arguments.pack(out, message_payload(m));
    pthread_mutex_lock(&p->lock);
    (void)id_table_remove(&p->serving, in->call);
    pthread_mutex_unlock(&p->lock);
    wire_head h = {.kind = WIRE_RETURNED, .call = in->call, .method = method_hash(method)};
    if (out && pack_end(out, &status)) (void)peer_send(p, &h, out->start, manta_writer_size(out), false);
    message_free(w, m);
    future_free(w, f);
    base_free(in);
}

/* ---- calls and tasks ---- */

typedef struct arrival {
    worker *w;
    peer *peer;
    const wire_head *head;
    const void *data;
    size_t bytes;
    link_frame *frame;
} arrival;

/* Where a struct is unpacked: most are small. */
typedef struct unpacked {
    _Alignas(16) unsigned char small[512];
    void *large;
} unpacked;

/* A struct out of MessagePack; NULL: *out_error says why. base_free(u->large) in any case. */
static void *unpack(
    unpacked *u, const manta_layout *layout, const manta_method *method, const void *data, size_t bytes, manta_error **out_error)
{
    size_t room = (layout->size + 31) & ~(size_t)15;
    u->large = room > sizeof u->small ? base_aligned_alloc(16, room) : NULL;
    void *value = room > sizeof u->small ? u->large : u->small;
    if (!value) {
        *out_error = error_new(MANTA_ENOMEM, NULL, "%s.%s: no memory", method->owner, method->name);
        return NULL;
    }
    memset(value, 0, layout->size);
    manta_reader r;
    char text[256] = "bytes follow";
    manta_reader_init(&r, data, bytes);
    layout->unpack(&r, value);
    if (!r.status && r.at == r.end) return value;
    if (r.status) manta_reader_explain(&r, text, sizeof text);
    *out_error = error_new(MANTA_EDECODE, NULL, "%s.%s: %s", method->owner, method->name, text);
    return NULL;
}

static message *make_message(const arrival *a, const manta_method *method, manta_error **out_error)
{
    unpacked u;
    void *arguments = unpack(&u, &method->arguments, method, a->data, a->bytes, out_error);
    message *m = arguments ? message_make(a->w, method, arguments, method->arguments.extra ? method->arguments.extra(arguments) : 0) : NULL;
    base_free(u.large);
    if (!arguments) return NULL;
    if (m) m->from = a->head->from ? proxy_of(a->peer->process, a->head->from) : 0;
    else *out_error = error_new(MANTA_ENOMEM, NULL, "%s.%s: no memory", method->owner, method->name);
    return m;
}

void inbound_post(worker *w, peer *p, const wire_head *h, uint64_t to, const manta_method *method, const void *data, size_t bytes)
{
    arrival a = {w, p, h, data, bytes, NULL};
    manta_error *error = NULL;
    message *m = make_message(&a, method, &error);
    if (m) message_post_at_once(w, to, m);
    else error_free(error);
}

static void run_call(const arrival *a, const manta_method *method, message *m)
{
    uint64_t to = a->head->to || a->head->kind == WIRE_LEASED ? a->head->to : the_node.service;
    if (a->head->kind == WIRE_LEASED) {
        m->generation = (uint32_t)to;
        if (method->is_generator && m->reply) inbound_of(m)->room = a->head->status;
        gate_push(a->w, m);
        return;
    }
    if (a->head->kind != WIRE_TASK) {
        if (m->reply) store_relaxed(&((future *)m->reply)->target, to);
        message_post_at_once(a->w, to, m);
        return;
    }
    if (task_spawn(a->w, m, MANTA_PRIORITY_NORMAL, NULL)) return;
    future *f = m->reply;
    m->reply = NULL;
    message_discard(a->w, m);
    if (f) future_fail_status(a->w, f, MANTA_ELIMIT, "%s: no slot for another task", method->name);
}

/* method NULL: *error says why. */
static void begin_call(const arrival *a, const manta_method *method, manta_error *error)
{
    const wire_head *h = a->head;
    message *m = NULL;
    arrival_begin(a->peer);
    if (method && (m = make_message(a, method, &error)) && h->call && !(m->reply = serve(a->w, a->peer, h->call, method))) {
        error = error_new(MANTA_ENOMEM, NULL, "%s.%s: no memory", method->owner, method->name);
        message_discard(a->w, m);
        m = NULL;
    }
    arrival_end(a->w, a->head->borrow);
    if (m) run_call(a, method, m);
    else reply_error(a->peer, h->call, error);
}

static void take_call(const arrival *a)
{
    const manta_method *method = method_find(a->head->method);
    bool fits = method && (a->head->kind != WIRE_CALL) == !method->cls;
    begin_call(a, fits ? method : NULL,
        fits ? NULL
             : error_new(
                   MANTA_ENOMETHOD, NULL, "process %016llx has no such method: the programs differ", (unsigned long long)the_node.process));
}

static void recall(const arrival *a)
{
    for (message *m; (m = gate_take_of(is_from, a->peer));) give_back(a->w, a->peer, m);
}

/* One of our own tasks, which a worker has not begun. */
static void take_returned(const arrival *a)
{
    const manta_method *method = method_find(a->head->method);
    pthread_mutex_lock(&a->peer->lock);
    future *f = id_table_get(&a->peer->calls, a->head->call);
    bool ours = f && f->packed == FUTURE_LEASED && f->method == method;
    if (ours) (void)id_table_remove(&a->peer->calls, a->head->call);
    pthread_mutex_unlock(&a->peer->lock);
    manta_error *error = NULL;
    message *m = ours ? make_message(a, method, &error) : NULL;
    if (ours) sub_seq(&a->peer->under_way, 1);
    if (m) {
        m->reply = f;
        m->from = 0;
        owner_returned(a->w, f, m);
    } else if (ours) {
        owner_done(a->w, f);
        future_fail(a->w, f, error);
    }
}

static void take_named(const arrival *a)
{
    manta_reader r;
    manta_str s = {NULL, 0};
    char name[NAME_LIMIT + 1] = "";
    manta_reader_init(&r, a->data, a->bytes);
    manta_unpack_manta_str(&r, &s);
    if (!r.status && s.size <= NAME_LIMIT && s.size) memcpy(name, s.data, s.size);
    const manta_method *method = method_named((manta_actor){a->head->to ? a->head->to : the_node.service}, name);
    arrival rest = *a;
    rest.data = r.at;
    rest.bytes = manta_reader_left(&r);
    begin_call(&rest, method, method ? NULL : error_new(manta_last_error()->status, NULL, "%s", manta_last_error()->message));
}

/* ---- replies ---- */

static void take_raw(const arrival *a, future *f)
{
    block *b = block_new(sizeof(manta_bytes) + a->bytes);
    if (!b) {
        future_fail_status(a->w, f, MANTA_ENOMEM, "no memory for a result of %zu bytes", a->bytes);
        return;
    }
    memcpy(b->bytes + sizeof(manta_bytes), a->data, a->bytes);
    *(manta_bytes *)(void *)b->bytes = (manta_bytes){b->bytes + sizeof(manta_bytes), a->bytes};
    future_complete_block(a->w, f, b, sizeof(manta_bytes));
}

static void take_exit(const arrival *a, future *f)
{
    manta_reader r;
    int32_t status = MANTA_EDEAD;
    manta_reader_init(&r, a->data, a->bytes);
    manta_unpack_int32_t(&r, &status);
    complete_watch(a->w, f, r.status ? MANTA_EDEAD : (manta_status)status);
}

static void take_reply(const arrival *a)
{
    future *f = call_take(a->peer, a->head->call);
    const manta_layout *layout = f && f->method ? &f->method->result : NULL;
    manta_error *error = NULL;
    arrival_begin(a->peer);
    if (f && a->head->status) future_fail(a->w, f, unpack_error(a->data, a->bytes, (manta_status)a->head->status));
    else if (f && f->packed == FUTURE_PACKED) take_raw(a, f);
    else if (f && !f->method) take_exit(a, f);
    else if (f && (!layout->size || f->method->is_generator)) future_complete(a->w, f, NULL, NULL, 0);
    else if (f) {
        unpacked u;
        void *value = unpack(&u, layout, f->method, a->data, a->bytes, &error);
        if (value) future_complete(a->w, f, layout, value, layout->extra ? layout->extra(value) : 0);
        else future_fail(a->w, f, error);
        base_free(u.large);
    }
    arrival_end(a->w, a->head->borrow);
}

/* A value that does not unpack is the end of its generator. */
static void end_generator(const arrival *a, manta_error *error)
{
    future *f = call_take(a->peer, a->head->call);
    wire_head h = {.kind = WIRE_CANCEL, .call = a->head->call};
    (void)peer_send(a->peer, &h, NULL, 0, false);
    if (f) future_fail(a->w, f, error);
    else error_free(error);
}

/* Not NULL: what is wrong with the peer. */
static const char *take_value(const arrival *a, future *f, const manta_layout *layout)
{
    unpacked u;
    manta_error *error = NULL;
    void *value = unpack(&u, layout, f->method, a->data, a->bytes, &error);
    bool ok = !value || stream_arrived(a->w, f, a->head->call, value, layout->extra ? layout->extra(value) : 0);
    base_free(u.large);
    if (error) end_generator(a, error);
    return ok ? NULL : "a value that a generator may not send";
}

/* A value of a generator; not NULL: what is wrong with the peer. */
static const char *take_yield(const arrival *a)
{
    pthread_mutex_lock(&a->peer->lock);
    future *f = id_table_get(&a->peer->calls, a->head->call); /* only this thread takes it out */
    pthread_mutex_unlock(&a->peer->lock);
    const manta_layout *layout = f && f->method && f->method->is_generator ? &f->method->result : NULL;
    arrival_begin(a->peer);
    const char *wrong = layout ? take_value(a, f, layout) : f ? "a value for a call that is no generator's" : NULL;
    arrival_end(a->w, a->head->borrow);
    return wrong;
}

/* ---- signals ---- */

static void take_relation(const arrival *a)
{
    static const uint8_t kinds[WIRE_KINDS] = {[WIRE_LINK] = KIND_LINK,
        [WIRE_UNLINK] = KIND_UNLINK,
        [WIRE_EXIT] = KIND_EXIT,
        [WIRE_MONITOR] = KIND_MONITOR,
        [WIRE_DEMONITOR] = KIND_DEMONITOR,
        [WIRE_DOWN] = KIND_DOWN};
    const wire_head *h = a->head;
    char text[512];
    snprintf(text, sizeof text, "%.*s", (int)(a->bytes < sizeof text ? a->bytes : sizeof text - 1), (const char *)a->data);
    uint64_t who = proxy_of(a->peer->process, h->from);
    relation_record r = {.here = h->to, .there = who, .monitor = h->kind == WIRE_MONITOR ? h->call : 0};
    const manta_method *method = NULL;
    if (h->kind == WIRE_LINK || h->kind == WIRE_MONITOR) (void)relation_note(a->peer, r);
    if (h->kind == WIRE_UNLINK || h->kind == WIRE_EXIT) relation_forget(a->peer, h->to, who, 0, false);
    if (h->kind == WIRE_DEMONITOR) relation_forget(a->peer, h->to, who, h->call, false);
    if (h->kind == WIRE_DOWN) {
        if (!relation_take(a->peer, h->call, &r)) return;
        method = r.method;
    }
    relation_signal(a->w, kinds[h->kind], h->to, who, h->call, method, (manta_status)h->status,
        h->kind == WIRE_EXIT || h->kind == WIRE_DOWN ? text : NULL);
}

static void take_watch(const arrival *a)
{
    future *f = serve(a->w, a->peer, a->head->call, NULL);
    if (f) watch_exit(a->w, a->head->to, f);
}

static void take_stop(const arrival *a)
{
    if (is_remote(a->head->to)) return;
    if (a->head->kind == WIRE_STOP) (void)manta_stop((manta_actor){a->head->to});
    else (void)manta_kill((manta_actor){a->head->to});
}

static void take_introduction(const arrival *a)
{
    peer *p = a->head->from == the_node.process ? NULL : peer_get(a->head->from, true);
    char address[MANTA_ADDRESS_BYTES];
    if (!p || a->bytes >= sizeof address) return;
    snprintf(address, sizeof address, "%.*s", (int)a->bytes, (const char *)a->data);
    pthread_mutex_lock(&p->lock);
    bool connect = p->state == PEER_CONNECTING && !p->address[0];
    if (connect) snprintf(p->address, sizeof p->address, "%s", address);
    if (connect) store_relaxed(&p->has_address, true);
    pthread_mutex_unlock(&p->lock);
    if (connect) (void)link_connect(the_node.links, address, p->process);
}

static void take_hello(const arrival *a)
{
    bool same = store_is_named(a->data, a->bytes);
    pthread_mutex_lock(&a->peer->lock);
    __atomic_store_n(&a->peer->shares_store, same, __ATOMIC_RELEASE); /* who packs a ref may not have waited for this */
    a->peer->store_key = a->bytes ? hash_bytes(a->data, a->bytes) | 1 : 0;
    __atomic_store_n(&a->peer->has_hello, true, __ATOMIC_RELEASE);
    pthread_mutex_unlock(&a->peer->lock);
    peer_wake_senders(a->w, a->peer);
    groups_peer_hello(a->peer, a->head->status);
    owner_peer_up(a->w);
}

static const char *dispatch(const arrival *a)
{
    const wire_head *h = a->head;
    if (is_remote(h->to) || (h->kind != WIRE_INTRODUCE && is_remote(h->from))) return "an id of somebody else's table";
    switch (h->kind) {
    case WIRE_CALL:
    case WIRE_LEASED:
    case WIRE_TASK: take_call(a); return NULL;
    case WIRE_RECALL: recall(a); return NULL;
    case WIRE_RETURNED: take_returned(a); return NULL;
    case WIRE_YIELD: return take_yield(a);
    case WIRE_CREDIT: credit(a->w, a->peer, h); return NULL;
    case WIRE_NAMED: take_named(a); return NULL;
    case WIRE_REPLY: take_reply(a); return NULL;
    case WIRE_CANCEL: cancel_one(a->w, a->peer, h->call); return NULL;
    case WIRE_STOP:
    case WIRE_KILL: take_stop(a); return NULL;
    case WIRE_LINK:
    case WIRE_UNLINK:
    case WIRE_EXIT:
    case WIRE_MONITOR:
    case WIRE_DEMONITOR:
    case WIRE_DOWN: take_relation(a); return NULL;
    case WIRE_WATCH: take_watch(a); return NULL;
    case WIRE_INTRODUCE: take_introduction(a); return NULL;
    case WIRE_HELLO: take_hello(a); return NULL;
    case WIRE_TAKEN: borrowed_return(a->w, a->peer, h->call); return NULL;
    case WIRE_JOIN:
    case WIRE_LEAVE:
    case WIRE_ASK:
    case WIRE_PUBLISH: return groups_take(a->w, a->peer, h, a->data, a->bytes);
    default: return transfer_message(a->w, a->peer, h, a->data, a->bytes, a->frame);
    }
}

/* Messages come in runs from one peer; its record lasts until the links are closed. */
static peer *peer_of(uint64_t process)
{
    static _Thread_local peer *last;
    static _Thread_local uint64_t last_process, last_node;
    if (process == last_process && last_node == the_node.process && last->process == process) return last;
    last = peer_get(process, false);
    last_process = last ? process : 0;
    last_node = the_node.process;
    return last;
}

void on_peer_message(void *context, link_peer from, const link_message *m)
{
    (void)context;
    wire_head head;
    peer *p = peer_of(from.process);
    worker *w = worker_self();
    if (!p || !w) return;
    const char *bad =
        m->size_bytes < sizeof head || (m->body && m->size_bytes != sizeof head) ? "a message whose head has another size" : NULL;
    if (!bad) {
        memcpy(&head, m->data, sizeof head);
        const void *rest = m->body ? m->body : (const unsigned char *)m->data + sizeof head;
        arrival a = {w, p, &head, rest, m->size_bytes - sizeof head + m->body_bytes, m->frame};
        count_up(&p->received, 1);
        bad = dispatch(&a);
    }
    if (!bad) return;
    runtime_report("process %016llx sent %s: the link is dropped", (unsigned long long)from.process, bad);
    link_drop(the_node.links, from.process, MANTA_EDECODE);
}
