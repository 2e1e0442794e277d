/** Sets of extensions: what an ISA says of itself, and which descriptions don't go together. */
import { describe, expect, it } from "vitest";
import { assemble } from "./assembler.js";
import { csrNames, csrNumber } from "./csr-names.js";
import { disassemble } from "./disassembler.js";
import { ExtensionError, type RiscvExtension, RiscvIsa } from "./extension.js";
import { riscvFrontEnd } from "./front-end.js";
import { insn } from "./insn.js";
import { standardExtensions, standardIsa } from "./isa.js";

const isaWith = (...added: readonly RiscvExtension[]): RiscvIsa =>
  new RiscvIsa<RiscvExtension>([...standardExtensions, ...added]);

/** A made-up extension: an instruction that adds to a slot of its own, and a CSR. */
const xsum: RiscvExtension = {
  name: "xsum",
  version: [0, 1],
  requires: ["zicsr"],
  instructions: {
    "sum.add": insn("0000000 rs2 rs1 000 rd 0001011", "rd, rs1, rs2", (m, { rd, rs1, rs2 }) => {
      const sum = m.add(m.builder.get("sum"), m.add(m.readX(rs1), m.readX(rs2)));
      m.builder.set("sum", 0, sum);
      m.writeX(rd, sum);
    }),
  },
  slots: (xlen) => [{ name: "sum", type: xlen === 64 ? "i64" : "i32", length: 1 }],
  csrs: [{ name: "usum", number: 0x800 }],
};

describe("an ISA", () => {
  it("has the ISA string that the unprivileged manual's rules of order give", () => {
    const words = "imafdc_zicntr_zicsr_zifencei_zba_zbb_zbs_sstc_svadu_svinval_svvptc";
    expect(standardIsa.string(64)).toBe(`rv64${words}`);
    expect(standardIsa.string(32)).toBe(`rv32${words}`);
    const empty = (name: string): RiscvExtension => ({ name, version: [1, 0] });
    const names = ["xb", "h", "zvkb", "xa", "smaia", "zacas", "zicond", "zfa", "v", "b"];
    expect(isaWith(...names.map(empty)).string(64)).toBe(
      "rv64imafdcbvh_zicntr_zicond_zicsr_zifencei_zacas_zfa_zba_zbb_zbs_zvkb_smaia_sstc_svadu_svinval_svvptc_xa_xb",
    );
  });

  it("has versions where they are asked for", () => {
    expect(standardIsa.string(64, true)).toBe(
      "rv64i2p1_m2p0_a2p1_f2p2_d2p2_c2p0_zicntr2p0_zicsr2p0_zifencei2p0_zba1p0_zbb1p0_zbs1p0_sstc1p0_svadu1p0_svinval1p0_svvptc1p0",
    );
  });

  it.each([32, 64] as const)("takes an added extension everywhere from its description, on RV%i", (xlen) => {
    const isa = isaWith(xsum);
    expect(isa.has("xsum")).toBe(true);
    expect(isa.string(xlen)).toBe(`${standardIsa.string(xlen)}_xsum`);
    const { bytes } = assemble(".option norvc\nsum.add a0, a1, a2\ncsrr a0, usum", { xlen, isa });
    const view = new DataView(bytes.buffer, bytes.byteOffset);
    const text = [0, 4].map((at) =>
      disassemble(isa.table(xlen), view.getInt32(at, true), 4, 0n, { csrNames: isa.csrNames }),
    );
    expect(text).toEqual(["sum.add\ta0,a1,a2", "csrr\ta0,usum"]);
    const frontEnd = riscvFrontEnd(xlen, isa);
    const [first, second] = [0, 4].map((at) => frontEnd.decode(bytes, at, bytes.length)!);
    expect(frontEnd.format!(first!, 0, 0)).toBe("sum.add\ta0,a1,a2");
    expect(frontEnd.format!(second!, 0, 0)).toBe("csrr\ta0,usum");
    expect(frontEnd.shape.slots.get("sum")!.offset).toBe(standardIsa.shape(xlen).size);
    // Without it, the same bits are nothing.
    expect(disassemble(standardIsa.table(xlen), view.getInt32(0, true), 4)).toMatch(/^\.4byte/);
    expect(() => assemble("sum.add a0, a1, a2", { xlen })).toThrow(/sum\.add/);
    expect(() => assemble("csrr a0, usum", { xlen })).toThrow(/usum/);
  });

  it.each<[string, RiscvExtension, RegExp]>([
    ["a name that is none", { ...xsum, name: "Sum" }, /"Sum" is no name/],
    ["a name that is taken", { ...xsum, name: "zba" }, /zba is described twice/],
    ["what it needs is not there", { ...xsum, requires: ["zvl128b"] }, /xsum needs zvl128b/],
    ["a CSR's number is another's", { ...xsum, csrs: [{ name: "usum", number: 0x300 }] }, /0x300.*mstatus/],
    ["a CSR's name is another's", { ...xsum, csrs: [{ name: "mstatus", number: 0x7c0 }] }, /mstatus.*0x300/],
    ["a CSR's number is none", { ...xsum, csrs: [{ name: "usum", number: 4096 }] }, /usum.*4096/],
    ["a CSR is described twice", { ...xsum, csrs: [...xsum.csrs!, ...xsum.csrs!] }, /usum.*twice/],
    [
      "an instruction is another's",
      { ...xsum, instructions: standardExtensions[0].instructions },
      /in the extensions i and xsum/,
    ],
  ])("is refused where %s", (_, extension, message) => {
    expect(() => isaWith(extension)).toThrow(message);
    expect(() => isaWith(extension)).toThrow(ExtensionError);
  });
});

it("each CSR of the manuals has one name and one number", () => {
  expect(new Set(csrNames.values()).size).toBe(csrNames.size);
  for (const [number, name] of csrNames) expect(csrNumber(name)).toBe(number);
  expect(() => csrNumber("usum")).toThrow(/no CSR usum/);
});
