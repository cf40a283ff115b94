/*
 * The supervisor: an ordinary actor that is linked to its children and traps their exits. Children may be in any process that it can reach (spawn options).
 *
 *   child exits --> restart wanted? --no--> forget (temporary) or keep stopped (transient, normal exit)
 *                        | yes
 *                   too often? --yes--> exit with MANTA_ERESTARTS; on_stop stops all
 *                        | no
 *                   stop the range that the strategy names (newest first), pause (backoff), start it again in order;
 *                   a start that fails counts like an exit
 *
 * 1. Its handlers interleave at waits: while a child starts or stops, perhaps far away, it goes on with all others. Changes to a child come one after the other, by the lock of the child; with one_for_all and
 *    rest_for_one those to all children do, by that of the supervisor. Who waits for a lock looks again at what it finds.
 * 2. A child's actor id is cleared before it is stopped, so its exit signal is nobody's news.
 * 3. A child may exit before the handler that starts it knows its id: such exits are kept while anything starts (`strays`).
 * 4. A child record that a handler holds over a wait (`users`) is freed by the last of them. Serials grow with the index, so loops over waits go by serial.
 * 5. on_stop runs alone: the other handlers are never continued. What they were starting ends all the same: a child ends with its supervisor, however that ends (actor_extra.supervisor).
 */
#include <stdio.h>
#include <string.h>

#include "actor/supervise/supervisor.h"

enum {
    INTENSITY_DEFAULT = 1,
    PERIOD_DEFAULT_MS = 5000,
    HISTORY = 1024,
    HANDLERS = 256,
    STRAYS_LIMIT = 1024,
    PLACE_DEFAULT_MS = 5000,
    KILL_PATIENCE_MS = 5000,
    START_AGAIN_MS = 10, /* after a start that failed */
    ROWS = 256
};

typedef struct lock_waiter {
    struct lock_waiter *next;
    future *turn;
} lock_waiter;

typedef struct lock {
    bool taken;
    lock_waiter *first;
} lock;

typedef struct child {
    spec_data *spec;
    manta_actor actor;    /* {0}: not running */
    manta_actor stopping; /* {0}: none is being stopped */
    uint32_t restarts, users;
    uint64_t serial;
    bool stopped; /* by manta_supervisor_terminate, or it ended by itself */
    bool removed; /* in the list of those, for its last user */
    lock lock;
    struct child *next_removed;
} child;

typedef struct stray {
    uint64_t who;
    int32_t status;
    char why[200];
} stray;

typedef struct sup {
    manta_supervisor_options options; /* without the name */
    child **children;
    child *removed;
    size_t count, capacity;
    uint64_t next_serial, parent;
    bool supervised;
    lock lock; /* of the group strategies */
    uint32_t starting, n_strays;
    stray *strays;
    uint64_t history[HISTORY]; /* times of the last restarts, ns */
    uint32_t restarts, streak; /* streak: restarts since the last quiet period, for the backoff */
} sup;

static bool is_running(void) { return load_relaxed(&the_runtime.running) == 1; }
static bool is_alone(const sup *s) { return s->options.strategy == MANTA_ONE_FOR_ONE || s->options.strategy == MANTA_SIMPLE_ONE_FOR_ONE; }

/* ---- locks: handlers of one actor never run in parallel ---- */

static lock *lock_of(sup *s, child *c) { return is_alone(s) ? &c->lock : &s->lock; }

static void lock_release(lock *l)
{
    lock_waiter *w = l->first;
    l->taken = w != NULL;
    if (!w) return;
    l->first = w->next;
    w->next = w; /* it has the lock */
    future_complete(worker_self(), w->turn, NULL, NULL, 0);
}

static manta_status lock_take(lock *l)
{
    lock_waiter me = {.next = NULL}, **at = &l->first;
    if (!l->taken) return l->taken = true, MANTA_OK;
    if (!(me.turn = future_new(worker_self()))) return error_set(MANTA_ENOMEM, "supervisor: no memory");
    while (*at) at = &(*at)->next;
    *at = &me;
    manta_status status = event_await(me.turn, OS_FOREVER, "another change to its children");
    if (!status) return future_free(worker_self(), me.turn), MANTA_OK;
    future_drop(worker_self(), me.turn);
    if (me.next == &me) lock_release(l);
    for (at = &l->first; *at; at = &(*at)->next)
        if (*at == &me) {
            *at = me.next;
            break;
        }
    return error_set(status, "supervisor: another change to its children is under way: %s", manta_status_text(status));
}

/* ---- children ---- */

