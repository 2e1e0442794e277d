import { beforeEach, describe, expect, test } from "vitest";
import {
  FLAG_INDIRECT,
  FLAG_NEXT,
  FLAG_WRITE,
  MockDriver,
  type MockQueue,
  type RawDescriptor,
  writeDescriptor,
} from "../../test/mock-driver.js";
import type { DeviceState } from "../ports.js";
import { transportFeatures } from "./core.js";
import type { DescriptorChain } from "./descriptor-chain.js";
import type { VirtioDevice, VirtioHost } from "./device.js";
import type { RejectReason } from "./queue.js";

const SIZE = 8;
/** Far more memory accesses than any of these requests needs, and far fewer than a hang makes. */
const WORK = 20_000;

/** A device that reads all that it may, and answers with as many `!` as find room in 64 bytes. */
class Reader implements VirtioDevice {
  readonly name = "reader";
  readonly id = 42;
  readonly features = [];
  readonly queueSizes = [SIZE];
  readonly counters = {};
  readonly requests: string[] = [];
  /** Called with each chain before it is served. */
  onChain: (chain: DescriptorChain) => void = () => {};
  host!: VirtioHost;

  attach(host: VirtioHost): void {
    this.host = host;
  }
  activate(): void {}
  notify(): void {
    const queue = this.host.queues[0]!;
    for (let chain = queue.pop(); chain !== undefined; chain = queue.pop()) {
      this.onChain(chain);
      const bytes = new Uint8Array(Math.min(chain.readableBytes, 4096));
      const count = chain.read(bytes);
      this.requests.push(new TextDecoder().decode(bytes.subarray(0, count)));
      chain.write(new Uint8Array(64).fill(0x21));
      queue.push(chain);
    }
    this.host.signal(0);
  }
  readConfig(): number {
    return 0;
  }
  writeConfig(): void {}
  reset(): void {}
  save(): DeviceState {
    return {};
  }
  restore(): void {}
}

let reader: Reader;
let driver: MockDriver;
let queue: MockQueue;
let buffers: number;
beforeEach(() => {
  reader = new Reader();
  driver = new MockDriver(reader);
  driver.start([SIZE], [transportFeatures.eventIndex]);
  queue = driver.queues[0]!;
  buffers = driver.buffers;
});

/** The driver starts over, and its next request is served. */
function expectRecovery(): void {
  driver.start([SIZE]);
  const length = driver.put(buffers, "again");
  driver.queues[0]!.chain([{ gpa: buffers, length }]);
  driver.kick(0);
  expect(reader.requests.at(-1)).toBe("again");
  expect(driver.queues[0]!.takeUsed()).toHaveLength(1);
  expect(driver.status).toBe(15);
}

/** What was offered breaks the device: cleanly, in bounded work, until it is reset. */
function expectReject(reason: RejectReason): void {
  const before = driver.memory.accesses;
  driver.kick(0);
  expect(driver.device.rejection).toBe(reason);
  expect(driver.memory.accesses - before).toBeLessThan(WORK);
  expect(driver.status).toBe(15 | 64);
  expect(driver.takeInterrupt() & 2).toBe(2);
  expect(driver.device.counters.rejects).toBe(1);
  const served = reader.requests.length;
  queue.offer(0);
  driver.kick(0);
  expect(reader.requests).toHaveLength(served);
  expect(driver.device.counters).toMatchObject({ rejects: 1, earlyKicks: 1 });
  expectRecovery();
}

