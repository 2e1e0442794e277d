/** The program as a reader runs it: the number goes on from run to run, and what is not the program's is refused. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { ImageLock } from "@hyperfile/devices/node";
import { afterAll, expect, it } from "vitest";

const program = fileURLToPath(new URL("../disk.mjs", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "hyperfile-disk-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const run = (...args: string[]) => {
  const { status, stdout, stderr } = spawnSync(process.execPath, [program, ...args], {
    cwd: folder,
    encoding: "utf8",
    timeout: 100_000,
  });
  return { status, stdout, stderr };
};

it("counts its boots on the image, and leaves nothing else behind", () => {
  for (const boot of [1, 2, 3]) expect(run()).toEqual({ status: 0, stdout: `boot ${boot}\n`, stderr: "" });
  expect(readdirSync(folder)).toEqual(["boots.qcow2"]);
});

it("says in a line what is in the way", async () => {
  const lock = await ImageLock.take(join(folder, "boots.qcow2"));
  expect(run()).toMatchObject({
    status: 1,
    stdout: "",
    stderr: expect.stringMatching(/^boots.*writes the image.*\n$/),
  });
  lock.release();
  writeFileSync(join(folder, "no-image"), "nothing");
  expect(run("no-image")).toMatchObject({ status: 1, stderr: expect.stringMatching(/^no-image: .*\n$/) });
});

it("attaches the disk in as many lines as its README says", () => {
  const lines = readFileSync(program, "utf8").split("\n");
  const first = lines.findIndex((line) => line.includes("openImage(path"));
  const last = lines.findIndex((line) => line.includes("image.close()"));
  expect(last - first + 1).toBeLessThanOrEqual(10);
});
