/** Disks of a VM in its thread, under a real guest: saved and restored in every tier, cloned, refused where bytes would mix. */
import { createHash } from "node:crypto";
import { mkdtemp, rm, stat, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { VmSpec } from "@hyperfile/broker";
import type { DiskGate } from "@hyperfile/broker/guest";
import type { BlockBackend } from "@hyperfile/devices/disk";
import { openImage, openStore } from "@hyperfile/devices/node";
import type { Tier } from "@hyperfile/jit";
import { type RiscvVirt, riscvVirt } from "@hyperfile/machine";
import { restoreSnapshotFile, saveSnapshotFile } from "@hyperfile/machine/node";
import { whileDrained } from "@hyperfile/machine/snapshot";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { blockGuest, recordFaults } from "../../../packages/machine/test/block-guest.js";
import { GuestDisks } from "../src/fleet/guest-disks.js";

type DiskSpec = VmSpec["disks"][number];

const guest = { records: 60, places: 16, stride: 129 };
const DISK_BYTES = 2 ** 21;
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

let folder: string;
const at = (name: string): string => join(folder, name);
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "hyperfile-disks-"));
});
afterAll(() => rm(folder, { recursive: true }));

const usual = {
  format: undefined,
  readonly: false,
  ephemeral: false,
  cache: "writeback",
  serial: undefined,
  sizeBytes: undefined,
} as const;
/** A budget without bounds. */
const free: DiskGate = {
  line: () => ({ run: (_, job) => job(), hasten: () => () => {}, cancel: () => {} }),
  waits: { operations: 0, milliseconds: 0 },
};
const open = (...disks: (Partial<DiskSpec> & { file: string })[]): Promise<GuestDisks> =>
  GuestDisks.open({ disks: disks.map((disk) => ({ ...usual, ...disk })) } as unknown as VmSpec, folder, free);

/** An image of numbered bytes. */
async function image(name: string): Promise<string> {
  const bytes = Uint8Array.from({ length: DISK_BYTES }, (_, index) => (index >>> 9) & 0xff);
  // Places of records are empty.
  for (let place = 0; place < guest.places; place++) {
    const start = place * guest.stride * 512;
    bytes.fill(0, start, start + 512);
  }
  await writeFile(at(name), bytes);
  return name;
}

async function digest(disk: BlockBackend): Promise<string> {
  const bytes = new Uint8Array(disk.size);
  await disk.read(0, [bytes]);
  return createHash("sha256").update(bytes).digest("hex");
}

interface Run {
  readonly machine: RiscvVirt;
  readonly disks: GuestDisks;
  printed(): number;
}

function machineOn(disks: GuestDisks, tier: Tier = "auto", clock: "host" | "virtual" = "virtual"): Run {
  let text = "";
  const machine = riscvVirt({
    ramBytes: 1 << 20,
    boot: { code: blockGuest(guest) },
    console: { write: (bytes) => void (text += Buffer.from(bytes)) },
    drives: disks.drives,
    tier,
    clock,
    slice: 2000,
  });
  return { machine, disks, printed: () => Number(text.trim().split("\n").at(-1)) };
}

/** Runs until some records are printed, and lets the machine stand still. */
async function halfway({ machine, printed }: Run, records: number): Promise<{ end(): Promise<void> }> {
  machine.observe(() => {
    if (printed() >= records) machine.pause();
  });
  const run = machine.run();
  while (!(printed() >= records)) await turn();
  machine.observe(() => {});
  return {
    end: async () => {
      machine.stop("user");
      await run;
    },
  };
}

const first = ({ disks }: Run): BlockBackend => disks.drives[0]!.disk;

async function over(...runs: Run[]): Promise<void> {
  for (const { machine, disks } of runs) {
    machine.free();
    await disks.close();
  }
}

const tiers: readonly Tier[] = ["auto", "interpreter", "js", "wasm-interpreter", "wasm"];

