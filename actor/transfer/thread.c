/*
 * The transfer thread: takes jobs from a queue, one at a time, and looks now and then for replicas that nobody has any more, while there are some. And the second thread, for work that may wait.
 *
 * In deterministic mode there are no threads: a timer of the pool, started by whoever posts, does the work of both.
 *
 * The link's thread only queues here. What a peer may have in the queue is bounded (JOBS_LIMIT messages): a peer that sends more is not one of ours.
 */
#include "actor/node/lineage.h"
#include "actor/transfer/internal.h"
#include "scheduler/pool/sim.h"

enum { JOBS_LIMIT = 1 << 16, SWEEP_MS = 20, SWEEP_LONGEST_MS = 320, SWEEP_SHARE = 50 };

static struct {
    pthread_mutex_t lock; /* the two queues */
    job *first, *last;
    blocked *waiting, *last_waiting;
    _Atomic uint32_t posted, blocked_posted; /* futexes */
    _Atomic bool stop, blocked_stop;
    _Atomic bool some_down, some_room; /* peers to be looked at */
    bool is_on;
    pthread_t thread, blocked_thread;
    pool_timer turn; /* deterministic mode */
    bool is_simulated, is_armed;
} all = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* Tells a thread that there is something for it. */
static void nudge(_Atomic uint32_t *word)
{
    add_seq(word, 1);
    if (!all.is_simulated) os_futex_wake(word, 1);
    else if (!all.is_armed) {
        all.is_armed = true;
        pool_timer_start(worker_self(), &all.turn, pool_now_ns());
    }
}

/* ---- the queues ---- */

void job_post(job *j)
{
    j->next = NULL;
    pthread_mutex_lock(&all.lock);
    if (all.last) all.last->next = j;
    else all.first = j;
    all.last = j;
    pthread_mutex_unlock(&all.lock);
    nudge(&all.posted);
}

static job *job_new(job_kind kind, peer *p, size_t room)
{
    job *j = base_alloc(sizeof *j + room);
    if (j) *j = (job){.kind = kind, .peer = p};
    return j;
}

void job_post_need(uint64_t number)
{
    job *j = job_new(JOB_NEED, NULL, 0);
    if (!j) return;
    j->number = number;
    job_post(j);
}

static job *take_all(void)
{
    pthread_mutex_lock(&all.lock);
    job *j = all.first;
    all.first = all.last = NULL;
    pthread_mutex_unlock(&all.lock);
    return j;
}

void blocked_start(blocked *b)
{
    b->job = (job){.kind = JOB_BLOCKED_DONE, .owner = b};
    b->next = NULL;
    pthread_mutex_lock(&all.lock);
    if (all.last_waiting) all.last_waiting->next = b;
    else all.waiting = b;
    all.last_waiting = b;
    pthread_mutex_unlock(&all.lock);
    nudge(&all.blocked_posted);
}

static blocked *take_blocked(void)
{
    pthread_mutex_lock(&all.lock);
    blocked *b = all.waiting;
    if (b && !(all.waiting = b->next)) all.last_waiting = NULL;
    pthread_mutex_unlock(&all.lock);
    return b;
}

static void *run_blocked(void *argument)
{
    (void)argument;
    (void)worker_self();
    for (;;) {
        uint32_t seen = load_seq(&all.blocked_posted);
        blocked *b = take_blocked();
        if (b) {
            b->run(b);
            job_post(&b->job);
        } else if (load_seq(&all.blocked_stop)) return NULL;
        else os_futex_wait(&all.blocked_posted, seen, OS_FOREVER);
    }
}

/* ZeroMQ takes memory for each chunk from malloc and gives it back soon after. glibc returns that much to the kernel each time, and fresh pages cost more than the copy; when it has once seen a larger
 * piece come and go, it keeps up to 64 MiB instead (M_MMAP_THRESHOLD in mallopt(3)). Elsewhere this does nothing. */
void keep_warm(void)
{
    enum { SEEN_BYTES = 31 << 20 };
    static _Atomic bool done;
    if (!exchange_seq(&done, true)) base_free(base_alloc(SEEN_BYTES));
}

/* ---- messages ---- */

static job *keep_message(peer *from, const wire_head *head, const void *data, size_t bytes, link_frame *frame)
{
    bool in_frame = head->kind == WIRE_CHUNK;
    job *j = job_new(JOB_MESSAGE, from, in_frame ? 0 : bytes);
    if (!j) return NULL;
    j->head = *head;
    j->data = in_frame ? data : j + 1;
    j->bytes = bytes;
    if (in_frame) link_frame_retain(j->frame = frame);
    else if (bytes) memcpy(j + 1, data, bytes);
    return j;
}

static const char *queue_message(peer *from, const wire_head *head, const void *data, size_t bytes, link_frame *frame)
{
    if (add_relaxed(&from->jobs, 1) >= JOBS_LIMIT) return "more requests about objects than can be answered";
    job *j = keep_message(from, head, data, bytes, frame);
    if (!j) return "more than there is memory for";
    job_post(j);
    return NULL;
}

