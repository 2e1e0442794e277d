/**
 * Internal snapshots and sizes of qcow2 images: against a model, `qemu-img` where it is installed, and a kill before each
 * write.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { CrashFile } from "../../../test/crash-file.js";
import { contentOf, generator, randomBytes } from "../../../test/disk-model.js";
import { qemuCheck, qemuImg, runQemuImg } from "../../../test/qemu-img.js";
import { NodeFile, nodeCodecs } from "../../node.js";
import { keptOpen } from "../image-file.js";
import {
  applySnapshot,
  type CreateQcow2Options,
  checkQcow2,
  createQcow2,
  createSnapshot,
  deleteSnapshot,
  type ImageFile,
  listSnapshots,
  MemoryBackend,
  MemoryFile,
  Qcow2Image,
  resizeQcow2,
} from "../index.js";
import { setBacking } from "./backing-name.js";

const SIZE = 1_000_448;

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "hyperfile-snapshots-"));
});
afterAll(() => rmSync(folder, { recursive: true }));

/** What a disk must read, and what its snapshots must. */
class Model {
  content = new Uint8Array(SIZE);
  readonly kept = new Map<string, Uint8Array>();
}

const opened = (file: ImageFile) => Qcow2Image.open(keptOpen(file), { codecs: nodeCodecs });

/** Writes to random places, some compressed, some as zeros. */
async function change(file: ImageFile, model: Model, random: (end: number) => number, isPacked = false) {
  const image = await opened(file);
  const cluster = 2 ** image.header.clusterBits;
  for (let round = 0; round < 12; round++) {
    const bytes = randomBytes(random, 1 + random(60_000));
    const at = random(model.content.length - bytes.length);
    const kind = random(4);
    if (kind === 0) {
      await image.writeZeroes(at, bytes.length);
      model.content.fill(0, at, at + bytes.length);
    } else if (kind === 1 && isPacked) {
      const start = Math.floor(at / cluster) * cluster;
      const whole = randomBytes(random, Math.min(cluster, model.content.length - start));
      await image.writeCompressed(start, whole);
      model.content.set(whole, start);
    } else {
      await image.write(at, [bytes]);
      model.content.set(bytes, at);
    }
  }
  await image.close();
}

/** What is wrong with an image and its content, and each snapshot's. */
async function faults(file: MemoryFile, model: Model): Promise<string[]> {
  const found: string[] = [];
  const look = async (of: MemoryFile, content: Uint8Array, what: string) => {
    const image = await opened(of);
    if (Buffer.compare(await contentOf(image), content) !== 0) found.push(`${what} differs`);
    await image.close();
    const { corruptions, leaks } = await checkQcow2(of);
    found.push(
      ...[...corruptions.first, ...leaks.first].map(({ structure, how }) => `${what}: ${structure} ${how}`),
    );
  };
  await look(file, model.content, "the disk");
  expect((await listSnapshots(file)).map(({ name }) => name)).toEqual([...model.kept.keys()]);
  for (const [name, content] of model.kept) {
    const copy = file.copy();
    await applySnapshot(copy, name);
    await look(copy, content, `snapshot ${name}`);
  }
  return found;
}

const shapes: readonly (readonly [string, Partial<CreateQcow2Options>, boolean])[] = [
  ["small clusters", { clusterSize: 512, refcountBits: 64 }, false],
  ["compressed", { clusterSize: 4096 }, true],
  ["four bits to count, zstd", { clusterSize: 2048, refcountBits: 4, compression: "zstd" }, false],
  ["large clusters", { clusterSize: 65536 }, true],
];

