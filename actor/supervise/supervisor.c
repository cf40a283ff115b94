/*
 * The supervisor: an ordinary actor that is linked to its children and traps their exits.
 *
 *   child exits --> restart wanted? --no--> forget (temporary) or keep stopped (transient, normal exit)
 *                        | yes
 *                   too often? --yes--> stop all, exit with MANTA_ERESTARTS
 *                        | no
 *                   stop the range that the strategy names (newest first), pause (backoff), start it again in order
 *
 * 1. A child's actor id is cleared before it is stopped, so its exit signal is nobody's news.
 * 2. While the supervisor waits for a child to start or stop it takes no other message: changes come one after the other.
 * 3. A child whose restart fails counts as another failure.
 */
#include <stdio.h>
#include <string.h>

#include "actor/supervise/spec.h"

enum { INTENSITY_DEFAULT = 1, PERIOD_DEFAULT_MS = 5000, HISTORY = 1024 };

typedef struct child {
    spec_data *spec;
    manta_actor actor; /* {0}: not running */
    uint32_t restarts;
    uint64_t serial;
    bool stopped; /* by manta_supervisor_terminate, or it ended by itself */
} child;

typedef struct sup {
    sup_template *template;
    child *children;
    size_t count, capacity;
    uint64_t next_serial, parent;
    uint64_t history[HISTORY]; /* times of the last restarts, ns */
    uint32_t restarts, streak; /* streak: restarts since the last quiet period, for the backoff */
} sup;

MANTA_ACTOR(Supervisor, sup *s;)

/* ---- children ---- */

static child *child_add(sup *s, spec_data *spec)
{
    if (s->count >= CHILD_LIMIT) return NULL;
    if (s->count == s->capacity) {
        size_t capacity = s->capacity ? s->capacity * 2 : 4;
        child *children = base_realloc(s->children, capacity * sizeof *children);
        if (!children) return NULL;
        s->children = children;
        s->capacity = capacity;
    }
    child *c = &s->children[s->count++];
    *c = (child){.spec = spec, .serial = ++s->next_serial};
    if (!spec->id[0]) snprintf(spec->id, sizeof spec->id, "%.100s-%llu", spec->cls->name, (unsigned long long)c->serial);
    return c;
}

static void child_remove(sup *s, size_t i)
{
    spec_free(s->children[i].spec);
    memmove(&s->children[i], &s->children[i + 1], (s->count - i - 1) * sizeof(child));
    s->count--;
}

static long child_index(const sup *s, const char *id)
{
    for (size_t i = 0; i < s->count; i++)
        if (strcmp(s->children[i].spec->id, id) == 0) return (long)i;
    return -1;
}

static manta_actor spawn_child(const spec_data *spec)
{
    if (!spec->nested) return manta_spawn_class(&spec->spawn, spec->cls, spec->arguments, spec->extra_bytes);
    sup_template *t = template_clone(spec->nested);
    struct {
        uint64_t data;
    } __attribute__((aligned(16))) arguments = {(uintptr_t)t};
    manta_actor a = t ? manta_spawn_class(&spec->spawn, spec->cls, &arguments, 0) : (manta_actor){0};
    if (t && !a.id) template_free(t);
    if (!t) error_set(MANTA_ENOMEM, "supervisor %s: no memory", spec->id);
    return a;
}

/* Starts a child and waits for its init. On failure the reason is last_error. */
static manta_status child_start(sup *s, size_t i)
{
    manta_actor a = spawn_child(s->children[i].spec);
    if (!a.id) return manta_last_error()->status;
    future *f = actor_started(worker_self(), a.id);
    if (!f) {
        (void)manta_kill(a);
        return error_set(MANTA_ENOMEM, "supervisor: no memory");
    }
    manta_status status = event_await(f, OS_FOREVER, "child's init");
    if (status) {
        future_drop(worker_self(), f);
        (void)manta_kill(a);
        return status;
    }
    if ((status = future_take(f, NULL, 0))) return status;
    s->children[i].actor = a;
    s->children[i].stopped = false;
    return MANTA_OK;
}

