/** `hyperfile image` through the program: images made, converted both ways and checked, and each mistake in one line. */
import { spawn, spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { statfsSync } from "node:fs";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { createQcow2 } from "@hyperfile/devices/disk";
import { ImageLock, NodeFile, openImage } from "@hyperfile/devices/node";
import { afterAll, beforeAll, expect, it } from "vitest";
import { qemuCheck, qemuImg, runQemuImg } from "../../../packages/devices/test/qemu-img.js";
import { type ProgramSurroundings, runProgram } from "../src/program.js";

let folder: string;
beforeAll(async () => (folder = await mkdtemp(join(tmpdir(), "hyperfile-image-"))));
afterAll(() => rm(folder, { recursive: true }));
const at = (name: string) => join(folder, name);

/** Runs the program; gives what it printed. */
async function image(...args: string[]): Promise<{ status: number; output: string; errors: string }> {
  let [output, errors] = ["", ""];
  const surroundings = {
    version: "0",
    write: (text: string) => (output += text),
    streams: { error: (text: string) => (errors += text) },
  } as unknown as ProgramSurroundings;
  const status = await runProgram(["image", ...args], surroundings);
  return { status, output, errors };
}

const done = { status: 0, output: "", errors: "" };

it("makes, converts both ways, shows and checks", async () => {
  const bytes = new Uint8Array(3_000_320);
  bytes.fill(7, 100_000, 900_000);
  bytes.fill(9, 2_900_000);
  await writeFile(at("one.raw"), bytes);
  expect(await image("convert", at("one.raw"), at("plain.qcow2"))).toEqual(done);
  expect(
    await image(
      "convert",
      "--compress",
      "--compression",
      "zstd",
      "--cluster-size",
      "4K",
      at("plain.qcow2"),
      at("zstd.qcow2"),
    ),
  ).toEqual(done);
  expect(await image("convert", "--format", "raw", at("zstd.qcow2"), at("two.raw"))).toEqual(done);
  expect(Buffer.compare(await readFile(at("two.raw")), bytes)).toBe(0);
  expect(await image("check", at("zstd.qcow2"))).toMatchObject({
    status: 0,
    output: expect.stringMatching(/^0 corruptions, 0 leaks; 221 of 733 clusters in use, 221 compressed\n$/),
  });
  const shown = await image("info", at("zstd.qcow2"));
  expect(shown.output).toMatch(
    /format +qcow2\ndisk +2.9M \(3000320 bytes\)\nversion +3\ncluster +4K\ncompression +zstd\n/,
  );
  if (qemuImg === undefined) return;
  expect(runQemuImg("compare", "-f", "raw", "-F", "qcow2", at("one.raw"), at("zstd.qcow2"))).toMatch(
    /identical/,
  );
  expect(qemuCheck(at("plain.qcow2"))).toEqual({ corruptions: 0, leaks: 0, errors: 0 });
});

it("keeps images in a store: push, clone, map, check, pull, convert back, collect", async () => {
  const [store, other] = [at("store"), at("other-store")];
  const bytes = Buffer.alloc(3 << 20);
  for (let index = 0; index < 1 << 20; index++) bytes[index] = Math.imul(index, 2654435761) >>> 24;
  await writeFile(at("stored.raw"), bytes);
  expect(await image("push", at("stored.raw"), store, "base")).toEqual(done);
  expect((await image("push", at("stored.raw"), store, "base")).errors).toMatch(
    /base: there is such an image already/,
  );
  expect(await image("clone", store, "base", "copy")).toEqual(done);
  expect((await image("list", store)).output).toMatch(/^base +3M .*\ncopy +3M .*\n$/);
  const path = join(store, "images", "copy");
  expect((await image("info", path)).output).toMatch(/format +store\ndisk +3M \(3145728 bytes\)/);
  expect((await image("map", path)).output).toBe("0 1048576 depth 0\n");
  expect((await image("check", path)).output).toBe("0 corruptions\n");
  expect((await image("pull", store, "base", other)).output).toMatch(/copied\n$/);
  expect((await image("pull", store, "copy", other, "--as", "again")).output).toBe("0B copied\n");
  expect(await image("convert", "--format", "raw", join(other, "images", "again"), at("back.raw"))).toEqual(
    done,
  );
  expect(Buffer.compare(await readFile(at("back.raw")), bytes)).toBe(0);
  expect(await image("convert", "--format", "store", at("back.raw"), join(store, "images", "third"))).toEqual(
    done,
  );
  expect(await image("create", "--format", "store", join(store, "images", "empty"), "1G")).toEqual(done);
  expect(await image("create", at("over.qcow2"), "--backing", "store/images/base")).toEqual(done);
  expect((await image("map", "--format", "qcow2", at("over.qcow2"))).output).toBe("0 1048576 depth 1\n");
  for (const name of ["base", "copy", "third", "empty"])
    expect(await image("remove", store, name)).toEqual(done);
  expect((await image("collect", store)).output).toMatch(/^0 objects removed/);
  expect((await image("collect", store, "--grace", "0s")).output).toMatch(/^5 objects removed .*, 0 kept\n$/);
  const [chunk] = (await readdir(join(other, "chunks"), { recursive: true, withFileTypes: true })).filter(
    (entry) => entry.isFile(),
  );
  await writeFile(join(chunk!.parentPath, chunk!.name), "x");
  const damaged = await image("check", join(other, "images", "base"));
  expect(damaged.status).toBe(2);
  expect(damaged.output).toMatch(/^corruption: .*is packed in an unknown way/);
});

it("lists the images of a store beside one that is damaged, which it names, and shows no escapes", async () => {
  const store = at("shown");
  for (const name of ["a", "b", "c"])
    expect(await image("create", "--format", "store", join(store, "images", name), "1M")).toEqual(done);
  await writeFile(join(store, "images", "b"), "hyperfile-image 1 0123\n{}\n");
  await writeFile(join(store, "images", "x\x1b[2J\nforged"), "nothing");
  const { status, output, errors } = await image("list", store);
  expect(status).toBe(1);
  expect(output).toMatch(/^a +1M {2}\S+\nc +1M {2}\S+\n$/);
  expect(errors.split("\n").sort()).toEqual([
    "",
    expect.stringMatching(/shown\/images\/b: the manifest is damaged/),
    expect.stringMatching(/x\\u001b\[2J\\nforged/),
  ]);
});

it("shows what a file says so that a terminal does nothing of it", async () => {
  const evil = "x\x1b[2J\x9b31m\x07\nformat      forged\u202e";
  await image("create", at("evil.qcow2"), "1M");
  const file = await NodeFile.open(at("evil2.qcow2"), { create: true });
  await createQcow2(file, { size: 1 << 20, backingFile: evil, backingFormat: "raw" });
  await file.close();
  await writeFile(at(evil), new Uint8Array(512));
  const format = ["--format", "qcow2"];
  const { output } = await image("info", ...format, at("evil2.qcow2"));
  expect(output.split("\n").filter((line) => line.startsWith("format"))).toHaveLength(1);
  expect(output).toContain(
    "backing     x\\u001b[2J\\u009b31m\\u0007\\u000aformat      forged\\u202e (raw)\n",
  );
  await rm(at(evil));
  const results = [
    await image("info", ...format, at("evil2.qcow2")),
    await image("info", at("evil2.qcow2")),
    await image("convert", "--from-format", "qcow2", at("evil2.qcow2"), at("new")),
    await image("info", at(`none${evil}`)),
  ];
  for (const { status, errors } of results) {
    expect(status).toBe(1);
    expect(errors).toMatch(/^hyperfile: [^\n]*\n$/);
    expect(errors.trimEnd()).not.toMatch(/[\p{Cc}\p{Bidi_Control}]/u);
  }
});

it("commits, rebases, resizes, and keeps snapshots, as users of qemu-img expect", async () => {
  const bytes = randomBytes(1 << 20);
  await writeFile(at("lower.raw"), bytes);
  expect(
    await image("create", at("upper.qcow2"), "--backing", "lower.raw", "--backing-format", "raw"),
  ).toEqual(done);
  expect(await image("snapshot", "create", at("upper.qcow2"), "before")).toEqual(done);
  const { output } = await image("snapshot", "list", at("upper.qcow2"));
  expect(output).toMatch(/^1 +1M {2}\d{4}-\d\d-\d\d \d\d:\d\d:\d\d {2}before\n$/);
  if (qemuImg !== undefined) expect(runQemuImg("snapshot", "-l", at("upper.qcow2"))).toMatch(/1 +before/);
  const write = async (byte: number) => {
    const opened = await openImage(at("upper.qcow2"), { format: "qcow2", isWritable: true });
    await opened.disk.write(70_000, [new Uint8Array(1000).fill(byte)]);
    await opened.close();
    bytes.fill(byte, 70_000, 71_000);
  };
  await write(1);
  expect(await image("snapshot", "apply", at("upper.qcow2"), "before")).toEqual(done);
  expect((await image("map", "--format", "qcow2", at("upper.qcow2"))).output).toBe("0 1048576 depth 1\n");
  await write(2);
  expect((await image("commit", at("upper.qcow2"))).errors).toMatch(
    /internal snapshots, .* delete them first\n$/,
  );
  expect(await image("snapshot", "delete", at("upper.qcow2"), "1")).toEqual(done);
  expect(await image("commit", at("upper.qcow2"))).toEqual(done);
  expect(Buffer.compare(await readFile(at("lower.raw")), bytes)).toBe(0);
  await write(3);
  expect(await image("rebase", at("upper.qcow2"), "--backing", "")).toEqual(done);
  expect((await image("info", at("upper.qcow2"))).output).not.toMatch(/backing/);
  expect(
    await image("rebase", at("upper.qcow2"), "--backing", "lower.raw", "--backing-format", "raw"),
  ).toEqual(done);
  expect(await image("resize", at("upper.qcow2"), "+1M", "--format", "qcow2")).toEqual(done);
  expect((await image("info", "--format", "qcow2", at("upper.qcow2"))).output).toMatch(/disk +2M/);
  expect(await image("resize", at("upper.qcow2"), "1M", "--shrink", "--format", "qcow2")).toEqual(done);
  expect(await image("commit", "--drop", at("upper.qcow2"))).toEqual(done);
  expect((await readdir(folder)).filter((name) => name.includes("upper"))).toEqual([]);
  expect(Buffer.compare(await readFile(at("lower.raw")), bytes)).toBe(0);
});

it("follows chains by relative names, and maps them", async () => {
  await writeFile(at("base.raw"), new Uint8Array(1 << 20).fill(3));
  expect(await image("create", at("top.qcow2"), "2M", "--backing", "base.raw")).toEqual(done);
  expect((await image("map", "--format", "qcow2", at("top.qcow2"))).output).toBe("0 1048576 depth 1\n");
  expect((await image("info", "--format", "qcow2", at("top.qcow2"))).output).toMatch(
    /backing +base.raw \(raw\)/,
  );
});

it("refuses each mistake in one line", async () => {
  await writeFile(at("text"), "no image, but long enough to be looked at");
  await image("create", at("loop.qcow2"), "1M");
  await image("create", at("used.qcow2"), "1M");
  await image("create", at("read.qcow2"), "1M");
  await image("create", at("loop2.qcow2"), "1M", "--backing", "loop.qcow2");
  await rm(at("loop.qcow2"));
  await image("create", at("loop3.qcow2"), "1M", "--backing", "loop2.qcow2");
  const lock = await ImageLock.take(at("used.qcow2"));
  const reader = await ImageLock.take(at("read.qcow2"), "read");
  for (const [args, status, message] of [
    [[], 2, /needs a command; hyperfile image --help lists them/],
    [["create", at("new"), "2X"], 2, /Give bytes, or a number and a unit/],
    [["create", at("new")], 2, /new: how large\?/],
    [["create", at("text"), "1M"], 1, /text: can't make the file: the file is there already/],
    [
      ["create", at("new"), "1M", "--cluster-size", "3K"],
      1,
      /clusters of 3072 bytes: a power of two from 512 to 2M/,
    ],
    [
      ["create", at("new"), "1M", "--format", "raw", "--backing", "base.raw"],
      2,
      /a raw image has no image below/,
    ],
    [["create", at("new"), "1M", "--backing", "none"], 1, /none: can't open the file: there is no such file/],
    [["info", at("none")], 1, /none: can't open the file: there is no such file/],
    [["info", "--format", "qcow2", at("text")], 1, /text: not a qcow2 image/],
    [
      ["info", at("loop2.qcow2")],
      1,
      /loop2.qcow2: the image names one below it, "loop.qcow2"; a guest could have/,
    ],
    [["convert", at("loop2.qcow2"), at("new")], 1, /say that its format is qcow2 if it is/],
    [
      ["info", "--format", "qcow2", at("loop2.qcow2")],
      1,
      /loop.qcow2: can't open the file: there is no such file/,
    ],
    [["check", at("text")], 1, /text: not a qcow2 image/],
    [["check", at("used.qcow2")], 1, /used.qcow2: process \d+ writes the image; wait until it has ended/],
    [["convert", at("used.qcow2"), at("new")], 1, /process \d+ writes the image/],
    [["map", at("used.qcow2")], 1, /process \d+ writes the image/],
    [["push", at("used.qcow2"), at("new"), "x"], 1, /process \d+ writes the image/],
    [["create", at("new"), "--backing", "used.qcow2"], 1, /process \d+ writes the image/],
    [["check", "--repair", "all", at("read.qcow2")], 1, /process \d+ reads the image, which must not change/],
    [
      ["convert", "--format", "raw", "--compress", at("text"), at("new")],
      2,
      /a raw image can't be compressed/,
    ],
    [["map", folder], 1, /regular file/],
    [["list", at("none")], 1, /none: can't list the file: there is no such file/],
    [["push", at("text"), at("new"), "../x"], 1, /new: "..\/x" can't be the name of an object/],
    [
      ["push", at("text"), "https://host/store", "x"],
      2,
      /a web server is only read; give the folder of a store/,
    ],
    [["push", at("none"), at("new"), "x"], 1, /none: can't open the file: there is no such file/],
    // Node's own recursive mkdir never comes back from there.
    [
      ["push", at("text"), "/proc/none", "x"],
      1,
      /^hyperfile: \/proc\/none\S*: can't make the file: no folder can be made there/,
    ],
    [
      ["create", "--format", "store", "/proc/none/images/x", "1M"],
      1,
      /^hyperfile: \/proc\/none\S*: can't make the file: no folder can be made there/,
    ],
    [["clone", at("new"), "x", "y"], 1, /new\/images\/x: there is no such image in the store/],
    [["pull", "ftp://host", "x", at("new")], 1, /images\/x: there is no such image/],
    [["collect", at("new"), "--grace", "soon"], 2, /Give a number and a unit, such as 30m or 1h/],
    [["convert", "--format", "store", at("text"), at("new")], 1, /has the path STORE\/images\/NAME/],
    [["convert", "--format", "store", "--compress", at("text"), at("new")], 2, /compressed anyway/],
    [["create", "--format", "store", "--backing", "a", at("new")], 2, /a store image has no image below/],
    [["snapshot"], 2, /image snapshot needs a command; hyperfile image snapshot --help lists them/],
    [["snapshot", "create", at("used.qcow2"), "x"], 1, /used.qcow2: process \d+ writes the image/],
    [["snapshot", "delete", at("read.qcow2"), "x"], 1, /process \d+ reads the image, which must not change/],
    [["snapshot", "list", at("text")], 1, /text: not a qcow2 image/],
    [["snapshot", "apply", at("loop2.qcow2"), "x"], 1, /there is no snapshot "x"; there are none/],
    [["commit", at("used.qcow2")], 1, /process \d+ writes the image/],
    [["commit", at("loop2.qcow2")], 1, /loop.qcow2: can't open the file: there is no such file/],
    [["commit", "--keep", "--drop", at("x")], 2, /'--keep' cannot be used with option '--drop'/],
    [["rebase", at("used.qcow2"), "--backing", "text"], 1, /process \d+ writes the image/],
    [["rebase", at("loop2.qcow2")], 2, /required option '--backing <file>' not specified/],
    [
      ["rebase", at("loop2.qcow2"), "--backing", "", "--backing-format", "raw"],
      2,
      /leave out --backing-format/,
    ],
    [["rebase", at("loop2.qcow2"), "--backing", "none", "--unsafe"], 1, /none: can't open the file/],
    [["resize", at("used.qcow2"), "2M"], 1, /process \d+ writes the image/],
    [["resize", at("none"), "2M"], 1, /none: can't open the file: there is no such file/],
    [["resize", at("text"), "1K", "--format", "qcow2"], 1, /text: not a qcow2 image/],
    [
      ["resize", at("text"), "0"],
      2,
      /the disk has 41 bytes, and 0 are less: give --shrink to lose what lies/,
    ],
    [["resize", at("text"), "much"], 2, /Give bytes, or a number and a unit/],
    [["resize", at("text"), "+"], 2, /Give bytes, or a number and a unit/],
  ] as const) {
    const result = await image(...args);
    expect(result.errors).toMatch(/^hyperfile: [^\n]+\n$/);
    expect(result.errors).toMatch(message);
    expect({ args, status: result.status }).toEqual({ args, status });
  }
  lock.release();
  reader.release();
  expect((await image("check", at("used.qcow2"))).status).toBe(0);
  // Nothing is left of what failed, nor of locks.
  expect((await readdir(folder)).filter((name) => name === "new" || name.includes(".lock"))).toEqual([]);
});

it("refuses a chain that is a circle", async () => {
  await image("create", at("b.qcow2"), "1M");
  await image("create", at("a.qcow2"), "1M", "--backing", "b.qcow2");
  await rm(at("b.qcow2"));
  await writeFile(
    at("b.qcow2"),
    Buffer.from(await readFile(at("a.qcow2"))).map((byte) => byte),
  );
  const bytes = await readFile(at("b.qcow2"));
  bytes.set(Buffer.from("a.qcow2"), bytes.indexOf("b.qcow2"));
  await writeFile(at("b.qcow2"), bytes);
  expect(await image("info", "--format", "qcow2", at("a.qcow2"))).toMatchObject({
    status: 1,
    errors: expect.stringMatching(/a\.qcow2: its backing files go in a circle/),
  });
});

it("takes no lock of a process that is gone for one", async () => {
  await image("create", at("left.qcow2"), "1M");
  const lock = await ImageLock.take(at("left.qcow2"));
  const names = (await readdir(folder)).filter((name) => name.startsWith(".left.qcow2.lock-"));
  lock.release();
  for (const name of names) {
    const dead = name.replace(/-w-(\d+)-(\d+)-/, (_, pid, start) => `-w-${pid}-${Number(start) - 1}-`);
    await writeFile(at(dead), "");
  }
  expect((await image("check", "--repair", "all", at("left.qcow2"))).status).toBe(0);
  expect((await readdir(folder)).filter((name) => name.includes(".lock"))).toEqual([]);
});

const bin = fileURLToPath(new URL("../bin/hyperfile.mjs", import.meta.url));

/** Runs the built program until a folder has a new name in it that `is` one, and ends it by a signal. */
async function endedAt(
  signal: NodeJS.Signals,
  where: string,
  is: (name: string) => boolean,
  ...args: string[]
): Promise<unknown> {
  const names = async () => (await readdir(where).catch(() => [])).filter(is);
  const before = await names();
  const child = spawn(process.execPath, [bin, "image", ...args]);
  const ended = new Promise((resolve) => child.once("exit", (status, by) => resolve(by ?? status)));
  while (child.exitCode === null && (await names()).every((name) => before.includes(name)))
    await new Promise((resolve) => setTimeout(resolve, 5));
  child.kill(signal);
  return ended;
}

it("leaves no image in part where the program is killed or told to end, and removes what the dead left", async () => {
  await writeFile(at("large.raw"), randomBytes(48 << 20));
  const unfinished = async () => (await readdir(folder)).filter((name) => name.includes(".unfinished-"));
  const [convert, is] = [["convert", "--compress", at("large.raw"), at("part.qcow2")], /\.unfinished-/];
  for (const signal of ["SIGTERM", "SIGKILL", "SIGTERM", "SIGKILL"] as const) {
    expect(await endedAt(signal, folder, (name) => is.test(name), ...convert)).toBe(signal);
    expect((await readdir(folder)).includes("part.qcow2")).toBe(false);
    // Only a kill leaves what nobody can remove, until the next one comes.
    expect(await unfinished()).toHaveLength(signal === "SIGKILL" ? 1 : 0);
  }
  expect(await image("convert", "--format", "raw", at("large.raw"), at("part.qcow2"))).toEqual(done);
  expect(await unfinished()).toEqual([]);
});

it("leaves nothing in a store where a push is killed: the next one removes it", async () => {
  const store = at("killed-store");
  await writeFile(at("pushed.raw"), randomBytes(32 << 20));
  const push = ["push", at("pushed.raw"), store, "x"];
  // Parts come and go: what has been seen may have its name in the store before the signal is there.
  const left = async () => (await readdir(join(store, ".new"))).length;
  for (let tries = 0; tries < 2 || ((await left()) === 0 && tries < 20); tries++) {
    const signal = tries === 0 ? "SIGTERM" : "SIGKILL";
    expect(await endedAt(signal, join(store, ".new"), () => true, ...push)).toBe(signal);
    expect(await image("list", store)).toEqual(done);
  }
  expect(await left()).toBeGreaterThan(0);
  expect(await image(...push)).toEqual(done);
  expect(await readdir(join(store, ".new"))).toEqual([]);
  expect((await image("check", join(store, "images", "x"))).output).toBe("0 corruptions\n");
});

const canMount =
  process.platform === "linux" && process.getuid?.() === 0 && spawnSync("mount", ["--version"]).status === 0;

it.runIf(canMount)("leaves nothing on a disk that is full", async () => {
  const [full, source] = [at("full"), at("source-store")];
  await mkdir(full);
  await writeFile(at("four.raw"), randomBytes(4 << 20));
  expect(await image("push", at("four.raw"), source, "x")).toEqual(done);
  if (spawnSync("mount", ["-t", "tmpfs", "-o", "size=2m", "none", full]).status !== 0) return;
  try {
    const used = () => statfsSync(full).blocks - statfsSync(full).bfree;
    for (const args of [
      ["convert", at("four.raw"), join(full, "x.qcow2")],
      ["convert", "--format", "raw", at("four.raw"), join(full, "x.raw")],
      ["convert", "--format", "store", at("four.raw"), join(full, "st/images/x")],
      ["push", at("four.raw"), join(full, "st"), "x"],
      ["pull", source, "x", join(full, "st")],
      ["pull", source, "x", join(full, "st"), "--as", "y"],
    ]) {
      const { status, errors } = await image(...args);
      expect([status, errors], args[0]).toEqual([
        1,
        expect.stringMatching(/^hyperfile: [^\n]*no space is left[^\n]*\n$/),
      ]);
      const left = await readdir(full, { recursive: true, withFileTypes: true });
      expect(left.filter((entry) => entry.isFile())).toEqual([]);
      expect(used()).toBeLessThan(20);
    }
    // A clone is one manifest; what there is room for stays.
    expect((await image("create", "--format", "store", join(full, "st/images/a"), "1M")).status).toBe(0);
    await writeFile(join(full, "ballast"), new Uint8Array(4 << 20)).catch(() => {});
    expect((await image("clone", join(full, "st"), "a", "b")).errors).toMatch(/no space is left/);
    expect(await readdir(join(full, "st/images"))).toEqual(["a"]);
    expect(await readdir(join(full, "st/.new"))).toEqual([]);
  } finally {
    expect(spawnSync("umount", [full]).status).toBe(0);
  }
});
