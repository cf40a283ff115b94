/*
 * Where actors that move are: one record for each that this process has a handle of, kept until the end, fed by one watch of their rows in the control store.
 *
 * UNKNOWN --row--> ALIVE --the place does not answer, or the row says that it is restarting--> LOST --row of a greater epoch--> ALIVE ...; any --row--> DEAD, which is the end.
 */
#include "actor/node/moving.h"

#include <stdio.h>
#include <string.h>

#include "actor/durable/keeper.h"
#include "actor/node/control.h"
#include "actor/node/gcs_watch.h"
#include "actor/node/moving_internal.h"
#include "actor/node/named.h"
#include "actor/node/owner.h"

enum { TICK_MS = 500, REACH_MS = 1000 };

static pthread_mutex_t table_lock = PTHREAD_MUTEX_INITIALIZER;
static id_table table; /* by uid */
static bool is_watching;
MANTA_ACTOR(MantaMover, bool is_looking;)
static MantaMover_ref mover;

/* ---- records ---- */

static moving *moving_new(uint64_t uid) /* under the table's lock */
{
    moving *m = table.count < MOVING_LIMIT ? base_calloc(1, sizeof *m) : NULL;
    if (!m) return NULL;
    m->uid = uid;
    pthread_mutex_init(&m->lock, NULL);
    if (id_table_put(&table, uid, m)) return m;
    pthread_mutex_destroy(&m->lock);
    base_free(m);
    return NULL;
}

moving *moving_get(uint64_t uid, bool make)
{
    pthread_mutex_lock(&table_lock);
    moving *m = id_table_get(&table, uid);
    if (!m && make) m = moving_new(uid);
    pthread_mutex_unlock(&table_lock);
    return m;
}

static moving *of_process(uint64_t process) { return moving_get(process & ~(1ull << 63), true); }

uint64_t moving_new_uid(manta_durability d)
{
    return (uint64_t)MOVING_TAG << 56 | (uint64_t)d << 48 | (os_random_u64() & ((1ull << 48) - 1));
}

manta_actor moving_handle(uint64_t uid) { return (manta_actor){proxy_of(moving_process(uid), 0)}; }

/* ---- rows ---- */

/* Connects when this process does not know that one yet; does not wait. */
static void reach(uint64_t process, manta_str address)
{
    peer *p = address.size && address.size < MANTA_ADDRESS_BYTES ? peer_get(process, true) : NULL;
    char text[MANTA_ADDRESS_BYTES];
    if (!p) return;
    snprintf(text, sizeof text, "%.*s", (int)address.size, address.data);
    pthread_mutex_lock(&p->lock);
    bool connect = p->state == PEER_CONNECTING && !p->address[0];
    if (connect) snprintf(p->address, sizeof p->address, "%s", text);
    if (connect) store_relaxed(&p->has_address, true);
    pthread_mutex_unlock(&p->lock);
    if (connect) (void)link_connect(the_node.links, text, process);
}

static void placed(worker *w, moving *m, const gcs_actor_row *row)
{
    uint64_t own = the_node.process, before;
    if (row->process != own) reach(row->process, row->address);
    uint64_t target = row->process == own ? row->local : proxy_of(row->process, row->local);
    pthread_mutex_lock(&m->lock);
    before = m->epoch;
    bool is_new = m->state != MOVING_DEAD && row->epoch > m->epoch && target;
    if (is_new) {
        m->epoch = row->epoch;
        m->target = target;
        m->process = row->process;
        m->state = MOVING_ALIVE;
    }
    if (!m->cls) m->cls = class_named(row->class_name);
    pthread_mutex_unlock(&m->lock);
    if (is_new && before) moving_give_up(w, m, before);
    if (is_new) moving_flush(w, m);
}

static void keep_reason(moving *m, manta_str reason)
{
    snprintf(m->reason, sizeof m->reason, "%.*s", (int)(reason.size < 200 ? reason.size : 200), reason.size ? reason.data : "");
}

