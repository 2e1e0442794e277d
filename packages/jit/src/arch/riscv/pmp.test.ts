/** Physical memory protection against a matcher written from the manual's text on BigInt addresses (3.7). */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { AccessKind } from "../../mmu/ports.js";
import { PMP_ENTRIES, Pmp } from "./pmp.js";
import { Mode } from "./privilege.js";

const LOCK = 0x80;
const [OFF, TOR, NA4, NAPOT] = [0, 1 << 3, 2 << 3, 3 << 3];
const [R, W, X] = [1, 2, 4];

interface Entry {
  readonly config: number;
  /** The address register: bits 55-2 of an address. */
  readonly address: bigint;
}

/** The range of an entry, [from, to), as bytes; undefined while it is off. */
function rangeOf(entries: readonly Entry[], at: number): [bigint, bigint] | undefined {
  const { config, address } = entries[at]!;
  switch (config & 0x18) {
    case OFF:
      return undefined;
    case TOR:
      return [at === 0 ? 0n : entries[at - 1]!.address << 2n, address << 2n];
    case NA4:
      return [address << 2n, (address << 2n) + 4n];
    default: {
      let size = 8n;
      let base = address;
      for (let bit = 1n; (address & bit) !== 0n; bit <<= 1n) {
        base &= ~bit;
        size <<= 1n;
      }
      return [base << 2n, (base << 2n) + size];
    }
  }
}

/** What the manual allows for one byte. */
function allowed(entries: readonly Entry[], gpa: bigint, kind: AccessKind, mode: Mode): boolean {
  for (let at = 0; at < entries.length; at++) {
    const range = rangeOf(entries, at);
    if (range === undefined || gpa < range[0] || gpa >= range[1]) continue;
    const { config } = entries[at]!;
    if (mode === Mode.machine && (config & LOCK) === 0) return true;
    return (config & [R, W, X][kind]!) !== 0;
  }
  return mode === Mode.machine;
}

function pmpOf(entries: readonly Entry[]): Pmp {
  const pmp = new Pmp(false);
  pmp.reset();
  entries.forEach(({ address }, at) => {
    pmp.writeAddress(at, Number(BigInt.asIntN(32, address)), Number(BigInt.asIntN(32, address >> 32n)));
  });
  entries.forEach(({ config }, at) => {
    pmp.writeConfig(at, config);
  });
  return pmp;
}

/** Addresses near each other, so that regions meet, and some over the whole range. */
const address = fc.oneof(
  fc.bigInt({ min: 0x20000000n, max: 0x20000c00n }),
  fc.bigInt({ min: 0x20000000n, max: 0x20000c00n }).map((value) => value | 0x3ffn),
  fc.bigInt({ min: 0n, max: (1n << 51n) - 1n }),
  fc.constant((1n << 54n) - 1n),
);
const entry = fc.record({
  config: fc.integer({ min: 0, max: 255 }).map((value) => {
    const legal = value & 0x9f;
    return (legal & 3) === W ? legal & ~W : legal;
  }),
  address,
});
const entries = fc.array(entry, { minLength: 1, maxLength: PMP_ENTRIES });
const gpa = fc.oneof(
  fc.bigInt({ min: 0x7ffff000n, max: 0x80004000n }),
  fc.bigInt({ min: 0n, max: (1n << 53n) - 1n }),
);
const kind = fc.constantFrom(AccessKind.read, AccessKind.write, AccessKind.fetch);
const mode = fc.constantFrom(Mode.user, Mode.supervisor, Mode.machine);

