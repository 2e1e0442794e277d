/**
 * Images with mutated headers, tables and refcounts: each is read, or refused with an error that names the image; the work,
 * the memory and the places that are written stay within bounds. HYPERFILE_QCOW2_MUTATIONS sets their number.
 */
import { describe, expect, it } from "vitest";
import { generator, randomBytes } from "../../../test/disk-model.js";
import { nodeCodecs } from "../../node.js";
import { checkQcow2, createQcow2, DiskError, type ImageFile, MemoryFile, Qcow2Image } from "../index.js";

const MUTATIONS = Number(process.env.HYPERFILE_QCOW2_MUTATIONS ?? 200);
const [MOST_READS, MOST_GROWTH] = [200_000, 64 << 20];
/** What an open image may change in its first cluster: fields of the header. */
const FIRST_WRITE_LIMIT = 12;

/** A file that counts, and that knows which writes are wild. */
class Watched implements ImageFile {
  readonly name = "hostile.qcow2";
  readonly isReadOnly = false;
  reads = 0;
  largest = 0;
  isWatching = true;
  constructor(readonly file: MemoryFile) {}
  get size(): number {
    return this.file.size;
  }
  async read(offset: number, buffers: readonly Uint8Array[]): Promise<void> {
    if (++this.reads > MOST_READS) throw new Error("too many reads");
    this.largest = Math.max(this.largest, ...buffers.map(({ length }) => length));
    return this.file.read(offset, buffers);
  }
  async write(offset: number, buffers: readonly Uint8Array[]): Promise<void> {
    const length = buffers.reduce((sum, each) => sum + each.length, 0);
    if (this.isWatching && offset < 512 && length > FIRST_WRITE_LIMIT)
      throw new Error(`a wild write at ${offset}`);
    if (offset + length > this.file.size + MOST_GROWTH) throw new Error(`a wild write at ${offset}`);
    return this.file.write(offset, buffers);
  }
  flush = () => this.file.flush();
  truncate = (size: number) => this.file.truncate(size);
  close = () => this.file.close();
}

