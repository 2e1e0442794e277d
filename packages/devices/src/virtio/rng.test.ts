import { beforeEach, expect, test } from "vitest";
import { MockDriver } from "../../test/mock-driver.js";
import { virtioRng } from "./rng.js";

let driver: MockDriver;
let asked: number[];
beforeEach(() => {
  asked = [];
  let next = 1;
  const entropy = (bytes: Uint8Array) => {
    asked.push(bytes.length);
    for (let index = 0; index < bytes.length; index++) bytes[index] = next++;
  };
  driver = new MockDriver(virtioRng({ entropy }));
  driver.start([64]);
});

test("it is an entropy device without configuration", () => {
  expect(driver.device.name).toBe("rng");
  expect(driver.get(8)).toBe(4);
  expect(driver.get(0x100)).toBe(0);
  driver.set(0x100, 1);
  expect(driver.get(0x100)).toBe(0);
});

test("it fills buffers from its source", () => {
  const [queue] = driver.queues;
  const head = queue!.chain([
    { gpa: driver.buffers, length: 3, write: true },
    { gpa: driver.buffers + 16, length: 2, write: true },
  ]);
  driver.kick(0);
  expect(queue!.takeUsed()).toEqual([{ head, length: 5 }]);
  expect(driver.text(driver.buffers, 4)).toBe("\x01\x02\x03\0");
  expect(driver.text(driver.buffers + 16, 3)).toBe("\x04\x05\0");
  expect(driver.takeInterrupt()).toBe(1);
  expect(driver.device.counters).toMatchObject({ requests: 1, bytes: 5 });
});

test("a huge request is answered in part", () => {
  const head = driver.queues[0]!.chain([{ gpa: driver.buffers, length: 0x10000, write: true }]);
  driver.kick(0);
  expect(asked).toEqual([4096]);
  expect(driver.queues[0]!.takeUsed()).toEqual([{ head, length: 4096 }]);
});

test("a request with nothing to fill is rejected", () => {
  driver.queues[0]!.chain([{ gpa: driver.buffers, length: 16 }]);
  driver.kick(0);
  expect(driver.device.rejection).toBe("request");
  expect(driver.status).toBe(15 | 64);
  expect(asked).toEqual([]);
});

test("save and restore", () => {
  const copy = new MockDriver(virtioRng({ entropy: () => {} }), driver.memory);
  copy.device.restore(structuredClone(driver.device.save()));
  expect(copy.device.save()).toEqual(driver.device.save());
  driver.queues[0]!.chain([{ gpa: driver.buffers, length: 4, write: true }]);
  copy.kick(0);
  expect(driver.queues[0]!.takeUsed()).toHaveLength(1);
});
