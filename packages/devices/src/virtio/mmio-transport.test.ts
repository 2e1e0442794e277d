import { beforeEach, expect, test } from "vitest";
import { MockDriver } from "../../test/mock-driver.js";
import type { AccessSize, DeviceState } from "../ports.js";
import { transportFeatures } from "./core.js";
import { readConfigBytes, type VirtioDevice, type VirtioHost, type VirtioResetCause } from "./device.js";

const FEATURE = 5;
const { indirectDescriptors, eventIndex, version1 } = transportFeatures;

/** A device that gives every chain back unread, and records what it is told. */
class Echo implements VirtioDevice {
  readonly name = "echo";
  readonly id = 42;
  readonly features = [FEATURE];
  readonly queueSizes = [16, 8];
  readonly counters = { chains: 0 };
  readonly events: string[] = [];
  readonly config = Uint8Array.from({ length: 12 }, (_, index) => index + 1);
  host!: VirtioHost;

  attach(host: VirtioHost): void {
    this.host = host;
  }
  activate(): void {
    this.events.push("activate");
  }
  notify(index: number): void {
    this.events.push(`notify ${index}`);
    const queue = this.host.queues[index]!;
    for (let chain = queue.pop(); chain !== undefined; chain = queue.pop()) {
      this.counters.chains++;
      queue.push(chain);
    }
    this.host.signal(index);
  }
  readConfig(offset: number, size: AccessSize): number {
    return readConfigBytes(this.config, offset, size);
  }
  writeConfig(offset: number, size: AccessSize, value: number): void {
    this.events.push(`config ${offset} ${size} ${value}`);
  }
  reset(cause: VirtioResetCause): void {
    this.events.push(`reset ${cause}`);
  }
  save(): DeviceState {
    return { chains: this.counters.chains };
  }
  restore(state: DeviceState): void {
    this.counters.chains = state.chains as number;
  }
}

let echo: Echo;
let driver: MockDriver;
beforeEach(() => {
  echo = new Echo();
  driver = new MockDriver(echo);
});

test("it introduces itself", () => {
  expect([0, 4, 8].map((offset) => driver.get(offset))).toEqual([0x74726976, 2, 42]);
  driver.set(0x14, 0);
  expect(driver.get(0x10)).toBe(((1 << FEATURE) | (1 << indirectDescriptors) | (1 << eventIndex)) >>> 0);
  driver.set(0x14, 1);
  expect(driver.get(0x10)).toBe(1);
  driver.set(0x14, 2);
  expect(driver.get(0x10)).toBe(0);
  const maxima = [0, 1, 2, 0xffffffff].map((queue) => {
    driver.set(0x30, queue);
    return driver.get(0x34);
  });
  expect(maxima).toEqual([16, 8, 0, 0]);
  expect([0xb0, 0xb4, 0xb8, 0xbc].map((offset) => driver.get(offset))).toEqual(Array(4).fill(0xffffffff));
});

test("initialisation by the book: status, features, queues, first request, interrupt", () => {
  driver.start([16, 8], [eventIndex]);
  expect(driver.status).toBe(15);
  expect(echo.host.hasFeature(FEATURE)).toBe(true);
  expect(echo.host.hasFeature(eventIndex)).toBe(false);
  expect(echo.host.hasFeature(version1)).toBe(true);
  const [queue] = driver.queues;
  const head = queue!.chain([{ gpa: driver.buffers, length: 4 }]);
  driver.kick(0);
  expect(queue!.takeUsed()).toEqual([{ head, length: 0 }]);
  expect(driver.irq.level).toBe(true);
  expect(driver.takeInterrupt()).toBe(1);
  expect(driver.irq.level).toBe(false);
  expect(driver.device.counters).toMatchObject({ kicks: 1, interrupts: 1, chains: 1, rejects: 0 });
});

test("FEATURES_OK does not stick without VIRTIO_F_VERSION_1, or with a feature that was not offered", () => {
  driver.negotiate([version1]);
  expect(driver.status).toBe(3);
  driver.set(0x24, 1);
  driver.set(0x20, 1);
  driver.set(0x24, 0);
  driver.set(0x20, 1 << 7);
  driver.set(0x70, 11);
  expect(driver.status).toBe(3);
  driver.set(0x20, 0);
  driver.set(0x70, 11);
  expect(driver.status).toBe(11);
  expect(echo.host.hasFeature(FEATURE)).toBe(false);
});

