/** Images that are committed, rebased and resized by path: against a model and `qemu-img compare`, and each mistake. */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { contentOf, generator, randomBytes } from "../../../test/disk-model.js";
import { qemuCheck, qemuImg, runQemuImg } from "../../../test/qemu-img.js";
import { commitImage, ImageLock, NodeFile, openImage, rebaseImage, resizeImage } from "../../node.js";
import { type CreateQcow2Options, createQcow2, createSnapshot } from "../index.js";

const SIZE = 1_500_160;
const random = generator(11);
const format = "qcow2";

let folder: string;
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "hyperfile-edit-"));
  writeFileSync(at("base.raw"), randomBytes(random, 1_000_448));
  await make("middle", { size: SIZE, backingFile: "base.raw", backingFormat: "raw" });
  await make("top", { size: SIZE, backingFile: "middle", backingFormat: "qcow2" });
  await change("middle");
  await change("top");
});
afterEach(() => rmSync(folder, { recursive: true }));
const at = (name: string): string => join(folder, name);

async function make(name: string, options: CreateQcow2Options): Promise<void> {
  const file = await NodeFile.open(at(name), { create: true });
  await createQcow2(file, { clusterSize: 4096, ...options });
  await file.close();
}

async function change(name: string): Promise<void> {
  const { disk, close } = await openImage(at(name), { format, isWritable: true });
  for (let round = 0; round < 8; round++) {
    const bytes = randomBytes(random, 1 + random(100_000));
    const offset = random(disk.size - bytes.length);
    if (random(3) === 0) await disk.writeZeroes(offset, bytes.length);
    else await disk.write(offset, [bytes]);
  }
  await close();
}

async function content(name: string, of: "raw" | "qcow2" = "qcow2"): Promise<Buffer> {
  const { disk, close } = await openImage(at(name), { format: of });
  const bytes = await contentOf(disk);
  await close();
  return Buffer.from(bytes);
}

/** Bytes that an image has itself. */
async function own(name: string): Promise<number> {
  const { disk, close } = await openImage(at(name), { format });
  let bytes = 0;
  for (let from = 0; from < disk.size; ) {
    const { length, depth, kind } = await disk.extent(from, disk.size - from);
    if (depth === 0 && kind === "data") bytes += length;
    from += length;
  }
  await close();
  return bytes;
}

function checkClean(...names: string[]): void {
  expect(readdirSync(folder).filter((name) => name.startsWith("."))).toEqual([]);
  if (qemuImg === undefined) return;
  for (const name of names) expect(qemuCheck(at(name))).toEqual({ corruptions: 0, leaks: 0, errors: 0 });
}

it("commits to the image below, and is empty then, or stays as it is", async () => {
  const before = await content("top");
  await commitImage(at("top"), { keep: true });
  expect([(await content("middle")).equals(before), (await own("top")) > 0]).toEqual([true, true]);
  await commitImage(at("top"));
  expect([(await content("middle")).equals(before), await own("top")]).toEqual([true, 0]);
  expect((await content("top")).equals(before)).toBe(true);
  checkClean("top", "middle");
  // Into raw, which is smaller.
  await commitImage(at("middle"));
  expect((await content("base.raw", "raw")).equals(before)).toBe(true);
  expect(await own("middle")).toBe(0);
  expect((await content("top")).equals(before)).toBe(true);
  checkClean("top", "middle");
  if (qemuImg !== undefined) runQemuImg("compare", "-f", "qcow2", "-F", "raw", at("top"), at("base.raw"));
});

it("reads the same on another image, on none, and on the first one again", async () => {
  const before = await content("top");
  await rebaseImage(at("top"), { file: "base.raw", format: "raw" });
  expect((await content("top")).equals(before)).toBe(true);
  await rebaseImage(at("top"), { file: "middle", format: "qcow2" });
  expect((await content("top")).equals(before)).toBe(true);
  writeFileSync(at("long.raw"), randomBytes(random, 3_000_320));
  await rebaseImage(at("top"), { file: at("long.raw"), format: "raw" });
  expect((await content("top")).equals(before)).toBe(true);
  await rebaseImage(at("top"), undefined);
  for (const name of ["middle", "base.raw", "long.raw"]) rmSync(at(name));
  expect((await content("top")).equals(before)).toBe(true);
  checkClean("top");
});

