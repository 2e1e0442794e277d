/**
 * Page walks against a second walk written from the manual's algorithm on BigInt (12.3.2), over tables full of
 * random entries; and named cases for each rule.
 */
import fc from "fast-check";
import { beforeEach, describe, expect, it } from "vitest";
import { Csr } from "../../../test/csr-numbers.js";
import { RAM, RAM_BYTES, RiscvMachine } from "../../../test/riscv-machine.js";
import { AccessKind } from "../../mmu/ports.js";
import { type AccessedDirty, PageWalker, type PagingMode, pagingModes, WalkResult } from "./page-walk.js";
import { Pmp } from "./pmp.js";
import { RiscvCause, RiscvMode } from "./privilege.js";

const [V, R, W, X, U, G, A, D] = [1n, 2n, 4n, 8n, 16n, 32n, 64n, 128n];
const machines = { 32: new RiscvMachine({ xlen: 32 }), 64: new RiscvMachine({ xlen: 64 }) };
const widthOf = (scheme: PagingMode): 32 | 64 => (scheme.indexBits === 10 ? 32 : 64);
const halvesOf = (va: bigint): [number, number] => [
  Number(BigInt.asIntN(32, va)),
  Number(BigInt.asIntN(32, va >> 32n)),
];

interface Access {
  readonly kind: AccessKind;
  readonly mode: RiscvMode;
  readonly sum: boolean;
  readonly mxr: boolean;
  readonly update: AccessedDirty;
}

interface Outcome {
  readonly result: WalkResult;
  readonly gpa?: bigint;
  readonly pageBytes?: bigint;
  /** Place and new value of an entry whose A and D bits were set. */
  readonly updated?: readonly [gpa: bigint, pte: bigint];
}

/** The manual's steps 1 to 9 in their order. */
function referenceWalk(
  machine: RiscvMachine,
  scheme: PagingMode,
  root: bigint,
  va: bigint,
  access: Access,
): Outcome {
  const narrow = scheme.indexBits === 10;
  const [indexBits, entryBytes] = narrow ? [10n, 4n] : [9n, 8n];
  const vaBits = 12n + indexBits * BigInt(scheme.levels);
  if (!narrow && BigInt.asUintN(64, BigInt.asIntN(Number(vaBits), va)) !== va)
    return { result: WalkResult.pageFault };
  let table = root;
  for (let level = BigInt(scheme.levels) - 1n; level >= 0n; level--) {
    const index = (va >> (12n + level * indexBits)) & ((1n << indexBits) - 1n);
    const at = table + index * entryBytes;
    if (at < BigInt(RAM) || at >= BigInt(RAM + RAM_BYTES)) return { result: WalkResult.accessFault };
    const pte = machine.peek(Number(at), narrow ? 32 : 64);
    const has = (bit: bigint) => (pte & bit) !== 0n;
    if (!has(V) || (!has(R) && has(W))) return { result: WalkResult.pageFault };
    // Svpbmt and Svnapot are not there, so bits 63-54 must be zero.
    if (!narrow && pte >> 54n !== 0n) return { result: WalkResult.pageFault };
    const ppn = pte >> 10n;
    if (!has(R) && !has(X)) {
      if (has(A) || has(D) || has(U)) return { result: WalkResult.pageFault };
      table = ppn << 12n;
      continue;
    }
    const user = access.mode === RiscvMode.user;
    const allowed =
      (access.kind === AccessKind.fetch && has(X)) ||
      (access.kind === AccessKind.write && has(W)) ||
      (access.kind === AccessKind.read && (has(R) || (access.mxr && has(X))));
    const owner = user ? has(U) : !has(U) || (access.sum && access.kind !== AccessKind.fetch);
    if (!allowed || !owner) return { result: WalkResult.pageFault };
    const leafPages = 1n << (level * indexBits);
    if (ppn % leafPages !== 0n) return { result: WalkResult.pageFault };
    const wanted = access.kind === AccessKind.write ? A | D : A;
    const missing = (pte & wanted) !== wanted;
    if (missing && access.update === "fault") return { result: WalkResult.pageFault };
    const pageBytes = leafPages << 12n;
    return {
      result: WalkResult.ok,
      gpa: (ppn << 12n) | (va & (pageBytes - 1n)),
      pageBytes,
      ...(missing && access.update === "set" ? { updated: [at, pte | wanted] as const } : {}),
    };
  }
  return { result: WalkResult.pageFault };
}