describe("chains", () => {
  test("a chain's buffers are streams of bytes across descriptors", () => {
    driver.put(buffers, "hello, ");
    driver.put(buffers + 100, "device");
    const head = queue.chain([
      { gpa: buffers, length: 7 },
      { gpa: buffers + 100, length: 6 },
      { gpa: buffers + 200, length: 10, write: true },
      { gpa: buffers + 300, length: 100, write: true },
    ]);
    driver.kick(0);
    expect(reader.requests).toEqual(["hello, device"]);
    expect(queue.takeUsed()).toEqual([{ head, length: 64 }]);
    expect(driver.text(buffers + 200, 11)).toBe("!".repeat(10) + "\0");
    expect(driver.text(buffers + 300, 55)).toBe("!".repeat(54) + "\0");
  });

  test("a full ring, many times around", () => {
    for (let round = 0; round < 20; round++) {
      const heads = Array.from({ length: SIZE }, () =>
        queue.chain([{ gpa: buffers, length: 1, write: true }]),
      );
      driver.kick(0);
      expect(queue.takeUsed()).toEqual(heads.map((head) => ({ head, length: 1 })));
    }
  });

  test("an indirect table stands for a chain, also after ordinary descriptors and beyond the queue's size", () => {
    driver.put(buffers, "abcdefghijklmnopqrst");
    const table = buffers + 0x1000;
    for (let index = 0; index < 19; index++) {
      const flags = index < 18 ? FLAG_NEXT : 0;
      // Backwards, so that `next` counts and not the order in the table.
      const place = index === 0 ? 0 : 19 - index;
      writeDescriptor(driver.memory, table + 16 * place, {
        gpa: buffers + 1 + index,
        length: 1,
        flags,
        next: 18 - index,
      });
    }
    queue.descriptor(2, { gpa: buffers, length: 1, flags: FLAG_NEXT, next: 5 });
    queue.descriptor(5, { gpa: table, length: 19 * 16, flags: FLAG_INDIRECT | FLAG_WRITE });
    queue.offer(2);
    driver.kick(0);
    expect(reader.requests).toEqual(["abcdefghijklmnopqrst"]);
    expect(queue.takeUsed()).toEqual([{ head: 2, length: 0 }]);
  });

  test("each descriptor is read once: changes in flight have no effect", () => {
    driver.put(buffers, "first");
    driver.put(buffers + 100, "other");
    queue.chain([{ gpa: buffers, length: 5 }]);
    reader.onChain = () =>
      queue.descriptor(0, { gpa: buffers + 100, length: 0xffffffff, flags: 7, next: 99 });
    const reads: number[] = [];
    driver.memory.onRead = (gpa, bytes) => {
      if (bytes.length === 16) reads.push(gpa);
    };
    driver.kick(0);
    expect(reader.requests).toEqual(["first"]);
    expect(reads).toEqual([queue.descriptors]);
    expect(driver.status).toBe(15);
  });
});

test("a chain that is offered while the device asks for notifications again is not missed", () => {
  driver.start([SIZE]);
  queue = driver.queues[0]!;
  queue.chain([{ gpa: buffers, length: 1 }]);
  const { write } = driver.memory;
  driver.memory.write = (gpa, source) => {
    const done = write.call(driver.memory, gpa, source);
    if (gpa === queue.used + 4 + 8 * SIZE && queue.availEvent === 1) {
      queue.chain([{ gpa: buffers, length: 1 }]);
    }
    return done;
  };
  driver.kick(0);
  expect(queue.takeUsed()).toHaveLength(2);
  expect(queue.availEvent).toBe(2);
});

