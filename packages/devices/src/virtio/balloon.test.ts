import fc from "fast-check";
import { beforeEach, describe, expect, it } from "vitest";
import { FlatMemory, MockDriver, RING_SPACE } from "../../test/mock-driver.js";
import { type VirtioBalloon, virtioBalloon } from "./balloon.js";

const BASE = 0x80000000;
const PAGES = 64;
/** Past the rings of five queues. */
const BUFFERS = BASE + 5 * RING_SPACE;
const FREE = BASE + 16 * 4096;
const sizes = [16, 16, 16, 16, 16];

let memory: FlatMemory;
let driver: MockDriver;
let balloon: VirtioBalloon;
let given: Set<number>;
let discarded: number[];

const inRam = (gpa: number) => gpa >= BASE && gpa < BASE + PAGES * 4096;
const make = () => {
  given = new Set();
  discarded = [];
  memory = new FlatMemory(BASE, PAGES * 4096);
  balloon = virtioBalloon({
    memory: {
      pages: PAGES,
      inflate: (gpa) => inRam(gpa) && !given.has(gpa) && given.add(gpa) !== undefined,
      deflate: (gpa) => given.delete(gpa),
      discard: (gpa) => inRam(gpa) && discarded.push(gpa) > 0,
    },
  });
  driver = new MockDriver(balloon.device, memory);
  driver.start(sizes);
};
beforeEach(make);

/** Stores page numbers; gives the buffer. */
const numbers = (...pages: number[]) => {
  pages.forEach((page, index) => {
    memory.view.setUint32(BUFFERS - BASE + 4 * index, page, true);
  });
  return { gpa: BUFFERS, length: 4 * pages.length };
};
const page = (index: number) => BASE / 4096 + index;

describe("a balloon", () => {
  it("is one, with its target in the configuration space", () => {
    expect(driver.get(8)).toBe(5);
    driver.takeInterrupt();
    balloon.setTarget(20);
    expect(driver.takeInterrupt()).toBe(2);
    expect([driver.get(0x100), driver.get(0x104), balloon.target]).toEqual([20, 0, 20]);
    balloon.setTarget(20);
    expect(driver.get(0x60)).toBe(0);
    driver.set(0x104, 17);
    expect([balloon.actual, driver.get(0x104)]).toEqual([17, 17]);
    driver.set(0x100, 99);
    expect(driver.get(0x100)).toBe(20);
    balloon.setTarget(1e9);
    expect(balloon.target).toBe(PAGES);
  });

  it("takes pages and gives them back", () => {
    driver.queues[0]!.chain([numbers(page(20), page(21), page(30))]);
    driver.kick(0);
    expect([...given]).toEqual([FREE + 4 * 4096, FREE + 5 * 4096, FREE + 14 * 4096]);
    expect(driver.takeInterrupt()).toBe(1);
    expect(driver.queues[0]!.takeUsed()).toEqual([{ head: 0, length: 0 }]);
    driver.queues[1]!.chain([numbers(page(21))]);
    driver.kick(1);
    expect(given.size).toBe(2);
    expect(driver.device.counters).toMatchObject({ inflated: 3, deflated: 1, refused: 0 });
  });

  it("counts pages that are none, given twice, or never given, and goes on", () => {
    driver.queues[0]!.chain([numbers(page(20), page(20), 0, page(PAGES), 0xffffffff, page(-1))]);
    driver.kick(0);
    driver.queues[1]!.chain([numbers(page(33))]);
    driver.kick(1);
    expect(driver.device.counters).toMatchObject({ inflated: 1, deflated: 0, refused: 6, rejects: 0 });
  });

  it.each([3, 4])("takes reports of unused memory in queue %i, whole pages only", (queue) => {
    driver.queues[queue]!.chain([
      { gpa: FREE, length: 2 * 4096, write: true },
      { gpa: FREE + 5 * 4096 + 1, length: 2 * 4096, write: true },
      { gpa: FREE + 9 * 4096, length: 4095, write: true },
    ]);
    driver.kick(queue);
    expect(discarded).toEqual([FREE, FREE + 4096, FREE + 6 * 4096]);
    expect(driver.queues[queue]!.takeUsed()).toHaveLength(1);
    // The device writes nothing there.
    expect(memory.writes.some(({ gpa }) => gpa >= FREE)).toBe(false);
  });

  it("reads statistics when asked to, and gives the buffer back for the next", () => {
    const fill = (entries: [number, number][]) => {
      entries.forEach(([tag, value], index) => {
        memory.view.setUint16(BUFFERS - BASE + 10 * index, tag, true);
        memory.view.setBigUint64(BUFFERS - BASE + 10 * index + 2, BigInt(value), true);
      });
      return { gpa: BUFFERS, length: 10 * entries.length };
    };
    const offered = fill([
      [4, 5 * 2 ** 32],
      [5, 1000],
      [77, 3],
    ]);
    driver.queues[2]!.chain([offered]);
    driver.kick(2);
    expect(balloon.statistics).toEqual({});
    balloon.requestStatistics();
    expect(balloon.statistics).toEqual({ freeMemory: 5 * 2 ** 32, totalMemory: 1000 });
    expect(driver.takeInterrupt() & 1).toBe(1);
    balloon.requestStatistics();
    fill([
      [4, 7],
      [5, 1000],
      [3, 2],
    ]);
    driver.queues[2]!.offer(0);
    driver.kick(2);
    balloon.requestStatistics();
    expect(balloon.statistics).toEqual({ freeMemory: 7, totalMemory: 1000, minorFaults: 2 });
    expect(driver.device.counters.statistics).toBe(2);
  });

  it("saves and restores its state, and refuses another's", () => {
    balloon.setTarget(9);
    driver.set(0x104, 4);
    const saved = structuredClone(driver.device.save());
    make();
    driver.device.restore(saved);
    expect(driver.device.save()).toEqual(saved);
    expect([balloon.target, balloon.actual]).toEqual([9, 4]);
    // More pages than the guest has are none that it could be asked for.
    for (const target of [-1, 0xffffffff]) {
      expect(() => driver.device.restore({ ...saved, device: { target, actual: 0 } })).toThrow(
        /saved state of balloon: target must be an integer from 0 to \d+$/,
      );
    }
  });
});

