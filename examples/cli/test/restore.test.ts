/** Snapshots of running VMs, restored through the built program: one that can't be costs its VM nothing. */
import { copyFile, mkdir, mkdtemp, readFile, rm, symlink, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { zstdCodec } from "@hyperfile/machine/snapshot";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { SnapshotMutator } from "../../../packages/machine/test/snapshot-mutator.js";
import { OwnDaemon } from "./own-daemon.js";

let folder: string;
let daemon: OwnDaemon;
const snapshotOf = (vm: string, name: string): string =>
  join(folder, "state", "vms", vm, "snapshots", `${name}.snapshot`);

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "hf-restore-"));
  await mkdir(join(folder, "state"));
  daemon = await OwnDaemon.start(folder, join(folder, "state"), { args: ["--cores", "1"] });
  await writeFile(
    join(folder, "Hyperfile"),
    `name: shop
vms:
  a: { kernel: embedded, memory: 32M, cpu: { reservation: 0.8 } }
  b: { kernel: embedded, memory: 64M }
  d: { kernel: embedded, memory: 64M, cpu: { reservation: 0.5 }, autostart: false }
`,
  );
  expect(await daemon.run("up")).toMatchObject({ status: 0, errors: "" });
  for (const vm of ["a", "b"]) expect((await daemon.run("snapshot", vm, "good")).errors).toBe("");
  // A process that the snapshot has not: the VM's state since then.
  await daemon.run("exec", "a", "sleep", "9999", "&");
});
afterAll(async () => {
  await daemon.end();
  await rm(folder, { recursive: true, force: true, maxRetries: 5 });
});

/** What the guest's process table says of the process that was begun after the snapshot. */
const hasProcess = async (): Promise<boolean> =>
  (await daemon.run("exec", "a", "ps")).output.includes("sleep");
async function view(): Promise<{ state: string; startedAt: number }> {
  const vms = JSON.parse((await daemon.run("ps", "--json")).output);
  return vms.find(({ name }: { name: string }) => name === "a");
}

/** A snapshot of `a` with right checksums, whose hart's state is so many zeros behind the head of a value. */
async function craft(path: string, head: readonly number[], zeros: number): Promise<void> {
  const state = new Uint8Array(head.length + zeros);
  state.set(head);
  const mutator = new SnapshotMutator(await readFile(snapshotOf("a", "good")), await zstdCodec(), 1);
  await writeFile(path, mutator.with("state/cpu", state));
}
/** The head of a list or a record with so many values. */
const headOf = (tag: number, count: number): number[] => [
  tag,
  ...new Uint8Array(Uint32Array.of(count).buffer),
];
const [LIST, RECORD] = [6, 7];

/** Snapshots that can't be restored to `a`, and what is said of them. */
const bad: readonly (readonly [name: string, make: (path: string) => Promise<void>, message: RegExp])[] = [
  [
    "altered",
    async (path) => {
      const bytes = await readFile(snapshotOf("a", "good"));
      bytes[bytes.length - 1000]! ^= 0xff;
      await writeFile(path, bytes);
    },
    /the snapshot is damaged: section [\w/]+ was altered; take the snapshot again or use another/,
  ],
  [
    "cut",
    async (path) => {
      await copyFile(snapshotOf("a", "good"), path);
      await truncate(path, 30_000);
    },
    /the snapshot is damaged: section [\w/]+ is cut off/,
  ],
  ["empty", (path) => writeFile(path, ""), /this is not a snapshot: it does not begin with HYPERSNP/],
  [
    "linked",
    async (path) => {
      await writeFile(join(folder, "secret"), "root:x:0:0");
      await symlink(join(folder, "secret"), path);
    },
    /this is not a snapshot/,
  ],
  [
    "larger",
    (path) => copyFile(snapshotOf("b", "good"), path),
    /the snapshot is of another machine: it has ramBytes 67108864, this machine 33554432/,
  ],
  [
    "of-a-long-list",
    (path) => craft(path, headOf(LIST, 260_000_000), 260_000_000),
    /the snapshot is damaged: section state\/cpu has 260000005 bytes, more than the \d+ that it can have/,
  ],
  [
    "of-many-keys",
    (path) => craft(path, headOf(RECORD, 10_000_000), 50_000_000),
    /the snapshot is damaged: section state\/cpu has 50000005 bytes, more than the \d+ that it can have/,
  ],
  [
    "of-many-values",
    (path) => craft(path, headOf(LIST, 1_000_000), 1_000_000),
    /the snapshot is damaged: section state\/cpu can't be read; take the snapshot again/,
  ],
];
/** Bytes that the daemon may hold of the host's memory beyond what it had, whatever it is given to read. */
const GROWTH = 256e6;
async function resident(): Promise<number> {
  const status = await readFile(`/proc/${daemon.pid}/status`, "utf8");
  return 1024 * Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)![1]);
}

