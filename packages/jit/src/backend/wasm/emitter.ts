/**
 * Prints IR operations as WebAssembly: the part that regions and the interpreter share.
 *
 * - An i32 or f32 value is an i32, an i64 or f64 value an i64: floats travel as bit patterns.
 * - A pure operation with one use is printed where it is used; others go to a local. A slot that is read stays
 *   where it is, unless it is overwritten before its last use.
 * - Guest memory goes through the software TLB inline: one masked compare of the whole tag checks page and alignment
 *   together. A miss calls a slow path of `mmu/access.ts`, and `header.exit` tells afterwards whether to leave.
 *
 * JavaScript sees 64-bit values as two i32 arguments; results of 64 bits leave their high half in the header.
 */
import {
  type Block,
  type InsnMark,
  type Operation,
  opcodes,
  type Value,
  type Wide,
} from "@hyperfile/decoder";
import { header } from "../../memory/layout.js";
import { amoKinds, lateName } from "../../mmu/ports.js";
import { tagMask } from "../../mmu/tlb-layout.js";
import { type AccessGroup, accessGroups, type GroupMember } from "../../passes/access-groups.js";
import { useCounts } from "../../passes/eliminate-dead.js";
import { type LateExits, lateExits } from "../../passes/late-exits.js";
import { staleReads } from "../../passes/stale-reads.js";
import { floatFunction } from "../js/float-emitter.js";
import { emitAtomicInline } from "./atomics.js";
import { checkedName, checkedSignature, joinHalves } from "./checked-access.js";
import { type FunctionWriter, Op, ValueType } from "./encoder.js";
import { emitFastFloat } from "./float.js";
import { emitDivision, emitMultiplyHigh, emitSwapBytes, plainOpcodes } from "./integer.js";
import { loadTlbTag, loadTlbWord, writeTlbEntry } from "./tlb.js";
import type { Temporaries, ValueWriter } from "./value-writer.js";

/** What differs between a region and an interpreter's handler. */
export interface WasmHost {
  /** The operations that follow belong to this instruction. */
  mark(at: InsnMark): void;
  /** Takes what `push` pushes, an i32, from the budget. */
  charge(push: () => void): void;
  /** Pushes the `site` argument of a slow path or helper at the current instruction. */
  site(): void;
  /** Before a slow path: the program counter's page and the budget must be in memory. */
  beforeSlowPath(): void;
  /**
   * Before a checked access: pushes the budget; gives how many bytes the current instruction's page is behind that of the
   * program counter in memory.
   */
  beforeChecked(): number;
  /** Leaves because `header.exit` is set, after a slow path that saw no slots. */
  bail(): void;
  /** Before a helper that reads or writes slots: they must be in memory. */
  spill(): void;
  /** Leaves because `header.exit` is set, after a helper for which slots were spilled. */
  bailSpilled(): void;
  /** After a helper that may have written slots or changed the hart's mode. */
  reload(): void;
  /** Pushes the address of the block's start plus a distance. */
  pc(distance: number): void;
  /** Pushes the i32 value of an instruction field (templates only). */
  field(name: string): void;
  /** The local that holds a slot, if slots are kept in locals: reading one again is free then. */
  slotLocal(operation: Operation): number | undefined;
  /** Pushes a slot. */
  getSlot(operation: Operation): void;
  /** Writes what `push` pushes to a slot. */
  setSlot(operation: Operation, push: () => void): void;
  /** Local with the byte offset of the TLB for loads, and for stores. */
  readonly tlbRead: number;
  readonly tlbWrite: number;
  /**
   * Code for the block's exit.
   * @param isLate whether the last instruction may have left a note in `header.late`: it leaves then
   */
  exit(operation: Operation, emitter: WasmEmitter, isLate: boolean): void;
}

/** What the code depends on besides the block. */
export interface WasmContext {
  /** Byte offset of the hart's block in linear memory. */
  readonly hartOffset: number;
  /** Whether guest addresses are i64. */
  readonly wideAddresses: boolean;
  /** Bytes of the pages in which loads and stores are translated. */
  readonly pageBytes: number;
  /** Byte offset of the slot with the accrued floating-point flags in linear memory, if there is one. */
  readonly flagsOffset: number | undefined;
}

const { i32, i64 } = ValueType;