test("features do not change after FEATURES_OK, and feature words that do not exist take only zero", () => {
  driver.negotiate();
  driver.set(0x24, 0);
  driver.set(0x20, 0);
  expect(echo.host.hasFeature(FEATURE)).toBe(true);
  driver.set(0x70, 0);
  driver.set(0x24, 7);
  driver.set(0x20, 0);
  expect(driver.device.counters.badAccesses).toBe(1);
  driver.set(0x20, 1);
  expect(driver.device.counters.badAccesses).toBe(2);
});

test("DRIVER_OK before FEATURES_OK does not stick, and status bits are never cleared but by a reset", () => {
  driver.set(0x70, 7);
  expect(driver.status).toBe(3);
  driver.set(0x70, 1);
  expect(driver.status).toBe(3);
  driver.set(0x70, 3 | 64 | 128);
  expect(driver.status).toBe(3 | 128);
  driver.set(0x70, 0);
  expect(driver.status).toBe(0);
  expect(echo.events).toEqual(["reset driver"]);
});

test("kicks before DRIVER_OK, to no queue and after a reset do nothing; DRIVER_OK serves what is waiting", () => {
  driver.negotiate();
  const queue = driver.setUpQueue(0, 16);
  queue.chain([{ gpa: driver.buffers, length: 1 }]);
  driver.kick(0);
  expect(queue.takeUsed()).toEqual([]);
  driver.set(0x70, 15);
  expect(queue.takeUsed()).toHaveLength(1);
  expect(echo.events).toEqual(["reset driver", "activate", "notify 0"]);
  for (const nobody of [1, 2, 0xffff, 0xffffffff]) driver.kick(nobody);
  driver.set(0x70, 0);
  queue.chain([{ gpa: driver.buffers, length: 1 }]);
  driver.kick(0);
  expect(queue.takeUsed()).toEqual([]);
  expect(driver.device.counters.earlyKicks).toBe(6);
});

test.each([
  ["size 0", 0, 0x80000000, 0x80001000, 0x80001800, "queue-size"],
  ["size not a power of two", 12, 0x80000000, 0x80001000, 0x80001800, "queue-size"],
  ["size above the maximum", 32, 0x80000000, 0x80001000, 0x80001800, "queue-size"],
  ["a huge size", 0x80000000, 0x80000000, 0x80001000, 0x80001800, "queue-size"],
  ["an unaligned table", 16, 0x80000008, 0x80001000, 0x80001800, "ring-address"],
  ["an unaligned available ring", 16, 0x80000000, 0x80001001, 0x80001800, "ring-address"],
  ["an unaligned used ring", 16, 0x80000000, 0x80001000, 0x80001802, "ring-address"],
  ["a table at zero", 16, 0, 0x80001000, 0x80001800, "ring-address"],
  ["an available ring in MMIO", 16, 0x80000000, 0x10001000, 0x80001800, "ring-address"],
  ["a used ring across the end of RAM", 16, 0x80000000, 0x80001000, 0x8001fffc, "ring-address"],
  ["a table at the end of the address space", 16, 2 ** 64 - 4096, 0x80001000, 0x80001800, "ring-address"],
])(
  "%s is rejected: the device asks to be reset, and works again afterwards",
  (_, size, table, avail, used, reason) => {
    driver.negotiate();
    driver.set(0x30, 0);
    driver.set(0x38, size);
    driver.setRings(table, avail, used);
    driver.set(0x44, 1);
    expect(driver.get(0x44)).toBe(0);
    expect(driver.status).toBe(11 | 64);
    expect(driver.device.rejection).toBe(reason);
    driver.set(0x70, 15);
    expect(driver.takeInterrupt()).toBe(2);
    driver.kick(0);
    expect(echo.events).toEqual(["reset driver"]);

    driver.start([16]);
    driver.queues[0]!.chain([{ gpa: driver.buffers, length: 1 }]);
    driver.kick(0);
    expect(driver.queues[0]!.takeUsed()).toHaveLength(1);
    expect(driver.status).toBe(15);
  },
);

test("a queue's registers stand still while it is ready, and it can be stopped", () => {
  driver.start([16]);
  driver.set(0x38, 8);
  driver.set(0x80, 0);
  driver.set(0x44, 1);
  expect(driver.device.counters.badAccesses).toBe(3);
  driver.queues[0]!.chain([{ gpa: driver.buffers, length: 1 }]);
  driver.kick(0);
  expect(driver.queues[0]!.takeUsed()).toHaveLength(1);
  driver.set(0x44, 0);
  expect(driver.get(0x44)).toBe(0);
  driver.kick(0);
  expect(driver.device.counters.earlyKicks).toBe(1);
});

test("a queue is not started before FEATURES_OK", () => {
  driver.set(0x70, 3);
  driver.setUpQueue(0, 16);
  expect(driver.get(0x44)).toBe(0);
});

