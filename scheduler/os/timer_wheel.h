/*
 * A hierarchical timer wheel (Varghese and Lauck, SOSP 1987): 6 levels of 64 slots, ticks of 2^16 ns (65.5 us), so that level 5
 * reaches 52 days; what is later waits in the last slot and is put in again.
 *
 * Pure: time is an argument, nothing is allocated, nothing is locked. The owner of the wheel calls everything. Add and cancel are
 * O(1). A timer fires at the first advance to its deadline or later, never before: the ticks decide only where it waits. Timers that
 * one advance returns are in order of (deadline, order of adding).
 */
#ifndef MANTA_OS_TIMER_WHEEL_H
#define MANTA_OS_TIMER_WHEEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { TIMER_LEVELS = 6, TIMER_SLOTS = 64, TIMER_TICK_SHIFT = 16 };

typedef struct timer_node {          /* zeroed before its first use; must stay where it is while armed */
    struct timer_node *next, **link; /* link: whoever points here; NULL: not armed */
    uint64_t deadline_ns, sequence;
    uint8_t level, slot;
} timer_node;

typedef struct timer_wheel {
    uint64_t now_ns, now_tick, sequence;
    size_t count;                    /* armed timers */
    uint64_t occupied[TIMER_LEVELS]; /* bit s: slots[level][s] is not empty */
    timer_node *slots[TIMER_LEVELS][TIMER_SLOTS];
} timer_wheel;

void timer_wheel_init(timer_wheel *w, uint64_t now_ns);
/* t must not be armed; a past deadline fires at the next advance. */
void timer_wheel_add(timer_wheel *w, timer_node *t, uint64_t deadline_ns);
bool timer_wheel_cancel(timer_wheel *w, timer_node *t); /* false: was not armed */
static inline bool timer_is_armed(const timer_node *t) { return t->link != NULL; }

/* Moves time to now_ns (never back) and returns the timers that are due, as a list by `next` in firing order, all disarmed; NULL:
 * none. Read `next` before adding a timer of the list again. */
timer_node *timer_wheel_advance(timer_wheel *w, uint64_t now_ns);

/* A time not after the earliest deadline and not before now: exact when few timers wait beside the earliest, else a lower bound, and
 * advancing to it makes the next answer a better one. UINT64_MAX: no timer. */
uint64_t timer_wheel_next_ns(const timer_wheel *w);

#endif
