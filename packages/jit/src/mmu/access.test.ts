import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { AccessMachine, BUDGET, DEVICE, RAM, RAM_PAGES } from "../../test/access-machine.js";
import { Exit, PAGE_SIZE } from "../memory/layout.js";
import { callSite } from "./call-sites.js";
import { AccessKind, amoKinds } from "./ports.js";

const { read, write, fetch } = AccessKind;
const low = (value: bigint): number => Number(BigInt.asIntN(32, value));
const high = (value: bigint): number => low(value >> 32n);
const halves = (value: bigint): [number, number] => [low(value), high(value)];
const RAM_LO = RAM | 0;

/** The call sites of the tests: an instruction of 4 bytes at 0x124 in its page, with 5 not retired. */
const SITE = callSite(0x124, 4, 5);
const ENTRY_PC: [number, number] = [0x40000ff0, 7];
const SITE_PC = 0x40000124;

function machine(options: ConstructorParameters<typeof AccessMachine>[0] = {}): AccessMachine {
  const made = new AccessMachine(options);
  made.pc = ENTRY_PC;
  return made;
}

/** Nothing but the low bits of the program counter may have changed. */
function expectGoesOn(made: AccessMachine): void {
  expect({ exit: made.header("exit"), budget: made.header("budget"), pc: made.pc }).toEqual({
    exit: Exit.none,
    budget: BUDGET,
    pc: [SITE_PC, ENTRY_PC[1]],
  });
  expect(made.translator.raised).toEqual([]);
}

/** The instruction has not retired, and all that was charged for it and its successors is back. */
function expectTrap(made: AccessMachine, trap: Partial<AccessMachine["translator"]["raised"][number]>): void {
  expect(made.translator.raised).toEqual([expect.objectContaining({ pc: SITE_PC, ...trap })]);
  expect({ exit: made.header("exit"), budget: made.header("budget") }).toEqual({
    exit: Exit.redirect,
    budget: BUDGET + 5,
  });
}

/** The instruction has retired, and the block was left after it. */
function expectLeft(made: AccessMachine, exit: number = Exit.redirect): void {
  expect({ exit: made.header("exit"), budget: made.header("budget"), pc: made.pc }).toEqual({
    exit,
    budget: BUDGET + 4,
    pc: [SITE_PC + 4, ENTRY_PC[1]],
  });
  expect(made.translator.raised).toEqual([]);
}

const loads = [
  { name: "ld8s", size: 1, signed: true },
  { name: "ld8u", size: 1, signed: false },
  { name: "ld16s", size: 2, signed: true },
  { name: "ld16u", size: 2, signed: false },
  { name: "ld32", size: 4, signed: true },
  { name: "ld64", size: 8, signed: true },
] as const;
const stores = [
  { name: "st8", size: 1 },
  { name: "st16", size: 2 },
  { name: "st32", size: 4 },
  { name: "st64", size: 8 },
] as const;

/** Calls a store of any size. */
function store(made: AccessMachine, name: string, lo: number, hi: number, value: bigint, site = SITE): void {
  if (name === "st64") made.call.st64!(lo, hi, ...halves(value), site);
  else made.call[name]!(lo, hi, low(value), site);
}

