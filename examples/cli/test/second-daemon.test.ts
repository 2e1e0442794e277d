/** Two daemons of one user that look for each other at different places: the built program, which has one state folder. */
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { OwnDaemon, program, runToEnd, type Variables } from "./own-daemon.js";

let folder: string;
let daemon: OwnDaemon | undefined;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "hf-second-"));
  for (const name of ["state", "runtime"]) await mkdir(join(folder, name), { mode: 0o700 });
  await writeFile(join(folder, "Hyperfile"), "name: one\nvms: { a: { kernel: embedded, memory: 32M } }\n");
});
afterEach(async () => {
  await daemon?.end();
  daemon = undefined;
  await rm(folder, { recursive: true, force: true, maxRetries: 5 });
});

/** A user's variables: those of the program say nothing. */
const user = (): Variables => ({
  HYPERFILE_STATE: undefined,
  HYPERFILE_SOCKET: undefined,
  XDG_STATE_HOME: join(folder, "state"),
});
const without = (): Variables => ({ ...user(), XDG_RUNTIME_DIR: undefined });
const within = (): Variables => ({ ...user(), XDG_RUNTIME_DIR: join(folder, "runtime") });
const own = (): Variables => ({ ...user(), HYPERFILE_SOCKET: join(folder, "own.sock") });

it.each([
  ["without XDG_RUNTIME_DIR", without, [within, own]],
  ["with XDG_RUNTIME_DIR", within, [without]],
] as const)(
  "a daemon %s keeps its state folder from others, by the lock on it",
  async (_, first, others) => {
    daemon = await OwnDaemon.start(folder, "", { surroundings: first() });
    expect((await daemon.run("up")).errors).toBe("");
    const line = `a daemon has the state folder ${join(folder, "state", "hyperfile")} already: process ${daemon.pid}`;
    for (const other of others) {
      const elsewhere = (...args: string[]) =>
        runToEnd([process.execPath, program, ...args], { cwd: folder, variables: other() });
      for (const [command, start] of [
        ["daemon", "hyperfile: "],
        ["up", "hyperfile: the daemon does not start: "],
      ] as const) {
        const { status, output, errors } = await elsewhere(command);
        expect([status, output, errors.startsWith(start + line)], errors).toEqual([1, "", true]);
        expect(errors.trimEnd().split("\n")).toHaveLength(1);
      }
      // It answers nowhere, and has stopped nothing.
      expect((await elsewhere("ps")).output).not.toContain("running");
    }
    expect((await daemon.run("exec", "--timeout", "100", "a", "echo", "well")).output).toBe("well\n");
  },
  600_000,
);