it("copies no more than what differs", async () => {
  writeFileSync(at("same.raw"), readFileSync(at("base.raw")));
  await make("over", { size: 1_000_448, backingFile: "base.raw", backingFormat: "raw" });
  await rebaseImage(at("over"), { file: "same.raw", format: "raw" });
  expect(await own("over")).toBe(0);
  const bytes = readFileSync(at("same.raw"));
  bytes[500_000] = bytes[500_000]! ^ 1;
  writeFileSync(at("other.raw"), bytes);
  await rebaseImage(at("over"), { file: "other.raw", format: "raw" });
  expect([await own("over"), (await content("over")).equals(readFileSync(at("base.raw")))]).toEqual([
    65536,
    true,
  ]);
});

it("changes the name only where that is asked for, also of what is gone", async () => {
  writeFileSync(at("moved.raw"), readFileSync(at("base.raw")));
  const before = await content("middle");
  rmSync(at("base.raw"));
  await expect(rebaseImage(at("middle"), { file: "moved.raw", format: "raw" })).rejects.toThrow(
    /base\.raw: can't open the file: there is no such file/,
  );
  await rebaseImage(at("middle"), { file: "moved.raw" }, { isUnsafe: true });
  expect((await content("middle")).equals(before)).toBe(true);
  if (qemuImg !== undefined) expect(runQemuImg("info", at("middle"))).toMatch(/backing file format: raw/);
  checkClean("middle");
});

it("resizes raw and qcow2, with zeros behind", async () => {
  const [middle, raw] = [await content("middle"), readFileSync(at("base.raw"))];
  await resizeImage(at("base.raw"), "raw", (size) => size + 4096);
  expect(readFileSync(at("base.raw")).equals(Buffer.concat([raw, Buffer.alloc(4096)]))).toBe(true);
  await resizeImage(at("middle"), format, () => SIZE * 40);
  expect((await content("middle")).equals(Buffer.concat([middle, Buffer.alloc(SIZE * 39)]))).toBe(true);
  await resizeImage(at("middle"), format, () => 10_240);
  await resizeImage(at("middle"), format, () => 20_480);
  expect(
    (await content("middle")).equals(Buffer.concat([middle.subarray(0, 10_240), Buffer.alloc(10_240)])),
  ).toBe(true);
  checkClean("middle");
});

it("refuses what is in use, and each mistake in one line", async () => {
  for (const use of ["read", "write"] as const)
    for (const name of ["top", "middle"]) {
      const lock = await ImageLock.take(at(name), use);
      await expect(commitImage(at("top"))).rejects.toMatchObject({ code: "E_IMAGE_LOCKED" });
      if (name === "top" || use === "write")
        await expect(rebaseImage(at("top"), undefined)).rejects.toMatchObject({ code: "E_IMAGE_LOCKED" });
      await expect(resizeImage(at(name), format, () => 512)).rejects.toMatchObject({
        code: "E_IMAGE_LOCKED",
      });
      lock.release();
    }
  const over = await openImage(at("top"), { format });
  await expect(commitImage(at("middle"))).rejects.toMatchObject({ code: "E_IMAGE_LOCKED" });
  await over.close();
  await make("alone", { size: 512 });
  await make("kept", { size: 512, backingFile: "base.raw", backingFormat: "raw" });
  const kept = await NodeFile.open(at("kept"));
  await createSnapshot(kept, "s");
  await kept.close();
  const before = await content("top");
  for (const [job, message] of [
    [() => commitImage(at("alone")), /alone: there is no image below to commit it to$/],
    [() => commitImage(at("base.raw")), /base\.raw: not a qcow2 image/],
    [
      () => commitImage(at("kept")),
      /kept: the image has internal snapshots, .*: it can't be committed; delete them/,
    ],
    [
      () => rebaseImage(at("kept"), undefined),
      /internal snapshots.*only rebased as unsafe; delete them first/,
    ],
    [() => rebaseImage(at("top"), { file: "top", format }), /top: top lies on the image itself$/],
    [() => rebaseImage(at("middle"), { file: "top", format }), /middle: top lies on the image itself$/],
    [
      () => rebaseImage(at("middle"), { file: "top", format }, { isUnsafe: true }),
      /lies on the image itself$/,
    ],
    [() => rebaseImage(at("top"), { file: "none" }), /none: can't open the file: there is no such file/],
    [
      () => rebaseImage(at("top"), { file: "middle" }),
      /middle: the image names one below it, "base\.raw"; .*say/,
    ],
    [() => rebaseImage(at("top"), { file: "base.raw", format }), /base\.raw: not a qcow2 image/],
    [() => resizeImage(at("base.raw"), "raw", () => -1), /base\.raw: a disk of -1 bytes can't be$/],
  ] as const)
    await expect(job()).rejects.toThrow(message);
  expect((await content("top")).equals(before)).toBe(true);
  expect(existsSync(at("none"))).toBe(false);
  checkClean("top", "middle");
});