describe("malformed chains are rejected", () => {
  const last = 0x80000000 + 0x20000;
  const cases: readonly [string, RejectReason, readonly RawDescriptor[]][] = [
    ["a descriptor that follows itself", "loop", [{ gpa: 0x80004000, length: 4, flags: FLAG_NEXT, next: 0 }]],
    [
      "a loop of two",
      "loop",
      [
        { gpa: 0x80004000, length: 4, flags: FLAG_NEXT, next: 1 },
        { gpa: 0x80004000, length: 4, flags: FLAG_NEXT, next: 0 },
      ],
    ],
    ["next past the table", "next", [{ gpa: 0x80004000, length: 4, flags: FLAG_NEXT, next: SIZE }]],
    ["next far past the table", "next", [{ gpa: 0x80004000, length: 4, flags: FLAG_NEXT, next: 0xffff }]],
    ["address zero", "buffer-address", [{ gpa: 0, length: 4 }]],
    ["an address past RAM", "buffer-address", [{ gpa: last, length: 1, flags: FLAG_WRITE }]],
    ["an end past RAM", "buffer-address", [{ gpa: last - 4, length: 5 }]],
    ["an address in MMIO", "buffer-address", [{ gpa: 0x10000000, length: 4, flags: FLAG_WRITE }]],
    ["a huge length", "buffer-address", [{ gpa: 0x80004000, length: 0xffffffff, flags: FLAG_WRITE }]],
    ["address + length past 64 bits", "buffer-address", [{ gpa: 0xffffffff_fffffff0n, length: 0x20 }]],
    ["address + length back into RAM", "buffer-address", [{ gpa: 0xffffffff_80004000n, length: 0xffffffff }]],
    ["an address beyond exact integers", "buffer-address", [{ gpa: 2n ** 53n, length: 1 }]],
    ["the largest exact integer", "buffer-address", [{ gpa: 2n ** 53n - 1n, length: 2 }]],
    ["length zero", "buffer-length", [{ gpa: 0x80004000, length: 0 }]],
    [
      "readable after writable",
      "buffer-order",
      [
        { gpa: 0x80004000, length: 4, flags: FLAG_NEXT | FLAG_WRITE, next: 1 },
        { gpa: 0x80004000, length: 4 },
      ],
    ],
    [
      "an indirect table of no bytes",
      "indirect-length",
      [{ gpa: 0x80004000, length: 0, flags: FLAG_INDIRECT }],
    ],
    ["half a descriptor", "indirect-length", [{ gpa: 0x80004000, length: 24, flags: FLAG_INDIRECT }]],
    [
      "a huge indirect table",
      "indirect-length",
      [{ gpa: 0x80004000, length: 0xfffffff0, flags: FLAG_INDIRECT }],
    ],
    [
      "an indirect table outside RAM",
      "descriptor-table",
      [{ gpa: 0x1000, length: 16, flags: FLAG_INDIRECT }],
    ],
    [
      "an indirect table across RAM's end",
      "descriptor-table",
      [{ gpa: last - 8, length: 16, flags: FLAG_INDIRECT }],
    ],
    [
      "an indirect table with a successor",
      "indirect-chained",
      [{ gpa: 0x80004000, length: 16, flags: FLAG_INDIRECT | FLAG_NEXT, next: 1 }],
    ],
  ];
  test.each(cases)("%s: %s", (_, reason, descriptors) => {
    descriptors.forEach((raw, index) => {
      queue.descriptor(index, raw);
    });
    queue.offer(0);
    expectReject(reason);
  });

  test("lengths that add up beyond 32 bits", () => {
    // Each buffer is RAM as far as its ends tell, in a memory with holes.
    driver.memory.read = (gpa, target) => {
      if (gpa >= 2 ** 33) return true;
      const at = gpa - driver.memory.base;
      target.set(driver.memory.bytes.subarray(at, at + target.length));
      return true;
    };
    queue.chain(Array.from({ length: 3 }, () => ({ gpa: 2 ** 33, length: 0x60000000 })));
    driver.kick(0);
    expect(driver.device.rejection).toBe("total-length");
  });

  test("a buffer with a hole in the middle, when the hole is reached", () => {
    const { read } = driver.memory;
    const hole = buffers + 0x800;
    driver.memory.read = (gpa, target) =>
      (gpa + target.length <= hole || gpa > hole) && read.call(driver.memory, gpa, target);
    queue.chain([{ gpa: buffers, length: 0x1000 }]);
    driver.kick(0);
    expect(driver.device.rejection).toBe("buffer-address");
    expect(queue.takeUsed()).toEqual([]);
    driver.memory.read = read;
    expectRecovery();
  });

  test.each([
    ["nested", "indirect-nested", { gpa: 0x80005000, length: 16, flags: FLAG_INDIRECT }],
    ["with next out of its bounds", "next", { gpa: 0x80005000, length: 16, flags: FLAG_NEXT, next: 2 }],
    ["looping", "loop", { gpa: 0x80005000, length: 16, flags: FLAG_NEXT, next: 0 }],
  ] as const)("an indirect table %s", (_, reason, inner) => {
    queue.descriptor(0, { gpa: buffers, length: 32, flags: FLAG_INDIRECT });
    writeDescriptor(driver.memory, buffers, inner);
    queue.offer(0);
    expectReject(reason);
  });

  test("an indirect table that is itself", () => {
    queue.descriptor(0, { gpa: queue.descriptors, length: 16 * SIZE, flags: FLAG_INDIRECT });
    queue.offer(0);
    expectReject("indirect-nested");
  });

  test("an indirect table that was not negotiated", () => {
    driver.start([SIZE], [transportFeatures.indirectDescriptors]);
    queue = driver.queues[0]!;
    queue.descriptor(0, { gpa: buffers, length: 16, flags: FLAG_INDIRECT });
    queue.offer(0);
    expectReject("indirect-not-negotiated");
  });
});

