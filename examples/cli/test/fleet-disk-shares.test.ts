/** VMs of one daemon that contend for the store under their disks: limits, reservations, shares, settings, and what a low limit must not hold up. */
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DaemonClient } from "@hyperfile/broker/client";
import { RAM_BASE } from "@hyperfile/devices";
import { afterAll, beforeAll, expect, it } from "vitest";
import { busyDiskGuest } from "../../../packages/machine/test/busy-disk-guest.js";
import { elfOf } from "./elf-file.js";
import { OwnDaemon } from "./own-daemon.js";

/** Requests that each VM has in flight, and their bytes. */
const guest = { depth: 16, bytes: 4096 };

let folder: string;
let daemon: OwnDaemon;
let client: DaemonClient;
const at = (name: string): string => join(folder, name);

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "hf-shares-"));
  const code = busyDiskGuest(guest);
  const whole = new Uint8Array(Math.ceil(code.length / 4) * 4);
  whole.set(code);
  await writeFile(at("guest.elf"), elfOf({ gpa: RAM_BASE, words: [...new Int32Array(whole.buffer)] }));
  await mkdir(at("state"));
  daemon = await OwnDaemon.start(folder, at("state"));
  client = new DaemonClient(at("daemon.sock"));
});
afterAll(async () => {
  await daemon.end();
  await rm(folder, { recursive: true, force: true, maxRetries: 5 });
});

/** Brings VMs up, each with a disk of its own in the one folder; by name what else they have. */
async function up(vms: Readonly<Record<string, string>>, pools = ""): Promise<void> {
  const lines = Object.entries(vms).map(
    ([name, more]) =>
      `  ${name}: { program: ./guest.elf, memory: 4M, disks: [{ file: ${name}.raw, format: raw, size: 1M }], ${more} }\n`,
  );
  await writeFile(at("Hyperfile"), `name: shares\n${pools}vms:\n${lines.join("")}`);
  expect(await daemon.run("up")).toMatchObject({ status: 0, errors: "" });
}
const down = (): Promise<unknown> => daemon.run("down", "shares", "--force");