test("the configuration space takes aligned accesses of 1, 2 and 4 bytes, and reads zero past its end", () => {
  const { device } = driver;
  expect(device.read(0x101, 1)).toBe(2);
  expect(device.read(0x102, 2)).toBe(0x0403);
  expect(device.read(0x108, 4)).toBe(0x0c0b0a09);
  expect(device.read(0x10c, 4)).toBe(0);
  expect(device.read(0xffc, 4)).toBe(0);
  device.write(0x104, 2, 7);
  expect(echo.events).toEqual(["config 4 2 7"]);
  device.read(0x101, 2);
  device.write(0x102, 4, 1);
  expect(device.counters.badAccesses).toBe(2);
});

test("registers take aligned words only; unknown and one-way ones read zero", () => {
  const { device } = driver;
  device.write(0x70, 1, 1);
  device.write(0x72, 4, 1);
  expect(device.read(0, 1)).toBe(0);
  expect(device.read(2, 4)).toBe(0);
  for (const offset of [0x20, 0x38, 0x50, 0x64, 0x80, 0xf0]) expect(device.read(offset, 4)).toBe(0);
  for (const offset of [0, 4, 8, 0x60, 0xfc, 0xf8]) device.write(offset, 4, 0xffffffff);
  expect(driver.status).toBe(0);
  expect(device.counters.badAccesses).toBe(16);
});

test("a change of configuration bumps the generation, and interrupts a driver that is ready", () => {
  echo.host.configChanged();
  expect(driver.get(0xfc)).toBe(1);
  expect(driver.irq.level).toBe(false);
  driver.start([16]);
  echo.host.configChanged();
  expect(driver.get(0xfc)).toBe(2);
  expect(driver.irq.level).toBe(true);
  expect(driver.takeInterrupt()).toBe(2);
});

test("a cause of interrupt stays until it is acknowledged itself", () => {
  driver.start([16]);
  driver.queues[0]!.chain([{ gpa: driver.buffers, length: 1 }]);
  driver.kick(0);
  echo.host.configChanged();
  expect(driver.get(0x60)).toBe(3);
  driver.set(0x64, 1);
  expect(driver.get(0x60)).toBe(2);
  expect(driver.irq.level).toBe(true);
  driver.set(0x64, 2);
  expect(driver.irq.level).toBe(false);
});

test("a broken device takes no queue until it is reset, and breaks anew if it is attacked again", () => {
  for (let attack = 1; attack <= 3; attack++) {
    driver.start([16]);
    driver.queues[0]!.offer(99);
    driver.kick(0);
    expect(driver.device.counters.rejects).toBe(attack);
    expect(driver.status).toBe(15 | 64);
    driver.set(0x44, 0);
    driver.setUpQueue(0, 16);
    expect(driver.get(0x44)).toBe(0);
    driver.setUpQueue(1, 8);
    expect(driver.get(0x44)).toBe(0);
  }
});

test("the driver's wish for no interrupts is heard", () => {
  driver.start([16], [eventIndex]);
  const queue = driver.queues[0]!;
  queue.availFlags = 1;
  queue.chain([{ gpa: driver.buffers, length: 1 }]);
  driver.kick(0);
  expect(driver.takeInterrupt()).toBe(0);
  queue.availFlags = 0;
  queue.chain([{ gpa: driver.buffers, length: 1 }]);
  driver.kick(0);
  expect(driver.takeInterrupt()).toBe(1);
});

test("with VIRTIO_F_EVENT_IDX interrupts and notifications come at the index asked for, across the wrap", () => {
  driver.start([16]);
  const queue = driver.queues[0]!;
  const interrupts: number[] = [];
  for (let request = 1; request <= 0x10010; request++) {
    // Every 4,096th, so that one of them lies at the wrap.
    if (request % 4096 === 1) queue.usedEvent = (request + 4094) & 0xffff;
    queue.chain([{ gpa: driver.buffers, length: 1 }]);
    driver.kick(0);
    if (driver.takeInterrupt() === 1) interrupts.push(request);
    if (queue.availEvent !== (request & 0xffff)) expect(queue.availEvent).toBe(request & 0xffff);
  }
  expect(interrupts).toEqual(Array.from({ length: 16 }, (_, index) => 4096 * (index + 1)));
  expect(queue.takeUsed()).toHaveLength(0x10);
});