describe("loads and stores", () => {
  it("behave like an array of bytes, aligned or not, on a TLB miss or hit, within a page or across two", () => {
    const access = fc.record({
      store: fc.constantFrom(...stores),
      load: fc.constantFrom(...loads),
      storeAt: fc.oneof(
        fc.integer({ min: 0, max: RAM_PAGES * PAGE_SIZE - 8 }),
        fc
          .tuple(fc.integer({ min: 1, max: RAM_PAGES - 1 }), fc.integer({ min: -8, max: 7 }))
          .map(([page, offset]) => page * PAGE_SIZE + offset),
      ),
      loadNear: fc.integer({ min: -7, max: 7 }),
      value: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
    });
    fc.assert(
      fc.property(fc.array(access, { minLength: 1, maxLength: 20 }), (program) => {
        const made = machine();
        const model = new DataView(new ArrayBuffer(RAM_PAGES * PAGE_SIZE));
        for (const { store: to, load, storeAt, loadNear, value } of program) {
          store(made, to.name, RAM_LO + storeAt, 0, value);
          for (let byte = 0; byte < to.size; byte++) {
            model.setUint8(storeAt + byte, Number((value >> BigInt(8 * byte)) & 255n));
          }
          const loadAt = Math.min(Math.max(storeAt + loadNear, 0), RAM_PAGES * PAGE_SIZE - 8);
          const bits = 8 * load.size;
          const raw = BigInt.asUintN(bits, model.getBigUint64(loadAt, true));
          const got =
            load.size === 8
              ? made.wide("ld64", RAM_LO + loadAt, 0, SITE)
              : BigInt(made.call[load.name]!(RAM_LO + loadAt, 0, SITE));
          expect(got).toBe(load.size !== 8 && load.signed ? BigInt.asIntN(bits, raw) : raw);
        }
        expectGoesOn(made);
      }),
      { numRuns: 150 },
    );
  });

  it("fill the TLB of their kind, once for a page", () => {
    const made = machine();
    made.call.ld32!(RAM_LO + 8, 0, SITE);
    expect(made.tlb.lookup(read, RAM_LO + 0xffc, 0)).toBe(made.guest.frameOffset(RAM) + 0xffc);
    expect(made.tlb.lookup(write, RAM_LO, 0)).toBe(-1);
    made.call.st32!(RAM_LO + 8, 0, 1, SITE);
    expect(made.tlb.lookup(write, RAM_LO, 0)).toBe(made.guest.frameOffset(RAM));
    expect(made.translator.walks).toBe(2);
    for (let at = 1; at < 8; at++) store(made, "st64", RAM_LO + at, 0, 5n);
    expect(made.translator.walks).toBe(2);
  });

  it("remember that an entry came from a large page", () => {
    const made = machine();
    made.translator.pageBytes = 0x200000;
    made.call.ld8u!(RAM_LO, 0, SITE);
    made.translator.pageBytes = PAGE_SIZE;
    made.tlb.flushPage(RAM_LO + 0x1ff000, 0);
    expect(made.tlb.lookup(read, RAM_LO, 0)).toBe(-1);
  });

  it.each(loads)("$name traps precisely where nothing may be read", ({ name }) => {
    const made = machine();
    made.translator.forbid(RAM_LO + 0x2000, 0, read);
    expect(made.call[name]!(RAM_LO + 0x2ff8, 0, SITE)).toBe(0);
    expectTrap(made, { cause: "page", kind: read, lo: RAM_LO + 0x2ff8, hi: 0 });
  });

  it.each(stores)("$name traps precisely where nothing may be written, and writes nothing", ({ name }) => {
    const made = machine();
    made.translator.forbid(RAM_LO + 0x2000, 0, write);
    store(made, name, RAM_LO + 0x2008, 0, -1n);
    expectTrap(made, { cause: "page", kind: write, lo: RAM_LO + 0x2008, hi: 0 });
    expect(made.peek(RAM + 0x2008, 8)).toEqual([0, 0, 0, 0, 0, 0, 0, 0]);
  });

  it.each([
    { name: "ld16u", lo: 0xfff, faultsAt: 0x1000 },
    { name: "ld32", lo: 0xffd, faultsAt: 0x1000 },
    { name: "ld64", lo: 0xff9, faultsAt: 0x1000 },
    { name: "st16", lo: 0xfff, faultsAt: 0x1000 },
    { name: "st32", lo: 0xffe, faultsAt: 0x1000 },
    { name: "st64", lo: 0xfff, faultsAt: 0x1000 },
    { name: "ld64", lo: 0x1fff, faultsAt: 0x1fff },
    { name: "st64", lo: 0x1ffb, faultsAt: 0x1ffb },
  ])(
    "$name across pages at $lo faults at its first byte that may not be touched",
    ({ name, lo, faultsAt }) => {
      const made = machine();
      made.translator.forbid(RAM_LO + 0x1000, 0, read, write);
      if (name.startsWith("st")) store(made, name, RAM_LO + lo, 0, -1n);
      else expect(made.call[name]!(RAM_LO + lo, 0, SITE)).toBe(0);
      expectTrap(made, { cause: "page", kind: name.startsWith("st") ? write : read, lo: RAM_LO + faultsAt });
      expect(made.peek(RAM, 3 * PAGE_SIZE).every((byte) => byte === 0)).toBe(true);
    },
  );

  it("carry into the high half of the address across 4 GiB, and wrap round on a 32-bit CPU", () => {
    const wide = machine();
    wide.translator.map(-4096, 2, RAM);
    wide.translator.map(0, 3, RAM + 0x3000);
    store(wide, "st32", -2, 2, 0x44332211n);
    expect(wide.peek(RAM + 0xffe, 2)).toEqual([0x11, 0x22]);
    expect(wide.peek(RAM + 0x3000, 2)).toEqual([0x33, 0x44]);
    expect(wide.call.ld32!(-2, 2, SITE)).toBe(0x44332211);
    const narrow = machine({ pcBytes: 4 });
    narrow.translator.map(-4096, 0, RAM);
    narrow.translator.map(0, 0, RAM + 0x3000);
    store(narrow, "st32", -1, 0, 0x44332211n);
    expect(narrow.peek(RAM + 0xfff, 1)).toEqual([0x11]);
    expect(narrow.peek(RAM + 0x3000, 3)).toEqual([0x22, 0x33, 0x44]);
  });

  it("check every byte in a page of which only a part may be accessed, and keep it out of the TLB", () => {
    const made = machine();
    made.translator.endAt(RAM + 0x104);
    store(made, "st32", RAM_LO + 0x100, 0, 0x01020304n);
    expect(made.call.ld32!(RAM_LO + 0x100, 0, SITE)).toBe(0x01020304);
    expectGoesOn(made);
    expect([made.tlb.lookup(read, RAM_LO, 0), made.tlb.lookup(write, RAM_LO, 0)]).toEqual([-1, -1]);
    made.pool.markCode(made.guest.writableFrame(RAM));
    made.guest.observe({
      onCodeWrite: (gpa, length) => {
        expect([gpa, length]).toEqual([RAM + 0x100, 4]);
        return false;
      },
    });
    store(made, "st32", RAM_LO + 0x100, 0, 0x01020304n);
    expect(made.access.counters.codeWrites).toBe(1);
    store(made, "st64", RAM_LO + 0x100, 0, -1n);
    expectTrap(made, { cause: "access", kind: write, lo: RAM_LO + 0x100 });
    expect(made.peek(RAM + 0x100, 4)).toEqual([4, 3, 2, 1]);
  });
});

