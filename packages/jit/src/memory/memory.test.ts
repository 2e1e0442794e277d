import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { xxh32 } from "./checksum.js";
import { FramePool } from "./frames.js";
import { GuestMemory } from "./guest-memory.js";
import { HART_STRIDE, PAGE_SIZE } from "./layout.js";
import { LinearMemory, MAXIMUM_BYTES, MemoryError } from "./linear-memory.js";
import { machineMemory } from "./machine-memory.js";

const RAM = 0x80000000;
const PAGES = 4;
const FIRST = PAGE_SIZE;

function guestOf(frames = PAGES) {
  const memory = LinearMemory.create({ bytes: FIRST + frames * PAGE_SIZE });
  const pool = new FramePool(memory, FIRST, frames);
  return { memory, pool, guest: new GuestMemory({ pool, ramBase: RAM, ramBytes: PAGES * PAGE_SIZE }) };
}

const codeOf = (run: () => unknown): string | undefined => {
  try {
    run();
  } catch (error) {
    if (error instanceof MemoryError) return error.code;
    throw error;
  }
  return undefined;
};

describe("LinearMemory", () => {
  it("gives zeroed views of the same bytes, rounded up to 64 KiB", () => {
    const memory = LinearMemory.create({ bytes: 70_000 });
    expect(memory.buffer.byteLength).toBe(0x20000);
    expect(memory.u8.every((byte) => byte === 0)).toBe(true);
    memory.u32[3] = 0xfffefdfc;
    expect([memory.i32[3], memory.u16[6], memory.i16[7], memory.u8[12], memory.i8[15]]).toEqual([
      -0x10204, 0xfdfc, -2, 0xfc, -1,
    ]);
    memory.f64[4] = 1;
    expect(memory.i32[9]).toBe(0x3ff00000);
    memory.f32[1] = 1;
    expect(memory.i32[1]).toBe(0x3f800000);
    expect(memory.shared).toBe(false);
  });

  it("can be shared", () => {
    const memory = LinearMemory.create({ bytes: 1, shared: true });
    expect(memory.shared).toBe(true);
    expect(memory.buffer).toBeInstanceOf(SharedArrayBuffer);
  });

  it("does without WebAssembly", () => {
    const { WebAssembly: saved } = globalThis as { WebAssembly?: object };
    try {
      Reflect.set(globalThis, "WebAssembly", undefined);
      expect(LinearMemory.create({ bytes: 5 }).buffer).toBeInstanceOf(ArrayBuffer);
      expect(LinearMemory.create({ bytes: 5, shared: true }).buffer).toBeInstanceOf(SharedArrayBuffer);
    } finally {
      Reflect.set(globalThis, "WebAssembly", saved);
    }
  });

  it.each([0, -1, 1.5, Number.NaN, Number.POSITIVE_INFINITY, MAXIMUM_BYTES + 1])(
    "rejects %d bytes",
    (bytes) => {
      expect(codeOf(() => LinearMemory.create({ bytes }))).toBe("E_MEMORY_SIZE");
    },
  );

  it("says so in one line when the host refuses", () => {
    const { WebAssembly: saved } = globalThis as { WebAssembly?: object };
    const cause = new RangeError("no");
    const Memory = class {
      constructor() {
        throw cause;
      }
    };
    try {
      Reflect.set(globalThis, "WebAssembly", { Memory });
      const create = () => LinearMemory.create({ bytes: 256 << 20 });
      expect(create).toThrow("the host has no 256 MiB for the VM: give it less memory");
      expect(create).toThrow(expect.objectContaining({ code: "E_MEMORY_UNAVAILABLE", cause }));
    } finally {
      Reflect.set(globalThis, "WebAssembly", saved);
    }
  });
});

