/**
 * What a reader of an emitted region needs beside its bytes: which guest register a local holds, and which guest
 * instruction the code at an offset belongs to. Nothing is noted unless somebody asked for it.
 */

/** A slot's element, or a working value of the region itself. */
export type LocalName =
  | { readonly slot: string; readonly index: number }
  | { readonly work: "budget" | "page" | "tlbRead" | "tlbWrite" };

/** Where the code of a guest instruction begins. */
export interface CodeMark {
  /** Bytes from the start of the function's instructions. */
  readonly offset: number;
  /** Bytes from the start of the page that the region's head lies in. */
  readonly place: number;
  /** Whether a block begins here. */
  readonly startsBlock: boolean;
}

/** Notes on one region, in the order in which it was written. */
export class RegionNotes {
  /** Names of locals by number; those without one hold values between guest instructions. */
  readonly locals = new Map<number, LocalName>();
  readonly marks: CodeMark[] = [];

  /** Names a local. */
  name(local: number, name: LocalName): void {
    this.locals.set(local, name);
  }

  /** The code from `offset` on belongs to the guest instruction at `place`. */
  mark(offset: number, place: number, startsBlock: boolean): void {
    this.marks.push({ offset, place, startsBlock });
  }
}
