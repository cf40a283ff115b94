/*
 * Messages that leave for actors of other processes.
 *
 * A call's number leads to its future until the answer, or the end of the peer, takes it out of the table: only then is the future completed. A message whose arguments hold refs is kept until
 * the peer says that it has taken references of its own.
 */
#include <stdio.h>
#include <string.h>

#include "actor/node/moving.h"
#include "actor/node/owner.h"
#include "actor/runtime/stream.h"

/* ---- calls under way ---- */

static bool call_add(peer *p, uint64_t call, future *f)
{
    pthread_mutex_lock(&p->lock);
    bool ok = p->state != PEER_DOWN && id_table_put(&p->calls, call, f);
    pthread_mutex_unlock(&p->lock);
    if (!ok) return false;
    memcpy(f->bytes, &call, sizeof call);
    add_relaxed(&p->under_way, 1);
    return true;
}

future *call_take(peer *p, uint64_t call)
{
    pthread_mutex_lock(&p->lock);
    future *f = id_table_remove(&p->calls, call);
    pthread_mutex_unlock(&p->lock);
    if (f) sub_seq(&p->under_way, 1);
    if (f && f->packed == FUTURE_LEASED) owner_done(worker_self(), f);
    return f;
}

static uint64_t number_reply(peer *p, message *m)
{
    uint64_t call = m->reply ? add_relaxed(&the_node.next_call, 1) + 1 : 0;
    if (!call) return 0;
    if (call_add(p, call, m->reply)) m->reply = NULL; /* the table's now */
    return call;
}

static void fail_call(worker *w, peer *p, uint64_t call, manta_status status, const char *text)
{
    future *f = call ? call_take(p, call) : NULL;
    if (f) future_fail_status(w, f, status, "%s", text);
}

/* ---- refs ---- */

uint64_t borrow(peer *p, borrowed what)
{
    borrowed *b = base_alloc(sizeof *b);
    if (!b) return 0;
    *b = what;
    pthread_mutex_lock(&p->lock);
    uint64_t number = ++p->next_borrow;
    bool ok = p->state != PEER_DOWN && id_table_put(&p->borrowed, number, b);
    pthread_mutex_unlock(&p->lock);
    if (ok) return number;
    base_free(b);
    return 0;
}

void result_free(worker *w, future *f)
{
    value_discard(f);
    future_free(w, f);
}

static void give_back(worker *w, borrowed *b)
{
    if (b->message) message_discard(w, b->message);
    if (b->result) result_free(w, b->result);
    if (b->value) stream_items_free(b->generator, b->value);
    base_free(b);
}

void borrowed_return(worker *w, peer *p, uint64_t number)
{
    pthread_mutex_lock(&p->lock);
    borrowed *b = number ? id_table_remove(&p->borrowed, number) : NULL;
    pthread_mutex_unlock(&p->lock);
    if (b) give_back(w, b);
}

void borrowed_return_all(worker *w, peer *p)
{
    pthread_mutex_lock(&p->lock);
    id_table all = p->borrowed;
    p->borrowed = (id_table){0};
    pthread_mutex_unlock(&p->lock);
    size_t cursor = 0;
    for (borrowed *b; (b = id_table_next(&all, &cursor, NULL));) give_back(w, b);
    id_table_fini(&all);
}

/* ---- messages ---- */

static const char *why_down(peer *p, char *out, size_t room)
{
    pthread_mutex_lock(&p->lock);
    snprintf(out, room, "process %016llx: %s", (unsigned long long)p->process, p->reason[0] ? p->reason : "not connected");
    pthread_mutex_unlock(&p->lock);
    return out;
}

static manta_status refused(worker *w, peer *p, message *m, uint64_t call, manta_status status, const char *what)
{
    char text[400] = "", why[320];
    const manta_method *method = m->method;
    future *leased = m->reply && ((future *)m->reply)->packed == FUTURE_LEASED ? m->reply : NULL;
    if (leased && status == MANTA_EUNKNOWN) { /* never sent: another worker may run it */
        owner_returned(w, leased, m);
        return status;
    }
    if (leased) owner_done(w, leased);
    if (what) snprintf(text, sizeof text, "%s.%s: %s", method->owner, method->name, what);
    else if (status == MANTA_EUNKNOWN) snprintf(text, sizeof text, "%s", why_down(p, why, sizeof why));
    else snprintf(text, sizeof text, "%s", manta_status_text(status));
    if (m->reply) future_fail_status(w, m->reply, status, "%s", text);
    else if (call) fail_call(w, p, call, status, text);
    else error_set(status, "%s", text);
    m->reply = NULL;
    message_discard(w, m);
    return status;
}

static bool has_hello(const peer *p) { return p->has_hello || p->state == PEER_DOWN; }

/* How refs are named depends on the store that the peer has said it has; who cannot wait for that names them as for another one, which is right in any case. */
static bool knows_names(peer *p, bool may_wait) { return !may_wait || peer_wait(p, has_hello, "a process's hello"); }

