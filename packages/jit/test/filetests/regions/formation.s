Regions of small programs. A line is a block: its place, the instructions in it and on the longest way from it to the
next budget check, what it is, and where it goes; what it dominates is indented. `exit` leaves the region.

=== a loop of one block
head:
  addi a0, a0, 1
  bne a0, a1, head
out:
  ret
=>
2 blocks, 3 instructions
head: 2 of 3 loop -> back head | forward out
  out: 1 of 1 -> anywhere

=== nested loops
head:
  li t0, 0
inner:
  addi t0, t0, 1
  blt t0, a2, inner
  addi a0, a0, -1
  bnez a0, head
cold_end:
  ret
=>
3 blocks, 5 instructions
head: 1 of 1 loop -> forward inner
  inner: 2 of 4 loop -> back inner | forward 0x8
    0x8: 2 of 2 -> back head | exit cold_end

=== if and else meet again
head:
  beqz a0, else
  addi a1, a1, 1
  j end
else:
  addi a1, a1, 2
end:
  addi a2, a2, -1
  bnez a2, head
cold_out:
  ebreak
=>
4 blocks, 6 instructions
head: 1 of 5 loop -> forward else | forward 0x2
  else: 1 of 3 -> forward end
  0x2: 2 of 4 -> forward end
  end: 2 of 2 merge -> back head | exit cold_out

=== a branch whose both targets are the same
head:
  beqz a0, next
next:
  addi a0, a0, 1
  j head
=>
2 blocks, 3 instructions
head: 1 of 3 loop -> forward next | forward next
  next: 2 of 2 merge -> back head

=== a loop with two ways out and one way in
head:
  beqz a0, out
  ld a0, 0(a0)
  beq a0, a1, found
  j head
out:
  li a2, 0
  j head
found:
  li a2, 1
  j head
=>
5 blocks, 8 instructions
head: 1 of 5 loop -> forward out | forward 0x2
  out: 2 of 2 -> back head
  0x2: 2 of 4 -> forward found | forward 0x8
    found: 2 of 2 -> back head
    0x8: 1 of 1 -> back head

=== code that never ran is left out
head:
  beqz a0, cold
  addi a0, a0, -1
  j head
cold:
  addi a1, a1, 1
  j head
=>
2 blocks, 3 instructions
head: 1 of 3 loop -> exit cold | forward 0x2
  0x2: 2 of 2 -> back head

=== a call is followed, and its return expected
head:
  jal ra, twice
after:
  addi a1, a1, -1
  bnez a1, head
cold_end:
  ebreak
twice:
  add a0, a0, a0
  ret
=>
3 blocks, 5 instructions
head: 1 of 5 loop -> forward twice
  twice in twice for after: 2 of 4 -> forward after
    after: 2 of 2 -> back head | exit cold_end

=== two calls of one function have a copy each
head:
  call triple
first:
  call triple
second:
  j head
triple:
  slli t0, a0, 1
  add a0, a0, t0
  ret
=>
5 blocks, 11 instructions
head: 2 of 11 loop -> forward triple
  triple in triple for first: 3 of 9 -> forward first
    first: 2 of 6 -> forward triple
      triple in triple for second: 3 of 4 -> forward second
        second: 1 of 1 -> back head

=== calls in calls
head:
  jal ra, outer
back:
  j head
outer:
  mv s0, ra
  jal ra, inner
inside:
  mv ra, s0
  ret
inner:
  addi a0, a0, 1
  ret
=>
5 blocks, 8 instructions
head: 1 of 8 loop -> forward outer
  outer in outer for back: 2 of 7 -> forward inner
    inner in outer for back in inner for inside: 2 of 5 -> forward inside
      inside in outer for back: 2 of 3 -> forward back
        back: 1 of 1 -> back head

=== calls in calls are followed as deep as the limit says (callDepth=1)
head:
  jal ra, outer
back:
  j head
outer:
  mv s0, ra
  jal ra, inner
inside:
  mv ra, s0
  ret
inner:
  addi a0, a0, 1
  ret
=>
2 blocks, 3 instructions
head: 1 of 3 -> forward outer
  outer in outer for back: 2 of 2 -> exit inner

=== recursion leaves at the inner call
head:
  jal ra, recurse
back:
  j head
recurse:
  addi sp, sp, -16
  sd ra, 0(sp)
  addi a0, a0, -1
  blez a0, bottom
  jal ra, recurse
unwound:
bottom:
  ld ra, 0(sp)
  addi sp, sp, 16
  ret
=>
5 blocks, 10 instructions
head: 1 of 9 loop -> forward recurse
  recurse in recurse for back: 4 of 8 -> forward bottom | forward 0x10
    bottom in recurse for back: 3 of 4 -> forward back
      back: 1 of 1 -> back head
    0x10 in recurse for back: 1 of 1 -> exit recurse

