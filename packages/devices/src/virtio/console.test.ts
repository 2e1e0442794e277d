import { beforeEach, describe, expect, test } from "vitest";
import { FakeConsole } from "../../test/fakes.js";
import { MockDriver } from "../../test/mock-driver.js";
import { type VirtioConsole, virtioConsole } from "./console.js";

const RECEIVE = 0;
const TRANSMIT = 1;
let terminal: FakeConsole;
let console: VirtioConsole;
let driver: MockDriver;
beforeEach(() => {
  terminal = new FakeConsole();
  console = virtioConsole({ backend: terminal, columns: 132, rows: 43 });
  driver = new MockDriver(console.device);
});

const start = () => driver.start([128, 128]);
const encode = (text: string): Uint8Array => new TextEncoder().encode(text);
const offerInput = (length: number) =>
  driver.queues[RECEIVE]!.chain([{ gpa: driver.buffers, length, write: true }]);

test("it is a console of one port that knows its size", () => {
  expect(driver.device.name).toBe("console");
  expect(driver.get(8)).toBe(3);
  driver.set(0x14, 0);
  expect(driver.get(0x10) & 0xff).toBe(1);
  expect([driver.device.read(0x100, 2), driver.device.read(0x102, 2)]).toEqual([132, 43]);
  expect(driver.device.read(0x104, 4)).toBe(0);
});

describe("output", () => {
  beforeEach(start);

  test("goes to the backend, chain by chain", () => {
    const one = driver.put(driver.buffers, "hello ");
    const two = driver.put(driver.buffers + 100, "world");
    const head = driver.queues[TRANSMIT]!.chain([
      { gpa: driver.buffers, length: one },
      { gpa: driver.buffers + 100, length: two },
    ]);
    driver.queues[TRANSMIT]!.chain([{ gpa: driver.buffers, length: 1 }]);
    driver.kick(TRANSMIT);
    expect(terminal.writes).toEqual(["hello world", "h"]);
    expect(driver.queues[TRANSMIT]!.takeUsed()).toEqual([
      { head, length: 0 },
      { head: 2, length: 0 },
    ]);
    expect(driver.takeInterrupt() & 1).toBe(1);
    expect(driver.device.counters).toMatchObject({ sent: 12 });
  });

  test("comes in pieces if it is long, and is rejected if it can only mean harm", () => {
    driver.queues[TRANSMIT]!.chain([{ gpa: driver.buffers, length: 0x5000 }]);
    driver.kick(TRANSMIT);
    expect(terminal.writes.map((text) => text.length)).toEqual([0x4000, 0x1000]);
    driver.queues[TRANSMIT]!.chain(
      Array.from({ length: 100 }, () => ({ gpa: driver.buffers, length: 0x10000 })),
    );
    driver.kick(TRANSMIT);
    expect(driver.device.rejection).toBe("request");
    expect(terminal.writes).toHaveLength(2);
  });

  test("stays in the queue while the backend is full, and goes on in order when it is told to", () => {
    let room = 2;
    const bounded = virtioConsole({
      backend: {
        write(bytes) {
          room--;
          terminal.write(bytes);
        },
        full: () => room <= 0,
      },
    });
    const guest = new MockDriver(bounded.device);
    guest.start([128, 128]);
    let sent = 0;
    for (const text of ["one", "two", "three", "four"]) {
      const gpa = guest.buffers + 64 * sent++;
      guest.queues[TRANSMIT]!.chain([{ gpa, length: guest.put(gpa, text) }]);
    }
    guest.kick(TRANSMIT);
    expect(terminal.writes).toEqual(["one", "two"]);
    expect(guest.queues[TRANSMIT]!.takeUsed()).toHaveLength(2);
    bounded.drain();
    expect(terminal.writes).toHaveLength(2);
    // What waits is in the guest's memory, and so in its snapshots.
    guest.device.restore(guest.device.save());
    room = 1;
    bounded.drain();
    expect(terminal.writes).toEqual(["one", "two", "three"]);
    room = 9;
    bounded.drain();
    bounded.drain();
    expect(terminal.writes).toEqual(["one", "two", "three", "four"]);
    expect(guest.queues[TRANSMIT]!.takeUsed()).toHaveLength(2);
  });

  test("a chain with nothing to read prints nothing", () => {
    driver.queues[TRANSMIT]!.chain([{ gpa: driver.buffers, length: 4, write: true }]);
    driver.kick(TRANSMIT);
    expect(terminal.writes).toEqual([]);
    expect(driver.queues[TRANSMIT]!.takeUsed()).toHaveLength(1);
  });
});

