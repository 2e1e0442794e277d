/** A 6502 with a program. BRK leads to an opcode that locks the chip up, and the chip is then put back before it. */
import { Machine, setStatus, vectors } from "../../../mos6502/src/cpu.js";
import { findOpcode } from "../../../mos6502/src/opcodes.js";
import type { Guest, GuestStop } from "./guest.js";
import { hex } from "./isas.js";
import type { CodeImage, RegisterValue } from "./protocol.js";

/** Where BRK leads to. */
const HANDLER = 0xfff0;
const STACK = 0x100;
/** The stack pointer's first value, as programs set it. */
const STACK_START = 0xff;
const BRK_LENGTH = 2;
const flagNames = "NV-BDIZC";

/** A chip that stands before a program's first instruction. */
export class Mos6502Guest implements Guest {
  readonly unit = "cycles";
  readonly own = 0;
  private readonly machine = new Machine({ tier: "wasm" });

  constructor({ origin, bytes }: CodeImage) {
    const { machine } = this;
    machine.load(origin, bytes);
    machine.load(HANDLER, Uint8Array.of(findOpcode("jam", "imp")!.byte));
    for (const vector of Object.values(vectors))
      machine.load(vector, Uint8Array.of(HANDLER & 0xff, HANDLER >> 8));
    machine.cpu.set("s", STACK_START);
    machine.p = 0;
    machine.pc = origin;
  }

  get engine() {
    return this.machine.cpu.engine;
  }

  get pc(): number {
    return this.machine.pc;
  }

  step(): GuestStop | undefined {
    this.engine.passBreakpoint();
    const stop = this.run(1);
    if (stop !== undefined) return stop;
    return this.pc === HANDLER ? this.ended() : undefined;
  }

  beforeRun(): void {
    this.engine.passBreakpoint();
  }

  run(budget: number): GuestStop | undefined {
    const end = this.machine.cpu.run(budget);
    if (this.engine.atBreakpoint) return "breakpoint";
    if (end !== "fault") return undefined;
    return this.pc === HANDLER
      ? this.ended()
      : { ending: `an opcode that locks the chip up, at ${hex(this.pc)}` };
  }

  setBreakpoints(addresses: ReadonlySet<number>): void {
    this.engine.setBreakpoints(new Set([...addresses].map(BigInt)));
  }

  registers(): RegisterValue[] {
    const { cpu, p } = this.machine;
    const flags = [...flagNames].map((name, at) => ((p >> (7 - at)) & 1 ? name : "·")).join("");
    return [
      ...(["a", "x", "y", "s"] as const).map((name) => {
        const value = cpu.get(name) & 0xff;
        return { name, hex: byteText(value), reading: String(value) };
      }),
      { name: "p", hex: byteText(p), reading: flags },
    ];
  }

  /** Puts the chip back before the BRK that pushed its address and its flags. */
  private ended(): GuestStop {
    const { machine } = this;
    const { cpu } = machine;
    const s = cpu.get("s");
    const [p, low, high] = [1, 2, 3].map((distance) => machine.peek(STACK | ((s + distance) & 0xff))) as [
      number,
      number,
      number,
    ];
    cpu.set("s", (s + 3) & 0xff);
    setStatus(cpu, p);
    machine.pc = (low | (high << 8)) - BRK_LENGTH;
    return { ending: `brk at ${hex(machine.pc)}` };
  }
}

const byteText = (value: number): string => `0x${value.toString(16).padStart(2, "0")}`;