static bool make_room(sup *s)
{
    if (s->count >= CHILD_LIMIT) return false;
    if (s->count < s->capacity) return true;
    size_t capacity = s->capacity ? s->capacity * 2 : 4;
    child **children = base_realloc(s->children, capacity * sizeof *children);
    if (!children) return false;
    s->children = children;
    s->capacity = capacity;
    return true;
}

/* Of a copy of the spec; NULL: no memory, or the limit. */
static child *child_add(sup *s, const spec_data *spec)
{
    child *c = make_room(s) ? base_calloc(1, sizeof *c) : NULL;
    if (!c) return NULL;
    if (!(c->spec = spec_clone(spec))) {
        base_free(c);
        return NULL;
    }
    spec_data *own = c->spec;
    c->serial = ++s->next_serial;
    if (!own->id[0]) snprintf(own->id, sizeof own->id, "%.100s-%llu", own->cls->name, (unsigned long long)c->serial);
    return s->children[s->count++] = c;
}

static void child_free(child *c)
{
    spec_free(c->spec);
    base_free(c);
}

/* The index of the first child with that serial or a later one; there may be none. */
static size_t index_from(const sup *s, uint64_t serial)
{
    size_t low = 0, high = s->count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (s->children[middle]->serial < serial) low = middle + 1;
        else high = middle;
    }
    return low;
}

static void child_remove(sup *s, child *c)
{
    size_t i = index_from(s, c->serial);
    if (c->removed) return;
    memmove(&s->children[i], &s->children[i + 1], (s->count - i - 1) * sizeof(child *));
    s->count--;
    if (!c->users) {
        child_free(c);
        return;
    }
    c->removed = true;
    c->next_removed = s->removed;
    s->removed = c;
}

static void child_hold(child *c) { c->users++; }

static void child_release(sup *s, child *c)
{
    if (--c->users || !c->removed) return;
    child **at = &s->removed;
    while (*at != c) at = &(*at)->next_removed;
    *at = c->next_removed;
    child_free(c);
}

static child *child_named(const sup *s, manta_str id)
{
    for (size_t i = 0; i < s->count; i++)
        if (strlen(s->children[i]->spec->id) == id.size && memcmp(s->children[i]->spec->id, id.data, id.size) == 0) return s->children[i];
    return NULL;
}

/* ---- starting ---- */

static void stray_keep(sup *s, uint64_t who, int32_t status, const char *why)
{
    if (!s->strays && !(s->strays = base_calloc(STRAYS_LIMIT, sizeof *s->strays))) return;
    if (s->n_strays == STRAYS_LIMIT) memmove(s->strays, s->strays + 1, --s->n_strays * sizeof *s->strays);
    stray *x = &s->strays[s->n_strays++];
    *x = (stray){.who = who, .status = status};
    snprintf(x->why, sizeof x->why, "%s", why);
}

/* The child that has just been noted had exited before: its exit comes now. */
static void stray_deliver(const sup *s, manta_actor who)
{
    for (uint32_t i = 0; i < s->n_strays; i++)
        if (s->strays[i].who == who.id)
            (void)Supervisor_on_exit_send(Supervisor_ref_of(manta_self()), who, s->strays[i].status, manta_str_of(s->strays[i].why));
}

/* Starts a child and waits for its init. On failure the reason is last_error. Under the lock; the caller holds the child. */
static manta_status child_start(sup *s, child *c)
{
    const spec_data *spec = c->spec;
    manta_options o = spec->spawn;
    const manta_layout *layout = spec->cls->init ? &spec->cls->init->arguments : NULL;
    if (!o.timeout_ms) o.timeout_ms = PLACE_DEFAULT_MS;
    s->starting++;
    spawn_watch_init();
    manta_actor a = manta_spawn_class(&o, spec->cls, spec->arguments, layout && layout->extra ? layout->extra(spec->arguments) : 0);
    manta_status status = spawn_await_init(a); /* elsewhere the spawn itself has waited for that */
    s->starting--;
    if (!status) {
        c->actor = a;
        c->stopped = false;
        stray_deliver(s, a);
    }
    if (!s->starting) s->n_strays = 0;
    return status;
}

/* Those that do not run, from that serial on, in order. */
static manta_status start_range(sup *s, uint64_t from)
{
    manta_status status = MANTA_OK;
    for (size_t i; !status && (i = index_from(s, from)) < s->count;) {
        child *c = s->children[i];
        from = c->serial + 1;
        if (c->actor.id || c->stopped) continue;
        child_hold(c);
        status = child_start(s, c);
        child_release(s, c);
    }
    return status;
}

