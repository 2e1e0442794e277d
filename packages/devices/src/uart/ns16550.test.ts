import fc from "fast-check";
import { beforeEach, describe, expect, test } from "vitest";
import { FakeConsole, FakeIrq } from "../../test/fakes.js";
import { ConsoleInput } from "../console/console-input.js";
import { Ns16550 } from "./ns16550.js";

const DATA = 0;
const IER = 1;
const IIR = 2;
const FCR = 2;
const LCR = 3;
const MCR = 4;
const LSR = 5;
const MSR = 6;
const SCR = 7;
const text = (string: string): Uint8Array => new TextEncoder().encode(string);

let irq: FakeIrq;
let terminal: FakeConsole;
let input: ConsoleInput;
let uart: Ns16550;
beforeEach(() => {
  irq = new FakeIrq();
  terminal = new FakeConsole();
  input = new ConsoleInput();
  uart = new Ns16550("uart0", irq, terminal, input);
});

const read = (register: number): number => uart.read(register, 1);
const write = (register: number, value: number): void => uart.write(register, 1, value);
const print = (string: string): void => {
  for (const byte of text(string)) write(DATA, byte);
};
/** Looks that find nothing before a guest that polls gives up here: more than it takes to count as polling. */
const IDLE = 40;
/** Takes what a guest that polls the line status gets, until `IDLE` looks in a row show nothing. */
function poll(between: () => void = () => {}): string {
  let taken = "";
  for (let idle = 0; idle < IDLE; ) {
    between();
    if ((read(LSR) & 1) !== 0) {
      taken += String.fromCharCode(read(DATA));
      idle = 0;
    } else idle++;
  }
  return taken;
}

describe("output", () => {
  test("goes on at a newline, at a full buffer, and on demand", () => {
    print("hello\nwor");
    expect(terminal.writes).toEqual(["hello\n"]);
    uart.flush();
    uart.flush();
    expect(terminal.writes).toEqual(["hello\n", "wor"]);
    print("x".repeat(1500));
    expect(terminal.writes[2]).toBe("x".repeat(1024));
    expect(uart.counters.sent).toBe(1509);
  });

  test("the transmitter is always empty", () => {
    write(DATA, 65);
    expect(read(LSR)).toBe(0x60);
  });
});

