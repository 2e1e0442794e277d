/**
 * Guests without manners: small programs in S mode under the built-in SBI, each with one bad habit that it keeps up
 * without end. They are assembled here and boot as kernels.
 */
import { assemble } from "@hyperfile/decoder";

/** Where a kernel is loaded. */
const ORIGIN = 0x80200000;
const RAM_BASE = 0x80000000;

/** What a guest needs to be told of its machine. */
export interface ProgramOptions {
  readonly ramBytes: number;
}

/** Extension ids of the SBI (chapters 5, 9, 10 and 12). */
const [DBCN, SRST, HSM] = [0x4442434e, 0x53525354, 0x48534d];
const UART = 0x10000000;
const VIRTIO = 0x10001000;

/** A loop that steps t6, its source of chance: a linear congruential generator (Knuth's MMIX). */
const step = `
  mul  t6, t6, s10
  add  t6, t6, s11`;
const generator = `
  li   s10, 6364136223846793005
  li   s11, 1442695040888963407
  li   t6, 88172645463325252`;

const sources = {
  /** 4 KiB through the debug console with every call. */
  "floods-sbi": () => `
1: li a7, ${DBCN}
   li a6, 0
   li a0, 4096
   li a1, ${ORIGIN}
   li a2, 0
   ecall
   j 1b`,
  "floods-uart": () => `
   li t0, ${UART}
   li t1, 0x78
1: sb t1, 0(t0)
   j 1b`,
  /** Its handler is where nothing can be fetched. */
  crashes: () => `
   csrw stvec, zero
   .word 0xc0001073
1: j 1b`,
  /** New code in every round, hot enough to be translated, on thirty-two pages in turn. */
  "rewrites-code": () => `
   li s0, 0
   la s1, area
   li s4, 0x00150513
1: li t0, 31
   and t0, s0, t0
   slli t0, t0, 12
   add t0, t0, s1
   slli t1, s0, 20
   xor t1, t1, s4
   sw t1, 0(t0)
   li t2, 0xfff58593
   sw t2, 4(t0)
   li t2, 0xfe059ce3
   sw t2, 8(t0)
   li t2, 0x00008067
   sw t2, 12(t0)
   fence.i
   li a1, 4000
   jalr t0
   addi s0, s0, 1
   j 1b
   .balign 4096
area: .word 0`,
  "touches-all": ({ ramBytes }: ProgramOptions) => `
   li t0, 4096
1: li t1, ${ORIGIN + 8192}
   li t2, ${RAM_BASE + ramBytes}
2: sd t1, 0(t1)
   add t1, t1, t0
   bltu t1, t2, 2b
   j 1b`,
  spins: () => "1: j 1b",
  "powers-off": () => `
   li t0, 3000000
1: addi t0, t0, -1
   bnez t0, 1b
   li a7, ${SRST}
   li a6, 0
   li a0, 0
   li a1, 0
   ecall`,
  resets: () => `
   li t0, 3000000
1: addi t0, t0, -1
   bnez t0, 1b
   li a7, ${SRST}
   li a6, 0
   li a0, 1
   li a1, 0
   ecall`,
  /** Suspends its hart and wants to go on at an odd address. */
  "resumes-odd": () => `
1: li a7, ${HSM}
   li a6, 3
   li a0, 0x80000000
   la a1, 1b
   addi a1, a1, 1
   li a2, 0
   li t0, 2
   csrs sie, t0
   csrs sip, t0
   ecall
   j 1b`,
  /** Words of chance into the registers of all virtio devices. */
  "scribbles-on-devices": () => `${generator}
1: ${step}
   srli t0, t6, 40
   li t1, 0x7ffc
   and t0, t0, t1
   li t1, ${VIRTIO}
   add t0, t0, t1
   srli t2, t6, 11
   sw t2, 0(t0)
   lw t2, 0(t0)
   j 1b`,
  /** Writes all of its disk (virtio-blk, a queue of one request), again and again, whatever the disk answers. */
  "fills-disk": () => `
   li s0, ${VIRTIO}
   sw zero, 0x70(s0)
   li t0, 3
   sw t0, 0x70(s0)
   li t0, 1
   sw t0, 0x24(s0)
   sw t0, 0x20(s0)
   sw zero, 0x24(s0)
   sw zero, 0x20(s0)
   li t0, 11
   sw t0, 0x70(s0)
   sw zero, 0x30(s0)
   li t0, 8
   sw t0, 0x38(s0)
   la s1, queue
   sw s1, 0x80(s0)
   addi t0, s1, 256
   sw t0, 0x90(s0)
   addi t0, s1, 512
   sw t0, 0xa0(s0)
   li t0, 1
   sw t0, 0x44(s0)
   li t0, 15
   sw t0, 0x70(s0)
   la s5, area
   li t0, 65536
   add t0, t0, s5
   mv t1, s5
1: sd t1, 0(t1)
   addi t1, t1, 8
   bltu t1, t0, 1b
   addi t0, s1, 768
   sd t0, 0(s1)
   li t0, 0x0001000100000010
   sd t0, 8(s1)
   sd s5, 16(s1)
   li t0, 0x0002000100010000
   sd t0, 24(s1)
   addi t0, s1, 800
   sd t0, 32(s1)
   li t0, 0x0000000200000001
   sd t0, 40(s1)
   li t0, 1
   sd t0, 768(s1)
   lw s2, 0x100(s0)
   li s3, 0
   li s4, 0
2: sd s3, 776(s1)
   sd s3, 0(s5)
   andi t0, s4, 7
   slli t0, t0, 1
   add t0, t0, s1
   sh zero, 260(t0)
   addi s4, s4, 1
   fence
   sh s4, 258(s1)
   fence
   sw zero, 0x50(s0)
   slli t1, s4, 48
   srli t1, t1, 48
3: lhu t0, 514(s1)
   bne t0, t1, 3b
   addi s3, s3, 128
   addi t0, s3, 128
   bleu t0, s2, 2b
   li s3, 0
   j 2b
   .balign 4096
queue: .zero 4096
area: .word 0`,
  /** Never reads what is typed. */
  deaf: () => `
1: wfi
   j 1b`,
} as const satisfies Record<string, (options: ProgramOptions) => string>;

