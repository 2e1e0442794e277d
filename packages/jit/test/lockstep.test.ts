import { describe, expect, it } from "vitest";
import { lockstep } from "./lockstep.js";

/** Programs of each width, a third of them in each mode; each runs SLICES slices, most of them short, so that budgets end everywhere. */
const PROGRAMS = 9;
const SLICES = 80;
const SLICE = 97;

describe.each([32, 64] as const)("RV%i programs in lockstep", (xlen) => {
  it.each(["js", "wasm"] as const)("leave the same state in the interpreter and in tier %s", (tier) => {
    let instructions = 0;
    let translated = 0;
    let exceptions = 0;
    let walks = 0;
    for (let seed = 0; seed < PROGRAMS; seed++) {
      const result = lockstep(xlen, seed, SLICES, SLICE, tier);
      expect(result.divergence).toBeUndefined();
      instructions += result.instructions;
      translated += result.translated;
      exceptions += result.exceptions;
      walks += result.walks;
    }
    // The comparison means something only if both tiers ran and things went wrong on the way.
    expect(instructions).toBeGreaterThan(50_000);
    expect(translated).toBeGreaterThan(instructions / 10);
    expect(exceptions).toBeGreaterThan(100);
    expect(walks).toBeGreaterThan(1000);
  });
});
