/**
 * How many instructions a hart runs between two looks at timers and devices. Each look costs some microseconds and ends
 * a compiled loop, so it should be rare; but timers, input and the host wait for it. An interpreter runs a hundred
 * instructions in a microsecond and compiled code thousands: the planner goes by the time that slices take, and ends one
 * early where a timer is due before.
 */

/** Milliseconds that a slice should take. */
const TARGET = 1;
/** Milliseconds that a slice takes at least where a timer is due. */
const LEAST_UNTIL_DUE = 0.05;
/** Fewest and most instructions of a slice. The fewest are for guests whose every instruction traps. */
const LEAST = 200;
const MOST = 8_000_000;
/** Instructions of the first slice. */
const FIRST = 50_000;
/** Most that a slice shrinks by at once: one may have taken long because the host did something else. */
const MOST_CUT = 16;

/** Plans the slices of one hart. */
export class SlicePlanner {
  /** Guest instructions that are taken to last for the target. */
  private instructions = FIRST;

  /**
   * Guest instructions of the next slice.
   * @param due milliseconds until somebody needs a look; 0 where that is past, and a look does not change it
   */
  next(due: number): number {
    if (due <= 0 || due >= TARGET) return this.instructions;
    return Math.max(LEAST, Math.ceil((this.instructions * Math.max(due, LEAST_UNTIL_DUE)) / TARGET));
  }

  /**
   * A slice was run to its end.
   * @param instructions what `next` gave
   * @param milliseconds what it took
   */
  observe(instructions: number, milliseconds: number): void {
    // What a short one took says as much: what it would have taken had it been whole.
    const whole = (milliseconds * this.instructions) / instructions;
    if (whole < TARGET / 2) this.instructions = Math.min(MOST, this.instructions * 2);
    else if (whole > TARGET * 2) {
      const cut = Math.min(MOST_CUT, whole / TARGET);
      this.instructions = Math.max(LEAST, Math.ceil(this.instructions / cut));
    }
  }
}