/** Names of the programs, which say what they do. */
export const programNames = Object.keys(sources) as (keyof typeof sources)[];

/** A program as an ELF file (System V ABI, chapter 4) with one segment. */
export function programFile(name: (typeof programNames)[number], options: ProgramOptions): Uint8Array {
  const { bytes } = assemble(sources[name](options), { xlen: 64, origin: ORIGIN });
  const [headerBytes, segmentHeaderBytes] = [64, 56];
  const start = headerBytes + segmentHeaderBytes;
  const file = new Uint8Array(start + bytes.length);
  const view = new DataView(file.buffer);
  const [executable, riscv, load, readWriteExecute] = [2, 243, 1, 7];
  file.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]);
  view.setUint16(16, executable, true);
  view.setUint16(18, riscv, true);
  view.setUint32(20, 1, true);
  view.setBigUint64(24, BigInt(ORIGIN), true);
  view.setBigUint64(32, BigInt(headerBytes), true);
  view.setUint16(52, headerBytes, true);
  view.setUint16(54, segmentHeaderBytes, true);
  view.setUint16(56, 1, true);
  view.setUint32(headerBytes, load, true);
  view.setUint32(headerBytes + 4, readWriteExecute, true);
  view.setBigUint64(headerBytes + 8, BigInt(start), true);
  view.setBigUint64(headerBytes + 16, BigInt(ORIGIN), true);
  view.setBigUint64(headerBytes + 24, BigInt(ORIGIN), true);
  view.setBigUint64(headerBytes + 32, BigInt(bytes.length), true);
  view.setBigUint64(headerBytes + 40, BigInt(bytes.length), true);
  file.set(bytes, start);
  return file;
}
