/** What a host process keeps for a guest that rewrites its code for ever, seen from outside. */
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, it } from "vitest";

const SCRIPT = fileURLToPath(new URL("retranslations.mjs", import.meta.url));
const GENEROUS = 300_000;

it.each([
  ["at once", 0],
  ["in the background", 1],
])(
  "3,000 retranslations, compiled %s, leave the process as it was",
  async (_, background) => {
    const args = [SCRIPT, "3000", "512", String(background)];
    const { stdout, stderr } = await promisify(execFile)(process.execPath, args, { timeout: GENEROUS });
    expect(stderr).toBe("");
    const seen = JSON.parse(stdout);
    expect(seen.translations).toBeGreaterThanOrEqual(3000);
    expect(seen.translationsFailed).toBe(0);
    // All but those of the code pages that there are is void.
    expect(seen.regions).toBeLessThan(128);
    expect(seen.liveModules).toBeLessThanOrEqual(70);
    // Before, Node 20 kept a mapping for each of the 3,000, for ever.
    expect(seen.mappings.most - seen.mappings.before).toBeLessThan(1200);
    expect(seen.modules).toBeLessThan(1500);
  },
  GENEROUS,
);