/** Prints one block. */
export class WasmEmitter implements ValueWriter {
  private readonly uses: Uint16Array;
  private readonly stale: Uint8Array;
  private readonly members: readonly (GroupMember | undefined)[];
  private readonly late: LateExits;
  private readonly locals = new Map<Value, number>();
  /** Groups whose first access has been printed, with the local of the place of their lowest address; 0: unknown. */
  private readonly places = new Map<AccessGroup, number>();

  constructor(
    readonly block: Block,
    readonly writer: FunctionWriter,
    readonly temporaries: Temporaries,
    private readonly context: WasmContext,
    private readonly host: WasmHost,
  ) {
    const { uses, stale, members } = analysisOf(block);
    this.late = lateExits(block);
    this.uses = uses;
    this.stale = stale;
    this.members = members;
  }

  /** Prints all operations in order. */
  emitAll(): void {
    this.block.operations.forEach((operation, position) => {
      this.emit(operation, position as Value);
    });
  }

  /** Pushes a value. */
  push(value: Value): void {
    const local = this.locals.get(value);
    if (local !== undefined) this.writer.get(local);
    else this.compute(this.block.operations[value]!);
  }

  /** Pushes the low 32 bits of a value. */
  pushLow(value: Value): void {
    const { op, constant } = this.block.operations[value]!;
    if (op === "const") {
      this.writer.i32(typeof constant === "number" ? constant : constant!.lo);
      return;
    }
    this.push(value);
    if (this.isWide(value)) this.writer.op(Op.i32_wrap_i64);
  }

  /** Pushes a value as i32 arguments of a call: one, or two halves. */
  pushArgument(value: Value): void {
    const { op, constant } = this.block.operations[value]!;
    if (!this.isWide(value)) {
      this.push(value);
      return;
    }
    if (op === "const") {
      const wide = constant as Wide;
      this.writer.i32(wide.lo);
      this.writer.i32(wide.hi);
      return;
    }
    this.writer.get(this.inLocal(value));
    this.writer.op(Op.i32_wrap_i64);
    this.writer.get(this.inLocal(value));
    this.writer.i64(32, 0);
    this.writer.op(Op.i64_shr_u);
    this.writer.op(Op.i32_wrap_i64);
  }

  /** The value in a local, so that it may be read again; its number. */
  inLocal(value: Value): number {
    let local = this.locals.get(value);
    if (local === undefined) {
      const operation = this.block.operations[value]!;
      const slot = operation.op === "get" ? this.host.slotLocal(operation) : undefined;
      if (slot !== undefined && this.stale[value] === 0) return slot;
      local = this.temporaries.take(this.wasmType(value));
      this.compute(operation);
      this.writer.set(local);
      // Operations that are printed at each use may be printed in one arm of a condition only.
      if (!repeated.has(operation.op)) this.locals.set(value, local);
    }
    return local;
  }

  /** Type of a value's local. */
  wasmType(value: Value): ValueType {
    return this.isWide(value) ? i64 : i32;
  }

  /** The constant that a value is, as an i32; undefined if it is none or does not fit. */
  constantOf(value: Value): number | undefined {
    const { op, constant } = this.block.operations[value]!;
    if (op !== "const") return undefined;
    if (typeof constant === "number") return constant;
    return constant!.hi === constant!.lo >> 31 ? constant!.lo : undefined;
  }

  private isWide(value: Value): boolean {
    const { type } = this.block.operations[value]!;
    return type === "i64" || type === "f64";
  }

  private emit(operation: Operation, position: Value): void {
    const { op, args } = operation;
    const { writer, host } = this;
    switch (op) {
      case "insn":
        if (this.late.ends.has(position)) this.settle();
        host.mark(operation.at!);
        return;
      case "charge":
        host.charge(() => this.push(args[0]!));
        return;
      case "const":
      case "field":
      case "pc":
        return;
      case "get":
        if (
          this.stale[position] === 1 ||
          (this.uses[position]! > 1 && host.slotLocal(operation) === undefined)
        )
          this.inLocal(position);
        return;
      case "set":
        host.setSlot(operation, () => this.push(args[0]!));
        return;
      case "load":
        return this.emitLoad(operation, position);
      case "store":
        return this.emitStore(operation, position);
      case "amo":
      case "lr":
      case "sc":
        return this.emitAtomic(operation, position);
      case "call":
        return this.emitCall(operation, position);
      case "trapif":
        this.push(args[0]!);
        writer.ifUnlikely();
        this.emitRaise(operation);
        writer.end();
        return;
      case "trap":
        return this.emitRaise(operation);
      case "jump":
      case "branch":
      case "jumpr":
      case "leave":
        host.exit(operation, this, this.late.ends.has(position));
        return;
      default:
        if (opcodes.get(op)!.kind === "float" || op === "fclass") this.emitFloat(operation, position);
        else if (this.uses[position]! > 1) this.inLocal(position);
    }
  }

