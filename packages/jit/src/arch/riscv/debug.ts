/**
 * A RISC-V CPU as a debugger sees it: registers by GDB's numbers (GDB sources: 0 to 31 x, 32 pc, 33 to 64 f), memory at
 * guest-virtual addresses, breakpoints and single steps.
 */
import { integerNames } from "@hyperfile/decoder";
import { PAGE_SIZE, STATE_OFFSET } from "../../memory/layout.js";
import { AccessKind } from "../../mmu/ports.js";
import type { RiscvCpu } from "./cpu.js";
import { WalkResult } from "./page-walk.js";

const PC = 32;
const FIRST_FLOAT = 33;
const FLOATS = 32;

/** Looks into a CPU that is not running. */
export class RiscvDebug {
  readonly architecture: string;
  readonly addressBits: 32 | 64;
  readonly features;
  private readonly breakpoints = new Set<bigint>();
  private readonly floats: number;

  constructor(private readonly cpu: RiscvCpu) {
    const { xlen } = cpu.options;
    this.architecture = `riscv:rv${xlen}`;
    this.addressBits = xlen;
    const integer = (name: string) => ({ name, bits: xlen, type: "int" as const });
    const float = (_: unknown, index: number) => ({
      name: `f${index}`,
      bits: 64 as const,
      type: "ieee_double" as const,
    });
    this.features = [
      {
        name: "org.gnu.gdb.riscv.cpu",
        first: 0,
        registers: [...integerNames.map(integer), { name: "pc", bits: xlen, type: "code_ptr" as const }],
      },
      { name: "org.gnu.gdb.riscv.fpu", first: FIRST_FLOAT, registers: Array.from({ length: FLOATS }, float) },
    ];
    this.floats = (STATE_OFFSET + cpu.frontEnd.shape.slots.get("f")!.offset) >> 2;
  }

  /** Value of a register, unsigned; undefined if there is none of this number. */
  readRegister(register: number): bigint | undefined {
    const { hart } = this.cpu;
    if (register >= 0 && register < PC) return pair(hart.readXLow(register), hart.readXHigh(register));
    if (register === PC) return pair(hart.pcLow, hart.pcHigh);
    if (register < FIRST_FLOAT || register >= FIRST_FLOAT + FLOATS) return undefined;
    const at = this.floats + 2 * (register - FIRST_FLOAT);
    const { i32 } = this.cpu.options.memory.memory;
    return pair(i32[at]!, i32[at + 1]!);
  }

  /** Sets a register; false if there is none of this number. */
  writeRegister(register: number, value: bigint): boolean {
    const { hart } = this.cpu;
    const [lo, hi] = [Number(BigInt.asIntN(32, value)), Number(BigInt.asIntN(32, value >> 32n))];
    if (register >= 0 && register < PC) hart.writeX(register, lo, hi);
    else if (register === PC) hart.setPc(lo, hi);
    else if (register >= FIRST_FLOAT && register < FIRST_FLOAT + FLOATS) {
      this.cpu.options.memory.memory.i32.set([lo, hi], this.floats + 2 * (register - FIRST_FLOAT));
    } else return false;
    return true;
  }

  /** Bytes at a guest-virtual address; undefined if any page is unmapped or no RAM. */
  readMemory(address: bigint, length: number): Uint8Array | undefined {
    const bytes = new Uint8Array(length);
    const done = this.eachPage(address, length, (gpa, from, to) =>
      this.cpu.options.memory.guest.read(gpa, bytes.subarray(from, to)),
    );
    return done ? bytes : undefined;
  }

  /** Writes bytes at a guest-virtual address, read-only pages included; false if any page is unmapped or no RAM. */
  writeMemory(address: bigint, bytes: Uint8Array): boolean {
    return this.eachPage(address, bytes.length, (gpa, from, to) =>
      this.cpu.options.memory.guest.write(gpa, bytes.subarray(from, to)),
    );
  }

  /** Sets or clears a breakpoint. */
  setBreakpoint(address: bigint, enabled: boolean): void {
    if (enabled) this.breakpoints.add(address);
    else this.breakpoints.delete(address);
    this.cpu.engine.setBreakpoints(new Set(this.breakpoints));
  }

  /** Clears all breakpoints. */
  clearBreakpoints(): void {
    this.breakpoints.clear();
    this.cpu.engine.setBreakpoints(new Set());
  }

  /** Runs one instruction. */
  step(): void {
    this.cpu.engine.passBreakpoint();
    this.cpu.run(1);
  }

  private eachPage(
    address: bigint,
    length: number,
    visit: (gpa: number, from: number, to: number) => boolean,
  ): boolean {
    const { hart } = this.cpu;
    for (let done = 0; done < length; ) {
      const at = address + BigInt(done);
      const count = Math.min(length - done, PAGE_SIZE - Number(at & BigInt(PAGE_SIZE - 1)));
      const [lo, hi] = [Number(BigInt.asIntN(32, at)), Number(BigInt.asIntN(32, at >> 32n))];
      const found = [AccessKind.read, AccessKind.fetch].some(
        (kind) => hart.resolve(kind, lo, hi, true) === WalkResult.ok,
      );
      if (!found || !visit(hart.gpa, done, done + count)) return false;
      done += count;
    }
    return true;
  }
}

const pair = (lo: number, hi: number): bigint => (BigInt(hi >>> 0) << 32n) | BigInt(lo >>> 0);
