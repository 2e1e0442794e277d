/**
 * A CPU around a small front end of its own, with 64-bit registers: faults, interrupts, devices, banks and helpers do
 * the same in every tier, and what is put together wrongly is refused.
 */
import {
  assembleRows,
  type Effects,
  type Field,
  type Helper,
  type InsnBuilder,
  insnRow,
  type RowFrontEnd,
  rowFrontEnd,
  type Type,
} from "@hyperfile/decoder";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { FlatCpu, type FlatCpuOptions } from "./flat-cpu.js";
import { tiers as allTiers, type Tier } from "./tiers.js";

const tiers = allTiers.filter((tier) => tier !== "auto");
const all: Effects = { reads: true, writes: true, exits: true };
const pure: Effects = { reads: false, writes: false, exits: false };
const helper = (
  name: string,
  effects: Effects,
  parameters: Type[] = [],
  result: Type | null = null,
): Helper => ({
  name,
  parameters,
  result,
  effects,
});
const halt = helper("halt", all);
const host = helper("host", all, ["i32"]);
const twice = helper("twice", pure, ["i32"], "i32");

type Registers = Readonly<Record<"rd" | "rs1", Field>>;
type Placed = Readonly<Record<"rs1" | "imm", Field>>;

/** A front end with addresses of `type`; `cost` is that of `slow`. */
function front(type: "i32" | "i64", extra: Partial<Parameters<typeof rowFrontEnd>[0]> = {}): RowFrontEnd {
  const wide = (m: InsnBuilder, f: Field) => (type === "i64" ? m.sext32(m.field(f)) : m.field(f));
  const at = (m: InsnBuilder, { rs1, imm }: Placed) => m.binary("add", m.get("r", rs1), wide(m, imm));
  const compute =
    (op: "add" | "xor" | "mul") =>
    (m: InsnBuilder, { rd, rs1 }: Registers) =>
      m.set("r", rd, m.binary(op, m.get("r", rd), m.get("r", rs1)));
  const word = type === "i64" ? 64 : 32;
  return rowFrontEnd({
    name: `toy-${type}`,
    slots: [
      { name: "r", type, length: 8 },
      { name: "pc", type, length: 1 },
      { name: "epc", type, length: 1 },
      { name: "n", type: "i32", length: 1 },
    ],
    rows: {
      li: insnRow("00000001 rd[2:0] 00000 imm[15:0]", "rd, imm", (m, { rd, imm }) =>
        m.set("r", rd, wide(m, imm)),
      ),
      addi: insnRow("00000010 rd[2:0] rs1[2:0] 00 imm[15:0]", "rd, rs1, imm", (m, f) =>
        m.set("r", f.rd, at(m, f)),
      ),
      add: insnRow("00000011 rd[2:0] rs1[2:0] 000000000000000000", "rd, rs1", compute("add")),
      xor: insnRow("00000100 rd[2:0] rs1[2:0] 000000000000000000", "rd, rs1", compute("xor")),
      mul: insnRow("00000101 rd[2:0] rs1[2:0] 000000000000000000", "rd, rs1", compute("mul")),
      ld: insnRow("00000110 rd[2:0] rs1[2:0] 00 imm[15:0]", "rd, imm(rs1)", (m, f) =>
        m.set("r", f.rd, m.load(type, word, at(m, f), false)),
      ),
      st: insnRow("00000111 rd[2:0] rs1[2:0] 00 imm[15:0]", "rd, imm(rs1)", (m, f) =>
        m.store(word, at(m, f), m.get("r", f.rd)),
      ),
      b: insnRow("00001000 rd[2:0] 00000 imm[15:0]", "rd, @imm", (m, { rd, imm }) =>
        m.branch(m.compare("ne", m.get("r", rd), m.constant(type, 0)), m.target(imm), m.next),
      ),
      call: insnRow("00001001 rd[2:0] 00000 imm[15:0]", "rd, @imm", (m, { rd, imm }) => {
        m.set("r", rd, m.link());
        m.jump(m.target(imm));
      }),
      jr: insnRow("00001010 rd[2:0] 000000000000000000000", "rd", (m, { rd }) =>
        m.jumpIndirect(m.get("r", rd)),
      ),
      host: insnRow("00001011 imm[23:0]", "imm", (m, { imm }) => {
        m.call(host, [m.field(imm)]);
      }),
      twice: insnRow("00001100 imm[23:0]", "imm", (m, { imm }) =>
        m.set("n", 0, m.call(twice, [m.field(imm)])),
      ),
      slow: insnRow("00001101 000000000000000000000000", "", () => {}, { cost: 9 }),
      halt: insnRow("00001110 000000000000000000000000", "", (m) => {
        m.call(halt, []);
        m.leave();
      }),
    },
    illegal: 42,
    ...extra,
  });
}

