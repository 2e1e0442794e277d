/** Front ends with a mistake in them are refused when they are made, by a message that names the place. */
import { describe, expect, it } from "vitest";
import type { FrontEnd, GuestInsn, Template } from "./front-end.js";
import { checkFrontEnd, FrontEndError, problemOf } from "./front-end-check.js";
import { BlockBuilder } from "./ir/builder.js";
import { stateShape } from "./ir/state.js";
import type { Value } from "./ir/types.js";
import type { Row } from "./table/row.js";
import { compressed } from "./table/row.js";
import { assembleRows } from "./table/row-assembler.js";
import { type InsnBuilder, insnRow, type RowFrontEndOptions, rowFrontEnd } from "./table/row-front-end.js";

type Any = Parameters<typeof JSON.stringify>[0];
const slots = [
  { name: "r", type: "i32", length: 32 },
  { name: "pc", type: "i32", length: 1 },
] as const;
const of = (rows: Readonly<Record<string, Any>>, options: Any = {}) =>
  rowFrontEnd({ name: "t", slots, illegal: 1, rows, ...options } as RowFrontEndOptions);
const add = (write: (m: Any, f: Any) => void, options = {}): Record<string, Row<InsnBuilder>> => ({
  add: insnRow("000011 rd rs1 rs2 00000000000", "rd, rs1, rs2", write, options),
});
const nothing = () => {};

