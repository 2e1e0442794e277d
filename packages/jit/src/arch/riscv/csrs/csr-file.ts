/**
 * The CSRs of a hart as rows: what a row says of one CSR, and the file through which instructions and debuggers reach
 * them. Who may access a CSR stands in its number (privileged manual, 2.1); the row says what else it takes, what a
 * read gives, what a write leaves, and how it is saved.
 *
 * Values travel in `low` and `high`, and rows are functions of the file that keep nothing themselves, so that an
 * access allocates nothing and all harts share one table.
 */
import type { CsrName } from "@hyperfile/decoder";
import { type HartState, Wide } from "../hart-state.js";
import type { Pmp } from "../pmp.js";
import { RiscvMode } from "../privilege.js";

/** What a CSR instruction leads to. */
export const CsrOutcome = {
  /** The value is in `low` and `high`. */
  done: 0,
  /** No such CSR, or not in this mode. */
  illegal: 1,
  /** Done, and code must be looked up anew. */
  leave: 2,
} as const;
export type CsrOutcome = (typeof CsrOutcome)[keyof typeof CsrOutcome];

/** 64 bits as two words, low half first. */
export type CsrPair = readonly [lo: number, hi: number];

/** The hart around a CSR file, as far as CSRs reach into it. */
export interface CsrOwner {
  readonly options: {
    readonly xlen: 32 | 64;
    readonly hartId: number;
    readonly memory: { readonly i32: Int32Array };
    readonly tlb: { flush(): void };
    readonly clock: { now(): number };
    readonly pagingLevels: number;
  };
  readonly state: HartState;
  readonly pmp: Pmp;
  /** `mip` as software reads it. */
  readonly pending: number;
  retired(): number;
  pollTimer(): void;
  setPending(cause: number, level: boolean): void;
  selectTlbs(): void;
  pagingChanged(): void;
  markFloatDirty(): void;
}

/** How a CSR is saved, and what restored ones may hold: only what software can bring about. */
export interface SavedCsr {
  /** Name in saved states; the CSR's unless given. */
  readonly name?: string;
  /** Where it is kept; in a pair of words of its own unless given. */
  readonly at?: {
    readonly load: (hart: CsrOwner) => CsrPair;
    readonly store: (hart: CsrOwner, lo: number, hi: number) => void;
  };
  /** Value at power-on, and of states saved before there was the CSR; 0 unless given. */
  readonly reset?: CsrPair;
  /** Whether it has 64 bits where registers have 32. */
  readonly isDouble?: boolean;
  /** Which values it can hold, and how that is said; any unless given. */
  readonly legal?: readonly [isLegal: (lo: number, hi: number, hart: CsrOwner) => boolean, expected: string];
}

/** One CSR. `place` is that of its pair of words: its own, or that of the CSR which `of` names. */
export interface CsrRow extends CsrName {
  /** Width of the registers of harts that have it; both unless given. */
  readonly width?: 32 | 64;
  /** Whether it can be accessed now, by the modes that its number allows; always unless given. */
  readonly isAllowed?: (file: CsrFile, mode: RiscvMode) => boolean;
  /** Whether it exists only while `mstatus.FS` is on: a debugger sees it all the same. */
  readonly isFloat?: boolean;
  /** Gives its value. */
  readonly read: (file: CsrFile, place: number) => void;
  /** Writes it. Without it writes have no effect, or are illegal where the number says so. */
  readonly write?: (file: CsrFile, lo: number, hi: number, place: number) => CsrOutcome;
  /** The low word that setting and clearing bits starts from, where that is not what a read gives. */
  readonly modifies?: (file: CsrFile) => number;
  /** Whose words it works on, by the name in saved states; its own unless given. */
  readonly of?: string;
  readonly saved?: SavedCsr;
}

/** A row in its table: with its place, and all properties, so that all rows look alike to the host's compiler. */
export interface PlacedCsr {
  readonly row: CsrRow;
  readonly place: number;
  readonly isAllowed: CsrRow["isAllowed"];
  readonly read: CsrRow["read"];
  readonly write: CsrRow["write"];
  readonly modifies: CsrRow["modifies"];
}

/** `menvcfg`: STCE is bit 63, ADUE bit 61. */
export const STCE_HIGH = -0x80000000;
export const ADUE_HIGH = 0x20000000;

/** The CSR file of one hart. */
export class CsrFile {
  /** Value of the last access. */
  low = 0;
  high = 0;
  /** Instructions that retire with a write: the one that writes; none if a debugger does. */
  retiring = 1;
  readonly words: Int32Array;
  /** Word indices of slots. */
  readonly fs: number;
  readonly frm: number;
  readonly fflags: number;
  readonly rv64: boolean;
  private readonly rows: readonly (PlacedCsr | undefined)[];

