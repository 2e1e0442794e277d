/*
 * Reset in M-mode at the start of RAM: floating point on, stack, cleared .bss, traps to a report.
 * Privileged specification: 3.1.6 mstatus, 3.1.7 mtvec, 3.7.1 PMP.
 */
#if __riscv_xlen == 64
#define SREG sd
#define REG_BYTES 8
#else
#define SREG sw
#define REG_BYTES 4
#endif

    .section .text.entry, "ax"
    .globl _start
_start:
    li t0, 0x6000               /* mstatus.FS = dirty */
    csrs mstatus, t0
    csrw fcsr, zero
    .option push
    .option norelax
    la gp, __global_pointer$
    .option pop
    la sp, stack_top
    la t0, machine_trap
    csrw mtvec, t0
    la t0, bss_start
    la t1, bss_end
1:  bgeu t0, t1, 2f
    SREG zero, 0(t0)
    addi t0, t0, REG_BYTES
    j 1b
2:  call run_program

    .balign 4
machine_trap:
    csrr a0, mcause
    csrr a1, mepc
    csrr a2, mtval
    la sp, trap_stack_top
    call unexpected_trap

    .balign 4
supervisor_trap:
    csrr a0, scause
    csrr a1, sepc
    csrr a2, stval
    la sp, trap_stack_top
    call unexpected_trap

    .text
    .globl enter_supervisor
enter_supervisor:
    li t0, -1                   /* one PMP entry opens everything: NAPOT over all addresses, RWX */
    csrw pmpaddr0, t0
    li t0, 0x1f
    csrw pmpcfg0, t0
    li t0, -1
    csrw medeleg, t0
    csrw satp, zero
    la t0, supervisor_trap
    csrw stvec, t0
    li t0, 0x1800               /* mstatus.MPP = S */
    csrc mstatus, t0
    li t0, 0x0800
    csrs mstatus, t0
    csrw mepc, ra
    mret

    .section .noinit, "aw", @nobits
    .balign 16
    .skip 65536
stack_top:
    .skip 4096
trap_stack_top:
