/** Repeatable random numbers, and operands that provoke: boundary integers, special floating-point values. */

/** A stream of numbers from a seed: xorshift32. */
export class Random {
  private state: number;

  constructor(seed: number) {
    this.state = (Math.imul(seed + 1, 0x9e3779b1) ^ 0x5bd1e995) | 1;
    for (let warm = 0; warm < 8; warm++) this.bits();
  }

  /** 32 random bits, unsigned. */
  bits(): number {
    this.state ^= this.state << 13;
    this.state ^= this.state >>> 17;
    this.state ^= this.state << 5;
    return this.state >>> 0;
  }

  /** An integer from 0 to `limit` - 1. */
  below(limit: number): number {
    return this.bits() % limit;
  }

  /** True once in `times`. */
  once(times: number): boolean {
    return this.below(times) === 0;
  }

  /** One of the items. */
  pick<T>(items: readonly T[]): T {
    return items[this.below(items.length)]!;
  }
}

// biome-ignore format: one group a line
const doubles = [
  0x0000000000000000n, 0x8000000000000000n, 0x3ff0000000000000n, 0xbff0000000000000n, // +-0, +-1
  0x7ff0000000000000n, 0xfff0000000000000n, 0x7ff8000000000000n, 0x7ff0000000000001n, // infinities, NaN, signalling
  0x0000000000000001n, 0x000fffffffffffffn, 0x0010000000000000n, 0x7fefffffffffffffn, // subnormal, normal, largest
  0x3ca0000000000000n, 0x3ff0000000000001n, 0x4340000000000000n, 0x4330000000000001n, // around one, around 2^53
  0x43e0000000000000n, 0xc3e0000000000000n, 0x41dfffffffc00000n, 0x41efffffffe00000n, // limits of integers
  0x36a0000000000000n, 0x380fffffffffffffn, 0x47efffffffffffffn, 0x3810000000000000n, // limits of single precision
  0x3fe0000000000000n, 0x3ff8000000000000n, 0xc004000000000000n, // ties
];
// biome-ignore format: one group a line
const singles = [
  0x00000000, 0x80000000, 0x3f800000, 0xbf800000, 0x7f800000, 0xff800000, 0x7fc00000, 0x7f800001, 0xffc00001,
  0x00000001, 0x007fffff, 0x00800000, 0x7f7fffff, 0x33800000, 0x3f800001, 0x4b800000, 0x4b000001, 0x4f000000,
  0xcf000000, 0x5f000000, 0x4effffff, 0x3f000000, 0x3fc00000, 0xc0200000,
];

/** A number for a register, as 64 bits: random, near a boundary, or a floating-point value worth trying. */
export function operand(random: Random): bigint {
  const wide = (BigInt(random.bits()) << 32n) | BigInt(random.bits());
  switch (random.below(12)) {
    case 0:
      return BigInt(random.below(64));
    case 1:
      return BigInt.asUintN(64, -1n - BigInt(random.below(64)));
    case 2:
      return BigInt.asUintN(64, (1n << BigInt(random.below(64))) - BigInt(random.below(2)));
    case 3:
      return BigInt.asUintN(64, -(1n << BigInt(random.below(64))) + BigInt(random.below(2)));
    case 4:
      return BigInt.asUintN(64, BigInt(random.bits() | 0));
    case 5:
      return BigInt(random.bits());
    case 6:
    case 7:
      return random.pick(doubles) ^ (random.once(4) ? BigInt(random.below(8)) : 0n);
    case 8:
    case 9:
      return (0xffffffffn << 32n) | BigInt(random.pick(singles) ^ (random.once(4) ? random.below(8) : 0));
    case 10:
      return (0xffffffffn << 32n) | BigInt(random.bits());
    default:
      return wide;
  }
}