describe("stores to code", () => {
  it.each([
    { name: "st8", at: 0x3010, reports: [[0x3010, 1]] },
    { name: "st32", at: 0x3010, reports: [[0x3010, 4]] },
    { name: "st64", at: 0x3ff8, reports: [[0x3ff8, 8]] },
    { name: "st32", at: 0x2ffe, reports: [[0x3000, 2]] },
    { name: "st64", at: 0x3ffd, reports: [[0x3ffd, 3]] },
  ])("$name at $at is reported after the bytes are there, and ends the block", ({ name, at, reports }) => {
    const made = machine();
    const seen: number[][] = [];
    made.pool.markCode(made.guest.writableFrame(RAM + 0x3000));
    made.guest.observe({
      onCodeWrite: (gpa, length) => {
        expect(made.peek(gpa, length)).toEqual(new Array(length).fill(0xff));
        seen.push([gpa - RAM, length]);
        return true;
      },
    });
    store(made, name, RAM_LO + at, 0, -1n);
    expect(seen).toEqual(reports);
    expectLeft(made);
    expect(made.tlb.lookup(write, RAM_LO + 0x3000, 0)).toBe(-1);
  });

  it("go on where no translation was dropped, and are reported each time", () => {
    const made = machine();
    let reports = 0;
    made.pool.markCode(made.guest.writableFrame(RAM));
    made.guest.observe({
      onCodeWrite: () => {
        reports++;
        return false;
      },
    });
    made.call.ld32!(RAM_LO, 0, SITE);
    for (let time = 0; time < 3; time++) store(made, "st32", RAM_LO, 0, 1n);
    made.call.amo32!(0, RAM_LO, 0, 1, SITE);
    made.call.lr32!(RAM_LO, 0, SITE);
    expect(made.call.sc32!(RAM_LO, 0, 9, SITE)).toBe(0);
    expect(reports).toBe(5);
    expectGoesOn(made);
    made.pool.unmarkCode(made.guest.frameOffset(RAM));
    store(made, "st32", RAM_LO, 0, 1n);
    expect(reports).toBe(5);
    expect(made.tlb.lookup(write, RAM_LO, 0)).not.toBe(-1);
  });

  it("carry the next program counter into its high half, on a 64-bit CPU only", () => {
    for (const [pcBytes, high] of [
      [8, 8],
      [4, 7],
    ] as const) {
      const made = machine({ pcBytes });
      made.pc = [-4096, 7];
      made.pool.markCode(made.guest.writableFrame(RAM));
      made.guest.observe({ onCodeWrite: () => true });
      store(made, "st8", RAM_LO, 0, 1n, callSite(0xffe, 2, 1));
      expect([made.pc, made.header("budget")]).toEqual([[0, high], BUDGET]);
    }
  });
});

