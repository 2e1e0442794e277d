/*
 * Where firmware hands over: S-mode, paging off, interrupts off, a0 = hart id, a1 = address of the device tree
 * (SBI specification, section "Hart State Management", and the RISC-V boot convention of Linux).
 * One hart goes on; any other that firmware sends here sleeps.
 */
#include "asm.h"

    .section .text.entry, "ax"
    .globl _start
_start:
    csrw sie, zero
    la t0, boot_lottery
    li t1, 1
    amoswap.w t1, t1, (t0)
    bnez t1, park
    .option push
    .option norelax
    la gp, __global_pointer$
    .option pop
    la sp, kernel_stack_top
    la t0, bss_start
    la t1, bss_end
1:  bgeu t0, t1, 2f
    SREG zero, 0(t0)
    addi t0, t0, REG_BYTES
    j 1b
2:  mv s0, zero
    call kernel_main
park:
    wfi
    j park

    /* In .data, since .bss is cleared after it is used. */
    .section .data
    .balign 4
boot_lottery:
    .word 0

    /* Not cleared: nothing reads a stack before writing it. */
    .section .noinit, "aw", @nobits
    .balign 16
    .skip 16384
    .globl kernel_stack_top
kernel_stack_top:

    /* The user programs: an ELF file, loaded as the first process. */
    .section .rodata
    .balign 8
    .globl user_image, user_image_end
user_image:
    .incbin USER_IMAGE
user_image_end:
