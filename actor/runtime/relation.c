/*
 * Links, monitors and exit waiters. They change by messages in the ordinary mailboxes, so an exit or down signal comes after everything that the dying actor sent
 * before, and no list is ever touched by two owners.
 *
 * 1. A relation message for a dead actor is answered at once, as if the actor had exited just then (relation_dead).
 * 2. A link is one id in each partner's list. Unlinking removes it here at once; a signal from a partner that is in no list is ignored.
 * 3. A down signal is delivered only while its monitor id is in the watcher's `watching` list, so nothing arrives after a demonitor.
 */
#include <string.h>

#include "actor/group/group.h"
#include "actor/node/node.h"
#include "actor/runtime/internal.h"
#include "actor/runtime/names.h"
#include "actor/supervise/ward.h"

static _Atomic uint64_t next_monitor = 1;

/* ---- lists of ids ---- */

typedef struct id_list {
    uint64_t *ids;
    uint32_t count, capacity;
} id_list;

static bool ids_add(id_list *l, uint64_t id)
{
    if (l->count == l->capacity) {
        uint32_t capacity = l->capacity ? l->capacity * 2 : 4;
        uint64_t *ids = base_realloc(l->ids, capacity * sizeof *ids);
        if (!ids) return false;
        l->ids = ids;
        l->capacity = capacity;
    }
    l->ids[l->count++] = id;
    return true;
}

static bool ids_has(const id_list *l, uint64_t id)
{
    for (uint32_t i = 0; i < l->count; i++)
        if (l->ids[i] == id) return true;
    return false;
}

static bool ids_remove(id_list *l, uint64_t id)
{
    for (uint32_t i = 0; i < l->count; i++)
        if (l->ids[i] == id) {
            memmove(&l->ids[i], &l->ids[i + 1], (l->count - i - 1) * sizeof *l->ids);
            l->count--;
            return true;
        }
    return false;
}

/* The lists in actor_extra have this very shape. `watching` holds pairs: monitor id, target. */
#define LINKS(x) ((id_list *)(void *)&(x)->links)
#define WATCHING(x) ((id_list *)(void *)&(x)->watching)

static bool watching_add(actor_extra *x, uint64_t id, uint64_t target)
{
    if (!ids_add(WATCHING(x), id)) return false;
    if (ids_add(WATCHING(x), target)) return true;
    x->watching.count--;
    return false;
}

/* The target of a monitor in force, which then is no longer; 0: there is none. */
static uint64_t watching_remove(actor_extra *x, uint64_t id)
{
    for (uint32_t i = 0; i + 1 < x->watching.count; i += 2)
        if (x->watching.ids[i] == id) {
            uint64_t target = x->watching.ids[i + 1];
            x->watching.ids[i + 1] = x->watching.ids[--x->watching.count];
            x->watching.ids[i] = x->watching.ids[--x->watching.count];
            return target;
        }
    return 0;
}

/* ---- sending ---- */

static message *relation_new(
    worker *w, int kind, uint64_t who, uint64_t monitor_id, const manta_method *method, manta_status status, const char *text)
{
    size_t bytes = text ? strlen(text) + 1 : 0;
    message *m = message_new(w, sizeof(relation) + bytes);
    if (!m) return NULL;
    relation *r = message_payload(m);
    *r = (relation){who, monitor_id, method, (int32_t)status, (uint32_t)bytes};
    if (bytes) memcpy(r->text, text, bytes);
    m->kind = (uint8_t)kind;
    m->reply = NULL;
    m->method = NULL;
    m->from = who;
    return m;
}

/* Delivers to a living actor; false: it is dead (m is freed). */
static bool deliver(worker *w, uint64_t to, message *m)
{
    actor *a = actor_slot(to);
    if (is_remote(to)) return node_post(w, to, m, false) == MANTA_OK;
    if (!actor_is(a, to)) {
        message_free(w, m);
        return false;
    }
    m->generation = (uint32_t)(to >> 32);
    if (m->kind == KIND_EXIT && unlikely(load_relaxed(&a->flags) & ACTOR_WARD)) ward_left(w, to, m->from);
    message_deliver(w, a, m);
    return true;
}