/* ---- stopping ---- */

static void stop_noted(sup *s, child *c)
{
    manta_actor a = c->stopping;
    uint32_t patience = c->spec->shutdown_ms;
    if (!a.id) return;
    child_hold(c);
    bool asked = patience != MANTA_STOP_NOW && manta_stop(a) == MANTA_OK;
    if (!asked || manta_wait_exit(a, patience, NULL)) {
        (void)manta_kill(a);
        (void)manta_wait_exit(a, patience == MANTA_STOP_NOW ? KILL_PATIENCE_MS : patience, NULL);
    }
    c->stopping.id = 0;
    child_release(s, c);
}

static void note_stop(child *c)
{
    if (c->actor.id) c->stopping = c->actor;
    c->actor.id = 0;
}

static void child_stop(sup *s, child *c)
{
    note_stop(c);
    stop_noted(s, c);
}

/* From that serial on, newest first. All are noted first: their exits are no news, in whatever order they come. */
static void stop_range(sup *s, uint64_t from)
{
    for (size_t i = index_from(s, from); i < s->count; i++) note_stop(s->children[i]);
    for (uint64_t before = UINT64_MAX;;) {
        size_t i = index_from(s, before);
        if (!i || s->children[i - 1]->serial < from) return;
        before = s->children[i - 1]->serial;
        stop_noted(s, s->children[i - 1]);
    }
}

/* ---- restarting ---- */

static uint32_t intensity_of(const sup *s) { return s->options.intensity ? s->options.intensity : INTENSITY_DEFAULT; }

static uint64_t period_ns(const sup *s)
{
    return (uint64_t)(s->options.period_ms ? s->options.period_ms : PERIOD_DEFAULT_MS) * OS_NS_PER_MS;
}

/* Notes a restart; false: there were too many within the period. */
static bool restart_allowed(sup *s)
{
    uint32_t intensity = intensity_of(s);
    uint64_t now = manta_now_ns(), last = s->restarts ? s->history[(s->restarts - 1) % HISTORY] : 0;
    s->streak = s->restarts && now - last < period_ns(s) ? s->streak + 1 : 0;
    s->history[s->restarts++ % HISTORY] = now;
    if (intensity >= HISTORY) return true; /* UINT32_MAX: no limit; what is above the history cannot be told from it */
    if (s->restarts <= intensity) return true;
    return now - s->history[(s->restarts - 1 - intensity) % HISTORY] > period_ns(s);
}

static uint64_t backoff_ms(const sup *s)
{
    const manta_supervisor_options *o = &s->options;
    if (!o->backoff_min_ms) return 0;
    uint64_t most = o->backoff_max_ms > o->backoff_min_ms ? o->backoff_max_ms : o->backoff_min_ms, ms = o->backoff_min_ms;
    for (uint32_t i = 0; i < s->streak && ms < most; i++) ms *= 2;
    if (ms > most) ms = most;
    double unit = (double)(manta_random() >> 11) / (double)(1ull << 53);
    return (uint64_t)((double)ms * (1 + o->backoff_jitter * (2 * unit - 1)));
}

/* on_stop stops the children. */
static void give_up(const sup *s, const child *c, const char *why)
{
    manta_exit(MANTA_ERESTARTS, "child %s failed more than %u times in %llu ms, at last: %s", c->spec->id, intensity_of(s),
        (unsigned long long)(period_ns(s) / OS_NS_PER_MS), why);
}

/* One attempt to start the child, with the group strategies also those after it. *out_done: there is nothing to be done any more. */
static manta_status attempt(sup *s, child *c, bool *out_done)
{
    manta_status status = lock_take(lock_of(s, c));
    *out_done = status == MANTA_OK;
    if (status) return status;
    bool wanted = !c->removed && !c->stopped && !c->actor.id && is_running();
    uint64_t from = s->options.strategy == MANTA_ONE_FOR_ALL ? 0 : c->serial;
    if (wanted) status = is_alone(s) ? child_start(s, c) : start_range(s, from);
    *out_done = !status || !is_running();
    if (!*out_done && !is_alone(s)) stop_range(s, from);
    lock_release(lock_of(s, c));
    return status;
}

static bool restart_later(const child *c, uint64_t pause_ms)
{
    return Supervisor_restart_due_after(pause_ms, Supervisor_ref_of(manta_self()), c->serial).id != 0;
}