  /** Prints a pure operation on the stack. */
  private compute(operation: Operation): void {
    const { op, args, type } = operation;
    const { writer } = this;
    switch (op) {
      case "const": {
        const { constant } = operation;
        if (typeof constant === "number") writer.i32(constant);
        else writer.i64(constant!.lo, constant!.hi);
        return;
      }
      case "field":
        this.host.field(operation.field!);
        return;
      case "pc":
        this.host.pc(operation.constant as number);
        return;
      case "get":
        this.host.getSlot(operation);
        return;
      case "wrap":
        return this.pushLow(args[0]!);
      case "bits32":
      case "bits64":
      case "float32":
      case "float64":
        this.push(args[0]!);
        return;
      case "sext32":
        this.push(args[0]!);
        writer.op(Op.i64_extend_i32_s);
        return;
      case "zext32":
        this.push(args[0]!);
        writer.op(Op.i64_extend_i32_u);
        return;
      case "zext8":
      case "zext16": {
        const mask = op === "zext8" ? 0xff : 0xffff;
        this.push(args[0]!);
        if (type === "i64") {
          writer.i64(mask, 0);
          writer.op(Op.i64_and);
        } else {
          writer.i32(mask);
          writer.op(Op.i32_and);
        }
        return;
      }
      case "select":
        this.push(args[1]!);
        this.push(args[2]!);
        this.push(args[0]!);
        writer.op(Op.select);
        return;
      case "shl":
      case "shru":
      case "shrs":
      case "rotl":
      case "rotr":
        this.push(args[0]!);
        if (type === "i64") this.pushWideAmount(args[1]!);
        else this.push(args[1]!);
        writer.op(plainOpcodes(op, type!)!);
        return;
      case "div":
      case "divu":
      case "rem":
      case "remu":
        return emitDivision(this, op, type as "i32" | "i64", args[0]!, args[1]!);
      case "mulh":
      case "mulhu":
      case "mulhsu":
        return emitMultiplyHigh(this, op, type as "i32" | "i64", args[0]!, args[1]!);
      case "bswap":
        return emitSwapBytes(this, type as "i32" | "i64", args[0]!);
      case "eq":
        if (this.constantOf(args[1]!) === 0) {
          this.push(args[0]!);
          writer.op(this.isWide(args[0]!) ? Op.i64_eqz : Op.i32_eqz);
          return;
        }
    }
    const operandType = this.block.operations[args[0]!]!.type!;
    const opcode = plainOpcodes(op, operandType);
    if (opcode === undefined) throw new Error(`the WebAssembly backend does not know ${op}.${type}`);
    for (const arg of args) this.push(arg);
    writer.op(opcode);
  }

  private pushWideAmount(amount: Value): void {
    const constant = this.constantOf(amount);
    if (constant !== undefined) {
      this.writer.i64(constant & 63, 0);
      return;
    }
    this.push(amount);
    this.writer.op(Op.i64_extend_i32_u);
  }

  // -- memory

  /** Pushes whether the TLB knows the page of the address in `place`, aligned to `bytes`; leaves the entry's local. */
  private pushIsKnown(place: number, wide: boolean, bytes: number, tlb: number): number {
    const { writer } = this;
    const entry = this.temporaries.take(i32);
    writer.get(place);
    if (wide) writer.op(Op.i32_wrap_i64);
    writeTlbEntry(writer, this.context.pageBytes, () => writer.get(tlb));
    writer.tee(entry);
    loadTlbTag(writer, wide);
    writer.get(place);
    const mask = tagMask(this.context.pageBytes, bytes);
    if (wide) {
      writer.i64(mask, -1);
      writer.op(Op.i64_and);
      writer.op(Op.i64_eq);
    } else {
      writer.i32(mask);
      writer.op(Op.i32_and);
      writer.op(Op.i32_eq);
    }
    return entry;
  }

