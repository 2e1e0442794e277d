/** A program's bytes as the translator's explanations take them. */
import { riscvFrontEnd } from "@hyperfile/decoder";
import { riscvSlotName } from "@hyperfile/jit/riscv";
import { type ExplainedCode, plainSlotName } from "@hyperfile/jit/trace";
import { mos6502 } from "../../../mos6502/src/front-end.js";
import { isas } from "./isas.js";
import type { IsaName } from "./protocol.js";

/** Code of a program that lies at its instruction set's origin. */
export function explainedCode(isa: IsaName, bytes: Uint8Array): ExplainedCode {
  const { origin } = isas[isa];
  const bytesAt = (address: bigint) => {
    const offset = Number(address) - origin;
    return offset >= 0 && offset < bytes.length ? bytes.subarray(offset) : new Uint8Array(0);
  };
  if (isa === "6502") return { frontEnd: mos6502(), slotName: plainSlotName, bytesAt };
  const frontEnd = riscvFrontEnd(isa === "rv64" ? 64 : 32);
  return { frontEnd, slotName: riscvSlotName, flagsSlot: "fflags", bytesAt };
}
