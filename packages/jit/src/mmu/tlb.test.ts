import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { HART_STRIDE, header, PAGE_SIZE, TLB_OFFSET } from "../memory/layout.js";
import { LinearMemory } from "../memory/linear-memory.js";
import { AccessKind } from "./ports.js";
import { Tlb } from "./tlb.js";
import { TLB_EMPTY, TLB_ENTRIES, TLB_SETS } from "./tlb-layout.js";

const HART = HART_STRIDE;
const FRAME = 2 * HART_STRIDE;
const kinds = [AccessKind.read, AccessKind.write, AccessKind.fetch] as const;

function make() {
  const memory = LinearMemory.create({ bytes: FRAME + 4 * PAGE_SIZE });
  return { memory, tlb: new Tlb(memory, HART) };
}

/** Entries of all sets that are not empty. */
const filled = (memory: LinearMemory): number => {
  let count = 0;
  for (let at = 0; at < TLB_SETS * 3 * TLB_ENTRIES; at++) {
    if (memory.i32[((HART + TLB_OFFSET) >> 2) + at * 4] !== TLB_EMPTY) count++;
  }
  return count;
};

const addend = (frame: number, lo: number): number => (frame - (lo & -PAGE_SIZE)) | 0;

describe("Tlb", () => {
  it("writes entries where the header points, in the form that emitted code compares", () => {
    const { memory, tlb } = make();
    tlb.select(1, 2, 3);
    const lo = 0x80003abc | 0;
    tlb.insert(AccessKind.fetch, lo, -5, addend(FRAME, lo), 77);
    const entry = (memory.i32[(HART + header.tlbFetch) >> 2]! >> 2) + (3 & (TLB_ENTRIES - 1)) * 4;
    expect([...memory.i32.subarray(entry, entry + 4)]).toEqual([lo & ~0xfff, -5, addend(FRAME, lo), 77]);
    expect((lo + memory.i32[entry + 2]!) >>> 0).toBe(FRAME + 0xabc);
    expect(filled(memory)).toBe(1);
    const starts = [header.tlbRead, header.tlbWrite, header.tlbFetch].map(
      (field) => memory.i32[(HART + field) >> 2]!,
    );
    expect(new Set(starts).size).toBe(3);
    expect(starts.every((start) => start >= HART + TLB_OFFSET && start < 2 * HART)).toBe(true);
  });

  it("finds a page only in the selected set, under the right kind and both halves of its address", () => {
    const { tlb } = make();
    tlb.select(0, 0, 0);
    tlb.insert(AccessKind.read, 0x5000, 1, addend(FRAME, 0x5000), 0);
    expect(tlb.lookup(AccessKind.read, 0x5ffd, 1)).toBe(FRAME + 0xffd);
    expect(tlb.lookup(AccessKind.write, 0x5000, 1)).toBe(-1);
    expect(tlb.lookup(AccessKind.read, 0x5000, 0)).toBe(-1);
    expect(tlb.lookup(AccessKind.read, 0x5000 + TLB_ENTRIES * PAGE_SIZE, 1)).toBe(-1);
    tlb.select(1, 0, 0);
    expect(tlb.lookup(AccessKind.read, 0x5000, 1)).toBe(-1);
    tlb.select(0, 1, 1);
    expect(tlb.lookup(AccessKind.read, 0x5000, 1)).toBe(FRAME);
  });

  it.each([0, 1, 1023, 1024, 1025, 3000])("is empty after a flush of %d insertions", (count) => {
    const { memory, tlb } = make();
    const before = memory.u8.slice(FRAME);
    for (let at = 0; at < count; at++) {
      const set = (at >> 8) % TLB_SETS;
      tlb.select(set, set, set);
      tlb.insert(kinds[(at >> 10) % 3]!, at * PAGE_SIZE, at, 0, 0);
    }
    expect(filled(memory)).toBe(count);
    tlb.flush();
    expect(filled(memory)).toBe(0);
    expect(tlb.counters).toMatchObject({ fills: count, flushes: 1 });
    // Once more, to see that the journal starts anew.
    tlb.insert(AccessKind.read, 0x1000, 0, 0, 0);
    tlb.flush();
    expect(filled(memory)).toBe(0);
    expect(Buffer.compare(memory.u8.subarray(FRAME), before)).toBe(0);
  });

  it("flushes one page from all sets and kinds, and no other", () => {
    const { memory, tlb } = make();
    for (let set = 0; set < TLB_SETS; set++) {
      tlb.select(set, set, set);
      for (const kind of kinds) {
        tlb.insert(kind, 0x7000, 4, 0, 0);
        tlb.insert(kind, 0x8000, 4, 0, 0);
      }
    }
    tlb.flushPage(0x7123, 5);
    expect(filled(memory)).toBe(2 * 3 * TLB_SETS);
    tlb.flushPage(0x7123, 4);
    expect(filled(memory)).toBe(3 * TLB_SETS);
    expect(tlb.lookup(AccessKind.fetch, 0x7000, 4)).toBe(-1);
    expect(tlb.lookup(AccessKind.fetch, 0x8000, 4)).not.toBe(-1);
  });

  it("tells whether a flushed address was one of code, in any set", () => {
    const { tlb } = make();
    for (let set = 0; set < TLB_SETS; set++) {
      tlb.select(set, set, set);
      tlb.insert(AccessKind.read, 0x7000, 4, 0, 0);
      tlb.insert(AccessKind.write, 0x7000, 4, 0, 0);
      expect(tlb.flushPage(0x7123, 4)).toBe(false);
      tlb.insert(AccessKind.fetch, 0x7000, 4, 0, 0);
      tlb.select(0, 0, 0);
      expect(tlb.flushPage(0x7123, 5)).toBe(false);
      expect(tlb.flushPage(0x7123, 4)).toBe(true);
      expect(tlb.flushPage(0x7123, 4)).toBe(false);
    }
    tlb.noteLarge(0x400000, 0, 0x200000);
    expect(tlb.flushPage(0x412345, 0)).toBe(true);
  });

  it("flushes all pages that a large page may have filled when one address in it is flushed", () => {
    const { memory, tlb } = make();
    const megapage = 0x200000;
    tlb.insert(AccessKind.read, megapage + 0x1000, 0, 0, 0);
    tlb.noteLarge(megapage + 0x1000, 0, megapage);
    tlb.insert(AccessKind.read, 0x7000, 0, 0, 0);
    tlb.flushPage(0x9000, 0);
    expect(filled(memory)).toBe(2);
    tlb.flushPage(megapage + 0x1ff000, 0);
    expect(filled(memory)).toBe(0);
    // The ranges are forgotten with the entries.
    tlb.insert(AccessKind.read, 0x7000, 0, 0, 0);
    tlb.flushPage(megapage, 0);
    expect(filled(memory)).toBe(1);
  });

  it("keeps large pages that lie near each other as one range, from the lowest to the highest", () => {
    for (const flushed of [0x400000, 0x8000000, 0x10000000]) {
      const { memory, tlb } = make();
      for (const start of [0x8000000, 0x400000, 0x10000000]) {
        tlb.insert(AccessKind.read, start, 1, 0, 0);
        tlb.insert(AccessKind.read, start + 0x5000, 1, 0, 0);
        tlb.noteLarge(start, 1, 0x200000);
      }
      const entries = filled(memory);
      expect(entries).toBeGreaterThan(0);
      tlb.flushPage(0x1ff000, 1);
      tlb.flushPage(0x10200000, 1);
      expect(filled(memory)).toBe(entries);
      tlb.flushPage(flushed + 0x1ff000, 1);
      expect(filled(memory)).toBe(0);
    }
  });

  it("never keeps an entry that a flushed large page covered, however many there were", () => {
    const page = fc.record({
      lo: fc.integer(),
      hi: fc.integer({ min: -0x2000000, max: 0x1ffffff }),
      shift: fc.constantFrom(12, 21, 22, 30, 39, 48),
    });
    fc.assert(
      fc.property(fc.array(page, { minLength: 1, maxLength: 60 }), fc.nat(), (pages, choice) => {
        const { tlb } = make();
        for (const { lo, hi, shift } of pages) {
          tlb.insert(AccessKind.read, lo, hi, 0, 0);
          if (shift > 12) tlb.noteLarge(lo, hi, 2 ** shift);
        }
        const { lo, hi, shift } = pages[choice % pages.length]!;
        const address = (BigInt(hi >>> 0) << 32n) | BigInt(lo >>> 0);
        const start = (address >> BigInt(shift)) << BigInt(shift);
        tlb.flushPage(Number(BigInt.asIntN(32, start)), Number(BigInt.asIntN(32, start >> 32n)));
        expect(tlb.lookup(AccessKind.read, lo, hi)).toBe(-1);
      }),
      { numRuns: 200 },
    );
  });

  it("drops the write entries of a frame that holds code, in every set, also far up in memory", () => {
    for (const frame of [FRAME, 0xfff00000]) {
      const { memory, tlb } = make();
      for (let set = 0; set < TLB_SETS; set++) {
        tlb.select(set, set, set);
        for (const kind of kinds) {
          const lo = 0x80000000 | ((set * 3 + kind) << 12) | 0;
          tlb.insert(kind, lo, set, addend(frame, lo), 0);
          tlb.insert(kind, lo + 0x40000, set, addend(frame + PAGE_SIZE, lo + 0x40000), 0);
        }
      }
      const all = 2 * 3 * TLB_SETS;
      expect(filled(memory)).toBe(all);
      tlb.protect(frame);
      expect(filled(memory)).toBe(all - TLB_SETS);
      expect(tlb.lookup(AccessKind.write, 0x80000000 | (10 << 12) | 0, 3)).toBe(-1);
      tlb.dropFetch(frame);
      expect(filled(memory)).toBe(all - 2 * TLB_SETS);
      expect(tlb.lookup(AccessKind.read, 0x80000000 | (9 << 12) | 0, 3)).toBe(frame);
    }
  });
});
