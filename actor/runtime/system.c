/*
 * Start and stop of the system, and the registry of classes and tasks.
 *
 * Stop: no more spawns; every actor is asked to stop, newest first; what is left at the deadline is named and killed; a handler that never waits cannot be
 * killed: then the pool is left running and no new system can start in this process.
 */
#include <stdio.h>
#include <string.h>

#include "actor/durable/alone.h"
#include "actor/group/group.h"
#include "actor/inspect/inspect.h"
#include "actor/node/control.h"
#include "actor/node/crash.h"
#include "actor/node/node.h"
#include "actor/runtime/config.h"
#include "actor/runtime/internal.h"
#include "actor/runtime/later.h"
#include "actor/runtime/names.h"
#include "scheduler/pool/pool_internal.h"

enum { DOWN, UP, STOPPING, WRECKED };
enum { KILL_GRACE_MS = 2000, MESSAGE_CAPACITY = 1 << 26, ACTOR_CAPACITY = 1 << 24, REPORT_BYTES = 1024, LISTED_AT_STOP = 20 };

struct manta_system {
    int unused;
};
static manta_t the_system;
static pthread_mutex_t start_lock = PTHREAD_MUTEX_INITIALIZER;

slab actor_slab;
runtime the_runtime;
manta_class *class_list;
manta_method *task_list;
pthread_mutex_t registry_lock = PTHREAD_MUTEX_INITIALIZER;
static uint32_t next_method_id, next_class_id;

/* ---- registry ---- */

static uint32_t new_method_id(void)
{
    check(next_method_id < METHOD_LIMIT); /* a program with more methods than this needs a larger METHOD_LIMIT */
    return next_method_id++;
}

void manta_register_class(manta_class *cls)
{
    pthread_mutex_lock(&registry_lock);
    cls->id = next_class_id++;
    for (uint32_t i = 0; i < cls->n_methods; i++) {
        cls->methods[i]->cls = cls;
        cls->methods[i]->index = i;
        cls->methods[i]->id = new_method_id();
    }
    cls->next = class_list;
    class_list = cls;
    pthread_mutex_unlock(&registry_lock);
}

void manta_register_task(manta_method *task)
{
    pthread_mutex_lock(&registry_lock);
    task->id = new_method_id();
    task->next = task_list;
    task_list = task;
    pthread_mutex_unlock(&registry_lock);
}

void runtime_report(const char *format, ...)
{
    char line[REPORT_BYTES];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    if (the_runtime.config.on_report) the_runtime.config.on_report(line, the_runtime.config.report_context);
    else fprintf(stderr, "manta: %s\n", line);
}

/* ---- start ---- */

static void prepare_actor(void *record)
{
    actor *a = record;
    mailbox_init(&a->box, &a->end);
}

static bool worker_start(worker *w)
{
    local *l = base_calloc(1, sizeof *l);
    if (!l) return false;
    if (!counters_add(l)) {
        base_free(l);
        return false;
    }
    w->user = l;
    return true;
}

static void worker_stop(worker *w)
{
    local *l = w->user;
    if (!l) return;
    if (w->external == 1 && w->fiber) scope_clean(w, activation_of(w));
    slab_cache_flush(&message_slab, &w->caches[MESSAGE_CACHE]);
    slab_cache_flush(&future_slab, &w->caches[FUTURE_CACHE]);
    slab_cache_flush(&actor_slab, &w->caches[ACTOR_CACHE]);
    counters_keep(l);
    trace_ring_free(l);
    packer_free(l->packer);
    w->user = NULL;
    base_free(l);
}

static bool pools_init(const manta_config *c)
{
    if (!message_pool_init(MESSAGE_CAPACITY) || !future_pool_init()) return false;
    if (!slab_init(&actor_slab, "actor", sizeof(actor), offsetof(actor, inline_state), ACTOR_CAPACITY, prepare_actor)) return false;
    uint64_t limit = c->max_actors;
    store_relaxed(&actor_slab.limit, limit < actor_slab.capacity ? limit : actor_slab.capacity);
    return true;
}

static manta_status start_pool(const manta_config *c)
{
    pool_options o = {.workers = c->workers ? (int)c->workers : os_usable_cores(),
        .seed = c->seed,
        .run = actor_turn,
        .worker_start = worker_start,
        .worker_stop = worker_stop,
        .on_tick = inspect_tick,
        .stack_bytes = c->stack_bytes};
    if (o.workers > POOL_MAX_WORKERS) o.workers = POOL_MAX_WORKERS;
    return pool_start(&o) ? MANTA_OK : MANTA_ENOMEM;
}

static manta_status stop_locked(void);

static char start_failure[512];
const char *runtime_start_failure(void) { return start_failure; }

static manta_t *fail_start(const char *text)
{
    snprintf(start_failure, sizeof start_failure, "%s", text);
    fprintf(stderr, "manta_init: %s\n", text);
    return NULL;
}

static manta_t *start_locked(const manta_config *given, int *argc, char ***argv)
{
    char text[512];
    int state = load_relaxed(&the_runtime.running);
    if (state != DOWN)
        return fail_start(state == WRECKED ? "an earlier system could not be stopped" : "a system runs already in this process");
    manta_config c;
    if (!config_resolve(given, argc, argv, &c, text, sizeof text)) return fail_start(text);
    the_runtime.config = c;
    the_runtime.seed = c.seed;
    store_relaxed(&the_runtime.stuck_ms, c.stuck_after_ms);
    the_runtime.trace_level = c.trace;
    last_words_prepare();
    if (!pools_init(&c)) return fail_start("no memory for the pools");
    if (objects_start(&the_runtime.config)) return fail_start(manta_last_error()->message);
    if (start_pool(&c)) {
        objects_stop();
        return fail_start("no memory or no threads for the workers");
    }
    trace_start();
    store_seq(&the_runtime.running, UP);
    if (node_start(&the_runtime.config)) {
        char reason[400];
        snprintf(reason, sizeof reason, "%s", manta_last_error()->message);
        (void)stop_locked();
        return fail_start(reason);
    }
    return &the_system;
}

