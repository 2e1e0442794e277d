import { describe, expect, test } from "vitest";
import {
  type Ask,
  BlockDriver,
  RecordingDisk,
  ranges,
  status,
  turn,
  type,
} from "../../../test/block-driver.js";
import { FlatMemory } from "../../../test/mock-driver.js";
import { DeviceStateError } from "../../state.js";
import { type VirtioBlockOptions, virtioBlock } from "./block.js";
import { blockFeatures } from "./config-space.js";

const SECTORS = 4096;
/** Of the rings; those of the mock driver hold no more. */
const QUEUE = 128;
const { flush, configWce, discard, writeZeroes, readOnly, multiQueue } = blockFeatures;

function started(options: Partial<VirtioBlockOptions> = {}, without: readonly number[] = []) {
  const disk = new RecordingDisk(SECTORS);
  const driver = new BlockDriver({ disk, ...options });
  driver.start(Array<number>(options.queues ?? 1).fill(QUEUE), without);
  return { disk, driver };
}
const filled = (length: number, value: number): Uint8Array => new Uint8Array(length).fill(value);
const offers = (driver: BlockDriver, bit: number): boolean => {
  driver.set(0x14, bit >> 5);
  return ((driver.get(0x10) >>> (bit & 31)) & 1) === 1;
};

/** Memory in which the second sector of every piece of data is missing. */
class HoledMemory extends FlatMemory {
  constructor() {
    super(0x80000000, 0x420000);
  }
  override read(gpa: number, target: Uint8Array): boolean {
    return !this.isHole(gpa, target.length) && super.read(gpa, target);
  }
  override write(gpa: number, source: Uint8Array): boolean {
    return !this.isHole(gpa, source.length) && super.write(gpa, source);
  }
  private isHole(gpa: number, length: number): boolean {
    const at = (gpa - this.base) & 0xffff;
    return gpa >= this.base + 0x20000 && at < 0x300 && at + length > 0x200;
  }
}

describe("requests by the book", () => {
  test("what was written is read back, and the used lengths are those of what the device wrote", async () => {
    const { disk, driver } = started();
    const written = await driver.answered({ type: type.out, sector: 3, out: filled(1024, 7) });
    const read = await driver.answered({ type: type.in, sector: 2, in: 1536 });
    expect([written.status(), read.status()]).toEqual([status.ok, status.ok]);
    expect(read.data()).toEqual(Uint8Array.of(...filled(512, 0), ...filled(1024, 7)));
    expect(driver.queues[0]!.takeUsed()).toEqual([
      { head: written.head, length: 1 },
      { head: read.head, length: 1537 },
    ]);
    expect(disk.log).toEqual(["write 1536+1024", "read 1024+1536"]);
    expect(driver.device.counters).toMatchObject({
      reads: 1,
      writes: 1,
      bytesRead: 1536,
      bytesWritten: 1024,
    });
    expect([driver.irq.level, driver.takeInterrupt()]).toEqual([true, 1]);
  });

  test("a flush, an identity, and the whole disk to its last sector", async () => {
    const { disk, driver } = started({ serial: "disk-17" });
    const flushed = await driver.answered({ type: type.flush });
    const id = await driver.answered({ type: type.id, in: 20 });
    const last = await driver.answered({ type: type.in, sector: SECTORS - 1, in: 512 });
    expect([flushed, id, last].map((each) => each.status())).toEqual([status.ok, status.ok, status.ok]);
    expect(new TextDecoder().decode(id.data())).toBe(`disk-17${"\0".repeat(13)}`);
    expect(driver.queues[0]!.takeUsed().map(({ length }) => length)).toEqual([1, 21, 513]);
    expect(disk.log).toEqual(["flush", "read 2096640+512"]);
  });

  test("discards and zeroes of several ranges, with and without unmapping", async () => {
    const { disk, driver } = started();
    const discarded = await driver.answered({ type: type.discard, out: ranges([1, 2], [100, 8]) });
    const zeroed = await driver.answered({ type: type.zero, out: ranges([5, 1, 1], [7, 1, 0], [9, 0]) });
    expect([discarded.status(), zeroed.status()]).toEqual([status.ok, status.ok]);
    expect(disk.log).toEqual([
      "discard 512+1024",
      "discard 51200+4096",
      "zero 2560+512 unmap",
      "zero 3584+512 keep",
      "zero 4608+0 keep",
    ]);
  });

  test("where a buffer ends says nothing: header, data and status in any pieces", async () => {
    const { driver } = started();
    const { memory, queues } = driver;
    const at = memory.base + 0x10000;
    memory.view.setUint32(0x10000, type.in, true);
    memory.view.setBigUint64(0x10008, 8n, true);
    memory.bytes.fill(0xdd, 0x20000, 0x20000 + 520);
    const head = queues[0]!.chain([
      { gpa: at, length: 3 },
      { gpa: at + 3, length: 13 },
      { gpa: memory.base + 0x20000, length: 1, write: true },
      { gpa: memory.base + 0x20001, length: 512, write: true },
    ]);
    driver.kick(0);
    await turn();
    expect(queues[0]!.takeUsed()).toEqual([{ head, length: 513 }]);
    expect(memory.bytes.slice(0x20000, 0x20000 + 514)).toEqual(Uint8Array.of(...filled(513, 0), 0xdd));
  });

  test("a long request goes through the host in steps", async () => {
    const disk = new RecordingDisk(3 * 2048 + 1);
    const driver = new BlockDriver({ disk });
    driver.start([QUEUE]);
    // The same 64 KiB of the guest, again and again.
    const { memory } = driver;
    memory.view.setUint32(0x10000, type.in, true);
    memory.view.setBigUint64(0x10008, 1n, true);
    driver.queues[0]!.chain([
      { gpa: memory.base + 0x10000, length: 16 },
      ...Array.from({ length: 48 }, () => ({ gpa: memory.base + 0x20000, length: 0x10000, write: true })),
      { gpa: memory.base + 0x10010, length: 1, write: true },
    ]);
    driver.kick(0);
    await turn();
    expect(disk.log).toEqual(["read 512+1048576", "read 1049088+1048576", "read 2097664+1048576"]);
    expect(driver.queues[0]!.takeUsed()).toEqual([{ head: 0, length: 3 * 2 ** 20 + 1 }]);
  });
});

