What `explain` shows of small programs, as far as it does not depend on how code is emitted: the assembly of the block
at the label `head`, its region, and the order in which guest instructions appear in the region's WebAssembly.

=== a loop with a load
head:
  lw a3, 0(a1)
  addi a1, a1, 4
  add a0, a0, a3
  bltu a1, a2, head
  ret
=>
0x80000000: lw a3,0(a1)
0x80000002: addi a1,a1,4
0x80000004: add a0,a0,a3
0x80000006: bltu a1,a2,0x80000000

region at 0x80000000: 2 blocks, 5 instructions, 1 page
  #0 0x80000000: 4 instructions (loop) -> back to #0, #1
    #1 0x8000000a: 1 instruction -> leaves

;; block 0x80000000
;; 0x80000000: lw a3,0(a1)
;; 0x80000002: addi a1,a1,4
;; 0x80000004: add a0,a0,a3
;; 0x80000006: bltu a1,a2,0x80000000
;; block 0x8000000a
;; 0x8000000a: ret

=== rv32: a call that is inlined
head:
  addi a0, a0, -1
  call twice
  bnez a0, head
  ret
twice:
  slli a1, a1, 1
  ret
=>
0x80000000: addi a0,a0,-1
0x80000002: auipc ra,0x0
0x80000006: jalr 12(ra)

region at 0x80000000: 4 blocks, 7 instructions, 1 page
  #0 0x80000000: 3 instructions (loop) -> #1
    #1 0x8000000e: 2 instructions (inlined call to 0x8000000e) -> #2
      #2 0x8000000a: 1 instruction -> back to #0, #3
        #3 0x8000000c: 1 instruction -> leaves

;; block 0x80000000
;; 0x80000000: addi a0,a0,-1
;; 0x80000002: auipc ra,0x0
;; 0x80000006: jalr 12(ra)
;; block 0x8000000e
;; 0x8000000e: slli a1,a1,0x1
;; 0x80000010: ret
;; block 0x8000000a
;; 0x8000000a: bnez a0,0x80000000
;; block 0x8000000c
;; 0x8000000c: ret

=== a branch out of known code
head:
  beqz a0, . + 256
  ebreak
=>
0x80000000: beqz a0,0x80000100

region at 0x80000000: 2 blocks, 2 instructions, 1 page
  #0 0x80000000: 1 instruction -> exit 0x80000100, #1
    #1 0x80000004: 1 instruction -> leaves

;; block 0x80000000
;; 0x80000000: beqz a0,0x80000100
;; block 0x80000004
;; 0x80000004: ebreak