static void note_ref(manta_ref *ref, manta_object *view, void *context)
{
    (void)view;
    *(bool *)context |= ref->id[0] != 0;
}

static bool names_objects(message *m)
{
    const manta_method *method = m->method;
    bool some = false;
    if (method->arguments.refs) method->arguments.refs(message_payload(m), note_ref, &some);
    return some;
}

static manta_status send_call(worker *w, proxy to, message *m, uint8_t kind, bool may_wait)
{
    const manta_method *method = m->method;
    peer *p = to.peer;
    bool refs = names_objects(m);
    manta_status status = MANTA_OK;
    if (refs && !knows_names(p, may_wait)) return refused(worker_self(), p, m, 0, MANTA_ECANCELLED, NULL);
    manta_writer *out = pack_begin(p);
    w = worker_self();
    if (!out) return refused(w, p, m, 0, MANTA_ENOMEM, NULL);
    method->arguments.pack(out, message_payload(m));
    if (!pack_end(out, &status)) return refused(w, p, m, 0, status, "the arguments cannot be packed");
    uint32_t room = kind == WIRE_LEASED && method->is_generator ? stream_room(m->reply) : 0;
    uint64_t call = number_reply(p, m), number = refs && !m->reply ? borrow(p, (borrowed){.message = m}) : 0;
    if (m->reply || (refs && !number)) return refused(w, p, m, call, MANTA_EUNKNOWN, NULL);
    wire_head h = {.kind = kind,
        .to = kind == WIRE_LEASED ? m->generation : to.id,
        .from = m->from,
        .call = call,
        .method = method_hash(method),
        .borrow = number,
        .status = room};
    status = peer_send(p, &h, out->start, manta_writer_size(out), may_wait);
    w = worker_self();
    if (status && !refs) return refused(w, p, m, call, status, NULL);
    if (status) {
        fail_call(w, p, call, status, manta_status_text(status));
        borrowed_return(w, p, number);
    } else if (!refs) message_free(w, m);
    return status;
}

static bool pack_named(peer *p, const char *name, manta_bytes payload, manta_writer **out, manta_status *status)
{
    manta_str s = manta_str_of(name);
    *out = pack_begin(p);
    *status = MANTA_ENOMEM;
    if (!*out) return false;
    manta_pack_manta_str(*out, &s);
    manta_pack_raw(*out, payload.data, payload.size);
    return pack_end(*out, status);
}

future *node_call_named(worker *w, uint64_t to, const char *name, manta_bytes payload)
{
    proxy p;
    manta_writer *out;
    manta_status status = MANTA_EDEAD;
    if (proxy_get(to, &p) && process_is_moving(p.process)) return moving_call_named(to, p.process, name, payload);
    future *f = proxy_get(to, &p) && pack_named(p.peer, name, payload, &out, &status) ? future_new(w) : NULL;
    uint64_t call = add_relaxed(&the_node.next_call, 1) + 1;
    if (f) f->packed = FUTURE_PACKED;
    if (!f || !call_add(p.peer, call, f)) {
        if (f) future_free(w, f);
        error_set(f ? MANTA_EUNKNOWN : status ? status : MANTA_ENOMEM, "manta_call %s: the process cannot be reached", name);
        return NULL;
    }
    store_relaxed(&f->target, to);
    wire_head h = {.kind = WIRE_NAMED, .to = p.id, .call = call};
    if ((status = peer_send(p.peer, &h, out->start, manta_writer_size(out), true)))
        fail_call(worker_self(), p.peer, call, status, manta_status_text(status));
    return f;
}

static const uint8_t wire_kinds[] = {[KIND_LINK] = WIRE_LINK,
    [KIND_UNLINK] = WIRE_UNLINK,
    [KIND_EXIT] = WIRE_EXIT,
    [KIND_MONITOR] = WIRE_MONITOR,
    [KIND_DEMONITOR] = WIRE_DEMONITOR,
    [KIND_DOWN] = WIRE_DOWN};

/* What both sides note, so that the end of the link is the end of the relation. False: no memory. */
static bool note(peer *p, const message *m, uint64_t to, const relation *r)
{
    switch (m->kind) {
    case KIND_LINK: return relation_note(p, (relation_record){r->who, to, 0, NULL, false});
    case KIND_MONITOR: return relation_note(p, (relation_record){r->who, to, r->monitor, r->method, true});
    case KIND_UNLINK:
    case KIND_EXIT: relation_forget(p, r->who, to, 0, false); return true;
    case KIND_DEMONITOR: relation_forget(p, r->who, to, r->monitor, true); return true;
    default: return true;
    }
}