describe("requests in flight", () => {
  test("overlap, and complete as the disk answers", async () => {
    const { disk, driver } = started();
    disk.isHolding = true;
    const asked = [0, 1, 2].map((sector) => driver.ask({ type: type.in, sector, in: 512 }));
    await turn();
    expect([disk.held.length, driver.device.busy]).toEqual([3, true]);
    disk.answer(2);
    disk.answer(0);
    await turn();
    expect(driver.queues[0]!.takeUsed().map(({ head }) => head)).toEqual([asked[2]!.head, asked[0]!.head]);
    disk.answer();
    await turn();
    expect([asked[1]!.status(), driver.device.busy]).toEqual([status.ok, false]);
  });

  test("of a driver that is gone touch nothing, and what the next one asks comes after them", async () => {
    const { disk, driver } = started();
    disk.isHolding = true;
    driver.ask({ type: type.out, sector: 0, out: filled(512, 1) });
    const read = driver.ask({ type: type.in, sector: 1, in: 512 });
    driver.start([QUEUE]);
    driver.ask({ type: type.out, sector: 0, out: filled(512, 2) });
    await turn();
    expect(disk.takeLog()).toEqual(["write 0+512", "read 512+512"]);
    disk.answer();
    disk.answer();
    await turn();
    expect([read.data(), read.status(), driver.queues[0]!.takeUsed()]).toEqual([
      filled(512, 0xdd),
      status.none,
      [],
    ]);
    disk.answer();
    await turn();
    expect(driver.queues[0]!.takeUsed()).toHaveLength(1);
    const there = new Uint8Array(1);
    await disk.memory.read(0, [there]);
    expect(there[0]).toBe(2);
  });

  test("a write takes the data of its request, whatever the guest stores there afterwards", async () => {
    const { disk, driver } = started();
    disk.isHolding = true;
    driver.ask({ type: type.out, sector: 0, out: filled(512, 1) });
    driver.memory.bytes.fill(9, 0x20000, 0x20200);
    disk.answer();
    await turn();
    const there = new Uint8Array(512);
    await disk.memory.read(0, [there]);
    expect(there).toEqual(filled(512, 1));
  });

  test("hold a bounded part of the host's memory; what waits is served in turn, queue by queue", async () => {
    const { disk, driver } = started({ queues: 2 });
    disk.isHolding = true;
    const heads = [0, 1].map((queue) =>
      Array.from({ length: 20 }, () => driver.submit({ type: type.discard, out: ranges([0, 1]), queue })),
    );
    driver.kick(0);
    driver.kick(1);
    await turn();
    // 32 MiB, at 2 MiB each.
    expect(disk.held).toHaveLength(16);
    let most = 0;
    for (let left = 40; left > 0; left--) {
      disk.answer();
      await turn();
      most = Math.max(most, disk.held.length);
      if (left === 20) expect(driver.queues[1]!.takeUsed().length).toBeGreaterThan(0);
    }
    expect(most).toBe(16);
    expect(heads.flat().map((each) => each.status())).toEqual(Array(40).fill(status.ok));
  });

  test("one by one where their order must repeat", async () => {
    const { disk, driver } = started({ inOrder: true });
    disk.isHolding = true;
    for (const sector of [0, 1, 2]) driver.submit({ type: type.in, sector, in: 512 });
    driver.kick(0);
    for (const _ of [0, 1, 2]) {
      await turn();
      expect(disk.held).toHaveLength(1);
      disk.answer();
    }
    await turn();
    expect(driver.queues[0]!.takeUsed().map(({ head }) => head)).toEqual([0, 3, 6]);
  });

  test("a drain waits for them, and the device is saved without", async () => {
    const { disk, driver } = started();
    disk.isHolding = true;
    driver.ask({ type: type.in, in: 512 });
    expect(() => driver.device.save()).toThrow(DeviceStateError);
    const drain = driver.device.drain();
    driver.ask({ type: type.in, sector: 1, in: 512 });
    disk.answer();
    await drain.drained;
    const saved = structuredClone(driver.device.save());
    expect(disk.held).toHaveLength(0);
    drain.release();
    expect(disk.held).toHaveLength(1);

    const copy = new BlockDriver({ disk: new RecordingDisk(SECTORS) }, driver.memory);
    copy.device.restore(saved);
    expect(copy.device.save()).toEqual(saved);
    const other = new BlockDriver({ disk: new RecordingDisk(SECTORS + 1) }, driver.memory);
    expect(() => other.device.restore(saved)).toThrow("sectors must be the 4097 of the disk that is there");
  });
});

