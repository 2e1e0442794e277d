/**
 * A program for a Linux guest, in assembly: connects to a port of the host's (AF_VSOCK), sends its standard input to it,
 * ends that, and prints what comes back. Its status is 0, or the number of the error that it met.
 */
import { assemble } from "@hyperfile/decoder";

const [READ, WRITE, EXIT, SOCKET, CONNECT, SHUTDOWN, POLL] = [63, 64, 93, 198, 203, 210, 73];
const [AF_VSOCK, SOCK_STREAM, SHUT_WR, POLLIN, HOST] = [40, 1, 1, 1, 2];
const BASE = 0x10000;
const HEADERS = 64 + 56;
const BUFFER = 0x20000;
const BUFFER_BYTES = 65536;

/** The program, a static ELF file. */
export function dialProgram(port: number): Uint8Array {
  const call = (number: number): string => `
        li   a7, ${number}
        ecall`;
  const { bytes: code } = assemble(
    `
        li   a0, ${AF_VSOCK}
        li   a1, ${SOCK_STREAM}
        li   a2, 0
        ${call(SOCKET)}
        bltz a0, fail
        mv   s0, a0
        la   a1, address
        li   a2, 16
        ${call(CONNECT)}
        bltz a0, fail
        li   s1, ${BUFFER}
        la   s2, polls
        sw   s0, 8(s2)
next:   mv   a0, s2             # both at a time: whoever echoes waits for us as well
        li   a1, 2
        li   a2, 0
        li   a3, 0
        ${call(POLL)}
        bltz a0, fail
        lhu  t0, 14(s2)
        beqz t0, 2f
        mv   a0, s0
        call take
        beqz a0, off
        mv   s4, a0
        li   a0, 1
        call give
2:      lhu  t0, 6(s2)
        beqz t0, next
        li   a0, 0
        call take
        mv   s4, a0
        beqz a0, 3f
        mv   a0, s0
        call give
        j    next
3:      li   t0, -1
        sw   t0, 0(s2)
        mv   a0, s0
        li   a1, ${SHUT_WR}
        ${call(SHUTDOWN)}
        j    next
take:   mv   a1, s1
        li   a2, ${BUFFER_BYTES}
        ${call(READ)}
        bltz a0, fail
        ret
give:   mv   s3, a0             # all s4 bytes
        mv   s5, s1
1:      mv   a0, s3
        mv   a1, s5
        mv   a2, s4
        ${call(WRITE)}
        bltz a0, fail
        add  s5, s5, a0
        sub  s4, s4, a0
        bnez s4, 1b
        ret
off:    li   a0, 0
        ${call(EXIT)}
fail:   neg  a0, a0
        ${call(EXIT)}
        .balign 8
polls:  .word 0, ${POLLIN}
        .word 0, ${POLLIN}
address:
        .half ${AF_VSOCK}, 0
        .word ${port}, ${HOST}, 0
`,
    { xlen: 64, origin: BASE + HEADERS },
  );
  const file = new Uint8Array(HEADERS + code.length);
  const view = new DataView(file.buffer);
  const wide = (at: number, ...values: number[]): void => {
    values.forEach((value, index) => {
      view.setBigUint64(at + 8 * index, BigInt(value), true);
    });
  };
  // A 64-bit little-endian executable for RISC-V with doubles in registers, of one segment that holds all of it.
  file.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]);
  view.setUint16(16, 2, true);
  view.setUint16(18, 243, true);
  view.setUint32(20, 1, true);
  wide(24, BASE + HEADERS, 64, 0);
  view.setUint32(48, 4, true);
  view.setUint16(52, 64, true);
  view.setUint16(54, 56, true);
  view.setUint16(56, 1, true);
  view.setUint32(64, 1, true);
  view.setUint32(68, 7, true);
  wide(72, 0, BASE, BASE, file.length, BUFFER + BUFFER_BYTES - BASE, 0x1000);
  file.set(code, HEADERS);
  return file;
}
