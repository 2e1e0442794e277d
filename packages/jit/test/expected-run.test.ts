/**
 * Every tier against an expectation of the test's own, not against another tier: registers, program counter, the count
 * of retired instructions and each device access with its time, after every slice. HYPERFILE_EXPECTED_INSTRUCTIONS sets
 * how many instructions run at least in each tier and register width, HYPERFILE_EXPECTED_SEED the first seed.
 */
import { describe, expect, it } from "vitest";
import { tiers } from "../src/index.js";
import { expectedCpu, expectedProgram } from "./expected-run.js";
import { generator } from "./lockstep.js";

const INSTRUCTIONS = Number(process.env.HYPERFILE_EXPECTED_INSTRUCTIONS ?? 100_000);
const FIRST_SEED = Number(process.env.HYPERFILE_EXPECTED_SEED ?? 0);
/** Instructions of one program. */
const PROGRAM = 50_000;
/** Most instructions of a slice: some end anywhere in a block, some run through regions. */
const SLICES = [1, 2, 3, 7, 40, 300, 2000] as const;

describe.each([32, 64] as const)("RV%i programs", (xlen) => {
  it.each(tiers.filter((tier) => tier !== "auto"))(
    "do in tier %s what they must, and see exact counts where instructions and accesses straddle pages",
    { timeout: 36_000_000 },
    async (tier) => {
      const totals = {
        programs: 0,
        instructions: 0,
        translated: 0,
        crossings: 0,
        accesses: 0,
        misaligned: 0,
      };
      for (let seed = FIRST_SEED; totals.instructions < INSTRUCTIONS; seed++) {
        const random = generator(seed + 41);
        const program = expectedProgram(xlen, seed);
        const { expectation } = program;
        const { cpu, accesses } = expectedCpu(xlen, program, seed, tier);
        while (expectation.retired < PROGRAM) {
          const slice = 1 + random(SLICES[random(SLICES.length)]!);
          const where = `seed ${seed}, a slice of ${slice} after ${expectation.retired} instructions`;
          expectation.run(slice);
          expect(cpu.run(slice), where).toBe("budget");
          expect(cpu.retired(), where).toBe(expectation.retired);
          expect(cpu.hart.pcLow >>> 0, where).toBe(expectation.steps[expectation.at]!.address);
          for (let register = 0; register < 32; register++) {
            const value =
              (BigInt(cpu.hart.readXHigh(register) >>> 0) << 32n) | BigInt(cpu.hart.readXLow(register) >>> 0);
            if (value !== expectation.x[register])
              expect(`x${register} = ${value}`, where).toBe(`x${register} = ${expectation.x[register]}`);
          }
          expect(accesses, where).toEqual(expectation.accesses);
          totals.accesses += accesses.length;
          accesses.length = 0;
          expectation.accesses.length = 0;
        }
        totals.programs++;
        // Long runs let the test's runner hear that they are alive.
        await new Promise((resolve) => setImmediate(resolve));
        totals.instructions += expectation.retired;
        totals.translated += cpu.engine.counters.translated;
        totals.crossings += cpu.engine.counters.exitsCrossing;
        totals.misaligned += cpu.access.counters.misaligned;
      }
      if (process.env.HYPERFILE_EXPECTED_INSTRUCTIONS !== undefined)
        console.log(JSON.stringify({ xlen, tier, firstSeed: FIRST_SEED, ...totals }));
      // It means something only if what it is about happened.
      if (tier === "js" || tier === "wasm")
        expect(totals.translated).toBeGreaterThan(totals.instructions / 2);
      expect(totals.crossings).toBeGreaterThan(totals.programs * 100);
      expect(totals.accesses).toBeGreaterThan(totals.instructions / 100);
      expect(totals.misaligned).toBeGreaterThan(totals.programs * 10);
    },
  );
});
