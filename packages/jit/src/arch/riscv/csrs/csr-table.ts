/** The CSRs of one kind of hart: rows by number, places of their words, and what is saved of them. */
import { Wide } from "../hart-state.js";
import type { CsrOwner, CsrPair, CsrRow, PlacedCsr, SavedCsr } from "./csr-file.js";

const CSRS = 4096;
/** Places that the hart itself knows. */
const ownPlaces: ReadonlyMap<string, number> = new Map(Object.entries(Wide));

/** A register in saved states. */
export interface SavedRegister {
  readonly name: string;
  readonly reset: CsrPair;
  load(hart: CsrOwner): CsrPair;
  store(hart: CsrOwner, lo: number, hi: number): void;
  /** What the register must be where it can't be this; undefined if it can. */
  problem(hart: CsrOwner, lo: number, hi: number): string | undefined;
}

/** Rows of the CSRs that harts of one register width have. */
export class CsrTable {
  /** In the order of their numbers. */
  readonly rows: readonly CsrRow[];
  readonly byNumber: readonly (PlacedCsr | undefined)[];
  readonly saved: readonly SavedRegister[];
  /** What the hart's pairs of words hold at power-on. */
  readonly freshWide: Int32Array;

  /**
   * @param misa letters of `misa`
   * @throws Error if a row works on another's words and there are none
   */
  constructor(
    rows: readonly CsrRow[],
    readonly xlen: 32 | 64,
    readonly misa: number,
  ) {
    this.rows = rows.filter(({ width = xlen }) => width === xlen).sort((a, b) => a.number - b.number);
    const places = new Map<string, number>();
    const saved: SavedRegister[] = [];
    let count = ownPlaces.size;
    for (const row of this.rows) {
      if (row.saved === undefined) continue;
      const { name = row.name } = row.saved;
      if (row.saved.at === undefined) places.set(name, ownPlaces.get(name) ?? count++);
      saved.push(savedRegister(name, row.saved, places.get(name) ?? 0, xlen));
    }
    this.saved = saved;
    this.freshWide = new Int32Array(2 * count);
    for (const { name, reset } of saved) {
      const place = places.get(name);
      if (place !== undefined) this.freshWide.set(reset, 2 * place);
    }
    const byNumber = new Array<PlacedCsr | undefined>(CSRS).fill(undefined);
    for (const row of this.rows) {
      const place = places.get(row.of ?? row.saved?.name ?? row.name);
      if (row.of !== undefined && place === undefined)
        throw new Error(`the CSR ${row.name} works on ${row.of}, which has no words of its own`);
      const { isAllowed, read, write, modifies } = row;
      byNumber[row.number] = { row, place: place ?? 0, isAllowed, read, write, modifies };
    }
    this.byNumber = byNumber;
  }
}

function savedRegister(name: string, saved: SavedCsr, place: number, xlen: 32 | 64): SavedRegister {
  const { at, reset = [0, 0], isDouble = false, legal } = saved;
  return {
    name,
    reset,
    load: at?.load ?? (({ state }) => [state.wide[2 * place]!, state.wide[2 * place + 1]!]),
    store:
      at?.store ??
      (({ state }, lo, hi) => {
        state.wide[2 * place] = lo;
        state.wide[2 * place + 1] = hi;
      }),
    problem: (hart, lo, hi) => {
      if (xlen === 32 && hi !== 0 && !isDouble) return "32 bits";
      return legal === undefined || legal[0](lo, hi, hart) ? undefined : legal[1];
    },
  };
}
