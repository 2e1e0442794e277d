# What RV32 has alone. GNU's assembler makes the same bytes of it.
        .option norvc
        li      a0, 0xffffffff
        li      a1, 0x80000000
        li      a2, 0x80000fff
        lui     a3, %hi(0xfffff800)
        addi    a3, a3, %lo(0xfffff800)
        rdcycleh a0
        rdtimeh a0
        rdinstreth a0
        srli    a0, a1, 31
        rev8    a0, a1
        zext.h  a0, a1
        .option rvc
        c.jal   there
        c.flw   fa0, 4(a0)
        c.fsw   fa0, 4(a0)
        c.flwsp fa0, 8(sp)
        c.fswsp fa0, 8(sp)
        c.srli  a0, 31
there:  .word   there
