/** Sizes of memory as people write them. */
import { PageMachineError } from "./errors.js";

const UNITS: Readonly<Record<string, number>> = { "": 1, K: 2 ** 10, M: 2 ** 20, G: 2 ** 30 };

/** The bytes of a size such as `64M`. @throws PageMachineError `E_OPTION` */
export function memorySize(text: string): number {
  const [, digits, unit = ""] = /^(\d+)([KMG]?)(?:i?B)?$/i.exec(text.trim()) ?? [];
  const bytes = Number(digits) * (UNITS[unit.toUpperCase()] ?? Number.NaN);
  if (Number.isSafeInteger(bytes) && bytes > 0) return bytes;
  throw new PageMachineError(
    "E_OPTION",
    `memory ${JSON.stringify(text)} is no size: write a number with K, M or G, such as 64M`,
  );
}