/** A walker over a machine's memory with all of it open. */
const walkerOf = (machine: RiscvMachine, pmp = new Pmp(true)) =>
  new PageWalker(machine.cpu.options.memory.memory, machine.guest, pmp);

const access = fc.record({
  kind: fc.constantFrom(AccessKind.read, AccessKind.write, AccessKind.fetch),
  mode: fc.constantFrom(RiscvMode.user, RiscvMode.supervisor),
  sum: fc.boolean(),
  mxr: fc.boolean(),
  update: fc.constantFrom<AccessedDirty>("set", "fault", "ignore"),
});

/** Pages at the start of RAM that hold tables of random entries, which point at each other and elsewhere. */
const TABLES = 4;
const ROOT = BigInt(RAM);

/** An entry: mostly well formed, with a bit broken now and then. */
function entryOf(scheme: PagingMode): fc.Arbitrary<bigint> {
  const narrow = scheme.indexBits === 10;
  const basePage = BigInt(RAM) >> 12n;
  const pointer = fc
    .bigInt({ min: 0n, max: BigInt(TABLES) - 1n })
    .map((page) => ((basePage + page) << 10n) | V);
  const leaf = fc
    .tuple(
      fc.constantFrom(R, R | W, R | W | X, X, R | X, W, W | X),
      fc.bigInt({ min: 0n, max: 15n }),
      fc.oneof(
        fc.bigInt({ min: basePage, max: basePage + 63n }),
        fc.constantFrom(0n, 1n << 9n, 1n << 10n, 1n << 18n, narrow ? 1n << 21n : 1n << 36n),
      ),
    )
    .map(([rights, flags, ppn]) => (ppn << 10n) | (flags << 4n) | rights | V);
  const noise = fc.bigInt({ min: 0n, max: (1n << (narrow ? 32n : 64n)) - 1n });
  const broken = fc.tuple(fc.oneof(pointer, leaf), fc.integer({ min: 0, max: narrow ? 31 : 63 }));
  return fc.oneof(
    { weight: 6, arbitrary: pointer },
    { weight: 8, arbitrary: leaf },
    { weight: 1, arbitrary: noise },
    { weight: 3, arbitrary: broken.map(([pte, bit]) => pte ^ (1n << BigInt(bit))) },
  );
}

/** Addresses whose indices are few, so that walks meet the filled entries; some not canonical. */
function addressOf(scheme: PagingMode): fc.Arbitrary<bigint> {
  const bits = scheme.indexBits;
  const width = 12 + bits * scheme.levels;
  return fc
    .tuple(
      fc.array(fc.constantFrom(0, 1, 2, 2 ** bits - 1), {
        minLength: scheme.levels,
        maxLength: scheme.levels,
      }),
      fc.integer({ min: 0, max: 4095 }),
      fc.constantFrom(-1, -1, -1, -1, width, 63),
    )
    .map(([indices, offset, flip]) => {
      const low = indices.reduce((va, index) => (va << BigInt(bits)) | BigInt(index), 0n);
      const va = (low << 12n) | BigInt(offset);
      if (bits === 10) return BigInt.asUintN(32, va);
      const canonical = BigInt.asUintN(64, BigInt.asIntN(width, va));
      return flip < 0 ? canonical : canonical ^ (1n << BigInt(flip));
    });
}

