/** The translator view's programs as its workers have them: every offered one runs to its end, and counts are exact. */
import { describe, expect, it } from "vitest";
import type { IsaName, MachineState, RunMode } from "../src/translator/protocol.js";
import { samples } from "../src/translator/samples.js";
import { Session } from "../src/translator/session.js";
import { translate } from "../src/translator/translation.js";

/** A program that stands before its first instruction. */
function open(isa: IsaName, source: string, breakpoints: readonly string[] = []) {
  const { image } = translate(isa, source, undefined);
  const states: MachineState[] = [];
  const session = new Session({ kind: "load", id: 1, image, breakpoints }, (state) => states.push(state));
  const last = (): MachineState => states.at(-1)!;
  return {
    session,
    last,
    register: (name: string) => last().registers.find((each) => each.name === name)!.reading,
    run: (mode: RunMode): MachineState => {
      session.take({ kind: "run", mode });
      while (session.isRunning) session.turn();
      return last();
    },
  };
}

const sum = (turns: number) => `
        li      a0, 0
        li      a1, ${turns}
loop:   add     a0, a0, a1
        addi    a1, a1, -1
        bnez    a1, loop
        ebreak`;

describe("offered programs", () => {
  const results: Readonly<Record<string, readonly [register: string, reading: string]>> = {
    "rv64 Sum of a loop": ["a0", "1250000025000000"],
    "rv32 Sum of a loop": ["a0", String(1250000025000000n & 0x7fffffffn)],
    "rv64 CRC-32 of a text": ["a0", String(0xcbf43926)],
    "rv32 CRC-32 of a text": ["a0", String(0xcbf43926 | 0)],
    "rv64 Sieve of primes": ["a0", "9592"],
    "rv32 Sieve of primes": ["a0", "9592"],
    "rv64 Copy of memory": ["s0", "0"],
    "rv64 Recursion: Fibonacci": ["a0", "196418"],
    "rv64 Floating point: pi": ["fa0", "3.141592"],
    "6502 Sum in 16 bits": ["y", "127"],
    "6502 Sieve of primes": ["y", "54"],
  };
  const offered = samples.flatMap(({ name, isas, source }) =>
    isas.map((isa) => ({ isa, name, source, title: `${isa} ${name}` })),
  );

  it("are those that are tested", () => {
    expect(offered.map(({ title }) => title).sort()).toEqual(Object.keys(results).sort());
  });

  for (const { isa, source, title } of offered) {
    it(`${title}: ends with what it is to compute, most of it translated`, () => {
      const program = open(isa, source);
      const { status, ending, translated, interpreted } = program.run("engine");
      expect([status, ending]).toEqual(["ended", expect.stringMatching(/^(ebreak|brk) at 0x/)]);
      const [register, reading] = results[title]!;
      expect(program.register(register).slice(0, reading.length)).toBe(reading);
      if (interpreted + translated > 1e6) expect(translated).toBeGreaterThan(interpreted);
    });
  }
});

describe("counts", () => {
  it("are how often each instruction ran, in counted runs", () => {
    const { executions, interpreted, translated } = open("rv64", sum(1000)).run("counted");
    expect(Object.fromEntries(executions)).toEqual({
      "0x80000000": 1,
      "0x80000002": 1,
      "0x80000006": 1000,
      "0x80000008": 1000,
      "0x8000000a": 1000,
      "0x8000000c": 1,
    });
    expect(interpreted + translated).toBe(2 + 3 * 1000);
  });

  it("are arrivals by jumps, until a block becomes a region, in the engine's runs", () => {
    const few = open("rv64", sum(1000)).run("engine");
    expect(few.blocks.find(({ address }) => address === "0x80000006")).toMatchObject({ arrivals: 999 });
    expect(few.blocks.every(({ region }) => region === undefined)).toBe(true);
    expect([few.interpreted, few.translated]).toEqual([3002, 0]);

    const many = open("rv64", sum(1_000_000)).run("engine");
    const loop = many.blocks.find(({ address }) => address === "0x8000000a")!;
    expect(loop.arrivals).toBe(many.threshold);
    expect(loop.region).toMatchObject({ instructions: 3 });
    expect(loop.samples).toBeGreaterThan(0);
    expect(many.interpreted + many.translated).toBe(3 + 3 * 1_000_000);
    expect(many.translated).toBeGreaterThan(2_900_000);
  });

  it("are cycles on the 6502", () => {
    const program = open("6502", "ldx #0\nloop: inx\nbne loop\nbrk");
    const { unit, interpreted, executions } = program.run("counted");
    // LDX 2, INX 2 and BNE 3 (the last one 2) 256 times, BRK 7.
    expect([unit, interpreted]).toEqual(["cycles", 2 + 256 * 5 - 1 + 7]);
    expect(Object.fromEntries(executions)).toEqual({ "0x400": 1, "0x402": 256, "0x403": 256, "0x405": 1 });
  });
});

describe("stops", () => {
  it("are breakpoints, before their instruction, in both ways of running", () => {
    for (const mode of ["engine", "counted"] as const) {
      for (const [isa, source, at, register, readings] of [
        ["rv64", sum(3), "0x80000004", "a0", ["0", "3", "5", "6"]],
        ["6502", "ldx #0\nloop: inx\ncpx #3\nbne loop\nbrk", "0x403", "x", ["1", "2", "3", "3"]],
      ] as const) {
        const program = open(isa, source, [at]);
        for (const reading of readings.slice(0, 3)) {
          expect(program.run(mode)).toMatchObject({ status: "breakpoint", pc: at });
          expect(program.register(register)).toBe(reading);
        }
        expect(program.run(mode)).toMatchObject({ status: "ended" });
        expect(program.register(register)).toBe(readings[3]);
      }
    }
  });

  it("are exceptions that nothing handles, at their instruction", () => {
    for (const [source, ending, pc] of [
      ["nop\n.word 0", "illegal instruction at 0x80000002", "0x80000002"],
      ["lw a0, 0(zero)", "load access fault at 0x80000000", "0x80000000"],
      ["ecall", "ecall from M mode at 0x80000000", "0x80000000"],
      ["jr zero", "instruction access fault at 0x0", "0x0"],
      ["wfi", "wfi before 0x80000004 waits for an interrupt, and none will come", "0x80000004"],
      ["csrw mtvec, zero\necall", expect.stringContaining("ecall from M mode at 0x80000004"), "0x0"],
    ] as const) {
      expect(open("rv64", source).run("engine")).toMatchObject({ status: "ended", ending, pc });
    }
    const jammed = open("6502", ".byte $02\nnop").run("engine");
    expect(jammed.ending).toBe("an opcode that locks the chip up, at 0x400");
  });

  it("leave nothing to run until a reset, which begins anew", () => {
    const program = open("rv64", sum(10));
    expect(program.run("engine").status).toBe("ended");
    program.session.take({ kind: "step" });
    expect(program.last()).toMatchObject({ status: "ended", pc: "0x8000000a" });
    program.session.take({ kind: "reset" });
    expect(program.last()).toMatchObject({
      status: "ready",
      pc: "0x80000000",
      interpreted: 0,
      executions: [],
    });
    expect(program.run("counted").status).toBe("ended");
    expect(program.register("a0")).toBe("55");
  });
});
