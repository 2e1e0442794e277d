/**
 * `--drive`: every mistake in one line; and the built program killed under a guest that writes and flushes, which loses
 * nothing that the guest was told is on the disk. HYPERFILE_KILLS sets how often it is killed.
 */
import { spawn } from "node:child_process";
import { mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { RAM_BASE } from "@hyperfile/devices";
import { checkQcow2 } from "@hyperfile/devices/disk";
import { ImageLock, NodeFile, openImage } from "@hyperfile/devices/node";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { qemuCheck, qemuImg } from "../../../packages/devices/test/qemu-img.js";
import { blockGuest, recordFaults } from "../../../packages/machine/test/block-guest.js";
import { type ProgramSurroundings, runProgram } from "../src/program.js";
import { elfOf } from "./elf-file.js";

const program = fileURLToPath(new URL("../bin/hyperfile.mjs", import.meta.url));
const KILLS = Number(process.env.HYPERFILE_KILLS ?? 12);
/** Each record in a cluster of its own, all of them again and again. */
const guest = { records: 1_000_000, places: 500, stride: 129 };
const DISK_BYTES = 64 << 20;

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "hyperfile-drive-"));
  await writeFile(at("guest.elf"), elfOfCode(blockGuest(guest)));
  await writeFile(at("short.elf"), elfOfCode(blockGuest({ ...guest, records: 20 })));
  await writeFile(at("disk.raw"), new Uint8Array(1 << 20));
  expect(await hyperfile("image", "create", at("disk.qcow2"), "64M")).toMatchObject({ status: 0 });
});
afterAll(() => rm(folder, { recursive: true }));
const at = (name: string): string => join(folder, name);
const elfOfCode = (code: Uint8Array): Uint8Array => {
  const whole = new Uint8Array(Math.ceil(code.length / 4) * 4);
  whole.set(code);
  return elfOf({ gpa: RAM_BASE, words: [...new Int32Array(whole.buffer)] });
};

/** Runs the program in this process; gives what it printed. */
async function hyperfile(...args: string[]) {
  let [output, errors] = ["", ""];
  const write = (text: string | Uint8Array) => void (output += Buffer.from(text as Uint8Array));
  const nothing = () => {};
  const input = { on: nothing, off: nothing, resume: nothing, pause: nothing };
  const surroundings = {
    version: "0",
    write,
    machine: () => import("../src/machine.js"),
    streams: {
      input,
      output: { on: nothing, off: nothing, write },
      error: (text: string) => (errors += text),
    },
  } as unknown as ProgramSurroundings;
  const status = await runProgram(args, surroundings);
  return { status, output, errors };
}
const runWith = (...drives: string[]) =>
  hyperfile("run", "--no-tty", "--elf", at("short.elf"), ...drives.flatMap((drive) => ["--drive", drive]));
const lines = (output: string): number => Number(output.trim().split("\n").at(-1));
const locks = async (): Promise<string[]> => (await readdir(folder)).filter((name) => name.includes(".lock"));

