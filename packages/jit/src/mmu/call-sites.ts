/**
 * Call sites: how code that translations call knows which instruction called it, and what has been charged for
 * instructions that have not retired. Slow paths and helpers take the site last.
 *
 * Translations charge a block when they enter it, so what is called in the middle begins with `enter`, which makes the
 * program counter name the instruction, and then does one of these:
 * - it goes on in the translation: nothing more;
 * - it lets others see the time (a device, a counter, an exception): `suspend` before, and `resume` if the instruction
 *   goes on. Between the two nothing is charged that has not retired;
 * - the instruction faults: `suspend`, and no `resume`;
 * - the instruction retires and the translation is left: `leaveAfter`, or `leaveElsewhere` where the program counter has
 *   been set;
 * - the instruction goes on and the translation is left where it ends: `leaveLate`, and the block calls `settle` there
 *   (`passes/late-exits.ts`).
 */
import { Exit, header, PAGE_SIZE } from "../memory/layout.js";
import type { LinearMemory } from "../memory/linear-memory.js";

/**
 * Where in a translation a slow path was called from, packed into one int32 so that the call stays small:
 * bits 0-11 the instruction's offset in its page, bits 12-15 its length in bytes, bits 16-20 what it costs, bits
 * 21-31 what the instructions of the block cost that are charged to the budget but have not retired, this one included.
 */
export type CallSite = number;

/** Packs a {@link CallSite}; `length` is 1 to 15, `cost` 1 to 31, `unretired` at most 2047: 64 instructions at most. */
export const callSite = (pageOffset: number, length: number, unretired: number, cost = 1): CallSite =>
  (unretired << 21) | (cost << 16) | (length << 12) | (pageOffset & 0xfff);

/** Length in bytes of the instruction at a call site. */
const lengthAt = (site: CallSite): number => (site >>> 12) & 15;

/** Budget units that are charged for the instruction at a call site and for those after it in its block. */
const unretiredAt = (site: CallSite): number => site >>> 21;

/** Budget units that are charged for the instructions after the one at a call site. */
const unretiredAfter = (site: CallSite): number => (site >>> 21) - ((site >>> 16) & 31);

/** The called side of the protocol, on one hart block. */
export class CallSites {
  private readonly words: Int32Array;
  private readonly pcWord: number;
  private readonly wide: boolean;
  private readonly budgetWord: number;
  private readonly exitWord: number;
  private readonly lateWord: number;

  /**
   * @param hartOffset byte offset of the hart's block in linear memory
   * @param pcOffset byte offset in linear memory of the program counter slot
   * @param pcBytes bytes of the program counter: 4 or 8
   */
  constructor(memory: LinearMemory, hartOffset: number, pcOffset: number, pcBytes: 4 | 8) {
    this.words = memory.i32;
    this.pcWord = pcOffset >> 2;
    this.wide = pcBytes === 8;
    this.budgetWord = (hartOffset + header.budget) >> 2;
    this.exitWord = (hartOffset + header.exit) >> 2;
    this.lateWord = (hartOffset + header.late) >> 2;
  }

  /** Makes the program counter name the current instruction. */
  enter(site: CallSite): void {
    this.words[this.pcWord] = (this.words[this.pcWord]! & -PAGE_SIZE) | (site & 0xfff);
  }

  /** From now on nothing is charged that has not retired: clocks and counters read exactly. */
  suspend(site: CallSite): void {
    this.words[this.budgetWord] = this.words[this.budgetWord]! + unretiredAt(site);
  }

  /** The instruction goes on. */
  resume(site: CallSite): void {
    this.words[this.budgetWord] = this.words[this.budgetWord]! - unretiredAt(site);
  }

  /** Leaves the translation for the instruction after the current one, which has retired. */
  leaveAfter(site: CallSite): void {
    const { words, pcWord } = this;
    const next = (words[pcWord]! + lengthAt(site)) | 0;
    if (this.wide && next >>> 0 < words[pcWord]! >>> 0) words[pcWord + 1] = (words[pcWord + 1]! + 1) | 0;
    words[pcWord] = next;
    this.leaveElsewhere(site);
  }

  /** Leaves the translation; the current instruction has retired, and the program counter says where to go on. */
  leaveElsewhere(site: CallSite): void {
    this.words[this.budgetWord] = this.words[this.budgetWord]! + unretiredAfter(site);
    this.requestExit(Exit.redirect);
  }

  /** Leaves a note to leave the translation where the current instruction ends. */
  leaveLate(): void {
    const { words, exitWord, lateWord } = this;
    words[lateWord] = Math.max(words[lateWord]!, words[exitWord]!, Exit.redirect);
    words[exitWord] = Exit.none;
  }

  /** An instruction ends that left a note. */
  settle(site: CallSite): void {
    const { words, exitWord, lateWord } = this;
    this.enter(site);
    words[exitWord] = words[lateWord]!;
    words[lateWord] = Exit.none;
    this.leaveAfter(site);
  }

  /** Leaves translated code for the dispatcher, or for the machine's owner; the greatest {@link Exit} counts. */
  requestExit(exit: number): void {
    if (exit > this.words[this.exitWord]!) this.words[this.exitWord] = exit;
  }

  /** Why execution must return; see {@link Exit}. */
  get exit(): number {
    return this.words[this.exitWord]!;
  }
}
