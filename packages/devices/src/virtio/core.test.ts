/**
 * The core by itself, behind a transport of messages: requests in flight, what becomes of them when their driver goes,
 * draining. The rest of it is tested through the MMIO transport.
 */
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { FlatMemory, MockQueue } from "../../test/mock-driver.js";
import type { DeviceState } from "../ports.js";
import { VirtioCore, virtioStatus } from "./core.js";
import type { VirtioDevice, VirtioHost, VirtioRequest } from "./device.js";
import { virtioRng } from "./rng.js";

const SIZE = 8;
const BASE = 0x80000000;
const READY =
  virtioStatus.acknowledge | virtioStatus.driver | virtioStatus.featuresOk | virtioStatus.driverOk;

/** A device with two queues whose backend answers when it is told to. */
class Slow implements VirtioDevice {
  readonly name = "slow";
  readonly id = 42;
  readonly features: readonly number[] = [];
  readonly queueSizes = [SIZE, SIZE];
  readonly counters = {};
  readonly asked: VirtioRequest[] = [];
  host!: VirtioHost;

  attach(host: VirtioHost): void {
    this.host = host;
  }
  activate(): void {}
  notify(queue: number): void {
    for (let request = this.host.take(queue); request !== undefined; request = this.host.take(queue))
      this.asked.push(request);
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

/** A driver behind a transport that sends a message a cause, as PCI's does. */
class Driver {
  readonly messages: string[] = [];
  readonly memory: FlatMemory;
  readonly core: VirtioCore;
  readonly queues: MockQueue[] = [];

  constructor(device: VirtioDevice, memory = new FlatMemory(BASE, 0x10000), drainMs?: number) {
    this.memory = memory;
    this.core = new VirtioCore(
      device,
      memory,
      {
        used: (queue) => void this.messages.push(`used ${queue}`),
        config: () => void this.messages.push("config"),
        reset: () => void this.messages.push("reset"),
      },
      () => void this.messages.push("wake"),
      drainMs,
    );
  }

  start(queues: number): void {
    const { core } = this;
    core.writeStatus(0);
    this.messages.length = 0;
    core.writeStatus(3);
    expect(core.acceptFeatures(1, 1)).toBe(true);
    core.writeStatus(11);
    for (let index = 0; index < queues; index++) this.enable(index);
    core.writeStatus(READY);
    expect(core.status).toBe(READY);
  }

  enable(index: number): void {
    const at = BASE + 0x2000 * index;
    this.memory.bytes.fill(0, at - BASE, at - BASE + 0x2000);
    const fields = {
      size: SIZE,
      descLow: at,
      descHigh: 0,
      driverLow: at + 0x1000,
      deviceLow: at + 0x1800,
    } as const;
    for (const [field, value] of Object.entries(fields))
      expect(this.core.setQueue(index, field as keyof typeof fields, value)).toBe(true);
    expect(this.core.enableQueue(index, true)).toBe(true);
    this.queues[index] = new MockQueue(this.memory, SIZE, at, at + 0x1000, at + 0x1800);
  }

  /** Asks for a byte, to be written at `place`. */
  ask(queue: number, place: number): number {
    const head = this.queues[queue]!.chain([{ gpa: BASE + 0x8000 + place, length: 1, write: true }]);
    this.core.kick(queue);
    return head;
  }

  byte(place: number): number {
    return this.memory.bytes[0x8000 + place]!;
  }
}

let slow: Slow;
let driver: Driver;
beforeEach(() => {
  slow = new Slow();
  driver = new Driver(slow);
});
const answer = (request: VirtioRequest, value: number): void => {
  request.chain.write(Uint8Array.of(value));
  request.complete();
};
/** Whether a promise is settled by now. */
const settled = (promise: Promise<void>): Promise<boolean> =>
  Promise.race([
    promise.then(() => true),
    new Promise<boolean>((resolve) => setImmediate(() => resolve(false))),
  ]);

test("a device works behind a transport of messages as behind one of registers", () => {
  const entropy = new Driver(virtioRng({ entropy: (bytes) => bytes.fill(0x5a) }));
  entropy.start(1);
  const head = entropy.ask(0, 0);
  expect(entropy.queues[0]!.takeUsed()).toEqual([{ head, length: 1 }]);
  expect([entropy.byte(0), entropy.messages]).toEqual([0x5a, ["used 0"]]);
  entropy.queues[0]!.offer(99);
  entropy.core.kick(0);
  expect([entropy.core.status, entropy.messages]).toEqual([
    READY | virtioStatus.needsReset,
    ["used 0", "config"],
  ]);
  entropy.core.writeStatus(0);
  expect(entropy.messages.at(-1)).toBe("reset");
});

describe("requests in flight", () => {
  test("are counted, and answered in any order, each to its own chain", () => {
    driver.start(2);
    const heads = [driver.ask(0, 0), driver.ask(1, 1), driver.ask(0, 2)];
    expect([driver.core.inFlight, driver.messages]).toEqual([3, []]);
    answer(slow.asked[2]!, 7);
    answer(slow.asked[1]!, 8);
    slow.asked[2]!.complete();
    expect([driver.core.inFlight, driver.messages]).toEqual([1, ["used 0", "used 1"]]);
    answer(slow.asked[0]!, 9);
    expect(driver.queues[0]!.takeUsed().map(({ head }) => head)).toEqual([heads[2], heads[0]]);
    expect([0, 1, 2].map((place) => driver.byte(place))).toEqual([9, 8, 7]);
    expect(driver.core.inFlight).toBe(0);
  });

  test("from before a reset are void, and what a new driver asks waits for their end", () => {
    driver.start(1);
    driver.ask(0, 0);
    driver.ask(0, 1);
    const [first, second] = slow.asked.splice(0);
    driver.start(1);
    // The new driver has the same rings, and its chain the same head as the old one's.
    expect(driver.ask(0, 4)).toBe(first!.chain.head);
    expect([slow.asked.length, driver.core.inFlight]).toEqual([0, 2]);
    answer(first!, 1);
    expect([slow.asked.length, driver.core.inFlight]).toEqual([0, 1]);
    answer(second!, 2);
    expect([driver.byte(0), driver.byte(1), driver.queues[0]!.takeUsed(), driver.messages]).toEqual([
      0,
      0,
      [],
      [],
    ]);
    // Now it is its turn, without another kick.
    expect([slow.asked.length, driver.core.inFlight]).toEqual([1, 1]);
    answer(slow.asked[0]!, 3);
    expect([driver.byte(4), driver.queues[0]!.takeUsed()]).toEqual([3, [{ head: 0, length: 1 }]]);
  });

  test("of a queue that is stopped, or given up, are void as well", () => {
    driver.start(2);
    driver.ask(0, 0);
    expect(driver.core.enableQueue(0, false)).toBe(true);
    driver.ask(1, 1);
    expect(slow.asked).toHaveLength(1);
    answer(slow.asked[0]!, 1);
    expect([driver.byte(0), slow.asked.length]).toEqual([0, 2]);
    driver.queues[1]!.offer(99);
    driver.core.kick(1);
    expect(driver.core.status & virtioStatus.needsReset).toBe(virtioStatus.needsReset);
    answer(slow.asked[1]!, 1);
    expect([driver.byte(1), driver.core.inFlight]).toEqual([0, 0]);
    driver.start(1);
    driver.ask(0, 2);
    answer(slow.asked[2]!, 1);
    expect(driver.byte(2)).toBe(1);
  });

  test("keep a device from being saved; a restored one begins without", async () => {
    driver.start(1);
    driver.ask(0, 0);
    driver.ask(0, 1);
    expect(() => driver.core.save()).toThrow(
      expect.objectContaining({
        code: "E_DEVICE_STATE",
        message: "slow has 2 requests in flight: drain it before it is saved",
      }),
    );
    for (const request of slow.asked.splice(0)) answer(request, 1);
    const saved = driver.core.save();
    driver.ask(0, 2);
    driver.core.restore(saved);
    // What was asked after the state was saved is void; the restored driver's chain is taken when that has ended.
    answer(slow.asked.splice(0)[0]!, 5);
    expect([driver.byte(2), slow.asked.length]).toEqual([0, 1]);
    answer(slow.asked[0]!, 6);
    expect(driver.byte(2)).toBe(6);
  });
});

describe("a drain", () => {
  test("ends with the last request, holds new ones back, and then lets them through", async () => {
    driver.start(2);
    driver.ask(0, 0);
    driver.ask(1, 1);
    const drain = driver.core.drain();
    driver.ask(0, 2);
    expect([slow.asked.length, driver.core.inFlight]).toEqual([2, 2]);
    answer(slow.asked[0]!, 1);
    expect(await settled(drain.drained)).toBe(false);
    answer(slow.asked[1]!, 1);
    expect(await settled(drain.drained)).toBe(true);
    // Answers came while new requests waited, with their interrupts; and now it can be saved.
    expect(driver.messages).toEqual(["used 0", "used 1"]);
    expect(driver.core.save()).toMatchObject({ ready: [1, 1] });
    expect(slow.asked).toHaveLength(2);
    drain.release();
    drain.release();
    expect([slow.asked.length, driver.core.inFlight]).toEqual([3, 1]);
  });

  test("of an idle device has ended already, and two of them hold until both are released", async () => {
    driver.start(1);
    const [one, two] = [driver.core.drain(), driver.core.drain()];
    expect([await settled(one.drained), await settled(two.drained)]).toEqual([true, true]);
    driver.ask(0, 0);
    one.release();
    one.release();
    expect(slow.asked).toHaveLength(0);
    two.release();
    expect(slow.asked).toHaveLength(1);
  });

  test("outlasts a reset: a driver that starts meanwhile is served afterwards", async () => {
    driver.start(1);
    driver.ask(0, 0);
    const drain = driver.core.drain();
    driver.start(1);
    driver.ask(0, 1);
    expect(await settled(drain.drained)).toBe(false);
    answer(slow.asked.splice(0)[0]!, 1);
    expect(await settled(drain.drained)).toBe(true);
    expect(slow.asked).toHaveLength(0);
    drain.release();
    expect(slow.asked).toHaveLength(1);
  });

  test("holds devices that answer at once, too", () => {
    const entropy = new Driver(virtioRng({ entropy: (bytes) => bytes.fill(1) }));
    entropy.start(1);
    const drain = entropy.core.drain();
    entropy.ask(0, 0);
    expect([entropy.byte(0), entropy.queues[0]!.takeUsed()]).toEqual([0, []]);
    drain.release();
    expect([entropy.byte(0), entropy.queues[0]!.takeUsed()]).toEqual([1, [{ head: 0, length: 1 }]]);
  });
});

describe("a backend that does not answer an earlier driver", () => {
  const PATIENCE = 1000;
  beforeEach(() => {
    vi.useFakeTimers();
    driver = new Driver(slow, undefined, PATIENCE);
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  test("has its time, after which the driver that waits is told that the device needs a reset", () => {
    driver.start(1);
    driver.ask(0, 0);
    driver.start(1);
    driver.ask(0, 1);
    vi.advanceTimersByTime(PATIENCE - 1);
    expect([driver.core.status, driver.messages]).toEqual([READY, []]);
    vi.advanceTimersByTime(1);
    expect([driver.core.status, driver.messages]).toEqual([READY | virtioStatus.needsReset, ["config"]]);
    expect(driver.core.counters.overdue).toBe(1);
    // It answers at last: nothing of the old driver is written, and one that starts after it is served at once.
    answer(slow.asked.splice(0)[0]!, 1);
    expect([driver.byte(0), slow.asked.length]).toEqual([0, 0]);
    driver.start(1);
    driver.ask(0, 2);
    answer(slow.asked[0]!, 3);
    expect([driver.byte(2), driver.queues[0]!.takeUsed().length]).toEqual([3, 1]);
    vi.advanceTimersByTime(10 * PATIENCE);
    expect([driver.core.status, driver.core.counters.overdue]).toEqual([READY, 1]);
  });

  test("is given its time anew by each driver, and tells nobody while there is none", () => {
    driver.start(1);
    driver.ask(0, 0);
    driver.core.writeStatus(0);
    vi.advanceTimersByTime(PATIENCE);
    expect(driver.messages).toEqual(["reset"]);
    driver.start(1);
    driver.ask(0, 1);
    vi.advanceTimersByTime(PATIENCE / 2);
    driver.start(1);
    vi.advanceTimersByTime(PATIENCE - 1);
    expect(driver.core.status).toBe(READY);
    vi.advanceTimersByTime(1);
    expect(driver.core.status).toBe(READY | virtioStatus.needsReset);
  });

  test("is expected by nobody in time: late answers, and a device that was let go", () => {
    driver.start(1);
    driver.ask(0, 0);
    driver.start(1);
    vi.advanceTimersByTime(PATIENCE - 1);
    answer(slow.asked.splice(0)[0]!, 1);
    vi.advanceTimersByTime(PATIENCE);
    expect(driver.core.status).toBe(READY);
    driver.ask(0, 1);
    driver.core.dispose();
    expect(vi.getTimerCount()).toBe(0);
    // Its memory may be another guest's by now.
    answer(slow.asked[0]!, 9);
    expect([driver.byte(1), driver.queues[0]!.takeUsed()]).toEqual([0, []]);
  });
});

test("a device can have its machine's attention", () => {
  slow.host.wake();
  expect(driver.messages).toEqual(["wake"]);
});

test("a device is let go of once with its core", () => {
  const gone: string[] = [];
  const core = new VirtioCore(
    Object.assign(slow, { dispose: () => void gone.push("slow") }),
    driver.memory,
    { used: () => {}, config: () => {}, reset: () => {} },
    () => {},
  );
  core.dispose();
  expect(gone).toEqual(["slow"]);
});

test("no order of requests, answers, resets, stops and drains loses or mixes up a request", () => {
  const action = fc.oneof(
    { weight: 4, arbitrary: fc.record({ kind: fc.constant("ask" as const), queue: fc.nat(1) }) },
    { weight: 4, arbitrary: fc.record({ kind: fc.constant("answer" as const), which: fc.nat(20) }) },
    ...(["reset", "drain", "release"] as const).map((kind) => fc.record({ kind: fc.constant(kind) })),
    fc.record({ kind: fc.constant("stop" as const), queue: fc.nat(1) }),
  );
  fc.assert(
    fc.property(fc.array(action, { maxLength: 60 }), (actions) => {
      const device = new Slow();
      const guest = new Driver(device);
      guest.start(2);
      const drains: { release(): void }[] = [];
      /** What each queue's driver waits for, by head; a head is not used again before it is answered. */
      let expected = [new Set<number>(), new Set<number>()];
      const enabled = [true, true];
      const took = (queue: number): void => {
        for (const { head } of guest.queues[queue]!.takeUsed())
          expect(expected[queue]!.delete(head)).toBe(true);
      };
      for (const step of actions) {
        if (step.kind === "ask") {
          if (enabled[step.queue] && expected[step.queue]!.size < SIZE - 1) {
            const free = [...Array(SIZE).keys()].find((head) => !expected[step.queue]!.has(head))!;
            guest.queues[step.queue]!.descriptor(free, { gpa: BASE + 0x8000 + free, length: 1, flags: 2 });
            guest.queues[step.queue]!.offer(free);
            expected[step.queue]!.add(free);
            guest.core.kick(step.queue);
          }
        } else if (step.kind === "answer") {
          const [request] = device.asked.splice(step.which % Math.max(1, device.asked.length), 1);
          if (request !== undefined) answer(request, 1);
        } else if (step.kind === "reset") {
          guest.start(2);
          expected = [new Set(), new Set()];
          enabled.fill(true);
        } else if (step.kind === "drain") drains.push(guest.core.drain());
        else if (step.kind === "release") drains.pop()?.release();
        else if (step.kind === "stop") {
          guest.core.enableQueue(step.queue, false);
          expected[step.queue]!.clear();
          enabled[step.queue] = false;
        }
        expect(guest.core.inFlight).toBe(device.asked.length);
        for (const queue of [0, 1]) if (enabled[queue]) took(queue);
      }
      for (const drain of drains) drain.release();
      while (device.asked.length > 0) answer(device.asked.shift()!, 1);
      for (const queue of [0, 1]) if (enabled[queue]) took(queue);
      expect([expected.map((heads) => heads.size), guest.core.inFlight]).toEqual([[0, 0], 0]);
      expect(guest.core.status).toBe(READY);
    }),
    { numRuns: 500 },
  );
});
