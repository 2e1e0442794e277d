/**
 * Instructions that do more than one thing: generated ones, with stores before jumps, several stores, helpers and
 * faults in the middle, against a machine that does what they say one step after another. Stores hit data, code (of the
 * instruction itself, too) and devices that stop the CPU or interrupt it.
 */
import {
  type Fields,
  type Helper,
  type InsnBuilder,
  insnRow,
  riscvFrontEnd,
  rowFrontEnd,
  type Value,
} from "@hyperfile/decoder";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { lateExits } from "../passes/late-exits.js";
import { FlatCpu } from "./flat-cpu.js";
import { tiers as allTiers, type Tier } from "./tiers.js";

const tiers = allTiers.filter((tier) => tier !== "auto");

/** One step of an instruction. */
type Step =
  | {
      readonly do: "store";
      readonly width: 8 | 16 | 32;
      readonly base: number;
      readonly at: number;
      readonly from: number;
    }
  | { readonly do: "load"; readonly base: number; readonly at: number; readonly to: number }
  | { readonly do: "add"; readonly to: number; readonly by: number }
  | { readonly do: "pick" }
  | { readonly do: "ask" }
  | { readonly do: "trapif" }
  | { readonly do: "charge" };
type End = "next" | "jump" | "branch" | "indirect" | "call" | "leave" | "trap";
interface Kind {
  readonly steps: readonly Step[];
  readonly end: End;
  readonly cost: number;
}

/** Registers with a meaning: three kinds of addresses, a word of code, a counter, where jumps lead, what is loaded. */
const [DATA, CODE, STOPS, INTERRUPTS, WORD, COUNT, TARGET, FREE, NOWHERE] = [0, 1, 2, 3, 4, 5, 6, 7, 8];
const START = 0xff0; // so that the program lies in two pages
const LENGTH = 12;
const TABLE = 0x3000;
const initial = [0x2000, START, 0xffffff00 | 0, 0xffffff80 | 0, 0, 0, START + 8, 0, 0x8000];
const STOP_CAUSE = 9;

const ask: Helper = {
  name: "ask",
  parameters: [],
  result: null,
  effects: { reads: true, writes: true, exits: true },
};

type Names = "imm";
function emit(m: InsnBuilder, f: Fields<Names>, { steps, end }: Kind): void {
  const r = (index: number) => m.get("r", index);
  const plus = (index: number, by: number): Value => m.binary("add", r(index), m.const32(by));
  for (const step of steps) {
    switch (step.do) {
      case "store":
        m.store(step.width, plus(step.base, step.at), r(step.from));
        break;
      case "load":
        m.set("r", step.to, m.load("i32", 32, plus(step.base, step.at), false));
        break;
      case "add":
        m.set("r", step.to, plus(step.to, step.by));
        break;
      case "pick": {
        const offset = m.shift("shl", m.binary("and", r(COUNT), m.const32(3)), m.const32(2));
        m.set("r", WORD, m.load("i32", 32, m.binary("add", offset, m.const32(TABLE)), false));
        break;
      }
      case "ask":
        m.call(ask, []);
        break;
      case "trapif":
        m.trapIf(m.compare("eq", m.binary("and", r(COUNT), m.const32(7)), m.const32(5)), STOP_CAUSE, r(FREE));
        break;
      case "charge":
        m.charge(m.binary("and", r(COUNT), m.const32(3)), 3);
    }
  }
  if (end === "jump") m.jump(m.target(f.imm));
  else if (end === "branch") m.branch(m.binary("and", r(COUNT), m.const32(1)), m.target(f.imm), m.next);
  else if (end === "indirect") m.jumpIndirect(r(TARGET));
  else if (end === "call") {
    m.set("r", FREE, m.link());
    m.jumpIndirect(r(TARGET));
  } else if (end === "leave") m.leaveBy("back");
  else if (end === "trap") m.trap(STOP_CAUSE + 1, r(COUNT));
}