void relation_signal(
    worker *w, int kind, uint64_t to, uint64_t who, uint64_t monitor_id, const manta_method *method, manta_status status, const char *text)
{
    message *m = relation_new(w, kind, who, monitor_id, method, status, text);
    if (!m) runtime_report("no memory for a signal to actor %u", (uint32_t)to);
    else if (actor_is(actor_slot(to), to)) deliver(w, to, m);
    else {
        relation_dead(w, to, m, NULL);
        message_free(w, m);
    }
}

/* The watchers' side of monitors in force: who is watched need not remember. */
static void stop_watching(worker *w, actor_extra *x, uint64_t me)
{
    for (uint32_t i = 0; i + 1 < x->watching.count; i += 2) {
        message *m = relation_new(w, KIND_DEMONITOR, me, x->watching.ids[i], NULL, MANTA_OK, NULL);
        if (m) deliver(w, x->watching.ids[i + 1], m);
    }
    x->watching.count = 0;
}

static void signal_exit(worker *w, uint64_t to, uint64_t who, manta_status status, const char *text)
{
    message *m = relation_new(w, KIND_EXIT, who, 0, NULL, status, text);
    if (m) deliver(w, to, m);
    else if (status) (void)manta_kill((manta_actor){to}); /* no memory for the signal: the link must not be lost */
}

static void signal_down(worker *w, const monitor *it, uint64_t who, manta_status status, const char *text)
{
    message *m = relation_new(w, KIND_DOWN, who, it->id, it->method, status, text);
    if (m) deliver(w, it->watcher, m);
    else runtime_report("no memory to tell actor %u that actor %u is down", (uint32_t)it->watcher, (uint32_t)who);
}

/* ---- receiving ---- */

static void call_method(worker *w, actor *a, const manta_method *method, const relation *r)
{
    signal_arguments arguments;
    memset(&arguments, 0, sizeof arguments);
    arguments.who.id = r->who;
    arguments.status = r->status;
    arguments.message = (manta_str){r->text_bytes ? r->text : "", r->text_bytes ? r->text_bytes - 1 : 0};
    message *m = message_make(w, method, &arguments, method->arguments.extra ? method->arguments.extra(&arguments) : 0);
    if (!m) {
        runtime_report("no memory for a signal to %s.%s", method->owner, method->name);
        return;
    }
    m->from = r->who;
    m->generation = load_relaxed(&a->generation);
    actor_run_call(w, a, m);
}

static const manta_method *find_method(const manta_class *cls, const char *name)
{
    for (uint32_t i = 0; i < cls->n_methods; i++)
        if (strcmp(cls->methods[i]->name, name) == 0) return cls->methods[i];
    return NULL;
}

/* "void(manta_actor who,int32_t status,manta_str message,)": the types matter, not the names. */
static bool takes_a_signal(const manta_method *method)
{
    const char *at = strchr(method->signature, '(');
    static const char *const types[] = {"manta_actor ", "int32_t ", "manta_str "};
    if (!at) return false;
    for (int i = 0; i < 3; i++) {
        at++;
        if (strncmp(at, types[i], strlen(types[i])) != 0 || !(at = strchr(at, ','))) return false;
    }
    return strcmp(at, ",)") == 0;
}

static void handle_exit(worker *w, actor *a, const relation *r)
{
    actor_extra *x = a->extra;
    if (!x || !ids_remove(LINKS(x), r->who)) return; /* unlinked meanwhile */
    if (x->trap_exit) {
        const manta_method *method = find_method(a->cls, "on_exit");
        if (method && takes_a_signal(method)) call_method(w, a, method, r);
        else runtime_report("%s traps exits but has no method on_exit(manta_actor, int32_t, manta_str)", a->cls->name);
        return;
    }
    if (r->status == MANTA_OK && r->who != x->supervisor) return;
    manta_error *e = error_new((manta_status)r->status, NULL, "linked actor %u exited: %s", (uint32_t)r->who, r->text_bytes ? r->text : "");
    handler_exit(activation_of(w), (manta_status)r->status, e);
}

