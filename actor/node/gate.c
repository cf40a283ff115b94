/*
 * The gate of a worker process: leased tasks begin one after the other, in the order in which they came. A task that waits leaves the gate, so the next begins. When all wait, the process begins tasks that it has
 * submitted itself and that are not on their way yet: so nested tasks always get on. When all have waited for LEND_MS, the node is told, which may let others in.
 *
 * A worker has one thread, so of those that go on only one runs at a time: a cpu that was lent is never used twice.
 */
#include "actor/node/owner.h"

enum { LEND_MS = 10 };

static struct {
    pthread_mutex_t lock;
    message *first, *last;
    uint32_t active, alive; /* running; begun */
    uint32_t cpus;          /* of the lease of the task that began last, in 1/10000 */
    bool told;              /* that all wait */
    bool timed;             /* the timer runs */
    uint64_t since_ns;      /* all wait */
    pool_timer timer;
} gate = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* Under the lock: the next that may begin. */
static message *next_locked(void)
{
    message *m = gate.active ? NULL : gate.first;
    if (!m) return NULL;
    gate.first = load_relaxed(&m->next);
    if (!gate.first) gate.last = NULL;
    gate.active++;
    gate.alive++;
    gate.cpus = m->generation;
    return m;
}

static void tell(worker *w, bool is)
{
    struct {
        uint32_t pid;
        bool is;
    } __attribute__((aligned(16))) a = {node_pid(), is};
    message *m = job_is_worker ? message_make(w, &MantaLeases_waiting_method, &a, 0) : NULL;
    if (m) message_post_at_once(w, job_leases.id, m);
}

static void begin(worker *w, message *m)
{
    const manta_method *method = m->method;
    struct stream *s = NULL;
    m->flags |= MESSAGE_GATED;
    if (method->is_generator && m->reply && !(s = stream_local(m->reply))) s = inbound_generator(m);
    if (task_spawn(w, m, MANTA_PRIORITY_NORMAL, s)) return;
    if (s) inbound_generator_ends(m);
    future *f = m->reply;
    m->reply = NULL;
    message_discard(w, m);
    if (f && f->packed == FUTURE_LEASED) owner_done(w, f);
    if (f) future_fail_status(w, f, MANTA_ELIMIT, "no slot for another task");
    gate_end(w);
}

static void look(worker *w, pool_timer *t)
{
    (void)t;
    pthread_mutex_lock(&gate.lock);
    bool all_wait = !gate.active && gate.alive;
    uint64_t now = pool_now_ns(), due = gate.since_ns + (uint64_t)LEND_MS * OS_NS_PER_MS;
    bool news = all_wait && !gate.told && now >= due;
    gate.told |= news;
    gate.timed = all_wait && !gate.told;
    if (gate.timed) pool_timer_start(w, &gate.timer, due);
    if (news) tell(w, true); /* under the lock, so that the news keep their order */
    pthread_mutex_unlock(&gate.lock);
}

/* Under the lock. */
static void wait_a_while(worker *w)
{
    gate.since_ns = pool_now_ns();
    if (gate.timed || gate.told) return;
    gate.timed = true;
    gate.timer.fire = look;
    pool_timer_start(w, &gate.timer, gate.since_ns + (uint64_t)LEND_MS * OS_NS_PER_MS);
}

/* What follows from a change: another begins; or all wait, or do not any more. Unlocks. */
static void settle(worker *w)
{
    message *m = next_locked();
    bool all_wait = !gate.active && gate.alive, news = gate.told && !all_wait;
    uint32_t cpus = gate.cpus;
    if (news) gate.told = false;
    if (all_wait) wait_a_while(w);
    if (news) tell(w, false);
    pthread_mutex_unlock(&gate.lock);
    if (!m && all_wait && (m = owner_help(cpus))) gate_push(w, m);
    else if (m) begin(w, m);
}

void gate_poke(worker *w)
{
    pthread_mutex_lock(&gate.lock);
    settle(w);
}

void gate_push(worker *w, message *m)
{
    store_relaxed(&m->next, NULL);
    pthread_mutex_lock(&gate.lock);
    if (gate.last) store_relaxed(&gate.last->next, m);
    else gate.first = m;
    gate.last = m;
    settle(w);
}

void gate_leave(worker *w)
{
    pthread_mutex_lock(&gate.lock);
    gate.active--;
    settle(w);
}

void gate_enter(worker *w)
{
    pthread_mutex_lock(&gate.lock);
    gate.active++;
    settle(w);
}

void gate_end(worker *w)
{
    pthread_mutex_lock(&gate.lock);
    gate.active--;
    gate.alive--;
    settle(w);
}

message *gate_take_of(bool (*is)(const message *m, void *context), void *context)
{
    message *before = NULL, *m;
    pthread_mutex_lock(&gate.lock);
    for (m = gate.first; m && !is(m, context); m = load_relaxed(&m->next)) before = m;
    if (m) {
        message *next = load_relaxed(&m->next);
        if (before) store_relaxed(&before->next, next);
        else gate.first = next;
        if (gate.last == m) gate.last = before;
    }
    pthread_mutex_unlock(&gate.lock);
    return m;
}

static bool has_reply(const message *m, void *reply) { return m->reply == reply; }

message *gate_take(const future *reply) { return gate_take_of(has_reply, (void *)(uintptr_t)reply); }

uint32_t gate_alive(void)
{
    pthread_mutex_lock(&gate.lock);
    uint32_t n = gate.alive + (gate.first != NULL);
    pthread_mutex_unlock(&gate.lock);
    return n;
}
