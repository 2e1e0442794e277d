/**
 * Assembly programs in the JavaScript interpreter and, in slices of any length, in another tier: after each slice both
 * have retired the same instructions and have the same state.
 */
import { assemble } from "@hyperfile/decoder";
import { expect } from "vitest";
import { RiscvCpu, riscvMemory } from "../src/arch/riscv/index.js";
import { snapshot } from "./lockstep.js";

/** Guest-physical address of a program's first byte. */
export const RAM = 0x80000000;
const RAM_BYTES = 0x80000;

/** What a CPU is made from, besides the program. */
export interface ProgramOptions extends Partial<RiscvCpu["options"]> {
  readonly codePages?: number;
  /** Sets up what the program finds. */
  readonly prepare?: (cpu: RiscvCpu) => void;
}

/** Makes a CPU in M mode with a program in place, floating point on. */
export function programCpu(source: string, options: ProgramOptions = {}): RiscvCpu {
  const { codePages = 16, prepare, xlen = 64, ...rest } = options;
  const { bytes } = assemble(source, { xlen, origin: RAM });
  const memory = riscvMemory({ ramBytes: RAM_BYTES, codePages });
  memory.guest.write(RAM, bytes);
  const cpu: RiscvCpu = new RiscvCpu({
    xlen,
    memory,
    bus: { read: () => undefined, write: () => false },
    clock: { now: () => 0 },
    verify: "all",
    hotThreshold: 3,
    ...rest,
  });
  cpu.start({ pcLo: RAM | 0, pcHi: 0, mode: 3, args: [] });
  memory.memory.i32[(0x100 + cpu.frontEnd.shape.slots.get("fs")!.offset) >> 2] = 3;
  prepare?.(cpu);
  return cpu;
}

/** A word of RAM. */
export function peek(cpu: RiscvCpu, gpa: number): number {
  const bytes = new Uint8Array(4);
  cpu.options.memory.guest.read(gpa, bytes);
  return new DataView(bytes.buffer).getInt32(0, true);
}

/** Lengths of slices, in turn: long ones for regions, short ones to end them anywhere. */
const SLICES = [1000, 1, 2, 3, 5, 1, 1, 7, 19, 100, 4, 61, 13];

/**
 * Runs a program for `instructions` instructions in the interpreter and in tier `wasm`, in slices of the lengths
 * `slices` in turn; gives the second CPU. `what` names the program in messages.
 */
export function agree(
  source: string,
  instructions: number,
  options: ProgramOptions = {},
  slices: readonly number[] = SLICES,
  what = "the program",
): RiscvCpu {
  const left = programCpu(source, { ...options, tier: "interpreter", verify: "off" });
  const right = programCpu(source, { tier: "wasm", ...options });
  for (let turn = 0; right.retired() < instructions; turn++) {
    const slice = slices[turn % slices.length]!;
    const where = `${what}: a slice of ${slice} after ${left.retired()} instructions`;
    const ends = [left.run(slice), right.run(slice)];
    if (snapshot(left) !== snapshot(right)) {
      // An exception retires nothing, so a slice may end before it or after it: one more instruction settles that.
      left.run(1);
      right.run(1);
    }
    expect(snapshot(right), where).toBe(snapshot(left));
    expect(right.retired(), where).toBe(left.retired());
    expect(ends[0], where).toBe(ends[1]);
  }
  const bytes = [left, right].map((cpu) => {
    const all = new Uint8Array(RAM_BYTES);
    cpu.options.memory.guest.read(RAM, all);
    return all;
  });
  expect(
    bytes[0]!.findIndex((byte, at) => byte !== bytes[1]![at]),
    "the first byte of memory that differs",
  ).toBe(-1);
  return right;
}
