/**
 * A kill before each operation on the file, with what was not flushed kept or lost at random: the image is without
 * corruption, what was flushed is there, and it can be written again.
 */
import { describe, expect, it } from "vitest";
import { CrashFile } from "../../../test/crash-file.js";
import { contentOf, generator, randomBytes } from "../../../test/disk-model.js";
import { nodeCodecs } from "../../node.js";
import { checkQcow2, createQcow2, MemoryBackend, MemoryFile, Qcow2Image } from "../index.js";

const POINTS = Number(process.env.HYPERFILE_CRASH_POINTS ?? 150);

/** What the guest knew when: a write that began, or a flush that was done. */
type Event =
  | { readonly kind: "write"; readonly at: number; readonly offset: number; readonly length: number }
  | { readonly kind: "flush"; readonly at: number; readonly model: Uint8Array };

describe.each([
  [
    "small clusters, a refcount table that grows",
    { clusterSize: 512, refcountBits: 64, size: 3_000_000, unit: 120_000 },
  ],
  ["version 2", { clusterSize: 1024, version: 2, size: 400_000, unit: 9_000 }],
  ["over another disk", { clusterSize: 4096, size: 400_000, unit: 9_000, below: 300_000 }],
  [
    "compressed, one refcount bit",
    { clusterSize: 4096, refcountBits: 1, size: 400_000, unit: 9_000, packed: true },
  ],
  ["compressed", { clusterSize: 2048, size: 400_000, unit: 9_000, packed: true }],
] as const)("killed: %s", (_, set: CrashSet) => {
  it(`at ${POINTS} operations`, { timeout: 300_000 }, async () => {
    const random = generator(set.size + set.clusterSize);
    const base = new MemoryFile("base");
    const { unit, below = 0, packed = false, ...options } = set;
    await createQcow2(base, options);
    const file = new CrashFile(base, random);
    const backing = below === 0 ? undefined : new MemoryBackend(below);
    await backing?.write(0, [randomBytes(random, below)]);
    const model = new Uint8Array(Math.ceil(set.size / 512) * 512);
    await backing?.read(0, [model.subarray(0, below)]);
    const with_ = { codecs: nodeCodecs, ...(backing && { backing }) };
    const image = await Qcow2Image.open(file, with_);
    const events: Event[] = [{ kind: "flush", at: 0, model: model.slice() }];
    const began = (offset: number, bytes: Uint8Array) => {
      events.push({ kind: "write", at: file.log.length, offset, length: bytes.length });
      model.set(bytes, offset);
    };
    for (let round = 0; round < 40; round++) {
      const jobs: Promise<void>[] = [];
      for (let lane = 0; lane < 4; lane++) {
        const width = Math.floor(model.length / 4);
        const bytes = randomBytes(random, 1 + random(unit));
        const offset = lane * width + random(width - bytes.length);
        const kind = random(5);
        if (kind === 0) {
          began(offset, new Uint8Array(bytes.length));
          jobs.push(image.writeZeroes(offset, bytes.length));
        } else if (kind === 1 && packed) {
          const start = Math.floor((lane * width) / set.clusterSize + 1) * set.clusterSize;
          const cluster = randomBytes(random, set.clusterSize);
          began(start, cluster);
          jobs.push(image.writeCompressed(start, cluster));
        } else {
          began(offset, bytes);
          jobs.push(image.write(offset, [bytes]));
        }
      }
      if (random(4) === 0) jobs.push(image.flush());
      await Promise.all(jobs);
      if (random(2) === 0) {
        await image.flush();
        events.push({ kind: "flush", at: file.log.length, model: model.slice() });
      }
    }
    if (set.unit > 100_000) expect(image.header.refcountTableClusters).toBeGreaterThan(1);
    const operations = file.log.length;
    expect(operations).toBeGreaterThan(POINTS);
    let unflushed = 0;
    for (let point = 0; point < POINTS; point++) {
      const end = Math.floor((point * operations) / POINTS) + random(Math.ceil(operations / POINTS));
      const crashed = await file.crash(end, random);
      const report = await checkQcow2(crashed);
      expect({ end, corruptions: report.corruptions.first }).toEqual({ end, corruptions: [] });
      const again = await Qcow2Image.open(crashed, with_);
      const before = events.filter(({ at }) => at <= end);
      const last = before.findLastIndex(({ kind }) => kind === "flush");
      const expected = before[last] as Event & { kind: "flush" };
      const there = await contentOf(again);
      const known = expected.model.slice();
      for (const event of before.slice(last)) {
        if (event.kind !== "write") continue;
        unflushed++;
        // The guest has no word for these yet: they are old, new, or partly both.
        known.set(there.subarray(event.offset, event.offset + event.length), event.offset);
      }
      expect({ end, differs: Buffer.compare(known, there) }).toEqual({ end, differs: 0 });
      await again.write(100, [new Uint8Array(5000).fill(3)]);
      await again.flush();
      const after = await checkQcow2(crashed, { repair: "leaks" });
      expect({ end, corruptions: after.corruptions.first, leaks: after.leaks.count }).toEqual({
        end,
        corruptions: [],
        leaks: 0,
      });
    }
    expect(unflushed).toBeGreaterThan(POINTS);
  });
});

interface CrashSet {
  readonly clusterSize: number;
  readonly size: number;
  readonly unit: number;
  readonly refcountBits?: number;
  readonly version?: 2 | 3;
  readonly below?: number;
  readonly packed?: boolean;
}
