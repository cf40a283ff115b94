/*
 * The rescue of what only a stuck worker could run: its LIFO slot, private and muted lists.
 *
 * They are plain memory of the owner. The owner announces the two places where it touches them, inside the scheduler (in_scheduler: all
 * but turns) and in worker_ready (in_ready), by plain stores, and looks at `rescue` after the store. The monitor sets `rescue`, has every
 * processor of the process pass a barrier (membarrier), and looks at the announcements. If the owner's look came before the barrier, so
 * did its announcement, and the monitor sees that; else the owner sees `rescue` and waits. An owner that is inside is not stuck in a
 * turn: the monitor gives up soon.
 */
#include <linux/membarrier.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "scheduler/pool/pool_internal.h"

#ifdef POOL_TSAN
/* `rescue` is a lock: 1 by the monitor, 2 by the owner. A worker that is inside already keeps it. */
enum { MONITORS = 1, OWNERS = 2 };

void rescue_init(void) {}

void rescue_wait(worker *w, _Atomic uint8_t *announcement)
{
    bool inside = load_relaxed(&w->in_scheduler) || load_relaxed(&w->in_ready);
    if (!inside || load_relaxed(&w->rescue) != OWNERS)
        for (uint8_t unlocked = 0; !cas_acq_rel(&w->rescue, &unlocked, OWNERS); unlocked = 0) sched_yield();
    store_relaxed(announcement, 1);
}

void rescue_leave_locked(worker *w, _Atomic uint8_t *announcement)
{
    if (!load_relaxed(announcement)) return; /* worker_continue from a turn: it has not entered, and the lock may be the monitor's */
    store_relaxed(announcement, 0);
    if (!load_relaxed(&w->in_scheduler) && !load_relaxed(&w->in_ready)) store_release(&w->rescue, 0);
}

bool rescue_begin(worker *stuck)
{
    uint8_t unlocked = 0;
    return cas_acq_rel(&stuck->rescue, &unlocked, MONITORS);
}

void rescue_end(worker *stuck)
{
    if (load_relaxed(&stuck->rescue) == MONITORS) store_release(&stuck->rescue, 0);
}
#else
enum { LOOKS = 100 };
static bool can_rescue;

static bool membarrier(int command) { return syscall(SYS_membarrier, command, 0, 0) == 0; }

void rescue_init(void) { can_rescue = membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED); }

cold void rescue_wait(worker *w, _Atomic uint8_t *announcement)
{
    while (load_acquire(&w->rescue)) {
        store_release(announcement, 0);
        while (load_acquire(&w->rescue)) sched_yield();
        store_relaxed(announcement, 1);
        atomic_signal_fence(memory_order_seq_cst);
    }
}

void rescue_leave_locked(worker *w, _Atomic uint8_t *announcement) { rescue_leave(w, announcement); }

static bool is_inside(worker *stuck) { return load_acquire(&stuck->in_scheduler) || load_acquire(&stuck->in_ready); }

bool rescue_begin(worker *stuck)
{
    if (!can_rescue || load_relaxed(&stuck->in_scheduler)) return false;
    store_seq(&stuck->rescue, 1);
    if (!membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED)) return false;
    for (int i = 0; i < LOOKS && is_inside(stuck); i++) spin_pause();
    return !is_inside(stuck);
}

void rescue_end(worker *stuck) { store_release(&stuck->rescue, 0); }
#endif