const values: readonly (readonly number[])[] = [
  [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
  [0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
  [0, 0, 0, 0, 0, 0, 0, 0],
  [0x80, 0, 0, 0, 0, 0, 0, 0],
  [0x80, 0, 0, 0, 0, 1, 0, 0],
  [0, 0, 0, 0, 0, 1, 0, 0],
  [0x40, 0, 0, 0, 0, 0, 16, 1],
  [0, 0x20, 0, 0, 0, 0, 0, 0],
  [0, 0, 0, 1, 0, 0, 0, 1],
];

async function mutant(seed: number): Promise<MemoryFile> {
  const random = generator(seed);
  const file = new MemoryFile("hostile.qcow2");
  const clusterSize = 2 ** (9 + random(4) * 2);
  await createQcow2(file, {
    size: 300_000,
    clusterSize,
    version: random(4) === 0 ? 2 : 3,
    ...(clusterSize > 1000 && { backingFile: "below.raw", backingFormat: "raw" }),
  });
  const image = await Qcow2Image.open(file, { codecs: nodeCodecs });
  await image.writeCompressed(clusterSize, new Uint8Array(clusterSize).fill(7));
  await image.write(clusterSize * 3, [randomBytes(random, 60_000)]);
  await image.close();
  // The header, the tables behind it, or anywhere.
  for (let count = 1 + random(3); count > 0; count--) {
    const place = random(3);
    const offset = [
      random(120),
      Math.floor(random(file.size) / 8) * 8,
      Math.floor(random(clusterSize * 6) / 8) * 8,
    ][place]!;
    const value = values[random(values.length)]!;
    const length = [1, 4, 8][random(3)]!;
    const bytes = random(2) === 0 ? Uint8Array.from(value.slice(0, length)) : Uint8Array.of(random(256));
    await file.write(offset, [bytes]);
  }
  if (random(10) === 0) await file.truncate(random(file.size));
  return file;
}

/** Does `job`; gives the error if it is one that a user is meant to see. */
async function refused(job: () => Promise<unknown>): Promise<DiskError | undefined> {
  try {
    await job();
    return undefined;
  } catch (error) {
    if (!(error instanceof DiskError)) throw error;
    expect(error.message).toMatch(/^hostile\.qcow2: [^\n]+$/);
    if (error.code === "E_IMAGE_DAMAGED") {
      expect(error.message).toMatch(/at offset 0x[0-9a-f]+ /);
      expect(error.details.structure).not.toBe("");
    }
    return error;
  }
}

describe("hostile images", () => {
  it(`${MUTATIONS} mutations`, { timeout: 600_000 }, async () => {
    let [opened, refusals, faults] = [0, 0, 0];
    for (let seed = 1; seed <= MUTATIONS; seed++) {
      const watched = new Watched(await mutant(seed));
      const before = watched.size;
      try {
        const whole = await refused(async () => {
          const image = await Qcow2Image.open(watched, { codecs: nodeCodecs, cacheBytes: 1 << 20 });
          opened++;
          const length = Math.min(image.size, 1 << 20);
          const fault =
            (await refused(() => image.read(0, [new Uint8Array(length)]))) ??
            (await refused(() => image.write(0, [new Uint8Array(Math.min(length, 100_000)).fill(1)]))) ??
            (await refused(() => image.writeZeroes(0, length))) ??
            (await refused(() => image.flush()));
          if (fault !== undefined) faults++;
          await image.close();
        });
        if (whole !== undefined) refusals++;
        watched.isWatching = false;
        await refused(() => checkQcow2(watched, { repair: "all", memoryLimit: 8 << 20 }));
        expect(watched.largest).toBeLessThanOrEqual(32 << 20);
        expect(watched.size).toBeLessThan(before + MOST_GROWTH);
      } catch (error) {
        throw new Error(`mutation ${seed}: ${(error as Error).message}`, { cause: error });
      }
    }
    expect(opened).toBeGreaterThan(MUTATIONS / 10);
    expect(refusals).toBeGreaterThan(MUTATIONS / 10);
    expect(faults).toBeGreaterThan(MUTATIONS / 100);
  });

  it.each<[string, number, readonly number[], RegExp]>([
    [
      "an L1 table that is too large",
      36,
      [0x10, 0, 0, 0],
      /the header's L1 table at offset 0x24 would have 2147483648 bytes/,
    ],
    ["too many snapshots", 60, [0, 1, 0, 1], /nb_snapshots at offset 0x3c is 65537/],
    [
      "a refcount table that is too large",
      56,
      [0, 1, 0, 0],
      /the header's refcount table at offset 0x30 would have/,
    ],
    [
      "a refcount table outside",
      48,
      [0, 0, 1, 0],
      /refcount table at offset 0x30 is 65536 bytes at 0x10000010000, behind the file's end/,
    ],
    [
      "an L1 table in the header",
      40,
      [0, 0, 0, 0, 0, 0, 0, 0],
      /L1 table at offset 0x24 is at 0x0, where the header is/,
    ],
    ["clusters that are too small", 20, [0, 0, 0, 8], /cluster_bits at offset 0x14 is 8, not 9 to 21/],
    ["wide refcounts", 96, [0, 0, 0, 7], /refcount_order at offset 0x60 is 7/],
    ["an unknown feature", 72, [0, 0, 0, 1], /the incompatible feature bit 32, which is not supported/],
    ["a feature with a name", 79, [1 << 5], /the incompatible feature bit 5/],
    ["an external data file", 79, [4], /an external data file, which is not supported/],
    ["a disk larger than its tables", 24, [0, 0, 1], /too few for a disk/],
    ["another version", 7, [4], /qcow2 version 4/],
    [
      "tables on each other",
      40,
      [0, 0, 0, 0, 0, 1, 0, 0],
      /the header's refcount table at offset 0x30 overlaps the L1 table/,
    ],
  ])("%s", async (_, at, bytes, message) => {
    const file = new MemoryFile("hostile.qcow2");
    await createQcow2(file, { size: 1 << 20 });
    await file.write(at, [Uint8Array.from(bytes)]);
    await expect(Qcow2Image.open(file)).rejects.toThrow(message);
  });
});

describe("a refcount that is zero in use", () => {
  it("is found, mended, and never leads to a write over a table", async () => {
    const file = new MemoryFile("torn.qcow2");
    await createQcow2(file, { size: 1 << 20, clusterSize: 4096 });
    const image = await Qcow2Image.open(file);
    await image.write(0, [new Uint8Array(20_000).fill(4)]);
    await image.close();
    // All counts of the first block.
    await file.write(2 * 4096, [new Uint8Array(4096)]);
    const found = await checkQcow2(file);
    expect(found.corruptions.count).toBeGreaterThan(8);
    const careless = file.copy();
    const open = await Qcow2Image.open(careless);
    await open.write(500_000, [new Uint8Array(10_000).fill(5)]);
    await open.close();
    const bytes = new Uint8Array(4);
    await careless.read(0, [bytes]);
    expect([...bytes]).toEqual([0x51, 0x46, 0x49, 0xfb]);
    const mended = await checkQcow2(file, { repair: "all" });
    expect(mended).toMatchObject({ corruptions: { count: 0 }, leaks: { count: 0 } });
    expect(mended.repaired.corruptions).toBe(found.corruptions.count);
    const again = await Qcow2Image.open(file);
    const there = new Uint8Array(20_000);
    await again.read(0, [there]);
    expect(new Set(there)).toEqual(new Set([4]));
    await again.close();
  });

  it("is mended on open where the image was not closed", async () => {
    const file = new MemoryFile("dirty.qcow2");
    await createQcow2(file, { size: 1 << 20, clusterSize: 512, lazyRefcounts: true });
    const image = await Qcow2Image.open(file);
    await image.write(0, [new Uint8Array(300_000).fill(4)]);
    await image.close();
    // No refcount block is there any more but the first, whose counts are gone; the dirty bit says so.
    await file.write(512, [Uint8Array.from([0, 0, 0, 0, 0, 0, 4, 0])]);
    await file.write(520, [new Uint8Array(504)]);
    await file.write(1024, [new Uint8Array(512)]);
    await file.write(79, [Uint8Array.of(1)]);
    const open = await Qcow2Image.open(file);
    expect(open.header.incompatible).toBe(0);
    const there = new Uint8Array(300_000);
    await open.read(0, [there]);
    expect(new Set(there)).toEqual(new Set([4]));
    await open.write(400_000, [new Uint8Array(100_000).fill(6)]);
    await open.close();
    expect(await checkQcow2(file)).toMatchObject({ corruptions: { count: 0 }, leaks: { count: 0 } });
  });
});
