/** What a daemon keeps of the host when its VMs are gone: memory, and work that comes again and again. */
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { OwnDaemon } from "./own-daemon.js";

const MOST_BYTES = 120e6;
/** Milliseconds for which it is watched at a time; a timer of a second would wake it five times. */
const WATCHED_MS = 5000;
/** Milliseconds for it to come to rest, on any host: it begins to 20 s after the last VM. */
const REST_MS = 400_000;
const NAMES = ["a", "b", "c", "d"];

let folder: string;
let daemon: OwnDaemon;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "hf-rest-"));
  await mkdir(join(folder, "state"));
  const vms = NAMES.map((name) => `  ${name}: { kernel: embedded, memory: 64M }\n`).join("");
  await writeFile(join(folder, "Hyperfile"), `name: rest\nvms:\n${vms}`);
  daemon = await OwnDaemon.start(folder, join(folder, "state"));
});
afterEach(async () => {
  await daemon.end();
  await rm(folder, { recursive: true, force: true, maxRetries: 5 });
});

/** Bytes that it holds of the host's memory. */
async function resident(): Promise<number> {
  const status = await readFile(`/proc/${daemon.pid}/status`, "utf8");
  return 1024 * Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)![1]);
}
/** How often each of its threads has been woken: each sleep of its is one voluntary switch (proc_pid_status(5)). */
async function wakes(): Promise<number> {
  let sum = 0;
  for (const thread of await readdir(`/proc/${daemon.pid}/task`)) {
    const status = await readFile(`/proc/${daemon.pid}/task/${thread}/status`, "utf8").catch(() => "");
    sum += Number(/^voluntary_ctxt_switches:\s+(\d+)$/m.exec(status)?.[1] ?? 0);
  }
  return sum;
}
/** How often it is woken while it is watched. */
async function wakesNow(): Promise<number> {
  const before = await wakes();
  await new Promise((resolve) => setTimeout(resolve, WATCHED_MS));
  return Math.abs((await wakes()) - before);
}

it("gives back what its VMs took, and then does nothing", async () => {
  expect((await daemon.run("up")).errors).toBe("");
  for (const name of NAMES)
    expect((await daemon.run("exec", "--timeout", "100", name, "burn", "2")).status).toBe(0);
  expect(await resident()).toBeGreaterThan(MOST_BYTES);
  expect(await wakesNow()).toBeGreaterThan(2);
  expect((await daemon.run("down", "rest", "--force")).errors).toBe("");
  await expect.poll(resident, { timeout: REST_MS, interval: 1000 }).toBeLessThan(MOST_BYTES);
  await expect.poll(wakesNow, { timeout: REST_MS }).toBeLessThanOrEqual(2);
  // It is there for who asks, and has VMs again.
  expect((await daemon.run("up")).errors).toBe("");
  const { output, errors } = await daemon.run("exec", "--timeout", "100", "a", "echo", "well");
  expect(output, errors).toBe("well\n");
}, 1_200_000);
