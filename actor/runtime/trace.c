/*
 * Traces: a ring of events per thread, written without locks by its owner, and the hash of all events of a deterministic run.
 *
 * A ring is made at its thread's first event and belongs to the list, not to the thread: it outlives threads and is freed when the system stops. The reader copies
 * an entry and believes it only if the writer's count says that it was not overwritten meanwhile. Two levels: `recorded` is what the user asked for;
 * the_runtime.trace_level is what the TRACE macro compares with, and is 2 in deterministic mode, because there every event goes into the hash.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "actor/inspect/inspect.h"
#include "actor/runtime/internal.h"
#include "scheduler/pool/sim.h"

enum { EVENT_BITS = 8, EVENT_MASK = 0x7f, EVENT_SPANS = 0x80, NAME_BYTES = 128 };

typedef struct entry { /* when: time_ns << 8 | event | EVENT_SPANS at level 2; texts are static, of descriptors */
    _Atomic uint64_t when, actor;
    const char *_Atomic cls, *_Atomic method;
} entry;
_Static_assert(sizeof(entry) == 32, "trace entry layout");

struct trace_ring {
    struct trace_ring *next;
    _Atomic uint64_t count; /* ever written; the owner's */
    uint64_t capacity;
    uint32_t thread;
    entry entries[];
};

static struct {
    pthread_mutex_t lock;
    struct trace_ring *_Atomic rings;
    _Atomic uint32_t recorded;
} trace = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* Slots are reused in an order that depends on earlier runs, so the hash names actors by the order in which they first show up. */
static struct {
    uint64_t hash;
    uint32_t next_number, capacity;
    struct {
        uint32_t generation, number;
    } * slots;
} run;

/* ---- rings ---- */

static struct trace_ring *ring_find(uint32_t thread)
{
    struct trace_ring *r = load_acquire(&trace.rings);
    while (r && r->thread != thread) r = r->next;
    return r;
}

/* The thread's ring; NULL: out of memory, the event is lost. */
static cold struct trace_ring *ring_attach(worker *w)
{
    pthread_mutex_lock(&trace.lock);
    struct trace_ring *r = ring_find(w->index);
    uint64_t capacity = the_runtime.config.trace_events ? the_runtime.config.trace_events : 1;
    if (!r && (r = base_calloc(1, sizeof *r + capacity * sizeof(entry)))) {
        r->capacity = capacity;
        r->thread = w->index;
        r->next = load_relaxed(&trace.rings);
        store_release(&trace.rings, r); /* pairs with ring_find */
    }
    pthread_mutex_unlock(&trace.lock);
    return local_of(w)->trace = r;
}

static void ring_put(struct trace_ring *r, int event, uint64_t id, const char *cls, const char *method)
{
    uint64_t n = load_relaxed(&r->count);
    entry *e = &r->entries[n % r->capacity];
    store_relaxed(&e->when, pool_now_ns() << EVENT_BITS | (uint64_t)event | (load_relaxed(&trace.recorded) > 1 ? EVENT_SPANS : 0));
    store_relaxed(&e->actor, id);
    store_relaxed(&e->cls, cls);
    store_relaxed(&e->method, method);
    store_release(&r->count, n + 1); /* pairs with ring_get */
}

/* A copy of the n-th event; false: it is overwritten, or may be while we look. */
static bool ring_get(struct trace_ring *r, uint64_t n, uint64_t out[2], const char *out_text[2])
{
    entry *e = &r->entries[n % r->capacity];
    out[0] = load_acquire(&e->when); /* acquire: the count is read after them */
    out[1] = load_acquire(&e->actor);
    out_text[0] = load_acquire(&e->cls);
    out_text[1] = load_acquire(&e->method);
    return load_relaxed(&r->count) - n < r->capacity;
}

/* ---- the hash ---- */

static bool slots_grow(uint32_t index)
{
    uint32_t capacity = run.capacity ? run.capacity : 1024;
    while (capacity <= index) capacity *= 2;
    void *slots = base_realloc(run.slots, capacity * sizeof *run.slots);
    if (!slots) return false;
    run.slots = slots;
    memset(run.slots + run.capacity, 0, (capacity - run.capacity) * sizeof *run.slots);
    run.capacity = capacity;
    return true;
}

static uint32_t number_of(uint64_t id)
{
    uint32_t index = (uint32_t)id, generation = (uint32_t)(id >> 32);
    if (index >= run.capacity && !slots_grow(index)) return 0;
    if (run.slots[index].generation != generation) {
        run.slots[index].generation = generation;
        run.slots[index].number = ++run.next_number;
    }
    return run.slots[index].number;
}

static void hash_event(int event, uint64_t id, const char *cls, const char *method)
{
    const uint64_t prime = UINT64_C(0x100000001b3);
    uint64_t h = run.hash;
    h = (h ^ (uint64_t)event) * prime;
    h = (h ^ number_of(id)) * prime;
    h = (h ^ hash_string(cls)) * prime;
    h = (h ^ hash_string(method)) * prime;
    run.hash = h ^ h >> 29;
}

/* ---- events ---- */

static uint32_t level_of(int event) { return event == TRACE_BEGIN || event == TRACE_END ? 2 : 1; }

void trace_event(worker *w, int event, uint64_t id, const char *cls, const char *method)
{
    if (sim_is_on()) hash_event(event, id, cls, method);
    if (level_of(event) > load_relaxed(&trace.recorded) || !w || !w->user) return;
    struct trace_ring *r = local_of(w)->trace;
    if (r || (r = ring_attach(w))) ring_put(r, event, id, cls, method);
}

uint64_t manta_trace_hash(void) { return run.hash; }

