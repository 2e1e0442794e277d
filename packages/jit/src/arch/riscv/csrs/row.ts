/** Makers of rows for CSRs that are like many others. */
import { csrNumber } from "@hyperfile/decoder";
import type { HartState } from "../hart-state.js";
import { type CsrFile, CsrOutcome, type CsrRow, type SavedCsr } from "./csr-file.js";

/** Whether a word has none but these bits. */
export const within = (word: number, mask: number): boolean => (word & ~mask) === 0;

/** A row of the manuals' CSR `name`. */
export const csr = (name: string, row: Omit<CsrRow, "name" | "number">): CsrRow => ({
  name,
  number: csrNumber(name),
  ...row,
});

/** A CSR of the manuals that keeps what is written, but for the low bits in `zero`. */
export const register = (name: string, zero = 0, expected = ""): CsrRow =>
  storage({ name, number: csrNumber(name) }, zero, expected);

/** Any CSR that keeps what is written, but for the low bits in `zero`, which read as 0. */
export function storage(
  { name, number }: Pick<CsrRow, "name" | "number">,
  zero = 0,
  expected = "without reserved bits",
): CsrRow {
  return {
    name,
    number,
    read: (file, place) => file.giveWide(place),
    write:
      zero === 0
        ? (file, lo, hi, place) => file.writeWide(place, lo, hi)
        : (file, lo, hi, place) => file.writeWide(place, lo & ~zero, hi),
    saved: zero === 0 ? {} : { legal: [(lo) => (lo & zero) === 0, expected] },
  };
}

/** A CSR that reads as 0 and that no write changes. */
export const zero = (name: string, width?: 32 | 64): CsrRow =>
  csr(name, { ...(width === undefined ? {} : { width }), read: giveZero });

/** Gives 0. */
export const giveZero = (file: CsrFile): void => file.give(0, 0);

/** CSRs whose names are `prefix`, a number and `suffix`. */
export const numbered = <T>(
  prefix: string,
  suffix: string,
  from: number,
  to: number,
  make: (name: string, index: number) => T,
): T[] => Array.from({ length: to - from + 1 }, (_, at) => make(`${prefix}${from + at}${suffix}`, from + at));

/** Fields of a hart's state that are one word. */
type WordField = Exclude<keyof HartState, "wide">;

/** Saved as one word of the hart's state. */
export const field = (name: WordField, mask: number, expected: string): SavedCsr => ({
  at: {
    load: ({ state }) => [state[name], 0],
    store: ({ state }, lo) => {
      state[name] = lo;
    },
  },
  legal: [(lo, hi) => within(lo, mask) && hi === 0, expected],
});

/** A word of the hart's state of which software writes the bits in `mask`. */
export const wordRegister = (name: string, at: WordField, mask: number, expected: string): CsrRow =>
  csr(name, {
    read: (file) => file.give(file.hart.state[at], 0),
    write: (file, lo) => {
      file.hart.state[at] = lo & mask;
      return CsrOutcome.done;
    },
    saved: field(at, mask, expected),
  });