describe("durability", () => {
  const write = { type: type.out, out: filled(512, 1) };
  const everyChange = [
    write,
    { type: type.discard, out: ranges([0, 1]) },
    { type: type.zero, out: ranges([0, 1]) },
  ];

  test.each([
    ["writeback: the guest flushes", {}, [], false],
    ["a guest that can't flush", {}, [flush], true],
    ["a guest that can't flush, nor switch", {}, [flush, configWce], true],
    ["a guest that can flush, and not switch", {}, [configWce], false],
    ["writethrough", { cache: "writethrough" as const }, [], true],
  ])("%s", async (_, options, without, isThrough) => {
    const { disk, driver } = started(options, without);
    for (const change of everyChange) {
      const { status: answer } = await driver.answered(change);
      expect(answer()).toBe(status.ok);
      expect(disk.takeLog().slice(1)).toEqual(isThrough ? ["flush"] : []);
    }
    expect(driver.config8(32)).toBe(isThrough ? 0 : 1);
  });

  test("a driver switches between the two", async () => {
    const { disk, driver } = started();
    for (const [value, log] of [
      [0, ["write 0+512", "flush"]],
      [1, ["write 0+512"]],
      [7, ["write 0+512"]],
    ] as const) {
      driver.device.write(0x120, 1, value);
      await driver.answered(write);
      expect(disk.takeLog()).toEqual(log);
    }
    driver.device.write(0x120, 1, 0);
    driver.device.restore(structuredClone(driver.device.save()));
    expect(driver.config8(32)).toBe(0);
    driver.start([QUEUE]);
    expect(driver.config8(32)).toBe(1);
    driver.start([QUEUE], [configWce]);
    driver.device.write(0x120, 1, 0);
    expect(driver.config8(32)).toBe(1);
  });

  test("in writethrough there is nothing to flush or to switch; a failed flush fails the write", async () => {
    const { disk, driver } = started({ cache: "writethrough" });
    expect([offers(driver, flush), offers(driver, configWce)]).toEqual([false, false]);
    disk.isHolding = true;
    const asked = driver.ask(write);
    disk.answer();
    await turn();
    expect([disk.held.length, asked.status()]).toEqual([1, status.none]);
    disk.failure = new Error("the disk is gone");
    disk.answer();
    await turn();
    expect(asked.status()).toBe(status.error);
  });

  test("unsafe: flushes succeed and do nothing", async () => {
    const { disk, driver } = started({ cache: "unsafe" });
    const asked = await driver.answered({ type: type.flush });
    driver.device.write(0x120, 1, 0);
    await driver.answered(write);
    expect([asked.status(), disk.log]).toEqual([status.ok, ["write 0+512"]]);
  });
});

