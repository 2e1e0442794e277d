/*
 * A minimal SBI for running the guest under QEMU, which is delivered with OpenSBI for the 64-bit board only:
 * BASE, TIME, system reset through the test finisher, and the legacy console on the UART.
 * Built by test/qemu.test.ts with GCC for the guest's own register width; linked at 0x80000000.
 */
#include "asm.h"

#define CLINT_MTIMECMP 0x2004000
#define FINISHER 0x100000
#define UART 0x10000000
#define NEXT 0x80200000

    .text
    .globl _start
_start:
    la t0, trap
    csrw mtvec, t0
    csrw satp, zero
    la sp, scratch
    csrw mscratch, sp
    li t0, -1
    csrw pmpaddr0, t0
    li t0, 0x1f
    csrw pmpcfg0, t0
    li t0, 0xb1ff & ~(1 << 9)
    csrw medeleg, t0
    li t0, 0x222
    csrw mideleg, t0
    li t0, 7
    csrw mcounteren, t0
    /* menvcfg.STCE, which reads as zero without Sstc; its upper half is menvcfgh in RV32 */
    li t0, 1 << (__riscv_xlen - 1)
#if __riscv_xlen == 64
    csrw 0x30a, t0
#else
    csrw 0x31a, t0
#endif
    li t0, 1 << 7
    csrw mie, t0
    /* MPP = S */
    li t0, 1 << 11
    csrw mstatus, t0
    li t0, NEXT
    csrw mepc, t0
    mret

    .balign 4
trap:
    csrrw sp, mscratch, sp
    SREG t0, 0(sp)
    SREG t1, REG_BYTES(sp)
    csrr t0, mcause
    bltz t0, timer
    li t1, 9
    bne t0, t1, stuck
    csrr t0, mepc
    addi t0, t0, 4
    csrw mepc, t0
    li t0, 0x10
    beq a7, t0, base
    li t0, 0x54494d45
    beq a7, t0, set_timer
    li t0, 0x53525354
    beq a7, t0, reset
    li t0, 1
    beq a7, t0, put
    li t0, 2
    beq a7, t0, get
    li a0, -2
    j done

base:
    li t0, 3
    beq a6, t0, probe
    li a1, 0
    bnez a6, 1f
    li a1, 2 << 24
1:  li a0, 0
    j done
probe:
    li t0, 0x54494d45
    li a1, 1
    li t1, 0
    beq a0, t0, 2f
    li t0, 0x53525354
    beq a0, t0, 2f
    li a1, 0
2:  li a0, 0
    j done

put:
    li t0, UART
    sb a0, 0(t0)
    li a0, 0
    j done
get:
    li t0, UART
    lbu t1, 5(t0)
    andi t1, t1, 1
    li a0, -1
    beqz t1, done
    lbu a0, 0(t0)
    j done

set_timer:
    li t0, CLINT_MTIMECMP
#if __riscv_xlen == 64
    sd a0, 0(t0)
#else
    li t1, -1
    sw t1, 0(t0)
    sw a1, 4(t0)
    sw a0, 0(t0)
#endif
    li t0, 1 << 5
    csrc mip, t0
    li t0, 1 << 7
    csrs mie, t0
    li a0, 0
    li a1, 0
    j done

reset:
    li t0, FINISHER
    li t1, 0x5555
    beqz a0, 3f
    li t1, 0x7777
3:  sw t1, 0(t0)
    j 3b

timer:
    li t0, 1 << 5
    csrs mip, t0
    li t0, 1 << 7
    csrc mie, t0
done:
    LREG t0, 0(sp)
    LREG t1, REG_BYTES(sp)
    csrrw sp, mscratch, sp
    mret

    /* An exception of M-mode, or one that should have been delegated: end with status 99. */
stuck:
    li t0, FINISHER
    li t1, 99 << 16 | 0x3333
    sw t1, 0(t0)
    j stuck

    .balign 16
scratch:
    .skip 16
