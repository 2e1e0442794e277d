/**
 * The machine that RISC-V rows are written against: registers, immediates, control flow and floating point in
 * the manual's terms, emitted as IR. Rows never test a value in TypeScript, and fields only through this class,
 * so one row serves a translation (fields known) and an interpreter's handler (fields symbolic).
 */
import { BlockBuilder } from "../ir/builder.js";
import type { StateShape } from "../ir/state.js";
import type { AmoKind, Field, Helper, Type, Value, Width } from "../ir/types.js";
import { type RiscvHelpers, riscvHelpers } from "./helpers.js";
import { riscvState, SINK } from "./state.js";

/** Exception numbers that rows raise themselves (privileged manual, table of `mcause` values). */
export const ILLEGAL_INSTRUCTION = 2;
/** `FS` and rounding mode encodings used below. */
const FS_DIRTY = 3;
const RM_DYNAMIC = 7;
const RM_LAST_VALID = 4;

const shapes = { 32: riscvState(32), 64: riscvState(64) };
const helpers = { 32: riscvHelpers(32), 64: riscvHelpers(64) };

/** Emits the meaning of RISC-V instructions into one block. */
export class RiscvSemantics {
  readonly builder: BlockBuilder;
  readonly helpers: RiscvHelpers;
  /** Type of an integer register. */
  readonly x: "i32" | "i64";
  private offset = 0;
  private lengthField: Field = { name: "length", value: undefined };
  /** What the block has found out or done already, and need not again: see `requireFloat` and what follows it. */
  private floatIsOn = false;
  private floatIsDirty = false;
  private dynamicModeIsValid = false;
  /** Fields that named the destination of an integer register write: their 0 goes to the sink. */
  readonly sinkFields = new Set<string>();

  /** @param shape the slots that there are; those of a hart without added extensions unless given */
  constructor(
    readonly xlen: 32 | 64,
    shape: StateShape = shapes[xlen],
  ) {
    this.x = xlen === 64 ? "i64" : "i32";
    this.builder = new BlockBuilder(shape, this.x);
    this.helpers = helpers[xlen];
  }

  /** Starts the next instruction, `offset` bytes into the block; `length` is unknown inside a template. */
  begin(offset: number, length: number | undefined): void {
    this.offset = offset;
    this.lengthField = { name: "length", value: length };
    this.builder.insn(offset, length ?? 0);
  }

  // -- registers and constants

  /** Integer register; x0 reads as zero. */
  readX(field: Field): Value {
    return field.value === 0 ? this.constant(0) : this.builder.get("x", field);
  }

  /** Writes an integer register; writes to x0 vanish. */
  writeX(field: Field, value: Value): void {
    if (field.value === 0) return;
    if (field.value === undefined) this.sinkFields.add(field.name);
    this.builder.set("x", field, value);
  }

  /** A constant of register width. */
  constant(value: number): Value {
    return this.builder.constant(this.x, value);
  }

  /** A field with its sign (if it has one) extended to register width. */
  imm(field: Field): Value {
    return field.value !== undefined ? this.constant(field.value) : this.sext(this.builder.field(field));
  }

  /** A field as an i32: shift amounts, register numbers, CSR numbers. */
  imm32(field: Field): Value {
    return this.builder.field(field);
  }

  // -- register-width arithmetic

