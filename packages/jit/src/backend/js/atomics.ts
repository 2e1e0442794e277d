/**
 * Prints atomic accesses to places that the TLB for stores knows, as `backend/wasm/atomics.ts` does in WebAssembly: plain
 * loads and stores, since a hart's frames are its own while it runs. `I` indexes words.
 */
import type { AmoKind, Operation } from "@hyperfile/decoder";
import { headerWord } from "./header-word.js";

/** What the statements name. */
export interface AtomicNames {
  /** Word index of the place. */
  readonly place: string;
  /** Variables for the result's halves; the high one of 64-bit results only. */
  readonly low: string;
  readonly high: string;
  /** Atoms with the operand's halves; of `amo` and `sc`. */
  readonly operand: readonly string[];
}

/** Statements of an `amo`, `lr` or `sc` operation. @param hartOffset byte offset of the hart's block */
export function atomicStatements(operation: Operation, names: AtomicNames, hartOffset: number): string {
  const wide = operation.width === 64;
  switch (operation.op) {
    case "amo":
      return wide ? wideReadModifyWrite(operation.amo!, names) : readModifyWrite(operation.amo!, names);
    case "lr":
      return loadReserved(wide, names, hartOffset);
    default:
      return storeConditional(wide, names, hartOffset);
  }
}

/** The operator by which a bitwise operation makes each half. */
const bitwise: Partial<Record<AmoKind, string>> = { xor: "^", and: "&", or: "|" };

function readModifyWrite(kind: AmoKind, { place, low, operand }: AtomicNames): string {
  const [value] = operand as [string];
  const old = `${low} = I[${place}];`;
  switch (kind) {
    case "swap":
      return `${old} I[${place}] = ${value};`;
    case "add":
      return `${old} I[${place}] = ${low} + ${value} | 0;`;
    case "xor":
    case "and":
    case "or":
      return `${old} I[${place}] = ${low} ${bitwise[kind]} ${value};`;
    case "min":
      return `${old} if (${value} < ${low}) I[${place}] = ${value};`;
    case "max":
      return `${old} if (${value} > ${low}) I[${place}] = ${value};`;
    case "minu":
      return `${old} if (${value} >>> 0 < ${low} >>> 0) I[${place}] = ${value};`;
    case "maxu":
      return `${old} if (${value} >>> 0 > ${low} >>> 0) I[${place}] = ${value};`;
  }
}

function wideReadModifyWrite(kind: AmoKind, { place, low, high, operand }: AtomicNames): string {
  const [valueLow, valueHigh] = operand as [string, string];
  const old = `${low} = I[${place}]; ${high} = I[${place} + 1];`;
  const put = `I[${place}] = ${valueLow}; I[${place} + 1] = ${valueHigh};`;
  const wins = (than: "<" | ">", unsigned: "" | " >>> 0") =>
    `if (${valueHigh} === ${high} ? ${valueLow} >>> 0 ${than} ${low} >>> 0 : ${valueHigh}${unsigned} ${than} ${high}${unsigned}) { ${put} }`;
  switch (kind) {
    case "swap":
      return `${old} ${put}`;
    case "add":
      return `${old} const s = ${low} + ${valueLow} | 0; I[${place}] = s; I[${place} + 1] = ${high} + ${valueHigh} + (s >>> 0 < ${valueLow} >>> 0 ? 1 : 0) | 0;`;
    case "xor":
    case "and":
    case "or":
      return `${old} I[${place}] = ${low} ${bitwise[kind]} ${valueLow}; I[${place} + 1] = ${high} ${bitwise[kind]} ${valueHigh};`;
    case "min":
      return `${old} ${wins("<", "")}`;
    case "max":
      return `${old} ${wins(">", "")}`;
    case "minu":
      return `${old} ${wins("<", " >>> 0")}`;
    case "maxu":
      return `${old} ${wins(">", " >>> 0")}`;
  }
}

/** The words of the reservation: whether it is held, the place as a byte offset, and what LR saw. */
const reservation = (hartOffset: number) => ({
  held: `I[${headerWord(hartOffset, "reserved")}]`,
  offset: `I[${headerWord(hartOffset, "reservedOffset")}]`,
  low: `I[${headerWord(hartOffset, "reservedLow")}]`,
  high: `I[${headerWord(hartOffset, "reservedHigh")}]`,
});

function loadReserved(wide: boolean, { place, low, high }: AtomicNames, hartOffset: number): string {
  const reserved = reservation(hartOffset);
  return `${low} = I[${place}]; ${wide ? `${high} = I[${place} + 1]; ` : ""}${reserved.held} = 1; ${reserved.offset} = ${place} << 2; ${reserved.low} = ${low}; ${reserved.high} = ${wide ? high : "0"};`;
}

/** Stores if the reservation is of that place, and what LR saw is there; the result is 0 then, and 1 otherwise. */
function storeConditional(wide: boolean, { place, low, operand }: AtomicNames, hartOffset: number): string {
  const reserved = reservation(hartOffset);
  const [valueLow, valueHigh] = operand;
  const seen = `I[${place}] === ${reserved.low}${wide ? ` && I[${place} + 1] === ${reserved.high}` : ""}`;
  const put = `I[${place}] = ${valueLow};${wide ? ` I[${place} + 1] = ${valueHigh};` : ""}`;
  return `if (${reserved.held} === 1 && ${reserved.offset} === ${place} << 2 && ${seen}) { ${put} ${low} = 0; } else ${low} = 1; ${reserved.held} = 0;`;
}
