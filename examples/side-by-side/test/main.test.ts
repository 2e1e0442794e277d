/** The built program with embedded guests: what it prints, and that it leaves nothing behind. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";

const program = fileURLToPath(new URL("../dist/main.js", import.meta.url));

function run(folder: string, ...args: string[]) {
  return spawnSync(process.execPath, [program, ...args], {
    encoding: "utf8",
    env: { ...process.env, TMPDIR: folder, XDG_CACHE_HOME: folder },
    timeout: 100_000,
  });
}

it("prints what each guest got as the shares change, and says which guest stands in", () => {
  const folder = mkdtempSync(join(tmpdir(), "sbs-"));
  try {
    const { status, stdout, stderr } = run(folder, "--seconds", "1");
    expect(stderr).toBe(
      `Debian's files are not in ${folder}/hyperfile: npm start fetches them. The embedded guest stands in.\n`,
    );
    expect(status).toBe(0);
    const rows = [...stdout.matchAll(/^(left|right) +(\d+) +([\d.]+) % +([\d.]+) % /gm)];
    expect(rows.map(([, name, shares, entitled]) => `${name} ${shares} ${entitled}`)).toEqual([
      "left 3000 75.0",
      "right 1000 25.0",
      "left 1000 50.0",
      "right 1000 50.0",
      "left 1000 0.0",
      "right 1000 100.0",
    ]);
    // Both computed for most of the first second, on one core.
    const times = [...stdout.matchAll(/% +([\d.]+) s +[\d.]+ s$/gm)].map(([, time]) => Number(time));
    expect(times.every((time, at) => (at === 4 ? time === 0 : time > 0.05))).toBe(true);
    // How near the others come depends on what else the computer does; a paused guest gets nothing anywhere.
    expect(rows.slice(4).map((row) => row[4])).toEqual(["0.0", "100.0"]);
    expect(readdirSync(folder)).toEqual([]);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

it("refuses a time that is none", () => {
  expect(run(tmpdir(), "--seconds", "soon")).toMatchObject({
    status: 1,
    stderr: "side-by-side: --seconds needs a number above 0\n",
  });
});