const frontEndOf = (kinds: readonly Kind[], pageBytes: number) =>
  rowFrontEnd({
    name: "several",
    slots: [
      { name: "r", type: "i32", length: 9 },
      { name: "pc", type: "i32", length: 1 },
    ],
    rows: Object.fromEntries(
      kinds.map((kind, index) => [
        `i${index}`,
        insnRow(
          `${(index + 1).toString(2).padStart(8, "0")} 00000000 imm[17:2]`,
          "@imm",
          (m, f) => emit(m, f, kind),
          {
            cost: kind.cost,
          },
        ),
      ]),
    ),
    illegal: 1,
    pageBytes,
  });

/** A program: which instruction stands where, and where it jumps to. */
interface Program {
  readonly kinds: readonly Kind[];
  readonly places: readonly { readonly kind: number; readonly to: number }[];
  readonly table: readonly number[];
}
const wordOf = (kind: number, distance: number): number => ((kind + 1) << 24) | ((distance >> 2) & 0xffff);
const image = ({ places }: Program): number[] =>
  places.map(({ kind, to }, at) => wordOf(kind, 4 * (to - at)));

/** What is seen of a run: everything that devices, handlers and the owner are told. */
type Log = (string | number)[][];
interface Outcome {
  readonly log: Log;
  readonly ram: string;
}
const SLICES = [60, 1, 2, 3, 90, 5, 200, 1, 1, 40];
const RAM_BYTES = 0x4000;
/** Bytes that are not 0, by their addresses. */
const shown = (bytes: Uint8Array): string =>
  [...bytes].flatMap((byte, at) => (byte === 0 ? [] : [`${at.toString(16)}:${byte}`])).join(" ");

/** What two runs first differ in, with what came before. */
function difference(wanted: Outcome, found: Outcome): unknown {
  const at = wanted.log.findIndex((entry, index) => entry.join() !== found.log[index]?.join());
  if (at >= 0)
    return {
      before: wanted.log.slice(Math.max(0, at - 4), at),
      wanted: wanted.log[at],
      found: found.log[at],
    };
  if (found.log.length > wanted.log.length) return { found: found.log[wanted.log.length] };
  return wanted.ram === found.ram ? undefined : { wanted: wanted.ram, found: found.ram };
}

/** A machine that takes the steps of an instruction one after another: the independent expectation. */
function expected(program: Program): Outcome {
  const ram = new DataView(new ArrayBuffer(RAM_BYTES));
  for (const [at, word] of image(program).entries()) ram.setInt32(START + 4 * at, word, true);
  for (const [at, word] of program.table.entries()) ram.setInt32(TABLE + 4 * at, word, true);
  const r = [...initial];
  const log: Log = [];
  let [pc, elapsed, line, stopping] = [START, 0, false, false];
  class Faulted extends Error {}
  const fault = (kind: string, cause: number, value: number): never => {
    log.push(["fault", kind, cause, value >>> 0, pc, elapsed + 1, r.join()]);
    throw new Faulted();
  };
  const write = (address: number, bytes: number, value: number): void => {
    const at = address >>> 0;
    if (at + bytes <= RAM_BYTES) {
      for (let byte = 0; byte < bytes; byte++) ram.setUint8(at + byte, value >> (8 * byte));
      return;
    }
    for (let done = 0; done < bytes; ) {
      // The largest aligned piece that is left.
      const size = Math.min(bytes - done, 4, (at + done) & -(at + done));
      const piece = size === 3 ? 2 : size;
      if (at < 0xffffff00) fault("write", 0, address);
      log.push(["device", at + done, piece, (value >>> (8 * done)) & (2 ** (8 * piece) - 1), elapsed]);
      if (at >= 0xffffff80) line = true;
      else stopping = true;
      done += piece;
    }
  };
  const read = (address: number): number => {
    const at = address >>> 0;
    if (at + 4 > RAM_BYTES) return fault("read", 0, address);
    return ram.getInt32(at, true);
  };
  const step = (): void => {
    if (pc + 4 > RAM_BYTES) fault("fetch", 0, pc);
    const word = ram.getInt32(pc, true);
    const kind = program.kinds[(word >>> 24) - 1];
    if (kind === undefined || ((word >> 16) & 0xff) !== 0) return fault("trap", 1, 0);
    const here = pc;
    const distance = (word << 16) >> 14;
    for (const step of kind.steps) {
      if (step.do === "store") write(r[step.base]! + step.at, step.width / 8, r[step.from]!);
      else if (step.do === "load") r[step.to] = read(r[step.base]! + step.at);
      else if (step.do === "add") r[step.to] = (r[step.to]! + step.by) | 0;
      else if (step.do === "pick") r[WORD] = read(TABLE + 4 * (r[COUNT]! & 3));
      else if (step.do === "ask") {
        log.push(["ask", here, elapsed, r.join()]);
        if (r[COUNT]! % 3 === 0) stopping = true;
      } else if (step.do === "charge") elapsed += r[COUNT]! & 3;
      else if ((r[COUNT]! & 7) === 5) fault("trap", STOP_CAUSE, r[FREE]!);
    }
    pc = here + 4;
    if (kind.end === "jump" || (kind.end === "branch" && (r[COUNT]! & 1) === 1)) pc = (here + distance) >>> 0;
    else if (kind.end === "indirect") pc = r[TARGET]!;
    else if (kind.end === "call") {
      r[FREE] = here + 4;
      pc = r[TARGET]!;
    } else if (kind.end === "leave") pc = START;
    else if (kind.end === "trap") {
      pc = here;
      fault("trap", STOP_CAUSE + 1, r[COUNT]!);
    }
    elapsed += kind.cost;
  };
  for (const slice of SLICES) {
    const end = elapsed + slice;
    stopping = false;
    while (elapsed < end && !stopping) {
      if (line) {
        line = false;
        log.push(["interrupt", pc, elapsed, r.join()]);
      }
      try {
        step();
      } catch (error) {
        if (!(error instanceof Faulted)) throw error;
        elapsed += 1;
        pc = START;
      }
    }
    log.push([stopping ? "stop" : "budget", pc, elapsed, r.join()]);
  }
  return { log, ram: shown(new Uint8Array(ram.buffer)) };
}