describe("input", () => {
  test("waits for the driver, its queue and its buffers, and loses nothing to a reset by the driver", () => {
    expect(console.receive(encode("abc"))).toBe(3);
    start();
    expect(console.receive(encode("def"))).toBe(3);
    start();
    const head = offerInput(4);
    driver.kick(RECEIVE);
    expect(driver.queues[RECEIVE]!.takeUsed()).toEqual([{ head, length: 4 }]);
    expect(driver.text(driver.buffers, 4)).toBe("abcd");
    expect(driver.takeInterrupt() & 1).toBe(1);
    offerInput(100);
    driver.kick(RECEIVE);
    expect(driver.text(driver.buffers, 2)).toBe("ef");
  });

  test("goes straight to a waiting buffer, with an interrupt", () => {
    start();
    offerInput(16);
    driver.kick(RECEIVE);
    driver.takeInterrupt();
    expect(console.receive(encode("ls\n"))).toBe(3);
    expect(driver.queues[RECEIVE]!.takeUsed()).toEqual([{ head: 0, length: 3 }]);
    expect(driver.text(driver.buffers, 3)).toBe("ls\n");
    expect(driver.irq.level).toBe(true);
    expect(driver.device.counters).toMatchObject({ received: 3 });
  });

  test("is bounded on the host's side", () => {
    expect(console.receive(new Uint8Array(0x18000))).toBe(0x10000);
    expect(console.receive(new Uint8Array(1))).toBe(0);
    start();
    offerInput(0x1000);
    driver.kick(RECEIVE);
    expect(console.receive(new Uint8Array(0x2000))).toBe(0x1000);
    offerInput(0x1000);
    offerInput(0x1000);
    driver.kick(RECEIVE);
    offerInput(0x10000);
    expect(console.receive(new Uint8Array(0x14000))).toBe(0x12000);
  });

  test("a buffer that can't be written to is rejected, and the input is kept", () => {
    start();
    driver.queues[RECEIVE]!.chain([{ gpa: driver.buffers, length: 16 }]);
    console.receive(encode("kept"));
    expect(driver.device.rejection).toBe("request");
    start();
    offerInput(16);
    driver.kick(RECEIVE);
    expect(driver.text(driver.buffers, 4)).toBe("kept");
  });

  test("is dropped at power-on", () => {
    console.receive(encode("old"));
    driver.device.reset();
    start();
    offerInput(16);
    driver.kick(RECEIVE);
    expect(driver.queues[RECEIVE]!.takeUsed()).toEqual([]);
  });
});

describe("size", () => {
  test("a driver that knows sizes is told when it is ready, and at every change", () => {
    start();
    expect(driver.takeInterrupt()).toBe(2);
    const generation = driver.get(0xfc);
    console.resize(132, 43);
    expect(driver.takeInterrupt()).toBe(0);
    console.resize(80, 24);
    expect(driver.takeInterrupt()).toBe(2);
    expect(driver.get(0xfc)).toBe(generation + 1);
    expect([driver.device.read(0x100, 2), driver.device.read(0x102, 2)]).toEqual([80, 24]);
  });

  test("a driver that does not is left in peace", () => {
    driver.start([128, 128], [0]);
    console.resize(1, 1);
    expect(driver.takeInterrupt()).toBe(0);
  });

  test("the driver can't change it", () => {
    start();
    driver.set(0x100, 0);
    expect(driver.device.read(0x100, 2)).toBe(132);
  });
});

test("a copy goes on where the console was saved", () => {
  start();
  console.receive(encode("typed"));
  const saved = structuredClone(driver.device.save());
  const other = virtioConsole({ backend: terminal });
  const copy = new MockDriver(other.device, driver.memory);
  copy.device.restore(saved);
  expect(copy.device.save()).toEqual(saved);
  expect(copy.device.read(0x100, 2)).toBe(132);
  offerInput(16);
  copy.kick(RECEIVE);
  expect(driver.text(driver.buffers, 5)).toBe("typed");
  expect(() => copy.device.restore({ ...saved, device: { config: 1, waiting: new Uint8Array() } })).toThrow(
    expect.objectContaining({ code: "E_DEVICE_STATE" }),
  );
});
