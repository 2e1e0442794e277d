/** Files that are none, in a Hyperfile: a fifo would have its reader wait for ever, and with it `up`, `down` and the daemon's end. */
import { execFileSync } from "node:child_process";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { OwnDaemon } from "./own-daemon.js";

let folder: string;
let daemon: OwnDaemon;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "hf-fifos-"));
  await mkdir(join(folder, "state"));
  execFileSync("mkfifo", [join(folder, "fifo")]);
  await writeFile(join(folder, "Hyperfile"), "name: one\nvms: { a: { kernel: embedded, memory: 32M } }\n");
  await writeFile(
    join(folder, "fifos"),
    `name: fifos
vms:
  k: { kernel: ./fifo, memory: 32M }
  i: { kernel: embedded, initrd: ./fifo, memory: 32M }
  p: { program: ./fifo, memory: 32M }
  d: { kernel: embedded, disks: [./fifo], memory: 32M }
  w: { kernel: embedded, memory: 32M }
`,
  );
  daemon = await OwnDaemon.start(folder, join(folder, "state"));
});
afterAll(async () => {
  await daemon.end();
  await rm(folder, { recursive: true, force: true, maxRetries: 5 });
});

it("fifos as kernel, initial file system, program and disk are a line each, and keep neither up, down nor the end waiting", async () => {
  expect((await daemon.run("up")).errors).toBe("");
  const [up, down] = await Promise.all([daemon.run("up", "fifos"), daemon.run("down", "one", "--force")]);
  expect([up.status, up.output]).toEqual([1, expect.stringMatching(/^ {2}w started$/m)]);
  const lines = up.errors.trimEnd().split("\n");
  expect(lines, up.errors).toHaveLength(4);
  for (const [at, name] of ["k", "i", "p", "d"].entries())
    expect(lines[at]).toMatch(new RegExp(`^hyperfile: VM ${name}: .*/fifo: .*regular file`));
  expect(down).toMatchObject({ status: 0, errors: "" });
  expect((await daemon.run("exec", "--timeout", "100", "w", "echo", "well")).output).toBe("well\n");
  expect(await daemon.run("down", "fifos", "--force")).toMatchObject({ status: 0, errors: "" });
  daemon.signal("SIGTERM");
  expect(await daemon.ended, daemon.told).toBe(0);
}, 600_000);