const narrow = front("i32");
const helpers = {
  halt: (cpu: FlatCpu) => cpu.stop(),
  host: () => {},
  twice: (_: FlatCpu, value = 0) => 2 * value,
};

function cpuOf(source: string, tier: Tier, options: Partial<FlatCpuOptions> = {}): FlatCpu {
  const frontEnd = (options.frontEnd ?? narrow) as RowFrontEnd;
  const cpu = new FlatCpu({
    frontEnd,
    ramBytes: 0x8000,
    tier,
    hotThreshold: 20,
    verify: "all",
    helpers,
    ...options,
  });
  cpu.write(options.ramBase ?? 0, assembleRows(frontEnd, source, options.ramBase ?? 0).bytes);
  cpu.pc = options.ramBase ?? 0;
  return cpu;
}

describe.each(tiers)("a CPU in tier %s", (tier) => {
  it("runs code in ROM and reads it, and its stores there go to the bus", () => {
    const source =
      "li r2, 200\n loop: ld r1, 0x7000(r0)\n add r3, r1\n addi r2, r2, -1\n b r2, loop\n st r3, 0x7008(r0)\n halt";
    const contents = new Uint8Array(0x1000);
    contents.set(assembleRows(narrow, source, 0x7800).bytes, 0x800);
    contents[0] = 5;
    const stores: number[][] = [];
    const bus = {
      read: () => undefined,
      write: (...store: number[]) => stores.push(store) > 0,
    };
    const memoryRegions = [{ kind: "rom", name: "cartridge", base: 0x7000, contents }] as const;
    const cpu = cpuOf("halt", tier, { ramBytes: 0x4000, memoryRegions, bus });
    cpu.pc = 0x7800;
    expect(cpu.run(10_000)).toBe("stop");
    expect([cpu.get("r", 3), stores]).toEqual([1000, [[0x7008, 4, 1000]]]);
    expect(() => cpu.write(0x7000, Uint8Array.of(1))).toThrow("1 bytes at 0x7000 are not in RAM");
    expect([...cpu.read(0x7000, 1), cpu.code.bytesAt(0x7ffen).length]).toEqual([5, 2]);
    expect(() => cpuOf("halt", tier, { memoryRegions })).toThrow("cartridge (0x7000 to 0x7fff) overlaps ram");
  });

  it("runs with 64-bit registers and addresses, in RAM that begins above 4 GiB", () => {
    const frontEnd = front("i64");
    const ramBase = 0x1_0000_0000;
    const source = `
      li r1, 3
      li r2, 200
      call r7, loop
      halt
      loop: mul r1, r1
      add r3, r1
      addi r2, r2, -1
      b r2, loop
      st r3, 0x100(r7)
      ld r4, 0x100(r7)
      jr r7`;
    const cpu = cpuOf(source, tier, { frontEnd, ramBase });
    expect(cpu.run(10_000)).toBe("stop");
    let [square, sum] = [3n, 0n];
    for (let round = 0; round < 200; round++) {
      square = BigInt.asUintN(64, square * square);
      sum = BigInt.asUintN(64, sum + square);
    }
    expect([cpu.getWide("r", 3), cpu.getWide("r", 4)]).toEqual([sum, sum]);
    expect([cpu.pc, cpu.elapsed]).toEqual([ramBase + 16, 3 + 4 * 200 + 3 + 1]);
    expect(new DataView(cpu.read(ramBase + 0x10c, 8).buffer).getBigUint64(0, true)).toBe(sum);
    expect(cpu.getWide("r", 7)).toBe(0x1_0000_000cn);
    cpu.set("r", -2, 5);
    expect(cpu.getWide("r", 5)).toBe(0xffff_ffff_ffff_fffen);
    cpu.setWide("r", 0x8000_0000_0000_0001n, 5);
    expect([cpu.getWide("r", 5), cpu.get("r", 5)]).toEqual([0x8000_0000_0000_0001n, 1]);
  });

  it("counts what instructions cost, and ends runs by it", () => {
    const cpu = cpuOf("again: slow\n addi r1, r1, 1\n call r0, again", tier);
    const ends = [1, 9, 10, 11, 1000, 999].map((budget) => {
      cpu.run(budget);
      return [cpu.elapsed, cpu.get("r", 1)];
    });
    const last = ends.at(-1)!;
    expect(ends.every(([elapsed, rounds]) => Math.abs(elapsed! - 11 * rounds!) <= 11)).toBe(true);
    expect(last[0]).toBeGreaterThan(2000);
    expect(ends).toEqual(reference("costs", ends));
  });

  it("hands faults to its owner, precisely", () => {
    const faults: unknown[] = [];
    const source = `
      li r1, -16
      loop: addi r2, r2, 1
      ld r3, 4(r1)
      .word 0
      st r2, 8(r1)
      b r2, loop`;
    const cpu = cpuOf(source, tier, {
      onFault: (cpu, fault) => {
        faults.push([fault, cpu.pc, cpu.get("r", 2)]);
        cpu.set("epc", cpu.get("epc") + cpu.pc);
        cpu.pc += 4;
      },
    });
    expect(cpu.run(600)).toBe("budget");
    expect(faults.slice(0, 4)).toEqual([
      [{ kind: "read", cause: 0, value: 0xfffffff4 }, 8, 1],
      [{ kind: "trap", cause: 42, value: 0 }, 12, 1],
      [{ kind: "write", cause: 0, value: 0xfffffff8 }, 16, 1],
      [{ kind: "read", cause: 0, value: 0xfffffff4 }, 8, 2],
    ]);
    expect(faults).toEqual(reference("faults", faults));
    expect(cpu.get("epc")).toBe(12 * faults.length);
    expect(cpu.elapsed).toBe(600);
  });

  it("ends with the budget if the handler of faults faults", () => {
    let count = 0;
    const cpu = cpuOf("call r0, 0x7000", tier, {
      onFault: (cpu) => (cpu.pc = count++ % 2 === 0 ? 0x10000 : 0x7000),
    });
    expect([cpu.run(100), cpu.elapsed]).toEqual(["budget", 100]);
    const lost = cpuOf("jr r1", tier);
    lost.set("r", 0x20000, 1);
    expect([lost.run(100), lost.fault]).toEqual(["fault", { kind: "fetch", cause: 0, value: 0x20000 }]);
    expect([lost.pc, lost.elapsed]).toEqual([0x20000, 1]);
  });

  it("takes an interrupt that a device makes ready before the next instruction", () => {
    let line = false;
    const times: number[] = [];
    const source = `
      call r0, main
      handler: li r5, -256
      st r0, 4(r5)
      host 1
      main: li r6, -256
      loop: addi r2, r2, 1
      st r2, 0(r6)
      addi r3, r3, 1
      call r0, loop`;
    const cpu: FlatCpu = cpuOf(source, tier, {
      bus: {
        read: () => undefined,
        write: (address, _, value) => {
          times.push(cpu.elapsed);
          line = address === 0xffffff00 && value % 7 === 0;
          return true;
        },
      },
      interruptReady: () => line,
      takeInterrupt: (cpu) => {
        line = false;
        expect(cpu.get("r", 2) - cpu.get("r", 3)).toBe(1);
        cpu.set("epc", cpu.pc);
        cpu.pc = 4;
      },
      helpers: {
        ...helpers,
        host: (cpu) => {
          cpu.pc = cpu.get("epc");
        },
      },
    });
    cpu.run(2000);
    expect(cpu.get("r", 2)).toBeGreaterThan(300);
    expect(times).toEqual(reference("times", times));
  });

  it("ends the run where a device or a helper stops it", () => {
    const source = "li r1, -256\n loop: addi r2, r2, 1\n st r2, 0(r1)\n b r1, loop";
    const cpu: FlatCpu = cpuOf(source, tier, {
      bus: {
        read: () => undefined,
        write: (_, __, value) => {
          if (value === 100) cpu.stop();
          return true;
        },
      },
    });
    expect([cpu.run(10_000), cpu.elapsed, cpu.get("r", 2), cpu.pc]).toEqual(["stop", 300, 100, 12]);
    expect([cpu.run(2), cpu.elapsed, cpu.get("r", 2)]).toEqual(["budget", 302, 101]);
  });

  it("keeps what a device asks for while it is read until the run can end", () => {
    const cpu: FlatCpu = cpuOf("li r1, -256\n loop: ld r2, 0(r1)\n add r3, r2\n b r1, loop", tier, {
      bus: {
        read: () => {
          cpu.stop();
          return 5;
        },
        write: () => true,
      },
    });
    expect([cpu.run(301), cpu.get("r", 3), cpu.elapsed]).toEqual(["stop", 500, 301]);
  });

  it("gives a device 8 bytes as one where it takes them so", () => {
    const frontEnd = rowFrontEnd({
      name: "wide",
      slots: [
        { name: "long", type: "i64", length: 1 },
        { name: "pc", type: "i32", length: 1 },
      ],
      rows: {
        take: insnRow("0000001000000000", "", (m) =>
          m.set("long", 0, m.load("i64", 64, m.constant("i32", -256), false)),
        ),
        give: insnRow("0000001100000000", "", (m) => m.store(64, m.constant("i32", -248), m.get("long"))),
        back: insnRow("00000100 imm[7:0]", "@imm", (m, f) => m.jump(m.target(f.imm))),
      },
      illegal: 1,
    });
    let next = 0;
    const seen: [number, number, number][] = [];
    const cpu = cpuOf("loop: take\n give\n back loop", tier, {
      frontEnd,
      helpers: {},
      bus: {
        read: () => undefined,
        write: () => false,
        readWide: (_, words) => {
          words.set([next, 0xffffffff - next]);
          next++;
          return true;
        },
        writeWide: (address, low, high) => {
          seen.push([address, low, high]);
          if (low === 90) cpu.stop();
          return true;
        },
      },
    });
    expect([cpu.run(1000), cpu.elapsed]).toEqual(["stop", 272]);
    expect(seen).toEqual(Array.from({ length: 91 }, (_, at) => [0xffffff08, at, 0xffffffff - at]));
  });

  it("finds memory where its owner says that it is", () => {
    let bank = 0;
    const source = `
      li r1, 0x4000
      loop: ld r2, 0(r1)
      add r3, r2
      addi r3, r3, 1
      st r3, 4(r1)
      b r1, loop`;
    const cpu = cpuOf(source, tier, {
      ramBytes: 0x10000,
      map: (address) => (address >= 0x4000 && address < 0x5000 ? address + 0x1000 * bank : address),
    });
    for (bank = 0; bank < 3; bank++) cpu.write(0x4000 + 0x1000 * bank, Uint8Array.of(10 ** bank));
    const sums: number[] = [];
    for (bank = 0; bank < 3; bank++) {
      cpu.remap();
      cpu.run(500);
      sums.push(cpu.get("r", 3), new DataView(cpu.read(0x4004 + 0x1000 * bank, 4).buffer).getInt32(0, true));
    }
    expect(sums).toEqual(reference("banks", sums));
    expect(sums[0]).toBe(200);
  });

  it("leads stores elsewhere than loads where its owner says so", () => {
    const stored: number[] = [];
    const source = "li r1, 0x4000\n loop: ld r2, 0(r1)\n add r3, r2\n st r3, 0(r1)\n b r1, loop";
    const cpu = cpuOf(source, tier, {
      map: (address, kind) => (address === 0x4000 && kind === "write" ? 0x10000 : address),
      bus: {
        read: () => undefined,
        write: (address, _, value) => address === 0x10000 && stored.push(value) > 0,
      },
    });
    cpu.write(0x4000, Uint8Array.of(5));
    cpu.run(401);
    expect(stored).toEqual(Array.from({ length: 100 }, (_, round) => 5 * (round + 1)));
    expect(cpu.read(0x4000, 1)[0]).toBe(5);
  });

  it("takes what an interrupt costs from the budget", () => {
    let line = false;
    const cpu = cpuOf("handler: jr r7\n loop: addi r2, r2, 1\n call r0, loop", tier, {
      interruptReady: () => line,
      takeInterrupt: (cpu) => {
        line = false;
        cpu.set("r", cpu.pc, 7);
        cpu.pc = 0;
        cpu.charge(7);
      },
    });
    cpu.pc = 4;
    for (let round = 1; round <= 50; round++) {
      line = true;
      expect([cpu.run(28), cpu.elapsed, cpu.get("r", 2)]).toEqual(["budget", 28 * round, 10 * round]);
    }
    cpu.charge(3);
    expect(cpu.elapsed).toBe(28 * 50 + 3);
  });

  it("calls helpers that only compute, and those that leave", () => {
    const seen: [number, number, number][] = [];
    const cpu = cpuOf("loop: twice 21\n host 3\n addi r1, r1, 1\n b r1, loop", tier, {
      helpers: {
        ...helpers,
        host: (cpu, argument = 0) => {
          seen.push([cpu.elapsed, cpu.pc, cpu.get("n") + argument]);
          if (cpu.get("r", 1) === 90) cpu.stop();
        },
      },
    });
    expect([cpu.run(1000), cpu.pc, cpu.elapsed]).toEqual(["stop", 8, 362]);
    expect(seen).toEqual(Array.from({ length: 91 }, (_, round) => [4 * round + 1, 4, 45]));
    expect(cpu.run(1)).toBe("budget");
    expect(cpu.get("r", 1)).toBe(91);
  });

  it("takes what devices and helpers charge, exactly, and not while a device is read", () => {
    const source = "li r1, -256\n loop: addi r2, r2, 1\n st r2, 0(r1)\n host 2\n b r1, loop";
    const cpu: FlatCpu = cpuOf(source, tier, {
      bus: {
        read: () => {
          cpu.charge(1);
          return 0;
        },
        write: () => {
          cpu.charge(5);
          return true;
        },
      },
      helpers: { ...helpers, host: (cpu, units = 0) => cpu.charge(units) },
    });
    cpu.run(1);
    // A round is 4 instructions and 7 units.
    for (let round = 1; round <= 60; round++)
      expect([cpu.run(11), cpu.elapsed, cpu.get("r", 2), cpu.pc]).toEqual([
        "budget",
        1 + 11 * round,
        round,
        4,
      ]);
    const reading: FlatCpu = cpuOf("li r1, -256\n ld r2, 0(r1)", tier, {
      bus: { read: () => reading.charge(1) as undefined, write: () => true },
    });
    expect(() => reading.run(5)).toThrow("charge: not while a device is read");
  });

  it("goes on where a helper writes the slot pc, as if it had set the program counter", () => {
    const cpu = cpuOf("host 0\n loop: addi r2, r2, 1\n addi r3, r3, 1\n host 1", tier, {
      helpers: { ...helpers, host: (cpu) => cpu.set("pc", 8) },
    });
    expect([cpu.run(101), cpu.get("r", 2), cpu.get("r", 3), cpu.pc]).toEqual(["budget", 0, 50, 8]);
  });

  it("has slots and helpers of any name", () => {
    const frontEnd = rowFrontEnd({
      name: "names",
      slots: [
        ...["v0", "l1", "h2", "t3", "s0", "n", "I"].map((name) => ({
          name,
          type: "i32" as const,
          length: 1,
        })),
        { name: "pc", type: "i32", length: 1 },
      ],
      rows: {
        mix: insnRow("0000001000000000", "", (m) => {
          const sum = m.binary("add", m.get("v0"), m.get("l1"));
          m.set("l1", 0, m.get("h2"));
          m.set("h2", 0, m.binary("xor", sum, m.get("t3")));
          m.set("t3", 0, m.binary("add", m.get("s0"), m.get("n")));
          m.set("v0", 0, m.binary("add", sum, m.get("I")));
        }),
        call: insnRow("0000001100000000", "", (m) => {
          for (const name of ["jump", "st8", "ld32"]) m.call(helper(name, all), []);
        }),
        back: insnRow("00000100 imm[7:0]", "@imm", (m, f) => m.jump(m.target(f.imm))),
      },
      illegal: 1,
    });
    let calls = 0;
    const count = () => {
      calls++;
    };
    const cpu = cpuOf("loop: mix\n call\n back loop", tier, {
      frontEnd,
      helpers: { jump: count, st8: count, ld32: count },
    });
    const names = ["v0", "l1", "h2", "t3", "s0", "n", "I"];
    names.forEach((name, at) => {
      cpu.set(name, at + 1);
    });
    cpu.run(300);
    let [v0, l1, h2, t3] = [1, 2, 3, 4];
    for (let round = 0; round < 100; round++) {
      const sum = (v0 + l1) | 0;
      [l1, h2, t3, v0] = [h2, sum ^ t3, 11, (sum + 7) | 0];
    }
    expect(names.slice(0, 4).map((name) => cpu.get(name))).toEqual([v0, l1, h2, t3]);
    expect(calls).toBe(300);
  });

  it("refuses a helper that leaves without having said so", () => {
    const cpu = cpuOf("twice 1", tier, { helpers: { ...helpers, twice: (cpu) => cpu.stop() } });
    expect(() => cpu.run(10)).toThrow("twice leaves its instruction: declare effects.exits");
  });

  it("refuses an interrupt that never ends", () => {
    const cpu = cpuOf("halt", tier, { interruptReady: () => true, takeInterrupt: () => {} });
    expect(() => cpu.run(10)).toThrow("interruptReady stays true");
  });
});

