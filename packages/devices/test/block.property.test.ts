/**
 * The block device against drivers that mean harm, and against a model of a disk: nothing that a driver asks reaches
 * outside its memory or its disk, keeps the device from the next request, or loses what was flushed.
 */
import { expect, test } from "vitest";
import { type BlockBackend, MemoryFile, RawBackend } from "../src/disk/index.js";
import { BlockDriver, RecordingDisk, ranges, status, turn, type } from "./block-driver.js";
import { CrashFile } from "./crash-file.js";
import { generator } from "./disk-model.js";
import { FLAG_INDIRECT, FLAG_NEXT, FLAG_WRITE, FlatMemory, writeDescriptor } from "./mock-driver.js";

const BASE = 0x80000000;
const RAM = 0x40000;
/** Of the rings; those of the mock driver hold no more. */
const QUEUE = 128;
const SECTORS = 64;
/** Where chains of generated requests have their bytes. */
const BYTES = BASE + 0x10000;
const TABLE = BASE + 0x8000;
type Random = (end: number) => number;

/** A piece of a generated chain. */
interface Piece {
  readonly gpa: number;
  readonly length: number;
  readonly write: boolean;
}

const pick = <T>(random: Random, list: readonly T[]): T => list[random(list.length)]!;

/** Bytes that a request has the device read: header, and whatever follows. */
function requestBytes(random: Random): Uint8Array {
  const kind = pick(random, [0, 0, 1, 1, 4, 8, 11, 11, 13, 13, 2, 14, random(2 ** 31)]);
  const header = new Uint8Array(16);
  const view = new DataView(header.buffer);
  view.setUint32(0, kind, true);
  const sector = pick(random, [0, random(SECTORS), SECTORS - 1, SECTORS, 2 ** 32 * random(2 ** 31), 2 ** 52]);
  view.setBigUint64(8, BigInt(sector) + (random(20) === 0 ? 2n ** 63n : 0n), true);
  const count = random(4);
  const data =
    kind === 11 || kind === 13
      ? ranges(
          ...Array.from(
            { length: count },
            () =>
              [
                pick(random, [random(SECTORS), SECTORS, 2 ** 40]),
                pick(random, [0, 1, random(SECTORS), 2 ** 32 - 1]),
                pick(random, [0, 0, 0, 1, 2, 2 ** 31]),
              ] as const,
          ),
        )
      : new Uint8Array(pick(random, [0, 512, 512 * count, random(1500)])).fill(1 + random(255));
  const whole = Uint8Array.of(...header, ...data);
  return random(8) === 0 ? whole.slice(0, random(whole.length + 1)) : whole;
}

/** Splits bytes at random. */
function split(random: Random, gpa: number, length: number, write: boolean): Piece[] {
  const pieces: Piece[] = [];
  for (let at = 0; at < length; ) {
    const part = random(3) === 0 ? 1 + random(length - at) : length - at;
    pieces.push({ gpa: gpa + at, length: part, write });
    at += part;
  }
  return pieces;
}

/** What the specification asks for; undefined for a chain that can't be answered. */
function expectedStatus(bytes: Uint8Array, writable: number): number | undefined {
  if (bytes.length < 16 || writable < 1) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const fits = (first: bigint, count: number): boolean => first + BigInt(count) <= BigInt(SECTORS);
  const data = bytes.length - 16;
  const first = view.getBigUint64(8, true);
  const good = (isGood: boolean): number => (isGood ? status.ok : status.error);
  switch (view.getUint32(0, true)) {
    case 0:
      return good(writable > 1 && (writable - 1) % 512 === 0 && fits(first, (writable - 1) / 512));
    case 1:
      return good(data > 0 && data % 512 === 0 && fits(first, data / 512));
    case 4:
      return status.ok;
    case 8:
      return good(writable > 1);
    case 11:
    case 13: {
      if (data === 0 || data % 16 !== 0) return status.error;
      for (let at = 16; at < bytes.length; at += 16) {
        const flags = view.getUint32(at + 12, true);
        if (flags > 1 || (flags === 1 && view.getUint32(0, true) === 11)) return status.unsupported;
        if (!fits(view.getBigUint64(at, true), view.getUint32(at + 8, true))) return status.error;
      }
      return status.ok;
    }
    default:
      return status.unsupported;
  }
}

