# What RV64 adds. GNU's assembler makes the same bytes of it.
        .option norvc
        li      a0, 0x123456789abcdef0
        li      a1, -0x8000000000000000
        li      a2, 0x7fffffffffffffff
        li      a3, 0xffffffff
        li      a4, 0x80000000
        li      a5, 0x7fffffff
        li      a6, 0xfffffffffffff800
        li      a7, 0x100000000
        li      t0, 0xffffffff00000000
        li      t1, 0x0000ffff0000ffff
        sext.w  a0, a1
        zext.w  a0, a1
        negw    a0, a1
        addw    a0, a1, 3
        addiw   a0, a1, -3
        slliw   a0, a1, 31
        sll     a0, a1, 63
        srai    a0, a1, 63
        ld      a0, 8(a1)
        sd      a0, -2048(a1)
        lwu     a0, 2047(a1)
        ld      a0, there
        sd      a0, there, t0
        amoswap.d.aqrl a0, a1, (a2)
        lr.d    a0, (a1)
        fcvt.l.d a0, fa0, rdn
        fcvt.d.lu fa0, a0
        fmv.x.d a0, fa0
        fmv.d.x fa0, a0
        sh3add.uw a0, a1, a2
        slli.uw a0, a1, 40
        roriw   a0, a1, 5
        cpopw   a0, a1
        .option rvc
        c.addiw a0, 0
        c.ld    a0, 8(a1)
        c.sdsp  ra, 504(sp)
        c.addw  a0, a1
        c.srli  a0, 63
        .option norvc
there:  .dword  there
