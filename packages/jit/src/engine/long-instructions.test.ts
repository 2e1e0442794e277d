/**
 * Instructions of 8 to 15 bytes, the longest that there are, cut by a page's end behind each of their bytes. What every
 * tier makes of them is held against the program itself: its lines are carried out here one after the other, and nothing
 * is decoded for it.
 */
import { type Field, type FrontEnd, InsnBuilder, stateShape } from "@hyperfile/decoder";
import { describe, expect, it } from "vitest";
import { FlatCpu } from "./flat-cpu.js";
import { tiers } from "./tiers.js";

const PAGE = 4096;
const DEVICE = 0xffffff00;
const operations = ["add", "mix", "low", "put", "unless", "call", "back"] as const;
/** A line of the program: what it does, with two registers and a number, or the line that it leads to. */
type Line = readonly [operation: (typeof operations)[number], rd: number, rs: number, imm: number];
interface Placed {
  readonly line: Line;
  readonly address: number;
  readonly length: number;
}

/** An endless loop around a branch that is taken in some rounds, a store to a device, and a subroutine. */
const program: readonly Line[] = [
  ["call", 6, 0, 8],
  ["add", 1, 1, 3],
  ["mix", 2, 1, 0],
  ["low", 5, 2, 2],
  ["unless", 0, 5, 6],
  ["mix", 4, 2, 0],
  ["put", 0, 2, 0],
  ["unless", 0, 7, 0],
  ["mix", 4, 1, 0],
  ["add", 3, 4, -12345],
  ["back", 0, 6, 0],
];

/**
 * A CPU of such instructions: the first byte has the operation and the length, the second the registers, the last two the
 * number, and those between are there to be skipped.
 */
function frontEndOf(granularity: 0 | 1, lengths: readonly number[]): FrontEnd {
  const shape = stateShape([
    { name: "r", type: "i32", length: 8 },
    { name: "pc", type: "i32", length: 1 },
  ]);
  const fields = [
    { name: "rd", width: 3, signed: false, zeroBecomes: undefined },
    { name: "rs", width: 3, signed: false, zeroBecomes: undefined },
    { name: "imm", width: 16, signed: true, zeroBecomes: undefined },
  ];
  const shortest = 2 ** granularity;
  const write = (m: InsnBuilder, opcode: number, field: (name: string) => Field) => {
    const [rd, rs, imm] = fields.map(({ name }) => field(name)) as [Field, Field, Field];
    const source = () => m.get("r", rs);
    switch (operations[opcode]) {
      case "add":
        return m.set("r", rd, m.binary("add", source(), m.field(imm)));
      case "mix":
        return m.set("r", rd, m.binary("xor", m.binary("mul", m.get("r", rd), m.const32(5)), source()));
      case "low":
        return m.set("r", rd, m.binary("and", source(), m.field(imm)));
      case "put":
        return m.store(32, m.const32(DEVICE), source());
      case "unless":
        return m.branch(m.compare("eq", source(), m.const32(0)), m.target(imm), m.next);
      case "call":
        m.set("r", rd, m.link());
        return m.jump(m.target(imm));
      case "back":
        return m.jumpIndirect(source());
      default:
        return m.trap(1, m.const32(0));
    }
  };
  const finish = (m: InsnBuilder) => {
    if (!m.finished) m.jump(m.next);
    return m.finish();
  };
  const templates = [...operations, "illegal"].map((name, opcode) => {
    const m = new InsnBuilder(shape, "i32");
    m.begin(0, undefined);
    write(m, opcode, (field) => ({ name: field, value: undefined }));
    const isLegal = opcode < operations.length;
    return {
      name,
      fields: isLegal ? fields : [],
      lengths: isLegal ? lengths : [shortest],
      block: finish(m),
    };
  });
  return {
    name: "long",
    shape,
    addressType: "i32",
    granularity,
    maximumLength: lengths.at(-1)!,
    templates,
    decode(bytes, at, available) {
      if (available < shortest) return null;
      const [opcode, length] = [bytes[at]! >> 4, bytes[at]! & 15];
      if (opcode >= operations.length || !lengths.includes(length))
        return { opcode: operations.length, length: shortest, fields: {} };
      if (available < length) return null;
      const imm = ((bytes[at + length - 1]! << 24) >> 16) | bytes[at + length - 2]!;
      return { opcode, length, fields: { rd: bytes[at + 1]! >> 5, rs: (bytes[at + 1]! >> 2) & 7, imm } };
    },
    endsBlock: ({ opcode }) => !["add", "mix", "low", "put"].includes(operations[opcode]!),
    translate(insns) {
      const m = new InsnBuilder(shape, "i32");
      let offset = 0;
      for (const { opcode, length, fields: values } of insns) {
        m.begin(offset, length);
        write(m, opcode, (name) => ({ name, value: values[name] ?? 0 }));
        offset += length;
      }
      return finish(m);
    },
    format: ({ opcode }) => templates[opcode]!.name,
  };
}