describe.each(["raw", "qcow2", "store"] as const)("an ephemeral disk over a %s image", (format) => {
  let file: string;
  beforeAll(async () => {
    const raw = await image("below.raw");
    file = format === "raw" ? raw : format === "qcow2" ? "below.qcow2" : "store/images/below";
    if (format === "raw") return;
    const { runProgram } = await import("../src/program.js");
    const args = ["image", "convert", "--format", format, at(raw), at(file)];
    const nothing = () => {};
    const surroundings = { version: "0", write: nothing, streams: { error: nothing, output: {} } };
    expect(await runProgram(args, surroundings as unknown as Parameters<typeof runProgram>[1])).toBe(0);
  });

  it.each(tiers)("goes on from a snapshot as if undisturbed, in tier %s", async (tier) => {
    const whole = machineOn(await open({ file, ephemeral: true }), tier);
    expect(await whole.machine.run()).toMatchObject({ kind: "off", status: 0 });
    const expected = await digest(first(whole));
    const retired = whole.machine.retired();

    const half = machineOn(await open({ file, ephemeral: true }), tier);
    const paused = await halfway(half, 20);
    const saved = await whileDrained(half.machine.state, () => digest(first(half)));
    await saveSnapshotFile(at("half.snapshot"), half.machine.state);
    await paused.end();
    expect(saved).not.toBe(expected);

    const again = machineOn(await open({ file, ephemeral: true }), tier);
    await restoreSnapshotFile(at("half.snapshot"), again.machine.state);
    expect(await digest(first(again))).toBe(saved);
    expect(await again.machine.run()).toMatchObject({ kind: "off", status: 0 });
    expect(again.printed()).toBe(guest.records);
    expect([await digest(first(again)), again.machine.retired()]).toEqual([expected, retired]);
    await over(whole, half, again);
  });
});

describe("a snapshot of a disk that is written in place", () => {
  it.each(["raw", "qcow2", "store"] as const)(
    "is restored while the %s image is what it was, and refused when it is not",
    async (format) => {
      const file = format === "store" ? "store/images/own" : `own.${format}`;
      const { makeEmptyImage } = await import("../src/new-image.js");
      await makeEmptyImage(at(file), { format, size: DISK_BYTES });
      const half = machineOn(await open({ file, format }));
      const paused = await halfway(half, 20);
      const saved = await digest(first(half));
      await saveSnapshotFile(at("own.snapshot"), half.machine.state);
      await paused.end();
      await over(half);

      // Twice: taking up a snapshot does not change the image.
      for (let time = 0; time < 2; time++) {
        const look = machineOn(await open({ file, format }));
        await restoreSnapshotFile(at("own.snapshot"), look.machine.state);
        expect(await digest(first(look))).toBe(saved);
        await over(look);
      }
      const again = machineOn(await open({ file, format }));
      await restoreSnapshotFile(at("own.snapshot"), again.machine.state);
      expect(await again.machine.run()).toMatchObject({ kind: "off", status: 0 });
      expect(await recordFaults(first(again), guest.records, guest)).toEqual([]);
      const after = await digest(first(again));
      await over(again);

      const late = machineOn(await open({ file, format }));
      await expect(restoreSnapshotFile(at("own.snapshot"), late.machine.state)).rejects.toMatchObject({
        code: "E_SNAPSHOT_DISK",
        message: expect.stringMatching(
          /^disk 0 is not what it was when the snapshot was taken: .*own[^ ]* has been written or replaced since; start the VM without the snapshot[^\n]*$/,
        ),
      });
      // What it refused it has not touched.
      expect(await digest(first(late))).toBe(after);
      await over(late);
    },
  );

  it("is refused after one byte was written at once, with the old time put back", async () => {
    const file = await image("sly.raw");
    const half = machineOn(await open({ file, format: "raw" }));
    const paused = await halfway(half, 5);
    await saveSnapshotFile(at("sly.snapshot"), half.machine.state);
    await paused.end();
    await over(half);
    const { atime, mtime } = await stat(at(file));
    const { disk, close } = await openImage(at(file), { format: "raw", isWritable: true });
    await disk.write(DISK_BYTES - 1, [Uint8Array.of(0xee)]);
    await close();
    await utimes(at(file), atime, mtime);
    const late = machineOn(await open({ file, format: "raw" }));
    await expect(restoreSnapshotFile(at("sly.snapshot"), late.machine.state)).rejects.toMatchObject({
      code: "E_SNAPSHOT_DISK",
    });
    await over(late);
  });

  it("is refused when an image below has changed, or another disk is there", async () => {
    const raw = await image("base.raw");
    const half = machineOn(await open({ file: raw, ephemeral: true }));
    const paused = await halfway(half, 5);
    await saveSnapshotFile(at("base.snapshot"), half.machine.state);
    await paused.end();
    const tells = async (disks: GuestDisks, message: RegExp) => {
      const late = machineOn(disks);
      await expect(restoreSnapshotFile(at("base.snapshot"), late.machine.state)).rejects.toThrow(message);
      await over(late);
    };
    await tells(await open({ file: raw, format: "raw" }), /^the snapshot is damaged|^disk|ephemeral/);
    await writeFile(at("small.raw"), new Uint8Array(512));
    await tells(
      await open({ file: "small.raw", ephemeral: true }),
      /has 2097152 bytes of it, and it has 512$/,
    );
    await image("base.raw");
    await tells(await open({ file: raw, ephemeral: true }), /base\.raw has been written or replaced since/);
    await over(half);
  });
});