static void child_stop(sup *s, size_t i)
{
    manta_actor a = s->children[i].actor;
    uint32_t patience = s->children[i].spec->shutdown_ms;
    s->children[i].actor.id = 0;
    if (!a.id) return;
    bool asked = patience != MANTA_STOP_NOW && manta_stop(a) == MANTA_OK;
    if (asked && manta_wait_exit(a, patience, NULL) == MANTA_OK) return;
    (void)manta_kill(a);
    (void)manta_wait_exit(a, patience == MANTA_STOP_NOW ? 5000 : patience, NULL);
}

static void stop_range(sup *s, size_t from)
{
    for (size_t i = s->count; i-- > from;) child_stop(s, i);
}

static manta_status start_range(sup *s, size_t from)
{
    for (size_t i = from; i < s->count; i++) {
        if (s->children[i].actor.id || s->children[i].stopped) continue;
        manta_status status = child_start(s, i);
        if (status) return status;
    }
    return MANTA_OK;
}

/* ---- restarting ---- */

static uint32_t intensity_of(const sup *s) { return s->template->options.intensity ? s->template->options.intensity : INTENSITY_DEFAULT; }

static uint64_t period_ns(const sup *s)
{
    return (uint64_t)(s->template->options.period_ms ? s->template->options.period_ms : PERIOD_DEFAULT_MS) * OS_NS_PER_MS;
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
    const manta_supervisor_options *o = &s->template->options;
    if (!o->backoff_min_ms) return 0;
    uint64_t most = o->backoff_max_ms > o->backoff_min_ms ? o->backoff_max_ms : o->backoff_min_ms, ms = o->backoff_min_ms;
    for (uint32_t i = 0; i < s->streak && ms < most; i++) ms *= 2;
    if (ms > most) ms = most;
    double unit = (double)(manta_random() >> 11) / (double)(1ull << 53);
    return (uint64_t)((double)ms * (1 + o->backoff_jitter * (2 * unit - 1)));
}

static void give_up(sup *s, const char *id, const char *why)
{
    stop_range(s, 0);
    manta_exit(MANTA_ERESTARTS, "child %s failed more than %u times in %llu ms, at last: %s", id, intensity_of(s),
        (unsigned long long)(period_ns(s) / OS_NS_PER_MS), why);
}

/* Everything from `from` on, or that child alone, starts again; a child that fails counts and is tried again. */
static void restart_now(sup *s, size_t from, bool alone)
{
    for (;;) {
        manta_status status = alone ? child_start(s, from) : start_range(s, from);
        if (!status || load_relaxed(&the_runtime.running) != 1) return;
        char why[256];
        manta_error_format(manta_last_error(), why, sizeof why);
        if (!restart_allowed(s)) {
            give_up(s, s->children[from].spec->id, why);
            return;
        }
        if (!alone) stop_range(s, from);
        uint64_t pause = backoff_ms(s);
        if (pause && manta_sleep(pause)) return;
    }
}

MANTA_METHOD_DECLARE(Supervisor, restart_due, void, (uint64_t, serial), (bool, alone))

static void restart_later(Supervisor *self, size_t from, bool alone, uint64_t pause)
{
    sup *s = self->s;
    manta_timer t = Supervisor_restart_due_after(pause, Supervisor_ref_of(manta_self()), s->children[from].serial, alone);
    if (!t.id) restart_now(s, from, alone); /* no timer to be had: at once rather than never */
}

static bool wants_restart(const child *c, manta_status status)
{
    return c->spec->restart == MANTA_PERMANENT || (c->spec->restart == MANTA_TRANSIENT && status != MANTA_OK);
}

