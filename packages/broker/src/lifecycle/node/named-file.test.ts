/** Files that somebody names, on file systems that answer and on such as do not. */
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";
import { NamedFiles } from "./named-file.js";

const here = fileURLToPath(import.meta.url);

it("are there or not", async () => {
  const files = new NamedFiles();
  expect(await files.has(here)).toBe(true);
  expect(await files.has(`${here}/none`)).toBe(false);
});

it("where nothing answers are told in one line, and few are asked for again before it does", async () => {
  const asked: (() => void)[] = [];
  const files = new NamedFiles((path) => {
    if (path === "/here") return Promise.resolve();
    return new Promise<void>((resolve) => asked.push(resolve));
  }, 1);
  const silent = {
    code: "E_FILES",
    message: expect.stringMatching(/^\/gone: can't see [^\n]+ server is back$/),
  };
  await expect(files.has("/gone")).rejects.toMatchObject(silent);
  expect(await files.has("/here")).toBe(true);
  for (let look = 0; look < 5; look++) await expect(files.has("/gone")).rejects.toMatchObject(silent);
  expect(asked.length).toBe(2);
  // Both have threads of Node's: nobody else is to wait for such a file system.
  await expect(files.has("/here")).rejects.toMatchObject({ code: "E_FILES" });
  for (const answer of asked) answer();
  await expect.poll(() => files.has("/here"), { timeout: 60_000 }).toBe(true);
});