describe("a clone", () => {
  it.each([
    ["ephemeral", { ephemeral: true }],
    ["written in place", { format: "raw" as const }],
  ])("of a VM whose disk is %s goes its own way from the moment, and shares the image", async (_, how) => {
    const file = await image("shared.raw");
    const original = machineOn(await open({ file, ...how }), "auto", "host");
    const paused = await halfway(original, 20);
    const moment = await whileDrained(original.machine.state, () => digest(first(original)));
    const twins = await whileDrained(original.machine.state, async () =>
      Array.from({ length: 3 }, (): Run => {
        const disks = original.disks.fork(free);
        let text = "";
        const machine = original.machine.clone({
          drives: disks.drives,
          console: { write: (bytes) => void (text += Buffer.from(bytes)) },
        });
        return { machine, disks, printed: () => Number(text.trim().split("\n").at(-1)) };
      }),
    );
    const [one, two, three] = twins as [Run, Run, Run];
    expect(await one.machine.run()).toMatchObject({ kind: "off", status: 0 });
    expect([one.printed(), await recordFaults(first(one), guest.records, guest)]).toEqual([
      guest.records,
      [],
    ]);
    expect(await digest(first(original))).toBe(moment);
    // The original goes on: the clones that have not run have the disk as it was.
    original.machine.resume();
    while (!(original.printed() >= guest.records)) await turn();
    expect(await digest(first(two))).toBe(moment);
    await paused.end();
    await over(original);
    expect(await digest(first(two))).toBe(moment);
    expect(await two.machine.run()).toMatchObject({ kind: "off", status: 0 });
    expect(await recordFaults(first(two), guest.records, guest)).toEqual([]);
    expect(await digest(first(three))).toBe(moment);
    if ("format" in how)
      await expect(saveSnapshotFile(at("clone.snapshot"), three.machine.state)).rejects.toThrow(
        /^shared\.raw: the disk of a clone is kept by its original, [^\n]*use ephemeral disks$/,
      );
    await over(...twins);
    await expect(first(three).read(0, [new Uint8Array(1)])).rejects.toMatchObject({ code: "E_DISK_CLOSED" });
  });
});

