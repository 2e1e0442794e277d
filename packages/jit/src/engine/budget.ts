/**
 * What a CPU may run, and the time that passes while it does: two counts that move together most of the time, and apart
 * where they must. Both are kept in units of instructions, or of what these cost.
 *
 * `header.budget` counts down what is left of what was granted. Time is what passed before the slice, and what of the
 * grant is used: `passed + granted - left`. So where something is to run without the rest of the grant, or uses up its
 * grant while no time passes, what was granted moves as well.
 */
import { header } from "../memory/layout.js";
import type { LinearMemory } from "../memory/linear-memory.js";

/** Where a CPU keeps its time. */
export interface Clock {
  /** Units that had passed before the current slice. */
  passed: number;
}

/** Budget and time of one CPU. Several may use a hart block in turn: each has its own, and one at a time has a slice. */
export class Budget {
  private readonly words: Int32Array;
  private readonly word: number;
  private granted = 0;
  private isRunning = false;

  /** @param hartOffset byte offset of the hart's block in linear memory */
  constructor(
    memory: LinearMemory,
    hartOffset: number,
    private readonly clock: Clock,
  ) {
    this.words = memory.i32;
    this.word = (hartOffset + header.budget) >> 2;
  }

  /** Starts a slice of `units`. */
  begin(units: number): void {
    this.granted = units;
    this.isRunning = true;
    this.words[this.word] = units;
  }

  /** Ends the slice: what is left of it is not used. */
  end(): void {
    this.clock.passed = this.now;
    this.isRunning = false;
    this.words[this.word] = 0;
  }

  /** Units that have passed. Exact between blocks, and where a call site is suspended. */
  get now(): number {
    const { clock } = this;
    return this.isRunning ? clock.passed + this.granted - this.words[this.word]! : clock.passed;
  }

  /** Uses `units` of the slice: time passes. */
  use(units: number): void {
    if (this.isRunning) this.words[this.word] = this.words[this.word]! - units;
    else this.clock.passed += units;
  }

  /** Takes `units` from the slice, while no time passes. */
  forfeit(units: number): void {
    if (!this.isRunning) return;
    this.granted -= units;
    this.words[this.word] = this.words[this.word]! - units;
  }

  /** Leaves one unit of the slice, for a single instruction. Gives what {@link rejoin} takes. */
  isolate(): number {
    const withheld = this.words[this.word]! - 1;
    this.granted -= withheld;
    this.words[this.word] = 1;
    return withheld;
  }

  /** Gives back what {@link isolate} has taken. */
  rejoin(withheld: number): void {
    this.granted += withheld;
    this.words[this.word] = this.words[this.word]! + withheld;
  }
}
