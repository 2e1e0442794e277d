/**
 * Writes WebAssembly: instructions straight into a byte array, and the sections around them
 * (WebAssembly Core Specification, chapter 5, "Binary Format").
 *
 * Which way a branch usually goes is told in a custom section (the branch hinting proposal), which engines may ignore:
 * with it, V8 moves slow paths out of the way and keeps values in registers across them.
 *
 * Function bodies are written before the module exists, so imported functions are numbered in the order of their
 * first call, and the module's own functions follow them. Modules that share one {@link Numbering} number types and
 * imports alike, so that a body which was written for one of them can be put into another as it is.
 */

/** Value types (5.3.1). */
export const ValueType = { i32: 0x7f, i64: 0x7e, f32: 0x7d, f64: 0x7c } as const;
export type ValueType = (typeof ValueType)[keyof typeof ValueType];

/** Block type of a structured instruction that leaves nothing on the stack. */
const NO_RESULT = 0x40;

/** Opcodes of the instructions that are used (5.4); names as in the text format, dots and slashes as `_`. */
export const Op = {
  unreachable: 0x00,
  block: 0x02,
  loop: 0x03,
  if: 0x04,
  else: 0x05,
  end: 0x0b,
  br: 0x0c,
  br_if: 0x0d,
  br_table: 0x0e,
  return: 0x0f,
  call: 0x10,
  call_indirect: 0x11,
  return_call_indirect: 0x13,
  drop: 0x1a,
  select: 0x1b,
  local_get: 0x20,
  local_set: 0x21,
  local_tee: 0x22,
  i32_load: 0x28,
  i64_load: 0x29,
  f32_load: 0x2a,
  f64_load: 0x2b,
  i32_load8_s: 0x2c,
  i32_load8_u: 0x2d,
  i32_load16_s: 0x2e,
  i32_load16_u: 0x2f,
  i64_load8_s: 0x30,
  i64_load8_u: 0x31,
  i64_load16_s: 0x32,
  i64_load16_u: 0x33,
  i64_load32_s: 0x34,
  i64_load32_u: 0x35,
  i32_store: 0x36,
  i64_store: 0x37,
  i32_store8: 0x3a,
  i32_store16: 0x3b,
  i64_store8: 0x3c,
  i64_store16: 0x3d,
  i64_store32: 0x3e,
  i32_const: 0x41,
  i64_const: 0x42,
  f32_const: 0x43,
  f64_const: 0x44,
  i32_eqz: 0x45,
  i32_eq: 0x46,
  i32_ne: 0x47,
  i32_lt_s: 0x48,
  i32_lt_u: 0x49,
  i32_gt_s: 0x4a,
  i32_gt_u: 0x4b,
  i32_le_s: 0x4c,
  i32_le_u: 0x4d,
  i32_ge_s: 0x4e,
  i32_ge_u: 0x4f,
  i64_eqz: 0x50,
  i64_eq: 0x51,
  i64_ne: 0x52,
  i64_lt_s: 0x53,
  i64_lt_u: 0x54,
  i64_gt_s: 0x55,
  i64_gt_u: 0x56,
  i64_le_s: 0x57,
  i64_le_u: 0x58,
  i64_ge_s: 0x59,
  i64_ge_u: 0x5a,
  f32_eq: 0x5b,
  f32_lt: 0x5d,
  f32_gt: 0x5e,
  f32_le: 0x5f,
  f64_eq: 0x61,
  f64_lt: 0x63,
  f64_gt: 0x64,
  f64_le: 0x65,
  f64_ge: 0x66,
  i32_clz: 0x67,
  i32_ctz: 0x68,
  i32_popcnt: 0x69,
  i32_add: 0x6a,
  i32_sub: 0x6b,
  i32_mul: 0x6c,
  i32_div_s: 0x6d,
  i32_div_u: 0x6e,
  i32_rem_s: 0x6f,
  i32_rem_u: 0x70,
  i32_and: 0x71,
  i32_or: 0x72,
  i32_xor: 0x73,
  i32_shl: 0x74,
  i32_shr_s: 0x75,
  i32_shr_u: 0x76,
  i32_rotl: 0x77,
  i32_rotr: 0x78,
  i64_clz: 0x79,
  i64_ctz: 0x7a,
  i64_popcnt: 0x7b,
  i64_add: 0x7c,
  i64_sub: 0x7d,
  i64_mul: 0x7e,
  i64_div_s: 0x7f,
  i64_div_u: 0x80,
  i64_rem_s: 0x81,
  i64_rem_u: 0x82,
  i64_and: 0x83,
  i64_or: 0x84,
  i64_xor: 0x85,
  i64_shl: 0x86,
  i64_shr_s: 0x87,
  i64_shr_u: 0x88,
  i64_rotl: 0x89,
  i64_rotr: 0x8a,
  f32_abs: 0x8b,
  f32_sqrt: 0x91,
  f32_add: 0x92,
  f32_sub: 0x93,
  f32_mul: 0x94,
  f32_div: 0x95,
  f32_min: 0x96,
  f32_max: 0x97,
  f64_abs: 0x99,
  f64_neg: 0x9a,
  f64_sqrt: 0x9f,
  f64_add: 0xa0,
  f64_sub: 0xa1,
  f64_mul: 0xa2,
  f64_div: 0xa3,
  f64_min: 0xa4,
  f64_max: 0xa5,
  i32_wrap_i64: 0xa7,
  i64_extend_i32_s: 0xac,
  i64_extend_i32_u: 0xad,
  f32_convert_i32_s: 0xb2,
  f64_convert_i32_s: 0xb7,
  f64_convert_i32_u: 0xb8,
  f64_convert_i64_s: 0xb9,
  f32_convert_i64_s: 0xb4,
  f32_demote_f64: 0xb6,
  f64_promote_f32: 0xbb,
  i32_reinterpret_f32: 0xbc,
  i64_reinterpret_f64: 0xbd,
  f32_reinterpret_i32: 0xbe,
  f64_reinterpret_i64: 0xbf,
  i32_extend8_s: 0xc0,
  i32_extend16_s: 0xc1,
  i64_extend8_s: 0xc2,
  i64_extend16_s: 0xc3,
  i64_extend32_s: 0xc4,
  /** Prefix of the saturating conversions. */
  saturating: 0xfc,
} as const;