  /**
   * @param table rows by number, and the letters of `misa`
   * @param slot word index of a slot by name
   */
  constructor(
    readonly hart: CsrOwner,
    readonly table: { readonly byNumber: readonly (PlacedCsr | undefined)[]; readonly misa: number },
    readonly slot: (name: string) => number,
  ) {
    this.rows = table.byNumber;
    this.words = hart.options.memory.i32;
    this.fs = slot("fs");
    this.frm = slot("frm");
    this.fflags = slot("fflags");
    this.rv64 = hart.options.xlen === 64;
  }

  /** What SBI firmware enables before it enters S mode: the supervisor timer. */
  enableForSupervisor(): void {
    this.hart.state.wide[2 * Wide.menvcfg + 1]! |= STCE_HIGH;
  }

  /** Whether `stimecmp` drives the supervisor timer interrupt (`menvcfg.STCE`). */
  get supervisorTimerEnabled(): boolean {
    return this.hart.state.wide[2 * Wide.menvcfg + 1]! < 0;
  }

  /** Whether page walks set A and D (`menvcfg.ADUE`). */
  get updatesAccessedDirty(): boolean {
    return (this.hart.state.wide[2 * Wide.menvcfg + 1]! & ADUE_HIGH) !== 0;
  }

  /** Whether floating point is on (`mstatus.FS`). */
  get floatOn(): boolean {
    return this.words[this.fs] !== 0;
  }

  /**
   * One CSR instruction: 0 swaps, 1 sets bits, 2 clears bits.
   * @param writes whether the instruction writes at all
   */
  access(operation: 0 | 1 | 2, csr: number, lo: number, hi: number, writes: boolean): CsrOutcome {
    const { mode } = this.hart.state;
    const row = this.rows[csr];
    if (row === undefined || ((csr >>> 8) & 3) > mode || (writes && csr >>> 10 === 3))
      return CsrOutcome.illegal;
    if (row.isAllowed !== undefined && !row.isAllowed(this, mode as RiscvMode)) return CsrOutcome.illegal;
    row.read(this, row.place);
    if (!writes || row.write === undefined) return CsrOutcome.done;
    const oldLow = this.low;
    const oldHigh = this.high;
    const base = row.modifies === undefined ? oldLow : row.modifies(this);
    const newLow = operation === 0 ? lo : operation === 1 ? base | lo : base & ~lo;
    const newHigh = operation === 0 ? hi : operation === 1 ? oldHigh | hi : oldHigh & ~hi;
    const outcome = row.write(this, newLow, newHigh, row.place);
    this.low = oldLow;
    this.high = oldHigh;
    return outcome;
  }

  /** Reads a CSR for a debugger, whatever mode and `FS` allow, into `low` and `high`; false if there is none. */
  peek(csr: number): boolean {
    const row = this.rows[csr];
    if (row === undefined) return false;
    return this.unhindered(row, () => {
      if (row.isAllowed !== undefined && !row.isAllowed(this, RiscvMode.machine)) return false;
      row.read(this, row.place);
      return true;
    });
  }

  /** Writes a CSR for a debugger as software in M mode would; false if there is none or it is read-only. */
  poke(csr: number, lo: number, hi: number): boolean {
    if (csr >>> 10 === 3 || !this.peek(csr)) return false;
    const row = this.rows[csr]!;
    this.retiring = 0;
    this.unhindered(row, () => row.write?.(this, lo, hi, row.place));
    this.retiring = 1;
    // Writes choose TLBs for the mode that they find.
    this.hart.selectTlbs();
    return true;
  }

  private unhindered<T>({ row: { isFloat = false } }: PlacedCsr, act: () => T): T {
    const { state } = this.hart;
    const { mode } = state;
    const fs = this.words[this.fs]!;
    state.mode = RiscvMode.machine;
    if (isFloat && fs === 0) this.words[this.fs] = 1;
    const result = act();
    state.mode = mode;
    if (isFloat && fs === 0) this.words[this.fs] = 0;
    return result;
  }

  // -- for rows

  /** Gives a value. */
  give(lo: number, hi: number): void {
    this.low = lo;
    this.high = hi;
  }

  /** Gives the words at a place. */
  giveWide(place: number): void {
    const { wide } = this.hart.state;
    this.low = wide[2 * place]!;
    this.high = wide[2 * place + 1]!;
  }

  /** Puts words at a place. */
  writeWide(place: number, lo: number, hi: number): CsrOutcome {
    const { wide } = this.hart.state;
    wide[2 * place] = lo;
    wide[2 * place + 1] = hi;
    return CsrOutcome.done;
  }
}
