/*
 * Entry from and return to U-mode. In U-mode sscratch holds the address of the process's frame (struct frame in
 * kernel.h); in S-mode it is zero, which is how a trap of the kernel itself is told apart.
 */
#include "asm.h"

#define X(n) ((n) * REG_BYTES)
#define FRAME_PC X(32)
#define FRAME_STATUS X(33)

    .text
    .balign 4
    .globl trap_entry
trap_entry:
    csrrw sp, sscratch, sp
    beqz sp, from_kernel
    SREG x1, X(1)(sp)
    SREG x3, X(3)(sp)
    SREG x4, X(4)(sp)
    SREG x5, X(5)(sp)
    SREG x6, X(6)(sp)
    SREG x7, X(7)(sp)
    SREG x8, X(8)(sp)
    SREG x9, X(9)(sp)
    SREG x10, X(10)(sp)
    SREG x11, X(11)(sp)
    SREG x12, X(12)(sp)
    SREG x13, X(13)(sp)
    SREG x14, X(14)(sp)
    SREG x15, X(15)(sp)
    SREG x16, X(16)(sp)
    SREG x17, X(17)(sp)
    SREG x18, X(18)(sp)
    SREG x19, X(19)(sp)
    SREG x20, X(20)(sp)
    SREG x21, X(21)(sp)
    SREG x22, X(22)(sp)
    SREG x23, X(23)(sp)
    SREG x24, X(24)(sp)
    SREG x25, X(25)(sp)
    SREG x26, X(26)(sp)
    SREG x27, X(27)(sp)
    SREG x28, X(28)(sp)
    SREG x29, X(29)(sp)
    SREG x30, X(30)(sp)
    SREG x31, X(31)(sp)
    csrrw t0, sscratch, zero
    csrr t1, sepc
    csrr t2, sstatus
    SREG t0, X(2)(sp)
    SREG t1, FRAME_PC(sp)
    SREG t2, FRAME_STATUS(sp)
    .option push
    .option norelax
    la gp, __global_pointer$
    .option pop
    la sp, kernel_stack_top
    mv s0, zero
    call trap_handle
    /* a0: the frame of the process to run */

    .globl trap_return
trap_return:
    mv sp, a0
    LREG t1, FRAME_PC(sp)
    LREG t2, FRAME_STATUS(sp)
    csrw sscratch, sp
    csrw sepc, t1
    csrw sstatus, t2
    LREG x1, X(1)(sp)
    LREG x3, X(3)(sp)
    LREG x4, X(4)(sp)
    LREG x5, X(5)(sp)
    LREG x6, X(6)(sp)
    LREG x7, X(7)(sp)
    LREG x8, X(8)(sp)
    LREG x9, X(9)(sp)
    LREG x10, X(10)(sp)
    LREG x11, X(11)(sp)
    LREG x12, X(12)(sp)
    LREG x13, X(13)(sp)
    LREG x14, X(14)(sp)
    LREG x15, X(15)(sp)
    LREG x16, X(16)(sp)
    LREG x17, X(17)(sp)
    LREG x18, X(18)(sp)
    LREG x19, X(19)(sp)
    LREG x20, X(20)(sp)
    LREG x21, X(21)(sp)
    LREG x22, X(22)(sp)
    LREG x23, X(23)(sp)
    LREG x24, X(24)(sp)
    LREG x25, X(25)(sp)
    LREG x26, X(26)(sp)
    LREG x27, X(27)(sp)
    LREG x28, X(28)(sp)
    LREG x29, X(29)(sp)
    LREG x30, X(30)(sp)
    LREG x31, X(31)(sp)
    LREG x2, X(2)(sp)
    sret

from_kernel:
    /* The stack may be what is broken: the report runs from its top. */
    csrw sscratch, zero
    la sp, kernel_stack_top
    call trap_in_kernel