/** Second bytes after {@link Op.saturating}. */
export const Saturating = {
  i32_trunc_sat_f32_s: 0,
  i32_trunc_sat_f64_s: 2,
  i64_trunc_sat_f32_s: 4,
  i64_trunc_sat_f64_s: 6,
} as const;

const utf8 = new TextEncoder();

/** A growing array of bytes with the number formats of WebAssembly. */
export class ByteWriter {
  private bytes: Uint8Array;
  length = 0;

  constructor(capacity = 1024) {
    this.bytes = new Uint8Array(capacity);
  }

  /** What was written; valid until the next write. */
  get written(): Uint8Array {
    return this.bytes.subarray(0, this.length);
  }

  /** Gives back the room that is not used: nothing more is written soon. */
  trim(): void {
    this.bytes = this.written.slice();
  }

  /** Forgets what was written. */
  clear(): void {
    this.length = 0;
  }

  byte(value: number): void {
    if (this.length === this.bytes.length) this.grow(1);
    this.bytes[this.length++] = value;
  }

  append(bytes: Uint8Array): void {
    if (this.length + bytes.length > this.bytes.length) this.grow(bytes.length);
    this.bytes.set(bytes, this.length);
    this.length += bytes.length;
  }

  /** Unsigned LEB128 of a 32-bit number. */
  unsigned(value: number): void {
    let rest = value >>> 0;
    while (rest > 0x7f) {
      this.byte((rest & 0x7f) | 0x80);
      rest >>>= 7;
    }
    this.byte(rest);
  }

  /** Signed LEB128 of an int32. */
  signed(value: number): void {
    let rest = value | 0;
    while (rest < -64 || rest > 63) {
      this.byte((rest & 0x7f) | 0x80);
      rest >>= 7;
    }
    this.byte(rest & 0x7f);
  }