describe("input", () => {
  test("reaches a guest that polls, in order and through the FIFO's size", () => {
    write(FCR, 1);
    input.receive(text("the quick brown fox jumps"));
    expect(poll()).toBe("the quick brown fox jumps");
    expect(uart.counters.received).toBe(25);
  });

  test("reaches a guest that waits for the interrupt", () => {
    write(FCR, 0x81);
    write(IER, 1);
    expect(input.receive(text("0123456789abcdefgh"))).toBe(18);
    expect(irq.level).toBe(true);
    expect(read(IIR)).toBe(0xc4);
    let taken = "";
    while ((read(LSR) & 1) !== 0) taken += String.fromCharCode(read(DATA));
    expect(taken).toBe("0123456789abcdefgh");
    expect(irq.level).toBe(false);
    expect(read(IIR)).toBe(0xc1);
    input.receive(text("i"));
    expect(read(IIR)).toBe(0xcc);
  });

  test("survives a driver that throws data away when it starts", () => {
    input.receive(text("ls\n"));
    // Linux 6.12's 8250 driver opening a port: clear the FIFO, throw away what is there, try the transmitter
    // interrupt, throw away again, then listen.
    for (const value of [1, 7, 0]) write(FCR, value);
    for (const register of [LSR, DATA, IIR, MSR, LSR, LSR]) read(register);
    write(IER, 2);
    read(IIR);
    write(IER, 0);
    write(LCR, 3);
    write(MCR, 9);
    write(IER, 2);
    for (const register of [LSR, IIR]) read(register);
    write(IER, 0);
    for (const register of [LSR, DATA, IIR, MSR]) read(register);
    write(IER, 5);
    write(FCR, 1);
    write(FCR, 0x81);
    expect(read(LSR) & 1).toBe(1);
    expect([read(DATA), read(DATA), read(DATA)]).toEqual([...text("ls\n")]);
    expect(uart.counters.received).toBe(3);
  });

  test.each<[string, () => void]>([
    ["nothing", () => {}],
    ["IER", () => read(IER)],
    ["IIR", () => read(IIR)],
    ["LCR", () => read(LCR)],
    ["MCR", () => read(MCR)],
    ["MSR", () => read(MSR)],
    ["SCR", () => read(SCR)],
    ["every register", () => [IER, IIR, LCR, MCR, MSR, SCR].map(read)],
    ["a write of IER", () => write(IER, 0)],
    ["a change of IER", () => [2, 0].map((value) => write(IER, value))],
    ["a write of LCR", () => write(LCR, 3)],
    ["a change of LCR", () => [0x43, 3].map((value) => write(LCR, value))],
    ["a change of MCR", () => [11, 9].map((value) => write(MCR, value))],
    ["a write of SCR", () => write(SCR, 0x5a)],
    ["a trigger level", () => write(FCR, 0x41)],
    ["output", () => print(".")],
  ])("reaches a guest that polls with %s between two looks", (_, between) => {
    write(FCR, 0x41);
    expect(poll(between)).toBe("");
    input.receive(text("the quick brown fox jumps"));
    expect(poll(between)).toBe("the quick brown fox jumps");
    expect(input.length).toBe(0);
  });

  test("reaches a guest that reads data until there is some", () => {
    input.receive(text("x"));
    let byte = 0;
    for (let looks = 0; byte === 0 && looks < IDLE; looks++) byte = read(DATA);
    expect(byte).toBe(120);
  });

  test("is not taken by a guest that looks only to print", () => {
    input.receive(text("ls\n"));
    for (let byte = 0; byte < 200; byte++) {
      read(LSR);
      print("x");
    }
    // Another console of the machine may still have it, and so may this one.
    expect(input.length).toBe(3);
    expect(poll()).toBe("ls\n");
  });

  test.each<[string, () => void]>([
    [
      "OpenSBI",
      () => {
        write(IER, 0);
        write(LCR, 0x80);
        write(0, 1);
        write(1, 0);
        write(LCR, 3);
        write(FCR, 1);
        write(MCR, 0);
        read(LSR);
        read(DATA);
        write(SCR, 0);
      },
    ],
    [
      "a driver that empties the receiver",
      () => {
        write(FCR, 7);
        for (let most = 0; most < 4096 && (read(LSR) & 1) !== 0; most++) read(DATA);
      },
    ],
    [
      "a test of loop-back",
      () => {
        write(MCR, 0x10);
        print("a");
        read(LSR);
        read(DATA);
        write(MCR, 0);
        read(DATA);
      },
    ],
  ])("survives the start of %s after a guest that polled", (_, start) => {
    expect(poll()).toBe("");
    input.receive(text("typed"));
    expect(read(LSR) & 1).toBe(1);
    start();
    expect(poll()).toBe("typed");
  });

  test("is taken up to 64 KiB ahead; the rest stays with the host", () => {
    expect(input.receive(new Uint8Array(60_000).fill(1))).toBe(60_000);
    expect(input.receive(new Uint8Array(10_000).fill(2))).toBe(5536);
    expect(input.receive(new Uint8Array(1))).toBe(0);
    expect(poll()).toHaveLength(65_536);
    expect(input.receive(new Uint8Array(1))).toBe(1);
  });

  test("reaches a guest that prints while it polls", () => {
    input.receive(text("x"));
    let looks = 0;
    while ((read(LSR) & 1) === 0 && looks++ < IDLE) print(".");
    expect(read(DATA)).toBe(120);
  });

  test("waits while the receiver is looped back", () => {
    write(IER, 1);
    write(MCR, 0x10);
    input.receive(text("a"));
    expect(irq.level).toBe(false);
    write(MCR, 0);
    expect(irq.level).toBe(true);
    expect(read(DATA)).toBe(97);
  });

  test("reading an empty receiver gives zero", () => {
    expect(read(DATA)).toBe(0);
  });

  test("in any pieces arrives whole and in order", () => {
    fc.assert(
      fc.property(
        fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 8 }),
        fc.boolean(),
        (pieces, fifo) => {
          const line = new ConsoleInput();
          const subject = new Ns16550("uart0", new FakeIrq(), new FakeConsole(), line);
          subject.write(FCR, 1, fifo ? 1 : 0);
          subject.write(IER, 1, 1);
          const got: number[] = [];
          for (const piece of pieces) {
            expect(line.receive(piece)).toBe(piece.length);
            // Changing the FIFO's mode clears it, which must not lose anything either.
            subject.write(FCR, 1, piece.length % 2);
            if ((subject.read(LSR, 1) & 1) !== 0) got.push(subject.read(DATA, 1));
          }
          while ((subject.read(LSR, 1) & 1) !== 0) got.push(subject.read(DATA, 1));
          expect(got).toEqual(pieces.flatMap((piece) => [...piece]));
        },
      ),
    );
  });
});

describe("interrupts", () => {
  test("enabling the transmitter interrupt raises it; reading IIR answers it; writing data raises it again", () => {
    write(IER, 2);
    expect(irq.level).toBe(true);
    expect(read(IIR)).toBe(2);
    expect(irq.level).toBe(false);
    expect(read(IIR)).toBe(1);
    write(DATA, 65);
    expect(irq.level).toBe(true);
    write(IER, 0);
    expect(irq.level).toBe(false);
    write(IER, 2);
    expect(read(IIR)).toBe(2);
    expect(uart.counters.interrupts).toBe(3);
  });

  test("the most urgent one is told first", () => {
    write(IER, 15);
    write(MCR, 0x10);
    write(DATA, 1);
    write(DATA, 2);
    expect(read(IIR)).toBe(6);
    expect(read(LSR)).toBe(0x63);
    expect(read(IIR)).toBe(4);
    expect(read(DATA)).toBe(1);
    expect(read(IIR)).toBe(2);
    expect(read(IIR)).toBe(0);
    expect(read(MSR)).toBe(0x0b);
    expect(read(IIR)).toBe(1);
    expect(irq.level).toBe(false);
    expect(uart.counters.overruns).toBe(1);
  });
});

