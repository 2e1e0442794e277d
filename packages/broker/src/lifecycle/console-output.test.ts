import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { ConsoleOutput } from "./console-output.js";

let sent: Uint8Array[];
let output: ConsoleOutput;
const guest = { hold: vi.fn(), release: vi.fn() };
const total = () => sent.reduce((sum, { length }) => sum + length, 0);

beforeEach(() => {
  vi.useFakeTimers();
  vi.clearAllMocks();
  sent = [];
  output = new ConsoleOutput((bytes) => sent.push(bytes));
  output.holds(guest);
});
afterEach(() => void vi.useRealTimers());

describe("a guest's output", () => {
  it("is gathered into few pieces, in order, and sent soon", () => {
    for (const text of ["one ", "two ", "three"]) output.write(new TextEncoder().encode(text));
    expect(sent).toEqual([]);
    vi.advanceTimersByTime(5);
    expect(sent.map((bytes) => new TextDecoder().decode(bytes))).toEqual(["one two three"]);
  });

  it("that nobody takes holds the guest; it goes on when half of it has been taken", () => {
    const piece = new Uint8Array(4096);
    let writes = 0;
    while (guest.hold.mock.calls.length === 0 && writes < 1000) {
      output.write(piece);
      writes++;
    }
    expect(writes).toBe(65);
    output.write(piece);
    expect(guest.hold).toHaveBeenCalledTimes(1);
    output.flush();
    expect(total()).toBe(66 * 4096);
    output.heard(33 * 4096);
    expect(guest.release).not.toHaveBeenCalled();
    output.heard(1 * 4096);
    expect(guest.release).toHaveBeenCalledTimes(1);
    output.heard(2 ** 30);
    expect(guest.release).toHaveBeenCalledTimes(1);
    // More was acknowledged than is under way: that is no credit for later.
    for (let write = 0; write < 65; write++) output.write(piece);
    expect(guest.hold).toHaveBeenCalledTimes(2);
  });

  it("that is too much before the guest is known holds it from its start", () => {
    const early = new ConsoleOutput(() => {});
    early.write(new Uint8Array(300_000));
    early.holds(guest);
    expect(guest.hold).toHaveBeenCalledTimes(1);
  });
});
