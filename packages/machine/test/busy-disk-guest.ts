/** A bare-metal guest that reads the disk in slot 0 without end, always with so many requests in flight, and waits in between. */
import { assemble } from "@hyperfile/decoder";
import { RAM_BASE } from "@hyperfile/devices";
import { acknowledge, interrupts, register, ring } from "./virtio-guest.js";

/** What the guest does. */
export interface BusyDiskOptions {
  /** Requests in flight, at most 20. */
  readonly depth: number;
  /** Bytes of each, at most 64 KiB. */
  readonly bytes: number;
}

/** Code of the guest, for the start of RAM. */
export function busyDiskGuest({ depth, bytes: size }: BusyDiskOptions): Uint8Array {
  const { bytes } = assemble(
    `
        li   s0, 0x10001000     # the first slot
        la   s1, ring           # descriptors; available at 0x400, used at 0x600
        la   a1, headers
        la   a2, data
        la   a3, status
        ${register(0x70, 0)} ${register(0x70, 1)} ${register(0x70, 3)}
        ${register(0x24, 1)} ${register(0x20, 1)}
        ${register(0x24, 0)} ${register(0x20, 0)}
        ${register(0x70, 11)} ${register(0x30, 0)} ${register(0x38, 64)}
        ${ring(0x80, 0)} ${ring(0x90, 0x400)} ${ring(0xa0, 0x600)}
        ${register(0x44, 1)} ${register(0x70, 15)}
        ${interrupts}
        li   s2, 0              # requests made available
1:      li   t0, 48
        mul  t0, t0, s2
        add  t0, t0, s1
        slli t1, s2, 4
        add  t1, t1, a1
        sd   t1, 0(t0)          # the header: a read
        slli t2, s2, 3
        sd   t2, 8(t1)
        li   t2, 16
        sw   t2, 8(t0)
        li   t3, 3
        mul  t3, t3, s2
        addi t2, t3, 1
        slli t2, t2, 16
        ori  t2, t2, 1
        sw   t2, 12(t0)
        sd   a2, 16(t0)         # the data, the same place for all
        li   t2, ${size}
        sw   t2, 24(t0)
        addi t2, t3, 2
        slli t2, t2, 16
        ori  t2, t2, 3
        sw   t2, 28(t0)
        sd   a3, 32(t0)         # the status
        li   t2, 1
        sw   t2, 40(t0)
        li   t2, 2
        sw   t2, 44(t0)
        slli t2, s2, 1
        add  t2, t2, s1
        sh   t3, 0x404(t2)
        addi s2, s2, 1
        li   t2, ${depth}
        blt  s2, t2, 1b
        sh   s2, 0x402(s1)
        sw   zero, 0x50(s0)
        li   s3, 0              # answers seen
        j    2f
4:      wfi
        ${acknowledge}
2:      li   s4, 0
3:      slli t1, s3, 48
        srli t1, t1, 48
        lhu  t0, 0x602(s1)
        beq  t0, t1, 5f
        andi t1, s3, 63
        slli t1, t1, 3
        add  t1, t1, s1
        lw   t2, 0x604(t1)
        andi t1, s2, 63
        slli t1, t1, 1
        add  t1, t1, s1
        sh   t2, 0x404(t1)
        addi s2, s2, 1
        addi s3, s3, 1
        li   s4, 1
        j    3b
5:      beqz s4, 4b
        sh   s2, 0x402(s1)
        sw   zero, 0x50(s0)
        j    2b

        .balign 16
headers: .zero 512
status: .word 0
        .balign 4096
ring:   .zero 4096
data:   .zero ${size}
`,
    { xlen: 64, origin: RAM_BASE },
  );
  return bytes;
}
