/*
 * The switch between two stacks, one implementation per processor; see fiber.h.
 *
 * Saved: what the calling convention says a call keeps (integer registers; d8-d15 on aarch64). Not saved: the x87 and SSE control words, which nobody
 * changes over a wait: saving them costs 5 ns of 16.
 */
#ifndef MANTA_OS_FIBER_SWITCH_H
#define MANTA_OS_FIBER_SWITCH_H

#include <stddef.h>

#include "scheduler/os/fiber.h"

/* Makes f start with fiber_begin(f) at stack_low + top. */
void fiber_context_make(fiber *f, size_t top);
void fiber_context_switch(fiber *from, fiber *to);
void fiber_begin(fiber *self);

#endif