describe.each(shapes)("%s", (_, shape, isPacked) => {
  it("snapshots are made, applied and deleted; each keeps what the disk was", {
    timeout: 300_000,
  }, async () => {
    const random = generator(shape.clusterSize! + 1);
    const file = new MemoryFile("image.qcow2");
    await createQcow2(file, { size: SIZE, ...shape });
    const model = new Model();
    const keep = async (name: string) => {
      await createSnapshot(file, name, 1_700_000_000);
      model.kept.set(name, model.content.slice());
    };
    await keep("empty");
    await change(file, model, random, isPacked);
    await keep("one");
    expect(await faults(file, model)).toEqual([]);
    await change(file, model, random, isPacked);
    await applySnapshot(file, "one");
    model.content = model.kept.get("one")!.slice();
    await change(file, model, random, isPacked);
    expect(await faults(file, model)).toEqual([]);
    await deleteSnapshot(file, "one");
    model.kept.delete("one");
    await change(file, model, random, isPacked);
    await keep("zwei ü");
    await deleteSnapshot(file, "1");
    model.kept.delete("empty");
    await change(file, model, random, isPacked);
    expect(await faults(file, model)).toEqual([]);
    // The other size is the disk's only: a snapshot brings its own back.
    await resizeQcow2(file, SIZE * 3);
    const grown = new Uint8Array(SIZE * 3);
    grown.set(model.content);
    model.content = grown;
    await change(file, model, random);
    expect(await faults(file, model)).toEqual([]);
    await resizeQcow2(file, 300_032);
    await resizeQcow2(file, SIZE);
    model.content = model.content.slice(0, SIZE);
    model.content.fill(0, 300_032);
    expect(await faults(file, model)).toEqual([]);
    expect(await listSnapshots(file)).toMatchObject([
      { id: "2", name: "zwei ü", seconds: 1_700_000_000, size: SIZE, stateBytes: 0 },
    ]);
    if (qemuImg !== undefined) await compareWithQemu(file, model);
  });
});

/** Lets qemu-img look at an image and do with its snapshots what we do. */
async function compareWithQemu(image: MemoryFile, model: Model): Promise<void> {
  const path = join(folder, `qemu-${Math.random()}.qcow2`);
  const bytes = new Uint8Array(image.size);
  await image.read(0, [bytes]);
  const file = await NodeFile.open(path, { create: true });
  await file.write(0, [bytes]);
  await file.close();
  const clean = { corruptions: 0, leaks: 0, errors: 0 };
  expect(qemuCheck(path)).toEqual(clean);
  expect(runQemuImg("snapshot", "-l", path)).toContain("zwei ü");
  const content = async () => {
    const disk = await Qcow2Image.open(await NodeFile.open(path, { isReadOnly: true }), {
      codecs: nodeCodecs,
    });
    const read = await contentOf(disk);
    await disk.close();
    return read;
  };
  runQemuImg("snapshot", "-c", "theirs", path);
  runQemuImg("snapshot", "-a", "zwei ü", path);
  expect(Buffer.compare(await content(), model.kept.get("zwei ü")!)).toBe(0);
  // And we with theirs.
  const again = await NodeFile.open(path);
  await applySnapshot(again, "theirs");
  await createSnapshot(again, "ours");
  await deleteSnapshot(again, "theirs");
  await again.close();
  expect(Buffer.compare(await content(), model.content)).toBe(0);
  expect(qemuCheck(path)).toEqual(clean);
  runQemuImg("snapshot", "-d", "ours", path);
  runQemuImg("snapshot", "-d", "zwei ü", path);
  expect(qemuCheck(path)).toEqual(clean);
  expect(await listSnapshots(await NodeFile.open(path, { isReadOnly: true }))).toEqual([]);
  expect(Buffer.compare(await content(), model.content)).toBe(0);
}