  add = (a: Value, b: Value): Value => this.builder.binary("add", a, b);
  sub = (a: Value, b: Value): Value => this.builder.binary("sub", a, b);
  and = (a: Value, b: Value): Value => this.builder.binary("and", a, b);
  or = (a: Value, b: Value): Value => this.builder.binary("or", a, b);
  xor = (a: Value, b: Value): Value => this.builder.binary("xor", a, b);
  not = (a: Value): Value => this.xor(a, this.builder.constant(this.builder.typeOf(a), -1));
  neg = (a: Value): Value => this.sub(this.builder.constant(this.builder.typeOf(a), 0), a);
  /** Shifts: the amount is an i32 and counts modulo the width of `a`. */
  shl = (a: Value, amount: Value): Value => this.builder.shift("shl", a, amount);
  shru = (a: Value, amount: Value): Value => this.builder.shift("shru", a, amount);
  shrs = (a: Value, amount: Value): Value => this.builder.shift("shrs", a, amount);
  /** Comparisons give i32 0 or 1. */
  eq = (a: Value, b: Value): Value => this.builder.compare("eq", a, b);
  ne = (a: Value, b: Value): Value => this.builder.compare("ne", a, b);
  lt = (a: Value, b: Value): Value => this.builder.compare("lt", a, b);
  ltu = (a: Value, b: Value): Value => this.builder.compare("ltu", a, b);
  ge = (a: Value, b: Value): Value => this.builder.compare("ge", a, b);
  geu = (a: Value, b: Value): Value => this.builder.compare("geu", a, b);
  select = (condition: Value, yes: Value, no: Value): Value => this.builder.select(condition, yes, no);

  /** The low 32 bits of a register value, as an i32. */
  low32(a: Value): Value {
    return this.builder.typeOf(a) === "i64" ? this.builder.wrap(a) : a;
  }

  /** An i32 to register width, with its sign. */
  sext(a: Value): Value {
    return this.x === "i64" ? this.builder.sext32(a) : a;
  }

  /** An i32 to register width, with zeros. */
  zext(a: Value): Value {
    return this.x === "i64" ? this.builder.zext32(a) : a;
  }

  // -- memory

  /** Loads `width` bits to register width. */
  load(width: Width, address: Value, extension: "s" | "u"): Value {
    return this.builder.load(this.x, width, address, extension === "s");
  }

  /** Stores the low `width` bits. */
  store(width: Width, address: Value, value: Value): void {
    this.builder.store(width, address, value);
  }

  /** Read-modify-write; the 32-bit form sign-extends the old value to register width. */
  amo(kind: AmoKind, width: 32 | 64, address: Value, value: Value): Value {
    if (width === 64) return this.builder.amo(kind, 64, address, value);
    return this.sext(this.builder.amo(kind, 32, address, this.low32(value)));
  }

  /** LR to register width. */
  loadReserved(width: 32 | 64, address: Value): Value {
    if (width === 64) return this.builder.loadReserved("i64", 64, address);
    return this.sext(this.builder.loadReserved("i32", 32, address));
  }

  /** SC: register-width 0 where it stored. */
  storeConditional(width: 32 | 64, address: Value, value: Value): Value {
    const stored = width === 64 ? value : this.low32(value);
    return this.zext(this.builder.storeConditional(width, address, stored));
  }

  // -- control flow

  /** Address of this instruction. */
  pc(): Value {
    return this.builder.pc(this.offset);
  }

  /** Address of this instruction plus a field. */
  pcPlus(field: Field): Value {
    if (field.value !== undefined) return this.builder.pc(this.offset + field.value);
    return this.add(this.builder.pc(this.offset), this.imm(field));
  }

  /** Address of the next instruction. */
  link(): Value {
    return this.pcPlus(this.lengthField);
  }

  /** Jumps to this instruction's address plus a field. */
  jump(field: Field): void {
    this.builder.jump(this.target(field));
  }

  /** Jumps by a field where `condition` holds, else falls through. */
  branch(condition: Value, field: Field): void {
    this.builder.branch(condition, this.target(field), this.target(this.lengthField));
  }

  /** Jumps to a computed address. */
  jumpIndirect(address: Value): void {
    this.builder.jumpIndirect(address);
  }

  /** Continues with the next instruction in a new block. */
  next(): void {
    this.builder.jump(this.target(this.lengthField));
  }

  /** Calls a helper. */
  call(helper: Helper, ...args: Value[]): Value {
    if (helper.effects.writes) {
      this.floatIsOn = false;
      this.floatIsDirty = false;
      this.dynamicModeIsValid = false;
    }
    return this.builder.call(helper, args);
  }

