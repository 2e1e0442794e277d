/**
 * How many instructions a hart runs between two looks at timers and devices. Each look costs a microsecond and ends
 * a compiled loop, so it should be rare; but timers, input and the host wait for it. An interpreter runs a hundred
 * instructions in a microsecond and compiled code thousands: the planner goes by the time that slices take.
 */

/** Milliseconds that a slice should take. */
const TARGET = 0.4;
/** Fewest and most instructions of a slice. The fewest are for guests whose every instruction traps. */
const LEAST = 200;
const MOST = 4_000_000;
/** Instructions of the first slice. */
const FIRST = 50_000;
/** Most that a slice shrinks by at once: one may have taken long because the host did something else. */
const MOST_CUT = 16;

/** Plans the slices of one hart. */
export class SlicePlanner {
  /** Guest instructions of the next slice. */
  instructions = FIRST;

  /** The slice was run to its end in so many milliseconds. */
  observe(milliseconds: number): void {
    if (milliseconds < TARGET / 2) this.instructions = Math.min(MOST, this.instructions * 2);
    else if (milliseconds > TARGET * 2) {
      const cut = Math.min(MOST_CUT, milliseconds / TARGET);
      this.instructions = Math.max(LEAST, Math.ceil(this.instructions / cut));
    }
  }
}