it("what is counted of a disk is what its guest did", async () => {
  const file = await image("counted.raw");
  const run = machineOn(await open({ file, format: "raw", cache: "writeback" }, { file, readonly: true }));
  await run.machine.run();
  const counters = run.disks.counters();
  expect(counters).toMatchObject({
    "disk0.write.operations": guest.records,
    "disk0.write.bytes": guest.records * 512,
    "disk0.flush.operations": guest.records,
    "disk1.write.operations": 0,
  });
  const classes = Object.entries(counters).filter(([name]) => name.startsWith("disk0.write.within."));
  expect(classes).toHaveLength(17);
  expect(classes.reduce((sum, [, count]) => sum + count, 0)).toBe(guest.records);
  await over(run);
});

it("images that can't be had leave nothing open", async () => {
  const file = await image("good.raw");
  const good = { file, format: "raw" as const };
  await expect(open(good, { file: "absent.raw", format: "raw" })).rejects.toThrow(/absent\.raw/);
  await expect(open(good, { file })).rejects.toThrow(
    /^good\.raw: say format: raw to have a raw image written/,
  );
  await expect(open(good, { file, format: "qcow2", ephemeral: true })).rejects.toThrow(/good\.raw/);
  await expect(openStore(at("store")).manifest("absent")).rejects.toThrow(/there is no such image/);
});

