/*
 * Waiting for objects and for room: futexes in the control file.
 *
 * Who sleeps on a slot's state first sets SLOT_WAITED in it; who changes the state and finds the bit wakes everybody: sleepers, and by a process's `event` its watch thread,
 * which calls the watchers whose objects are ready. While somebody waits, dead creators are looked for every REAP_MS.
 */
#include "objstore/internal.h"

enum { REAP_MS = 200 };

struct watcher {
    watcher *next;
    store_id id;
    void (*done)(void *context, store_id id);
    void *context;
};

/* ---- waking ---- */

static void ring_watchers(store *s)
{
    for (uint32_t i = 0; i < STORE_PROCESSES; i++) {
        process *p = process_of(s, i);
        if (!load_seq(&p->watching)) continue;
        add_seq(&p->event, 1);
        os_futex_wake_shared(&p->event, 1);
    }
}

static watcher *take_ready(store *s, uint32_t bucket)
{
    watcher *ready = NULL;
    for (watcher **link = &s->watchers[bucket]; *link;) {
        watcher *x = *link;
        if (store_peek(s, x->id) == MANTA_ENOTREADY) {
            link = &x->next;
            continue;
        }
        *link = x->next;
        x->next = ready;
        ready = x;
        atomic_fetch_sub_explicit(&s->n_watchers, 1, memory_order_seq_cst);
    }
    return ready;
}

static void call_ready(store *s, uint32_t bucket)
{
    pthread_mutex_lock(&s->watch_lock);
    watcher *ready = s->watchers[bucket] ? take_ready(s, bucket) : NULL;
    pthread_mutex_unlock(&s->watch_lock);
    while (ready) {
        watcher *x = ready;
        ready = x->next;
        x->done(x->context, x->id);
        base_free(x);
    }
}

void slot_set_state(store *s, slot *x, store_state state)
{
    bool at_work = state == STORE_CREATING || state == STORE_MOVING || state == STORE_DYING;
    uint32_t word = state | (at_work ? (s->me + 1) << SLOT_WORKER_SHIFT : 0);
    uint32_t before = exchange_seq(&x->state, word);
    if (likely(!(before & SLOT_WAITED))) return;
    os_futex_wake_shared(&x->state, INT32_MAX);
    ring_watchers(s);
    if (load_seq(&s->n_watchers)) call_ready(s, slot_index(s, x) % WATCH_BUCKETS);
}

void room_freed(store *s)
{
    if (likely(!load_relaxed(&s->control->room_waiters))) return;
    add_seq(&s->control->room, 1);
    os_futex_wake_shared(&s->control->room, INT32_MAX);
}

/* ---- sleeping ---- */

static bool mark_waited(slot *x, store_state while_state, uint32_t *word)
{
    *word = load_seq(&x->state);
    do
        if ((*word & 0xff) != while_state) return false;
    while (!cas_seq(&x->state, word, *word | SLOT_WAITED));
    *word |= SLOT_WAITED;
    return true;
}

manta_status slot_sleep(store *s, slot *x, store_state while_state, uint64_t timeout_ns)
{
    uint32_t word;
    if (!mark_waited(x, while_state, &word)) return MANTA_OK;
    uint64_t part = timeout_ns < REAP_MS * OS_NS_PER_MS ? timeout_ns : REAP_MS * OS_NS_PER_MS;
    if (os_futex_wait_shared(&x->state, word, part)) return MANTA_OK;
    (void)reap_dead(s);
    return MANTA_ETIMEDOUT;
}

manta_status store_wait(store *s, store_id id, uint64_t timeout_ns)
{
    uint64_t now = os_monotonic_ns(), deadline = timeout_ns > UINT64_MAX - now ? UINT64_MAX : now + timeout_ns;
    for (;;) {
        manta_status status = store_peek(s, id);
        slot *x = slot_of(s, id);
        if (status == MANTA_ESTALE || !x) return store_fail_(MANTA_ESTALE, "the object is gone or never was");
        if (status != MANTA_ENOTREADY) return status;
        if ((now = os_monotonic_ns()) >= deadline) return store_fail_(MANTA_ETIMEDOUT, "the object is not there in time");
        (void)slot_sleep(s, x, state_of(x), deadline - now);
    }
}

