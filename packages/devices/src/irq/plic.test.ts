import fc from "fast-check";
import { beforeEach, expect, test } from "vitest";
import { FakeHart } from "../../test/fakes.js";
import { PLIC_SOURCES, Plic } from "./plic.js";

const priority = (source: number): number => 4 * source;
const pendingWord = (word: number): number => 0x1000 + 4 * word;
const enable = (context: number, word = 0): number => 0x2000 + 0x80 * context + 4 * word;
const threshold = (context: number): number => 0x200000 + 0x1000 * context;
const claim = (context: number): number => 0x200004 + 0x1000 * context;

let harts: FakeHart[];
let plic: Plic;
beforeEach(() => {
  harts = [new FakeHart(), new FakeHart()];
  plic = new Plic(harts);
});

/** Lets a context see a source. */
function open(context: number, source: number, level = 1): void {
  plic.write(priority(source), 4, level);
  const at = enable(context, source >> 5);
  plic.write(at, 4, plic.read(at, 4) | (1 << (source & 31)));
}

test("each context drives its own cause of its own hart", () => {
  open(0, 5);
  plic.line(5).set(true);
  expect(harts.map((hart) => hart.pending)).toEqual([[11], []]);
  open(3, 5);
  expect(harts.map((hart) => hart.pending)).toEqual([[11], [9]]);
});

test("claim gives the source of the highest priority, the lowest number among equals", () => {
  for (const [source, level] of [
    [40, 3],
    [7, 2],
    [95, 7],
    [33, 3],
  ] as const) {
    open(1, source, level);
    plic.line(source).set(true);
  }
  expect([1, 2, 3, 4, 5].map(() => plic.read(claim(1), 4))).toEqual([95, 33, 40, 7, 0]);
  expect(harts[0]!.pending).toEqual([]);
});

test("priority 0, a threshold at or above the priority, and a missing enable keep a source back", () => {
  plic.line(3).set(true);
  open(1, 3, 0);
  expect(harts[0]!.pending).toEqual([]);
  plic.write(priority(3), 4, 2);
  expect(harts[0]!.pending).toEqual([9]);
  plic.write(threshold(1), 4, 2);
  expect(harts[0]!.pending).toEqual([]);
  plic.write(threshold(1), 4, 1);
  expect(harts[0]!.pending).toEqual([9]);
  plic.write(enable(1), 4, 0);
  expect(harts[0]!.pending).toEqual([]);
  expect(plic.read(claim(1), 4)).toBe(0);
  expect(plic.read(pendingWord(0), 4)).toBe(8);
});

test("a claim does not look at the threshold", () => {
  open(1, 3, 2);
  plic.write(threshold(1), 4, 7);
  plic.line(3).set(true);
  expect(harts[0]!.pending).toEqual([]);
  expect(plic.read(claim(1), 4)).toBe(3);
});

test("a line that is still up at completion interrupts again, one that fell does not", () => {
  open(1, 10);
  const line = plic.line(10);
  line.set(true);
  expect(plic.read(claim(1), 4)).toBe(10);
  expect(harts[0]!.pending).toEqual([]);
  plic.write(claim(1), 4, 10);
  expect(harts[0]!.pending).toEqual([9]);
  expect(plic.read(claim(1), 4)).toBe(10);
  line.set(false);
  line.set(true);
  line.set(false);
  plic.write(claim(1), 4, 10);
  expect(harts[0]!.pending).toEqual([]);
  expect(plic.counters).toEqual({ raised: 2, claims: 2, completions: 2 });
});

test("a claimed source stays away from other contexts until it is completed", () => {
  open(1, 10);
  open(3, 10);
  plic.line(10).set(true);
  expect(plic.read(claim(3), 4)).toBe(10);
  expect(plic.read(claim(1), 4)).toBe(0);
  plic.write(claim(3), 4, 10);
  expect(harts.map((hart) => hart.pending)).toEqual([[9], [9]]);
});

test("a request whose line falls before its claim stays until it is claimed, and is made once", () => {
  open(1, 10);
  const line = plic.line(10);
  line.set(true);
  line.set(false);
  expect(harts[0]!.pending).toEqual([9]);
  expect(plic.read(pendingWord(0), 4)).toBe(1 << 10);
  line.set(true);
  line.set(false);
  expect(plic.read(claim(1), 4)).toBe(10);
  expect(harts[0]!.pending).toEqual([]);
  plic.write(claim(1), 4, 10);
  expect(harts[0]!.pending).toEqual([]);
  expect(plic.read(claim(1), 4)).toBe(0);
});

test("a request made while the source was not enabled waits for that", () => {
  plic.line(10).set(true);
  plic.line(10).set(false);
  expect(harts[0]!.pending).toEqual([]);
  open(1, 10);
  expect(harts[0]!.pending).toEqual([9]);
  expect(plic.read(claim(1), 4)).toBe(10);
});

test("completing a source that the context has not enabled, or that does not exist, changes nothing", () => {
  open(1, 10);
  plic.line(10).set(true);
  plic.read(claim(1), 4);
  for (const [context, source] of [
    [3, 10],
    [1, 0],
    [1, 96],
    [1, 0xffffffff],
  ] as const) {
    plic.write(claim(context), 4, source);
  }
  expect(harts[0]!.pending).toEqual([]);
  expect(plic.counters.completions).toBe(0);
});

