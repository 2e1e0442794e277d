/**
 * Integer arithmetic that JavaScript has no operator for: high products, 64-bit division, rotation and bit
 * counting on int32 halves. 64-bit results return their low half and leave the high half in the header word that
 * emitted code reads right after the call.
 */

/** High 32 bits of the unsigned product, by 16-bit limbs: no partial sum exceeds 32 bits. */
export function mulhu32(a: number, b: number): number {
  const al = a & 0xffff;
  const ah = a >>> 16;
  const bl = b & 0xffff;
  const bh = b >>> 16;
  const t = (Math.imul(ah, bl) + (Math.imul(al, bl) >>> 16)) | 0;
  const u = (Math.imul(al, bh) + (t & 0xffff)) | 0;
  return (Math.imul(ah, bh) + (t >>> 16) + (u >>> 16)) | 0;
}

/** High 32 bits of the signed product. */
export const mulh32 = (a: number, b: number): number =>
  (mulhu32(a, b) - ((a >> 31) & b) - ((b >> 31) & a)) | 0;

/** High 32 bits of signed times unsigned. */
export const mulhsu32 = (a: number, b: number): number => (mulhu32(a, b) - ((a >> 31) & b)) | 0;

/** Number of one bits. */
export function popcnt32(a: number): number {
  let x = a - ((a >>> 1) & 0x55555555);
  x = (x & 0x33333333) + ((x >>> 2) & 0x33333333);
  return Math.imul((x + (x >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24;
}

/** Reverses the four bytes. */
export const bswap32 = (a: number): number =>
  (a << 24) | ((a & 0xff00) << 8) | ((a >>> 8) & 0xff00) | (a >>> 24);

/** Leading zeros of 64 bits. */
export const clz64 = (lo: number, hi: number): number => (hi !== 0 ? Math.clz32(hi) : 32 + Math.clz32(lo));

/** Trailing zeros of 64 bits. */
export const ctz64 = (lo: number, hi: number): number =>
  lo !== 0 ? 32 - Math.clz32(~lo & (lo - 1)) : 64 - Math.clz32(~hi & (hi - 1));

/** One bits of 64. */
export const popcnt64 = (lo: number, hi: number): number => popcnt32(lo) + popcnt32(hi);

const unsigned = (lo: number, hi: number): bigint => (BigInt(hi >>> 0) << 32n) | BigInt(lo >>> 0);
const signed = (lo: number, hi: number): bigint => (BigInt(hi) << 32n) | BigInt(lo >>> 0);
/** Halves whose value is below 2^53, where doubles are exact. */
const isSmall = (hi: number): boolean => hi >= 0 && hi < 0x200000;
const isSmallSigned = (hi: number): boolean => hi >= -0x200000 && hi < 0x200000;

/** The functions with 64-bit results; `words[resultHigh]` takes the high half. */
export function wideRuntime(words: Int32Array, resultHigh: number) {
  const give = (value: bigint): number => {
    words[resultHigh] = Number(BigInt.asIntN(32, value >> 32n));
    return Number(BigInt.asIntN(32, value));
  };
  const giveNumber = (value: number): number => {
    words[resultHigh] = Math.floor(value / 4294967296);
    return value | 0;
  };
  const pair = (lo: number, hi: number): number => {
    words[resultHigh] = hi;
    return lo;
  };

  const mulhu64 = (al: number, ah: number, bl: number, bh: number): number => {
    // Schoolbook on 32-bit limbs: carries of the middle column are counted as doubles, which are exact here.
    const middle = (mulhu32(al, bl) >>> 0) + (Math.imul(al, bh) >>> 0) + (Math.imul(ah, bl) >>> 0);
    const carry = Math.floor(middle / 4294967296);
    const low = (Math.imul(ah, bh) >>> 0) + (mulhu32(al, bh) >>> 0) + (mulhu32(ah, bl) >>> 0) + carry;
    words[resultHigh] = (mulhu32(ah, bh) + Math.floor(low / 4294967296)) | 0;
    return low | 0;
  };
  /** Subtracts `lo:hi` from the result just given, where `negative` (0 or -1) asks for it. */
  const correct = (low: number, negative: number, lo: number, hi: number): number => {
    const result = (low - (lo & negative)) | 0;
    const borrow = low >>> 0 < (lo & negative) >>> 0 ? 1 : 0;
    words[resultHigh] = (words[resultHigh]! - (hi & negative) - borrow) | 0;
    return result;
  };

  return {
    mulhu64,
    mulhsu64: (al: number, ah: number, bl: number, bh: number): number =>
      correct(mulhu64(al, ah, bl, bh), ah >> 31, bl, bh),
    mulh64: (al: number, ah: number, bl: number, bh: number): number =>
      correct(correct(mulhu64(al, ah, bl, bh), ah >> 31, bl, bh), bh >> 31, al, ah),

    div64: (al: number, ah: number, bl: number, bh: number): number => {
      if ((bl | bh) === 0) return pair(-1, -1);
      if (isSmallSigned(ah) && isSmallSigned(bh)) {
        // Below 2^53 the rounded quotient of two integers never crosses the true one.
        return giveNumber(Math.trunc((ah * 4294967296 + (al >>> 0)) / (bh * 4294967296 + (bl >>> 0))));
      }
      return give(signed(al, ah) / signed(bl, bh));
    },
    rem64: (al: number, ah: number, bl: number, bh: number): number => {
      if ((bl | bh) === 0) return pair(al, ah);
      if (isSmallSigned(ah) && isSmallSigned(bh)) {
        return giveNumber((ah * 4294967296 + (al >>> 0)) % (bh * 4294967296 + (bl >>> 0)));
      }
      return give(signed(al, ah) % signed(bl, bh));
    },
    divu64: (al: number, ah: number, bl: number, bh: number): number => {
      if ((bl | bh) === 0) return pair(-1, -1);
      if (isSmall(ah) && isSmall(bh)) {
        return giveNumber(Math.floor((ah * 4294967296 + (al >>> 0)) / (bh * 4294967296 + (bl >>> 0))));
      }
      return give(unsigned(al, ah) / unsigned(bl, bh));
    },
    remu64: (al: number, ah: number, bl: number, bh: number): number => {
      if ((bl | bh) === 0) return pair(al, ah);
      if (isSmall(ah) && isSmall(bh)) {
        return giveNumber((ah * 4294967296 + (al >>> 0)) % (bh * 4294967296 + (bl >>> 0)));
      }
      return give(unsigned(al, ah) % unsigned(bl, bh));
    },

    rotl64: (lo: number, hi: number, amount: number): number => {
      const n = amount & 31;
      const a = (amount & 32) === 0 ? lo : hi;
      const b = (amount & 32) === 0 ? hi : lo;
      return pair((a << n) | ((b >>> 1) >>> (31 - n)), (b << n) | ((a >>> 1) >>> (31 - n)));
    },
    rotr64: (lo: number, hi: number, amount: number): number => {
      const n = amount & 31;
      const a = (amount & 32) === 0 ? lo : hi;
      const b = (amount & 32) === 0 ? hi : lo;
      return pair((a >>> n) | ((b << 1) << (31 - n)), (b >>> n) | ((a << 1) << (31 - n)));
    },
  };
}