describe("devices", () => {
  it("take accesses of 1, 2 and 4 bytes as they are, and 8 bytes as two of 4, low half first", () => {
    const made = machine();
    store(made, "st8", DEVICE + 1, 0, 0x1ffn);
    store(made, "st16", DEVICE + 2, 0, 0xfffe_8001n);
    store(made, "st32", DEVICE + 4, 0, 0x8000_0000n);
    store(made, "st64", DEVICE + 8, 0, 0x8877_6655_4433_2211n);
    expect(made.bus.log.splice(0)).toEqual([
      "write1 1 ff",
      "write2 2 8001",
      "write4 4 80000000",
      "write4 8 44332211",
      "write4 12 88776655",
    ]);
    expect([
      made.call.ld8s!(DEVICE + 1, 0, SITE),
      made.call.ld8u!(DEVICE + 1, 0, SITE),
      made.call.ld16s!(DEVICE + 2, 0, SITE),
      made.call.ld16u!(DEVICE + 2, 0, SITE),
      made.call.ld32!(DEVICE + 4, 0, SITE),
    ]).toEqual([-1, 0xff, -0x7fff, 0x8001, -0x80000000]);
    expect(made.wide("ld64", DEVICE + 8, 0, SITE)).toBe(0x8877_6655_4433_2211n);
    expectGoesOn(made);
    expect(made.tlb.counters.fills).toBe(0);
  });

  it("take 8 bytes as one where they say so, and two of 4 where they do not", () => {
    const made = machine();
    const wide: string[] = [];
    Object.assign(made.bus, {
      readWide: (gpa: number, words: Uint32Array) => {
        if (gpa !== DEVICE) return false;
        words.set([0x4433_2211, 0xffee_ddcc]);
        wide.push(`read ${made.header("budget") - BUDGET}`);
        return true;
      },
      writeWide: (gpa: number, lo: number, hi: number) => {
        if (gpa !== DEVICE) return false;
        wide.push(`write ${lo.toString(16)} ${hi.toString(16)} ${made.header("budget") - BUDGET}`);
        return true;
      },
    });
    expect(made.wide("ld64", DEVICE, 0, SITE)).toBe(0xffee_ddcc_4433_2211n);
    store(made, "st64", DEVICE, 0, 0x8000_0001_ffff_fffen);
    expect(wide).toEqual(["read 5", "write fffffffe 80000001 5"]);
    expect(made.bus.log).toEqual([]);
    store(made, "st64", DEVICE + 8, 0, 0x2_0000_0001n);
    expect(made.bus.log).toEqual(["write4 8 1", "write4 12 2"]);
    expectGoesOn(made);
  });

  it("see a budget from which only retired instructions are gone", () => {
    const made = machine();
    const seen: number[] = [];
    made.bus.onWrite = () => seen.push(made.header("budget"));
    store(made, "st64", DEVICE, 0, 0n);
    expect(seen).toEqual([BUDGET + 5, BUDGET + 5]);
    expectGoesOn(made);
  });

  it("end the block after a write that makes an interrupt ready or asks to stop, but not after a read", () => {
    const interrupted = machine();
    interrupted.bus.onWrite = () => {
      interrupted.translator.interrupt = true;
    };
    store(interrupted, "st32", DEVICE, 0, 1n);
    expectLeft(interrupted);
    const reading = machine();
    reading.translator.interrupt = true;
    reading.call.ld32!(DEVICE, 0, SITE);
    expectGoesOn(reading);
    const stopped = machine();
    stopped.bus.onWrite = () => stopped.setHeader("exit", Exit.stop);
    store(stopped, "st8", DEVICE, 0, 1n);
    expectLeft(stopped, Exit.stop);
  });

  it.each([
    { name: "ld8u", at: DEVICE + 40 },
    { name: "ld64", at: DEVICE + 32 },
    { name: "ld64", at: DEVICE + 24 + 8 },
    { name: "st32", at: DEVICE + 40 },
    { name: "st64", at: DEVICE + 48 },
  ])("$name at $at, where none answers, is an access fault", ({ name, at }) => {
    const made = machine();
    if (name.startsWith("st")) store(made, name, at, 0, 1n);
    else expect(made.call[name]!(at, 0, SITE)).toBe(0);
    expectTrap(made, { cause: "access", kind: name.startsWith("st") ? write : read, lo: at });
    expect(made.bus.log).toEqual([]);
  });

  it("takes misaligned accesses in aligned pieces, in the order of their addresses", () => {
    const made = machine();
    store(made, "st64", DEVICE + 3, 0, 0x1122334455667788n);
    expect(made.bus.log).toEqual(["write1 3 88", "write4 4 44556677", "write2 8 2233", "write1 10 11"]);
    made.bus.log.length = 0;
    expect(made.wide("ld64", DEVICE + 3, 0, SITE)).toBe(0x1122334455667788n);
    expect(made.bus.log).toEqual(["read1 3", "read4 4", "read2 8", "read1 10"]);
    made.bus.log.length = 0;
    expect(made.wide("ld64", DEVICE + 4, 0, SITE)).toBe(0x0011223344556677n);
    expect(made.call.ld32!(DEVICE + 2, 0, SITE) >>> 0).toBe(0x66778800);
    expect(made.call.ld16s!(DEVICE + 9, 0, SITE)).toBe(0x1122);
    expect(made.bus.log).toEqual(["read4 4", "read4 8", "read2 2", "read2 4", "read1 9", "read1 10"]);
    expect([made.header("exit"), made.header("budget")]).toEqual([Exit.none, BUDGET]);
  });

  it("leaves after a misaligned store that a device answers with an interrupt", () => {
    const made = machine();
    made.bus.onWrite = () => {
      made.translator.interrupt = true;
    };
    store(made, "st32", DEVICE + 1, 0, 0x01020304n);
    expect(made.bus.log).toEqual(["write1 1 4", "write2 2 203", "write1 4 1"]);
    expectLeft(made, Exit.redirect);
  });

  it("faults at the piece that a device refuses, after those before it", () => {
    const made = machine();
    store(made, "st32", DEVICE + 30, 0, 0x01020304n);
    expect(made.bus.log).toEqual(["write2 30 304"]);
    expectTrap(made, { cause: "access", kind: write, lo: DEVICE + 32 });
    const loaded = machine();
    expect(loaded.call.ld32!(DEVICE + 30, 0, SITE)).toBe(0);
    expect(loaded.bus.log).toEqual(["read2 30"]);
    expectTrap(loaded, { cause: "access", kind: read, lo: DEVICE + 32 });
  });

  it("takes what lies in RAM and in a device in pieces, once both pages are known to translate", () => {
    const made = machine();
    made.translator.map(RAM_LO + PAGE_SIZE, 0, DEVICE);
    store(made, "st32", RAM_LO + PAGE_SIZE - 1, 0, 0x01020304n);
    expect(made.bus.log).toEqual(["write2 0 203", "write1 2 1"]);
    expect(made.peek(RAM + PAGE_SIZE - 1, 1)).toEqual([4]);
    expect(made.call.ld32!(RAM_LO + PAGE_SIZE - 1, 0, SITE)).toBe(0x01020304);
    made.bus.log.length = 0;
    made.translator.map(RAM_LO, 0, DEVICE);
    made.translator.map(RAM_LO + PAGE_SIZE, 0, RAM);
    made.translator.forbid(RAM_LO + PAGE_SIZE, 0, write);
    store(made, "st32", RAM_LO + PAGE_SIZE - 2, 0, 0x01020304n);
    expect(made.bus.log).toEqual([]);
    expectTrap(made, { cause: "page", kind: write, lo: RAM_LO + PAGE_SIZE });
  });

  it("refuse atomics", () => {
    for (const [name, kind] of [
      ["amo32", write],
      ["lr32", read],
      ["sc32", write],
    ] as const) {
      const made = machine();
      const address = [DEVICE, 0];
      made.call[name]!(
        ...(name === "amo32" ? [0, ...address, 1] : name === "sc32" ? [...address, 1] : address),
        SITE,
      );
      expectTrap(made, { cause: "access", kind, lo: DEVICE });
      expect(made.bus.log).toEqual([]);
    }
  });
});

