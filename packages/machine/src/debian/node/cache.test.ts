import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { replaceFolder, temporaryFolder } from "./cache.js";

let parent: string;
beforeEach(async () => {
  parent = await mkdtemp(join(tmpdir(), "hyperfile-cache-"));
});
afterEach(() => rm(parent, { recursive: true }));

it("is filled by several at once, as VMs of one daemon do: each succeeds, and one's work stays, whole", async () => {
  const folder = join(parent, "debian");
  const numbers = Array.from({ length: 20 }, (_, number) => number);
  const fill = (number: number) => async (temporary: string) => {
    for (const part of ["a", "b", "c"]) await writeFile(join(temporary, part), String(number));
    return number;
  };
  expect(await Promise.all(numbers.map((number) => replaceFolder(folder, fill(number))))).toEqual(numbers);
  expect(await readdir(parent)).toEqual(["debian"]);
  const parts = await Promise.all(["a", "b", "c"].map((part) => readFile(join(folder, part), "utf8")));
  expect(new Set(parts).size).toBe(1);
  expect(numbers.map(String)).toContain(parts[0]);
});

it("stays as it was where the filling fails, and nothing half is left beside it", async () => {
  const folder = join(parent, "debian");
  await replaceFolder(folder, (temporary) => writeFile(join(temporary, "a"), "old"));
  const failing = replaceFolder(folder, async (temporary) => {
    await writeFile(join(temporary, "a"), "new");
    throw new Error("no network");
  });
  await expect(failing).rejects.toThrow("no network");
  expect(await readdir(parent)).toEqual(["debian"]);
  expect(await readFile(join(folder, "a"), "utf8")).toBe("old");
});

it("removes what processes that are gone have left, and of no other", async () => {
  // No process has a number above the largest that Linux gives.
  await mkdir(join(parent, "debian.part-99999999-x"));
  await mkdir(join(parent, `debian.part-${process.ppid}-x`));
  await mkdir(join(parent, "another.part-99999999-x"));
  const own = await temporaryFolder(join(parent, "debian"));
  expect((await readdir(parent)).map((name) => join(parent, name)).sort()).toEqual(
    [own, join(parent, "another.part-99999999-x"), join(parent, `debian.part-${process.ppid}-x`)].sort(),
  );
});
