/** Boards as lists of parts: what goes together, and what is done to all of them. */
import { expect, test } from "vitest";
import { FakeClock, FakeIrq, noMemory } from "../../test/fakes.js";
import type { DeviceState } from "../ports.js";
import type { Drain } from "../virtio/requests.js";
import { Board, type BoardEnvironment } from "./board.js";
import { type BoardPart, mmioPart, type PartContext, type PartDevice } from "./part.js";

const lines = new Map<number, FakeIrq>();
const environment: BoardEnvironment = {
  memory: noMemory,
  ram: { base: 0x80000000, size: 0x100000 },
  clock: new FakeClock(),
  wake: () => {},
  controller: "controller",
  line: (source) => {
    const line = new FakeIrq();
    lines.set(source, line);
    return line;
  },
};
const make = (...parts: BoardPart[]): Board => new Board(parts, environment);

/** A part that notes in `log` what is done to it. */
function noting(name: string, log: string[], more: Partial<PartDevice> = {}): BoardPart {
  return {
    name,
    make: () => ({
      reset: () => void log.push(`reset ${name}`),
      save: () => ({ name }),
      restore: (state: DeviceState) => void log.push(`restore ${name} from ${state.name}`),
      counters: { [name]: 1 },
      dispose: () => void log.push(`dispose ${name}`),
      ...more,
    }),
  };
}
const at = (part: BoardPart, base: number, size = 0x100, interrupts: number[] = []): BoardPart => ({
  ...part,
  ranges: [{ base, size }],
  interrupts,
  make: (context) => ({ ...part.make(context), registers: [{ read: () => base, write: () => {} }] }),
});

test("a part gets its interrupts in its order, and what else it asks of the machine", () => {
  let seen: PartContext | undefined;
  const board = make(
    mmioPart({
      name: "own",
      base: 0x1000,
      size: 0x100,
      make: (context) => {
        seen = context;
        return { ...noting("own", []).make(context), read: (offset) => offset, write: () => {} };
      },
    }),
    {
      ...noting("two", []),
      interrupts: [7, 5],
      make: (context) => {
        context.interrupts[1]!.set(true);
        return noting("two", []).make(context);
      },
    },
  );
  expect([lines.get(7)!.level, lines.get(5)!.level]).toEqual([false, true]);
  expect([seen?.memory, seen?.clock, seen?.interrupts]).toEqual([noMemory, environment.clock, []]);
  expect(board.bus.read(0x1020, 4)).toBe(0x20);
  // Registers of its own that move.
  const window = seen!.bus.map(undefined, 0x10, { read: () => 77, write: () => {} }, "own");
  expect(window.move(0x1000)).toBe(false);
  expect(window.move(0x2000)).toBe(true);
  expect(board.bus.read(0x2000, 1)).toBe(77);
});

test("parts that do not go together are refused before any is made, by the names of both", () => {
  const log: string[] = [];
  const one = at(noting("one", log), 0x1000, 0x100, [5]);
  const unmade = (part: BoardPart): BoardPart => ({ ...part, make: () => expect.unreachable(part.name) });
  for (const [parts, code, message] of [
    [
      [one, at(noting("one", log), 0x2000)],
      "E_PART_NAME",
      "one (at 0x2000) has the name of one (at 0x1000): call one of them otherwise",
    ],
    [
      [noting("1st", log)],
      "E_PART_NAME",
      'a part can\'t be called "1st": use up to 64 letters, digits and _ : . - after a letter',
    ],
    [
      [one, at(noting("two", log), 0x10ff)],
      "E_BUS_OVERLAP",
      "two (0x10ff to 0x11fe) overlaps one (0x1000 to 0x10ff): move one of them",
    ],
    [
      [at(noting("two", log), 0x7fffff80)],
      "E_BUS_OVERLAP",
      "two (0x7fffff80 to 0x8000007f) overlaps RAM (0x80000000 to 0x800fffff): move one of them",
    ],
    [[at(noting("two", log), 0x1000, 0)], "E_BUS_RANGE", "two: 0 bytes from 4096 is not an address range"],
    [
      [one, at(noting("two", log), 0x2000, 0x100, [4, 5])],
      "E_IRQ_TAKEN",
      "two (at 0x2000) wants interrupt 5, which one (at 0x1000) has: give it another",
    ],
    [
      [at(noting("two", log), 0x2000, 0x100, [4, 4])],
      "E_IRQ_TAKEN",
      "two (at 0x2000) wants interrupt 4, which two (at 0x2000) has: give it another",
    ],
  ] as const) {
    expect(() => make(...parts.map(unmade)), message).toThrow(expect.objectContaining({ code, message }));
  }
});

