/**
 * A RISC-V CPU as a debugger sees it: registers by GDB's numbers (GDB sources: 0 to 31 x, 32 pc, 33 to 64 f, 65 to 4160
 * the CSRs, 4161 the privilege mode), memory at guest-virtual addresses, breakpoints, watchpoints and single steps.
 */
import { integerNames } from "@hyperfile/decoder";
import { PAGE_SIZE, STATE_OFFSET } from "../../memory/layout.js";
import { AccessKind } from "../../mmu/ports.js";
import type { RiscvCpu } from "./cpu.js";
import { WalkResult } from "./page-walk.js";
import { RiscvMode } from "./privilege.js";
import { exceptionNames, modeLetters } from "./trap-names.js";
import { type RiscvWatchKind, type Watchpoint, Watchpoints } from "./watchpoints.js";

const PC = 32;
const FIRST_FLOAT = 33;
const FLOATS = 32;
const FIRST_CSR = 65;
const CSRS = 4096;
const PRIVILEGE = FIRST_CSR + CSRS;

/** Most breakpoints and watchpoints of either kind: each is looked at often. */
const MOST_POINTS = 256;
/** Longest watched range in bytes. */
const MOST_WATCHED = 0x10000;

/** Why a hart under a debugger has stopped by itself. */
export type RiscvStop = "breakpoint" | { readonly watch: RiscvWatchKind; readonly address: bigint };

/** A register as a debugger is told of it; the number is GDB's. */
export interface RiscvRegister {
  readonly name: string;
  readonly number: number;
  readonly bits: 32 | 64;
  readonly type: "int" | "code_ptr" | "ieee_double";
}

/** A group of registers by GDB's name for it; general ones are sent with every stop. */
export interface RiscvFeature {
  readonly name: string;
  readonly isGeneral: boolean;
  readonly registers: readonly RiscvRegister[];
}

/** Looks into a CPU that is not running. */
export class RiscvDebug {
  readonly architecture: string;
  readonly addressBits: 32 | 64;
  readonly features: readonly RiscvFeature[];
  private readonly breakpoints = new Set<bigint>();
  private watchpoints = new Watchpoints();
  private readonly floats: number;

  constructor(private readonly cpu: RiscvCpu) {
    const { xlen } = cpu.options;
    this.architecture = `riscv:rv${xlen}`;
    this.addressBits = xlen;
    const integers = [...integerNames, "pc"].map((name, number) => ({
      name,
      number,
      bits: xlen,
      type: number === PC ? ("code_ptr" as const) : ("int" as const),
    }));
    const floats = Array.from({ length: FLOATS }, (_, index) => ({
      name: `f${index}`,
      number: FIRST_FLOAT + index,
      bits: 64 as const,
      type: "ieee_double" as const,
    }));
    const csrs = cpu.hart.options.csrs.rows
      .filter(({ number }) => cpu.hart.csr.peek(number))
      .map(({ name, number }) => ({ name, number: FIRST_CSR + number, bits: xlen, type: "int" as const }));
    const privilege = { name: "priv", number: PRIVILEGE, bits: xlen, type: "int" as const };
    this.features = [
      { name: "org.gnu.gdb.riscv.cpu", isGeneral: true, registers: integers },
      { name: "org.gnu.gdb.riscv.fpu", isGeneral: true, registers: floats },
      { name: "org.gnu.gdb.riscv.csr", isGeneral: false, registers: csrs },
      { name: "org.gnu.gdb.riscv.virtual", isGeneral: false, registers: [privilege] },
    ];
    this.floats = (STATE_OFFSET + cpu.frontEnd.shape.slots.get("f")!.offset) >> 2;
  }

  /** Value of a register, unsigned; undefined if there is none of this number. */
  readRegister(register: number): bigint | undefined {
    const { hart } = this.cpu;
    if (register >= 0 && register < PC) return pair(hart.readXLow(register), hart.readXHigh(register));
    if (register === PC) return pair(hart.pcLow, hart.pcHigh);
    if (register >= FIRST_CSR && register < PRIVILEGE) return this.readCsr(register - FIRST_CSR);
    if (register === PRIVILEGE) return BigInt(hart.state.mode);
    if (!(register >= FIRST_FLOAT && register < FIRST_CSR)) return undefined;
    const at = this.floats + 2 * (register - FIRST_FLOAT);
    const { i32 } = this.cpu.options.memory.memory;
    return pair(i32[at]!, i32[at + 1]!);
  }

  private readCsr(number: number): bigint | undefined {
    const { csr } = this.cpu.hart;
    if (!csr.peek(number)) return undefined;
    return pair(csr.low, this.addressBits === 64 ? csr.high : 0);
  }

  /** Sets a register; false if there is none of this number, or it can't hold the value. */
  writeRegister(register: number, value: bigint): boolean {
    const { hart } = this.cpu;
    const [lo, hi] = [Number(BigInt.asIntN(32, value)), Number(BigInt.asIntN(32, value >> 32n))];
    if (register >= 0 && register < PC) hart.writeX(register, lo, hi);
    else if (register === PC) hart.setPc(lo, hi);
    else if (register >= FIRST_FLOAT && register < FIRST_FLOAT + FLOATS) {
      this.cpu.options.memory.memory.i32.set([lo, hi], this.floats + 2 * (register - FIRST_FLOAT));
    } else if (register >= FIRST_CSR && register < PRIVILEGE) {
      return hart.csr.poke(register - FIRST_CSR, lo, this.addressBits === 64 ? hi : 0);
    } else if (register === PRIVILEGE) return this.setMode(Number(BigInt.asUintN(32, value)));
    else return false;
    return true;
  }