/** The program so that `length` is that of a line, of which the first `cut` bytes lie before a page's end. */
function place(lengths: readonly number[], length: number, cut: number, end: number): readonly Placed[] {
  const chosen = (length + cut) % program.length;
  const turn = lengths.indexOf(length) - chosen + program.length * lengths.length;
  const all = program.map((_, index) => lengths[(index + turn) % lengths.length]!);
  let address = end - cut - all.slice(0, chosen).reduce((sum, each) => sum + each, 0);
  return program.map((line, index) => {
    const placed = { line, address, length: all[index]! };
    address += placed.length;
    return placed;
  });
}

/** The bytes of the lines. */
function encode(lines: readonly Placed[]): Uint8Array {
  return Uint8Array.from(
    lines.flatMap(({ line: [operation, rd, rs, imm], address, length }) => {
      const number = operation === "unless" || operation === "call" ? lines[imm]!.address - address : imm;
      const between = Array.from({ length: length - 4 }, (_, at) => (at * 37) & 255);
      return [
        (operations.indexOf(operation) << 4) | length,
        (rd << 5) | (rs << 2),
        ...between,
        number & 255,
        (number >> 8) & 255,
      ];
    }),
  );
}

/** The lines carried out. */
class Model {
  readonly registers = new Int32Array(8);
  readonly stores: number[][] = [];
  private at = 0;

  /** @param elapsed instructions that were carried out before */
  constructor(
    private readonly lines: readonly Placed[],
    public elapsed: number,
  ) {}

  get pc(): number {
    return this.lines[this.at]!.address;
  }

  step(): void {
    const { registers: r, lines } = this;
    const [operation, rd, rs, imm] = lines[this.at]!.line;
    let next = this.at + 1;
    if (operation === "add") r[rd] = r[rs]! + imm;
    else if (operation === "mix") r[rd] = Math.imul(r[rd]!, 5) ^ r[rs]!;
    else if (operation === "low") r[rd] = r[rs]! & imm;
    else if (operation === "put") this.stores.push([DEVICE, 4, r[rs]! >>> 0, this.elapsed]);
    else if (operation === "unless") next = r[rs] === 0 ? imm : next;
    else if (operation === "back") next = lines.findIndex(({ address }) => address === r[rs]);
    else {
      r[rd] = lines[next]!.address;
      next = imm;
    }
    this.at = next;
    this.elapsed++;
  }
}

describe.each(tiers)("in tier %s", (tier) => {
  it.each([
    ["bytes", 0, [8, 9, 10, 11, 12, 13, 14, 15]],
    ["half-words", 1, [8, 10, 12, 14]],
  ] as const)(
    "instructions of 8 to 15 bytes, in units of %s, do what they say",
    (_, granularity, lengths) => {
      let stores: number[][] = [];
      const cpu: FlatCpu = new FlatCpu({
        frontEnd: frontEndOf(granularity, lengths),
        ramBytes: 2 * PAGE * lengths.length * 16,
        tier,
        hotThreshold: 4,
        background: false,
        verify: "all",
        bus: {
          read: () => undefined,
          write: (...store) => stores.push([...store, cpu.elapsed]) > 0,
        },
      });
      let end = PAGE;
      for (const length of lengths)
        for (let cut = 0; cut < length; cut += 2 ** granularity) {
          const lines = place(lengths, length, cut, end);
          end += 2 * PAGE;
          const model = new Model(lines, cpu.elapsed);
          stores = [];
          cpu.write(lines[0]!.address, encode(lines));
          cpu.pc = model.pc;
          for (const index of model.registers.keys()) cpu.set("r", 0, index);
          expectAlike(cpu, model);
          expect(stores).toEqual(model.stores);
          expect(stores.length).toBeGreaterThan(20);
        }
      // Hot code has been translated where the tier translates any.
      expect(cpu.engine.counters.translated > 0).toBe(!/interpreter/.test(tier));
    },
  );
});

/** Runs a CPU in slices, after each of which it is where the lines are. */
function expectAlike(cpu: FlatCpu, model: Model): void {
  for (let slice = 0; slice < 20; slice++) {
    const budget = 1 + ((slice * 13) % 37);
    for (let count = 0; count < budget; count++) model.step();
    expect([cpu.run(budget), cpu.pc, cpu.elapsed]).toEqual(["budget", model.pc, model.elapsed]);
    expect(model.registers.map((_, index) => cpu.get("r", index))).toEqual(model.registers);
  }
}