/** Operations of VMs' disks so far. A thread that does not answer at once tells old figures: it is asked again. */
async function operations(...names: readonly string[]): Promise<number[]> {
  const counts = names.map(async (name) => {
    for (;;) {
      const { counters, silentMs } = await client.vm(name);
      if (silentMs === undefined && counters !== undefined) return counters["disk0.read.operations"] ?? 0;
    }
  });
  return Promise.all(counts);
}
/** What VMs' disks do until the first of them has done so much more, and milliseconds in which they have. */
async function until(least: number, ...names: readonly string[]) {
  const began = performance.now();
  const before = await operations(...names);
  for (;;) {
    const counts = (await operations(...names)).map((count, index) => count - before[index]!);
    if (counts[0]! >= least) return { counts, milliseconds: performance.now() - began };
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
// Guests on a busy host do not always keep up with their rates: so margins are wide, and only limits are sharp.
it("what a pool may have goes by reservations and shares, and its limit holds for all that is inside", async () => {
  await up(
    {
      one: "pool: slow, disk: { shares: 1000 }",
      two: "pool: slow, disk: { shares: 2000 }",
      kept: "pool: slow, disk: { shares: 1, iops: { reservation: 20 } }",
      bytes: "disk: { shares: high, bandwidth: { limit: 60K } }",
    },
    "pools: { slow: { disk: { iops: { limit: 60 } } } }\n",
  );
  const { counts, milliseconds } = await until(60, "one", "two", "kept", "bytes");
  const [one, two, kept, bytes] = counts as [number, number, number, number];
  // Each may have started what it had in flight, and what a limit lets it catch up.
  const most = (rate: number): number => (rate * (milliseconds + 150)) / 1000 + guest.depth;
  expect(one + two + kept).toBeLessThanOrEqual(most(60) + 2 * guest.depth);
  expect(bytes).toBeLessThanOrEqual(most(15));
  expect(bytes).toBeGreaterThan(0);
  // Twice as much; and a third of all, where its shares alone would be a part in 3,000.
  expect(two / one).toBeGreaterThan(1.3);
  expect(two / one).toBeLessThan(3);
  expect(kept / (one + two + kept)).toBeGreaterThan(0.2);

  // A change acts at once, on what waits as well.
  expect((await daemon.run("set", "bytes", "disk.bandwidth.limit=none", "disk.shares=low")).output).toBe(
    "bytes: disk.bandwidth.limit 60K -> none\nbytes: disk.shares 2000 -> 500\n",
  );
  const free = await until(1000, "bytes");
  expect(free.counts[0]).toBeGreaterThan(most(15) / 2);
  expect((await daemon.run("set", "pool:shares/slow", "disk.iops.limit=6")).errors).toMatch(
    /^hyperfile: pool shares\/slow can't be admitted: a reservation of 20 disk operations a second is needed in pool shares\/slow, which has 6 disk operations a second left, [^\n]*\n$/,
  );
  expect((await daemon.run("set", "pool:shares/slow", "disk.iops.limit=24")).errors).toBe("");
  const slowed = await until(3, "one", "two", "kept");
  expect(slowed.counts.reduce((sum, count) => sum + count, 0)).toBeLessThanOrEqual(
    (24 * (slowed.milliseconds + 150)) / 1000 + 3 * guest.depth,
  );
  expect((await daemon.run("set", "one", "disk.bandwidth.limit=1G", "disk.iops.limit=none")).output).toBe(
    "one: disk.bandwidth.limit none -> 1G\none: disk.iops.limit stays none (in effect 24: the limit of pool shares/slow)\n",
  );
  await down();
}, 400_000);

it("a VM with a low limit is paused, saved, cloned, reset and stopped as any other, and pays for it later", async () => {
  await up({ slow: "disk: { iops: { limit: 1 } }" });
  await until(2, "slow");
  // Sixteen requests wait; in their turns they would take longer than a drain may.
  expect(await daemon.run("pause", "slow")).toMatchObject({ status: 0, errors: "" });
  const [paused] = await operations("slow");
  expect(paused).toBeGreaterThanOrEqual(guest.depth);
  expect((await daemon.run("resume", "slow")).errors).toBe("");
  const counters = (await client.vm("slow")).counters!;
  expect(counters["disks.throttled.operations"]).toBeGreaterThanOrEqual(guest.depth);
  expect(counters["disks.throttled.milliseconds"]).toBeGreaterThan(0);
  await down();

  await up({ slow: "disk: { iops: { limit: 1 } }", w: "disk: { iops: { limit: 1 } }" });
  await until(1, "slow");
  expect((await daemon.run("snapshot", "slow", "s")).errors).toBe("");
  expect((await daemon.run("clone", "slow", "twin")).errors).toBe("");
  expect((await client.vm("twin")).disk.iops.limit).toBe(1);
  expect((await daemon.run("reset", "w")).errors).toBe("");
  // Its new driver does not wait for what the old one had asked for.
  await until(1, "w");
  expect((await client.vm("w")).counters!["virtio0:block.overdue"]).toBe(0);
  for (const name of ["twin", "slow", "w"])
    expect((await daemon.run("stop", name, "--force")).errors).toBe("");
  await down();
}, 400_000);

it("mistakes have their one line", async () => {
  await up({ a: "" });
  for (const [words, message] of [
    [
      ["a", "disk.iops.limit=0"],
      /disk.iops.limit=0 is impossible: give a whole number of operations a second such as 500, or none/,
    ],
    [["a", "disk.iops.limit=1.5"], /disk.iops.limit=1.5 is impossible/],
    [["a", "disk.iops=5"], /there is no setting disk.iops; did you mean/],
    [
      ["a", "disk.bandwidth.limit=20"],
      /disk.bandwidth.limit=20 is impossible: give bytes a second such as 20M, or none/,
    ],
    [
      ["pool:shares", "disk.bandwidth.reservation=none"],
      /disk.bandwidth.reservation=none is impossible: give bytes a second such as 20M\n/,
    ],
    [
      ["a", "disk.iops.limit=10", "disk.iops.reservation=20"],
      /VM a: the reservation of 20 is above the limit of 10/,
    ],
  ] as const) {
    const { status, errors } = await daemon.run("set", ...words);
    expect([status === 0, errors]).toEqual([false, expect.stringMatching(message)]);
    expect(errors.trim().split("\n")).toHaveLength(1);
  }
  expect((await client.vm("a")).disk).toEqual({
    shares: 1000,
    iops: { reservation: 0, limit: null },
    bandwidth: { reservation: 0, limit: null },
  });
  await down();
});