static void child_exited(Supervisor *self, size_t i, manta_status status, const char *why)
{
    sup *s = self->s;
    child *c = &s->children[i];
    manta_strategy strategy = s->template->options.strategy;
    c->actor.id = 0;
    if (load_relaxed(&the_runtime.running) != 1) return;
    if (!wants_restart(c, status)) {
        c->stopped = true;
        if (c->spec->restart == MANTA_TEMPORARY || strategy == MANTA_SIMPLE_ONE_FOR_ONE) child_remove(s, i);
        return;
    }
    c->restarts++;
    if (!restart_allowed(s)) {
        give_up(s, c->spec->id, why);
        return;
    }
    bool alone = strategy == MANTA_ONE_FOR_ONE || strategy == MANTA_SIMPLE_ONE_FOR_ONE;
    size_t from = strategy == MANTA_ONE_FOR_ALL ? 0 : i;
    if (!alone) stop_range(s, from);
    uint64_t pause = backoff_ms(s);
    if (pause) restart_later(self, from, alone, pause);
    else restart_now(s, from, alone);
}

/* ---- methods ---- */

MANTA_METHOD(Supervisor, init, void, (uint64_t, data))
{
    sup *s = self->s = base_calloc(1, sizeof *s);
    sup_template *t = (sup_template *)(uintptr_t)data;
    if (!s) {
        template_free(t);
        manta_fail(MANTA_ENOMEM, "supervisor: no memory");
        return;
    }
    s->template = t;
    s->parent = manta_sender().id;
    for (size_t i = 0; i < t->count; i++) {
        if (!child_add(s, t->specs[i])) {
            manta_fail(MANTA_ENOMEM, "supervisor: no memory");
            return;
        }
        t->specs[i] = NULL;
    }
    manta_status status = start_range(s, 0);
    if (!status) return;
    manta_error *why = error_copy(manta_last_error());
    stop_range(s, 0);
    error_set_last(why);
    manta_fail(why->status, "a child did not start");
}

MANTA_METHOD(Supervisor, on_exit, void, (manta_actor, who), (int32_t, status), (manta_str, why))
{
    for (size_t i = 0; i < self->s->count; i++)
        if (self->s->children[i].actor.id == who.id) {
            child_exited(self, i, (manta_status)status, why.data);
            return;
        }
    if (who.id == self->s->parent && status != MANTA_OK) manta_exit((manta_status)status, "its parent exited: %s", why.data);
}

MANTA_METHOD_DEFINE(Supervisor, restart_due, void, (uint64_t, serial), (bool, alone))
{
    for (size_t i = 0; i < self->s->count; i++)
        if (self->s->children[i].serial == serial && !self->s->children[i].actor.id && !self->s->children[i].stopped)
            restart_now(self->s, i, alone);
}

MANTA_METHOD(Supervisor, add, manta_actor, (uint64_t, data))
{
    spec_data *spec = (spec_data *)(uintptr_t)data;
    sup *s = self->s;
    if (spec->id[0] && child_index(s, spec->id) >= 0) {
        manta_fail(MANTA_EEXIST, "the supervisor has a child \"%s\" already", spec->id);
        spec_free(spec);
        return (manta_actor){0};
    }
    if (!child_add(s, spec)) {
        spec_free(spec);
        return manta_fail(MANTA_ELIMIT, "no memory for a child, or %d are there", CHILD_LIMIT), (manta_actor){0};
    }
    size_t i = s->count - 1;
    manta_status status = child_start(s, i);
    if (!status) return s->children[i].actor;
    child_remove(s, i);
    return manta_fail(status, "the child did not start"), (manta_actor){0};
}

/* The index of a child by id; fails the handler with MANTA_ENOTFOUND. */
static long find_child(sup *s, manta_str id)
{
    long i = child_index(s, id.data);
    if (i < 0) manta_fail(MANTA_ENOTFOUND, "the supervisor has no child \"%s\"", id.data);
    return i;
}