/* ---- watching ---- */

static void *watch_run(void *argument)
{
    store *s = argument;
    process *p = my_process(s);
    while (!load_seq(&s->watch_ends)) {
        uint32_t seen = load_seq(&p->event);
        for (uint32_t b = 0; b < WATCH_BUCKETS; b++) call_ready(s, b);
        bool some = load_seq(&s->n_watchers) > 0;
        if (load_seq(&s->watch_ends)) break;
        if (!os_futex_wait_shared(&p->event, seen, some && has_others(s) ? REAP_MS * OS_NS_PER_MS : OS_FOREVER)) (void)reap_dead(s);
    }
    return NULL;
}

/* Under the lock. */
static bool watch_start(store *s)
{
    if (s->has_watch_thread) return true;
    store_seq(&s->watch_ends, 0);
    store_seq(&my_process(s)->watching, 1);
    s->has_watch_thread = os_thread_start(&s->watch_thread, "store-watch", watch_run, s) == 0;
    return s->has_watch_thread;
}

manta_status store_watch(store *s, store_id id, void (*done)(void *context, store_id id), void *context)
{
    slot *x = slot_of(s, id);
    watcher *w = base_alloc(sizeof *w);
    if (!w) return store_fail_(MANTA_ENOMEM, "no memory to watch an object");
    *w = (watcher){NULL, id, done, context};
    uint32_t bucket = (uint32_t)id.word[0] % WATCH_BUCKETS, word;
    pthread_mutex_lock(&s->watch_lock);
    bool ok = watch_start(s);
    if (ok) {
        w->next = s->watchers[bucket];
        s->watchers[bucket] = w;
        add_seq(&s->n_watchers, 1);
    }
    pthread_mutex_unlock(&s->watch_lock);
    if (!ok) {
        base_free(w);
        return store_fail_(MANTA_ENOMEM, "no thread to watch objects");
    }
    bool pending = x && (mark_waited(x, STORE_PENDING, &word) || mark_waited(x, STORE_CREATING, &word));
    if (!pending) call_ready(s, bucket);
    else { /* the thread looks now and then while there are watchers */ add_seq(&my_process(s)->event, 1);
        os_futex_wake_shared(&my_process(s)->event, 1);
    }
    return MANTA_OK;
}

bool store_unwatch(store *s, store_id id, void *context)
{
    watcher *found = NULL;
    pthread_mutex_lock(&s->watch_lock);
    for (watcher **link = &s->watchers[(uint32_t)id.word[0] % WATCH_BUCKETS]; *link; link = &(*link)->next) {
        if ((*link)->id.word[1] != id.word[1] || (*link)->context != context) continue;
        found = *link;
        *link = found->next;
        atomic_fetch_sub_explicit(&s->n_watchers, 1, memory_order_seq_cst);
        break;
    }
    pthread_mutex_unlock(&s->watch_lock);
    base_free(found);
    return found != NULL;
}

void store_unwatch_all(store *s)
{
    if (s->has_watch_thread) {
        store_seq(&s->watch_ends, 1);
        add_seq(&my_process(s)->event, 1);
        os_futex_wake_shared(&my_process(s)->event, 1);
        pthread_join(s->watch_thread, NULL);
        store_seq(&my_process(s)->watching, 0);
        s->has_watch_thread = false;
    }
    for (uint32_t b = 0; b < WATCH_BUCKETS; b++) {
        for (watcher *x = s->watchers[b], *next; x; x = next) {
            next = x->next;
            base_free(x);
        }
        s->watchers[b] = NULL;
    }
    store_seq(&s->n_watchers, 0);
}
