/** Front ends and assemblers that are made from rows: both byte orders, both lengths, text and bytes back and forth. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { decodeAll } from "../front-end.js";
import { assertBlock } from "../ir/verify.js";
import { encode } from "./row.js";
import { assembleRows } from "./row-assembler.js";
import { type InsnBuilder, insnRow, type RowFrontEndOptions, rowFrontEnd } from "./row-front-end.js";

const registers = ["a", "b", "c", "sp"];
const optionsFor = (byteOrder: "little" | "big"): RowFrontEndOptions => ({
  name: "toy",
  slots: [
    { name: "r", type: "i32", length: 4 },
    { name: "pc", type: "i32", length: 1 },
  ],
  rows: {
    inc: insnRow("0000 rd[1:0] 0000000000", "rd", (m, { rd }) =>
      m.set("r", rd, m.binary("add", m.get("r", rd), m.const32(1))),
    ),
    mov: insnRow(
      "0001 rd[1:0] rs1[1:0] 00000000",
      "rd, (rs1)",
      (m, { rd, rs1 }) => m.set("r", rd, m.get("r", rs1)),
      {
        cost: 3,
      },
    ),
    far: insnRow(
      byteOrder === "big" ? "0010 rd[1:0] 0000000000 imm[15:0]" : "imm[15:0] 0010 rd[1:0] 0000000000",
      "rd, imm",
      (m, { rd, imm }) => m.set("r", rd, m.field(imm)),
    ),
    call: insnRow("0011 rd[1:0] imm[10:1]", "rd, @imm", (m, { rd, imm }) => {
      m.set("r", rd, m.link());
      m.jump(m.target(imm));
    }),
    bz: insnRow("0100 rs1[1:0] imm[10:1]", "rs1, @imm", (m, { rs1, imm }) =>
      m.branch(m.compare("eq", m.get("r", rs1), m.const32(0)), m.target(imm), m.next),
    ),
    ret: insnRow("0101 rs1[1:0] 0000000000", "rs1", (m, { rs1 }) => m.jumpIndirect(m.get("r", rs1))),
  },
  illegal: 7,
  byteOrder,
  operand: (field, value) => (field.startsWith("r") ? registers[value]! : String(value)),
});
const options = optionsFor("little");

describe.each(["little", "big"] as const)("a front end from rows, %s-endian", (byteOrder) => {
  const toy = rowFrontEnd(optionsFor(byteOrder));

  it("decodes code from its start to where it is cut off", () => {
    const { bytes } = assembleRows(toy, "inc a\n far b, -2\n .2byte -1\n far c, 3");
    const texts = (code: Uint8Array) =>
      decodeAll(toy, code).map(({ offset, insn }) => `${offset} ${toy.format(insn, offset, 0)}`);
    const all = ["0 inc a", "2 far b, -2", "6 .2byte 0xffff", "8 far c, 3"];
    expect(texts(bytes)).toEqual(all);
    expect(texts(bytes.subarray(0, -1))).toEqual(all.slice(0, 3));
    expect(texts(new Uint8Array(0))).toEqual([]);
  });

  it("decodes what is assembled from what it formats", () => {
    const rows = fc.constantFrom(...toy.table.entries);
    fc.assert(
      fc.property(rows, fc.nat(), fc.integer({ min: 0, max: 0x7fff }), ({ row, name }, seed, half) => {
        const origin = half * 2;
        const fields = Object.fromEntries(
          row.encoding.fields.map(({ name: field, width, signed, pieces }) => {
            const lowest = 1 << Math.min(...pieces.map(({ to }) => to));
            const value = (seed % 2 ** width) & -lowest;
            return [field, signed && value >= 2 ** (width - 1) ? value - 2 ** width : value];
          }),
        );
        const { length } = row.encoding;
        const bits = encode(row.encoding, fields);
        const bytes = Uint8Array.from(
          { length },
          (_, at) => bits >>> (8 * (byteOrder === "little" ? at : length - 1 - at)),
        );
        const insn = toy.decode(bytes, 0, length)!;
        expect(insn).toEqual({
          opcode: toy.templates.findIndex((each) => each.name === name),
          length,
          fields,
        });
        expect(assembleRows(toy, toy.format(insn, origin, 0), origin).bytes).toEqual(bytes);
      }),
    );
  });

  it("waits for the rest of an instruction, and takes what is none for the shortest", () => {
    const far = assembleRows(toy, "far c, -2").bytes;
    expect(toy.decode(far, 0, 2)).toBeNull();
    expect(toy.decode(far, 0, 4)?.length).toBe(4);
    expect(toy.decode(far, 0, 1)).toBeNull();
    const bad = Uint8Array.from([0xff, 0xff, 0xff, 0xff]);
    const insn = toy.decode(bad, 0, 4)!;
    expect(toy.templates[insn.opcode]?.name).toBe("illegal");
    expect([insn.length, toy.format(insn, 0, 0), toy.endsBlock(insn)]).toEqual([2, ".2byte 0xffff", true]);
  });
});

describe("a front end from rows", () => {
  const toy = rowFrontEnd(options);
  const blockOf = (source: string) => {
    const { bytes } = assembleRows(toy, source);
    const insns = [];
    for (let at = 0; at < bytes.length; at += insns.at(-1)!.length)
      insns.push(toy.decode(bytes, at, bytes.length - at)!);
    return toy.translate(insns);
  };

  it("writes well-formed templates and blocks, with what instructions cost", () => {
    for (const { block } of toy.templates)
      expect(() => assertBlock(block, toy.shape, "a template")).not.toThrow();
    const block = blockOf("mov a, (b)\n inc c\n here: bz c, here");
    assertBlock(block, toy.shape, "the block");
    expect([block.instructions, block.cost, block.bytes]).toEqual([3, 5, 6]);
    expect(block.operations.at(-1)?.targets).toEqual([4, 6]);
  });

  it("knows calls: they save the address after themselves", () => {
    const { operations } = blockOf("inc a\n call sp, 0");
    expect(operations.some(({ op, constant }) => op === "pc" && constant === 4)).toBe(true);
    expect(operations.at(-1)).toMatchObject({ op: "jump", targets: [0] });
  });

  it("ends blocks where control does not fall through", () => {
    const ends = toy.templates.map(({ name }, opcode) => [
      name,
      toy.endsBlock({ opcode, length: 2, fields: {} }),
    ]);
    expect(Object.fromEntries(ends)).toEqual({
      inc: false, mov: false, far: false, call: true, bz: true, ret: true, illegal: true,
    }); // biome-ignore format: a table
  });

  it("is refused if rows overlap, or there is no program counter", () => {
    const nothing = (_: InsnBuilder) => {};
    const clash = insnRow("0000 rd[1:0] rs1[1:0] 00000000", "rd, rs1", nothing);
    const other = insnRow("0000 rs1[1:0] rd[1:0] 00000000", "rd, rs1", nothing);
    expect(() => rowFrontEnd({ ...options, rows: { clash, other } })).toThrow("rows clash and other overlap");
    const short = insnRow("00000000 rd[7:0]", "rd", nothing);
    const long = insnRow("1000000000000000 rd[15:0]", "rd", nothing);
    const alike = "rows short and long begin alike";
    expect(() => rowFrontEnd({ ...options, rows: { short, long } })).toThrow(alike);
    expect(() => rowFrontEnd({ ...options, rows: { short, long }, byteOrder: "big" })).not.toThrow();
    expect(() => rowFrontEnd({ ...options, slots: [] })).toThrow(
      "toy: it needs a slot pc of type i32 or i64",
    );
    const slots = [{ name: "pc", type: "f64", length: 1 }] as const;
    expect(() => rowFrontEnd({ ...options, slots })).toThrow("needs a slot pc");
  });
});

describe("the assembler of rows", () => {
  const toy = rowFrontEnd(options);

  it.each([
    ["nop", "line 1, column 1: nop is no instruction"],
    ["inc a\n inc d", 'line 2, column 6: expected a name like a, found "d"'],
    ["mov a, b", 'line 1, column 8: expected "(", found "b"'],
    ["mov a", 'line 1, column 6: expected ",", the statement ends'],
    ["far a, 40000", "line 1, column 8: imm can't be 40000"],
    ["bz a, . + 3", "line 1, column 7: imm can't be 3"],
    ["bz a, 0x10000", "line 1, column 7: imm can't be 65536"],
    ["inc a b", 'line 1, column 7: expected the end of the statement, found "b"'],
  ])("names the fault of %j", (source, message) => {
    expect(() => assembleRows(toy, source)).toThrow(message);
  });

  it("takes labels, expressions and data", () => {
    const { bytes, symbols } = assembleRows(
      toy,
      "start: bz b, 1f\n .byte 1, 2\n1: far a, end - start\nend:",
      0x100,
    );
    expect(symbols.get("end")).toBe(0x108n);
    expect([...bytes.subarray(2, 4)]).toEqual([1, 2]);
    expect(toy.format(toy.decode(bytes, 0, 8)!, 0x100, 0)).toBe("bz b, 0x104");
    expect(toy.format(toy.decode(bytes, 4, 4)!, 0x104, 0)).toBe("far a, 8");
  });
});
