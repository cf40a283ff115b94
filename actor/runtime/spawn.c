/*
 * Making actors: a slot, its state, its options, its first turn.
 *
 * A free slot's mailbox is at rest. Spawn takes it (a late message for the slot's former tenant may have it scheduled: then another slot is taken), fills in
 * the actor, publishes the generation, and queues the first turn, which runs init before any message.
 */
#include <stdio.h>
#include <string.h>

#include "actor/durable/alone.h"
#include "actor/node/moving.h"
#include "actor/node/named.h"
#include "actor/node/owner.h"
#include "actor/runtime/internal.h"
#include "actor/runtime/names.h"
#include "actor/runtime/turn.h"
#include "actor/supervise/spec.h"
#include "actor/supervise/ward.h"

enum { ACTOR_LINK = offsetof(actor, inline_state), MAX_CONCURRENCY = 65535 };

actor_extra *actor_extra_get(actor *a)
{
    if (a->extra) return a->extra;
    actor_extra *x = base_calloc(1, sizeof *x);
    if (!x) return NULL;
    pthread_mutex_init(&x->room_lock, NULL);
    return a->extra = x;
}

static void extra_free(actor_extra *x)
{
    base_free(x->name);
    base_free(x->links.ids);
    base_free(x->monitors.items);
    base_free(x->watching.ids);
    base_free(x->stash.items);
    base_free(x->exit_waiters.items);
    base_free(x->room_waiters.items);
    pthread_mutex_destroy(&x->room_lock);
    base_free(x);
}

/* Senders that wait for room in a bounded mailbox may still look at the record: such a slot keeps it for its next tenant. */
static void extra_reset(actor *a)
{
    actor_extra *x = a->extra;
    bool bounded = load_relaxed(&a->flags) & ACTOR_BOUNDED;
    if (!x) return;
    if (!bounded) {
        extra_free(x);
        a->extra = NULL;
        return;
    }
    base_free(x->name);
    x->name = NULL;
    x->links.count = x->monitors.count = x->watching.count = x->exit_waiters.count = 0;
    x->stash.count = x->stash.next = x->unstash_left = 0;
    x->trap_exit = x->unstash = x->in_groups = false;
    x->on_failure = MANTA_FAILURE_DEFAULT;
    x->supervisor = 0;
    x->suspended = NULL;
    x->moving = 0;
}

void actors_trim(void)
{
    uint64_t used = load_relaxed(&actor_slab.used);
    for (uint64_t i = 0; i < used && i < actor_slab.capacity; i++) {
        actor *a = slab_at(&actor_slab, i);
        if (a->extra) extra_free(a->extra);
        a->extra = NULL;
    }
}

actor *actor_new(worker *w)
{
    actor *busy = NULL, *a;
    while ((a = slab_get(&actor_slab, &w->caches[ACTOR_CACHE], ACTOR_LINK)) && !mailbox_take(&a->box)) {
        a->boot = (message *)(void *)busy;
        busy = a;
    }
    while (busy) {
        actor *next = (actor *)(void *)busy->boot;
        busy->boot = NULL;
        slab_put(&actor_slab, &w->caches[ACTOR_CACHE], busy, ACTOR_LINK);
        busy = next;
    }
    if (!a) return NULL;
    a->run.fiber = NULL;
    a->run.sticky = 0;
    a->run.priority = RUN_NORMAL;
    store_relaxed(&a->run.home, 0);
    a->behavior = NULL;
    a->boot = NULL;
    a->active = 0;
    store_relaxed(&a->concurrency, 1);
    store_relaxed(&a->blocked, 0);
    store_relaxed(&a->handled, 0);
    store_relaxed(&a->waiting, NULL);
    store_relaxed(&a->flags, 0);
    return a;
}

void actor_free(worker *w, actor *a)
{
    extra_reset(a);
    __atomic_store_n(&a->cls, NULL, __ATOMIC_RELAXED); /* somebody may be asking for its methods by name */
    store_relaxed(&a->flags, 0);
    store_relaxed(&a->phase, PHASE_FREE);
    slab_put(&actor_slab, &w->caches[ACTOR_CACHE], a, ACTOR_LINK);
}

