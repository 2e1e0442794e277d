/**
 * A bare-metal guest with a driver of a device for sockets in slot 0: it accepts whatever stream the host opens, one at a
 * time, sends back what it gets, and confirms the end. It has one buffer, and none for events.
 */
import { assemble } from "@hyperfile/decoder";
import { RAM_BASE } from "@hyperfile/devices";
import { acknowledge, interrupts, register, ring } from "./virtio-guest.js";

/** Operations of packets (virtio 1.2, section 5.10.6). */
const [REQUEST, RESPONSE, RESET, SHUTDOWN, READ_WRITE] = [1, 2, 3, 4, 5];
const BUFFER_BYTES = 4096;

/** Code of the guest, for the start of RAM. */
export function echoGuest(): Uint8Array {
  const queue = (index: number): string => `
        la   s1, ring${index}
        ${register(0x30, index)} ${register(0x38, 8)}
        ${ring(0x80, 0)} ${ring(0x90, 0x100)} ${ring(0xa0, 0x200)}
        ${register(0x44, 1)}`;
  return assemble(
    `
        li   s0, 0x10001000     # the first slot
        ${register(0x70, 0)} ${register(0x70, 1)} ${register(0x70, 3)}
        ${register(0x24, 1)} ${register(0x20, 1)}
        ${register(0x24, 0)} ${register(0x20, 0)}
        ${register(0x70, 11)}
        ${queue(1)} ${queue(0)}
        ${register(0x70, 15)}
        ${interrupts}
        la   s2, ring1
        la   s5, buffer
        sd   s5, 0(s1)          # one descriptor each: for a packet, and with one
        li   t0, ${BUFFER_BYTES}
        sw   t0, 8(s1)
        li   t0, 2
        sh   t0, 12(s1)
        sd   s5, 0(s2)
        li   s6, 0              # packets received
        li   s7, 0              # bytes of the stream
        li   s8, 0              # packets sent
next:   addi s6, s6, 1
        sh   s6, 0x102(s1)
        fence
        ${register(0x50, 0)}
1:      lhu  t0, 0x202(s1)
        slli t1, s6, 48
        srli t1, t1, 48
        beq  t0, t1, 2f
        wfi
        ${acknowledge}
        j    1b
2:      lhu  t0, 30(s5)
        li   t1, ${REQUEST}
        beq  t0, t1, 3f
        li   t1, ${READ_WRITE}
        beq  t0, t1, 4f
        li   t1, ${SHUTDOWN}
        bne  t0, t1, next
        li   t0, ${RESET}
        sh   t0, 30(s5)
        j    send
3:      li   t0, ${RESPONSE}
        sh   t0, 30(s5)
        li   s7, 0
        j    send
4:      lwu  t0, 24(s5)
        add  s7, s7, t0
send:   ld   t0, 0(s5)
        ld   t1, 8(s5)
        sd   t1, 0(s5)
        sd   t0, 8(s5)
        lw   t0, 16(s5)
        lw   t1, 20(s5)
        sw   t1, 16(s5)
        sw   t0, 20(s5)
        li   t0, ${BUFFER_BYTES}
        sw   t0, 36(s5)
        sw   s7, 40(s5)
        lwu  t0, 24(s5)
        addi t0, t0, 44
        sw   t0, 8(s2)
        addi s8, s8, 1
        sh   s8, 0x102(s2)
        fence
        ${register(0x50, 1)}
5:      lhu  t0, 0x202(s2)
        slli t1, s8, 48
        srli t1, t1, 48
        bne  t0, t1, 5b
        j    next
        .balign 4096
ring0:  .zero 4096
ring1:  .zero 4096
buffer: .zero ${BUFFER_BYTES}
`,
    { xlen: 64, origin: RAM_BASE },
  ).bytes;
}