test("a board that can't be finished lets go of what it has made", () => {
  const log: string[] = [];
  const fails: BoardPart = {
    ...noting("fails", log),
    make: () => {
      throw new Error("no such file");
    },
  };
  expect(() => make(noting("one", log), noting("two", log), fails)).toThrow("no such file");
  expect(log.splice(0)).toEqual(["dispose two", "dispose one"]);
  const bare = {
    ...noting("bare", log),
    ranges: [
      { base: 0, size: 4 },
      { base: 8, size: 4 },
    ],
  };
  expect(() => make(noting("one", log), bare)).toThrow(
    expect.objectContaining({
      code: "E_PART_DEVICE",
      message: "bare has 2 address ranges and registers for 0: give it registers for each",
    }),
  );
  expect(log).toEqual(["dispose bare", "dispose one"]);
});

test("parts are reset and restored in their order, the interrupt controller last, and disposed of backwards", () => {
  const log: string[] = [];
  const board = make(noting("controller", log), noting("one", log), noting("two", log), {
    ...noting("slot", log),
    isVacant: true,
  });
  board.reset();
  expect(log.splice(0)).toEqual(["reset one", "reset two", "reset slot", "reset controller"]);
  const saved = board.save();
  expect(saved).toEqual({ controller: { name: "controller" }, one: { name: "one" }, two: { name: "two" } });
  expect(board.counters()).toEqual({ controller: { controller: 1 }, one: { one: 1 }, two: { two: 1 } });
  board.restore(saved);
  expect(log.splice(0)).toEqual([
    "restore one from one",
    "restore two from two",
    "restore controller from controller",
  ]);
  board.dispose();
  board.dispose();
  expect(log).toEqual(["dispose controller", "dispose slot", "dispose two", "dispose one"]);
});

test("nothing is restored where a part is missing or too many", () => {
  const log: string[] = [];
  const board = make(noting("one", log), noting("constructor", log));
  expect(() => board.restore({ one: {}, two: {} })).toThrow("the saved board has two, this one has not");
  expect(() => board.restore({ one: {} })).toThrow("the saved board has no constructor, this one has");
  expect(log).toEqual([]);
});

test("all parts are disposed of, also where one of them fails", () => {
  const log: string[] = [];
  const throws = {
    dispose: () => {
      throw new Error("it is stuck");
    },
  };
  const board = make(noting("one", log), noting("two", log, throws), noting("three", log));
  expect(() => board.dispose()).toThrow("it is stuck");
  expect(log).toEqual(["dispose three", "dispose one"]);
});

test("time, output and backends are those of all parts", async () => {
  const log: string[] = [];
  let finish = (): void => {};
  let isBusy = true;
  const waiting: Drain = {
    drained: new Promise((resolve) => {
      finish = resolve;
    }),
    release: () => void log.push("release"),
  };
  const board = make(
    noting("still", log),
    noting("timer", log, { tick: () => void log.push("tick"), deadline: () => 700 }),
    noting("alarm", log, { deadline: () => 500 }),
    {
      ...noting("disk", log),
      make: (context) =>
        Object.defineProperty(
          noting("disk", log, { flush: () => void log.push("flush"), drain: () => waiting }).make(context),
          "busy",
          { get: () => isBusy },
        ),
    },
  );
  expect([board.deadline(), make().deadline()]).toEqual([500, Infinity]);
  board.tick();
  board.flush();
  expect(board.busy()).toBe(true);
  const drain = board.drain();
  drain.drained.then(() => log.push("drained"));
  await Promise.resolve();
  expect(log.splice(0)).toEqual(["tick", "flush"]);
  isBusy = false;
  finish();
  await drain.drained;
  drain.release();
  expect([log, board.busy()]).toEqual([["drained", "release"], false]);
});