  /**
   * Begins `if (the TLB knows the address) {`; leaves the locals of the address and of the entry.
   */
  private beginAccess(address: Value, width: number, tlb: number): { address: number; entry: number } {
    const place = this.inLocal(address);
    const entry = this.pushIsKnown(place, this.isWide(address), width / 8, tlb);
    this.writer.ifLikely();
    return { address: place, entry };
  }

  /**
   * The local with the place of the access's group in linear memory, or 0 where the access must be checked alone;
   * found out here if it is the first access. Undefined if the access is in no group.
   */
  private sharedPlace(position: Value, address: Value): { local: number; offset: number } | undefined {
    const member = this.members[position];
    if (member === undefined) return undefined;
    const { group, offset } = member;
    if (group.last === position) {
      const local = this.places.get(group)!;
      this.places.delete(group);
      return { local, offset };
    }
    let local = this.places.get(group);
    if (local === undefined) {
      local = this.findPlace(group, offset, address);
      this.places.set(group, local);
    }
    return { local, offset };
  }

  /** Looks up the span of a group, `offset` bytes before `address`. */
  private findPlace(group: AccessGroup, offset: number, address: Value): number {
    const { writer, host, temporaries } = this;
    const wide = this.isWide(address);
    const local = temporaries.take(i32);
    let lowest = this.inLocal(address);
    if (offset !== 0) {
      writer.get(lowest);
      if (wide) writer.i64(-offset, -1);
      else writer.i32(-offset);
      writer.op(wide ? Op.i64_add : Op.i32_add);
      lowest = temporaries.take(wide ? i64 : i32);
      writer.set(lowest);
    }
    const tlb = group.writes ? host.tlbWrite : host.tlbRead;
    const entry = this.pushIsKnown(lowest, wide, group.alignment, tlb);
    writer.get(lowest);
    if (wide) writer.op(Op.i32_wrap_i64);
    writer.i32(this.context.pageBytes - 1);
    writer.op(Op.i32_and);
    writer.i32(this.context.pageBytes - group.span);
    writer.op(Op.i32_le_u);
    writer.op(Op.i32_and);
    writer.ifLikely();
    this.pushPlace({ address: lowest, entry }, wide);
    writer.set(local);
    writer.else();
    writer.i32(0);
    writer.set(local);
    writer.end();
    return local;
  }

  /** After a slow path, which may have changed what any page is mapped to. */
  private forgetPlaces(): void {
    for (const local of this.places.values()) {
      this.writer.i32(0);
      this.writer.set(local);
    }
  }

  /** Pushes the place in linear memory. */
  private pushPlace(access: { address: number; entry: number }, wide: boolean): void {
    const { writer } = this;
    writer.get(access.address);
    if (wide) writer.op(Op.i32_wrap_i64);
    writer.get(access.entry);
    loadTlbWord(writer, "addend");
    writer.op(Op.i32_add);
  }

  private emitLoad(operation: Operation, position: Value): void {
    const { writer, host } = this;
    const { type, signed } = operation;
    const width = operation.width!;
    const address = operation.args[0]!;
    const result = this.temporaries.take(this.wasmType(position));
    const shared = this.sharedPlace(position, address);
    const opcode = loadOpcode(width, type === "i64", signed === true);
    if (shared !== undefined) {
      writer.get(shared.local);
      writer.ifLikely();
      writer.get(shared.local);
      writer.memory(opcode, shared.offset);
      writer.set(result);
      writer.else();
    }
    // What is hardly ever reached is only called.
    if (shared === undefined) {
      const access = this.beginAccess(address, width, host.tlbRead);
      this.pushPlace(access, this.isWide(address));
      writer.memory(opcode);
      writer.set(result);
      writer.else();
    }
    this.callChecked(width >= 32 ? `ld${width}` : `ld${width}${signed ? "s" : "u"}`, address);
    if (type === "i64" && width < 64) writer.op(signed ? Op.i64_extend_i32_s : Op.i64_extend_i32_u);
    writer.set(result);
    this.leaveIfAsked();
    this.forgetPlaces();
    writer.end();
    this.locals.set(position, result);
  }

  /** The name of a slow path or helper, as the operation at a position calls it. */
  private callee(name: string, position: Value): string {
    return this.late.operations.has(position) ? lateName(name) : name;
  }

