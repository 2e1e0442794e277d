/** Random numbers for a machine whose runs repeat, with their state in its snapshots. */
import { MachineError } from "./errors.js";

/** Fills an array with random bytes. */
export type FillRandom = (bytes: Uint8Array) => void;

/** Where a stream without a name begins. */
const START = 0x2545f491;
/** Prime of the FNV-1a hash. */
const FNV_PRIME = 16_777_619;

/** FNV-1a of a name, begun with a value; never 0, which xorshift does not leave. */
const hash = (from: number, name: string): number =>
  [...name].reduce((state, char) => Math.imul(state ^ char.codePointAt(0)!, FNV_PRIME), from) | 1;

/** Numbers that look random and are the same for the same name: xorshift32 (Marsaglia 2003), a byte at a time. */
export class RepeatableEntropy {
  private state: number;

  constructor(name: string) {
    this.state = hash(START, name);
  }

  fill(bytes: Uint8Array): void {
    let { state } = this;
    for (let at = 0; at < bytes.length; at++) {
      state ^= state << 13;
      state ^= state >>> 17;
      state ^= state << 5;
      bytes[at] = state;
    }
    this.state = state;
  }

  /** From here on the numbers are those of `name`: others than before, and again the same for the same name. */
  mix(name: string): void {
    this.state = hash(this.state, name);
  }

  save(): number {
    return this.state;
  }

  /** @throws MachineError `E_IDENTITY` if `save` never gave that */
  restore(state: unknown): void {
    if (typeof state !== "number" || (state | 0) !== state || state === 0)
      throw new MachineError(
        "E_IDENTITY",
        "saved state of identity: entropy must be an integer other than 0",
      );
    this.state = state;
  }
}
