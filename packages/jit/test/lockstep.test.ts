/**
 * Generated programs in the JavaScript interpreter and, beside it, in every other tier: after each slice both must
 * have the same state. HYPERFILE_LOCKSTEP_INSTRUCTIONS sets how many instructions run at least in each combination of
 * tier, register width and compilation (a quarter of that in variants of a tier); HYPERFILE_LOCKSTEP_SEED the first
 * seed, HYPERFILE_LOCKSTEP_TIER one tier alone.
 */
import { describe, expect, it } from "vitest";
import { type LockstepOptions, type LockstepResult, lockstep, lockstepInBackground } from "./lockstep.js";

const INSTRUCTIONS = Number(process.env.HYPERFILE_LOCKSTEP_INSTRUCTIONS ?? 30_000);
const FIRST_SEED = Number(process.env.HYPERFILE_LOCKSTEP_SEED ?? 0);
const ONLY = process.env.HYPERFILE_LOCKSTEP_TIER;
/** Programs are of one mode each, in turn; most slices are short, so that budgets end everywhere. */
const SLICES = 120;
const SLICE = 97;

const kinds: readonly (readonly [name: string, options: LockstepOptions, share: number])[] = [
  ["js", { tier: "js" }, 1],
  ["js, unchained", { tier: "js", chain: false }, 1 / 4],
  ["wasm-interpreter", { tier: "wasm-interpreter" }, 1],
  ["wasm", { tier: "wasm" }, 1],
  ["wasm, compiled in the background", { tier: "wasm", background: true }, 1],
  ["wasm, few regions", { tier: "wasm", regions: 3 }, 1 / 4],
  ["wasm, one block a region", { tier: "wasm", chain: false }, 1 / 4],
];

describe.each([32, 64] as const)("RV%i programs in lockstep", (xlen) => {
  const chosen = kinds.filter(([name]) => ONLY === undefined || name === ONLY);
  it.each(chosen)(
    "leave the interpreter's state in %s",
    { timeout: 36_000_000 },
    async (name, options, share) => {
      const totals = { programs: 0, instructions: 0, translated: 0, exceptions: 0, walks: 0, ambiguous: 0 };
      for (let seed = FIRST_SEED; totals.instructions < INSTRUCTIONS * share; seed++) {
        const result: LockstepResult =
          options.background === true
            ? await lockstepInBackground(xlen, seed, SLICES, SLICE, options)
            : lockstep(xlen, seed, SLICES, SLICE, options);
        expect(result.divergence).toBeUndefined();
        totals.programs++;
        totals.instructions += result.instructions;
        totals.translated += result.translated;
        totals.exceptions += result.exceptions;
        totals.walks += result.walks;
        totals.ambiguous += result.ambiguous ? 1 : 0;
      }
      if (process.env.HYPERFILE_LOCKSTEP_INSTRUCTIONS !== undefined) {
        console.log(JSON.stringify({ xlen, name, firstSeed: FIRST_SEED, ...totals }));
      }
      // The comparison means something only if both tiers ran and things went wrong on the way.
      if (options.tier !== "wasm-interpreter") {
        expect(totals.translated).toBeGreaterThan(totals.instructions / 20);
      }
      expect(totals.exceptions).toBeGreaterThan(totals.programs * 10);
      expect(totals.walks).toBeGreaterThan(totals.programs * 20);
      expect(totals.ambiguous).toBeLessThan(Math.max(2, totals.programs / 20));
    },
  );
});
