/** Random choices that a seed repeats: xorshift32. */

/** A source of choices. */
export class Chance {
  private state: number;

  /** @param seed any number but 0 gives choices of its own */
  constructor(seed: number) {
    this.state = seed | 0 || 0x2545f491;
  }

  /** An integer from 0 to below `below`, which is at most 2^32. */
  under(below: number): number {
    this.state ^= this.state << 13;
    this.state ^= this.state >>> 17;
    this.state ^= this.state << 5;
    return Math.floor(((this.state >>> 0) / 2 ** 32) * below);
  }

  /** One of a list. */
  of<T>(list: readonly T[]): T {
    return list[this.under(list.length)]!;
  }

  /** Random bytes. */
  bytes(length: number): Uint8Array {
    return Uint8Array.from({ length }, () => this.under(256));
  }
}