describe("FramePool", () => {
  it("hands out each frame once, zeroed again after its release", () => {
    const { memory, pool } = guestOf(3);
    const frames = [pool.allocate(), pool.allocate(), pool.allocate()];
    expect(frames).toEqual([FIRST, FIRST + PAGE_SIZE, FIRST + 2 * PAGE_SIZE]);
    expect([pool.allocate(), pool.used]).toEqual([-1, 3]);
    memory.u8.fill(7, frames[1]!, frames[1]! + PAGE_SIZE);
    pool.release(frames[1]!, 0);
    expect(pool.used).toBe(2);
    expect(pool.allocate()).toBe(frames[1]);
    expect(memory.u8.subarray(frames[1]!, frames[1]! + PAGE_SIZE).every((byte) => byte === 0)).toBe(true);
  });

  it("hashes what is in a frame and nothing else, another way for each seed", () => {
    const { memory, pool } = guestOf(3);
    const [one, two, other] = [pool.allocate(), pool.allocate(), pool.allocate()];
    for (const frame of [one, two]) memory.u8.fill(7, frame, frame + PAGE_SIZE);
    memory.u8[other + PAGE_SIZE - 1] = 7;
    expect(pool.hash(one, 5)).toBe(pool.hash(two, 5));
    expect(new Set([pool.hash(one, 5), pool.hash(one, 6), pool.hash(other, 5)]).size).toBe(3);
    expect(pool.hash(one, 0)).toBe(xxh32(memory.u8.slice(one, one + PAGE_SIZE)));
  });
});

