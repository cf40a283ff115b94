#include "scheduler/os/fiber_switch.h"

#ifdef MANTA_FIBER_UCONTEXT
#include "scheduler/base/check.h"

/* makecontext passes ints: the pointer goes in two halves. */
static void start(unsigned low, unsigned high) { fiber_begin((fiber *)(uintptr_t)((uint64_t)high << 32 | low)); }

void fiber_context_make(fiber *f, size_t top)
{
    ucontext_t *c = &f->context;
    check(getcontext(c) == 0);
    c->uc_link = NULL;
    c->uc_stack.ss_sp = f->stack_low;
    c->uc_stack.ss_size = top;
    makecontext(c, (void (*)(void))start, 2, (unsigned)(uintptr_t)f, (unsigned)((uint64_t)(uintptr_t)f >> 32));
}

void fiber_context_switch(fiber *from, fiber *to) { swapcontext(&from->context, &to->context); }

#endif