describe("malformed rings", () => {
  test.each([
    ["forward", SIZE + 1],
    ["backward", 0xffff],
    ["half-way round", 0x8000],
  ])("an available index that jumps %s is rejected", (_, index) => {
    queue.publish(index);
    expectReject("avail-index");
  });

  test("an available index that goes back after requests is rejected", () => {
    for (let request = 0; request < 3; request++) queue.chain([{ gpa: buffers, length: 1 }]);
    driver.kick(0);
    expect(queue.takeUsed()).toHaveLength(3);
    queue.publish(1);
    expectReject("avail-index");
  });

  test.each([SIZE, 0xffff])("head %i is rejected", (head) => {
    queue.offer(head);
    expectReject("head");
  });

  test("a head that is made available again while it is in flight is rejected", () => {
    queue.chain([{ gpa: buffers, length: 1 }]);
    reader.onChain = () => {
      reader.onChain = () => {};
      queue.offer(0);
      expect(reader.host.queues[0]!.outstanding).toBe(1);
      expect(reader.host.queues[0]!.pop()).toBeUndefined();
    };
    expectReject("head-in-flight");
    expect(reader.host.queues[0]!.outstanding).toBe(0);
  });

  test("the same head twice, one after the other, is served twice", () => {
    driver.put(buffers, "x");
    queue.descriptor(3, { gpa: buffers, length: 1 });
    queue.offer(3, 3);
    driver.kick(0);
    expect(reader.requests).toEqual(["x", "x"]);
    expect(queue.takeUsed()).toHaveLength(2);
    expect(driver.status).toBe(15);
  });

  test("a used ring that the guest writes to confuses nobody else", () => {
    const at = queue.used - driver.memory.base;
    for (let request = 0; request < 3; request++) {
      driver.memory.bytes.fill(0xa5, at, at + 4 + 8 * SIZE);
      queue.chain([{ gpa: buffers, length: 1 }]);
      driver.kick(0);
      expect(driver.memory.view.getUint16(at + 2, true)).toBe(request + 1);
    }
    expect(driver.status).toBe(15);
  });

  test("a used ring on top of the other rings hurts only its guest", () => {
    driver.negotiate();
    driver.set(0x30, 0);
    driver.set(0x38, SIZE);
    driver.setRings(queue.descriptors, queue.avail, queue.descriptors);
    driver.set(0x44, 1);
    driver.set(0x70, 15);
    const before = driver.memory.accesses;
    for (let kick = 0; kick < 100; kick++) {
      queue.offer(kick % SIZE);
      driver.kick(0);
    }
    expect(driver.memory.accesses - before).toBeLessThan(WORK);
    expectRecovery();
  });

  test("a buffer inside its own ring hurts only its guest", () => {
    queue.chain([
      { gpa: queue.avail, length: 64 },
      { gpa: queue.descriptors, length: 64, write: true },
    ]);
    driver.kick(0);
    expect(queue.takeUsed()).toEqual([{ head: 0, length: 64 }]);
    expectRecovery();
  });

  test("a reset in the middle of a request makes its answer void", () => {
    queue.chain([{ gpa: buffers, length: 8, write: true }]);
    reader.onChain = () => driver.set(0x70, 0);
    driver.kick(0);
    expect(queue.takeUsed()).toEqual([]);
    expect(driver.irq.level).toBe(false);
    reader.onChain = () => {};
    expectRecovery();
  });

  describe("an answer that comes late", () => {
    /** The chain of a request that the device keeps, while the driver goes on. */
    function kept(): DescriptorChain {
      const device = reader.host.queues[0]!;
      driver.put(buffers, "old");
      queue.chain([
        { gpa: buffers, length: 3 },
        { gpa: buffers + 64, length: 8, write: true },
      ]);
      const chain = device.pop()!;
      expect(chain.live).toBe(true);
      return chain;
    }
    /** Neither reads nor writes the driver's memory, and completes nothing. */
    function expectVoid(chain: DescriptorChain): void {
      driver.memory.writes.length = 0;
      const before = driver.memory.accesses;
      expect(chain.live).toBe(false);
      expect(chain.read(new Uint8Array(3))).toBe(0);
      expect(chain.write(new Uint8Array(8).fill(0xaa))).toBe(0);
      reader.host.queues[0]!.push(chain, 8);
      reader.host.signal(0);
      expect(driver.memory.accesses).toBe(before);
      expect(driver.memory.writes).toEqual([]);
    }

    test("after a reset is void, even if its head is in flight again", () => {
      const old = kept();
      driver.start([SIZE]);
      [queue] = driver.queues as [MockQueue];
      const head = queue.chain([{ gpa: buffers + 128, length: 8, write: true }]);
      const fresh = reader.host.queues[0]!.pop()!;
      expect(fresh.head).toBe(old.head);
      expectVoid(old);
      expect(queue.takeUsed()).toEqual([]);
      expect(reader.host.queues[0]!.outstanding).toBe(1);
      expect(fresh.write(new Uint8Array(5).fill(0x2e))).toBe(5);
      reader.host.queues[0]!.push(fresh);
      expect(queue.takeUsed()).toEqual([{ head, length: 5 }]);
      expect(driver.text(buffers + 128, 5)).toBe(".....");
    });

    test.each<[string, (saved: DeviceState) => void]>([
      ["the driver stopped the queue", () => driver.set(0x44, 0)],
      ["the driver reset the device", () => driver.set(0x70, 0)],
      ["the machine was switched on anew", () => driver.device.reset()],
      ["a snapshot was restored", (saved) => driver.device.restore(saved)],
      [
        "the queue was rejected",
        () => {
          queue.offer(99);
          driver.kick(0);
          expect(driver.device.rejection).toBe("head");
        },
      ],
    ])("is void once %s", (_, end) => {
      const saved = driver.device.save();
      const chain = kept();
      end(saved);
      expectVoid(chain);
    });

    test("a second time is void", () => {
      const chain = kept();
      chain.write(new Uint8Array(8));
      reader.host.queues[0]!.push(chain);
      reader.host.signal(0);
      expect(queue.takeUsed()).toHaveLength(1);
      expectVoid(chain);
      expect(queue.takeUsed()).toEqual([]);
    });
  });
});

test("chains that are put back come again, in their order, and leave the driver nothing to notice", () => {
  reader = new Reader();
  driver = new MockDriver(reader);
  driver.start([SIZE]);
  const heads = [0, 1, 2].map((index) =>
    driver.queues[0]!.chain([{ gpa: driver.buffers + 16 * index, length: 16 }]),
  );
  const queue = reader.host.queues[0]!;
  const taken = heads.map(() => queue.pop()!);
  expect([queue.pop(), queue.outstanding, driver.queues[0]!.availEvent]).toEqual([undefined, 3, 3]);
  for (const chain of [...taken].reverse()) queue.putBack(chain);
  queue.putBack(taken[0]!);
  expect([queue.outstanding, taken.map(({ live }) => live), driver.queues[0]!.takeUsed()]).toEqual([
    0,
    [false, false, false],
    [],
  ]);
  expect(queue.progress).toMatchObject({ nextAvail: 0, usedIndex: 0 });
  expect(heads.map(() => queue.pop()!.head)).toEqual(heads);
});
