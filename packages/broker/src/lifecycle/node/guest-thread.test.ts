/** Threads whose program can't be loaded, and threads that end while they load it. */
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterEach, beforeEach, expect, it } from "vitest";
import type { ThreadHandle } from "./guest-thread.js";
import { startWorker } from "./start-worker.js";

const MODULES = 40;
const MODULE_BYTES = 200_000;
/** Names that each module gives the next: linking them takes its time as well. */
const NAMES = Array.from({ length: 1500 }, (_, at) => `name${at}`);
const THREADS = 8;

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "hyperfile-thread-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

const open = () => readdirSync("/proc/self/fd").length;

/** A program of so many modules that it takes its time to load. */
function writeProgram(last: string): URL {
  let text = "";
  for (let at = 0; at < MODULES; at++) {
    const given =
      at === 0
        ? NAMES.map((name) => `export const ${name} = 0;`).join("\n")
        : `export { ${NAMES.join(", ")} } from "./m${at - 1}.mjs";`;
    writeFileSync(join(folder, `m${at}.mjs`), `${given}\n//${"-".repeat(MODULE_BYTES)}\n`);
    text += `import { ${NAMES.join(", ")} } from "./m${at}.mjs";\n`.replace(/name\d+/g, `$& as $&m${at}`);
  }
  const path = join(folder, "program.mjs");
  writeFileSync(path, text + last);
  return pathToFileURL(path);
}

const start = (program: URL) =>
  startWorker(program, {
    table: new SharedArrayBuffer(8),
    disks: new SharedArrayBuffer(8),
    swapFolder: folder,
  });

it.each([
  ["a package that is not there", 'import "no-such-package";\n', /no-such-package/],
  ["a mistake", "const const;\n", /const/],
  ["an error", 'throw new Error("broken program");\n', /broken program/],
])(
  "a thread whose program has %s ends with that error, and leaves no file open",
  async (_, last, message) => {
    const program = writeProgram(last);
    const fails = () =>
      new Promise<Error | undefined>((resolve) => {
        let error: Error | undefined;
        const thread = start(program);
        thread.on("error", (its) => {
          error = its;
        });
        thread.on("exit", () => resolve(error));
      });
    await fails();
    const before = open();
    for (let thread = 0; thread < THREADS; thread++) expect((await fails())?.message).toMatch(message);
    expect(open()).toBeLessThan(before + THREADS);
  },
  60_000,
);

const HELLO = 'import { parentPort } from "node:worker_threads";\nparentPort.postMessage("hello");\n';

it("threads that are ended while they load their program end alone, and leave no file open", async () => {
  const program = writeProgram(HELLO);
  const begin = () => {
    const thread = start(program);
    return new Promise<ThreadHandle>((resolve) => thread.on("message", () => resolve(thread)));
  };
  const asked = performance.now();
  await (await begin()).terminate();
  const loading = performance.now() - asked;
  const before = open();
  let unheard = 0;
  for (let at = 1; at <= 3 * THREADS; at++) {
    const thread = start(program);
    let heard = false;
    thread.on("message", () => {
      heard = true;
    });
    await new Promise((resolve) => setTimeout(resolve, (loading * at) / (3 * THREADS)));
    if (!heard) unheard++;
    await thread.terminate();
  }
  expect(unheard).toBeGreaterThan(THREADS / 2);
  expect(open()).toBeLessThan(before + THREADS);
}, 60_000);

it("a program that waits at its top level is loaded, too", async () => {
  const thread = start(writeProgram(`${HELLO}await null;\n`));
  expect(await new Promise((resolve) => thread.on("message", resolve))).toBe("hello");
  await thread.terminate();
});