test("power-on reset clears everything that a driver did", () => {
  const fresh = driver.device.save();
  driver.start([16, 8]);
  driver.queues[0]!.chain([{ gpa: driver.buffers, length: 1 }]);
  driver.kick(0);
  driver.device.reset();
  expect(driver.irq.level).toBe(false);
  expect(driver.device.save()).toEqual({ ...fresh, device: { chains: 1 } });
  expect(echo.events.at(-1)).toBe("reset power");
});

test("a copy goes on where the device was saved", () => {
  driver.start([16, 8]);
  const queue = driver.queues[0]!;
  queue.usedEvent = 0;
  queue.chain([{ gpa: driver.buffers, length: 1 }]);
  driver.kick(0);
  queue.takeUsed();
  queue.chain([{ gpa: driver.buffers, length: 1 }]);
  const saved = structuredClone(driver.device.save());

  const copy = new MockDriver(new Echo(), driver.memory);
  copy.device.restore(saved);
  expect(copy.device.save()).toEqual(saved);
  expect(copy.irq.level).toBe(true);
  expect(copy.takeInterrupt()).toBe(1);
  queue.usedEvent = 1;
  copy.kick(0);
  expect(queue.takeUsed()).toHaveLength(1);
  expect(copy.takeInterrupt()).toBe(1);
});

test("a saved device that asked for a reset still does", () => {
  driver.start([16]);
  driver.queues[0]!.offer(16);
  driver.kick(0);
  const copy = new MockDriver(new Echo(), driver.memory);
  copy.device.restore(driver.device.save());
  expect(copy.status).toBe(15 | 64);
  copy.kick(0);
  expect(copy.device.counters.earlyKicks).toBe(1);
  copy.start([16]);
  expect(copy.status).toBe(15);
});

test("states that no driver can bring about are refused by name", () => {
  driver.start([16, 8]);
  driver.queues[0]!.chain([{ gpa: driver.buffers, length: 1 }]);
  driver.kick(0);
  const saved = driver.device.save();
  const rings = "queue 0 has impossible rings, or progress in them";
  for (const [change, message] of [
    [{ accepted: [0xffffffff, 1] }, "accepted must be features that are offered"],
    [{ accepted: [0, 0] }, "accepted must be features that are offered"],
    [{ status: 4 }, "status must be one in which FEATURES_OK comes before DRIVER_OK"],
    [{ status: 3, interruptStatus: 0 }, "ready must be 0"],
    [{ status: 11, interruptStatus: 1 }, "interruptStatus must be 0"],
    [{ interruptStatus: 4 }, "interruptStatus must be an integer from 0 to 3"],
    [{ sizes: [12, 8] }, rings],
    [{ sizes: [0x10000, 8] }, rings],
    // A queue that says that it has used more than it has taken would find new requests for ever.
    [{ progress: [1, 2, 1, 0, 0, 0] }, rings],
    [{ progress: [1, 0, 1, 0, 0, 0] }, rings],
  ] as const) {
    expect(() => driver.device.restore({ ...saved, ...change }), JSON.stringify(change)).toThrow(message);
  }
  driver.device.restore(saved);
  expect(driver.device.save()).toEqual(saved);
});

test("a crafted place in rings that lie on each other makes no endless work", () => {
  const memory = driver.memory;
  driver.negotiate([eventIndex]);
  driver.set(0x30, 0);
  driver.set(0x38, 16);
  // The used index is the available index: whatever is used is available next.
  const ring = memory.base + 0x1000;
  driver.setRings(memory.base, ring, ring);
  driver.set(0x44, 1);
  driver.set(0x70, 15);
  const saved = driver.device.save();
  for (let ahead = 1; ahead <= 16; ahead++) {
    expect(() => driver.device.restore({ ...saved, progress: [0, ahead, 0, 0, 0, 0] })).toThrow("progress");
  }
  for (let place = 0; place < 32; place++) {
    driver.device.restore({ ...saved, progress: [place, place, 0, 0, 0, 0] });
    memory.view.setUint16(0x1002, place + 8, true);
    const before = memory.accesses;
    driver.kick(0);
    expect(memory.accesses - before).toBeLessThan(1000);
  }
});

test("states of another shape are refused", () => {
  driver.start([16]);
  const saved = driver.device.save();
  for (const wrong of [
    {},
    { ...saved, status: 256 },
    { ...saved, sizes: [16] },
    { ...saved, sizes: [12, 0] },
    { ...saved, progress: [0, 0, 0, 0, 0, 0x10000] },
    { ...saved, device: null },
    { ...saved, device: [1] },
    { ...saved, device: new Uint8Array(1) },
  ]) {
    expect(() => driver.device.restore(wrong as DeviceState)).toThrow(
      expect.objectContaining({ code: "E_DEVICE_STATE" }),
    );
  }
});