static void lost(worker *w, moving *m, const gcs_actor_row *row)
{
    pthread_mutex_lock(&m->lock);
    bool is_new = row->epoch >= m->epoch && m->state != MOVING_DEAD;
    if (is_new) {
        m->epoch = row->epoch;
        m->state = MOVING_LOST;
        m->lost_epoch = row->epoch;
        m->process = 0;
        keep_reason(m, row->reason);
    }
    pthread_mutex_unlock(&m->lock);
    if (is_new) moving_give_up(w, m, row->epoch);
}

static void died(worker *w, moving *m, manta_str reason)
{
    pthread_mutex_lock(&m->lock);
    bool is_new = m->state != MOVING_DEAD;
    m->state = MOVING_DEAD;
    m->process = 0;
    if (is_new) keep_reason(m, reason);
    relation_record *watchers = m->watchers;
    uint32_t n = m->n_watchers, n_waiters = m->n_waiters;
    future **waiters = m->waiters;
    m->watchers = NULL;
    m->waiters = NULL;
    m->n_watchers = m->room_watchers = m->n_waiters = m->room_waiters = 0;
    pthread_mutex_unlock(&m->lock);
    relations_end(w, watchers, n, m->reason);
    for (uint32_t i = 0; i < n_waiters; i++) complete_watch(w, waiters[i], MANTA_EDEAD);
    base_free(waiters);
    moving_fail_all(w, m, MANTA_EDEAD);
}

static void on_row(void *context, const gcs_event *e)
{
    gcs_actor_row row = {0};
    manta_reader r;
    (void)context;
    if (!e) return;
    uint64_t uid = e->key.size == 8 ? manta_load_be64(e->key.data) : 0;
    moving *m = moving_get(uid, false);
    worker *w = worker_self();
    if (!m) return;
    manta_reader_init(&r, e->value.data, e->value.size);
    if (!e->is_gone) gcs_read_actor_row(&r, &row);
    if (e->is_gone || r.status || row.state == GCS_ACTOR_STATE_DEAD) died(w, m, e->is_gone ? manta_str_of("it is dead") : row.reason);
    else if (row.state == GCS_ACTOR_STATE_ALIVE) placed(w, m, &row);
    else if (row.state == GCS_ACTOR_STATE_RESTARTING) lost(w, m, &row);
}

/* ---- the watch, and what is asked for by this process alone ---- */

MANTA_METHOD_DECLARE(MantaMover, begin, void)
MANTA_METHOD_DECLARE(MantaMover, look, void, (uint64_t, uid))
MANTA_METHOD_DECLARE(MantaMover, tick, void)

/* What the store has now: a handle may be of an actor whose row was told before this process had it. */
static bool read_row(uint64_t uid, gcs_actor_row *out, manta_status *out_status)
{
    manta_writer w;
    gcs_reply reply;
    manta_writer_init_growing(&w);
    gcs_write_actor_get(&w, NULL, &(gcs_actor_get){uid});
    *out_status = control_call("where an actor is", true, &w, GCS_TIMEOUT_MS, &reply);
    if (*out_status) return false;
    manta_reader r = gcs_reply_reader(&reply);
    gcs_read_actor_row(&r, out);
    return !r.status;
}

MANTA_METHOD_DEFINE(MantaMover, begin, void)
{
    static const unsigned char prefix[] = {MOVING_TAG};
    (void)self;
    if (is_watching) return;
    is_watching = true;
    (void)gcs_watch_start(GCS_TABLE_ACTOR, prefix, sizeof prefix, on_row, NULL, (manta_actor){0});
    (void)MantaMover_tick_every(TICK_MS, MantaMover_ref_of(manta_self()));
}

static void apply(worker *w, moving *m, const gcs_actor_row *row)
{
    if (row->state == GCS_ACTOR_STATE_DEAD) died(w, m, row->reason);
    else if (row->state == GCS_ACTOR_STATE_RESTARTING) lost(w, m, row);
    else if (row->state == GCS_ACTOR_STATE_ALIVE) placed(w, m, row);
}