static void handle_down(worker *w, actor *a, const relation *r)
{
    actor_extra *x = a->extra;
    if (x && watching_remove(x, r->monitor)) call_method(w, a, r->method, r);
}

static bool monitors_add(actor_extra *x, monitor item)
{
    if (x->monitors.count == x->monitors.capacity) {
        uint32_t capacity = x->monitors.capacity ? x->monitors.capacity * 2 : 4;
        monitor *items = base_realloc(x->monitors.items, capacity * sizeof *items);
        if (!items) return false;
        x->monitors.items = items;
        x->monitors.capacity = capacity;
    }
    x->monitors.items[x->monitors.count++] = item;
    return true;
}

static void handle_demonitor(actor *a, const relation *r)
{
    actor_extra *x = a->extra;
    for (uint32_t i = 0; x && i < x->monitors.count; i++)
        if (x->monitors.items[i].id == r->monitor) {
            x->monitors.items[i] = x->monitors.items[--x->monitors.count];
            return;
        }
}

static void handle_watch(worker *w, actor *a, message *m)
{
    actor_extra *x = actor_extra_get(a);
    if (x && x->exit_waiters.count == x->exit_waiters.capacity) {
        uint32_t capacity = x->exit_waiters.capacity ? x->exit_waiters.capacity * 2 : 4;
        future **items = base_realloc(x->exit_waiters.items, capacity * sizeof *items);
        if (items) {
            x->exit_waiters.items = items;
            x->exit_waiters.capacity = capacity;
        } else x = NULL;
    }
    if (x) x->exit_waiters.items[x->exit_waiters.count++] = m->reply;
    else future_fail_status(w, m->reply, MANTA_ENOMEM, "no memory to wait for an exit");
    m->reply = NULL;
}

void relation_handle(worker *w, actor *a, message *m)
{
    const relation *r = message_payload(m);
    actor_extra *x;
    switch (m->kind) {
    case KIND_LINK:
        if (!(x = actor_extra_get(a)) || (!ids_has(LINKS(x), r->who) && !ids_add(LINKS(x), r->who)))
            signal_exit(w, r->who, actor_id(a), MANTA_ENOMEM, "no memory for a link");
        break;
    case KIND_UNLINK:
        if (a->extra) ids_remove(LINKS(a->extra), r->who);
        break;
    case KIND_EXIT: handle_exit(w, a, r); break;
    case KIND_MONITOR:
        if (!(x = actor_extra_get(a)) || !monitors_add(x, (monitor){r->who, r->monitor, r->method}))
            signal_down(w, &(monitor){r->who, r->monitor, r->method}, actor_id(a), MANTA_ENOMEM, "no memory for a monitor");
        break;
    case KIND_DEMONITOR: handle_demonitor(a, r); break;
    case KIND_DOWN: handle_down(w, a, r); break;
    case KIND_WATCH: handle_watch(w, a, m); break;
    default: break;
    }
}

void complete_watch(worker *w, future *f, manta_status status)
{
    int32_t value = (int32_t)status;
    manta_layout layout = {.size = sizeof value};
    future_complete(w, f, &layout, &value, 0);
}

void relation_dead(worker *w, uint64_t to, message *m, const manta_error *reason)
{
    const relation *r = message_payload(m);
    manta_status status = reason ? reason->status : MANTA_EDEAD;
    const char *text = reason ? reason->message : manta_status_text(MANTA_EDEAD);
    if (m->kind == KIND_LINK) signal_exit(w, r->who, to, status, text);
    else if (m->kind == KIND_MONITOR) signal_down(w, &(monitor){r->who, r->monitor, r->method}, to, status, text);
    else if (m->kind == KIND_WATCH && m->reply) {
        complete_watch(w, m->reply, status);
        m->reply = NULL;
    }
}

