import { beforeEach, expect, test } from "vitest";
import { type PowerEvent, TestFinisher } from "./test-finisher.js";

let events: PowerEvent[];
let finisher: TestFinisher;
beforeEach(() => {
  events = [];
  finisher = new TestFinisher((event) => events.push(event));
});

test("pass, fail and reset become power events", () => {
  finisher.write(0, 4, 0x5555);
  finisher.write(0, 4, (42 << 16) | 0x3333);
  finisher.write(0, 4, 0xffff3333);
  finisher.write(0, 4, 0x3333);
  finisher.write(0, 2, 0x7777);
  expect(events).toEqual([
    { kind: "off", status: 0 },
    { kind: "off", status: 42 },
    { kind: "off", status: 0xffff },
    { kind: "off", status: 1 },
    { kind: "reset" },
  ]);
  expect(finisher.counters.requests).toBe(5);
});

test("other words, offsets and widths do nothing", () => {
  finisher.write(0, 4, 0x1234);
  finisher.write(4, 4, 0x5555);
  finisher.write(0, 1, 0x55);
  expect(events).toEqual([]);
  expect(finisher.counters.requests).toBe(0);
  expect(finisher.read()).toBe(0);
  expect(finisher.save()).toEqual({});
});