MANTA_METHOD_DEFINE(MantaMover, look, void, (uint64_t, uid))
{
    gcs_actor_row row = {0};
    manta_status status;
    moving *m = moving_get(uid, false);
    (void)self;
    bool found = m && read_row(uid, &row, &status);
    worker *w = worker_self();
    if (!m) return;
    if (!found && status == MANTA_ENOTFOUND) died(w, m, manta_str_of("there is no such actor"));
    else if (!found) (void)MantaMover_look_after(TICK_MS, MantaMover_ref_of(manta_self()), uid);
    if (!found) return;
    apply(w, m, &row);
}

/* Calls wait: for a row that the watch has not told, since its server is behind, or for a place that this process has lost and the store has not: perhaps only the way to it. */
static void try_again(moving *m)
{
    gcs_actor_row row = {0};
    manta_status status;
    manta_process p;
    char address[MANTA_ADDRESS_BYTES];
    if (!read_row(m->uid, &row, &status)) return;
    apply(worker_self(), m, &row);
    if (row.state != GCS_ACTOR_STATE_ALIVE || row.address.size >= sizeof address) return;
    snprintf(address, sizeof address, "%.*s", (int)row.address.size, row.address.size ? row.address.data : "");
    if (row.process != the_node.process && (process_at(address, REACH_MS, &p) || p.id != row.process)) return;
    uint64_t target = row.process == the_node.process ? row.local : proxy_of(row.process, row.local);
    pthread_mutex_lock(&m->lock);
    bool ok = m->state == MOVING_LOST && m->epoch == row.epoch && target && manta_is_alive((manta_actor){target});
    if (ok) {
        m->state = MOVING_ALIVE;
        m->target = target;
        m->process = row.process;
    }
    pthread_mutex_unlock(&m->lock);
    if (ok) moving_flush(worker_self(), m);
}

MANTA_METHOD_DEFINE(MantaMover, tick, void)
{
    size_t cursor = 0;
    if (self->is_looking) return;
    self->is_looking = true;
    for (;;) {
        pthread_mutex_lock(&table_lock);
        moving *m = id_table_next(&table, &cursor, NULL);
        pthread_mutex_unlock(&table_lock);
        if (!m) break;
        pthread_mutex_lock(&m->lock);
        bool waits = m->state == MOVING_LOST && m->queue_first;
        pthread_mutex_unlock(&m->lock);
        if (waits) try_again(m);
    }
    self->is_looking = false;
}

MANTA_CLASS_WITH(MantaMover, (.concurrency = 256, .no_yield_in_send = true), begin, look, tick)

void moving_give_up_here(uint64_t uid, const char *why)
{
    moving *m = moving_get(uid, true);
    if (!m) return;
    pthread_mutex_lock(&m->lock);
    m->is_given_up = true;
    pthread_mutex_unlock(&m->lock);
    died(worker_self(), m, manta_str_of(why));
}

bool moving_is_given_up(manta_actor handle)
{
    proxy p;
    moving *m = proxy_get(handle.id, &p) && process_is_moving(p.process) ? moving_get(p.process & ~(1ull << 63), false) : NULL;
    if (!m) return false;
    pthread_mutex_lock(&m->lock);
    bool yes = m->is_given_up;
    if (yes) error_set(MANTA_EDEAD, "%s", m->reason);
    pthread_mutex_unlock(&m->lock);
    return yes;
}

manta_actor *moving_here(size_t *out_count)
{
    size_t cursor = 0, n = 0;
    pthread_mutex_lock(&table_lock);
    manta_actor *out = table.count ? base_alloc(table.count * sizeof *out) : NULL;
    for (moving *m; out && (m = id_table_next(&table, &cursor, NULL));) {
        pthread_mutex_lock(&m->lock);
        if (m->state == MOVING_ALIVE && m->process == the_node.process) out[n++] = (manta_actor){m->target};
        pthread_mutex_unlock(&m->lock);
    }
    pthread_mutex_unlock(&table_lock);
    *out_count = n;
    return out;
}