static manta_status check_options(const manta_options *o, const manta_class *cls)
{
    if (o->size > sizeof *o)
        return error_set(MANTA_EINVAL, "%s_spawn: options.size is %zu, this library knows %zu bytes", cls->name, o->size, sizeof *o);
    if (o->concurrency > MAX_CONCURRENCY)
        return error_set(MANTA_EINVAL, "%s_spawn: options.concurrency is %u, at most %d", cls->name, o->concurrency, MAX_CONCURRENCY);
    if ((unsigned)o->overflow > MANTA_OVERFLOW_DROP_OLDEST)
        return error_set(MANTA_EINVAL, "%s_spawn: options.overflow is %d", cls->name, (int)o->overflow);
    if ((unsigned)o->on_failure > MANTA_FAILURE_EXIT)
        return error_set(MANTA_EINVAL, "%s_spawn: options.on_failure is %d", cls->name, (int)o->on_failure);
    if ((unsigned)options_lifetime(o) > MANTA_LIFETIME_DETACHED)
        return error_set(MANTA_EINVAL, "%s_spawn: options.lifetime is %d", cls->name, (int)o->lifetime);
    if (options_lifetime(o) == MANTA_LIFETIME_DETACHED && !o->name)
        return error_set(MANTA_EINVAL, "%s_spawn: a detached actor needs a name, or nobody would find it", cls->name);
    return MANTA_OK;
}

static bool set_state(actor *a, manta_class *cls)
{
    a->cls = cls;
    a->state = a->inline_state;
    if (cls->state_size > LOCAL_INLINE_STATE) {
        if (!(a->state = base_calloc(1, cls->state_size))) return false;
        a->state_on_heap = 1;
    } else memset(a->inline_state, 0, cls->state_size);
    return true;
}

/* Settings beyond the plain case: needs the extra record. */
static bool set_options(actor *a, const manta_class *cls, const manta_options *o)
{
    uint32_t limit = o && o->mailbox_limit ? o->mailbox_limit : cls->options.mailbox_limit;
    uint32_t concurrency = o && o->concurrency ? o->concurrency : cls->options.concurrency;
    if (!limit && concurrency <= 1 && !(o && (o->on_failure || o->trap_exit)) && !cls->options.trap_exit) return true;
    actor_extra *x = actor_extra_get(a);
    if (!x) return false;
    store_relaxed(&a->concurrency, (uint16_t)(concurrency ? concurrency : 1));
    x->on_failure = o ? o->on_failure : MANTA_FAILURE_DEFAULT;
    x->trap_exit = (o && o->trap_exit) || cls->options.trap_exit;
    if (!limit) return true;
    x->limit = limit;
    x->overflow = o && o->mailbox_limit ? o->overflow : cls->options.overflow;
    store_relaxed(&x->queued, 0);
    store_relaxed(&a->flags, ACTOR_BOUNDED);
    return true;
}

/* Undoes a half-made actor whose generation was not published. */
static void unmake(worker *w, actor *a)
{
    if (a->state_on_heap) base_free(a->state);
    a->state_on_heap = 0;
    if (a->boot && a->boot->reply) {
        future_free(w, a->boot->reply);
        activation_of(w)->started = a->boot->reply = NULL;
    }
    if (a->boot) message_discard(w, a->boot);
    a->boot = NULL;
    do late_messages(w, a);
    while (!mailbox_try_rest(w, &a->box, &a->end));
    actor_free(w, a);
}

static void publish(worker *w, actor *a, manta_class *cls)
{
    store_relaxed(&a->phase, PHASE_STARTING);
    store_release(&a->generation, load_relaxed(&a->generation) + 1); /* odd: alive */
    count_up(&local_of(w)->spawned, 1);
    TRACE(1, w, TRACE_SPAWN, actor_id(a), cls->name, "");
}

static void begin(worker *w, actor *a)
{
    if (!a->boot) { /* nothing to run: at rest at once, unless a message came already */
        store_relaxed(&a->phase, PHASE_LIVE);
        if (mailbox_try_rest(w, &a->box, &a->end)) return;
    }
    worker_ready_spawned(w, &a->run);
}

spawn_parent spawn_parent_self(const manta_options *o)
{
    activation *act = o && o->link ? activation_self() : NULL;
    actor *a = act ? act->actor : NULL;
    return a && a->cls ? (spawn_parent){actor_id(a), a->cls == &Supervisor_class} : (spawn_parent){0, false};
}

static bool watch_boot(worker *w, actor *a)
{
    activation *act = activation_of(w);
    act->watches_init = false;
    if (!a->boot) return true;
    if (!(act->started = future_new(w))) return false;
    a->boot->reply = act->started;
    return true;
}

