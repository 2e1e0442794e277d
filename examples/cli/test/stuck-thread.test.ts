/**
 * A daemon whose VM thread is kept by the host, in a call that does not return: the built program, with a program for its
 * threads that reads what nobody writes.
 */
import { execFileSync, spawn } from "node:child_process";
import { cp, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, expect, it } from "vitest";

const cli = fileURLToPath(new URL("..", import.meta.url));
let folder: string;
let copy: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "hf-stuck-"));
  // Where the program's packages are found.
  copy = await mkdtemp(join(cli, "node_modules", ".stuck-"));
  for (const part of ["bin", "dist", "package.json"])
    await cp(join(cli, part), join(copy, part), { recursive: true });
  const never = join(folder, "never");
  execFileSync("mkfifo", [never]);
  await writeFile(
    join(copy, "dist", "vm-thread.js"),
    `import { readFileSync } from "node:fs";\nreadFileSync(${JSON.stringify(never)});\n`,
  );
});
afterEach(async () => {
  for (const place of [folder, copy]) await rm(place, { recursive: true, force: true, maxRetries: 5 });
});

it.each([
  ["a signal", false],
  ["a client", true],
])(
  "ends all the same when %s ends it, and says that it was by force",
  async (_, isByClient) => {
    const program = join(copy, "bin", "hyperfile.mjs");
    const variables = { ...process.env, HYPERFILE_STATE: join(folder, "state"), HYPERFILE_SOCKET: undefined };
    const daemon = spawn(process.execPath, [program, "daemon"], {
      env: variables,
      stdio: ["ignore", "ignore", "pipe"],
    });
    let told = "";
    daemon.stderr.on("data", (part) => {
      told += part;
    });
    const ended = new Promise((resolve) => daemon.once("close", (status, by) => resolve(by ?? status)));
    try {
      while (!told.includes("the daemon answers at")) await new Promise((resolve) => setTimeout(resolve, 20));
      if (isByClient) execFileSync(process.execPath, [program, "down", "--daemon"], { env: variables });
      else daemon.kill("SIGTERM");
      expect(await ended).toBe("SIGKILL");
      expect(told).toMatch(/the daemon ends \(.*\): by force, since (a thread|it) has not ended/);
    } finally {
      daemon.kill("SIGKILL");
    }
  },
  60_000,
);
