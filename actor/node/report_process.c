/*
 * The kinds of reports that every process gives, from manta/inspect.h.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "actor/inspect/inspect.h"
#include "actor/node/node.h"
#include "actor/node/node_store.h"
#include "actor/node/report.h"
#include "actor/object/object_ops.h"
#include "scheduler/os/os_file.h"

enum { CLASSES = 4096, CYCLE = 64, TRACE_BYTES = 48 << 20 };

static const char *const states[] = {"idle", "queued", "running", "waiting"};

/* ---- actors ---- */

void report_actor_text(uint64_t id, char out[40]) { snprintf(out, 40, "%016" PRIx64 ":%" PRIx64, the_node.process, id); }

manta_actor report_actor_of(manta_str text)
{
    char copy[48];
    unsigned long long process = 0, id = 0;
    snprintf(copy, sizeof copy, "%.*s", (int)text.size, text.data);
    if (sscanf(copy, "%llx:%llx", &process, &id) != 2 || process != the_node.process) id = 0;
    return (manta_actor){id};
}

static bool is_task(const manta_actor_info *a) { return strcmp(a->class_name, "task") == 0; }

static void add_actor(report *r, const manta_actor_info *a)
{
    char id[40];
    report_actor_text(a->actor.id, id);
    report_text(r, "id", id);
    report_text(r, "class", a->class_name);
    report_text(r, "name", a->name);
    report_text(r, "state", states[a->state]);
    report_text(r, "method", a->method);
    report_number(r, "queued", a->queue_length);
    report_number(r, "handled", a->handled);
    report_number(r, "age_ms", a->message_age_ns / OS_NS_PER_MS);
    report_row_end(r);
}

static void add_task(report *r, const manta_actor_info *a)
{
    char id[40];
    report_actor_text(a->actor.id, id);
    report_text(r, "id", id);
    report_text(r, "task", a->method);
    report_text(r, "state", states[a->state]);
    report_text(r, "waits_for", a->waits_for);
    report_number(r, "age_ms", a->message_age_ns / OS_NS_PER_MS);
    report_row_end(r);
}

static bool is_in(const manta_actor *cycle, size_t n, uint64_t id)
{
    for (size_t i = 0; i < n && i < CYCLE; i++)
        if (cycle[i].id == id) return true;
    return false;
}

/* Where every handler stands that has begun. */
static void add_stack(report *r, const manta_actor_info *a, const manta_actor *cycle, size_t n_cycle)
{
    char id[40], whose[40] = "";
    if (a->state < MANTA_STATE_RUNNING) return;
    report_actor_text(a->actor.id, id);
    if (a->waits_for_actor.id) report_actor_text(a->waits_for_actor.id, whose);
    report_text(r, "id", id);
    report_text(r, "class", a->class_name);
    report_text(r, "method", a->method);
    report_text(r, "state", states[a->state]);
    report_text(r, "waits_for", a->waits_for);
    report_text(r, "of", is_remote(a->waits_for_actor.id) ? "another process" : whose);
    report_text(r, "in_cycle", is_in(cycle, n_cycle, a->actor.id) ? "yes" : "no");
    report_number(r, "age_ms", a->message_age_ns / OS_NS_PER_MS);
    report_row_end(r);
}

typedef struct look { /* at all actors */
    report *r;
    char kind;
    manta_actor cycle[CYCLE];
    size_t n_cycle;
} look;

static void look_at(const manta_actor_info *a, void *context)
{
    look *l = context;
    if (l->kind == 'a' && !is_task(a)) add_actor(l->r, a);
    if (l->kind == 't' && is_task(a)) add_task(l->r, a);
    if (l->kind == 's') add_stack(l->r, a, l->cycle, l->n_cycle);
}

static void add_actors(report *r, char kind)
{
    look l = {.r = r, .kind = kind};
    if (kind == 's') (void)manta_find_wait_cycle(l.cycle, CYCLE, &l.n_cycle);
    actors_each(look_at, &l);
}

/* ---- summaries ---- */

typedef struct class_sum {
    const char *class_name;
    uint64_t count[4], queued, handled;
} class_sum;

typedef struct class_sums {
    bool of_tasks;
    size_t n;
    class_sum sums[CLASSES];
} class_sums;

static void add_up(const manta_actor_info *a, void *context)
{
    class_sums *s = context;
    size_t i = 0;
    const char *name = is_task(a) ? a->method : a->class_name;
    if (is_task(a) != s->of_tasks) return;
    while (i < s->n && strcmp(s->sums[i].class_name, name) != 0) i++;
    if (i == CLASSES) return;
    if (i == s->n) s->sums[s->n++] = (class_sum){.class_name = name};
    s->sums[i].count[a->state]++;
    s->sums[i].queued += a->queue_length;
    s->sums[i].handled += a->handled;
}

static void add_summary(report *r, bool of_tasks)
{
    class_sums *s = base_calloc(1, sizeof *s);
    if (!s) return;
    s->of_tasks = of_tasks;
    actors_each(add_up, s);
    for (size_t i = 0; i < s->n; i++) {
        report_text(r, of_tasks ? "task" : "class", s->sums[i].class_name);
        for (int k = 0; k < 4; k++) report_number(r, states[k], s->sums[i].count[k]);
        report_number(r, "queued_messages", s->sums[i].queued);
        report_number(r, "handled", s->sums[i].handled);
        report_row_end(r);
    }
    base_free(s);
}

static void add_methods(report *r)
{
    size_t n = 0;
    if (manta_method_counters(NULL, 0, &n)) return;
    manta_method_stats *all = base_alloc((n + 1) * sizeof *all);
    if (all && manta_method_counters(all, n, &n) == MANTA_OK)
        for (size_t i = 0; i < n; i++) {
            if (!all[i].handled && !all[i].failed) continue;
            report_text(r, "class", all[i].class_name);
            report_text(r, "method", all[i].method);
            report_number(r, "handled", all[i].handled);
            report_number(r, "failed", all[i].failed);
            report_row_end(r);
        }
    base_free(all);
}