describe("what can't be done", () => {
  test.each<[string, Ask, number]>([
    ["a read past the end", { type: type.in, sector: SECTORS - 1, in: 1024 }, status.error],
    ["a read far outside", { type: type.in, sector: 2 ** 53, in: 512 }, status.error],
    ["a write past the end", { type: type.out, sector: SECTORS, out: filled(512, 1) }, status.error],
    ["a part of a sector", { type: type.in, in: 100 }, status.error],
    ["a part of a sector, written", { type: type.out, out: filled(513, 1) }, status.error],
    ["a read of nothing", { type: type.in }, status.error],
    ["a write of nothing", { type: type.out }, status.error],
    ["an identity without room", { type: type.id }, status.error],
    ["a discard of half a range", { type: type.discard, out: filled(8, 0) }, status.error],
    ["a discard of nothing", { type: type.discard }, status.error],
    ["a discard outside", { type: type.discard, out: ranges([0, 1], [SECTORS, 1]) }, status.error],
    [
      "more ranges than are allowed",
      { type: type.discard, out: ranges(...Array(33).fill([0, 1])) },
      status.error,
    ],
    ["zeroes outside", { type: type.zero, out: ranges([1, SECTORS]) }, status.error],
    ["a discard that unmaps", { type: type.discard, out: ranges([0, 1, 1]) }, status.unsupported],
    ["a flag that is not known", { type: type.zero, out: ranges([0, 1, 3]) }, status.unsupported],
    ["a flag outside the disk", { type: type.zero, out: ranges([SECTORS, 1, 2]) }, status.unsupported],
    ["a type that is not known", { type: 99, in: 512 }, status.unsupported],
    ["a secure erase", { type: 14, out: ranges([0, 1]) }, status.unsupported],
    ["a SCSI command", { type: 2, in: 512 }, status.unsupported],
  ])("%s is answered so, and the disk is not asked", async (_, ask, expected) => {
    const { disk, driver } = started();
    const asked = await driver.answered(ask);
    expect([asked.status(), disk.log, driver.status]).toEqual([expected, [], 15]);
    expect(asked.data()).toEqual(filled(ask.in ?? 0, 0xdd));
    // A length that says that data was written would be a lie; without data the status comes first.
    expect(driver.queues[0]!.takeUsed()).toEqual([{ head: 0, length: (ask.in ?? 0) === 0 ? 1 : 0 }]);
    expect(driver.device.counters.refused).toBe(1);
  });

  test("commands that were not negotiated are not supported", async () => {
    const { driver } = started({}, [discard, writeZeroes]);
    for (const each of [type.discard, type.zero])
      expect((await driver.answered({ type: each, out: ranges([0, 1]) })).status()).toBe(status.unsupported);
  });

  test.each([
    ["without a header", [[16, true]]],
    [
      "with half a header",
      [
        [15, false],
        [1, true],
      ],
    ],
    ["without a status", [[16, false]]],
    [
      "with data and without a status",
      [
        [16, false],
        [512, false],
      ],
    ],
  ] as const)("a chain %s breaks the device until it is reset", async (_, buffers) => {
    const { driver } = started();
    const { memory, queues } = driver;
    queues[0]!.chain(buffers.map(([length, write]) => ({ gpa: memory.base + 0x10000, length, write })));
    driver.kick(0);
    await turn();
    expect([driver.status, driver.device.rejection, queues[0]!.takeUsed()]).toEqual([79, "request", []]);
    driver.start([QUEUE]);
    expect((await driver.answered({ type: type.in, in: 512 })).status()).toBe(status.ok);
  });

  test("data in a hole of the memory breaks the device, and nothing of it is written", async () => {
    const disk = new RecordingDisk(SECTORS);
    const driver = new BlockDriver({ disk }, new HoledMemory());
    driver.start([QUEUE]);
    for (const ask of [
      { type: type.out, out: filled(1024, 1) },
      { type: type.in, in: 1024 },
    ]) {
      const asked = await driver.answered(ask);
      expect([driver.status, driver.device.rejection]).toEqual([79, "buffer-address"]);
      expect([asked.status(), driver.device.busy]).toEqual([status.none, false]);
      driver.start([QUEUE]);
    }
    expect(disk.log).toEqual(["read 0+1024"]);
  });

  test("what the disk fails is an I/O error of the guest's, and the host is told", async () => {
    const errors: unknown[] = [];
    const { disk, driver } = started({ onError: (error) => errors.push(error) });
    disk.failure = new Error("no space is left");
    const asked = [];
    for (const ask of [
      { type: type.in, in: 512 },
      { type: type.out, out: filled(512, 1) },
      { type: type.flush },
      { type: type.discard, out: ranges([0, 1]) },
    ])
      asked.push(await driver.answered(ask));
    expect(asked.map((each) => each.status())).toEqual(Array(4).fill(status.error));
    expect([errors, driver.device.counters.errors]).toEqual([Array(4).fill(disk.failure), 4]);
    expect(asked[0]!.data()).toEqual(filled(512, 0xdd));
    disk.failure = undefined;
    expect((await driver.answered({ type: type.in, in: 512 })).status()).toBe(status.ok);
  });

  test("a device that is only read refuses changes", async () => {
    for (const options of [{ isReadOnly: true }, { disk: new RecordingDisk(SECTORS, true) }]) {
      const { driver } = started(options);
      expect([readOnly, flush, discard, writeZeroes].map((bit) => offers(driver, bit))).toEqual([
        true,
        false,
        false,
        false,
      ]);
      expect((await driver.answered({ type: type.out, out: filled(512, 1) })).status()).toBe(status.error);
      expect((await driver.answered({ type: type.discard, out: ranges([0, 1]) })).status()).toBe(
        status.unsupported,
      );
      expect((await driver.answered({ type: type.flush })).status()).toBe(status.ok);
      expect((await driver.answered({ type: type.in, in: 512 })).status()).toBe(status.ok);
    }
  });

  test("options that no device can have", () => {
    const disk = new RecordingDisk(1);
    expect(() => virtioBlock({ disk, serial: "x".repeat(21) })).toThrow("at most 20 ASCII characters");
    expect(() => virtioBlock({ disk, serial: "ä" })).toThrow(RangeError);
    expect(() => virtioBlock({ disk, queues: 0 })).toThrow("0 queues: a block device takes 1 to 64");
  });
});

