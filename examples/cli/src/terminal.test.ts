import { describe, expect, it, vi } from "vitest";
import { FakeInput, FakeOutput } from "../test/streams.js";
import { openTerminal, type TerminalOptions } from "./terminal.js";

function connect(isTTY: boolean, options: Partial<TerminalOptions> = {}) {
  const input = new FakeInput(isTTY);
  const output = new FakeOutput();
  const seen = { sent: "", quits: [] as string[], sizes: [] as string[], notices: "" };
  const terminal = openTerminal({
    input,
    output,
    isRaw: true,
    send: (bytes) => {
      seen.sent += Buffer.from(bytes).toString("latin1");
      return bytes.length;
    },
    resize: (columns, rows) => seen.sizes.push(`${columns}x${rows}`),
    quit: (reason) => seen.quits.push(reason),
    notice: (text) => (seen.notices += text),
    ...options,
  });
  return { input, output, terminal, seen };
}

describe("a terminal", () => {
  it("goes raw, says how to quit, and is restored once", () => {
    const { input, terminal, seen } = connect(true);
    expect(input.isRaw).toBe(true);
    expect(seen.notices).toContain("Ctrl-A x");
    terminal.close();
    expect(input.isRaw).toBe(false);
    expect(input.isPaused).toBe(true);
    input.emit("data", Buffer.from("late"));
    terminal.close();
    expect(seen.sent).toBe("");
  });

  it("is restored when the process exits, and leaves no listener behind", () => {
    const before = process.listenerCount("exit");
    const { input, terminal } = connect(true);
    for (const listener of process.listeners("exit").slice(before)) (listener as () => void)();
    expect(input.isRaw).toBe(false);
    terminal.close();
    expect(process.listenerCount("exit")).toBe(before);
    expect(process.listenerCount("SIGTERM")).toBe(0);
  });

  it("passes Ctrl-C on, and knows its own keys even when they come apart", () => {
    const { input, terminal, seen } = connect(true);
    input.emit("data", Buffer.from("a\x03\x01"));
    input.emit("data", Buffer.from("ab\x01\x01"));
    expect(seen.sent).toBe("a\x03\x01b\x01");
    input.emit("data", Buffer.from("\x01h"));
    expect(seen.notices).toContain("this help");
    input.emit("data", Buffer.from("\x01x"));
    expect(seen.quits).toEqual(["user"]);
    terminal.close();
  });

  it("tells its size at the start and when it changes", () => {
    const { output, terminal, seen } = connect(true);
    output.columns = 100;
    output.rows = 30;
    output.emit("resize");
    expect(seen.sizes).toEqual(["100x30"]);
    terminal.close();
  });
});

describe("a pipe", () => {
  it("sends its bytes and then Ctrl-D, twice after an unfinished line", () => {
    for (const [text, expected] of [
      ["ls\n", "ls\n\x04"],
      ["ls", "ls\x04\x04"],
      ["\x01x\n", "\x01x\n\x04"],
    ]) {
      const { input, terminal, seen } = connect(false);
      input.emit("data", Buffer.from(text));
      input.emit("end");
      expect(seen.sent).toBe(expected);
      expect(input.isRaw).toBe(false);
      terminal.close();
    }
  });

  it("waits while the guest takes no more, and loses nothing", async () => {
    let sent = "";
    let room = 10;
    const { input, terminal } = connect(false, {
      send: (bytes) => {
        const taken = Math.min(room, bytes.length);
        room -= taken;
        sent += Buffer.from(bytes.subarray(0, taken)).toString("latin1");
        return taken;
      },
    });
    const text = Array.from({ length: 2000 }, (_, index) => `line ${index}\n`).join("");
    input.emit("data", Buffer.from(text));
    input.emit("end");
    expect(sent).toBe(text.slice(0, 10));
    expect(input.isPaused).toBe(true);
    room = Number.MAX_SAFE_INTEGER;
    await vi.waitFor(() => expect(sent).toBe(`${text}\x04`));
    expect(input.isPaused).toBe(false);
    terminal.close();
  });

  it("is held back until the guest is ready", () => {
    const { input, output, terminal, seen } = connect(false, { holdInputUntil: "ready" });
    input.emit("data", Buffer.from("ls\n"));
    terminal.write(Buffer.from("booting, re"));
    expect(seen.sent).toBe("");
    terminal.write(Buffer.from("ady\n"));
    expect(seen.sent).toBe("ls\n");
    expect(output.text).toBe("booting, ready\n");
    terminal.close();
  });

  it("quits once when nobody reads the output", () => {
    const { output, terminal, seen } = connect(false);
    output.emit("error", new Error("EPIPE"));
    output.emit("error", new Error("EPIPE"));
    terminal.write(Buffer.from("unread"));
    expect(seen.quits).toEqual(["closed"]);
    expect(output.text).toBe("");
    terminal.close();
  });
});