describe("a front end from rows is refused", () => {
  let calls = 0;
  it.each<[string, () => unknown, string]>([
    ["a field that there is not", () => of(add((m, f) => m.set("r", f.rD, m.get("r", f.rs1)))), "t: row add: it uses field rD; it has rd, rs1, rs2"],
    ["a slot that there is not", () => of(add((m, f) => m.set("reg", f.rd, m.get("r", f.rs1)))), "t: row add: no slot reg; there are r, pc"],
    ["a number for a value", () => of(add((m, f) => m.set("r", f.rd, m.binary("add", m.get("r", f.rs1), 5)))), "t: row add: 5 is no value: numbers are made values by const32"],
    ["a number that is some value's place", () => of({ ...add((m, f) => m.set("r", f.rd, m.binary("add", m.get("r", f.rs1), 1))), nop: insnRow("111111 rd rs1 rs2 00000000000", "rd, rs1, rs2", (m, f) => m.set("r", f.rd, m.get("r", f.rs2))) }), "t: row add: its meaning is another with rd = 0, rs1 = 7, rs2 = 14"],
    ["a field for a value", () => of(add((m, f) => m.set("r", f.rd, m.binary("add", m.get("r", f.rs1), f.rs2)))), "t: row add: field rs2 is no value: m.field(f.rs2) makes it one"],
    ["an operation that there is not", () => of(add((m, f) => m.set("r", f.rd, m.binary("plus", m.get("r", f.rs1), m.get("r", f.rs2))))), "t: row add: no operation plus"],
    ["a comparison that there is not", () => of(add((m, f) => m.set("r", f.rd, m.compare("gt", m.get("r", f.rs1), m.get("r", f.rs2))))), "t: row add: no operation gt"],
    ["an operation after the exit", () => of(add((m, f) => { m.jumpIndirect(m.get("r", f.rs1)); m.get("r", f.rd); })), "t: row add: get after the block's exit"],
    ["a value of another type", () => of(add((m, f) => m.set("r", f.rd, m.const64(1)))), "t: row add: set r: the slot is i32, the value i64"],
    ["an address of another type", () => of(add((m) => m.store(8, m.const64(0), m.const32(0)))), "t: instruction add: %3 store: the address is i64"],
    ["a meaning that depends on a field", () => of(add((m, f) => { if (f.rd.value !== 13) m.set("r", f.rd, m.get("r", f.rs1)); })), "t: row add: its meaning is another with rd = 13, rs1 = 20, rs2 = 27"],
    ["a meaning that is another each time", () => of(add((m) => m.set("r", 1, m.const32(calls++)))), "t: row add: its meaning is another with"],
    ["an operand that is no field", () => of({ add: insnRow("000011 rd rs1 rs2 00000000000", "rd, rs9", nothing) }), "t: row add: the operands name rs9, which is no field; it has rd, rs1, rs2"],
    ["an address operand that is no field", () => of({ j: insnRow("000011 imm[25:0]", "@to", nothing) }), "t: row j: the operands name to, which is no field; it has imm"],
    ["an element that is not there", () => of(add((m) => m.set("r", 40, m.get("r", 0)))), "t: instruction add: %2 set: no element 40 in slot r"],
    ["a field wider than its slot", () => of(add((m, f) => m.set("r", f.rd, m.get("r", f.rs1))), { slots: [{ ...slots[0], length: 16 }, slots[1]] }), "t: instruction add: field rs1 is up to 31, and slot r has 16 elements: make it narrower, exclude values (rs1!=31), or make the slot longer"],
    ["a signed field for an element", () => of({ a: insnRow("000011 imm[25:0]", "imm", (m, f) => m.set("r", f.imm, m.const32(0))) }), "t: instruction a: field imm is signed, and numbers an element of slot r"],
    ["slot pc written", () => of(add((m) => m.set("pc", 0, m.const32(0)))), "t: instruction add: it sets slot pc, which is up to date between instructions only"],
    ["slot pc read", () => of(add((m, f) => m.set("r", f.rd, m.get("pc")))), "t: instruction add: it gets slot pc"],
    ["a cost of 0", () => of(add(nothing, { cost: 0 })), "t: row add: a cost of 0: 1 to 31"],
    ["a cost of 40", () => of(add(nothing, { cost: 40 })), "t: row add: a cost of 40: 1 to 31"],
    ["a cost that is no integer", () => of(add(nothing, { cost: 1.5 })), "t: row add: a cost of 1.5: 1 to 31"],
    ["a great charge", () => of(add((m) => m.charge(m.const32(1), 70_000))), "t: instruction add: it charges up to 70000: 65535 at most"],
    ["a field called length", () => of({ a: insnRow("000011 length[25:0]", "length", nothing) }), "t: row a: field length: the name stands for the instruction's length"],
    ["a field without values", () => of({ a: insnRow("00001100000000000000000000 pick[0]!=0,1 00000", "pick", nothing) }), "t: row a: field pick has no value that is not excluded"],
    ["a compressed row", () => of({ c: compressed("000011 imm[9:0]", "imm", () => ["add", {}]) }), "t: row c expands to add, which is not in the table"],
    ["two of one helper", () => of(add((m) => { for (const reads of [true, false]) m.call({ name: "h", parameters: [], result: null, effects: { reads, writes: false, exits: false } }, []); })), "t: instruction add: it declares helper h otherwise than another instruction does: share one"],
    ["no pc", () => of(add(nothing), { slots: [slots[0]] }), "t: it needs a slot pc of type i32 or i64"],
    ["pages of 100 bytes", () => of(add(nothing), { pageBytes: 100 }), "t: pageBytes of 100: a power of two from 256 to 4096"],
    ["an alignment of 3", () => of(add(nothing), { alignment: 3 }), "t: an alignment of 3: a power of two from 2 to 16 bytes"],
    ["an alignment of 8", () => of(add(nothing), { alignment: 8 }), "t: instruction add: a length of 4: instructions are aligned to 8 bytes"],
    ["an unknown policy", () => of(add(nothing), { misaligned: "trap" }), 't: misaligned is trap: "fault" or "mask"'],
    ["an unknown byte order", () => of(add(nothing), { byteOrder: "middle" }), 't: byteOrder is middle: "little" or "big"'],
    ["an unknown option", () => of(add(nothing), { alignement: 4 }), "t: no option alignement: there are name, slots, rows"],
    ["illegal that is no number", () => of(add(nothing), { illegal: "2" }), "t: illegal is 2: the number of an exception"],
    ["a slot of no elements", () => of(add(nothing), { slots: [{ ...slots[0], length: 0 }, slots[1]] }), "t: slot r: a length of 0: 1 or more"],
    ["a slot without a type", () => of(add(nothing), { slots: [{ ...slots[0], type: "i16" }, slots[1]] }), "t: slot r: there is no type i16"],
    ["a slot whose name is none", () => of(add(nothing), { slots: [{ ...slots[0], name: "a b" }, slots[1]] }), 't: slot "a b": a name is letters, digits and _'],
    ["an encoding of 24 bits", () => insnRow("00001100 imm[15:0]", "imm", nothing), 'encoding "00001100 imm[15:0]" has 24 bits: 16 or 32'],
  ])("with %s", (_, make, message) => {
    expect(make).toThrow(message);
  }); // biome-ignore format: one mistake a line

  it("but not with words that are no fields' names, excluded values, or registers that begin at 8", () => {
    const frontEnd = of(
      {
        clr: insnRow("000001 rd!=24,25,26,27,28,29,30,31 000000000000000000000", "a, rd", (m, f) =>
          m.set("r", f.rd, m.const32(0)),
        ),
        mov: insnRow("000010 rd' rs1' 00000000000000000000", "rd, rs1", (m, f) =>
          m.set("r", f.rd, m.get("r", f.rs1)),
        ),
      },
      { slots: [{ ...slots[0], length: 24 }, slots[1]] },
    );
    expect(frontEnd.templates[0]!.fields).toMatchObject([{ name: "rd", width: 5, maximum: 23 }]);
    expect(frontEnd.templates[1]!.fields).toMatchObject([
      { width: 4, maximum: 15 },
      { width: 4, maximum: 15 },
    ]);
    const { bytes } = assembleRows(frontEnd, "clr a, r23\n mov r9, r15");
    const insn = frontEnd.decode(bytes, 4, 4)!;
    expect([frontEnd.format(insn, 4, 0), insn.fields]).toEqual(["mov r9, r15", { rd: 9, rs1: 15 }]);
    expect(() => assembleRows(frontEnd, "clr a, r24")).toThrow(/rd|r24/);
  });
});

