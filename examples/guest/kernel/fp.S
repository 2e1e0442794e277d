/*
 * Floating-point context. The rest of the kernel is built without the F and D extensions, so these two functions
 * are the only kernel code that touches the f registers, and they turn the unit on for themselves.
 */
    .option arch, +d
    .text
#define SSTATUS_FS (3 << 13)

    /* void fp_save(uint64_t f[32], unsigned long *fcsr) */
    .globl fp_save
fp_save:
    li t0, SSTATUS_FS
    csrs sstatus, t0
    .altmacro
    .macro save number
    fsd f\number, \number * 8(a0)
    .endm
    .set i, 0
    .rept 32
    save %i
    .set i, i + 1
    .endr
    frcsr t1
#if __riscv_xlen == 64
    sd t1, 0(a1)
#else
    sw t1, 0(a1)
#endif
    ret

    /* void fp_restore(const uint64_t f[32], const unsigned long *fcsr) */
    .globl fp_restore
fp_restore:
    li t0, SSTATUS_FS
    csrs sstatus, t0
    .macro restore number
    fld f\number, \number * 8(a0)
    .endm
    .set i, 0
    .rept 32
    restore %i
    .set i, i + 1
    .endr
#if __riscv_xlen == 64
    ld t1, 0(a1)
#else
    lw t1, 0(a1)
#endif
    fscsr t1
    ret