static manta_status make(
    worker *w, actor *a, manta_class *cls, const manta_options *o, const void *arguments, size_t extra_bytes, spawn_parent parent)
{
    if (!set_state(a, cls) || !set_options(a, cls, o)) return MANTA_ENOMEM;
    if (cls->init && !(a->boot = message_make(w, cls->init, arguments, extra_bytes))) return MANTA_ENOMEM;
    bool wanted = activation_of(w)->watches_init && (parent.supervised || cls == &Supervisor_class); /* not what a spawn makes on its way */
    if (unlikely(wanted) && !watch_boot(w, a)) return MANTA_ENOMEM;
    if (!parent.id) return MANTA_OK;
    if (!is_remote(parent.id)) return relation_link_at_spawn(a, parent.id, parent.supervised) ? MANTA_OK : MANTA_ENOMEM;
    if (a->boot) a->boot->from = parent.id;
    return relation_parent(a, parent.id, parent.supervised) ? MANTA_OK : MANTA_ENOMEM;
}

/* Whether the options, or the class, say something about where. Of an older program they may be shorter. */
static bool asks_for_a_place(const manta_class *cls, const manta_options *o)
{
    if (cls->options.isolated) return true;
    if (o->size && o->size <= offsetof(manta_options, isolated)) return false;
    return o->where || o->labels || o->resources || o->cpus > 0 || o->gpus > 0 || o->memory_bytes || o->placement_group.id || o->isolated;
}

/* In a job an actor goes where its options say; a child that is linked to its parent stays with it unless they say something. out->process 0: here. */
static inline manta_status place(const manta_class *cls, const manta_options *o, actor_place *out)
{
    *out = (actor_place){.process = o ? o->process.id : 0};
    if (likely(!load_relaxed(&owner_is_on)) || out->process || (o && o->where == MANTA_WHERE_HERE)) return MANTA_OK;
    if (o && o->link && !asks_for_a_place(cls, o)) return MANTA_OK;
    demand *d = demand_of_actor(o, cls);
    return d ? owner_place(d, o ? o->timeout_ms : 0, out) : manta_last_error()->status;
}

/* In another process, or in this one for a lease. */
static manta_actor spawn_elsewhere(const actor_place *at, const manta_options *o, manta_class *cls, const void *arguments, uint64_t uid)
{
    manta_actor made = node_spawn(at->process, o, cls, arguments, at->lease, uid);
    if (!made.id && at->lease) owner_give_back(at);
    if (made.id && o && o->link) relation_made_elsewhere(made.id);
    return made;
}

/* A name that another actor of the class has is no failure when the options say so: that actor in *out_existing. */
static manta_status claim_name(actor *a, const manta_options *o, const manta_class *cls, uint64_t id, manta_actor *out_existing)
{
    manta_status status = names_claim(o->name, id);
    if (status == MANTA_EEXIST && options_get_if_exists(o) && names_get(o->name, out_existing) == MANTA_OK) {
        const actor *other = actor_slot(out_existing->id);
        if (other->cls == cls) return status;
        *out_existing = (manta_actor){0};
        return error_set(status, "%s_spawn: the name \"%s\" belongs to an actor of another class", cls->name, o->name);
    }
    if (status || (actor_extra_get(a) && (a->extra->name = base_strdup(o->name)))) return status;
    names_release(o->name, id);
    return error_set(MANTA_ENOMEM, "%s_spawn: no memory", cls->name);
}

/* Its name is its row's: who asks for it here must get the handle that moves, and whoever calls by that goes by the keeper. */
static manta_status set_moving(actor *a, const manta_options *o, uint64_t uid)
{
    if (!actor_extra_get(a) || (o && o->name && !(a->extra->name = base_strdup(o->name)))) return MANTA_ENOMEM;
    a->extra->moving = uid;
    return MANTA_OK;
}

static bool make_ward(actor *a, uint64_t id, uint64_t supervisor)
{
    store_relaxed(&a->flags, load_relaxed(&a->flags) | ACTOR_WARD);
    return ward_add(id, supervisor);
}