  private emitStore(operation: Operation, position: Value): void {
    const { writer, host } = this;
    const width = operation.width!;
    const [address, value] = operation.args as readonly [Value, Value];
    // Both arms need the value: outside them it is computed once.
    if (this.constantOf(value) === undefined) this.inLocal(value);
    const shared = this.sharedPlace(position, address);
    const opcode = storeOpcode(width, this.isWide(value));
    if (shared !== undefined) {
      writer.get(shared.local);
      writer.ifLikely();
      writer.get(shared.local);
      this.push(value);
      writer.memory(opcode, shared.offset);
      writer.else();
    }
    if (shared === undefined) {
      const access = this.beginAccess(address, width, host.tlbWrite);
      this.pushPlace(access, this.isWide(address));
      this.push(value);
      writer.memory(opcode);
      writer.else();
    }
    this.callChecked(this.callee(`st${width}`, position), address, () => {
      if (width === 64) this.push(value);
      else this.pushLow(value);
    });
    writer.ifUnlikely();
    host.bail();
    writer.end();
    this.forgetPlaces();
    writer.end();
  }

  /** Calls a load or store as a function: what it loads, or for a store whether to leave, is on the stack. */
  private callChecked(slowPath: string, address: Value, pushValue: () => void = () => {}): void {
    const { writer, host } = this;
    const distance = host.beforeChecked();
    this.push(address);
    pushValue();
    if (distance !== 0) writer.i32(distance);
    host.site();
    const name = checkedName(slowPath, distance !== 0);
    const { parameters, results } = checkedSignature(name, this.isWide(address))!;
    writer.call(name, parameters, results);
  }

  private emitAtomic(operation: Operation, position: Value): void {
    const { writer, host } = this;
    const { op, width } = operation;
    const [address, value] = operation.args as readonly [Value, Value?];
    // Both arms need the operand: outside them it is computed once.
    if (value !== undefined && this.constantOf(value) === undefined) this.inLocal(value);
    const result = this.temporaries.take(this.wasmType(position));
    const place = this.temporaries.take(i32);
    const access = this.beginAccess(address, width!, host.tlbWrite);
    this.pushPlace(access, this.isWide(address));
    writer.set(place);
    emitAtomicInline(this, operation, { place, result }, this.context.hartOffset);
    writer.else();
    host.beforeSlowPath();
    let count = 1;
    if (op === "amo") {
      writer.i32(amoKinds.indexOf(operation.amo!));
      count++;
    }
    count += this.pushAddress(address);
    if (value !== undefined) {
      this.pushArgument(value);
      count += this.isWide(value) ? 2 : 1;
    }
    host.site();
    writer.call(`${op}${width}`, new Array(count).fill(i32), [i32]);
    if (this.isWide(position)) joinHalves(this.writer, this.context.hartOffset);
    writer.set(result);
    this.leaveIfAsked();
    writer.end();
    this.locals.set(position, result);
  }

  /** Pushes an address as two i32; their number. */
  private pushAddress(address: Value): number {
    if (this.isWide(address)) this.pushArgument(address);
    else {
      this.push(address);
      this.writer.i32(0);
    }
    return 2;
  }

  /** Puts the i32 on the stack, with its high half, into the operation's local. */
  private takeResult(operation: Operation, position: Value): void {
    const { writer } = this;
    if (operation.type === null) return;
    const result = this.temporaries.take(this.wasmType(position));
    if (this.isWide(position)) joinHalves(this.writer, this.context.hartOffset);
    writer.set(result);
    this.locals.set(position, result);
  }

  /** The current instruction ends: leaves if a late store or call wants it. */
  private settle(): void {
    const { writer, host, context } = this;
    writer.loadAt(Op.i32_load, context.hartOffset + header.late);
    writer.ifUnlikely();
    host.beforeSlowPath();
    host.site();
    writer.call("settle", [i32], [i32]);
    writer.op(Op.drop);
    host.bail();
    writer.end();
  }

  /** Begins `if (a late store or call left a note) {`, and makes an exit of the note. */
  beginLate(): void {
    const { writer, context } = this;
    const late = context.hartOffset + header.late;
    writer.loadAt(Op.i32_load, late);
    writer.ifUnlikely();
    writer.i32(0);
    writer.loadAt(Op.i32_load, late);
    writer.memory(Op.i32_store, context.hartOffset + header.exit);
    writer.i32(0);
    writer.i32(0);
    writer.memory(Op.i32_store, late);
  }

  private leaveIfAsked(): void {
    const { writer, host, context } = this;
    writer.loadAt(Op.i32_load, context.hartOffset + header.exit);
    writer.ifUnlikely();
    host.bail();
    writer.end();
  }

