/**
 * An independent 6502 to compare with: the CPU of the npm package jsnes, with 64 KiB of plain memory in place of the
 * console's bus. It has no decimal mode.
 */
import { NES } from "jsnes";
import type { Machine } from "../src/index.js";

/** What of jsnes's CPU is used here; the package does not declare it. */
interface JsnesCpu {
  REG_ACC: number;
  REG_X: number;
  REG_Y: number;
  REG_SP: number;
  REG_PC: number;
  cycles: number;
  lastDmaEndCycle: number;
  read(address: number): number;
  write(address: number, value: number): void;
  getStatus(): number;
  setStatus(p: number): void;
  /** Runs one instruction; gives its cycles. Throws at an opcode that locks the CPU up. */
  emulate(): number;
}

type NesWithCpu = { cpu: { constructor: new (nes: unknown) => JsnesCpu } };

const JsnesCpuClass = (new NES({}) as unknown as NesWithCpu).cpu.constructor;

/** The reference CPU. */
export class Reference extends JsnesCpuClass {
  readonly memory = new Uint8Array(0x10000);
  /** Addresses that were written since this was emptied. */
  written: number[] = [];

  constructor() {
    super({});
    this.lastDmaEndCycle = -100;
    this.cycles = 0;
  }

  override read(address: number): number {
    this.cycles++;
    return this.memory[address]!;
  }

  override write(address: number, value: number): void {
    this.cycles++;
    this.memory[address] = value;
    this.written.push(address);
  }

  /** The registers as {@link stateOf} gives them. */
  get state(): State {
    return {
      a: this.REG_ACC,
      x: this.REG_X,
      y: this.REG_Y,
      s: this.REG_SP,
      p: this.getStatus() | 0x30,
      pc: this.REG_PC,
    };
  }
  set state({ a, x, y, s, p, pc }: State) {
    this.REG_ACC = a;
    this.REG_X = x;
    this.REG_Y = y;
    this.REG_SP = s;
    this.setStatus(p | 0x30);
    this.REG_PC = pc;
  }
}

/** The registers. */
export interface State {
  readonly a: number;
  readonly x: number;
  readonly y: number;
  readonly s: number;
  readonly p: number;
  readonly pc: number;
}

/** The registers of a machine. */
export const stateOf = (machine: Machine): State => ({
  a: machine.cpu.get("a"),
  x: machine.cpu.get("x"),
  y: machine.cpu.get("y"),
  s: machine.cpu.get("s"),
  p: machine.p,
  pc: machine.pc,
});

/** Sets the registers of a machine. */
export function setState(machine: Machine, { a, x, y, s, p, pc }: State): void {
  for (const [slot, value] of Object.entries({ a, x, y, s })) machine.cpu.set(slot, value);
  machine.p = p;
  machine.pc = pc;
}

/** Numbers from 0 to `below` - 1, the same for the same seed (mulberry32). */
export function random(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * below);
  };
}
