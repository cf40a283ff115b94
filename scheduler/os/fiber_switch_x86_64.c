#include "scheduler/os/fiber_switch.h"

#if defined(__x86_64__) && !defined(MANTA_FIBER_UCONTEXT)

void manta_fiber_swap(void **save, void *to, fiber *arriving);
void manta_fiber_start(void);

/* swap: rdi = where to save, rsi = stack to go to, rdx = the fiber that is being started (r12 of a new stack holds it already). */
__asm__(".text\n"
        ".globl manta_fiber_swap\n"
        ".hidden manta_fiber_swap\n"
        ".type manta_fiber_swap,@function\n"
        "manta_fiber_swap:\n"
        ".cfi_startproc\n"
        "push %rbp\n push %rbx\n push %r12\n push %r13\n push %r14\n push %r15\n"
        "mov %rsp,(%rdi)\n"
        "mov %rsi,%rsp\n"
        "pop %r15\n pop %r14\n pop %r13\n pop %r12\n pop %rbx\n pop %rbp\n"
        "ret\n"
        ".cfi_endproc\n"
        ".size manta_fiber_swap,.-manta_fiber_swap\n"
        ".globl manta_fiber_start\n"
        ".hidden manta_fiber_start\n"
        ".type manta_fiber_start,@function\n"
        "manta_fiber_start:\n"
        ".cfi_startproc\n"
        ".cfi_undefined rip\n" /* the outermost frame: unwinding ends here */
        "mov %r12,%rdi\n"
        "xor %ebp,%ebp\n"
        "call fiber_begin\n"
        "ud2\n"
        ".cfi_endproc\n"
        ".size manta_fiber_start,.-manta_fiber_start\n"
        ".section .note.GNU-stack,\"\",@progbits\n"
        ".text\n");

enum { SAVED = 6, SLOT_R12 = 3 };

void fiber_context_make(fiber *f, size_t top)
{
    void **sp = (void **)(void *)((unsigned char *)f->stack_low + top);
    *--sp = NULL; /* keeps the stack 16-aligned at the call in manta_fiber_start */
    *--sp = NULL;
    *--sp = (void *)manta_fiber_start;
    for (int i = 0; i < SAVED; i++) *--sp = NULL;
    sp[SLOT_R12] = f; /* popped in the order r15 r14 r13 r12 rbx rbp */
    f->stack_pointer = sp;
}

void fiber_context_switch(fiber *from, fiber *to) { manta_fiber_swap(&from->stack_pointer, to->stack_pointer, to); }

#endif
