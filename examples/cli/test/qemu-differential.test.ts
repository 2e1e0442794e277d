/**
 * Generated programs under QEMU and in every tier: registers, traps, memory and page tables must agree after each block.
 * HYPERFILE_FUZZ_INSTRUCTIONS sets how many instructions of blocks run at least, HYPERFILE_FUZZ_SEED the first seed.
 */
import { spawnSync } from "node:child_process";
import { describe, expect, it } from "vitest";
import { compare } from "./qemu-differential/compare.js";
import { tiers } from "./qemu-differential/runners.js";

const INSTRUCTIONS = Number(process.env.HYPERFILE_FUZZ_INSTRUCTIONS ?? 40_000);
const FIRST_SEED = Number(process.env.HYPERFILE_FUZZ_SEED ?? 0);
const BLOCKS = 250;
/** Often enough for translation. */
const PASSES = 4;

describe.each([64, 32] as const)("generated RV%i programs", (xlen) => {
  const emulator = `qemu-system-riscv${xlen}`;
  const missing =
    spawnSync(emulator, ["--version"]).status === 0 ? undefined : `${emulator} is not installed`;

  it("leave the state that QEMU leaves, in every tier", { timeout: 3_600_000 }, async (context) => {
    context.skip(missing !== undefined, missing);
    const totals = { programs: 0, instructions: 0, traps: 0, checkpoints: 0 };
    for (let seed = FIRST_SEED; totals.instructions < INSTRUCTIONS / 2; seed++) {
      const result = await compare({ xlen, seed, blocks: BLOCKS, passes: PASSES }, tiers);
      expect(result.divergence).toBeUndefined();
      totals.programs++;
      totals.instructions += result.instructions;
      totals.traps += result.traps;
      totals.checkpoints += result.checkpoints;
    }
    // The comparison means something only if things went wrong on the way.
    expect(totals.traps).toBeGreaterThan(totals.instructions / 100);
    expect(totals.checkpoints).toBe(totals.programs * BLOCKS * PASSES);
    if (process.env.HYPERFILE_FUZZ_INSTRUCTIONS !== undefined) console.log(`RV${xlen}`, totals);
  });
});
