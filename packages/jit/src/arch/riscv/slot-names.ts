/** RISC-V's names for the slots of its hart, for listings of emitted code. */
import { floatNames, integerNames } from "@hyperfile/decoder";
import type { SlotName } from "../../trace/state-names.js";

/** ABI names of registers; other slots keep theirs. */
export const riscvSlotName: SlotName = (slot, index) => {
  if (slot === "x") return integerNames[index] ?? "sink";
  if (slot === "f") return floatNames[index] ?? `f${index}`;
  return slot;
};