describe("a front end of one's own is refused", () => {
  const shape = stateShape(slots.slice(1));
  const block = (write: (b: BlockBuilder) => void, length = 2, cost = 1) => {
    const b = new BlockBuilder(shape, "i32");
    b.insn(0, length, cost);
    write(b);
    if (!b.finished) b.jump({ field: "length" });
    return b.finish();
  };
  const template: Template = { name: "any", fields: [], lengths: [2], block: block(() => {}) };
  const insn: GuestInsn = { opcode: 0, length: 2, fields: {} };
  const base: FrontEnd = {
    name: "own",
    shape,
    addressType: "i32",
    granularity: 1,
    maximumLength: 2,
    templates: [template],
    decode: (_, __, available) => (available < 2 ? null : insn),
    endsBlock: () => false,
    translate: (insns) => {
      const b = new BlockBuilder(shape, "i32");
      for (const [position] of insns.entries()) b.insn(2 * position, 2);
      b.jump(2 * insns.length);
      return b.finish();
    },
    format: () => "any",
  };
  const withBlock = (made: Template["block"]): Partial<FrontEnd> => ({
    templates: [{ ...template, block: made }],
  });

  it("but not where nothing is wrong", () => {
    expect(() => checkFrontEnd(base)).not.toThrow();
    expect(problemOf(base, insn, 2)).toBeUndefined();
  });

  it.each([8, 10, 14])("but not for a maximumLength of %d bytes, which one instruction has", (length) => {
    const long: FrontEnd = {
      ...base,
      maximumLength: length,
      templates: [{ ...template, lengths: [length], block: block(() => {}, length) }],
      decode: (_, __, available) => (available < length ? null : { ...insn, length }),
      translate: (insns) => {
        const b = new BlockBuilder(shape, "i32");
        for (const [position] of insns.entries()) b.insn(length * position, length);
        b.jump(length * insns.length);
        return b.finish();
      },
    };
    expect(() => checkFrontEnd(long)).not.toThrow();
  });

  it.each<[string, Partial<FrontEnd>, string]>([
    ["a length of 16", { maximumLength: 16 }, "own: a maximumLength of 16: 1 to 15 bytes"],
    ["a granularity of 2", { granularity: 2 }, "own: a granularity of 2: 0 (bytes) or 1 (half-words)"],
    ["addresses of another type than pc", { addressType: "i64" }, "own: it needs a slot pc of type i64 and length 1"],
    ["no templates", { templates: [] }, "own: it has no templates"],
    ["a template without a length", { templates: [{ ...template, lengths: [] }] }, "own: instruction any: it has no length"],
    ["a template of an odd length", { templates: [{ ...template, lengths: [1] }] }, "own: instruction any: a length of 1: instructions are aligned to 2 bytes"],
    ["two templates of one name", { templates: [template, template] }, "own: two templates are called any"],
    ["a field of 40 bits", { templates: [{ ...template, fields: [{ name: "x", width: 40, signed: false, zeroBecomes: undefined }] }] }, "own: instruction any: field x: a width of 40: 1 to 32 bits"],
    ["a cost of 32", withBlock(block(() => {}, 2, 32)), "own: instruction any: %0 insn: a cost of 32"],
    ["a field that is not declared", withBlock(block((b) => b.jump({ field: "to" }))), "own: instruction any: no field to; it has none"],
    ["a broken block", withBlock({ ...template.block, operations: [...template.block.operations, ...template.block.operations] }), "own: instruction any: %1 jump: an exit before the end of the block"],
    ["decode that never decodes", { decode: () => null }, "own: decode gives null for"],
    ["an opcode that there is not", { decode: () => ({ ...insn, opcode: 1 }) }, "own: decode gives opcode 1; there are 1"],
    ["a length that the template has not", { decode: () => ({ ...insn, length: 1 }) }, "own: instruction any: decode gives a length of 1; its template has 2"],
    ["more bytes than there are", { decode: () => insn }, "own: instruction any: decode gives 2 bytes where 1 are available: null"],
    ["a field that decode forgets", { templates: [{ ...template, fields: [{ name: "x", width: 4, signed: false, zeroBecomes: undefined }] }] }, "own: instruction any: decode gives field x the value undefined: 0 to 15"],
    ["a field out of range", { templates: [{ ...template, fields: [{ name: "x", width: 4, signed: true, zeroBecomes: undefined }] }], decode: (_, __, available) => (available < 2 ? null : { ...insn, fields: { x: 8 } }) }, "own: instruction any: decode gives field x the value 8: -8 to 7"],
    ["a block that says it ends", { endsBlock: () => true }, "own: instruction any: endsBlock says true, and its template goes on with the next"],
    ["a block without the mark", { translate: () => block(() => {}, 4) }, "own: translate(any): instruction 0, any, needs a mark at offset 0, 2 bytes long"],
    ["a cost of its own", { translate: () => block((b) => b.jump(2), 2, 3) }, "own: instruction any costs 3 where it is translated, 1 in its template"],
    ["a field left open", { translate: () => block(() => {}) }, "own: translate(any): jump has a field without a value"],
    ["a type error", { translate: () => block((b) => { b.store(8, b.const32(0), 7 as Value); b.jump(2); }) }, "own: translate(any): %2 store: operand %7 is not defined before"],
  ])("with %s", (_, wrong, message) => {
    const check = () => checkFrontEnd({ ...base, ...wrong });
    expect(check).toThrow(FrontEndError);
    expect(check).toThrow(message);
  }); // biome-ignore format: one mistake a line
});
