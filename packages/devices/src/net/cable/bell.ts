/**
 * Bells in shared memory, by which a thread is woken that may sleep: a count that goes up with each ring, and whether
 * anybody sleeps, so that to ring for a thread that is awake costs two atomic operations and wakes nobody.
 */

/** `Atomics.waitAsync` (ECMAScript 2024), which not every platform has. */
type WaitAsync = (
  words: Int32Array,
  at: number,
  value: number,
) => { readonly async: boolean; readonly value: string | Promise<string> };
const waitAsync = (Atomics as unknown as { readonly waitAsync?: WaitAsync }).waitAsync;

/** Milliseconds between two looks where the platform can't wait without blocking. */
const POLL_MS = 2;
/** Words of a bell. */
export const BELL_WORDS = 2;
const Word = { rings: 0, asleep: 1 } as const;

/** A bell: any number ring it, one hears. */
export class Bell {
  /** @param words {@link BELL_WORDS} words of shared memory, zero at first */
  constructor(private readonly words: Int32Array) {}

  /** How often it was rung; wraps at 32 bits. */
  get rings(): number {
    return Atomics.load(this.words, Word.rings);
  }

  /** Wakes who sleeps, or keeps it from falling asleep. */
  ring(): void {
    Atomics.add(this.words, Word.rings, 1);
    if (Atomics.exchange(this.words, Word.asleep, 0) === 1) Atomics.notify(this.words, Word.rings);
  }

  /** Resolves when it was rung more often than so often. */
  async untilRung(rings: number): Promise<void> {
    while (this.rings === rings) {
      if (waitAsync === undefined) {
        await new Promise((resolve) => setTimeout(resolve, POLL_MS));
        continue;
      }
      Atomics.store(this.words, Word.asleep, 1);
      const wait = waitAsync(this.words, Word.rings, rings);
      if (wait.async) await wait.value;
    }
  }
}

/** Bytes of a {@link SlotBell} for so many slots. */
const slotBytes = (slots: number): number => 4 * (BELL_WORDS + Math.ceil(slots / 32));

/** A bell that says which of many have rung it. */
export class SlotBell {
  private readonly bell: Bell;
  private readonly bits: Int32Array;

  /** @param buffer memory that {@link SlotBell.allocate} made, here or in another thread */
  constructor(readonly buffer: SharedArrayBuffer) {
    this.bell = new Bell(new Int32Array(buffer, 0, BELL_WORDS));
    this.bits = new Int32Array(buffer, 4 * BELL_WORDS);
  }

  static allocate(slots: number): SlotBell {
    return new SlotBell(new SharedArrayBuffer(slotBytes(slots)));
  }

  get slots(): number {
    return this.bits.length * 32;
  }

  get rings(): number {
    return this.bell.rings;
  }

  /** Something of a slot wants to be looked at. */
  ring(slot: number): void {
    const bit = 1 << (slot & 31);
    // Who has rung and was not looked at yet need not ring again.
    if ((Atomics.or(this.bits, slot >> 5, bit) & bit) === 0) this.bell.ring();
  }

  /** Wakes who listens, for no slot. */
  wake(): void {
    this.bell.ring();
  }

  untilRung(rings: number): Promise<void> {
    return this.bell.untilRung(rings);
  }

  /** Calls `look` for each slot that has rung since it was looked at last. */
  take(look: (slot: number) => void): void {
    for (let at = 0; at < this.bits.length; at++) {
      if (Atomics.load(this.bits, at) === 0) continue;
      for (let bits = Atomics.exchange(this.bits, at, 0); bits !== 0; ) {
        const bit = 31 - Math.clz32(bits);
        bits &= ~(1 << bit);
        look(at * 32 + bit);
      }
    }
  }
}