/* One attempt; when it fails the next one comes by a timer, so this handler does not go on for long. */
static void restart_now(sup *s, child *c)
{
    bool done = false;
    for (;;) {
        char why[256];
        (void)attempt(s, c, &done);
        if (done) return;
        manta_error_format(manta_last_error(), why, sizeof why);
        c->restarts++;
        if (!restart_allowed(s)) {
            give_up(s, c, why);
            return;
        }
        uint64_t pause = backoff_ms(s);
        if (pause < START_AGAIN_MS) pause = START_AGAIN_MS;
        if (restart_later(c, pause) || manta_sleep(pause)) return;
    }
}

/* With a group strategy the others of the range stop at once. The child is held. */
static void begin_restart(sup *s, child *c)
{
    if (!is_alone(s) && lock_take(&s->lock) == MANTA_OK) {
        bool wanted = !c->removed && !c->stopped && !c->actor.id;
        if (wanted) stop_range(s, s->options.strategy == MANTA_ONE_FOR_ALL ? 0 : c->serial);
        lock_release(&s->lock);
        if (!wanted) return;
    }
    uint64_t pause = backoff_ms(s);
    if (!pause || !restart_later(c, pause)) restart_now(s, c); /* no timer to be had: at once rather than never */
}

static bool wants_restart(const child *c, manta_status status)
{
    return c->spec->restart == MANTA_PERMANENT || (c->spec->restart == MANTA_TRANSIENT && status != MANTA_OK);
}

static void child_exited(sup *s, child *c, manta_status status, const char *why)
{
    c->actor.id = 0;
    if (!is_running()) return;
    if (!wants_restart(c, status)) {
        c->stopped = true;
        if (c->spec->restart == MANTA_TEMPORARY || s->options.strategy == MANTA_SIMPLE_ONE_FOR_ONE) child_remove(s, c);
        return;
    }
    c->restarts++;
    if (!restart_allowed(s)) {
        give_up(s, c, why);
        return;
    }
    child_hold(c);
    begin_restart(s, c);
    child_release(s, c);
}

/* ---- methods ---- */

static bool take_plan(sup *s, const plan *p)
{
    s->options = p->options;
    s->options.name = NULL;
    for (uint32_t i = 0; i < p->count; i++)
        if (!child_add(s, p->specs[i])) return false;
    return true;
}

MANTA_METHOD_DEFINE(Supervisor, init, void, (MantaPlan, what))
{
    sup *s = self->s = base_calloc(1, sizeof *s);
    if (!s || !take_plan(s, what.plan)) {
        manta_fail(MANTA_ENOMEM, "supervisor: no memory");
        return;
    }
    const actor_extra *x = activation_self()->actor->extra;
    s->parent = manta_sender().id;
    s->supervised = x && x->supervisor;
    manta_status status = start_range(s, 0);
    if (!status) return;
    manta_error *why = error_copy(manta_last_error());
    stop_range(s, 0);
    error_set_last(why);
    manta_fail(why->status, "a child did not start");
}

MANTA_METHOD_DEFINE(Supervisor, on_exit, void, (manta_actor, who), (int32_t, status), (manta_str, why))
{
    sup *s = self->s;
    for (size_t i = 0; i < s->count; i++) {
        if (s->children[i]->stopping.id == who.id) return;
        if (s->children[i]->actor.id == who.id) {
            child_exited(s, s->children[i], (manta_status)status, why.data);
            return;
        }
    }
    if (who.id == s->parent && (status != MANTA_OK || s->supervised)) manta_exit((manta_status)status, "its parent exited: %s", why.data);
    else if (s->starting) stray_keep(s, who.id, status, why.data);
}

MANTA_METHOD_DEFINE(Supervisor, restart_due, void, (uint64_t, serial))
{
    size_t i = index_from(self->s, serial);
    child *c = i < self->s->count ? self->s->children[i] : NULL;
    if (!c || c->serial != serial || c->actor.id || c->stopped) return;
    child_hold(c);
    restart_now(self->s, c);
    child_release(self->s, c);
}

/* Starts what may run already, by a restart of all. Fails the handler when it fails. */
static manta_actor start_held(sup *s, child *c)
{
    manta_actor a = {0};
    manta_status status = lock_take(lock_of(s, c));
    if (status) return manta_fail(status, "the child did not start"), a;
    if (!c->actor.id && !c->removed) status = child_start(s, c);
    a = c->actor;
    lock_release(lock_of(s, c));
    if (status) manta_fail(status, "the child did not start");
    return a;
}

