/** RISC-V as a front end of the translator: RV32GC and RV64GC with the extensions of an ISA. */
import { markBuiltIn } from "../built-in.js";
import type { FrontEnd, GuestInsn, Template } from "../front-end.js";
import type { Block, Field } from "../ir/types.js";
import type { TableEntry } from "../table/instruction-table.js";
import { encode, type FieldSpec } from "../table/row.js";
import { disassemble } from "./disassembler.js";
import type { RiscvIsa } from "./extension.js";
import { standardIsa } from "./isa.js";
import { RiscvSemantics } from "./semantics.js";
import { SINK } from "./state.js";

/** log2 of the number of decoded instructions that a front end keeps at hand. */
const RECENT_BITS = 13;

/** Helpers after which the block always ends, and exits that rows emit: asked of the row's own template. */
const endsBlock = (block: Block): boolean => {
  const last = block.operations[block.operations.length - 1]!;
  const target = last.targets?.[0];
  return last.op !== "jump" || typeof target !== "object" || target.field !== "length";
};

const known = (name: string, value: number): Field => ({ name, value });
const symbolic = (name: string): Field => ({ name, value: undefined });
const templateWidth = (field: FieldSpec): number => (field.bias > 0 ? 5 : field.width);

function templateOf(
  entry: TableEntry<RiscvSemantics>,
  machine: RiscvSemantics,
  lengths: readonly number[],
): Template {
  machine.begin(0, undefined);
  const specs = entry.row.encoding.fields;
  entry.row.execute!(machine, Object.fromEntries(specs.map((field) => [field.name, symbolic(field.name)])));
  if (!machine.builder.finished) machine.next();
  return {
    name: entry.name,
    fields: specs.map((field) => ({
      name: field.name,
      width: templateWidth(field),
      signed: field.signed,
      zeroBecomes: machine.sinkFields.has(field.name) ? SINK : undefined,
    })),
    lengths,
    block: machine.builder.finish(),
  };
}

/** Names of the base instructions that compressed ones stand for. */
function compressedTargets(entries: readonly TableEntry<RiscvSemantics>[]): ReadonlySet<string> {
  const names = entries.flatMap(({ row }) => {
    if (row.expand === undefined) return [];
    return [row.expand(Object.fromEntries(row.encoding.fields.map((field) => [field.name, field.bias])))[0]];
  });
  return new Set(names);
}

function illegalTemplate(xlen: 32 | 64): Template {
  const machine = new RiscvSemantics(xlen);
  machine.begin(0, undefined);
  machine.illegal();
  return { name: "illegal", fields: [], lengths: [2, 4], block: machine.builder.finish() };
}

/**
 * Makes the front end of a hart whose integer registers have `xlen` bits. With extensions that are not the library's
 * own it is none of the library's either: an engine checks all that it gives.
 * @param isa what there is to decode; {@link standardIsa} unless given
 */
export function riscvFrontEnd(xlen: 32 | 64, isa: RiscvIsa = standardIsa): FrontEnd {
  const table = isa.table(xlen);
  const shape = isa.shape(xlen);
  const { csrNames } = isa;
  const isOwn = isa.extensions.every(({ instructions, name }) =>
    standardIsa.extensions.some((own) => own.name === name && own.instructions === instructions),
  );
  const base = table.entries.filter((entry) => entry.row.execute !== undefined);
  const short = compressedTargets(table.entries);
  const lengthsOf = (entry: TableEntry<RiscvSemantics>) => (short.has(entry.name) ? [4, 2] : [4]);
  const templates = [
    ...base.map((entry) => templateOf(entry, new RiscvSemantics(xlen, shape), lengthsOf(entry))),
    illegalTemplate(xlen),
  ];
  const illegal = templates.length - 1;
  const ends = templates.map((template) => endsBlock(template.block));
  const opcodeOf = new Map(base.map((entry, index) => [entry, index]));

  const decodeBits = (bits: number, length: number): GuestInsn => {
    const decoded = table.decode(bits, length);
    if (decoded === undefined) return { opcode: illegal, length, fields: { bits } };
    return { opcode: opcodeOf.get(decoded.entry)!, length, fields: decoded.fields };
  };
  // Code is decoded again and again, when it is patched, evicted or translated: the same bits give the same object.
  const recent = new Array<GuestInsn | undefined>(1 << RECENT_BITS).fill(undefined);
  const recentBits = new Int32Array(1 << RECENT_BITS);

  const frontEnd: FrontEnd = {
    name: isOwn ? `rv${xlen}gc` : isa.string(xlen),
    shape,
    addressType: xlen === 64 ? "i64" : "i32",
    granularity: 1,
    maximumLength: 4,
    templates,
    decode(bytes, at, available): GuestInsn | null {
      const low = bytes[at]! | (bytes[at + 1]! << 8);
      const length = (low & 3) === 3 ? 4 : 2;
      if (length > available) return null;
      const bits = length === 2 ? low : low | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24);
      const slot = (bits ^ (bits >>> RECENT_BITS)) & ((1 << RECENT_BITS) - 1);
      const known = recent[slot];
      if (known !== undefined && recentBits[slot] === bits) return known;
      const insn = decodeBits(bits, length);
      recent[slot] = insn;
      recentBits[slot] = bits;
      return insn;
    },
    endsBlock: (insn) => ends[insn.opcode]!,
    translate(insns): Block {
      const machine = new RiscvSemantics(xlen, shape);
      let offset = 0;
      for (const insn of insns) {
        machine.begin(offset, insn.length);
        if (insn.opcode === illegal) machine.illegal();
        else {
          const fields: Record<string, Field> = {};
          for (const name of Object.keys(insn.fields)) fields[name] = known(name, insn.fields[name]!);
          base[insn.opcode]!.row.execute!(machine, fields);
        }
        offset += insn.length;
      }
      if (!machine.builder.finished) machine.next();
      return machine.builder.finish();
    },
    format(insn, pcLo, pcHi): string {
      const entry = base[insn.opcode];
      if (entry === undefined) return `.insn ${insn.length}, 0x${(insn.fields.bits! >>> 0).toString(16)}`;
      const pc = (BigInt(pcHi >>> 0) << 32n) | BigInt(pcLo >>> 0);
      return disassemble(table, encode(entry.row.encoding, insn.fields), 4, pc, { csrNames });
    },
  };
  return isOwn ? markBuiltIn(frontEnd) : frontEnd;
}
