import { describe, expect, it } from "vitest";
import { randomWords, sampleEncodings } from "../../test/riscv-encodings.js";
import type { Block, Field } from "../ir/types.js";
import { verifyBlock } from "../ir/verify.js";
import { fieldValues, overlaps, type TableEntry } from "../table/instruction-table.js";
import { encode, matches } from "../table/row.js";
import { aliases } from "./aliases.js";
import { riscvTable } from "./isa.js";
import { operandForms } from "./operands.js";
import { integerNames } from "./registers.js";
import { RiscvSemantics } from "./semantics.js";

const widths = [32, 64] as const;

/** Fields that have no meaning here: every access is sequentially consistent, and a fence orders everything. */
const meaningless: Readonly<Record<string, readonly string[]>> = {
  fence: ["fm", "pred", "succ", "rs1", "rd"],
  "fence.i": ["imm", "rs1", "rd"],
};

function run(
  entry: TableEntry<RiscvSemantics>,
  xlen: 32 | 64,
  values: Readonly<Record<string, number>> | undefined,
) {
  const machine = new RiscvSemantics(xlen);
  machine.begin(0, values === undefined ? undefined : 4);
  const fields = entry.row.encoding.fields.map(({ name }): [string, Field] => [
    name,
    { name, value: values?.[name] },
  ]);
  entry.row.execute!(machine, Object.fromEntries(fields));
  if (!machine.builder.finished) machine.next();
  return { block: machine.builder.finish(), shape: machine.builder.shape };
}

const fieldsIn = (block: Block) =>
  new Set(
    block.operations.flatMap(({ field, index, targets }) => [
      field,
      ...[index, ...(targets ?? [])].map((place) => (typeof place === "object" ? place.field : undefined)),
    ]),
  );

