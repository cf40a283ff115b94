#include "scheduler/os/fiber_switch.h"

#ifdef MANTA_FIBER_UCONTEXT
#include <string.h>
#include <ucontext.h>

#include "scheduler/base/alloc.h"

/* makecontext passes ints: the pointer goes in two halves. */
static void start(unsigned low, unsigned high) { fiber_begin((fiber *)(uintptr_t)((uint64_t)high << 32 | low)); }

static bool context_room(fiber *f)
{
    if (!f->context && !(f->context = base_alloc(sizeof(ucontext_t)))) return false;
    memset(f->context, 0, sizeof(ucontext_t));
    return true;
}

bool fiber_context_make(fiber *f, size_t top)
{
    if (!context_room(f)) return false;
    if (top == 0) return true;
    if (getcontext(f->context) != 0) return false;
    ucontext_t *c = f->context; /* not before getcontext, which returns like setjmp */
    c->uc_stack.ss_sp = f->stack_low;
    c->uc_stack.ss_size = top;
    makecontext(c, (void (*)(void))start, 2, (unsigned)(uintptr_t)f, (unsigned)((uint64_t)(uintptr_t)f >> 32));
    return true;
}

void fiber_context_switch(fiber *from, fiber *to) { swapcontext(from->context, to->context); }

#endif