describe("mistakes", () => {
  it.each([
    ["nothing", "", 'There is no ""; write file=FILE[,format=raw|qcow2|store]'],
    ["no file", "format=raw", "Name the image: file=FILE"],
    ["an empty name", "file=", "Name the image"],
    ["a name without its key", "disk.raw", 'There is no "disk.raw"; write file=FILE'],
    ["a key that there is not", "file=a,if=none", 'There is no "if"; write'],
    ["a key twice", "file=a,file=b", "Give file once."],
    ["a format that there is not", "file=a,format=vmdk", '"vmdk" is no format; there are raw, qcow2.'],
    ["neither on nor off", "file=a,readonly=yes", '"yes" is no readonly; there are on, off.'],
    [
      "a cache that there is not",
      "file=a,cache=none",
      '"none" is no cache; there are writeback, writethrough, unsafe.',
    ],
    ["a serial that is too long", `file=a,serial=${"x".repeat(21)}`, "A serial is 1 to 20 ASCII characters."],
    ["two that contradict", "file=a,readonly,snapshot", "readonly and snapshot don't go together."],
  ])("%s", async (_, drive, message) => {
    const { status, output, errors } = await runWith(drive);
    expect([status, output]).toEqual([2, ""]);
    expect(errors).toMatch(/^hyperfile: [^\n]*--drive[^\n]*\n$/);
    expect(errors).toContain(message.replace(/\.$/, ""));
  });

  it("more disks than there is room for", async () => {
    const { status, errors } = await runWith(...Array<string>(7).fill("file=a"));
    expect([status, errors]).toEqual([2, expect.stringMatching(/^hyperfile: [^\n]*takes 6 drives[^\n]*\n$/)]);
  });

  it("images that can't be used, each by its name; nothing stays locked", async () => {
    await mkdir(at("folder"));
    await writeFile(at("damaged.qcow2"), Uint8Array.of(0x51, 0x46, 0x49, 0xfb, 0, 0, 0, 9));
    const cases: readonly (readonly [string, RegExp, number])[] = [
      [`file=${at("absent")}`, /absent: can't open the file: there is no such file/, 1],
      [`file=${at("folder")}`, /folder: /, 1],
      [`file=${at("damaged.qcow2")}`, /damaged\.qcow2: /, 1],
      [`file=${at("disk.raw")},format=qcow2`, /disk\.raw: /, 1],
      [`file=${at("disk.raw")}`, /disk\.raw: say format=raw/, 2],
    ];
    for (const [drive, message, status] of cases) {
      const result = await runWith(`file=${at("disk.qcow2")}`, drive);
      expect(result, drive).toEqual({ status, output: "", errors: expect.stringMatching(message) });
      expect(result.errors.trim().split("\n")).toHaveLength(1);
    }
    expect(await locks()).toEqual([]);
  });

  it("an image that somebody writes", async () => {
    const lock = await ImageLock.take(at("disk.qcow2"));
    for (const how of ["", ",readonly", ",snapshot"]) {
      const { status, errors } = await runWith(`file=${at("disk.qcow2")}${how}`);
      expect([status, errors]).toEqual([
        1,
        expect.stringMatching(/disk\.qcow2: process \d+ writes the image/),
      ]);
    }
    lock.release();
    const twice = await runWith(`file=${at("disk.qcow2")}`, `file=${at("disk.qcow2")}`);
    expect([twice.status, twice.errors]).toEqual([1, expect.stringContaining("writes the image")]);
    expect(await locks()).toEqual([]);
  });

  it("an image that somebody reads, as itself or below another, and one below that somebody writes", async () => {
    for (const name of ["top.qcow2", "other.qcow2"])
      expect((await hyperfile("image", "create", at(name), "--backing", "disk.qcow2")).errors).toBe("");
    const [top, other] = [`file=${at("top.qcow2")},format=qcow2`, `file=${at("other.qcow2")},format=qcow2`];
    const refused = [
      1,
      expect.stringMatching(/disk\.qcow2: process \d+ reads the image, which must not change/),
    ];
    for (const use of ["read", "write"] as const) {
      const lock = await ImageLock.take(at("disk.qcow2"), use);
      const alone = await runWith(`file=${at("disk.qcow2")}`);
      if (use === "read") expect([alone.status, alone.errors]).toEqual(refused);
      const over = await runWith(top);
      if (use === "write")
        expect([over.status, over.errors]).toEqual([
          1,
          expect.stringMatching(/disk\.qcow2: process \d+ writes the image; wait/),
        ]);
      else expect(over.status).toBe(0);
      lock.release();
    }
    const { status, errors } = await runWith(top, `file=${at("disk.qcow2")}`);
    expect([status, errors]).toEqual(refused);
    // What lies below two disks is read by both.
    expect((await runWith(top, other)).status).toBe(0);
    expect(await locks()).toEqual([]);
  });
});

describe("a guest", () => {
  const written = async (name: string): Promise<boolean> => {
    const image = await openImage(at(name));
    const faults = await recordFaults(image.disk, 20, guest);
    await image.close();
    return faults.length === 0;
  };
  const fresh = async (name: string): Promise<string> => {
    await rm(at(name), { force: true });
    expect((await hyperfile("image", "create", at(name), "64M")).status).toBe(0);
    return `file=${at(name)}`;
  };

  it.each(["writeback", "writethrough", "unsafe"])(
    "writes with cache=%s, and the lock is given up",
    async (cache) => {
      const drive = await fresh("cache.qcow2");
      const { status, output, errors } = await runWith(`${drive},cache=${cache}`);
      expect([status, lines(output), errors]).toEqual([0, 20, ""]);
      expect(await written("cache.qcow2")).toBe(true);
      expect(await locks()).toEqual([]);
    },
  );

  it("writes to a snapshot, and nothing of it stays", async () => {
    const drive = await fresh("base.qcow2");
    expect((await runWith(`${drive},snapshot=on`)).output).toMatch(/\n20\n$/);
    expect(await written("base.qcow2")).toBe(false);
    expect((await runWith(`${drive},readonly=on`)).output).toBe("E");
    expect(await written("base.qcow2")).toBe(false);
  });

  it("a name with commas in it", async () => {
    await writeFile(at("a,b,c.raw"), new Uint8Array(DISK_BYTES));
    expect((await runWith(`file=${at("a,,b,,c.raw")},format=raw`)).output).toMatch(/\n20\n$/);
  });
});

/** Starts the built program on an image, and ends it by a signal when the guest has printed a number. */
async function killed(drive: string, atLeast: number, signal: NodeJS.Signals) {
  const args = ["run", "--no-tty", "--elf", at("guest.elf"), "--drive", drive];
  const child = spawn(process.execPath, [program, ...args], { stdio: ["ignore", "pipe", "pipe"] });
  let [output, errors] = ["", ""];
  child.stderr.on("data", (part) => (errors += part));
  const guard = setTimeout(() => child.kill("SIGKILL"), 120_000);
  let isAsked = false;
  child.stdout.on("data", (part) => {
    output += part;
    if (isAsked || output.split("\n").length <= atLeast) return;
    isAsked = true;
    setTimeout(() => child.kill(signal), Math.random() * 8);
  });
  const ended = await new Promise((resolve) => child.on("close", (_, by) => resolve(by)));
  clearTimeout(guard);
  // A line that was cut off is not one.
  const printed = lines(output.slice(0, output.lastIndexOf("\n") + 1));
  return { ended, printed, errors };
}

describe("killed under a guest that writes", () => {
  it("by a signal that can be caught: the image is closed and given back", async () => {
    await hyperfile("image", "create", at("signal.qcow2"), "64M");
    for (const signal of ["SIGINT", "SIGTERM"] as const) {
      const { ended, printed, errors } = await killed(`file=${at("signal.qcow2")}`, 5, signal);
      expect([ended, errors]).toEqual([signal, ""]);
      expect(await locks()).toEqual([]);
      const image = await openImage(at("signal.qcow2"), { isWritable: true });
      expect(await recordFaults(image.disk, printed, guest)).toEqual([]);
      await image.close();
    }
  });

  it.each(["raw", "qcow2", "overlay"])(
    "%s: no flushed record is lost, and the image is clean",
    async (kind) => {
      const name = `killed.${kind}`;
      let drive = `file=${at(name)},format=raw`;
      if (kind === "raw") await writeFile(at(name), new Uint8Array(DISK_BYTES));
      else {
        const below = kind === "overlay" ? ["--backing", "below.raw", "--backing-format", "raw"] : ["64M"];
        if (kind === "overlay") await writeFile(at("below.raw"), new Uint8Array(DISK_BYTES));
        expect((await hyperfile("image", "create", at(name), ...below)).errors).toBe("");
        drive = `file=${at(name)},format=qcow2`;
      }
      const format = kind === "raw" ? "raw" : "qcow2";
      let most = 0;
      for (let kill = 0; kill < Math.ceil(KILLS / 3); kill++) {
        // A device that writes through has no FLUSH: each write is durable by itself.
        const cache = kill % 4 === 3 ? ",cache=writethrough" : "";
        const { ended, printed, errors } = await killed(
          drive + cache,
          1 + Math.floor(Math.random() * 400),
          "SIGKILL",
        );
        expect([ended, errors, printed > 0]).toEqual(["SIGKILL", "", true]);
        const image = await openImage(at(name), { format });
        expect(await recordFaults(image.disk, printed, guest), `kill ${kill}`).toEqual([]);
        await image.close();
        most = Math.max(most, printed);
        if (kind === "raw") continue;
        const file = await NodeFile.open(at(name), { isReadOnly: true });
        const { corruptions } = await checkQcow2(file);
        await file.close();
        expect(corruptions.count).toBe(0);
        // Its own faults are leaks at most: clusters that nothing names yet.
        if (qemuImg !== undefined) expect(qemuCheck(at(name)).corruptions ?? 0).toBe(0);
        // Each kill begins with what the one before has left.
        const opened = await openImage(at(name), { format, isWritable: true });
        await opened.close();
      }
      expect(most).toBeGreaterThan(20);
    },
    600_000,
  );
});