static manta_t *start(const manta_config *given, int *argc, char ***argv)
{
    pthread_mutex_lock(&start_lock);
    manta_t *m = start_locked(given, argc, argv);
    pthread_mutex_unlock(&start_lock);
    return m;
}

manta_t *manta_init(int *argc, char ***argv) { return start(NULL, argc, argv); }

manta_t *manta_init_with(const manta_config *config) { return start(config, NULL, NULL); }

/* ---- stop ---- */

static uint64_t count_alive(void)
{
    uint64_t n = 0, used = load_seq(&actor_slab.used);
    for (uint64_t i = 0; i < used && i < actor_slab.capacity; i++) n += load_acquire(&((actor *)slab_at(&actor_slab, i))->generation) & 1;
    return n;
}

static void stop_all(void)
{
    uint64_t used = load_seq(&actor_slab.used);
    for (uint64_t i = used < actor_slab.capacity ? used : actor_slab.capacity; i-- > 0;) {
        actor *a = slab_at(&actor_slab, i);
        uint32_t generation = load_acquire(&a->generation);
        if (generation & 1 && !(load_relaxed(&a->flags) & ACTOR_TASK)) {
            if (manta_stop((manta_actor){i | (uint64_t)generation << 32}) == MANTA_ENOMEM)
                manta_kill((manta_actor){i | (uint64_t)generation << 32});
        }
    }
}

static void kill_all(void)
{
    uint64_t used = load_seq(&actor_slab.used);
    for (uint64_t i = 0; i < used && i < actor_slab.capacity; i++) {
        uint32_t generation = load_acquire(&((actor *)slab_at(&actor_slab, i))->generation);
        if (generation & 1) (void)manta_kill((manta_actor){i | (uint64_t)generation << 32});
    }
}

static bool all_gone(void *argument)
{
    (void)argument;
    return count_alive() == 0;
}

/* Waits for the last actor; false: the time was up. */
static bool wait_all_gone(uint64_t timeout_ms)
{
    uint64_t deadline = deadline_after_ms(timeout_ms);
    if (sim_is_on()) {
        sim_run_until(all_gone, NULL, deadline);
        return all_gone(NULL);
    }
    for (;;) {
        uint32_t word = load_seq(&the_runtime.exit_word);
        if (all_gone(NULL)) return true;
        uint64_t now = pool_now_ns();
        if (now >= deadline) return false;
        os_futex_wait(&the_runtime.exit_word, word, deadline - now < 100 * OS_NS_PER_MS ? deadline - now : 100 * OS_NS_PER_MS);
    }
}

static void report_alive(void)
{
    manta_actor_info info[LISTED_AT_STOP];
    size_t count = 0;
    if (manta_list_actors(info, LISTED_AT_STOP, &count)) return;
    runtime_report("shutdown: %zu actors or tasks did not stop in %u ms and are killed", count, the_runtime.config.stop_timeout_ms);
    static const char *const states[] = {"idle", "queued", "running", "waiting"};
    for (size_t i = 0; i < count && i < LISTED_AT_STOP; i++) {
        manta_actor_info *a = &info[i];
        runtime_report("shutdown waits for %s#%u%s%s: %s%s%s%s%s, %llu messages queued", a->class_name, (uint32_t)a->actor.id,
            a->name[0] ? " " : "", a->name, states[a->state], a->method[0] ? " in " : "", a->method, a->waits_for[0] ? " for " : "",
            a->waits_for, (unsigned long long)a->queue_length);
    }
}

static void clean_tables(void)
{
    later_stop();
    streams_stop();
    names_stop();
    groups_stop();
    topics_stop();
    objects_quiet();
}

static manta_status stop_locked(void)
{
    manta_status status = MANTA_OK;
    alone_stop();
    store_seq(&the_runtime.running, STOPPING);
    later_stop();
    stop_all();
    if (!wait_all_gone(the_runtime.config.stop_timeout_ms)) {
        status = MANTA_ETIMEDOUT;
        report_alive();
        kill_all();
        if (!wait_all_gone(KILL_GRACE_MS)) {
            runtime_report(
                "shutdown: %llu handlers run on without a wait; their threads are left alone", (unsigned long long)count_alive());
            store_seq(&the_runtime.running, WRECKED);
            return status;
        }
    }
    worker *w = worker_self();
    if (w && w->user) scope_clean(w, activation_of(w));
    node_stop();
    control_stop();
    clean_tables();
    pool_stop();
    node_free();
    attempts_stop();
    actors_trim();
    futures_trim();
    objects_stop();
    trace_stop();
    store_seq(&the_runtime.running, DOWN);
    return status;
}

manta_status manta_shutdown(manta_t *system)
{
    if (!system) return MANTA_OK;
    activation *act = activation_self();
    if (act && act->actor) return error_set(MANTA_ECONTEXT, "manta_shutdown: not from a handler");
    pthread_mutex_lock(&start_lock);
    manta_status status = system != &the_system || load_relaxed(&the_runtime.running) != UP ? MANTA_ESHUTDOWN : stop_locked();
    pthread_mutex_unlock(&start_lock);
    return status;
}