MANTA_METHOD(Supervisor, terminate, void, (manta_str, id))
{
    long i = find_child(self->s, id);
    if (i < 0) return;
    child_stop(self->s, (size_t)i);
    self->s->children[i].stopped = true;
}

MANTA_METHOD(Supervisor, restart, void, (manta_str, id))
{
    long i = find_child(self->s, id);
    if (i < 0) return;
    if (self->s->children[i].actor.id) {
        manta_fail(MANTA_EEXIST, "child \"%s\" runs", id.data);
        return;
    }
    manta_status status = child_start(self->s, (size_t)i);
    if (status) manta_fail(status, "child \"%s\" did not start", id.data);
}

MANTA_METHOD(Supervisor, forget, void, (manta_str, id))
{
    long i = find_child(self->s, id);
    if (i < 0) return;
    if (self->s->children[i].actor.id) manta_fail(MANTA_EEXIST, "child \"%s\" runs", id.data);
    else child_remove(self->s, (size_t)i);
}

MANTA_METHOD(Supervisor, actor_of, manta_actor, (manta_str, id))
{
    long i = find_child(self->s, id);
    if (i >= 0 && !self->s->children[i].actor.id) manta_fail(MANTA_ENOTREADY, "child \"%s\" does not run", id.data);
    return i < 0 ? (manta_actor){0} : self->s->children[i].actor;
}

/* Fills the caller's array, which outlives the call because the caller waits for it. */
MANTA_METHOD(Supervisor, list, uint64_t, (uint64_t, out), (uint64_t, capacity))
{
    manta_child_info *info = (manta_child_info *)(uintptr_t)out;
    for (size_t i = 0; i < self->s->count && i < capacity; i++) {
        const child *c = &self->s->children[i];
        info[i] =
            (manta_child_info){.actor = c->actor, .class_name = c->spec->cls->name, .restart = c->spec->restart, .restarts = c->restarts};
        memcpy(info[i].id, c->spec->id, sizeof info[i].id);
    }
    return self->s->count;
}

static void on_stop(void *self, const manta_error *reason)
{
    (void)reason;
    sup *s = ((Supervisor *)self)->s;
    if (s) stop_range(s, 0);
}

static void on_free(void *self)
{
    sup *s = ((Supervisor *)self)->s;
    if (!s) return;
    while (s->count) child_remove(s, s->count - 1);
    base_free(s->children);
    template_free(s->template);
    base_free(s);
}

MANTA_CLASS_WITH(Supervisor, (.trap_exit = true, .on_stop = on_stop, .on_free = on_free), init, on_exit, restart_due, add, terminate,
    restart, forget, actor_of, list)

/* ---- the public side ---- */

static manta_status check_options(const manta_supervisor_options *o)
{
    if (!o) return MANTA_OK;
    if (o->size > sizeof *o)
        return error_set(MANTA_EINVAL, "supervisor: options.size is %zu, this library knows %zu bytes", o->size, sizeof *o);
    if ((unsigned)o->strategy > MANTA_SIMPLE_ONE_FOR_ONE)
        return error_set(MANTA_EINVAL, "supervisor: options.strategy is %d", (int)o->strategy);
    if (!(o->backoff_jitter >= 0 && o->backoff_jitter <= 1))
        return error_set(MANTA_EINVAL, "supervisor: options.backoff_jitter is %g, must be 0 to 1", o->backoff_jitter);
    return MANTA_OK;
}

static sup_template *take_specs(const manta_supervisor_options *options, manta_child_spec *specs, size_t count)
{
    sup_template *t = check_options(options) ? NULL : template_new(options, specs, count);
    if (t) return t;
    for (size_t i = 0; i < count; i++) manta_child_spec_free(&specs[i]);
    if (manta_last_error()->status == MANTA_OK) error_set(MANTA_ENOMEM, "supervisor: no memory");
    return NULL;
}