describe.each(["running", "paused"] as const)("a VM that is %s", (state) => {
  it("is as it was when a snapshot can't be restored, and is told why in one line", async () => {
    const before = await view();
    expect(before.state).toBe("running");
    if (state === "paused") await daemon.run("pause", "a");
    const held = await resident();
    for (const [name, make, message] of bad) {
      await rm(snapshotOf("a", name), { force: true });
      await make(snapshotOf("a", name));
      const { status, output, errors } = await daemon.run("restore", "a", name);
      expect([status, output], name).toEqual([1, ""]);
      expect(errors.startsWith(`hyperfile: VM a is as it was, and not restored from ${name}: `), errors).toBe(
        true,
      );
      expect(errors).toMatch(message);
      expect(errors.trim().split("\n"), name).toHaveLength(1);
      expect(await view(), name).toMatchObject({ state, startedAt: before.startedAt });
      if (state === "running") expect(await hasProcess(), name).toBe(true);
    }
    expect((await daemon.run("restore", "a", "none")).errors).toMatch(
      /VM a has no snapshot none; it has good, /,
    );
    if (state === "paused") await daemon.run("resume", "a");
    expect(await hasProcess()).toBe(true);
    const { output } = await daemon.run("events", "a");
    expect(output).not.toMatch(/vm\.(off|crashed|stopping) a/);
    expect((await resident()) - held).toBeLessThan(GROWTH);
  }, 300_000);
});

it("a VM goes back to a snapshot at once, running or paused, however often", async () => {
  expect(await hasProcess()).toBe(true);
  expect(await daemon.run("restore", "a", "good")).toEqual({ status: 0, output: "", errors: "" });
  expect(await hasProcess()).toBe(false);
  await daemon.run("exec", "a", "sleep", "9999", "&");
  await daemon.run("pause", "a");
  expect((await daemon.run("restore", "a", "good")).errors).toBe("");
  expect((await view()).state).toBe("running");
  expect(await hasProcess()).toBe(false);
  const { output } = await daemon.run("events", "a");
  expect(output.match(/ vm\.restored a from snapshot good$/gm)).toHaveLength(2);
  expect(output).not.toContain("vm.off");
  // One that is off is started; one that can't be stays off.
  await daemon.run("stop", "a", "--force");
  await writeFile(snapshotOf("a", "empty"), "");
  const refused = await daemon.run("restore", "a", "empty");
  expect([refused.status, refused.errors]).toEqual([
    1,
    expect.stringMatching(/^hyperfile: this is not a snapshot: [^\n]*\n$/),
  ]);
  expect((await view()).state).toBe("off");
  expect((await daemon.run("restore", "a", "good")).errors).toBe("");
  expect(await hasProcess()).toBe(false);
}, 300_000);

it("a VM that runs needs no room for a second one; one that is off is refused where there is none", async () => {
  await mkdir(join(folder, "state", "vms", "d", "snapshots"), { recursive: true });
  await copyFile(snapshotOf("b", "good"), snapshotOf("d", "good"));
  const refused = await daemon.run("restore", "d", "good");
  expect([refused.status, refused.errors]).toEqual([
    1,
    expect.stringMatching(/^hyperfile: VM d can't be admitted: [^\n]*\n$/),
  ]);
  expect((await daemon.run("restore", "a", "good")).errors).toBe("");
  expect((await daemon.run("ps")).output).toMatch(/^d .* off /m);
  expect((await view()).state).toBe("running");
});
