/*
 * Where a timer waits. Let a tick be the deadline's, rounded down, and group L of a tick its bits [6L, 6L + 6). A timer waits on
 * the level of the highest group in which its tick differs from now_tick, in the slot that this group of its tick names. Hence:
 *
 *   1. On every level each slot in use lies ahead of now's (on level 0 it may be now's own), and nothing wraps; level 5 alone is a
 *      circle of 63 slots ahead, and takes what is later still into the last of them.
 *   2. What waits on a lower level is due before everything on a higher one, and a lower slot before a higher.
 *   3. Moving now_tick to any tick up to the start of the first slot in use keeps every timer in its right place.
 *
 * So timer_wheel_advance goes from one slot in use to the next: a slot of level 0 is due, a slot of a higher level is put in again,
 * seen from the slot's start. A timer is put in again at most 5 times, or once per 51 days.
 *
 * Ticks decide only where a timer waits; whether it is due is decided by its exact deadline. So the slot of now_tick itself may
 * hold timers that are due later in this tick, and those that were due already when they were added.
 */
#include "scheduler/os/timer_wheel.h"

#include <string.h>

#include "scheduler/base/check.h"

enum { SLOT_BITS = 6, TOP_LEVEL = TIMER_LEVELS - 1, NEXT_SCAN_MAX = 32, SORT_RUNS = 64 };

typedef struct slot_place {
    unsigned level, slot;
    uint64_t start_tick;
} slot_place;

static inline uint64_t tick_of(uint64_t ns) { return ns >> TIMER_TICK_SHIFT; }

void timer_wheel_init(timer_wheel *w, uint64_t now_ns)
{
    memset(w, 0, sizeof *w);
    w->now_ns = now_ns;
    w->now_tick = tick_of(now_ns);
}

static void list_push(timer_node **head, timer_node *t)
{
    t->next = *head;
    t->link = head;
    if (t->next) t->next->link = &t->next;
    *head = t;
}

static void wheel_place(timer_wheel *w, timer_node *t)
{
    uint64_t tick = tick_of(t->deadline_ns), now = w->now_tick;
    if (tick < now) tick = now;
    unsigned level = tick == now ? 0 : (63u - (unsigned)__builtin_clzll(tick ^ now)) / SLOT_BITS;
    if (level >= TOP_LEVEL) {
        level = TOP_LEVEL;
        uint64_t last = (now >> TOP_LEVEL * SLOT_BITS) + TIMER_SLOTS - 1;
        if (tick >> TOP_LEVEL * SLOT_BITS > last) tick = last << TOP_LEVEL * SLOT_BITS;
    }
    t->level = (uint8_t)level;
    t->slot = (uint8_t)(tick >> level * SLOT_BITS & (TIMER_SLOTS - 1));
    w->occupied[level] |= UINT64_C(1) << t->slot;
    list_push(&w->slots[level][t->slot], t);
}

void timer_wheel_add(timer_wheel *w, timer_node *t, uint64_t deadline_ns)
{
    check(!timer_is_armed(t));
    t->deadline_ns = deadline_ns;
    t->sequence = w->sequence++;
    wheel_place(w, t);
    w->count++;
}

/* Takes an armed timer out of its slot. */
static void wheel_unlink(timer_wheel *w, timer_node *t)
{
    *t->link = t->next;
    if (t->next) t->next->link = t->link;
    t->link = NULL;
    if (!w->slots[t->level][t->slot]) w->occupied[t->level] &= ~(UINT64_C(1) << t->slot);
}

bool timer_wheel_cancel(timer_wheel *w, timer_node *t)
{
    if (!timer_is_armed(t)) return false;
    wheel_unlink(w, t);
    w->count--;
    return true;
}

/* The slot whose timers come first; false: the wheel is empty. */
static bool wheel_first(const timer_wheel *w, slot_place *out_place)
{
    for (unsigned level = 0; level < TIMER_LEVELS; level++) {
        uint64_t bits = w->occupied[level], block = w->now_tick >> level * SLOT_BITS;
        if (!bits) continue;
        unsigned here = (unsigned)block & (TIMER_SLOTS - 1);
        uint64_t ahead = bits >> here | bits << (-here & (TIMER_SLOTS - 1)); /* bit d: the slot d ahead of now's */
        block += (unsigned)__builtin_ctzll(ahead);
        *out_place = (slot_place){level, (unsigned)block & (TIMER_SLOTS - 1), block << level * SLOT_BITS};
        return true;
    }
    return false;
}