/* A handle is used for the first time here: where is it? */
static moving *use(uint64_t process)
{
    moving *m = of_process(process);
    if (!m) return NULL;
    pthread_mutex_lock(&m->lock);
    bool ask = m->state == MOVING_UNKNOWN && !m->lost_epoch;
    if (ask) m->lost_epoch = UINT64_MAX; /* asked */
    pthread_mutex_unlock(&m->lock);
    if (ask) (void)MantaMover_begin_send(mover);
    if (ask) (void)MantaMover_look_send(mover, m->uid);
    return m;
}

bool moving_start(void)
{
    mover = MantaMover_spawn_with(MANTA_OPTIONS(.where = MANTA_WHERE_HERE));
    return mover.actor.id != 0;
}

uint32_t moving_keepers(void) { return manta_is_alive(mover.actor); }

void moving_stop(void)
{
    size_t cursor = 0;
    for (moving *m; (m = id_table_next(&table, &cursor, NULL));) {
        pthread_mutex_lock(&m->lock);
        m->state = MOVING_DEAD;
        snprintf(m->reason, sizeof m->reason, "this process shuts down");
        pthread_mutex_unlock(&m->lock);
        moving_fail_all(worker_self(), m, MANTA_EUNKNOWN);
    }
}

void moving_free(void)
{
    size_t cursor = 0;
    for (moving *m; (m = id_table_next(&table, &cursor, NULL));) {
        base_free(m->watchers);
        base_free(m->waiters);
        pthread_mutex_destroy(&m->lock);
        base_free(m);
    }
    id_table_fini(&table);
    is_watching = false;
    mover = (MantaMover_ref){{0}};
}

/* ---- messages that are no calls ---- */

static bool grow(void **items, uint32_t *room, uint32_t count, size_t size)
{
    if (count < *room) return true;
    uint32_t more = *room ? *room * 2 : 8;
    void *grown = base_realloc(*items, more * size);
    if (!grown) return false;
    *items = grown;
    *room = more;
    return true;
}

/* Notes a watcher here; false: it is dead, or there is no memory. */
static bool note(moving *m, relation_record r)
{
    pthread_mutex_lock(&m->lock);
    bool ok = m->state != MOVING_DEAD && grow((void **)&m->watchers, &m->room_watchers, m->n_watchers, sizeof r);
    if (ok) m->watchers[m->n_watchers++] = r;
    pthread_mutex_unlock(&m->lock);
    return ok;
}

static void forget(moving *m, uint64_t here, uint64_t monitor_id)
{
    pthread_mutex_lock(&m->lock);
    for (uint32_t i = 0; i < m->n_watchers; i++)
        if (m->watchers[i].here == here && m->watchers[i].monitor == monitor_id) {
            m->watchers[i] = m->watchers[--m->n_watchers];
            break;
        }
    pthread_mutex_unlock(&m->lock);
}

static bool note_waiter(moving *m, future *f)
{
    pthread_mutex_lock(&m->lock);
    bool ok = m->state != MOVING_DEAD && grow((void **)&m->waiters, &m->room_waiters, m->n_waiters, sizeof f);
    if (ok) m->waiters[m->n_waiters++] = f;
    pthread_mutex_unlock(&m->lock);
    return ok;
}

static void post_relation(worker *w, moving *m, uint64_t handle, message *x)
{
    const relation *r = message_payload(x);
    bool ok = true;
    if (x->kind == KIND_LINK) ok = note(m, (relation_record){r->who, handle, 0, NULL, false});
    else if (x->kind == KIND_MONITOR) ok = note(m, (relation_record){r->who, handle, r->monitor, r->method, true});
    else if (x->kind == KIND_WATCH) ok = note_waiter(m, x->reply);
    else if (x->kind == KIND_UNLINK || x->kind == KIND_EXIT) forget(m, r->who, 0);
    else if (x->kind == KIND_DEMONITOR) forget(m, r->who, r->monitor);
    if (ok && x->kind == KIND_WATCH) x->reply = NULL;
    if (!ok) message_dead(w, handle, x, MANTA_EDEAD, NULL);
    message_free(w, x);
}

