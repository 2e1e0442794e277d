/** A set of whole numbers below a bound, a bit for each: of a disk's units, of which there may be millions. */
export class UnitSet {
  private readonly bits: Uint32Array;
  private count = 0;

  /** @param end bound that all numbers are below */
  constructor(private readonly end: number) {
    this.bits = new Uint32Array(Math.ceil(end / 32));
  }

  /** A set with all numbers below a bound. */
  static all(end: number): UnitSet {
    const set = new UnitSet(end);
    set.bits.fill(0xffff_ffff);
    set.count = end;
    return set;
  }

  /** How many numbers are in it. */
  get size(): number {
    return this.count;
  }

  has(unit: number): boolean {
    return ((this.bits[unit >>> 5]! >>> (unit & 31)) & 1) === 1;
  }

  add(unit: number): void {
    if (this.has(unit)) return;
    this.bits[unit >>> 5]! |= 1 << (unit & 31);
    this.count++;
  }

  delete(unit: number): void {
    if (!this.has(unit)) return;
    this.bits[unit >>> 5]! &= ~(1 << (unit & 31));
    this.count--;
  }

  /** A set of its own with the same numbers. */
  copy(): UnitSet {
    const copy = new UnitSet(this.end);
    copy.bits.set(this.bits);
    copy.count = this.count;
    return copy;
  }

  /** The numbers in it, the least first. */
  *[Symbol.iterator](): Iterator<number> {
    for (let unit = 0; unit < this.end; unit++) {
      if (this.bits[unit >>> 5] === 0) unit |= 31;
      else if (this.has(unit)) yield unit;
    }
  }
}