  // -- calls

  private emitCall(operation: Operation, position: Value): void {
    const { writer, host } = this;
    const helper = operation.helper!;
    const { reads, writes, exits } = helper.effects;
    const spills = reads || writes;
    for (const arg of operation.args) if (this.isWide(arg)) this.inLocal(arg);
    if (spills || exits) host.beforeSlowPath();
    if (spills) host.spill();
    let count = 1;
    for (const arg of operation.args) {
      this.pushArgument(arg);
      count += this.isWide(arg) ? 2 : 1;
    }
    host.site();
    const name = this.callee(helper.name, position);
    writer.call(name, new Array(count).fill(i32), operation.type === null ? [] : [i32]);
    this.takeResult(operation, position);
    if (exits) {
      writer.loadAt(Op.i32_load, this.context.hartOffset + header.exit);
      writer.ifUnlikely();
      if (spills) host.bailSpilled();
      else host.bail();
      writer.end();
    }
    if (writes) host.reload();
  }

  private emitRaise(operation: Operation): void {
    const { writer, host } = this;
    const value = operation.args[operation.args.length - 1]!;
    host.beforeSlowPath();
    writer.i32(operation.cause!);
    this.pushArgument(value);
    host.site();
    writer.call("raise", new Array(this.isWide(value) ? 4 : 3).fill(i32), []);
    host.bail();
  }

  // -- floating point

  private emitFloat(operation: Operation, position: Value): void {
    const { writer } = this;
    for (const arg of operation.args) if (this.constantOf(arg) === undefined) this.inLocal(arg);
    const result = this.temporaries.take(this.wasmType(position));
    const { flagsOffset } = this.context;
    const fast = emitFastFloat(this, operation, result, flagsOffset);
    let count = 0;
    for (const arg of operation.args) {
      this.pushArgument(arg);
      count += this.isWide(arg) ? 2 : 1;
    }
    const name = floatFunction(operation, this.block.operations[operation.args[0]!]!.type!);
    writer.call(name, new Array(count).fill(i32), [i32]);
    if (this.isWide(position)) joinHalves(this.writer, this.context.hartOffset);
    writer.set(result);
    if (fast) writer.end();
    this.locals.set(position, result);
  }
}

const loadOpcode = (width: number, wide: boolean, signed: boolean): number => {
  switch (width) {
    case 8:
      return wide ? (signed ? Op.i64_load8_s : Op.i64_load8_u) : signed ? Op.i32_load8_s : Op.i32_load8_u;
    case 16:
      return wide ? (signed ? Op.i64_load16_s : Op.i64_load16_u) : signed ? Op.i32_load16_s : Op.i32_load16_u;
    case 32:
      return wide ? (signed ? Op.i64_load32_s : Op.i64_load32_u) : Op.i32_load;
    default:
      return Op.i64_load;
  }
};

const storeOpcode = (width: number, wide: boolean): number => {
  switch (width) {
    case 8:
      return wide ? Op.i64_store8 : Op.i32_store8;
    case 16:
      return wide ? Op.i64_store16 : Op.i32_store16;
    case 32:
      return wide ? Op.i64_store32 : Op.i32_store;
    default:
      return Op.i64_store;
  }
};

/** Operations that are printed anew at every use. */
const repeated = new Set(["const", "field", "pc"]);

/** Whether an operation is printed where it is used, if that is in one place. */
const isDeferred = (operation: Operation): boolean => {
  const { kind } = opcodes.get(operation.op)!;
  return kind === "pure" && operation.op !== "fclass";
};

/** What the emitter must know of a block before it prints it. */
interface Analysis {
  readonly uses: Uint16Array;
  readonly stale: Uint8Array;
  readonly members: readonly (GroupMember | undefined)[];
}

/** Analyses by block: a block is printed in several regions, and for each call of a function that is inlined. */
const analyses = new WeakMap<Block, Analysis>();

function analysisOf(block: Block): Analysis {
  let analysis = analyses.get(block);
  if (analysis === undefined) {
    const uses = useCounts(block);
    const isInUser = (operation: Operation, position: number) =>
      isDeferred(operation) && uses[position] === 1;
    analysis = { uses, stale: staleReads(block, isInUser), members: accessGroups(block) };
    analyses.set(block, analysis);
  }
  return analysis;
}
