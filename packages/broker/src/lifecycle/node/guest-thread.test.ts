/** Threads whose program can't be loaded. */
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { expect, it } from "vitest";
import { startWorker } from "./guest-thread.js";

const MODULES = 40;
const THREADS = 8;

it.each([
  ["a package that is not there", 'import "no-such-package";\n', /no-such-package/],
  ["a mistake", "const const;\n", /const/],
  ["an error", 'throw new Error("broken program");\n', /broken program/],
])(
  "a thread whose program has %s ends with that error, and leaves no file open",
  async (_, last, message) => {
    const folder = mkdtempSync(join(tmpdir(), "hyperfile-thread-"));
    try {
      let text = "";
      for (let at = 0; at < MODULES; at++) {
        writeFileSync(join(folder, `m${at}.mjs`), "export {};\n");
        text += `import "./m${at}.mjs";\n`;
      }
      const path = join(folder, "program.mjs");
      writeFileSync(path, text + last);
      const open = () => readdirSync("/proc/self/fd").length;
      const fails = () =>
        new Promise<Error | undefined>((resolve) => {
          let error: Error | undefined;
          const data = {
            table: new SharedArrayBuffer(8),
            disks: new SharedArrayBuffer(8),
            swapFolder: folder,
          };
          const thread = startWorker(pathToFileURL(path), data);
          thread.on("error", (its) => {
            error = its;
          });
          thread.on("exit", () => resolve(error));
        });
      await fails();
      const before = open();
      for (let thread = 0; thread < THREADS; thread++) expect((await fails())?.message).toMatch(message);
      expect(open()).toBeLessThan(before + THREADS);
    } finally {
      rmSync(folder, { recursive: true });
    }
  },
  60_000,
);
