import { describe, expect, it } from "vitest";
import { ConsoleInput } from "./console-input.js";

const turn = () => new Promise((resolve) => setImmediate(resolve));

describe("console input", () => {
  it("waits with its sender while the guest does not read, and arrives whole and in order", async () => {
    const got: number[] = [];
    const input = new ConsoleInput((bytes) => got.push(...bytes));
    let done = 0;
    for (let sender = 1; sender <= 3; sender++)
      void input.write(new Uint8Array(50_000).fill(sender)).then(() => done++);
    await turn();
    expect(got).toHaveLength(65_536);
    expect(done).toBe(1);
    input.taken(65_536);
    await turn();
    expect(got).toHaveLength(131_072);
    expect(done).toBe(2);
    input.taken(20_000);
    await turn();
    expect(got).toHaveLength(150_000);
    expect(done).toBe(3);
    expect(got.every((byte, at) => byte === Math.floor(at / 50_000) + 1)).toBe(true);
  });

  it("for a guest that is gone keeps no sender waiting, and the next one starts afresh", async () => {
    const got: number[] = [];
    const input = new ConsoleInput((bytes) => got.push(...bytes));
    const waiting = input.write(new Uint8Array(200_000));
    input.clear();
    await waiting;
    await input.write(Uint8Array.of(7));
    expect(got.at(-1)).toBe(7);
  });
});
