/**
 * Generated loops and calls in regions leave the interpreter's state. HYPERFILE_LOOPS_PROGRAMS sets how many programs
 * run for each register width and tier, HYPERFILE_LOOPS_SEED the first seed.
 */
import { describe, expect, it } from "vitest";
import { agree } from "./agree.js";
import { loopProgram, prepareLoops } from "./loops.js";

const PROGRAMS = Number(process.env.HYPERFILE_LOOPS_PROGRAMS ?? 4);
const FIRST_SEED = Number(process.env.HYPERFILE_LOOPS_SEED ?? 0);
const INSTRUCTIONS = 20_000;
const SLICES = [1000, 1, 37, 400, 3, 2000, 1, 111];

describe.each([32, 64] as const)("generated loops of RV%i", (xlen) => {
  it.each(["wasm", "js"] as const)(
    "leave the interpreter's state in tier %s",
    { timeout: 36_000_000 },
    (tier) => {
      let [instructions, translated, exceptions] = [0, 0, 0];
      for (let seed = FIRST_SEED; seed < FIRST_SEED + PROGRAMS; seed++) {
        const options = {
          xlen,
          tier,
          prepare: (cpu: Parameters<typeof prepareLoops>[0]) => prepareLoops(cpu, seed),
        };
        const cpu = agree(loopProgram(xlen, seed), INSTRUCTIONS, options, SLICES, `seed ${seed}`);
        instructions += cpu.retired();
        translated += cpu.engine.counters.translated;
        exceptions += cpu.hart.counters.exceptions;
      }
      if (process.env.HYPERFILE_LOOPS_PROGRAMS !== undefined) {
        console.log(
          JSON.stringify({ xlen, tier, FIRST_SEED, PROGRAMS, instructions, translated, exceptions }),
        );
      }
      expect(translated).toBeGreaterThan(instructions / 2);
      expect(exceptions).toBeGreaterThan(PROGRAMS);
    },
  );
});