/* Holds come and go on the link's thread, because a TAKEN behind them gives up what they are to keep. */
const char *transfer_message(worker *w, peer *from, const wire_head *head, const void *data, size_t bytes, link_frame *frame)
{
    switch (head->kind) {
    case WIRE_HOLD: return export_hold(w, from, head, data, bytes);
    case WIRE_RELEASE: export_release(w, from, head->call, head->status & 1); return NULL;
    case WIRE_GONE: export_gone(from, head->call); return NULL;
    case WIRE_RECORD: return lineage_carried(w, data, bytes);
    case WIRE_BORROWED: return lineage_borrowed(from->process, data, bytes, head->status & 1);
    case WIRE_HELD:
    case WIRE_LOCATE:
    case WIRE_OBJECT:
    case WIRE_FETCH:
    case WIRE_CHUNK:
    case WIRE_REFUSED: return queue_message(from, head, data, bytes, frame);
    default: return "an unknown kind of message";
    }
}

static void take_held(worker *w, const job *j)
{
    import *i = import_get(j->head.call);
    if (!i || i->name.process != j->peer->process) return;
    if (j->head.status && j->peer->process == i->name.owner) i->owner_refused = true;
    if (!import_held(w, i, (manta_status)j->head.status)) {
        if (import_recover(w, i)) return;
        import_end(w, i,
            error_new(MANTA_EOBJECTLOST, NULL, "process %016llx does not have the object any more: %s",
                (unsigned long long)j->peer->process, manta_status_text((manta_status)j->head.status)));
    } else if (i->is_held && i->state == IMPORT_NEEDED) pull_need(w, i);
}

static void run_message(worker *w, const job *j)
{
    const char *wrong = NULL;
    const wire_head *h = &j->head;
    switch (h->kind) {
    case WIRE_HELD: take_held(w, j); break;
    case WIRE_LOCATE: wrong = serve_locate(w, j->peer, h->call, j->data, j->bytes); break;
    case WIRE_OBJECT: pull_answer(w, j->peer, h, j->data, j->bytes, &wrong); break;
    case WIRE_FETCH: wrong = serve_fetch(w, j->peer, h, j->data, j->bytes); break;
    case WIRE_CHUNK: wrong = pull_chunk(w, j->peer, h, j->data, j->bytes); break;
    default: pull_refused(w, j->peer, h); break;
    }
    if (!wrong) return;
    runtime_report("process %016llx sent %s: the link is dropped", (unsigned long long)j->peer->process, wrong);
    link_drop(the_node.links, j->peer->process, MANTA_EDECODE);
}

/* ---- the thread ---- */

static void job_free(job *j)
{
    if (j->kind == JOB_MESSAGE) sub_seq(&j->peer->jobs, 1);
    if (j->frame) link_frame_release(j->frame);
    base_free(j);
}

static void take_need(worker *w, uint64_t number)
{
    import *i = import_get(number);
    if (i && i->state == IMPORT_NEEDED && i->is_held) pull_need(w, i);
}

static void peer_is_down(worker *w, peer *p)
{
    pulls_peer_down(w, p);
    imports_peer_down(w, p);
    serve_peer_down(w, p);
}

static peer *next_down(void)
{
    size_t cursor = 0;
    pthread_mutex_lock(&the_node.lock);
    peer *p;
    while ((p = id_table_next(&the_node.peers, &cursor, NULL)) && load_seq(&p->downs) == p->downs_seen) continue;
    pthread_mutex_unlock(&the_node.lock);
    return p;
}

static void peers_are_down(worker *w)
{
    for (peer *p; (p = next_down());) {
        p->downs_seen = load_seq(&p->downs);
        peer_is_down(w, p);
    }
}

static void run_job(worker *w, job *j)
{
    switch (j->kind) {
    case JOB_MESSAGE: run_message(w, j); break;
    case JOB_NEED: take_need(w, j->number); break;
    case JOB_LOCATE_READY: serve_locate_ready(w, j->owner); return;
    case JOB_FEED_DONE: serve_feed_done(w, j->owner); return;
    case JOB_SHARED_READY: pull_shared_ready(w, j->owner); return;
    case JOB_REBUILT: rebuild_is_done(w, j->owner); return;
    case JOB_BLOCKED_DONE: ((blocked *)j->owner)->done(w, j->owner); return;
    }
    job_free(j);
}

static bool run_all(worker *w)
{
    job *j = take_all();
    bool some = j != NULL;
    while (j) {
        job *next = j->next;
        run_job(w, j);
        j = next;
    }
    if (exchange_seq(&all.some_room, false)) serve_more(w);
    if (exchange_seq(&all.some_down, false)) peers_are_down(w);
    return some;
}