manta_status moving_post(worker *w, uint64_t process, uint64_t handle, message *x, bool may_wait)
{
    moving *m = use(process);
    (void)may_wait;
    if (!m || !mover.actor.id) {
        if (!m) error_set(MANTA_ENOMEM, "no memory for the place of an actor");
        else
            error_set(
                MANTA_EUNSUPPORTED, "only processes of a job, or a program with a directory for durable actors, can use one that moves");
        manta_status status = manta_last_error()->status;
        message_dead(w, handle, x, status, manta_last_error());
        message_free(w, x);
        return status;
    }
    if (x->kind == KIND_CALL) return moving_call_post(w, m, x, handle);
    if (x->kind >= KIND_LINK && x->kind <= KIND_WATCH) post_relation(w, m, handle, x);
    else {
        if (x->reply) future_complete(w, x->reply, NULL, NULL, 0);
        message_free(w, x);
    }
    return MANTA_OK;
}

bool moving_is_alive(uint64_t process)
{
    moving *m = use(process);
    if (!m) return false;
    pthread_mutex_lock(&m->lock);
    bool yes = m->state != MOVING_DEAD;
    pthread_mutex_unlock(&m->lock);
    return yes;
}

uint64_t moving_place(uint64_t process)
{
    moving *m = use(process);
    if (!m) return 0;
    pthread_mutex_lock(&m->lock);
    uint64_t at = m->state == MOVING_ALIVE ? m->process : 0;
    pthread_mutex_unlock(&m->lock);
    return at;
}

static manta_status stop_there(uint64_t uid, manta_actor target)
{
    return uid_is_durable(uid) ? MantaKeeper_finish_send(MantaKeeper_ref_of(target)) : manta_stop(target);
}

/* A stop lets it end what was sent before, and only then is it dead; one without a place is dead at once, and a kill is. */
manta_status moving_stop_actor(worker *w, uint64_t process, bool kill)
{
    moving *m = use(process);
    const char *what = kill ? "manta_kill" : "manta_stop";
    (void)w;
    if (!m) return error_set(MANTA_ENOMEM, "%s: no memory", what);
    pthread_mutex_lock(&m->lock);
    bool is_dead = m->state == MOVING_DEAD, is_there = m->state == MOVING_ALIVE;
    manta_actor target = {m->target};
    pthread_mutex_unlock(&m->lock);
    if (is_dead) return error_set(MANTA_EDEAD, "%s: %s", what, manta_status_text(MANTA_EDEAD));
    if (is_there && !kill && stop_there(m->uid, target) == MANTA_OK) return MANTA_OK;
    name_end(m->uid, kill ? "it was killed" : "it was stopped");
    if (is_there) (void)manta_kill(target);
    return MANTA_OK;
}

/* Waits when nothing is known yet. */
static manta_class *class_of(moving *m)
{
    gcs_actor_row row = {0};
    manta_status status;
    pthread_mutex_lock(&m->lock);
    manta_class *cls = m->cls;
    pthread_mutex_unlock(&m->lock);
    if (cls || !read_row(m->uid, &row, &status)) return cls;
    return class_named(row.class_name);
}

/* By the method of this program's class, so that it is logged and sent again as any call; a program without the class can call a restartable one where it is. */
future *moving_call_named(uint64_t handle, uint64_t process, const char *name, manta_bytes payload)
{
    moving *m = use(process);
    manta_class *cls = m ? class_of(m) : NULL;
    worker *w = worker_self();
    if (cls) return dynamic_call(w, (manta_actor){handle}, cls, name, payload);
    if (m && !uid_is_durable(m->uid) && moving_place(process)) return node_call_named(w, m->target, name, payload);
    error_set(m ? MANTA_EUNKNOWN : MANTA_ENOMEM, "manta_call %s: %s", name,
        !m                       ? "no memory for the place of an actor"
        : uid_is_durable(m->uid) ? "the class of the durable actor is not known to this program, or its place cannot be found out now"
                                 : "the actor has no place now");
    return NULL;
}