static manta_status send_relation(worker *w, proxy to, uint64_t handle, message *m)
{
    const relation *r = message_payload(m);
    wire_head h = {.kind = wire_kinds[m->kind], .to = to.id, .from = r->who, .call = r->monitor, .status = (uint32_t)r->status};
    manta_status status = note(to.peer, m, handle, r) ? peer_send(to.peer, &h, r->text, r->text_bytes, false) : MANTA_ENOMEM;
    if (status) { /* as if the other had exited just then */
        char why[320];
        relation_forget(to.peer, r->who, handle, m->kind == KIND_MONITOR ? r->monitor : 0, m->kind == KIND_MONITOR);
        if (m->kind == KIND_LINK) relation_signal(w, KIND_EXIT, r->who, handle, 0, NULL, MANTA_EDEAD, why_down(to.peer, why, sizeof why));
        if (m->kind == KIND_MONITOR)
            relation_signal(w, KIND_DOWN, r->who, handle, r->monitor, r->method, MANTA_EDEAD, why_down(to.peer, why, sizeof why));
    }
    message_free(w, m);
    return MANTA_OK;
}

static manta_status send_watch(worker *w, proxy to, message *m)
{
    uint64_t call = number_reply(to.peer, m);
    wire_head h = {.kind = WIRE_WATCH, .to = to.id, .call = call};
    manta_status status = m->reply ? MANTA_EUNKNOWN : peer_send(to.peer, &h, NULL, 0, false);
    future *f = m->reply ? m->reply : status ? call_take(to.peer, call) : NULL;
    m->reply = NULL;
    if (f) complete_watch(w, f, MANTA_EDEAD);
    message_free(w, m);
    return MANTA_OK;
}

manta_status node_post(worker *w, uint64_t to, message *m, bool may_wait)
{
    proxy p;
    if (!proxy_get(to, &p)) {
        manta_status status = MANTA_EDEAD;
        if (m->kind == KIND_CALL && !m->reply) error_set(status, "%s", manta_status_text(status));
        message_dead(w, to, m, status, NULL);
        message_free(w, m);
        return status;
    }
    if (process_is_moving(p.process)) return moving_post(w, p.process, to, m, may_wait);
    if (m->kind == KIND_CALL) return send_call(w, p, m, WIRE_CALL, may_wait);
    if (m->kind == KIND_WATCH) return send_watch(w, p, m);
    if (m->kind < sizeof wire_kinds && wire_kinds[m->kind]) return send_relation(w, p, to, m);
    if (m->reply) future_complete(w, m->reply, NULL, NULL, 0);
    message_free(w, m);
    return MANTA_OK;
}

manta_status node_stop_actor(worker *w, uint64_t to, bool kill)
{
    proxy p;
    (void)w;
    if (!proxy_get(to, &p)) return error_set(MANTA_EDEAD, "manta_%s: %s", kill ? "kill" : "stop", manta_status_text(MANTA_EDEAD));
    if (process_is_moving(p.process)) return moving_stop_actor(w, p.process, kill);
    wire_head h = {.kind = kill ? WIRE_KILL : WIRE_STOP, .to = p.id};
    manta_status status = peer_send(p.peer, &h, NULL, 0, true);
    return status ? error_set(status, "manta_%s: %s", kill ? "kill" : "stop", manta_status_text(status)) : MANTA_OK;
}

bool node_is_alive(uint64_t id)
{
    proxy p;
    return proxy_get(id, &p) && (!process_is_moving(p.process) || moving_is_alive(p.process));
}

/* f's bytes hold the call's number until it is complete. */
void node_cancel(worker *w, future *f, uint64_t target)
{
    proxy p;
    uint64_t call;
    (void)w;
    if (!proxy_get(target, &p) || !p.peer) return;
    memcpy(&call, f->bytes, sizeof call);
    wire_head h = {.kind = WIRE_CANCEL, .call = call};
    (void)peer_send(p.peer, &h, NULL, 0, false);
}

void node_recall(worker *w, uint64_t process)
{
    peer *p = peer_get(process, false);
    wire_head h = {.kind = WIRE_RECALL};
    (void)w;
    if (p) (void)peer_send(p, &h, NULL, 0, false);
}

void node_credit(const future *task, uint64_t call, uint32_t n)
{
    proxy to;
    wire_head h = {.kind = WIRE_CREDIT, .call = call, .to = n};
    if (proxy_get(load_relaxed(&((future *)(uintptr_t)task)->target), &to)) (void)peer_send(to.peer, &h, NULL, 0, false);
}

/* False: the process is not known. */
static bool send_task(worker *w, uint64_t process, message *m, uint8_t kind, bool may_wait)
{
    peer *p = peer_get(process, false);
    uint64_t handle = p ? proxy_of(process, 0) : 0;
    if (!handle) return false;
    store_relaxed(&((future *)m->reply)->target, handle);
    (void)send_call(w, (proxy){process, 0, p}, m, kind, may_wait);
    return true;
}

void node_leased(worker *w, uint64_t process, message *m)
{
    if (!send_task(w, process, m, WIRE_LEASED, false)) owner_returned(w, m->reply, m);
}

void node_task(worker *w, uint64_t process, message *m)
{
    if (send_task(w, process, m, WIRE_TASK, true)) return;
    future *f = m->reply;
    m->reply = NULL;
    message_discard(w, m);
    future_fail_status(w, f, MANTA_ENOTFOUND, "process %016llx is not known here", (unsigned long long)process);
}
