/** Backups of disks that are written meanwhile: what is copied, what is left, and what a failure leaves. */
import { expect, it } from "vitest";
import { contentOf, generator, randomBytes, randomRequests } from "../../test/disk-model.js";
import { nodeCodecs } from "../node.js";
import {
  type BlockBackend,
  DiskError,
  ImageStore,
  MemoryBackend,
  MemoryPlace,
  TrackedDisk,
} from "./index.js";
import { UnitSet } from "./unit-set.js";

const [SIZE, UNIT] = [300_032, 4096];

/** A disk in memory whose requests take a random number of turns. */
class SlowDisk extends MemoryBackend {
  constructor(private readonly random: (end: number) => number) {
    super(SIZE);
  }

  override async read(offset: number, buffers: readonly Uint8Array[]): Promise<void> {
    await this.wait();
    return super.read(offset, buffers);
  }

  override async write(offset: number, buffers: readonly Uint8Array[]): Promise<void> {
    await this.wait();
    await super.write(offset, buffers);
    await this.wait();
  }

  private async wait(): Promise<void> {
    for (let turns = this.random(8); turns > 0; turns--) await Promise.resolve();
  }
}

it("copies the moment at which a backup began, while the disk is written, and then only what has changed", async () => {
  let partial = 0;
  for (let seed = 1; seed <= 40; seed++) {
    const random = generator(seed);
    const disk = new TrackedDisk(new SlowDisk(random), "disk", UNIT);
    const model = new Uint8Array(SIZE);
    const target = new SlowDisk(random);
    for (let round = 0; round < 4; round++) {
      await randomRequests(disk, model, random, random(12), 4000);
      const moment = model.slice();
      const expected = disk.changedBytes;
      const backup = disk.backup(target);
      await randomRequests(disk, model, random, random(25), 4000);
      const { isWhole, copiedBytes } = await backup;
      expect(isWhole).toBe(round === 0);
      expect(copiedBytes).toBeLessThanOrEqual(expected);
      if (!isWhole && copiedBytes < SIZE / 2) partial++;
      expect(Buffer.compare(await contentOf(target), moment)).toBe(0);
      expect(Buffer.compare(await contentOf(disk), model)).toBe(0);
    }
  }
  expect(partial).toBeGreaterThan(10);
});

it("copies nothing where nothing was written, and everything where that is asked for", async () => {
  const disk = new TrackedDisk(new MemoryBackend(SIZE), "disk", UNIT);
  await disk.write(0, [new Uint8Array(SIZE).fill(3)]);
  const target = new MemoryBackend(SIZE);
  const shares: number[] = [];
  expect(await disk.backup(target, { onProgress: (share) => shares.push(share) })).toEqual({
    isWhole: true,
    copiedBytes: SIZE,
  });
  expect([shares.length, shares.at(-1)]).toEqual([Math.ceil(SIZE / UNIT), 1]);
  expect(await disk.backup(target)).toEqual({ isWhole: false, copiedBytes: 0 });
  await disk.write(UNIT * 3 - 1, [new Uint8Array(2)]);
  expect(disk.changedBytes).toBe(2 * UNIT);
  expect(await disk.backup(target)).toEqual({ isWhole: false, copiedBytes: 2 * UNIT });
  expect((await disk.backup(target, { isWhole: true })).isWhole).toBe(true);
});

it("leaves the next backup all that a failed one had to copy, and never fails its disk", async () => {
  const random = generator(9);
  let failures = 0;
  for (let after = 0; after < 60; after += 3) {
    const disk = new TrackedDisk(new SlowDisk(random), "disk", UNIT);
    const model = new Uint8Array(SIZE);
    await randomRequests(disk, model, random, 10, 20_000);
    const target = new MemoryBackend(SIZE);
    await disk.backup(target);
    await randomRequests(disk, model, random, 10, 20_000);
    let left = after;
    const broken: BlockBackend = Object.create(target, {
      write: {
        value: async (offset: number, buffers: readonly Uint8Array[]) => {
          await Promise.resolve();
          if (left-- <= 0) throw new DiskError("E_DISK_FULL", "no room");
          return target.write(offset, buffers);
        },
      },
    });
    const failing = disk.backup(broken).catch((error) => {
      expect(error.code).toBe("E_DISK_FULL");
      failures++;
    });
    await randomRequests(disk, model, random, 10, 20_000);
    await failing;
    const { isWhole } = await disk.backup(target);
    expect(isWhole).toBe(false);
    expect(Buffer.compare(await contentOf(target), model)).toBe(0);
  }
  expect(failures).toBeGreaterThan(10);
});

it("refuses a second backup meanwhile, and a target of another size", async () => {
  const disk = new TrackedDisk(new SlowDisk(generator(1)), "vda");
  const first = disk.backup(new MemoryBackend(SIZE));
  await expect(disk.backup(new MemoryBackend(SIZE))).rejects.toThrow("vda: a backup is being made");
  await first;
  await expect(disk.backup(new MemoryBackend(SIZE + 1))).rejects.toThrow(
    `vda: the target has ${SIZE + 1} bytes, and the disk ${SIZE}`,
  );
});

it("makes each backup in a store a whole image, of which only what has changed takes room", async () => {
  const place = new MemoryPlace();
  const store = new ImageStore(place, nodeCodecs);
  const disk = new TrackedDisk(new MemoryBackend(SIZE), "vda", 16_384);
  const random = generator(4);
  await store.create("backup-0", { size: SIZE, chunkBytes: 16_384 });
  const moments: Uint8Array[] = [];
  const objects: number[] = [];
  for (let number = 0; number < 4; number++) {
    await disk.write(number * 20_000, [randomBytes(random, 30_000).map((byte, at) => byte ^ at)]);
    if (number > 0) await store.clone(`backup-${number - 1}`, `backup-${number}`);
    const target = await store.open(`backup-${number}`, { isWritable: true });
    await disk.backup(target);
    await target.close();
    moments.push(await contentOf(disk));
    let count = 0;
    for await (const _ of place.list("chunks/")) count++;
    objects.push(count);
  }
  for (const [number, moment] of moments.entries())
    expect(Buffer.compare(await contentOf(await store.open(`backup-${number}`)), moment)).toBe(0);
  // At most three units that were touched, and the page that names them.
  for (let number = 1; number < 4; number++)
    expect(objects[number]! - objects[number - 1]!).toBeLessThanOrEqual(4);
});

it("keeps sets of units as sets do", () => {
  const random = generator(6);
  for (const end of [0, 1, 31, 32, 33, 1000]) {
    const [set, model] = [new UnitSet(end), new Set<number>()];
    for (let round = 0; round < 500 && end > 0; round++) {
      const unit = random(end);
      if (random(2) === 0) {
        set.add(unit);
        model.add(unit);
      } else {
        set.delete(unit);
        model.delete(unit);
      }
    }
    expect([...set]).toEqual([...model].sort((one, other) => one - other));
    expect([set.size, [...set.copy()].length, [...UnitSet.all(end)].length]).toEqual([
      model.size,
      model.size,
      end,
    ]);
  }
});