  /** Signed LEB128 of an int64 in two halves. */
  signedWide(lo: number, hi: number): void {
    let low = lo | 0;
    let high = hi | 0;
    while (high !== low >> 31 || low < -64 || low > 63) {
      this.byte((low & 0x7f) | 0x80);
      low = (low >>> 7) | (high << 25);
      high >>= 7;
    }
    this.byte(low & 0x7f);
  }

  name(text: string): void {
    const bytes = utf8.encode(text);
    this.unsigned(bytes.length);
    this.append(bytes);
  }

  private grow(needed: number): void {
    const bytes = new Uint8Array(Math.max(this.bytes.length * 2, this.length + needed));
    bytes.set(this.written);
    this.bytes = bytes;
  }
}

/** A function's parameters and results. */
export interface Signature {
  readonly parameters: readonly ValueType[];
  readonly results: readonly ValueType[];
}

/** Writes the instructions of one function body, and numbers its locals. */
export class FunctionWriter {
  readonly code = new ByteWriter(4096);
  private readonly locals: ValueType[] = [];
  /** Which way branches usually go; offsets in `code`. */
  readonly hints: { readonly offset: number; readonly likely: 0 | 1 }[] = [];
  /** Structured instructions that are open now. */
  depth = 0;
  /** Whether there is a call through the table. */
  usesTable = false;

  constructor(
    private readonly numbering: Numbering,
    private readonly parameterCount: number,
  ) {}

  /** A new local; its number. */
  local(type: ValueType): number {
    this.locals.push(type);
    return this.parameterCount + this.locals.length - 1;
  }

  /** Types of the locals after the parameters. */
  get localTypes(): readonly ValueType[] {
    return this.locals;
  }

  /** The function is complete, and kept: gives back the room that its code does not use. */
  trim(): void {
    this.code.trim();
  }

  op(opcode: number): void {
    this.code.byte(opcode);
  }

  i32(value: number): void {
    this.code.byte(Op.i32_const);
    this.code.signed(value);
  }

  i64(lo: number, hi: number): void {
    this.code.byte(Op.i64_const);
    this.code.signedWide(lo, hi);
  }

  f64(value: number): void {
    this.code.byte(Op.f64_const);
    this.code.append(new Uint8Array(new Float64Array([value]).buffer));
  }

  f32(value: number): void {
    this.code.byte(Op.f32_const);
    this.code.append(new Uint8Array(new Float32Array([value]).buffer));
  }

  get(local: number): void {
    this.code.byte(Op.local_get);
    this.code.unsigned(local);
  }

  set(local: number): void {
    this.code.byte(Op.local_set);
    this.code.unsigned(local);
  }

  tee(local: number): void {
    this.code.byte(Op.local_tee);
    this.code.unsigned(local);
  }

  /** A load or store at the address on the stack plus `offset`; natural alignment is not promised. */
  memory(opcode: number, offset = 0): void {
    this.code.byte(opcode);
    this.code.unsigned(0);
    this.code.unsigned(offset);
  }

  /** A load at a fixed address. */
  loadAt(opcode: number, address: number): void {
    this.i32(0);
    this.memory(opcode, address);
  }

  block(): void {
    this.open(Op.block, NO_RESULT);
  }

  loop(): void {
    this.open(Op.loop, NO_RESULT);
  }

  /** Runs what follows if the i32 on the stack is not zero; both arms leave a `result` if one is named. */
  if(result?: ValueType): void {
    this.open(Op.if, result ?? NO_RESULT);
  }

  /** Like {@link if}, where the first arm is the usual one. */
  ifLikely(): void {
    this.hints.push({ offset: this.code.length, likely: 1 });
    this.open(Op.if, NO_RESULT);
  }

  /** Like {@link if}, where the first arm is hardly ever taken. */
  ifUnlikely(): void {
    this.hints.push({ offset: this.code.length, likely: 0 });
    this.open(Op.if, NO_RESULT);
  }

  else(): void {
    this.code.byte(Op.else);
  }

  end(): void {
    this.code.byte(Op.end);
    this.depth--;
  }