/* ---- the process ---- */

static uint64_t number_after(const char *path, const char *key)
{
    char text[4096] = "";
    int fd = -1;
    if (os_file_open(path, OS_READ, &fd)) return 0;
    (void)os_file_read(fd, text, sizeof text - 1, 0); /* the file is shorter */
    os_file_close(fd);
    const char *at = strstr(text, key);
    return at ? strtoull(at + strlen(key), NULL, 10) : 0;
}

static void add_process(report *r)
{
    manta_stats s = {0};
    char id[20];
    (void)manta_read_stats(&s);
    snprintf(id, sizeof id, "%016" PRIx64, the_node.process);
    report_text(r, "id", id);
    report_text(r, "address", manta_listen_address(0) ? manta_listen_address(0) : "");
    report_number(r, "actors", s.actors_alive);
    report_number(r, "handled", s.messages_handled);
    report_number(r, "failures", s.failures);
    report_number(r, "dead_letters", s.dead_letters);
    report_number(r, "workers", s.workers);
    report_number(r, "threads", number_after("/proc/self/status", "Threads:"));
    report_number(r, "resident_kib", number_after("/proc/self/status", "VmRSS:"));
    report_row_end(r);
}

/* A daemon's own objects are those of the store that it keeps. */
static const char *count_objects(size_t *objects, uint64_t *bytes)
{
    const char *kept, *path = strchr(the_node.store_name, ' '); /* behind the machine's boot id */
    if (node_store_usage(&kept, objects, bytes)) return *kept ? kept : "none yet";
    the_objects->usage(objects, bytes);
    return path ? path + 1 : "";
}

static void add_objects(report *r)
{
    size_t objects = 0;
    uint64_t bytes = 0;
    const char *path = count_objects(&objects, &bytes);
    report_text(r, "table", *path ? object_store_table.name : the_objects->name);
    report_text(r, "store", path);
    report_number(r, "objects", objects);
    report_number(r, "bytes", bytes);
    report_row_end(r);
}

static void add_memory(report *r)
{
    manta_stats s = {0};
    size_t objects = 0;
    uint64_t bytes = 0;
    (void)manta_read_stats(&s);
    (void)count_objects(&objects, &bytes);
    report_number(r, "resident_kib", number_after("/proc/self/status", "VmRSS:"));
    report_number(r, "shared_kib", number_after("/proc/self/status", "RssShmem:"));
    report_number(r, "actors", s.actors_alive);
    report_number(r, "messages", s.messages_allocated);
    report_number(r, "futures", s.futures_allocated);
    report_number(r, "fibers", s.fibers);
    report_number(r, "objects", objects);
    report_number(r, "object_bytes", bytes);
    report_row_end(r);
}

static void stack(report *r) { add_actors(r, 's'); }
static void actors(report *r) { add_actors(r, 'a'); }
static void tasks(report *r) { add_actors(r, 't'); }
static void sum_of_actors(report *r) { add_summary(r, false); }
static void sum_of_tasks(report *r) { add_summary(r, true); }

manta_bytes report_of_process(manta_str kind, manta_str match, uint32_t limit)
{
    static const struct {
        const char *name;
        void (*add)(report *r);
    } kinds[] = {{"actors", actors}, {"tasks", tasks}, {"stack", stack}, {"summary actors", sum_of_actors}, {"summary tasks", sum_of_tasks},
        {"summary methods", add_methods}, {"processes", add_process}, {"objects", add_objects}, {"memory", add_memory}};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (strlen(kinds[i].name) != kind.size || memcmp(kinds[i].name, kind.data, kind.size) != 0) continue;
        report *r = report_new(match, limit);
        if (!r) return (manta_bytes){NULL, 0};
        kinds[i].add(r);
        return report_finish(r);
    }
    error_set(MANTA_EINVAL, "a process cannot report \"%.*s\"", (int)kind.size, kind.data);
    return (manta_bytes){NULL, 0};
}

/* ---- traces ---- */

/* A command that was ended in the middle left it on; the next one ends that. */
static void record(report_recording what)
{
    enum { ALL = 2 };
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    static bool is_on;
    static uint32_t before;
    pthread_mutex_lock(&lock);
    if (what == REPORT_BEGIN && !is_on) before = __atomic_load_n(&the_runtime.trace_level, __ATOMIC_RELAXED);
    if (what == REPORT_BEGIN) manta_trace_level(ALL);
    if (what == REPORT_END && is_on) manta_trace_level(before);
    if (what) is_on = what == REPORT_BEGIN;
    pthread_mutex_unlock(&lock);
}

manta_bytes report_trace(report_recording what)
{
    manta_bytes out = {NULL, 0};
    char path[40];
    uint64_t bytes = 0;
    int fd = memfd_create("manta-trace", MFD_CLOEXEC);
    record(what);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (fd < 0 || manta_trace_dump(path) || os_file_size(fd, &bytes)) error_set(MANTA_EIO, "the trace cannot be written");
    else if (bytes > TRACE_BYTES)
        error_set(MANTA_ETOOLONG, "a trace of %" PRIu64 " bytes is more than %d: set trace_events lower", bytes, TRACE_BYTES);
    else if (!(out.data = manta_alloc(bytes)) || os_file_read(fd, (void *)(uintptr_t)out.data, bytes, 0))
        error_set(MANTA_ENOMEM, "no memory for a trace of %" PRIu64 " bytes", bytes), out.data = NULL;
    else out.size = bytes;
    os_file_close(fd);
    return out;
}