test("20,000 generated requests, most of them malformed, are answered as the specification says", async () => {
  const random = generator(1502);
  const disk = new RecordingDisk(SECTORS);
  const memory = new FlatMemory(BASE, RAM);
  const driver = new BlockDriver({ disk }, memory);
  driver.start([QUEUE]);
  const seen = { ok: 0, error: 0, unsupported: 0, broken: 0 };
  for (let round = 0; round < 20_000; round++) {
    const bytes = requestBytes(random);
    const writable = pick(random, [0, 1, 1, 1, 513, 513, 21, 1 + 512 * random(5), random(3000)]);
    const answers = BYTES + 0x8000;
    memory.bytes.set(bytes, BYTES - BASE);
    memory.bytes.fill(0xee, answers - BASE, answers - BASE + 3100);
    const pieces = [...split(random, BYTES, bytes.length, false), ...split(random, answers, writable, true)];
    const queue = driver.queues[0]!;
    memory.writes.length = 0;
    const work = memory.accesses;
    const isIndirect = pieces.length > 0 && random(3) === 0;
    let head = 0;
    if (isIndirect) {
      pieces.forEach(({ gpa, length, write }, index) => {
        const flags = (write ? FLAG_WRITE : 0) | (index + 1 < pieces.length ? FLAG_NEXT : 0);
        writeDescriptor(memory, TABLE + 16 * index, { gpa, length, flags, next: index + 1 });
      });
      queue.descriptor(0, { gpa: TABLE, length: 16 * pieces.length, flags: FLAG_INDIRECT });
      queue.offer(0);
    } else if (pieces.length > 0) head = queue.chain(pieces);
    else {
      // A descriptor of nothing.
      queue.descriptor(0, { gpa: BYTES, length: 0 });
      queue.offer(0);
    }
    driver.kick(0);
    await turn();

    const expected = expectedStatus(bytes, writable);
    const used = queue.takeUsed();
    const there = memory.bytes.subarray(answers - BASE, answers - BASE + 3100);
    if (expected === undefined) {
      expect([driver.status, used], `round ${round}`).toEqual([79, []]);
      driver.start([QUEUE]);
      seen.broken++;
    } else {
      expect([driver.status, used.length, used[0]?.head], `round ${round}`).toEqual([15, 1, head]);
      expect(there[writable - 1], `round ${round}`).toBe(expected);
      expect(used[0]!.length).toBeLessThanOrEqual(writable);
      // What it says that it wrote, it wrote: the status at least, or data.
      const isOver = memory.writes
        .filter(({ gpa }) => gpa >= answers)
        .reduce((sum, { length }) => sum + length, 0);
      expect(used[0]!.length).toBeLessThanOrEqual(isOver);
      seen[expected === 0 ? "ok" : expected === 1 ? "error" : "unsupported"]++;
    }
    expect(there.subarray(writable).every((byte) => byte === 0xee)).toBe(true);
    const wild = memory.writes.filter(({ gpa, length }) => {
      const inData = gpa >= answers && gpa + length <= answers + writable;
      return !inData && !(gpa >= BASE + 0x1800 && gpa + length <= BASE + 0x1800 + 6 + 8 * QUEUE);
    });
    expect(wild, `round ${round}`).toEqual([]);
    expect(memory.accesses - work).toBeLessThan(500);
    expect(driver.device.busy).toBe(false);
    for (const line of disk.takeLog()) {
      const [, offset = "0", length = "0"] = /(\d+)\+(\d+)/.exec(line) ?? [];
      expect(Number(offset) + Number(length)).toBeLessThanOrEqual(SECTORS * 512);
    }
    memory.bytes.fill(0, TABLE - BASE, TABLE - BASE + 0x4000);
  }
  expect(Object.values(seen).every((count) => count > 1000)).toBe(true);
  expect((await driver.answered({ type: type.in, in: 512 })).status()).toBe(status.ok);
}, 300_000);

/** A disk whose requests take a random number of turns of the event loop, before and after they are done. */
class SlowDisk implements BlockBackend {
  readonly isReadOnly = false;

  constructor(
    private readonly disk: BlockBackend,
    private readonly random: Random,
  ) {}

  get size(): number {
    return this.disk.size;
  }
  read(offset: number, buffers: readonly Uint8Array[]): Promise<void> {
    return this.slowly(() => this.disk.read(offset, buffers));
  }
  write(offset: number, buffers: readonly Uint8Array[]): Promise<void> {
    return this.slowly(() => this.disk.write(offset, buffers));
  }
  flush(): Promise<void> {
    return this.slowly(() => this.disk.flush());
  }
  discard(offset: number, length: number): Promise<void> {
    return this.slowly(() => this.disk.discard(offset, length));
  }
  writeZeroes(offset: number, length: number): Promise<void> {
    return this.slowly(() => this.disk.writeZeroes(offset, length));
  }
  extent(offset: number, length: number) {
    return this.disk.extent(offset, length);
  }
  close(): Promise<void> {
    return this.disk.close();
  }

  private async slowly(job: () => Promise<void>): Promise<void> {
    for (let turns = this.random(4); turns > 0; turns--) await turn();
    await job();
    for (let turns = this.random(4); turns > 0; turns--) await turn();
  }
}

