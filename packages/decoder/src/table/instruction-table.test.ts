import { describe, expect, it } from "vitest";
import { InstructionTable, overlaps } from "./instruction-table.js";
import { compressed, encode, extractField, insertField, parseEncoding, type Row, rowMaker } from "./row.js";

const row = rowMaker<unknown>();
const nothing = () => {};
const tableOf = (rows: Record<string, Row<never>>) => new InstructionTable(rows);

describe("an encoding", () => {
  it("knows its fixed bits and fields", () => {
    const encoding = parseEncoding("imm[12|10:5] rs2 rs1 000 imm[4:1|11] 1100011");
    expect(encoding.length).toBe(4);
    expect(encoding.mask >>> 0).toBe(0x0000707f);
    expect(encoding.match).toBe(0x63);
    expect(encoding.fields.map(({ name, width, signed }) => [name, width, signed])).toEqual([
      ["imm", 13, true],
      ["rs2", 5, false],
      ["rs1", 5, false],
    ]);
  });

  it.each([
    ["0000000 rs2 rs1 000 rd 011001", "31 bits"],
    ["0000000 rs2 rs1 000 rd 01100111", "33 bits"],
    ["", "malformed"],
    ["0000000  rs2 rs1 000 rd 0110011", "malformed"],
    ["000000x rs2 rs1 000 rd 0110011", "malformed"],
    ["what rs1 000 rd 0010011", "no customary width"],
    ["imm[0:11] rs1 000 rd 0010011", "upside down"],
    ["imm[11:] rs1 000 rd 0010011", "malformed"],
    ["imm[] rs1 000 rd 0010011", "malformed"],
    ["rd!= rs1 000 rd 0010011", "malformed"],
    ["RD rs1 000 rd 0010011", "malformed"],
    ["0000000 rs1 rs1 000 rd 0110011", "twice"],
    ["imm[11:0] imm[4:0] 000 rd 0010011", "twice"],
    ["imm[32:21] rs1 000 rd 0010011", "more than 32 bits"],
  ])("of %s is rejected: %s", (pattern, problem) => {
    expect(() => parseEncoding(pattern)).toThrow(problem);
  });

  it("inserts what it extracts and refuses what does not fit", () => {
    const [imm, rs2] = parseEncoding("imm[12|10:5] rs2!=3 rs1 000 imm[4:1|11] 1100011").fields;
    for (const value of [0, 2, -2, 4094, -4096, 0x800]) {
      expect(extractField(imm!, insertField(imm!, value))).toBe(value);
    }
    for (const value of [1, 4096, -4097, 2 ** 40]) expect(() => insertField(imm!, value)).toThrow(RangeError);
    for (const value of [-1, 32, 3]) expect(() => insertField(rs2!, value)).toThrow(RangeError);
  });

  it("takes the widths of fields from the table", () => {
    const widths = { op: 3, rd: 4, rs1: 4 };
    const { mask, fields } = parseEncoding("op rd 10101 rs1", widths);
    expect(mask).toBe(0x01f0);
    expect(fields.map(({ name, width }) => [name, width])).toEqual([
      ["op", 3],
      ["rd", 4],
      ["rs1", 4],
    ]);
    expect(() => parseEncoding("op rd 10101 rs1")).toThrow('"op" has no customary width');
  });

  it("encodes a whole instruction", () => {
    const encoding = parseEncoding("imm[11:0] rs1 000 rd 0010011");
    expect(encode(encoding, { rd: 10, rs1: 11, imm: -1 })).toBe(0xfff58513 | 0);
    expect(() => encode(encoding, { rd: 10, rs1: 11, imm: 2048 })).toThrow("imm = 2048");
  });
});

describe("a table", () => {
  const add = row("0000000 rs2 rs1 000 rd 0110011", "rd, rs1, rs2", nothing);

  it("prefers the row with more fixed bits", () => {
    const special = row("0000000 00000 rs1 000 rd 0110011", "rd, rs1", nothing);
    const table = tableOf({ add, special });
    expect(table.match(0x00008033, 4)?.name).toBe("special");
    expect(table.match(0x00108033, 4)?.name).toBe("add");
    expect(table.match(0x00009033, 4)).toBeUndefined();
    expect(table.match(0x0033, 2)).toBeUndefined();
  });

  it("rejects rows that overlap", () => {
    const crossing = row("0000000 rs2 rs1 rm[2:0] 00000 0110011", "rs1, rs2", nothing);
    expect(() => tableOf({ add, crossing })).toThrow("rows add and crossing overlap");
    expect(() => tableOf({ add, same: add })).toThrow("rows add and same overlap");
  });

  it("accepts rows that exclusions part, and only those", () => {
    const jr = compressed("100 0 rs1!=0 00000 10", "", () => ["add", { rd: 0, rs1: 0, rs2: 0 }]);
    const mv = compressed("100 0 rd rs2!=0 10", "", () => ["add", { rd: 0, rs1: 0, rs2: 0 }]);
    const every = compressed("100 0 rd rs2!=1 10", "", () => ["add", { rd: 0, rs1: 0, rs2: 0 }]);
    expect(overlaps(tableOf({ add, jr, mv }).entries)).toEqual([]);
    expect(() => tableOf({ add, mv, every })).toThrow("rows mv and every overlap");
  });

  it("rejects expansions to what is not there", () => {
    const to = (name: string, fields: Record<string, number>) =>
      compressed("100 0 rd rs2!=0 10", "rd, rs2", () => [name, fields]);
    expect(() => tableOf({ add, move: to("sub", {}) })).toThrow(
      "row move expands to sub, which is not in the table",
    );
    expect(() => tableOf({ add, move: to("move", {}) })).toThrow("compressed itself");
    expect(() => tableOf({ add, move: to("add", { rd: 1, imm: 2 }) })).toThrow(
      "row move gives add the fields imm, rd; it has rd, rs1, rs2",
    );
  });

  it("names its rows", () => {
    const table = tableOf({ add });
    expect(table.entry("add").row).toBe(add);
    expect(table.find("sub")).toBeUndefined();
    expect(() => table.entry("sub")).toThrow("no instruction sub in the table");
  });
});
