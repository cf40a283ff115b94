/*
 * Deterministic mode (pool_options.seed != 0): no threads; the caller of sim_run_until runs everything, in an order that the seed
 * decides, on a virtual clock.
 *
 * The clock starts at 1 s, moves SIM_PICK_NS with each turn and jumps to the next timer when nothing is runnable. One thread uses the
 * pool: the one that called pool_start.
 */
#ifndef MANTA_POOL_SIM_H
#define MANTA_POOL_SIM_H

#include <stdbool.h>
#include <stdint.h>

enum { SIM_PICK_NS = 100 };

bool sim_is_on(void);
uint64_t sim_now_ns(void);

/* Runs turns until done(argument), which is asked before each. Returns early when nothing can happen any more (no runnable, no timer) or
 * the virtual clock has reached deadline_ns: the caller looks at done again. Not from inside a turn. */
void sim_run_until(bool (*done)(void *argument), void *argument, uint64_t deadline_ns);

/* ---- for one of several systems that share a world with one clock ---- */

typedef void (*sim_wait)(void *context, bool (*done)(void *argument), void *argument, uint64_t deadline_ns);
/* sim_run_until leaves it to `wait`, which steps the world; stays set over a stop. NULL: as before. */
void sim_set_wait(sim_wait wait, void *context);
uint64_t sim_due_ns(void);            /* when there is something to do: now, at the next timer, or OS_FOREVER */
void sim_set_now_ns(uint64_t now_ns); /* forward only */
/* Turns until nothing is runnable and no timer is due, or the clock has reached deadline_ns. */
void sim_run_turns(uint64_t deadline_ns);

#endif
