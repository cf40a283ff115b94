/*
 * One look at one slot. The order matters: the generation first, then the suspended handler, then the mailbox, then the workers, then the generation again.
 *
 * An activation belongs to an actor when it says so itself: fibers are reused, and `waiting` may be older than the fiber's present user.
 */
#include "actor/inspect/inspect.h"
#include "scheduler/pool/pool_internal.h"

/* Plain words of other threads are read through these: the value may be old, and the sanitizer need not hear of it. */
#define LOOK(x) (*(volatile __typeof__(x) *)&(x))
#define UNSYNCHRONISED __attribute__((no_sanitize("thread")))

UNSYNCHRONISED static bool is_waiting(actor *a, actor_view *v)
{
    activation *act = load_acquire(&a->waiting);
    if (!act || LOOK(act->actor) != a) return false;
    const char *kind = load_relaxed(&act->wait_kind);
    if (!kind || !load_relaxed(&act->began_ns))
        return false; /* began_ns: cleared with the scope, also when a handler is killed in a wait */
    v->state = MANTA_STATE_WAITING;
    v->act = act;
    v->method = LOOK(act->method);
    v->wait_kind = kind;
    v->wait_target = load_relaxed(&act->wait_target);
    return true;
}

UNSYNCHRONISED static bool runs_on(worker *w, actor *a, actor_view *v)
{
    if (LOOK(w->current) != &a->run) return false;
    v->state = MANTA_STATE_RUNNING;
    v->worker = w->index;
    fiber *f = LOOK(w->fiber);
    activation *act = f ? (activation *)(void *)f->user : NULL;
    if (act && LOOK(act->actor) == a && LOOK(act->message)) {
        v->act = act;
        v->method = LOOK(act->method);
    }
    return true;
}

/* On a worker, or inside of blocking code on another thread. */
static bool is_running(actor *a, actor_view *v)
{
    for (int i = 0; i < the_pool.workers; i++)
        if (runs_on(the_pool.worker[i], a, v)) return true;
    for (worker *w = load_acquire(&external_list); w; w = w->next_external)
        if (runs_on(w, a, v)) return true;
    return false;
}

UNSYNCHRONISED bool actor_view_read(uint64_t index, actor_view *out)
{
    actor *a = slab_at(&actor_slab, index);
    uint32_t generation = load_acquire(&a->generation);
    if (!(generation & 1)) return false;
    actor_view v = {.id = index | (uint64_t)generation << 32, .actor = a, .cls = LOOK(a->cls), .worker = -1, .wait_kind = ""};
    v.handled = load_relaxed(&a->handled);
    if (!is_waiting(a, &v)) {
        if (mailbox_is_at_rest(&a->box)) v.state = MANTA_STATE_IDLE;
        else if (!is_running(a, &v)) v.state = MANTA_STATE_QUEUED;
    }
    atomic_thread_fence(memory_order_acquire);
    if (load_relaxed(&a->generation) != generation) return false;
    *out = v;
    return true;
}