void relation_exit(worker *w, actor *a, uint64_t id, manta_status status, const manta_error *error)
{
    actor_extra *x = a->extra;
    const char *text = error ? error->message : "normal";
    groups_forget(id);
    if (x && x->name) names_release(x->name, id);
    if (load_relaxed(&a->flags) & ACTOR_NAMED) names_forget(id);
    if (load_relaxed(&a->flags) & ACTOR_WARD) ward_end(id);
    if (!x) return;
    for (uint32_t i = 0; i < x->links.count; i++) signal_exit(w, x->links.ids[i], id, status, text);
    for (uint32_t i = 0; i < x->monitors.count; i++) signal_down(w, &x->monitors.items[i], id, status, text);
    for (uint32_t i = 0; i < x->exit_waiters.count; i++) complete_watch(w, x->exit_waiters.items[i], status);
    stop_watching(w, x, id);
    x->links.count = x->monitors.count = x->exit_waiters.count = 0;
}

/* ---- the public side ---- */

static activation *in_actor(void)
{
    activation *act = activation_self();
    return act && act->actor && act->actor->cls ? act : NULL;
}

static uint64_t unborn_id(const actor *child)
{
    return actor_index(child) | (uint64_t)(load_relaxed(&((actor *)(uintptr_t)child)->generation) + 1) << 32;
}

bool relation_parent(actor *child, uint64_t parent, bool supervised)
{
    actor_extra *x = actor_extra_get(child);
    if (!x || !ids_add(LINKS(x), parent)) return false;
    if (supervised) x->supervisor = parent;
    return true;
}

bool relation_link_at_spawn(actor *child, uint64_t parent, bool supervised)
{
    activation *act = in_actor();
    actor_extra *mine = act ? actor_extra_get(act->actor) : NULL;
    if (!mine || !relation_parent(child, parent, supervised)) return false;
    if (ids_add(LINKS(mine), unborn_id(child))) return true;
    child->extra->links.count = 0;
    return false;
}

void relation_tell_parent(worker *w, uint64_t child, uint64_t parent)
{
    message *m = relation_new(w, KIND_LINK, child, 0, NULL, MANTA_OK, NULL);
    if (!m || !deliver(w, parent, m)) signal_exit(w, child, parent, MANTA_EDEAD, manta_status_text(MANTA_EDEAD));
}

void relation_made_elsewhere(uint64_t child)
{
    activation *act = in_actor();
    actor_extra *x = act ? actor_extra_get(act->actor) : NULL;
    if (x && !ids_has(LINKS(x), child)) (void)ids_add(LINKS(x), child);
}

manta_status manta_link(manta_actor other)
{
    activation *act = in_actor();
    if (!act) return error_set(MANTA_ECONTEXT, "manta_link: only a method of an actor may call it");
    uint64_t me = actor_id(act->actor);
    actor_extra *x = actor_extra_get(act->actor);
    if (other.id == me) return MANTA_OK;
    if (!x || (!ids_has(LINKS(x), other.id) && !ids_add(LINKS(x), other.id))) return error_set(MANTA_ENOMEM, "manta_link: no memory");
    worker *w = worker_self();
    message *m = relation_new(w, KIND_LINK, me, 0, NULL, MANTA_OK, NULL);
    if (!m) {
        ids_remove(LINKS(x), other.id);
        return error_set(MANTA_ENOMEM, "manta_link: no memory");
    }
    if (!deliver(w, other.id, m)) signal_exit(w, me, other.id, MANTA_EDEAD, manta_status_text(MANTA_EDEAD));
    return MANTA_OK;
}

manta_status manta_unlink(manta_actor other)
{
    activation *act = in_actor();
    if (!act) return error_set(MANTA_ECONTEXT, "manta_unlink: only a method of an actor may call it");
    if (!act->actor->extra || !ids_remove(LINKS(act->actor->extra), other.id)) return MANTA_OK;
    worker *w = worker_self();
    message *m = relation_new(w, KIND_UNLINK, actor_id(act->actor), 0, NULL, MANTA_OK, NULL);
    if (m) deliver(w, other.id, m); /* without it the other's signal finds no link here and is ignored */
    return MANTA_OK;
}

