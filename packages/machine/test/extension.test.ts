/**
 * A made-up extension, described once: its instructions, slot, CSRs and helper are there in every tier, in listings, in
 * a debugger's description, in the device tree, in snapshots and in clones.
 */
import { readFileSync } from "node:fs";
import { assemble, disassemble, type Helper, riscvInsn } from "@hyperfile/decoder";
import { RAM_BASE } from "@hyperfile/devices";
import { CpuError, tiers } from "@hyperfile/jit";
import { guestIn } from "@hyperfile/jit/memory";
import {
  type CsrFile,
  CsrOutcome,
  csrStorage,
  type HartExtension,
  hartIsa,
  RiscvDebug,
  riscvPool,
} from "@hyperfile/jit/riscv";
import { describe, expect, it } from "vitest";
import { type RiscvVirtOptions, riscvVirt } from "../src/index.js";
import { encodeMachine, restoreMachine, zstdCodec } from "../src/snapshot/index.js";

const MEBIBYTE = 1 << 20;
const [A0, A1, A2, A3] = [10, 11, 12, 13];
/** GDB's number of CSR 0. */
const FIRST_CSR = 65;
const [SUM, LIMIT] = [0x800, 0x5c0];
/** What `sum.scale` calls. */
const scale: Helper = {
  name: "sum_scale",
  parameters: ["i64"],
  result: "i64",
  effects: { reads: false, writes: false, exits: false },
};

/**
 * `sum.add rd, rs1, rs2` adds both to the slot and gives it; `sum.scale rd, rs1` gives 16 times. `usum` shows the slot's
 * low word, `slimit` is a register of 16-byte steps that begins at 4096, for S mode.
 */
const xsum: HartExtension = {
  name: "xsum",
  version: [1, 2],
  requires: ["zicsr"],
  instructions: {
    "sum.add": riscvInsn("0000000 rs2 rs1 000 rd 0001011", "rd, rs1, rs2", (m, { rd, rs1, rs2 }) => {
      const sum = m.add(m.builder.get("sum"), m.add(m.readX(rs1), m.readX(rs2)));
      m.builder.set("sum", 0, sum);
      m.writeX(rd, sum);
    }),
    "sum.scale": riscvInsn("0000000 00000 rs1 001 rd 0001011", "rd, rs1", (m, { rd, rs1 }) =>
      m.writeX(rd, m.call(scale, m.readX(rs1))),
    ),
  },
  slots: (xlen) => [{ name: "sum", type: xlen === 64 ? "i64" : "i32", length: 1 }],
  csrs: [
    {
      name: "usum",
      number: SUM,
      read: (file) => file.give(file.words[file.slot("sum")]!, 0),
      write: (file, lo) => {
        file.words[file.slot("sum")] = lo;
        return CsrOutcome.done;
      },
    },
    {
      ...csrStorage({ name: "slimit", number: LIMIT }, 15, "a multiple of 16"),
      saved: { reset: [4096, 0], legal: [(lo) => (lo & 15) === 0, "a multiple of 16"] },
    },
  ],
  helpers: (hart) => ({
    sum_scale: (lo: number, hi: number, _site: number) => {
      hart.setResultHigh((hi << 4) | (lo >>> 28));
      return lo << 4;
    },
  }),
  treeProperties: { "acme,sum-width": 64 },
};
const isa = hartIsa(xsum);
const kernel = readFileSync(new URL("../../../examples/guest/bin/guest64.elf", import.meta.url));

const SOURCE = `
        .option norvc
        li      a1, 40
        li      s0, 1000
1:      sum.add a0, a1, zero
        sum.scale a2, a0
        addi    s0, s0, -1
        bnez    s0, 1b
        csrr    a3, slimit
        csrwi   slimit, 31
        csrr    a1, usum
        li      a5, 0x100000
        li      a6, 0x5555
        sw      a6, 0(a5)
        j       .
`;
const code = assemble(SOURCE, { xlen: 64, origin: RAM_BASE, isa }).bytes;
const make = (options: Partial<RiscvVirtOptions> = {}) =>
  riscvVirt({ ramBytes: MEBIBYTE, boot: { code }, clock: "virtual", isa, ...options });
const x = ({ cpu }: ReturnType<typeof make>, ...registers: number[]) =>
  registers.map((register) => cpu.hart.readXLow(register));

