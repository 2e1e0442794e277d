/** Disks of VMs under a daemon: who has an image, when it is given back however the VM ends, and every mistake in one line. */
import { randomBytes } from "node:crypto";
import { link, mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { RAM_BASE } from "@hyperfile/devices";
import { ImageLock, openImage } from "@hyperfile/devices/node";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { blockGuest, recordFaults } from "../../../packages/machine/test/block-guest.js";
import { elfOf } from "./elf-file.js";
import { OwnDaemon } from "./own-daemon.js";

const guest = { records: 1_000_000, places: 50, stride: 129 };

let folder: string;
let daemon: OwnDaemon;
const at = (name: string): string => join(folder, name);
/** The images that somebody has. */
const locks = async (): Promise<string[]> => {
  const names = (await readdir(folder)).flatMap((name) => /^\.(.+)\.lock-/.exec(name)?.[1] ?? []);
  return [...new Set(names)].sort();
};

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "hf-disks-"));
  const code = blockGuest(guest);
  const whole = new Uint8Array(Math.ceil(code.length / 4) * 4);
  whole.set(code);
  await writeFile(at("guest.elf"), elfOf({ gpa: RAM_BASE, words: [...new Int32Array(whole.buffer)] }));
  await mkdir(at("state"));
  daemon = await OwnDaemon.start(folder, at("state"));
});
afterAll(async () => {
  await daemon.end();
  await rm(folder, { recursive: true, force: true, maxRetries: 5 });
});

const hyperfile = (vms: string): Promise<void> => writeFile(at("Hyperfile"), `name: disks\nvms:\n${vms}`);
const vm = (name: string, disks: string, more = ""): string =>
  `  ${name}: { program: ./guest.elf, memory: 4M, disks: [${disks}]${more} }\n`;

const nextLook = () => new Promise((resolve) => setTimeout(resolve, 20));

/** What each start or reset of a VM has printed, the last one at the end: its log goes on over all of them. */
async function runs(name: string): Promise<number[][]> {
  const output = await daemon.log(name);
  const all: number[][] = [];
  for (const line of output.slice(0, output.lastIndexOf("\n") + 1).match(/^\d+$/gm) ?? []) {
    const record = Number(line);
    // The first line of a run may have been added to half a line of the one before.
    if (record > (all.at(-1)?.at(-1) ?? Infinity)) all.at(-1)!.push(record);
    else all.push([record]);
  }
  return all;
}
/** The number of the record that a VM printed last. */
const printed = async (name: string): Promise<number> => (await runs(name)).at(-1)?.at(-1) ?? 0;
async function untilPrinted(name: string, least: number): Promise<number> {
  for (;;) {
    const last = await printed(name);
    if (last >= least) return last;
    await nextLook();
  }
}
/** Has a VM begin again by a command, and waits until it has printed so much since. */
async function again(name: string, least: number, ...command: string[]): Promise<void> {
  const { length } = await runs(name);
  expect((await daemon.run(...command)).errors).toBe("");
  while ((await runs(name)).length === length) await nextLook();
  await untilPrinted(name, least);
}
async function faults(file: string, flushed: number): Promise<string[]> {
  // Also of a VM that has the image, and is paused.
  const image = await openImage(at(file), { format: file.endsWith("raw") ? "raw" : "qcow2", isLocked: true });
  try {
    return await recordFaults(image.disk, flushed, guest);
  } finally {
    await image.close();
  }
}

it("an image is made on its first use, kept whole by stop, and given back by all that ends a VM", async () => {
  await hyperfile(
    vm(
      "a",
      "{ file: a.qcow2, format: qcow2, size: 64M, serial: one }, { file: b.raw, format: raw, size: 1M }",
    ),
  );
  expect(await daemon.run("up")).toMatchObject({ status: 0, errors: "" });
  await untilPrinted("a", 20);
  expect(await locks()).toEqual(["a.qcow2", "b.raw"]);
  await expect(ImageLock.take(at("a.qcow2"))).rejects.toThrow(/writes the image/);
  expect((await daemon.run("image", "check", "a.qcow2")).status).toBeLessThan(2);
  // The guest's reset leaves the disk as it is.
  await again("a", 20, "reset", "a");
  expect((await daemon.run("pause", "a")).errors).toBe("");
  const still = await printed("a");
  expect(await faults("a.qcow2", still)).toEqual([]);
  expect((await daemon.run("resume", "a")).errors).toBe("");
  expect((await daemon.run("stop", "a", "--force")).errors).toBe("");
  expect(await locks()).toEqual([]);
  const last = await printed("a");
  expect(last).toBeGreaterThanOrEqual(still);
  expect(await faults("a.qcow2", last)).toEqual([]);
  expect((await daemon.run("image", "check", "a.qcow2")).status).toBe(0);

  expect((await daemon.run("start", "a")).errors).toBe("");
  expect(await locks()).toHaveLength(2);
  expect((await daemon.run("rm", "a", "--force")).errors).toBe("");
  expect(await locks()).toEqual([]);
  // What it has written is its user's, not the VM's.
  expect(await readdir(folder)).toEqual(expect.arrayContaining(["a.qcow2", "b.raw"]));
});