static bool fires_before(const timer_node *a, const timer_node *b)
{
    return a->deadline_ns != b->deadline_ns ? a->deadline_ns < b->deadline_ns : a->sequence < b->sequence;
}

static timer_node *merge(timer_node *a, timer_node *b)
{
    timer_node *head, **end = &head;
    while (a && b) {
        timer_node **first = fires_before(b, a) ? &b : &a;
        *end = *first;
        end = &(*first)->next;
        *first = (*first)->next;
    }
    *end = a ? a : b;
    return head;
}

/* Merge sort without recursion: runs[i] is empty or a sorted list of 2^i nodes. */
static timer_node *sort(timer_node *list)
{
    timer_node *runs[SORT_RUNS] = {NULL}, *sorted = NULL;
    int used = 0;
    while (list) {
        timer_node *run = list;
        list = list->next;
        run->next = NULL;
        int i = 0;
        for (; runs[i]; i++) {
            run = merge(runs[i], run);
            runs[i] = NULL;
        }
        runs[i] = run;
        if (i >= used) used = i + 1;
    }
    for (int i = 0; i < used; i++) sorted = merge(runs[i], sorted);
    return sorted;
}

/* Takes what is due at w->now_ns out of a slot of level 0, in firing order. */
static timer_node *slot_take_due(timer_wheel *w, unsigned slot)
{
    timer_node *due = NULL, *next;
    for (timer_node *t = w->slots[0][slot]; t; t = next) {
        next = t->next;
        if (t->deadline_ns > w->now_ns) continue;
        wheel_unlink(w, t);
        w->count--;
        t->next = due;
        due = t;
    }
    return sort(due);
}

static void slot_put_in_again(timer_wheel *w, const slot_place *p)
{
    timer_node *list = w->slots[p->level][p->slot], *next;
    w->slots[p->level][p->slot] = NULL;
    w->occupied[p->level] &= ~(UINT64_C(1) << p->slot);
    for (timer_node *t = list; t; t = next) {
        next = t->next;
        wheel_place(w, t);
    }
}

timer_node *timer_wheel_advance(timer_wheel *w, uint64_t now_ns)
{
    if (now_ns > w->now_ns) w->now_ns = now_ns;
    uint64_t now_tick = tick_of(w->now_ns);
    timer_node *fired = NULL, **end = &fired;
    slot_place p;
    while (wheel_first(w, &p) && p.start_tick <= now_tick) {
        w->now_tick = p.start_tick;
        if (p.level > 0) {
            slot_put_in_again(w, &p);
            continue;
        }
        *end = slot_take_due(w, p.slot);
        while (*end) end = &(*end)->next;
        if (w->slots[0][p.slot]) break; /* due later in this very tick */
    }
    w->now_tick = now_tick;
    return fired;
}

uint64_t timer_wheel_next_ns(const timer_wheel *w)
{
    slot_place p;
    if (!wheel_first(w, &p)) return UINT64_MAX;
    /* A long list is not worth reading before its time, unless that time is this tick: then only the exact answer is progress. */
    bool is_now = p.start_tick == w->now_tick;
    int budget = NEXT_SCAN_MAX;
    /* No later than the slot: its timers may be those that are far beyond the last level, and the next slot's then come first. */
    uint64_t next = ((p.start_tick + (UINT64_C(1) << p.level * SLOT_BITS)) << TIMER_TICK_SHIFT) - 1;
    for (const timer_node *t = w->slots[p.level][p.slot]; t; t = t->next) {
        if (!is_now && budget-- == 0) {
            next = p.start_tick << TIMER_TICK_SHIFT;
            break;
        }
        if (t->deadline_ns < next) next = t->deadline_ns;
    }
    return next > w->now_ns ? next : w->now_ns;
}