MANTA_METHOD_DEFINE(Supervisor, add, manta_actor, (MantaPlan, what))
{
    sup *s = self->s;
    const spec_data *spec = what.plan->count == 1 ? what.plan->specs[0] : NULL;
    if (!spec) return manta_fail(MANTA_EINVAL, "one child at a time"), (manta_actor){0};
    if (spec->id[0] && child_named(s, manta_str_of(spec->id)))
        return manta_fail(MANTA_EEXIST, "the supervisor has a child \"%s\" already", spec->id), (manta_actor){0};
    child *c = child_add(s, spec);
    if (!c) return manta_fail(MANTA_ELIMIT, "no memory for a child, or %d are there", CHILD_LIMIT), (manta_actor){0};
    child_hold(c);
    manta_actor a = start_held(s, c);
    if (!a.id) child_remove(s, c);
    child_release(s, c);
    return a;
}

/* The child of that id; fails the handler with MANTA_ENOTFOUND. */
static child *find_child(sup *s, manta_str id)
{
    child *c = child_named(s, id);
    if (!c) manta_fail(MANTA_ENOTFOUND, "the supervisor has no child \"%.*s\"", (int)id.size, id.data);
    return c;
}

MANTA_METHOD_DEFINE(Supervisor, terminate, void, (manta_str, id))
{
    sup *s = self->s;
    child *c = find_child(s, id);
    if (!c) return;
    child_hold(c);
    manta_status status = lock_take(lock_of(s, c));
    if (!status) {
        c->stopped = true;
        child_stop(s, c);
        lock_release(lock_of(s, c));
    } else manta_fail(status, "child \"%s\" was not stopped", c->spec->id);
    child_release(s, c);
}

MANTA_METHOD_DEFINE(Supervisor, restart, void, (manta_str, id))
{
    child *c = find_child(self->s, id);
    if (!c) return;
    if (c->actor.id) {
        manta_fail(MANTA_EEXIST, "child \"%s\" runs", c->spec->id);
        return;
    }
    child_hold(c);
    (void)start_held(self->s, c);
    child_release(self->s, c);
}

MANTA_METHOD_DEFINE(Supervisor, forget, void, (manta_str, id))
{
    child *c = find_child(self->s, id);
    if (!c) return;
    if (c->actor.id) manta_fail(MANTA_EEXIST, "child \"%s\" runs", c->spec->id);
    else if (lock_of(self->s, c)->taken) manta_fail(MANTA_ENOTREADY, "child \"%s\" is being started or stopped", c->spec->id);
    else child_remove(self->s, c);
}

MANTA_METHOD_DEFINE(Supervisor, actor_of, manta_actor, (manta_str, id))
{
    child *c = find_child(self->s, id);
    if (c && !c->actor.id) manta_fail(MANTA_ENOTREADY, "child \"%s\" does not run", c->spec->id);
    return c ? c->actor : (manta_actor){0};
}

/* Some rows behind the serial `after`: each a MantaChildRow. */
MANTA_METHOD_DEFINE(Supervisor, list, MantaChildren, (uint64_t, after))
{
    sup *s = self->s;
    manta_writer w;
    MantaChildren out = {.total = s->count, .last = after};
    manta_writer_init_growing(&w);
    for (size_t i = index_from(s, after + 1); i < s->count && out.count < ROWS; i++, out.count++) {
        const child *c = s->children[i];
        MantaChildRow row = {manta_str_of(c->spec->id), c->actor, manta_str_of(c->spec->cls->name), (int32_t)c->spec->restart, c->restarts};
        manta_pack_MantaChildRow(&w, &row);
        out.last = c->serial;
    }
    out.rows.size = manta_writer_size(&w);
    void *rows = w.status ? NULL : manta_alloc(out.rows.size + 1);
    if (rows && out.count) memcpy(rows, w.start, out.rows.size);
    out.rows.data = rows;
    if (!rows) manta_fail(MANTA_ENOMEM, "no memory for a list of children");
    manta_writer_fini(&w);
    return out;
}

static void on_stop(void *self, const manta_error *reason)
{
    (void)reason;
    sup *s = ((Supervisor *)self)->s;
    if (!s) return;
    stop_range(s, 0);
}

static void on_free(void *self)
{
    sup *s = ((Supervisor *)self)->s;
    if (!s) return;
    for (size_t i = 0; i < s->count; i++) child_free(s->children[i]);
    for (child *c = s->removed, *next; c; c = next) {
        next = c->next_removed;
        child_free(c);
    }
    base_free(s->children);
    base_free(s->strays);
    base_free(s);
}

MANTA_CLASS_WITH(Supervisor, (.trap_exit = true, .concurrency = HANDLERS, .on_stop = on_stop, .on_free = on_free), init, on_exit,
    restart_due, add, terminate, restart, forget, actor_of, list)