  /** Ends the block after a helper that set the program counter. */
  leave(): void {
    this.builder.leave();
  }

  /** Raises an illegal-instruction exception. */
  illegal(): void {
    this.builder.trap(ILLEGAL_INSTRUCTION, this.constant(0));
  }

  // -- floating point

  /** Raises illegal instruction where `mstatus.FS` is off. Every floating-point row starts with it. */
  requireFloat(): void {
    if (this.floatIsOn) return;
    const off = this.builder.compare("eq", this.builder.get("fs"), this.builder.const32(0));
    this.builder.trapIf(off, ILLEGAL_INSTRUCTION, this.constant(0));
    this.floatIsOn = true;
  }

  /** The rounding mode of an `rm` field as an i32; a reserved one raises illegal instruction. */
  rounding(rm: Field): Value {
    const b = this.builder;
    const last = b.const32(RM_LAST_VALID);
    if (rm.value !== undefined && rm.value <= RM_LAST_VALID) return b.const32(rm.value);
    let mode: Value;
    if (rm.value === undefined) {
      const field = b.field(rm);
      mode = b.select(b.compare("eq", field, b.const32(RM_DYNAMIC)), b.get("frm"), field);
    } else {
      mode = rm.value === RM_DYNAMIC ? b.get("frm") : b.const32(rm.value);
      if (rm.value === RM_DYNAMIC && this.dynamicModeIsValid) return mode;
      this.dynamicModeIsValid = rm.value === RM_DYNAMIC;
    }
    b.trapIf(b.compare("ltu", last, mode), ILLEGAL_INSTRUCTION, this.constant(0));
    return mode;
  }

  /** All 64 bits of a floating-point register as an i64. */
  readFBits(field: Field): Value {
    return this.builder.get("f", field);
  }

  /** Writes all 64 bits and marks the state dirty. */
  writeFBits(field: Field, value: Value): void {
    this.builder.set("f", field, value);
    this.markFloatDirty();
  }

  /** A double. */
  readD(field: Field): Value {
    return this.builder.float("float64", "f64", [this.readFBits(field)]);
  }

  /** Writes a double. */
  writeD(field: Field, value: Value): void {
    this.writeFBits(field, this.builder.float("bits64", "i64", [value]));
  }

  /** The bits of a single as an i32: the default NaN where it is not NaN-boxed (unprivileged manual, 21.2). */
  readSBits(field: Field): Value {
    const b = this.builder;
    const bits = this.readFBits(field);
    const high = b.wrap(b.shift("shru", bits, b.const32(32)));
    const boxed = b.compare("eq", high, b.const32(-1));
    return b.select(boxed, b.wrap(bits), b.const32(0x7fc00000));
  }

  /** A single. */
  readS(field: Field): Value {
    return this.builder.float("float32", "f32", [this.readSBits(field)]);
  }

  /** Writes the bits of a single, NaN-boxed. */
  writeSBits(field: Field, bits: Value): void {
    const b = this.builder;
    this.writeFBits(field, b.binary("or", b.zext32(bits), b.const64(0, -1)));
  }

  /** Writes a single, NaN-boxed. */
  writeS(field: Field, value: Value): void {
    this.writeSBits(field, this.builder.float("bits32", "i32", [value]));
  }

  /** A floating-point operation of the IR; results of type i32/i64 are integers. */
  float(op: string, type: Type, ...args: Value[]): Value {
    return this.builder.float(op, type, args);
  }

  /** Marks the floating-point state dirty (for instructions that may only set flags). */
  markFloatDirty(): void {
    if (this.floatIsDirty) return;
    this.builder.set("fs", 0, this.builder.const32(FS_DIRTY));
    this.floatIsDirty = true;
  }

  private target(field: Field): number | { field: string } {
    return field.value !== undefined ? this.offset + field.value : { field: field.name };
  }
}

/** Index of the sink register for x0 writes; see `state.ts`. */
export const sinkIndex = SINK;