describe("killed before each write and flush, the image is what it was or what it was to be", () => {
  const jobs: readonly (readonly [string, (file: ImageFile) => Promise<void>])[] = [
    ["create", (file) => createSnapshot(file, "new", 1)],
    ["apply", (file) => applySnapshot(file, "old")],
    ["delete", (file) => deleteSnapshot(file, "old")],
    ["grow", (file) => resizeQcow2(file, SIZE * 4)],
    ["shrink", (file) => resizeQcow2(file, 100_352)],
  ];
  it.each(jobs)("%s", { timeout: 300_000 }, async (name, job) => {
    const random = generator(name.length);
    const base = new MemoryFile("base");
    await createQcow2(base, { size: SIZE, clusterSize: 2048 });
    const model = new Model();
    await change(base, model, random);
    for (const each of ["old", "other"]) {
      await createSnapshot(base, each, 1);
      model.kept.set(each, model.content.slice());
      await change(base, model, random, true);
    }
    const file = new CrashFile(base, random);
    await job(file);
    const [before, after] = [
      await stateOf(await file.crash(0, random)),
      await stateOf(await file.crash(file.log.length, random)),
    ];
    expect(before).not.toEqual(after);
    const seen = new Set<string>();
    for (let end = 0; end <= file.log.length; end++) {
      const crashed = await file.crash(end, random);
      const state = await stateOf(crashed);
      // A disk that is being cut has lost what it was to lose, or a part of that.
      if (name === "shrink" && state.size === SIZE) {
        expect(state.head).toBe(before.head);
        seen.add("before");
      } else {
        expect([before, after]).toContainEqual(state);
        seen.add(
          state.size === after.size && JSON.stringify(state) === JSON.stringify(after) ? "after" : "before",
        );
      }
      const { corruptions, leaks } = await checkQcow2(crashed, { repair: "leaks" });
      expect([end, corruptions.first, leaks.count]).toEqual([end, [], 0]);
      for (const { name: kept } of await listSnapshots(crashed)) {
        if (!model.kept.has(kept)) continue;
        const copy = crashed.copy();
        await applySnapshot(copy, kept);
        const image = await opened(copy);
        expect(Buffer.compare(await contentOf(image), model.kept.get(kept)!)).toBe(0);
        await image.close();
      }
    }
    expect([...seen].sort()).toEqual(["after", "before"]);
  });

  it("another name below, of another length", { timeout: 300_000 }, async () => {
    const random = generator(8);
    const base = new MemoryFile("base");
    await createQcow2(base, {
      size: SIZE,
      backingFile: "some/file.raw",
      backingFormat: "raw",
      clusterSize: 4096,
    });
    const model = new Model();
    await change(base, model, random);
    let last = { file: "some/file.raw", format: "raw" };
    for (const next of [
      { file: "x", format: "qcow2" },
      { file: `a/much/longer/${"n".repeat(300)}`, format: "store" },
      undefined,
    ]) {
      const file = new CrashFile(base, random);
      await setBacking(file, next);
      const names = new Set<string | undefined>();
      for (let end = 0; end <= file.log.length; end++) {
        const crashed = await file.crash(end, random);
        const image = await opened(crashed);
        const { backingFile, backingFormat } = image.header;
        names.add(backingFile);
        if (backingFile === next?.file && next !== undefined) expect(backingFormat).toBe(next.format);
        else if (next !== undefined) expect([backingFile, backingFormat]).toEqual([last.file, last.format]);
        expect(Buffer.compare(await contentOf(image), model.content)).toBe(0);
        await image.close();
        expect((await checkQcow2(crashed)).corruptions.count).toBe(0);
      }
      expect(names).toEqual(new Set([last.file, next?.file]));
      expect(file.log.length).toBeGreaterThan(1);
      if (next !== undefined) last = next;
    }
  });
});

/** What an image says of itself, and what it reads. */
async function stateOf(file: MemoryFile) {
  const image = await opened(file);
  const content = await contentOf(image);
  await image.close();
  const digest = (bytes: Uint8Array) =>
    Buffer.from(bytes).toString("latin1").length +
    Buffer.from(bytes).reduce((sum, byte, at) => (sum * 31 + byte + at) % 1_000_003, 7);
  const names = (await listSnapshots(file)).map(({ name }) => name);
  return { size: image.size, names, content: digest(content), head: digest(content.subarray(0, 100_352)) };
}