describe.each(pagingModes)("$name", (scheme) => {
  const xlen = widthOf(scheme);
  const machine = machines[xlen];
  const entryBytes = xlen / 8;
  const slots = [0, 1, 2, 2 ** scheme.indexBits - 1];

  it("walks tables of random entries as the manual's algorithm does", () => {
    const tables = fc.array(entryOf(scheme), {
      minLength: TABLES * slots.length,
      maxLength: TABLES * slots.length,
    });
    let found = 0;
    fc.assert(
      fc.property(
        tables,
        fc.array(fc.tuple(addressOf(scheme), access), { minLength: 8, maxLength: 8 }),
        (ptes, walks) => {
          const walker = walkerOf(machine);
          for (const [va, how] of walks) {
            ptes.forEach((pte, at) => {
              const table = RAM + 4096 * Math.floor(at / slots.length);
              machine.poke(table + slots[at % slots.length]! * entryBytes, pte);
            });
            const expected = referenceWalk(machine, scheme, ROOT, va, how);
            const [lo, hi] = halvesOf(va);
            walker.root = Number(ROOT);
            const result = walker.walk(
              scheme,
              lo,
              xlen === 32 ? 0 : hi,
              how.kind,
              how.mode,
              how.sum,
              how.mxr,
              how.update,
            );
            expect(result).toBe(expected.result);
            if (result !== WalkResult.ok) continue;
            found++;
            expect(BigInt(walker.pageBytes)).toBe(expected.pageBytes);
            // Above 2^53 nothing answers, and addresses need not be exact.
            if (expected.gpa! < 1n << 53n) expect(BigInt(walker.gpa)).toBe(expected.gpa);
            const updated = new Map([expected.updated ?? [-1n, 0n]]);
            ptes.forEach((pte, at) => {
              const gpa = RAM + 4096 * Math.floor(at / slots.length) + slots[at % slots.length]! * entryBytes;
              expect(machine.peek(gpa)).toBe(updated.get(BigInt(gpa)) ?? pte);
            });
          }
        },
      ),
      { numRuns: 400 },
    );
    expect(found).toBeGreaterThan(50);
  });

  /** Maps the lowest addresses by tables at the start of RAM, down to a leaf at `level`; gives the entry's address. */
  function map(level: number, leaf: bigint): number {
    for (let table = 0; table < scheme.levels; table++) machine.guest.clear(RAM + 4096 * table, 4096);
    for (let at = scheme.levels - 1; at > level; at--) {
      const table = RAM + 4096 * (scheme.levels - 1 - at);
      machine.poke(table, ((BigInt(table + 4096) >> 12n) << 10n) | V);
    }
    const place = RAM + 4096 * (scheme.levels - 1 - level);
    machine.poke(place, leaf);
    return place;
  }

  /** Walks address `va` as a supervisor's load unless told otherwise. */
  function walk(va: bigint, how: Partial<Access> = {}, pmp?: Pmp) {
    const walker = walkerOf(machine, pmp);
    const [lo, hi] = halvesOf(va);
    walker.root = RAM;
    const result = walker.walk(
      scheme,
      lo,
      xlen === 32 ? 0 : hi,
      how.kind ?? AccessKind.read,
      how.mode ?? RiscvMode.supervisor,
      how.sum ?? false,
      how.mxr ?? false,
      how.update ?? "fault",
    );
    return { result, gpa: walker.gpa, pageBytes: walker.pageBytes };
  }

  const page = BigInt(RAM) >> 12n;
  const all = V | R | W | X | A | D;

  it("maps superpages at every level, and refuses misaligned ones (step 6)", () => {
    for (let level = 0; level < scheme.levels; level++) {
      const pages = 1n << BigInt(level * scheme.indexBits);
      const aligned = (page / pages) * pages;
      map(level, (aligned << 10n) | all);
      expect(walk(0x678n)).toEqual({
        result: WalkResult.ok,
        gpa: Number(aligned << 12n) + 0x678,
        pageBytes: Number(pages << 12n),
      });
      if (level === 0) continue;
      map(level, ((aligned + 1n) << 10n) | all);
      expect(walk(0x678n).result).toBe(WalkResult.pageFault);
      map(level, ((aligned + pages / 2n) << 10n) | all);
      expect(walk(0x678n).result).toBe(WalkResult.pageFault);
    }
  });

  it("refuses pointers in the last level (step 4)", () => {
    map(0, (page << 10n) | V);
    expect(walk(0n).result).toBe(WalkResult.pageFault);
  });

  it("refuses A, D and U in pointers, but not G (table of reserved bits)", () => {
    map(0, (page << 10n) | all);
    const pointer = machine.peek(RAM);
    for (const bit of [A, D, U]) {
      machine.poke(RAM, pointer | bit);
      expect(walk(0n).result).toBe(WalkResult.pageFault);
    }
    machine.poke(RAM, pointer | G);
    expect(walk(0n).result).toBe(WalkResult.ok);
  });

  it("lets U mode use U pages only, and S mode those only under SUM, never to fetch (3.1.6.3, 12.3.1)", () => {
    map(0, (page << 10n) | all | U);
    expect(walk(0n, { mode: RiscvMode.user }).result).toBe(WalkResult.ok);
    expect(walk(0n).result).toBe(WalkResult.pageFault);
    expect(walk(0n, { sum: true }).result).toBe(WalkResult.ok);
    expect(walk(0n, { sum: true, kind: AccessKind.fetch }).result).toBe(WalkResult.pageFault);
    map(0, (page << 10n) | all);
    expect(walk(0n, { mode: RiscvMode.user, sum: true }).result).toBe(WalkResult.pageFault);
  });

  it("lets loads read executable pages under MXR, and stores never (3.1.6.3)", () => {
    map(0, (page << 10n) | V | X | A | D);
    expect(walk(0n).result).toBe(WalkResult.pageFault);
    expect(walk(0n, { mxr: true }).result).toBe(WalkResult.ok);
    expect(walk(0n, { mxr: true, kind: AccessKind.write }).result).toBe(WalkResult.pageFault);
  });

  it("faults on missing A and D under Svade, and sets them under Svadu (12.3.1)", () => {
    const leaf = (page << 10n) | V | R | W;
    const place = map(0, leaf);
    expect(walk(0n, { update: "fault" }).result).toBe(WalkResult.pageFault);
    expect(walk(0n, { update: "ignore" }).result).toBe(WalkResult.ok);
    expect(machine.peek(place)).toBe(leaf);
    expect(walk(0n, { update: "set" }).result).toBe(WalkResult.ok);
    expect(machine.peek(place)).toBe(leaf | A);
    expect(walk(0n, { update: "fault", kind: AccessKind.write }).result).toBe(WalkResult.pageFault);
    expect(walk(0n, { update: "set", kind: AccessKind.write }).result).toBe(WalkResult.ok);
    expect(machine.peek(place)).toBe(leaf | A | D);
  });

  it("raises access faults for tables outside RAM (step 2)", () => {
    map(0, (page << 10n) | all);
    machine.poke(RAM, (1n << 10n) | V);
    expect(walk(0n).result).toBe(WalkResult.accessFault);
  });

  it("reads tables, and sets A and D, with what PMP allows S mode (3.7.2)", () => {
    const leaf = (page << 10n) | V | R | W;
    const place = map(0, leaf);
    const pmp = new Pmp(true);
    // Read-only tables: NAPOT over all addresses, R alone.
    pmp.writeAddress(0, -1, -1);
    pmp.writeConfig(0, 0x19);
    expect(walk(0n, { update: "set" }, pmp).result).toBe(WalkResult.accessFault);
    expect(machine.peek(place)).toBe(leaf);
    machine.poke(place, leaf | A);
    expect(walk(0n, { update: "set" }, pmp).result).toBe(WalkResult.ok);
    pmp.writeConfig(0, 0x18);
    expect(walk(0n, { update: "set" }, pmp).result).toBe(WalkResult.accessFault);
  });

  if (scheme.indexBits === 9) {
    it("refuses addresses whose upper bits differ from the top translated one (12.4.1)", () => {
      const width = BigInt(12 + 9 * scheme.levels);
      const pages = 1n << BigInt((scheme.levels - 1) * 9);
      map(scheme.levels - 1, (((page / pages) * pages) << 10n) | all);
      expect(walk(0x123n).result).toBe(WalkResult.ok);
      for (let bit = width - 1n; bit < 64n; bit++) {
        expect(walk(0x123n | (1n << bit)).result).toBe(WalkResult.pageFault);
      }
    });

    it("refuses every bit from 54 on: neither Svnapot nor Svpbmt is there (12.4.1)", () => {
      for (let bit = 54n; bit < 64n; bit++) {
        map(0, (page << 10n) | all | (1n << bit));
        expect(walk(0n).result).toBe(WalkResult.pageFault);
      }
    });
  }
});