manta_status manta_trap_exit(bool on)
{
    activation *act = in_actor();
    if (!act) return error_set(MANTA_ECONTEXT, "manta_trap_exit: only a method of an actor may call it");
    const manta_method *method = find_method(act->actor->cls, "on_exit");
    if (on && (!method || !takes_a_signal(method)))
        return error_set(
            MANTA_ENOMETHOD, "manta_trap_exit: class %s has no method on_exit(manta_actor, int32_t, manta_str)", act->actor->cls->name);
    actor_extra *x = actor_extra_get(act->actor);
    if (!x) return error_set(MANTA_ENOMEM, "manta_trap_exit: no memory");
    x->trap_exit = on;
    return MANTA_OK;
}

manta_status manta_monitor_method(manta_actor target, const manta_method *on_down, manta_monitor_id *out_id)
{
    activation *act = in_actor();
    if (!act) return error_set(MANTA_ECONTEXT, "manta_monitor: only a method of an actor may call it");
    if (on_down->cls != act->actor->cls || !takes_a_signal(on_down))
        return error_set(MANTA_ETYPE, "manta_monitor: %s.%s must be a method of %s with (manta_actor, int32_t, manta_str)", on_down->owner,
            on_down->name, act->actor->cls->name);
    worker *w = worker_self();
    actor_extra *x = actor_extra_get(act->actor);
    monitor it = {actor_id(act->actor), add_relaxed(&next_monitor, 1), on_down};
    message *m = x ? relation_new(w, KIND_MONITOR, it.watcher, it.id, on_down, MANTA_OK, NULL) : NULL;
    if (!m || !watching_add(x, it.id, target.id ? target.id : UINT64_MAX)) {
        if (m) message_free(w, m);
        return error_set(MANTA_ENOMEM, "manta_monitor: no memory");
    }
    if (!deliver(w, target.id, m)) signal_down(w, &it, target.id, MANTA_EDEAD, manta_status_text(MANTA_EDEAD));
    if (out_id) out_id->id = it.id;
    return MANTA_OK;
}

manta_status manta_demonitor(manta_monitor_id id)
{
    activation *act = in_actor();
    if (!act) return error_set(MANTA_ECONTEXT, "manta_demonitor: only a method of an actor may call it");
    uint64_t target = act->actor->extra ? watching_remove(act->actor->extra, id.id) : 0;
    if (!target) return error_set(MANTA_ENOTFOUND, "manta_demonitor: no such monitor, or its signal came already");
    worker *w = worker_self();
    message *m = relation_new(w, KIND_DEMONITOR, actor_id(act->actor), id.id, NULL, MANTA_OK, NULL);
    if (m) deliver(w, target, m); /* without it the target's end finds no listener */
    return MANTA_OK;
}

manta_status watch_exit(worker *w, uint64_t who, future *f)
{
    message *m = relation_new(w, KIND_WATCH, who, 0, NULL, MANTA_OK, NULL);
    if (!m) return MANTA_ENOMEM;
    m->reply = f;
    store_relaxed(&f->target, who);
    if (!deliver(w, who, m) && !is_remote(who)) complete_watch(w, f, MANTA_EDEAD); /* elsewhere it has been answered */
    return MANTA_OK;
}

manta_status manta_wait_exit(manta_actor who, uint64_t timeout_ms, manta_status *out_reason)
{
    worker *w = worker_self();
    future *f = w ? future_new(w) : NULL;
    if (!f || watch_exit(w, who.id, f)) {
        if (f) future_free(w, f);
        return error_set(MANTA_ENOMEM, "manta_wait_exit: no memory");
    }
    manta_status status = event_await(f, timeout_ms == MANTA_FOREVER ? OS_FOREVER : deadline_after_ms(timeout_ms), "exit");
    if (status) {
        future_drop(worker_self(), f);
        return error_set(status, "manta_wait_exit: %s", manta_status_text(status));
    }
    int32_t reason = 0;
    status = future_take(f, &reason, sizeof reason);
    if (status == MANTA_OK && out_reason) *out_reason = (manta_status)reason;
    return status;
}
