/** Programs to begin with. */
import type { IsaName } from "./protocol.js";

/** A program that the page offers. */
export interface Sample {
  readonly name: string;
  readonly isas: readonly IsaName[];
  readonly source: string;
}

/** All of them, the one that the page opens with first. */
export const samples: readonly Sample[] = [
  {
    name: "Sum of a loop",
    isas: ["rv64", "rv32"],
    source: `# a0 = 50,000,000 + ... + 2 + 1
        li      a0, 0
        li      a1, 50000000
loop:   add     a0, a0, a1
        addi    a1, a1, -1
        bnez    a1, loop
        ebreak
`,
  },
  {
    name: "CRC-32 of a text",
    isas: ["rv64", "rv32"],
    source: `# a0 = CRC-32 of "123456789": 0xcbf43926
        la      a1, text
        la      a2, end
        li      a3, 0xedb88320
        li      a0, 0xffffffff
byte:   lbu     a4, 0(a1)
        xor     a0, a0, a4
        li      a5, 8
bit:    andi    a6, a0, 1
        neg     a6, a6              # all ones if the lowest bit is 1
        and     a6, a6, a3
        srli    a0, a0, 1
        xor     a0, a0, a6
        addi    a5, a5, -1
        bnez    a5, bit
        addi    a1, a1, 1
        bne     a1, a2, byte
        li      a6, 0xffffffff
        xor     a0, a0, a6
        ebreak

text:   .ascii  "123456789"
end:
`,
  },
  {
    name: "Sieve of primes",
    isas: ["rv64", "rv32"],
    source: `# a0 = count of primes below 100,000: 9592
        .equ    most, 100000
        li      s0, 0x80020000      # a byte for each number
        li      s1, most
        li      a0, 0
        li      t0, 2
number: add     t1, s0, t0
        lbu     t2, 0(t1)
        bnez    t2, next
        addi    a0, a0, 1
        slli    t3, t0, 1
mark:   bgeu    t3, s1, next
        add     t1, s0, t3
        li      t2, 1
        sb      t2, 0(t1)
        add     t3, t3, t0
        j       mark
next:   addi    t0, t0, 1
        bltu    t0, s1, number
        ebreak
`,
  },
  {
    name: "Copy of memory",
    isas: ["rv64"],
    source: `# copies 64 KiB a thousand times, 16 bytes a turn
        li      s0, 1000
again:  li      a0, 0x80020000      # to
        li      a1, 0x80010000      # from
        li      a2, 0x80020000      # end of the source
copy:   ld      t0, 0(a1)
        ld      t1, 8(a1)
        sd      t0, 0(a0)
        sd      t1, 8(a0)
        addi    a1, a1, 16
        addi    a0, a0, 16
        bltu    a1, a2, copy
        addi    s0, s0, -1
        bnez    s0, again
        ebreak
`,
  },
  {
    name: "Recursion: Fibonacci",
    isas: ["rv64"],
    source: `# a0 = fib(27) = 196418
        li      a0, 27
        call    fib
        ebreak

fib:    li      t0, 2
        bltu    a0, t0, done        # fib(0) = 0, fib(1) = 1
        addi    sp, sp, -32
        sd      ra, 0(sp)
        sd      s0, 8(sp)
        mv      s0, a0
        addi    a0, s0, -1
        call    fib
        sd      a0, 16(sp)
        addi    a0, s0, -2
        call    fib
        ld      t0, 16(sp)
        add     a0, a0, t0
        ld      ra, 0(sp)
        ld      s0, 8(sp)
        addi    sp, sp, 32
done:   ret
`,
  },
  {
    name: "Floating point: pi",
    isas: ["rv64"],
    source: `# fa0 = 4 - 4/3 + 4/5 - 4/7 + ...
        li      t0, 1
        li      t1, 20000001
        li      t2, 4
        fcvt.d.w fa1, t2
        fcvt.d.w fa0, zero
term:   fcvt.d.w fa2, t0
        fdiv.d  fa2, fa1, fa2
        fadd.d  fa0, fa0, fa2
        fneg.d  fa1, fa1
        addi    t0, t0, 2
        blt     t0, t1, term
        ebreak
`,
  },
  {
    name: "Sum in 16 bits",
    isas: ["6502"],
    source: `; low and high hold 1 + 2 + ... + 255 = 32640, 256 times anew
low   = $10
high  = $11
turns = $12

      lda #0
      sta turns
again: lda #0
      sta low
      sta high
      ldx #255
loop: txa
      clc
      adc low
      sta low
      bcc no
      inc high
no:   dex
      bne loop
      dec turns
      bne again
      lda low
      ldy high
      brk
`,
  },
  {
    name: "Sieve of primes",
    isas: ["6502"],
    source: `; y = count of primes below 256: 54
flags = $2000

      ldy #0
      ldx #2
number: lda flags,x
      bne next
      iny
      txa
      sta $10
mark: clc
      adc $10
      bcs next
      stx $11
      tax
      pha
      lda #1
      sta flags,x
      pla
      ldx $11
      jmp mark
next: inx
      bne number
      brk
`,
  },
];