describe("a backup", () => {
  const restored = async (name: string): Promise<string> => {
    const { disk, close } = await openImage(join(at("backups"), "images", name));
    try {
      return await digest(disk);
    } finally {
      await close();
    }
  };
  const names = async (): Promise<string[]> => {
    const all: string[] = [];
    for await (const name of openStore(at("backups")).names()) all.push(name);
    return all.sort();
  };

  it.each([
    ["written in place", { format: "raw" as const }, "place"],
    ["ephemeral", { ephemeral: true }, "short"],
  ])("of a disk that is %s is the disk as it was, and then only what has changed", async (_, how, tag) => {
    const file = await image(`${tag}.raw`);
    const run = machineOn(await open({ file, ...how }), "auto", "host");
    const paused = await halfway(run, 10);
    const one = await digest(first(run));
    const whole = await run.disks.backup(0, at("backups"), `${tag}-one`);
    expect(whole).toEqual({ isWhole: true, bytes: expect.any(Number) });
    expect(whole.bytes).toBeGreaterThan(DISK_BYTES / 2);
    run.machine.resume();
    while (!(run.printed() >= 12)) await turn();
    // While it runs: what it has flushed before is in it.
    const before = run.printed();
    const part = await run.disks.backup(0, at("backups"), `${tag}-two`);
    expect(part.isWhole).toBe(false);
    expect(part.bytes).toBeLessThan(whole.bytes);
    const { disk, close } = await openImage(join(at("backups"), "images", `${tag}-two`));
    expect(await recordFaults(disk, before, guest)).toEqual([]);
    await close();
    while (!(run.printed() >= guest.records)) await turn();
    await paused.end();
    const end = await digest(first(run));
    const last = await run.disks.backup(0, at("backups"), `${tag}-three`);
    expect(last.isWhole).toBe(false);
    expect(await restored(`${tag}-one`)).toBe(one);
    expect(await restored(`${tag}-three`)).toBe(end);
    expect(await run.disks.backup(0, at("backups"), `${tag}-four`)).toEqual({ isWhole: false, bytes: 0 });
    expect(await restored(`${tag}-four`)).toBe(end);
    await over(run);
  });

  it("that fails leaves no image and spoils none that follows", async () => {
    const file = await image("fail.raw");
    const disks = await open({ file, format: "raw" });
    const { disk } = disks.drives[0]!;
    const put = (value: number) => disk.write(value * 70_000, [Uint8Array.of(value)]);
    await disks.backup(0, at("backups"), "good");
    await put(1);
    await expect(disks.backup(0, at("backups"), "good")).rejects.toThrow(
      /backups\/images\/good: there is such an image already; use another name$/,
    );
    const store = openStore(at("backups"));
    // The name is taken while the copy is made: the copy is whole, and gets none.
    await put(2);
    const late = disks.backup(0, at("backups"), "raced");
    const taken = (async () => {
      for (;;) {
        if ((await names()).includes("raced.unfinished")) return store.create("raced", { size: 512 });
        await turn();
      }
    })();
    await expect(late).rejects.toThrow(/raced: there is such an image already/);
    await taken;
    const busy = disks.backup(0, at("backups"), "first");
    await expect(disks.backup(0, at("backups"), "second")).rejects.toMatchObject({ code: "E_DISK_BUSY" });
    await busy;
    expect(await restored("first")).toBe(await digest(disk));
    // One that is written by somebody else is no base any more.
    const other = await store.open("first", { isWritable: true });
    await other.write(0, [Uint8Array.of(0xaa)]);
    await other.close();
    await put(3);
    expect(await disks.backup(0, at("backups"), "third")).toMatchObject({ isWhole: true });
    expect(await restored("third")).toBe(await digest(disk));
    await disks.close();
    const again = await open({ file, format: "raw" });
    const cut = again.backup(0, at("backups"), "cut");
    const failed = expect(cut).rejects.toMatchObject({
      code: "E_DISK_CLOSED",
      message: "fail.raw: no backup cut was made: meanwhile the VM has ended, or gone back to a snapshot",
    });
    while (!(await names()).includes("cut.unfinished")) await turn();
    await again.close();
    await failed;
    const left = (await names()).filter((name) => name.startsWith("cut") || name.includes("unfinished"));
    expect(left).toEqual([]);
  });

  it("goes on beside what one whose thread was killed has left, for as long as that is held, and removes it then", async () => {
    const disks = await open({ file: await image("held.raw"), format: "raw" });
    const store = openStore(at("backups"));
    await store.create("held.unfinished", { size: 512 });
    const held = await store.open("held.unfinished", { isWritable: true });
    await disks.backup(0, at("backups"), "held");
    expect(await restored("held")).toBe(await digest(disks.drives[0]!.disk));
    expect((await names()).filter((name) => name.startsWith("held")).sort()).toEqual([
      "held",
      "held.unfinished",
    ]);
    await held.close();
    await store.remove("held");
    await disks.backup(0, at("backups"), "held");
    expect((await names()).filter((name) => name.startsWith("held"))).toEqual(["held"]);
    await disks.close();
  });

  it.each([
    ["written in place", { format: "raw" as const }, true],
    ["ephemeral", { ephemeral: true }, false],
  ])("of a disk that is %s meets a clone and a machine in its machine's place", async (_, how, isKept) => {
    const tag = isKept ? "kept" : "anew";
    const file = await image(`${tag}.raw`);
    const disks = await open({ file, ...how });
    const { disk } = disks.drives[0]!;
    await disk.write(0, [Uint8Array.of(0x77)]);
    const before = await digest(disk);
    const backedUp = disks.backup(0, at("backups"), tag).then(
      () => "done",
      ({ code }: { code: string }) => code,
    );
    while (!(await names()).includes(`${tag}.unfinished`)) await turn();
    const clone = disks.fork(free);
    await clone.drives[0]!.disk.write(0, [Uint8Array.of(0x88)]);
    // The machine that is there is given up when the other one is ready, as in a restore.
    const next = await disks.successors();
    await disks.close();
    await next.drives[0]!.disk.write(0, [Uint8Array.of(0x99)]);
    const answer = await backedUp;
    // One that was whole before its disk was closed is whole.
    if (isKept) expect(answer).toBe("done");
    else expect(answer).toBeOneOf(["done", "E_DISK_CLOSED"]);
    expect((await names()).filter((name) => name.startsWith(tag))).toEqual(answer === "done" ? [tag] : []);
    if (answer === "done") expect(await restored(tag)).toBe(before);
    await clone.close();
    await next.close();
  });
});