static void set_level(uint32_t level)
{
    store_relaxed(&trace.recorded, level > 2 ? 2 : level);
    __atomic_store_n(&the_runtime.trace_level, sim_is_on() ? 2 : level, __ATOMIC_RELAXED);
}

void manta_trace_level(uint32_t level) { set_level(level); }

void trace_start(void)
{
    run.hash = UINT64_C(0xcbf29ce484222325);
    run.next_number = 0;
    set_level(the_runtime.config.trace);
}

void trace_ring_free(local *l) { l->trace = NULL; /* the list has it */ }

void trace_stop(void)
{
    struct trace_ring *r = load_relaxed(&trace.rings);
    store_relaxed(&trace.rings, NULL);
    while (r) {
        struct trace_ring *next = r->next;
        base_free(r);
        r = next;
    }
    set_level(0);
    base_free(run.slots);
    run.slots = NULL;
    run.capacity = 0;
    inspect_stop();
}

/* ---- Chrome trace JSON: one object per event, times in microseconds ---- */

static void escape(const char *text, char *out, size_t out_bytes)
{
    size_t n = 0;
    for (; *text && n + 7 < out_bytes; text++) {
        unsigned char c = (unsigned char)*text;
        if (c == '"' || c == '\\') n += (size_t)snprintf(out + n, out_bytes - n, "\\%c", c);
        else if (c < 0x20 || c >= 0x7f) n += (size_t)snprintf(out + n, out_bytes - n, "\\u%04x", c);
        else out[n++] = (char)c;
    }
    out[n] = 0;
}

typedef struct writer {
    FILE *file;
    const char *separator;
    uint32_t thread;
    bool is_open; /* a span has begun */
} writer;

static void write_head(writer *w, const char *phase, uint64_t ns)
{
    fprintf(w->file, "%s{\"ph\":\"%s\",\"pid\":%d,\"tid\":%u,\"ts\":%llu.%03u", w->separator, phase, (int)getpid(), w->thread,
        (unsigned long long)(ns / OS_NS_PER_US), (unsigned)(ns % OS_NS_PER_US));
    w->separator = ",\n";
}

static void write_end(writer *w, uint64_t ns)
{
    if (!w->is_open) return;
    write_head(w, "E", ns);
    fputs("}", w->file);
    w->is_open = false;
}

static void write_named(writer *w, const char *phase, uint64_t ns, const char *verb, uint64_t id, const char *const text[2])
{
    char cls[NAME_BYTES], method[NAME_BYTES];
    escape(text[0], cls, sizeof cls);
    escape(text[1], method, sizeof method);
    write_head(w, phase, ns);
    fprintf(w->file, ",%s\"name\":\"%s%s%s%s\",\"args\":{\"actor\":\"%s#%u\",\"generation\":%u}}", phase[0] == 'i' ? "\"s\":\"t\"," : "",
        verb, cls, method[0] ? "." : "", method, cls, (uint32_t)id, (uint32_t)(id >> 32));
}

/* On one thread handlers do not nest: one that moved on to another thread ends here where the next one begins. */
static void write_event(writer *w, const uint64_t word[2], const char *const text[2])
{
    static const char *const verbs[] = {"spawn ", "exit ", "suspend ", "resume "};
    int event = (int)(word[0] & EVENT_MASK);
    bool spans = word[0] & EVENT_SPANS;
    uint64_t ns = word[0] >> EVENT_BITS;
    if (event <= TRACE_RESUME) write_named(w, "i", ns, verbs[event], word[1], text);
    if (event == TRACE_END || (event == TRACE_SUSPEND && spans)) write_end(w, ns);
    if (event == TRACE_BEGIN || (event == TRACE_RESUME && spans)) {
        write_end(w, ns);
        write_named(w, "B", ns, "", word[1], text);
        w->is_open = true;
    }
}

static void write_ring(writer *w, struct trace_ring *r)
{
    uint64_t count = load_acquire(&r->count), n = count >= r->capacity ? count - r->capacity : 0, last_ns = 0;
    w->thread = r->thread;
    fprintf(w->file, "%s{\"ph\":\"M\",\"pid\":%d,\"tid\":%u,\"name\":\"thread_name\",\"args\":{\"name\":\"%s %u\"}}", w->separator,
        (int)getpid(), r->thread, r->thread < POOL_MAX_WORKERS ? "worker" : "thread", r->thread % POOL_MAX_WORKERS);
    w->separator = ",\n";
    for (; n < count; n++) {
        uint64_t word[2];
        const char *text[2];
        if (!ring_get(r, n, word, text)) continue;
        last_ns = word[0] >> EVENT_BITS;
        write_event(w, word, text);
    }
    write_end(w, last_ns);
}

manta_status manta_trace_dump(const char *path)
{
    if (!path || !*path) return error_set(MANTA_EINVAL, "manta_trace_dump: no path");
    FILE *file = fopen(path, "w");
    if (!file) return error_set(MANTA_EIO, "manta_trace_dump: %s: %s", path, strerror(errno));
    writer w = {.file = file, .separator = ""};
    fputs("{\"displayTimeUnit\":\"ns\",\"traceEvents\":[\n", file);
    for (struct trace_ring *r = load_acquire(&trace.rings); r; r = r->next) write_ring(&w, r);
    fputs("\n]}\n", file);
    bool failed = ferror(file);
    int number = errno;
    if (fclose(file) != 0 && !failed) {
        failed = true;
        number = errno;
    }
    return failed ? error_set(MANTA_EIO, "manta_trace_dump: %s: %s", path, strerror(number)) : MANTA_OK;
}
