import fc from "fast-check";
import { expect, test } from "vitest";
import { MemoryBackend } from "../src/disk/index.js";
import type { DeviceState } from "../src/ports.js";
import { virtioBlock } from "../src/virtio/block/block.js";
import { virtioConsole } from "../src/virtio/console.js";
import type { VirtioDevice, VirtioHost, VirtioRequest } from "../src/virtio/device.js";
import { virtioRng } from "../src/virtio/rng.js";
import { virtioVsock } from "../src/virtio/vsock/vsock.js";
import { turn } from "./block-driver.js";
import { FakeConsole } from "./fakes.js";
import { FLAG_WRITE, FlatMemory, MockDriver, type MockQueue, writeDescriptor } from "./mock-driver.js";
import { connecting } from "./vsock-driver.js";

const BASE = 0x80000000;
const RAM = 0x8000;
const SIZE = 8;
/** A table of descriptors for indirect chains. */
const TABLE = BASE + 0x4000;
/** Memory accesses for one step: every chain with every descriptor, each with its checks and bytes, in every queue. */
const STEP_WORK = 40_000;

interface Device {
  readonly name: string;
  readonly queues: number;
  /** Bytes that a request by the book has the device read; it then writes one, or more. */
  readonly readable?: number;
  /** Bytes that it has the device write, 16 unless given. */
  readonly writable?: number;
  readonly make: () => {
    virtio: VirtioDevice;
    /** Gives the device something to do, and waits until it has done it. */
    input: (bytes: Uint8Array) => void | Promise<void>;
  };
}

/** Answers what it was asked when input comes, the last first: a backend that is slow. */
class Deferred implements VirtioDevice {
  readonly name = "deferred";
  readonly id = 42;
  readonly features = [];
  readonly queueSizes = [SIZE, SIZE];
  readonly counters = {};
  private readonly asked: VirtioRequest[] = [];
  private host: VirtioHost | undefined;

  attach(host: VirtioHost): void {
    this.host = host;
  }
  activate(): void {}
  notify(queue: number): void {
    for (let request = this.host?.take(queue); request !== undefined; request = this.host?.take(queue))
      this.asked.push(request);
  }
  answer(): void {
    // What waits for an answer may be asked as soon as it came.
    for (let round = 0; round < 3; round++)
      for (const request of this.asked.splice(0).reverse()) {
        request.chain.write(new Uint8Array(16).fill(0x5a));
        request.complete();
      }
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

const devices: readonly Device[] = [
  {
    name: "deferred",
    queues: 2,
    make: () => {
      const virtio = new Deferred();
      return { virtio, input: () => virtio.answer() };
    },
  },
  {
    name: "console",
    queues: 2,
    make: () => {
      const console = virtioConsole({ backend: new FakeConsole() });
      return { virtio: console.device, input: (bytes) => void console.receive(bytes) };
    },
  },
  {
    name: "rng",
    queues: 1,
    make: () => ({ virtio: virtioRng({ entropy: (bytes) => bytes.fill(0x5a) }), input: () => {} }),
  },
  {
    name: "block",
    queues: 2,
    readable: 16,
    make: () => ({
      virtio: virtioBlock({ disk: new MemoryBackend(0x10000), queues: 2 }).device,
      input: () => turn(),
    }),
  },
  {
    name: "vsock",
    queues: 3,
    writable: 64,
    make: () => {
      const { device: virtio, ports } = virtioVsock();
      return {
        virtio,
        input: (bytes) => {
          connecting(ports, bytes.length).stream.write(bytes);
        },
      };
    },
  },
];

const gpa = fc.oneof(
  { weight: 6, arbitrary: fc.integer({ min: BASE, max: BASE + RAM + 16 }).map(BigInt) },
  { weight: 1, arbitrary: fc.constant(BigInt(TABLE)) },
  { weight: 1, arbitrary: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }) },
);
const length = fc.oneof(
  { weight: 6, arbitrary: fc.integer({ min: 1, max: 64 }) },
  { weight: 2, arbitrary: fc.integer({ min: 1, max: 10 }).map((count) => 16 * count) },
  { weight: 1, arbitrary: fc.integer({ min: 0, max: 0xffffffff }) },
);
const descriptor = fc.record({
  gpa,
  length,
  flags: fc.oneof(
    { weight: 8, arbitrary: fc.integer({ min: 0, max: 7 }) },
    { weight: 1, arbitrary: fc.nat(0xffff) },
  ),
  next: fc.oneof({ weight: 8, arbitrary: fc.nat(SIZE - 1) }, { weight: 1, arbitrary: fc.nat(0xffff) }),
});
const queueIndex = fc.nat(1);
const step = fc.oneof(
  fc.record({
    kind: fc.constant("descriptor" as const),
    queue: queueIndex,
    index: fc.nat(SIZE - 1),
    descriptor,
  }),
  fc.record({ kind: fc.constant("indirect" as const), index: fc.nat(15), descriptor }),
  fc.record({ kind: fc.constant("offer" as const), queue: queueIndex, head: fc.nat(SIZE) }),
  fc.record({ kind: fc.constant("publish" as const), queue: queueIndex, index: fc.nat(SIZE + 2) }),
  fc.record({ kind: fc.constant("kick" as const), queue: fc.nat(3) }),
  fc.record({ kind: fc.constant("input" as const), bytes: fc.uint8Array({ maxLength: 80 }) }),
  fc.record({ kind: fc.constant("scribble" as const), at: fc.nat(RAM - 1), value: fc.nat(255) }),
);
const registerAccess = fc.record({
  kind: fc.constant("register" as const),
  offset: fc.oneof(
    fc.nat(0x40).map((word) => 4 * word),
    fc.nat(0xfff),
  ),
  size: fc.constantFrom(1 as const, 2 as const, 4 as const),
  value: fc.oneof(fc.nat(0xffffffff), fc.nat(16), fc.integer({ min: BASE, max: BASE + RAM })),
  write: fc.boolean(),
});
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