/** Writes of one sector: their marks in order, and how many of them were complete when a flush was asked for. */
interface SectorLife {
  readonly marks: number[];
  complete: number;
}

test.each([
  ["by flushes", [], 40],
  ["by every write, where the guest can't flush", [9, 11], 15],
] as const)(
  "a disk keeps what it was given %s, whatever is in flight",
  async (_, without, runs) => {
    let checked = 0;
    let reads = 0;
    for (let seed = 0; seed < runs; seed++) {
      const random = generator(900 + seed);
      const start = new MemoryFile();
      await start.truncate(SECTORS * 512);
      const file = new CrashFile(start, random);
      const driver = new BlockDriver({
        disk: new SlowDisk(new RawBackend(file), random),
        queues: 2,
        cache: "writeback",
      });
      driver.start([QUEUE, QUEUE], without);
      const lives: SectorLife[] = Array.from({ length: SECTORS }, () => ({ marks: [0], complete: 0 }));
      /** Per sector, the last write that a completed flush covers. */
      let durable = lives.map(() => 0);
      const busy = new Set<number>();
      const inFlight: { head: number; queue: number; done: () => void }[] = [];
      let mark = 0;

      const ask = (): void => {
        const queue = random(2);
        const sector = random(SECTORS - 4);
        const count = 1 + random(4);
        const sectors = Array.from({ length: count }, (_, index) => sector + index);
        const kind = random(10);
        if (kind === 0) {
          const covered = lives.map(({ complete }) => complete);
          const asked = driver.submit({ type: type.flush, queue });
          const done = () => {
            expect(asked.status()).toBe(status.ok);
            durable = durable.map((before, index) => Math.max(before, covered[index]!));
          };
          inFlight.push({ head: asked.head, queue, done });
          return;
        }
        // Requests that overlap, of which one writes, have no order: a driver does not ask for them at once.
        if (sectors.some((each) => busy.has(each))) return;
        for (const each of sectors) busy.add(each);
        const release = () => {
          for (const each of sectors) busy.delete(each);
        };
        if (kind < 4) {
          const asked = driver.submit({ type: type.in, sector, in: count * 512, queue });
          const expected = sectors.map((each) => lives[each]!.marks.at(-1)!);
          const done = () => {
            const view = new DataView(asked.data().buffer);
            expect(sectors.map((_, index) => view.getUint32(index * 512 + 252, true))).toEqual(expected);
            reads++;
            release();
          };
          inFlight.push({ head: asked.head, queue, done });
          return;
        }
        const isZero = kind === 4;
        const value = isZero ? 0 : ++mark;
        const asked = isZero
          ? driver.submit({ type: type.zero, out: ranges([sector, count]), queue })
          : driver.submit({ type: type.out, sector, out: marked(value, count * 512), queue });
        for (const each of sectors) lives[each]!.marks.push(value);
        const done = () => {
          expect(asked.status()).toBe(status.ok);
          for (const each of sectors) {
            lives[each]!.complete = lives[each]!.marks.length - 1;
            if (without.length > 0) durable[each] = lives[each]!.complete;
          }
          release();
        };
        inFlight.push({ head: asked.head, queue, done });
      };

      for (let step = 0; step < 120; step++) {
        for (let count = inFlight.length < 30 ? random(6) : 0; count > 0; count--) ask();
        driver.kick(0);
        driver.kick(1);
        await turn();
        for (const queue of [0, 1])
          for (const { head } of driver.queues[queue]!.takeUsed()) {
            const index = inFlight.findIndex((each) => each.head === head && each.queue === queue);
            expect(index).not.toBe(-1);
            inFlight.splice(index, 1)[0]!.done();
          }
        if (random(10) > 0) continue;
        // A kill now: each sector has what was flushed, or something that was asked for later.
        const image = await file.crash(file.log.length, random);
        const bytes = new Uint8Array(SECTORS * 512);
        await image.read(0, [bytes]);
        const view = new DataView(bytes.buffer);
        lives.forEach(({ marks }, sector) => {
          const there = view.getUint32(sector * 512 + 252, true);
          expect(marks.slice(durable[sector]), `seed ${seed}, step ${step}, sector ${sector}`).toContain(
            there,
          );
          if (durable[sector]! > 0) checked++;
        });
      }
      for (let turns = 0; turns < 200 && driver.device.busy; turns++) await turn();
      expect([driver.device.busy, driver.status]).toEqual([false, 15]);
    }
    expect(checked).toBeGreaterThan(runs * 100);
    expect(reads).toBeGreaterThan(runs * 20);
  },
  300_000,
);

/** Bytes that are all one mark. */
function marked(mark: number, length: number): Uint8Array {
  return new Uint8Array(new Uint32Array(length / 4).fill(mark).buffer);
}