=== a jump through a register goes anywhere
head:
  addi a0, a0, 8
  jr a0
=>
1 blocks, 2 instructions
head: 2 of 2 -> anywhere

=== a return from the head's own function goes anywhere
head:
  addi a0, a0, -1
  bnez a0, head
end:
  ret
=>
2 blocks, 3 instructions
head: 2 of 3 loop -> back head | forward end
  end: 1 of 1 -> anywhere

=== auipc with jalr is a jump to a known place
head:
  auipc t0, 0
  jalr zero, 8(t0)
  addi a0, a0, 1
  j head
=>
2 blocks, 4 instructions
head: 2 of 4 loop -> forward 0x8
  0x8: 2 of 2 -> back head

=== a loop with two entries: the jump to the block that does not dominate it leaves
head:
  beqz a0, right
left:
  addi a0, a0, -1
  bgtz a0, right
  j head
right:
  addi a0, a0, -2
  bgtz a0, left
  j head
=>
5 blocks, 7 instructions
head: 1 of 6 loop -> forward right | forward left
  left: 2 of 5 -> forward right | forward 0x8
    0x8: 1 of 1 -> back head
  right: 2 of 3 merge -> exit left | forward 0x10
    0x10: 1 of 1 -> back head

=== a long loop goes on in the next page
.zero 4088
head:
  addi a0, a1, 1
  addi a0, a1, 2
over:
  addi a0, a1, 3
  bnez a0, head
=>
2 blocks, 4 instructions
head: 2 of 4 loop -> forward over
  over: 2 of 2 -> back head | exit 0x1006

=== an instruction that lies in two pages is left to the interpreter
.zero 4086
head:
  addi a0, a1, 1
  addi a0, a1, 2
crossing:
  addi a0, a1, 3
  bnez a0, head
=>
1 blocks, 2 instructions
head: 2 of 2 -> exit crossing

=== there is nothing to compile at an instruction that lies in two pages
.zero 4094
head:
  addi a0, a1, 3
  bnez a0, head
=>
nothing to compile

=== a jump into the middle of a block splits it
head:
  addi a0, a0, 1
middle:
  addi a1, a1, 1
  bnez a0, middle
  j head
=>
3 blocks, 4 instructions
head: 1 of 1 loop -> forward middle
  middle: 2 of 3 loop -> back middle | forward 0x6
    0x6: 1 of 1 -> back head

=== no more blocks than the limit (blocks=2)
head:
  beqz a0, else
  addi a1, a1, 1
  j head
else:
  addi a1, a1, 2
  j head
=>
2 blocks, 3 instructions
head: 1 of 3 loop -> forward else | exit 0x2
  else: 2 of 2 -> back head

=== no more instructions than the limit, give or take a block (instructions=4)
head:
  addi a0, a0, 1
  addi a0, a0, 1
  addi a0, a0, 1
  beqz a0, else
  addi a1, a1, 1
  j head
else:
  addi a1, a1, 2
  j head
=>
1 blocks, 4 instructions
head: 4 of 4 -> exit else | exit 0x8

=== long straight code is cut (blockInstructions=3)
head:
  addi a0, a0, 1
  addi a0, a0, 1
  addi a0, a0, 1
  addi a0, a0, 1
  addi a0, a0, 1
  addi a0, a0, 1
  addi a0, a0, 1
  j head
=>
3 blocks, 8 instructions
head: 3 of 8 loop -> forward 0x6
  0x6: 3 of 5 -> forward 0xc
    0xc: 2 of 2 -> back head

=== a helper that leads elsewhere ends a block, and one that does not, does not
head:
  addi a0, a0, 1
  fence.i
  addi a0, a0, 1
  ecall
  j head
=>
1 blocks, 4 instructions
head: 4 of 4 -> leave

=== an illegal instruction ends the region
head:
  beqz a0, head
  unimp
=>
2 blocks, 2 instructions
head: 1 of 2 loop -> back head | forward 0x2
  0x2: 1 of 1 -> trap

=== instructions that end at one place, one inside the other, go their own ways
.zero 64
head:
  beqz a0, inside
over:
  .2byte 0x12e3
inside:
  .2byte 0xfe6d
after:
  ret
=>
6 blocks, 6 instructions
head: 1 of 3 -> forward inside | forward over
  inside: 1 of 2 -> forward 0x3e | forward after
    0x3e: 1 of 1 -> trap
  over: 1 of 2 -> forward 0x26 | forward after
    0x26: 1 of 1 -> trap
  after: 1 of 1 merge -> anywhere