/* ---- spawning ---- */

bool moving_expect(uint64_t uid, uint64_t epoch)
{
    moving *m = moving_get(uid, true);
    if (!m) return false;
    pthread_mutex_lock(&m->lock);
    m->expected = epoch;
    pthread_mutex_unlock(&m->lock);
    return true;
}

uint64_t moving_expected(uint64_t uid)
{
    moving *m = moving_get(uid, false);
    uint64_t epoch = 1;
    if (!m) return epoch;
    pthread_mutex_lock(&m->lock);
    if (m->expected) epoch = m->expected;
    pthread_mutex_unlock(&m->lock);
    return epoch;
}

static manta_actor refuse(manta_actor who)
{
    char why[256];
    manta_status status = manta_last_error()->status;
    snprintf(why, sizeof why, "%s", manta_last_error()->message);
    if (who.id) (void)manta_kill(who);
    error_set(status, "%s", why);
    return (manta_actor){0};
}

manta_actor moving_adopt(uint64_t uid, manta_actor who)
{
    uint64_t epoch = moving_expected(uid);
    manta_actor keeper = uid_is_durable(uid) ? keeper_spawn(uid, epoch, who) : who, handle = moving_handle(uid);
    if (!keeper.id) return refuse(who);
    if (!handle.id) return error_set(MANTA_ENOMEM, "no memory for a handle"), refuse(who);
    if (name_adopt(uid, epoch, keeper)) return refuse(who);
    if (uid_is_durable(uid)) (void)MantaKeeper_begin_send(MantaKeeper_ref_of(keeper));
    return handle;
}

static bool has_refs(const manta_class *cls)
{
    bool refs = false;
    for (uint32_t i = 0; i < cls->n_methods; i++) {
        const manta_method *method = cls->methods[i];
        if (method != cls->init) refs = refs || method->arguments.refs || method->result.refs;
    }
    return refs;
}

static manta_status check_durable(const manta_options *o, const manta_class *cls)
{
    if (!cls->options.checkpoint || !cls->options.restore)
        return error_set(MANTA_EINVAL, "%s_spawn: a durable class needs MANTA_CHECKPOINT and MANTA_RESTORE, or MANTA_STATE", cls->name);
    if ((o && o->concurrency > 1) || (!(o && o->concurrency) && cls->options.concurrency > 1))
        return error_set(MANTA_EINVAL, "%s_spawn: a durable actor handles one call at a time: concurrency is not for it", cls->name);
    if ((o && o->mailbox_limit) || cls->options.mailbox_limit)
        return error_set(MANTA_EINVAL, "%s_spawn: a mailbox_limit is not for a durable actor, whose calls are logged before", cls->name);
    if (has_refs(cls))
        return error_set(MANTA_EUNSUPPORTED, "%s_spawn: objects cannot be arguments or results of a durable actor", cls->name);
    return MANTA_OK;
}

manta_status moving_check(const manta_options *o, const manta_class *cls, manta_durability durability)
{
    if ((unsigned)durability > MANTA_DURABLE) return error_set(MANTA_EINVAL, "%s_spawn: durability is %d", cls->name, (int)durability);
    if (o && o->link)
        return error_set(MANTA_EINVAL, "%s_spawn: options.link keeps an actor in its parent's process: link to it afterwards", cls->name);
    if (o && options_have(o, placement_group) && o->placement_group.id)
        return error_set(MANTA_EUNSUPPORTED, "%s_spawn: an actor that moves cannot be in a placement group", cls->name);
    if (o && o->process.id) return error_set(MANTA_EINVAL, "%s_spawn: options.process is not for an actor that moves", cls->name);
    if (cls->init && cls->init->arguments.refs)
        return error_set(MANTA_EUNSUPPORTED, "%s_spawn: objects cannot be arguments of an actor's spawn that may run again", cls->name);
    return durability == MANTA_DURABLE ? check_durable(o, cls) : MANTA_OK;
}