/** What a read-modify-write stores, over exact integers. */
function combined(kind: (typeof amoKinds)[number], width: 32 | 64, old: bigint, value: bigint): bigint {
  const s = (n: bigint) => BigInt.asIntN(width, n);
  const u = (n: bigint) => BigInt.asUintN(width, n);
  const rules: Record<(typeof amoKinds)[number], () => bigint> = {
    swap: () => value,
    add: () => old + value,
    xor: () => old ^ value,
    and: () => old & value,
    or: () => old | value,
    min: () => (s(old) < s(value) ? old : value),
    max: () => (s(old) > s(value) ? old : value),
    minu: () => (u(old) < u(value) ? old : value),
    maxu: () => (u(old) > u(value) ? old : value),
  };
  return u(rules[kind]());
}

/** Integers whose comparison depends on sign and on each half. */
const interesting = fc.oneof(
  fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
  fc
    .tuple(
      fc.constantFrom(0n, 1n, 0x7fffffffn, 0x80000000n, 0xffffffffn),
      fc.constantFrom(0n, 1n, 0x7fffffffn, 0x80000000n, 0xffffffffn),
    )
    .map(([hi, lo]) => (hi << 32n) | lo),
);

describe.each([{ shared: false }, { shared: true }])("atomics, shared: $shared", ({ shared }) => {
  it("read, modify and write as the plain model does", () => {
    const made = machine({ shared });
    fc.assert(
      fc.property(
        fc.constantFrom(...amoKinds),
        interesting,
        interesting,
        fc.constantFrom(32, 64),
        (kind, old, value, width) => {
          const number = amoKinds.indexOf(kind);
          const guard = 0x5a5a5a5a5a5a5a5an;
          const at = RAM_LO + 0x1ff8 - width / 8;
          store(made, "st64", RAM_LO + 0x1ff0, 0, guard);
          store(made, "st64", RAM_LO + 0x1ff8, 0, guard);
          store(made, `st${width}`, at, 0, old);
          const result =
            width === 64
              ? made.wide("amo64", number, at, 0, ...halves(value), SITE)
              : BigInt.asUintN(32, BigInt(made.call.amo32!(number, at, 0, low(value), SITE)));
          expect(result).toBe(BigInt.asUintN(width, old));
          const now = made.wide("ld64", RAM_LO + 0x1ff0, 0, SITE);
          expect(now >> BigInt(64 - width)).toBe(
            combined(kind, width, BigInt.asUintN(width, old), BigInt.asUintN(width, value)),
          );
          if (width === 32) expect(BigInt.asUintN(32, now)).toBe(BigInt.asUintN(32, guard));
          expect(made.wide("ld64", RAM_LO + 0x1ff8, 0, SITE)).toBe(guard);
        },
      ),
      { numRuns: 400 },
    );
    expectGoesOn(made);
  });

  it("walk the page table once for a page", () => {
    const made = machine({ shared });
    for (let time = 0; time < 10; time++) {
      made.call.amo32!(1, RAM_LO, 0, 1, SITE);
      made.call.lr32!(RAM_LO, 0, SITE);
      made.call.sc32!(RAM_LO, 0, time, SITE);
    }
    expect(made.translator.walks).toBe(2);
  });

  it.each([4, 8] as const)("LR and SC of %d bytes make a pair", (size) => {
    const made = machine({ shared });
    const at = RAM_LO + 0x2008;
    const value = 0x8877_6655_4433_2211n;
    const lr = () => (size === 8 ? made.wide("lr64", at, 0, SITE) : BigInt(made.call.lr32!(at, 0, SITE)));
    const sc = (address: number) =>
      size === 8
        ? made.call.sc64!(address, 0, ...halves(value), SITE)
        : made.call.sc32!(address, 0, low(value), SITE);
    const seen = () => BigInt.asUintN(8 * size, made.wide("ld64", at, 0, SITE));
    expect(sc(at)).toBe(1);
    expect(lr()).toBe(0n);
    expect(sc(at)).toBe(0);
    expect(seen()).toBe(BigInt.asUintN(8 * size, value));
    // Spent by the first one.
    expect(sc(at)).toBe(1);
    // Another address spends it too, though the same value is there.
    store(made, "st64", at + 8, 0, BigInt.asUintN(8 * size, value));
    expect(BigInt.asUintN(8 * size, lr())).toBe(BigInt.asUintN(8 * size, value));
    expect(sc(at + 8)).toBe(1);
    expect(sc(at)).toBe(1);
    // Another value is there, in either half.
    lr();
    made.call.st8!(at + size - 1, 0, 1, SITE);
    const changed = seen();
    expect(sc(at)).toBe(1);
    expect(seen()).toBe(changed);
    lr();
    made.call.st8!(at, 0, 0x77, SITE);
    expect(sc(at)).toBe(1);
    expectGoesOn(made);
  });

  it.each([
    { name: "amo32", at: 2, kind: write },
    { name: "amo64", at: 4, kind: write },
    { name: "lr32", at: 1, kind: read },
    { name: "lr64", at: 4, kind: read },
    { name: "sc32", at: 3, kind: write },
    { name: "sc64", at: 4, kind: write },
  ])("$name traps where misaligned or forbidden", ({ name, at, kind }) => {
    const call = (made: AccessMachine, address: number) => {
      const operands = name.startsWith("lr") ? [] : name.endsWith("64") ? [1, 1] : [1];
      const all = [...(name.startsWith("amo") ? [1] : []), address, 0, ...operands, SITE];
      expect(made.call[name]!(...all)).toBe(0);
    };
    const misaligned = machine({ shared });
    call(misaligned, RAM_LO + at);
    expectTrap(misaligned, { cause: "misaligned", kind, lo: RAM_LO + at });
    const forbidden = machine({ shared });
    forbidden.translator.forbid(RAM_LO, 0, kind);
    call(forbidden, RAM_LO);
    expectTrap(forbidden, { cause: "page", kind, lo: RAM_LO });
    expect(forbidden.peek(RAM, 8)).toEqual([0, 0, 0, 0, 0, 0, 0, 0]);
  });

  it("do not read what may not be written: AMO and SC ask for a write", () => {
    const made = machine({ shared });
    made.translator.forbid(RAM_LO, 0, write);
    made.call.lr32!(RAM_LO, 0, SITE);
    expectGoesOn(made);
    made.call.sc32!(RAM_LO, 0, 1, SITE);
    expectTrap(made, { cause: "page", kind: write, lo: RAM_LO });
    expect(made.header("reserved")).toBe(0);
  });
});

describe("fetches", () => {
  it("find the frame, and leave the program counter and the TLB to the engine", () => {
    const made = machine();
    expect(made.access.translatePage(RAM_LO + 0x1004, 0)).toBe(made.guest.frameOffset(RAM + 0x1000));
    expect(made.translator.gpa).toBe(RAM + 0x1004);
    expect([made.pc, made.tlb.counters.fills, made.header("exit")]).toEqual([ENTRY_PC, 0, Exit.none]);
  });

  it("trap where nothing may be fetched, and in devices", () => {
    const forbidden = machine();
    forbidden.translator.forbid(RAM_LO, 0, fetch);
    expect(forbidden.access.translatePage(RAM_LO, 0)).toBe(-1);
    expect(forbidden.translator.raised).toEqual([
      { cause: "page", kind: fetch, lo: RAM_LO, hi: 0, pc: ENTRY_PC[0] },
    ]);
    const device = machine();
    expect(device.access.translatePage(DEVICE, 0)).toBe(-1);
    expect(device.translator.raised).toEqual([
      { cause: "access", kind: fetch, lo: DEVICE, hi: 0, pc: ENTRY_PC[0] },
    ]);
    expect(device.header("budget")).toBe(BUDGET);
  });
});
