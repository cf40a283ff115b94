/*
 * The end of an actor. The generation moves first, so nobody can reach it any more; then its relations are told, what is still queued is answered, and
 * the slot goes back. A push that was under way may still arrive: free_turn in turn.c answers it.
 */
#include "actor/runtime/internal.h"
#include "actor/runtime/turn.h"

static void answer_queued(worker *w, actor *a, uint64_t id, const manta_error *reason)
{
    for (;;) {
        message *m;
        while ((m = mailbox_pop(w, &a->box, &a->end))) {
            message_dead(w, id, m, MANTA_EEXIT, reason);
            message_done(w, m);
        }
        if (mailbox_try_rest(w, &a->box, &a->end)) return;
        spin_pause();
    }
}

static void answer_stashed(worker *w, actor *a, uint64_t id, const manta_error *reason)
{
    actor_extra *x = a->extra;
    for (uint32_t i = x->stash.next; i < x->stash.count; i++) {
        message_dead(w, id, x->stash.items[i], MANTA_EEXIT, reason);
        message_release(w, x->stash.items[i]);
    }
    x->stash.count = x->stash.next = 0;
}

static void wake_blocked_senders(worker *w, actor *a)
{
    actor_extra *x = a->extra;
    store_seq(&x->queued, 0);
    pthread_mutex_lock(&x->room_lock);
    for (uint32_t i = 0; i < x->room_waiters.count; i++) future_complete(w, x->room_waiters.items[i], NULL, NULL, 0);
    x->room_waiters.count = 0;
    pthread_mutex_unlock(&x->room_lock);
}

void actor_exit(worker *w, actor *a, manta_status status, const manta_error *error)
{
    uint64_t id = actor_id(a);
    manta_error *made = NULL;
    if (!error && status) error = made = error_new(status, NULL, "%s", manta_status_text(status));
    store_relaxed(&a->phase, PHASE_STOPPING);
    store_seq(&a->generation, (uint32_t)(id >> 32) + 1); /* even: dead */
    TRACE(1, w, TRACE_EXIT, id, a->cls->name, "");
    if (a->boot) {
        message_dead(w, id, a->boot, MANTA_EEXIT, error);
        message_free(w, a->boot);
        a->boot = NULL;
    }
    if (a->extra && a->active) suspended_abandon_all(w, a);
    relation_exit(w, a, id, status, error);
    if (a->extra) {
        answer_stashed(w, a, id, error);
        wake_blocked_senders(w, a);
    }
    if (a->cls->options.on_free) a->cls->options.on_free(a->state);
    if (a->state_on_heap) base_free(a->state);
    a->state_on_heap = 0;
    store_relaxed(&a->waiting, NULL);
    store_relaxed(&a->run.hot, 0);
    answer_queued(w, a, id, error); /* the mailbox rests now, but the slot is not yet in the pool */
    count_up(&local_of(w)->exited, 1);
    error_free(made);
    actor_free(w, a);
    if (load_relaxed(&the_runtime.running) == 2) {
        add_seq(&the_runtime.exit_word, 1);
        os_futex_wake(&the_runtime.exit_word, 1);
    }
}