static manta_actor spawn_here(
    const manta_options *options, manta_class *cls, const void *arguments, size_t extra_bytes, uint64_t uid, spawn_parent parent)
{
    worker *w = worker_self();
    actor *a = actor_new(w);
    manta_actor existing = {0};
    if (!a) {
        error_set(MANTA_ELIMIT, "%s_spawn: no slot for another actor (max_actors %lu)", cls->name,
            (unsigned long)load_relaxed(&actor_slab.limit));
        return existing;
    }
    uint64_t id = actor_index(a) | (uint64_t)(load_relaxed(&a->generation) + 1) << 32;
    manta_status status = make(w, a, cls, options, arguments, extra_bytes, parent);
    if (!status && uid_is_moving(uid)) status = set_moving(a, options, uid);
    if (!status && parent.supervised && !make_ward(a, id, parent.id)) status = MANTA_ENOMEM;
    if (status) error_set(status, "%s_spawn: no memory", cls->name);
    else if (options && options->name && !uid_is_moving(uid)) status = claim_name(a, options, cls, id, &existing);
    if (status) {
        if (parent.supervised) ward_end(id);
        unmake(w, a);
        return existing;
    }
    publish(w, a, cls);
    if (unlikely(is_remote(parent.id))) relation_tell_parent(w, id, parent.id); /* before it can exit */
    begin(w, a);
    return (manta_actor){id};
}

static manta_actor adopt(manta_actor a, uint64_t uid)
{
    char why[256];
    if (a.id && uid_is_moving(uid)) return moving_adopt(uid, a);
    manta_status status = a.id ? name_adopt(uid, 1, a) : MANTA_OK;
    if (!status) return a;
    snprintf(why, sizeof why, "%s", manta_last_error()->message);
    (void)manta_kill(a);
    error_set(status, "%s", why);
    return (manta_actor){0};
}

manta_actor spawn_as(const manta_options *options, manta_class *cls, const void *arguments, size_t extra_bytes, uint64_t uid)
{
    actor_place at;
    if (unlikely(place(cls, options, &at))) return (manta_actor){0};
    if (unlikely(at.lease || (at.process && at.process != the_node.process))) return spawn_elsewhere(&at, options, cls, arguments, uid);
    manta_actor a = spawn_here(options, cls, arguments, extra_bytes, uid, spawn_parent_self(options));
    return likely(!uid) ? a : adopt(a, uid);
}

manta_actor spawn_for(
    const manta_options *options, manta_class *cls, const void *arguments, size_t extra_bytes, uint64_t uid, spawn_parent parent)
{
    if (check_options(options, cls)) return (manta_actor){0};
    manta_actor a = spawn_here(options, cls, arguments, extra_bytes, uid, parent);
    return uid ? adopt(a, uid) : a;
}

/* ---- constructors that take objects, in a job ---- */

typedef struct kept_arguments {
    unwind unwind;
    message *message;
} kept_arguments;

static void discard_kept(worker *w, unwind *u) { message_discard(w, ((kept_arguments *)(void *)u)->message); }

static manta_actor spawn_in_job(const manta_options *options, manta_class *cls, const void *arguments, size_t extra_bytes)
{
    if ((options && options->name) || options_durability(options) || cls->options.durability)
        return named_spawn(options, cls, arguments, extra_bytes);
    return spawn_as(options, cls, arguments, extra_bytes, 0);
}

/* A name, and a process to spawn in, may take a while to get. Others may let go of the objects meanwhile, and the spawning handler may be killed: the arguments are kept as a message's are. */
static manta_actor spawn_kept(const manta_options *options, manta_class *cls, const void *arguments, size_t extra_bytes)
{
    activation *act = activation_self();
    kept_arguments kept = {{NULL, discard_kept}, message_make(worker_self(), cls->init, arguments, extra_bytes)};
    if (!kept.message) {
        error_set(MANTA_ENOMEM, "%s_spawn: no memory", cls->name);
        return (manta_actor){0};
    }
    unwind_push(act, &kept.unwind);
    manta_actor a = spawn_in_job(options, cls, message_payload(kept.message), extra_bytes);
    unwind_pop(act, &kept.unwind);
    message_discard(worker_self(), kept.message);
    return a;
}

/* A durable one of a program that belongs to no cluster. */
static manta_actor spawn_alone(const manta_options *options, manta_class *cls, const void *arguments, size_t extra_bytes)
{
    if (load_relaxed(&alone_is_on)) return named_spawn(options, cls, arguments, extra_bytes);
    error_set(MANTA_EUNSUPPORTED,
        "%s_spawn: a durable actor needs a directory for its log (manta_config.durable, MANTA_DURABLE), or a cluster (manta run)",
        cls->name);
    return (manta_actor){0};
}