describe("a made-up extension", () => {
  it.each(tiers)("executes in tier %s", async (tier) => {
    const machine = make({ tier, hotThreshold: 4, slice: 500 });
    expect(await machine.run()).toEqual({ kind: "off", status: 0 });
    expect(x(machine, A0, A1, A2, A3)).toEqual([40_000, 40_000, 640_000, 4096]);
    expect(new RiscvDebug(machine.cpu).readRegister(FIRST_CSR + LIMIT)).toBe(16n);
  });

  it("is nothing to a machine without it", () => {
    const machine = make({ isa: hartIsa() });
    machine.load();
    machine.cpu.run(3);
    expect(machine.cpu.hart.lastTrap[0]).toBe(2);
    expect(machine.cpu.hart.csr.peek(SUM)).toBe(false);
  });

  it("is in listings, in a debugger's description, and in the device tree", () => {
    const machine = make();
    machine.load();
    const { cpu } = machine;
    const view = new DataView(code.buffer, code.byteOffset);
    const lines = Array.from({ length: code.length / 4 }, (_, at) => {
      const insn = cpu.frontEnd.decode(code, 4 * at, code.length)!;
      const text = cpu.frontEnd.format!(insn, 0, 0);
      const bits = view.getInt32(4 * at, true);
      expect(disassemble(isa.table(64), bits, 4, 0n, { csrNames: isa.csrNames })).toBe(text);
      return text;
    });
    for (const text of ["sum.add\ta0,a1,zero", "sum.scale\ta2,a0", "csrr\ta3,slimit", "csrr\ta1,usum"])
      expect(lines).toContain(text);
    const debug = new RiscvDebug(cpu);
    const csrs = debug.features.find(({ name }) => name === "org.gnu.gdb.riscv.csr")!.registers;
    expect(csrs.filter(({ number }) => [FIRST_CSR + SUM, FIRST_CSR + LIMIT].includes(number))).toEqual([
      { name: "slimit", number: FIRST_CSR + LIMIT, bits: 64, type: "int" },
      { name: "usum", number: FIRST_CSR + SUM, bits: 64, type: "int" },
    ]);
    expect(debug.writeRegister(FIRST_CSR + LIMIT, 0x12345n)).toBe(true);
    expect(debug.readRegister(FIRST_CSR + LIMIT)).toBe(0x12340n);
    const tree = new TextDecoder("latin1").decode(
      machine.board.deviceTree({ isa: isa.string(64), mmu: "sv57", hartProperties: xsum.treeProperties! }),
    );
    expect(tree).toContain("_svinval_svvptc_xsum\0");
    // A kernel finds it at the address in a1.
    const booted = make({ ramBytes: 16 * MEBIBYTE, boot: { kernel: { name: "guest", bytes: kernel } } });
    booted.load();
    const { guest } = booted.memory;
    const address = booted.cpu.hart.readXLow(A1) >>> 0;
    const header = new Uint8Array(8);
    expect(guest.read(address, header)).toBe(true);
    const placed = new Uint8Array(new DataView(header.buffer).getUint32(4));
    expect(guest.read(address, placed)).toBe(true);
    const text = new TextDecoder("latin1").decode(placed);
    for (const word of ["rv64imafdc_zicntr_zicsr_", "_svinval_svvptc_xsum\0", "\0acme,sum-width\0"])
      expect(text).toContain(word);
  });

  it("is in snapshots and clones, which a machine without it refuses by name", async () => {
    const codec = await zstdCodec();
    const original = make({
      memory: guestIn(riscvPool({ frameBytes: 4 * MEBIBYTE }), { ramBytes: MEBIBYTE, ramBase: RAM_BASE }),
    });
    original.load();
    original.cpu.run(500);
    original.cpu.hart.csr.poke(LIMIT, 0x7770, 1);
    const [sum] = x(original, A0);
    expect(sum).toBeGreaterThan(1000);
    const { slots, csrs } = original.cpu.save() as Record<"slots" | "csrs", Record<string, number[]>>;
    expect([slots.sum, csrs.slimit]).toEqual([
      [sum, 0],
      [0x7770, 1],
    ]);
    const file = new Uint8Array(Buffer.concat(encodeMachine(original.state, codec).pieces));
    const restored = make();
    restoreMachine(file, restored.state, codec);
    for (const other of [restored, original.clone()]) {
      expect(other.cpu.save()).toEqual(original.cpu.save());
      expect(await other.run()).toEqual({ kind: "off", status: 0 });
      expect(x(other, A0, A1, A2, A3)).toEqual([40_000, 40_000, 640_000, 0x7770]);
    }
    expect(() => restoreMachine(file, make({ isa: hartIsa() }).state, codec)).toThrow(/"xsum"/);

    // A snapshot from before there was the extension goes on, with what it brings as at power-on.
    const before = make({ isa: hartIsa() });
    before.load();
    const old = new Uint8Array(Buffer.concat(encodeMachine(before.state, codec).pieces));
    const later = make();
    restoreMachine(old, later.state, codec);
    expect(await later.run()).toEqual({ kind: "off", status: 0 });
    expect(x(later, A0, A3)).toEqual([40_000, 4096]);
  });

  it("is shared by the machines that take turns on one engine", () => {
    const pool = riscvPool({ frameBytes: 4 * MEBIBYTE });
    const memory = () => guestIn(pool, { ramBytes: MEBIBYTE, ramBase: RAM_BASE });
    const first = make({ memory: memory() });
    expect(() => make({ memory: memory(), beside: first })).not.toThrow();
    expect(() => make({ memory: memory(), beside: first, isa: hartIsa() })).toThrow(CpuError);
  });
});

it("a CSR that is there only with floating point is a debugger's also while that is off, if its row says so", () => {
  const row = (isFloat: boolean) => ({
    ...csrStorage({ name: isFloat ? "ufloat" : "uother", number: isFloat ? 0x801 : 0x802 }),
    isAllowed: (file: CsrFile) => file.floatOn,
    isFloat,
  });
  const isa = hartIsa({ name: "xfloat", version: [1, 0], requires: ["f"], csrs: [row(true), row(false)] });
  const machine = riscvVirt({ ramBytes: MEBIBYTE, boot: { code }, isa });
  machine.load();
  const { csr } = machine.cpu.hart;
  expect(csr.floatOn).toBe(false);
  expect([csr.peek(0x801), csr.peek(0x802)]).toEqual([true, false]);
  expect(csr.poke(0x801, 7, 0)).toBe(true);
  expect([csr.peek(0x801), csr.low, csr.floatOn]).toEqual([true, 7, false]);
});