/* When to look for what nobody has any more: soon after something happened, then more and more seldom, and never for more than a fiftieth of the time. */
typedef struct sweeper {
    bool is_on;
    uint64_t last_ns, cost_ns, pause_ns;
} sweeper;

static uint64_t sweep_due(const sweeper *s)
{
    uint64_t least = s->cost_ns * SWEEP_SHARE;
    return s->last_ns + (s->pause_ns > least ? s->pause_ns : least);
}

static void sweep(worker *w, sweeper *s)
{
    uint64_t began = os_monotonic_ns();
    bool replicas = imports_sweep(w), holds = exports_sweep();
    s->last_ns = os_monotonic_ns();
    s->cost_ns = s->last_ns - began;
    s->is_on = replicas || holds;
    if (s->pause_ns < SWEEP_LONGEST_MS * (uint64_t)OS_NS_PER_MS) s->pause_ns *= 2;
}

static void *run(void *argument)
{
    (void)argument;
    worker *w = worker_self();
    sweeper s = {.is_on = false};
    while (w && !load_seq(&all.stop)) {
        uint32_t seen = load_seq(&all.posted);
        (void)run_all(w);
        uint64_t now = os_monotonic_ns();
        if (s.is_on && now >= sweep_due(&s)) sweep(w, &s);
        uint64_t due = sweep_due(&s);
        if (!os_futex_wait(&all.posted, seen, !s.is_on ? OS_FOREVER : due > now ? due - now : 0)) continue;
        s.is_on = true;
        s.pause_ns = SWEEP_MS * (uint64_t)OS_NS_PER_MS;
    }
    return NULL;
}

/* Both threads' work. It comes again, as long as there is something to sweep. */
static void turn_in_simulation(worker *w, pool_timer *t)
{
    static sweeper s;
    static uint32_t seen;
    (void)t;
    all.is_armed = false;
    for (blocked *b; (b = take_blocked());) {
        b->run(b);
        job_post(&b->job);
    }
    (void)run_all(w);
    if (seen != load_relaxed(&all.posted))
        s = (sweeper){.is_on = true, .last_ns = pool_now_ns(), .pause_ns = SWEEP_MS * (uint64_t)OS_NS_PER_MS};
    else if (s.is_on) sweep(w, &s);
    seen = load_relaxed(&all.posted);
    if (!s.is_on || all.is_armed) return;
    all.is_armed = true;
    pool_timer_start(w, &all.turn, sweep_due(&s));
}

static void start_in_simulation(void)
{
    all.turn = (pool_timer){.fire = turn_in_simulation};
    all.is_simulated = all.is_on = true;
    all.is_armed = false;
}

/* ---- start and stop ---- */

manta_status transfer_start(const manta_config *config)
{
    pull_limit(config->pull_bytes);
    store_relaxed(&served_bytes, 0);
    store_relaxed(&pulled_bytes, 0);
    store_seq(&all.stop, false);
    store_seq(&all.blocked_stop, false);
    if (sim_is_on()) {
        start_in_simulation();
        return MANTA_OK;
    }
    if (os_thread_start(&all.thread, "manta-objects", run, NULL))
        return error_set(MANTA_ENOMEM, "no thread for objects of other processes");
    if (os_thread_start(&all.blocked_thread, "manta-room", run_blocked, NULL)) {
        store_seq(&all.stop, true);
        add_seq(&all.posted, 1);
        os_futex_wake(&all.posted, 1);
        pthread_join(all.thread, NULL);
        return error_set(MANTA_ENOMEM, "no thread for objects of other processes");
    }
    all.is_on = true;
    return MANTA_OK;
}

static void end_thread(pthread_t thread, _Atomic bool *stop, _Atomic uint32_t *word)
{
    store_seq(stop, true);
    add_seq(word, 1);
    os_futex_wake(word, 1);
    pthread_join(thread, NULL);
}

void transfer_stop(void)
{
    if (!all.is_on) return;
    if (all.is_simulated) {
        if (all.is_armed) (void)pool_timer_cancel(&all.turn);
        all.is_armed = true; /* not again */
    } else {
        end_thread(all.blocked_thread, &all.blocked_stop, &all.blocked_posted);
        end_thread(all.thread, &all.stop, &all.posted);
    }
    worker *w = worker_self();
    (void)run_all(w);
    serve_stop(w);
    imports_stop(w);
    exports_stop(w);
}

void transfer_free(void)
{
    if (!all.is_on) return;
    (void)run_all(worker_self()); /* what the links had of feeds */
    all.is_on = all.is_simulated = false;
}

static void wake(_Atomic bool *flag)
{
    store_seq(flag, true);
    nudge(&all.posted);
}

void sweep_wanted(void) { nudge(&all.posted); }

/* Its holds go at once, so that those of another connection of the same process are not among them; the rest on the transfer thread. */
void transfer_peer_down(worker *w, peer *p)
{
    exports_peer_down(w, p);
    wake(&all.some_down);
}

void transfer_peer_room(void) { wake(&all.some_room); }
