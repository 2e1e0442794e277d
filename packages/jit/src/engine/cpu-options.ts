/** What a CPU is put together from, checked before anything is made of it. */
import type { FrontEnd } from "@hyperfile/decoder";
import { tiers } from "./tiers.js";

/** Greatest budget of a run. */
export const MOST_BUDGET = 2 ** 31 - 1;

/** A CPU that was put together wrongly, or asked for what it has not. */
export class CpuError extends Error {
  override readonly name = "CpuError";
  readonly code = "E_CPU";
}

/** Options whose values must be numbers, and their least. */
const counts = [
  ["codePages", 2],
  ["hotThreshold", 1],
  ["regions", 1],
] as const;

/** The options that are looked at more closely. */
interface CheckedOptions {
  readonly frontEnd: FrontEnd;
  readonly ramBytes: number;
  readonly tier?: string;
  readonly verify?: string;
  readonly codePages?: number;
  readonly hotThreshold?: number;
  readonly regions?: number;
  readonly flagsSlot?: string;
}

/**
 * Checks the options of a CPU.
 * @param kinds what `typeof` gives for each option that there is
 * @throws CpuError naming the first that is unknown, missing or impossible
 */
export function checkOptions<T extends CheckedOptions>(
  options: T,
  kinds: Readonly<Record<keyof T, string>>,
): void {
  for (const [name, value] of Object.entries(options)) {
    if (!Object.hasOwn(kinds, name))
      throw new CpuError(`FlatCpu has no option ${name}: there are ${Object.keys(kinds).join(", ")}`);
    const kind = kinds[name as keyof T];
    const found: string = value === null ? "null" : typeof value;
    if (value !== undefined && found !== kind)
      throw new CpuError(`option ${name} is ${String(value)}: a ${kind}`);
  }
  const { frontEnd, ramBytes, tier = "auto", verify = "off", flagsSlot } = options;
  if (frontEnd === undefined) throw new CpuError("option frontEnd is missing");
  if (ramBytes === undefined) throw new CpuError("option ramBytes is missing");
  if (!(tiers as readonly string[]).includes(tier))
    throw new CpuError(`tier ${tier}: one of ${tiers.join(", ")}`);
  if (!["all", "sampled", "off"].includes(verify))
    throw new CpuError(`verify ${verify}: all, sampled or off`);
  for (const [name, least] of counts) {
    const value = options[name] ?? least;
    if (!Number.isInteger(value) || value < least || value > MOST_BUDGET)
      throw new CpuError(`option ${name} is ${value}: an integer from ${least} on`);
  }
  if (flagsSlot !== undefined && frontEnd.shape.slots.get(flagsSlot)?.type !== "i32")
    throw new CpuError(`flagsSlot ${flagsSlot}: a slot of type i32`);
}
