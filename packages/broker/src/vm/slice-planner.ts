/**
 * How many instructions a hart runs between two looks at timers and devices. Each look costs a microsecond and ends
 * a compiled loop, so it should be rare; but timers, input and the host wait for it. An interpreter runs a hundred
 * instructions in a microsecond and compiled code thousands: the planner goes by the time that slices take.
 */

/** Milliseconds that a slice should take. */
const TARGET = 0.4;
/** Fewest and most instructions of a slice. */
const LEAST = 50_000;
const MOST = 4_000_000;

/** Plans the slices of one hart. */
export class SlicePlanner {
  /** Guest instructions of the next slice. */
  instructions = LEAST;

  /** The slice was run to its end in so many milliseconds. */
  observe(milliseconds: number): void {
    if (milliseconds < TARGET / 2) this.instructions = Math.min(MOST, this.instructions * 2);
    else if (milliseconds > TARGET * 2) this.instructions = Math.max(LEAST, this.instructions / 2);
  }
}
