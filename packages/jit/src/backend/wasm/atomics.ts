/**
 * Prints atomic accesses to places that the TLB for stores knows. A hart's frames are its own while it runs
 * (docs/decisions/0007-one-memory-many-threads.md), so they are plain loads and stores; `mmu/atomics.ts` has the others,
 * and says what a reservation is. A page in that TLB holds no code and is no copy that a store would make, which is all
 * that it looks for besides.
 */
import type { AmoKind, Operation, Value } from "@hyperfile/decoder";
import { header } from "../../memory/layout.js";
import { Op } from "./encoder.js";
import type { ValueWriter } from "./value-writer.js";

/** Where the access is, and where its result goes: locals. */
interface AtomicPlaces {
  /** Byte offset in linear memory. */
  readonly place: number;
  readonly result: number;
}

/** Prints an `amo`, `lr` or `sc` operation. @param hartOffset byte offset of the hart's block */
export function emitAtomicInline(
  out: ValueWriter,
  operation: Operation,
  places: AtomicPlaces,
  hartOffset: number,
): void {
  const wide = operation.width === 64;
  const value = operation.args[1]!;
  switch (operation.op) {
    case "amo":
      return emitReadModifyWrite(out, operation.amo!, value, wide, places);
    case "lr":
      return emitLoadReserved(out, wide, places, hartOffset);
    default:
      emitStoreConditional(out, value, wide, places, hartOffset);
  }
}

/** The opcode that makes the new value of the old one and the operand. */
const combining = {
  add: [Op.i32_add, Op.i64_add],
  xor: [Op.i32_xor, Op.i64_xor],
  and: [Op.i32_and, Op.i64_and],
  or: [Op.i32_or, Op.i64_or],
} as const;

/** The comparison of the old value with the operand by which the old one stays. */
const comparing = {
  min: [Op.i32_lt_s, Op.i64_lt_s],
  max: [Op.i32_gt_s, Op.i64_gt_s],
  minu: [Op.i32_lt_u, Op.i64_lt_u],
  maxu: [Op.i32_gt_u, Op.i64_gt_u],
} as const;

function emitReadModifyWrite(
  out: ValueWriter,
  kind: AmoKind,
  value: Value,
  wide: boolean,
  { place, result }: AtomicPlaces,
): void {
  const { writer } = out;
  const width = wide ? 1 : 0;
  writer.get(place);
  writer.memory(wide ? Op.i64_load : Op.i32_load);
  writer.set(result);
  writer.get(place);
  if (kind === "swap") out.push(value);
  else {
    writer.get(result);
    out.push(value);
    if (kind in combining) writer.op(combining[kind as keyof typeof combining][width]);
    else {
      writer.get(result);
      out.push(value);
      writer.op(comparing[kind as keyof typeof comparing][width]);
      writer.op(Op.select);
    }
  }
  writer.memory(wide ? Op.i64_store : Op.i32_store);
}

function emitLoadReserved(
  { writer }: ValueWriter,
  wide: boolean,
  { place, result }: AtomicPlaces,
  hartOffset: number,
): void {
  writer.get(place);
  writer.memory(wide ? Op.i64_load : Op.i32_load);
  writer.set(result);
  writer.i32(0);
  writer.i32(1);
  writer.memory(Op.i32_store, hartOffset + header.reserved);
  writer.i32(0);
  writer.get(place);
  writer.memory(Op.i32_store, hartOffset + header.reservedOffset);
  writer.i32(0);
  writer.get(result);
  if (!wide) writer.op(Op.i64_extend_i32_u);
  writer.memory(Op.i64_store, hartOffset + header.reservedLow);
}

/** Stores if the reservation is of that place, and what LR saw is there; the result is 0 then, and 1 otherwise. */
function emitStoreConditional(
  out: ValueWriter,
  value: Value,
  wide: boolean,
  { place, result }: AtomicPlaces,
  hartOffset: number,
): void {
  const { writer } = out;
  writer.loadAt(Op.i32_load, hartOffset + header.reserved);
  writer.get(place);
  writer.loadAt(Op.i32_load, hartOffset + header.reservedOffset);
  writer.op(Op.i32_eq);
  writer.op(Op.i32_and);
  writer.get(place);
  writer.memory(wide ? Op.i64_load : Op.i32_load);
  writer.loadAt(wide ? Op.i64_load : Op.i32_load, hartOffset + header.reservedLow);
  writer.op(wide ? Op.i64_eq : Op.i32_eq);
  writer.op(Op.i32_and);
  writer.i32(1);
  writer.op(Op.i32_xor);
  writer.tee(result);
  writer.op(Op.i32_eqz);
  writer.ifLikely();
  writer.get(place);
  out.push(value);
  writer.memory(wide ? Op.i64_store : Op.i32_store);
  writer.end();
  writer.i32(0);
  writer.i32(0);
  writer.memory(Op.i32_store, hartOffset + header.reserved);
}