/** What the first tier saw, with which the others must agree. */
const seen = new Map<string, unknown>();
function reference<T>(what: string, value: T): T {
  if (!seen.has(what)) seen.set(what, value);
  return seen.get(what) as T;
}

describe("random programs", () => {
  const line = fc.oneof(
    fc
      .tuple(fc.constantFrom("add", "xor", "mul"), fc.nat(5), fc.nat(5))
      .map(([op, a, b]) => `${op} r${a}, r${b}`),
    fc
      .tuple(fc.nat(5), fc.nat(5), fc.integer({ min: -99, max: 99 }))
      .map(([a, b, c]) => `addi r${a}, r${b}, ${c}`),
    fc
      .tuple(fc.constantFrom("ld", "st"), fc.nat(5), fc.nat(30))
      .map(([op, a, c]) => `${op} r${a}, ${0x2000 + 4 * c}(r6)`),
    fc.constantFrom("slow", "twice 5", ".word 0", "st r1, 0x2002(r6)", "call r0, . + 8"),
    // What is written lies in the program itself: some instructions change.
    fc.tuple(fc.nat(5), fc.nat(30)).map(([a, c]) => `st r${a}, ${4 * c}(r6)`),
  );

  it.each(["i32", "i64"] as const)("end alike in all tiers, with addresses of %s", (type) => {
    const frontEnd = front(type);
    const fine = front(type, { pageBytes: 256 });
    fc.assert(
      fc.property(
        fc.array(line, { minLength: 3, maxLength: 20 }),
        fc.integer({ min: 100, max: 600 }),
        (lines, budget) => {
          const source = `li r7, 100\n loop: ${lines.join("\n")}\n addi r7, r7, -1\n b r7, loop\n halt`;
          const ends = [frontEnd, fine].flatMap((each) =>
            tiers.map((tier) => {
              const faults: unknown[] = [];
              const cpu = cpuOf(source, tier, {
                frontEnd: each,
                codePages: 8,
                onFault: (cpu, fault) => {
                  faults.push([fault, cpu.elapsed, cpu.pc]);
                  cpu.pc += 4;
                },
              });
              const ran = [cpu.run(budget), cpu.run(77), cpu.run(1)];
              const registers = Array.from({ length: 8 }, (_, index) => cpu.get("r", index));
              return {
                ran,
                faults,
                registers,
                pc: cpu.pc,
                elapsed: cpu.elapsed,
                ram: cpu.read(0, 0x3000).join(),
              };
            }),
          );
          for (const end of ends) expect(end).toEqual(ends[0]);
        },
      ),
      { numRuns: 12 },
    );
  });
});

