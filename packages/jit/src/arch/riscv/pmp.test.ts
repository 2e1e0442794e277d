/** Physical memory protection against a matcher written from the manual's text on BigInt addresses (3.7). */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { RAM, RiscvMachine } from "../../../test/riscv-machine.js";
import { AccessKind } from "../../mmu/ports.js";
import { PMP_ENTRIES, Pmp } from "./pmp.js";
import { RiscvCause, RiscvMode } from "./privilege.js";

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

/** What the manual allows for an access of some bytes. */
function allowed(
  entries: readonly Entry[],
  gpa: bigint,
  kind: AccessKind,
  mode: RiscvMode,
  bytes: number,
): boolean {
  for (let at = 0; at < entries.length; at++) {
    const range = rangeOf(entries, at);
    if (range === undefined) continue;
    const matches = Array.from({ length: bytes }, (_, byte) => gpa + BigInt(byte)).filter(
      (byte) => byte >= range[0] && byte < range[1],
    );
    if (matches.length === 0) continue;
    if (matches.length < bytes) return false;
    const { config } = entries[at]!;
    if (mode === RiscvMode.machine && (config & LOCK) === 0) return true;
    return (config & [R, W, X][kind]!) !== 0;
  }
  return mode === RiscvMode.machine;
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
const size = fc.constantFrom(1, 2, 4, 8);
const mode = fc.constantFrom(RiscvMode.user, RiscvMode.supervisor, RiscvMode.machine);

describe("matching and permissions (3.7.1)", () => {
  it("allows what a naive matcher allows", () => {
    fc.assert(
      fc.property(entries, gpa, kind, mode, size, (list, at, access, privilege, bytes) => {
        expect(pmpOf(list).allows(Number(at), access, privilege, bytes)).toBe(
          allowed(list, at, access, privilege, bytes),
        );
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
    expect(pmp.allows(0x80000000, AccessKind.read, RiscvMode.user)).toBe(false);
    expect(pmp.allows(0x80002000, AccessKind.read, RiscvMode.user)).toBe(false);
  });

  it("lets the lowest-numbered entry that matches decide", () => {
    const everything = { config: NAPOT | R | W | X, address: (1n << 54n) - 1n };
    const secret = { config: NAPOT, address: 0x20000000n | 0x1ffn };
    const first = pmpOf([secret, everything]);
    const last = pmpOf([everything, secret]);
    expect(first.allows(0x80000ffc, AccessKind.read, RiscvMode.supervisor)).toBe(false);
    expect(first.allows(0x80001000, AccessKind.read, RiscvMode.supervisor)).toBe(true);
    expect(last.allows(0x80000ffc, AccessKind.read, RiscvMode.supervisor)).toBe(true);
  });
});

describe("defaults (3.7.1)", () => {
  it("denies S and U mode everything while no entry is on, unless the host serves as firmware", () => {
    const [bare, hosted] = [new Pmp(false), new Pmp(true)];
    for (const pmp of [bare, hosted]) expect(pmp.allows(0, AccessKind.write, RiscvMode.machine)).toBe(true);
    for (const lower of [RiscvMode.user, RiscvMode.supervisor]) {
      expect(bare.allows(0, AccessKind.read, lower)).toBe(false);
      expect(hosted.allows(0, AccessKind.read, lower)).toBe(true);
    }
  });
});

describe("locks (3.7.1.2)", () => {
  it("binds M mode, and lasts until reset", () => {
    const pmp = pmpOf([{ config: NAPOT | R | LOCK, address: 0x20000000n | 0x1ffn }]);
    expect(pmp.allows(0x80000000, AccessKind.write, RiscvMode.machine)).toBe(false);
    pmp.writeConfig(0, 0);
    pmp.writeAddress(0, 0, 0);
    expect(pmp.config[0]).toBe(NAPOT | R | LOCK);
    expect(pmp.addressLow[0]).toBe(0x200001ff);
    pmp.reset();
    expect(pmp.allows(0x80000000, AccessKind.write, RiscvMode.machine)).toBe(true);
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

describe.each(["interpreter", "wasm"] as const)("accesses in tier %s", (tier) => {
  const [MCAUSE, MEPC, MTVAL, PMPCFG0, PMPADDR0] = [0x342, 0x341, 0x343, 0x3a0, 0x3b0];
  const DATA = RAM + 0x2000;

  /** A machine whose RAM user mode may use, in two entries that meet at `border`. */
  function machineWith(border: number): RiscvMachine {
    const machine = new RiscvMachine({ xlen: 64, tier });
    machine.write(PMPADDR0, BigInt(RAM) >> 2n);
    machine.write(PMPADDR0 + 1, BigInt(border) >> 2n);
    machine.write(PMPADDR0 + 2, BigInt(RAM + 0x10000) >> 2n);
    const open = BigInt(TOR | R | W | X);
    machine.write(PMPCFG0, (open << 8n) | (open << 16n));
    machine.write(0x305, BigInt(RAM + 0x1000));
    machine.program(RAM + 0x1000, [["jal", { rd: 0, imm: 0 }]]);
    return machine;
  }

  const trap = (machine: RiscvMachine) => [MCAUSE, MEPC, MTVAL].map((csr) => Number(machine.read(csr)));

  it.each([
    ["ld", { rd: 10, rs1: 11 }, RiscvCause.loadAccess],
    ["sd", { rs2: 10, rs1: 11 }, RiscvCause.storeAccess],
    ["lr.d", { rd: 10, rs1: 11 }, RiscvCause.loadAccess],
    ["amoadd.d", { rd: 10, rs1: 11, rs2: 12 }, RiscvCause.storeAccess],
  ] as const)("%s fails if two entries match it, though both would allow it", (name, fields, cause) => {
    const machine = machineWith(DATA + 4);
    machine.program(RAM, [[name, fields]]);
    machine.setX(11, BigInt(DATA));
    machine.run(RAM, RiscvMode.user, 1);
    expect(trap(machine)).toEqual([cause, RAM, DATA]);
    machine.setX(11, BigInt(DATA + 8));
    machine.run(RAM, RiscvMode.user, 1);
    expect(machine.pc).toBe(BigInt(RAM + 4));
  });

  it("words on either side of the border succeed", () => {
    const machine = machineWith(DATA + 4);
    machine.program(RAM, [
      ["lw", { rd: 10, rs1: 11 }],
      ["lw", { rd: 10, rs1: 11, imm: 4 }],
    ]);
    machine.setX(11, BigInt(DATA));
    machine.run(RAM, RiscvMode.user, 2);
    expect(machine.pc).toBe(BigInt(RAM + 8));
  });

  it("an instruction fails if its second half may not be executed", () => {
    const machine = machineWith(RAM + 8);
    machine.write(PMPCFG0, BigInt(TOR | R | W | X) << 8n);
    // Two bytes of nothing, then words that the border at 8 cuts in two.
    machine.poke(RAM, 0x0513_0001n, 32);
    machine.poke(RAM + 4, 0x0593_0010n, 32);
    machine.poke(RAM + 8, 0x0000_0020n, 32);
    machine.run(RAM, RiscvMode.user, 2);
    expect(machine.pc).toBe(BigInt(RAM + 6));
    machine.run(RAM + 6, RiscvMode.user, 1);
    expect(trap(machine)).toEqual([RiscvCause.instructionAccess, RAM + 6, RAM + 8]);
    expect(machine.x(11)).toBe(0n);
  });
});
