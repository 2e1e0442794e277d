/** The firmware's console beside a UART on the same terminal and keyboard, on a board. */
import { beforeEach, expect, test } from "vitest";
import { FakeClock, FakeConsole, FakeHart, noMemory } from "../../test/fakes.js";
import { type VirtBoard, virtBoard } from "../boards/virt/virt.js";

const DATA = 0x10000000;
const IER = DATA + 1;
const text = (string: string): Uint8Array => new TextEncoder().encode(string);

let terminal: FakeConsole;
let board: VirtBoard;
const make = (): VirtBoard =>
  virtBoard({
    memory: noMemory,
    ramBytes: 1 << 20,
    harts: [new FakeHart()],
    clock: new FakeClock(),
    console: terminal,
    onPower: () => {},
  });
const ask = (limit: number): string => new TextDecoder().decode(board.firmware.read(limit));
const print = (string: string): void => {
  for (const byte of text(string)) board.bus.write(DATA, 1, byte);
};
/** What a UART driver that waits for the interrupt finds. */
const taken = (): string => {
  let got = "";
  while ((board.bus.read(DATA + 5, 1)! & 1) !== 0) got += String.fromCharCode(board.bus.read(DATA, 1)!);
  return got;
};

beforeEach(() => {
  terminal = new FakeConsole();
  board = make();
});

test("it gives what was typed, in pieces, and then nothing", () => {
  expect(board.receive(text("hello"))).toBe(5);
  expect([ask(1), ask(3), ask(9), ask(9)]).toEqual(["h", "ell", "o", ""]);
  expect(board.counters().firmware).toEqual({ sent: 0, received: 5 });
});

test("it prints in the order of the guest's bytes, whichever console they went to", () => {
  print("uart ");
  board.firmware.write(text("firmware "));
  print("uart");
  board.flush();
  expect(terminal.writes).toEqual(["uart ", "firmware ", "uart"]);
});

test("of two open consoles the one that printed last gets what is typed", () => {
  board.bus.write(IER, 1, 1);
  print("login: ");
  board.receive(text("a"));
  expect(taken()).toBe("a");
  ask(9);
  board.firmware.write(text("# "));
  board.receive(text("bc"));
  expect(taken()).toBe("");
  expect(ask(9)).toBe("bc");
  print("login: ");
  board.receive(text("d"));
  expect(ask(9)).toBe("");
  expect(taken()).toBe("d");
});

test("a kernel that prints there and asks no more keeps nothing from the others", () => {
  board.bus.write(IER, 1, 1);
  print("# ");
  ask(9);
  board.firmware.write(text("[ 1.0] message\n"));
  board.receive(text("ls"));
  expect(taken()).toBe("");
  for (let line = 0; line < 0x500; line++) board.firmware.write(text("[ 2.0] message\n"));
  expect(taken()).toBe("ls");
});

test("a copy goes on where it was saved", () => {
  board.bus.write(IER, 1, 1);
  print("# ");
  ask(9);
  board.firmware.write(text("# "));
  board.receive(text("typed"));
  const saved = structuredClone(board.save());
  board = make();
  board.restore(saved);
  expect(board.save()).toEqual(saved);
  expect(taken()).toBe("");
  expect(ask(9)).toBe("typed");
  expect(() => make().restore({ ...saved, firmware: { silence: -1 } })).toThrow(
    "saved state of firmware: silence must be an integer from 0 to 16384",
  );
  board.reset();
  board.bus.write(IER, 1, 1);
  board.receive(text("again"));
  expect(taken()).toBe("again");
});