describe("a CPU that is put together wrongly", () => {
  it.each<[string, object, string]>([
    ["an option that there is not", { onInterrupt: () => {} }, "FlatCpu has no option onInterrupt: there are frontEnd"],
    ["a helper that nothing calls", { helpers: { ...helpers, hallt: () => {} } }, "toy-i32 calls no helper hallt; it calls host, twice, halt"],
    ["a helper that is no function", { helpers: { ...helpers, halt: 1 } }, "toy-i32 calls halt: give it in helpers"],
    ["a tier that there is not", { tier: "fast" }, "tier fast: one of auto, interpreter"],
    ["a map that is no function", { map: {} }, "option map is [object Object]: a function"],
    ["one code page", { codePages: 1 }, "option codePages is 1: an integer from 2 on"],
    ["a threshold of 0", { hotThreshold: 0 }, "option hotThreshold is 0: an integer from 1 on"],
    ["flags in no slot", { flagsSlot: "flags" }, "flagsSlot flags: a slot of type i32"],
    ["too many slots", { frontEnd: front("i32", { slots: [...narrow.shape.slots.values(), { name: "big", type: "i32", length: 2000 }] }) }, "toy-i32: its slots take 8056 bytes: at most 7936"],
  ])("has %s", (_, wrong, message) => {
    expect(() => cpuOf("halt", "interpreter", wrong as Partial<FlatCpuOptions>)).toThrow(message);
  }); // biome-ignore format: one mistake a line

  it.each([-1, 0.5, Number.NaN, 2 ** 31])("is run for %d units", (budget) => {
    expect(() => cpuOf("halt", "interpreter").run(budget)).toThrow("an integer from 0 to 2147483647");
  });

  it("lacks helpers, or has one that can't work", () => {
    expect(() => cpuOf("", "js", { helpers: { halt: () => {} } })).toThrow(
      "toy-i32 calls host: give it in helpers",
    );
    const both = helper("both", all, [], "i32");
    const frontEnd = rowFrontEnd({
      name: "bad",
      slots: [{ name: "pc", type: "i32", length: 1 }],
      rows: {
        both: insnRow("0000000000000000", "", (m) => {
          m.call(both, []);
        }),
      },
      illegal: 0,
    });
    const options = { frontEnd, ramBytes: 4096, helpers: { both: () => 0 } };
    expect(() => new FlatCpu(options)).toThrow("both has a result and may exit: declare one of the two only");
  });

  it("is asked for slots and memory that it has not", () => {
    const cpu = cpuOf("halt", "interpreter");
    expect(() => cpu.get("q")).toThrow("toy-i32 has no slot q[0]; there are r[8], pc, epc, n");
    expect(() => cpu.get("r", 0.5)).toThrow("toy-i32 has no slot r[0.5]");
    expect(() => cpu.set("r", Number.NaN)).toThrow("r[0] = NaN: a safe integer");
    expect(() => cpu.setWide("r", 1n)).toThrow("slot r has 32 bits: use get and set");
    expect(() => cpu.getWide("r")).toThrow("slot r has 32 bits: use get and set");
    expect(() => cpu.set("r", 1, 8)).toThrow("toy-i32 has no slot r[8]");
    expect(() => cpu.write(0x7fff, new Uint8Array(2))).toThrow("2 bytes at 0x7fff are not in RAM");
    expect(() => cpu.read(0x10000, 1)).toThrow("1 bytes at 0x10000 are not in RAM");
    expect(() => cpuOf("halt", "js", { ramBytes: 100 })).toThrow("RAM of 100 bytes is impossible");
  });
});
