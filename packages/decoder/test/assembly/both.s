# Every kind of statement that RV32 and RV64 share. GNU's assembler makes the same bytes of it.
        .option norvc
        .text
        .globl  main
        .equ    SIZE, 4 * 16 + 2
        .set    HALF, SIZE / 2
COUNT = (1 << 5) | 3

main:   addi    sp, sp, -32             /* a comment */ # another
        sw      ra, 28(sp); sw s0, 24(sp)
        addi    fp, sp, 32
        li      a0, 0
        li      a1, -1
        li      a2, 2047
        li      a3, 2048
        li      a4, 0x12345678
        li      a5, -0x80000000
        li      a6, 0x7ffff800
        li      t0, 'A'
        li      t1, SIZE
        li      t2, ~HALF
        li      t3, COUNT * 2 - 1
        la      t4, data
        lla     t5, main
        lui     t6, %hi(0x12345fff)
        addi    t6, t6, %lo(0x12345fff)
        lw      t6, %lo(0x12345fff)(t6)
        sw      t6, %lo(0x12345fff)(t5)
1:      auipc   a0, %pcrel_hi(data)
        addi    a0, a0, %pcrel_lo(1b)
        lw      a1, %pcrel_lo(1b)(a0)
        lui     a0, 0xfffff
        auipc   a0, 0x1
        lb      s1, data
        sh      s1, data, t0
        flw     fa0, data, t0
        fsd     fa1, data, t1
2:      beq     a0, a1, 2f
        bne     a0, zero, 2b
        blt     a0, a1, 3f
        bgt     a0, a1, 3f
        ble     a0, a1, 3f
        bgtu    a0, a1, 3f
        bleu    a0, a1, 3f
2:      beqz    a0, 2b
        bnez    a0, 3f
        blez    a0, 3f
        bgez    a0, 3f
        bltz    a0, 3f
        bgtz    a0, 3f
3:      j       1b
        jal     main
        jal     t0, main
        jr      a0
        jr      8(a0)
        jalr    a0
        jalr    4(a0)
        jalr    a0, a1
        jalr    a0, a1, 4
        jalr    a0, 4(a1)
        call    main
        tail    data
        ret
        mv      a0, a1
        not     a0, a1
        neg     a0, a1
        seqz    a0, a1
        snez    a0, a1
        sltz    a0, a1
        sgtz    a0, a1
        sgt     a0, a1, a2
        add     a0, a1, 7
        and     a0, a1, -7
        or      a0, a1, 7
        xor     a0, a1, 7
        sll     a0, a1, 7
        sra     a0, a1, 31
        slli    a0, a1, 0x1f
        csrr    a0, mstatus
        csrw    mtvec, a0
        csrs    mie, a0
        csrc    0x304, a0
        csrw    mscratch, 5
        csrwi   mscratch, 31
        csrsi   mstatus, 8
        csrci   mstatus, 8
        csrrw   a0, mscratch, a1
        csrrw   a0, mscratch, 1
        rdcycle a0
        rdtime  a0
        rdinstret a0
        frcsr   a0
        fscsr   a0
        frrm    a0
        fsrm    a0, a1
        fsflagsi 3
        fence
        fence   rw, w
        fence   iorw, io
        fence.i
        ecall
        ebreak
        mret
        sret
        wfi
        sfence.vma
        sfence.vma a0
        sfence.vma a0, a1
        sinval.vma a0, a1
        unimp
        nop
        lr.w    a0, (a1)
        lr.w.aqrl a0, 0(a1)
        sc.w.rl a0, a2, (a1)
        amoadd.w a0, a2, (a1)
        amomaxu.w.aq a0, a2, (a1)
        fadd.s  fa0, fa1, fa2
        fadd.d  fa0, fa1, fa2, rtz
        fmadd.d fa0, fa1, fa2, fa3
        fnmsub.s fa0, fa1, fa2, fa3, rup
        fsqrt.d fa0, fa1
        fcvt.w.d a0, fa0
        fcvt.w.d a0, fa0, rtz
        fcvt.d.w fa0, a0
        fcvt.d.s fa0, fa1
        fcvt.s.d fa0, fa1, rne
        fmv.s   fa0, fa1
        fneg.d  fa0, fa1
        fabs.s  fa0, fa1
        fmv.x.w a0, fa0
        fmv.w.x fa0, a0
        feq.d   a0, fa0, fa1
        fgt.d   a0, fa0, fa1
        fclass.s a0, fa0
        fld     ft0, 8(sp)
        fsw     f31, -4(x2)
        sh1add  a0, a1, a2
        andn    a0, a1, a2
        clz     a0, a1
        maxu    a0, a1, a2
        rori    a0, a1, 3
        orc.b   a0, a1
        rev8    a0, a1
        zext.h  a0, a1
        sext.b  a0, a1
        zext.b  a0, a1
        bseti   a0, a1, 31
        bext    a0, a1, a2
        .option push
        .option rvc
        c.nop
        c.addi  a0, -3
        c.li    a0, 31
        c.lui   a0, 0xfffe1
        c.lui   a0, 1
        c.addi16sp sp, -64
        c.addi4spn a0, sp, 8
        c.lw    a0, 4(a1)
        c.sw    a0, 4(a1)
        c.lwsp  a0, 8(sp)
        c.swsp  a0, 8(sp)
        c.fld   fa0, 8(a1)
        c.fsdsp fa0, 8(sp)
        c.slli  a0, 3
        c.srai  a0, 3
        c.andi  a0, -1
        c.mv    a0, a1
        c.add   a0, a1
        c.sub   a0, a1
        c.and   a0, a1
        c.j     4f
        c.beqz  a0, 4f
        c.bnez  a0, 4f
        c.jr    a0
        c.jalr  a0
        c.ebreak
        .align  2
        c.nop
        .balign 8
        .option pop
4:      nop
        .align  4
data:   .byte   1, -1, 255, 'x'
        .half   0x1234, -2
        .2byte  3
        .word   0xdeadbeef, main, . - main, data + 4 - 1
        .dword  0x0123456789abcdef, -1
        .ascii  "text", "\t\"\\\x41"
        .asciz  "end\n"
        .string "s"
        .zero   3
        .skip   2, 7
        .balign 4, 0
        .word   SIZE & 3 + 1, HALF
        .balign 16