describe("GuestMemory", () => {
  it("takes a frame when a page is first written, and not when it is read or cleared", () => {
    const { pool, guest } = guestOf();
    const bytes = new Uint8Array(2 * PAGE_SIZE).fill(9);
    expect(guest.read(RAM, bytes)).toBe(true);
    expect(bytes.every((byte) => byte === 0)).toBe(true);
    expect(guest.clear(RAM, PAGES * PAGE_SIZE)).toBe(true);
    expect(pool.used).toBe(0);
    expect(guest.write(RAM + 3 * PAGE_SIZE, Uint8Array.of(1))).toBe(true);
    expect(pool.used).toBe(1);
    expect(guest.frameOffset(RAM + 3 * PAGE_SIZE + 5)).toBe(FIRST);
    expect(guest.frameOffset(RAM)).toBe(pool.zeroFrame);
    expect(pool.used).toBe(2);
    expect(guest.writableFrame(RAM)).toBe(FIRST + 2 * PAGE_SIZE);
    expect(guest.frameOffset(RAM)).toBe(FIRST + 2 * PAGE_SIZE);
    expect([guest.frameOffset(RAM - 1), guest.frameOffset(RAM + PAGES * PAGE_SIZE)]).toEqual([-1, -1]);
  });

  it("reads and writes like an array, whatever order the frames are in", () => {
    const size = PAGES * PAGE_SIZE;
    const span = fc.record({
      kind: fc.constantFrom("write", "read", "clear"),
      gpa: fc.integer({ min: RAM - 2 * PAGE_SIZE, max: RAM + size + PAGE_SIZE }),
      length: fc.oneof(fc.integer({ min: 0, max: 20 }), fc.integer({ min: 0, max: 3 * PAGE_SIZE })),
      fill: fc.integer({ min: 1, max: 255 }),
    });
    fc.assert(
      fc.property(fc.array(span, { maxLength: 12 }), (spans) => {
        const { memory, guest } = guestOf();
        const model = new Uint8Array(size);
        for (const { kind, gpa, length, fill } of spans) {
          const at = gpa - RAM;
          const inside = at >= 0 && at + length <= size;
          if (kind === "write") {
            const source = Uint8Array.from({ length }, (_, index) => fill + index);
            expect(guest.write(gpa, source)).toBe(inside);
            if (inside) model.set(source, at);
          } else if (kind === "clear") {
            expect(guest.clear(gpa, length)).toBe(inside);
            if (inside) model.fill(0, at, at + length);
          } else {
            const target = new Uint8Array(length);
            expect(guest.read(gpa, target)).toBe(inside);
            if (inside) expect(Buffer.compare(target, model.subarray(at, at + length))).toBe(0);
          }
        }
        const all = new Uint8Array(size);
        guest.read(RAM, all);
        expect(Buffer.compare(all, model)).toBe(0);
        expect(memory.u8.subarray(0, FIRST).every((byte) => byte === 0)).toBe(true);
      }),
      { numRuns: 60 },
    );
  });

  it.each([
    RAM - 1,
    RAM + PAGES * PAGE_SIZE - 7,
    0,
    -RAM,
    2 ** 53 - 1,
    2 ** 64,
    Number.NaN,
    Number.POSITIVE_INFINITY,
  ])("refuses 8 bytes at %d and touches nothing", (gpa) => {
    const { memory, pool, guest } = guestOf();
    expect(guest.write(gpa, new Uint8Array(8).fill(1))).toBe(false);
    expect(guest.read(gpa, new Uint8Array(8))).toBe(false);
    expect(guest.clear(gpa, 8)).toBe(false);
    expect(pool.used).toBe(0);
    expect(memory.u8.every((byte) => byte === 0)).toBe(true);
  });

  it("writes nothing when the pool runs out on the way", () => {
    const { memory, guest } = guestOf(2);
    expect(guest.write(RAM + 5, new Uint8Array(2 * PAGE_SIZE).fill(1))).toBe(false);
    expect(memory.u8.every((byte) => byte === 0)).toBe(true);
    expect(guest.writableFrame(RAM + 2 * PAGE_SIZE)).toBe(-1);
    expect(guest.write(RAM + 5, new Uint8Array(PAGE_SIZE).fill(1))).toBe(true);
  });

  it("reports writes to pages that hold code, page by page, once the bytes are there", () => {
    const { guest } = guestOf();
    const reports: [number, number, number][] = [];
    guest.observe({
      onCodeWrite: (gpa, length) => {
        const first = new Uint8Array(1);
        guest.read(gpa, first);
        reports.push([gpa, length, first[0]!]);
        return true;
      },
    });
    const { pool } = guest;
    pool.markCode(guest.writableFrame(RAM + PAGE_SIZE + 8));
    pool.markCode(guest.writableFrame(RAM + 2 * PAGE_SIZE));
    expect(
      [RAM, RAM + PAGE_SIZE, RAM + 2 * PAGE_SIZE, RAM - 1, RAM * 2].map((gpa) => guest.holdsCode(gpa)),
    ).toEqual([false, true, true, false, false]);
    guest.write(RAM + PAGE_SIZE - 2, new Uint8Array(PAGE_SIZE + 5).fill(3));
    expect(reports).toEqual([
      [RAM + PAGE_SIZE, PAGE_SIZE, 3],
      [RAM + 2 * PAGE_SIZE, 3, 3],
    ]);
    pool.unmarkCode(guest.frameOffset(RAM + PAGE_SIZE));
    guest.clear(RAM, PAGES * PAGE_SIZE);
    expect(reports.slice(2)).toEqual([[RAM + 2 * PAGE_SIZE, PAGE_SIZE, 0]]);
  });
});

describe("machineMemory", () => {
  it("lays out hart blocks, arena and frames without overlap", () => {
    const { memory, guest, pool, arenaOffset } = machineMemory({
      ramBytes: PAGES * PAGE_SIZE,
      ramBase: RAM,
      harts: 2,
      arenaBytes: 5000,
    });
    expect(arenaOffset).toBe(2 * HART_STRIDE);
    expect(pool.count).toBe(PAGES + 1);
    const frames = Array.from({ length: PAGES }, (_, page) => guest.writableFrame(RAM + page * PAGE_SIZE));
    expect(Math.min(...frames)).toBeGreaterThanOrEqual(arenaOffset + 5000);
    expect(Math.max(...frames) + PAGE_SIZE).toBeLessThanOrEqual(memory.buffer.byteLength);
  });

  it.each([0, -4096, 4095, 0.5, Number.NaN, 0x100000000, 2 ** 53])("rejects RAM of %d bytes", (ramBytes) => {
    expect(codeOf(() => machineMemory({ ramBytes, ramBase: RAM, harts: 1, arenaBytes: 0 }))).toBe(
      "E_MEMORY_SIZE",
    );
  });
});
