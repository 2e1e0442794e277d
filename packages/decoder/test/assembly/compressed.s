# Instructions that have compressed forms, written as full ones. GNU's assembler makes the same bytes of it.
        nop
        addi    a0, a0, -32
        addi    a0, a0, 32
        addi    sp, sp, -64
        addi    sp, sp, 16
        addi    a5, sp, 1020
        addi    a0, a1, 0
        add     a0, a0, a1
        add     a0, a1, a0
        add     a0, zero, a1
        add     a0, a0, 5
        mv      s11, t6
        mv      a0, zero
        sub     a0, a0, a1
        sub     a0, a1, a0
        and     a0, a1, a0
        or      a0, a0, a1
        xor     t0, t0, a1
        andi    a0, a0, 31
        slli    a0, a0, 12
        srli    a0, a0, 12
        srai    a0, a0, 12
        slli    a0, a0, 0
        li      a0, 0
        li      a0, 31
        li      a0, 0x1f000
        li      a0, 0x12345
        lui     a0, 1
        lui     a0, 0xfffe0
        lui     sp, 1
        lw      a0, 124(a1)
        lw      a0, 128(a1)
        lw      t0, 4(sp)
        sw      t0, 252(sp)
        sw      a0, 4(a5)
        fld     fa0, 8(a0)
        fsd     fs11, 8(sp)
        .equ    EARLY, 3
        addi    a0, a0, EARLY
        jr      a0
        jalr    a0
        jalr    ra, 0(a0)
        jalr    a0, 0(a0)
        ret
        ebreak
        unimp
        .option push
        .option norvc
        nop
        unimp
        .option pop
# Branches of every length.
1:      j       1b
        j       1f
        jal     1f
        beqz    a0, 1f
        bnez    a0, 1b
        beqz    t0, 1f
        beq     a0, zero, 1f
        beq     zero, a0, 1f
        blt     a0, a1, 1f
        beqz    a0, far
        bnez    t0, far
        bltu    a0, a1, far
        j       far
        .balign 8
1:      .space  3000
        beqz    a0, 1b
        bgeu    a0, a1, 1b
        .space  3000
        beqz    a0, 1b
        bgeu    a0, a1, 1b
        .option norvc
        beqz    a0, 1b
far:    bnez    a0, 1b
        .balign 8
        .option rvc
        jr      0(a0)
        jr      a0, 0
        jalr    ra, a0
        jalr    0(a0)
        jalr    zero, 0(a0)
        jal     far
        .balign 8
