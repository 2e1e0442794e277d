/* The first instructions of the shell, and the assembly half of the fp command. */
#if __riscv_xlen == 64
#define REG_BYTES 8
#else
#define REG_BYTES 4
#endif
#define SYS_YIELD 6

    .section .text.entry, "ax"
    .globl _start
_start:
    .option push
    .option norelax
    la gp, __global_pointer$
    .option pop
    call main
    call exit

/*
 * unsigned long fp_hold(const double in[32], double out[32], unsigned long fcsr, unsigned long yields)
 * Loads every f register and fcsr, lets other processes run between stretches of its own, then stores the registers
 * and returns fcsr.
 */
    .macro each operation, base
    .altmacro
    .set i, 0
    .rept 32
    one \operation, %i, \base
    .set i, i + 1
    .endr
    .noaltmacro
    .endm
    .macro one operation, number, base
    \operation f\number, \number * 8(\base)
    .endm

    .section .text.fp_hold, "ax"
    .globl fp_hold
fp_hold:
    addi sp, sp, -256
    each fsd, sp
    frcsr t6
    each fld, a0
    fscsr a2
    mv t0, a1
1:  li t1, 2000
2:  addi t1, t1, -1
    bnez t1, 2b
    li a7, SYS_YIELD
    ecall
    addi a3, a3, -1
    bnez a3, 1b
    frcsr a0
    each fsd, t0
    fscsr t6
    each fld, sp
    addi sp, sp, 256
    ret
