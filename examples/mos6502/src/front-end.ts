/**
 * The front end: decodes the 6502's bytes, and makes blocks of IR from them, by the tables of `opcodes.ts` and
 * `semantics.ts`. Instructions of 1 to 3 bytes do not fit the rows of `rowFrontEnd`, so this implements `FrontEnd`.
 *
 * Whether a taken branch crosses a page depends on where it lies: the decoder, which is told the low bits of the
 * address, makes a field of it. Addresses are not cut to 16 bits where indexing or a branch goes past the end of
 * memory: whoever maps addresses (`map` of `FlatCpu`) takes their low 16 bits.
 */
import type { Field, FrontEnd, GuestInsn, Target, Template, TemplateField, Value } from "@hyperfile/decoder";
import { type Mode, type Opcode, opcodes, operandText } from "./opcodes.js";
import { Cpu, operations, type Place, shape } from "./semantics.js";

/** Options of the CPU. */
export interface Mos6502Options {
  /** Whether the flag D makes ADC and SBC decimal; true unless given. */
  readonly decimal?: boolean;
}

/** Opcodes that do different things, the illegal ones among them: each has a template. */
const kinds: readonly Opcode[] = [
  ...new Map(opcodes.map((opcode) => [`${opcode.name} ${opcode.mode}`, opcode])).values(),
];
/** Place in `kinds` of each byte. */
const kindOf: readonly number[] = opcodes.map(({ name, mode }) =>
  kinds.findIndex((kind) => kind.name === name && kind.mode === mode),
);

/** The next instruction, in a template. */
const LENGTH: Target = { field: "length" };

const fieldOf = (name: string, width: number, signed = false): TemplateField => ({
  name,
  width,
  signed,
  zeroBecomes: undefined,
});
const fieldsOf = ({ mode, length }: Opcode): readonly TemplateField[] => {
  if (mode === "rel") return [fieldOf("target", 9, true), fieldOf("extra", 2)];
  return length === 1 ? [] : [fieldOf("operand", 8 * (length - 1))];
};

/** Makes the front end. */
export function mos6502(options: Mos6502Options = {}): FrontEnd {
  const { decimal = true } = options;
  const block = (write: (m: Cpu) => void, next?: Target) => {
    const m = new Cpu(decimal);
    write(m);
    if (!m.finished) m.jump(next ?? m.offset + m.length);
    return m.finish();
  };
  const templates: Template[] = kinds.map((kind) => ({
    name: `${kind.name}_${kind.mode}`,
    fields: fieldsOf(kind),
    lengths: [kind.length],
    block: block((m) => {
      m.begin(0, kind.length, kind.cycles);
      write(m, kind, (name) => ({ name, value: undefined }));
    }, LENGTH),
  }));
  const ends = templates.map(({ block }) => {
    const exit = block.operations[block.operations.length - 1]!;
    return exit.op !== "jump";
  });
  return {
    name: "mos6502",
    shape,
    addressType: "i32",
    granularity: 0,
    maximumLength: 3,
    pageBytes: 256,
    templates,
    decode,
    endsBlock: ({ opcode }) => ends[opcode]!,
    translate: (insns) =>
      block((m) => {
        let offset = 0;
        for (const { opcode, length, fields } of insns) {
          const kind = kinds[opcode]!;
          m.begin(offset, length, kind.cycles);
          write(m, kind, (name) => ({ name, value: fields[name]! }));
          offset += length;
        }
      }),
    format,
  };
}

function decode(bytes: Uint8Array, at: number, available: number, offset = 0): GuestInsn | null {
  if (available < 1) return null;
  const byte = bytes[at]!;
  const { mode, length } = opcodes[byte]!;
  if (length > available) return null;
  const opcode = kindOf[byte]!;
  if (length === 1) return { opcode, length, fields: {} };
  const low = bytes[at + 1]!;
  if (mode !== "rel")
    return { opcode, length, fields: { operand: length === 2 ? low : low | (bytes[at + 2]! << 8) } };
  const next = offset + 2;
  const target = next + ((low << 24) >> 24);
  return { opcode, length, fields: { target: target - offset, extra: target >> 8 === next >> 8 ? 1 : 2 } };
}

