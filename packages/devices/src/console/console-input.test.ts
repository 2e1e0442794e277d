import fc from "fast-check";
import { beforeEach, describe, expect, test } from "vitest";
import { ConsoleInput, type ConsoleListener, type ConsolePort } from "./console-input.js";

const text = (string: string): Uint8Array => new TextEncoder().encode(string);

/** A console whose driver says whether it listens, and keeps what it gets. */
class Listener implements ConsoleListener {
  listening = false;
  got = "";
  /** Bytes that it takes in all. */
  room = Infinity;
  readonly port: ConsolePort;

  constructor(
    readonly name: string,
    input: ConsoleInput,
    readonly certain = true,
  ) {
    this.port = input.attach(this);
  }

  listen(listening: boolean): void {
    this.listening = listening;
    this.port.changed();
  }

  deliver(): void {
    const bytes = this.port.take(this.room);
    this.room -= bytes.length;
    this.got += new TextDecoder().decode(bytes);
  }

  /** What its driver gets when it asks. */
  ask(): string {
    return new TextDecoder().decode(this.port.take(100));
  }
}

let input: ConsoleInput;
let uart: Listener;
let hvc: Listener;
let firmware: Listener;
beforeEach(() => {
  input = new ConsoleInput();
  uart = new Listener("uart0", input);
  hvc = new Listener("console", input, false);
  firmware = new Listener("firmware", input);
});

describe("input goes", () => {
  test("to whoever asks first while none listens", () => {
    input.receive(text("typed ahead"));
    expect(input.length).toBe(11);
    expect(firmware.ask()).toBe("typed ahead");
    expect(uart.ask()).toBe("");
  });

  test("to the one that listens, whatever else was printed on", () => {
    firmware.port.printed();
    input.receive(text("a"));
    uart.listen(true);
    input.receive(text("b"));
    expect(uart.got).toBe("ab");
  });

  test("to the one of several that was printed on last", () => {
    uart.port.printed();
    uart.listen(true);
    hvc.port.printed();
    hvc.listen(true);
    input.receive(text("hvc "));
    expect(uart.ask()).toBe("");
    uart.port.printed();
    input.receive(text("uart "));
    hvc.port.printed();
    input.receive(text("hvc"));
    expect([uart.got, hvc.got]).toEqual(["uart ", "hvc hvc"]);
  });

  test("not to a console whose driver is merely there, while others are printed on", () => {
    uart.port.printed();
    hvc.listen(true);
    input.receive(text("wait"));
    expect(hvc.got).toBe("");
    uart.listen(true);
    expect([uart.got, hvc.got]).toEqual(["wait", ""]);
    uart.listen(false);
    input.receive(text("for me"));
    hvc.port.printed();
    expect(hvc.got).toBe("for me");
  });

  test("to a console that is merely there, if none was printed on", () => {
    hvc.listen(true);
    input.receive(text("hello"));
    expect(hvc.got).toBe("hello");
  });

  test("to the next one when the first ceases to listen", () => {
    uart.port.printed();
    firmware.port.printed();
    firmware.listening = true;
    firmware.room = 0;
    uart.listen(true);
    input.receive(text("later"));
    expect(uart.got).toBe("");
    firmware.listen(false);
    expect(uart.got).toBe("later");
  });
});

test("a byte that is given back is the first to be taken again", () => {
  input.receive(text("bc"));
  uart.port.giveBack(97);
  expect(uart.ask()).toBe("abc");
});

test("64 KiB wait, and what is delivered makes room", () => {
  expect(input.receive(new Uint8Array(70_000))).toBe(65_536);
  expect(input.receive(text("x"))).toBe(0);
  uart.room = 10_000;
  uart.listen(true);
  expect(input.receive(new Uint8Array(20_000))).toBe(10_000);
  uart.room = Infinity;
  expect(input.receive(new Uint8Array(200_000))).toBe(0);
  uart.port.changed();
  expect(input.receive(new Uint8Array(200_000))).toBe(200_000);
  expect(input.counters.received).toBe(275_536);
});

test("every byte comes out once and in order, whoever listens and prints", () => {
  const index = fc.nat(2);
  const step = fc.oneof(
    fc.record({ kind: fc.constant("type" as const), count: fc.nat(20) }),
    fc.record({ kind: fc.constantFrom("print", "listen", "ignore", "ask"), index }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
      const line = new ConsoleInput();
      const order: number[] = [];
      const consoles = ["a", "b", "c"].map((name, at) => {
        const each = new Listener(name, line, at !== 1);
        each.deliver = () => void order.push(...each.port.take(3));
        return each;
      });
      let typed = 0;
      for (const action of steps) {
        if (action.kind === "type") {
          const bytes = Uint8Array.from({ length: action.count }, () => typed++);
          expect(line.receive(bytes)).toBe(bytes.length);
          continue;
        }
        const console = consoles[action.index]!;
        if (action.kind === "print") console.port.printed();
        else if (action.kind === "ask") order.push(...console.port.take(2));
        else console.listen(action.kind === "listen");
        if (consoles[0]!.listening || consoles[2]!.listening) expect(line.length).toBe(0);
      }
      for (const console of consoles) console.listen(false);
      order.push(...consoles[0]!.port.take(Infinity));
      expect(order).toEqual(Array.from({ length: typed }, (_, byte) => byte & 0xff));
    }),
    { numRuns: 500 },
  );
});

test("a copy goes on where the input was saved; other states are refused by name", () => {
  uart.port.printed();
  hvc.port.printed();
  input.receive(text("typed"));
  const saved = structuredClone(input.save());
  expect(saved).toEqual({ waiting: text("typed"), printed: ["console", "uart0"] });
  const copy = new ConsoleInput();
  const [first, second] = [new Listener("uart0", copy), new Listener("console", copy)];
  copy.restore(saved);
  expect(copy.save()).toEqual(saved);
  first.listening = true;
  second.listen(true);
  expect([first.got, second.got]).toEqual(["", "typed"]);
  for (const [change, message] of [
    [{ waiting: new Uint8Array(70_000) }, "waiting must be at most"],
    [{ waiting: "abc" }, "waiting must be bytes"],
    [{ printed: ["firmware"] }, "printed must name consoles of this machine"],
    [{ printed: ["uart0", "uart0"] }, "printed must name each console once"],
    [{ printed: ["uart0", "console", "uart0"] }, "printed must be at most 2 names"],
    [{ printed: [1] }, "printed must be at most 2 names"],
  ] as const) {
    expect(() => copy.restore({ ...saved, ...change })).toThrow(`saved state of input: ${message}`);
  }
});
