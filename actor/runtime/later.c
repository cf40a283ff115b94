/*
 * Messages sent later, once or periodically. A record per timer, named by slot and generation; the message is built once and copied for each sending.
 *
 * All records are under one lock; firing takes it too. A cancelled or finished record is freed by whoever ends it, after its timer is off the wheel.
 */
#include <string.h>

#include "actor/runtime/internal.h"
#include "actor/runtime/later.h"

enum { LATER_LIMIT = 1 << 20 };

typedef struct later {
    pool_timer timer;
    uint32_t slot, generation;
    uint64_t to, period_ms, due_ns;
    const manta_method *method;
    size_t extra_bytes;
    bool cancelled;
    _Alignas(16) unsigned char arguments[];
} later;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct {
    later **items;
    uint32_t *generations;
    uint32_t *free;
    uint32_t count, capacity, n_free;
} table;

static bool grow(void)
{
    uint32_t capacity = table.capacity ? table.capacity * 2 : 64;
    later **items = base_realloc(table.items, capacity * sizeof *items);
    if (items) table.items = items;
    uint32_t *generations = base_realloc(table.generations, capacity * sizeof *generations);
    if (generations) table.generations = generations;
    uint32_t *spare = base_realloc(table.free, capacity * sizeof *spare);
    if (spare) table.free = spare;
    if (!items || !generations || !spare) return false;
    for (uint32_t i = capacity; i-- > table.capacity;) {
        table.items[i] = NULL;
        table.generations[i] = 1;
        table.free[table.n_free++] = i;
    }
    table.capacity = capacity;
    return true;
}

/* Under the lock. */
static manta_status slot_take(later *l)
{
    if (table.count >= LATER_LIMIT) return MANTA_ELIMIT;
    if (!table.n_free && !grow()) return MANTA_ENOMEM;
    l->slot = table.free[--table.n_free];
    l->generation = table.generations[l->slot];
    table.items[l->slot] = l;
    table.count++;
    return MANTA_OK;
}

static void slot_give(later *l)
{
    table.items[l->slot] = NULL;
    if (++table.generations[l->slot] == 0) table.generations[l->slot] = 1;
    table.free[table.n_free++] = l->slot;
    table.count--;
}

static void later_free(later *l)
{
    if (l->method->arguments.refs) refs_dropped(&l->method->arguments, l->arguments);
    base_free(l);
}

static void send_copy(worker *w, later *l)
{
    message *m = message_make(w, l->method, l->arguments, l->extra_bytes);
    if (!m) {
        runtime_report("no memory for a timer's message to %s.%s", l->method->owner, l->method->name);
        return;
    }
    m->from = 0;
    message_post_at_once(w, l->to, m);
}

static void fire(worker *w, pool_timer *t)
{
    later *l = (later *)(void *)t;
    pthread_mutex_lock(&lock);
    bool cancelled = l->cancelled;
    pthread_mutex_unlock(&lock);
    if (!cancelled) send_copy(w, l);
    pthread_mutex_lock(&lock);
    bool again = !l->cancelled && l->period_ms && manta_is_alive((manta_actor){l->to}) && load_relaxed(&the_runtime.running) == 1;
    if (again) {
        l->due_ns += l->period_ms * OS_NS_PER_MS;
        uint64_t now = pool_now_ns();
        if (l->due_ns < now) l->due_ns = now + l->period_ms * OS_NS_PER_MS; /* late by more than a period: skip, do not burst */
        pool_timer_start(w, &l->timer, l->due_ns);
    } else slot_give(l);
    pthread_mutex_unlock(&lock);
    if (!again) later_free(l);
}

static later *later_new(uint64_t to, const manta_method *method, const void *arguments, size_t extra_bytes)
{
    size_t head = (method->arguments.size + 15) & ~(size_t)15;
    later *l = base_aligned_alloc(16, (sizeof *l + head + extra_bytes + 15) & ~(size_t)15);
    if (!l) return NULL;
    memset(l, 0, sizeof *l);
    l->to = to;
    l->method = method;
    l->extra_bytes = extra_bytes;
    l->timer.fire = fire;
    memcpy(l->arguments, arguments, method->arguments.size);
    unsigned char *at = l->arguments + head;
    if (method->arguments.relocate) method->arguments.relocate(l->arguments, &at);
    if (method->arguments.refs) refs_in_flight(&method->arguments, l->arguments);
    return l;
}

static void cannot(manta_status status, const manta_method *method)
{
    if (status == MANTA_ELIMIT) error_set(status, "%s.%s: %d timers are set already", method->owner, method->name, LATER_LIMIT);
    else error_set(status, "%s.%s: %s", method->owner, method->name, manta_status_text(status));
}

manta_timer manta_send_later(
    uint64_t delay_ms, uint64_t period_ms, manta_actor to, const manta_method *method, const void *arguments, size_t extra_bytes)
{
    worker *w = worker_self();
    manta_status status = MANTA_OK;
    if (!w || load_relaxed(&the_runtime.running) != 1) status = MANTA_ESHUTDOWN;
    else if (!manta_is_alive(to)) status = MANTA_EDEAD;
    later *l = status ? NULL : later_new(to.id, method, arguments, extra_bytes);
    if (!status && !l) status = MANTA_ENOMEM;
    if (status) {
        cannot(status, method);
        return (manta_timer){0};
    }
    l->period_ms = period_ms;
    l->due_ns = deadline_after_ms(delay_ms);
    pthread_mutex_lock(&lock);
    manta_timer handle = {0};
    if (!(status = slot_take(l))) {
        handle.id = (uint64_t)l->generation << 32 | l->slot;
        pool_timer_start(w, &l->timer, l->due_ns);
    }
    pthread_mutex_unlock(&lock);
    if (!status) return handle;
    later_free(l);
    cannot(status, method);
    return handle;
}

/* Under the lock: off the wheel; false: it is firing, and will see `cancelled`. */
static bool disarm(later *l)
{
    l->cancelled = true;
    if (!pool_timer_cancel(&l->timer)) return false;
    slot_give(l);
    return true;
}

manta_status manta_timer_cancel(manta_timer handle)
{
    uint32_t slot = (uint32_t)handle.id, generation = (uint32_t)(handle.id >> 32);
    pthread_mutex_lock(&lock);
    later *l = slot < table.capacity ? table.items[slot] : NULL;
    if (l && (l->generation != generation || l->cancelled)) l = NULL;
    bool found = l != NULL, free_it = found && disarm(l);
    pthread_mutex_unlock(&lock);
    if (free_it) later_free(l);
    return found ? MANTA_OK : error_set(MANTA_ESTALE, "manta_timer_cancel: the timer has fired or was cancelled before");
}

void later_stop(void)
{
    for (uint32_t i = 0;; i++) {
        pthread_mutex_lock(&lock);
        bool end = i >= table.capacity;
        later *l = end ? NULL : table.items[i];
        bool free_it = l && !l->cancelled && disarm(l);
        pthread_mutex_unlock(&lock);
        if (free_it) later_free(l);
        if (end) break;
    }
}
