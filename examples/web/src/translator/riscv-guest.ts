/**
 * A RISC-V hart with a program. Exceptions that the program has no handler for lead to an instruction of ours, WFI in a
 * ROM; the hart is then put back to where the exception came from.
 */
import { floatNames, integerNames } from "@hyperfile/decoder";
import {
  exceptionNames,
  RiscvCause,
  RiscvCpu,
  RiscvDebug,
  RiscvMode,
  riscvMemory,
} from "@hyperfile/jit/riscv";
import type { Guest, GuestStop } from "./guest.js";
import { hex, isas, RISCV_RAM_BYTES } from "./isas.js";
import type { CodeImage, RegisterValue } from "./protocol.js";

const PC = 32;
const FIRST_FLOAT = 33;
const FLOATS = 32;
const STACK_POINTER = 2;
/** Numbers of CSRs (privileged manual, chapter 2), as the debugger's registers have them. */
const csr = (number: number): number => 65 + number;
const MSTATUS = csr(0x300);
const MTVEC = csr(0x305);
const MEPC = csr(0x341);
const MCAUSE = csr(0x342);
const MTVAL = csr(0x343);
/** `mstatus.FS` initial: floating point works. */
const FS_INITIAL = 1n << 13n;
const WFI = Uint8Array.of(0x73, 0x00, 0x50, 0x10);
const PAGE = 4096;
/** Where the handler is. */
const HANDLER = 0x1000;
/** Pages of code that are kept: a program's, and what it writes. */
const CODE_PAGES = 64;
/** Ticks of the hart's clock in a millisecond. */
const TICKS = 10_000;

/** A hart that stands before a program's first instruction. */
export class RiscvGuest implements Guest {
  readonly unit = "instructions";
  private readonly cpu: RiscvCpu;
  private readonly debug: RiscvDebug;
  own = 0;
  private readonly xlen: 32 | 64;
  private breakpoints: ReadonlySet<number> = new Set();

  constructor({ isa, origin, bytes }: CodeImage) {
    this.xlen = isa === "rv64" ? 64 : 32;
    const memory = riscvMemory({
      ramBytes: RISCV_RAM_BYTES,
      ramBase: isas[isa].origin,
      regions: [{ kind: "rom", name: "handler", base: HANDLER, bytes: PAGE, contents: WFI }],
      codePages: CODE_PAGES,
    });
    this.cpu = new RiscvCpu({
      xlen: this.xlen,
      memory,
      bus: { read: () => undefined, write: () => false },
      clock: { now: () => Math.floor(performance.now() * TICKS) },
      tier: "wasm",
    });
    memory.guest.write(origin, bytes);
    this.cpu.start({ pcLo: origin | 0, pcHi: 0, mode: RiscvMode.machine, args: [] });
    this.debug = new RiscvDebug(this.cpu);
    this.debug.writeRegister(STACK_POINTER, BigInt(origin + RISCV_RAM_BYTES));
    this.debug.writeRegister(MTVEC, BigInt(HANDLER));
    this.debug.writeRegister(MSTATUS, this.read(MSTATUS) | FS_INITIAL);
  }

  get engine() {
    return this.cpu.engine;
  }

  get pc(): number {
    const { pcLow, pcHigh } = this.cpu.hart;
    return (this.xlen === 64 ? (pcHigh >>> 0) * 2 ** 32 : 0) + (pcLow >>> 0);
  }

  step(): GuestStop | undefined {
    this.debug.step();
    return this.isInHandler ? this.ended() : undefined;
  }

  beforeRun(): void {
    this.debug.beforeRun();
  }

  run(budget: number): GuestStop | undefined {
    const end = this.cpu.run(budget);
    if (this.debug.stopReason() !== undefined) return "breakpoint";
    if (this.isInHandler) return this.ended();
    if (this.engine.stuck) return { ending: this.cpu.describeStuck() };
    if (end === "wait")
      return { ending: `wfi before ${hex(this.pc)} waits for an interrupt, and none will come` };
    return undefined;
  }

  setBreakpoints(addresses: ReadonlySet<number>): void {
    for (const address of this.breakpoints)
      if (!addresses.has(address)) this.debug.setBreakpoint(BigInt(address), false);
    for (const address of addresses)
      if (!this.breakpoints.has(address)) this.debug.setBreakpoint(BigInt(address), true);
    this.breakpoints = new Set(addresses);
  }

  registers(): RegisterValue[] {
    const { xlen } = this;
    const integers = integerNames.map((name, number) => {
      const value = this.read(number);
      return { name, hex: padded(value, xlen), reading: BigInt.asIntN(xlen, value).toString() };
    });
    const floats: RegisterValue[] = [];
    for (let number = 0; number < FLOATS; number++) {
      const value = this.read(FIRST_FLOAT + number);
      if (value !== 0n)
        floats.push({ name: floatNames[number]!, hex: padded(value, 64), reading: floatReading(value) });
    }
    return [...integers, ...floats];
  }

  /** Whether WFI there comes next, or has just run. */
  private get isInHandler(): boolean {
    const { pc } = this;
    return pc === HANDLER || pc === HANDLER + WFI.length;
  }

  private read(register: number): bigint {
    return this.debug.readRegister(register)!;
  }

  /** The handler was reached: puts the hart back before the instruction that raised the exception. */
  private ended(): GuestStop {
    if (this.pc !== HANDLER) this.own++;
    const at = this.read(MEPC);
    const cause = Number(this.read(MCAUSE));
    const value = this.read(MTVAL);
    this.cpu.hart.waiting = false;
    this.debug.writeRegister(PC, at);
    if (cause === RiscvCause.breakpoint) return { ending: `ebreak at ${hex(at)}` };
    const name = exceptionNames[cause] ?? `exception ${cause}`;
    return { ending: `${name} at ${hex(at)}${value === 0n ? "" : `, value ${hex(value)}`}` };
  }
}

const padded = (value: bigint, bits: number): string => `0x${value.toString(16).padStart(bits / 4, "0")}`;

/** Upper half of a register that holds a number of single precision. */
const BOXED = 0xffffffffn;

function floatReading(value: bigint): string {
  const view = new DataView(new ArrayBuffer(8));
  view.setBigUint64(0, value);
  return value >> 32n === BOXED ? `${view.getFloat32(4)} (single)` : String(view.getFloat64(0));
}
