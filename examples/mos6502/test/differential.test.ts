/**
 * Random instructions and random programs do the same as in an independent implementation, cycles included: one
 * instruction at a time, and in blocks and regions of many. MOS6502_STEPS and MOS6502_PROGRAMS in the environment ask
 * for more of them.
 */
import { describe, expect, it } from "vitest";
import { Machine, opcodes } from "../src/index.js";
import { Reference, random, type State, setState, stateOf } from "./reference.js";

const STEPS = Number(process.env.MOS6502_STEPS ?? 20_000);
const PROGRAMS = Number(process.env.MOS6502_PROGRAMS ?? 12);
/** Instructions after which all of memory is compared. */
const ROUND = 5000;

function anyState(next: (below: number) => number, pc: number): State {
  return { a: next(256), x: next(256), y: next(256), s: next(256), p: next(256) | 0x30, pc };
}

/** An opcode that goes on, at random. */
function anyOpcode(next: (below: number) => number, except: readonly string[] = ["jam"]): number {
  for (;;) {
    const byte = next(256);
    if (!except.includes(opcodes[byte]!.name)) return byte;
  }
}

describe("single instructions", () => {
  it(`agree with an independent implementation, ${STEPS} of them`, { timeout: 3_600_000 }, async () => {
    const next = random(6502);
    const reference = new Reference();
    const machine = new Machine({ decimal: false, tier: "wasm-interpreter" });
    for (let at = 0; at < 0x10000; at++) reference.memory[at] = next(256);
    machine.load(0, reference.memory);
    const { cpu } = machine;
    for (let step = 0; step < STEPS; step++) {
      const pc = next(0x10000);
      const bytes = [anyOpcode(next), next(256), next(256)];
      bytes.forEach((byte, place) => {
        const at = (pc + place) & 0xffff;
        reference.memory[at] = byte;
        machine.load(at, Uint8Array.of(byte));
      });
      const before = anyState(next, pc);
      setState(machine, before);
      reference.state = before;
      const [cycles, from] = [reference.cycles, machine.cycles];
      reference.written = [];
      machine.run(1);
      reference.emulate();
      const what = `step ${step}: ${bytes} from ${JSON.stringify(before)}`;
      const got = { ...stateOf(machine), cycles: machine.cycles - from };
      const expected = { ...reference.state, cycles: reference.cycles - cycles };
      if (JSON.stringify(got) !== JSON.stringify(expected)) expect(got, what).toEqual(expected);
      for (const at of reference.written)
        if (machine.peek(at) !== reference.memory[at])
          expect(machine.peek(at), `${what}, at ${at}`).toBe(reference.memory[at]);
      if (step % ROUND === 0) expect(Buffer.compare(cpu.read(0, 0x10000), reference.memory), what).toBe(0);
    }
    expect(Buffer.compare(cpu.read(0, 0x10000), reference.memory)).toBe(0);
  });
});

describe.each(["js", "wasm", "interpreter"] as const)("programs in tier %s", (tier) => {
  it(`agree with single steps, ${PROGRAMS} of them`, { timeout: 3_600_000 }, async () => {
    const next = random(1976);
    const machine = new Machine({ decimal: false, tier, hotThreshold: 8, verify: "all" });
    for (let program = 0; program < PROGRAMS; program++) {
      const reference = new Reference();
      for (let at = 0; at < 0x10000; at++) reference.memory[at] = next(256);
      const start = 0x400 + next(0x200);
      let at = start;
      for (let insn = 0; insn < 40; insn++) {
        const byte = anyOpcode(next, ["jam", "brk", "rti", "rts", "jmp", "jsr", "las", "tas", "txs"]);
        const { mode, length } = opcodes[byte]!;
        // Branches lead forward, and addresses seldom into the program.
        const operand = mode === "rel" ? [next(12)] : [next(256), 2 + next(250)];
        reference.memory.set([byte, ...operand].slice(0, length), at);
        at += length;
      }
      const back = program % 2 === 0 ? [0x4c] : [0xea, 0x4c];
      reference.memory.set([...back, start & 0xff, start >> 8], at);
      machine.load(0, reference.memory);
      const before = anyState(next, start);
      setState(machine, before);
      reference.state = before;
      for (let budget = 1, used = 0; used < 12_000; used += budget, budget = 1 + next(2000)) {
        const [end, from] = [reference.cycles + budget, machine.cycles];
        const began = reference.cycles;
        let isJammed = false;
        try {
          while (reference.cycles < end) reference.emulate();
        } catch {
          isJammed = true;
        }
        const result = machine.run(budget);
        if (isJammed) {
          expect(result).toBe("jam");
          break;
        }
        const what = `program ${program} at ${start} after ${used + budget}`;
        expect({ ...stateOf(machine), cycles: machine.cycles - from }, what).toEqual({
          ...reference.state,
          cycles: reference.cycles - began,
        });
      }
      expect(Buffer.compare(machine.cpu.read(0, 0x10000), reference.memory), `program ${program}`).toBe(0);
      await new Promise(setImmediate);
    }
    const { translated, interpreted } = machine.cpu.engine.counters;
    if (tier === "interpreter") expect(translated).toBe(0);
    else expect(translated).toBeGreaterThan(interpreted);
  });
});