describe("translation by a hart (3.1.6.3)", () => {
  const page = BigInt(RAM) >> 12n;
  let machine: RiscvMachine;

  beforeEach(() => {
    machine = machines[64];
    machine.start({ pcLo: RAM | 0, pcHi: 0, mode: RiscvMode.machine, args: [] });
    machine.write(Csr.pmpaddr0, (1n << 54n) - 1n);
    machine.write(Csr.pmpcfg0, 0x1fn);
    for (let table = 0; table < 3; table++) machine.guest.clear(RAM + 4096 * table, 4096);
    machine.poke(RAM, ((page + 1n) << 10n) | V);
    machine.poke(RAM + 4096, ((page + 2n) << 10n) | V);
    machine.poke(RAM + 8192, ((page + 5n) << 10n) | V | R | W | A | D);
    machine.poke(RAM + 8200, ((page + 6n) << 10n) | V | R | W | X | U | A | D);
    machine.write(Csr.satp, (8n << 60n) | page);
  });

  const load = (va: number) => machine.hart.resolve(AccessKind.read, va, 0);

  it("translates M mode's loads, but not its fetches, as MPP says under MPRV", () => {
    expect(load(0x1000)).toBe(WalkResult.ok);
    expect(machine.hart.gpa).toBe(0x1000);
    machine.write(Csr.mstatus, (1n << 17n) | (0n << 11n));
    expect(load(0x1008)).toBe(WalkResult.ok);
    expect(machine.hart.gpa).toBe(RAM + 0x6008);
    expect(load(0)).toBe(WalkResult.pageFault);
    machine.write(Csr.mstatus, (1n << 17n) | (1n << 11n));
    expect(load(8)).toBe(WalkResult.ok);
    expect(machine.hart.gpa).toBe(RAM + 0x5008);
    expect(load(0x1000)).toBe(WalkResult.pageFault);
    expect(machine.hart.resolve(AccessKind.fetch, 0x1000, 0)).toBe(WalkResult.ok);
    expect(machine.hart.gpa).toBe(0x1000);
    machine.write(Csr.mstatus, (1n << 17n) | (3n << 11n));
    load(0x1008);
    expect(machine.hart.gpa).toBe(0x1008);
  });

  it("raises the fault of the access's kind with the address as trap value (3.1.15, 3.1.16)", () => {
    machine.enter(RiscvMode.supervisor);
    for (const [kind, cause] of [
      [AccessKind.read, RiscvCause.loadPage],
      [AccessKind.write, RiscvCause.storePage],
      [AccessKind.fetch, RiscvCause.instructionPage],
    ] as const) {
      machine.enter(RiscvMode.supervisor);
      expect(machine.hart.translate(kind, 0x3456, -1)).toBe(false);
      expect(machine.read(Csr.mcause)).toBe(BigInt(cause));
      expect(machine.read(Csr.mtval)).toBe(0xffffffff00003456n);
    }
  });

  it("raises an access fault, not a page fault, for what PMP forbids (3.7.1)", () => {
    machine.write(Csr.pmpcfg0, 0x1fn << 8n);
    machine.write(Csr.pmpaddr0 + 1, (1n << 54n) - 1n);
    machine.write(Csr.pmpaddr0, (BigInt(RAM + 0x5000) >> 2n) | 0x1ffn);
    machine.write(Csr.pmpcfg0, (0x1fn << 8n) | 0x19n);
    machine.enter(RiscvMode.supervisor);
    expect(machine.hart.resolve(AccessKind.read, 0, 0)).toBe(WalkResult.ok);
    expect(machine.hart.resolve(AccessKind.write, 0, 0)).toBe(WalkResult.accessFault);
    expect(machine.hart.translate(AccessKind.write, 0, 0)).toBe(false);
    expect(machine.read(Csr.mcause)).toBe(BigInt(RiscvCause.storeAccess));
  });

  it("uses Svade or Svadu as menvcfg.ADUE says", () => {
    machine.poke(RAM + 8192, ((page + 5n) << 10n) | V | R | W);
    machine.write(Csr.menvcfg, 1n << 61n, "clear");
    machine.enter(RiscvMode.supervisor);
    expect(load(0)).toBe(WalkResult.pageFault);
    machine.enter(RiscvMode.machine);
    machine.write(Csr.menvcfg, 1n << 61n, "set");
    machine.enter(RiscvMode.supervisor);
    expect(load(0)).toBe(WalkResult.ok);
    expect(machine.peek(RAM + 8192) & (A | D)).toBe(A);
  });

  it("has no physical addresses from 2^53 on", () => {
    expect(machine.hart.resolve(AccessKind.read, 0, 0x1fffff)).toBe(WalkResult.ok);
    expect(machine.hart.resolve(AccessKind.read, 0, 0x200000)).toBe(WalkResult.accessFault);
    expect(machine.hart.resolve(AccessKind.read, 0, -1)).toBe(WalkResult.accessFault);
  });
});
