/**
 * What makes a machine itself: its name, its random numbers, and its generation. A machine that got its state from
 * another, by restoring a snapshot or by cloning, is another one: it gets a new generation, which tells a kernel with a
 * driver for `vmgenid` to make its random numbers anew before anybody asks for some.
 *
 * In a machine whose runs repeat, the name decides: a snapshot that is restored under the name that it was saved under
 * goes on as if nothing had been, and under another name with numbers of that name.
 */
import { GENERATION_BYTES } from "@hyperfile/devices";
import { type FillRandom, RepeatableEntropy } from "./entropy.js";
import { MachineError } from "./errors.js";
import type { SnapshotPart } from "./snapshot/machine.js";
import type { PlainRecord } from "./snapshot/values.js";

/** The last of a machine's parts to be restored: it acts on the others. */
export class MachineIdentity implements SnapshotPart {
  /** What the machine's devices take random bytes from. */
  readonly entropy: FillRandom;
  private readonly repeatable: RepeatableEntropy | undefined;

  /**
   * @param isRepeatable whether runs are to repeat
   * @param adopted called when the machine has got the state of another; with the identifier of its new generation,
   *   unless it is only the same run gone on with
   */
  constructor(
    private readonly name: string,
    isRepeatable: boolean,
    private readonly adopted: (generation: Uint8Array | undefined) => void,
  ) {
    const repeatable = isRepeatable ? new RepeatableEntropy(name) : undefined;
    this.repeatable = repeatable;
    this.entropy =
      repeatable === undefined
        ? (bytes) => void crypto.getRandomValues(bytes)
        : (bytes) => repeatable.fill(bytes);
  }

  /** So many random bytes. */
  random(length: number): Uint8Array {
    const bytes = new Uint8Array(length);
    this.entropy(bytes);
    return bytes;
  }

  save(): PlainRecord {
    return { name: this.name, ...(this.repeatable === undefined ? {} : { entropy: this.repeatable.save() }) };
  }

  restore(state: PlainRecord): void {
    const { repeatable } = this;
    if (typeof state.name !== "string")
      throw new MachineError("E_IDENTITY", "saved state of identity: name must be a text");
    repeatable?.restore(state.entropy);
    const goesOn = repeatable !== undefined && state.name === this.name;
    if (!goesOn) repeatable?.mix(this.name);
    this.adopted(goesOn ? undefined : this.random(GENERATION_BYTES));
  }
}
