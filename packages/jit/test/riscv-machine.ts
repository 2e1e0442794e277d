/**
 * One RISC-V CPU with a little RAM and no devices, for tests of the privileged architecture: CSRs by number as
 * BigInt, registers, page-table entries, and short programs from mnemonics.
 */
import { riscvTable } from "@hyperfile/decoder";
import {
  type HartEntry,
  RiscvCpu,
  RiscvMode,
  riscvMemory,
  type SupervisorBinary,
} from "../src/arch/riscv/index.js";
import type { Tier } from "../src/index.js";
import { encode } from "./lockstep.js";

/** Guest-physical address of the first byte of RAM. */
export const RAM = 0x80000000;
/** Bytes of RAM. */
export const RAM_BYTES = 0x100000;

/** A mnemonic and its fields. */
export type Insn = readonly [name: string, fields?: Readonly<Record<string, number>>];

/** Low and high half of an integer of up to 64 bits. */
export const halves = (value: bigint): [lo: number, hi: number] => [
  Number(BigInt.asIntN(32, value)),
  Number(BigInt.asIntN(32, value >> 32n)),
];

const join = (lo: number, hi: number): bigint => (BigInt(hi >>> 0) << 32n) | BigInt(lo >>> 0);

/** What a machine is made from. */
export interface RiscvMachineOptions {
  readonly xlen: 32 | 64;
  readonly sbi?: SupervisorBinary;
  readonly clock?: { now(): number };
  readonly pagingLevels?: 3 | 4 | 5;
  readonly tier?: Tier;
}

/** A CPU under test, in M mode at the start of RAM. */
export class RiscvMachine {
  readonly cpu: RiscvCpu;
  readonly xlen: 32 | 64;

  constructor(options: RiscvMachineOptions) {
    const { xlen, ...rest } = options;
    this.xlen = xlen;
    this.cpu = new RiscvCpu({
      xlen,
      memory: riscvMemory({ ramBytes: RAM_BYTES, codePages: 8 }),
      bus: { read: () => undefined, write: () => false },
      clock: { now: () => 0 },
      tier: "interpreter",
      ...rest,
    });
    this.start({ pcLo: RAM | 0, pcHi: 0, mode: RiscvMode.machine, args: [] });
  }

  get hart() {
    return this.cpu.hart;
  }

  /** Guest RAM. */
  get guest() {
    return this.cpu.options.memory.guest;
  }

  /** Resets the hart. */
  start(entry: HartEntry): void {
    this.cpu.start(entry);
  }

  /** Value of a CSR; undefined if reading it is an illegal instruction in the current mode. */
  read(csr: number): bigint | undefined {
    if (this.hart.csr.access(1, csr, 0, 0, false) === 1) return undefined;
    return this.value();
  }

  /** Writes a CSR as `csrrw` does, or sets or clears bits; false if that is an illegal instruction. */
  write(csr: number, value: bigint, operation: "swap" | "set" | "clear" = "swap"): boolean {
    const kind = ({ swap: 0, set: 1, clear: 2 } as const)[operation];
    return this.hart.csr.access(kind, csr, ...halves(value), true) !== 1;
  }

  private value(): bigint {
    const { low, high } = this.hart.csr;
    return this.xlen === 64 ? join(low, high) : join(low, 0);
  }

  /** Sets the privilege mode. */
  enter(mode: RiscvMode): void {
    this.hart.state.mode = mode;
    this.hart.selectTlbs();
  }

  /** An integer register, unsigned. */
  x(register: number): bigint {
    return join(this.hart.readXLow(register), this.hart.readXHigh(register));
  }

  /** Sets an integer register. */
  setX(register: number, value: bigint): void {
    this.hart.writeX(register, ...halves(value));
  }

  /** The program counter, unsigned. */
  get pc(): bigint {
    return join(this.hart.pcLow, this.hart.pcHigh);
  }

  /** Puts instructions, or raw words, into RAM. */
  program(gpa: number, insns: readonly (Insn | number)[]): void {
    const table = riscvTable(this.xlen);
    const words = insns.map((insn) =>
      typeof insn === "number" ? insn : encode(table, insn[0], insn[1] ?? {}),
    );
    this.guest.write(gpa, new Uint8Array(Int32Array.from(words).buffer));
  }

  /** Runs `count` instructions from `at` in `mode`; says why the slice ended. */
  run(at: number | bigint, mode: RiscvMode, count: number): "budget" | "wait" | "stop" {
    this.enter(mode);
    this.hart.setPc(...halves(BigInt(at)));
    return this.cpu.run(count);
  }

  /** Writes a 32- or 64-bit word: a page-table entry of this machine's width, or data. */
  poke(gpa: number, value: bigint, bits: 32 | 64 = this.xlen): void {
    const bytes = new Uint8Array(8);
    new DataView(bytes.buffer).setBigUint64(0, BigInt.asUintN(64, value), true);
    if (!this.guest.write(gpa, bytes.subarray(0, bits / 8)))
      throw new RangeError(`0x${gpa.toString(16)} is no RAM`);
  }

  /** Reads a 32- or 64-bit word of RAM, unsigned. */
  peek(gpa: number, bits: 32 | 64 = this.xlen): bigint {
    const bytes = new Uint8Array(8);
    this.guest.read(gpa, bytes.subarray(0, bits / 8));
    return new DataView(bytes.buffer).getBigUint64(0, true);
  }
}