describe("mistakes", () => {
  it("of the file as a whole are told before anything starts", async () => {
    await hyperfile(vm("a", "./absent.img") + vm("b", "{ file: b.raw, format: raw, sise: 1G }"));
    expect((await daemon.run("up")).errors).toMatch(
      /^hyperfile: Hyperfile:4:\d+: vms.b.disks\[0\].sise: unknown field; did you mean size\?\n$/,
    );
    await hyperfile(vm("a", "./absent.img"));
    const { status, errors } = await daemon.run("up", "--check");
    expect([status, errors]).toEqual([
      1,
      expect.stringMatching(/disks\[0\]\.file: there is no file \.\/absent\.img: [^\n]*\n$/),
    ]);
  });

  it("of one VM's images are told for that one, and leave nothing taken", async () => {
    await writeFile(at("junk.qcow2"), Uint8Array.of(0x51, 0x46, 0x49, 0xfb, 0, 0, 0, 9));
    await writeFile(at("plain.raw"), new Uint8Array(1 << 20));
    const lock = await ImageLock.take(at("plain.raw"));
    const cases: readonly (readonly [disks: string, message: RegExp])[] = [
      ["./junk.qcow2", /junk\.qcow2: /],
      ["./b.raw", /b\.raw: say format: raw to have a raw image written to/],
      ["{ file: b.raw, format: qcow2 }", /b\.raw: /],
      ["{ file: plain.raw, format: raw }", /plain\.raw: process \d+ writes the image/],
      ["{ file: plain.raw, ephemeral: true }", /plain\.raw: process \d+ writes the image/],
      ["{ file: none/new.raw, format: raw, size: 1M }", /new\.raw/],
    ];
    for (const [disks, message] of cases) {
      await hyperfile(vm("a", `{ file: a.qcow2 }, ${disks}`));
      const { status, errors } = await daemon.run("up", "--restart");
      expect([status, errors], disks).toEqual([1, expect.stringMatching(message)]);
      expect(errors.trim().split("\n"), disks).toHaveLength(1);
      expect(await locks()).toEqual(["plain.raw"]);
    }
    lock.release();
    await daemon.run("down", "disks");
  });

  it("two VMs of one image: the second one is told who has it, whatever name it uses", async () => {
    await mkdir(at("other"));
    await hyperfile(vm("a", "./a.qcow2"));
    expect((await daemon.run("up")).errors).toBe("");
    for (const how of ["", ", readonly: true", ", ephemeral: true"]) {
      await writeFile(
        at("other/Hyperfile"),
        `name: other\nvms:\n  c: { program: ../guest.elf, memory: 4M, disks: [{ file: ../a.qcow2${how} }] }\n`,
      );
      const { status, errors } = await daemon.run("up", "other/Hyperfile");
      expect([status, errors]).toEqual([
        1,
        expect.stringMatching(
          /^hyperfile: VM c: [^\n]*a\.qcow2: VM a has the image, to write it: stop it first[^\n]*\n$/,
        ),
      ]);
    }
    expect((await daemon.run("down", "disks", "--force")).errors).toBe("");
    expect((await daemon.run("start", "c")).errors).toBe("");
    expect((await daemon.run("start", "c")).errors).toMatch(/can't start VM c: it is running/);
    expect((await daemon.run("down", "other/Hyperfile", "--force")).errors).toBe("");
    expect(await locks()).toEqual([]);
  });

  it("images below others: several VMs read one, and nobody writes it, whatever its name", async () => {
    const image = (...args: string[]) => daemon.run("image", ...args);
    await mkdir(at("other"), { recursive: true });
    expect((await image("create", "base.qcow2", "64M")).errors).toBe("");
    for (const top of ["one.qcow2", "two.qcow2"])
      expect((await image("create", top, "--backing", "base.qcow2")).errors).toBe("");
    await link(at("base.qcow2"), at("other/linked.qcow2"));
    const over = (name: string, file: string) => vm(name, `{ file: ${file}, format: qcow2 }`);
    await hyperfile(over("a", "one.qcow2") + over("b", "two.qcow2"));
    expect((await daemon.run("up")).errors).toBe("");
    expect(await locks()).toEqual(["base.qcow2", "one.qcow2", "two.qcow2"]);
    for (const file of ["../base.qcow2", "linked.qcow2"]) {
      await writeFile(
        at("other/Hyperfile"),
        `name: other\nvms:\n  c: { program: ../guest.elf, memory: 4M, disks: [{ file: ${file}, format: qcow2 }] }\n`,
      );
      const { status, errors } = await daemon.run("up", "other/Hyperfile");
      expect([status, errors]).toEqual([
        1,
        expect.stringMatching(
          /^hyperfile: VM c: [^\n]*(base|linked)\.qcow2: VM [ab] reads the image, which would change: stop it first[^\n]*\n$/,
        ),
      ]);
    }
    expect((await daemon.run("down", "disks", "--force")).errors).toBe("");
    expect((await daemon.run("start", "c")).errors).toBe("");
    await hyperfile(over("a", "one.qcow2"));
    expect((await daemon.run("up")).errors).toMatch(
      /one\.qcow2, which lies on [^\n]*base\.qcow2: VM c has the image, to write it: stop it first/,
    );
    expect((await daemon.run("down", "other/Hyperfile", "--force")).errors).toBe("");
    await daemon.run("down", "disks", "--force");
    expect(await locks()).toEqual([]);
  });
});

it("a clone has the disk of the moment; its original's image is free when both are off", async () => {
  await hyperfile(vm("a", "./a.qcow2"));
  await again("a", 30, "up");
  expect((await daemon.run("clone", "a", "twin")).output).toMatch(/^twin is a copy of a, made in/);
  const atClone = await printed("a");
  expect((await daemon.run("snapshot", "twin", "s")).errors).toMatch(
    /^hyperfile: \.\/a\.qcow2: the disk of a clone is kept by its original, [^\n]*\n$/,
  );
  await untilPrinted("twin", 200);
  expect((await daemon.run("stop", "a", "--force")).errors).toBe("");
  const last = await printed("a");
  expect(last).toBeGreaterThanOrEqual(atClone);
  expect(await faults("a.qcow2", last)).toEqual([]);
  // The clone reads what is below: nobody may write it meanwhile.
  expect((await daemon.run("start", "a")).errors).toMatch(/a\.qcow2: VM twin has the image, to write it/);
  const before = await printed("twin");
  await untilPrinted("twin", before + 50);
  expect((await daemon.run("rm", "twin", "--force")).errors).toBe("");
  expect(await locks()).toEqual([]);
  expect((await daemon.run("start", "a")).errors).toBe("");
  await daemon.run("down", "disks", "--force");
});

it("a running VM is backed up to a store, and the backup is a disk like any other", async () => {
  await hyperfile(vm("a", "./a.qcow2"));
  await again("a", 30, "up");
  const before = await printed("a");
  const whole = await daemon.run("backup", "a", "backups", "one");
  expect(whole).toMatchObject({
    errors: "",
    output: expect.stringMatching(/^a: disk 0 backed up as one, all of it: \d+ bytes\n$/),
  });
  expect((await daemon.run("backup", "a", "0", "backups", "two")).output).toMatch(
    /^a: disk 0 backed up as two, what has changed: \d+ bytes\n$/,
  );
  expect(
    (await daemon.run("image", "convert", "--format", "qcow2", "backups/images/one", "backed-up.qcow2"))
      .errors,
  ).toBe("");
  expect(await faults("backed-up.qcow2", before)).toEqual([]);
  for (const [words, message] of [
    [["backups", "one"], /backups\/images\/one: there is such an image already; use another name/],
    [["1", "backups", "three"], /VM a has no disk 1: it has disk 0/],
    [["x", "backups", "three"], /"x" is no number of a disk/],
    [["backups"], /back up where\? Write hyperfile backup a \[DISK\] STORE NAME/],
    [["backups", "../out"], /\.\.\/out/],
  ] as const) {
    const { status, errors } = await daemon.run("backup", "a", ...words);
    expect([status === 0, errors]).toEqual([false, expect.stringMatching(message)]);
    expect(errors.trim().split("\n")).toHaveLength(1);
  }
  await daemon.run("stop", "a", "--force");
  expect((await daemon.run("backup", "a", "backups", "four")).errors).toMatch(
    /can't back up VM a: it is off/,
  );
  await hyperfile(vm("r", "{ file: backups/images/two, ephemeral: true }"));
  expect((await daemon.run("up")).errors).toBe("");
  await untilPrinted("r", 20);
  await daemon.run("down", "disks", "--force");
});

it("a backup that meets the end of its VM is whole or not there, and says which", async () => {
  // Bytes that no compressor makes less of take their time.
  const bytes = randomBytes(32 << 20);
  await writeFile(at("large.raw"), bytes);
  await hyperfile(vm("a", "{ file: ./large.raw, ephemeral: true }"));
  await again("a", guest.places, "up");
  let isAnswered = false;
  const backup = daemon.run("backup", "a", "backups", "cut").finally(() => {
    isAnswered = true;
  });
  const images = () => readdir(at("backups/images"));
  while (!isAnswered && !(await images()).includes("cut.unfinished")) await nextLook();
  expect((await daemon.run("stop", "a", "--force")).errors).toBe("");
  const { status, errors } = await backup;
  expect((await images()).includes("cut")).toBe(status === 0);
  if (status !== 0) {
    expect(errors).toMatch(/^hyperfile: [^\n]+\n$/);
    // What it has left is in nobody's way.
    await again("a", guest.places, "up");
    expect((await daemon.run("backup", "a", "backups", "cut")).errors).toBe("");
  }
  const image = await openImage(at("backups/images/cut"));
  const end = new Uint8Array(1 << 20);
  await image.disk.read(bytes.length - end.length, [end]);
  expect(Buffer.compare(end, bytes.subarray(-end.length))).toBe(0);
  expect(await recordFaults(image.disk, guest.places, guest)).toEqual([]);
  await image.close();
  await daemon.run("down", "disks", "--force");
}, 600_000);

it("a snapshot is restored with an ephemeral disk, and refused with an image that has been written since", async () => {
  await hyperfile(
    vm("e", "{ file: a.qcow2, ephemeral: true }") + vm("w", "{ file: w.qcow2, format: qcow2, size: 64M }"),
  );
  expect((await daemon.run("up")).errors).toBe("");
  await untilPrinted("e", 50);
  expect((await daemon.run("snapshot", "e", "s")).errors).toBe("");
  const saved = await printed("e");
  expect((await daemon.run("restore", "e", "s")).errors).toBe("");
  // It goes on where it was: records that it has written are there, or its driver would say E.
  await untilPrinted("e", saved + 50);
  expect((await daemon.run("logs", "e")).output).not.toContain("E");
  // An image that is written goes on after its snapshot: that is refused then.
  expect((await daemon.run("snapshot", "w", "s")).errors).toBe("");
  await untilPrinted("w", (await printed("w")) + 50);
  const { status, errors } = await daemon.run("restore", "w", "s");
  expect([status, errors]).toEqual([
    1,
    expect.stringMatching(
      /^hyperfile: VM w is as it was, and not restored from s: disk 0 is not what it was when the snapshot was taken: [^\n]*w\.qcow2 has been written or replaced since[^\n]*\n$/,
    ),
  ]);
  // It goes on writing, and has its image still.
  await untilPrinted("w", (await printed("w")) + 50);
  expect(await locks()).toContain("w.qcow2");
  // While it stands still since its snapshot, the image is what it was: the disk of both machines is one.
  await daemon.run("pause", "w");
  expect((await daemon.run("snapshot", "w", "still")).errors).toBe("");
  const before = await printed("w");
  expect((await daemon.run("restore", "w", "still")).errors).toBe("");
  const last = await untilPrinted("w", before + 50);
  expect((await daemon.run("logs", "w")).output).not.toContain("E");
  expect((await daemon.run("stop", "w", "--force")).errors).toBe("");
  expect(await faults("w.qcow2", last)).toEqual([]);
  expect((await daemon.run("image", "check", "w.qcow2")).status).toBe(0);
  await daemon.run("down", "disks", "--force");
  expect(await locks()).toEqual([]);
});

it("a daemon that is killed leaves no lock that holds", async () => {
  await hyperfile(vm("a", "./a.qcow2"));
  await again("a", 20, "up");
  daemon.signal("SIGKILL");
  expect(await daemon.ended, daemon.told).toBe("SIGKILL");
  daemon = await OwnDaemon.start(folder, at("state"));
  const last = await printed("a");
  expect(await faults("a.qcow2", last)).toEqual([]);
  await again("a", 20, "start", "a");
  await daemon.end();
  expect(await locks()).toEqual([]);
  daemon = await OwnDaemon.start(folder, at("state"));
});