describe.each(widths)("the table of RV%d", (xlen) => {
  const table = riscvTable(xlen);
  const base = table.entries.filter(({ row }) => row.execute !== undefined);

  it("is unambiguous", () => expect(overlaps(table.entries)).toEqual([]));

  it("gives operands for every field, and only fields that there are", () => {
    for (const { name, row } of table.entries) {
      const known = new Set(row.encoding.fields.map((field) => field.name));
      const given = operandForms(row.operands).flatMap(({ kind, field, base: register }) => [
        ...(kind === "fixed" ? [] : [field]),
        ...(integerNames.includes(register) ? [] : [register]),
      ]);
      for (const field of given) if (field !== "") expect(known, name).toContain(field);
      const implied = ["aq", "rl", ...(meaningless[name] ?? [])];
      for (const field of known) if (!implied.includes(field)) expect(given, name).toContain(field);
    }
  });

  it.each(base.map((entry) => [entry.name, entry] as const))(
    "%s has a template that names its fields",
    (name, entry) => {
      const { block, shape } = run(entry, xlen, undefined);
      expect(verifyBlock(block, shape)).toEqual([]);
      const named = fieldsIn(block);
      for (const field of entry.row.encoding.fields) {
        if (["aq", "rl", ...(meaningless[name] ?? [])].includes(field.name)) continue;
        expect(named).toContain(field.name);
      }
    },
  );

  it("has a meaning for every instruction with known fields", () => {
    for (const { entry, bits } of sampleEncodings(table, 12)) {
      if (entry.row.execute === undefined) continue;
      const { block, shape } = run(entry, xlen, fieldValues(entry.row.encoding, bits));
      expect(verifyBlock(block, shape), entry.name).toEqual([]);
      expect([...fieldsIn(block)], entry.name).toEqual([undefined]);
    }
  });

  it("decodes every 16-bit pattern to one row or none, and its expansion is an instruction", () => {
    const short = table.entries.filter(({ row }) => row.encoding.length === 2);
    const problems: string[] = [];
    for (let bits = 0; bits < 0x10000; bits++) {
      const decoded = table.decode(bits, 2);
      const matching = short.filter(({ row }) => matches(row.encoding, bits));
      if (matching.length > 1 || decoded?.source !== matching[0])
        problems.push(`${bits}: ${matching.length} rows`);
      if (decoded === undefined) continue;
      const again = table.decode(encode(decoded.entry.row.encoding, decoded.fields), 4)!;
      const same = decoded.entry.row.encoding.fields.every(
        ({ name }) => again.fields[name] === decoded.fields[name],
      );
      if (again.entry !== decoded.entry || !same) problems.push(`${bits}: expansion`);
    }
    expect(problems).toEqual([]);
  });

  it("takes reserved compressed encodings for illegal (unprivileged manual, chapter 27)", () => {
    const reserved = [
      0x0000, // defined illegal
      0x0004, // c.addi4spn without a distance
      0x6101, // c.addi16sp without a distance
      0x6501, // c.lui without a value
      0x4002, // c.lwsp to x0
      0x8002, // c.jr of x0
      0x8000, // quadrant 0, funct3 100
      0x9c41, // quadrant 1, funct3 100, 1 11 10
      0x9c61, // quadrant 1, funct3 100, 1 11 11
      ...(xlen === 64 ? [0x2001 /* c.addiw to x0 */, 0x6002 /* c.ldsp to x0 */] : []),
      ...(xlen === 32 ? [0x9001 /* c.srli by 32 */, 0x1002 /* c.slli by 32 */, 0x9c01 /* c.subw */] : []),
    ];
    for (const bits of reserved) expect(table.decode(bits, 2), bits.toString(16)).toBeUndefined();
    for (let bits = 3; bits < 0x10000; bits += 4) expect(table.match(bits, 2)).toBeUndefined();
  });

  it("decodes 32-bit patterns to the most specific row that matches, or none", () => {
    const random = randomWords(7);
    const long = table.entries.filter(({ row }) => row.encoding.length === 4);
    const fixedBits = (entry: TableEntry<RiscvSemantics>) => {
      let count = 0;
      for (let mask = entry.row.encoding.mask; mask !== 0; mask &= mask - 1) count++;
      return count;
    };
    const near = sampleEncodings(table, 20).filter(({ length }) => length === 4);
    const patterns = [
      ...near.map(({ bits }) => bits ^ (1 << (random() & 31))),
      ...Array.from({ length: 5000 }, () => random() | 3),
    ];
    for (const bits of patterns) {
      const matching = long.filter(({ row }) => matches(row.encoding, bits));
      const best = matching.sort((a, b) => fixedBits(b) - fixedBits(a))[0];
      expect(table.match(bits, 4)).toBe(best);
      expect(table.decode(bits, 4)?.source).toBe(best);
    }
  });

  it("decodes every opcode, function code and selector without an exception", () => {
    const found = new Set<string>();
    for (let opcode = 3; opcode < 128; opcode += 4) {
      for (let high = 0; high < 0x1000; high++) {
        for (let funct = 0; funct < 8; funct++) {
          const entry = table.match((high << 20) | (funct << 12) | opcode, 4);
          if (entry !== undefined) found.add(entry.name);
        }
      }
    }
    expect([...found].sort()).toEqual(base.map(({ name }) => name).sort());
  });

  it("encodes what it decodes", () => {
    for (const { entry, bits, length } of sampleEncodings(table, 30, 3)) {
      const decoded = table.decode(bits, length)!;
      expect(decoded.source).toBe(entry);
      expect(decoded.length).toBe(length);
      expect(encode(entry.row.encoding, fieldValues(entry.row.encoding, bits))).toBe(bits);
    }
  });
});

it("has a row behind every alias, with the fields that the alias gives", () => {
  for (const { mnemonic, operands, base, fixed } of aliases) {
    const entry = riscvTable(64).find(base) ?? riscvTable(32).entry(base);
    const fields = new Set(entry.row.encoding.fields.map((field) => field.name));
    const given = operandForms(operands)
      .flatMap((form) => [form.field, form.base])
      .filter((name) => name !== "");
    for (const field of [...Object.keys(fixed), ...given]) expect(fields, mnemonic).toContain(field);
    const implied = ["fm", "pred", "succ", "rs1", "rd"];
    for (const field of fields) {
      if (base === "fence" && implied.includes(field)) continue;
      expect([...Object.keys(fixed), ...given], `${mnemonic} of ${base}`).toContain(field);
    }
  }
});