  /** Branches to the structured instruction that was opened when `depth` was `target - 1`. */
  br(target: number): void {
    this.code.byte(Op.br);
    this.code.unsigned(this.depth - target);
  }

  brIf(target: number): void {
    this.code.byte(Op.br_if);
    this.code.unsigned(this.depth - target);
  }

  /** Branches by the number on the stack to one of `targets`, or to `fallback`. */
  brTable(targets: readonly number[], fallback: number): void {
    this.code.byte(Op.br_table);
    this.code.unsigned(targets.length);
    for (const target of [...targets, fallback]) this.code.unsigned(this.depth - target);
  }

  /** Calls an imported function. */
  call(name: string, parameters: readonly ValueType[], results: readonly ValueType[]): void {
    this.code.byte(Op.call);
    this.code.unsigned(this.numbering.importFunction(name, { parameters, results }));
  }

  /** Calls through the table: element number on the stack, after the arguments. */
  callIndirect(signature: Signature): void {
    this.code.byte(Op.call_indirect);
    this.code.unsigned(this.numbering.type(signature));
    this.code.unsigned(0);
    this.usesTable = true;
  }

  private open(opcode: number, type: number): void {
    this.code.byte(opcode);
    this.code.byte(type);
    this.depth++;
  }
}

/** Section numbers (5.5.2). */
const Section = { custom: 0, type: 1, import: 2, function: 3, export: 7, code: 10 } as const;

/** The memory `m` that a module imports from module `e`. */
export interface ModuleMemory {
  /** Pages of 64 KiB, initial and maximum. */
  readonly memoryPages: number;
  readonly shared: boolean;
}

/** Numbers of the types and imported functions of modules. They only ever grow. */
export class Numbering {
  private readonly types: Signature[] = [];
  private readonly typeIndex = new Map<string, number>();
  private readonly imports = new Map<string, { readonly index: number; readonly type: number }>();
  private readonly importSignatures = new Map<string, Signature>();
  /** The sections of types and imports that the last module had, by what else they depend on. */
  private readonly heads = new Map<string, Uint8Array>();

  /** All signatures, by their index. */
  get signatures(): readonly Signature[] {
    return this.types;
  }

  /** The imported functions by name, in order. */
  get importedFunctions(): ReadonlyMap<string, Signature> {
    return this.importSignatures;
  }

  /** Index of a signature. */
  type(signature: Signature): number {
    const key = `${signature.parameters.join()}:${signature.results.join()}`;
    let index = this.typeIndex.get(key);
    if (index === undefined) {
      index = this.types.length;
      this.types.push(signature);
      this.typeIndex.set(key, index);
      this.heads.clear();
    }
    return index;
  }

  /** Index of an imported function, imported at its first use. A name has one signature. */
  importFunction(name: string, signature: Signature): number {
    const known = this.imports.get(name);
    if (known !== undefined) return known.index;
    const index = this.imports.size;
    this.imports.set(name, { index, type: this.type(signature) });
    this.importSignatures.set(name, signature);
    this.heads.clear();
    return index;
  }

  /**
   * A module's beginning: preamble, types and imports. All modules between two new imports have the same one, and it is
   * most of a small module.
   */
  head(memory: ModuleMemory, usesTable: boolean): Uint8Array {
    const { memoryPages, shared } = memory;
    const key = `${memoryPages} ${shared} ${usesTable}`;
    let head = this.heads.get(key);
    if (head === undefined) {
      const out = new ByteWriter(8192);
      out.append(new Uint8Array([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0]));
      writeSection(out, Section.type, (content) => this.writeTypes(content));
      writeSection(out, Section.import, (content) => this.writeImports(content, memory, usesTable));
      head = out.written.slice();
      this.heads.set(key, head);
    }
    return head;
  }

  private writeTypes(content: ByteWriter): void {
    content.unsigned(this.types.length);
    for (const { parameters, results } of this.types) {
      content.byte(0x60);
      content.unsigned(parameters.length);
      for (const type of parameters) content.byte(type);
      content.unsigned(results.length);
      for (const type of results) content.byte(type);
    }
  }

