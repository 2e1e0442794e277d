import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { xxh32, xxh32Words } from "./checksum.js";

const text = (value: string) => new TextEncoder().encode(value);

describe("xxh32", () => {
  it("gives the hashes of the algorithm's description", () => {
    expect(xxh32(text(""))).toBe(0x02cc5d05);
    expect(xxh32(text("a"))).toBe(0x550d7456);
    expect(xxh32(text("abc"))).toBe(0x32d153ff);
    expect(xxh32(text("Nobody inspects the spammish repetition"))).toBe(0xe2293b2f);
  });

  it("does not depend on where the bytes are, nor on the view of them", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 100 }), fc.integer({ min: 0, max: 7 }), (bytes, shift) => {
        const moved = new Uint8Array(bytes.length + shift);
        moved.set(bytes, shift);
        expect(xxh32(moved.subarray(shift))).toBe(xxh32(bytes));
        expect(xxh32(Buffer.from(moved.buffer, shift))).toBe(xxh32(bytes));
        const whole = bytes.slice(0, bytes.length & ~3);
        expect(xxh32Words(new Int32Array(whole.buffer), 0, whole.length / 4)).toBe(xxh32(whole));
      }),
    );
  });
});
