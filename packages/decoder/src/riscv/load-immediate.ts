/** How `li` makes a number: the shortest of the customary sequences for registers of 32 and 64 bits. */

/** One instruction of the sequence: a row's key and its immediate or shift amount. */
export interface ImmediateStep {
  readonly name: string;
  /** `imm` of `lui` (with its low 12 bits zero), `addi` and `addiw`; `shamt` of `slli`. */
  readonly value: number;
}

/**
 * The instructions that load `value`, modulo 2 ** xlen. The first one reads x0 (or nothing), the others the
 * destination.
 */
export function loadImmediate(value: bigint, xlen: 32 | 64): readonly ImmediateStep[] {
  return sequence(BigInt.asIntN(xlen, value), xlen, "addi");
}

/** `small` loads what fits 12 bits: within longer sequences GNU's assembler takes `addiw`, and so do we. */
function sequence(signed: bigint, xlen: 32 | 64, small: string): readonly ImmediateStep[] {
  const low = BigInt.asIntN(12, signed);
  if (signed === low) return [{ name: small, value: Number(low) }];
  if (BigInt.asIntN(32, signed) === signed) {
    // `lui` sign-extends, so a 64-bit sum may run over: `addiw` brings it back.
    const upper: ImmediateStep = { name: "lui", value: Number(BigInt.asIntN(32, signed - low)) };
    return low === 0n ? [upper] : [upper, { name: xlen === 64 ? "addiw" : "addi", value: Number(low) }];
  }
  // Too wide: load the upper part without its trailing zeros, shift it into place, add the low part.
  let upper = BigInt.asIntN(64, signed - low) >> 12n;
  let shift = 12;
  for (; (upper & 1n) === 0n; upper >>= 1n) shift += 1;
  const steps = [...sequence(upper, xlen, "addiw"), { name: "slli", value: shift }];
  return low === 0n ? steps : [...steps, { name: "addi", value: Number(low) }];
}