test("registers keep what they can hold, and nothing is behind their ends", () => {
  plic.write(priority(95), 4, 0xff);
  expect(plic.read(priority(95), 4)).toBe(7);
  for (const offset of [priority(0), priority(96), enable(0, 3), enable(4), threshold(4), 0xffc, 0x5ffffc]) {
    plic.write(offset, 4, 0xffffffff);
    expect(plic.read(offset, 4), offset.toString(16)).toBe(0);
  }
  plic.write(enable(0), 4, 0xffffffff);
  expect(plic.read(enable(0), 4)).toBe(0xfffffffe);
  plic.write(pendingWord(0), 4, 0xffffffff);
  expect(plic.read(pendingWord(0), 4)).toBe(0);
  plic.write(priority(95), 1, 1);
  plic.write(priority(95) + 2, 4, 1);
  expect(plic.read(priority(95), 4)).toBe(7);
  expect(plic.read(priority(95), 2)).toBe(0);
});

test("a source that does not exist has no line", () => {
  for (const source of [0, PLIC_SOURCES + 1, 1.5, -1]) {
    expect(() => plic.line(source)).toThrow(expect.objectContaining({ code: "E_IRQ_SOURCE" }));
  }
});

test("a reset forgets all registers but not the levels of the lines", () => {
  open(1, 10);
  plic.line(10).set(true);
  plic.read(claim(1), 4);
  plic.reset();
  expect(harts[0]!.pending).toEqual([]);
  expect(plic.read(priority(10), 4)).toBe(0);
  expect(plic.read(pendingWord(0), 4)).toBe(1 << 10);
});

test("save and restore carry on in the middle of handling", () => {
  open(1, 10);
  open(1, 70, 3);
  plic.line(10).set(true);
  plic.line(70).set(true);
  expect(plic.read(claim(1), 4)).toBe(70);
  const copies = [new FakeHart(), new FakeHart()];
  const copy = new Plic(copies);
  // Lines belong to the devices that drive them.
  for (const source of [10, 70]) copy.line(source).set(true);
  copy.restore(structuredClone(plic.save()));
  expect(copy.save()).toEqual(plic.save());
  expect(copies[0]!.pending).toEqual([9]);
  expect(copy.read(claim(1), 4)).toBe(10);
  copy.write(claim(1), 4, 70);
  expect(copy.read(claim(1), 4)).toBe(70);
  expect(() => copy.restore({ ...plic.save(), threshold: [0, 0, 9, 0] })).toThrow(
    expect.objectContaining({
      code: "E_DEVICE_STATE",
      message: "saved state of plic: threshold must be 4 integers from 0 to 7",
    }),
  );
  expect(() => new Plic([new FakeHart()]).restore(plic.save())).toThrow(/must be/);
  const saved = plic.save();
  for (const [change, message] of [
    [{ pending: [1, 0, 0] }, "pending must be without bit 0"],
    [{ claimed: [1, 0, 0] }, "claimed must be without bit 0"],
    [{ enable: [0, 0, 0, 1, ...Array(8).fill(0)] }, "enable must be without bit 0"],
    [{ pending: [0, 0, 64], claimed: [0, 0, 64] }, "pending must be without sources that are claimed"],
    [{ priority: [1, ...Array(95).fill(0)] }, "priority must be 0 at its start"],
    [{ pending: [0, 0] }, "pending must be 3 integers"],
  ] as const) {
    expect(() => copy.restore({ ...saved, ...change })).toThrow(`saved state of plic: ${message}`);
  }
});

test("whatever the guest does, a source is claimed at most once between completions", () => {
  const source = fc.integer({ min: 1, max: PLIC_SOURCES });
  const step = fc.oneof(
    fc.record({ kind: fc.constant("line" as const), source, level: fc.boolean() }),
    fc.record({ kind: fc.constant("claim" as const), context: fc.integer({ min: 0, max: 3 }) }),
    fc.record({ kind: fc.constant("complete" as const), context: fc.integer({ min: 0, max: 3 }), source }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const subject = new Plic([new FakeHart(), new FakeHart()]);
      for (let index = 1; index <= PLIC_SOURCES; index++) subject.write(priority(index), 4, 1 + (index % 7));
      for (let context = 0; context < 4; context++) {
        for (let word = 0; word < 3; word++) subject.write(enable(context, word), 4, 0xffffffff);
      }
      const up = new Set<number>();
      const pending = new Set<number>();
      const claimed = new Set<number>();
      for (const action of steps) {
        if (action.kind === "line") {
          subject.line(action.source).set(action.level);
          if (!action.level) up.delete(action.source);
          else if (!up.has(action.source)) {
            up.add(action.source);
            if (!claimed.has(action.source)) pending.add(action.source);
          }
        } else if (action.kind === "claim") {
          const given = subject.read(claim(action.context), 4);
          const waiting = [...pending];
          waiting.sort((a, b) => (b % 7) - (a % 7) || a - b);
          expect(given).toBe(waiting[0] ?? 0);
          if (given !== 0) claimed.add(given);
          pending.delete(given);
        } else {
          subject.write(claim(action.context), 4, action.source);
          if (claimed.delete(action.source) && up.has(action.source)) pending.add(action.source);
        }
        expect(subject.save().pending).toEqual(
          [0, 1, 2].map((word) =>
            [...pending].reduce(
              (bits, each) => (each >> 5 === word ? (bits | (1 << (each & 31))) >>> 0 : bits),
              0,
            ),
          ),
        );
      }
    }),
  );
});
