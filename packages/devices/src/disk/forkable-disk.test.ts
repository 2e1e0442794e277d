/** Forks of a disk that is written in place: each keeps its moment, whatever the disk and the other forks do. */
import { describe, expect, it } from "vitest";
import type { BlockBackend } from "./block-backend.js";
import { ForkableDisk } from "./forkable-disk.js";
import { MemoryBackend } from "./memory-backend.js";

const CHUNK = 65536;
const CHUNKS = 6;
const SIZE = CHUNKS * CHUNK - 1024;

/** A memory disk that counts reads, can be slow, and can fail. */
class Base extends MemoryBackend {
  reads = 0;
  closes = 0;
  failure: Error | undefined;

  constructor() {
    super(SIZE);
  }

  override async read(offset: number, buffers: readonly Uint8Array[]): Promise<void> {
    this.reads++;
    await new Promise((resolve) => setImmediate(resolve));
    if (this.failure !== undefined) throw this.failure;
    await super.read(offset, buffers);
  }

  override async close(): Promise<void> {
    this.closes++;
    await super.close();
  }
}

async function all(disk: BlockBackend): Promise<Buffer> {
  const bytes = Buffer.alloc(disk.size);
  await disk.read(0, [bytes]);
  return bytes;
}

const fill = (disk: BlockBackend, at: number, length: number, value: number) =>
  disk.write(at, [new Uint8Array(length).fill(value)]);

describe("a disk with forks", () => {
  it("keeps each fork as it was, against 3,000 random changes of all, with model and memory to the end", async () => {
    for (const seed of [1, 2, 3]) {
      let state = seed;
      const random = (below: number): number => {
        state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff;
        return (state >>> 8) % below;
      };
      const base = new Base();
      const disk = new ForkableDisk(base);
      const model: { disk: BlockBackend; bytes: Buffer }[] = [{ disk, bytes: Buffer.alloc(SIZE) }];
      for (let step = 0; step < 1000; step++) {
        const what = random(20);
        const one = model[random(model.length)]!;
        if (what === 0 && model.length < 8) {
          const fork = one.disk.fork!();
          model.push({ disk: fork, bytes: Buffer.from(one.bytes) });
        } else if (what === 1 && model.length > 1) {
          const [gone] = model.splice(1 + random(model.length - 1), 1);
          await gone!.disk.close();
        } else {
          const at = random(SIZE - 1);
          const length = 1 + random(Math.min(SIZE - at - 1, 2 * CHUNK) || 1);
          if (what < 5) {
            await one.disk.writeZeroes(at, length);
            one.bytes.fill(0, at, at + length);
          } else if (what < 14) {
            const value = 1 + random(255);
            await fill(one.disk, at, length, value);
            one.bytes.fill(value, at, at + length);
          } else {
            const bytes = Buffer.alloc(length);
            await one.disk.read(at, [bytes]);
            expect(bytes.equals(one.bytes.subarray(at, at + length))).toBe(true);
          }
        }
      }
      for (const { disk: each, bytes } of model) expect((await all(each)).equals(bytes)).toBe(true);
      for (const { disk: each } of model.slice(1)) await each.close();
      expect(disk.keptBytes).toBe(0);
      expect(base.closes).toBe(0);
      await disk.close();
      expect(base.closes).toBe(1);
    }
  });

  it("keeps a chunk once for many forks, and nothing for writes that follow", async () => {
    const base = new Base();
    const disk = new ForkableDisk(base);
    await fill(disk, 0, SIZE, 7);
    const forks = Array.from({ length: 30 }, () => disk.fork());
    await fill(disk, 10, 10, 1);
    await fill(disk, 20, 10, 2);
    expect(disk.keptBytes).toBe(CHUNK);
    expect(base.reads).toBe(1);
    for (const fork of forks) expect((await all(fork)).every((byte) => byte === 7)).toBe(true);
    const later = disk.fork();
    await fill(disk, 30, 1, 3);
    expect(disk.keptBytes).toBe(2 * CHUNK);
    for (const fork of forks) await fork.close();
    expect(disk.keptBytes).toBe(CHUNK);
    expect((await all(later)).subarray(10, 31)).toEqual(
      Buffer.concat([Buffer.alloc(10, 1), Buffer.alloc(10, 2), Buffer.alloc(1, 7)]),
    );
  });

  it("gives writes that come at once their turns: a fork that is read meanwhile sees none of them", async () => {
    const disk = new ForkableDisk(new Base());
    await fill(disk, 0, SIZE, 9);
    const fork = disk.fork();
    const writes = Array.from({ length: 40 }, (_, at) => fill(disk, at * 7000, 5000, 1 + (at % 7)));
    const reads = Array.from({ length: 20 }, () => all(fork));
    for (const bytes of await Promise.all(reads)) expect(bytes.every((byte) => byte === 9)).toBe(true);
    await Promise.all(writes);
    expect((await all(fork)).every((byte) => byte === 9)).toBe(true);
    expect((await all(disk))[39 * 7000]).toBe(1 + (39 % 7));
  });

  it("is closed with its last fork, and forks read on when it is closed before them", async () => {
    const base = new Base();
    const disk = new ForkableDisk(base);
    await fill(disk, 0, SIZE, 5);
    const fork = disk.fork();
    const twin = fork.fork!();
    await disk.close();
    await disk.close();
    expect(base.closes).toBe(0);
    await fill(fork, 0, 10, 1);
    expect((await all(twin))[0]).toBe(5);
    await fork.close();
    await fork.close();
    expect((await all(twin))[0]).toBe(5);
    await twin.close();
    expect(base.closes).toBe(1);
  });

  it.each([
    ["more is kept than may be", { limitBytes: 2 * CHUNK }, undefined, "E_DISK_FULL"],
    ["it can't be read", {}, new Error("broken"), "E_DISK_IO"],
  ])("fails its forks, not itself, when %s", async (_, options, failure, code) => {
    const base = new Base();
    const disk = new ForkableDisk(base, options);
    await fill(disk, 0, SIZE, 5);
    const fork = disk.fork();
    base.failure = failure;
    for (let index = 0; index < CHUNKS - 1; index++) await fill(disk, index * CHUNK, 10, 6);
    base.failure = undefined;
    await expect(all(fork)).rejects.toMatchObject({ code });
    expect(disk.keptBytes).toBe(0);
    expect((await all(disk))[0]).toBe(6);
    // A fork that is made now is a good one.
    const later = disk.fork();
    await fill(disk, 0, 10, 8);
    expect((await all(later))[0]).toBe(6);
    for (const each of [fork, later, disk]) await each.close();
    expect(base.closes).toBe(1);
  });

  it("limits what a fork writes", async () => {
    const disk = new ForkableDisk(new Base(), { forkLimitBytes: CHUNK });
    const fork = disk.fork();
    await fill(fork, 0, 10, 1);
    await expect(fill(fork, CHUNK, 10, 1)).rejects.toMatchObject({ code: "E_DISK_FULL" });
  });
});
