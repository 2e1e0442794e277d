/**
 * Guest state as named slots. A front end declares them; this module gives each a fixed place, so that every
 * tier reads and writes the same bytes at the same offsets.
 */
import type { Type } from "./types.js";

/** One slot, or an array of them. */
export interface SlotDeclaration {
  readonly name: string;
  readonly type: Type;
  /** Number of elements; 1 unless it is an array. */
  readonly length: number;
}

/** A slot with its place. */
export interface Slot extends SlotDeclaration {
  /** Byte offset from the start of the guest state; a multiple of 8. */
  readonly offset: number;
  /** Bytes from one element to the next: 8 for 64-bit types, 4 for others. */
  readonly stride: number;
}

/** All slots of a front end. */
export interface StateShape {
  readonly slots: ReadonlyMap<string, Slot>;
  /** Bytes that the whole state takes; a multiple of 8. */
  readonly size: number;
}

/** Bytes of one value of `type`. */
export const sizeOf = (type: Type): 4 | 8 => (type === "i64" || type === "f64" ? 8 : 4);

/** Assigns offsets in the order of declaration, each slot aligned to 8 bytes. Throws on a name used twice. */
export function stateShape(declarations: readonly SlotDeclaration[]): StateShape {
  const slots = new Map<string, Slot>();
  let size = 0;
  for (const declaration of declarations) {
    if (slots.has(declaration.name)) throw new Error(`slot ${declaration.name} is declared twice`);
    const stride = sizeOf(declaration.type);
    slots.set(declaration.name, { ...declaration, offset: size, stride });
    size += (declaration.length * stride + 7) & ~7;
  }
  return { slots, size };
}