manta_actor manta_spawn_class(const manta_options *options, manta_class *cls, const void *arguments, size_t extra_bytes)
{
    int running = load_relaxed(&the_runtime.running);
    if (!worker_self() || running != 1) {
        error_set(MANTA_ESHUTDOWN, "%s_spawn: %s", cls->name,
            running == 2 ? "the system is shutting down" : "no system runs, call manta_init first");
        return (manta_actor){0};
    }
    if (options && check_options(options, cls)) return (manta_actor){0};
    manta_durability durability = options_durability(options) ? options_durability(options) : cls->options.durability;
    if (unlikely(durability == MANTA_DURABLE && !load_relaxed(&owner_is_on))) return spawn_alone(options, cls, arguments, extra_bytes);
    if (unlikely(load_relaxed(&owner_is_on))) {
        if (cls->init && cls->init->arguments.refs) return spawn_kept(options, cls, arguments, extra_bytes);
        return spawn_in_job(options, cls, arguments, extra_bytes);
    }
    return spawn_as(options, cls, arguments, extra_bytes, 0);
}

future *actor_started(worker *w, uint64_t id)
{
    future *f = future_new(w);
    message *m = f ? message_new(w, 0) : NULL;
    if (!m) {
        if (f) future_free(w, f);
        return NULL;
    }
    m->kind = KIND_WAKE;
    m->method = NULL;
    m->reply = f;
    m->from = 0;
    message_post(w, id, m);
    return f;
}

void spawn_watch_init(void)
{
    activation *act = activation_self();
    if (act) act->watches_init = true;
}

/* The first wait has the reason of a failure; the second one ends when init, which has returned, has not exited either. */
static manta_status await_both(worker *w, activation *act, manta_actor made)
{
    for (int i = 0; i < 2; i++) {
        future *f = i ? actor_started(w, made.id) : act->started;
        act->started = NULL;
        if (!f && !i) continue;
        manta_status status = f ? event_await(f, OS_FOREVER, "an actor's init") : error_set(MANTA_ENOMEM, "no memory to wait for an init");
        w = worker_self();
        if (status && f) future_drop(w, f);
        if (status) {
            (void)manta_kill(made);
            return f ? error_set(status, "the wait for its init: %s", manta_status_text(status)) : status;
        }
        if ((status = future_take(f, NULL, 0)))
            return i ? status : error_set_last(error_new(MANTA_EINIT, manta_last_error(), "init failed"));
    }
    return MANTA_OK;
}

manta_status spawn_await_init(manta_actor made)
{
    activation *act = activation_self();
    if (act) act->watches_init = false;
    if (!made.id) return manta_last_error()->status;
    return is_remote(made.id) ? MANTA_OK : await_both(worker_self(), act, made);
}

bool manta_is_alive(manta_actor who) { return is_remote(who.id) ? node_is_alive(who.id) : actor_is(actor_slot(who.id), who.id); }

manta_status manta_stop(manta_actor who)
{
    worker *w = worker_self();
    if (w && is_remote(who.id)) return node_stop_actor(w, who.id, false);
    message *m = w ? message_new(w, 0) : NULL;
    if (!m) return error_set(MANTA_ENOMEM, "manta_stop: no memory");
    actor *a = actor_slot(who.id);
    if (!actor_is(a, who.id)) {
        message_free(w, m);
        return error_set(MANTA_EDEAD, "manta_stop: %s", manta_status_text(MANTA_EDEAD));
    }
    m->kind = KIND_STOP;
    m->method = NULL;
    m->reply = NULL;
    m->from = 0;
    m->generation = (uint32_t)(who.id >> 32);
    message_deliver(w, a, m);
    return MANTA_OK;
}

manta_status manta_kill(manta_actor who)
{
    actor *a = actor_slot(who.id);
    worker *w = worker_self();
    if (w && is_remote(who.id)) return node_stop_actor(w, who.id, true);
    if (!w || !actor_is(a, who.id)) return error_set(MANTA_EDEAD, "manta_kill: %s", manta_status_text(MANTA_EDEAD));
    atomic_fetch_or_explicit(&a->flags, ACTOR_KILL, memory_order_seq_cst);
    actor_nudge(w, a);
    return MANTA_OK;
}
