/** What many VMs cost that do nothing: threads, files and wake-ups of a daemon in this process, each counted. */
import { mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { startDaemon } from "../../../test/daemon-host.js";
import { DaemonClient } from "../../api/node/client.js";
import type { Daemon } from "./daemon.js";

/** 120 and more are run with HYPERFILE_IDLE_VMS=120: making their threads takes most of a minute. */
const COUNT = Number(process.env.HYPERFILE_IDLE_VMS ?? 40);
const SAMPLE_MS = 50;
let folder: string;
let daemon: Daemon;
let client: DaemonClient;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "hyperfile-idle-"));
  daemon = await startDaemon(folder, { sampleMs: SAMPLE_MS });
  client = new DaemonClient(join(folder, "run", "daemon.sock"));
});
afterEach(async () => {
  await daemon.close();
  rmSync(folder, { recursive: true, force: true });
});

const threads = () => readdirSync("/proc/self/task");
/** Open files, but for the ring that Node 24 and newer have in each thread. */
const files = () => readdirSync("/proc/self/fd").filter((file) => !/io_uring/.test(linkOf(file))).length;
function linkOf(file: string): string {
  try {
    return readlinkSync(`/proc/self/fd/${file}`);
  } catch {
    // Closed since it was listed.
    return "";
  }
}
/** Times that a thread has been woken: each sleep of its is one voluntary switch (proc_pid_status(5)). */
const wakes = (thread: string): number =>
  Number(
    /^voluntary_ctxt_switches:\s+(\d+)$/m.exec(readFileSync(`/proc/self/task/${thread}/status`, "utf8"))![1],
  );
const wait = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds));

it(`${COUNT} idle VMs have a thread and at most six files each, sleep, and keep nobody waiting`, async () => {
  const before = { threads: new Set(threads()), files: files() };
  const vms = Array.from({ length: COUNT }, (_, at) => `vm${at}: { kernel: embedded, memory: 8M }`).join(
    ", ",
  );
  const { actions } = await client.up({ text: `vms: { ${vms} }`, file: "Hyperfile", folder: "/home/idle" });
  expect(actions.filter(({ action }) => action === "started")).toHaveLength(COUNT);
  // The last of them have said their first words, and the one that waits for the next VM is there.
  await wait(2000);
  const own = threads().filter((thread) => !before.threads.has(thread));
  expect(own.length).toBeGreaterThanOrEqual(COUNT);
  expect(own.length).toBeLessThanOrEqual(COUNT + 12);
  expect(files() - before.files).toBeLessThanOrEqual(6 * COUNT + 40);

  // Over 60 ticks each is asked twice or three times, of which each costs some wakes; asked at each tick it would be 60 times.
  const tick = () => (daemon as unknown as { sampler: { ticks: number } }).sampler.ticks;
  const first = tick();
  const woken = new Map(own.map((thread) => [thread, wakes(thread)]));
  while (tick() < first + 60) await wait(20);
  const counts = own.map((thread) => wakes(thread) - woken.get(thread)!).sort((one, other) => one - other);
  expect(counts[COUNT / 2]).toBeLessThanOrEqual(20);
  expect(counts.slice(0, COUNT).reduce((sum, count) => sum + count, 0)).toBeLessThanOrEqual(25 * COUNT);

  // Each is shown with its figures, and obeys.
  const views = await client.vms();
  expect(views).toHaveLength(COUNT);
  expect(
    views.filter(
      ({ state, activity, silentMs }) => state === "running" && activity === "idle" && silentMs === undefined,
    ),
  ).toHaveLength(COUNT);
  expect((await client.exec("vm37", "echo well")).output).toBe("well\n");
  await client.down("idle", true);
  await wait(500);
  expect(files() - before.files).toBeLessThanOrEqual(40);
}, 300_000);
