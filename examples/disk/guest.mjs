// The guest: it reads the first sector of its disk, prints how often it has been booted, and writes and flushes the
// number. Its driver is the least that the virtio specification lets one be: one queue, one request at a time.
import { assemble } from "@hyperfile/decoder";
import { RAM_BASE } from "@hyperfile/devices";

const NEXT = 1;
const WRITE = 2;
/** VIRTIO_BLK_F_FLUSH. */
const FLUSH = 1 << 9;

/** Writes a register of the transport. */
const register = (offset, value) => `
        li   t0, ${value}
        sw   t0, ${offset}(s0)`;
/** Writes the address of a ring. */
const ring = (offset, place) => `
        addi t0, s1, ${place}
        sw   t0, ${offset}(s0)
        sw   zero, ${offset + 4}(s0)`;
/** Writes a descriptor, which the next one follows. */
const descriptor = (index, label, length, flags) => `
        la   t0, ${label}
        sd   t0, ${16 * index}(s1)
        li   t0, ${length}
        sw   t0, ${16 * index + 8}(s1)
        li   t0, ${flags | ((index + 1) << 16)}
        sw   t0, ${16 * index + 12}(s1)`;

/** Code for the start of RAM. */
export const { bytes: counter } = assemble(
  `
        li   s0, 0x10001000     # the first virtio slot
        la   s1, queue
        li   s2, 0              # requests so far
        ${register(0x70, 0)} ${register(0x70, 1)} ${register(0x70, 3)}
        ${register(0x24, 1)} ${register(0x20, 1)}
        ${register(0x24, 0)} ${register(0x20, FLUSH)}
        ${register(0x70, 11)} ${register(0x30, 0)} ${register(0x38, 8)}
        ${ring(0x80, 0)} ${ring(0x90, 0x100)} ${ring(0xa0, 0x200)}
        ${register(0x44, 1)} ${register(0x70, 15)}
        ${descriptor(0, "header", 16, NEXT)}
        ${descriptor(1, "sector", 512, NEXT | WRITE)}
        ${descriptor(2, "status", 1, WRITE)}
        ${descriptor(3, "header", 16, NEXT)}
        ${descriptor(4, "sector", 512, NEXT)}
        ${descriptor(5, "status", 1, WRITE)}
        ${descriptor(6, "header", 16, NEXT)}
        ${descriptor(7, "status", 1, WRITE)}
        la   s3, sector
        li   a0, 0              # read
        li   a1, 0
        call ask
        lw   s4, 0(s3)
        addi s4, s4, 1
        sw   s4, 0(s3)
        li   a0, 3              # write
        li   a1, 1
        call ask
        li   a0, 6              # flush
        li   a1, 4
        call ask
        la   a0, text
        call print
        la   a0, end
        li   t1, 10
1:      remu t2, s4, t1
        addi t2, t2, '0'
        addi a0, a0, -1
        sb   t2, 0(a0)
        divu s4, s4, t1
        bnez s4, 1b
        call print
off:    li   t0, 0x100000
        li   t1, 0x5555
        sw   t1, 0(t0)
2:      j    2b

# A request of type a1, whose chain begins at descriptor a0.
ask:    la   t0, header
        sw   a1, 0(t0)
        addi t0, s1, 0x100
        andi t1, s2, 7
        slli t1, t1, 1
        add  t1, t1, t0
        sh   a0, 4(t1)
        addi s2, s2, 1
        sh   s2, 2(t0)
        sw   zero, 0x50(s0)
3:      lhu  t1, 0x202(s1)     # until it is used
        bne  t1, s2, 3b
        la   t0, status
        lbu  t1, 0(t0)
        bnez t1, off
        ret

print:  li   t0, 0x10000000     # the UART
4:      lbu  t1, 0(a0)
        beqz t1, 5f
        sb   t1, 0(t0)
        addi a0, a0, 1
        j    4b
5:      ret

        .balign 16
header: .word 0, 0, 0, 0
status: .byte 0xff
text:   .asciz "boot "
digits: .zero 12
end:    .byte 10, 0
        .balign 4096
queue:  .zero 4096
sector: .zero 512
`,
  { xlen: 64, origin: RAM_BASE },
);