/** Emits an instruction's meaning. */
function write(m: Cpu, opcode: Opcode, field: (name: string) => Field): void {
  const { name, mode, use } = opcode;
  if (use === "none") return control(m, opcode, field);
  if (mode === "imm") return operations.reads[name]!(m, m.field(field("operand")));
  const place = locate(m, mode, m.field(field("operand")));
  if (use === "store") return store(m, name, place);
  const value = m.load8(place.address);
  if (use === "modify") return m.store(8, place.address, operations.modifies[name]!(m, value));
  if (opcode.pageCost) m.charge(crossing(m, place), 1);
  operations.reads[name]!(m, value);
}

function control(m: Cpu, { name, mode, length }: Opcode, field: (name: string) => Field): void {
  if (mode === "rel") {
    const target = field("target");
    const isKnown = target.value !== undefined;
    const taken: Target = isKnown ? m.offset + target.value : { field: "target" };
    return m.branchTo(
      operations.conditions[name]!(m),
      taken,
      field("extra"),
      isKnown ? m.offset + length : LENGTH,
    );
  }
  if (mode === "imp") return operations.implied[name]!(m);
  const operand = m.field(field("operand"));
  if (name === "jsr") return m.jsr(operand);
  m.jumpIndirect(mode === "ind" ? word(m, operand, highByteInPage(m, operand)) : operand);
}

/** Where the high byte of a vector is: the chip's carry stays in the page. */
const highByteInPage = (m: Cpu, address: Value): Value =>
  m.or(m.and(address, 0xff00), m.byte(m.add(address, 1)));

const word = (m: Cpu, low: Value, high: Value): Value => m.or(m.load8(low), m.left(m.load8(high), 8));

function locate(m: Cpu, mode: Mode, operand: Value): Place {
  const indexed = (base: Value, index: "x" | "y") => ({ address: m.binary("add", base, m.of(index)), base });
  const inZeroPage = (pointer: Value) => word(m, pointer, m.byte(m.add(pointer, 1)));
  switch (mode) {
    case "zpx":
    case "zpy":
      return { address: m.byte(m.binary("add", operand, m.of(mode === "zpx" ? "x" : "y"))), base: operand };
    case "abx":
    case "aby":
      return indexed(operand, mode === "abx" ? "x" : "y");
    case "izx": {
      const address = inZeroPage(m.byte(m.binary("add", operand, m.of("x"))));
      return { address, base: address };
    }
    case "izy":
      return indexed(inZeroPage(operand), "y");
    default:
      return { address: operand, base: operand };
  }
}

/** 1 if indexing went to another page. */
const crossing = (m: Cpu, { address, base }: Place): Value =>
  m.and(m.right(m.binary("xor", address, base), 8), 1);

function store(m: Cpu, name: string, place: Place): void {
  const value = operations.stores[name]!(m);
  if (!operations.unstable.has(name)) return m.store(8, place.address, value);
  const mask = m.byte(m.add(m.right(place.base, 8), 1));
  const masked = m.binary("and", value, mask);
  const spoilt = m.or(m.left(masked, 8), m.byte(place.address));
  m.store(8, m.select(crossing(m, place), spoilt, place.address), masked);
}

function format({ opcode, fields }: GuestInsn, pc: number): string {
  const { name, mode, length } = kinds[opcode]!;
  const text = operandText(mode);
  const [number, digits] =
    mode === "rel" ? [pc + fields.target!, 4] : [fields.operand ?? 0, 2 * (length - 1)];
  const hexadecimal = (number & 0xffff).toString(16).padStart(digits, "0");
  return text === "" ? name : `${name} ${text.replace("%", `$${hexadecimal}`)}`;
}
