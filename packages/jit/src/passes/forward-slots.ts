/**
 * Slot forwarding: a `get` of a slot whose value the block has read or written already becomes that value.
 *
 *   set x[5], %1 ; %2 = get x[5]   =>   %2 is %1
 *   %1 = get x[5] ; %2 = get x[5]  =>   %2 is %1
 *
 * A call that may write slots forgets everything. Templates index slots by fields, of which two may name the same
 * slot, so such accesses are left alone and templates are not walked with this. As for common subexpressions, this is
 * the table; the walk is that of `simplify.ts`.
 */
import type { Operation, Value } from "@hyperfile/decoder";

/** The values of slots as far as the block has come. */
export class SlotValues {
  private readonly known = new Map<string, Value[]>();

  /** The value of the slot that `get` reads, if it is known. */
  read({ slot, index }: Operation): Value | undefined {
    return typeof index === "object" ? undefined : this.known.get(slot!)?.[index ?? 0];
  }

  /** A `get` or `set` has this value: so has its slot from now on. */
  keep({ slot, index }: Operation, value: Value): void {
    if (typeof index === "object") return;
    const values = this.known.get(slot!);
    if (values !== undefined) values[index ?? 0] = value;
    else {
      const first: Value[] = [];
      first[index ?? 0] = value;
      this.known.set(slot!, first);
    }
  }

  /** After a call. */
  forgetWhatWrites({ helper }: Operation): void {
    if (helper!.effects.writes) this.known.clear();
  }
}
