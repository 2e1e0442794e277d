/** What listings say of CSRs: the names that the hart's rows have, and no second list. */
import { assemble } from "@hyperfile/decoder";
import { csrStorage, hartIsa } from "@hyperfile/jit/riscv";
import { expect, it, vi } from "vitest";
import { disassemble, explain } from "./inspect.js";

// A hart with a CSR that is in no manual, as one would be that is added to the library's rows.
vi.mock(import("@hyperfile/jit/riscv"), async (original) => {
  const riscv = await original();
  const csrs = [riscv.csrStorage({ name: "mown", number: 0x7c0 })];
  return { ...riscv, standardHartIsa: riscv.hartIsa({ name: "xown", version: [1, 0], csrs }) };
});

it("a row alone names its CSR in the listings of disasm and explain", () => {
  const isa = hartIsa({
    name: "xown",
    version: [1, 0],
    csrs: [csrStorage({ name: "mown", number: 0x7c0 })],
  });
  const { bytes } = assemble("csrr a0, mown\n csrw mscratch, a0\n 1: j 1b\n", { xlen: 64, isa });
  const program = { name: "own.bin", bytes };
  const listing = [...disassemble(program, { xlen: 64 })].map((line) => line.replaceAll(/\s+/g, " ").trim());
  expect(listing[0]).toBe("80000000: 7c002573 csrr a0,mown");
  expect(listing[1]).toBe("80000004: 34051073 csrw mscratch,a0");
  const { stages } = explain(program, { xlen: 64, at: undefined, backend: "both" });
  const guest = JSON.stringify(stages);
  expect(guest).toContain("a0,mown");
  expect(guest).toContain("mscratch,a0");
});