function actual(program: Program, tier: Tier, pageBytes: number): Outcome {
  const log: Log = [];
  let line = false;
  const registers = (cpu: FlatCpu) => initial.map((_, index) => cpu.get("r", index));
  const cpu: FlatCpu = new FlatCpu({
    frontEnd: frontEndOf(program.kinds, pageBytes),
    ramBytes: RAM_BYTES,
    tier,
    hotThreshold: 4,
    verify: "all",
    codePages: 8,
    bus: {
      read: () => undefined,
      write: (address, size, value) => {
        if (address < 0xffffff00) return false;
        log.push(["device", address, size, value, cpu.elapsed]);
        if (address >= 0xffffff80) line = true;
        else cpu.stop();
        return true;
      },
    },
    helpers: {
      ask: (cpu) => {
        log.push(["ask", cpu.pc, cpu.elapsed, registers(cpu).join()]);
        if (cpu.get("r", COUNT) % 3 === 0) cpu.stop();
      },
      back: (cpu) => {
        cpu.pc = START;
      },
    },
    onFault: (cpu, { kind, cause, value }) => {
      log.push(["fault", kind, cause, value, cpu.pc, cpu.elapsed, registers(cpu).join()]);
      cpu.pc = START;
    },
    interruptReady: () => line,
    takeInterrupt: (cpu) => {
      line = false;
      log.push(["interrupt", cpu.pc, cpu.elapsed, registers(cpu).join()]);
    },
  });
  const bytes = (words: readonly number[]) => new Uint8Array(Int32Array.from(words).buffer);
  cpu.write(START, bytes(image(program)));
  cpu.write(TABLE, bytes(program.table));
  initial.forEach((value, index) => {
    cpu.set("r", value, index);
  });
  cpu.pc = START;
  for (const slice of SLICES) {
    const end = cpu.run(slice);
    log.push([end, cpu.pc, cpu.elapsed, registers(cpu).join()]);
  }
  return { log, ram: shown(cpu.read(0, RAM_BYTES)) };
}

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 3, arbitrary: fc.record({
    do: fc.constant("store" as const),
    width: fc.constantFrom(8 as const, 16 as const, 32 as const),
    base: fc.constantFrom(DATA, DATA, STOPS, STOPS, INTERRUPTS, INTERRUPTS, NOWHERE),
    at: fc.nat(9),
    from: fc.constantFrom(WORD, COUNT, FREE),
  }) },
  { weight: 3, arbitrary: fc.nat(LENGTH - 1).map((at): Step => ({ do: "store", width: 32, base: CODE, at: 4 * at, from: WORD })) },
  fc.tuple(fc.constantFrom(DATA, DATA, NOWHERE), fc.nat(9)).map(([base, at]): Step => ({ do: "load", base, at, to: FREE })),
  fc.constant<Step>({ do: "add", to: COUNT, by: 1 }),
  fc.constantFrom(-4, 4).map((by): Step => ({ do: "add", to: TARGET, by })),
  fc.constantFrom<Step>({ do: "pick" }, { do: "ask" }, { do: "trapif" }, { do: "charge" }),
); // biome-ignore format: one kind of step a line
const kind: fc.Arbitrary<Kind> = fc.record({
  steps: fc.array(step, { minLength: 1, maxLength: 5 }),
  end: fc.constantFrom<End>("next", "next", "jump", "branch", "indirect", "call", "leave", "trap"),
  cost: fc.constantFrom(1, 1, 3),
});
/** Counts and goes on: so that programs get on. */
const plain: Kind = { steps: [{ do: "add", to: COUNT, by: 1 }], end: "next", cost: 1 };
/** So that both helpers are called. */
const asking: Kind = { steps: [{ do: "ask" }], end: "leave", cost: 1 };
/** What every program begins with: devices that interrupt and stop, a helper, and something after each. */
const ringing: Kind = {
  steps: [
    { do: "store", width: 8, base: INTERRUPTS, at: 0, from: COUNT },
    { do: "add", to: COUNT, by: 1 },
  ],
  end: "next",
  cost: 1,
};
const stopping: Kind = {
  steps: [{ do: "store", width: 16, base: STOPS, at: 2, from: COUNT }, { do: "ask" }, { do: "trapif" }],
  end: "next",
  cost: 1,
};
const program: fc.Arbitrary<Program> = fc
  .record({
    some: fc.array(kind, { minLength: 2, maxLength: 6 }),
    places: fc.array(fc.record({ pick: fc.nat(), to: fc.nat(LENGTH - 1) }), {
      minLength: LENGTH,
      maxLength: LENGTH,
    }),
    table: fc.array(fc.record({ pick: fc.nat(), by: fc.integer({ min: -3, max: 3 }) }), {
      minLength: 4,
      maxLength: 4,
    }),
  })
  .map(({ some, places, table }) => {
    const kinds = [ringing, stopping, plain, asking, ...some];
    return {
      kinds,
      places: places.map(({ pick, to }, at) => ({ kind: at < 2 ? at : pick % kinds.length, to })),
      table: table.map(({ pick, by }) => wordOf(pick % kinds.length, 4 * by)),
    };
  });

describe("instructions of several steps", () => {
  it.each([4096, 256])("happen step by step in every tier, with pages of %d bytes", (pageBytes) => {
    const met = { stop: 0, interrupt: 0, fault: 0, device: 0, ask: 0, budget: 0 };
    fc.assert(
      fc.property(program, (made) => {
        const wanted = expected(made);
        for (const [what] of wanted.log) met[what as keyof typeof met]++;
        for (const tier of tiers)
          expect(difference(wanted, actual(made, tier, pageBytes)), tier).toBeUndefined();
      }),
      { numRuns: 12 },
    );
    // Nothing of all this is agreed on because it never came.
    for (const [what, count] of Object.entries(met)) expect(count, what).toBeGreaterThan(5);
  });
});

it("RISC-V has no such instructions: nothing is looked for in its code", () => {
  for (const { templates } of [riscvFrontEnd(32), riscvFrontEnd(64)])
    expect(templates.filter(({ block }) => lateExits(block).ends.size > 0).map(({ name }) => name)).toEqual(
      [],
    );
});
