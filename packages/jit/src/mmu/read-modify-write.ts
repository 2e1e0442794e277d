/** What read-modify-write operations compute; numbered by their places in `amoKinds`. */

/** Numbers of the read-modify-write operations: their places in `amoKinds`. */
export const Amo = { swap: 0, add: 1, xor: 2, and: 3, or: 4, min: 5, max: 6, minu: 7 } as const;

/** The new value of a 32-bit read-modify-write; kinds as in `amoKinds`. */
export function combine32(kind: number, old: number, value: number): number {
  switch (kind) {
    case Amo.swap:
      return value;
    case Amo.add:
      return (old + value) | 0;
    case Amo.xor:
      return old ^ value;
    case Amo.and:
      return old & value;
    case Amo.or:
      return old | value;
    case Amo.min:
      return Math.min(old, value);
    case Amo.max:
      return Math.max(old, value);
    case Amo.minu:
      return old >>> 0 < value >>> 0 ? old : value;
    default:
      return old >>> 0 > value >>> 0 ? old : value;
  }
}

/** Whether a 64-bit min or max stores its operand. */
export function takesNew(kind: number, oldLow: number, oldHigh: number, low: number, high: number): boolean {
  const unsigned = kind >= Amo.minu;
  const a = unsigned ? oldHigh >>> 0 : oldHigh;
  const b = unsigned ? high >>> 0 : high;
  const less = b === a ? low >>> 0 < oldLow >>> 0 : b < a;
  return kind === Amo.min || kind === Amo.minu ? less : !less;
}
