#include "scheduler/os/fiber_switch.h"

#if defined(__aarch64__) && !defined(MANTA_FIBER_UCONTEXT)

void manta_fiber_swap(void **save, void *to);
void manta_fiber_start(void);

/* swap: x0 = where to save, x1 = stack to go to. A frame of 160 bytes holds x19-x30 and d8-d15. */
__asm__(".text\n"
        ".globl manta_fiber_swap\n"
        ".hidden manta_fiber_swap\n"
        ".type manta_fiber_swap,%function\n"
        "manta_fiber_swap:\n"
        ".cfi_startproc\n"
        "sub sp, sp, #160\n"
        "stp x19, x20, [sp, #0]\n stp x21, x22, [sp, #16]\n stp x23, x24, [sp, #32]\n"
        "stp x25, x26, [sp, #48]\n stp x27, x28, [sp, #64]\n stp x29, x30, [sp, #80]\n"
        "stp d8, d9, [sp, #96]\n stp d10, d11, [sp, #112]\n stp d12, d13, [sp, #128]\n stp d14, d15, [sp, #144]\n"
        "mov x9, sp\n str x9, [x0]\n mov sp, x1\n"
        "ldp x19, x20, [sp, #0]\n ldp x21, x22, [sp, #16]\n ldp x23, x24, [sp, #32]\n"
        "ldp x25, x26, [sp, #48]\n ldp x27, x28, [sp, #64]\n ldp x29, x30, [sp, #80]\n"
        "ldp d8, d9, [sp, #96]\n ldp d10, d11, [sp, #112]\n ldp d12, d13, [sp, #128]\n ldp d14, d15, [sp, #144]\n"
        "add sp, sp, #160\n"
        "ret\n"
        ".cfi_endproc\n"
        ".size manta_fiber_swap,.-manta_fiber_swap\n"
        ".globl manta_fiber_start\n"
        ".hidden manta_fiber_start\n"
        ".type manta_fiber_start,%function\n"
        "manta_fiber_start:\n"
        ".cfi_startproc\n"
        ".cfi_undefined x30\n"
        "mov x0, x19\n"
        "mov x29, #0\n"
        "mov x30, #0\n"
        "bl fiber_begin\n"
        "brk #0\n"
        ".cfi_endproc\n"
        ".size manta_fiber_start,.-manta_fiber_start\n"
        ".section .note.GNU-stack,\"\",%progbits\n"
        ".text\n");

enum { FRAME_WORDS = 20, SLOT_X19 = 0, SLOT_X30 = 11 };

void fiber_context_make(fiber *f, size_t top)
{
    void **sp = (void **)(void *)((unsigned char *)f->stack_low + top) - FRAME_WORDS;
    for (int i = 0; i < FRAME_WORDS; i++) sp[i] = NULL;
    sp[SLOT_X19] = f;
    sp[SLOT_X30] = (void *)manta_fiber_start;
    f->stack_pointer = sp;
}

void fiber_context_switch(fiber *from, fiber *to) { manta_fiber_swap(&from->stack_pointer, to->stack_pointer); }

#endif