describe("registers", () => {
  test("the divisor latch hides data and IER", () => {
    write(IER, 15);
    write(LCR, 0x80);
    expect([read(0), read(1)]).toEqual([12, 0]);
    write(0, 0x34);
    write(1, 0x12);
    expect([read(0), read(1)]).toEqual([0x34, 0x12]);
    write(LCR, 3);
    expect(read(IER)).toBe(15);
    expect(terminal.writes).toEqual([]);
  });

  test("loop-back turns outputs into inputs and sends data back", () => {
    expect(read(MSR)).toBe(0xb0);
    write(MCR, 0x1a);
    expect(read(MSR) & 0xf0).toBe(0x90);
    write(MCR, 0x15);
    expect(read(MSR)).toBe(0x6b);
    write(MCR, 0x10);
    expect(read(MSR)).toBe(0x06);
    write(FCR, 1);
    print("0123456789abcdefX");
    expect(read(LSR)).toBe(0x63);
    write(MCR, 0);
    expect(poll()).toBe("0123456789abcdef");
    expect(terminal.writes).toEqual([]);
    expect(uart.counters).toMatchObject({ sent: 0, received: 0 });
  });

  test("clearing the FIFO drops looped data", () => {
    write(FCR, 1);
    write(MCR, 0x10);
    print("abc");
    write(FCR, 3);
    write(MCR, 0);
    expect(poll()).toBe("");
  });

  test("a driver can tell that it is a 16550A", () => {
    write(SCR, 0xa5);
    expect(read(SCR)).toBe(0xa5);
    write(IER, 0xff);
    expect(read(IER)).toBe(15);
    write(FCR, 0xe7);
    expect(read(IIR) & 0xf0).toBe(0xc0);
    write(FCR, 0);
    expect(read(IIR) & 0xf0).toBe(0);
    write(MCR, 0xff);
    expect(read(MCR)).toBe(31);
  });

  test("wide accesses reach the register at their address; nothing is behind the last", () => {
    uart.write(SCR, 4, 0x12345678);
    expect(uart.read(SCR, 4)).toBe(0x78);
    uart.write(0x17, 1, 1);
    expect(uart.read(0x17, 1)).toBe(0);
    expect(uart.read(SCR, 1)).toBe(0x78);
  });
});

test("reset restores the registers, keeps input and hands on output", () => {
  write(IER, 1);
  write(FCR, 1);
  input.receive(text("typed ahead"));
  print("last words");
  uart.reset();
  expect(terminal.writes).toEqual(["last words"]);
  expect(irq.level).toBe(false);
  expect([read(IER), read(IIR), read(LCR), read(MCR), read(MSR)]).toEqual([0, 1, 0, 0, 0xb0]);
  expect(poll()).toBe("typed ahead");
});

test("save and restore carry registers, FIFO and waiting input", () => {
  write(FCR, 0xc1);
  write(LCR, 0x83);
  write(1, 2);
  write(LCR, 3);
  write(IER, 3);
  write(MCR, 0x0b);
  write(SCR, 9);
  input.receive(text("more than the sixteen bytes of the FIFO"));
  print("out");
  const saved = structuredClone(uart.save());
  expect(terminal.writes).toEqual(["out"]);
  const line = new FakeIrq();
  const typed = new ConsoleInput();
  const copy = new Ns16550("uart0", line, new FakeConsole(), typed);
  typed.restore(structuredClone(input.save()));
  copy.restore(saved);
  expect(copy.save()).toEqual(saved);
  expect(line.level).toBe(true);
  let taken = "";
  while ((copy.read(LSR, 1) & 1) !== 0) taken += String.fromCharCode(copy.read(DATA, 1));
  expect(taken).toBe("more than the sixteen bytes of the FIFO");
});

test("a saved state that does not fit is refused by name", () => {
  const saved = uart.save();
  for (const [field, value] of Object.entries({
    divisor: 0x10000,
    fifo: Array(17).fill(0),
    interruptEnable: 16,
    lineControl: "3",
    looks: 17,
    modemControl: -1,
    overrun: 1,
    scratch: 0.5,
  })) {
    expect(() => uart.restore({ ...saved, [field]: value })).toThrow(
      `saved state of uart0: ${field} must be`,
    );
  }
  // Without its FIFO the receiver holds one byte.
  expect(() => uart.restore({ ...saved, fifoControl: 0, fifo: [1, 2] })).toThrow(
    "saved state of uart0: fifo must be at most 1 integers from 0 to 511",
  );
  expect(uart.save()).toEqual(saved);
});