describe("a hostile driver", () => {
  const broken = () => (driver.get(0x70) & 64) !== 0;

  it.each([
    ["no numbers", 0, [{ gpa: BUFFERS, length: 4, write: true }]],
    ["half a number", 0, [{ gpa: BUFFERS, length: 6 }]],
    ["too many numbers", 1, [{ gpa: BASE, length: 4 * 4096 + 4 }]],
    ["a report of nothing", 3, [{ gpa: FREE, length: 4096 }]],
    [
      "a report of more than there is",
      4,
      [
        { gpa: BASE, length: PAGES * 4096, write: true },
        { gpa: FREE, length: 1, write: true },
      ],
    ],
    ["a report outside RAM", 3, [{ gpa: BASE + PAGES * 4096, length: 4096, write: true }]],
  ] as const)("is told so: %s", (_, queue, buffers) => {
    driver.queues[queue]!.chain(buffers);
    driver.kick(queue);
    expect(broken()).toBe(true);
    expect([given.size, discarded.length]).toEqual([0, 0]);
    driver.start(sizes);
    driver.queues[0]!.chain([numbers(page(40))]);
    driver.kick(0);
    expect(given.size).toBe(1);
  });

  it("is told so: statistics without end", () => {
    driver.queues[2]!.chain([{ gpa: BASE, length: 641 }]);
    driver.kick(2);
    balloon.requestStatistics();
    expect(broken()).toBe(true);
  });

  it("gets nowhere with requests before the device is ready, or after a reset", () => {
    driver.set(0x70, 0);
    driver.kick(0);
    balloon.setTarget(5);
    balloon.requestStatistics();
    expect(balloon.live).toBe(false);
    expect(driver.get(0x60)).toBe(0);
  });

  it("that gives up the pages of its own rings breaks its own device only", () => {
    const bytes = memory.bytes;
    balloon = virtioBalloon({
      memory: {
        pages: PAGES,
        inflate(gpa) {
          if (!inRam(gpa)) return false;
          bytes.fill(0, gpa - BASE, gpa - BASE + 4096);
          return true;
        },
        deflate: () => true,
        discard: () => true,
      },
    });
    driver = new MockDriver(balloon.device, memory);
    driver.start(sizes);
    driver.queues[0]!.chain([numbers(...Array.from({ length: 10 }, (_, index) => page(index)))]);
    driver.kick(0);
    expect(driver.device.counters.inflated).toBe(10);
    expect(driver.get(0)).toBe(0x74726976);
  });

  const runs = Number(process.env.HYPERFILE_HOSTILE_CHAINS ?? 1000);
  it("survives generated chains: nothing thrown, work bounded, and a new driver is served", () => {
    const buffer = fc.record({
      gpa: fc.oneof(
        { weight: 4, arbitrary: fc.integer({ min: BASE, max: BASE + PAGES * 4096 + 16 }) },
        { weight: 1, arbitrary: fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER }) },
      ),
      length: fc.oneof(
        { weight: 4, arbitrary: fc.integer({ min: 1, max: 600 }).map((words) => words * 4) },
        { weight: 1, arbitrary: fc.integer({ min: 0, max: 0xffffffff }) },
      ),
      flags: fc.nat(7),
      next: fc.nat(17),
    });
    const chain = fc.record({
      queue: fc.nat(4),
      buffers: fc.array(buffer, { minLength: 1, maxLength: 6 }),
      head: fc.nat(17),
      fill: fc.nat(0xff),
    });
    fc.assert(
      fc.property(fc.array(chain, { minLength: 1, maxLength: 5 }), (chains) => {
        make();
        memory.bytes.fill(0x80, 5 * RING_SPACE);
        for (const { queue, buffers, head, fill } of chains) {
          const rings = driver.queues[queue]!;
          buffers.forEach((each, index) => {
            rings.descriptor(index, each);
          });
          memory.bytes.fill(fill, BUFFERS - BASE, BUFFERS - BASE + 4096);
          rings.offer(head);
          const before = memory.accesses;
          driver.kick(queue);
          balloon.requestStatistics();
          expect(memory.accesses - before).toBeLessThan(2000);
        }
        for (const gpa of [...given, ...discarded]) expect(inRam(gpa)).toBe(true);
        given.clear();
        driver.start(sizes);
        driver.queues[0]!.chain([numbers(page(50))]);
        driver.kick(0);
        expect([...given]).toEqual([page(50) * 4096]);
      }),
      { numRuns: runs },
    );
  });
});
