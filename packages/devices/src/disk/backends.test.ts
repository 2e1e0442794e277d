/** What every backend promises, on each of them. */
import { mkdtemp, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { contentOf, generator, randomRequests } from "../../test/disk-model.js";
import { FolderPlace, NodeFile, nodeCodecs } from "../node.js";
import {
  type BlockBackend,
  createQcow2,
  DiskError,
  ImageStore,
  MemoryBackend,
  MemoryFile,
  MemoryPlace,
  type ObjectPlace,
  OverlayBackend,
  Qcow2Image,
  RawBackend,
  TrackedDisk,
} from "./index.js";

const SIZE = 1_000_448;
let folder: string;
beforeAll(async () => (folder = await mkdtemp(join(tmpdir(), "hyperfile-disk-"))));
afterAll(() => rm(folder, { recursive: true }));

async function rawMemory(): Promise<BlockBackend> {
  const file = new MemoryFile("raw");
  await file.truncate(SIZE);
  return new RawBackend(file);
}

async function qcow2(clusterSize: number, version: 2 | 3 = 3, backing?: BlockBackend): Promise<BlockBackend> {
  const file = new MemoryFile("image.qcow2");
  await createQcow2(file, { size: SIZE, clusterSize, version });
  return Qcow2Image.open(file, backing === undefined ? {} : { backing });
}

async function inStore(place: ObjectPlace, chunkBytes: number, cacheBytes: number): Promise<BlockBackend> {
  const store = new ImageStore(place, nodeCodecs);
  await store.create("disk", { size: SIZE, chunkBytes });
  return store.open("disk", { isWritable: true, cacheBytes });
}

let files = 0;
const backends: Record<string, () => Promise<BlockBackend>> = {
  memory: async () => new MemoryBackend(SIZE),
  "raw in memory": rawMemory,
  "raw file": async () => {
    const file = await NodeFile.open(join(folder, `${files++}.raw`), { create: true });
    await file.truncate(SIZE);
    return new RawBackend(file);
  },
  overlay: async () => new OverlayBackend(new MemoryBackend(SIZE)),
  "a disk with backups": async () => new TrackedDisk(new MemoryBackend(SIZE), "disk", 4096),
  "qcow2 with clusters of 512 B": () => qcow2(512),
  "qcow2 with clusters of 64 KiB": () => qcow2(65536),
  "qcow2 version 2": () => qcow2(4096, 2),
  "qcow2 over memory": () => qcow2(4096, 3, new MemoryBackend(SIZE - 5000)),
  "store with chunks of 4 KiB": () => inStore(new MemoryPlace(), 4096, 1 << 20),
  "store with room for few chunks": () => inStore(new MemoryPlace(), 32768, 0),
  "store in a folder": () => inStore(new FolderPlace(join(folder, `store-${files++}`)), 65536, 1 << 20),
  "qcow2 version 2 over memory": () => qcow2(4096, 2, new MemoryBackend(SIZE - 5000)),
};

describe.each(Object.entries(backends))("%s", (_, make) => {
  it("reads what was written, with several requests at once", async () => {
    const disk = await make();
    const model = new Uint8Array(SIZE);
    expect(await randomRequests(disk, model, generator(7), 120, 30_000)).toBeGreaterThan(120);
    expect(Buffer.compare(await contentOf(disk), model)).toBe(0);
    await disk.close();
  });

  it("keeps neighbours when requests meet in one cluster", async () => {
    const disk = await make();
    await Promise.all(
      Array.from({ length: 64 }, (_, index) =>
        disk.write(index * 100, [new Uint8Array(100).fill(index + 1)]),
      ),
    );
    const bytes = new Uint8Array(6400);
    await disk.read(0, [bytes]);
    for (let index = 0; index < 64; index++) {
      expect(new Set(bytes.subarray(index * 100, index * 100 + 100))).toEqual(new Set([index + 1]));
    }
    await disk.close();
  });

  it("discards and says what is there, whole and part", async () => {
    const disk = await make();
    await disk.write(0, [new Uint8Array(SIZE).fill(9)]);
    await disk.discard(1000, 400_000);
    const edges = new Uint8Array(1000);
    await disk.read(0, [edges]);
    expect(new Set(edges)).toEqual(new Set([9]));
    const middle = new Uint8Array(400_000);
    await disk.read(1000, [middle]);
    for (const byte of new Set(middle)) expect([0, 9]).toContain(byte);
    let at = 0;
    let data = 0;
    while (at < SIZE) {
      const { length, kind } = await disk.extent(at, SIZE - at);
      expect(length).toBeGreaterThan(0);
      if (kind === "data") data += length;
      at += length;
    }
    expect(at).toBe(SIZE);
    expect(data).toBeGreaterThan(SIZE - 500_000);
    await disk.close();
  });

  it("refuses what reaches outside, and all after its end", async () => {
    const disk = await make();
    const one = [new Uint8Array(1)];
    for (const [offset, length] of [
      [SIZE, 1],
      [-1, 1],
      [SIZE - 10, 11],
      [0.5, 1],
      [2 ** 60, 1],
      [0, NaN],
    ] as const) {
      await expect(disk.discard(offset, length)).rejects.toMatchObject({ code: "E_DISK_RANGE" });
    }
    await expect(disk.read(SIZE, one)).rejects.toMatchObject({ code: "E_DISK_RANGE" });
    await expect(disk.write(SIZE, one)).rejects.toMatchObject({ code: "E_DISK_RANGE" });
    await disk.read(SIZE, []);
    await disk.write(SIZE - 1, one);
    await Promise.all([disk.close(), disk.close()]);
    await expect(disk.read(0, one)).rejects.toMatchObject({ code: "E_DISK_CLOSED" });
    await expect(disk.flush()).rejects.toBeInstanceOf(DiskError);
  });
});

describe("memory", () => {
  it("takes room for what was written only, and never more than its limit", async () => {
    const disk = new MemoryBackend(2 ** 40, { limitBytes: 1 << 20 });
    await disk.write(2 ** 39, [new Uint8Array(10).fill(1)]);
    expect(disk.allocatedBytes).toBe(65536);
    await expect(disk.write(0, [new Uint8Array(2 << 20)])).rejects.toMatchObject({ code: "E_DISK_FULL" });
    expect(disk.allocatedBytes).toBeLessThanOrEqual(1 << 20);
    await disk.discard(0, 2 ** 38);
    expect(disk.allocatedBytes).toBe(65536);
  });
});

describe("overlay", () => {
  it("leaves the disk below alone, and forks share what they have", async () => {
    const base = new MemoryBackend(SIZE);
    await base.write(0, [new Uint8Array(SIZE).fill(5)]);
    const one = new OverlayBackend(base);
    await one.write(70_000, [new Uint8Array(100).fill(6)]);
    await one.writeZeroes(131_072, 65_536);
    const two = one.fork();
    await two.write(70_050, [new Uint8Array(100).fill(7)]);
    await one.write(131_080, [new Uint8Array(1).fill(8)]);
    expect(new Set(await contentOf(base))).toEqual(new Set([5]));
    const [first, second] = [await contentOf(one), await contentOf(two)];
    expect([first[70_000], first[70_060], first[70_120], first[131_079], first[131_080]]).toEqual([
      6, 6, 5, 0, 8,
    ]);
    expect([second[70_000], second[70_060], second[70_120], second[131_080]]).toEqual([6, 7, 7, 0]);
    expect(two.allocatedBytes).toBe(65_536);
  });
});

describe("raw file", () => {
  it("leaves holes where zeros are written on nothing", async () => {
    const path = join(folder, "sparse.raw");
    const file = await NodeFile.open(path, { create: true });
    await file.truncate(64 << 20);
    const disk = new RawBackend(file);
    expect(await disk.extent(0, 64 << 20)).toMatchObject({ kind: "zero", length: 64 << 20 });
    await disk.writeZeroes(0, 64 << 20);
    await disk.write(1 << 20, [new Uint8Array(4096).fill(1)]);
    await disk.flush();
    expect(await disk.extent(0, 64 << 20)).toMatchObject({ kind: "data" });
    await disk.close();
    expect((await stat(path)).blocks * 512).toBeLessThan(1 << 20);
  });

  it("says what is wrong with a file in one line", async () => {
    await expect(NodeFile.open(join(folder, "none"))).rejects.toThrow(
      /none: can't open the file: there is no such file/,
    );
    await expect(NodeFile.open(folder, { isReadOnly: true })).rejects.toThrow(/regular file/);
    const path = join(folder, "there");
    await (await NodeFile.open(path, { create: true })).close();
    await expect(NodeFile.open(path, { create: true })).rejects.toThrow(/there already/);
    const disk = new RawBackend(await NodeFile.open(path, { isReadOnly: true }));
    await expect(disk.write(0, [])).rejects.toMatchObject({ code: "E_DISK_READ_ONLY" });
    await disk.close();
  });

  it("reads and writes more buffers than the host takes at once", async () => {
    const file = await NodeFile.open(join(folder, "vectors"), { create: true });
    const parts = Array.from({ length: 3000 }, (_, index) => new Uint8Array(3).fill(index % 251));
    await file.write(10, parts);
    const there = Array.from({ length: 3001 }, () => new Uint8Array(3).fill(255));
    await file.read(10, there);
    expect(there.slice(0, 3000)).toEqual(parts);
    expect(there[3000]).toEqual(new Uint8Array(3));
    await file.close();
  });
});