async function take(
  driver: MockDriver,
  input: (bytes: Uint8Array) => void | Promise<void>,
  action: Step,
): Promise<void> {
  const queue = (index: number): MockQueue => driver.queues[index % driver.queues.length]!;
  switch (action.kind) {
    case "descriptor":
      queue(action.queue).descriptor(action.index, action.descriptor);
      break;
    case "indirect":
      writeDescriptor(driver.memory, TABLE + 16 * action.index, action.descriptor);
      break;
    case "offer":
      queue(action.queue).offer(action.head);
      break;
    case "publish":
      queue(action.queue).publish(action.index);
      break;
    case "kick":
      driver.kick(action.queue);
      break;
    case "input":
      await input(action.bytes);
      break;
    default:
      driver.memory.bytes[action.at] = action.value;
  }
}

/** After a reset by its driver the device serves a request by the book. */
async function expectService(
  driver: MockDriver,
  device: Device,
  input: (bytes: Uint8Array) => void | Promise<void>,
): Promise<void> {
  driver.start(Array(device.queues).fill(SIZE));
  const queue = driver.queues[0]!;
  const { readable = 0, writable = 16 } = device;
  const head = queue.chain([
    ...(readable === 0 ? [] : [{ gpa: TABLE, length: readable }]),
    { gpa: TABLE + readable, length: writable, write: true },
  ]);
  await input(Uint8Array.of(1));
  driver.kick(0);
  await input(Uint8Array.of(1));
  expect(queue.takeUsed()).toEqual([{ head, length: expect.any(Number) }]);
  expect(driver.status).toBe(15);
}

test.each(devices)("$name: a virtqueue never reaches outside its memory and never wedges", async (device) => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 60 }), async (steps) => {
      const { virtio, input } = device.make();
      const memory = new FlatMemory(BASE, RAM);
      const driver = new MockDriver(virtio, memory);
      driver.start(Array(device.queues).fill(SIZE));
      // What a device may write: used rings, and buffers that a descriptor which it read gave it for writing.
      const allowed = driver.queues.map(({ used }) => ({ from: used, to: used + 6 + 8 * SIZE }));
      memory.onRead = (_, bytes) => {
        if (bytes.length !== 16) return;
        const view = new DataView(bytes.buffer, bytes.byteOffset, 16);
        if ((view.getUint16(12, true) & FLAG_WRITE) === 0) return;
        const from = Number(view.getBigUint64(0, true));
        allowed.push({ from, to: from + view.getUint32(8, true) });
      };
      for (const action of steps) {
        const before = memory.accesses;
        memory.writes.length = 0;
        await take(driver, input, action);
        expect(memory.accesses - before).toBeLessThan(STEP_WORK);
        for (const { gpa, length } of memory.writes) {
          expect(allowed.some(({ from, to }) => gpa >= from && gpa + length <= to)).toBe(true);
        }
      }
      memory.onRead = () => {};
      await expectService(driver, device, input);
    }),
    { numRuns: 400 },
  );
});

test.each(devices)("$name: no sequence of register accesses breaks the transport", async (device) => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.oneof(registerAccess, step), { minLength: 1, maxLength: 60 }),
      fc.boolean(),
      async (steps, up) => {
        const { virtio, input } = device.make();
        const driver = new MockDriver(virtio, new FlatMemory(BASE, RAM));
        driver.start(Array(device.queues).fill(SIZE));
        if (!up) driver.set(0x70, 0);
        for (const action of steps) {
          const before = driver.memory.accesses;
          if (action.kind !== "register") await take(driver, input, action);
          else if (action.write) driver.device.write(action.offset, action.size, action.value);
          else {
            const value = driver.device.read(action.offset, action.size);
            expect(Number.isInteger(value) && value >= 0 && value < 2 ** (8 * action.size)).toBe(true);
          }
          expect(driver.memory.accesses - before).toBeLessThan(STEP_WORK);
          expect(driver.irq.level).toBe(driver.get(0x60) !== 0);
        }
        await input(new Uint8Array(0));
        const saved = structuredClone(driver.device.save());
        const copy = new MockDriver(device.make().virtio, driver.memory);
        copy.device.restore(saved);
        expect(copy.device.save()).toEqual(saved);
        await expectService(driver, device, input);
      },
    ),
    { numRuns: 400 },
  );
});