it("refuses each mistake in one line, and leaves the image as it is", async () => {
  const file = new MemoryFile("image.qcow2");
  await createQcow2(file, { size: SIZE, clusterSize: 4096 });
  await createSnapshot(file, "there");
  const second = new MemoryFile("two.qcow2");
  await createQcow2(second, { size: SIZE, version: 2 });
  const bit = new MemoryFile("bit.qcow2");
  await createQcow2(bit, { size: SIZE, refcountBits: 1 });
  const raw = new MemoryFile("plain.raw");
  await raw.truncate(SIZE);
  for (const [job, message] of [
    [() => createSnapshot(file, ""), /^image\.qcow2: a name of a snapshot has 1 to 255 bytes$/],
    [() => createSnapshot(file, "ü".repeat(128)), /has 1 to 255 bytes$/],
    [() => createSnapshot(file, "there"), /^image\.qcow2: there is a snapshot "there" already: use another/],
    [() => applySnapshot(file, "gone"), /^image\.qcow2: there is no snapshot "gone"; there are "there"$/],
    [() => deleteSnapshot(file, "2"), /there is no snapshot "2"; there are "there"$/],
    [() => deleteSnapshot(bit, "x"), /^bit\.qcow2: there is no snapshot "x"; there are none$/],
    [
      () => createSnapshot(bit, "x"),
      /^bit\.qcow2: refcounts of one bit count no snapshots: convert the image$/,
    ],
    [() => createSnapshot(second, "x"), /^two\.qcow2: snapshots of qcow2 version 2 are only listed: convert/],
    [() => createSnapshot(raw, "x"), /^plain\.raw: not a qcow2 image/],
    [() => resizeQcow2(file, -1), /^image\.qcow2: a disk of -1 bytes can't be$/],
    [
      () => resizeQcow2(file, 2 ** 50),
      /too large for clusters of 4096 bytes: convert the image to larger ones$/,
    ],
    [
      () => setBacking(file, { file: "n".repeat(2000), format: "raw" }),
      /name of the backing file is too long/,
    ],
  ] as const)
    await expect(job()).rejects.toThrow(message);
  const { corruptions, leaks, wasDirty } = await checkQcow2(file);
  expect([corruptions.count, leaks.count, wasDirty]).toEqual([0, 0, false]);
  expect((await listSnapshots(file)).length).toBe(1);
});

it("counts no further than its bits reach, and is clean after that", async () => {
  const file = new MemoryFile("image.qcow2");
  await createQcow2(file, { size: SIZE, clusterSize: 4096, refcountBits: 2 });
  const image = await opened(file);
  await image.write(0, [new Uint8Array(SIZE).fill(5)]);
  await image.close();
  for (const name of ["a", "b"]) await createSnapshot(file, name);
  await expect(createSnapshot(file, "c")).rejects.toMatchObject({ code: "E_IMAGE_LIMIT" });
  const { corruptions, leaks, wasDirty } = await checkQcow2(file);
  expect([corruptions.count, leaks.count, wasDirty]).toEqual([0, 0, false]);
  expect((await listSnapshots(file)).map(({ name }) => name)).toEqual(["a", "b"]);
});

it("grows over a disk that is larger: what is new reads as zeros", async () => {
  const backing = new MemoryBackend(SIZE * 2);
  await backing.write(0, [new Uint8Array(SIZE * 2).fill(9)]);
  const file = new MemoryFile("over.qcow2");
  await createQcow2(file, { size: 100_352, clusterSize: 65536 });
  await resizeQcow2(file, SIZE, { backing });
  const image = await Qcow2Image.open(keptOpen(file), { backing });
  const content = await contentOf(image);
  expect([content.indexOf(0), content.lastIndexOf(9), content.length]).toEqual([100_352, 100_351, SIZE]);
});