describe("the configuration space", () => {
  test("says what the disk is and what requests may be", () => {
    const { driver } = started({ queues: 4 });
    expect(offers(driver, multiQueue)).toBe(true);
    expect([driver.config32(0), driver.config32(4)]).toEqual([SECTORS, 0]);
    expect([driver.config32(8), driver.config32(12), driver.config32(20)]).toEqual([0, 254, 512]);
    expect([driver.config8(24), driver.config8(25), driver.config16(26), driver.config32(28)]).toEqual([
      3, 0, 1, 0,
    ]);
    expect([driver.config8(32), driver.config16(34)]).toEqual([1, 4]);
    expect([36, 40, 44, 48, 52, 56].map((at) => driver.config32(at))).toEqual([
      0x400000, 32, 8, 0x400000, 32, 1,
    ]);
    expect(driver.config32(60)).toBe(0);
  });

  test("a disk of over 2 TiB has its size in both words", () => {
    const disk = new RecordingDisk(2 ** 33 + 5);
    const driver = new BlockDriver({ disk });
    driver.start([QUEUE]);
    expect([driver.config32(0), driver.config32(4)]).toEqual([5, 2]);
  });

  test("a disk that grows tells its driver, whose requests reach the new end", async () => {
    const { disk, driver } = started();
    const generation = driver.get(0xfc);
    driver.resized();
    expect([driver.get(0xfc), driver.irq.level]).toEqual([generation, false]);
    disk.size = 512 * 10;
    driver.resized();
    expect([driver.takeInterrupt(), driver.config32(0)]).toEqual([2, 10]);
    expect(driver.get(0xfc)).not.toBe(generation);
    expect((await driver.answered({ type: type.in, sector: 9, in: 512 })).status()).toBe(status.ok);
    expect((await driver.answered({ type: type.in, sector: 10, in: 512 })).status()).toBe(status.error);
  });

  test("several queues are served apart", async () => {
    const { driver } = started({ queues: 4 });
    for (const queue of [3, 1, 0, 2]) {
      const asked = await driver.answered({ type: type.in, sector: queue, in: 512, queue });
      expect(asked.status()).toBe(status.ok);
      expect(driver.queues[queue]!.takeUsed()).toHaveLength(1);
    }
  });
});