  private writeImports(content: ByteWriter, memory: ModuleMemory, usesTable: boolean): void {
    content.unsigned(this.imports.size + 1 + (usesTable ? 1 : 0));
    for (const [name, { type }] of this.imports) {
      content.name("e");
      content.name(name);
      content.byte(0);
      content.unsigned(type);
    }
    if (usesTable) {
      content.name("e");
      content.name("t");
      content.append(new Uint8Array([1, 0x70, 0, 0]));
    }
    content.name("e");
    content.name("m");
    content.append(new Uint8Array([2, memory.shared ? 3 : 1]));
    content.unsigned(memory.memoryPages);
    content.unsigned(memory.memoryPages);
  }
}

function writeSection(out: ByteWriter, id: number, write: (content: ByteWriter) => void): void {
  const content = new ByteWriter();
  write(content);
  out.byte(id);
  out.unsigned(content.length);
  out.append(content.written);
}

/** Builds one module. */
export class ModuleWriter {
  private readonly functions: {
    readonly name: string;
    readonly type: number;
    readonly body: FunctionWriter;
  }[] = [];

  /** @param numbering that of other modules, to exchange functions with them */
  constructor(private readonly numbering = new Numbering()) {}

  /** The imported functions by name, in order. */
  get importedFunctions(): ReadonlyMap<string, Signature> {
    return this.numbering.importedFunctions;
  }

  /** The signature with this index. */
  signature(type: number): Signature {
    return this.numbering.signatures[type]!;
  }

  /** Index of a signature. */
  type(signature: Signature): number {
    return this.numbering.type(signature);
  }

  /** Begins a function that is exported under a name. */
  function(name: string, signature: Signature): FunctionWriter {
    const body = new FunctionWriter(this.numbering, signature.parameters.length);
    this.adopt(name, signature, body);
    return body;
  }

  /** Adds a function that was written for a module of the same numbering. */
  adopt(name: string, signature: Signature, body: FunctionWriter): void {
    this.functions.push({ name, type: this.numbering.type(signature), body });
  }

  /** The module's bytes. */
  finish(memory: ModuleMemory): Uint8Array {
    const imports = this.numbering.importedFunctions.size;
    const out = new ByteWriter(8192);
    out.append(
      this.numbering.head(
        memory,
        this.functions.some(({ body }) => body.usesTable),
      ),
    );
    writeSection(out, Section.function, (content) => {
      content.unsigned(this.functions.length);
      for (const { type } of this.functions) content.unsigned(type);
    });
    writeSection(out, Section.export, (content) => {
      content.unsigned(this.functions.length);
      this.functions.forEach(({ name }, index) => {
        content.name(name);
        content.byte(0);
        content.unsigned(imports + index);
      });
    });
    const heads = this.functions.map(({ body }) => {
      const head = new ByteWriter(64);
      writeLocals(head, body.localTypes);
      return head;
    });
    writeSection(out, Section.custom, (content) => {
      content.name("metadata.code.branch_hint");
      content.unsigned(this.functions.length);
      this.functions.forEach(({ body }, index) => {
        content.unsigned(imports + index);
        content.unsigned(body.hints.length);
        for (const { offset, likely } of body.hints) {
          content.unsigned(heads[index]!.length + offset);
          content.byte(1);
          content.byte(likely);
        }
      });
    });
    writeSection(out, Section.code, (content) => {
      content.unsigned(this.functions.length);
      for (const [index, { body }] of this.functions.entries()) {
        const head = heads[index]!;
        content.unsigned(head.length + body.code.length + 1);
        content.append(head.written);
        content.append(body.code.written);
        content.byte(Op.end);
      }
    });
    return out.written;
  }
}

/** Locals are declared in runs of one type. */
function writeLocals(out: ByteWriter, types: readonly ValueType[]): void {
  const runs: { type: ValueType; count: number }[] = [];
  for (const type of types) {
    const last = runs[runs.length - 1];
    if (last?.type === type) last.count++;
    else runs.push({ type, count: 1 });
  }
  out.unsigned(runs.length);
  for (const { type, count } of runs) {
    out.unsigned(count);
    out.byte(type);
  }
}
