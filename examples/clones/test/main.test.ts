/** The built program with embedded guests: every clone answers as the original does, and memory is shared. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";

const program = fileURLToPath(new URL("../dist/main.js", import.meta.url));

it("clones a warm guest, compares the answers, and leaves nothing behind", () => {
  const folder = mkdtempSync(join(tmpdir(), "cl-"));
  try {
    const { status, stdout, stderr } = spawnSync(process.execPath, [program, "--embedded", "--clones", "4"], {
      encoding: "utf8",
      env: { ...process.env, TMPDIR: folder },
      timeout: 100_000,
    });
    expect(stderr).toBe("");
    expect(status).toBe(0);
    expect(stdout.match(/^clone-\d: made in [\d.]+ ms$/gm)).toHaveLength(4);
    expect(stdout).toMatch(/^answers that are the original's: 4 of 4$/m);
    // Four copies of what the original has would be 400 % more.
    const more = /^with its clones, just made: +[\d.]+ MiB, ([\d.]+) % more$/m.exec(stdout)?.[1];
    expect(Number(more)).toBeLessThan(100);
    expect(readdirSync(folder)).toEqual([]);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