manta_child_spec manta_supervisor_child(
    const manta_child_options *options, const manta_supervisor_options *supervisor, manta_child_spec *specs, size_t count)
{
    sup_template *t = take_specs(supervisor, specs, count);
    if (!t) return (manta_child_spec){NULL};
    struct {
        uint64_t data;
    } __attribute__((aligned(16))) arguments = {0};
    manta_child_spec spec = manta_child_spec_make(options, &Supervisor_class, &arguments, 0);
    if (!spec.data) {
        template_free(t);
        return spec;
    }
    spec.data->nested = t;
    if (!spec.data->spawn.name && t->options.name) spec.data->spawn.name = base_strdup(t->options.name);
    return spec;
}

manta_status manta_supervisor_start(const manta_supervisor_options *options, manta_child_spec *specs, size_t count, manta_actor *out)
{
    sup_template *t = take_specs(options, specs, count);
    if (!t) return manta_last_error()->status;
    manta_options spawn = {.size = sizeof spawn, .name = t->options.name, .link = manta_self().id != 0, .where = MANTA_WHERE_HERE};
    struct {
        uint64_t data;
    } __attribute__((aligned(16))) arguments = {(uintptr_t)t};
    manta_actor a = manta_spawn_class(&spawn, &Supervisor_class, &arguments, 0);
    if (!a.id) {
        template_free(t);
        return manta_last_error()->status;
    }
    future *f = actor_started(worker_self(), a.id);
    if (!f) {
        (void)manta_kill(a);
        return error_set(MANTA_ENOMEM, "supervisor: no memory");
    }
    manta_status status = event_await(f, OS_FOREVER, "supervisor's init");
    if (status) {
        future_drop(worker_self(), f);
        return error_set(status, "manta_supervisor_start: %s", manta_status_text(status));
    }
    if ((status = future_take(f, NULL, 0))) {
        const manta_error *e = manta_last_error();
        while (e->cause && e->status != MANTA_EINIT) e = e->cause; /* "exited before it answered" hides the reason */
        return error_set_last(error_copy(e));
    }
    if (out) *out = a;
    return MANTA_OK;
}

manta_status manta_supervisor_add(manta_actor supervisor, manta_child_spec *spec, manta_actor *out)
{
    if (!spec || !spec->data) return error_set(MANTA_EINVAL, "manta_supervisor_add: an empty spec");
    manta_actor a;
    uint64_t data = (uintptr_t)spec->data;
    if (!manta_is_alive(supervisor)) {
        manta_child_spec_free(spec);
        return error_set(MANTA_EDEAD, "manta_supervisor_add: %s", manta_status_text(MANTA_EDEAD));
    }
    spec->data = NULL;
    manta_status status = manta_get(Supervisor_add(Supervisor_ref_of(supervisor), data), &a);
    if (!status && out) *out = a;
    return status;
}

manta_status manta_supervisor_terminate(manta_actor supervisor, const char *id)
{
    return manta_join(Supervisor_terminate(Supervisor_ref_of(supervisor), manta_str_of(id)));
}

manta_status manta_supervisor_restart(manta_actor supervisor, const char *id)
{
    return manta_join(Supervisor_restart(Supervisor_ref_of(supervisor), manta_str_of(id)));
}

manta_status manta_supervisor_remove(manta_actor supervisor, const char *id)
{
    return manta_join(Supervisor_forget(Supervisor_ref_of(supervisor), manta_str_of(id)));
}

manta_status manta_supervisor_child_actor(manta_actor supervisor, const char *id, manta_actor *out)
{
    return manta_get(Supervisor_actor_of(Supervisor_ref_of(supervisor), manta_str_of(id)), out);
}

manta_status manta_supervisor_children(manta_actor supervisor, manta_child_info *out, size_t capacity, size_t *out_count)
{
    uint64_t count;
    manta_status status = manta_get(Supervisor_list(Supervisor_ref_of(supervisor), (uintptr_t)out, capacity), &count);
    if (!status) *out_count = count;
    return status;
}