  private setMode(mode: number): boolean {
    if (mode !== RiscvMode.user && mode !== RiscvMode.supervisor && mode !== RiscvMode.machine) return false;
    this.cpu.hart.state.mode = mode;
    this.cpu.hart.selectTlbs();
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

  /** Sets or clears a breakpoint; false if there are too many. */
  setBreakpoint(address: bigint, enabled: boolean): boolean {
    if (enabled && !this.breakpoints.has(address) && this.breakpoints.size >= MOST_POINTS) return false;
    if (enabled) this.breakpoints.add(address);
    else this.breakpoints.delete(address);
    this.cpu.engine.setBreakpoints(new Set(this.breakpoints));
    return true;
  }

  /** Sets or clears a watchpoint; false if there are too many, or it watches nothing or too much. */
  setWatchpoint(kind: RiscvWatchKind, address: bigint, length: number, enabled: boolean): boolean {
    const point: Watchpoint = { kind, address, length };
    const { watchpoints } = this;
    if (enabled) {
      if (length < 1 || length > MOST_WATCHED || watchpoints.size >= MOST_POINTS) return false;
      watchpoints.add(point);
    } else watchpoints.remove(point);
    this.watch();
    return true;
  }

  /** Clears all breakpoints and watchpoints. */
  clearPoints(): void {
    this.breakpoints.clear();
    this.cpu.engine.setBreakpoints(new Set());
    this.watchpoints = new Watchpoints();
    this.watch();
  }

  /**
   * Why the last run, or step, ended early; undefined if nothing of the debugger's ended it. A hart that waits before a
   * breakpoint has reached it: WFI may complete at any time, and debuggers step by breakpoints where they know how.
   */
  stopReason(): RiscvStop | undefined {
    const { hart, engine } = this.cpu;
    const { hit } = this.watchpoints;
    if (hit !== undefined) return { watch: hit.kind, address: hit.address };
    if (hart.waiting && this.breakpoints.has(pair(hart.pcLow, hart.pcHigh))) {
      hart.waiting = false;
      return "breakpoint";
    }
    return engine.atBreakpoint ? "breakpoint" : undefined;
  }

  /**
   * Runs one instruction; before a watched access it stops as a run does. WFI completes as a nop, before the step and in
   * it (debug specification, 4.9).
   */
  step(): RiscvStop | undefined {
    this.run(!this.isPassing());
    return this.stopReason();
  }

  /** Makes the CPU ready to run: what it has stopped for is passed. */
  beforeRun(): void {
    if (this.isPassing()) this.run(false);
    else this.cpu.engine.passBreakpoint();
  }

  /** Commands of this CPU, by name, for people at a debugger's prompt: what each says it does, and does. */
  get commands(): Readonly<Record<string, { readonly help: string; run(argument: string): string }>> {
    return {
      translate: {
        help: "translate ADDRESS: the physical address of a virtual one in the current mode",
        run: (argument) => this.describeAddress(argument),
      },
      trap: { help: "trap: the last exception", run: () => this.describeTrap() },
    };
  }

  /** Whether the last stop was before a watched access that is still to come; then it is forgotten. */
  private isPassing(): boolean {
    const { hart } = this.cpu;
    const isPassing =
      this.watchpoints.hit !== undefined && this.watchpoints.hitAt === pair(hart.pcLow, hart.pcHigh);
    this.watchpoints.hit = undefined;
    return isPassing;
  }

  private run(isWatching: boolean): void {
    const { engine, hart } = this.cpu;
    engine.passBreakpoint();
    hart.waiting = false;
    this.watchpoints.isOff = !isWatching;
    this.cpu.run(1);
    this.watchpoints.isOff = false;
    hart.waiting = false;
  }

  private watch(): void {
    const { hart, tlb } = this.cpu;
    hart.watchpoints = this.watchpoints.size === 0 ? undefined : this.watchpoints;
    tlb.flush();
  }

  private describeAddress(text: string): string {
    if (!/^(0x)?[0-9a-f]{1,16}$/i.test(text)) return "translate needs an address: translate 80000000";
    const address = BigInt(text.startsWith("0x") ? text : `0x${text}`);
    const { hart } = this.cpu;
    const [lo, hi] = [Number(BigInt.asIntN(32, address)), Number(BigInt.asIntN(32, address >> 32n))];
    const found = (
      [
        ["read", AccessKind.read],
        ["write", AccessKind.write],
        ["execute", AccessKind.fetch],
      ] as const
    ).map(([name, kind]) => {
      const result = hart.resolve(kind, lo, hi, true);
      const fault = result === WalkResult.pageFault ? "page fault" : "access fault";
      return `${name} ${result === WalkResult.ok ? `0x${hart.gpa.toString(16)}` : fault}`;
    });
    return `0x${address.toString(16)} in ${modeLetters[hart.state.mode]} mode: ${found.join(", ")}`;
  }

  private describeTrap(): string {
    const [cause = 0, pcLo = 0, pcHi = 0, valueLo = 0, valueHi = 0] = this.cpu.hart.lastTrap;
    if (this.cpu.hart.counters.exceptions === 0) return "no exception so far";
    const name = exceptionNames[cause] ?? `cause ${cause}`;
    return `${name} at 0x${pair(pcLo, pcHi).toString(16)}, value 0x${pair(valueLo, valueHi).toString(16)}`;
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