describe("matching and permissions (3.7.1)", () => {
  it("allows what a naive matcher allows", () => {
    fc.assert(
      fc.property(entries, gpa, kind, mode, (list, at, access, privilege) => {
        expect(pmpOf(list).allows(Number(at), access, privilege)).toBe(allowed(list, at, access, privilege));
      }),
      { numRuns: 2000 },
    );
  });

  it("calls a page uniform only if all its bytes are treated alike", () => {
    fc.assert(
      fc.property(
        entries,
        fc.integer({ min: 0x7ffff, max: 0x80003 }),
        kind,
        mode,
        (list, page, access, privilege) => {
          const pmp = pmpOf(list);
          const start = page * 4096;
          if (!pmp.uniform(start + 17)) return;
          const first = pmp.allows(start, access, privilege);
          for (let offset = 0; offset < 4096; offset += 4)
            expect(pmp.allows(start + offset, access, privilege)).toBe(first);
        },
      ),
      { numRuns: 300 },
    );
  });

  it("matches no byte by a TOR entry whose bounds are in the wrong order", () => {
    const pmp = pmpOf([
      { config: 0, address: 0x20001000n },
      { config: TOR | R | W | X, address: 0x20000000n },
    ]);
    expect(pmp.allows(0x80000000, AccessKind.read, Mode.user)).toBe(false);
    expect(pmp.allows(0x80002000, AccessKind.read, Mode.user)).toBe(false);
  });

  it("lets the lowest-numbered entry that matches decide", () => {
    const everything = { config: NAPOT | R | W | X, address: (1n << 54n) - 1n };
    const secret = { config: NAPOT, address: 0x20000000n | 0x1ffn };
    const first = pmpOf([secret, everything]);
    const last = pmpOf([everything, secret]);
    expect(first.allows(0x80000ffc, AccessKind.read, Mode.supervisor)).toBe(false);
    expect(first.allows(0x80001000, AccessKind.read, Mode.supervisor)).toBe(true);
    expect(last.allows(0x80000ffc, AccessKind.read, Mode.supervisor)).toBe(true);
  });
});

describe("defaults (3.7.1)", () => {
  it("denies S and U mode everything while no entry is on, unless the host serves as firmware", () => {
    const [bare, hosted] = [new Pmp(false), new Pmp(true)];
    for (const pmp of [bare, hosted]) expect(pmp.allows(0, AccessKind.write, Mode.machine)).toBe(true);
    for (const lower of [Mode.user, Mode.supervisor]) {
      expect(bare.allows(0, AccessKind.read, lower)).toBe(false);
      expect(hosted.allows(0, AccessKind.read, lower)).toBe(true);
    }
  });
});

describe("locks (3.7.1.2)", () => {
  it("binds M mode, and lasts until reset", () => {
    const pmp = pmpOf([{ config: NAPOT | R | LOCK, address: 0x20000000n | 0x1ffn }]);
    expect(pmp.allows(0x80000000, AccessKind.write, Mode.machine)).toBe(false);
    pmp.writeConfig(0, 0);
    pmp.writeAddress(0, 0, 0);
    expect(pmp.config[0]).toBe(NAPOT | R | LOCK);
    expect(pmp.addressLow[0]).toBe(0x200001ff);
    pmp.reset();
    expect(pmp.allows(0x80000000, AccessKind.write, Mode.machine)).toBe(true);
    pmp.writeAddress(0, 1, 0);
    expect(pmp.addressLow[0]).toBe(1);
  });

  it("of a TOR entry also protects the address below it, and of other kinds doesn't", () => {
    const tor = pmpOf([
      { config: 0, address: 0x20000000n },
      { config: TOR | LOCK, address: 0x20001000n },
    ]);
    tor.writeAddress(0, 5, 0);
    expect(tor.addressLow[0]).toBe(0x20000000);
    const napot = pmpOf([
      { config: 0, address: 0x20000000n },
      { config: NAPOT | LOCK, address: 0x20001000n },
    ]);
    napot.writeAddress(0, 5, 0);
    expect(napot.addressLow[0]).toBe(5);
  });

  it("of an entry that is off still protects its registers", () => {
    const pmp = pmpOf([{ config: OFF | LOCK, address: 7n }]);
    pmp.writeAddress(0, 9, 0);
    pmp.writeConfig(0, R);
    expect([pmp.addressLow[0], pmp.config[0]]).toEqual([7, LOCK]);
  });
});
